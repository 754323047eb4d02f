//! BIRD 2: `bird -f`, read with `birdc`.

use std::fmt::Write;
use std::net::IpAddr;

use super::{
    Dialect, Extended, Family, Learned, Neighbor, Origin, Place, Prefix, Rib, Route, Speaker, UNASSIGNED,
    Unknown, parse_as_path, parse_communities, parse_hex, parse_large,
};
use crate::process::Process;

pub(super) struct Bird;

impl Dialect for Bird {
    fn start(&self, place: &Place<'_>, speaker: &Speaker, after_crash: bool) -> Vec<Process> {
        let configuration = place.directory.write("bird.conf", &configuration(speaker));
        let mut command = place.namespace.command("bird");
        command.args(["-f", "-c", &configuration, "-s", &place.directory.file("bird.ctl")]);
        if after_crash {
            command.arg("-R");
        }
        vec![Process::start("bird", command, &place.directory)]
    }

    fn ready(&self, place: &Place<'_>, _speaker: &Speaker) -> Result<(), String> {
        birdc(place, &["show", "status"]).map(drop)
    }

    fn established(&self, place: &Place<'_>, neighbor: IpAddr) -> Result<(), String> {
        let shown = birdc(place, &["show", "protocols", "all", &protocol_name(neighbor)])?;
        let state = shown.lines().find(|line| line.contains("BGP state:")).unwrap_or(&shown);
        if state.contains("Established") { Ok(()) } else { Err(state.trim().to_string()) }
    }

    fn learned(&self, place: &Place<'_>, family: Family) -> Result<Rib, String> {
        let table = table(family);
        let shown =
            birdc(place, &["show", "route", "primary", "all", "table", table, "where", "source = RTS_BGP"])?;
        parse_routes(&shown)
    }

    fn request_refresh(&self, place: &Place<'_>, neighbor: IpAddr) -> Result<(), String> {
        birdc(place, &["reload", "in", &protocol_name(neighbor)]).map(drop)
    }

    fn withdraw(&self, place: &Place<'_>, speaker: &Speaker, _gone: &[Prefix]) -> Result<(), String> {
        place.directory.write("bird.conf", &configuration(speaker));
        birdc(place, &["configure"]).map(drop)
    }

    fn updates_received(&self, place: &Place<'_>, neighbor: IpAddr) -> Result<u64, String> {
        let shown = birdc(place, &["show", "protocols", "all", &protocol_name(neighbor)])?;
        // BIRD counts routes, not messages: a repeated route counts again.
        let count = shown.lines().find(|line| line.contains("Import updates:"));
        let count = count.and_then(|line| line.split_whitespace().nth(2)).and_then(|word| word.parse().ok());
        count.ok_or_else(|| format!("no count of updates in {shown}"))
    }
}

fn birdc(place: &Place<'_>, words: &[&str]) -> Result<String, String> {
    let mut command = place.namespace.command("birdc");
    command.args(["-s", &place.directory.file("bird.ctl")]).args(words);
    place.run(command)
}

fn table(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "master4",
        Family::Ipv6 => "master6",
    }
}

fn protocol_name(neighbor: IpAddr) -> String {
    format!("bgp_{}", neighbor.to_string().replace(['.', ':'], "_"))
}

fn configuration(speaker: &Speaker) -> String {
    let mut text = format!(
        "log stderr all;\nrouter id {};\ntimeformat base iso long;\nprotocol device {{ }}\n\
         protocol direct {{ ipv4; ipv6; }}\n",
        speaker.router_id
    );
    let graceful = speaker.neighbors.iter().any(|neighbor| neighbor.graceful_restart);
    if graceful {
        text += "graceful restart wait 30;\n";
    }
    for gateway in &speaker.resolve_through {
        // Without a table apart every change of the main table makes BIRD resolve every next hop anew.
        let family = Family::of(*gateway).name();
        let everything = if gateway.is_ipv4() { "0.0.0.0/0" } else { "::/0" };
        let _ = write!(
            text,
            "{family} table resolve_{family};\nprotocol static {{ {family} {{ table resolve_{family}; }}; \
             route {everything} via {gateway}; }}\n"
        );
    }
    for family in [Family::Ipv4, Family::Ipv6] {
        let _ = writeln!(text, "protocol static {{ {};", family.name());
        for route in speaker.routes_of(family) {
            text += &static_route(route);
        }
        text += "}\n";
        if speaker.install {
            let _ = writeln!(
                text,
                "protocol kernel {{ {} {{ import none; export where source = RTS_BGP; }}; }}",
                family.name()
            );
        }
    }
    for neighbor in &speaker.neighbors {
        text += &bgp(speaker, neighbor);
    }
    if let Some(range) = speaker.client_range {
        let _ = writeln!(
            text,
            "protocol bgp {{ dynamic name \"client\"; local as {0}; neighbor range {range} as {0}; rr client; \
             passive; {1} }}",
            speaker.asn,
            channel(speaker, range.family(), false)
        );
    }
    text
}

fn static_route(route: &Route) -> String {
    let origin = route.origin.name().to_ascii_uppercase();
    let mut text = format!("  route {} blackhole {{ bgp_origin = ORIGIN_{origin};", route.prefix);
    for asn in route.sequence().iter().rev() {
        let _ = write!(text, " bgp_path.prepend({asn});");
    }
    for community in &route.extended {
        let _ = write!(text, " bgp_ext_community.add(({}));", community.show("rt", "ro", ",", ","));
    }
    if let Some(local_pref) = route.local_pref {
        let _ = write!(text, " bgp_local_pref = {local_pref};");
    }
    for (asn, value) in &route.communities {
        let _ = write!(text, " bgp_community.add(({asn},{value}));");
    }
    for (asn, first, second) in &route.large {
        let _ = write!(text, " bgp_large_community.add(({asn},{first},{second}));");
    }
    text + " };\n"
}

fn channel(speaker: &Speaker, family: Family, extended_next_hop: bool) -> String {
    let mut text = format!("{} {{ import all; export filter {{", family.name());
    for route in speaker.routes_of(family) {
        // A MED that was set earlier would not leave the AS.
        if let Some(med) = route.med {
            let _ = write!(text, " if net = {} then bgp_med = {med};", route.prefix);
        }
    }
    text += " if source = RTS_STATIC || source = RTS_BGP then accept; reject; };";
    if speaker.resolve_through.iter().any(|gateway| Family::of(*gateway) == family) {
        let _ = write!(text, " igp table resolve_{};", family.name());
    }
    if extended_next_hop && family == Family::Ipv4 {
        text += " extended next hop on;";
    }
    text + " };"
}

fn bgp(speaker: &Speaker, neighbor: &Neighbor) -> String {
    let mut text = format!(
        "protocol bgp {} {{\n  local {} as {};\n  neighbor {} as {};\n  connect delay time 1;\n  \
         connect retry time 1;\n  error wait time 1, 2;\n",
        protocol_name(neighbor.address),
        neighbor.local_address,
        speaker.asn,
        neighbor.address,
        neighbor.asn
    );
    if neighbor.passive {
        text += "  passive;\n";
    }
    if neighbor.reflector_client {
        text += "  rr client;\n";
    }
    if let Some(key) = &neighbor.md5 {
        let _ = writeln!(text, "  password \"{key}\";");
    }
    if neighbor.graceful_restart {
        text += "  graceful restart on;\n  graceful restart time 30;\n";
    }
    for family in &neighbor.families {
        let _ = writeln!(text, "  {}", channel(speaker, *family, neighbor.extended_next_hop));
    }
    text + "}\n"
}

/// Reads `show route all`: a line with the prefix, then one indented line for each attribute.
fn parse_routes(shown: &str) -> Result<Rib, String> {
    let mut rib = Rib::new();
    let mut current: Option<Prefix> = None;
    for line in shown.lines() {
        if let Some(first) = line.split_whitespace().next()
            && !line.starts_with([' ', '\t'])
        {
            current = first.parse().ok();
            continue;
        }
        let (Some(prefix), Some((key, value))) = (current, line.split_once(':')) else { continue };
        let value = value.trim();
        let entry = rib.entry(prefix).or_insert_with(|| Learned::with_next_hop(IpAddr::from([0, 0, 0, 0])));
        read_attribute(entry, key.trim(), value)?;
    }
    Ok(rib)
}

fn read_attribute(entry: &mut Learned, key: &str, value: &str) -> Result<(), String> {
    let number = |text: &str| text.parse().map_err(|_| format!("not a number: {key}: {value}"));
    match key {
        "BGP.origin" => entry.origin = Origin::parse(value)?,
        "BGP.as_path" => entry.as_path = parse_as_path(value)?,
        "BGP.next_hop" => {
            let first = value.split_whitespace().next().unwrap_or("");
            entry.next_hop = first.parse().map_err(|_| format!("not a next hop: {value}"))?;
        }
        "BGP.local_pref" => entry.local_pref = number(value)?,
        "BGP.med" => entry.med = number(value)?,
        "BGP.community" => entry.communities = parse_communities(&in_parentheses(value))?,
        "BGP.ext_community" => {
            for item in value.split(')').filter_map(|item| item.split_once('(')) {
                let (kind, value) =
                    item.1.split_once(',').ok_or_else(|| format!("not understood: {value}"))?;
                let value = value.replace(',', ":").replace(' ', "");
                entry.extended.insert(Extended::parse(kind, &value)?);
            }
        }
        "BGP.aggregator" => {
            let parts = value.split_once(" AS").ok_or_else(|| format!("not an aggregator: {value}"))?;
            let router_id = parts.0.parse().map_err(|_| format!("not an aggregator: {value}"))?;
            entry.rare.aggregator = Some((number(parts.1)?, router_id));
        }
        "BGP.atomic_aggr" => entry.rare.atomic_aggregate = true,
        "BGP.large_community" => entry.large = parse_large(&in_parentheses(value))?,
        "BGP.originator_id" => {
            entry.originator_id = Some(value.parse().map_err(|_| format!("not an identifier: {value}"))?);
        }
        "BGP.cluster_list" => {
            entry.cluster_list = value
                .split_whitespace()
                .map(|id| id.parse().map_err(|_| format!("not a cluster list: {value}")))
                .collect::<Result<_, _>>()?;
        }
        // Long values are shown in part; the Partial bit is not shown at all.
        _ if key == format!("BGP.{UNASSIGNED:02x} [t]") && !value.ends_with("...") => {
            entry.rare.unknown = Some(Unknown { value: parse_hex(value)?, partial: true });
        }
        _ => {}
    }
    Ok(())
}

/// `(1,2) (3,4)` or `(1, 2, 3)` as `1:2 3:4` or `1:2:3`.
fn in_parentheses(value: &str) -> String {
    value.replace(", ", ":").replace(',', ":").replace(['(', ')'], "")
}
