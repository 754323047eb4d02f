//! Text, one entry a line: lists of prefixes, and churn scripts of `A PREFIX` and `W PREFIX`. Blank lines, and what
//! follows a `#`, do not count.

use std::io::{BufRead, Read};
use std::path::Path;

use hashbrown::HashSet;
use kulan::types::Prefix;

use super::input::{self, Input};
use super::{Change, Route, Routes, Script, Step};

/// No line that means anything is longer, in bytes.
const LINE_LEN_MAX: u64 = 4096;

/// The prefixes of a list in its order, each once; they have no attributes yet.
///
/// # Errors
///
/// When the file cannot be opened, or holds no prefix.
pub(super) fn load_prefixes(file: &Path) -> Result<Routes, String> {
    let mut input = Input::open(file)?;
    let mut seen = HashSet::new();
    let mut routes = Vec::new();
    let mut repeated = 0u64;
    let partial = for_each_line(file, &mut input, |entry| {
        let prefix: Prefix = entry.parse().map_err(|error: String| hint(entry, error))?;
        if seen.insert(prefix) {
            routes.push(Route { prefix, path_id: 0, set: 0 });
        } else {
            repeated += 1;
        }
        Ok(())
    });
    let mut loaded = Routes { routes, partial, ..Routes::default() };
    if repeated > 0 {
        loaded.notes.push(format!("{repeated} lines left out that repeat a prefix"));
    }
    super::usable(file, loaded)
}

fn hint(entry: &str, error: String) -> String {
    if entry.starts_with("A ") || entry.starts_with("W ") {
        return format!("{entry:?} is a line of a churn script: a list has a prefix a line");
    }
    error
}

/// The steps of a churn script.
///
/// # Errors
///
/// When it holds no step.
pub(super) fn load_script(file: &Path, input: &mut Input) -> Result<Script, String> {
    let mut steps = Vec::new();
    let partial = for_each_line(file, input, |entry| {
        let (what, prefix) = entry.split_once(char::is_whitespace).unwrap_or((entry, ""));
        let change = match what {
            "A" => Change::AnnounceAnew,
            "W" => Change::Withdraw,
            _ => return Err(format!("{entry:?} is no step: write A PREFIX or W PREFIX")),
        };
        steps.push(Step { at_s: None, prefix: prefix.trim().parse()?, path_id: 0, change });
        Ok(())
    });
    super::usable_script(file, Script { steps, partial, ..Script::default() })
}

/// Calls `take` for the entry of each line; gives back where and why it ended early, if it did.
fn for_each_line(
    file: &Path,
    input: &mut Input,
    mut take: impl FnMut(&str) -> Result<(), String>,
) -> Option<String> {
    let mut line = Vec::new();
    for number in 1u64.. {
        let failed = |why: String| Some(format!("{}: line {number}: {why}", file.display()));
        line.clear();
        match input.by_ref().take(LINE_LEN_MAX).read_until(b'\n', &mut line) {
            Ok(0) => break,
            Ok(_) => {}
            // What came of the line may be half a prefix, which is another prefix.
            Err(error) => return failed(input::damage(&error)),
        }
        let Ok(text) = str::from_utf8(&line) else {
            return failed("this is not text; if it is a table dump, use kind = \"mrt\"".to_string());
        };
        if line.len() as u64 == LINE_LEN_MAX {
            return failed(format!("longer than {LINE_LEN_MAX} bytes: this is not a list of prefixes"));
        }
        let entry = text.split('#').next().unwrap_or("").trim();
        if !entry.is_empty()
            && let Err(why) = take(entry)
        {
            return failed(why);
        }
    }
    None
}
