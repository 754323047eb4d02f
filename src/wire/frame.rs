//! Message framing: the header of RFC 4271 §4.1 and the errors of §6.1, with the larger messages of
//! RFC 8654.

use super::notification::{self, Notification};
use super::read_u16;

/// The length of the header: marker, length, type.
pub const HEADER_LEN: usize = 19;
/// The longest message without the Extended Message capability, and the longest OPEN with it.
pub const MESSAGE_LEN_MAX: usize = 4096;
/// The longest message with the Extended Message capability (RFC 8654 §4).
pub const EXTENDED_MESSAGE_LEN_MAX: usize = 65535;

const MARKER: [u8; 16] = [0xff; 16];

/// The type of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum MessageKind {
    /// OPEN.
    Open = 1,
    /// UPDATE.
    Update = 2,
    /// NOTIFICATION.
    Notification = 3,
    /// KEEPALIVE.
    Keepalive = 4,
    /// ROUTE-REFRESH (RFC 2918).
    RouteRefresh = 5,
}

impl MessageKind {
    fn from_u8(kind: u8) -> Option<MessageKind> {
        Some(match kind {
            1 => MessageKind::Open,
            2 => MessageKind::Update,
            3 => MessageKind::Notification,
            4 => MessageKind::Keepalive,
            5 => MessageKind::RouteRefresh,
            _ => return None,
        })
    }

    /// The shortest and the longest message of this type, header included.
    fn length_range(self, max_len: usize) -> (usize, usize) {
        match self {
            // RFC 8654 §4: the limit of OPEN does not move.
            MessageKind::Open => (29, MESSAGE_LEN_MAX),
            MessageKind::Update => (23, max_len),
            MessageKind::Notification => (21, max_len),
            MessageKind::Keepalive => (HEADER_LEN, HEADER_LEN),
            MessageKind::RouteRefresh => (23, max_len),
        }
    }
}

/// One complete message within a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The type of the message.
    pub kind: MessageKind,
    /// What follows the header.
    pub body: &'a [u8],
    /// The length with the header: what the caller drops from the buffer when done.
    pub len: usize,
}

/// The message at the start of `buf`, or `None` while it is incomplete.
///
/// `max_len` is [`MESSAGE_LEN_MAX`], or [`EXTENDED_MESSAGE_LEN_MAX`] once we have told the peer that we
/// accept that. A header is refused as soon as it is complete, whether or not the body has come, so a
/// buffer of `max_len` bytes always makes progress.
///
/// # Errors
///
/// The NOTIFICATION of RFC 4271 §6.1.
pub fn next_frame(buf: &[u8], max_len: usize) -> Result<Option<Frame<'_>>, Notification> {
    let Some((header, _)) = buf.split_first_chunk::<HEADER_LEN>() else {
        return Ok(None);
    };
    if header[..16] != MARKER {
        return Err(Notification::new(notification::HEADER, notification::header::NOT_SYNCHRONIZED));
    }
    let length_field = [header[16], header[17]];
    let len = usize::from(u16::from_be_bytes(length_field));
    let bad_length =
        || Notification::with(notification::HEADER, notification::header::BAD_LENGTH, &length_field);
    if len < HEADER_LEN || len > max_len {
        return Err(bad_length());
    }
    let Some(kind) = MessageKind::from_u8(header[18]) else {
        return Err(Notification::with(notification::HEADER, notification::header::BAD_TYPE, &[header[18]]));
    };
    let (shortest, longest) = kind.length_range(max_len);
    if len < shortest || len > longest {
        return Err(bad_length());
    }
    if buf.len() < len {
        return Ok(None);
    }
    Ok(Some(Frame { kind, body: &buf[HEADER_LEN..len], len }))
}

/// How many bytes the message at the start of `buf` has, once its header is complete. Says nothing about
/// whether they are right: that is [`next_frame`]'s business.
pub fn announced_len(buf: &[u8]) -> Option<usize> {
    (buf.len() >= HEADER_LEN).then(|| usize::from(read_u16(&buf[16..18])))
}

/// Appends a KEEPALIVE.
pub fn encode_keepalive(out: &mut Vec<u8>) {
    begin(out, MessageKind::Keepalive);
    let start = out.len() - HEADER_LEN;
    finish(out, start);
}

/// Appends a header whose length [`finish`] fills in; gives back where the message starts.
pub(super) fn begin(out: &mut Vec<u8>, kind: MessageKind) -> usize {
    let start = out.len();
    out.extend_from_slice(&MARKER);
    out.extend_from_slice(&[0, 0, kind as u8]);
    start
}

/// Writes the length of the message that started at `start` and ends with `out`; at most 65,535 bytes.
pub(super) fn finish(out: &mut [u8], start: usize) {
    let len = out.len() - start;
    debug_assert!((HEADER_LEN..=EXTENDED_MESSAGE_LEN_MAX).contains(&len));
    out[start + 16..start + 18].copy_from_slice(&(len as u16).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, len: u16, body_len: usize) -> Vec<u8> {
        let mut bytes = vec![0xff; 16];
        bytes.extend_from_slice(&len.to_be_bytes());
        bytes.push(kind);
        bytes.resize(HEADER_LEN + body_len, 0);
        bytes
    }

    #[test]
    fn a_message_comes_out_when_its_last_byte_is_there() {
        let bytes = message(2, 23, 4);
        for have in 0..23 {
            assert_eq!(next_frame(&bytes[..have], 4096), Ok(None), "{have} bytes");
        }
        let frame = next_frame(&bytes, 4096).unwrap().unwrap();
        assert_eq!((frame.kind, frame.body, frame.len), (MessageKind::Update, &[0u8; 4][..], 23));
    }

    #[test]
    fn header_errors_of_rfc_4271_6_1() {
        type Case = (&'static str, Vec<u8>, usize, u8, &'static [u8]);
        let cases: [Case; 13] = [
            (
                "marker",
                {
                    let mut m = message(4, 19, 0);
                    m[7] = 0;
                    m
                },
                4096,
                1,
                &[],
            ),
            ("shorter than a header", message(4, 18, 0), 4096, 2, &[0, 18]),
            ("longer than 4096", message(2, 4097, 0), 4096, 2, &[0x10, 1]),
            ("KEEPALIVE with a body", message(4, 20, 1), 4096, 2, &[0, 20]),
            ("OPEN too short", message(1, 28, 9), 4096, 2, &[0, 28]),
            ("UPDATE too short", message(2, 22, 3), 4096, 2, &[0, 22]),
            ("NOTIFICATION too short", message(3, 20, 1), 4096, 2, &[0, 20]),
            ("ROUTE-REFRESH too short", message(5, 22, 3), 4096, 2, &[0, 22]),
            ("OPEN stays at 4096 (RFC 8654)", message(1, 4097, 0), 65535, 2, &[0x10, 1]),
            ("KEEPALIVE stays at 19", message(4, 4097, 0), 65535, 2, &[0x10, 1]),
            ("type 0", message(0, 19, 0), 4096, 3, &[0]),
            ("type 6", message(6, 19, 0), 4096, 3, &[6]),
            ("length before type", message(9, 3, 0), 4096, 2, &[0, 3]),
        ];
        for (what, bytes, max_len, subcode, data) in cases {
            let error = next_frame(&bytes, max_len).unwrap_err();
            assert_eq!((error.code, error.subcode, &error.data[..]), (1, subcode, data), "{what}");
        }
    }

    #[test]
    fn a_negotiated_extended_message_may_be_65535_long() {
        let bytes = message(2, 65535, 65535 - HEADER_LEN);
        let frame = next_frame(&bytes, EXTENDED_MESSAGE_LEN_MAX).unwrap().unwrap();
        assert_eq!(frame.len, 65535);
        assert!(next_frame(&bytes, MESSAGE_LEN_MAX).is_err());
    }

    #[test]
    fn keepalive_is_a_bare_header() {
        let mut out = vec![7];
        encode_keepalive(&mut out);
        let frame = next_frame(&out[1..], 4096).unwrap().unwrap();
        assert_eq!((frame.kind, frame.len, frame.body.len()), (MessageKind::Keepalive, 19, 0));
        assert_eq!(announced_len(&out[1..]), Some(19));
    }
}
