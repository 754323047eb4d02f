//! Between RIB and FIB: which next hops are followed, what their state means for the decision process, and which
//! destinations the kernel is to hold.
//!
//! Only learned routes are installed; what the speaker originates is the node's own and already there.

use std::net::{IpAddr, Ipv6Addr};

use smallvec::SmallVec;

use super::conn::Action;
use super::{Speaker, decision_options, fib_options};
use crate::config::DomainConfig;
use crate::fib::{Destinations, Fib};
use crate::rib::Rib;
use crate::types::*;

/// Batches that are under way, and next hops that changed, are looked at a turn at a time; this bounds the latter.
const NEXT_HOP_CHANGES_PER_TURN: usize = 1024;

/// Destinations that are given to the kernel's side in one turn when it has begun anew: about a millisecond.
const REINSTALL_PER_TURN: u32 = 8_192;

/// A change of the kernel's use that is being carried out.
#[derive(Debug)]
pub(super) struct KernelChange {
    /// Whether paths needed a next hop that the kernel can reach before.
    resolved: bool,
    /// The next destination to be installed, once it is known what the kernel has.
    next: Option<(Family, u32)>,
}

impl Speaker {
    /// Carries next hops to and from next-hop tracking. Unless they are followed every one counts as reachable.
    pub(super) fn follow_next_hops(&mut self) {
        while let Some((id, next_hop)) = self.rib.poll_next_hop_dropped() {
            if let Some(address) = link_local(next_hop) {
                self.link_scopes.remove(&address);
            }
            if let Some(fib) = &mut self.fib {
                fib.untrack(id);
            }
        }
        while let Some(id) = self.rib.poll_next_hop_added() {
            let next_hop = self.rib.next_hops().addr(id);
            let Some(fib) = self.fib.as_mut().filter(|fib| fib.options().follows_routes()) else { continue };
            if next_hop.addr.is_unspecified() {
                // Our own routes have no next hop to reach.
                self.rib.set_next_hop_state(id, true, 0);
            } else {
                let scope = link_local(next_hop).and_then(|address| self.link_scopes.get(&address));
                fib.track(id, next_hop, scope.copied().unwrap_or(0));
            }
        }
        let Some(fib) = &mut self.fib else { return };
        for _ in 0..NEXT_HOP_CHANGES_PER_TURN {
            let Some(change) = fib.poll_next_hop_change() else { break };
            self.rib.set_next_hop_state(change.id, change.reachable, change.metric);
        }
    }

    /// Remembers on which interface a link-local next hop was learned: alone it says nothing. `local` is our end of
    /// the session that it came over.
    pub(super) fn note_link_scope(&mut self, next_hop: NextHop, local: IpAddr) {
        if let (Some(fib), Some(address)) = (&self.fib, link_local(next_hop))
            && let Some(ifindex) = fib.link_of_address(local)
        {
            self.link_scopes.insert(address, ifindex);
        }
    }

    /// Tells the FIB what the decision process changed.
    pub(super) fn install(&mut self, family: Family, changed: &[DestId]) {
        let Some(fib) = &mut self.fib else { return };
        if !fib.options().install {
            return;
        }
        let mut paths = SmallVec::new();
        let mut next_hops: SmallVec<[NextHopId; 8]> = SmallVec::new();
        for &dest in changed {
            match self.rib.best(family, dest) {
                Some(best) if best.peer != PeerId::LOCAL => {
                    self.rib.multipath(family, dest, &mut paths);
                    next_hops.clear();
                    next_hops.extend(paths.iter().map(|path| self.rib.attrs().meta(path.attrs).next_hop));
                    fib.set_route(family, dest, &next_hops);
                }
                _ => fib.remove_route(family, dest),
            }
        }
    }

    /// Uses the kernel in another way: another table or metric, installing or not, following next hops or not. The
    /// kernel's side begins anew, as after a restart of the process: it reads what is there, keeps what is wanted,
    /// and removes what the configuration `before` had elsewhere once all of it is in its new place.
    pub(super) fn change_kernel(&mut self, before: &DomainConfig) {
        let domain = &self.config.domains[0];
        let mut options = fib_options(domain);
        options.evict = self.fib.as_ref().map(Fib::places).unwrap_or_default();
        let (table, routes) = (options.table, options.follows_routes());
        let mut fib = Fib::new(options);
        let next_hops =
            self.rib.next_hops().iter().filter(|(_, hop, _)| routes && !hop.addr.is_unspecified());
        for (id, next_hop, _) in next_hops {
            let scope = link_local(next_hop).and_then(|address| self.link_scopes.get(&address));
            fib.track(id, next_hop, scope.copied().unwrap_or(0));
        }
        self.fib = Some(fib);
        for family in self.initial_sync.deferred().iter() {
            self.defer(family, true);
        }
        let resolved = self.kernel_change.as_ref().map_or(before.resolve_next_hops, |change| change.resolved);
        self.kernel_change = Some(KernelChange { resolved, next: None });
        self.actions.push_back(Action::OpenKernel { table, routes });
    }

    /// Goes on with a change of the kernel's use, once the kernel's state is known; returns whether there is more to
    /// do at once.
    pub(super) fn continue_kernel_change(&mut self) -> bool {
        let Some(KernelChange { next, .. }) = self.kernel_change else { return false };
        let Some((family, from)) = next else {
            if self.fib.as_ref().is_some_and(|fib| fib.is_ready() && fib.is_resolved()) {
                // Not before: paths would be dropped for next hops of which nothing is known yet.
                self.rib.set_options(decision_options(&self.config));
                if let Some(change) = &mut self.kernel_change {
                    change.next = Some((Family::Ipv4Unicast, 0));
                }
                return true;
            }
            return false;
        };
        let end = self.rib.dest_end(family);
        let until = end.min(from.saturating_add(REINSTALL_PER_TURN));
        let dests: Vec<DestId> = (from..until).map(DestId).collect();
        self.install(family, &dests);
        let next = match family {
            _ if until < end => (family, until),
            Family::Ipv4Unicast => (Family::Ipv6Unicast, 0),
            Family::Ipv6Unicast => {
                self.kernel_change = None;
                self.initial_sync.sweep_unless_awaited();
                // Which addresses of ours stand as next hops depends on the interfaces that are known.
                self.regroup_all();
                return true;
            }
        };
        if let Some(change) = &mut self.kernel_change {
            change.next = Some(next);
        }
        true
    }

    /// Whether the kernel's side has come to something that the next turn has to go on with.
    pub(super) fn has_kernel_news(&self) -> bool {
        let waits = self.kernel_change.is_some() || self.initial_sync.waits_to_sweep();
        let news = |fib: &Fib| fib.has_next_hop_changes() || waits && fib.is_ready() && fib.is_resolved();
        self.fib.as_ref().is_some_and(news)
    }

    /// The switches of the decision process as they are to be now.
    pub(super) fn apply_decision_options(&mut self) {
        let mut options = decision_options(&self.config);
        if let Some(change) = &self.kernel_change {
            options.resolve_next_hops = change.resolved;
        }
        self.rib.set_options(options);
    }

    /// The kernel's side, and the table whose prefixes it asks for: what the netlink socket needs.
    pub(crate) fn kernel(&mut self) -> Option<(&mut Fib, &Rib)> {
        Some((self.fib.as_mut()?, &self.rib))
    }
}

impl Destinations for Rib {
    fn prefix(&self, family: Family, dest: DestId) -> Prefix {
        Rib::prefix(self, family, dest)
    }

    fn find(&self, prefix: Prefix) -> Option<DestId> {
        Rib::find(self, prefix)
    }
}

/// The link-local address of a next hop, in either place where it may stand (RFC 2545 §3).
fn link_local(next_hop: NextHop) -> Option<Ipv6Addr> {
    match next_hop.addr {
        IpAddr::V6(address) if address.is_unicast_link_local() => Some(address),
        _ => next_hop.link_local,
    }
}
