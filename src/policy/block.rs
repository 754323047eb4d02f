//! Changes of a canonical attribute block in place.
//!
//! A rule copies the block into the caller's buffer once and changes it there: values grow and shrink where
//! they stand, so that types stay in order, headers stay canonical, and nothing is allocated but the
//! buffer's growth.

use std::ops::Range;

/// Flag octets of RFC 4271 §4.3.
pub(super) const WELL_KNOWN: u8 = 0x40;
pub(super) const OPTIONAL_TRANSITIVE: u8 = 0xC0;
pub(super) const OPTIONAL: u8 = 0x80;
const EXTENDED_LENGTH: u8 = 0x10;

/// Attribute type codes that policies read and write.
pub(super) const ORIGIN: u8 = 1;
pub(super) const AS_PATH: u8 = 2;
pub(super) const MED: u8 = 4;
pub(super) const LOCAL_PREF: u8 = 5;

/// One attribute within a block.
struct Place {
    /// Flags, type, length and value.
    whole: Range<usize>,
    /// The value alone.
    value: Range<usize>,
}

/// Where an attribute stands, or, as an error, where it would have to be inserted.
fn place(block: &[u8], code: u8) -> Result<Place, usize> {
    let mut at = 0;
    while let [flags, this, length, rest @ ..] = &block[at..] {
        let (header, length) = match rest {
            [low, ..] if flags & EXTENDED_LENGTH != 0 => (4, usize::from(*length) << 8 | usize::from(*low)),
            _ => (3, usize::from(*length)),
        };
        let end = (at + header + length).min(block.len());
        if *this == code {
            return Ok(Place { whole: at..end, value: (at + header).min(end)..end });
        }
        if *this > code {
            return Err(at);
        }
        at = end;
    }
    Err(block.len())
}

/// The value of an attribute.
pub(super) fn find(block: &[u8], code: u8) -> Option<&[u8]> {
    place(block, code).ok().map(|place| &block[place.value])
}

/// The value of an attribute that is one number.
pub(super) fn number(block: &[u8], code: u8) -> Option<u32> {
    find(block, code)?.try_into().ok().map(u32::from_be_bytes)
}

/// Removes an attribute.
pub(super) fn remove(block: &mut Vec<u8>, code: u8) {
    if let Ok(place) = place(block, code) {
        block.drain(place.whole);
    }
}

/// Gives an attribute's value a new length, keeping its beginning and its flags; puts the attribute in with
/// `flags` if it is not there. Bytes beyond the old value are unspecified. Nothing, and no change, if the
/// length does not fit an attribute.
pub(super) fn resize(block: &mut Vec<u8>, code: u8, flags: u8, length: usize) -> Option<&mut [u8]> {
    let length_octets = u16::try_from(length).ok()?.to_be_bytes();
    let header = if length > 255 { 4 } else { 3 };
    let (flags, start, old_header, old_length) = match place(block, code) {
        Ok(place) => {
            let flags = block[place.whole.start] & !EXTENDED_LENGTH;
            (flags, place.whole.start, place.value.start - place.whole.start, place.value.len())
        }
        Err(start) => (flags, start, 0, 0),
    };
    let kept = old_length.min(length);
    let (old_end, end) = (start + old_header + old_length, start + header + length);
    let tail = block.len() - old_end;
    if end > old_end {
        block.resize(end + tail, 0);
        block.copy_within(old_end..old_end + tail, end);
    }
    block.copy_within(start + old_header..start + old_header + kept, start + header);
    if end < old_end {
        block.copy_within(old_end..old_end + tail, end);
        block.truncate(end + tail);
    }
    if header == 4 {
        block[start..start + 4].copy_from_slice(&[
            flags | EXTENDED_LENGTH,
            code,
            length_octets[0],
            length_octets[1],
        ]);
    } else {
        block[start..start + 3].copy_from_slice(&[flags, code, length_octets[1]]);
    }
    Some(&mut block[start + header..end])
}

/// Gives an attribute this value.
pub(super) fn put(block: &mut Vec<u8>, code: u8, flags: u8, value: &[u8]) {
    if let Some(place) = resize(block, code, flags, value.len()) {
        place.copy_from_slice(value);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// The plainest writer of canonical blocks.
    fn block(attributes: &BTreeMap<u8, Vec<u8>>) -> Vec<u8> {
        let mut block = Vec::new();
        for (code, value) in attributes {
            match u8::try_from(value.len()) {
                Ok(length) => block.extend([OPTIONAL_TRANSITIVE, *code, length]),
                Err(_) => {
                    block.extend([OPTIONAL_TRANSITIVE | EXTENDED_LENGTH, *code]);
                    block.extend((value.len() as u16).to_be_bytes());
                }
            }
            block.extend(value);
        }
        block
    }

    proptest! {
        #[test]
        fn an_edited_block_is_what_a_writer_would_have_written(
            attributes in prop::collection::btree_map(1_u8..12, prop::collection::vec(any::<u8>(), 0..400), 0..6),
            edits in prop::collection::vec((1_u8..12, prop::option::of(prop::collection::vec(any::<u8>(), 0..400))), 1..6),
        ) {
            let mut attributes = attributes;
            let mut edited = block(&attributes);
            for (code, value) in edits {
                match value {
                    Some(value) => {
                        // What is kept of the old value is its beginning.
                        let old = attributes.get(&code).cloned().unwrap_or_default();
                        let kept = old.len().min(value.len());
                        let place = resize(&mut edited, code, OPTIONAL_TRANSITIVE, value.len()).unwrap();
                        prop_assert_eq!(&place[..kept], &old[..kept]);
                        place.copy_from_slice(&value);
                        attributes.insert(code, value);
                    }
                    None => {
                        remove(&mut edited, code);
                        attributes.remove(&code);
                    }
                }
                prop_assert_eq!(&edited, &block(&attributes));
            }
            for code in 1..12 {
                prop_assert_eq!(find(&edited, code), attributes.get(&code).map(Vec::as_slice));
            }
        }

        #[test]
        fn no_bytes_make_it_panic(mut bytes: Vec<u8>, code: u8, length in 0_usize..70_000) {
            find(&bytes, code);
            resize(&mut bytes, code, OPTIONAL, length);
            remove(&mut bytes, code);
        }
    }
}
