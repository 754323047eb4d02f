//! ExaBGP: `exabgp` with one helper that writes down every event and passes commands on.
//!
//! ExaBGP keeps no table: what it learned is replayed here from the UPDATEs it reported, in JSON.

use std::fmt::Write;
use std::fs::File;
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use super::{
    Dialect, Extended, Family, Hop, Learned, Neighbor, Origin, Place, Prefix, Rib, Route, Speaker, UNASSIGNED,
};
use crate::process::Process;

pub(super) struct Exabgp;

/// Standard input is not blocking, and commands come from a second file: a shell cannot do both.
const HELPER: &str = r#"#!/usr/bin/env python3
import os, select, sys

events = open(sys.argv[1], "ab", buffering=0)
commands = os.open(sys.argv[2], os.O_RDWR)
while True:
    readable, _, _ = select.select([0, commands], [], [])
    if 0 in readable:
        data = os.read(0, 65536)
        if not data:
            break
        events.write(data)
    if commands in readable:
        os.write(1, os.read(commands, 65536))
"#;

impl Dialect for Exabgp {
    fn start(&self, place: &Place<'_>, speaker: &Speaker, _after_crash: bool) -> Vec<Process> {
        let directory = &place.directory;
        let helper = directory.write("helper.py", HELPER);
        std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755))
            .unwrap_or_else(|error| panic!("{helper}: {error}"));
        let events = directory.write("events.json", "");
        let commands = directory.file("commands");
        if !std::path::Path::new(&commands).exists() {
            place
                .run({
                    let mut command = place.namespace.command("mkfifo");
                    command.arg(&commands);
                    command
                })
                .unwrap_or_else(|error| panic!("{error}"));
        }
        let run = format!("{helper} {events} {commands}");
        let configuration = directory.write("exabgp.conf", &configuration(speaker, &run));
        let mut command = place.namespace.command("exabgp");
        command
            .env("exabgp.daemon.user", "root")
            .env("exabgp.api.cli", "false")
            .env("exabgp.api.ack", "false");
        let bind: Vec<String> =
            speaker.neighbors.iter().map(|neighbor| neighbor.local_address.to_string()).collect();
        command.env("exabgp.tcp.bind", bind.join(" ")).arg(&configuration);
        vec![Process::start("exabgp", command, directory)]
    }

    fn ready(&self, place: &Place<'_>, _speaker: &Speaker) -> Result<(), String> {
        let log = std::fs::read_to_string(place.directory.file("exabgp.log")).unwrap_or_default();
        if log.contains("loaded new configuration successfully") { Ok(()) } else { Err(log) }
    }

    fn established(&self, place: &Place<'_>, neighbor: IpAddr) -> Result<(), String> {
        let mut state = "no event yet".to_string();
        for event in events(place)? {
            if event["type"] == "state" && is_from(&event, neighbor) {
                state = event["neighbor"]["state"].to_string();
            }
        }
        if state.contains("up") { Ok(()) } else { Err(state) }
    }

    fn learned(&self, place: &Place<'_>, family: Family) -> Result<Rib, String> {
        let key = format!("{} unicast", family.name());
        let mut rib = Rib::new();
        let mut sources = std::collections::BTreeMap::new();
        for event in events(place)? {
            let neighbor = event["neighbor"]["address"]["peer"].as_str().unwrap_or_default().to_string();
            if event["type"] == "state" && event["neighbor"]["state"] == "down" {
                rib.retain(|prefix, _| sources.get(prefix) != Some(&neighbor));
            }
            let update = &event["neighbor"]["message"]["update"];
            for withdrawn in update["withdraw"][&key].as_array().into_iter().flatten() {
                rib.remove(&withdrawn["nlri"].as_str().unwrap_or_default().parse()?);
            }
            for (next_hop, announced) in update["announce"][&key].as_object().into_iter().flatten() {
                // A next hop of two addresses (RFC 2545 §3) is reported as two.
                if next_hop.starts_with("fe80:") {
                    continue;
                }
                for route in announced.as_array().into_iter().flatten() {
                    let prefix = route["nlri"].as_str().unwrap_or_default().parse()?;
                    rib.insert(prefix, read_attributes(next_hop, &update["attribute"])?);
                    sources.insert(prefix, neighbor.clone());
                }
            }
        }
        Ok(rib)
    }

    fn request_refresh(&self, place: &Place<'_>, neighbor: IpAddr) -> Result<(), String> {
        let family = Family::of(neighbor).name();
        command(place, &format!("neighbor {neighbor} announce route-refresh {family} unicast"))
    }

    fn withdraw(&self, place: &Place<'_>, _speaker: &Speaker, gone: &[Prefix]) -> Result<(), String> {
        gone.iter().try_for_each(|prefix| command(place, &format!("withdraw route {prefix} next-hop self")))
    }

    fn updates_received(&self, place: &Place<'_>, neighbor: IpAddr) -> Result<u64, String> {
        let events = events(place)?;
        let updates = events.iter().filter(|event| event["type"] == "update" && is_from(event, neighbor));
        Ok(updates.count() as u64)
    }
}

/// Has the helper say it.
fn command(place: &Place<'_>, words: &str) -> Result<(), String> {
    let broken = |error| format!("the helper's commands: {error}");
    let mut commands = File::options().write(true).open(place.directory.file("commands")).map_err(broken)?;
    writeln!(commands, "{words}").map_err(broken)
}

/// Every whole line that the helper wrote.
fn events(place: &Place<'_>) -> Result<Vec<Value>, String> {
    let text =
        std::fs::read_to_string(place.directory.file("events.json")).map_err(|error| error.to_string())?;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).map_err(|error| format!("{error}: {line}"))).collect()
}

fn is_from(event: &Value, neighbor: IpAddr) -> bool {
    event["neighbor"]["address"]["peer"].as_str().and_then(|text| text.parse().ok()) == Some(neighbor)
}

fn configuration(speaker: &Speaker, run: &str) -> String {
    let mut text = format!("process helper {{ run {run}; encoder json; }}\n");
    for neighbor in &speaker.neighbors {
        text += &neighbor_block(speaker, neighbor);
    }
    text
}

fn neighbor_block(speaker: &Speaker, neighbor: &Neighbor) -> String {
    let mut text = format!(
        "neighbor {} {{\n  router-id {};\n  local-address {};\n  local-as {};\n  peer-as {};\n",
        neighbor.address, speaker.router_id, neighbor.local_address, speaker.asn, neighbor.asn
    );
    // ExaBGP 4.2 loses its state in a connection collision, and never recovers: the other side dials.
    if neighbor.passive || neighbor.md5.is_none() {
        text += "  passive true;\n";
    }
    if let Some(key) = &neighbor.md5 {
        let _ = writeln!(text, "  md5-password \"{key}\";\n  md5-base64 false;");
    }
    text += "  capability { route-refresh enable;";
    if neighbor.graceful_restart {
        text += " graceful-restart 30;";
    }
    text += " }\n  family {";
    for family in &neighbor.families {
        let _ = write!(text, " {} unicast;", family.name());
    }
    text += " }\n  api { processes [ helper ]; neighbor-changes; receive { parsed; update; } }\n  static {\n";
    for route in &speaker.routes {
        if neighbor.families.contains(&route.prefix.family()) {
            text += &static_route(speaker, neighbor, route);
        }
    }
    text + "  }\n}\n"
}

fn static_route(speaker: &Speaker, neighbor: &Neighbor, route: &Route) -> String {
    let other = neighbor.other_local_address.filter(|own| Family::of(*own) == route.prefix.family());
    let next_hop = other.map_or("self".to_string(), |own| own.to_string());
    let mut text = format!("    route {} next-hop {next_hop} origin {}", route.prefix, route.origin.name());
    if !route.as_path.is_empty() {
        text += " as-path [";
        // A path that is given goes out as it is.
        if neighbor.asn != speaker.asn {
            let _ = write!(text, " {}", speaker.asn);
        }
        for hop in &route.as_path {
            match hop {
                Hop::As(asn) => {
                    let _ = write!(text, " {asn}");
                }
                Hop::Set(set) => {
                    let members: Vec<String> = set.iter().map(u32::to_string).collect();
                    let _ = write!(text, " ( {} )", members.join(" "));
                }
            }
        }
        text += " ]";
    }
    if let Some((asn, router_id)) = route.rare.aggregator {
        let _ = write!(text, " aggregator ( {asn}:{router_id} )");
    }
    if route.rare.atomic_aggregate {
        text += " atomic-aggregate";
    }
    if !route.extended.is_empty() {
        text += " extended-community [";
        for community in &route.extended {
            let _ = write!(text, " {}", community.show("target", "origin", ":", ":"));
        }
        text += " ]";
    }
    if let Some(unknown) = &route.rare.unknown {
        let value: String = unknown.value.iter().map(|byte| format!("{byte:02x}")).collect();
        // Optional and transitive.
        let _ = write!(text, " attribute [ 0x{UNASSIGNED:02x} 0xc0 0x{value} ]");
    }
    if let Some(med) = route.med {
        let _ = write!(text, " med {med}");
    }
    if let Some(local_pref) = route.local_pref {
        let _ = write!(text, " local-preference {local_pref}");
    }
    if !route.communities.is_empty() {
        text += " community [";
        for (asn, value) in &route.communities {
            let _ = write!(text, " {asn}:{value}");
        }
        text += " ]";
    }
    if !route.large.is_empty() {
        text += " large-community [";
        for (asn, first, second) in &route.large {
            let _ = write!(text, " {asn}:{first}:{second}");
        }
        text += " ]";
    }
    text + ";\n"
}

fn read_attributes(next_hop: &str, attributes: &Value) -> Result<Learned, String> {
    let broken = || format!("not understood: {attributes}");
    let number = |value: &Value| value.as_u64().map(|number| number as u32).ok_or_else(broken);
    let list = |key: &str| attributes[key].as_array().cloned().unwrap_or_default();
    let mut learned = Learned::with_next_hop(next_hop.parse().map_err(|_| broken())?);
    learned.origin = Origin::parse(attributes["origin"].as_str().unwrap_or_default())?;
    for asn in list("as-path") {
        learned.as_path.push(Hop::As(number(&asn)?));
    }
    for community in list("extended-community") {
        let words = community["string"].as_str().unwrap_or_default();
        let (kind, value) = words.split_once(':').ok_or_else(broken)?;
        learned.extended.insert(Extended::parse(kind, value)?);
    }
    learned.med = attributes["med"].as_u64().unwrap_or(0) as u32;
    learned.local_pref = attributes["local-preference"].as_u64().unwrap_or(100) as u32;
    for community in list("community") {
        learned.communities.insert((number(&community[0])? as u16, number(&community[1])? as u16));
    }
    for large in list("large-community") {
        learned.large.insert((number(&large[0])?, number(&large[1])?, number(&large[2])?));
    }
    learned.originator_id = attributes["originator-id"].as_str().and_then(|id| id.parse().ok());
    learned.cluster_list =
        list("cluster-list").iter().filter_map(|id| id.as_str().and_then(|id| id.parse().ok())).collect();
    Ok(learned)
}
