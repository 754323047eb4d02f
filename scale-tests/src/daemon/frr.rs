//! FRR: `zebra` and `bgpd` in the foreground with their sockets in a directory of their own, read with `vtysh`.

use std::fmt::Write;
use std::net::IpAddr;

use serde_json::Value;

use super::{
    Dialect, Extended, Family, Hop, Learned, Origin, Place, Prefix, Rib, Route, Speaker, items,
    parse_communities, parse_large,
};
use crate::process::{Process, wait_for};

pub(super) struct Frr;

impl Dialect for Frr {
    fn start(&self, place: &Place<'_>, speaker: &Speaker, _after_crash: bool) -> Vec<Process> {
        let directory = &place.directory;
        directory.write("vtysh.conf", "");
        let zebra_configuration =
            directory.write("zebra.conf", "ip nht resolve-via-default\nipv6 nht resolve-via-default\n");
        let bgpd_configuration = directory.write("bgpd.conf", &configuration(speaker));
        let socket = directory.file("zebra.api");
        std::fs::remove_file(&socket).ok();
        let start = |program: &str, configuration: &str| {
            let mut command = place.namespace.command(format!("/usr/lib/frr/{program}"));
            let directory_path = directory.path();
            command.args(["--log", "stdout", "--vty_port", "0", "--socket", &socket, "--vty_socket"]);
            command.arg(directory_path).arg("--pid_file").arg(directory_path.join(format!("{program}.pid")));
            command.args(["--config_file", configuration]);
            Process::start(program, command, directory)
        };
        let zebra = start("zebra", &zebra_configuration);
        wait_for("zebra's socket", || {
            std::os::unix::net::UnixStream::connect(&socket).map(drop).map_err(|error| error.to_string())
        });
        vec![zebra, start("bgpd", &bgpd_configuration)]
    }

    fn ready(&self, place: &Place<'_>, _speaker: &Speaker) -> Result<(), String> {
        let shown = vtysh(place, "show bgp ipv4 unicast summary json")?;
        if shown.contains("routerId") || shown.trim() == "{}" { Ok(()) } else { Err(shown) }
    }

    fn established(&self, place: &Place<'_>, neighbor: IpAddr) -> Result<(), String> {
        let state = neighbor_of(place, neighbor)?["bgpState"].clone();
        if state == "Established" { Ok(()) } else { Err(state.to_string()) }
    }

    fn learned(&self, place: &Place<'_>, family: Family) -> Result<Rib, String> {
        let shown = vtysh(place, &format!("show bgp {} unicast json detail", family.name()))?;
        let shown: Value = serde_json::from_str(&shown).map_err(|error| format!("{error}: {shown}"))?;
        let mut rib = Rib::new();
        for (prefix, entries) in shown["routes"].as_object().into_iter().flatten() {
            let best =
                entries.as_array().into_iter().flatten().find(|path| path["bestpath"]["overall"] == true);
            if let Some(path) = best.filter(|path| path["sourced"] != true) {
                rib.insert(prefix.parse()?, read_path(path)?);
            }
        }
        Ok(rib)
    }

    fn request_refresh(&self, place: &Place<'_>, neighbor: IpAddr) -> Result<(), String> {
        let family = Family::of(neighbor).name();
        vtysh(place, &format!("clear bgp {family} unicast {neighbor} soft in")).map(drop)
    }

    fn withdraw(&self, place: &Place<'_>, speaker: &Speaker, gone: &[Prefix]) -> Result<(), String> {
        for prefix in gone {
            let words = [
                "configure terminal".to_string(),
                format!("router bgp {}", speaker.asn),
                format!("address-family {} unicast", prefix.family().name()),
                format!("no network {prefix}"),
            ];
            vtysh_all(place, &words.each_ref().map(String::as_str))?;
        }
        Ok(())
    }

    fn updates_received(&self, place: &Place<'_>, neighbor: IpAddr) -> Result<u64, String> {
        let shown = neighbor_of(place, neighbor)?;
        let count = &shown["messageStats"]["updatesRecv"];
        count.as_u64().ok_or_else(|| format!("no count of updates in {shown}"))
    }
}

fn vtysh(place: &Place<'_>, words: &str) -> Result<String, String> {
    vtysh_all(place, &[words])
}

/// Runs commands one after the other, each where the one before has led.
fn vtysh_all(place: &Place<'_>, commands: &[&str]) -> Result<String, String> {
    let mut command = place.namespace.command("vtysh");
    let directory = place.directory.path();
    command.arg("--vty_socket").arg(directory).arg("--config_dir").arg(directory).args(["-d", "bgpd"]);
    for words in commands {
        command.args(["-c", words]);
    }
    place.run(command)
}

fn neighbor_of(place: &Place<'_>, neighbor: IpAddr) -> Result<Value, String> {
    let shown = vtysh(place, &format!("show bgp neighbors {neighbor} json"))?;
    let shown: Value = serde_json::from_str(&shown).map_err(|error| format!("{error}: {shown}"))?;
    Ok(shown[neighbor.to_string()].clone())
}

fn configuration(speaker: &Speaker) -> String {
    let mut text = format!(
        "router bgp {}\n bgp router-id {}\n bgp cluster-id {1}\n no bgp ebgp-requires-policy\n \
         no bgp network import-check\n no bgp default ipv4-unicast\n",
        speaker.asn, speaker.router_id
    );
    if let Some(range) = speaker.client_range {
        let _ = write!(
            text,
            " neighbor CLIENTS peer-group\n neighbor CLIENTS remote-as {}\n bgp listen limit 65535\n \
             bgp listen range {range} peer-group CLIENTS\n",
            speaker.asn
        );
    }
    for neighbor in &speaker.neighbors {
        let address = neighbor.address;
        let _ = write!(
            text,
            " neighbor {address} remote-as {}\n neighbor {address} update-source {}\n \
             neighbor {address} timers connect 1\n",
            neighbor.asn, neighbor.local_address
        );
        if neighbor.passive {
            let _ = writeln!(text, " neighbor {address} passive");
        }
        if let Some(key) = &neighbor.md5 {
            let _ = writeln!(text, " neighbor {address} password {key}");
        }
        if neighbor.graceful_restart {
            let _ = writeln!(text, " neighbor {address} graceful-restart");
        }
        if neighbor.extended_next_hop {
            let _ = writeln!(text, " neighbor {address} capability extended-nexthop");
        }
    }
    for family in [Family::Ipv4, Family::Ipv6] {
        let _ = writeln!(text, " address-family {} unicast", family.name());
        for neighbor in speaker.neighbors.iter().filter(|neighbor| neighbor.families.contains(&family)) {
            let _ = writeln!(text, "  neighbor {} activate", neighbor.address);
            if neighbor.reflector_client {
                let _ = writeln!(text, "  neighbor {} route-reflector-client", neighbor.address);
            }
        }
        if speaker.client_range.is_some_and(|range| range.family() == family) {
            text += "  neighbor CLIENTS activate\n  neighbor CLIENTS route-reflector-client\n";
        }
        for (index, route) in speaker.routes_of(family).enumerate() {
            let _ = writeln!(text, "  network {} route-map {}-{index}", route.prefix, family.name());
        }
        text += " exit-address-family\n";
    }
    for family in [Family::Ipv4, Family::Ipv6] {
        for (index, route) in speaker.routes_of(family).enumerate() {
            let _ = writeln!(text, "route-map {}-{index} permit 10", family.name());
            text += &set_lines(route);
        }
    }
    text
}

fn set_lines(route: &Route) -> String {
    let mut text = format!(" set origin {}\n", route.origin.name());
    if !route.as_path.is_empty() {
        let path: Vec<String> = route.sequence().iter().map(u32::to_string).collect();
        let _ = writeln!(text, " set as-path prepend {}", path.join(" "));
    }
    for (kind, of_kind) in [("rt", true), ("soo", false)] {
        let of_kind = |community: &&Extended| matches!(community, Extended::Target(..)) == of_kind;
        let list: Vec<String> =
            route.extended.iter().filter(of_kind).map(|community| community.show("", "", "", ":")).collect();
        if !list.is_empty() {
            let _ = writeln!(text, " set extcommunity {kind} {}", list.join(" "));
        }
    }
    if let Some(med) = route.med {
        let _ = writeln!(text, " set metric {med}");
    }
    if let Some(local_pref) = route.local_pref {
        let _ = writeln!(text, " set local-preference {local_pref}");
    }
    if !route.communities.is_empty() {
        text += " set community";
        for (asn, value) in &route.communities {
            let _ = write!(text, " {asn}:{value}");
        }
        text += "\n";
    }
    if !route.large.is_empty() {
        text += " set large-community";
        for (asn, first, second) in &route.large {
            let _ = write!(text, " {asn}:{first}:{second}");
        }
        text += "\n";
    }
    text
}

fn read_path(path: &Value) -> Result<Learned, String> {
    let next_hops = path["nexthops"].as_array().ok_or_else(|| format!("no next hops in {path}"))?;
    // Of an IPv6 pair the link-local one may be the one in use; the global one is what was announced.
    let next_hop = next_hops
        .iter()
        .find(|next_hop| next_hop["scope"] != "link-local")
        .and_then(|next_hop| next_hop["ip"].as_str())
        .and_then(|address| address.parse().ok())
        .ok_or_else(|| format!("no next hop in {path}"))?;
    let mut learned = Learned::with_next_hop(next_hop);
    for segment in path["aspath"]["segments"].as_array().into_iter().flatten() {
        let members = segment["list"].as_array().into_iter().flatten();
        let mut members =
            members.map(|asn| asn.as_u64().map(|asn| asn as u32).ok_or_else(|| format!("not an AS: {asn}")));
        if segment["type"] == "as-set" {
            learned.as_path.push(Hop::Set(members.collect::<Result<_, _>>()?));
        } else {
            members.try_for_each(|asn| asn.map(|asn| learned.as_path.push(Hop::As(asn))))?;
        }
    }
    for community in items(path["extendedCommunity"]["string"].as_str().unwrap_or_default()) {
        let (kind, value) =
            community.split_once(':').ok_or_else(|| format!("not understood: {community}"))?;
        learned.extended.insert(Extended::parse(kind, value)?);
    }
    let aggregator_id = path["aggregatorId"].as_str().and_then(|id| id.parse().ok());
    learned.rare.aggregator = path["aggregatorAs"].as_u64().map(|asn| asn as u32).zip(aggregator_id);
    learned.rare.atomic_aggregate = path["atomicAggregate"] == true;
    learned.origin = Origin::parse(path["origin"].as_str().unwrap_or_default())?;
    learned.local_pref = path["locPrf"].as_u64().unwrap_or(100) as u32;
    learned.med = path["metric"].as_u64().unwrap_or(0) as u32;
    learned.communities = parse_communities(path["community"]["string"].as_str().unwrap_or_default())?;
    learned.large = parse_large(path["largeCommunity"]["string"].as_str().unwrap_or_default())?;
    learned.originator_id = path["originatorId"].as_str().and_then(|id| id.parse().ok());
    learned.cluster_list = path["clusterList"]["list"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|id| id.as_str().and_then(|id| id.parse().ok()))
        .collect();
    Ok(learned)
}
