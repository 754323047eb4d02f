//! kulan: `kulan run`, read with the field's own `gobgp`, so that kulan's own display is not its witness.

use std::fmt::Write;
use std::net::IpAddr;
use std::path::PathBuf;

use super::gobgp::{self, API, gobgp};
use super::{Dialect, Family, Neighbor, Place, Prefix, Rib, Route, Speaker};
use crate::process::Process;

pub(super) struct Kulan;

/// Where it listens for its own command, beside [`API`].
const SOCKET: &str = "kulan.sock";
const RANGE_KEY_FILE: &str = "clients.key";

impl Dialect for Kulan {
    fn start(&self, place: &Place<'_>, speaker: &Speaker, _after_crash: bool) -> Vec<Process> {
        for neighbor in &speaker.neighbors {
            if let Some(key) = &neighbor.md5 {
                place.directory.write(&key_file(neighbor), &format!("{key}\n"));
            }
        }
        if let Some(key) = &speaker.client_range_md5 {
            place.directory.write(RANGE_KEY_FILE, &format!("{key}\n"));
        }
        let configuration = write_configuration(place, speaker);
        let mut command = place.namespace.command(binary());
        command.args(["run", "--config", &configuration]);
        vec![Process::start("kulan", command, &place.directory)]
    }

    fn ready(&self, place: &Place<'_>, _speaker: &Speaker) -> Result<(), String> {
        gobgp(place, &["global"]).map(drop)
    }

    fn established(&self, place: &Place<'_>, neighbor: IpAddr) -> Result<(), String> {
        gobgp::established(place, neighbor)
    }

    fn learned(&self, place: &Place<'_>, family: Family) -> Result<Rib, String> {
        gobgp::learned(place, family)
    }

    fn request_refresh(&self, place: &Place<'_>, neighbor: IpAddr) -> Result<(), String> {
        gobgp(place, &["neighbor", &neighbor.to_string(), "softresetin"]).map(drop)
    }

    fn withdraw(&self, place: &Place<'_>, speaker: &Speaker, _gone: &[Prefix]) -> Result<(), String> {
        write_configuration(place, speaker);
        let mut command = place.namespace.command(binary());
        command.args(["--target", &format!("unix:{}", place.directory.file(SOCKET)), "reload"]);
        place.run(command).map(drop)
    }

    fn updates_received(&self, place: &Place<'_>, neighbor: IpAddr) -> Result<u64, String> {
        gobgp::updates_received(place, neighbor)
    }
}

/// The program under test: `KULAN_BIN`, or what was built last in the target directory of the running test.
///
/// # Panics
/// When there is none, saying how to get one.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("KULAN_BIN") {
        return PathBuf::from(path);
    }
    let test = std::env::current_exe().expect("the running program has a path");
    let target = test.ancestors().find(|path| path.join("CACHEDIR.TAG").is_file());
    let built = ["release/kulan", "debug/kulan"].into_iter().flat_map(|name| {
        let path = target?.join(name);
        let time = path.metadata().and_then(|file| file.modified()).ok()?;
        Some((time, path))
    });
    // Whichever was built last is what a person means.
    let newest = built.max_by_key(|(time, _)| *time);
    newest.map(|(_, path)| path).unwrap_or_else(|| {
        panic!("no kulan beside {}: `cargo build` it first, or set KULAN_BIN to its path", test.display())
    })
}

fn write_configuration(place: &Place<'_>, speaker: &Speaker) -> String {
    let socket = place.directory.file(SOCKET);
    place.directory.write("kulan.toml", &configuration(speaker, &socket))
}

fn key_file(neighbor: &Neighbor) -> String {
    format!("{}.key", neighbor.address)
}

fn families(families: &[Family]) -> String {
    let names: Vec<String> = families.iter().map(|family| format!("\"{}-unicast\"", family.name())).collect();
    names.join(", ")
}

fn configuration(speaker: &Speaker, socket: &str) -> String {
    let mut text = format!(
        "[speaker]\nasn = {}\nrouter_id = \"{}\"\n\n[api]\ngrpc = [\"unix:{socket}\", \"{API}\"]\n\n\
         [[domain]]\nname = \"default\"\ntable = 254\ninstall = {}\n",
        speaker.asn, speaker.router_id, speaker.install
    );
    for neighbor in &speaker.neighbors {
        text += &peer(neighbor);
    }
    if let Some(range) = speaker.client_range {
        let export = if speaker.routes.is_empty() { "" } else { "export = \"originating\"\n" };
        let key = match &speaker.client_range_md5 {
            Some(_) => format!("password_file = \"{RANGE_KEY_FILE}\"\n"),
            None => String::new(),
        };
        let _ = write!(
            text,
            "\n[[peer_group]]\nname = \"clients\"\nasn = \"internal\"\npassive = true\n\
             route_reflector_client = true\nfamilies = [{}]\n{export}{key}\
             \n[[dynamic_peer]]\nrange = \"{range}\"\ngroup = \"clients\"\nlimit = 100000\n",
            families(&[range.family()])
        );
    }
    for route in &speaker.routes {
        text += &network(route);
    }
    text + &originating_policy(&speaker.routes)
}

fn peer(neighbor: &Neighbor) -> String {
    let mut text = format!(
        "\n[[peer]]\naddress = \"{}\"\nsource = \"{}\"\nasn = {}\nfamilies = [{}]\nimport = \"accept\"\n\
         export = \"originating\"\nconnect_retry_s = 2\n",
        neighbor.address,
        neighbor.local_address,
        neighbor.asn,
        families(&neighbor.families)
    );
    if neighbor.passive {
        text += "passive = true\n";
    }
    if neighbor.reflector_client {
        text += "route_reflector_client = true\n";
    }
    if let Some(local_asn) = neighbor.local_asn {
        let _ = writeln!(text, "local_asn = {local_asn}");
    }
    if neighbor.extended_next_hop {
        text += "extended_next_hop = true\n";
    }
    if neighbor.md5.is_some() {
        let _ = writeln!(text, "password_file = \"{}\"", key_file(neighbor));
    }
    if neighbor.graceful_restart {
        text += "graceful_restart = { enabled = true, restart_time_s = 30 }\n";
    }
    text
}

fn network(route: &Route) -> String {
    let mut text = format!("\n[[network]]\nprefix = \"{}\"\n", route.prefix);
    if let Some(med) = route.med {
        let _ = writeln!(text, "med = {med}");
    }
    if !route.communities.is_empty() {
        let list: Vec<String> = route.communities.iter().map(|(a, b)| format!("\"{a}:{b}\"")).collect();
        let _ = writeln!(text, "communities = [{}]", list.join(", "));
    }
    text
}

/// What `[[network]]` has no key for is set on the way out, by a policy that looks at the prefix.
fn originating_policy(routes: &[Route]) -> String {
    let mut sets = String::new();
    let mut rules = String::new();
    for (index, route) in routes.iter().enumerate() {
        let mut changes = vec![format!("origin = \"{}\"", route.origin.name())];
        if let Some(local_pref) = route.local_pref {
            changes.push(format!("local_pref = {local_pref}"));
        }
        if !route.large.is_empty() {
            let list: Vec<String> = route.large.iter().map(|(a, b, c)| format!("\"{a}:{b}:{c}\"")).collect();
            changes.push(format!("large_communities = [{}]", list.join(", ")));
        }
        if !route.extended.is_empty() {
            let list: Vec<String> = route
                .extended
                .iter()
                .map(|community| format!("\"{}\"", community.show("rt", "soo", ":", ":")))
                .collect();
            changes.push(format!("ext_communities = [{}]", list.join(", ")));
        }
        let _ =
            write!(sets, "\n[[prefix_set]]\nname = \"route-{index}\"\nprefixes = [\"{}\"]\n", route.prefix);
        let mut rule = |set: &str, then: &str| {
            let _ = write!(
                rules,
                "[[policy.rule]]\nmatch = {{ prefix_set = \"route-{index}\" }}\nset = {{ {set} }}\n\
                 then = \"{then}\"\n"
            );
        };
        // A rule prepends one AS number; the first of the path is prepended last.
        for asn in route.sequence().iter().rev() {
            rule(&format!("prepend = {{ asn = {asn} }}"), "next");
        }
        rule(&changes.join(", "), "accept");
    }
    format!("{sets}\n[[policy]]\nname = \"originating\"\ndefault = \"accept\"\n{rules}")
}
