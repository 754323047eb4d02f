//! W7: how long one route takes from a source to a receiver.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::tables::{exported, internet_feed};
use super::*;
use crate::bgp::message::{Attributes, Key, NEXT_HOP, ORIGIN, encode_updates, end_of_rib, key};
use crate::bgp::peers::Number;
use crate::bgp::table::{Index, Table};

/// How many routes are measured on the idle speaker.
const PROBES: usize = 2_000;
/// How many there are at most while a table loads.
const PROBES_LOADED: usize = 16_000;
/// How often one is sent while a table loads, whether the one before has arrived or not.
const INTERVAL: Duration = Duration::from_millis(1);

/// Prefixes that nobody has: of the benchmarking network of RFC 2544.
fn probe(number: usize) -> Key {
    key(Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 0, 0)) + number as u32 * 8), 29)
}

fn announcement(number: usize, identity: &Identity) -> (Arc<Vec<u8>>, u64) {
    let mut attributes = Attributes::default();
    attributes.set(ORIGIN, 0x40, vec![0]);
    attributes.prepend(identity.asn);
    attributes.set(NEXT_HOP, 0x40, identity.address.octets().to_vec());
    let mut bytes = Vec::new();
    encode_updates(&attributes, &[probe(number)], &mut bytes);
    (Arc::new(bytes), attributes.exported_externally(SPEAKER_ASN, SPEAKER_TO_RECEIVERS).fingerprint())
}

/// The value below which this share of the sorted values lies.
fn percentile(sorted: &[Duration], share: f64) -> f64 {
    let place = ((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len()) - 1;
    sorted[place].as_secs_f64() * 1000.0
}

pub(super) fn single_routes(bench: &Bench, kind: Kind) -> Result<Vec<Figure>, String> {
    let feed = internet_feed();
    let prober = external_source(1);
    let mut keys = feed.keys();
    let mut expected = exported(&feed);
    keys.extend((0..PROBES + PROBES_LOADED).map(probe));
    expected.resize(keys.len(), 0);
    let table = Table::new(Arc::new(Index::new(keys)), Arc::new(expected.clone()));
    let probes: Vec<_> = (0..PROBES + PROBES_LOADED).map(|number| announcement(number, &prober)).collect();
    bench.with(kind, external_speaker(2), |_, peers| {
        let source = peers.connect(external_source(0), None);
        let probing = peers.connect(prober, None);
        let receiver = peers.connect(external_receiver(), Some(table));
        await_established(peers)?;

        let updates = Arc::new(feed.updates.clone());
        peers.send(source, updates);
        peers.send(source, Arc::new(end_of_rib()));
        let (mut loaded, sent) = while_loading(peers, probing, receiver, feed.routes.len(), &probes)?;
        for (place, (_, fingerprint)) in expected[feed.routes.len()..].iter_mut().zip(&probes).take(sent) {
            *place = *fingerprint;
        }
        peers.table_mut(receiver).expect(Arc::new(expected));
        peers.run(PATIENCE, |peers| peers.all_right())?;

        let mut idle = Vec::with_capacity(PROBES);
        for (number, (update, fingerprint)) in probes.iter().enumerate().skip(PROBES_LOADED) {
            let begin = Instant::now();
            peers.send(probing, update.clone());
            let seen = |peers: &mut Peers| peers.table(receiver).held(probe(number)) == *fingerprint;
            idle.push(peers.run_spinning(PATIENCE, seen)? - begin);
        }
        idle.sort_unstable();
        loaded.sort_unstable();
        Ok(vec![
            figure("idle p50", "ms", percentile(&idle, 0.5)),
            figure("idle p99", "ms", percentile(&idle, 0.99)),
            figure("loading p50", "ms", percentile(&loaded, 0.5)),
            figure("loading p99", "ms", percentile(&loaded, 0.99)),
            figure("loading worst", "ms", percentile(&loaded, 1.0)),
        ])
    })
}

/// Sends a probe at every [`INTERVAL`] until the receiver has `routes` routes of the feed, and returns the
/// latencies of all of them, and how many there were.
fn while_loading(
    peers: &mut Peers,
    probing: Number,
    receiver: Number,
    routes: usize,
    probes: &[(Arc<Vec<u8>>, u64)],
) -> Result<(Vec<Duration>, usize), String> {
    let mut latencies = Vec::new();
    let mut underway: VecDeque<(usize, Instant)> = VecDeque::new();
    let mut sent = 0;
    let mut next = Instant::now();
    peers.run_spinning(PATIENCE, |peers| {
        let now = Instant::now();
        // One source's routes come in the order in which they were sent, or together.
        while let Some((_, begin)) =
            underway.front().filter(|(number, _)| peers.table(receiver).held(probe(*number)) != 0)
        {
            latencies.push(now - *begin);
            underway.pop_front();
        }
        let loading = peers.table(receiver).len() < routes + latencies.len();
        if loading && now >= next && sent < PROBES_LOADED {
            // The time it was due: had this thread been late, the route would have been late too.
            underway.push_back((sent, next));
            peers.send(probing, probes[sent].0.clone());
            sent += 1;
            next += INTERVAL;
        }
        !loading && underway.is_empty()
    })?;
    Ok((latencies, sent))
}
