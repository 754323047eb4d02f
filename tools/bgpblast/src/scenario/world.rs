//! What was put into the speaker, and therefore what must come out.
//!
//! The speaker under test is taken to accept everything, to choose by RFC 4271 §9.1.2.2, and to tell everybody its best
//! paths as RFC 4271 §5.1 and RFC 4456 say. Where the RFCs leave a choice, or speakers are known to differ, every outcome
//! that is right is allowed: of paths between which only the order of arrival or router identifiers decide, any; of
//! routes with AS 0, both with and without (RFC 7607).

use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;

use kulan::types::{Family, FamilySet, NextHop, RouterId};
use kulan::wire::attrs::{PathAttributes, code};

use super::table::{Table, names_as_zero};
use crate::attributes::{SetId, may_be_told};
use crate::engine::{Engine, PeerNumber};
use crate::truth::{Expected, Own};

/// A peer as far as routes are concerned.
#[derive(Debug)]
pub struct Member {
    /// Its session.
    pub number: PeerNumber,
    /// Whether the speaker is in the same AS.
    pub internal: bool,
    /// Whether the speaker reflects to it.
    pub client: bool,
    /// Its BGP identifier.
    pub router_id: RouterId,
    /// The speaker's address on this session, which it gives as next hop to an external peer, and the one of the other
    /// family.
    pub speaker_address: IpAddr,
    /// The speaker's address of the other family on the same link.
    pub other_family: Option<IpAddr>,
    /// What it exchanges.
    pub families: FamilySet,
    /// Whether it takes several paths for a prefix.
    pub add_path: bool,
    /// Whether it checks what it is told.
    pub receives: bool,
    /// What it sends.
    pub table: Rc<Table>,
    /// What is different from its table, or beyond it; [`SetId::NONE`]: withdrawn.
    pub changes: HashMap<u32, SetId>,
    /// Whether it has announced its table, and its session is there.
    pub announced: bool,
}

/// Everything that was put into the speaker, and what is known of it.
#[derive(Debug, Default)]
pub struct World {
    /// All peers, by [`PeerNumber`].
    pub members: Vec<Member>,
    /// The speaker's AS number.
    pub asn: u32,
    /// The speaker's cluster identifier.
    pub cluster_id: RouterId,
    /// The community that the speaker adds to everything.
    pub tag: Option<u32>,
    /// Whether next hops may stay as they are toward external peers.
    pub shared_link: bool,
    /// Prefix numbers of routes that are under way: at a receiver they may be there or not yet.
    pub optional: std::ops::Range<u32>,
}

/// A path that the speaker can choose.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    member: usize,
    set: SetId,
}

/// What the decision process compares, the better the less (RFC 4271 §9.1.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    local_pref: std::cmp::Reverse<u32>,
    path_len: u32,
    origin: u8,
}

/// The best paths of a prefix: one, or several between which the speaker may choose.
#[derive(Clone, Debug)]
enum Best {
    None,
    One(Candidate),
    Several(Vec<Candidate>),
}

/// The prefix numbers of which a receiver's own path is the best one, by its place among the members.
type Owned = HashMap<usize, Vec<u32>>;

/// Receivers that must be told the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Class {
    internal: bool,
    client: bool,
    next_hop: [Option<IpAddr>; 2],
    families: FamilySet,
    add_path: bool,
}

impl World {
    /// Tells every receiver what it should hold from now on.
    pub fn expect(&self, engine: &mut Engine) {
        let best = self.best_paths(engine);
        let mut classes: HashMap<Class, (Rc<Expected>, Owned)> = HashMap::new();
        for member in self.members.iter().filter(|member| member.receives) {
            let class = member.class();
            let (expected, owned) =
                classes.entry(class).or_insert_with(|| self.expected_of(engine, &class, &best));
            let own = self.own(engine, member, &class, &best, owned.get(&member.number.0));
            engine.held_mut(member.number).expect(expected.clone(), own);
        }
    }

    /// The best paths by prefix number.
    fn best_paths(&self, engine: &Engine) -> Vec<Best> {
        let mut best: Vec<Best> = vec![Best::None; engine.index().len()];
        let mut ranks: HashMap<(SetId, bool), Rank> = HashMap::new();
        let mut rank = |candidate: &Candidate| {
            let internal = self.members[candidate.member].internal;
            *ranks.entry((candidate.set, internal)).or_insert_with(|| {
                let attributes = PathAttributes::new(engine.store().block(candidate.set));
                let local_pref = if internal { attributes.local_pref().unwrap_or(100) } else { 100 };
                Rank {
                    local_pref: std::cmp::Reverse(local_pref),
                    path_len: attributes.as_path().length(),
                    origin: attributes.origin().map_or(2, |origin| origin as u8),
                }
            })
        };
        let all_paths = self.members.iter().any(|member| member.receives && member.add_path);
        for (place, member) in self.members.iter().enumerate().filter(|(_, member)| member.announced) {
            for (number, set) in member.effective() {
                let new = Candidate { member: place, set };
                let slot = &mut best[number as usize];
                match slot {
                    Best::None => *slot = Best::One(new),
                    _ if all_paths => slot.push(new),
                    Best::One(old) => match rank(&new).cmp(&rank(old)) {
                        std::cmp::Ordering::Less => *slot = Best::One(new),
                        std::cmp::Ordering::Equal => slot.push(new),
                        std::cmp::Ordering::Greater => {}
                    },
                    Best::Several(old) => match rank(&new).cmp(&rank(&old[0])) {
                        std::cmp::Ordering::Less => *slot = Best::One(new),
                        std::cmp::Ordering::Equal => slot.push(new),
                        std::cmp::Ordering::Greater => {}
                    },
                }
            }
        }
        if !all_paths {
            for slot in &mut best {
                if let Best::Several(tied) = slot {
                    let rest = self.decide(engine, tied);
                    *slot = if let [one] = rest[..] { Best::One(one) } else { Best::Several(rest) };
                }
            }
        }
        best
    }

    /// The steps behind the origin that do not depend on the order of arrival: MULTI_EXIT_DISC among paths of the same
    /// neighbour AS (c), and external before internal (d).
    fn decide(&self, engine: &Engine, tied: &[Candidate]) -> Vec<Candidate> {
        let med = |candidate: &Candidate| {
            let attributes = PathAttributes::new(engine.store().block(candidate.set));
            (attributes.as_path().neighbor_as(), attributes.med().unwrap_or(0))
        };
        let beaten = |candidate: &&Candidate| {
            let (asn, own) = med(candidate);
            asn.is_some() && tied.iter().map(med).any(|(other, value)| other == asn && value < own)
        };
        let mut rest: Vec<Candidate> = tied.iter().filter(|candidate| !beaten(candidate)).copied().collect();
        if rest.iter().any(|candidate| !self.members[candidate.member].internal) {
            rest.retain(|candidate| !self.members[candidate.member].internal);
        }
        rest
    }

    /// What a class of receivers should hold, and which numbers are whose.
    fn expected_of(&self, engine: &mut Engine, class: &Class, best: &[Best]) -> (Rc<Expected>, Owned) {
        let mut expected = Expected::nothing(best.len());
        let mut owned = Owned::new();
        let receivers: Vec<bool> = self.members.iter().map(|member| member.receives).collect();
        let mut made: HashMap<(SetId, usize), Vec<SetId>> = HashMap::new();
        for (number, slot) in best.iter().enumerate() {
            let number = number as u32;
            if !class.families.contains(engine.index().prefix(number).family()) {
                continue;
            }
            let candidates = slot.candidates();
            for candidate in candidates.iter().filter(|candidate| receivers[candidate.member]) {
                owned.entry(candidate.member).or_default().push(number);
            }
            let mut outcomes = Vec::with_capacity(1);
            for candidate in candidates {
                outcomes.extend_from_slice(self.outcomes(engine, class, candidate, number, &mut made));
            }
            if self.optional.contains(&number) {
                outcomes.push(SetId::NONE);
            }
            match outcomes[..] {
                [] => {}
                [one] => expected.set(number, one),
                _ => expected.set_any(number, outcomes),
            }
        }
        (Rc::new(expected), owned)
    }

    /// What is different for a receiver that is the source of some of the best paths.
    fn own(
        &self,
        engine: &mut Engine,
        member: &Member,
        class: &Class,
        best: &[Best],
        numbers: Option<&Vec<u32>>,
    ) -> Own {
        let mut made = HashMap::new();
        let mut own = Own::new();
        for &number in numbers.into_iter().flatten() {
            // Its own path must not come back; where that is the best one, nothing does.
            let mut outcomes = if class.add_path { Vec::new() } else { vec![SetId::NONE] };
            for candidate in best[number as usize].candidates() {
                if candidate.member != member.number.0 {
                    outcomes.extend_from_slice(self.outcomes(engine, class, candidate, number, &mut made));
                }
            }
            own.insert(number, outcomes);
        }
        own
    }

    /// What receivers of a class may be told of a path.
    fn outcomes<'m>(
        &self,
        engine: &mut Engine,
        class: &Class,
        candidate: &Candidate,
        number: u32,
        made: &'m mut HashMap<(SetId, usize), Vec<SetId>>,
    ) -> &'m [SetId] {
        let source = &self.members[candidate.member];
        // Only an internal source leaves its own mark, in ORIGINATOR_ID.
        let key = (candidate.set, if source.internal { candidate.member + 1 } else { 0 });
        made.entry(key).or_insert_with(|| {
            let family = engine.index().prefix(number).family();
            let mut outcomes = self.told(engine, class, source, candidate.set, family);
            outcomes.sort_unstable();
            outcomes.dedup();
            outcomes
        })
    }

    fn told(
        &self,
        engine: &mut Engine,
        class: &Class,
        source: &Member,
        set: SetId,
        family: Family,
    ) -> Vec<SetId> {
        let attributes = PathAttributes::new(engine.store().block(set));
        let silent = (source.internal && class.internal && !source.client && !class.client)
            || !may_be_told(attributes, !class.internal);
        if silent {
            return vec![SetId::NONE];
        }
        let (as_zero_in_path, as_zero_aggregated) = names_as_zero(attributes);
        let kept = engine.store().next_hop(set);
        let next_hops = if class.internal {
            vec![kept]
        } else {
            let own = class.next_hop[family.index()].map(NextHop::new).unwrap_or(kept);
            if self.shared_link { vec![own, kept] } else { vec![own] }
        };
        let store = engine.store_mut();
        let mut outcomes = Vec::new();
        for next_hop in next_hops {
            let told = store.derive(set, next_hop, |editor| {
                if class.internal {
                    if editor.attributes().local_pref().is_none() {
                        editor.set_local_pref(100);
                    }
                    if source.internal {
                        if editor.attributes().originator_id().is_none() {
                            editor.set_originator_id(source.router_id);
                        }
                        editor.prepend_cluster_id(self.cluster_id);
                    }
                } else {
                    for code in
                        [code::MULTI_EXIT_DISC, code::LOCAL_PREF, code::ORIGINATOR_ID, code::CLUSTER_LIST]
                    {
                        editor.remove(code);
                    }
                    editor.prepend_as(self.asn, 1);
                }
                if let Some(tag) = self.tag {
                    editor.add_communities(&[tag]);
                }
            });
            outcomes.push(told);
            if as_zero_aggregated {
                outcomes.push(store.derive(told, next_hop, |editor| {
                    editor.remove(code::AGGREGATOR);
                }));
            }
        }
        if as_zero_in_path {
            outcomes.push(SetId::NONE);
        }
        outcomes
    }
}

impl Best {
    fn push(&mut self, candidate: Candidate) {
        match self {
            Best::None => *self = Best::One(candidate),
            Best::One(one) => *self = Best::Several(vec![*one, candidate]),
            Best::Several(several) => several.push(candidate),
        }
    }

    fn candidates(&self) -> &[Candidate] {
        match self {
            Best::None => &[],
            Best::One(one) => std::slice::from_ref(one),
            Best::Several(several) => several,
        }
    }
}

impl Member {
    fn class(&self) -> Class {
        let mut next_hop = [None; 2];
        for address in [Some(self.speaker_address), self.other_family].into_iter().flatten() {
            next_hop[usize::from(address.is_ipv6())].get_or_insert(address);
        }
        Class {
            internal: self.internal,
            client: self.client,
            next_hop: if self.internal { [None; 2] } else { next_hop },
            families: self.families,
            add_path: self.add_path,
        }
    }

    /// The routes that it has announced and not withdrawn.
    pub fn effective(&self) -> impl Iterator<Item = (u32, SetId)> + '_ {
        let table = self.table.routes.iter().map(|route| (route.number, route.set));
        table
            .filter(|(number, _)| !self.changes.contains_key(number))
            .chain(self.changes.iter().map(|(number, set)| (*number, *set)))
            .filter(|(_, set)| *set != SetId::NONE)
    }
}
