//! Graceful restart (RFC 4724) and what NOTIFICATIONs do to it (RFC 8538).

use std::io::ErrorKind;
use std::rc::Rc;

use super::lone::{Lone, peer_settings};
use super::network::{Network, settings};
use crate::config::GracefulRestart;
use crate::session::{Output, OwnRestart, Session, SessionSettings, Slot, State, negotiate};
use crate::types::{Family, FamilySet, Time};
use crate::wire::frame::{HEADER_LEN, MessageKind};
use crate::wire::notification::Notification;
use crate::wire::open::Open;

const NONE: FamilySet = FamilySet::EMPTY;
const ALL: FamilySet = FamilySet::ALL;
const IPV4: FamilySet = FamilySet::only(Family::Ipv4Unicast);
const IPV6: FamilySet = FamilySet::only(Family::Ipv6Unicast);

fn graceful(enabled: bool, notification: bool, restart_time_s: u16) -> GracefulRestart {
    GracefulRestart { enabled, notification, restart_time_s, stale_time_s: 300 }
}

fn open_body(settings: &SessionSettings, forwarding: FamilySet) -> Vec<u8> {
    negotiate::our_open(settings, false, true, forwarding)[HEADER_LEN..].to_vec()
}

/// A session that is up with a peer of these settings.
fn up_with(ours: SessionSettings, peer: &SessionSettings) -> Lone {
    let mut lone = Lone::at(State::OpenSent, ours);
    lone.message(Slot::A, MessageKind::Open, &open_body(peer, NONE));
    lone.message(Slot::A, MessageKind::Keepalive, &[]);
    assert_eq!(lone.session.state(), State::Established);
    lone
}

/// Lets the peer come back with an OPEN that claims to have kept forwarding for these families.
fn come_back(lone: &mut Lone, peer: &SessionSettings, forwarding: FamilySet) -> Vec<Output> {
    let slot = lone.accept().0.expect("the peer is awaited");
    lone.message(slot, MessageKind::Open, &open_body(peer, forwarding));
    lone.message(slot, MessageKind::Keepalive, &[])
}

fn retained(outputs: &[Output]) -> FamilySet {
    let downs: Vec<_> = outputs
        .iter()
        .filter_map(|output| match output {
            Output::Down { retain } => Some(*retain),
            _ => None,
        })
        .collect();
    assert_eq!(downs.len(), 1, "{outputs:?}");
    downs[0]
}

#[test]
fn routes_are_kept_where_the_peer_asks_for_it() {
    type Loss = (&'static str, fn(&mut Session, Time));
    let silent: [Loss; 2] = [
        ("end", |session, now| session.handle_closed(Slot::A, None, now)),
        ("reset", |session, now| session.handle_closed(Slot::A, Some(ErrorKind::ConnectionReset), now)),
    ];
    let notified: [Loss; 5] = [
        ("cease received", |session, now| {
            session.handle_message(Slot::A, MessageKind::Notification, &[6, 6], now);
        }),
        ("error received", |session, now| {
            session.handle_message(Slot::A, MessageKind::Notification, &[3, 1], now);
        }),
        ("error sent", |session, now| session.handle_error(Slot::A, Notification::new(3, 1), now)),
        ("hold timer", |session, now| session.handle_timeout(false, now.plus_s(91))),
        ("reconfigured", |session, now| {
            let settings = SessionSettings {
                extended_next_hop: !session.settings().extended_next_hop,
                ..session.settings().as_ref().clone()
            };
            session.handle_reconfigured(Rc::new(settings), now);
        }),
    ];
    let final_losses: [Loss; 5] = [
        ("hard reset received", |session, now| {
            session.handle_message(Slot::A, MessageKind::Notification, &[6, 9, 6, 2], now);
        }),
        ("shutdown", |session, now| session.handle_shutdown("", now)),
        ("reset by a person", |session, now| session.handle_reset("", now)),
        ("removed", |session, now| session.handle_deconfigured(now)),
        ("prefix limit", |session, now| {
            session.handle_prefix_limit(Family::Ipv4Unicast, 1, None, now);
        }),
    ];
    for (ours_on, ours_n, theirs_on, theirs_n) in
        (0..16).map(|bits| (bits & 1 != 0, bits & 2 != 0, bits & 4 != 0, bits & 8 != 0))
    {
        let ours = SessionSettings { graceful_restart: graceful(ours_on, ours_n, 120), ..settings(1) };
        let peer = SessionSettings { graceful_restart: graceful(theirs_on, theirs_n, 60), ..peer_settings() };
        let both = ours_on && theirs_on;
        let check = |losses: &[Loss], keeps: bool| {
            for (what, loss) in losses {
                let mut lone = up_with(ours.clone(), &peer);
                let outputs = lone.input(loss);
                let expected = if keeps { ALL } else { NONE };
                let context = format!("{what}, {ours_on} {ours_n} {theirs_on} {theirs_n}");
                assert_eq!(retained(&outputs), expected, "{context}");
                let until = keeps.then(|| lone.session.retained().1).flatten();
                assert_eq!(until.is_some(), keeps, "{context}");
            }
        };
        // Who is asked to keep routes keeps them, whatever it asks for itself.
        check(&silent, theirs_on);
        check(&notified, both && ours_n && theirs_n);
        check(&final_losses, false);
    }
}

#[test]
fn what_ends_for_good_is_sent_as_a_hard_reset() {
    for (agreed, code) in [(true, [6, 9, 6, 2]), (false, [6, 2, 0, 0])] {
        let peer = SessionSettings { graceful_restart: graceful(true, agreed, 60), ..peer_settings() };
        let mut lone = up_with(settings(1), &peer);
        let outputs = lone.input(|session, now| session.handle_shutdown("x", now));
        let (_, sent) = super::lone::notification(&outputs).expect("the peer is told");
        assert_eq!((sent.code, sent.subcode), (code[0], code[1]));
        assert_eq!(
            sent.unwrap_hard_reset().map(|inner| (inner.code, inner.subcode)),
            agreed.then_some((6, 2))
        );
        assert_eq!(sent.communication().as_deref(), Some("x"));
    }
}

#[test]
fn only_families_of_the_capability_are_kept() {
    // The peer routes both families and can restart for those of another OPEN of its own.
    let mut body = open_body(&SessionSettings { families: ALL, ..peer_settings() }, NONE);
    let tuple = [0, 2, 1, 0];
    let at = body.windows(4).rposition(|window| window == tuple).expect("IPv6 is listed");
    body[at + 1] = 9;
    let mut lone = Lone::at(State::OpenSent, settings(1));
    lone.message(Slot::A, MessageKind::Open, &body);
    lone.message(Slot::A, MessageKind::Keepalive, &[]);
    let outputs = lone.input(|session, now| session.handle_closed(Slot::A, None, now));
    assert_eq!(retained(&outputs), IPV4);
}

#[test]
fn a_peer_that_does_not_return_in_its_time_loses_its_routes() {
    let peer = SessionSettings { graceful_restart: graceful(true, true, 60), ..peer_settings() };
    let mut lone = up_with(settings(1), &peer);
    let quiet = SessionSettings { passive: true, ..settings(1) };
    lone.input(|session, now| session.handle_reconfigured(Rc::new(quiet), now));
    lone.input(|session, now| session.handle_closed(Slot::A, None, now));
    assert_eq!(lone.pass_s(59), []);
    assert_eq!(lone.pass_s(2), [Output::RemoveStale(ALL)]);
    let outputs = come_back(&mut lone, &peer, ALL);
    assert!(!outputs.iter().any(|output| matches!(output, Output::RemoveStale(_))), "they are gone already");
}

#[test]
fn a_restart_time_of_zero_keeps_nothing() {
    let peer = SessionSettings { graceful_restart: graceful(true, true, 0), ..peer_settings() };
    let mut lone = up_with(settings(1), &peer);
    let outputs = lone.input(|session, now| session.handle_closed(Slot::A, None, now));
    assert_eq!(retained(&outputs), NONE);
}

#[test]
fn a_returned_peer_keeps_the_families_that_it_kept_forwarding_for() {
    let without = SessionSettings { graceful_restart: graceful(false, false, 0), ..peer_settings() };
    let one_family = SessionSettings { families: IPV6, ..peer_settings() };
    for (what, peer, forwarding, removed) in [
        ("all kept", &peer_settings(), ALL, None),
        ("one lost", &peer_settings(), IPV4, Some(IPV6)),
        ("all lost", &peer_settings(), NONE, Some(ALL)),
        ("no capability any more", &without, ALL, Some(ALL)),
        ("a family is missing", &one_family, ALL, Some(IPV4)),
    ] {
        let mut lone = up_with(settings(1), &peer_settings());
        lone.input(|session, now| session.handle_closed(Slot::A, None, now));
        let outputs = come_back(&mut lone, peer, forwarding);
        let stale = outputs.iter().find_map(|output| match output {
            Output::RemoveStale(families) => Some(*families),
            _ => None,
        });
        assert_eq!(stale, removed, "{what}");
        let up = outputs.iter().position(|output| matches!(output, Output::Established(_)));
        assert!(up.is_some(), "{what}");
    }
}

#[test]
fn a_family_that_is_no_longer_routed_is_not_waited_for() {
    let mut lone = up_with(settings(1), &peer_settings());
    lone.input(|session, now| session.handle_closed(Slot::A, None, now));
    // The new OPEN claims forwarding for IPv4 but no longer has the family itself.
    let mut body = open_body(&peer_settings(), ALL);
    let multiprotocol = [1, 4, 0, 1, 0, 1];
    let at = body.windows(6).position(|window| window == multiprotocol).expect("IPv4 is listed");
    body[at + 3] = 9;
    let slot = lone.accept().0.expect("the peer is awaited");
    lone.message(slot, MessageKind::Open, &body);
    let outputs = lone.message(slot, MessageKind::Keepalive, &[]);
    assert_eq!(outputs.last(), Some(&Output::RemoveStale(IPV4)));
    assert_eq!(lone.session.retained().0, IPV6);
}

#[test]
fn end_of_rib_ends_the_wait_a_family_at_a_time() {
    let mut lone = up_with(settings(1), &peer_settings());
    lone.input(|session, now| session.handle_closed(Slot::A, None, now));
    come_back(&mut lone, &peer_settings(), ALL);
    let mut end_of_rib = |family| lone.input(|session, _| session.handle_end_of_rib(family));
    assert_eq!(end_of_rib(Family::Ipv6Unicast), [Output::RemoveStale(IPV6)]);
    assert_eq!(end_of_rib(Family::Ipv6Unicast), []);
    assert_eq!(end_of_rib(Family::Ipv4Unicast), [Output::RemoveStale(IPV4)]);
    assert_eq!(lone.session.retained(), (NONE, None));
}

#[test]
fn the_stale_time_ends_the_wait_for_end_of_rib() {
    let mut lone = up_with(SessionSettings { hold_time_s: 0, ..settings(1) }, &peer_settings());
    lone.input(|session, now| session.handle_closed(Slot::A, None, now));
    come_back(&mut lone, &peer_settings(), ALL);
    assert_eq!(lone.pass_s(299), []);
    assert_eq!(lone.pass_s(2), [Output::RemoveStale(ALL)]);
}

/// RFC 4724 §4.2: the wait starts anew, with what was not refreshed gone (the owner sees to that at Down).
#[test]
fn a_peer_may_restart_again_before_it_is_done() {
    let mut lone = up_with(settings(1), &peer_settings());
    for _ in 0..3 {
        let slot = lone.session.established().expect("it is up");
        let outputs = lone.input(|session, now| session.handle_closed(slot, None, now));
        assert_eq!(retained(&outputs), ALL);
        assert_eq!(lone.session.retained(), (ALL, Some(lone.now.plus_s(120))));
        come_back(&mut lone, &peer_settings(), ALL);
        lone.input(|session, _| session.handle_end_of_rib(Family::Ipv4Unicast));
    }
}

#[test]
fn a_shutdown_while_waiting_removes_the_routes() {
    let mut lone = up_with(settings(1), &peer_settings());
    lone.input(|session, now| session.handle_closed(Slot::A, None, now));
    let outputs = lone.input(|session, now| session.handle_shutdown("", now));
    assert_eq!(outputs, [Output::RemoveStale(ALL)]);
}

#[test]
fn a_dynamic_peer_is_kept_while_its_routes_are() {
    let mut session = Session::new(Rc::new(settings(1)), true, 1);
    session.handle_start(Time(0));
    let slot = session.handle_accepted(Time(0)).expect("it is awaited");
    session.handle_message(slot, MessageKind::Open, &open_body(&peer_settings(), NONE), Time(0));
    session.handle_message(slot, MessageKind::Keepalive, &[], Time(0));
    session.handle_closed(slot, None, Time(0));
    let outputs: Vec<_> = std::iter::from_fn(|| session.poll_output()).collect();
    assert_eq!(outputs.last(), Some(&Output::Down { retain: ALL }));
    let deadline = session.next_deadline().expect("the restart timer runs");
    session.handle_timeout(false, deadline);
    assert_eq!(session.poll_output(), Some(Output::RemoveStale(ALL)));
    assert_eq!(session.poll_output(), Some(Output::Gone));
}

/// RFC 4724 §4.1, our own restart: the bits of our OPEN.
#[test]
fn our_open_tells_of_our_restart_until_the_session_was_up() {
    let mut lone = Lone::new(settings(1));
    let until = lone.now.plus_s(120);
    lone.session.set_restart(OwnRestart { until, forwarding: IPV4 });
    let bits = |outputs: &[Output]| {
        let bytes = outputs.iter().find_map(|output| match output {
            Output::Send(_, bytes) if bytes[18] == 1 => Some(bytes),
            _ => None,
        })?;
        let open = Open::decode(&bytes[HEADER_LEN..]).ok()?;
        let restart = open.graceful_restart()?;
        Some((restart.restarting, restart.families.iter().map(|it| it.forwarding).collect::<Vec<_>>()))
    };
    lone.input(|session, now| session.handle_start(now));
    let outputs = lone.input(|session, now| session.handle_connected(Slot::A, now));
    assert_eq!(bits(&outputs), Some((true, vec![true, false])));
    lone.message(Slot::A, MessageKind::Open, &open_body(&peer_settings(), NONE));
    lone.message(Slot::A, MessageKind::Keepalive, &[]);
    // Another connection says nothing of a restart, but still that forwarding goes on.
    assert_eq!(bits(&lone.accept().1), Some((false, vec![true, false])));

    let mut late = Lone::new(settings(1));
    late.session.set_restart(OwnRestart { until: late.now, forwarding: NONE });
    late.input(|session, now| session.handle_start(now));
    let outputs = late.input(|session, now| session.handle_connected(Slot::A, now));
    assert_eq!(bits(&outputs), Some((false, vec![false, false])));
}

#[test]
fn a_restarted_process_is_waited_for_end_to_end() {
    let mut network = Network::started([settings(1), settings(2)], 21);
    network.run_until_up(5);
    network.crash(1, true);
    network.ends[1].session.set_restart(OwnRestart { until: network.now.plus_s(120), forwarding: ALL });
    network.run_for(20);
    network.boot(1);
    network.run_until_up(20);
    let log: Vec<_> = network.ends[0].log.iter().map(|(_, output)| output.clone()).collect();
    let [.., Output::Established(_), Output::Down { retain: ALL }, Output::Established(_)] = &log[..] else {
        panic!("{log:?}");
    };
    assert!(network.ends[0].session.negotiated().and_then(|it| it.restart).is_some_and(|it| it.restarting));
    assert_eq!(network.ends[0].session.retained().0, ALL);
}
