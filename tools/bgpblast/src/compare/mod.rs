//! The same scenario against several speakers, each in a network namespace of its own.
//!
//! A scenario says in a [`plan::Plan`] what the speaker under test is to be. [`speaker::Kind`] writes that down in a
//! daemon's own language, as an operator would who wants it to be fast, and [`speaker::Running`] is the daemon at
//! work on it, in the namespace that [`bench::Bench`] has for it. What it uses is measured by [`process::Meter`].
//!
//! The configurations are fair: everything is imported and exported, nobody logs single updates, damps or restarts
//! gracefully, and no timer is other than the daemon has it by default, but for those about dialing again.

pub mod bench;
mod daemon;
pub mod plan;
pub mod process;
pub mod run;
pub mod speaker;
