//! A [`Fib`] against the real kernel, each test in a network namespace of its own. `ip` (iproute2) makes
//! the links and says what the kernel has. Without the right to make a namespace the tests fail.

use std::ffi::CStr;
use std::net::IpAddr;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use super::*;
use crate::fib::{FibOptions, FibRow, KernelState, METRIC, NextHopChange, PROTOCOL};
use crate::types::{NextHop, NextHopId};

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

/// A domain with its socket, and the prefixes that a RIB would know.
struct Domain {
    socket: NetlinkSocket,
    fib: Fib,
    prefixes: [Vec<Prefix>; 2],
    hops: Vec<NextHop>,
    now: Time,
    changes: Vec<NextHopChange>,
}

fn options() -> FibOptions {
    FibOptions { install: true, max_paths: 4, ..FibOptions::default() }
}

impl Domain {
    fn new(options: FibOptions) -> Domain {
        let socket = NetlinkSocket::open(options.table).unwrap();
        Domain {
            socket,
            fib: Fib::new(options),
            prefixes: [Vec::new(), Vec::new()],
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
        let prefixes = &self.prefixes;
        let prefix = |family: Family, dest: DestId| prefixes[family.index()][dest.index()];
        while self.socket.drive(&mut self.fib, self.now, &prefix).unwrap() {}
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
        let prefixes = &mut self.prefixes[family.index()];
        let known = prefixes.iter().position(|known| *known == prefix);
        let at = known.unwrap_or_else(|| {
            prefixes.push(prefix);
            prefixes.len() - 1
        });
        (family, DestId(at as u32))
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
        let prefix = |family: Family, dest: DestId| self.prefixes[family.index()][dest.index()];
        let (mut rows, mut after) = (Vec::new(), None);
        loop {
            after = self.fib.rows(after, 3, &prefix, &mut rows);
            if after.is_none() {
                return rows;
            }
        }
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
        // Both sets and both legs of each family.
        assert_eq!(domain.fib.stats().next_hop_objects, 8);

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
}
