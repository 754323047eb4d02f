//! What a person sees while a run goes on: a line that moves on a terminal, a line a phase elsewhere.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Shows how far a run is, on standard error.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    live: bool,
    quiet: bool,
    prefix: Mutex<String>,
}

impl Progress {
    /// Shows on a terminal; tells in lines elsewhere; says nothing if `quiet`.
    pub fn new(quiet: bool) -> Progress {
        let live = !quiet && std::io::stderr().is_terminal();
        let target = if live { ProgressDrawTarget::stderr_with_hz(10) } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(1), target);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} {bar:24} {percent:>3} %  {msg}") {
            bar.set_style(style.progress_chars("━╸─"));
        }
        Progress { bar, live, quiet, prefix: Mutex::new(String::new()) }
    }

    /// What comes before the name of each phase: which speaker, which round.
    pub fn of(&self, prefix: &str) {
        if let Ok(mut own) = self.prefix.lock() {
            *own = if prefix.is_empty() { String::new() } else { format!("{prefix}: ") };
        }
    }

    fn prefix(&self) -> String {
        self.prefix.lock().map(|prefix| prefix.clone()).unwrap_or_default()
    }

    /// A phase begins.
    pub fn phase(&self, name: &str) {
        self.bar.set_prefix(format!("{}{name}", self.prefix()));
        self.bar.set_position(0);
        self.bar.set_message("");
    }

    /// How far the phase is.
    pub fn update(&self, done: u64, of: u64, message: impl FnOnce() -> String) {
        if self.live {
            self.bar.set_length(of.max(1));
            self.bar.set_position(done.min(of));
            self.bar.set_message(message());
        }
    }

    /// A phase has ended.
    pub fn ended(&self, name: &str, took: Duration, what: &str) {
        self.say(&format!("{}{name}: {:.3} s{what}", self.prefix(), took.as_secs_f64()));
    }

    /// A line that stays.
    pub fn say(&self, line: &str) {
        if self.quiet {
        } else if self.live {
            self.bar.suspend(|| eprintln!("{line}"));
        } else {
            eprintln!("{line}");
        }
    }

    /// Takes the moving line away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
