//! Measures speakers side by side on the workloads of `docs/performance.md`.
//!
//! ```text
//! cargo build --release && cargo run --release -p kulan-scale-tests --bin measure -- W1 W1r --runs 3
//! ```
//!
//! Every run is a fresh speaker in a fresh namespace. The speakers alternate within each round, so that a machine
//! that slows down slows all of them. A run whose receivers do not end up with exactly the right routes counts as
//! failed, not as fast.

use std::collections::BTreeMap;
use std::process::ExitCode;

use kulan_scale_tests::daemon::Kind;
use kulan_scale_tests::measure::{Figure, WORKLOADS, Workload};
use kulan_scale_tests::process::raise_descriptor_limit;

const USAGE: &str = "\
usage: measure [WORKLOAD...] [--runs N] [--speakers NAME,...] [--json]

  WORKLOAD    W1 W1r W2 W3 W4 W5 W6 W7 W8 W9; all of them if none is named
  --runs      rounds, 3 unless told otherwise
  --speakers  kulan,bird unless told otherwise; also frr, gobgp, openbgpd
  --json      one JSON object instead of the table";

struct Request {
    workloads: Vec<Workload>,
    runs: usize,
    speakers: Vec<Kind>,
    json: bool,
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Request, String> {
    let mut request =
        Request { workloads: Vec::new(), runs: 3, speakers: vec![Kind::Kulan, Kind::Bird], json: false };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--json" => request.json = true,
            "--runs" => {
                let runs = words.next().and_then(|word| word.parse().ok()).filter(|runs| *runs > 0);
                request.runs = runs.ok_or("--runs wants a number of at least 1")?;
            }
            "--speakers" => {
                let names = words.next().ok_or("--speakers wants names")?;
                let find = |name| Kind::parse(name).ok_or_else(|| format!("no speaker is called {name}"));
                request.speakers = names.split(',').map(find).collect::<Result<_, _>>()?;
            }
            name => {
                let found = WORKLOADS.iter().find(|workload| workload.name.eq_ignore_ascii_case(name));
                request.workloads.push(*found.ok_or_else(|| format!("no workload is called {name}"))?);
            }
        }
    }
    if request.workloads.is_empty() {
        request.workloads = WORKLOADS.to_vec();
    }
    Ok(request)
}

/// All runs of one speaker on one workload.
#[derive(Default)]
struct Results {
    /// By figure, in the order of the workload, one value a run.
    figures: Vec<(Figure, Vec<f64>)>,
    failures: Vec<String>,
}

impl Results {
    fn add(&mut self, outcome: Result<Vec<Figure>, String>) {
        match outcome {
            Err(failure) => self.failures.push(failure),
            Ok(figures) => {
                for figure in figures {
                    match self.figures.iter_mut().find(|(known, _)| known.name == figure.name) {
                        Some((_, values)) => values.push(figure.value),
                        None => self.figures.push((figure.clone(), vec![figure.value])),
                    }
                }
            }
        }
    }

    fn values(&self, name: &str) -> Option<&[f64]> {
        self.figures.iter().find(|(figure, _)| figure.name == name).map(|(_, values)| values.as_slice())
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
}

/// Three digits that count.
fn show(value: f64) -> String {
    let digits = match value.abs() {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}

fn show_values(values: &[f64]) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{} ({}–{})", show(median(values)), show(least), show(most))
}

fn print_table(workload: &Workload, results: &BTreeMap<Kind, Results>) {
    println!("\n{}  {}", workload.name, workload.description);
    let mut rows: Vec<(&str, &str)> = Vec::new();
    for (figure, _) in results.values().flat_map(|results| &results.figures) {
        if !rows.contains(&(figure.name, figure.unit)) {
            rows.push((figure.name, figure.unit));
        }
    }
    let names: Vec<&str> = results.keys().map(|kind| kind.name()).collect();
    print!("    {:<28}", "median (min–max)");
    names.iter().for_each(|name| print!("{name:>26}"));
    println!("{:>14}", if ratio_of(results).is_some() { "kulan / bird" } else { "" });
    for (name, unit) in rows {
        print!("    {:<28}", format!("{name}, {unit}"));
        for results in results.values() {
            print!("{:>26}", results.values(name).map_or("–".to_string(), show_values));
        }
        let ratio = ratio_of(results)
            .and_then(|(kulan, bird)| Some(median(kulan.values(name)?) / median(bird.values(name)?)));
        println!("{:>14}", ratio.filter(|ratio| ratio.is_finite()).map_or(String::new(), show));
    }
    for (kind, results) in results {
        for failure in &results.failures {
            println!("    {} FAILED: {failure}", kind.name());
        }
    }
}

fn ratio_of(results: &BTreeMap<Kind, Results>) -> Option<(&Results, &Results)> {
    Some((results.get(&Kind::Kulan)?, results.get(&Kind::Bird)?))
}

fn as_json(results: &BTreeMap<Kind, Results>) -> serde_json::Value {
    let of_speaker = |results: &Results| {
        let figures: serde_json::Map<String, serde_json::Value> = results
            .figures
            .iter()
            .map(|(figure, values)| {
                let value = serde_json::json!({
                    "unit": figure.unit, "median": median(values), "runs": values,
                });
                (figure.name.to_string(), value)
            })
            .collect();
        serde_json::json!({ "figures": figures, "failures": results.failures })
    };
    results.iter().map(|(kind, results)| (kind.name().to_string(), of_speaker(results))).collect()
}

fn main() -> ExitCode {
    let request = match parse(std::env::args().skip(1)) {
        Ok(request) => request,
        Err(error) => {
            eprintln!("measure: {error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    raise_descriptor_limit();
    let mut all = serde_json::Map::new();
    let mut failed = false;
    for workload in &request.workloads {
        let mut results: BTreeMap<Kind, Results> = BTreeMap::new();
        for run in 1..=request.runs {
            for &kind in &request.speakers {
                eprintln!("{} {} {run}/{}", workload.name, kind.name(), request.runs);
                results.entry(kind).or_default().add(workload.run(kind));
            }
        }
        failed |= results.values().any(|results| !results.failures.is_empty());
        if request.json {
            all.insert(workload.name.to_string(), as_json(&results));
        } else {
            print_table(workload, &results);
        }
    }
    if request.json {
        println!("{:#}", serde_json::Value::Object(all));
    }
    ExitCode::from(u8::from(failed))
}
