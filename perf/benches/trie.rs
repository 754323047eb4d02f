//! The prefix store beside the `prefix-trie` crate and a hash map, on the table of AS3333.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use ipnet::{Ipv4Net, Ipv6Net};
use kulan::rib::trie::{LANES, Net, Trie};
use kulan::types::{Prefix4, Prefix6};
use kulan_perf::{shuffled, table4, table6};
use prefix_trie::PrefixMap;

/// What `prefix-trie` calls the same prefix.
trait Foreign: Net + std::hash::Hash {
    type Prefix: prefix_trie::Prefix + Copy;

    fn foreign(self) -> Self::Prefix;
}

impl Foreign for Prefix4 {
    type Prefix = Ipv4Net;

    fn foreign(self) -> Ipv4Net {
        Ipv4Net::new_assert(self.addr.into(), self.len)
    }
}

impl Foreign for Prefix6 {
    type Prefix = Ipv6Net;

    fn foreign(self) -> Ipv6Net {
        Ipv6Net::new_assert(self.addr.into(), self.len)
    }
}

fn filled<N: Net>(nets: &[N]) -> Trie<N> {
    let mut trie = Trie::new();
    for (value, net) in nets.iter().enumerate() {
        trie.get_or_insert(*net, value as u32);
    }
    trie
}

fn family<N: Foreign>(criterion: &mut Criterion, name: &str, sorted: &[N]) {
    let random = shuffled(sorted);
    let foreign: Vec<N::Prefix> = random.iter().map(|net| net.foreign()).collect();
    let trie = filled(&random);
    let crate_map: PrefixMap<N::Prefix, u32> =
        foreign.iter().enumerate().map(|(value, net)| (*net, value as u32)).collect();
    let mut hash_map = HashMap::with_hasher(FixedState::with_seed(1));
    hash_map.extend(random.iter().enumerate().map(|(value, net)| (*net, value as u32)));

    let mut group = criterion.benchmark_group(name);
    group.sample_size(10).throughput(Throughput::Elements(sorted.len() as u64));
    for (order, nets) in [("sorted", sorted), ("random", &random)] {
        group.bench_function(format!("insert-{order}/kulan"), |bencher| {
            bencher.iter_with_large_drop(|| filled(nets));
        });
        let foreign: Vec<N::Prefix> = nets.iter().map(|net| net.foreign()).collect();
        group.bench_function(format!("insert-{order}/prefix-trie"), |bencher| {
            bencher.iter_with_large_drop(|| {
                let mut map = PrefixMap::new();
                for (value, net) in foreign.iter().enumerate() {
                    map.insert(*net, value as u32);
                }
                map
            });
        });
        group.bench_function(format!("insert-{order}/hash-map"), |bencher| {
            bencher.iter_with_large_drop(|| {
                let mut map = HashMap::with_hasher(FixedState::with_seed(1));
                for (value, net) in nets.iter().enumerate() {
                    map.insert(*net, value as u32);
                }
                map
            });
        });
    }

    // Another random order than that of insertion.
    let probes = shuffled(&random);
    let foreign: Vec<N::Prefix> = probes.iter().map(|net| net.foreign()).collect();
    group.bench_function("get-random/kulan", |bencher| {
        bencher.iter(|| probes.iter().filter_map(|net| trie.get(*net)).fold(0, u32::wrapping_add));
    });
    group.bench_function("get-random/kulan-batch", |bencher| {
        bencher.iter(|| {
            let mut sum = 0u32;
            let mut values = [0; LANES];
            for nets in probes.chunks(LANES) {
                trie.get_batch(nets, &mut values);
                sum = values.iter().fold(sum, |sum, value| sum.wrapping_add(*value));
            }
            sum
        });
    });
    group.bench_function("get-random/prefix-trie", |bencher| {
        bencher
            .iter(|| foreign.iter().filter_map(|net| crate_map.get(net)).fold(0, |a, b| b.wrapping_add(a)));
    });
    group.bench_function("get-random/hash-map", |bencher| {
        bencher.iter(|| probes.iter().filter_map(|net| hash_map.get(net)).fold(0, |a, b| b.wrapping_add(a)));
    });

    group.bench_function("longest-match/kulan", |bencher| {
        bencher.iter(|| {
            let found = probes.iter().filter_map(|net| trie.longest_match(net.addr(), |_| true));
            found.fold(0, u32::wrapping_add)
        });
    });
    group.bench_function("walk/kulan", |bencher| {
        bencher.iter(|| {
            let mut sum = 0u32;
            trie.walk(None, None, &mut |_, value| {
                sum = sum.wrapping_add(value);
                true
            });
            sum
        });
    });
    group.bench_function("walk/prefix-trie", |bencher| {
        bencher.iter(|| crate_map.iter().fold(0u32, |sum, (_, value)| sum.wrapping_add(*value)));
    });
    group.bench_function("remove-random/kulan", |bencher| {
        let remove = |mut trie: Trie<N>| {
            for net in &probes {
                trie.remove(*net);
            }
        };
        bencher.iter_batched(|| filled(&random), remove, BatchSize::PerIteration);
    });
    group.bench_function("remove-random/prefix-trie", |bencher| {
        let remove = |mut map: PrefixMap<N::Prefix, u32>| {
            for net in &foreign {
                map.remove(net);
            }
        };
        bencher.iter_batched(|| crate_map.clone(), remove, BatchSize::PerIteration);
    });
    group.finish();
    println!("{name}: {:.2} bytes a prefix", trie.memory_bytes() as f64 / trie.len() as f64);
}

fn benches(criterion: &mut Criterion) {
    family(criterion, "trie-ipv4", &table4());
    family(criterion, "trie-ipv6", &table6());
}

criterion_group!(trie, benches);
criterion_main!(trie);
