//! Single situations that the random networks found, or might take long to find.

use std::net::SocketAddr;

use super::Random;
use super::network::Network;
use super::plan::{EndPlan, LinkPlan, NodePlan, Plan};
use crate::config::{Config, DynamicPeerConfig, PeerConfig, Secret};
use crate::rib::Path;
use crate::speaker::{Action, Refusal, Speaker, Syn, ttl_min};
use crate::types::*;

/// Three speakers of an AS: the first reflects what its two clients say.
fn reflector() -> Plan {
    let node = || NodePlan { asn: 65001, networks: [(prefix(), 0)].into() };
    let end = |node, client| EndPlan { node, configured: true, client, ..EndPlan::default() };
    let link = |client| LinkPlan { ends: [end(0, true), end(client, false)], ipv6: true };
    let mut plan = Plan { nodes: vec![node(), node(), node()], links: vec![link(1), link(2)] };
    plan.nodes[0].networks.clear();
    plan.nodes[2].networks.clear();
    plan
}

fn prefix() -> Prefix {
    "2001:db8:1::/48".parse().expect("this is a prefix")
}

#[test]
fn the_name_of_a_connection_is_not_used_again_before_its_socket_is_closed() {
    let plan = reflector();
    let mut speaker = Speaker::new(plan.config(0), 1);
    speaker.start(Time(0));
    let accept = |speaker: &mut Speaker, link: usize, port: u16| {
        let remote = SocketAddr::new(plan.address(link, 1), port);
        let local = SocketAddr::new(plan.address(link, 0), 179);
        speaker.accept(Time(0), remote, local, None).map(|accepted| accepted.conn)
    };
    let first = accept(&mut speaker, 0, 1).expect("the peer is configured");
    // The peer has lost its connection and dials again; another one dials before the reactor has heard of it.
    let second = accept(&mut speaker, 0, 2).expect("the first connection is lost");
    let other = accept(&mut speaker, 1, 1).expect("the other peer is configured");
    assert_ne!(first, second);
    assert_ne!(first, other, "the reactor still has a socket of that name");
    let mut closed = Vec::new();
    while let Some(action) = speaker.poll_action() {
        if let Action::Close { conn, .. } = action {
            closed.push(conn);
        }
    }
    assert_eq!(closed, [first]);
}

#[test]
fn a_connection_must_begin_as_its_session_is_to_go_on() {
    let plan = reflector();
    let near = |hops| Some(Syn { ttl: ttl_min(hops), signed: false });
    let signed = Some(Syn { ttl: 64, signed: true });
    let unsigned = Some(Syn { ttl: 64, signed: false });
    let too_far = Refusal::TooFar { ttl: 254, ttl_min: 255 };
    let password = || Some(Secret::new(b"key".to_vec()));
    for (hops, password, syn, outcome) in [
        (None, None, None, Ok(())),
        (None, None, unsigned, Ok(())),
        (Some(1), None, near(1), Ok(())),
        (Some(1), None, near(2), Err(too_far)),
        (Some(2), None, near(2), Ok(())),
        (Some(254), None, near(254), Ok(())),
        (Some(1), None, None, Err(Refusal::Unproven)),
        (None, password(), signed, Ok(())),
        (None, password(), unsigned, Err(Refusal::Unsigned)),
        (None, password(), None, Err(Refusal::Unproven)),
    ] {
        let remote = SocketAddr::new(plan.address(0, 1), 1);
        let local = SocketAddr::new(plan.address(0, 0), 179);
        let mut config = plan.config(0);
        let mut settings = config.peers[0].settings.clone();
        (settings.ttl_security_hops, settings.password) = (hops, password);
        // The same of a configured peer, and of a range with one.
        config.peers.retain(|peer| peer.address != remote.ip());
        let range =
            DynamicPeerConfig { range: Prefix::host(remote.ip()), settings: settings.clone(), limit: 1 };
        let peer = PeerConfig { address: remote.ip(), interface: None, settings };
        for (peers, dynamic_peers) in [(vec![peer], vec![]), (vec![], vec![range])] {
            let config = Config { peers, dynamic_peers, ..config.clone() };
            let mut speaker = Speaker::new(config, 1);
            speaker.start(Time(0));
            let configured = speaker.peer_ids().len();
            let accepted = speaker.accept(Time(0), remote, local, syn).map(|_| ());
            assert_eq!(accepted, outcome, "{hops:?} {syn:?}");
            if outcome.is_err() {
                assert_eq!(speaker.peer_ids().len(), configured, "a stranger took a place in the range");
            }
        }
    }
}

#[test]
fn a_new_cluster_identifier_stands_in_what_is_reflected_from_then_on() {
    let mut network = Network::new(reflector(), Random(1));
    network.run_for(60_000);
    network.check_settled();
    let mut config = network.plan.config(0);
    config.speaker.cluster_id = RouterId(0x0a09_0909);
    network.nodes[0].speaker.reload(network.now, config);
    network.run_for(60_000);
    let rib = &network.nodes[2].speaker.rib;
    let dest = rib.find(prefix()).expect("the prefix is reflected");
    let best = rib.best(Family::Ipv6Unicast, dest).expect("the prefix is reflected");
    let attributes = crate::wire::PathAttributes::new(rib.attrs().block(best.attrs));
    assert_eq!(attributes.cluster_list().collect::<Vec<_>>(), [RouterId(0x0a09_0909)]);
}

#[test]
fn a_reload_leaves_what_the_api_originates_alone() {
    let plan = reflector();
    let mut speaker = Speaker::new(plan.config(1), 1);
    let originates = |speaker: &Speaker| {
        let dest = speaker.rib.find(prefix());
        dest.and_then(|dest| speaker.rib.paths(Family::Ipv6Unicast, dest).next()).is_some()
    };
    speaker.start(Time(0));
    let block = {
        let mut block = Vec::new();
        let mut editor = crate::wire::AttributeEditor::on(&mut block);
        editor.set_origin(crate::wire::attrs::Origin::Igp).set_as_path(&[]);
        editor.finish().expect("the attributes are short");
        block
    };
    speaker.originate_by_api(prefix(), NextHop::new("::".parse().expect("an address")), &block);
    let without = Config { networks: Vec::new(), ..plan.config(1) };
    speaker.reload(Time(0), without);
    assert!(originates(&speaker));
    assert!(speaker.withdraw_by_api(prefix()));
    assert!(!originates(&speaker));
}

/// Three ASes in a line, all with graceful restart; each originates one prefix. The one in the middle restarts, and
/// the last one does not answer for a while.
fn restarted_in_the_middle(silent_ms: u64) -> Network {
    let node = |index: u32| NodePlan { asn: 65001 + index, networks: [(prefix_of(index), 0)].into() };
    let end = |node| EndPlan { node, configured: true, graceful_restart: true, ..EndPlan::default() };
    let link = |a, b| LinkPlan { ends: [end(a), end(b)], ipv6: true };
    let plan = Plan { nodes: (0..3).map(node).collect(), links: vec![link(0, 1), link(1, 2)] };
    let mut network = Network::new(plan, Random(1));
    network.run_for(60_000);
    network.check_settled();
    network.restart(1, true, false);
    network.nodes[2].frozen_until = network.now.plus_ms(silent_ms);
    network
}

fn prefix_of(node: u32) -> Prefix {
    format!("2001:db8:{}::/48", node + 1).parse().expect("this is a prefix")
}

/// The only path that the first speaker has to a prefix of the middle or the last one.
fn path_at_first(network: &Network, node: u32) -> Path {
    let rib = &network.nodes[0].speaker.rib;
    let dest = rib.find(prefix_of(node)).expect("a path is kept");
    rib.paths(Family::Ipv6Unicast, dest).next().expect("a path is kept")
}

#[test]
fn who_has_restarted_says_nothing_until_all_peers_have_said_everything() {
    let mut network = restarted_in_the_middle(8_000);
    network.run_for(7_000);
    assert!(network.is_up(0), "the session is there long before");
    for node in [1, 2] {
        assert!(path_at_first(&network, node).stale, "neither its own prefix nor another's is told again");
    }
    network.run_for(6_000);
    for node in [1, 2] {
        assert!(!path_at_first(&network, node).stale, "told when the last peer has sent End-of-RIB");
    }
    network.run_for(60_000);
    network.check_settled();
}

#[test]
fn a_peer_that_stays_away_is_waited_for_as_long_as_the_timer_says() {
    // The peers are asked to wait for 15 s.
    let mut network = restarted_in_the_middle(60_000);
    network.run_for(14_500);
    assert!(path_at_first(&network, 1).stale);
    network.run_for(2_000);
    assert!(!path_at_first(&network, 1).stale);
    let rib = &network.nodes[0].speaker.rib;
    assert!(rib.find(prefix_of(2)).is_none_or(|dest| rib.best(Family::Ipv6Unicast, dest).is_none()));
}

#[test]
fn without_a_deferral_routes_are_told_at_once() {
    let mut network = restarted_in_the_middle(8_000);
    let mut config = network.plan.config(1);
    config.speaker.selection_deferral_s = Some(0);
    network.nodes[1].speaker = Speaker::new(config, 1);
    network.nodes[1].speaker.start(network.now);
    network.run_for(7_000);
    assert!(!path_at_first(&network, 1).stale);
}
