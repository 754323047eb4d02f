//! Update groups: from changed destinations to the bytes that sockets are given, on PCH's feed. Times are
//! processor time, which holds up on a busy machine, but for `single`, which is too short for that.

use std::io::IoSlice;
use std::rc::Rc;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kulan::export::{ExportLimits, GroupKey, NextHopRule, SLICES_MAX, UpdateGroups};
use kulan::policy::Policy;
use kulan::rib::{DecisionOptions, PeerInfo, Rib};
use kulan::types::{DestId, Family, PeerId, PeerKind, RouterId, Time};
use kulan_perf::{Announcement, composite, feed, processor_ns};
use smallvec::SmallVec;

/// How many destinations the loop decides, and then tells, at a time.
const ROUND: usize = 4096;
const SOURCE: PeerId = PeerId(1);

fn info(id: u32, kind: PeerKind) -> PeerInfo {
    PeerInfo { kind, router_id: RouterId(id), address: [10, 0, (id >> 8) as u8, id as u8].into(), asn: 65000 }
}

/// A table with the routes of one peer, and its destinations in the order in which they came.
fn loaded(feed: &[Announcement], kind: PeerKind) -> (Rib, Vec<DestId>) {
    let mut rib = Rib::new(DecisionOptions { max_paths: 1, ..DecisionOptions::default() }, 1);
    rib.set_peer(SOURCE, info(SOURCE.0, kind));
    let mut changed = [Vec::new(), Vec::new()];
    for item in feed {
        let attrs = rib.intern(&item.block, item.next_hop);
        rib.announce4(SOURCE, attrs, &item.prefixes);
        rib.release(attrs);
    }
    while rib.decide(ROUND, &mut changed) {}
    let [changed, _] = changed;
    (rib, changed)
}

fn key(kind: PeerKind) -> GroupKey {
    GroupKey {
        family: Family::Ipv4Unicast,
        kind,
        local_asn: 65000,
        cluster_id: RouterId(9),
        four_octet_as: true,
        message_bytes_max: 4096,
        extended_next_hop: false,
        policy: Rc::from("accept"),
        next_hop: NextHopRule { self_v4: Some([10, 9, 9, 9].into()), ..NextHopRule::default() },
    }
}

/// Groups whose members, the source among them, have heard that there is nothing.
fn joined(kind: PeerKind, receivers: u32) -> UpdateGroups {
    let mut groups = UpdateGroups::new(ExportLimits::default());
    let policy = Rc::new(Policy::accept());
    for id in SOURCE.0..=SOURCE.0 + receivers {
        groups.join(PeerId(id), key(kind), &policy);
    }
    let empty = Rib::new(DecisionOptions::default(), 1);
    flush(&mut groups, &empty);
    groups
}

/// Drains and sends until nothing is left; returns how many bytes that were.
fn flush(groups: &mut UpdateGroups, rib: &Rib) -> usize {
    let mut sent = 0;
    loop {
        let mut more = groups.drain(rib, Time(0), ROUND);
        while let Some(peer) = groups.poll_ready() {
            let mut bytes = 1;
            while bytes > 0 {
                let mut slices: SmallVec<[IoSlice<'_>; SLICES_MAX]> = SmallVec::new();
                groups.fill(peer, &mut slices);
                bytes = slices.iter().map(|slice| slice.len()).sum();
                drop(slices);
                groups.sent(peer, bytes);
                sent += bytes;
            }
            more = true;
        }
        if !more {
            return sent;
        }
    }
}

fn tell(groups: &mut UpdateGroups, rib: &Rib, changed: &[DestId]) -> usize {
    let mut sent = 0;
    for dests in changed.chunks(ROUND) {
        groups.changed(Family::Ipv4Unicast, dests);
        sent += flush(groups, rib);
    }
    sent
}

/// How much processor time `work` takes.
fn measured<T>(work: impl FnOnce() -> T) -> Duration {
    let begin = processor_ns();
    std::hint::black_box(work());
    Duration::from_nanos(processor_ns() - begin)
}

fn changes(criterion: &mut Criterion, name: &str, feed: &[Announcement], kind: PeerKind, receivers: u32) {
    let (rib, changed) = loaded(feed, kind);
    let mut group = criterion.benchmark_group("changes");
    group.sample_size(10).throughput(Throughput::Elements(changed.len() as u64));
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|count| {
            let runs = (0..count).map(|_| {
                let mut groups = joined(kind, receivers);
                measured(|| tell(&mut groups, &rib, &changed))
            });
            runs.sum()
        });
    });
    group.finish();
}

/// Peers come up at once on a loaded table.
fn walk(criterion: &mut Criterion, feed: &[Announcement], receivers: u32) {
    let (rib, changed) = loaded(feed, PeerKind::Client);
    let mut group = criterion.benchmark_group("walk");
    group.sample_size(10).throughput(Throughput::Elements(changed.len() as u64));
    group.bench_function(format!("{receivers}-receivers"), |bencher| {
        bencher.iter_custom(|count| {
            let runs = (0..count).map(|_| {
                let mut groups = UpdateGroups::new(ExportLimits::default());
                let policy = Rc::new(Policy::accept());
                for id in 0..receivers {
                    groups.join(PeerId(SOURCE.0 + 1 + id), key(PeerKind::Client), &policy);
                }
                measured(|| flush(&mut groups, &rib))
            });
            runs.sum()
        });
    });
    group.finish();
}

/// One route changes on a loaded table.
fn single(criterion: &mut Criterion, feed: &[Announcement]) {
    let (rib, changed) = loaded(feed, PeerKind::Client);
    let mut groups = joined(PeerKind::Client, 1);
    tell(&mut groups, &rib, &changed);
    let mut next = changed.iter().cycle();
    criterion.bench_function("single", |bencher| {
        bencher.iter(|| {
            let dest = next.next().expect("it goes round and round");
            groups.changed(Family::Ipv4Unicast, &[*dest]);
            flush(&mut groups, &rib)
        });
    });
}

fn export(criterion: &mut Criterion) {
    let feed = feed();
    changes(criterion, "pch-reflected-to-1", &feed, PeerKind::Client, 1);
    changes(criterion, "pch-reflected-to-100", &feed, PeerKind::Client, 100);
    changes(criterion, "pch-external-to-1", &feed, PeerKind::External, 1);
    changes(criterion, "composite-reflected-to-1", &composite(), PeerKind::Client, 1);
    walk(criterion, &feed, 1);
    walk(criterion, &feed, 1000);
    single(criterion, &feed);
}

criterion_group!(benches, export);
criterion_main!(benches);
