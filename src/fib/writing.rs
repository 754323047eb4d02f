//! Writing to the kernel: batches out, answers in, and what each errno leads to.
//!
//! The kernel works through a batch within the send. Only its last message asks for an acknowledgement, and
//! failures come one by one with their number, so a batch of many routes costs one answer. Objects go in batches
//! before the routes that name them, removals of objects after. While routes are being written the next batch may
//! wait behind them, so that the kernel never waits for us. Nothing goes behind anything else before it is answered,
//! and removals of objects, like readings of tables, go alone.

use log::{info, warn};

use super::netlink::{self, Message, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, Object};
use super::objects::{ObjectTable, ObjectWrite};
use super::reading::{Reading, SILENCE_MAX_S};
use super::routes::{Change, Target, Why};
use super::{Destinations, Fib, mirror};
use crate::types::{Family, Prefix, Time};

/// Requests of one batch. They take the kernel about 2 ms: longer than a turn of the loop, which writes the next one
/// meanwhile, and short enough for what comes later to wait for.
pub const BATCH_MAX: usize = 512;

/// Batches under way: one that the kernel works through, and one that waits for it.
const FLIGHTS_MAX: usize = 2;

/// Destinations looked at in one step by the walk that queues the routes of lost sets again.
const RESEND_STEP: u32 = 65_536;

/// How long nothing is written when the kernel is short of memory, and at most.
const PAUSE_MS: u64 = 50;
const PAUSE_MS_MAX: u64 = 5_000;

/// How long nothing is written when it cannot work at all, for want of a privilege or a newer kernel.
const HOPELESS_PAUSE_S: u64 = 30;

/// Distinct texts of the kernel that are kept to be shown.
const TEXTS_MAX: usize = 32;

pub const TOO_OLD: &str = "the kernel has no next-hop objects: routes can be installed on Linux 5.3 or later";
const NOT_PERMITTED: &str =
    "not permitted to change the kernel's routes: give kulan CAP_NET_ADMIN in this network namespace";

#[derive(Debug)]
pub(super) enum Operation {
    Route(Change, Prefix),
    Stale(Prefix),
    /// Of the place with this index.
    Evict(usize, Prefix),
    Object(ObjectWrite),
    RemoveObject(u32),
}

/// A batch that the kernel is answering; the operation at `i` has the number `first + i`.
#[derive(Debug)]
pub struct Flight {
    /// Which send it is, counted from the start.
    send: u64,
    first: u32,
    pub(super) operations: Vec<Operation>,
    /// (index, errno, text) of what failed.
    failures: Vec<(u32, i32, Option<u8>)>,
    /// When its send was over.
    sent: Option<Time>,
}

impl Flight {
    /// When its silence is suspicious; nothing while it is being sent.
    fn silent_until(&self) -> Option<Time> {
        Some(self.sent?.plus_s(SILENCE_MAX_S))
    }

    fn is_overdue(&self, now: Time) -> bool {
        self.silent_until().is_some_and(|until| until <= now)
    }

    fn is_of_routes(&self) -> bool {
        self.operations.iter().all(|operation| matches!(operation, Operation::Route(..)))
    }
}

impl Fib {
    /// Writes the next requests into `out` (which is cleared), to be passed to the kernel in one send;
    /// returns whether there are any. Sends go in the order in which they were given, and
    /// [`Fib::handle_sent`] or [`Fib::handle_send_error`] tells of each how it ended.
    pub fn poll_batch(&mut self, now: Time, destinations: &dyn Destinations, out: &mut Vec<u8>) -> bool {
        out.clear();
        if self.flights.front().is_some_and(|flight| flight.is_overdue(now)) {
            self.begin_repair();
        }
        if self.is_sending() && self.flights.is_empty() || !self.takes_another() {
            return false;
        }
        let given = self.write_batch(now, destinations, out);
        self.sends_given += u64::from(given);
        given
    }

    /// Whether the end of a send is not known yet.
    pub fn is_sending(&self) -> bool {
        self.sends_given > self.sends_over
    }

    /// Whether there is room for a batch behind those that are under way.
    fn takes_another(&self) -> bool {
        self.flights.len() < FLIGHTS_MAX
            && self.sends_given - self.sends_over < FLIGHTS_MAX as u64
            && self.flights.iter().all(Flight::is_of_routes)
    }

    fn write_batch(&mut self, now: Time, destinations: &dyn Destinations, out: &mut Vec<u8>) -> bool {
        // What has to be done with nothing else under way: it waits until what is has come back.
        let alone = self.flights.is_empty();
        if !alone && (!self.is_settled() || !self.floods.is_empty()) {
            return false;
        }
        if self.stale_until.is_some_and(|until| until <= now) {
            self.end_of_initial_sync();
        }
        if alone && self.is_settled() && self.floods.poll_due(now).is_some() {
            self.begin_repair();
        }
        if alone && self.poll_reading(now, destinations, out) {
            self.requests += 1;
            return true;
        }
        if !self.is_settled() {
            return false;
        }
        self.resolve(now);
        if !self.writes() || self.pause_until.is_some_and(|until| now < until) {
            return false;
        }
        self.pause_until = None;
        self.mend(now, destinations);
        let mut operations = Vec::new();
        self.write_objects(false, &mut operations, out);
        if operations.is_empty() {
            self.write_objects(true, &mut operations, out);
        }
        if operations.is_empty() {
            self.wake_routes(now);
            self.write_routes(now, destinations, &mut operations, out);
        }
        if alone && operations.is_empty() {
            self.evict_routes(&mut operations, out);
        }
        if alone && operations.is_empty() {
            self.remove_objects(&mut operations, out);
        }
        if alone && operations.is_empty() && self.may_evict() && self.evict.is_empty() && !self.has_writes() {
            self.evictions.clear();
            self.objects.end_eviction();
        }
        self.depart(operations, out)
    }

    /// When [`Fib::poll_batch`] wants to be called even if nothing else happens.
    pub fn poll_timeout(&self) -> Option<Time> {
        if let Some(flight) = self.flights.front() {
            return flight.silent_until();
        }
        if self.is_sending() {
            return None;
        }
        if let Some(at) = self.reading_timeout() {
            return Some(at);
        }
        if self.compare.is_some() || self.hops.is_dirty() {
            return Some(Time(0));
        }
        let mut writes = None;
        if self.writes() {
            writes = if self.has_writes() { Some(Time(0)) } else { self.mending_timeout() };
            writes = writes.max(writes.and(self.pause_until));
        }
        [self.stale_until, self.hops.poll_timeout(), writes].into_iter().flatten().min()
    }

    fn has_writes(&self) -> bool {
        self.objects.has_work()
            || self.routes.has_queued()
            || self.resend.is_some()
            || !self.sweep.is_empty()
            || !self.removals.is_empty()
            || self.may_evict() && !self.evict.is_empty()
            || self.objects.may_collect(self.may_drop_left())
    }

    /// Whether objects of an earlier run are of no use any more.
    fn may_drop_left(&self) -> bool {
        self.may_evict() && self.stale.is_empty() && self.evict.is_empty()
    }

    /// Whether anything is ever written: a domain that does not install any more still removes what it had.
    fn writes(&self) -> bool {
        self.options.install || !self.evictions.is_empty()
    }

    /// Whether what the configuration before had may go: what is wanted now is known, and written first.
    fn may_evict(&self) -> bool {
        self.ready && (self.initial_sync_over || !self.options.install)
    }

    /// Removes routes from where the configuration before had them, in the order of the kernel's answer.
    fn evict_routes(&mut self, operations: &mut Vec<Operation>, out: &mut Vec<u8>) {
        while self.may_evict()
            && operations.len() < self.batch_max
            && let Some((at, prefix)) = self.evict.pop()
        {
            self.evictions[at].delete(out, self.next_seq(operations), prefix);
            operations.push(Operation::Evict(at, prefix));
        }
    }

    fn resolve(&mut self, now: Time) {
        let mut moved = Vec::new();
        self.hops.resolve(now, &self.mirror, self.objects.kernel(), &mut moved);
        moved.sort_unstable();
        self.objects.update_sets(&moved, &self.hops);
    }

    fn next_seq(&self, operations: &[Operation]) -> u32 {
        self.seq.wrapping_add(1 + operations.len() as u32)
    }

    fn write_objects(&mut self, groups: bool, operations: &mut Vec<Operation>, out: &mut Vec<u8>) {
        while operations.len() < self.batch_max
            && let Some(write) = self.objects.poll_write(groups)
        {
            let (seq, protocol) = (self.next_seq(operations), self.options.protocol);
            match &write.object {
                Object::Single(via) => {
                    netlink::write_single(out, seq, write.flags, protocol, write.id, *via);
                }
                Object::Group(members) => {
                    netlink::write_group(out, seq, write.flags, protocol, write.id, members);
                }
                Object::Other => continue,
            }
            operations.push(Operation::Object(write));
        }
    }

    /// Queues again what waited for an object or for time to pass.
    fn wake_routes(&mut self, now: Time) {
        let mut woken = self.objects.take_woken();
        if !woken.is_empty() {
            woken.sort_unstable();
            if woken.iter().any(|set| self.objects.is_lost(*set)) {
                self.resend = Some((Family::Ipv4Unicast, 0));
                self.routes.doubt_old(&mut self.objects, ObjectTable::is_lost);
            }
            if self.routes.has_troubles() {
                self.routes.retry_where(|_, wanted, why| {
                    why == Why::Unresolved && wanted.set().is_none_or(|set| woken.binary_search(&set).is_ok())
                });
            }
        }
        self.routes.retry(now);
        if let Some((family, at)) = self.resend {
            let next =
                self.routes.requeue_from(family, at, RESEND_STEP, &mut self.objects, |objects, set| {
                    objects.is_lost(set) && objects.kernel_id(set).is_some()
                });
            self.resend = match (next, family) {
                (Some(at), family) => Some((family, at)),
                (None, Family::Ipv4Unicast) => Some((Family::Ipv6Unicast, 0)),
                (None, Family::Ipv6Unicast) => {
                    self.objects.forget_losses(false);
                    None
                }
            };
        }
    }

    fn write_routes(
        &mut self,
        now: Time,
        destinations: &dyn Destinations,
        operations: &mut Vec<Operation>,
        out: &mut Vec<u8>,
    ) {
        while operations.len() < self.batch_max
            && let Some(mut change) = self.routes.poll_change(&mut self.objects)
        {
            let prefix = destinations.prefix(change.place.0, change.place.1);
            let seq = self.next_seq(operations);
            let Target::Set(set) = change.new else {
                self.writer.delete(out, seq, prefix);
                operations.push(Operation::Route(change, prefix));
                continue;
            };
            let Some(id) = self.objects.ready_id(set) else {
                self.routes.failed(now, change, Why::Unresolved);
                continue;
            };
            if change.place.0 == Family::Ipv6Unicast
                && self.objects.legs_of(set).any(|leg| leg.gateway.is_ipv4())
            {
                let text = self.text("an IPv6 route cannot have an IPv4 next hop");
                self.routes.failed(now, change, Why::Refused { errno: libc::EAFNOSUPPORT, text });
                continue;
            }
            if !self.losses.is_empty()
                && let Some(found) = self.losses.take(now, prefix)
            {
                let old = std::mem::replace(&mut change.old, found.target());
                old.drop_hold(&mut self.objects);
            }
            let left = if self.stale.is_empty() { None } else { self.stale.remove(prefix) };
            if change.old == Target::Nothing
                && let Some(left) = left
            {
                if left == id {
                    self.routes.done(change, &mut self.objects);
                    continue;
                }
                if self.held.contains(change.place.0) {
                    self.stale.insert(prefix, left);
                    self.routes.failed(now, change, Why::Held);
                    continue;
                }
                // Kept with the change: should the write have to be repeated, what was left is still there.
                change.old = Target::Unknown;
            }
            let ours = change.old != Target::Nothing;
            // Where we have nothing, nothing of others may be replaced.
            let flags = NLM_F_CREATE | if ours { NLM_F_REPLACE } else { NLM_F_EXCL };
            self.writer.write(out, seq, flags, prefix, id);
            operations.push(Operation::Route(change, prefix));
        }
        while operations.len() < self.batch_max
            && let Some(prefix) = self.sweep.pop()
        {
            if self.stale.remove(prefix).is_some() {
                self.writer.delete(out, self.next_seq(operations), prefix);
                operations.push(Operation::Stale(prefix));
            }
            if self.sweep.is_empty() {
                self.sweep = Vec::new();
            }
        }
    }

    fn remove_objects(&mut self, operations: &mut Vec<Operation>, out: &mut Vec<u8>) {
        // Routes may be queued behind a walk that has not ended: nothing goes before they have been written.
        if self.resend.is_some() || self.objects.has_work() || self.routes.has_queued() {
            return;
        }
        let left = self.may_drop_left();
        self.objects.collect(&mut self.hops, left, &mut self.removals);
        while operations.len() < self.batch_max
            && let Some(id) = self.removals.pop_front()
        {
            netlink::delete_object(out, self.next_seq(operations), id);
            operations.push(Operation::RemoveObject(id));
        }
    }

    fn depart(&mut self, operations: Vec<Operation>, out: &mut [u8]) -> bool {
        if operations.is_empty() {
            return false;
        }
        let mut last = 0;
        let mut at = 0;
        while let Some(length) = out.get(at..at + 4) {
            last = at;
            at += u32::from_ne_bytes([length[0], length[1], length[2], length[3]]) as usize;
        }
        netlink::ask_for_ack(out, last);
        let first = self.next_seq(&[]);
        self.seq = self.seq.wrapping_add(operations.len() as u32);
        self.requests += operations.len() as u64;
        let send = self.sends_given;
        self.flights.push_back(Flight { send, first, operations, failures: Vec::new(), sent: None });
        true
    }

    /// An `NLMSG_ERROR` that is not about a dump.
    pub(super) fn handle_outcome(&mut self, now: Time, message: &Message<'_>) {
        let Some(outcome) = message.outcome() else { return };
        let index_in = |flight: &Flight| {
            let index = message.seq.wrapping_sub(flight.first);
            (index < flight.operations.len() as u32).then_some(index)
        };
        let at = self.flights.iter().enumerate().find_map(|(at, flight)| Some((at, index_in(flight)?)));
        let Some((at, index)) = at else { return };
        if outcome.errno != 0 {
            let text = outcome.text.map(|text| self.text(text));
            self.flights[at].failures.push((index, outcome.errno, text));
        }
        if index + 1 == self.flights[at].operations.len() as u32
            && let Some(flight) = self.flights.remove(at)
        {
            self.arrive(now, flight);
        }
    }

    /// The number of a text that is shown with refused routes.
    fn text(&mut self, text: &str) -> u8 {
        let known = self.texts.iter().position(|known| **known == *text);
        let at = known.unwrap_or_else(|| {
            if self.texts.len() < TEXTS_MAX {
                self.texts.push(text.into());
            }
            self.texts.len() - 1
        });
        at as u8
    }

    fn arrive(&mut self, now: Time, flight: Flight) {
        let mut failures = flight.failures.iter().peekable();
        if flight.failures.is_empty() {
            self.pause_ms = 0;
            self.routes.calm();
            if self.complaint.take().is_some() {
                info!("table {}: the kernel takes routes again", self.options.table);
            }
        }
        for (index, operation) in flight.operations.into_iter().enumerate() {
            match failures.next_if(|(failed, ..)| *failed == index as u32) {
                Some((_, errno, text)) => {
                    self.errors += 1;
                    self.operation_failed(now, operation, *errno, *text);
                }
                None => self.operation_done(operation),
            }
        }
    }

    fn operation_done(&mut self, operation: Operation) {
        match operation {
            Operation::Route(change, _) => self.routes.done(change, &mut self.objects),
            Operation::Stale(_) | Operation::Evict(..) => {}
            Operation::Object(write) => self.objects.written(write),
            Operation::RemoveObject(id) => self.object_removed(id),
        }
    }

    fn object_removed(&mut self, id: u32) {
        let ids = self.objects.removed(id);
        self.forget_stale_of(&ids);
        for id in ids {
            self.objects.requeue(id);
        }
    }

    fn operation_failed(&mut self, now: Time, operation: Operation, errno: i32, text: Option<u8>) {
        match errno {
            libc::EPERM | libc::EACCES => {
                self.complain(now, errno, NOT_PERMITTED);
                self.take_back(operation);
                return;
            }
            libc::EOPNOTSUPP if matches!(operation, Operation::Object(_)) => {
                self.complain(now, errno, TOO_OLD);
                self.take_back(operation);
                return;
            }
            libc::ENOMEM | libc::ENOBUFS | libc::EAGAIN | libc::EBUSY => {
                self.pause(now);
                self.take_back(operation);
                return;
            }
            _ => {}
        }
        match operation {
            // What is to be removed is gone already.
            Operation::Route(change, _) if change.new == Target::Nothing => match errno {
                libc::ESRCH | libc::ENOENT => self.routes.done(change, &mut self.objects),
                _ => self.refuse_route(now, change, errno, text),
            },
            Operation::Route(change, prefix) if errno == libc::EEXIST => {
                self.route_exists(now, change, prefix);
            }
            Operation::Route(change, _) => self.refuse_route(now, change, errno, text),
            Operation::Stale(_) | Operation::Evict(..) if matches!(errno, libc::ESRCH | libc::ENOENT) => {}
            Operation::Stale(_) | Operation::Evict(..) => {
                self.pause(now);
                self.take_back(operation);
            }
            Operation::RemoveObject(id) if matches!(errno, libc::ESRCH | libc::ENOENT) => {
                self.object_removed(id);
            }
            Operation::RemoveObject(_) => {
                // It is found among those that nobody uses, and removed later.
                self.pause(now);
                self.verify_objects();
            }
            Operation::Object(write) if errno == libc::EEXIST => self.objects.id_taken(write.id),
            Operation::Object(ObjectWrite { object: Object::Single(via), id, .. }) => {
                if let Some(gateway) = via.gateway {
                    let leg = mirror::Leg { gateway, ifindex: via.ifindex, onlink: via.onlink };
                    self.hops.refuse(now, leg);
                }
                self.objects.requeue(id);
            }
            Operation::Object(write) => {
                // A member is not there although it should be: find out which are.
                self.objects.requeue(write.id);
                self.pause(now);
                self.verify_objects();
            }
        }
    }

    /// Where we had nothing there is a route already: somebody else's, which is left alone; or, if a notification has
    /// told so, one with our number.
    fn route_exists(&mut self, now: Time, change: Change, prefix: Prefix) {
        match self.losses.take(now, prefix) {
            Some(found) if found.target() == Target::Unknown => {
                self.routes.put_back(Change { old: Target::Unknown, ..change });
            }
            _ => {
                self.foreign.insert(prefix, change.place);
                self.routes.failed(now, change, Why::Foreign);
            }
        }
    }

    /// A route that names a next hop which the kernel does not have (EINVAL), or whose link has just
    /// gone: what objects there are is read anew, next hops are resolved again, and the route waits.
    fn refuse_route(&mut self, now: Time, change: Change, errno: i32, text: Option<u8>) {
        let text = match text {
            Some(text) => text,
            None => {
                let text = std::io::Error::from_raw_os_error(errno).to_string();
                self.text(&text)
            }
        };
        self.routes.failed(now, change, Why::Refused { errno, text });
        if matches!(
            errno,
            libc::EINVAL
                | libc::ENODEV
                | libc::ENOENT
                | libc::ENETUNREACH
                | libc::EHOSTUNREACH
                | libc::ENETDOWN
        ) {
            self.verify_objects();
        }
    }

    pub(super) fn verify_objects(&mut self) {
        if self.reading.is_none() {
            self.reading = Some(Reading::objects());
        }
    }

    fn take_back(&mut self, operation: Operation) {
        match operation {
            Operation::Route(change, _) => self.routes.put_back(change),
            Operation::Stale(prefix) => {
                self.stale.insert(prefix, 0);
                self.sweep.push(prefix);
            }
            Operation::Evict(at, prefix) => self.evict.push((at, prefix)),
            Operation::Object(write) => self.objects.requeue(write.id),
            Operation::RemoveObject(id) => self.removals.push_front(id),
        }
    }

    fn pause(&mut self, now: Time) {
        if self.pause_until.is_none() {
            self.pause_ms = (self.pause_ms * 2).clamp(PAUSE_MS, PAUSE_MS_MAX);
            self.pause_until = Some(now.plus_ms(self.pause_ms));
        }
    }

    pub(super) fn complain(&mut self, now: Time, errno: i32, complaint: &'static str) {
        self.pause_until = Some(now.plus_s(HOPELESS_PAUSE_S));
        if self.complaint != Some(complaint) {
            self.complaint = Some(complaint);
            warn!("table {}: {complaint} (errno {errno})", self.options.table);
        }
    }

    /// The oldest send of which the end was not told is over: the kernel has worked through it. Its answers may have
    /// come before.
    pub fn handle_sent(&mut self, now: Time) {
        let send = self.sends_over;
        self.sends_over += 1;
        // However long the kernel took, it may be silent from here on only.
        if let Some(flight) = self.flights.iter_mut().find(|flight| flight.send == send) {
            flight.sent = Some(now);
        }
        self.hear(now);
    }

    /// The oldest send of which the end was not told failed with this (positive) errno: nothing of it was done.
    pub fn handle_send_error(&mut self, now: Time, errno: i32) {
        let send = self.sends_over;
        self.sends_over += 1;
        let at = self.flights.iter().position(|flight| flight.send == send);
        match at.and_then(|at| self.flights.remove(at)) {
            Some(flight) => {
                // Back in reverse, so that the queue has its order again.
                for operation in flight.operations.into_iter().rev() {
                    self.take_back(operation);
                }
                if errno == libc::EMSGSIZE {
                    self.batch_max = (self.batch_max / 2).max(1);
                    return;
                }
            }
            None => self.begin_repair(),
        }
        match errno {
            libc::EPERM | libc::EACCES => self.complain(now, errno, NOT_PERMITTED),
            _ => self.pause(now),
        }
    }

    /// A receive failed with this (positive) errno. ENOBUFS means that messages were lost.
    pub fn handle_receive_error(&mut self, now: Time, errno: i32) {
        if errno == libc::ENOBUFS {
            self.overruns += 1;
            self.begin_repair();
        } else {
            warn!("table {}: netlink receive: errno {errno}", self.options.table);
            self.pause(now);
        }
    }
}
