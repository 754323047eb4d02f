//! The nouns that every room of the house shares: address families, prefixes, router identifiers,
//! handles and time.
//!
//! Nothing here has behaviour beyond construction, comparison and printing. Handles are newtypes over
//! `u32`: they index slabs owned by exactly one module and mean nothing elsewhere.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// An address family and subsequent family that kulan routes (RFC 4760 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Family {
    /// AFI 1, SAFI 1.
    Ipv4Unicast = 0,
    /// AFI 2, SAFI 1.
    Ipv6Unicast = 1,
}

impl Family {
    /// Every family, in index order.
    pub const ALL: [Family; 2] = [Family::Ipv4Unicast, Family::Ipv6Unicast];

    /// The position in arrays that hold one element a family.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The IANA address family number.
    pub const fn afi(self) -> u16 {
        match self {
            Family::Ipv4Unicast => 1,
            Family::Ipv6Unicast => 2,
        }
    }

    /// The IANA subsequent address family number.
    pub const fn safi(self) -> u8 {
        1
    }

    /// The family with these numbers, if it is one that kulan routes.
    pub const fn from_afi_safi(afi: u16, safi: u8) -> Option<Family> {
        match (afi, safi) {
            (1, 1) => Some(Family::Ipv4Unicast),
            (2, 1) => Some(Family::Ipv6Unicast),
            _ => None,
        }
    }

    /// The spelling used in the configuration and in every output.
    pub const fn name(self) -> &'static str {
        match self {
            Family::Ipv4Unicast => "ipv4-unicast",
            Family::Ipv6Unicast => "ipv6-unicast",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Family {
    type Err = String;

    fn from_str(text: &str) -> Result<Family, String> {
        match text {
            "ipv4-unicast" | "ipv4" => Ok(Family::Ipv4Unicast),
            "ipv6-unicast" | "ipv6" => Ok(Family::Ipv6Unicast),
            _ => Err(format!("unknown family {text:?}: write \"ipv4-unicast\" or \"ipv6-unicast\"")),
        }
    }
}

/// A set of [`Family`] values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FamilySet(u8);

impl FamilySet {
    /// No family.
    pub const EMPTY: FamilySet = FamilySet(0);
    /// Every family that kulan routes.
    pub const ALL: FamilySet = FamilySet(0b11);

    /// The set that holds exactly `family`.
    pub const fn only(family: Family) -> FamilySet {
        FamilySet(1 << family as u8)
    }

    /// Whether `family` is in the set.
    pub const fn contains(self, family: Family) -> bool {
        self.0 & (1 << family as u8) != 0
    }

    /// Adds `family`.
    pub const fn insert(&mut self, family: Family) {
        self.0 |= 1 << family as u8;
    }

    /// Removes `family`.
    pub const fn remove(&mut self, family: Family) {
        self.0 &= !(1 << family as u8);
    }

    /// What both sets hold.
    pub const fn intersection(self, other: FamilySet) -> FamilySet {
        FamilySet(self.0 & other.0)
    }

    /// Whether the set holds nothing.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The members, in index order.
    pub fn iter(self) -> impl Iterator<Item = Family> {
        Family::ALL.into_iter().filter(move |family| self.contains(*family))
    }
}

impl FromIterator<Family> for FamilySet {
    fn from_iter<I: IntoIterator<Item = Family>>(families: I) -> FamilySet {
        let mut set = FamilySet::EMPTY;
        for family in families {
            set.insert(family);
        }
        set
    }
}

/// An IPv4 prefix; the host bits are zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix4 {
    /// The address as a number, most significant bit first.
    pub addr: u32,
    /// The length in bits, 0 to 32.
    pub len: u8,
}

impl Prefix4 {
    /// The prefix of `len` bits (at most 32) that covers `addr`: host bits are cleared.
    pub const fn new(addr: u32, len: u8) -> Prefix4 {
        debug_assert!(len <= 32);
        Prefix4 { addr: addr & Prefix4::mask(len), len }
    }

    /// The network mask of a length, 0 to 32.
    pub const fn mask(len: u8) -> u32 {
        if len == 0 { 0 } else { u32::MAX << (32 - len) }
    }

    /// Whether `other` is this prefix or lies within it.
    pub const fn covers(self, other: Prefix4) -> bool {
        self.len <= other.len && other.addr & Prefix4::mask(self.len) == self.addr
    }
}

impl fmt::Display for Prefix4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.addr), self.len)
    }
}

impl fmt::Debug for Prefix4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An IPv6 prefix; the host bits are zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix6 {
    /// The address as a number, most significant bit first.
    pub addr: u128,
    /// The length in bits, 0 to 128.
    pub len: u8,
}

impl Prefix6 {
    /// The prefix of `len` bits (at most 128) that covers `addr`: host bits are cleared.
    pub const fn new(addr: u128, len: u8) -> Prefix6 {
        debug_assert!(len <= 128);
        Prefix6 { addr: addr & Prefix6::mask(len), len }
    }

    /// The network mask of a length, 0 to 128.
    pub const fn mask(len: u8) -> u128 {
        if len == 0 { 0 } else { u128::MAX << (128 - len) }
    }

    /// Whether `other` is this prefix or lies within it.
    pub const fn covers(self, other: Prefix6) -> bool {
        self.len <= other.len && other.addr & Prefix6::mask(self.len) == self.addr
    }
}

impl fmt::Display for Prefix6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv6Addr::from(self.addr), self.len)
    }
}

impl fmt::Debug for Prefix6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A prefix of either family.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Prefix {
    /// IPv4.
    V4(Prefix4),
    /// IPv6.
    V6(Prefix6),
}

impl Prefix {
    /// The unicast family that the prefix belongs to.
    pub const fn family(self) -> Family {
        match self {
            Prefix::V4(_) => Family::Ipv4Unicast,
            Prefix::V6(_) => Family::Ipv6Unicast,
        }
    }

    /// The length in bits.
    pub const fn len(self) -> u8 {
        match self {
            Prefix::V4(prefix) => prefix.len,
            Prefix::V6(prefix) => prefix.len,
        }
    }

    /// Whether this is the default route.
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The network address.
    pub const fn addr(self) -> IpAddr {
        match self {
            Prefix::V4(prefix) => IpAddr::V4(Ipv4Addr::from_bits(prefix.addr)),
            Prefix::V6(prefix) => IpAddr::V6(Ipv6Addr::from_bits(prefix.addr)),
        }
    }

    /// The prefix of `len` bits that covers `addr`, or nothing if `len` is more than the family has.
    pub fn of(addr: IpAddr, len: u8) -> Option<Prefix> {
        match addr {
            IpAddr::V4(addr) if len <= 32 => Some(Prefix::V4(Prefix4::new(addr.to_bits(), len))),
            IpAddr::V6(addr) if len <= 128 => Some(Prefix::V6(Prefix6::new(addr.to_bits(), len))),
            _ => None,
        }
    }

    /// The prefix that holds only `addr`.
    pub fn host(addr: IpAddr) -> Prefix {
        match addr {
            IpAddr::V4(addr) => Prefix::V4(Prefix4::new(addr.to_bits(), 32)),
            IpAddr::V6(addr) => Prefix::V6(Prefix6::new(addr.to_bits(), 128)),
        }
    }

    /// Whether `other` is this prefix or lies within it.
    pub const fn covers(self, other: Prefix) -> bool {
        match (self, other) {
            (Prefix::V4(a), Prefix::V4(b)) => a.covers(b),
            (Prefix::V6(a), Prefix::V6(b)) => a.covers(b),
            _ => false,
        }
    }

    /// Whether `addr` lies within the prefix.
    pub fn contains(self, addr: IpAddr) -> bool {
        self.covers(Prefix::host(addr))
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Prefix::V4(prefix) => prefix.fmt(f),
            Prefix::V6(prefix) => prefix.fmt(f),
        }
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Prefix {
    type Err = String;

    /// Reads `ADDRESS/LENGTH`. Set host bits are refused: a person who wrote them meant something else.
    fn from_str(text: &str) -> Result<Prefix, String> {
        let net: ipnet::IpNet =
            text.parse().map_err(|_| format!("{text:?} is not a prefix: write ADDRESS/LENGTH"))?;
        if net.addr() != net.network() {
            return Err(format!("{text:?} has host bits set: write {}", net.trunc()));
        }
        Ok(Prefix::from(net))
    }
}

impl From<ipnet::IpNet> for Prefix {
    fn from(net: ipnet::IpNet) -> Prefix {
        match net {
            ipnet::IpNet::V4(net) => Prefix::V4(Prefix4::new(net.addr().to_bits(), net.prefix_len())),
            ipnet::IpNet::V6(net) => Prefix::V6(Prefix6::new(net.addr().to_bits(), net.prefix_len())),
        }
    }
}

/// A BGP identifier (RFC 6286): four octets, written like an IPv4 address; also a cluster identifier.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouterId(pub u32);

impl fmt::Display for RouterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ipv4Addr::from(self.0).fmt(f)
    }
}

impl fmt::Debug for RouterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A moment on the loop's clock, in milliseconds since the process started. Only the reactor reads a
/// clock; everyone else is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    /// The moment `ms` milliseconds later.
    pub const fn plus_ms(self, ms: u64) -> Time {
        Time(self.0.saturating_add(ms))
    }

    /// The moment `s` seconds later.
    pub const fn plus_s(self, s: u64) -> Time {
        self.plus_ms(s.saturating_mul(1000))
    }

    /// Milliseconds from `earlier` to here; 0 if `earlier` is later.
    pub const fn since_ms(self, earlier: Time) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

macro_rules! handles {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u32);

        impl $name {
            /// The position in the slab that the handle belongs to.
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }
    )*};
}

handles! {
    /// Names a peer of the speaker: configured, dynamic, or [`PeerId::LOCAL`]. Below 2^24.
    PeerId
    /// Names an interned set of path attributes with its next hop.
    AttrId
    /// Names a destination within the table of one family.
    DestId
    /// Names an update group.
    GroupId
    /// Names an interned next hop.
    NextHopId
    /// Names one TCP connection known to the reactor; a peer can have two during a collision.
    ConnId
}

impl PeerId {
    /// The source of routes that the speaker itself originates.
    pub const LOCAL: PeerId = PeerId(0);
}

/// How a route's giver, or a route's receiver, stands to us. Decides what is told to whom (RFC 4271
/// §9.2, RFC 4456 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeerKind {
    /// The speaker itself.
    Local,
    /// Another AS.
    External,
    /// The same AS.
    Internal,
    /// The same AS, and a client of ours in the sense of RFC 4456.
    Client,
}

impl PeerKind {
    /// Whether the peer is in our own AS.
    pub const fn is_internal(self) -> bool {
        matches!(self, PeerKind::Internal | PeerKind::Client)
    }
}

/// A next hop as it stands on the wire: one address, and for IPv6 perhaps a link-local one beside it
/// (RFC 2545 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NextHop {
    /// The global address; for IPv6 it may itself be link-local when no global one was sent.
    pub addr: IpAddr,
    /// The link-local address beside the global one.
    pub link_local: Option<Ipv6Addr>,
}

impl NextHop {
    /// A next hop of one address.
    pub const fn new(addr: IpAddr) -> NextHop {
        NextHop { addr, link_local: None }
    }
}

impl fmt::Display for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.addr.fmt(f)
    }
}
