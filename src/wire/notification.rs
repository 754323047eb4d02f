//! NOTIFICATION (RFC 4271 §4.5) as a message and as the error value of the whole codec.
//!
//! With it: the Cease subcodes of RFC 4486, the shutdown communication of RFC 9003, the hard reset of
//! RFC 8538 §3, the errors of RFC 7313 §5 and RFC 9687.

use std::fmt;

use super::frame::{self, HEADER_LEN, MESSAGE_LEN_MAX, MessageKind};
use super::truncated;

/// Message Header Error.
pub const HEADER: u8 = 1;
/// OPEN Message Error.
pub const OPEN: u8 = 2;
/// UPDATE Message Error.
pub const UPDATE: u8 = 3;
/// Hold Timer Expired.
pub const HOLD_TIMER_EXPIRED: u8 = 4;
/// Finite State Machine Error (subcodes: RFC 6608).
pub const FSM: u8 = 5;
/// Cease.
pub const CEASE: u8 = 6;
/// ROUTE-REFRESH Message Error (RFC 7313 §5).
pub const ROUTE_REFRESH: u8 = 7;
/// Send Hold Timer Expired (RFC 9687 §4).
pub const SEND_HOLD_TIMER_EXPIRED: u8 = 8;

/// Subcodes of [`HEADER`].
pub mod header {
    /// The marker is not all ones.
    pub const NOT_SYNCHRONIZED: u8 = 1;
    /// Bad Message Length.
    pub const BAD_LENGTH: u8 = 2;
    /// Bad Message Type.
    pub const BAD_TYPE: u8 = 3;
}

/// Subcodes of [`OPEN`].
pub mod open {
    /// Unspecific: among others, a recognized but malformed optional parameter.
    pub const UNSPECIFIC: u8 = 0;
    /// Unsupported Version Number.
    pub const UNSUPPORTED_VERSION: u8 = 1;
    /// Bad Peer AS.
    pub const BAD_PEER_AS: u8 = 2;
    /// Bad BGP Identifier.
    pub const BAD_IDENTIFIER: u8 = 3;
    /// Unsupported Optional Parameter.
    pub const UNSUPPORTED_PARAMETER: u8 = 4;
    /// Unacceptable Hold Time.
    pub const UNACCEPTABLE_HOLD_TIME: u8 = 6;
    /// Unsupported Capability (RFC 5492 §5).
    pub const UNSUPPORTED_CAPABILITY: u8 = 7;
    /// Role Mismatch (RFC 9234 §4.2).
    pub const ROLE_MISMATCH: u8 = 11;
}

/// Subcodes of [`UPDATE`].
pub mod update {
    /// Malformed Attribute List.
    pub const MALFORMED_ATTRIBUTE_LIST: u8 = 1;
    /// Unrecognized Well-known Attribute.
    pub const UNRECOGNIZED_WELL_KNOWN: u8 = 2;
    /// Missing Well-known Attribute.
    pub const MISSING_WELL_KNOWN: u8 = 3;
    /// Attribute Flags Error.
    pub const ATTRIBUTE_FLAGS: u8 = 4;
    /// Attribute Length Error.
    pub const ATTRIBUTE_LENGTH: u8 = 5;
    /// Invalid ORIGIN Attribute.
    pub const INVALID_ORIGIN: u8 = 6;
    /// Invalid NEXT_HOP Attribute.
    pub const INVALID_NEXT_HOP: u8 = 8;
    /// Optional Attribute Error.
    pub const OPTIONAL_ATTRIBUTE: u8 = 9;
    /// Invalid Network Field.
    pub const INVALID_NETWORK: u8 = 10;
    /// Malformed AS_PATH.
    pub const MALFORMED_AS_PATH: u8 = 11;
}

/// Subcodes of [`FSM`] (RFC 6608 §3): the state in which the message was not expected.
pub mod fsm {
    /// Unexpected message in OpenSent.
    pub const OPEN_SENT: u8 = 1;
    /// Unexpected message in OpenConfirm.
    pub const OPEN_CONFIRM: u8 = 2;
    /// Unexpected message in Established.
    pub const ESTABLISHED: u8 = 3;
}

/// Subcodes of [`CEASE`] (RFC 4486 §3, RFC 8538 §3, RFC 9384 §3).
pub mod cease {
    /// Maximum Number of Prefixes Reached.
    pub const PREFIX_LIMIT: u8 = 1;
    /// Administrative Shutdown.
    pub const SHUTDOWN: u8 = 2;
    /// Peer De-configured.
    pub const DECONFIGURED: u8 = 3;
    /// Administrative Reset.
    pub const RESET: u8 = 4;
    /// Connection Rejected.
    pub const REJECTED: u8 = 5;
    /// Other Configuration Change.
    pub const CONFIG_CHANGE: u8 = 6;
    /// Connection Collision Resolution.
    pub const COLLISION: u8 = 7;
    /// Out of Resources.
    pub const OUT_OF_RESOURCES: u8 = 8;
    /// Hard Reset (RFC 8538): the data hold the real code, subcode and data.
    pub const HARD_RESET: u8 = 9;
    /// BFD Down (RFC 9384).
    pub const BFD_DOWN: u8 = 10;
}

/// Subcodes of [`ROUTE_REFRESH`].
pub mod route_refresh {
    /// Invalid Message Length.
    pub const INVALID_LENGTH: u8 = 1;
}

/// The longest shutdown communication in octets (RFC 9003 §2: the length is one octet).
pub const COMMUNICATION_LEN_MAX: usize = 255;

/// A NOTIFICATION: why a session must end. The codec's functions return it as their error, ready to be
/// sent; [`Notification::decode`] gives the one that a peer sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Notification {
    /// The error code, one of the constants of this module.
    pub code: u8,
    /// The error subcode; 0 is "unspecific".
    pub subcode: u8,
    /// What the RFC says stands there for this error.
    pub data: Vec<u8>,
}

impl Notification {
    /// A NOTIFICATION without data.
    pub const fn new(code: u8, subcode: u8) -> Notification {
        Notification { code, subcode, data: Vec::new() }
    }

    /// A NOTIFICATION with data.
    pub fn with(code: u8, subcode: u8, data: &[u8]) -> Notification {
        Notification { code, subcode, data: data.to_vec() }
    }

    /// A Cease with a message for the people at the other end (RFC 9003 §2). Meant for the subcodes
    /// [`cease::SHUTDOWN`] and [`cease::RESET`]. Text beyond 255 octets is cut off between characters.
    pub fn cease_with_communication(subcode: u8, text: &str) -> Notification {
        let text = truncated(text, COMMUNICATION_LEN_MAX);
        let mut data = Vec::with_capacity(1 + text.len());
        data.push(text.len() as u8);
        data.extend_from_slice(text.as_bytes());
        Notification { code: CEASE, subcode, data }
    }

    /// The shutdown communication of a Cease (RFC 9003), bytes that are not UTF-8 replaced; of the inner
    /// one for a hard reset. `None` if there is none or its length does not fit the data.
    pub fn communication(&self) -> Option<String> {
        if let Some(inner) = self.unwrap_hard_reset() {
            return inner.communication();
        }
        if self.code != CEASE || !matches!(self.subcode, cease::SHUTDOWN | cease::RESET) {
            return None;
        }
        let (&len, text) = self.data.split_first()?;
        let text = text.get(..usize::from(len))?;
        (!text.is_empty()).then(|| String::from_utf8_lossy(text).into_owned())
    }

    /// This error as a hard reset: the peer then does not keep our routes although both sides negotiated
    /// to survive NOTIFICATIONs (RFC 8538 §3).
    #[must_use]
    pub fn into_hard_reset(self) -> Notification {
        let mut data = vec![self.code, self.subcode];
        data.extend_from_slice(&self.data);
        Notification { code: CEASE, subcode: cease::HARD_RESET, data }
    }

    /// Whether this is a hard reset, well-formed or not.
    pub fn is_hard_reset(&self) -> bool {
        self.code == CEASE && self.subcode == cease::HARD_RESET
    }

    /// The error inside a hard reset. A hard reset inside a hard reset stays wrapped.
    pub fn unwrap_hard_reset(&self) -> Option<Notification> {
        match (self.is_hard_reset(), &self.data[..]) {
            (true, [code, subcode, data @ ..]) if (*code, *subcode) != (CEASE, cease::HARD_RESET) => {
                Some(Notification::with(*code, *subcode, data))
            }
            _ => None,
        }
    }

    /// Reads the body of a NOTIFICATION.
    ///
    /// # Errors
    ///
    /// Bad Message Length for a body under two octets. It is for the log: RFC 4271 §6.4 forbids to answer
    /// a NOTIFICATION with another.
    pub fn decode(body: &[u8]) -> Result<Notification, Notification> {
        match body {
            [code, subcode, data @ ..] => Ok(Notification::with(*code, *subcode, data)),
            _ => {
                let len = (HEADER_LEN + body.len()) as u16;
                Err(Notification::with(HEADER, header::BAD_LENGTH, &len.to_be_bytes()))
            }
        }
    }

    /// Appends the message, header included. Data that would make it longer than 4,096 octets are cut
    /// off: the peer may not take longer ones.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = frame::begin(out, MessageKind::Notification);
        out.extend_from_slice(&[self.code, self.subcode]);
        let room = MESSAGE_LEN_MAX - (out.len() - start);
        out.extend_from_slice(&self.data[..self.data.len().min(room)]);
        frame::finish(out, start);
    }

    /// Code and subcode in words.
    fn words(&self) -> (&'static str, Option<&'static str>) {
        let code = match self.code {
            HEADER => "message header error",
            OPEN => "OPEN message error",
            UPDATE => "UPDATE message error",
            HOLD_TIMER_EXPIRED => "hold timer expired",
            FSM => "finite state machine error",
            CEASE => "cease",
            ROUTE_REFRESH => "ROUTE-REFRESH message error",
            SEND_HOLD_TIMER_EXPIRED => "send hold timer expired",
            _ => "unknown error",
        };
        let subcode = match (self.code, self.subcode) {
            (HEADER, header::NOT_SYNCHRONIZED) => "connection not synchronized",
            (HEADER, header::BAD_LENGTH) => "bad message length",
            (HEADER, header::BAD_TYPE) => "bad message type",
            (OPEN, open::UNSUPPORTED_VERSION) => "unsupported version number",
            (OPEN, open::BAD_PEER_AS) => "bad peer AS",
            (OPEN, open::BAD_IDENTIFIER) => "bad BGP identifier",
            (OPEN, open::UNSUPPORTED_PARAMETER) => "unsupported optional parameter",
            (OPEN, open::UNACCEPTABLE_HOLD_TIME) => "unacceptable hold time",
            (OPEN, open::UNSUPPORTED_CAPABILITY) => "unsupported capability",
            (OPEN, open::ROLE_MISMATCH) => "role mismatch",
            (UPDATE, update::MALFORMED_ATTRIBUTE_LIST) => "malformed attribute list",
            (UPDATE, update::UNRECOGNIZED_WELL_KNOWN) => "unrecognized well-known attribute",
            (UPDATE, update::MISSING_WELL_KNOWN) => "missing well-known attribute",
            (UPDATE, update::ATTRIBUTE_FLAGS) => "attribute flags error",
            (UPDATE, update::ATTRIBUTE_LENGTH) => "attribute length error",
            (UPDATE, update::INVALID_ORIGIN) => "invalid ORIGIN attribute",
            (UPDATE, update::INVALID_NEXT_HOP) => "invalid NEXT_HOP attribute",
            (UPDATE, update::OPTIONAL_ATTRIBUTE) => "optional attribute error",
            (UPDATE, update::INVALID_NETWORK) => "invalid network field",
            (UPDATE, update::MALFORMED_AS_PATH) => "malformed AS_PATH",
            (FSM, fsm::OPEN_SENT) => "unexpected message in OpenSent",
            (FSM, fsm::OPEN_CONFIRM) => "unexpected message in OpenConfirm",
            (FSM, fsm::ESTABLISHED) => "unexpected message in Established",
            (CEASE, cease::PREFIX_LIMIT) => "maximum number of prefixes reached",
            (CEASE, cease::SHUTDOWN) => "administrative shutdown",
            (CEASE, cease::DECONFIGURED) => "peer de-configured",
            (CEASE, cease::RESET) => "administrative reset",
            (CEASE, cease::REJECTED) => "connection rejected",
            (CEASE, cease::CONFIG_CHANGE) => "other configuration change",
            (CEASE, cease::COLLISION) => "connection collision resolution",
            (CEASE, cease::OUT_OF_RESOURCES) => "out of resources",
            (CEASE, cease::HARD_RESET) => "hard reset",
            (CEASE, cease::BFD_DOWN) => "BFD down",
            (ROUTE_REFRESH, route_refresh::INVALID_LENGTH) => "invalid message length",
            _ => return (code, None),
        };
        (code, Some(subcode))
    }
}

impl fmt::Display for Notification {
    /// In people's words, with the numbers: `cease (6): administrative shutdown (2), "back at 10"`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (code, subcode) = self.words();
        write!(f, "{code} ({})", self.code)?;
        match subcode {
            Some(subcode) => write!(f, ": {subcode} ({})", self.subcode)?,
            None if self.subcode != 0 => write!(f, ": subcode {}", self.subcode)?,
            None => {}
        }
        if let Some(inner) = self.unwrap_hard_reset() {
            return write!(f, ", {inner}");
        }
        if let Some(text) = self.communication() {
            return write!(f, ", {text:?}");
        }
        // RFC 9003 §2: a communication of no octets still has its length.
        let silent =
            self.code == CEASE && matches!(self.subcode, cease::SHUTDOWN | cease::RESET) && self.data == [0];
        if !self.data.is_empty() && !silent {
            // Enough to recognize the attribute or the field; a peer's kilobytes do not belong in a log.
            const SHOWN_MAX: usize = 32;
            write!(f, ", data ")?;
            for byte in self.data.iter().take(SHOWN_MAX) {
                write!(f, "{byte:02x}")?;
            }
            if self.data.len() > SHOWN_MAX {
                write!(f, "… ({} octets)", self.data.len())?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Notification {}

#[cfg(test)]
mod tests {
    use super::super::frame::next_frame;
    use super::*;

    fn round_trip(notification: &Notification) -> Notification {
        let mut out = Vec::new();
        notification.encode(&mut out);
        let frame = next_frame(&out, MESSAGE_LEN_MAX).unwrap().unwrap();
        assert_eq!((frame.kind, frame.len), (MessageKind::Notification, out.len()));
        Notification::decode(frame.body).unwrap()
    }

    #[test]
    fn survives_the_wire() {
        let sent = Notification::with(UPDATE, update::ATTRIBUTE_LENGTH, &[0x40, 1, 2, 0, 0]);
        assert_eq!(round_trip(&sent), sent);
        assert!(round_trip(&Notification::new(HOLD_TIMER_EXPIRED, 0)).data.is_empty());
    }

    #[test]
    fn a_body_under_two_octets_is_refused() {
        assert_eq!(Notification::decode(&[6]).unwrap_err().subcode, header::BAD_LENGTH);
        assert!(Notification::decode(&[]).is_err());
    }

    #[test]
    fn data_never_make_the_message_longer_than_4096() {
        let sent = Notification::with(UPDATE, update::MALFORMED_ATTRIBUTE_LIST, &[7; 5000]);
        assert_eq!(round_trip(&sent).data.len(), MESSAGE_LEN_MAX - 21);
    }

    #[test]
    fn shutdown_communication_of_rfc_9003() {
        let sent = Notification::cease_with_communication(cease::SHUTDOWN, "back at 10 — naps");
        assert_eq!(round_trip(&sent).communication().as_deref(), Some("back at 10 — naps"));
        let long = Notification::cease_with_communication(cease::RESET, &"ü".repeat(200));
        assert_eq!(long.data.len(), 1 + 254, "cut between characters");
        let cut = Notification::with(CEASE, cease::SHUTDOWN, &[9, b'x']);
        assert_eq!(cut.communication(), None, "a length beyond the data");
        assert_eq!(Notification::with(CEASE, cease::SHUTDOWN, &[0]).communication(), None);
        assert_eq!(Notification::with(CEASE, cease::COLLISION, &[1, b'x']).communication(), None);
        let broken = Notification::with(CEASE, cease::RESET, &[2, 0xff, b'x']);
        assert_eq!(broken.communication().as_deref(), Some("\u{fffd}x"));
    }

    #[test]
    fn hard_reset_of_rfc_8538() {
        let inner = Notification::cease_with_communication(cease::SHUTDOWN, "gone");
        let hard = inner.clone().into_hard_reset();
        assert_eq!((hard.code, hard.subcode, hard.data[0], hard.data[1]), (6, 9, 6, 2));
        assert_eq!(round_trip(&hard).unwrap_hard_reset(), Some(inner.clone()));
        assert_eq!(hard.communication().as_deref(), Some("gone"));
        assert_eq!(inner.unwrap_hard_reset(), None);
        let empty = Notification::new(CEASE, cease::HARD_RESET);
        assert!(empty.is_hard_reset() && empty.unwrap_hard_reset().is_none());
        assert_eq!(hard.into_hard_reset().unwrap_hard_reset(), None, "no nesting to recurse into");
    }

    #[test]
    fn is_printed_in_words() {
        let text = |n: Notification| n.to_string();
        assert_eq!(text(Notification::new(HOLD_TIMER_EXPIRED, 0)), "hold timer expired (4)");
        assert_eq!(
            text(Notification::cease_with_communication(2, "so long")),
            "cease (6): administrative shutdown (2), \"so long\""
        );
        assert_eq!(
            text(Notification::cease_with_communication(4, "")),
            "cease (6): administrative reset (4)"
        );
        assert_eq!(
            text(Notification::new(CEASE, cease::CONFIG_CHANGE).into_hard_reset()),
            "cease (6): hard reset (9), cease (6): other configuration change (6)"
        );
        assert_eq!(
            text(Notification::with(HEADER, 3, &[9])),
            "message header error (1): bad message type (3), data 09"
        );
        assert_eq!(text(Notification::new(99, 3)), "unknown error (99): subcode 3");
    }
}
