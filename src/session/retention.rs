//! The helper's side of graceful restart (RFC 4724 §4.2): which families' routes outlive their session, and
//! until when.
//!
//! Two waits follow each other: the restart timer, while there is no session, for as long as the peer asked
//! for; then the stale timer, while there is one again, until End-of-RIB comes. Whatever ends a wait, the
//! families it ends for are given back, so that their stale routes can be removed.

use crate::types::{Family, FamilySet, Time};

use super::negotiate::Restart;

/// Families whose routes are kept as stale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Retention {
    families: FamilySet,
    deadline: Option<Time>,
}

impl Retention {
    /// The families that still have stale routes.
    pub fn families(&self) -> FamilySet {
        self.families
    }

    /// When the wait is over.
    pub fn deadline(&self) -> Option<Time> {
        self.deadline
    }

    /// The session went down and the routes of `families` are kept for `restart_time_s`. Routes that were
    /// stale before are the caller's to remove (RFC 4724 §4.2: consecutive restarts).
    pub fn begin(&mut self, families: FamilySet, restart_time_s: u16, now: Time) {
        let deadline = (!families.is_empty()).then(|| now.plus_s(restart_time_s.into()));
        *self = Retention { families, deadline };
    }

    /// The session is up again with what the peer now says of itself. Gives back the families whose
    /// forwarding state was lost, which are not waited for any longer.
    pub fn resume(&mut self, restart: Option<&Restart>, stale_time_s: u32, now: Time) -> FamilySet {
        let preserved = restart.map_or(FamilySet::EMPTY, |restart| restart.forwarding);
        let kept = self.families.intersection(preserved);
        let lost = self.families.iter().filter(|family| !kept.contains(*family)).collect();
        let deadline = (!kept.is_empty()).then(|| now.plus_s(stale_time_s.into()));
        *self = Retention { families: kept, deadline };
        lost
    }

    /// The peer has told all it has of `family`. Whether stale routes are left to be removed.
    pub fn end_of_rib(&mut self, family: Family) -> bool {
        let waited = self.families.contains(family);
        self.families.remove(family);
        if self.families.is_empty() {
            self.deadline = None;
        }
        waited
    }

    /// Ends every wait and gives back its families.
    pub fn end(&mut self) -> FamilySet {
        std::mem::take(self).families
    }
}
