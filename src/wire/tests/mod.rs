//! Tests of the codec as a whole: messages as a peer would send them.

mod attributes;
mod canonical;
mod editor;
mod encode;
mod open;
mod pch;
mod properties;
mod update;

use super::DecodeContext;
use super::attrs::{code, flag};
use crate::types::{Family, FamilySet};

/// An eBGP session with four-octet AS numbers and both families.
const EXTERNAL: DecodeContext = DecodeContext {
    four_octet_as: true,
    external: true,
    families: FamilySet::ALL,
    add_path: FamilySet::EMPTY,
    extended_next_hop: false,
};

/// The same as iBGP.
const INTERNAL: DecodeContext = DecodeContext { external: false, ..EXTERNAL };

/// eBGP with a speaker that knows two-octet AS numbers only.
const OLD_SPEAKER: DecodeContext = DecodeContext { four_octet_as: false, ..EXTERNAL };

/// 10.0.0.0/8.
const NET_10: &[u8] = &[8, 10];
/// 2001:db8::/32.
const NET_DB8: &[u8] = &[32, 0x20, 1, 0xd, 0xb8];

/// An attribute with the shortest header that fits.
fn attribute(flags: u8, code: u8, value: &[u8]) -> Vec<u8> {
    let mut octets = vec![flags, code];
    if value.len() > 255 {
        octets[0] |= flag::EXTENDED_LENGTH;
        octets.extend_from_slice(&(value.len() as u16).to_be_bytes());
    } else {
        octets.push(value.len() as u8);
    }
    octets.extend_from_slice(value);
    octets
}

fn origin() -> Vec<u8> {
    attribute(0x40, code::ORIGIN, &[0])
}

/// AS_PATH of one sequence.
fn as_path(asns: &[u32]) -> Vec<u8> {
    attribute(0x40, code::AS_PATH, &sequence(asns))
}

fn sequence(asns: &[u32]) -> Vec<u8> {
    let mut value = vec![2, asns.len() as u8];
    asns.iter().for_each(|asn| value.extend_from_slice(&asn.to_be_bytes()));
    value
}

/// AS_PATH of one sequence with two-octet AS numbers.
fn as_path2(asns: &[u16]) -> Vec<u8> {
    let mut value = vec![2, asns.len() as u8];
    asns.iter().for_each(|asn| value.extend_from_slice(&asn.to_be_bytes()));
    attribute(0x40, code::AS_PATH, &value)
}

fn next_hop() -> Vec<u8> {
    attribute(0x40, code::NEXT_HOP, &[192, 0, 2, 1])
}

/// MP_REACH_NLRI with the next hop 2001:db8::1.
fn mp_reach(family: Family, nlri: &[u8]) -> Vec<u8> {
    let mut global = [0; 16];
    global[..4].copy_from_slice(&[0x20, 1, 0xd, 0xb8]);
    global[15] = 1;
    mp_reach_via(family, &global, nlri)
}

fn mp_reach_via(family: Family, next_hop: &[u8], nlri: &[u8]) -> Vec<u8> {
    let value =
        [&[0, family.afi() as u8, family.safi(), next_hop.len() as u8], next_hop, &[0], nlri].concat();
    attribute(0x80, code::MP_REACH_NLRI, &value)
}

fn mp_unreach(family: Family, nlri: &[u8]) -> Vec<u8> {
    let value = [&[0, family.afi() as u8, family.safi()], nlri].concat();
    attribute(0x80, code::MP_UNREACH_NLRI, &value)
}

/// The body of an UPDATE.
fn update(withdrawn: &[u8], attributes: &[Vec<u8>], nlri: &[u8]) -> Vec<u8> {
    let attributes = attributes.concat();
    let mut body = (withdrawn.len() as u16).to_be_bytes().to_vec();
    body.extend_from_slice(withdrawn);
    body.extend_from_slice(&(attributes.len() as u16).to_be_bytes());
    body.extend_from_slice(&attributes);
    body.extend_from_slice(nlri);
    body
}

/// The code of an attribute made by [`attribute`].
fn code_of(attribute: &[u8]) -> u8 {
    attribute[1]
}
