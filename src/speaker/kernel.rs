//! Between RIB and FIB: which next hops are followed, what their state means for the decision process, and which
//! destinations the kernel is to hold.
//!
//! Only learned routes are installed; what the speaker originates is the node's own and already there.

use std::net::{IpAddr, Ipv6Addr};

use smallvec::SmallVec;

use super::Speaker;
use crate::fib::{Destinations, Fib};
use crate::rib::Rib;
use crate::types::*;

/// Batches that are under way, and next hops that changed, are looked at a turn at a time; this bounds the latter.
const NEXT_HOP_CHANGES_PER_TURN: usize = 1024;

impl Speaker {
    /// Carries next hops to and from next-hop tracking. Without a FIB every next hop counts as reachable.
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
            let Some(fib) = &mut self.fib else { continue };
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
