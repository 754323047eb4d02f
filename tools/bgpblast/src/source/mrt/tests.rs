//! Files of every kind of record, written octet by octet.

use proptest::prelude::*;

use super::super::tests::{Scratch, bzip2, gzip};
use super::super::{Route, Source, load_script as load_any_script};
use super::*;
use kulan::wire::PathAttributes;

const PEER4: [u8; 4] = [192, 0, 2, 1];
const PEER6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];

fn record(kind: u16, subtype: u16, body: &[u8]) -> Vec<u8> {
    let mut out = 1_000u32.to_be_bytes().to_vec();
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&subtype.to_be_bytes());
    out.extend_from_slice(&(body.len() as u32).to_be_bytes());
    out.extend_from_slice(body);
    out
}

/// Two peers: an IPv4 one of AS 100 (two octets), an IPv6 one of AS 400,000.
fn peer_index_table() -> Vec<u8> {
    let mut body = vec![9, 9, 9, 9, 0, 2, b'v', b'w', 0, 2];
    body.extend_from_slice(&[0, 1, 1, 1, 1]);
    body.extend_from_slice(&PEER4);
    body.extend_from_slice(&[0, 100]);
    body.extend_from_slice(&[3, 2, 2, 2, 2]);
    body.extend_from_slice(&PEER6);
    body.extend_from_slice(&400_000u32.to_be_bytes());
    record(13, 1, &body)
}

/// ORIGIN, AS_PATH of four-octet numbers, and an attribute that nobody knows.
fn attributes(asn: u32) -> Vec<u8> {
    let mut out = vec![0x40, 1, 1, 0, 0x40, 2, 6, 2, 1];
    out.extend_from_slice(&asn.to_be_bytes());
    out.extend_from_slice(&[0xc0, 99, 2, 7, 7]);
    out
}

fn next_hop4() -> Vec<u8> {
    [&[0x40, 3, 4][..], &PEER4].concat()
}

/// MP_REACH_NLRI as RFC 6396 §4.3.4 shortens it.
fn next_hop6() -> Vec<u8> {
    [&[0x80, 14, 17, 16][..], &PEER6].concat()
}

fn entry(peer: u16, path_id: Option<u32>, attributes: &[u8]) -> Vec<u8> {
    let mut out = peer.to_be_bytes().to_vec();
    out.extend_from_slice(&[0; 4]);
    out.extend(path_id.into_iter().flat_map(u32::to_be_bytes));
    out.extend_from_slice(&(attributes.len() as u16).to_be_bytes());
    out.extend_from_slice(attributes);
    out
}

fn rib(subtype: u16, nlri: &[u8], entries: &[Vec<u8>]) -> Vec<u8> {
    let mut body = vec![0, 0, 0, 1];
    body.extend_from_slice(nlri);
    body.extend_from_slice(&(entries.len() as u16).to_be_bytes());
    body.extend(entries.concat());
    record(13, subtype, &body)
}

/// An UPDATE with its header.
fn update(withdrawn: &[u8], attributes: &[u8], announced: &[u8]) -> Vec<u8> {
    let mut out = vec![0xff; 16];
    let len = 23 + withdrawn.len() + attributes.len() + announced.len();
    out.extend_from_slice(&(len as u16).to_be_bytes());
    out.push(2);
    for field in [withdrawn, attributes] {
        out.extend_from_slice(&(field.len() as u16).to_be_bytes());
        out.extend_from_slice(field);
    }
    out.extend_from_slice(announced);
    out
}

/// The body of a BGP4MP record from the IPv4 peer, with AS numbers of `width` octets.
fn bgp4mp(width: usize, asn: u32, rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    for number in [asn, 65_000] {
        body.extend_from_slice(&number.to_be_bytes()[4 - width..]);
    }
    body.extend_from_slice(&[0, 0, 0, 1]);
    body.extend_from_slice(&PEER4);
    body.extend_from_slice(&[192, 0, 2, 99]);
    body.extend_from_slice(rest);
    body
}

fn load_bytes(content: &[u8], peer: Option<&str>) -> Result<Routes, String> {
    load(&Scratch::new(content).0, peer, None)
}

/// Prefix, path identifier, AS path and next hop of each route.
fn shown(routes: &Routes) -> Vec<String> {
    let show = |route: &Route| {
        let set = &routes.sets[route.set as usize];
        let path = PathAttributes::new(&set.block).as_path();
        format!("{} {} via {path} to {}", route.prefix, route.path_id, set.next_hop.unwrap())
    };
    routes.routes.iter().map(show).collect()
}

fn dump() -> Vec<u8> {
    let via4 = [attributes(100), next_hop4()].concat();
    let via6 = [attributes(400_000), next_hop6()].concat();
    let other = [next_hop6(), attributes(400_000)].concat();
    [
        peer_index_table(),
        rib(2, &[8, 20], &[entry(0, None, &via4), entry(1, None, &other)]),
        rib(4, &[16, 0x2a, 0], &[entry(1, None, &via6)]),
        rib(8, &[8, 21], &[entry(0, Some(7), &via4), entry(0, Some(8), &via4)]),
        rib(10, &[16, 0x2a, 1], &[entry(1, Some(9), &via6)]),
        rib(3, &[8, 224], &[entry(0, None, &via4)]),
        record(11, 0, &[1, 2, 3]),
    ]
    .concat()
}

#[test]
fn table_dump_v2_of_every_subtype() {
    let dump = dump();
    for content in [dump.clone(), gzip(&dump), bzip2(&dump), [gzip(&dump[..50]), gzip(&dump[50..])].concat()]
    {
        // Both peers have three routes: the first one is taken.
        let routes = load_bytes(&content, None).unwrap();
        assert_eq!(
            shown(&routes),
            [
                "20.0.0.0/8 0 via 100 to 192.0.2.1",
                "21.0.0.0/8 7 via 100 to 192.0.2.1",
                "21.0.0.0/8 8 via 100 to 192.0.2.1"
            ]
        );
        assert_eq!((routes.sets.len(), &routes.partial), (1, &None));
        let unknown = PathAttributes::new(&routes.sets[0].block).unknown().next().unwrap();
        assert_eq!((unknown.code, unknown.value), (99, &[7, 7][..]));
        assert_eq!(
            routes.notes,
            [
                "from peer 192.0.2.1 (AS 100, index 0), one of 2",
                "1 records of type OSPFv2, subtype 0 skipped",
                "1 records of type TABLE_DUMP_V2, subtype 3 skipped"
            ]
        );
        for peer in ["1", "AS400000", "400000", "2001:db8::7"] {
            assert_eq!(
                shown(&load_bytes(&content, Some(peer)).unwrap()),
                [
                    "20.0.0.0/8 0 via 400000 to 2001:db8::7",
                    "2a00::/16 0 via 400000 to 2001:db8::7",
                    "2a01::/16 9 via 400000 to 2001:db8::7"
                ]
            );
        }
    }
}

#[test]
fn peers_and_families_are_chosen() {
    let file = Scratch::new(&dump());
    let of = |peer: Option<&str>, family| load(&file.0, peer, family).map(|routes| routes.routes.len());
    assert_eq!(of(None, Some(Family::Ipv6Unicast)), Ok(2));
    assert_eq!(of(Some("1"), Some(Family::Ipv4Unicast)), Ok(1));
    let error = of(Some("AS7"), None).unwrap_err();
    assert!(
        error.contains("no peer AS7; it has 192.0.2.1 (AS 100, index 0, 3 routes), 2001:db8::7"),
        "{error}"
    );
    assert!(of(Some("the big one"), None).unwrap_err().contains("write an address"));
    assert!(of(Some("0"), Some(Family::Ipv6Unicast)).unwrap_err().contains("no route"));
    let limited = Source::Mrt { file: file.0.clone(), peer: None, family: None, routes: Some(2) };
    let limited = limited.load(0).unwrap();
    assert_eq!((limited.routes.len(), limited.sets.len()), (2, 1));
}

#[test]
fn table_dump_with_narrow_as_numbers() {
    // AS_TRANS in AS_PATH, the number itself in AS4_PATH.
    let narrow = [0x40, 1, 1, 2, 0x40, 2, 6, 2, 2, 0, 100, 0x5b, 0xa0];
    let as4 = [0xc0, 17, 6, 2, 1, 0, 6, 0x1a, 0x80];
    let attributes = [&narrow[..], &next_hop4(), &as4].concat();
    let mut body = vec![0, 0, 0, 1, 20, 1, 2, 0, 24, 1, 0, 0, 0, 0];
    body.extend_from_slice(&PEER4);
    body.extend_from_slice(&[0, 100, 0, attributes.len() as u8]);
    body.extend_from_slice(&attributes);
    // The whole MP_REACH_NLRI, as in an UPDATE.
    let mp = [&[0x80, 14, 24, 0, 2, 1, 16][..], &PEER6, &[0, 16, 0x2a, 0]].concat();
    let attributes6 = [&narrow[..4], &[0x40, 2, 4, 2, 1, 0, 100], &mp].concat();
    let mut body6 = vec![0, 0, 0, 1, 0x2a];
    body6.extend_from_slice(&[0; 15]);
    body6.extend_from_slice(&[16, 1, 0, 0, 0, 0]);
    body6.extend_from_slice(&PEER6);
    body6.extend_from_slice(&[0, 100, 0, attributes6.len() as u8]);
    body6.extend_from_slice(&attributes6);
    let file = [record(12, 1, &body), record(12, 2, &body6)].concat();
    assert_eq!(
        shown(&load_bytes(&file, Some("192.0.2.1")).unwrap()),
        ["20.1.2.0/24 0 via 100 400000 to 192.0.2.1"]
    );
    assert_eq!(shown(&load_bytes(&file, Some("1")).unwrap()), ["2a00::/16 0 via 100 to 2001:db8::7"]);
}

#[test]
fn bgp4mp_of_every_subtype() {
    let narrow = [&[0x40, 1, 1, 0, 0x40, 2, 4, 2, 1, 0, 100][..], &next_hop4()].concat();
    let wide = [attributes(400_000), next_hop4()].concat();
    let plain = [8, 20];
    let with_id = [0, 0, 0, 5, 8, 20];
    // Type, subtype, octets of an AS number, attributes, NLRI, and what comes out.
    type Case<'a> = (u16, u16, usize, &'a [u8], &'a [u8], &'a str);
    let cases: [Case<'_>; 5] = [
        (16, 1, 2, &narrow, &plain, "20.0.0.0/8 0 via 100 to 192.0.2.1"),
        (16, 4, 4, &wide, &plain, "20.0.0.0/8 0 via 400000 to 192.0.2.1"),
        (17, 4, 4, &wide, &plain, "20.0.0.0/8 0 via 400000 to 192.0.2.1"),
        (16, 8, 2, &narrow, &with_id, "20.0.0.0/8 5 via 100 to 192.0.2.1"),
        (17, 9, 4, &wide, &with_id, "20.0.0.0/8 5 via 400000 to 192.0.2.1"),
    ];
    for (kind, subtype, width, attributes, nlri, expected) in cases {
        let body = bgp4mp(width, 100, &update(&[], attributes, nlri));
        let micros = if kind == 17 { vec![0, 7, 0xa1, 0x20] } else { vec![] };
        let file = record(kind, subtype, &[micros, body].concat());
        for content in [file.clone(), gzip(&file), bzip2(&file)] {
            let routes = load_bytes(&content, None).unwrap();
            assert_eq!(shown(&routes), [expected], "type {kind}, subtype {subtype}");
            assert_eq!(routes.partial, None);
        }
    }
    let own = record(16, 7, &bgp4mp(4, 100, &update(&[], &wide, &plain)));
    assert!(load_bytes(&own, None).unwrap_err().contains("the collector itself sent"));
}

#[test]
fn the_last_word_counts() {
    let wide = |asn| [attributes(asn), next_hop4()].concat();
    let message = |update: Vec<u8>| record(16, 4, &bgp4mp(4, 100, &update));
    let state = |old, new| record(16, 5, &bgp4mp(4, 100, &[0, old, 0, new]));
    let updates = [
        message(update(&[], &wide(1), &[8, 20, 8, 21, 8, 22])),
        message(update(&[8, 21], &wide(2), &[8, 20])),
    ]
    .concat();
    let routes = load_bytes(&updates, None).unwrap();
    assert_eq!(shown(&routes), ["22.0.0.0/8 0 via 1 to 192.0.2.1", "20.0.0.0/8 0 via 2 to 192.0.2.1"]);
    let down = [updates.clone(), state(6, 1), message(update(&[], &wide(3), &[8, 23]))].concat();
    assert_eq!(shown(&load_bytes(&down, None).unwrap()), ["23.0.0.0/8 0 via 3 to 192.0.2.1"]);
    let not_up = [updates.clone(), state(2, 3)].concat();
    assert_eq!(load_bytes(&not_up, None).unwrap().routes.len(), 2);

    let script = load_any_script(&Scratch::new(&gzip(&down)).0).unwrap();
    let changes: Vec<Change> = script.steps.iter().map(|step| step.change).collect();
    assert_eq!(
        changes,
        [
            Change::Announce(0),
            Change::Announce(0),
            Change::Announce(0),
            Change::Withdraw,
            Change::Announce(1),
            Change::Announce(2)
        ]
    );
    assert!(script.steps.iter().all(|step| step.at_s == Some(0.0)));
    assert_eq!(script.sets.len(), 3);
}

#[test]
fn times_are_relative_to_the_first() {
    let body = bgp4mp(4, 100, &update(&[8, 20], &[], &[]));
    let mut first = record(17, 4, &[&[0, 7, 0xa1, 0x20][..], &body].concat());
    let second = record(16, 4, &body);
    first[..4].copy_from_slice(&998u32.to_be_bytes());
    let script = load_any_script(&Scratch::new(&[first, second].concat()).0).unwrap();
    let times: Vec<Option<f64>> = script.steps.iter().map(|step| step.at_s).collect();
    assert_eq!(times, [Some(0.0), Some(1.5)]);
}

#[test]
fn a_file_cut_anywhere_says_so() {
    let whole = dump();
    let mut ends = Vec::new();
    let mut at = 0;
    while at < whole.len() {
        let len = u32::from_be_bytes(whole[at + 8..at + 12].try_into().unwrap());
        at += 12 + len as usize;
        ends.push(at);
    }
    for len in 0..=whole.len() {
        match load_bytes(&whole[..len], Some("0")) {
            Err(why) => assert!(len < ends[1], "{len}: {why}"),
            Ok(routes) => {
                assert_eq!(routes.partial.is_none(), ends.contains(&len), "{len}: {:?}", routes.partial)
            }
        }
    }
    let packed = gzip(&whole);
    for len in 0..packed.len() {
        let cut = load_bytes(&packed[..len], None);
        assert!(cut.is_err() || cut.unwrap().partial.is_some(), "{len}");
    }
}

#[test]
fn damage_is_named() {
    let via4 = [attributes(100), next_hop4()].concat();
    let good = [peer_index_table(), rib(2, &[8, 20], &[entry(0, None, &via4)])].concat();
    let cases = [
        (rib(2, &[33, 20, 0, 0, 0, 0], &[]), "1 records are malformed"),
        (rib(2, &[8, 20], &[entry(9, None, &via4)]), "1 records are malformed"),
        (vec![0, 0, 0, 0, 0, 77, 0, 0, 0, 0, 0, 0], "the type field of a record says 77"),
        (vec![0, 0, 0, 0, 0, 13, 0, 2, 0xff, 0, 0, 0], "more than any has"),
        (vec![0, 0, 0, 0, 0, 13], "cut short within a record"),
    ];
    for (damage, word) in cases {
        let routes = load_bytes(&[good.clone(), damage].concat(), None).unwrap();
        let why = routes.partial.unwrap();
        assert!(why.contains(word) && why.contains(&format!("at byte {}", good.len())), "{why}");
        assert_eq!(routes.routes.len(), 1);
    }
    // Attributes that end within themselves, and a path that no receiver would take.
    let bad_path = [&[0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, 0, 0, 0, 0][..], &next_hop4()].concat();
    for (attributes, word) in [(&via4[..via4.len() - 1], "cannot be told apart"), (&bad_path, "AS 0")] {
        let file = [good.clone(), rib(2, &[8, 21], &[entry(0, None, attributes)])].concat();
        let routes = load_bytes(&file, None).unwrap();
        assert!(routes.notes[0].starts_with("1 routes left out") && routes.notes[0].contains(word));
        assert!(routes.notes[0].contains("21.0.0.0/8"), "{:?}", routes.notes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_octets_never_panic(at in any::<prop::sample::Index>(), value in any::<u8>()) {
        let mut file = dump();
        file.extend(record(16, 4, &bgp4mp(4, 100, &update(&[], &attributes(1), &[8, 20]))));
        let at = at.index(file.len());
        file[at] = value;
        let file = Scratch::new(&file);
        // What comes out is another file's business; that something does is what counts.
        let _ = load(&file.0, None, None);
        let _ = load_script(&file.0);
    }
}
