//! OpenBGPD: `bgpd -d`, read with `bgpctl`.

use std::fmt::Write;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use super::{
    Dialect, Extended, Family, Learned, Neighbor, Origin, Place, Prefix, Rib, Speaker, UNASSIGNED, Unknown,
    parse_as_path, parse_communities, parse_hex, parse_large,
};
use crate::process::Process;

pub(super) struct Openbgpd;

/// The home of the user that it runs as, which its service file makes: it changes its root to there.
const CHROOT: &str = "/run/openbgpd";

impl Dialect for Openbgpd {
    fn start(&self, place: &Place<'_>, speaker: &Speaker, _after_crash: bool) -> Vec<Process> {
        std::fs::create_dir_all(CHROOT).unwrap_or_else(|error| panic!("{CHROOT}: {error}"));
        let socket = place.directory.file("bgpd.sock");
        let configuration = place.directory.write("bgpd.conf", &configuration(speaker, &socket));
        // It refuses a configuration that others can read.
        std::fs::set_permissions(&configuration, std::fs::Permissions::from_mode(0o600))
            .unwrap_or_else(|error| panic!("{configuration}: {error}"));
        let mut command = place.namespace.command("/usr/sbin/bgpd");
        command.args(["-d", "-f", &configuration]);
        vec![Process::start("bgpd", command, &place.directory)]
    }

    fn ready(&self, place: &Place<'_>, _speaker: &Speaker) -> Result<(), String> {
        bgpctl(place, &["show"]).map(drop)
    }

    fn established(&self, place: &Place<'_>, neighbor: IpAddr) -> Result<(), String> {
        let state = neighbor_of(place, neighbor)?["state"].clone();
        if state == "Established" { Ok(()) } else { Err(state.to_string()) }
    }

    fn learned(&self, place: &Place<'_>, family: Family) -> Result<Rib, String> {
        let shown = json(place, &["-j", "show", "rib", family.name(), "detail"])?;
        let mut rib = Rib::new();
        for path in shown["rib"].as_array().into_iter().flatten() {
            if path["best"] == true && path["announced"] != true {
                let prefix = path["prefix"].as_str().ok_or_else(|| format!("no prefix in {path}"))?;
                rib.insert(prefix.parse()?, read_path(path)?);
            }
        }
        Ok(rib)
    }

    fn request_refresh(&self, place: &Place<'_>, neighbor: IpAddr) -> Result<(), String> {
        bgpctl(place, &["neighbor", &neighbor.to_string(), "refresh"]).map(drop)
    }

    fn withdraw(&self, place: &Place<'_>, speaker: &Speaker, _gone: &[Prefix]) -> Result<(), String> {
        let socket = place.directory.file("bgpd.sock");
        place.directory.write("bgpd.conf", &configuration(speaker, &socket));
        bgpctl(place, &["reload"]).map(drop)
    }

    fn updates_received(&self, place: &Place<'_>, neighbor: IpAddr) -> Result<u64, String> {
        let shown = neighbor_of(place, neighbor)?;
        let count = &shown["stats"]["update"]["received"]["updates"];
        count.as_u64().ok_or_else(|| format!("no count of updates in {shown}"))
    }
}

fn bgpctl(place: &Place<'_>, words: &[&str]) -> Result<String, String> {
    let mut command = place.namespace.command("bgpctl");
    command.args(["-s", &place.directory.file("bgpd.sock")]).args(words);
    place.run(command)
}

fn json(place: &Place<'_>, words: &[&str]) -> Result<Value, String> {
    let shown = bgpctl(place, words)?;
    serde_json::from_str(&shown).map_err(|error| format!("{error}: {shown}"))
}

fn neighbor_of(place: &Place<'_>, neighbor: IpAddr) -> Result<Value, String> {
    Ok(json(place, &["-j", "show", "neighbor", &neighbor.to_string()])?["neighbors"][0].clone())
}

fn configuration(speaker: &Speaker, socket: &str) -> String {
    let mut text = format!(
        "AS {}\nrouter-id {}\nsocket \"{socket}\"\nfib-update {}\nnexthop qualify via default\n",
        speaker.asn,
        speaker.router_id,
        if speaker.install { "yes" } else { "no" }
    );
    let mut listening: Vec<IpAddr> = Vec::new();
    for neighbor in &speaker.neighbors {
        if !listening.contains(&neighbor.local_address) {
            let _ = writeln!(text, "listen on {}", neighbor.local_address);
            listening.push(neighbor.local_address);
        }
    }
    for route in &speaker.routes {
        let _ = write!(text, "network {} set {{ origin {}", route.prefix, route.origin.name());
        assert!(route.as_path.is_empty(), "OpenBGPD originates no path but its own AS");
        for community in &route.extended {
            let _ = write!(text, " ext-community {}", community.show("rt", "soo", " ", ":"));
        }
        if let Some(med) = route.med {
            let _ = write!(text, " med {med}");
        }
        if let Some(local_pref) = route.local_pref {
            let _ = write!(text, " localpref {local_pref}");
        }
        for (asn, value) in &route.communities {
            let _ = write!(text, " community {asn}:{value}");
        }
        for (asn, first, second) in &route.large {
            let _ = write!(text, " large-community {asn}:{first}:{second}");
        }
        text += " }\n";
    }
    for neighbor in &speaker.neighbors {
        text += &neighbor_block(neighbor);
    }
    if let Some(range) = speaker.client_range {
        let _ = writeln!(
            text,
            "neighbor {range} {{\n remote-as {}\n passive\n route-reflector\n announce {} unicast\n}}",
            speaker.asn,
            family_keyword(range.family())
        );
    }
    text + "allow from any\nallow to any\n"
}

fn family_keyword(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "IPv4",
        Family::Ipv6 => "IPv6",
    }
}

fn neighbor_block(neighbor: &Neighbor) -> String {
    let mut text = format!(
        "neighbor {} {{\n remote-as {}\n local-address {}\n announce restart yes\n announce refresh yes\n",
        neighbor.address, neighbor.asn, neighbor.local_address
    );
    for family in [Family::Ipv4, Family::Ipv6] {
        let what = if neighbor.families.contains(&family) { "unicast" } else { "none" };
        let _ = writeln!(text, " announce {} {what}", family_keyword(family));
    }
    if neighbor.passive {
        text += " passive\n";
    }
    if neighbor.reflector_client {
        text += " route-reflector\n";
    }
    if let Some(key) = &neighbor.md5 {
        let _ = writeln!(text, " tcp md5sig password \"{key}\"");
    }
    text + "}\n"
}

fn read_path(path: &Value) -> Result<Learned, String> {
    let text = |key: &str| path[key].as_str().unwrap_or_default();
    let words = |key: &str| -> String {
        let list = path[key].as_array().into_iter().flatten().filter_map(Value::as_str);
        list.collect::<Vec<_>>().join(" ")
    };
    let next_hop = text("exit_nexthop").parse().map_err(|_| format!("no next hop in {path}"))?;
    let mut learned = Learned::with_next_hop(next_hop);
    learned.as_path = parse_as_path(text("aspath"))?;
    for community in path["extended_communities"].as_array().into_iter().flatten() {
        let words = community.as_str().unwrap_or_default();
        let (kind, value) = words.split_once(' ').ok_or_else(|| format!("not understood: {community}"))?;
        learned.extended.insert(Extended::parse(kind, value)?);
    }
    learned.origin = Origin::parse(text("origin"))?;
    learned.local_pref = path["localpref"].as_u64().unwrap_or(100) as u32;
    learned.med = path["metric"].as_u64().unwrap_or(0) as u32;
    learned.communities = parse_communities(&words("communities"))?;
    learned.large = parse_large(&words("large_communities"))?;
    for attribute in path["attributes"].as_array().into_iter().flatten() {
        match attribute["type"].as_str().unwrap_or_default() {
            "Atomic Aggregate" => learned.rare.atomic_aggregate = true,
            "Aggregator" => {
                let router_id = attribute["router_id"].as_str().and_then(|id| id.parse().ok());
                learned.rare.aggregator = attribute["AS"].as_u64().map(|asn| asn as u32).zip(router_id);
            }
            kind if kind == format!("Unknown Attribute #{UNASSIGNED}") => {
                let value = parse_hex(attribute["data"].as_str().unwrap_or_default())?;
                let partial = attribute["flags"]["partial"] == true;
                learned.rare.unknown = Some(Unknown { value, partial });
            }
            _ => {}
        }
        if let Some(id) = attribute["originator"].as_str() {
            learned.originator_id = id.parse().ok();
        }
        for id in attribute["cluster_list"].as_array().into_iter().flatten() {
            learned.cluster_list.extend(id.as_str().and_then(|id| id.parse::<std::net::Ipv4Addr>().ok()));
        }
    }
    Ok(learned)
}
