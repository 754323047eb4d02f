//! Who gives us paths, and which of their paths are stale or doomed.
//!
//! A path carries the *generation* of its peer and family at the time it was announced: five bits. Marking
//! a peer's paths as stale (RFC 4724 §4.2, RFC 7313 §4) is beginning a new generation, so it takes no time
//! however many paths there are, and what is announced afterwards is fresh. A path's *age* is how many
//! generations ago it was announced. A sweep dooms every age but the youngest; paths announced after it,
//! and those marked as stale after it, live on. Doomed paths take no part in decisions; a round over the
//! path slab removes them.

use std::net::{IpAddr, Ipv4Addr};

use super::PeerInfo;
use crate::types::{Family, PeerId, PeerKind, RouterId};

/// Generations are counted modulo this.
pub(super) const GENERATIONS: u8 = 32;

const AGE_MAX: u8 = GENERATIONS - 1;

/// A peer's paths in one family.
#[derive(Clone, Copy, Debug)]
pub(super) struct PeerPaths {
    /// How many there are.
    pub(super) count: u32,
    /// How many of them have an age above 0.
    pub(super) stale: u32,
    /// How many of them have an age above `keep`.
    pub(super) doomed: u32,
    /// The generation of what is announced now.
    pub(super) generation: u8,
    /// No path has a greater age.
    span: u8,
    /// Paths of a greater age are doomed.
    keep: u8,
}

impl PeerPaths {
    const NONE: PeerPaths =
        PeerPaths { count: 0, stale: 0, doomed: 0, generation: 0, span: 0, keep: AGE_MAX };

    #[inline]
    pub(super) fn age(&self, generation: u8) -> u8 {
        self.generation.wrapping_sub(generation) % GENERATIONS
    }

    #[inline]
    pub(super) fn is_stale(&self, generation: u8) -> bool {
        self.generation != generation
    }

    #[inline]
    pub(super) fn is_doomed(&self, generation: u8) -> bool {
        self.age(generation) > self.keep
    }

    /// A path of this generation goes away, or is announced again.
    #[inline]
    pub(super) fn leave(&mut self, generation: u8) {
        self.stale -= u32::from(self.is_stale(generation));
        self.doomed -= u32::from(self.is_doomed(generation));
    }

    /// Whether there is no generation left to begin before [`PeerPaths::renumbered`].
    pub(super) fn is_worn(&self) -> bool {
        self.stale > 0 && self.stale < self.count && self.span == AGE_MAX
    }

    /// Begins a generation: all paths become stale.
    pub(super) fn begin(&mut self) {
        debug_assert!(!self.is_worn());
        if self.stale == 0 {
            self.span = 0;
            self.keep = AGE_MAX;
        } else if self.stale == self.count {
            return;
        }
        self.generation = (self.generation + 1) % GENERATIONS;
        // Doomed paths have an age above `keep` and at most `span`, so they stay doomed.
        self.span += 1;
        self.keep = (self.keep + 1).min(AGE_MAX);
        self.stale = self.count;
    }

    /// Dooms all stale paths; returns whether any of them was not doomed before. The round for those that were is
    /// under way, and must not begin again whenever the peer says so.
    pub(super) fn doom(&mut self) -> bool {
        self.keep = 0;
        let before = std::mem::replace(&mut self.doomed, self.stale);
        self.doomed > before
    }

    /// The doomed paths are gone.
    pub(super) fn swept(&mut self) {
        if self.doomed == 0 {
            self.span = self.span.min(self.keep);
        }
    }

    /// What the generation of a path that is not doomed becomes when ages are cut down to 0 and 1.
    pub(super) fn renumber(&self, generation: u8) -> u8 {
        if self.is_stale(generation) { self.generation.wrapping_sub(1) % GENERATIONS } else { generation }
    }

    /// All paths have been renumbered, and none is doomed.
    pub(super) fn renumbered(&mut self) {
        self.span = 1;
        self.keep = AGE_MAX;
    }
}

#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) info: PeerInfo,
    pub(super) paths: [PeerPaths; 2],
    /// Nobody asks for it any more; it goes when its last path is gone.
    forgotten: bool,
}

/// The peers, by id.
pub(super) struct Peers {
    rows: Vec<Option<Peer>>,
}

impl Peers {
    pub(super) fn new() -> Peers {
        let address = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let info = PeerInfo { kind: PeerKind::Local, router_id: RouterId(0), address, asn: 0 };
        Peers { rows: vec![Some(Peer { info, paths: [PeerPaths::NONE; 2], forgotten: false })] }
    }

    #[inline]
    pub(super) fn get(&self, peer: PeerId) -> Option<&Peer> {
        self.rows.get(peer.index())?.as_ref()
    }

    #[inline]
    pub(super) fn paths(&self, peer: PeerId, family: Family) -> Option<&PeerPaths> {
        Some(&self.get(peer)?.paths[family.index()])
    }

    #[inline]
    pub(super) fn paths_mut(&mut self, peer: PeerId, family: Family) -> Option<&mut PeerPaths> {
        Some(&mut self.rows.get_mut(peer.index())?.as_mut()?.paths[family.index()])
    }

    /// What a peer is, unless it is forgotten.
    pub(super) fn info(&self, peer: PeerId) -> Option<&PeerInfo> {
        self.get(peer).filter(|row| !row.forgotten).map(|row| &row.info)
    }

    /// Sets what a peer is; returns whether that matters to paths it already has.
    pub(super) fn set(&mut self, peer: PeerId, info: PeerInfo) -> bool {
        if self.rows.len() <= peer.index() {
            self.rows.resize(peer.index() + 1, None);
        }
        match &mut self.rows[peer.index()] {
            Some(row) => {
                row.forgotten = false;
                let changed = row.info != info;
                row.info = info;
                changed && row.paths.iter().any(|paths| paths.count > 0)
            }
            row => {
                *row = Some(Peer { info, paths: [PeerPaths::NONE; 2], forgotten: false });
                false
            }
        }
    }

    /// Lets a peer go as soon as it has no paths.
    pub(super) fn forget(&mut self, peer: PeerId) {
        if let Some(Some(row)) = self.rows.get_mut(peer.index()) {
            row.forgotten = true;
            self.drop_if_done(peer);
        }
    }

    /// Drops a forgotten peer that has no paths.
    pub(super) fn drop_if_done(&mut self, peer: PeerId) {
        if self.get(peer).is_some_and(|row| row.forgotten && row.paths.iter().all(|paths| paths.count == 0)) {
            self.rows[peer.index()] = None;
        }
    }

    /// The round that sweeps this family is over.
    pub(super) fn swept(&mut self, family: Family) {
        for row in self.rows.iter_mut().flatten() {
            row.paths[family.index()].swept();
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.rows.capacity() * size_of::<Option<Peer>>()
    }
}
