//! Answers as JSON. The names and shapes here are a promise: fields are added, never changed.

use serde::Serialize;

use super::text;
use crate::control::proto::kulan as pb;

fn some(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

#[derive(Serialize)]
pub(super) struct FamilyCounts {
    family: &'static str,
    destinations: u64,
    paths: u64,
}

fn counts(all: &[pb::FamilyCounts]) -> Vec<FamilyCounts> {
    all.iter()
        .map(|of| FamilyCounts {
            family: text::family(of.family()),
            destinations: of.destinations,
            paths: of.paths,
        })
        .collect()
}

#[derive(Serialize)]
pub(super) struct Summary<'a> {
    version: &'a str,
    asn: u32,
    router_id: &'a str,
    cluster_id: &'a str,
    listen: &'a [String],
    uptime_ms: u64,
    peers: u32,
    peers_established: u32,
    routes: Vec<FamilyCounts>,
    attribute_sets: u64,
    update_groups: u32,
    resident_bytes: u64,
    memory: Vec<MemoryPart<'a>>,
    #[serde(rename = "loop")]
    turns: Loop<'a>,
}

#[derive(Serialize)]
struct MemoryPart<'a> {
    part: &'a str,
    bytes: u64,
}

#[derive(Serialize)]
struct Loop<'a> {
    turns: u64,
    busy_ns: u64,
    longest_turn_ns: u64,
    stages: Vec<Stage<'a>>,
    queues: Vec<Queue<'a>>,
    counters: Vec<Counter<'a>>,
}

#[derive(Serialize)]
struct Stage<'a> {
    name: &'a str,
    runs: u64,
    busy_ns: u64,
    longest_ns: u64,
}

#[derive(Serialize)]
struct Queue<'a> {
    name: &'a str,
    depth: u64,
    limit: u64,
}

#[derive(Serialize)]
struct Counter<'a> {
    name: &'a str,
    value: u64,
}

pub(super) fn summary<'a>(summary: &'a pb::Summary, all: &'a pb::Statistics) -> Summary<'a> {
    let turns = Loop {
        turns: all.turns,
        busy_ns: all.busy_ns,
        longest_turn_ns: all.longest_turn_ns,
        stages: all
            .stages
            .iter()
            .map(|of| Stage { name: &of.name, runs: of.runs, busy_ns: of.busy_ns, longest_ns: of.longest_ns })
            .collect(),
        queues: all
            .queues
            .iter()
            .map(|of| Queue { name: &of.name, depth: of.depth, limit: of.limit })
            .collect(),
        counters: all.counters.iter().map(|of| Counter { name: &of.name, value: of.value }).collect(),
    };
    Summary {
        version: &summary.version,
        asn: summary.asn,
        router_id: &summary.router_id,
        cluster_id: &summary.cluster_id,
        listen: &summary.listen,
        uptime_ms: summary.uptime_ms,
        peers: summary.peers,
        peers_established: summary.peers_established,
        routes: counts(&summary.routes),
        attribute_sets: summary.attribute_sets,
        update_groups: summary.update_groups,
        resident_bytes: summary.resident_bytes,
        memory: summary.memory.iter().map(|of| MemoryPart { part: &of.name, bytes: of.bytes }).collect(),
        turns,
    }
}

#[derive(Serialize)]
pub(super) struct Peer<'a> {
    address: &'a str,
    asn: u32,
    local_asn: u32,
    router_id: Option<&'a str>,
    description: Option<&'a str>,
    group: Option<&'a str>,
    domain: &'a str,
    dynamic: bool,
    internal: bool,
    route_reflector_client: bool,
    state: &'static str,
    admin_state: &'static str,
    since_ms: Option<u64>,
    flaps: u32,
    restarting: bool,
    last_error: Option<&'a str>,
    out_queue: u32,
    hold_time_s: u32,
    negotiated_hold_time_s: u32,
    local_socket: Option<&'a str>,
    remote_socket: Option<&'a str>,
    messages_received: MessageCounts,
    messages_sent: MessageCounts,
    families: Vec<PeerFamily>,
    local_capabilities: Vec<Capability>,
    remote_capabilities: Vec<Capability>,
}

#[derive(Serialize)]
struct MessageCounts {
    opens: u64,
    updates: u64,
    notifications: u64,
    keepalives: u64,
    route_refreshes: u64,
}

#[derive(Serialize)]
struct PeerFamily {
    family: &'static str,
    negotiated: bool,
    received: u64,
    accepted: u64,
    advertised: u64,
    end_of_rib_received: bool,
    end_of_rib_sent: bool,
}

#[derive(Serialize)]
struct Capability {
    code: u32,
    name: String,
    value: String,
}

fn messages(counts: Option<&pb::MessageCounts>) -> MessageCounts {
    let of = counts.copied().unwrap_or_default();
    MessageCounts {
        opens: of.opens,
        updates: of.updates,
        notifications: of.notifications,
        keepalives: of.keepalives,
        route_refreshes: of.route_refreshes,
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn capabilities(all: &[pb::Capability]) -> Vec<Capability> {
    all.iter()
        .map(|of| Capability { code: of.code, name: text::capability(of), value: hexadecimal(&of.value) })
        .collect()
}

pub(super) fn peer(peer: &pb::Peer) -> Peer<'_> {
    Peer {
        address: &peer.address,
        asn: peer.asn,
        local_asn: peer.local_asn,
        router_id: some(&peer.router_id),
        description: some(&peer.description),
        group: some(&peer.group),
        domain: &peer.domain,
        dynamic: peer.dynamic,
        internal: peer.internal,
        route_reflector_client: peer.route_reflector_client,
        state: text::state(peer.state()),
        admin_state: match peer.admin_state() {
            pb::AdminState::Up => "up",
            pb::AdminState::Down => "down",
            pb::AdminState::PrefixLimit => "prefix-limit",
        },
        since_ms: peer.since_ms,
        flaps: peer.flaps,
        restarting: peer.restarting,
        last_error: some(&peer.last_error),
        out_queue: peer.out_queue,
        hold_time_s: peer.hold_time_s,
        negotiated_hold_time_s: peer.negotiated_hold_time_s,
        local_socket: some(&peer.local_socket),
        remote_socket: some(&peer.remote_socket),
        messages_received: messages(peer.received.as_ref()),
        messages_sent: messages(peer.sent.as_ref()),
        families: peer
            .families
            .iter()
            .map(|of| PeerFamily {
                family: text::family(of.family()),
                negotiated: of.negotiated,
                received: of.received,
                accepted: of.accepted,
                advertised: of.advertised,
                end_of_rib_received: of.end_of_rib_received,
                end_of_rib_sent: of.end_of_rib_sent,
            })
            .collect(),
        local_capabilities: capabilities(&peer.local_capabilities),
        remote_capabilities: capabilities(&peer.remote_capabilities),
    }
}

#[derive(Serialize)]
pub(super) struct Route<'a> {
    prefix: &'a str,
    paths: Vec<Path<'a>>,
}

#[derive(Serialize)]
pub(super) struct Path<'a> {
    peer: Option<&'a str>,
    peer_asn: Option<u32>,
    peer_router_id: Option<&'a str>,
    best: bool,
    multipath: bool,
    stale: bool,
    next_hop_reachable: bool,
    age_ms: Option<u64>,
    next_hop: &'a str,
    next_hop_link_local: Option<&'a str>,
    origin: Option<String>,
    as_path: String,
    med: Option<u32>,
    local_pref: Option<u32>,
    atomic_aggregate: bool,
    aggregator: Option<String>,
    communities: Vec<String>,
    large_communities: Vec<String>,
    extended_communities: Vec<String>,
    originator_id: Option<&'a str>,
    cluster_list: &'a [String],
    only_to_customer: Option<u32>,
    other_attributes: Vec<OtherAttribute>,
}

#[derive(Serialize)]
struct OtherAttribute {
    flags: u32,
    code: u32,
    value: String,
}

pub(super) fn path(path: &pb::Path) -> Option<Path<'_>> {
    let attributes = path.attributes.as_ref()?;
    let source = path.source.as_ref();
    Some(Path {
        peer: source.map(|of| &of.address[..]),
        peer_asn: source.map(|of| of.asn),
        peer_router_id: source.map(|of| &of.router_id[..]),
        best: path.best,
        multipath: path.multipath,
        stale: path.stale,
        next_hop_reachable: !path.next_hop_unreachable,
        age_ms: path.age_ms,
        next_hop: &attributes.next_hop,
        next_hop_link_local: some(&attributes.next_hop_link_local),
        origin: attributes.origin.map(|origin| text::origin(origin).to_lowercase()),
        as_path: text::as_path(&attributes.as_path),
        med: attributes.med,
        local_pref: attributes.local_pref,
        atomic_aggregate: attributes.atomic_aggregate,
        aggregator: attributes.aggregator.as_ref().map(|of| format!("{} {}", of.asn, of.address)),
        communities: attributes.communities.iter().map(|&of| text::community(of)).collect(),
        large_communities: attributes.large_communities.iter().map(text::large_community).collect(),
        extended_communities: attributes
            .extended_communities
            .iter()
            .map(|&of| text::extended_community(of))
            .collect(),
        originator_id: some(&attributes.originator_id),
        cluster_list: &attributes.cluster_list,
        only_to_customer: attributes.only_to_customer,
        other_attributes: attributes
            .other
            .iter()
            .map(|of| OtherAttribute { flags: of.flags, code: of.code, value: hexadecimal(&of.value) })
            .collect(),
    })
}

pub(super) fn route(route: &pb::Route) -> Route<'_> {
    Route { prefix: &route.prefix, paths: route.paths.iter().filter_map(path).collect() }
}

#[derive(Serialize)]
pub(super) struct FibRoute<'a> {
    prefix: &'a str,
    next_hops: Vec<FibNextHop<'a>>,
    state: &'static str,
    error: Option<&'a str>,
}

#[derive(Serialize)]
struct FibNextHop<'a> {
    gateway: Option<&'a str>,
    interface: &'a str,
    weight: u32,
}

/// The state of a kernel route as a word.
pub(super) fn fib_state(route: &pb::FibRoute) -> &'static str {
    use pb::fib_route::State;
    match route.state() {
        State::Installed => "installed",
        State::Pending => "pending",
        State::Stale => "stale",
        State::Failed => "failed",
    }
}

pub(super) fn fib_route(route: &pb::FibRoute) -> FibRoute<'_> {
    FibRoute {
        prefix: &route.prefix,
        next_hops: route
            .next_hops
            .iter()
            .map(|of| FibNextHop { gateway: some(&of.gateway), interface: &of.interface, weight: of.weight })
            .collect(),
        state: fib_state(route),
        error: some(&route.error),
    }
}

#[derive(Serialize)]
pub(super) struct Domain<'a> {
    name: &'a str,
    table: u32,
    install: bool,
    max_paths: u32,
    peers: u32,
    routes: Vec<FamilyCounts>,
    installed: u64,
    pending: u64,
    failed: u64,
}

pub(super) fn domain(of: &pb::Domain) -> Domain<'_> {
    Domain {
        name: &of.name,
        table: of.table,
        install: of.install,
        max_paths: of.max_paths,
        peers: of.peers,
        routes: counts(&of.routes),
        installed: of.installed,
        pending: of.pending,
        failed: of.failed,
    }
}

/// One line of `kulan watch --json`; which of the members are there tells what happened.
#[derive(Default, Serialize)]
pub(super) struct WatchEvent<'a> {
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<Path<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<Peer<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    missed: Option<u64>,
}

pub(super) fn watch_event(event: &pb::watch_event::Event) -> WatchEvent<'_> {
    use pb::watch_event::Event;
    match event {
        Event::Best(change) => WatchEvent {
            event: if change.path.is_some() { "best" } else { "best-gone" },
            prefix: Some(&change.prefix),
            path: change.path.as_ref().and_then(path),
            ..Default::default()
        },
        Event::AdjIn(change) => WatchEvent {
            event: if change.path.is_some() { "announce" } else { "withdraw" },
            prefix: Some(&change.prefix),
            from: change.source.as_ref().map(|of| &of.address[..]),
            path: change.path.as_ref().and_then(path),
            ..Default::default()
        },
        Event::Peer(of) => WatchEvent { event: "peer", peer: Some(peer(of)), ..Default::default() },
        Event::Missed(count) => WatchEvent { event: "missed", missed: Some(*count), ..Default::default() },
        Event::InitialEnd(_) => WatchEvent { event: "initial-end", ..Default::default() },
    }
}
