//! kulan: `kulan run`, asked with `kulan show`.

use std::fmt::Write;
use std::path::PathBuf;

use crate::compare::plan::{Plan, Session};
use crate::compare::process::{Process, find_program};
use crate::compare::speaker::{Dialect, Place, community, first_line, multihop, purpose, sessions};

pub(in crate::compare) struct Kulan;

/// More than any scenario has.
const LIMIT: u32 = 100_000;

impl Dialect for Kulan {
    fn absent(&self) -> Option<String> {
        if binary().is_some() {
            return None;
        }
        Some("`kulan` is neither beside bgpblast nor in PATH: cargo build --release, or set KULAN_BIN to its path".into())
    }

    fn version(&self) -> Option<String> {
        first_line(binary()?.to_str()?, &["--version"])
    }

    fn configuration(&self, plan: &Plan) -> Result<String, String> {
        if sessions(plan).any(|session| session.add_path) {
            return Err("kulan does not speak ADD-PATH".into());
        }
        let mut text = format!(
            "# {}\n[speaker]\nasn = {}\nrouter_id = \"{}\"\n\n[[domain]]\nname = \"default\"\ninstall = {}\n",
            purpose(plan),
            plan.asn,
            plan.router_id,
            plan.install
        );
        let export = if plan.tag.is_some() { "tag" } else { "accept" };
        for neighbor in &plan.neighbors {
            let (address, source) = (neighbor.address, neighbor.local_address);
            let _ = writeln!(text, "\n[[peer]]\naddress = \"{address}\"\nsource = \"{source}\"");
            text += &match neighbor.dial {
                Some(port) => format!("port = {port}\nconnect_retry_s = 1\n"),
                None => "passive = true\n".into(),
            };
            text += &session_keys(plan, &neighbor.session, export);
        }
        for range in &plan.ranges {
            let _ = writeln!(
                text,
                "\n[[dynamic_peer]]\nrange = \"{}\"\nlimit = {LIMIT}\npassive = true",
                range.prefix
            );
            text += &session_keys(plan, &range.session, export);
            if multihop(plan, &range.session) {
                text += "multihop_ttl = 2\n";
            }
        }
        if let Some(tag) = plan.tag {
            let _ = writeln!(
                text,
                "\n[[policy]]\nname = \"tag\"\n\n[[policy.rule]]\nset = {{ add_communities = [\"{}\"] }}\n\
                 then = \"accept\"",
                community(tag)
            );
        }
        Ok(text)
    }

    fn start(&self, place: &Place, _plan: &Plan, configuration: &str) -> Result<Vec<Process>, String> {
        let path = write(place, configuration)?;
        let mut command = place.bench.speaker_command(program())?;
        command.args(["run", "--config", &path]);
        Ok(vec![Process::start("kulan", command, &place.directory)?])
    }

    fn answers(&self, place: &Place) -> Result<(), String> {
        control(place, &["show", "peers"])
    }

    fn reload(&self, place: &Place, _plan: &Plan, configuration: &str) -> Result<(), String> {
        write(place, configuration)?;
        control(place, &["reload"])
    }
}

/// `KULAN_BIN`, or what was built with bgpblast, or what is installed.
fn binary() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("KULAN_BIN") {
        return Some(path.into());
    }
    // The tests' own programs are one directory further down.
    let running = std::env::current_exe().ok()?;
    let beside = running.ancestors().skip(1).take(2).map(|directory| directory.join("kulan"));
    beside.into_iter().find(|path| path.is_file()).or_else(|| find_program("kulan"))
}

/// [`binary`] as a word of a command; that there is one was asked before.
fn program() -> String {
    binary().map_or("kulan".into(), |path| path.to_string_lossy().into_owned())
}

/// Writes the configuration with a socket of its own, beside what else listens on the machine.
fn write(place: &Place, configuration: &str) -> Result<String, String> {
    let socket = place.directory.file("kulan.sock");
    place.directory.write("kulan.toml", &format!("{configuration}\n[api]\ngrpc = [\"unix:{socket}\"]\n"))
}

fn control(place: &Place, words: &[&str]) -> Result<(), String> {
    let target = format!("unix:{}", place.directory.file("kulan.sock"));
    place.run(&program(), &[&["--target", &target], words].concat()).map(drop)
}

fn session_keys(plan: &Plan, session: &Session, export: &str) -> String {
    let families: Vec<String> = session.families.iter().map(|family| format!("\"{family}\"")).collect();
    let mut text = format!(
        "asn = {}\nfamilies = [{}]\nhold_time_s = {}\nimport = \"accept\"\nexport = \"{export}\"\n",
        session.asn,
        families.join(", "),
        session.hold_time_s
    );
    if session.client && session.asn == plan.asn {
        text += "route_reflector_client = true\n";
    }
    if let Some(key) = &session.md5 {
        let _ = writeln!(text, "password = \"{key}\"");
    }
    text
}
