//! The trie against two oracles: a `BTreeMap` and the `prefix-trie` crate.

use std::collections::BTreeMap;

use ipnet::{Ipv4Net, Ipv6Net};
use prefix_trie::PrefixMap;
use proptest::prelude::*;

use super::trie::*;
use crate::types::{Prefix4, Prefix6};

/// Addresses out of few patterns, so that prefixes nest, share long beginnings and are hit again.
fn prefix4() -> BoxedStrategy<Prefix4> {
    let base = prop::sample::select(vec![0u32, 0x0a00_0000, 0x0a01_0200, 0xffff_ff00, 0xc0a8_0001]);
    (base, any::<u32>(), prop::sample::select(vec![0u32, 0xf, 0xff00, 0xf000_0000, u32::MAX]), 0u8..=32)
        .prop_map(|(base, noise, mask, len)| Prefix4::new(base ^ (noise & mask), len))
        .boxed()
}

fn prefix6() -> BoxedStrategy<Prefix6> {
    let base = prop::sample::select(vec![0u128, 0x2001_0db8 << 96, (0x2a00_1450 << 96) | 0x1234, u128::MAX]);
    let mask = prop::sample::select(vec![0u128, 0x1f, 0xffff << 80, 0xf << 124, u128::MAX]);
    (base, any::<u128>(), mask, 0u8..=128)
        .prop_map(|(base, noise, mask, len)| Prefix6::new(base ^ (noise & mask), len))
        .boxed()
}

#[derive(Clone, Debug)]
enum Op<N> {
    Insert(N),
    Remove(N),
    RemoveNth(prop::sample::Index),
    Walk(Option<N>, Option<N>),
}

fn ops<N: Copy + std::fmt::Debug + 'static>(net: BoxedStrategy<N>) -> impl Strategy<Value = Vec<Op<N>>> {
    let op = prop_oneof![
        6 => net.clone().prop_map(Op::Insert),
        1 => net.clone().prop_map(Op::Remove),
        4 => any::<prop::sample::Index>().prop_map(Op::RemoveNth),
        1 => (prop::option::of(net.clone()), prop::option::of(net)).prop_map(|(a, b)| Op::Walk(a, b)),
    ];
    prop::collection::vec(op, 0..400)
}

fn covers<N: Net>(outer: N, inner: N) -> bool {
    outer.len() <= inner.len() && outer.addr().common(inner.addr()) >= outer.len()
}

/// Runs the operations on the trie and on a `BTreeMap`; gives back both.
fn run<N: Net + std::fmt::Debug>(ops: Vec<Op<N>>) -> (Trie<N>, BTreeMap<N, u32>) {
    let mut trie = Trie::new();
    let mut model = BTreeMap::new();
    for (value, op) in ops.into_iter().enumerate() {
        let value = value as u32;
        match op {
            Op::Insert(net) => {
                let expected = *model.entry(net).or_insert(value);
                assert_eq!(trie.get_or_insert(net, value), expected);
            }
            Op::Remove(net) => assert_eq!(trie.remove(net), model.remove(&net)),
            Op::RemoveNth(nth) => {
                if !model.is_empty() {
                    let net = *model.keys().nth(nth.index(model.len())).expect("within the map");
                    assert_eq!(trie.remove(net), model.remove(&net));
                }
            }
            Op::Walk(after, within) => {
                let mut seen = Vec::new();
                trie.walk(after, within, &mut |net, value| {
                    seen.push((net, value));
                    true
                });
                let expected: Vec<(N, u32)> = model
                    .iter()
                    .filter(|(net, _)| after.is_none_or(|after| **net > after))
                    .filter(|(net, _)| within.is_none_or(|within| covers(within, **net)))
                    .map(|(net, value)| (*net, *value))
                    .collect();
                assert_eq!(seen, expected, "walk after {after:?} within {within:?}");
            }
        }
        trie.check_invariants();
        assert_eq!(trie.len(), model.len());
    }
    (trie, model)
}

fn compare<N: Net + std::fmt::Debug>(trie: &Trie<N>, model: &BTreeMap<N, u32>, probes: &[N]) {
    for nets in probes.chunks(LANES) {
        let mut values = [0; LANES];
        trie.get_batch(nets, &mut values);
        for (net, value) in nets.iter().zip(values) {
            let expected = model.get(net).copied();
            assert_eq!(trie.get(*net), expected);
            assert_eq!(value, expected.unwrap_or(NO_VALUE));
            let longest =
                model.iter().filter(|(outer, _)| covers(**outer, *net)).max_by_key(|(net, _)| net.len());
            if net.len() == N::Addr::BITS {
                assert_eq!(trie.longest_match(net.addr(), |_| true), longest.map(|(_, value)| *value));
            }
        }
    }
}

proptest! {
    #[test]
    fn ipv4_agrees_with_a_map(ops in ops(prefix4()), probes in prop::collection::vec(prefix4(), 0..40)) {
        let (trie, model) = run(ops);
        let mut oracle = PrefixMap::<Ipv4Net, u32>::new();
        for (net, value) in &model {
            oracle.insert(Ipv4Net::new(net.addr.into(), net.len).expect("at most 32"), *value);
        }
        let mut probes = probes;
        probes.extend(model.keys());
        compare(&trie, &model, &probes);
        for net in probes {
            let host = Ipv4Net::new(net.addr.into(), 32).expect("at most 32");
            let longest = oracle.get_lpm(&host).map(|(_, value)| *value);
            prop_assert_eq!(trie.longest_match(net.addr, |_| true), longest);
        }
    }

    #[test]
    fn ipv6_agrees_with_a_map(ops in ops(prefix6()), probes in prop::collection::vec(prefix6(), 0..40)) {
        let (trie, model) = run(ops);
        let mut oracle = PrefixMap::<Ipv6Net, u32>::new();
        for (net, value) in &model {
            oracle.insert(Ipv6Net::new(net.addr.into(), net.len).expect("at most 128"), *value);
        }
        let mut probes = probes;
        probes.extend(model.keys());
        compare(&trie, &model, &probes);
        for net in probes {
            let host = Ipv6Net::new(net.addr.into(), 128).expect("at most 128");
            let longest = oracle.get_lpm(&host).map(|(_, value)| *value);
            prop_assert_eq!(trie.longest_match(net.addr, |_| true), longest);
        }
    }

    #[test]
    fn a_walk_may_stop_anywhere_and_go_on(nets in prop::collection::btree_set(prefix4(), 0..200), step in 1usize..20) {
        let mut trie = Trie::new();
        for net in &nets {
            trie.get_or_insert(*net, u32::from(net.len));
        }
        let mut seen = Vec::new();
        loop {
            let before = seen.len();
            trie.walk(seen.last().copied(), None, &mut |net, _| {
                seen.push(net);
                seen.len() - before < step
            });
            if seen.len() - before < step {
                break;
            }
        }
        prop_assert_eq!(seen, nets.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn a_match_that_is_refused_falls_back_to_a_shorter_one() {
    let mut trie = Trie::new();
    for (value, len) in [(0, 0), (1, 8), (2, 9), (3, 24), (4, 32)] {
        trie.get_or_insert(Prefix4::new(0x0a00_0001, len), value);
    }
    for refused in (0u32..5).rev() {
        let expected = refused.checked_sub(1);
        assert_eq!(trie.longest_match(0x0a00_0001, |value| value < refused), expected);
    }
}

#[test]
fn an_emptied_trie_gives_its_memory_back() {
    let mut trie = Trie::new();
    let empty = trie.memory_bytes();
    for value in 0..10_000 {
        trie.get_or_insert(Prefix4::new(value << 8, 24), value);
    }
    for value in 0..10_000 {
        assert_eq!(trie.remove(Prefix4::new(value << 8, 24)), Some(value));
    }
    assert_eq!(trie.memory_bytes(), empty);
}
