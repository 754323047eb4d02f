//! Network layer reachability information: prefixes on the wire (RFC 4271 §4.3, RFC 4760 §5), with path
//! identifiers where ADD-PATH was negotiated (RFC 7911 §3).
//!
//! [`Nlri`] is a field that has been checked; reading it cannot fail. [`decode_prefixes4`] and
//! [`decode_prefixes6`] are the way in for whole fields: they are in the path of every route of a table,
//! so they look at each octet once and do not branch on the prefix length.

use crate::types::{Family, Prefix, Prefix4, Prefix6};

/// A field of NLRI in a received message, checked: every prefix in it is whole and of a valid length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nlri<'a> {
    family: Family,
    path_ids: bool,
    bytes: &'a [u8],
}

impl<'a> Nlri<'a> {
    /// Checks a field as RFC 7606 §5.3 says: no prefix longer than the family allows, and the last one
    /// ends where the field does. `path_ids`: a path identifier stands before each prefix.
    ///
    /// # Errors
    ///
    /// [`InvalidNlri`] if not.
    pub fn new(family: Family, path_ids: bool, bytes: &'a [u8]) -> Result<Nlri<'a>, InvalidNlri> {
        let len_max = match family {
            Family::Ipv4Unicast => 32,
            Family::Ipv6Unicast => 128,
        };
        let id_len = if path_ids { 4 } else { 0 };
        let mut at = 0;
        while at < bytes.len() {
            at += id_len;
            let len = *bytes.get(at).ok_or(InvalidNlri)?;
            if len > len_max {
                return Err(InvalidNlri);
            }
            at += 1 + octets_of(len);
        }
        if at == bytes.len() { Ok(Nlri { family, path_ids, bytes }) } else { Err(InvalidNlri) }
    }

    /// A field without prefixes.
    pub(super) const fn empty(family: Family) -> Nlri<'a> {
        Nlri { family, path_ids: false, bytes: &[] }
    }

    /// The family of the prefixes.
    pub const fn family(&self) -> Family {
        self.family
    }

    /// Whether each prefix has a path identifier.
    pub const fn has_path_ids(&self) -> bool {
        self.path_ids
    }

    /// Whether there is no prefix.
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The octets of the field.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Appends the IPv4 prefixes; none if the family is IPv6. Path identifiers are left out.
    pub fn decode4(&self, out: &mut Vec<Prefix4>) {
        if self.family != Family::Ipv4Unicast {
            return;
        }
        if self.path_ids {
            out.extend(self.iter().filter_map(|nlri| match nlri.prefix {
                Prefix::V4(prefix) => Some(prefix),
                Prefix::V6(_) => None,
            }));
        } else {
            let checked = decode_prefixes4(self.bytes, out);
            debug_assert!(checked.is_ok(), "checked in Nlri::new");
        }
    }

    /// Appends the IPv6 prefixes; none if the family is IPv4. Path identifiers are left out.
    pub fn decode6(&self, out: &mut Vec<Prefix6>) {
        if self.family != Family::Ipv6Unicast {
            return;
        }
        if self.path_ids {
            out.extend(self.iter().filter_map(|nlri| match nlri.prefix {
                Prefix::V6(prefix) => Some(prefix),
                Prefix::V4(_) => None,
            }));
        } else {
            let checked = decode_prefixes6(self.bytes, out);
            debug_assert!(checked.is_ok(), "checked in Nlri::new");
        }
    }

    /// The prefixes with their path identifiers.
    pub fn iter(&self) -> NlriIter<'a> {
        NlriIter { family: self.family, path_ids: self.path_ids, rest: self.bytes }
    }
}

impl<'a> IntoIterator for Nlri<'a> {
    type Item = PathPrefix<Prefix>;
    type IntoIter = NlriIter<'a>;

    fn into_iter(self) -> NlriIter<'a> {
        self.iter()
    }
}

/// A field of NLRI that is syntactically incorrect (RFC 7606 §5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidNlri;

/// A prefix with its path identifier (RFC 7911 §3); 0 where none was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PathPrefix<P> {
    /// The path identifier.
    pub path_id: u32,
    /// The prefix.
    pub prefix: P,
}

/// The prefixes of a checked field.
#[derive(Clone, Debug)]
pub struct NlriIter<'a> {
    family: Family,
    path_ids: bool,
    rest: &'a [u8],
}

impl Iterator for NlriIter<'_> {
    type Item = PathPrefix<Prefix>;

    fn next(&mut self) -> Option<PathPrefix<Prefix>> {
        let mut path_id = 0;
        if self.path_ids {
            let (id, rest) = self.rest.split_first_chunk::<4>()?;
            path_id = u32::from_be_bytes(*id);
            self.rest = rest;
        }
        let (&len, rest) = self.rest.split_first()?;
        let (octets, rest) = rest.split_at_checked(octets_of(len))?;
        self.rest = rest;
        let prefix = match self.family {
            Family::Ipv4Unicast => Prefix::V4(Prefix4::new(u32::from_be_bytes(padded(octets)), len)),
            Family::Ipv6Unicast => Prefix::V6(Prefix6::new(u128::from_be_bytes(padded(octets)), len)),
        };
        Some(PathPrefix { path_id, prefix })
    }
}

/// How many octets hold `len` bits.
const fn octets_of(len: u8) -> usize {
    (len as usize + 7) >> 3
}

/// `octets` (at most `N`) with zeros behind.
fn padded<const N: usize>(octets: &[u8]) -> [u8; N] {
    let mut all = [0; N];
    all[..octets.len()].copy_from_slice(octets);
    all
}

/// Appends the IPv4 prefixes of a field without path identifiers; bits beyond a prefix's length are
/// cleared.
///
/// # Errors
///
/// [`InvalidNlri`] at the first prefix that is longer than 32 bits or than the field; those before it
/// have been appended.
pub fn decode_prefixes4(bytes: &[u8], out: &mut Vec<Prefix4>) -> Result<(), InvalidNlri> {
    // A table's prefixes take four octets most often; more only costs a second look at the capacity.
    out.reserve(bytes.len() / 4 + 1);
    let mut rest = bytes;
    // With five octets at hand, any prefix can be read as if it had four octets, and masked.
    while let Some((&[len, a, b, c, d], _)) = rest.split_first_chunk::<5>() {
        if len > 32 {
            return Err(InvalidNlri);
        }
        let mask = (u64::from(u32::MAX) << (32 - len)) as u32;
        out.push(Prefix4 { addr: u32::from_be_bytes([a, b, c, d]) & mask, len });
        rest = &rest[1 + octets_of(len)..];
    }
    while let Some((&len, tail)) = rest.split_first() {
        if len > 32 {
            return Err(InvalidNlri);
        }
        let (octets, tail) = tail.split_at_checked(octets_of(len)).ok_or(InvalidNlri)?;
        out.push(Prefix4::new(u32::from_be_bytes(padded(octets)), len));
        rest = tail;
    }
    Ok(())
}

/// Appends the IPv6 prefixes of a field without path identifiers; bits beyond a prefix's length are
/// cleared.
///
/// # Errors
///
/// [`InvalidNlri`] at the first prefix that is longer than 128 bits or than the field; those before it
/// have been appended.
pub fn decode_prefixes6(bytes: &[u8], out: &mut Vec<Prefix6>) -> Result<(), InvalidNlri> {
    out.reserve(bytes.len() / 6 + 1);
    let mut rest = bytes;
    while let Some((&[len, ref addr @ ..], _)) = rest.split_first_chunk::<17>() {
        if len > 128 {
            return Err(InvalidNlri);
        }
        out.push(Prefix6::new(u128::from_be_bytes(*addr), len));
        rest = &rest[1 + octets_of(len)..];
    }
    while let Some((&len, tail)) = rest.split_first() {
        if len > 128 {
            return Err(InvalidNlri);
        }
        let (octets, tail) = tail.split_at_checked(octets_of(len)).ok_or(InvalidNlri)?;
        out.push(Prefix6::new(u128::from_be_bytes(padded(octets)), len));
        rest = tail;
    }
    Ok(())
}

/// Something that stands in an NLRI field: [`Prefix4`], [`Prefix6`], or either with a path identifier
/// as [`PathPrefix`] toward peers with which ADD-PATH was negotiated.
pub trait EncodeNlri: Copy {
    /// The family of the field.
    const FAMILY: Family;
    /// The longest encoding in octets.
    const LEN_MAX: usize;

    /// Writes itself at the start of `buf`, which has at least [`EncodeNlri::LEN_MAX`] octets; gives back
    /// how many it took.
    fn put(self, buf: &mut [u8]) -> usize;
}

impl EncodeNlri for Prefix4 {
    const FAMILY: Family = Family::Ipv4Unicast;
    const LEN_MAX: usize = 5;

    #[inline]
    fn put(self, buf: &mut [u8]) -> usize {
        let [a, b, c, d] = self.addr.to_be_bytes();
        buf[..5].copy_from_slice(&[self.len, a, b, c, d]);
        1 + octets_of(self.len)
    }
}

impl EncodeNlri for Prefix6 {
    const FAMILY: Family = Family::Ipv6Unicast;
    const LEN_MAX: usize = 17;

    #[inline]
    fn put(self, buf: &mut [u8]) -> usize {
        buf[0] = self.len;
        buf[1..17].copy_from_slice(&self.addr.to_be_bytes());
        1 + octets_of(self.len)
    }
}

impl<P: EncodeNlri> EncodeNlri for PathPrefix<P> {
    const FAMILY: Family = P::FAMILY;
    const LEN_MAX: usize = 4 + P::LEN_MAX;

    #[inline]
    fn put(self, buf: &mut [u8]) -> usize {
        buf[..4].copy_from_slice(&self.path_id.to_be_bytes());
        4 + self.prefix.put(&mut buf[4..])
    }
}
