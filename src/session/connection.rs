//! One TCP connection of a session, with the timers of RFC 4271 §10 that belong to it.
//!
//! Timers are moments derived from what happened last, not things that are started and stopped: refreshing
//! one is one store.

use crate::types::Time;

use super::NEVER;
use super::negotiate::Negotiated;

/// How long an attempt to connect may take: the kernel's SYNs go out after 0, 1, 3 and 7 s, and a new
/// attempt starts with close ones again, so that a peer that comes back is found within seconds.
pub(super) const DIAL_TIMEOUT_MS: u64 = 8_000;
/// How long we wait for the peer's OPEN (RFC 4271 §8.2.2 suggests four minutes).
pub(super) const OPEN_TIMEOUT_MS: u64 = 240_000;
/// The least time that a peer may take nothing from us while we have something for it (RFC 9687 §3.2).
const SEND_HOLD_MS_MIN: u64 = 480_000;

/// A state of the finite state machine (RFC 4271 §8.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Down, and refusing connections: by will, or for a while after an error.
    Idle,
    /// Dialling.
    Connect,
    /// Waiting for the peer to dial, or for the time to dial again.
    Active,
    /// Connected; our OPEN is sent.
    OpenSent,
    /// The peer's OPEN is accepted; its KEEPALIVE is awaited.
    OpenConfirm,
    /// Routes flow.
    Established,
}

impl State {
    /// The spelling used in every output.
    pub const fn name(self) -> &'static str {
        match self {
            State::Idle => "idle",
            State::Connect => "connect",
            State::Active => "active",
            State::OpenSent => "open-sent",
            State::OpenConfirm => "open-confirm",
            State::Established => "established",
        }
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Which of a session's two connections is meant. There are two so that a collision can be decided (RFC
/// 4271 §6.8), and so that a restarted peer can connect beside the connection that it lost (RFC 4724 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Slot {
    /// The first.
    A,
    /// The second.
    B,
}

impl Slot {
    /// Both.
    pub const ALL: [Slot; 2] = [Slot::A, Slot::B];

    /// The position in arrays that hold one element a slot.
    pub const fn index(self) -> usize {
        self as usize
    }

    pub(super) const fn other(self) -> Slot {
        match self {
            Slot::A => Slot::B,
            Slot::B => Slot::A,
        }
    }
}

/// A connection, or the place for one: `Idle` means that there is none. Never `Active`, which is a state of
/// the whole session.
#[derive(Debug)]
pub(super) struct Connection {
    pub state: State,
    /// Whether we dialled.
    pub outbound: bool,
    /// Whether our OPEN had no capabilities.
    pub plain: bool,
    /// Set with the hold time of the OPENs; 0: no keepalives, and no hold timer.
    pub keepalive_ms: u32,
    /// When the dial began, our OPEN was sent, or the last message came.
    pub heard_at: Time,
    /// When the last message was sent.
    pub sent_at: Time,
    /// Since when the peer has taken nothing of what waits for it, or [`NEVER`].
    pub blocked_at: Time,
    /// The body of the OPEN that we sent, for people and programs.
    pub our_open: Option<Box<[u8]>>,
    /// What the OPENs agreed on, from OpenConfirm on.
    pub negotiated: Option<Box<Negotiated>>,
}

/// Which timer of a connection is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Dial,
    Hold,
    SendHold,
    Keepalive,
}

impl Connection {
    pub const NONE: Connection = Connection {
        state: State::Idle,
        outbound: false,
        plain: false,
        keepalive_ms: 0,
        heard_at: Time(0),
        sent_at: Time(0),
        blocked_at: NEVER,
        our_open: None,
        negotiated: None,
    };

    pub fn is_open(&self) -> bool {
        self.state >= State::OpenSent
    }

    fn hold_ms(&self) -> u64 {
        match &self.negotiated {
            // Without a hold time, a peer must still not leave us in OpenConfirm for ever.
            Some(negotiated) if negotiated.hold_time_s > 0 || self.state == State::Established => {
                u64::from(negotiated.hold_time_s) * 1000
            }
            _ => OPEN_TIMEOUT_MS,
        }
    }

    /// The timer that is due first, and when.
    pub fn next_due(&self) -> (Time, Due) {
        let after = |start: Time, ms: u64| if ms == 0 { NEVER } else { start.plus_ms(ms) };
        match self.state {
            State::Idle | State::Active => (NEVER, Due::Dial),
            State::Connect => (self.heard_at.plus_ms(DIAL_TIMEOUT_MS), Due::Dial),
            State::OpenSent | State::OpenConfirm | State::Established => {
                let hold = after(self.heard_at, self.hold_ms());
                let send_hold = self.blocked_at.plus_ms(SEND_HOLD_MS_MIN.max(2 * self.hold_ms()));
                // A peer that takes nothing needs no keepalives on top.
                let keepalive = match self.blocked_at {
                    NEVER => after(self.sent_at, self.keepalive_ms.into()),
                    _ => NEVER,
                };
                let due = [(hold, Due::Hold), (send_hold, Due::SendHold), (keepalive, Due::Keepalive)];
                due.into_iter().min_by_key(|(at, _)| *at).unwrap_or((NEVER, Due::Hold))
            }
        }
    }
}
