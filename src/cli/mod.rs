//! The command line: `kulan run` is the daemon, the rest asks a running one over its gRPC API.
//!
//! Answers go to the standard output as aligned tables, or with `--json` as JSON; complaints go to the
//! standard error and name what to do. The exit status is 0 when it worked, 1 when it did not, and 2 for
//! wrong usage or a wrong configuration.

mod check;
mod client;
mod json;
pub mod lab;
mod show;
mod table;
mod text;
mod watch;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, DEFAULT_PATH};
use crate::types::Family;

/// A BGP speaker for large bare-metal fleets.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, max_term_width = 100)]
struct CommandLine {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Global {
    /// Where the daemon answers: unix:PATH, or ADDRESS:PORT
    #[arg(
        long,
        visible_alias = "socket",
        global = true,
        value_name = "ADDRESS",
        env = "KULAN_TARGET",
        default_value = client::DEFAULT_TARGET
    )]
    target: String,
    /// Answer in JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon in the foreground
    Run(ConfigFile),
    /// Check a configuration file and say what is wrong with it
    Check(ConfigFile),
    /// Have the daemon read its configuration anew and apply what changed
    Reload,
    /// Show what the daemon knows
    #[command(subcommand)]
    Show(Show),
    /// Follow what happens, a line each, until interrupted
    Watch(WatchArgs),
    /// Build a small network on this machine, all kulan, and show what it does; needs no root
    Lab {
        /// Leave it running until Enter is pressed
        #[arg(long)]
        keep: bool,
    },
}

#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
    config: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Show {
    /// Peers and their sessions; with an address, everything about that one
    Peers {
        /// The address of one peer
        peer: Option<std::net::IpAddr>,
    },
    /// Routes, or everything about one
    ///
    /// A PREFIX shows the route with exactly this prefix; a plain address the one that a packet to it
    /// would follow. The first column of the table says: * the next hop can be reached, > best, = used
    /// beside the best one, S kept for a peer that restarts.
    Routes(RoutesArgs),
    /// Routes that the kernel has, or should have, of the daemon
    Fib {
        /// The routing domain, if not the first one
        #[arg(long)]
        domain: Option<String>,
        /// Only this family: ipv4-unicast or ipv6-unicast
        #[arg(long)]
        family: Option<Family>,
    },
    /// Routing domains
    Domains,
    /// Who the daemon is, how much it holds, and how its loop fares
    Summary,
}

#[derive(Debug, Args)]
struct RoutesArgs {
    /// A prefix, or an address
    prefix: Option<String>,
    /// Only this family: ipv4-unicast or ipv6-unicast
    #[arg(long)]
    family: Option<Family>,
    /// What this peer told us, with --in, or was told, with --out
    #[arg(long, value_name = "ADDRESS", requires = "side")]
    peer: Option<std::net::IpAddr>,
    #[command(flatten)]
    side: Side,
    /// The routing domain, if not the first one or the peer's
    #[arg(long)]
    domain: Option<String>,
    /// What lies within PREFIX as well
    #[arg(long, requires = "prefix")]
    longer: bool,
}

#[derive(Debug, Args)]
#[group(id = "side", multiple = false)]
struct Side {
    /// What the peer told us, after the import policy
    #[arg(long = "in", requires = "peer")]
    inbound: bool,
    /// What the peer was told
    #[arg(long = "out", requires = "peer")]
    outbound: bool,
}

#[derive(Debug, Args)]
struct WatchArgs {
    /// Best routes as they change
    #[arg(long)]
    routes: bool,
    /// Routes as peers announce and withdraw them
    #[arg(long)]
    adj_in: bool,
    /// Peers as their state changes; this and --routes if nothing is chosen
    #[arg(long)]
    peers: bool,
    /// Begin with what is there already
    #[arg(long)]
    initial: bool,
    /// The routing domain, if not the first one
    #[arg(long)]
    domain: Option<String>,
}

/// Why a command did not work.
#[derive(Debug)]
enum Failure {
    /// It was asked in a way that cannot be answered, or the configuration is wrong: status 2.
    Usage(String),
    /// Anything else: status 1.
    Failed(String),
    /// Whoever read our output has read enough: no failure at all.
    PipeClosed,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::PipeClosed,
            _ => Failure::Failed(format!("cannot write the answer: {error}")),
        }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Failure {
        Failure::from(io::Error::from(error))
    }
}

/// Reads the command line and does what it says. `run` is the daemon: it is given the configuration and
/// where it came from, and comes back when the daemon has stopped.
pub fn main(run: impl FnOnce(Config, PathBuf) -> Result<(), String>) -> ExitCode {
    let CommandLine { global, command } = CommandLine::parse();
    let result = match command {
        Command::Run(file) => {
            start_log();
            check::load(&file.config).and_then(|config| run(config, file.config).map_err(Failure::Failed))
        }
        Command::Check(file) => check::check(&file.config, global.json),
        Command::Reload => client::block_on(&global.target, show::reload(&global)),
        Command::Show(what) => client::block_on(&global.target, show::show(what, &global)),
        Command::Lab { keep } => lab::run(keep).map_err(Failure::Failed),
        Command::Watch(what) => client::block_on(&global.target, watch::watch(what, &global)),
    };
    let (status, text) = match result {
        Ok(()) | Err(Failure::PipeClosed) => return ExitCode::SUCCESS,
        Err(Failure::Failed(text)) => (1, text),
        Err(Failure::Usage(text)) => (2, text),
    };
    for line in text.lines() {
        eprintln!("kulan: {line}");
    }
    ExitCode::from(status)
}

/// The daemon logs to the standard error, `info` and worse unless `RUST_LOG` says otherwise. Under systemd
/// the journal has its own time stamps.
fn start_log() {
    let mut log = env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info"));
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        log.format_timestamp(None);
    } else {
        log.format_timestamp_millis();
    }
    log.init();
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &str) -> Result<CommandLine, clap::Error> {
        CommandLine::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_command_line_is_sound() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn what_belongs_together_is_asked_for_together() {
        parse("kulan show routes --peer 10.0.0.1 --in").unwrap();
        parse("kulan show routes 10.0.0.0/8 --longer --json --socket unix:/tmp/s").unwrap();
        for wrong in [
            "kulan show routes --peer 10.0.0.1",
            "kulan show routes --in",
            "kulan show routes --peer 10.0.0.1 --in --out",
            "kulan show routes --longer",
            "kulan show routes --family ipx",
            "kulan show peers elsewhere",
            "kulan",
        ] {
            assert_eq!(parse(wrong).unwrap_err().exit_code(), 2, "{wrong}");
        }
    }
}
