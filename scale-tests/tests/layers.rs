//! The one-way flow of docs/architecture.md, as a test: it reads every `use crate::` and `crate::` path of the
//! library and fails on an import that points up.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Each room with the rooms that it may use. Plain data that has no behaviour is shared by name: `config` and
/// `config::diff` describe what is wanted, `control::message` how to ask; neither reaches down again.
const ALLOWED: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("wire", &["types"]),
    ("session", &["types", "wire", "config"]),
    ("policy", &["types", "wire"]),
    ("rib", &["types", "wire"]),
    ("export", &["types", "wire", "policy", "rib"]),
    ("fib", &["types"]),
    ("speaker", &["types", "wire", "session", "policy", "rib", "export", "fib", "config"]),
    ("config", &["types", "wire", "policy"]),
    ("control", &["types", "wire", "session", "policy", "rib", "export", "fib", "speaker", "config"]),
    ("cli", &["types", "wire", "config", "control", "policy"]),
    (
        "reactor",
        &["types", "wire", "session", "policy", "rib", "export", "fib", "speaker", "config", "control"],
    ),
];

#[test]
fn imports_point_down() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../src");
    let mut faults = BTreeSet::new();
    let mut edges = 0;
    visit(&source, &mut |file, text| {
        let relative = file.strip_prefix(&source).expect("walked from there");
        let first = relative.iter().next().and_then(|part| part.to_str()).expect("a file has a name");
        let room = first.trim_end_matches(".rs");
        if room == "lib" || room == "main" || relative.to_string_lossy().contains("test") {
            return;
        }
        let (_, allowed) = ALLOWED.iter().find(|(name, _)| *name == room).unwrap_or_else(|| {
            panic!("src/{first} is a room that the table of layers does not know");
        });
        for (_, rest) in text.match_indices("crate::").map(|(at, word)| (at, &text[at + word.len()..])) {
            let used: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            edges += 1;
            if used != room
                && ALLOWED.iter().any(|(name, _)| *name == used)
                && !allowed.contains(&used.as_str())
            {
                faults.insert(format!("src/{} uses {used}", relative.display()));
            }
        }
    });
    assert!(edges > 100, "only {edges} imports were read: the test looks in the wrong place");
    assert!(
        faults.is_empty(),
        "imports that point up:\n{}",
        faults.into_iter().collect::<Vec<_>>().join("\n")
    );
}

fn visit(folder: &Path, read: &mut impl FnMut(&Path, &str)) {
    for entry in fs::read_dir(folder).expect("the source folder can be read") {
        let path = entry.expect("a folder's entry can be read").path();
        if path.is_dir() {
            visit(&path, read);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            read(&path, &fs::read_to_string(&path).expect("a source file is text"));
        }
    }
}
