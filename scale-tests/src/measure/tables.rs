//! W1, W1r, W2, W5, W6: large tables through few sessions.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::bgp::message::{AS_PATH, Attributes, Key, NEXT_HOP, end_of_rib};
use crate::bgp::table::{Index, Table};
use crate::feed::Feed;
use crate::kernel;

/// The routes of W1.
const ROUTES: usize = 1_000_000;
/// The attribute sets of W1: as many as a full feed of 2026 has, in proportion.
const SETS: usize = 122_303;
/// The routes of W6.
const KERNEL_ROUTES: usize = 300_000;
/// Routes that the kernel is asked for before it is asked to count. Counting keeps it from freeing memory, which
/// the writer then waits for.
const SAMPLES: usize = 64;
/// How often the kernel is looked at at most; small beside the times that are measured.
const LOOK: Duration = Duration::from_millis(5);

pub(super) fn internet_feed() -> Feed {
    let source = external_source(0);
    Feed::internet(ROUTES, SETS, 1, source.asn, source.address)
}

/// What the receiver of an external speaker must hold of a feed.
pub(super) fn exported(feed: &Feed) -> Vec<u64> {
    feed.expectation(|set| Some(set.exported_externally(SPEAKER_ASN, SPEAKER_TO_RECEIVERS)))
}

/// Connects one source and one receiver, sends the feed, and waits until the receiver's table is right.
fn load(
    daemon: &Daemon<'_>,
    peers: &mut Peers,
    identities: [Identity; 2],
    feed: &Feed,
    table: Table,
) -> Result<Vec<Figure>, String> {
    let [source, receiver] = identities;
    let source = peers.connect(source, None);
    peers.connect(receiver, Some(table));
    await_established(peers)?;
    let updates = Arc::new(feed.updates.clone());
    let begin = Instant::now();
    peers.send(source, updates);
    peers.send(source, Arc::new(end_of_rib()));
    let end = peers.run(PATIENCE, |peers| peers.all_right())?;
    Ok(standard_figures(end - begin, daemon.usage()))
}

pub(super) fn full_table(bench: &Bench, kind: Kind) -> Result<Vec<Figure>, String> {
    let feed = internet_feed();
    let table = Table::new(Arc::new(Index::new(feed.keys())), Arc::new(exported(&feed)));
    bench.with(kind, external_speaker(1), |daemon, peers| {
        load(daemon, peers, [external_source(0), external_receiver()], &feed, table)
    })
}

pub(super) fn feed_down(bench: &Bench, kind: Kind) -> Result<Vec<Figure>, String> {
    let feed = internet_feed();
    let table = Table::new(Arc::new(Index::new(feed.keys())), Arc::new(exported(&feed)));
    bench.with(kind, external_speaker(1), |daemon, peers| {
        load(daemon, peers, [external_source(0), external_receiver()], &feed, table)?;
        peers.table_mut(1).expect(Arc::new(vec![0; feed.routes.len()]));
        let before = daemon.usage();
        let begin = Instant::now();
        peers.close(0);
        let end = peers.run(PATIENCE, |peers| peers.all_right())?;
        let mut figures = standard_figures(end - begin, daemon.usage());
        figures.retain(|figure| figure.name != "CPU");
        figures.push(figure("CPU", "s", (daemon.usage().cpu_ms - before.cpu_ms) as f64 / 1000.0));
        Ok(figures)
    })
}

pub(super) fn reflected_feed(bench: &Bench, kind: Kind) -> Result<Vec<Figure>, String> {
    let feed = Feed::pch();
    let table = Table::new(Arc::new(Index::new(feed.keys())), Arc::new(pch_reflected(&feed, kind)));
    let (speaker, identities) = pch_reflector(true);
    bench.with(kind, speaker, |daemon, peers| load(daemon, peers, identities, &feed, table))
}

/// Of the ten feeds of W2 another one has the shortest path for every attribute set, so that the outcome does not
/// depend on who came first.
fn feed_of_ten(number: u8) -> Feed {
    let source = external_source(number);
    Feed::uniform(100_000, 8, |set, attributes| {
        let best = set % 10 == u32::from(number);
        for hop in 0..if best { 3 } else { 4 } {
            attributes.prepend(100_000 + (set + hop * 7919) % 70_000);
        }
        attributes.prepend(source.asn);
        attributes.set(NEXT_HOP, 0x40, source.address.octets().to_vec());
    })
}

pub(super) fn ten_feeds(bench: &Bench, kind: Kind) -> Result<Vec<Figure>, String> {
    let feeds: Vec<Feed> = (0..10).map(feed_of_ten).collect();
    let mut expected = exported(&feeds[0]);
    for feed in &feeds[1..] {
        let shortest = |set: &Attributes| set.get(AS_PATH).is_some_and(|path| path.len() == 2 + 4 * 4);
        let of_feed = feed.expectation(|set| {
            shortest(set).then(|| set.exported_externally(SPEAKER_ASN, SPEAKER_TO_RECEIVERS))
        });
        for (place, fingerprint) in expected.iter_mut().zip(of_feed) {
            if fingerprint != 0 {
                *place = fingerprint;
            }
        }
    }
    let table = Table::new(Arc::new(Index::new(feeds[0].keys())), Arc::new(expected));
    bench.with(kind, external_speaker(10), |daemon, peers| {
        let sources: Vec<_> = (0..10).map(|number| peers.connect(external_source(number), None)).collect();
        peers.connect(external_receiver(), Some(table));
        await_established(peers)?;
        let updates: Vec<_> = feeds.iter().map(|feed| Arc::new(feed.updates.clone())).collect();
        let begin = Instant::now();
        for (source, updates) in sources.into_iter().zip(updates) {
            peers.send(source, updates);
            peers.send(source, Arc::new(end_of_rib()));
        }
        let end = peers.run(PATIENCE, |peers| peers.all_sent() && peers.all_right())?;
        Ok(standard_figures(end - begin, daemon.usage()))
    })
}

pub(super) fn into_the_kernel(bench: &Bench, kind: Kind) -> Result<Vec<Figure>, String> {
    let identity = external_source(0);
    let feed = Feed::internet(KERNEL_ROUTES, SETS * 3 / 10, 1, identity.asn, identity.address);
    let mut speaker = external_speaker(1);
    speaker.install = true;
    let before = kernel::count(&bench.speaker);
    let mut lookup = kernel::Lookup::open(&bench.speaker);
    let keys = feed.keys();
    let length = keys.iter().map(|key| *key as u8).max().unwrap_or(0);
    let longest: Vec<Key> = keys.into_iter().filter(|key| *key as u8 == length).collect();
    let mut samples: Vec<Key> = longest.iter().copied().step_by(longest.len() / SAMPLES).collect();
    bench.with(kind, speaker, |daemon, peers| {
        let source = peers.connect(identity, None);
        await_established(peers)?;
        let updates = Arc::new(feed.updates.clone());
        let begin = Instant::now();
        peers.send(source, updates);
        peers.send(source, Arc::new(end_of_rib()));
        let mut next_look = begin;
        let mut count = 0;
        let end = peers.run_looking(PATIENCE, LOOK, |_| {
            if Instant::now() < next_look {
                return false;
            }
            next_look = Instant::now() + LOOK;
            while samples.pop_if(|sample| lookup.holds(*sample)).is_some() {}
            if samples.is_empty() {
                count = kernel::count(&bench.speaker);
            }
            count >= before + KERNEL_ROUTES
        });
        let end = end.map_err(|error| format!("{count} routes in the kernel: {error}"))?;
        let usage = daemon.usage();
        let gateway = IpAddr::V4(identity.address);
        let wanted = feed.keys().into_iter().map(|key| (key, gateway)).collect();
        kernel::verify(&bench.speaker, &wanted)?;
        Ok(standard_figures(end - begin, usage))
    })
}
