//! A number for each prefix.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use kulan::types::{Prefix, Prefix4};

/// Numbers prefixes in the order in which they are first met.
#[derive(Debug)]
pub struct Index {
    prefixes: Vec<Prefix>,
    /// IPv4 prefixes: open addressing with linear probing, key and number side by side, since with a million
    /// prefixes the time goes into fetching them from memory.
    places4: Vec<(u64, u32)>,
    count4: usize,
    table6: HashTable<u32>,
    hasher: FixedState,
}

/// No IPv4 prefix: its length would be 255.
const FREE: u64 = u64::MAX;

impl Default for Index {
    fn default() -> Index {
        Index::new()
    }
}

impl Index {
    /// An empty index.
    pub fn new() -> Index {
        Index {
            prefixes: Vec::new(),
            places4: vec![(FREE, 0); 8],
            count4: 0,
            table6: HashTable::new(),
            hasher: FixedState::with_seed(2),
        }
    }

    /// How many prefixes there are.
    pub fn len(&self) -> usize {
        self.prefixes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.prefixes.is_empty()
    }

    /// The prefix with this number.
    pub fn prefix(&self, number: u32) -> Prefix {
        self.prefixes[number as usize]
    }

    /// The number of an IPv4 prefix, if it has one.
    #[inline]
    pub fn find4(&self, prefix: Prefix4) -> Option<u32> {
        let key = key(prefix);
        let mut place = spread(key, self.places4.len());
        loop {
            match self.places4[place] {
                (FREE, _) => return None,
                (found, number) if found == key => return Some(number),
                _ => place = (place + 1) & (self.places4.len() - 1),
            }
        }
    }

    /// The number of a prefix; a new one if it has none yet.
    pub fn number(&mut self, prefix: Prefix) -> u32 {
        match prefix {
            Prefix::V4(prefix4) => {
                if let Some(number) = self.find4(prefix4) {
                    return number;
                }
                if (self.count4 + 1) * 2 > self.places4.len() {
                    self.grow4();
                }
                let number = self.prefixes.len() as u32;
                put(&mut self.places4, key(prefix4), number);
                self.count4 += 1;
                self.prefixes.push(prefix);
                number
            }
            Prefix::V6(_) => {
                let Index { prefixes, table6, hasher, .. } = self;
                let hash = hasher.hash_one(prefix);
                if let Some(&number) = table6.find(hash, |&number| prefixes[number as usize] == prefix) {
                    return number;
                }
                let number = prefixes.len() as u32;
                prefixes.push(prefix);
                table6.insert_unique(hash, number, |&number| hasher.hash_one(prefixes[number as usize]));
                number
            }
        }
    }

    fn grow4(&mut self) {
        let mut larger = vec![(FREE, 0); self.places4.len() * 4];
        for &(key, number) in self.places4.iter().filter(|(key, _)| *key != FREE) {
            put(&mut larger, key, number);
        }
        self.places4 = larger;
    }
}

fn put(places: &mut [(u64, u32)], key: u64, number: u32) {
    let mut place = spread(key, places.len());
    while places[place].0 != FREE {
        place = (place + 1) & (places.len() - 1);
    }
    places[place] = (key, number);
}

fn key(prefix: Prefix4) -> u64 {
    u64::from(prefix.addr) << 8 | u64::from(prefix.len)
}

/// The high bits of a product with an odd constant; `size` is a power of two.
fn spread(key: u64, size: usize) -> usize {
    (key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - size.trailing_zeros())) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prefix_keeps_its_number() {
        let mut index = Index::new();
        let prefixes: Vec<Prefix> = (0..5000u32)
            .map(|n| format!("10.{}.{}.0/24", n >> 8 & 255, n & 255))
            .chain((0..5000).map(|n| format!("2001:db8:{n:x}::/48")))
            .chain(["0.0.0.0/0".to_string(), "::/0".to_string(), "10.0.0.0/23".to_string()])
            .map(|text| text.parse().unwrap())
            .collect();
        let numbers: Vec<u32> = prefixes.iter().map(|prefix| index.number(*prefix)).collect();
        assert_eq!(numbers, (0..prefixes.len() as u32).collect::<Vec<_>>());
        for (number, prefix) in prefixes.iter().enumerate() {
            assert_eq!(index.number(*prefix), number as u32);
            assert_eq!(index.prefix(number as u32), *prefix);
        }
        assert_eq!(index.find4(Prefix4::new(0x0b00_0000, 24)), None);
    }
}
