//! The composition: the only place where session, policy, RIB, export and FIB meet.
//!
//! The speaker has no socket and no clock. The reactor tells it what happened ([`Speaker::receive`],
//! [`Speaker::accept`], [`Speaker::advance`], ...), lets it work ([`Speaker::work`]), and then takes what is to be
//! done: actions, bytes for connections, netlink batches. So a whole network of speakers can run in one test.
//!
//! Data flows one way. A message goes through the session and the import policy into the RIB; the decision process
//! returns the destinations that changed; these go to every update group and to the FIB. Nothing calls back.

mod admin;
#[cfg(test)]
mod budgets;
mod conn;
mod input;
mod kernel;
#[cfg(test)]
mod lone;
mod paced;
mod peer;
mod reload;
mod restart;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv6Addr};

use hashbrown::{HashMap, HashSet};

use crate::config::{Config, DomainConfig};
use crate::export::{ExportLimits, UpdateGroups};
use crate::fib::{Fib, FibOptions};
use crate::policy::Policies;
use crate::rib::{DecisionOptions, Rib};
use crate::session::TimingWheel;
use crate::types::*;

pub use conn::{Accepted, Action, Dial, Refusal, SocketOptions, Syn, ttl_min};
pub use peer::{Origin, Peer};

use conn::Conns;
use input::Scratch;
use kernel::KernelChange;
use paced::Paced;
use restart::InitialSync;

/// Destinations that the decision process looks at in one turn: about 2 ms of work.
const DECIDE_PER_TURN: usize = 16_384;

/// Destinations that the update groups encode in one turn, and that a table walk looks at.
const EXPORT_PER_TURN: usize = 16_384;

/// Destinations without paths that are given back in one turn.
const COLLECT_PER_TURN: usize = 8_192;

/// A whole BGP speaker without input and output of its own; see the module's essay.
pub struct Speaker {
    pub(crate) config: Config,
    pub(crate) policies: Policies,
    pub(crate) rib: Rib,
    pub(crate) export: UpdateGroups,
    pub(crate) fib: Option<Fib>,
    /// By [`PeerId`]; the first is [`PeerId::LOCAL`], which is nobody's.
    pub(crate) peers: Vec<Option<Box<Peer>>>,
    /// Peers that are gone but whose paths are still being swept: their ids are not free yet.
    leaving: Vec<PeerId>,
    free_peers: Vec<PeerId>,
    by_address: HashMap<IpAddr, PeerId>,
    /// How many peers each range of dynamic peers has.
    dynamic_counts: HashMap<Prefix, u32>,
    /// The ranges of dynamic peers for which our listeners have a key.
    range_keys: HashSet<Prefix>,
    /// Refused connections, by the range or the configured peer that they were meant for.
    refusals: HashMap<Prefix, Paced>,
    /// Configured sessions start when the kernel's state is known, and at this moment at the latest.
    sessions_start_by: Option<Time>,
    pub(crate) established_count: u32,
    conns: Conns,
    wheel: TimingWheel,
    actions: VecDeque<Action>,
    /// The interface of each link-local next hop that is tracked.
    link_scopes: HashMap<Ipv6Addr, u32>,
    /// What the decision process changed in this turn, by family.
    changed: [Vec<DestId>; 2],
    scratch: Scratch,
    initial_sync: InitialSync,
    kernel_change: Option<KernelChange>,
    /// Prefixes that the API originates, to be told apart from the configuration's.
    pub(crate) api_networks: HashSet<Prefix>,
    pub(crate) watch: Watch,
    /// Routes that were well formed and could not be used: loops, mostly.
    pub(crate) unusable_count: u64,
    random: u64,
}

/// What somebody watches, collected until it is taken with [`Speaker::take_watched`].
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// Whether somebody watches routes.
    pub routes: bool,
    /// Whether somebody watches peers.
    pub peers: bool,
    /// Destinations whose best path changed.
    pub changed: Vec<Prefix>,
    /// Whether somebody watches what peers say.
    pub adj_in: bool,
    /// What peers have announced or withdrawn.
    pub said: Vec<(PeerId, Prefix)>,
    /// Peers whose state changed.
    pub peer_changes: Vec<PeerId>,
}

impl Speaker {
    /// A speaker with this configuration, which must have been checked. `seed` keys hashes and makes the pauses of
    /// sessions differ.
    pub fn new(config: Config, seed: u64) -> Speaker {
        let domain = &config.domains[0];
        let policies = Policies::compile(&config.policies).expect("a checked configuration compiles");
        let fib = (domain.install || domain.resolve_next_hops).then(|| Fib::new(fib_options(domain)));
        Speaker {
            rib: Rib::new(decision_options(&config), seed),
            export: UpdateGroups::new(ExportLimits::default()),
            fib,
            policies,
            peers: vec![None],
            leaving: Vec::new(),
            free_peers: Vec::new(),
            by_address: HashMap::default(),
            dynamic_counts: HashMap::default(),
            range_keys: HashSet::default(),
            refusals: HashMap::default(),
            sessions_start_by: None,
            established_count: 0,
            conns: Conns::default(),
            wheel: TimingWheel::new(),
            actions: VecDeque::new(),
            link_scopes: HashMap::default(),
            changed: [Vec::new(), Vec::new()],
            scratch: Scratch::default(),
            initial_sync: InitialSync::none(),
            kernel_change: None,
            api_networks: HashSet::default(),
            watch: Watch::default(),
            unusable_count: 0,
            random: seed | 1,
            config,
        }
    }

    /// Learns the addresses of the interfaces from the kernel even if nothing else is wanted of it: a session that
    /// carries the other family needs the next hop that its link has there.
    pub fn follow_interfaces(&mut self) {
        let domain = &self.config.domains[0];
        self.fib.get_or_insert_with(|| Fib::new(fib_options(domain)));
    }

    /// The next thing that the reactor is to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        let action = self.actions.pop_front()?;
        // Not before: until then the name still means the old socket, and bytes that come from it, or its end, would
        // be taken for those of the next connection.
        if let Action::Close { conn, .. } = &action {
            self.conns.free_name(*conn);
        }
        Some(action)
    }

    /// When [`Speaker::advance`] wants to be called, if nothing else happens.
    pub fn next_deadline(&self) -> Option<Time> {
        let fib = self.fib.as_ref().and_then(Fib::poll_timeout);
        let own = [self.wheel.next_wakeup(), self.initial_sync.deadline(), self.sessions_start_by];
        own.into_iter().chain([fib, self.export.deadline()]).flatten().min()
    }

    /// Timers may be due. `unread` says whether bytes of a connection wait to be read.
    pub fn advance(&mut self, now: Time, unread: &dyn Fn(ConnId) -> bool) {
        while let Some(key) = self.wheel.poll_expired(now) {
            let id = PeerId(key);
            let Some(peer) = self.peers[id.index()].as_deref_mut() else { continue };
            let unread = peer.conns.iter().flatten().any(|conn| unread(*conn));
            peer.session.handle_timeout(unread, now);
            self.drive(now, id);
        }
        if self.initial_sync.deadline().is_some_and(|deadline| deadline <= now) {
            self.check_initial_sync(now);
        }
    }

    /// Does a turn's share of the work that messages have caused: decisions, kernel deltas, encoding. Returns
    /// whether more waits.
    pub fn work(&mut self, now: Time) -> bool {
        self.start_sessions(now);
        self.follow_next_hops();
        for changed in &mut self.changed {
            changed.clear();
        }
        let mut more = self.rib.decide(DECIDE_PER_TURN, &mut self.changed);
        let decided = !more;
        let changed = std::mem::take(&mut self.changed);
        for family in Family::ALL {
            let changed = &changed[family.index()];
            if changed.is_empty() {
                continue;
            }
            self.export.changed(family, changed);
            self.install(family, changed);
            if self.watch.routes {
                let rib = &self.rib;
                self.watch.changed.extend(changed.iter().map(|dest| rib.prefix(family, *dest)));
            }
        }
        self.changed = changed;
        more |= self.continue_kernel_change();
        self.sweep_when_decided(decided);
        more |= self.export.drain(&self.rib, now, EXPORT_PER_TURN);
        while let Some(peer) = self.export.poll_ready() {
            let conn = self.peers[peer.index()].as_ref().and_then(|peer| peer.established_conn());
            if let Some(conn) = conn {
                self.conns.mark_dirty(conn);
            }
        }
        let (export, fib) = (&self.export, &self.fib);
        more |= self.rib.collect(COLLECT_PER_TURN, more, &|family, dest| {
            export.holds(family, dest) || fib.as_ref().is_some_and(|fib| fib.holds(family, dest))
        });
        self.release_left_peers();
        more
    }

    /// Whether what happened since [`Speaker::work`] has made more of it: members of update groups took bytes and
    /// made room, or the kernel has told something that is waited for.
    pub fn wants_work(&self) -> bool {
        self.export.wants_drain() || self.has_kernel_news()
    }

    /// A different number each time, the same ones for the same seed.
    fn next_random(&mut self) -> u64 {
        // SplitMix64.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

fn decision_options(config: &Config) -> DecisionOptions {
    let domain = &config.domains[0];
    DecisionOptions {
        always_compare_med: config.speaker.always_compare_med,
        compare_router_id: config.speaker.compare_router_id,
        multipath_relax: config.speaker.multipath_relax,
        max_paths: domain.max_paths,
        resolve_next_hops: domain.resolve_next_hops,
    }
}

fn fib_options(domain: &DomainConfig) -> FibOptions {
    FibOptions {
        table: domain.table,
        max_paths: domain.max_paths.into(),
        metric: domain.metric,
        install: domain.install,
        resolve: domain.resolve_next_hops,
        stale_time_s: domain.stale_time_s.into(),
        ..FibOptions::default()
    }
}
