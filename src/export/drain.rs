//! A round of a group: from changed destinations, walks and members that fell behind, to messages.
//!
//! The order within a round is what makes every interleaving right: changes first, and what a recheck of the
//! whole table comes by, with the classes of members that have heard of the destination before; then walks,
//! which deal with changes that are still queued where they come by; then all of it is encoded; then the ends
//! of walks; and last those who catch up, who are told only destinations for which the told state is up to
//! date.

use super::batch::{Batch, Telling};
use super::bitmap::Bitmap;
use super::group::{CLASSES, Group, RECHECK_DONE, Walk, WalkKind};
use super::member::{Member, Phase};
use super::ring::{Audience, MAIN};
use super::told::{NO_SLOT, NOTHING, PENDING, is_told, is_told_to, source_slot, told_by};
use super::{ExportLimits, Seats};
use crate::rib::Rib;
use crate::types::{DestId, Family, PeerId, Time};
use crate::wire::encode::encode_end_of_rib;
use crate::wire::frame::MESSAGE_LEN_MAX;
use crate::wire::route_refresh::{RefreshKind, RouteRefresh};

/// A walk looks at this many destinations for each one that it may tell: those without a route cost next to
/// nothing.
const WALK_LOOKS: usize = 16;
/// How many bytes a member that catches up is encoded at a time. Its socket buffer holds more.
const CATCH_UP_BYTES: usize = 16 << 10;
/// How many pending destinations are looked at for one member and round.
const CATCH_UP_LOOKS: usize = 4096;
/// A walk that has only begun is joined rather than followed by another: once it has passed this part of
/// the table, those who wait get one of their own.
const WALK_SPACING: u32 = 8;

/// A member lags if another takes this many times as much in the same time.
const LAG_FACTOR: u64 = 4;

/// Many that lag are waited for at most so many times as long as one.
const LAG_GRACE_FACTOR_MAX: u64 = 20;

/// What a round works with, beside the group.
pub(super) struct Round<'a> {
    pub rib: &'a Rib,
    pub seats: &'a Seats,
    pub batch: &'a mut Batch,
    pub limits: ExportLimits,
    pub now: Time,
    /// How many destinations to tell, about.
    pub budget: usize,
}

/// What a walk found at a destination.
enum Passed {
    /// A route, which its members are told.
    Told,
    /// Nothing to tell.
    Nothing,
    /// A route that waits for a decision: the walk has to come again.
    Unsettled,
}

impl Group {
    /// Runs a round; returns whether another one would find work. False may also mean that the ring is
    /// full, see [`Group::stalled`].
    pub fn drain(&mut self, round: &mut Round<'_>) -> bool {
        self.trim();
        self.stalled = false;
        if !self.has_work() {
            self.tight_since = None;
            return false;
        }
        if !self.make_room(round) {
            self.stalled = true;
            return self.catch_up(round);
        }
        self.start_walks(round);
        round.batch.begin();
        let used = self.drain_queue(round);
        self.recheck(round);
        self.step_walks(round, used);
        self.encode(round);
        self.end_walks();
        self.note_tightness(round);
        let catching_up = self.catch_up(round);
        // The ring may be full; then the next round finds that out.
        catching_up || self.has_main_work()
    }

    /// When the group wants a round though nothing happens.
    pub fn deadline(&self, limits: &ExportLimits) -> Option<Time> {
        self.tight_since.filter(|_| self.stalled).map(|since| since.plus_ms(self.lag * limits.lag_grace_ms))
    }

    fn has_work(&self) -> bool {
        self.has_main_work() || !self.catching_up.is_empty()
    }

    fn has_main_work(&self) -> bool {
        !self.queue.is_empty()
            || self.recheck_from != RECHECK_DONE
            || !self.waiting.is_empty() && self.free_class().is_some()
            || self.refreshing.iter().any(|slot| self.is_main_only(*slot)) && self.free_class().is_some()
            || self.walks.iter().flatten().any(|walk| walk.free_at.is_none())
    }

    /// Frees what every member has read.
    pub fn trim(&mut self) {
        if self.ring.head() != self.ring.tail() {
            let cursors = self.members.iter().flatten().filter_map(|member| member.cursor.as_ref());
            match cursors.min_by_key(|cursor| cursor.seq) {
                Some(slowest) => self.ring.trim(slowest),
                None => self.ring.clear(),
            }
            self.epoch.advance(self.ring.tail(), self.ring.head());
        }
        for walk in &mut self.walks {
            walk.take_if(|walk| walk.free_at.is_some_and(|seq| seq <= self.ring.tail()));
        }
    }

    /// Sees to it that the ring has room; if it has not, members that lag may have to leave it.
    ///
    /// A member lags if it holds back more than half of a ring that has been too full for some time, while
    /// others have taken far more than it has. When all are equally slow, nobody leaves.
    fn make_room(&mut self, round: &Round<'_>) -> bool {
        let max = round.limits.ring_bytes_max;
        if self.ring.held_bytes() <= max / 2 {
            self.tight_since = None;
            self.lag = 1;
        }
        if self.ring.held_bytes() < max {
            return true;
        }
        let since = *self.tight_since.get_or_insert(round.now);
        let (waited, grace) = (round.now.since_ms(since), round.limits.lag_grace_ms);
        if waited < self.lag * grace {
            return false;
        }
        let best = self.iter().map(|(_, member)| member.taken_since_mark()).max().unwrap_or(0);
        let lags = |member: &Member| {
            member.taken_since_mark() * LAG_FACTOR < best
                && member.cursor.as_ref().is_some_and(|cursor| self.ring.backlog_bytes(cursor) > max / 2)
        };
        let lagging: Vec<u16> =
            self.iter().filter(|(_, member)| lags(member)).map(|(slot, _)| slot).collect();
        // Each that leaves is encoded for alone from then on. One is let go soon; where many lag, it is rather the
        // others that happen to be ahead, and waiting is cheaper.
        let lag = (lagging.len() as u64).clamp(1, LAG_GRACE_FACTOR_MAX);
        if waited < lag * grace {
            self.lag = lag;
            return false;
        }
        self.lag = 1;
        for slot in lagging {
            self.detach(slot, true);
        }
        self.tight_since = None;
        self.trim();
        self.note_tightness(round);
        self.ring.held_bytes() < max
    }

    /// Takes the time, and what every member has taken so far, when the ring gets more than half full.
    fn note_tightness(&mut self, round: &Round<'_>) {
        if self.tight_since.is_none() && self.ring.held_bytes() > round.limits.ring_bytes_max / 2 {
            self.tight_since = Some(round.now);
            for member in self.members.iter_mut().flatten() {
                member.taken_mark = member.taken;
            }
        }
    }

    fn free_class(&self) -> Option<usize> {
        (1..CLASSES).find(|class| self.walks[*class].is_none())
    }

    /// Whether the member has heard everything and takes part in no walk.
    fn is_main_only(&self, slot: u16) -> bool {
        let member = self.member(slot);
        matches!(member.phase, Phase::Main) && member.walk.is_none()
    }

    /// Puts members that wait into walks: one that has not begun, or a new one.
    fn start_walks(&mut self, round: &Round<'_>) {
        let end = round.rib.dest_end(self.key.family);
        if !self.waiting.is_empty()
            && let Some(class) = self.walk_to_join(WalkKind::Initial, end)
        {
            for slot in std::mem::take(&mut self.waiting) {
                let cursor = self.ring.cursor(1 << class);
                let member = self.member_mut(slot);
                member.phase = Phase::Walking(class);
                member.cursor = Some(cursor);
                self.walk_mut(class).members += 1;
            }
        }
        for kind in [WalkKind::Refresh, WalkKind::EnhancedRefresh] {
            let enhanced = kind == WalkKind::EnhancedRefresh;
            let ready = |group: &Group, slot: u16| {
                group.is_main_only(slot) && group.member(slot).wants_refresh == Some(enhanced)
            };
            if !self.refreshing.iter().any(|slot| ready(self, *slot)) {
                continue;
            }
            let Some(class) = self.walk_to_join(kind, end) else { continue };
            let refreshing = std::mem::take(&mut self.refreshing);
            let (now, later) = refreshing.into_iter().partition(|slot| ready(self, *slot));
            self.refreshing = later;
            self.add_members(class, now);
            if enhanced {
                let (out, _) = self.ring.open(MESSAGE_LEN_MAX);
                RouteRefresh::new(self.key.family, RefreshKind::Begin).encode(out);
                self.ring.push(Audience::everyone(1 << class), std::iter::empty());
            }
        }
    }

    /// Lets members that hear every change take part in a walk besides, which gives them what they asked for.
    fn add_members(&mut self, class: u8, slots: Vec<u16>) {
        self.walk_mut(class).members += slots.len() as u32;
        for slot in slots {
            let member = self.member_mut(slot);
            member.walk = Some(class);
            member.wants_refresh = None;
            if let Some(cursor) = &mut member.cursor {
                cursor.reads |= 1 << class;
            }
        }
    }

    fn walk_mut(&mut self, class: u8) -> &mut Walk {
        self.walks[usize::from(class)].as_mut().expect("a class that a member is in has a walk")
    }

    /// The class of a walk that has not begun, or of a new one unless another is too close.
    fn walk_to_join(&mut self, kind: WalkKind, end: u32) -> Option<u8> {
        for (class, walk) in self.walks.iter().enumerate() {
            let Some(walk) = walk.as_ref().filter(|walk| walk.kind == kind && walk.free_at.is_none()) else {
                continue;
            };
            // The beginning of an enhanced refresh is a message that others have not been sent.
            if walk.next == 0 && kind != WalkKind::EnhancedRefresh {
                return Some(class as u8);
            }
            if walk.next < end / WALK_SPACING {
                return None;
            }
        }
        let class = self.free_class()?;
        let opened = self.ring.head();
        self.walks[class] = Some(Walk {
            kind,
            next: 0,
            skipped: Bitmap::default(),
            members: 0,
            told: 0,
            opened,
            free_at: None,
        });
        Some(class as u8)
    }

    /// Tells changed destinations; returns how many.
    fn drain_queue(&mut self, round: &mut Round<'_>) -> usize {
        let room = round.limits.ring_bytes_max.saturating_sub(self.ring.held_bytes());
        let mut count = 0;
        while count < round.budget && round.batch.bytes() < room {
            let Some(dest) = self.queue.pop_front() else { break };
            if self.told[dest as usize] & PENDING != 0 {
                self.change(round, dest);
                count += 1;
            }
        }
        if self.queue.is_empty() && self.queue.capacity() > 4 * round.budget {
            self.queue.shrink_to(round.budget);
        }
        count
    }

    /// Looks at a destination that has changed: tells those who have heard of it before what is so now. One
    /// that waits for another decision will be reported again, and be looked at then.
    fn change(&mut self, round: &mut Round<'_>, dest: u32) {
        let at = dest as usize;
        let before = self.told[at] & !PENDING;
        self.told[at] = before;
        if !round.rib.is_settled(self.key.family, DestId(dest)) {
            return;
        }
        let route = self.evaluate(round, dest);
        if route.is_none() && !is_told(before) {
            return;
        }
        for slot in &self.catching_up {
            if let Some(catch_up) =
                self.members[usize::from(*slot)].as_mut().and_then(|member| member.catch_up())
            {
                catch_up.mark(dest, is_told_to(before, *slot));
            }
        }
        let classes = self.classes_at(dest);
        let source = route.map_or(NO_SLOT, |route| round.batch.source_slot(route));
        let old_source = source_slot(before);
        match route {
            Some(route) => {
                if self.anyone_else(classes, source) {
                    round.batch.announce(route, classes, dest, before);
                }
                if is_told_to(before, source) && self.hears(source, classes) {
                    round.batch.withdraw(Audience { classes, slot: source, only: true }, dest, before);
                }
                self.set_told(dest, told_by(source));
            }
            None => {
                if self.anyone_else(classes, old_source) {
                    round.batch.withdraw(Audience { classes, slot: old_source, only: false }, dest, before);
                }
                self.set_told(dest, self.epoch.gone());
            }
        }
    }

    fn evaluate(&self, round: &mut Round<'_>, dest: u32) -> Option<u32> {
        let family = self.key.family;
        let path = round.rib.best(family, DestId(dest))?;
        let telling = Telling { key: &self.key, policy: &self.policy, rib: round.rib };
        let seats = round.seats;
        round.batch.evaluate(&telling, dest, path, |peer| self.slot_of(seats, family, peer))
    }

    fn slot_of(&self, seats: &Seats, family: Family, peer: PeerId) -> u16 {
        let seat = seats.get(peer, family).filter(|seat| {
            // The group's handle would do, but a group does not know its own.
            self.members
                .get(usize::from(seat.slot))
                .is_some_and(|member| member.as_ref().is_some_and(|member| member.peer == peer))
        });
        seat.map_or(NO_SLOT, |seat| seat.slot)
    }

    /// Changes the told state of a destination, and what is counted by it.
    fn set_told(&mut self, dest: u32, after: u16) {
        let before = std::mem::replace(&mut self.told[dest as usize], after);
        debug_assert_eq!(before & PENDING, 0);
        let (was, is) = (is_told(before), is_told(after));
        self.told_count = self.told_count + u32::from(is) - u32::from(was);
        if was != is {
            let passed = |walk: &&mut Walk| walk.tells_changes_at(dest);
            for walk in self.walks.iter_mut().flatten().filter(passed) {
                walk.told = walk.told + u32::from(is) - u32::from(was);
            }
        }
        for (slot, delta) in [(source_slot(before), -1), (source_slot(after), 1)] {
            if slot != NO_SLOT
                && let Some(member) = &mut self.members[usize::from(slot)]
            {
                member.own_routes = member.own_routes.wrapping_add_signed(delta);
            }
        }
    }

    /// Brings every walk forward, each as far as the rest of the budget allows, at least a quarter of it.
    fn step_walks(&mut self, round: &mut Round<'_>, used: usize) {
        let budget = (round.budget - used.min(round.budget)).max(round.budget / 4).max(1);
        let table_end = round.rib.dest_end(self.key.family);
        // Walks stay behind a recheck: so a destination is looked at by one of them in a round, and what a
        // member is told first stands first in the ring.
        let end = table_end.min(self.recheck_from);
        for class in 1..CLASSES {
            let Some(walk) = &self.walks[class] else { continue };
            if walk.free_at.is_some() || walk.next == u32::MAX {
                continue;
            }
            if walk.members == 0 {
                let head = self.ring.head();
                self.walk_mut(class as u8).free_at = Some(head);
                continue;
            }
            let (kind, from) = (walk.kind, walk.next);
            let room = round.limits.ring_bytes_max.saturating_sub(self.ring.held_bytes());
            let mut told = 0;
            let mut again = 0;
            while told < budget && round.batch.bytes() < room {
                let skipped = &self.walk_mut(class as u8).skipped;
                let Some(dest) = skipped.next(again).filter(|dest| *dest < end) else { break };
                again = dest + 1;
                match self.walk_past(round, class, kind, dest) {
                    Passed::Told => told += 1,
                    Passed::Nothing => {}
                    Passed::Unsettled => continue,
                }
                self.walk_mut(class as u8).skipped.remove(dest);
            }
            let mut at = from;
            while at < end && told < budget && ((at - from) as usize) < budget * WALK_LOOKS {
                if round.batch.bytes() >= room {
                    break;
                }
                match self.walk_past(round, class, kind, at) {
                    Passed::Told => told += 1,
                    Passed::Nothing => {}
                    Passed::Unsettled => {
                        self.walk_mut(class as u8).skipped.insert(at);
                    }
                }
                at += 1;
            }
            let walk = self.walk_mut(class as u8);
            walk.told += told as u32;
            walk.next = if at >= table_end && walk.skipped.is_empty() { u32::MAX } else { at };
        }
    }

    /// A walk comes by a destination.
    fn walk_past(&mut self, round: &mut Round<'_>, class: usize, kind: WalkKind, dest: u32) -> Passed {
        if dest as usize >= self.told.len() {
            self.told.resize(dest as usize + 1, NOTHING);
        }
        if self.told[dest as usize] & PENDING != 0 {
            self.change(round, dest);
        }
        let told = self.told[dest as usize];
        if !is_told(told) {
            return Passed::Nothing;
        }
        if !round.rib.is_settled(self.key.family, DestId(dest)) {
            return Passed::Unsettled;
        }
        let Some(route) = self.evaluate(round, dest) else {
            debug_assert!(false, "a destination changed and nobody said so");
            return Passed::Unsettled;
        };
        let source = round.batch.source_slot(route);
        if source_slot(told) != source {
            // The source has joined since: everyone but it has been told.
            self.set_told(dest, told_by(source));
        }
        let before = if kind == WalkKind::Initial { NOTHING } else { told };
        round.batch.announce(route, 1 << class, dest, before);
        Passed::Told
    }

    /// Looks at everything anew, after the policy has changed.
    fn recheck(&mut self, round: &mut Round<'_>) {
        let end = round.rib.dest_end(self.key.family);
        let room = round.limits.ring_bytes_max.saturating_sub(self.ring.held_bytes());
        let mut count = 0;
        while self.recheck_from < end && count < round.budget && round.batch.bytes() < room {
            let dest = self.recheck_from;
            if dest as usize >= self.told.len() {
                self.told.resize(dest as usize + 1, NOTHING);
            }
            self.change(round, dest);
            self.recheck_from += 1;
            count += 1;
        }
        if self.recheck_from >= end {
            self.recheck_from = RECHECK_DONE;
        }
    }

    fn encode(&mut self, round: &mut Round<'_>) {
        if !round.batch.is_empty() {
            let telling = Telling { key: &self.key, policy: &self.policy, rib: round.rib };
            round.batch.encode(&telling, &mut self.ring);
        }
    }

    /// Walks that have come to the end of the table end: from here on their members hear every change.
    fn end_walks(&mut self) {
        for class in 1..CLASSES as u8 {
            let Some(walk) = &self.walks[usize::from(class)] else { continue };
            if walk.free_at.is_some() || walk.next != u32::MAX {
                continue;
            }
            if walk.kind == WalkKind::Initial {
                let (out, _) = self.ring.open(MESSAGE_LEN_MAX);
                encode_end_of_rib(self.key.family, out);
            } else if walk.kind == WalkKind::EnhancedRefresh {
                let (out, _) = self.ring.open(MESSAGE_LEN_MAX);
                RouteRefresh::new(self.key.family, RefreshKind::End).encode(out);
            }
            self.ring.push_walk_end(1 << class);
            let head = self.ring.head();
            let walk = self.walk_mut(class);
            walk.free_at = Some(head);
            walk.members = 0;
            let told_end = walk.kind == WalkKind::Initial;
            for member in self.members.iter_mut().flatten() {
                if matches!(member.phase, Phase::Walking(own) if own == class) {
                    member.phase = Phase::Main;
                    self.main_count += 1;
                } else if member.walk == Some(class) {
                    member.walk = None;
                } else {
                    continue;
                }
                member.has_end_of_rib |= told_end;
            }
        }
    }

    /// Encodes for members that catch up and have taken what they were given; returns whether there is
    /// more for one of them right away.
    fn catch_up(&mut self, round: &mut Round<'_>) -> bool {
        if self.catching_up.is_empty() {
            return false;
        }
        let mut more = false;
        for slot in self.catching_up.clone() {
            more |= self.catch_up_one(round, slot);
        }
        more
    }

    fn catch_up_one(&mut self, round: &mut Round<'_>, slot: u16) -> bool {
        let Some(mut member) = self.members[usize::from(slot)].take() else { return false };
        let mut more = false;
        let backlog_empty = member.backlog.is_empty();
        if let Phase::CatchingUp(catch_up) = &mut member.phase
            && backlog_empty
            && !catch_up.parked
        {
            round.batch.begin();
            let mut looks = 0;
            while round.batch.bytes() < CATCH_UP_BYTES && looks < CATCH_UP_LOOKS {
                looks += 1;
                let Some(dest) = catch_up.pending.next(catch_up.next).or_else(|| catch_up.pending.next(0))
                else {
                    break;
                };
                catch_up.next = dest + 1;
                if self.is_stale(round.rib, dest) {
                    continue;
                }
                catch_up.pending.remove(dest);
                let had = catch_up.had.remove(dest);
                let before = if had { told_by(NO_SLOT) } else { NOTHING };
                let told = self.told.get(dest as usize).copied().unwrap_or(NOTHING);
                let own = self.own_route(round.rib, dest, member.peer);
                match self.evaluate(round, dest).filter(|_| is_told(told) && !own) {
                    Some(route) => round.batch.announce(route, MAIN, dest, before),
                    None if had => round.batch.withdraw(Audience::everyone(MAIN), dest, before),
                    None => {}
                }
                if own && is_told(told) && source_slot(told) != slot {
                    self.set_told(dest, told_by(slot));
                    member.own_routes += 1;
                }
            }
            let telling = Telling { key: &self.key, policy: &self.policy, rib: round.rib };
            round.batch.encode(&telling, member.backlog.bytes_mut());
            if catch_up.pending.is_empty() {
                let out = member.backlog.bytes_mut();
                if catch_up.owes_end_of_refresh {
                    RouteRefresh::new(self.key.family, RefreshKind::End).encode(out);
                }
                if catch_up.owes_end_of_rib {
                    encode_end_of_rib(self.key.family, out);
                    member.has_end_of_rib = true;
                }
                member.phase = Phase::Main;
                member.cursor = Some(self.ring.cursor(MAIN));
                self.main_count += 1;
                self.catching_up.retain(|other| *other != slot);
            } else {
                // Stale destinations wait for the queue.
                more = member.backlog.is_empty() && !catch_up.pending.is_empty() && !self.stalled;
            }
        }
        self.members[usize::from(slot)] = Some(member);
        more
    }

    /// Whether the best route of a destination came from `peer`.
    fn own_route(&self, rib: &Rib, dest: u32, peer: PeerId) -> bool {
        rib.best(self.key.family, DestId(dest)).is_some_and(|path| path.peer == peer)
    }
}
