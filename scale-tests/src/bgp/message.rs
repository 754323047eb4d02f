//! BGP messages (RFC 4271 §4), as far as a load source and a judge need them.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// Every message begins with this many bytes (RFC 4271 §4.1).
pub const HEADER_LENGTH: usize = 19;
/// The longest message unless RFC 8654 is negotiated.
pub const LENGTH_MAX: usize = 4096;

/// OPEN.
pub const OPEN: u8 = 1;
/// UPDATE.
pub const UPDATE: u8 = 2;
/// NOTIFICATION.
pub const NOTIFICATION: u8 = 3;
/// KEEPALIVE.
pub const KEEPALIVE: u8 = 4;

/// ORIGIN.
pub const ORIGIN: u8 = 1;
/// AS_PATH.
pub const AS_PATH: u8 = 2;
/// NEXT_HOP.
pub const NEXT_HOP: u8 = 3;
/// MULTI_EXIT_DISC.
pub const MED: u8 = 4;
/// LOCAL_PREF.
pub const LOCAL_PREF: u8 = 5;
/// AGGREGATOR.
pub const AGGREGATOR: u8 = 7;
/// COMMUNITIES (RFC 1997).
pub const COMMUNITIES: u8 = 8;
/// ORIGINATOR_ID (RFC 4456).
pub const ORIGINATOR_ID: u8 = 9;
/// CLUSTER_LIST (RFC 4456).
pub const CLUSTER_LIST: u8 = 10;
/// EXTENDED COMMUNITIES (RFC 4360).
pub const EXTENDED_COMMUNITIES: u8 = 16;
/// LARGE COMMUNITIES (RFC 8092).
pub const LARGE_COMMUNITIES: u8 = 32;

/// The flag of a length of two bytes.
const EXTENDED_LENGTH: u8 = 0x10;
const AS_SEQUENCE: u8 = 2;
const AS_TRANS: u16 = 23456;

/// An IPv4 prefix as one number: the address, then the length in the low byte.
pub type Key = u64;

/// Makes a [`Key`].
pub fn key(address: Ipv4Addr, length: u8) -> Key {
    u64::from(u32::from(address)) << 8 | u64::from(length)
}

/// A [`Key`] as people write it.
pub fn show_key(key: Key) -> String {
    format!("{}/{}", Ipv4Addr::from((key >> 8) as u32), key as u8)
}

/// Puts a header before a body.
pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut message = vec![0xFF; 16];
    message.extend_from_slice(&((HEADER_LENGTH + body.len()) as u16).to_be_bytes());
    message.push(kind);
    message.extend_from_slice(body);
    message
}

/// An OPEN with multiprotocol IPv4 unicast, route refresh and 4-octet AS numbers.
pub fn open(asn: u32, hold_time_s: u16, router_id: Ipv4Addr) -> Vec<u8> {
    let mut capabilities = vec![1, 4, 0, 1, 0, 1, 2, 0, 65, 4];
    capabilities.extend_from_slice(&asn.to_be_bytes());
    let mut body = vec![4];
    body.extend_from_slice(&u16::try_from(asn).unwrap_or(AS_TRANS).to_be_bytes());
    body.extend_from_slice(&hold_time_s.to_be_bytes());
    body.extend_from_slice(&router_id.octets());
    body.extend_from_slice(&[capabilities.len() as u8 + 2, 2, capabilities.len() as u8]);
    body.extend_from_slice(&capabilities);
    message(OPEN, &body)
}

/// The length of the message that begins here, once its header is there.
pub fn length(bytes: &[u8]) -> Result<Option<usize>, String> {
    if bytes.len() < HEADER_LENGTH {
        return Ok(None);
    }
    let length = usize::from(u16::from_be_bytes([bytes[16], bytes[17]]));
    if bytes[..16] != [0xFF; 16] || !(HEADER_LENGTH..=LENGTH_MAX).contains(&length) {
        return Err(format!("not a BGP message: {:02x?}", &bytes[..HEADER_LENGTH]));
    }
    Ok(Some(length))
}

/// The three parts of an UPDATE.
#[derive(Clone, Copy, Debug)]
pub struct Update<'a> {
    /// Withdrawn IPv4 prefixes.
    pub withdrawn: &'a [u8],
    /// Path attributes.
    pub attributes: &'a [u8],
    /// Announced IPv4 prefixes.
    pub announced: &'a [u8],
}

impl<'a> Update<'a> {
    /// Splits the body of an UPDATE.
    pub fn parse(body: &'a [u8]) -> Result<Update<'a>, String> {
        let part = |bytes: &'a [u8]| -> Option<(&'a [u8], &'a [u8])> {
            let (length, rest) = bytes.split_first_chunk::<2>()?;
            rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
        };
        let parts = part(body).and_then(|(withdrawn, rest)| Some((withdrawn, part(rest)?)));
        let Some((withdrawn, (attributes, announced))) = parts else {
            return Err(format!("an UPDATE whose lengths do not fit: {body:02x?}"));
        };
        Ok(Update { withdrawn, attributes, announced })
    }

    /// Whether it is the IPv4 End-of-RIB (RFC 4724 §2).
    pub fn is_end_of_rib(&self) -> bool {
        self.withdrawn.is_empty() && self.attributes.is_empty() && self.announced.is_empty()
    }
}

/// Calls `visit` for every prefix of a withdrawn or announced part.
pub fn for_each_prefix(mut part: &[u8], mut visit: impl FnMut(Key)) -> Result<(), String> {
    while let Some((&length, rest)) = part.split_first() {
        let bytes = usize::from(length).div_ceil(8);
        if length > 32 || rest.len() < bytes {
            return Err(format!("not a prefix: {part:02x?}"));
        }
        let mut address = [0; 4];
        address[..bytes].copy_from_slice(&rest[..bytes]);
        visit(key(Ipv4Addr::from(address), length));
        part = &rest[bytes..];
    }
    Ok(())
}

/// Appends a prefix in the form of [`for_each_prefix`].
pub fn put_prefix(key: Key, out: &mut Vec<u8>) {
    let length = key as u8;
    out.push(length);
    out.extend_from_slice(&((key >> 8) as u32).to_be_bytes()[..usize::from(length).div_ceil(8)]);
}

/// One path attribute.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attribute {
    /// The type code.
    pub code: u8,
    /// Optional, Transitive and Partial; never Extended Length, which says nothing about the route.
    pub flags: u8,
    /// The value.
    pub value: Vec<u8>,
}

/// The path attributes of a route, in ascending order of type, lists that are sets (communities of all kinds)
/// sorted and without duplicates. So two routes have the same attributes if and only if these are equal.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attributes(pub Vec<Attribute>);

impl Attributes {
    /// Reads them from an UPDATE. A duplicated attribute is an error: nobody should ever send us one.
    pub fn parse(mut bytes: &[u8]) -> Result<Attributes, String> {
        let mut list = Vec::with_capacity(8);
        while !bytes.is_empty() {
            let header = if bytes[0] & EXTENDED_LENGTH != 0 { 4 } else { 3 };
            if bytes.len() < header {
                return Err(format!("an attribute without its header: {bytes:02x?}"));
            }
            let length = if header == 4 {
                usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))
            } else {
                usize::from(bytes[2])
            };
            let Some((whole, rest)) = bytes.split_at_checked(header + length) else {
                return Err(format!("an attribute longer than its UPDATE: {bytes:02x?}"));
            };
            let mut value = whole[header..].to_vec();
            if !is_sorted_set(bytes[1], &value) {
                let size = item_size(bytes[1]).unwrap_or(1);
                let items: BTreeSet<Vec<u8>> = value.chunks_exact(size).map(<[u8]>::to_vec).collect();
                value = items.into_iter().flatten().collect();
            }
            list.push(Attribute { code: bytes[1], flags: bytes[0] & !EXTENDED_LENGTH, value });
            bytes = rest;
        }
        list.sort();
        if list.windows(2).any(|pair| pair[0].code == pair[1].code) {
            return Err(format!("an attribute twice: {list:02x?}"));
        }
        Ok(Attributes(list))
    }

    /// The value of an attribute.
    pub fn get(&self, code: u8) -> Option<&[u8]> {
        self.0.iter().find(|attribute| attribute.code == code).map(|attribute| attribute.value.as_slice())
    }

    /// Puts an attribute in its place, instead of one of the same type if there is one.
    pub fn set(&mut self, code: u8, flags: u8, value: Vec<u8>) {
        self.remove(code);
        let position = self.0.partition_point(|attribute| attribute.code < code);
        self.0.insert(position, Attribute { code, flags, value });
    }

    /// Takes an attribute away.
    pub fn remove(&mut self, code: u8) {
        self.0.retain(|attribute| attribute.code != code);
    }

    /// As they go into an UPDATE.
    pub fn encode(&self, out: &mut Vec<u8>) {
        for attribute in &self.0 {
            match u8::try_from(attribute.value.len()) {
                Ok(length) => out.extend_from_slice(&[attribute.flags, attribute.code, length]),
                Err(_) => {
                    out.extend_from_slice(&[attribute.flags | EXTENDED_LENGTH, attribute.code]);
                    out.extend_from_slice(&(attribute.value.len() as u16).to_be_bytes());
                }
            }
            out.extend_from_slice(&attribute.value);
        }
    }

    /// A number that stands for them; never 0.
    pub fn fingerprint(&self) -> u64 {
        let mut bytes = Vec::with_capacity(256);
        self.encode(&mut bytes);
        fingerprint(&bytes)
    }

    /// The [`Attributes::fingerprint`] of encoded attributes, without taking them apart where they already stand
    /// in order. `scratch` is overwritten.
    pub fn fingerprint_of(bytes: &[u8], scratch: &mut Vec<u8>) -> Result<u64, String> {
        scratch.clear();
        let mut last_code = 0;
        let mut rest = bytes;
        while let [flags, code, length, ..] = *rest {
            let plain = flags & EXTENDED_LENGTH == 0;
            let whole = 3 + usize::from(length);
            if !plain || code <= last_code || rest.len() < whole || !is_sorted_set(code, &rest[3..whole]) {
                return Attributes::parse(bytes).map(|attributes| attributes.fingerprint());
            }
            scratch.extend_from_slice(&rest[..whole]);
            last_code = code;
            rest = &rest[whole..];
        }
        if !rest.is_empty() {
            return Err(format!("an attribute without its header: {rest:02x?}"));
        }
        Ok(fingerprint(scratch))
    }

    /// The AS numbers of all segments of the AS path, in order.
    pub fn as_numbers(&self) -> Vec<u32> {
        let mut path = self.get(AS_PATH).unwrap_or_default();
        let mut numbers = Vec::new();
        while let [_, count, rest @ ..] = path {
            let (segment, rest) = rest.split_at(rest.len().min(usize::from(*count) * 4));
            numbers.extend(segment.chunks_exact(4).map(|n| u32::from_be_bytes([n[0], n[1], n[2], n[3]])));
            path = rest;
        }
        numbers
    }

    /// Puts an AS number in front of the AS path (RFC 4271 §5.1.2 b).
    pub fn prepend(&mut self, asn: u32) {
        let path = self.get(AS_PATH).unwrap_or_default();
        let mut longer = vec![AS_SEQUENCE];
        match path {
            [AS_SEQUENCE, count, rest @ ..] if *count < 255 => {
                longer.push(count + 1);
                longer.extend_from_slice(&asn.to_be_bytes());
                longer.extend_from_slice(rest);
            }
            _ => {
                longer.push(1);
                longer.extend_from_slice(&asn.to_be_bytes());
                longer.extend_from_slice(path);
            }
        }
        self.set(AS_PATH, 0x40, longer);
    }

    /// What an external speaker makes of them for an external neighbor that shares no link with the route's next
    /// hop (RFC 4271 §5.1, RFC 4456 §8).
    pub fn exported_externally(&self, asn: u32, next_hop: Ipv4Addr) -> Attributes {
        let mut attributes = self.clone();
        for code in [MED, LOCAL_PREF, ORIGINATOR_ID, CLUSTER_LIST] {
            attributes.remove(code);
        }
        attributes.prepend(asn);
        attributes.set(NEXT_HOP, 0x40, next_hop.octets().to_vec());
        attributes
    }

    /// What a reflector makes of them (RFC 4456 §8).
    pub fn reflected(&self, cluster_id: Ipv4Addr, source: Ipv4Addr) -> Attributes {
        let mut attributes = self.clone();
        if attributes.get(ORIGINATOR_ID).is_none() {
            attributes.set(ORIGINATOR_ID, 0x80, source.octets().to_vec());
        }
        let mut list = cluster_id.octets().to_vec();
        list.extend_from_slice(attributes.get(CLUSTER_LIST).unwrap_or_default());
        attributes.set(CLUSTER_LIST, 0x80, list);
        attributes
    }
}

/// A 64-bit hash that is never 0. Good enough to tell a few hundred thousand attribute sets apart, and quick.
pub fn fingerprint(bytes: &[u8]) -> u64 {
    const FACTOR: u128 = 0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835;
    let mut state = bytes.len() as u64 ^ 0x243F_6A88_85A3_08D3;
    let mut mix = |word: u64| {
        let product = u128::from(state ^ word).wrapping_mul(FACTOR);
        state = (product >> 64) as u64 ^ product as u64;
    };
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        mix(u64::from_le_bytes(chunk.try_into().expect("chunks of eight")));
    }
    let mut last = [0; 8];
    last[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
    mix(u64::from_le_bytes(last));
    mix(0x1319_8A2E_0370_7344);
    state.max(1)
}

/// The size of the items of an attribute whose value is a set.
fn item_size(code: u8) -> Option<usize> {
    match code {
        COMMUNITIES => Some(4),
        EXTENDED_COMMUNITIES => Some(8),
        LARGE_COMMUNITIES => Some(12),
        _ => None,
    }
}

/// Whether a value is no set of whole items, or one in ascending order without duplicates.
fn is_sorted_set(code: u8, value: &[u8]) -> bool {
    let Some(size) = item_size(code).filter(|size| value.len().is_multiple_of(*size)) else { return true };
    value.chunks_exact(size).zip(value.chunks_exact(size).skip(1)).all(|(a, b)| a < b)
}

/// Packs routes with the same attributes into as few UPDATEs as they need.
pub fn encode_updates(attributes: &Attributes, routes: &[Key], out: &mut Vec<u8>) -> usize {
    let mut encoded = Vec::new();
    attributes.encode(&mut encoded);
    let mut count = 0;
    let mut routes = routes.iter().peekable();
    while routes.peek().is_some() {
        let mut body = vec![0, 0];
        body.extend_from_slice(&(encoded.len() as u16).to_be_bytes());
        body.extend_from_slice(&encoded);
        while let Some(route) = routes.next_if(|_| HEADER_LENGTH + body.len() + 5 <= LENGTH_MAX) {
            put_prefix(*route, &mut body);
        }
        out.extend_from_slice(&message(UPDATE, &body));
        count += 1;
    }
    count
}

/// Packs withdrawals into as few UPDATEs as they need.
pub fn encode_withdrawals(routes: &[Key], out: &mut Vec<u8>) {
    let mut routes = routes.iter().peekable();
    while routes.peek().is_some() {
        let mut part = Vec::new();
        while let Some(route) = routes.next_if(|_| HEADER_LENGTH + 4 + part.len() + 5 <= LENGTH_MAX) {
            put_prefix(*route, &mut part);
        }
        let mut body = (part.len() as u16).to_be_bytes().to_vec();
        body.extend_from_slice(&part);
        body.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&message(UPDATE, &body));
    }
}

/// The IPv4 End-of-RIB (RFC 4724 §2).
pub fn end_of_rib() -> Vec<u8> {
    message(UPDATE, &[0, 0, 0, 0])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(numbers: &[u32]) -> Vec<u8> {
        let mut value = vec![AS_SEQUENCE, numbers.len() as u8];
        value.extend(numbers.iter().flat_map(|asn| asn.to_be_bytes()));
        value
    }

    fn attributes() -> Attributes {
        let mut attributes = Attributes::default();
        attributes.set(ORIGIN, 0x40, vec![0]);
        attributes.set(AS_PATH, 0x40, path(&[65001, 4_200_000_000]));
        attributes.set(NEXT_HOP, 0x40, vec![192, 0, 2, 1]);
        attributes.set(COMMUNITIES, 0xC0, (0..100u32).flat_map(u32::to_be_bytes).collect());
        attributes
    }

    #[test]
    fn updates_decode_to_what_was_encoded() {
        let routes: Vec<Key> = (0..3000u32).map(|n| key(Ipv4Addr::from(n << 8), 24)).collect();
        let mut bytes = Vec::new();
        let count = encode_updates(&attributes(), &routes, &mut bytes);
        let mut decoded = Vec::new();
        let mut updates = 0;
        let mut rest = bytes.as_slice();
        while let Some(length) = length(rest).unwrap() {
            let update = Update::parse(&rest[HEADER_LENGTH..length]).unwrap();
            assert_eq!(Attributes::parse(update.attributes).unwrap(), attributes());
            for_each_prefix(update.announced, |route| decoded.push(route)).unwrap();
            rest = &rest[length..];
            updates += 1;
        }
        assert!(rest.is_empty());
        assert_eq!((updates, decoded), (count, routes));
    }

    #[test]
    fn the_order_of_attributes_and_communities_and_the_width_of_lengths_do_not_count() {
        let plain_bytes = [0x40, 1, 1, 0, 0xC0, 8, 8, 0, 1, 0, 1, 0, 1, 0, 2];
        let other = [0xD0, 8, 0, 12, 0, 1, 0, 2, 0, 1, 0, 1, 0, 1, 0, 1, 0x40, 1, 1, 0];
        let plain = Attributes::parse(&plain_bytes).unwrap();
        assert_eq!(plain, Attributes::parse(&other).unwrap());
        for bytes in [&plain_bytes[..], &other] {
            assert_eq!(Attributes::fingerprint_of(bytes, &mut Vec::new()), Ok(plain.fingerprint()));
        }
    }

    #[test]
    fn reflection_and_external_export_change_what_the_rfcs_say() {
        let mut learned = attributes();
        learned.set(MED, 0x80, vec![0, 0, 0, 5]);
        learned.set(LOCAL_PREF, 0x40, vec![0, 0, 0, 100]);
        let reflected = learned.reflected(Ipv4Addr::new(1, 1, 1, 1), Ipv4Addr::new(2, 2, 2, 2));
        assert_eq!(reflected.get(CLUSTER_LIST), Some(&[1, 1, 1, 1][..]));
        assert_eq!(reflected.get(ORIGINATOR_ID), Some(&[2, 2, 2, 2][..]));
        let again = reflected.reflected(Ipv4Addr::new(3, 3, 3, 3), Ipv4Addr::new(4, 4, 4, 4));
        assert_eq!(again.get(CLUSTER_LIST), Some(&[3, 3, 3, 3, 1, 1, 1, 1][..]));
        assert_eq!(again.get(ORIGINATOR_ID), Some(&[2, 2, 2, 2][..]));
        let external = again.exported_externally(65000, Ipv4Addr::new(10, 0, 0, 1));
        let mut expected = attributes();
        expected.set(AS_PATH, 0x40, path(&[65000, 65001, 4_200_000_000]));
        expected.set(NEXT_HOP, 0x40, vec![10, 0, 0, 1]);
        assert_eq!(external, expected);
    }
}
