//! What was wrong with an UPDATE that did not end the session: RFC 7606's treatments as a type.

use std::fmt;

use super::attrs::code;

/// How RFC 7606 §2 says that an error is handled. In order of strength: the strongest of a message
/// counts (§3 (h)). The one beyond these, "session reset", is the `Err` of
/// [`super::update::decode_update`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Treatment {
    /// Nothing was wrong.
    #[default]
    None,
    /// "Attribute discard": the attribute is left out, the routes stand.
    Discard,
    /// "Treat-as-withdraw": the announced routes count as withdrawn.
    TreatAsWithdraw,
}

/// What was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Problem {
    /// The Optional or Transitive flag is not what the attribute's definition says.
    Flags,
    /// A length that the attribute cannot have.
    Length,
    /// A value that the attribute cannot have.
    Value,
    /// AS_PATH or AS4_PATH: a segment of an unknown type, without members, or beyond the attribute.
    Segments,
    /// AS number 0 (RFC 7607).
    AsZero,
    /// A confederation segment from outside the confederation (RFC 5065 §5).
    Confederation,
    /// The attribute stands there more than once.
    Duplicate,
    /// A mandatory attribute is not there.
    Missing,
    /// The attribute runs beyond the attributes' total length, or less than a header is left.
    Overrun,
    /// The attribute may not come from an external peer.
    FromExternal,
    /// The attribute may not come from a peer with four-octet AS numbers.
    FromNewSpeaker,
    /// Routes of a family that was not negotiated, or that we do not know.
    Family,
}

/// One error within an UPDATE and what was done about it: for the log and the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Finding {
    /// The type code of the attribute; 0 for the fields of the message itself.
    pub attribute: u8,
    /// What was wrong with it.
    pub problem: Problem,
    /// What was done.
    pub treatment: Treatment,
}

impl Finding {
    /// The section that says so.
    pub const fn section(&self) -> &'static str {
        match (self.problem, self.attribute) {
            (Problem::Flags, _) => "RFC 7606 §3 (c)",
            (Problem::Missing, _) => "RFC 7606 §3 (d)",
            (Problem::Duplicate, _) => "RFC 7606 §3 (g)",
            (Problem::Overrun, _) => "RFC 7606 §4",
            (Problem::AsZero, _) => "RFC 7607 §2",
            (Problem::Confederation, code::AS4_PATH) => "RFC 6793 §6",
            (Problem::Confederation, _) => "RFC 5065 §5",
            (Problem::FromNewSpeaker, _) => "RFC 6793 §4.1",
            (Problem::Family, _) => "RFC 4760 §8",
            (_, code::ORIGIN) => "RFC 7606 §7.1",
            (_, code::AS_PATH) => "RFC 7606 §7.2",
            (_, code::NEXT_HOP) => "RFC 7606 §7.3",
            (_, code::MULTI_EXIT_DISC) => "RFC 7606 §7.4",
            (_, code::LOCAL_PREF) => "RFC 7606 §7.5",
            (_, code::ATOMIC_AGGREGATE) => "RFC 7606 §7.6",
            (_, code::AGGREGATOR) => "RFC 7606 §7.7",
            (_, code::COMMUNITIES) => "RFC 7606 §7.8",
            (_, code::ORIGINATOR_ID) => "RFC 7606 §7.9",
            (_, code::CLUSTER_LIST) => "RFC 7606 §7.10",
            (_, code::MP_REACH_NLRI) => "RFC 7606 §7.11",
            (_, code::MP_UNREACH_NLRI) => "RFC 7606 §7.12",
            (_, code::EXTENDED_COMMUNITIES) => "RFC 7606 §7.14",
            (_, code::IPV6_EXTENDED_COMMUNITIES) => "RFC 7606 §7.15",
            (_, code::AS4_PATH | code::AS4_AGGREGATOR) => "RFC 6793 §6",
            (_, code::LARGE_COMMUNITIES) => "RFC 8092 §6",
            _ => "RFC 7606 §3",
        }
    }
}

impl fmt::Display for Finding {
    /// `ORIGIN has a wrong value (RFC 7606 §7.1): routes treated as withdrawn`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (code::name(self.attribute), self.attribute) {
            (Some(name), _) => f.write_str(name)?,
            (None, 0) => f.write_str("UPDATE")?,
            (None, other) => write!(f, "attribute {other}")?,
        }
        f.write_str(match self.problem {
            Problem::Flags => " has wrong flags",
            Problem::Length => " has a wrong length",
            Problem::Value => " has a wrong value",
            Problem::Segments => " has malformed segments",
            Problem::AsZero => " contains AS 0",
            Problem::Confederation => " contains confederation segments",
            Problem::Duplicate => " occurs twice",
            Problem::Missing => " is missing",
            Problem::Overrun => " does not fit into the attributes' total length",
            Problem::FromExternal => " came from an external peer",
            Problem::FromNewSpeaker => " came from a peer with four-octet AS numbers",
            Problem::Family => " carries a family that was not negotiated",
        })?;
        write!(f, " ({})", self.section())?;
        f.write_str(match self.treatment {
            Treatment::None => "",
            Treatment::Discard => ": discarded",
            Treatment::TreatAsWithdraw => ": routes treated as withdrawn",
        })
    }
}
