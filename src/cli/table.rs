//! Aligned tables that need not be whole before they are printed.
//!
//! The first batch of rows decides how wide the columns are; a later one can only widen them. So a full
//! table streams through in little memory, and small answers are aligned perfectly. The last column is
//! never padded, nothing is ever cut off, and there are no colours: what goes into a pipe is what stands
//! on the screen.

use std::io::{self, Write};

/// How the cells of a column stand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// A table under its header.
pub(super) struct Table {
    columns: &'static [(&'static str, Align)],
    widths: Vec<usize>,
    headed: bool,
}

impl Table {
    /// A table with these columns and no rows yet.
    pub(super) fn new(columns: &'static [(&'static str, Align)]) -> Table {
        let widths = columns.iter().map(|(header, _)| header.chars().count()).collect();
        Table { columns, widths, headed: false }
    }

    /// Prints a batch of rows, the header before the first.
    pub(super) fn print(&mut self, out: &mut impl Write, rows: &[Vec<String>]) -> io::Result<()> {
        for row in rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        if !self.headed {
            self.headed = true;
            let header: Vec<&str> = self.columns.iter().map(|(header, _)| *header).collect();
            self.line(out, &header)?;
        }
        rows.iter().try_for_each(|row| {
            let cells: Vec<&str> = row.iter().map(|cell| &cell[..]).collect();
            self.line(out, &cells)
        })
    }

    fn line(&self, out: &mut impl Write, cells: &[&str]) -> io::Result<()> {
        let mut line = String::new();
        for (i, (cell, (_, align))) in cells.iter().zip(self.columns).enumerate() {
            let width = self.widths[i];
            if i > 0 {
                line.push_str("  ");
            }
            match align {
                Align::Left => line.push_str(&format!("{cell:<width$}")),
                Align::Right => line.push_str(&format!("{cell:>width$}")),
            }
        }
        writeln!(out, "{}", line.trim_end())
    }
}

/// Whether a prefix is one of IPv6.
pub(super) fn is_ipv6(prefix: &str) -> bool {
    prefix.contains(':')
}

/// Tables of prefixes, one for each family: IPv6 wants wider columns than what was printed before it has.
pub(super) struct ByFamily {
    columns: &'static [(&'static str, Align)],
    current: Option<(bool, Table)>,
}

impl ByFamily {
    /// Tables with these columns and no rows yet.
    pub(super) fn new(columns: &'static [(&'static str, Align)]) -> ByFamily {
        ByFamily { columns, current: None }
    }

    /// Prints a batch of rows of one family.
    pub(super) fn print(&mut self, out: &mut impl Write, ipv6: bool, rows: &[Vec<String>]) -> io::Result<()> {
        if self.current.as_ref().is_some_and(|(of, _)| *of != ipv6) {
            self.current = None;
            writeln!(out)?;
        }
        let (_, table) = self.current.get_or_insert_with(|| (ipv6, Table::new(self.columns)));
        table.print(out, rows)
    }

    /// Prints the header if there were no rows to print it above.
    pub(super) fn finish(&mut self, out: &mut impl Write) -> io::Result<()> {
        if self.current.is_some() { Ok(()) } else { self.print(out, false, &[]) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_nothing_is_cut() {
        let mut table = Table::new(&[("Peer", Align::Left), ("AS", Align::Right), ("Words", Align::Left)]);
        let row = |cells: [&str; 3]| cells.map(String::from).to_vec();
        let mut out = Vec::new();
        table.print(&mut out, &[row(["10.0.0.1", "65000", "a b"]), row(["::1", "1", ""])]).unwrap();
        table.print(&mut out, &[row(["2001:db8::1", "4200000000", "later"])]).unwrap();
        let expected = "\
Peer         AS  Words
10.0.0.1  65000  a b
::1           1
2001:db8::1  4200000000  later
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn each_family_has_columns_of_its_own() {
        let row = |cells: [&str; 2]| vec![cells.map(String::from).to_vec()];
        let mut out = Vec::new();
        let mut table = ByFamily::new(&[("Prefix", Align::Left), ("From", Align::Left)]);
        table.print(&mut out, false, &row(["10.0.0.0/8", "a"])).unwrap();
        table.print(&mut out, false, &row(["10.1.0.0/8", "b"])).unwrap();
        table.print(&mut out, true, &row(["2001:db8:1::/48", "c"])).unwrap();
        table.finish(&mut out).unwrap();
        let expected = "\
Prefix      From
10.0.0.0/8  a
10.1.0.0/8  b

Prefix           From
2001:db8:1::/48  c
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn an_empty_table_still_has_its_header() {
        let mut out = Vec::new();
        let mut table = ByFamily::new(&[("A", Align::Left), ("B", Align::Right)]);
        table.finish(&mut out).unwrap();
        table.finish(&mut out).unwrap();
        assert_eq!(out, b"A  B\n");
    }
}
