//! From names and numbers of a model to conditions and edits that need no further lookup.

use std::collections::HashMap;
use std::rc::Rc;

use super::as_path::AsPathPattern;
use super::edit::{Edit, ListEdit};
use super::evaluate::{CompiledRule, Condition};
use super::model::{CommunityEdit, Match, NamedSet, PolicyModel, Removal, Rule, Set};
use super::pattern::{Community, CommunityTable};
use super::prefix_table::PrefixTable;
use super::{CommunityPattern, ExtCommunityPattern, LargeCommunityPattern, Policies, Policy};

/// A fault in a policy of a model: where, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError {
    /// The policy, by its position from 0.
    pub policy: usize,
    /// The rule, by its position from 0.
    pub rule: usize,
    /// The key within the rule: `match.prefix_set`.
    pub key: String,
    /// The fault and its remedy.
    pub message: String,
}

impl std::fmt::Display for PolicyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "policy {}, rule {}, {}: {}", self.policy, self.rule, self.key, self.message)
    }
}

impl std::error::Error for PolicyError {}

/// Compiled sets by name.
struct Sets {
    prefixes: HashMap<String, Rc<PrefixTable>>,
    communities: HashMap<String, Rc<CommunityTable<CommunityPattern>>>,
    ext_communities: HashMap<String, Rc<CommunityTable<ExtCommunityPattern>>>,
    large_communities: HashMap<String, Rc<CommunityTable<LargeCommunityPattern>>>,
    as_paths: HashMap<String, Rc<[AsPathPattern]>>,
}

fn by_name<M, T>(sets: &[NamedSet<M>], compile: impl Fn(&[M]) -> T) -> HashMap<String, T> {
    sets.iter().map(|set| (set.name.clone(), compile(&set.members))).collect()
}

/// Where faults of one rule go.
struct Faults<'e> {
    policy: usize,
    rule: usize,
    errors: &'e mut Vec<PolicyError>,
}

impl Faults<'_> {
    fn note(&mut self, key: String, message: String) {
        self.errors.push(PolicyError { policy: self.policy, rule: self.rule, key, message });
    }

    /// The set of that name.
    fn set<T: Clone>(&mut self, sets: &HashMap<String, T>, kind: &str, key: String, name: &str) -> Option<T> {
        let set = sets.get(name).cloned();
        if set.is_none() {
            let others =
                sets.keys().map(|other| format!("{other:?}")).collect::<std::collections::BTreeSet<_>>();
            let remedy = match others.len() {
                0 => "write one".into(),
                1..=8 => format!("there are {}", others.into_iter().collect::<Vec<_>>().join(", ")),
                _ => "write one, or name one that is there".into(),
            };
            self.note(key, format!("no [[{kind}]] has the name {name:?}; {remedy}"));
        }
        set
    }
}

impl Policies {
    /// Compiles a model. Every fault is reported, not only the first.
    pub fn compile(model: &PolicyModel) -> Result<Policies, Vec<PolicyError>> {
        let sets = Sets {
            prefixes: by_name(&model.prefix_sets, |members| Rc::new(PrefixTable::new(members))),
            communities: by_name(&model.community_sets, |members| Rc::new(CommunityTable::new(members))),
            ext_communities: by_name(&model.ext_community_sets, |members| {
                Rc::new(CommunityTable::new(members))
            }),
            large_communities: by_name(&model.large_community_sets, |members| {
                Rc::new(CommunityTable::new(members))
            }),
            // An expression that does not compile is a fault of every rule that uses its set.
            as_paths: by_name(&model.as_path_sets, |members| {
                members.iter().filter_map(|pattern| AsPathPattern::compile(pattern).ok()).collect()
            }),
        };
        let mut errors = Vec::new();
        let mut named = Vec::with_capacity(model.policies.len());
        for (policy, definition) in model.policies.iter().enumerate() {
            let rules = definition.rules.iter().enumerate().map(|(rule, definition)| {
                let faults = &mut Faults { policy, rule, errors: &mut errors };
                compile_rule(definition, model, &sets, faults)
            });
            let rules = rules.collect();
            named.push(Rc::new(Policy { name: definition.name.clone(), rules, default: definition.default }));
        }
        if errors.is_empty() { Ok(Policies::with(named)) } else { Err(errors) }
    }
}

fn compile_rule(rule: &Rule, model: &PolicyModel, sets: &Sets, faults: &mut Faults<'_>) -> CompiledRule {
    CompiledRule {
        conditions: conditions(&rule.matches, model, sets, faults),
        edits: edits(&rule.set, model, faults),
        next_hop: rule.set.next_hop,
        then: rule.then,
    }
}

/// The conditions in the order in which they are asked: cheap before dear, and those that look at the prefix
/// last, so that an evaluation says as seldom as possible that it depends on the prefix.
fn conditions(matches: &Match, model: &PolicyModel, sets: &Sets, faults: &mut Faults<'_>) -> Vec<Condition> {
    let mut conditions = Vec::new();
    conditions.extend(matches.family.map(Condition::Family));
    conditions.extend(matches.origin.map(Condition::Origin));
    conditions.extend(matches.local_pref.map(Condition::LocalPref));
    conditions.extend(matches.med.map(Condition::Med));
    if !matches.next_hop.is_empty() {
        conditions.push(Condition::NextHop(matches.next_hop.clone()));
    }
    conditions.extend(matches.as_path_length.map(Condition::AsPathLength));
    if let Some(name) = &matches.community_set {
        let set = faults.set(&sets.communities, "community_set", "match.community_set".to_string(), name);
        conditions.extend(set.map(Condition::Communities));
    }
    if let Some(name) = &matches.ext_community_set {
        let key = "match.ext_community_set".to_string();
        let set = faults.set(&sets.ext_communities, "ext_community_set", key, name);
        conditions.extend(set.map(Condition::ExtCommunities));
    }
    if let Some(name) = &matches.large_community_set {
        let key = "match.large_community_set".to_string();
        let set = faults.set(&sets.large_communities, "large_community_set", key, name);
        conditions.extend(set.map(Condition::LargeCommunities));
    }
    if let Some(name) = &matches.as_path_set {
        let set = faults.set(&sets.as_paths, "as_path_set", "match.as_path_set".to_string(), name);
        let patterns = model.as_path_sets.iter().filter(|set| set.name == *name).flat_map(|set| &set.members);
        for error in patterns.filter_map(|pattern| AsPathPattern::compile(pattern).err()) {
            faults
                .note("match.as_path_set".to_string(), format!("an expression of the set {name:?} {error}"));
        }
        conditions.extend(set.map(Condition::AsPath));
    }
    if !matches.peer_asn.is_empty() {
        conditions.push(Condition::PeerAsn(matches.peer_asn.clone()));
    }
    if !matches.peer.is_empty() {
        conditions.push(Condition::Peer(matches.peer.clone()));
    }
    if let Some(name) = &matches.prefix_set {
        let set = faults.set(&sets.prefixes, "prefix_set", "match.prefix_set".to_string(), name);
        conditions.extend(set.map(Condition::Prefix));
    }
    conditions
}

fn edits(set: &Set, model: &PolicyModel, faults: &mut Faults<'_>) -> Vec<Edit> {
    let mut edits = Vec::new();
    edits.extend(set.local_pref.map(Edit::LocalPref));
    edits.extend(set.med.map(Edit::Med));
    edits.extend(set.origin.map(Edit::Origin));
    edits.extend(set.prepend.map(Edit::Prepend));
    if !set.communities.is_empty() {
        let edit = list_edit(&set.communities, &model.community_sets, "communities", "community_set", faults);
        edits.push(Edit::Communities(edit));
    }
    if !set.ext_communities.is_empty() {
        let (list, kind) = ("ext_communities", "ext_community_set");
        let edit = list_edit(&set.ext_communities, &model.ext_community_sets, list, kind, faults);
        edits.push(Edit::ExtCommunities(edit));
    }
    if !set.large_communities.is_empty() {
        let (list, kind) = ("large_communities", "large_community_set");
        let edit = list_edit(&set.large_communities, &model.large_community_sets, list, kind, faults);
        edits.push(Edit::LargeCommunities(edit));
    }
    edits
}

fn list_edit<P: Community>(
    edit: &CommunityEdit<P>,
    sets: &[NamedSet<P>],
    list: &str,
    kind: &str,
    faults: &mut Faults<'_>,
) -> ListEdit<P> {
    let exact = |patterns: &[P], key: String, faults: &mut Faults<'_>| {
        if let Some(pattern) = patterns.iter().find(|pattern| pattern.exact().is_none()) {
            faults.note(key, format!("{pattern} is not one community; write a number for each *"));
        }
        patterns.iter().filter_map(|pattern| pattern.exact()).collect::<Vec<_>>()
    };
    let set = edit.set.as_ref().map(|set| exact(set, format!("set.{list}"), faults));
    let add = exact(&edit.add, format!("set.add_{list}"), faults);
    let mut remove = Vec::new();
    for removal in &edit.remove {
        match removal {
            Removal::Pattern(pattern) => remove.push(*pattern),
            Removal::Set(name) => match sets.iter().find(|set| set.name == *name) {
                Some(set) => remove.extend(&set.members),
                None => {
                    let message = format!("{name:?} is neither a community nor the name of a [[{kind}]]");
                    faults.note(format!("set.remove_{list}"), message);
                }
            },
        }
    }
    ListEdit { set, remove: CommunityTable::new(&remove), add }
}
