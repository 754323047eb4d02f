//! Policies from the text on: each condition and each change with a real block, and what must hold for any
//! policy.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::rc::Rc;

use proptest::prelude::*;

use crate::config::parse;
use crate::policy::{
    CommunityEdit, Evaluation, Match, NextHopAction, Policies, Policy, PolicyDefinition, PolicyModel,
    Removal, RouteContext, Rule, Set, Then, Verdict,
};
use crate::types::{NextHop, Prefix, Prefix4};

/// ORIGIN IGP, AS_PATH 65001 65002, LOCAL_PREF 150, communities 65000:1 and no-export, extended community
/// rt:65000:7, large community 65000:1:2.
fn attributes() -> BTreeMap<u8, (u8, Vec<u8>)> {
    BTreeMap::from([
        (1, (0x40, vec![0])),
        (2, (0x40, path(&[65001, 65002]))),
        (5, (0x40, 150_u32.to_be_bytes().to_vec())),
        (8, (0xC0, vec![0xFD, 0xE8, 0, 1, 0xFF, 0xFF, 0xFF, 0x01])),
        (16, (0xC0, vec![0, 2, 0xFD, 0xE8, 0, 0, 0, 7])),
        (32, (0xC0, vec![0, 0, 0xFD, 0xE8, 0, 0, 0, 1, 0, 0, 0, 2])),
    ])
}

fn path(asns: &[u32]) -> Vec<u8> {
    let mut path = vec![2, asns.len() as u8];
    asns.iter().for_each(|asn| path.extend(asn.to_be_bytes()));
    path
}

/// A canonical block.
fn block(attributes: &BTreeMap<u8, (u8, Vec<u8>)>) -> Vec<u8> {
    let mut block = Vec::new();
    for (code, (flags, value)) in attributes {
        match u8::try_from(value.len()) {
            Ok(length) => block.extend([*flags, *code, length]),
            Err(_) => {
                block.extend([flags | 0x10, *code]);
                block.extend((value.len() as u16).to_be_bytes());
            }
        }
        block.extend(value);
    }
    block
}

fn route(prefix: &str) -> RouteContext {
    let prefix: Prefix = prefix.parse().unwrap();
    RouteContext {
        family: prefix.family(),
        prefix,
        peer_address: Some("192.0.2.1".parse().unwrap()),
        peer_asn: 65001,
        local_asn: 65000,
        next_hop: NextHop::new("192.0.2.9".parse::<IpAddr>().unwrap()),
    }
}

fn model(text: &str) -> PolicyModel {
    let whole = format!("[speaker]\nasn = 65000\nrouter_id = \"10.0.0.1\"\n{SETS}{text}");
    parse(&whole, "test.toml", Path::new(".")).unwrap().policies
}

const SETS: &str = r#"
[[prefix_set]]
name = "tens"
prefixes = ["10.0.0.0/8 ge 16 le 24", "2001:db8::/32 le 48"]
[[community_set]]
name = "ones"
communities = ["*:1", "65009:9"]
[[community_set]]
name = "others"
communities = ["65009:*"]
[[ext_community_set]]
name = "targets"
communities = ["rt:65000:*"]
[[large_community_set]]
name = "larges"
communities = ["65000:*:2"]
[[as_path_set]]
name = "by-one"
patterns = ["^65001_"]
[[as_path_set]]
name = "by-two"
patterns = ["^65002_", "_65001$"]
"#;

fn compile(rules: &str) -> Rc<Policy> {
    let text = format!("[[policy]]\nname = \"p\"\n{rules}");
    Policies::compile(&model(&text)).unwrap().get("p").unwrap().clone()
}

fn rule(body: &str, then: &str) -> String {
    format!("[[policy.rule]]\n{body}\nthen = \"{then}\"\n")
}

fn evaluate(policy: &Policy, route: &RouteContext) -> (Evaluation, Vec<u8>) {
    let mut out = vec![0xAA; 7];
    let evaluation = policy.evaluate(route, &block(&attributes()), &mut out);
    (evaluation, out)
}

#[test]
fn each_condition_holds_when_it_should_and_not_otherwise() {
    for (holds, fails, looks_beyond) in [
        ("prefix_set = \"tens\"", "", true),
        ("community_set = \"ones\"", "community_set = \"others\"", false),
        ("ext_community_set = \"targets\"", "", false),
        ("large_community_set = \"larges\"", "", false),
        ("as_path_set = \"by-one\"", "as_path_set = \"by-two\"", false),
        ("as_path_length = 2", "as_path_length = { ge = 3 }", false),
        ("as_path_length = { ge = 1, le = 2 }", "as_path_length = { le = 1 }", false),
        ("next_hop = \"192.0.2.9\"", "next_hop = [\"192.0.2.8\", \"10.0.0.0/8\"]", false),
        ("family = \"ipv4-unicast\"", "family = \"ipv6-unicast\"", false),
        ("peer = [\"192.0.2.0/24\"]", "peer = \"192.0.2.2\"", false),
        ("peer_asn = [65001, 65002]", "peer_asn = 65002", false),
        ("origin = \"igp\"", "origin = \"egp\"", false),
        ("local_pref = 150", "local_pref = { ge = 151 }", false),
        ("med = 0", "med = { ge = 1 }", false),
        ("origin = \"igp\", med = 0", "origin = \"igp\", med = 1", false),
    ] {
        for (condition, verdict) in [(holds, Verdict::Accept), (fails, Verdict::Reject)] {
            if condition.is_empty() {
                continue;
            }
            let policy = compile(&rule(&format!("match = {{ {condition} }}"), "accept"));
            let (evaluation, _) = evaluate(&policy, &route("10.1.0.0/16"));
            let expected = Evaluation { verdict, modified: false, next_hop: None, used_prefix: looks_beyond };
            assert_eq!(evaluation, expected, "{condition}");
        }
    }
}

#[test]
fn a_prefix_must_be_of_the_lengths_that_the_set_names() {
    let policy = compile(&rule("match = { prefix_set = \"tens\" }", "accept"));
    for (prefix, verdict) in [
        ("10.0.0.0/8", Verdict::Reject),
        ("10.1.0.0/16", Verdict::Accept),
        ("10.1.1.0/24", Verdict::Accept),
        ("10.1.1.0/25", Verdict::Reject),
        ("11.1.0.0/16", Verdict::Reject),
        ("2001:db8::/32", Verdict::Accept),
        ("2001:db8:1::/49", Verdict::Reject),
    ] {
        assert_eq!(evaluate(&policy, &route(prefix)).0.verdict, verdict, "{prefix}");
    }
}

#[test]
fn our_own_routes_come_from_no_peer() {
    let policy = compile(&rule("match = { peer = \"0.0.0.0/0\" }", "accept"));
    let own = RouteContext { peer_address: None, ..route("10.1.0.0/16") };
    assert_eq!(evaluate(&policy, &own).0.verdict, Verdict::Reject);
}

/// What becomes of the block by one `set`.
fn changed(set: &str) -> Vec<u8> {
    let policy = compile(&rule(&format!("set = {{ {set} }}"), "accept"));
    let (evaluation, out) = evaluate(&policy, &route("10.1.0.0/16"));
    assert_eq!((evaluation.verdict, evaluation.modified), (Verdict::Accept, true), "{set}");
    assert!(!evaluation.used_prefix);
    out
}

#[test]
fn each_change_gives_the_block_that_a_writer_would_have_written() {
    let number = |number: u32| number.to_be_bytes().to_vec();
    let communities = |list: &[u32]| list.iter().flat_map(|value| value.to_be_bytes()).collect::<Vec<u8>>();
    let (one, no_export) = (0xFDE8_0001, 0xFFFF_FF01);
    let larges = |list: &[[u32; 3]]| communities(list.as_flattened());
    let cases: [(&str, u8, u8, Vec<u8>); 26] = [
        ("local_pref = 200", 5, 0x40, number(200)),
        ("local_pref = \"+10\"", 5, 0x40, number(160)),
        ("local_pref = \"-200\"", 5, 0x40, number(0)),
        ("med = 7", 4, 0x80, number(7)),
        ("med = \"+7\"", 4, 0x80, number(7)),
        ("origin = \"incomplete\"", 1, 0x40, vec![2]),
        ("prepend = { }", 2, 0x40, path(&[65000, 65001, 65002])),
        ("prepend = { asn = \"own\", count = 2 }", 2, 0x40, path(&[65000, 65000, 65001, 65002])),
        ("prepend = { asn = 4200000000 }", 2, 0x40, path(&[4_200_000_000, 65001, 65002])),
        ("communities = []", 8, 0, vec![]),
        ("communities = [\"1:1\", \"1:2\"]", 8, 0xC0, communities(&[0x1_0001, 0x1_0002])),
        ("add_communities = [\"1:1\"]", 8, 0xC0, communities(&[one, no_export, 0x1_0001])),
        (
            "add_communities = [\"1:1\", \"65000:1\", \"1:1\"]",
            8,
            0xC0,
            communities(&[one, no_export, 0x1_0001]),
        ),
        ("remove_communities = [\"no-export\"]", 8, 0xC0, communities(&[one])),
        ("remove_communities = [\"ones\"]", 8, 0xC0, communities(&[no_export])),
        ("remove_communities = [\"*:*\"]", 8, 0, vec![]),
        (
            "communities = [\"1:1\", \"1:2\"], remove_communities = [\"1:1\"], add_communities = [\"1:3\"]",
            8,
            0xC0,
            communities(&[0x1_0002, 0x1_0003]),
        ),
        ("ext_communities = [\"rt:1:2\"]", 16, 0xC0, vec![0, 2, 0, 1, 0, 0, 0, 2]),
        (
            "add_ext_communities = [\"soo:10.0.0.1:5\"]",
            16,
            0xC0,
            vec![0, 2, 0xFD, 0xE8, 0, 0, 0, 7, 1, 3, 10, 0, 0, 1, 0, 5],
        ),
        ("remove_ext_communities = [\"targets\"]", 16, 0, vec![]),
        ("remove_ext_communities = [\"rt:65000:7\"]", 16, 0, vec![]),
        ("large_communities = [\"1:2:3\"]", 32, 0xC0, larges(&[[1, 2, 3]])),
        ("add_large_communities = [\"1:2:3\"]", 32, 0xC0, larges(&[[65000, 1, 2], [1, 2, 3]])),
        ("remove_large_communities = [\"larges\"]", 32, 0, vec![]),
        ("remove_large_communities = [\"65000:1:*\"]", 32, 0, vec![]),
        (
            "remove_large_communities = [\"*:*:*\"], add_large_communities = [\"1:2:3\"]",
            32,
            0xC0,
            larges(&[[1, 2, 3]]),
        ),
    ];
    for (set, code, flags, value) in cases {
        let mut expected = attributes();
        if value.is_empty() {
            expected.remove(&code);
        } else {
            expected.insert(code, (flags, value));
        }
        assert_eq!(changed(set), block(&expected), "{set}");
    }
}

#[test]
fn a_segment_takes_no_more_than_it_can_count() {
    let policy = compile(&rule("set = { prepend = { asn = 7, count = 2 } }", "accept"));
    let mut attrs = attributes();
    attrs.insert(2, (0x40, path(&[1; 254])));
    let mut out = Vec::new();
    assert!(policy.evaluate(&route("10.1.0.0/16"), &block(&attrs), &mut out).modified);
    let full: Vec<u32> = [7].into_iter().chain([1; 254]).collect();
    attrs.insert(2, (0x40, [path(&[7]), path(&full)].concat()));
    assert_eq!(out, block(&attrs));

    attrs.insert(2, (0x40, vec![]));
    policy.evaluate(&route("10.1.0.0/16"), &block(&attrs), &mut out);
    attrs.insert(2, (0x40, path(&[7, 7])));
    assert_eq!(out, block(&attrs));
}

#[test]
fn the_next_hop_is_told_and_not_written() {
    for (set, action) in [
        ("self", NextHopAction::Itself),
        ("unchanged", NextHopAction::Unchanged),
        ("10.0.0.1", NextHopAction::Address("10.0.0.1".parse().unwrap())),
    ] {
        let policy = compile(&rule(&format!("set = {{ next_hop = \"{set}\" }}"), "accept"));
        let (evaluation, _) = evaluate(&policy, &route("10.1.0.0/16"));
        assert_eq!((evaluation.next_hop, evaluation.modified), (Some(action), false));
    }
}

#[test]
fn the_next_rule_sees_what_the_rule_before_it_did() {
    let policy = compile(
        &(rule("set = { local_pref = 300, next_hop = \"10.0.0.1\" }", "next")
            + &rule("match = { local_pref = 150 }", "reject")
            + &rule("match = { next_hop = \"10.0.0.1\", local_pref = 300 }\nset = { med = 5 }", "accept")),
    );
    let (evaluation, out) = evaluate(&policy, &route("10.1.0.0/16"));
    assert_eq!(evaluation.verdict, Verdict::Accept);
    assert_eq!(evaluation.next_hop, Some(NextHopAction::Address("10.0.0.1".parse().unwrap())));
    let mut expected = attributes();
    expected.insert(4, (0x80, vec![0, 0, 0, 5]));
    expected.insert(5, (0x40, vec![0, 0, 1, 44]));
    assert_eq!(out, block(&expected));
}

#[test]
fn the_first_rule_that_decides_wins_and_the_default_comes_last() {
    let rules = rule("match = { origin = \"egp\" }", "accept")
        + &rule("set = { med = 1 }", "next")
        + &rule("match = { med = 1 }", "reject")
        + &rule("", "accept");
    let (evaluation, _) = evaluate(&compile(&rules), &route("10.1.0.0/16"));
    let rejected =
        Evaluation { verdict: Verdict::Reject, modified: false, next_hop: None, used_prefix: false };
    assert_eq!(evaluation, rejected);

    let policy = compile(&(format!("default = \"accept\"\n{}", rule("set = { med = 1 }", "next"))));
    let (evaluation, _) = evaluate(&policy, &route("10.1.0.0/16"));
    assert_eq!((evaluation.verdict, evaluation.modified), (Verdict::Accept, true));
}

#[test]
fn what_changes_nothing_is_not_a_change() {
    let set = "local_pref = 150, origin = \"igp\", med = \"remove\", add_communities = [\"65000:1\"]";
    let policy = compile(&rule(&format!("set = {{ {set} }}"), "accept"));
    assert!(!evaluate(&policy, &route("10.1.0.0/16")).0.modified);
}

#[test]
fn the_prefix_is_looked_at_as_late_as_can_be() {
    let policy = compile(&rule("match = { prefix_set = \"tens\", as_path_set = \"by-two\" }", "accept"));
    assert!(!evaluate(&policy, &route("10.1.0.0/16")).0.used_prefix);
}

#[test]
fn a_model_that_refers_to_nothing_does_not_compile() {
    let wanting = Rule {
        matches: Match {
            prefix_set: Some("a".to_string()),
            as_path_set: Some("b".to_string()),
            ..Match::default()
        },
        set: Set {
            communities: CommunityEdit {
                remove: vec![Removal::Set("c".to_string())],
                add: vec!["1:*".parse().unwrap()],
                set: None,
            },
            ..Set::default()
        },
        then: Then::Next,
    };
    let policy = PolicyDefinition {
        name: "p".to_string(),
        rules: vec![Rule::default(), wanting],
        default: Verdict::Reject,
    };
    let model = PolicyModel { policies: vec![policy], ..PolicyModel::default() };
    let errors = Policies::compile(&model).unwrap_err();
    assert!(errors.iter().all(|error| (error.policy, error.rule) == (0, 1)));
    let keys: Vec<&str> = errors.iter().map(|error| error.key.as_str()).collect();
    let expected = ["match.as_path_set", "match.prefix_set", "set.add_communities", "set.remove_communities"];
    assert_eq!(keys, expected);
}

// Any policy.

fn any_prefix() -> impl Strategy<Value = Prefix> {
    prop_oneof![
        (0_u32..4, 8_u8..=28).prop_map(|(addr, len)| Prefix::V4(Prefix4::new(10 << 24 | addr << 16, len))),
        (0_u32..4, 0_u8..=32).prop_map(|(addr, len)| Prefix::V4(Prefix4::new(addr << 30, len))),
    ]
}

fn any_rule() -> impl Strategy<Value = String> {
    let condition = prop::sample::subsequence(
        vec![
            "prefix_set = \"tens\"",
            "community_set = \"ones\"",
            "as_path_set = \"by-two\"",
            "as_path_length = { le = 2 }",
            "local_pref = { ge = 100 }",
            "med = { le = 10 }",
            "origin = \"igp\"",
        ],
        0..3,
    );
    let change = prop::sample::subsequence(
        vec![
            "local_pref = \"-40\"",
            "med = \"+7\"",
            "origin = \"egp\"",
            "prepend = { count = 32 }",
            "next_hop = \"self\"",
            "add_communities = [\"65009:9\", \"1:1\"]",
            "remove_communities = [\"ones\"]",
            "large_communities = [\"1:1:1\"]",
            "ext_communities = []",
        ],
        0..4,
    );
    let then = prop::sample::select(vec!["accept", "reject", "next", "next"]);
    (condition, change, then).prop_map(|(condition, change, then)| {
        rule(&format!("match = {{ {} }}\nset = {{ {} }}", condition.join(", "), change.join(", ")), then)
    })
}

fn any_policy() -> impl Strategy<Value = Rc<Policy>> {
    (prop::collection::vec(any_rule(), 0..5), prop::sample::select(vec!["accept", "reject"]))
        .prop_map(|(rules, default)| compile(&format!("default = \"{default}\"\n{}", rules.concat())))
}

fn any_attributes() -> impl Strategy<Value = BTreeMap<u8, (u8, Vec<u8>)>> {
    let asns = prop::collection::vec(65000_u32..65003, 0..100);
    let communities =
        prop::collection::vec(prop::sample::select(vec![0xFDE8_0001_u32, 0xFDF1_0009, 1]), 0..70);
    (asns, communities, prop::option::of(0_u32..20), prop::option::of(90_u32..200)).prop_map(
        |(asns, communities, med, local_pref)| {
            let mut attributes = BTreeMap::from([(1, (0x40, vec![0]))]);
            attributes.insert(2, (0x40, if asns.is_empty() { vec![] } else { path(&asns) }));
            if !communities.is_empty() {
                attributes
                    .insert(8, (0xC0, communities.iter().flat_map(|value| value.to_be_bytes()).collect()));
            }
            med.map(|med| attributes.insert(4, (0x80, med.to_be_bytes().to_vec())));
            local_pref.map(|local_pref| attributes.insert(5, (0x40, local_pref.to_be_bytes().to_vec())));
            attributes
        },
    )
}

/// Reads a canonical block, asserting that it is one.
fn parse_canonical(mut rest: &[u8]) -> BTreeMap<u8, (u8, Vec<u8>)> {
    let mut attributes = BTreeMap::new();
    while let [flags, code, tail @ ..] = rest {
        let (length, tail) = if flags & 0x10 == 0 {
            (usize::from(tail[0]), &tail[1..])
        } else {
            let length = usize::from(tail[0]) << 8 | usize::from(tail[1]);
            assert!(length > 255, "an extended length without need");
            (length, &tail[2..])
        };
        assert!(attributes.keys().next_back().is_none_or(|last| last < code), "types out of order");
        attributes.insert(*code, (flags & !0x10, tail[..length].to_vec()));
        rest = &tail[length..];
    }
    attributes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn accept_and_reject_touch_nothing(attributes in any_attributes(), prefix in any_prefix()) {
        let route = route(&prefix.to_string());
        for (policy, verdict) in [(Policy::accept(), Verdict::Accept), (Policy::reject(), Verdict::Reject)] {
            let mut out = Vec::new();
            let evaluation = policy.evaluate(&route, &block(&attributes), &mut out);
            prop_assert_eq!(evaluation, Evaluation { verdict, modified: false, next_hop: None, used_prefix: false });
            prop_assert!(out.is_empty());
        }
    }

    #[test]
    fn a_changed_block_is_canonical(policy in any_policy(), attributes in any_attributes(), prefix in any_prefix()) {
        let mut out = Vec::new();
        if policy.evaluate(&route(&prefix.to_string()), &block(&attributes), &mut out).modified {
            let parsed = parse_canonical(&out);
            prop_assert_eq!(block(&parsed), out);
            for (code, (flags, value)) in parsed {
                let expected = match code { 1 | 2 | 5 => 0x40, 4 => 0x80, _ => 0xC0 };
                prop_assert_eq!(flags, expected, "flags of {}", code);
                let unit = match code { 8 => 4, 16 => 8, 32 => 12, _ => continue };
                prop_assert!(!value.is_empty() && value.len() % unit == 0);
            }
        }
    }

    #[test]
    fn what_did_not_look_at_the_prefix_is_the_same_for_every_prefix(
        policy in any_policy(),
        attributes in any_attributes(),
        prefix in any_prefix(),
        others in prop::collection::vec(any_prefix(), 1..20),
    ) {
        let attrs = block(&attributes);
        let mut out = Vec::new();
        let evaluation = policy.evaluate(&route(&prefix.to_string()), &attrs, &mut out);
        if evaluation.used_prefix {
            return Ok(());
        }
        for other in others {
            let mut other_out = Vec::new();
            prop_assert_eq!(policy.evaluate(&route(&other.to_string()), &attrs, &mut other_out), evaluation);
            prop_assert!(!evaluation.modified || other_out == out);
        }
    }

    #[test]
    fn no_bytes_make_a_policy_panic(policy in any_policy(), attrs: Vec<u8>) {
        policy.evaluate(&route("10.1.0.0/16"), &attrs, &mut Vec::new());
    }
}
