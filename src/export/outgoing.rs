//! What a route becomes on its way to the members of a group: RFC 4271 §5.1 and §9.2, RFC 4456 §6 to §8,
//! RFC 1997, RFC 2545 §3.
//!
//! The same for every member, so it is evaluated once for a group. Only to whom it must not go back, its
//! source, is left to the audience of the message.

use std::net::IpAddr;

use super::key::{GroupKey, NextHopRule};
use crate::policy::{LOCAL_PREF_DEFAULT, NextHopAction, Policy, RouteContext, Verdict};
use crate::rib::PeerInfo;
use crate::types::{Family, NextHop, PeerKind, Prefix};
use crate::wire::AttributeEditor;
use crate::wire::attrs::{PathAttributes, code, community};

/// A route as the Loc-RIB has it.
#[derive(Clone, Copy)]
pub(super) struct Candidate<'a> {
    pub prefix: Prefix,
    pub block: &'a [u8],
    pub next_hop: NextHop,
    pub source: &'a PeerInfo,
}

/// What [`outgoing`] found, beside the block that it wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// The next hop to tell; nothing if the route is not told at all.
    pub next_hop: Option<NextHop>,
    /// Whether the same attributes from the same peer may become something else at another prefix.
    pub used_prefix: bool,
}

impl Outcome {
    const NOT_TOLD: Outcome = Outcome { next_hop: None, used_prefix: false };
}

/// Whether routes of one kind of peer are told to another at all (RFC 4271 §9.2, RFC 4456 §6): what
/// internal peers said goes to other internal peers only if one of the two is a client.
pub(super) fn may_pass(source: PeerKind, target: PeerKind) -> bool {
    !(source == PeerKind::Internal && target == PeerKind::Internal)
}

/// Writes to `out` the canonical block under which the members of the group are told the route.
/// `scratch` is a buffer for the policy.
pub(super) fn outgoing(
    key: &GroupKey,
    policy: &Policy,
    route: &Candidate<'_>,
    scratch: &mut Scratch,
    out: &mut Vec<u8>,
) -> Outcome {
    let source = route.source.kind;
    if !may_pass(source, key.kind) || keeps_home(route.block, key.kind) {
        return Outcome::NOT_TOLD;
    }
    // RFC 4271 §5.1.4: another AS's MED goes no further than ours. It goes before the policy, so that one
    // that the policy sets stays.
    let foreign_med = key.kind == PeerKind::External && source != PeerKind::Local;
    let block = if foreign_med && PathAttributes::new(route.block).med().is_some() {
        AttributeEditor::copy(route.block, &mut scratch.without_med).remove(code::MULTI_EXIT_DISC);
        &scratch.without_med
    } else {
        route.block
    };
    let context = RouteContext {
        family: key.family,
        prefix: route.prefix,
        peer_address: (source != PeerKind::Local).then_some(route.source.address),
        peer_asn: route.source.asn,
        local_asn: key.local_asn,
        next_hop: route.next_hop,
    };
    let (block, action, used_prefix) = match policy.constant() {
        Some(Verdict::Accept) => (block, None, false),
        Some(Verdict::Reject) => return Outcome::NOT_TOLD,
        None => {
            let evaluation = policy.evaluate(&context, block, &mut scratch.policy);
            if evaluation.verdict == Verdict::Reject {
                return Outcome { next_hop: None, used_prefix: evaluation.used_prefix };
            }
            let block = if evaluation.modified { &scratch.policy } else { block };
            (block, evaluation.next_hop, evaluation.used_prefix)
        }
    };
    let next_hop = next_hop(key, source, route.next_hop, action);
    if next_hop.is_none() {
        return Outcome { next_hop, used_prefix };
    }
    let mut editor = AttributeEditor::copy(block, out);
    match key.kind {
        PeerKind::External => for_external(key, &mut editor),
        _ => for_internal(key, route.source, &mut editor),
    }
    // A path that our AS makes too long for its attribute cannot be told.
    let next_hop = next_hop.filter(|_| editor.finish().is_ok());
    Outcome { next_hop, used_prefix }
}

/// Buffers of [`outgoing`].
#[derive(Default)]
pub(super) struct Scratch {
    without_med: Vec<u8>,
    policy: Vec<u8>,
}

/// The well-known communities of RFC 1997, whatever the policy says.
fn keeps_home(block: &[u8], target: PeerKind) -> bool {
    PathAttributes::new(block).communities().any(|value| match value {
        community::NO_ADVERTISE => true,
        community::NO_EXPORT | community::NO_EXPORT_SUBCONFED => target == PeerKind::External,
        _ => false,
    })
}

/// RFC 4271 §5.1.3, RFC 4456 §10, RFC 2545 §3, RFC 8950: which next hop the members are told; nothing if
/// there is none that they could use.
fn next_hop(
    key: &GroupKey,
    source: PeerKind,
    received: NextHop,
    action: Option<NextHopAction>,
) -> Option<NextHop> {
    let rule = &key.next_hop;
    let link_local_only = matches!(received.addr, IpAddr::V6(addr) if addr.is_unicast_link_local());
    let on_link = rule.connected.is_some_and(|subnet| subnet.contains(received.addr));
    let own = || own_next_hop(key);
    let told = match action {
        Some(NextHopAction::Itself) => own()?,
        Some(NextHopAction::Address(addr)) => NextHop::new(addr),
        // Our own routes have no next hop but us; a link-local one means nothing on another link.
        _ if received.addr.is_unspecified() || link_local_only => own()?,
        Some(NextHopAction::Unchanged) => received,
        None => match key.kind {
            PeerKind::External if on_link => received,
            PeerKind::External => own()?,
            // Reflecting leaves the next hop alone (RFC 4456 §10).
            _ if rule.force_self && !source.is_internal() => own()?,
            _ => received,
        },
    };
    let told = match told.link_local {
        Some(link_local) if !on_link && Some(link_local) != rule.self_link_local => NextHop::new(told.addr),
        _ => told,
    };
    match (key.family, told.addr) {
        (Family::Ipv4Unicast, IpAddr::V4(_)) | (Family::Ipv6Unicast, IpAddr::V6(_)) => Some(told),
        (Family::Ipv4Unicast, IpAddr::V6(_)) if key.extended_next_hop => Some(told),
        (Family::Ipv4Unicast, IpAddr::V6(_)) => own().filter(|own| own.addr.is_ipv4()),
        (Family::Ipv6Unicast, IpAddr::V4(_)) => own(),
    }
}

/// Our own address as the members see it.
fn own_next_hop(key: &GroupKey) -> Option<NextHop> {
    let NextHopRule { self_v4, self_v6, self_link_local, .. } = &key.next_hop;
    let six = || match (self_v6, self_link_local) {
        (Some(global), _) => Some(NextHop { addr: IpAddr::V6(*global), link_local: *self_link_local }),
        (None, Some(link_local)) => Some(NextHop::new(IpAddr::V6(*link_local))),
        (None, None) => None,
    };
    match key.family {
        Family::Ipv6Unicast => six(),
        Family::Ipv4Unicast => match self_v4 {
            Some(addr) => Some(NextHop::new(IpAddr::V4(*addr))),
            None if key.extended_next_hop => six(),
            None => None,
        },
    }
}

/// Our own AS goes in front, what is only for our AS goes (RFC 4271 §5.1, RFC 4456 §8, RFC 4360 §6, RFC 5065 §5.1).
fn for_external(key: &GroupKey, editor: &mut AttributeEditor<'_>) {
    const INTERNAL: [u8; 3] = [code::LOCAL_PREF, code::ORIGINATOR_ID, code::CLUSTER_LIST];
    const NON_TRANSITIVE: u64 = 0x40 << 56;
    editor
        .retain(|attribute| !INTERNAL.contains(&attribute.code))
        .remove_extended_communities(|community| community & NON_TRANSITIVE != 0)
        .remove_confederation_segments()
        .prepend_as(key.local_asn, 1);
}

/// LOCAL_PREF is mandatory (RFC 4271 §5.1.5), and so is a path, be it empty (§5.1.2). A reflected route says
/// where it came from and through which clusters (RFC 4456 §8).
fn for_internal(key: &GroupKey, source: &PeerInfo, editor: &mut AttributeEditor<'_>) {
    let attributes = editor.attributes();
    let (no_path, no_local_pref) =
        (attributes.get(code::AS_PATH).is_none(), attributes.local_pref().is_none());
    let no_originator = attributes.originator_id().is_none();
    if no_path {
        editor.set_as_path(&[]);
    }
    if no_local_pref {
        editor.set_local_pref(LOCAL_PREF_DEFAULT);
    }
    if source.kind.is_internal() {
        if no_originator {
            editor.set_originator_id(source.router_id);
        }
        editor.prepend_cluster_id(key.cluster_id);
    } else {
        editor.remove(code::ORIGINATOR_ID).remove(code::CLUSTER_LIST);
    }
}
