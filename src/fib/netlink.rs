//! The rtnetlink messages that kulan uses, as bytes (linux/rtnetlink.h, linux/nexthop.h; netlink(7)).
//!
//! Reading gives views into the received buffer; writing appends to a `Vec<u8>`, and a route costs one
//! copy of at most 72 bytes. Numbers are in the machine's byte order, addresses in the network's. A
//! message that is shorter than it says ends the iteration: the kernel does not send such, and nothing
//! here panics if it did.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smallvec::SmallVec;

use crate::types::{Family, Prefix, Prefix4, Prefix6};

/// An error or an acknowledgement.
pub const NLMSG_ERROR: u16 = 2;
/// The end of a dump.
pub const NLMSG_DONE: u16 = 3;
/// A link appeared or changed.
pub const RTM_NEWLINK: u16 = 16;
/// A link is gone.
pub const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
/// An address appeared or changed.
pub const RTM_NEWADDR: u16 = 20;
/// An address is gone.
pub const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;
/// A route appeared or changed.
pub const RTM_NEWROUTE: u16 = 24;
/// A route is gone.
pub const RTM_DELROUTE: u16 = 25;
const RTM_GETROUTE: u16 = 26;
/// A next-hop object appeared or changed.
pub const RTM_NEWNEXTHOP: u16 = 104;
/// A next-hop object is gone.
pub const RTM_DELNEXTHOP: u16 = 105;
const RTM_GETNEXTHOP: u16 = 106;

const NLM_F_REQUEST: u16 = 0x1;
/// Asks for an acknowledgement.
pub const NLM_F_ACK: u16 = 0x4;
/// Part of a dump during which the table changed.
pub const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_DUMP: u16 = 0x300;
/// Replaces what has the same key.
pub const NLM_F_REPLACE: u16 = 0x100;
/// Fails if there is something with the same key.
pub const NLM_F_EXCL: u16 = 0x200;
/// Creates what is not there.
pub const NLM_F_CREATE: u16 = 0x400;
const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;
const RTA_VIA: u16 = 18;
const RTA_ENCAP: u16 = 22;
const RTA_NH_ID: u16 = 30;

const NHA_ID: u16 = 1;
const NHA_GROUP: u16 = 2;
const NHA_OIF: u16 = 5;
const NHA_GATEWAY: u16 = 6;
const NHA_ENCAP_TYPE: u16 = 7;

const IFLA_IFNAME: u16 = 3;
const IFLA_EXT_MASK: u16 = 29;
const RTEXT_FILTER_SKIP_STATS: u32 = 1 << 3;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;

const IFF_UP: u32 = 0x1;
const IFF_LOWER_UP: u32 = 0x10000;

/// A leg's interface or gateway does not work.
pub const RTNH_F_DEAD: u32 = 0x1;
/// The gateway is on the link, whatever the tables say.
pub const RTNH_F_ONLINK: u32 = 0x4;
const RTM_F_CLONED: u32 = 0x200;

/// An ordinary route.
pub const RTN_UNICAST: u8 = 1;
const RT_TABLE_COMPAT: u8 = 252;

const HEADER_BYTES: usize = 16;

const AF_INET: u8 = libc::AF_INET as u8;
const AF_INET6: u8 = libc::AF_INET6 as u8;

const fn align(length: usize) -> usize {
    (length + 3) & !3
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2).map(|field| u16::from_ne_bytes([field[0], field[1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4).map(|field| u32::from_ne_bytes([field[0], field[1], field[2], field[3]]))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::V4(Ipv4Addr::from(octets)));
    }
    <[u8; 16]>::try_from(bytes).ok().map(|octets| IpAddr::V6(Ipv6Addr::from(octets)))
}

/// One message of a received buffer.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// What it is: one of the `NLMSG_` and `RTM_` constants.
    pub kind: u16,
    /// The `NLM_F_` bits.
    pub flags: u16,
    /// In a reply, the number of the request.
    pub seq: u32,
    /// Who caused it: the port of the requesting socket, 0 for the kernel itself.
    pub port: u32,
    /// What follows the header.
    pub payload: &'a [u8],
}

/// The messages of a received buffer.
#[derive(Clone, Debug)]
pub struct Messages<'a>(&'a [u8]);

impl<'a> Messages<'a> {
    /// The messages in what one receive gave.
    pub fn new(bytes: &'a [u8]) -> Messages<'a> {
        Messages(bytes)
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let length = u32_at(self.0, 0)? as usize;
        let payload = self.0.get(HEADER_BYTES..length)?;
        let message = Message {
            kind: u16_at(self.0, 4)?,
            flags: u16_at(self.0, 6)?,
            seq: u32_at(self.0, 8)?,
            port: u32_at(self.0, 12)?,
            payload,
        };
        self.0 = self.0.get(align(length)..).unwrap_or(&[]);
        Some(message)
    }
}

/// The attributes behind a message's fixed part: (type, value).
#[derive(Clone, Debug)]
struct Attributes<'a>(&'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<(u16, &'a [u8])> {
        let length = usize::from(u16_at(self.0, 0)?);
        // The two top bits say "nested" and "network byte order", and are no part of the type.
        let kind = u16_at(self.0, 2)? & 0x3fff;
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(align(length)..).unwrap_or(&[]);
        Some((kind, value))
    }
}

/// The outcome of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome<'a> {
    /// The positive errno; 0 is success.
    pub errno: i32,
    /// The kernel's own words (extended acknowledgement).
    pub text: Option<&'a str>,
}

impl<'a> Message<'a> {
    /// Reads an `NLMSG_ERROR`.
    pub fn outcome(&self) -> Option<Outcome<'a>> {
        const NLMSGERR_ATTR_MSG: u16 = 1;
        let errno = (u32_at(self.payload, 0)? as i32).saturating_neg();
        let mut text = None;
        if self.flags & NLM_F_ACK_TLVS != 0 {
            // The request's header follows, and its body too unless the socket asked for it to be left out.
            let body = match self.flags & NLM_F_CAPPED {
                0 => u32_at(self.payload, 4)? as usize,
                _ => HEADER_BYTES,
            };
            let attributes = Attributes(self.payload.get(4 + align(body)..)?);
            text = { attributes }
                .find(|(kind, _)| *kind == NLMSGERR_ATTR_MSG)
                .and_then(|(_, value)| std::str::from_utf8(value).ok())
                .map(|text| text.trim_end_matches('\0'));
        }
        Some(Outcome { errno, text })
    }

    /// Reads the errno of an `NLMSG_DONE`: 0 if the dump went well.
    pub fn dump_errno(&self) -> i32 {
        u32_at(self.payload, 0).map_or(0, |errno| (errno as i32).saturating_neg())
    }
}

/// Where packets go: a gateway, or the destination itself on the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Via {
    /// The gateway; without one the destination is on the link.
    pub gateway: Option<IpAddr>,
    /// The interface.
    pub ifindex: u32,
    /// Whether the gateway is taken to be on the link whatever the tables say.
    pub onlink: bool,
}

/// One path of a route in the kernel.
pub type Vias = SmallVec<[Via; 1]>;

/// A route as the kernel tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteView {
    /// Where to.
    pub prefix: Prefix,
    /// In which table.
    pub table: u32,
    /// Who installed it (`RTPROT_`).
    pub protocol: u8,
    /// What kind of route it is (`RTN_`).
    pub kind: u8,
    /// The metric; a lower one is preferred.
    pub metric: u32,
    /// The next-hop object, 0 if it has none.
    pub next_hop_id: u32,
    /// The source address that it sets.
    pub source: Option<IpAddr>,
    /// Its paths; dead ones and ones with an encapsulation are left out.
    pub vias: Vias,
}

impl RouteView {
    /// Reads an `RTM_NEWROUTE` or `RTM_DELROUTE`; `None` for what is no plain unicast routing entry: other
    /// families, cached clones, routes by source prefix or type of service.
    pub fn read(payload: &[u8]) -> Option<RouteView> {
        let &[family, length, source_length, tos, table, protocol, _scope, kind, ..] = payload else {
            return None;
        };
        let flags = u32_at(payload, 8)?;
        if source_length != 0 || tos != 0 || flags & RTM_F_CLONED != 0 {
            return None;
        }
        let mut prefix = match family {
            AF_INET if length <= 32 => Prefix::V4(Prefix4::new(0, length)),
            AF_INET6 if length <= 128 => Prefix::V6(Prefix6::new(0, length)),
            _ => return None,
        };
        let (mut table, mut metric, mut next_hop_id, mut source) = (u32::from(table), 0, 0, None);
        let mut via = Via { gateway: None, ifindex: 0, onlink: flags & RTNH_F_ONLINK != 0 };
        let (mut vias, mut encapsulated) = (Vias::new(), false);
        for (kind, value) in Attributes(payload.get(12..)?) {
            match kind {
                RTA_DST => {
                    let found = address(value).and_then(|addr| Prefix::of(addr, length))?;
                    if found.family() != prefix.family() {
                        return None;
                    }
                    prefix = found;
                }
                RTA_OIF => via.ifindex = u32_at(value, 0)?,
                RTA_GATEWAY => via.gateway = address(value),
                RTA_VIA => via.gateway = value.get(2..).and_then(address),
                RTA_PRIORITY => metric = u32_at(value, 0)?,
                RTA_PREFSRC => source = address(value),
                RTA_TABLE => table = u32_at(value, 0)?,
                RTA_NH_ID => next_hop_id = u32_at(value, 0)?,
                RTA_MULTIPATH => read_multipath(value, &mut vias)?,
                RTA_ENCAP => encapsulated = true,
                _ => {}
            }
        }
        if via.ifindex != 0 && !encapsulated && flags & RTNH_F_DEAD == 0 {
            vias.push(via);
        }
        Some(RouteView { prefix, table, protocol, kind, metric, next_hop_id, source, vias })
    }
}

fn read_multipath(mut bytes: &[u8], vias: &mut Vias) -> Option<()> {
    while !bytes.is_empty() {
        let length = usize::from(u16_at(bytes, 0)?);
        let flags = u32::from(*bytes.get(2)?);
        let mut via = Via { gateway: None, ifindex: u32_at(bytes, 4)?, onlink: flags & RTNH_F_ONLINK != 0 };
        let mut usable = flags & RTNH_F_DEAD == 0;
        for (kind, value) in Attributes(bytes.get(8..length)?) {
            match kind {
                RTA_GATEWAY => via.gateway = address(value),
                RTA_VIA => via.gateway = value.get(2..).and_then(address),
                RTA_ENCAP => usable = false,
                _ => {}
            }
        }
        if usable {
            vias.push(via);
        }
        bytes = bytes.get(align(length)..).unwrap_or(&[]);
    }
    Some(())
}

/// A link as the kernel tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkView<'a> {
    /// The interface index.
    pub ifindex: u32,
    /// The interface's name.
    pub name: &'a str,
    /// Administratively up.
    pub up: bool,
    /// Has a carrier.
    pub carrier: bool,
}

impl<'a> LinkView<'a> {
    /// Reads an `RTM_NEWLINK` or `RTM_DELLINK`; `None` for a bridge port's own messages.
    pub fn read(payload: &'a [u8]) -> Option<LinkView<'a>> {
        if *payload.first()? != libc::AF_UNSPEC as u8 {
            return None;
        }
        let flags = u32_at(payload, 8)?;
        let name = Attributes(payload.get(16..)?)
            .find(|(kind, _)| *kind == IFLA_IFNAME)
            .and_then(|(_, value)| std::str::from_utf8(value).ok())?;
        Some(LinkView {
            ifindex: u32_at(payload, 4)?,
            name: name.trim_end_matches('\0'),
            up: flags & IFF_UP != 0,
            carrier: flags & IFF_LOWER_UP != 0,
        })
    }
}

/// An interface's address as the kernel tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressView {
    /// The interface that has it.
    pub ifindex: u32,
    /// The address itself.
    pub addr: IpAddr,
    /// The length of its prefix.
    pub length: u8,
}

impl AddressView {
    /// Reads an `RTM_NEWADDR` or `RTM_DELADDR`.
    pub fn read(payload: &[u8]) -> Option<AddressView> {
        let (length, ifindex) = (*payload.get(1)?, u32_at(payload, 4)?);
        let (mut local, mut peer) = (None, None);
        for (kind, value) in Attributes(payload.get(8..)?) {
            match kind {
                IFA_LOCAL => local = address(value),
                IFA_ADDRESS => peer = address(value),
                _ => {}
            }
        }
        // On a point-to-point link IFA_ADDRESS is the other end, and IFA_LOCAL is ours.
        Some(AddressView { ifindex, addr: local.or(peer)?, length })
    }
}

/// The members of a next-hop group, by ascending id: (id, weight from 1 to 256).
pub type Members = SmallVec<[(u32, u16); 2]>;

/// What a next-hop object holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Object {
    /// One way.
    Single(Via),
    /// Several, chosen by flow.
    Group(Members),
    /// A blackhole, an encapsulation: nothing that kulan makes or resolves through.
    Other,
}

/// A next-hop object as the kernel tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectView {
    /// Its name.
    pub id: u32,
    /// Who made it (`RTPROT_`).
    pub protocol: u8,
    /// What it holds.
    pub object: Object,
}

impl ObjectView {
    /// Reads an `RTM_NEWNEXTHOP` or `RTM_DELNEXTHOP`.
    pub fn read(payload: &[u8]) -> Option<ObjectView> {
        let protocol = *payload.get(2)?;
        let flags = u32_at(payload, 4)?;
        let mut id = 0;
        let mut via = Via { gateway: None, ifindex: 0, onlink: flags & RTNH_F_ONLINK != 0 };
        let (mut members, mut encapsulated) = (Members::new(), false);
        for (kind, value) in Attributes(payload.get(8..)?) {
            match kind {
                NHA_ID => id = u32_at(value, 0)?,
                NHA_OIF => via.ifindex = u32_at(value, 0)?,
                NHA_GATEWAY => via.gateway = address(value),
                NHA_ENCAP_TYPE => encapsulated = true,
                NHA_GROUP => {
                    for member in value.chunks_exact(8) {
                        members.push((u32_at(member, 0)?, u16::from(member[4]) + 1));
                    }
                }
                _ => {}
            }
        }
        members.sort_unstable();
        let object = match () {
            () if !members.is_empty() => Object::Group(members),
            () if via.ifindex != 0 && !encapsulated => Object::Single(via),
            () => Object::Other,
        };
        Some(ObjectView { id, protocol, object })
    }
}

pub(super) fn begin(out: &mut Vec<u8>, kind: u16, flags: u16, seq: u32, fixed: &[u8]) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(&(flags | NLM_F_REQUEST).to_ne_bytes());
    out.extend_from_slice(&seq.to_ne_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(fixed);
    start
}

pub(super) fn attribute(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    out.extend_from_slice(&(4 + value.len() as u16).to_ne_bytes());
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(value);
    out.resize(align(out.len()), 0);
}

pub(super) fn end(out: &mut [u8], start: usize) {
    let length = (out.len() - start) as u32;
    out[start..start + 4].copy_from_slice(&length.to_ne_bytes());
}

/// Adds `NLM_F_ACK` to the message that starts at `start`.
pub fn ask_for_ack(out: &mut [u8], start: usize) {
    if let Some(flags) = u16_at(out, start + 6) {
        out[start + 6..start + 8].copy_from_slice(&(flags | NLM_F_ACK).to_ne_bytes());
    }
}

/// Asks for all links.
pub fn dump_links(out: &mut Vec<u8>, seq: u32) {
    let start = begin(out, RTM_GETLINK, NLM_F_DUMP, seq, &[0; 16]);
    attribute(out, IFLA_EXT_MASK, &RTEXT_FILTER_SKIP_STATS.to_ne_bytes());
    end(out, start);
}

/// Asks for all addresses of all interfaces.
pub fn dump_addresses(out: &mut Vec<u8>, seq: u32) {
    let start = begin(out, RTM_GETADDR, NLM_F_DUMP, seq, &[0; 8]);
    end(out, start);
}

/// Asks for all next-hop objects.
pub fn dump_objects(out: &mut Vec<u8>, seq: u32) {
    let start = begin(out, RTM_GETNEXTHOP, NLM_F_DUMP, seq, &[0; 8]);
    end(out, start);
}

/// Asks for all routes of one family in one table (the socket must check strictly, or all tables come).
pub fn dump_routes(out: &mut Vec<u8>, seq: u32, family: Family, table: u32) {
    let mut fixed = [0; 12];
    fixed[0] = address_family(family);
    fixed[4] = short_table(table);
    let start = begin(out, RTM_GETROUTE, NLM_F_DUMP, seq, &fixed);
    attribute(out, RTA_TABLE, &table.to_ne_bytes());
    end(out, start);
}

/// Creates or replaces a next-hop object that leads one way. `flags`: `NLM_F_CREATE` and the like.
pub fn write_single(out: &mut Vec<u8>, seq: u32, flags: u16, protocol: u8, id: u32, via: Via) {
    let mut fixed = [0; 8];
    fixed[0] = match via.gateway {
        Some(IpAddr::V6(_)) => AF_INET6,
        _ => AF_INET,
    };
    fixed[2] = protocol;
    if via.onlink {
        fixed[4..].copy_from_slice(&RTNH_F_ONLINK.to_ne_bytes());
    }
    let start = begin(out, RTM_NEWNEXTHOP, flags, seq, &fixed);
    attribute(out, NHA_ID, &id.to_ne_bytes());
    attribute(out, NHA_OIF, &via.ifindex.to_ne_bytes());
    match via.gateway {
        Some(IpAddr::V4(gateway)) => attribute(out, NHA_GATEWAY, &gateway.octets()),
        Some(IpAddr::V6(gateway)) => attribute(out, NHA_GATEWAY, &gateway.octets()),
        None => {}
    }
    end(out, start);
}

/// Creates or replaces a group of next-hop objects.
pub fn write_group(out: &mut Vec<u8>, seq: u32, flags: u16, protocol: u8, id: u32, members: &[(u32, u16)]) {
    let start = begin(out, RTM_NEWNEXTHOP, flags, seq, &[0, 0, protocol, 0, 0, 0, 0, 0]);
    attribute(out, NHA_ID, &id.to_ne_bytes());
    let mut value = SmallVec::<[u8; 64]>::new();
    for (member, weight) in members {
        value.extend_from_slice(&member.to_ne_bytes());
        value.extend_from_slice(&[weight.saturating_sub(1).min(255) as u8, 0, 0, 0]);
    }
    attribute(out, NHA_GROUP, &value);
    end(out, start);
}

/// Removes a next-hop object, and with it what routes it has.
pub fn delete_object(out: &mut Vec<u8>, seq: u32, id: u32) {
    let start = begin(out, RTM_DELNEXTHOP, 0, seq, &[0; 8]);
    attribute(out, NHA_ID, &id.to_ne_bytes());
    end(out, start);
}

const fn address_family(family: Family) -> u8 {
    match family {
        Family::Ipv4Unicast => AF_INET,
        Family::Ipv6Unicast => AF_INET6,
    }
}

const fn short_table(table: u32) -> u8 {
    if table < 256 { table as u8 } else { RT_TABLE_COMPAT }
}

/// Writes the routes of one table, all with the same metric and protocol number.
#[derive(Clone, Copy, Debug)]
pub struct RouteWriter {
    /// The kernel's table.
    pub table: u32,
    /// The metric of every route.
    pub metric: u32,
    /// Who installs them.
    pub protocol: u8,
}

impl RouteWriter {
    /// A route to `prefix` by the next-hop object `id`. `flags`: `NLM_F_CREATE` and the like.
    pub fn write(&self, out: &mut Vec<u8>, seq: u32, flags: u16, prefix: Prefix, id: u32) {
        self.message(out, RTM_NEWROUTE, flags, seq, prefix, Some(id));
    }

    /// Removes the route to `prefix` with our metric and our protocol number, whatever next hop it has.
    pub fn delete(&self, out: &mut Vec<u8>, seq: u32, prefix: Prefix) {
        self.message(out, RTM_DELROUTE, 0, seq, prefix, None);
    }

    fn message(&self, out: &mut Vec<u8>, kind: u16, flags: u16, seq: u32, prefix: Prefix, id: Option<u32>) {
        // Every field is made of whole words and every length is a constant: some 20 stores.
        let [kind0, kind1] = kind.to_ne_bytes();
        let [flags0, flags1] = (flags | NLM_F_REQUEST).to_ne_bytes();
        let kind_and_flags = word([kind0, kind1, flags0, flags1]);
        let destination = word([address_family(prefix.family()), prefix.len(), 0, 0]);
        let origin = word([short_table(self.table), self.protocol, 0, RTN_UNICAST]);
        let (table, metric) = (attribute_word(RTA_TABLE, 4), attribute_word(RTA_PRIORITY, 4));
        let next_hop = attribute_word(RTA_NH_ID, 4);
        // Length, kind, number, port; family and prefix length, origin, flags; two attributes.
        #[rustfmt::skip]
        macro_rules! put {
            ($($word:expr),*) => {
                put(out, [
                    0, kind_and_flags, seq, 0, destination, origin, 0,
                    table, self.table, metric, self.metric, $($word),*
                ])
            };
        }
        match prefix {
            Prefix::V4(prefix) => {
                let (to, addr) = (attribute_word(RTA_DST, 4), prefix.addr.to_be());
                match id {
                    Some(id) => put!(to, addr, next_hop, id),
                    None => put!(to, addr),
                }
            }
            Prefix::V6(prefix) => {
                let to = attribute_word(RTA_DST, 16);
                let octets = prefix.addr.to_be_bytes();
                let part = |at: usize| word([octets[at], octets[at + 1], octets[at + 2], octets[at + 3]]);
                match id {
                    Some(id) => put!(to, part(0), part(4), part(8), part(12), next_hop, id),
                    None => put!(to, part(0), part(4), part(8), part(12)),
                }
            }
        }
    }
}

const fn word(bytes: [u8; 4]) -> u32 {
    u32::from_ne_bytes(bytes)
}

/// An attribute's header.
const fn attribute_word(kind: u16, value_bytes: u16) -> u32 {
    let ([length0, length1], [kind0, kind1]) = ((4 + value_bytes).to_ne_bytes(), kind.to_ne_bytes());
    word([length0, length1, kind0, kind1])
}

/// Appends a message of `WORDS` words, the first of which is its length.
fn put<const WORDS: usize>(out: &mut Vec<u8>, mut words: [u32; WORDS]) {
    words[0] = 4 * WORDS as u32;
    out.extend_from_slice(words.map(u32::to_ne_bytes).as_flattened());
}

#[cfg(test)]
mod tests;
