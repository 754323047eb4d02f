//! What RFC 7606 §7 and its companions say about the flags, the length and the value of each attribute.
//!
//! One function per question, no state: [`super::update`] walks the attributes and asks.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::attrs::{SegmentKind, code};
use super::finding::{Problem, Treatment};
use super::notification::update as subcode;
use super::update::DecodeContext;
use super::{read_u16, read_u32};

/// What is wrong with an attribute, what follows from it, and the NOTIFICATION's subcode should it come
/// to that (RFC 7606 §5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub problem: Problem,
    pub treatment: Treatment,
    pub subcode: u8,
}

const fn withdraw(problem: Problem, subcode: u8) -> Result<(), Verdict> {
    Err(Verdict { problem, treatment: Treatment::TreatAsWithdraw, subcode })
}

const fn discard(problem: Problem) -> Result<(), Verdict> {
    Err(Verdict { problem, treatment: Treatment::Discard, subcode: subcode::OPTIONAL_ATTRIBUTE })
}

/// Checks the value of an attribute that kulan knows and whose flags are right; not for MP_REACH_NLRI,
/// MP_UNREACH_NLRI and NEXT_HOP's value.
pub(super) fn check_value(attribute: u8, value: &[u8], context: &DecodeContext) -> Result<(), Verdict> {
    let len = value.len();
    let fixed = |expected: usize| {
        if len == expected { Ok(()) } else { withdraw(Problem::Length, subcode::ATTRIBUTE_LENGTH) }
    };
    let list_of = |element: usize| {
        if len > 0 && len.is_multiple_of(element) {
            Ok(())
        } else {
            withdraw(Problem::Length, subcode::OPTIONAL_ATTRIBUTE)
        }
    };
    match attribute {
        // RFC 7606 §7.1.
        code::ORIGIN => match value {
            [0..=2] => Ok(()),
            [_] => withdraw(Problem::Value, subcode::INVALID_ORIGIN),
            _ => withdraw(Problem::Length, subcode::ATTRIBUTE_LENGTH),
        },
        // §7.2.
        code::AS_PATH => match path_problem(value, context.asn_len(), context.external) {
            None => Ok(()),
            Some(problem) => withdraw(problem, subcode::MALFORMED_AS_PATH),
        },
        // §7.3 and §7.4.
        code::NEXT_HOP | code::MULTI_EXIT_DISC => fixed(4),
        // §7.5, §7.9, §7.10: from an external peer, gone whatever is in it.
        code::LOCAL_PREF | code::ORIGINATOR_ID | code::CLUSTER_LIST if context.external => {
            discard(Problem::FromExternal)
        }
        code::LOCAL_PREF | code::ORIGINATOR_ID => fixed(4),
        code::CLUSTER_LIST | code::COMMUNITIES => list_of(4),
        // §7.6.
        code::ATOMIC_AGGREGATE if len != 0 => discard(Problem::Length),
        // §7.7; RFC 7607 §2.
        code::AGGREGATOR => {
            if len != context.asn_len() + 4 {
                discard(Problem::Length)
            } else if read_asn(value, context.asn_len()) == 0 {
                discard(Problem::AsZero)
            } else {
                Ok(())
            }
        }
        // §7.14, §7.15; RFC 8092 §6.
        code::EXTENDED_COMMUNITIES => list_of(8),
        code::IPV6_EXTENDED_COMMUNITIES => list_of(20),
        code::LARGE_COMMUNITIES => list_of(12),
        // RFC 6793 §4.1: between speakers that both know four octets, these have no business.
        code::AS4_PATH | code::AS4_AGGREGATOR if context.four_octet_as => discard(Problem::FromNewSpeaker),
        // RFC 6793 §6. Confederation segments are left out in the merge rather than refused here.
        code::AS4_PATH => match path_problem(value, 4, false) {
            None if value.is_empty() => discard(Problem::Length),
            None => Ok(()),
            Some(problem) => discard(problem),
        },
        code::AS4_AGGREGATOR => {
            if len != 8 {
                discard(Problem::Length)
            } else if read_u32(value) == 0 {
                discard(Problem::AsZero)
            } else {
                Ok(())
            }
        }
        _ => Ok(()),
    }
}

/// The AS number at the start of `octets`, in `asn_len` (two or four) of them.
fn read_asn(octets: &[u8], asn_len: usize) -> u32 {
    if asn_len == 2 { u32::from(read_u16(octets)) } else { read_u32(octets) }
}

/// What is wrong with the segments of a path, if anything.
fn path_problem(value: &[u8], asn_len: usize, external: bool) -> Option<Problem> {
    let mut rest = value;
    while !rest.is_empty() {
        let Some((&[kind, count], after)) = rest.split_first_chunk::<2>() else {
            return Some(Problem::Segments);
        };
        let Some((asns, after)) = after.split_at_checked(usize::from(count) * asn_len) else {
            return Some(Problem::Segments);
        };
        match SegmentKind::from_u8(kind) {
            None => return Some(Problem::Segments),
            Some(_) if count == 0 => return Some(Problem::Segments),
            Some(kind) if external && kind.is_confederation() => return Some(Problem::Confederation),
            Some(_) => {}
        }
        let zero = if asn_len == 4 {
            asns.chunks_exact(4).any(|asn| asn == [0; 4])
        } else {
            asns.chunks_exact(2).any(|asn| asn == [0; 2])
        };
        if zero {
            return Some(Problem::AsZero);
        }
        rest = after;
    }
    None
}

/// Whether an address can be a host's: not of network 0 or 127, not multicast, not of class E
/// (RFC 4271 §6.3: "a valid IP host address").
pub(super) fn is_host4(addr: Ipv4Addr) -> bool {
    !matches!(addr.octets()[0], 0 | 127 | 224..)
}

/// Whether an address can be a host's: not unspecified, not loopback, not multicast.
pub(super) fn is_host6(addr: Ipv6Addr) -> bool {
    !(addr.is_unspecified() || addr.is_loopback() || addr.is_multicast())
}
