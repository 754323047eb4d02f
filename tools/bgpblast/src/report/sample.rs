//! Outcomes such as real runs have, for the tests of the reports.
//!
//! `BGPBLAST_SAMPLES=/tmp/samples cargo test -p bgpblast samples -- --ignored` writes reports of all of them to a
//! directory, to be looked at in a browser.

use crate::outcome::{
    Comparison, Contender, Curve, Difference, Figure, Finding, Latency, Machine, Outcome, Phase, Target,
    Tool, UsageSample,
};

/// How many routes the samples are about.
const ROUTES: u64 = 1_000_000;
/// How many receivers they have.
const RECEIVERS: usize = 100;

/// A figure.
fn figure(name: &str, value: f64, unit: &str, less_is_better: bool) -> Figure {
    Figure { name: name.into(), unit: unit.into(), value, less_is_better }
}

/// How much of a curve from nothing to everything is done; it begins and ends slowly.
fn course(share: f64) -> f64 {
    let share = share.clamp(0.0, 1.0);
    share * share * (3.0 - 2.0 * share)
}

/// A convergence that takes `seconds` after a quarter as long for the sessions, in about 60 samples.
fn curve(seconds: f64) -> Curve {
    let mut curve = Curve { receivers: RECEIVERS, expected: ROUTES, ..Curve::default() };
    let begin = seconds * 0.25;
    for step in 0..=64 {
        let at = begin + (f64::from(step) - 12.0) / 48.0 * seconds;
        let held = |lag: f64| (course((at - begin) / (seconds * (1.0 - lag))) * ROUTES as f64) as u64;
        let late = |lag: f64| {
            (course((at - begin - seconds * lag) / (seconds * (1.0 - lag))) * ROUTES as f64) as u64
        };
        let wobble = 1.0 + 0.02 * f64::from(step % 5);
        curve.at_s.push(at);
        curve.most.push(held(0.12));
        curve.p90.push(held(0.06));
        curve.median.push(held(0.03));
        curve.p10.push(late(0.06));
        curve.least.push(late(0.15));
        curve.established.push(((at / begin * 101.0) as u64).min(101));
        curve.received.push((held(0.03) as f64 * 100.0 * wobble.min(1.0)) as u64);
        curve.sent_bytes.push(held(0.4) * 52);
        curve.received_bytes.push(held(0.03) * 5230);
    }
    curve
}

/// What a speaker used meanwhile.
fn usage(seconds: f64, megabytes: f64) -> Vec<UsageSample> {
    let sample = |step: i32| {
        let share = f64::from(step) / 60.0;
        let busy = course((share - 0.15) / 0.8);
        UsageSample {
            at_s: share * seconds * 1.3,
            cpu_s: busy * seconds * 0.97,
            resident_mb: 9.0 + busy * megabytes,
        }
    };
    (0..=60).map(sample).collect()
}

/// A distribution of latencies around `middle` ms.
fn latency(name: &str, middle: f64) -> Latency {
    let ratio = 10f64.powf(0.1);
    let bucket = |step: i32| {
        let distance = f64::from(step) / 4.5;
        let tail = if step > 6 { 3.0 } else { 0.0 };
        (middle * ratio.powi(step), ((-distance * distance).exp() * 2200.0 + tail) as u64)
    };
    let buckets: Vec<(f64, u64)> = (-14..=17).map(bucket).collect();
    Latency {
        name: name.into(),
        count: buckets.iter().map(|bucket| bucket.1).sum(),
        p50_ms: middle,
        p90_ms: middle * 2.1,
        p99_ms: middle * 4.4,
        p999_ms: middle * 21.3,
        max_ms: middle * 48.9,
        buckets,
    }
}

/// A run that passed and took `seconds`.
fn run(name: &str, seconds: f64, megabytes: f64) -> Outcome {
    let begin = seconds * 0.25;
    let phase = |name: &str, start_s: f64, duration_s: f64, figures: Vec<Figure>| Phase {
        name: name.into(),
        start_s,
        duration_s,
        figures,
    };
    Outcome {
        scenario: "fan-out".into(),
        description: "One feed sends a full table to a route reflector, which tells it to 100 clients."
            .into(),
        command: [
            "bgpblast",
            "run",
            "fan-out",
            "--target",
            "10.77.0.1:179",
            "--routes",
            "1M",
            "--receivers",
            "100",
        ]
        .map(str::to_owned)
        .to_vec(),
        started: "2026-11-29T17:47:23Z".into(),
        machine: machine(),
        target: Target {
            name: name.into(),
            version: Some("0.1.0".into()),
            address: "10.77.0.1:179".into(),
            pid: Some(4711),
            configuration: Some(configuration(name)),
        },
        complete: true,
        failure: None,
        figures: vec![
            figure("convergence", seconds, "s", true),
            figure("routes told", ROUTES as f64 * 100.0 / seconds, "routes/s", false),
            figure("processor time", seconds * 0.97, "s", true),
            figure("peak memory", megabytes + 9.0, "MB", true),
            figure("UPDATE messages", 1_223_030.0, "", true),
        ],
        phases: vec![
            phase("sessions", 0.0, begin, vec![figure("established", 101.0, "", false)]),
            phase("table", begin, seconds, vec![figure("first route", 0.0031, "s", true)]),
            phase("settling", begin + seconds, seconds * 0.06, Vec::new()),
        ],
        curve: curve(seconds),
        usage: usage(seconds, megabytes),
        latencies: vec![latency("one route while the table loads", 1.52)],
        tool: Tool {
            cpu_s: 0.41,
            wall_s: seconds * 1.31,
            null_sink_s: Some(0.094),
            floor_s: Some(0.123),
            measured_s: Some(seconds),
        },
        ..Outcome::default()
    }
}

fn machine() -> Machine {
    let (processor, kernel) = ("AMD EPYC 9V74 80-Core Processor".into(), "6.18.44".into());
    Machine { processor, cores: 2, memory_mb: 8123, kernel }
}

fn configuration(name: &str) -> String {
    format!(
        "# written by bgpblast for {name}\nrouter-id = \"10.77.0.1\"\nasn = 65000\n\n[[group]]\nname = \"clients\"\n\
         asn = 65000\nreflect = true\nrange = \"10.77.0.0/16\"\nfamilies = [\"ipv4-unicast\", \"ipv6-unicast\"]\n"
    )
}

/// A run that passed: a million routes in 0.6 s.
pub fn outcome() -> Outcome {
    let mut outcome = run("kulan", 0.612, 56.4);
    outcome.warnings.push("The machine has 2 cores: speaker and tool share them.".into());
    outcome.findings.push(Finding {
        kind: "duplicate".into(),
        count: 17,
        peers: 3,
        example: "10.77.1.9 was told 203.0.113.0/24 twice with the same attributes".into(),
        serious: false,
    });
    outcome
}

/// A run that did not come to its end, in which routes came out wrong.
pub fn incomplete() -> Outcome {
    let mut outcome = run("bird", 2.14, 133.0);
    outcome.complete = false;
    outcome.failure =
        Some("3 of 100 receivers held less than 1,000,000 routes after 30 s without progress".into());
    outcome.tool.floor_s = Some(1.9);
    for (kind, example) in [
        ("unexpected withdrawal", "10.77.1.9: 203.0.113.0/24 was withdrawn 0.31 s after it was told"),
        ("session drop", "10.77.1.40: Cease / Out of Resources after 1.2 s"),
    ] {
        let (kind, example) = (kind.into(), example.into());
        outcome.findings.push(Finding { kind, count: 4, peers: 2, example, serious: true });
    }
    let common = ["ORIGIN: IGP", "NEXT_HOP: 10.77.0.9"];
    for last in 0..25 {
        let expected = [common[0], "AS_PATH: 64500 64510 64511", common[1], "COMMUNITIES: 64500:1 64500:2"];
        let held = [common[0], "AS_PATH: 64500 64511", common[1], "MULTI_EXIT_DISC: 50"];
        outcome.differences.push(Difference {
            receiver: format!("10.77.1.{last}"),
            prefix: format!("203.0.{last}.0/24"),
            expected: expected.map(str::to_owned).to_vec(),
            held: if last % 3 == 1 { Vec::new() } else { held.map(str::to_owned).to_vec() },
        });
    }
    outcome.difference_count = 18_342;
    outcome
}

/// A run whose texts want to be markup and whose numbers are none.
pub fn hostile() -> Outcome {
    let evil = "<script>alert('x')</script> & \"quoted\" \u{1b}[2J\0 </svg></style>";
    let mut outcome = incomplete();
    let (figure, finding) = (&mut outcome.figures[0], &mut outcome.findings[0]);
    let difference = &mut outcome.differences[0];
    for text in [
        &mut outcome.scenario,
        &mut outcome.description,
        &mut outcome.started,
        &mut outcome.machine.processor,
        &mut outcome.machine.kernel,
        &mut outcome.target.name,
        &mut outcome.target.address,
        &mut finding.kind,
        &mut finding.example,
        &mut figure.name,
        &mut figure.unit,
        &mut outcome.phases[0].name,
        &mut outcome.latencies[0].name,
        &mut difference.receiver,
        &mut difference.prefix,
        &mut difference.held[0],
    ] {
        evil.clone_into(text);
    }
    outcome.command.push(evil.to_owned());
    outcome.warnings.push(evil.to_owned());
    outcome.failure = Some(evil.to_owned());
    outcome.target.version = Some(evil.to_owned());
    outcome.target.configuration = Some(evil.to_owned());
    outcome.figures[0].value = f64::NAN;
    outcome.figures[1].value = f64::INFINITY;
    outcome.phases[1].duration_s = f64::NAN;
    outcome.phases[1].start_s = f64::INFINITY;
    outcome.latencies[0].p50_ms = f64::NAN;
    outcome.latencies[0].buckets[3].0 = f64::INFINITY;
    outcome.latencies[0].buckets[0].0 = 0.0;
    outcome.curve.at_s[3] = f64::NAN;
    outcome.usage[3].resident_mb = f64::NAN;
    outcome.usage[4].at_s = f64::NEG_INFINITY;
    outcome.tool.floor_s = Some(f64::NAN);
    outcome.tool.wall_s = 0.0;
    outcome
}

/// Three speakers, five rounds, one speaker 25 times slower than the fastest; one run failed, one speaker is absent.
pub fn comparison() -> Comparison {
    let contender = |name: &str, seconds: f64, megabytes: f64| Contender {
        name: name.into(),
        version: Some("2.0.12".into()),
        configuration: configuration(name),
        absent: None,
        outcomes: [1.0, 0.95, 1.08, 1.02, 0.98].map(|factor| run(name, seconds * factor, megabytes)).to_vec(),
    };
    let mut bird = contender("bird", 2.14, 133.0);
    bird.outcomes[3] = incomplete();
    let absent = Some("not installed: no bgpd (OpenBGPD) in PATH".into());
    let openbgpd = Contender { name: "openbgpd".into(), absent, ..Contender::default() };
    let first = run("kulan", 0.612, 56.4);
    Comparison {
        scenario: first.scenario,
        description: first.description,
        command: ["bgpblast", "compare", "fan-out", "--speakers", "kulan,bird,gobgp,openbgpd", "--runs", "5"]
            .map(str::to_owned)
            .to_vec(),
        started: first.started,
        machine: first.machine,
        runs: 5,
        speakers: vec![contender("kulan", 0.612, 56.4), bird, contender("gobgp", 15.3, 1412.0), openbgpd],
    }
}

/// Every element of a page or drawing is closed, in the right order.
pub fn assert_well_formed(markup: &str) {
    const VOID: [&str; 3] = ["meta", "br", "!doctype"];
    let mut open: Vec<&str> = Vec::new();
    for piece in markup.split('<').skip(1) {
        let (tag, _) = piece.split_once('>').unwrap_or_else(|| panic!("a tag without an end: <{piece}"));
        let name = tag.split([' ', '\n', '/']).next().unwrap_or_default();
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "before {piece}");
        } else if !tag.ends_with('/') && !VOID.contains(&name) {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
#[ignore = "writes files to look at, to the directory in BGPBLAST_SAMPLES"]
fn samples() {
    use crate::report::{html, summary, svg};
    let directory = std::path::PathBuf::from(std::env::var("BGPBLAST_SAMPLES").expect("BGPBLAST_SAMPLES"));
    std::fs::create_dir_all(&directory).unwrap();
    let write = |name: &str, text: String| std::fs::write(directory.join(name), text).unwrap();
    for (name, outcome) in [("pass", outcome()), ("incomplete", incomplete()), ("hostile", hostile())] {
        write(&format!("{name}.txt"), summary::summary(&outcome, 100));
        write(&format!("{name}.svg"), svg::outcome_svg(&outcome));
        write(&format!("{name}.html"), html::outcome_html(&outcome));
    }
    let comparison = comparison();
    write("comparison.txt", summary::comparison(&comparison, 100));
    write("comparison.svg", svg::comparison_svg(&comparison));
    write("comparison.html", html::comparison_html(&comparison));
}
