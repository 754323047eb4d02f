//! Routes that change one by one, each in an UPDATE of its own, at a given pace.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::table::{SentRoute, Table, encode, variant_of, withdraw};
use crate::attributes::SetId;
use crate::engine::{Encoding, Engine, Payload};
use crate::source::{AttributeSet, Change, Script};

/// How long a script without times lasted: the recorded ones cover a day.
const DAY: Duration = Duration::from_secs(86_400);
/// How many variants of a route's attributes there are when a script says only that it was announced.
const VARIANTS: u16 = 4;

/// Changes, encoded, each with its time.
#[derive(Debug)]
pub struct Changes {
    octets: Arc<Vec<u8>>,
    /// For each change where its message ends, and when it is due after the beginning.
    steps: Vec<(usize, Duration)>,
    next: usize,
    /// What is different afterwards.
    pub outcome: HashMap<u32, SetId>,
}

/// Makes the sets of a script those of a sender.
pub type Dress<'d> = dyn Fn(&mut Engine, &AttributeSet, kulan::types::Family) -> SetId + 'd;

impl Changes {
    /// The changes of a script, as a peer with this table sends them.
    pub fn of_script(
        engine: &mut Engine,
        script: &Script,
        table: &Table,
        encoding: &Encoding,
        speed: f64,
        limit: usize,
        dress: &Dress<'_>,
    ) -> Changes {
        let mut now: HashMap<u32, SetId> =
            table.routes.iter().map(|route| (route.number, route.set)).collect();
        let fallback = table.routes.first().map(|route| route.set).unwrap_or_default();
        let mut versions: HashMap<u32, u16> = HashMap::new();
        let steps = script.steps.len().min(limit);
        let mut changes = Changes::empty();
        let mut octets = Vec::new();
        for (place, step) in script.steps.iter().take(steps).enumerate() {
            let number = engine.index_mut().number(step.prefix);
            let set = match step.change {
                Change::Withdraw => SetId::NONE,
                Change::Announce(set) => dress(engine, &script.sets[set as usize], step.prefix.family()),
                Change::AnnounceAnew => {
                    let version = versions.entry(number).or_default();
                    *version = *version % VARIANTS + 1;
                    let base =
                        now.get(&number).copied().filter(|set| *set != SetId::NONE).unwrap_or(fallback);
                    variant_of(engine, base, *version)
                }
            };
            let at = step.at_s.map_or_else(
                || DAY.mul_f64(place as f64 / script.steps.len() as f64),
                |at_s| Duration::from_secs_f64(at_s.max(0.0)),
            );
            now.insert(number, set);
            changes.push(
                engine,
                SentRoute { number, path_id: step.path_id, set },
                encoding,
                at.div_f64(speed),
                &mut octets,
            );
        }
        changes.octets = Arc::new(octets);
        changes
    }

    /// Random changes of a table's own routes: one in ten is withdrawn, and comes back with its next change.
    pub fn random(
        engine: &mut Engine,
        table: &Table,
        encoding: &Encoding,
        per_second: f64,
        count: usize,
    ) -> Changes {
        let mut changes = Changes::empty();
        let mut octets = Vec::new();
        let mut state = 0x9E37_79B9_7F4A_7C15u64;
        let mut versions: HashMap<u32, u16> = HashMap::new();
        for place in 0..count {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let route = table.routes[(state % table.routes.len() as u64) as usize];
            let gone = changes.outcome.get(&route.number) == Some(&SetId::NONE);
            let set = if state >> 40 & 0xff < 26 && !gone {
                SetId::NONE
            } else {
                let version = versions.entry(route.number).or_default();
                *version = *version % VARIANTS + 1;
                variant_of(engine, route.set, *version)
            };
            let at = Duration::from_secs_f64(place as f64 / per_second);
            changes.push(engine, SentRoute { set, ..route }, encoding, at, &mut octets);
        }
        changes.octets = Arc::new(octets);
        changes
    }

    fn empty() -> Changes {
        Changes { octets: Arc::default(), steps: Vec::new(), next: 0, outcome: HashMap::new() }
    }

    fn push(
        &mut self,
        engine: &Engine,
        route: SentRoute,
        encoding: &Encoding,
        at: Duration,
        octets: &mut Vec<u8>,
    ) {
        if route.set == SetId::NONE {
            withdraw(engine, &[route], encoding, octets);
        } else {
            encode(engine, &[route], encoding, octets);
        }
        self.steps.push((octets.len(), at));
        self.outcome.insert(route.number, route.set);
    }

    /// How many changes there are.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// How long they take at their pace.
    pub fn duration(&self) -> Duration {
        self.steps.last().map_or(Duration::ZERO, |(_, at)| *at)
    }

    /// How many have been given out.
    pub fn sent(&self) -> usize {
        self.next
    }

    /// What is due after so much time and was not given out yet.
    pub fn due(&mut self, elapsed: Duration) -> Option<Payload> {
        let end = self.next + self.steps[self.next..].partition_point(|(_, at)| *at <= elapsed);
        if end == self.next {
            return None;
        }
        let start = if self.next == 0 { 0 } else { self.steps[self.next - 1].0 };
        self.next = end;
        Some(Payload::part(self.octets.clone(), start..self.steps[end - 1].0))
    }
}
