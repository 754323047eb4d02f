//! A [`Fib`] against a small kernel of ours that can be made to fail in every way the real one does:
//! refused requests, batches too large, lost replies, links that flap, routes removed by others. Whatever
//! happens in between, at the end the kernel holds exactly what is wanted.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv6Addr;

use proptest::prelude::*;

use super::netlink::{
    self, Members, Message, Messages, NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, Object, ObjectView,
    RouteView, RouteWriter,
};
use super::*;
use crate::types::{Prefix4, Prefix6};

const DESTS: u32 = 12;
const LINKS: [u32; 2] = [1, 2];

#[derive(Default)]
struct Kernel {
    objects: BTreeMap<u32, (u8, Object)>,
    /// By prefix: (protocol, next-hop object). All have our metric.
    routes: BTreeMap<Prefix, (u8, u32)>,
    carrier: BTreeSet<u32>,
    replies: VecDeque<Vec<u8>>,
    /// The errno that single requests get, for as many requests.
    refuse: Option<(i32, u32)>,
    /// The longest batch, in bytes.
    send_max: usize,
    /// Replies and notifications are lost until the next receive, which says so.
    overrun: bool,
    acks: usize,
}

impl Kernel {
    fn new() -> Kernel {
        Kernel { carrier: BTreeSet::from(LINKS), send_max: usize::MAX, ..Kernel::default() }
    }

    fn reply(&mut self, message: Vec<u8>) {
        if !self.overrun {
            self.replies.push_back(message);
        }
    }

    fn link_message(&self, ifindex: u32, seq: u32) -> Vec<u8> {
        let mut fixed = [0; 16];
        fixed[4..8].copy_from_slice(&ifindex.to_ne_bytes());
        let flags: u32 = if self.carrier.contains(&ifindex) { 0x10001 } else { 1 };
        fixed[8..12].copy_from_slice(&flags.to_ne_bytes());
        let mut out = Vec::new();
        let start = netlink::begin(&mut out, netlink::RTM_NEWLINK, 2, seq, &fixed);
        netlink::attribute(&mut out, 3, b"link\0");
        netlink::end(&mut out, start);
        out
    }

    /// The connected route of a link, 2001:db8:N::/64.
    fn connected(ifindex: u32, seq: u32) -> Vec<u8> {
        let mut out = Vec::new();
        let fixed = [libc::AF_INET6 as u8, 64, 0, 0, 254, 2, 0, 1, 0, 0, 0, 0];
        let start = netlink::begin(&mut out, netlink::RTM_NEWROUTE, 2, seq, &fixed);
        netlink::attribute(&mut out, 1, &(0x2001_0db8 << 96 | u128::from(ifindex) << 80).to_be_bytes());
        netlink::attribute(&mut out, 4, &ifindex.to_ne_bytes());
        netlink::end(&mut out, start);
        out
    }

    fn outcome(&mut self, request: &Message<'_>, errno: i32) {
        let mut fixed = [0; 20];
        fixed[..4].copy_from_slice(&(-errno).to_ne_bytes());
        let mut out = Vec::new();
        let start = netlink::begin(&mut out, netlink::NLMSG_ERROR, 0x100, request.seq, &fixed);
        netlink::end(&mut out, start);
        self.reply(out);
    }

    fn send(&mut self, batch: &[u8]) -> Result<(), i32> {
        if batch.len() > self.send_max {
            return Err(libc::EMSGSIZE);
        }
        for request in Messages::new(batch) {
            if matches!(request.kind, 18 | 22 | 26 | 106) {
                self.dump(&request);
                continue;
            }
            let errno = match &mut self.refuse {
                Some((errno, left)) if *left > 0 => {
                    *left -= 1;
                    *errno
                }
                _ => self.change(&request),
            };
            if errno != 0 || request.flags & NLM_F_ACK != 0 {
                self.acks += 1;
                self.outcome(&request, errno);
            }
        }
        Ok(())
    }

    fn dump(&mut self, request: &Message<'_>) {
        let mut messages = Vec::new();
        match request.kind {
            18 => messages.extend(LINKS.map(|link| self.link_message(link, request.seq))),
            26 if request.payload[4] == 254 => {
                let family = request.payload[0];
                if i32::from(family) == libc::AF_INET6 {
                    messages.extend(LINKS.map(|link| Kernel::connected(link, request.seq)));
                }
                for (prefix, (protocol, id)) in &self.routes {
                    if (i32::from(family) == libc::AF_INET6) == matches!(prefix, Prefix::V6(_)) {
                        let mut out = Vec::new();
                        let writer = RouteWriter { table: 254, metric: METRIC, protocol: *protocol };
                        writer.write(&mut out, request.seq, 2, *prefix, *id);
                        messages.push(out);
                    }
                }
            }
            106 => {
                for (id, (protocol, object)) in &self.objects {
                    let mut out = Vec::new();
                    write_object(&mut out, request.seq, *protocol, *id, object);
                    messages.push(out);
                }
            }
            _ => {}
        }
        for message in messages {
            self.reply(message);
        }
        let mut done = Vec::new();
        let start = netlink::begin(&mut done, netlink::NLMSG_DONE, 2, request.seq, &[0; 4]);
        netlink::end(&mut done, start);
        self.reply(done);
    }

    fn change(&mut self, request: &Message<'_>) -> i32 {
        let has = |flag| request.flags & flag != 0;
        match request.kind {
            netlink::RTM_NEWROUTE => {
                let route = RouteView::read(request.payload).unwrap();
                if !self.objects.contains_key(&route.next_hop_id) {
                    return libc::EINVAL;
                }
                let there = self.routes.contains_key(&route.prefix);
                if there && has(NLM_F_EXCL) {
                    return libc::EEXIST;
                }
                assert!(has(NLM_F_CREATE) && (!there || has(NLM_F_REPLACE)));
                self.routes.insert(route.prefix, (route.protocol, route.next_hop_id));
            }
            netlink::RTM_DELROUTE => {
                let route = RouteView::read(request.payload).unwrap();
                match self.routes.get(&route.prefix) {
                    Some((protocol, _)) if *protocol == route.protocol => {
                        self.routes.remove(&route.prefix);
                    }
                    _ => return libc::ESRCH,
                }
            }
            netlink::RTM_NEWNEXTHOP => {
                let view = ObjectView::read(request.payload).unwrap();
                if self.objects.contains_key(&view.id) && has(NLM_F_EXCL) {
                    return libc::EEXIST;
                }
                match &view.object {
                    Object::Single(via) if !self.carrier.contains(&via.ifindex) => return libc::ENETDOWN,
                    Object::Group(members)
                        if members.iter().any(|(id, _)| !self.objects.contains_key(id)) =>
                    {
                        return libc::EINVAL;
                    }
                    _ => {}
                }
                self.objects.insert(view.id, (view.protocol, view.object));
            }
            netlink::RTM_DELNEXTHOP => {
                let id = ObjectView::read(request.payload).unwrap().id;
                if !self.objects.contains_key(&id) {
                    return libc::ENOENT;
                }
                self.drop_objects(|other, _| other == id);
            }
            kind => panic!("no such request: {kind}"),
        }
        0
    }

    fn drop_objects(&mut self, gone: impl Fn(u32, &Object) -> bool) {
        self.objects.retain(|id, (_, object)| !gone(*id, object));
        let there: BTreeSet<u32> = self.objects.keys().copied().collect();
        self.objects.retain(|_, (_, object)| match object {
            Object::Group(members) => {
                members.retain(|(member, _)| there.contains(member));
                !members.is_empty()
            }
            _ => true,
        });
        self.routes.retain(|_, (_, id)| self.objects.contains_key(id));
    }

    fn set_carrier(&mut self, ifindex: u32, carrier: bool) {
        if carrier {
            self.carrier.insert(ifindex);
        } else {
            self.carrier.remove(&ifindex);
            self.drop_objects(|_, object| matches!(object, Object::Single(via) if via.ifindex == ifindex));
        }
        let message = self.link_message(ifindex, 0);
        self.reply(message);
    }

    /// Somebody else did this: the notification says who.
    fn notify(&mut self, mut message: Vec<u8>) {
        message[12..16].copy_from_slice(&99u32.to_ne_bytes());
        self.reply(message);
    }

    /// Somebody else removes a route of ours.
    fn remove_by_hand(&mut self, prefix: Prefix) {
        if self.routes.remove(&prefix).is_some() {
            let mut out = Vec::new();
            RouteWriter { table: 254, metric: METRIC, protocol: PROTOCOL }.delete(&mut out, 0, prefix);
            self.notify(out);
        }
    }

    /// Somebody else writes a route with our number: over one of ours, or where there is none.
    fn write_by_hand(&mut self, prefix: Prefix, id: u32) {
        if self.objects.contains_key(&id) {
            let replaced = self.routes.insert(prefix, (PROTOCOL, id)).is_some();
            let mut out = Vec::new();
            let flags = if replaced { NLM_F_REPLACE } else { NLM_F_CREATE };
            RouteWriter { table: 254, metric: METRIC, protocol: PROTOCOL }
                .write(&mut out, 0, flags, prefix, id);
            self.notify(out);
        }
    }

    /// Somebody else removes an object, and with it what needs it.
    fn remove_object_by_hand(&mut self, id: u32) {
        if self.objects.contains_key(&id) {
            self.drop_objects(|other, _| other == id);
            let mut out = Vec::new();
            netlink::delete_object(&mut out, 0, id);
            self.notify(out);
        }
    }

    /// Somebody else lets an object lead elsewhere.
    fn change_object_by_hand(&mut self, id: u32) {
        let Some((protocol, object)) = self.objects.get_mut(&id) else { return };
        let Object::Single(via) = object else { return };
        via.gateway = Some(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xbad).into());
        let (protocol, object) = (*protocol, object.clone());
        let mut out = Vec::new();
        write_object(&mut out, 0, protocol, id, &object);
        self.notify(out);
    }

    fn act_by_hand(&mut self, hand: Hand) {
        let prefix = |number| {
            let (family, dest) = place_of(number);
            prefix_of(family, dest)
        };
        let object = |index: u32| self.objects.keys().nth(index as usize).copied().unwrap_or(0);
        match hand {
            Hand::Remove(number) => self.remove_by_hand(prefix(number)),
            Hand::Write(number, index) => self.write_by_hand(prefix(number), object(index)),
            Hand::RemoveObject(index) => self.remove_object_by_hand(object(index)),
            Hand::ChangeObject(index) => self.change_object_by_hand(object(index)),
        }
    }
}

/// What somebody else does to what is ours.
#[derive(Clone, Copy, Debug)]
enum Hand {
    Remove(u32),
    Write(u32, u32),
    RemoveObject(u32),
    ChangeObject(u32),
}

fn write_object(out: &mut Vec<u8>, seq: u32, protocol: u8, id: u32, object: &Object) {
    match object {
        Object::Single(via) => netlink::write_single(out, seq, 2, protocol, id, *via),
        Object::Group(members) => netlink::write_group(out, seq, 2, protocol, id, members),
        Object::Other => {}
    }
}

fn prefix_of(family: Family, dest: DestId) -> Prefix {
    match family {
        Family::Ipv4Unicast => Prefix::V4(Prefix4::new(0x0a00_0000 | dest.0 << 8, 24)),
        Family::Ipv6Unicast => Prefix::V6(Prefix6::new(0x2a00 << 112 | u128::from(dest.0) << 80, 48)),
    }
}

fn place_of(number: u32) -> (Family, DestId) {
    let family = if number.is_multiple_of(2) { Family::Ipv4Unicast } else { Family::Ipv6Unicast };
    (family, DestId(number / 2))
}

struct Prefixes;

impl Destinations for Prefixes {
    fn prefix(&self, family: Family, dest: DestId) -> Prefix {
        prefix_of(family, dest)
    }

    fn find(&self, prefix: Prefix) -> Option<DestId> {
        (0..DESTS).map(DestId).find(|dest| prefix_of(prefix.family(), *dest) == prefix)
    }
}

struct World {
    kernel: Kernel,
    fib: Fib,
    now: Time,
    wanted: BTreeMap<u32, Vec<u32>>,
    /// What somebody else does after we have read everything and before we send.
    between: Option<Hand>,
    /// How sends ended, until the domain is told.
    sent: VecDeque<Result<(), i32>>,
    /// Whether the domain reads the answers before it is told: every other time.
    answers_first: bool,
}

impl World {
    fn new(kernel: Kernel) -> World {
        let fib = Fib::new(FibOptions { install: true, max_paths: 4, ..FibOptions::default() });
        let mut world = World {
            kernel,
            fib,
            now: Time(1),
            wanted: BTreeMap::new(),
            between: None,
            sent: VecDeque::new(),
            answers_first: false,
        };
        for link in LINKS {
            let addr = Ipv6Addr::new(0x2001, 0xdb8, link as u16, 0, 0, 0, 0, 9);
            world.fib.track(NextHopId(link), NextHop::new(addr.into()), 0);
        }
        world
    }

    fn set(&mut self, number: u32, links: &[u32]) {
        let (family, dest) = place_of(number);
        let hops: Vec<NextHopId> = links.iter().map(|link| NextHopId(*link)).collect();
        self.fib.set_route(family, dest, &hops);
        match links {
            [] => self.wanted.remove(&number),
            _ => self.wanted.insert(number, links.to_vec()),
        };
    }

    fn receive(&mut self) {
        if std::mem::take(&mut self.kernel.overrun) {
            self.fib.handle_receive_error(self.now, libc::ENOBUFS);
        }
        while let Some(message) = self.kernel.replies.pop_front() {
            self.fib.handle_netlink(self.now, &message);
        }
    }

    fn tell_sent(&mut self) {
        for outcome in self.sent.drain(..) {
            match outcome {
                Ok(()) => self.fib.handle_sent(self.now),
                Err(errno) => self.fib.handle_send_error(self.now, errno),
            }
        }
    }

    fn step(&mut self) -> bool {
        self.answers_first = !self.answers_first;
        if !self.answers_first {
            self.tell_sent();
        }
        self.receive();
        self.tell_sent();
        if let Some(hand) = self.between.take() {
            self.kernel.act_by_hand(hand);
        }
        let mut batch = Vec::new();
        while self.fib.poll_batch(self.now, &Prefixes, &mut batch) {
            self.sent.push_back(self.kernel.send(&batch));
        }
        let sent = !self.sent.is_empty();
        while self.fib.poll_next_hop_change().is_some() {}
        sent
    }

    /// Works, letting time pass, until nothing is left to do.
    fn settle(&mut self) {
        for _ in 0..20_000 {
            if self.step() || !self.kernel.replies.is_empty() {
                continue;
            }
            match self.fib.poll_timeout() {
                // Nothing but the wait for the initial synchronisation.
                None => return,
                Some(at) if at > self.now.plus_s(200) => return,
                Some(at) => self.now = self.now.max(at),
            }
        }
        panic!("never done: {:?}, {:?}", self.fib.stats(), self.fib.poll_timeout());
    }

    fn check(&self) {
        let ours: BTreeMap<Prefix, u32> = self.kernel.routes.iter().map(|(p, (_, id))| (*p, *id)).collect();
        let mut expected = BTreeSet::new();
        for (number, links) in &self.wanted {
            let (family, dest) = place_of(*number);
            let prefix = prefix_of(family, dest);
            expected.insert(prefix);
            let id = ours.get(&prefix).unwrap_or_else(|| panic!("{prefix} is missing"));
            let way = |id| match self.kernel.objects.get(id) {
                Some((_, Object::Single(via))) => via.ifindex,
                other => panic!("{prefix}: {other:?}"),
            };
            let mut over: Vec<u32> = match self.kernel.objects.get(id) {
                Some((_, Object::Group(members))) => members.iter().map(|(id, _)| way(id)).collect(),
                _ => vec![way(id)],
            };
            over.sort_unstable();
            assert_eq!(over, *links, "{prefix}");
        }
        assert_eq!(ours.keys().copied().collect::<BTreeSet<_>>(), expected);
        assert_eq!(self.fib.stats().installed, expected.len() as u64);
    }
}

#[derive(Clone, Debug)]
enum Event {
    Set(u32, u8),
    Step,
    Settle,
    Carrier(u32, bool),
    Refuse(i32, u32),
    SendMax(usize),
    Overrun,
    ByHand(Hand),
    Between(Hand),
}

fn hand() -> impl Strategy<Value = Hand> {
    prop_oneof![
        (0..DESTS).prop_map(Hand::Remove),
        (0..DESTS, 0u32..4).prop_map(|(dest, index)| Hand::Write(dest, index)),
        (0u32..4).prop_map(Hand::RemoveObject),
        (0u32..4).prop_map(Hand::ChangeObject),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (0..DESTS, 0u8..4).prop_map(|(dest, links)| Event::Set(dest, links)),
        6 => Just(Event::Step),
        1 => Just(Event::Settle),
        2 => (1u32..3, any::<bool>()).prop_map(|(link, carrier)| Event::Carrier(link, carrier)),
        2 => (
            prop::sample::select(vec![
                libc::ENOMEM, libc::EINVAL, libc::EPERM, libc::ENODEV, libc::EAGAIN, libc::EHOSTUNREACH,
            ]),
            1u32..4
        )
            .prop_map(|(errno, count)| Event::Refuse(errno, count)),
        1 => prop::sample::select(vec![100, 300, usize::MAX]).prop_map(Event::SendMax),
        1 => Just(Event::Overrun),
        2 => hand().prop_map(Event::ByHand),
        1 => hand().prop_map(Event::Between),
    ]
}

fn links_of(mask: u8) -> Vec<u32> {
    LINKS.into_iter().filter(|link| mask & *link as u8 != 0).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn ends_with_what_is_wanted_whatever_fails(
        events in prop::collection::vec(event(), 1..60),
        restart in any::<bool>(),
    ) {
        // Small batches, so that a few routes make several.
        const SMALL_BATCH: usize = 2;
        let mut world = World::new(Kernel::new());
        world.fib.batch_max = SMALL_BATCH;
        for event in events {
            match event {
                Event::Set(number, mask) => world.set(number, &links_of(mask)),
                Event::Step => {
                    world.step();
                    world.now = world.now.plus_ms(10);
                }
                Event::Settle => world.settle(),
                Event::Carrier(link, carrier) => world.kernel.set_carrier(link, carrier),
                Event::Refuse(errno, count) => world.kernel.refuse = Some((errno, count)),
                Event::SendMax(bytes) => world.kernel.send_max = bytes,
                Event::Overrun => world.kernel.overrun = true,
                Event::ByHand(hand) => world.kernel.act_by_hand(hand),
                Event::Between(hand) => world.between = Some(hand),
            }
        }
        if restart {
            // The process dies and comes back: the peers say the same again.
            let mut again = World::new(std::mem::take(&mut world.kernel));
            again.fib.batch_max = SMALL_BATCH;
            again.kernel.replies.clear();
            again.kernel.overrun = false;
            for (number, links) in std::mem::take(&mut world.wanted) {
                again.set(number, &links);
            }
            world = again;
        }
        // Peace.
        world.kernel.refuse = None;
        world.kernel.send_max = usize::MAX;
        for link in LINKS {
            world.kernel.set_carrier(link, true);
        }
        world.fib.end_of_initial_sync();
        world.settle();
        world.check();
        for number in 0..DESTS {
            world.set(number, &[]);
        }
        world.settle();
        world.check();
        prop_assert!(world.kernel.objects.is_empty(), "left over: {:?}", world.kernel.objects);
        for number in 0..DESTS {
            let (family, dest) = place_of(number);
            prop_assert!(!world.fib.holds(family, dest));
        }
    }
}

/// The prefix of a destination by its number, and what is shown of it.
fn shown(world: &World, number: u32) -> KernelState {
    let (family, dest) = place_of(number);
    world.fib.row_of(family, dest, prefix_of(family, dest)).expect("it is wanted").state
}

#[test]
fn what_others_remove_or_change_is_shown_and_put_back_after_a_second() {
    let mut world = World::new(Kernel::new());
    world.settle();
    for number in 0..3 {
        world.set(number, &[1]);
    }
    world.set(3, &[2]);
    world.settle();
    let prefix = |number| {
        let (family, dest) = place_of(number);
        prefix_of(family, dest)
    };
    let other = world.kernel.routes[&prefix(3)].1;
    world.kernel.remove_by_hand(prefix(0));
    world.kernel.write_by_hand(prefix(1), other);
    while world.step() || !world.kernel.replies.is_empty() {}
    assert_eq!(shown(&world, 0), KernelState::Missing);
    assert_eq!(shown(&world, 1), KernelState::Differs);
    assert_eq!(shown(&world, 2), KernelState::Installed);
    assert_eq!(world.fib.poll_timeout(), Some(world.now.plus_s(1)));
    world.settle();
    world.check();
    assert_eq!([0, 1].map(|number| shown(&world, number)), [KernelState::Installed, KernelState::Installed]);
    let stats = world.fib.stats();
    assert_eq!((stats.mended, stats.repairs), (2, 0), "one by one, without reading the table");
}

#[test]
fn who_removes_a_route_over_and_over_is_answered_less_and_less_often() {
    let mut world = World::new(Kernel::new());
    world.settle();
    world.set(0, &[1]);
    world.settle();
    let (family, dest) = place_of(0);
    // An hour of somebody who removes it as soon as it is there.
    let end = world.now.plus_s(3_600);
    let mut writes = 0;
    while world.now < end {
        if world.kernel.routes.contains_key(&prefix_of(family, dest)) {
            world.kernel.remove_by_hand(prefix_of(family, dest));
            writes += 1;
        }
        if !world.step() && world.kernel.replies.is_empty() {
            world.now = world.fib.poll_timeout().expect("it is to be put back").max(world.now);
        }
    }
    assert!((60..75).contains(&writes), "{writes}");
    world.settle();
    world.check();
}

#[test]
fn an_object_that_is_removed_comes_back_at_once_and_later_if_that_goes_on() {
    let mut world = World::new(Kernel::new());
    world.settle();
    world.set(0, &[1]);
    world.set(1, &[1]);
    world.settle();
    let id = *world.kernel.objects.keys().next().expect("there is one");
    world.kernel.remove_object_by_hand(id);
    while world.step() || !world.kernel.replies.is_empty() {}
    world.check();
    world.kernel.remove_object_by_hand(id);
    while world.step() || !world.kernel.replies.is_empty() {}
    assert_eq!([0, 1].map(|number| shown(&world, number)), [KernelState::Missing, KernelState::Missing]);
    world.settle();
    world.check();
}

#[test]
fn a_flood_of_removals_is_answered_by_reading_the_table() {
    let mut world = World::new(Kernel::new());
    world.settle();
    world.set(0, &[1]);
    world.settle();
    let writer = RouteWriter { table: 254, metric: METRIC, protocol: PROTOCOL };
    let (family, dest) = place_of(0);
    for host in 0..=100_000 {
        let mut message = Vec::new();
        writer.delete(&mut message, 0, Prefix::V4(Prefix4::new(0x0b00_0000 + host, 32)));
        world.kernel.notify(message);
    }
    world.kernel.remove_by_hand(prefix_of(family, dest));
    while world.step() || !world.kernel.replies.is_empty() {}
    assert_eq!(world.fib.stats().repairs, 0, "not while it goes on");
    world.settle();
    world.check();
    assert_eq!(world.fib.stats().repairs, 1);
}

#[test]
fn a_route_with_our_number_that_we_do_not_want_goes() {
    let mut world = World::new(Kernel::new());
    world.settle();
    world.set(0, &[1]);
    world.fib.end_of_initial_sync();
    world.settle();
    let id = *world.kernel.objects.keys().next().expect("there is one");
    let (family, dest) = place_of(7);
    world.kernel.write_by_hand(prefix_of(family, dest), id);
    world.settle();
    world.check();
}

#[test]
fn while_selection_is_deferred_what_is_stale_keeps_forwarding_and_what_is_new_goes_in() {
    let mut first = World::new(Kernel::new());
    first.settle();
    first.set(0, &[1]);
    first.set(1, &[1]);
    first.set(2, &[1]);
    first.settle();
    let mut world = World::new(std::mem::take(&mut first.kernel));
    world.kernel.replies.clear();
    for family in Family::ALL {
        world.fib.hold_stale(family, true);
    }
    world.settle();
    let before = world.kernel.routes.clone();
    // Another way, the same way, and a prefix that the kernel does not have.
    world.set(0, &[2]);
    world.set(2, &[1]);
    world.set(4, &[2]);
    world.settle();
    assert!(before.iter().all(|(prefix, route)| world.kernel.routes.get(prefix) == Some(route)));
    let states = [(0, KernelState::Deferred), (2, KernelState::Installed), (4, KernelState::Installed)];
    for (number, state) in states {
        assert_eq!(shown(&world, number), state);
    }
    for family in Family::ALL {
        world.fib.hold_stale(family, false);
    }
    world.settle();
    assert_eq!(shown(&world, 0), KernelState::Installed);
    world.fib.end_of_initial_sync();
    world.settle();
    world.check();
}

#[test]
fn a_batch_has_one_acknowledgement() {
    let mut world = World::new(Kernel::new());
    world.settle();
    world.set(0, &[1]);
    world.settle();
    let before = world.kernel.acks;
    for number in 0..DESTS {
        world.set(number, &[2]);
    }
    world.settle();
    // The object, the routes, and the removal of the old object.
    assert_eq!(world.kernel.acks - before, 3);
    world.check();
}

/// A domain with small batches whose objects are in the kernel, and that wants more routes than two batches hold.
fn with_many_routes() -> World {
    let mut world = World::new(Kernel::new());
    world.settle();
    world.fib.batch_max = 2;
    world.set(0, &[1]);
    world.set(1, &[2]);
    world.settle();
    for number in 2..8 {
        world.set(number, &[1]);
    }
    world
}

fn batch(world: &mut World) -> Option<Vec<u8>> {
    let mut batch = Vec::new();
    world.fib.poll_batch(world.now, &Prefixes, &mut batch).then_some(batch)
}

#[test]
fn one_batch_waits_behind_one_of_routes_and_none_behind_objects() {
    let mut world = with_many_routes();
    let first = batch(&mut world).unwrap();
    let second = batch(&mut world).unwrap();
    assert_eq!(batch(&mut world), None, "two are enough");
    assert_eq!(world.fib.poll_timeout(), None, "however long the kernel takes, sends end");
    world.kernel.send(&first).unwrap();
    world.receive();
    assert_eq!(world.fib.stats().installed, 4, "answers may come before the end of the send is told");
    assert_eq!(batch(&mut world), None, "the sender still has two");
    world.fib.handle_sent(world.now);
    let third = batch(&mut world).unwrap();
    for sent in [second, third] {
        world.kernel.send(&sent).unwrap();
        world.fib.handle_sent(world.now);
    }
    world.receive();
    assert_eq!(world.fib.stats().installed, 8);

    world.set(0, &[1, 2]);
    world.set(2, &[2]);
    let object = batch(&mut world).unwrap();
    assert_eq!(Messages::new(&object).next().unwrap().kind, netlink::RTM_NEWNEXTHOP);
    assert_eq!(batch(&mut world), None, "its routes wait until it is there");
    world.kernel.send(&object).unwrap();
    world.fib.handle_sent(world.now);
    world.settle();
    world.check();
}

#[test]
fn of_two_sends_the_one_that_fails_is_repeated() {
    for fails in [0, 1] {
        let mut world = with_many_routes();
        let batches = [batch(&mut world).unwrap(), batch(&mut world).unwrap()];
        for (number, batch) in batches.iter().enumerate() {
            if number == fails {
                world.fib.handle_send_error(world.now, libc::ENOBUFS);
            } else {
                world.kernel.send(batch).unwrap();
                world.fib.handle_sent(world.now);
            }
        }
        world.receive();
        assert_eq!(world.fib.stats().installed, 4);
        world.settle();
        world.check();
        assert_eq!(world.fib.stats().repairs, 0, "what was not done is known");
    }
}

#[test]
fn after_an_overrun_the_table_is_read_behind_the_sends() {
    let mut world = with_many_routes();
    let batches = [batch(&mut world).unwrap(), batch(&mut world).unwrap()];
    world.fib.handle_receive_error(world.now, libc::ENOBUFS);
    assert_eq!(batch(&mut world), None);
    world.kernel.send(&batches[0]).unwrap();
    world.fib.handle_sent(world.now);
    assert_eq!(batch(&mut world), None, "the second is still on its way");
    // Nobody waits for it any more: what became of it will be read.
    world.fib.handle_send_error(world.now, libc::EMSGSIZE);
    world.settle();
    world.check();
}

#[test]
fn silence_counts_from_the_end_of_the_send() {
    let mut world = with_many_routes();
    let batch = batch(&mut world).unwrap();
    world.now = world.now.plus_s(60);
    assert_eq!(world.fib.poll_timeout(), None);
    world.fib.handle_sent(world.now);
    assert_eq!(world.fib.poll_timeout(), Some(world.now.plus_s(10)));
    world.kernel.send(&batch).unwrap();
    world.settle();
    world.check();
    assert_eq!(world.fib.stats().repairs, 0);
}

#[test]
fn the_newest_wish_wins_and_costs_one_write() {
    let mut world = World::new(Kernel::new());
    world.settle();
    world.set(0, &[1]);
    world.set(1, &[2]);
    world.settle();
    let before = world.fib.stats().requests;
    for links in [&[2][..], &[], &[1], &[2], &[1]] {
        world.set(0, links);
    }
    world.settle();
    assert_eq!(world.fib.stats().requests, before, "it ended where it began");
    world.set(0, &[]);
    world.set(0, &[2]);
    world.settle();
    world.check();
}

#[test]
fn want_of_privilege_is_said_and_gets_over_with() {
    let mut world = World::new(Kernel::new());
    world.settle();
    world.kernel.refuse = Some((libc::EPERM, 1));
    world.set(0, &[1]);
    while world.fib.complaint().is_none() {
        world.step();
    }
    assert!(world.fib.complaint().is_some_and(|complaint| complaint.contains("CAP_NET_ADMIN")));
    world.settle();
    assert_eq!(world.fib.complaint(), None);
    world.check();
}

#[test]
fn a_kernel_without_next_hop_objects_is_named() {
    let mut world = World::new(Kernel::new());
    world.settle();
    world.kernel.refuse = Some((libc::EOPNOTSUPP, 1));
    world.set(0, &[1]);
    while world.fib.complaint().is_none() {
        world.step();
    }
    assert!(world.fib.complaint().is_some_and(|complaint| complaint.contains("5.3")));
}

#[test]
fn an_id_that_is_taken_is_passed_over() {
    let mut kernel = Kernel::new();
    let mut world = World::new(Kernel::new());
    world.settle();
    // Made behind our back: no notification tells.
    let first = 0x4000_0000 + (id_slot(254) << 18);
    let theirs = Object::Group(Members::from_slice(&[(7, 1)]));
    kernel.objects.insert(first, (4, theirs.clone()));
    kernel.objects.insert(first + 1, (4, theirs.clone()));
    world.kernel = kernel;
    world.set(0, &[1]);
    world.settle();
    world.check();
    assert_eq!(world.kernel.objects.get(&first), Some(&(4, theirs)));
}

#[test]
fn more_next_hops_than_ids_leave_routes_waiting_until_ids_are_free() {
    const USED: u32 = 5_000;
    const MORE: u32 = 300;
    let mut world = World::new(Kernel::new());
    world.settle();
    world.fib.objects.ids_used_max = USED as usize;
    let set = |world: &mut World, number: u32| {
        let addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 1, (number >> 16) as u16, number as u16);
        world.fib.track(NextHopId(100 + number), NextHop::new(addr.into()), 0);
        world.fib.set_route(Family::Ipv6Unicast, DestId(number), &[NextHopId(100 + number)]);
    };
    (0..USED + MORE).for_each(|number| set(&mut world, number));
    world.settle();
    assert_eq!((world.fib.stats().installed, world.kernel.routes.len()), (USED.into(), USED as usize));
    let installed: Vec<u32> = (0..USED + MORE)
        .filter(|number| world.kernel.routes.contains_key(&prefix_of(Family::Ipv6Unicast, DestId(*number))))
        .take(MORE as usize)
        .collect();
    installed.iter().for_each(|number| world.fib.remove_route(Family::Ipv6Unicast, DestId(*number)));
    world.settle();
    assert_eq!((world.fib.stats().installed, world.fib.stats().troubled), (USED.into(), 0));
}

#[test]
fn a_domain_that_does_not_install_only_reads() {
    let mut kernel = Kernel::new();
    kernel.objects.insert(0x4000_0000, (PROTOCOL, Object::Other));
    kernel.routes.insert(prefix_of(Family::Ipv4Unicast, DestId(1)), (PROTOCOL, 0x4000_0000));
    let mut world = World::new(kernel);
    world.fib = Fib::new(FibOptions::default());
    world.fib.track(NextHopId(7), NextHop::new("2001:db8:1::9".parse().unwrap()), 0);
    world.set(0, &[1]);
    while world.step() || !world.kernel.replies.is_empty() {}
    world.fib.end_of_initial_sync();
    world.fib.poll_timeout();
    while world.step() {}
    assert!(world.fib.is_ready());
    assert_eq!(world.kernel.routes.len(), 1, "another instance's routes are left alone");
    assert!(!world.fib.holds(Family::Ipv4Unicast, DestId(0)));
}
