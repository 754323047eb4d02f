//! A map keyed by prefixes that keeps IPv4's small: a full table of 1,000,000 entries of four octets
//! takes about 25 MB, and only while the kernel's table is being compared.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use crate::types::{Prefix, Prefix4, Prefix6};

/// A map from prefixes of both families.
#[derive(Clone, Debug)]
pub struct PrefixMap<V> {
    v4: HashMap<Prefix4, V, FixedState>,
    v6: HashMap<Prefix6, V, FixedState>,
}

impl<V> Default for PrefixMap<V> {
    fn default() -> PrefixMap<V> {
        PrefixMap { v4: HashMap::default(), v6: HashMap::default() }
    }
}

impl<V> PrefixMap<V> {
    pub fn get(&self, prefix: Prefix) -> Option<&V> {
        match prefix {
            Prefix::V4(prefix) => self.v4.get(&prefix),
            Prefix::V6(prefix) => self.v6.get(&prefix),
        }
    }

    pub fn get_mut(&mut self, prefix: Prefix) -> Option<&mut V> {
        match prefix {
            Prefix::V4(prefix) => self.v4.get_mut(&prefix),
            Prefix::V6(prefix) => self.v6.get_mut(&prefix),
        }
    }

    pub fn insert(&mut self, prefix: Prefix, value: V) -> Option<V> {
        match prefix {
            Prefix::V4(prefix) => self.v4.insert(prefix, value),
            Prefix::V6(prefix) => self.v6.insert(prefix, value),
        }
    }

    pub fn remove(&mut self, prefix: Prefix) -> Option<V> {
        match prefix {
            Prefix::V4(prefix) => self.v4.remove(&prefix),
            Prefix::V6(prefix) => self.v6.remove(&prefix),
        }
    }

    pub fn get_or_default(&mut self, prefix: Prefix) -> &mut V
    where
        V: Default,
    {
        match prefix {
            Prefix::V4(prefix) => self.v4.entry(prefix).or_default(),
            Prefix::V6(prefix) => self.v6.entry(prefix).or_default(),
        }
    }

    pub fn retain(&mut self, mut keep: impl FnMut(Prefix, &mut V) -> bool) {
        self.v4.retain(|prefix, value| keep(Prefix::V4(*prefix), value));
        self.v6.retain(|prefix, value| keep(Prefix::V6(*prefix), value));
    }

    pub fn iter(&self) -> impl Iterator<Item = (Prefix, &V)> {
        let v4 = self.v4.iter().map(|(prefix, value)| (Prefix::V4(*prefix), value));
        v4.chain(self.v6.iter().map(|(prefix, value)| (Prefix::V6(*prefix), value)))
    }
}
