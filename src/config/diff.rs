//! What changed between two configurations, as the commands that a reload carries out.
//!
//! Whatever is not mentioned did not change and is left alone: no session goes down for it. Each change of a
//! peer is classified by the least that makes it effective.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

use super::{
    Config, DomainConfig, DynamicPeerConfig, GracefulRestart, NetworkConfig, PeerConfig, PeerSettings,
    PolicyRef, SpeakerConfig,
};
use crate::policy::PolicyModel;
use crate::types::Prefix;

/// One thing that a reload has to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// `[speaker]` changed.
    Speaker {
        /// The new section.
        to: SpeakerConfig,
        /// Whether `asn`, `router_id` or `cluster_id` changed: every session comes up anew. Otherwise the
        /// decision process may have other switches: every destination is decided anew.
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

/// The least that makes a changed peer's settings effective. All false: storing them is enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// The session goes down and comes up anew; the others are false then.
    pub reset: bool,
    /// What the peer said must be evaluated anew: a route refresh (RFC 2918).
    pub refresh_in: bool,
    /// What the peer is told must be evaluated anew, in another update group perhaps.
    pub refresh_out: bool,
    /// The prefix limit must be held against what is there already.
    pub check_limit: bool,
    /// Something was settled with the OPENs and counts from the next session on: the hold time, graceful
    /// restart, extended messages. The session that is up stays as it is.
    pub next_session: bool,
}

/// What leads from `old` to `new`, in the order in which it is to be carried out: what goes, what changes,
/// what comes. Empty if they are the same. A peer or a range that moves to another domain is removed and
/// added.
pub fn diff(old: &Config, new: &Config) -> Vec<Change> {
    let mut changes = Vec::new();
    if old.speaker != new.speaker {
        changes.push(speaker(&old.speaker, &new.speaker));
    }
    if old.api != new.api {
        changes.push(Change::ApiNeedsRestart);
    }
    if old.policies != new.policies {
        changes.push(Change::Policies);
    }
    let policies = (&old.policies, &new.policies);
    let peers = compare(&old.peers, &new.peers, |peer| (PeerKey::of(peer), peer.settings.domain.as_str()));
    let ranges =
        compare(&old.dynamic_peers, &new.dynamic_peers, |peer| (peer.range, peer.settings.domain.as_str()));
    let networks = compare(&old.networks, &new.networks, |network| (network.prefix, network.domain.as_str()));
    let domains = compare(&old.domains, &new.domains, |domain| domain.name.as_str());

    changes.extend(peers.gone.iter().map(|peer| Change::PeerRemoved(PeerKey::of(peer))));
    changes.extend(ranges.gone.iter().map(|peer| Change::DynamicRemoved(peer.range)));
    changes.extend(
        networks
            .gone
            .iter()
            .map(|network| Change::NetworkRemoved { prefix: network.prefix, domain: network.domain.clone() }),
    );
    changes.extend(domains.gone.iter().map(|domain| Change::DomainRemoved(domain.name.clone())));

    changes.extend(
        domains
            .stays
            .iter()
            .filter(|(from, to)| from != to)
            .map(|(from, to)| Change::DomainChanged { from: (*from).clone(), to: (*to).clone() }),
    );
    changes.extend(domains.comes.iter().map(|domain| Change::DomainAdded((*domain).clone())));
    changes.extend(peers.stays.iter().filter_map(|(from, to)| {
        let effect = effect(&from.settings, &to.settings, policies);
        (from != to || effect != Effect::default()).then(|| Change::PeerChanged { to: (*to).clone(), effect })
    }));
    changes.extend(ranges.stays.iter().filter_map(|(from, to)| {
        let effect = effect(&from.settings, &to.settings, policies);
        (from != to || effect != Effect::default())
            .then(|| Change::DynamicChanged { to: (*to).clone(), effect })
    }));

    changes.extend(peers.comes.iter().map(|peer| Change::PeerAdded((*peer).clone())));
    changes.extend(ranges.comes.iter().map(|peer| Change::DynamicAdded((*peer).clone())));
    let changed = networks.stays.iter().filter(|(from, to)| from != to).map(|(_, to)| to);
    changes
        .extend(networks.comes.iter().chain(changed).map(|network| Change::NetworkAdded((*network).clone())));
    changes
}

impl PeerKey {
    /// The key of a configured peer.
    pub fn of(peer: &PeerConfig) -> PeerKey {
        PeerKey { address: peer.address, interface: peer.interface.clone() }
    }
}

fn speaker(old: &SpeakerConfig, new: &SpeakerConfig) -> Change {
    let identity = |config: &SpeakerConfig| (config.asn, config.router_id, config.cluster_id);
    Change::Speaker {
        to: new.clone(),
        identity: identity(old) != identity(new),
        listen: old.listen != new.listen,
    }
}

/// Two lists held against each other by key, each part in the order of its list.
struct Comparison<'c, T> {
    gone: Vec<&'c T>,
    stays: Vec<(&'c T, &'c T)>,
    comes: Vec<&'c T>,
}

fn compare<'c, T, K: Eq + Hash>(old: &'c [T], new: &'c [T], key: impl Fn(&'c T) -> K) -> Comparison<'c, T> {
    let mut before: HashMap<K, &T> = old.iter().map(|item| (key(item), item)).collect();
    let mut comparison = Comparison { gone: Vec::new(), stays: Vec::new(), comes: Vec::new() };
    for item in new {
        match before.remove(&key(item)) {
            Some(from) => comparison.stays.push((from, item)),
            None => comparison.comes.push(item),
        }
    }
    comparison.gone.extend(old.iter().filter(|item| before.contains_key(&key(item))));
    comparison
}

/// What makes new settings effective, given the policies before and after.
pub fn effect(old: &PeerSettings, new: &PeerSettings, policies: (&PolicyModel, &PolicyModel)) -> Effect {
    // Each of these is settled when the connection is made or the OPENs are exchanged. Becoming a client,
    // or ceasing to be one, changes who may hear the peer's routes (RFC 4456 §6), not only what it hears.
    let session = |settings: &PeerSettings| {
        let connection = (
            settings.port,
            settings.source,
            settings.multihop_ttl,
            settings.ttl_security_hops,
            settings.password.clone(),
        );
        let open = (
            settings.asn,
            settings.local_asn,
            settings.families,
            settings.extended_next_hop,
            settings.route_reflector_client,
        );
        (connection, open, settings.shutdown.is_some())
    };
    if session(old) != session(new) {
        return Effect { reset: true, ..Effect::default() };
    }
    let policy_changed = |old: &PolicyRef, new: &PolicyRef| {
        old != new || matches!(new, PolicyRef::Named(name) if !policies.0.has_same_policy(policies.1, name))
    };
    let settled = |settings: &PeerSettings| {
        let restart = GracefulRestart { stale_time_s: 0, ..settings.graceful_restart };
        (settings.hold_time_s, settings.extended_messages, restart)
    };
    Effect {
        reset: false,
        refresh_in: policy_changed(&old.import, &new.import) || old.allow_own_asn != new.allow_own_asn,
        refresh_out: policy_changed(&old.export, &new.export) || old.next_hop_self != new.next_hop_self,
        check_limit: old.prefix_limit != new.prefix_limit,
        next_session: settled(old) != settled(new),
    }
}
