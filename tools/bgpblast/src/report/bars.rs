//! Bars of one figure for several speakers: the median as a bar, least and most as whiskers, the number beside it.

use std::fmt::Write;

use crate::report::axis::Axis;
use crate::report::number::compact;
use crate::report::plot::Style;
use crate::report::statistics::Spread;
use crate::report::svg::{Drawing, FONT, PADDING, Text};
use crate::report::text::{characters, drawn_width, shorten};

/// How far bars are apart, from middle to middle.
const ROW: f64 = 30.0;

/// One figure of several speakers.
#[derive(Clone, Debug)]
pub struct Bars {
    /// What the figure is, with its unit.
    pub title: String,
    /// Whether less or more is better, in words.
    pub note: String,
    /// Name and numbers of each speaker; nothing where it has none.
    pub rows: Vec<(String, Option<Spread>)>,
}

impl Bars {
    /// Lays it out for a width.
    pub fn draw(&self, width: f64) -> Drawing {
        let mut drawing = Drawing::new(width);
        drawing.heading(&self.title, &self.note);
        drawing.height += 6.0;
        let most_characters = characters(width * 0.3, FONT);
        let names: Vec<String> = self.rows.iter().map(|(name, _)| shorten(name, most_characters)).collect();
        let numbers: Vec<String> = self.rows.iter().map(|(_, spread)| numbers(*spread)).collect();
        let widest = |texts: &[String]| texts.iter().map(|text| drawn_width(text, FONT)).fold(0.0, f64::max);
        let left = PADDING + widest(&names) + 10.0;
        // The number stands beside the bar if there is room, and below its name's row if there is not.
        let beside = width - left - widest(&numbers) - 2.0 * PADDING >= 120.0;
        let right = if beside { width - PADDING - widest(&numbers) - 8.0 } else { width - PADDING };
        let row = if beside { ROW } else { ROW + 14.0 };
        let most =
            self.rows.iter().filter_map(|(_, spread)| *spread).map(|spread| spread.most).fold(0.0, f64::max);
        let axis = Axis::linear(0.0, most);
        let across = |value: f64| left + axis.share(value) * (right - left);
        let top = drawing.height;
        for (index, (_, spread)) in self.rows.iter().enumerate() {
            let y = top + index as f64 * row + 12.0;
            drawing.text(left - 10.0, y + 4.5, &names[index], Text::End);
            let mut end = left;
            if let Some(spread) = spread {
                let classes = Style::Plain(index).classes();
                let (least, median, most) =
                    (across(spread.least), across(spread.median), across(spread.most));
                let _ = write!(
                    drawing.body,
                    r#"<rect class="bar {classes}" x="{left:.1}" y="{:.1}" width="{:.1}" height="14" rx="1"/>"#,
                    y - 7.0,
                    (median - left).max(1.5)
                );
                if spread.runs > 1 {
                    let _ = write!(
                        drawing.body,
                        r#"<path class="whisker" d="M{least:.1} {y:.1}H{most:.1}M{least:.1} {:.1}v8M{most:.1} {:.1}v8"/>"#,
                        y - 4.0,
                        y - 4.0
                    );
                }
                end = most.max(left + 1.5);
            }
            match beside {
                true => drawing.text(end + 8.0, y + 4.5, &numbers[index], Text::Normal),
                false => drawing.text(left, y + 21.0, &numbers[index], Text::Normal),
            }
        }
        let bottom = top + self.rows.len() as f64 * row;
        let _ = write!(
            drawing.body,
            r#"<path class="axis" d="M{left:.1} {:.1}V{:.1}"/>"#,
            top - 2.0,
            bottom - 4.0
        );
        drawing.height = bottom + 4.0;
        drawing
    }
}

/// `0.612 (0.598–0.655)`, the median alone where all runs gave the same, or that there is no number.
pub fn numbers(spread: Option<Spread>) -> String {
    let Some(spread) = spread else { return "not measured".to_owned() };
    let (median, least, most) = (compact(spread.median), compact(spread.least), compact(spread.most));
    if least == most { median } else { format!("{median} ({least}–{most})") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_speaker_has_a_row() {
        let spread = Spread { runs: 3, median: 0.612, least: 0.598, most: 0.655 };
        let bars = Bars {
            title: "convergence, s".into(),
            note: "less is better".into(),
            rows: vec![("kulan".into(), Some(spread)), ("bird".into(), None)],
        };
        for width in [200.0, 360.0, 1080.0] {
            let drawing = bars.draw(width);
            assert!(drawing.body.contains("0.612 (0.598–0.655)"));
            assert!(drawing.body.contains("not measured"));
            assert!(!drawing.body.contains("NaN"));
        }
    }

    #[test]
    fn all_zero_is_no_trouble() {
        let spread = Spread { runs: 2, median: 0.0, least: 0.0, most: 0.0 };
        let bars = Bars { title: String::new(), note: String::new(), rows: vec![("a".into(), Some(spread))] };
        assert!(!bars.draw(360.0).body.contains("NaN"));
    }
}
