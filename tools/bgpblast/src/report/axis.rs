//! Axes: from values to places in a drawing, and the round numbers that are written beside them.

/// How values lie along an axis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Equal differences are equally long.
    #[default]
    Linear,
    /// Equal ratios are equally long.
    Log,
}

/// One axis: a range of values. The range is never empty, and positive where the axis is logarithmic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Axis {
    kind: Kind,
    low: f64,
    high: f64,
}

impl Axis {
    /// A linear axis over this range.
    pub fn linear(low: f64, high: f64) -> Axis {
        let low = if low.is_finite() { low } else { 0.0 };
        let high = if high.is_finite() && high > low { high } else { low + low.abs().max(1.0) };
        Axis { kind: Kind::Linear, low, high }
    }

    /// A linear axis from nothing to the round number at or above `most`.
    pub fn from_zero(most: f64) -> Axis {
        let axis = Axis::linear(0.0, most);
        let step = step(axis.high, 5);
        Axis { high: (axis.high / step - 1e-9).ceil() * step, ..axis }
    }

    /// A logarithmic axis over this range.
    pub fn log(low: f64, high: f64) -> Axis {
        let low = if low.is_finite() && low > 0.0 { low } else { 1e-6 };
        let high = if high.is_finite() && high > low { high } else { low * 10.0 };
        Axis { kind: Kind::Log, low, high }
    }

    /// Where on the axis a value lies: 0 at its beginning, 1 at its end. What lies outside is moved to the end
    /// that is nearer.
    pub fn share(&self, value: f64) -> f64 {
        let value = if value.is_finite() { value.clamp(self.low, self.high) } else { self.low };
        match self.kind {
            Kind::Linear => (value - self.low) / (self.high - self.low),
            Kind::Log => (value / self.low).ln() / (self.high / self.low).ln(),
        }
    }

    /// Round values along it, about `most` of them at most.
    pub fn ticks(&self, most: usize) -> Vec<f64> {
        match self.kind {
            Kind::Linear => linear_ticks(self.low, self.high, most),
            Kind::Log => log_ticks(self.low, self.high, most),
        }
    }
}

/// The distance of ticks, 1, 2 or 5 times a power of ten, with which a range has at most so many intervals.
fn step(range: f64, most: usize) -> f64 {
    let raw = range / most.max(1) as f64;
    let power = 10f64.powf(raw.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= raw * (1.0 - 1e-9));
    factor.unwrap_or(10.0) * power
}

/// Multiples of a step of 1, 2 or 5 times a power of ten.
fn linear_ticks(low: f64, high: f64, most: usize) -> Vec<f64> {
    let step = step(high - low, most);
    let first = (low / step - 1e-9).ceil();
    let last = (high / step + 1e-9).floor();
    (0..=(last - first).max(0.0) as usize).map(|index| (first + index as f64) * step).collect()
}

/// Powers of ten, with 2 and 5 times them where there is room, or every second, third, ... one where there is not.
fn log_ticks(low: f64, high: f64, most: usize) -> Vec<f64> {
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    let candidates = |factors: &[f64], stride: usize| -> Vec<f64> {
        (first..=last)
            .step_by(stride)
            .flat_map(|exponent| factors.iter().map(move |factor| factor * 10f64.powi(exponent)))
            .filter(|tick| (low * (1.0 - 1e-9)..=high * (1.0 + 1e-9)).contains(tick))
            .collect()
    };
    let fine = candidates(&[1.0, 2.0, 5.0], 1);
    if fine.len() < 2 {
        return linear_ticks(low, high, most);
    }
    if fine.len() <= most {
        return fine;
    }
    (1..)
        .map(|stride| candidates(&[1.0], stride))
        .find(|ticks| ticks.len() <= most.max(1))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(ticks: &[f64], wanted: &[f64]) {
        let same = ticks.iter().zip(wanted).all(|(tick, wanted)| (tick - wanted).abs() < 1e-9);
        assert!(ticks.len() == wanted.len() && same, "{ticks:?} are not {wanted:?}");
    }

    #[test]
    fn linear_ticks_are_round() {
        near(&Axis::linear(0.0, 0.66).ticks(7), &[0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]);
        near(&Axis::linear(0.0, 1e6).ticks(5), &[0.0, 2e5, 4e5, 6e5, 8e5, 1e6]);
        near(&Axis::linear(0.0, 1e6).ticks(2), &[0.0, 5e5, 1e6]);
        near(&Axis::linear(3.0, 9.0).ticks(3), &[4.0, 6.0, 8.0]);
    }

    #[test]
    fn log_ticks_are_round() {
        near(&Axis::log(0.01, 10.0).ticks(5), &[0.01, 0.1, 1.0, 10.0]);
        near(&Axis::log(0.3, 30.0).ticks(8), &[0.5, 1.0, 2.0, 5.0, 10.0, 20.0]);
        near(&Axis::log(3.1, 3.9).ticks(4), &[3.2, 3.4, 3.6, 3.8]);
        assert!(Axis::log(1e-6, 1e6).ticks(4).len() <= 4);
    }

    #[test]
    fn degenerate_ranges_are_widened() {
        for axis in [
            Axis::linear(0.0, 0.0),
            Axis::linear(f64::NAN, f64::INFINITY),
            Axis::linear(5.0, 1.0),
            Axis::log(0.0, 0.0),
            Axis::log(-1.0, f64::NAN),
            Axis::from_zero(0.0),
        ] {
            assert!(axis.low < axis.high, "{axis:?}");
            assert!(!axis.ticks(5).is_empty(), "{axis:?}");
            for value in [0.0, -1.0, 1e300, f64::NAN] {
                assert!((0.0..=1.0).contains(&axis.share(value)), "{axis:?} {value}");
            }
        }
    }

    #[test]
    fn axes_from_zero_end_at_a_tick() {
        assert_eq!(Axis::from_zero(1e6).high, 1e6);
        assert_eq!(Axis::from_zero(930.0).high, 1000.0);
        assert!((Axis::from_zero(0.3).high - 0.3).abs() < 1e-9);
    }
}
