//! Single situations that the random networks found, or might take long to find.

use std::net::SocketAddr;

use super::Random;
use super::network::Network;
use super::plan::{EndPlan, LinkPlan, NodePlan, Plan};
use crate::config::{Config, DynamicPeerConfig, PeerConfig, Secret};
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
