//! Values as network operators write them.

use std::io::{self, Write};

use crate::control::proto::kulan as pb;

/// Where a line is broken, on a screen and in a file alike.
const LINE_CHARS_MAX: usize = 100;

/// Writes `name: value` with the values one under another at `column`. One that is too long for the line goes on
/// in the next at the same column; an empty one is left out.
pub(super) fn field(
    out: &mut impl Write,
    indent: usize,
    column: usize,
    name: &str,
    value: &str,
) -> io::Result<()> {
    if value.is_empty() {
        return Ok(());
    }
    let mut line = format!("{:indent$}{:<width$}", "", format!("{name}:"), width = column - indent);
    let mut chars = column;
    // The elements of a list stay whole.
    let separator = if value.contains(", ") { ", " } else { " " };
    for part in value.split_inclusive(separator) {
        let part_chars = part.trim_end().chars().count();
        if chars > column && chars + part_chars > LINE_CHARS_MAX {
            writeln!(out, "{}", line.trim_end())?;
            line = " ".repeat(column);
            chars = column;
        }
        line.push_str(part);
        chars += part.chars().count();
    }
    writeln!(out, "{line}")
}

/// A next hop; that of our own routes is whoever announces them.
pub(super) fn next_hop(address: &str) -> &str {
    match address {
        "0.0.0.0" | "::" => "self",
        address => address,
    }
}

/// A span of time as people say it: the two largest units, `2d3h`, `5m12s`, `8s`.
pub(super) fn span(ms: u64) -> String {
    let s = ms / 1000;
    let (m, h, d, w) = (s / 60, s / 3600, s / 86_400, s / 604_800);
    match (w, d, h, m) {
        (0, 0, 0, 0) => format!("{s}s"),
        (0, 0, 0, _) => format!("{m}m{}s", s % 60),
        (0, 0, _, _) => format!("{h}h{}m", m % 60),
        (0, _, _, _) => format!("{d}d{}h", h % 24),
        _ => format!("{w}w{}d", d % 7),
    }
}

/// A number of bytes as people say it: `512 B`, `12.3 MB`.
pub(super) fn bytes(count: u64) -> String {
    let scaled = |unit: f64| count as f64 / unit;
    match count {
        0..10_000 => format!("{count} B"),
        10_000..1_000_000 => format!("{:.1} kB", scaled(1e3)),
        1_000_000..1_000_000_000 => format!("{:.1} MB", scaled(1e6)),
        _ => format!("{:.2} GB", scaled(1e9)),
    }
}

/// Nanoseconds as people say them: `850 ns`, `12.0 us`, `3.4 ms`, `2.10 s`.
pub(super) fn nanoseconds(ns: u64) -> String {
    let scaled = |unit: f64| ns as f64 / unit;
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{:.1} us", scaled(1e3)),
        1_000_000..1_000_000_000 => format!("{:.1} ms", scaled(1e6)),
        _ => format!("{:.2} s", scaled(1e9)),
    }
}

/// An AS path: sequences with blanks, sets in braces, confederation segments in brackets.
pub(super) fn as_path(segments: &[pb::AsSegment]) -> String {
    use pb::as_segment::Kind;
    let segment = |segment: &pb::AsSegment| {
        let join = |with: &str| segment.asns.iter().map(u32::to_string).collect::<Vec<_>>().join(with);
        match segment.kind() {
            Kind::Set => format!("{{{}}}", join(",")),
            Kind::ConfedSequence => format!("({})", join(" ")),
            Kind::ConfedSet => format!("[{}]", join(",")),
            Kind::Sequence | Kind::Unspecified => join(" "),
        }
    };
    segments.iter().map(segment).collect::<Vec<_>>().join(" ")
}

/// The origin as a word.
pub(super) fn origin(origin: u32) -> &'static str {
    match origin {
        0 => "IGP",
        1 => "EGP",
        _ => "incomplete",
    }
}

/// The origin as the letter that stands after an AS path.
pub(super) fn origin_letter(origin: Option<u32>) -> &'static str {
    match origin {
        Some(0) => "i",
        Some(1) => "e",
        _ => "?",
    }
}

/// A standard community, `65000:1` (RFC 1997).
pub(super) fn community(community: u32) -> String {
    format!("{}:{}", community >> 16, community & 0xffff)
}

/// A standard community by its well-known name where it has one (IANA "BGP Well-known Communities").
pub(super) fn community_name(value: u32) -> String {
    match value {
        0xffff_0000 => "graceful-shutdown".into(),
        0xffff_0006 => "llgr-stale".into(),
        0xffff_0007 => "no-llgr".into(),
        0xffff_029a => "blackhole".into(),
        0xffff_ff01 => "no-export".into(),
        0xffff_ff02 => "no-advertise".into(),
        0xffff_ff03 => "no-export-subconfed".into(),
        0xffff_ff04 => "no-peer".into(),
        _ => community(value),
    }
}

/// A large community, `65000:1:2` (RFC 8092).
pub(super) fn large_community(of: &pb::LargeCommunity) -> String {
    format!("{}:{}:{}", of.global, of.local_1, of.local_2)
}

/// An extended community: route targets and origins of the three forms of RFC 4360 and RFC 5668 as
/// `rt:65000:1`, others in hexadecimal.
pub(super) fn extended_community(value: u64) -> String {
    let [kind, subtype, rest @ ..] = value.to_be_bytes();
    let name = match subtype {
        2 => "rt",
        3 => "soo",
        _ => return format!("0x{value:016x}"),
    };
    let high = u32::from_be_bytes([rest[0], rest[1], rest[2], rest[3]]);
    let low = u16::from_be_bytes([rest[4], rest[5]]);
    match kind & 0xbf {
        0 => format!("{name}:{}:{}", high >> 16, (high & 0xffff) << 16 | u32::from(low)),
        1 => format!("{name}:{}:{low}", std::net::Ipv4Addr::from(high)),
        2 => format!("{name}:{high}:{low}"),
        _ => format!("0x{value:016x}"),
    }
}

/// A capability (RFC 5492) by name, with what it says where that is short.
pub(super) fn capability(of: &pb::Capability) -> String {
    let number = |bytes: &[u8]| bytes.iter().fold(0u64, |all, &byte| all << 8 | u64::from(byte));
    match (of.code, &of.value[..]) {
        (1, [0, 1, _, 1]) => "multiprotocol ipv4-unicast".into(),
        (1, [0, 2, _, 1]) => "multiprotocol ipv6-unicast".into(),
        (1, value) if value.len() == 4 => {
            format!("multiprotocol AFI {} SAFI {}", number(&value[..2]), value[3])
        }
        (2, _) => "route refresh".into(),
        (5, _) => "extended next hop".into(),
        (6, _) => "extended messages".into(),
        (9, [role]) => format!("role {role}"),
        // Without a family nothing is kept for the sender: it only keeps routes of others (RFC 4724 §3).
        (64, [_, _]) => "graceful restart of others".into(),
        (64, [high, low, ..]) => {
            format!("graceful restart {} s", u16::from_be_bytes([high & 0x0f, *low]))
        }
        (65, value) if value.len() == 4 => format!("4-octet AS {}", number(value)),
        (69, value) if value.len() == 4 => {
            let mode = ["", " receive", " send", " send and receive"][usize::from(value[3] & 3)];
            format!("ADD-PATH{mode}")
        }
        (69, _) => "ADD-PATH".into(),
        (70, _) => "enhanced route refresh".into(),
        (71, _) => "long-lived graceful restart".into(),
        (73, [host_len, rest @ ..]) if rest.len() > usize::from(*host_len) => {
            format!("host name {}", String::from_utf8_lossy(&rest[..usize::from(*host_len)]))
        }
        (73, _) => "host name".into(),
        (75, [_, text @ ..]) => format!("software {}", String::from_utf8_lossy(text)),
        (code, _) => format!("code {code}"),
    }
}

/// A session's state as RFC 4271 spells it.
pub(super) fn state(state: pb::SessionState) -> &'static str {
    match state {
        pb::SessionState::Idle => "Idle",
        pb::SessionState::Connect => "Connect",
        pb::SessionState::Active => "Active",
        pb::SessionState::OpenSent => "OpenSent",
        pb::SessionState::OpenConfirm => "OpenConfirm",
        pb::SessionState::Established => "Established",
    }
}

/// What a person wants to know of a peer in one word: why it is down where somebody wants it so, else its
/// session's state.
pub(super) fn peer_state(peer: &pb::Peer) -> &'static str {
    match peer.admin_state() {
        pb::AdminState::Down => "Down (admin)",
        pb::AdminState::PrefixLimit => "Down (limit)",
        pb::AdminState::Up if peer.restarting => "Restarting",
        pb::AdminState::Up => state(peer.state()),
    }
}

/// A family's name.
pub(super) fn family(family: pb::Family) -> &'static str {
    match family {
        pb::Family::Unspecified => "unspecified",
        pb::Family::Ipv4Unicast => crate::types::Family::Ipv4Unicast.name(),
        pb::Family::Ipv6Unicast => crate::types::Family::Ipv6Unicast.name(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_broken_under_themselves() {
        let written = |value: &str| {
            let mut out = Vec::new();
            field(&mut out, 2, 10, "Name", value).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written("short"), "  Name:   short\n");
        assert_eq!(written(""), "");
        let word = "0123456789012345678";
        let words = written(&[word; 6].join(" "));
        assert_eq!(words.lines().map(str::len).collect::<Vec<_>>(), [89, 49]);
        assert!(words.lines().nth(1).unwrap().starts_with(&format!("          {word} ")), "{words}");
        let list = written(&["two words"; 12].join(", "));
        assert_eq!(list.lines().map(str::len).collect::<Vec<_>>(), [97, 52]);
    }

    #[test]
    fn spans_have_two_units() {
        for (ms, text) in [
            (0, "0s"),
            (59_999, "59s"),
            (312_000, "5m12s"),
            (3_600_000, "1h0m"),
            (51 * 3_600_000, "2d3h"),
            (16 * 86_400_000, "2w2d"),
        ] {
            assert_eq!(span(ms), text);
        }
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(bytes(512), "512 B");
        assert_eq!(bytes(12_345_678), "12.3 MB");
        assert_eq!(nanoseconds(850), "850 ns");
        assert_eq!(nanoseconds(2_100_000_000), "2.10 s");
    }

    #[test]
    fn as_paths_show_their_segments() {
        let segments = [
            pb::AsSegment { kind: 3, asns: vec![64512, 64513] },
            pb::AsSegment { kind: 2, asns: vec![65001, 4_200_000_000] },
            pb::AsSegment { kind: 1, asns: vec![1, 2] },
        ];
        assert_eq!(as_path(&segments), "(64512 64513) 65001 4200000000 {1,2}");
        assert_eq!(as_path(&[]), "");
    }

    #[test]
    fn communities_are_written_as_operators_do() {
        assert_eq!(community(65000 << 16 | 1), "65000:1");
        assert_eq!(community_name(0xffff_ff01), "no-export");
        assert_eq!(community_name(65000 << 16 | 1), "65000:1");
        assert_eq!(large_community(&pb::LargeCommunity { global: 1, local_1: 2, local_2: 3 }), "1:2:3");
        assert_eq!(extended_community(0x0002_fde8_0000_0064), "rt:65000:100");
        assert_eq!(extended_community(0x0102_0a00_0001_0064), "rt:10.0.0.1:100");
        assert_eq!(extended_community(0x0203_0001_0000_0064), "soo:65536:100");
        assert_eq!(extended_community(0x4006_0000_0000_0000), "0x4006000000000000");
    }

    #[test]
    fn capabilities_have_names() {
        let text = |code, value: &[u8]| capability(&pb::Capability { code, value: value.to_vec() });
        assert_eq!(text(1, &[0, 2, 0, 1]), "multiprotocol ipv6-unicast");
        assert_eq!(text(65, &[0, 1, 0, 0]), "4-octet AS 65536");
        assert_eq!(text(64, &[0x80, 120, 0, 1, 1, 0]), "graceful restart 120 s");
        assert_eq!(text(64, &[0x80, 120]), "graceful restart of others");
        assert_eq!(text(69, &[0, 1, 1, 3]), "ADD-PATH send and receive");
        assert_eq!(text(73, b"\x04tor1\x00"), "host name tor1");
        assert_eq!(text(75, b"\x07FRR 8.5"), "software FRR 8.5");
        assert_eq!(text(200, &[]), "code 200");
    }
}
