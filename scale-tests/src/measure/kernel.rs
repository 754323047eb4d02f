//! W6: how long until a table is in the kernel.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bgpblast::outcome::{Figure, Outcome};

use crate::bench::{Bench, external_source, external_speaker};
use crate::bgp::message::{Key, end_of_rib};
use crate::daemon::Kind;
use crate::feed::Feed;
use crate::kernel;

/// When a run is given up. Above what the slowest known speaker needs.
const PATIENCE: Duration = Duration::from_secs(180);
/// The routes, and how many attribute sets they share: in proportion as many as a full feed has.
const ROUTES: usize = 300_000;
const SETS: usize = 36_690;
/// Routes that the kernel is asked for before it is asked to count. Counting keeps it from freeing memory, which
/// the writer then waits for.
const SAMPLES: usize = 64;
/// How often the kernel is looked at at most; small beside the times that are measured.
const LOOK: Duration = Duration::from_millis(5);

/// One feed into the kernel's table of a fresh speaker. The time ends when the kernel has every route; afterwards each is
/// compared.
///
/// # Errors
/// What did not come out right.
pub fn into_the_kernel(kind: Kind) -> Result<Outcome, String> {
    let bench = Bench::new();
    let identity = external_source(0);
    let feed = Feed::internet(ROUTES, SETS, 1, identity.asn, identity.address);
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
        peers.run(PATIENCE, |peers| peers.established() == peers.len())?;
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
            count >= before + ROUTES
        });
        let end = end.map_err(|error| format!("{count} routes in the kernel: {error}"))?;
        let usage = daemon.usage();
        let gateway = IpAddr::V4(identity.address);
        let wanted = feed.keys().into_iter().map(|key| (key, gateway)).collect();
        kernel::verify(&bench.speaker, &wanted)?;
        let figure = |name: &str, unit: &str, value: f64| Figure {
            name: name.to_string(),
            unit: unit.to_string(),
            value,
            less_is_better: true,
        };
        Ok(Outcome {
            scenario: "kernel".to_string(),
            complete: true,
            figures: vec![
                figure("in the kernel", "s", (end - begin).as_secs_f64()),
                figure("CPU", "s", usage.cpu_ms as f64 / 1000.0),
                figure("memory", "MB", usage.resident_kb as f64 / 1024.0),
            ],
            ..Outcome::default()
        })
    })
}
