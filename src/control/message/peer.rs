//! Peers: which ones, how they are, and what is to become of them.

use std::net::{IpAddr, SocketAddr};

use crate::types::{Family, FamilySet, RouterId};
use crate::wire::Capability;

/// Which peers to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeersQuery {
    /// Only the peer with this address.
    pub address: Option<IpAddr>,
    /// The [`Page::next`](super::Page::next) of the page before.
    pub after: Option<u32>,
    /// At most this many rows; never above [`PAGE_ROWS_MAX`](super::PAGE_ROWS_MAX).
    pub limit: usize,
}

/// Which peers something is to happen to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerSelector {
    /// The peer with this address.
    Address(IpAddr),
    /// Every peer.
    All,
}

/// The states of RFC 4271 §8.2.2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum PeerState {
    #[default]
    Idle,
    Connect,
    Active,
    OpenSent,
    OpenConfirm,
    Established,
}

/// What people want of a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AdminState {
    /// The session shall be up.
    #[default]
    Up,
    /// A person, or the configuration, wants it down.
    Down,
    /// It passed its prefix limit and stays down until a person says otherwise or the time is over.
    PrefixLimit,
}

/// Messages by type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct MessageCounts {
    pub opens: u64,
    pub updates: u64,
    pub notifications: u64,
    pub keepalives: u64,
    pub route_refreshes: u64,
}

impl MessageCounts {
    /// All of them.
    pub const fn total(&self) -> u64 {
        self.opens + self.updates + self.notifications + self.keepalives + self.route_refreshes
    }
}

/// One family of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerFamily {
    /// The family.
    pub family: Family,
    /// Whether both sides agreed on it.
    pub negotiated: bool,
    /// Prefixes received and not withdrawn since.
    pub received: u64,
    /// Of these, those that the import policy let in.
    pub accepted: u64,
    /// Prefixes that the peer has been told.
    pub advertised: u64,
    /// Whether the peer has sent End-of-RIB.
    pub end_of_rib_received: bool,
    /// Whether we have sent End-of-RIB.
    pub end_of_rib_sent: bool,
}

/// A peer and its session.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerStatus {
    /// Its address.
    pub address: IpAddr,
    /// The AS number: what it said, or what is configured; 0 if neither is known.
    pub asn: u32,
    /// The AS number that we show it.
    pub local_asn: u32,
    /// Its BGP identifier, once known.
    pub router_id: Option<RouterId>,
    /// Words for people.
    pub description: Option<String>,
    /// Its group.
    pub group: Option<String>,
    /// Its routing domain.
    pub domain: String,
    /// Whether it came from a configured range.
    pub dynamic: bool,
    /// Whether it is in our AS.
    pub internal: bool,
    /// Whether it is a client of ours (RFC 4456).
    pub route_reflector_client: bool,
    /// Whether we never dial.
    pub passive: bool,
    /// The session's state.
    pub state: PeerState,
    /// What people want.
    pub admin: AdminState,
    /// Since the state last became, or last ceased to be, Established, in milliseconds.
    pub since_ms: Option<u64>,
    /// How often the session has left Established.
    pub flaps: u32,
    /// The last error or NOTIFICATION, sent or received, in words.
    pub last_error: Option<String>,
    /// Messages received.
    pub received: MessageCounts,
    /// Messages sent.
    pub sent: MessageCounts,
    /// Messages that wait to be sent, at most: some of them may be for others of its update group.
    pub out_queue: u32,
    /// The families.
    pub families: Vec<PeerFamily>,
    /// What our OPEN offers (RFC 5492); empty before there is one.
    pub local_capabilities: Vec<Capability>,
    /// What the peer's OPEN offers; empty before there is a session.
    pub remote_capabilities: Vec<Capability>,
    /// The hold time that we propose, in seconds.
    pub hold_time_s: u16,
    /// The hold time in force, in seconds; 0 while no session is up.
    pub negotiated_hold_time_s: u16,
    /// The longest pause between attempts to connect, in seconds.
    pub connect_retry_s: u16,
    /// Our end of the connection.
    pub local_socket: Option<SocketAddr>,
    /// The peer's end of the connection.
    pub remote_socket: Option<SocketAddr>,
    /// TTL to a peer that is not on our link.
    pub multihop_ttl: Option<u8>,
    /// GTSM (RFC 5082): how many hops away the peer may be.
    pub ttl_security_hops: Option<u8>,
    /// Whether graceful restart is proposed, and for how many seconds.
    pub graceful_restart_s: Option<u16>,
    /// Whether the peer restarts at this moment and its routes are kept.
    pub restarting: bool,
}

/// How to reset a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResetKind {
    /// Ask for its routes anew (RFC 2918), or apply the import policy anew.
    SoftIn,
    /// Apply the export policy anew and send the whole table again.
    SoftOut,
    /// Both.
    SoftBoth,
    /// End the session with Cease/Administrative Reset and this text (RFC 9003), and let it come up again.
    Hard(String),
}

/// A peer that the configuration does not have. What is absent comes from the group, or else from the
/// defaults of the configuration file.
#[derive(Clone, Debug, PartialEq)]
pub struct NewPeer {
    /// Its address.
    pub address: IpAddr,
    /// Its AS number.
    pub asn: Option<u32>,
    /// Its group.
    pub group: Option<String>,
    /// Words for people.
    pub description: Option<String>,
    /// The AS number that we show it.
    pub local_asn: Option<u32>,
    /// Never dial.
    pub passive: Option<bool>,
    /// Its TCP port.
    pub port: Option<u16>,
    /// The address that we dial from.
    pub source: Option<IpAddr>,
    /// The hold time that we propose, in seconds.
    pub hold_time_s: Option<u16>,
    /// The families that we propose.
    pub families: Option<FamilySet>,
    /// Whether it is a client of ours (RFC 4456).
    pub route_reflector_client: Option<bool>,
    /// How often our own AS may stand in an AS path that we accept.
    pub allow_own_asn: Option<u8>,
    /// TTL to a peer that is not on our link.
    pub multihop_ttl: Option<u8>,
    /// The TCP MD5 key (RFC 2385).
    pub password: Option<String>,
    /// Keep the session down at first.
    pub admin_down: bool,
}
