//! BIRD 2: `bird -f`, asked with `birdc`.

use std::fmt::Write;
use std::net::IpAddr;

use kulan::types::Family;

use crate::compare::plan::{Plan, Session};
use crate::compare::process::Process;
use crate::compare::speaker::{Dialect, Place, absent, first_line, multihop, purpose};

pub(in crate::compare) struct Bird;

impl Dialect for Bird {
    fn absent(&self) -> Option<String> {
        absent(&["bird", "birdc"], "bird2")
    }

    fn version(&self) -> Option<String> {
        first_line("bird", &["--version"])
    }

    fn configuration(&self, plan: &Plan) -> Result<String, String> {
        let mut text = format!(
            "# {}\nlog stderr all;\nrouter id {};\n\nprotocol device {{ }}\n\n\
             # Next hops on our own links are resolved with these.\nprotocol direct {{ ipv4; ipv6; }}\n",
            purpose(plan),
            plan.router_id
        );
        for gateway in &plan.gateways {
            let (family, everything) =
                if gateway.is_ipv4() { ("ipv4", "0.0.0.0/0") } else { ("ipv6", "::/0") };
            // In the main table every change of a route would make BIRD resolve all next hops anew.
            let _ = write!(
                text,
                "\n# Foreign next hops are resolved apart from the routes that are learned.\n\
                 {family} table next_hops_{family};\nprotocol static {{\n  {family} {{ table next_hops_{family}; }};\n  \
                 route {everything} via {gateway};\n}}\n"
            );
        }
        for family in ["ipv4", "ipv6"] {
            if plan.install {
                let _ = write!(
                    text,
                    "\nprotocol kernel {{\n  {family} {{ import none; export where source = RTS_BGP; }};\n}}\n"
                );
            }
        }
        if let Some(tag) = plan.tag {
            let _ = write!(
                text,
                "\nfilter add_tag {{\n  if source != RTS_BGP then reject;\n  bgp_community.add(({}, {}));\n  accept;\n}}\n",
                tag >> 16,
                tag & 0xffff
            );
        }
        for neighbor in &plan.neighbors {
            let (address, asn) = (neighbor.address, neighbor.session.asn);
            let _ = write!(text, "\nprotocol bgp {} {{\n", protocol_name(address));
            let _ = writeln!(text, "  local {} as {};", neighbor.local_address, plan.asn);
            text += &match neighbor.dial {
                Some(port) => format!(
                    "  neighbor {address} port {port} as {asn};\n  connect delay time 1;\n  connect retry time 1;\n  \
                     error wait time 1, 2;\n"
                ),
                None => format!("  neighbor {address} as {asn};\n  passive;\n"),
            };
            text += &session_lines(plan, &neighbor.session);
        }
        for (number, range) in plan.ranges.iter().enumerate() {
            let _ = write!(
                text,
                "\nprotocol bgp {{\n  dynamic name \"range{number}_\";\n  local as {};\n  \
                 neighbor range {} as {};\n  passive;\n",
                plan.asn, range.prefix, range.session.asn
            );
            if multihop(plan, &range.session) {
                text += "  multihop 2;\n";
            }
            text += &session_lines(plan, &range.session);
        }
        Ok(text)
    }

    fn start(&self, place: &Place, _plan: &Plan, configuration: &str) -> Result<Vec<Process>, String> {
        let path = place.directory.write("bird.conf", configuration)?;
        let mut command = place.bench.speaker_command("bird")?;
        command.args(["-f", "-c", &path, "-s", &place.directory.file("bird.ctl")]);
        Ok(vec![Process::start("bird", command, &place.directory)?])
    }

    fn answers(&self, place: &Place) -> Result<(), String> {
        birdc(place, &["show", "status"]).map(drop)
    }

    fn reload(&self, place: &Place, _plan: &Plan, configuration: &str) -> Result<(), String> {
        place.directory.write("bird.conf", configuration)?;
        let told = birdc(place, &["configure"])?;
        // `birdc` ends well even when BIRD refuses.
        if told.contains("Reconfigur") { Ok(()) } else { Err(format!("`birdc configure`: {told}")) }
    }
}

fn birdc(place: &Place, words: &[&str]) -> Result<String, String> {
    place.run("birdc", &[&["-s", &place.directory.file("bird.ctl")], words].concat())
}

fn protocol_name(neighbor: IpAddr) -> String {
    format!("bgp_{}", neighbor.to_string().replace(['.', ':'], "_"))
}

fn session_lines(plan: &Plan, session: &Session) -> String {
    let mut text = format!("  hold time {};\n  graceful restart off;\n", session.hold_time_s);
    if session.client && session.asn == plan.asn {
        text += "  rr client;\n";
    }
    if let Some(key) = &session.md5 {
        let _ = writeln!(text, "  password \"{key}\";");
    }
    for family in session.families.iter() {
        let (family, is_ipv4) = match family {
            Family::Ipv4Unicast => ("ipv4", true),
            Family::Ipv6Unicast => ("ipv6", false),
        };
        let export =
            if plan.tag.is_some() { "export filter add_tag" } else { "export where source = RTS_BGP" };
        let _ = write!(text, "  {family} {{ import all; {export};");
        if plan.gateways.iter().any(|gateway| gateway.is_ipv4() == is_ipv4) {
            let _ = write!(text, " igp table next_hops_{family};");
        }
        if session.add_path {
            text += " add paths on;";
        }
        text += " };\n";
    }
    text + "}\n"
}
