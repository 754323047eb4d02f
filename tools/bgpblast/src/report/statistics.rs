//! Medians, spreads and ratios of several runs.
//!
//! Only runs that passed count: a run that stopped half way, or whose routes came out wrong, did less work than
//! the others. Ratios are of one speaker, kulan where it took part, to each other one: "kulan / bird". Under 1 is
//! better where less is better.

use crate::outcome::{Comparison, Contender, Outcome};

/// What several runs gave for one figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// How many runs.
    pub runs: usize,
    /// The middle one, or the mean of the two in the middle.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The most.
    pub most: f64,
}

/// One figure of all speakers.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// Whether less is better.
    pub less_is_better: bool,
    /// What each of [`takers`] gave; nothing where no run passed or none has this figure.
    pub spreads: Vec<Option<Spread>>,
    /// The first taker's median by that of each other one.
    pub ratios: Vec<Option<f64>>,
}

/// The median and the range of those numbers that are finite; nothing if there are none.
pub fn spread(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
    let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    let (least, most) = (*values.first()?, *values.last()?);
    let middle = values.len() / 2;
    let median = if values.len() % 2 == 1 {
        values[middle]
    } else {
        f64::midpoint(values[middle - 1], values[middle])
    };
    Some(Spread { runs: values.len(), median, least, most })
}

/// One number by another; nothing where that says nothing.
pub fn ratio(of: f64, to: f64) -> Option<f64> {
    Some(of / to).filter(|ratio| to != 0.0 && ratio.is_finite())
}

/// The speakers that took part, the one first whose ratios to the others are told: kulan, or the first.
pub fn takers(comparison: &Comparison) -> Vec<&Contender> {
    let mut takers: Vec<&Contender> = comparison.speakers.iter().filter(|c| c.absent.is_none()).collect();
    takers.sort_by_key(|contender| contender.name != "kulan");
    takers
}

/// A speaker's runs that count.
pub fn passed(contender: &Contender) -> impl Iterator<Item = &Outcome> {
    contender.outcomes.iter().filter(|outcome| outcome.passed())
}

/// All figures that any run has, in the order in which the runs name them.
pub fn rows(comparison: &Comparison) -> Vec<Row> {
    let takers = takers(comparison);
    let mut rows: Vec<Row> = Vec::new();
    for figure in takers.iter().flat_map(|taker| &taker.outcomes).flat_map(|outcome| &outcome.figures) {
        if rows.iter().any(|row| row.name == figure.name) {
            continue;
        }
        let spreads: Vec<Option<Spread>> = takers
            .iter()
            .map(|taker| {
                spread(passed(taker).filter_map(|run| run.figure(&figure.name)).map(|figure| figure.value))
            })
            .collect();
        let first = spreads.first().copied().flatten();
        let ratios = spreads
            .iter()
            .skip(1)
            .map(|other| first.zip(*other).and_then(|(first, other)| ratio(first.median, other.median)))
            .collect();
        rows.push(Row {
            name: figure.name.clone(),
            unit: figure.unit.clone(),
            less_is_better: figure.less_is_better,
            spreads,
            ratios,
        });
    }
    rows
}

/// The run that stands for a speaker in a drawing: the one in the middle by its first figure (of two, the lesser).
pub fn median_run(contender: &Contender) -> Option<&Outcome> {
    let first = |run: &Outcome| run.figures.first().map_or(0.0, |figure| figure.value);
    let mut runs: Vec<&Outcome> = passed(contender).collect();
    runs.sort_by(|one, other| first(one).total_cmp(&first(other)));
    runs.get(runs.len().saturating_sub(1) / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Figure;

    /// A run with one figure.
    fn run(value: f64, complete: bool) -> Outcome {
        let figure = Figure { name: "convergence".into(), unit: "s".into(), value, less_is_better: true };
        Outcome { complete, figures: vec![figure], ..Outcome::default() }
    }

    fn contender(name: &str, values: &[(f64, bool)]) -> Contender {
        let outcomes = values.iter().map(|&(value, complete)| run(value, complete)).collect();
        Contender { name: name.into(), outcomes, ..Contender::default() }
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(spread([]), None);
        assert_eq!(spread([f64::NAN, f64::INFINITY]), None);
        assert_eq!(spread([2.0]), Some(Spread { runs: 1, median: 2.0, least: 2.0, most: 2.0 }));
        assert_eq!(spread([4.0, 1.0]), Some(Spread { runs: 2, median: 2.5, least: 1.0, most: 4.0 }));
        assert_eq!(
            spread([9.0, 1.0, f64::NAN, 3.0]),
            Some(Spread { runs: 3, median: 3.0, least: 1.0, most: 9.0 })
        );
    }

    #[test]
    fn a_ratio_needs_two_numbers() {
        assert_eq!(ratio(1.0, 4.0), Some(0.25));
        assert_eq!(ratio(1.0, 0.0), None);
        assert_eq!(ratio(0.0, 0.0), None);
        assert_eq!(ratio(f64::NAN, 1.0), None);
    }

    #[test]
    fn ratios_are_of_kulan_and_failed_runs_do_not_count() {
        let comparison = Comparison {
            speakers: vec![
                contender("bird", &[(4.0, true), (2.0, true), (0.1, false), (6.0, true)]),
                contender("kulan", &[(1.0, true)]),
                Contender { absent: Some("not installed".into()), ..contender("frr", &[]) },
                contender("gobgp", &[(9.0, false)]),
            ],
            ..Comparison::default()
        };
        let names: Vec<&str> = takers(&comparison).iter().map(|taker| taker.name.as_str()).collect();
        assert_eq!(names, ["kulan", "bird", "gobgp"]);
        let rows = rows(&comparison);
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].ratios, [Some(0.25), None]);
        assert_eq!(rows[0].spreads[1], Some(Spread { runs: 3, median: 4.0, least: 2.0, most: 6.0 }));
        assert_eq!(rows[0].spreads[2], None);
    }

    #[test]
    fn the_median_run_is_one_that_passed() {
        let contender = contender("bird", &[(4.0, true), (0.1, false), (2.0, true), (6.0, true)]);
        assert_eq!(median_run(&contender).unwrap().figures[0].value, 4.0);
        assert!(median_run(&Contender::default()).is_none());
    }
}
