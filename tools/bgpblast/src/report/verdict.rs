//! What a run came to, in words: whether it passed and why not, who was measured, and whether the speaker or the
//! tool was the limit. Terminal, page and drawing say the same.

use std::fmt;

use crate::outcome::{Comparison, Machine, Outcome, Tool};
use crate::report::number::{NONE, counted, percent, three, with_unit};
use crate::report::statistics::{Row, takers};

/// Below this share of the measured time the tool's own floor does not matter.
const FLOOR_SMALL: f64 = 0.3;
/// From this share on the tool was the limit.
const FLOOR_LARGE: f64 = 0.7;

/// Whether a run came out as it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everything ran and came out as it should.
    Pass,
    /// Everything ran; this did not come out as it should.
    Fail(String),
    /// This kept it from running to its end.
    Incomplete(String),
}

impl Verdict {
    /// The word alone.
    pub fn word(&self) -> &'static str {
        match self {
            Verdict::Pass => "PASS",
            Verdict::Fail(_) => "FAIL",
            Verdict::Incomplete(_) => "INCOMPLETE",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Pass => f.write_str(self.word()),
            Verdict::Fail(why) | Verdict::Incomplete(why) => write!(f, "{}: {why}", self.word()),
        }
    }
}

/// Whether a run came out as it should.
pub fn verdict(outcome: &Outcome) -> Verdict {
    if !outcome.complete {
        let why = outcome.failure.as_deref().unwrap_or("the scenario did not run to its end");
        return Verdict::Incomplete(why.to_owned());
    }
    if outcome.passed() {
        return Verdict::Pass;
    }
    let mut reasons = Vec::new();
    if outcome.difference_count > 0 {
        reasons.push(counted(outcome.difference_count, "route differs", "routes differ"));
    }
    for finding in outcome.findings.iter().filter(|finding| finding.serious) {
        let times = counted(finding.count, "time", "times");
        reasons.push(format!("{} {times} at {}", finding.kind, counted(finding.peers, "peer", "peers")));
    }
    Verdict::Fail(reasons.join("; "))
}

/// A speaker's name with its version.
pub fn versioned(name: &str, version: Option<&str>) -> String {
    match version {
        Some(version) => format!("{name} {version}"),
        None => name.to_owned(),
    }
}

/// The speaker under test.
pub fn target(outcome: &Outcome) -> String {
    versioned(&outcome.target.name, outcome.target.version.as_deref())
}

/// A comparison in a line.
pub fn versus(comparison: &Comparison) -> String {
    let names: Vec<&str> = takers(comparison).iter().map(|taker| taker.name.as_str()).collect();
    format!("{}: {}", comparison.scenario, names.join(", "))
}

/// A figure with its unit, and which way is better if it is not down.
pub fn row_name(row: &Row) -> String {
    let unit = if row.unit.is_empty() { String::new() } else { format!(", {}", row.unit) };
    let sense = if row.less_is_better { "" } else { " (more is better)" };
    format!("{}{unit}{sense}", row.name)
}

/// The machine in a line.
pub fn machine(machine: &Machine) -> String {
    let processor = if machine.processor.is_empty() { "unknown processor" } else { &machine.processor };
    let cores = counted(machine.cores as u64, "core", "cores");
    let memory = format!("{} GB", three(machine.memory_mb as f64 / 1000.0));
    let kernel = if machine.kernel.is_empty() { NONE } else { &machine.kernel };
    format!("{processor}, {cores}, {memory}, Linux {kernel}")
}

/// The floor beside what was measured.
pub fn floor(tool: &Tool) -> String {
    let seconds = |value: f64| with_unit(value, "s");
    match (tool.measured_s, tool.floor_s) {
        (Some(measured), Some(floor)) => format!(
            "measured {}; the tool's own floor {} ({})",
            seconds(measured),
            seconds(floor),
            percent(floor / measured)
        ),
        (Some(measured), None) => {
            format!("measured {}; the tool's own floor was not measured", seconds(measured))
        }
        (None, Some(floor)) => format!("the tool's own floor {}", seconds(floor)),
        (None, None) => "the tool's own floor was not measured".to_owned(),
    }
}

/// Whether the tool or the speaker was the limit.
pub fn limit(tool: &Tool) -> &'static str {
    let share = tool.measured_s.zip(tool.floor_s).map(|(measured, floor)| floor / measured);
    match share.filter(|share| share.is_finite()) {
        None => "Whether the tool or the speaker was the limit is not known.",
        Some(share) if share < FLOOR_SMALL => "The speaker was the limit, not the tool.",
        Some(share) if share < FLOOR_LARGE => {
            "Speaker and tool both took a large part: the speaker's own share is less than what was measured."
        }
        Some(_) => "The tool was the limit: the speaker may be faster than what was measured.",
    }
}

/// The tool's processor time.
pub fn tool_cpu(tool: &Tool) -> String {
    format!(
        "{} in {} ({} of a core)",
        with_unit(tool.cpu_s, "s"),
        with_unit(tool.wall_s, "s"),
        percent(tool.cpu_s / tool.wall_s)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Finding;

    #[test]
    fn every_reason_is_told() {
        let mut outcome = Outcome { complete: true, ..Outcome::default() };
        assert_eq!(verdict(&outcome), Verdict::Pass);
        outcome.difference_count = 12;
        let kind = "session drop".to_owned();
        outcome.findings.push(Finding { kind, count: 3, peers: 1, serious: true, ..Finding::default() });
        assert_eq!(verdict(&outcome).to_string(), "FAIL: 12 routes differ; session drop 3 times at 1 peer");
        outcome.complete = false;
        outcome.failure = Some("no route after 30 s".to_owned());
        assert_eq!(verdict(&outcome).to_string(), "INCOMPLETE: no route after 30 s");
    }

    #[test]
    fn the_limit_follows_from_the_floor() {
        let tool = |measured_s, floor_s| Tool { measured_s, floor_s, ..Tool::default() };
        assert_eq!(
            floor(&tool(Some(0.61), Some(0.12))),
            "measured 0.610 s; the tool's own floor 0.120 s (20 %)"
        );
        assert!(limit(&tool(Some(0.61), Some(0.12))).starts_with("The speaker"));
        assert!(limit(&tool(Some(0.61), Some(0.3))).starts_with("Speaker and tool"));
        assert!(limit(&tool(Some(0.61), Some(0.6))).starts_with("The tool"));
        assert!(limit(&tool(Some(0.0), Some(0.0))).contains("not known"));
        assert!(!tool_cpu(&Tool::default()).contains("NaN"));
    }
}
