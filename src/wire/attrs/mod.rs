//! Path attributes in their canonical form.
//!
//! A **canonical block** is what kulan keeps of the attributes of a route: the attributes one after
//! another in ascending type code, each once, with the flags that their definition gives them
//! (well-known 0x40, optional non-transitive 0x80, optional transitive 0xC0 with Partial where it is
//! set), an extended length exactly where the value is longer than 255 octets, AS_PATH and AGGREGATOR
//! with four-octet AS numbers; without NEXT_HOP, MP_REACH_NLRI, MP_UNREACH_NLRI, AS4_PATH and
//! AS4_AGGREGATOR. Two routes have the same attributes exactly if their blocks are equal.
//!
//! [`canonical::canonicalize`] makes a block of what a peer sent, [`PathAttributes`] reads one,
//! [`editor::AttributeEditor`] changes one and keeps it canonical, [`super::encode`] makes what a peer
//! is sent of it.

mod as_path;
pub mod canonical;
pub mod editor;

pub use as_path::{AsPath, Segment, SegmentKind};

use super::{read_u16, read_u32};
use crate::types::RouterId;

/// Attribute type codes (IANA "BGP Path Attributes").
pub mod code {
    /// RFC 4271 §5.1.1.
    pub const ORIGIN: u8 = 1;
    /// RFC 4271 §5.1.2.
    pub const AS_PATH: u8 = 2;
    /// RFC 4271 §5.1.3.
    pub const NEXT_HOP: u8 = 3;
    /// RFC 4271 §5.1.4.
    pub const MULTI_EXIT_DISC: u8 = 4;
    /// RFC 4271 §5.1.5.
    pub const LOCAL_PREF: u8 = 5;
    /// RFC 4271 §5.1.6.
    pub const ATOMIC_AGGREGATE: u8 = 6;
    /// RFC 4271 §5.1.7.
    pub const AGGREGATOR: u8 = 7;
    /// RFC 1997.
    pub const COMMUNITIES: u8 = 8;
    /// RFC 4456 §8.
    pub const ORIGINATOR_ID: u8 = 9;
    /// RFC 4456 §8.
    pub const CLUSTER_LIST: u8 = 10;
    /// RFC 4760 §3.
    pub const MP_REACH_NLRI: u8 = 14;
    /// RFC 4760 §4.
    pub const MP_UNREACH_NLRI: u8 = 15;
    /// RFC 4360.
    pub const EXTENDED_COMMUNITIES: u8 = 16;
    /// RFC 6793 §3.
    pub const AS4_PATH: u8 = 17;
    /// RFC 6793 §3.
    pub const AS4_AGGREGATOR: u8 = 18;
    /// RFC 5701.
    pub const IPV6_EXTENDED_COMMUNITIES: u8 = 25;
    /// RFC 8092.
    pub const LARGE_COMMUNITIES: u8 = 32;

    /// The name as the RFCs write it, of the attributes that kulan knows.
    pub const fn name(code: u8) -> Option<&'static str> {
        Some(match code {
            ORIGIN => "ORIGIN",
            AS_PATH => "AS_PATH",
            NEXT_HOP => "NEXT_HOP",
            MULTI_EXIT_DISC => "MULTI_EXIT_DISC",
            LOCAL_PREF => "LOCAL_PREF",
            ATOMIC_AGGREGATE => "ATOMIC_AGGREGATE",
            AGGREGATOR => "AGGREGATOR",
            COMMUNITIES => "COMMUNITIES",
            ORIGINATOR_ID => "ORIGINATOR_ID",
            CLUSTER_LIST => "CLUSTER_LIST",
            MP_REACH_NLRI => "MP_REACH_NLRI",
            MP_UNREACH_NLRI => "MP_UNREACH_NLRI",
            EXTENDED_COMMUNITIES => "EXTENDED_COMMUNITIES",
            AS4_PATH => "AS4_PATH",
            AS4_AGGREGATOR => "AS4_AGGREGATOR",
            IPV6_EXTENDED_COMMUNITIES => "IPV6_EXTENDED_COMMUNITIES",
            LARGE_COMMUNITIES => "LARGE_COMMUNITY",
            _ => return None,
        })
    }
}

/// Attribute flags (RFC 4271 §4.3).
pub mod flag {
    /// Not well-known.
    pub const OPTIONAL: u8 = 0x80;
    /// Passed on by those who do not know it.
    pub const TRANSITIVE: u8 = 0x40;
    /// Somebody who did not know it passed it on.
    pub const PARTIAL: u8 = 0x20;
    /// The length has two octets.
    pub const EXTENDED_LENGTH: u8 = 0x10;

    /// The flags of a well-known attribute.
    pub const WELL_KNOWN: u8 = TRANSITIVE;
    /// The flags of an optional non-transitive attribute.
    pub const NON_TRANSITIVE: u8 = OPTIONAL;
    /// The flags of an optional transitive attribute.
    pub const OPTIONAL_TRANSITIVE: u8 = OPTIONAL | TRANSITIVE;
}

/// Community values with a meaning of their own (IANA "BGP Well-known Communities").
pub mod community {
    /// Not beyond this AS (RFC 1997).
    pub const NO_EXPORT: u32 = 0xffff_ff01;
    /// Not to any peer (RFC 1997).
    pub const NO_ADVERTISE: u32 = 0xffff_ff02;
    /// Not to external peers, those of the same confederation included (RFC 1997).
    pub const NO_EXPORT_SUBCONFED: u32 = 0xffff_ff03;
    /// About to go away (RFC 8326).
    pub const GRACEFUL_SHUTDOWN: u32 = 0xffff_0000;
    /// Kept although its peer is gone (RFC 9494).
    pub const LLGR_STALE: u32 = 0xffff_0006;
    /// Not to be kept when its peer is gone (RFC 9494).
    pub const NO_LLGR: u32 = 0xffff_0007;
    /// Discard the traffic (RFC 7999).
    pub const BLACKHOLE: u32 = 0xffff_029a;
}

/// The flags that the definition of an attribute gives it; `None` for those that kulan does not know.
pub(super) const fn defined_flags(attribute: u8) -> Option<u8> {
    Some(match attribute {
        code::ORIGIN | code::AS_PATH | code::NEXT_HOP | code::LOCAL_PREF | code::ATOMIC_AGGREGATE => {
            flag::WELL_KNOWN
        }
        code::MULTI_EXIT_DISC
        | code::ORIGINATOR_ID
        | code::CLUSTER_LIST
        | code::MP_REACH_NLRI
        | code::MP_UNREACH_NLRI => flag::NON_TRANSITIVE,
        code::AGGREGATOR
        | code::COMMUNITIES
        | code::EXTENDED_COMMUNITIES
        | code::AS4_PATH
        | code::AS4_AGGREGATOR
        | code::IPV6_EXTENDED_COMMUNITIES
        | code::LARGE_COMMUNITIES => flag::OPTIONAL_TRANSITIVE,
        _ => return None,
    })
}

/// ORIGIN, in the order of preference: the smallest wins (RFC 4271 §9.1.2.2 (b)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Origin {
    /// Interior to the originating AS.
    Igp = 0,
    /// Learned by EGP (RFC 904).
    Egp = 1,
    /// Learned by other means.
    Incomplete = 2,
}

impl Origin {
    /// The origin with this number.
    pub const fn from_u8(value: u8) -> Option<Origin> {
        Some(match value {
            0 => Origin::Igp,
            1 => Origin::Egp,
            2 => Origin::Incomplete,
            _ => return None,
        })
    }
}

/// AGGREGATOR (RFC 4271 §5.1.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Aggregator {
    /// The AS that formed the aggregate.
    pub asn: u32,
    /// The speaker that did.
    pub router_id: RouterId,
}

/// A large community (RFC 8092).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LargeCommunity {
    /// Global Administrator: an AS number.
    pub global: u32,
    /// Local Data Part 1.
    pub local1: u32,
    /// Local Data Part 2.
    pub local2: u32,
}

impl LargeCommunity {
    pub(super) fn from_octets(octets: &[u8]) -> LargeCommunity {
        LargeCommunity {
            global: read_u32(octets),
            local1: read_u32(&octets[4..]),
            local2: read_u32(&octets[8..]),
        }
    }

    pub(super) fn octets(self) -> [u8; 12] {
        let mut octets = [0; 12];
        octets[..4].copy_from_slice(&self.global.to_be_bytes());
        octets[4..8].copy_from_slice(&self.local1.to_be_bytes());
        octets[8..].copy_from_slice(&self.local2.to_be_bytes());
        octets
    }
}

/// One attribute of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// The flags, without the extended-length bit.
    pub flags: u8,
    /// The type code.
    pub code: u8,
    /// The value.
    pub value: &'a [u8],
}

/// Reads a canonical block. The accessors look from the start, which is as far as the type code: few
/// steps, since a block is sorted. Reading bytes that are no canonical block gives nonsense, but no
/// panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PathAttributes<'a>(&'a [u8]);

impl<'a> PathAttributes<'a> {
    /// A reader over `block`.
    pub const fn new(block: &'a [u8]) -> PathAttributes<'a> {
        PathAttributes(block)
    }

    /// The bytes.
    pub const fn block(&self) -> &'a [u8] {
        self.0
    }

    /// The attributes in ascending type code.
    pub const fn iter(&self) -> Attributes<'a> {
        Attributes { rest: self.0 }
    }

    /// The attribute with this type code.
    pub fn get(&self, code: u8) -> Option<Attribute<'a>> {
        self.iter().take_while(|attribute| attribute.code <= code).find(|attribute| attribute.code == code)
    }

    fn value(&self, code: u8) -> Option<&'a [u8]> {
        self.get(code).map(|attribute| attribute.value)
    }

    fn number(&self, code: u8) -> Option<u32> {
        self.value(code).filter(|value| value.len() == 4).map(read_u32)
    }

    /// ORIGIN.
    pub fn origin(&self) -> Option<Origin> {
        self.value(code::ORIGIN).and_then(|value| Origin::from_u8(*value.first()?))
    }

    /// AS_PATH; the empty path if there is none.
    pub fn as_path(&self) -> AsPath<'a> {
        AsPath::new(self.value(code::AS_PATH).unwrap_or(&[]))
    }

    /// MULTI_EXIT_DISC.
    pub fn med(&self) -> Option<u32> {
        self.number(code::MULTI_EXIT_DISC)
    }

    /// LOCAL_PREF.
    pub fn local_pref(&self) -> Option<u32> {
        self.number(code::LOCAL_PREF)
    }

    /// Whether ATOMIC_AGGREGATE is there.
    pub fn atomic_aggregate(&self) -> bool {
        self.get(code::ATOMIC_AGGREGATE).is_some()
    }

    /// AGGREGATOR.
    pub fn aggregator(&self) -> Option<Aggregator> {
        self.value(code::AGGREGATOR)
            .filter(|value| value.len() == 8)
            .map(|value| Aggregator { asn: read_u32(value), router_id: RouterId(read_u32(&value[4..])) })
    }

    /// COMMUNITIES; none if there is no such attribute.
    pub fn communities(&self) -> impl ExactSizeIterator<Item = u32> + Clone + use<'a> {
        self.value(code::COMMUNITIES).unwrap_or(&[]).chunks_exact(4).map(read_u32)
    }

    /// EXTENDED COMMUNITIES as numbers, most significant octet first.
    pub fn extended_communities(&self) -> impl ExactSizeIterator<Item = u64> + Clone + use<'a> {
        self.value(code::EXTENDED_COMMUNITIES)
            .unwrap_or(&[])
            .chunks_exact(8)
            .map(|octets| u64::from(read_u32(octets)) << 32 | u64::from(read_u32(&octets[4..])))
    }

    /// LARGE_COMMUNITY.
    pub fn large_communities(&self) -> impl ExactSizeIterator<Item = LargeCommunity> + Clone + use<'a> {
        self.value(code::LARGE_COMMUNITIES).unwrap_or(&[]).chunks_exact(12).map(LargeCommunity::from_octets)
    }

    /// ORIGINATOR_ID.
    pub fn originator_id(&self) -> Option<RouterId> {
        self.number(code::ORIGINATOR_ID).map(RouterId)
    }

    /// CLUSTER_LIST, the nearest reflector first.
    pub fn cluster_list(&self) -> impl ExactSizeIterator<Item = RouterId> + Clone + use<'a> {
        self.value(code::CLUSTER_LIST).unwrap_or(&[]).chunks_exact(4).map(|id| RouterId(read_u32(id)))
    }

    /// The attributes that kulan does not know and passes on.
    pub fn unknown(&self) -> impl Iterator<Item = Attribute<'a>> + Clone + use<'a> {
        self.iter().filter(|attribute| defined_flags(attribute.code).is_none())
    }
}

/// The attributes of a block, one after another.
#[derive(Clone, Debug)]
pub struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Attributes<'a> {
    /// What has not been read yet.
    pub(super) const fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    #[inline]
    fn next(&mut self) -> Option<Attribute<'a>> {
        let (&[flags, code, short], after) = self.rest.split_first_chunk::<3>()?;
        let (len, after) = if flags & flag::EXTENDED_LENGTH == 0 {
            (usize::from(short), after)
        } else {
            (usize::from(read_u16(self.rest.get(2..4)?)), &after[1..])
        };
        let (value, rest) = after.split_at_checked(len)?;
        self.rest = rest;
        Some(Attribute { flags: flags & !flag::EXTENDED_LENGTH, code, value })
    }
}

/// Appends an attribute: flags as they should be, the extended-length bit by need. The value has at most
/// 65,535 octets.
pub(super) fn put(out: &mut Vec<u8>, flags: u8, code: u8, value: &[u8]) {
    put_header(out, flags, code, value.len());
    out.extend_from_slice(value);
}

/// Appends what stands before the value of an attribute.
pub(super) fn put_header(out: &mut Vec<u8>, flags: u8, code: u8, len: usize) {
    debug_assert!(len <= usize::from(u16::MAX));
    if len > 255 {
        let [high, low] = (len as u16).to_be_bytes();
        out.extend_from_slice(&[flags | flag::EXTENDED_LENGTH, code, high, low]);
    } else {
        out.extend_from_slice(&[flags & !flag::EXTENDED_LENGTH, code, len as u8]);
    }
}
