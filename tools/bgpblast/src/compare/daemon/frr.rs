//! FRR: `zebra` and `bgpd` in the foreground with their sockets in a directory of their own, asked with `vtysh`.
//!
//! An operator would set `advertisement-interval 0` to have routes told at once, but that is what FRR has had by default
//! for a long time, as is the `coalesce-time` that lets it form update groups before it tells anything.

use std::fmt::Write;
use std::os::unix::fs::chown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kulan::types::Family;
use nix::unistd::User;

use crate::compare::plan::{Plan, Session};
use crate::compare::process::{Process, find_program};
use crate::compare::speaker::{
    Dialect, Place, absent, community, drops_rights, first_line, multihop, purpose,
};

pub(in crate::compare) struct Frr;

/// Where distributions put its programs, one of which is called like OpenBGPD's.
const DIRECTORIES: [&str; 3] = ["/usr/lib/frr", "/usr/libexec/frr", "/usr/lib64/frr"];

/// Whom its programs become.
const USER: &str = "frr";

/// The rights that they keep then.
const RIGHTS: &str = "+net_bind_service,+net_admin,+net_raw,+sys_admin";

impl Dialect for Frr {
    fn absent(&self) -> Option<String> {
        match (program("zebra"), program("bgpd")) {
            (Some(_), Some(_)) => absent(&["vtysh"], "frr")
                .or_else(|| absent(&["setpriv"], "util-linux"))
                .or_else(|| drops_rights("FRR")),
            _ => Some(format!(
                "FRR's zebra and bgpd are in none of {}: apt install frr",
                DIRECTORIES.join(", ")
            )),
        }
    }

    fn version(&self) -> Option<String> {
        let line = first_line(program("bgpd")?.to_str()?, &["--version"])?;
        Some(line.replacen("bgpd version", "FRR", 1))
    }

    fn configuration(&self, plan: &Plan) -> Result<String, String> {
        let mut text = format!(
            "! {}\nip nht resolve-via-default\nipv6 nht resolve-via-default\n!\n{}router bgp {}\n bgp router-id {}\n \
             bgp cluster-id {3}\n bgp graceful-restart-disable\n no bgp ebgp-requires-policy\n \
             no bgp default ipv4-unicast\n",
            purpose(plan),
            if plan.install { "" } else { "bgp no-rib\n!\n" },
            plan.asn,
            plan.router_id
        );
        for (number, range) in plan.ranges.iter().enumerate() {
            let _ = writeln!(text, " neighbor RANGE{number} peer-group");
            text += &session_lines(&format!("RANGE{number}"), &range.session);
            if multihop(plan, &range.session) {
                let _ = writeln!(text, " neighbor RANGE{number} ebgp-multihop 2");
            }
            let _ = writeln!(text, " bgp listen range {} peer-group RANGE{number}", range.prefix);
        }
        if !plan.ranges.is_empty() {
            // Without this line no more than 100 neighbors come from all ranges together.
            text += " bgp listen limit 65535\n";
        }
        for neighbor in &plan.neighbors {
            let address = neighbor.address.to_string();
            text += &session_lines(&address, &neighbor.session);
            let _ = writeln!(text, " neighbor {address} update-source {}", neighbor.local_address);
            let _ = match neighbor.dial {
                Some(port) => {
                    write!(text, " neighbor {address} port {port}\n neighbor {address} timers connect 1\n")
                }
                None => writeln!(text, " neighbor {address} passive"),
            };
        }
        for family in Family::ALL {
            let _ = writeln!(text, " !\n address-family {}", words(family));
            for (name, session) in named(plan).filter(|(_, session)| session.families.contains(family)) {
                let _ = writeln!(text, "  neighbor {name} activate");
                if session.client && session.asn == plan.asn {
                    let _ = writeln!(text, "  neighbor {name} route-reflector-client");
                }
                if session.add_path {
                    let _ = writeln!(text, "  neighbor {name} addpath-tx-all-paths");
                }
                if plan.tag.is_some() {
                    let _ = writeln!(text, "  neighbor {name} route-map TAG out");
                }
            }
            text += " exit-address-family\n";
        }
        text += "exit\n";
        if let Some(tag) = plan.tag {
            text += &format!("!\n{}", route_map(tag));
        }
        Ok(text)
    }

    fn start(&self, place: &Place, _plan: &Plan, configuration: &str) -> Result<Vec<Process>, String> {
        let directory = &place.directory;
        let user = User::from_name(USER).ok().flatten().ok_or_else(|| format!("there is no user {USER}"))?;
        let give = |path: &Path| {
            let given = chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()));
            given.map_err(|error| format!("{}: {error}", path.display()))
        };
        give(directory.path())?;
        directory.write("vtysh.conf", "")?;
        // One file for both, as operators have it, is for `vtysh` to share out; here each gets its own part.
        let (zebra, bgpd): (Vec<&str>, Vec<&str>) =
            configuration.lines().partition(|line| line.contains(" nht "));
        let socket = directory.file("zebra.api");
        let start = |name: &str, lines: &[&str]| {
            let path = directory.write(&format!("{name}.conf"), &(lines.join("\n") + "\n"))?;
            give(path.as_ref())?;
            let program = program(name).ok_or("FRR is gone")?;
            let mut command = place.bench.speaker_command("setpriv")?;
            // As its own user from the start: the kernel forgets whose end ends a program that becomes another user.
            command.args(["--reuid", USER, "--regid", USER, "--init-groups", "--pdeathsig", "KILL"]);
            command.args(["--inh-caps", RIGHTS, "--ambient-caps", RIGHTS]).arg(program);
            command.args(["--log", "stdout", "--vty_port", "0", "--socket", &socket, "--config_file", &path]);
            command.arg("--vty_socket").arg(directory.path());
            command.args(["--pid_file", &directory.file(&format!("{name}.pid"))]);
            Process::start(name, command, directory)
        };
        let mut processes = vec![start("zebra", &zebra)?];
        // bgpd looks for zebra once a second only, and then once in ten.
        let deadline = Instant::now() + Duration::from_secs(10);
        while let Err(error) = UnixStream::connect(&socket) {
            if Instant::now() >= deadline || processes[0].ended().is_some() {
                return Err(format!(
                    "zebra does not come up: {socket}: {error}\n{}",
                    processes[0].log_tail()
                ));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        processes.push(start("bgpd", &bgpd)?);
        Ok(processes)
    }

    fn answers(&self, place: &Place) -> Result<(), String> {
        let shown = vtysh(place, &["-c", "show bgp summary json"])?;
        if shown.trim_start().starts_with('{') { Ok(()) } else { Err(shown) }
    }

    /// `frr-reload` would read the whole configuration back and compare: an operator in a hurry types what is new.
    fn reload(&self, place: &Place, plan: &Plan, _configuration: &str) -> Result<(), String> {
        let mut text = plan.tag.map(|tag| route_map(tag) + "exit\n").unwrap_or_default();
        let _ = writeln!(text, "router bgp {}", plan.asn);
        let no = if plan.tag.is_some() { "" } else { "no " };
        for family in Family::ALL {
            let _ = writeln!(text, "address-family {}", words(family));
            for (name, _) in named(plan).filter(|(_, session)| session.families.contains(family)) {
                let _ = writeln!(text, "{no}neighbor {name} route-map TAG out");
            }
            text += "exit-address-family\n";
        }
        let path = place.directory.write("reload.conf", &text)?;
        vtysh(place, &["-f", &path]).map(drop)
    }
}

fn program(name: &str) -> Option<PathBuf> {
    DIRECTORIES.iter().find_map(|directory| find_program(&format!("{directory}/{name}")))
}

fn vtysh(place: &Place, words: &[&str]) -> Result<String, String> {
    let directory = place.directory.path().to_str().unwrap_or_default();
    place.run(
        "vtysh",
        &[&["--vty_socket", directory, "--config_dir", directory, "-d", "bgpd"], words].concat(),
    )
}

fn words(family: Family) -> &'static str {
    match family {
        Family::Ipv4Unicast => "ipv4 unicast",
        Family::Ipv6Unicast => "ipv6 unicast",
    }
}

/// What is configured for all sessions of an address or a group, and its name.
fn named(plan: &Plan) -> impl Iterator<Item = (String, &Session)> {
    let ranges = plan.ranges.iter().enumerate();
    let ranges = ranges.map(|(number, range)| (format!("RANGE{number}"), &range.session));
    plan.neighbors.iter().map(|neighbor| (neighbor.address.to_string(), &neighbor.session)).chain(ranges)
}

fn session_lines(name: &str, session: &Session) -> String {
    let hold_time_s = session.hold_time_s;
    let mut text = format!(
        " neighbor {name} remote-as {}\n neighbor {name} timers {} {hold_time_s}\n",
        session.asn,
        hold_time_s / 3
    );
    if let Some(key) = &session.md5 {
        let _ = writeln!(text, " neighbor {name} password {key}");
    }
    text
}

fn route_map(tag: u32) -> String {
    format!("route-map TAG permit 10\n set community {} additive\n", community(tag))
}
