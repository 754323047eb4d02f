//! Telling peers: update groups, pending changes, encoded messages, cursors.

mod key;

use std::io::IoSlice;
use std::rc::Rc;

use smallvec::SmallVec;

pub use key::{GroupKey, NextHopRule};

use crate::policy::Policy;
use crate::rib::Rib;
use crate::types::{DestId, Family, GroupId, NextHop, PeerId, Time};

/// How many slices one [`UpdateGroups::fill`] gives at most: one `writev`.
pub const SLICES_MAX: usize = 64;

/// Limits of every group.
#[derive(Clone, Copy, Debug)]
pub struct ExportLimits {
    /// How many bytes of encoded messages a group keeps for members that have not taken them. When they
    /// are reached the group stops encoding until members progress or are found to lag.
    pub ring_bytes_max: usize,
    /// How long a full ring waits for its slowest members, in milliseconds, before those that hold back
    /// more than half of it leave.
    pub lag_grace_ms: u64,
}

impl Default for ExportLimits {
    fn default() -> ExportLimits {
        ExportLimits { ring_bytes_max: 2 << 20, lag_grace_ms: 50 }
    }
}

/// A route as one group is told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingRoute {
    /// Who gave us the route.
    pub source: PeerId,
    /// The canonical attribute block that goes out, AS numbers in four octets.
    pub block: Vec<u8>,
    /// The next hop that goes out.
    pub next_hop: NextHop,
}

/// A group, for people.
#[derive(Clone, Debug)]
pub struct GroupView {
    /// Its handle.
    pub id: GroupId,
    /// Its key.
    pub key: GroupKey,
    /// The members.
    pub members: usize,
    /// How many destinations the members have been told.
    pub told: u32,
    /// How many destinations wait to be told.
    pub pending: usize,
    /// Bytes of encoded messages that some member has not taken.
    pub ring_bytes: usize,
    /// Members that have left the ring because they take too long.
    pub lagging: usize,
}

/// Every update group of a routing domain.
pub struct UpdateGroups {}

#[allow(unused_variables)]
impl UpdateGroups {
    /// No groups.
    pub fn new(limits: ExportLimits) -> UpdateGroups {
        todo!()
    }

    /// A session came up with this family: the peer is told the whole table, then End-of-RIB, then changes.
    /// Call once for each family. `policy` is the one that the key names.
    pub fn join(&mut self, peer: PeerId, key: GroupKey, policy: &Rc<Policy>) {
        todo!()
    }

    /// The session went down: the peer leaves the groups of all families, unsent bytes are gone.
    pub fn leave(&mut self, peer: PeerId) {
        todo!()
    }

    /// The peer asks to be told the table again (RFC 2918), with marks around it if `enhanced` (RFC 7313).
    pub fn refresh(&mut self, peer: PeerId, family: Family, enhanced: bool) {
        todo!()
    }

    /// The key of established peers has changed: what the old group told and the new one does not is
    /// withdrawn, the rest is told again. Cheapest when all peers of a group move at once.
    pub fn regroup(&mut self, peers: &[PeerId], key: GroupKey, policy: &Rc<Policy>) {
        todo!()
    }

    /// The content of a policy has changed: groups whose key names it tell what changes by that.
    pub fn set_policy(&mut self, policy: &Rc<Policy>) {
        todo!()
    }

    /// While `hold` is set, no End-of-RIB of the family is sent (RFC 4724 §4.1: a restarting speaker that has
    /// not heard its own peers out). Those due follow when it is cleared.
    pub fn hold_end_of_rib(&mut self, family: Family, hold: bool) {
        todo!()
    }

    /// Destinations whose best path has changed, from [`Rib::decide`].
    pub fn changed(&mut self, family: Family, dests: &[DestId]) {
        todo!()
    }

    /// Encodes what is pending, for about `budget` destinations a group. Returns whether more can be done
    /// right away. False may also mean that a full ring waits for members: call again after
    /// [`UpdateGroups::sent`], and at [`UpdateGroups::deadline`].
    pub fn drain(&mut self, rib: &Rib, now: Time, budget: usize) -> bool {
        todo!()
    }

    /// When [`UpdateGroups::drain`] wants to be called even if nothing happens.
    pub fn deadline(&self) -> Option<Time> {
        todo!()
    }

    /// A peer for which bytes have come up since it was last given here; each once.
    pub fn poll_ready(&mut self) -> Option<PeerId> {
        todo!()
    }

    /// Whether there are bytes for the peer.
    pub fn has_data(&self, peer: PeerId) -> bool {
        todo!()
    }

    /// Appends what the peer should be sent next, up to [`SLICES_MAX`] slices in all. Call it whenever the
    /// peer's socket takes bytes: a lagging peer is caught up only when asked for.
    pub fn fill<'a>(&'a mut self, peer: PeerId, out: &mut SmallVec<[IoSlice<'a>; SLICES_MAX]>) {
        todo!()
    }

    /// The socket took `bytes` of what the last [`UpdateGroups::fill`] gave.
    pub fn sent(&mut self, peer: PeerId, bytes: usize) {
        todo!()
    }

    /// Whether the peer has been sent whole messages only, so that another message may go in between.
    pub fn at_boundary(&self, peer: PeerId) -> bool {
        todo!()
    }

    /// Whether some group still refers to a destination, for [`Rib::collect`].
    pub fn holds(&self, family: Family, dest: DestId) -> bool {
        todo!()
    }

    /// How many prefixes the peer has been told. O(1); approximate while a table is on its way.
    pub fn advertised_count(&self, peer: PeerId, family: Family) -> u32 {
        todo!()
    }

    /// What the peer is told of a destination, evaluated anew.
    pub fn adj_out(&self, rib: &Rib, peer: PeerId, family: Family, dest: DestId) -> Option<OutgoingRoute> {
        todo!()
    }

    /// The groups.
    pub fn groups(&self) -> impl Iterator<Item = GroupView> + '_ {
        std::iter::empty()
    }

    /// Bytes in use by told state, rings, and lagging members.
    pub fn memory_bytes(&self) -> usize {
        todo!()
    }
}
