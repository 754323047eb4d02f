//! The codec: BGP messages from bytes and to bytes, without state.
//!
//! [`frame`] cuts a byte stream into messages (RFC 4271 §4.1, §6.1; RFC 8654). [`open`], [`update`],
//! [`notification`] and [`route_refresh`] read and write one message each. An UPDATE is not copied:
//! [`update::decode_update`] checks the received bytes once and gives back a view over them, with
//! everything that RFC 7606 demands already decided. [`attrs`] reads and edits path attributes in their
//! canonical form, the one in which the rest of kulan keeps them; [`encode`] makes UPDATEs of them again.
//!
//! Guarantees:
//!
//! * The error value is the message that the peer must be sent: a [`Notification`].
//! * No input panics, loops without end, or makes us allocate more than a small multiple of its own
//!   length. Decoding a good UPDATE does not allocate at all.
//! * What a view hands out has been checked: its iterators cannot fail half way through.
//! * A peer's mistakes are dealt with where they are found, as the RFC says, and listed as
//!   [`finding::Finding`]s for the log and the counters.

pub mod attrs;
pub mod capability;
mod check;
pub mod encode;
pub mod finding;
pub mod frame;
pub mod nlri;
pub mod notification;
pub mod open;
pub mod route_refresh;
pub mod update;

#[cfg(test)]
mod tests;

pub use attrs::canonical::canonicalize;
pub use attrs::editor::AttributeEditor;
pub use attrs::{AsPath, PathAttributes};
pub use capability::Capability;
pub use encode::{AttributeSection, EncodeContext};
pub use finding::{Finding, Problem, Treatment};
pub use frame::{Frame, MessageKind, next_frame};
pub use nlri::Nlri;
pub use notification::Notification;
pub use open::Open;
pub use route_refresh::RouteRefresh;
pub use update::{DecodeContext, Reach, UpdateView, decode_update};

/// The AS number that stands for one that does not fit into two octets (RFC 6793 §9).
pub const AS_TRANS: u16 = 23456;

/// The 16-bit number at the start of `bytes`, which has at least two.
fn read_u16(bytes: &[u8]) -> u16 {
    u16::from_be_bytes([bytes[0], bytes[1]])
}

/// The 32-bit number at the start of `bytes`, which has at least four.
fn read_u32(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// As much of the front of `text` as fits into `len_max` octets without cutting a character.
fn truncated(text: &str, len_max: usize) -> &str {
    let mut len = text.len().min(len_max);
    while !text.is_char_boundary(len) {
        len -= 1;
    }
    &text[..len]
}
