//! Requests whose authority is the path of a Unix socket.
//!
//! gRPC's Go library, and so `gobgp --target unix:///run/kulan/kulan.sock`, sends the socket's path as the
//! pseudo-header `:authority`. RFC 9113 §8.3.1 wants a host there, and the HTTP/2 library refuses the request
//! before any service sees it. On a Unix socket the authority means nothing, so [`AnyAuthority`] puts a
//! harmless host name in its place on the way in.
//!
//! The name has as many characters as the path. HPACK's dynamic table (RFC 7541 §4) remembers the field on
//! both sides and counts its characters, so both sides stay agreed about what the table holds. Everything
//! else passes unchanged, and so does what cannot be read: refusing it is the library's business.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tonic::transport::server::Connected;

/// What a client sends first (RFC 9113 §3.4).
const PREFACE_LEN: usize = 24;
/// Length, type, flags and stream (RFC 9113 §4.1).
const FRAME_HEADER_LEN: usize = 9;
/// The longest frame that the library takes unless told otherwise (RFC 9113 §4.2).
const FRAME_LEN_MAX: usize = 16_384;
const HEADERS: u8 = 1;
const FLAG_PADDED: u8 = 0x08;
const FLAG_PRIORITY: u8 = 0x20;
/// The place of `:authority` in HPACK's static table (RFC 7541, appendix A).
const AUTHORITY: usize = 1;

/// A connection of a client that may call the authority what it likes.
pub(super) struct AnyAuthority {
    stream: UnixStream,
    rewriter: Rewriter,
}

impl AnyAuthority {
    pub(super) fn new(stream: UnixStream) -> AnyAuthority {
        AnyAuthority { stream, rewriter: Rewriter::default() }
    }
}

impl Connected for AnyAuthority {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for AnyAuthority {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.rewriter.out.is_empty() {
            let mut room = [0; 4096];
            let mut read = ReadBuf::new(&mut room);
            ready!(Pin::new(&mut this.stream).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                // The end. A frame that was begun will never be whole.
                return Poll::Ready(Ok(()));
            }
            this.rewriter.push(read.filled());
        }
        let count = this.rewriter.out.len().min(buf.remaining());
        buf.put_slice(&this.rewriter.out[..count]);
        this.rewriter.out.drain(..count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for AnyAuthority {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Cuts a client's bytes into frames and rewrites those with headers.
struct Rewriter {
    /// Bytes that pass before the next frame begins.
    pass: usize,
    /// A frame whose end has not come; never more than [`FRAME_LEN_MAX`] and its header.
    frame: Vec<u8>,
    /// What is ready to be read.
    out: Vec<u8>,
}

impl Default for Rewriter {
    fn default() -> Rewriter {
        Rewriter { pass: PREFACE_LEN, frame: Vec::new(), out: Vec::new() }
    }
}

impl Rewriter {
    fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.pass > 0 {
                let (passing, rest) = bytes.split_at(self.pass.min(bytes.len()));
                self.out.extend_from_slice(passing);
                self.pass -= passing.len();
                bytes = rest;
                continue;
            }
            let wanted = match self.frame.first_chunk::<FRAME_HEADER_LEN>() {
                None => FRAME_HEADER_LEN,
                Some(header) => FRAME_HEADER_LEN + payload_len(header),
            };
            let (taken, rest) = bytes.split_at((wanted - self.frame.len()).min(bytes.len()));
            self.frame.extend_from_slice(taken);
            bytes = rest;
            self.finish_frame();
        }
    }

    /// Hands on the frame that was begun, if enough of it is there to know what becomes of it.
    fn finish_frame(&mut self) {
        let Some(header) = self.frame.first_chunk::<FRAME_HEADER_LEN>() else { return };
        let len = payload_len(header);
        if header[3] != HEADERS || len > FRAME_LEN_MAX {
            self.pass = len;
        } else if self.frame.len() < FRAME_HEADER_LEN + len {
            return;
        } else if let Some(rewritten) = with_harmless_authority(&self.frame) {
            self.frame = rewritten;
        }
        self.out.append(&mut self.frame);
    }
}

fn payload_len(header: &[u8; FRAME_HEADER_LEN]) -> usize {
    u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize
}

/// A HEADERS frame (RFC 9113 §6.2) with another authority; nothing if it has none to replace, or cannot be read.
fn with_harmless_authority(frame: &[u8]) -> Option<Vec<u8>> {
    let (header, payload) = frame.split_first_chunk::<FRAME_HEADER_LEN>()?;
    let flags = header[4];
    let mut start = 0;
    let mut end = payload.len();
    if flags & FLAG_PADDED != 0 {
        end = end.checked_sub(usize::from(*payload.first()?))?;
        start += 1;
    }
    if flags & FLAG_PRIORITY != 0 {
        start += 5;
    }
    let fields = payload.get(start..end)?;
    let (from, to, len) = find_authority(fields)?;
    let mut name = Vec::new();
    put_integer(&mut name, len);
    name.resize(name.len() + len, b'k');
    let rewritten = [&payload[..start + from], &name, &payload[start + to..]].concat();
    let [_, len_bytes @ ..] = u32::try_from(rewritten.len()).ok()?.to_be_bytes();
    (rewritten.len() <= FRAME_LEN_MAX).then(|| [&len_bytes, &header[3..], &rewritten].concat())
}

/// Where the value of `:authority` stands among the fields (RFC 7541 §6), its length included, and how many
/// characters it has.
fn find_authority(fields: &[u8]) -> Option<(usize, usize, usize)> {
    let mut rest = fields;
    loop {
        let first = *rest.first()?;
        let prefix_bits = match first {
            // An indexed field.
            0x80.. => {
                take_integer(&mut rest, 7)?;
                continue;
            }
            0x40.. => 6,
            // A change of the table's size.
            0x20.. => {
                take_integer(&mut rest, 5)?;
                continue;
            }
            _ => 4,
        };
        let name = take_integer(&mut rest, prefix_bits)?;
        if name == 0 {
            take_string(&mut rest)?;
        }
        let from = fields.len() - rest.len();
        let value = take_string(&mut rest)?;
        if name == AUTHORITY {
            return Some((from, fields.len() - rest.len(), value.char_count()));
        }
    }
}

/// An integer whose first bits share an octet with something else (RFC 7541 §5.1).
fn take_integer(rest: &mut &[u8], prefix_bits: u8) -> Option<usize> {
    let (&first, mut after) = rest.split_first()?;
    let mask = (1u8 << prefix_bits) - 1;
    let mut value = usize::from(first & mask);
    if first & mask == mask {
        let mut shift = 0;
        loop {
            let (&octet, next) = after.split_first()?;
            after = next;
            // Nothing in a frame is longer than 21 bits can say.
            if shift > 14 {
                return None;
            }
            value += usize::from(octet & 0x7f) << shift;
            shift += 7;
            if octet & 0x80 == 0 {
                break;
            }
        }
    }
    *rest = after;
    Some(value)
}

/// The length of a string that is not Huffman-coded.
fn put_integer(out: &mut Vec<u8>, value: usize) {
    const MASK: usize = 0x7f;
    if value < MASK {
        return out.push(value as u8);
    }
    out.push(MASK as u8);
    let mut rest = value - MASK;
    while rest > 0x7f {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// A string as it stands among the fields (RFC 7541 §5.2).
struct HpackString<'a> {
    huffman: bool,
    bytes: &'a [u8],
}

fn take_string<'a>(rest: &mut &'a [u8]) -> Option<HpackString<'a>> {
    let huffman = rest.first()? & 0x80 != 0;
    let len = take_integer(rest, 7)?;
    let (bytes, after) = rest.split_at_checked(len)?;
    *rest = after;
    Some(HpackString { huffman, bytes })
}

/// How many symbols of HPACK's Huffman code (RFC 7541, appendix B) have each length in bits. The code is
/// canonical, so this is enough to tell where each symbol ends.
const SYMBOLS_OF_LEN: [u32; 31] =
    [0, 0, 0, 0, 0, 10, 26, 32, 6, 0, 5, 3, 2, 6, 2, 3, 0, 0, 0, 3, 8, 13, 26, 29, 12, 4, 15, 19, 29, 0, 4];

impl HpackString<'_> {
    fn char_count(&self) -> usize {
        if !self.huffman {
            return self.bytes.len();
        }
        let mut count = 0;
        // The bits since the last symbol ended, their number, and the first code of that length.
        let (mut code, mut bits, mut first) = (0u32, 0usize, 0u32);
        for octet in self.bytes {
            for shift in (0..8).rev() {
                code = code << 1 | u32::from(octet >> shift & 1);
                bits += 1;
                // The code is complete: whatever the bits are, a symbol ends within 30 of them.
                let symbols = SYMBOLS_OF_LEN[bits];
                first <<= 1;
                if code - first < symbols {
                    count += 1;
                    (code, bits, first) = (0, 0, 0);
                } else {
                    first += symbols;
                }
            }
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The request of `gobgp --target unix:///tmp/b-sniff.sock global`, version 3.10.
    const GOBGP: &[u8] = b"\x00\x00\x49\x01\x04\x00\x00\x00\x01\
        \x83\x86E\x91`u\x9a\xb8\xd7\xc4x\xe6\xae\x1a\xcc\xc6\"\xa6\xec\xd5\xffA\x8da4\xd6\xc4k\"\xa3K*\xe89:\xff\
        _\x8b\x1du\xd0b\r&=LMedz\x8b\x9a\xca\xc8\xb4\xc7`+\xb2\xca\xec\xff@\x02te\x86M\x835\x05\xb1\x1f";
    const PATH: &str = "/tmp/b-sniff.sock";

    /// What comes out of the rewriter when so many bytes at a time go in.
    fn through(bytes: &[u8], step: usize) -> Vec<u8> {
        let mut rewriter = Rewriter::default();
        bytes.chunks(step).for_each(|chunk| rewriter.push(chunk));
        rewriter.out
    }

    fn with_preface(frames: &[&[u8]]) -> Vec<u8> {
        [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frames.concat()].concat()
    }

    #[test]
    fn a_path_becomes_a_host_name_of_the_same_length() {
        let settings = b"\0\0\0\x04\0\0\0\0\0";
        let data = b"\0\0\x05\0\x01\0\0\0\x01AAAAA";
        let sent = with_preface(&[settings, GOBGP, data]);
        let at = GOBGP.iter().position(|octet| *octet == b'A').unwrap() + 1;
        let host = [&[PATH.len() as u8][..], "k".repeat(PATH.len()).as_bytes()].concat();
        let mut rewritten = [&GOBGP[..at], &host, &GOBGP[at + 14..]].concat();
        rewritten[2] = (rewritten.len() - FRAME_HEADER_LEN) as u8;
        let expected = with_preface(&[settings, &rewritten, data]);
        for step in [1, 2, 7, 33, sent.len()] {
            assert_eq!(through(&sent, step), expected, "{step} bytes at a time");
        }
    }

    #[test]
    fn padding_and_priority_stay_where_they_are() {
        let frame = b"\0\0\x0c\x01\x2c\0\0\0\x01\x02\0\0\0\0\x10\x01\x02/x\0\0";
        let rewritten = with_harmless_authority(frame).unwrap();
        assert_eq!(rewritten, b"\0\0\x0c\x01\x2c\0\0\0\x01\x02\0\0\0\0\x10\x01\x02kk\0\0".as_slice());
    }

    #[test]
    fn what_has_no_authority_or_cannot_be_read_passes_as_it_is() {
        let cases: [&[u8]; 5] = [
            // All fields from the tables.
            b"\0\0\x03\x01\x05\0\0\0\x03\x83\x86\xbf",
            // A string that ends beyond the frame.
            b"\0\0\x03\x01\x04\0\0\0\x01\x41\x09/",
            // More padding than frame.
            b"\0\0\x02\x01\x0c\0\0\0\x01\x09\x83",
            // An integer without an end.
            b"\0\0\x06\x01\x04\0\0\0\x01\xff\xff\xff\xff\xff\xff",
            // Longer than a frame may be: only its header is looked at.
            b"\xff\xff\xff\x01\x04\0\0\0\x01\x41\x01/",
        ];
        for case in cases {
            let sent = with_preface(&[case]);
            assert_eq!(through(&sent, 5), sent, "{case:02x?}");
        }
    }

    #[test]
    fn integers_are_written_as_they_are_read() {
        for value in [0, 1, 126, 127, 128, 254, 255, 300, 16_383, 16_384] {
            let mut out = Vec::new();
            put_integer(&mut out, value);
            assert_eq!(take_integer(&mut &out[..], 7), Some(value));
        }
    }

    #[test]
    fn huffman_codes_are_counted_by_their_lengths() {
        let count = |bytes: &[u8]| HpackString { huffman: true, bytes }.char_count();
        // RFC 7541, appendix C.4.1: "www.example.com".
        assert_eq!(count(&[0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff]), 15);
        // Appendix C.6.1: "Mon, 21 Oct 2013 20:13:21 GMT".
        let date = [
            0xd0, 0x7a, 0xbe, 0x94, 0x10, 0x54, 0xd4, 0x44, 0xa8, 0x20, 0x05, 0x95, 0x04, 0x0b, 0x81, 0x66,
            0xe0, 0x82, 0xa6, 0x2d, 0x1b, 0xff,
        ];
        assert_eq!(count(&date), 29);
        assert_eq!(SYMBOLS_OF_LEN.iter().sum::<u32>(), 257);
        let share = |(len, symbols): (usize, &u32)| u64::from(*symbols) << (30 - len);
        assert_eq!(
            SYMBOLS_OF_LEN.iter().enumerate().map(share).sum::<u64>(),
            1 << 30,
            "the code is complete"
        );
    }
}
