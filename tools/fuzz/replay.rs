//! Runs the corpus of every fuzz target in plain `cargo test`: what a fuzzer once found stays found.

mod harness;
mod session;
mod speaker;

use std::path::Path;

/// Runs every file of a target's corpus; there is at least one.
fn replay(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/fuzz/corpus").join(target);
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).expect("every target has a corpus") {
        let path = entry.expect("readable").path();
        // Shown by the test harness if the run below fails.
        println!("{}", path.display());
        run(&std::fs::read(&path).expect("readable"));
        count += 1;
    }
    assert!(count > 0, "{} is empty", folder.display());
}

macro_rules! replays {
    ($($module:ident: $($target:ident)*;)*) => {$($(
        #[test]
        fn $target() {
            replay(stringify!($target), $module::$target);
        }
    )*)*};
}

replays! {
    harness: frame open update notification route_refresh attributes;
    session: session;
    speaker: speaker;
}
