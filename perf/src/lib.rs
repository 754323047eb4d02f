//! What the benchmarks share: the real data that they run on.
//!
//! The data lie in `scale-tests/data`; the README there says what they are and where they come from.

use std::path::Path;
use std::process::Command;
use std::str::FromStr;

use kulan::types::{Family, FamilySet, NextHop, Prefix, Prefix4, Prefix6};
use kulan::wire::attrs::canonical::canonicalize;
use kulan::wire::frame::{MessageKind, next_frame};
use kulan::wire::update::{DecodeContext, decode_update};

/// Unpacks a file of `scale-tests/data`.
///
/// # Panics
/// If the file is missing: a benchmark cannot go on without.
pub fn unpacked(name: &str) -> Vec<u8> {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../scale-tests/data")).join(name);
    let output = Command::new("gzip").arg("-dc").arg(&path).output().expect("gzip runs");
    assert!(output.status.success(), "gzip -dc {}", path.display());
    output.stdout
}

fn lines<T: FromStr<Err: std::fmt::Debug>>(name: &str) -> Vec<T> {
    let text = String::from_utf8(unpacked(name)).expect("the lists are ASCII");
    text.lines().map(|line| line.parse().expect("a prefix a line")).collect()
}

/// The IPv4 table of AS3333 as RIPE RIS saw it on 2026-05-11, in address order.
pub fn table4() -> Vec<Prefix4> {
    let v4 = |prefix| match prefix {
        Prefix::V4(prefix) => Some(prefix),
        Prefix::V6(_) => None,
    };
    lines("ris-as3333-20260511-v4-prefixes.txt.gz").into_iter().filter_map(v4).collect()
}

/// The IPv6 table of the same peer.
pub fn table6() -> Vec<Prefix6> {
    let v6 = |prefix| match prefix {
        Prefix::V6(prefix) => Some(prefix),
        Prefix::V4(_) => None,
    };
    lines("ris-as3333-20260511-v6-prefixes.txt.gz").into_iter().filter_map(v6).collect()
}

/// The bytes of the feed of PCH's route reflector of 2015-10-23: messages one behind another.
pub fn feed_bytes() -> Vec<u8> {
    unpacked("pch-as3856-ibgp-2015.bgp.gz")
}

/// How that feed is to be read.
pub fn feed_context() -> DecodeContext {
    DecodeContext {
        four_octet_as: true,
        external: false,
        families: FamilySet::only(Family::Ipv4Unicast),
        add_path: FamilySet::EMPTY,
        extended_next_hop: false,
    }
}

/// The bodies of the UPDATE messages of a feed.
pub fn update_bodies(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut bodies = Vec::new();
    while let Ok(Some(frame)) = next_frame(bytes, 4096) {
        if frame.kind == MessageKind::Update {
            bodies.push(frame.body);
        }
        bytes = &bytes[frame.len..];
    }
    bodies
}

/// What one UPDATE announces.
pub struct Announcement {
    /// The canonical attribute block.
    pub block: Vec<u8>,
    /// The next hop.
    pub next_hop: NextHop,
    /// The prefixes.
    pub prefixes: Vec<Prefix4>,
}

/// The announcements of PCH's feed.
pub fn feed() -> Vec<Announcement> {
    let bytes = feed_bytes();
    let mut announcements = Vec::new();
    for body in update_bodies(&bytes) {
        let Ok(view) = decode_update(body, &feed_context()) else { continue };
        for reach in view.announcements() {
            let (mut block, mut prefixes) = (Vec::new(), Vec::new());
            canonicalize(&view, &mut block);
            reach.nlri.decode4(&mut prefixes);
            announcements.push(Announcement { block, next_hop: reach.next_hop, prefixes });
        }
    }
    announcements
}

/// The attribute blocks of PCH's feed with the prefixes of the RIS table, about seven to a block as the
/// Internet has it: a composite that is as large as today's table.
pub fn composite() -> Vec<Announcement> {
    let mut feed = feed();
    let table = shuffled(&table4());
    // Blocks hold as many prefixes as in the feed, in proportion; so some hold one and some thousands.
    let known: usize = feed.iter().map(|announcement| announcement.prefixes.len()).sum();
    let (mut done, mut taken) = (0, 0);
    for announcement in &mut feed {
        done += announcement.prefixes.len();
        let end = table.len() * done / known;
        announcement.prefixes = table[taken..end].to_vec();
        announcement.prefixes.sort_unstable();
        taken = end;
    }
    feed.retain(|announcement| !announcement.prefixes.is_empty());
    feed
}

/// The same elements in an order that looks random and is the same each time.
pub fn shuffled<T: Clone>(list: &[T]) -> Vec<T> {
    let mut list = list.to_vec();
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    for last in (1..list.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        list.swap(last, (state % (last as u64 + 1)) as usize);
    }
    list
}

/// How much memory of this process is resident, in bytes.
pub fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux has /proc");
    let pages: usize = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("statm's form");
    pages * 4096
}

/// How long this process has run on a processor, in nanoseconds: what a busy machine leaves comparable.
/// The kernel brings it up to date at least once a tick, every 4 ms.
pub fn processor_ns() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/schedstat").expect("Linux has /proc");
    stat.split(' ').next().and_then(|ns| ns.parse().ok()).expect("schedstat's form")
}
