//! The events of RFC 4271 §8.1, one by one.

use std::io::ErrorKind;
use std::rc::Rc;

use super::lone::{Lone, notification, peer_open_body, peer_settings};
use super::network::{Network, empty_update, settings};
use crate::config::{AsnMatch, GracefulRestart, PeerSettings};
use crate::session::{Failure, Negotiated, Output, Session, SessionSettings, Slot, State};
use crate::types::{Family, FamilySet, Time};
use crate::wire::frame::MessageKind;
use crate::wire::notification::{self, Notification, cease};
use crate::wire::route_refresh::RefreshKind;

fn ours() -> SessionSettings {
    settings(0x0a00_0001)
}

fn without_restart(settings: SessionSettings) -> SessionSettings {
    SessionSettings {
        graceful_restart: GracefulRestart { enabled: false, ..settings.graceful_restart },
        ..settings
    }
}

#[test]
fn a_dialled_and_an_accepted_session_come_up() {
    for passive in [[false, true], [true, false], [false, false]] {
        let settings = [1, 2].map(|id| SessionSettings { passive: passive[id as usize - 1], ..settings(id) });
        let mut network = Network::started(settings, 7);
        let took_ms = network.run_until_up(5);
        assert!(took_ms < 2000, "{passive:?}: {took_ms} ms");
        for (end, peer) in [(0, 2), (1, 1)] {
            let session = &network.ends[end].session;
            let negotiated = session.negotiated().expect("it is up");
            assert_eq!(negotiated.router_id.0, peer);
            assert_eq!(negotiated.families, FamilySet::ALL);
            assert_eq!((negotiated.hold_time_s, session.established_count()), (90, 1));
        }
    }
}

#[test]
fn two_passive_ends_wait_for_ever() {
    let settings = [1, 2].map(|id| SessionSettings { passive: true, ..settings(id) });
    let mut network = Network::started(settings, 7);
    network.run_for(600);
    assert_eq!(network.states(), [State::Active; 2]);
    assert_eq!(network.ends[0].session.next_deadline(), None);
}

/// RFC 4271 §6.6, RFC 6608.
#[test]
fn unexpected_messages_are_errors_of_the_state_machine() {
    use MessageKind::{Keepalive, Open, RouteRefresh, Update};
    for (state, subcode, unexpected) in [
        (State::OpenSent, 1, &[Update, Keepalive, RouteRefresh][..]),
        (State::OpenConfirm, 2, &[Update, Open, RouteRefresh]),
        (State::Established, 3, &[Open]),
    ] {
        for kind in unexpected {
            let mut lone = Lone::at(state, without_restart(ours()));
            let outputs = lone.message(Slot::A, *kind, &peer_open_body(&peer_settings()));
            let error = Notification::with(notification::FSM, subcode, &[*kind as u8]);
            assert_eq!(notification(&outputs), Some((Slot::A, error)), "{kind:?} in {state}");
            assert_eq!(lone.session.state(), State::Idle);
            let down = outputs.contains(&Output::Down { retain: FamilySet::EMPTY });
            assert_eq!(down, state == State::Established);
        }
    }
}

#[test]
fn what_comes_after_the_end_is_ignored() {
    for kind in [MessageKind::Open, MessageKind::Update, MessageKind::Keepalive, MessageKind::Notification] {
        let mut lone = Lone::at(State::Established, ours());
        lone.input(|session, now| session.handle_shutdown("", now));
        assert_eq!(lone.message(Slot::A, kind, &[]), []);
        assert_eq!(lone.input(|session, now| session.handle_closed(Slot::A, None, now)), []);
        assert_eq!(lone.input(|session, now| session.handle_connected(Slot::B, now)), []);
    }
}

#[test]
fn the_hold_timer_expires_after_silence_only() {
    let mut lone = Lone::at(State::Established, without_restart(ours()));
    for _ in 0..20 {
        lone.pass_s(80);
        let now = lone.now;
        assert!(lone.session.update_arrived(Slot::A, now));
    }
    let outputs = lone.pass_s(91);
    assert_eq!(notification(&outputs), Some((Slot::A, Notification::new(4, 0))));
    assert!(outputs.contains(&Output::Down { retain: FamilySet::EMPTY }));
    // An expired timer is no reason to rest.
    assert_ne!(lone.session.state(), State::Idle);
}

#[test]
fn unread_bytes_are_no_silence() {
    let mut lone = Lone::at(State::Established, ours());
    lone.now = lone.now.plus_s(91);
    lone.input(|session, now| session.handle_timeout(true, now));
    assert_eq!(lone.session.state(), State::Established);
    lone.pass_s(91);
    assert_ne!(lone.session.state(), State::Established);
}

#[test]
fn no_timers_run_with_a_hold_time_of_zero() {
    let mut lone = Lone::at(State::OpenSent, SessionSettings { hold_time_s: 0, ..ours() });
    lone.message(Slot::A, MessageKind::Open, &peer_open_body(&peer_settings()));
    lone.message(Slot::A, MessageKind::Keepalive, &[]);
    assert_eq!(lone.session.state(), State::Established);
    assert_eq!(lone.session.next_deadline(), None);
}

#[test]
fn keepalives_fill_the_silence_only() {
    let mut lone = Lone::at(State::Established, ours());
    let now = lone.now;
    let sent = |lone: &mut Lone, s| {
        let now = lone.now;
        lone.session.handle_message(Slot::A, MessageKind::Keepalive, &[], now);
        lone.pass_s(s).iter().filter(|output| matches!(output, Output::Send(..))).count()
    };
    // A third of 90 s, shortened by up to a quarter.
    let count: usize = (0..100).map(|_| sent(&mut lone, 30)).sum();
    assert!((100..=134).contains(&count), "{count}");
    for _ in 0..100 {
        let now = lone.now;
        lone.session.note_sent(Slot::A, 1, now);
        assert_eq!(sent(&mut lone, 20), 0);
    }
    assert_eq!(lone.session.sent().update, 100);
    assert!(lone.now > now);
}

/// RFC 9687.
#[test]
fn a_peer_that_takes_nothing_is_given_up() {
    let mut lone = Lone::at(State::Established, ours());
    let mut outputs = Vec::new();
    for step in 0..100 {
        let now = lone.now;
        lone.session.handle_message(Slot::A, MessageKind::Keepalive, &[], now);
        lone.session.note_blocked(Slot::A, now);
        outputs = lone.pass_s(10);
        if !outputs.is_empty() {
            assert_eq!(step, 47, "480 s");
            break;
        }
    }
    assert_eq!(notification(&outputs), Some((Slot::A, Notification::new(8, 0))));
}

/// RFC 4486, RFC 9003.
#[test]
fn a_shutdown_says_why_and_lasts() {
    let mut lone = Lone::at(State::Established, without_restart(ours()));
    let outputs = lone.input(|session, now| session.handle_shutdown("moving to rack 7", now));
    let (_, sent) = notification(&outputs).expect("the peer is told");
    assert_eq!((sent.code, sent.subcode), (6, 2));
    assert_eq!(sent.communication().as_deref(), Some("moving to rack 7"));
    assert_eq!(lone.session.state(), State::Idle);
    assert_eq!(lone.pass_s(100_000), []);
    assert_eq!(lone.accept().0, None);
    let outputs = lone.input(|session, now| session.handle_start(now));
    assert_eq!(outputs, [Output::Connect(Slot::A)]);
}

#[test]
fn a_reset_comes_back_at_once() {
    let mut lone = Lone::at(State::Established, without_restart(ours()));
    let outputs = lone.input(|session, now| session.handle_reset("", now));
    assert_eq!(notification(&outputs).map(|(_, sent)| (sent.code, sent.subcode)), Some((6, 4)));
    assert!(outputs.contains(&Output::Connect(Slot::A)));
}

#[test]
fn a_removed_peer_is_told() {
    let mut lone = Lone::at(State::OpenConfirm, without_restart(ours()));
    let outputs = lone.input(|session, now| session.handle_deconfigured(now));
    assert_eq!(notification(&outputs), Some((Slot::A, Notification::new(6, 3))));
}

#[test]
fn only_what_a_session_cannot_go_on_with_needs_a_reset() {
    let mut lone = Lone::at(State::Established, ours());
    let later = SessionSettings {
        connect_retry_s: 3,
        passive: true,
        hold_time_s: 30,
        extended_messages: !ours().extended_messages,
        graceful_restart: GracefulRestart { restart_time_s: 7, ..ours().graceful_restart },
        ..ours()
    };
    let hold_time_s = lone.session.negotiated().expect("it is up").hold_time_s;
    assert_eq!(lone.input(|session, now| session.handle_reconfigured(Rc::new(later), now)), []);
    assert_eq!(lone.session.state(), State::Established);
    assert_eq!(lone.session.negotiated().expect("it is up").hold_time_s, hold_time_s);
    let loud = SessionSettings { families: FamilySet::only(Family::Ipv4Unicast), ..ours() };
    let outputs = lone.input(|session, now| session.handle_reconfigured(Rc::new(loud), now));
    assert_eq!(notification(&outputs).map(|(_, sent)| (sent.code, sent.subcode)), Some((6, 6)));
    assert!(lone.pass_s(2).contains(&Output::Connect(Slot::A)));
}

/// An OPEN is on its way that says what does not hold any more.
#[test]
fn a_connection_in_the_middle_of_its_opens_begins_anew_with_other_ones() {
    for state in [State::OpenSent, State::OpenConfirm] {
        let mut lone = Lone::at(state, without_restart(ours()));
        let later = SessionSettings { hold_time_s: 30, ..without_restart(ours()) };
        let outputs = lone.input(|session, now| session.handle_reconfigured(Rc::new(later), now));
        assert_eq!(notification(&outputs).map(|(_, sent)| (sent.code, sent.subcode)), Some((6, 6)));
        let same = lone.session.settings().as_ref().clone();
        assert!(lone.pass_s(2).contains(&Output::Connect(Slot::A)));
        lone.input(|session, now| session.handle_connected(Slot::A, now));
        let quiet = SessionSettings { connect_retry_s: 3, ..same };
        assert_eq!(lone.input(|session, now| session.handle_reconfigured(Rc::new(quiet), now)), []);
    }
}

/// RFC 4486 §4.
#[test]
fn a_prefix_limit_takes_the_session_down_for_its_time() {
    for restart_s in [Some(60), None] {
        let mut lone = Lone::at(State::Established, without_restart(ours()));
        let outputs =
            lone.input(|session, now| session.handle_prefix_limit(Family::Ipv6Unicast, 1000, restart_s, now));
        let error = Notification::with(6, cease::PREFIX_LIMIT, &[0, 2, 1, 0, 0, 3, 0xe8]);
        assert_eq!(notification(&outputs), Some((Slot::A, error)));
        assert_eq!(lone.pass_s(59), []);
        assert_eq!((lone.session.state(), lone.accept().0), (State::Idle, None));
        assert!(lone.session.rests_at_prefix_limit());
        let outputs = lone.pass_s(2);
        assert_eq!(outputs.contains(&Output::Connect(Slot::A)), restart_s.is_some());
        assert_eq!(lone.session.rests_at_prefix_limit(), restart_s.is_none());
        lone.pass_s(1_000_000);
        let started = lone.input(|session, now| session.handle_start(now));
        assert!(restart_s.is_some() || started == [Output::Connect(Slot::A)]);
    }
}

#[test]
fn pauses_between_dials_grow_to_the_configured_one() {
    let mut lone = Lone::at(State::Connect, ours());
    let mut pauses_ms = Vec::new();
    for _ in 0..8 {
        let failed_at = lone.now;
        lone.input(|session, now| session.handle_closed(Slot::A, Some(ErrorKind::ConnectionRefused), now));
        assert_eq!(lone.session.state(), State::Active);
        while lone.session.state() == State::Active {
            lone.now = lone.session.next_deadline().expect("it dials again");
            lone.input(|session, now| session.handle_timeout(false, now));
        }
        pauses_ms.push(lone.now.since_ms(failed_at));
    }
    for (pause_ms, full_ms) in
        pauses_ms.iter().zip([2000, 4000, 8000, 10_000, 10_000, 10_000, 10_000, 10_000])
    {
        assert!((full_ms * 3 / 4..=full_ms).contains(pause_ms), "{pauses_ms:?}");
    }
    let failures = lone.session.failures().expect("there were some");
    assert_eq!(
        failures.last().map(|last| &last.failure),
        Some(&Failure::NotConnected(ErrorKind::ConnectionRefused))
    );
}

#[test]
fn errors_make_the_session_rest_longer_each_time() {
    let mut lone = Lone::at(State::Connect, ours());
    let mut rests_ms = Vec::new();
    for _ in 0..6 {
        lone.input(|session, now| session.handle_connected(Slot::A, now));
        let failed_at = lone.now;
        lone.message(Slot::A, MessageKind::Open, &[]);
        assert_eq!((lone.session.state(), lone.accept().0), (State::Idle, None));
        while lone.session.state() == State::Idle {
            lone.now = lone.session.next_deadline().expect("it rests for a while");
            lone.input(|session, now| session.handle_timeout(false, now));
        }
        rests_ms.push(lone.now.since_ms(failed_at));
        while lone.session.state() != State::Connect {
            lone.now = lone.session.next_deadline().expect("it dials again");
            lone.input(|session, now| session.handle_timeout(false, now));
        }
    }
    for (rest_ms, full_ms) in rests_ms.iter().zip([1000, 2000, 4000, 8000, 10_000, 10_000]) {
        assert!((full_ms * 3 / 4..=full_ms).contains(rest_ms), "{rests_ms:?}");
    }
}

#[test]
fn a_peer_that_comes_back_is_found_within_seconds() {
    for dark in [false, true] {
        // The pause that is configured unless somebody says otherwise.
        let connect_retry_s = PeerSettings::new(AsnMatch::Any, FamilySet::ALL, String::new()).connect_retry_s;
        let dials = SessionSettings { connect_retry_s, ..settings(1) };
        let settings = [dials, SessionSettings { passive: true, ..settings(2) }];
        let mut network = Network::started(settings, 3);
        network.run_until_up(5);
        match dark {
            true => network.lose_power(1),
            false => network.crash(1, true),
        }
        network.dark = dark;
        network.run_for(3600);
        network.dark = false;
        network.boot(1);
        let took_ms = network.run_until_up(60);
        // The pause of 8 s, or the rest of a dial that nobody answered and then the pause.
        assert!(took_ms < if dark { 16_500 } else { 8_500 }, "{took_ms} ms");
    }
}

/// The peer's kernel resets what it does not know: no need to wait for a hold timer.
#[test]
fn a_rebooted_peer_that_dials_is_taken_back_within_seconds() {
    for restart in [false, true] {
        let choose = |settings| if restart { settings } else { without_restart(settings) };
        let settings = [SessionSettings { passive: true, ..settings(1) }, settings(2)].map(choose);
        let mut network = Network::started(settings, 11);
        network.run_until_up(5);
        network.crash_silently(1);
        let took_ms = network.run_until_up(30);
        assert!(took_ms < 5000, "{took_ms} ms, graceful restart {restart}");
    }
}

#[test]
fn bad_bytes_are_answered_and_the_session_returns() {
    let mut network = Network::started([settings(1), settings(2)].map(without_restart), 5);
    network.run_until_up(5);
    network.write(0, &[0; 19]);
    while network.ends[1].log.len() < 2 {
        network.step(Time(u64::MAX));
    }
    let failures = network.ends[1].session.failures().expect("there was one");
    let sent = Failure::Sent(Notification::new(notification::HEADER, notification::header::NOT_SYNCHRONIZED));
    assert_eq!(failures.sent.as_ref().map(|past| &past.failure), Some(&sent));
    network.run_until_up(30);
    let failures = network.ends[0].session.failures().expect("there was one");
    assert_eq!(
        failures.received.as_ref().map(|past| past.failure.to_string()).as_deref(),
        Some("received message header error (1): connection not synchronized (1)")
    );
}

#[test]
fn refreshes_are_handed_on_for_families_in_use() {
    let mut lone = Lone::at(
        State::OpenSent,
        SessionSettings { families: FamilySet::only(Family::Ipv4Unicast), ..ours() },
    );
    lone.message(Slot::A, MessageKind::Open, &peer_open_body(&peer_settings()));
    lone.message(Slot::A, MessageKind::Keepalive, &[]);
    let mut refresh = |body: &[u8]| lone.message(Slot::A, MessageKind::RouteRefresh, body);
    let told = |kind| vec![Output::RouteRefresh(Family::Ipv4Unicast, kind)];
    assert_eq!(refresh(&[0, 1, 0, 1]), told(RefreshKind::Request));
    assert_eq!(refresh(&[0, 1, 1, 1]), told(RefreshKind::Begin));
    assert_eq!(refresh(&[0, 1, 2, 1]), told(RefreshKind::End));
    assert_eq!(refresh(&[0, 1, 3, 1]), [], "unknown subtype");
    assert_eq!(refresh(&[0, 2, 0, 1]), [], "a family that was not agreed on");
    assert_eq!(refresh(&[0, 99, 0, 1]), [], "a family that nobody knows");
    let outputs = refresh(&[0, 1, 2, 1, 0]);
    assert_eq!(notification(&outputs).map(|(_, sent)| (sent.code, sent.subcode)), Some((7, 1)));
}

/// RFC 7313 §4: what is stale since the beginning of a refresh must not stay for ever.
#[test]
fn a_refresh_that_does_not_end_in_its_time_is_ended() {
    let stale_time_s = u64::from(ours().graceful_restart.stale_time_s);
    let quiet = |settings| SessionSettings { hold_time_s: 0, ..settings };
    let mut lone = Lone::at(State::Established, quiet(ours()));
    let told = |kind| vec![Output::RouteRefresh(Family::Ipv6Unicast, kind)];
    let (begin, end) = ([0, 2, 1, 1], [0, 2, 2, 1]);
    let gone = [Output::RemoveStale(FamilySet::only(Family::Ipv6Unicast))];
    assert_eq!(lone.message(Slot::A, MessageKind::RouteRefresh, &begin), told(RefreshKind::Begin));
    assert_eq!(lone.pass_s(stale_time_s - 1), []);
    assert_eq!(lone.message(Slot::A, MessageKind::RouteRefresh, &begin), [], "it has begun");
    assert_eq!(lone.pass_s(1), gone, "beginning again is no way to go on for ever");
    assert_eq!(lone.message(Slot::A, MessageKind::RouteRefresh, &end), [], "it was ended already");
    // One that ends in time leaves nothing to be ended, and so does one whose session goes down.
    assert_eq!(lone.message(Slot::A, MessageKind::RouteRefresh, &begin), told(RefreshKind::Begin));
    assert_eq!(lone.message(Slot::A, MessageKind::RouteRefresh, &end), told(RefreshKind::End));
    assert_eq!(lone.pass_s(2 * stale_time_s), []);
    lone.message(Slot::A, MessageKind::RouteRefresh, &begin);
    lone.input(|session, now| session.handle_shutdown("", now));
    assert_eq!(lone.session.next_deadline(), None);
}

#[test]
fn a_dynamic_peer_leaves_when_it_is_down() {
    let mut session = Session::new(Rc::new(without_restart(ours())), true, 1);
    session.handle_start(Time(0));
    assert_eq!((session.poll_output(), session.next_deadline()), (None, None), "it never dials");
    let slot = session.handle_accepted(Time(1)).expect("it is awaited");
    assert!(matches!(session.poll_output(), Some(Output::Send(..))));
    session.handle_closed(slot, None, Time(2));
    assert_eq!(session.poll_output(), Some(Output::Gone));
}

#[test]
fn a_dynamic_peer_over_its_limit_is_remembered() {
    let mut session = Session::new(Rc::new(without_restart(ours())), true, 1);
    session.handle_start(Time(0));
    let slot = session.handle_accepted(Time(0)).expect("it is awaited");
    session.handle_message(slot, MessageKind::Open, &peer_open_body(&peer_settings()), Time(0));
    session.handle_message(slot, MessageKind::Keepalive, &[], Time(0));
    session.handle_prefix_limit(Family::Ipv4Unicast, 10, None, Time(0));
    let mut outputs = std::iter::from_fn(|| session.poll_output());
    assert!(!outputs.any(|output| output == Output::Gone));
    assert_eq!((session.handle_accepted(Time(1 << 40)), session.next_deadline()), (None, None));
    session.handle_start(Time(1 << 40));
    assert_eq!(session.poll_output(), Some(Output::Gone));
}

#[test]
fn nobody_stays_in_open_confirm_for_ever() {
    for hold_time_s in [0, 90] {
        let mut lone = Lone::at(State::OpenConfirm, SessionSettings { hold_time_s, ..ours() });
        let outputs = lone.pass_s(241);
        assert_eq!(notification(&outputs), Some((Slot::A, Notification::new(4, 0))));
    }
}

#[test]
fn messages_are_counted() {
    let mut network = Network::started([settings(1), SessionSettings { passive: true, ..settings(2) }], 9);
    network.run_until_up(5);
    network.write(0, &empty_update());
    network.run_for(300);
    let [a, b] = &network.ends;
    assert_eq!(b.session.received().update, 1);
    assert_eq!(a.session.sent().open, b.session.received().open);
    assert_eq!(a.session.sent().keepalive, b.session.received().keepalive);
    assert!(a.session.sent().keepalive > 10);
}

#[test]
fn a_session_is_small() {
    assert!(size_of::<Session>() <= 600, "{} bytes", size_of::<Session>());
    assert!(size_of::<Negotiated>() <= 80, "{} bytes", size_of::<Negotiated>());
}
