//! What a receiver holds, compared with what it should hold.
//!
//! The comparison is kept up to date with every route, so that "the receiver has everything, and everything is
//! right" is one number, and the moment when it becomes true is known exactly.

use std::collections::HashSet;
use std::sync::Arc;

use super::message::{Key, show_key};

/// A number for each prefix that a receiver may be told of. Shared by all receivers of a workload.
#[derive(Debug)]
pub struct Index {
    /// Open addressing with linear probing: a key of 40 bits and its number in [`NUMBER_BITS`], or [`FREE`].
    /// Packed, since with a million prefixes the time goes into fetching them from memory.
    places: Vec<u64>,
    keys: Vec<Key>,
}

/// Enough for sixteen Internet tables.
const NUMBER_BITS: u32 = 24;
const FREE: u64 = u64::MAX;

impl Index {
    /// Numbers the prefixes in the order given.
    ///
    /// # Panics
    /// When one comes twice.
    pub fn new(keys: Vec<Key>) -> Index {
        assert!(keys.len() < 1 << NUMBER_BITS, "{} prefixes are too many", keys.len());
        let mut places = vec![FREE; (keys.len() * 2).next_power_of_two().max(8)];
        for (number, &key) in keys.iter().enumerate() {
            let mut place = spread(key, places.len());
            while places[place] != FREE {
                assert_ne!(places[place] >> NUMBER_BITS, key, "{} comes twice", show_key(key));
                place = (place + 1) & (places.len() - 1);
            }
            places[place] = key << NUMBER_BITS | number as u64;
        }
        Index { places, keys }
    }

    /// The number of a prefix.
    pub fn find(&self, key: Key) -> Option<usize> {
        let mut place = spread(key, self.places.len());
        loop {
            match self.places[place] {
                FREE => return None,
                packed if packed >> NUMBER_BITS == key => {
                    return Some((packed & ((1 << NUMBER_BITS) - 1)) as usize);
                }
                _ => place = (place + 1) & (self.places.len() - 1),
            }
        }
    }

    /// How many prefixes there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

/// The high bits of a product with an odd constant; `size` is a power of two.
fn spread(key: Key, size: usize) -> usize {
    (key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - size.trailing_zeros())) as usize
}

/// For each prefix of an [`Index`] the fingerprint of the attributes that it should have; 0: no route.
pub type Expectation = Arc<Vec<u64>>;

/// What a receiver holds.
#[derive(Debug)]
pub struct Table {
    index: Arc<Index>,
    expected: Expectation,
    held: Vec<u64>,
    /// How many of `held` are routes.
    count: usize,
    /// How many of `held` are not as expected.
    wrong: usize,
    /// Prefixes that the index does not know.
    foreign: HashSet<Key>,
    /// Room for [`Table::put`].
    numbers: Vec<Option<usize>>,
}

impl Table {
    /// An empty table that should become this.
    pub fn new(index: Arc<Index>, expected: Expectation) -> Table {
        // Not `vec![0; …]`, whose memory the kernel gives only when it is first used: while the speaker is timed.
        let mut held = expected.to_vec();
        held.fill(0);
        let wrong = expected.iter().filter(|want| **want != 0).count();
        Table { index, expected, held, count: 0, wrong, foreign: HashSet::new(), numbers: Vec::new() }
    }

    /// Changes what it should become.
    pub fn expect(&mut self, expected: Expectation) {
        assert_eq!(expected.len(), self.held.len(), "an expectation is for the table's own index");
        self.wrong = expected.iter().zip(&self.held).filter(|(want, have)| want != have).count();
        self.expected = expected;
    }

    /// Routes came, all with these attributes.
    pub fn announce(&mut self, keys: &[Key], fingerprint: u64) {
        self.put(keys, fingerprint);
    }

    /// Routes went.
    pub fn withdraw(&mut self, keys: &[Key]) {
        self.put(keys, 0);
    }

    fn put(&mut self, keys: &[Key], fingerprint: u64) {
        // First all the numbers, then all the routes: so that the processor waits for many at a time.
        let mut numbers = std::mem::take(&mut self.numbers);
        numbers.clear();
        numbers.extend(keys.iter().map(|key| self.index.find(*key)));
        for (number, key) in numbers.iter().zip(keys) {
            match number {
                Some(number) => {
                    let want = self.expected[*number];
                    let had = std::mem::replace(&mut self.held[*number], fingerprint);
                    self.count += usize::from(fingerprint != 0);
                    self.count -= usize::from(had != 0);
                    self.wrong += usize::from(had == want);
                    self.wrong -= usize::from(fingerprint == want);
                }
                None if fingerprint == 0 => {
                    self.foreign.remove(key);
                }
                None => {
                    self.foreign.insert(*key);
                }
            }
        }
        self.numbers = numbers;
    }

    /// Whether it holds exactly the right routes with exactly the right attributes.
    pub fn is_right(&self) -> bool {
        self.wrong == 0 && self.foreign.is_empty()
    }

    /// The fingerprint of what it holds for a prefix; 0: nothing.
    pub fn held(&self, key: Key) -> u64 {
        self.index.find(key).map_or(0, |number| self.held[number])
    }

    /// How many routes it holds.
    pub fn len(&self) -> usize {
        self.count + self.foreign.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is not as it should be: numbers, and a few examples; `show` says what a fingerprint stands for.
    pub fn complaint(&self, show: impl Fn(u64) -> String) -> String {
        let mut text = format!("{} of {} routes not as they should be", self.wrong, self.index.len());
        let differing = (0..self.held.len()).filter(|&number| self.held[number] != self.expected[number]);
        for number in differing.take(3) {
            text += &format!(
                "\n  {}\n    has {}\n    not {}",
                show_key(self.index.keys[number]),
                show(self.held[number]),
                show(self.expected[number])
            );
        }
        for key in self.foreign.iter().take(3) {
            text += &format!("\n  {} should not be there", show_key(*key));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bgp::message::key;
    use std::net::Ipv4Addr;

    #[test]
    fn a_table_is_right_exactly_when_it_holds_what_it_should() {
        let keys: Vec<Key> = (0..1000u32).map(|n| key(Ipv4Addr::from(n << 12), 20)).collect();
        let foreign = [key(Ipv4Addr::new(192, 0, 2, 0), 24)];
        let index = Arc::new(Index::new(keys.clone()));
        let expected: Expectation = Arc::new((0..1000).map(|n| if n == 7 { 0 } else { n + 1 }).collect());
        let mut table = Table::new(index, expected);
        for (number, key) in keys.iter().enumerate() {
            assert!(!table.is_right());
            table.announce(&[*key], number as u64 + 1);
        }
        assert!(!table.is_right(), "number 7 should not be there");
        table.withdraw(&keys[7..8]);
        assert!(table.is_right());
        table.announce(&keys[8..9], 1);
        assert!(!table.is_right(), "number 8 has wrong attributes");
        table.announce(&keys[8..9], 9);
        table.announce(&foreign, 5);
        assert!(!table.is_right(), "a prefix that nobody expects");
        table.withdraw(&foreign);
        assert!(table.is_right());
        table.expect(Arc::new(vec![0; 1000]));
        assert!(!table.is_right());
        table.withdraw(&keys);
        assert!(table.is_right() && table.is_empty());
    }
}
