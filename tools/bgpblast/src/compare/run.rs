//! A scenario against a speaker that bgpblast starts, once or in alternation with others.

use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use kulan::types::{Family, Prefix};

use super::bench::{self, Bench};
use super::plan::{Neighbor, Plan, Range, Session};
use super::process::Meter;
use super::speaker::{Kind, Running};
use crate::floor::{Floor, floor};
use crate::machine;
use crate::outcome::{Comparison, Contender, Outcome, Target};
use crate::progress::Progress;
use crate::scenario::place::{Place, above};
use crate::scenario::record::Used;
use crate::scenario::run::{Run, Setup};
use crate::scenario::{Group, Scenario, SentNextHop, Side};

/// What a scenario wants the speaker to be.
///
/// # Errors
/// When its peers are not on this bench.
pub fn plan(scenario: &Scenario, place: &Place) -> Result<Plan, String> {
    let mut plan = Plan {
        asn: scenario.speaker.asn,
        router_id: scenario.speaker.cluster_id,
        neighbors: Vec::new(),
        ranges: Vec::new(),
        install: scenario.speaker.install,
        tag: None,
        gateways: Vec::new(),
    };
    for (group, (range, start)) in scenario.groups.iter().zip(place.shared_out(&scenario.groups)?) {
        let foreign = group.side == Side::Clients
            || (group.sends.is_some() && group.next_hop != SentNextHop::Own && group.asn == plan.asn);
        if foreign {
            let gateways = [
                (Family::Ipv4Unicast, IpAddr::V4(bench::GATEWAY)),
                (Family::Ipv6Unicast, IpAddr::V6(bench::GATEWAY6)),
            ];
            let exchanged = gateways.into_iter().filter(|(family, _)| group.family_set().contains(*family));
            plan.gateways = exchanged.map(|(_, gateway)| gateway).collect();
        }
        if group.side == Side::Clients && group.address.is_none() && group.listen_port.is_none() {
            // The whole of the bench's range, or the network around the addresses elsewhere.
            let len = if range.first.is_ipv6() { 64 } else { 16 };
            let prefix = Prefix::of(range.first, len).ok_or("a length that no address has")?;
            if group.asn_step != 0 || plan.ranges.iter().any(|range| range.prefix == prefix) {
                return Err(format!(
                    "the peers {:?} cannot have AS numbers of their own, and no second group can be, where a speaker accepts a \
                     range of clients: use side = \"sources\" or \"receivers\"",
                    group.name
                ));
            }
            plan.ranges.push(Range { prefix, session: session(group, 0) });
            continue;
        }
        for at in 0..group.count {
            plan.neighbors.push(Neighbor {
                address: above(range.first, start + at),
                local_address: range.speaker.ip(),
                session: session(group, at),
                dial: group.listen_port,
            });
        }
    }
    Ok(plan)
}

fn session(group: &Group, at: usize) -> Session {
    Session {
        asn: group.asn_of(at),
        families: group.family_set(),
        client: group.client,
        md5: group.md5.clone(),
        hold_time_s: group.hold_time_s,
        add_path: group.add_path,
    }
}

/// From which share of the time on the tool sets the pace, not the speaker.
const TOOL_BOUND: f64 = 0.7;

/// What runs have in common.
pub struct Request<'r> {
    /// What is done.
    pub scenario: &'r Scenario,
    /// The command line.
    pub command: Vec<String>,
    /// Whether the floor is measured.
    pub floor: bool,
    /// Whether files of the daemons stay.
    pub keep: bool,
    /// What a person sees.
    pub progress: &'r Progress,
    /// Becomes true when a person does not want to wait any longer.
    pub interrupted: &'r AtomicBool,
}

/// Runs the scenario once against a fresh speaker in fresh namespaces.
///
/// # Errors
/// Why it could not begin. What fails later is in the outcome.
pub fn once(request: &Request<'_>, kind: Kind) -> Result<Outcome, String> {
    let place = Place::bench();
    let plan = plan(request.scenario, &place)?;
    let bench = Bench::new()?;
    let running = Running::start(kind, &bench, &plan, request.keep)?;
    let target = Target {
        name: kind.name().to_string(),
        version: kind.version(),
        address: bench::SPEAKER.to_string(),
        pid: Some(running.pid()),
        configuration: Some(running.configuration().to_string()),
    };
    let mut meter = running.meter()?;
    let running = Mutex::new(running);
    let reconfigure = |tag: u32| -> Result<(), String> {
        let mut running = running.lock().map_err(|_| "the speaker's handle is lost".to_string())?;
        running.reload(&Plan { tag: Some(tag), ..plan.clone() })
    };
    let outcome = bench.enter(|| {
        let setup = Setup {
            scenario: request.scenario,
            place: place.clone(),
            meter: Some(Box::new(move || used(&mut meter))),
            reconfigurer: Some(Box::new(reconfigure)),
            progress: request.progress,
            interrupted: request.interrupted,
        };
        measured(setup, request, &place)
    })??;
    let mut outcome = Outcome { target, ..outcome };
    if !outcome.passed()
        && let Ok(mut running) = running.into_inner()
        && let Err(ended) = running.check()
    {
        outcome.failure = Some(format!("{}; {ended}", outcome.failure.unwrap_or_default()));
        outcome.complete = false;
    }
    Ok(outcome)
}

/// What a meter shows, in the units of the record.
pub fn used(meter: &mut Meter) -> Used {
    let usage = meter.read();
    Used {
        cpu_s: usage.cpu_s,
        resident_mb: usage.resident_kb as f64 / 1024.0,
        peak_mb: usage.peak_kb as f64 / 1024.0,
    }
}

/// Runs a scenario and measures what the tool itself costs.
///
/// # Errors
/// Why it could not begin.
pub fn measured(setup: Setup<'_>, request: &Request<'_>, place: &Place) -> Result<Outcome, String> {
    let started = machine::now();
    let mut run = Run::new(setup)?;
    let (wall, cpu) = (std::time::Instant::now(), machine::own_cpu_s());
    let ended = run.phases(usize::MAX);
    let (wall_s, cpu_s) = (wall.elapsed().as_secs_f64(), machine::own_cpu_s() - cpu);
    let mut outcome = run.finish(ended);
    outcome.command.clone_from(&request.command);
    outcome.started = started;
    outcome.machine = machine::machine();
    outcome.tool.cpu_s = cpu_s;
    outcome.tool.wall_s = wall_s;
    if request.floor && !request.interrupted.load(Ordering::Relaxed) {
        request.progress.phase("the tool's own floor");
        match floor(request.scenario, place, request.interrupted) {
            Ok(Floor { perfect_speaker_s, null_sink_s }) => {
                outcome.tool.floor_s = perfect_speaker_s;
                outcome.tool.null_sink_s = null_sink_s;
            }
            Err(error) => outcome.warnings.push(format!("the floor was not measured: {error}")),
        }
    }
    if outcome.tool.floor_s.is_none() {
        outcome.tool.measured_s = None;
    }
    let near =
        outcome.tool.floor_s.zip(outcome.tool.measured_s).filter(|(floor, took)| *floor > *took * TOOL_BOUND);
    if let Some((floor, took)) = near {
        outcome.warnings.push(format!(
            "the tool, not the speaker, sets the pace: a perfect speaker takes {floor:.3} s of these {took:.3} s"
        ));
    }
    Ok(outcome)
}

/// Runs the scenario `runs` times against each speaker, in alternation.
pub fn compare(request: &Request<'_>, kinds: &[Kind], runs: usize) -> Comparison {
    let place = Place::bench();
    let mut comparison = Comparison {
        scenario: request.scenario.name.clone(),
        description: request.scenario.description.clone(),
        command: request.command.clone(),
        started: machine::now(),
        machine: machine::machine(),
        runs,
        speakers: Vec::new(),
    };
    for &kind in kinds {
        let configuration = plan(request.scenario, &place).and_then(|plan| kind.configuration(&plan));
        comparison.speakers.push(Contender {
            name: kind.name().to_string(),
            version: kind.version(),
            absent: kind.absent().or_else(|| configuration.as_ref().err().cloned()),
            configuration: configuration.unwrap_or_default(),
            outcomes: Vec::new(),
        });
    }
    alternate(&mut comparison, request.progress, request.interrupted, |kind, round| {
        // The floor is the tool's, not the speaker's: once is enough.
        let floor = request.floor && round == 1;
        once(&Request { floor, command: request.command.clone(), ..*request }, kind)
    });
    comparison
}

/// Has each speaker that takes part run once a round, one after the other. A run that could not begin is marked as failed.
pub fn alternate(
    comparison: &mut Comparison,
    progress: &Progress,
    interrupted: &AtomicBool,
    mut run: impl FnMut(Kind, usize) -> Result<Outcome, String>,
) {
    let (runs, scenario) = (comparison.runs, comparison.scenario.clone());
    for round in 1..=runs {
        for contender in comparison.speakers.iter_mut().filter(|contender| contender.absent.is_none()) {
            if interrupted.load(Ordering::Relaxed) {
                continue;
            }
            let Ok(kind) = contender.name.parse::<Kind>() else { continue };
            progress.of(&format!("{kind} {round}/{runs}"));
            contender.outcomes.push(run(kind, round).unwrap_or_else(|failure| Outcome {
                scenario: scenario.clone(),
                failure: Some(failure),
                ..Outcome::default()
            }));
        }
    }
    progress.of("");
}
