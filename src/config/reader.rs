//! Reading TOML values with their places, so that a fault can be told with line, key, value and remedy.
//!
//! A reader never stops at a fault: it notes it in the [`Report`] and goes on without the value, so that one
//! run tells everything. What was read is only used when the report is empty.

use std::ops::{Range, RangeInclusive};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, ConfigErrors};

/// The longest piece of a value that an error repeats.
const SHOWN_CHARS_MAX: usize = 80;

/// The faults of one file.
pub(super) struct Report<'t> {
    file: &'t str,
    text: &'t str,
    errors: Vec<ConfigError>,
}

impl<'t> Report<'t> {
    pub(super) fn new(file: &'t str, text: &'t str) -> Report<'t> {
        Report { file, text, errors: Vec::new() }
    }

    /// Notes a fault at `place`. Two peers with the same faulty group meet the same fault; it is told once.
    fn note(
        &mut self,
        place: Option<Range<usize>>,
        key: Option<String>,
        value: Option<String>,
        message: String,
    ) {
        let line = place.map(|span| {
            let before = &self.text.as_bytes()[..span.start.min(self.text.len())];
            1 + before.iter().filter(|byte| **byte == b'\n').count()
        });
        let error = ConfigError { file: self.file.to_string(), line, key, value, message };
        if !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }

    /// A fault of the text as such.
    pub(super) fn syntax(&mut self, error: &toml::de::Error) {
        // Some of the parser's messages name neither the key nor the value that they are about.
        let text = error.span().and_then(|span| self.text.get(span)).unwrap_or_default();
        let about = match text.trim() {
            text if text.is_empty() || text.contains('\n') || text.len() > 40 => String::new(),
            text => format!(" at {text:?}"),
        };
        self.note(error.span(), None, None, format!("not TOML: {}{about}", error.message()));
    }

    /// A fault of a value that stands in the file.
    pub(super) fn fault(&mut self, field: &Field<'_>, message: impl Into<String>) {
        let span = field.value.span();
        // A key must not get into a log by way of an error message.
        let value = (!field.path.ends_with("password")).then(|| {
            let source = self.text.get(span.clone()).unwrap_or("").lines().next().unwrap_or("");
            match source.char_indices().nth(SHOWN_CHARS_MAX) {
                Some((end, _)) => format!("{}...", &source[..end]),
                None => source.to_string(),
            }
        });
        self.note(Some(span), Some(field.path.clone()), value, message.into());
    }

    /// A fault of a table as a whole, or of something that is missing in it.
    pub(super) fn missing(&mut self, section: &Section<'_>, key: &str, message: impl Into<String>) {
        let place = section.layers.first().map(|layer| layer.span.clone());
        let key = section.path_of(key);
        self.note(place, Some(key), None, message.into());
    }

    /// Whether nothing was noted.
    pub(super) fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    /// Every fault in the order of lines.
    pub(super) fn into_errors(mut self) -> ConfigErrors {
        self.errors.sort_by_key(|error| error.line);
        ConfigErrors(self.errors)
    }
}

/// A value with its name, `peer.hold_time_s`, and its place.
#[derive(Clone)]
pub(super) struct Field<'t> {
    pub(super) path: String,
    pub(super) value: &'t Spanned<DeValue<'t>>,
}

/// A table of the file.
#[derive(Clone)]
struct Layer<'t> {
    path: String,
    table: &'t DeTable<'t>,
    span: Range<usize>,
}

/// A table of the file, and perhaps another one laid under it: a peer over its group.
#[derive(Clone)]
pub(super) struct Section<'t> {
    layers: Vec<Layer<'t>>,
}

impl<'t> Section<'t> {
    /// The whole file.
    pub(super) fn root(table: &'t Spanned<DeTable<'t>>) -> Section<'t> {
        Section { layers: vec![Layer { path: String::new(), table: table.get_ref(), span: table.span() }] }
    }

    /// This table, with `below` giving what it does not.
    pub(super) fn over(&self, below: &Section<'t>) -> Section<'t> {
        Section { layers: self.layers.iter().chain(&below.layers).cloned().collect() }
    }

    fn path_of(&self, key: &str) -> String {
        match self.layers.first() {
            Some(layer) if !layer.path.is_empty() && !key.is_empty() => format!("{}.{key}", layer.path),
            Some(layer) if !layer.path.is_empty() => layer.path.clone(),
            _ => key.to_string(),
        }
    }

    /// The value of a key: of the first layer that has it.
    pub(super) fn field(&self, key: &str) -> Option<Field<'t>> {
        self.layers.iter().find_map(|layer| layer.field(key))
    }

    /// The value under a path of keys, `match.prefix_set`.
    pub(super) fn path(&self, path: &str) -> Option<Field<'t>> {
        match path.split_once('.') {
            Some((key, rest)) => Section::of(&self.field(key)?)?.path(rest),
            None => self.field(path),
        }
    }

    /// Which of two keys that exclude each other counts: the one in the upper layer.
    pub(super) fn first_of(&self, a: &'static str, b: &'static str) -> Option<&'static str> {
        self.layers.iter().find_map(|layer| [a, b].into_iter().find(|key| layer.table.contains_key(*key)))
    }

    /// The second of two keys, if one and the same layer has both.
    pub(super) fn both(&self, a: &str, b: &str) -> Option<Field<'t>> {
        self.layers.iter().find(|layer| layer.table.contains_key(a)).and_then(|layer| layer.field(b))
    }

    /// Notes every key that is not among `known`.
    pub(super) fn check_keys(&self, report: &mut Report<'_>, known: &[&[&str]]) {
        let Some(layer) = self.layers.first() else { return };
        for key in layer.table.keys() {
            let name: &str = key.get_ref();
            if known.iter().any(|keys| keys.contains(&name)) {
                continue;
            }
            let all = known.iter().flat_map(|keys| keys.iter().copied());
            let message = match nearest(name, all.clone()) {
                Some(near) => format!("unknown key; did you mean {near}?"),
                None => format!("unknown key; known are {}", all.collect::<Vec<_>>().join(", ")),
            };
            report.note(Some(key.span()), Some(self.path_of(name)), None, message);
        }
    }

    /// Reads the value of a key, if it is there and right.
    pub(super) fn get<T>(
        &self,
        report: &mut Report<'_>,
        key: &str,
        read: impl FnOnce(&DeValue<'t>) -> Result<T, String>,
    ) -> Option<T> {
        let field = self.field(key)?;
        read(field.value.get_ref()).map_err(|message| report.fault(&field, message)).ok()
    }

    /// As [`Section::get`], and notes when the key is missing: `remedy` says what to write.
    pub(super) fn require<T>(
        &self,
        report: &mut Report<'_>,
        key: &str,
        remedy: &str,
        read: impl FnOnce(&DeValue<'t>) -> Result<T, String>,
    ) -> Option<T> {
        if self.field(key).is_none() {
            report.missing(self, key, format!("missing; {remedy}"));
        }
        self.get(report, key, read)
    }

    /// Reads a list; faulty members are noted each at its place and left out.
    pub(super) fn list<T>(
        &self,
        report: &mut Report<'_>,
        key: &str,
        mut read: impl FnMut(&DeValue<'t>) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let fields = self.members(report, key)?;
        let mut list = Vec::with_capacity(fields.len());
        for field in fields {
            match read(field.value.get_ref()) {
                Ok(value) => list.push(value),
                Err(message) => report.fault(&field, message),
            }
        }
        Some(list)
    }

    /// The members of a list, each with its place.
    pub(super) fn members(&self, report: &mut Report<'_>, key: &str) -> Option<Vec<Field<'t>>> {
        let field = self.field(key)?;
        let DeValue::Array(array) = field.value.get_ref() else {
            report.fault(&field, "must be a list; put it between [ and ]");
            return None;
        };
        Some(array.iter().map(|value| Field { path: field.path.clone(), value }).collect())
    }

    /// The table under a key, in every layer that has one.
    pub(super) fn table(&self, report: &mut Report<'_>, key: &str) -> Option<Section<'t>> {
        let mut layers = Vec::new();
        for field in self.layers.iter().filter_map(|layer| layer.field(key)) {
            match Section::of(&field) {
                Some(section) => layers.extend(section.layers),
                None => report.fault(&field, format!("must be a table; write [{}]", field.path)),
            }
        }
        (!layers.is_empty()).then_some(Section { layers })
    }

    /// The tables under a key that may stand in the file many times.
    pub(super) fn tables(&self, report: &mut Report<'_>, key: &str) -> Vec<Section<'t>> {
        let Some(field) = self.field(key) else { return Vec::new() };
        let remedy = format!("must be a list of tables; write [[{}]]", field.path);
        let DeValue::Array(array) = field.value.get_ref() else {
            report.fault(&field, remedy);
            return Vec::new();
        };
        let mut sections = Vec::with_capacity(array.len());
        for value in array.iter() {
            let member = Field { path: field.path.clone(), value };
            match Section::of(&member) {
                Some(section) => sections.push(section),
                None => report.fault(&member, remedy.clone()),
            }
        }
        sections
    }

    /// The section that a value is, if it is a table.
    pub(super) fn of(field: &Field<'t>) -> Option<Section<'t>> {
        match field.value.get_ref() {
            DeValue::Table(table) => Some(Section {
                layers: vec![Layer { path: field.path.clone(), table, span: field.value.span() }],
            }),
            _ => None,
        }
    }
}

impl<'t> Layer<'t> {
    fn field(&self, key: &str) -> Option<Field<'t>> {
        let value = self.table.get(key)?;
        let path = if self.path.is_empty() { key.to_string() } else { format!("{}.{key}", self.path) };
        Some(Field { path, value })
    }
}

/// A string.
pub(super) fn string(value: &DeValue<'_>) -> Result<String, String> {
    value.as_str().map(str::to_string).ok_or_else(|| "must be text between quotes".to_string())
}

/// A name of something: not empty.
pub(super) fn name(value: &DeValue<'_>) -> Result<String, String> {
    string(value).and_then(|name| {
        if name.is_empty() { Err("must not be empty; write a name".to_string()) } else { Ok(name) }
    })
}

/// `true` or `false`.
pub(super) fn boolean(value: &DeValue<'_>) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| "must be true or false, without quotes".to_string())
}

/// A whole number in a range.
pub(super) fn integer(value: &DeValue<'_>, range: RangeInclusive<u32>) -> Result<u32, String> {
    value
        .as_integer()
        .and_then(|number| i64::from_str_radix(number.as_str(), number.radix()).ok())
        .and_then(|number| u32::try_from(number).ok())
        .filter(|number| range.contains(number))
        .ok_or_else(|| format!("must be a number from {} to {}", range.start(), range.end()))
}

/// A reader of whole numbers in a range of a narrower type.
pub(super) fn narrow<T: TryFrom<u32> + Into<u32>>(
    range: RangeInclusive<T>,
) -> impl Fn(&DeValue<'_>) -> Result<T, String> {
    let (start, end): (u32, u32) = {
        let (start, end) = range.into_inner();
        (start.into(), end.into())
    };
    move |value| {
        integer(value, start..=end).and_then(|number| {
            T::try_from(number).map_err(|_| format!("must be a number from {start} to {end}"))
        })
    }
}

/// Something that is written as text; `what` names it and how to write it.
pub(super) fn parsed<T: std::str::FromStr>(value: &DeValue<'_>, what: &str) -> Result<T, String> {
    value.as_str().and_then(|text| text.parse().ok()).ok_or_else(|| format!("is not {what}"))
}

/// The candidate that is nearest to a misspelt word, if any is near.
pub(super) fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let limit = 1 + word.len() / 3;
    let candidates: Vec<&str> = candidates.into_iter().collect();
    // Who left the unit or the end of a name away is far from it by letters.
    let mut longer = candidates.iter().filter(|candidate| word.len() > 3 && candidate.starts_with(word));
    if let (Some(only), None) = (longer.next(), longer.next()) {
        return Some(only);
    }
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many octets must be inserted, deleted or replaced to make `b` out of `a`.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// "; did you mean X?" where something is near, "; known are …" where little is known, else nothing.
pub(super) fn suggest<'c>(word: &str, candidates: impl Iterator<Item = &'c str> + Clone) -> String {
    match nearest(word, candidates.clone()) {
        Some(near) => format!("; did you mean {near:?}?"),
        None if candidates.clone().next().is_none() => String::new(),
        None if candidates.clone().count() > 8 => String::new(),
        None => {
            let known: Vec<String> = candidates.map(|name| format!("{name:?}")).collect();
            format!("; known are {}", known.join(", "))
        }
    }
}
