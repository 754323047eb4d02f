//! Measures speakers side by side on the workloads of `docs/performance.md`.
//!
//! ```text
//! cargo build --release --workspace --bins && target/release/measure W1 W1r --runs 3
//! ```
//!
//! Every run is a fresh speaker in a fresh namespace. The speakers alternate within each round, so that a machine
//! that slows down slows all of them. A run whose receivers do not end up with exactly the right routes counts as
//! failed, not as fast.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;

use bgpblast::compare::run::{Request, alternate, compare};
use bgpblast::compare::speaker::Kind;
use bgpblast::machine;
use bgpblast::outcome::{Comparison, Contender, Outcome};
use bgpblast::progress::Progress;
use bgpblast::report::html::comparison_html;
use bgpblast::report::summary::comparison;
use clap::Parser;
use kulan_scale_tests::measure::{WORKLOADS, Work, Workload, into_the_kernel};
use kulan_scale_tests::process::raise_descriptor_limit;

/// The width of the tables.
const WIDTH: usize = 100;

/// Measures speakers side by side on the workloads of docs/performance.md.
#[derive(Debug, Parser)]
#[command(name = "measure")]
struct Cli {
    /// W1 W1r W2 ... W15; all of them if none is named
    #[arg(value_parser = workload)]
    workloads: Vec<Workload>,
    /// How many rounds
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// The speakers, in the order in which they run
    #[arg(long, value_delimiter = ',', default_values = ["kulan", "bird"])]
    speakers: Vec<Kind>,
    /// Print JSON, an object a workload, instead of tables
    #[arg(long)]
    json: bool,
    /// Write a page a workload into this directory
    #[arg(long, value_name = "DIRECTORY")]
    reports: Option<PathBuf>,
}

fn workload(name: &str) -> Result<Workload, String> {
    let found = WORKLOADS.iter().find(|workload| workload.name.eq_ignore_ascii_case(name));
    let names = || WORKLOADS.iter().map(|workload| workload.name).collect::<Vec<_>>().join(", ");
    found.copied().ok_or_else(|| format!("there is no workload {name:?}; there are {}", names()))
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    raise_descriptor_limit();
    let progress = Progress::new(false);
    let mut passed = true;
    let workloads = if cli.workloads.is_empty() { WORKLOADS.to_vec() } else { cli.workloads.clone() };
    for workload in workloads {
        progress.say(&format!("{}: {}", workload.name, workload.description));
        let compared = match workload.work {
            Work::Scenario(scenario) => {
                let request = Request {
                    scenario: &scenario(),
                    command: std::env::args().collect(),
                    floor: true,
                    keep: false,
                    progress: &progress,
                    interrupted: &AtomicBool::new(false),
                };
                compare(&request, &cli.speakers, usize::from(cli.runs))
            }
            Work::Kernel => into_kernels(&workload, &cli, &progress),
        };
        let compared = Comparison { scenario: workload.name.to_string(), ..compared };
        passed &= compared.speakers.iter().flat_map(|speaker| &speaker.outcomes).all(Outcome::passed);
        if cli.json {
            match serde_json::to_string(&compared) {
                Ok(text) => println!("{text}"),
                Err(error) => eprintln!("measure: {error}"),
            }
        } else {
            println!("{}\n", comparison(&compared, WIDTH));
        }
        if let Some(directory) = &cli.reports {
            let file = directory.join(format!("{}.html", workload.name));
            if let Err(error) = std::fs::write(&file, comparison_html(&compared)) {
                eprintln!("measure: {}: {error}", file.display());
                passed = false;
            }
        }
    }
    progress.finish();
    ExitCode::from(u8::from(!passed))
}

fn into_kernels(workload: &Workload, cli: &Cli, progress: &Progress) -> Comparison {
    let mut compared = Comparison {
        scenario: workload.name.to_string(),
        description: workload.description.to_string(),
        command: std::env::args().collect(),
        started: machine::now(),
        machine: machine::machine(),
        runs: usize::from(cli.runs),
        ..Comparison::default()
    };
    for kind in &cli.speakers {
        compared.speakers.push(Contender {
            name: kind.name().to_string(),
            version: kind.version(),
            absent: kind.absent(),
            ..Contender::default()
        });
    }
    alternate(&mut compared, progress, &AtomicBool::new(false), |kind, _| into_the_kernel(kind));
    compared
}
