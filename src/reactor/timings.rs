//! How the loop spends its time.

use std::time::Instant;

use crate::control::message::StageStatistics;

/// The stages of a turn, in their order.
const STAGES: [&str; 3] = ["read", "work", "write"];

/// Sums and maxima since the start.
#[derive(Debug, Default)]
pub(super) struct Timings {
    turns: u64,
    busy_ns: u64,
    longest_turn_ns: u64,
    stages: [Stage; STAGES.len()],
}

#[derive(Clone, Copy, Debug, Default)]
struct Stage {
    busy_ns: u64,
    longest_ns: u64,
}

impl Timings {
    /// Counts a turn by the moments at which its stages ended; the first is its begin.
    pub fn record(&mut self, moments: [Instant; STAGES.len() + 1]) {
        let between = |from: Instant, to: Instant| to.duration_since(from).as_nanos() as u64;
        let turn_ns = between(moments[0], moments[STAGES.len()]);
        self.turns += 1;
        self.busy_ns += turn_ns;
        self.longest_turn_ns = self.longest_turn_ns.max(turn_ns);
        for (stage, pair) in self.stages.iter_mut().zip(moments.windows(2)) {
            let ns = between(pair[0], pair[1]);
            stage.busy_ns += ns;
            stage.longest_ns = stage.longest_ns.max(ns);
        }
    }

    pub fn turns(&self) -> u64 {
        self.turns
    }

    pub fn busy_ns(&self) -> u64 {
        self.busy_ns
    }

    pub fn longest_turn_ns(&self) -> u64 {
        self.longest_turn_ns
    }

    pub fn stages(&self) -> Vec<StageStatistics> {
        let row = |(name, stage): (&&'static str, &Stage)| StageStatistics {
            name,
            runs: self.turns,
            busy_ns: stage.busy_ns,
            longest_ns: stage.longest_ns,
        };
        STAGES.iter().zip(&self.stages).map(row).collect()
    }
}
