//! What the control thread and the loop say to each other: requests with a place for the answer, and
//! plain structs as answers.
//!
//! Nothing here knows protocol buffers, sockets or tokio's runtime. A request crosses to the loop over a
//! bounded channel; the answer crosses back through its [`Reply`], which can be sent from any thread
//! without blocking. An answer that can be large is a [`Page`]: the loop makes as many rows as fit the
//! limit and its time slice, and says where to go on; the control thread asks again with that cursor. So
//! the loop answers within a second even in the middle of a full-table load, and never holds an iterator
//! for somebody who may not come back.
//!
//! Answers hold path attributes as canonical blocks: ascending type codes, 4-octet AS numbers, without
//! NEXT_HOP, MP_REACH_NLRI and MP_UNREACH_NLRI, the next hop beside them.

mod event;
mod peer;

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use tokio::sync::oneshot;

pub use event::{EVENTS_MAX, Event, EventSink, EventSource, Notice, WatchQuery, event_channel};
pub use peer::{
    AdminState, MessageCounts, NewPeer, PeerFamily, PeerSelector, PeerState, PeerStatus, PeersQuery,
    ResetKind,
};

use crate::types::{Family, NextHop, Prefix, RouterId};

/// How many requests may wait for the loop. The control thread keeps more of them to itself, so that the
/// channel is never full.
pub const REQUESTS_MAX: usize = 64;

/// How many rows a page may have: about a millisecond of the loop's time.
pub const PAGE_ROWS_MAX: usize = 1000;

/// What the control thread asks of the loop. Each variant says what the loop must do; every reply may be
/// sent at a later turn, and dropping it counts as "the daemon is stopping".
#[derive(Debug)]
pub enum Request {
    /// Who the speaker is and how much it holds.
    Summary(Reply<Summary>),
    /// The peers that the query names, in any order that stays the same from page to page.
    ListPeers(PeersQuery, Reply<Page<PeerStatus, u32>>),
    /// The routes that the query names, ordered by prefix.
    ListRoutes(RoutesQuery, Reply<Page<RouteRow, Prefix>>),
    /// How much a table holds, without walking it where that can be avoided.
    CountRoutes(CountQuery, Reply<TableCounts>),
    /// What the kernel holds, or should hold, ordered by prefix.
    ListFib(FibQuery, Reply<Page<FibRow, Prefix>>),
    /// Every routing domain.
    ListDomains(Reply<Vec<DomainRow>>),
    /// How the loop spends its time, how full its queues are, and its counters.
    Statistics(Reply<Statistics>),
    /// Originate a route until it is deleted or the process ends.
    AddPath(NewPath, Reply<()>),
    /// Stop originating a route that [`Request::AddPath`] made.
    DeletePath(OldPath, Reply<()>),
    /// End a session, or ask for its routes anew, or send ours anew.
    ResetPeer(PeerSelector, ResetKind, Reply<()>),
    /// Undo [`Request::DisablePeer`].
    EnablePeer(PeerSelector, Reply<()>),
    /// End the session with Cease/Administrative Shutdown and this text (RFC 9003), and keep it down.
    DisablePeer(PeerSelector, String, Reply<()>),
    /// Add a peer that the configuration does not have; the next reload takes it away again.
    AddPeer(NewPeer, Reply<()>),
    /// End the session with Cease/Peer De-configured and forget the peer.
    DeletePeer(IpAddr, Reply<()>),
    /// Read the configuration anew and apply what changed. The answer says what did, a line each.
    Reload(Reply<Vec<String>>),
    /// From now on, tell the sink what happens, until [`EventSink::send`] says that nobody listens. The
    /// reply is sent when the subscription stands.
    Watch(WatchQuery, EventSink, Reply<()>),
}

/// Why a request could not be carried out, with words for the person who asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// What the request names does not exist.
    NotFound(String),
    /// The request makes no sense as it stands.
    Invalid(String),
    /// The request makes sense, but not in the state that the speaker is in.
    Refused(String),
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (RequestError::NotFound(text) | RequestError::Invalid(text) | RequestError::Refused(text)) = self;
        f.write_str(text)
    }
}

impl std::error::Error for RequestError {}

/// Where the answer to a request goes.
#[derive(Debug)]
pub struct Reply<T>(oneshot::Sender<Result<T, RequestError>>);

impl<T> Reply<T> {
    /// A reply and the place where its answer can be awaited.
    pub fn new() -> (Reply<T>, oneshot::Receiver<Result<T, RequestError>>) {
        let (sender, receiver) = oneshot::channel();
        (Reply(sender), receiver)
    }

    /// Sends the answer. It is dropped if nobody waits any more.
    pub fn send(self, answer: Result<T, RequestError>) {
        let _ = self.0.send(answer);
    }

    /// Whether whoever asked has gone away, so that making the answer would be wasted work.
    pub fn is_abandoned(&self) -> bool {
        self.0.is_closed()
    }
}

/// A part of a large answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<Row, Cursor> {
    /// The rows; possibly none although more follow, when a time slice was over before one was found.
    pub rows: Vec<Row>,
    /// Where to go on: the last thing looked at, which the next page begins after. Nothing: that was all.
    pub next: Option<Cursor>,
}

/// Which table of a routing domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// The Loc-RIB with every path of each destination, the best one first.
    Global,
    /// The Adj-RIB-In of a peer, after the import policy.
    AdjIn(IpAddr),
    /// The Adj-RIB-Out of a peer: what it has been told, with the attributes that it was told.
    AdjOut(IpAddr),
}

/// Which prefixes of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrefixFilter {
    /// All.
    All,
    /// Only this one.
    Exact(Prefix),
    /// This one and what lies within it.
    Longer(Prefix),
    /// This one and what covers it.
    Shorter(Prefix),
    /// The longest that contains the address.
    LongestMatch(IpAddr),
}

/// Which routes to list.
#[derive(Clone, Debug, PartialEq)]
pub struct RoutesQuery {
    /// The routing domain's name; nothing: the first one, or for a peer's tables the peer's.
    pub domain: Option<String>,
    /// The table.
    pub table: Table,
    /// The family.
    pub family: Family,
    /// The prefixes, of the same family.
    pub filter: PrefixFilter,
    /// The [`Page::next`] of the page before.
    pub after: Option<Prefix>,
    /// At most this many rows; never above [`PAGE_ROWS_MAX`].
    pub limit: usize,
}

/// Which table to count.
#[derive(Clone, Debug, PartialEq)]
pub struct CountQuery {
    /// The routing domain's name; nothing: the first one, or for a peer's tables the peer's.
    pub domain: Option<String>,
    /// The table.
    pub table: Table,
    /// The family.
    pub family: Family,
}

/// How much a table holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableCounts {
    /// Destinations with at least one path.
    pub destinations: u64,
    /// Paths.
    pub paths: u64,
}

/// A destination and its paths.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteRow {
    /// The prefix.
    pub prefix: Prefix,
    /// Its paths; the best one first where there is one. Never empty.
    pub paths: Vec<PathRow>,
}

/// One path.
#[derive(Clone, Debug, PartialEq)]
pub struct PathRow {
    /// Whom it was learned from; nothing: it is our own.
    pub source: Option<PathSource>,
    /// Whether it is the best one.
    pub best: bool,
    /// Whether it is in use, alone or beside others of the same rank.
    pub multipath: bool,
    /// Whether it is kept for a peer that restarts (RFC 4724).
    pub stale: bool,
    /// Whether its next hop can be reached; true as well where that is not looked at.
    pub next_hop_reachable: bool,
    /// How long it has been here, in milliseconds, where that is known.
    pub age_ms: Option<u64>,
    /// The next hop.
    pub next_hop: NextHop,
    /// The other path attributes: a canonical block.
    pub attrs: Vec<u8>,
}

/// The peer that a path was learned from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathSource {
    /// Its address.
    pub address: IpAddr,
    /// Its AS number.
    pub asn: u32,
    /// Its BGP identifier.
    pub router_id: RouterId,
    /// Whether it is in another AS.
    pub external: bool,
}

/// Which rows of the kernel's state to list.
#[derive(Clone, Debug, PartialEq)]
pub struct FibQuery {
    /// The routing domain's name; nothing: the first one.
    pub domain: Option<String>,
    /// The family.
    pub family: Family,
    /// The [`Page::next`] of the page before.
    pub after: Option<Prefix>,
    /// At most this many rows; never above [`PAGE_ROWS_MAX`].
    pub limit: usize,
}

/// A route of the kernel's table, as far as it is ours.
#[derive(Clone, Debug, PartialEq)]
pub struct FibRow {
    /// The prefix.
    pub prefix: Prefix,
    /// Where packets go.
    pub next_hops: Vec<FibNextHop>,
    /// What has become of it.
    pub state: FibState,
}

/// One of the ways that a kernel route has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FibNextHop {
    /// The neighbour; nothing: the destination is on the link.
    pub gateway: Option<IpAddr>,
    /// The interface's name, or its number as text if it has gone.
    pub interface: String,
    /// The weight, 1 to 256.
    pub weight: u16,
}

/// What has become of a route on its way into the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FibState {
    /// The kernel has it.
    Installed,
    /// It is on its way.
    Pending,
    /// An earlier process left it there; until when it stays, in words.
    Stale(String),
    /// The kernel refused it, and why.
    Failed(String),
}

/// A routing domain.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DomainRow {
    /// Its name.
    pub name: String,
    /// The kernel's table.
    pub table: u32,
    /// Whether learned routes go into the kernel.
    pub install: bool,
    /// How many next hops an ECMP route may have.
    pub max_paths: u16,
    /// How many peers are in it.
    pub peers: u32,
    /// What its RIB holds, by [`Family::index`].
    pub routes: [TableCounts; 2],
    /// How many routes the kernel has of us, of both families.
    pub installed: u64,
    /// How many are on their way there.
    pub pending: u64,
    /// How many the kernel refused.
    pub failed: u64,
}

/// Who the speaker is and how much it holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// Our AS number.
    pub asn: u32,
    /// Our BGP identifier.
    pub router_id: RouterId,
    /// Our cluster identifier.
    pub cluster_id: RouterId,
    /// Where we listen for peers.
    pub listen: Vec<SocketAddr>,
    /// Since the process started, in milliseconds.
    pub uptime_ms: u64,
    /// Peers, configured and dynamic.
    pub peers: u32,
    /// Peers in the state Established.
    pub peers_established: u32,
    /// What all RIBs hold together, by [`Family::index`].
    pub routes: [TableCounts; 2],
    /// Interned sets of path attributes.
    pub attribute_sets: u64,
    /// Update groups.
    pub update_groups: u32,
    /// Bytes in use by part, such as `("trie", 12_000)`.
    pub memory: Vec<(&'static str, u64)>,
}

/// How the loop fares. Names are lower case with underscores: they become parts of metrics.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Statistics {
    /// Turns of the loop.
    pub turns: u64,
    /// Time spent outside of poll, in nanoseconds.
    pub busy_ns: u64,
    /// The longest turn, in nanoseconds.
    pub longest_turn_ns: u64,
    /// Time by stage of the loop.
    pub stages: Vec<StageStatistics>,
    /// The queues that have a limit.
    pub queues: Vec<QueueStatistics>,
    /// Other counters since the start: name, one line of help, value.
    pub counters: Vec<(&'static str, &'static str, u64)>,
}

/// One stage of the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageStatistics {
    /// Its name.
    pub name: &'static str,
    /// How often it ran.
    pub runs: u64,
    /// Time spent in it, in nanoseconds.
    pub busy_ns: u64,
    /// Its longest run, in nanoseconds.
    pub longest_ns: u64,
}

/// One bounded queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueStatistics {
    /// Its name.
    pub name: &'static str,
    /// What is in it now.
    pub depth: u64,
    /// What it may hold.
    pub limit: u64,
}

/// A route to originate.
#[derive(Clone, Debug, PartialEq)]
pub struct NewPath {
    /// The routing domain's name; nothing: the first one.
    pub domain: Option<String>,
    /// The prefix.
    pub prefix: Prefix,
    /// The next hop; the unspecified address: ourselves.
    pub next_hop: NextHop,
    /// The other attributes: a canonical block with ORIGIN and AS_PATH at least.
    pub attrs: Vec<u8>,
}

/// Routes to originate no more.
#[derive(Clone, Debug, PartialEq)]
pub struct OldPath {
    /// The routing domain's name; nothing: the first one.
    pub domain: Option<String>,
    /// What to delete.
    pub which: OldPaths,
}

/// Which of our own routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OldPaths {
    /// This one.
    Prefix(Prefix),
    /// All of a family.
    Family(Family),
}
