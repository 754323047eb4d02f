//! The BGP next hops that are followed, and what the kernel's tables make of them.
//!
//! A hop is resolved when it is first tracked and again when something changed that can matter to it: a
//! route that covers its address, or any link or next-hop object. Thousands of hops under a busy table
//! stay cheap, because a changed route only touches the hops within it.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use foldhash::fast::FixedState;

use super::NextHopChange;
use super::mirror::{Leg, Mirror, Objects, Resolution};
use crate::types::{NextHop, NextHopId, Prefix, Time};

/// The longest wait before a leg that the kernel refused is tried again.
const REFUSED_WAIT_MS_MAX: u64 = 60_000;
const REFUSED_WAIT_MS: u64 = 500;

/// A next hop that is tracked, or still used by routes.
#[derive(Clone, Debug)]
pub struct Hop {
    /// As it came in BGP.
    pub next_hop: NextHop,
    /// The session's interface, 0 if unknown.
    ifindex: u32,
    /// The handle to report it by; `None` once it is no longer tracked.
    id: Option<NextHopId>,
    /// The sets of next hops that it is part of.
    refs: u32,
    /// How it is reached now.
    pub resolution: Resolution,
    /// What was last reported.
    reported: Option<(bool, u32)>,
    /// Waits to be resolved anew.
    dirty: bool,
    /// The slot is free.
    free: bool,
}

/// A leg that the kernel would not take: its link or its gateway is not as the mirror says.
#[derive(Clone, Copy, Debug)]
struct Refused {
    until: Time,
    wait_ms: u64,
}

/// All followed next hops.
#[derive(Clone, Debug, Default)]
pub struct Hops {
    slots: Vec<Hop>,
    free: Vec<u32>,
    by_id: HashMap<NextHopId, u32, FixedState>,
    by_addr: BTreeSet<(IpAddr, u32)>,
    dirty: Vec<u32>,
    /// Hops whose state may have to be reported.
    changed: Vec<u32>,
    refused: HashMap<Leg, Refused, FixedState>,
}

impl Hops {
    /// The hop in a slot that was got from [`Hops::find`].
    pub fn get(&self, slot: u32) -> &Hop {
        &self.slots[slot as usize]
    }

    /// The slot of a tracked next hop.
    pub fn find(&self, id: NextHopId) -> Option<u32> {
        self.by_id.get(&id).copied()
    }

    /// Starts to follow a next hop.
    pub fn track(&mut self, id: NextHopId, next_hop: NextHop, ifindex: u32) {
        self.untrack(id);
        let hop = Hop {
            next_hop,
            ifindex,
            id: Some(id),
            refs: 0,
            resolution: Resolution::default(),
            reported: None,
            dirty: false,
            free: false,
        };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = hop;
                slot
            }
            None => {
                self.slots.push(hop);
                self.slots.len() as u32 - 1
            }
        };
        self.by_id.insert(id, slot);
        self.by_addr.insert((next_hop.addr, slot));
        self.touch(slot);
    }

    /// Stops to report a next hop.
    pub fn untrack(&mut self, id: NextHopId) {
        if let Some(slot) = self.by_id.remove(&id) {
            self.slots[slot as usize].id = None;
            self.forget_if_unused(slot);
        }
    }

    /// One more set uses the hop.
    pub fn hold(&mut self, slot: u32) {
        self.slots[slot as usize].refs += 1;
    }

    /// A set that used the hop is gone.
    pub fn drop_hold(&mut self, slot: u32) {
        self.slots[slot as usize].refs -= 1;
        self.forget_if_unused(slot);
    }

    fn forget_if_unused(&mut self, slot: u32) {
        let hop = &mut self.slots[slot as usize];
        if hop.id.is_none() && hop.refs == 0 {
            hop.free = true;
            self.by_addr.remove(&(hop.next_hop.addr, slot));
            self.free.push(slot);
        }
    }

    fn touch(&mut self, slot: u32) {
        let hop = &mut self.slots[slot as usize];
        if !hop.dirty {
            hop.dirty = true;
            self.dirty.push(slot);
        }
    }

    /// A route to `prefix` came, changed or went.
    pub fn route_changed(&mut self, prefix: Prefix) {
        let last = match prefix {
            Prefix::V4(p) => IpAddr::V4((p.addr | !crate::types::Prefix4::mask(p.len)).into()),
            Prefix::V6(p) => IpAddr::V6((p.addr | !crate::types::Prefix6::mask(p.len)).into()),
        };
        let (slots, dirty) = (&mut self.slots, &mut self.dirty);
        for &(_, slot) in self.by_addr.range((prefix.addr(), 0)..=(last, u32::MAX)) {
            let hop = &mut slots[slot as usize];
            if !hop.dirty {
                hop.dirty = true;
                dirty.push(slot);
            }
        }
    }

    /// A link or a next-hop object changed: any hop may be affected, and refused legs may work again.
    pub fn everything_changed(&mut self) {
        self.refused.clear();
        self.touch_all();
    }

    fn touch_all(&mut self) {
        for slot in 0..self.slots.len() as u32 {
            if !self.slots[slot as usize].free {
                self.touch(slot);
            }
        }
    }

    /// The kernel would not take a leg: it counts as unusable for a while, each time for longer.
    pub fn refuse(&mut self, now: Time, leg: Leg) {
        let wait_ms = self
            .refused
            .get(&leg)
            .map_or(REFUSED_WAIT_MS, |refused| refused.wait_ms.saturating_mul(2).min(REFUSED_WAIT_MS_MAX));
        self.refused.insert(leg, Refused { until: now.plus_ms(wait_ms), wait_ms });
        self.touch_all();
    }

    /// When a refused leg is to be tried again.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.refused.values().map(|refused| refused.until).filter(|until| *until != Time(0)).min()
    }

    /// Whether some hop waits to be resolved.
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Whether [`Hops::poll_change`] may have something.
    pub fn has_changes(&self) -> bool {
        !self.changed.is_empty()
    }

    /// Resolves what may have changed; the slots of those whose legs did go to `moved`.
    pub fn resolve(&mut self, now: Time, mirror: &Mirror, objects: &Objects, moved: &mut Vec<u32>) {
        let mut due = false;
        for refused in self.refused.values_mut() {
            // The entry stays, so that a second refusal waits longer; time 0 says that it may be tried.
            if refused.until != Time(0) && refused.until <= now {
                refused.until = Time(0);
                due = true;
            }
        }
        if due {
            self.touch_all();
        }
        while let Some(slot) = self.dirty.pop() {
            let hop = &mut self.slots[slot as usize];
            hop.dirty = false;
            if hop.free {
                continue;
            }
            let mut resolution = mirror.resolve(hop.next_hop, hop.ifindex, objects);
            resolution
                .legs
                .retain(|leg| self.refused.get(leg).is_none_or(|refused| refused.until == Time(0)));
            if resolution.legs != hop.resolution.legs {
                moved.push(slot);
            }
            hop.resolution = resolution;
            self.changed.push(slot);
        }
    }

    /// A hop whose state is not what was last reported.
    pub fn poll_change(&mut self) -> Option<NextHopChange> {
        while let Some(slot) = self.changed.pop() {
            let hop = &mut self.slots[slot as usize];
            let reachable = !hop.resolution.legs.is_empty();
            let metric = if reachable { hop.resolution.metric } else { u32::MAX };
            if let Some(id) = hop.id.filter(|_| !hop.free && hop.reported != Some((reachable, metric))) {
                hop.reported = Some((reachable, metric));
                return Some(NextHopChange { id, reachable, metric });
            }
        }
        None
    }
}
