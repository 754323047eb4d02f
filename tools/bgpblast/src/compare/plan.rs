//! What a scenario wants the speaker under test to be, in no daemon's own language.

use std::net::{IpAddr, Ipv4Addr};

use kulan::types::{FamilySet, Prefix};

/// The speaker under test.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its AS number.
    pub asn: u32,
    /// Its BGP identifier, and its cluster identifier when it reflects.
    pub router_id: Ipv4Addr,
    /// The neighbors that are named one by one.
    pub neighbors: Vec<Neighbor>,
    /// Neighbors that are accepted from a range, passively.
    pub ranges: Vec<Range>,
    /// Whether learned routes go into the kernel's main table.
    pub install: bool,
    /// A community that is added to every route that is told to anybody (`ASN:VALUE`, RFC 1997).
    pub tag: Option<u32>,
    /// Gateways, one a family at most, through which all next hops are taken to be reachable: what a reflector of
    /// routes with foreign next hops wants of some daemons, in a table apart from the learned routes.
    pub gateways: Vec<IpAddr>,
}

/// A neighbor with an address of its own.
#[derive(Clone, Debug)]
pub struct Neighbor {
    /// Its address.
    pub address: IpAddr,
    /// The speaker's address on this session.
    pub local_address: IpAddr,
    /// What holds for the session.
    pub session: Session,
    /// The speaker dials, to this port; nothing: it waits.
    pub dial: Option<u16>,
}

/// Neighbors that are accepted from a range of addresses.
#[derive(Clone, Debug)]
pub struct Range {
    /// The range.
    pub prefix: Prefix,
    /// What holds for each session.
    pub session: Session,
}

/// What holds for a session.
#[derive(Clone, Debug)]
pub struct Session {
    /// The neighbor's AS number: the speaker's own makes it internal.
    pub asn: u32,
    /// The families that are exchanged.
    pub families: FamilySet,
    /// Whether routes from and to it are reflected (RFC 4456); only for an internal neighbor.
    pub client: bool,
    /// The TCP MD5 key (RFC 2385).
    pub md5: Option<String>,
    /// The hold time that the speaker proposes, in seconds.
    pub hold_time_s: u16,
    /// Whether ADD-PATH (RFC 7911) is offered in both directions.
    pub add_path: bool,
}
