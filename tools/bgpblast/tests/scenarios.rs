//! Every scenario that has a subcommand, small, against a real kulan in namespaces of its own; some against BIRD as well.
//!
//! What is asked of each: that it ends, that every receiver held what it should, and that the numbers are there which
//! the summary shows. How large they are is nobody's business here: nothing in this file fails on a clock but the time
//! limit of the scenario itself.
//!
//! They want the rights to make network namespaces, a kulan (`cargo build -p kulan --bin kulan`, or `KULAN_BIN`), and
//! BIRD and FRR. What is missing fails: a test that is left out without a word is believed to pass.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use bgpblast::compare::run::{Request, compare, once};
use bgpblast::compare::speaker::Kind;
use bgpblast::outcome::Outcome;
use bgpblast::progress::Progress;
use bgpblast::scenario::builtin::{self, Churning, Common};
use bgpblast::scenario::{Disconnect, Group, Peers, Phase, Scenario, SentNextHop, Side};
use bgpblast::source::{IpFamily, Source};

/// How many routes tables have: enough for several messages and attribute sets.
const ROUTES: usize = 500;

/// What the commands have in common, as it is without options, but for the size.
fn common() -> Common {
    Common { source: internet(IpFamily::Ipv4), time_limit_s: 60, ..Common::default() }
}

fn over_ipv6() -> Common {
    Common { ipv6: true, source: internet(IpFamily::Ipv6), ..common() }
}

fn internet(family: IpFamily) -> Source {
    Source::Internet { family, routes: ROUTES, sets: None, seed: 1, prefix_seed: 1 }
}

/// Carries a scenario out with `act`, which gets the request.
fn requested<T>(scenario: &Scenario, floor: bool, act: impl FnOnce(&Request<'_>) -> T) -> T {
    let (progress, interrupted) = (Progress::new(true), AtomicBool::new(false));
    let command = vec!["bgpblast".to_string(), scenario.name.clone()];
    act(&Request { scenario, command, floor, keep: false, progress: &progress, interrupted: &interrupted })
}

/// Runs a scenario, which must pass, and gives back what was found.
fn passes(kind: Kind, scenario: &Scenario) -> Outcome {
    if let Some(absent) = kind.absent() {
        panic!("{kind} is missing, and these tests leave nothing out: {absent}");
    }
    let outcome = requested(scenario, false, |request| once(request, kind))
        .unwrap_or_else(|error| panic!("{} against {kind}: {error}", scenario.name));
    is_right(kind, scenario, &outcome);
    outcome
}

fn is_right(kind: Kind, scenario: &Scenario, outcome: &Outcome) {
    let what = format!("{} against {kind}", scenario.name);
    assert_eq!(outcome.failure, None, "{what}");
    assert_eq!((outcome.difference_count, &outcome.differences[..]), (0, &[][..]), "{what}");
    assert!(outcome.complete && outcome.passed(), "{what}: {:?}", outcome.findings);
    let done: Vec<&str> = outcome.phases.iter().map(|phase| phase.name.as_str()).collect();
    let asked: Vec<String> = scenario.phases.iter().map(Phase::label).collect();
    assert_eq!(done, asked, "{what}");
    let mut ended = 0.0;
    for phase in &outcome.phases {
        assert!(phase.start_s >= ended && phase.duration_s >= 0.0, "{what}: {phase:?}");
        ended = phase.start_s + phase.duration_s;
    }
    // A rest is about what it costs, and not about how long it was told to take.
    let measured = scenario.phases.iter().filter(|phase| phase.rest.is_none());
    let measured = measured.filter_map(|phase| phase.measure.as_deref());
    for name in measured.chain(["CPU, all phases", "peak memory"]) {
        has_figure(outcome, name);
    }
    let curve = &outcome.curve;
    let samples = curve.at_s.len();
    assert!(samples > 0, "{what}: the curve has no samples");
    let lists = [&curve.least, &curve.p10, &curve.median, &curve.p90, &curve.most, &curve.established];
    let lists = lists.into_iter().chain([&curve.received, &curve.sent_bytes, &curve.received_bytes]);
    lists.for_each(|list| assert_eq!(list.len(), samples, "{what}"));
    assert_eq!(outcome.scenario, scenario.name);
    assert_eq!(outcome.target.name, kind.name());
    let (version, said) = (outcome.target.version.as_deref().unwrap_or("nothing"), kind.version());
    assert!(said.is_some_and(|said| said.contains(version)), "{what}: {version}");
    assert!(outcome.target.configuration.as_ref().is_some_and(|text| !text.is_empty()), "{what}");
}

fn has_figure(outcome: &Outcome, name: &str) {
    let figure = outcome.figure(name);
    let names = || outcome.figures.iter().map(|figure| figure.name.as_str()).collect::<Vec<_>>().join(", ");
    let figure = figure.unwrap_or_else(|| panic!("no figure {name:?} among {}", names()));
    assert!(figure.value.is_finite() && figure.value >= 0.0, "{figure:?}");
}

fn has_figures(outcome: &Outcome, names: &[&str]) {
    names.iter().for_each(|name| has_figure(outcome, name));
}

/// That in the end every receiver held as many routes.
fn all_hold(outcome: &Outcome, routes: usize) {
    let curve = &outcome.curve;
    let ends = [curve.least.last(), curve.most.last()].map(|last| last.copied().unwrap_or(0) as usize);
    assert_eq!((curve.expected as usize, ends), (routes, [routes; 2]), "of {} receivers", curve.receivers);
}

/// A number of one phase.
fn phase_figure(outcome: &Outcome, phase: &str, name: &str) -> f64 {
    let phase = outcome.phases.iter().find(|one| one.name == phase).unwrap();
    let figure = phase.figures.iter().find(|figure| figure.name == name);
    figure.unwrap_or_else(|| panic!("no {name:?} in {phase:?}")).value
}

// The table, and what can be different about the sessions.

#[test]
fn a_table_passes_through_kulan_and_bird() {
    for kind in [Kind::Kulan, Kind::Bird] {
        let outcome = passes(kind, &builtin::table(&common(), false));
        all_hold(&outcome, ROUTES);
        assert_eq!(phase_figure(&outcome, "convergence", "routes"), ROUTES as f64);
        has_figures(&outcome, &["convergence: CPU", "convergence: memory"]);
    }
}

#[test]
fn a_table_is_reflected_by_kulan_and_bird() {
    for kind in [Kind::Kulan, Kind::Bird] {
        all_hold(&passes(kind, &builtin::table(&common(), true)), ROUTES);
    }
}

#[test]
fn a_table_of_ipv6_passes_through_kulan_and_bird() {
    for kind in [Kind::Kulan, Kind::Bird] {
        all_hold(&passes(kind, &builtin::table(&over_ipv6(), false)), ROUTES);
    }
}

#[test]
fn sessions_may_have_an_md5_key() {
    for (kind, ipv6) in [(Kind::Kulan, false), (Kind::Kulan, true), (Kind::Bird, false)] {
        let common = if ipv6 { over_ipv6() } else { common() };
        let common = Common { md5: Some("correct horse".to_string()), ..common };
        let outcome = passes(kind, &builtin::table(&common, false));
        all_hold(&outcome, ROUTES);
        let configuration = outcome.target.configuration.unwrap_or_default();
        assert!(configuration.contains("correct horse"), "{configuration}");
    }
}

#[test]
fn peers_may_propose_a_short_hold_time_or_none_at_all() {
    for (kind, hold_time_s) in [(Kind::Kulan, 3), (Kind::Kulan, 0), (Kind::Bird, 3)] {
        let outcome = passes(kind, &builtin::table(&Common { hold_time_s, ..common() }, false));
        all_hold(&outcome, ROUTES);
    }
}

#[test]
fn messages_may_be_longer_than_4096_octets() {
    for kind in [Kind::Kulan, Kind::Bird] {
        // Few sets, so that one message could take hundreds of prefixes.
        let source =
            Source::Internet { family: IpFamily::Ipv4, routes: 4000, sets: Some(2), seed: 1, prefix_seed: 1 };
        let common = Common { extended_messages: true, source, ..common() };
        all_hold(&passes(kind, &builtin::table(&common, false)), 4000);
    }
}

#[test]
fn the_speaker_may_be_the_one_who_dials() {
    for kind in [Kind::Kulan, Kind::Bird] {
        let outcome = passes(kind, &builtin::table(&Common { listen_port: Some(1790), ..common() }, false));
        all_hold(&outcome, ROUTES);
    }
}

#[test]
fn next_hops_of_the_source_are_reflected_as_they_are() {
    let outcome = passes(Kind::Kulan, &builtin::table(&Common { keep_next_hops: true, ..common() }, true));
    all_hold(&outcome, ROUTES);
}

/// A file that goes with its test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, content: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("bgpblast-scenarios-{}-{name}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_list_of_prefixes_is_a_table_and_a_damaged_one_is_not_a_success() {
    let good = "# Two networks for documentation.\n198.51.100.0/24\n203.0.113.0/24\n";
    let of = |file: &Scratch| {
        let source = Source::Prefixes { file: file.0.clone(), sets: None, seed: 1, routes: None };
        builtin::table(&Common { source, ..common() }, false)
    };
    let whole = Scratch::new("whole", good);
    all_hold(&passes(Kind::Kulan, &of(&whole)), 2);
    let damaged = Scratch::new("damaged", &format!("{good}192.0.2.0/24\n10.0.0\n"));
    let scenario = of(&damaged);
    let outcome = requested(&scenario, false, |request| once(request, Kind::Kulan)).unwrap();
    assert!(!outcome.complete && !outcome.passed(), "a part of a table was taken for the whole");
    let failure = outcome.failure.as_deref().unwrap_or_default();
    assert!(failure.contains("is not whole") && failure.contains("line 5"), "{failure}");
    all_hold(&outcome, 3);
}

// The other scenarios.

#[test]
fn of_several_feeds_the_best_path_comes_out() {
    let outcome = passes(Kind::Kulan, &builtin::feeds(&common(), 3));
    all_hold(&outcome, ROUTES);
    assert_eq!(phase_figure(&outcome, "convergence", "routes"), 3.0 * ROUTES as f64);
}

#[test]
fn with_add_path_the_receiver_holds_the_paths_of_all_feeds() {
    for kind in [Kind::Bird, Kind::Frr] {
        let source =
            Source::Internet { family: IpFamily::Ipv4, routes: 60, sets: None, seed: 1, prefix_seed: 1 };
        let outcome = passes(kind, &builtin::feeds(&Common { add_path: true, source, ..common() }, 3));
        all_hold(&outcome, 3 * 60);
    }
}

#[test]
fn a_speaker_without_add_path_is_left_out_in_words() {
    let scenario = builtin::feeds(&Common { add_path: true, ..common() }, 3);
    let error = requested(&scenario, false, |request| once(request, Kind::Kulan)).unwrap_err();
    assert!(error.contains("ADD-PATH"), "{error}");
    let compared = requested(&scenario, false, |request| compare(request, &[Kind::Kulan], 1));
    assert_eq!(compared.speakers[0].absent.as_ref(), Some(&error));
    assert!(compared.speakers[0].outcomes.is_empty());
}

#[test]
fn a_table_is_fanned_out_to_clients() {
    let outcome = passes(Kind::Kulan, &builtin::fanout(&common(), 12));
    assert_eq!(outcome.curve.receivers, 12);
    all_hold(&outcome, ROUTES);
}

#[test]
fn clients_over_ipv6_are_served_as_well() {
    all_hold(&passes(Kind::Kulan, &builtin::fanout(&over_ipv6(), 4)), ROUTES);
}

#[test]
fn pods_learn_of_each_other_at_kulan_and_bird() {
    for kind in [Kind::Kulan, Kind::Bird] {
        let outcome = passes(kind, &builtin::pods(&common(), 16, false, None));
        // Nobody is told its own range.
        let last = |list: &Vec<u64>| list.last().copied();
        assert_eq!((last(&outcome.curve.least), last(&outcome.curve.most)), (Some(15), Some(15)));
    }
}

#[test]
fn pods_may_come_all_at_once_and_a_share_of_them_restarts() {
    for kind in [Kind::Kulan, Kind::Bird] {
        let outcome = passes(kind, &builtin::pods(&common(), 16, true, Some(0.25)));
        has_figures(&outcome, &["convergence", "withdrawal of the lost", "return of the lost"]);
        assert_eq!(phase_figure(&outcome, "withdrawal of the lost", "sessions ended"), 4.0);
        assert_eq!(phase_figure(&outcome, "return of the lost", "sessions"), 4.0);
        assert_eq!(outcome.curve.least.last(), Some(&15));
    }
}

#[test]
fn pods_over_ipv6_learn_of_each_other() {
    let outcome = passes(Kind::Kulan, &builtin::pods(&over_ipv6(), 6, true, Some(0.5)));
    assert_eq!(outcome.curve.least.last(), Some(&5));
}

#[test]
fn after_random_churn_receivers_hold_what_remains() {
    let churning =
        Churning { receivers: 2, script: None, speed: 1.0, per_second: 2000.0, changes: Some(400) };
    let outcome = passes(Kind::Kulan, &builtin::churn(&common(), churning));
    assert_eq!(phase_figure(&outcome, "churn", "changes"), 400.0);
    let figure = outcome.figure("churn").unwrap();
    assert_eq!(figure.unit, "ms", "how far behind the speaker was, not how long the script lasted");
    let last = outcome.curve.least.last().copied().unwrap_or(0);
    assert!(last > 0 && last < ROUTES as u64, "some routes are withdrawn at the end, not {last} held");
}

#[test]
fn a_script_of_changes_is_replayed() {
    let prefixes = Scratch::new("churned", "198.51.100.0/24\n203.0.113.0/24\n");
    let script = Scratch::new("script", "W 198.51.100.0/24\nA 203.0.113.0/24\nA 192.0.2.0/24\n");
    let source = Source::Prefixes { file: prefixes.0.clone(), sets: None, seed: 1, routes: None };
    let script = Some(script.0.clone());
    // A day in less than a tenth of a second.
    let churning = Churning { receivers: 1, script, speed: 1e6, per_second: 1.0, changes: None };
    let outcome = passes(Kind::Kulan, &builtin::churn(&Common { source, ..common() }, churning));
    assert_eq!(phase_figure(&outcome, "churn", "changes"), 3.0);
    all_hold(&outcome, 2);
}

#[test]
fn a_feed_and_members_die_and_come_back() {
    let outcome = passes(Kind::Kulan, &builtin::flap(&common(), 4, 0.5));
    let names = ["convergence", "withdrawal", "return", "withdrawal of the lost", "return of the lost"];
    has_figures(&outcome, &names);
    assert_eq!(phase_figure(&outcome, "withdrawal", "routes"), ROUTES as f64);
    assert_eq!(phase_figure(&outcome, "withdrawal of the lost", "routes"), 2.0);
}

#[test]
fn everybody_is_let_in_in_a_storm() {
    let outcome = passes(Kind::Kulan, &builtin::storm(&common(), 80, None));
    assert_eq!(phase_figure(&outcome, "all Established", "sessions"), 80.0);
    assert_eq!(outcome.curve.established.last(), Some(&80));
}

#[test]
fn idle_sessions_stay_up_and_their_cost_is_told() {
    let outcome = passes(Kind::Kulan, &builtin::idle(&common(), 20, 1.0));
    has_figures(&outcome, &["CPU at rest", "memory per session"]);
    assert_eq!(outcome.figure("sessions").map(|figure| figure.value), Some(20.0));
    assert_eq!(outcome.curve.established.last(), Some(&20));
}

#[test]
fn single_routes_are_timed_under_load_and_without() {
    let outcome = passes(Kind::Kulan, &builtin::latency(&common(), 50, 1.0));
    let of = |name: &str| {
        let found = outcome.latencies.iter().find(|latency| latency.name == name);
        found.unwrap_or_else(|| panic!("no latency {name:?} in {:?}", outcome.latencies))
    };
    for group in ["receivers", "bystanders"] {
        assert!(of(&format!("table loads, at {group}")).count > 0);
        let idle = of(&format!("idle, at {group}"));
        assert_eq!(idle.count, 50);
        let order = [idle.p50_ms, idle.p90_ms, idle.p99_ms, idle.p999_ms];
        assert!(idle.p50_ms > 0.0 && order.is_sorted(), "{idle:?}");
        assert_eq!(idle.buckets.iter().map(|(_, count)| count).sum::<u64>(), 50);
        has_figures(
            &outcome,
            &["p50", "p99", "longest"]
                .map(|what| format!("idle, at {group} {what}"))
                .each_ref()
                .map(String::as_str),
        );
    }
}

#[test]
fn a_slow_reader_catches_up_and_nobody_waits_for_it() {
    let outcome = passes(Kind::Kulan, &builtin::slow_reader(&common(), 5, 0.3));
    let names = ["change, all read", "change, one does not read", "third change, one does not read"];
    has_figures(&outcome, &names);
    has_figure(&outcome, "catching up");
    all_hold(&outcome, ROUTES);
}

#[test]
fn a_change_of_policy_reaches_all_clients_while_single_routes_go_on() {
    let outcome = passes(Kind::Kulan, &builtin::policy(&common(), 4, None));
    has_figures(&outcome, &["policy change", "policy change, at clients longest"]);
    let configuration = outcome.target.configuration.unwrap_or_default();
    assert!(!configuration.contains("64511:15"), "the configuration of the beginning is the one shown");
}

// What no subcommand does, but a file can.

#[test]
fn a_scenario_from_a_file_may_withdraw_end_gently_and_mix_families() {
    let text = r#"
        name = "mixed"
        time_limit_s = 60
        [speaker]
        asn = 64496
        [source.four]
        kind = "internet"
        routes = 40
        [source.six]
        kind = "internet"
        family = "ipv6"
        routes = 30
        [[peers]]
        name = "four"
        side = "sources"
        asn = 65001
        sends = "four"
        receives = false
        [[peers]]
        name = "six"
        side = "sources"
        asn = 65002
        over_ipv6 = true
        families = ["ipv6"]
        sends = "six"
        [[peers]]
        name = "both"
        side = "receivers"
        asn = 64497
        families = ["ipv4", "ipv6"]
        [[phase]]
        connect = { peers = ["four", "six", "both"] }
        [[phase]]
        measure = "both families"
        announce = { peers = ["four", "six"] }
        [[phase]]
        measure = "change"
        announce = { peers = ["four"], variant = 1 }
        [[phase]]
        withdraw = { peers = ["four"] }
        [[phase]]
        disconnect = { peers = ["six"], gently = true }
        [[phase]]
        reconnect = { peers = ["six"] }
    "#;
    let scenario = Scenario::parse(text).unwrap();
    let outcome = passes(Kind::Kulan, &scenario);
    has_figures(&outcome, &["both families", "change"]);
    assert_eq!(outcome.curve.most.iter().max(), Some(&70));
    assert_eq!(outcome.curve.most.last(), Some(&30), "the IPv4 routes are gone, those of IPv6 came back");
}

#[test]
fn who_comes_late_is_told_what_there_is() {
    let mut scenario = builtin::table(&common(), false);
    let late = Group { next_hop: SentNextHop::Own, ..Group::new("late", 2, Side::Receivers, 64499) };
    scenario.groups.push(late);
    scenario.phases.push(Phase {
        measure: Some("late".to_string()),
        connect: Some(bgpblast::scenario::Connect {
            peers: vec!["late".to_string()],
            per_second: Some(1000.0),
            at_a_time: Some(1),
            announce: false,
        }),
        ..Phase::default()
    });
    let outcome = passes(Kind::Kulan, &scenario);
    all_hold(&outcome, ROUTES);
    assert!(outcome.findings.is_empty(), "{:?}", outcome.findings);
}

#[test]
fn whoever_left_is_not_waited_for_and_whoever_stays_away_is_not_judged() {
    let mut scenario = builtin::table(&common(), false);
    let gone = |name: &str| vec![name.to_string()];
    scenario.phases.extend([
        Phase {
            disconnect: Some(Disconnect { peers: gone("receivers"), share: 1.0, gently: true }),
            ..Phase::default()
        },
        Phase { withdraw: Some(Peers { peers: gone("feeds") }), ..Phase::default() },
    ]);
    passes(Kind::Kulan, &scenario);
}

// Rounds, and the tool's own floor.

#[test]
fn a_comparison_alternates_and_measures_the_floor_once() {
    let scenario = builtin::table(&common(), false);
    let kinds = [Kind::Kulan, Kind::Bird];
    let compared = requested(&scenario, true, |request| compare(request, &kinds, 2));
    assert_eq!((compared.runs, compared.scenario.as_str()), (2, "table"));
    for (kind, contender) in kinds.iter().zip(&compared.speakers) {
        assert_eq!((contender.name.as_str(), &contender.absent), (kind.name(), &None));
        assert_eq!(contender.outcomes.len(), 2);
        contender.outcomes.iter().for_each(|outcome| is_right(*kind, &scenario, outcome));
        let floors = contender.outcomes.iter().map(|outcome| outcome.tool.floor_s.is_some());
        assert_eq!(floors.collect::<Vec<_>>(), [true, false]);
        assert!(contender.outcomes[0].tool.null_sink_s.is_some());
    }
}

#[test]
fn a_person_who_does_not_want_to_wait_gets_an_outcome_that_says_so() {
    let scenario = builtin::idle(&common(), 2, 3600.0);
    let (progress, interrupted) = (Progress::new(true), AtomicBool::new(true));
    let request = Request {
        scenario: &scenario,
        command: Vec::new(),
        floor: true,
        keep: false,
        progress: &progress,
        interrupted: &interrupted,
    };
    let outcome = once(&request, Kind::Kulan).unwrap();
    assert!(!outcome.complete && !outcome.passed());
    assert!(outcome.failure.as_deref().is_some_and(|failure| failure.contains("interrupted")), "{outcome:?}");
}
