//! The workloads of `docs/performance.md`, run against one speaker at a time.
//!
//! The speaker runs in a network namespace of its own; sources and receivers of routes run on one thread in
//! another, connected by two cables: sources on the first, receivers on the second, so that no next hop is
//! shared between them. A time ends when the last receiver's table is exactly right, every route with every
//! attribute; there is no other way for a workload to succeed.

mod latency;
mod many;
mod tables;

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::bench::*;
use crate::bgp::peers::{Identity, Peers};
use crate::daemon::{Daemon, Kind};
use crate::process::Usage;

/// When a run is given up. Above what the slowest known speaker needs.
const PATIENCE: Duration = Duration::from_secs(180);

/// A workload.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// Its name in `docs/performance.md`.
    pub name: &'static str,
    /// What it is, in a line.
    pub description: &'static str,
    run: fn(&Bench, Kind) -> Result<Vec<Figure>, String>,
}

/// Every workload.
pub const WORKLOADS: &[Workload] = &[
    Workload {
        name: "W1",
        description: "1,000,000 routes, 1 feed, 1 receiver, eBGP",
        run: tables::full_table,
    },
    Workload { name: "W1r", description: "the PCH feed, reflected to 1 client", run: tables::reflected_feed },
    Workload { name: "W2", description: "10 feeds of 100,000 prefixes, 1 receiver", run: tables::ten_feeds },
    Workload { name: "W3", description: "100,000 routes reflected to 100 clients", run: many::fan_out },
    Workload {
        name: "W4",
        description: "1,000 clients announce a /24 each, all learn all",
        run: many::all_to_all,
    },
    Workload { name: "W5", description: "the feed of W1 goes down", run: tables::feed_down },
    Workload {
        name: "W6",
        description: "300,000 routes into the kernel's table",
        run: tables::into_the_kernel,
    },
    Workload {
        name: "W7",
        description: "latency of one route, idle and while W1 loads",
        run: latency::single_routes,
    },
    Workload { name: "W8", description: "2,000 clients connect at once", run: many::storm },
    Workload { name: "W9", description: "memory of 1,000 and 10,000 idle peers", run: many::idle },
];

impl Workload {
    /// Runs it once, on a fresh speaker in fresh namespaces.
    ///
    /// # Errors
    /// What did not come out right.
    pub fn run(&self, kind: Kind) -> Result<Vec<Figure>, String> {
        (self.run)(&Bench::new(), kind)
    }
}

/// One measured number.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// What it is.
    pub name: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// The number.
    pub value: f64,
}

fn figure(name: &'static str, unit: &'static str, value: f64) -> Figure {
    Figure { name, unit, value }
}

/// The figures that every workload has: the time, and what the speaker used until then.
fn standard_figures(time: Duration, usage: Usage) -> Vec<Figure> {
    vec![
        figure("time", "s", time.as_secs_f64()),
        figure("memory", "MB", usage.resident_kb as f64 / 1024.0),
        figure("peak", "MB", usage.resident_peak_kb as f64 / 1024.0),
        figure("CPU", "s", usage.cpu_ms as f64 / 1000.0),
    ]
}

fn await_established(peers: &mut Peers) -> Result<(), String> {
    peers.run(PATIENCE, |peers| peers.established() == peers.len()).map(drop)
}
