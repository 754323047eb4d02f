//! Samples over time: what receivers hold, what flows, and what the speaker uses.

use std::time::{Duration, Instant};

use crate::engine::{Engine, PeerNumber};
use crate::outcome::{Curve, UsageSample};

/// How often samples are taken at first.
const INTERVAL: Duration = Duration::from_millis(5);
/// Above so many samples every other one is dropped, and they are taken half as often.
const SAMPLES_MAX: usize = 2000;
/// What a look at one peer costs at most; with thousands, samples are taken less often.
const LOOK: Duration = Duration::from_nanos(500);
/// The most of the time that may go into samples: a hundredth.
const SHARE: u32 = 100;

/// What the speaker's processes use: processor time in s, resident memory in MB, and the most that was ever resident.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Used {
    /// User and system time, s.
    pub cpu_s: f64,
    /// Resident now, MB.
    pub resident_mb: f64,
    /// The most that was ever resident, MB.
    pub peak_mb: f64,
}

/// Tells what the speaker uses.
pub type Meter<'m> = Box<dyn FnMut() -> Used + 'm>;

/// Takes samples while a scenario runs.
#[derive(Debug)]
pub struct Recorder {
    begin: Instant,
    next: Instant,
    interval: Duration,
    receivers: Vec<PeerNumber>,
    lens: Vec<u64>,
    /// What was recorded.
    pub curve: Curve,
    /// What the speaker used.
    pub usage: Vec<UsageSample>,
}

impl Recorder {
    /// Records from now on.
    pub fn new(receivers: Vec<PeerNumber>, peers: usize) -> Recorder {
        let interval = INTERVAL.max(LOOK * SHARE * (receivers.len() + peers) as u32);
        let now = Instant::now();
        let curve = Curve { receivers: receivers.len(), ..Curve::default() };
        Recorder { begin: now, next: now, interval, receivers, lens: Vec::new(), curve, usage: Vec::new() }
    }

    /// Seconds since the beginning.
    pub fn at_s(&self, at: Instant) -> f64 {
        at.saturating_duration_since(self.begin).as_secs_f64()
    }

    /// When the next sample is due.
    pub fn next(&self) -> Instant {
        self.next
    }

    /// Takes a sample if one is due, or if `now_or_never`.
    pub fn sample(&mut self, engine: &Engine, meter: &mut Option<Meter<'_>>, now_or_never: bool) {
        let now = Instant::now();
        if now < self.next && !now_or_never {
            return;
        }
        self.next = now + self.interval;
        let at_s = self.at_s(now);
        self.lens.clear();
        self.lens.extend(self.receivers.iter().map(|number| engine.held(*number).len() as u64));
        self.lens.sort_unstable();
        let share = |share: f64| {
            let last = self.lens.len().saturating_sub(1);
            self.lens.get((last as f64 * share).round() as usize).copied().unwrap_or(0)
        };
        let curve = &mut self.curve;
        curve.at_s.push(at_s);
        curve.least.push(share(0.0));
        curve.p10.push(share(0.1));
        curve.median.push(share(0.5));
        curve.p90.push(share(0.9));
        curve.most.push(share(1.0));
        curve.established.push(engine.established() as u64);
        let (mut routes, mut sent, mut received) = (0, 0, 0);
        for number in (0..engine.len()).map(PeerNumber) {
            let counts = engine.counts(number);
            routes += counts.announced + counts.withdrawn;
            sent += counts.sent_bytes;
            received += counts.received_bytes;
        }
        curve.received.push(routes);
        curve.sent_bytes.push(sent);
        curve.received_bytes.push(received);
        if let Some(meter) = meter {
            let used = meter();
            self.usage.push(UsageSample { at_s, cpu_s: used.cpu_s, resident_mb: used.resident_mb });
        }
        if curve.at_s.len() > SAMPLES_MAX {
            self.thin_out();
        }
    }

    fn thin_out(&mut self) {
        self.interval *= 2;
        let curve = &mut self.curve;
        every_other(&mut curve.at_s);
        for list in [
            &mut curve.least,
            &mut curve.p10,
            &mut curve.median,
            &mut curve.p90,
            &mut curve.most,
            &mut curve.established,
            &mut curve.received,
            &mut curve.sent_bytes,
            &mut curve.received_bytes,
        ] {
            every_other(list);
        }
        every_other(&mut self.usage);
    }
}

fn every_other<T>(list: &mut Vec<T>) {
    let mut keep = false;
    list.retain(|_| {
        keep = !keep;
        keep
    });
}
