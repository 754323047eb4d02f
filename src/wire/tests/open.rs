//! OPEN and capabilities.

use super::super::Open;
use super::super::capability::{AddPathFamily, Capability, ExtendedNextHop, GracefulFamily, GracefulRestart};
use super::super::frame::{MessageKind, next_frame};
use super::super::notification::open as subcode;
use super::*;
use crate::types::RouterId;

fn open(capabilities: Vec<Capability>) -> Open {
    Open { asn: 65001, hold_time_s: 90, router_id: RouterId(0x0a00_0001), capabilities }
}

/// Every capability that is decoded, and one that is not.
fn all() -> Vec<Capability> {
    vec![
        Capability::multiprotocol(Family::Ipv4Unicast),
        Capability::multiprotocol(Family::Ipv6Unicast),
        Capability::RouteRefresh,
        Capability::ExtendedNextHop(vec![ExtendedNextHop { afi: 1, safi: 1, next_hop_afi: 2 }]),
        Capability::ExtendedMessage,
        Capability::GracefulRestart(GracefulRestart {
            restarting: true,
            notification: true,
            restart_time_s: 4095,
            families: vec![
                GracefulFamily { afi: 1, safi: 1, forwarding: true },
                GracefulFamily { afi: 2, safi: 1, forwarding: false },
            ],
        }),
        Capability::FourOctetAs(65001),
        Capability::AddPath(vec![
            AddPathFamily { afi: 1, safi: 1, receive: true, send: false },
            AddPathFamily { afi: 2, safi: 1, receive: true, send: true },
        ]),
        Capability::EnhancedRouteRefresh,
        Capability::Fqdn { host: "tor-1".into(), domain: "example.net".into() },
        Capability::SoftwareVersion("kulan/0.1".into()),
        Capability::Unknown { code: 9, value: vec![3] },
    ]
}

fn encoded(open: &Open) -> Vec<u8> {
    let mut out = Vec::new();
    open.encode(&mut out);
    let frame = next_frame(&out, 4096).unwrap().unwrap();
    assert_eq!((frame.kind, frame.len), (MessageKind::Open, out.len()));
    frame.body.to_vec()
}

/// The body of an OPEN of AS 65001 with these optional parameters.
fn body(parameters: &[u8]) -> Vec<u8> {
    [&[4, 0xfd, 0xe9, 0, 90, 10, 0, 0, 1, parameters.len() as u8][..], parameters].concat()
}

#[test]
fn survives_the_wire() {
    for capabilities in [vec![], all()] {
        let open = open(capabilities);
        assert_eq!(Open::decode(&encoded(&open)), Ok(open));
    }
}

#[test]
fn answers_what_a_session_asks() {
    let open = open(all());
    assert_eq!(open.families(), FamilySet::ALL);
    assert_eq!(open.four_octet_as(), Some(65001));
    assert!(open.route_refresh() && open.enhanced_route_refresh() && open.extended_message());
    assert!(open.extended_next_hop());
    assert!(open.graceful_restart().unwrap().notification);
    assert!(!open.add_path(Family::Ipv4Unicast).unwrap().send);
    assert!(open.add_path(Family::Ipv6Unicast).unwrap().send);
    let bare = super::open::open(vec![]);
    assert_eq!(bare.families(), FamilySet::only(Family::Ipv4Unicast), "as before capabilities");
    assert!(!bare.route_refresh() && !bare.extended_next_hop() && bare.graceful_restart().is_none());
    let flowspec = super::open::open(vec![Capability::Multiprotocol { afi: 1, safi: 133 }]);
    assert!(flowspec.families().is_empty());
}

#[test]
fn one_capability_a_parameter_is_the_same_as_all_in_one() {
    let mut parameters = Vec::new();
    let mut together = Vec::new();
    for capability in all() {
        let mut one = Vec::new();
        capability.encode(&mut one);
        parameters.extend_from_slice(&[2, one.len() as u8]);
        parameters.extend_from_slice(&one);
        together.extend_from_slice(&one);
    }
    assert_eq!(Open::decode(&body(&parameters)), Ok(open(all())));
    let together = [&[2, together.len() as u8][..], &together].concat();
    assert_eq!(Open::decode(&body(&together)), Ok(open(all())));
}

#[test]
fn extended_optional_parameters_of_rfc_9072() {
    let many: Vec<Capability> =
        (0..5).map(|i| Capability::Unknown { code: 200 + i, value: vec![i; 100] }).collect();
    let long = encoded(&open(many.clone()));
    assert_eq!(long[9..13], [255, 255, (513u16 >> 8) as u8, 1]);
    assert_eq!(Open::decode(&long), Ok(open(many)));
    // The extended form may also be used for what would fit into the old one, with any length octet.
    for len in [255, 1] {
        let short = [&[4, 0xfd, 0xe9, 0, 90, 10, 0, 0, 1, len, 255, 0, 5, 2, 0, 2, 2, 0][..]].concat();
        assert!(Open::decode(&short).unwrap().route_refresh());
    }
    for broken in [
        &[255, 255][..],
        &[255, 255, 0],
        &[255, 255, 0, 9, 2, 0, 2, 2, 0],
        &[255, 255, 0, 5, 2, 0, 3, 2, 0],
        &[255, 255, 0, 2, 2, 0],
    ] {
        let bytes = [&[4, 0xfd, 0xe9, 0, 90, 10, 0, 0, 1][..], broken].concat();
        assert_eq!(Open::decode(&bytes).unwrap_err().subcode, subcode::UNSPECIFIC, "{broken:?}");
    }
}

#[test]
fn errors_of_rfc_4271_6_2() {
    let with = |at: usize, octets: &[u8]| {
        let mut body = body(&[]);
        body[at..at + octets.len()].copy_from_slice(octets);
        body
    };
    let cases: [(&str, Vec<u8>, u8, &[u8]); 12] = [
        ("version 3", with(0, &[3]), subcode::UNSUPPORTED_VERSION, &[0, 4]),
        ("version 5", with(0, &[5]), subcode::UNSUPPORTED_VERSION, &[0, 4]),
        ("AS 0 (RFC 7607)", with(1, &[0, 0]), subcode::BAD_PEER_AS, &[]),
        ("AS 0 in four octets", body(&[2, 6, 65, 4, 0, 0, 0, 0]), subcode::BAD_PEER_AS, &[]),
        ("hold time 1", with(3, &[0, 1]), subcode::UNACCEPTABLE_HOLD_TIME, &[]),
        ("hold time 2", with(3, &[0, 2]), subcode::UNACCEPTABLE_HOLD_TIME, &[]),
        ("identifier 0 (RFC 6286)", with(5, &[0; 4]), subcode::BAD_IDENTIFIER, &[]),
        ("authentication parameter", body(&[1, 1, 0]), subcode::UNSUPPORTED_PARAMETER, &[]),
        ("parameter beyond the end", body(&[2, 5, 2, 0]), subcode::UNSPECIFIC, &[]),
        ("half a parameter", body(&[2]), subcode::UNSPECIFIC, &[]),
        ("parameters longer than told", [body(&[]), vec![2, 0]].concat(), subcode::UNSPECIFIC, &[]),
        ("capability beyond the parameter", body(&[2, 2, 2, 1]), subcode::UNSPECIFIC, &[]),
    ];
    for (what, bytes, expected, data) in cases {
        let error = Open::decode(&bytes).unwrap_err();
        assert_eq!((error.code, error.subcode, &error.data[..]), (2, expected, data), "{what}");
    }
    for len in 0..10 {
        assert_eq!(Open::decode(&body(&[])[..len]).unwrap_err().code, 1);
    }
    assert_eq!(Open::decode(&with(3, &[0, 0])).unwrap().hold_time_s, 0);
    assert_eq!(Open::decode(&with(3, &[0, 3])).unwrap().hold_time_s, 3);
}

#[test]
fn capabilities_of_impossible_length_are_malformed() {
    let cases: [(u8, &[usize]); 8] = [
        (1, &[0, 3, 5]),
        (2, &[1]),
        (5, &[1, 5, 7]),
        (6, &[1]),
        (64, &[0, 1, 3, 5]),
        (65, &[0, 3, 5]),
        (69, &[1, 3, 5]),
        (70, &[1]),
    ];
    for (code, lengths) in cases {
        for &len in lengths {
            let capability = [&[2, 2 + len as u8, code, len as u8][..], &vec![1; len]].concat();
            let error = Open::decode(&body(&capability)).unwrap_err();
            assert_eq!((error.code, error.subcode), (2, subcode::UNSPECIFIC), "{code} of {len} octets");
        }
    }
}

#[test]
fn capabilities_without_meaning_are_kept_as_they_came() {
    let cases: [(u8, &[u8]); 6] = [
        // RFC 7911 §4: send/receive is 1 to 3.
        (69, &[0, 1, 1, 0]),
        (69, &[0, 1, 1, 3, 0, 2, 1, 4]),
        (73, &[9, b'x']),
        (73, &[]),
        (75, &[3, b'x']),
        (200, &[1, 2, 3]),
    ];
    for (code, value) in cases {
        let parameter = [&[2, 2 + value.len() as u8, code, value.len() as u8][..], value].concat();
        let open = Open::decode(&body(&parameter)).unwrap();
        assert_eq!(open.capabilities, [Capability::Unknown { code, value: value.to_vec() }]);
    }
}

#[test]
fn four_octet_as_numbers() {
    let mut open = open(vec![Capability::FourOctetAs(400_000)]);
    open.asn = 400_000;
    let bytes = encoded(&open);
    assert_eq!(bytes[1..3], super::super::AS_TRANS.to_be_bytes());
    assert_eq!(Open::decode(&bytes).unwrap().asn, 400_000);
}

#[test]
fn the_last_graceful_restart_counts() {
    let restart = |restart_time_s| {
        Capability::GracefulRestart(GracefulRestart { restart_time_s, ..GracefulRestart::default() })
    };
    let open = open(vec![restart(1), restart(2)]);
    assert_eq!(open.graceful_restart().unwrap().restart_time_s, 2);
}

#[test]
fn names_that_are_too_long_are_cut() {
    let long = "ä".repeat(300);
    let open = open(vec![
        Capability::Fqdn { host: long.clone(), domain: long.clone() },
        Capability::Fqdn { host: "h".into(), domain: long.clone() },
        Capability::SoftwareVersion(long),
    ]);
    let got = Open::decode(&encoded(&open)).unwrap().capabilities;
    assert_eq!(got[0], Capability::Fqdn { host: "ä".repeat(126), domain: String::new() });
    assert_eq!(got[1], Capability::Fqdn { host: "h".into(), domain: "ä".repeat(126) });
    assert_eq!(got[2], Capability::SoftwareVersion("ä".repeat(127)));
}
