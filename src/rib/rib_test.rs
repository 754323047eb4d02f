//! The table against a model that does everything at once and the slow way.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::Index;
use smallvec::SmallVec;

use super::decision::{Candidate, select};
use super::*;

const PEERS: u32 = 6;
const SETS: usize = 12;

/// What a set says, in short: enough to differ in every step of the decision.
fn block(set: usize) -> Vec<u8> {
    let mut block = vec![0x40, 1, 1, (set % 2) as u8];
    let first_as = 64500 + (set / 2 % 3) as u32;
    block.extend([0x40, 2, 10, 2, 2]);
    block.extend(first_as.to_be_bytes());
    block.extend(64999u32.to_be_bytes());
    block.extend([0x80, 4, 4, 0, 0, 0, (set % 3) as u8]);
    if set == 7 {
        block.extend([0x40, 5, 4, 0, 0, 0, 200]);
    }
    block
}

fn next_hop(set: usize) -> NextHop {
    NextHop::new([192, 0, 2, (set % 4) as u8].into())
}

fn pool() -> Vec<Prefix> {
    let v4 = ["0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/24", "10.0.1.0/24", "10.1.2.3/32", "192.168.0.0/16"];
    let v6 = ["::/0", "2001:db8::/32", "2001:db8:1::/48", "2001:db8:1::1/128"];
    v4.iter().chain(&v6).map(|text| text.parse().expect("a prefix")).collect()
}

fn info(peer: u32) -> PeerInfo {
    let kind = match peer {
        0 => PeerKind::Local,
        1 => PeerKind::Internal,
        2 => PeerKind::Client,
        _ => PeerKind::External,
    };
    // Peers 4 and 5 are two sessions with one speaker.
    let router_id = RouterId(peer.min(4));
    PeerInfo { kind, router_id, address: [10, 0, 0, peer as u8].into(), asn: 64500 + peer }
}

#[derive(Clone, Debug)]
enum Op {
    Announce(u32, usize, Vec<Index>),
    Withdraw(u32, Vec<Index>),
    Stale(u32, Family),
    SweepStale(u32, Family),
    SweepFamily(u32, Family),
    SweepPeer(u32),
    Forget(u32),
    Known(u32),
    NextHop(usize, bool, u32),
    Options(DecisionOptions),
    Decide(usize),
    Collect(usize, bool, bool),
    Drain,
}

fn family() -> impl Strategy<Value = Family> {
    prop::sample::select(Family::ALL.to_vec())
}

fn options() -> impl Strategy<Value = DecisionOptions> {
    (any::<[bool; 4]>(), 0u16..4).prop_map(|(switches, max_paths)| DecisionOptions {
        always_compare_med: switches[0],
        compare_router_id: switches[1],
        multipath_relax: switches[2],
        resolve_next_hops: switches[3],
        max_paths,
    })
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let peer = || 0..PEERS;
    let nets = || prop::collection::vec(any::<Index>(), 0..20);
    let op = prop_oneof![
        12 => (peer(), 0..SETS, nets()).prop_map(|(peer, set, nets)| Op::Announce(peer, set, nets)),
        4 => (peer(), nets()).prop_map(|(peer, nets)| Op::Withdraw(peer, nets)),
        4 => (peer(), family()).prop_map(|(peer, family)| Op::Stale(peer, family)),
        2 => (peer(), family()).prop_map(|(peer, family)| Op::SweepStale(peer, family)),
        1 => (peer(), family()).prop_map(|(peer, family)| Op::SweepFamily(peer, family)),
        1 => peer().prop_map(Op::SweepPeer),
        1 => (1..PEERS).prop_map(Op::Forget),
        2 => peer().prop_map(Op::Known),
        3 => (0..SETS, any::<bool>(), 0u32..2).prop_map(|(set, up, metric)| Op::NextHop(set, up, metric)),
        1 => options().prop_map(Op::Options),
        4 => (0usize..6).prop_map(Op::Decide),
        3 => (0usize..6, any::<bool>(), any::<bool>())
            .prop_map(|(budget, busy, hold)| Op::Collect(budget, busy, hold)),
        2 => Just(Op::Drain),
    ];
    prop::collection::vec(op, 0..120)
}

type View = BTreeMap<Prefix, Vec<(PeerId, AttrId)>>;

struct Harness {
    rib: Rib,
    pool: Vec<Prefix>,
    options: DecisionOptions,
    known: BTreeSet<u32>,
    /// The set, and whether it is stale, by prefix and peer.
    paths: BTreeMap<(Prefix, u32), (usize, bool)>,
    /// What a reader that looks at reported destinations, and only at those, believes.
    view: View,
}

impl Harness {
    fn new(options: DecisionOptions) -> Harness {
        let mut harness = Harness {
            rib: Rib::new(options, 42),
            pool: pool(),
            options,
            known: BTreeSet::new(),
            paths: BTreeMap::new(),
            view: View::new(),
        };
        (0..PEERS).for_each(|peer| harness.know(peer));
        harness
    }

    fn know(&mut self, peer: u32) {
        self.rib.set_peer(PeerId(peer), info(peer));
        self.known.insert(peer);
    }

    fn nets(&self, indices: &[Index]) -> (Vec<Prefix4>, Vec<Prefix6>) {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for index in indices {
            match *index.get(&self.pool) {
                Prefix::V4(prefix) => v4.push(prefix),
                Prefix::V6(prefix) => v6.push(prefix),
            }
        }
        (v4, v6)
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::Announce(peer, set, nets) if self.known.contains(&peer) => {
                let attrs = self.rib.intern(&block(set), next_hop(set));
                let (v4, v6) = self.nets(&nets);
                self.rib.announce4(PeerId(peer), attrs, &v4);
                self.rib.announce6(PeerId(peer), attrs, &v6);
                self.rib.release(attrs);
                for net in nets {
                    self.paths.insert((*net.get(&self.pool), peer), (set, false));
                }
            }
            Op::Announce(..) => {}
            Op::Withdraw(peer, nets) => {
                let (v4, v6) = self.nets(&nets);
                self.rib.withdraw4(PeerId(peer), &v4);
                self.rib.withdraw6(PeerId(peer), &v6);
                for net in nets {
                    self.paths.remove(&(*net.get(&self.pool), peer));
                }
            }
            Op::Stale(peer, family) => {
                self.rib.mark_stale(PeerId(peer), family);
                for ((net, giver), path) in &mut self.paths {
                    path.1 |= *giver == peer && net.family() == family;
                }
            }
            Op::SweepStale(peer, family) => {
                self.rib.sweep(Sweep::Stale(PeerId(peer), family));
                self.paths.retain(|(net, giver), path| !(*giver == peer && net.family() == family && path.1));
            }
            Op::SweepFamily(peer, family) => {
                self.rib.sweep(Sweep::PeerFamily(PeerId(peer), family));
                self.paths.retain(|(net, giver), _| !(*giver == peer && net.family() == family));
            }
            Op::SweepPeer(peer) => {
                self.rib.sweep(Sweep::Peer(PeerId(peer)));
                self.paths.retain(|(_, giver), _| *giver != peer);
            }
            Op::Forget(peer) => {
                self.rib.forget_peer(PeerId(peer));
                self.known.remove(&peer);
                self.paths.retain(|(_, giver), _| *giver != peer);
                assert_eq!(self.rib.peer(PeerId(peer)), None);
            }
            Op::Known(peer) => self.know(peer),
            Op::NextHop(set, reachable, metric) => {
                let found = self.rib.next_hops().iter().find(|(_, hop, _)| *hop == next_hop(set));
                if let Some((id, ..)) = found {
                    self.rib.set_next_hop_state(id, reachable, metric);
                }
            }
            Op::Options(options) => {
                self.options = options;
                self.rib.set_options(options);
            }
            Op::Decide(budget) => {
                self.decide(budget);
            }
            Op::Collect(budget, busy, hold) => {
                self.rib.collect(budget, busy, &|_, dest| hold && dest.0 % 2 == 0);
            }
            Op::Drain => self.drain(),
        }
        self.rib.check_invariants(&BTreeMap::new());
        for peer in 0..PEERS {
            for family in Family::ALL {
                let own = |(net, giver): &&(Prefix, u32)| *giver == peer && net.family() == family;
                let count = self.paths.keys().filter(own).count();
                assert_eq!(self.rib.path_count(PeerId(peer), family), count as u32);
            }
        }
    }

    /// One call of `decide`, after which the reader looks at what was reported.
    fn decide(&mut self, budget: usize) -> (bool, Vec<Prefix>) {
        let mut changed = [Vec::new(), Vec::new()];
        let more = self.rib.decide(budget, &mut changed);
        let mut reported = Vec::new();
        for family in Family::ALL {
            for dest in &changed[family.index()] {
                let prefix = self.rib.prefix(family, *dest);
                reported.push(prefix);
                let set = self.set(prefix);
                if set.is_empty() {
                    self.view.remove(&prefix)
                } else {
                    self.view.insert(prefix, set)
                };
            }
        }
        (more, reported)
    }

    fn set(&self, prefix: Prefix) -> Vec<(PeerId, AttrId)> {
        let mut set = SmallVec::new();
        if let Some(dest) = self.rib.find(prefix) {
            self.rib.multipath(prefix.family(), dest, &mut set);
            assert_eq!(self.rib.best(prefix.family(), dest), set.first().copied());
        }
        set.into_iter().map(|path| (path.peer, path.attrs)).collect()
    }

    /// Decides all, and compares with what the model says is right.
    fn drain(&mut self) {
        let bests: BTreeMap<Prefix, PeerId> =
            (self.pool.iter()).filter_map(|prefix| Some((*prefix, self.set(*prefix).first()?.0))).collect();
        let mut all = Vec::new();
        loop {
            let (more, reported) = self.decide(5);
            all.extend(reported);
            if !more {
                break;
            }
        }
        let distinct: BTreeSet<Prefix> = all.iter().copied().collect();
        assert_eq!(distinct.len(), all.len(), "reported twice: {all:?}");
        assert!(!self.rib.sweep_pending());
        for prefix in self.pool.clone() {
            let mut real = BTreeMap::new();
            if let Some(dest) = self.rib.find(prefix) {
                for path in self.rib.paths(prefix.family(), dest) {
                    real.insert(path.peer.0, path);
                }
            }
            let mut candidates = Vec::new();
            let ours = self.paths.iter().filter(|((net, _), _)| *net == prefix);
            for ((_, peer), (set, stale)) in ours {
                let path = real.remove(peer).expect("the path that the model has");
                assert_eq!(path.stale, *stale, "{prefix} from {peer}");
                assert_eq!(self.rib.attrs().block(path.attrs), block(*set));
                assert_eq!(self.rib.attrs().next_hop(path.attrs), next_hop(*set));
                let meta = self.rib.attrs().meta(path.attrs);
                let metric = match self.rib.next_hops().state(meta.next_hop) {
                    NextHopState::Reachable { metric } => metric,
                    _ if self.options.resolve_next_hops && *peer != 0 => continue,
                    _ => u32::MAX,
                };
                let existing = bests.get(&prefix) == Some(&PeerId(*peer));
                candidates.push(Candidate::new(*peer, meta, metric, &info(*peer), existing));
            }
            assert!(real.is_empty(), "{prefix}: paths that the model does not have: {real:?}");
            select(&mut candidates, &self.options);
            let set = self.set(prefix);
            let peers: Vec<u32> = set.iter().map(|(peer, _)| peer.0).collect();
            let expected: Vec<u32> = candidates.iter().map(|candidate| candidate.index).collect();
            assert_eq!(peers, expected, "the ECMP set of {prefix}");
            assert_eq!(
                self.view.get(&prefix).cloned().unwrap_or_default(),
                set,
                "a change of {prefix} not told"
            );
        }
    }

    /// Takes everything away and expects nothing to be left.
    fn empty(&mut self) {
        (0..PEERS).for_each(|peer| self.run(Op::SweepPeer(peer)));
        self.drain();
        while self.rib.collect(3, false, &|_, _| false) {}
        for family in Family::ALL {
            assert_eq!(self.rib.dest_count(family), 0);
            assert_eq!(self.rib.path_count_total(family), 0);
            assert_eq!(self.rib.dest_end(family), 0);
        }
        assert!(self.rib.attrs().is_empty());
        while self.rib.poll_next_hop_added().is_some() {}
        while self.rib.poll_next_hop_dropped().is_some() {}
        assert!(self.rib.next_hops().is_empty());
        self.rib.check_invariants(&BTreeMap::new());
    }
}

proptest! {
    #[test]
    fn the_table_is_what_the_model_says(options in options(), ops in ops()) {
        let mut harness = Harness::new(options);
        for op in ops {
            harness.run(op);
        }
        harness.drain();
        harness.empty();
    }
}

fn announce(rib: &mut Rib, peer: u32, set: usize, prefix: &str) {
    let attrs = rib.intern(&block(set), next_hop(set));
    match prefix.parse().expect("a prefix") {
        Prefix::V4(prefix) => rib.announce4(PeerId(peer), attrs, &[prefix]),
        Prefix::V6(prefix) => rib.announce6(PeerId(peer), attrs, &[prefix]),
    }
    rib.release(attrs);
}

fn decided(rib: &mut Rib) -> usize {
    let mut changed = [Vec::new(), Vec::new()];
    while rib.decide(1, &mut changed) {}
    changed.iter().map(Vec::len).sum()
}

fn rib() -> Rib {
    let mut rib = Rib::new(DecisionOptions::default(), 1);
    (1..64).for_each(|peer| rib.set_peer(PeerId(peer), info(peer)));
    rib
}

#[test]
fn announcing_the_same_again_is_no_change() {
    let mut rib = rib();
    announce(&mut rib, 3, 0, "10.0.0.0/8");
    assert_eq!(decided(&mut rib), 1);
    announce(&mut rib, 3, 0, "10.0.0.0/8");
    assert_eq!(decided(&mut rib), 0);
    announce(&mut rib, 3, 1, "10.0.0.0/8");
    assert_eq!(decided(&mut rib), 1);
}

#[test]
fn a_peer_that_restarts_again_and_again_keeps_only_what_it_should() {
    // More restarts than there are generations, each interrupted before the sweep is through.
    let mut rib = rib();
    for round in 0..200u32 {
        announce(&mut rib, 3, 0, &format!("10.0.{}.0/24", round % 8));
        announce(&mut rib, 3, 0, "10.1.0.0/16");
        rib.sweep(Sweep::Stale(PeerId(3), Family::Ipv4Unicast));
        rib.mark_stale(PeerId(3), Family::Ipv4Unicast);
        rib.check_invariants(&BTreeMap::new());
        assert_eq!(rib.path_count(PeerId(3), Family::Ipv4Unicast), 2, "round {round}");
    }
    decided(&mut rib);
    assert_eq!(rib.path_count_total(Family::Ipv4Unicast), 2);
    rib.sweep(Sweep::Stale(PeerId(3), Family::Ipv4Unicast));
    decided(&mut rib);
    assert_eq!(rib.path_count_total(Family::Ipv4Unicast), 0);
}

#[test]
fn a_peer_that_comes_back_at_once_keeps_what_it_announces() {
    let mut rib = rib();
    announce(&mut rib, 3, 0, "10.0.0.0/8");
    announce(&mut rib, 3, 0, "10.0.0.0/9");
    decided(&mut rib);
    rib.forget_peer(PeerId(3));
    rib.set_peer(PeerId(3), info(3));
    announce(&mut rib, 3, 0, "10.0.0.0/8");
    decided(&mut rib);
    let found = |prefix: &str| rib.longest_match(prefix.parse().expect("an address"));
    assert_eq!(rib.path_count(PeerId(3), Family::Ipv4Unicast), 1);
    assert_eq!(found("10.0.0.1").map(|dest| rib.prefix4(dest).len), Some(8));
}

#[test]
fn an_unreachable_next_hop_is_left_out_and_taken_up_again() {
    let mut rib = rib();
    rib.set_options(DecisionOptions { resolve_next_hops: true, ..DecisionOptions::default() });
    announce(&mut rib, 3, 0, "10.0.0.0/8");
    assert_eq!(decided(&mut rib), 0);
    let id = rib.poll_next_hop_added().expect("the next hop to track");
    for (reachable, told) in [(true, 1), (true, 0), (false, 1)] {
        rib.set_next_hop_state(id, reachable, 10);
        assert_eq!(decided(&mut rib), told);
        let dest = rib.find("10.0.0.0/8".parse().expect("a prefix")).expect("still there");
        assert_eq!(rib.best(Family::Ipv4Unicast, dest).is_some(), reachable);
    }
}

#[test]
fn a_destination_that_is_held_outlives_its_paths() {
    let mut rib = rib();
    announce(&mut rib, 3, 0, "10.0.0.0/8");
    rib.withdraw4(PeerId(3), &[Prefix4::new(10 << 24, 8)]);
    assert!(
        rib.collect(10, false, &|_, _| false) || rib.dest_count(Family::Ipv4Unicast) == 1,
        "not decided yet"
    );
    decided(&mut rib);
    rib.collect(10, false, &|_, _| true);
    assert_eq!(rib.dest_count(Family::Ipv4Unicast), 1);
    rib.collect(10, false, &|_, _| false);
    assert_eq!(rib.dest_count(Family::Ipv4Unicast), 0);
}

#[test]
fn a_busy_speaker_frees_destinations_only_for_new_ones() {
    let mut rib = rib();
    let round = |rib: &mut Rib, number: u32| {
        announce(rib, 3, 0, &format!("10.{}.0.0/16", number % 256));
        decided(rib);
        rib.withdraw4(PeerId(3), &[Prefix4::new(10 << 24 | (number % 256) << 16, 16)]);
        decided(rib);
        rib.collect(100, true, &|_, _| false);
        rib.dest_count(Family::Ipv4Unicast)
    };
    assert_eq!(round(&mut rib, 0), 0, "a new destination took memory");
    let most = (1..1000).map(|number| round(&mut rib, number)).max();
    assert!(most <= Some(2), "{most:?} destinations without paths");

    for number in 0..256 {
        announce(&mut rib, 3, 0, &format!("10.{number}.0.0/16"));
    }
    decided(&mut rib);
    rib.collect(100, true, &|_, _| false);
    rib.forget_peer(PeerId(3));
    decided(&mut rib);
    rib.collect(300, true, &|_, _| false);
    assert_eq!(rib.dest_count(Family::Ipv4Unicast), 256, "nobody wants their memory");
    rib.collect(300, false, &|_, _| false);
    assert_eq!(rib.dest_count(Family::Ipv4Unicast), 0);
}

#[test]
fn the_store_keeps_its_blocks_while_it_closes_holes() {
    let mut rib = rib();
    let long = |number: u32| {
        let mut block = vec![0xd0, 8, 1, 0];
        block.extend(number.to_be_bytes().repeat(64));
        block
    };
    let sets: Vec<AttrId> = (0..2000).map(|number| rib.intern(&long(number), next_hop(0))).collect();
    let full = rib.attrs().memory_bytes();
    let kept = |number: &usize| number.is_multiple_of(3);
    for number in (0..2000).filter(|number| !kept(number)) {
        rib.release(sets[number]);
    }
    let mut more = Vec::new();
    while rib.collect(100, false, &|_, _| false) {
        more.push(rib.intern(&long(10_000 + more.len() as u32), next_hop(1)));
    }
    assert!(rib.attrs().memory_bytes() < full / 2);
    for number in (0..2000).filter(kept) {
        assert_eq!(rib.attrs().block(sets[number]), long(number as u32));
        rib.release(sets[number]);
    }
    for (number, attrs) in more.into_iter().enumerate() {
        assert_eq!(rib.attrs().block(attrs), long(10_000 + number as u32));
        rib.release(attrs);
    }
    assert!(rib.attrs().is_empty());
}

#[test]
fn a_block_longer_than_any_message_is_kept_as_it_is() {
    // Two-octet AS numbers become four-octet ones, and policies add: the block outgrows what a length field says.
    let mut rib = rib();
    let long =
        [[0xd0, 8, 0xff, 0xfc].to_vec(), vec![1; 0xfffc], vec![0xd0, 32, 0x20, 4], vec![2; 0x2004]].concat();
    let (set, other) = (rib.intern(&long, next_hop(0)), rib.intern(&block(1), next_hop(0)));
    assert_eq!((rib.attrs().block(set), rib.attrs().block(other)), (&long[..], &block(1)[..]));
    rib.release(set);
    rib.release(other);
    assert!(rib.attrs().is_empty());
}

#[test]
fn a_set_says_what_the_decision_compares() {
    let mut rib = rib();
    let block = [
        &[0x40, 1, 1, 2][..],
        // A sequence of two, a set of three that counts one, a confederation segment that counts nothing.
        &[0x50, 2, 0, 30, 2, 2, 0, 0, 0xfb, 0xf4, 0, 0, 0, 1],
        &[1, 3, 0, 0, 0, 5, 0, 0, 0, 6, 0, 0, 0, 7, 3, 1, 0, 0, 0, 9],
        &[0x80, 4, 4, 0, 0, 0, 7, 0x40, 5, 4, 0, 0, 1, 0],
        &[0x80, 9, 4, 10, 0, 0, 1, 0x80, 10, 8, 1, 1, 1, 1, 2, 2, 2, 2],
    ]
    .concat();
    let attrs = rib.intern(&block, next_hop(3));
    let expected = AttrMeta {
        local_pref: 256,
        med: 7,
        neighbor_as: 64500,
        next_hop: NextHopId(0),
        originator_id: 0x0a00_0001,
        path_len: 3,
        cluster_list_len: 2,
        origin: 2,
    };
    assert_eq!(*rib.attrs().meta(attrs), expected);
    let bare = rib.intern(&[], next_hop(3));
    assert_eq!((rib.attrs().meta(bare).local_pref, rib.attrs().meta(bare).path_len), (100, 0));
}
