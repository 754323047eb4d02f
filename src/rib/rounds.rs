//! The long jobs of a table, in slices: deciding what changed, and the rounds over its slabs.
//!
//! A round over the path slab serves every sweep and every next hop that moved at once: it removes doomed
//! paths (see `peers`) and queues the destinations of paths whose next hop has another state. Who orders
//! one while another is under way makes it go once around from where it is. A new decision of everything
//! walks the slab of destinations. Neither gets far ahead of the decisions that it causes, so the queue
//! stays short.

use super::decision::{Candidate, loses, select};
use super::table::{
    DEAD, DECIDED, LIVE, NONE, PathSlot, QUEUED, RECHECK, SELECTED, Shared, Stored, TOUCHED, Table,
};
use super::trie::LANES;
use crate::types::{DestId, PeerId};

/// How many slots a round looks at for one unit of the budget: it reads them in a row, which costs a
/// sixteenth of a decision.
const SLOTS_PER_UNIT: usize = LANES;

impl<N: Stored> Table<N> {
    /// Orders a round over all paths.
    pub(super) fn start_round(&mut self) {
        self.round.left = self.paths.len();
    }

    /// Orders a new decision of every destination.
    pub(super) fn start_redecision(&mut self) {
        self.redecide = 0;
    }

    /// Whether a round is under way.
    pub(super) fn round_pending(&self) -> bool {
        self.round.left > 0 || self.redecide < self.dests.len()
    }

    /// Decides destinations from the queue, at most `budget`; returns how much of it is left.
    pub(super) fn decide_changed(
        &mut self,
        shared: &mut Shared,
        budget: usize,
        out: &mut Vec<DestId>,
    ) -> usize {
        let mut left = budget;
        while left > 0 && !self.changed.is_empty() {
            let mut batch = [NONE; LANES];
            let count = self.changed.len().min(LANES).min(left);
            for (slot, dest) in batch.iter_mut().zip(self.changed.drain(..count)) {
                *slot = dest;
            }
            self.fetch(&batch[..count], |path| {
                shared.attrs.prefetch(path.attrs);
                // A decision that only has to look at additions ends here.
                path.has(DECIDED) && self.dests[path.dest as usize].flags & RECHECK == 0
            });
            for dest in &batch[..count] {
                if self.decide(shared, *dest) {
                    out.push(DestId(*dest));
                }
            }
            left -= count;
        }
        self.give_back_queue();
        left
    }

    /// Takes the rounds further; returns how much of the budget is left.
    pub(super) fn advance_rounds(&mut self, shared: &mut Shared, budget: usize) -> usize {
        let mut left = budget;
        // With nothing queued what is found is decided at once, while it is in the cache. With more queued
        // than the budget allowed, the rounds go on for their share of it.
        let enough = if self.changed.is_empty() { LANES } else { usize::MAX };
        while left > 0 && self.redecide < self.dests.len() && self.changed.len() < enough {
            let end = self.dests.len().min(self.redecide + SLOTS_PER_UNIT);
            for dest in self.redecide..end {
                if self.dests[dest].flags & LIVE != 0 {
                    self.queue(dest as u32, RECHECK);
                }
            }
            left = left.saturating_sub(end - self.redecide);
            self.redecide = end;
        }
        while left > 0 && self.round.left > 0 && self.changed.len() < enough {
            left = left.saturating_sub(1 + self.visit_slots(shared));
        }
        left
    }

    /// Visits the next slots of the round; returns how many of them there was something to do about.
    fn visit_slots(&mut self, shared: &mut Shared) -> usize {
        if self.round.at >= self.paths.len() {
            self.round.at = 0;
        }
        let count = SLOTS_PER_UNIT.min(self.round.left).min(self.paths.len() - self.round.at);
        let start = self.round.at;
        let mut doomed = [NONE; SLOTS_PER_UNIT];
        let mut dests = [NONE; SLOTS_PER_UNIT];
        let mut removals = 0;
        let mut moved = 0;
        for index in start..start + count {
            let path = self.paths[index];
            if path.dest == NONE {
                continue;
            }
            if self.is_doomed(shared, &path) {
                shared.attrs.prefetch(path.attrs);
                doomed[removals] = index as u32;
                dests[removals] = path.dest;
                removals += 1;
            } else if shared.attrs.next_hops.any_moved()
                && shared.attrs.next_hops.moved(shared.attrs.meta(path.attrs).next_hop)
            {
                self.queue(path.dest, RECHECK);
                moved += 1;
            }
        }
        self.round.at += count;
        self.round.left -= count;
        // To take a path out of its list one has to come by those before it.
        self.fetch(&dests[..removals], |path| self.is_doomed(shared, path));
        for index in &doomed[..removals] {
            self.remove_path(shared, *index);
        }
        removals + moved
    }

    fn is_doomed(&self, shared: &Shared, path: &PathSlot) -> bool {
        let row = shared.peers.paths(path.peer(), N::FAMILY);
        row.is_some_and(|row| row.doomed > 0 && row.is_doomed(path.generation()))
    }

    /// Removes, at once, the doomed paths of a peer whose generations have run out, and makes those of
    /// the others few again. It takes a walk over the whole slab, but only once in thirty times that a
    /// peer marks its paths as stale before the last sweep is through.
    pub(super) fn renumber(&mut self, shared: &mut Shared, peer: PeerId) {
        for index in 0..self.paths.len() {
            // Removing the last path drops the slab.
            let Some(path) = self.paths.get(index) else { break };
            if path.dest == NONE || path.peer() != peer {
                continue;
            }
            let Some(row) = shared.peers.paths(peer, N::FAMILY) else { return };
            if row.is_doomed(path.generation()) {
                self.remove_path(shared, index as u32);
            } else {
                let generation = row.renumber(path.generation());
                self.paths[index].set_generation(generation);
            }
        }
        if let Some(row) = shared.peers.paths_mut(peer, N::FAMILY) {
            row.renumbered();
        }
    }

    /// Decides one destination; returns whether its best path or ECMP set changed.
    fn decide(&mut self, shared: &mut Shared, index: u32) -> bool {
        let dest = &mut self.dests[index as usize];
        let flags = dest.flags;
        dest.flags &= !(QUEUED | RECHECK | TOUCHED);
        let touched = flags & TOUCHED != 0;
        let head = dest.head;
        if head == NONE {
            dest.selected = 0;
            if dest.flags & DEAD == 0 {
                dest.flags |= DEAD;
                self.dead.push_back(index);
            }
            return touched;
        }
        let first = self.paths[head as usize];
        if first.next == NONE {
            let usable = shared.is_usable(N::FAMILY, &first);
            dest.selected = u16::from(usable);
            let path = &mut self.paths[head as usize];
            path.set(SELECTED, usable);
            path.set(DECIDED, true);
            return touched || usable != first.has(SELECTED);
        }
        if flags & RECHECK == 0
            && first.has(SELECTED)
            && let Some(best) = shared.candidate(N::FAMILY, head, &first)
            && self.additions_lose(shared, first.next, &best)
        {
            return false;
        }
        self.decide_anew(shared, index) || touched
    }

    /// Whether the paths that were added since the last decision, from `next` on, leave it as it is.
    fn additions_lose(&mut self, shared: &Shared, mut next: u32, best: &Candidate) -> bool {
        while next != NONE && !self.paths[next as usize].has(DECIDED) {
            let path = &mut self.paths[next as usize];
            if let Some(new) = shared.candidate(N::FAMILY, next, path)
                && !loses(&new, best, &shared.options)
            {
                return false;
            }
            path.set(DECIDED, true);
            next = path.next;
        }
        true
    }

    /// The whole decision for a destination with several paths: the list in its new order, the ECMP set
    /// first. Returns whether that set, or the best path, is another.
    fn decide_anew(&mut self, shared: &mut Shared, index: u32) -> bool {
        let mut candidates = std::mem::take(&mut shared.candidates);
        let mut order = std::mem::take(&mut shared.order);
        candidates.clear();
        order.clear();
        let head = self.dests[index as usize].head;
        let mut next = head;
        while next != NONE {
            let path = self.paths[next as usize];
            order.push(next);
            if let Some(mut candidate) = shared.candidate(N::FAMILY, next, &path) {
                candidate.existing = next == head && path.has(SELECTED);
                candidates.push(candidate);
            }
            next = path.next;
        }
        select(&mut candidates, &shared.options);
        let best = candidates.first().map_or(NONE, |best| best.index);
        let dest = &mut self.dests[index as usize];
        let was_best = if self.paths[head as usize].has(SELECTED) { head } else { NONE };
        let mut changed = best != was_best || usize::from(dest.selected) != candidates.len();
        dest.selected = candidates.len() as u16;
        changed |= candidates.iter().any(|candidate| !self.paths[candidate.index as usize].has(SELECTED));
        for path in &order {
            let path = &mut self.paths[*path as usize];
            path.set(SELECTED, false);
            path.set(DECIDED, true);
        }
        for candidate in &candidates {
            self.paths[candidate.index as usize].set(SELECTED, true);
        }
        // Link the list from its end: the others in the order they had, before them the set.
        let mut next = NONE;
        for index in order.iter().rev() {
            let path = &mut self.paths[*index as usize];
            if !path.has(SELECTED) {
                path.next = std::mem::replace(&mut next, *index);
            }
        }
        for candidate in candidates.iter().rev() {
            self.paths[candidate.index as usize].next = std::mem::replace(&mut next, candidate.index);
        }
        self.dests[index as usize].head = next;
        shared.candidates = candidates;
        shared.order = order;
        changed
    }
}
