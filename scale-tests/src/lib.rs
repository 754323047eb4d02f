//! What whole-process tests share: namespaces, daemons, a load source and an independent decoder.
//!
//! The tests here run complete programs (kulan, BIRD, FRR, GoBGP, OpenBGPD, ExaBGP) in network namespaces of
//! their own, on the real kernel, and compare what came out with what went in. Nothing here uses kulan's
//! library: what judges kulan must not share its mistakes.
//!
//! - [`netns`]: network namespaces and the cables between them.
//! - [`process`]: programs that end with the test, and waiting for a condition.
//! - [`daemon`]: one description of a speaker, written out in each daemon's own configuration language, and
//!   what it learned, read back from its own command line.

pub mod daemon;
pub mod data;
pub mod netns;
pub mod process;
