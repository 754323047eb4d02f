//! Whatever happens in whatever order, every peer ends up with what the Loc-RIB says it should have.
//!
//! A real table, real groups, and peers that decode what they are sent, driven by a seeded random walk over
//! joins, leaves, announcements, withdrawals, stalls, sends of any number of bytes, refreshes, changes of
//! policy and of group. On the way no peer is withdrawn a route that it does not have, none gets its own
//! routes back, none sees more than one End-of-RIB; at rest its table is the one recomputed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IoSlice;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

use smallvec::SmallVec;

use super::*;
use crate::policy::{NamedSet, Policies, PolicyDefinition, PolicyModel, PrefixRange, Rule, Then, Verdict};
use crate::rib::{DecisionOptions, PeerInfo, Sweep};
use crate::types::{FamilySet, PeerKind, Prefix, Prefix4, Prefix6, RouterId};
use crate::wire::attrs::{PathAttributes, community};
use crate::wire::frame::{self, MessageKind, next_frame};
use crate::wire::route_refresh::{RefreshKind, RouteRefresh};
use crate::wire::{AttributeEditor, DecodeContext, canonicalize, decode_update};

const PEERS: u32 = 9;
const PREFIXES: u32 = 60;
const ASN: u32 = 65000;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    fn below(&mut self, limit: u32) -> u32 {
        (self.next() % u64::from(limit)) as u32
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.below(n) == 0
    }
}

/// A peer as it sees itself: what it has been told.
struct Receiver {
    id: PeerId,
    context: DecodeContext,
    bytes: Vec<u8>,
    /// UPDATEs that it has got whole.
    updates: u32,
    /// Prefixes that it has been told and not withdrawn.
    had: BTreeSet<Prefix>,
    /// What it knows; emptied when it asks for a refresh without marks, as if it had lost its memory.
    table: BTreeMap<Prefix, (Vec<u8>, NextHop)>,
    /// Prefixes not told again since the beginning of an enhanced refresh.
    stale: [Option<BTreeSet<Prefix>>; 2],
    ends: [u32; 2],
    stalled: bool,
}

impl Receiver {
    fn new(id: PeerId, external: bool) -> Receiver {
        let context = DecodeContext {
            four_octet_as: true,
            external,
            families: FamilySet::ALL,
            add_path: FamilySet::EMPTY,
            extended_next_hop: false,
        };
        Receiver {
            id,
            context,
            bytes: Vec::new(),
            updates: 0,
            had: BTreeSet::new(),
            table: BTreeMap::new(),
            stale: [None, None],
            ends: [0; 2],
            stalled: false,
        }
    }

    fn receive(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        let bytes = std::mem::take(&mut self.bytes);
        let mut rest = &bytes[..];
        while let Some(frame) = next_frame(rest, 4096).expect("a good header") {
            let len = frame::announced_len(rest).expect("there is a header");
            match frame.kind {
                MessageKind::Update => {
                    self.updates += 1;
                    self.update(frame.body);
                }
                MessageKind::RouteRefresh => self.mark(frame.body),
                MessageKind::Keepalive => {}
                other => panic!("{other:?} from an update group"),
            }
            rest = &rest[len..];
        }
        self.bytes = rest.to_vec();
    }

    fn mark(&mut self, body: &[u8]) {
        let refresh = RouteRefresh::decode(body, true).expect("a good ROUTE-REFRESH");
        let family = refresh.family().expect("a family that we route");
        let stale = &mut self.stale[family.index()];
        match refresh.kind {
            RefreshKind::Begin => {
                *stale = Some(self.had.iter().copied().filter(|prefix| prefix.family() == family).collect());
            }
            RefreshKind::End => {
                let stale = stale.take().expect("no end without a beginning");
                assert!(stale.is_empty(), "{:?}: the refresh left out {stale:?}", self.id);
            }
            other => panic!("{other:?} from an update group"),
        }
    }

    fn update(&mut self, body: &[u8]) {
        let view = decode_update(body, &self.context).expect("a good UPDATE");
        assert!(view.findings().is_empty(), "{:?}", view.findings());
        if let Some(family) = view.end_of_rib() {
            self.ends[family.index()] += 1;
            assert_eq!(self.ends[family.index()], 1, "{:?}: End-of-RIB twice", self.id);
        }
        for nlri in view.withdrawals() {
            for route in nlri {
                let prefix = route.prefix;
                assert!(self.had.remove(&prefix), "{:?}: withdrawn {prefix}, which it has not", self.id);
                self.table.remove(&prefix);
                for stale in self.stale.iter_mut().flatten() {
                    stale.remove(&prefix);
                }
            }
        }
        let mut block = Vec::new();
        for reach in view.announcements() {
            canonicalize(&view, &mut block);
            let own = PathAttributes::new(&block).communities().any(|value| value == source_mark(self.id));
            assert!(!own, "{:?}: its own route back", self.id);
            for route in reach.nlri {
                self.had.insert(route.prefix);
                self.table.insert(route.prefix, (block.clone(), reach.next_hop));
                for stale in self.stale.iter_mut().flatten() {
                    stale.remove(&route.prefix);
                }
            }
        }
    }
}

/// A community that says who gave us a route.
fn source_mark(peer: PeerId) -> u32 {
    (ASN << 16) | peer.0
}

struct World {
    random: Random,
    rib: Rib,
    groups: UpdateGroups,
    receivers: BTreeMap<PeerId, Receiver>,
    /// How often a peer's key has been changed, by which the key is chosen.
    variant: Vec<u32>,
    policies: Policies,
    now: Time,
    changed: [Vec<DestId>; 2],
}

fn peer_info(peer: u32) -> PeerInfo {
    let kind = match peer % 4 {
        0 => PeerKind::External,
        1 => PeerKind::Internal,
        _ => PeerKind::Client,
    };
    let asn = if kind == PeerKind::External { 64000 + peer } else { ASN };
    let address = IpAddr::V4(Ipv4Addr::new(10, 0, 0, peer as u8));
    PeerInfo { kind, router_id: RouterId(0x0a00_0000 + peer), address, asn }
}

fn prefix_of(family: Family, number: u32) -> Prefix {
    match family {
        Family::Ipv4Unicast => Prefix::V4(Prefix4::new(number << 12, 20 + (number % 9) as u8)),
        Family::Ipv6Unicast => {
            Prefix::V6(Prefix6::new(0x2001_0db8 << 96 | u128::from(number) << 72, 48 + (number % 17) as u8))
        }
    }
}

/// Rejects the prefixes of one half of the table, and sets a MED on some others.
fn policies(upper: bool) -> Policies {
    let middle = PREFIXES / 2;
    let half = if upper { middle..PREFIXES } else { 0..middle };
    let ranges = half
        .map(|number| prefix_of(Family::Ipv4Unicast, number))
        .map(|prefix| PrefixRange { prefix, ge: prefix.len(), le: prefix.len() })
        .collect();
    let mut reject = Rule { then: Then::Reject, ..Rule::default() };
    reject.matches.prefix_set = Some("half".to_string());
    let model = PolicyModel {
        prefix_sets: vec![NamedSet { name: "half".to_string(), members: ranges }],
        policies: vec![PolicyDefinition {
            name: "half".to_string(),
            rules: vec![reject],
            default: Verdict::Accept,
        }],
        ..PolicyModel::default()
    };
    Policies::compile(&model).expect("a good model")
}

impl World {
    fn new(seed: u64) -> World {
        let mut rib = Rib::new(DecisionOptions { max_paths: 1, ..DecisionOptions::default() }, seed);
        for peer in 1..=PEERS {
            rib.set_peer(PeerId(peer), peer_info(peer));
        }
        let limits = ExportLimits { ring_bytes_max: 1500, lag_grace_ms: 10 };
        World {
            random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            rib,
            groups: UpdateGroups::new(limits),
            receivers: BTreeMap::new(),
            variant: vec![0; PEERS as usize + 1],
            policies: policies(false),
            now: Time(0),
            changed: [Vec::new(), Vec::new()],
        }
    }

    fn key(&self, peer: PeerId, family: Family) -> GroupKey {
        let info = peer_info(peer.0);
        let variant = self.variant[peer.index()];
        GroupKey {
            family,
            kind: info.kind,
            local_asn: ASN + variant / 2 % 2,
            cluster_id: RouterId(1),
            four_octet_as: true,
            message_bytes_max: 4096,
            extended_next_hop: false,
            policy: Rc::from(if variant.is_multiple_of(2) { "accept" } else { "half" }),
            next_hop: NextHopRule {
                self_v4: Some(Ipv4Addr::new(10, 9, 9, 9)),
                self_v6: Some(Ipv6Addr::new(0x2001, 0xdb8, 9, 9, 0, 0, 0, 9)),
                ..NextHopRule::default()
            },
        }
    }

    fn policy(&self, key: &GroupKey) -> Rc<Policy> {
        match &*key.policy {
            "half" => Rc::clone(self.policies.get("half").expect("it is compiled")),
            _ => Rc::new(Policy::accept()),
        }
    }

    fn peer(&mut self) -> PeerId {
        PeerId(1 + self.random.below(PEERS))
    }

    fn family(&mut self) -> Family {
        Family::ALL[self.random.below(2) as usize]
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..5 => self.join_or_leave(),
            5..25 => self.announce(),
            25..35 => self.withdraw(),
            35..37 => self.refresh(),
            37..39 => self.regroup(),
            39..40 => {
                self.policies = policies(self.random.one_in(2));
                let policy = Rc::clone(self.policies.get("half").expect("it is compiled"));
                self.groups.set_policy(&policy);
            }
            40..42 => {
                let (family, hold) = (self.family(), self.random.one_in(2));
                self.groups.hold(family, hold);
            }
            42..45 => {
                let peer = self.peer();
                let stalled = !self.random.one_in(3);
                if let Some(receiver) = self.receivers.get_mut(&peer) {
                    receiver.stalled = stalled;
                }
            }
            45..70 => {
                self.now = self.now.plus_ms(u64::from(self.random.below(8)));
                let budget = 1 + self.random.below(30) as usize;
                // Sometimes decisions are still due, as when a table loads.
                let decisions = [1, 10, 1000][self.random.below(3) as usize];
                self.decide(decisions);
                self.groups.drain(&self.rib, self.now, budget);
            }
            70..72 => {
                self.decide(1000);
                let groups = &self.groups;
                self.rib.collect(20, false, &|family, dest| groups.holds(family, dest));
            }
            _ => self.send_some(),
        }
        self.groups.check_invariants();
    }

    fn join_or_leave(&mut self) {
        let peer = self.peer();
        if self.receivers.remove(&peer).is_some() {
            self.groups.leave(peer);
            // Sometimes it is restarting and its routes stay.
            if !self.random.one_in(3) {
                self.rib.sweep(Sweep::Peer(peer));
            }
            return;
        }
        let external = peer_info(peer.0).kind == PeerKind::External;
        self.receivers.insert(peer, Receiver::new(peer, external));
        for family in Family::ALL {
            let key = self.key(peer, family);
            let policy = self.policy(&key);
            self.groups.join(peer, key, &policy);
        }
    }

    fn announce(&mut self) {
        let source = PeerId(self.random.below(PEERS + 1));
        let family = self.family();
        let (first, count) = (self.random.below(PREFIXES), 1 + self.random.below(12));
        let variant = self.random.below(6);
        let mut communities = vec![source_mark(source), variant];
        match self.random.below(12) {
            0 => communities.push(community::NO_EXPORT),
            1 => communities.push(community::NO_ADVERTISE),
            _ => {}
        }
        let mut block = Vec::new();
        let mut editor = AttributeEditor::on(&mut block);
        editor.set_origin(crate::wire::attrs::Origin::Igp);
        editor.set_as_path(&[64100 + variant, 64200][..self.random.below(3) as usize]);
        editor.set_local_pref(100 + self.random.below(3));
        editor.set_med(variant).add_communities(&communities);
        let next_hop = match family {
            _ if source == PeerId::LOCAL && family == Family::Ipv4Unicast => Ipv4Addr::UNSPECIFIED.into(),
            _ if source == PeerId::LOCAL => Ipv6Addr::UNSPECIFIED.into(),
            Family::Ipv4Unicast => IpAddr::V4(Ipv4Addr::new(10, 0, 1, source.0 as u8)),
            Family::Ipv6Unicast => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, source.0 as u16)),
        };
        let attrs = self.rib.intern(&block, NextHop::new(next_hop));
        for number in first..(first + count).min(PREFIXES) {
            match prefix_of(family, number) {
                Prefix::V4(prefix) => self.rib.announce4(source, attrs, &[prefix]),
                Prefix::V6(prefix) => self.rib.announce6(source, attrs, &[prefix]),
            }
        }
        self.rib.release(attrs);
    }

    fn withdraw(&mut self) {
        let source = PeerId(self.random.below(PEERS + 1));
        let family = self.family();
        let (first, count) = (self.random.below(PREFIXES), 1 + self.random.below(30));
        for number in first..(first + count).min(PREFIXES) {
            match prefix_of(family, number) {
                Prefix::V4(prefix) => self.rib.withdraw4(source, &[prefix]),
                Prefix::V6(prefix) => self.rib.withdraw6(source, &[prefix]),
            }
        }
    }

    fn refresh(&mut self) {
        let (peer, family, enhanced) = (self.peer(), self.family(), self.random.one_in(2));
        if let Some(receiver) = self.receivers.get_mut(&peer) {
            if !enhanced {
                receiver.table.retain(|prefix, _| prefix.family() != family);
            }
            self.groups.refresh(peer, family, enhanced);
        }
    }

    fn regroup(&mut self) {
        let peer = self.peer();
        // One peer, or all that are like it.
        let alone = self.random.one_in(2);
        let kind = peer_info(peer.0).kind;
        let old = self.variant[peer.index()];
        let peers: Vec<PeerId> = (1..=PEERS)
            .map(PeerId)
            .filter(|other| {
                let alike = peer_info(other.0).kind == kind && self.variant[other.index()] == old;
                *other == peer || (!alone && alike)
            })
            .collect();
        let variant = self.random.below(4);
        for peer in &peers {
            self.variant[peer.index()] = variant;
        }
        for family in Family::ALL {
            let key = self.key(peer, family);
            let policy = self.policy(&key);
            self.groups.regroup(&peers, key, &policy);
        }
    }

    /// Decides about so many destinations; returns whether more wait.
    fn decide(&mut self, budget: usize) -> bool {
        let more = self.rib.decide(budget, &mut self.changed);
        for family in Family::ALL {
            self.groups.changed(family, &self.changed[family.index()]);
            self.changed[family.index()].clear();
        }
        more
    }

    fn send_some(&mut self) {
        let ready = self.groups.poll_ready();
        let peer = if self.random.one_in(2) { ready.unwrap_or(PeerId(1)) } else { self.peer() };
        self.send(peer, true);
    }

    /// Returns whether bytes went out.
    fn send(&mut self, peer: PeerId, partly: bool) -> bool {
        let Some(receiver) = self.receivers.get_mut(&peer).filter(|receiver| !receiver.stalled) else {
            return false;
        };
        if self.groups.at_boundary(peer) {
            let mut keepalive = Vec::new();
            frame::encode_keepalive(&mut keepalive);
            receiver.receive(&keepalive);
        }
        let mut slices: SmallVec<[IoSlice<'_>; SLICES_MAX]> = SmallVec::new();
        self.groups.fill(peer, &mut slices);
        assert!(slices.len() <= SLICES_MAX);
        let mut bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        drop(slices);
        if partly {
            bytes.truncate(self.random.below(bytes.len() as u32 + 1) as usize);
        }
        let before = receiver.updates;
        receiver.receive(&bytes);
        assert_eq!(self.groups.sent(peer, bytes.len()), receiver.updates - before);
        !bytes.is_empty()
    }

    /// Lets everything come to rest and compares.
    fn settle(&mut self) {
        for family in Family::ALL {
            self.groups.hold(family, false);
        }
        for receiver in self.receivers.values_mut() {
            receiver.stalled = false;
        }
        let mut rounds = 0;
        loop {
            let mut busy = self.decide(1000);
            busy |= self.groups.drain(&self.rib, self.now, 50);
            for peer in 1..=PEERS {
                busy |= self.send(PeerId(peer), false);
            }
            self.groups.check_invariants();
            busy |= self.groups.wants_drain();
            rounds += 1;
            assert!(rounds < 10_000, "it does not come to rest");
            if !busy {
                break;
            }
        }
        assert_eq!(self.groups.deadline(), None);
        for view in self.groups.groups() {
            assert_eq!((view.pending, view.ring_bytes, view.lagging), (0, 0, 0), "{view:?}");
        }
        for receiver in self.receivers.values() {
            self.compare(receiver);
        }
        for family in Family::ALL {
            for dest in 0..self.rib.dest_end(family) {
                if self.rib.best(family, DestId(dest)).is_none() {
                    assert!(!self.groups.holds(family, DestId(dest)), "{dest} is held for nothing");
                }
            }
        }
    }

    fn compare(&self, receiver: &Receiver) {
        let peer = receiver.id;
        assert!(receiver.bytes.is_empty() && self.groups.at_boundary(peer) && !self.groups.has_data(peer));
        assert_eq!(receiver.ends, [1, 1], "{peer:?}: End-of-RIB");
        assert!(receiver.stale.iter().all(Option::is_none), "{peer:?}: a refresh without an end");
        let mut expected = BTreeMap::new();
        for family in Family::ALL {
            let before = expected.len();
            for dest in (0..self.rib.dest_end(family)).map(DestId) {
                if let Some(route) = self.groups.adj_out(&self.rib, peer, family, dest) {
                    assert_ne!(route.source, peer);
                    expected.insert(self.rib.prefix(family, dest), (route.block, route.next_hop));
                }
            }
            let count = expected.len() - before;
            assert_eq!(self.groups.advertised_count(peer, family) as usize, count, "{peer:?} {family}");
        }
        assert_eq!(receiver.table, expected, "{peer:?}");
        assert!(receiver.had.iter().eq(expected.keys()), "{peer:?}");
    }
}

#[test]
fn every_peer_ends_up_with_what_the_table_says() {
    let seeds = std::env::var("KULAN_EXPORT_SEEDS").ok();
    let (first, last) = match seeds.as_deref().and_then(|seeds| seeds.split_once("..")) {
        Some((first, last)) => (first.parse().expect("a number"), last.parse().expect("a number")),
        None => (0, 60),
    };
    for seed in first..last {
        println!("seed {seed}");
        let mut world = World::new(seed);
        for round in 0..4 {
            for _ in 0..150 + 50 * round {
                world.step();
            }
            world.settle();
        }
    }
}
