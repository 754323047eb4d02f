//! What a peer's messages and a person's commands lead to, one by one.

use std::net::SocketAddr;

use super::lone::{
    EXTERNAL, Lone, NOW, V4, announcements, announcements_via, config, peer_address, peer_asn,
};
use super::paced::{PAUSE_MS, Paced};
use super::{Action, Origin, Refusal};
use crate::config::{AsnMatch, Config, PeerConfig, PeerSettings};
use crate::policy::PolicyRef;
use crate::types::*;
use crate::wire::AttributeEditor;
use crate::wire::RouteRefresh;
use crate::wire::route_refresh::RefreshKind;

const INTERNAL: &str = r#"
[[dynamic_peer]]
range = "10.0.0.0/24"
asn = "internal"
route_reflector_client = true
hold_time_s = 0
"#;

fn prefix(number: u32) -> Prefix4 {
    Prefix4::new(0x1400_0000 + (number << 8), 24)
}

/// What peer 2 first announces is used; the second announcement of the same prefix is not, and takes the first one
/// with it. The session stays, and what comes after is used again.
fn is_refused(lines: &str, asn: u32, good: &[u8], bad: &[u8], why: &str) {
    let mut lone = Lone::new(config(lines));
    let (id, conn) = lone.establish_as(2, asn);
    for round in 0..2 {
        lone.receive(conn, good);
        lone.work_off(|_| 0);
        assert_eq!(lone.speaker.rib.path_count(id, V4), 1, "{why}, {round}");
        lone.receive(conn, bad);
        lone.work_off(|_| 0);
        assert_eq!(lone.speaker.rib.path_count(id, V4), 0, "{why}, {round}");
        assert_eq!(lone.speaker.unusable_count, round + 1, "{why}");
        assert!(lone.is_up(id), "{why}");
    }
}

/// RFC 4271 §9.1.2.
#[test]
fn a_route_that_has_passed_our_as_is_not_used() {
    let route = |path: &[u32]| announcements(2, &[prefix(1)], path, |_| {});
    let good = route(&[65002, 65003]);
    is_refused(EXTERNAL, 65002, &good, &route(&[65002, 65000, 65003]), "our AS");
    let once = EXTERNAL.to_owned() + "allow_own_asn = 1\n";
    is_refused(&once, 65002, &route(&[65002, 65000]), &route(&[65002, 65000, 65003, 65000]), "twice");
}

/// RFC 4456 §8.
#[test]
fn a_route_that_was_reflected_to_where_it_came_from_is_not_used() {
    let route = |edit: fn(&mut AttributeEditor<'_>)| announcements(2, &[prefix(1)], &[65009], edit);
    let good = route(|editor| {
        editor.set_local_pref(100).set_originator_id(RouterId(7)).prepend_cluster_id(RouterId(8));
    });
    let ours = route(|editor| {
        editor.set_local_pref(100).set_originator_id(RouterId(0x0a00_0001)).prepend_cluster_id(RouterId(8));
    });
    let passed = route(|editor| {
        editor.set_local_pref(100).set_originator_id(RouterId(7));
        editor.prepend_cluster_id(RouterId(0x0a09_0909)).prepend_cluster_id(RouterId(8));
    });
    is_refused(INTERNAL, 65000, &good, &ours, "ORIGINATOR_ID");
    is_refused(INTERNAL, 65000, &good, &passed, "CLUSTER_LIST");
}

/// RFC 4271 §5.1.3.
#[test]
fn a_route_whose_next_hop_we_are_is_not_used() {
    let route = |next_hop| announcements_via(next_hop, &[prefix(1)], &[65002], |_| {});
    is_refused(EXTERNAL, 65002, &route(peer_address(2)), &route(peer_address(1)), "our address");
}

fn refresh(kind: RefreshKind) -> Vec<u8> {
    let mut message = Vec::new();
    RouteRefresh::new(V4, kind).encode(&mut message);
    message
}

/// RFC 7313 §4.
#[test]
fn a_second_beginning_of_a_refresh_makes_nothing_stale_again() {
    let mut lone = Lone::new(config(EXTERNAL));
    let (id, conn) = lone.establish(2);
    let route = |number| announcements(2, &[prefix(number)], &[65002], |_| {});
    lone.receive(conn, &[route(1), route(2)].concat());
    let (begin, end) = (refresh(RefreshKind::Begin), refresh(RefreshKind::End));
    lone.receive(conn, &[&begin[..], &route(1), &begin, &end].concat());
    lone.work_off(|_| 0);
    assert_eq!(lone.speaker.rib.path_count(id, V4), 1, "what was announced since the first beginning stays");
}

/// RFC 7313 §4.
#[test]
fn refreshes_in_a_row_wait_for_the_sweep_of_the_first() {
    let mut lone = Lone::new(config(EXTERNAL));
    let (id, conn) = lone.establish(2);
    let route = |number| announcements(2, &[prefix(number)], &[65002], |_| {});
    lone.receive(conn, &[route(1), route(2), route(3)].concat());
    lone.work_off(|_| 0);
    let (begin, end) = (refresh(RefreshKind::Begin), refresh(RefreshKind::End));
    lone.receive(conn, &[&begin[..], &route(1), &route(2), &end].concat());
    assert!(lone.speaker.rib.is_sweeping(id, V4));
    // No turn passes: the third route is still being removed, and the generations of paths must not run out.
    for _ in 0..100 {
        lone.receive(conn, &[&begin[..], &route(1), &end].concat());
    }
    assert_eq!(lone.speaker.rib.path_count(id, V4), 2, "the second route is kept");
    lone.work_off(|_| 0);
    assert!(!lone.speaker.rib.is_sweeping(id, V4));
    assert_eq!(lone.speaker.rib.path_count(id, V4), 2);
    // The sweep is through: the next refresh counts.
    lone.receive(conn, &[&begin[..], &route(1), &end].concat());
    lone.work_off(|_| 0);
    assert_eq!((lone.speaker.rib.path_count(id, V4), lone.speaker.rib.path_count_total(V4)), (1, 1));
    assert!(lone.is_up(id));
}

fn dial(lone: &mut Lone, number: u8) -> Result<(), Refusal> {
    let (remote, local) = (SocketAddr::new(peer_address(number), 1), SocketAddr::new(peer_address(1), 179));
    lone.speaker.accept(NOW, remote, local, None).map(|_| ())
}

#[test]
fn who_dials_a_range_that_is_shut_down_takes_no_place_in_it() {
    let shut = EXTERNAL.to_owned() + "shutdown = true\nlimit = 1\n";
    let mut lone = Lone::new(config(&shut));
    assert_eq!(dial(&mut lone, 2), Err(Refusal::Unwanted));
    assert_eq!(lone.speaker.peer_ids(), []);
    lone.speaker.reload(NOW, config(&(EXTERNAL.to_owned() + "limit = 1\n")));
    assert_eq!(dial(&mut lone, 3), Ok(()));
    let full = Refusal::RangeFull { range: "10.0.0.0/24".parse().expect("a prefix"), limit: 1 };
    assert_eq!(dial(&mut lone, 4), Err(full));
    assert_eq!(full.to_string(), "the range 10.0.0.0/24 has its 1 peers: raise `limit` of that dynamic_peer");
}

#[test]
fn what_happens_over_and_over_is_logged_once_a_minute_with_a_count() {
    let mut paced = Paced::default();
    assert_eq!(paced.note(NOW), Some(1));
    for _ in 0..1000 {
        assert_eq!(paced.note(NOW.plus_ms(PAUSE_MS - 1)), None);
    }
    assert_eq!(paced.note(NOW.plus_ms(PAUSE_MS)), Some(1001));
}

#[test]
fn listeners_have_the_key_of_a_range_as_long_as_it_has_one() {
    let with_key = || config(&(EXTERNAL.to_owned() + "password = \"secret\"\n"));
    let without_ranges = || Config { dynamic_peers: Vec::new(), ..with_key() };
    let mut lone = Lone::new(with_key());
    let keys = |lone: &mut Lone| {
        let mut keys = Vec::new();
        while let Some(action) = lone.speaker.poll_action() {
            if let Action::ListenKey { range, key } = action {
                assert_eq!(range.to_string(), "10.0.0.0/24");
                keys.push(key.is_some());
            }
        }
        keys
    };
    assert_eq!(keys(&mut lone), [true]);
    for (config, expected) in [
        (config(EXTERNAL), &[false][..]),
        // There is no key to be taken away.
        (without_ranges(), &[]),
        (with_key(), &[true]),
        (without_ranges(), &[false]),
    ] {
        lone.speaker.reload(NOW, config);
        assert_eq!(keys(&mut lone), expected);
    }
}

#[test]
fn a_peer_of_the_api_follows_the_policy_that_it_names() {
    let policy =
        |then: &str| config(&format!("[[policy]]\nname = \"in\"\n[[policy.rule]]\nthen = \"{then}\"\n"));
    let mut lone = Lone::new(policy("accept"));
    let families = FamilySet::only(V4);
    let mut settings = PeerSettings::new(AsnMatch::Exactly(peer_asn(2)), families, "default".into());
    settings.import = PolicyRef::Named("in".into());
    settings.passive = true;
    let peer = PeerConfig { address: peer_address(2), interface: None, settings };
    lone.speaker.add_peer(NOW, peer, Origin::Api);
    let (id, conn) = lone.establish(2);
    let route = announcements(2, &[prefix(1)], &[65002], |_| {});
    lone.receive(conn, &route);
    lone.work_off(|_| 0);
    assert_eq!(lone.speaker.rib.path_count(id, V4), 1);

    lone.speaker.reload(NOW, policy("accept"));
    assert!(lone.send_all(Some(conn)).is_empty(), "nothing changed");
    let said = lone.speaker.reload(NOW, policy("reject"));
    assert!(
        said.iter().any(|line| line == "peer 10.0.0.2: changed, its routes are asked for anew"),
        "{said:?}"
    );
    assert_eq!(lone.send_all(Some(conn)), refresh(RefreshKind::Request));
    lone.receive(conn, &route);
    assert_eq!(lone.speaker.rib.path_count(id, V4), 0);
}

/// Peers that are moved one by one are each told the table alone; together they are one update group as before.
#[test]
fn peers_whose_export_changes_in_one_reload_stay_one_update_group() {
    let peers = |export: &str| {
        let peers = (2..8).map(|number| {
            format!(
                "[[peer]]\naddress = \"{}\"\nasn = \"internal\"\npassive = true\nhold_time_s = 0\n\
                 route_reflector_client = true\nexport = \"{export}\"\n",
                peer_address(number)
            )
        });
        let policy = "[[policy]]\nname = \"tag\"\n[[policy.rule]]\nset = { add_communities = [\"65000:1\"] }\n\
                      then = \"accept\"\n";
        config(&(policy.to_string() + &peers.collect::<String>()))
    };
    let mut lone = Lone::new(peers("accept"));
    for number in 2..8 {
        lone.establish_as(number, 65000);
    }
    lone.work_off(|_| 0);
    let group = |lone: &Lone| {
        let groups: Vec<_> = lone.speaker.export.groups().collect();
        assert_eq!(groups.len(), 1, "one update group");
        assert_eq!(groups[0].lagging, 0, "and nobody is told anything alone");
    };
    group(&lone);
    lone.speaker.reload(NOW, peers("tag"));
    group(&lone);
}
