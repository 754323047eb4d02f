//! The routing information base of one domain: every path that peers gave us, and which of them is best.
//!
//! One [`Rib`] holds, for both families, the destinations (RFC 4271 calls them the NLRI of a route) and
//! their paths. The paths *are* the Adj-RIB-In after import policy, and the head of each destination's
//! list is the Loc-RIB: there is no second copy of the table (RFC 4271 §3.2 leaves that to us).
//!
//! What the room guarantees:
//! - no I/O, no clock, no randomness: the hash seed is a parameter;
//! - handles ([`DestId`], [`AttrId`], [`NextHopId`]) stay valid until their holder lets go;
//! - every long job (a peer going down, stale routes, a next hop that moves, new options) is a cursor that
//!   [`Rib::decide`] advances within a budget;
//! - a change of a destination's best path or ECMP set is reported once, after the decision process of
//!   RFC 4271 §9.1.2 has run for it.

use std::net::IpAddr;

use smallvec::SmallVec;

use crate::types::*;

/// What the decision process compares, beside the bytes of an interned set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttrMeta {
    /// LOCAL_PREF; 100 when absent.
    pub local_pref: u32,
    /// MULTI_EXIT_DISC; 0 when absent.
    pub med: u32,
    /// The leftmost AS of the path (RFC 4271 §9.1.2.2 c); 0 for an empty path.
    pub neighbor_as: u32,
    /// The next hop.
    pub next_hop: NextHopId,
    /// ORIGINATOR_ID; 0 when absent.
    pub originator_id: u32,
    /// The path's length as §9.1.2.2 a counts it: an AS_SET counts one.
    pub path_len: u16,
    /// How many cluster identifiers CLUSTER_LIST holds, saturating.
    pub cluster_list_len: u8,
    /// ORIGIN.
    pub origin: u8,
}

/// What the decision process knows of a path's giver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    /// How the peer stands to us.
    pub kind: PeerKind,
    /// Its BGP identifier.
    pub router_id: RouterId,
    /// Its address.
    pub address: IpAddr,
    /// Its AS number.
    pub asn: u32,
}

/// A path as readers see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// Who gave it.
    pub peer: PeerId,
    /// Its attributes and next hop.
    pub attrs: AttrId,
    /// Kept for a peer that is restarting (RFC 4724 §4.2).
    pub stale: bool,
}

/// Switches of the decision process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DecisionOptions {
    /// Compare MED whatever the neighbouring AS.
    pub always_compare_med: bool,
    /// Compare router identifiers of external paths instead of keeping the oldest.
    pub compare_router_id: bool,
    /// Let different ASes share an ECMP set when the path lengths are equal.
    pub multipath_relax: bool,
    /// How many paths an ECMP set may have; at least 1.
    pub max_paths: u16,
    /// Leave out paths whose next hop is not known to be reachable.
    pub resolve_next_hops: bool,
}

/// What next-hop tracking has found out (RFC 4271 §9.1.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextHopState {
    /// Nobody has said anything yet.
    Unknown,
    /// No route leads there.
    Unreachable,
    /// A route leads there, at this interior cost.
    Reachable {
        /// The interior cost (RFC 4271 §9.1.2.2 e).
        metric: u32,
    },
}

/// Which paths a sweep removes. Paths announced after the call survive it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sweep {
    /// Every path of a peer, in all families.
    Peer(PeerId),
    /// Every path of a peer in one family.
    PeerFamily(PeerId, Family),
    /// The stale paths of a peer in one family (RFC 4724 §4.2).
    Stale(PeerId, Family),
}

/// Bytes in use, by part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RibMemory {
    /// The tries of both families.
    pub tries: usize,
    /// The destinations of both families.
    pub destinations: usize,
    /// The paths of both families.
    pub paths: usize,
    /// The attribute sets and next hops.
    pub attributes: usize,
    /// Queues and peers.
    pub queues: usize,
}

/// The interned attribute sets.
pub struct AttrStore {}

impl AttrStore {
    /// The canonical attribute block of a set: ascending type codes, without NEXT_HOP and MP attributes.
    pub fn block(&self, attrs: AttrId) -> &[u8] {
        todo!("{attrs:?}")
    }

    /// What the decision process compares.
    pub fn meta(&self, attrs: AttrId) -> &AttrMeta {
        todo!("{attrs:?}")
    }

    /// The next hop of a set.
    pub fn next_hop(&self, attrs: AttrId) -> NextHop {
        todo!("{attrs:?}")
    }

    /// How many sets there are.
    pub fn len(&self) -> usize {
        todo!()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One past the highest [`AttrId`] ever live.
    pub fn end(&self) -> u32 {
        todo!()
    }
}

/// The interned next hops.
pub struct NextHopTable {}

impl NextHopTable {
    /// The addresses of a next hop.
    pub fn addr(&self, id: NextHopId) -> NextHop {
        todo!("{id:?}")
    }

    /// What is known of it.
    pub fn state(&self, id: NextHopId) -> NextHopState {
        todo!("{id:?}")
    }

    /// Every next hop that an attribute set refers to.
    pub fn iter(&self) -> impl Iterator<Item = (NextHopId, NextHop, NextHopState)> + '_ {
        std::iter::empty()
    }
}

/// The table of one routing domain.
pub struct Rib {
    attrs: AttrStore,
    next_hops: NextHopTable,
}

#[allow(unused_variables)]
impl Rib {
    /// An empty table. `seed` keys the hash of attribute sets, so that peers cannot choose collisions.
    pub fn new(options: DecisionOptions, seed: u64) -> Rib {
        todo!()
    }

    /// Changes the switches of the decision process; every destination is decided anew, by a cursor.
    pub fn set_options(&mut self, options: DecisionOptions) {
        todo!()
    }

    /// Makes a peer known, or says what has changed about it.
    pub fn set_peer(&mut self, peer: PeerId, info: PeerInfo) {
        todo!()
    }

    /// What is known of a peer; [`PeerId::LOCAL`] is always there.
    pub fn peer(&self, peer: PeerId) -> Option<&PeerInfo> {
        todo!()
    }

    /// Forgets a peer, and sweeps what paths it still has.
    pub fn forget_peer(&mut self, peer: PeerId) {
        todo!()
    }

    /// How many paths of a peer there are, without those that a sweep is about to remove.
    pub fn path_count(&self, peer: PeerId, family: Family) -> u32 {
        todo!()
    }

    /// Interns a canonical attribute block with its next hop. The caller owns one reference.
    pub fn intern(&mut self, block: &[u8], next_hop: NextHop) -> AttrId {
        todo!()
    }

    /// Adds a reference of the caller's to a set.
    pub fn retain(&mut self, attrs: AttrId) {
        todo!()
    }

    /// Gives back one reference of the caller's.
    pub fn release(&mut self, attrs: AttrId) {
        todo!()
    }

    /// The attribute sets.
    pub fn attrs(&self) -> &AttrStore {
        &self.attrs
    }

    /// The next hops.
    pub fn next_hops(&self) -> &NextHopTable {
        &self.next_hops
    }

    /// Says what next-hop tracking has found; returns whether that is news. Destinations with a path
    /// through the next hop are decided anew, by a cursor.
    pub fn set_next_hop_state(&mut self, id: NextHopId, reachable: bool, metric: u32) -> bool {
        todo!()
    }

    /// A next hop that came into use and should be tracked.
    pub fn poll_next_hop_added(&mut self) -> Option<NextHopId> {
        todo!()
    }

    /// A next hop that nothing refers to any more; its id is free for another from now on.
    pub fn poll_next_hop_dropped(&mut self) -> Option<(NextHopId, NextHop)> {
        todo!()
    }

    /// `peer` announces `prefixes` with `attrs`: a path it had at one of them is replaced (RFC 4271
    /// §3.1). Takes the references it needs; the caller keeps its own.
    pub fn announce4(&mut self, peer: PeerId, attrs: AttrId, prefixes: &[Prefix4]) {
        todo!()
    }

    /// [`Rib::announce4`] for IPv6.
    pub fn announce6(&mut self, peer: PeerId, attrs: AttrId, prefixes: &[Prefix6]) {
        todo!()
    }

    /// `peer` withdraws its paths to `prefixes`.
    pub fn withdraw4(&mut self, peer: PeerId, prefixes: &[Prefix4]) {
        todo!()
    }

    /// [`Rib::withdraw4`] for IPv6.
    pub fn withdraw6(&mut self, peer: PeerId, prefixes: &[Prefix6]) {
        todo!()
    }

    /// Marks the paths that a peer has now as stale (RFC 4724 §4.2, RFC 7313 §4). Announcing a path
    /// again makes it fresh.
    pub fn mark_stale(&mut self, peer: PeerId, family: Family) {
        todo!()
    }

    /// Orders the removal of paths; [`Rib::decide`] does the work.
    pub fn sweep(&mut self, what: Sweep) {
        todo!()
    }

    /// Whether a sweep, or a round of new decisions, is under way.
    pub fn sweep_pending(&self) -> bool {
        todo!()
    }

    /// Runs the decision process, and sweeps, for about `budget` destinations and swept paths. Appends
    /// to `changed`, by family index, the destinations whose best path or ECMP set changed; returns
    /// whether more is waiting.
    pub fn decide(&mut self, budget: usize, changed: &mut [Vec<DestId>; 2]) -> bool {
        todo!()
    }

    /// The best path of a destination as of the last decision.
    pub fn best(&self, family: Family, dest: DestId) -> Option<Path> {
        todo!()
    }

    /// The ECMP set of a destination, best path first. `out` is cleared first.
    pub fn multipath(&self, family: Family, dest: DestId, out: &mut SmallVec<[Path; 8]>) {
        todo!()
    }

    /// Every path of a destination, the best first.
    pub fn paths(&self, family: Family, dest: DestId) -> impl Iterator<Item = Path> + '_ {
        std::iter::empty()
    }

    /// The prefix of a destination.
    pub fn prefix(&self, family: Family, dest: DestId) -> Prefix {
        todo!()
    }

    /// The prefix of an IPv4 destination.
    pub fn prefix4(&self, dest: DestId) -> Prefix4 {
        todo!()
    }

    /// The prefix of an IPv6 destination.
    pub fn prefix6(&self, dest: DestId) -> Prefix6 {
        todo!()
    }

    /// One past the highest [`DestId`] ever live, for walks in the order of the slab: not every id below
    /// it is live, see [`Rib::best`], which has nothing for those.
    pub fn dest_end(&self, family: Family) -> u32 {
        todo!()
    }

    /// How many destinations there are, those that wait for [`Rib::collect`] included.
    pub fn dest_count(&self, family: Family) -> usize {
        todo!()
    }

    /// How many paths there are.
    pub fn path_count_total(&self, family: Family) -> usize {
        todo!()
    }

    /// The destination of exactly this prefix.
    pub fn find(&self, prefix: Prefix) -> Option<DestId> {
        todo!()
    }

    /// The destination with a best path whose prefix is the longest that covers `addr`.
    pub fn longest_match(&self, addr: IpAddr) -> Option<DestId> {
        todo!()
    }

    /// Visits destinations in the order of (address, length) until `visit` returns false: those behind
    /// `after` if given, those within `within` if given. A walk may stop anywhere and be taken up later
    /// with the last prefix as `after`, whatever happened to the table meanwhile.
    pub fn walk_after(
        &self,
        family: Family,
        after: Option<Prefix>,
        within: Option<Prefix>,
        visit: &mut dyn FnMut(DestId) -> bool,
    ) {
        todo!()
    }

    /// Frees up to `budget` destinations that have no path and that `holds` denies anyone refers to, and
    /// tidies the attribute store; returns whether more is waiting.
    pub fn collect(&mut self, budget: usize, holds: &dyn Fn(Family, DestId) -> bool) -> bool {
        todo!()
    }

    /// Bytes in use, by part.
    pub fn memory_bytes(&self) -> RibMemory {
        todo!()
    }
}
