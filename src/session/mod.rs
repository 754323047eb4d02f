//! The finite state machine of RFC 4271 §8 for one peer, without input and output of its own.
//!
//! # How to use it
//!
//! Inputs are the `handle_*` methods and [`Session::update_arrived`]; the moment is always a parameter.
//! After each input, carry out what [`Session::poll_output`] gives until it gives nothing, and see that
//! [`Session::handle_timeout`] is called at [`Session::next_deadline`]. A deadline may move away silently
//! (each message moves the hold timer), so it is enough to arm a timer that is never later than it
//! ([`TimingWheel::set_no_later_than`]) and to ask again when that one fires: receiving a message costs no
//! timer operation.
//!
//! # Two connections
//!
//! A session has two places for a TCP connection, [`Slot`]s, and each connection is in a state of its own,
//! as RFC 4271 §8.2.1 has it. With both OPENs known, a collision is decided by BGP identifier (§6.8, RFC
//! 6286 §2.3). Beside an established connection a new one is refused, but that connection is probed, so
//! that a peer which lost it is found out in a round trip; with graceful restart the new connection takes
//! over once the peer has confirmed it, not at its mere OPEN, so that neither a straggler of the first
//! collision nor a stranger ends a session that works.
//!
//! # Errors
//!
//! A protocol error is the [`Notification`] that the RFC names for it. An error that the configuration or
//! the software is likely to repeat makes the session rest in Idle, for 1 s, 2 s, 4 s and so on up to the
//! configured pause (DampPeerOscillations, §8.1.1); the pauses between failed attempts to dial grow alike.
//! All pauses are shortened by up to a quarter at random (§10).
//!
//! # Graceful restart
//!
//! RFC 4724 and RFC 8538: as the restarting speaker by what the OPEN says ([`Session::set_restart`]), as
//! the helper by [`Output::Down`] and [`Output::RemoveStale`], which tell exactly which routes to keep
//! and when to remove them.
//!
//! # What it guarantees
//!
//! At most one connection is established, and [`Output::Established`] and [`Output::Down`] take turns. A
//! session that may run always has a deadline or waits for the peer to dial. Nothing that a peer sends
//! makes it keep more than one OPEN's worth. At rest it owns both OPENs, the last failures, and nothing
//! else. [`Session::check_invariants`] says all this in code.

mod connection;
mod fsm;
mod negotiate;
mod output;
mod retention;
mod settings;
mod stats;
#[cfg(test)]
mod tests;
pub mod wheel;

use std::rc::Rc;

use smallvec::SmallVec;

pub use connection::{Slot, State};
pub use negotiate::{Negotiated, Restart};
pub use output::Output;
pub use settings::SessionSettings;
pub use stats::{Failure, FailureLog, MessageCounts, PastFailure};
pub use wheel::TimingWheel;

use crate::types::{FamilySet, Time};
use crate::wire::Open;
use crate::wire::frame::{EXTENDED_MESSAGE_LEN_MAX, MESSAGE_LEN_MAX};
use crate::wire::notification::{self, cease};
use connection::Connection;
use retention::Retention;

/// A moment that does not come.
const NEVER: Time = Time(u64::MAX);

/// What our OPENs say of our own restart (RFC 4724 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnRestart {
    /// The Restart State bit is set until this moment, or until the session has been up once.
    pub until: Time,
    /// The families whose forwarding state outlives us: the Forwarding State bits.
    pub forwarding: FamilySet,
}

/// The session with one peer; see the module's essay.
#[derive(Debug)]
pub struct Session {
    settings: Rc<SessionSettings>,
    connections: [Connection; 2],
    outputs: SmallVec<[Output; 2]>,
    failures: Option<Box<FailureLog>>,
    received: MessageCounts,
    sent: MessageCounts,
    retention: Retention,
    /// Until when the end of a refresh is awaited whose beginning came (RFC 7313 §4), by family; or [`NEVER`].
    refreshed_by: [Time; 2],
    /// When to dial next, or [`NEVER`].
    dial_at: Time,
    /// Until when the session rests after an error, or because it was told to.
    idle_until: Option<Time>,
    /// When the session last went up or down.
    changed_at: Time,
    own_restart: OwnRestart,
    random: u64,
    established_count: u32,
    /// Attempts to dial since the session was last up that led nowhere.
    dial_failures: u8,
    /// Errors since the session last was up for long.
    errors: u8,
    running: bool,
    dynamic: bool,
    /// The peer cannot read capabilities: the next OPEN goes without (RFC 5492 §3).
    plain_open: bool,
}

impl Session {
    /// A session that does nothing until [`Session::handle_start`]. One of a `dynamic` peer never dials and
    /// ends with [`Output::Gone`]. `seed` makes the pauses of different sessions differ.
    pub fn new(settings: Rc<SessionSettings>, dynamic: bool, seed: u64) -> Session {
        Session {
            settings,
            connections: [Connection::NONE; 2],
            outputs: SmallVec::new(),
            failures: None,
            received: MessageCounts::default(),
            sent: MessageCounts::default(),
            retention: Retention::default(),
            refreshed_by: [NEVER; 2],
            dial_at: NEVER,
            idle_until: None,
            changed_at: Time(0),
            own_restart: OwnRestart { until: Time(0), forwarding: FamilySet::EMPTY },
            // The generator must not start at zero.
            random: seed | 1 << 63,
            established_count: 0,
            dial_failures: 0,
            errors: 0,
            running: false,
            dynamic,
            plain_open: false,
        }
    }

    /// Says how the next OPENs describe our own restart.
    pub fn set_restart(&mut self, own_restart: OwnRestart) {
        self.own_restart = own_restart;
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        if self.outputs.is_empty() {
            return None;
        }
        let output = self.outputs.remove(0);
        if self.outputs.is_empty() && self.outputs.spilled() {
            self.outputs = SmallVec::new();
        }
        Some(output)
    }

    /// When [`Session::handle_timeout`] has something to do, if nothing else happens before.
    pub fn next_deadline(&self) -> Option<Time> {
        let deadline = self
            .connections
            .iter()
            .map(|connection| connection.next_due().0)
            .chain([self.dial_at])
            .chain(self.idle_until)
            .chain(self.retention.deadline())
            .chain(self.refreshed_by)
            .min()?;
        (deadline != NEVER).then_some(deadline)
    }

    /// The settings that the session runs with.
    pub fn settings(&self) -> &Rc<SessionSettings> {
        &self.settings
    }

    /// The state of the session: that of the connection that has come further.
    pub fn state(&self) -> State {
        match self.connections[0].state.max(self.connections[1].state) {
            State::Idle if self.running && self.idle_until.is_none() => State::Active,
            state => state,
        }
    }

    /// The state of one connection; Idle if there is none in that place.
    pub fn slot_state(&self, slot: Slot) -> State {
        self.connection(slot).state
    }

    /// The place of the established connection.
    pub fn established(&self) -> Option<Slot> {
        Slot::ALL.into_iter().find(|slot| self.connection(*slot).state == State::Established)
    }

    /// What was agreed on with the peer, while the session is established.
    pub fn negotiated(&self) -> Option<&Negotiated> {
        self.connection(self.established()?).negotiated.as_deref()
    }

    /// The OPEN that we have sent on the connection that has come further, for people and programs.
    pub fn our_open(&self) -> Option<Open> {
        let connection = self.connections.iter().max_by_key(|connection| connection.state)?;
        Open::decode(connection.our_open.as_deref()?).ok()
    }

    /// The longest message that the peer may send on this connection, in bytes, for the framing.
    pub fn message_len_max(&self, slot: Slot) -> usize {
        match &self.connection(slot).negotiated {
            Some(negotiated) if negotiated.extended_message => EXTENDED_MESSAGE_LEN_MAX,
            _ => MESSAGE_LEN_MAX,
        }
    }

    /// Whether the session was started and not shut down.
    pub fn is_running(&self) -> bool {
        self.running
    }

    /// Whether the session belongs to a dynamic peer.
    pub fn is_dynamic(&self) -> bool {
        self.dynamic
    }

    /// Whether the session rests because the peer passed its prefix limit.
    pub fn rests_at_prefix_limit(&self) -> bool {
        let last = self.failures().and_then(FailureLog::last).map(|past| &past.failure);
        let limit = (notification::CEASE, cease::PREFIX_LIMIT);
        self.idle_until.is_some()
            && matches!(last, Some(Failure::Sent(sent)) if (sent.code, sent.subcode) == limit)
    }

    /// When the session last went up or down: uptime and downtime count from here.
    pub fn changed_at(&self) -> Time {
        self.changed_at
    }

    /// How often the session has been established.
    pub fn established_count(&self) -> u32 {
        self.established_count
    }

    /// The families whose routes are kept as stale, and when that ends at the latest.
    pub fn retained(&self) -> (FamilySet, Option<Time>) {
        (self.retention.families(), self.retention.deadline())
    }

    /// The messages that came.
    pub fn received(&self) -> &MessageCounts {
        &self.received
    }

    /// The messages that went.
    pub fn sent(&self) -> &MessageCounts {
        &self.sent
    }

    /// The last failures, if there were any.
    pub fn failures(&self) -> Option<&FailureLog> {
        self.failures.as_deref()
    }

    /// Panics if the session contradicts itself. For tests.
    pub fn check_invariants(&self) {
        let states = self.connections.each_ref().map(|connection| connection.state);
        for connection in &self.connections {
            assert_ne!(connection.state, State::Active, "Active is a state of the session");
            let agreed = connection.negotiated.is_some();
            assert_eq!(agreed, connection.state >= State::OpenConfirm, "{:?}", connection.state);
        }
        if self.established().is_some() {
            assert!(self.running);
            assert_eq!(self.dial_at, NEVER, "dials a peer that is up");
            assert!(!states.contains(&State::Connect), "dials a peer that is up");
            assert_ne!(states, [State::Established; 2]);
        }
        let dials = self.connections.iter().filter(|connection| connection.state == State::Connect).count();
        assert!(dials <= 1, "dials twice");
        if !self.running {
            assert_eq!(states, [State::Idle; 2]);
            assert_eq!(self.next_deadline(), None);
        } else if self.idle_until != Some(NEVER) && states == [State::Idle; 2] {
            let waits = self.dynamic || self.settings.passive;
            assert!(waits || self.next_deadline().is_some(), "asleep for ever");
        }
        assert_eq!(self.retention.families().is_empty(), self.retention.deadline().is_none());
    }

    fn connection(&self, slot: Slot) -> &Connection {
        &self.connections[slot.index()]
    }

    fn connection_mut(&mut self, slot: Slot) -> &mut Connection {
        &mut self.connections[slot.index()]
    }
}
