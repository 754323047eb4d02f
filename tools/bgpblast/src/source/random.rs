//! Random numbers that are the same on every machine: SplitMix64 (Steele, Lea, Flood: "Fast splittable
//! pseudorandom number generators", 2014), and nothing that depends on a machine's mathematics library.

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// The stream number `stream` of a seed: streams of one seed have nothing to do with each other.
    pub fn new(seed: u64, stream: u64) -> Random {
        let mut random = Random(seed);
        random.0 = random.next() ^ stream.wrapping_mul(0xD1B5_4A32_D192_ED03);
        random
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number from 0 to below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.next()) * end as u128) >> 64) as usize
    }

    /// A fraction from 0 to below 1.
    pub fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True so often in a thousand times.
    pub fn per_mille(&mut self, often: usize) -> bool {
        self.below(1000) < often
    }

    /// An index into a list of `len` (not 0) whose front is drawn more often than its end: of the first hundredth
    /// comes a fifth.
    pub fn front_heavy(&mut self, len: usize) -> usize {
        let fraction = self.fraction();
        ((fraction * fraction * fraction * len as f64) as usize).min(len - 1)
    }

    /// Brings a list into random order.
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            list.swap(last, self.below(last + 1));
        }
    }
}
