//! The report as a page: everything that a run or a comparison found, from the verdict down to the attributes of
//! a single route.
//!
//! The order is that of a reader's questions: did it pass, how fast was it, what was done, can the numbers be
//! believed, what went wrong, how can it be done again.

use crate::outcome::{Comparison, Contender, Outcome};
use crate::report::bars::numbers;
use crate::report::charts;
use crate::report::difference::{self, Side};
use crate::report::number::{NONE, count, of_unit, three, with_unit};
use crate::report::page::{Column, Page};
use crate::report::statistics::{passed, rows, takers};
use crate::report::text::shell;
use crate::report::verdict::{self, Verdict};

/// How many differences are shown in full.
const DIFFERENCES: usize = 20;

/// The page of one run.
pub fn outcome_html(outcome: &Outcome) -> String {
    let mut page = Page::default();
    let title = format!("{} against {}", outcome.scenario, verdict::target(outcome));
    let verdict = verdict::verdict(outcome);
    page.title(&title);
    page.verdict(&verdict);
    page.paragraph("lead", &outcome.description);
    page.cards(
        outcome
            .figures
            .iter()
            .map(|figure| (figure.name.as_str(), of_unit(figure.value, &figure.unit), figure.unit.as_str())),
    );
    for warning in &outcome.warnings {
        page.banner("Warning", warning);
    }
    page.section("Over time");
    page.charts(&charts::of_outcome(outcome));
    phases(&mut page, outcome);
    latencies(&mut page, outcome);
    tool(&mut page, outcome);
    findings(&mut page, outcome);
    differences(&mut page, outcome);

    page.section("This run");
    page.command(&shell(&outcome.command));
    let target = &outcome.target;
    page.list([
        ("Began", outcome.started.clone()),
        ("Machine", verdict::machine(&outcome.machine)),
        ("Target", target.name.clone()),
        ("Version", target.version.clone().unwrap_or_else(|| "unknown".to_owned())),
        ("Address", target.address.clone()),
        ("Process", target.pid.map_or_else(|| "unknown".to_owned(), |pid| pid.to_string())),
    ]);
    if let Some(configuration) = &target.configuration {
        page.details("Configuration of the target", configuration);
    }
    page.file(&format!("{}: {title}", verdict.word()))
}

/// The page of a comparison.
pub fn comparison_html(comparison: &Comparison) -> String {
    let mut page = Page::default();
    let title = verdict::versus(comparison);
    page.title(&title);
    page.paragraph("lead", &comparison.description);
    for contender in &comparison.speakers {
        remarks(&mut page, contender);
    }
    medians(&mut page, comparison);
    page.section("Charts");
    page.charts(&charts::of_comparison(comparison));
    page.section("Speakers");
    for contender in &comparison.speakers {
        speaker(&mut page, contender);
    }
    page.section("This comparison");
    page.command(&shell(&comparison.command));
    page.list([
        ("Began", comparison.started.clone()),
        ("Machine", verdict::machine(&comparison.machine)),
        ("Rounds", comparison.runs.to_string()),
    ]);
    page.file(&title)
}

/// What was done, in order.
fn phases(page: &mut Page, outcome: &Outcome) {
    if outcome.phases.is_empty() {
        return;
    }
    page.section("Phases");
    let row = |phase: &crate::outcome::Phase| {
        let figures: Vec<String> = phase
            .figures
            .iter()
            .map(|figure| format!("{} {}", figure.name, with_unit(figure.value, &figure.unit)))
            .collect();
        vec![
            phase.name.clone(),
            with_unit(phase.start_s, "s"),
            with_unit(phase.duration_s, "s"),
            figures.join(", "),
        ]
    };
    let columns =
        [Column::Text("phase"), Column::Number("began at"), Column::Number("took"), Column::Text("figures")];
    page.table(&columns, &outcome.phases.iter().map(row).collect::<Vec<_>>());
}

/// How long single routes took.
fn latencies(page: &mut Page, outcome: &Outcome) {
    if outcome.latencies.is_empty() {
        return;
    }
    page.section("Latencies, ms");
    let row = |latency: &crate::outcome::Latency| {
        let quantiles = [latency.p50_ms, latency.p90_ms, latency.p99_ms, latency.p999_ms, latency.max_ms];
        let mut row = vec![latency.name.clone(), count(latency.count)];
        row.extend(quantiles.map(three));
        row
    };
    let columns = ["count", "p50", "p90", "p99", "p99.9", "most"].map(Column::Number);
    let columns: Vec<Column> = std::iter::once(Column::Text("of")).chain(columns).collect();
    page.table(&columns, &outcome.latencies.iter().map(row).collect::<Vec<_>>());
}

/// Whether the tool or the speaker was the limit.
fn tool(page: &mut Page, outcome: &Outcome) {
    let tool = &outcome.tool;
    page.section("The tool itself");
    page.paragraph("", verdict::limit(tool));
    let null_sink = tool.null_sink_s.map_or_else(|| "not measured".to_owned(), |s| with_unit(s, "s"));
    page.list([
        ("Floor", verdict::floor(tool)),
        ("Load into a null sink", null_sink),
        ("Processor time", verdict::tool_cpu(tool)),
    ]);
    page.paragraph(
        "note",
        "The floor is what the scenario takes against a perfect speaker, which has everything encoded. The null sink \
         takes the same load and throws it away.",
    );
}

/// What the speaker should not have done.
fn findings(page: &mut Page, outcome: &Outcome) {
    page.section("Findings");
    if outcome.findings.is_empty() {
        page.paragraph("", "None.");
        return;
    }
    let row = |finding: &crate::outcome::Finding| {
        vec![
            finding.kind.clone(),
            if finding.serious { "serious" } else { "minor" }.to_owned(),
            count(finding.count),
            count(finding.peers),
            finding.example.clone(),
        ]
    };
    let columns = [
        Column::Text("what"),
        Column::Text("weight"),
        Column::Number("how often"),
        Column::Number("peers"),
        Column::Text("the first"),
    ];
    page.table(&columns, &outcome.findings.iter().map(row).collect::<Vec<_>>());
}

/// The first routes that came out wrong.
fn differences(page: &mut Page, outcome: &Outcome) {
    page.section("Routes that differ");
    if outcome.difference_count == 0 {
        page.paragraph("", "None.");
        return;
    }
    page.paragraph("", &format!("{}; - is expected, + is held.", count(outcome.difference_count)));
    let shown = outcome.differences.len().min(DIFFERENCES);
    for difference in &outcome.differences[..shown] {
        page.part(&format!("{} at {}", difference.prefix, difference.receiver));
        page.lines(difference::lines(difference).into_iter().map(|(side, line)| {
            let class = match side {
                Side::Both => "",
                Side::Expected => "expected",
                Side::Held => "held",
            };
            (class, format!("{} {line}", side.mark()))
        }));
    }
    let more = outcome.difference_count.saturating_sub(shown as u64);
    if more > 0 {
        page.paragraph("", &format!("and {} more", count(more)));
    }
}

/// Why a speaker or a run of it is not in the medians.
fn remarks(page: &mut Page, contender: &Contender) {
    if let Some(why) = &contender.absent {
        page.banner(&contender.name, &format!("did not take part: {why}"));
    }
    for (index, run) in contender.outcomes.iter().enumerate() {
        let verdict = verdict::verdict(run);
        if verdict != Verdict::Pass {
            let name = format!("{}, run {}", contender.name, index + 1);
            page.banner(&name, &format!("not in the medians: {verdict}"));
        }
    }
}

/// All figures of all speakers, and their ratios.
fn medians(page: &mut Page, comparison: &Comparison) {
    let takers = takers(comparison);
    let Some((first, others)) = takers.split_first() else { return };
    page.section("Figures");
    let pairs: Vec<String> = others.iter().map(|other| format!("{} / {}", first.name, other.name)).collect();
    let mut columns = vec![Column::Text("figure")];
    columns.extend(takers.iter().map(|taker| Column::Number(&taker.name)));
    columns.extend(pairs.iter().map(|pair| Column::Number(pair)));
    let mut runs = vec!["runs that passed".to_owned()];
    runs.extend(takers.iter().map(|taker| format!("{} of {}", passed(taker).count(), taker.outcomes.len())));
    runs.resize(columns.len(), String::new());
    let mut table = vec![runs];
    for row in rows(comparison) {
        let mut cells = vec![verdict::row_name(&row)];
        cells.extend(row.spreads.iter().map(|spread| numbers(*spread)));
        cells.extend(row.ratios.iter().map(|ratio| ratio.map_or_else(|| NONE.to_owned(), three)));
        table.push(cells);
    }
    page.table(&columns, &table);
    let ratios = format!(
        "Median (least–most) of the runs that passed. Ratios are of medians: under 1 is better for {}, over 1 where \
         more is better.",
        first.name
    );
    page.paragraph("note", &ratios);
}

/// One speaker: its version, its runs one by one and its configuration.
fn speaker(page: &mut Page, contender: &Contender) {
    page.part(&verdict::versioned(&contender.name, contender.version.as_deref()));
    if let Some(why) = &contender.absent {
        page.paragraph("", &format!("Did not take part: {why}"));
        return;
    }
    let mut names: Vec<(&str, &str)> = Vec::new();
    for figure in contender.outcomes.iter().flat_map(|run| &run.figures) {
        if !names.iter().any(|(name, _)| *name == figure.name) {
            names.push((&figure.name, &figure.unit));
        }
    }
    let headings: Vec<String> = names
        .iter()
        .map(|(name, unit)| if unit.is_empty() { (*name).to_owned() } else { format!("{name}, {unit}") })
        .collect();
    let mut columns = vec![Column::Number("run"), Column::Text("verdict")];
    columns.extend(headings.iter().map(|heading| Column::Number(heading)));
    columns.push(Column::Number("floor, s"));
    let row = |(index, run): (usize, &Outcome)| {
        let mut cells = vec![(index + 1).to_string(), verdict::verdict(run).word().to_owned()];
        let value = |name: &str| run.figure(name).map_or(NONE.to_owned(), |f| of_unit(f.value, &f.unit));
        cells.extend(names.iter().map(|(name, _)| value(name)));
        cells.push(run.tool.floor_s.map_or_else(|| NONE.to_owned(), three));
        cells
    };
    page.table(&columns, &contender.outcomes.iter().enumerate().map(row).collect::<Vec<_>>());
    for finding in contender.outcomes.iter().flat_map(|run| &run.findings).filter(|finding| finding.serious) {
        page.paragraph("note", &format!("{}: {}", finding.kind, finding.example));
    }
    page.details("Configuration", &contender.configuration);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::{self, assert_well_formed};

    #[test]
    fn pages_are_whole_and_need_nothing_else() {
        for page in [
            outcome_html(&sample::outcome()),
            outcome_html(&sample::incomplete()),
            outcome_html(&sample::hostile()),
            outcome_html(&Outcome::default()),
            comparison_html(&sample::comparison()),
            comparison_html(&Comparison::default()),
        ] {
            assert_well_formed(&page);
            assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
            assert!(!page.contains("NaN") && !page.contains(">inf"));
            for foreign in ["http://", "https://", "<script", "@import", "url("] {
                assert!(!page.contains(foreign), "{foreign}");
            }
        }
    }

    #[test]
    fn an_incomplete_run_says_so_first() {
        let page = outcome_html(&sample::incomplete());
        let banner = page.find("<strong>INCOMPLETE:</strong> 3 of 100 receivers").unwrap();
        assert!(banner < page.find("<svg").unwrap());
        assert!(page.contains("figures cover only what ran"));
        assert!(page.contains("and 18,322 more"));
        assert!(page.contains("<span class=\"held\">+ AS_PATH: 64500 64511</span>"));
    }

    #[test]
    fn a_run_shows_its_command_and_configuration() {
        let page = outcome_html(&sample::outcome());
        for fact in [
            "bgpblast run fan-out --target 10.77.0.1:179",
            "reflect = true",
            "AMD EPYC",
            "The speaker was the limit",
            "0.612 <small>s</small>",
        ] {
            assert!(page.contains(fact), "{fact}");
        }
    }

    #[test]
    fn a_comparison_has_ratios_and_remarks() {
        let page = comparison_html(&sample::comparison());
        for fact in ["kulan / gobgp", "4 of 5", "did not take part: not installed", "bird, run 4"] {
            assert!(page.contains(fact), "{fact}");
        }
    }
}
