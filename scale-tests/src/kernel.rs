//! What the kernel's routing table holds: how much of it, cheaply, and all of it, with `ip route`.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::fd::FromRawFd;

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

/// Asks the kernel of a namespace for single IPv4 routes: microseconds, where counting a large table takes
/// milliseconds during which the kernel cannot free what the writer under test has replaced.
#[derive(Debug)]
pub struct Lookup {
    socket: std::fs::File,
}

impl Lookup {
    /// Opens a socket inside the namespace.
    ///
    /// # Panics
    /// When the system refuses it.
    pub fn open(namespace: &Namespace) -> Lookup {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        // SAFETY: socket takes no pointers.
        let fd = namespace.enter(|| unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_ROUTE) });
        assert!(fd >= 0, "a netlink socket: {}", io::Error::last_os_error());
        // SAFETY: the descriptor was just made and belongs to nobody else.
        Lookup { socket: unsafe { std::fs::File::from_raw_fd(fd) } }
    }

    /// Whether packets to the prefix's first address follow a route of its length: so long as nothing longer
    /// begins there, whether the prefix has a route.
    ///
    /// # Panics
    /// When the socket fails.
    pub fn holds(&mut self, prefix: Key) -> bool {
        const RTM_NEWROUTE: u16 = 24;
        const RTM_GETROUTE: u16 = 26;
        const RTM_F_FIB_MATCH: u32 = 0x2000;
        const RTA_DST: u16 = 1;
        const LENGTH: u32 = 36;
        let (address, length) = ((prefix >> 8) as u32, prefix as u8);
        // struct nlmsghdr, struct rtmsg, and the destination as an attribute (rtnetlink(7)).
        let mut request = Vec::with_capacity(LENGTH as usize);
        request.extend_from_slice(&LENGTH.to_ne_bytes());
        request.extend_from_slice(&RTM_GETROUTE.to_ne_bytes());
        request.extend_from_slice(&(libc::NLM_F_REQUEST as u16).to_ne_bytes());
        request.extend_from_slice(&[0; 8]);
        request.extend_from_slice(&[libc::AF_INET as u8, 32, 0, 0, 0, 0, 0, 0]);
        request.extend_from_slice(&RTM_F_FIB_MATCH.to_ne_bytes());
        request.extend_from_slice(&8u16.to_ne_bytes());
        request.extend_from_slice(&RTA_DST.to_ne_bytes());
        request.extend_from_slice(&address.to_be_bytes());
        self.socket.write_all(&request).unwrap_or_else(|error| panic!("asking for a route: {error}"));
        let mut reply = [0; 4096];
        let count = self.socket.read(&mut reply).unwrap_or_else(|error| panic!("reading a route: {error}"));
        // The length of the destination is the second octet of struct rtmsg.
        count > 17 && reply[4..6] == RTM_NEWROUTE.to_ne_bytes() && reply[17] == length
    }
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
