//! One round of telling: what each destination becomes, bucketed by attributes and audience, and encoded.
//!
//! A round looks at one state of the Loc-RIB, so an attribute set from one peer is evaluated once, unless
//! the policy looked at the prefix. Destinations are sorted into buckets by counting, and each bucket is
//! encoded into as few messages as hold it, withdrawals first.

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::hash::BuildHasher;

use super::key::GroupKey;
use super::outgoing::{Candidate, Outcome, Scratch, may_pass, outgoing};
use super::ring::{Audience, CHUNK_BYTES, Ring};
use crate::policy::Policy;
use crate::rib::{Path, Rib};
use crate::types::{DestId, Family, NextHop, PeerId, Prefix4, Prefix6};
use crate::wire::encode::{AttributeSection, EncodeContext, encode_announce, encode_withdraw};
use crate::wire::nlri::EncodeNlri;

/// What a message costs beside attributes and prefixes: header, lengths, an MP_REACH_NLRI header with two
/// addresses.
const MESSAGE_OVERHEAD_BYTES: usize = 80;
/// When less is left in a chunk than this and the attributes, a message gets a new chunk: splitting a
/// bucket there would cost more than the rest of the chunk is worth.
const SPLIT_BYTES_MIN: usize = 512;

/// A route that is not told.
const UNTOLD: u32 = u32::MAX;
/// No bucket.
const NO_BUCKET: u32 = u32::MAX;

/// A route as the group is told it, for all destinations that share it in a round.
struct Route {
    block: std::ops::Range<usize>,
    next_hop: NextHop,
    source: PeerId,
    /// The source's slot in the group, or [`super::told::NO_SLOT`].
    slot: u16,
    /// The first of its buckets; one for each audience.
    bucket: u32,
}

/// Destinations that go into the same messages.
struct Bucket {
    audience: Audience,
    /// The route; [`UNTOLD`]: the destinations are withdrawn.
    route: u32,
    /// The next bucket of the same route.
    next: u32,
    count: u32,
}

struct Item {
    bucket: u32,
    dest: u32,
    before: u16,
}

/// Where a round's messages go.
pub(super) trait Sink {
    /// Where to append a message, and how long it may be: at least `bytes_min`.
    fn open(&mut self, bytes_min: usize) -> (&mut Vec<u8>, usize);
    /// A message has been appended.
    fn close(&mut self, audience: Audience, dests: &[(u32, u16)]);
}

impl Sink for Ring {
    fn open(&mut self, bytes_min: usize) -> (&mut Vec<u8>, usize) {
        Ring::open(self, bytes_min)
    }

    fn close(&mut self, audience: Audience, dests: &[(u32, u16)]) {
        self.push(audience, dests.iter().copied());
    }
}

impl Sink for Vec<u8> {
    fn open(&mut self, _bytes_min: usize) -> (&mut Vec<u8>, usize) {
        (self, usize::MAX)
    }

    fn close(&mut self, _audience: Audience, _dests: &[(u32, u16)]) {}
}

/// What every evaluation of a group needs.
#[derive(Clone, Copy)]
pub(super) struct Telling<'a> {
    pub key: &'a GroupKey,
    pub policy: &'a Policy,
    pub rib: &'a Rib,
}

/// The buffers of a round, kept from round to round.
pub(super) struct Batch {
    routes: Vec<Route>,
    blocks: Vec<u8>,
    /// (attribute set, source) to route, or to [`UNTOLD`].
    known: HashMap<u64, u32, FixedState>,
    /// The last question asked of `known`, and its answer: changes arrive in runs.
    last: Option<(u64, u32)>,
    /// By a hash of the content, where the policy looked at prefixes.
    by_content: HashMap<u64, u32, FixedState>,
    buckets: Vec<Bucket>,
    withdrawals: HashMap<Audience, u32, FixedState>,
    items: Vec<Item>,
    bytes: usize,
    sorted: Vec<(u32, u16)>,
    ends: Vec<u32>,
    prefixes4: Vec<Prefix4>,
    prefixes6: Vec<Prefix6>,
    section: AttributeSection,
    block: Vec<u8>,
    scratch: Scratch,
}

impl Batch {
    /// Empty buffers.
    pub fn new() -> Batch {
        Batch {
            routes: Vec::new(),
            blocks: Vec::new(),
            known: HashMap::default(),
            last: None,
            by_content: HashMap::default(),
            buckets: Vec::new(),
            withdrawals: HashMap::default(),
            items: Vec::new(),
            bytes: 0,
            sorted: Vec::new(),
            ends: Vec::new(),
            prefixes4: Vec::new(),
            prefixes6: Vec::new(),
            section: AttributeSection::new(),
            block: Vec::new(),
            scratch: Scratch::default(),
        }
    }

    /// Begins a round.
    pub fn begin(&mut self) {
        self.routes.clear();
        self.blocks.clear();
        self.known.clear();
        self.last = None;
        self.by_content.clear();
        self.begin_messages();
    }

    /// Begins another set of messages in the same round: evaluations stay.
    pub fn begin_messages(&mut self) {
        self.buckets.clear();
        self.withdrawals.clear();
        self.items.clear();
        self.bytes = 0;
        for route in &mut self.routes {
            route.bucket = NO_BUCKET;
        }
    }

    /// About how many bytes the messages will take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nothing is to be told.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// What a path becomes for the group; nothing if it is not told. `slot_of` gives a source's slot.
    #[inline]
    pub fn evaluate(
        &mut self,
        telling: &Telling<'_>,
        dest: u32,
        path: Path,
        slot_of: impl FnOnce(PeerId) -> u16,
    ) -> Option<u32> {
        let question = u64::from(path.attrs.0) << 32 | u64::from(path.peer.0);
        let route = match self.last {
            Some((last, answer)) if last == question => answer,
            _ => match self.known.get(&question) {
                Some(answer) => *answer,
                None => return self.evaluate_anew(telling, dest, path, question, slot_of),
            },
        };
        self.last = Some((question, route));
        (route != UNTOLD).then_some(route)
    }

    fn evaluate_anew(
        &mut self,
        telling: &Telling<'_>,
        dest: u32,
        path: Path,
        question: u64,
        slot_of: impl FnOnce(PeerId) -> u16,
    ) -> Option<u32> {
        let outcome = tell(telling, dest, path, &mut self.scratch, &mut self.block);
        let route = match outcome.next_hop {
            Some(next_hop) => self.add_route(outcome, next_hop, path.peer, slot_of),
            None => UNTOLD,
        };
        if !outcome.used_prefix {
            self.known.insert(question, route);
            self.last = Some((question, route));
        }
        (route != UNTOLD).then_some(route)
    }

    fn add_route(
        &mut self,
        outcome: Outcome,
        next_hop: NextHop,
        source: PeerId,
        slot_of: impl FnOnce(PeerId) -> u16,
    ) -> u32 {
        let content = FixedState::default().hash_one((&self.block, next_hop, source));
        if outcome.used_prefix
            && let Some(route) = self.by_content.get(&content)
        {
            let same = &self.routes[*route as usize];
            if same.source == source
                && same.next_hop == next_hop
                && self.blocks[same.block.clone()] == self.block[..]
            {
                return *route;
            }
        }
        let start = self.blocks.len();
        self.blocks.extend_from_slice(&self.block);
        let route = self.routes.len() as u32;
        self.routes.push(Route {
            block: start..self.blocks.len(),
            next_hop,
            source,
            slot: slot_of(source),
            bucket: NO_BUCKET,
        });
        if outcome.used_prefix {
            self.by_content.insert(content, route);
        }
        route
    }

    /// The slot of a route's source, or [`super::told::NO_SLOT`].
    pub fn source_slot(&self, route: u32) -> u16 {
        self.routes[route as usize].slot
    }

    /// Tells `classes` a route to a destination, all but its source. `before` is what was told.
    #[inline]
    pub fn announce(&mut self, route: u32, classes: u8, dest: u32, before: u16) {
        let Route { block, slot, bucket: first, .. } = &self.routes[route as usize];
        let audience = Audience { classes, slot: *slot, only: false };
        let mut bucket = *first;
        while bucket != NO_BUCKET && self.buckets[bucket as usize].audience != audience {
            bucket = self.buckets[bucket as usize].next;
        }
        if bucket == NO_BUCKET {
            self.bytes += block.len() + MESSAGE_OVERHEAD_BYTES;
            bucket = self.buckets.len() as u32;
            self.buckets.push(Bucket { audience, route, next: *first, count: 0 });
            self.routes[route as usize].bucket = bucket;
        }
        self.add(bucket, dest, before);
    }

    /// Tells `audience` that a destination is gone. `before` is what was told.
    pub fn withdraw(&mut self, audience: Audience, dest: u32, before: u16) {
        let bucket = match self.withdrawals.get(&audience) {
            Some(bucket) => *bucket,
            None => {
                self.bytes += MESSAGE_OVERHEAD_BYTES;
                let bucket = self.buckets.len() as u32;
                self.buckets.push(Bucket { audience, route: UNTOLD, next: NO_BUCKET, count: 0 });
                self.withdrawals.insert(audience, bucket);
                bucket
            }
        };
        self.add(bucket, dest, before);
    }

    #[inline]
    fn add(&mut self, bucket: u32, dest: u32, before: u16) {
        self.buckets[bucket as usize].count += 1;
        // What a prefix takes in the message and in the ring's list.
        self.bytes += 10;
        self.items.push(Item { bucket, dest, before });
    }

    /// Encodes everything into `sink`.
    pub fn encode(&mut self, telling: &Telling<'_>, sink: &mut impl Sink) {
        self.sort();
        let rib = telling.rib;
        match telling.key.family {
            Family::Ipv4Unicast => {
                let mut prefixes = std::mem::take(&mut self.prefixes4);
                self.encode_as(telling, sink, &mut prefixes, |dest| rib.prefix4(DestId(dest)));
                self.prefixes4 = prefixes;
            }
            Family::Ipv6Unicast => {
                let mut prefixes = std::mem::take(&mut self.prefixes6);
                self.encode_as(telling, sink, &mut prefixes, |dest| rib.prefix6(DestId(dest)));
                self.prefixes6 = prefixes;
            }
        }
    }

    /// Sorts the items by bucket, in the order in which they came.
    fn sort(&mut self) {
        self.ends.clear();
        let mut start = 0;
        self.ends.extend(self.buckets.iter().map(|bucket| {
            let this = start;
            start += bucket.count;
            this
        }));
        self.sorted.clear();
        self.sorted.resize(self.items.len(), (0, 0));
        for item in &self.items {
            let at = &mut self.ends[item.bucket as usize];
            self.sorted[*at as usize] = (item.dest, item.before);
            *at += 1;
        }
    }

    fn encode_as<N: EncodeNlri>(
        &mut self,
        telling: &Telling<'_>,
        sink: &mut impl Sink,
        prefixes: &mut Vec<N>,
        prefix: impl Fn(u32) -> N,
    ) {
        let message_len_max = usize::from(telling.key.message_bytes_max);
        let mut context = EncodeContext { four_octet_as: telling.key.four_octet_as, message_len_max };
        let withdrawals = self.buckets.iter().enumerate().filter(|(_, bucket)| bucket.route == UNTOLD);
        let announcements = self.buckets.iter().enumerate().filter(|(_, bucket)| bucket.route != UNTOLD);
        for (index, bucket) in withdrawals.chain(announcements) {
            let end = self.ends[index] as usize;
            let mut dests = &self.sorted[end - bucket.count as usize..end];
            prefixes.clear();
            prefixes.extend(dests.iter().map(|(dest, _)| prefix(*dest)));
            let mut rest = &prefixes[..];
            let mut bytes_min = SPLIT_BYTES_MIN;
            if let Some(route) = self.routes.get(bucket.route as usize) {
                let block = &self.blocks[route.block.clone()];
                self.section.fill(&context, telling.key.family, block, route.next_hop);
                bytes_min += 2 * block.len() + MESSAGE_OVERHEAD_BYTES;
            }
            let bytes_min = bytes_min.min(message_len_max).min(CHUNK_BYTES);
            while !rest.is_empty() {
                let (out, room) = sink.open(bytes_min);
                context.message_len_max = message_len_max.min(room);
                let count = if bucket.route == UNTOLD {
                    encode_withdraw(&context, rest, out)
                } else {
                    encode_announce(&context, &self.section, rest, out)
                        .expect("the block leaves room for a prefix: `tell` saw to it")
                };
                let (told, left) = dests.split_at(count);
                sink.close(bucket.audience, told);
                dests = left;
                rest = &rest[count..];
            }
        }
    }
}

/// [`outgoing`] for a path of the Loc-RIB.
pub(super) fn tell(
    telling: &Telling<'_>,
    dest: u32,
    path: Path,
    scratch: &mut Scratch,
    out: &mut Vec<u8>,
) -> Outcome {
    let rib = telling.rib;
    let Some(source) = rib.peer(path.peer).filter(|source| may_pass(source.kind, telling.key.kind)) else {
        return Outcome { next_hop: None, used_prefix: false };
    };
    let candidate = Candidate {
        prefix: rib.prefix(telling.key.family, DestId(dest)),
        block: rib.attrs().block(path.attrs),
        next_hop: rib.attrs().next_hop(path.attrs),
        source,
    };
    let mut outcome = outgoing(telling.key, telling.policy, &candidate, scratch, out);
    outcome.next_hop = outcome.next_hop.filter(|_| fits(telling.key, out.len()));
    outcome
}

/// Whether a message takes attributes of this length and a prefix. RFC 8654 §4 and RFC 4271 leave no other
/// way than not to tell routes for which it does not.
fn fits(key: &GroupKey, block_len: usize) -> bool {
    // AS4_PATH may repeat the whole path for a peer with two-octet AS numbers.
    let len = if key.four_octet_as { block_len } else { block_len * 2 };
    len + MESSAGE_OVERHEAD_BYTES + Prefix6::LEN_MAX <= usize::from(key.message_bytes_max)
}
