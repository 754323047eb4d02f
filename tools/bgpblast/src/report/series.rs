//! Samples over time made into what is drawn: rates from running totals, and the moment when nothing changes any
//! more.

/// How many windows a run is divided into for its rates: narrow enough to show a stall, wide enough that a
/// socket's bursts do not hide the course.
const WINDOWS: f64 = 30.0;

/// The window over which rates are taken, s: the same over the whole run, and never less than two samples wide.
pub fn window(at: &[f64]) -> f64 {
    let (Some(first), Some(last)) = (at.first(), at.last()) else { return 0.0 };
    let sample = (last - first) / at.len().saturating_sub(1).max(1) as f64;
    ((last - first) / WINDOWS).max(2.0 * sample)
}

/// How fast a running total grew at each sample, per second, over a window around it. A run of less than two
/// samples has no rates.
pub fn rates(at: &[f64], totals: &[f64], window: f64) -> Vec<(f64, f64)> {
    let length = at.len().min(totals.len());
    let (at, totals) = (&at[..length], &totals[..length]);
    if length < 2 {
        return Vec::new();
    }
    let (first, last) = (at[0], at[length - 1]);
    at.iter()
        .filter_map(|&moment| {
            let from = (moment - window / 2.0).max(first);
            let until = (moment + window / 2.0).min(last);
            let rate = (value_at(at, totals, until) - value_at(at, totals, from)) / (until - from);
            rate.is_finite().then_some((moment, rate.max(0.0)))
        })
        .collect()
}

/// A running total between its samples.
fn value_at(at: &[f64], totals: &[f64], moment: f64) -> f64 {
    let after = at.partition_point(|&sample| sample < moment).clamp(1, at.len() - 1);
    let (from, until) = (at[after - 1], at[after]);
    let share = if until > from { ((moment - from) / (until - from)).clamp(0.0, 1.0) } else { 1.0 };
    totals[after - 1] + (totals[after] - totals[after - 1]) * share
}

/// Since when the last value holds.
pub fn settled(points: &[(f64, f64)]) -> Option<f64> {
    let last = points.last()?;
    let changing = points.iter().rposition(|point| point.1 != last.1);
    Some(points[changing.map_or(0, |index| index + 1)].0)
}

/// Points in pairs; those that are not finite are left out.
pub fn points(at: &[f64], values: impl IntoIterator<Item = f64>) -> Vec<(f64, f64)> {
    at.iter().copied().zip(values).filter(|(x, y)| x.is_finite() && y.is_finite()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_follow_the_totals() {
        let at: Vec<f64> = (0..=100).map(|step| f64::from(step) * 0.1).collect();
        let totals: Vec<f64> = at.iter().map(|moment| moment.min(5.0) * 1000.0).collect();
        let rates = rates(&at, &totals, window(&at));
        assert_eq!(rates.len(), at.len());
        assert!((rates[0].1 - 1000.0).abs() < 1e-6, "{:?}", rates[0]);
        assert!((rates[20].1 - 1000.0).abs() < 1e-6);
        assert!(rates[90].1.abs() < 1e-6);
    }

    #[test]
    fn few_samples_do_no_harm() {
        assert!(rates(&[], &[], window(&[])).is_empty());
        assert!(rates(&[1.0], &[5.0], window(&[1.0])).is_empty());
        assert_eq!(rates(&[0.0, 2.0], &[0.0, 8.0], window(&[0.0, 2.0])), [(0.0, 4.0), (2.0, 4.0)]);
        // Two samples of one moment say nothing about a rate.
        assert!(rates(&[1.0, 1.0], &[0.0, 8.0], window(&[1.0, 1.0])).is_empty());
        assert!(rates(&[0.0, 1.0], &[0.0], 1.0).is_empty());
    }

    #[test]
    fn a_curve_settles_at_its_last_change() {
        assert_eq!(settled(&[]), None);
        assert_eq!(settled(&[(3.0, 1.0)]), Some(3.0));
        assert_eq!(settled(&[(0.0, 0.0), (1.0, 5.0), (2.0, 9.0), (3.0, 9.0)]), Some(2.0));
        // A table that empties settles too.
        assert_eq!(settled(&[(0.0, 9.0), (1.0, 5.0), (2.0, 0.0)]), Some(2.0));
    }

    #[test]
    fn points_are_finite() {
        assert_eq!(points(&[0.0, f64::NAN, 2.0], [1.0, 1.0, f64::INFINITY]), [(0.0, 1.0)]);
    }
}
