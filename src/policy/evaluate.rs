//! Asking a compiled policy about one route.

use std::net::IpAddr;
use std::rc::Rc;

use super::as_path::AsPathPattern;
use super::edit::Edit;
use super::model::{NextHopAction, Range, Then, Verdict};
use super::pattern::{
    Community, CommunityPattern, CommunityTable, ExtCommunityPattern, LargeCommunityPattern,
};
use super::prefix_table::PrefixTable;
use super::{Evaluation, LOCAL_PREF_DEFAULT, Policy, RouteContext};
use crate::types::{Family, Prefix};
use crate::wire::attrs::Origin;
use crate::wire::{AttributeEditor, PathAttributes};

/// A rule without names.
#[derive(Clone, Debug)]
pub(super) struct CompiledRule {
    pub(super) conditions: Vec<Condition>,
    pub(super) edits: Vec<Edit>,
    pub(super) next_hop: Option<NextHopAction>,
    pub(super) then: Then,
}

/// One thing that must hold.
#[derive(Clone, Debug)]
pub(super) enum Condition {
    Family(Family),
    Origin(Origin),
    LocalPref(Range),
    Med(Range),
    NextHop(Vec<Prefix>),
    AsPathLength(Range),
    Communities(Rc<CommunityTable<CommunityPattern>>),
    ExtCommunities(Rc<CommunityTable<ExtCommunityPattern>>),
    LargeCommunities(Rc<CommunityTable<LargeCommunityPattern>>),
    AsPath(Rc<[AsPathPattern]>),
    PeerAsn(Vec<u32>),
    Peer(Vec<Prefix>),
    Prefix(Rc<PrefixTable>),
}

impl Condition {
    /// Whether the answer may be another one for another prefix of the same peer with the same attributes.
    fn uses_prefix(&self) -> bool {
        matches!(self, Condition::Prefix(_))
    }

    fn holds(&self, route: &RouteContext, next_hop: IpAddr, attrs: PathAttributes<'_>) -> bool {
        match self {
            Condition::Family(family) => *family == route.family,
            Condition::Origin(origin) => attrs.origin() == Some(*origin),
            Condition::LocalPref(range) => range.contains(attrs.local_pref().unwrap_or(LOCAL_PREF_DEFAULT)),
            Condition::Med(range) => range.contains(attrs.med().unwrap_or(0)),
            Condition::NextHop(prefixes) => prefixes.iter().any(|prefix| prefix.contains(next_hop)),
            Condition::AsPathLength(range) => range.contains(attrs.as_path().length()),
            Condition::Communities(set) => Community::any(attrs, set),
            Condition::ExtCommunities(set) => Community::any(attrs, set),
            Condition::LargeCommunities(set) => Community::any(attrs, set),
            Condition::AsPath(patterns) => patterns.iter().any(|pattern| pattern.matches(attrs.as_path())),
            Condition::PeerAsn(asns) => asns.contains(&route.peer_asn),
            Condition::Peer(ranges) => {
                route.peer_address.is_some_and(|peer| ranges.iter().any(|range| range.contains(peer)))
            }
            Condition::Prefix(table) => table.contains(route.prefix),
        }
    }
}

impl Policy {
    /// Says what becomes of a route with the canonical attributes `attrs`. If the result is `modified`, the
    /// new canonical block is in `out`, whose old content is gone.
    ///
    /// A rule sees the route as the rules before it left it.
    pub fn evaluate(&self, route: &RouteContext, attrs: &[u8], out: &mut Vec<u8>) -> Evaluation {
        let mut used_prefix = false;
        let mut edited = false;
        let mut next_hop = None;
        let mut verdict = self.default;
        for rule in &self.rules {
            let block = PathAttributes::new(if edited { out } else { attrs });
            let address = match next_hop {
                Some(NextHopAction::Address(address)) => address,
                _ => route.next_hop.addr,
            };
            let matched = rule.conditions.iter().all(|condition| {
                used_prefix |= condition.uses_prefix();
                condition.holds(route, address, block)
            });
            if !matched {
                continue;
            }
            if rule.then == Then::Reject {
                verdict = Verdict::Reject;
                break;
            }
            if !rule.edits.is_empty() {
                let mut editor =
                    if edited { AttributeEditor::on(out) } else { AttributeEditor::copy(attrs, out) };
                rule.edits.iter().for_each(|edit| edit.apply(route, &mut editor));
                edited = true;
            }
            next_hop = rule.next_hop.or(next_hop);
            if rule.then == Then::Accept {
                verdict = Verdict::Accept;
                break;
            }
        }
        match verdict {
            Verdict::Reject => Evaluation { verdict, modified: false, next_hop: None, used_prefix },
            // Changes that came to nothing need no new block in the caller's store.
            Verdict::Accept => {
                Evaluation { verdict, modified: edited && out.as_slice() != attrs, next_hop, used_prefix }
            }
        }
    }
}
