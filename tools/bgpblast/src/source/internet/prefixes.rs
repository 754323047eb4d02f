//! The prefixes of the synthetic table.
//!
//! First those that lie in no other one: the short ones anywhere in some regions of the address space, the long ones
//! packed into blocks of the same regions, a few in most blocks and very many in some. Then the more-specific ones,
//! from short to long, each within a prefix that is there already, with a few favourites: so they nest several deep.
//!
//! Histogram, share of more-specifics and occupancy are counted from the RIS peer of 2026-05-11; how the share of
//! more-specifics spreads over the lengths is chosen so that the sum is right and the space suffices.

use hashbrown::HashSet;
use kulan::types::{Family, Prefix, Prefix4, Prefix6};

use super::super::random::Random;

/// What is known of a family's table. Addresses are in the upper bits of a `u64`, which is all that a prefix of up
/// to 48 bits needs.
struct Shape {
    /// Prefix length in bits, its share of all prefixes in millionths, and the share of these that lie in no other
    /// one, in thousandths.
    lengths: &'static [(u8, u32, u32)],
    /// How many prefixes the table had that the shape was taken from.
    counted: usize,
    /// The length of a region in bits, and how many of them have prefixes.
    region_len: u8,
    regions: usize,
    /// The length in bits of the blocks that longer prefixes are packed into.
    block_len: u8,
    /// How many blocks begin to be filled for these; the others stay empty until it gets tight.
    blocks: usize,
    /// Up to this length, a larger table has fewer prefixes than its size would suggest: the space is used up.
    scarce_len: u8,
    /// What prefixes are drawn from, as address and length; the bits in between are the region's.
    space: &'static [(u64, u8)],
    /// What is in there but not global unicast.
    special: &'static [(u64, u8)],
}

const IPV4: Shape = Shape {
    lengths: &[
        (8, 15, 1000),
        (9, 13, 1000),
        (10, 37, 800),
        (11, 91, 800),
        (12, 285, 600),
        (13, 560, 400),
        (14, 1_200, 400),
        (15, 2_000, 400),
        (16, 13_100, 400),
        (17, 8_000, 450),
        (18, 12_800, 450),
        (19, 24_500, 500),
        (20, 43_800, 500),
        (21, 50_300, 450),
        (22, 109_100, 550),
        (23, 103_500, 400),
        (24, 630_699, 509),
    ],
    counted: 1_042_325,
    region_len: 12,
    regions: 3_102,
    block_len: 16,
    blocks: 16_000,
    scarce_len: 19,
    space: &[(0, 0)],
    special: &[
        v4(0, 0, 0, 0, 8),
        v4(10, 0, 0, 0, 8),
        v4(100, 64, 0, 0, 10),
        v4(127, 0, 0, 0, 8),
        v4(169, 254, 0, 0, 16),
        v4(172, 16, 0, 0, 12),
        v4(192, 0, 0, 0, 24),
        v4(192, 0, 2, 0, 24),
        v4(192, 31, 196, 0, 24),
        v4(192, 52, 193, 0, 24),
        v4(192, 88, 99, 0, 24),
        v4(192, 168, 0, 0, 16),
        v4(192, 175, 48, 0, 24),
        v4(198, 18, 0, 0, 15),
        v4(198, 51, 100, 0, 24),
        v4(203, 0, 113, 0, 24),
        v4(224, 0, 0, 0, 3),
    ],
};

const IPV6: Shape = Shape {
    lengths: &[
        (20, 100, 1000),
        (24, 387, 1000),
        (28, 700, 1000),
        (29, 22_100, 1000),
        (30, 3_400, 900),
        (31, 1_400, 800),
        (32, 108_600, 930),
        (33, 22_000, 80),
        (34, 21_100, 80),
        (35, 7_500, 80),
        (36, 38_300, 150),
        (37, 4_900, 100),
        (38, 10_900, 100),
        (39, 7_400, 100),
        (40, 93_800, 300),
        (41, 6_900, 150),
        (42, 11_900, 150),
        (43, 5_900, 150),
        (44, 101_000, 400),
        (45, 18_300, 150),
        (46, 22_900, 150),
        (47, 36_300, 150),
        (48, 454_213, 472),
    ],
    counted: 246_175,
    region_len: 24,
    regions: 8_079,
    block_len: 32,
    blocks: 4_000,
    scarce_len: 0,
    // What the registries give out of: LACNIC, AFRINIC, ARIN, APNIC, RIPE NCC, and the old common block.
    space: &[
        (0x2001_0000 << 32, 16),
        (0x2400_0000 << 32, 12),
        (0x2600_0000 << 32, 12),
        (0x2800_0000 << 32, 12),
        (0x2a00_0000 << 32, 12),
        (0x2c00_0000 << 32, 12),
    ],
    // IETF's (Teredo and benchmarking in it), and documentation.
    special: &[(0x2001_0000 << 32, 23), (0x2001_0db8 << 32, 32)],
};

const fn v4(a: u64, b: u64, c: u64, d: u64, len: u8) -> (u64, u8) {
    (a << 56 | b << 48 | c << 40 | d << 32, len)
}

/// `count` prefixes in the order of their addresses, a shorter one before those within it.
pub(super) fn draw(family: Family, count: usize, seed: u64) -> impl Iterator<Item = Prefix> {
    let shape = match family {
        Family::Ipv4Unicast => &IPV4,
        Family::Ipv6Unicast => &IPV6,
    };
    let mut drawing = Drawing {
        shape,
        random: Random::new(seed, 0x7072_6566 + family.index() as u64),
        taken: HashSet::with_capacity(count),
        placed: Vec::with_capacity(count),
    };
    drawing.draw(count);
    let mut placed = drawing.placed;
    placed.sort_unstable();
    placed.into_iter().map(move |key| match family {
        Family::Ipv4Unicast => Prefix::V4(Prefix4::new((address(key) >> 32) as u32, length(key))),
        Family::Ipv6Unicast => Prefix::V6(Prefix6::new(u128::from(address(key)) << 64, length(key))),
    })
}

/// A prefix of at most 58 bits as one number, which sorts as prefixes should.
const fn key(address: u64, len: u8) -> u64 {
    address | len as u64
}

const fn address(key: u64) -> u64 {
    key & !0x3f
}

const fn length(key: u64) -> u8 {
    (key & 0x3f) as u8
}

const fn mask(len: u8) -> u64 {
    if len == 0 { 0 } else { u64::MAX << (64 - len) }
}

/// Whether two prefixes have an address in common.
const fn overlap(a: (u64, u8), b: (u64, u8)) -> bool {
    let len = if a.1 < b.1 { a.1 } else { b.1 };
    (a.0 ^ b.0) & mask(len) == 0
}

struct Drawing {
    shape: &'static Shape,
    random: Random,
    taken: HashSet<u64>,
    placed: Vec<u64>,
}

impl Drawing {
    fn draw(&mut self, count: usize) {
        let lengths = self.counts(count);
        let regions = self.regions(count);
        // Blocks that a prefix outside of all others covers.
        let mut used: HashSet<u64> = HashSet::default();
        let mut long: Vec<(u8, usize)> = Vec::new();
        let block_len = self.shape.block_len;
        for (len, outer, _) in &lengths {
            if *len > block_len {
                long.push((*len, *outer));
            } else {
                (0..*outer).for_each(|_| self.place_short(*len, &regions, &mut used));
            }
        }
        self.pack(&long, count as f64 / self.shape.counted as f64, &regions, &used);
        // The favourites among the parents are the first: not always the shortest.
        let mut placed = std::mem::take(&mut self.placed);
        self.random.shuffle(&mut placed);
        self.placed = placed;
        let outer = self.placed.len();
        for (len, _, inner) in lengths {
            self.nest(len, inner, outer);
        }
    }

    /// For each length how many prefixes lie in no other one, and how many do; all together `count`.
    fn counts(&self, count: usize) -> Vec<(u8, usize, usize)> {
        let shape = self.shape;
        // Of the scarce lengths, there are no more than today.
        let scarcity = (shape.counted as f64 / count as f64).min(1.0);
        let weight = |(len, share, _): &(u8, u32, u32)| {
            f64::from(*share) * if *len <= shape.scarce_len { scarcity } else { 1.0 }
        };
        let total: f64 = shape.lengths.iter().map(weight).sum();
        let mut sum = 0.0;
        let mut outer_sum = 0.0;
        let (mut before, mut outer_before) = (0, 0);
        let mut counts = Vec::with_capacity(shape.lengths.len());
        for (place, entry) in shape.lengths.iter().enumerate() {
            let here = weight(entry) / total * count as f64;
            sum += here;
            outer_sum += here * f64::from(entry.2) / 1000.0;
            let until = if place + 1 == shape.lengths.len() { count } else { (sum + 0.5) as usize };
            let all = until - before;
            // What is first has nothing to lie in.
            let outer_until = ((outer_sum + 0.5) as usize).max(usize::from(count > 0));
            let outer = (outer_until - outer_before.min(outer_until)).min(all);
            before = until;
            outer_before += outer;
            counts.push((entry.0, outer, all - outer));
        }
        counts
    }

    /// The regions that have prefixes.
    fn regions(&mut self, count: usize) -> Vec<u64> {
        const FEWEST: usize = 8;
        let shape = self.shape;
        let mut all: Vec<u64> = Vec::new();
        for (start, len) in shape.space {
            let step = 1u64 << (64 - shape.region_len);
            all.extend((0..1u64 << (shape.region_len - len)).map(|number| start + number * step));
        }
        all.retain(|region| !shape.special.iter().any(|one| overlap(*one, (*region, shape.region_len))));
        self.random.shuffle(&mut all);
        let wanted = shape.regions as f64 * (count as f64 / shape.counted as f64);
        all.truncate((wanted as usize).max(FEWEST));
        all
    }

    fn is_public(&self, address: u64, len: u8) -> bool {
        self.shape
            .space
            .iter()
            .any(|(start, space_len)| *space_len <= len && (address ^ start) & mask(*space_len) == 0)
            && !self.shape.special.iter().any(|one| overlap(*one, (address, len)))
    }

    /// A random prefix of `len` bits within `parent`.
    fn within(&mut self, parent: u64, parent_len: u8, len: u8) -> u64 {
        (parent | self.random.next() >> parent_len) & mask(len)
    }

    fn place(&mut self, address: u64, len: u8) -> bool {
        let new = self.taken.insert(key(address, len));
        if new {
            self.placed.push(key(address, len));
        }
        new
    }

    /// Places a prefix that is not longer than a block where no other one is.
    fn place_short(&mut self, len: u8, regions: &[u64], used: &mut HashSet<u64>) {
        const TRIES: usize = 200;
        let shape = self.shape;
        let step = 1u64 << (64 - shape.block_len);
        for _ in 0..TRIES {
            let region = regions[self.random.below(regions.len())];
            let address = if len >= shape.region_len {
                self.within(region, shape.region_len, len)
            } else {
                region & mask(len)
            };
            let blocks = (0..1u64 << (shape.block_len - len)).map(|number| address + number * step);
            if !self.is_public(address, len) || blocks.clone().any(|block| used.contains(&block)) {
                continue;
            }
            used.extend(blocks);
            self.place(address, len);
            return;
        }
        self.place_anywhere(len);
    }

    /// Packs prefixes that are longer than a block into blocks that nothing covers: from large to small, so that
    /// little room is lost. `counts`: how many of which length.
    fn pack(&mut self, counts: &[(u8, usize)], scale: f64, regions: &[u64], used: &HashSet<u64>) {
        let shape = self.shape;
        let step = 1u64 << (64 - shape.block_len);
        let mut free: Vec<u64> = regions
            .iter()
            .flat_map(|region| {
                (0..1u64 << (shape.block_len - shape.region_len)).map(move |n| region + n * step)
            })
            .filter(|block| !used.contains(block))
            .collect();
        self.random.shuffle(&mut free);
        // Where the free part of each block begins.
        let mut blocks: Vec<u64> = Vec::new();
        let begun = ((shape.blocks as f64 * scale) as usize).max(1);
        for (len, count) in counts.iter().copied() {
            let size = 1u64 << (64 - len);
            let mut left = count;
            let mut roomy: Vec<usize> = (0..blocks.len()).filter(|block| blocks[*block] & 1 == 0).collect();
            self.random.shuffle(&mut roomy);
            while left > 0 {
                if roomy.is_empty() {
                    let more = if blocks.is_empty() { begun } else { begun / 8 + 1 };
                    let more = free.split_off(free.len().saturating_sub(more));
                    roomy.extend(blocks.len()..blocks.len() + more.len());
                    blocks.extend(more);
                }
                if roomy.is_empty() {
                    (0..left).for_each(|_| self.place_anywhere(len));
                    break;
                }
                let mean = left as f64 / roomy.len() as f64;
                roomy.retain(|block| {
                    let mut turn = self.share(mean).min(left);
                    while turn > 0 && blocks[*block] & 1 == 0 {
                        let address = blocks[*block];
                        if self.is_public(address, len) && self.place(address, len) {
                            turn -= 1;
                            left -= 1;
                        }
                        let gap = if self.random.per_mille(100) { size } else { 0 };
                        // An odd address stands for a block that is full.
                        let next = address.saturating_add(size + gap);
                        blocks[*block] =
                            if next & !(step - 1) == address & !(step - 1) { next } else { u64::MAX };
                    }
                    blocks[*block] & 1 == 0
                });
            }
        }
    }

    /// How many prefixes a block takes in a turn: few mostly, sometimes a multiple of the mean.
    fn share(&mut self, mean: f64) -> usize {
        let fraction = self.random.fraction();
        1 + (mean * 3.0 * fraction * fraction) as usize
    }

    /// Places `count` prefixes of `len` bits, each within a shorter one: mostly one of the first `outer`, which are in
    /// no other, so that the deepest nesting stays rare.
    fn nest(&mut self, len: u8, count: usize, outer: usize) {
        const TRIES: usize = 64;
        let shorter = |keys: &[u64]| keys.iter().copied().filter(|key| length(*key) < len).collect();
        let parents: Vec<u64> = shorter(&self.placed);
        let outer: Vec<u64> = shorter(&self.placed[..outer]);
        for _ in 0..count {
            let mut tries = 0..TRIES;
            let nested = !outer.is_empty()
                && tries.any(|_| {
                    let list = if self.random.per_mille(750) { &outer } else { &parents };
                    let parent = list[self.random.front_heavy(list.len())];
                    let address = self.within(address(parent), length(parent), len);
                    self.is_public(address, len) && self.place(address, len)
                });
            if !nested {
                self.place_anywhere(len);
            }
        }
    }

    /// Places a prefix wherever there is one of this length that is not taken: there is, up to the most routes that
    /// a table can have.
    fn place_anywhere(&mut self, len: u8) {
        loop {
            let (start, space_len) = self.shape.space[self.random.below(self.shape.space.len())];
            let address = self.within(start, space_len.min(len), len);
            if self.is_public(address, len) && self.place(address, len) {
                return;
            }
        }
    }
}
