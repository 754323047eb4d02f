//! What the kernel's routing table holds: how much of it, cheaply, and all of it, with `ip route`.

use std::collections::HashMap;
use std::io::Read;
use std::net::IpAddr;

use crate::bgp::message::{Key, key, show_key};
use crate::netns::Namespace;

/// The number of IPv4 routes in a namespace's main table, counted by the kernel, which is far cheaper than a dump.
/// Until there are rules the local table is part of it, and shown as if it were the same again.
pub fn count(namespace: &Namespace) -> usize {
    let mut text = String::new();
    namespace.enter(|| {
        std::fs::File::open("/proc/thread-self/net/fib_triestat")
            .and_then(|mut file| file.read_to_string(&mut text))
            .unwrap_or_else(|error| panic!("/proc/net/fib_triestat: {error}"))
    });
    let count = |line: &str| line.trim().strip_prefix("Prefixes:")?.trim().parse::<usize>().ok();
    text.lines().skip_while(|line| line.trim() != "Main:").find_map(count).unwrap_or(0)
}

/// The IPv4 routes of the main table that have a gateway or a device, and their gateway, if they have one.
/// Next-hop objects are resolved.
pub fn routes(namespace: &Namespace) -> HashMap<Key, Option<IpAddr>> {
    let mut gateways = HashMap::new();
    for line in namespace.ip(&["nexthop", "show"]).lines() {
        if let (Some(id), gateway) = (word_after(line, "id"), word_after(line, "via")) {
            gateways.insert(id.to_string(), gateway.and_then(|gateway| gateway.parse().ok()));
        }
    }
    let mut routes = HashMap::new();
    for line in namespace.ip(&["-4", "route", "show", "table", "main"]).lines() {
        let Some(prefix) = line.split_whitespace().next().and_then(parse_prefix) else { continue };
        let gateway = match word_after(line, "nhid") {
            Some(id) if gateways.contains_key(id) => gateways[id],
            _ => word_after(line, "via").and_then(|gateway| gateway.parse().ok()),
        };
        routes.insert(prefix, gateway);
    }
    routes
}

fn word_after<'l>(line: &'l str, key: &str) -> Option<&'l str> {
    let mut words = line.split_whitespace();
    words.find(|word| *word == key)?;
    words.next()
}

/// `ip` leaves the length of host routes away, and has a word for 0.0.0.0/0.
fn parse_prefix(text: &str) -> Option<Key> {
    let (address, length) = text.split_once('/').unwrap_or((text, "32"));
    match address {
        "default" => Some(key([0, 0, 0, 0].into(), 0)),
        _ => Some(key(address.parse().ok()?, length.parse().ok()?)),
    }
}

/// Compares the main table with what it should hold: every route through its gateway. Other routes than these
/// are not looked at.
///
/// # Errors
/// How many routes are wrong, and the first few.
pub fn verify(namespace: &Namespace, wanted: &HashMap<Key, IpAddr>) -> Result<(), String> {
    let held = routes(namespace);
    let wrong: Vec<String> = wanted
        .iter()
        .filter(|(key, gateway)| held.get(key) != Some(&Some(**gateway)))
        .map(|(key, gateway)| format!("{} via {:?}, not {gateway}", show_key(*key), held.get(key)))
        .collect();
    if wrong.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{} of {} routes wrong in the kernel: {:#?}",
        wrong.len(),
        wanted.len(),
        &wrong[..wrong.len().min(5)]
    ))
}
