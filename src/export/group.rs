//! One update group: its members, what they have been told, and how members come, go and fall behind.

use std::collections::VecDeque;
use std::rc::Rc;

use super::bitmap::Bitmap;
use super::key::GroupKey;
use super::member::{CatchUp, Member, Phase};
use super::ring::{MAIN, Ring};
use super::told::{Epoch, NO_SLOT, NOTHING, PENDING, SLOTS_MAX, is_told, is_told_to, source_slot, told_by};
use crate::policy::Policy;
use crate::rib::Rib;
use crate::types::{DestId, PeerId, Time};

/// Classes of members in the ring: [`MAIN`] and seven walks. Who comes when all walks are under way waits,
/// and then shares one.
pub(super) const CLASSES: usize = 8;

/// No recheck under way.
pub(super) const RECHECK_DONE: u32 = u32::MAX;

/// Slots that are given back are swept out of the told state when there are this many, or as many as
/// members: a sweep looks at the whole table.
const RETIRED_MAX: usize = 64;

/// A telling of the whole table to several members at once.
pub(super) struct Walk {
    /// For members that have just joined; else a refresh, with marks around it or without.
    pub kind: WalkKind,
    /// The next destination to tell.
    pub next: u32,
    /// Destinations before it that are still to be told: they waited for a decision.
    pub skipped: Bitmap,
    /// The members for which more will be encoded in this class.
    pub members: u32,
    /// How many destinations the members have been told.
    pub told: u32,
    /// The ring's sequence number where the walk began.
    pub opened: u64,
    /// Set when the walk is over: when the ring has forgotten what lies before this, the class is free.
    pub free_at: Option<u64>,
}

impl Walk {
    /// Whether changes at the destination go to the walk's class: its members have been told of it, and are
    /// not in [`MAIN`] yet.
    pub fn tells_changes_at(&self, dest: u32) -> bool {
        self.kind == WalkKind::Initial
            && self.free_at.is_none()
            && self.next > dest
            && !self.skipped.contains(dest)
    }

    /// The destinations below `end` that are still to be told.
    fn ahead(&self, end: u32) -> impl Iterator<Item = u32> {
        let skipped = std::iter::successors(self.skipped.next(0), |dest| self.skipped.next(dest + 1));
        skipped.chain(self.next..end)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WalkKind {
    /// For those who join; End-of-RIB ends it (RFC 4724 §2).
    Initial,
    Refresh,
    EnhancedRefresh,
}

/// See the module.
pub(super) struct Group {
    pub key: GroupKey,
    pub policy: Rc<Policy>,
    /// By [`crate::types::DestId`]; see [`super::told`].
    pub told: Vec<u16>,
    pub told_count: u32,
    /// Changed destinations; those without [`PENDING`] have been dealt with meanwhile.
    pub queue: VecDeque<u32>,
    /// Destinations from here on count as changed.
    pub recheck_from: u32,
    pub ring: Ring,
    pub epoch: Epoch,
    pub members: Vec<Option<Member>>,
    free: Vec<u16>,
    /// Slots that nobody sits in but that the told state may still name.
    retired: Vec<u16>,
    member_count: usize,
    /// Members in [`Phase::Main`].
    pub main_count: u32,
    /// Index 0 stands for [`MAIN`] and is not used.
    pub walks: [Option<Walk>; CLASSES],
    pub waiting: Vec<u16>,
    pub catching_up: Vec<u16>,
    pub refreshing: Vec<u16>,
    /// Since when the ring is too full, if it is.
    pub tight_since: Option<Time>,
    /// How many times the grace time a ring that is too full waits for members that lag: the more the more there were.
    pub lag: u64,
    /// The last round ended because the ring was full.
    pub stalled: bool,
}

impl Group {
    /// A group without members. Whatever the Loc-RIB holds will be looked at.
    pub fn new(key: GroupKey, policy: Rc<Policy>) -> Group {
        Group {
            key,
            policy,
            told: Vec::new(),
            told_count: 0,
            queue: VecDeque::new(),
            recheck_from: 0,
            ring: Ring::new(),
            epoch: Epoch::default(),
            members: Vec::new(),
            free: Vec::new(),
            retired: Vec::new(),
            member_count: 0,
            main_count: 0,
            walks: [const { None }; CLASSES],
            waiting: Vec::new(),
            catching_up: Vec::new(),
            refreshing: Vec::new(),
            tight_since: None,
            lag: 1,
            stalled: false,
        }
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.member_count
    }

    /// Whether no slot is left.
    pub fn is_full(&self) -> bool {
        self.free.is_empty() && self.retired.is_empty() && self.members.len() >= SLOTS_MAX
    }

    /// The member in a slot that is known to be taken.
    pub fn member(&self, slot: u16) -> &Member {
        self.members[usize::from(slot)].as_ref().expect("the peer table names taken slots only")
    }

    /// [`Group::member`], to change it.
    pub fn member_mut(&mut self, slot: u16) -> &mut Member {
        self.members[usize::from(slot)].as_mut().expect("the peer table names taken slots only")
    }

    /// The members with their slots.
    pub fn iter(&self) -> impl Iterator<Item = (u16, &Member)> {
        self.members.iter().enumerate().filter_map(|(slot, member)| Some((slot as u16, member.as_ref()?)))
    }

    /// A peer joins, to be told the table by a walk; returns its slot.
    pub fn join(&mut self, peer: PeerId) -> u16 {
        let slot = self.seat(Member::new(peer));
        self.waiting.push(slot);
        slot
    }

    /// A member of another group joins. It is told the whole table, what it had of the other group is
    /// withdrawn.
    pub fn join_catching_up(&mut self, mut member: Member) -> u16 {
        if let Some(catch_up) = member.catch_up() {
            for (dest, told) in self.told.iter().enumerate() {
                if is_told(told & !PENDING) {
                    catch_up.mark(dest as u32, false);
                }
            }
        }
        member.own_routes = 0;
        let catching_up = matches!(member.phase, Phase::CatchingUp(_));
        let wants_refresh = member.wants_refresh.is_some();
        let slot = self.seat(member);
        if wants_refresh {
            self.refreshing.push(slot);
        }
        if catching_up {
            self.catching_up.push(slot);
        } else {
            self.waiting.push(slot);
        }
        slot
    }

    fn seat(&mut self, member: Member) -> u16 {
        self.member_count += 1;
        if self.free.is_empty() && (self.retired.len() >= RETIRED_MAX || self.members.len() >= SLOTS_MAX) {
            self.sweep_retired();
        }
        match self.free.pop() {
            Some(slot) => {
                self.members[usize::from(slot)] = Some(member);
                slot
            }
            None => {
                self.members.push(Some(member));
                (self.members.len() - 1) as u16
            }
        }
    }

    /// Takes retired slots out of the told state, so that they can be given to others.
    fn sweep_retired(&mut self) {
        let mut retired = vec![false; self.members.len()];
        for slot in &self.retired {
            retired[usize::from(*slot)] = true;
        }
        for told in &mut self.told {
            let slot = source_slot(*told & !PENDING);
            if slot != NO_SLOT && retired[usize::from(slot)] {
                *told = told_by(NO_SLOT) | *told & PENDING;
            }
        }
        self.free.append(&mut self.retired);
    }

    /// The member in `slot` leaves.
    pub fn leave(&mut self, slot: u16) -> Member {
        self.leave_walks(slot);
        let member = self.members[usize::from(slot)].take().expect("the peer table names taken slots only");
        if matches!(member.phase, Phase::Main) {
            self.main_count -= 1;
        }
        self.waiting.retain(|other| *other != slot);
        self.catching_up.retain(|other| *other != slot);
        self.refreshing.retain(|other| *other != slot);
        self.retired.push(slot);
        self.member_count -= 1;
        member
    }

    fn leave_walks(&mut self, slot: u16) {
        let member = self.member_mut(slot);
        let initial = match member.phase {
            Phase::Walking(class) => Some(class),
            _ => None,
        };
        for class in [initial, member.walk.take()].into_iter().flatten() {
            if let Some(walk) = &mut self.walks[usize::from(class)] {
                walk.members -= 1;
            }
        }
    }

    /// Works out what the member in `slot` is to be sent from the ring.
    pub fn plan(&mut self, slot: u16) {
        let Group { members, ring, .. } = self;
        let member = members[usize::from(slot)].as_mut().expect("the peer table names taken slots only");
        if let Some(cursor) = &member.cursor {
            let (end, bytes, updates) = ring.plan(cursor, slot);
            member.planned = Some(((cursor.seq, cursor.partial), end, bytes, updates));
        }
    }

    /// The member in `slot` asks to be told the table again.
    pub fn refresh(&mut self, slot: u16, enhanced: bool) {
        let member = self.member_mut(slot);
        let asked = member.wants_refresh.is_some();
        member.wants_refresh = Some(enhanced || member.wants_refresh == Some(true));
        if !asked {
            self.refreshing.push(slot);
        }
    }

    /// The member in `slot` loses its place in the ring. What it has not taken is marked to be told, with
    /// whether it has a route; the rest of a message that it has taken in part goes to its backlog.
    pub fn detach(&mut self, slot: u16, parked: bool) {
        let Group { members, ring, told, walks, .. } = self;
        let member = members[usize::from(slot)].as_mut().expect("the peer table names taken slots only");
        let Some(mut cursor) = member.cursor.take() else { return };
        let (rest, update) = ring.rest_of_message(&mut cursor);
        member.backlog.begin_with_rest(rest, update);
        let mut catch_up = Box::new(CatchUp { parked, ..CatchUp::default() });
        // What a walk has not come to.
        let class = match member.phase {
            Phase::Walking(class) => Some(class),
            _ => member.walk,
        };
        if let Some(walk) = class.and_then(|class| walks[usize::from(class)].as_ref()) {
            for dest in walk.ahead(told.len() as u32) {
                let told = told[dest as usize] & !PENDING;
                if is_told(told) {
                    catch_up.mark(dest, walk.kind != WalkKind::Initial && is_told_to(told, slot));
                }
            }
        }
        // The first of several messages about a destination knows what the member has.
        let mut unsent = Vec::new();
        ring.unsent(&cursor, slot, &mut |dest, before| unsent.push((dest, before)));
        for (dest, before) in unsent.into_iter().rev() {
            catch_up.pending.insert(dest);
            catch_up.had.assign(dest, is_told_to(before, slot));
        }
        // What it is still owed at the end: the marker of a walk that it has not passed.
        for (class, walk) in walks.iter().enumerate().skip(1) {
            let Some(walk) = walk.as_ref().filter(|_| cursor.reads & 1 << class != 0) else { continue };
            if walk.kind == WalkKind::Initial {
                catch_up.owes_end_of_rib = true;
                member.has_end_of_rib = false;
            } else if walk.kind == WalkKind::EnhancedRefresh {
                if cursor.seq > walk.opened {
                    catch_up.owes_end_of_refresh = true;
                } else {
                    // It has not even seen the beginning: later, then, and from there.
                    if member.wants_refresh.is_none() {
                        self.refreshing.push(slot);
                    }
                    member.wants_refresh = Some(true);
                }
            }
        }
        if matches!(member.phase, Phase::Main) {
            self.main_count -= 1;
        }
        self.leave_walks(slot);
        self.member_mut(slot).phase = Phase::CatchingUp(catch_up);
        self.catching_up.push(slot);
    }

    /// The member in `slot` is about to go to another group: marks everything that it has been told.
    pub fn detach_with_all(&mut self, slot: u16) {
        self.detach(slot, false);
        let Group { members, told, .. } = self;
        let member = members[usize::from(slot)].as_mut().expect("the peer table names taken slots only");
        let Some(catch_up) = member.catch_up() else { return };
        catch_up.parked = false;
        for (dest, told) in told.iter().enumerate() {
            if is_told_to(told & !PENDING, slot) {
                catch_up.mark(dest as u32, true);
            }
        }
    }

    /// Destinations have changed.
    pub fn changed(&mut self, dests: impl Iterator<Item = u32>) {
        for dest in dests {
            let at = dest as usize;
            if at >= self.told.len() {
                self.told.resize(at + 1, NOTHING);
            }
            if self.told[at] & PENDING == 0 {
                self.told[at] |= PENDING;
                self.queue.push_back(dest);
            }
        }
    }

    /// Whether what the told state says of a destination may not be what the Loc-RIB says now.
    pub fn is_stale(&self, rib: &Rib, dest: u32) -> bool {
        dest >= self.recheck_from
            || !rib.is_settled(self.key.family, DestId(dest))
            || self.told.get(dest as usize).is_some_and(|told| told & PENDING != 0)
    }

    /// The classes that hear of a change at a destination: who has heard everything, and walks that have
    /// passed it.
    pub fn classes_at(&self, dest: u32) -> u8 {
        let mut classes = if self.main_count > 0 { MAIN } else { 0 };
        for (class, walk) in self.walks.iter().enumerate().skip(1) {
            if let Some(walk) = walk
                && walk.tells_changes_at(dest)
                && walk.members > 0
            {
                classes |= 1 << class;
            }
        }
        classes
    }

    /// Whether the member in `slot` is in one of these classes, as far as messages to come are concerned.
    pub fn hears(&self, slot: u16, classes: u8) -> bool {
        if slot == NO_SLOT {
            return false;
        }
        match self.members[usize::from(slot)].as_ref().map(|member| &member.phase) {
            Some(Phase::Main) => classes & MAIN != 0,
            Some(Phase::Walking(class)) => classes & 1 << class != 0,
            _ => false,
        }
    }

    /// Whether anyone in these classes but the member in `slot` would hear a message.
    pub fn anyone_else(&self, classes: u8, slot: u16) -> bool {
        let mut count = if classes & MAIN != 0 { self.main_count } else { 0 };
        if classes > MAIN {
            for (class, walk) in self.walks.iter().enumerate().skip(1) {
                if classes & 1 << class != 0 {
                    count += walk.as_ref().map_or(0, |walk| walk.members);
                }
            }
        }
        count > u32::from(self.hears(slot, classes))
    }

    /// Whether something here still refers to the destination.
    pub fn holds(&self, dest: u32) -> bool {
        let told = self.told.get(dest as usize).map_or(NOTHING, |told| told & !PENDING);
        is_told(told)
            || (self.epoch.may_be_unsent(told) && self.ring.held_bytes() > 0)
            || self.catching_up.iter().any(|slot| match &self.member(*slot).phase {
                Phase::CatchingUp(catch_up) => catch_up.had.contains(dest),
                _ => false,
            })
    }

    /// About how many prefixes the member in `slot` has been told.
    pub fn advertised_count(&self, slot: u16) -> u32 {
        let member = self.member(slot);
        match &member.phase {
            Phase::Waiting => 0,
            Phase::Main => self.told_count.saturating_sub(member.own_routes),
            Phase::Walking(class) => self.walks[usize::from(*class)]
                .as_ref()
                .map_or(0, |walk| walk.told.saturating_sub(member.own_routes)),
            Phase::CatchingUp(catch_up) => {
                let missing = catch_up.pending.len() - catch_up.had.len();
                self.told_count.saturating_sub(member.own_routes).saturating_sub(missing as u32)
            }
        }
    }

    /// Bytes in use.
    pub fn memory_bytes(&self) -> usize {
        let members: usize = self
            .iter()
            .map(|(_, member)| {
                member.backlog.memory_bytes()
                    + match &member.phase {
                        Phase::CatchingUp(catch_up) => {
                            catch_up.pending.memory_bytes() + catch_up.had.memory_bytes()
                        }
                        _ => 0,
                    }
            })
            .sum();
        self.told.capacity() * 2
            + self.queue.capacity() * 4
            + self.ring.memory_bytes()
            + self.members.capacity() * size_of::<Option<Member>>()
            + members
    }
}
