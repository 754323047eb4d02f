//! The loop's answers in the words of `kulan.v1`.

use super::attributes;
use super::message::{
    AdminState, DomainRow, FibRow, FibState, MessageCounts, PathRow, PathSource, PeerFamily, PeerState,
    PeerStatus, RouteRow, Statistics, Summary, TableCounts,
};
use super::proto::kulan as pb;
use crate::types::Family;
use crate::wire::Capability;

pub(super) fn family(family: Family) -> pb::Family {
    match family {
        Family::Ipv4Unicast => pb::Family::Ipv4Unicast,
        Family::Ipv6Unicast => pb::Family::Ipv6Unicast,
    }
}

/// The families that a caller means: one, or all.
pub(super) fn families(value: i32) -> Result<Vec<Family>, String> {
    match pb::Family::try_from(value) {
        Ok(pb::Family::Unspecified) => Ok(Family::ALL.to_vec()),
        Ok(pb::Family::Ipv4Unicast) => Ok(vec![Family::Ipv4Unicast]),
        Ok(pb::Family::Ipv6Unicast) => Ok(vec![Family::Ipv6Unicast]),
        Err(_) => Err(format!("there is no family {value}")),
    }
}

fn counts(routes: [TableCounts; 2]) -> Vec<pb::FamilyCounts> {
    Family::ALL
        .into_iter()
        .map(|of| {
            let TableCounts { destinations, paths } = routes[of.index()];
            pb::FamilyCounts { family: family(of).into(), destinations, paths }
        })
        .collect()
}

pub(super) fn summary(summary: Summary, resident_bytes: u64) -> pb::Summary {
    pb::Summary {
        version: env!("CARGO_PKG_VERSION").into(),
        asn: summary.asn,
        router_id: summary.router_id.to_string(),
        cluster_id: summary.cluster_id.to_string(),
        listen: summary.listen.iter().map(ToString::to_string).collect(),
        uptime_ms: summary.uptime_ms,
        peers: summary.peers,
        peers_established: summary.peers_established,
        routes: counts(summary.routes),
        attribute_sets: summary.attribute_sets,
        update_groups: summary.update_groups,
        memory: summary
            .memory
            .into_iter()
            .map(|(name, bytes)| pb::MemoryPart { name: name.into(), bytes })
            .collect(),
        resident_bytes,
    }
}

fn messages(counts: MessageCounts) -> pb::MessageCounts {
    pb::MessageCounts {
        opens: counts.opens,
        updates: counts.updates,
        notifications: counts.notifications,
        keepalives: counts.keepalives,
        route_refreshes: counts.route_refreshes,
    }
}

fn peer_family(of: PeerFamily) -> pb::PeerFamily {
    pb::PeerFamily {
        family: family(of.family).into(),
        negotiated: of.negotiated,
        received: of.received,
        accepted: of.accepted,
        advertised: of.advertised,
        end_of_rib_received: of.end_of_rib_received,
        end_of_rib_sent: of.end_of_rib_sent,
    }
}

fn capabilities(all: &[Capability]) -> Vec<pb::Capability> {
    let encoded = |capability: &Capability| {
        let mut encoded = Vec::new();
        capability.encode(&mut encoded);
        // Behind code and length.
        pb::Capability { code: capability.code().into(), value: encoded.split_off(2) }
    };
    all.iter().map(encoded).collect()
}

pub(super) fn peer(peer: PeerStatus) -> pb::Peer {
    let state = match peer.state {
        PeerState::Idle => pb::SessionState::Idle,
        PeerState::Connect => pb::SessionState::Connect,
        PeerState::Active => pb::SessionState::Active,
        PeerState::OpenSent => pb::SessionState::OpenSent,
        PeerState::OpenConfirm => pb::SessionState::OpenConfirm,
        PeerState::Established => pb::SessionState::Established,
    };
    let admin_state = match peer.admin {
        AdminState::Up => pb::AdminState::Up,
        AdminState::Down => pb::AdminState::Down,
        AdminState::PrefixLimit => pb::AdminState::PrefixLimit,
    };
    let text = |socket: Option<std::net::SocketAddr>| socket.map(|addr| addr.to_string()).unwrap_or_default();
    pb::Peer {
        address: peer.address.to_string(),
        asn: peer.asn,
        local_asn: peer.local_asn,
        router_id: peer.router_id.map(|id| id.to_string()).unwrap_or_default(),
        description: peer.description.unwrap_or_default(),
        group: peer.group.unwrap_or_default(),
        domain: peer.domain,
        dynamic: peer.dynamic,
        internal: peer.internal,
        route_reflector_client: peer.route_reflector_client,
        state: state.into(),
        admin_state: admin_state.into(),
        since_ms: peer.since_ms,
        flaps: peer.flaps,
        last_error: peer.last_error.unwrap_or_default(),
        received: Some(messages(peer.received)),
        sent: Some(messages(peer.sent)),
        out_queue: peer.out_queue,
        families: peer.families.into_iter().map(peer_family).collect(),
        local_capabilities: capabilities(&peer.local_capabilities),
        remote_capabilities: capabilities(&peer.remote_capabilities),
        hold_time_s: peer.hold_time_s.into(),
        negotiated_hold_time_s: peer.negotiated_hold_time_s.into(),
        local_socket: text(peer.local_socket),
        remote_socket: text(peer.remote_socket),
        restarting: peer.restarting,
    }
}

pub(super) fn source(source: PathSource) -> pb::PathSource {
    pb::PathSource {
        address: source.address.to_string(),
        asn: source.asn,
        router_id: source.router_id.to_string(),
        external: source.external,
    }
}

pub(super) fn path(path: PathRow) -> pb::Path {
    pb::Path {
        attributes: Some(attributes::decode(&path.attrs, &path.next_hop)),
        source: path.source.map(source),
        best: path.best,
        multipath: path.multipath,
        stale: path.stale,
        next_hop_unreachable: !path.next_hop_reachable,
        age_ms: path.age_ms,
    }
}

pub(super) fn route(route: RouteRow) -> pb::Route {
    pb::Route { prefix: route.prefix.to_string(), paths: route.paths.into_iter().map(path).collect() }
}

pub(super) fn fib_route(row: FibRow) -> pb::FibRoute {
    use pb::fib_route::State;
    let (state, error) = match row.state {
        FibState::Installed => (State::Installed, String::new()),
        FibState::Pending => (State::Pending, String::new()),
        FibState::Stale(until) => (State::Stale, until),
        FibState::Failed(error) => (State::Failed, error),
    };
    pb::FibRoute {
        prefix: row.prefix.to_string(),
        next_hops: row
            .next_hops
            .into_iter()
            .map(|hop| pb::FibNextHop {
                gateway: hop.gateway.map(|addr| addr.to_string()).unwrap_or_default(),
                interface: hop.interface,
                weight: hop.weight.into(),
            })
            .collect(),
        state: state.into(),
        error,
    }
}

pub(super) fn domain(row: DomainRow) -> pb::Domain {
    pb::Domain {
        name: row.name,
        table: row.table,
        install: row.install,
        max_paths: row.max_paths.into(),
        peers: row.peers,
        routes: counts(row.routes),
        installed: row.installed,
        pending: row.pending,
        failed: row.failed,
    }
}

pub(super) fn statistics(all: Statistics) -> pb::Statistics {
    pb::Statistics {
        turns: all.turns,
        busy_ns: all.busy_ns,
        longest_turn_ns: all.longest_turn_ns,
        stages: all
            .stages
            .into_iter()
            .map(|stage| pb::Stage {
                name: stage.name.into(),
                runs: stage.runs,
                busy_ns: stage.busy_ns,
                longest_ns: stage.longest_ns,
            })
            .collect(),
        queues: all
            .queues
            .into_iter()
            .map(|queue| pb::Queue { name: queue.name.into(), depth: queue.depth, limit: queue.limit })
            .collect(),
        counters: all
            .counters
            .into_iter()
            .map(|(name, help, value)| pb::Counter { name: name.into(), help: help.into(), value })
            .collect(),
    }
}
