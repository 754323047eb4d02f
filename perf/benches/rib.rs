//! The table: interning attribute sets, the decision, and whole feeds.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use kulan::rib::decision::{Candidate, select};
use kulan::rib::{AttrStore, DecisionOptions, PeerInfo, Rib, Sweep};
use kulan::types::{AttrId, DestId, PeerId, PeerKind, RouterId};
use kulan_perf::{Announcement, composite, feed};

fn peer(id: u32) -> PeerInfo {
    let address = [10, 0, 0, id as u8].into();
    PeerInfo { kind: PeerKind::External, router_id: RouterId(id), address, asn: 64500 + id }
}

fn interned(feed: &[Announcement]) -> (AttrStore, Vec<AttrId>) {
    let mut store = AttrStore::new(1);
    let ids = feed.iter().map(|item| store.intern(&item.block, item.next_hop)).collect();
    (store, ids)
}

fn attributes(criterion: &mut Criterion, feed: &[Announcement]) {
    let mut group = criterion.benchmark_group("attributes");
    group.sample_size(20).throughput(Throughput::Elements(feed.len() as u64));
    group.bench_function("intern-new", |bencher| bencher.iter_with_large_drop(|| interned(feed)));
    group.bench_function("intern-known", |bencher| {
        let (mut store, _) = interned(feed);
        bencher.iter(|| {
            for item in feed {
                store.intern(&item.block, item.next_hop);
            }
        });
    });
    group.bench_function("release-last", |bencher| {
        let release = |(mut store, ids): (AttrStore, Vec<AttrId>)| {
            ids.into_iter().for_each(|id| store.release(id));
            store
        };
        bencher.iter_batched(|| interned(feed), release, BatchSize::PerIteration);
    });
    group.finish();
}

/// Sets of candidates out of attribute sets that lie side by side in the feed.
fn decision(criterion: &mut Criterion, feed: &[Announcement]) {
    let (store, ids) = interned(feed);
    let mut group = criterion.benchmark_group("decision");
    for count in [2, 10, 100] {
        let sets: Vec<Vec<Candidate>> = ids
            .chunks_exact(count)
            .take(1000)
            .map(|ids| {
                let new = |(index, id): (usize, &AttrId)| {
                    Candidate::new(index as u32, store.meta(*id), 0, &peer(index as u32), index == 0)
                };
                ids.iter().enumerate().map(new).collect()
            })
            .collect();
        group.throughput(Throughput::Elements(sets.len() as u64));
        group.bench_function(format!("select-{count}"), |bencher| {
            let mut candidates = Vec::new();
            bencher.iter(|| {
                for set in &sets {
                    candidates.clone_from(set);
                    select(&mut candidates, &DecisionOptions::default());
                }
            });
        });
    }
    group.finish();
}

fn decide(rib: &mut Rib, changed: &mut [Vec<DestId>; 2]) {
    while rib.decide(4096, changed) {
        changed[0].clear();
    }
    changed[0].clear();
}

fn announce(rib: &mut Rib, id: u32, feed: &[Announcement]) {
    let mut changed = [Vec::new(), Vec::new()];
    rib.set_peer(PeerId(id), peer(id));
    for item in feed {
        let attrs = rib.intern(&item.block, item.next_hop);
        rib.announce4(PeerId(id), attrs, &item.prefixes);
        rib.release(attrs);
        decide(rib, &mut changed);
    }
}

fn loaded(peers: u32, feed: &[Announcement]) -> Rib {
    let mut rib = Rib::new(DecisionOptions::default(), 1);
    (1..=peers).for_each(|id| announce(&mut rib, id, feed));
    rib
}

fn whole_feeds(criterion: &mut Criterion, feed: &[Announcement]) {
    let mut group = criterion.benchmark_group("table");
    let routes: usize = feed.iter().map(|item| item.prefixes.len()).sum();
    group.sample_size(10).throughput(Throughput::Elements(routes as u64));
    for before in [0, 1, 9] {
        group.bench_function(format!("announce-onto-{before}"), |bencher| {
            let more = |mut rib: Rib| {
                announce(&mut rib, 10, feed);
                rib
            };
            bencher.iter_batched(|| loaded(before, feed), more, BatchSize::PerIteration);
        });
    }
    group.bench_function("announce-the-same", |bencher| {
        let mut rib = loaded(1, feed);
        bencher.iter(|| announce(&mut rib, 1, feed));
    });
    group.bench_function("peer-down", |bencher| {
        let down = |mut rib: Rib| {
            rib.sweep(Sweep::Peer(PeerId(1)));
            decide(&mut rib, &mut [Vec::new(), Vec::new()]);
            rib
        };
        bencher.iter_batched(|| loaded(1, feed), down, BatchSize::PerIteration);
    });
    group.finish();
}

fn benches(criterion: &mut Criterion) {
    let feed = feed();
    attributes(criterion, &feed);
    decision(criterion, &feed);
    whole_feeds(criterion, &composite());
}

criterion_group!(rib, benches);
criterion_main!(rib);
