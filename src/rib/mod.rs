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

mod attrs;
mod blocks;
pub mod decision;
#[cfg(test)]
mod invariants;
mod next_hops;
mod peers;
#[cfg(test)]
mod rib_test;
mod rounds;
mod table;
pub mod trie;
#[cfg(test)]
mod trie_test;
mod walk;

use std::net::IpAddr;

use smallvec::SmallVec;

pub use attrs::AttrStore;
pub use next_hops::{NextHopState, NextHopTable};
use peers::Peers;
use table::{Shared, Table};

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

/// The table of one routing domain.
pub struct Rib {
    shared: Shared,
    v4: Table<Prefix4>,
    v6: Table<Prefix6>,
    /// Whether IPv6 goes first in the next decision, so that a busy family does not starve the other.
    v6_first: bool,
}

impl Rib {
    /// An empty table. `seed` keys the hash of attribute sets, so that peers cannot choose collisions.
    pub fn new(options: DecisionOptions, seed: u64) -> Rib {
        let shared = Shared {
            attrs: AttrStore::new(seed),
            peers: Peers::new(),
            options,
            candidates: Vec::new(),
            order: Vec::new(),
        };
        Rib { shared, v4: Table::new(), v6: Table::new(), v6_first: false }
    }

    /// Changes the switches of the decision process; every destination is decided anew, by a cursor.
    pub fn set_options(&mut self, options: DecisionOptions) {
        if self.shared.options != options {
            self.shared.options = options;
            self.v4.start_redecision();
            self.v6.start_redecision();
        }
    }

    /// Makes a peer known, or says what has changed about it. A peer must be known before it announces.
    pub fn set_peer(&mut self, peer: PeerId, info: PeerInfo) {
        debug_assert!(peer.0 < 1 << 24);
        if self.shared.peers.set(peer, info) {
            self.v4.start_redecision();
            self.v6.start_redecision();
        }
    }

    /// What is known of a peer; [`PeerId::LOCAL`] is always there.
    pub fn peer(&self, peer: PeerId) -> Option<&PeerInfo> {
        self.shared.peers.info(peer)
    }

    /// Forgets a peer, and sweeps what paths it still has.
    pub fn forget_peer(&mut self, peer: PeerId) {
        if peer != PeerId::LOCAL {
            self.sweep(Sweep::Peer(peer));
            self.shared.peers.forget(peer);
        }
    }

    /// How many paths of a peer there are, without those that a sweep is about to remove.
    pub fn path_count(&self, peer: PeerId, family: Family) -> u32 {
        self.shared.peers.paths(peer, family).map_or(0, |paths| paths.count - paths.doomed)
    }

    /// Interns a canonical attribute block with its next hop. The caller owns one reference.
    pub fn intern(&mut self, block: &[u8], next_hop: NextHop) -> AttrId {
        self.shared.attrs.intern(block, next_hop)
    }

    /// Adds a reference of the caller's to a set.
    pub fn retain(&mut self, attrs: AttrId) {
        self.shared.attrs.retain(attrs, 1);
    }

    /// Gives back one reference of the caller's.
    pub fn release(&mut self, attrs: AttrId) {
        self.shared.attrs.release(attrs);
    }

    /// The attribute sets.
    pub fn attrs(&self) -> &AttrStore {
        &self.shared.attrs
    }

    /// The next hops.
    pub fn next_hops(&self) -> &NextHopTable {
        &self.shared.attrs.next_hops
    }

    /// Says what next-hop tracking has found; returns whether that is news. Destinations with a path
    /// through the next hop are decided anew, by a cursor.
    pub fn set_next_hop_state(&mut self, id: NextHopId, reachable: bool, metric: u32) -> bool {
        let state = if reachable { NextHopState::Reachable { metric } } else { NextHopState::Unreachable };
        let news = self.shared.attrs.next_hops.set_state(id, state);
        if news {
            self.v4.start_round();
            self.v6.start_round();
        }
        news
    }

    /// A next hop that came into use and should be tracked.
    pub fn poll_next_hop_added(&mut self) -> Option<NextHopId> {
        self.shared.attrs.next_hops.poll_added()
    }

    /// A next hop that nothing refers to any more; its id is free for another from now on.
    pub fn poll_next_hop_dropped(&mut self) -> Option<(NextHopId, NextHop)> {
        self.shared.attrs.next_hops.poll_dropped()
    }

    /// `peer` announces `prefixes` with `attrs`: a path it had at one of them is replaced (RFC 4271
    /// §3.1). Takes the references it needs; the caller keeps its own.
    pub fn announce4(&mut self, peer: PeerId, attrs: AttrId, prefixes: &[Prefix4]) {
        self.v4.announce(&mut self.shared, peer, attrs, prefixes);
    }

    /// [`Rib::announce4`] for IPv6.
    pub fn announce6(&mut self, peer: PeerId, attrs: AttrId, prefixes: &[Prefix6]) {
        self.v6.announce(&mut self.shared, peer, attrs, prefixes);
    }

    /// `peer` withdraws its paths to `prefixes`.
    pub fn withdraw4(&mut self, peer: PeerId, prefixes: &[Prefix4]) {
        self.v4.withdraw(&mut self.shared, peer, prefixes);
    }

    /// [`Rib::withdraw4`] for IPv6.
    pub fn withdraw6(&mut self, peer: PeerId, prefixes: &[Prefix6]) {
        self.v6.withdraw(&mut self.shared, peer, prefixes);
    }

    /// Marks the paths that a peer has now as stale (RFC 4724 §4.2, RFC 7313 §4). Announcing a path
    /// again makes it fresh.
    pub fn mark_stale(&mut self, peer: PeerId, family: Family) {
        if self.shared.peers.paths(peer, family).is_some_and(|paths| paths.is_worn()) {
            match family {
                Family::Ipv4Unicast => self.v4.renumber(&mut self.shared, peer),
                Family::Ipv6Unicast => self.v6.renumber(&mut self.shared, peer),
            }
        }
        if let Some(paths) = self.shared.peers.paths_mut(peer, family) {
            paths.begin();
        }
    }

    /// Whether paths of the peer are ordered to be removed and still there.
    pub fn is_sweeping(&self, peer: PeerId, family: Family) -> bool {
        self.shared.peers.paths(peer, family).is_some_and(|paths| paths.doomed > 0)
    }

    /// Orders the removal of paths; [`Rib::decide`] does the work. A path that is to be removed takes no
    /// part in decisions from now on, but is reported as best until its destination is decided.
    pub fn sweep(&mut self, what: Sweep) {
        match what {
            Sweep::Peer(peer) => {
                for family in Family::ALL {
                    self.sweep(Sweep::PeerFamily(peer, family));
                }
            }
            Sweep::PeerFamily(peer, family) => {
                self.mark_stale(peer, family);
                self.sweep(Sweep::Stale(peer, family));
            }
            Sweep::Stale(peer, family) => {
                if self.shared.peers.paths_mut(peer, family).is_some_and(|paths| paths.doom()) {
                    match family {
                        Family::Ipv4Unicast => self.v4.start_round(),
                        Family::Ipv6Unicast => self.v6.start_round(),
                    }
                }
            }
        }
    }

    /// Whether a sweep, or a round of new decisions, is under way.
    pub fn sweep_pending(&self) -> bool {
        self.v4.round_pending() || self.v6.round_pending()
    }

    /// Runs the decision process, and sweeps, for about `budget` destinations and swept paths. Appends
    /// to `changed`, by family index, the destinations whose best path or ECMP set changed; returns
    /// whether more is waiting. In one call a destination comes at most once.
    pub fn decide(&mut self, budget: usize, changed: &mut [Vec<DestId>; 2]) -> bool {
        let [out4, out6] = changed;
        let mut left = budget;
        self.v6_first = !self.v6_first;
        loop {
            // A quarter is for the rounds, or a lost peer's paths would stay while others announce.
            let reserve = if self.sweep_pending() { left / 4 } else { 0 };
            let mut queued = left - reserve;
            if self.v6_first {
                queued = self.v6.decide_changed(&mut self.shared, queued, out6);
            }
            queued = self.v4.decide_changed(&mut self.shared, queued, out4);
            queued = self.v6.decide_changed(&mut self.shared, queued, out6);
            left = queued + reserve;
            if left == 0 || !self.sweep_pending() {
                break;
            }
            let before = (self.v4.round.left, self.v6.round.left);
            left = self.v4.advance_rounds(&mut self.shared, left);
            left = self.v6.advance_rounds(&mut self.shared, left);
            self.finish_rounds(before);
        }
        !self.v4.changed.is_empty() || !self.v6.changed.is_empty() || self.sweep_pending()
    }

    /// Does what is due when a round comes to its end, given how many slots were left before.
    fn finish_rounds(&mut self, (left4, left6): (usize, usize)) {
        let over4 = left4 > 0 && self.v4.round.left == 0;
        let over6 = left6 > 0 && self.v6.round.left == 0;
        if over4 {
            self.shared.peers.swept(Family::Ipv4Unicast);
        }
        if over6 {
            self.shared.peers.swept(Family::Ipv6Unicast);
        }
        if (over4 || over6) && self.v4.round.left == 0 && self.v6.round.left == 0 {
            self.shared.attrs.next_hops.settle();
        }
    }

    /// The best path of a destination as of the last decision.
    #[inline]
    pub fn best(&self, family: Family, dest: DestId) -> Option<Path> {
        let peers = &self.shared.peers;
        match family {
            Family::Ipv4Unicast => self.v4.best(dest.0).map(|slot| self.v4.path(peers, slot)),
            Family::Ipv6Unicast => self.v6.best(dest.0).map(|slot| self.v6.path(peers, slot)),
        }
    }

    /// Whether [`Rib::best`] is just what the last decision found. If not, the best path has changed or gone
    /// since, and [`Rib::decide`] will report the destination.
    #[inline]
    pub fn is_settled(&self, family: Family, dest: DestId) -> bool {
        match family {
            Family::Ipv4Unicast => self.v4.is_settled(dest.0),
            Family::Ipv6Unicast => self.v6.is_settled(dest.0),
        }
    }

    /// The ECMP set of a destination, best path first. `out` is cleared first.
    pub fn multipath(&self, family: Family, dest: DestId, out: &mut SmallVec<[Path; 8]>) {
        match family {
            Family::Ipv4Unicast => self.v4.multipath(&self.shared.peers, dest.0, out),
            Family::Ipv6Unicast => self.v6.multipath(&self.shared.peers, dest.0, out),
        }
    }

    /// Every path of a destination; after a decision the best comes first.
    pub fn paths(&self, family: Family, dest: DestId) -> impl Iterator<Item = Path> + '_ {
        let (v4, v6) = match family {
            Family::Ipv4Unicast => (Some(self.v4.list(dest.0)), None),
            Family::Ipv6Unicast => (None, Some(self.v6.list(dest.0))),
        };
        let peers = &self.shared.peers;
        let v4 = v4.into_iter().flatten().map(|slot| self.v4.path(peers, slot));
        v4.chain(v6.into_iter().flatten().map(|slot| self.v6.path(peers, slot)))
    }

    /// The prefix of a destination.
    pub fn prefix(&self, family: Family, dest: DestId) -> Prefix {
        match family {
            Family::Ipv4Unicast => Prefix::V4(self.prefix4(dest)),
            Family::Ipv6Unicast => Prefix::V6(self.prefix6(dest)),
        }
    }

    /// The prefix of an IPv4 destination.
    #[inline]
    pub fn prefix4(&self, dest: DestId) -> Prefix4 {
        self.v4.net(dest.0)
    }

    /// The prefix of an IPv6 destination.
    #[inline]
    pub fn prefix6(&self, dest: DestId) -> Prefix6 {
        self.v6.net(dest.0)
    }

    /// One past the highest [`DestId`] in use, for walks in the order of the slab: not every id below
    /// it is in use, see [`Rib::best`], which has nothing for those.
    pub fn dest_end(&self, family: Family) -> u32 {
        match family {
            Family::Ipv4Unicast => self.v4.dests.len() as u32,
            Family::Ipv6Unicast => self.v6.dests.len() as u32,
        }
    }

    /// How many destinations there are, those that wait for [`Rib::collect`] included.
    pub fn dest_count(&self, family: Family) -> usize {
        match family {
            Family::Ipv4Unicast => self.v4.trie.len(),
            Family::Ipv6Unicast => self.v6.trie.len(),
        }
    }

    /// How many paths there are.
    pub fn path_count_total(&self, family: Family) -> usize {
        match family {
            Family::Ipv4Unicast => self.v4.path_count,
            Family::Ipv6Unicast => self.v6.path_count,
        }
    }

    /// The destination of exactly this prefix.
    pub fn find(&self, prefix: Prefix) -> Option<DestId> {
        match prefix {
            Prefix::V4(prefix) => self.v4.trie.get(prefix).map(DestId),
            Prefix::V6(prefix) => self.v6.trie.get(prefix).map(DestId),
        }
    }

    /// The destination with a best path whose prefix is the longest that covers `addr`.
    pub fn longest_match(&self, addr: IpAddr) -> Option<DestId> {
        let dest = match addr {
            IpAddr::V4(addr) => {
                self.v4.trie.longest_match(addr.to_bits(), |dest| self.v4.best(dest).is_some())
            }
            IpAddr::V6(addr) => {
                self.v6.trie.longest_match(addr.to_bits(), |dest| self.v6.best(dest).is_some())
            }
        };
        dest.map(DestId)
    }

    /// Visits destinations in the order of (address, length) until `visit` returns false: those behind
    /// `after` if given, those within `within` if given; prefixes of another family are ignored. A walk
    /// may stop anywhere and be taken up later with the last prefix as `after`, whatever happened to the
    /// table meanwhile.
    pub fn walk_after(
        &self,
        family: Family,
        after: Option<Prefix>,
        within: Option<Prefix>,
        visit: &mut dyn FnMut(DestId) -> bool,
    ) {
        match family {
            Family::Ipv4Unicast => {
                let v4 = |prefix: Option<Prefix>| match prefix {
                    Some(Prefix::V4(prefix)) => Some(prefix),
                    _ => None,
                };
                self.v4.trie.walk(v4(after), v4(within), &mut |_, dest| visit(DestId(dest)));
            }
            Family::Ipv6Unicast => {
                let v6 = |prefix: Option<Prefix>| match prefix {
                    Some(Prefix::V6(prefix)) => Some(prefix),
                    _ => None,
                };
                self.v6.trie.walk(v6(after), v6(within), &mut |_, dest| visit(DestId(dest)));
            }
        }
    }

    /// Frees up to `budget` destinations that have no path and that `holds` denies anyone refers to, and
    /// tidies the attribute store; returns whether more is waiting. Destinations that are held are asked
    /// for again by the next call. While the caller is `busy` with what peers wait for, memory is given back
    /// only as far as new destinations want some.
    pub fn collect(&mut self, budget: usize, busy: bool, holds: &dyn Fn(Family, DestId) -> bool) -> bool {
        let waiting = self.v4.dead.len() + self.v6.dead.len();
        let left = self.v4.collect(budget, busy, holds);
        let left = self.v6.collect(left, busy, holds);
        self.shared.attrs.tidy(left) || waiting > budget
    }

    /// Bytes in use, by part.
    pub fn memory_bytes(&self) -> RibMemory {
        let (v4, v6) = (self.v4.memory_bytes(), self.v6.memory_bytes());
        RibMemory {
            tries: v4.tries + v6.tries,
            destinations: v4.destinations + v6.destinations,
            paths: v4.paths + v6.paths,
            attributes: self.shared.attrs.memory_bytes(),
            queues: v4.queues + v6.queues + self.shared.peers.memory_bytes(),
        }
    }
}
