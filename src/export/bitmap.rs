//! A set of destinations that costs memory only where it holds some.

/// Bits in a page.
const PAGE_BITS: usize = 4096;
const PAGE_WORDS: usize = PAGE_BITS / 64;

/// A set of u32 in pages of 4,096 bits; a page without bits takes eight bytes.
#[derive(Default)]
pub(super) struct Bitmap {
    pages: Vec<Option<Box<[u64; PAGE_WORDS]>>>,
    ones: usize,
}

impl Bitmap {
    /// Whether `bit` is in the set.
    pub fn contains(&self, bit: u32) -> bool {
        let (page, word, mask) = place(bit);
        matches!(self.pages.get(page), Some(Some(words)) if words[word] & mask != 0)
    }

    /// Puts `bit` in; returns whether it was not there.
    pub fn insert(&mut self, bit: u32) -> bool {
        let (page, word, mask) = place(bit);
        if page >= self.pages.len() {
            self.pages.resize_with(page + 1, || None);
        }
        let words = self.pages[page].get_or_insert_with(|| Box::new([0; PAGE_WORDS]));
        let new = words[word] & mask == 0;
        words[word] |= mask;
        self.ones += usize::from(new);
        new
    }

    /// Takes `bit` out; returns whether it was there.
    pub fn remove(&mut self, bit: u32) -> bool {
        let (page, word, mask) = place(bit);
        let Some(Some(words)) = self.pages.get_mut(page) else { return false };
        let there = words[word] & mask != 0;
        words[word] &= !mask;
        self.ones -= usize::from(there);
        if there && words.iter().all(|word| *word == 0) {
            self.pages[page] = None;
        }
        there
    }

    /// Puts `bit` in or takes it out.
    pub fn assign(&mut self, bit: u32, value: bool) {
        if value {
            self.insert(bit);
        } else {
            self.remove(bit);
        }
    }

    /// How many bits are in.
    pub fn len(&self) -> usize {
        self.ones
    }

    /// Whether none is in.
    pub fn is_empty(&self) -> bool {
        self.ones == 0
    }

    /// The least member that is at least `from`.
    pub fn next(&self, from: u32) -> Option<u32> {
        let (first, first_word, mask) = place(from);
        for page in first..self.pages.len() {
            let Some(words) = &self.pages[page] else { continue };
            let start = if page == first { first_word } else { 0 };
            for word in start..PAGE_WORDS {
                let mut bits = words[word];
                if page == first && word == first_word {
                    bits &= !(mask - 1);
                }
                if bits != 0 {
                    return Some((page * PAGE_BITS + word * 64) as u32 + bits.trailing_zeros());
                }
            }
        }
        None
    }

    /// Bytes in use.
    pub fn memory_bytes(&self) -> usize {
        self.pages.capacity() * 8 + self.pages.iter().flatten().count() * PAGE_BITS / 8
    }
}

fn place(bit: u32) -> (usize, usize, u64) {
    let bit = bit as usize;
    (bit / PAGE_BITS, bit % PAGE_BITS / 64, 1 << (bit % 64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn behaves_like_a_set(ops in prop::collection::vec((any::<bool>(), 0u32..20_000), 0..300), from in 0u32..20_000) {
            let (mut bitmap, mut model) = (Bitmap::default(), BTreeSet::new());
            for (insert, bit) in ops {
                if insert {
                    prop_assert_eq!(bitmap.insert(bit), model.insert(bit));
                } else {
                    prop_assert_eq!(bitmap.remove(bit), model.remove(&bit));
                }
                prop_assert_eq!(bitmap.len(), model.len());
                prop_assert!(bitmap.contains(bit) == model.contains(&bit));
            }
            prop_assert_eq!(bitmap.next(from), model.range(from..).next().copied());
        }
    }
}
