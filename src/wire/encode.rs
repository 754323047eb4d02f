//! Writing UPDATEs: from canonical blocks, next hops and prefixes to messages.
//!
//! Attributes are encoded once, into an [`AttributeSection`], and used for as many messages as the
//! prefixes need. IPv4 with an IPv4 next hop uses NEXT_HOP and the message's own NLRI; all else uses
//! MP_REACH_NLRI, which stands first among the attributes (RFC 7606 §5.1).

use std::net::{IpAddr, Ipv6Addr};

use super::attrs::{AsPath, Attribute, PathAttributes, SegmentKind, code, flag, put, put_header};
use super::frame::{self, HEADER_LEN, MESSAGE_LEN_MAX, MessageKind};
use super::nlri::EncodeNlri;
use super::{AS_TRANS, read_u32};
use crate::types::{Family, NextHop};

/// What was negotiated for the sessions that a message is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EncodeContext {
    /// AS numbers have four octets (RFC 6793).
    pub four_octet_as: bool,
    /// The longest message in octets: [`frame::MESSAGE_LEN_MAX`] or [`frame::EXTENDED_MESSAGE_LEN_MAX`].
    pub message_len_max: usize,
}

impl Default for EncodeContext {
    fn default() -> EncodeContext {
        EncodeContext { four_octet_as: true, message_len_max: MESSAGE_LEN_MAX }
    }
}

/// The attributes leave no room for a single prefix in a message of the allowed length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

/// Header, withdrawn routes length, total path attribute length.
const EMPTY_UPDATE_LEN: usize = HEADER_LEN + 4;
/// Extended-length header of an attribute, always used for those that hold NLRI: their length is not
/// known until they are full.
const MP_HEADER_LEN: usize = 4;

/// How the NLRI stand in the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// In the message's own field.
    Plain,
    /// In MP_REACH_NLRI. Holds what stands before the NLRI there: family, next hop, reserved octet.
    Multiprotocol { head: [u8; 37], head_len: u8 },
}

/// The path attributes of UPDATEs, ready to be used in several messages. Keep one and fill it anew.
#[derive(Clone, Debug)]
pub struct AttributeSection {
    family: Family,
    form: Form,
    octets: Vec<u8>,
}

impl Default for AttributeSection {
    fn default() -> AttributeSection {
        AttributeSection::new()
    }
}

impl AttributeSection {
    /// A section with nothing in it.
    pub const fn new() -> AttributeSection {
        AttributeSection { family: Family::Ipv4Unicast, form: Form::Plain, octets: Vec::new() }
    }

    /// Fills the section with the attributes of `block` and with `next_hop`, for announcing routes of
    /// `family`. An IPv4 next hop for IPv6 routes becomes an IPv4-mapped address.
    pub fn fill(&mut self, context: &EncodeContext, family: Family, block: &[u8], next_hop: NextHop) {
        self.family = family;
        self.form = form(family, next_hop);
        self.octets.clear();
        let plain_next_hop = match (self.form, next_hop.addr) {
            (Form::Plain, IpAddr::V4(addr)) => Some(addr.octets()),
            _ => None,
        };
        if !context.four_octet_as {
            put_narrow(&mut self.octets, block, plain_next_hop);
            return;
        }
        let Some(next_hop) = plain_next_hop else {
            self.octets.extend_from_slice(block);
            return;
        };
        // NEXT_HOP has its place behind ORIGIN and AS_PATH.
        let mut rest = PathAttributes::new(block).iter();
        let mut at = 0;
        while rest.next().is_some_and(|attribute| attribute.code < code::NEXT_HOP) {
            at = block.len() - rest.rest().len();
        }
        self.octets.extend_from_slice(&block[..at]);
        put(&mut self.octets, flag::WELL_KNOWN, code::NEXT_HOP, &next_hop);
        self.octets.extend_from_slice(&block[at..]);
    }

    /// The length of an UPDATE with these attributes and no prefix.
    fn bare_len(&self) -> usize {
        EMPTY_UPDATE_LEN
            + self.octets.len()
            + match self.form {
                Form::Plain => 0,
                Form::Multiprotocol { head_len, .. } => MP_HEADER_LEN + usize::from(head_len),
            }
    }
}

/// How routes of `family` with this next hop are announced.
fn form(family: Family, next_hop: NextHop) -> Form {
    let (global, link_local) = match (family, next_hop.addr) {
        (Family::Ipv4Unicast, IpAddr::V4(_)) => return Form::Plain,
        (Family::Ipv6Unicast, IpAddr::V4(addr)) => (addr.to_ipv6_mapped(), None),
        (_, IpAddr::V6(addr)) => (addr, next_hop.link_local),
    };
    let mut head = [0; 37];
    head[..2].copy_from_slice(&family.afi().to_be_bytes());
    head[2] = family.safi();
    head[4..20].copy_from_slice(&global.octets());
    head[3] = 16;
    if let Some(link_local) = link_local.filter(Ipv6Addr::is_unicast_link_local) {
        head[20..36].copy_from_slice(&link_local.octets());
        head[3] = 32;
    }
    Form::Multiprotocol { head, head_len: 4 + head[3] + 1 }
}

/// Appends one UPDATE that announces as many of `prefixes` as fit; gives back how many those are, at
/// least one unless `prefixes` is empty, when nothing is appended. The prefixes are of the family that
/// `section` was filled for.
///
/// # Errors
///
/// [`TooLong`] if there is no room for one prefix; nothing has been appended.
pub fn encode_announce<N: EncodeNlri>(
    context: &EncodeContext,
    section: &AttributeSection,
    prefixes: &[N],
    out: &mut Vec<u8>,
) -> Result<usize, TooLong> {
    debug_assert_eq!(section.family, N::FAMILY);
    let Some(first) = prefixes.first() else {
        return Ok(0);
    };
    let bare_len = section.bare_len();
    if bare_len + nlri_len(*first) > context.message_len_max {
        return Err(TooLong);
    }
    let room = context.message_len_max - bare_len;
    let start = frame::begin(out, MessageKind::Update);
    out.extend_from_slice(&[0, 0, 0, 0]);
    let attributes_start = out.len();
    let count = match section.form {
        Form::Plain => {
            out.extend_from_slice(&section.octets);
            set_u16(out, start + HEADER_LEN + 2, section.octets.len());
            put_nlri(out, prefixes, room)
        }
        Form::Multiprotocol { ref head, head_len } => {
            out.extend_from_slice(&[flag::NON_TRANSITIVE | flag::EXTENDED_LENGTH, code::MP_REACH_NLRI, 0, 0]);
            out.extend_from_slice(&head[..usize::from(head_len)]);
            let count = put_nlri(out, prefixes, room);
            let len = out.len() - attributes_start - MP_HEADER_LEN;
            set_u16(out, attributes_start + 2, len);
            out.extend_from_slice(&section.octets);
            let len = out.len() - attributes_start;
            set_u16(out, start + HEADER_LEN + 2, len);
            count
        }
    };
    frame::finish(out, start);
    Ok(count)
}

/// Appends one UPDATE that withdraws as many of `prefixes` as fit; gives back how many those are, at
/// least one unless `prefixes` is empty, when nothing is appended.
pub fn encode_withdraw<N: EncodeNlri>(context: &EncodeContext, prefixes: &[N], out: &mut Vec<u8>) -> usize {
    if prefixes.is_empty() {
        return 0;
    }
    let start = frame::begin(out, MessageKind::Update);
    out.extend_from_slice(&[0, 0]);
    let count = match N::FAMILY {
        Family::Ipv4Unicast => {
            let count = put_nlri(out, prefixes, context.message_len_max - EMPTY_UPDATE_LEN);
            let len = out.len() - start - HEADER_LEN - 2;
            set_u16(out, start + HEADER_LEN, len);
            out.extend_from_slice(&[0, 0]);
            count
        }
        Family::Ipv6Unicast => {
            out.extend_from_slice(&[0, 0]);
            put_unreach_head(out, N::FAMILY);
            let room = context.message_len_max - (out.len() - start);
            let count = put_nlri(out, prefixes, room);
            let len = out.len() - start - EMPTY_UPDATE_LEN;
            set_u16(out, start + HEADER_LEN + 2, len);
            set_u16(out, start + EMPTY_UPDATE_LEN + 2, len - MP_HEADER_LEN);
            count
        }
    };
    frame::finish(out, start);
    count
}

/// Appends the End-of-RIB of `family` (RFC 4724 §2): an empty UPDATE for IPv4 unicast, an empty
/// MP_UNREACH_NLRI for all else.
pub fn encode_end_of_rib(family: Family, out: &mut Vec<u8>) {
    let start = frame::begin(out, MessageKind::Update);
    out.extend_from_slice(&[0, 0, 0, 0]);
    if family != Family::Ipv4Unicast {
        put_unreach_head(out, family);
        set_u16(out, start + HEADER_LEN + 2, MP_HEADER_LEN + 3);
        set_u16(out, start + EMPTY_UPDATE_LEN + 2, 3);
    }
    frame::finish(out, start);
}

/// Appends MP_UNREACH_NLRI up to the NLRI, its length still 0.
fn put_unreach_head(out: &mut Vec<u8>, family: Family) {
    let [high, low] = family.afi().to_be_bytes();
    out.extend_from_slice(&[
        flag::NON_TRANSITIVE | flag::EXTENDED_LENGTH,
        code::MP_UNREACH_NLRI,
        0,
        0,
        high,
        low,
        family.safi(),
    ]);
}

/// Writes a length that is known to fit: a message has at most 65,535 octets.
fn set_u16(out: &mut [u8], at: usize, len: usize) {
    out[at..at + 2].copy_from_slice(&(len as u16).to_be_bytes());
}

/// The octets that one prefix takes.
fn nlri_len<N: EncodeNlri>(prefix: N) -> usize {
    // The longest of all: 4 for a path identifier, 1 for the length, 16 for an IPv6 address.
    prefix.put(&mut [0; 21])
}

/// Appends prefixes while they fit into `room` octets; gives back how many did.
fn put_nlri<N: EncodeNlri>(out: &mut Vec<u8>, prefixes: &[N], room: usize) -> usize {
    let start = out.len();
    // Room to write any prefix in full at the end, and no more than the prefixes can need.
    let most = room.min(prefixes.len() * N::LEN_MAX);
    out.resize(start + most + N::LEN_MAX, 0);
    let buf = &mut out[start..];
    let mut at = 0;
    let mut count = 0;
    for prefix in prefixes {
        let len = prefix.put(&mut buf[at..]);
        if at + len > room {
            break;
        }
        at += len;
        count += 1;
    }
    out.truncate(start + at);
    count
}

/// Appends the attributes of `block` for a speaker with two-octet AS numbers (RFC 6793 §4.2.2).
fn put_narrow(out: &mut Vec<u8>, block: &[u8], next_hop: Option<[u8; 4]>) {
    let attributes = PathAttributes::new(block);
    let as4_path = attributes.get(code::AS_PATH).filter(|path| !fits_two_octets(AsPath::new(path.value)));
    let as4_aggregator = attributes
        .get(code::AGGREGATOR)
        .filter(|aggregator| aggregator.value.len() == 8 && aggregator.value[..2] != [0, 0]);
    let mut next_hop = next_hop.map(|octets| (code::NEXT_HOP, octets));
    let mut as4 = [(code::AS4_PATH, as4_path), (code::AS4_AGGREGATOR, as4_aggregator)];
    let mut put_before = |out: &mut Vec<u8>, limit: u16| {
        if let Some((code, octets)) = next_hop.take_if(|(code, _)| u16::from(*code) < limit) {
            put(out, flag::WELL_KNOWN, code, &octets);
        }
        for (code, source) in &mut as4 {
            if let Some(source) = source.take_if(|_| u16::from(*code) < limit) {
                put_as4(out, *code, &source);
            }
        }
    };
    for attribute in attributes.iter() {
        put_before(out, u16::from(attribute.code));
        match attribute.code {
            code::AS_PATH => put_narrow_path(out, &attribute),
            code::AGGREGATOR if attribute.value.len() == 8 => {
                let mut value = [0; 6];
                value[..2].copy_from_slice(&narrow(read_u32(attribute.value)).to_be_bytes());
                value[2..].copy_from_slice(&attribute.value[4..]);
                put(out, attribute.flags, attribute.code, &value);
            }
            _ => put(out, attribute.flags, attribute.code, attribute.value),
        }
    }
    put_before(out, u16::MAX);
}

/// What stands for an AS number in two octets.
fn narrow(asn: u32) -> u16 {
    u16::try_from(asn).unwrap_or(AS_TRANS)
}

/// Whether AS4_PATH would say nothing that AS_PATH does not. Confederation segments are not in AS4_PATH.
fn fits_two_octets(path: AsPath<'_>) -> bool {
    path.segments()
        .filter(|segment| !segment.kind.is_confederation())
        .all(|segment| segment.asns().all(|asn| asn <= u32::from(u16::MAX)))
}

fn put_narrow_path(out: &mut Vec<u8>, attribute: &Attribute<'_>) {
    let path = AsPath::new(attribute.value);
    let len = path.segments().map(|segment| 2 + 2 * segment.count()).sum();
    put_header(out, attribute.flags, attribute.code, len);
    for segment in path.segments() {
        out.extend_from_slice(&[segment.kind as u8, segment.count() as u8]);
        segment.asns().for_each(|asn| out.extend_from_slice(&narrow(asn).to_be_bytes()));
    }
}

/// Appends AS4_PATH or AS4_AGGREGATOR from the attribute that it completes.
fn put_as4(out: &mut Vec<u8>, code: u8, source: &Attribute<'_>) {
    if code == code::AS4_AGGREGATOR {
        put(out, flag::OPTIONAL_TRANSITIVE, code, source.value);
        return;
    }
    let segments = || AsPath::new(source.value).segments().filter(|segment| !segment.kind.is_confederation());
    let len = segments().map(|segment| 2 + 4 * segment.count()).sum();
    put_header(out, flag::OPTIONAL_TRANSITIVE, code, len);
    for segment in segments() {
        let kind: SegmentKind = segment.kind;
        out.extend_from_slice(&[kind as u8, segment.count() as u8]);
        segment.asns().for_each(|asn| out.extend_from_slice(&asn.to_be_bytes()));
    }
}
