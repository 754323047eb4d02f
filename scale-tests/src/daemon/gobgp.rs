//! GoBGP: `gobgpd`, read and given its routes with `gobgp`.
//!
//! kulan serves the same API, so [`super::kulan`] shares the reading.

use std::fmt::Write;
use std::net::IpAddr;
use std::process::Command;

use serde_json::Value;

use super::{Dialect, Family, Learned, Neighbor, Origin, Place, Rib, Route, Speaker};
use crate::process::Process;

pub(super) struct Gobgp;

/// The API is on the loopback of the daemon's own namespace, where nobody else can be.
pub(super) const API: &str = "127.0.0.1:50051";

impl Dialect for Gobgp {
    fn start(&self, place: &Place<'_>, speaker: &Speaker, after_crash: bool) -> Vec<Process> {
        let configuration = place.directory.write("gobgpd.toml", &configuration(speaker));
        let mut command = place.namespace.command("gobgpd");
        command.args(["-f", &configuration, "-p", "--pprof-disable", "--api-hosts", API]);
        if after_crash {
            command.arg("-r");
        }
        vec![Process::start("gobgpd", command, &place.directory)]
    }

    fn ready(&self, place: &Place<'_>, speaker: &Speaker) -> Result<(), String> {
        let shown = gobgp(place, &["global"])?;
        if !shown.contains(&speaker.asn.to_string()) {
            return Err(shown);
        }
        speaker.routes.iter().try_for_each(|route| announce(place, speaker, route))
    }

    fn established(&self, place: &Place<'_>, neighbor: IpAddr) -> Result<(), String> {
        established(place, neighbor)
    }

    fn learned(&self, place: &Place<'_>, family: Family) -> Result<Rib, String> {
        learned(place, family)
    }

    fn request_refresh(&self, _place: &Place<'_>, _neighbor: IpAddr) -> Result<(), String> {
        Err("gobgpd never asks for a route refresh".to_string())
    }

    fn updates_received(&self, place: &Place<'_>, neighbor: IpAddr) -> Result<u64, String> {
        updates_received(place, neighbor)
    }
}

/// Runs `gobgp` against the daemon.
pub(super) fn gobgp(place: &Place<'_>, words: &[&str]) -> Result<String, String> {
    let mut command = place.namespace.command("gobgp");
    command.args(words);
    place.run(command)
}

fn neighbor_of(place: &Place<'_>, neighbor: IpAddr) -> Result<Value, String> {
    let shown = gobgp(place, &["neighbor", &neighbor.to_string(), "-j"])?;
    serde_json::from_str(&shown).map_err(|error| format!("{error}: {shown}"))
}

/// Whether the session is Established, by `gobgp neighbor`.
pub(super) fn established(place: &Place<'_>, neighbor: IpAddr) -> Result<(), String> {
    let shown = neighbor_of(place, neighbor)?;
    let state = &shown["state"]["session_state"];
    if *state == 6 { Ok(()) } else { Err(format!("session state {state}")) }
}

/// The number of UPDATEs received, by `gobgp neighbor`.
pub(super) fn updates_received(place: &Place<'_>, neighbor: IpAddr) -> Result<u64, String> {
    let shown = neighbor_of(place, neighbor)?;
    Ok(shown["state"]["messages"]["received"]["update"].as_u64().unwrap_or(0))
}

/// The best routes that have a neighbor as their source, by `gobgp global rib`.
pub(super) fn learned(place: &Place<'_>, family: Family) -> Result<Rib, String> {
    let shown = gobgp(place, &["global", "rib", "-j", "-a", family.name()])?;
    let mut rib = Rib::new();
    if shown.trim().is_empty() || shown.starts_with("Network not in table") {
        return Ok(rib);
    }
    let shown: Value = serde_json::from_str(&shown).map_err(|error| format!("{error}: {shown}"))?;
    for (prefix, paths) in shown.as_object().into_iter().flatten() {
        let best = paths.as_array().into_iter().flatten().find(|path| path["best"] == true);
        let learned = |path: &&Value| !matches!(path["neighbor-ip"].as_str(), None | Some("" | "<nil>"));
        if let Some(path) = best.filter(learned) {
            rib.insert(prefix.parse()?, read_path(path)?);
        }
    }
    Ok(rib)
}

fn announce(place: &Place<'_>, speaker: &Speaker, route: &Route) -> Result<(), String> {
    let family = route.prefix.family();
    let own = |neighbor: &&Neighbor| Family::of(neighbor.local_address) == family;
    let next_hop =
        speaker.neighbors.iter().find(own).or(speaker.neighbors.first()).map(|own| own.local_address);
    let next_hop = next_hop.ok_or("a route to announce and nobody to announce it to")?;
    let mut command: Command = place.namespace.command("gobgp");
    command.args(["global", "rib", "add", "-a", family.name(), &route.prefix.to_string()]);
    command.args(["nexthop", &next_hop.to_string(), "origin", "igp"]);
    if let Some(med) = route.med {
        command.args(["med", &med.to_string()]);
    }
    if let Some(local_pref) = route.local_pref {
        command.args(["local-pref", &local_pref.to_string()]);
    }
    if !route.communities.is_empty() {
        let list: Vec<String> =
            route.communities.iter().map(|(asn, value)| format!("{asn}:{value}")).collect();
        command.args(["community", &list.join(",")]);
    }
    if !route.large.is_empty() {
        let list: Vec<String> = route.large.iter().map(|(asn, a, b)| format!("{asn}:{a}:{b}")).collect();
        command.args(["large-community", &list.join(",")]);
    }
    place.run(command).map(drop)
}

fn configuration(speaker: &Speaker) -> String {
    let mut text = format!("[global.config]\nas = {}\nrouter-id = \"{}\"\n", speaker.asn, speaker.router_id);
    for neighbor in &speaker.neighbors {
        let _ = write!(
            text,
            "[[neighbors]]\n[neighbors.config]\nneighbor-address = \"{}\"\npeer-as = {}\n",
            neighbor.address, neighbor.asn
        );
        if let Some(key) = &neighbor.md5 {
            let _ = writeln!(text, "auth-password = \"{key}\"");
        }
        let _ = write!(
            text,
            "[neighbors.timers.config]\nconnect-retry = 1\nidle-hold-time-after-reset = 1\n\
             [neighbors.transport.config]\nlocal-address = \"{}\"\npassive-mode = {}\n",
            neighbor.local_address, neighbor.passive
        );
        if neighbor.reflector_client {
            let _ = write!(
                text,
                "[neighbors.route-reflector.config]\nroute-reflector-client = true\n\
                 route-reflector-cluster-id = \"{}\"\n",
                speaker.router_id
            );
        }
        if neighbor.graceful_restart {
            text += "[neighbors.graceful-restart.config]\nenabled = true\nrestart-time = 30\n";
        }
        for family in &neighbor.families {
            let _ = write!(
                text,
                "[[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = \"{}-unicast\"\n",
                family.name()
            );
            if neighbor.graceful_restart {
                text += "[neighbors.afi-safis.mp-graceful-restart.config]\nenabled = true\n";
            }
        }
    }
    if let Some(range) = speaker.client_range {
        let _ = write!(
            text,
            "[[peer-groups]]\n[peer-groups.config]\npeer-group-name = \"clients\"\npeer-as = {}\n\
             [peer-groups.route-reflector.config]\nroute-reflector-client = true\n\
             route-reflector-cluster-id = \"{}\"\n[peer-groups.transport.config]\npassive-mode = true\n\
             [[peer-groups.afi-safis]]\n[peer-groups.afi-safis.config]\nafi-safi-name = \"{}-unicast\"\n\
             [[dynamic-neighbors]]\n[dynamic-neighbors.config]\nprefix = \"{range}\"\npeer-group = \"clients\"\n",
            speaker.asn,
            speaker.router_id,
            range.family().name()
        );
    }
    text
}

fn read_path(path: &Value) -> Result<Learned, String> {
    let mut learned = Learned::with_next_hop(IpAddr::from([0, 0, 0, 0]));
    let broken = || format!("not understood: {path}");
    let number = |value: &Value| value.as_u64().map(|number| number as u32).ok_or_else(broken);
    let address = |value: &Value| value.as_str().and_then(|text| text.parse().ok()).ok_or_else(broken);
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    for attribute in path["attrs"].as_array().into_iter().flatten() {
        let value = &attribute["value"];
        match attribute["type"].as_u64() {
            Some(1) => learned.origin = Origin::parse(&value.to_string())?,
            Some(2) => {
                for segment in list(&attribute["as_paths"]) {
                    for asn in list(&segment["asns"]) {
                        learned.as_path.push(number(&asn)?);
                    }
                }
            }
            Some(3 | 14) => learned.next_hop = address(&attribute["nexthop"])?,
            Some(4) => learned.med = number(&attribute["metric"])?,
            Some(5) => learned.local_pref = number(value)?,
            Some(8) => {
                for community in list(&attribute["communities"]) {
                    let community = number(&community)?;
                    learned.communities.insert(((community >> 16) as u16, community as u16));
                }
            }
            Some(9) => {
                learned.originator_id =
                    Some(value.as_str().and_then(|text| text.parse().ok()).ok_or_else(broken)?);
            }
            Some(10) => {
                for id in list(value) {
                    learned
                        .cluster_list
                        .push(id.as_str().and_then(|text| text.parse().ok()).ok_or_else(broken)?);
                }
            }
            Some(32) => {
                for large in list(value) {
                    learned.large.insert((
                        number(&large["ASN"])?,
                        number(&large["LocalData1"])?,
                        number(&large["LocalData2"])?,
                    ));
                }
            }
            _ => {}
        }
    }
    Ok(learned)
}
