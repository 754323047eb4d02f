//! A real Internet table, replayed into kulan as it was recorded: a client of the reflector must end with exactly
//! the right routes, and so must the kernel.
//!
//! The feed is a complete iBGP session of 2015 with 577,706 prefixes. What must come out is computed here from an
//! independent decode of the recording: all of it, but for the four prefixes with AS 0 in their path (RFC 7607),
//! with every attribute as it was and the traces of reflection added (RFC 4456 §8).

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use kulan_scale_tests::bench::{Bench, GATEWAY, pch_reflected, pch_reflector};
use kulan_scale_tests::bgp::message::{Key, end_of_rib};
use kulan_scale_tests::bgp::table::{Index, Table};
use kulan_scale_tests::daemon::Kind;
use kulan_scale_tests::feed::Feed;
use kulan_scale_tests::kernel;
use kulan_scale_tests::process::wait_at_most;

/// An end to a test that cannot succeed any more, far above what a debug build on a busy machine needs.
const PATIENCE: Duration = Duration::from_secs(300);

/// Which daemon stands where kulan should: kulan, unless `KULAN_DUT` names another.
fn under_test() -> Kind {
    match std::env::var("KULAN_DUT") {
        Ok(name) => name.parse().unwrap_or_else(|error| panic!("KULAN_DUT: {error}")),
        Err(_) => Kind::Kulan,
    }
}

#[test]
fn a_client_of_the_reflector_holds_exactly_the_recorded_table() {
    let kind = under_test();
    let feed = Feed::pch();
    let expected = pch_reflected(&feed, kind);
    let table = Table::new(Arc::new(Index::new(feed.keys())), Arc::new(expected));
    let (speaker, [source, client]) = pch_reflector(true);
    Bench::new().with(kind, speaker, |_, peers| {
        let source = peers.connect(source, None);
        let client = peers.connect(client, Some(table));
        peers.run(PATIENCE, |peers| peers.established() == 2).unwrap_or_else(|error| panic!("{error}"));
        peers.send(source, Arc::new(feed.updates.clone()));
        peers.send(source, Arc::new(end_of_rib()));
        peers.run(PATIENCE, |peers| peers.all_right()).unwrap_or_else(|error| panic!("{error}"));
        assert!(peers.counts(client).updates <= 2 * feed.update_count as u64, "routes come packed");

        // And all of it goes when the source does.
        peers.table_mut(client).expect(Arc::new(vec![0; feed.routes.len()]));
        peers.close(source);
        peers.run(PATIENCE, |peers| peers.all_right()).unwrap_or_else(|error| panic!("{error}"));
    });
}

#[test]
fn the_kernel_holds_exactly_the_recorded_table() {
    let kind = under_test();
    let feed = Feed::pch();
    let bench = Bench::new();
    // Foreign next hops are reached by the default route, so that is where everything must go.
    let gateway = IpAddr::V4(GATEWAY);
    let before = kernel::routes(&bench.speaker);
    let count_before = kernel::count(&bench.speaker);
    let wanted: HashMap<Key, IpAddr> = feed
        .routes
        .iter()
        .zip(pch_reflected(&feed, kind))
        .filter(|(_, fingerprint)| *fingerprint != 0)
        .map(|((key, _), _)| (*key, gateway))
        .collect();
    let (mut speaker, [source, _]) = pch_reflector(true);
    speaker.neighbors.truncate(1);
    speaker.install = true;
    bench.with(kind, speaker, |_, peers| {
        let source = peers.connect(source, None);
        peers.run(PATIENCE, |peers| peers.established() == 1).unwrap_or_else(|error| panic!("{error}"));
        peers.send(source, Arc::new(feed.updates.clone()));
        peers.send(source, Arc::new(end_of_rib()));
        peers.run(PATIENCE, |peers| peers.all_sent()).unwrap_or_else(|error| panic!("{error}"));
        // The recorded default route lies beside the one that was there.
        let more_at_least = wanted.len() - 1;
        wait_at_most(PATIENCE, "the kernel to hold as many routes", || {
            peers.poll(0);
            let more = kernel::count(&bench.speaker) - count_before;
            if more >= more_at_least { Ok(()) } else { Err(format!("{more} of {}", wanted.len())) }
        });
        wait_at_most(PATIENCE, "the kernel to hold the right routes", || {
            peers.poll(0);
            kernel::verify(&bench.speaker, &wanted)
        });
        let mut all: HashSet<Key> = before.keys().copied().collect();
        all.extend(wanted.keys());
        assert_eq!(
            kernel::routes(&bench.speaker).keys().copied().collect::<HashSet<_>>(),
            all,
            "and nothing else"
        );

        peers.close(source);
        wait_at_most(PATIENCE, "the kernel to hold few routes", || {
            peers.poll(0);
            let left = kernel::count(&bench.speaker);
            if left <= count_before { Ok(()) } else { Err(format!("{left} routes, not {count_before}")) }
        });
        wait_at_most(PATIENCE, "the kernel to hold what it held before", || {
            peers.poll(0);
            let left = kernel::routes(&bench.speaker);
            if left == before { Ok(()) } else { Err(format!("{} routes, not {}", left.len(), before.len())) }
        });
    });
}
