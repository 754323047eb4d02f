//! Canonical blocks: order, flags, and the merging of RFC 6793.

use super::super::attrs::{PathAttributes, code};
use super::super::{DecodeContext, canonicalize, decode_update};
use super::*;

fn block_of(attributes: &[Vec<u8>], context: &DecodeContext) -> Vec<u8> {
    let body = update(&[], attributes, NET_10);
    let mut block = vec![0xee; 3];
    canonicalize(&decode_update(&body, context).unwrap(), &mut block);
    block
}

fn path_of(attributes: &[Vec<u8>], context: &DecodeContext) -> String {
    PathAttributes::new(&block_of(attributes, context)).as_path().to_string()
}

#[test]
fn canonical_attributes_are_copied_without_next_hop_and_nlri() {
    let (a, b) =
        (attribute(0x80, code::MULTI_EXIT_DISC, &[0, 0, 0, 1]), attribute(0xc0, code::COMMUNITIES, &[1; 4]));
    let attributes = [
        mp_reach(Family::Ipv6Unicast, NET_DB8),
        origin(),
        as_path(&[1, 2]),
        next_hop(),
        a.clone(),
        b.clone(),
        mp_unreach(Family::Ipv6Unicast, NET_DB8),
        attribute(0xc0, code::LARGE_COMMUNITIES, &[3; 24][..12]),
    ];
    let expected =
        [origin(), as_path(&[1, 2]), a, b, attribute(0xc0, code::LARGE_COMMUNITIES, &[3; 12])].concat();
    assert_eq!(block_of(&attributes, &EXTERNAL), expected);
}

#[test]
fn order_flags_and_length_form_do_not_matter() {
    let expected = [
        origin(),
        as_path(&[7]),
        attribute(0x80, code::MULTI_EXIT_DISC, &[0, 0, 0, 9]),
        attribute(0xc0, code::COMMUNITIES, &[1; 4]),
        attribute(0xe0, 99, &[5]),
    ]
    .concat();
    let scrambled = [
        attribute(0xcf, 99, &[5]),
        vec![0xd0, code::COMMUNITIES, 0, 4, 1, 1, 1, 1],
        next_hop(),
        vec![0xb0, code::MULTI_EXIT_DISC, 0, 4, 0, 0, 0, 9],
        attribute(0x60, code::AS_PATH, &sequence(&[7])),
        attribute(0x41, code::ORIGIN, &[0]),
    ];
    assert_eq!(block_of(&scrambled, &EXTERNAL), expected);
}

#[test]
fn partial_stays_on_known_optional_transitive_attributes() {
    let partial = attribute(0xe0, code::COMMUNITIES, &[1; 4]);
    let block = block_of(&[origin(), as_path(&[1]), next_hop(), partial.clone()], &EXTERNAL);
    assert!(block.ends_with(&partial));
}

#[test]
fn long_values_keep_their_extended_length() {
    let long = attribute(0xc0, code::COMMUNITIES, &[1; 400]);
    let block = block_of(&[long.clone(), origin(), as_path(&[1]), next_hop()], &EXTERNAL);
    assert_eq!(block, [origin(), as_path(&[1]), long].concat());
}

#[test]
fn repeated_large_communities_are_removed() {
    let (one, two) = ([1; 12], [2; 12]);
    let few = attribute(0xc0, code::LARGE_COMMUNITIES, &[one, two, one, one].concat());
    let block = block_of(&[origin(), as_path(&[1]), next_hop(), few], &EXTERNAL);
    assert!(block.ends_with(&attribute(0xc0, code::LARGE_COMMUNITIES, &[one, two].concat())));
    let mut many: Vec<u8> = (0..3000u32).flat_map(|i| [i % 1000, 5, 6]).flat_map(u32::to_be_bytes).collect();
    let block = block_of(
        &[origin(), as_path(&[1]), next_hop(), attribute(0xc0, code::LARGE_COMMUNITIES, &many)],
        &EXTERNAL,
    );
    many.truncate(12 * 1000);
    assert!(block.ends_with(&attribute(0xc0, code::LARGE_COMMUNITIES, &many)));
}

/// AS4_PATH of one sequence.
fn as4_path(asns: &[u32]) -> Vec<u8> {
    attribute(0xc0, code::AS4_PATH, &sequence(asns))
}

#[test]
fn two_octet_paths_are_widened() {
    let base = |path| [origin(), path, next_hop()];
    assert_eq!(path_of(&base(as_path2(&[1, 65535])), &OLD_SPEAKER), "1 65535");
    assert_eq!(path_of(&base(attribute(0x40, 2, &[])), &OLD_SPEAKER), "");
    let set = attribute(0x40, 2, &[2, 1, 0, 7, 1, 2, 0, 8, 0, 9]);
    assert_eq!(path_of(&base(set), &OLD_SPEAKER), "7 {8 9}");
}

#[test]
fn as4_path_tells_what_as_trans_stood_for() {
    let merged = |path: Vec<u8>, as4: Vec<u8>| path_of(&[origin(), path, next_hop(), as4], &OLD_SPEAKER);
    const T: u16 = 23456;
    assert_eq!(merged(as_path2(&[7, T, 9]), as4_path(&[400_000, 9])), "7 400000 9");
    assert_eq!(merged(as_path2(&[T, 9]), as4_path(&[400_000, 9])), "400000 9");
    assert_eq!(merged(as_path2(&[T]), as4_path(&[400_000, 9])), "23456", "longer than AS_PATH: ignored");
    // The front that AS4_PATH does not cover comes from AS_PATH, up to the middle of a segment.
    let split = attribute(0x40, 2, &[2, 3, 0, 1, 0, 2, 0x5b, 0xa0, 1, 2, 0, 8, 0, 9]);
    let as4 = attribute(0xc0, code::AS4_PATH, &[&sequence(&[400_000])[..], &[1, 1, 0, 0, 0, 8]].concat());
    assert_eq!(merged(split, as4), "1 2 400000 {8}");
    // A set counts for one, so it is taken whole.
    let set = attribute(0x40, 2, &[1, 2, 0, 8, 0, 9, 2, 1, 0x5b, 0xa0]);
    assert_eq!(merged(set, as4_path(&[400_000])), "{8 9} 400000");
}

#[test]
fn confederation_segments_and_as4_path() {
    let inside = DecodeContext { external: false, ..OLD_SPEAKER };
    // Leading ones are taken over from AS_PATH; in AS4_PATH they do not belong and are left out.
    let path = attribute(0x40, 2, &[3, 1, 0xfd, 0xe9, 2, 1, 0x5b, 0xa0]);
    let as4 =
        attribute(0xc0, code::AS4_PATH, &[&[3, 1, 0, 0, 0xfd, 0xe8][..], &sequence(&[400_000])].concat());
    assert_eq!(path_of(&[origin(), path, next_hop(), as4], &inside), "(65001) 400000");
}

#[test]
fn aggregators_of_old_speakers() {
    let message = |asn: u16, as4: Option<u32>| {
        let mut value = asn.to_be_bytes().to_vec();
        value.extend_from_slice(&[10, 0, 0, 1]);
        let mut attributes = vec![
            origin(),
            as_path2(&[7, 23456]),
            next_hop(),
            attribute(0xc0, code::AGGREGATOR, &value),
            as4_path(&[400_000]),
        ];
        if let Some(asn) = as4 {
            let value = [&asn.to_be_bytes()[..], &[10, 0, 0, 2]].concat();
            attributes.push(attribute(0xc0, code::AS4_AGGREGATOR, &value));
        }
        let block = block_of(&attributes, &OLD_SPEAKER);
        let read = PathAttributes::new(&block);
        assert!(read.get(code::AS4_PATH).is_none() && read.get(code::AS4_AGGREGATOR).is_none());
        let aggregator = read.aggregator().unwrap();
        (aggregator.asn, aggregator.router_id.to_string(), read.as_path().to_string())
    };
    assert_eq!(message(23456, Some(400_000)), (400_000, "10.0.0.2".into(), "7 400000".into()));
    assert_eq!(message(23456, None), (23456, "10.0.0.1".into(), "7 400000".into()));
    assert_eq!(message(9, None), (9, "10.0.0.1".into(), "7 400000".into()));
    assert_eq!(message(9, Some(400_000)), (9, "10.0.0.1".into(), "7 23456".into()), "out of date");
}

#[test]
fn the_reader_reads_every_attribute() {
    let attributes = [
        origin(),
        as_path(&[65001]),
        next_hop(),
        attribute(0x80, code::MULTI_EXIT_DISC, &[0, 0, 1, 0]),
        attribute(0x40, code::LOCAL_PREF, &[0, 0, 0, 200]),
        attribute(0x40, code::ATOMIC_AGGREGATE, &[]),
        attribute(0xc0, code::AGGREGATOR, &[0, 1, 0, 0, 10, 0, 0, 1]),
        attribute(0xc0, code::COMMUNITIES, &[0xff, 0xff, 0xff, 1, 0, 1, 0, 2]),
        attribute(0x80, code::ORIGINATOR_ID, &[10, 0, 0, 9]),
        attribute(0x80, code::CLUSTER_LIST, &[10, 0, 0, 1, 10, 0, 0, 2]),
        attribute(0xc0, code::EXTENDED_COMMUNITIES, &[0, 2, 0xfd, 0xe9, 0, 0, 0, 1]),
        attribute(0xc0, code::LARGE_COMMUNITIES, &[0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3]),
        attribute(0xe0, 99, &[1]),
    ];
    let block = block_of(&attributes, &INTERNAL);
    let read = PathAttributes::new(&block);
    assert_eq!(read.origin(), Some(super::super::attrs::Origin::Igp));
    assert_eq!(read.as_path().neighbor_as(), Some(65001));
    assert_eq!((read.med(), read.local_pref()), (Some(256), Some(200)));
    assert!(read.atomic_aggregate());
    assert_eq!(read.aggregator().unwrap().asn, 65536);
    assert_eq!(read.communities().collect::<Vec<_>>(), [0xffff_ff01, 0x0001_0002]);
    assert_eq!(read.originator_id().unwrap().to_string(), "10.0.0.9");
    let clusters: Vec<String> = read.cluster_list().map(|id| id.to_string()).collect();
    assert_eq!(clusters, ["10.0.0.1", "10.0.0.2"]);
    assert_eq!(read.extended_communities().collect::<Vec<_>>(), [0x0002_fde9_0000_0001]);
    let large = read.large_communities().next().unwrap();
    assert_eq!((large.global, large.local1, large.local2), (1, 2, 3));
    assert_eq!(read.unknown().map(|unknown| unknown.code).collect::<Vec<_>>(), [99]);
    assert_eq!(read.iter().count(), 12);
    let empty = PathAttributes::new(&[]);
    assert!(empty.origin().is_none() && empty.as_path().is_empty() && empty.communities().len() == 0);
}
