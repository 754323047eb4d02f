//! What holds for every input: what is encoded is decoded to the same, and no bytes do harm.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::attrs::{LargeCommunity, PathAttributes, code};
use super::super::encode::{AttributeSection, EncodeContext, encode_announce, encode_withdraw};
use super::super::frame::next_frame;
use super::super::nlri::{EncodeNlri, Nlri, PathPrefix, decode_prefixes4, decode_prefixes6};
use super::super::{AttributeEditor, Notification, Open, RouteRefresh, canonicalize, decode_update};
use super::*;
use crate::types::{NextHop, Prefix, Prefix4, Prefix6};

fn prefix4() -> impl Strategy<Value = Prefix4> {
    (any::<u32>(), 0..=32u8).prop_map(|(addr, len)| Prefix4::new(addr, len))
}

fn prefix6() -> impl Strategy<Value = Prefix6> {
    (any::<u128>(), 0..=128u8).prop_map(|(addr, len)| Prefix6::new(addr, len))
}

fn asn() -> impl Strategy<Value = u32> {
    prop_oneof![1..70_000u32, 1..=u32::MAX]
}

/// Segments of sequences and sets.
fn path() -> impl Strategy<Value = Vec<u8>> {
    vec((1..=2u8, vec(asn(), 1..6)), 0..4).prop_map(|segments| {
        let mut value = Vec::new();
        for (kind, asns) in segments {
            value.extend_from_slice(&[kind, asns.len() as u8]);
            asns.iter().for_each(|asn| value.extend_from_slice(&asn.to_be_bytes()));
        }
        value
    })
}

fn block() -> impl Strategy<Value = Vec<u8>> {
    let aggregator = (asn(), any::<u32>());
    let lists = (vec(any::<u32>(), 0..80), vec(any::<[u32; 3]>(), 0..4));
    let unknown = vec((40..=254u8, vec(any::<u8>(), 0..300)), 0..3);
    (0..3u8, path(), any::<Option<u32>>(), proptest::option::of(aggregator), lists, unknown).prop_map(
        |(origin, path, med, aggregator, (communities, large), unknown)| {
            let mut block = Vec::new();
            let mut editor = AttributeEditor::on(&mut block);
            editor.set(0x40, code::ORIGIN, &[origin]).set(0x40, code::AS_PATH, &path);
            if let Some(med) = med {
                editor.set_med(med);
            }
            if let Some((asn, id)) = aggregator {
                let value = [asn.to_be_bytes(), id.to_be_bytes()].concat();
                editor.set(0xc0, code::AGGREGATOR, &value);
            }
            editor.add_communities(&communities);
            for [global, local1, local2] in large {
                editor.add_large_communities(&[LargeCommunity { global, local1, local2 }]);
            }
            for (code, value) in unknown {
                editor.set(0xe0, code, &value);
            }
            block
        },
    )
}

fn wire<N: EncodeNlri>(prefixes: &[N]) -> Vec<u8> {
    let mut out = Vec::new();
    for prefix in prefixes {
        let mut buf = [0xee; 21];
        let len = prefix.put(&mut buf);
        out.extend_from_slice(&buf[..len]);
    }
    out
}

proptest! {
    #[test]
    fn prefixes_survive_the_wire(v4 in vec(prefix4(), 0..50), v6 in vec(prefix6(), 0..50)) {
        let (mut read4, mut read6) = (Vec::new(), Vec::new());
        prop_assert!(decode_prefixes4(&wire(&v4), &mut read4).is_ok());
        prop_assert!(decode_prefixes6(&wire(&v6), &mut read6).is_ok());
        prop_assert_eq!(&read4, &v4);
        prop_assert_eq!(&read6, &v6);
    }

    #[test]
    fn path_identifiers_survive_the_wire(ids in vec((any::<u32>(), prefix6()), 0..50)) {
        let paths: Vec<_> =
            ids.iter().map(|(path_id, prefix)| PathPrefix { path_id: *path_id, prefix: *prefix }).collect();
        let bytes = wire(&paths);
        let nlri = Nlri::new(Family::Ipv6Unicast, true, &bytes).unwrap();
        let read: Vec<_> = nlri.iter().map(|path| (path.path_id, path.prefix)).collect();
        let sent: Vec<_> = ids.into_iter().map(|(id, prefix)| (id, Prefix::V6(prefix))).collect();
        prop_assert_eq!(read, sent);
    }

    #[test]
    fn batch_and_iterator_agree_on_any_bytes(bytes in vec(prop_oneof![0..40u8, any::<u8>()], 0..60)) {
        let (mut read4, mut read6) = (Vec::new(), Vec::new());
        let batch4 = decode_prefixes4(&bytes, &mut read4).is_ok();
        let batch6 = decode_prefixes6(&bytes, &mut read6).is_ok();
        let one4 = Nlri::new(Family::Ipv4Unicast, false, &bytes);
        let one6 = Nlri::new(Family::Ipv6Unicast, false, &bytes);
        prop_assert_eq!(batch4, one4.is_ok());
        prop_assert_eq!(batch6, one6.is_ok());
        if let Ok(nlri) = one4 {
            let read: Vec<_> = nlri.iter().map(|path| path.prefix).collect();
            prop_assert_eq!(read, read4.into_iter().map(Prefix::V4).collect::<Vec<_>>());
        }
        if let Ok(nlri) = one6 {
            let read: Vec<_> = nlri.iter().map(|path| path.prefix).collect();
            prop_assert_eq!(read, read6.into_iter().map(Prefix::V6).collect::<Vec<_>>());
        }
    }

    #[test]
    fn announcements_survive_the_wire(
        block in block(),
        v4 in vec(prefix4(), 1..300),
        v6 in vec(prefix6(), 1..100),
        hop4 in 0x0100_0000..0x7f00_0000u32,
        hop6 in 0x2000u128..0x4000,
        four_octet_as in any::<bool>(),
    ) {
        let context = EncodeContext { four_octet_as, ..EncodeContext::default() };
        let receiver = DecodeContext { four_octet_as, extended_next_hop: true, ..EXTERNAL };
        let hop4 = NextHop::new(IpAddr::V4(Ipv4Addr::from(hop4)));
        let hop6 = NextHop::new(IpAddr::V6(Ipv6Addr::from(hop6 << 112 | 1)));
        let mut section = AttributeSection::new();
        let mut out = Vec::new();
        let mut announcements = Vec::new();
        for hop in [hop4, hop6] {
            section.fill(&context, Family::Ipv4Unicast, &block, hop);
            out.clear();
            let count = encode_announce(&context, &section, &v4, &mut out).unwrap();
            let expected: Vec<_> = v4[..count].iter().map(|prefix| Prefix::V4(*prefix)).collect();
            announcements.push((hop, out.clone(), expected));
        }
        section.fill(&context, Family::Ipv6Unicast, &block, hop6);
        out.clear();
        let count = encode_announce(&context, &section, &v6, &mut out).unwrap();
        let expected: Vec<_> = v6[..count].iter().map(|prefix| Prefix::V6(*prefix)).collect();
        announcements.push((hop6, out.clone(), expected));
        for (hop, message, expected) in announcements {
            let frame = next_frame(&message, 4096).unwrap().unwrap();
            prop_assert_eq!(frame.len, message.len());
            let view = decode_update(frame.body, &receiver).unwrap();
            prop_assert_eq!(view.findings(), &[]);
            let reach = view.announcements().next().unwrap();
            prop_assert_eq!(reach.next_hop, hop);
            let read: Vec<_> = reach.nlri.iter().map(|path| path.prefix).collect();
            prop_assert_eq!(read, expected);
            let mut read = Vec::new();
            canonicalize(&view, &mut read);
            prop_assert_eq!(&read, &block);
        }
    }

    #[test]
    fn withdrawals_survive_the_wire(v4 in vec(prefix4(), 1..2000), v6 in vec(prefix6(), 1..500)) {
        let context = EncodeContext::default();
        for family in Family::ALL {
            let mut out = Vec::new();
            let (count, sent): (usize, Vec<Prefix>) = match family {
                Family::Ipv4Unicast => {
                    let count = encode_withdraw(&context, &v4, &mut out);
                    (count, v4.iter().map(|prefix| Prefix::V4(*prefix)).collect())
                }
                Family::Ipv6Unicast => {
                    let count = encode_withdraw(&context, &v6, &mut out);
                    (count, v6.iter().map(|prefix| Prefix::V6(*prefix)).collect())
                }
            };
            let frame = next_frame(&out, 4096).unwrap().unwrap();
            let view = decode_update(frame.body, &EXTERNAL).unwrap();
            let read: Vec<_> = view.withdrawals().flatten().map(|path| path.prefix).collect();
            prop_assert_eq!(read, &sent[..count]);
        }
    }

    #[test]
    fn the_order_of_attributes_does_not_matter(block in block(), seed in any::<u64>()) {
        let mut attributes: Vec<Vec<u8>> = PathAttributes::new(&block)
            .iter()
            .map(|one| attribute(one.flags, one.code, one.value))
            .collect();
        attributes.push(next_hop());
        attributes.sort_by_key(|one| (u64::from(code_of(one)) + 1).wrapping_mul(seed | 1).rotate_left(17));
        let body = update(&[], &attributes, NET_10);
        let mut read = Vec::new();
        canonicalize(&decode_update(&body, &EXTERNAL).unwrap(), &mut read);
        prop_assert_eq!(read, block);
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in vec(any::<u8>(), 0..200), flags in any::<[bool; 4]>()) {
        let context = DecodeContext {
            four_octet_as: flags[0],
            external: flags[1],
            extended_next_hop: flags[2],
            add_path: if flags[3] { FamilySet::ALL } else { FamilySet::EMPTY },
            families: FamilySet::ALL,
        };
        if let Ok(view) = decode_update(&bytes, &context) {
            canonicalize(&view, &mut Vec::new());
        }
        let with_lengths = [&[0, 0][..], &(bytes.len() as u16).to_be_bytes(), &bytes, NET_10].concat();
        if let Ok(view) = decode_update(&with_lengths, &context) {
            canonicalize(&view, &mut Vec::new());
        }
        let _ = Open::decode(&bytes);
        let _ = Notification::decode(&bytes).map(|notification| notification.to_string());
        let _ = RouteRefresh::decode(&bytes, flags[0]);
        let _ = PathAttributes::new(&bytes).iter().count();
        let _ = PathAttributes::new(&bytes).as_path().to_string();
    }
}
