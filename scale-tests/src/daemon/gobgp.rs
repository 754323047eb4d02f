//! GoBGP: `gobgpd`, read and given its routes with `gobgp`.
//!
//! kulan serves the same API, so [`super::kulan`] shares the reading.

use std::fmt::Write;
use std::net::IpAddr;
use std::process::Command;

use serde_json::Value;

use super::{
    Dialect, Extended, Family, Hop, Learned, Origin, Place, Prefix, Rib, Route, Speaker, UNASSIGNED, Unknown,
};
use crate::process::Process;

pub(super) struct Gobgp;

/// The Partial bit of an attribute's flags (RFC 4271 §4.3).
const PARTIAL: u64 = 0x20;

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

    fn withdraw(&self, place: &Place<'_>, _speaker: &Speaker, gone: &[Prefix]) -> Result<(), String> {
        gone.iter().try_for_each(|prefix| {
            let family = prefix.family().name();
            gobgp(place, &["global", "rib", "del", "-a", family, &prefix.to_string()]).map(drop)
        })
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
    let own = speaker.neighbors.iter().flat_map(|neighbor| {
        [Some(neighbor.local_address), neighbor.other_local_address].into_iter().flatten()
    });
    let next_hop = own.clone().find(|own| Family::of(*own) == family).or(own.clone().next());
    let next_hop = next_hop.ok_or("a route to announce and nobody to announce it to")?;
    let mut command: Command = place.namespace.command("gobgp");
    command.args(["global", "rib", "add", "-a", family.name(), &route.prefix.to_string()]);
    command.args(["nexthop", &next_hop.to_string(), "origin", route.origin.name()]);
    if !route.as_path.is_empty() {
        let path: Vec<String> = route.sequence().iter().map(u32::to_string).collect();
        command.args(["aspath", &path.join(",")]);
    }
    assert!(route.extended.is_empty(), "`gobgp` has no words for an extended community of a unicast route");
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

/// Reads bytes in base64 (RFC 4648 §4).
fn parse_base64(text: &str) -> Result<Vec<u8>, String> {
    const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut count, mut bytes) = (0u32, 0, Vec::new());
    for digit in text.trim_end_matches('=').chars() {
        let digit = DIGITS.find(digit).ok_or_else(|| format!("not base64: {text}"))?;
        bits = bits << 6 | digit as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    Ok(bytes)
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
                    let members = list(&segment["asns"]);
                    let mut members = members.iter().map(number);
                    if segment["segment_type"] == 1 {
                        learned.as_path.push(Hop::Set(members.collect::<Result<_, _>>()?));
                    } else {
                        members.try_for_each(|asn| asn.map(|asn| learned.as_path.push(Hop::As(asn))))?;
                    }
                }
            }
            Some(6) => learned.rare.atomic_aggregate = true,
            Some(7) => {
                let router_id = attribute["address"].as_str().and_then(|text| text.parse().ok());
                learned.rare.aggregator = Some((number(&attribute["as"])?, router_id.ok_or_else(broken)?));
            }
            Some(16) => {
                for community in list(value) {
                    let kind = match (community["type"].as_u64(), community["subtype"].as_u64()) {
                        (Some(0), Some(2)) => "rt",
                        (Some(0), Some(3)) => "soo",
                        _ => return Err(broken()),
                    };
                    let value = community["value"].as_str().ok_or_else(broken)?;
                    learned.extended.insert(Extended::parse(kind, value)?);
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
            Some(code) if code == u64::from(UNASSIGNED) => {
                let value = parse_base64(value.as_str().ok_or_else(broken)?)?;
                let partial = attribute["flags"].as_u64().ok_or_else(broken)? & PARTIAL != 0;
                learned.rare.unknown = Some(Unknown { value, partial });
            }
            _ => {}
        }
    }
    Ok(learned)
}
