//! A member of a group: what it has heard, and what it has taken.

use super::bitmap::Bitmap;
use super::ring::{Cursor, Ring, is_update};
use crate::types::PeerId;

/// Where a member stands.
///
/// Two things are kept apart: what has been *encoded* for it (the phase), and what it has *taken* (its
/// cursor into the ring, and before that its own backlog).
pub(super) enum Phase {
    /// It waits for a walk to join.
    Waiting,
    /// A walk of this class is telling it the table. Changes behind the walk reach it with the class.
    Walking(u8),
    /// It has heard everything so far, and hears every change.
    Main,
    /// It has no cursor: it is told in messages of its own what it has missed.
    CatchingUp(Box<CatchUp>),
}

/// What a member still has to be told while it has no place in the ring. Of a destination that is not
/// `pending`, it has heard just what the group's told state says.
#[derive(Default)]
pub(super) struct CatchUp {
    /// The destinations to tell.
    pub pending: Bitmap,
    /// Those among them that it has a route for: without a route to tell, these are withdrawn.
    pub had: Bitmap,
    /// Where the next round begins.
    pub next: u32,
    /// Whether its socket took no more when it left the ring: nothing is encoded until it asks.
    pub parked: bool,
    /// What stands at the end; both may be due.
    pub owes_end_of_rib: bool,
    pub owes_end_of_refresh: bool,
}

impl CatchUp {
    /// The destination is to be told; `had` says whether the member has a route for it, unless that is
    /// known already.
    pub fn mark(&mut self, dest: u32, had: bool) {
        if self.pending.insert(dest) {
            self.had.assign(dest, had);
        }
    }
}

/// One member.
pub(super) struct Member {
    pub peer: PeerId,
    pub phase: Phase,
    /// The class of the walk that it takes part in beside [`Phase::Main`].
    pub walk: Option<u8>,
    /// Its End-of-RIB is among what it has taken or will.
    pub has_end_of_rib: bool,
    /// A refresh that it has asked for and that has not begun; whether an enhanced one.
    pub wants_refresh: Option<bool>,
    /// Where it reads the ring; none while [`Phase::Waiting`] or [`Phase::CatchingUp`].
    pub cursor: Option<Cursor>,
    /// What the last plan for it was made from, led to, and how many bytes and UPDATEs it was.
    pub planned: Option<((u64, u16), Cursor, usize, u32)>,
    /// Messages of its own, sent before what its cursor points at.
    pub backlog: Backlog,
    /// How many told destinations have this member as their source.
    pub own_routes: u32,
    /// Bytes that it has taken, and how many those were when the ring became tight.
    pub taken: u64,
    pub taken_mark: u64,
}

impl Member {
    /// A peer that has just joined.
    pub fn new(peer: PeerId) -> Member {
        Member {
            peer,
            phase: Phase::Waiting,
            walk: None,
            has_end_of_rib: false,
            wants_refresh: None,
            cursor: None,
            planned: None,
            backlog: Backlog::default(),
            own_routes: 0,
            taken: 0,
            taken_mark: 0,
        }
    }

    /// Whether the last byte sent was the last of a message.
    pub fn at_boundary(&self) -> bool {
        self.backlog.at_boundary() && self.cursor.is_none_or(|cursor| cursor.partial == 0)
    }

    /// Whether there are bytes to send; the cursor passes what is not for the member.
    pub fn has_data(&mut self, ring: &Ring, slot: u16) -> bool {
        !self.backlog.is_empty() || self.cursor.as_mut().is_some_and(|cursor| ring.skip(cursor, slot))
    }

    /// Bytes taken since the ring became tight.
    pub fn taken_since_mark(&self) -> u64 {
        self.taken - self.taken_mark
    }

    /// The catch-up, if it is in that phase.
    pub fn catch_up(&mut self) -> Option<&mut CatchUp> {
        match &mut self.phase {
            Phase::CatchingUp(catch_up) => Some(catch_up),
            _ => None,
        }
    }
}

/// Bytes for one member only: the rest of a message that it had taken in part when it left the ring, and
/// what it is told while it has no place there.
#[derive(Default)]
pub(super) struct Backlog {
    bytes: Vec<u8>,
    sent: usize,
    /// The first boundary between messages that is not before `sent`.
    boundary: usize,
    /// Whether the message that ends there is an UPDATE.
    update: bool,
}

impl Backlog {
    /// Begins with the rest of a message, an UPDATE or not.
    pub fn begin_with_rest(&mut self, rest: &[u8], update: bool) {
        debug_assert!(rest.is_empty() || self.is_empty(), "a message was sent in part behind a backlog");
        if !rest.is_empty() {
            self.bytes.extend_from_slice(rest);
            self.boundary = self.bytes.len();
            self.update = update;
        }
    }

    /// Where whole messages are appended.
    pub fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// What has not been sent.
    pub fn unsent(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// Whether all has been sent.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes in use.
    pub fn memory_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Up to `bytes` have been sent; returns how many of them were not the backlog's, and how many UPDATEs
    /// ended in the others.
    pub fn sent(&mut self, bytes: usize) -> (usize, u32) {
        let own = bytes.min(self.bytes.len() - self.sent);
        let was_within = self.boundary > self.sent;
        self.sent += own;
        let mut updates = u32::from(was_within && self.boundary <= self.sent && self.update);
        while self.boundary < self.sent {
            let message = &self.bytes[self.boundary..];
            self.boundary += usize::from(u16::from_be_bytes([message[16], message[17]]));
            self.update = is_update(message);
            updates += u32::from(self.boundary <= self.sent && self.update);
        }
        if self.sent == self.bytes.len() {
            *self = Backlog::default();
        }
        (bytes - own, updates)
    }

    fn at_boundary(&self) -> bool {
        self.boundary == self.sent
    }
}
