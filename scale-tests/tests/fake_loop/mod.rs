//! The control thread of kulan in front of a loop that knows only canned data.
//!
//! What the API and the command lines make of answers can be tested word by word this way, without a
//! session, a kernel or a clock. What callers ask to be changed is recorded, not done.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use crossbeam_channel::Receiver;
use kulan::config::{ApiAddress, ApiConfig};
use kulan::control::message::*;
use kulan::control::{Control, ControlHandle};
use kulan::types::{Family, NextHop, Prefix, RouterId};
use kulan::wire::Capability;
use kulan::wire::capability::{AddPathFamily, ExtendedNextHop, GracefulFamily, GracefulRestart};
use mio::{Events, Poll, Token, Waker};

/// How many routes 10.0.0.2 has announced: more than a page.
pub const MANY: u32 = 1300;

/// A running control thread with its fake loop.
pub struct Fake {
    /// Where it listens.
    pub socket: PathBuf,
    /// Where it listens over TCP.
    pub grpc: SocketAddr,
    /// Where it serves metrics.
    pub http: SocketAddr,
    /// What callers asked to be changed, as debug text.
    pub asked: Arc<Mutex<Vec<String>>>,
    control: Option<Control>,
    directory: PathBuf,
}

impl Fake {
    /// Starts both threads.
    pub fn start() -> Fake {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("kulan-fake-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let directory = std::env::temp_dir().join(name);
        let poll = Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), Token(0)).unwrap());
        let (handle, requests) = ControlHandle::new(waker);
        let asked = Arc::new(Mutex::new(Vec::new()));
        let record = asked.clone();
        thread::spawn(move || run(poll, &requests, &record));
        let any_port: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let socket = directory.join("kulan.sock");
        let config = ApiConfig {
            grpc: vec![ApiAddress::Unix(socket.clone()), ApiAddress::Tcp(any_port)],
            http: Some(any_port),
        };
        let control = kulan::control::start(&config, handle).unwrap();
        let grpc = control.addresses().tcp[0];
        let http = control.addresses().http.unwrap();
        Fake { socket, grpc, http, asked, control: Some(control), directory }
    }

    /// What was asked to be changed since the last call, one request a line.
    pub fn take_asked(&self) -> String {
        std::mem::take(&mut *self.asked.lock().unwrap()).join("\n")
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        drop(self.control.take());
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn run(mut poll: Poll, requests: &Receiver<Request>, asked: &Mutex<Vec<String>>) {
    let mut events = Events::with_capacity(8);
    loop {
        if poll.poll(&mut events, None).is_err() {
            continue;
        }
        loop {
            match requests.try_recv() {
                Ok(request) => answer(request, asked),
                Err(crossbeam_channel::TryRecvError::Empty) => break,
                Err(crossbeam_channel::TryRecvError::Disconnected) => return,
            }
        }
    }
}

fn answer(request: Request, asked: &Mutex<Vec<String>>) {
    let record = |text: String| asked.lock().unwrap().push(text);
    match request {
        Request::Summary(reply) => reply.send(Ok(summary())),
        Request::ListPeers(query, reply) => {
            let all = peers();
            // One a page, to see that pages are asked for until the end.
            let at = query.after.map_or(0, |after| after as usize + 1);
            let rows: Vec<PeerStatus> = all
                .iter()
                .skip(at)
                .take(1)
                .filter(|of| query.address.is_none_or(|a| a == of.address))
                .cloned()
                .collect();
            let next = (at + 1 < all.len()).then_some(at as u32);
            reply.send(Ok(Page { rows, next }));
        }
        Request::ListRoutes(query, reply) => reply.send(list_routes(&query)),
        Request::CountRoutes(query, reply) => {
            let all = table(query.table, query.family);
            let paths = all.iter().map(|row| row.paths.len() as u64).sum();
            reply.send(Ok(TableCounts { destinations: all.len() as u64, paths }));
        }
        Request::ListFib(query, reply) => reply.send(Ok(Page { rows: fib(query.family), next: None })),
        Request::ListDomains(reply) => reply.send(Ok(domains())),
        Request::Statistics(reply) => reply.send(Ok(statistics())),
        Request::AddPath(path, reply) => {
            record(format!("{path:?}"));
            reply.send(Ok(()));
        }
        Request::DeletePath(path, reply) => {
            record(format!("{path:?}"));
            reply.send(Ok(()));
        }
        Request::ResetPeer(peers, kind, reply) => {
            record(format!("reset {peers:?} {kind:?}"));
            reply.send(Ok(()));
        }
        Request::EnablePeer(peers, reply) => {
            record(format!("enable {peers:?}"));
            reply.send(Ok(()));
        }
        Request::DisablePeer(peers, text, reply) => {
            record(format!("disable {peers:?} {text:?}"));
            reply.send(Ok(()));
        }
        Request::AddPeer(peer, reply) => {
            record(format!("{peer:?}"));
            reply.send(Ok(()));
        }
        Request::DeletePeer(peer, reply) => {
            record(format!("delete {peer}"));
            reply.send(Err(RequestError::Refused(
                "10.0.0.1 is in the configuration: take it out there".into(),
            )));
        }
        Request::Reload(reply) => reply.send(Ok(vec!["peer 10.0.0.9: added".into()])),
        Request::Watch(query, sink, reply) => {
            record(format!("{query:?}"));
            reply.send(Ok(()));
            thread::spawn(move || happen(&query, &sink));
        }
    }
}

/// What a watcher sees: a new best path, its end, and a peer; then silence until it leaves.
fn happen(query: &WatchQuery, sink: &EventSink) {
    let prefix: Prefix = "10.9.0.0/16".parse().unwrap();
    if query.best {
        sink.send(Event::Best(prefix, Some(path(Some(first())))));
        sink.send(Event::Best(prefix, None));
    }
    if query.adj_in {
        sink.send(Event::AdjIn(prefix, first(), Some(path(Some(first())))));
        sink.send(Event::AdjIn(prefix, first(), None));
    }
    if query.peers {
        sink.send(Event::Peer(Box::new(peers().remove(1))));
    }
    while !sink.is_closed() {
        thread::yield_now();
    }
}

fn summary() -> Summary {
    Summary {
        asn: 65000,
        router_id: RouterId(0x0a00_0001),
        cluster_id: RouterId(0x0a00_0001),
        listen: vec!["0.0.0.0:179".parse().unwrap()],
        uptime_ms: 51 * 3_600_000,
        peers: 3,
        peers_established: 1,
        routes: [TableCounts { destinations: 2, paths: 3 }, TableCounts { destinations: 1, paths: 1 }],
        attribute_sets: 3,
        update_groups: 1,
        memory: vec![("trie", 12_000), ("attributes", 3_400_000)],
    }
}

fn statistics() -> Statistics {
    Statistics {
        turns: 1234,
        busy_ns: 5_600_000_000,
        longest_turn_ns: 2_300_000,
        stages: vec![StageStatistics { name: "decide", runs: 99, busy_ns: 1_000_000, longest_ns: 50_000 }],
        queues: vec![QueueStatistics { name: "changed_destinations", depth: 7, limit: 4096 }],
        counters: vec![("treat_as_withdraw", "UPDATEs treated as withdrawals", 3)],
    }
}

fn domains() -> Vec<DomainRow> {
    vec![DomainRow {
        name: "default".into(),
        table: 254,
        install: true,
        max_paths: 4,
        peers: 3,
        routes: summary().routes,
        installed: 2,
        pending: 1,
        failed: 0,
    }]
}

fn first() -> PathSource {
    PathSource {
        address: "10.0.0.1".parse().unwrap(),
        asn: 65001,
        router_id: RouterId(0x0a00_0101),
        external: true,
    }
}

/// One of each kind that the wire knows, and two that it does not.
fn remote_capabilities(ipv4: Capability) -> Vec<Capability> {
    let restart = GracefulRestart {
        restarting: false,
        notification: true,
        restart_time_s: 120,
        families: vec![GracefulFamily { afi: 1, safi: 1, forwarding: true }],
    };
    vec![
        ipv4,
        Capability::FourOctetAs(65001),
        Capability::multiprotocol(Family::Ipv6Unicast),
        Capability::RouteRefresh,
        Capability::EnhancedRouteRefresh,
        Capability::ExtendedNextHop(vec![ExtendedNextHop { afi: 1, safi: 1, next_hop_afi: 2 }]),
        Capability::GracefulRestart(restart),
        Capability::AddPath(vec![AddPathFamily { afi: 1, safi: 1, receive: true, send: true }]),
        Capability::Fqdn { host: "tor1".into(), domain: "example.net".into() },
        Capability::SoftwareVersion("router 1.0".into()),
        // Long-lived graceful restart (RFC 9494), and one that nobody has.
        Capability::Unknown { code: 71, value: vec![0, 1, 1, 0x80, 0, 0x0e, 0x10] },
        Capability::Unknown { code: 200, value: vec![1, 2] },
    ]
}

/// The peers: one up, one down by somebody's wish, one that never was up.
fn peers() -> Vec<PeerStatus> {
    let counts =
        MessageCounts { opens: 1, updates: 20, notifications: 0, keepalives: 300, route_refreshes: 1 };
    let family = |family, received| PeerFamily {
        family,
        negotiated: true,
        received,
        accepted: received,
        advertised: 3,
        end_of_rib_received: true,
        end_of_rib_sent: true,
    };
    let ipv4 = Capability::multiprotocol(Family::Ipv4Unicast);
    let up = PeerStatus {
        address: first().address,
        asn: 65001,
        local_asn: 65000,
        router_id: Some(first().router_id),
        description: Some("top of rack".into()),
        group: Some("tors".into()),
        domain: "default".into(),
        dynamic: false,
        internal: false,
        route_reflector_client: false,
        passive: false,
        state: PeerState::Established,
        admin: AdminState::Up,
        since_ms: Some(51 * 3_600_000),
        flaps: 1,
        last_error: Some("received Cease/Administrative Reset".into()),
        received: counts,
        sent: counts,
        out_queue: 2,
        families: vec![family(Family::Ipv4Unicast, 2), family(Family::Ipv6Unicast, 1)],
        local_capabilities: vec![ipv4.clone(), Capability::RouteRefresh, Capability::ExtendedMessage],
        remote_capabilities: remote_capabilities(ipv4),
        hold_time_s: 90,
        negotiated_hold_time_s: 30,
        connect_retry_s: 120,
        local_socket: Some("10.0.0.254:179".parse().unwrap()),
        remote_socket: Some("10.0.0.1:40000".parse().unwrap()),
        multihop_ttl: None,
        ttl_security_hops: Some(1),
        graceful_restart_s: Some(120),
        restarting: false,
    };
    let down = PeerStatus {
        address: "10.0.0.2".parse().unwrap(),
        asn: 65000,
        internal: true,
        route_reflector_client: true,
        description: None,
        state: PeerState::Idle,
        admin: AdminState::Down,
        since_ms: Some(312_000),
        negotiated_hold_time_s: 0,
        router_id: None,
        local_socket: None,
        remote_socket: None,
        families: vec![],
        ..up.clone()
    };
    let never = PeerStatus {
        address: "2001:db8::2".parse().unwrap(),
        asn: 4_200_000_000,
        internal: false,
        state: PeerState::Active,
        admin: AdminState::Up,
        since_ms: None,
        ..down.clone()
    };
    vec![up, down, never]
}

/// Origin IGP, path 65001 65002, MED 50, local preference 200, community 65000:1, large 65000:1:2.
pub fn block() -> Vec<u8> {
    [
        &[0x40, 1, 1, 0][..],
        &[0x40, 2, 10, 2, 2, 0, 0, 0xfd, 0xe9, 0, 0, 0xfd, 0xea],
        &[0x80, 4, 4, 0, 0, 0, 50],
        &[0x40, 5, 4, 0, 0, 0, 200],
        &[0xc0, 8, 4, 0xfd, 0xe8, 0, 1],
        &[0x80, 9, 4, 10, 0, 0, 7],
        &[0x80, 10, 4, 10, 0, 0, 8],
        &[0xc0, 32, 12, 0, 0, 0xfd, 0xe8, 0, 0, 0, 1, 0, 0, 0, 2],
    ]
    .concat()
}

fn path(source: Option<PathSource>) -> PathRow {
    PathRow {
        source,
        best: true,
        multipath: true,
        stale: false,
        next_hop_reachable: true,
        age_ms: Some(312_000),
        next_hop: NextHop::new("192.0.2.1".parse().unwrap()),
        attrs: block(),
    }
}

fn table(which: Table, family: Family) -> Vec<RouteRow> {
    let second: IpAddr = "10.0.0.2".parse().unwrap();
    match (which, family) {
        (Table::AdjIn(peer), Family::Ipv4Unicast) if peer == second => (0..MANY)
            .map(|i| RouteRow {
                prefix: Prefix::of(IpAddr::from((0xac10_0000u32 | i << 8).to_be_bytes()), 24).unwrap(),
                paths: vec![path(Some(PathSource { address: second, ..first() }))],
            })
            .collect(),
        (_, Family::Ipv4Unicast) => {
            let other = PathRow {
                source: None,
                best: false,
                stale: true,
                next_hop: NextHop::new("2001:db8::9".parse().unwrap()),
                attrs: vec![0x40, 1, 1, 2, 0x40, 2, 0],
                ..path(None)
            };
            vec![
                RouteRow { prefix: "10.0.0.0/8".parse().unwrap(), paths: vec![path(Some(first()))] },
                RouteRow { prefix: "10.1.0.0/16".parse().unwrap(), paths: vec![path(Some(first())), other] },
            ]
        }
        (_, Family::Ipv6Unicast) => vec![RouteRow {
            prefix: "2001:db8:1::/48".parse().unwrap(),
            paths: vec![PathRow {
                next_hop: NextHop::new("2001:db8::1".parse().unwrap()),
                ..path(Some(first()))
            }],
        }],
    }
}

fn list_routes(query: &RoutesQuery) -> Result<Page<RouteRow, Prefix>, RequestError> {
    if query.domain.as_deref().is_some_and(|name| name != "default") {
        return Err(RequestError::NotFound("there is no such domain".into()));
    }
    if let Table::AdjIn(peer) | Table::AdjOut(peer) = query.table
        && !peers().iter().any(|of| of.address == peer)
    {
        return Err(RequestError::NotFound(format!("there is no peer {peer}")));
    }
    let mut all = table(query.table, query.family);
    match query.filter {
        PrefixFilter::All => {}
        PrefixFilter::Exact(prefix) => all.retain(|row| row.prefix == prefix),
        PrefixFilter::Longer(prefix) => all.retain(|row| prefix.covers(row.prefix)),
        PrefixFilter::Shorter(prefix) => all.retain(|row| row.prefix.covers(prefix)),
        PrefixFilter::LongestMatch(address) => {
            all.retain(|row| row.prefix.contains(address));
            let longest = all.iter().map(|row| row.prefix.len()).max();
            all.retain(|row| Some(row.prefix.len()) == longest);
        }
    }
    let rest: Vec<RouteRow> =
        all.into_iter().filter(|row| query.after.is_none_or(|after| row.prefix > after)).collect();
    assert!(query.limit <= PAGE_ROWS_MAX);
    let next = rest.get(query.limit).and(rest.get(query.limit.wrapping_sub(1))).map(|row| row.prefix);
    Ok(Page { rows: rest.into_iter().take(query.limit).collect(), next })
}

fn fib(family: Family) -> Vec<FibRow> {
    let hop = |last: u8, weight| FibNextHop {
        gateway: Some(IpAddr::from([192, 0, 2, last])),
        interface: "eth0".into(),
        weight,
    };
    match family {
        Family::Ipv4Unicast => vec![
            FibRow {
                prefix: "10.0.0.0/8".parse().unwrap(),
                next_hops: vec![hop(1, 1), hop(2, 3)],
                state: FibState::Installed,
            },
            FibRow {
                prefix: "10.1.0.0/16".parse().unwrap(),
                next_hops: vec![hop(1, 1)],
                state: FibState::Failed("Network is unreachable".into()),
            },
        ],
        Family::Ipv6Unicast => vec![],
    }
}

/// What a program printed.
pub fn text(output: &[u8]) -> String {
    String::from_utf8(output.to_vec()).unwrap()
}

/// Runs a command and returns what it did.
pub fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"))
}
