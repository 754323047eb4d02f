//! What the benchmarks share: the real data that they run on.
//!
//! The data are not part of the repository. `KULAN_DATA` names the folder that holds them, gzip-compressed;
//! `perf/README.md` says which files they are and where they come from.

use std::path::PathBuf;
use std::process::Command;

use kulan::types::{Prefix, Prefix4, Prefix6};

/// Unpacks a file of the data folder.
///
/// # Panics
/// If the folder or the file is missing: a benchmark cannot go on without.
pub fn unpacked(name: &str) -> Vec<u8> {
    let folder = std::env::var_os("KULAN_DATA").expect("KULAN_DATA names the folder with the data");
    let path = PathBuf::from(folder).join(name);
    let output = Command::new("gzip").arg("-dc").arg(&path).output().expect("gzip runs");
    assert!(output.status.success(), "gzip -dc {}", path.display());
    output.stdout
}

fn prefixes(name: &str) -> impl Iterator<Item = Prefix> {
    let text = String::from_utf8(unpacked(name)).expect("the prefix lists are ASCII");
    let list: Vec<Prefix> = text.lines().map(|line| line.parse().expect("one prefix a line")).collect();
    list.into_iter()
}

/// The IPv4 table of AS3333 as RIPE RIS saw it on 2026-05-11, in address order.
pub fn table4() -> Vec<Prefix4> {
    let v4 = |prefix| match prefix {
        Prefix::V4(prefix) => Some(prefix),
        Prefix::V6(_) => None,
    };
    prefixes("ris-as3333-20260511-v4-prefixes.txt.gz").filter_map(v4).collect()
}

/// The IPv6 table of the same peer.
pub fn table6() -> Vec<Prefix6> {
    let v6 = |prefix| match prefix {
        Prefix::V6(prefix) => Some(prefix),
        Prefix::V4(_) => None,
    };
    prefixes("ris-as3333-20260511-v6-prefixes.txt.gz").filter_map(v6).collect()
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
