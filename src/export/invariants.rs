//! What must hold between any two calls. Tests and simulations ask after every step.

use super::UpdateGroups;
use super::group::{CLASSES, Group, RECHECK_DONE, WalkKind};
use super::member::Phase;
use super::told::{NO_SLOT, PENDING, is_told, source_slot};
use crate::types::Family;

impl UpdateGroups {
    /// Panics if the groups contradict themselves.
    pub fn check_invariants(&self) {
        for (id, group) in self.groups.iter().enumerate() {
            let Some(group) = group else { continue };
            group.check_invariants();
            for (slot, member) in group.iter() {
                let seat = self.seats.get(member.peer, group.key.family).expect("a member has a seat");
                assert_eq!((seat.group.index(), seat.slot), (id, slot), "{:?} sits elsewhere", member.peer);
            }
        }
        let seats: usize = self.seats.peers.iter().map(|peer| peer.seats.iter().flatten().count()).sum();
        let members: usize = self.groups.iter().flatten().map(|group| group.len()).sum();
        assert_eq!(seats, members, "a seat without a member");
        for family in Family::ALL {
            for (peer, seats) in self.seats.peers.iter().enumerate() {
                let Some(seat) = seats.seats[family.index()] else { continue };
                assert_eq!(self.group(seat.group).key.family, family, "peer {peer} sits in the wrong family");
            }
        }
    }
}

impl Group {
    fn check_invariants(&self) {
        self.check_told();
        self.check_members();
        for (class, walk) in self.walks.iter().enumerate().skip(1) {
            let Some(walk) = walk.as_ref().filter(|walk| walk.free_at.is_none()) else { continue };
            let members = self.iter().filter(|(_, member)| match member.phase {
                Phase::Walking(own) => usize::from(own) == class,
                _ => member.walk.is_some_and(|own| usize::from(own) == class),
            });
            assert_eq!(walk.members as usize, members.count(), "members of walk {class}");
        }
    }

    fn check_told(&self) {
        let mut told_count = 0;
        let mut own_routes = vec![0; self.members.len()];
        for (dest, told) in self.told.iter().enumerate() {
            let value = told & !PENDING;
            told_count += u32::from(is_told(value));
            if source_slot(value) != NO_SLOT {
                own_routes[usize::from(source_slot(value))] += 1;
            }
            if told & PENDING != 0 {
                assert!(self.queue.contains(&(dest as u32)), "{dest} is pending, but not in the queue");
            }
        }
        assert_eq!(self.told_count, told_count, "told destinations");
        for (slot, member) in self.iter() {
            assert_eq!(member.own_routes, own_routes[usize::from(slot)], "own routes of slot {slot}");
        }
        assert!(self.recheck_from == RECHECK_DONE || self.recheck_from <= self.told.len() as u32);
    }

    fn check_members(&self) {
        let mut main_count = 0;
        for (slot, member) in self.iter() {
            let is_in = |list: &[u16]| list.contains(&slot);
            let (waiting, walking, main, catching_up) = match &member.phase {
                Phase::Waiting => (true, None, false, false),
                Phase::Walking(class) => (false, Some(*class), false, false),
                Phase::Main => (false, None, true, false),
                Phase::CatchingUp(catch_up) => {
                    let mut next = 0;
                    while let Some(dest) = catch_up.had.next(next) {
                        assert!(catch_up.pending.contains(dest), "{dest} was had, but is not pending");
                        next = dest + 1;
                    }
                    (false, None, false, true)
                }
            };
            main_count += u32::from(main);
            assert_eq!(waiting, is_in(&self.waiting), "slot {slot} waiting");
            assert_eq!(catching_up, is_in(&self.catching_up), "slot {slot} catching up");
            assert_eq!(member.wants_refresh.is_some(), is_in(&self.refreshing), "slot {slot} refreshing");
            assert_eq!(member.cursor.is_none(), waiting || catching_up, "slot {slot} has a cursor");
            if let Some(class) = walking {
                assert!(usize::from(class) < CLASSES);
                let walk = self.walks[usize::from(class)].as_ref().expect("who walks is in a walk");
                assert!(walk.kind == WalkKind::Initial && walk.free_at.is_none());
            }
            if let Some(cursor) = &member.cursor {
                assert!(self.ring.tail() <= cursor.seq && cursor.seq <= self.ring.head());
            }
        }
        assert_eq!(self.main_count, main_count, "members that hear every change");
    }
}
