//! UPDATE as a whole: its fields, its NLRI, next hops, End-of-RIB, and where the session has to end.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::super::attrs::code;
use super::super::decode_update;
use super::super::finding::{Problem, Treatment};
use super::super::notification::{Notification, update as subcode};
use super::*;
use crate::types::{NextHop, Prefix, Prefix4};

fn good() -> Vec<Vec<u8>> {
    vec![origin(), as_path(&[65001]), next_hop()]
}

fn mandatory() -> Vec<Vec<u8>> {
    vec![origin(), as_path(&[65001])]
}

fn with(mut attributes: Vec<Vec<u8>>, more: Vec<u8>) -> Vec<Vec<u8>> {
    attributes.push(more);
    attributes
}

fn prefixes(text: &[&str]) -> Vec<Prefix> {
    text.iter().map(|text| text.parse().unwrap()).collect()
}

fn announced(body: &[u8], context: &DecodeContext) -> Vec<(NextHop, Vec<Prefix>)> {
    let view = decode_update(body, context).unwrap();
    view.announcements()
        .map(|reach| (reach.next_hop, reach.nlri.iter().map(|nlri| nlri.prefix).collect()))
        .collect()
}

fn withdrawn(body: &[u8], context: &DecodeContext) -> Vec<Prefix> {
    let view = decode_update(body, context).unwrap();
    view.withdrawals().flatten().map(|nlri| nlri.prefix).collect()
}

fn reset(body: &[u8], context: &DecodeContext) -> Notification {
    let error = decode_update(body, context).unwrap_err();
    assert_eq!(error.code, 3);
    error
}

#[test]
fn every_field_is_handed_out() {
    let attributes = with(
        with(good(), mp_reach(Family::Ipv6Unicast, NET_DB8)),
        mp_unreach(Family::Ipv6Unicast, &[16, 0x20, 2]),
    );
    let body = update(&[24, 192, 0, 2, 0], &attributes, &[8, 10, 0]);
    let v4 = NextHop::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
    let v6 = NextHop::new("2001:db8::1".parse().unwrap());
    assert_eq!(
        announced(&body, &EXTERNAL),
        [(v4, prefixes(&["10.0.0.0/8", "0.0.0.0/0"])), (v6, prefixes(&["2001:db8::/32"]))]
    );
    assert_eq!(withdrawn(&body, &EXTERNAL), prefixes(&["192.0.2.0/24", "0.0.0.0/0", "2002::/16"]));
}

#[test]
fn bits_beyond_the_length_are_not_part_of_the_prefix() {
    let body = update(&[], &good(), &[4, 0xff, 20, 10, 1, 0xff, 8, 10, 30, 1, 2, 3, 0xff]);
    assert_eq!(
        announced(&body, &EXTERNAL)[0].1,
        prefixes(&["240.0.0.0/4", "10.1.240.0/20", "10.0.0.0/8", "1.2.3.252/30"])
    );
    let mut batch = Vec::new();
    for reach in decode_update(&body, &EXTERNAL).unwrap().announcements() {
        reach.nlri.decode4(&mut batch);
        reach.nlri.decode6(&mut Vec::new());
    }
    assert_eq!(batch[1], Prefix4::new(0x0a01_f000, 20));
    assert_eq!(batch.len(), 4);
}

#[test]
fn lengths_of_the_fields_that_do_not_fit_end_the_session() {
    for body in [
        &[][..],
        &[0],
        &[0, 0],
        &[0, 0, 0],
        &[0, 1, 0, 0],
        &[0, 2, 8, 10],
        &[0, 0, 0, 1],
        &[0, 0, 0, 5, 0x40, 1, 1, 0],
        &[0xff, 0xff, 0, 0],
    ] {
        assert_eq!(reset(body, &EXTERNAL).subcode, subcode::MALFORMED_ATTRIBUTE_LIST, "{body:?}");
    }
}

#[test]
fn nlri_that_cannot_be_told_end_the_session() {
    let bad4: [&[u8]; 5] = [&[33, 10, 0, 0, 0, 0], &[255], &[8], &[24, 10, 0], &[8, 10, 32, 1, 2, 3]];
    for field in bad4 {
        let body = update(&[], &good(), field);
        assert_eq!(reset(&body, &EXTERNAL).subcode, subcode::INVALID_NETWORK, "announced {field:?}");
        let body = update(field, &[], &[]);
        assert_eq!(reset(&body, &EXTERNAL).subcode, subcode::INVALID_NETWORK, "withdrawn {field:?}");
    }
    let bad6: [&[u8]; 4] = [&[129; 18], &[64, 1, 2], &[255], &[32, 1, 2, 3, 4, 1]];
    for field in bad6 {
        let reach = mp_reach(Family::Ipv6Unicast, field);
        let error = reset(&update(&[], &with(mandatory(), reach.clone()), &[]), &EXTERNAL);
        assert_eq!((error.subcode, error.data), (subcode::OPTIONAL_ATTRIBUTE, reach), "{field:?}");
        let unreach = mp_unreach(Family::Ipv6Unicast, field);
        let error = reset(&update(&[], &[unreach], &[]), &EXTERNAL);
        assert_eq!(error.subcode, subcode::OPTIONAL_ATTRIBUTE, "{field:?}");
    }
}

#[test]
fn mp_attributes_too_short_to_find_the_nlri_end_the_session() {
    for len in 0..5 {
        let short = attribute(0x80, code::MP_REACH_NLRI, &[0, 2, 1, 0, 0][..len]);
        let body = update(&[], &with(mandatory(), short), &[]);
        assert_eq!(reset(&body, &EXTERNAL).subcode, subcode::OPTIONAL_ATTRIBUTE);
    }
    for len in 0..3 {
        let short = attribute(0x80, code::MP_UNREACH_NLRI, &[0, 2, 1][..len]);
        assert_eq!(reset(&update(&[], &[short], &[]), &EXTERNAL).subcode, subcode::OPTIONAL_ATTRIBUTE);
    }
    // A next hop beyond the attribute, or just short of the reserved octet.
    for value in [&[0, 2, 1, 200, 1, 2, 3][..], &[0, 2, 1, 3, 1, 2, 3]] {
        let body = update(&[], &with(mandatory(), attribute(0x80, code::MP_REACH_NLRI, value)), &[]);
        assert_eq!(reset(&body, &EXTERNAL).subcode, subcode::OPTIONAL_ATTRIBUTE);
    }
}

#[test]
fn next_hop_lengths_of_rfc_7606_7_11() {
    let extended = DecodeContext { extended_next_hop: true, ..EXTERNAL };
    // A next hop that is valid in any length but those of the wrong family.
    let hop = |len: usize| [&[0x20, 1, 0xd, 0xb8][..], &[1; 60]].concat()[..len].to_vec();
    for len in 0..=48 {
        let v6 = update(&[], &with(mandatory(), mp_reach_via(Family::Ipv6Unicast, &hop(len), NET_DB8)), &[]);
        let v4 = update(&[], &with(mandatory(), mp_reach_via(Family::Ipv4Unicast, &hop(len), NET_10)), &[]);
        assert_eq!(decode_update(&v6, &EXTERNAL).is_ok(), matches!(len, 16 | 32), "IPv6, {len}");
        assert_eq!(decode_update(&v4, &EXTERNAL).is_ok(), len == 4, "IPv4, {len}");
        assert_eq!(decode_update(&v4, &extended).is_ok(), matches!(len, 4 | 16 | 32), "RFC 8950, {len}");
    }
}

#[test]
fn link_local_next_hops_of_rfc_2545() {
    let global: Ipv6Addr = "2001:db8::1".parse().unwrap();
    let local: Ipv6Addr = "fe80::1".parse().unwrap();
    let cases = [
        ("both", vec![global, local], NextHop { addr: IpAddr::V6(global), link_local: Some(local) }),
        ("global only", vec![global], NextHop::new(IpAddr::V6(global))),
        ("link-local only", vec![local], NextHop::new(IpAddr::V6(local))),
        (":: and link-local", vec![Ipv6Addr::UNSPECIFIED, local], NextHop::new(IpAddr::V6(local))),
        ("link-local twice", vec![local, local], NextHop::new(IpAddr::V6(local))),
        ("two global ones", vec![global, global], NextHop::new(IpAddr::V6(global))),
    ];
    for (what, addresses, expected) in cases {
        let octets: Vec<u8> = addresses.iter().flat_map(|addr| addr.octets()).collect();
        let reach = mp_reach_via(Family::Ipv6Unicast, &octets, NET_DB8);
        let body = update(&[], &with(mandatory(), reach), &[]);
        assert_eq!(announced(&body, &EXTERNAL)[0].0, expected, "{what}");
    }
}

#[test]
fn an_ipv6_next_hop_that_is_no_host_makes_the_routes_withdrawn() {
    for addr in ["::", "::1", "ff02::1"] {
        let octets = addr.parse::<Ipv6Addr>().unwrap().octets();
        let reach = mp_reach_via(Family::Ipv6Unicast, &octets, NET_DB8);
        let body = update(&[], &with(mandatory(), reach), &[]);
        assert_eq!(withdrawn(&body, &EXTERNAL), prefixes(&["2001:db8::/32"]), "{addr}");
    }
    let reach = mp_reach_via(Family::Ipv4Unicast, &[127, 0, 0, 1], NET_10);
    let body = update(&[], &with(mandatory(), reach), &[]);
    assert_eq!(withdrawn(&body, &EXTERNAL), prefixes(&["10.0.0.0/8"]));
}

#[test]
fn wrong_flags_on_nlri_attributes_do_not_lose_the_nlri() {
    let mut reach = mp_reach(Family::Ipv6Unicast, NET_DB8);
    reach[0] = 0xc0;
    let body = update(&[], &with(mandatory(), reach), &[]);
    assert_eq!(withdrawn(&body, &EXTERNAL), prefixes(&["2001:db8::/32"]));
    let mut unreach = mp_unreach(Family::Ipv6Unicast, NET_DB8);
    unreach[0] = 0x40;
    let body = update(&[], &[unreach], &[]);
    assert_eq!(withdrawn(&body, &EXTERNAL), prefixes(&["2001:db8::/32"]));
}

#[test]
fn next_hop_beside_mp_reach_alone_is_ignored() {
    let strange = attribute(0x40, code::NEXT_HOP, &[0, 0, 0, 0]);
    let attributes = [mp_reach(Family::Ipv6Unicast, NET_DB8), origin(), as_path(&[65001]), strange];
    let body = update(&[], &attributes, &[]);
    assert_eq!(announced(&body, &EXTERNAL).len(), 1);
}

#[test]
fn errors_without_reachable_nlri_end_the_session() {
    // RFC 7606 §5.2: what should be withdrawn may be lost in the error.
    let med = attribute(0x80, code::MULTI_EXIT_DISC, &[1]);
    let cases = [
        (with(mandatory(), med.clone()), subcode::ATTRIBUTE_LENGTH, med.clone()),
        (vec![attribute(0x40, code::ORIGIN, &[9])], subcode::INVALID_ORIGIN, vec![0x40, 1, 1, 9]),
        (vec![attribute(0x80, code::ORIGIN, &[0])], subcode::ATTRIBUTE_FLAGS, vec![0x80, 1, 1, 0]),
        (vec![attribute(0x40, code::AS_PATH, &[9])], subcode::MALFORMED_AS_PATH, vec![]),
        (vec![vec![0x40, 1]], subcode::MALFORMED_ATTRIBUTE_LIST, vec![]),
    ];
    for (attributes, subcode, data) in cases {
        let error = reset(&update(&[], &attributes, &[]), &EXTERNAL);
        assert_eq!((error.subcode, error.data), (subcode, data));
        let error = reset(&update(NET_10, &attributes, &[]), &EXTERNAL);
        assert_eq!(error.subcode, subcode, "withdrawn routes are not reachable ones");
    }
    let empty_reach = mp_reach(Family::Ipv6Unicast, &[]);
    assert_eq!(
        reset(&update(&[], &[empty_reach, med.clone()], &[]), &EXTERNAL).subcode,
        subcode::ATTRIBUTE_LENGTH
    );
    // "Attribute discard" is not enough to end it.
    let discard = attribute(0x40, code::ATOMIC_AGGREGATE, &[1]);
    let view = update(NET_10, &[discard], &[]);
    assert_eq!(decode_update(&view, &EXTERNAL).unwrap().treatment(), Treatment::Discard);
}

#[test]
fn attributes_without_nlri_need_not_be_complete() {
    let body = update(NET_10, &[origin()], &[]);
    assert_eq!(decode_update(&body, &EXTERNAL).unwrap().treatment(), Treatment::None);
    assert_eq!(withdrawn(&body, &EXTERNAL), prefixes(&["10.0.0.0/8"]));
}

#[test]
fn end_of_rib_in_both_forms() {
    let end_of_rib =
        |body: &[u8], context: &DecodeContext| decode_update(body, context).unwrap().end_of_rib();
    assert_eq!(end_of_rib(&[0, 0, 0, 0], &EXTERNAL), Some(Family::Ipv4Unicast));
    for family in Family::ALL {
        let body = update(&[], &[mp_unreach(family, &[])], &[]);
        assert_eq!(end_of_rib(&body, &EXTERNAL), Some(family));
    }
    let not: [Vec<u8>; 6] = [
        update(NET_10, &[], &[]),
        update(&[], &good(), NET_10),
        update(&[], &[mp_unreach(Family::Ipv6Unicast, NET_DB8)], &[]),
        update(NET_10, &[mp_unreach(Family::Ipv6Unicast, &[])], &[]),
        update(&[], &[origin(), mp_unreach(Family::Ipv6Unicast, &[])], &[]),
        update(&[], &[attribute(0x80, code::MP_UNREACH_NLRI, &[0, 25, 70])], &[]),
    ];
    for body in not {
        assert_eq!(end_of_rib(&body, &EXTERNAL), None, "{body:?}");
    }
    let ipv6 = DecodeContext { families: FamilySet::only(Family::Ipv6Unicast), ..EXTERNAL };
    assert_eq!(end_of_rib(&[0, 0, 0, 0], &ipv6), None, "not negotiated");
}

#[test]
fn families_that_were_not_negotiated_are_ignored() {
    let ipv4 = DecodeContext { families: FamilySet::only(Family::Ipv4Unicast), ..EXTERNAL };
    let ipv6 = DecodeContext { families: FamilySet::only(Family::Ipv6Unicast), ..EXTERNAL };
    let both =
        with(with(good(), mp_reach(Family::Ipv6Unicast, NET_DB8)), mp_unreach(Family::Ipv6Unicast, NET_DB8));
    let body = update(NET_10, &both, NET_10);
    let view = decode_update(&body, &ipv4).unwrap();
    assert_eq!((view.announcements().count(), view.withdrawals().count()), (1, 1));
    assert!(view.findings().iter().all(|finding| finding.problem == Problem::Family));
    let view = decode_update(&body, &ipv6).unwrap();
    assert_eq!((view.announcements().count(), view.withdrawals().count()), (1, 1));
    assert!(view.announcements().all(|reach| reach.nlri.family() == Family::Ipv6Unicast));
    assert_eq!(
        view.findings()[0].to_string(),
        "UPDATE carries a family that was not negotiated (RFC 4760 §8): discarded"
    );
    // Flow specification, with content that is no prefix, and a next hop of no octets.
    let flowspec = attribute(0x80, code::MP_REACH_NLRI, &[0, 1, 133, 0, 0, 200, 1, 2, 3]);
    let body = update(&[], &with(mandatory(), flowspec.clone()), &[]);
    let view = decode_update(&body, &EXTERNAL).unwrap();
    assert_eq!((view.treatment(), view.announcements().count()), (Treatment::Discard, 0));
    // It is reachable NLRI nevertheless: no reason to reset for an error beside it (RFC 7606 §5.2).
    let med = attribute(0x80, code::MULTI_EXIT_DISC, &[1]);
    assert!(decode_update(&update(&[], &[flowspec, med], &[]), &EXTERNAL).is_ok());
}

#[test]
fn add_path_identifiers() {
    let context = DecodeContext { add_path: FamilySet::ALL, ..EXTERNAL };
    let field = [&[0, 0, 0, 7][..], NET_10, &[0, 0, 0, 8], NET_10].concat();
    let body = update(&field, &good(), &field);
    let view = decode_update(&body, &context).unwrap();
    let reach = view.announcements().next().unwrap();
    assert!(reach.nlri.has_path_ids());
    let ids: Vec<u32> = reach.nlri.iter().map(|nlri| nlri.path_id).collect();
    assert_eq!(ids, [7, 8]);
    let mut batch = Vec::new();
    reach.nlri.decode4(&mut batch);
    assert_eq!(batch, [Prefix4::new(0x0a00_0000, 8); 2]);
    // Without the identifier the same session cannot read them, and says so.
    for field in [&[0, 0, 0, 7][..], &[0, 0, 0], &[0, 0, 0, 7, 33, 1, 1, 1, 1, 1]] {
        let body = update(&[], &good(), field);
        assert_eq!(reset(&body, &context).subcode, subcode::INVALID_NETWORK);
    }
}

#[test]
fn a_path_that_would_outgrow_its_length_field_makes_the_routes_withdrawn() {
    // 127 segments of 255 two-octet AS numbers: 65,024 octets, and twice that in the four-octet form.
    let mut value = Vec::new();
    for _ in 0..127 {
        value.extend_from_slice(&[2, 255]);
        value.extend_from_slice(&[0xfd; 510]);
    }
    let long = attribute(0x40, code::AS_PATH, &value);
    let body = update(&[], &[origin(), long, next_hop()], NET_10);
    assert_eq!(decode_update(&body, &OLD_SPEAKER).unwrap().treatment(), Treatment::TreatAsWithdraw);
}
