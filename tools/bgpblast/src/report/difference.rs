//! One route that came out wrong, attribute by attribute.

use crate::outcome::Difference;

/// Where an attribute is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// On both sides.
    Both,
    /// Only where it is expected.
    Expected,
    /// Only in what is held.
    Held,
}

impl Side {
    /// The mark of its line, as `diff` has it.
    pub fn mark(self) -> char {
        match self {
            Side::Both => ' ',
            Side::Expected => '-',
            Side::Held => '+',
        }
    }
}

/// The attributes of both sides in the order in which they are expected. One that differs is followed by the one
/// of the same name that is held instead; what nobody expected comes last.
pub fn lines(difference: &Difference) -> Vec<(Side, &str)> {
    const NO_ROUTE: &str = "no route";
    let mut held: Vec<&str> = difference.held.iter().map(String::as_str).collect();
    let mut lines = Vec::new();
    if difference.expected.is_empty() {
        lines.push((Side::Expected, NO_ROUTE));
    }
    for expected in &difference.expected {
        if let Some(index) = held.iter().position(|line| line == expected) {
            held.remove(index);
            lines.push((Side::Both, expected.as_str()));
            continue;
        }
        lines.push((Side::Expected, expected));
        let instead =
            |line: &&str| name(line) == name(expected) && !difference.expected.iter().any(|e| e == *line);
        if let Some(index) = held.iter().position(instead) {
            lines.push((Side::Held, held.remove(index)));
        }
    }
    lines.extend(held.into_iter().map(|line| (Side::Held, line)));
    if difference.held.is_empty() {
        lines.push((Side::Held, NO_ROUTE));
    }
    lines
}

/// What a line begins with.
fn name(line: &str) -> &str {
    line.split([':', ' ', '=']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(expected: &[&str], held: &[&str]) -> Difference {
        let owned = |lines: &[&str]| lines.iter().map(|&line| line.to_owned()).collect();
        Difference { expected: owned(expected), held: owned(held), ..Difference::default() }
    }

    #[test]
    fn lines_that_differ_are_beside_each_other() {
        let difference = difference(
            &["origin: IGP", "AS_PATH: 1 2", "MED: 5"],
            &["origin: IGP", "label: 3", "AS_PATH: 1 3"],
        );
        assert_eq!(
            lines(&difference),
            [
                (Side::Both, "origin: IGP"),
                (Side::Expected, "AS_PATH: 1 2"),
                (Side::Held, "AS_PATH: 1 3"),
                (Side::Expected, "MED: 5"),
                (Side::Held, "label: 3"),
            ]
        );
    }

    #[test]
    fn a_missing_route_is_told() {
        assert_eq!(
            lines(&difference(&["origin: IGP"], &[])),
            [(Side::Expected, "origin: IGP"), (Side::Held, "no route")]
        );
        assert_eq!(
            lines(&difference(&[], &["origin: IGP"])),
            [(Side::Expected, "no route"), (Side::Held, "origin: IGP")]
        );
    }
}
