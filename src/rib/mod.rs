//! The routing information base of one domain (under construction; signatures are agreed).

use std::net::IpAddr;

use crate::types::*;

/// What the decision process compares, beside the bytes of an interned set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttrMeta {
    /// LOCAL_PREF; 100 when absent.
    pub local_pref: u32,
    /// MULTI_EXIT_DISC; 0 when absent.
    pub med: u32,
    /// The leftmost AS of the path (RFC 4271 §9.1.2.2 c); 0 for an empty path.
    pub neighbor_as: u32,
    /// The next hop.
    pub next_hop: NextHopId,
    /// ORIGINATOR_ID; 0 when absent.
    pub originator_id: u32,
    /// The path's length as §9.1.2.2 a counts it: an AS_SET counts one.
    pub path_len: u16,
    /// How many cluster identifiers CLUSTER_LIST holds, saturating.
    pub cluster_list_len: u8,
    /// ORIGIN.
    pub origin: u8,
}

/// What the decision process knows of a path's giver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    /// How the peer stands to us.
    pub kind: PeerKind,
    /// Its BGP identifier.
    pub router_id: RouterId,
    /// Its address.
    pub address: IpAddr,
    /// Its AS number.
    pub asn: u32,
}

/// A path as readers see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// Who gave it.
    pub peer: PeerId,
    /// Its attributes and next hop.
    pub attrs: AttrId,
    /// Kept for a peer that is restarting (RFC 4724 §4.2).
    pub stale: bool,
}

/// Switches of the decision process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DecisionOptions {
    /// Compare MED whatever the neighbouring AS.
    pub always_compare_med: bool,
    /// Compare router identifiers of external paths instead of keeping the oldest.
    pub compare_router_id: bool,
    /// Let different ASes share an ECMP set when the path lengths are equal.
    pub multipath_relax: bool,
    /// How many paths an ECMP set may have; at least 1.
    pub max_paths: u16,
    /// Leave out paths whose next hop is not known to be reachable.
    pub resolve_next_hops: bool,
}
