//! Peers in GoBGP's words.
//!
//! Its client takes every sub-message for granted and dies without: each is there, empty where kulan has
//! nothing to say.

use std::time::{Duration, SystemTime};

use super::capability::capabilities;
use super::path::{family, parse_family};
use crate::control::message::{AdminState, MessageCounts, NewPeer, PeerFamily, PeerState, PeerStatus};
use crate::control::proto::apipb;
use crate::speaker::ttl_min;
use crate::types::RouterId;

fn messages(counts: MessageCounts) -> apipb::Message {
    apipb::Message {
        notification: counts.notifications,
        update: counts.updates,
        open: counts.opens,
        keepalive: counts.keepalives,
        refresh: counts.route_refreshes,
        total: counts.total(),
        ..Default::default()
    }
}

fn afi_safi(of: &PeerFamily) -> apipb::AfiSafi {
    let restart_state = apipb::MpGracefulRestartState {
        end_of_rib_received: of.end_of_rib_received,
        end_of_rib_sent: of.end_of_rib_sent,
        ..Default::default()
    };
    apipb::AfiSafi {
        mp_graceful_restart: Some(apipb::MpGracefulRestart {
            config: Some(apipb::MpGracefulRestartConfig::default()),
            state: Some(restart_state),
        }),
        config: Some(apipb::AfiSafiConfig { family: Some(family(of.family)), enabled: true }),
        state: Some(apipb::AfiSafiState {
            family: Some(family(of.family)),
            enabled: of.negotiated,
            received: of.received,
            accepted: of.accepted,
            advertised: of.advertised,
        }),
        ..Default::default()
    }
}

/// A peer, as it was `peer.since_ms` after it came up or went down.
pub(super) fn peer(peer: PeerStatus, now: SystemTime) -> apipb::Peer {
    use apipb::peer_state::{AdminState as Admin, SessionState};
    let session_state = match peer.state {
        PeerState::Idle => SessionState::Idle,
        PeerState::Connect => SessionState::Connect,
        PeerState::Active => SessionState::Active,
        PeerState::OpenSent => SessionState::Opensent,
        PeerState::OpenConfirm => SessionState::Openconfirm,
        PeerState::Established => SessionState::Established,
    };
    let admin_state = match peer.admin {
        AdminState::Up => Admin::Up,
        AdminState::Down => Admin::Down,
        AdminState::PrefixLimit => Admin::PfxCt,
    };
    let kind = if peer.internal { apipb::PeerType::Internal } else { apipb::PeerType::External };
    let address = peer.address.to_string();
    let description = peer.description.unwrap_or_default();
    let peer_group = peer.group.unwrap_or_default();
    let since = peer.since_ms.map(|ms| prost_types::Timestamp::from(now - Duration::from_millis(ms)));
    let established = peer.state == PeerState::Established;
    let keepalive = |hold_time_s: u16| u64::from(hold_time_s / 3);
    apipb::Peer {
        conf: Some(apipb::PeerConf {
            description: description.clone(),
            local_asn: peer.local_asn,
            neighbor_address: address.clone(),
            peer_asn: peer.asn,
            peer_group: peer_group.clone(),
            r#type: kind.into(),
            admin_down: peer.admin == AdminState::Down,
            ..Default::default()
        }),
        ebgp_multihop: Some(apipb::EbgpMultihop {
            enabled: peer.multihop_ttl.is_some(),
            multihop_ttl: peer.multihop_ttl.unwrap_or(0).into(),
        }),
        route_reflector: Some(apipb::RouteReflector {
            route_reflector_client: peer.route_reflector_client,
            ..Default::default()
        }),
        state: Some(apipb::PeerState {
            description,
            local_asn: peer.local_asn,
            messages: Some(apipb::Messages {
                received: Some(messages(peer.received)),
                sent: Some(messages(peer.sent)),
            }),
            neighbor_address: address,
            peer_asn: peer.asn,
            peer_group,
            r#type: kind.into(),
            queues: Some(apipb::Queues { input: 0, output: peer.out_queue }),
            session_state: session_state.into(),
            admin_state: admin_state.into(),
            out_q: peer.out_queue,
            flops: peer.flaps,
            remote_cap: capabilities(&peer.remote_capabilities),
            local_cap: capabilities(&peer.local_capabilities),
            router_id: peer.router_id.map(|id| id.to_string()).unwrap_or_default(),
            ..Default::default()
        }),
        timers: Some(apipb::Timers {
            config: Some(apipb::TimersConfig {
                connect_retry: peer.connect_retry_s.into(),
                hold_time: peer.hold_time_s.into(),
                keepalive_interval: keepalive(peer.hold_time_s),
                ..Default::default()
            }),
            state: Some(apipb::TimersState {
                connect_retry: peer.connect_retry_s.into(),
                hold_time: peer.hold_time_s.into(),
                keepalive_interval: keepalive(peer.negotiated_hold_time_s),
                negotiated_hold_time: peer.negotiated_hold_time_s.into(),
                // A client takes a peer without it for one that has never been up.
                uptime: since,
                downtime: since.filter(|_| !established),
                ..Default::default()
            }),
        }),
        transport: Some(apipb::Transport {
            local_address: peer.local_socket.map(|addr| addr.ip().to_string()).unwrap_or_default(),
            local_port: peer.local_socket.map_or(0, |addr| addr.port().into()),
            remote_address: peer.remote_socket.map(|addr| addr.ip().to_string()).unwrap_or_default(),
            remote_port: peer.remote_socket.map_or(0, |addr| addr.port().into()),
            passive_mode: peer.passive,
            ..Default::default()
        }),
        route_server: Some(apipb::RouteServer::default()),
        graceful_restart: Some(apipb::GracefulRestart {
            enabled: peer.graceful_restart_s.is_some(),
            restart_time: peer.graceful_restart_s.unwrap_or(0).into(),
            peer_restarting: peer.restarting,
            ..Default::default()
        }),
        afi_safis: peer.families.iter().map(afi_safi).collect(),
        ttl_security: Some(apipb::TtlSecurity {
            enabled: peer.ttl_security_hops.is_some(),
            ttl_min: peer.ttl_security_hops.map_or(0, |hops| ttl_min(hops).into()),
        }),
    }
}

fn small<T: TryFrom<u64>>(what: &str, value: u64) -> Result<Option<T>, String> {
    match value {
        0 => Ok(None),
        _ => T::try_from(value).map(Some).map_err(|_| format!("{what} {value} is too large")),
    }
}

fn text(value: String) -> Option<String> {
    Some(value).filter(|text| !text.is_empty())
}

/// The peer that a caller wants added to a speaker with this cluster id. Errors are words for the caller.
pub(super) fn parse(peer: apipb::Peer, cluster_id: RouterId) -> Result<NewPeer, String> {
    let conf = peer.conf.ok_or("the peer has no conf")?;
    let transport = peer.transport.unwrap_or_default();
    let timers = peer.timers.and_then(|timers| timers.config).unwrap_or_default();
    let multihop = peer.ebgp_multihop.unwrap_or_default();
    let refused = [
        (peer.route_server.is_some_and(|of| of.route_server_client), "route server clients"),
        (!conf.vrf.is_empty(), "VRFs: see [[domain]] of the configuration"),
        (conf.remove_private != 0, "removing private AS numbers"),
        (conf.replace_peer_asn, "replacing the peer's AS number"),
        (!conf.neighbor_interface.is_empty(), "peers without an address"),
    ];
    if let Some((_, what)) = refused.into_iter().find(|(asked, _)| *asked) {
        return Err(format!("kulan does not have {what}"));
    }
    let reflector = peer.route_reflector.unwrap_or_default();
    // `gobgp` cannot leave it out.
    let wanted = &reflector.route_reflector_cluster_id;
    if !wanted.is_empty() && *wanted != cluster_id.to_string() {
        return Err(format!("cluster id {wanted} is not the speaker's: it reflects with {cluster_id} only"));
    }
    let address = conf.neighbor_address;
    let families = peer
        .afi_safis
        .into_iter()
        .filter_map(|of| of.config)
        .map(|config| parse_family(config.family))
        .collect::<Result<Vec<_>, _>>()?;
    let source = match text(transport.local_address) {
        None => None,
        Some(source) => {
            let source: std::net::IpAddr =
                source.parse().map_err(|_| format!("local address {source:?} is not an IP address"))?;
            Some(source).filter(|addr| !addr.is_unspecified())
        }
    };
    Ok(NewPeer {
        address: address.parse().map_err(|_| format!("neighbor address {address:?} is not an IP address"))?,
        asn: Some(conf.peer_asn).filter(|asn| *asn != 0),
        group: text(conf.peer_group),
        description: text(conf.description),
        local_asn: Some(conf.local_asn).filter(|asn| *asn != 0),
        passive: Some(true).filter(|_| transport.passive_mode),
        port: small("remote port", transport.remote_port.into())?,
        source,
        hold_time_s: small("hold time", timers.hold_time)?,
        families: Some(families).filter(|all| !all.is_empty()).map(|all| all.into_iter().collect()),
        route_reflector_client: Some(true).filter(|_| reflector.route_reflector_client),
        allow_own_asn: small("allow own AS", conf.allow_own_asn.into())?,
        multihop_ttl: if multihop.enabled {
            small("multihop TTL", multihop.multihop_ttl.into())?
        } else {
            None
        },
        password: text(conf.auth_password),
        admin_down: conf.admin_down,
    })
}
