//! A [`Fib`] against the real kernel, each test in a network namespace of its own. `ip` (iproute2) makes
//! the links and says what the kernel has. Without the right to make a namespace the tests fail.

use std::ffi::CStr;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use super::*;
use crate::fib::{FibOptions, FibRow, KernelState, METRIC, NextHopChange, PROTOCOL};
use crate::rib::PeerInfo;
use crate::speaker::{Action, Speaker};
use crate::types::{
    DestId, Family, NextHop, NextHopId, PeerId, PeerKind, Prefix, Prefix4, Prefix6, RouterId,
};
use crate::wire::AttributeEditor;

const INSIDE: &str = "KULAN_TEST_INSIDE_NAMESPACE";

/// Runs `body` in a new network namespace: in a thread if the process may, else in a child of its own in
/// a user namespace (a process with threads cannot enter one).
fn in_namespace(name: &str, body: fn()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let inside = std::thread::spawn(move || {
        // SAFETY: unshare takes no pointers; it changes the namespace of this thread only.
        let outcome = unsafe { libc::unshare(libc::CLONE_NEWNET) };
        let allowed = outcome == 0;
        if allowed {
            body();
        }
        allowed
    });
    match inside.join() {
        Ok(true) => {}
        Ok(false) => in_user_namespace(name),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn in_user_namespace(name: &str) {
    // SAFETY: getuid cannot fail and touches no memory of ours.
    let map = format!("0 {} 1\n\0", unsafe { libc::getuid() });
    let mut command = Command::new(std::env::current_exe().expect("a test knows its own binary"));
    command.args(["--exact", &format!("reactor::netlink::kernel_tests::{name}"), "--nocapture"]);
    command.env(INSIDE, "1");
    // SAFETY: between fork and exec only system calls are made, on memory that was made before.
    unsafe {
        command.pre_exec(move || {
            if libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET) != 0 {
                return Err(io::Error::last_os_error());
            }
            let path: &CStr = c"/proc/self/uid_map";
            let fd = libc::open(path.as_ptr(), libc::O_WRONLY);
            let written = libc::write(fd, map.as_ptr().cast(), map.len() - 1);
            if written < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
        });
    }
    let output = command.output().expect(
        "these tests need a network namespace: run them as root, or where users may make user namespaces",
    );
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "in the namespace:\n{text}");
}

macro_rules! kernel_test {
    ($($(#[$meta:meta])* fn $name:ident() $body:block)*) => {$(
        $(#[$meta])*
        #[test]
        fn $name() {
            in_namespace(stringify!($name), || $body);
        }
    )*};
}

/// Runs `ip` in the namespace and gives what it prints.
fn ip(arguments: &str) -> String {
    let output = Command::new("ip")
        .args(arguments.split_whitespace())
        .output()
        .expect("these tests need iproute2's ip command");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What the kernel shows for one prefix.
fn route(arguments: &str) -> String {
    ip(&format!("route show {arguments}")).split_whitespace().collect::<Vec<_>>().join(" ")
}

fn route6(arguments: &str) -> String {
    ip(&format!("-6 route show {arguments}")).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Two links with a carrier: `left` 10.1.0.1/24 2001:db8:1::1/64, `right` 10.2.0.1/24 2001:db8:2::1/64.
fn links() {
    ip("link set lo up");
    for (name, number) in [("left", 1), ("right", 2)] {
        ip(&format!("link add {name} type veth peer name {name}-end"));
        ip(&format!("link set {name} up"));
        ip(&format!("link set {name}-end up"));
        ip(&format!("addr add 10.{number}.0.1/24 dev {name}"));
        ip(&format!("addr add 2001:db8:{number}::1/64 dev {name} nodad"));
    }
}

/// The prefixes that a RIB would know, by family and destination.
#[derive(Default)]
struct Prefixes([Vec<Prefix>; 2]);

impl Destinations for Prefixes {
    fn prefix(&self, family: Family, dest: DestId) -> Prefix {
        self.0[family.index()][dest.index()]
    }

    fn find(&self, prefix: Prefix) -> Option<DestId> {
        let at = self.0[prefix.family().index()].iter().position(|known| *known == prefix)?;
        Some(DestId(at as u32))
    }
}

impl NetlinkSocket {
    /// A turn that looks whether something has come. Returns whether there is more to do, or to wait for.
    fn drive_once(&mut self, fib: &mut Fib, now: Time, destinations: &dyn Destinations) -> bool {
        self.note_readable();
        self.drive(fib, now, destinations).unwrap() || fib.is_sending()
    }
}

/// A domain with its socket, and the prefixes that a RIB would know.
struct Domain {
    socket: NetlinkSocket,
    fib: Fib,
    prefixes: Prefixes,
    hops: Vec<NextHop>,
    now: Time,
    changes: Vec<NextHopChange>,
}

fn options() -> FibOptions {
    FibOptions { install: true, max_paths: 4, ..FibOptions::default() }
}

impl Domain {
    fn new(options: FibOptions) -> Domain {
        let socket = NetlinkSocket::open(options.table, true, || {}).unwrap();
        Domain {
            socket,
            fib: Fib::new(options),
            prefixes: Prefixes::default(),
            hops: Vec::new(),
            now: Time(1_000),
            changes: Vec::new(),
        }
    }

    /// Started, and all of the kernel's state known.
    fn started(options: FibOptions) -> Domain {
        let mut domain = Domain::new(options);
        domain.settle();
        assert!(domain.fib.is_ready());
        domain
    }

    /// Works until nothing is left to do at this moment.
    fn settle(&mut self) {
        while self.socket.drive_once(&mut self.fib, self.now, &self.prefixes) {}
        while let Some(change) = self.fib.poll_next_hop_change() {
            self.changes.push(change);
        }
    }

    /// Works until `reached`, waiting for the kernel where it does things later.
    fn until(&mut self, what: &str, reached: impl Fn(&Domain) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            self.settle();
            if reached(self) {
                return;
            }
            assert!(Instant::now() < deadline, "never: {what}\n{:?}", self.rows());
            let mut fd =
                libc::pollfd { fd: self.socket.socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            // SAFETY: `fd` is one pollfd and lives through the call.
            unsafe { libc::poll(&mut fd, 1, 20) };
            self.now = self.now.plus_ms(20);
        }
    }

    fn hop(&mut self, addr: &str) -> NextHopId {
        self.hop_on(NextHop::new(addr.parse().unwrap()), 0)
    }

    fn hop_on(&mut self, next_hop: NextHop, ifindex: u32) -> NextHopId {
        let known = self.hops.iter().position(|known| *known == next_hop);
        let id = known.unwrap_or_else(|| {
            self.hops.push(next_hop);
            let id = self.hops.len() - 1;
            self.fib.track(NextHopId(id as u32), next_hop, ifindex);
            id
        });
        NextHopId(id as u32)
    }

    fn dest(&mut self, prefix: &str) -> (Family, DestId) {
        let prefix: Prefix = prefix.parse().unwrap();
        let family = prefix.family();
        let dest = self.prefixes.find(prefix).unwrap_or_else(|| {
            let prefixes = &mut self.prefixes.0[family.index()];
            prefixes.push(prefix);
            DestId(prefixes.len() as u32 - 1)
        });
        (family, dest)
    }

    fn set(&mut self, prefix: &str, hops: &[&str]) {
        let (family, dest) = self.dest(prefix);
        let hops: Vec<NextHopId> = hops.iter().map(|hop| self.hop(hop)).collect();
        self.fib.set_route(family, dest, &hops);
    }

    fn remove(&mut self, prefix: &str) {
        let (family, dest) = self.dest(prefix);
        self.fib.remove_route(family, dest);
    }

    fn rows(&self) -> Vec<FibRow> {
        let mut rows = Vec::new();
        for family in Family::ALL {
            for (dest, prefix) in self.prefixes.0[family.index()].iter().enumerate() {
                rows.extend(self.fib.row_of(family, DestId(dest as u32), *prefix));
            }
            rows.extend(self.fib.stale_rows(family, None));
        }
        rows
    }

    fn state(&self, prefix: &str) -> Option<KernelState> {
        let prefix: Prefix = prefix.parse().unwrap();
        self.rows().into_iter().find(|row| row.prefix == prefix).map(|row| row.state)
    }

    fn reported(&self, hop: NextHopId) -> Option<(bool, u32)> {
        let last = self.changes.iter().rev().find(|change| change.id == hop)?;
        Some((last.reachable, last.metric))
    }
}

/// A whole speaker with the kernel under it, which hears of routes without sessions.
struct Node {
    speaker: Speaker,
    socket: Option<NetlinkSocket>,
    now: Time,
}

impl Node {
    fn new(config: crate::config::Config) -> Node {
        let mut speaker = Speaker::new(config, 1);
        speaker.start(Time(1_000));
        Node { speaker, socket: None, now: Time(1_000) }
    }

    /// A peer announces 192.0.2.0/24.
    fn learn(&mut self, peer: u32, next_hop: &str) {
        let address = next_hop.parse().unwrap();
        let info = PeerInfo { kind: PeerKind::External, router_id: RouterId(peer), address, asn: 64500 };
        let rib = &mut self.speaker.rib;
        rib.set_peer(PeerId(peer), info);
        let mut block = Vec::new();
        let mut editor = AttributeEditor::on(&mut block);
        editor.set_origin(crate::wire::attrs::Origin::Igp).set_as_path(&[64500]);
        editor.finish().unwrap();
        let attrs = rib.intern(&block, NextHop::new(address));
        rib.announce4(PeerId(peer), attrs, &[Prefix4::new(0xc000_0200, 24)]);
        rib.release(attrs);
    }

    /// Turns like the reactor's until there is nothing left to do.
    fn settle(&mut self) {
        let mut more = true;
        while more {
            more = self.speaker.work(self.now);
            while let Some(action) = self.speaker.poll_action() {
                match action {
                    Action::OpenKernel { table, routes } => {
                        self.socket = Some(NetlinkSocket::open(table, routes, || {}).unwrap());
                    }
                    action => panic!("sessions are none of this: {action:?}"),
                }
            }
            if let (Some(socket), Some((fib, rib))) = (&mut self.socket, self.speaker.kernel()) {
                more |= socket.drive_once(fib, self.now, rib);
            }
            more |= self.speaker.wants_work();
        }
    }
}

kernel_test! {
    fn installs_and_removes_both_families() {
        links();
        let mut domain = Domain::started(options());
        domain.set("192.0.2.0/24", &["10.1.0.2"]);
        domain.set("0.0.0.0/0", &["10.2.0.2"]);
        domain.set("2001:db8:100::/48", &["2001:db8:1::2"]);
        domain.set("::/0", &["2001:db8:2::2"]);
        domain.settle();
        let shown = route("192.0.2.0/24");
        assert!(shown.contains("via 10.1.0.2 dev left") && shown.contains("nhid"), "{shown}");
        assert!(shown.contains(&format!("proto {PROTOCOL} metric {METRIC}")), "{shown}");
        assert!(route("default").contains("via 10.2.0.2 dev right"));
        assert!(route6("2001:db8:100::/48").contains("via 2001:db8:1::2 dev left"));
        assert!(route6("default").contains("via 2001:db8:2::2 dev right"));
        assert_eq!(domain.fib.stats().installed, 4);
        assert_eq!(domain.fib.stats().next_hop_objects, 4);

        domain.set("192.0.2.0/24", &["10.2.0.2"]);
        domain.settle();
        assert!(route("192.0.2.0/24").contains("via 10.2.0.2 dev right"));
        for prefix in ["192.0.2.0/24", "0.0.0.0/0", "2001:db8:100::/48", "::/0"] {
            domain.remove(prefix);
        }
        domain.settle();
        assert_eq!(route(&format!("proto {PROTOCOL}")), "");
        assert_eq!(route6(&format!("proto {PROTOCOL}")), "");
        assert_eq!(ip("nexthop show"), "", "unused objects are removed");
        assert!(!domain.fib.holds(Family::Ipv4Unicast, DestId(0)));
        assert_eq!(domain.fib.poll_timeout().filter(|at| *at <= domain.now), None);
    }

    fn shares_flows_between_next_hops() {
        links();
        let mut domain = Domain::started(options());
        domain.set("192.0.2.0/24", &["10.1.0.2", "10.2.0.2"]);
        domain.set("2001:db8:100::/48", &["2001:db8:1::2", "2001:db8:2::2"]);
        domain.settle();
        for shown in [route("192.0.2.0/24"), route6("2001:db8:100::/48")] {
            assert!(shown.contains("dev left weight 1") && shown.contains("dev right weight 1"), "{shown}");
        }
        // The same set in another order is the same group.
        let before = domain.fib.stats();
        domain.set("198.51.100.0/24", &["10.2.0.2", "10.1.0.2"]);
        domain.settle();
        let after = domain.fib.stats();
        assert_eq!(after.next_hop_objects, before.next_hop_objects);
        assert_eq!(after.requests, before.requests + 1);
        domain.set("192.0.2.0/24", &["10.1.0.2"]);
        domain.settle();
        let shown = route("192.0.2.0/24");
        assert!(shown.contains("dev left") && !shown.contains("dev right"), "{shown}");
    }

    fn takes_at_most_max_paths() {
        links();
        let mut domain = Domain::started(FibOptions { max_paths: 1, ..options() });
        domain.set("192.0.2.0/24", &["10.2.0.2", "10.1.0.2"]);
        domain.settle();
        let shown = route("192.0.2.0/24");
        assert!(shown.contains("dev right") && !shown.contains("dev left"), "{shown}");
    }

    fn a_changed_gateway_is_one_message_for_all_routes() {
        links();
        ip("route add 10.9.9.0/24 via 10.1.0.2 metric 7");
        let mut domain = Domain::started(options());
        for at in 0..500 {
            domain.set(&format!("172.16.{}.{}/32", at / 250, at % 250), &["10.9.9.9"]);
        }
        let hop = domain.hop("10.9.9.9");
        domain.settle();
        assert_eq!(domain.reported(hop), Some((true, 7)));
        assert_eq!(route("via 10.1.0.2 proto 75").matches("172.16").count(), 500);
        let before = domain.fib.stats().requests;
        ip("route replace 10.9.9.0/24 via 10.2.0.2 metric 7");
        domain.settle();
        assert_eq!(route("via 10.2.0.2 proto 75").matches("172.16").count(), 500);
        assert_eq!(domain.fib.stats().requests - before, 1);
        // Two ways need a group, which is another object: the routes are written again, and stay with it.
        ip("route replace 10.9.9.0/24 metric 7 nexthop via 10.1.0.2 nexthop via 10.2.0.2");
        domain.settle();
        let shown = route("proto 75");
        assert_eq!(shown.matches("via 10.1.0.2 dev left").count(), 500);
        assert_eq!(shown.matches("via 10.2.0.2 dev right").count(), 500);
        let before = domain.fib.stats().requests;
        ip("route replace 10.9.9.0/24 via 10.2.0.2 metric 7");
        domain.settle();
        assert_eq!(route("proto 75").matches("via 10.2.0.2 dev right").count(), 500);
        // The group, and the leg that it no longer has.
        assert_eq!(domain.fib.stats().requests - before, 2);
    }

    fn ipv4_routes_have_ipv6_next_hops() {
        links();
        let mut domain = Domain::started(options());
        domain.set("192.0.2.0/24", &["2001:db8:1::2"]);
        // A link-local address alone, known from the session's interface.
        let left = domain.fib.link_of_address("10.1.0.1".parse().unwrap()).unwrap();
        let hop = domain.hop_on(NextHop::new("fe80::2".parse().unwrap()), left);
        let (family, dest) = domain.dest("198.51.100.0/24");
        domain.fib.set_route(family, dest, &[hop]);
        // A link-local address beside the global one is used on the link that the global one is on.
        let both = NextHop {
            addr: "2001:db8:2::7".parse().unwrap(),
            link_local: Some("fe80::7".parse().unwrap()),
        };
        let hop = domain.hop_on(both, 0);
        let (family, dest) = domain.dest("2001:db8:100::/48");
        domain.fib.set_route(family, dest, &[hop]);
        // Not even asked of the kernel: it has no such thing.
        domain.set("2001:db8:200::/48", &["10.1.0.2"]);
        domain.settle();
        assert!(route("192.0.2.0/24").contains("via inet6 2001:db8:1::2 dev left"));
        assert!(route("198.51.100.0/24").contains("via inet6 fe80::2 dev left"));
        assert!(route6("2001:db8:100::/48").contains("via fe80::7 dev right"));
        assert!(matches!(domain.state("2001:db8:200::/48"), Some(KernelState::Failed { .. })));
    }

    fn routes_of_others_are_left_alone() {
        links();
        ip("route add 192.0.2.0/24 via 10.1.0.9 metric 20 proto static");
        ip("-6 route add 2001:db8:100::/48 via 2001:db8:1::9 metric 20 proto static");
        ip("route add 203.0.113.0/24 via 10.1.0.9 metric 5 proto static");
        let mut domain = Domain::started(options());
        // Two hundred in one batch, of which one fails.
        for at in 0..200 {
            domain.set(&format!("172.16.0.{at}/32"), &["10.1.0.2"]);
            if at == 100 {
                domain.set("192.0.2.0/24", &["10.1.0.2"]);
            }
        }
        domain.set("2001:db8:100::/48", &["2001:db8:1::2"]);
        domain.set("203.0.113.0/24", &["10.1.0.2"]);
        domain.settle();
        assert_eq!(domain.fib.stats().installed, 201);
        for prefix in ["192.0.2.0/24", "2001:db8:100::/48"] {
            assert_eq!(domain.state(prefix), Some(KernelState::Foreign));
        }
        assert!(route("192.0.2.0/24").contains("via 10.1.0.9 dev left proto static"));
        assert!(route6("2001:db8:100::/48").contains("via 2001:db8:1::9 dev left proto static"));
        assert_eq!(route("203.0.113.0/24").matches("via").count(), 2, "another metric is no conflict");
        // Removing the wish removes nothing of others; restarting sweeps nothing of others.
        domain.remove("192.0.2.0/24");
        domain.settle();
        assert!(route("192.0.2.0/24").contains("proto static"));
        domain.fib.end_of_initial_sync();
        domain.settle();
        assert_eq!(route("proto static").matches("via 10.1.0.9").count(), 2);
        // The way is free: ours goes in.
        ip("-6 route del 2001:db8:100::/48 metric 20 proto static");
        domain.settle();
        assert!(route6("2001:db8:100::/48").contains("proto 75"));
    }

    fn a_restart_keeps_what_is_learned_again_and_sweeps_the_rest() {
        links();
        let all = ["192.0.2.0/24", "198.51.100.0/24", "2001:db8:100::/48", "2001:db8:200::/48"];
        let mut first = Domain::started(options());
        first.set(all[0], &["10.1.0.2", "10.2.0.2"]);
        first.set(all[1], &["10.2.0.2"]);
        first.set(all[2], &["2001:db8:1::2"]);
        first.set(all[3], &["2001:db8:2::2"]);
        first.settle();
        drop(first);
        let kept = (route(all[0]), route6(all[2]));

        let mut domain = Domain::started(options());
        let stale = domain.rows();
        assert!(stale.iter().all(|row| row.state == KernelState::Stale));
        let mut prefixes: Vec<Prefix> = all.iter().map(|prefix| prefix.parse().unwrap()).collect();
        prefixes.sort_unstable();
        assert_eq!(stale.iter().map(|row| row.prefix).collect::<Vec<_>>(), prefixes);
        assert_eq!(stale.iter().map(|row| row.legs.len()).sum::<usize>(), 5, "where they lead: {stale:?}");
        let behind = domain.fib.stale_rows(Family::Ipv4Unicast, Some(prefixes[0]));
        assert_eq!(behind.map(|row| row.prefix).collect::<Vec<_>>(), prefixes[1..2]);
        assert_eq!(domain.fib.stale_until(), Some(domain.now.plus_s(options().stale_time_s)));
        let before = domain.fib.stats().requests;
        domain.set(all[0], &["10.1.0.2", "10.2.0.2"]);
        domain.set(all[2], &["2001:db8:1::2"]);
        domain.settle();
        assert_eq!(domain.fib.stats().requests, before, "what is as wanted costs no write");
        domain.set(all[1], &["10.1.0.2"]);
        domain.settle();
        assert!(route(all[1]).contains("via 10.1.0.2 dev left"));
        assert!(route6(all[3]).contains("proto 75"), "kept until the end of the initial synchronisation");
        domain.fib.end_of_initial_sync();
        domain.settle();
        assert_eq!((route(all[0]), route6(all[2])), kept);
        assert_eq!(route6(all[3]), "");
        assert_eq!(domain.fib.stats().stale, 0);
        // A group of two legs, one way of IPv4, one of IPv6: no other object is left.
        assert_eq!(ip("nexthop show").lines().count(), 5, "{}", ip("nexthop show"));
    }

    fn stale_routes_go_when_the_wait_is_over() {
        links();
        let mut first = Domain::started(options());
        first.set("192.0.2.0/24", &["10.1.0.2"]);
        first.settle();
        drop(first);
        let mut domain = Domain::started(FibOptions { stale_time_s: 60, ..options() });
        assert_eq!(domain.fib.poll_timeout(), Some(domain.now.plus_s(60)));
        domain.now = domain.now.plus_s(59);
        domain.settle();
        assert!(route("192.0.2.0/24").contains("proto 75"));
        domain.now = domain.now.plus_s(1);
        domain.settle();
        assert_eq!((route("192.0.2.0/24"), ip("nexthop show")), (String::new(), String::new()));
    }

    fn next_hops_follow_routes_and_links() {
        links();
        let mut domain = Domain::started(options());
        let connected = domain.hop("10.1.0.2");
        let own = domain.hop("10.1.0.1");
        let remote = domain.hop("203.0.113.1");
        let remote6 = domain.hop("2001:db8:ffff::1");
        // A BGP route must not resolve a BGP next hop.
        domain.set("203.0.113.0/24", &["10.1.0.2"]);
        domain.settle();
        assert!(route("203.0.113.0/24").contains("proto 75"));
        assert_eq!(domain.reported(connected), Some((true, 0)));
        for unreachable in [own, remote, remote6] {
            assert_eq!(domain.reported(unreachable), Some((false, u32::MAX)));
        }
        ip("route add default via 10.2.0.2 metric 77");
        ip("-6 route add default via 2001:db8:2::2 metric 78");
        domain.settle();
        assert_eq!(domain.reported(remote), Some((true, 77)));
        assert_eq!(domain.reported(remote6), Some((true, 78)));
        ip("route add blackhole 203.0.113.1/32");
        domain.settle();
        assert_eq!(domain.reported(remote), Some((false, u32::MAX)));
        ip("route del 203.0.113.1/32");
        ip("route add 203.0.113.1/32 nexthop via 10.1.0.3 nexthop via 10.2.0.3");
        domain.set("198.51.100.0/24", &["203.0.113.1"]);
        domain.settle();
        let shown = route("198.51.100.0/24");
        assert!(shown.contains("via 10.1.0.3") && shown.contains("via 10.2.0.3"), "{shown}");
        ip("route del default");
        ip("link set right down");
        domain.settle();
        assert_eq!(domain.reported(remote6), Some((false, u32::MAX)));
        assert_eq!(domain.reported(connected), Some((true, 0)));
        ip("addr del 10.1.0.1/24 dev left");
        domain.settle();
        assert_eq!(domain.reported(connected), Some((false, u32::MAX)));
    }

    fn routes_come_back_with_their_link() {
        links();
        let mut domain = Domain::started(options());
        for at in 0..300 {
            domain.set(&format!("172.16.{}.{}/32", at / 250, at % 250), &["10.1.0.2"]);
        }
        domain.set("2001:db8:100::/48", &["2001:db8:1::2"]);
        domain.set("192.0.2.0/24", &["10.1.0.2", "10.2.0.2"]);
        let hop = domain.hop("10.1.0.2");
        domain.settle();
        let shown = |domain: &Domain| {
            assert_eq!(domain.fib.stats().installed, 302);
            route("proto 75").matches("via 10.1.0.2 dev left").count()
        };
        assert_eq!(shown(&domain), 301);

        // The other end goes down: no carrier. The kernel drops the objects and what used only them.
        ip("link set left-end down");
        domain.until("unreachable", |domain| domain.reported(hop) == Some((false, u32::MAX)));
        assert_eq!(domain.state("172.16.0.1/32"), Some(KernelState::Unresolved));
        assert!(route("192.0.2.0/24").contains("dev right"), "the other leg carries on");
        ip("link set left-end up");
        domain.until("reachable", |domain| domain.reported(hop) == Some((true, 0)));
        assert_eq!(shown(&domain), 301);
        assert!(route6("2001:db8:100::/48").contains("proto 75"));

        ip("link set left down");
        domain.until("unreachable", |domain| domain.reported(hop) == Some((false, u32::MAX)));
        ip("link set left up");
        domain.until("reachable", |domain| domain.reported(hop) == Some((true, 0)));
        assert_eq!(shown(&domain), 301);
    }

    fn objects_that_somebody_removes_are_made_again() {
        links();
        let mut domain = Domain::started(options());
        domain.set("192.0.2.0/24", &["10.1.0.2"]);
        domain.set("2001:db8:100::/48", &["2001:db8:1::2"]);
        domain.settle();
        ip("nexthop flush proto 75");
        assert_eq!(route("192.0.2.0/24"), "");
        domain.settle();
        assert!(route("192.0.2.0/24").contains("via 10.1.0.2 dev left"));
        assert!(route6("2001:db8:100::/48").contains("via 2001:db8:1::2 dev left"));
    }

    fn an_overrun_is_repaired() {
        links();
        let mut domain = Domain::started(options());
        let hop = domain.hop("10.77.200.9");
        domain.set("192.0.2.0/24", &["10.1.0.2"]);
        domain.settle();
        assert_eq!(domain.reported(hop), Some((false, u32::MAX)));
        set_option(&domain.socket.socket, libc::SO_RCVBUF, &4096).unwrap();
        ip("route del 192.0.2.0/24 proto 75");
        for at in 0..60 {
            ip(&format!("route add 10.77.{}.0/24 via 10.1.0.2", 141 + at));
        }
        domain.settle();
        let stats = domain.fib.stats();
        assert!(stats.overruns > 0 && stats.repairs > 0, "{stats:?}");
        assert_eq!(domain.reported(hop), Some((true, 0)), "learned by reading the table again");
        assert!(route("192.0.2.0/24").contains("proto 75"), "what was lost is written again");
    }

    fn what_others_remove_or_change_is_put_back() {
        links();
        let mut domain = Domain::started(options());
        let gone = ["192.0.2.0/24", "2001:db8:100::/48"];
        for prefix in gone.into_iter().chain(["198.51.100.0/24", "203.0.113.0/24", "2001:db8:200::/48"]) {
            domain.set(prefix, &["2001:db8:1::2"]);
        }
        domain.fib.end_of_initial_sync();
        domain.settle();

        ip("route del 192.0.2.0/24 proto 75");
        ip("-6 route del 2001:db8:100::/48 proto 75");
        ip("route replace 198.51.100.0/24 via 10.1.0.9 proto 75 metric 20");
        ip("-6 route replace 2001:db8:200::/48 via 2001:db8:1::9 proto static metric 20");
        ip("route add 100.64.0.0/10 via 10.1.0.2 proto 75 metric 20");
        domain.settle();
        let states = [
            (gone[0], KernelState::Missing),
            (gone[1], KernelState::Missing),
            ("198.51.100.0/24", KernelState::Differs),
            ("2001:db8:200::/48", KernelState::Foreign),
            ("203.0.113.0/24", KernelState::Installed),
        ];
        for (prefix, state) in states.clone() {
            assert_eq!(domain.state(prefix), Some(state), "{prefix}");
        }
        assert_eq!(route(gone[0]), "", "not in a race with the person");

        domain.now = domain.now.plus_s(1);
        domain.settle();
        for (prefix, state) in states {
            let mended = if state == KernelState::Foreign { state } else { KernelState::Installed };
            assert_eq!(domain.state(prefix), Some(mended), "{prefix}");
        }
        assert!(route(gone[0]).contains("proto 75") && route6(gone[1]).contains("proto 75"));
        assert!(route("198.51.100.0/24").contains("via inet6 2001:db8:1::2"));
        assert!(route6("2001:db8:200::/48").contains("via 2001:db8:1::9"));
        assert_eq!(route("100.64.0.0/10"), "");
        assert_eq!(domain.fib.stats().repairs, 0, "without reading the table");
        // And when the other one lets go of it:
        ip("-6 route del 2001:db8:200::/48 proto static metric 20");
        domain.settle();
        assert!(route6("2001:db8:200::/48").contains("proto 75"));
    }

    fn a_flushed_table_is_filled_again() {
        links();
        let mut domain = Domain::started(FibOptions { table: 1000, ..options() });
        for at in 0..1_000 {
            domain.set(&format!("172.16.{}.{}/32", at / 250, at % 250), &["10.1.0.2"]);
            domain.set(&format!("2001:db8:100:{at:x}::/64"), &["2001:db8:1::2"]);
        }
        ip("route add 10.1.0.0/24 dev left table 1000");
        ip("-6 route add 2001:db8:1::/64 dev left table 1000");
        domain.settle();
        let count = || {
            let shown = ip("route show table 1000 proto 75") + &ip("-6 route show table 1000 proto 75");
            shown.lines().count()
        };
        assert_eq!(count(), 2_000);
        // Else the kernel says of a route both its object and what that says, and refuses to remove what it said.
        std::fs::write("/proc/sys/net/ipv4/nexthop_compat_mode", "0").unwrap();
        ip("route flush table 1000 proto 75");
        ip("-6 route flush table 1000 proto 75");
        domain.settle();
        assert_eq!(count(), 0);
        domain.now = domain.now.plus_s(1);
        domain.settle();
        assert_eq!(count(), 2_000);
        assert_eq!(domain.fib.stats().mended, 2_000);
    }

    fn objects_that_somebody_changes_are_put_right() {
        links();
        let mut domain = Domain::started(options());
        domain.set("192.0.2.0/24", &["10.1.0.2"]);
        domain.set("198.51.100.0/24", &["10.1.0.2", "10.2.0.2"]);
        domain.settle();
        let before = (route("192.0.2.0/24"), route("198.51.100.0/24"), ip("nexthop show"));
        let mut singles = before.2.lines().filter(|line| !line.contains("group"));
        let single = singles.next().and_then(|line| line.split_whitespace().nth(1)).unwrap();
        ip(&format!("nexthop replace id {single} via 10.2.0.77 dev right proto 75"));
        assert_ne!(ip("nexthop show"), before.2);
        domain.settle();
        assert_eq!((route("192.0.2.0/24"), route("198.51.100.0/24"), ip("nexthop show")), before);
        // A second time one waits, a leg of a group as well as a route's own object.
        for line in before.2.lines().filter(|line| !line.contains("group")) {
            ip(&format!("nexthop del id {}", line.split_whitespace().nth(1).unwrap()));
        }
        domain.settle();
        ip("nexthop flush proto 75");
        domain.settle();
        assert_eq!(domain.state("192.0.2.0/24"), Some(KernelState::Missing));
        assert_eq!(domain.state("198.51.100.0/24"), Some(KernelState::Missing));
        domain.now = domain.now.plus_s(4);
        domain.settle();
        assert_eq!((route("192.0.2.0/24"), route("198.51.100.0/24"), ip("nexthop show")), before);
    }

    fn what_moves_is_in_its_new_place_before_it_leaves_the_old_one() {
        links();
        // A table that has never had a route cannot be shown.
        ip("route add blackhole 203.0.113.0/24 table 1000");
        ip("-6 route add blackhole 2001:db8:bad::/48 table 1000");
        let routes = ["192.0.2.0/24", "2001:db8:100::/48"];
        let hops = [&["10.1.0.2", "10.2.0.2"][..], &["2001:db8:1::2"]];
        let mut domain = Domain::started(options());
        domain.fib.end_of_initial_sync();
        for (prefix, hops) in routes.iter().zip(hops) {
            domain.set(prefix, hops);
        }
        domain.settle();
        let shown = |place: &str| {
            let lines = ip(&format!("route show {place} proto 75")) + &ip(&format!("-6 route show {place} proto 75"));
            // The ways of a group have lines of their own.
            lines.lines().filter(|line| line.contains('/')).count()
        };
        for (table, metric) in [(254, 30), (1000, 30), (1000, 20), (254, 20)] {
            let evict = domain.fib.places();
            let old = format!("table {} metric {}", evict[0].0, evict[0].1);
            let new = format!("table {table} metric {metric}");
            domain = Domain::started(FibOptions { table, metric, evict, ..options() });
            assert_eq!((shown(&old), shown(&new)), (2, 0));
            for (prefix, hops) in routes.iter().zip(hops) {
                domain.set(prefix, hops);
            }
            domain.settle();
            assert_eq!((shown(&old), shown(&new)), (2, 2));
            domain.fib.end_of_initial_sync();
            domain.settle();
            assert_eq!((shown(&old), shown(&new)), (0, 2));
            assert_eq!(ip("nexthop show").lines().count(), 4, "a group, its two legs, a single one: {new}");
            assert_eq!(domain.fib.places(), [(table, metric)]);
        }
        let domain = Domain::started(FibOptions { install: false, evict: domain.fib.places(), ..options() });
        assert_eq!((shown("table all"), ip("nexthop show").as_str()), (0, ""));
        assert_eq!(domain.fib.places(), []);
    }

    fn a_reload_changes_how_the_kernel_is_used() {
        links();
        ip("route add blackhole 203.0.113.0/24 table 1000");
        let config = |domain: &str| {
            let text = format!(
                "[speaker]\nasn = 65000\nrouter_id = \"10.0.0.1\"\nlisten = []\n[[domain]]\nname = \"default\"\n{domain}"
            );
            crate::config::parse(&text, "test.toml", std::path::Path::new(".")).unwrap()
        };
        let mut node = Node::new(config(""));
        node.learn(1, "10.1.0.2");
        node.learn(2, "10.2.0.2");
        node.settle();
        assert_eq!(route("proto 75"), "");
        let mut reload = |domain: &str| {
            node.speaker.reload(node.now, config(domain));
            node.settle();
            (route("192.0.2.0/24"), route("192.0.2.0/24 table 1000"))
        };
        let (main, _) = reload("install = true");
        assert!(main.contains("via 10.1.0.2 dev left proto 75 metric 20") && !main.contains("right"), "{main}");
        let (main, _) = reload("install = true\nmax_paths = 2");
        assert!(main.contains("dev left") && main.contains("dev right"), "{main}");
        let (main, _) = reload("install = true\nmax_paths = 2\nmetric = 30");
        assert!(main.contains("dev right") && main.contains("metric 30") && !main.contains("metric 20"), "{main}");
        let (main, table) = reload("install = true\nmax_paths = 1\ntable = 1000");
        assert!(main.is_empty() && table.contains("via 10.1.0.2 dev left proto 75 metric 20"), "{main}{table}");
        assert_eq!(reload("table = 1000"), Default::default());
        assert_eq!(ip("nexthop show"), "");
    }

    fn domains_have_tables_of_their_own() {
        links();
        ip("route add 10.50.0.0/24 dev left table 1000");
        let mut one = Domain::started(FibOptions { table: 1000, ..options() });
        let mut two = Domain::started(FibOptions { table: 20, ..options() });
        one.set("192.0.2.0/24", &["10.50.0.9"]);
        two.set("192.0.2.0/24", &["10.2.0.2"]);
        one.settle();
        two.settle();
        // Main does not know 10.50.0.0/24, so the kernel has to be told.
        assert!(route("192.0.2.0/24 table 1000").contains("via 10.50.0.9 dev left"));
        assert!(route("192.0.2.0/24 table 1000").contains("onlink"));
        assert!(route("192.0.2.0/24 table 20").contains("via 10.2.0.2 dev right"));
        assert_eq!(route("192.0.2.0/24"), "");
        // One domain's sweep does not touch the other's routes or objects.
        one.remove("192.0.2.0/24");
        one.fib.end_of_initial_sync();
        one.settle();
        two.settle();
        assert_eq!(route("proto 75 table 1000"), "");
        assert!(route("192.0.2.0/24 table 20").contains("via 10.2.0.2 dev right"));
        assert_eq!(two.state("192.0.2.0/24"), Some(KernelState::Installed));
    }

    fn a_hundred_thousand_routes() {
        links();
        let mut domain = Domain::started(options());
        let hop = domain.hop("10.1.0.2");
        let hop6 = domain.hop("2001:db8:1::2");
        for at in 0..50_000u32 {
            domain.prefixes.0[0].push(Prefix::V4(Prefix4::new(0x0b00_0000 + (at << 8), 24)));
            domain.prefixes.0[1].push(Prefix::V6(Prefix6::new(0x2a00 << 112 | u128::from(at) << 80, 48)));
            domain.fib.set_route(Family::Ipv4Unicast, DestId(at), &[hop]);
            domain.fib.set_route(Family::Ipv6Unicast, DestId(at), &[hop6]);
        }
        let start = Instant::now();
        domain.settle();
        println!("100,000 routes: {:?}", start.elapsed());
        assert_eq!(domain.fib.stats().installed, 100_000);
        assert_eq!(ip("route show proto 75").lines().count(), 50_000);
        assert_eq!(ip("-6 route show proto 75").lines().count(), 50_000);
        for at in 0..50_000 {
            domain.fib.remove_route(Family::Ipv4Unicast, DestId(at));
            domain.fib.remove_route(Family::Ipv6Unicast, DestId(at));
        }
        let start = Instant::now();
        domain.settle();
        println!("removed: {:?}", start.elapsed());
        assert_eq!(ip("route show proto 75") + &ip("-6 route show proto 75") + &ip("nexthop show"), "");
    }
}
