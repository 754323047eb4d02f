//! AS_PATH with four-octet AS numbers (RFC 4271 §5.1.2, RFC 5065 §3, RFC 6793).

use std::fmt;

use super::super::read_u32;

/// The type of a path segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SegmentKind {
    /// AS_SET: unordered.
    Set = 1,
    /// AS_SEQUENCE: ordered, the nearest first.
    Sequence = 2,
    /// AS_CONFED_SEQUENCE (RFC 5065).
    ConfedSequence = 3,
    /// AS_CONFED_SET (RFC 5065).
    ConfedSet = 4,
}

impl SegmentKind {
    /// The kind with this number.
    pub const fn from_u8(kind: u8) -> Option<SegmentKind> {
        Some(match kind {
            1 => SegmentKind::Set,
            2 => SegmentKind::Sequence,
            3 => SegmentKind::ConfedSequence,
            4 => SegmentKind::ConfedSet,
            _ => return None,
        })
    }

    /// Whether the segment is for within a confederation only.
    pub const fn is_confederation(self) -> bool {
        matches!(self, SegmentKind::ConfedSequence | SegmentKind::ConfedSet)
    }

    /// What a segment of `count` AS numbers counts for in comparing path lengths: a set is one, whatever
    /// is in it (RFC 4271 §9.1.2.2 (a)); confederation segments are nothing (RFC 5065 §5.3).
    pub const fn length(self, count: usize) -> usize {
        match self {
            SegmentKind::Sequence => count,
            SegmentKind::Set => 1,
            SegmentKind::ConfedSequence | SegmentKind::ConfedSet => 0,
        }
    }
}

/// One path segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    /// Its type.
    pub kind: SegmentKind,
    octets: &'a [u8],
}

impl<'a> Segment<'a> {
    /// The AS numbers as they stand there.
    pub fn asns(&self) -> impl DoubleEndedIterator<Item = u32> + ExactSizeIterator + Clone + use<'a> {
        self.octets.chunks_exact(4).map(read_u32)
    }

    /// How many AS numbers there are.
    pub const fn count(&self) -> usize {
        self.octets.len() / 4
    }
}

/// The value of an AS_PATH in the four-octet form.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct AsPath<'a>(&'a [u8]);

impl<'a> AsPath<'a> {
    /// A reader over the attribute's value.
    pub const fn new(value: &'a [u8]) -> AsPath<'a> {
        AsPath(value)
    }

    /// The attribute's value.
    pub const fn octets(&self) -> &'a [u8] {
        self.0
    }

    /// Whether the path has no segment: the route comes from this AS.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The segments, nearest first.
    pub const fn segments(&self) -> Segments<'a> {
        Segments { rest: self.0 }
    }

    /// Every AS number of every segment.
    pub fn asns(&self) -> impl Iterator<Item = u32> + Clone + use<'a> {
        self.segments().flat_map(|segment| segment.asns())
    }

    /// The length that the decision process compares (RFC 4271 §9.1.2.2 (a), RFC 5065 §5.3).
    pub fn length(&self) -> u32 {
        self.segments().map(|segment| segment.kind.length(segment.count()) as u32).sum()
    }

    /// The AS that the route was learned from: the first of the path when the path begins with a
    /// sequence, confederation segments left aside (RFC 4271 §9.1.2.2 (c), RFC 5065 §5.3). `None`: this
    /// AS itself, or nobody knows.
    pub fn neighbor_as(&self) -> Option<u32> {
        let first = self.segments().find(|segment| !segment.kind.is_confederation())?;
        if first.kind == SegmentKind::Sequence { first.asns().next() } else { None }
    }

    /// The AS that originated the route: the last of the path when the path ends with a sequence
    /// (RFC 6811 §2). `None` for the empty path or one that ends with a set.
    pub fn origin_as(&self) -> Option<u32> {
        let last = self.segments().last()?;
        if last.kind == SegmentKind::Sequence { last.asns().next_back() } else { None }
    }

    /// Whether `asn` is anywhere in the path: the loop check of RFC 4271 §9.1.2.
    pub fn contains(&self, asn: u32) -> bool {
        self.asns().any(|other| other == asn)
    }

    /// How often `asn` is in the path.
    pub fn count(&self, asn: u32) -> usize {
        self.asns().filter(|other| *other == asn).count()
    }
}

impl fmt::Display for AsPath<'_> {
    /// As people write it: `65000 65001 {65010 65011}`, confederation segments in `(…)` and `[…]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, segment) in self.segments().enumerate() {
            let (open, close) = match segment.kind {
                SegmentKind::Sequence => ("", ""),
                SegmentKind::Set => ("{", "}"),
                SegmentKind::ConfedSequence => ("(", ")"),
                SegmentKind::ConfedSet => ("[", "]"),
            };
            if index > 0 {
                f.write_str(" ")?;
            }
            f.write_str(open)?;
            for (index, asn) in segment.asns().enumerate() {
                if index > 0 {
                    f.write_str(" ")?;
                }
                write!(f, "{asn}")?;
            }
            f.write_str(close)?;
        }
        Ok(())
    }
}

impl fmt::Debug for AsPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The segments of a path; ends at anything that is none.
#[derive(Clone, Debug)]
pub struct Segments<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Segments<'a> {
    type Item = Segment<'a>;

    #[inline]
    fn next(&mut self) -> Option<Segment<'a>> {
        let (&[kind, count], after) = self.rest.split_first_chunk::<2>()?;
        let (octets, rest) = after.split_at_checked(usize::from(count) * 4)?;
        self.rest = rest;
        Some(Segment { kind: SegmentKind::from_u8(kind)?, octets })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(segments: &[(u8, &[u32])]) -> Vec<u8> {
        let mut value = Vec::new();
        for (kind, asns) in segments {
            value.extend_from_slice(&[*kind, asns.len() as u8]);
            asns.iter().for_each(|asn| value.extend_from_slice(&asn.to_be_bytes()));
        }
        value
    }

    #[test]
    fn what_the_decision_process_asks() {
        type Case = (&'static [(u8, &'static [u32])], u32, Option<u32>, Option<u32>, &'static str);
        let cases: [Case; 7] = [
            (&[], 0, None, None, ""),
            (&[(2, &[1, 2, 3])], 3, Some(1), Some(3), "1 2 3"),
            (&[(2, &[1]), (1, &[7, 8, 9])], 2, Some(1), None, "1 {7 8 9}"),
            (&[(1, &[7, 8])], 1, None, None, "{7 8}"),
            (&[(3, &[64512, 64513]), (2, &[5, 6])], 2, Some(5), Some(6), "(64512 64513) 5 6"),
            (&[(4, &[64512])], 0, None, None, "[64512]"),
            (&[(2, &[1]), (2, &[400_000, 3])], 3, Some(1), Some(3), "1 400000 3"),
        ];
        for (segments, length, neighbor, origin, text) in cases {
            let value = path(segments);
            let path = AsPath::new(&value);
            assert_eq!(path.length(), length, "{text}");
            assert_eq!(path.neighbor_as(), neighbor, "{text}");
            assert_eq!(path.origin_as(), origin, "{text}");
            assert_eq!(path.to_string(), text);
        }
    }

    #[test]
    fn loops_are_found_in_every_segment() {
        let value = path(&[(2, &[1, 2, 2]), (1, &[7, 400_000]), (3, &[9])]);
        let path = AsPath::new(&value);
        assert!([1, 2, 7, 9, 400_000].into_iter().all(|asn| path.contains(asn)));
        assert!(!path.contains(3) && !path.contains(8));
        assert_eq!((path.count(2), path.count(9), path.count(3)), (2, 1, 0));
    }

    #[test]
    fn garbage_ends_the_path() {
        assert_eq!(AsPath::new(&[2, 9, 0, 0]).segments().count(), 0);
        assert_eq!(AsPath::new(&[9, 0]).length(), 0);
        assert_eq!(AsPath::new(&[2]).origin_as(), None);
    }
}
