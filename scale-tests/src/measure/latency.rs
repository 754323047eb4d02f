//! W7: how long one route takes from a source to a receiver.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::tables::{exported, internet_feed};
use super::*;
use crate::bgp::message::{Attributes, Key, LOCAL_PREF, NEXT_HOP, ORIGIN, encode_updates, end_of_rib, key};
use crate::bgp::peers::Number;
use crate::bgp::table::{Index, Table};
use crate::daemon::Speaker;
use crate::feed::Feed;

/// How many routes are measured on the idle speaker.
const PROBES: usize = 2_000;
/// How many there are at most while a table loads.
const PROBES_LOADED: usize = 16_000;
/// How often one is sent at most while a table loads, whether the one before has arrived or not.
const INTERVAL: Duration = Duration::from_millis(1);

/// Prefixes that nobody has: of the benchmarking network of RFC 2544.
fn probe(number: usize) -> Key {
    key(Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 0, 0)) + number as u32 * 8), 29)
}

/// A probe's route as its source has it.
fn probe_attributes() -> Attributes {
    let prober = external_source(1);
    let mut attributes = Attributes::default();
    attributes.set(ORIGIN, 0x40, vec![0]);
    attributes.prepend(prober.asn);
    attributes.set(NEXT_HOP, 0x40, prober.address.octets().to_vec());
    attributes
}

/// The value below which this share of the sorted values lies, in milliseconds.
fn percentile(sorted: &[Duration], share: f64) -> f64 {
    let place = ((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len()) - 1;
    sorted[place].as_secs_f64() * 1000.0
}

/// Four sessions: an internal one that loads the table, an external one with the probes, an external receiver
/// that gets both, and an internal one that gets the probes only, since nothing is reflected.
fn speaker_and_identities() -> (Speaker, [Identity; 4]) {
    let loader = Identity { asn: SPEAKER_ASN, ..external_source(0) };
    let bystander = Identity { asn: SPEAKER_ASN, address: receiver(1), ..external_receiver() };
    let mut speaker = external_speaker(2);
    speaker.neighbors[0].asn = loader.asn;
    let mut neighbor = speaker.neighbors[2].clone();
    neighbor.asn = bystander.asn;
    neighbor.address = bystander.address.into();
    speaker.neighbors.push(neighbor);
    (speaker, [loader, external_source(1), external_receiver(), bystander])
}

/// The feed of W1 as an internal neighbor sends it.
fn internal_feed() -> Feed {
    let mut feed = internet_feed();
    for set in &mut feed.sets {
        set.set(LOCAL_PREF, 0x40, 100u32.to_be_bytes().to_vec());
    }
    feed.encoded()
}

pub(super) fn single_routes(bench: &Bench, kind: Kind) -> Result<Vec<Figure>, String> {
    let feed = internal_feed();
    let attributes = probe_attributes();
    let through = attributes.exported_externally(SPEAKER_ASN, SPEAKER_TO_RECEIVERS).fingerprint();
    let mut inside = attributes.clone();
    inside.set(LOCAL_PREF, 0x40, 100u32.to_be_bytes().to_vec());
    let inside = inside.fingerprint();

    let probes: Vec<Key> = (0..PROBES + PROBES_LOADED).map(probe).collect();
    let mut keys = feed.keys();
    keys.extend(&probes);
    let of_feed = exported(&feed);
    let nothing: Vec<u64> = vec![0; probes.len()];
    let table = Table::new(Arc::new(Index::new(keys)), Arc::new([of_feed.clone(), nothing.clone()].concat()));
    let bystanders_table = Table::new(Arc::new(Index::new(probes.clone())), Arc::new(nothing));
    let announcement = |number: usize| {
        let mut bytes = Vec::new();
        encode_updates(&attributes, &probes[number..=number], &mut bytes);
        Arc::new(bytes)
    };
    let announcements: Vec<_> = (0..probes.len()).map(announcement).collect();
    let (speaker, [loader, prober, receiver, bystander]) = speaker_and_identities();
    bench.with(kind, speaker, |_, peers| {
        let loader = peers.connect(loader, None);
        let prober = peers.connect(prober, None);
        let receiver = peers.connect(receiver, Some(table));
        let bystander = peers.connect(bystander, Some(bystanders_table));
        await_established(peers)?;

        peers.send(loader, Arc::new(feed.updates.clone()));
        peers.send(loader, Arc::new(end_of_rib()));
        let mut loading = Loading::new(feed.routes.len(), [receiver, bystander]);
        peers.run_spinning(PATIENCE, |peers| loading.step(peers, prober, &announcements))?;
        let has = |number: usize| number < loading.sent || number >= PROBES_LOADED;
        let expected = |fingerprint: u64, sent: &dyn Fn(usize) -> bool| -> Vec<u64> {
            (0..probes.len()).map(|number| if sent(number) { fingerprint } else { 0 }).collect()
        };
        let before = |number: usize| number < loading.sent;
        peers.table_mut(receiver).expect(Arc::new([of_feed.clone(), expected(through, &before)].concat()));
        peers.table_mut(bystander).expect(Arc::new(expected(inside, &before)));
        peers.run(PATIENCE, |peers| peers.all_right())?;

        let mut idle = Vec::with_capacity(PROBES);
        for number in PROBES_LOADED..probes.len() {
            let begin = Instant::now();
            peers.send(prober, announcements[number].clone());
            let seen = |peers: &mut Peers| peers.table(receiver).held(probes[number]) == through;
            idle.push(peers.run_spinning(PATIENCE, seen)? - begin);
        }
        peers.table_mut(receiver).expect(Arc::new([of_feed.clone(), expected(through, &has)].concat()));
        peers.table_mut(bystander).expect(Arc::new(expected(inside, &has)));
        peers.run(PATIENCE, |peers| peers.all_right())?;

        idle.sort_unstable();
        let [mut same, mut other] = loading.latencies;
        same.sort_unstable();
        other.sort_unstable();
        Ok(vec![
            figure("idle p50", "ms", percentile(&idle, 0.5)),
            figure("idle p99", "ms", percentile(&idle, 0.99)),
            figure("while the receiver loads p50", "ms", percentile(&same, 0.5)),
            figure("while the receiver loads p99", "ms", percentile(&same, 0.99)),
            figure("while another loads p50", "ms", percentile(&other, 0.5)),
            figure("while another loads p99", "ms", percentile(&other, 0.99)),
        ])
    })
}

/// Probes sent while a table loads.
struct Loading {
    routes: usize,
    receivers: [Number; 2],
    /// For each receiver the number of the probe that it waits for.
    awaited: [usize; 2],
    /// When each probe was sent: the socket takes it at once, so lateness in sending is this thread's own.
    sent_at: Vec<Instant>,
    /// For each receiver how long the probes took.
    latencies: [Vec<Duration>; 2],
    sent: usize,
    next: Instant,
}

impl Loading {
    fn new(routes: usize, receivers: [Number; 2]) -> Loading {
        Loading {
            routes,
            receivers,
            awaited: [0; 2],
            sent_at: Vec::new(),
            latencies: [Vec::new(), Vec::new()],
            sent: 0,
            next: Instant::now(),
        }
    }

    /// Sends a probe when its time has come, and notes which have arrived. True at the end: the first receiver
    /// holds the table, and both hold every probe.
    fn step(&mut self, peers: &mut Peers, prober: Number, announcements: &[Arc<Vec<u8>>]) -> bool {
        let now = Instant::now();
        for (place, receiver) in self.receivers.into_iter().enumerate() {
            // One source's routes come in the order in which they were sent, or together.
            let awaited = &mut self.awaited[place];
            while *awaited < self.sent && peers.table(receiver).held(probe(*awaited)) != 0 {
                self.latencies[place].push(now - self.sent_at[*awaited]);
                *awaited += 1;
            }
        }
        let loading = peers.table(self.receivers[0]).len() < self.routes + self.awaited[0];
        if loading && now >= self.next && self.sent < PROBES_LOADED {
            self.sent_at.push(Instant::now());
            peers.send(prober, announcements[self.sent].clone());
            self.sent += 1;
            self.next = now + INTERVAL;
        }
        !loading && self.awaited == [self.sent; 2]
    }
}
