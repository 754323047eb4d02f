//! What people see of an [`Outcome`](crate::outcome::Outcome) or a [`Comparison`](crate::outcome::Comparison).
//!
//! Three forms of the same facts: [`summary`] for the terminal, [`svg`] for one drawing in a file, [`html`] for a
//! page with everything. None of them measures or judges: what they say comes from the outcome and from the pure
//! functions in [`statistics`] and [`verdict`], so that they cannot contradict each other.
//!
//! The charts are drawn by a plotter of our own: [`charts`] decides what is in them, [`plot`] and [`bars`] lay them
//! out. It draws a chart anew for every width that it is shown at, needs no script and no font, and is small.

pub mod axis;
pub mod bars;
pub mod charts;
pub mod difference;
pub mod html;
pub mod number;
pub mod page;
pub mod plot;
#[cfg(test)]
pub mod sample;
pub mod series;
pub mod statistics;
pub mod summary;
pub mod svg;
pub mod text;
pub mod verdict;
