//! Routes of ours in the kernel that no destination wants: what an earlier process left behind, until it is learned
//! again or removed. In the order of prefixes, because people look through them a page at a time.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

use super::prefix_map::PrefixMap;
use crate::types::{Family, Prefix, Prefix4, Prefix6};

/// Prefixes with the ids of their next-hop objects.
#[derive(Clone, Debug, Default)]
pub struct Stale {
    v4: BTreeMap<Prefix4, u32>,
    v6: BTreeMap<Prefix6, u32>,
}

impl Stale {
    /// What a reading of the kernel found, and nobody wanted.
    pub fn of(census: &PrefixMap<u32>) -> Stale {
        let mut stale = Stale::default();
        for (prefix, id) in census.iter() {
            stale.insert(prefix, *id);
        }
        stale
    }

    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    pub fn contains(&self, prefix: Prefix) -> bool {
        match prefix {
            Prefix::V4(prefix) => self.v4.contains_key(&prefix),
            Prefix::V6(prefix) => self.v6.contains_key(&prefix),
        }
    }

    pub fn insert(&mut self, prefix: Prefix, id: u32) {
        match prefix {
            Prefix::V4(prefix) => self.v4.insert(prefix, id),
            Prefix::V6(prefix) => self.v6.insert(prefix, id),
        };
    }

    pub fn remove(&mut self, prefix: Prefix) -> Option<u32> {
        match prefix {
            Prefix::V4(prefix) => self.v4.remove(&prefix),
            Prefix::V6(prefix) => self.v6.remove(&prefix),
        }
    }

    /// Keeps those with an id that `keep` names.
    pub fn retain(&mut self, keep: impl Fn(u32) -> bool) {
        self.v4.retain(|_, id| keep(*id));
        self.v6.retain(|_, id| keep(*id));
    }

    /// Those of a family behind `after`, in order.
    pub fn after(&self, family: Family, after: Option<Prefix>) -> impl Iterator<Item = (Prefix, u32)> + '_ {
        let (mut v4, mut v6) = (None, None);
        match (family, after) {
            (Family::Ipv4Unicast, Some(Prefix::V4(after))) => {
                v4 = Some(self.v4.range((Excluded(after), Unbounded)));
            }
            (Family::Ipv4Unicast, _) => v4 = Some(self.v4.range::<Prefix4, _>(..)),
            (Family::Ipv6Unicast, Some(Prefix::V6(after))) => {
                v6 = Some(self.v6.range((Excluded(after), Unbounded)));
            }
            (Family::Ipv6Unicast, _) => v6 = Some(self.v6.range::<Prefix6, _>(..)),
        }
        let v4 = v4.into_iter().flatten().map(|(prefix, id)| (Prefix::V4(*prefix), *id));
        v4.chain(v6.into_iter().flatten().map(|(prefix, id)| (Prefix::V6(*prefix), *id)))
    }

    /// All of them, scattered: the kernel's trie removes scattered routes two to three times as fast as neighbours,
    /// for which it shrinks the same nodes over and over.
    pub fn scattered(&self) -> Vec<Prefix> {
        let families = Family::ALL.into_iter();
        let mut all: Vec<Prefix> =
            families.flat_map(|family| self.after(family, None)).map(|(prefix, _)| prefix).collect();
        let mut random = 0x9e37_79b9_7f4a_7c15u64;
        for at in (1..all.len()).rev() {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            all.swap(at, (random % (at as u64 + 1)) as usize);
        }
        all
    }
}
