//! What update groups promise, one promise at a time, on a table that many peers want.

use std::io::IoSlice;
use std::net::Ipv4Addr;
use std::rc::Rc;

use smallvec::SmallVec;

use super::*;
use crate::rib::{DecisionOptions, PeerInfo};
use crate::types::{FamilySet, PeerKind, Prefix4, RouterId};
use crate::wire::AttributeEditor;
use crate::wire::attrs::Origin;
use crate::wire::frame::{MessageKind, next_frame};
use crate::wire::{DecodeContext, decode_update};

const FAMILY: Family = Family::Ipv4Unicast;
const BUDGET: usize = 1000;
/// Messages of one byte less than the limit may lie in the ring when the next batch comes.
const OVERSHOOT_BYTES: usize = 4096;

struct World {
    rib: Rib,
    groups: UpdateGroups,
    now: Time,
}

/// What a peer was told, message by message.
#[derive(Debug, Default, PartialEq)]
struct Heard {
    announced: usize,
    withdrawn: usize,
    ends: usize,
    bytes: usize,
}

impl World {
    fn new(limits: ExportLimits) -> World {
        let options = DecisionOptions { max_paths: 1, ..DecisionOptions::default() };
        World { rib: Rib::new(options, 1), groups: UpdateGroups::new(limits), now: Time(0) }
    }

    fn join(&mut self, peer: u32) {
        let address = Ipv4Addr::from(0x0a00_0000 + peer).into();
        let info = PeerInfo { kind: PeerKind::Client, router_id: RouterId(peer), address, asn: 65000 };
        self.rib.set_peer(PeerId(peer), info);
        let key = GroupKey {
            family: FAMILY,
            kind: PeerKind::Client,
            local_asn: 65000,
            cluster_id: RouterId(1),
            four_octet_as: true,
            message_bytes_max: 4096,
            extended_next_hop: false,
            policy: Rc::from("accept"),
            next_hop: NextHopRule::default(),
        };
        self.groups.join(PeerId(peer), key, &Rc::new(Policy::accept()));
    }

    /// `local_pref` also makes the attribute set a new one.
    fn announce(&mut self, peer: u32, numbers: std::ops::Range<u32>, local_pref: u32) {
        let mut block = Vec::new();
        AttributeEditor::on(&mut block)
            .set_origin(Origin::Igp)
            .set_as_path(&[64999])
            .set_local_pref(local_pref);
        let attrs = self.rib.intern(&block, NextHop::new([10, 1, 1, peer as u8].into()));
        let prefixes: Vec<Prefix4> = numbers.map(|number| Prefix4::new(number << 8, 24)).collect();
        self.rib.announce4(PeerId(peer), attrs, &prefixes);
        self.rib.release(attrs);
        self.decide();
    }

    fn decide(&mut self) {
        let mut changed = [Vec::new(), Vec::new()];
        while self.rib.decide(BUDGET, &mut changed) {}
        self.groups.changed(FAMILY, &changed[FAMILY.index()]);
    }

    fn drain(&mut self) {
        while self.groups.drain(&self.rib, self.now, BUDGET) {}
    }

    /// Sends a peer all that there is for it now.
    fn hear(&mut self, peer: u32) -> Heard {
        let context = DecodeContext {
            four_octet_as: true,
            external: false,
            families: FamilySet::ALL,
            add_path: FamilySet::EMPTY,
            extended_next_hop: false,
        };
        let mut heard = Heard::default();
        let mut stream = Vec::new();
        loop {
            let mut slices: SmallVec<[IoSlice<'_>; SLICES_MAX]> = SmallVec::new();
            self.groups.fill(PeerId(peer), &mut slices);
            let before = stream.len();
            slices.iter().for_each(|slice| stream.extend_from_slice(slice));
            drop(slices);
            if stream.len() == before {
                break;
            }
            self.groups.sent(PeerId(peer), stream.len() - before);
        }
        heard.bytes = stream.len();
        let mut rest = &stream[..];
        while let Some(frame) = next_frame(rest, 4096).expect("a good header") {
            assert_eq!(frame.kind, MessageKind::Update);
            let view = decode_update(frame.body, &context).expect("a good UPDATE");
            heard.announced += view.announcements().map(|reach| reach.nlri.iter().count()).sum::<usize>();
            heard.withdrawn += view.withdrawals().map(|nlri| nlri.iter().count()).sum::<usize>();
            heard.ends += usize::from(view.end_of_rib().is_some());
            rest = &rest[frame.len..];
        }
        assert!(rest.is_empty(), "whole messages only");
        heard
    }

    fn drain_and_hear(&mut self, peer: u32) -> Heard {
        self.drain();
        let heard = self.hear(peer);
        Heard { bytes: 0, ..heard }
    }

    fn ring_bytes(&self) -> usize {
        self.groups.groups().map(|view| view.ring_bytes).sum()
    }
}

fn heard(announced: usize, withdrawn: usize, ends: usize) -> Heard {
    Heard { announced, withdrawn, ends, bytes: 0 }
}

#[test]
fn peers_that_come_up_together_are_encoded_the_table_once() {
    let mut one = World::new(ExportLimits::default());
    one.announce(0, 0..2000, 100);
    one.join(1);
    one.drain();
    let mut many = World::new(ExportLimits::default());
    many.announce(0, 0..2000, 100);
    (1..=300).for_each(|peer| many.join(peer));
    many.drain();
    assert!(one.ring_bytes() > 8000);
    assert_eq!(many.ring_bytes(), one.ring_bytes());
    for peer in 1..=300 {
        assert_eq!(many.drain_and_hear(peer), heard(2000, 0, 1));
    }
}

#[test]
fn only_the_new_source_is_withdrawn_a_route_that_moves_to_it() {
    let mut world = World::new(ExportLimits::default());
    (1..=3).for_each(|peer| world.join(peer));
    world.announce(1, 0..10, 100);
    assert_eq!(world.drain_and_hear(1), heard(0, 0, 1));
    assert_eq!(world.drain_and_hear(2), heard(10, 0, 1));
    assert_eq!(world.drain_and_hear(3), heard(10, 0, 1));
    world.announce(2, 0..4, 200);
    assert_eq!(world.drain_and_hear(1), heard(4, 0, 0));
    assert_eq!(world.drain_and_hear(2), heard(0, 4, 0));
    assert_eq!(world.drain_and_hear(3), heard(4, 0, 0));
}

#[test]
fn a_route_that_changes_and_goes_before_its_turn_is_not_told() {
    let mut world = World::new(ExportLimits::default());
    world.join(1);
    assert_eq!(world.drain_and_hear(1), heard(0, 0, 1));
    world.announce(0, 0..10, 100);
    world.announce(0, 0..10, 200);
    world.rib.withdraw4(PeerId::LOCAL, &[Prefix4::new(0, 24)]);
    world.decide();
    assert_eq!(world.drain_and_hear(1), heard(9, 0, 0));
}

#[test]
fn nothing_is_told_of_a_family_that_is_held_and_then_the_newest_state() {
    let mut world = World::new(ExportLimits::default());
    world.groups.hold(FAMILY, true);
    world.join(1);
    world.announce(0, 0..10, 100);
    assert_eq!(world.drain_and_hear(1), heard(0, 0, 0));
    world.announce(0, 5..15, 200);
    assert_eq!(world.drain_and_hear(1), heard(0, 0, 0));
    world.groups.hold(FAMILY, false);
    assert_eq!(world.drain_and_hear(1), heard(15, 0, 1));
    assert_eq!(world.drain_and_hear(1), heard(0, 0, 0));
}

/// A peer that takes nothing costs bounded memory, holds nobody up beyond the grace time, and has the
/// newest state when it wakes up.
#[test]
fn nobody_waits_for_a_peer_that_stalls() {
    let limits = ExportLimits { ring_bytes_max: 20_000, lag_grace_ms: 50 };
    let mut world = World::new(limits);
    (1..=3).for_each(|peer| world.join(peer));
    world.drain();
    (1..=3).for_each(|peer| assert_eq!(world.hear(peer).ends, 1));
    let (mut two, mut three) = (0, 0);
    for round in 0..200 {
        world.announce(0, 0..500, 100 + round);
        world.now = world.now.plus_ms(10);
        world.drain();
        two += world.hear(2).announced;
        three += world.hear(3).announced;
        assert!(world.ring_bytes() <= limits.ring_bytes_max + OVERSHOOT_BYTES);
    }
    world.drain();
    two += world.hear(2).announced;
    three += world.hear(3).announced;
    assert_eq!(two, three);
    // Rounds that fell into the grace time were told as one: the newest state wins.
    assert!(two > 190 * 500, "{two} routes in 200 rounds");
    assert_eq!(world.groups.groups().map(|view| view.lagging).sum::<usize>(), 1);
    let (mut told, mut rounds) = (0, 0);
    while told < 500 || world.groups.wants_drain() {
        told += world.hear(1).announced;
        world.drain();
        rounds += 1;
        assert!(rounds < 100);
    }
    assert_eq!(world.groups.groups().map(|view| view.lagging).sum::<usize>(), 0);
    // What it had not taken when it left the ring, and no more than once.
    assert!((500..500 + 20_000 / 4).contains(&told), "{told} routes to catch up");
}

/// Whoever leaves the ring is encoded for alone. Where many are behind it is rather the few others that happen to be
/// ahead: they are waited for longer, though not for ever.
#[test]
fn many_that_lag_are_waited_for_longer_than_one() {
    let lagging_after = |peers: u32, ms: u64| {
        let limits = ExportLimits { ring_bytes_max: 20_000, lag_grace_ms: 50 };
        let mut world = World::new(limits);
        (1..=peers).for_each(|peer| world.join(peer));
        world.drain();
        (1..=peers).for_each(|peer| assert_eq!(world.hear(peer).ends, 1));
        for round in 0..ms / 10 {
            world.announce(0, 0..5000, 100 + round as u32);
            world.now = world.now.plus_ms(10);
            world.drain();
            // Only the last one reads.
            world.hear(peers);
        }
        world.groups.groups().map(|view| view.lagging).sum::<usize>()
    };
    assert_eq!(lagging_after(2, 100), 1);
    assert_eq!(lagging_after(9, 100), 0);
    assert_eq!(lagging_after(9, 600), 8);
    assert_eq!(lagging_after(99, 600), 0);
    assert_eq!(lagging_after(99, 1500), 98);
}

#[test]
fn a_peer_that_asks_is_told_the_table_again() {
    let mut world = World::new(ExportLimits::default());
    (1..=2).for_each(|peer| world.join(peer));
    world.announce(0, 0..10, 100);
    world.announce(1, 10..15, 100);
    assert_eq!(world.drain_and_hear(1), heard(10, 0, 1));
    assert_eq!(world.drain_and_hear(2), heard(15, 0, 1));
    world.groups.refresh(PeerId(1), FAMILY, false);
    assert_eq!(world.drain_and_hear(1), heard(10, 0, 0));
    assert_eq!(world.drain_and_hear(2), heard(0, 0, 0));
}
