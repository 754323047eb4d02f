//! Single routes, each timed from the moment it is given to the socket until it is read at a receiver.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use kulan::types::{Family, Prefix, Prefix4, Prefix6};

use super::table::{SentRoute, encode};
use crate::attributes::SetId;
use crate::engine::{Arrival, Encoding, Engine, Payload, PeerNumber};
use crate::outcome::Latency;

/// How many there are at most: as many /29s as the benchmarking network has (RFC 2544, 198.18.0.0/15).
pub const PROBES_MAX: usize = 1 << 14;

/// Probes of one phase.
#[derive(Debug)]
pub struct Probes {
    /// Who sends them.
    pub sender: PeerNumber,
    /// The number of the first probe's prefix; the others follow.
    pub first: u32,
    /// The attributes that all have.
    pub set: SetId,
    octets: Arc<Vec<u8>>,
    /// Where each probe's message ends.
    ends: Vec<usize>,
    sent_at: Vec<Instant>,
    /// By receiver: how long each arrival took.
    taken: HashMap<PeerNumber, Vec<Duration>>,
    arrivals: Vec<Arrival>,
    next: Instant,
}

impl Probes {
    /// Numbers the prefixes of all probes of a run, one after another, and gives back the first one's number.
    pub fn number_all(engine: &mut Engine, family: Family) -> u32 {
        let first = engine.index().len() as u32;
        for place in 0..PROBES_MAX {
            engine.index_mut().number(prefix(family, place));
        }
        first
    }

    /// Encodes `count` probes, the first with this prefix number.
    pub fn new(
        engine: &Engine,
        sender: PeerNumber,
        set: SetId,
        encoding: &Encoding,
        first: u32,
        count: usize,
    ) -> Probes {
        let routes: Vec<SentRoute> =
            (0..count as u32).map(|place| SentRoute { number: first + place, path_id: 0, set }).collect();
        let mut octets = Vec::new();
        let ends = routes.iter().map(|route| {
            encode(engine, &[*route], encoding, &mut octets);
            octets.len()
        });
        let ends = ends.collect();
        Probes {
            sender,
            first,
            set,
            octets: Arc::new(octets),
            ends,
            sent_at: Vec::with_capacity(count),
            taken: HashMap::new(),
            arrivals: Vec::new(),
            next: Instant::now(),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// How many were sent.
    pub fn sent(&self) -> usize {
        self.sent_at.len()
    }

    /// How many times a probe arrived somewhere.
    pub fn arrived(&self) -> usize {
        self.taken.values().map(Vec::len).sum()
    }

    /// Sends the next one, if there is one.
    pub fn send(&mut self, engine: &mut Engine) {
        let place = self.sent();
        let Some(&end) = self.ends.get(place) else { return };
        let start = if place == 0 { 0 } else { self.ends[place - 1] };
        self.sent_at.push(Instant::now());
        engine.send(self.sender, Payload::part(self.octets.clone(), start..end));
    }

    /// Sends the next one if its time has come.
    pub fn send_when_due(&mut self, engine: &mut Engine, interval: Duration) {
        let now = Instant::now();
        if now >= self.next {
            self.next = now + interval;
            self.send(engine);
        }
    }

    /// Notes what has arrived. A route counts when it comes, and not again when it is changed.
    pub fn collect(&mut self, engine: &mut Engine) {
        let mut arrivals = std::mem::take(&mut self.arrivals);
        engine.take_arrivals(&mut arrivals);
        for arrival in arrivals.drain(..) {
            let place = arrival.number.wrapping_sub(self.first) as usize;
            let taken = self.taken.entry(arrival.receiver).or_default();
            // One source's routes come in the order in which they were sent, so a change of an earlier one is told by
            // its place.
            if let Some(sent_at) =
                self.sent_at.get(place).filter(|_| arrival.announced && place >= taken.len())
            {
                taken.push(arrival.at.saturating_duration_since(*sent_at));
            }
        }
        self.arrivals = arrivals;
    }

    /// The distribution over all receivers that `of` accepts.
    pub fn latency(&self, name: String, of: impl Fn(PeerNumber) -> bool) -> Option<Latency> {
        let taken = self.taken.iter().filter(|(receiver, _)| of(**receiver)).flat_map(|(_, taken)| taken);
        distribution(name, taken.copied())
    }
}

/// The distribution of some durations; nothing if there are none.
pub fn distribution(name: String, durations: impl Iterator<Item = Duration>) -> Option<Latency> {
    // Nanoseconds up to an hour, with three significant digits.
    let mut histogram = Histogram::<u64>::new_with_bounds(100, 3_600_000_000_000, 3).ok()?;
    for taken in durations {
        histogram.saturating_record(u64::try_from(taken.as_nanos()).unwrap_or(u64::MAX));
    }
    if histogram.is_empty() {
        return None;
    }
    let ms = |nanoseconds: u64| nanoseconds as f64 / 1e6;
    let at = |share: f64| ms(histogram.value_at_quantile(share));
    // Ten buckets for a factor of ten.
    let buckets = histogram
        .iter_log(1000, 10f64.powf(0.1))
        .map(|step| (ms(step.value_iterated_to()), step.count_since_last_iteration()))
        .collect::<Vec<_>>();
    let begin = buckets.iter().position(|(_, count)| *count > 0).unwrap_or(0);
    Some(Latency {
        name,
        count: histogram.len(),
        p50_ms: at(0.5),
        p90_ms: at(0.9),
        p99_ms: at(0.99),
        p999_ms: at(0.999),
        max_ms: ms(histogram.max()),
        buckets: buckets[begin..].to_vec(),
    })
}

/// A probe's prefix: of the benchmarking networks (RFC 2544, RFC 5180), which are in no table.
fn prefix(family: Family, place: usize) -> Prefix {
    match family {
        Family::Ipv4Unicast => Prefix::V4(Prefix4::new(0xC612_0000 + (place as u32) * 8, 29)),
        Family::Ipv6Unicast => {
            let network = 0x2001_0002_0000_0000_u128 << 64;
            Prefix::V6(Prefix6::new(network | (place as u128) << 64, 64))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn ms(values: &[u64]) -> Option<Latency> {
        distribution("these".to_string(), values.iter().map(|ms| Duration::from_millis(*ms)))
    }

    #[test]
    fn a_distribution_has_its_quantiles_and_counts_everything_once() {
        let values: Vec<u64> = (1..=1000).collect();
        let latency = ms(&values).unwrap();
        assert_eq!((latency.name.as_str(), latency.count), ("these", 1000));
        let near =
            |value: f64, wanted: f64| assert!((value / wanted - 1.0).abs() < 0.002, "{value} {wanted}");
        near(latency.p50_ms, 500.0);
        near(latency.p90_ms, 900.0);
        near(latency.p99_ms, 990.0);
        near(latency.p999_ms, 999.0);
        near(latency.max_ms, 1000.0);
        assert_eq!(latency.buckets.iter().map(|(_, count)| count).sum::<u64>(), 1000);
        assert!(latency.buckets.is_sorted_by(|a, b| a.0 < b.0) && latency.buckets[0].1 > 0);
    }

    #[test]
    fn of_nothing_there_is_no_distribution_and_of_extremes_there_is() {
        assert_eq!(ms(&[]), None);
        let extremes = distribution("x".to_string(), [Duration::ZERO, Duration::MAX].into_iter()).unwrap();
        assert_eq!(extremes.count, 2);
    }

    #[test]
    fn probes_have_prefixes_of_their_own_in_a_row() {
        for family in Family::ALL {
            let mut engine = Engine::new().unwrap();
            engine.index_mut().number("203.0.113.0/24".parse().unwrap());
            assert_eq!(Probes::number_all(&mut engine, family), 1);
            assert_eq!(engine.index().len(), 1 + PROBES_MAX);
            let all: HashSet<Prefix> = (0..PROBES_MAX).map(|place| prefix(family, place)).collect();
            assert_eq!(all.len(), PROBES_MAX);
            assert!(all.iter().all(|prefix| prefix.family() == family));
        }
        let networks: [Prefix; 2] = ["198.18.0.0/29", "198.19.255.248/29"].map(|text| text.parse().unwrap());
        assert_eq!([prefix(Family::Ipv4Unicast, 0), prefix(Family::Ipv4Unicast, PROBES_MAX - 1)], networks);
    }
}
