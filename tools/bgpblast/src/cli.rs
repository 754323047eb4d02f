//! The command line.
//!
//! Exit status: 0 when everything ran and came out as it should, 1 when it did not, 2 for wrong usage.

use std::fs;
use std::io::{IsTerminal, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::{ArgGroup, Args, Parser, Subcommand};
use ipnet::IpNet;

use crate::compare::process::Meter;
use crate::compare::run::{Request, compare, measured, once, plan, used};
use crate::compare::speaker::Kind;
use crate::outcome::{Comparison, Outcome, Target};
use crate::progress::Progress;
use crate::report::html::{comparison_html, outcome_html};
use crate::report::summary::{comparison, summary};
use crate::report::svg::{comparison_svg, outcome_svg};
use crate::safety::may_load;
use crate::scenario::Scenario;
use crate::scenario::builtin::{self, Churning, Common, SPEAKER_ASN};
use crate::scenario::place::Place;
use crate::scenario::run::Setup;
use crate::source::{IpFamily, Source};

/// The width of what is printed where there is no terminal.
const PIPED_WIDTH: usize = 100;

/// Loads any BGP speaker, checks what comes back and draws the result.
#[derive(Debug, Parser)]
#[command(name = "bgpblast", version, after_help = "docs/bgpblast.md has a tutorial and the reference.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Run(Box<What<Running>>),
    /// The same scenario against several speakers in namespaces of their own, in alternation
    Compare(CompareArgs),
    /// Prints the configuration with which a speaker is ready for a scenario
    Config(ConfigArgs),
    /// Prints a scenario as a file that `run` reads
    Show {
        #[command(subcommand)]
        scenario: What<Alone>,
    },
}

/// A scenario, and what else its command takes.
#[derive(Debug, Subcommand)]
enum What<M: Args> {
    /// One sender, one receiver, a table
    Table(With<TableArgs, M>),
    /// Several senders of the same prefixes, one receiver
    Feeds(With<FeedsArgs, M>),
    /// A table reflected to many clients
    Fanout(With<FanoutArgs, M>),
    /// Many clients announce a range each and learn all others
    Pods(With<PodsArgs, M>),
    /// Changes one by one on a loaded table
    Churn(With<ChurnArgs, M>),
    /// A feed dies and comes back; members restart
    Flap(With<FlapArgs, M>),
    /// Everybody connects at once
    Storm(With<StormArgs, M>),
    /// Many sessions with nothing to do
    Idle(With<IdleArgs, M>),
    /// Single routes, timed, under load and without
    Latency(With<LatencyArgs, M>),
    /// One receiver stops reading while the others are served
    SlowReader(With<SlowReaderArgs, M>),
    /// The export policy changes while single routes go on
    Policy(With<PolicyArgs, M>),
    /// A scenario from a TOML file
    Run(With<FileArgs, M>),
}

#[derive(Debug, Args)]
struct With<T: Args, M: Args> {
    #[command(flatten)]
    scenario: T,
    #[command(flatten)]
    more: M,
}

/// Nothing else: the scenario alone.
#[derive(Debug, Args)]
struct Alone {}

/// What a run against one speaker takes.
#[derive(Debug, Args)]
struct Running {
    #[command(flatten)]
    against: Against,
    #[command(flatten)]
    output: Output,
}

/// The speaker under test.
#[derive(Clone, Debug, Args)]
#[command(group(ArgGroup::new("speaker-under-test").args(["target", "speaker"]).required(true)))]
struct Against {
    /// The speaker's address, with its port if that is not 179
    #[arg(long, value_name = "ADDRESS[:PORT]", value_parser = target)]
    target: Option<SocketAddr>,
    /// Start this speaker in a network namespace of its own: kulan, bird, frr, gobgp, openbgpd or exabgp
    #[arg(long, value_name = "NAME")]
    speaker: Option<Kind>,
    /// Allow a target outside loopback, if it lies in this network (may be given several times)
    #[arg(long, value_name = "NETWORK")]
    allow_target: Vec<IpNet>,
    /// The first of the peers' own addresses; the others follow [default for a target on loopback: 127.1.0.1,
    /// 127.2.0.1 and 127.20.0.1 for sources, receivers and clients]
    #[arg(long, value_name = "ADDRESS")]
    from: Option<IpAddr>,
    /// The speaker's process, for its processor time and memory
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
}

#[derive(Clone, Debug, Args)]
struct Output {
    /// Print the outcome as JSON instead of the summary
    #[arg(long, global = true)]
    json: bool,
    /// Write a page that contains everything
    #[arg(long, value_name = "FILE.html", global = true)]
    report: Option<PathBuf>,
    /// Write the charts alone
    #[arg(long, value_name = "FILE.svg", global = true)]
    svg: Option<PathBuf>,
    /// Do not show progress
    #[arg(long, short, global = true)]
    quiet: bool,
    /// Do not measure the tool's own floor
    #[arg(long, global = true)]
    no_floor: bool,
    /// Leave the files of the started speakers
    #[arg(long, global = true)]
    keep: bool,
}

#[derive(Debug, Args)]
#[command(subcommand_precedence_over_arg = true)]
struct CompareArgs {
    /// The speakers, in the order in which they run
    #[arg(long, value_delimiter = ',', default_values = ["kulan", "bird", "frr", "gobgp", "openbgpd", "exabgp"], global = true)]
    speakers: Vec<Kind>,
    /// How many rounds
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1000), global = true)]
    runs: u16,
    #[command(flatten)]
    output: Output,
    #[command(subcommand)]
    scenario: What<Alone>,
}

#[derive(Debug, Args)]
struct ConfigArgs {
    /// kulan, bird, frr, gobgp, openbgpd or exabgp
    kind: Kind,
    /// The speaker's address as the peers of a run with --target see it; absent: the addresses of `compare`
    #[arg(long, value_name = "ADDRESS[:PORT]", value_parser = target)]
    target: Option<SocketAddr>,
    /// The first of the peers' own addresses, as for a run
    #[arg(long, value_name = "ADDRESS")]
    from: Option<IpAddr>,
    #[command(subcommand)]
    scenario: What<Alone>,
}

/// Where the routes come from, and what peers are.
#[derive(Clone, Debug, Args)]
struct PeerArgs {
    /// The speaker's AS number
    #[arg(long, default_value_t = SPEAKER_ASN, value_name = "ASN")]
    asn: u32,
    /// The speaker's cluster identifier, where it reflects
    #[arg(long, default_value = "10.10.0.1", value_name = "ID")]
    cluster_id: Ipv4Addr,
    /// Run the sessions over IPv6, with IPv6 routes
    #[arg(long)]
    ipv6: bool,
    /// Use this TCP MD5 key on every session
    #[arg(long, value_name = "KEY")]
    md5: Option<String>,
    /// The hold time that peers propose, in seconds
    #[arg(long, default_value_t = 90, value_name = "S")]
    hold_time: u16,
    /// Offer ADD-PATH in both directions
    #[arg(long)]
    add_path: bool,
    /// Offer messages of up to 65,535 octets
    #[arg(long)]
    extended_messages: bool,
    /// Wait for the speaker to dial, on this port
    #[arg(long, value_name = "PORT")]
    listen: Option<u16>,
    /// Give the run up after so many seconds
    #[arg(long, default_value_t = 300, value_name = "S")]
    time_limit: u64,
}

#[derive(Clone, Debug, Args)]
#[group(id = "table-source", multiple = false)]
struct SourceFiles {
    /// Send this list of prefixes, one a line, with synthetic attributes
    #[arg(long, value_name = "FILE", group = "table-source")]
    prefixes: Option<PathBuf>,
    /// Send this recorded stream of BGP messages
    #[arg(long, value_name = "FILE", group = "table-source")]
    messages: Option<PathBuf>,
    /// Send the table of this MRT file
    #[arg(long, value_name = "FILE", group = "table-source")]
    mrt: Option<PathBuf>,
}

#[derive(Clone, Debug, Args)]
struct SourceArgs<const ROUTES: usize> {
    #[command(flatten)]
    files: SourceFiles,
    /// How many routes [default of a synthetic table: see the scenario; of a file: all]
    #[arg(long, value_name = "N")]
    routes: Option<usize>,
    /// How many attribute sets they share [default: routes / 7.25, as in the Internet's table]
    #[arg(long, value_name = "N")]
    sets: Option<usize>,
    /// Another seed makes other attributes
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Which peer of the MRT file: its index, address or AS number [default: the one with most routes]
    #[arg(long, value_name = "PEER", requires = "mrt")]
    mrt_peer: Option<String>,
    /// Keep the next hops of the file instead of giving the peer's own address
    #[arg(long)]
    keep_next_hops: bool,
    #[command(flatten)]
    peers: PeerArgs,
}

macro_rules! scenario_args {
    ($name:ident, $routes:literal, { $($(#[$meta:meta])* $field:ident: $kind:ty,)* }) => {
        #[derive(Clone, Debug, Args)]
        struct $name {
            $($(#[$meta])* $field: $kind,)*
            #[command(flatten)]
            source: SourceArgs<$routes>,
        }
    };
}

scenario_args!(TableArgs, 1_000_000, {
    /// Reflect it to a client instead of passing it on to an external peer
    #[arg(long)]
    reflect: bool,
});
scenario_args!(FeedsArgs, 100_000, {
    /// How many senders
    #[arg(long, default_value_t = 10, value_name = "N")]
    feeds: usize,
});
scenario_args!(FanoutArgs, 100_000, {
    /// How many clients
    #[arg(long, default_value_t = 100, value_name = "N")]
    clients: usize,
});
scenario_args!(ChurnArgs, 100_000, {
    /// How many receivers
    #[arg(long, default_value_t = 10, value_name = "N")]
    receivers: usize,
    /// Replay this script: `A`/`W` lines, or an MRT file of updates [default: random changes]
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// How much faster than recorded the script is replayed
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR", value_parser = positive)]
    speed: f64,
    /// Random changes a second
    #[arg(long, default_value_t = 1000.0, value_name = "N", value_parser = positive)]
    per_second: f64,
    /// At most so many changes [default: the whole script, or ten seconds of random changes]
    #[arg(long, value_name = "N")]
    changes: Option<usize>,
});
scenario_args!(FlapArgs, 100_000, {
    /// How many members announce a range each
    #[arg(long, default_value_t = 20, value_name = "N")]
    members: usize,
    /// Which share of the members restarts
    #[arg(long, default_value_t = 0.5, value_name = "SHARE", value_parser = share)]
    share: f64,
});
scenario_args!(LatencyArgs, 1_000_000, {
    /// How many routes are timed on the idle speaker
    #[arg(long, default_value_t = 2000, value_name = "N")]
    count: usize,
    /// Milliseconds between two routes while the table loads
    #[arg(long, default_value_t = 1.0, value_name = "MS", value_parser = positive)]
    interval_ms: f64,
});
scenario_args!(SlowReaderArgs, 100_000, {
    /// How many clients, one of which stops reading
    #[arg(long, default_value_t = 100, value_name = "N")]
    clients: usize,
    /// For how long it does not read
    #[arg(long, default_value_t = 30.0, value_name = "S", value_parser = positive)]
    seconds: f64,
});
scenario_args!(PolicyArgs, 100_000, {
    /// How many clients
    #[arg(long, default_value_t = 100, value_name = "N")]
    clients: usize,
    /// The shell command that has the speaker add the community 64511:15 to what it tells its clients (not needed for a
    /// speaker that bgpblast started)
    #[arg(long, value_name = "COMMAND")]
    command: Option<String>,
});

#[derive(Clone, Debug, Args)]
struct PodsArgs {
    /// How many clients
    #[arg(long, default_value_t = 1000, value_name = "N")]
    clients: usize,
    /// Connect all at once, and announce as soon as each session is there
    #[arg(long)]
    at_once: bool,
    /// Then a share of them restarts
    #[arg(long, value_name = "SHARE", value_parser = share)]
    restart: Option<f64>,
    #[command(flatten)]
    peers: PeerArgs,
}

#[derive(Clone, Debug, Args)]
struct StormArgs {
    /// How many clients
    #[arg(long, default_value_t = 2000, value_name = "N")]
    clients: usize,
    /// How many connect a second [default: all at once]
    #[arg(long, value_name = "N", value_parser = positive)]
    per_second: Option<f64>,
    #[command(flatten)]
    peers: PeerArgs,
}

#[derive(Clone, Debug, Args)]
struct IdleArgs {
    /// How many sessions
    #[arg(long, default_value_t = 1000, value_name = "N")]
    sessions: usize,
    /// For how long
    #[arg(long, default_value_t = 60.0, value_name = "S", value_parser = positive)]
    seconds: f64,
    #[command(flatten)]
    peers: PeerArgs,
}

#[derive(Clone, Debug, Args)]
struct FileArgs {
    /// The scenario
    file: PathBuf,
}

fn target(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address);
    }
    let ip: IpAddr = text.trim_matches(['[', ']']).parse().map_err(|_| {
        format!("{text:?} is no address: write ADDRESS or ADDRESS:PORT, for IPv6 [ADDRESS]:PORT")
    })?;
    Ok(SocketAddr::new(ip, 179))
}

fn positive(text: &str) -> Result<f64, String> {
    let value = text.parse::<f64>().ok().filter(|value| value.is_finite() && *value > 0.0);
    value.ok_or_else(|| format!("{text:?} is not a number above 0"))
}

fn share(text: &str) -> Result<f64, String> {
    positive(text).ok().filter(|share| *share <= 1.0).ok_or_else(|| {
        format!("{text:?} is not a share: write a number above 0 and at most 1, as 0.1 for a tenth")
    })
}

impl PeerArgs {
    fn common(&self, source: Source, keep_next_hops: bool) -> Common {
        Common {
            asn: self.asn,
            cluster_id: self.cluster_id,
            source,
            ipv6: self.ipv6,
            keep_next_hops,
            md5: self.md5.clone(),
            hold_time_s: self.hold_time,
            add_path: self.add_path,
            extended_messages: self.extended_messages,
            listen_port: self.listen,
            time_limit_s: self.time_limit,
        }
    }

    /// For scenarios that have no table.
    fn without_table(&self) -> Common {
        self.common(Common::default().source, false)
    }
}

impl<const ROUTES: usize> SourceArgs<ROUTES> {
    fn common(&self) -> Common {
        let files = &self.files;
        let (sets, seed, routes) = (self.sets, self.seed, self.routes);
        let family = if self.peers.ipv6 { IpFamily::Ipv6 } else { IpFamily::Ipv4 };
        let source = if let Some(file) = &files.prefixes {
            Source::Prefixes { file: file.clone(), sets, seed, routes }
        } else if let Some(file) = &files.messages {
            Source::Messages { file: file.clone() }
        } else if let Some(file) = &files.mrt {
            Source::Mrt { file: file.clone(), peer: self.mrt_peer.clone(), family: Some(family), routes }
        } else {
            Source::Internet { family, routes: routes.unwrap_or(ROUTES), sets, seed, prefix_seed: 1 }
        };
        self.peers.common(source, self.keep_next_hops)
    }
}

impl<M: Args> What<M> {
    fn scenario(&self) -> Result<Scenario, String> {
        let scenario = match self {
            What::Table(With { scenario: args, .. }) => builtin::table(&args.source.common(), args.reflect),
            What::Feeds(With { scenario: args, .. }) => builtin::feeds(&args.source.common(), args.feeds),
            What::Fanout(With { scenario: args, .. }) => builtin::fanout(&args.source.common(), args.clients),
            What::Pods(With { scenario: args, .. }) => {
                builtin::pods(&args.peers.without_table(), args.clients, args.at_once, args.restart)
            }
            What::Churn(With { scenario: args, .. }) => builtin::churn(
                &args.source.common(),
                Churning {
                    receivers: args.receivers,
                    script: args.script.clone(),
                    speed: args.speed,
                    per_second: args.per_second,
                    changes: args.changes,
                },
            ),
            What::Flap(With { scenario: args, .. }) => {
                builtin::flap(&args.source.common(), args.members, args.share)
            }
            What::Storm(With { scenario: args, .. }) => {
                builtin::storm(&args.peers.without_table(), args.clients, args.per_second)
            }
            What::Idle(With { scenario: args, .. }) => {
                builtin::idle(&args.peers.without_table(), args.sessions, args.seconds)
            }
            What::Latency(With { scenario: args, .. }) => {
                builtin::latency(&args.source.common(), args.count, args.interval_ms)
            }
            What::SlowReader(With { scenario: args, .. }) => {
                builtin::slow_reader(&args.source.common(), args.clients, args.seconds)
            }
            What::Policy(With { scenario: args, .. }) => {
                builtin::policy(&args.source.common(), args.clients, args.command.clone())
            }
            What::Run(With { scenario: args, .. }) => {
                let text = fs::read_to_string(&args.file)
                    .map_err(|error| format!("{}: {error}", args.file.display()))?;
                Scenario::parse(&text).map_err(|error| format!("{}: {error}", args.file.display()))?
            }
        };
        scenario.check()?;
        Ok(scenario)
    }

    /// What else the command takes.
    fn more(&self) -> &M {
        match self {
            What::Table(With { more, .. })
            | What::Feeds(With { more, .. })
            | What::Fanout(With { more, .. })
            | What::Pods(With { more, .. })
            | What::Churn(With { more, .. })
            | What::Flap(With { more, .. })
            | What::Storm(With { more, .. })
            | What::Idle(With { more, .. })
            | What::Latency(With { more, .. })
            | What::SlowReader(With { more, .. })
            | What::Policy(With { more, .. })
            | What::Run(With { more, .. }) => more,
        }
    }
}

/// The program.
pub fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(what) => run(&what),
        Command::Compare(args) => run_comparison(&args),
        Command::Config(args) => print_configuration(&args),
        Command::Show { scenario } => scenario.scenario().and_then(|scenario| print(&scenario.to_toml())),
    };
    match done {
        Ok(passed) => ExitCode::from(u8::from(!passed)),
        Err(error) => {
            eprintln!("bgpblast: {error}");
            ExitCode::from(1)
        }
    }
}

fn run(what: &What<Running>) -> Result<bool, String> {
    let Running { against, output } = what.more();
    let scenario = what.scenario()?;
    let progress = Progress::new(output.quiet);
    let interrupted = interruptible()?;
    let request = output.request(&scenario, &progress, &interrupted);
    let outcome = match (against.speaker, against.target) {
        (Some(kind), None) => {
            become_root()?;
            once(&request, kind)?
        }
        (None, Some(target)) => against_target(&request, against, target)?,
        _ => {
            return Err(
                "name the speaker under test: --target ADDRESS, or --speaker NAME to start one".to_string()
            );
        }
    };
    progress.finish();
    output.deliver(&outcome, summary, outcome_html, outcome_svg)?;
    Ok(outcome.passed())
}

fn against_target(request: &Request<'_>, against: &Against, target: SocketAddr) -> Result<Outcome, String> {
    may_load(target.ip(), &against.allow_target)?;
    let place = Place::target(target, against.from)?;
    let mut meter = against.pid.map(|pid| Meter::new(&[pid])).transpose()?;
    let setup = Setup {
        scenario: request.scenario,
        place: place.clone(),
        meter: meter.as_mut().map(|meter| -> crate::scenario::record::Meter<'_> { Box::new(|| used(meter)) }),
        reconfigurer: None,
        progress: request.progress,
        interrupted: request.interrupted,
    };
    let outcome = measured(setup, request, &place)?;
    let target = Target {
        name: target.to_string(),
        address: target.to_string(),
        pid: against.pid,
        ..Target::default()
    };
    Ok(Outcome { target, ..outcome })
}

fn run_comparison(args: &CompareArgs) -> Result<bool, String> {
    let scenario = args.scenario.scenario()?;
    become_root()?;
    let output = &args.output;
    let progress = Progress::new(output.quiet);
    let interrupted = interruptible()?;
    let request = output.request(&scenario, &progress, &interrupted);
    let compared: Comparison = compare(&request, &args.speakers, usize::from(args.runs));
    progress.finish();
    output.deliver(&compared, comparison, comparison_html, comparison_svg)?;
    let outcomes = || compared.speakers.iter().flat_map(|speaker| &speaker.outcomes);
    Ok(outcomes().next().is_some() && outcomes().all(Outcome::passed))
}

fn print_configuration(args: &ConfigArgs) -> Result<bool, String> {
    let scenario = args.scenario.scenario()?;
    let place = match args.target {
        Some(target) => Place::target(target, args.from)?,
        None => Place::bench(),
    };
    print(&args.kind.configuration(&plan(&scenario, &place)?)?)
}

/// The rights to make namespaces, which one who is not root has in a user namespace.
fn become_root() -> Result<(), String> {
    kulan::cli::lab::netns::become_root().map(drop).map_err(|error| error.replace("kulan lab", "bgpblast"))
}

/// Becomes true at the first SIGINT or SIGTERM; the second ends the program at once.
fn interruptible() -> Result<Arc<AtomicBool>, String> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in signal_hook::consts::TERM_SIGNALS {
        let armed = signal_hook::flag::register_conditional_shutdown(*signal, 1, interrupted.clone());
        armed
            .and_then(|_| signal_hook::flag::register(*signal, interrupted.clone()))
            .map_err(|error| format!("signal {signal}: {error}"))?;
    }
    Ok(interrupted)
}

impl Output {
    fn request<'r>(
        &self,
        scenario: &'r Scenario,
        progress: &'r Progress,
        interrupted: &'r AtomicBool,
    ) -> Request<'r> {
        Request {
            scenario,
            command: std::env::args().collect(),
            floor: !self.no_floor,
            keep: self.keep,
            progress,
            interrupted,
        }
    }

    /// Writes the files that were asked for, and prints what was found.
    fn deliver<T: serde::Serialize>(
        &self,
        found: &T,
        text: fn(&T, usize) -> String,
        page: fn(&T) -> String,
        charts: fn(&T) -> String,
    ) -> Result<(), String> {
        for (path, make) in [(&self.report, page), (&self.svg, charts)] {
            if let Some(path) = path {
                fs::write(path, make(found)).map_err(|error| format!("{}: {error}", path.display()))?;
            }
        }
        let printed = if self.json {
            serde_json::to_string_pretty(found).map_err(|error| error.to_string())?
        } else {
            text(found, width())
        };
        print(&printed).map(drop)
    }
}

/// Prints, and does not mind if nobody reads to the end.
fn print(text: &str) -> Result<bool, String> {
    let mut out = std::io::stdout().lock();
    let done = out.write_all(text.trim_end().as_bytes()).and_then(|()| out.write_all(b"\n"));
    match done {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(format!("standard output: {error}"))
        }
        _ => Ok(true),
    }
}

fn width() -> usize {
    if !std::io::stdout().is_terminal() {
        return PIPED_WIDTH;
    }
    let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    columns.unwrap_or(PIPED_WIDTH).clamp(60, 200)
}
