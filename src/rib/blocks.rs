//! Blocks of 32-bit words in one arena: the ground that the trie stands on.
//!
//! A block has between 1 and [`MAX_WORDS`] words and is named by the index of its first word. Sizes are
//! rounded up to a class; each class has a list of free blocks, linked through their first word, so a
//! table that churns reuses what it frees. Who holds a block knows its length: none is stored.

use super::trie::prefetch;

/// The largest block: 31 values and 32 IPv6 nodes of seven words.
pub(super) const MAX_WORDS: usize = 31 + 32 * 7;

/// No block.
pub(super) const NO_BLOCK: u32 = u32::MAX;

const CLASSES: usize = class_of(MAX_WORDS) + 1;

/// Exact sizes up to 32 words, where nearly all blocks of a real table are; then eight classes to each
/// doubling, so that rounding wastes at most an eighth.
const fn class_of(words: usize) -> usize {
    match words {
        0..=32 => words,
        33..=64 => 32 + (words - 32).div_ceil(4),
        65..=128 => 40 + (words - 64).div_ceil(8),
        _ => 48 + (words - 128).div_ceil(16),
    }
}

/// The size of a class's blocks.
const fn class_words(class: usize) -> usize {
    match class {
        0..=32 => class,
        33..=40 => 32 + (class - 32) * 4,
        41..=48 => 64 + (class - 40) * 8,
        _ => 128 + (class - 48) * 16,
    }
}

/// An arena of blocks.
pub(super) struct Blocks {
    words: Vec<u32>,
    free: [u32; CLASSES],
    free_words: usize,
}

impl Blocks {
    pub(super) fn new() -> Blocks {
        Blocks { words: Vec::new(), free: [NO_BLOCK; CLASSES], free_words: 0 }
    }

    #[inline]
    pub(super) fn words(&self) -> &[u32] {
        &self.words
    }

    #[inline]
    pub(super) fn words_mut(&mut self) -> &mut [u32] {
        &mut self.words
    }

    /// How many words lie on the free lists.
    pub(super) fn free_words(&self) -> usize {
        self.free_words
    }

    /// A block of `words` words with whatever lies in them; [`NO_BLOCK`] for none.
    pub(super) fn alloc(&mut self, words: usize) -> u32 {
        if words == 0 {
            return NO_BLOCK;
        }
        let class = class_of(words);
        let block = self.free[class];
        if block != NO_BLOCK {
            self.free[class] = self.words[block as usize];
            self.free_words -= class_words(class);
            // The next block of this class is cold by the time that it is wanted, unless asked for now.
            if let Some(next) = self.words.get(self.free[class] as usize) {
                prefetch(next);
            }
            return block;
        }
        let block = self.words.len() as u32;
        self.words.resize(self.words.len() + class_words(class), 0);
        block
    }

    /// Gives back a block of `words` words.
    pub(super) fn free(&mut self, block: u32, words: usize) {
        if words == 0 {
            return;
        }
        let class = class_of(words);
        self.words[block as usize] = self.free[class];
        self.free[class] = block;
        self.free_words += class_words(class);
    }

    /// Opens a gap of `gap` words at `at` in a block of `words` words, and returns where the block is now.
    pub(super) fn widen(&mut self, block: u32, words: usize, at: usize, gap: usize) -> u32 {
        if words != 0 && class_of(words) == class_of(words + gap) {
            let start = block as usize;
            self.words.copy_within(start + at..start + words, start + at + gap);
            return block;
        }
        let new = self.alloc(words + gap);
        let (from, to) = (block as usize, new as usize);
        if words != 0 {
            self.words.copy_within(from..from + at, to);
            self.words.copy_within(from + at..from + words, to + at + gap);
            self.free(block, words);
        }
        new
    }

    /// Closes `gap` words at `at` in a block of `words` words, and returns where the block is now.
    pub(super) fn narrow(&mut self, block: u32, words: usize, at: usize, gap: usize) -> u32 {
        let from = block as usize;
        if class_of(words) == class_of(words - gap) {
            self.words.copy_within(from + at + gap..from + words, from + at);
            return block;
        }
        let new = self.alloc(words - gap);
        if new != NO_BLOCK {
            let to = new as usize;
            self.words.copy_within(from..from + at, to);
            self.words.copy_within(from + at + gap..from + words, to + at);
        }
        self.free(block, words);
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_never_smaller_than_its_blocks() {
        for words in 1..=MAX_WORDS {
            let size = class_words(class_of(words));
            assert!(size >= words && size <= words + words / 8, "{words} words in {size}");
        }
    }

    #[test]
    fn what_is_freed_is_used_again() {
        let mut blocks = Blocks::new();
        let first = blocks.alloc(7);
        blocks.free(first, 7);
        assert_eq!(blocks.free_words(), 7);
        assert_eq!(blocks.alloc(7), first);
        assert_eq!(blocks.free_words(), 0);
    }

    #[test]
    fn words_keep_their_order_when_a_gap_opens_and_closes() {
        let mut blocks = Blocks::new();
        let mut block = NO_BLOCK;
        for value in 0..100 {
            block = blocks.widen(block, value, value, 1);
            blocks.words_mut()[block as usize + value] = value as u32;
        }
        block = blocks.narrow(block, 100, 10, 7);
        let expected: Vec<u32> = (0..10).chain(17..100).collect();
        assert_eq!(&blocks.words()[block as usize..][..93], expected);
    }
}
