//! The destinations and paths of one family.
//!
//! Both lie in slabs and are named by their position: a destination takes 12 bytes for IPv4 and 24 for
//! IPv6, a path 16. The paths of a destination are a list; after a decision its head is the best path and
//! the others of the ECMP set come next. Paths that come later are linked in behind the head, where the
//! decision finds the news without walking the rest.
//!
//! A destination whose paths changed waits in a queue, at most once; one that a decision found without
//! paths waits in another to be freed. A list is searched from its head: to announce or withdraw a path
//! costs a step for each path of that destination, and these steps are taken for several prefixes at a
//! time so that their cache misses overlap.

use std::collections::VecDeque;

use smallvec::SmallVec;

use super::attrs::AttrStore;
use super::decision::Candidate;
use super::peers::{GENERATIONS, Peers};
use super::trie::{LANES, NO_VALUE, Net, Trie, prefetch};
use super::{DecisionOptions, NextHopState, Path, RibMemory};
use crate::types::{AttrId, DestId, Family, PeerId, PeerKind, Prefix4, Prefix6};

/// No path, no destination: the end of a list.
pub(super) const NONE: u32 = u32::MAX;

/// Queues that grew beyond this many entries are given back when they have run empty.
const QUEUE_KEEP: usize = 16 * 1024;

/// A prefix whose address is stored packed, with 4-byte alignment.
pub(super) trait Stored: Net {
    type Packed: Copy;

    const FAMILY: Family;

    fn pack(self) -> Self::Packed;
    fn unpack(packed: Self::Packed, len: u8) -> Self;
}

impl Stored for Prefix4 {
    type Packed = u32;

    const FAMILY: Family = Family::Ipv4Unicast;

    #[inline]
    fn pack(self) -> u32 {
        self.addr
    }

    #[inline]
    fn unpack(packed: u32, len: u8) -> Prefix4 {
        Prefix4 { addr: packed, len }
    }
}

impl Stored for Prefix6 {
    type Packed = [u32; 4];

    const FAMILY: Family = Family::Ipv6Unicast;

    #[inline]
    fn pack(self) -> [u32; 4] {
        [96, 64, 32, 0].map(|shift| (self.addr >> shift) as u32)
    }

    #[inline]
    fn unpack(packed: [u32; 4], len: u8) -> Prefix6 {
        Prefix6 { addr: packed.into_iter().fold(0, |addr, word| addr << 32 | u128::from(word)), len }
    }
}

/// In use, not on the free list.
pub(super) const LIVE: u8 = 1;
/// Waits for a decision.
pub(super) const QUEUED: u8 = 2;
/// More happened than that paths were added: the decision must look at all of them.
pub(super) const RECHECK: u8 = 4;
/// A path of the ECMP set changed or went: readers must be told whatever the decision says.
pub(super) const TOUCHED: u8 = 8;
/// Waits in the queue of those without paths.
pub(super) const DEAD: u8 = 16;

#[derive(Clone, Copy)]
pub(super) struct Dest<N: Stored> {
    addr: N::Packed,
    /// The first path; for a free destination the next free one.
    pub(super) head: u32,
    len: u8,
    pub(super) flags: u8,
    /// How many paths are in the ECMP set, the best one included.
    pub(super) selected: u16,
}

const _: () = assert!(size_of::<Dest<Prefix4>>() == 12 && size_of::<Dest<Prefix6>>() == 24);

/// In the ECMP set; for the head of the list: the best path.
pub(super) const SELECTED: u8 = 1 << 5;
/// Has been seen by a decision.
pub(super) const DECIDED: u8 = 1 << 6;
const GENERATION: u8 = GENERATIONS - 1;

#[derive(Clone, Copy)]
pub(super) struct PathSlot {
    /// The destination; [`NONE`] for a free slot.
    pub(super) dest: u32,
    /// The destination's next path; for a free slot the next free one.
    pub(super) next: u32,
    pub(super) attrs: AttrId,
    /// The peer in the upper three bytes; flags and generation in the lowest.
    peer_flags: u32,
}

const _: () = assert!(size_of::<PathSlot>() == 16);

impl PathSlot {
    #[inline]
    pub(super) fn peer(&self) -> PeerId {
        PeerId(self.peer_flags >> 8)
    }

    #[inline]
    pub(super) fn generation(&self) -> u8 {
        self.peer_flags as u8 & GENERATION
    }

    pub(super) fn set_generation(&mut self, generation: u8) {
        self.peer_flags = self.peer_flags & !u32::from(GENERATION) | u32::from(generation);
    }

    #[inline]
    pub(super) fn has(&self, flag: u8) -> bool {
        self.peer_flags as u8 & flag != 0
    }

    #[inline]
    pub(super) fn set(&mut self, flag: u8, on: bool) {
        self.peer_flags = self.peer_flags & !u32::from(flag) | if on { u32::from(flag) } else { 0 };
    }
}

/// What both tables share.
pub(super) struct Shared {
    pub(super) attrs: AttrStore,
    pub(super) peers: Peers,
    pub(super) options: DecisionOptions,
    /// The working memory of a decision.
    pub(super) candidates: Vec<Candidate>,
    pub(super) order: Vec<u32>,
}

impl Shared {
    /// Whether a path may be chosen: it is not doomed, and its next hop can be reached if that is asked
    /// for (RFC 4271 §9.1.2.1).
    pub(super) fn is_usable(&self, family: Family, path: &PathSlot) -> bool {
        let Some(row) = self.peers.get(path.peer()) else { return false };
        if row.paths[family.index()].is_doomed(path.generation()) {
            return false;
        }
        if !self.options.resolve_next_hops || row.info.kind == PeerKind::Local {
            return true;
        }
        let next_hop = self.attrs.meta(path.attrs).next_hop;
        matches!(self.attrs.next_hops.state(next_hop), NextHopState::Reachable { .. })
    }

    /// A path as the decision process sees it, if it is usable.
    pub(super) fn candidate(&self, family: Family, index: u32, path: &PathSlot) -> Option<Candidate> {
        let row = self.peers.get(path.peer()).filter(|_| self.is_usable(family, path))?;
        let meta = self.attrs.meta(path.attrs);
        let metric = match self.attrs.next_hops.state(meta.next_hop) {
            NextHopState::Reachable { metric } => metric,
            _ => u32::MAX,
        };
        Some(Candidate::new(index, meta, metric, &row.info, false))
    }
}

/// A round over the path slab that looks for doomed paths and for next hops that moved.
#[derive(Default)]
pub(super) struct Round {
    pub(super) at: usize,
    /// How many slots are still to be visited.
    pub(super) left: usize,
}

/// One family's destinations and paths.
pub(super) struct Table<N: Stored> {
    pub(super) trie: Trie<N>,
    pub(super) dests: Vec<Dest<N>>,
    free_dest: u32,
    pub(super) paths: Vec<PathSlot>,
    free_path: u32,
    pub(super) path_count: usize,
    /// Destinations that wait for a decision.
    pub(super) changed: VecDeque<u32>,
    /// Destinations that a decision found without paths.
    pub(super) dead: VecDeque<u32>,
    /// How many slots for destinations there were at the last collection.
    collected_end: usize,
    pub(super) round: Round,
    /// All destinations from here on are to be decided anew.
    pub(super) redecide: usize,
}

impl<N: Stored> Table<N> {
    pub(super) fn new() -> Table<N> {
        Table {
            trie: Trie::new(),
            dests: Vec::new(),
            free_dest: NONE,
            paths: Vec::new(),
            free_path: NONE,
            path_count: 0,
            changed: VecDeque::new(),
            dead: VecDeque::new(),
            collected_end: 0,
            round: Round::default(),
            redecide: usize::MAX,
        }
    }

    #[inline]
    pub(super) fn net(&self, dest: u32) -> N {
        let dest = &self.dests[dest as usize];
        N::unpack(dest.addr, dest.len)
    }

    /// The head of the list of a destination that is in use.
    #[inline]
    pub(super) fn head(&self, dest: u32) -> u32 {
        match self.dests.get(dest as usize) {
            Some(dest) if dest.flags & LIVE != 0 => dest.head,
            _ => NONE,
        }
    }

    pub(super) fn path(&self, peers: &Peers, slot: &PathSlot) -> Path {
        let stale =
            peers.paths(slot.peer(), N::FAMILY).is_some_and(|paths| paths.is_stale(slot.generation()));
        Path { peer: slot.peer(), attrs: slot.attrs, stale }
    }

    #[inline]
    pub(super) fn best(&self, dest: u32) -> Option<&PathSlot> {
        let dest = self.dests.get(dest as usize).filter(|dest| dest.selected > 0)?;
        self.paths.get(dest.head as usize).filter(|path| path.has(SELECTED))
    }

    #[inline]
    pub(super) fn is_settled(&self, dest: u32) -> bool {
        self.dests.get(dest as usize).is_none_or(|dest| dest.flags & TOUCHED == 0)
    }

    /// The ECMP set; nothing if there is no best path.
    pub(super) fn multipath(&self, peers: &Peers, dest: u32, out: &mut SmallVec<[Path; 8]>) {
        out.clear();
        if self.best(dest).is_some() {
            let count = usize::from(self.dests[dest as usize].selected);
            let set = self.list(dest).filter(|path| path.has(SELECTED)).take(count);
            out.extend(set.map(|slot| self.path(peers, slot)));
        }
    }

    /// Bytes in use.
    pub(super) fn memory_bytes(&self) -> RibMemory {
        RibMemory {
            tries: self.trie.memory_bytes(),
            destinations: self.dests.len() * size_of::<Dest<N>>(),
            paths: self.paths.len() * size_of::<PathSlot>(),
            attributes: 0,
            queues: (self.changed.capacity() + self.dead.capacity()) * size_of::<u32>(),
        }
    }

    /// The path slots of a destination.
    pub(super) fn list(&self, dest: u32) -> impl Iterator<Item = &PathSlot> {
        let mut next = self.head(dest);
        std::iter::from_fn(move || {
            let path = self.paths.get(next as usize)?;
            next = path.next;
            Some(path)
        })
    }

    /// Puts a destination into the queue for a decision.
    #[inline]
    pub(super) fn queue(&mut self, dest: u32, why: u8) {
        let flags = &mut self.dests[dest as usize].flags;
        if *flags & QUEUED == 0 {
            self.changed.push_back(dest);
        }
        *flags |= QUEUED | why;
    }

    /// `peer` announces `nets` with `attrs`.
    pub(super) fn announce(&mut self, shared: &mut Shared, peer: PeerId, attrs: AttrId, nets: &[N]) {
        let Some(row) = shared.peers.paths(peer, N::FAMILY) else { return };
        let generation = row.generation;
        let mut taken = 0;
        for nets in nets.chunks(LANES) {
            let dests = self.look_up(shared, peer, nets);
            for (net, dest) in nets.iter().zip(dests) {
                let dest = if dest == NO_VALUE { self.dest_for(*net) } else { dest };
                let index = self.path_of(dest, peer);
                if index == NONE {
                    self.add_path(dest, peer, attrs, generation);
                    if let Some(row) = shared.peers.paths_mut(peer, N::FAMILY) {
                        row.count += 1;
                    }
                    taken += 1;
                } else if self.replace_path(shared, index, attrs, generation) {
                    taken += 1;
                }
            }
        }
        if taken > 0 {
            shared.attrs.retain(attrs, taken);
        }
    }

    /// `peer` withdraws `nets`.
    pub(super) fn withdraw(&mut self, shared: &mut Shared, peer: PeerId, nets: &[N]) {
        for nets in nets.chunks(LANES) {
            let dests = self.look_up(shared, peer, nets);
            for dest in &dests[..nets.len()] {
                let index = self.path_of(*dest, peer);
                if index != NONE {
                    self.remove_path(shared, index);
                }
            }
        }
    }

    /// The path of `peer` at a destination.
    fn path_of(&self, dest: u32, peer: PeerId) -> u32 {
        let mut index = self.head(dest);
        while index != NONE && self.paths[index as usize].peer() != peer {
            index = self.paths[index as usize].next;
        }
        index
    }

    /// The destinations of up to [`LANES`] prefixes, with all in the cache that an announcement or a
    /// withdrawal by `peer` will touch.
    fn look_up(&self, shared: &Shared, peer: PeerId, nets: &[N]) -> [u32; LANES] {
        let mut dests = [NO_VALUE; LANES];
        self.trie.get_batch(nets, &mut dests);
        self.fetch(&dests[..nets.len()], |path| {
            let found = path.peer() == peer;
            if found {
                shared.attrs.prefetch(path.attrs);
            }
            found
        });
        dests
    }

    /// Brings up to [`LANES`] destinations and their paths into the cache, each list as far as the first
    /// path that `last` says so of. It goes along all lists at once, so that their misses overlap.
    pub(super) fn fetch(&self, dests: &[u32], last: impl Fn(&PathSlot) -> bool) {
        for dest in dests {
            if let Some(dest) = self.dests.get(*dest as usize) {
                prefetch(dest);
            }
        }
        let mut lanes = [NONE; LANES];
        let mut count = 0;
        for dest in dests {
            let head = self.head(*dest);
            if let Some(path) = self.paths.get(head as usize) {
                prefetch(path);
                lanes[count] = head;
                count += 1;
            }
        }
        while count > 0 {
            let walking = std::mem::take(&mut count);
            for lane in 0..walking {
                let path = &self.paths[lanes[lane] as usize];
                if !last(path) && path.next != NONE {
                    prefetch(&self.paths[path.next as usize]);
                    lanes[count] = path.next;
                    count += 1;
                }
            }
        }
    }

    /// The destination of a prefix, made if there is none.
    fn dest_for(&mut self, net: N) -> u32 {
        let fresh = if self.free_dest == NONE { self.dests.len() as u32 } else { self.free_dest };
        let dest = self.trie.get_or_insert(net, fresh);
        if dest == fresh {
            let new = Dest { addr: net.pack(), head: NONE, len: net.len(), flags: LIVE, selected: 0 };
            match self.dests.get_mut(fresh as usize) {
                Some(slot) => self.free_dest = std::mem::replace(slot, new).head,
                None => self.dests.push(new),
            }
        }
        dest
    }

    fn add_path(&mut self, dest: u32, peer: PeerId, attrs: AttrId, generation: u8) {
        let head = self.dests[dest as usize].head;
        let next = if head == NONE { NONE } else { self.paths[head as usize].next };
        let peer_flags = peer.0 << 8 | u32::from(generation);
        let new = PathSlot { dest, next, attrs, peer_flags };
        let index = if self.free_path == NONE {
            self.paths.push(new);
            // A round under way has to come by here too, or it ends too early by one.
            self.round.left += usize::from(self.round.left > 0);
            self.paths.len() as u32 - 1
        } else {
            let index = self.free_path;
            self.free_path = std::mem::replace(&mut self.paths[index as usize], new).next;
            index
        };
        match head {
            NONE => self.dests[dest as usize].head = index,
            _ => self.paths[head as usize].next = index,
        }
        self.path_count += 1;
        self.queue(dest, 0);
    }

    /// Announces a path again; returns whether it took a reference to `attrs`.
    fn replace_path(&mut self, shared: &mut Shared, index: u32, attrs: AttrId, generation: u8) -> bool {
        let path = &mut self.paths[index as usize];
        let (dest, old) = (path.dest, path.attrs);
        let Some(row) = shared.peers.paths_mut(path.peer(), N::FAMILY) else { return false };
        let was_doomed = row.is_doomed(path.generation());
        row.leave(path.generation());
        path.set_generation(generation);
        if old == attrs {
            if was_doomed {
                self.queue(dest, RECHECK);
            }
            return false;
        }
        path.attrs = attrs;
        let why = if path.has(SELECTED) { RECHECK | TOUCHED } else { RECHECK };
        self.queue(dest, why);
        shared.attrs.release(old);
        true
    }

    /// Takes a path out of its destination's list and frees it.
    pub(super) fn remove_path(&mut self, shared: &mut Shared, index: u32) {
        let path = self.paths[index as usize];
        let dest = &mut self.dests[path.dest as usize];
        if dest.head == index {
            dest.head = path.next;
        } else {
            let mut before = dest.head;
            while self.paths[before as usize].next != index {
                before = self.paths[before as usize].next;
            }
            self.paths[before as usize].next = path.next;
        }
        let mut why = RECHECK;
        if path.has(SELECTED) {
            dest.selected -= 1;
            why |= TOUCHED;
        }
        self.queue(path.dest, why);
        if let Some(row) = shared.peers.paths_mut(path.peer(), N::FAMILY) {
            row.leave(path.generation());
            row.count -= 1;
        }
        shared.peers.drop_if_done(path.peer());
        shared.attrs.release(path.attrs);
        self.paths[index as usize] = PathSlot { dest: NONE, next: self.free_path, ..path };
        self.free_path = index;
        self.path_count -= 1;
        if self.path_count == 0 {
            self.paths = Vec::new();
            self.free_path = NONE;
            self.round.left = 0;
        }
    }

    /// Frees up to `budget` destinations without paths; returns how much of the budget is left. While the
    /// caller is `busy` they wait, unless new destinations have taken memory of their own meanwhile.
    pub(super) fn collect(
        &mut self,
        budget: usize,
        busy: bool,
        holds: &dyn Fn(Family, DestId) -> bool,
    ) -> usize {
        if busy && self.dests.len() <= self.collected_end {
            return budget;
        }
        let round = self.dead.len().min(budget);
        let mut kept = 0;
        while kept < round {
            let batch = (round - kept).min(LANES);
            kept += batch;
            let mut nets = SmallVec::<[N; LANES]>::new();
            for _ in 0..batch {
                let Some(index) = self.dead.pop_front() else { break };
                let dest = &mut self.dests[index as usize];
                if dest.head != NONE {
                    // Paths came back; the decision that finds them gone again will queue it again.
                    dest.flags &= !DEAD;
                } else if dest.flags & QUEUED != 0 || holds(N::FAMILY, DestId(index)) {
                    self.dead.push_back(index);
                } else {
                    nets.push(N::unpack(dest.addr, dest.len));
                    dest.flags = 0;
                    dest.head = self.free_dest;
                    self.free_dest = index;
                }
            }
            self.trie.get_batch(&nets, &mut [NO_VALUE; LANES]);
            for net in &nets {
                self.trie.remove(*net);
            }
        }
        if self.trie.is_empty() && !self.dests.is_empty() {
            self.dests = Vec::new();
            self.free_dest = NONE;
        }
        self.collected_end = self.dests.len();
        give_back(&mut self.dead);
        budget - round
    }

    /// Gives the memory of queues that have run empty back.
    pub(super) fn give_back_queue(&mut self) {
        give_back(&mut self.changed);
    }
}

fn give_back(queue: &mut VecDeque<u32>) {
    if queue.is_empty() && queue.capacity() > QUEUE_KEEP {
        *queue = VecDeque::new();
    }
}
