//! Communities as patterns: a value, and a mask of the bits that count.
//!
//! `65000:100` is one community, `65000:*` every community of one AS. The three kinds differ in width and in
//! spelling only: standard (RFC 1997), extended (RFC 4360, RFC 5668) and large (RFC 8092).

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use crate::wire::attrs::{LargeCommunity, code};
use crate::wire::{AttributeEditor, PathAttributes};

/// Well-known communities and their names in the IANA registry.
const WELL_KNOWN: [(&str, u32); 10] = [
    ("graceful-shutdown", 0xFFFF_0000),
    ("accept-own", 0xFFFF_0001),
    ("llgr-stale", 0xFFFF_0006),
    ("no-llgr", 0xFFFF_0007),
    ("accept-own-nexthop", 0xFFFF_0008),
    ("blackhole", 0xFFFF_029A),
    ("no-export", 0xFFFF_FF01),
    ("no-advertise", 0xFFFF_FF02),
    ("no-export-subconfed", 0xFFFF_FF03),
    ("no-peer", 0xFFFF_FF04),
];

/// The name of a well-known community.
pub fn community_name(community: u32) -> Option<&'static str> {
    WELL_KNOWN.iter().find(|(_, value)| *value == community).map(|(name, _)| *name)
}

/// What the three kinds of communities have in common.
pub(super) trait Community: Copy + fmt::Display {
    /// One community.
    type Value: Copy + Ord + fmt::Debug;
    /// The attribute that lists them.
    const CODE: u8;

    /// Whether `value` matches the pattern.
    fn matches(self, value: Self::Value) -> bool;
    /// The one value that matches, if there is only one.
    fn exact(self) -> Option<Self::Value>;
    /// Whether one of a route's communities is in the table.
    fn any(attributes: PathAttributes<'_>, table: &CommunityTable<Self>) -> bool;
    /// Adds those that are not there.
    fn add(editor: &mut AttributeEditor<'_>, values: &[Self::Value]);
    /// Removes those that are in the table.
    fn remove(editor: &mut AttributeEditor<'_>, table: &CommunityTable<Self>);
}

/// A set of communities to look values up in.
#[derive(Clone, Debug)]
pub(super) struct CommunityTable<P: Community> {
    /// Sorted.
    exact: Vec<P::Value>,
    wild: Vec<P>,
}

impl<P: Community> CommunityTable<P> {
    pub(super) fn new(patterns: &[P]) -> CommunityTable<P> {
        let mut exact: Vec<P::Value> = patterns.iter().filter_map(|pattern| pattern.exact()).collect();
        exact.sort_unstable();
        let wild = patterns.iter().copied().filter(|pattern| pattern.exact().is_none()).collect();
        CommunityTable { exact, wild }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.wild.is_empty()
    }

    pub(super) fn contains(&self, value: P::Value) -> bool {
        self.exact.binary_search(&value).is_ok() || self.wild.iter().any(|pattern| pattern.matches(value))
    }
}

macro_rules! patterns {
    ($(
        $(#[$doc:meta])*
        $name:ident: $bits:ty, $value:ty, $to_bits:expr, $from_bits:expr, $code:ident, $list:ident, $add:ident,
        $remove:ident;
    )*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name {
            /// The bits that are compared.
            pub mask: $bits,
            /// What they must be; bits outside the mask are zero.
            pub value: $bits,
        }

        impl $name {
            /// The pattern that matches `value` alone.
            pub const fn exactly(value: $bits) -> $name {
                $name { mask: <$bits>::MAX, value }
            }

            /// Whether the pattern stands for one single value.
            pub const fn is_exact(self) -> bool {
                self.mask == <$bits>::MAX
            }

            /// Whether `value` matches.
            pub fn matches(self, value: $value) -> bool {
                $to_bits(value) & self.mask == self.value
            }
        }

        impl Community for $name {
            type Value = $value;
            const CODE: u8 = code::$code;

            fn matches(self, value: $value) -> bool {
                $name::matches(self, value)
            }

            fn exact(self) -> Option<$value> {
                self.is_exact().then(|| $from_bits(self.value))
            }

            fn any(attributes: PathAttributes<'_>, table: &CommunityTable<$name>) -> bool {
                attributes.$list().any(|value| table.contains(value))
            }

            fn add(editor: &mut AttributeEditor<'_>, values: &[$value]) {
                editor.$add(values);
            }

            fn remove(editor: &mut AttributeEditor<'_>, table: &CommunityTable<$name>) {
                editor.$remove(|value| table.contains(value));
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    )*};
}

patterns! {
    /// Standard communities, as `ASN << 16 | VALUE`.
    CommunityPattern: u32, u32, std::convert::identity, std::convert::identity, COMMUNITIES, communities,
        add_communities, remove_communities;
    /// Extended communities, as the eight octets on the wire.
    ExtCommunityPattern: u64, u64, std::convert::identity, std::convert::identity, EXTENDED_COMMUNITIES,
        extended_communities, add_extended_communities, remove_extended_communities;
    /// Large communities: global administrator, local data 1, local data 2, from the top of the lower 96
    /// bits.
    LargeCommunityPattern: u128, LargeCommunity, large_bits, large_from_bits, LARGE_COMMUNITIES,
        large_communities, add_large_communities, remove_large_communities;
}

fn large_bits(community: LargeCommunity) -> u128 {
    u128::from(community.global) << 64 | u128::from(community.local1) << 32 | u128::from(community.local2)
}

fn large_from_bits(bits: u128) -> LargeCommunity {
    LargeCommunity { global: (bits >> 64) as u32, local1: (bits >> 32) as u32, local2: bits as u32 }
}

/// One field of a community: `*` or a number of at most `max`.
fn field(text: &str, max: u32) -> Option<(u32, u32)> {
    if text == "*" {
        return Some((0, 0));
    }
    // `parse` takes a leading plus sign; people do not write one.
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let value: u32 = if digits { text.parse().ok()? } else { return None };
    (value <= max).then_some((max, value))
}

fn write_field(f: &mut fmt::Formatter<'_>, mask: u32, value: u32) -> fmt::Result {
    if mask == 0 { f.write_str("*") } else { write!(f, "{value}") }
}

impl FromStr for CommunityPattern {
    type Err = String;

    /// Reads `ASN:VALUE`, either of which may be `*`, or a well-known name.
    fn from_str(text: &str) -> Result<CommunityPattern, String> {
        if let Some((_, value)) = WELL_KNOWN.iter().find(|(name, _)| *name == text) {
            return Ok(CommunityPattern::exactly(*value));
        }
        text.split_once(':')
            .and_then(|(asn, value)| Some((field(asn, 0xFFFF)?, field(value, 0xFFFF)?)))
            .map(|(asn, value)| CommunityPattern {
                mask: asn.0 << 16 | value.0,
                value: asn.1 << 16 | value.1,
            })
            .ok_or_else(|| {
                "is not a community; write ASN:VALUE (each 0 to 65535 or *), or a name such as \"no-export\""
                    .to_string()
            })
    }
}

impl fmt::Display for CommunityPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_exact()
            && let Some(name) = community_name(self.value)
        {
            return f.write_str(name);
        }
        write_field(f, self.mask >> 16, self.value >> 16)?;
        f.write_str(":")?;
        write_field(f, self.mask & 0xFFFF, self.value & 0xFFFF)
    }
}

/// Type octets of extended communities that have a route target and a site of origin (RFC 4360 §3, RFC 5668
/// §2).
const EXT_AS2: u8 = 0x00;
const EXT_IPV4: u8 = 0x01;
const EXT_AS4: u8 = 0x02;
const SUBTYPES: [(&str, u8); 2] = [("rt", 0x02), ("soo", 0x03)];

impl FromStr for ExtCommunityPattern {
    type Err = String;

    /// Reads `rt:ADMINISTRATOR:VALUE` or `soo:ADMINISTRATOR:VALUE`, where the administrator is an AS number
    /// or an IPv4 address and the value may be `*`; or the eight octets as `0x` and 16 hex digits.
    fn from_str(text: &str) -> Result<ExtCommunityPattern, String> {
        parse_ext(text).ok_or_else(|| {
            "is not an extended community; write \"rt:ASN:VALUE\", \"rt:ADDRESS:VALUE\", the same with \"soo\", \
             or 0x and 16 hex digits"
                .to_string()
        })
    }
}

fn parse_ext(text: &str) -> Option<ExtCommunityPattern> {
    if let Some(hex) = text.strip_prefix("0x") {
        let digits = hex.len() == 16 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        return digits.then(|| u64::from_str_radix(hex, 16).ok()).flatten().map(ExtCommunityPattern::exactly);
    }
    let mut parts = text.splitn(3, ':');
    let (kind, administrator, local) = (parts.next()?, parts.next()?, parts.next()?);
    let subtype = SUBTYPES.iter().find(|(name, _)| *name == kind)?.1;
    let head = |type_octet: u8| u64::from(type_octet) << 56 | u64::from(subtype) << 48;
    // Two octets of AS number leave four for the value; four octets leave two.
    if let Some((mask, asn)) = field(administrator, 0xFFFF).filter(|_| administrator != "*") {
        let (local_mask, local) = field(local, u32::MAX)?;
        return Some(ExtCommunityPattern {
            mask: 0xFFFF << 48 | u64::from(mask) << 32 | u64::from(local_mask),
            value: head(EXT_AS2) | u64::from(asn) << 32 | u64::from(local),
        });
    }
    let (type_octet, administrator) = match administrator.parse::<Ipv4Addr>() {
        Ok(addr) => (EXT_IPV4, addr.to_bits()),
        Err(_) => (EXT_AS4, field(administrator, u32::MAX).filter(|_| administrator != "*")?.1),
    };
    let (local_mask, local) = field(local, 0xFFFF)?;
    Some(ExtCommunityPattern {
        mask: 0xFFFF_FFFF_FFFF_0000 | u64::from(local_mask),
        value: head(type_octet) | u64::from(administrator) << 16 | u64::from(local),
    })
}

impl fmt::Display for ExtCommunityPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [type_octet, subtype, ..] = self.value.to_be_bytes();
        let name = SUBTYPES.iter().find(|(_, number)| *number == subtype).map(|(name, _)| *name);
        let high = (self.value >> 16) as u32;
        match (name, type_octet) {
            (Some(name), EXT_AS2) => {
                write!(f, "{name}:{}:", (self.value >> 32) as u16)?;
                write_field(f, self.mask as u32, self.value as u32)
            }
            (Some(name), EXT_IPV4) => {
                write!(f, "{name}:{}:", Ipv4Addr::from(high))?;
                write_field(f, self.mask as u32 & 0xFFFF, self.value as u32 & 0xFFFF)
            }
            (Some(name), EXT_AS4) => {
                write!(f, "{name}:{high}:")?;
                write_field(f, self.mask as u32 & 0xFFFF, self.value as u32 & 0xFFFF)
            }
            _ => write!(f, "{:#018x}", self.value),
        }
    }
}

impl FromStr for LargeCommunityPattern {
    type Err = String;

    /// Reads `ADMINISTRATOR:DATA1:DATA2`, each of which may be `*`.
    fn from_str(text: &str) -> Result<LargeCommunityPattern, String> {
        let mut pattern = LargeCommunityPattern { mask: u128::from(u32::MAX) << 96, value: 0 };
        let mut parts = 0;
        for (part, shift) in text.split(':').zip([64, 32, 0, 0]) {
            if let Some((mask, value)) = field(part, u32::MAX) {
                pattern.mask |= u128::from(mask) << shift;
                pattern.value |= u128::from(value) << shift;
                parts += 1;
            }
        }
        if parts != 3 || text.matches(':').count() != 2 {
            return Err(
                "is not a large community; write ADMINISTRATOR:DATA1:DATA2 (each 0 to 4294967295 or *)"
                    .to_string(),
            );
        }
        Ok(pattern)
    }
}

impl fmt::Display for LargeCommunityPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for shift in [64, 32, 0] {
            if shift != 64 {
                f.write_str(":")?;
            }
            write_field(f, (self.mask >> shift) as u32, (self.value >> shift) as u32)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_prints_as_it_is_written() {
        for text in ["65000:100", "65000:*", "*:666", "*:*", "no-export", "blackhole", "0:0"] {
            assert_eq!(text.parse::<CommunityPattern>().unwrap().to_string(), text);
        }
        for text in
            ["rt:65000:100", "soo:65000:*", "rt:10.0.0.1:7", "rt:4200000000:100", "0x8006000000000001"]
        {
            assert_eq!(text.parse::<ExtCommunityPattern>().unwrap().to_string(), text);
        }
        for text in ["65000:1:2", "4200000000:*:4294967295", "*:*:*"] {
            assert_eq!(text.parse::<LargeCommunityPattern>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_community_is_refused() {
        for text in ["", "65000", "65000:", ":1", "65536:1", "1:65536", "+1:1", "1:2:3", "no-such", "1:-1"] {
            assert!(text.parse::<CommunityPattern>().is_err(), "{text}");
        }
        for text in
            ["rt:1", "rt:*:1", "xx:1:1", "rt:4200000000:65536", "0x12", "rt:1:2:3", "0x+000000000000001"]
        {
            assert!(text.parse::<ExtCommunityPattern>().is_err(), "{text}");
        }
        for text in ["1:2", "1:2:3:4", "1:2:x", "4294967296:0:0", "1:2:3:"] {
            assert!(text.parse::<LargeCommunityPattern>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_star_matches_any_value_of_its_field_and_no_other_field() {
        let pattern: CommunityPattern = "65000:*".parse().unwrap();
        assert!(pattern.matches(65000 << 16 | 7) && !pattern.matches(65001 << 16 | 7));
        let pattern: ExtCommunityPattern = "rt:65000:*".parse().unwrap();
        assert!(pattern.matches(0x0002_FDE8_0000_0007) && !pattern.matches(0x0003_FDE8_0000_0007));
        let pattern: LargeCommunityPattern = "1:*:3".parse().unwrap();
        let large = |local2| LargeCommunity { global: 1, local1: 9, local2 };
        assert!(pattern.matches(large(3)) && !pattern.matches(large(4)));
    }
}
