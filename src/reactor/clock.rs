//! The one place that reads the clock.

use std::time::Instant;

use crate::types::Time;

/// The loop's monotonic clock, counting from the start of the process.
pub(super) struct Clock {
    start: Instant,
}

impl Clock {
    /// Starts counting.
    pub fn start() -> Clock {
        Clock { start: Instant::now() }
    }

    /// The moment of the call.
    pub fn now(&self) -> Time {
        Time(self.start.elapsed().as_millis() as u64)
    }
}
