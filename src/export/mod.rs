//! Telling peers: what each group of peers has been told, what it is still to be told, the messages that
//! say so, and how far each peer has taken them.
//!
//! Peers that must hear the same share an update group, one for each family ([`GroupKey`]). A group
//! evaluates policy once for an attribute set, encodes each message once, and keeps it in a ring; a member is
//! a cursor into the ring. What differs between members, that a route does not go back to its source, is the
//! *audience* of a message: everyone but one, or only one.
//!
//! * `told` keeps, in two bytes for each destination, whether members have been told and which member is the
//!   source; so a change is an announcement to everyone but the new source, and at most one withdrawal to
//!   that source alone. Nobody is withdrawn what it does not have.
//! * A changed destination is queued once; when its turn comes its newest state is told.
//! * Peers that join are told the table by a *walk*, shared by all who join at about the same time. Its
//!   messages lie in the same ring, addressed to the walk's class; changes behind the walk are addressed to
//!   that class as well. The end of the walk, with End-of-RIB (RFC 4724 §2), is an entry like any other. A
//!   route refresh (RFC 2918, RFC 7313) is a walk as well.
//! * The ring is bounded. When it is full the group stops encoding; if a member goes on to hold it back
//!   while others could take more, it loses its cursor and gets two bits for each destination instead: to be
//!   told, and had. It is caught up in messages of its own as its socket takes them. A member that moves to
//!   another group goes the same way.
//!
//! The order of use is: [`UpdateGroups::changed`] after each [`Rib::decide`], then [`UpdateGroups::drain`],
//! then for each [`UpdateGroups::poll_ready`], and for each socket that takes bytes again,
//! [`UpdateGroups::fill`], `writev` and [`UpdateGroups::sent`]; and from the start while
//! [`UpdateGroups::wants_drain`].

mod batch;
mod bitmap;
mod drain;
#[cfg(test)]
mod export_test;
mod group;
mod invariants;
mod key;
mod member;
mod outgoing;
#[cfg(test)]
mod outgoing_test;
#[cfg(test)]
mod property_test;
mod ring;
mod told;

use std::collections::VecDeque;
use std::io::IoSlice;
use std::rc::Rc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use smallvec::SmallVec;

use batch::{Batch, Telling, tell};
use drain::Round;
use group::Group;
use member::{Member, Phase};
use outgoing::Scratch;

pub use key::{GroupKey, NextHopRule};

use crate::policy::Policy;
use crate::rib::Rib;
use crate::types::{DestId, Family, FamilySet, GroupId, NextHop, PeerId, Time};

/// How many slices one [`UpdateGroups::fill`] gives at most: one `writev`.
pub const SLICES_MAX: usize = 64;

/// Limits of every group.
#[derive(Clone, Copy, Debug)]
pub struct ExportLimits {
    /// How many bytes of encoded messages a group keeps for members that have not taken them. When they
    /// are reached the group stops encoding until members progress or are found to lag.
    pub ring_bytes_max: usize,
    /// How long a full ring waits for its slowest members, in milliseconds, before those that hold back
    /// more than half of it leave.
    pub lag_grace_ms: u64,
}

impl Default for ExportLimits {
    fn default() -> ExportLimits {
        ExportLimits { ring_bytes_max: 2 << 20, lag_grace_ms: 50 }
    }
}

/// A route as one group is told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingRoute {
    /// Who gave us the route.
    pub source: PeerId,
    /// The canonical attribute block that goes out, AS numbers in four octets.
    pub block: Vec<u8>,
    /// The next hop that goes out.
    pub next_hop: NextHop,
}

/// A group, for people.
#[derive(Clone, Debug)]
pub struct GroupView {
    /// Its handle.
    pub id: GroupId,
    /// Its key.
    pub key: GroupKey,
    /// The members.
    pub members: usize,
    /// How many destinations the members have been told.
    pub told: u32,
    /// How many destinations wait to be told.
    pub pending: usize,
    /// Bytes of encoded messages that some member has not taken.
    pub ring_bytes: usize,
    /// Members that have left the ring because they take too long.
    pub lagging: usize,
}

/// Where a peer sits, for one family.
#[derive(Clone, Copy, Debug)]
struct Seat {
    group: GroupId,
    slot: u16,
}

/// What is known of a peer across its groups.
#[derive(Clone, Copy, Debug, Default)]
struct PeerSeats {
    seats: [Option<Seat>; 2],
    /// The family that is sent first next time, unless the other is in the middle of a message.
    turn: u8,
    /// The peer is in the ready queue.
    ready: bool,
}

/// Where the peers sit.
#[derive(Default)]
struct Seats {
    peers: Vec<PeerSeats>,
}

impl Seats {
    fn get(&self, peer: PeerId, family: Family) -> Option<Seat> {
        self.peers.get(peer.index()).and_then(|peer| peer.seats[family.index()])
    }

    fn entry(&mut self, peer: PeerId) -> &mut PeerSeats {
        if peer.index() >= self.peers.len() {
            self.peers.resize_with(peer.index() + 1, PeerSeats::default);
        }
        &mut self.peers[peer.index()]
    }
}

/// Every update group of a routing domain.
pub struct UpdateGroups {
    limits: ExportLimits,
    groups: Vec<Option<Box<Group>>>,
    by_key: HashMap<GroupKey, GroupId, FixedState>,
    seats: Seats,
    ready: VecDeque<PeerId>,
    batch: Batch,
    /// Families that nobody is told anything of for now.
    held: FamilySet,
    wants_drain: bool,
}

impl UpdateGroups {
    /// No groups.
    pub fn new(limits: ExportLimits) -> UpdateGroups {
        UpdateGroups {
            limits,
            groups: Vec::new(),
            by_key: HashMap::default(),
            seats: Seats::default(),
            ready: VecDeque::new(),
            batch: Batch::new(),
            held: FamilySet::EMPTY,
            wants_drain: false,
        }
    }

    /// A session came up with this family: the peer is told the whole table, then End-of-RIB, then changes.
    /// Call once for each family. `policy` is the one that the key names.
    pub fn join(&mut self, peer: PeerId, key: GroupKey, policy: &Rc<Policy>) {
        let family = key.family;
        debug_assert!(self.seats.get(peer, family).is_none(), "{peer:?} joined {family} twice");
        let id = self.group_for(key, policy);
        let slot = self.group_mut(id).join(peer);
        self.seats.entry(peer).seats[family.index()] = Some(Seat { group: id, slot });
        self.wants_drain = true;
    }

    /// The session went down: the peer leaves the groups of all families, unsent bytes are gone.
    pub fn leave(&mut self, peer: PeerId) {
        for family in Family::ALL {
            if let Some(seat) = self.seats.entry(peer).seats[family.index()].take() {
                self.unseat(seat);
            }
        }
        self.seats.entry(peer).turn = 0;
    }

    fn unseat(&mut self, seat: Seat) -> Member {
        let group = self.group_mut(seat.group);
        let member = group.leave(seat.slot);
        // Others may have waited for it.
        let empty = group.len() == 0;
        self.wants_drain = true;
        if empty
            && let Some(group) = self.groups[seat.group.index()].take()
            && self.by_key.get(&group.key) == Some(&seat.group)
        {
            self.by_key.remove(&group.key);
        }
        member
    }

    /// The group with this key, made if there is none with a free slot.
    fn group_for(&mut self, key: GroupKey, policy: &Rc<Policy>) -> GroupId {
        debug_assert_eq!(&*key.policy, policy.name());
        if let Some(id) = self.by_key.get(&key)
            && self.groups[id.index()].as_ref().is_some_and(|group| !group.is_full())
        {
            return *id;
        }
        let at = self.groups.iter().position(Option::is_none).unwrap_or_else(|| {
            self.groups.push(None);
            self.groups.len() - 1
        });
        self.groups[at] = Some(Box::new(Group::new(key.clone(), Rc::clone(policy))));
        let id = GroupId(at as u32);
        self.by_key.insert(key, id);
        id
    }

    fn group(&self, id: GroupId) -> &Group {
        self.groups[id.index()].as_ref().expect("seats name live groups only")
    }

    fn group_mut(&mut self, id: GroupId) -> &mut Group {
        self.groups[id.index()].as_mut().expect("seats name live groups only")
    }

    /// The peer asks to be told the table again (RFC 2918), with marks around it if `enhanced` (RFC 7313).
    pub fn refresh(&mut self, peer: PeerId, family: Family, enhanced: bool) {
        if let Some(Seat { group, slot }) = self.seats.get(peer, family) {
            self.group_mut(group).refresh(slot, enhanced);
            self.wants_drain = true;
        }
    }

    /// The key of established peers has changed: what the old group told and the new one does not is
    /// withdrawn, the rest is told again. Cheapest when all peers of a group move at once.
    pub fn regroup(&mut self, peers: &[PeerId], key: GroupKey, policy: &Rc<Policy>) {
        let family = key.family;
        self.wants_drain = true;
        let old: Vec<(PeerId, Seat)> = peers
            .iter()
            .filter_map(|peer| Some((*peer, self.seats.get(*peer, family)?)))
            .filter(|(_, seat)| self.group(seat.group).key != key)
            .collect();
        let Some(&(_, first)) = old.first() else { return };
        let all_of_one = old.iter().all(|(_, seat)| seat.group == first.group)
            && self.group(first.group).len() == old.len();
        if all_of_one && !self.by_key.contains_key(&key) {
            // The group stays as it is and becomes the one with the new key.
            let old_key = std::mem::replace(&mut self.group_mut(first.group).key, key.clone());
            if self.by_key.get(&old_key) == Some(&first.group) {
                self.by_key.remove(&old_key);
            }
            self.by_key.insert(key, first.group);
            let group = self.group_mut(first.group);
            group.policy = Rc::clone(policy);
            group.recheck_from = 0;
            return;
        }
        for (peer, seat) in old {
            self.group_mut(seat.group).detach_with_all(seat.slot);
            let member = self.unseat(seat);
            let id = self.group_for(key.clone(), policy);
            let slot = self.group_mut(id).join_catching_up(member);
            self.seats.entry(peer).seats[family.index()] = Some(Seat { group: id, slot });
        }
    }

    /// The content of a policy has changed: groups whose key names it tell what changes by that.
    pub fn set_policy(&mut self, policy: &Rc<Policy>) {
        for group in self.groups.iter_mut().flatten() {
            if *group.key.policy == *policy.name() && !Rc::ptr_eq(&group.policy, policy) {
                group.policy = Rc::clone(policy);
                group.recheck_from = 0;
                self.wants_drain = true;
            }
        }
    }

    /// While `hold` is set nothing of the family is encoded: neither routes nor End-of-RIB (RFC 4724 §4.1: a
    /// restarting speaker that has not heard its own peers out). All of it follows when it is cleared, the
    /// newest state only.
    pub fn hold(&mut self, family: Family, hold: bool) {
        if hold {
            self.held.insert(family);
        } else {
            self.held.remove(family);
        }
        self.wants_drain = true;
    }

    /// Destinations whose best path has changed, from [`Rib::decide`]. They must be given here before the
    /// next [`UpdateGroups::drain`].
    pub fn changed(&mut self, family: Family, dests: &[DestId]) {
        if dests.is_empty() {
            return;
        }
        for group in self.groups.iter_mut().flatten().filter(|group| group.key.family == family) {
            group.changed(dests.iter().map(|dest| dest.0));
            self.wants_drain = true;
        }
    }

    /// Encodes what is pending, for about `budget` destinations a group. Returns whether more can be done
    /// right away. False may also mean that a full ring waits for members: call again when
    /// [`UpdateGroups::wants_drain`] says so, and at [`UpdateGroups::deadline`].
    pub fn drain(&mut self, rib: &Rib, now: Time, budget: usize) -> bool {
        self.wants_drain = false;
        let mut more = false;
        let held = self.held;
        for group in self.groups.iter_mut().flatten().filter(|group| !held.contains(group.key.family)) {
            let (head, caught_up) = (group.ring.head(), !group.catching_up.is_empty());
            let mut round =
                Round { rib, seats: &self.seats, batch: &mut self.batch, limits: self.limits, now, budget };
            more |= group.drain(&mut round);
            if group.ring.head() == head && !caught_up {
                continue;
            }
            let mut anyone = false;
            for (slot, member) in group.members.iter_mut().enumerate() {
                let Some(member) = member else { continue };
                if !member.has_data(&group.ring, slot as u16) {
                    continue;
                }
                anyone = true;
                let seats = self.seats.entry(member.peer);
                if !std::mem::replace(&mut seats.ready, true) {
                    self.ready.push_back(member.peer);
                }
            }
            if !anyone {
                // All of it was for members that have left, or come from whom it would go to.
                group.trim();
            }
        }
        self.wants_drain |= more;
        more
    }

    /// Whether [`UpdateGroups::drain`] would find work that the last call did not: something was asked for,
    /// or members have made room.
    pub fn wants_drain(&self) -> bool {
        self.wants_drain
    }

    /// When [`UpdateGroups::drain`] wants to be called even if nothing happens.
    pub fn deadline(&self) -> Option<Time> {
        self.groups.iter().flatten().filter_map(|group| group.deadline(&self.limits)).min()
    }

    /// A peer for which bytes have come up since it was last given here; each once.
    pub fn poll_ready(&mut self) -> Option<PeerId> {
        while let Some(peer) = self.ready.pop_front() {
            self.seats.entry(peer).ready = false;
            if self.has_data(peer) {
                return Some(peer);
            }
        }
        None
    }

    /// Whether the peer's socket should be given a chance: there are bytes, or the peer has fallen behind
    /// and is caught up as soon as [`UpdateGroups::fill`] shows that its socket takes some.
    pub fn has_data(&self, peer: PeerId) -> bool {
        Family::ALL.into_iter().filter_map(|family| self.seats.get(peer, family)).any(|seat| {
            let group = self.group(seat.group);
            let member = group.member(seat.slot);
            let mut cursor = member.cursor;
            !member.backlog.is_empty()
                || cursor.as_mut().is_some_and(|cursor| group.ring.skip(cursor, seat.slot))
                || matches!(&member.phase, Phase::CatchingUp(catch_up) if catch_up.parked)
        })
    }

    /// How many messages wait to be sent to the peer, at most: some may be for other members of its groups.
    pub fn queued_messages(&self, peer: PeerId) -> u32 {
        let queued = |seat: Seat| {
            let group = self.group(seat.group);
            let member = group.member(seat.slot);
            let shared = member.cursor.map_or(0, |cursor| group.ring.head() - cursor.seq);
            shared as u32 + u32::from(!member.backlog.is_empty())
        };
        match self.has_data(peer) {
            true => {
                Family::ALL.into_iter().filter_map(|family| self.seats.get(peer, family)).map(queued).sum()
            }
            false => 0,
        }
    }

    /// The peer's seats in the order in which their bytes go out: first the family that is in the middle of
    /// a message, else they take turns.
    fn order(&self, peer: PeerId) -> impl Iterator<Item = Seat> + use<> {
        let peer = self.seats.peers.get(peer.index()).copied().unwrap_or_default();
        let turn = usize::from(peer.turn);
        let broken = |seat: &Seat| !self.group(seat.group).member(seat.slot).at_boundary();
        let first = if peer.seats[1 - turn].as_ref().is_some_and(broken) { 1 - turn } else { turn };
        [peer.seats[first], peer.seats[1 - first]].into_iter().flatten()
    }

    /// Appends what the peer should be sent next, up to [`SLICES_MAX`] slices in all. Call it whenever the
    /// peer's socket takes bytes and [`UpdateGroups::has_data`] is true: a lagging peer is caught up only
    /// when asked for. Nothing but [`UpdateGroups::sent`] may come between this and the bytes' being sent.
    pub fn fill<'a>(&'a mut self, peer: PeerId, out: &mut SmallVec<[IoSlice<'a>; SLICES_MAX]>) {
        for seat in self.order(peer) {
            let member = self.group_mut(seat.group).member_mut(seat.slot);
            if member.backlog.is_empty()
                && let Some(catch_up) = member.catch_up().filter(|catch_up| catch_up.parked)
            {
                catch_up.parked = false;
                self.wants_drain = true;
            }
        }
        for seat in self.order(peer) {
            self.group_mut(seat.group).plan(seat.slot);
        }
        for seat in self.order(peer) {
            let group = self.group(seat.group);
            let member = group.member(seat.slot);
            if out.len() < SLICES_MAX && !member.backlog.is_empty() {
                out.push(IoSlice::new(member.backlog.unsent()));
            }
            if member.cursor.is_some() {
                let room = SLICES_MAX - out.len();
                out.extend(group.ring.planned().take(room).map(IoSlice::new));
            }
        }
    }

    /// The socket took `bytes` of what the last [`UpdateGroups::fill`] gave. Returns how many UPDATEs ended in
    /// them.
    pub fn sent(&mut self, peer: PeerId, mut bytes: usize) -> u32 {
        let mut updates = 0;
        for seat in self.order(peer) {
            let group = self.group_mut(seat.group);
            let (stalled, catching_up) = (group.stalled, !group.catching_up.is_empty());
            let Group { members, ring, .. } = group;
            let Some(member) = &mut members[usize::from(seat.slot)] else { continue };
            let before = bytes;
            let ended;
            (bytes, ended) = member.backlog.sent(bytes);
            updates += ended;
            let mut idle = member.backlog.is_empty();
            if idle && let Some(cursor) = &mut member.cursor {
                bytes = match member.planned.take() {
                    // The plan went out as a whole: no need to read it again.
                    Some((from, end, all, ended)) if bytes >= all && from == (cursor.seq, cursor.partial) => {
                        *cursor = end;
                        updates += ended;
                        bytes - all
                    }
                    _ => bytes,
                };
                let ended;
                (bytes, ended) = ring.sent(cursor, seat.slot, bytes);
                updates += ended;
                idle = cursor.seq == ring.head();
            }
            member.taken += (before - bytes) as u64;
            // Room for what waits, or everything read: then the ring's memory can go.
            self.wants_drain |= before > bytes && (stalled || idle || catching_up);
        }
        debug_assert_eq!(bytes, 0, "{peer:?} was sent more than it was given");
        let seats = self.seats.entry(peer);
        seats.turn = if seats.seats[1].is_some() { 1 - seats.turn } else { 0 };
        updates
    }

    /// Whether the peer has been sent whole messages only, so that another message may go in between.
    pub fn at_boundary(&self, peer: PeerId) -> bool {
        Family::ALL
            .into_iter()
            .filter_map(|family| self.seats.get(peer, family))
            .all(|seat| self.group(seat.group).member(seat.slot).at_boundary())
    }

    /// Whether End-of-RIB is among what the peer was given to send.
    pub fn has_end_of_rib(&self, peer: PeerId, family: Family) -> bool {
        let seat = self.seats.get(peer, family);
        seat.is_some_and(|seat| self.group(seat.group).member(seat.slot).has_end_of_rib)
    }

    /// Whether some group still refers to a destination, for [`Rib::collect`].
    pub fn holds(&self, family: Family, dest: DestId) -> bool {
        self.groups.iter().flatten().any(|group| group.key.family == family && group.holds(dest.0))
    }

    /// How many prefixes the peer has been told. O(1); approximate while a table is on its way.
    pub fn advertised_count(&self, peer: PeerId, family: Family) -> u32 {
        self.seats.get(peer, family).map_or(0, |seat| self.group(seat.group).advertised_count(seat.slot))
    }

    /// What the peer is told of a destination, evaluated anew.
    pub fn adj_out(&self, rib: &Rib, peer: PeerId, family: Family, dest: DestId) -> Option<OutgoingRoute> {
        let group = self.group(self.seats.get(peer, family)?.group);
        let path = rib.best(family, dest).filter(|path| path.peer != peer)?;
        let telling = Telling { key: &group.key, policy: &group.policy, rib };
        let mut block = Vec::new();
        let outcome = tell(&telling, dest.0, path, &mut Scratch::default(), &mut block);
        Some(OutgoingRoute { source: path.peer, block, next_hop: outcome.next_hop? })
    }

    /// The groups.
    pub fn groups(&self) -> impl Iterator<Item = GroupView> + '_ {
        self.groups.iter().enumerate().filter_map(|(id, group)| {
            let group = group.as_ref()?;
            Some(GroupView {
                id: GroupId(id as u32),
                key: group.key.clone(),
                members: group.len(),
                told: group.told_count,
                pending: group.queue.len(),
                ring_bytes: group.ring.held_bytes(),
                lagging: group.catching_up.len(),
            })
        })
    }

    /// Bytes in use by told state, rings, and lagging members.
    pub fn memory_bytes(&self) -> usize {
        self.groups.iter().flatten().map(|group| group.memory_bytes()).sum()
    }
}
