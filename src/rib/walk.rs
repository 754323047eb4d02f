//! Ordered walks over a [`Trie`]: by (address, length), from anywhere, stopping anywhere.
//!
//! In this order a prefix comes right before what it covers, so a subtree is a contiguous run and a walk
//! needs no more memory than the last prefix it saw. It may be taken up again whatever happened to the
//! trie in between: it goes on with what is there behind that prefix.

use super::trie::{Bits, Net, Node, Trie};

/// Where a walk starts: at the first prefix that is not smaller than this pair. The length may be one
/// more than the family has bits.
type Start<A> = Option<(A, u8)>;

impl<N: Net> Trie<N> {
    /// Visits the prefixes behind `after` that lie within `within`, with their values, in order, until
    /// `visit` returns false.
    pub fn walk(&self, after: Option<N>, within: Option<N>, visit: &mut dyn FnMut(N, u32) -> bool) {
        let behind = after.map(|net| (net.addr(), net.len() + 1));
        let start = match within {
            Some(net) => behind.max(Some((net.addr(), net.len()))),
            None => behind,
        };
        let mut visit = |net: N, value: u32| {
            let inside = within.is_none_or(|within| {
                within.len() <= net.len() && within.addr().common(net.addr()) >= within.len()
            });
            inside && visit(net, value)
        };
        walk_node(self.words(), 0, start, &mut visit);
    }
}

/// Visits what the node at `at` holds; returns whether to go on. Recursion is as deep as the trie: 27
/// levels at most.
fn walk_node<N: Net>(
    words: &[u32],
    at: usize,
    start: Start<N::Addr>,
    visit: &mut impl FnMut(N, u32) -> bool,
) -> bool {
    let node = Node::<N::Addr>::read(words, at);
    let depth = node.depth();
    let bits = node.bits();
    let (first, start) = match start {
        Some((addr, len)) if bits.common(addr) >= depth => (addr.stride(depth), Some((addr, len))),
        // All of the node lies on one side of the start.
        Some((addr, _)) if bits < addr => return true,
        _ => (0, None),
    };
    // At each leaf of the node's binary tree: the prefixes that begin there, shortest first, then the
    // child below. Leaves with nothing are skipped by looking at the bitmaps.
    for stride in first..32 {
        let addr = bits.extended(depth, stride);
        let shortest = if stride == 0 { 0 } else { 5 - stride.trailing_zeros().min(5) };
        for relative in shortest..5 {
            let position = (1 << relative) + (stride >> (5 - relative));
            if node.internal & 1 << position == 0 {
                continue;
            }
            let net = N::of(addr, depth + relative as u8);
            let wanted = start.is_none_or(|start| (net.addr(), net.len()) >= start);
            if wanted && !visit(net, words[node.value_at(position)]) {
                return false;
            }
        }
        if node.external & 1 << stride != 0 {
            let start = start.filter(|_| stride == first);
            if !walk_node(words, node.child_at(stride), start, visit) {
                return false;
            }
        }
    }
    true
}
