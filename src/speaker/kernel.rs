//! Between RIB and FIB: which next hops are followed, what their state means for the decision process, and which
//! destinations the kernel is to hold.
//!
//! Only learned routes are installed; what the speaker originates is the node's own and already there.

use smallvec::SmallVec;

use super::Speaker;
use crate::types::*;

/// Batches that are under way, and next hops that changed, are looked at a turn at a time; this bounds the latter.
const NEXT_HOP_CHANGES_PER_TURN: usize = 1024;

impl Speaker {
    /// Carries next hops to and from next-hop tracking. Without a FIB every next hop counts as reachable.
    pub(super) fn follow_next_hops(&mut self) {
        while let Some((id, _)) = self.rib.poll_next_hop_dropped() {
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
                fib.track(id, next_hop, self.link_scope.get(&next_hop.addr).copied().unwrap_or(0));
            }
        }
        let Some(fib) = &mut self.fib else { return };
        for _ in 0..NEXT_HOP_CHANGES_PER_TURN {
            let Some(change) = fib.poll_next_hop_change() else { break };
            self.rib.set_next_hop_state(change.id, change.reachable, change.metric);
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

    /// Whether there is a kernel to talk to.
    pub fn wants_netlink(&self) -> bool {
        self.fib.is_some()
    }

    /// Writes the next netlink requests into `out`; returns whether there are any.
    pub fn poll_netlink(&mut self, now: Time, out: &mut Vec<u8>) -> bool {
        let rib = &self.rib;
        self.fib
            .as_mut()
            .is_some_and(|fib| fib.poll_batch(now, &|family, dest| rib.prefix(family, dest), out))
    }

    /// Takes what was read from the netlink socket.
    pub fn handle_netlink(&mut self, now: Time, bytes: &[u8]) {
        if let Some(fib) = &mut self.fib {
            fib.handle_netlink(now, bytes);
        }
    }

    /// A send to the kernel failed.
    pub fn handle_netlink_send_error(&mut self, now: Time, errno: i32) {
        if let Some(fib) = &mut self.fib {
            fib.handle_send_error(now, errno);
        }
    }

    /// A receive from the kernel failed; ENOBUFS: messages were lost.
    pub fn handle_netlink_receive_error(&mut self, now: Time, errno: i32) {
        if let Some(fib) = &mut self.fib {
            fib.handle_receive_error(now, errno);
        }
    }
}
