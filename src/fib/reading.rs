//! Reading the kernel: dumps, notifications, and the comparison of what was read with what is wanted.
//!
//! A reading is a sequence of dumps, one at a time. All comes through one socket, so a notification that
//! arrives behind a part of a dump is newer than that part, and applying everything in the order of
//! arrival gives the kernel's state. Nothing of ours is written between the first dump and the end of the
//! comparison, so what it finds is not out of date.

use std::collections::VecDeque;

use super::losses::Found;
use super::mirror::{TABLE_LOCAL, TABLE_MAIN};
use super::netlink::{
    self, AddressView, LinkView, Message, Messages, NLM_F_DUMP_INTR, NLM_F_REPLACE, ObjectView, RouteView,
    RouteWriter,
};
use super::prefix_map::PrefixMap;
use super::routes::{Target, Why};
use super::stale::Stale;
use super::{Destinations, Fib};
use crate::types::{DestId, Family, Prefix, Time};

/// How long the kernel may take for the next part of a dump or the answer to a batch. It answers within
/// the send; longer silence means that something was lost without a word.
pub const SILENCE_MAX_S: u64 = 10;

/// A dump that the kernel says was disturbed is asked for again this often.
const INTERRUPTIONS_MAX: u32 = 5;

/// Destinations compared in one step, about a millisecond.
const COMPARE_STEP: u32 = 8192;

/// Stands in a census for a route of somebody else.
const FOREIGN: u32 = u32::MAX;

/// What is read from the kernel, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// At start and when something was lost: everything, and then what differs is written.
    Repair,
    /// A refused route cast doubt on the next-hop objects.
    Objects,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Links,
    Addresses,
    Objects,
    Routes(Family, u32),
}

/// A sequence of dumps.
#[derive(Debug)]
pub struct Reading {
    purpose: Purpose,
    steps: VecDeque<Step>,
    current: Option<(u32, Step)>,
    interrupted: bool,
    interruptions: u32,
    /// When something was last heard.
    heard: Time,
    /// The domain's table at our metric: our routes with their next-hop ids, and others'.
    census: PrefixMap<u32>,
}

impl Reading {
    fn new(purpose: Purpose, steps: impl IntoIterator<Item = Step>) -> Reading {
        Reading {
            purpose,
            steps: steps.into_iter().collect(),
            current: None,
            interrupted: false,
            interruptions: 0,
            heard: Time(0),
            census: PrefixMap::default(),
        }
    }

    /// All that next hops and routes of this table depend on, and what is to be `evicted`.
    pub fn everything(table: u32, evicted: &[u32]) -> Reading {
        let mut tables = vec![TABLE_LOCAL, TABLE_MAIN];
        for table in evicted.iter().chain([&table]) {
            if !tables.contains(table) {
                tables.push(*table);
            }
        }
        let routes = Family::ALL
            .into_iter()
            .flat_map(|family| tables.iter().map(move |table| Step::Routes(family, *table)));
        Reading::new(Purpose::Repair, [Step::Links, Step::Addresses, Step::Objects].into_iter().chain(routes))
    }

    /// What the addresses on a session's link depend on.
    pub fn interfaces() -> Reading {
        Reading::new(Purpose::Repair, [Step::Links, Step::Addresses])
    }

    /// The reading that finds out which next-hop objects there are.
    pub fn objects() -> Reading {
        Reading::new(Purpose::Objects, [Step::Objects])
    }

    fn is_current(&self, seq: u32) -> bool {
        self.current.is_some_and(|(current, _)| current == seq)
    }
}

/// A walk over all destinations beside what was read.
#[derive(Debug)]
pub struct Compare {
    family: Family,
    at: u32,
    census: PrefixMap<u32>,
}

impl Fib {
    /// Whether it is known what the kernel has at a destination.
    pub(super) fn is_sure(&self, (family, dest): (Family, DestId)) -> bool {
        if let Some(reading) = &self.reading
            && reading.purpose == Purpose::Repair
        {
            return false;
        }
        match &self.compare {
            Some(compare) => (family, dest.0) < (compare.family, compare.at),
            None => true,
        }
    }

    /// Something was lost: reads everything anew and writes what differs.
    pub(super) fn begin_repair(&mut self) {
        self.repairs += 1;
        self.flights.clear();
        self.compare = None;
        let evicted: Vec<u32> = self.evictions.iter().map(|place| place.table).collect();
        self.reading = Some(match self.options.follows_routes() {
            true => Reading::everything(self.options.table, &evicted),
            false => Reading::interfaces(),
        });
    }

    /// Continues what is under way of reading and comparing. `true`: a request was written.
    /// `false`: nothing may be written by others either, unless [`Fib::is_settled`].
    pub(super) fn poll_reading(
        &mut self,
        now: Time,
        destinations: &dyn Destinations,
        out: &mut Vec<u8>,
    ) -> bool {
        if let Some(reading) = &self.reading
            && reading.current.is_some()
            && now >= reading.heard.plus_s(SILENCE_MAX_S)
        {
            self.begin_repair();
        }
        if self.request_dump(now, out) {
            return true;
        }
        self.continue_compare(now, destinations);
        false
    }

    /// Whether no reading and no comparison is under way.
    pub(super) fn is_settled(&self) -> bool {
        self.reading.is_none() && self.compare.is_none()
    }

    /// The kernel has only just been asked.
    pub(super) fn hear(&mut self, now: Time) {
        if let Some(reading) = &mut self.reading {
            reading.heard = now;
        }
    }

    /// When silence becomes suspicious, if a dump is under way.
    pub(super) fn reading_timeout(&self) -> Option<Time> {
        let reading = self.reading.as_ref()?;
        Some(match reading.current {
            Some(_) => reading.heard.plus_s(SILENCE_MAX_S),
            None => Time(0),
        })
    }

    fn request_dump(&mut self, now: Time, out: &mut Vec<u8>) -> bool {
        let Some(reading) = &mut self.reading else { return false };
        if reading.current.is_some() {
            return false;
        }
        let Some(step) = reading.steps.pop_front() else { return false };
        self.seq = self.seq.wrapping_add(1);
        reading.current = Some((self.seq, step));
        reading.interrupted = false;
        reading.heard = now;
        if reading.purpose == Purpose::Repair && step == Step::Links {
            self.mirror.clear();
            self.losses.settle(now);
            self.lost_objects.settle(now);
            self.foreign = PrefixMap::default();
            self.evict.clear();
            self.resend = None;
            self.routes.begin_doubt();
            // What is lost from here on may have been read before that: it counts.
            self.objects.forget_losses(true);
            self.objects.drop_all_holds();
        }
        match step {
            Step::Links => netlink::dump_links(out, self.seq),
            Step::Addresses => netlink::dump_addresses(out, self.seq),
            Step::Objects => {
                self.objects.begin_read();
                netlink::dump_objects(out, self.seq);
            }
            Step::Routes(family, table) => netlink::dump_routes(out, self.seq, family, table),
        }
        true
    }

    /// Takes what was read from the netlink socket: whole messages, replies and notifications mixed.
    pub fn handle_netlink(&mut self, now: Time, bytes: &[u8]) {
        for message in Messages::new(bytes) {
            let mut in_dump = false;
            if let Some(reading) = &mut self.reading
                && reading.is_current(message.seq)
            {
                in_dump = true;
                reading.heard = now;
                reading.interrupted |= message.flags & NLM_F_DUMP_INTR != 0;
            }
            match message.kind {
                netlink::NLMSG_ERROR if in_dump => {
                    let errno = message.outcome().map_or(0, |outcome| outcome.errno);
                    self.end_dump(now, errno);
                }
                netlink::NLMSG_DONE if in_dump => self.end_dump(now, message.dump_errno()),
                netlink::NLMSG_ERROR => self.handle_outcome(now, &message),
                _ => self.handle_object(now, &message, in_dump),
            }
        }
    }

    fn handle_object(&mut self, now: Time, message: &Message<'_>, in_dump: bool) {
        match message.kind {
            netlink::RTM_NEWLINK => {
                let Some(view) = LinkView::read(message.payload) else { return };
                let changed = self.mirror.set_link(view);
                if !self.mirror.is_usable(view.ifindex) {
                    self.link_lost(view.ifindex);
                }
                if changed {
                    self.hops.everything_changed();
                }
            }
            netlink::RTM_DELLINK => {
                let Some(view) = LinkView::read(message.payload) else { return };
                self.mirror.remove_link(view.ifindex);
                self.link_lost(view.ifindex);
                self.hops.everything_changed();
            }
            netlink::RTM_NEWADDR => {
                if let Some(view) = AddressView::read(message.payload) {
                    self.mirror.set_address(view);
                }
            }
            netlink::RTM_DELADDR => {
                if let Some(view) = AddressView::read(message.payload) {
                    self.mirror.remove_address(view);
                    self.hops.everything_changed();
                }
            }
            netlink::RTM_NEWROUTE | netlink::RTM_DELROUTE => {
                if let Some(view) = RouteView::read(message.payload) {
                    self.handle_route(now, message, view, in_dump);
                }
            }
            netlink::RTM_NEWNEXTHOP | netlink::RTM_DELNEXTHOP => {
                let Some(view) = ObjectView::read(message.payload) else { return };
                if self.objects.is_of_another_domain(&view) {
                    return;
                }
                if in_dump {
                    self.objects.read(view);
                    return;
                }
                match message.kind {
                    netlink::RTM_NEWNEXTHOP => {
                        let id = view.id;
                        if self.objects.noticed(view) {
                            self.note_lost_object(now, id, Found::Other(id));
                        }
                    }
                    _ => {
                        let ids = self.objects.removed(view.id);
                        self.forget_stale_of(&ids);
                        for id in ids {
                            self.note_lost_object(now, id, Found::Nothing);
                        }
                    }
                }
                self.hops.everything_changed();
            }
            _ => {}
        }
    }

    /// A link went down: the kernel has dropped its objects, and what needs them.
    fn link_lost(&mut self, ifindex: u32) {
        let ids = self.objects.link_lost(ifindex);
        self.forget_stale_of(&ids);
        for id in ids {
            self.objects.requeue(id);
        }
    }

    fn handle_route(&mut self, now: Time, message: &Message<'_>, view: RouteView, in_dump: bool) {
        let ours = view.protocol == self.options.protocol;
        let in_our_way = view.table == self.options.table && view.metric == self.options.metric;
        if in_dump {
            let is_here = |place: &RouteWriter| (place.table, place.metric) == (view.table, view.metric);
            if ours && let Some(at) = self.evictions.iter().position(is_here) {
                self.evict.push((at, view.prefix));
                return;
            }
            if in_our_way && let Some(reading) = &mut self.reading {
                match ours {
                    true => {
                        reading.census.insert(view.prefix, view.next_hop_id);
                    }
                    false if reading.census.get(view.prefix).is_none() => {
                        reading.census.insert(view.prefix, FOREIGN);
                    }
                    false => {}
                }
            }
            if !ours && self.mirror.follows(view.table) {
                self.mirror.set_route(view, false);
            }
            return;
        }
        let deleted = message.kind == netlink::RTM_DELROUTE;
        let replaced = message.flags & NLM_F_REPLACE != 0;
        // What the kernel removes by itself (port 0) goes with a link or an object, and is known by those.
        if in_our_way && message.port != 0 {
            let lost = self.losses.get(view.prefix);
            let found = match (ours, deleted) {
                (true, true) => Some(Found::Nothing),
                (true, false) => Some(Found::Other(view.next_hop_id)),
                (false, false) if replaced || lost.is_some() => Some(Found::Foreign),
                (false, true) if lost == Some(Found::Foreign) => Some(Found::Nothing),
                (false, _) => None,
            };
            if let Some(found) = found {
                self.note_lost_route(now, view.prefix, found);
            }
        }
        if ours {
            return;
        }
        if in_our_way && deleted {
            self.retry_foreign(view.prefix);
        }
        if self.mirror.follows(view.table) {
            self.hops.route_changed(view.prefix);
            match deleted {
                true => self.mirror.remove_route(&view),
                false => self.mirror.set_route(view, replaced),
            }
        }
    }

    /// The route of somebody else that kept ours out has gone, or so it seems.
    pub(super) fn retry_foreign(&mut self, prefix: Prefix) {
        if let Some(place) = self.foreign.remove(prefix) {
            self.routes.retry_where(|other, _, why| other == place && why == Why::Foreign);
        }
    }

    fn end_dump(&mut self, now: Time, errno: i32) {
        let Some(reading) = &mut self.reading else { return };
        let Some((_, step)) = reading.current.take() else { return };
        let disturbed = reading.interrupted || matches!(errno, libc::EBUSY | libc::EINTR | libc::EAGAIN);
        if disturbed && reading.interruptions < INTERRUPTIONS_MAX {
            reading.interruptions += 1;
            reading.steps.push_front(step);
            return;
        }
        // A table that does not exist yet is an empty one: the kernel says ENOENT.
        let finished = match reading.steps.is_empty() {
            true => self.reading.take(),
            false => None,
        };
        if step == Step::Objects {
            if self.options.install && matches!(errno, libc::EOPNOTSUPP | libc::EINVAL) {
                self.complain(now, errno, super::writing::TOO_OLD);
            }
            // What was to be removed is among those left over, if the kernel still has it.
            self.removals.clear();
            self.objects.end_read();
        }
        if let Some(reading) = finished {
            self.hops.everything_changed();
            if reading.purpose == Purpose::Repair {
                let census = reading.census;
                self.compare = Some(Compare { family: Family::Ipv4Unicast, at: 0, census });
            }
        }
    }

    /// Somebody else was at `prefix` while the table is being read or compared: what was read of it is out of date.
    pub(super) fn correct_census(&mut self, prefix: Prefix, found: Found) {
        let reading = self.reading.as_mut().map(|reading| &mut reading.census);
        let Some(census) = reading.or(self.compare.as_mut().map(|compare| &mut compare.census)) else {
            return;
        };
        match found {
            Found::Nothing => drop(census.remove(prefix)),
            Found::Other(id) => drop(census.insert(prefix, id)),
            Found::Foreign => drop(census.insert(prefix, FOREIGN)),
            Found::Unsure => {}
        }
    }

    fn continue_compare(&mut self, now: Time, destinations: &dyn Destinations) {
        let Some(mut compare) = self.compare.take() else { return };
        let (family, from) = (compare.family, compare.at);
        let until = from.saturating_add(COMPARE_STEP).min(self.routes.end(family));
        for dest in (from..until).map(DestId) {
            let place = (family, dest);
            if !self.routes.holds(place) {
                continue;
            }
            let (wanted, _) = self.routes.standing(place);
            let expected = wanted.set().and_then(|set| self.objects.kernel_id(set));
            let old = match compare.census.remove(destinations.prefix(family, dest)) {
                None | Some(FOREIGN) => Target::Nothing,
                Some(id) if Some(id) == expected => wanted,
                Some(id) => self.objects.set_with_id(id).map_or(Target::Unknown, Target::Set),
            };
            self.routes.end_doubt(place, old, &mut self.objects);
        }
        compare.at = until;
        if until < self.routes.end(family) {
            self.compare = Some(compare);
            return;
        }
        match family {
            Family::Ipv4Unicast => {
                (compare.family, compare.at) = (Family::Ipv6Unicast, 0);
                self.compare = Some(compare);
            }
            Family::Ipv6Unicast => self.end_compare(now, compare.census),
        }
    }

    fn end_compare(&mut self, now: Time, mut census: PrefixMap<u32>) {
        // What was read before its object went, went with it.
        let objects = self.objects.kernel();
        census.retain(|_, id| *id != FOREIGN && (*id == 0 || objects.contains_key(id)));
        self.stale = Stale::of(&census);
        if !self.ready {
            self.ready = true;
            if !self.initial_sync_over {
                self.stale_until = Some(now.plus_s(self.options.stale_time_s));
            }
        }
        self.begin_sweep();
    }

    /// What nobody wants is removed once the initial synchronisation is over.
    pub(super) fn begin_sweep(&mut self) {
        if self.initial_sync_over && self.options.install {
            self.sweep = self.stale.scattered();
        }
    }
}
