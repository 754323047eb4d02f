//! The report for a terminal: plain text that also reads well in a pipe, a log or a bug report.
//!
//! No colours and no control characters; foreign text is stripped of them. Tables have one rule below their
//! heading and nothing else, prose is broken at the width that was asked for.

use comfy_table::{Cell, CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};

use crate::outcome::{Comparison, Contender, Figure, Outcome};
use crate::report::bars::numbers;
use crate::report::difference;
use crate::report::number::{counted, of_unit, three, with_unit};
use crate::report::statistics::{passed, rows, takers};
use crate::report::text::{plain, shell, wrap};
use crate::report::verdict::{self, Verdict};

/// How many differences are shown in full.
const DIFFERENCES: usize = 5;
/// Ratios of more speakers than this have a table of their own: columns would be too narrow.
const BESIDE: usize = 3;

/// One run.
pub fn summary(outcome: &Outcome, width: usize) -> String {
    let mut out = Paper::new(width);
    let verdict = verdict::verdict(outcome);
    out.prose("", &format!("{} against {}: {}", outcome.scenario, verdict::target(outcome), verdict.word()));
    match &verdict {
        Verdict::Pass => {}
        Verdict::Fail(why) => out.prose("  ", why),
        Verdict::Incomplete(why) => {
            out.prose("  ", why);
            out.prose("  ", "The figures cover only what ran.");
        }
    }
    out.blank();
    out.prose("", &outcome.description);
    out.blank();
    let figures = outcome.figures.iter().map(|figure| vec![figure.name.clone(), valued(figure)]);
    out.table("", &["figure", "value"], figures);
    let phases = outcome.phases.iter().map(|phase| {
        let figures: Vec<String> =
            phase.figures.iter().map(|figure| format!("{} {}", figure.name, valued(figure))).collect();
        vec![
            phase.name.clone(),
            with_unit(phase.start_s, "s"),
            with_unit(phase.duration_s, "s"),
            figures.join(", "),
        ]
    });
    out.table("", &["phase", "began at", "took", ""], phases);
    let latencies = outcome.latencies.iter().map(|latency| {
        let quantiles = [latency.p50_ms, latency.p90_ms, latency.p99_ms, latency.p999_ms, latency.max_ms];
        let mut row = vec![latency.name.clone(), of_unit(latency.count as f64, "")];
        row.extend(quantiles.map(three));
        row
    });
    out.table("", &["latency, ms", "count", "p50", "p90", "p99", "p99.9", "max"], latencies);

    out.prose("", &format!("Floor: {}. {}", verdict::floor(&outcome.tool), verdict::limit(&outcome.tool)));
    if let Some(seconds) = outcome.tool.null_sink_s {
        out.prose("", &format!("Null sink: the same load takes {}.", with_unit(seconds, "s")));
    }
    out.prose("", &format!("Tool CPU: {}.", verdict::tool_cpu(&outcome.tool)));

    out.blank();
    for finding in &outcome.findings {
        let weight = if finding.serious { "serious" } else { "minor" };
        let (times, peers) =
            (counted(finding.count, "time", "times"), counted(finding.peers, "peer", "peers"));
        out.prose("", &format!("Finding ({weight}): {}, {times} at {peers}", finding.kind));
        out.prose("  ", &finding.example);
    }
    out.blank();
    differences(&mut out, outcome);
    out.blank();
    for warning in &outcome.warnings {
        out.prose("", &format!("Warning: {warning}"));
    }
    out.blank();
    out.prose("", &format!("{}; {}", outcome.started, verdict::machine(&outcome.machine)));
    out.prose("", &shell(&outcome.command));
    out.text
}

/// Several speakers.
pub fn comparison(comparison: &Comparison, width: usize) -> String {
    let mut out = Paper::new(width);
    let takers = takers(comparison);
    out.prose("", &verdict::versus(comparison));
    out.prose("", &comparison.description);
    let rounds = counted(comparison.runs as u64, "round", "rounds");
    out.prose("", &format!("Median (least–most) of the runs that passed, of {rounds}."));
    out.blank();

    let rows = rows(comparison);
    let mut figures = vec![vec!["figure".to_owned()], vec!["runs that passed".to_owned()]];
    figures.extend(rows.iter().map(|row| vec![verdict::row_name(row)]));
    let mut ratios = figures.clone();
    ratios.remove(1);
    for (index, taker) in takers.iter().enumerate() {
        let passed = format!("{} of {}", passed(taker).count(), taker.outcomes.len());
        let values = rows.iter().map(|row| numbers(row.spreads[index]));
        append(&mut figures, [taker.name.clone(), passed].into_iter().chain(values));
    }
    for (index, other) in takers.iter().skip(1).enumerate() {
        let name = format!("{} / {}", takers[0].name, other.name);
        let values: Vec<String> =
            rows.iter().map(|row| row.ratios[index].map_or(String::new(), three)).collect();
        if takers.len() <= BESIDE {
            append(&mut figures, [name, String::new()].into_iter().chain(values));
        } else {
            append(&mut ratios, [name].into_iter().chain(values));
        }
    }
    for table in [figures, ratios] {
        if table[0].len() > 1 {
            let header: Vec<&str> = table[0].iter().map(String::as_str).collect();
            out.table("", &header, table[1..].iter().cloned());
        }
    }
    if rows.iter().flat_map(|row| &row.ratios).any(Option::is_some) {
        let more =
            if rows.iter().any(|row| !row.less_is_better) { ", over 1 where more is better" } else { "" };
        out.prose("", &format!("Ratios are of medians: under 1 is better for {}{more}.", takers[0].name));
        out.blank();
    }
    let mut floors = takers.iter().flat_map(|taker| &taker.outcomes).map(|outcome| outcome.tool);
    if let Some((floor, tool)) = floors.find_map(|tool| Some((tool.floor_s?, tool))) {
        let sink =
            tool.null_sink_s.map_or(String::new(), |sink| format!(", a null sink {}", with_unit(sink, "s")));
        let floor = with_unit(floor, "s");
        out.prose("", &format!("The tool's own floor: a perfect speaker takes {floor}{sink}."));
    }
    for contender in &comparison.speakers {
        remarks(&mut out, contender);
    }
    out.blank();
    out.prose("", &format!("{}; {}", comparison.started, verdict::machine(&comparison.machine)));
    out.prose("", &shell(&comparison.command));
    out.text
}

/// Gives a table one more column.
fn append(table: &mut [Vec<String>], column: impl Iterator<Item = String>) {
    for (row, cell) in table.iter_mut().zip(column) {
        row.push(cell);
    }
}

/// Why a speaker or a run of it is not in the medians.
fn remarks(out: &mut Paper, contender: &Contender) {
    if let Some(why) = &contender.absent {
        out.prose("", &format!("{} did not take part: {why}", contender.name));
    }
    for (index, run) in contender.outcomes.iter().enumerate() {
        let verdict = verdict::verdict(run);
        if verdict != Verdict::Pass {
            out.prose("", &format!("{}, run {}, not in the medians: {verdict}", contender.name, index + 1));
        }
    }
}

/// The first routes that came out wrong.
fn differences(out: &mut Paper, outcome: &Outcome) {
    if outcome.difference_count == 0 {
        return;
    }
    let shown = outcome.differences.len().min(DIFFERENCES);
    let differ = counted(outcome.difference_count, "route differs", "routes differ");
    out.prose("", &format!("{differ} (- expected, + held):"));
    for difference in &outcome.differences[..shown] {
        out.prose("  ", &format!("{} at {}", difference.prefix, difference.receiver));
        for (side, line) in difference::lines(difference) {
            out.line(&format!("    {} {}", side.mark(), plain(line)));
        }
    }
    let more = outcome.difference_count.saturating_sub(shown as u64);
    if more > 0 {
        out.prose("  ", &format!("and {} more", of_unit(more as f64, "")));
    }
}

/// A figure's number with its unit.
fn valued(figure: &Figure) -> String {
    with_unit(figure.value, &figure.unit)
}

/// Text that grows line by line.
struct Paper {
    width: usize,
    text: String,
}

impl Paper {
    fn new(width: usize) -> Paper {
        Paper { width: width.max(20), text: String::new() }
    }

    /// A line as it is, or cut if it is too long.
    fn line(&mut self, line: &str) {
        self.text.extend(line.chars().take(self.width));
        self.text.truncate(self.text.trim_end().len());
        self.text.push('\n');
    }

    /// An empty line, if something that is not empty is before it.
    fn blank(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
    }

    /// Foreign or own text, broken into lines; all but the first are indented two columns more.
    fn prose(&mut self, indent: &str, text: &str) {
        let lines = wrap(&plain(text), self.width - indent.len() - 2);
        for (index, line) in lines.iter().enumerate() {
            let hang = if index == 0 { "" } else { "  " };
            self.line(&format!("{indent}{hang}{line}"));
        }
    }

    /// A table with its heading and an empty line; nothing if it has no rows. All columns but the first, and one
    /// without a heading, are of numbers.
    fn table(&mut self, indent: &str, header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
        let rule = TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));
        let mut table = Table::new();
        let width = u16::try_from(self.width - indent.len()).unwrap_or(u16::MAX);
        table.load_style(rule).set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        let cell = |index: usize, text: &str| {
            let number = index > 0 && !header.get(index).is_some_and(|name| name.is_empty());
            let alignment = if number { CellAlignment::Right } else { CellAlignment::Left };
            Cell::new(plain(text)).set_alignment(alignment)
        };
        table.set_header(header.iter().enumerate().map(|(index, name)| cell(index, name)));
        for row in rows {
            table.add_row(row.iter().enumerate().map(|(index, text)| cell(index, text)));
        }
        if table.is_empty() {
            return;
        }
        for line in table.lines() {
            self.line(&format!("{indent}{}", line.strip_prefix(' ').unwrap_or(&line)));
        }
        self.blank();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    fn assert_fits(text: &str, width: usize) {
        for line in text.lines() {
            assert!(line.chars().count() <= width, "{} columns: {line}", line.chars().count());
            assert!(!line.contains('\u{1b}') && !line.ends_with(' '), "{line:?}");
        }
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
    }

    #[test]
    fn the_width_is_respected() {
        for width in [60, 80, 100, 200] {
            for outcome in [sample::outcome(), sample::incomplete(), sample::hostile(), Outcome::default()] {
                assert_fits(&summary(&outcome, width), width);
            }
            assert_fits(&comparison(&sample::comparison(), width), width);
            assert_fits(&comparison(&Comparison::default(), width), width);
        }
    }

    #[test]
    fn a_passed_run_tells_its_figures() {
        let text = summary(&sample::outcome(), 100);
        assert!(text.starts_with("fan-out against kulan 0.1.0: PASS\n"), "{text}");
        for fact in
            ["0.612 s", "1,223,030", "the tool's own floor 0.123 s (20 %)", "null sink", "(minor): duplicate"]
        {
            assert!(text.to_lowercase().contains(fact), "{fact} is not in\n{text}");
        }
    }

    #[test]
    fn an_incomplete_run_tells_why_and_what_differs() {
        let text = summary(&sample::incomplete(), 100);
        for fact in [
            "INCOMPLETE",
            "3 of 100 receivers",
            "The figures cover only what ran.",
            "18,342 routes differ",
            "- AS_PATH: 64500 64510 64511",
            "+ AS_PATH: 64500 64511",
            "+ no route",
            "and 18,337 more",
        ] {
            assert!(text.contains(fact), "{fact} is not in\n{text}");
        }
    }

    #[test]
    fn a_comparison_tells_ratios_and_absences() {
        let text = comparison(&sample::comparison(), 100);
        for fact in [
            "kulan / bird",
            "(0.581–0.661)",
            "4 of 5",
            "openbgpd did not take part: not installed",
            "bird, run 4, not in the medians: INCOMPLETE",
        ] {
            assert!(text.contains(fact), "{fact} is not in\n{text}");
        }
    }
}
