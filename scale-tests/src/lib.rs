//! What whole-process tests share: namespaces, daemons, a load source and an independent decoder.
//!
//! The tests here run complete programs (kulan, BIRD, FRR, GoBGP, OpenBGPD, ExaBGP) in network namespaces of
//! their own, on the real kernel, and compare what came out with what went in. Nothing that judges uses kulan's
//! library: it must not share its mistakes. Only [`measure`] does, by way of bgpblast, which also
//! names the daemons.
//!
//! - [`netns`]: network namespaces and the cables between them.
//! - [`process`]: programs that end with the test, and waiting for a condition.
//! - [`daemon`]: one description of a speaker, written out in each daemon's own configuration language, and
//!   what it learned, read back from its own command line.
//! - [`bgp`]: a small BGP stack that sends prepared bytes as fast as a socket takes them and decodes everything
//!   that comes back.
//! - [`feed`]: the tables that are sent: a real feed, and a synthetic one with the shape of the Internet's.
//! - [`bench`]: one speaker between sources and receivers of such tables.
//! - [`kernel`]: what came to lie in the kernel's table.
//! - [`measure`]: the workloads of `docs/performance.md`; the program `measure` runs them.

pub mod bench;
pub mod bgp;
pub mod daemon;
pub mod data;
pub mod feed;
pub mod kernel;
pub mod measure;
pub mod netns;
pub mod process;
