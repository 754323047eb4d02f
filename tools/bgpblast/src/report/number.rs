//! Numbers as people read them.
//!
//! A measured number gets three significant digits: more are noise. A count is exact. Whatever is not a finite
//! number is a dash: a report never shows `NaN`.

/// What stands where there is no number.
pub const NONE: &str = "–";

/// Three significant digits, thousands set apart by commas: `0.612`, `61.2`, `1,640,000`.
pub fn three(value: f64) -> String {
    if !value.is_finite() {
        return NONE.to_owned();
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    // The exponent is that of the rounded number: 9.996 is 10.0.
    let scientific = format!("{value:.2e}");
    let exponent: i32 = scientific.split('e').nth(1).and_then(|digits| digits.parse().ok()).unwrap_or(0);
    if !(-9..=15).contains(&exponent) {
        return scientific;
    }
    let rounded: f64 = scientific.parse().unwrap_or(value);
    let decimals = usize::try_from(2 - exponent).unwrap_or(0);
    grouped(&format!("{rounded:.decimals$}"))
}

/// The same where room is scarce: from a million on in millions, `163 M`, which is never broken.
pub fn compact(value: f64) -> String {
    match value.abs() {
        size if !size.is_finite() => NONE.to_owned(),
        size if size >= 1e9 => format!("{}\u{a0}G", three(value / 1e9)),
        size if size >= 1e6 => format!("{}\u{a0}M", three(value / 1e6)),
        _ => three(value),
    }
}

/// A number that a figure of this unit has: a count exactly, everything else with three digits.
pub fn of_unit(value: f64, unit: &str) -> String {
    if unit.is_empty() && value.is_finite() && value.fract() == 0.0 && value.abs() < 1e15 {
        return grouped(&format!("{value:.0}"));
    }
    three(value)
}

/// The same with its unit.
pub fn with_unit(value: f64, unit: &str) -> String {
    let number = of_unit(value, unit);
    if unit.is_empty() || number == NONE { number } else { format!("{number} {unit}") }
}

/// An exact count.
pub fn count(value: u64) -> String {
    grouped(&value.to_string())
}

/// A number of things: `1 peer`, `2 peers`.
pub fn counted(value: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(value), if value == 1 { one } else { many })
}

/// A share as a whole percentage.
pub fn percent(share: f64) -> String {
    if share.is_finite() { format!("{:.0} %", share * 100.0) } else { NONE.to_owned() }
}

/// The short form that an axis has room for: `0.2`, `500`, `200 k`, `1.2 M`.
pub fn short(value: f64) -> String {
    if !value.is_finite() {
        return NONE.to_owned();
    }
    let (divisor, suffix) = match value.abs() {
        size if size >= 1e9 => (1e9, " G"),
        size if size >= 1e6 => (1e6, " M"),
        size if size >= 1e4 => (1e3, " k"),
        _ => (1.0, ""),
    };
    let scientific = format!("{:.3e}", value / divisor);
    let rounded: f64 = scientific.parse().unwrap_or(value);
    // Rust prints the fewest digits that mean this number, and never an exponent.
    format!("{}{suffix}", grouped(&format!("{rounded}")))
}

/// Sets the thousands of a printed number apart.
fn grouped(number: &str) -> String {
    let (sign, number) = match number.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", number),
    };
    let (whole, fraction) = match number.split_once('.') {
        Some((whole, fraction)) => (whole, format!(".{fraction}")),
        None => (number, String::new()),
    };
    let mut out = sign.to_owned();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out + &fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measured_numbers_have_three_digits() {
        for (value, text) in [
            (0.0, "0"),
            (0.6123, "0.612"),
            (0.06123, "0.0612"),
            (9.996, "10.0"),
            (61.25, "61.2"),
            (999.6, "1,000"),
            (1_639_871.0, "1,640,000"),
            (-12.345, "-12.3"),
            (f64::NAN, "–"),
            (f64::INFINITY, "–"),
        ] {
            assert_eq!(three(value), text);
        }
    }

    #[test]
    fn counts_are_exact_and_units_follow() {
        assert_eq!(with_unit(1_000_001.0, ""), "1,000,001");
        assert_eq!(with_unit(0.61234, "s"), "0.612 s");
        assert_eq!(with_unit(f64::NAN, "s"), "–");
        assert_eq!(with_unit(2.5, ""), "2.50");
        assert_eq!(counted(1, "peer", "peers"), "1 peer");
        assert_eq!(counted(1200, "peer", "peers"), "1,200 peers");
        assert_eq!(percent(0.197), "20 %");
        assert_eq!(compact(163_398_692.8), "163\u{a0}M");
        assert_eq!(compact(999_999.0), "1,000,000");
        assert_eq!(compact(f64::INFINITY), "–");
    }

    #[test]
    fn axes_have_short_numbers() {
        for (value, text) in [
            (0.0, "0"),
            (0.1 + 0.2, "0.3"),
            (500.0, "500"),
            (2000.0, "2,000"),
            (200_000.0, "200 k"),
            (1_200_000.0, "1.2 M"),
            (3e9, "3 G"),
            (0.00002, "0.00002"),
        ] {
            assert_eq!(short(value), text);
        }
    }
}
