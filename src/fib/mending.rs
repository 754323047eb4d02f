//! Putting back what somebody else removed or changed: what the notifications of others mean for us, and what is
//! written when the wait of [`super::losses`] is over.
//!
//! The first repair of a route waits for a second: `ip route flush` goes over the table until it finds nothing, and
//! would not end while routes come back. An object comes back at once: all its routes are gone with it.

use log::warn;

use super::losses::Found;
use super::routes::{Standing, Target};
use super::writing::Operation;
use super::{Destinations, Fib};
use crate::types::{Prefix, Time};

/// The wait before a route is put back that was not lost before, and before a table is read of which too much was.
pub const ROUTE_WAIT_MS: u64 = 1_000;

/// The wait before an object is put back that was not lost before.
pub const OBJECT_WAIT_MS: u64 = 0;

/// Losses looked at in one step, well below a millisecond.
const MEND_STEP: usize = 4096;

impl Found {
    /// What a route is to be written over.
    pub fn target(self) -> Target {
        match self {
            Found::Nothing | Found::Foreign => Target::Nothing,
            Found::Other(_) | Found::Unsure => Target::Unknown,
        }
    }
}

impl Fib {
    /// Somebody else was at a prefix of ours, and left this behind.
    pub(super) fn note_lost_route(&mut self, now: Time, prefix: Prefix, found: Found) {
        if !self.options.install {
            return;
        }
        self.correct_census(prefix, found);
        if self.stale.contains(prefix) {
            match found {
                Found::Other(id) => self.stale.insert(prefix, id),
                Found::Nothing | Found::Foreign | Found::Unsure => drop(self.stale.remove(prefix)),
            }
            return;
        }
        let in_flight = self.flights.iter().any(|flight| {
            let is_here =
                |operation: &Operation| matches!(operation, Operation::Route(_, at) if *at == prefix);
            flight.operations.iter().any(is_here)
        });
        self.say_once(format_args!("route {prefix}"));
        if !self.losses.note(now, prefix, if in_flight { Found::Unsure } else { found }) {
            // A place for one flood there always is.
            let _ = self.floods.note(now, (), Found::Unsure);
        }
    }

    /// Somebody else removed or changed an object; nothing is done about those that are not ours.
    pub(super) fn note_lost_object(&mut self, now: Time, id: u32, found: Found) {
        if !self.options.install || !self.objects.is_wanted(id) {
            return;
        }
        let in_flight = self.flights.iter().any(|flight| {
            let is_it =
                |operation: &Operation| matches!(operation, Operation::Object(write) if write.id == id);
            flight.operations.iter().any(is_it)
        });
        self.say_once(format_args!("next-hop object {id}"));
        if !self.lost_objects.note(now, id, if in_flight { Found::Unsure } else { found }) {
            let _ = self.floods.note(now, (), Found::Unsure);
        }
    }

    /// Objects that differ from what they were, in the kernel: routes that an earlier process left behind went with
    /// those that are gone, without a word.
    pub(super) fn forget_stale_of(&mut self, ids: &[u32]) {
        let kernel = self.objects.kernel();
        let is_gone = |id: &u32| ids.contains(id) && !kernel.contains_key(id);
        if !self.stale.is_empty() && ids.iter().any(is_gone) {
            self.stale.retain(|id| !is_gone(&id));
        }
    }

    /// One line for all that is lost until there has been peace for a while.
    fn say_once(&self, what: std::fmt::Arguments<'_>) {
        if self.losses.is_empty() && self.lost_objects.is_empty() {
            warn!(
                "table {}: somebody removed or changed {what}, which is kulan's (protocol {}): it is put back, and so \
                 is what follows; `kulan show fib` shows what is missing until then",
                self.options.table, self.options.protocol
            );
        }
    }

    /// Queues what is to be put back now.
    pub(super) fn mend(&mut self, now: Time, destinations: &dyn Destinations) {
        for _ in 0..MEND_STEP {
            let Some((id, found)) = self.lost_objects.poll_due(now) else { break };
            self.mended += 1;
            match found {
                // Which of the two writes was the last only the kernel knows.
                Found::Unsure => self.verify_objects(),
                _ => self.objects.requeue(id),
            }
        }
        for _ in 0..MEND_STEP {
            let Some((prefix, found)) = self.losses.poll_due(now) else { break };
            self.mend_route(now, prefix, found, destinations);
        }
    }

    fn mend_route(&mut self, now: Time, prefix: Prefix, found: Found, destinations: &dyn Destinations) {
        let family = prefix.family();
        let place = destinations.find(prefix).map(|dest| (family, dest));
        let Some(place) = place.filter(|place| self.routes.standing(*place).0 != Target::Nothing) else {
            // A route with our number that we do not want is like one that an earlier process left behind.
            if let Found::Other(_) | Found::Unsure = found {
                self.stale.insert(prefix, 0);
                if self.initial_sync_over {
                    self.sweep.push(prefix);
                }
            }
            return;
        };
        let (wanted, standing) = self.routes.standing(place);
        let expected = wanted.set().and_then(|set| self.objects.kernel_id(set));
        if standing == Standing::Clean && matches!(found, Found::Other(id) if Some(id) == expected) {
            return;
        }
        match self.routes.mend(place, found.target(), &mut self.objects) {
            true => {
                self.mended += 1;
                self.retry_foreign(prefix);
            }
            false => self.losses.keep(now, prefix, found),
        }
    }

    /// When something has to be put back, or to be tried again, at the earliest.
    pub(super) fn mending_timeout(&self) -> Option<Time> {
        let losses =
            [self.losses.poll_timeout(), self.lost_objects.poll_timeout(), self.floods.poll_timeout()];
        losses.into_iter().chain([self.routes.poll_timeout()]).flatten().min()
    }
}
