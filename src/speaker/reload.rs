//! A new configuration for a running speaker: what changed is carried out, and nothing else.

use std::rc::Rc;

use super::Speaker;
use super::peer::Origin;
use crate::config::diff::{Change, Effect, PeerKey, diff, effect};
use crate::config::{Config, DomainConfig, PeerSettings};
use crate::policy::{Policies, PolicyModel};
use crate::session::SessionSettings;
use crate::types::*;

impl Speaker {
    /// Applies a checked configuration and says what that meant, a line each. Sessions whose configuration did not
    /// change stay as they are.
    pub fn reload(&mut self, now: Time, config: Config) -> Vec<String> {
        let changes = diff(&self.config, &config);
        self.policies = Policies::compile(&config.policies).expect("a checked configuration compiles");
        let before = std::mem::replace(&mut self.config, config);
        // Keys and peers may be others now.
        self.refusals.clear();
        let mut said = Vec::new();
        let mut moving = Vec::new();
        for change in changes {
            self.apply(now, change, &mut said, &mut moving);
        }
        self.follow_policies(now, &before.policies, &mut said, &mut moving);
        // All at once: peers that move together are told together.
        self.regroup(&moving);
        said
    }

    /// Peers that the API added are not in the configuration, but the policies that they name are.
    fn follow_policies(
        &mut self,
        now: Time,
        before: &PolicyModel,
        said: &mut Vec<String>,
        moving: &mut Vec<PeerId>,
    ) {
        for id in self.peer_ids() {
            let Some(peer) = self.peers[id.index()].as_deref() else { continue };
            let effect = effect(&peer.settings, &peer.settings, (before, &self.config.policies));
            if peer.origin == Origin::Api && effect != Effect::default() {
                said.push(format!("peer {}: {}", peer.address, words(effect)));
                self.make_effective(now, id, effect, moving);
            }
        }
    }

    /// Applies one change. Peers that belong into other update groups by it are left in `moving`.
    fn apply(&mut self, now: Time, change: Change, said: &mut Vec<String>, moving: &mut Vec<PeerId>) {
        match change {
            Change::Speaker { identity, listen, .. } => {
                self.apply_decision_options();
                if listen {
                    said.push("speaker.listen: restart the daemon to listen elsewhere".into());
                }
                if identity {
                    said.push("speaker: every session is reset".into());
                    for id in self.peer_ids() {
                        self.reconfigure(now, id);
                        // Not every session tells its peer what changed: the cluster identifier is in no OPEN.
                        if self.peers[id.index()].as_ref().is_some_and(|peer| peer.import.is_some()) {
                            self.reset(now, id, "the speaker's identity changed");
                        }
                    }
                } else {
                    said.push("speaker: applied".into());
                    self.regroup_all();
                }
            }
            Change::ApiNeedsRestart => said.push("api: restart the daemon to serve elsewhere".into()),
            Change::Policies => said.push("policies: compiled anew".into()),
            Change::DomainAdded(domain) => {
                said.push(format!("domain {}: restart the daemon to add it", domain.name));
            }
            Change::DomainRemoved(name) => {
                said.push(format!("domain {name}: restart the daemon to remove it"))
            }
            Change::DomainChanged { from, to } => {
                let use_of_kernel = |domain: &DomainConfig| {
                    (domain.table, domain.install, domain.metric, domain.resolve_next_hops)
                };
                if use_of_kernel(&from) != use_of_kernel(&to) {
                    self.change_kernel(&from);
                } else if let Some(fib) = &mut self.fib {
                    fib.set_max_paths(to.max_paths.into());
                }
                self.apply_decision_options();
                said.push(match (from.install, to.install) {
                    (true, false) => format!("domain {}: its routes leave the kernel", to.name),
                    (_, true) if use_of_kernel(&from) != use_of_kernel(&to) => {
                        format!(
                            "domain {}: its routes go into table {} at metric {}",
                            to.name, to.table, to.metric
                        )
                    }
                    _ => format!("domain {}: applied", to.name),
                });
            }
            Change::PeerAdded(peer) => {
                said.push(format!("peer {}: added", peer.address));
                // One that the API added meanwhile gives way.
                if let Some(id) = self.find_peer(peer.address) {
                    self.remove_peer(now, id);
                }
                self.add_peer(now, peer, Origin::Configured);
            }
            Change::PeerRemoved(PeerKey { address, .. }) => {
                said.push(format!("peer {address}: removed"));
                if let Some(id) = self.find_peer(address) {
                    self.remove_peer(now, id);
                }
            }
            Change::PeerChanged { to, effect } => {
                said.push(format!("peer {}: {}", to.address, words(effect)));
                if let Some(id) = self.find_peer(to.address) {
                    self.change_peer(now, id, to.settings, effect, moving);
                }
            }
            Change::DynamicAdded(dynamic) => {
                said.push(format!("dynamic peers {}: added", dynamic.range));
                self.set_range_key(dynamic.range, dynamic.settings.password);
            }
            Change::DynamicRemoved(range) => {
                said.push(format!("dynamic peers {range}: removed"));
                for id in self.dynamic_peers(range) {
                    self.remove_peer(now, id);
                }
                self.set_range_key(range, None);
            }
            Change::DynamicChanged { to, effect } => {
                said.push(format!("dynamic peers {}: {}", to.range, words(effect)));
                self.set_range_key(to.range, to.settings.password.clone());
                for id in self.dynamic_peers(to.range) {
                    self.change_peer(now, id, to.settings.clone(), effect, moving);
                }
            }
            Change::NetworkAdded(network) => {
                said.push(format!("network {}: announced", network.prefix));
                // One of the API's stands until it is deleted there.
                if !self.api_networks.contains(&network.prefix) {
                    self.originate(&network);
                }
            }
            Change::NetworkRemoved { prefix, .. } => {
                said.push(format!("network {prefix}: withdrawn"));
                if !self.api_networks.contains(&prefix) {
                    self.withdraw_own(prefix);
                }
            }
        }
    }

    fn change_peer(
        &mut self,
        now: Time,
        id: PeerId,
        settings: PeerSettings,
        effect: Effect,
        moving: &mut Vec<PeerId>,
    ) {
        let Some(peer) = self.peers[id.index()].as_deref_mut() else { return };
        let was_shut = peer.settings.shutdown.is_some();
        let shutdown = settings.shutdown.clone();
        let password_changed = peer.settings.password != settings.password;
        let key = settings.password.clone();
        let (address, dynamic) = (peer.address, matches!(peer.origin, Origin::Dynamic(_)));
        peer.settings = Rc::new(settings);
        if password_changed && !dynamic {
            self.set_listen_key(Prefix::host(address), key);
        }
        let Some(peer) = self.peers[id.index()].as_deref_mut() else { return };
        match shutdown {
            Some(reason) => peer.session.handle_shutdown(&reason, now),
            None if was_shut => peer.session.handle_start(now),
            None if effect.reset => peer.session.handle_reset("the configuration changed", now),
            None => {}
        }
        self.reconfigure(now, id);
        self.check_initial_sync(now);
        self.make_effective(now, id, effect, moving);
    }

    fn make_effective(&mut self, now: Time, id: PeerId, effect: Effect, moving: &mut Vec<PeerId>) {
        if effect.refresh_in {
            self.soft_reset_in(id);
        }
        if effect.refresh_out {
            moving.push(id);
        }
        if effect.check_limit {
            self.check_prefix_limit(now, id);
        }
    }

    /// Gives a session its settings anew; it goes down only if it cannot go on as it is.
    fn reconfigure(&mut self, now: Time, id: PeerId) {
        let Some(peer) = self.peers[id.index()].as_deref_mut() else { return };
        let settings = Rc::new(SessionSettings::new(&self.config.speaker, &peer.settings));
        peer.session.handle_reconfigured(settings, now);
        self.drive(now, id);
    }

    fn dynamic_peers(&self, range: Prefix) -> Vec<PeerId> {
        self.peer_ids()
            .into_iter()
            .filter(|id| {
                self.peers[id.index()].as_ref().is_some_and(|peer| peer.origin == Origin::Dynamic(range))
            })
            .collect()
    }
}

fn words(effect: Effect) -> String {
    if effect.reset {
        return "changed, the session is reset".into();
    }
    let mut parts = Vec::new();
    if effect.refresh_in {
        parts.push("its routes are asked for anew");
    }
    if effect.refresh_out {
        parts.push("ours are sent anew");
    }
    if effect.next_session {
        parts.push("hold time, graceful restart and extended messages count from its next session on");
    }
    if parts.is_empty() { "changed".into() } else { format!("changed, {}", parts.join(", ")) }
}
