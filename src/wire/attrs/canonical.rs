//! From received attributes to a canonical block: order, flags, four-octet AS numbers (RFC 6793 §4.2.3).

use std::mem;

use smallvec::SmallVec;

use super::super::update::{Span, UpdateView};
use super::super::{AS_TRANS, read_u16};
use super::{SegmentKind, code, flag, put, put_header};

/// Replaces the content of `out` with the canonical block of the attributes of `view`: those that
/// RFC 7606 did not discard, without next hop and NLRI. A view whose routes count as withdrawn has a
/// block as well, but nobody should want it.
///
/// Attributes that came in canonical form, which is nearly all there are, are copied in runs.
pub fn canonicalize(view: &UpdateView<'_>, out: &mut Vec<u8>) {
    out.clear();
    out.reserve(view.attributes.len() + 16);
    if view.four_octet_as && view.spans.is_sorted_by_key(|span| span.code) {
        copy(view, &view.spans, out);
        return;
    }
    let mut spans = view.spans.clone();
    spans.sort_unstable_by_key(|span| span.code);
    if view.four_octet_as {
        copy(view, &spans, out);
    } else {
        merge(view, &spans, out);
    }
}

/// Copies `spans` (ascending), correcting headers where they are not canonical.
fn copy(view: &UpdateView<'_>, spans: &[Span], out: &mut Vec<u8>) {
    // Octets of the message that are canonical as they stand and not yet copied.
    let mut run = 0..0;
    for span in spans {
        let (start, end) = (usize::from(span.start), usize::from(span.end));
        let value = &view.attributes[usize::from(span.value)..end];
        let redundant = span.code == code::LARGE_COMMUNITIES && has_duplicates(value);
        if !redundant && view.attributes[start] == canonical_flags(span.flags, value.len()) {
            if run.end != start {
                out.extend_from_slice(&view.attributes[mem::replace(&mut run, start..end)]);
            }
            run.end = end;
        } else {
            out.extend_from_slice(&view.attributes[mem::replace(&mut run, 0..0)]);
            put_value(out, span, value);
        }
    }
    out.extend_from_slice(&view.attributes[run]);
}

fn put_value(out: &mut Vec<u8>, span: &Span, value: &[u8]) {
    if span.code == code::LARGE_COMMUNITIES {
        put(out, span.flags, span.code, &without_duplicates(value));
    } else {
        put(out, span.flags, span.code, value);
    }
}

const fn canonical_flags(flags: u8, value_len: usize) -> u8 {
    if value_len > 255 { flags | flag::EXTENDED_LENGTH } else { flags }
}

/// RFC 8092 §2: a receiver silently removes repeated values.
fn has_duplicates(value: &[u8]) -> bool {
    const QUADRATIC_MAX: usize = 16;
    if value.len() / 12 <= QUADRATIC_MAX {
        let values = value.chunks_exact(12);
        return values.clone().enumerate().any(|(i, one)| values.clone().take(i).any(|other| other == one));
    }
    without_duplicates(value).len() != value.len()
}

/// The values in their order, each once.
fn without_duplicates(value: &[u8]) -> Vec<u8> {
    let mut order: Vec<(&[u8], usize)> = value.chunks_exact(12).zip(0..).collect();
    order.sort_unstable();
    order.dedup_by_key(|(octets, _)| *octets);
    order.sort_unstable_by_key(|(_, position)| *position);
    order.into_iter().flat_map(|(octets, _)| octets).copied().collect()
}

/// The block of a message from a speaker with two-octet AS numbers: they are widened, and AS4_PATH and
/// AS4_AGGREGATOR tell what AS_TRANS stood for (RFC 6793 §4.2.3).
fn merge(view: &UpdateView<'_>, spans: &[Span], out: &mut Vec<u8>) {
    let as4_aggregator = view.span_value(code::AS4_AGGREGATOR);
    // Both aggregators, and the short one is not AS_TRANS: somebody who knows two octets only aggregated
    // again after the AS4 attributes had been made. They are out of date.
    let outdated = as4_aggregator.is_some()
        && view.span_value(code::AGGREGATOR).is_some_and(|value| read_u16(value) != AS_TRANS);
    let as4_path = view.span_value(code::AS4_PATH).filter(|_| !outdated);
    let as4_aggregator = as4_aggregator.filter(|_| !outdated);
    for span in spans {
        let value = &view.attributes[usize::from(span.value)..usize::from(span.end)];
        match span.code {
            code::AS_PATH => put_merged_path(out, span.flags, value, as4_path),
            code::AGGREGATOR => {
                let mut wide = [0; 8];
                match as4_aggregator {
                    Some(as4) => wide.copy_from_slice(as4),
                    None => wide[2..].copy_from_slice(value),
                }
                put(out, span.flags, code::AGGREGATOR, &wide);
            }
            code::AS4_PATH | code::AS4_AGGREGATOR => {}
            _ => put_value(out, span, value),
        }
    }
}

/// A segment of a received path with AS numbers of `W` octets.
struct RawSegment<'a, const W: usize> {
    kind: u8,
    asns: &'a [u8],
}

impl<const W: usize> RawSegment<'_, W> {
    /// What it counts for (RFC 6793 §4.2.3: as in the comparison of path lengths).
    fn length(&self) -> usize {
        SegmentKind::from_u8(self.kind).map_or(0, |kind| kind.length(self.asns.len() / W))
    }

    fn is_confederation(&self) -> bool {
        SegmentKind::from_u8(self.kind).is_some_and(SegmentKind::is_confederation)
    }
}

fn raw_segments<const W: usize>(mut value: &[u8]) -> impl Iterator<Item = RawSegment<'_, W>> {
    std::iter::from_fn(move || {
        let (&[kind, count], after) = value.split_first_chunk::<2>()?;
        let (asns, rest) = after.split_at_checked(usize::from(count) * W)?;
        value = rest;
        Some(RawSegment { kind, asns })
    })
}

/// Appends the AS_PATH whose two-octet form is `path`. As much of its front as AS4_PATH does not cover
/// comes from `path`; an AS4_PATH that is longer than `path` is ignored.
fn put_merged_path(out: &mut Vec<u8>, flags: u8, path: &[u8], as4_path: Option<&[u8]>) {
    let length: usize = raw_segments::<2>(path).map(|segment| segment.length()).sum();
    // RFC 6793 §6: confederation segments do not belong into AS4_PATH and are left out.
    let tail: SmallVec<[RawSegment<'_, 4>; 4]> =
        raw_segments::<4>(as4_path.unwrap_or(&[])).filter(|segment| !segment.is_confederation()).collect();
    let tail_length: usize = tail.iter().map(RawSegment::length).sum();
    let (mut lead, tail) =
        if tail_length > length { (length, &[][..]) } else { (length - tail_length, &tail[..]) };
    // Without an AS4_PATH the whole path is the lead, down to segments that count for nothing.
    let all = tail.is_empty();
    let mut value = Vec::with_capacity(2 * path.len() + as4_path.map_or(0, <[u8]>::len));
    for segment in raw_segments::<2>(path) {
        let segment_length = segment.length();
        let count = if all || segment_length <= lead {
            // A confederation segment at the front, or next to one that is taken, is taken as well.
            if !all && lead == 0 && !segment.is_confederation() {
                break;
            }
            segment.asns.len() / 2
        } else if lead > 0 {
            lead
        } else {
            break;
        };
        value.extend_from_slice(&[segment.kind, count as u8]);
        for asn in segment.asns.chunks_exact(2).take(count) {
            value.extend_from_slice(&[0, 0, asn[0], asn[1]]);
        }
        lead = lead.saturating_sub(segment_length);
    }
    for segment in tail {
        append_segment(&mut value, segment);
    }
    // What update::check_merged_path_len has made sure of.
    debug_assert!(value.len() <= usize::from(u16::MAX));
    put_header(out, flags, code::AS_PATH, value.len());
    out.extend_from_slice(&value);
}

/// Appends a segment of AS4_PATH.
fn append_segment(value: &mut Vec<u8>, segment: &RawSegment<'_, 4>) {
    value.extend_from_slice(&[segment.kind, (segment.asns.len() / 4) as u8]);
    value.extend_from_slice(segment.asns);
}
