//! Policies as a person writes them: named sets, rules in order, nothing resolved yet.
//!
//! These are plain data: the configuration reads them from TOML, a program may build them by hand, and two
//! of them can be compared. [`Policies::compile`](super::Policies::compile) turns them into something that
//! can be evaluated.

use std::net::IpAddr;

use super::pattern::{CommunityPattern, ExtCommunityPattern, LargeCommunityPattern};
use crate::types::{Family, Prefix};
use crate::wire::attrs::Origin;

/// Every set and every policy of a configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PolicyModel {
    /// `[[prefix_set]]`.
    pub prefix_sets: Vec<NamedSet<PrefixRange>>,
    /// `[[community_set]]` (RFC 1997).
    pub community_sets: Vec<NamedSet<CommunityPattern>>,
    /// `[[ext_community_set]]` (RFC 4360).
    pub ext_community_sets: Vec<NamedSet<ExtCommunityPattern>>,
    /// `[[large_community_set]]` (RFC 8092).
    pub large_community_sets: Vec<NamedSet<LargeCommunityPattern>>,
    /// `[[as_path_set]]`: expressions as in the routers of the field, see [`super::AsPathPattern`].
    pub as_path_sets: Vec<NamedSet<String>>,
    /// `[[policy]]`.
    pub policies: Vec<PolicyDefinition>,
}

impl PolicyModel {
    /// Whether the policy of that name says the same in both models, the sets that it uses included.
    pub fn has_same_policy(&self, other: &PolicyModel, name: &str) -> bool {
        let find = |model: &PolicyModel| model.policies.iter().position(|policy| policy.name == name);
        match (find(self), find(other)) {
            (Some(a), Some(b)) => {
                let (a, b) = (&self.policies[a], &other.policies[b]);
                a == b && a.rules.iter().all(|rule| self.has_same_sets(other, rule))
            }
            (None, None) => true,
            _ => false,
        }
    }

    fn has_same_sets(&self, other: &PolicyModel, rule: &Rule) -> bool {
        let (matches, set) = (&rule.matches, &rule.set);
        same(&self.prefix_sets, &other.prefix_sets, &matches.prefix_set)
            && same(&self.as_path_sets, &other.as_path_sets, &matches.as_path_set)
            && same(&self.community_sets, &other.community_sets, &matches.community_set)
            && same(&self.ext_community_sets, &other.ext_community_sets, &matches.ext_community_set)
            && same(&self.large_community_sets, &other.large_community_sets, &matches.large_community_set)
            && same(&self.community_sets, &other.community_sets, set.communities.removed_sets())
            && same(&self.ext_community_sets, &other.ext_community_sets, set.ext_communities.removed_sets())
            && same(
                &self.large_community_sets,
                &other.large_community_sets,
                set.large_communities.removed_sets(),
            )
    }
}

/// Whether every named set has the same members on both sides.
fn same<'n, T: PartialEq>(
    a: &[NamedSet<T>],
    b: &[NamedSet<T>],
    names: impl IntoIterator<Item = &'n String>,
) -> bool {
    names.into_iter().all(|name| {
        let find = |sets: &[NamedSet<T>]| sets.iter().position(|set| set.name == *name);
        find(a).map(|i| &a[i].members) == find(b).map(|i| &b[i].members)
    })
}

/// A set that rules refer to by name.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedSet<T> {
    /// Its name, unique among the sets of its kind.
    pub name: String,
    /// Its members; a route matches the set when it matches any of them.
    pub members: Vec<T>,
}

/// A prefix and the lengths of the prefixes within it that match: `10.0.0.0/8 ge 16 le 24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixRange {
    /// The covering prefix.
    pub prefix: Prefix,
    /// The shortest length that matches; at least the prefix's own.
    pub ge: u8,
    /// The longest length that matches.
    pub le: u8,
}

/// `[[policy]]`: rules in order, and what happens when none of them decides.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyDefinition {
    /// The name by which peers refer to it.
    pub name: String,
    /// The rules, tried in order.
    pub rules: Vec<Rule>,
    /// What becomes of a route that no rule decided.
    pub default: Verdict,
}

/// `[[policy.rule]]`: if everything in `matches` holds, apply `set` and do `then`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rule {
    /// The conditions; without any, every route matches.
    pub matches: Match,
    /// The changes.
    pub set: Set,
    /// What happens next.
    pub then: Then,
}

/// Whether a route goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The route goes through, as changed.
    Accept,
    /// The route stays out.
    Reject,
}

/// What a rule that matched leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Then {
    /// The route goes through.
    #[default]
    Accept,
    /// The route stays out.
    Reject,
    /// The next rule looks at the route as changed so far.
    Next,
}

/// Both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The least value that matches.
    pub ge: u32,
    /// The greatest value that matches.
    pub le: u32,
}

impl Range {
    /// Whether `value` lies within.
    pub const fn contains(self, value: u32) -> bool {
        self.ge <= value && value <= self.le
    }
}

/// The conditions of a rule. All that are given must hold; a list holds when one of its members does.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Match {
    /// The route's prefix is in the set.
    pub prefix_set: Option<String>,
    /// One of the route's communities is in the set.
    pub community_set: Option<String>,
    /// One of the route's extended communities is in the set.
    pub ext_community_set: Option<String>,
    /// One of the route's large communities is in the set.
    pub large_community_set: Option<String>,
    /// One of the set's expressions matches the AS path.
    pub as_path_set: Option<String>,
    /// The length of the AS path as the decision process counts it (RFC 4271 §9.1.2.2 a).
    pub as_path_length: Option<Range>,
    /// The next hop lies within one of these.
    pub next_hop: Vec<Prefix>,
    /// The route is of this family.
    pub family: Option<Family>,
    /// The peer that the route was learned from lies within one of these; our own routes never match.
    pub peer: Vec<Prefix>,
    /// The AS of the peer that the route was learned from is one of these.
    pub peer_asn: Vec<u32>,
    /// The ORIGIN.
    pub origin: Option<Origin>,
    /// LOCAL_PREF; absent counts as [`super::LOCAL_PREF_DEFAULT`].
    pub local_pref: Option<Range>,
    /// MULTI_EXIT_DISC; absent counts as 0 (RFC 4271 §9.1.2.2 c).
    pub med: Option<Range>,
}

/// The changes that a rule makes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Set {
    /// LOCAL_PREF.
    pub local_pref: Option<NumberEdit>,
    /// MULTI_EXIT_DISC.
    pub med: Option<NumberEdit>,
    /// ORIGIN.
    pub origin: Option<Origin>,
    /// AS numbers in front of the AS path.
    pub prepend: Option<Prepend>,
    /// The next hop.
    pub next_hop: Option<NextHopAction>,
    /// Communities.
    pub communities: CommunityEdit<CommunityPattern>,
    /// Extended communities.
    pub ext_communities: CommunityEdit<ExtCommunityPattern>,
    /// Large communities.
    pub large_communities: CommunityEdit<LargeCommunityPattern>,
}

/// A change of a number. Sums stop at the ends of the range instead of wrapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberEdit {
    /// This value.
    To(u32),
    /// More by this.
    Add(u32),
    /// Less by this.
    Subtract(u32),
    /// The attribute goes.
    Remove,
}

/// `prepend = { asn = 65000, count = 2 }`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prepend {
    /// The AS number; nothing: our own as this peer sees it.
    pub asn: Option<u32>,
    /// How often, 1 to [`super::PREPEND_MAX`].
    pub count: u8,
}

/// Which next hop a route gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NextHopAction {
    /// Our own address on the session.
    Itself,
    /// The one it came with, also where the protocol's default would be our own.
    Unchanged,
    /// This one.
    Address(IpAddr),
}

/// A change of a list of communities, in this order: replace, remove, add.
#[derive(Clone, Debug, PartialEq)]
pub struct CommunityEdit<P> {
    /// The list becomes this; every pattern is exact.
    pub set: Option<Vec<P>>,
    /// What matches any of these goes.
    pub remove: Vec<Removal<P>>,
    /// These come in, unless they are there; every pattern is exact.
    pub add: Vec<P>,
}

impl<P> Default for CommunityEdit<P> {
    fn default() -> CommunityEdit<P> {
        CommunityEdit { set: None, remove: Vec::new(), add: Vec::new() }
    }
}

impl<P> CommunityEdit<P> {
    /// The names of the sets whose members are removed.
    fn removed_sets(&self) -> impl Iterator<Item = &String> {
        self.remove.iter().filter_map(|removal| match removal {
            Removal::Set(name) => Some(name),
            Removal::Pattern(_) => None,
        })
    }

    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.set.is_none() && self.remove.is_empty() && self.add.is_empty()
    }
}

/// What to remove from a list of communities.
#[derive(Clone, Debug, PartialEq)]
pub enum Removal<P> {
    /// Whatever matches the pattern.
    Pattern(P),
    /// Whatever matches the set of that name.
    Set(String),
}

/// Which policy stands at one side of a peer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PolicyRef {
    /// Nothing was configured: internal peers accept, external ones reject (RFC 8212).
    Default,
    /// `"accept"`.
    Accept,
    /// `"reject"`.
    Reject,
    /// The policy of that name.
    Named(String),
}
