//! What a session can tell about its past.

use std::fmt;
use std::io::ErrorKind;

use crate::types::Time;
use crate::wire::Notification;

/// Messages by type, since the session was created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageCounts {
    /// OPEN.
    pub open: u64,
    /// UPDATE.
    pub update: u64,
    /// NOTIFICATION.
    pub notification: u64,
    /// KEEPALIVE.
    pub keepalive: u64,
    /// ROUTE-REFRESH.
    pub route_refresh: u64,
}

impl MessageCounts {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.open + self.update + self.notification + self.keepalive + self.route_refresh
    }
}

/// What ended a connection, or kept it from being made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// We sent this.
    Sent(Notification),
    /// The peer sent this.
    Received(Notification),
    /// The peer closed the connection without a word.
    Closed,
    /// The connection broke.
    Broken(ErrorKind),
    /// No connection could be made.
    NotConnected(ErrorKind),
    /// The peer restarted and came back on a new connection (RFC 4724 §4.2).
    Replaced,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Sent(notification) => write!(f, "sent {notification}"),
            Failure::Received(notification) => write!(f, "received {notification}"),
            Failure::Closed => f.write_str("the peer closed the connection"),
            Failure::Broken(kind) => write!(f, "the connection broke: {kind}"),
            Failure::NotConnected(kind) => write!(f, "could not connect: {kind}"),
            Failure::Replaced => f.write_str("the peer restarted and connected anew"),
        }
    }
}

/// How much of a NOTIFICATION's data is remembered, in bytes: a whole communication of RFC 9003, even
/// within a hard reset of RFC 8538, but not the UPDATE that a peer may send back.
const DATA_KEPT_MAX: usize = 300;

/// A failure and its moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastFailure {
    /// When.
    pub at: Time,
    /// What.
    pub failure: Failure,
}

/// The last failures, by direction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FailureLog {
    /// The last NOTIFICATION that we sent.
    pub sent: Option<PastFailure>,
    /// The last NOTIFICATION that the peer sent.
    pub received: Option<PastFailure>,
    /// The last failure without a NOTIFICATION.
    pub other: Option<PastFailure>,
}

impl FailureLog {
    pub(super) fn record(&mut self, mut failure: Failure, now: Time) {
        if let Failure::Sent(notification) | Failure::Received(notification) = &mut failure {
            notification.data.truncate(DATA_KEPT_MAX);
            notification.data.shrink_to_fit();
        }
        let place = match failure {
            Failure::Sent(_) => &mut self.sent,
            Failure::Received(_) => &mut self.received,
            _ => &mut self.other,
        };
        *place = Some(PastFailure { at: now, failure });
    }

    /// The last failure of all.
    pub fn last(&self) -> Option<&PastFailure> {
        // Of failures in one millisecond a NOTIFICATION says more.
        [&self.other, &self.received, &self.sent].into_iter().flatten().max_by_key(|past| past.at)
    }
}
