//! Prefix sets that answer in logarithmic time.
//!
//! The entries are sorted by address and length, and each knows the next shorter entry that covers it. All
//! entries that cover a prefix lie on the chain that begins at the greatest entry not above it: what lies
//! between a covering prefix and the prefix in that order is covered by the first as well. So one binary
//! search finds the chain, and the chain is as long as entries nest, which is two or three.

use super::model::PrefixRange;
use crate::types::{Prefix, Prefix4, Prefix6};

/// No entry.
const NONE: u32 = u32::MAX;

/// A compiled prefix set.
#[derive(Clone, Debug, Default)]
pub(super) struct PrefixTable {
    v4: Entries<Prefix4>,
    v6: Entries<Prefix6>,
}

impl PrefixTable {
    pub(super) fn new(ranges: &[PrefixRange]) -> PrefixTable {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for range in ranges {
            match range.prefix {
                Prefix::V4(prefix) => v4.push(Entry { prefix, ge: range.ge, le: range.le, parent: NONE }),
                Prefix::V6(prefix) => v6.push(Entry { prefix, ge: range.ge, le: range.le, parent: NONE }),
            }
        }
        PrefixTable { v4: Entries::new(v4), v6: Entries::new(v6) }
    }

    /// Whether one of the ranges holds `prefix`.
    pub(super) fn contains(&self, prefix: Prefix) -> bool {
        match prefix {
            Prefix::V4(prefix) => self.v4.contains(prefix),
            Prefix::V6(prefix) => self.v6.contains(prefix),
        }
    }
}

trait Covers: Copy + Ord {
    fn covers(self, other: Self) -> bool;
    fn len(self) -> u8;
}

impl Covers for Prefix4 {
    fn covers(self, other: Prefix4) -> bool {
        Prefix4::covers(self, other)
    }

    fn len(self) -> u8 {
        self.len
    }
}

impl Covers for Prefix6 {
    fn covers(self, other: Prefix6) -> bool {
        Prefix6::covers(self, other)
    }

    fn len(self) -> u8 {
        self.len
    }
}

#[derive(Clone, Debug)]
struct Entry<P> {
    prefix: P,
    ge: u8,
    le: u8,
    parent: u32,
}

#[derive(Clone, Debug)]
struct Entries<P>(Vec<Entry<P>>);

impl<P> Default for Entries<P> {
    fn default() -> Entries<P> {
        Entries(Vec::new())
    }
}

impl<P: Covers> Entries<P> {
    fn new(mut entries: Vec<Entry<P>>) -> Entries<P> {
        entries.sort_by_key(|entry| entry.prefix);
        let mut open: Vec<u32> = Vec::new();
        for i in 0..entries.len() {
            while let Some(top) = open.last()
                && !entries[*top as usize].prefix.covers(entries[i].prefix)
            {
                open.pop();
            }
            entries[i].parent = open.last().copied().unwrap_or(NONE);
            open.push(i as u32);
        }
        Entries(entries)
    }

    fn contains(&self, prefix: P) -> bool {
        let mut at = self.0.partition_point(|entry| entry.prefix <= prefix).wrapping_sub(1);
        while let Some(entry) = self.0.get(at) {
            if (entry.ge..=entry.le).contains(&prefix.len()) && entry.prefix.covers(prefix) {
                return true;
            }
            at = entry.parent as usize;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn v4() -> impl Strategy<Value = Prefix> {
        // Few addresses, so that prefixes nest and repeat.
        (0_u32..16, 0_u8..=32).prop_map(|(addr, len)| Prefix::V4(Prefix4::new(addr << 28 | addr, len)))
    }

    fn v6() -> impl Strategy<Value = Prefix> {
        (0_u128..16, 0_u8..=128).prop_map(|(addr, len)| Prefix::V6(Prefix6::new(addr << 124 | addr, len)))
    }

    fn range() -> impl Strategy<Value = PrefixRange> {
        (prop_oneof![v4(), v6()], 0_u8..=128, 0_u8..=128).prop_map(|(prefix, ge, le)| PrefixRange {
            prefix,
            ge: ge.max(prefix.len()),
            le,
        })
    }

    proptest! {
        #[test]
        fn the_table_finds_what_a_look_at_every_range_finds(
            ranges in prop::collection::vec(range(), 0..40),
            prefixes in prop::collection::vec(prop_oneof![v4(), v6()], 1..40),
        ) {
            let table = PrefixTable::new(&ranges);
            for prefix in prefixes {
                let plain = ranges.iter().any(|range| {
                    range.prefix.covers(prefix) && range.ge <= prefix.len() && prefix.len() <= range.le
                });
                prop_assert_eq!(table.contains(prefix), plain, "{}", prefix);
            }
        }
    }
}
