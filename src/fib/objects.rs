//! Next-hop objects: the ways out that routes share.
//!
//! Each distinct set of BGP next hops that some route wants has one object, and a route names its id and
//! nothing else: a gateway that changes is one replaced object, however many routes use it. With one way
//! out the object is that way. With several it is a group, whose members are objects of their own, one
//! for each (gateway, link), shared by all groups; when a link goes down the kernel itself takes its
//! objects out of all groups at once.
//!
//! The kernel does not turn a single object into a group. A set that needs it gets another id, and its
//! routes are written again; a set that has become a group stays one, so that a link that comes and goes
//! does not cost that each time.
//!
//! The state is kept as a comparison: `kernel` is what the kernel is believed to hold, a leg or a set is
//! what should be there, and work is wherever the two differ.

use std::collections::{BTreeSet, HashMap, VecDeque};

use foldhash::fast::FixedState;
use log::warn;
use smallvec::SmallVec;

use super::hops::Hops;
use super::mirror::{Leg, Objects};
use super::netlink::{Members, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, Object, ObjectView};

/// The most legs of one group: a route towards thousands of gateways is a mistake of configuration, and
/// each group is written in one message.
const LEGS_MAX: usize = 128;

/// Kernels before 6.13 take no greater one.
const WEIGHT_MAX: u16 = 254;

/// kulan's ids lie between 0x4000_0000 and 0x7fff_ffff: above what the kernel and other daemons count up
/// from 1, with 2^18 for each table.
const IDS_FIRST: u32 = 0x4000_0000;
const IDS_BITS: u32 = 18;
const IDS_COUNT: u32 = 1 << IDS_BITS;
/// How many of a domain's ids are given out: so few that a free one is found after a few looks.
const IDS_USED_MAX: usize = (IDS_COUNT / 8 * 7) as usize;

/// The slot in which sets of two tables would have the same ids: tables that are equal in their lowest
/// 12 bits. Two domains must not have that in common.
pub const fn id_slot(table: u32) -> u32 {
    table & 0xfff
}

#[derive(Clone, Debug)]
struct LegObject {
    leg: Leg,
    id: u32,
    /// The groups that should have it.
    refs: u32,
    /// Those of them that resolve now.
    live: u32,
    /// The kernel has had it under this id, so the id is ours to replace.
    written: bool,
    queued: bool,
}

#[derive(Clone, Debug)]
struct Set {
    hops: SmallVec<[u32; 2]>,
    /// Routes that want it and routes in the kernel that use it.
    refs: u32,
    /// 0 until it is first written.
    id: u32,
    /// The last resolution that was not empty: each way with its weight.
    ways: SmallVec<[(Leg, u16); 2]>,
    /// The slots of the ways' own objects, if this is a group.
    legs: SmallVec<[u32; 2]>,
    is_group: bool,
    resolved: bool,
    written: bool,
    queued: bool,
    /// The kernel dropped the group, and with it the routes.
    lost: bool,
    free: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Leg(u32),
    Set(u32),
}

/// One write of an object: what is sent, and what is believed when it was accepted.
#[derive(Clone, Debug)]
pub struct ObjectWrite {
    pub id: u32,
    pub flags: u16,
    pub object: Object,
}

/// All next-hop objects of a domain.
#[derive(Clone, Debug)]
pub struct ObjectTable {
    protocol: u8,
    ids_first: u32,
    /// The first ids of tables that the configuration before used: what is left there is removed.
    evicted: Vec<u32>,
    next_id: u32,
    /// [`IDS_USED_MAX`]; a test that has to reach it sets less.
    pub(super) ids_used_max: usize,
    /// What the kernel is believed to hold, ours and others'.
    kernel: Objects,
    /// Ours of an earlier run, not in use again yet.
    left: BTreeSet<u32>,
    left_sets: HashMap<Object, u32, FixedState>,
    left_legs: HashMap<Object, u32, FixedState>,
    /// Objects of sets that have another one now; removed when their routes have been written again.
    retired: Vec<u32>,
    owners: HashMap<u32, Owner, FixedState>,
    legs: Vec<LegObject>,
    legs_free: Vec<u32>,
    legs_by_way: HashMap<Leg, u32, FixedState>,
    leg_work: Vec<u32>,
    sets: Vec<Set>,
    sets_free: Vec<u32>,
    sets_by_hops: HashMap<SmallVec<[u32; 2]>, u32, FixedState>,
    set_work: Vec<u32>,
    /// Sets for which no id was free: a peer with hundreds of thousands of next hops. Their routes wait.
    starved: BTreeSet<u32>,
    /// Sets that may be unused.
    idle: Vec<u32>,
    /// Legs that may be unused.
    idle_legs: Vec<u32>,
    /// Sets whose routes wait for a resolution that has come.
    woken: Vec<u32>,
    /// What a dump has given so far.
    fresh: Option<(Objects, BTreeSet<u32>)>,
}

impl ObjectTable {
    /// The objects of the domain with this kernel table; what is left of the tables `evicted` is to be removed.
    pub fn new(protocol: u8, table: u32, evicted: &[u32]) -> ObjectTable {
        let first = |table| IDS_FIRST + (id_slot(table) << IDS_BITS);
        let ids_first = first(table);
        let evicted = evicted.iter().map(|table| first(*table)).collect();
        ObjectTable {
            protocol,
            ids_first,
            evicted,
            next_id: 0,
            ids_used_max: IDS_USED_MAX,
            kernel: Objects::default(),
            left: BTreeSet::new(),
            left_sets: HashMap::default(),
            left_legs: HashMap::default(),
            retired: Vec::new(),
            owners: HashMap::default(),
            legs: Vec::new(),
            legs_free: Vec::new(),
            legs_by_way: HashMap::default(),
            leg_work: Vec::new(),
            sets: Vec::new(),
            sets_free: Vec::new(),
            sets_by_hops: HashMap::default(),
            set_work: Vec::new(),
            starved: BTreeSet::new(),
            idle: Vec::new(),
            idle_legs: Vec::new(),
            woken: Vec::new(),
            fresh: None,
        }
    }

    /// What the kernel is believed to hold.
    pub fn kernel(&self) -> &Objects {
        &self.kernel
    }

    /// How many objects of ours the kernel has.
    pub fn count(&self) -> usize {
        self.owners.keys().filter(|id| self.kernel.contains_key(id)).count() + self.left.len()
    }

    fn is_in_range(&self, id: u32) -> bool {
        (self.ids_first..self.ids_first + IDS_COUNT).contains(&id)
    }

    fn is_evicted(&self, id: u32) -> bool {
        self.evicted.iter().any(|first| (*first..*first + IDS_COUNT).contains(&id))
    }

    /// Nothing is left of the tables that the configuration before used.
    pub fn end_eviction(&mut self) {
        self.evicted.clear();
    }

    /// Whether an object belongs to another domain of kulan: no route outside that domain uses it.
    pub fn is_of_another_domain(&self, view: &ObjectView) -> bool {
        view.protocol == self.protocol && !self.is_in_range(view.id) && !self.is_evicted(view.id)
    }

    // Sets as routes see them.

    /// The set of these hops; nobody holds it yet.
    ///
    /// The caller holds it before it does anything else.
    pub fn set_of(&mut self, hop_slots: &[u32], hops: &mut Hops) -> u32 {
        let mut key = SmallVec::<[u32; 2]>::from_slice(hop_slots);
        key.sort_unstable();
        key.dedup();
        if let Some(&set) = self.sets_by_hops.get(&key) {
            return set;
        }
        key.iter().for_each(|hop| hops.hold(*hop));
        let set = Set {
            hops: key.clone(),
            refs: 0,
            id: 0,
            ways: SmallVec::new(),
            legs: SmallVec::new(),
            is_group: false,
            resolved: false,
            written: false,
            queued: false,
            lost: false,
            free: false,
        };
        let slot = match self.sets_free.pop() {
            Some(slot) => {
                self.sets[slot as usize] = set;
                slot
            }
            None => {
                self.sets.push(set);
                self.sets.len() as u32 - 1
            }
        };
        self.sets_by_hops.insert(key, slot);
        self.idle.push(slot);
        self.update_set(slot, hops);
        slot
    }

    /// One more route wants the set, or uses it in the kernel.
    pub fn hold(&mut self, set: u32) {
        let refs = &mut self.sets[set as usize].refs;
        *refs += 1;
        if *refs == 1 {
            self.queue_set(set);
        }
    }

    /// A route no longer wants the set, or no longer uses it.
    pub fn drop_hold(&mut self, set: u32) {
        let refs = &mut self.sets[set as usize].refs;
        *refs -= 1;
        if *refs == 0 {
            self.idle.push(set);
        }
    }

    /// Before all routes are counted anew: nobody holds anything.
    pub fn drop_all_holds(&mut self) {
        for (slot, set) in self.sets.iter_mut().enumerate() {
            if !set.free && set.refs > 0 {
                set.refs = 0;
                self.idle.push(slot as u32);
            }
        }
    }

    /// The id that routes of the set name, if the kernel has the group and it leads somewhere.
    pub fn ready_id(&self, set: u32) -> Option<u32> {
        let set = &self.sets[set as usize];
        (set.resolved && self.kernel.contains_key(&set.id)).then_some(set.id)
    }

    /// The id of the set's group if the kernel has it, whether or not it leads somewhere now.
    pub fn kernel_id(&self, set: u32) -> Option<u32> {
        let id = self.sets[set as usize].id;
        self.kernel.contains_key(&id).then_some(id)
    }

    /// The set whose group has this id.
    pub fn set_with_id(&self, id: u32) -> Option<u32> {
        match self.owners.get(&id) {
            Some(Owner::Set(set)) => Some(*set),
            _ => None,
        }
    }

    /// The hops of a set.
    pub fn hops_of(&self, set: u32) -> &[u32] {
        &self.sets[set as usize].hops
    }

    /// The legs of a set.
    pub fn legs_of(&self, set: u32) -> impl Iterator<Item = Leg> {
        self.sets[set as usize].ways.iter().map(|(leg, _)| *leg)
    }

    /// Sets whose group the kernel has and may not have had before: routes can use them.
    pub fn take_woken(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.woken)
    }

    /// Whether the kernel dropped this set's routes since they were written.
    pub fn is_lost(&self, set: u32) -> bool {
        self.sets[set as usize].lost
    }

    /// The routes of lost sets have been queued anew; of those that the kernel has again, or of `all`.
    pub fn forget_losses(&mut self, all: bool) {
        for set in &mut self.sets {
            set.lost &= !(all || self.kernel.contains_key(&set.id));
        }
    }

    // Resolution.

    /// Hops moved (by ascending slot): every set that has one of them is computed anew.
    pub fn update_sets(&mut self, moved: &[u32], hops: &Hops) {
        if moved.is_empty() {
            return;
        }
        for slot in 0..self.sets.len() as u32 {
            let set = &self.sets[slot as usize];
            if !set.free && set.hops.iter().any(|hop| moved.binary_search(hop).is_ok()) {
                self.update_set(slot, hops);
            }
        }
    }

    fn update_set(&mut self, slot: u32, hops: &Hops) {
        let mut ways = SmallVec::<[(Leg, u16); 2]>::new();
        for hop in &self.sets[slot as usize].hops {
            for leg in &hops.get(*hop).resolution.legs {
                match ways.iter().position(|(way, _)| way == leg) {
                    Some(at) => ways[at].1 = (ways[at].1 + 1).min(WEIGHT_MAX),
                    None if ways.len() < LEGS_MAX => ways.push((*leg, 1)),
                    None => {}
                }
            }
        }
        // Without a way, what is in the kernel stays until the decision process has chosen anew: a next
        // hop that is resolvable again a moment later costs nothing that way.
        self.set_resolved(slot, false);
        if ways.is_empty() {
            return;
        }
        let set = &self.sets[slot as usize];
        let is_group = set.is_group || set.hops.len() > 1 || ways.len() > 1;
        let legs = match is_group {
            true => ways.iter().map(|(leg, _)| self.hold_leg(*leg)).collect(),
            false => SmallVec::new(),
        };
        let set = &mut self.sets[slot as usize];
        set.ways = ways;
        let before = std::mem::replace(&mut set.legs, legs);
        if is_group != set.is_group {
            set.is_group = true;
            if self.owners.remove(&set.id).is_some() {
                self.retired.push(set.id);
            }
            set.lost |= set.written;
            (set.id, set.written) = (0, false);
        }
        for leg in before {
            self.drop_leg(leg);
        }
        self.set_resolved(slot, true);
        self.queue_set(slot);
    }

    fn set_resolved(&mut self, slot: u32, resolved: bool) {
        let set = &mut self.sets[slot as usize];
        if set.resolved == resolved {
            return;
        }
        set.resolved = resolved;
        for leg in set.legs.clone() {
            let object = &mut self.legs[leg as usize];
            match resolved {
                true => object.live += 1,
                false => object.live -= 1,
            }
            if resolved && !self.kernel.contains_key(&object.id) {
                self.queue_leg(leg);
            }
        }
    }

    fn hold_leg(&mut self, leg: Leg) -> u32 {
        if let Some(&slot) = self.legs_by_way.get(&leg) {
            self.legs[slot as usize].refs += 1;
            return slot;
        }
        let object = Object::Single(leg.into());
        let left = self.left_legs.remove(&object).filter(|id| self.left.remove(id));
        // Without an id it stays out of its groups; legs are gateways, far fewer than sets.
        let (id, written) = left.map_or_else(|| (self.free_id().unwrap_or(0), false), |id| (id, true));
        let object = LegObject { leg, id, refs: 1, live: 0, written, queued: false };
        let slot = match self.legs_free.pop() {
            Some(slot) => {
                self.legs[slot as usize] = object;
                slot
            }
            None => {
                self.legs.push(object);
                self.legs.len() as u32 - 1
            }
        };
        self.legs_by_way.insert(leg, slot);
        if id != 0 {
            self.owners.insert(id, Owner::Leg(slot));
        }
        slot
    }

    fn drop_leg(&mut self, slot: u32) {
        let refs = &mut self.legs[slot as usize].refs;
        *refs -= 1;
        if *refs == 0 {
            self.idle_legs.push(slot);
        }
    }

    /// An id that neither the kernel nor we use, if there is one: 2^18 are many times what a node has of
    /// gateways and sets, but a peer may name as many next hops as it likes.
    fn free_id(&mut self) -> Option<u32> {
        if self.owners.len() >= self.ids_used_max {
            return None;
        }
        for _ in 0..IDS_COUNT {
            let id = self.ids_first + self.next_id;
            self.next_id = (self.next_id + 1) % IDS_COUNT;
            if !self.kernel.contains_key(&id) && !self.owners.contains_key(&id) {
                return Some(id);
            }
        }
        None
    }

    /// Tries the sets again for which no id was free, as far as there are ids now.
    fn feed_starved(&mut self) {
        while self.owners.len() + self.set_work.len() < self.ids_used_max
            && let Some(slot) = self.starved.pop_first()
        {
            self.queue_set(slot);
        }
    }

    fn queue_leg(&mut self, slot: u32) {
        if !std::mem::replace(&mut self.legs[slot as usize].queued, true) {
            self.leg_work.push(slot);
        }
    }

    fn queue_set(&mut self, slot: u32) {
        if !std::mem::replace(&mut self.sets[slot as usize].queued, true) {
            self.set_work.push(slot);
        }
    }

    // Writing.

    /// Whether objects have to be written before routes.
    pub fn has_work(&self) -> bool {
        !self.leg_work.is_empty() || !self.set_work.is_empty()
    }

    /// The next object to be written. Legs come first; the caller sends them and waits for the answers
    /// before it asks for groups (`groups`), which name them.
    pub fn poll_write(&mut self, groups: bool) -> Option<ObjectWrite> {
        if !groups {
            while let Some(slot) = self.leg_work.pop() {
                let leg = &mut self.legs[slot as usize];
                leg.queued = false;
                let object = Object::Single(leg.leg.into());
                if leg.id != 0 && leg.live > 0 && self.kernel.get(&leg.id) != Some(&object) {
                    let flags = flags(leg.written);
                    return Some(ObjectWrite { id: leg.id, flags, object });
                }
            }
            return None;
        }
        while let Some(slot) = self.set_work.pop() {
            let set = &mut self.sets[slot as usize];
            set.queued = false;
            if set.free || set.refs == 0 || !set.resolved {
                continue;
            }
            let object = match set.is_group {
                false => Object::Single(set.ways[0].0.into()),
                true => {
                    // A leg that the kernel would not take is on its way to be left out.
                    let weights = set.ways.iter().map(|(_, weight)| *weight);
                    let ids = set.legs.iter().map(|leg| self.legs[*leg as usize].id);
                    let mut members: Members =
                        ids.zip(weights).filter(|(id, _)| self.kernel.contains_key(id)).collect();
                    members.sort_unstable();
                    if members.is_empty() {
                        continue;
                    }
                    Object::Group(members)
                }
            };
            if set.id == 0 {
                let left = self.left_sets.remove(&object).filter(|id| self.left.remove(id));
                let Some((id, written)) =
                    left.map_or_else(|| Some((self.free_id()?, false)), |id| Some((id, true)))
                else {
                    if self.starved.is_empty() {
                        warn!(
                            "more than {} next hops and sets of them: further routes stay out of the kernel",
                            self.ids_used_max
                        );
                    }
                    self.starved.insert(slot);
                    continue;
                };
                self.owners.insert(id, Owner::Set(slot));
                let set = &mut self.sets[slot as usize];
                (set.id, set.written) = (id, written);
            }
            let set = &self.sets[slot as usize];
            if self.kernel.get(&set.id) != Some(&object) {
                return Some(ObjectWrite { id: set.id, flags: flags(set.written), object });
            }
            self.woken.push(slot);
        }
        None
    }

    /// The kernel took a write.
    pub fn written(&mut self, write: ObjectWrite) {
        match self.owners.get(&write.id) {
            Some(Owner::Leg(slot)) => {
                let slot = *slot;
                let before = std::mem::replace(&mut self.legs[slot as usize].written, true);
                if before && !self.kernel.contains_key(&write.id) {
                    self.queue_groups_of(slot);
                }
            }
            Some(Owner::Set(slot)) => {
                self.sets[*slot as usize].written = true;
                self.woken.push(*slot);
            }
            None => {
                self.left.insert(write.id);
            }
        }
        self.kernel.insert(write.id, write.object);
    }

    /// A leg that was gone is back: groups that were written without it take it in again.
    fn queue_groups_of(&mut self, leg: u32) {
        for slot in 0..self.sets.len() as u32 {
            let set = &self.sets[slot as usize];
            if !set.free && set.legs.contains(&leg) {
                self.queue_set(slot);
            }
        }
    }

    /// The kernel did not take a write because the id is somebody else's: another one is tried.
    pub fn id_taken(&mut self, id: u32) {
        // What holds it is unknown, but it is there: no id of ours.
        self.kernel.insert(id, Object::Other);
        match self.owners.remove(&id) {
            Some(Owner::Leg(slot)) => {
                let id = self.free_id();
                self.legs[slot as usize].id = id.unwrap_or(0);
                if let Some(id) = id {
                    self.owners.insert(id, Owner::Leg(slot));
                    self.queue_leg(slot);
                }
            }
            Some(Owner::Set(slot)) => {
                self.sets[slot as usize].id = 0;
                self.queue_set(slot);
            }
            None => {}
        }
    }

    /// A write failed and is to be tried again.
    pub fn requeue(&mut self, id: u32) {
        match self.owners.get(&id) {
            Some(Owner::Leg(slot)) => self.queue_leg(*slot),
            Some(Owner::Set(slot)) => self.queue_set(*slot),
            None => {}
        }
    }

    /// Everything that may differ is looked at again.
    pub fn requeue_all(&mut self) {
        for slot in 0..self.legs.len() as u32 {
            if self.legs[slot as usize].live > 0 {
                self.queue_leg(slot);
            }
        }
        for slot in 0..self.sets.len() as u32 {
            if !self.sets[slot as usize].free {
                self.queue_set(slot);
            }
        }
    }

    // Removal.

    /// Lets go of sets and legs that no route uses; the ids that the kernel still has of them go to `out`,
    /// groups before their members. Only when no write of an object or a route is under way. With `left`
    /// also those of an earlier run that are not in use again.
    pub fn collect(&mut self, hops: &mut Hops, left: bool, out: &mut VecDeque<u32>) {
        out.extend(self.retired.drain(..).filter(|id| self.kernel.contains_key(id)));
        for slot in std::mem::take(&mut self.idle) {
            let set = &self.sets[slot as usize];
            if set.free || set.refs > 0 {
                continue;
            }
            self.set_resolved(slot, false);
            let set = &mut self.sets[slot as usize];
            set.free = true;
            let (id, set_hops, legs) = (set.id, std::mem::take(&mut set.hops), std::mem::take(&mut set.legs));
            self.sets_free.push(slot);
            self.sets_by_hops.remove(&set_hops);
            set_hops.iter().for_each(|hop| hops.drop_hold(*hop));
            legs.iter().for_each(|leg| self.drop_leg(*leg));
            if self.owners.remove(&id).is_some() && self.kernel.contains_key(&id) {
                out.push_back(id);
            }
        }
        for slot in std::mem::take(&mut self.idle_legs) {
            let leg = &self.legs[slot as usize];
            if leg.refs > 0 || self.legs_by_way.get(&leg.leg) != Some(&slot) {
                continue;
            }
            self.legs_by_way.remove(&leg.leg);
            self.legs_free.push(slot);
            if self.owners.remove(&leg.id).is_some() && self.kernel.contains_key(&leg.id) {
                out.push_back(leg.id);
            }
        }
        self.feed_starved();
        if left {
            self.left_sets.clear();
            self.left_legs.clear();
            let mut ids: Vec<u32> = std::mem::take(&mut self.left).into_iter().collect();
            ids.sort_by_key(|id| matches!(self.kernel.get(id), Some(Object::Single(_))));
            out.extend(ids);
        }
    }

    /// Whether [`ObjectTable::collect`] may find something.
    pub fn may_collect(&self, left: bool) -> bool {
        !self.retired.is_empty()
            || !self.idle.is_empty()
            || !self.idle_legs.is_empty()
            || (left && !self.left.is_empty())
    }

    /// The kernel no longer has an object: we removed it, or somebody else did. Groups lose the member,
    /// and an empty group goes as well, with its routes: that is what the kernel does. Returns the ids of all
    /// objects that differ from what they were; those of ours are to be given to [`ObjectTable::requeue`].
    pub fn removed(&mut self, id: u32) -> Vec<u32> {
        self.remove_where(|other, _| other == id)
    }

    /// The kernel dropped every object on a link; returns what [`ObjectTable::removed`] does.
    pub fn link_lost(&mut self, ifindex: u32) -> Vec<u32> {
        self.remove_where(|_, object| matches!(object, Object::Single(via) if via.ifindex == ifindex))
    }

    fn remove_where(&mut self, mut gone: impl FnMut(u32, &Object) -> bool) -> Vec<u32> {
        let mut ids: Vec<u32> = Vec::new();
        self.kernel.retain(|id, object| {
            let gone = gone(*id, object);
            if gone {
                ids.push(*id);
            }
            !gone
        });
        if ids.is_empty() {
            return ids;
        }
        let mut shrunk = Vec::new();
        let singles = ids.len();
        self.kernel.retain(|id, object| {
            let Object::Group(members) = object else { return true };
            let before = members.len();
            members.retain(|(member, _)| !ids[..singles].contains(member));
            if members.len() < before {
                shrunk.push(*id);
            }
            !members.is_empty()
        });
        ids.append(&mut shrunk);
        self.left.retain(|id| self.kernel.contains_key(id));
        for id in &ids {
            if let Some(Owner::Set(slot)) = self.owners.get(id)
                && !self.kernel.contains_key(id)
            {
                self.sets[*slot as usize].lost = true;
            }
        }
        ids
    }

    /// Somebody else made or changed an object. Whether it is another than the kernel was known to have.
    pub fn noticed(&mut self, view: ObjectView) -> bool {
        if let Some((fresh, _)) = &mut self.fresh {
            fresh.insert(view.id, view.object.clone());
        }
        let changed = self.kernel.get(&view.id) != Some(&view.object);
        self.kernel.insert(view.id, view.object);
        changed
    }

    /// Whether an object with this id is one that we want the kernel to have.
    pub fn is_wanted(&self, id: u32) -> bool {
        self.owners.contains_key(&id)
    }

    /// The ids of a set's own object and of its members.
    pub fn ids_of(&self, set: u32) -> impl Iterator<Item = u32> {
        let set = &self.sets[set as usize];
        std::iter::once(set.id).chain(set.legs.iter().map(|leg| self.legs[*leg as usize].id))
    }

    // Reading all.

    /// A dump begins.
    pub fn begin_read(&mut self) {
        self.fresh = Some((Objects::default(), BTreeSet::new()));
    }

    /// One object of a dump.
    pub fn read(&mut self, view: ObjectView) {
        let ours = view.protocol == self.protocol && (self.is_in_range(view.id) || self.is_evicted(view.id));
        let owner = self.owners.get(&view.id);
        match owner {
            // The answer to the write may have been lost: without this, the next one would find the id taken.
            Some(Owner::Leg(slot)) => self.legs[*slot as usize].written |= ours,
            Some(Owner::Set(slot)) => self.sets[*slot as usize].written |= ours,
            None => {}
        }
        if let Some((fresh, left)) = &mut self.fresh {
            if ours && owner.is_none() {
                left.insert(view.id);
            }
            fresh.insert(view.id, view.object);
        }
    }

    /// The dump is complete: the kernel holds this and nothing else.
    pub fn end_read(&mut self) {
        let Some((fresh, left)) = self.fresh.take() else { return };
        let groups = left.iter().filter_map(|id| match fresh.get(id) {
            Some(Object::Group(members)) => Some(members),
            _ => None,
        });
        let members: BTreeSet<u32> = groups.flatten().map(|(member, _)| *member).collect();
        self.left_sets.clear();
        self.left_legs.clear();
        // What lies outside the range of the table in use must not be taken into use again.
        let (first, last) = (self.ids_first, self.ids_first + IDS_COUNT);
        for id in left.range(first..last) {
            if let Some(object) = fresh.get(id) {
                let index = if members.contains(id) { &mut self.left_legs } else { &mut self.left_sets };
                index.insert(object.clone(), *id);
            }
        }
        self.retired.clear();
        self.left = left;
        self.kernel = fresh;
        for set in &mut self.sets {
            if !set.free && set.written && !self.kernel.contains_key(&set.id) {
                set.lost = true;
            }
        }
        self.requeue_all();
    }
}

const fn flags(written: bool) -> u16 {
    // The first write must not take over an object of somebody else.
    if written { NLM_F_CREATE | NLM_F_REPLACE } else { NLM_F_CREATE | NLM_F_EXCL }
}
