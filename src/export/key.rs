//! What makes peers hear the same.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

use crate::types::{Family, PeerKind, Prefix, RouterId};

/// Everything about a peer that shapes the bytes it is sent, for one family. Peers with equal keys share an
/// update group; what differs between members of a group (whose routes come back to whom) is handled by
/// the audience of each message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GroupKey {
    /// The family.
    pub family: Family,
    /// How the peers stand to us; never [`PeerKind::Local`].
    pub kind: PeerKind,
    /// Our AS number as these peers see it.
    pub local_asn: u32,
    /// Our cluster identifier, prepended to CLUSTER_LIST when reflecting (RFC 4456 §8).
    pub cluster_id: RouterId,
    /// The peers understand four-octet AS numbers (RFC 6793).
    pub four_octet_as: bool,
    /// The longest message that the peers take, in bytes: 4,096 or 65,535 (RFC 8654).
    pub message_bytes_max: u16,
    /// The peers take IPv4 routes with IPv6 next hops (RFC 8950).
    pub extended_next_hop: bool,
    /// The name of the export policy.
    pub policy: Rc<str>,
    /// What next hops are told.
    pub next_hop: NextHopRule,
}

/// How next hops are told to the members of a group (RFC 4271 §5.1.3, RFC 2545 §3).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct NextHopRule {
    /// Our IPv4 address towards these peers. Without one, "self" is the IPv6 address, if the peers take
    /// that ([`GroupKey::extended_next_hop`]).
    pub self_v4: Option<Ipv4Addr>,
    /// Our global IPv6 address towards these peers.
    pub self_v6: Option<Ipv6Addr>,
    /// Our link-local address on the link that we share with these peers.
    pub self_link_local: Option<Ipv6Addr>,
    /// The subnet of the group's family on the link that we share with these peers: a next hop within it is
    /// left as it is, since the peers reach it themselves.
    pub connected: Option<Prefix>,
    /// Tell internal peers ourselves as the next hop of external routes.
    pub force_self: bool,
}
