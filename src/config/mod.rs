//! The configuration as the rest of the house sees it: resolved, checked, free of TOML.
//!
//! Groups are already merged into the peers that name them, files are already read, defaults are already
//! in place. `config::load` makes a [`Config`] from text; two of them can be compared.

pub mod diff;
mod error;
mod keys;
mod load;
mod peers;
mod policies;
mod reader;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

pub use error::{ConfigError, ConfigErrors};
pub use load::{load, parse};

use crate::policy::PolicyModel;
pub use crate::policy::PolicyRef;
use crate::types::{FamilySet, Prefix, RouterId};

/// Where the daemon and the command line look for the configuration unless told otherwise.
pub const DEFAULT_PATH: &str = "/etc/kulan/kulan.toml";
/// Where the gRPC services listen, and where the command line looks for them, unless told otherwise.
pub const SOCKET_DEFAULT: &str = "/run/kulan/kulan.sock";
/// BGP's port (RFC 4271 §8.2.1).
pub const PORT_DEFAULT: u16 = 179;

/// A whole configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `[speaker]`.
    pub speaker: SpeakerConfig,
    /// `[api]`.
    pub api: ApiConfig,
    /// `[[domain]]`; never empty.
    pub domains: Vec<DomainConfig>,
    /// `[[peer]]`, with their groups merged in, in the order of the file.
    pub peers: Vec<PeerConfig>,
    /// `[[dynamic_peer]]`, with their groups merged in.
    pub dynamic_peers: Vec<DynamicPeerConfig>,
    /// `[[network]]`.
    pub networks: Vec<NetworkConfig>,
    /// `[[policy]]` and the sets that policies refer to; known to compile.
    pub policies: PolicyModel,
}

/// `[speaker]`: who we are.
#[derive(Clone, Debug, PartialEq)]
pub struct SpeakerConfig {
    /// Our AS number.
    pub asn: u32,
    /// Our BGP identifier.
    pub router_id: RouterId,
    /// Our cluster identifier when reflecting (RFC 4456 §7).
    pub cluster_id: RouterId,
    /// Where to listen; empty: nowhere.
    pub listen: Vec<SocketAddr>,
    /// Compare MED between neighbouring ASes as well (RFC 4271 §9.1.2.2 c forbids it by default).
    pub always_compare_med: bool,
    /// Choose among equal external paths by router identifier instead of keeping the oldest (RFC 5004).
    pub compare_router_id: bool,
    /// Let paths of the same length but different ASes share an ECMP set.
    pub multipath_relax: bool,
    /// How long after the start the peers' tables are waited for at most before routes are announced (RFC 4724
    /// §4.1, Selection_Deferral_Timer), in seconds; 0: not at all; absent: the longest of the times for which
    /// peers are asked to wait for us.
    pub selection_deferral_s: Option<u16>,
}

/// `[api]`: where people and programs reach the daemon.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiConfig {
    /// Where the gRPC services listen.
    pub grpc: Vec<ApiAddress>,
    /// Where metrics and health are served over HTTP.
    pub http: Option<SocketAddr>,
}

/// One place where the gRPC services listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiAddress {
    /// `unix:PATH`.
    Unix(PathBuf),
    /// `ADDRESS:PORT`.
    Tcp(SocketAddr),
}

/// `[[domain]]`: one routing domain.
#[derive(Clone, Debug, PartialEq)]
pub struct DomainConfig {
    /// Its name.
    pub name: String,
    /// The kernel's routing table.
    pub table: u32,
    /// Whether learned routes go into the kernel.
    pub install: bool,
    /// How many next hops an ECMP route may have.
    pub max_paths: u16,
    /// Whether a path needs a next hop that the kernel can reach (RFC 4271 §9.1.2.1). Default: `install`.
    pub resolve_next_hops: bool,
    /// The kernel's metric (priority) of installed routes.
    pub metric: u32,
    /// How long what an earlier process installed is kept when End-of-RIB does not come, in seconds.
    pub stale_time_s: u32,
}

/// Whose AS number a peer may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AsnMatch {
    /// Exactly this one.
    Exactly(u32),
    /// Ours.
    Internal,
    /// Any but ours.
    External,
    /// Any.
    Any,
}

/// A peer's limit on accepted prefixes, for each family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixLimit {
    /// The session is torn down when the peer passes this number.
    pub max: u32,
    /// A warning is logged at this percentage of `max`.
    pub warning_percent: u8,
    /// Seconds after which the session may come up again; nothing: only when a person says so.
    pub restart_s: Option<u32>,
    /// Only warn, never tear down.
    pub warning_only: bool,
}

/// Graceful restart (RFC 4724, RFC 8538).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GracefulRestart {
    /// Whether peers are asked to keep our routes while we restart. We keep theirs whenever they ask.
    pub enabled: bool,
    /// Seconds that we ask peers to wait for us.
    pub restart_time_s: u16,
    /// Seconds that we keep a restarting peer's routes after it came back without End-of-RIB, at most.
    pub stale_time_s: u32,
    /// Whether NOTIFICATIONs and hold timer expiry keep routes as well (the N bit of RFC 8538).
    pub notification: bool,
}

/// Everything that can be said of a peer, or of its group.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerSettings {
    /// The group it came from.
    pub group: Option<String>,
    /// Words for people.
    pub description: Option<String>,
    /// The routing domain's name.
    pub domain: String,
    /// Whose AS number the peer may have.
    pub asn: AsnMatch,
    /// The AS number that we show this peer instead of the speaker's.
    pub local_asn: Option<u32>,
    /// Never dial.
    pub passive: bool,
    /// The peer's TCP port when we dial.
    pub port: u16,
    /// The address that we dial from.
    pub source: Option<IpAddr>,
    /// The hold time that we propose, in seconds; 0 or at least 3.
    pub hold_time_s: u16,
    /// The longest pause between attempts to connect, in seconds.
    pub connect_retry_s: u16,
    /// The families that we propose.
    pub families: FamilySet,
    /// Whether the peer is a client of ours (RFC 4456).
    pub route_reflector_client: bool,
    /// What may come in.
    pub import: PolicyRef,
    /// What may go out.
    pub export: PolicyRef,
    /// Announce ourselves as the next hop to internal peers too.
    pub next_hop_self: bool,
    /// TTL of our packets to an external peer that is not on our link; absent: 1 for external peers.
    pub multihop_ttl: Option<u8>,
    /// GTSM (RFC 5082): the number of hops the peer may be away, 1 for a neighbour.
    pub ttl_security_hops: Option<u8>,
    /// The TCP MD5 key (RFC 2385), already read from its file.
    pub password: Option<Secret>,
    /// Limits on what the peer may announce.
    pub prefix_limit: Option<PrefixLimit>,
    /// Graceful restart.
    pub graceful_restart: GracefulRestart,
    /// Propose messages of up to 65,535 bytes (RFC 8654).
    pub extended_messages: bool,
    /// Propose IPv4 routes with IPv6 next hops (RFC 8950).
    pub extended_next_hop: bool,
    /// How often our own AS may stand in an AS path that we accept.
    pub allow_own_asn: u8,
    /// Keep the session down, telling the peer this (RFC 9003); the text may be empty.
    pub shutdown: Option<String>,
}

/// A key that never shows in a log or an answer.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Wraps key bytes.
    pub fn new(bytes: Vec<u8>) -> Secret {
        Secret(bytes)
    }

    /// The key bytes, for the one system call that needs them.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

/// `[[peer]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerConfig {
    /// The peer's address.
    pub address: IpAddr,
    /// The interface, for link-local addresses.
    pub interface: Option<String>,
    /// Everything else.
    pub settings: PeerSettings,
}

/// `[[dynamic_peer]]`: peers that may connect from a range.
#[derive(Clone, Debug, PartialEq)]
pub struct DynamicPeerConfig {
    /// Where they come from.
    pub range: Prefix,
    /// How many there may be at a time.
    pub limit: u32,
    /// Everything else.
    pub settings: PeerSettings,
}

/// `[[network]]`: a prefix that we originate.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkConfig {
    /// The prefix.
    pub prefix: Prefix,
    /// The routing domain's name.
    pub domain: String,
    /// Standard communities that it carries, as `ASN << 16 | VALUE`.
    pub communities: Vec<u32>,
    /// The MED that it carries.
    pub med: Option<u32>,
}
