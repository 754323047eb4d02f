//! The encoded messages of a group, each once, and the cursors with which members read them.
//!
//! Messages lie back to back in chunks. Beside each lies an eight-byte entry: its length, its audience, and
//! how many destinations it speaks of; the destinations with what was told before stand in a list of their
//! own, so that what a member has *not* taken can be told apart exactly when it falls too far behind.

use std::collections::VecDeque;

use smallvec::SmallVec;

use super::SLICES_MAX;
use super::told::NO_SLOT;
use crate::wire::MessageKind;

/// Bytes in a chunk: the longest message there is fits (RFC 8654).
pub(super) const CHUNK_BYTES: usize = 65_536;
/// Encoders may reserve this much beyond what they write in the end.
const SLACK_BYTES: usize = 64;

/// What an entry and a destination cost beside the message's bytes, for the limit on the ring.
const ENTRY_BYTES: u64 = 8;
const DEST_BYTES: u64 = 6;

/// Members that have heard everything so far.
pub(super) const MAIN: u8 = 1;

/// Whether a message is an UPDATE, by its header (RFC 4271 §4.1).
pub(super) fn is_update(message: &[u8]) -> bool {
    message[18] == MessageKind::Update as u8
}

/// Who an entry is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Audience {
    /// The classes of members that it is for: [`MAIN`], and one bit for each walk under way.
    pub classes: u8,
    /// The member that it is not for, or the only one that it is for, or [`NO_SLOT`].
    pub slot: u16,
    /// Whether it is only for `slot`.
    pub only: bool,
}

impl Audience {
    /// All members of these classes.
    pub fn everyone(classes: u8) -> Audience {
        Audience { classes, slot: NO_SLOT, only: false }
    }
}

/// The entry is only for its slot.
const ONLY: u8 = 1;
/// The entry's bytes are the first of a new chunk.
const NEW_CHUNK: u8 = 2;
/// The entry ends the walk of its classes: who passes it has heard everything so far.
const WALK_END: u8 = 4;
/// The entry is an UPDATE.
const IS_UPDATE: u8 = 8;

#[derive(Clone, Copy)]
struct Entry {
    len: u16,
    dests: u16,
    slot: u16,
    classes: u8,
    flags: u8,
}

const _: () = assert!(size_of::<Entry>() == 8);

impl Entry {
    fn cost(self) -> u64 {
        u64::from(self.len) + ENTRY_BYTES + u64::from(self.dests) * DEST_BYTES
    }

    /// How many UPDATEs it is: one or none.
    fn updates(self) -> u32 {
        u32::from(self.flags & IS_UPDATE != 0)
    }

    fn is_for(self, slot: u16, reads: u8) -> bool {
        self.classes & reads != 0 && (self.slot == slot) == (self.flags & ONLY != 0)
    }
}

/// How far a member has read: everything before `seq` has been sent or was not for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor {
    /// The next entry.
    pub seq: u64,
    /// Bytes of the next entry that have been sent.
    pub partial: u16,
    /// The classes of entries that the member takes from here on.
    pub reads: u8,
    /// Where the last entry ended.
    pos: u32,
    chunk: u64,
    dests: u64,
    cost: u64,
}

/// How many slots a plan that is shared remembers: those of members that are sent something else.
const NAMED_MAX: usize = 8;

/// What is to be sent to members that stand at one place.
#[derive(Default)]
struct Plan {
    /// Sequence number, bytes sent, classes and head that the plan was made for.
    from: (u64, u16, u8, u64),
    /// The member that it was made for, and whether it holds for all whose slots are not `named`.
    slot: u16,
    shared: bool,
    named: SmallVec<[u16; NAMED_MAX]>,
    slices: Vec<(u64, u32, u32)>,
    bytes: usize,
    /// How many of the messages that end in it are UPDATEs.
    updates: u32,
    end: Option<Cursor>,
}

/// See the module.
pub(super) struct Ring {
    entries: VecDeque<Entry>,
    first: u64,
    chunks: VecDeque<Vec<u8>>,
    first_chunk: u64,
    /// How many bytes of the last chunk belong to entries.
    sealed: usize,
    dests: VecDeque<u32>,
    befores: VecDeque<u16>,
    first_dest: u64,
    /// What all entries ever pushed cost, and what all freed ones did.
    cost_head: u64,
    cost_tail: u64,
    plan: Plan,
}

impl Ring {
    /// An empty ring.
    pub fn new() -> Ring {
        Ring {
            entries: VecDeque::new(),
            first: 0,
            chunks: VecDeque::new(),
            // Cursors into an empty ring stand at the end of the chunk before.
            first_chunk: 1,
            sealed: 0,
            dests: VecDeque::new(),
            befores: VecDeque::new(),
            first_dest: 0,
            cost_head: 0,
            cost_tail: 0,
            plan: Plan::default(),
        }
    }

    /// The sequence number of the first entry that is kept.
    pub fn tail(&self) -> u64 {
        self.first
    }

    /// The sequence number of the next entry to come.
    pub fn head(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// Bytes that the ring holds.
    pub fn held_bytes(&self) -> usize {
        (self.cost_head - self.cost_tail) as usize
    }

    /// Bytes that the ring holds from `cursor` on.
    pub fn backlog_bytes(&self, cursor: &Cursor) -> usize {
        (self.cost_head - cursor.cost) as usize
    }

    /// Bytes allocated.
    pub fn memory_bytes(&self) -> usize {
        self.entries.capacity() * 8
            + self.dests.capacity() * 4
            + self.befores.capacity() * 2
            + self.chunks.len() * CHUNK_BYTES
    }

    /// A cursor that reads `reads` from the next entry to come.
    pub fn cursor(&self, reads: u8) -> Cursor {
        let chunk = self.first_chunk + self.used_chunks() - 1;
        let dests = self.first_dest + self.dests.len() as u64;
        let pos = self.sealed as u32;
        Cursor { seq: self.head(), partial: 0, reads, pos, chunk, dests, cost: self.cost_head }
    }

    /// How many chunks hold bytes; a last one may have been opened for a message that did not come.
    fn used_chunks(&self) -> u64 {
        self.chunks.len() as u64 - u64::from(self.sealed == 0 && !self.chunks.is_empty())
    }

    /// Where to append a message, and how long it may be: at least `bytes_min`, at most what the chunk
    /// still takes. [`Ring::push`] makes it an entry.
    pub fn open(&mut self, bytes_min: usize) -> (&mut Vec<u8>, usize) {
        debug_assert!(bytes_min <= CHUNK_BYTES);
        if self.chunks.is_empty() || CHUNK_BYTES - self.sealed < bytes_min {
            self.chunks.push_back(Vec::with_capacity(CHUNK_BYTES + SLACK_BYTES));
            self.sealed = 0;
        }
        let chunk = self.chunks.back_mut().expect("there is one: it was just made, or was there");
        (chunk, CHUNK_BYTES - self.sealed)
    }

    /// Makes what was appended since the last entry an entry that speaks of `dests`, each with what was
    /// told before.
    pub fn push(&mut self, audience: Audience, dests: impl Iterator<Item = (u32, u16)>) {
        let before = self.dests.len();
        for (dest, told) in dests {
            self.dests.push_back(dest);
            self.befores.push_back(told);
        }
        let dests = (self.dests.len() - before) as u16;
        self.push_entry(audience, dests, if audience.only { ONLY } else { 0 });
    }

    /// Ends the walk of `classes`, with what was appended since the last entry as its last message.
    pub fn push_walk_end(&mut self, classes: u8) {
        self.push_entry(Audience::everyone(classes), 0, WALK_END);
    }

    fn push_entry(&mut self, audience: Audience, dests: u16, mut flags: u8) {
        let end = self.chunks.back().map_or(0, Vec::len);
        let len = end - self.sealed;
        if len > 0 && self.sealed == 0 {
            flags |= NEW_CHUNK;
        }
        if self.chunks.back().is_some_and(|chunk| len > 0 && is_update(&chunk[self.sealed..])) {
            flags |= IS_UPDATE;
        }
        self.sealed = end;
        let entry = Entry { len: len as u16, dests, slot: audience.slot, classes: audience.classes, flags };
        self.cost_head += entry.cost();
        self.entries.push_back(entry);
    }

    fn entry(&self, seq: u64) -> Option<Entry> {
        self.entries.get((seq - self.first) as usize).copied()
    }

    /// Where the bytes of the next entry begin.
    fn place(cursor: &Cursor, entry: Entry) -> (u64, u32) {
        if entry.flags & NEW_CHUNK != 0 { (cursor.chunk + 1, 0) } else { (cursor.chunk, cursor.pos) }
    }

    fn pass(cursor: &mut Cursor, entry: Entry) {
        let (chunk, pos) = Ring::place(cursor, entry);
        cursor.chunk = chunk;
        cursor.pos = pos + u32::from(entry.len);
        cursor.dests += u64::from(entry.dests);
        cursor.cost += entry.cost();
        cursor.seq += 1;
        cursor.partial = 0;
        if entry.flags & WALK_END != 0 && entry.classes & cursor.reads != 0 {
            cursor.reads = cursor.reads & !entry.classes | MAIN;
        }
    }

    /// Moves the cursor past entries that carry no bytes for the member in `slot`; returns whether there is
    /// one that does.
    pub fn skip(&self, cursor: &mut Cursor, slot: u16) -> bool {
        while let Some(entry) = self.entry(cursor.seq) {
            if entry.len > 0 && entry.is_for(slot, cursor.reads) {
                return true;
            }
            Ring::pass(cursor, entry);
        }
        false
    }

    /// Works out what the member in `slot` is to be sent from its cursor on; [`Ring::planned`] gives the
    /// bytes. Returns the cursor behind them, how many there are, and how many UPDATEs end in them.
    ///
    /// Members that stand at the same place mostly are to be sent the same, so the last plan is kept.
    pub fn plan(&mut self, cursor: &Cursor, slot: u16) -> (Cursor, usize, u32) {
        let from = (cursor.seq, cursor.partial, cursor.reads, self.head());
        let plan = &self.plan;
        let same =
            plan.from == from && if plan.shared { !plan.named.contains(&slot) } else { plan.slot == slot };
        if !same {
            self.make_plan(cursor, slot);
            self.plan.from = from;
        }
        (self.plan.end.unwrap_or(*cursor), self.plan.bytes, self.plan.updates)
    }

    fn make_plan(&mut self, cursor: &Cursor, slot: u16) {
        let mut plan = std::mem::take(&mut self.plan);
        plan.slices.clear();
        plan.named.clear();
        let (mut named_any, mut too_many) = (false, false);
        let mut bytes = 0;
        let mut updates = 0;
        let mut cursor = *cursor;
        for &entry in self.entries.range((cursor.seq - self.first) as usize..) {
            if entry.len > 0 && entry.classes & cursor.reads != 0 {
                if entry.slot != NO_SLOT && !plan.named.contains(&entry.slot) {
                    named_any |= entry.slot == slot;
                    too_many |= plan.named.len() == NAMED_MAX;
                    if !too_many {
                        plan.named.push(entry.slot);
                    }
                }
                if entry.is_for(slot, cursor.reads) {
                    let (chunk, pos) = Ring::place(&cursor, entry);
                    let (start, end) = (pos + u32::from(cursor.partial), pos + u32::from(entry.len));
                    let full = plan.slices.len() == SLICES_MAX;
                    match plan.slices.last_mut() {
                        Some((at, _, to)) if *at == chunk && *to == start => *to = end,
                        _ if full => break,
                        _ => plan.slices.push((chunk, start, end)),
                    }
                    bytes += (end - start) as usize;
                    updates += entry.updates();
                }
            }
            Ring::pass(&mut cursor, entry);
        }
        plan.end = Some(cursor);
        plan.bytes = bytes;
        plan.updates = updates;
        plan.slot = slot;
        plan.shared = !named_any && !too_many;
        self.plan = plan;
    }

    /// The bytes of the last [`Ring::plan`].
    pub fn planned(&self) -> impl Iterator<Item = &[u8]> {
        self.plan.slices.iter().map(|(chunk, from, to)| self.bytes(*chunk, *from, *to))
    }

    fn bytes(&self, chunk: u64, from: u32, to: u32) -> &[u8] {
        &self.chunks[(chunk - self.first_chunk) as usize][from as usize..to as usize]
    }

    /// The member in `slot` has taken up to `bytes`; returns how many of them were not the ring's, and how many
    /// UPDATEs ended in the others.
    pub fn sent(&self, cursor: &mut Cursor, slot: u16, mut bytes: usize) -> (usize, u32) {
        let mut updates = 0;
        while self.skip(cursor, slot) {
            let Some(entry) = self.entry(cursor.seq) else { break };
            let left = usize::from(entry.len - cursor.partial);
            if bytes < left {
                cursor.partial += bytes as u16;
                return (0, updates);
            }
            bytes -= left;
            updates += entry.updates();
            Ring::pass(cursor, entry);
        }
        (bytes, updates)
    }

    /// The bytes of a message that the member has taken in part, and whether it is an UPDATE; the cursor passes it.
    pub fn rest_of_message(&self, cursor: &mut Cursor) -> (&[u8], bool) {
        let Some(entry) = self.entry(cursor.seq).filter(|_| cursor.partial > 0) else { return (&[], false) };
        let (chunk, pos) = Ring::place(cursor, entry);
        let (from, to) = (pos + u32::from(cursor.partial), pos + u32::from(entry.len));
        Ring::pass(cursor, entry);
        (self.bytes(chunk, from, to), entry.updates() > 0)
    }

    /// Visits the destinations of everything that the member in `slot` has not taken, with what was told
    /// before, and gives the classes that it would read at the end.
    pub fn unsent(&self, cursor: &Cursor, slot: u16, visit: &mut dyn FnMut(u32, u16)) {
        let mut cursor = *cursor;
        while let Some(entry) = self.entry(cursor.seq) {
            if entry.is_for(slot, cursor.reads) {
                let from = (cursor.dests - self.first_dest) as usize;
                for at in from..from + usize::from(entry.dests) {
                    visit(self.dests[at], self.befores[at]);
                }
            }
            Ring::pass(&mut cursor, entry);
        }
    }

    /// Forgets what lies before `slowest`, the cursor that has read least.
    pub fn trim(&mut self, slowest: &Cursor) {
        let entries = (slowest.seq - self.first) as usize;
        self.entries.drain(..entries);
        self.first = slowest.seq;
        let dests = (slowest.dests - self.first_dest) as usize;
        self.dests.drain(..dests);
        self.befores.drain(..dests);
        self.first_dest = slowest.dests;
        self.cost_tail = slowest.cost;
        while self.first_chunk < slowest.chunk {
            self.chunks.pop_front();
            self.first_chunk += 1;
        }
        if self.entries.is_empty() {
            self.clear();
        }
    }

    /// Forgets everything: no member reads.
    pub fn clear(&mut self) {
        self.first = self.head();
        self.first_chunk += self.used_chunks();
        self.first_dest += self.dests.len() as u64;
        self.cost_tail = self.cost_head;
        // An idle group keeps no buffers: there may be as many groups as peers.
        self.plan = Plan::default();
        self.entries = VecDeque::new();
        self.chunks = VecDeque::new();
        self.sealed = 0;
        self.dests = VecDeque::new();
        self.befores = VecDeque::new();
    }
}
