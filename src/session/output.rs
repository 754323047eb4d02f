//! What a session asks its owner to do.

use std::borrow::Cow;

use crate::types::{Family, FamilySet};
use crate::wire::route_refresh::RefreshKind;

use super::connection::Slot;

/// One thing to do. Outputs are to be carried out in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Dial the peer; answer with `handle_connected` or `handle_closed`.
    Connect(Slot),
    /// Write these bytes, one message, after whatever already waits to be written.
    Send(Slot, Cow<'static, [u8]>),
    /// Close the connection, or give up dialling, after an attempt to write what waits. It is not to be
    /// answered with `handle_closed`; the slot may be used anew at once.
    Close(Slot),
    /// The session is up: `Session::negotiated` says with what. Outputs of this and the next kind take
    /// turns.
    Established(Slot),
    /// The session is down. Routes of the families in `retain` are to be kept as stale, all others removed
    /// at once. Routes that are stale already are to be removed in any case (RFC 4724 §4.2).
    Down {
        /// The families whose routes outlive the session.
        retain: FamilySet,
    },
    /// Remove what is still stale of these families.
    RemoveStale(FamilySet),
    /// The peer sent a ROUTE-REFRESH for a family that is in use.
    RouteRefresh(Family, RefreshKind),
    /// A dynamic peer has gone, and nothing of it is left to wait for: the session can be dropped.
    Gone,
}
