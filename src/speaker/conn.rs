//! Connections as the speaker sees them: whose they are, which bytes wait to be sent on them.
//!
//! A connection's bytes have two givers. The session gives whole messages of its own (OPEN, KEEPALIVE, NOTIFICATION,
//! ROUTE-REFRESH); the update groups give slices of shared messages. The session's go first, but never into the
//! middle of a shared message.

use std::collections::VecDeque;
use std::fmt;
use std::io::IoSlice;
use std::net::{IpAddr, SocketAddr};

use smallvec::SmallVec;

use super::Speaker;
use crate::config::{PeerSettings, Secret};
use crate::export::SLICES_MAX;
use crate::session::Slot;
use crate::types::*;

/// What the reactor is to do.
#[derive(Debug)]
pub enum Action {
    /// Begin to connect; answer with [`Speaker::connected`] or [`Speaker::connect_failed`].
    Connect {
        /// The connection's name from now on.
        conn: ConnId,
        /// Where to, and how.
        dial: Box<Dial>,
    },
    /// Close a connection after trying to write these bytes. Its name is free once the action is taken.
    Close {
        /// The connection.
        conn: ConnId,
        /// What is left to say, a NOTIFICATION mostly; empty in the middle of another message.
        last_words: Vec<u8>,
    },
    /// Set or remove the TCP MD5 key of a range of peers on the listeners.
    ListenKey {
        /// Whom the key is for.
        range: Prefix,
        /// The key; nothing: remove it.
        key: Option<Secret>,
    },
    /// The kernel is used in another way: open a netlink socket for this table in the place of the one there is.
    OpenKernel {
        /// The domain's kernel table.
        table: u32,
        /// Whether routes are of interest, or only interfaces and addresses.
        routes: bool,
    },
}

/// How to reach a peer.
#[derive(Debug)]
pub struct Dial {
    /// The peer.
    pub remote: SocketAddr,
    /// The address to dial from.
    pub source: Option<IpAddr>,
    /// The interface to dial through.
    pub interface: Option<String>,
    /// The TCP MD5 key.
    pub password: Option<Secret>,
    /// What else the socket needs.
    pub options: SocketOptions,
}

/// Socket options of a peer's connections, dialled or accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    /// The TTL, or hop limit, of our packets.
    pub ttl: Option<u8>,
    /// GTSM (RFC 5082): the peer may be this many hops away.
    pub ttl_security_hops: Option<u8>,
}

impl SocketOptions {
    /// What the settings ask for. An external peer is expected on our link: its packets need no second hop, and
    /// TTL 1 keeps ours from going farther.
    pub(super) fn of(settings: &PeerSettings, internal: bool) -> SocketOptions {
        let ttl = match (settings.ttl_security_hops, settings.multihop_ttl) {
            (Some(_), _) => None,
            (None, Some(ttl)) => Some(ttl),
            (None, None) if internal => None,
            (None, None) => Some(1),
        };
        SocketOptions { ttl, ttl_security_hops: settings.ttl_security_hops }
    }
}

/// A connection that the speaker took.
#[derive(Debug)]
pub struct Accepted {
    /// Its name from now on.
    pub conn: ConnId,
    /// What its socket needs.
    pub options: SocketOptions,
}

/// What the SYN of a connection that a peer dialled shows of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Syn {
    /// The TTL, or hop limit, that it arrived with.
    pub ttl: u8,
    /// Whether it bore a TCP MD5 signature. The kernel drops those that no key of the listener matches.
    pub signed: bool,
}

impl Syn {
    /// Whether a connection that began like this may become a session with these settings. What the settings
    /// ask of the peer's packets holds from the first one on: an accepted socket gets its own options only
    /// after the peer's first bytes may have arrived. `None`: nothing is known of the SYN.
    pub(super) fn check(syn: Option<Syn>, settings: &PeerSettings) -> Result<(), Refusal> {
        if settings.password.is_none() && settings.ttl_security_hops.is_none() {
            return Ok(());
        }
        let syn = syn.ok_or(Refusal::Unproven)?;
        if settings.password.is_some() && !syn.signed {
            return Err(Refusal::Unsigned);
        }
        match settings.ttl_security_hops {
            Some(hops) if syn.ttl < ttl_min(hops) => {
                Err(Refusal::TooFar { ttl: syn.ttl, ttl_min: ttl_min(hops) })
            }
            _ => Ok(()),
        }
    }
}

/// The least TTL of what a neighbour sends who is at most so many hops away (RFC 5082 §3).
pub fn ttl_min(hops: u8) -> u8 {
    255 - (hops.max(1) - 1)
}

/// Why a connection was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No peer and no range has that address.
    Unknown,
    /// The range has as many peers as it may.
    RangeFull {
        /// The range.
        range: Prefix,
        /// Its limit.
        limit: u32,
    },
    /// The peer's session does not want a connection now.
    Unwanted,
    /// The peer is further away than GTSM allows (RFC 5082).
    TooFar {
        /// The TTL of its SYN.
        ttl: u8,
        /// The least TTL of a SYN from near enough.
        ttl_min: u8,
    },
    /// The peer has a TCP MD5 key and its SYN had no signature (RFC 2385).
    Unsigned,
    /// The peer must be near or sign, and nothing is known of its SYN.
    Unproven,
}

impl Refusal {
    /// Whether somebody should look after it: of the others, strangers cause as many as they like.
    pub(super) fn is_noteworthy(self) -> bool {
        match self {
            Refusal::Unknown | Refusal::Unwanted => false,
            // Only the peer itself, or somebody on its way to us, gets as far as the last three.
            Refusal::RangeFull { .. } | Refusal::TooFar { .. } | Refusal::Unsigned | Refusal::Unproven => {
                true
            }
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Unknown => f.write_str("no peer is configured for that address"),
            Refusal::RangeFull { range, limit } => {
                write!(f, "the range {range} has its {limit} peers: raise `limit` of that dynamic_peer")
            }
            Refusal::Unwanted => f.write_str("the session does not take a connection now"),
            Refusal::TooFar { ttl, ttl_min } => write!(
                f,
                "its TTL is {ttl}, and ttl_security_hops wants {ttl_min} at least: the peer is further away, or does \
                 not send with 255 (RFC 5082)"
            ),
            Refusal::Unsigned => f.write_str("it is not signed, and the peer has a TCP MD5 key (RFC 2385)"),
            Refusal::Unproven => f.write_str(
                "the kernel kept no SYN to tell how far the peer is or whether it signs: too many connect at once, \
                 raise net.ipv4.tcp_max_syn_backlog and net.core.somaxconn",
            ),
        }
    }
}

/// One connection.
#[derive(Debug)]
pub(super) struct Conn {
    pub peer: PeerId,
    pub slot: Slot,
    /// The peer's end.
    pub remote: SocketAddr,
    /// Our end, once the connection stands.
    pub local: Option<SocketAddr>,
    /// Messages of the session that wait to be sent.
    pub out: Vec<u8>,
    /// A shared message has been sent in part.
    pub mid_message: bool,
    /// How many bytes of `out` the last [`Speaker::fill`] offered.
    offered_bytes: usize,
    /// Stands on the dirty list.
    dirty: bool,
}

/// Every connection, and those that have something to send.
#[derive(Debug, Default)]
pub(super) struct Conns {
    slab: Vec<Option<Conn>>,
    free: Vec<u32>,
    dirty: VecDeque<ConnId>,
}

impl Conns {
    pub fn get(&self, id: ConnId) -> Option<&Conn> {
        self.slab.get(id.index())?.as_ref()
    }

    pub fn get_mut(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.slab.get_mut(id.index())?.as_mut()
    }

    pub fn insert(
        &mut self,
        peer: PeerId,
        slot: Slot,
        remote: SocketAddr,
        local: Option<SocketAddr>,
    ) -> ConnId {
        let conn = Conn {
            peer,
            slot,
            remote,
            local,
            out: Vec::new(),
            mid_message: false,
            offered_bytes: 0,
            dirty: false,
        };
        match self.free.pop() {
            Some(index) => {
                self.slab[index as usize] = Some(conn);
                ConnId(index)
            }
            None => {
                self.slab.push(Some(conn));
                ConnId(self.slab.len() as u32 - 1)
            }
        }
    }

    /// Forgets a connection. Its name is free when [`Conns::free_name`] says so.
    pub fn remove(&mut self, id: ConnId) -> Option<Conn> {
        self.slab.get_mut(id.index())?.take()
    }

    /// The reactor has no socket of this name any more.
    pub fn free_name(&mut self, id: ConnId) {
        self.free.push(id.0);
    }

    pub fn mark_dirty(&mut self, id: ConnId) {
        if let Some(conn) = self.get_mut(id)
            && !conn.dirty
        {
            conn.dirty = true;
            self.dirty.push_back(id);
        }
    }
}

impl Speaker {
    /// Whether the connection is still the speaker's, so that bytes from it matter.
    pub fn wants_bytes(&self, conn: ConnId) -> bool {
        self.conns.get(conn).is_some()
    }

    /// Puts a connection on the list of those that have, or may have, something to send.
    pub fn mark_dirty(&mut self, conn: ConnId) {
        self.conns.mark_dirty(conn);
    }

    /// How many connections are on that list.
    pub fn dirty_count(&self) -> usize {
        self.conns.dirty.len()
    }

    /// Takes a connection off that list.
    pub fn poll_dirty(&mut self) -> Option<ConnId> {
        let id = self.conns.dirty.pop_front()?;
        // A connection that was closed meanwhile leaves its name on the list; another may bear it now.
        if let Some(conn) = self.conns.get_mut(id) {
            conn.dirty = false;
        }
        Some(id)
    }

    /// Offers the bytes that wait for a connection, in order, and returns how many.
    pub fn fill<'a>(&'a mut self, id: ConnId, slices: &mut SmallVec<[IoSlice<'a>; SLICES_MAX]>) -> usize {
        let Some(conn) = self.conns.get_mut(id) else { return 0 };
        let peer = self.peers[conn.peer.index()].as_deref();
        let exporting = peer.is_some_and(|peer| peer.established_on(id));
        conn.offered_bytes = if conn.mid_message { 0 } else { conn.out.len() };
        let conn = &*conn;
        if conn.offered_bytes > 0 {
            slices.push(IoSlice::new(&conn.out));
        }
        if exporting {
            self.export.fill(conn.peer, slices);
        }
        slices.iter().map(|slice| slice.len()).sum()
    }

    /// The connection took so many of the bytes that [`Speaker::fill`] offered; `all` says that it may take more.
    pub fn sent(&mut self, now: Time, id: ConnId, bytes: usize, all: bool) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        let own_bytes = bytes.min(conn.offered_bytes);
        if own_bytes == conn.out.len() {
            conn.out = Vec::new();
        } else {
            conn.out.drain(..own_bytes);
        }
        let (peer_id, slot) = (conn.peer, conn.slot);
        let mut updates = 0;
        if bytes > own_bytes {
            updates = self.export.sent(peer_id, bytes - own_bytes);
            conn.mid_message = !self.export.at_boundary(peer_id);
        }
        let Some(peer) = self.peers[peer_id.index()].as_deref_mut() else { return };
        if bytes > 0 {
            peer.session.note_sent(slot, updates.into(), now);
        }
        if !all {
            peer.session.note_blocked(slot, now);
            self.arm(peer_id);
        }
    }
}
