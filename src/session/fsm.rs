//! The inputs of the state machine, one method an event (RFC 4271 §8.1), and what they lead to (§8.2.2).

use std::borrow::Cow;
use std::io::ErrorKind;
use std::rc::Rc;

use crate::types::{Family, FamilySet, Time};
use crate::wire::frame::{HEADER_LEN, MessageKind};
use crate::wire::notification::{self, Notification, cease, fsm};
use crate::wire::route_refresh::{RefreshKind, RouteRefresh};

use super::connection::{Connection, Due, Slot, State};
use super::negotiate::{self, Negotiated};
use super::output::Output;
use super::stats::Failure;
use super::{NEVER, Session, SessionSettings};

/// A KEEPALIVE: a header and no more.
const KEEPALIVE: [u8; HEADER_LEN] = {
    let mut message = [0xff; HEADER_LEN];
    message[16] = 0;
    message[17] = HEADER_LEN as u8;
    message[18] = MessageKind::Keepalive as u8;
    message
};
const COLLISION: Notification = Notification::new(notification::CEASE, cease::COLLISION);

/// A session that was up for this long has shown that its errors are not a habit.
const STABLE_MS: u64 = 60_000;

impl Session {
    /// ManualStart: dial, and accept connections. Ends any rest, and forgets earlier failures.
    pub fn handle_start(&mut self, now: Time) {
        if !self.running {
            self.running = true;
            self.changed_at = now;
        }
        let rested = self.idle_until.take().is_some();
        (self.errors, self.dial_failures) = (0, 0);
        if self.connections.iter().all(|connection| connection.state == State::Idle) {
            self.dial_at = if self.never_dials() { NEVER } else { now };
            self.dial_when_due(now);
        }
        if rested {
            self.say_if_gone();
        }
    }

    /// ManualStop: tell the peer why (Cease, Administrative Shutdown, with RFC 9003's words for people) and
    /// stay down until [`Session::handle_start`]. Nothing is retained, here or at the peer.
    pub fn handle_shutdown(&mut self, reason: &str, now: Time) {
        self.stop(&Notification::cease_with_communication(cease::SHUTDOWN, reason), now);
    }

    /// The peer is no longer configured: like a shutdown, with Cease, Peer De-configured. The session can be
    /// dropped once its outputs are carried out.
    pub fn handle_deconfigured(&mut self, now: Time) {
        self.stop(&Notification::new(notification::CEASE, cease::DECONFIGURED), now);
    }

    /// Take the session down (Cease, Administrative Reset) and bring it up again at once.
    pub fn handle_reset(&mut self, reason: &str, now: Time) {
        if self.running {
            self.end_connections(&Notification::cease_with_communication(cease::RESET, reason), now);
            self.handle_start(now);
        }
    }

    /// The configuration of the peer changed. Takes the session down (Cease, Other Configuration Change) only
    /// if it cannot go on as it is. The hold time, graceful restart and extended messages were settled with the
    /// OPENs and count from the next session on; a connection that is still exchanging them begins anew.
    pub fn handle_reconfigured(&mut self, settings: Rc<SessionSettings>, now: Time) {
        let old = std::mem::replace(&mut self.settings, settings);
        let cease = Notification::new(notification::CEASE, cease::CONFIG_CHANGE);
        if self.running && old.needs_reset(&self.settings) {
            self.end_connections(&cease, now);
        } else if old.opens_differently(&self.settings) {
            for slot in Slot::ALL {
                if matches!(self.connection(slot).state, State::OpenSent | State::OpenConfirm) {
                    self.fail(slot, cease.clone(), now);
                }
            }
        }
        if self.never_dials() {
            self.dial_at = NEVER;
        } else {
            self.schedule_dial(now);
        }
    }

    /// The peer announced more than `limit` prefixes of `family` (RFC 4486 §4): takes the established session
    /// down, for `restart_s` seconds or until [`Session::handle_start`].
    pub fn handle_prefix_limit(&mut self, family: Family, limit: u32, restart_s: Option<u32>, now: Time) {
        if self.established().is_none() {
            return;
        }
        let [afi_high, afi_low] = family.afi().to_be_bytes();
        let mut data = vec![afi_high, afi_low, family.safi()];
        data.extend_from_slice(&limit.to_be_bytes());
        self.idle_until = Some(restart_s.map_or(NEVER, |s| now.plus_s(s.into())));
        self.end_connections(&Notification::with(notification::CEASE, cease::PREFIX_LIMIT, &data), now);
    }

    /// An answer to [`Output::Connect`]: the connection stands.
    pub fn handle_connected(&mut self, slot: Slot, now: Time) {
        if self.connection(slot).state == State::Connect {
            self.send_open(slot, now);
        }
    }

    /// The peer has dialled us. The place of the new connection, or nothing: it is to be closed. If there
    /// still is a connection in that place, the peer has lost it: drop that one first.
    pub fn handle_accepted(&mut self, now: Time) -> Option<Slot> {
        if !self.running || self.idle_until.is_some_and(|until| now < until) {
            return None;
        }
        // A peer has one connection to dial with: if it dials again it has lost the one before.
        let lost = Slot::ALL.into_iter().find(|slot| {
            let connection = self.connection(*slot);
            !connection.outbound && matches!(connection.state, State::OpenSent | State::OpenConfirm)
        });
        let slot = lost.or_else(|| self.free_slot())?;
        *self.connection_mut(slot) = Connection::NONE;
        if let Some(established) = self.established() {
            // If the peer rebooted, its kernel answers this with a reset.
            self.send_keepalive(established, now);
        }
        self.send_open(slot, now);
        if self.dial_at != NEVER {
            // Give this connection time to come up before making it collide.
            let pause_ms = self.pause_ms(0);
            self.dial_at = self.dial_at.max(now.plus_ms(pause_ms));
        }
        Some(slot)
    }

    /// The connection is gone, or could not be made. `error` is what the system said, nothing if the peer
    /// closed the connection in order.
    pub fn handle_closed(&mut self, slot: Slot, error: Option<ErrorKind>, now: Time) {
        let failure = match (self.connection(slot).state, error) {
            (State::Idle, _) => return,
            (State::Connect, error) => Failure::NotConnected(error.unwrap_or(ErrorKind::ConnectionRefused)),
            (_, Some(error)) => Failure::Broken(error),
            (_, None) => Failure::Closed,
        };
        self.lose(slot, failure, now);
    }

    /// An UPDATE came. Whether it may be processed; if not, the session has dealt with it.
    #[must_use]
    pub fn update_arrived(&mut self, slot: Slot, now: Time) -> bool {
        self.received.update += 1;
        let connection = self.connection_mut(slot);
        if connection.state == State::Established {
            connection.heard_at = now;
            return true;
        }
        self.unexpected(slot, MessageKind::Update, now);
        false
    }

    /// A message other than an UPDATE came; `body` is what follows its header.
    pub fn handle_message(&mut self, slot: Slot, kind: MessageKind, body: &[u8], now: Time) {
        let connection = self.connection_mut(slot);
        if !connection.is_open() {
            return;
        }
        connection.heard_at = now;
        match kind {
            MessageKind::Open => {
                self.received.open += 1;
                self.open_arrived(slot, body, now);
            }
            MessageKind::Keepalive => {
                self.received.keepalive += 1;
                match self.connection(slot).state {
                    State::OpenConfirm => self.establish(slot, now),
                    State::Established => {}
                    _ => self.unexpected(slot, kind, now),
                }
            }
            MessageKind::Notification => {
                self.received.notification += 1;
                self.notification_arrived(slot, body, now);
            }
            MessageKind::RouteRefresh => {
                self.received.route_refresh += 1;
                self.refresh_arrived(slot, body, now);
            }
            MessageKind::Update => debug_assert!(false, "UPDATEs go through update_arrived"),
        }
    }

    /// What came on this connection breaks the protocol: send this NOTIFICATION and close.
    pub fn handle_error(&mut self, slot: Slot, error: Notification, now: Time) {
        if self.connection(slot).is_open() {
            self.fail(slot, error, now);
        }
    }

    /// End-of-RIB came (RFC 4724 §2): what is stale until now stays stale no longer.
    pub fn handle_end_of_rib(&mut self, family: Family) {
        if self.established().is_some() && self.retention.end_of_rib(family) {
            self.outputs.push(Output::RemoveStale(FamilySet::only(family)));
        }
    }

    /// Bytes went out on this connection, `updates` UPDATEs with them: no KEEPALIVE is needed for a while.
    pub fn note_sent(&mut self, slot: Slot, updates: u64, now: Time) {
        self.sent.update += updates;
        let connection = self.connection_mut(slot);
        connection.sent_at = now;
        connection.blocked_at = NEVER;
    }

    /// Something waits to be written on this connection and the peer takes nothing. Starts the send hold
    /// timer (RFC 9687), which [`Session::note_sent`] stops.
    pub fn note_blocked(&mut self, slot: Slot, now: Time) {
        let connection = self.connection_mut(slot);
        if connection.is_open() && connection.blocked_at == NEVER {
            connection.blocked_at = now;
        }
    }

    /// The ROUTE-REFRESH messages that were sent, for the counters.
    pub fn note_refresh_sent(&mut self) {
        self.sent.route_refresh += 1;
    }

    /// Timers may be due. `unread` says that bytes of the peer wait to be read: then its hold timer has not
    /// expired, however long ago we last found the time to read.
    pub fn handle_timeout(&mut self, unread: bool, now: Time) {
        if self.idle_until.is_some_and(|until| until <= now) {
            self.idle_until = None;
        }
        for slot in Slot::ALL {
            loop {
                let (at, due) = self.connection(slot).next_due();
                if at > now {
                    break;
                }
                match due {
                    Due::Dial => {
                        self.outputs.push(Output::Close(slot));
                        self.lose(slot, Failure::NotConnected(ErrorKind::TimedOut), now);
                    }
                    Due::Hold if unread => self.connection_mut(slot).heard_at = now,
                    Due::Hold => self.fail(slot, Notification::new(notification::HOLD_TIMER_EXPIRED, 0), now),
                    Due::SendHold => {
                        self.fail(slot, Notification::new(notification::SEND_HOLD_TIMER_EXPIRED, 0), now)
                    }
                    Due::Keepalive => self.send_keepalive(slot, now),
                }
            }
        }
        if self.retention.deadline().is_some_and(|deadline| deadline <= now) {
            self.remove_retained();
        }
        for family in Family::ALL {
            let by = &mut self.refreshed_by[family.index()];
            if *by <= now {
                *by = NEVER;
                self.outputs.push(Output::RemoveStale(FamilySet::only(family)));
            }
        }
        self.dial_when_due(now);
        self.say_if_gone();
    }

    fn open_arrived(&mut self, slot: Slot, body: &[u8], now: Time) {
        if self.connection(slot).state != State::OpenSent {
            return self.unexpected(slot, MessageKind::Open, now);
        }
        let negotiated = match negotiate::accept_open(&self.settings, self.connection(slot).plain, body) {
            Ok(negotiated) => negotiated,
            Err(error) => return self.fail(slot, error, now),
        };
        let other = slot.other();
        let keeps_new = match self.connection(other).state {
            // RFC 4271 §6.8: the connection dialled by the side with the larger identifier stays.
            State::OpenConfirm => self.connection(slot).outbound == self.prevails_over(&negotiated),
            // RFC 4724 §4.2: a restarted peer may come back before we know that it was gone.
            State::Established => {
                let old = self.connection(other).negotiated.as_ref();
                old.and_then(|old| old.restart).is_some_and(|restart| !restart.families.is_empty())
            }
            _ => true,
        };
        if !keeps_new {
            return self.fail(slot, COLLISION, now);
        }
        if self.connection(other).state == State::OpenConfirm {
            self.fail(other, COLLISION, now);
        }
        // RFC 4271 §4.4 has a third of the hold time, §10 up to a quarter less at random.
        let keepalive_ms = self.shortened(u64::from(negotiated.hold_time_s) * 1000 / 3);
        let connection = self.connection_mut(slot);
        connection.keepalive_ms = keepalive_ms as u32;
        connection.negotiated = Some(Box::new(negotiated));
        connection.state = State::OpenConfirm;
        self.send_keepalive(slot, now);
    }

    fn prevails_over(&self, peer: &Negotiated) -> bool {
        // RFC 6286 §2.3: between equal identifiers the larger AS number decides.
        (self.settings.router_id, self.settings.local_asn) > (peer.router_id, peer.peer_asn)
    }

    fn establish(&mut self, slot: Slot, now: Time) {
        let other = slot.other();
        match self.connection(other).state {
            State::Idle | State::Active => {}
            State::Connect => {
                *self.connection_mut(other) = Connection::NONE;
                self.outputs.push(Output::Close(other));
            }
            State::OpenSent | State::OpenConfirm => {
                self.fail(other, COLLISION, now);
            }
            State::Established => {
                self.outputs.push(Output::Close(other));
                self.lose(other, Failure::Replaced, now);
            }
        }
        self.connection_mut(slot).state = State::Established;
        (self.dial_at, self.dial_failures, self.idle_until) = (NEVER, 0, None);
        self.own_restart.until = Time(0);
        self.established_count += 1;
        self.changed_at = now;
        self.outputs.push(Output::Established(slot));
        let restart = self.connections[slot.index()].negotiated.as_ref().and_then(|it| it.restart.as_ref());
        let lost = self.retention.resume(restart, self.settings.graceful_restart.stale_time_s, now);
        if !lost.is_empty() {
            self.outputs.push(Output::RemoveStale(lost));
        }
    }

    fn notification_arrived(&mut self, slot: Slot, body: &[u8], now: Time) {
        // RFC 4271 §6.4: a NOTIFICATION, even a malformed one, is never answered with another.
        self.outputs.push(Output::Close(slot));
        let failure = match Notification::decode(body) {
            Ok(notification) => Failure::Received(notification),
            Err(_) => Failure::Closed,
        };
        self.lose(slot, failure, now);
    }

    fn refresh_arrived(&mut self, slot: Slot, body: &[u8], now: Time) {
        let connection = self.connection(slot);
        let (State::Established, Some(negotiated)) = (connection.state, &connection.negotiated) else {
            return self.unexpected(slot, MessageKind::RouteRefresh, now);
        };
        match RouteRefresh::decode(body, negotiated.enhanced_route_refresh) {
            // RFC 2918 §4 and RFC 7313 §5: what was not agreed on is ignored.
            Ok(RouteRefresh { kind: RefreshKind::Unknown(_), .. }) => {}
            Ok(refresh) => {
                if let Some(family) = refresh.family().filter(|it| negotiated.families.contains(*it))
                    && self.refresh_is_in_order(family, refresh.kind, now)
                {
                    self.outputs.push(Output::RouteRefresh(family, refresh.kind));
                }
            }
            Err(error) => self.fail(slot, error, now),
        }
    }

    /// Starts and stops the wait for the end of a refresh. An end without a beginning means nothing: what is stale
    /// then is stale for another reason. Nor does a second beginning: what was announced since the first one is
    /// fresh, and the wait is not prolonged, or a peer that never comes to an end could keep its stale routes for ever.
    fn refresh_is_in_order(&mut self, family: Family, kind: RefreshKind, now: Time) -> bool {
        let by = &mut self.refreshed_by[family.index()];
        match kind {
            RefreshKind::Begin if *by != NEVER => false,
            RefreshKind::Begin => {
                let stale_time_s = self.settings.graceful_restart.stale_time_s;
                *by = now.plus_s(stale_time_s.into());
                true
            }
            RefreshKind::End => std::mem::replace(by, NEVER) != NEVER,
            RefreshKind::Request | RefreshKind::Unknown(_) => true,
        }
    }

    /// RFC 4271 §6.6 with the subcodes of RFC 6608.
    fn unexpected(&mut self, slot: Slot, kind: MessageKind, now: Time) {
        let subcode = match self.connection(slot).state {
            State::OpenSent => fsm::OPEN_SENT,
            State::OpenConfirm => fsm::OPEN_CONFIRM,
            State::Established => fsm::ESTABLISHED,
            // Bytes of a connection that is closed already.
            State::Idle | State::Connect | State::Active => return,
        };
        // RFC 6608 §3: the data are the type of the message.
        self.fail(slot, Notification::with(notification::FSM, subcode, &[kind as u8]), now);
    }

    /// Ends the session for good, until it is started again.
    fn stop(&mut self, notification: &Notification, now: Time) {
        self.end_connections(notification, now);
        self.running = false;
        (self.dial_at, self.idle_until) = (NEVER, None);
        self.remove_retained();
    }

    fn end_connections(&mut self, notification: &Notification, now: Time) {
        for slot in Slot::ALL {
            match self.connection(slot).state {
                State::Idle | State::Active => {}
                State::Connect => {
                    *self.connection_mut(slot) = Connection::NONE;
                    self.outputs.push(Output::Close(slot));
                }
                _ => self.fail(slot, notification.clone(), now),
            }
        }
    }

    /// Sends a NOTIFICATION and closes.
    fn fail(&mut self, slot: Slot, error: Notification, now: Time) {
        let notification = match &self.connection(slot).negotiated {
            Some(negotiated) if negotiated.keeps_after_notification() && ends_for_good(&error) => {
                error.into_hard_reset()
            }
            _ => error,
        };
        self.sent.notification += 1;
        let mut bytes = Vec::new();
        notification.encode(&mut bytes);
        self.outputs.push(Output::Send(slot, Cow::Owned(bytes)));
        self.outputs.push(Output::Close(slot));
        self.lose(slot, Failure::Sent(notification), now);
    }

    /// The connection is no more: what follows for the session.
    fn lose(&mut self, slot: Slot, failure: Failure, now: Time) {
        let connection = std::mem::replace(self.connection_mut(slot), Connection::NONE);
        if connection.state == State::Established {
            if now.since_ms(self.changed_at) >= STABLE_MS {
                self.errors = 0;
            }
            self.changed_at = now;
            self.refreshed_by = [NEVER; 2];
            let (retain, restart_time_s) = retained_after(connection.negotiated.as_deref(), &failure);
            self.retention.begin(retain, restart_time_s, now);
            self.outputs.push(Output::Down { retain });
        } else if connection.outbound {
            self.dial_failures = self.dial_failures.saturating_add(1);
        }
        // RFC 5492 §3: a peer that knows no capabilities gets an OPEN without; IPv4 can do with that.
        let refused = (notification::OPEN, notification::open::UNSUPPORTED_PARAMETER);
        self.plain_open = !self.plain_open
            && self.settings.families.contains(Family::Ipv4Unicast)
            && matches!(&failure, Failure::Received(it) if (it.code, it.subcode) == refused);
        let repeats = !self.plain_open && is_likely_to_repeat(&failure);
        self.failures.get_or_insert_default().record(failure, now);
        if repeats && !self.connection(slot.other()).is_open() {
            self.rest(slot.other(), now);
        }
        self.schedule_dial(now);
        self.say_if_gone();
    }

    /// DampPeerOscillations (RFC 4271 §8.1.1): goes to Idle for a while.
    fn rest(&mut self, other: Slot, now: Time) {
        if self.connection(other).state == State::Connect {
            *self.connection_mut(other) = Connection::NONE;
            self.outputs.push(Output::Close(other));
        }
        let pause_ms = self.pause_ms(self.errors);
        self.errors = self.errors.saturating_add(1);
        self.idle_until = Some(now.plus_ms(pause_ms));
        self.dial_at = NEVER;
    }

    fn remove_retained(&mut self) {
        let families = self.retention.end();
        if !families.is_empty() {
            self.outputs.push(Output::RemoveStale(families));
        }
    }

    fn say_if_gone(&mut self) {
        let rests = self.idle_until.is_some() || self.retention.deadline().is_some();
        let connected = self.connections.iter().any(|connection| connection.state != State::Idle);
        if self.dynamic && self.running && !rests && !connected && !self.outputs.contains(&Output::Gone) {
            self.outputs.push(Output::Gone);
        }
    }

    fn never_dials(&self) -> bool {
        self.dynamic || self.settings.passive
    }

    /// Sees to it that a session which is down, and not dialling, dials after a pause.
    fn schedule_dial(&mut self, now: Time) {
        let dials = self.connections.iter().any(|connection| {
            connection.state == State::Established || connection.outbound && connection.state != State::Idle
        });
        if self.running && !self.never_dials() && !dials && self.dial_at == NEVER {
            let pause_ms = self.pause_ms(self.dial_failures);
            self.dial_at = now.plus_ms(pause_ms).max(self.idle_until.unwrap_or(now));
        }
    }

    fn dial_when_due(&mut self, now: Time) {
        if now < self.dial_at {
            return;
        }
        let about_to_come_up =
            self.connections.iter().any(|connection| connection.state == State::OpenConfirm);
        match self.free_slot() {
            Some(slot) if !about_to_come_up => {
                self.dial_at = NEVER;
                let dial =
                    Connection { state: State::Connect, outbound: true, heard_at: now, ..Connection::NONE };
                *self.connection_mut(slot) = dial;
                self.outputs.push(Output::Connect(slot));
            }
            _ => {
                let pause_ms = self.pause_ms(self.dial_failures);
                self.dial_at = now.plus_ms(pause_ms);
            }
        }
    }

    fn free_slot(&self) -> Option<Slot> {
        Slot::ALL.into_iter().find(|slot| self.connection(*slot).state == State::Idle)
    }

    fn send_open(&mut self, slot: Slot, now: Time) {
        let (plain, restarting) = (self.plain_open, now < self.own_restart.until);
        let open = negotiate::our_open(&self.settings, plain, restarting, self.own_restart.forwarding);
        let connection = self.connection_mut(slot);
        connection.our_open = Some(open[HEADER_LEN..].into());
        (connection.state, connection.plain) = (State::OpenSent, plain);
        (connection.heard_at, connection.sent_at) = (now, now);
        self.outputs.push(Output::Send(slot, Cow::Owned(open)));
        self.sent.open += 1;
    }

    fn send_keepalive(&mut self, slot: Slot, now: Time) {
        self.outputs.push(Output::Send(slot, Cow::Borrowed(&KEEPALIVE)));
        self.sent.keepalive += 1;
        self.connection_mut(slot).sent_at = now;
    }

    /// 1 s after no failure, then twice as long with each, up to the configured pause; shortened at random.
    fn pause_ms(&mut self, failures: u8) -> u64 {
        let longest_ms = u64::from(self.settings.connect_retry_s.max(1)) * 1000;
        self.shortened((1000 << failures.min(16)).min(longest_ms))
    }

    /// 75 to 100 % of `ms` (RFC 4271 §10).
    fn shortened(&mut self, ms: u64) -> u64 {
        // Marsaglia's xorshift64: good enough to keep peers from marching in step.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        ms - self.random % (ms / 4 + 1)
    }
}

/// Which families' routes outlive a session that ended like this, and for how many seconds (RFC 4724 §4.2,
/// RFC 8538 §4).
fn retained_after(negotiated: Option<&Negotiated>, failure: &Failure) -> (FamilySet, u16) {
    let nothing = (FamilySet::EMPTY, 0);
    let Some(negotiated) = negotiated else { return nothing };
    let Some(restart) = &negotiated.restart else { return nothing };
    let keeps = match failure {
        Failure::Sent(notification) | Failure::Received(notification) => {
            restart.notification && !notification.is_hard_reset()
        }
        Failure::Closed | Failure::Broken(_) | Failure::NotConnected(_) | Failure::Replaced => true,
    };
    if !keeps || restart.restart_time_s == 0 {
        return nothing;
    }
    (restart.families, restart.restart_time_s)
}

/// Whether the NOTIFICATION says that the session ends by will, so that routes are not to be kept (RFC 8538
/// §3.1 leaves the choice to us): shutdown, removal, reset by a person, and a prefix limit.
fn ends_for_good(notification: &Notification) -> bool {
    notification.code == notification::CEASE
        && matches!(
            notification.subcode,
            cease::PREFIX_LIMIT | cease::SHUTDOWN | cease::DECONFIGURED | cease::RESET
        )
}

/// Whether trying again at once is likely to end the same way. A Cease is somebody's will and says nothing
/// of the next attempt; expired timers tell of the path and not of the peer.
fn is_likely_to_repeat(failure: &Failure) -> bool {
    match failure {
        Failure::Sent(notification) | Failure::Received(notification) => !matches!(
            notification.code,
            notification::HOLD_TIMER_EXPIRED | notification::CEASE | notification::SEND_HOLD_TIMER_EXPIRED
        ),
        _ => false,
    }
}
