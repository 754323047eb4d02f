//! ExaBGP, which speaks BGP for other programs and is no router: it keeps what nobody asks it for in no table, and passes
//! nothing on. So it can hold sessions, and take routes of one neighbor, and that is all.

use std::fmt::Write;

use kulan::types::Family;

use crate::compare::plan::Plan;
use crate::compare::process::Process;
use crate::compare::speaker::{Dialect, Place, absent, first_line, purpose};

pub(in crate::compare) struct Exabgp;

impl Dialect for Exabgp {
    fn absent(&self) -> Option<String> {
        absent(&["exabgp"], "exabgp")
    }

    fn version(&self) -> Option<String> {
        first_line("exabgp", &["--version"])
    }

    fn configuration(&self, plan: &Plan) -> Result<String, String> {
        let [neighbor] = &plan.neighbors[..] else {
            return Err("ExaBGP keeps no table and passes nothing on".into());
        };
        let session = &neighbor.session;
        if !plan.ranges.is_empty() || plan.tag.is_some() || plan.install || session.client {
            return Err("ExaBGP keeps no table and passes nothing on".into());
        }
        let mut text = format!(
            "# {}\nneighbor {} {{\n  router-id {};\n  local-address {};\n  local-as {};\n  peer-as {};\n  hold-time {};\n",
            purpose(plan),
            neighbor.address,
            plan.router_id,
            neighbor.local_address,
            plan.asn,
            session.asn,
            session.hold_time_s
        );
        text += &match neighbor.dial {
            Some(port) => format!("  connect {port};\n"),
            None => "  passive true;\n".into(),
        };
        if let Some(key) = &session.md5 {
            let _ = writeln!(text, "  md5-password \"{key}\";\n  md5-base64 false;");
        }
        let add_path = if session.add_path { "send/receive" } else { "disable" };
        let _ = write!(
            text,
            "  capability {{\n    route-refresh enable;\n    graceful-restart disable;\n    add-path {add_path};\n  }}\n  \
             family {{\n"
        );
        for family in session.families.iter() {
            let name = if family == Family::Ipv4Unicast { "ipv4" } else { "ipv6" };
            let _ = writeln!(text, "    {name} unicast;");
        }
        Ok(text + "  }\n}\n")
    }

    fn start(&self, place: &Place, plan: &Plan, configuration: &str) -> Result<Vec<Process>, String> {
        let path = place.directory.write("exabgp.conf", configuration)?;
        let mut command = place.bench.speaker_command("exabgp")?;
        let bind = plan.neighbors.iter().map(|neighbor| neighbor.local_address.to_string());
        // It has no control tool that is worth the processes it takes.
        command
            .env("exabgp.tcp.bind", bind.collect::<Vec<_>>().join(" "))
            .env("exabgp.daemon.user", "root")
            .env("exabgp.api.cli", "false")
            .arg(path);
        Ok(vec![Process::start("exabgp", command, &place.directory)?])
    }

    fn answers(&self, _place: &Place) -> Result<(), String> {
        Ok(())
    }

    fn reload(&self, _place: &Place, _plan: &Plan, _configuration: &str) -> Result<(), String> {
        Err("ExaBGP has no export policy".into())
    }
}
