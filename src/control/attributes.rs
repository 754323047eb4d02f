//! Path attributes at the API's edge: a canonical block taken apart for people and programs, put back as
//! it stands on the wire for `gobgp`, and made from what a caller asks to originate.
//!
//! A canonical block comes from the RIB and is sound. Should one not be, the reading stops at the flaw
//! and shows what came before it: an answer to a person is not worth a panic.

use std::net::IpAddr;

use super::proto::kulan as pb;
use crate::types::{NextHop, Prefix};
pub(super) use crate::wire::attrs::{code, flag};
use crate::wire::{AttributeEditor, PathAttributes};

/// ONLY_TO_CUSTOMER (RFC 9234 §5): shown, though the codec passes it on like any attribute it does not
/// know.
pub(super) const ONLY_TO_CUSTOMER: u8 = 35;

/// Takes a canonical block apart.
pub(super) fn decode(block: &[u8], next_hop: &NextHop) -> pb::PathAttributes {
    let attributes = PathAttributes::new(block);
    let segments = attributes
        .as_path()
        .segments()
        .map(|segment| pb::AsSegment { kind: (segment.kind as u8).into(), asns: segment.asns().collect() });
    let large = attributes.large_communities().map(|of| pb::LargeCommunity {
        global: of.global,
        local_1: of.local1,
        local_2: of.local2,
    });
    let only_to_customer = attributes.get(ONLY_TO_CUSTOMER).and_then(|of| of.value.try_into().ok());
    let other = attributes.iter().filter(|of| !has_a_word(of.code)).map(|of| pb::OtherAttribute {
        flags: of.flags.into(),
        code: of.code.into(),
        value: of.value.to_vec(),
    });
    pb::PathAttributes {
        origin: attributes.origin().map(|origin| u32::from(origin as u8)),
        as_path: segments.collect(),
        next_hop: next_hop.addr.to_string(),
        next_hop_link_local: next_hop.link_local.map(|addr| addr.to_string()).unwrap_or_default(),
        med: attributes.med(),
        local_pref: attributes.local_pref(),
        atomic_aggregate: attributes.atomic_aggregate(),
        aggregator: attributes
            .aggregator()
            .map(|of| pb::Aggregator { asn: of.asn, address: of.router_id.to_string() }),
        communities: attributes.communities().collect(),
        large_communities: large.collect(),
        extended_communities: attributes.extended_communities().collect(),
        originator_id: attributes.originator_id().map(|id| id.to_string()).unwrap_or_default(),
        cluster_list: attributes.cluster_list().map(|id| id.to_string()).collect(),
        only_to_customer: only_to_customer.map(u32::from_be_bytes),
        other: other.collect(),
    }
}

/// Whether `kulan.v1` has a field for the attribute.
pub(super) fn has_a_word(attribute: u8) -> bool {
    matches!(
        attribute,
        code::ORIGIN
            | code::AS_PATH
            | code::NEXT_HOP
            | code::MULTI_EXIT_DISC
            | code::LOCAL_PREF
            | code::ATOMIC_AGGREGATE
            | code::AGGREGATOR
            | code::COMMUNITIES
            | code::ORIGINATOR_ID
            | code::CLUSTER_LIST
            | code::EXTENDED_COMMUNITIES
            | code::LARGE_COMMUNITIES
            | ONLY_TO_CUSTOMER
    )
}

/// The attributes of a route as an UPDATE would carry them, one by one, the next hop included: NEXT_HOP
/// for an IPv4 route with an IPv4 next hop, MP_REACH_NLRI else (RFC 4760 §3, RFC 8950 §3).
pub(super) fn on_the_wire(block: &[u8], next_hop: &NextHop, prefix: Prefix) -> Vec<Vec<u8>> {
    let mut whole = block.to_vec();
    let mut editor = AttributeEditor::on(&mut whole);
    match (prefix, next_hop.addr) {
        (Prefix::V4(_), IpAddr::V4(addr)) => {
            editor.set(flag::WELL_KNOWN, code::NEXT_HOP, &addr.octets());
        }
        _ => {
            editor.set(flag::NON_TRANSITIVE, code::MP_REACH_NLRI, &mp_reach(next_hop, prefix));
        }
    }
    PathAttributes::new(&whole)
        .iter()
        .map(|of| {
            let mut alone = Vec::with_capacity(of.value.len() + 4);
            AttributeEditor::on(&mut alone).set(of.flags, of.code, of.value);
            alone
        })
        .collect()
}

fn mp_reach(next_hop: &NextHop, prefix: Prefix) -> Vec<u8> {
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
    value
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

/// Makes a canonical block from attributes in any order; a later one replaces an earlier one of its code.
#[derive(Debug, Default)]
pub(super) struct Builder(Vec<u8>);

/// The longest block that is taken from a caller: with everything else it must fit a message of 4,096
/// bytes.
const BLOCK_LEN_MAX: usize = 3800;

impl Builder {
    /// Sets an attribute. What does not belong into a canonical block, or is too long, is refused.
    pub(super) fn set(&mut self, flags: u8, code: u8, value: &[u8]) -> Result<(), String> {
        if let code::NEXT_HOP
        | code::MP_REACH_NLRI
        | code::MP_UNREACH_NLRI
        | code::AS4_PATH
        | code::AS4_AGGREGATOR = code
        {
            return Err(format!("path attribute {code} cannot be set as it is"));
        }
        let len = self.0.len() + value.len();
        if len > BLOCK_LEN_MAX {
            return Err(format!(
                "path attribute {code} makes the attributes {len} bytes long; {BLOCK_LEN_MAX} fit"
            ));
        }
        AttributeEditor::on(&mut self.0).set(flags, code, value);
        Ok(())
    }

    /// The block. ORIGIN (incomplete) and an empty AS_PATH are added where they were not set.
    pub(super) fn finish(mut self) -> Vec<u8> {
        for (code, value) in [(code::ORIGIN, &[2][..]), (code::AS_PATH, &[])] {
            if PathAttributes::new(&self.0).get(code).is_none() {
                AttributeEditor::on(&mut self.0).set(flag::WELL_KNOWN, code, value);
            }
        }
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block() -> Vec<u8> {
        let mut builder = Builder::default();
        builder.set(flag::OPTIONAL_TRANSITIVE, code::COMMUNITIES, &[0xfd, 0xe8, 0, 1]).unwrap();
        builder.set(flag::WELL_KNOWN, code::ORIGIN, &[0]).unwrap();
        builder
            .set(flag::WELL_KNOWN, code::AS_PATH, &[2, 2, 0, 0, 253, 232, 0, 1, 0, 0, 1, 1, 0, 0, 0, 9])
            .unwrap();
        builder.set(flag::NON_TRANSITIVE, code::MULTI_EXIT_DISC, &[0, 0, 0, 50]).unwrap();
        builder.set(flag::NON_TRANSITIVE, code::CLUSTER_LIST, &[10, 0, 0, 1, 10, 0, 0, 2]).unwrap();
        builder
            .set(flag::OPTIONAL_TRANSITIVE, code::LARGE_COMMUNITIES, &[0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3])
            .unwrap();
        builder.set(flag::OPTIONAL_TRANSITIVE, 99, &[7; 300]).unwrap();
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
        let codes: Vec<u8> = PathAttributes::new(&block()).iter().map(|of| of.code).collect();
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
        assert!(builder.set(flag::WELL_KNOWN, code::NEXT_HOP, &[1, 2, 3, 4]).is_err());
        assert!(builder.set(flag::OPTIONAL_TRANSITIVE, code::COMMUNITIES, &[0; 4000]).is_err());
        assert_eq!(builder.finish(), [0x40, 1, 1, 2, 0x40, 2, 0], "incomplete, and an empty path");
    }
}
