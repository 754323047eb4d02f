//! Connection collision (RFC 4271 §6.8, RFC 6286 §2.3).

use super::lone::{Lone, notification, peer_open_body, peer_settings};
use super::network::{Network, settings};
use crate::config::AsnMatch;
use crate::session::{Output, SessionSettings, Slot, State};
use crate::types::{FamilySet, RouterId};
use crate::wire::frame::MessageKind;
use crate::wire::notification::Notification;

const OUT: Slot = Slot::A;
const IN: Slot = Slot::B;

fn without_restart(mut settings: SessionSettings) -> SessionSettings {
    settings.graceful_restart.enabled = false;
    settings
}

/// A session with one dialled and one accepted connection, both in OpenSent.
fn colliding(settings: SessionSettings) -> Lone {
    let mut lone = Lone::at(State::OpenSent, settings);
    assert_eq!(lone.accept().0, Some(IN));
    lone
}

#[test]
fn the_connection_of_the_larger_identifier_stays() {
    let peer = peer_open_body(&peer_settings());
    for (our_id, stays) in [(0x0a00_0001, IN), (0x0a00_0003, OUT)] {
        for first in Slot::ALL {
            let mut lone = colliding(settings(our_id));
            lone.message(first, MessageKind::Open, &peer);
            assert_eq!(lone.session.slot_state(first), State::OpenConfirm);
            let outputs = lone.message(first.other(), MessageKind::Open, &peer);
            let (lost, sent) = notification(&outputs).expect("one is closed");
            assert_eq!((lost, sent), (stays.other(), Notification::new(6, 7)), "{our_id:x} {first:?}");
            assert_eq!(lone.session.slot_state(stays), State::OpenConfirm);
            let outputs = lone.message(stays, MessageKind::Keepalive, &[]);
            assert_eq!(outputs, [Output::Established(stays)]);
        }
    }
}

#[test]
fn between_equal_identifiers_the_larger_as_number_decides() {
    for (our_asn, stays) in [(65001, IN), (65003, OUT)] {
        let ours = SessionSettings { local_asn: our_asn, asn: AsnMatch::Exactly(65002), ..settings(7) };
        let theirs = SessionSettings { local_asn: 65002, ..settings(7) };
        let mut lone = colliding(ours);
        for slot in Slot::ALL {
            lone.message(slot, MessageKind::Open, &peer_open_body(&theirs));
        }
        assert_eq!(lone.session.slot_state(stays), State::OpenConfirm);
        assert_eq!(lone.session.slot_state(stays.other()), State::Idle);
    }
}

#[test]
fn a_connection_that_comes_up_ends_the_other_in_any_state() {
    let peer = peer_open_body(&peer_settings());
    let mut lone = colliding(settings(1));
    lone.message(OUT, MessageKind::Open, &peer);
    let outputs = lone.message(OUT, MessageKind::Keepalive, &[]);
    assert_eq!(notification(&outputs), Some((IN, Notification::new(6, 7))));
    assert!(outputs.contains(&Output::Established(OUT)));

    let mut lone = Lone::at(State::Connect, settings(1));
    assert_eq!(lone.accept().0, Some(IN));
    lone.message(IN, MessageKind::Open, &peer);
    let outputs = lone.message(IN, MessageKind::Keepalive, &[]);
    assert_eq!(outputs, [Output::Close(OUT), Output::Established(IN)]);
}

/// The established connection of a peer that does not restart gracefully is not given up for a new one; it is
/// probed.
#[test]
fn an_established_connection_stays_but_is_probed() {
    let mut lone = Lone::at(State::OpenSent, settings(1));
    lone.message(OUT, MessageKind::Open, &peer_open_body(&without_restart(peer_settings())));
    lone.message(OUT, MessageKind::Keepalive, &[]);
    let (slot, outputs) = lone.accept();
    assert_eq!(slot, Some(IN));
    assert!(matches!(&outputs[..], [Output::Send(OUT, probe), Output::Send(IN, _)] if probe.len() == 19));
    let outputs = lone.message(IN, MessageKind::Open, &peer_open_body(&peer_settings()));
    assert_eq!(notification(&outputs), Some((IN, Notification::new(6, 7))));
    assert_eq!(lone.session.established(), Some(OUT));
}

/// RFC 4724 §4.2: with it, the new connection takes over as soon as the peer has confirmed it.
#[test]
fn with_graceful_restart_a_confirmed_connection_takes_over() {
    let mut lone = Lone::at(State::Established, settings(1));
    assert_eq!(lone.accept().0, Some(IN));
    lone.message(IN, MessageKind::Open, &peer_open_body(&peer_settings()));
    assert_eq!(lone.session.established(), Some(OUT), "an OPEN alone ends nothing");
    let outputs = lone.message(IN, MessageKind::Keepalive, &[]);
    let expected = [
        Output::Close(OUT),
        Output::Down { retain: FamilySet::ALL },
        Output::Established(IN),
        // The peer's OPEN does not say that it kept forwarding.
        Output::RemoveStale(FamilySet::ALL),
    ];
    assert_eq!(outputs, expected);
    // And once more, with the places exchanged.
    assert_eq!(lone.accept().0, Some(OUT));
    lone.message(OUT, MessageKind::Open, &peer_open_body(&peer_settings()));
    lone.message(OUT, MessageKind::Keepalive, &[]);
    assert_eq!(lone.session.established(), Some(OUT));
}

#[test]
fn a_peer_that_dials_again_has_lost_its_connection_before() {
    let mut lone = colliding(settings(1));
    for _ in 0..3 {
        let (slot, outputs) = lone.accept();
        assert_eq!(slot, Some(IN));
        assert!(matches!(&outputs[..], [Output::Send(IN, _)]), "{outputs:?}");
    }
    assert_eq!(lone.session.slot_state(OUT), State::OpenSent);
}

/// Both dial, with every interleaving that the seeds yield: one connection is left, the same at both ends.
#[test]
fn both_dial_at_once_and_one_connection_is_left() {
    for seed in 0..2000 {
        let ids = if seed % 2 == 0 { [1, 2] } else { [2, 1] };
        let both = ids.map(settings);
        let both = if seed % 4 < 2 { both } else { both.map(without_restart) };
        let mut network = Network::started(both, seed);
        network.latency_ms_max = 1 + seed % 50;
        let took_ms = network.run_until_up(30);
        assert!(took_ms < 15_000, "seed {seed}: {took_ms} ms");
        network.run_for(60);
        assert!(network.is_up(), "seed {seed}");
        for end in &network.ends {
            assert!(end.session.established_count() <= 2, "seed {seed}: flaps");
            assert_eq!(
                end.session.negotiated().map(|it| it.router_id.0 + end.session.settings().router_id.0),
                Some(3)
            );
        }
    }
}

#[test]
fn identifiers_need_not_differ_between_ases() {
    let left = SessionSettings { local_asn: 65001, asn: AsnMatch::External, ..settings(9) };
    let right = SessionSettings { local_asn: 65002, asn: AsnMatch::External, ..settings(9) };
    let mut network = Network::started([left, right], 1);
    network.run_until_up(10);
    assert_eq!(network.ends[0].session.negotiated().map(|it| it.router_id), Some(RouterId(9)));
}
