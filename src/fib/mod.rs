//! What the kernel should hold for one routing domain, and how it is brought to hold it.
//!
//! A [`Fib`] is told which destinations should have which next hops, and gives back batches of netlink
//! requests (rtnetlink(7)) that bring the kernel's table there; it reads the kernel's replies and
//! notifications. It owns no fd and no clock: the reactor sends what [`Fib::poll_batch`] wrote and hands
//! in what came back. The same reading of links, routes and next-hop objects answers the question whether
//! a BGP next hop is resolvable, and at what cost (RFC 4271 §9.1.2.1), which [`Fib::poll_next_hop_change`]
//! reports to the decision process.
//!
//! It guarantees: only routes that carry kulan's protocol number in the domain's own table, with the
//! domain's metric, are ever changed or removed; a destination has at most one pending operation and the
//! newest wins; next-hop objects exist before the routes that use them and go after them; whatever was
//! lost (an overrun, a batch without an answer) is found by reading the table again, not guessed.

use std::net::IpAddr;

use crate::types::{DestId, Family, NextHop, NextHopId, Prefix, Time};

/// The number that marks kulan's routes and next-hop objects (`rtm_protocol`, `nh_protocol`). Free in
/// iproute2's `rt_protos`, in FRR's own numbers (186 to 198) and in Cilium's (which uses `kernel`).
pub const PROTOCOL: u8 = 75;

/// The metric of installed routes unless configured: better than what DHCP clients and router
/// advertisements install, worse than a static route without a metric.
pub const METRIC: u32 = 20;

/// How one domain uses the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FibOptions {
    /// The kernel table that routes go into; 254 is main.
    pub table: u32,
    /// The most next hops that one route gets; at least 1.
    pub max_paths: usize,
    /// The metric (`RTA_PRIORITY`) of every installed route. Must not be 0.
    pub metric: u32,
    /// The protocol number that marks our routes.
    pub protocol: u8,
    /// Whether routes are installed at all. Next hops are tracked either way.
    pub install: bool,
    /// How long routes of an earlier run are kept when nobody calls [`Fib::end_of_initial_sync`].
    pub stale_time_s: u64,
}

impl Default for FibOptions {
    fn default() -> FibOptions {
        FibOptions {
            table: 254,
            max_paths: 1,
            metric: METRIC,
            protocol: PROTOCOL,
            install: false,
            stale_time_s: 600,
        }
    }
}

/// A tracked next hop whose resolution changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextHopChange {
    /// The handle given to [`Fib::track`].
    pub id: NextHopId,
    /// Whether the kernel's tables resolve it (RFC 4271 §9.1.2.1).
    pub reachable: bool,
    /// The metric of the route that resolves it; 0 for a connected one, `u32::MAX` if there is none.
    pub metric: u32,
}

/// What the kernel has for one route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KernelState {
    /// In the kernel as wanted.
    Installed,
    /// A write is queued or under way.
    Pending,
    /// The kernel does not have it although it was installed: someone else removed it.
    Missing,
    /// The kernel has it with other next hops.
    Differs,
    /// A route of somebody else stands at the same prefix and metric; it is left alone.
    Foreign,
    /// No next hop resolves at the moment.
    Unresolved,
    /// In the kernel from an earlier run and not learned again yet.
    Stale,
    /// The kernel refused it.
    Failed {
        /// The positive errno.
        errno: i32,
        /// What the kernel says about it, if it does, or what kulan knows.
        text: String,
    },
}

/// One line of `kulan show fib`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FibRow {
    /// The route.
    pub prefix: Prefix,
    /// The BGP next hops that are wanted.
    pub next_hops: Vec<IpAddr>,
    /// Where packets go: gateway and interface index of each leg of the next hops' resolution.
    pub legs: Vec<(IpAddr, u32)>,
    /// How it stands in the kernel.
    pub state: KernelState,
}

/// Where a walk of [`Fib::rows`] goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowCursor(u64);

/// What a comparison with the kernel found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuditReport {
    /// Routes compared.
    pub checked: u32,
    /// Wanted, and not in the kernel.
    pub missing: u32,
    /// In the kernel with other next hops.
    pub differs: u32,
    /// Taken by a route of somebody else.
    pub foreign: u32,
    /// Ours in the kernel and not wanted.
    pub extra: u32,
}

/// Counters and gauges of a [`Fib`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FibStats {
    /// Routes that the kernel has as wanted.
    pub installed: u64,
    /// Operations that wait to be sent or answered.
    pub pending: u64,
    /// Routes that cannot be installed now, for whatever reason.
    pub troubled: u64,
    /// Routes of an earlier run that are still kept.
    pub stale: u64,
    /// Next-hop objects in the kernel.
    pub next_hop_objects: u64,
    /// Requests sent since the start.
    pub requests: u64,
    /// Requests that the kernel refused.
    pub errors: u64,
    /// How often the kernel's messages overran the socket's buffer.
    pub overruns: u64,
    /// How often the kernel's tables were read anew to repair.
    pub repairs: u64,
}

/// A network interface as the kernel shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The interface index.
    pub ifindex: u32,
    /// The interface's name.
    pub name: String,
    /// Administratively up and with a carrier.
    pub usable: bool,
}

/// The routes and next hops of one domain, and the way into the kernel's table. See the module's essay.
pub struct Fib {
    options: FibOptions,
}

impl Fib {
    /// A domain's kernel state; nothing is read or written before the first [`Fib::poll_batch`].
    pub fn new(options: FibOptions) -> Fib {
        Fib { options }
    }

    /// What it was made with.
    pub fn options(&self) -> &FibOptions {
        &self.options
    }

    /// Wants `dest` to have the next hops `next_hops`, best first; all must be tracked. At most
    /// `max_paths` are used. Without any, the same as [`Fib::remove_route`].
    pub fn set_route(&mut self, family: Family, dest: DestId, next_hops: &[NextHopId]) {
        let _ = (family, dest, next_hops);
    }

    /// Wants `dest` not to be in the kernel.
    pub fn remove_route(&mut self, family: Family, dest: DestId) {
        let _ = (family, dest);
    }

    /// Whether the destination is still needed here, for its prefix: wanted, or not yet removed.
    pub fn holds(&self, family: Family, dest: DestId) -> bool {
        let _ = (family, dest);
        false
    }

    /// Follows a next hop: its state is reported once it is known and then at each change. `ifindex` is
    /// the interface of the session that a link-local address was learned on; 0 if there is none.
    pub fn track(&mut self, id: NextHopId, next_hop: NextHop, ifindex: u32) {
        let _ = (id, next_hop, ifindex);
    }

    /// Stops following a next hop. Routes that use it keep it until they are changed.
    pub fn untrack(&mut self, id: NextHopId) {
        let _ = id;
    }

    /// A tracked next hop whose reachability or metric changed.
    pub fn poll_next_hop_change(&mut self) -> Option<NextHopChange> {
        None
    }

    /// Writes the next requests into `out` (which is cleared), to be passed to the kernel in one send;
    /// returns whether there are any. The caller reads the replies before it asks again. `prefix` tells
    /// the prefix of a destination that [`Fib::holds`].
    pub fn poll_batch(
        &mut self,
        now: Time,
        prefix: &dyn Fn(Family, DestId) -> Prefix,
        out: &mut Vec<u8>,
    ) -> bool {
        let _ = (now, prefix);
        out.clear();
        false
    }

    /// Takes what was read from the netlink socket: whole messages, replies and notifications mixed.
    pub fn handle_netlink(&mut self, now: Time, bytes: &[u8]) {
        let _ = (now, bytes);
    }

    /// The send of the last batch failed with this (positive) errno: nothing of it was done.
    pub fn handle_send_error(&mut self, now: Time, errno: i32) {
        let _ = (now, errno);
    }

    /// A receive failed with this (positive) errno. ENOBUFS means that messages were lost.
    pub fn handle_receive_error(&mut self, now: Time, errno: i32) {
        let _ = (now, errno);
    }

    /// When [`Fib::poll_batch`] wants to be called even if nothing else happens.
    pub fn poll_timeout(&self) -> Option<Time> {
        None
    }

    /// Whether the kernel's state has been read, so that next hops are known.
    pub fn is_ready(&self) -> bool {
        false
    }

    /// All peers have sent their tables (End-of-RIB), or the wait for them is over: what an earlier run
    /// left in the kernel and nobody announced again is removed.
    pub fn end_of_initial_sync(&mut self) {}

    /// Compares the kernel's table with what is wanted, and with `repair` brings it there. The result is
    /// [`Fib::audit`] when the table has been read.
    pub fn begin_audit(&mut self, repair: bool) {
        let _ = repair;
    }

    /// The last comparison's result; `None` while one is under way or if there was none.
    pub fn audit(&self) -> Option<AuditReport> {
        None
    }

    /// Up to `limit` rows after `after`, in no order of prefixes, into `out`; where to go on, or `None`
    /// at the end.
    pub fn rows(
        &self,
        after: Option<RowCursor>,
        limit: usize,
        prefix: &dyn Fn(Family, DestId) -> Prefix,
        out: &mut Vec<FibRow>,
    ) -> Option<RowCursor> {
        let _ = (after, limit, prefix, out);
        None
    }

    /// What keeps the domain from working at all, for people: a missing privilege, a kernel too old.
    pub fn complaint(&self) -> Option<&str> {
        None
    }

    /// Counters and gauges.
    pub fn stats(&self) -> FibStats {
        FibStats::default()
    }

    /// The interface that has `addr` as one of its own addresses.
    pub fn link_of_address(&self, addr: IpAddr) -> Option<u32> {
        let _ = addr;
        None
    }

    /// All interfaces, ordered by index.
    pub fn links(&self) -> Vec<Link> {
        Vec::new()
    }

    /// The addresses of an interface with their prefix lengths.
    pub fn addresses(&self, ifindex: u32) -> Vec<(IpAddr, u8)> {
        let _ = ifindex;
        Vec::new()
    }
}
