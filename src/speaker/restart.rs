//! What waits for everybody's End-of-RIB after our own start (RFC 4724 §4.1).
//!
//! For a while after the start the peers' tables come in one after another. What we would say and do by half of them
//! would be taken back by the other half, and a peer that kept our routes would drop those that we have not learned
//! yet. So, a family at a time, until all tables are complete or the Selection_Deferral_Timer expires:
//!
//! - nobody is told anything, neither routes nor End-of-RIB;
//! - what an earlier process left in the kernel is not replaced.
//!
//! The decision process itself runs on: its outcome is what counts when the wait is over, and a prefix for which the
//! kernel has nothing yet is installed at once, because no route is worse than any. Without graceful restart nobody
//! keeps our routes, so nothing of this waits.
//!
//! Routes of an earlier process that nobody announces again stay for longer: until every peer has sent End-of-RIB,
//! those without graceful restart too, or `stale_time_s` is over.

use super::Speaker;
use super::peer::{Origin, Peer};
use crate::config::Config;
use crate::types::*;

/// The waits. They end by themselves and never begin again.
#[derive(Debug)]
pub(super) struct InitialSync {
    /// The families whose routes are neither told nor put in the place of stale ones.
    deferred: FamilySet,
    /// When that is over whatever has come (the Selection_Deferral_Timer).
    select_by: Option<Time>,
    /// When the kernel's stale routes go whatever has come.
    sweep_by: Option<Time>,
    /// They are to go as soon as all that has come is decided.
    sweep_due: bool,
    /// Until when our OPENs say that we have restarted.
    restarting_until: Option<Time>,
}

impl InitialSync {
    /// Nothing waits.
    pub fn none() -> InitialSync {
        InitialSync {
            deferred: FamilySet::EMPTY,
            select_by: None,
            sweep_by: None,
            sweep_due: false,
            restarting_until: None,
        }
    }

    /// What waits from a start at `now` on.
    pub fn begin(now: Time, config: &Config) -> InitialSync {
        let restarts = config.peers.iter().map(|peer| &peer.settings);
        let restarts = restarts.chain(config.dynamic_peers.iter().map(|range| &range.settings));
        let restart_s = restarts
            .map(|settings| &settings.graceful_restart)
            .filter(|restart| restart.enabled)
            .map(|restart| restart.restart_time_s)
            .max();
        let deferral_s =
            restart_s.map(|s| config.speaker.selection_deferral_s.unwrap_or(s)).filter(|s| *s > 0);
        let domain = &config.domains[0];
        InitialSync {
            deferred: if deferral_s.is_some() { FamilySet::ALL } else { FamilySet::EMPTY },
            select_by: deferral_s.map(|s| now.plus_s(s.into())),
            sweep_by: domain.install.then(|| now.plus_s(domain.stale_time_s.into())),
            sweep_due: false,
            restarting_until: restart_s.map(|s| now.plus_s(s.into())),
        }
    }

    /// The kernel's side has begun anew and knows what is wanted: what is not wanted goes, unless peers' tables are
    /// awaited still.
    pub fn sweep_unless_awaited(&mut self) {
        self.sweep_due = self.sweep_by.is_none();
    }

    /// Whether stale routes are to go as soon as all that has come is decided.
    pub fn waits_to_sweep(&self) -> bool {
        self.sweep_due
    }

    /// The next moment at which something is over.
    pub fn deadline(&self) -> Option<Time> {
        [self.select_by, self.sweep_by].into_iter().flatten().min()
    }

    /// The families whose routes are neither told nor put in the place of stale ones.
    pub fn deferred(&self) -> FamilySet {
        self.deferred
    }

    /// Until when we count as restarting.
    pub fn restarting_until(&self) -> Option<Time> {
        self.restarting_until
    }

    fn is_over(&self) -> bool {
        self.select_by.is_none() && self.sweep_by.is_none()
    }
}

impl Peer {
    /// Whether the peer has told all it has of a family, as far as anyone can tell. A peer that is restarting itself
    /// is not waited for (RFC 4724 §4.1), nor is one that a person keeps down or that has not the family; one
    /// without the capability only if `patient`, because it may say when it is done all the same.
    fn has_told_all(&self, family: Family, patient: bool) -> bool {
        if !self.session.is_running() {
            return true;
        }
        let Some(negotiated) = self.session.negotiated() else { return self.origin != Origin::Configured };
        let awaited = negotiated.restart.as_ref().map_or(patient, |restart| !restart.restarting);
        !awaited || !negotiated.families.contains(family) || self.end_of_rib.contains(family)
    }
}

impl Speaker {
    fn all_have_told(&self, family: Family, patient: bool) -> bool {
        self.peers.iter().flatten().all(|peer| peer.has_told_all(family, patient))
    }

    fn all_have_told_patiently(&self) -> bool {
        Family::ALL.into_iter().all(|family| self.all_have_told(family, true))
    }

    /// Whether peers may come back that kept our routes and of whom we know nothing yet: only the timer ends the
    /// wait for them.
    fn awaits_strangers(&self) -> bool {
        self.config.dynamic_peers.iter().any(|range| range.settings.graceful_restart.enabled)
    }

    /// Ends the waits that are over. To be called when a peer sent End-of-RIB, came up, went down, or the time has
    /// come.
    pub(super) fn check_initial_sync(&mut self, now: Time) {
        if self.initial_sync.is_over() {
            return;
        }
        let late = |by: Option<Time>| by.is_some_and(|by| by <= now);
        let strangers = self.awaits_strangers();
        for family in self.initial_sync.deferred.iter() {
            if late(self.initial_sync.select_by) || !strangers && self.all_have_told(family, false) {
                self.initial_sync.deferred.remove(family);
                self.defer(family, false);
            }
        }
        if self.initial_sync.deferred.is_empty() && self.initial_sync.select_by.take().is_some() {
            self.initial_sync.restarting_until = None;
        }
        if let Some(by) = self.initial_sync.sweep_by
            && (by <= now || self.initial_sync.deferred.is_empty() && self.all_have_told_patiently())
        {
            self.initial_sync.sweep_by = None;
            self.initial_sync.sweep_due = true;
        }
    }

    /// Holds a family back from peers and from what is stale in the kernel, or lets it go.
    pub(super) fn defer(&mut self, family: Family, hold: bool) {
        self.export.hold(family, hold);
        if let Some(fib) = &mut self.fib {
            fib.hold_stale(family, hold);
        }
    }

    /// Gives up what an earlier process left in the kernel, once all that has come is `decided` and on its way there:
    /// a route that is learned again must not be away in between.
    pub(super) fn sweep_when_decided(&mut self, decided: bool) {
        if self.initial_sync.sweep_due
            && decided
            && self.kernel_change.is_none()
            && let Some(fib) = &mut self.fib
            && fib.is_resolved()
        {
            self.initial_sync.sweep_due = false;
            fib.end_of_initial_sync();
        }
    }
}
