//! What happens at a stranger's command is logged once in a while, with a count, however often it happens.

use crate::types::Time;

/// How long the same thing stays unmentioned after it was logged, in milliseconds.
pub(super) const PAUSE_MS: u64 = 60_000;

/// How often something happened since it was last logged.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Paced {
    count: u64,
    logged_at: Option<Time>,
}

impl Paced {
    /// It happened again. If it is to be logged now: how often it happened since the line before, this time included.
    pub fn note(&mut self, now: Time) -> Option<u64> {
        self.count += 1;
        self.is_due(now).then(|| {
            self.logged_at = Some(now);
            std::mem::take(&mut self.count)
        })
    }

    /// Whether it would be logged now.
    pub fn is_due(&self, now: Time) -> bool {
        self.logged_at.is_none_or(|at| now.since_ms(at) >= PAUSE_MS)
    }
}
