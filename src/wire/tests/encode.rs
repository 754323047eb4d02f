//! Encoding UPDATEs: what is written is what a peer reads, packed as full as a message gets.

use std::net::{IpAddr, Ipv4Addr};

use super::super::attrs::{PathAttributes, code};
use super::super::encode::{
    AttributeSection, EncodeContext, TooLong, encode_announce, encode_end_of_rib, encode_withdraw,
};
use super::super::frame::{EXTENDED_MESSAGE_LEN_MAX, Frame, next_frame};
use super::super::nlri::PathPrefix;
use super::super::{canonicalize, decode_update};
use super::*;
use crate::types::{NextHop, Prefix, Prefix4, Prefix6};

const V4: NextHop = NextHop::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));

fn v6() -> NextHop {
    NextHop { addr: "2001:db8::1".parse().unwrap(), link_local: Some("fe80::1".parse().unwrap()) }
}

fn block() -> Vec<u8> {
    [origin(), as_path(&[65001, 400_000]), attribute(0xc0, code::COMMUNITIES, &[1; 4])].concat()
}

fn section(context: &EncodeContext, family: Family, block: &[u8], next_hop: NextHop) -> AttributeSection {
    let mut section = AttributeSection::new();
    section.fill(context, family, block, next_hop);
    section
}

fn one_frame(out: &[u8]) -> Frame<'_> {
    let frame = next_frame(out, EXTENDED_MESSAGE_LEN_MAX).unwrap().unwrap();
    assert_eq!(frame.len, out.len());
    frame
}

fn prefixes4(count: u32) -> Vec<Prefix4> {
    (0..count).map(|i| Prefix4::new(0x0a00_0000 + (i << 8), 24)).collect()
}

#[test]
fn ipv4_has_next_hop_in_its_place() {
    let context = EncodeContext::default();
    let mut out = Vec::new();
    let section = section(&context, Family::Ipv4Unicast, &block(), V4);
    assert_eq!(encode_announce(&context, &section, &prefixes4(2), &mut out), Ok(2));
    let expected = [
        &[0, 0, 0, 4 + 13 + 7 + 7][..],
        &origin(),
        &as_path(&[65001, 400_000]),
        &next_hop(),
        &attribute(0xc0, code::COMMUNITIES, &[1; 4]),
        &[24, 10, 0, 0, 24, 10, 0, 1],
    ]
    .concat();
    assert_eq!(one_frame(&out).body, expected);
}

#[test]
fn mp_reach_comes_first() {
    let context = EncodeContext::default();
    for (family, extended) in [(Family::Ipv6Unicast, false), (Family::Ipv4Unicast, true)] {
        let section = section(&context, family, &block(), v6());
        let mut out = Vec::new();
        match family {
            Family::Ipv4Unicast => encode_announce(&context, &section, &prefixes4(3), &mut out),
            Family::Ipv6Unicast => {
                encode_announce(&context, &section, &[Prefix6::new(0x2001 << 112, 16)], &mut out)
            }
        }
        .unwrap();
        let body = one_frame(&out).body;
        assert_eq!(body[5], code::MP_REACH_NLRI);
        let context = DecodeContext { extended_next_hop: extended, ..EXTERNAL };
        let view = decode_update(body, &context).unwrap();
        assert_eq!(view.findings(), []);
        let reach = view.announcements().next().unwrap();
        assert_eq!((reach.next_hop, reach.nlri.family()), (v6(), family));
        let mut read = Vec::new();
        canonicalize(&view, &mut read);
        assert_eq!(read, block());
    }
}

#[test]
fn an_ipv4_next_hop_for_ipv6_is_mapped() {
    let context = EncodeContext::default();
    let section = section(&context, Family::Ipv6Unicast, &block(), V4);
    let mut out = Vec::new();
    encode_announce(&context, &section, &[Prefix6::new(0, 0)], &mut out).unwrap();
    let view = decode_update(one_frame(&out).body, &EXTERNAL).unwrap();
    let reach = view.announcements().next().unwrap();
    assert_eq!(reach.next_hop.addr, "::ffff:192.0.2.1".parse::<IpAddr>().unwrap());
}

#[test]
fn messages_are_packed_full_and_no_fuller() {
    for message_len_max in [4096, 65535] {
        let context = EncodeContext { message_len_max, ..EncodeContext::default() };
        let prefixes = prefixes4(20_000);
        let section = section(&context, Family::Ipv4Unicast, &block(), V4);
        let mut out = Vec::new();
        let count = encode_announce(&context, &section, &prefixes, &mut out).unwrap();
        assert!(out.len() <= message_len_max && out.len() + 4 > message_len_max, "{}", out.len());
        assert_eq!(count, (message_len_max - 23 - 31) / 4);
        let mut out = Vec::new();
        let count = encode_withdraw(&context, &prefixes, &mut out);
        assert!(out.len() <= message_len_max && out.len() + 4 > message_len_max);
        assert_eq!(count, (message_len_max - 23) / 4);
        let view_of = decode_update(one_frame(&out).body, &EXTERNAL).unwrap();
        let mut read = Vec::new();
        view_of.withdrawals().for_each(|nlri| nlri.decode4(&mut read));
        assert_eq!(read, prefixes[..count]);
    }
}

#[test]
fn a_longer_prefix_that_does_not_fit_waits_for_the_next_message() {
    let context = EncodeContext { message_len_max: 23 + 31 + 6, ..EncodeContext::default() };
    let section = section(&context, Family::Ipv4Unicast, &block(), V4);
    let prefixes = [Prefix4::new(0x0a00_0000, 8), Prefix4::new(1, 32), Prefix4::new(0, 0)];
    let mut out = Vec::new();
    assert_eq!(encode_announce(&context, &section, &prefixes, &mut out), Ok(1));
    out.clear();
    assert_eq!(encode_announce(&context, &section, &prefixes[1..], &mut out), Ok(2));
    out.clear();
    assert_eq!(encode_announce::<Prefix4>(&context, &section, &[], &mut out), Ok(0));
    assert!(out.is_empty());
}

#[test]
fn attributes_that_leave_no_room_are_told() {
    let context = EncodeContext::default();
    // 23 octets of UPDATE, 7 of NEXT_HOP, 4 of the header, 5 of the longest prefix.
    let fits = 4096 - 23 - 7 - 4 - 5;
    for (family, room) in [(Family::Ipv4Unicast, fits), (Family::Ipv6Unicast, 4096 - 23 - 4 - 4 - 37 - 17)] {
        for (len, expected) in [(room, Ok(1)), (room + 1, Err(TooLong))] {
            let block = attribute(0xe0, 99, &vec![1; len]);
            let mut out = vec![1];
            let result = match family {
                Family::Ipv4Unicast => {
                    let section = section(&context, family, &block, V4);
                    encode_announce(&context, &section, &[Prefix4::new(7, 32)], &mut out)
                }
                Family::Ipv6Unicast => {
                    let section = section(&context, family, &block, v6());
                    encode_announce(&context, &section, &[Prefix6::new(7, 128)], &mut out)
                }
            };
            assert_eq!(result, expected, "{family}");
            assert_eq!(out.len(), if result.is_ok() { 4097 } else { 1 });
        }
    }
}

#[test]
fn ipv6_withdrawals_use_mp_unreach() {
    let context = EncodeContext::default();
    let prefixes: Vec<Prefix6> = (0..2000).map(|i| Prefix6::new(i << 64, 64)).collect();
    let mut out = Vec::new();
    let count = encode_withdraw(&context, &prefixes, &mut out);
    assert_eq!(count, (4096 - 23 - 7) / 9);
    let view = decode_update(one_frame(&out).body, &EXTERNAL).unwrap();
    let mut read = Vec::new();
    view.withdrawals().for_each(|nlri| nlri.decode6(&mut read));
    assert_eq!((read.as_slice(), view.end_of_rib()), (&prefixes[..count], None));
    assert_eq!(encode_withdraw::<Prefix6>(&context, &[], &mut out), 0);
}

#[test]
fn end_of_rib_is_read_as_such() {
    for family in Family::ALL {
        let mut out = Vec::new();
        encode_end_of_rib(family, &mut out);
        assert_eq!(decode_update(one_frame(&out).body, &EXTERNAL).unwrap().end_of_rib(), Some(family));
    }
    let mut out = Vec::new();
    encode_end_of_rib(Family::Ipv4Unicast, &mut out);
    assert_eq!(out.len(), 23, "the form that RFC 4724 §2 wants for IPv4");
}

#[test]
fn toward_old_speakers() {
    let context = EncodeContext { four_octet_as: false, ..EncodeContext::default() };
    let attributes = |block: &[u8]| {
        let section = section(&context, Family::Ipv4Unicast, block, V4);
        let mut out = Vec::new();
        encode_announce(&context, &section, &prefixes4(1), &mut out).unwrap();
        let body = one_frame(&out).body;
        let view = decode_update(body, &OLD_SPEAKER).unwrap();
        assert_eq!(view.findings(), []);
        let mut read = Vec::new();
        canonicalize(&view, &mut read);
        assert_eq!(read, block, "nothing is lost on the way");
        view.attributes().to_vec()
    };
    let small = [origin(), as_path(&[1, 65535])].concat();
    assert_eq!(attributes(&small), [origin(), as_path2(&[1, 65535]), next_hop()].concat());

    let aggregator = attribute(0xc0, code::AGGREGATOR, &[0, 6, 0x1a, 0x80, 10, 0, 0, 1]);
    let large = [
        origin(),
        as_path(&[400_000, 7]),
        aggregator,
        attribute(0xc0, code::COMMUNITIES, &[1; 4]),
        attribute(0xe0, 99, &[1]),
    ];
    let expected = [
        origin(),
        as_path2(&[23456, 7]),
        next_hop(),
        attribute(0xc0, code::AGGREGATOR, &[0x5b, 0xa0, 10, 0, 0, 1]),
        attribute(0xc0, code::COMMUNITIES, &[1; 4]),
        attribute(0xc0, code::AS4_PATH, &sequence(&[400_000, 7])),
        attribute(0xc0, code::AS4_AGGREGATOR, &[0, 6, 0x1a, 0x80, 10, 0, 0, 1]),
        attribute(0xe0, 99, &[1]),
    ];
    assert_eq!(attributes(&large.concat()), expected.concat());
    // With nothing behind them, the AS4 attributes come last.
    let bare = attributes(&[origin(), as_path(&[400_000])].concat());
    assert!(bare.ends_with(&attribute(0xc0, code::AS4_PATH, &sequence(&[400_000]))));
    // Confederation segments stay out of AS4_PATH (RFC 6793 §4.2.2).
    let confed = attribute(0x40, code::AS_PATH, &[&[3, 1, 0, 6, 0x1a, 0x80][..], &sequence(&[7])].concat());
    let section = section(&context, Family::Ipv4Unicast, &confed, V4);
    let mut out = Vec::new();
    encode_announce(&context, &section, &prefixes4(1), &mut out).unwrap();
    let sent = PathAttributes::new(&out[23..]);
    assert!(sent.iter().all(|attribute| attribute.code != code::AS4_PATH));
}

#[test]
fn path_identifiers_go_out_and_come_in() {
    let context = EncodeContext::default();
    let paths: Vec<PathPrefix<Prefix4>> = prefixes4(1000)
        .into_iter()
        .zip(7..)
        .map(|(prefix, path_id)| PathPrefix { path_id, prefix })
        .collect();
    let section = section(&context, Family::Ipv4Unicast, &block(), V4);
    let mut out = Vec::new();
    let count = encode_announce(&context, &section, &paths, &mut out).unwrap();
    assert_eq!(count, (4096 - 23 - 31) / 8);
    let with_ids = DecodeContext { add_path: FamilySet::ALL, ..EXTERNAL };
    let view = decode_update(one_frame(&out).body, &with_ids).unwrap();
    let read: Vec<_> = view.announcements().flat_map(|reach| reach.nlri).collect();
    let sent = paths[..count]
        .iter()
        .map(|path| PathPrefix { path_id: path.path_id, prefix: Prefix::V4(path.prefix) });
    assert_eq!(read, sent.collect::<Vec<_>>());
}

#[test]
fn messages_are_appended_behind_each_other() {
    let context = EncodeContext::default();
    let prefixes = prefixes4(5000);
    let section = section(&context, Family::Ipv4Unicast, &block(), V4);
    let mut out = Vec::new();
    let mut left = &prefixes[..];
    while !left.is_empty() {
        let count = encode_announce(&context, &section, left, &mut out).unwrap();
        left = &left[count..];
    }
    let (mut at, mut read) = (0, Vec::new());
    while let Some(frame) = next_frame(&out[at..], 4096).unwrap() {
        let view = decode_update(frame.body, &EXTERNAL).unwrap();
        view.announcements().for_each(|reach| reach.nlri.decode4(&mut read));
        at += frame.len;
    }
    assert_eq!((at, read), (out.len(), prefixes));
}
