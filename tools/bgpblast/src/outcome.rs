//! What a run found: the one structure that the summary, `--json` and the report are made of.

use serde::{Deserialize, Serialize};

/// Everything about one run of one scenario against one speaker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The scenario's name.
    pub scenario: String,
    /// What it does, in a sentence.
    pub description: String,
    /// The command line as it was given.
    pub command: Vec<String>,
    /// When it began, in UTC (RFC 3339).
    pub started: String,
    /// Where it ran.
    pub machine: Machine,
    /// Against what.
    pub target: Target,
    /// Whether the scenario ran to its end. If not, every figure is of the part that was run.
    pub complete: bool,
    /// Why not.
    pub failure: Option<String>,
    /// The numbers that the scenario is about, the most important first.
    pub figures: Vec<Figure>,
    /// What was done, in order.
    pub phases: Vec<Phase>,
    /// How many routes the receivers held over time.
    pub curve: Curve,
    /// What the speaker used over time; empty where its process is not known.
    pub usage: Vec<UsageSample>,
    /// How long single routes took.
    pub latencies: Vec<Latency>,
    /// What the tool itself used, and the floor below which it cannot measure.
    pub tool: Tool,
    /// What the speaker did that it should not have done.
    pub findings: Vec<Finding>,
    /// Routes that did not come out as they should, the first of them in full.
    pub differences: Vec<Difference>,
    /// How many there were in all.
    pub difference_count: u64,
    /// What a reader of the figures should know.
    pub warnings: Vec<String>,
}

/// The machine that a run was made on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's name.
    pub processor: String,
    /// How many cores may be used.
    pub cores: usize,
    /// Main memory, MB.
    pub memory_mb: u64,
    /// The kernel's release.
    pub kernel: String,
}

/// The speaker under test.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// Its name: `kulan`, `bird`, or the address where it is not known.
    pub name: String,
    /// Its version, where it says.
    pub version: Option<String>,
    /// Where it was reached.
    pub address: String,
    /// Its process, where known.
    pub pid: Option<u32>,
    /// The configuration that it ran with, where bgpblast wrote it.
    pub configuration: Option<String>,
}

/// One number.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// What it is.
    pub name: String,
    /// Its unit: `s`, `ms`, `MB`, `routes/s`, `` for a count.
    pub unit: String,
    /// The number.
    pub value: f64,
    /// Whether less is better.
    pub less_is_better: bool,
}

/// A part of a scenario.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// When it began, in seconds since the first phase did.
    pub start_s: f64,
    /// How long it took.
    pub duration_s: f64,
    /// Its own numbers.
    pub figures: Vec<Figure>,
}

/// Samples over time, all lists of the same length.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// Seconds since the first phase began.
    pub at_s: Vec<f64>,
    /// How many receivers there are.
    pub receivers: usize,
    /// How many routes every receiver should hold in the end, at most.
    pub expected: u64,
    /// The routes that the emptiest receiver held.
    pub least: Vec<u64>,
    /// A tenth of the receivers held no more than this.
    pub p10: Vec<u64>,
    /// Half of the receivers held no more than this.
    pub median: Vec<u64>,
    /// Nine tenths of the receivers held no more than this.
    pub p90: Vec<u64>,
    /// The routes that the fullest receiver held.
    pub most: Vec<u64>,
    /// Established sessions.
    pub established: Vec<u64>,
    /// Routes and withdrawals that all receivers took until then.
    pub received: Vec<u64>,
    /// Octets that all senders had put into their sockets until then.
    pub sent_bytes: Vec<u64>,
    /// Octets that all receivers took until then.
    pub received_bytes: Vec<u64>,
}

/// What the speaker had used at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UsageSample {
    /// Seconds since the first phase began.
    pub at_s: f64,
    /// Processor time until then, user and system, s.
    pub cpu_s: f64,
    /// Resident memory, MB.
    pub resident_mb: f64,
}

/// The distribution of one kind of latency.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Of what.
    pub name: String,
    /// How many were measured.
    pub count: u64,
    /// Half took no longer, ms.
    pub p50_ms: f64,
    /// Nine tenths took no longer, ms.
    pub p90_ms: f64,
    /// 99 of 100 took no longer, ms.
    pub p99_ms: f64,
    /// 999 of 1000 took no longer, ms.
    pub p999_ms: f64,
    /// The longest, ms.
    pub max_ms: f64,
    /// The histogram: upper bound in ms (ascending, in steps of equal ratio) and how many lay between the bound
    /// before and this one.
    pub buckets: Vec<(f64, u64)>,
}

/// What the tool itself was able to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tool {
    /// Its processor time during the run, s.
    pub cpu_s: f64,
    /// The run's duration, s.
    pub wall_s: f64,
    /// How long the same load takes into a sink that reads and throws away, s.
    pub null_sink_s: Option<f64>,
    /// How long the scenario takes against a perfect speaker, which has everything encoded: the least that can
    /// be measured, s.
    pub floor_s: Option<f64>,
    /// The figure that the floor is to be compared with, s.
    pub measured_s: Option<f64>,
}

/// Something that the speaker did and should not have done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// What kind: `session drop`, `hold timer expired`, `refused at first`, `malformed UPDATE`, `unexpected withdrawal`,
    /// `withdrawal of what was not there`, `duplicate`, `End-of-RIB more than once`, `End-of-RIB out of order`,
    /// `no End-of-RIB`.
    pub kind: String,
    /// How often.
    pub count: u64,
    /// At how many peers.
    pub peers: u64,
    /// The first of them, in words.
    pub example: String,
    /// Whether this alone makes the run a failure.
    pub serious: bool,
}

/// A route that did not come out as it should.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// The receiver's address.
    pub receiver: String,
    /// The prefix.
    pub prefix: String,
    /// What should be there, an attribute a line; empty: no route.
    pub expected: Vec<String>,
    /// What is there.
    pub held: Vec<String>,
}

impl Outcome {
    /// Whether everything ran, and came out as it should.
    pub fn passed(&self) -> bool {
        self.complete && self.difference_count == 0 && !self.findings.iter().any(|finding| finding.serious)
    }

    /// A headline figure.
    pub fn figure(&self, name: &str) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.name == name)
    }
}

/// One scenario against several speakers, several times, in alternation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The scenario's name.
    pub scenario: String,
    /// What it does, in a sentence.
    pub description: String,
    /// The command line as it was given.
    pub command: Vec<String>,
    /// When it began, in UTC (RFC 3339).
    pub started: String,
    /// Where it ran.
    pub machine: Machine,
    /// How many rounds were asked for.
    pub runs: usize,
    /// The speakers in the order in which they ran within a round. Ratios are of kulan, or else of the first one, to each of
    /// the others.
    pub speakers: Vec<Contender>,
}

/// All runs of one speaker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Contender {
    /// Its name.
    pub name: String,
    /// Its version, where it says.
    pub version: Option<String>,
    /// The configuration that it ran with.
    pub configuration: String,
    /// Why it did not take part, where it did not: not installed, or it cannot do what the scenario asks.
    pub absent: Option<String>,
    /// One a round; a run that failed is among them, marked as not complete.
    pub outcomes: Vec<Outcome>,
}
