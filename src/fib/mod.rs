//! What the kernel should hold for one routing domain, and how it is brought to hold it.
//!
//! A [`Fib`] is told which destinations should have which next hops, and gives back batches of netlink
//! requests (rtnetlink(7)) that bring the kernel's table there; it reads the kernel's replies and
//! notifications. It owns no fd and no clock: the reactor sends what [`Fib::poll_batch`] wrote and hands
//! in what came back. The same reading of links, routes and next-hop objects answers the question whether
//! a BGP next hop is resolvable, and at what cost (RFC 4271 §9.1.2.1), which [`Fib::poll_next_hop_change`]
//! reports to the decision process.
//!
//! It guarantees: only routes that carry kulan's protocol number in the domain's own table, with the
//! domain's metric, are ever changed or removed; a destination has at most one pending operation and the
//! newest wins; next-hop objects exist before the routes that use them and go after them; whatever was
//! lost (an overrun, a batch without an answer) is found by reading the table again, not guessed; what others
//! remove or change is put back, and less and less often for whoever goes on.

mod hops;
mod losses;
mod mending;
mod mirror;
pub mod netlink;
mod objects;
mod prefix_map;
mod reading;
mod routes;
mod stale;
mod writing;

use std::collections::VecDeque;
use std::net::IpAddr;

use smallvec::SmallVec;

use self::hops::Hops;
use self::losses::{Found, Losses};
use self::mirror::Mirror;
use self::netlink::{Object, RouteWriter, Via};
use self::objects::ObjectTable;
pub use self::objects::id_slot;
use self::prefix_map::PrefixMap;
use self::reading::{Compare, Reading};
use self::routes::{Place, Routes, Standing, Target, Why};
use self::stale::Stale;
use self::writing::Flight;
use crate::types::{DestId, Family, FamilySet, NextHop, NextHopId, Prefix, Time};

/// The number that marks kulan's routes and next-hop objects (`rtm_protocol`, `nh_protocol`). Free in
/// iproute2's `rt_protos`, in FRR's own numbers (186 to 198) and in Cilium's (which uses `kernel`).
pub const PROTOCOL: u8 = 75;

/// The metric of installed routes unless configured: better than what DHCP clients and router
/// advertisements install, worse than a static route without a metric.
pub const METRIC: u32 = 20;

/// How one domain uses the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FibOptions {
    /// The kernel table that routes go into; 254 is main.
    pub table: u32,
    /// The most next hops that one route gets; at least 1.
    pub max_paths: usize,
    /// The metric (`RTA_PRIORITY`) of every installed route. Must not be 0.
    pub metric: u32,
    /// The protocol number that marks our routes.
    pub protocol: u8,
    /// Whether routes are installed at all.
    pub install: bool,
    /// Whether next hops are followed though nothing is installed. Without either only the interfaces and
    /// their addresses are read.
    pub resolve: bool,
    /// How long routes of an earlier run are kept when nobody calls [`Fib::end_of_initial_sync`].
    pub stale_time_s: u64,
    /// Tables and metrics at which the configuration before had its routes: they go when what is wanted is in.
    pub evict: Vec<(u32, u32)>,
}

impl Default for FibOptions {
    fn default() -> FibOptions {
        FibOptions {
            table: 254,
            max_paths: 1,
            metric: METRIC,
            protocol: PROTOCOL,
            install: false,
            resolve: true,
            stale_time_s: 600,
            evict: Vec::new(),
        }
    }
}

impl FibOptions {
    /// Whether anything depends on the kernel's routes.
    pub fn follows_routes(&self) -> bool {
        self.install || self.resolve || !self.evict.is_empty()
    }

    fn writer(&self) -> RouteWriter {
        RouteWriter { table: self.table, metric: self.metric, protocol: self.protocol }
    }
}

/// A tracked next hop whose resolution changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextHopChange {
    /// The handle given to [`Fib::track`].
    pub id: NextHopId,
    /// Whether the kernel's tables resolve it (RFC 4271 §9.1.2.1).
    pub reachable: bool,
    /// The metric of the route that resolves it; 0 for a connected one, `u32::MAX` if there is none.
    pub metric: u32,
}

/// What the kernel has for one route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KernelState {
    /// In the kernel as wanted.
    Installed,
    /// A write is queued or under way.
    Pending,
    /// The kernel does not have it although it was installed: someone else removed it. It is put back soon.
    Missing,
    /// The kernel has it with other next hops: someone else changed it. It is put right soon.
    Differs,
    /// A route of somebody else stands at the same prefix and metric; it is left alone.
    Foreign,
    /// No next hop resolves at the moment.
    Unresolved,
    /// In the kernel from an earlier run and not learned again yet.
    Stale,
    /// In the kernel from an earlier run, and not to be replaced before all peers have told their tables.
    Deferred,
    /// The kernel refused it.
    Failed {
        /// The positive errno.
        errno: i32,
        /// What the kernel says about it, if it does, or what kulan knows.
        text: String,
    },
}

/// One line of `kulan show fib`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FibRow {
    /// The route.
    pub prefix: Prefix,
    /// The BGP next hops that are wanted.
    pub next_hops: Vec<IpAddr>,
    /// Where packets go: gateway and interface index of each leg of the next hops' resolution.
    pub legs: Vec<(IpAddr, u32)>,
    /// How it stands in the kernel.
    pub state: KernelState,
}

/// Counters and gauges of a [`Fib`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FibStats {
    /// Routes that the kernel has as wanted.
    pub installed: u64,
    /// Operations that wait to be sent or answered.
    pub pending: u64,
    /// Routes that cannot be installed now, for whatever reason.
    pub troubled: u64,
    /// Routes of an earlier run that are still kept.
    pub stale: u64,
    /// Next-hop objects in the kernel.
    pub next_hop_objects: u64,
    /// Requests sent since the start.
    pub requests: u64,
    /// Requests that the kernel refused.
    pub errors: u64,
    /// How often the kernel's messages overran the socket's buffer.
    pub overruns: u64,
    /// How often the kernel's tables were read anew to repair.
    pub repairs: u64,
    /// Routes and next-hop objects that others removed or changed and that were put back, one by one.
    pub mended: u64,
}

/// A network interface as the kernel shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The interface index.
    pub ifindex: u32,
    /// The interface's name.
    pub name: String,
    /// Administratively up and with a carrier.
    pub usable: bool,
}

/// Which destination has which prefix: what the RIB knows and a [`Fib`] asks for.
pub trait Destinations {
    /// The prefix of a destination that [`Fib::holds`].
    fn prefix(&self, family: Family, dest: DestId) -> Prefix;

    /// The destination of exactly this prefix.
    fn find(&self, prefix: Prefix) -> Option<DestId>;
}

/// The routes and next hops of one domain, and the way into the kernel's table. See the module's essay.
#[derive(Debug)]
pub struct Fib {
    options: FibOptions,
    writer: RouteWriter,
    mirror: Mirror,
    hops: Hops,
    objects: ObjectTable,
    routes: Routes,
    /// The number of the last request.
    seq: u32,
    /// How many batches were given to be sent, and of how many the end of the send is known.
    sends_given: u64,
    sends_over: u64,
    /// The batches that the kernel is answering, in the order of their sends.
    flights: VecDeque<Flight>,
    /// What is being read from the kernel.
    reading: Option<Reading>,
    /// The walk that compares what was read with what is wanted.
    compare: Option<Compare>,
    ready: bool,
    initial_sync_over: bool,
    /// Families of which nothing replaces a stale route for now.
    held: FamilySet,
    stale_until: Option<Time>,
    /// Routes of ours in the kernel that no destination wants, with their next-hop ids.
    stale: Stale,
    /// Those of `stale` that are about to be removed.
    sweep: Vec<Prefix>,
    /// Routes of ours that somebody else removed or replaced.
    losses: Losses<Prefix>,
    /// The same of next-hop objects, by id.
    lost_objects: Losses<u32>,
    /// Times when so much was lost that the table has to be read anew.
    floods: Losses<()>,
    /// Where the configuration before had its routes, until they are gone.
    evictions: Vec<RouteWriter>,
    /// Those routes, by the index of their place.
    evict: Vec<(usize, Prefix)>,
    /// Destinations that a route of somebody else keeps out of the kernel.
    foreign: PrefixMap<Place>,
    /// Where the walk is that queues the routes of lost sets again.
    resend: Option<(Family, u32)>,
    /// Next-hop objects of ours that nothing uses, to be removed in this order.
    removals: VecDeque<u32>,
    /// The most requests of one batch.
    batch_max: usize,
    /// Nothing is written before this moment.
    pause_until: Option<Time>,
    pause_ms: u64,
    complaint: Option<&'static str>,
    /// What the kernel said about refused routes.
    texts: Vec<Box<str>>,
    requests: u64,
    errors: u64,
    overruns: u64,
    repairs: u64,
    mended: u64,
}

impl Fib {
    /// A domain's kernel state; nothing is read or written before the first [`Fib::poll_batch`].
    pub fn new(options: FibOptions) -> Fib {
        let own = (options.table, options.metric);
        let evicted = options.evict.iter().filter(|place| !options.install || **place != own);
        let evictions: Vec<RouteWriter> = evicted
            .map(|(table, metric)| RouteWriter { table: *table, metric: *metric, ..options.writer() })
            .collect();
        let places: Vec<u32> = evictions.iter().map(|place| place.table).collect();
        Fib {
            writer: options.writer(),
            mirror: Mirror::new(options.table),
            hops: Hops::default(),
            objects: ObjectTable::new(options.protocol, options.table, &places),
            routes: Routes::default(),
            seq: 0,
            sends_given: 0,
            sends_over: 0,
            flights: VecDeque::new(),
            reading: Some(match options.follows_routes() {
                true => Reading::everything(options.table, &places),
                false => Reading::interfaces(),
            }),
            compare: None,
            ready: false,
            initial_sync_over: false,
            held: FamilySet::EMPTY,
            stale_until: None,
            stale: Stale::default(),
            sweep: Vec::new(),
            losses: Losses::new(mending::ROUTE_WAIT_MS),
            lost_objects: Losses::new(mending::OBJECT_WAIT_MS),
            floods: Losses::new(mending::ROUTE_WAIT_MS),
            evictions,
            evict: Vec::new(),
            foreign: PrefixMap::default(),
            resend: None,
            removals: VecDeque::new(),
            batch_max: writing::BATCH_MAX,
            pause_until: None,
            pause_ms: 0,
            complaint: None,
            texts: Vec::new(),
            requests: 0,
            errors: 0,
            overruns: 0,
            repairs: 0,
            mended: 0,
            options,
        }
    }

    /// What it was made with.
    pub fn options(&self) -> &FibOptions {
        &self.options
    }

    /// From here on a route has at most so many next hops; those that are there are set anew by the caller.
    pub fn set_max_paths(&mut self, max_paths: usize) {
        self.options.max_paths = max_paths;
    }

    /// The tables and metrics at which there may be routes of ours: where another [`Fib`] that takes the place of
    /// this one has to look for what is to go.
    pub fn places(&self) -> Vec<(u32, u32)> {
        let own = self.options.install.then_some((self.options.table, self.options.metric));
        own.into_iter().chain(self.evictions.iter().map(|place| (place.table, place.metric))).collect()
    }

    /// Wants `dest` to have the next hops `next_hops`, best first; all must be tracked. At most
    /// `max_paths` are used. Without any, the same as [`Fib::remove_route`].
    pub fn set_route(&mut self, family: Family, dest: DestId, next_hops: &[NextHopId]) {
        if !self.options.install {
            return;
        }
        let slots: SmallVec<[u32; 2]> =
            next_hops.iter().take(self.options.max_paths).filter_map(|id| self.hops.find(*id)).collect();
        let wanted = match slots.is_empty() {
            true => Target::Nothing,
            false => Target::Set(self.objects.set_of(&slots, &mut self.hops)),
        };
        let place = (family, dest);
        self.routes.want(place, wanted, self.is_sure(place), &mut self.objects);
    }

    /// Wants `dest` not to be in the kernel.
    pub fn remove_route(&mut self, family: Family, dest: DestId) {
        if self.options.install {
            let place = (family, dest);
            self.routes.want(place, Target::Nothing, self.is_sure(place), &mut self.objects);
        }
    }

    /// Whether the destination is still needed here, for its prefix: wanted, or not yet removed.
    pub fn holds(&self, family: Family, dest: DestId) -> bool {
        self.routes.holds((family, dest))
    }

    /// Follows a next hop: its state is reported once it is known and then at each change. `ifindex` is
    /// the interface of the session that a link-local address was learned on; 0 if there is none.
    pub fn track(&mut self, id: NextHopId, next_hop: NextHop, ifindex: u32) {
        self.hops.track(id, next_hop, ifindex);
    }

    /// Stops following a next hop. Routes that use it keep it until they are changed.
    pub fn untrack(&mut self, id: NextHopId) {
        self.hops.untrack(id);
    }

    /// A tracked next hop whose reachability or metric changed.
    pub fn poll_next_hop_change(&mut self) -> Option<NextHopChange> {
        self.hops.poll_change()
    }

    /// Whether [`Fib::poll_next_hop_change`] may have something.
    pub fn has_next_hop_changes(&self) -> bool {
        self.hops.has_changes()
    }

    /// Whether the kernel's state has been read, so that next hops are known.
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// While `hold` is set, a route that an earlier process left in the kernel keeps forwarding although another
    /// one is wanted there (RFC 4724 §4.1: routes are not selected yet). What has nothing in its place goes in
    /// at once.
    pub fn hold_stale(&mut self, family: Family, hold: bool) {
        if hold {
            self.held.insert(family);
            return;
        }
        self.held.remove(family);
        self.routes.retry_where(|(of, _), _, why| of == family && why == Why::Held);
    }

    /// Whether every next hop has been looked at and what came of it has been taken.
    pub fn is_resolved(&self) -> bool {
        self.is_settled() && !self.hops.is_dirty() && !self.hops.has_changes()
    }

    /// All peers have sent their tables (End-of-RIB), or the wait for them is over: what an earlier run
    /// left in the kernel and nobody announced again is removed.
    pub fn end_of_initial_sync(&mut self) {
        self.initial_sync_over = true;
        self.stale_until = None;
        for family in self.held.iter() {
            self.hold_stale(family, false);
        }
        self.begin_sweep();
    }

    /// How a destination stands in the kernel; nothing if it is not to be there and is not there.
    pub fn row_of(&self, family: Family, dest: DestId, prefix: Prefix) -> Option<FibRow> {
        self.routes.holds((family, dest)).then(|| self.row((family, dest), prefix))
    }

    /// The routes of a family that an earlier process left in the kernel and nobody has announced again, in the order
    /// of prefixes, behind `after`.
    pub fn stale_rows(&self, family: Family, after: Option<Prefix>) -> impl Iterator<Item = FibRow> + '_ {
        self.stale.after(family, after).map(|(prefix, id)| {
            let legs = self.ways_of(id).into_iter().filter_map(|via| Some((via.gateway?, via.ifindex)));
            FibRow { prefix, next_hops: Vec::new(), legs: legs.collect(), state: KernelState::Stale }
        })
    }

    /// When stale routes are removed at the latest; nothing: they are being removed, or none were left.
    pub fn stale_until(&self) -> Option<Time> {
        self.stale_until
    }

    /// Where an object of the kernel leads.
    fn ways_of(&self, id: u32) -> SmallVec<[Via; 2]> {
        let objects = self.objects.kernel();
        let single = |id: &u32| match objects.get(id) {
            Some(Object::Single(via)) => Some(*via),
            _ => None,
        };
        match objects.get(&id) {
            Some(Object::Group(members)) => members.iter().filter_map(|(id, _)| single(id)).collect(),
            _ => single(&id).into_iter().collect(),
        }
    }

    fn row(&self, place: Place, prefix: Prefix) -> FibRow {
        let (wanted, standing) = self.routes.standing(place);
        let (mut next_hops, mut legs) = (Vec::new(), Vec::new());
        if let Target::Set(set) = wanted {
            let hops = self.objects.hops_of(set);
            next_hops.extend(hops.iter().map(|hop| self.hops.get(*hop).next_hop.addr));
            legs.extend(self.objects.legs_of(set).map(|leg| (leg.gateway, leg.ifindex)));
        }
        let state = match standing {
            Standing::Pending => KernelState::Pending,
            Standing::Troubled(Why::Unresolved) => KernelState::Unresolved,
            Standing::Troubled(Why::Foreign) => KernelState::Foreign,
            Standing::Troubled(Why::Held) => KernelState::Deferred,
            Standing::Troubled(Why::Refused { errno, text }) => {
                let text = self.texts.get(usize::from(text)).map_or("", |text| text);
                KernelState::Failed { errno, text: text.to_owned() }
            }
            Standing::Clean => self.clean_state(prefix, wanted),
        };
        FibRow { prefix, next_hops, legs, state }
    }

    /// How a route stands that we wrote, and that others may have touched since.
    fn clean_state(&self, prefix: Prefix, wanted: Target) -> KernelState {
        let id = wanted.set().and_then(|set| self.objects.kernel_id(set));
        let mut ids = wanted.set().into_iter().flat_map(|set| self.objects.ids_of(set));
        let object = ids.find_map(|id| self.lost_objects.get(id));
        match (self.losses.get(prefix), id) {
            (Some(Found::Nothing), _) => KernelState::Missing,
            (Some(Found::Foreign), _) => KernelState::Foreign,
            (Some(Found::Other(other)), Some(id)) if other != id => KernelState::Differs,
            (Some(Found::Unsure), _) => KernelState::Pending,
            (_, None) if object.is_some() => KernelState::Missing,
            (_, None) => KernelState::Unresolved,
            (_, Some(_)) if object.is_some() => KernelState::Differs,
            (_, Some(_)) => KernelState::Installed,
        }
    }

    /// What keeps the domain from working at all, for people: a missing privilege, a kernel too old.
    pub fn complaint(&self) -> Option<&str> {
        self.complaint
    }

    /// Counters and gauges.
    pub fn stats(&self) -> FibStats {
        let (installed, pending, troubled) = self.routes.counts();
        FibStats {
            installed,
            pending,
            troubled,
            stale: self.stale.len() as u64,
            next_hop_objects: self.objects.count() as u64,
            requests: self.requests,
            errors: self.errors,
            overruns: self.overruns,
            repairs: self.repairs,
            mended: self.mended,
        }
    }

    /// The interface that has `addr` as one of its own addresses.
    pub fn link_of_address(&self, addr: IpAddr) -> Option<u32> {
        self.mirror.addresses().iter().find(|address| address.addr == addr).map(|address| address.ifindex)
    }

    /// All interfaces, ordered by index.
    pub fn links(&self) -> Vec<Link> {
        self.mirror
            .links()
            .map(|(ifindex, name, usable)| Link { ifindex, name: name.to_owned(), usable })
            .collect()
    }

    /// The addresses of an interface with their prefix lengths.
    pub fn addresses(&self, ifindex: u32) -> Vec<(IpAddr, u8)> {
        let of_link = self.mirror.addresses().iter().filter(|address| address.ifindex == ifindex);
        of_link.map(|address| (address.addr, address.length)).collect()
    }
}

#[cfg(test)]
mod tests;
