//! UPDATEs to prefix numbers and attribute sets.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};
use std::ops::Range;

use foldhash::fast::FixedState;
use kulan::types::{Family, Prefix, Prefix4};
use kulan::wire::nlri::decode_prefixes4;
use kulan::wire::{DecodeContext, Nlri, Notification, Treatment, canonicalize, decode_update};

use super::Arrival;
use crate::attributes::{SetId, Store};
use crate::truth::Index;

/// How many prefix numbers of remembered messages are kept: 128 MiB. Then all is forgotten, and begins anew.
const REMEMBERED_NUMBERS_MAX: usize = 32 << 20;
/// Room from the start. A table that grows while the clock runs takes milliseconds, and they would be taken for the
/// speaker's.
const SETS: usize = 1 << 18;

/// What one UPDATE says.
#[derive(Clone, Debug, Default)]
pub(super) struct Decoded {
    /// Where the withdrawn prefix numbers lie in [`Decoder::numbers`].
    pub withdrawn: Range<usize>,
    /// Where the announced ones lie, with their attributes.
    pub announced: [(Range<usize>, SetId); 2],
    /// Where the path identifiers of all of them lie in [`Decoder::path_ids`] relative to the numbers, if there are any.
    pub has_path_ids: bool,
    /// The family whose End-of-RIB it is.
    pub end_of_rib: Option<Family>,
    /// What was wrong with it, in words.
    pub malformed: Option<String>,
}

/// Decodes for all receivers of a run.
#[derive(Debug)]
pub(super) struct Decoder {
    pub store: Store,
    pub index: Index,
    /// Whether messages are likely to come again at other receivers.
    pub remember: bool,
    pub watched: Range<u32>,
    pub arrivals: Vec<Arrival>,
    /// The prefix numbers of the current message, or of all that are remembered.
    pub numbers: Vec<u32>,
    /// How many of `numbers` belong to messages that are remembered.
    kept: usize,
    /// The path identifiers of the current message, beside its numbers.
    pub path_ids: Vec<u32>,
    /// By the hash of their octets: path attributes of messages without MP_REACH_NLRI, found to be good.
    good: HashMap<u64, SetId, Identity>,
    /// By the hash of their octets and of what was negotiated.
    remembered: HashMap<u64, Decoded, Identity>,
    hasher: FixedState,
    prefixes: Vec<Prefix4>,
    block: Vec<u8>,
}

/// The keys are hashes already.
#[derive(Clone, Debug, Default)]
pub(super) struct IdentityHasher(u64);

type Identity = BuildHasherDefault<IdentityHasher>;

impl Hasher for IdentityHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only numbers of 64 bits are hashed");
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

impl Decoder {
    pub fn new() -> Decoder {
        let mut store = Store::new();
        store.reserve(SETS, SETS * 64);
        Decoder {
            store,
            index: Index::new(),
            remember: false,
            watched: 0..0,
            arrivals: Vec::new(),
            numbers: Vec::with_capacity(1 << 16),
            kept: 0,
            path_ids: Vec::new(),
            good: HashMap::with_capacity_and_hasher(SETS, Identity::default()),
            remembered: HashMap::default(),
            hasher: FixedState::with_seed(3),
            prefixes: Vec::with_capacity(2048),
            block: Vec::new(),
        }
    }

    /// Reads the body of an UPDATE.
    ///
    /// # Errors
    /// The NOTIFICATION that the speaker deserves.
    pub fn decode(&mut self, body: &[u8], context: &DecodeContext) -> Result<Decoded, Notification> {
        self.numbers.truncate(self.kept);
        // Path identifiers differ from receiver to receiver: not worth remembering.
        if !self.remember || !context.add_path.is_empty() {
            return self.decode_anew(body, context);
        }
        let key = self.key_of(body, context);
        if let Some(known) = self.remembered.get(&key) {
            return Ok(known.clone());
        }
        if self.kept > REMEMBERED_NUMBERS_MAX {
            self.remembered.clear();
            self.numbers.clear();
        }
        let decoded = self.decode_anew(body, context)?;
        self.kept = self.numbers.len();
        self.remembered.insert(key, decoded.clone());
        Ok(decoded)
    }

    fn decode_anew(&mut self, body: &[u8], context: &DecodeContext) -> Result<Decoded, Notification> {
        if let Some(decoded) = self.decode_plain(body, context) {
            return Ok(decoded);
        }
        let view = decode_update(body, context)?;
        let mut decoded = Decoded {
            end_of_rib: view.end_of_rib(),
            has_path_ids: !context.add_path.is_empty(),
            ..Decoded::default()
        };
        if view.treatment() != Treatment::None {
            let what: Vec<String> = view.findings().iter().map(|finding| finding.to_string()).collect();
            decoded.malformed = Some(what.join(", "));
        }
        self.path_ids.clear();
        let start = self.numbers.len();
        for nlri in view.withdrawals() {
            self.put_numbers(&nlri);
        }
        decoded.withdrawn = start..self.numbers.len();
        let mut groups = 0;
        for (slot, reach) in decoded.announced.iter_mut().zip(view.announcements()) {
            canonicalize(&view, &mut self.block);
            let set = self.store.intern(&self.block, reach.next_hop);
            let start = self.numbers.len();
            self.put_numbers(&reach.nlri);
            *slot = (start..self.numbers.len(), set);
            groups += 1;
        }
        let plain = groups == 1
            && view.withdrawals().next().is_none()
            && view.treatment() == Treatment::None
            && context.add_path.is_empty()
            && view.announcements().all(|reach| is_plain(body, &reach.nlri));
        if plain {
            self.good.insert(self.key_of(view.attributes(), context), decoded.announced[0].1);
        }
        Ok(decoded)
    }

    /// The common case: IPv4 prefixes in the message's own field, with attributes that have been seen before.
    fn decode_plain(&mut self, body: &[u8], context: &DecodeContext) -> Option<Decoded> {
        let [0, 0, high, low, rest @ ..] = body else { return None };
        let (attributes, nlri) = rest.split_at_checked(usize::from(u16::from_be_bytes([*high, *low])))?;
        if attributes.is_empty() || nlri.is_empty() || !context.add_path.is_empty() {
            return None;
        }
        let set = *self.good.get(&self.key_of(attributes, context))?;
        self.prefixes.clear();
        decode_prefixes4(nlri, &mut self.prefixes).ok()?;
        let start = self.numbers.len();
        self.put_prefixes4();
        Some(Decoded {
            announced: [(start..self.numbers.len(), set), Default::default()],
            ..Decoded::default()
        })
    }

    /// By what octets are recognised: their hash, and what was negotiated of that which gives them another meaning.
    fn key_of(&self, octets: &[u8], context: &DecodeContext) -> u64 {
        let shape = u64::from(context.four_octet_as) | u64::from(context.external) << 1;
        self.hasher.hash_one(octets) ^ (shape << 62)
    }

    fn put_numbers(&mut self, nlri: &Nlri<'_>) {
        if nlri.family() == Family::Ipv4Unicast && !nlri.has_path_ids() {
            self.prefixes.clear();
            nlri.decode4(&mut self.prefixes);
            self.put_prefixes4();
            return;
        }
        for route in nlri.iter() {
            let number = self.index.number(route.prefix);
            self.numbers.push(number);
            if nlri.has_path_ids() {
                self.path_ids.push(route.path_id);
            }
        }
    }

    fn put_prefixes4(&mut self) {
        // First those that are known, so that the processor waits for many of them at a time.
        let start = self.numbers.len();
        let found = self.prefixes.iter().map(|prefix| self.index.find4(*prefix).unwrap_or(u32::MAX));
        self.numbers.extend(found);
        for (place, prefix) in self.prefixes.iter().enumerate() {
            if self.numbers[start + place] == u32::MAX {
                self.numbers[start + place] = self.index.number(Prefix::V4(*prefix));
            }
        }
    }
}

/// Whether the prefixes stand in the message's own field.
fn is_plain(body: &[u8], nlri: &Nlri<'_>) -> bool {
    nlri.family() == Family::Ipv4Unicast
        && body.as_ptr_range().end == nlri.bytes().as_ptr_range().end
        && body.get(..2) == Some(&[0, 0])
}
