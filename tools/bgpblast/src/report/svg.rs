//! Drawings: what a chart is written into, and the SVG files that stand alone.
//!
//! All colours are custom properties of one small style sheet, which a file carries in itself and a page carries
//! once, so that both follow the reader's light or dark setting without any script. The first six colours can be
//! told apart with every common kind of colour blindness, and lines that are compared differ in dashes too.

use std::fmt::Write;

use crate::outcome::{Comparison, Outcome};
use crate::report::charts::{self, Chart};
use crate::report::text::{characters, escape, wrap};
use crate::report::verdict;

/// The style sheet of all drawings. Everything in it is below the class `bb`.
pub const STYLE: &str = include_str!("chart.css");
/// The size of text, in units of a drawing.
pub const FONT: f64 = 13.0;
/// The space around a drawing.
pub const PADDING: f64 = 12.0;
/// The width of a file's main chart.
const WIDTH: f64 = 1080.0;

/// How a text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text {
    /// From its place to the right.
    Normal,
    /// From its place to the left.
    End,
    /// Softer, from its place to the right.
    Muted,
    /// Softer, around its place.
    MutedMiddle,
    /// Softer, from its place to the left.
    MutedEnd,
    /// Softer, and lines do not run through it.
    Halo,
    /// A chart's title.
    Title,
    /// A file's title.
    Headline,
}

impl Text {
    fn classes(self) -> &'static str {
        match self {
            Text::Normal => "",
            Text::End => "end",
            Text::Muted => "muted",
            Text::MutedMiddle => "muted middle",
            Text::MutedEnd => "muted end",
            Text::Halo => "halo",
            Text::Title => "title",
            Text::Headline => "headline",
        }
    }
}

/// Elements of SVG that begin at the origin, and how much room they take.
#[derive(Clone, Debug)]
pub struct Drawing {
    /// What it is, for those who do not see it.
    pub title: String,
    /// Its width.
    pub width: f64,
    /// Its height: during drawing, how far down it has been filled.
    pub height: f64,
    /// The elements.
    pub body: String,
}

impl Drawing {
    /// One without anything in it.
    pub fn new(width: f64) -> Drawing {
        Drawing { title: String::new(), width, height: PADDING, body: String::new() }
    }

    /// Puts a text at a place.
    pub fn text(&mut self, x: f64, y: f64, text: &str, style: Text) {
        let classes = style.classes();
        let class = if classes.is_empty() { String::new() } else { format!(r#" class="{classes}""#) };
        let _ = write!(self.body, r#"<text x="{x:.1}" y="{y:.1}"{class}>{}</text>"#, escape(text));
    }

    /// Puts a text below what is there, in as many lines as it needs.
    pub fn paragraph(&mut self, text: &str, style: Text, font_size: f64) {
        for line in wrap(text, characters(self.width - 2.0 * PADDING, font_size)) {
            self.text(PADDING, self.height + font_size, &line, style);
            self.height += font_size * 1.35;
        }
    }

    /// Puts a chart's title and what its y axis is on top.
    pub fn heading(&mut self, title: &str, note: &str) {
        self.title = title.to_owned();
        self.paragraph(title, Text::Title, 15.0);
        self.paragraph(note, Text::Muted, FONT);
    }

    /// Puts another drawing at a place.
    fn place(&mut self, x: f64, y: f64, other: &Drawing) {
        let _ = write!(self.body, r#"<g transform="translate({x:.1} {y:.1})">{}</g>"#, other.body);
    }

    /// The element for a page that has [`STYLE`], with another class.
    pub fn element(&self, class: &str) -> String {
        format!(
            r#"<svg class="bb {class}" viewBox="0 0 {:.0} {:.0}" role="img" aria-label="{}">{}</svg>"#,
            self.width,
            self.height,
            escape(&self.title),
            self.body
        )
    }

    /// The file.
    fn file(&self) -> String {
        let (width, height) = (self.width.ceil(), self.height.ceil());
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"bb\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" role=\"img\">\n<title>{}</title>\n<style>\n{STYLE}</style>\n\
             <rect class=\"surface\" width=\"100%\" height=\"100%\"/>\n{}\n</svg>\n",
            escape(&self.title),
            self.body
        )
    }
}

/// The charts of one run as an SVG file.
pub fn outcome_svg(outcome: &Outcome) -> String {
    let title =
        format!("{} against {}: {}", outcome.scenario, verdict::target(outcome), verdict::verdict(outcome));
    stacked(&title, &outcome.description, &charts::of_outcome(outcome))
}

/// The charts of a comparison as an SVG file.
pub fn comparison_svg(comparison: &Comparison) -> String {
    stacked(&verdict::versus(comparison), &comparison.description, &charts::of_comparison(comparison))
}

/// The first chart on top, the others below it, two beside each other.
fn stacked(title: &str, note: &str, charts: &[Chart]) -> String {
    let mut sheet = Drawing::new(WIDTH);
    title.clone_into(&mut sheet.title);
    sheet.paragraph(title, Text::Headline, 20.0);
    sheet.paragraph(note, Text::Muted, FONT);
    sheet.height += PADDING;
    let Some((main, others)) = charts.split_first() else {
        sheet.paragraph("No samples were taken.", Text::Muted, FONT);
        sheet.height += PADDING;
        return sheet.file();
    };
    let main = main.draw(WIDTH);
    sheet.place(0.0, sheet.height, &main);
    sheet.height += main.height + PADDING;
    for pair in others.chunks(2) {
        let drawings: Vec<Drawing> = pair.iter().map(|chart| chart.draw(WIDTH / 2.0)).collect();
        for (index, drawing) in drawings.iter().enumerate() {
            sheet.place(index as f64 * WIDTH / 2.0, sheet.height, drawing);
        }
        sheet.height += drawings.iter().map(|drawing| drawing.height).fold(0.0, f64::max) + PADDING;
    }
    sheet.file()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn files_are_whole() {
        for file in [
            outcome_svg(&sample::outcome()),
            outcome_svg(&sample::hostile()),
            outcome_svg(&Outcome::default()),
            comparison_svg(&sample::comparison()),
            comparison_svg(&Comparison::default()),
        ] {
            sample::assert_well_formed(&file);
            assert!(!file.contains("NaN") && !file.contains("inf\""), "{file}");
        }
    }

    #[test]
    fn foreign_text_is_escaped() {
        let file = outcome_svg(&sample::hostile());
        assert!(!file.contains("<script"));
        assert!(file.contains("&lt;script&gt;"));
    }
}
