//! Path attributes at the API's edge: a canonical block taken apart for people and programs, put back as
//! it stands on the wire for `gobgp`, and made from what a caller asks to originate.
//!
//! A canonical block comes from the RIB and is sound. Should one not be, the reading stops at the flaw
//! and shows what came before it: an answer to a person is not worth a panic.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use super::proto::kulan as pb;
use crate::types::{NextHop, Prefix};

/// Attribute type codes (IANA "BGP Path Attributes").
pub(super) mod code {
    pub const ORIGIN: u8 = 1;
    pub const AS_PATH: u8 = 2;
    pub const NEXT_HOP: u8 = 3;
    pub const MED: u8 = 4;
    pub const LOCAL_PREF: u8 = 5;
    pub const ATOMIC_AGGREGATE: u8 = 6;
    pub const AGGREGATOR: u8 = 7;
    pub const COMMUNITIES: u8 = 8;
    pub const ORIGINATOR_ID: u8 = 9;
    pub const CLUSTER_LIST: u8 = 10;
    pub const MP_REACH_NLRI: u8 = 14;
    pub const MP_UNREACH_NLRI: u8 = 15;
    pub const EXTENDED_COMMUNITIES: u8 = 16;
    pub const AS4_PATH: u8 = 17;
    pub const AS4_AGGREGATOR: u8 = 18;
    pub const LARGE_COMMUNITIES: u8 = 32;
    pub const ONLY_TO_CUSTOMER: u8 = 35;
}

/// Attribute flags (RFC 4271 §4.3).
pub(super) mod flag {
    pub const WELL_KNOWN: u8 = 0x40;
    pub const OPTIONAL: u8 = 0x80;
    pub const OPTIONAL_TRANSITIVE: u8 = 0xc0;
    pub const EXTENDED_LENGTH: u8 = 0x10;
}

/// One attribute of a block.
struct Entry<'a> {
    flags: u8,
    code: u8,
    value: &'a [u8],
    /// With its header.
    bytes: &'a [u8],
}

fn entries(mut block: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    std::iter::from_fn(move || {
        let (&flags, &code) = (block.first()?, block.get(1)?);
        let (header, length) = if flags & flag::EXTENDED_LENGTH != 0 {
            (4, usize::from(u16::from_be_bytes([*block.get(2)?, *block.get(3)?])))
        } else {
            (3, usize::from(*block.get(2)?))
        };
        let bytes = block.get(..header + length)?;
        block = &block[header + length..];
        Some(Entry { flags, code, value: &bytes[header..], bytes })
    })
}

fn words(value: &[u8]) -> impl Iterator<Item = u32> + '_ {
    value.chunks_exact(4).map(|word| u32::from_be_bytes([word[0], word[1], word[2], word[3]]))
}

fn address(word: u32) -> String {
    Ipv4Addr::from(word).to_string()
}

/// The AS_PATH's segments; 4-octet AS numbers (RFC 6793).
fn segments(mut value: &[u8]) -> Vec<pb::AsSegment> {
    let mut segments = Vec::new();
    while let [kind, count, rest @ ..] = value {
        let Some(asns) = rest.get(..usize::from(*count) * 4) else { break };
        segments.push(pb::AsSegment { kind: i32::from(*kind), asns: words(asns).collect() });
        value = &rest[asns.len()..];
    }
    segments
}

/// Takes a canonical block apart.
pub(super) fn decode(block: &[u8], next_hop: &NextHop) -> pb::PathAttributes {
    let mut out = pb::PathAttributes {
        next_hop: next_hop.addr.to_string(),
        next_hop_link_local: next_hop.link_local.map(|addr| addr.to_string()).unwrap_or_default(),
        ..Default::default()
    };
    for Entry { flags, code, value, .. } in entries(block) {
        let word = || words(value).next();
        match code {
            code::ORIGIN => out.origin = value.first().map(|&origin| origin.into()),
            code::AS_PATH => out.as_path = segments(value),
            code::MED => out.med = word(),
            code::LOCAL_PREF => out.local_pref = word(),
            code::ATOMIC_AGGREGATE => out.atomic_aggregate = true,
            code::AGGREGATOR => {
                let mut parts = words(value);
                if let (Some(asn), Some(router)) = (parts.next(), parts.next()) {
                    out.aggregator = Some(pb::Aggregator { asn, address: address(router) });
                }
            }
            code::COMMUNITIES => out.communities = words(value).collect(),
            code::ORIGINATOR_ID => out.originator_id = word().map(address).unwrap_or_default(),
            code::CLUSTER_LIST => out.cluster_list = words(value).map(address).collect(),
            code::EXTENDED_COMMUNITIES => {
                out.extended_communities = value
                    .chunks_exact(8)
                    .map(|chunk| chunk.iter().fold(0, |all, &byte| all << 8 | u64::from(byte)))
                    .collect();
            }
            code::LARGE_COMMUNITIES => {
                let parts: Vec<u32> = words(value).collect();
                out.large_communities = parts
                    .chunks_exact(3)
                    .map(|c| pb::LargeCommunity { global: c[0], local_1: c[1], local_2: c[2] })
                    .collect();
            }
            code::ONLY_TO_CUSTOMER => out.only_to_customer = word(),
            _ => out.other.push(pb::OtherAttribute {
                flags: flags.into(),
                code: code.into(),
                value: value.to_vec(),
            }),
        }
    }
    out
}

/// The attributes of a route as an UPDATE would carry them, one by one, the next hop included: NEXT_HOP
/// for an IPv4 route with an IPv4 next hop, MP_REACH_NLRI else (RFC 4760 §3, RFC 8950 §3).
pub(super) fn on_the_wire(block: &[u8], next_hop: &NextHop, prefix: Prefix) -> Vec<Vec<u8>> {
    let mut out: Vec<Vec<u8>> = entries(block).map(|entry| entry.bytes.to_vec()).collect();
    let (code, attribute) = match (prefix, next_hop.addr) {
        (Prefix::V4(_), IpAddr::V4(addr)) => {
            (code::NEXT_HOP, attribute(flag::WELL_KNOWN, code::NEXT_HOP, &addr.octets()))
        }
        _ => {
            let family = prefix.family();
            let mut value = family.afi().to_be_bytes().to_vec();
            value.push(family.safi());
            match next_hop.addr {
                IpAddr::V4(addr) => {
                    value.push(16);
                    value.extend_from_slice(&addr.to_ipv6_mapped().octets());
                }
                IpAddr::V6(addr) => {
                    value.push(if next_hop.link_local.is_some() { 32 } else { 16 });
                    value.extend_from_slice(&addr.octets());
                    value.extend(next_hop.link_local.iter().flat_map(|addr| addr.octets()));
                }
            }
            value.push(0);
            value.extend_from_slice(&nlri(prefix));
            (code::MP_REACH_NLRI, attribute(flag::OPTIONAL, code::MP_REACH_NLRI, &value))
        }
    };
    let place = out.iter().position(|bytes| bytes[1] > code).unwrap_or(out.len());
    out.insert(place, attribute);
    out
}

/// A prefix as it stands in an UPDATE (RFC 4271 §4.3).
pub(super) fn nlri(prefix: Prefix) -> Vec<u8> {
    let mut out = vec![prefix.len()];
    let octets = usize::from(prefix.len()).div_ceil(8);
    match prefix.addr() {
        IpAddr::V4(addr) => out.extend_from_slice(&addr.octets()[..octets]),
        IpAddr::V6(addr) => out.extend_from_slice(&addr.octets()[..octets]),
    }
    out
}

fn attribute(flags: u8, code: u8, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len() + 4);
    match u8::try_from(value.len()) {
        Ok(length) => out.extend_from_slice(&[flags & !flag::EXTENDED_LENGTH, code, length]),
        Err(_) => {
            out.extend_from_slice(&[flags | flag::EXTENDED_LENGTH, code]);
            // A longer value does not fit any message; `Builder::set` refuses it.
            out.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
        }
    }
    out.extend_from_slice(value);
    out
}

/// Makes a canonical block from attributes in any order; a later one replaces an earlier one of its code.
#[derive(Debug, Default)]
pub(super) struct Builder(BTreeMap<u8, (u8, Vec<u8>)>);

/// The longest value that is taken from a caller: with everything else it must fit a message of 4,096
/// bytes.
const VALUE_MAX: usize = 3800;

impl Builder {
    /// Sets an attribute. What does not belong into a canonical block, or is too long, is refused.
    pub(super) fn set(&mut self, flags: u8, code: u8, value: Vec<u8>) -> Result<(), String> {
        if let code::NEXT_HOP
        | code::MP_REACH_NLRI
        | code::MP_UNREACH_NLRI
        | code::AS4_PATH
        | code::AS4_AGGREGATOR = code
        {
            return Err(format!("path attribute {code} cannot be set as it is"));
        }
        let length = value.len() + self.0.values().map(|(_, value)| value.len() + 4).sum::<usize>();
        if length > VALUE_MAX {
            return Err(format!(
                "path attribute {code} makes the attributes {length} bytes long; {VALUE_MAX} fit"
            ));
        }
        self.0.insert(code, (flags, value));
        Ok(())
    }

    /// The block. ORIGIN (incomplete) and an empty AS_PATH are added where they were not set.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.0.entry(code::ORIGIN).or_insert((flag::WELL_KNOWN, vec![2]));
        self.0.entry(code::AS_PATH).or_insert((flag::WELL_KNOWN, Vec::new()));
        self.0.iter().flat_map(|(&code, (flags, value))| attribute(*flags, code, value)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block() -> Vec<u8> {
        let mut builder = Builder::default();
        builder.set(flag::OPTIONAL_TRANSITIVE, code::COMMUNITIES, vec![0xfd, 0xe8, 0, 1]).unwrap();
        builder.set(flag::WELL_KNOWN, code::ORIGIN, vec![0]).unwrap();
        builder
            .set(flag::WELL_KNOWN, code::AS_PATH, vec![2, 2, 0, 0, 253, 232, 0, 1, 0, 0, 1, 1, 0, 0, 0, 9])
            .unwrap();
        builder.set(flag::OPTIONAL, code::MED, vec![0, 0, 0, 50]).unwrap();
        builder.set(flag::OPTIONAL, code::CLUSTER_LIST, vec![10, 0, 0, 1, 10, 0, 0, 2]).unwrap();
        builder
            .set(flag::OPTIONAL_TRANSITIVE, code::LARGE_COMMUNITIES, vec![0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3])
            .unwrap();
        builder.set(flag::OPTIONAL_TRANSITIVE, 99, vec![7; 300]).unwrap();
        builder.finish()
    }

    #[test]
    fn a_block_is_built_in_order_and_read_back() {
        let next_hop = NextHop::new("192.0.2.1".parse().unwrap());
        let out = decode(&block(), &next_hop);
        assert_eq!(out.origin, Some(0));
        assert_eq!(out.as_path.len(), 2);
        assert_eq!(out.as_path[0].asns, [65000, 65536]);
        assert_eq!(out.as_path[1].kind, 1);
        assert_eq!(out.med, Some(50));
        assert_eq!(out.local_pref, None);
        assert_eq!(out.communities, [65000 << 16 | 1]);
        assert_eq!(out.cluster_list, ["10.0.0.1", "10.0.0.2"]);
        assert_eq!(out.large_communities, [pb::LargeCommunity { global: 1, local_1: 2, local_2: 3 }]);
        assert_eq!(out.other.len(), 1);
        assert_eq!((out.other[0].code, out.other[0].value.len()), (99, 300));
        assert_eq!(out.next_hop, "192.0.2.1");
        let codes: Vec<u8> = entries(&block()).map(|entry| entry.code).collect();
        assert!(codes.is_sorted(), "{codes:?}");
    }

    #[test]
    fn a_truncated_block_shows_what_came_before_the_flaw() {
        let whole = block();
        for length in 0..whole.len() {
            decode(&whole[..length], &NextHop::new("::1".parse().unwrap()));
        }
        assert_eq!(decode(&whole[..6], &NextHop::new("::1".parse().unwrap())).origin, Some(0));
    }

    #[test]
    fn the_next_hop_stands_where_the_wire_wants_it() {
        let v4: Prefix = "10.1.0.0/20".parse().unwrap();
        let codes = |attributes: &[Vec<u8>]| attributes.iter().map(|bytes| bytes[1]).collect::<Vec<_>>();
        let classic = on_the_wire(&block(), &NextHop::new("192.0.2.1".parse().unwrap()), v4);
        assert_eq!(codes(&classic), [1, 2, 3, 4, 8, 10, 32, 99]);
        assert_eq!(classic[2], [0x40, 3, 4, 192, 0, 2, 1]);
        let over_v6 = on_the_wire(&block(), &NextHop::new("2001:db8::1".parse().unwrap()), v4);
        assert_eq!(codes(&over_v6), [1, 2, 4, 8, 10, 14, 32, 99]);
        assert_eq!(over_v6[5][3..7], [0, 1, 1, 16]);
        assert_eq!(over_v6[5][over_v6[5].len() - 5..], [0, 20, 10, 1, 0]);
        let next_hop =
            NextHop { addr: "2001:db8::1".parse().unwrap(), link_local: Some("fe80::1".parse().unwrap()) };
        let v6 = on_the_wire(&block(), &next_hop, "2001:db8::/32".parse().unwrap());
        assert_eq!(v6[5][3..7], [0, 2, 1, 32]);
    }

    #[test]
    fn what_a_block_must_not_hold_is_refused() {
        let mut builder = Builder::default();
        assert!(builder.set(flag::WELL_KNOWN, code::NEXT_HOP, vec![1, 2, 3, 4]).is_err());
        assert!(builder.set(flag::OPTIONAL_TRANSITIVE, code::COMMUNITIES, vec![0; 4000]).is_err());
        assert_eq!(builder.finish(), [0x40, 1, 1, 2, 0x40, 2, 0], "incomplete, and an empty path");
    }
}
