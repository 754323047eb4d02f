//! OpenBGPD: `bgpd -d`, asked with `bgpctl`.

use std::fmt::Write;

use kulan::types::{Family, FamilySet};

use crate::compare::plan::{Neighbor, Plan, Session};
use crate::compare::process::Process;
use crate::compare::speaker::{
    Dialect, Place, absent, community, drops_rights, first_line, multihop, purpose,
};

pub(in crate::compare) struct Openbgpd;

/// In full, since FRR has a program of that name.
const PROGRAM: &str = "/usr/sbin/bgpd";

/// The home of the user that it runs as, which its service file makes: it changes its root to there.
const CHROOT: &str = "/run/openbgpd";

impl Dialect for Openbgpd {
    fn absent(&self) -> Option<String> {
        absent(&[PROGRAM, "bgpctl"], "openbgpd").or_else(|| drops_rights("OpenBGPD"))
    }

    fn version(&self) -> Option<String> {
        first_line("bgpctl", &["-V"])
    }

    fn configuration(&self, plan: &Plan) -> Result<String, String> {
        if plan.ranges.iter().any(|range| range.session.md5.is_some()) {
            return Err("OpenBGPD 7.7 asks only the first address of a range for a TCP MD5 key".into());
        }
        let foreign = |neighbor: &Neighbor| {
            let own = if neighbor.address.is_ipv4() { Family::Ipv4Unicast } else { Family::Ipv6Unicast };
            neighbor.session.asn != plan.asn && neighbor.session.families != FamilySet::only(own)
        };
        if plan.neighbors.iter().any(foreign) {
            return Err("OpenBGPD 7.7 tells external neighbors routes of the family that the session is not of with the \
                        next hop ::"
                .into());
        }
        let mut text = format!(
            "# {}\nAS {}\nrouter-id {}\nfib-update {}\nnexthop qualify via default\nconnect-retry 1\n",
            purpose(plan),
            plan.asn,
            plan.router_id,
            if plan.install { "yes" } else { "no" }
        );
        for neighbor in &plan.neighbors {
            let _ = write!(text, "\nneighbor {} {{\n", neighbor.address);
            text += &session_lines(plan, &neighbor.session);
            // With an address of ours it would not ask those who dial for their key.
            let _ = match neighbor.dial {
                Some(port) => {
                    write!(text, "\tlocal-address {}\n\tport {port}\n", neighbor.local_address)
                }
                None => writeln!(text, "\tpassive"),
            };
            text += "}\n";
        }
        for range in &plan.ranges {
            let _ = write!(text, "\nneighbor {} {{\n", range.prefix);
            text += &session_lines(plan, &range.session);
            if multihop(plan, &range.session) {
                text += "\tmultihop 2\n";
            }
            text += "\tpassive\n}\n";
        }
        text += "\nallow from any\nallow to any\n";
        if let Some(tag) = plan.tag {
            let _ = writeln!(text, "match to any set community {}", community(tag));
        }
        Ok(text)
    }

    fn start(&self, place: &Place, _plan: &Plan, configuration: &str) -> Result<Vec<Process>, String> {
        std::fs::create_dir_all(CHROOT).map_err(|error| format!("{CHROOT}: {error}"))?;
        let path = write(place, configuration)?;
        let mut command = place.bench.speaker_command(PROGRAM)?;
        command.args(["-d", "-f", &path]);
        Ok(vec![Process::start("bgpd", command, &place.directory)?])
    }

    fn answers(&self, place: &Place) -> Result<(), String> {
        bgpctl(place, &["show"])
    }

    fn reload(&self, place: &Place, _plan: &Plan, configuration: &str) -> Result<(), String> {
        write(place, configuration)?;
        bgpctl(place, &["reload"])
    }
}

/// Writes the configuration with a socket of its own, beside what else listens on the machine.
fn write(place: &Place, configuration: &str) -> Result<String, String> {
    let socket = place.directory.file("bgpd.sock");
    place.directory.write("bgpd.conf", &format!("{configuration}socket \"{socket}\"\n"))
}

fn bgpctl(place: &Place, words: &[&str]) -> Result<(), String> {
    place.run("bgpctl", &[&["-s", &place.directory.file("bgpd.sock")], words].concat()).map(drop)
}

fn session_lines(plan: &Plan, session: &Session) -> String {
    let mut text =
        format!("\tremote-as {}\n\tholdtime {}\n\tannounce restart no\n", session.asn, session.hold_time_s);
    for family in Family::ALL {
        let name = if family == Family::Ipv4Unicast { "IPv4" } else { "IPv6" };
        let what = if session.families.contains(family) { "unicast" } else { "none" };
        let _ = writeln!(text, "\tannounce {name} {what}");
    }
    if session.client && session.asn == plan.asn {
        text += "\troute-reflector\n";
    }
    if session.add_path {
        text += "\tannounce add-path recv yes\n\tannounce add-path send all\n";
    }
    if let Some(key) = &session.md5 {
        let _ = writeln!(text, "\ttcp md5sig password \"{key}\"");
    }
    text
}
