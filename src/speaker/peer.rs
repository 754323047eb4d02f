//! Peers: their sessions' wishes carried out, what happens when one comes up or goes down.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use log::{info, warn};

use super::Speaker;
use super::conn::{Action, Conn, Dial, SocketOptions};
use super::paced::Paced;
use crate::config::PeerSettings;
use crate::export::{GroupKey, NextHopRule};
use crate::policy::{Policy, PolicyRef};
use crate::rib::{PeerInfo, Sweep};
use crate::session::{Output, Session, Slot};
use crate::types::*;
use crate::wire::route_refresh::RefreshKind;
use crate::wire::{DecodeContext, Finding, MessageKind, Notification, Problem, next_frame};

/// How many kinds are told apart; a peer that makes up more is not worth more lines.
const FINDING_KINDS_MAX: usize = 8;

/// Where a peer came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The configuration file.
    Configured,
    /// A range of the configuration file.
    Dynamic(Prefix),
    /// The API.
    Api,
}

/// A peer and everything that is known of it.
#[derive(Debug)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// The interface, for link-local addresses.
    pub interface: Option<String>,
    /// Where it came from.
    pub origin: Origin,
    /// What was configured for it.
    pub settings: Rc<PeerSettings>,
    /// Its session.
    pub session: Session,
    /// Its connections, by [`Slot::index`].
    pub(super) conns: [Option<ConnId>; 2],
    /// What an established session needs for its UPDATEs; nothing: it is not established.
    pub(super) import: Option<Box<Import>>,
    /// The families that have sent End-of-RIB in this session.
    pub(crate) end_of_rib: FamilySet,
    /// Malformed UPDATEs.
    pub(super) findings: Findings,
    /// The families whose prefix limit has been warned of.
    pub(super) limit_warned: FamilySet,
    /// The families in which the refresh under way is not to remove anything.
    pub(super) refresh_ignored: FamilySet,
    /// Such a refresh was logged in this session.
    pub(super) refresh_noted: bool,
}

/// What an established session needs for its UPDATEs.
#[derive(Debug)]
pub(super) struct Import {
    /// The slot of the established connection.
    pub slot: Slot,
    pub decode: DecodeContext,
    pub policy: Rc<Policy>,
    /// The families in use.
    pub families: FamilySet,
    pub kind: PeerKind,
    pub asn: u32,
    /// The AS number that the peer knows us by.
    pub local_asn: u32,
    pub allow_own_asn: u8,
    /// Our end of the connection: a next hop that we would be ourselves is of no use.
    pub local_address: IpAddr,
}

/// Malformed UPDATEs of a peer: counted always, logged now and then.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// How many there were.
    pub count: u64,
    /// By attribute and problem.
    logged: Vec<((u8, Problem), Paced)>,
}

impl Findings {
    /// Counts one finding and logs it unless one of its kind was logged a short while ago.
    pub fn note(&mut self, now: Time, peer: IpAddr, finding: &Finding) {
        self.count += 1;
        if self.is_worth_a_line(now, (finding.attribute, finding.problem)) {
            warn!("{peer}: malformed UPDATE: {finding} ({} so far)", self.count);
        }
    }

    fn is_worth_a_line(&mut self, now: Time, kind: (u8, Problem)) -> bool {
        let known = self.logged.iter().position(|(known, _)| *known == kind);
        let place = known.or_else(|| {
            if self.logged.len() < FINDING_KINDS_MAX {
                self.logged.push((kind, Paced::default()));
                return Some(self.logged.len() - 1);
            }
            // All places are taken: one that has rested gives way.
            let rested = self.logged.iter().position(|(_, paced)| paced.is_due(now))?;
            self.logged[rested] = (kind, Paced::default());
            Some(rested)
        });
        place.is_some_and(|at| self.logged[at].1.note(now).is_some())
    }
}

impl Peer {
    /// Whether the session is established on this very connection.
    pub(super) fn established_on(&self, conn: ConnId) -> bool {
        self.import.as_ref().is_some_and(|import| self.conns[import.slot.index()] == Some(conn))
    }

    /// The connection of the established session.
    pub(super) fn established_conn(&self) -> Option<ConnId> {
        self.conns[self.import.as_ref()?.slot.index()]
    }
}

impl Speaker {
    /// Carries out what a peer's session wants, and arms its timer. To be called after each input to the session.
    pub(super) fn drive(&mut self, now: Time, id: PeerId) {
        while let Some(output) =
            self.peers[id.index()].as_deref_mut().and_then(|peer| peer.session.poll_output())
        {
            self.carry_out(now, id, output);
        }
        self.arm(id);
    }

    pub(super) fn arm(&mut self, id: PeerId) {
        let Some(peer) = self.peers[id.index()].as_deref() else { return };
        match peer.session.next_deadline() {
            Some(deadline) => self.wheel.set_no_later_than(id.0, deadline),
            None => self.wheel.cancel(id.0),
        }
    }

    pub(super) fn carry_out(&mut self, now: Time, id: PeerId, output: Output) {
        match output {
            Output::Connect(slot) => self.dial(id, slot),
            Output::Send(slot, bytes) => self.send(id, slot, &bytes),
            Output::Close(slot) => self.close(id, slot),
            Output::Established(slot) => {
                self.come_up(id, slot);
                self.check_initial_sync(now);
            }
            Output::Down { retain } => self.go_down(now, id, retain),
            Output::RemoveStale(families) => {
                for family in families.iter() {
                    self.rib.sweep(Sweep::Stale(id, family));
                }
            }
            Output::RouteRefresh(family, refresh) => self.refresh(id, family, refresh),
            Output::Gone => self.forget(id),
        }
    }

    fn dial(&mut self, id: PeerId, slot: Slot) {
        let Some(peer) = self.peers[id.index()].as_deref() else { return };
        let settings = &peer.settings;
        let dial = Dial {
            remote: SocketAddr::new(peer.address, settings.port),
            source: settings.source,
            interface: peer.interface.clone(),
            password: settings.password.clone(),
            options: SocketOptions::of(settings, peer.expects_internal()),
        };
        let conn = self.insert_conn(id, slot, dial.remote, None);
        self.actions.push_back(Action::Connect { conn, dial: Box::new(dial) });
    }

    pub(super) fn insert_conn(
        &mut self,
        id: PeerId,
        slot: Slot,
        remote: SocketAddr,
        local: Option<SocketAddr>,
    ) -> ConnId {
        let conn = self.conns.insert(id, slot, remote, local);
        let peer = self.peers[id.index()].as_deref_mut();
        // A peer that dials again has lost the connection that it had before.
        if let Some(lost) = peer.and_then(|peer| peer.conns[slot.index()].replace(conn))
            && self.conns.remove(lost).is_some()
        {
            self.actions.push_back(Action::Close { conn: lost, last_words: Vec::new() });
        }
        conn
    }

    pub(super) fn send(&mut self, id: PeerId, slot: Slot, bytes: &[u8]) {
        let Some(conn) = self.peers[id.index()].as_ref().and_then(|peer| peer.conns[slot.index()]) else {
            return;
        };
        if let Some(state) = self.conns.get_mut(conn) {
            state.out.extend_from_slice(bytes);
            self.conns.mark_dirty(conn);
        }
    }

    fn close(&mut self, id: PeerId, slot: Slot) {
        let Some(peer) = self.peers[id.index()].as_deref_mut() else { return };
        let Some(id) = peer.conns[slot.index()].take() else { return };
        if let Some(conn) = self.conns.remove(id) {
            // A message that was begun cannot be finished any more, and nothing fits in its middle.
            let last_words = if conn.mid_message { Vec::new() } else { conn.out };
            self.actions.push_back(Action::Close { conn: id, last_words });
        }
    }

    /// A dialled connection stands.
    pub fn connected(&mut self, now: Time, conn: ConnId, local: SocketAddr) {
        let Some(state) = self.conns.get_mut(conn) else { return };
        state.local = Some(local);
        let (id, slot) = (state.peer, state.slot);
        if let Some(peer) = self.peers[id.index()].as_deref_mut() {
            peer.session.handle_connected(slot, now);
            self.drive(now, id);
        }
    }

    /// A connection is gone, or could not be made. `error` is what the system said; nothing: the peer closed it.
    pub fn closed(&mut self, now: Time, conn: ConnId, error: Option<ErrorKind>) {
        let Some(Conn { peer: id, slot, .. }) = self.conns.remove(conn) else { return };
        self.conns.free_name(conn);
        if let Some(peer) = self.peers[id.index()].as_deref_mut() {
            peer.conns[slot.index()] = None;
            peer.session.handle_closed(slot, error, now);
            self.drive(now, id);
        }
    }

    /// Takes the bytes that a connection has, the beginning of a message first; returns how many of them were whole
    /// messages. The rest is to come again with what follows it.
    pub fn receive(&mut self, now: Time, conn: ConnId, bytes: &[u8]) -> usize {
        let mut consumed = 0;
        loop {
            let Some(&Conn { peer: id, slot, .. }) = self.conns.get(conn) else { return bytes.len() };
            let Some(peer) = self.peers[id.index()].as_deref_mut() else { return bytes.len() };
            match next_frame(&bytes[consumed..], peer.session.message_len_max(slot)) {
                Ok(None) => return consumed,
                Ok(Some(frame)) => {
                    consumed += frame.len;
                    if frame.kind == MessageKind::Update {
                        if peer.session.update_arrived(slot, now) {
                            self.update(now, id, frame.body);
                            continue;
                        }
                    } else {
                        peer.session.handle_message(slot, frame.kind, frame.body, now);
                    }
                    self.drive(now, id);
                }
                Err(notification) => {
                    self.protocol_error(now, id, slot, notification);
                    return bytes.len();
                }
            }
        }
    }

    /// The session is established: its routes may come, and it is told ours.
    fn come_up(&mut self, id: PeerId, slot: Slot) {
        let Some(peer) = self.peers[id.index()].as_deref() else { return };
        let Some(negotiated) = peer.session.negotiated() else { return };
        let Some(conn) = peer.conns[slot.index()] else { return };
        let Some(local) = self.conns.get(conn).and_then(|conn| conn.local) else { return };
        let kind = negotiated.kind;
        info!(
            "{}: established with AS {}, router id {}, {}",
            peer.address,
            negotiated.peer_asn,
            negotiated.router_id,
            negotiated.families.iter().map(Family::name).collect::<Vec<_>>().join(" and ")
        );
        let import = Import {
            slot,
            decode: DecodeContext {
                four_octet_as: negotiated.four_octet_as,
                external: kind == PeerKind::External,
                families: negotiated.families,
                add_path: FamilySet::EMPTY,
                extended_next_hop: negotiated.extended_next_hop,
            },
            policy: self.policy(&peer.settings.import, kind),
            families: negotiated.families,
            kind,
            asn: negotiated.peer_asn,
            local_asn: peer.session.settings().local_asn,
            allow_own_asn: peer.settings.allow_own_asn,
            local_address: local.ip(),
        };
        let info = PeerInfo {
            kind,
            router_id: negotiated.router_id,
            address: peer.address,
            asn: negotiated.peer_asn,
        };
        let Some(peer) = self.peers[id.index()].as_deref_mut() else { return };
        peer.import = Some(Box::new(import));
        peer.end_of_rib = FamilySet::EMPTY;
        peer.limit_warned = FamilySet::EMPTY;
        peer.refresh_ignored = FamilySet::EMPTY;
        peer.refresh_noted = false;
        self.rib.set_peer(id, info);
        self.established_count += 1;
        self.join_groups(id);
        self.note_peer_event(id);
    }

    /// The session is down: the peer is told nothing any more, and its routes go, or stay as stale.
    fn go_down(&mut self, now: Time, id: PeerId, retain: FamilySet) {
        let Some(peer) = self.peers[id.index()].as_deref_mut() else { return };
        let Some(import) = peer.import.take() else { return };
        let reason = peer.session.failures().and_then(|failures| failures.last());
        match reason {
            Some(past) => info!("{}: down: {}", peer.address, past.failure),
            None => info!("{}: down", peer.address),
        }
        self.established_count -= 1;
        self.export.leave(id);
        for family in import.families.iter() {
            // What is stale from the restart before has been given its time (RFC 4724 §4.2).
            if retain.contains(family) {
                self.rib.sweep(Sweep::Stale(id, family));
                self.rib.mark_stale(id, family);
            } else {
                self.rib.sweep(Sweep::PeerFamily(id, family));
            }
        }
        self.check_initial_sync(now);
        self.note_peer_event(id);
    }

    /// The peer's ROUTE-REFRESH (RFC 2918), or the bounds of its answer to ours (RFC 7313 §4).
    fn refresh(&mut self, id: PeerId, family: Family, refresh: RefreshKind) {
        let Some(peer) = self.peers[id.index()].as_deref() else { return };
        let enhanced = peer.session.negotiated().is_some_and(|negotiated| negotiated.enhanced_route_refresh);
        match refresh {
            RefreshKind::Request => self.export.refresh(id, family, enhanced),
            RefreshKind::Begin => self.begin_refresh(id, family),
            RefreshKind::End => {
                let Some(peer) = self.peers[id.index()].as_deref_mut() else { return };
                if peer.refresh_ignored.contains(family) {
                    return peer.refresh_ignored.remove(family);
                }
                self.rib.sweep(Sweep::Stale(id, family));
            }
            RefreshKind::Unknown(_) => {}
        }
    }

    /// What the peer has announced is stale until it announces it again. While the paths that an earlier refresh left
    /// stale are still being removed, the next one removes nothing: there are few generations of paths to tell them
    /// apart by, and a peer must not use them up.
    fn begin_refresh(&mut self, id: PeerId, family: Family) {
        let sweeping = self.rib.is_sweeping(id, family);
        let Some(peer) = self.peers[id.index()].as_deref_mut() else { return };
        if !sweeping {
            return self.rib.mark_stale(id, family);
        }
        peer.refresh_ignored.insert(family);
        if !peer.refresh_noted {
            peer.refresh_noted = true;
            let address = peer.address;
            warn!(
                "{address}: begins to send its {family} routes anew while those that its last refresh left out are \
                 still being removed: this time none will be removed"
            );
        }
    }

    /// What came breaks the protocol: the session answers with the NOTIFICATION.
    pub(super) fn protocol_error(&mut self, now: Time, id: PeerId, slot: Slot, notification: Notification) {
        if let Some(peer) = self.peers[id.index()].as_deref_mut() {
            peer.session.handle_error(slot, notification, now);
            self.drive(now, id);
        }
    }
}

impl Speaker {
    /// Puts an established peer into the update group of each of its families.
    fn join_groups(&mut self, id: PeerId) {
        for (key, policy) in self.group_keys(id) {
            self.export.join(id, key, &policy);
        }
    }

    /// What an established peer shares with the other members of its update groups, a family each.
    pub(super) fn group_keys(&self, id: PeerId) -> Vec<(GroupKey, Rc<Policy>)> {
        let Some(peer) = self.peers[id.index()].as_deref() else { return Vec::new() };
        let (Some(import), Some(negotiated)) = (peer.import.as_deref(), peer.session.negotiated()) else {
            return Vec::new();
        };
        let policy = self.policy(&peer.settings.export, import.kind);
        let key = |family| GroupKey {
            family,
            kind: import.kind,
            local_asn: import.local_asn,
            cluster_id: self.config.speaker.cluster_id,
            four_octet_as: negotiated.four_octet_as,
            message_bytes_max: peer.session.message_len_max(import.slot) as u16,
            extended_next_hop: negotiated.extended_next_hop,
            policy: policy.name().into(),
            next_hop: self.next_hop_rule(peer, import, family),
        };
        import.families.iter().map(|family| (key(family), Rc::clone(&policy))).collect()
    }

    pub(super) fn policy(&self, reference: &PolicyRef, kind: PeerKind) -> Rc<Policy> {
        self.policies.resolve(reference, kind).cloned().unwrap_or_else(|| Rc::new(Policy::reject()))
    }

    /// Our addresses on the way to a peer: the end of the connection for its own family, and for the other what the
    /// same interface has, unless the end of the connection will do for it as well.
    fn next_hop_rule(&self, peer: &Peer, import: &Import, family: Family) -> NextHopRule {
        let mut rule = NextHopRule { force_self: peer.settings.next_hop_self, ..NextHopRule::default() };
        let mut own = |address: IpAddr| match address {
            IpAddr::V4(address) => rule.self_v4 = rule.self_v4.or(Some(address)),
            IpAddr::V6(address) if address.is_unicast_link_local() => {
                rule.self_link_local = rule.self_link_local.or(Some(address));
            }
            IpAddr::V6(address) => rule.self_v6 = rule.self_v6.or(Some(address)),
        };
        own(import.local_address);
        let on_link = import.kind == PeerKind::External && peer.settings.multihop_ttl.is_none();
        if let Some(fib) = &self.fib
            && let Some(ifindex) = fib.link_of_address(import.local_address)
        {
            let addresses = fib.addresses(ifindex);
            for (address, _) in &addresses {
                own(*address);
            }
            if on_link {
                let subnets = addresses.iter().filter_map(|(address, len)| Prefix::of(*address, *len));
                rule.connected = subnets.filter(|subnet| subnet.family() == family).find(|subnet| {
                    subnet.family() != Prefix::host(peer.address).family() || subnet.contains(peer.address)
                });
            }
        }
        if !on_link {
            rule.self_link_local = None;
        }
        if import.decode.extended_next_hop && import.local_address.is_ipv6() {
            // RFC 8950: who asks for IPv6 next hops has a way to this address, and maybe none to an IPv4 address.
            rule.self_v4 = None;
        }
        rule
    }

    /// Our end of the established connection, and the peer's.
    pub(crate) fn sockets(&self, id: PeerId) -> Option<(SocketAddr, SocketAddr)> {
        let conn = self.conns.get(self.peers[id.index()].as_ref()?.established_conn()?)?;
        Some((conn.local?, conn.remote))
    }

    /// A peer's state changed: whoever watches is told.
    pub(super) fn note_peer_event(&mut self, id: PeerId) {
        if self.watch.peers {
            self.watch.peer_changes.push(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_malformed_update_is_logged_once_a_minute() {
        let mut findings = Findings::default();
        let mut told = |now, code, problem| findings.is_worth_a_line(Time(now), (code, problem));
        assert!(told(1, 1, Problem::Value) && told(2, 1, Problem::Flags) && told(3, 2, Problem::Value));
        assert!(!told(60_000, 1, Problem::Value) && told(60_001, 1, Problem::Value));
        // More kinds than are told apart: the rest waits until one of them has rested.
        let lines = (10..100).filter(|code| told(60_001, *code, Problem::Length)).count();
        assert_eq!(lines, FINDING_KINDS_MAX - 3);
        assert!(told(60_002, 200, Problem::Length) && !told(60_002, 201, Problem::Length));
    }
}
