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
        let old_len = self.value(code::CLUSTER_LIST).len();
        if let Some(value) = self.resize_known(code::CLUSTER_LIST, old_len + 4) {
            value.copy_within(..old_len, 4);
            value[..4].copy_from_slice(&id.0.to_be_bytes());
        }
        self
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

    /// Leaves the segments of a confederation out of the path (RFC 5065 §5.1 (c)).
    pub fn remove_confederation_segments(&mut self) -> &mut Self {
        let path = self.attributes().as_path();
        if !path.segments().any(|segment| segment.kind.is_confederation()) {
            return self;
        }
        let mut value = Vec::new();
        for segment in path.segments().filter(|segment| !segment.kind.is_confederation()) {
            value.extend_from_slice(&[segment.kind as u8, segment.count() as u8]);
            segment.asns().for_each(|asn| value.extend_from_slice(&asn.to_be_bytes()));
        }
        self.set_known(code::AS_PATH, &value)
    }

    /// Puts `asn` before the path, `count` times (RFC 4271 §5.1.2): into the first segment if that is a
    /// sequence with room, else into new ones.
    pub fn prepend_as(&mut self, asn: u32, count: usize) -> &mut Self {
        if count == 0 {
            return self;
        }
        let old = self.value(code::AS_PATH);
        let (joinable, there) = match old {
            [kind, there, ..] if *kind == SegmentKind::Sequence as u8 => (true, *there),
            _ => (false, 0),
        };
        // The room in the first segment takes the last of the new numbers; the others make segments of
        // their own before it.
        let joined = count.min(usize::from(SEGMENT_COUNT_MAX - there));
        let segments = (count - joined).div_ceil(usize::from(SEGMENT_COUNT_MAX)) + 1;
        let (old_len, kept_from) = (old.len(), if joinable { 2 } else { 0 });
        let front = count.saturating_mul(4).saturating_add(2 * segments);
        let len = front.saturating_add(old_len - kept_from);
        let Some(mut value) = self.resize_known(code::AS_PATH, len) else {
            return self;
        };
        value.copy_within(kept_from..old_len, front);
        let mut left = count - joined;
        let mut put_segment = |count: u8, new: usize| {
            let (segment, rest) = std::mem::take(&mut value).split_at_mut(2 + 4 * new);
            segment[..2].copy_from_slice(&[SegmentKind::Sequence as u8, count]);
            segment[2..].as_chunks_mut().0.fill(asn.to_be_bytes());
            value = rest;
        };
        while left > 0 {
            // The first one is the short one.
            let size = (left - 1) % usize::from(SEGMENT_COUNT_MAX) + 1;
            put_segment(size as u8, size);
            left -= size;
        }
        put_segment(there + joined as u8, joined);
        self
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
        for element in new {
            let old = self.value(code);
            let old_len = old.len();
            if !old.as_chunks::<N>().0.contains(&element)
                && let Some(value) = self.resize_known(code, old_len + N)
            {
                value[old_len..].copy_from_slice(&element);
            }
        }
        self
    }

    fn remove_elements<const N: usize>(
        &mut self,
        code: u8,
        mut remove: impl FnMut(&[u8; N]) -> bool,
    ) -> &mut Self {
        let old_len = self.value(code).len();
        let (_, end) = self.place(code);
        let value = &mut self.block[end - old_len..end];
        let mut kept = 0;
        for at in (0..old_len - old_len % N).step_by(N) {
            if let Some(element) = value[at..].first_chunk::<N>()
                && !remove(element)
            {
                value.copy_within(at..at + N, kept);
                kept += N;
            }
        }
        if kept == old_len {
            return self;
        }
        if kept == 0 {
            return self.remove(code);
        }
        self.resize_known(code, kept);
        self
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

    /// Gives the value of an attribute that kulan knows another length, keeping its beginning where it
    /// stands; the octets beyond it are the caller's to write. `None` if the length is too much.
    fn resize_known(&mut self, code: u8, len: usize) -> Option<&mut [u8]> {
        if len > VALUE_LEN_MAX {
            self.overflow = true;
            return None;
        }
        let (start, end) = self.place(code);
        let old = self.attributes().get(code);
        let old_len = old.map_or(0, |attribute| attribute.value.len());
        let partial = old.map_or(0, |attribute| attribute.flags & flag::PARTIAL);
        let flags = defined_flags(code).unwrap_or(flag::OPTIONAL_TRANSITIVE) | partial;
        let header_len = if len > 255 { 4 } else { 3 };
        let kept = old_len.min(len);
        // A shrinking value moves to its place before what follows it is drawn near; a growing one after
        // what follows has made room.
        let (old_start, new_start) = (end - old_len, start + header_len);
        if header_len + len < end - start {
            self.block.copy_within(old_start..old_start + kept, new_start);
            resize_gap(self.block, start, end, header_len + len);
        } else {
            resize_gap(self.block, start, end, header_len + len);
            self.block.copy_within(old_start..old_start + kept, new_start);
        }
        let mut header = [flags, code, len as u8, 0];
        if len > 255 {
            header[0] |= flag::EXTENDED_LENGTH;
            header[2..].copy_from_slice(&(len as u16).to_be_bytes());
        }
        self.block[start..new_start].copy_from_slice(&header[..header_len]);
        Some(&mut self.block[new_start..new_start + len])
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::put;
    use super::*;

    /// The plainest writer of canonical blocks.
    fn write(attributes: &BTreeMap<u8, Vec<u8>>) -> Vec<u8> {
        let mut block = Vec::new();
        for (code, value) in attributes {
            put(&mut block, defined_flags(*code).unwrap_or(flag::OPTIONAL_TRANSITIVE), *code, value);
        }
        block
    }

    fn attributes() -> impl Strategy<Value = BTreeMap<u8, Vec<u8>>> {
        prop::collection::btree_map(1_u8..12, prop::collection::vec(any::<u8>(), 0..400), 0..6)
    }

    fn elements<const N: usize>(elements: &[u8]) -> Vec<u8> {
        elements.iter().flat_map(|element| [*element; N]).collect()
    }

    proptest! {
        #[test]
        fn an_edited_block_is_what_a_writer_would_have_written(
            attributes in attributes(),
            edits in prop::collection::vec((1_u8..12, prop::option::of(0_usize..400), any::<u8>()), 1..6),
        ) {
            let mut attributes = attributes;
            let mut block = write(&attributes);
            for (code, len, octet) in edits {
                let mut editor = AttributeEditor::on(&mut block);
                match len {
                    Some(len) if octet % 2 == 0 => {
                        // What is kept of the old value is its beginning.
                        let old_len = attributes.get(&code).map_or(0, Vec::len).min(len);
                        editor.resize_known(code, len).unwrap()[old_len..].fill(octet);
                        attributes.entry(code).or_default().resize(len, octet);
                    }
                    Some(len) => {
                        editor.set_known(code, &vec![octet; len]);
                        attributes.insert(code, vec![octet; len]);
                    }
                    None => {
                        editor.remove(code);
                        attributes.remove(&code);
                    }
                }
                attributes.iter_mut().for_each(|(code, value)| {
                    let read = PathAttributes::new(&block).get(*code).map(|attribute| attribute.value.to_vec());
                    assert_eq!(read.as_ref(), Some(&*value));
                });
                prop_assert_eq!(&block, &write(&attributes));
            }
        }

        #[test]
        fn lists_grow_by_what_is_new_and_shrink_by_what_is_named(
            list in prop::collection::vec(0_u8..8, 0..100),
            added in prop::collection::vec(0_u8..8, 0..10),
            removed: u8,
        ) {
            let mut block = write(&BTreeMap::from([(1, vec![0]), (32, elements::<12>(&list)), (40, vec![7])]));
            let large = |element: u8| LargeCommunity::from_octets(&[element; 12]);
            let mut editor = AttributeEditor::on(&mut block);
            let new: Vec<LargeCommunity> = added.iter().map(|element| large(*element)).collect();
            editor.add_large_communities(&new);
            editor.remove_large_communities(|community| removed >> (community.global & 7) & 1 != 0);
            let mut expected = list.clone();
            for element in added {
                if !expected.contains(&element) {
                    expected.push(element);
                }
            }
            let had = expected.len();
            expected.retain(|element| removed >> element & 1 == 0);
            let mut attributes = BTreeMap::from([(1, vec![0]), (40, vec![7])]);
            if !expected.is_empty() || had == 0 {
                attributes.insert(32, elements::<12>(&expected));
            }
            prop_assert_eq!(block, write(&attributes));
        }

        #[test]
        fn what_is_put_before_a_path_stands_before_it(asns in prop::collection::vec(1_u32..9, 0..300), count in 0_usize..600) {
            let mut block = Vec::new();
            let mut editor = AttributeEditor::on(&mut block);
            editor.set_as_path(&asns).prepend_as(77, count);
            let path: Vec<u32> = PathAttributes::new(&block).as_path().asns().collect();
            let mut expected = vec![77; count];
            expected.extend(&asns);
            prop_assert_eq!(&path, &expected);
            // No more segments than it takes.
            let segments = PathAttributes::new(&block).as_path().segments().count();
            prop_assert_eq!(segments, expected.len().div_ceil(255));
        }

        #[test]
        fn no_bytes_make_it_panic(mut block: Vec<u8>, code: u8, len in 0_usize..70_000) {
            let mut editor = AttributeEditor::on(&mut block);
            editor.add_communities(&[1]).remove_communities(|_| true).prepend_as(1, 3);
            editor.resize_known(code, len);
        }
    }

    #[test]
    fn what_does_not_fit_is_left_out_and_told() {
        let mut block = write(&BTreeMap::from([(8, vec![1; 65_528])]));
        let mut editor = AttributeEditor::on(&mut block);
        editor.add_communities(&[1, 2]);
        assert_eq!(editor.finish(), Err(AttributeTooLong));
        assert_eq!(block, write(&BTreeMap::from([(8, [vec![1; 65_528], vec![0, 0, 0, 1]].concat())])));
    }

    #[test]
    fn a_list_of_clusters_grows_at_its_front() {
        let mut block = write(&BTreeMap::from([(10, vec![1, 1, 1, 1])]));
        AttributeEditor::on(&mut block).prepend_cluster_id(RouterId(0x0202_0202));
        assert_eq!(block, write(&BTreeMap::from([(10, vec![2, 2, 2, 2, 1, 1, 1, 1])])));
    }
}
