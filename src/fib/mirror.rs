//! The kernel's links, addresses and routes, as far as next hops are resolved through them.
//!
//! Filled by dumps and followed by notifications. Two things the kernel does silently are done here by
//! rule: an IPv4 route goes when its link goes down, and when the source address that it sets goes.
//! Routes with kulan's own protocol number are never taken in, so that a BGP route does not resolve
//! through a BGP route (RFC 4271 §9.1.2.1 leaves it to the implementation; a loop of two such routes
//! must not be possible).

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};

use foldhash::fast::FixedState;
use smallvec::SmallVec;

use super::netlink::{AddressView, LinkView, Object, RTN_UNICAST, RouteView, Via, Vias};
use super::prefix_map::PrefixMap;
use crate::types::{NextHop, Prefix};

/// The kernel's main table.
pub const TABLE_MAIN: u32 = 254;
/// The kernel's table of its own addresses.
pub const TABLE_LOCAL: u32 = 255;

/// The next-hop objects of the kernel by their ids.
pub type Objects = HashMap<u32, Object, FixedState>;

#[derive(Clone, Debug)]
struct LinkState {
    name: String,
    up: bool,
    carrier: bool,
}

#[derive(Clone, Debug)]
struct Entry {
    table: u32,
    metric: u32,
    kind: u8,
    next_hop_id: u32,
    source: Option<IpAddr>,
    vias: Vias,
}

/// One way to a next hop: a gateway on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Leg {
    /// The address that is looked up on the link.
    pub gateway: IpAddr,
    /// The link.
    pub ifindex: u32,
    /// Whether the kernel must be told not to look the gateway up itself: it would only look in main.
    pub onlink: bool,
}

impl From<Leg> for Via {
    fn from(leg: Leg) -> Via {
        Via { gateway: Some(leg.gateway), ifindex: leg.ifindex, onlink: leg.onlink }
    }
}

/// How a next hop is reached: its legs, and the metric of the route they come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolution {
    /// By ascending order; none if the next hop is not reachable.
    pub legs: SmallVec<[Leg; 2]>,
    /// Of the route that resolved it.
    pub metric: u32,
}

/// The kernel's state outside our own routes.
#[derive(Clone, Debug)]
pub struct Mirror {
    table: u32,
    links: BTreeMap<u32, LinkState>,
    addresses: Vec<AddressView>,
    routes: PrefixMap<SmallVec<[Entry; 1]>>,
    /// How many prefixes of each length there are, so that a longest match asks only for those.
    lengths: [[u32; 129]; 2],
}

impl Mirror {
    /// Nothing known yet; `table` is the domain's.
    pub fn new(table: u32) -> Mirror {
        Mirror {
            table,
            links: BTreeMap::new(),
            addresses: Vec::new(),
            routes: PrefixMap::default(),
            lengths: [[0; 129]; 2],
        }
    }

    /// Forgets everything, before it is read anew.
    pub fn clear(&mut self) {
        *self = Mirror::new(self.table);
    }

    /// Whether next hops are resolved through this table.
    pub fn follows(&self, table: u32) -> bool {
        table == self.table || table == TABLE_MAIN || table == TABLE_LOCAL
    }

    /// The links by index: (index, name, usable).
    pub fn links(&self) -> impl Iterator<Item = (u32, &str, bool)> {
        self.links.iter().map(|(ifindex, link)| (*ifindex, link.name.as_str(), link.up && link.carrier))
    }

    /// Every address of every interface.
    pub fn addresses(&self) -> &[AddressView] {
        &self.addresses
    }

    /// Takes in a link. Returns whether its usability changed.
    pub fn set_link(&mut self, view: LinkView<'_>) -> bool {
        let was_usable = self.is_usable(view.ifindex);
        let state = LinkState { name: view.name.to_owned(), up: view.up, carrier: view.carrier };
        self.links.insert(view.ifindex, state);
        if !view.up {
            self.remove_routes_of(view.ifindex);
        }
        was_usable != self.is_usable(view.ifindex)
    }

    /// Forgets a link and the routes over it.
    pub fn remove_link(&mut self, ifindex: u32) {
        self.links.remove(&ifindex);
        self.addresses.retain(|address| address.ifindex != ifindex);
        self.remove_routes_of(ifindex);
    }

    fn remove_routes_of(&mut self, ifindex: u32) {
        self.retain_entries(|entry| {
            let before = entry.vias.len();
            entry.vias.retain(|via| via.ifindex != ifindex);
            before == 0 || !entry.vias.is_empty()
        });
    }

    fn retain_entries(&mut self, mut keep: impl FnMut(&mut Entry) -> bool) {
        let lengths = &mut self.lengths;
        self.routes.retain(|prefix, entries| {
            entries.retain(&mut keep);
            if entries.is_empty() {
                lengths[prefix.family().index()][usize::from(prefix.len())] -= 1;
            }
            !entries.is_empty()
        });
    }

    /// Takes in an address.
    pub fn set_address(&mut self, view: AddressView) {
        self.addresses.retain(|other| (other.ifindex, other.addr) != (view.ifindex, view.addr));
        self.addresses.push(view);
    }

    /// Forgets an address, and the IPv4 routes that set it as their source.
    pub fn remove_address(&mut self, view: AddressView) {
        self.addresses.retain(|other| *other != view);
        if view.addr.is_ipv4() && !self.addresses.iter().any(|other| other.addr == view.addr) {
            self.retain_entries(|entry| entry.source != Some(view.addr));
        }
    }

    /// Takes in a route. With `replace` it takes the place of those with the same table and metric.
    pub fn set_route(&mut self, view: RouteView, replace: bool) {
        let (prefix, is_ipv6) = (view.prefix, matches!(view.prefix, Prefix::V6(_)));
        let entries = self.routes.get_or_default(prefix);
        if entries.is_empty() {
            self.lengths[prefix.family().index()][usize::from(prefix.len())] += 1;
        }
        let entry = Entry {
            table: view.table,
            metric: view.metric,
            kind: view.kind,
            next_hop_id: view.next_hop_id,
            source: view.source,
            vias: view.vias,
        };
        // IPv6 tells all paths of a multipath route in each message. IPv4 can have several routes with
        // the same key, of which the first is used.
        let twin = entries.iter_mut().find(|other| {
            (other.table, other.metric) == (entry.table, entry.metric)
                && (is_ipv6 || replace || other.vias == entry.vias)
        });
        match twin {
            Some(twin) => *twin = entry,
            None => {
                entries.push(entry);
                // The kernel looks into the local table first; then the domain's comes before main.
                let table = self.table;
                entries.sort_by_key(|entry| (entry.table != TABLE_LOCAL, entry.table != table, entry.metric));
            }
        }
    }

    /// Forgets a route, or those of its paths that are named.
    pub fn remove_route(&mut self, view: &RouteView) {
        let Some(entries) = self.routes.get_mut(view.prefix) else { return };
        let same = |entry: &Entry| (entry.table, entry.metric) == (view.table, view.metric);
        match entries.iter().position(|entry| same(entry) && entry.vias == view.vias) {
            Some(at) => {
                entries.remove(at);
            }
            None => {
                if let Some(at) = entries.iter().position(same) {
                    entries[at].vias.retain(|via| !view.vias.contains(via));
                    if entries[at].vias.is_empty() || view.prefix.addr().is_ipv4() {
                        entries.remove(at);
                    }
                }
            }
        }
        if entries.is_empty() {
            self.routes.remove(view.prefix);
            self.lengths[view.prefix.family().index()][usize::from(view.prefix.len())] -= 1;
        }
    }

    /// The entry that the kernel would use for `addr`.
    fn longest_match(&self, addr: IpAddr) -> Option<&Entry> {
        let host = Prefix::host(addr);
        let lengths = &self.lengths[host.family().index()];
        (0..=host.len())
            .rev()
            .filter(|length| lengths[usize::from(*length)] > 0)
            .find_map(|length| self.routes.get(Prefix::of(addr, length)?)?.first())
    }

    /// Whether a link is up and has a carrier.
    pub fn is_usable(&self, ifindex: u32) -> bool {
        self.links.get(&ifindex).is_some_and(|link| link.up && link.carrier)
    }

    /// How packets to `next_hop` leave (RFC 4271 §5.1.3, §9.1.2.1; RFC 2545 §3 for link-local addresses).
    /// `ifindex` is the session's interface, 0 if unknown: a link-local address means nothing without it.
    pub fn resolve(&self, next_hop: NextHop, ifindex: u32, objects: &Objects) -> Resolution {
        let on_session_link = |gateway: Ipv6Addr| {
            let leg = Leg { gateway: IpAddr::V6(gateway), ifindex, onlink: false };
            let legs = self.is_usable(ifindex).then_some(leg).into_iter().collect();
            Resolution { legs, metric: 0 }
        };
        if let IpAddr::V6(addr) = next_hop.addr
            && addr.is_unicast_link_local()
        {
            return on_session_link(addr);
        }
        let mut resolution = self.resolve_global(next_hop, objects);
        if let Some(link_local) = next_hop.link_local
            && resolution.legs.is_empty()
        {
            resolution = on_session_link(link_local);
        }
        resolution.legs.sort_unstable();
        resolution.legs.dedup();
        resolution
    }

    fn resolve_global(&self, next_hop: NextHop, objects: &Objects) -> Resolution {
        let mut resolution = Resolution::default();
        // An address of our own, a broadcast, a blackhole: nothing can be sent there.
        let Some(entry) = self.longest_match(next_hop.addr).filter(|entry| entry.kind == RTN_UNICAST) else {
            return resolution;
        };
        resolution.metric = entry.metric;
        let mut add = |via: Via| {
            if !self.is_usable(via.ifindex) {
                return;
            }
            // On a shared link the neighbour's link-local address is the one to use (RFC 2545 §3).
            let neighbour = next_hop.link_local.map_or(next_hop.addr, IpAddr::V6);
            resolution.legs.push(Leg {
                gateway: via.gateway.unwrap_or(neighbour),
                ifindex: via.ifindex,
                onlink: via.onlink || entry.table != TABLE_MAIN,
            });
        };
        if entry.vias.is_empty() {
            // With net.ipv4.nexthop_compat_mode=0 the kernel names only the object.
            match objects.get(&entry.next_hop_id) {
                Some(Object::Single(via)) => add(*via),
                Some(Object::Group(members)) => {
                    for (member, _) in members {
                        if let Some(Object::Single(via)) = objects.get(member) {
                            add(*via);
                        }
                    }
                }
                Some(Object::Other) | None => {}
            }
        } else {
            entry.vias.iter().copied().for_each(add);
        }
        resolution
    }
}
