//! Reading UPDATE messages, on the feed of PCH's route reflector.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kulan::wire::attrs::canonical::canonicalize;
use kulan::wire::update::decode_update;
use kulan_perf::{feed_bytes, feed_context, update_bodies};

fn benches(criterion: &mut Criterion) {
    let bytes = feed_bytes();
    let bodies = update_bodies(&bytes);
    let mut group = criterion.benchmark_group("codec");
    group.sample_size(20).throughput(Throughput::Elements(bodies.len() as u64));
    group.bench_function("frame", |bencher| bencher.iter(|| update_bodies(&bytes).len()));
    group.bench_function("decode-update", |bencher| {
        bencher.iter(|| {
            for body in &bodies {
                black_box(decode_update(body, &feed_context())).ok();
            }
        });
    });
    group.bench_function("decode-canonicalize-nlri", |bencher| {
        let (mut block, mut prefixes) = (Vec::new(), Vec::new());
        bencher.iter(|| {
            for body in &bodies {
                let Ok(view) = decode_update(body, &feed_context()) else { continue };
                block.clear();
                canonicalize(&view, &mut block);
                for reach in view.announcements() {
                    prefixes.clear();
                    reach.nlri.decode4(&mut prefixes);
                    black_box(&prefixes);
                }
            }
        });
    });
    group.finish();
}

criterion_group!(codec, benches);
criterion_main!(codec);
