//! Policies: which routes go through, and what they become.
//!
//! A [`PolicyModel`] is what a person wrote; [`Policies::compile`] resolves the names in it, builds lookup
//! structures, and gives a [`Policy`] for each name. A policy is evaluated over a canonical attribute block
//! (see [`crate::wire::attrs`]) and writes a canonical block again; it has no state, does no I/O, and
//! allocates nothing but the growth of the caller's output buffer.
//!
//! A peer without a policy accepts what internal peers say and rejects what external ones say, in both
//! directions (RFC 8212 §2): [`Policies::resolve`].
//!
//! The well-known communities of RFC 1997 are not policy here: export honours them whatever a policy says.

mod as_path;
mod compile;
mod edit;
mod evaluate;
mod model;
mod pattern;
mod prefix_table;

use std::net::IpAddr;
use std::rc::Rc;

pub use as_path::AsPathPattern;
pub use compile::PolicyError;
pub use model::{
    CommunityEdit, Match, NamedSet, NextHopAction, NumberEdit, PolicyDefinition, PolicyModel, PolicyRef,
    PrefixRange, Prepend, Range, Removal, Rule, Set, Then, Verdict,
};
pub use pattern::{CommunityPattern, ExtCommunityPattern, LargeCommunityPattern, community_name};

use crate::types::{Family, NextHop, PeerKind, Prefix};

/// The preference of a route that has none of its own (RFC 4271 §9.1.1 leaves the number to us; this is the
/// field's).
pub const LOCAL_PREF_DEFAULT: u32 = 100;

/// How often a rule may prepend an AS number: what a path longer than this is worth, nobody can tell, and
/// many routers refuse it.
pub const PREPEND_MAX: u8 = 32;

/// What a policy may ask about a route beside its attributes.
#[derive(Clone, Copy, Debug)]
pub struct RouteContext {
    /// The route's family.
    pub family: Family,
    /// The route's prefix.
    pub prefix: Prefix,
    /// The peer that the route was learned from; nothing for our own.
    pub peer_address: Option<IpAddr>,
    /// The AS of the peer that the route was learned from; ours for our own.
    pub peer_asn: u32,
    /// Our AS number as the peer at this side of the policy sees it: what `prepend = { asn = "own" }` adds.
    pub local_asn: u32,
    /// The route's next hop.
    pub next_hop: NextHop,
}

/// What a policy says of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evaluation {
    /// Whether the route goes through.
    pub verdict: Verdict,
    /// Whether the output buffer holds a new attribute block; else the old one stands, and the buffer's
    /// content means nothing.
    pub modified: bool,
    /// What to do with the next hop; nothing: what the protocol says.
    pub next_hop: Option<NextHopAction>,
    /// Whether a rule that looks at the prefix was reached. If not, every route of the same peer and family
    /// with the same attributes and next hop gets the same evaluation, and the caller may keep it.
    pub used_prefix: bool,
}

/// A compiled policy.
#[derive(Clone, Debug)]
pub struct Policy {
    name: String,
    rules: Vec<evaluate::CompiledRule>,
    default: Verdict,
}

impl Policy {
    /// The policy that lets everything through as it is.
    pub fn accept() -> Policy {
        Policy { name: "accept".to_string(), rules: Vec::new(), default: Verdict::Accept }
    }

    /// The policy that lets nothing through.
    pub fn reject() -> Policy {
        Policy { name: "reject".to_string(), rules: Vec::new(), default: Verdict::Reject }
    }

    /// The name that it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The one verdict of a policy that has no rules.
    pub fn constant(&self) -> Option<Verdict> {
        self.rules.is_empty().then_some(self.default)
    }
}

/// Every compiled policy of a configuration.
#[derive(Clone, Debug)]
pub struct Policies {
    named: Vec<Rc<Policy>>,
    accept: Rc<Policy>,
    reject: Rc<Policy>,
}

impl Policies {
    fn with(named: Vec<Rc<Policy>>) -> Policies {
        Policies { named, accept: Rc::new(Policy::accept()), reject: Rc::new(Policy::reject()) }
    }

    /// The policy of that name.
    pub fn get(&self, name: &str) -> Option<&Rc<Policy>> {
        self.named.iter().find(|policy| policy.name == name)
    }

    /// What stands at one side of a peer of this kind; nothing if there is no policy of that name, which a
    /// checked configuration rules out. Without a policy, internal peers get everything and external ones
    /// nothing (RFC 8212 §2).
    pub fn resolve(&self, policy: &PolicyRef, kind: PeerKind) -> Option<&Rc<Policy>> {
        match policy {
            PolicyRef::Accept => Some(&self.accept),
            PolicyRef::Reject => Some(&self.reject),
            PolicyRef::Default if kind == PeerKind::External => Some(&self.reject),
            PolicyRef::Default => Some(&self.accept),
            PolicyRef::Named(name) => self.get(name),
        }
    }
}
