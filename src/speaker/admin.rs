//! What people want: the configuration at the start and at each reload, and single commands.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use hashbrown::HashMap;
use log::{debug, warn};

use super::Speaker;
use super::conn::{Accepted, Action, Refusal, SocketOptions, Syn};
use super::peer::{Findings, Origin, Peer};
use super::restart::InitialSync;
use crate::config::{AsnMatch, DynamicPeerConfig, NetworkConfig, PeerConfig, Secret};
use crate::export::GroupKey;
use crate::policy::Policy;
use crate::session::{Output, OwnRestart, Session, SessionSettings};
use crate::types::*;
use crate::wire::attrs::Origin as OriginCode;
use crate::wire::route_refresh::RefreshKind;
use crate::wire::{AttributeEditor, RouteRefresh};

/// How long sessions wait for the kernel's state to be read before they start without, in milliseconds.
const KERNEL_WAIT_MS: u64 = 2_000;

impl Speaker {
    /// Originates every configured prefix and begins to read the kernel's state. Sessions follow when that is
    /// known, or there is no kernel to know.
    pub fn start(&mut self, now: Time) {
        for network in self.config.networks.clone() {
            self.originate(&network);
        }
        for range in self.config.dynamic_peers.clone() {
            self.set_range_key(range.range, range.settings.password);
        }
        self.sessions_start_by = Some(now.plus_ms(KERNEL_WAIT_MS));
        self.start_sessions(now);
    }

    /// Starts the configured sessions unless the kernel's state is still awaited: what it holds of us decides what
    /// our OPENs say.
    pub(super) fn start_sessions(&mut self, now: Time) {
        let Some(by) = self.sessions_start_by else { return };
        if by > now && self.fib.as_ref().is_some_and(|fib| !fib.is_ready()) {
            return;
        }
        self.sessions_start_by = None;
        self.initial_sync = InitialSync::begin(now, &self.config);
        for family in self.initial_sync.deferred().iter() {
            self.defer(family, true);
        }
        for peer in self.config.peers.clone() {
            self.add_peer(now, peer, Origin::Configured);
        }
        self.check_initial_sync(now);
    }

    /// Adds a peer and starts its session unless it is configured to stay down.
    pub(crate) fn add_peer(&mut self, now: Time, config: PeerConfig, origin: Origin) -> PeerId {
        let PeerConfig { address, interface, settings } = config;
        let session_settings = Rc::new(SessionSettings::new(&self.config.speaker, &settings));
        let dynamic = matches!(origin, Origin::Dynamic(_));
        let mut session = Session::new(session_settings, dynamic, self.next_random());
        if let Some(until) = self.initial_sync.restarting_until() {
            session.set_restart(OwnRestart { until, forwarding: self.forwarding_kept() });
        }
        if let (Some(password), false) = (&settings.password, dynamic) {
            self.actions
                .push_back(Action::ListenKey { range: Prefix::host(address), key: Some(password.clone()) });
        }
        let shutdown = settings.shutdown.is_some();
        let peer = Peer {
            address,
            interface,
            origin,
            settings: Rc::new(settings),
            session,
            conns: [None; 2],
            import: None,
            end_of_rib: FamilySet::EMPTY,
            findings: Findings::default(),
            limit_warned: FamilySet::EMPTY,
            refresh_ignored: FamilySet::EMPTY,
            refresh_noted: false,
        };
        let id = self.insert_peer(peer);
        self.by_address.insert(address, id);
        if !shutdown && let Some(peer) = self.peers[id.index()].as_deref_mut() {
            peer.session.handle_start(now);
        }
        self.drive(now, id);
        id
    }

    fn insert_peer(&mut self, peer: Peer) -> PeerId {
        let id = self.free_peers.pop().unwrap_or_else(|| {
            self.peers.push(None);
            PeerId(self.peers.len() as u32 - 1)
        });
        self.peers[id.index()] = Some(Box::new(peer));
        id
    }

    /// The families whose forwarding state outlives our restart (RFC 4724 §3): all if we do not forward by what we
    /// learn, or if the kernel still has the routes of the process before.
    fn forwarding_kept(&self) -> FamilySet {
        match &self.fib {
            Some(fib) if fib.options().install && fib.stats().stale == 0 => FamilySet::EMPTY,
            _ => FamilySet::ALL,
        }
    }

    /// Whether to take a connection that began with this SYN, and what its socket needs. Call [`Speaker::closed`] if
    /// the socket cannot be given that.
    pub fn accept(
        &mut self,
        now: Time,
        remote: SocketAddr,
        local: SocketAddr,
        syn: Option<Syn>,
    ) -> Result<Accepted, Refusal> {
        let accepted = self.take(now, remote, local, syn);
        if let Err(refusal) = accepted {
            self.note_refusal(now, remote, refusal);
        }
        accepted
    }

    /// Logs a refused connection if the configuration or somebody on the way may be the reason: a line a minute for
    /// each range and each configured peer.
    fn note_refusal(&mut self, now: Time, remote: SocketAddr, refusal: Refusal) {
        let address = remote.ip();
        let expected_in = match self.by_address.get(&address).and_then(|id| self.peers[id.index()].as_deref())
        {
            Some(Peer { origin: Origin::Dynamic(range), .. }) => Some(*range),
            Some(_) => Some(Prefix::host(address)),
            None => self.range_of(address).map(|range| range.range),
        };
        if let (Some(place), true) = (expected_in, refusal.is_noteworthy())
            && let Some(count) = self.refusals.entry(place).or_default().note(now)
        {
            let others = if count > 1 {
                format!(" ({count} of {place} since the last such line)")
            } else {
                String::new()
            };
            warn!("connection from {remote} refused: {refusal}{others}");
        } else {
            debug!("connection from {remote} refused: {refusal}");
        }
    }

    fn take(
        &mut self,
        now: Time,
        remote: SocketAddr,
        local: SocketAddr,
        syn: Option<Syn>,
    ) -> Result<Accepted, Refusal> {
        let address = remote.ip();
        let known = self.by_address.get(&address).copied();
        let settings = match known {
            Some(id) => self.peers[id.index()].as_deref().map(|peer| &*peer.settings),
            None => self.range_of(address).map(|range| &range.settings),
        };
        let settings = settings.ok_or(Refusal::Unknown)?;
        Syn::check(syn, settings)?;
        // Who was added would take a place in the range without ever being let in.
        if known.is_none() && settings.shutdown.is_some() {
            return Err(Refusal::Unwanted);
        }
        let id = match known {
            Some(id) => id,
            None => self.add_dynamic_peer(now, address)?,
        };
        let peer = self.peers[id.index()].as_deref_mut().ok_or(Refusal::Unknown)?;
        let options = SocketOptions::of(&peer.settings, peer.expects_internal());
        let slot = peer.session.handle_accepted(now);
        let mut conn = None;
        while let Some(output) =
            self.peers[id.index()].as_deref_mut().and_then(|peer| peer.session.poll_output())
        {
            // What the new connection replaces is closed first; then comes our OPEN, which needs a place to go.
            if let (Some(slot), None, Output::Send(to, _)) = (slot, conn, &output)
                && slot == *to
            {
                conn = Some(self.insert_conn(id, slot, remote, Some(local)));
            }
            self.carry_out(now, id, output);
        }
        self.arm(id);
        conn.map(|conn| Accepted { conn, options }).ok_or(Refusal::Unwanted)
    }

    /// The narrowest range of dynamic peers that has this address.
    fn range_of(&self, address: IpAddr) -> Option<&DynamicPeerConfig> {
        let ranges = self.config.dynamic_peers.iter().filter(|dynamic| dynamic.range.contains(address));
        ranges.max_by_key(|dynamic| dynamic.range.len())
    }

    fn add_dynamic_peer(&mut self, now: Time, address: IpAddr) -> Result<PeerId, Refusal> {
        let range = self.range_of(address).ok_or(Refusal::Unknown)?.clone();
        let origin = Origin::Dynamic(range.range);
        let count = self.dynamic_counts.entry(range.range).or_insert(0);
        if *count >= range.limit {
            return Err(Refusal::RangeFull { range: range.range, limit: range.limit });
        }
        *count += 1;
        let config = PeerConfig { address, interface: None, settings: range.settings };
        Ok(self.add_peer(now, config, origin))
    }

    /// The peer's session ends with this reason, and the peer is forgotten.
    pub(crate) fn remove_peer(&mut self, now: Time, id: PeerId) {
        let Some(peer) = self.peers[id.index()].as_deref_mut() else { return };
        peer.session.handle_deconfigured(now);
        self.drive(now, id);
        self.forget(id);
        self.check_initial_sync(now);
    }

    /// Forgets a peer whose session has ended. Its id is free when its paths are swept.
    pub(super) fn forget(&mut self, id: PeerId) {
        let Some(peer) = self.peers[id.index()].take() else { return };
        self.wheel.cancel(id.0);
        self.by_address.remove(&peer.address);
        match peer.origin {
            Origin::Dynamic(range) => {
                if let Some(count) = self.dynamic_counts.get_mut(&range) {
                    *count -= 1;
                }
            }
            Origin::Configured | Origin::Api => {
                if peer.settings.password.is_some() {
                    self.actions
                        .push_back(Action::ListenKey { range: Prefix::host(peer.address), key: None });
                }
            }
        }
        self.rib.forget_peer(id);
        self.leaving.push(id);
    }

    /// Gives back the ids of peers whose paths are all gone.
    pub(super) fn release_left_peers(&mut self) {
        if self.leaving.is_empty() || self.rib.sweep_pending() {
            return;
        }
        self.free_peers.append(&mut self.leaving);
    }

    /// Originates a configured prefix.
    pub(super) fn originate(&mut self, network: &NetworkConfig) {
        let mut block = Vec::new();
        let mut editor = AttributeEditor::on(&mut block);
        editor.set_origin(OriginCode::Igp).set_as_path(&[]).add_communities(&network.communities);
        if let Some(med) = network.med {
            editor.set_med(med);
        }
        if editor.finish().is_err() {
            return warn!("network {}: too many communities for one message", network.prefix);
        }
        self.originate_block(network.prefix, NextHop::new(unspecified(network.prefix)), &block);
    }

    /// Originates a prefix with these attributes; a route that we originated for it before is replaced.
    pub(crate) fn originate_block(&mut self, prefix: Prefix, next_hop: NextHop, block: &[u8]) {
        let attrs = self.rib.intern(block, next_hop);
        match prefix {
            Prefix::V4(prefix) => self.rib.announce4(PeerId::LOCAL, attrs, &[prefix]),
            Prefix::V6(prefix) => self.rib.announce6(PeerId::LOCAL, attrs, &[prefix]),
        }
        self.rib.release(attrs);
    }

    /// Originates a prefix no more.
    pub(crate) fn withdraw_own(&mut self, prefix: Prefix) {
        match prefix {
            Prefix::V4(prefix) => self.rib.withdraw4(PeerId::LOCAL, &[prefix]),
            Prefix::V6(prefix) => self.rib.withdraw6(PeerId::LOCAL, &[prefix]),
        }
    }

    /// Gives our listeners the key of a range, or takes away the one that they have.
    pub(super) fn set_range_key(&mut self, range: Prefix, key: Option<Secret>) {
        let had_key = match key {
            Some(_) => !self.range_keys.insert(range),
            None => self.range_keys.remove(&range),
        };
        if key.is_some() || had_key {
            self.set_listen_key(range, key);
        }
    }
}

impl Peer {
    /// Whether the peer is in our AS as far as the configuration tells.
    pub(crate) fn expects_internal(&self) -> bool {
        match self.settings.asn {
            AsnMatch::Internal => true,
            AsnMatch::Exactly(asn) => asn == self.session.settings().local_asn,
            AsnMatch::External | AsnMatch::Any => false,
        }
    }
}

fn unspecified(prefix: Prefix) -> IpAddr {
    match prefix {
        Prefix::V4(_) => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
        Prefix::V6(_) => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
    }
}

/// What a person may want of a peer.
impl Speaker {
    /// Every peer.
    pub(crate) fn peer_ids(&self) -> Vec<PeerId> {
        (1..self.peers.len())
            .filter(|index| self.peers[*index].is_some())
            .map(|index| PeerId(index as u32))
            .collect()
    }

    /// The peer with this address.
    pub(crate) fn find_peer(&self, address: IpAddr) -> Option<PeerId> {
        self.by_address.get(&address).copied()
    }

    /// Takes a session down with Cease/Administrative Reset and lets it come up again.
    pub(crate) fn reset(&mut self, now: Time, id: PeerId, reason: &str) {
        if let Some(peer) = self.peers[id.index()].as_deref_mut() {
            peer.session.handle_reset(reason, now);
            self.drive(now, id);
        }
    }

    /// Lets a session come up, after a shutdown or a prefix limit.
    pub(crate) fn enable(&mut self, now: Time, id: PeerId) {
        if let Some(peer) = self.peers[id.index()].as_deref_mut() {
            peer.session.handle_start(now);
            self.drive(now, id);
            self.note_peer_event(id);
        }
    }

    /// Takes a session down with Cease/Administrative Shutdown and keeps it down.
    pub(crate) fn disable(&mut self, now: Time, id: PeerId, reason: &str) {
        if let Some(peer) = self.peers[id.index()].as_deref_mut() {
            peer.session.handle_shutdown(reason, now);
            self.drive(now, id);
            self.note_peer_event(id);
            self.check_initial_sync(now);
        }
    }

    /// Ends a session because the process ends. A peer that keeps our routes over a restart (RFC 4724) only loses the
    /// connection; every other one is told.
    pub(crate) fn stop(&mut self, now: Time, id: PeerId) {
        let Some(peer) = self.peers[id.index()].as_deref_mut() else { return };
        let restarts = peer.settings.graceful_restart.enabled
            && peer.session.negotiated().is_some_and(|negotiated| negotiated.restart.is_some());
        if !restarts {
            peer.session.handle_shutdown("the daemon stops", now);
            self.drive(now, id);
        }
    }

    /// Originates a prefix until it is deleted with the API.
    pub(crate) fn originate_by_api(&mut self, prefix: Prefix, next_hop: NextHop, block: &[u8]) {
        self.api_networks.insert(prefix);
        self.originate_block(prefix, next_hop, block);
    }

    /// Originates a prefix of the API's no more; a configured one of the same prefix shows again. Returns whether
    /// there was one.
    pub(crate) fn withdraw_by_api(&mut self, prefix: Prefix) -> bool {
        if !self.api_networks.remove(&prefix) {
            return false;
        }
        match self.config.networks.iter().find(|network| network.prefix == prefix).cloned() {
            Some(network) => self.originate(&network),
            None => self.withdraw_own(prefix),
        }
        true
    }

    /// Withdraws every prefix of a family that the API originates.
    pub(crate) fn withdraw_all_by_api(&mut self, family: Family) {
        let prefixes: Vec<Prefix> =
            self.api_networks.iter().copied().filter(|prefix| prefix.family() == family).collect();
        for prefix in prefixes {
            self.withdraw_by_api(prefix);
        }
    }

    /// Asks a peer for its routes anew (RFC 2918), so that the import policy of now applies; returns whether the
    /// peer can be asked.
    pub(crate) fn soft_reset_in(&mut self, id: PeerId) -> bool {
        let Some(peer) = self.peers[id.index()].as_deref() else { return false };
        let (Some(import), Some(negotiated)) = (peer.import.as_deref(), peer.session.negotiated()) else {
            return false;
        };
        if !negotiated.route_refresh {
            warn!("{}: cannot be asked for its routes anew: it has no route refresh; reset it", peer.address);
            return false;
        }
        let (slot, families) = (import.slot, import.families);
        let policy = self.policy(&peer.settings.import, import.kind);
        let Some(peer) = self.peers[id.index()].as_deref_mut() else { return false };
        if let Some(import) = peer.import.as_deref_mut() {
            import.policy = policy;
            import.allow_own_asn = peer.settings.allow_own_asn;
        }
        for family in families.iter() {
            let mut message = Vec::new();
            RouteRefresh::new(family, RefreshKind::Request).encode(&mut message);
            if let Some(peer) = self.peers[id.index()].as_deref_mut() {
                peer.session.note_refresh_sent();
            }
            self.send(id, slot, &message);
        }
        true
    }

    /// Sends a peer the whole table anew, as the export policy of now has it.
    pub(crate) fn soft_reset_out(&mut self, id: PeerId) {
        let Some(import) = self.peers[id.index()].as_ref().and_then(|peer| peer.import.as_deref()) else {
            return;
        };
        for family in import.families.iter() {
            self.export.refresh(id, family, false);
        }
    }

    /// Puts peers whose export settings changed into the groups where they belong now.
    pub(super) fn regroup(&mut self, ids: &[PeerId]) {
        // Peers that move together share the work.
        let mut moves: HashMap<GroupKey, (Rc<Policy>, Vec<PeerId>)> = HashMap::default();
        for id in ids {
            for (key, policy) in self.group_keys(*id) {
                moves.entry(key).or_insert_with(|| (policy, Vec::new())).1.push(*id);
            }
        }
        for (key, (policy, members)) in moves {
            self.export.set_policy(&policy);
            self.export.regroup(&members, key, &policy);
        }
    }

    pub(super) fn regroup_all(&mut self) {
        let ids = self.peer_ids();
        self.regroup(&ids);
    }

    pub(super) fn set_listen_key(&mut self, range: Prefix, key: Option<Secret>) {
        self.actions.push_back(Action::ListenKey { range, key });
    }
}
