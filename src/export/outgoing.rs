//! What a route becomes on its way to the members of a group: RFC 4271 §5.1 and §9.2, RFC 4456 §6 to §8,
//! RFC 1997, RFC 2545 §3.
//!
//! The same for every member, so it is evaluated once for a group. Only to whom it must not go back, its
//! source, is left to the audience of the message.

use std::net::{IpAddr, Ipv6Addr};

use super::key::{GroupKey, NextHopRule};
use crate::policy::{LOCAL_PREF_DEFAULT, NextHopAction, Policy, RouteContext, Verdict};
use crate::rib::PeerInfo;
use crate::types::{Family, NextHop, PeerKind, Prefix};

mod code {
    pub const AS_PATH: u8 = 2;
    pub const MED: u8 = 4;
    pub const LOCAL_PREF: u8 = 5;
    pub const COMMUNITIES: u8 = 8;
    pub const ORIGINATOR_ID: u8 = 9;
    pub const CLUSTER_LIST: u8 = 10;
    pub const EXT_COMMUNITIES: u8 = 16;
}

const WELL_KNOWN: u8 = 0x40;
const OPTIONAL: u8 = 0x80;
const TRANSITIVE: u8 = 0x40;
const PARTIAL: u8 = 0x20;
const EXTENDED_LENGTH: u8 = 0x10;

const AS_SEQUENCE: u8 = 2;

/// Attributes that we understand: ORIGIN to CLUSTER_LIST, extended, IPv6 extended and large communities.
/// Others are passed on if transitive, marked Partial (RFC 4271 §5).
const RECOGNIZED: [u8; 12] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 16, 32];

const NO_EXPORT: u32 = 0xffff_ff01;
const NO_ADVERTISE: u32 = 0xffff_ff02;
const NO_EXPORT_SUBCONFED: u32 = 0xffff_ff03;

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
    let block = if foreign_med && attributes(route.block).any(|attribute| attribute.code == code::MED) {
        scratch.without_med.clear();
        for attribute in attributes(route.block).filter(|attribute| attribute.code != code::MED) {
            scratch.without_med.extend_from_slice(attribute.whole);
        }
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
    if next_hop.is_some() {
        out.clear();
        match key.kind {
            PeerKind::External => to_external(key, block, out),
            _ => to_internal(key, route.source, block, out),
        }
    }
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
    let Some(communities) = attributes(block).find(|attribute| attribute.code == code::COMMUNITIES) else {
        return false;
    };
    communities.value.chunks_exact(4).any(|community| {
        match u32::from_be_bytes([community[0], community[1], community[2], community[3]]) {
            NO_ADVERTISE => true,
            NO_EXPORT | NO_EXPORT_SUBCONFED => target == PeerKind::External,
            _ => false,
        }
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
        (Some(global), _) => {
            Some(NextHop { addr: IpAddr::V6(*global), link_local: *self_link_local })
        }
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

/// Our own AS goes in front, what is only for our AS goes (RFC 4271 §5.1, RFC 4456 §8, RFC 4360 §6).
fn to_external(key: &GroupKey, block: &[u8], out: &mut Vec<u8>) {
    let mut path_done = false;
    for attribute in attributes(block) {
        if attribute.code >= code::AS_PATH && !path_done {
            path_done = true;
            let path = if attribute.code == code::AS_PATH { attribute.value } else { &[] };
            put_prepended_path(out, key.local_asn, path);
        }
        match attribute.code {
            code::AS_PATH | code::LOCAL_PREF | code::ORIGINATOR_ID | code::CLUSTER_LIST => {}
            code::EXT_COMMUNITIES => put_transitive_communities(out, &attribute),
            _ => put_passed_on(out, &attribute),
        }
    }
    if !path_done {
        put_prepended_path(out, key.local_asn, &[]);
    }
}

/// LOCAL_PREF is mandatory (RFC 4271 §5.1.5); a reflected route says where it came from and through which
/// clusters (RFC 4456 §8).
fn to_internal(key: &GroupKey, source: &PeerInfo, block: &[u8], out: &mut Vec<u8>) {
    let reflected = source.kind.is_internal();
    // What has to stand before the attribute with this code, unless it has been written.
    let mut next = code::AS_PATH;
    let mut put_missing = |before: u8, out: &mut Vec<u8>| {
        while next < before {
            match next {
                code::AS_PATH => put(out, WELL_KNOWN, code::AS_PATH, &[&[]]),
                code::LOCAL_PREF => {
                    put(out, WELL_KNOWN, code::LOCAL_PREF, &[&LOCAL_PREF_DEFAULT.to_be_bytes()]);
                }
                code::ORIGINATOR_ID if reflected => {
                    put(out, OPTIONAL, code::ORIGINATOR_ID, &[&source.router_id.0.to_be_bytes()]);
                }
                code::CLUSTER_LIST if reflected => {
                    put(out, OPTIONAL, code::CLUSTER_LIST, &[&key.cluster_id.0.to_be_bytes()]);
                }
                _ => {}
            }
            next += 1;
        }
        // The attribute itself is there.
        next = next.max(before.saturating_add(1));
    };
    for attribute in attributes(block) {
        put_missing(attribute.code, out);
        match attribute.code {
            code::ORIGINATOR_ID | code::CLUSTER_LIST if !reflected => {}
            code::CLUSTER_LIST => {
                let own = key.cluster_id.0.to_be_bytes();
                put(out, attribute.flags, code::CLUSTER_LIST, &[&own, attribute.value]);
            }
            _ => put_passed_on(out, &attribute),
        }
    }
    put_missing(code::CLUSTER_LIST + 1, out);
}

/// RFC 4271 §5.1.2 b: prepended to the leading AS_SEQUENCE if there is one with room, else a new one.
fn put_prepended_path(out: &mut Vec<u8>, asn: u32, path: &[u8]) {
    let asn = asn.to_be_bytes();
    match path {
        [AS_SEQUENCE, count, rest @ ..] if *count < u8::MAX => {
            put(out, WELL_KNOWN, code::AS_PATH, &[&[AS_SEQUENCE, count + 1], &asn, rest]);
        }
        _ => put(out, WELL_KNOWN, code::AS_PATH, &[&[AS_SEQUENCE, 1], &asn, path]),
    }
}

/// RFC 4360 §6: communities that are not transitive stay within the AS.
fn put_transitive_communities(out: &mut Vec<u8>, attribute: &Attribute<'_>) {
    const NON_TRANSITIVE: u8 = 0x40;
    let passes = |community: &&[u8]| community[0] & NON_TRANSITIVE == 0;
    let kept: Vec<u8> = attribute.value.chunks_exact(8).filter(passes).flatten().copied().collect();
    if !kept.is_empty() {
        put(out, attribute.flags, attribute.code, &[&kept]);
    }
}

/// RFC 4271 §5: what we do not understand goes on if it is transitive, marked Partial; else it ends here.
fn put_passed_on(out: &mut Vec<u8>, attribute: &Attribute<'_>) {
    if RECOGNIZED.contains(&attribute.code) {
        out.extend_from_slice(attribute.whole);
    } else if attribute.flags & TRANSITIVE != 0 {
        let at = out.len();
        out.extend_from_slice(attribute.whole);
        out[at] |= PARTIAL;
    }
}

/// Writes one attribute in canonical form.
fn put(out: &mut Vec<u8>, flags: u8, code: u8, value: &[&[u8]]) {
    let len: usize = value.iter().map(|part| part.len()).sum();
    match u8::try_from(len) {
        Ok(len) => out.extend_from_slice(&[flags & !EXTENDED_LENGTH, code, len]),
        Err(_) => {
            let [high, low] = (len as u16).to_be_bytes();
            out.extend_from_slice(&[flags | EXTENDED_LENGTH, code, high, low]);
        }
    }
    for part in value {
        out.extend_from_slice(part);
    }
}

/// One attribute of a canonical block.
pub(super) struct Attribute<'a> {
    pub flags: u8,
    pub code: u8,
    pub value: &'a [u8],
    pub whole: &'a [u8],
}

/// The attributes of a canonical block.
pub(super) fn attributes(block: &[u8]) -> impl Iterator<Item = Attribute<'_>> {
    let mut rest = block;
    std::iter::from_fn(move || {
        let &[flags, code, short, ..] = rest else { return None };
        let (header, len) = if flags & EXTENDED_LENGTH == 0 {
            (3, usize::from(short))
        } else {
            (4, usize::from(short) << 8 | usize::from(*rest.get(3)?))
        };
        let (whole, behind) = rest.split_at_checked(header + len)?;
        rest = behind;
        Some(Attribute { flags, code, value: &whole[header..], whole })
    })
}

/// The value on the wire of an IPv6 next hop (RFC 2545 §3).
pub(super) fn ipv6_next_hop(next_hop: &NextHop) -> Option<([u8; 16], Option<[u8; 16]>)> {
    let link_local = next_hop.link_local.as_ref().map(Ipv6Addr::octets);
    match next_hop.addr {
        IpAddr::V6(addr) => Some((addr.octets(), link_local)),
        IpAddr::V4(_) => None,
    }
}
