//! RFC 7606 attribute by attribute: wrong flags, every wrong length, wrong values, twice, missing and
//! cut off, from external and from internal peers.

use super::super::attrs::{PathAttributes, code};
use super::super::finding::{Finding, Problem, Treatment};
use super::super::notification::{self, update as subcode};
use super::super::{DecodeContext, canonicalize, decode_update};
use super::*;

/// What has to come of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    /// Nothing wrong.
    Good,
    Discard(Problem),
    Withdraw(Problem),
    /// The session ends with this subcode of UPDATE Message Error.
    Reset(u8),
}
use Expect::{Discard, Good, Reset, Withdraw};

/// A good message with each attribute of `given` in its place.
fn message_with(given: &[Vec<u8>]) -> Vec<u8> {
    let mut attributes = vec![origin(), as_path(&[65001]), next_hop()];
    attributes.retain(|base| given.iter().all(|given| code_of(given) != code_of(base)));
    attributes.extend_from_slice(given);
    update(&[], &attributes, NET_10)
}

/// Decodes the body and compares with what is expected, down to where the routes end up and what is left
/// of the attribute.
fn check(what: &str, body: &[u8], context: &DecodeContext, attribute: u8, expected: Expect) {
    let kind = if context.external { "eBGP" } else { "iBGP" };
    let view = match (decode_update(body, context), expected) {
        (Err(error), Reset(subcode)) => {
            assert_eq!((error.code, error.subcode), (notification::UPDATE, subcode), "{what} ({kind})");
            return;
        }
        (Err(error), _) => panic!("{what} ({kind}): {error}, expected {expected:?}"),
        (Ok(view), _) => view,
    };
    let found: Vec<Finding> =
        view.findings().iter().copied().filter(|finding| finding.attribute == attribute).collect();
    let (treatment, problem) = match expected {
        Good => (Treatment::None, None),
        Discard(problem) => (Treatment::Discard, Some(problem)),
        Withdraw(problem) => (Treatment::TreatAsWithdraw, Some(problem)),
        Reset(subcode) => panic!("{what} ({kind}): {found:?}, expected reset {subcode}"),
    };
    assert_eq!(view.treatment(), treatment, "{what} ({kind}): {:?}", view.findings());
    assert_eq!(
        found.first().map(|finding| (finding.problem, finding.treatment)),
        problem.map(|problem| (problem, treatment)),
        "{what} ({kind})"
    );
    let withdrawn = view.withdrawals().count();
    let announced = view.announcements().count();
    if treatment == Treatment::TreatAsWithdraw {
        assert_eq!((announced, withdrawn), (0, 1), "{what} ({kind})");
    } else {
        assert_eq!((announced, withdrawn), (1, 0), "{what} ({kind})");
        let mut block = Vec::new();
        canonicalize(&view, &mut block);
        let there = PathAttributes::new(&block).get(attribute).is_some();
        let duplicate = problem == Some(Problem::Duplicate);
        if attribute != code::NEXT_HOP && attribute != code::MP_REACH_NLRI {
            assert_eq!(there, problem.is_none() || duplicate, "{what} ({kind}): kept");
        }
    }
}

/// A good value of every attribute that kulan knows but those with NLRI.
fn good_values() -> Vec<(u8, u8, Vec<u8>)> {
    vec![
        (0x40, code::ORIGIN, vec![2]),
        (0x40, code::AS_PATH, sequence(&[65001, 65002])),
        (0x40, code::NEXT_HOP, vec![192, 0, 2, 1]),
        (0x80, code::MULTI_EXIT_DISC, vec![0, 0, 0, 5]),
        (0x40, code::LOCAL_PREF, vec![0, 0, 0, 100]),
        (0x40, code::ATOMIC_AGGREGATE, vec![]),
        (0xc0, code::AGGREGATOR, vec![0, 0, 0xfd, 0xe9, 10, 0, 0, 1]),
        (0xc0, code::COMMUNITIES, vec![0xfd, 0xe9, 0, 1, 0xfd, 0xe9, 0, 2]),
        (0x80, code::ORIGINATOR_ID, vec![10, 0, 0, 9]),
        (0x80, code::CLUSTER_LIST, vec![10, 0, 0, 1, 10, 0, 0, 2]),
        (0xc0, code::EXTENDED_COMMUNITIES, vec![0, 2, 0xfd, 0xe9, 0, 0, 0, 1]),
        (0xc0, code::IPV6_EXTENDED_COMMUNITIES, vec![7; 20]),
        (0xc0, code::LARGE_COMMUNITIES, vec![1; 12]),
    ]
}

/// Those that an external peer has no business to send (RFC 7606 §7.5, §7.9, §7.10).
fn is_internal_only(attribute: u8) -> bool {
    matches!(attribute, code::LOCAL_PREF | code::ORIGINATOR_ID | code::CLUSTER_LIST)
}

#[test]
fn good_attributes_are_good() {
    for (flags, code, value) in good_values() {
        let body = message_with(&[attribute(flags, code, &value)]);
        let from_outside = if is_internal_only(code) { Discard(Problem::FromExternal) } else { Good };
        check("good", &body, &EXTERNAL, code, from_outside);
        check("good", &body, &INTERNAL, code, Good);
    }
}

#[test]
fn wrong_flags_make_the_routes_withdrawn() {
    for (right, code, value) in good_values() {
        for wrong in [0x00, 0x40, 0x80, 0xc0].into_iter().filter(|flags| *flags != right) {
            let body = message_with(&[attribute(wrong, code, &value)]);
            let what = format!("attribute {code} with flags {wrong:#x}");
            check(&what, &body, &EXTERNAL, code, Withdraw(Problem::Flags));
            check(&what, &body, &INTERNAL, code, Withdraw(Problem::Flags));
        }
    }
}

#[test]
fn the_bits_that_rfc_7606_does_not_mention_are_tolerated() {
    for (flags, code, value) in good_values() {
        for extra in [0x20, 0x01, 0x0f] {
            check("bits", &message_with(&[attribute(flags | extra, code, &value)]), &INTERNAL, code, Good);
        }
        // An extended length where a short one would have done.
        let mut long = vec![flags | 0x10, code, 0, value.len() as u8];
        long.extend_from_slice(&value);
        check("extended length", &message_with(&[long]), &INTERNAL, code, Good);
    }
}

#[test]
fn every_wrong_length() {
    let valid = |code: u8, len: usize| match code {
        code::ORIGIN => len == 1,
        code::NEXT_HOP | code::MULTI_EXIT_DISC | code::LOCAL_PREF | code::ORIGINATOR_ID => len == 4,
        code::ATOMIC_AGGREGATE => len == 0,
        code::AGGREGATOR => len == 8,
        code::COMMUNITIES | code::CLUSTER_LIST => len > 0 && len.is_multiple_of(4),
        code::EXTENDED_COMMUNITIES => len > 0 && len.is_multiple_of(8),
        code::IPV6_EXTENDED_COMMUNITIES => len > 0 && len.is_multiple_of(20),
        code::LARGE_COMMUNITIES => len > 0 && len.is_multiple_of(12),
        _ => unreachable!("no such attribute in the table"),
    };
    for (flags, code, _) in good_values() {
        if code == code::AS_PATH {
            continue;
        }
        for len in (0..=41).filter(|len| !valid(code, *len)) {
            let body = message_with(&[attribute(flags, code, &vec![1; len])]);
            let what = format!("attribute {code} of {len} octets");
            let inside = match code {
                code::ATOMIC_AGGREGATE | code::AGGREGATOR => Discard(Problem::Length),
                _ => Withdraw(Problem::Length),
            };
            let outside = if is_internal_only(code) { Discard(Problem::FromExternal) } else { inside };
            check(&what, &body, &EXTERNAL, code, outside);
            check(&what, &body, &INTERNAL, code, inside);
        }
    }
}

#[test]
fn wrong_values() {
    let path = |value: &[u8]| attribute(0x40, code::AS_PATH, value);
    let hop = |octets: [u8; 4]| attribute(0x40, code::NEXT_HOP, &octets);
    let cases = [
        ("ORIGIN 3", attribute(0x40, code::ORIGIN, &[3]), Withdraw(Problem::Value)),
        ("ORIGIN 255", attribute(0x40, code::ORIGIN, &[255]), Withdraw(Problem::Value)),
        ("NEXT_HOP 0.0.0.0", hop([0, 0, 0, 0]), Withdraw(Problem::Value)),
        ("NEXT_HOP 0.1.2.3", hop([0, 1, 2, 3]), Withdraw(Problem::Value)),
        ("NEXT_HOP loopback", hop([127, 0, 0, 1]), Withdraw(Problem::Value)),
        ("NEXT_HOP multicast", hop([224, 0, 0, 5]), Withdraw(Problem::Value)),
        ("NEXT_HOP class E", hop([240, 0, 0, 1]), Withdraw(Problem::Value)),
        ("NEXT_HOP broadcast", hop([255; 4]), Withdraw(Problem::Value)),
        ("NEXT_HOP private", hop([10, 0, 0, 1]), Good),
        ("NEXT_HOP 223.255.255.1", hop([223, 255, 255, 1]), Good),
        ("AS_PATH empty", path(&[]), Good),
        ("AS_PATH segment type 0", path(&[0, 1, 0, 0, 0, 1]), Withdraw(Problem::Segments)),
        ("AS_PATH segment type 5", path(&[5, 1, 0, 0, 0, 1]), Withdraw(Problem::Segments)),
        ("AS_PATH segment of no AS", path(&[2, 0]), Withdraw(Problem::Segments)),
        ("AS_PATH segment of no AS behind one", path(&[2, 1, 0, 0, 0, 1, 1, 0]), Withdraw(Problem::Segments)),
        ("AS_PATH segment beyond the end", path(&[2, 2, 0, 0, 0, 1]), Withdraw(Problem::Segments)),
        ("AS_PATH with half a segment header", path(&[2, 1, 0, 0, 0, 1, 2]), Withdraw(Problem::Segments)),
        ("AS_PATH with AS 0", path(&sequence(&[65001, 0, 7])), Withdraw(Problem::AsZero)),
        ("AS_PATH with AS 0 in a set", path(&[1, 1, 0, 0, 0, 0]), Withdraw(Problem::AsZero)),
        (
            "AGGREGATOR with AS 0",
            attribute(0xc0, code::AGGREGATOR, &[0, 0, 0, 0, 1, 1, 1, 1]),
            Discard(Problem::AsZero),
        ),
        ("AS4_PATH", attribute(0xc0, code::AS4_PATH, &sequence(&[1])), Discard(Problem::FromNewSpeaker)),
        (
            "AS4_AGGREGATOR",
            attribute(0xc0, code::AS4_AGGREGATOR, &[0, 0, 0, 1, 1, 1, 1, 1]),
            Discard(Problem::FromNewSpeaker),
        ),
    ];
    for (what, attribute, expected) in cases {
        let body = message_with(std::slice::from_ref(&attribute));
        check(what, &body, &EXTERNAL, code_of(&attribute), expected);
        check(what, &body, &INTERNAL, code_of(&attribute), expected);
    }
}

#[test]
fn confederation_segments_come_from_inside_only() {
    for kind in [3, 4] {
        let value = [&[kind, 1, 0, 0, 0xfd, 0xe9][..], &sequence(&[7])].concat();
        let body = message_with(&[attribute(0x40, code::AS_PATH, &value)]);
        check("confederation", &body, &EXTERNAL, code::AS_PATH, Withdraw(Problem::Confederation));
        check("confederation", &body, &INTERNAL, code::AS_PATH, Good);
    }
}

#[test]
fn as4_attributes_of_old_speakers() {
    let path = |value: &[u8]| attribute(0xc0, code::AS4_PATH, value);
    let aggregator = |value: &[u8]| attribute(0xc0, code::AS4_AGGREGATOR, value);
    let cases = [
        ("empty", path(&[]), Discard(Problem::Length)),
        ("too short", path(&[2]), Discard(Problem::Segments)),
        ("segment type", path(&[9, 1, 0, 0, 0, 1]), Discard(Problem::Segments)),
        ("segment of no AS", path(&[2, 0, 2, 1, 0, 0, 0, 1]), Discard(Problem::Segments)),
        ("beyond the end", path(&[2, 3, 0, 0, 0, 1]), Discard(Problem::Segments)),
        ("AS 0", path(&sequence(&[0])), Discard(Problem::AsZero)),
        ("aggregator of 7 octets", aggregator(&[1; 7]), Discard(Problem::Length)),
        ("aggregator of 6 octets", aggregator(&[1; 6]), Discard(Problem::Length)),
        ("aggregator with AS 0", aggregator(&[0, 0, 0, 0, 1, 1, 1, 1]), Discard(Problem::AsZero)),
    ];
    for (what, given, expected) in cases {
        let attributes = [origin(), as_path2(&[65001]), next_hop(), given.clone()];
        let body = update(&[], &attributes, NET_10);
        check(what, &body, &OLD_SPEAKER, code_of(&given), expected);
    }
    let six = attribute(0xc0, code::AGGREGATOR, &[0xfd, 0xe9, 10, 0, 0, 1]);
    let body = update(&[], &[origin(), as_path2(&[65001]), next_hop(), six], NET_10);
    check("AGGREGATOR of 6 octets", &body, &OLD_SPEAKER, code::AGGREGATOR, Good);
    let eight = attribute(0xc0, code::AGGREGATOR, &[0, 0, 0xfd, 0xe9, 10, 0, 0, 1]);
    let body = update(&[], &[origin(), as_path2(&[65001]), next_hop(), eight], NET_10);
    check("AGGREGATOR of 8 octets", &body, &OLD_SPEAKER, code::AGGREGATOR, Discard(Problem::Length));
    let body = update(&[], &[origin(), as_path2(&[65001, 0]), next_hop()], NET_10);
    check("AS 0", &body, &OLD_SPEAKER, code::AS_PATH, Withdraw(Problem::AsZero));
}

#[test]
fn of_duplicates_the_first_counts() {
    for (flags, code, value) in good_values() {
        let first = attribute(flags, code, &value);
        // The second may be as wrong as it likes.
        let second = attribute(flags, code, &[0xee; 3]);
        check("twice", &message_with(&[first, second]), &INTERNAL, code, Discard(Problem::Duplicate));
    }
    let unknown = attribute(0xc0, 200, &[1, 2, 3]);
    let twice = message_with(&[unknown.clone(), unknown]);
    check("unknown twice", &twice, &EXTERNAL, 200, Discard(Problem::Duplicate));
}

#[test]
fn nlri_attributes_twice_end_the_session() {
    let reach = mp_reach(Family::Ipv6Unicast, NET_DB8);
    let unreach = mp_unreach(Family::Ipv6Unicast, NET_DB8);
    for twice in [reach, unreach] {
        let body = message_with(&[twice.clone(), twice.clone()]);
        let expected = Reset(subcode::MALFORMED_ATTRIBUTE_LIST);
        check("NLRI twice", &body, &EXTERNAL, code_of(&twice), expected);
    }
}

#[test]
fn a_missing_mandatory_attribute_makes_the_routes_withdrawn() {
    let all = [origin(), as_path(&[65001]), next_hop()];
    for missing in &all {
        let left: Vec<_> = all.iter().filter(|other| *other != missing).cloned().collect();
        let body = update(&[], &left, NET_10);
        for context in [EXTERNAL, INTERNAL] {
            check("missing", &body, &context, code_of(missing), Withdraw(Problem::Missing));
        }
    }
    // With MP_REACH_NLRI alone, NEXT_HOP is not mandatory.
    let reach = mp_reach(Family::Ipv6Unicast, NET_DB8);
    let body = update(&[], &[reach.clone(), origin(), as_path(&[65001])], &[]);
    check("no NEXT_HOP", &body, &EXTERNAL, code::NEXT_HOP, Good);
    let body = update(&[], &[reach.clone(), origin()], &[]);
    check("no AS_PATH", &body, &EXTERNAL, code::AS_PATH, Withdraw(Problem::Missing));
    let body = update(&[], &[reach, as_path(&[65001])], &[]);
    check("no ORIGIN", &body, &EXTERNAL, code::ORIGIN, Withdraw(Problem::Missing));
}

#[test]
fn attributes_that_do_not_fit_make_the_routes_withdrawn() {
    for (flags, code, value) in good_values() {
        let whole = attribute(flags, code, &value);
        // Within the value, and within the header.
        for cut in 2..whole.len() {
            let body = message_with(&[whole[..cut].to_vec()]);
            check("cut off", &body, &EXTERNAL, 0, Withdraw(Problem::Overrun));
            check("cut off", &body, &INTERNAL, 0, Withdraw(Problem::Overrun));
        }
    }
    for underrun in [vec![0x40], vec![0x40, 1], vec![0x50, 1, 0]] {
        let attributes = [origin(), as_path(&[65001]), next_hop(), underrun];
        check("underrun", &update(&[], &attributes, NET_10), &EXTERNAL, 0, Withdraw(Problem::Overrun));
    }
}

#[test]
fn unknown_attributes() {
    let body = |flags| message_with(&[attribute(flags, 222, &[1, 2, 3])]);
    for flags in [0x00, 0x40] {
        let error = decode_update(&body(flags), &EXTERNAL).unwrap_err();
        assert_eq!(error.subcode, subcode::UNRECOGNIZED_WELL_KNOWN);
        assert_eq!(error.data, [flags, 222, 3, 1, 2, 3]);
    }
    check("transitive", &body(0xc0), &EXTERNAL, 222, Good);
    check("transitive, partial", &body(0xe0), &EXTERNAL, 222, Good);
    let non_transitive = body(0x80);
    let view = decode_update(&non_transitive, &EXTERNAL).unwrap();
    let mut block = Vec::new();
    canonicalize(&view, &mut block);
    assert_eq!((view.treatment(), PathAttributes::new(&block).get(222)), (Treatment::None, None));
    let transitive = body(0xc0);
    canonicalize(&decode_update(&transitive, &EXTERNAL).unwrap(), &mut block);
    let kept = PathAttributes::new(&block).get(222).unwrap();
    assert_eq!((kept.flags, kept.value), (0xe0, &[1, 2, 3][..]), "kept, and marked partial");
}

#[test]
fn the_strongest_treatment_counts() {
    let discard = attribute(0x40, code::LOCAL_PREF, &[0, 0, 0, 1]);
    let withdraw = attribute(0x80, code::MULTI_EXIT_DISC, &[1]);
    let body = message_with(&[withdraw, discard]);
    let view = decode_update(&body, &EXTERNAL).unwrap();
    assert_eq!(view.treatment(), Treatment::TreatAsWithdraw);
    assert_eq!(view.findings().len(), 2);
    assert_eq!(
        view.findings()[0].to_string(),
        "MULTI_EXIT_DISC has a wrong length (RFC 7606 §7.4): routes treated as withdrawn"
    );
    assert_eq!(
        view.findings()[1].to_string(),
        "LOCAL_PREF came from an external peer (RFC 7606 §7.5): discarded"
    );
}

#[test]
fn findings_are_listed_up_to_a_limit() {
    let many = vec![attribute(0xc0, 99, &[]); 1000];
    let body = message_with(&many);
    let view = decode_update(&body, &EXTERNAL).unwrap();
    assert_eq!(view.findings().len(), super::super::update::FINDINGS_MAX);
    assert_eq!(view.treatment(), Treatment::Discard);
}
