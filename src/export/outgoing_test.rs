//! What goes out, rule by rule.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

use super::key::{GroupKey, NextHopRule};
use super::outgoing::{Candidate, Outcome, Scratch, outgoing};
use crate::policy::{
    NextHopAction, NumberEdit, Policies, Policy, PolicyDefinition, PolicyModel, Rule, Verdict,
};
use crate::rib::PeerInfo;
use crate::types::{Family, NextHop, PeerKind, Prefix, RouterId};
use crate::wire::AttributeEditor;
use crate::wire::attrs::{Origin, PathAttributes, code, community};

fn key(kind: PeerKind) -> GroupKey {
    GroupKey {
        family: Family::Ipv4Unicast,
        kind,
        local_asn: 65000,
        cluster_id: RouterId(77),
        four_octet_as: true,
        message_bytes_max: 4096,
        extended_next_hop: false,
        policy: Rc::from("accept"),
        next_hop: NextHopRule {
            self_v4: Some(Ipv4Addr::new(192, 0, 2, 1)),
            self_v6: Some("2001:db8::1".parse().expect("an address")),
            ..NextHopRule::default()
        },
    }
}

fn source(kind: PeerKind) -> PeerInfo {
    PeerInfo { kind, router_id: RouterId(5), address: [10, 0, 0, 5].into(), asn: 64999 }
}

fn v4(text: &str) -> NextHop {
    NextHop::new(text.parse::<IpAddr>().expect("an address"))
}

fn block(edit: impl FnOnce(&mut AttributeEditor<'_>)) -> Vec<u8> {
    let mut block = Vec::new();
    let mut editor = AttributeEditor::on(&mut block);
    editor.set_origin(Origin::Igp).set_as_path(&[64999, 64998]);
    edit(&mut editor);
    block
}

struct Told {
    block: Vec<u8>,
    next_hop: NextHop,
}

impl Told {
    fn attributes(&self) -> PathAttributes<'_> {
        PathAttributes::new(&self.block)
    }

    fn path(&self) -> Vec<u32> {
        self.attributes().as_path().asns().collect()
    }
}

fn tell_with(
    key: &GroupKey,
    policy: &Policy,
    from: PeerKind,
    block: &[u8],
    next_hop: NextHop,
) -> (Outcome, Option<Told>) {
    let prefix: Prefix = match key.family {
        Family::Ipv4Unicast => "198.51.100.0/24".parse(),
        Family::Ipv6Unicast => "2001:db8:7::/48".parse(),
    }
    .expect("a prefix");
    let source = source(from);
    let candidate = Candidate { prefix, block, next_hop, source: &source };
    let mut out = Vec::new();
    let outcome = outgoing(key, policy, &candidate, &mut Scratch::default(), &mut out);
    (outcome, outcome.next_hop.map(|next_hop| Told { block: out, next_hop }))
}

fn tell(key: &GroupKey, from: PeerKind, block: &[u8], next_hop: &str) -> Option<Told> {
    tell_with(key, &Policy::accept(), from, block, v4(next_hop)).1
}

/// A policy of one rule that takes every route.
fn policy(edit: impl FnOnce(&mut Rule)) -> Rc<Policy> {
    let mut rule = Rule::default();
    edit(&mut rule);
    let model = PolicyModel {
        policies: vec![PolicyDefinition {
            name: "test".to_string(),
            rules: vec![rule],
            default: Verdict::Reject,
        }],
        ..PolicyModel::default()
    };
    let policies = Policies::compile(&model).expect("a good model");
    Rc::clone(policies.get("test").expect("it is there"))
}

/// RFC 4271 §5.1.2 b, §5.1.5; RFC 4456 §8.
#[test]
fn an_external_peer_sees_our_as_and_nothing_internal() {
    let block = block(|editor| {
        editor.set_local_pref(200).set_originator_id(RouterId(3)).prepend_cluster_id(RouterId(4));
    });
    let told = tell(&key(PeerKind::External), PeerKind::Internal, &block, "10.0.0.5").expect("it is told");
    assert_eq!(told.path(), [65000, 64999, 64998]);
    for internal in [code::LOCAL_PREF, code::ORIGINATOR_ID, code::CLUSTER_LIST] {
        assert!(told.attributes().get(internal).is_none());
    }
}

/// RFC 4271 §5.1.2 b: an empty path, and one that begins with a set or a full sequence, get a segment.
#[test]
fn our_as_goes_into_a_segment_of_its_own_where_it_must() {
    let empty = tell(&key(PeerKind::External), PeerKind::Local, &[0x40, 1, 1, 0, 0x40, 2, 0], "0.0.0.0");
    assert_eq!(empty.expect("it is told").path(), [65000]);
    let set = [0x40, 1, 1, 0, 0x40, 2, 6, 1, 1, 0, 0, 0, 7];
    let told = tell(&key(PeerKind::External), PeerKind::External, &set, "10.0.0.5").expect("it is told");
    assert_eq!(told.attributes().as_path().octets(), [2, 1, 0, 0, 0xfd, 0xe8, 1, 1, 0, 0, 0, 7]);
}

/// RFC 4271 §5.1.4.
#[test]
fn a_med_goes_no_further_than_our_as_unless_we_set_it() {
    let block = block(|editor| {
        editor.set_med(9);
    });
    let external = key(PeerKind::External);
    for from in [PeerKind::External, PeerKind::Internal] {
        let told = tell(&external, from, &block, "10.0.0.5").expect("it is told");
        assert_eq!(told.attributes().med(), None);
    }
    let own = tell(&external, PeerKind::Local, &block, "0.0.0.0").expect("it is told");
    assert_eq!(own.attributes().med(), Some(9));
    let inside = tell(&key(PeerKind::Internal), PeerKind::External, &block, "10.0.0.5").expect("it is told");
    assert_eq!(inside.attributes().med(), Some(9));
    let set = policy(|rule| rule.set.med = Some(NumberEdit::To(9)));
    let (_, told) = tell_with(&external, &set, PeerKind::External, &block, v4("10.0.0.5"));
    assert_eq!(told.expect("it is told").attributes().med(), Some(9));
}

/// RFC 4271 §9.2, RFC 4456 §6.
#[test]
fn internal_routes_go_to_internal_peers_only_through_a_reflector() {
    use PeerKind::{Client, External, Internal, Local};
    let block = block(|_| {});
    for (from, to, passes) in [
        (Internal, Internal, false),
        (Internal, Client, true),
        (Client, Internal, true),
        (Client, Client, true),
        (External, Internal, true),
        (Local, Internal, true),
        (Internal, External, true),
    ] {
        let told = tell(&key(to), from, &block, "10.0.0.5");
        assert_eq!(told.is_some(), passes, "{from:?} to {to:?}");
    }
}

/// RFC 4456 §8.
#[test]
fn a_reflected_route_says_where_it_came_from() {
    let fresh = block(|editor| {
        editor.set_local_pref(200);
    });
    let told = tell(&key(PeerKind::Client), PeerKind::Internal, &fresh, "10.0.0.5").expect("it is told");
    assert_eq!(told.attributes().originator_id(), Some(RouterId(5)));
    assert_eq!(told.attributes().cluster_list().collect::<Vec<_>>(), [RouterId(77)]);
    assert_eq!(told.attributes().local_pref(), Some(200));
    assert_eq!(told.path(), [64999, 64998]);
    assert_eq!(told.next_hop, v4("10.0.0.5"));
    let again = block(|editor| {
        editor.set_originator_id(RouterId(3)).prepend_cluster_id(RouterId(4));
    });
    let told = tell(&key(PeerKind::Internal), PeerKind::Client, &again, "10.0.0.5").expect("it is told");
    assert_eq!(told.attributes().originator_id(), Some(RouterId(3)));
    assert_eq!(told.attributes().cluster_list().collect::<Vec<_>>(), [RouterId(77), RouterId(4)]);
}

/// RFC 4271 §5.1.5, RFC 4456 §8: nothing is reflected that came from another AS.
#[test]
fn an_external_route_gets_the_default_preference_and_no_reflection() {
    let told =
        tell(&key(PeerKind::Client), PeerKind::External, &block(|_| {}), "10.0.0.5").expect("it is told");
    assert_eq!(told.attributes().local_pref(), Some(100));
    assert_eq!(told.attributes().originator_id(), None);
    assert_eq!(told.path(), [64999, 64998]);
}

/// RFC 4271 §5.1.2: a path is mandatory, also an empty one.
#[test]
fn our_own_route_without_a_path_gets_an_empty_one() {
    let told =
        tell(&key(PeerKind::Internal), PeerKind::Local, &[0x40, 1, 1, 0], "0.0.0.0").expect("it is told");
    assert_eq!(told.attributes().get(code::AS_PATH).map(|path| path.value.len()), Some(0));
    assert_eq!(told.next_hop, v4("192.0.2.1"));
}

/// RFC 1997.
#[test]
fn well_known_communities_keep_routes_home() {
    for (value, external, internal) in [
        (community::NO_EXPORT, false, true),
        (community::NO_EXPORT_SUBCONFED, false, true),
        (community::NO_ADVERTISE, false, false),
        (65000 << 16, true, true),
    ] {
        let block = block(|editor| {
            editor.add_communities(&[1, value]);
        });
        let told = |kind| tell(&key(kind), PeerKind::External, &block, "10.0.0.5").is_some();
        assert_eq!((told(PeerKind::External), told(PeerKind::Client)), (external, internal), "{value:x}");
    }
}

/// RFC 4360 §6.
#[test]
fn communities_that_are_not_transitive_stay_in_the_as() {
    let block = block(|editor| {
        editor.add_extended_communities(&[0x4002_0000_0000_0001, 0x0002_0000_0000_0002]);
    });
    let kept = |kind| {
        let told = tell(&key(kind), PeerKind::Local, &block, "0.0.0.0").expect("it is told");
        told.attributes().extended_communities().collect::<Vec<_>>()
    };
    assert_eq!(kept(PeerKind::External), [0x0002_0000_0000_0002]);
    assert_eq!(kept(PeerKind::Internal).len(), 2);
}

/// RFC 4271 §5: an unrecognized attribute goes on as it is kept, with the Partial bit.
#[test]
fn a_confederation_stays_inside() {
    let mut inside = Vec::new();
    let segments = [[3, 1, 0, 0, 0xff, 0xf0], [2, 1, 0, 0, 0xfd, 0xe7], [4, 1, 0, 0, 0xff, 0xf1]].concat();
    AttributeEditor::on(&mut inside).set_origin(Origin::Igp).set(0x40, code::AS_PATH, &segments);
    let told = tell(&key(PeerKind::External), PeerKind::Internal, &inside, "10.0.0.5").expect("it is told");
    assert_eq!(told.path(), [65000, 64999]);
    let told = tell(&key(PeerKind::Client), PeerKind::Internal, &inside, "10.0.0.5").expect("it is told");
    assert_eq!(told.path(), [65520, 64999, 65521]);
}

#[test]
fn what_we_do_not_know_is_passed_on() {
    let block = block(|editor| {
        editor.set(0xe0, 99, b"what is this");
    });
    let told = tell(&key(PeerKind::External), PeerKind::External, &block, "10.0.0.5").expect("it is told");
    let passed = told.attributes().get(99).expect("it is there");
    assert_eq!((passed.flags, passed.value), (0xe0, &b"what is this"[..]));
}

/// RFC 4271 §5.1.3.
#[test]
fn the_next_hop_to_an_external_peer_is_us_unless_it_is_on_the_link() {
    let block = block(|_| {});
    let mut key = key(PeerKind::External);
    let told =
        |key: &GroupKey| tell(key, PeerKind::External, &block, "10.0.0.5").expect("it is told").next_hop;
    assert_eq!(told(&key), v4("192.0.2.1"));
    key.next_hop.connected = Some("10.0.0.0/24".parse().expect("a prefix"));
    assert_eq!(told(&key), v4("10.0.0.5"));
    key.next_hop.connected = Some("10.0.1.0/24".parse().expect("a prefix"));
    assert_eq!(told(&key), v4("192.0.2.1"));
}

/// RFC 4271 §5.1.3 item 1, RFC 4456 §10.
#[test]
fn next_hop_self_leaves_reflected_routes_alone() {
    let block = block(|_| {});
    let mut key = key(PeerKind::Client);
    key.next_hop.force_self = true;
    let told = |from| tell(&key, from, &block, "10.0.0.5").expect("it is told").next_hop;
    assert_eq!(told(PeerKind::External), v4("192.0.2.1"));
    assert_eq!(told(PeerKind::Client), v4("10.0.0.5"));
}

#[test]
fn a_policy_chooses_the_next_hop() {
    let block = block(|_| {});
    let address: IpAddr = "203.0.113.9".parse().expect("an address");
    for (action, kind, expected) in [
        (NextHopAction::Itself, PeerKind::Client, "192.0.2.1"),
        (NextHopAction::Unchanged, PeerKind::External, "10.0.0.5"),
        (NextHopAction::Address(address), PeerKind::External, "203.0.113.9"),
    ] {
        let policy = policy(|rule| rule.set.next_hop = Some(action));
        let (_, told) = tell_with(&key(kind), &policy, PeerKind::Client, &block, v4("10.0.0.5"));
        assert_eq!(told.expect("it is told").next_hop, v4(expected), "{action:?}");
    }
}

#[test]
fn a_policy_may_reject_and_says_what_it_looked_at() {
    let (outcome, told) = tell_with(
        &key(PeerKind::External),
        &Policy::reject(),
        PeerKind::Local,
        &block(|_| {}),
        v4("0.0.0.0"),
    );
    assert!(told.is_none() && !outcome.used_prefix);
}

/// RFC 2545 §3: the link-local address goes to peers on the same link only.
#[test]
fn a_link_local_next_hop_stays_on_its_link() {
    let block = block(|_| {});
    let link_local: Ipv6Addr = "fe80::5".parse().expect("an address");
    let both = NextHop { addr: "2001:db8:5::5".parse().expect("an address"), link_local: Some(link_local) };
    let only = NextHop::new(IpAddr::V6(link_local));
    let told = |key: &GroupKey, from, next_hop| {
        tell_with(key, &Policy::accept(), from, &block, next_hop).1.expect("it is told").next_hop
    };
    let mut internal = key(PeerKind::Client);
    internal.family = Family::Ipv6Unicast;
    assert_eq!(told(&internal, PeerKind::Client, both), NextHop::new(both.addr));
    assert_eq!(told(&internal, PeerKind::Client, only), v4("2001:db8::1"));
    let mut external = key(PeerKind::External);
    external.family = Family::Ipv6Unicast;
    external.next_hop.self_link_local = Some("fe80::1".parse().expect("an address"));
    let own = NextHop {
        addr: "2001:db8::1".parse().expect("an address"),
        link_local: external.next_hop.self_link_local,
    };
    assert_eq!(told(&external, PeerKind::Client, both), own);
    external.next_hop.connected = Some("2001:db8:5::/64".parse().expect("a prefix"));
    assert_eq!(told(&external, PeerKind::External, both), both);
    external.next_hop.self_v6 = None;
    external.next_hop.connected = None;
    assert_eq!(told(&external, PeerKind::Client, both), v4("fe80::1"));
}

/// RFC 8950: IPv4 routes with IPv6 next hops only for those who take them.
#[test]
fn ipv4_routes_have_ipv6_next_hops_only_where_negotiated() {
    let block = block(|_| {});
    let mut key = key(PeerKind::Client);
    let told =
        |key: &GroupKey| tell(key, PeerKind::Client, &block, "2001:db8:5::5").map(|told| told.next_hop);
    assert_eq!(told(&key), Some(v4("192.0.2.1")));
    key.next_hop.self_v4 = None;
    assert_eq!(told(&key), None);
    key.extended_next_hop = true;
    assert_eq!(told(&key), Some(v4("2001:db8:5::5")));
    let own = tell(&key, PeerKind::Local, &block, "0.0.0.0").expect("it is told");
    assert_eq!(own.next_hop, v4("2001:db8::1"));
}

#[test]
fn without_an_address_of_ours_a_route_that_needs_one_is_not_told() {
    let mut key = key(PeerKind::External);
    key.family = Family::Ipv6Unicast;
    key.next_hop.self_v6 = None;
    assert!(tell(&key, PeerKind::External, &block(|_| {}), "2001:db8:5::5").is_none());
}
