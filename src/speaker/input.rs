//! UPDATE messages on their way into the RIB.
//!
//! A message carries one set of attributes, so that checks, import policy and interning happen once a message, not
//! once a prefix; only a policy that looked at the prefix is asked again for each. What must not be used (RFC 7606
//! treat-as-withdraw, loops, rejected by policy) withdraws what the peer had announced before.

use std::rc::Rc;

use log::{debug, warn};

use super::Speaker;
use super::peer::Import;
use crate::policy::{NextHopAction, Policy, RouteContext, Verdict};
use crate::types::*;
use crate::wire::{Nlri, PathAttributes, Reach, UpdateView, canonicalize, decode_update};

/// Buffers that every message uses in turn.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub prefixes4: Vec<Prefix4>,
    pub prefixes6: Vec<Prefix6>,
    pub block: Vec<u8>,
    pub policy_block: Vec<u8>,
}

/// Why a route that is well formed must not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unusable {
    /// Our own AS is in the path (RFC 4271 §9.1.2).
    AsLoop,
    /// We are its originator (RFC 4456 §8).
    OwnRoute,
    /// It has passed our cluster (RFC 4456 §8).
    ClusterLoop,
    /// Its next hop would be ourselves (RFC 4271 §5.1.3).
    OwnNextHop,
}

impl Speaker {
    /// Takes an UPDATE of an established session.
    pub(super) fn update(&mut self, now: Time, id: PeerId, body: &[u8]) {
        let Some(peer) = self.peers[id.index()].as_deref_mut() else { return };
        let Some(import) = peer.import.as_deref() else { return };
        let view = match decode_update(body, &import.decode) {
            Ok(view) => view,
            Err(notification) => {
                let slot = import.slot;
                return self.protocol_error(now, id, slot, notification);
            }
        };
        for finding in view.findings() {
            peer.findings.note(now, peer.address, finding);
        }
        if let Some(family) = view.end_of_rib() {
            return self.end_of_rib(now, id, family);
        }
        let local_address = import.local_address;
        for nlri in view.withdrawals() {
            self.withdraw_nlri(id, &nlri);
        }
        let mut announced = false;
        for reach in view.announcements() {
            if self.announce(id, &view, &reach) {
                announced = true;
                self.note_link_scope(reach.next_hop, local_address);
            }
        }
        if announced {
            self.check_prefix_limit(now, id);
        }
    }

    /// Announces what a message says of one family; returns whether anything was let in.
    fn announce(&mut self, id: PeerId, view: &UpdateView<'_>, reach: &Reach<'_>) -> bool {
        self.scratch.block.clear();
        canonicalize(view, &mut self.scratch.block);
        let Some(import) = self.peers[id.index()].as_ref().and_then(|peer| peer.import.as_deref()) else {
            return false;
        };
        if self.unusable(import, &PathAttributes::new(&self.scratch.block), reach.next_hop).is_some() {
            self.unusable_count += 1;
            self.withdraw_nlri(id, &reach.nlri);
            return false;
        }
        let policy = Rc::clone(&import.policy);
        self.decode(id, &reach.nlri);
        let family = reach.nlri.family();
        match policy.constant() {
            Some(Verdict::Accept) => {
                let attrs = self.rib.intern(&self.scratch.block, reach.next_hop);
                match family {
                    Family::Ipv4Unicast => self.rib.announce4(id, attrs, &self.scratch.prefixes4),
                    Family::Ipv6Unicast => self.rib.announce6(id, attrs, &self.scratch.prefixes6),
                }
                self.rib.release(attrs);
                true
            }
            Some(Verdict::Reject) => {
                self.withdraw_decoded(id, family);
                false
            }
            None => self.announce_by_policy(id, &policy, family, reach.next_hop),
        }
    }

    /// Evaluates the import policy for the prefixes in the scratch buffer: once if it does not look at the
    /// prefix, else for each.
    fn announce_by_policy(&mut self, id: PeerId, policy: &Policy, family: Family, next_hop: NextHop) -> bool {
        let Some(peer) = self.peers[id.index()].as_deref() else { return false };
        let Some(import) = peer.import.as_deref() else { return false };
        let mut route = RouteContext {
            family,
            prefix: Prefix::host(peer.address),
            peer_address: Some(peer.address),
            peer_asn: import.asn,
            local_asn: import.local_asn,
            next_hop,
        };
        let local_address = import.local_address;
        let scratch = &mut self.scratch;
        let count = match family {
            Family::Ipv4Unicast => scratch.prefixes4.len(),
            Family::Ipv6Unicast => scratch.prefixes6.len(),
        };
        let mut accepted = false;
        let mut index = 0;
        while index < count {
            route.prefix = match family {
                Family::Ipv4Unicast => Prefix::V4(scratch.prefixes4[index]),
                Family::Ipv6Unicast => Prefix::V6(scratch.prefixes6[index]),
            };
            let evaluation = policy.evaluate(&route, &scratch.block, &mut scratch.policy_block);
            // Without a look at the prefix, what holds for this one holds for all that follow.
            let end = if evaluation.used_prefix { index + 1 } else { count };
            let block = if evaluation.modified { &scratch.policy_block } else { &scratch.block };
            match evaluation.verdict {
                Verdict::Accept => {
                    let next_hop = match evaluation.next_hop {
                        Some(NextHopAction::Address(addr)) => NextHop::new(addr),
                        Some(NextHopAction::Itself) => NextHop::new(local_address),
                        Some(NextHopAction::Unchanged) | None => next_hop,
                    };
                    let attrs = self.rib.intern(block, next_hop);
                    match family {
                        Family::Ipv4Unicast => self.rib.announce4(id, attrs, &scratch.prefixes4[index..end]),
                        Family::Ipv6Unicast => self.rib.announce6(id, attrs, &scratch.prefixes6[index..end]),
                    }
                    self.rib.release(attrs);
                    accepted = true;
                }
                Verdict::Reject => match family {
                    Family::Ipv4Unicast => self.rib.withdraw4(id, &scratch.prefixes4[index..end]),
                    Family::Ipv6Unicast => self.rib.withdraw6(id, &scratch.prefixes6[index..end]),
                },
            }
            index = end;
        }
        accepted
    }

    fn unusable(
        &self,
        import: &Import,
        attributes: &PathAttributes<'_>,
        next_hop: NextHop,
    ) -> Option<Unusable> {
        let own_asn = self.config.speaker.asn;
        let seen =
            attributes.as_path().asns().filter(|asn| *asn == own_asn || *asn == import.local_asn).count();
        if seen > usize::from(import.allow_own_asn) {
            return Some(Unusable::AsLoop);
        }
        if import.kind.is_internal() {
            if attributes.originator_id() == Some(self.config.speaker.router_id) {
                return Some(Unusable::OwnRoute);
            }
            if attributes.cluster_list().any(|cluster| cluster == self.config.speaker.cluster_id) {
                return Some(Unusable::ClusterLoop);
            }
        }
        (next_hop.addr == import.local_address).then_some(Unusable::OwnNextHop)
    }

    fn withdraw_nlri(&mut self, id: PeerId, nlri: &Nlri<'_>) {
        self.decode(id, nlri);
        self.withdraw_decoded(id, nlri.family());
    }

    /// Reads prefixes into the buffer of their family.
    fn decode(&mut self, id: PeerId, nlri: &Nlri<'_>) {
        match nlri.family() {
            Family::Ipv4Unicast => {
                self.scratch.prefixes4.clear();
                nlri.decode4(&mut self.scratch.prefixes4);
            }
            Family::Ipv6Unicast => {
                self.scratch.prefixes6.clear();
                nlri.decode6(&mut self.scratch.prefixes6);
            }
        }
        if self.watch.adj_in {
            self.watch.said.extend(nlri.iter().map(|item| (id, item.prefix)));
        }
    }

    fn withdraw_decoded(&mut self, id: PeerId, family: Family) {
        match family {
            Family::Ipv4Unicast => self.rib.withdraw4(id, &self.scratch.prefixes4),
            Family::Ipv6Unicast => self.rib.withdraw6(id, &self.scratch.prefixes6),
        }
    }

    /// Holds what a peer has announced against its limit (RFC 4271 §6.7, RFC 4486 §4).
    pub(super) fn check_prefix_limit(&mut self, now: Time, id: PeerId) {
        let Some(peer) = self.peers[id.index()].as_deref_mut() else { return };
        let (Some(limit), Some(import)) = (peer.settings.prefix_limit, peer.import.as_deref()) else {
            return;
        };
        for family in import.families.iter() {
            let count = self.rib.path_count(id, family);
            if count > limit.max && !limit.warning_only {
                warn!("{}: {count} {family} prefixes, over the limit of {}", peer.address, limit.max);
                peer.session.handle_prefix_limit(family, limit.max, limit.restart_s, now);
                return self.drive(now, id);
            }
            let warn_at = u64::from(limit.max) * u64::from(limit.warning_percent) / 100;
            if u64::from(count) > warn_at && !peer.limit_warned.contains(family) {
                peer.limit_warned.insert(family);
                warn!("{}: {count} {family} prefixes of at most {}", peer.address, limit.max);
            }
        }
    }

    /// The peer has sent all it has of a family (RFC 4724 §2).
    fn end_of_rib(&mut self, now: Time, id: PeerId, family: Family) {
        let Some(peer) = self.peers[id.index()].as_deref_mut() else { return };
        debug!("{}: End-of-RIB of {family}", peer.address);
        peer.end_of_rib.insert(family);
        peer.session.handle_end_of_rib(family);
        self.drive(now, id);
        self.check_initial_sync(now);
    }
}
