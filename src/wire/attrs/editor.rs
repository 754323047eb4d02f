//! Changing a canonical block so that it stays canonical.

use super::super::read_u32;
use super::{Aggregator, Attribute, LargeCommunity, Origin, PathAttributes, SegmentKind};
use super::{code, defined_flags, flag};
use crate::types::RouterId;

/// The longest value of an attribute in octets.
const VALUE_LEN_MAX: usize = u16::MAX as usize;
/// The most AS numbers in a path segment.
const SEGMENT_COUNT_MAX: u8 = 255;

/// A change would have made an attribute longer than its length field can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttributeTooLong;

/// Edits a canonical block in place. Changes that would overflow an attribute are left out and
/// remembered; [`AttributeEditor::finish`] tells.
#[derive(Debug)]
pub struct AttributeEditor<'b> {
    block: &'b mut Vec<u8>,
    overflow: bool,
}

impl<'b> AttributeEditor<'b> {
    /// Edits `block` itself.
    pub fn on(block: &'b mut Vec<u8>) -> AttributeEditor<'b> {
        AttributeEditor { block, overflow: false }
    }

    /// Edits a copy of `from`, made in `out`, whose former content is dropped.
    pub fn copy(from: &[u8], out: &'b mut Vec<u8>) -> AttributeEditor<'b> {
        out.clear();
        out.extend_from_slice(from);
        AttributeEditor::on(out)
    }

    /// The block as it is now.
    pub fn attributes(&self) -> PathAttributes<'_> {
        PathAttributes::new(self.block)
    }

    /// Ends the editing.
    ///
    /// # Errors
    ///
    /// [`AttributeTooLong`] if a change was left out; the block is canonical nevertheless.
    pub fn finish(self) -> Result<(), AttributeTooLong> {
        if self.overflow { Err(AttributeTooLong) } else { Ok(()) }
    }

    /// Puts an attribute in its place, instead of one with the same code if there is one. `flags` as in
    /// its definition; the extended-length bit is set by need.
    pub fn set(&mut self, flags: u8, code: u8, value: &[u8]) -> &mut Self {
        if value.len() > VALUE_LEN_MAX {
            self.overflow = true;
            return self;
        }
        let (start, end) = self.place(code);
        let header_len = if value.len() > 255 { 4 } else { 3 };
        resize_gap(self.block, start, end, header_len + value.len());
        let mut header = [flags & !flag::EXTENDED_LENGTH, code, value.len() as u8, 0];
        if value.len() > 255 {
            header[0] |= flag::EXTENDED_LENGTH;
            header[2..].copy_from_slice(&(value.len() as u16).to_be_bytes());
        }
        self.block[start..start + header_len].copy_from_slice(&header[..header_len]);
        self.block[start + header_len..start + header_len + value.len()].copy_from_slice(value);
        self
    }

    /// Removes the attribute with this code if it is there.
    pub fn remove(&mut self, code: u8) -> &mut Self {
        let (start, end) = self.place(code);
        resize_gap(self.block, start, end, 0);
        self
    }

    /// Keeps only the attributes for which `keep` is true.
    pub fn retain(&mut self, mut keep: impl FnMut(&Attribute<'_>) -> bool) -> &mut Self {
        let mut kept = 0;
        let mut at = 0;
        loop {
            let mut rest = PathAttributes::new(&self.block[at..]).iter();
            let Some(attribute) = rest.next() else {
                break;
            };
            let keeps = keep(&attribute);
            let next = self.block.len() - rest.rest().len();
            if keeps {
                self.block.copy_within(at..next, kept);
                kept += next - at;
            }
            at = next;
        }
        self.block.truncate(kept);
        self
    }

    /// Sets ORIGIN.
    pub fn set_origin(&mut self, origin: Origin) -> &mut Self {
        self.set_known(code::ORIGIN, &[origin as u8])
    }

    /// Sets MULTI_EXIT_DISC.
    pub fn set_med(&mut self, med: u32) -> &mut Self {
        self.set_known(code::MULTI_EXIT_DISC, &med.to_be_bytes())
    }

    /// Sets LOCAL_PREF.
    pub fn set_local_pref(&mut self, local_pref: u32) -> &mut Self {
        self.set_known(code::LOCAL_PREF, &local_pref.to_be_bytes())
    }

    /// Sets ATOMIC_AGGREGATE.
    pub fn set_atomic_aggregate(&mut self) -> &mut Self {
        self.set_known(code::ATOMIC_AGGREGATE, &[])
    }

    /// Sets AGGREGATOR.
    pub fn set_aggregator(&mut self, aggregator: Aggregator) -> &mut Self {
        let mut value = [0; 8];
        value[..4].copy_from_slice(&aggregator.asn.to_be_bytes());
        value[4..].copy_from_slice(&aggregator.router_id.0.to_be_bytes());
        self.set_known(code::AGGREGATOR, &value)
    }

    /// Sets ORIGINATOR_ID (RFC 4456 §8).
    pub fn set_originator_id(&mut self, id: RouterId) -> &mut Self {
        self.set_known(code::ORIGINATOR_ID, &id.0.to_be_bytes())
    }

    /// Puts `id` before the other members of CLUSTER_LIST (RFC 4456 §8).
    pub fn prepend_cluster_id(&mut self, id: RouterId) -> &mut Self {
        let mut value = id.0.to_be_bytes().to_vec();
        value.extend_from_slice(self.value(code::CLUSTER_LIST));
        self.set_known(code::CLUSTER_LIST, &value)
    }

    /// Sets AS_PATH to one sequence of `asns`; the empty path if there are none.
    pub fn set_as_path(&mut self, asns: &[u32]) -> &mut Self {
        self.set_known(code::AS_PATH, &[]);
        // From the back, as it is built up on the way through the network.
        asns.iter().rev().for_each(|asn| {
            self.prepend_as(*asn, 1);
        });
        self
    }

    /// Puts `asn` before the path, `count` times (RFC 4271 §5.1.2): into the first segment if that is a
    /// sequence with room, else into new ones.
    pub fn prepend_as(&mut self, asn: u32, count: usize) -> &mut Self {
        let old = self.value(code::AS_PATH);
        let (old_kind, old_count, asns) = match old {
            [kind, count, rest @ ..] if *kind == SegmentKind::Sequence as u8 => (*kind, *count, rest),
            _ => (0, 0, old),
        };
        if count == 0 {
            return self;
        }
        // The room in the first segment takes the last of the new numbers; the others make segments of
        // their own before it.
        let room = if old_kind == 0 { SEGMENT_COUNT_MAX } else { SEGMENT_COUNT_MAX - old_count };
        let joined = count.min(usize::from(room));
        let segments = (count - joined).div_ceil(usize::from(SEGMENT_COUNT_MAX)) + 1;
        let len = count.saturating_mul(4).saturating_add(2 * segments + asns.len());
        if len > VALUE_LEN_MAX {
            self.overflow = true;
            return self;
        }
        let mut value = Vec::with_capacity(len);
        let mut put_segment = |count: u8, new: usize| {
            if count > 0 {
                value.extend_from_slice(&[SegmentKind::Sequence as u8, count]);
                (0..new).for_each(|_| value.extend_from_slice(&asn.to_be_bytes()));
            }
        };
        let mut left = count - joined;
        if !left.is_multiple_of(usize::from(SEGMENT_COUNT_MAX)) {
            let first = left % usize::from(SEGMENT_COUNT_MAX);
            put_segment(first as u8, first);
            left -= first;
        }
        while left > 0 {
            put_segment(SEGMENT_COUNT_MAX, usize::from(SEGMENT_COUNT_MAX));
            left -= usize::from(SEGMENT_COUNT_MAX);
        }
        put_segment(old_count + joined as u8, joined);
        value.extend_from_slice(asns);
        self.set_known(code::AS_PATH, &value)
    }

    /// Adds those of `communities` that are not there yet, at the end.
    pub fn add_communities(&mut self, communities: &[u32]) -> &mut Self {
        let octets = communities.iter().map(|community| community.to_be_bytes());
        self.add_elements::<4>(code::COMMUNITIES, octets)
    }

    /// Adds those of `communities` that are not there yet, at the end.
    pub fn add_extended_communities(&mut self, communities: &[u64]) -> &mut Self {
        let octets = communities.iter().map(|community| community.to_be_bytes());
        self.add_elements::<8>(code::EXTENDED_COMMUNITIES, octets)
    }

    /// Adds those of `communities` that are not there yet, at the end.
    pub fn add_large_communities(&mut self, communities: &[LargeCommunity]) -> &mut Self {
        let octets = communities.iter().map(|community| community.octets());
        self.add_elements::<12>(code::LARGE_COMMUNITIES, octets)
    }

    /// Removes the communities for which `remove` is true; the attribute as well when none is left.
    pub fn remove_communities(&mut self, mut remove: impl FnMut(u32) -> bool) -> &mut Self {
        self.remove_elements::<4>(code::COMMUNITIES, |octets| remove(read_u32(octets)))
    }

    /// Removes the extended communities for which `remove` is true; the attribute as well when none is
    /// left.
    pub fn remove_extended_communities(&mut self, mut remove: impl FnMut(u64) -> bool) -> &mut Self {
        self.remove_elements::<8>(code::EXTENDED_COMMUNITIES, |octets| remove(u64::from_be_bytes(*octets)))
    }

    /// Removes the large communities for which `remove` is true; the attribute as well when none is left.
    pub fn remove_large_communities(&mut self, mut remove: impl FnMut(LargeCommunity) -> bool) -> &mut Self {
        self.remove_elements::<12>(code::LARGE_COMMUNITIES, |octets| {
            remove(LargeCommunity::from_octets(octets))
        })
    }

    fn add_elements<const N: usize>(&mut self, code: u8, new: impl Iterator<Item = [u8; N]>) -> &mut Self {
        let mut value = self.value(code).to_vec();
        let old_len = value.len();
        for element in new {
            if !value.as_chunks::<N>().0.contains(&element) {
                value.extend_from_slice(&element);
            }
        }
        if value.len() == old_len { self } else { self.set_known(code, &value) }
    }

    fn remove_elements<const N: usize>(
        &mut self,
        code: u8,
        mut remove: impl FnMut(&[u8; N]) -> bool,
    ) -> &mut Self {
        let old = self.value(code);
        let mut value = Vec::with_capacity(old.len());
        for element in old.as_chunks::<N>().0 {
            if !remove(element) {
                value.extend_from_slice(element);
            }
        }
        if value.len() == old.len() {
            self
        } else if value.is_empty() {
            self.remove(code)
        } else {
            self.set_known(code, &value)
        }
    }

    /// The value of an attribute, empty if it is not there.
    fn value(&self, code: u8) -> &[u8] {
        self.attributes().get(code).map_or(&[], |attribute| attribute.value)
    }

    /// Sets an attribute that kulan knows; a Partial bit that it had stays.
    fn set_known(&mut self, code: u8, value: &[u8]) -> &mut Self {
        let defined = defined_flags(code).unwrap_or(flag::OPTIONAL_TRANSITIVE);
        let partial = self.attributes().get(code).map_or(0, |old| old.flags & flag::PARTIAL);
        self.set(defined | partial, code, value)
    }

    /// Where the attribute with this code is, or would be.
    fn place(&self, code: u8) -> (usize, usize) {
        let mut rest = self.attributes().iter();
        let mut start = 0;
        while let Some(attribute) = rest.next() {
            let end = self.block.len() - rest.rest().len();
            match attribute.code.cmp(&code) {
                std::cmp::Ordering::Less => start = end,
                std::cmp::Ordering::Equal => return (start, end),
                std::cmp::Ordering::Greater => break,
            }
        }
        (start, start)
    }
}

/// Makes the octets `start..end` of `block` into `len`, moving what follows.
fn resize_gap(block: &mut Vec<u8>, start: usize, end: usize, len: usize) {
    let old_len = block.len();
    let new_end = start + len;
    if new_end > end {
        block.resize(old_len + (new_end - end), 0);
        block.copy_within(end..old_len, new_end);
    } else {
        block.copy_within(end..old_len, new_end);
        block.truncate(old_len - (end - new_end));
    }
}
