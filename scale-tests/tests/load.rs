//! What must hold while the speaker has much to do: it answers while a table loads, and it takes everybody who comes
//! at once.
//!
//! How fast it is, is for `measure`; here only counts decide.

use std::net::IpAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kulan_scale_tests::bench::{Bench, internal_client, pch_reflected, pch_reflector, reflector};
use kulan_scale_tests::bgp::message::end_of_rib;
use kulan_scale_tests::bgp::peers::{Peers, State};
use kulan_scale_tests::bgp::table::{Index, Table};
use kulan_scale_tests::daemon::{Kind, kulan};
use kulan_scale_tests::feed::Feed;
use kulan_scale_tests::process::{raise_descriptor_limit, wait_for};
use serde_json::Value;

/// An end to a test that cannot succeed any more, far above what a debug build on a busy machine needs.
const PATIENCE: Duration = Duration::from_secs(300);
/// How many answers must come while a table is incomplete, in so many loads at most. A daemon that answers between
/// loads only gives one a load: the last question of each.
const ANSWERS_MIN: usize = 30;
const LOADS_MAX: usize = 10;
/// How many clients dial at once.
const STORM: usize = 2_000;

/// What a program prints; it must succeed.
fn answer(mut command: Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {printed}{}", String::from_utf8_lossy(&output.stderr));
    printed
}

#[test]
fn the_api_answers_in_the_middle_of_a_full_table_load() {
    let feed = Feed::pch();
    let expected = Arc::new(pch_reflected(&feed, Kind::Kulan));
    let total = expected.iter().filter(|fingerprint| **fingerprint != 0).count() as u64;
    let table = Table::new(Arc::new(Index::new(feed.keys())), expected.clone());
    let (speaker, [source, client]) = pch_reflector(true);
    let source_address = IpAddr::V4(source.address);
    let bench = Bench::new();
    let updates = Arc::new([&feed.updates[..], &end_of_rib()].concat());
    bench.with(Kind::Kulan, speaker, |daemon, peers| {
        let source = peers.connect(source, None);
        let client = peers.connect(client, Some(table));
        peers.run(PATIENCE, |peers| peers.established() == 2).unwrap_or_else(|error| panic!("{error}"));
        let target = format!("unix:{}", daemon.directory().file("kulan.sock"));
        let ask = |words: &[&str]| {
            let mut command = bench.speaker.command(kulan::binary());
            command.args(["--target", &target, "--json"]).args(words);
            let printed = answer(command);
            serde_json::from_str::<Value>(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"))
        };
        let gobgp = |words: &[&str]| {
            let mut command = bench.speaker.command("gobgp");
            command.args(words);
            answer(command)
        };
        let held = || {
            let summary = ask(&["show", "summary"]);
            let routes = summary["routes"].as_array().into_iter().flatten();
            routes.map(|family| family["destinations"].as_u64().unwrap_or(0)).sum::<u64>()
        };

        // Asks until the table is complete, and counts what comes while the daemon itself says that there is more
        // to come.
        let ask_on = |loaded: &AtomicBool| {
            let (mut answers, mut seen) = (0, 0);
            while !loaded.load(Ordering::Relaxed) {
                let neighbors = gobgp(&["neighbor"]);
                assert!(neighbors.contains("Establ"), "{neighbors}");
                let peer = ask(&["show", "peers", &source_address.to_string()]);
                assert_eq!(peer[0]["state"], "Established", "{peer}");
                let now = held();
                if (1..total).contains(&now) {
                    // Those before this one came in the middle as well if the last count did.
                    answers += if seen > 0 { 3 } else { 1 };
                }
                seen = now;
            }
            answers
        };
        // Destinations without paths are given back a little later than their routes go.
        let await_held = |wanted: u64| {
            wait_for(&format!("the daemon to say that it holds {wanted} routes"), || match held() {
                count if count == wanted => Ok(()),
                count => Err(format!("{count} routes")),
            });
        };
        let mut answers = 0;
        for _ in 0..LOADS_MAX {
            let loaded = AtomicBool::new(false);
            answers += std::thread::scope(|scope| {
                let asking = scope.spawn(|| ask_on(&loaded));
                peers.send(source, updates.clone());
                let outcome = peers.run(PATIENCE, |peers| peers.all_right());
                loaded.store(true, Ordering::Relaxed);
                outcome.unwrap_or_else(|error| panic!("{error}"));
                asking.join().expect("every question is answered")
            });
            await_held(total);
            if answers >= ANSWERS_MIN {
                return;
            }
            peers.table_mut(client).expect(Arc::new(vec![0; expected.len()]));
            peers.close(source);
            peers.run(PATIENCE, |peers| peers.all_right()).unwrap_or_else(|error| panic!("{error}"));
            await_held(0);
            peers.table_mut(client).expect(expected.clone());
            peers.reconnect(source);
            peers.run(PATIENCE, |peers| peers.established() == 2).unwrap_or_else(|error| panic!("{error}"));
        }
        panic!("{answers} answers while {LOADS_MAX} tables were loading");
    });
}

#[test]
fn two_thousand_clients_at_once_are_all_taken_at_the_first_try() {
    raise_descriptor_limit();
    Bench::new().with(Kind::Kulan, reflector(), |_, peers: &mut Peers| {
        for number in 0..STORM {
            peers.connect(internal_client(number), None);
        }
        // Ends with an error as soon as one is refused or loses its connection.
        let outcome = peers.run(PATIENCE, |peers| peers.established() == STORM);
        let refused = (0..STORM).filter(|number| matches!(peers.state(*number), State::Down(_))).count();
        assert_eq!(refused, 0, "refused at the first try: {outcome:?}");
        outcome.unwrap_or_else(|error| panic!("{error}"));
    });
}
