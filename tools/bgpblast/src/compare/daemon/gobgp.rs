//! GoBGP: `gobgpd`, asked with `gobgp`.

use std::fmt::Write;

use crate::compare::plan::{Plan, Session};
use crate::compare::process::Process;
use crate::compare::speaker::{Dialect, Place, absent, community, first_line, multihop, purpose};

pub(in crate::compare) struct Gobgp;

/// It is on the loopback of the daemon's own namespace, where nobody else can be.
const API: &str = "127.0.0.1:50051";

impl Dialect for Gobgp {
    fn absent(&self) -> Option<String> {
        absent(&["gobgpd", "gobgp"], "gobgpd")
    }

    fn version(&self) -> Option<String> {
        first_line("gobgpd", &["--version"])
    }

    fn configuration(&self, plan: &Plan) -> Result<String, String> {
        if plan.install {
            return Err("GoBGP installs no routes itself".into());
        }
        if plan.ranges.iter().any(|range| range.session.md5.is_some()) {
            return Err("GoBGP 3.10 takes no connections with TCP MD5 from a range".into());
        }
        let mut text = format!(
            "# {}\n[global.config]\n  as = {}\n  router-id = \"{}\"\n",
            purpose(plan),
            plan.asn,
            plan.router_id
        );
        if let Some(tag) = plan.tag {
            let _ = write!(
                text,
                "\n[global.apply-policy.config]\n  export-policy-list = [\"tag\"]\n  \
                 default-export-policy = \"accept-route\"\n\
                 \n[[policy-definitions]]\n  name = \"tag\"\n  [[policy-definitions.statements]]\n    name = \"tag\"\n    \
                 [policy-definitions.statements.actions]\n      route-disposition = \"accept-route\"\n      \
                 [policy-definitions.statements.actions.bgp-actions.set-community]\n        options = \"add\"\n        \
                 [policy-definitions.statements.actions.bgp-actions.set-community.set-community-method]\n          \
                 communities-list = [\"{}\"]\n",
                community(tag)
            );
        }
        for neighbor in &plan.neighbors {
            let config = format!("neighbor-address = \"{}\"", neighbor.address);
            let mut transport = format!("local-address = \"{}\"\n    ", neighbor.local_address);
            transport += &match neighbor.dial {
                Some(port) => format!("remote-port = {port}"),
                None => "passive-mode = true".into(),
            };
            text += &session_tables(plan, &neighbor.session, "neighbors", &config, &transport);
        }
        for (number, range) in plan.ranges.iter().enumerate() {
            let config = format!("peer-group-name = \"range{number}\"");
            text += &session_tables(plan, &range.session, "peer-groups", &config, "passive-mode = true");
            if multihop(plan, &range.session) {
                text += "  [peer-groups.ebgp-multihop.config]\n    enabled = true\n    multihop-ttl = 2\n";
            }
            let _ = write!(
                text,
                "\n[[dynamic-neighbors]]\n  [dynamic-neighbors.config]\n    prefix = \"{}\"\n    \
                 peer-group = \"range{number}\"\n",
                range.prefix
            );
        }
        Ok(text)
    }

    fn start(&self, place: &Place, _plan: &Plan, configuration: &str) -> Result<Vec<Process>, String> {
        let path = place.directory.write("gobgpd.toml", configuration)?;
        let mut command = place.bench.speaker_command("gobgpd")?;
        command.args(["-f", &path, "-p", "--pprof-disable", "--api-hosts", API]);
        Ok(vec![Process::start("gobgpd", command, &place.directory)?])
    }

    fn answers(&self, place: &Place) -> Result<(), String> {
        place.run("gobgp", &["global"]).map(drop)
    }

    /// On SIGHUP it would read the file again and ask itself to import everything anew: with its own tool only what is
    /// told changes.
    fn reload(&self, place: &Place, plan: &Plan, _configuration: &str) -> Result<(), String> {
        let gobgp = |words: &str| place.run("gobgp", &words.split(' ').collect::<Vec<_>>()).map(drop);
        match plan.tag {
            Some(tag) => {
                gobgp("policy statement add tag")?;
                gobgp(&format!("policy statement tag add action community add {}", community(tag)))?;
                gobgp("policy statement tag add action accept")?;
                gobgp("policy add tag tag")?;
                gobgp("global policy export add tag default accept")?;
            }
            None => gobgp("global policy export del tag")?,
        }
        gobgp("neighbor all softresetout")
    }
}

/// The tables of a neighbor or a group of them, which are the same but for their names.
fn session_tables(plan: &Plan, session: &Session, table: &str, config: &str, transport: &str) -> String {
    let mut text =
        format!("\n[[{table}]]\n  [{table}.config]\n    {config}\n    peer-as = {}\n", session.asn);
    if let Some(key) = &session.md5 {
        let _ = writeln!(text, "    auth-password = \"{key}\"");
    }
    let hold_time_s = session.hold_time_s;
    let _ = write!(
        text,
        "  [{table}.timers.config]\n    hold-time = {hold_time_s}\n    keepalive-interval = {}\n    \
         connect-retry = 1\n    idle-hold-time-after-reset = 1\n  [{table}.transport.config]\n    {transport}\n",
        hold_time_s / 3
    );
    if session.client && session.asn == plan.asn {
        let _ = write!(
            text,
            "  [{table}.route-reflector.config]\n    route-reflector-client = true\n    \
             route-reflector-cluster-id = \"{}\"\n",
            plan.router_id
        );
    }
    for family in session.families.iter() {
        let _ = write!(
            text,
            "  [[{table}.afi-safis]]\n    [{table}.afi-safis.config]\n      afi-safi-name = \"{family}\"\n"
        );
        if session.add_path {
            let _ = write!(
                text,
                "    [{table}.afi-safis.add-paths.config]\n      receive = true\n      send-max = 255\n"
            );
        }
    }
    text
}
