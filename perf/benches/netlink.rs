//! What a route costs on its way into a netlink batch, without the kernel.
//!
//! Goals: at most 50 ns for the message, and 100 ns for all that a domain does for a route, beside some
//! 2,800 ns that the kernel takes for it.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use kulan::fib::netlink::{Messages, NLM_F_CREATE, NLM_F_EXCL, NLMSG_ERROR, RouteWriter};
use kulan::fib::{Destinations, Fib, FibOptions};
use kulan::types::{DestId, Family, NextHop, NextHopId, Prefix, Prefix4, Prefix6, Time};

const ROUTES: u32 = 100_000;

fn prefix(family: Family, dest: DestId) -> Prefix {
    // Spread over the address space, as real tables are.
    let number = dest.0.wrapping_mul(0x9e37_79b1);
    match family {
        Family::Ipv4Unicast => Prefix::V4(Prefix4::new(number, 24)),
        Family::Ipv6Unicast => Prefix::V6(Prefix6::new(u128::from(number) << 80, 48)),
    }
}

/// A table in which the number of a destination is its prefix.
struct Prefixes;

impl Destinations for Prefixes {
    fn prefix(&self, family: Family, dest: DestId) -> Prefix {
        prefix(family, dest)
    }

    fn find(&self, wanted: Prefix) -> Option<DestId> {
        (0..ROUTES).map(DestId).find(|dest| prefix(wanted.family(), *dest) == wanted)
    }
}

fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("netlink");
    group.throughput(Throughput::Elements(256));
    let writer = RouteWriter { table: 254, metric: 20, protocol: 75 };
    let mut out = Vec::new();
    for (name, family) in [("route4", Family::Ipv4Unicast), ("route6", Family::Ipv6Unicast)] {
        let prefixes: Vec<Prefix> = (0..256).map(|dest| prefix(family, DestId(dest))).collect();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                out.clear();
                for (seq, prefix) in prefixes.iter().enumerate() {
                    writer.write(&mut out, seq as u32, NLM_F_CREATE | NLM_F_EXCL, *prefix, 7);
                }
                black_box(&out);
            });
        });
    }
    group.finish();
}

/// Messages of a kernel that has nothing and agrees to everything.
fn message(kind: u16, seq: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = (16 + payload.len() as u32).to_ne_bytes().to_vec();
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(&seq.to_ne_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
    out
}

fn answer(fib: &mut Fib, batch: &[u8]) {
    const NLMSG_DONE: u16 = 3;
    const RTM_GETNEXTHOP: u16 = 106;
    let Some(last) = Messages::new(batch).last() else { return };
    let kind = match last.kind {
        18 | 22 | 26 | RTM_GETNEXTHOP => NLMSG_DONE,
        _ => NLMSG_ERROR,
    };
    fib.handle_sent(Time(1));
    fib.handle_netlink(Time(1), &message(kind, last.seq, &[0; 20]));
}

fn link(ifindex: u32) -> Vec<u8> {
    let mut payload = vec![0; 16];
    payload[4..8].copy_from_slice(&ifindex.to_ne_bytes());
    payload[8..12].copy_from_slice(&0x10001u32.to_ne_bytes());
    payload.extend_from_slice(&[8, 0, 3, 0, b'e', b'0', 0, 0]);
    message(16, 0, &payload)
}

/// All of a domain's work for one route: the wish, the queue, the message, the answer.
fn install(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fib");
    group.throughput(Throughput::Elements(u64::from(ROUTES)));
    group.sample_size(20);
    group.bench_function("install4", |bencher| {
        bencher.iter_batched(
            || {
                let mut fib = Fib::new(FibOptions { install: true, ..FibOptions::default() });
                let mut batch = Vec::new();
                fib.track(NextHopId(0), NextHop::new("fe80::1".parse().unwrap()), 2);
                while !fib.is_ready() {
                    if fib.poll_batch(Time(1), &Prefixes, &mut batch) {
                        answer(&mut fib, &batch);
                    }
                }
                fib.handle_netlink(Time(1), &link(2));
                fib
            },
            |mut fib| {
                let mut batch = Vec::with_capacity(32 << 10);
                for dest in 0..ROUTES {
                    fib.set_route(Family::Ipv4Unicast, DestId(dest), &[NextHopId(0)]);
                }
                while fib.poll_batch(Time(1), &Prefixes, &mut batch) {
                    answer(&mut fib, &batch);
                }
                assert_eq!(fib.stats().installed, u64::from(ROUTES));
                fib
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, encode, install);
criterion_main!(benches);
