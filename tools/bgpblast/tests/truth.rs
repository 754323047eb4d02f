//! The judge finds faults.
//!
//! A tool that says "all receivers hold what they should" is worth as much as what it says when they do not. So here
//! bgpblast runs against a speaker that is wrong on purpose: it waits until the table has begun to come, and then says
//! to the receiver what the script says, message by message. One fault a test, and one speaker without any, of which
//! nothing may be found.
//!
//! Everything happens on loopback, on a port that the kernel chose. Where a fault leaves the receiver without what it
//! should hold, the run ends with its time limit, which is short; nothing else has to do with a clock.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use bgpblast::engine::{Encoding, Engine, Payload, Peer, PeerNumber, State, Transport};
use bgpblast::outcome::{Finding, Outcome};
use bgpblast::progress::Progress;
use bgpblast::scenario::builtin::{self, Common, SPEAKER_ASN};
use bgpblast::scenario::place::Place;
use bgpblast::scenario::run::{Run, Setup};
use bgpblast::scenario::table::{SentRoute, encode, withdraw};
use bgpblast::scenario::{Connect, Phase, Scenario};
use bgpblast::source::{IpFamily, Source};
use kulan::types::{Family, FamilySet, NextHop, Prefix, RouterId};
use kulan::wire::AttributeEditor;
use kulan::wire::attrs::Origin;
use kulan::wire::encode::encode_end_of_rib;

/// How many routes the table has.
const ROUTES: usize = 24;
/// How long a run takes that the fault keeps from its end, s. The table is said in a thousandth of that.
const TIME_LIMIT_S: u64 = 2;
/// When a run is given up that should come to its end, s.
const PATIENCE_S: u64 = 60;
/// The feed, as a target on loopback has it.
const FEED: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 1, 0, 1));
/// The receiver.
const RECEIVER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 2, 0, 1));

/// What the speaker does once the table has begun to come and the receiver is there.
enum Act {
    /// Says this to the receiver.
    Say(Vec<u8>),
    /// Ends the receiver's session without a word.
    HangUp,
    /// Ends it in words.
    Leave,
}

/// What a right speaker would say, and the means to say something else.
struct Right<'r> {
    engine: &'r mut Engine,
    /// What the receiver should hold.
    routes: Vec<SentRoute>,
}

impl Right<'_> {
    fn announce(&self, routes: &[SentRoute]) -> Act {
        let mut octets = Vec::new();
        encode(self.engine, routes, &Encoding::default(), &mut octets);
        Act::Say(octets)
    }

    fn withdraw(&self, routes: &[SentRoute]) -> Act {
        let mut octets = Vec::new();
        withdraw(self.engine, routes, &Encoding::default(), &mut octets);
        Act::Say(octets)
    }

    /// All that there is to say.
    fn all(&self) -> Act {
        self.announce(&self.routes)
    }

    /// All but the last route.
    fn all_but_one(&self) -> Act {
        self.announce(&self.routes[..ROUTES - 1])
    }

    fn last(&self) -> SentRoute {
        self.routes[ROUTES - 1]
    }
}

fn end_of_rib() -> Act {
    let mut octets = Vec::new();
    encode_end_of_rib(Family::Ipv4Unicast, &mut octets);
    Act::Say(octets)
}

/// An UPDATE with this body.
fn update(body: &[u8]) -> Act {
    let len = 19 + body.len() as u16;
    Act::Say([&[0xff; 16][..], &len.to_be_bytes(), &[2], body].concat())
}

fn table() -> Scenario {
    let source =
        Source::Internet { family: IpFamily::Ipv4, routes: ROUTES, sets: Some(6), seed: 1, prefix_seed: 1 };
    let common = Common { source, time_limit_s: PATIENCE_S, ..Common::default() };
    builtin::table(&common, true)
}

/// The receiver comes when the speaker has the table already.
fn with_a_late_receiver() -> Scenario {
    let connect = |name: &str| Phase {
        connect: Some(Connect {
            peers: vec![name.to_string()],
            per_second: None,
            at_a_time: None,
            announce: false,
        }),
        ..Phase::default()
    };
    let mut scenario = table();
    scenario.phases[0] = connect("feeds");
    scenario.phases.push(connect("receivers"));
    scenario
}

/// Runs a scenario to its end against a speaker that follows the script.
fn judged(scenario: &Scenario, script: impl FnOnce(&mut Right<'_>) -> Vec<Act>) -> Outcome {
    judged_at(scenario, 0, script)
}

/// The same, with a speaker that first turns the receiver away so many times.
fn judged_at(
    scenario: &Scenario,
    refusals: usize,
    script: impl FnOnce(&mut Right<'_>) -> Vec<Act>,
) -> Outcome {
    let stop = AtomicBool::new(false);
    let (bound, is_bound) = channel();
    let (written, to_follow) = channel();
    std::thread::scope(|scope| {
        let speaker = scope.spawn({
            let stop = &stop;
            move || speak(&bound, &to_follow, refusals, stop)
        });
        let address: SocketAddr = is_bound.recv().unwrap();
        let (progress, interrupted) = (Progress::new(true), AtomicBool::new(false));
        let setup = Setup {
            scenario,
            place: Place::target(address, None).unwrap(),
            meter: None,
            reconfigurer: None,
            progress: &progress,
            interrupted: &interrupted,
        };
        let mut run = Run::new(setup).unwrap();
        let routes = right_routes(&mut run);
        written.send(script(&mut Right { engine: &mut run.built.engine, routes })).unwrap();
        let ended = run.phases(usize::MAX);
        let outcome = run.finish(ended);
        stop.store(true, Ordering::Relaxed);
        speaker.join().unwrap();
        outcome
    })
}

/// What the receiver should be told in the end.
fn right_routes(run: &mut Run<'_>) -> Vec<SentRoute> {
    let built = &mut run.built;
    built.world.members[0].announced = true;
    built.world.expect(&mut built.engine);
    built.world.members[0].announced = false;
    let expected = built.engine.held(PeerNumber(1)).expected().clone();
    expected.routes().map(|(number, set)| SentRoute { number, path_id: 0, set }).collect()
}

/// The speaker, until it is told to stop.
fn speak(bound: &Sender<SocketAddr>, script: &Receiver<Vec<Act>>, refusals: usize, stop: &AtomicBool) {
    let mut engine = Engine::new().unwrap();
    let on = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
    let [feed, receiver] = [FEED, RECEIVER].map(|peer| {
        engine.add(Peer {
            address: on.ip(),
            speaker: SocketAddr::new(peer, 0),
            transport: Transport::Listen(0),
            asn: SPEAKER_ASN,
            router_id: RouterId(0x0101_0101),
            hold_time_s: 90,
            families: FamilySet::only(Family::Ipv4Unicast),
            add_path: false,
            extended_messages: false,
            md5: None,
            receives: false,
        })
    });
    bound.send(engine.listen_for_all(on).unwrap()).unwrap();
    let Ok(script) = script.recv() else { return };
    let mut script = Some(script);
    let mut refused = 0;
    while !stop.load(Ordering::Relaxed) {
        engine.poll(Duration::from_millis(5)).unwrap();
        if refused < refusals && matches!(engine.state(receiver), State::OpenSent | State::OpenConfirm) {
            engine.close(receiver, true);
            refused += 1;
        }
        let ready = engine.counts(feed).updates > 0 && *engine.state(receiver) == State::Established;
        for act in ready.then(|| script.take()).flatten().into_iter().flatten() {
            match act {
                Act::Say(octets) => engine.send(receiver, Payload::new(Arc::new(octets))),
                Act::HangUp => engine.close(receiver, false),
                Act::Leave => engine.close(receiver, true),
            }
        }
    }
}

/// The finding of this kind, which must be the only one.
fn only_finding<'o>(outcome: &'o Outcome, kind: &str) -> &'o Finding {
    match &outcome.findings[..] {
        [one] if one.kind == kind => {
            assert_eq!(one.peers, 1, "{one:?}");
            assert!(one.example.starts_with("127.2.0.1: "), "the example names the peer: {one:?}");
            one
        }
        found => panic!("{kind:?} should be the one finding, not {found:?}"),
    }
}

/// That the run was complete and the receiver right in the end, whatever was found on the way.
fn came_out_right(outcome: &Outcome) {
    assert_eq!((&outcome.failure, outcome.difference_count), (&None, 0), "{:?}", outcome.differences);
    assert!(outcome.complete);
}

/// That the run waited for what never came, and says so.
fn ran_into_its_time_limit(outcome: &Outcome) {
    let failure = outcome.failure.as_deref().unwrap_or_default();
    let told = ["phase \"convergence\"", "time limit of 2 s", "0 of 1 receivers hold what they should"];
    told.iter().for_each(|what| assert!(failure.contains(what), "{failure}"));
    assert!(!outcome.complete && !outcome.passed());
    assert!(outcome.figures.is_empty(), "a phase that did not end has no figure: {:?}", outcome.figures);
}

fn short(scenario: Scenario) -> Scenario {
    Scenario { time_limit_s: TIME_LIMIT_S, ..scenario }
}

fn prefix_of(right: &Right<'_>, route: SentRoute) -> String {
    right.engine.index().prefix(route.number).to_string()
}

// A speaker without fault.

#[test]
fn of_a_speaker_without_fault_nothing_is_found() {
    for scenario in [table(), with_a_late_receiver()] {
        let outcome = judged(&scenario, |right| vec![right.all(), end_of_rib()]);
        came_out_right(&outcome);
        assert!(outcome.passed() && outcome.findings.is_empty(), "{:?}", outcome.findings);
    }
}

#[test]
fn the_order_and_the_packing_of_routes_are_the_speakers_own() {
    let outcome = judged(&table(), |right| {
        let routes: Vec<SentRoute> = right.routes.iter().rev().copied().collect();
        let mut acts: Vec<Act> = routes.iter().map(|route| right.announce(&[*route])).collect();
        acts.push(end_of_rib());
        acts
    });
    came_out_right(&outcome);
    assert!(outcome.findings.is_empty(), "{:?}", outcome.findings);
}

// Routes that are not as they should be.

#[test]
fn a_missing_route_is_a_difference() {
    let mut missing = String::new();
    let outcome = judged(&short(table()), |right| {
        missing = prefix_of(right, right.last());
        vec![right.all_but_one(), end_of_rib()]
    });
    ran_into_its_time_limit(&outcome);
    assert_eq!((outcome.difference_count, outcome.differences.len()), (1, 1));
    let difference = &outcome.differences[0];
    assert_eq!((&difference.receiver[..], &difference.prefix), ("127.2.0.1", &missing));
    assert!(!difference.expected.is_empty() && difference.held.is_empty(), "{difference:?}");
    assert!(outcome.findings.is_empty(), "{:?}", outcome.findings);
}

#[test]
fn a_route_with_another_community_is_a_difference_that_shows_it() {
    let outcome = judged(&short(table()), |right| {
        let last = right.last();
        let store = right.engine.store_mut();
        let next_hop = store.next_hop(last.set);
        let set = store.derive(last.set, next_hop, |editor| {
            editor.add_communities(&[64511 << 16 | 666]);
        });
        vec![right.all_but_one(), right.announce(&[SentRoute { set, ..last }]), end_of_rib()]
    });
    ran_into_its_time_limit(&outcome);
    assert_eq!(outcome.difference_count, 1);
    let difference = &outcome.differences[0];
    let communities = |lines: &[String]| lines.iter().any(|line| line.contains("64511:666"));
    assert!(communities(&difference.held) && !communities(&difference.expected), "{difference:?}");
}

#[test]
fn a_next_hop_that_is_not_the_one_that_was_sent_is_a_difference() {
    let outcome = judged(&short(table()), |right| {
        let last = right.last();
        let elsewhere = NextHop::new(IpAddr::from([192, 0, 2, 200]));
        let set = right.engine.store_mut().derive(last.set, elsewhere, |_| {});
        vec![right.all_but_one(), right.announce(&[SentRoute { set, ..last }]), end_of_rib()]
    });
    ran_into_its_time_limit(&outcome);
    let difference = &outcome.differences[0];
    assert_eq!(difference.held[0], "NEXT_HOP 192.0.2.200");
    assert_eq!(difference.held[1..], difference.expected[1..], "nothing else is wrong");
}

#[test]
fn a_route_too_many_is_a_difference_even_if_nobody_knows_its_prefix() {
    let outcome = judged(&short(table()), |right| {
        // Made elsewhere: the judge has never heard of this prefix.
        let mut engine = Engine::new().unwrap();
        let number = engine.index_mut().number("198.18.77.0/24".parse::<Prefix>().unwrap());
        let mut block = Vec::new();
        AttributeEditor::on(&mut block).set_origin(Origin::Igp).set_as_path(&[65001]).set_local_pref(100);
        let set = engine.store_mut().intern(&block, NextHop::new(IpAddr::from([192, 0, 2, 1])));
        let mut octets = Vec::new();
        encode(&engine, &[SentRoute { number, path_id: 0, set }], &Encoding::default(), &mut octets);
        vec![Act::Say(octets), right.all(), end_of_rib()]
    });
    ran_into_its_time_limit(&outcome);
    assert_eq!(outcome.difference_count, 1, "{:?}", outcome.differences);
    let difference = &outcome.differences[0];
    assert_eq!(difference.prefix, "198.18.77.0/24");
    assert!(difference.expected.is_empty() && !difference.held.is_empty(), "{difference:?}");
}

#[test]
fn only_the_first_of_many_differences_are_shown_and_all_are_counted() {
    let source = Source::Internet { family: IpFamily::Ipv4, routes: 80, sets: None, seed: 1, prefix_seed: 1 };
    let mut scenario = short(table());
    scenario.sources.insert("table".to_string(), source);
    let outcome = judged(&scenario, |_| vec![end_of_rib()]);
    ran_into_its_time_limit(&outcome);
    assert_eq!((outcome.difference_count, outcome.differences.len()), (80, 50));
}

// What happens on the way.

#[test]
fn a_good_route_that_goes_away_and_comes_back_is_an_unexpected_withdrawal() {
    let mut flapped = String::new();
    let outcome = judged(&table(), |right| {
        let first = right.routes[0];
        flapped = prefix_of(right, first);
        vec![
            right.all_but_one(),
            right.withdraw(&[first]),
            right.announce(&[first]),
            // What the run waits for comes behind all that.
            right.announce(&[right.last()]),
            end_of_rib(),
        ]
    });
    came_out_right(&outcome);
    let finding = only_finding(&outcome, "unexpected withdrawal");
    assert_eq!((finding.count, finding.serious), (1, false));
    assert!(finding.example.contains(&flapped), "{finding:?}");
    assert!(outcome.passed(), "it is told, and not what the scenario is about");
}

#[test]
fn a_withdrawal_of_what_was_never_announced_is_told() {
    let outcome = judged(&table(), |right| vec![right.withdraw(&[right.last()]), right.all(), end_of_rib()]);
    came_out_right(&outcome);
    assert_eq!(only_finding(&outcome, "withdrawal of what was not there").count, 1);
}

#[test]
fn the_same_update_twice_is_a_duplicate() {
    let outcome = judged(&table(), |right| {
        let some = right.announce(&right.routes[..5]);
        let again = right.announce(&right.routes[..5]);
        vec![some, again, right.announce(&right.routes[5..]), end_of_rib()]
    });
    came_out_right(&outcome);
    let finding = only_finding(&outcome, "duplicate");
    assert_eq!((finding.count, finding.serious), (5, false));
    assert!(outcome.passed());
}

#[test]
fn an_end_of_rib_before_the_table_is_out_of_order_for_who_comes_late() {
    let outcome = judged(&with_a_late_receiver(), |right| vec![end_of_rib(), right.all()]);
    came_out_right(&outcome);
    let finding = only_finding(&outcome, "End-of-RIB out of order");
    assert!(finding.example.contains("0 routes were held"), "{finding:?}");
    // Who was there before the table is owed nothing: what the speaker had then was nothing.
    let outcome = judged(&table(), |right| vec![end_of_rib(), right.all()]);
    assert!(outcome.findings.is_empty(), "{:?}", outcome.findings);
}

#[test]
fn an_end_of_rib_in_the_middle_is_out_of_order_as_well() {
    let outcome = judged(&with_a_late_receiver(), |right| {
        vec![right.all_but_one(), end_of_rib(), right.announce(&[right.last()])]
    });
    came_out_right(&outcome);
    let finding = only_finding(&outcome, "End-of-RIB out of order");
    assert!(finding.example.contains(&format!("{} routes were held", ROUTES - 1)), "{finding:?}");
}

#[test]
fn two_ends_of_rib_and_none_at_all_are_told() {
    let outcome = judged(&table(), |right| vec![end_of_rib(), end_of_rib(), right.all()]);
    came_out_right(&outcome);
    assert_eq!(only_finding(&outcome, "End-of-RIB more than once").count, 1);
    let outcome = judged(&table(), |right| vec![right.all()]);
    came_out_right(&outcome);
    assert!(!only_finding(&outcome, "no End-of-RIB").serious);
}

// Sessions.

#[test]
fn a_session_that_drops_in_the_middle_ends_the_run() {
    for (end, said) in [(Act::HangUp, "closed the connection"), (Act::Leave, "administrative shutdown")] {
        let outcome = judged(&table(), |right| vec![right.announce(&right.routes[..ROUTES / 2]), end]);
        assert!(!outcome.complete && !outcome.passed());
        let failure = outcome.failure.as_deref().unwrap_or_default();
        assert!(failure.contains("1 sessions dropped") && failure.contains("127.2.0.1"), "{failure}");
        let finding = only_finding(&outcome, "session drop");
        assert!(finding.serious && finding.count == 1, "{finding:?}");
        assert!(finding.example.contains(said), "{finding:?} should say {said:?}");
    }
}

#[test]
fn a_session_that_drops_after_the_table_is_a_failure_too() {
    let outcome = judged(&table(), |right| vec![right.all(), end_of_rib(), Act::Leave]);
    // Whether it is seen within the phase or afterwards, it is.
    assert!(!outcome.passed() && !outcome.complete, "{:?}", outcome.failure);
    assert!(only_finding(&outcome, "session drop").serious);
}

#[test]
fn who_is_turned_away_once_tries_again() {
    let outcome = judged_at(&table(), 1, |right| vec![right.all(), end_of_rib()]);
    came_out_right(&outcome);
    let finding = only_finding(&outcome, "refused at first");
    assert_eq!((finding.count, finding.serious), (1, false));
    assert!(finding.example.contains("administrative shutdown"), "{finding:?}");
    assert!(outcome.passed());
}

// Messages.

#[test]
fn a_malformed_update_that_keeps_the_session_is_a_serious_finding() {
    let outcome = judged(&table(), |right| {
        // ORIGIN with two octets: the route counts as withdrawn (RFC 7606 §7.1).
        let attributes = [&[0x40, 1, 2, 0, 0][..], &[0x40, 2, 0], &[0x40, 3, 4, 192, 0, 2, 1]].concat();
        let body = [&[0, 0, 0, attributes.len() as u8][..], &attributes, &[24, 198, 18, 77]].concat();
        vec![update(&body), right.all(), end_of_rib()]
    });
    came_out_right(&outcome);
    let kinds: Vec<&str> = outcome.findings.iter().map(|finding| finding.kind.as_str()).collect();
    assert!(kinds.contains(&"malformed UPDATE"), "{kinds:?}");
    let finding = &outcome.findings[0];
    assert!(finding.serious && finding.example.contains("ORIGIN"), "{finding:?}");
    assert!(!outcome.passed(), "all routes are right, and still this is no good speaker");
}

#[test]
fn a_message_that_cannot_be_read_costs_the_session() {
    let outcome = judged(&table(), |right| {
        // The withdrawn routes are longer than the message (RFC 7606 §3).
        vec![right.all_but_one(), update(&[0, 200, 0, 0])]
    });
    assert!(!outcome.complete && !outcome.passed());
    let finding = only_finding(&outcome, "session drop");
    assert!(finding.example.contains("we sent"), "{finding:?}");
}

#[test]
fn octets_that_are_no_message_cost_the_session() {
    let outcome = judged(&table(), |right| vec![right.all_but_one(), Act::Say(vec![0x2a; 40])]);
    assert!(!outcome.complete && !outcome.passed());
    assert!(only_finding(&outcome, "session drop").example.contains("we sent"));
}
