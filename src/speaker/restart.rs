//! What waits for everybody's End-of-RIB after our own start (RFC 4724 §4.1).
//!
//! For a while after the start the peers' tables come in one after another. Until all are complete, or a timer
//! expires, our own End-of-RIB is held back, so that a peer that kept our routes does not drop those that we are
//! about to announce again; and routes that an earlier process left in the kernel keep forwarding.

use super::Speaker;
use crate::types::*;

/// The two waits. They end by themselves and never begin again.
#[derive(Debug)]
pub(super) struct InitialSync {
    /// When End-of-RIB is sent whatever has come (the Selection_Deferral_Timer).
    end_of_rib_by: Option<Time>,
    /// When the kernel's stale routes go whatever has come.
    sweep_by: Option<Time>,
}

impl InitialSync {
    pub fn new(end_of_rib_by: Option<Time>, sweep_by: Option<Time>) -> InitialSync {
        InitialSync { end_of_rib_by, sweep_by }
    }

    /// The next moment at which something is over.
    pub fn deadline(&self) -> Option<Time> {
        match (self.end_of_rib_by, self.sweep_by) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Until when we count as restarting.
    pub fn end_of_rib_by(&self) -> Option<Time> {
        self.end_of_rib_by
    }

    fn is_over(&self) -> bool {
        self.end_of_rib_by.is_none() && self.sweep_by.is_none()
    }
}

impl Speaker {
    /// Whether the peers' tables are complete as far as anyone can tell: every configured peer that may be up is
    /// up and has sent End-of-RIB for every family in use. A peer that is restarting itself is not waited for
    /// (RFC 4724 §4.1), nor is one that a person keeps down.
    fn all_tables_are_in(&self) -> bool {
        self.peers.iter().flatten().all(|peer| {
            if peer.origin != super::peer::Origin::Configured || !peer.session.is_running() {
                return true;
            }
            let Some(negotiated) = peer.session.negotiated() else { return false };
            let restarting = negotiated.restart.as_ref().is_some_and(|restart| restart.restarting);
            restarting || negotiated.families.iter().all(|family| peer.end_of_rib.contains(family))
        })
    }

    /// Ends the waits that are over. To be called when a peer sent End-of-RIB, went down, or the time has come.
    pub(super) fn check_initial_sync(&mut self, now: Time) {
        if self.initial_sync.is_over() {
            return;
        }
        let complete = self.all_tables_are_in();
        if self.initial_sync.end_of_rib_by.is_some_and(|by| complete || by <= now) {
            self.initial_sync.end_of_rib_by = None;
            for family in Family::ALL {
                self.export.hold_end_of_rib(family, false);
            }
        }
        if self.initial_sync.sweep_by.is_some_and(|by| complete || by <= now) {
            self.initial_sync.sweep_by = None;
            if let Some(fib) = &mut self.fib {
                fib.end_of_initial_sync();
            }
        }
    }
}
