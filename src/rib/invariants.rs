//! What must hold of a [`Rib`] between any two calls, checked the slow way.

use std::collections::{BTreeMap, BTreeSet};

use super::Rib;
use super::table::{DEAD, LIVE, NONE, QUEUED, SELECTED, Shared, Stored, Table};
use crate::types::PeerId;

impl Rib {
    /// Panics if anything is not as it should be. `held` counts the references to attribute sets that
    /// the caller owns, by id.
    pub fn check_invariants(&self, held: &BTreeMap<u32, u32>) {
        let mut refs = held.clone();
        self.v4.check_invariants(&self.shared, &mut refs);
        self.v6.check_invariants(&self.shared, &mut refs);
        self.shared.attrs.check_invariants(&refs);
    }
}

impl<N: Stored> Table<N> {
    fn check_invariants(&self, shared: &Shared, refs: &mut BTreeMap<u32, u32>) {
        self.trie.check_invariants();
        let changed: BTreeSet<u32> = self.changed.iter().copied().collect();
        let dead: BTreeSet<u32> = self.dead.iter().copied().collect();
        assert_eq!((changed.len(), dead.len()), (self.changed.len(), self.dead.len()), "queued twice");
        let (mut live, mut seen) = (0, 0);
        for (index, dest) in self.dests.iter().enumerate() {
            let index = index as u32;
            assert_eq!(dest.flags & QUEUED != 0, changed.contains(&index), "destination {index} queued");
            assert_eq!(dest.flags & DEAD != 0, dead.contains(&index), "destination {index} dead");
            if dest.flags & LIVE == 0 {
                assert_eq!(dest.selected, 0);
                continue;
            }
            live += 1;
            assert_eq!(self.trie.get(self.net(index)), Some(index));
            assert!(dest.head != NONE || dest.flags & (QUEUED | DEAD) != 0, "nobody will free {index}");
            let mut peers = BTreeSet::new();
            let mut selected = 0;
            for path in self.list(index) {
                seen += 1;
                assert_eq!(path.dest, index);
                assert!(peers.insert(path.peer()), "two paths of {:?} at {index}", path.peer());
                selected += u16::from(path.has(SELECTED));
            }
            assert_eq!(selected, dest.selected);
        }
        assert_eq!(live, self.trie.len());
        assert_eq!(seen, self.path_count);
        let mut counts = BTreeMap::<PeerId, [u32; 3]>::new();
        for path in self.paths.iter().filter(|path| path.dest != NONE) {
            seen -= 1;
            *refs.entry(path.attrs.0).or_default() += 1;
            let row = shared.peers.paths(path.peer(), N::FAMILY).expect("paths have known peers");
            let counts = counts.entry(path.peer()).or_default();
            counts[0] += 1;
            counts[1] += u32::from(row.is_stale(path.generation()));
            counts[2] += u32::from(row.is_doomed(path.generation()));
        }
        assert_eq!(seen, 0, "every path is in a list");
        for peer in (0..64).map(PeerId) {
            if let Some(row) = shared.peers.paths(peer, N::FAMILY) {
                let counted = counts.get(&peer).copied().unwrap_or_default();
                assert_eq!([row.count, row.stale, row.doomed], counted, "paths of {peer:?}");
                assert!(row.doomed == 0 || self.round.left > 0, "nobody will sweep {peer:?}");
            }
        }
    }
}
