//! What a network is to look like: speakers, links, what each end of a link filters, what each speaker originates;
//! and the configuration files that say so.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::IpAddr;
use std::path::Path;

use super::Random;
use crate::config::{self, Config};
use crate::types::*;

/// How many prefixes of each family there are to originate.
const PREFIXES_PER_FAMILY: u64 = 8;

/// One speaker.
pub struct NodePlan {
    pub asn: u32,
    /// What it originates, with a community that tells one version from the next.
    pub networks: BTreeMap<Prefix, u16>,
}

/// One end of a link: what its speaker is told about the other one.
#[derive(Clone, Default)]
pub struct EndPlan {
    pub node: usize,
    /// The peer stands in the configuration.
    pub configured: bool,
    /// The peer is kept down by the configuration.
    pub shutdown: bool,
    pub passive: bool,
    /// The other one is a dynamic peer: it stands in a range of its own and must dial.
    pub dynamic: bool,
    /// The other one is a client (RFC 4456).
    pub client: bool,
    pub graceful_restart: bool,
    /// Prefixes that the other one is not told.
    pub hidden_out: BTreeSet<Prefix>,
    /// Prefixes that are not let in.
    pub hidden_in: BTreeSet<Prefix>,
    /// How often our AS is prepended beyond the once that eBGP asks for.
    pub prepend: u8,
}

/// Two speakers that peer.
pub struct LinkPlan {
    pub ends: [EndPlan; 2],
    /// IPv6 transport and both families, or IPv4 transport and IPv4 only.
    pub ipv6: bool,
}

pub struct Plan {
    pub nodes: Vec<NodePlan>,
    pub links: Vec<LinkPlan>,
}

/// The prefixes that there are to originate.
pub fn any_prefix(random: &mut Random) -> Prefix {
    let index = random.below(PREFIXES_PER_FAMILY) as u8;
    match random.chance(2) {
        true => Prefix::V4(Prefix4::new(u32::from_be_bytes([10, 100, index, 0]), 24)),
        false => Prefix::V6(Prefix6::new((0x2001_0db8_0000 | u128::from(index)) << 80, 48)),
    }
}

/// Whether a prefix is announced with NO_EXPORT (RFC 1997). The same wherever it is originated.
pub fn stays_home(prefix: Prefix) -> bool {
    number(prefix) == PREFIXES_PER_FAMILY as u8 - 1
}

/// The MED that a prefix is announced with. The same wherever it is originated, because MEDs that differ may keep a
/// reflected network from settling (RFC 3345).
pub fn med(prefix: Prefix) -> Option<u32> {
    number(prefix).is_multiple_of(3).then_some(50)
}

fn number(prefix: Prefix) -> u8 {
    match prefix.addr() {
        IpAddr::V4(addr) => addr.octets()[2],
        IpAddr::V6(addr) => addr.octets()[5],
    }
}

impl Plan {
    /// A connected network of three to six speakers in two to four ASes; an AS is a single speaker, a full mesh, or
    /// a reflector with clients.
    pub fn random(random: &mut Random) -> Plan {
        let mut plan = Plan { nodes: Vec::new(), links: Vec::new() };
        let mut systems: Vec<Vec<usize>> = Vec::new();
        let sizes: &[usize] = match random.below(5) {
            0 => &[1, 1, 1],
            1 => &[3, 1],
            2 => &[2, 1, 1],
            3 => &[3, 1, 1],
            _ => &[3, 2, 1],
        };
        for (index, size) in sizes.iter().enumerate() {
            let first = plan.nodes.len();
            let members: Vec<usize> = (first..first + size).collect();
            for _ in &members {
                plan.nodes.push(NodePlan { asn: 65001 + index as u32, networks: BTreeMap::new() });
            }
            let reflects = *size > 2 && random.chance(2);
            for (position, member) in members.iter().enumerate() {
                for other in &members[..position] {
                    if reflects && *other != first {
                        continue;
                    }
                    plan.link(random, [*other, *member], true);
                    if reflects {
                        plan.links.last_mut().expect("was just made").ends[0].client = true;
                    }
                }
            }
            if let Some(earlier) = systems.last() {
                let pair = [random.of(earlier), random.of(&members)];
                plan.link(random, pair, false);
            }
            systems.push(members);
        }
        // Some more between ASes, so that there are detours and loops.
        for _ in 0..1 + random.below(3) {
            let (a, b) = (random.of(&systems), random.of(&systems));
            let pair = [random.of(&a), random.of(&b)];
            if a != b
                && !plan
                    .links
                    .iter()
                    .any(|link| pair.iter().all(|node| link.ends.iter().any(|end| end.node == *node)))
            {
                plan.link(random, pair, false);
            }
        }
        for node in 0..plan.nodes.len() {
            for _ in 0..random.below(4) {
                plan.nodes[node].networks.insert(any_prefix(random), 0);
            }
        }
        plan
    }

    fn link(&mut self, random: &mut Random, nodes: [usize; 2], internal: bool) {
        let mut end = |node| EndPlan {
            node,
            configured: true,
            graceful_restart: random.chance(2),
            ..EndPlan::default()
        };
        let mut ends = nodes.map(&mut end);
        if random.chance(4) {
            ends[random.below(2) as usize].passive = true;
        } else if random.chance(4) {
            ends[random.below(2) as usize].dynamic = true;
        }
        self.links.push(LinkPlan { ends, ipv6: internal || !random.chance(3) });
    }

    pub fn is_internal(&self, link: usize) -> bool {
        let [a, b] = &self.links[link].ends;
        self.nodes[a.node].asn == self.nodes[b.node].asn
    }

    /// Whether both ends want the session.
    pub fn is_wanted(&self, link: usize) -> bool {
        self.links[link].ends.iter().all(|end| end.configured && !end.shutdown)
    }

    /// The address of one end of a link.
    pub fn address(&self, link: usize, end: usize) -> IpAddr {
        let (link_octet, host) = (link as u8, end as u8 + 1);
        match self.links[link].ipv6 {
            true => IpAddr::from([0xfd00, 0, 0, link as u16, 0, 0, 0, u16::from(host)]),
            false => IpAddr::from([10, 0, link_octet, host]),
        }
    }

    /// Which end of which link has an address.
    pub fn end_with(&self, address: IpAddr) -> Option<(usize, usize)> {
        (0..self.links.len())
            .flat_map(|link| [(link, 0), (link, 1)])
            .find(|(link, end)| self.address(*link, *end) == address)
    }

    pub fn router_id(&self, node: usize) -> RouterId {
        RouterId(u32::from_be_bytes([10, 255, 0, node as u8 + 1]))
    }

    /// The configuration of one speaker.
    pub fn config(&self, node: usize) -> Config {
        let mut text = String::new();
        self.write_config(node, &mut text).expect("a string takes everything");
        config::parse(&text, "simulated.toml", Path::new("."))
            .unwrap_or_else(|errors| panic!("{errors}\n{text}"))
    }

    fn write_config(&self, node: usize, text: &mut String) -> std::fmt::Result {
        let it = &self.nodes[node];
        writeln!(text, "[speaker]\nasn = {}\nrouter_id = \"{}\"", it.asn, self.router_id(node))?;
        for (prefix, version) in &it.networks {
            writeln!(text, "[[network]]\nprefix = \"{prefix}\"")?;
            let no_export = if stays_home(*prefix) { ", \"no-export\"" } else { "" };
            writeln!(text, "communities = [\"{}:{version}\"{no_export}]", it.asn)?;
            if let Some(med) = med(*prefix) {
                writeln!(text, "med = {med}")?;
            }
        }
        for (index, link) in self.links.iter().enumerate() {
            for (at, end) in
                link.ends.iter().enumerate().filter(|(_, end)| end.node == node && end.configured)
            {
                self.write_peer(index, at, end, text)?;
            }
        }
        Ok(())
    }

    fn write_peer(&self, index: usize, at: usize, end: &EndPlan, text: &mut String) -> std::fmt::Result {
        let other = &self.nodes[self.links[index].ends[1 - at].node];
        let address = self.address(index, 1 - at);
        match end.dynamic {
            true => writeln!(text, "[[dynamic_peer]]\nrange = \"{}\"\nlimit = 1", Prefix::host(address))?,
            false => writeln!(text, "[[peer]]\naddress = \"{address}\"")?,
        }
        writeln!(text, "asn = {}", other.asn)?;
        let families =
            if self.links[index].ipv6 { "\"ipv4-unicast\", \"ipv6-unicast\"" } else { "\"ipv4-unicast\"" };
        writeln!(text, "families = [{families}]\nextended_next_hop = {}", self.links[index].ipv6)?;
        writeln!(text, "hold_time_s = 9\nconnect_retry_s = 2\npassive = {}", end.passive)?;
        if end.client {
            writeln!(text, "route_reflector_client = true")?;
        }
        if end.shutdown {
            writeln!(text, "shutdown = \"a person says so\"")?;
        }
        writeln!(text, "import = \"from-{index}\"\nexport = \"to-{index}\"")?;
        let enabled = end.graceful_restart;
        writeln!(
            text,
            "graceful_restart = {{ enabled = {enabled}, restart_time_s = 15, stale_time_s = 15 }}"
        )?;
        for (direction, hidden) in [("from", &end.hidden_in), ("to", &end.hidden_out)] {
            let members: Vec<String> = hidden.iter().map(|prefix| format!("\"{prefix}\"")).collect();
            writeln!(text, "[[policy]]\nname = \"{direction}-{index}\"\ndefault = \"accept\"")?;
            if !members.is_empty() {
                writeln!(
                    text,
                    "[[policy.rule]]\nmatch = {{ prefix_set = \"{direction}-{index}\" }}\nthen = \"reject\""
                )?;
                writeln!(
                    text,
                    "[[prefix_set]]\nname = \"{direction}-{index}\"\nprefixes = [{}]",
                    members.join(", ")
                )?;
            }
            if direction == "to" && end.prepend > 0 {
                writeln!(
                    text,
                    "[[policy.rule]]\nset = {{ prepend = {{ asn = \"own\", count = {} }} }}",
                    end.prepend
                )?;
                writeln!(text, "then = \"accept\"")?;
            }
        }
        Ok(())
    }
}
