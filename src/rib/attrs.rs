//! The attribute store: each set of path attributes with its next hop once, named by an [`AttrId`].
//!
//! A set is a canonical attribute block (`wire::attrs`) and a [`NextHopId`]; equality of sets is equality
//! of ids. The blocks lie one behind another in an arena, each behind a small header; a hash table finds
//! the id of a block; a slot of 32 bytes holds the reference count, where the block is, and the
//! [`AttrMeta`] that the decision process compares.
//!
//! Blocks that die leave holes. When they make up a quarter of the arena, [`AttrStore::tidy`] slides the
//! living ones down, a few at a time: ids stay, only slots are told. So the arena has no size classes and
//! no fragmentation, and shrinks when the table does.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::AttrMeta;
use super::next_hops::NextHopTable;
use super::trie::prefetch;
use crate::types::{AttrId, NextHop, NextHopId};
use crate::wire::attrs::{AsPath, PathAttributes, code};

/// Blocks start at multiples of this, so that 32 bits of offset reach 16 GiB.
const UNIT_BYTES: usize = 4;

/// In front of each block: the id of its set, or [`DEAD`], and its length.
const HEADER_BYTES: usize = 8;

const DEAD: u32 = u32::MAX;
const NO_SLOT: u32 = u32::MAX;

/// Below this many dead bytes the arena is left alone.
const TIDY_BYTES_MIN: usize = 64 * 1024;

#[derive(Clone, Copy)]
struct Slot {
    /// How many paths, and others, refer to the set; 0 for a free slot.
    refs: u32,
    /// Where the header is, in units; the next free slot for a free one.
    offset: u32,
    meta: AttrMeta,
}

/// An entry of the index. The hash stands beside the id so that a growing index need not read every block
/// again: with a hundred thousand sets that took 20 ms, and everybody waited.
#[derive(Clone, Copy)]
struct Indexed {
    id: u32,
    hash: u32,
}

impl Indexed {
    /// The hash as the table wants it: it takes seven bits from the top and the rest from below.
    #[inline]
    fn spread(hash: u32) -> u64 {
        u64::from(hash) << 32 | u64::from(hash)
    }
}

/// A pass of [`AttrStore::tidy`]: what lies before `write` is in place, what lies from `read` on is not
/// yet looked at, and between them is nothing.
#[derive(Clone, Copy)]
struct Slide {
    read: usize,
    write: usize,
}

/// The interned attribute sets.
pub struct AttrStore {
    slots: Vec<Slot>,
    free: u32,
    arena: Vec<u8>,
    dead_bytes: usize,
    slide: Option<Slide>,
    index: HashTable<Indexed>,
    hasher: FixedState,
    pub(super) next_hops: NextHopTable,
}

impl AttrStore {
    /// An empty store. `seed` keys the hash, so that peers cannot choose collisions.
    pub fn new(seed: u64) -> AttrStore {
        AttrStore {
            slots: Vec::new(),
            free: NO_SLOT,
            arena: Vec::new(),
            dead_bytes: 0,
            slide: None,
            index: HashTable::new(),
            hasher: FixedState::with_seed(seed),
            next_hops: NextHopTable::new(seed),
        }
    }

    /// The canonical attribute block of a set: ascending type codes, without NEXT_HOP and MP attributes.
    #[inline]
    pub fn block(&self, attrs: AttrId) -> &[u8] {
        block_at(&self.arena, self.slots[attrs.index()].offset)
    }

    /// What the decision process compares.
    #[inline]
    pub fn meta(&self, attrs: AttrId) -> &AttrMeta {
        &self.slots[attrs.index()].meta
    }

    /// The next hop of a set.
    #[inline]
    pub fn next_hop(&self, attrs: AttrId) -> NextHop {
        self.next_hops.addr(self.meta(attrs).next_hop)
    }

    /// How many sets there are.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// One past the highest [`AttrId`] in use.
    pub fn end(&self) -> u32 {
        self.slots.len() as u32
    }

    /// Bytes in use: blocks, slots, the hash table, next hops.
    pub fn memory_bytes(&self) -> usize {
        self.arena.len()
            + self.slots.len() * size_of::<Slot>()
            + self.index.allocation_size()
            + self.next_hops.memory_bytes()
    }

    /// Bytes of the blocks themselves, without what it takes to keep them.
    pub fn block_bytes(&self) -> usize {
        let live = self.slots.iter().filter(|slot| slot.refs > 0);
        live.map(|slot| block_at(&self.arena, slot.offset).len()).sum()
    }

    /// Asks the cache for what [`AttrStore::meta`] and [`AttrStore::release`] touch.
    #[inline]
    pub(super) fn prefetch(&self, attrs: AttrId) {
        prefetch(&self.slots[attrs.index()]);
    }

    /// The id of a set, with one reference for the caller.
    ///
    /// # Panics
    /// If all blocks together pass 16 GiB. A block may be longer than a message: two-octet AS numbers become
    /// four-octet ones, and a policy adds communities.
    pub fn intern(&mut self, block: &[u8], next_hop: NextHop) -> AttrId {
        let next_hop = self.next_hops.intern(next_hop);
        let hash = hash(&self.hasher, block, next_hop);
        let (slots, arena) = (&self.slots, &self.arena);
        let same = |entry: &Indexed| {
            let slot = &slots[entry.id as usize];
            entry.hash == hash && slot.meta.next_hop == next_hop && block_at(arena, slot.offset) == block
        };
        if let Some(&Indexed { id, .. }) = self.index.find(Indexed::spread(hash), same) {
            self.slots[id as usize].refs += 1;
            // The set holds a reference of its own to the next hop.
            self.next_hops.release(next_hop);
            return AttrId(id);
        }
        let slot = Slot { refs: 1, offset: 0, meta: meta_of(block, next_hop) };
        let id = if self.free == NO_SLOT {
            self.slots.push(slot);
            self.slots.len() as u32 - 1
        } else {
            let id = self.free;
            self.free = std::mem::replace(&mut self.slots[id as usize], slot).offset;
            id
        };
        self.slots[id as usize].offset = self.append(id, block);
        let spread = |entry: &Indexed| Indexed::spread(entry.hash);
        self.index.insert_unique(Indexed::spread(hash), Indexed { id, hash }, spread);
        AttrId(id)
    }

    fn append(&mut self, id: u32, block: &[u8]) -> u32 {
        let offset = self.arena.len() / UNIT_BYTES;
        let length = block.len() as u32;
        let padded = stored_bytes(block.len()) - HEADER_BYTES - block.len();
        self.arena.extend_from_slice(&id.to_ne_bytes());
        self.arena.extend_from_slice(&length.to_ne_bytes());
        self.arena.extend_from_slice(block);
        self.arena.extend_from_slice(&[0; UNIT_BYTES][..padded]);
        u32::try_from(offset).expect("attribute blocks within 16 GiB")
    }

    /// Adds `count` references to a set.
    pub(super) fn retain(&mut self, attrs: AttrId, count: u32) {
        self.slots[attrs.index()].refs += count;
    }

    /// Gives back one reference to a set.
    #[inline]
    pub fn release(&mut self, attrs: AttrId) {
        let slot = &mut self.slots[attrs.index()];
        slot.refs -= 1;
        if slot.refs == 0 {
            self.drop_set(attrs);
        }
    }

    fn drop_set(&mut self, attrs: AttrId) {
        let Slot { offset, meta, .. } = self.slots[attrs.index()];
        let block = block_at(&self.arena, offset);
        let hash = hash(&self.hasher, block, meta.next_hop);
        self.dead_bytes += stored_bytes(block.len());
        if let Ok(entry) = self.index.find_entry(Indexed::spread(hash), |entry| entry.id == attrs.0) {
            entry.remove();
        }
        let start = offset as usize * UNIT_BYTES;
        self.arena[start..start + 4].copy_from_slice(&DEAD.to_ne_bytes());
        self.slots[attrs.index()].offset = self.free;
        self.free = attrs.0;
        self.next_hops.release(meta.next_hop);
        if self.index.is_empty() {
            self.slots = Vec::new();
            self.free = NO_SLOT;
            self.arena = Vec::new();
            self.dead_bytes = 0;
            self.slide = None;
            self.index = HashTable::new();
        }
    }

    /// Closes holes that dead blocks left, about `budget` blocks of them; returns whether there is more
    /// to do.
    pub fn tidy(&mut self, budget: usize) -> bool {
        let Some(mut slide) = self.slide.or_else(|| {
            let worth = self.dead_bytes >= TIDY_BYTES_MIN && self.dead_bytes * 4 >= self.arena.len();
            worth.then_some(Slide { read: 0, write: 0 })
        }) else {
            return false;
        };
        for _ in 0..budget {
            if slide.read == self.arena.len() {
                self.arena.truncate(slide.write);
                self.arena.shrink_to(slide.write + slide.write / 4);
                self.slide = None;
                return false;
            }
            let (id, length) = header_at(&self.arena, slide.read);
            let bytes = stored_bytes(length);
            if id == DEAD {
                self.dead_bytes -= bytes;
            } else {
                self.arena.copy_within(slide.read..slide.read + bytes, slide.write);
                self.slots[id as usize].offset = (slide.write / UNIT_BYTES) as u32;
                slide.write += bytes;
            }
            slide.read += bytes;
        }
        self.slide = Some(slide);
        true
    }

    #[cfg(test)]
    pub(super) fn check_invariants(&self, refs: &std::collections::BTreeMap<u32, u32>) {
        let mut live = 0;
        for (id, slot) in self.slots.iter().enumerate().filter(|(_, slot)| slot.refs > 0) {
            live += 1;
            assert_eq!(refs.get(&(id as u32)), Some(&slot.refs), "references of set {id}");
            let start = slot.offset as usize * UNIT_BYTES;
            assert_eq!(header_at(&self.arena, start).0, id as u32);
        }
        assert_eq!(live, self.index.len());
        assert_eq!(live, refs.len());
    }
}

fn stored_bytes(length: usize) -> usize {
    (HEADER_BYTES + length).next_multiple_of(UNIT_BYTES)
}

#[inline]
fn header_at(arena: &[u8], start: usize) -> (u32, usize) {
    let h: &[u8; HEADER_BYTES] = arena[start..].first_chunk().expect("a header before every block");
    let [id, length] = [[h[0], h[1], h[2], h[3]], [h[4], h[5], h[6], h[7]]].map(u32::from_ne_bytes);
    (id, length as usize)
}

#[inline]
fn block_at(arena: &[u8], offset: u32) -> &[u8] {
    let start = offset as usize * UNIT_BYTES;
    let (_, length) = header_at(arena, start);
    &arena[start + HEADER_BYTES..][..length]
}

#[inline]
fn hash(hasher: &FixedState, block: &[u8], next_hop: NextHopId) -> u32 {
    let mut hasher = hasher.build_hasher();
    hasher.write_u32(next_hop.0);
    hasher.write(block);
    let hash = hasher.finish();
    (hash ^ hash >> 32) as u32
}

/// Reads a canonical block once for all.
fn meta_of(block: &[u8], next_hop: NextHopId) -> AttrMeta {
    let mut meta = AttrMeta {
        local_pref: 100,
        med: 0,
        neighbor_as: 0,
        next_hop,
        originator_id: 0,
        path_len: 0,
        cluster_list_len: 0,
        origin: 0,
    };
    // One pass over the block, where each accessor of the reader would make its own.
    for attribute in PathAttributes::new(block).iter() {
        let value = attribute.value;
        let number = || value.try_into().map_or(0, u32::from_be_bytes);
        match attribute.code {
            code::ORIGIN => meta.origin = value.first().copied().unwrap_or_default(),
            code::AS_PATH => {
                let path = AsPath::new(value);
                meta.path_len = u16::try_from(path.length()).unwrap_or(u16::MAX);
                meta.neighbor_as = path.neighbor_as().unwrap_or(0);
            }
            code::MULTI_EXIT_DISC => meta.med = number(),
            code::LOCAL_PREF => meta.local_pref = number(),
            code::ORIGINATOR_ID => meta.originator_id = number(),
            code::CLUSTER_LIST => {
                meta.cluster_list_len = u8::try_from(value.len() / 4).unwrap_or(u8::MAX);
            }
            _ => {}
        }
    }
    meta
}
