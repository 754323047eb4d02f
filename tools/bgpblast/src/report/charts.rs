//! Which charts a run or a comparison has, and what is in them.
//!
//! A chart is only there if there is something to draw. All charts over time of one run have the same x axis, so
//! that a stall in one can be found in the others.

use crate::outcome::{Comparison, Curve, Latency, Outcome};
use crate::report::axis::Axis;
use crate::report::bars::Bars;
use crate::report::number::{count, counted, three};
use crate::report::plot::{Band, Bar, Line, Mark, Plot, Style};
use crate::report::series::{points, rates, settled, window};
use crate::report::statistics::{median_run, rows, takers};
use crate::report::svg::Drawing;

/// From this ratio of the slowest to the fastest on, a linear axis would make the fastest a cliff at its edge.
const LOG_FROM: f64 = 20.0;

/// A chart of either kind.
#[derive(Clone, Debug)]
pub enum Chart {
    /// With two axes.
    Plot(Plot),
    /// Bars of a figure.
    Bars(Bars),
}

impl Chart {
    /// Lays it out for a width.
    pub fn draw(&self, width: f64) -> Drawing {
        match self {
            Chart::Plot(plot) => plot.draw(width),
            Chart::Bars(bars) => bars.draw(width),
        }
    }
}

/// The charts of one run, the most important first.
pub fn of_outcome(outcome: &Outcome) -> Vec<Chart> {
    let span = span(outcome);
    let convergence = convergence(outcome, span);
    let others = [received(outcome, span), octets(outcome, span), sessions(outcome, span)];
    let usage = [processor(outcome, span), memory(outcome, span)];
    let latencies = outcome.latencies.iter().map(histogram);
    convergence
        .into_iter()
        .chain(others.into_iter().chain(usage).chain(latencies).flatten())
        .map(Chart::Plot)
        .collect()
}

/// The charts of a comparison, the most important first.
pub fn of_comparison(comparison: &Comparison) -> Vec<Chart> {
    let names: Vec<&str> = takers(comparison).iter().map(|taker| taker.name.as_str()).collect();
    let bars =
        rows(comparison).into_iter().filter(|row| row.spreads.iter().any(Option::is_some)).map(|row| {
            Chart::Bars(Bars {
                title: if row.unit.is_empty() { row.name } else { format!("{}, {}", row.name, row.unit) },
                note: format!(
                    "median (least–most); {} is better",
                    if row.less_is_better { "less" } else { "more" }
                ),
                rows: names.iter().map(|name| (*name).to_owned()).zip(row.spreads).collect(),
            })
        });
    race(comparison).map(Chart::Plot).into_iter().chain(bars).collect()
}

/// When the last thing happened that a chart over time shows.
fn span(outcome: &Outcome) -> f64 {
    let phases = outcome.phases.iter().map(|phase| phase.start_s + phase.duration_s);
    let usage = outcome.usage.iter().map(|sample| sample.at_s);
    phases
        .chain(usage)
        .chain(outcome.curve.at_s.iter().copied())
        .filter(|at| at.is_finite())
        .fold(0.0, f64::max)
}

/// A plot over time with the boundaries of phases, whose names are only on the main chart.
fn over_time(outcome: &Outcome, span: f64, title: &str, y_label: String, lines: Vec<Line>) -> Plot {
    let most = lines.iter().flat_map(|line| &line.points).map(|point| point.1).fold(0.0, f64::max);
    let mark = |at: f64| Mark { at, label: String::new() };
    Plot {
        title: title.to_owned(),
        y_label,
        x_label: "time, s".to_owned(),
        x: Axis::linear(0.0, span),
        y: Axis::from_zero(most),
        bands: Vec::new(),
        lines,
        bars: Vec::new(),
        marks: outcome.phases.iter().map(|phase| mark(phase.start_s)).collect(),
    }
}

/// A list of counts as the y of points.
fn counts(curve: &Curve, list: &[u64]) -> Vec<(f64, f64)> {
    points(&curve.at_s, list.iter().map(|&value| value as f64))
}

/// Routes held over time: how far the receivers are apart, and how far they have to go.
fn convergence(outcome: &Outcome, span: f64) -> Option<Plot> {
    let curve = &outcome.curve;
    if curve.receivers == 0 || curve.at_s.is_empty() {
        return None;
    }
    let median = counts(curve, &curve.median);
    let single = curve.receivers == 1;
    let name = if single { "held" } else { "median" };
    let mut lines = vec![Line { name: name.to_owned(), style: Style::Plain(0), points: median }];
    if curve.expected > 0 {
        lines.push(Line {
            name: format!("expected: {}", count(curve.expected)),
            style: Style::Reference,
            points: vec![(0.0, curve.expected as f64), (span, curve.expected as f64)],
        });
    }
    let band = |name: &str, class: &'static str, low: &[u64], high: &[u64]| {
        let both = counts(curve, low).into_iter().zip(counts(curve, high));
        let points = both.map(|((x, low), (_, high))| (x, low, high)).collect();
        Band { name: name.to_owned(), style: Style::Plain(0), class, points }
    };
    let most = curve.most.iter().copied().max().unwrap_or(0).max(curve.expected);
    let y_label = format!("routes held, {}", counted(curve.receivers as u64, "receiver", "receivers"));
    let mut plot = over_time(outcome, span, "Convergence", y_label, lines);
    plot.y = Axis::from_zero(most as f64);
    if !single {
        plot.bands = vec![
            band("least to most", "faint", &curve.least, &curve.most),
            band("10th to 90th percentile", "clear", &curve.p10, &curve.p90),
        ];
    }
    for (mark, phase) in plot.marks.iter_mut().zip(&outcome.phases) {
        mark.label.clone_from(&phase.name);
    }
    Some(plot)
}

/// Routes and withdrawals a second, over all receivers.
fn received(outcome: &Outcome, span: f64) -> Option<Plot> {
    let curve = &outcome.curve;
    let totals: Vec<f64> = curve.received.iter().map(|&total| total as f64).collect();
    let window = window(&curve.at_s);
    let line = rate_line(&curve.at_s, &totals, window, "", 0)?;
    let y_label = format!("routes and withdrawals/s, over {} s", three(window));
    Some(over_time(outcome, span, "Routes received", y_label, vec![line]))
}

/// Megabytes a second, sent and received.
fn octets(outcome: &Outcome, span: f64) -> Option<Plot> {
    let curve = &outcome.curve;
    let megabytes = |list: &[u64]| -> Vec<f64> { list.iter().map(|&octets| octets as f64 / 1e6).collect() };
    let window = window(&curve.at_s);
    let sent = rate_line(&curve.at_s, &megabytes(&curve.sent_bytes), window, "sent by bgpblast", 1);
    let received =
        rate_line(&curve.at_s, &megabytes(&curve.received_bytes), window, "received by bgpblast", 0);
    let lines: Vec<Line> = sent.into_iter().chain(received).collect();
    let y_label = format!("MB/s on all sessions, over {} s", three(window));
    (!lines.is_empty()).then(|| over_time(outcome, span, "Octets on the wire", y_label, lines))
}

/// The rate of a running total; nothing if it never grew.
fn rate_line(at: &[f64], totals: &[f64], window: f64, name: &str, colour: usize) -> Option<Line> {
    let points = rates(at, totals, window);
    let any = points.iter().any(|point| point.1 > 0.0);
    let style = if colour == 0 { Style::Plain(0) } else { Style::Compared(colour) };
    any.then(|| Line { name: name.to_owned(), style, points })
}

/// Established sessions, if their number changed.
fn sessions(outcome: &Outcome, span: f64) -> Option<Plot> {
    let points = counts(&outcome.curve, &outcome.curve.established);
    let first = points.first()?.1;
    if points.iter().all(|point| point.1 == first) {
        return None;
    }
    let line = Line { name: String::new(), style: Style::Plain(2), points };
    Some(over_time(outcome, span, "Sessions", "established sessions".to_owned(), vec![line]))
}

/// Processor time of the speaker.
fn processor(outcome: &Outcome, span: f64) -> Option<Plot> {
    let at: Vec<f64> = outcome.usage.iter().map(|sample| sample.at_s).collect();
    let percents: Vec<f64> = outcome.usage.iter().map(|sample| sample.cpu_s * 100.0).collect();
    let window = window(&at);
    let points = rates(&at, &percents, window);
    if points.is_empty() {
        return None;
    }
    let line = Line { name: String::new(), style: Style::Plain(1), points };
    let y_label = format!("% of a core, over {} s", three(window));
    Some(over_time(outcome, span, "The speaker's processor time", y_label, vec![line]))
}

/// Memory of the speaker.
fn memory(outcome: &Outcome, span: f64) -> Option<Plot> {
    let at: Vec<f64> = outcome.usage.iter().map(|sample| sample.at_s).collect();
    let most = outcome.usage.iter().map(|sample| sample.resident_mb).fold(0.0, f64::max);
    let (divisor, unit) = if most >= 10_000.0 { (1000.0, "GB") } else { (1.0, "MB") };
    let points = points(&at, outcome.usage.iter().map(|sample| sample.resident_mb / divisor));
    if points.is_empty() {
        return None;
    }
    let line = Line { name: String::new(), style: Style::Plain(3), points };
    Some(over_time(outcome, span, "The speaker's memory", format!("resident, {unit}"), vec![line]))
}

/// The distribution of one latency, with its percentiles.
fn histogram(latency: &Latency) -> Option<Plot> {
    let buckets: Vec<(f64, u64)> =
        latency.buckets.iter().copied().filter(|(bound, _)| bound.is_finite() && *bound > 0.0).collect();
    let first = buckets.iter().position(|bucket| bucket.1 > 0)?;
    let last = buckets.iter().rposition(|bucket| bucket.1 > 0)?;
    // The first bucket has no bound before it: it is as wide as the others.
    let ratio =
        buckets.windows(2).map(|pair| pair[1].0 / pair[0].0).find(|ratio| *ratio > 1.0).unwrap_or(2.0);
    let begin = |index: usize| if index == 0 { buckets[0].0 / ratio } else { buckets[index - 1].0 };
    let bars: Vec<Bar> = (first..=last)
        .map(|index| {
            let (until, value) = buckets[index];
            let title = format!("{} to {} ms: {}", three(begin(index)), three(until), count(value));
            Bar { from: begin(index), until, value: value as f64, title }
        })
        .collect();
    let most = bars.iter().map(|bar| bar.value).fold(0.0, f64::max);
    let percentiles = [("p50", latency.p50_ms), ("p90", latency.p90_ms), ("p99", latency.p99_ms)];
    let marks = percentiles.into_iter().filter(|(_, at)| at.is_finite() && *at > 0.0);
    Some(Plot {
        title: format!("Latency: {}", latency.name),
        y_label: format!("of {}, how many took so long", counted(latency.count, "route", "routes")),
        x_label: "ms (logarithmic)".to_owned(),
        x: Axis::log(begin(first), buckets[last].0),
        y: Axis::from_zero(most),
        bands: Vec::new(),
        lines: Vec::new(),
        bars,
        marks: marks.map(|(name, at)| Mark { at, label: format!("{name} {} ms", three(at)) }).collect(),
    })
}

/// All speakers' convergence in one plot: of each the run in the middle.
fn race(comparison: &Comparison) -> Option<Plot> {
    let mut lines = Vec::new();
    for (index, taker) in takers(comparison).into_iter().enumerate() {
        let Some(curve) = median_run(taker).map(|run| &run.curve) else { continue };
        let most = curve.median.iter().copied().max().unwrap_or(0);
        let whole = if curve.expected > 0 { curve.expected } else { most };
        let points = points(&curve.at_s, curve.median.iter().map(|&held| 100.0 * held as f64 / whole as f64));
        if !points.is_empty() {
            lines.push(Line { name: taker.name.clone(), style: Style::Compared(index), points });
        }
    }
    let ends: Vec<f64> = lines.iter().filter_map(|line| settled(&line.points)).collect();
    let slowest = ends.iter().copied().fold(0.0, f64::max);
    let fastest = ends.iter().copied().filter(|end| *end > 0.0).fold(f64::INFINITY, f64::min);
    let moments = || lines.iter().flat_map(|line| &line.points).map(|point| point.0);
    let latest = moments().fold(0.0, f64::max);
    let log = slowest > LOG_FROM * fastest;
    // Where the axis is logarithmic it begins when the first route of all arrived.
    let moving = lines.iter().flat_map(|line| line.points.windows(2));
    let earliest = moving.filter(|pair| pair[1].1 != pair[0].1).map(|pair| pair[1].0).filter(|at| *at > 0.0);
    let x = if log {
        Axis::log(earliest.fold(f64::INFINITY, f64::min), latest)
    } else {
        Axis::linear(0.0, latest)
    };
    let most = lines.iter().flat_map(|line| &line.points).map(|point| point.1).fold(100.0, f64::max);
    (!lines.is_empty()).then(|| Plot {
        title: "Convergence".to_owned(),
        y_label:
            "% of the expected routes, held by the receiver in the middle; of each speaker the median run"
                .to_owned(),
        x_label: if log { "time, s (logarithmic)" } else { "time, s" }.to_owned(),
        x,
        y: Axis::from_zero(most),
        bands: Vec::new(),
        lines,
        bars: Vec::new(),
        marks: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    /// The sample run with only so many samples in its curve.
    fn with_samples(samples: usize) -> Outcome {
        let mut outcome = sample::outcome();
        let curve = &mut outcome.curve;
        curve.at_s.truncate(samples);
        for list in [&mut curve.least, &mut curve.p10, &mut curve.median, &mut curve.p90, &mut curve.most] {
            list.truncate(samples);
        }
        for list in
            [&mut curve.established, &mut curve.received, &mut curve.sent_bytes, &mut curve.received_bytes]
        {
            list.truncate(samples);
        }
        outcome.usage.truncate(samples);
        outcome
    }

    #[test]
    fn few_samples_make_few_charts() {
        let full = of_outcome(&sample::outcome()).len();
        let charts: Vec<usize> = (0..3).map(|samples| of_outcome(&with_samples(samples)).len()).collect();
        assert!(charts[0] < charts[1] && charts[1] <= charts[2] && charts[2] <= full, "{charts:?} {full}");
        for samples in 0..3 {
            for chart in of_outcome(&with_samples(samples)) {
                assert!(!chart.draw(360.0).body.contains("NaN"));
            }
        }
    }

    #[test]
    fn without_receivers_there_is_no_convergence() {
        let mut outcome = sample::outcome();
        outcome.curve.receivers = 0;
        assert!(convergence(&outcome, 1.0).is_none());
    }

    #[test]
    fn the_axis_is_logarithmic_if_one_is_far_slower() {
        let mut comparison = sample::comparison();
        assert!(race(&comparison).unwrap().x_label.contains("logarithmic"));
        comparison.speakers.retain(|speaker| speaker.name != "gobgp");
        assert_eq!(race(&comparison).unwrap().x_label, "time, s");
    }
}
