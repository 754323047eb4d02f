//! The workloads of `docs/performance.md`: scenarios of bgpblast with the sizes and the real data that the document speaks
//! of, and W6, which looks into the kernel and not at what peers are told.

mod kernel;

use std::path::{Path, PathBuf};

use bgpblast::scenario::Scenario;
use bgpblast::scenario::builtin::{self, Churning, Common};
use bgpblast::source::{IpFamily, Source};

pub use kernel::into_the_kernel;

/// A workload.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// Its name in `docs/performance.md`.
    pub name: &'static str,
    /// What it is, in a line.
    pub description: &'static str,
    /// How it is carried out.
    pub work: Work,
}

/// How a workload is carried out.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    /// By bgpblast.
    Scenario(fn() -> Scenario),
    /// By [`into_the_kernel`].
    Kernel,
}

/// Every workload.
pub const WORKLOADS: &[Workload] = &[
    of("W1", "1,000,000 routes, 1 feed, 1 receiver, eBGP", || builtin::table(&internet(), false)),
    of("W1r", "the PCH feed, reflected to 1 client", || builtin::table(&pch(), true)),
    of("W2", "10 feeds of 100,000 prefixes, 1 receiver", || builtin::feeds(&synthetic(100_000), 10)),
    of("W3", "100,000 routes reflected to 100 clients", || builtin::fanout(&synthetic(100_000), 100)),
    of("W4", "1,000 clients announce a range each, all learn all", || {
        builtin::pods(&Common::default(), 1_000, false, None)
    }),
    of("W5", "the feed of W1 goes down and comes back", || builtin::flap(&internet(), 0, 1.0)),
    Workload { name: "W6", description: "300,000 routes into the kernel's table", work: Work::Kernel },
    of("W7", "latency of one route, while W1 loads and idle", || builtin::latency(&internet(), 2_000, 1.0)),
    of("W8", "2,000 clients connect at once", || builtin::storm(&Common::default(), 2_000, None)),
    of("W9", "1,000 idle sessions for 35 s", || builtin::idle(&Common::default(), 1_000, 35.0)),
    of("W10", "the PCH feed, reflected to 250 clients", || builtin::fanout(&pch(), 250)),
    of("W11", "a day of RIS at 1,000 times its pace, 10 receivers", || {
        let script = Some(data("ris-as3333-20260511-v4-churn24h.txt.gz"));
        let churning = Churning { receivers: 10, script, speed: 1000.0, per_second: 1.0, changes: None };
        builtin::churn(&internet(), churning)
    }),
    of("W12", "1 of 100 receivers does not read for 30 s", || {
        builtin::slow_reader(&synthetic(100_000), 100, 30.0)
    }),
    of("W13", "5,000 clients at once, all learn all, a tenth restarts", || {
        builtin::pods(&Common::default(), 5_000, true, Some(0.1))
    }),
    of("W14", "10,000 idle sessions for five minutes", || {
        builtin::idle(&Common { time_limit_s: 600, ..Common::default() }, 10_000, 300.0)
    }),
    of("W15", "policy change toward 100 clients with 100,000 routes", || {
        builtin::policy(&synthetic(100_000), 100, None)
    }),
];

const fn of(name: &'static str, description: &'static str, scenario: fn() -> Scenario) -> Workload {
    Workload { name, description, work: Work::Scenario(scenario) }
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(name)
}

/// A million prefixes of a real table with as many attribute sets as a full feed of 2026 has, in proportion.
fn internet() -> Common {
    let file = data("ris-as3333-20260511-v4-prefixes.txt.gz");
    let source = Source::Prefixes { file, sets: Some(122_303), seed: 1, routes: Some(1_000_000) };
    Common { source, ..Common::default() }
}

/// A recorded feed, as it was recorded.
fn pch() -> Common {
    let source = Source::Messages { file: data("pch-as3856-ibgp-2015.bgp.gz") };
    Common { source, keep_next_hops: true, time_limit_s: 900, ..Common::default() }
}

fn synthetic(routes: usize) -> Common {
    let source = Source::Internet { family: IpFamily::Ipv4, routes, sets: None, seed: 1, prefix_seed: 1 };
    Common { source, ..Common::default() }
}
