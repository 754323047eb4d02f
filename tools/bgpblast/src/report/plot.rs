//! One chart with two axes: lines, bands, bars and marks.
//!
//! A plot is data; [`Plot::draw`] lays it out for a width. It is drawn anew for every width rather than scaled,
//! because text that is scaled to a telephone cannot be read. From top to bottom: title, what the y axis is
//! (written above it, not turned on its side), legend, labels of marks, the plot itself, ticks, what the x axis is.

use std::fmt::Write;

use crate::report::axis::Axis;
use crate::report::number::short;
use crate::report::svg::{Drawing, FONT, PADDING, Text};
use crate::report::text::{characters, drawn_width, escape, shorten};

/// The space between ticks of the x axis: no label is longer.
const TICK_SPACE: f64 = 64.0;
/// How far labels of marks are apart, from each other's base line.
const LANE: f64 = 17.0;
/// More labels of marks on top of each other than this are left out.
const LANES: usize = 4;

/// A chart with two axes.
#[derive(Clone, Debug)]
pub struct Plot {
    /// What is to be seen.
    pub title: String,
    /// What the y axis is, with its unit.
    pub y_label: String,
    /// What the x axis is, with its unit.
    pub x_label: String,
    /// The x axis.
    pub x: Axis,
    /// The y axis.
    pub y: Axis,
    /// Areas between two curves, those behind first.
    pub bands: Vec<Band>,
    /// Curves.
    pub lines: Vec<Line>,
    /// Bars of a histogram.
    pub bars: Vec<Bar>,
    /// Moments.
    pub marks: Vec<Mark>,
}

/// A curve.
#[derive(Clone, Debug)]
pub struct Line {
    /// What it is; empty: not in the legend.
    pub name: String,
    /// Its colour and dashes.
    pub style: Style,
    /// Its points in the order of x.
    pub points: Vec<(f64, f64)>,
}

/// An area between two curves.
#[derive(Clone, Debug)]
pub struct Band {
    /// What it is.
    pub name: String,
    /// Its colour.
    pub style: Style,
    /// How much of what is behind it is hidden, as a class: `faint` or `clear`.
    pub class: &'static str,
    /// x, lower and upper curve.
    pub points: Vec<(f64, f64, f64)>,
}

/// A bar from the x axis upwards.
#[derive(Clone, Debug)]
pub struct Bar {
    /// Where it begins on the x axis.
    pub from: f64,
    /// Where it ends.
    pub until: f64,
    /// How high it is.
    pub value: f64,
    /// What a pointer on it shows.
    pub title: String,
}

/// A moment on the x axis.
#[derive(Clone, Debug)]
pub struct Mark {
    /// Where.
    pub at: f64,
    /// What begins there; empty: a line without a label.
    pub label: String,
}

/// Colours and dashes, of which the style sheet has six each.
#[derive(Clone, Copy, Debug)]
pub enum Style {
    /// A colour by its number, in an unbroken line.
    Plain(usize),
    /// The colour and the dashes of one of several that are compared: who cannot tell colours apart sees dashes.
    Compared(usize),
    /// What is there for orientation.
    Reference,
}

impl Style {
    /// The classes that the style sheet knows.
    pub fn classes(self) -> String {
        match self {
            Style::Plain(number) => format!("c{}", number % 6),
            Style::Compared(number) => format!("c{} d{}", number % 6, number % 6),
            Style::Reference => "cr d1".to_owned(),
        }
    }
}

/// The rectangle that data is drawn in.
struct Area {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
}

impl Plot {
    /// Lays it out for a width.
    pub fn draw(&self, width: f64) -> Drawing {
        let mut drawing = Drawing::new(width);
        drawing.heading(&self.title, &self.y_label);
        self.legend(&mut drawing);
        let height = (width * 0.3).clamp(170.0, 320.0);
        let y_ticks = self.y.ticks(5);
        let widest = y_ticks.iter().map(|tick| drawn_width(&short(*tick), FONT)).fold(0.0, f64::max);
        let mut area =
            Area { left: PADDING + widest + 8.0, right: width - PADDING - 14.0, top: 0.0, bottom: 0.0 };
        let lanes = self.lay_out_marks(&area);
        let deepest = lanes.iter().flatten().map(|(lane, _)| lane + 1).max().unwrap_or(0);
        let first_lane = drawing.height + 15.0;
        area.top = drawing.height + 10.0 + deepest as f64 * LANE;
        area.bottom = area.top + height;
        self.grid(&mut drawing, &area, &y_ticks);
        for (mark, place) in self.marks.iter().zip(&lanes) {
            let from = place.map_or(area.top, |(lane, _)| first_lane + lane as f64 * LANE - 10.0);
            let (x, until) = (self.across(&area, mark.at), area.bottom);
            let _ = write!(drawing.body, r#"<path class="mark" d="M{x:.1} {from:.1}V{until:.1}"/>"#);
        }
        self.data(&mut drawing, &area);
        for (mark, place) in self.marks.iter().zip(&lanes) {
            if let Some((lane, x)) = place {
                let label = shorten(&mark.label, characters(area.right - area.left, FONT));
                drawing.text(*x, first_lane + *lane as f64 * LANE, &label, Text::Halo);
            }
        }
        drawing.height = area.bottom + 20.0 + 18.0;
        drawing.text(area.right + 14.0, drawing.height, &self.x_label, Text::MutedEnd);
        drawing.height += 10.0;
        drawing
    }

    /// The legend, in as many rows as it needs.
    fn legend(&self, drawing: &mut Drawing) {
        let bands = self.bands.iter().map(|band| (&band.name, band.style, Some(band.class)));
        let lines = self.lines.iter().map(|line| (&line.name, line.style, None));
        let entries: Vec<_> = lines.chain(bands).filter(|(name, ..)| !name.is_empty()).collect();
        if entries.len() < 2 {
            return;
        }
        const KEY: f64 = 26.0;
        let mut x = PADDING;
        let mut y = drawing.height + 15.0;
        for (name, style, band) in entries {
            let name = shorten(name, characters(drawing.width - 2.0 * PADDING - KEY - 6.0, FONT));
            let needed = KEY + 6.0 + drawn_width(&name, FONT);
            if x > PADDING && x + needed > drawing.width - PADDING {
                x = PADDING;
                y += 20.0;
            }
            let classes = style.classes();
            let _ = match band {
                Some(class) => write!(
                    drawing.body,
                    r#"<rect class="band {class} {classes}" x="{x:.1}" y="{:.1}" width="{KEY}" height="12"/>"#,
                    y - 10.0
                ),
                None => {
                    write!(drawing.body, r#"<path class="line {classes}" d="M{x:.1} {:.1}h{KEY}"/>"#, y - 4.0)
                }
            };
            drawing.text(x + KEY + 6.0, y, &name, Text::Normal);
            x += needed + 18.0;
        }
        drawing.height = y + 8.0;
    }

    /// For each mark with a label the lane (counted from the top) and the x where the label begins. A label goes
    /// below those that reach over its own line, so that lines pass to the left of labels.
    fn lay_out_marks(&self, area: &Area) -> Vec<Option<(usize, f64)>> {
        let mut ends: Vec<f64> = Vec::new();
        self.marks
            .iter()
            .map(|mark| {
                if mark.label.is_empty() {
                    return None;
                }
                let label = shorten(&mark.label, characters(area.right - area.left, FONT));
                let needed = drawn_width(&label, FONT);
                let x = (self.across(area, mark.at) + 4.0).min(area.right - needed).max(area.left);
                let lane = ends.iter().rposition(|end| end + 10.0 > x).map_or(0, |lane| lane + 1);
                if lane >= LANES {
                    return None;
                }
                ends.truncate(lane);
                ends.push(x + needed);
                Some((lane, x))
            })
            .collect()
    }

    /// Grid, ticks and axes.
    fn grid(&self, drawing: &mut Drawing, area: &Area, y_ticks: &[f64]) {
        for tick in y_ticks {
            let y = self.down(area, *tick);
            let _ = write!(
                drawing.body,
                r#"<path class="grid" d="M{:.1} {y:.1}H{:.1}"/>"#,
                area.left, area.right
            );
            drawing.text(area.left - 8.0, y + 4.5, &short(*tick), Text::MutedEnd);
        }
        let most = ((area.right - area.left) / TICK_SPACE).max(2.0) as usize;
        let mut free = 0.0;
        for tick in self.x.ticks(most) {
            let x = self.across(area, tick);
            let _ = write!(
                drawing.body,
                r#"<path class="axis" d="M{x:.1} {:.1}v5"/><path class="grid" d="M{x:.1} {:.1}V{:.1}"/>"#,
                area.bottom, area.top, area.bottom
            );
            let label = short(tick);
            let half = drawn_width(&label, FONT) / 2.0;
            let centre = x.clamp(half + 1.0, drawing.width - half - 1.0);
            if centre - half >= free {
                drawing.text(centre, area.bottom + 20.0, &label, Text::MutedMiddle);
                free = centre + half + 6.0;
            }
        }
        let _ = write!(
            drawing.body,
            r#"<path class="axis" d="M{:.1} {:.1}H{:.1}"/>"#,
            area.left, area.bottom, area.right
        );
    }

    /// Bands, bars and lines.
    fn data(&self, drawing: &mut Drawing, area: &Area) {
        for band in &self.bands {
            let lower = self.thinned(area, band.points.iter().map(|&(x, low, _)| (x, low)));
            let upper = self.thinned(area, band.points.iter().map(|&(x, _, high)| (x, high)));
            let outline = path(upper.into_iter().chain(lower.into_iter().rev()));
            let classes = band.style.classes();
            let _ = write!(drawing.body, r#"<path class="band {} {classes}" d="{outline}Z"/>"#, band.class);
        }
        for bar in self.bars.iter().filter(|bar| bar.value > 0.0) {
            let (from, until) = (self.across(area, bar.from), self.across(area, bar.until));
            let gap = if until - from > 4.0 { 1.0 } else { 0.0 };
            // The rarest of the latencies are the interesting ones: a bar is never too low to be seen.
            let top = self.down(area, bar.value).min(area.bottom - 1.5);
            let _ = write!(
                drawing.body,
                r#"<rect class="bar c0" x="{from:.1}" y="{top:.1}" width="{:.1}" height="{:.1}"><title>{}</title></rect>"#,
                (until - from - gap).max(0.5),
                area.bottom - top,
                escape(&bar.title)
            );
        }
        for line in &self.lines {
            let classes = line.style.classes();
            let points = self.thinned(area, line.points.iter().copied());
            let _ = match points[..] {
                [(x, y)] => {
                    write!(drawing.body, r#"<circle class="dot {classes}" cx="{x:.1}" cy="{y:.1}" r="3.5"/>"#)
                }
                _ => write!(drawing.body, r#"<path class="line {classes}" d="{}"/>"#, path(points)),
            };
        }
    }

    /// Places of points, without those that cannot be told from the one before.
    fn thinned(&self, area: &Area, points: impl Iterator<Item = (f64, f64)>) -> Vec<(f64, f64)> {
        let mut kept: Vec<(f64, f64)> = Vec::new();
        let mut left_out = None;
        for (x, y) in points {
            let point = (self.across(area, x), self.down(area, y));
            let near = |last: &(f64, f64)| (last.0 - point.0).abs() < 0.6 && (last.1 - point.1).abs() < 0.6;
            left_out = kept.last().is_some_and(near).then_some(point);
            if left_out.is_none() {
                kept.push(point);
            }
        }
        kept.extend(left_out.filter(|_| kept.len() > 1));
        kept
    }

    fn across(&self, area: &Area, x: f64) -> f64 {
        area.left + self.x.share(x) * (area.right - area.left)
    }

    fn down(&self, area: &Area, y: f64) -> f64 {
        area.bottom - self.y.share(y) * (area.bottom - area.top)
    }
}

/// The outline through these points.
fn path(points: impl IntoIterator<Item = (f64, f64)>) -> String {
    let mut out = String::new();
    for (x, y) in points {
        let _ = write!(out, "{}{x:.1} {y:.1}", if out.is_empty() { "M" } else { "L" });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A plot of these points with these marks.
    fn plot(points: &[(f64, f64)], marks: &[(f64, &str)]) -> Plot {
        let mark = |&(at, label): &(f64, &str)| Mark { at, label: label.to_owned() };
        Plot {
            title: "routes <held>".into(),
            y_label: "routes".into(),
            x_label: "s".into(),
            x: Axis::linear(0.0, 1.0),
            y: Axis::from_zero(10.0),
            bands: Vec::new(),
            lines: vec![Line { name: "median".into(), style: Style::Plain(0), points: points.to_vec() }],
            bars: Vec::new(),
            marks: marks.iter().map(mark).collect(),
        }
    }

    #[test]
    fn few_points_are_drawn_too() {
        assert!(!plot(&[], &[]).draw(360.0).body.contains("NaN"));
        assert!(plot(&[(0.5, 5.0)], &[]).draw(360.0).body.contains("<circle"));
        let two = plot(&[(0.0, 0.0), (1.0, 10.0)], &[]).draw(360.0);
        assert!(two.body.contains(r#"class="line c0" d="M"#), "{}", two.body);
        assert!(two.body.contains("routes &lt;held&gt;"));
    }

    #[test]
    fn points_that_coincide_are_drawn_once() {
        let many: Vec<(f64, f64)> = (0..100_000).map(|step| (f64::from(step) / 1e5, 5.0)).collect();
        assert!(plot(&many, &[]).draw(640.0).body.len() < 20_000);
    }

    #[test]
    fn labels_of_marks_do_not_overlap() {
        let marks = [(0.0, "establishing"), (0.05, "the table"), (0.5, "withdrawal"), (0.97, "again")];
        let plot = plot(&[(0.0, 0.0)], &marks);
        let area = Area { left: 50.0, right: 340.0, top: 0.0, bottom: 100.0 };
        let places = plot.lay_out_marks(&area);
        let spans: Vec<(usize, f64, f64)> = places
            .iter()
            .zip(marks)
            .map(|(place, (_, label))| {
                place.map(|(lane, x)| (lane, x, x + drawn_width(label, FONT))).unwrap()
            })
            .collect();
        for (index, one) in spans.iter().enumerate() {
            assert!(one.1 >= area.left && one.2 <= area.right, "{one:?}");
            for other in &spans[index + 1..] {
                assert!(one.0 != other.0 || one.2 < other.1 || other.2 < one.1, "{one:?} {other:?}");
            }
        }
    }
}
