//! Pages: the HTML that reports are built of.
//!
//! A page is one file that needs no network, no script and no font. Every text that goes in is escaped here, so
//! that whoever writes a report cannot forget it. Tables and long lines scroll in boxes of their own: a page is
//! never wider than its window.

use std::fmt::Write;

use crate::report::charts::Chart;
use crate::report::svg;
use crate::report::text::escape;
use crate::report::verdict::Verdict;

const STYLE: &str = include_str!("page.css");
/// The widths that the first chart is drawn for; the style sheet shows the one that fits.
const MAIN: [(&str, f64); 3] = [("narrow", 360.0), ("medium", 640.0), ("broad", 1120.0)];
/// The same of the other charts, which stand beside each other where there is room.
const SIDE: [(&str, f64); 2] = [("narrow", 360.0), ("medium", 520.0)];

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub enum Column<'a> {
    /// Of text.
    Text(&'a str),
    /// Of numbers, aligned at their right end.
    Number(&'a str),
}

/// A page that grows from top to bottom.
#[derive(Clone, Debug, Default)]
pub struct Page {
    body: String,
}

impl Page {
    /// Its title.
    pub fn title(&mut self, text: &str) {
        let _ = writeln!(self.body, "<h1>{}</h1>", escape(text));
    }

    /// Begins a section.
    pub fn section(&mut self, text: &str) {
        let _ = writeln!(self.body, "<h2>{}</h2>", escape(text));
    }

    /// Begins a part of a section.
    pub fn part(&mut self, text: &str) {
        let _ = writeln!(self.body, "<h3>{}</h3>", escape(text));
    }

    /// A paragraph; nothing if it is empty.
    pub fn paragraph(&mut self, class: &str, text: &str) {
        if !text.is_empty() {
            let _ = writeln!(self.body, "<p class=\"{class}\">{}</p>", escape(text));
        }
    }

    /// Whether a run came out as it should, and why not. One that is not complete is conspicuous.
    pub fn verdict(&mut self, verdict: &Verdict) {
        let (class, why) = match verdict {
            Verdict::Pass => ("pass", ""),
            Verdict::Fail(why) => ("fail", why.as_str()),
            Verdict::Incomplete(why) => {
                let why = format!("{}; figures cover only what ran", why.trim_end_matches('.'));
                self.banner(verdict.word(), &why);
                return;
            }
        };
        let (word, why) = (verdict.word(), escape(why));
        let _ = writeln!(
            self.body,
            "<p class=\"verdict {class}\"><span class=\"badge\">{word}</span> <span>{why}</span></p>"
        );
    }

    /// Something that nobody should miss.
    pub fn banner(&mut self, word: &str, text: &str) {
        let (word, text) = (escape(word), escape(text));
        let _ = writeln!(self.body, "<p class=\"banner\" role=\"alert\"><strong>{word}:</strong> {text}</p>");
    }

    /// Headline figures: name, number, unit.
    pub fn cards<'a>(&mut self, figures: impl Iterator<Item = (&'a str, String, &'a str)>) {
        let mut cards = String::new();
        for (name, number, unit) in figures {
            let (name, number, unit) = (escape(name), escape(&number), escape(unit));
            let _ = writeln!(cards, "<li><b>{number} <small>{unit}</small></b><span>{name}</span></li>");
        }
        if !cards.is_empty() {
            let _ = writeln!(self.body, "<ul class=\"cards\">\n{cards}</ul>");
        }
    }

    /// A command line: one click marks all of it.
    pub fn command(&mut self, command: &str) {
        let _ = writeln!(self.body, "<pre class=\"command\"><code>{}</code></pre>", escape(command));
    }

    /// Lines as they are; each has a class, which may be empty.
    pub fn lines<'a>(&mut self, lines: impl Iterator<Item = (&'a str, String)>) {
        self.body.push_str("<pre tabindex=\"0\">");
        for (class, line) in lines {
            let _ = writeln!(self.body, "<span class=\"{class}\">{}</span>", escape(&line));
        }
        self.body.push_str("</pre>\n");
    }

    /// Names and what they stand for.
    pub fn list<'a>(&mut self, entries: impl IntoIterator<Item = (&'a str, String)>) {
        self.body.push_str("<dl>\n");
        for (name, text) in entries {
            let _ = writeln!(self.body, "<dt>{}</dt><dd>{}</dd>", escape(name), escape(&text));
        }
        self.body.push_str("</dl>\n");
    }

    /// A table; nothing if it has no rows.
    pub fn table(&mut self, columns: &[Column<'_>], rows: &[Vec<String>]) {
        if rows.is_empty() {
            return;
        }
        self.body.push_str("<div class=\"scroll\" tabindex=\"0\"><table>\n<tr>");
        for column in columns {
            let _ = match column {
                Column::Text(name) => write!(self.body, "<th>{}</th>", escape(name)),
                Column::Number(name) => write!(self.body, "<th class=\"number\">{}</th>", escape(name)),
            };
        }
        self.body.push_str("</tr>\n");
        for row in rows {
            self.body.push_str("<tr>");
            for (column, cell) in columns.iter().zip(row) {
                let class = if matches!(column, Column::Number(_)) { " class=\"number\"" } else { "" };
                let _ = write!(self.body, "<td{class}>{}</td>", escape(cell));
            }
            self.body.push_str("</tr>\n");
        }
        self.body.push_str("</table></div>\n");
    }

    /// Text that is there for whoever wants it, such as a configuration.
    pub fn details(&mut self, name: &str, text: &str) {
        let (name, text) = (escape(name), escape(text));
        let _ = writeln!(
            self.body,
            "<details><summary>{name}</summary><pre tabindex=\"0\">{text}</pre></details>"
        );
    }

    /// Charts, the first over the whole width.
    pub fn charts(&mut self, charts: &[Chart]) {
        if charts.is_empty() {
            self.paragraph("note", "No samples were taken.");
            return;
        }
        self.body.push_str("<div class=\"charts\">\n");
        for (index, chart) in charts.iter().enumerate() {
            let (class, widths) = if index == 0 { ("main", &MAIN[..]) } else { ("side", &SIDE[..]) };
            let _ = writeln!(self.body, "<figure class=\"{class}\">");
            for (name, width) in widths {
                let _ = writeln!(self.body, "{}", chart.draw(*width).element(name));
            }
            self.body.push_str("</figure>\n");
        }
        self.body.push_str("</div>\n");
    }

    /// The file.
    pub fn file(&self, title: &str) -> String {
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<title>{}</title>\n\
             <style>\n{}{STYLE}</style>\n</head>\n<body>\n{}</body>\n</html>\n",
            escape(title),
            svg::STYLE,
            self.body
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::assert_well_formed;

    #[test]
    fn whatever_goes_in_is_escaped() {
        let evil = "<i x=\"y\">";
        let mut page = Page::default();
        page.title(evil);
        page.section(evil);
        page.part(evil);
        page.paragraph("note", evil);
        page.verdict(&Verdict::Fail(evil.to_owned()));
        page.verdict(&Verdict::Incomplete(evil.to_owned()));
        page.cards([(evil, evil.to_owned(), evil)].into_iter());
        page.command(evil);
        page.lines([("", evil.to_owned())].into_iter());
        page.list([(evil, evil.to_owned())]);
        page.table(&[Column::Text(evil), Column::Number(evil)], &[vec![evil.to_owned(), evil.to_owned()]]);
        page.details(evil, evil);
        let file = page.file(evil);
        assert!(!file.contains("<i"), "{file}");
        assert_eq!(file.matches("&lt;i x=&quot;y&quot;&gt;").count(), 20);
        assert_well_formed(&file);
    }
}
