//! What a network at rest must hold, found without the code under test.
//!
//! Two questions. From link to link: has each speaker from its neighbour exactly what that neighbour's best routes
//! become on the way, attribute by attribute? And over the whole network: is a prefix known wherever a shortest-path
//! search over the ASes reaches it, nowhere else, and at that length?

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::network::Network;
use super::plan::{Plan, stays_home};
use crate::rib::Path;
use crate::types::*;
use crate::wire::PathAttributes;

/// NO_EXPORT (RFC 1997).
const NO_EXPORT: u32 = 0xffff_ff01;

/// A route as a speaker has it.
#[derive(Clone, Debug, PartialEq)]
struct Route {
    as_path: Vec<u32>,
    med: Option<u32>,
    local_pref: Option<u32>,
    communities: Vec<u32>,
    originator: Option<RouterId>,
    clusters: Vec<RouterId>,
    next_hop: IpAddr,
}

impl Network {
    fn route(&self, node: usize, path: Path) -> Route {
        let rib = &self.nodes[node].speaker.rib;
        let attributes = PathAttributes::new(rib.attrs().block(path.attrs));
        Route {
            as_path: attributes.as_path().asns().collect(),
            med: attributes.med(),
            local_pref: attributes.local_pref(),
            communities: attributes.communities().collect(),
            originator: attributes.originator_id(),
            clusters: attributes.cluster_list().collect(),
            next_hop: rib.attrs().next_hop(path.attrs).addr,
        }
    }

    /// Every destination of a speaker that has paths.
    fn destinations(&self, node: usize) -> impl Iterator<Item = (Prefix, Family, DestId)> + '_ {
        let rib = &self.nodes[node].speaker.rib;
        Family::ALL.into_iter().flat_map(move |family| {
            let dests = (0..rib.dest_end(family)).map(DestId);
            let live = dests.filter(move |dest| rib.paths(family, *dest).next().is_some());
            live.map(move |dest| (rib.prefix(family, dest), family, dest))
        })
    }

    /// Panics unless the network has settled as it must.
    pub fn check_settled(&self) {
        for link in 0..self.plan.links.len() {
            assert_eq!(self.is_up(link), self.plan.is_wanted(link), "link {link}");
        }
        for node in 0..self.nodes.len() {
            self.check_origination(node);
        }
        for link in (0..self.plan.links.len()).filter(|link| self.plan.is_wanted(*link)) {
            for end in 0..2 {
                self.check_told(link, end);
            }
        }
        self.check_reachability();
    }

    /// No stale path, no path of a peer that is not up, and of our own exactly what the configuration says.
    fn check_origination(&self, node: usize) {
        let speaker = &self.nodes[node].speaker;
        let mut own = Vec::new();
        for (prefix, family, dest) in self.destinations(node) {
            for path in speaker.rib.paths(family, dest) {
                assert!(!path.stale, "speaker {node} has a stale path to {prefix}");
                if path.peer == PeerId::LOCAL {
                    let version = self.plan.nodes[node].networks.get(&prefix).copied();
                    let communities = self.route(node, path).communities;
                    let said = version.map(|version| self.plan.nodes[node].asn << 16 | u32::from(version));
                    assert_eq!(communities.first().copied(), said, "speaker {node} originates {prefix}");
                    own.push(prefix);
                } else {
                    let peer = speaker.peers[path.peer.index()].as_ref();
                    let up = peer.is_some_and(|peer| peer.import.is_some());
                    assert!(up, "speaker {node} has {prefix} of a peer that is not up");
                }
            }
        }
        own.sort();
        assert!(own.iter().eq(self.plan.nodes[node].networks.keys()), "speaker {node} originates {own:?}");
        for peer in speaker.peers.iter().flatten() {
            assert_eq!(peer.session.retained().0, FamilySet::EMPTY, "{} is still waited for", peer.address);
        }
    }

    /// One end of a link has exactly what the other end's best routes become.
    fn check_told(&self, link: usize, end: usize) {
        let plan = &self.plan;
        let [giver, taker] = [1 - end, end].map(|end| plan.links[link].ends[end].node);
        let peer = |node: usize, end: usize| {
            self.nodes[node]
                .speaker
                .find_peer(plan.address(link, 1 - end))
                .expect("a wanted link has its peers")
        };
        let (to, from) = (peer(giver, 1 - end), peer(taker, end));
        let session = self.nodes[taker].speaker.peers[from.index()].as_ref().expect("it was just found");
        let families = session.session.negotiated().map(|negotiated| negotiated.families);
        assert_eq!(Some(session.end_of_rib), families, "End-of-RIB of {giver} over link {link}");
        let mut expected = BTreeMap::new();
        for (prefix, family, dest) in self.destinations(giver) {
            let best = self.nodes[giver].speaker.rib.best(family, dest);
            let best =
                best.unwrap_or_else(|| panic!("speaker {giver} has paths to {prefix}, and none is best"));
            self.check_best(giver, prefix, family, dest, best);
            if family == Family::Ipv6Unicast && !plan.links[link].ipv6 || best.peer == to {
                continue;
            }
            if let Some(route) = self.told(link, end, best, prefix) {
                expected.insert(prefix, route);
            }
        }
        let mut found = BTreeMap::new();
        for (prefix, family, dest) in self.destinations(taker) {
            let path = self.nodes[taker].speaker.rib.paths(family, dest).find(|path| path.peer == from);
            found.extend(path.map(|path| (prefix, self.route(taker, path))));
        }
        assert_eq!(
            found, expected,
            "what {taker} has (left) and should have (right) of {giver} over link {link}"
        );
    }

    /// RFC 4271 §9.1.2.2, as far as it does not depend on who came first: no other path is better.
    fn check_best(&self, node: usize, prefix: Prefix, family: Family, dest: DestId, best: Path) {
        let speaker = &self.nodes[node].speaker;
        let rank = |path: Path| {
            let route = self.route(node, path);
            let kind = speaker.rib.peer(path.peer).map(|peer| peer.kind);
            let kind = kind.unwrap_or_else(|| panic!("speaker {node} has {prefix} of nobody"));
            let local_pref = route.local_pref.unwrap_or(100);
            (kind != PeerKind::Local, u32::MAX - local_pref, route.as_path.len(), kind.is_internal())
        };
        for path in speaker.rib.paths(family, dest) {
            // The MED, which stands between the two, is the same for all paths to a prefix that have one.
            let (a, b) = (rank(best), rank(path));
            assert!((a.0, a.1, a.2) <= (b.0, b.1, b.2), "speaker {node}: the best path to {prefix} is not");
        }
    }

    /// What becomes of a speaker's best route on its way over a link to the other `end`: RFC 4271 §5.1 and §9.2,
    /// RFC 4456 §6 and §8, the policies of both ends.
    fn told(&self, link: usize, end: usize, best: Path, prefix: Prefix) -> Option<Route> {
        let plan = &self.plan;
        let [from, to] = [&plan.links[link].ends[1 - end], &plan.links[link].ends[end]];
        let giver = &self.nodes[from.node].speaker;
        let source = giver.rib.peer(best.peer)?;
        let mut route = self.route(from.node, best);
        let own_address = plan.address(link, 1 - end);
        let internal = plan.is_internal(link);
        if from.hidden_out.contains(&prefix) || to.hidden_in.contains(&prefix) {
            return None;
        }
        for _ in 0..from.prepend {
            route.as_path.insert(0, plan.nodes[from.node].asn);
        }
        if internal {
            let reflected = source.kind.is_internal();
            if reflected && source.kind != PeerKind::Client && !from.client {
                return None;
            }
            route.local_pref = route.local_pref.or(Some(100));
            if reflected {
                route.originator = route.originator.or(Some(source.router_id));
                route.clusters.insert(0, plan.router_id(from.node));
            }
            if source.kind == PeerKind::Local {
                route.next_hop = own_address;
            }
            let own_id = plan.router_id(to.node);
            if route.originator == Some(own_id) || route.clusters.contains(&own_id) {
                return None;
            }
        } else {
            if route.communities.contains(&NO_EXPORT) {
                return None;
            }
            route.as_path.insert(0, plan.nodes[from.node].asn);
            if source.kind != PeerKind::Local {
                route.med = None;
            }
            (route.local_pref, route.originator, route.clusters) = (None, None, Vec::new());
            route.next_hop = own_address;
            if route.as_path.contains(&plan.nodes[to.node].asn) {
                return None;
            }
        }
        (route.next_hop != plan.address(link, end)).then_some(route)
    }

    fn check_reachability(&self) {
        let mut lengths = BTreeMap::new();
        for origin in &self.plan.nodes {
            for prefix in origin.networks.keys() {
                lengths.entry(*prefix).or_insert_with(|| as_path_lengths(&self.plan, *prefix));
            }
        }
        for node in 0..self.nodes.len() {
            let asn = self.plan.nodes[node].asn;
            let reached = lengths.iter().filter_map(|(prefix, lengths)| Some((*prefix, *lengths.get(&asn)?)));
            let expected: BTreeMap<Prefix, usize> = reached.collect();
            let rib = &self.nodes[node].speaker.rib;
            let found: BTreeMap<Prefix, usize> = self
                .destinations(node)
                .filter_map(|(prefix, family, dest)| {
                    Some((prefix, self.route(node, rib.best(family, dest)?).as_path.len()))
                })
                .collect();
            assert_eq!(
                found, expected,
                "AS path lengths that speaker {node} has (left) and should have (right)"
            );
        }
    }

    /// Nothing is left of what was withdrawn.
    pub fn check_empty(&self) {
        for (index, node) in self.nodes.iter().enumerate() {
            let rib = &node.speaker.rib;
            for family in Family::ALL {
                assert_eq!(
                    rib.path_count_total(family),
                    0,
                    "paths that speaker {index} has left of {family}"
                );
                assert_eq!(
                    rib.dest_count(family),
                    0,
                    "destinations that speaker {index} has left of {family}"
                );
            }
            assert_eq!(rib.attrs().len(), 0, "attribute sets that speaker {index} has left");
            assert!(rib.next_hops().is_empty(), "next hops that speaker {index} has left");
        }
    }

    /// Nothing is left of the peers.
    pub fn check_lonely(&self) {
        for (index, node) in self.nodes.iter().enumerate() {
            assert!(node.speaker.peers.iter().all(Option::is_none), "speaker {index} has peers");
            assert_eq!(node.speaker.established_count, 0, "sessions of speaker {index}");
            assert_eq!(node.speaker.export.groups().count(), 0, "update groups of speaker {index}");
            assert_eq!(node.speaker.next_deadline(), None, "speaker {index} waits for something");
        }
    }
}

/// How long the AS path to a prefix is from each AS that it reaches: Bellman and Ford's search over the ASes, as an
/// AS whose sessions are up knows the same everywhere.
fn as_path_lengths(plan: &Plan, prefix: Prefix) -> BTreeMap<u32, usize> {
    let origins = plan.nodes.iter().filter(|node| node.networks.contains_key(&prefix));
    let mut lengths: BTreeMap<u32, usize> = origins.map(|node| (node.asn, 0)).collect();
    if stays_home(prefix) {
        return lengths;
    }
    for _ in 0..plan.nodes.len() {
        for (index, link) in plan.links.iter().enumerate() {
            let carries = link.ipv6 || prefix.family() == Family::Ipv4Unicast;
            if !carries || !plan.is_wanted(index) || plan.is_internal(index) {
                continue;
            }
            for (from, to) in [(&link.ends[0], &link.ends[1]), (&link.ends[1], &link.ends[0])] {
                let Some(length) = lengths.get(&plan.nodes[from.node].asn).copied() else { continue };
                if from.hidden_out.contains(&prefix) || to.hidden_in.contains(&prefix) {
                    continue;
                }
                let length = length + 1 + usize::from(from.prepend);
                let known = lengths.entry(plan.nodes[to.node].asn).or_insert(length);
                *known = (*known).min(length);
            }
        }
    }
    lengths
}
