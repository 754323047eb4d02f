//! OPEN: what is refused, with which NOTIFICATION, and what is agreed on.

use super::lone::{Lone, notification, peer_open_body, peer_settings};
use super::network::settings;
use crate::config::AsnMatch;
use crate::session::{Negotiated, Output, Restart, SessionSettings, Slot, State};
use crate::types::{Family, FamilySet, PeerKind, RouterId};
use crate::wire::capability::Capability;
use crate::wire::frame::{HEADER_LEN, MessageKind};
use crate::wire::notification::Notification;
use crate::wire::open::Open;

const IPV4: FamilySet = FamilySet::only(Family::Ipv4Unicast);
const IPV6: FamilySet = FamilySet::only(Family::Ipv6Unicast);

fn ours() -> SessionSettings {
    settings(0x0a00_0001)
}

/// The body of an OPEN, byte by byte.
fn raw_open(asn: u16, hold_time_s: u16, router_id: u32, parameters: &[u8]) -> Vec<u8> {
    let mut body = vec![4];
    body.extend_from_slice(&asn.to_be_bytes());
    body.extend_from_slice(&hold_time_s.to_be_bytes());
    body.extend_from_slice(&router_id.to_be_bytes());
    body.push(parameters.len() as u8);
    body.extend_from_slice(parameters);
    body
}

/// What comes of our settings and the peer's OPEN.
fn answer(ours: SessionSettings, body: &[u8]) -> Result<Negotiated, Notification> {
    let mut lone = Lone::at(State::OpenSent, ours);
    let mut outputs = lone.message(Slot::A, MessageKind::Open, body);
    if lone.session.state() == State::OpenConfirm {
        outputs = lone.message(Slot::A, MessageKind::Keepalive, &[]);
    }
    match lone.session.negotiated() {
        Some(negotiated) => Ok(negotiated.clone()),
        None => Err(notification(&outputs).expect("a refusal is a NOTIFICATION").1),
    }
}

#[test]
fn bad_opens_get_the_notification_that_the_rfc_names() {
    let plain = |asn, hold, id| raw_open(asn, hold, id, &[]);
    let external = SessionSettings { asn: AsnMatch::External, ..ours() };
    let any = SessionSettings { asn: AsnMatch::Any, ..ours() };
    let ipv6_only = SessionSettings { families: IPV6, ..ours() };
    type Case<'a> = (&'static str, &'a SessionSettings, Vec<u8>, u8, &'static [u8]);
    let cases: [Case; 16] = [
        ("another version", &ours(), [&[3][..], &plain(65000, 90, 9)[1..]].concat(), 1, &[0, 4]),
        ("another AS", &ours(), plain(65001, 90, 9), 2, &[]),
        ("our AS where an external peer is wanted", &external, plain(65000, 90, 9), 2, &[]),
        ("AS 0 (RFC 7607)", &any, plain(0, 90, 9), 2, &[]),
        ("AS_TRANS for nothing (RFC 6793)", &any, plain(23456, 90, 9), 2, &[]),
        ("AS 0 in the capability", &any, raw_open(1, 90, 9, &[2, 6, 65, 4, 0, 0, 0, 0]), 2, &[]),
        ("another AS in the capability", &ours(), raw_open(65000, 90, 9, &[2, 6, 65, 4, 0, 0, 0, 1]), 2, &[]),
        ("identifier 0 (RFC 6286)", &ours(), plain(65000, 90, 0), 3, &[]),
        ("our identifier in our AS", &ours(), plain(65000, 90, 0x0a00_0001), 3, &[]),
        ("an unknown parameter", &ours(), raw_open(65000, 90, 9, &[1, 1, 0]), 4, &[]),
        ("a hold time of 1 s", &ours(), plain(65000, 1, 9), 6, &[]),
        ("a hold time of 2 s", &ours(), plain(65000, 2, 9), 6, &[]),
        ("a parameter beyond the end", &ours(), raw_open(65000, 90, 9, &[2, 9, 1]), 0, &[]),
        ("a capability beyond its parameter", &ours(), raw_open(65000, 90, 9, &[2, 2, 65, 4]), 0, &[]),
        ("no family in common", &ipv6_only, plain(65000, 90, 9), 7, &[1, 4, 0, 2, 0, 1]),
        (
            "families that we do not route",
            &ours(),
            raw_open(65000, 90, 9, &[2, 6, 1, 4, 0, 25, 0, 70]),
            7,
            &[1, 4, 0, 1, 0, 1, 1, 4, 0, 2, 0, 1],
        ),
    ];
    for (what, ours, body, subcode, data) in cases {
        let error = answer(ours.clone(), &body).expect_err(what);
        assert_eq!((error.code, error.subcode, &error.data[..]), (2, subcode, data), "{what}");
    }
}

#[test]
fn an_open_without_capabilities_is_plain_bgp_4() {
    let agreed = answer(ours(), &raw_open(65000, 30, 9, &[])).expect("nothing is wrong with it");
    assert_eq!((agreed.families, agreed.hold_time_s, agreed.router_id), (IPV4, 30, RouterId(9)));
    assert_eq!((agreed.peer_asn, agreed.kind), (65000, PeerKind::Internal));
    assert!(!agreed.four_octet_as && !agreed.route_refresh && !agreed.enhanced_route_refresh);
    assert!(!agreed.extended_message && !agreed.extended_next_hop && agreed.restart.is_none());
}

#[test]
fn what_both_sides_want_is_agreed_on() {
    let agreed = answer(ours(), &peer_open_body(&peer_settings())).expect("nothing is wrong with it");
    assert!(agreed.four_octet_as && agreed.route_refresh && agreed.enhanced_route_refresh);
    assert!(agreed.extended_message && agreed.extended_next_hop);
    let restart = Restart {
        restart_time_s: 120,
        restarting: false,
        notification: true,
        families: FamilySet::ALL,
        forwarding: FamilySet::EMPTY,
    };
    assert_eq!((agreed.families, agreed.restart), (FamilySet::ALL, Some(restart)));
    let open = agreed.peer_open().expect("it was read before");
    assert!(open.capabilities.contains(&Capability::FourOctetAs(65000)));
}

#[test]
fn what_one_side_does_not_want_is_not() {
    let mut modest = peer_settings();
    modest.families = IPV6;
    (modest.extended_messages, modest.extended_next_hop) = (false, false);
    modest.graceful_restart.enabled = false;
    for (ours, peer) in
        [(ours(), modest.clone()), (SessionSettings { router_id: RouterId(1), ..modest }, ours())]
    {
        let agreed = answer(ours, &peer_open_body(&peer)).expect("IPv6 is in common");
        assert_eq!(agreed.families, IPV6);
        assert!(!agreed.extended_message && !agreed.extended_next_hop);
    }
}

/// FRR answers no ROUTE-REFRESH, and sends no End-of-RIB, unless the capability is there (RFC 4724 §3).
#[test]
fn who_does_not_ask_to_be_kept_still_sends_the_capability_and_helps() {
    let mut modest = ours();
    modest.graceful_restart.enabled = false;
    let open = Open::decode(&peer_open_body(&modest)).expect("our own OPEN");
    let sent = open.graceful_restart().expect("the capability is sent");
    assert!(sent.families.is_empty() && !sent.notification && !sent.restarting && sent.restart_time_s == 0);
    let agreed = answer(modest, &peer_open_body(&peer_settings())).expect("nothing is wrong with it");
    assert_eq!(agreed.restart.map(|restart| restart.families), Some(agreed.families));
}

#[test]
fn the_smaller_hold_time_counts() {
    for (ours_s, theirs_s, agreed_s) in [(90, 30, 30), (30, 90, 30), (0, 90, 0), (90, 0, 0), (3, 3, 3)] {
        let ours = SessionSettings { hold_time_s: ours_s, ..ours() };
        let agreed = answer(ours, &raw_open(65000, theirs_s, 9, &[])).expect("nothing is wrong with it");
        assert_eq!(agreed.hold_time_s, agreed_s);
    }
}

#[test]
fn the_peer_is_who_its_as_number_says() {
    use AsnMatch::{Any, Exactly, External, Internal};
    for (asn, client, theirs, kind) in [
        (Internal, false, 65000, Some(PeerKind::Internal)),
        (Internal, true, 65000, Some(PeerKind::Client)),
        (Internal, false, 65001, None),
        (External, false, 65001, Some(PeerKind::External)),
        (External, true, 4_200_000_000, Some(PeerKind::External)),
        (Any, false, 65000, Some(PeerKind::Internal)),
        (Any, false, 1, Some(PeerKind::External)),
        (Exactly(4_200_000_000), false, 4_200_000_000, Some(PeerKind::External)),
        (Exactly(65000), false, 4_200_000_000, None),
    ] {
        let ours = SessionSettings { asn, route_reflector_client: client, ..ours() };
        let peer = SessionSettings { local_asn: theirs, ..peer_settings() };
        let agreed = answer(ours, &peer_open_body(&peer)).ok();
        assert_eq!(
            agreed.map(|it| (it.kind, it.peer_asn)),
            kind.map(|kind| (kind, theirs)),
            "{asn:?} {theirs}"
        );
    }
}

#[test]
fn a_shown_as_number_decides_who_is_internal() {
    let ours = SessionSettings { local_asn: 64999, asn: AsnMatch::Exactly(65000), ..ours() };
    let agreed = answer(ours, &raw_open(65000, 90, 9, &[])).expect("nothing is wrong with it");
    assert_eq!(agreed.kind, PeerKind::External);
}

/// RFC 5492 §3.
#[test]
fn a_peer_that_knows_no_capabilities_gets_an_open_without() {
    let mut lone = Lone::at(State::OpenSent, ours());
    lone.message(Slot::A, MessageKind::Notification, &[2, 4]);
    assert_ne!(lone.session.state(), State::Idle, "nothing to rest for");
    for plain in [true, false, true] {
        while lone.session.state() != State::Connect {
            lone.pass_s(1);
        }
        let outputs = lone.input(|session, now| session.handle_connected(Slot::A, now));
        let [Output::Send(_, bytes)] = &outputs[..] else { panic!("{outputs:?}") };
        let open = Open::decode(&bytes[HEADER_LEN..]).expect("our own OPEN");
        assert_eq!(open.capabilities.is_empty(), plain);
        lone.message(Slot::A, MessageKind::Notification, &[2, 4]);
    }
}

#[test]
fn without_capabilities_of_our_own_none_of_the_peers_count() {
    let mut lone = Lone::at(State::OpenSent, ours());
    lone.message(Slot::A, MessageKind::Notification, &[2, 4]);
    while lone.session.state() != State::Connect {
        lone.pass_s(1);
    }
    lone.input(|session, now| session.handle_connected(Slot::A, now));
    lone.message(Slot::A, MessageKind::Open, &peer_open_body(&peer_settings()));
    lone.message(Slot::A, MessageKind::Keepalive, &[]);
    let agreed = lone.session.negotiated().expect("it came up");
    assert_eq!(agreed.families, IPV4);
    assert!(!agreed.four_octet_as && !agreed.extended_message && agreed.restart.is_none());
}
