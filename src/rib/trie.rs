//! The prefix store: a path-compressed tree bitmap from prefix to [`u32`].
//!
//! A node stands at a depth that is a multiple of five bits. Its *internal* bitmap says which of the 31
//! prefixes of relative length 0 to 4 are present, its *external* bitmap which of the 32 children five
//! bits further down; both index one block of words by population count: first the children, each a
//! whole node, then the values. So a lookup touches one cache line a node, and in a table like the
//! Internet's a node of four words holds about five prefixes. Levels that would hold nothing but one
//! child are left out: each node stores its address bits, and the marker bit behind them tells the depth.
//!
//! Positions in the internal bitmap count like a heap: bit `(1 << r) + i` is the prefix of relative
//! length `r` with the bits `i`. The root is at word 0 and always there.
//!
//! [`Trie::get_batch`] takes several keys a level at a time and fetches each one's next node ahead, so
//! that their cache misses overlap; a caller that then changes the trie finds it in the cache.

use super::blocks::{Blocks, NO_BLOCK};
use crate::types::{Prefix4, Prefix6};

/// How many bits a level takes.
const STRIDE: u8 = 5;

/// How many keys [`Trie::get_batch`] takes at once. Sixteen misses in flight are about what a core has
/// line-fill buffers for.
pub const LANES: usize = 16;

/// No value: not to be stored in a trie.
pub const NO_VALUE: u32 = u32::MAX;

/// An address as a bit string, most significant bit first.
pub trait Bits: Copy + Ord {
    /// How many bits.
    const BITS: u8;
    /// How many 32-bit words.
    const WORDS: usize;

    /// The five bits behind `depth`, zeros beyond the end.
    fn stride(self, depth: u8) -> u32;
    /// How many leading bits are the same.
    fn common(self, other: Self) -> u8;
    /// The first `len` bits, then zeros.
    fn first(self, len: u8) -> Self;
    /// The bits with `1` at `depth`; they must be zero from there.
    fn marked(self, depth: u8) -> Self;
    /// Where the marker is.
    fn marker(self) -> u8;
    /// The bits with the low five of `stride` set behind `depth`; they must be zero from there.
    fn extended(self, depth: u8, stride: u32) -> Self;
    /// Reads the bits from words that [`Bits::write`] wrote.
    fn read(words: &[u32]) -> Self;
    /// Writes the bits to words.
    fn write(self, words: &mut [u32]);
}

macro_rules! bits {
    ($type:ty, $bits:literal, $words:literal, $stride:expr, $read:expr, $write:expr) => {
        impl Bits for $type {
            const BITS: u8 = $bits;
            const WORDS: usize = $words;

            #[inline]
            fn stride(self, depth: u8) -> u32 {
                $stride(self, depth)
            }

            #[inline]
            fn common(self, other: $type) -> u8 {
                (self ^ other).leading_zeros() as u8
            }

            #[inline]
            fn first(self, len: u8) -> $type {
                if len == 0 { 0 } else { self & (<$type>::MAX << ($bits - len)) }
            }

            #[inline]
            fn marked(self, depth: u8) -> $type {
                self | 1 << ($bits - 1 - depth)
            }

            #[inline]
            fn marker(self) -> u8 {
                $bits - 1 - self.trailing_zeros() as u8
            }

            #[inline]
            fn extended(self, depth: u8, stride: u32) -> $type {
                self | (stride as $type) << ($bits - STRIDE) >> depth
            }

            #[inline]
            fn read(words: &[u32]) -> $type {
                $read(words)
            }

            #[inline]
            fn write(self, words: &mut [u32]) {
                $write(self, words)
            }
        }
    };
}

bits!(
    u32,
    32,
    1,
    |bits: u32, depth: u8| (bits << depth) >> 27,
    |words: &[u32]| words[0],
    |bits: u32, words: &mut [u32]| words[0] = bits
);
bits!(
    u128,
    128,
    4,
    // Nearly all prefixes differ in the upper half only, and halves are cheaper to shift.
    |bits: u128, depth: u8| match depth {
        0..60 => ((bits >> 64) as u64 >> (59 - depth)) as u32 & 31,
        _ => ((bits << depth) >> 123) as u32,
    },
    // The least significant word first: that makes it two loads on most processors.
    |words: &[u32]| {
        let words: &[u32; 4] = words[..4].try_into().expect("four words were asked for");
        words.iter().rev().fold(0, |bits, word| bits << 32 | u128::from(*word))
    },
    |bits: u128, words: &mut [u32]| {
        for (index, word) in words[..4].iter_mut().enumerate() {
            *word = (bits >> (32 * index)) as u32;
        }
    }
);

/// A prefix of one family.
#[allow(clippy::len_without_is_empty)]
pub trait Net: Copy + Ord {
    /// Its addresses.
    type Addr: Bits;

    /// The prefix of `len` bits; the others of `addr` are zero.
    fn of(addr: Self::Addr, len: u8) -> Self;
    /// The address.
    fn addr(self) -> Self::Addr;
    /// The length in bits.
    fn len(self) -> u8;
}

impl Net for Prefix4 {
    type Addr = u32;

    #[inline]
    fn of(addr: u32, len: u8) -> Prefix4 {
        Prefix4 { addr, len }
    }

    #[inline]
    fn addr(self) -> u32 {
        self.addr
    }

    #[inline]
    fn len(self) -> u8 {
        self.len
    }
}

impl Net for Prefix6 {
    type Addr = u128;

    #[inline]
    fn of(addr: u128, len: u8) -> Prefix6 {
        Prefix6 { addr, len }
    }

    #[inline]
    fn addr(self) -> u128 {
        self.addr
    }

    #[inline]
    fn len(self) -> u8 {
        self.len
    }
}

/// Asks the cache for the line at `place`, if the processor can be asked.
#[inline]
pub(super) fn prefetch<T>(place: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: prefetching reads nothing and faults on no address; SSE is part of x86_64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(place).cast()) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

/// The internal bit of the prefix of length `len` in a node at `depth`.
#[inline]
fn position<A: Bits>(addr: A, depth: u8, len: u8) -> u32 {
    let relative = len - depth;
    (1 << relative) + (addr.stride(depth) >> (STRIDE - relative))
}

/// How many bits below `bit` are set.
#[inline]
fn rank(bitmap: u32, bit: u32) -> usize {
    (bitmap & ((1 << bit) - 1)).count_ones() as usize
}

/// A node as it lies in the arena: address and marker, then these three words.
#[derive(Clone, Copy)]
pub(super) struct Node<A> {
    pub(super) key: A,
    pub(super) internal: u32,
    pub(super) external: u32,
    pub(super) block: u32,
}

impl<A: Bits> Node<A> {
    /// How many words a node takes.
    pub(super) const WORDS: usize = A::WORDS + 3;

    #[inline]
    pub(super) fn read(words: &[u32], at: usize) -> Node<A> {
        let words = &words[at..at + Self::WORDS];
        Node {
            key: A::read(words),
            internal: words[A::WORDS],
            external: words[A::WORDS + 1],
            block: words[A::WORDS + 2],
        }
    }

    fn write(self, words: &mut [u32], at: usize) {
        let words = &mut words[at..at + Self::WORDS];
        self.key.write(words);
        words[A::WORDS] = self.internal;
        words[A::WORDS + 1] = self.external;
        words[A::WORDS + 2] = self.block;
    }

    #[inline]
    pub(super) fn depth(self) -> u8 {
        self.key.marker()
    }

    /// The address bits without the marker.
    #[inline]
    pub(super) fn bits(self) -> A {
        self.key.first(self.depth())
    }

    fn children(self) -> usize {
        self.external.count_ones() as usize
    }

    fn values(self) -> usize {
        self.internal.count_ones() as usize
    }

    fn block_words(self) -> usize {
        self.children() * Self::WORDS + self.values()
    }

    /// The word of the child at `stride`, which must be there.
    #[inline]
    pub(super) fn child_at(self, stride: u32) -> usize {
        self.block as usize + rank(self.external, stride) * Self::WORDS
    }

    /// The word of the value at an internal position.
    #[inline]
    pub(super) fn value_at(self, position: u32) -> usize {
        self.block as usize + self.children() * Self::WORDS + rank(self.internal, position)
    }
}

/// Where a prefix's node is, or would be.
enum Place {
    /// The node of its depth, at this word.
    Node(usize),
    /// The node at this word has no child on the way.
    Leaf(usize),
    /// The node at this word is on the way from its parent, but leads elsewhere.
    Split(usize),
}

/// A map from prefixes to values other than [`NO_VALUE`].
pub struct Trie<N: Net> {
    blocks: Blocks,
    len: usize,
    net: std::marker::PhantomData<N>,
}

impl<N: Net> Default for Trie<N> {
    fn default() -> Trie<N> {
        Trie::new()
    }
}

impl<N: Net> Trie<N> {
    /// An empty trie.
    pub fn new() -> Trie<N> {
        let mut trie = Trie { blocks: Blocks::new(), len: 0, net: std::marker::PhantomData };
        trie.clear();
        trie
    }

    fn clear(&mut self) {
        self.blocks = Blocks::new();
        let root = self.blocks.alloc(Node::<N::Addr>::WORDS);
        debug_assert_eq!(root, 0);
        let any = N::Addr::read(&[0; 4]);
        let node = Node { key: any.marked(0), internal: 0, external: 0, block: NO_BLOCK };
        node.write(self.blocks.words_mut(), 0);
    }

    /// Whether there is no prefix.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many prefixes there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Bytes in use, free blocks included.
    pub fn memory_bytes(&self) -> usize {
        size_of_val(self.blocks.words())
    }

    /// Bytes on the free lists.
    pub fn free_bytes(&self) -> usize {
        self.blocks.free_words() * size_of::<u32>()
    }

    pub(super) fn words(&self) -> &[u32] {
        self.blocks.words()
    }

    #[inline]
    fn node(&self, at: usize) -> Node<N::Addr> {
        Node::read(self.blocks.words(), at)
    }

    /// The value of exactly this prefix.
    pub fn get(&self, net: N) -> Option<u32> {
        let target = net.len() - net.len() % STRIDE;
        let mut node = self.node(0);
        while node.depth() < target {
            let stride = net.addr().stride(node.depth());
            if node.external & 1 << stride == 0 {
                return None;
            }
            node = self.node(node.child_at(stride));
        }
        // The way down looked only at bits that nodes branch on; here the others are made up for.
        if node.depth() > target || node.key.common(net.addr()) < target {
            return None;
        }
        let position = position(net.addr(), target, net.len());
        (node.internal & 1 << position != 0).then(|| self.blocks.words()[node.value_at(position)])
    }

    /// Looks up to [`LANES`] prefixes up together; [`NO_VALUE`] for those that are not there.
    pub fn get_batch(&self, nets: &[N], values: &mut [u32; LANES]) {
        let words = self.blocks.words();
        let nets = &nets[..nets.len().min(LANES)];
        let mut at = [0u32; LANES];
        let mut on_the_way = (1u32 << nets.len()) - 1;
        let mut found = 0u32;
        while on_the_way != 0 {
            let mut lanes = on_the_way;
            while lanes != 0 {
                let lane = lanes.trailing_zeros() as usize;
                lanes &= lanes - 1;
                let net = nets[lane];
                let target = net.len() - net.len() % STRIDE;
                let node = self.node(at[lane] as usize);
                let depth = node.depth();
                // Where the block ends tells where an insertion would write.
                let mut last = node.block;
                if depth < target {
                    let stride = net.addr().stride(depth);
                    if node.external & 1 << stride != 0 {
                        at[lane] = node.child_at(stride) as u32;
                        prefetch(&words[at[lane] as usize]);
                        continue;
                    }
                } else if depth == target && node.key.common(net.addr()) >= target {
                    let position = position(net.addr(), target, net.len());
                    if node.internal & 1 << position != 0 {
                        at[lane] = node.value_at(position) as u32;
                        found |= 1 << lane;
                        last = at[lane];
                    }
                }
                if let Some(word) = words.get(last as usize) {
                    prefetch(word);
                }
                on_the_way &= !(1 << lane);
            }
        }
        for (lane, at) in at[..nets.len()].iter().enumerate() {
            values[lane] = if found & 1 << lane != 0 { words[*at as usize] } else { NO_VALUE };
        }
    }

    /// The longest prefix that covers `addr` and whose value `accept` takes.
    pub fn longest_match(&self, addr: N::Addr, mut accept: impl FnMut(u32) -> bool) -> Option<u32> {
        // A node every five bits of 128, and the root.
        let mut path = [0usize; 27];
        let mut nodes = 0;
        let mut at = 0;
        loop {
            let node = self.node(at);
            let depth = node.depth();
            if node.key.common(addr) < depth {
                break;
            }
            path[nodes] = at;
            nodes += 1;
            let stride = addr.stride(depth);
            if node.external & 1 << stride == 0 {
                break;
            }
            at = node.child_at(stride);
        }
        for at in path[..nodes].iter().rev() {
            let node = self.node(*at);
            let depth = node.depth();
            for len in (depth..(depth + STRIDE).min(N::Addr::BITS + 1)).rev() {
                let position = position(addr, depth, len);
                if node.internal & 1 << position != 0 {
                    let value = self.blocks.words()[node.value_at(position)];
                    if accept(value) {
                        return Some(value);
                    }
                }
            }
        }
        None
    }

    fn place(&self, net: N) -> Place {
        let target = net.len() - net.len() % STRIDE;
        let mut at = 0;
        let mut node = self.node(0);
        while node.depth() < target {
            let stride = net.addr().stride(node.depth());
            if node.external & 1 << stride == 0 {
                return Place::Leaf(at);
            }
            let child_at = node.child_at(stride);
            let child = self.node(child_at);
            let depth = child.depth();
            if depth > target || child.key.common(net.addr()) < depth {
                return Place::Split(child_at);
            }
            (at, node) = (child_at, child);
        }
        Place::Node(at)
    }

    /// The value of the prefix: what was there, or else `value`, which is there from now on.
    pub fn get_or_insert(&mut self, net: N, value: u32) -> u32 {
        debug_assert_ne!(value, NO_VALUE);
        let target = net.len() - net.len() % STRIDE;
        match self.place(net) {
            Place::Node(at) => {
                let mut node = self.node(at);
                let position = position(net.addr(), target, net.len());
                if node.internal & 1 << position != 0 {
                    return self.blocks.words()[node.value_at(position)];
                }
                let index = node.children() * Node::<N::Addr>::WORDS + rank(node.internal, position);
                node.block = self.blocks.widen(node.block, node.block_words(), index, 1);
                node.internal |= 1 << position;
                let words = self.blocks.words_mut();
                words[node.block as usize + index] = value;
                node.write(words, at);
            }
            Place::Leaf(at) => {
                let leaf = self.leaf(net, value);
                let mut node = self.node(at);
                let stride = net.addr().stride(node.depth());
                let index = rank(node.external, stride) * Node::<N::Addr>::WORDS;
                node.block = self.blocks.widen(node.block, node.block_words(), index, Node::<N::Addr>::WORDS);
                node.external |= 1 << stride;
                let words = self.blocks.words_mut();
                leaf.write(words, node.block as usize + index);
                node.write(words, at);
            }
            Place::Split(at) => {
                let child = self.node(at);
                let common = child.key.common(net.addr()).min(child.depth()).min(target);
                let depth = common - common % STRIDE;
                let down = 1u32 << child.bits().stride(depth);
                let key = net.addr().first(depth).marked(depth);
                let node = if depth == target {
                    let block = self.blocks.alloc(Node::<N::Addr>::WORDS + 1);
                    child.write(self.blocks.words_mut(), block as usize);
                    self.blocks.words_mut()[block as usize + Node::<N::Addr>::WORDS] = value;
                    Node { key, internal: 1 << position(net.addr(), depth, net.len()), external: down, block }
                } else {
                    let leaf = self.leaf(net, value);
                    let stride = net.addr().stride(depth);
                    let block = self.blocks.alloc(2 * Node::<N::Addr>::WORDS);
                    let node = Node { key, internal: 0, external: down | 1 << stride, block };
                    let words = self.blocks.words_mut();
                    leaf.write(words, node.child_at(stride));
                    child.write(words, node.child_at(child.bits().stride(depth)));
                    node
                };
                node.write(self.blocks.words_mut(), at);
            }
        }
        self.len += 1;
        value
    }

    /// A node that holds nothing but `net`.
    fn leaf(&mut self, net: N, value: u32) -> Node<N::Addr> {
        let depth = net.len() - net.len() % STRIDE;
        let block = self.blocks.alloc(1);
        self.blocks.words_mut()[block as usize] = value;
        Node {
            key: net.addr().first(depth).marked(depth),
            internal: 1 << position(net.addr(), depth, net.len()),
            external: 0,
            block,
        }
    }

    /// Removes a prefix and returns its value.
    pub fn remove(&mut self, net: N) -> Option<u32> {
        let target = net.len() - net.len() % STRIDE;
        // Where the node's parent and grandparent are: removing a node can leave its parent with one
        // child and nothing else, and then that child takes the parent's place.
        let (mut grandparent, mut parent, mut at) = (None, None, 0);
        let mut node = self.node(0);
        while node.depth() < target {
            let stride = net.addr().stride(node.depth());
            if node.external & 1 << stride == 0 {
                return None;
            }
            grandparent = parent;
            parent = Some(at);
            at = node.child_at(stride);
            node = self.node(at);
        }
        let position = position(net.addr(), target, net.len());
        if node.depth() > target || node.key.common(net.addr()) < target || node.internal & 1 << position == 0
        {
            return None;
        }
        let value = self.blocks.words()[node.value_at(position)];
        let index = node.value_at(position) - node.block as usize;
        node.block = self.blocks.narrow(node.block, node.block_words(), index, 1);
        node.internal &= !(1 << position);
        node.write(self.blocks.words_mut(), at);
        self.len -= 1;
        if self.len == 0 {
            self.clear();
        } else if let Some(parent_at) = parent
            && node.internal == 0
        {
            match node.children() {
                0 => {
                    self.remove_child(parent_at, net.addr());
                    if grandparent.is_some() {
                        self.skip_if_single(parent_at);
                    }
                }
                1 => self.skip_if_single(at),
                _ => {}
            }
        }
        Some(value)
    }

    /// Removes the empty child towards `addr` of the node at `at`.
    fn remove_child(&mut self, at: usize, addr: N::Addr) {
        let mut node = self.node(at);
        let stride = addr.stride(node.depth());
        let index = rank(node.external, stride) * Node::<N::Addr>::WORDS;
        node.block = self.blocks.narrow(node.block, node.block_words(), index, Node::<N::Addr>::WORDS);
        node.external &= !(1 << stride);
        node.write(self.blocks.words_mut(), at);
    }

    /// Puts the only child of the node at `at` in its place, if there is nothing else in it.
    fn skip_if_single(&mut self, at: usize) {
        let node = self.node(at);
        if node.internal == 0 && node.children() == 1 {
            let child = self.node(node.block as usize);
            self.blocks.free(node.block, node.block_words());
            child.write(self.blocks.words_mut(), at);
        }
    }

    /// Checks what the module's essay promises.
    #[cfg(test)]
    pub(super) fn check_invariants(&self) {
        let mut words = Node::<N::Addr>::WORDS + self.free_bytes() / size_of::<u32>();
        let mut values = 0;
        self.check_node(0, &mut words, &mut values);
        assert_eq!(values, self.len, "values reachable from the root");
        // Rounding to classes may hide an eighth.
        let all = self.blocks.words().len();
        assert!(words <= all && all - words <= all / 8, "{words} words accounted for of {all}");
    }

    #[cfg(test)]
    fn check_node(&self, at: usize, words: &mut usize, values: &mut usize) {
        let node = self.node(at);
        let depth = node.depth();
        assert_eq!(depth % STRIDE, 0);
        assert!(at == 0 || node.values() + node.children().min(2) > 0, "empty node");
        assert!(at == 0 || node.values() > 0 || node.children() > 1, "a node that should have been skipped");
        assert_eq!(node.internal & 1, 0);
        *words += node.block_words();
        *values += node.values();
        for stride in 0..32 {
            if node.external & 1 << stride != 0 {
                let child_at = node.child_at(stride);
                let child = self.node(child_at);
                assert!(child.depth() >= depth + STRIDE);
                assert!(child.key.common(node.bits().extended(depth, stride)) >= depth + STRIDE);
                self.check_node(child_at, words, values);
            }
        }
    }
}
