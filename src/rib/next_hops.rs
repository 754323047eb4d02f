//! The next hops that attribute sets refer to, each once, and what tracking knows of them.
//!
//! A next hop lives from the first set that names it to the last. Whoever tracks next hops learns of both
//! by [`poll_added`](NextHopTable::poll_added) and [`poll_dropped`](NextHopTable::poll_dropped), and of
//! neither when a next hop comes and goes in between.

use std::collections::VecDeque;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::hash::BuildHasher;

use crate::types::{NextHop, NextHopId};

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

struct Slot {
    next_hop: NextHop,
    state: NextHopState,
    /// How many attribute sets name it. A slot without any waits for [`NextHopTable::poll_dropped`].
    refs: u32,
    live: bool,
    /// Whether [`NextHopTable::poll_added`] has told of it.
    told: bool,
    /// Whether the state changed and a round over the paths is to find those that go through it.
    moved: bool,
}

/// The interned next hops.
pub struct NextHopTable {
    slots: Vec<Slot>,
    free: Vec<u32>,
    index: HashTable<u32>,
    hasher: FixedState,
    added: VecDeque<u32>,
    dropped: VecDeque<u32>,
    moved: usize,
}

impl NextHopTable {
    pub(super) fn new(seed: u64) -> NextHopTable {
        NextHopTable {
            slots: Vec::new(),
            free: Vec::new(),
            index: HashTable::new(),
            hasher: FixedState::with_seed(seed),
            added: VecDeque::new(),
            dropped: VecDeque::new(),
            moved: 0,
        }
    }

    /// The addresses of a next hop.
    pub fn addr(&self, id: NextHopId) -> NextHop {
        self.slots[id.index()].next_hop
    }

    /// What is known of it.
    pub fn state(&self, id: NextHopId) -> NextHopState {
        self.slots[id.index()].state
    }

    /// Every next hop that an attribute set refers to.
    pub fn iter(&self) -> impl Iterator<Item = (NextHopId, NextHop, NextHopState)> + '_ {
        let used = self.slots.iter().enumerate().filter(|(_, slot)| slot.refs > 0);
        used.map(|(index, slot)| (NextHopId(index as u32), slot.next_hop, slot.state))
    }

    /// How many there are, those that wait to be told dropped included.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>() + self.index.allocation_size()
    }

    /// The id of a next hop, with one reference for the caller.
    pub(super) fn intern(&mut self, next_hop: NextHop) -> NextHopId {
        let hash = self.hasher.hash_one(next_hop);
        let slots = &self.slots;
        if let Some(id) = self.index.find(hash, |id| slots[*id as usize].next_hop == next_hop) {
            self.slots[*id as usize].refs += 1;
            return NextHopId(*id);
        }
        let slot =
            Slot { next_hop, state: NextHopState::Unknown, refs: 1, live: true, told: false, moved: false };
        let id = match self.free.pop() {
            Some(id) => {
                self.slots[id as usize] = slot;
                id
            }
            None => {
                self.slots.push(slot);
                self.slots.len() as u32 - 1
            }
        };
        let (slots, hasher) = (&self.slots, &self.hasher);
        self.index.insert_unique(hash, id, |id| hasher.hash_one(slots[*id as usize].next_hop));
        self.added.push_back(id);
        NextHopId(id)
    }

    pub(super) fn release(&mut self, id: NextHopId) {
        let slot = &mut self.slots[id.index()];
        slot.refs -= 1;
        if slot.refs == 0 {
            if slot.told {
                self.dropped.push_back(id.0);
            } else {
                self.drop_slot(id);
            }
        }
    }

    fn drop_slot(&mut self, id: NextHopId) {
        let slot = &mut self.slots[id.index()];
        slot.live = false;
        self.moved -= usize::from(std::mem::take(&mut slot.moved));
        let hash = self.hasher.hash_one(slot.next_hop);
        if let Ok(entry) = self.index.find_entry(hash, |other| *other == id.0) {
            entry.remove();
        }
        self.free.push(id.0);
    }

    /// The next one that came into use.
    pub(super) fn poll_added(&mut self) -> Option<NextHopId> {
        while let Some(id) = self.added.pop_front() {
            let slot = &mut self.slots[id as usize];
            // It may have gone again, and the id even serve another that is already told.
            if slot.live && !slot.told {
                slot.told = true;
                return Some(NextHopId(id));
            }
        }
        None
    }

    /// The next one that went out of use.
    pub(super) fn poll_dropped(&mut self) -> Option<(NextHopId, NextHop)> {
        while let Some(id) = self.dropped.pop_front() {
            let slot = &self.slots[id as usize];
            // It may be in use again, or have been dropped by an earlier entry.
            if slot.live && slot.refs == 0 {
                let next_hop = slot.next_hop;
                self.drop_slot(NextHopId(id));
                return Some((NextHopId(id), next_hop));
            }
        }
        None
    }

    /// Sets the state; returns whether it is another.
    pub(super) fn set_state(&mut self, id: NextHopId, state: NextHopState) -> bool {
        let Some(slot) = self.slots.get_mut(id.index()).filter(|slot| slot.live && slot.state != state)
        else {
            return false;
        };
        slot.state = state;
        self.moved += usize::from(!std::mem::replace(&mut slot.moved, true));
        true
    }

    /// Whether any state changed since [`NextHopTable::settle`].
    pub(super) fn any_moved(&self) -> bool {
        self.moved > 0
    }

    /// Whether the state of this one did.
    #[inline]
    pub(super) fn moved(&self, id: NextHopId) -> bool {
        self.slots[id.index()].moved
    }

    /// Every path through a next hop that moved has been found.
    pub(super) fn settle(&mut self) {
        if self.moved > 0 {
            self.slots.iter_mut().for_each(|slot| slot.moved = false);
            self.moved = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next_hop(last: u8) -> NextHop {
        NextHop::new([192, 0, 2, last].into())
    }

    #[test]
    fn tracking_is_told_once_of_each() {
        let mut table = NextHopTable::new(1);
        let id = table.intern(next_hop(1));
        assert_eq!(table.intern(next_hop(1)), id);
        assert_eq!(table.poll_added(), Some(id));
        assert_eq!(table.poll_added(), None);
        table.release(id);
        assert_eq!(table.poll_dropped(), None);
        table.release(id);
        assert_eq!(table.poll_dropped(), Some((id, next_hop(1))));
        assert_eq!(table.poll_dropped(), None);
        assert!(table.is_empty());
    }

    #[test]
    fn one_that_comes_and_goes_is_not_told() {
        let mut table = NextHopTable::new(1);
        let id = table.intern(next_hop(1));
        table.release(id);
        assert_eq!((table.poll_added(), table.poll_dropped()), (None, None));
        let id = table.intern(next_hop(2));
        assert_eq!(table.poll_added(), Some(id));
        table.set_state(id, NextHopState::Reachable { metric: 7 });
        table.release(id);
        assert_eq!(table.intern(next_hop(2)), id);
        assert_eq!((table.poll_added(), table.poll_dropped()), (None, None));
        assert_eq!(table.state(id), NextHopState::Reachable { metric: 7 });
    }
}
