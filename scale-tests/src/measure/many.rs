//! W3, W4, W8, W9: many sessions.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::bgp::message::{Attributes, Key, LOCAL_PREF, NEXT_HOP, ORIGIN, encode_updates, end_of_rib, key};
use crate::bgp::peers::State;
use crate::bgp::table::{Index, Table};
use crate::feed::Feed;

/// The clients of W3.
const FAN_OUT: usize = 100;
/// The clients of W4.
const MESH: usize = 1_000;
/// The clients of W8.
const STORM: usize = 2_000;
/// The peers of W9, in two steps.
const IDLE: [usize; 2] = [1_000, 10_000];
/// How long a client that was refused waits before it tries again.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// How many connections are begun at a time where the speaker is not to be stormed.
const ADMITTED: usize = 50;

/// Connects clients in small groups, each group when the one before is Established.
fn admit(peers: &mut Peers, count: usize, table: impl Fn(usize) -> Option<Table>) -> Result<(), String> {
    while peers.len() < count {
        for _ in 0..ADMITTED.min(count - peers.len()) {
            peers.connect(internal_client(peers.len()), table(peers.len()));
        }
        await_established(peers)?;
    }
    Ok(())
}

pub(super) fn fan_out(bench: &Bench, kind: Kind) -> Result<Vec<Figure>, String> {
    let source = client(0);
    let feed = Feed::uniform(100_000, 8, |set, attributes| {
        for hop in 0..4 {
            attributes.prepend(100_000 + (set + hop * 7919) % 70_000);
        }
        attributes.set(NEXT_HOP, 0x40, source.octets().to_vec());
        attributes.set(LOCAL_PREF, 0x40, 100u32.to_be_bytes().to_vec());
    });
    let index = Arc::new(Index::new(feed.keys()));
    let expected = Arc::new(feed.expectation(|set| Some(set.reflected(SPEAKER, source))));
    bench.with(kind, reflector(), |daemon, peers| {
        let table = |number| (number > 0).then(|| Table::new(index.clone(), expected.clone()));
        admit(peers, FAN_OUT + 1, table)?;
        let updates = Arc::new(feed.updates.clone());
        let begin = Instant::now();
        peers.send(0, updates);
        peers.send(0, Arc::new(end_of_rib()));
        let end = peers.run(PATIENCE, |peers| peers.all_right())?;
        Ok(standard_figures(end - begin, daemon.usage()))
    })
}

pub(super) fn all_to_all(bench: &Bench, kind: Kind) -> Result<Vec<Figure>, String> {
    let prefix = |number: usize| -> Key { key(Ipv4Addr::from(0x6440_0000 + ((number as u32) << 8)), 24) };
    let attributes = |number: usize| {
        let mut attributes = Attributes::default();
        attributes.set(ORIGIN, 0x40, vec![0]);
        attributes.set(crate::bgp::message::AS_PATH, 0x40, Vec::new());
        attributes.set(NEXT_HOP, 0x40, client(number).octets().to_vec());
        attributes.set(LOCAL_PREF, 0x40, 100u32.to_be_bytes().to_vec());
        attributes
    };
    let index = Arc::new(Index::new((0..MESH).map(prefix).collect()));
    let of_others: Vec<u64> =
        (0..MESH).map(|number| attributes(number).reflected(SPEAKER, client(number)).fingerprint()).collect();
    bench.with(kind, reflector(), |daemon, peers| {
        admit(peers, MESH, |number| {
            let mut expected = of_others.clone();
            // Nobody gets its own route back.
            expected[number] = 0;
            Some(Table::new(index.clone(), Arc::new(expected)))
        })?;
        let updates: Vec<Arc<Vec<u8>>> = (0..MESH)
            .map(|number| {
                let mut bytes = Vec::new();
                encode_updates(&attributes(number), &[prefix(number)], &mut bytes);
                bytes.extend_from_slice(&end_of_rib());
                Arc::new(bytes)
            })
            .collect();
        let begin = Instant::now();
        for (number, updates) in updates.into_iter().enumerate() {
            peers.send(number, updates);
        }
        let end = peers.run(PATIENCE, |peers| peers.all_right())?;
        Ok(standard_figures(end - begin, daemon.usage()))
    })
}

pub(super) fn storm(bench: &Bench, kind: Kind) -> Result<Vec<Figure>, String> {
    bench.with(kind, reflector(), |daemon, peers| {
        let begin = Instant::now();
        for number in 0..STORM {
            peers.connect(internal_client(number), None);
        }
        let mut refused = vec![false; STORM];
        let mut next_try = Instant::now() + TRY_AGAIN;
        while peers.established() < STORM {
            peers.poll(10);
            if begin.elapsed() > PATIENCE {
                return Err(format!("{} of {STORM} sessions Established", peers.established()));
            }
            if Instant::now() >= next_try {
                next_try = Instant::now() + TRY_AGAIN;
                for (number, refused) in refused.iter_mut().enumerate() {
                    if matches!(peers.state(number), State::Down(_)) {
                        *refused = true;
                        peers.reconnect(number);
                    }
                }
            }
        }
        let mut figures = standard_figures(begin.elapsed(), daemon.usage());
        let count = refused.iter().filter(|refused| **refused).count();
        figures.push(figure("refused at first", "peers", count as f64));
        Ok(figures)
    })
}

pub(super) fn idle(bench: &Bench, kind: Kind) -> Result<Vec<Figure>, String> {
    bench.with(kind, reflector(), |daemon, peers| {
        let before = daemon.usage().resident_kb;
        let mut figures = Vec::new();
        for (count, name) in IDLE.into_iter().zip(["memory per peer, 1,000", "memory per peer, 10,000"]) {
            match admit(peers, count, |_| None) {
                // A speaker that does not get that far has its figure for the smaller number.
                Err(_) if !figures.is_empty() => return Ok(figures),
                outcome => outcome?,
            }
            let grown = daemon.usage().resident_kb.saturating_sub(before);
            figures.push(figure(name, "kB", grown as f64 / count as f64));
        }
        let cpu = daemon.usage().cpu_ms;
        let rest = Duration::from_secs(35);
        let begin = Instant::now();
        while begin.elapsed() < rest {
            peers.poll(100);
        }
        let used = (daemon.usage().cpu_ms - cpu) as f64;
        figures.push(figure("CPU at rest, 10,000", "%", used / rest.as_millis() as f64 * 100.0));
        Ok(figures)
    })
}
