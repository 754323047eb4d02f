//! Routes that change one by one, each in an UPDATE of its own, at a given pace.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::table::{SentRoute, Table, encode, variant_of, withdraw};
use crate::attributes::SetId;
use crate::engine::{Encoding, Engine, Payload};
use crate::source::random::Random;
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

/// How many of a thousand random changes are withdrawals.
const WITHDRAWN_PER_MILLE: usize = 100;
/// The stream of random numbers that changes are drawn from.
const RANDOM_STREAM: u64 = 0x6368_7572_6e00_0000;

/// Which variant each route was announced with last, by its prefix number.
#[derive(Debug, Default)]
struct Versions(HashMap<u32, u16>);

impl Versions {
    /// The attributes of a route's next announcement, which differ from those of the one before.
    fn next(&mut self, engine: &mut Engine, number: u32, base: SetId) -> SetId {
        let version = self.0.entry(number).or_default();
        *version = *version % VARIANTS + 1;
        variant_of(engine, base, *version)
    }
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
        let mut versions = Versions::default();
        let steps = script.steps.len().min(limit);
        let mut changes = Changes::empty();
        let mut octets = Vec::new();
        for (place, step) in script.steps.iter().take(steps).enumerate() {
            let number = engine.index_mut().number(step.prefix);
            let set = match step.change {
                Change::Withdraw => SetId::NONE,
                Change::Announce(set) => dress(engine, &script.sets[set as usize], step.prefix.family()),
                Change::AnnounceAnew => {
                    let base =
                        now.get(&number).copied().filter(|set| *set != SetId::NONE).unwrap_or(fallback);
                    versions.next(engine, number, base)
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
        let mut random = Random::new(1, RANDOM_STREAM);
        let mut versions = Versions::default();
        for place in 0..count {
            let route = table.routes[random.below(table.routes.len())];
            let gone = changes.outcome.get(&route.number) == Some(&SetId::NONE);
            let set = if random.per_mille(WITHDRAWN_PER_MILLE) && !gone {
                SetId::NONE
            } else {
                versions.next(engine, route.number, route.set)
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use kulan::types::{Family, FamilySet};
    use kulan::wire::frame::MESSAGE_LEN_MAX;
    use kulan::wire::{DecodeContext, canonicalize, decode_update, next_frame};

    use super::*;
    use crate::scenario::SentNextHop;
    use crate::scenario::table::Sender;
    use crate::source::{IpFamily, Source, Step};

    const SENDER: Sender = Sender {
        address: std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)),
        asn: 65001,
        internal: false,
        next_hop: SentNextHop::Own,
        spread: None,
        place: 0,
    };

    fn table(engine: &mut Engine, routes: usize) -> Table {
        let source = Source::Internet { family: IpFamily::Ipv4, routes, sets: None, seed: 1, prefix_seed: 1 };
        Table::new(engine, &source.load(0).unwrap(), &SENDER).unwrap()
    }

    /// What a receiver holds that had the table and then took these messages; fails where a message has more than one
    /// route. Gives back the numbers in the order in which they changed as well.
    fn replayed(engine: &mut Engine, table: &Table, octets: &[u8]) -> (BTreeMap<u32, SetId>, Vec<u32>) {
        let context = DecodeContext {
            four_octet_as: Encoding::default().context.four_octet_as,
            external: true,
            families: FamilySet::only(Family::Ipv4Unicast),
            add_path: FamilySet::EMPTY,
            extended_next_hop: false,
        };
        let mut held: BTreeMap<u32, SetId> =
            table.routes.iter().map(|route| (route.number, route.set)).collect();
        let mut order = Vec::new();
        let (mut at, mut block) = (0, Vec::new());
        while let Some(frame) = next_frame(&octets[at..], MESSAGE_LEN_MAX).unwrap() {
            at += frame.len;
            let view = decode_update(frame.body, &context).unwrap();
            let before = order.len();
            for path in view.withdrawals().flatten() {
                let number = engine.index_mut().number(path.prefix);
                held.remove(&number);
                order.push(number);
            }
            for reach in view.announcements() {
                canonicalize(&view, &mut block);
                let set = engine.store_mut().intern(&block, reach.next_hop);
                for path in reach.nlri.iter() {
                    let number = engine.index_mut().number(path.prefix);
                    held.insert(number, set);
                    order.push(number);
                }
            }
            assert_eq!(order.len(), before + 1, "each change is an UPDATE of its own");
        }
        assert_eq!(at, octets.len());
        (held, order)
    }

    /// What the changes say that a receiver holds in the end.
    fn promised(table: &Table, changes: &Changes) -> BTreeMap<u32, SetId> {
        let mut held: BTreeMap<u32, SetId> =
            table.routes.iter().map(|route| (route.number, route.set)).collect();
        held.extend(&changes.outcome);
        held.retain(|_, set| *set != SetId::NONE);
        held
    }

    /// Everything, given out in steps of so many milliseconds.
    fn given_out(changes: &mut Changes, step_ms: u64) -> Vec<u8> {
        let mut octets = Vec::new();
        let mut elapsed = Duration::ZERO;
        while changes.sent() < changes.len() {
            let before = changes.sent();
            match changes.due(elapsed) {
                Some(payload) => {
                    assert!(changes.sent() > before && !payload.is_empty());
                    octets.extend_from_slice(payload.octets());
                }
                None => assert_eq!(changes.sent(), before),
            }
            elapsed += Duration::from_millis(step_ms);
        }
        assert!(changes.due(elapsed).is_none() && changes.due(Duration::MAX).is_none(), "nothing twice");
        octets
    }

    fn script(engine: &mut Engine, table: &Table, steps: Vec<Step>, speed: f64, limit: usize) -> Changes {
        let script = Script { steps, ..Script::default() };
        let dress = |_: &mut Engine, _: &AttributeSet, _| unreachable!("the script has no sets");
        Changes::of_script(engine, &script, table, &Encoding::default(), speed, limit, &dress)
    }

    fn step(at_s: Option<f64>, prefix: &str, change: Change) -> Step {
        Step { at_s, prefix: prefix.parse().unwrap(), path_id: 0, change }
    }

    #[test]
    fn every_change_is_given_out_exactly_once_in_order_whatever_the_pace_of_asking() {
        let mut given = Vec::new();
        for step_ms in [1, 7, 10_000] {
            let mut engine = Engine::new().unwrap();
            let table = table(&mut engine, 40);
            let mut changes = Changes::random(&mut engine, &table, &Encoding::default(), 500.0, 300);
            assert_eq!((changes.len(), changes.sent(), changes.is_empty()), (300, 0, false));
            given.push(given_out(&mut changes, step_ms));
            assert_eq!(changes.sent(), 300);
        }
        assert!(given[0] == given[1] && given[1] == given[2]);
    }

    #[test]
    fn what_is_due_is_what_its_time_has_come_for() {
        let mut engine = Engine::new().unwrap();
        let table = table(&mut engine, 40);
        let mut changes = Changes::random(&mut engine, &table, &Encoding::default(), 100.0, 10);
        assert_eq!(changes.duration(), Duration::from_millis(90));
        assert!(changes.due(Duration::ZERO).is_some(), "the first at once");
        assert_eq!(changes.sent(), 1);
        assert!(changes.due(Duration::from_millis(9)).is_none());
        assert!(changes.due(Duration::from_millis(35)).is_some());
        assert_eq!(changes.sent(), 4);
        assert!(changes.due(Duration::from_millis(90)).is_some());
        assert_eq!(changes.sent(), 10);
    }

    #[test]
    fn the_outcome_of_random_changes_is_what_a_receiver_of_them_holds() {
        let mut engine = Engine::new().unwrap();
        let table = table(&mut engine, 60);
        let mut changes = Changes::random(&mut engine, &table, &Encoding::default(), 1e6, 2000);
        let promised = promised(&table, &changes);
        let octets = given_out(&mut changes, 1);
        let (held, order) = replayed(&mut engine, &table, &octets);
        assert_eq!(order.len(), 2000);
        assert_eq!(held, promised);
        assert!(held.len() < 60, "some are withdrawn");
        let changed = table.routes.iter().filter(|route| held.get(&route.number) != Some(&route.set)).count();
        assert!(changed > 30, "most are not what they were: {changed} of 60");
    }

    #[test]
    fn each_change_changes_something() {
        let mut engine = Engine::new().unwrap();
        let table = table(&mut engine, 5);
        for count in 1..200 {
            // A longer run begins like a shorter one, so the last change of each is looked at.
            let without = Changes::random(&mut engine, &table, &Encoding::default(), 1.0, count - 1);
            let with = Changes::random(&mut engine, &table, &Encoding::default(), 1.0, count);
            assert_ne!(promised(&table, &without), promised(&table, &with), "change {count}");
        }
    }

    #[test]
    fn the_outcome_of_a_script_is_what_a_receiver_of_it_holds() {
        let mut engine = Engine::new().unwrap();
        let table = table(&mut engine, 3);
        let names: Vec<String> =
            table.routes.iter().map(|route| engine.index().prefix(route.number).to_string()).collect();
        let steps = vec![
            step(None, &names[0], Change::Withdraw),
            step(None, &names[1], Change::AnnounceAnew),
            step(None, "198.18.7.0/24", Change::AnnounceAnew),
            step(None, &names[0], Change::AnnounceAnew),
            step(None, &names[2], Change::Withdraw),
            step(None, &names[1], Change::AnnounceAnew),
        ];
        let mut changes = script(&mut engine, &table, steps, 1e9, usize::MAX);
        let promised = promised(&table, &changes);
        let octets = given_out(&mut changes, 1);
        let (held, order) = replayed(&mut engine, &table, &octets);
        assert_eq!(held, promised);
        let numbers: Vec<u32> = table.routes.iter().map(|route| route.number).collect();
        assert_eq!(
            (order[0], order[1], order[3], order[4]),
            (numbers[0], numbers[1], numbers[0], numbers[2])
        );
        assert_eq!(held.len(), 3, "two of the table, and a new one");
        assert_ne!(held[&numbers[1]], table.routes[1].set, "announced anew is announced differently");
    }

    #[test]
    fn a_script_without_times_covers_a_day_and_one_with_times_keeps_them() {
        let mut engine = Engine::new().unwrap();
        let table = table(&mut engine, 1);
        let steps = |times: [Option<f64>; 4]| {
            times.map(|at_s| step(at_s, "198.18.7.0/24", Change::AnnounceAnew)).to_vec()
        };
        let changes = script(&mut engine, &table, steps([None; 4]), 24.0, usize::MAX);
        assert_eq!(changes.duration(), Duration::from_secs(45 * 60), "the last of four, an hour for a day");
        let times = [0.0, 1.0, 1.0, 5.0].map(Some);
        let mut changes = script(&mut engine, &table, steps(times), 10.0, usize::MAX);
        assert_eq!(changes.duration(), Duration::from_millis(500));
        assert!(changes.due(Duration::from_millis(100)).is_some());
        assert_eq!(changes.sent(), 3, "two at the same time");
    }

    #[test]
    fn a_script_may_be_cut_short() {
        let mut engine = Engine::new().unwrap();
        let table = table(&mut engine, 1);
        let steps = vec![step(None, "198.18.7.0/24", Change::AnnounceAnew); 9];
        assert_eq!(script(&mut engine, &table, steps.clone(), 1.0, 4).len(), 4);
        let mut none = script(&mut engine, &table, steps, 1.0, 0);
        assert!(none.is_empty() && none.due(Duration::MAX).is_none());
        assert_eq!(none.duration(), Duration::ZERO);
    }
}
