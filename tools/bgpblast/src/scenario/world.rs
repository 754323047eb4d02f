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

use super::table::Table;
use crate::attributes::{SetId, may_be_told, names_as_zero};
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

#[cfg(test)]
mod tests {
    use kulan::wire::AttributeEditor;
    use kulan::wire::attrs::{Origin, community, flag};

    use super::*;
    use crate::engine::{Peer, Transport};
    use crate::scenario::table::SentRoute;

    const SPEAKER: u32 = 64496;

    /// Peers around one speaker, of which the routes are the ones that the tests write down.
    struct Around {
        engine: Engine,
        world: World,
    }

    fn around() -> Around {
        let world = World {
            asn: SPEAKER,
            cluster_id: RouterId(u32::from_be_bytes([9, 9, 9, 9])),
            ..World::default()
        };
        Around { engine: Engine::new().unwrap(), world }
    }

    impl Around {
        fn add(&mut self, asn: u32, client: bool) -> PeerNumber {
            let at = self.world.members.len() as u8 + 1;
            let router_id = RouterId(u32::from_be_bytes([10, 0, 0, at]));
            let families = FamilySet::ALL;
            let number = self.engine.add(Peer {
                address: IpAddr::from([10, 0, 0, at]),
                speaker: ([10, 0, 0, 254], 179).into(),
                transport: Transport::Dial,
                asn,
                router_id,
                hold_time_s: 90,
                families,
                add_path: false,
                extended_messages: false,
                md5: None,
                receives: true,
            });
            self.world.members.push(Member {
                number,
                internal: asn == SPEAKER,
                client,
                router_id,
                speaker_address: IpAddr::from([10, 0, 0, 254]),
                other_family: Some("2001:db8::254".parse().unwrap()),
                families,
                add_path: false,
                receives: true,
                table: Rc::default(),
                changes: HashMap::new(),
                announced: false,
            });
            number
        }

        fn external(&mut self, asn: u32) -> PeerNumber {
            self.add(asn, false)
        }

        fn internal(&mut self) -> PeerNumber {
            self.add(SPEAKER, false)
        }

        fn client(&mut self) -> PeerNumber {
            self.add(SPEAKER, true)
        }

        fn member(&mut self, number: PeerNumber) -> &mut Member {
            &mut self.world.members[number.0]
        }

        /// Has a peer announce a route with ORIGIN IGP, this path, its own address as next hop, and what `edit` adds.
        fn announce(
            &mut self,
            from: PeerNumber,
            prefix: &str,
            path: &[u32],
            edit: impl FnOnce(&mut AttributeEditor<'_>),
        ) -> u32 {
            let mut block = Vec::new();
            let mut editor = AttributeEditor::on(&mut block);
            editor.set_origin(Origin::Igp).set_as_path(path);
            edit(&mut editor);
            let number = self.engine.index_mut().number(prefix.parse().unwrap());
            let next_hop = match prefix.contains(':') {
                true => "2001:db8::1".parse().unwrap(),
                false => self.engine.peer(from).address,
            };
            let set = self.engine.store_mut().intern(&block, NextHop::new(next_hop));
            let member = self.member(from);
            let mut table = Table::default();
            table.routes.extend(&member.table.routes);
            table.routes.push(SentRoute { number, path_id: 0, set });
            member.table = Rc::new(table);
            member.announced = true;
            number
        }

        /// What a receiver may hold of a prefix, each with an attribute a line; no line: no route.
        fn told(&mut self, to: PeerNumber, prefix: u32) -> Vec<String> {
            self.world.expect(&mut self.engine);
            let wanted = self.engine.held(to).wanted(prefix);
            let mut told: Vec<String> =
                wanted.into_iter().map(|set| self.engine.store().show(set).join("\n")).collect();
            told.sort();
            told
        }

        /// The AS paths of what a receiver may hold.
        fn paths(&mut self, to: PeerNumber, prefix: u32) -> Vec<String> {
            let path = |lines: &String| {
                let line = lines.lines().find_map(|line| line.strip_prefix("AS_PATH "));
                line.unwrap_or("nothing").to_string()
            };
            let mut paths: Vec<String> = self.told(to, prefix).iter().map(path).collect();
            // By number, and nothing first.
            paths.sort_by_key(|path| (path != "nothing", path.clone()));
            paths
        }
    }

    fn plain(_: &mut AttributeEditor<'_>) {}

    fn med(editor: &mut AttributeEditor<'_>, value: u32) {
        editor.set(flag::OPTIONAL, code::MULTI_EXIT_DISC, &value.to_be_bytes());
    }

    const PREFIX: &str = "198.51.100.0/24";
    const NOTHING: [&str; 1] = [""];

    // What becomes of a route on its way.

    #[test]
    fn between_externals_the_speaker_prepends_itself_and_keeps_what_is_internal_to_itself() {
        let mut net = around();
        let (from, to) = (net.external(65001), net.external(65002));
        let route = net.announce(from, PREFIX, &[65001, 65100], |editor| med(editor, 5));
        assert_eq!(
            net.told(to, route),
            ["NEXT_HOP 10.0.0.254\nORIGIN IGP\nAS_PATH 64496 65001 65100"],
            "no MULTI_EXIT_DISC, no LOCAL_PREF"
        );
    }

    #[test]
    fn from_internal_to_external_local_pref_and_the_marks_of_reflection_are_gone() {
        let mut net = around();
        let (from, to) = (net.internal(), net.external(65002));
        let route = net.announce(from, PREFIX, &[65100], |editor| {
            editor.set_local_pref(300).set_originator_id(RouterId(7)).prepend_cluster_id(RouterId(8));
            med(editor, 5);
        });
        assert_eq!(net.told(to, route), ["NEXT_HOP 10.0.0.254\nORIGIN IGP\nAS_PATH 64496 65100"]);
    }

    #[test]
    fn from_external_to_internal_local_pref_is_100_and_the_next_hop_stays() {
        let mut net = around();
        let from = net.external(65001);
        let to = [net.internal(), net.client()];
        let route = net.announce(from, PREFIX, &[65001], |editor| med(editor, 5));
        for to in to {
            let whole = "NEXT_HOP 10.0.0.1\nORIGIN IGP\nAS_PATH 65001\nMULTI_EXIT_DISC 5\nLOCAL_PREF 100";
            assert_eq!(net.told(to, route), [whole]);
        }
    }

    #[test]
    fn an_ipv6_route_gets_the_speakers_ipv6_address() {
        let mut net = around();
        let (from, to) = (net.external(65001), net.external(65002));
        let route = net.announce(from, "2001:db8:77::/48", &[65001], plain);
        assert_eq!(net.told(to, route), ["NEXT_HOP 2001:db8::254\nORIGIN IGP\nAS_PATH 64496 65001"]);
        net.member(to).families = FamilySet::only(Family::Ipv4Unicast);
        assert_eq!(net.told(to, route), NOTHING, "to who does not take that family");
    }

    #[test]
    fn a_shared_link_may_keep_the_next_hop() {
        let mut net = around();
        let (from, to) = (net.external(65001), net.external(65002));
        let route = net.announce(from, PREFIX, &[65001], plain);
        net.world.shared_link = true;
        let rest = "\nORIGIN IGP\nAS_PATH 64496 65001";
        let both = ["1", "254"].map(|last| format!("NEXT_HOP 10.0.0.{last}{rest}"));
        assert_eq!(net.told(to, route), both);
    }

    #[test]
    fn the_community_of_a_policy_is_added_for_everybody() {
        let mut net = around();
        let from = net.external(65001);
        let to = [net.external(65002), net.client()];
        let route = net.announce(from, PREFIX, &[65001], |editor| {
            editor.add_communities(&[7]);
        });
        net.world.tag = Some(64511 << 16 | 15);
        for to in to {
            assert!(net.told(to, route)[0].contains("COMMUNITIES 0:7 64511:15"));
        }
    }

    // Reflection (RFC 4456).

    #[test]
    fn a_clients_route_is_reflected_to_everybody_with_its_marks() {
        let mut net = around();
        let (from, client, other) = (net.client(), net.client(), net.internal());
        let route = net.announce(from, PREFIX, &[], |editor| {
            editor.set_local_pref(200);
        });
        let lines = [
            "NEXT_HOP 10.0.0.1",
            "ORIGIN IGP",
            "AS_PATH ",
            "LOCAL_PREF 200",
            "ORIGINATOR_ID 10.0.0.1",
            "CLUSTER_LIST 9.9.9.9",
        ];
        for to in [client, other] {
            assert_eq!(net.told(to, route), [lines.join("\n")]);
        }
        assert_eq!(net.told(from, route), NOTHING);
    }

    #[test]
    fn a_non_clients_route_is_reflected_to_clients_only() {
        let mut net = around();
        let (from, client, other, external) =
            (net.internal(), net.client(), net.internal(), net.external(65002));
        let route = net.announce(from, PREFIX, &[65100], plain);
        assert!(net.told(client, route)[0].contains("ORIGINATOR_ID 10.0.0.1\nCLUSTER_LIST 9.9.9.9"));
        assert_eq!(net.told(other, route), NOTHING, "between two that are no clients there is a session");
        assert_eq!(net.paths(external, route), ["64496 65100"]);
    }

    #[test]
    fn a_reflected_route_keeps_its_originator_and_collects_clusters() {
        let mut net = around();
        let (from, to) = (net.client(), net.client());
        let route = net.announce(from, PREFIX, &[], |editor| {
            editor.set_originator_id(RouterId(u32::from_be_bytes([1, 2, 3, 4])));
            editor.prepend_cluster_id(RouterId(u32::from_be_bytes([8, 8, 8, 8])));
        });
        let told = net.told(to, route);
        assert!(told[0].ends_with("ORIGINATOR_ID 1.2.3.4\nCLUSTER_LIST 9.9.9.9 8.8.8.8"), "{told:?}");
    }

    // Which route is the best one.

    #[test]
    fn nobody_gets_its_own_route_back() {
        let mut net = around();
        let (one, other, third) = (net.external(65001), net.external(65002), net.external(65003));
        let route = net.announce(one, PREFIX, &[65001], plain);
        net.announce(other, PREFIX, &[65002, 65100], plain);
        // The best path is its own; a speaker does not fall back to the second one for it.
        assert_eq!(net.paths(one, route), ["nothing"]);
        assert_eq!(net.paths(other, route), ["64496 65001"]);
        assert_eq!(net.paths(third, route), ["64496 65001"]);
    }

    #[test]
    fn where_only_the_order_of_arrival_decides_either_is_right() {
        let mut net = around();
        let (one, other, third) = (net.external(65001), net.external(65002), net.external(65003));
        let route = net.announce(one, PREFIX, &[65001], plain);
        net.announce(other, PREFIX, &[65002], plain);
        assert_eq!(net.paths(third, route), ["64496 65001", "64496 65002"]);
        // To a source: the other one's, or nothing where its own was chosen.
        assert_eq!(net.paths(one, route), ["nothing", "64496 65002"]);
        assert_eq!(net.paths(other, route), ["nothing", "64496 65001"]);
    }

    #[test]
    fn local_pref_comes_before_the_path_and_the_path_before_the_origin() {
        let mut net = around();
        let (one, other, to) = (net.internal(), net.internal(), net.client());
        let preferred = net.announce(one, "198.51.100.0/24", &[1, 2, 3], |editor| {
            editor.set_local_pref(200);
        });
        net.announce(other, "198.51.100.0/24", &[4], plain);
        assert_eq!(net.paths(to, preferred), ["1 2 3"]);
        let shorter = net.announce(one, "203.0.113.0/24", &[1], |editor| {
            editor.set_origin(Origin::Incomplete);
        });
        net.announce(other, "203.0.113.0/24", &[4, 5], plain);
        assert_eq!(net.paths(to, shorter), ["1"]);
        let known = net.announce(one, "192.0.2.0/24", &[1], |editor| {
            editor.set_origin(Origin::Incomplete);
        });
        net.announce(other, "192.0.2.0/24", &[4], plain);
        assert_eq!(net.paths(to, known), ["4"]);
    }

    #[test]
    fn local_pref_of_an_external_peer_does_not_count() {
        let mut net = around();
        let (one, other, to) = (net.external(65001), net.internal(), net.client());
        let route = net.announce(one, PREFIX, &[65001], plain);
        net.announce(other, PREFIX, &[65100], |editor| {
            editor.set_local_pref(101);
        });
        assert_eq!(net.paths(to, route), ["65100"]);
    }

    #[test]
    fn the_lower_med_wins_between_paths_of_one_neighbour_as_only() {
        let mut net = around();
        let (one, other, third) = (net.internal(), net.internal(), net.internal());
        let to = net.client();
        let route = net.announce(one, PREFIX, &[65001, 1], |editor| med(editor, 20));
        net.announce(other, PREFIX, &[65001, 2], |editor| med(editor, 10));
        assert_eq!(net.paths(to, route), ["65001 2"]);
        net.announce(third, PREFIX, &[65003, 3], |editor| med(editor, 30));
        assert_eq!(net.paths(to, route), ["65001 2", "65003 3"], "not compared with another AS's");
        // One without counts as the lowest.
        let fourth = net.internal();
        net.announce(fourth, PREFIX, &[65001, 4], plain);
        assert_eq!(net.paths(to, route), ["65001 4", "65003 3"]);
    }

    #[test]
    fn external_comes_before_internal() {
        let mut net = around();
        let (inside, outside, to) = (net.internal(), net.external(65001), net.client());
        let route = net.announce(inside, PREFIX, &[65100], plain);
        net.announce(outside, PREFIX, &[65001], plain);
        assert_eq!(net.paths(to, route), ["65001"]);
        assert_eq!(net.paths(inside, route), ["65001"]);
    }

    #[test]
    fn when_the_best_source_is_gone_the_second_best_remains_and_then_nothing() {
        let mut net = around();
        let (one, other, to) = (net.external(65001), net.external(65002), net.external(65003));
        let route = net.announce(one, PREFIX, &[65001], plain);
        net.announce(other, PREFIX, &[65002, 65100], plain);
        net.member(one).announced = false;
        assert_eq!(net.paths(to, route), ["64496 65002 65100"]);
        assert_eq!(net.paths(one, route), ["64496 65002 65100"], "it has none of its own any more");
        net.member(other).announced = false;
        assert_eq!(net.told(to, route), NOTHING);
    }

    #[test]
    fn a_change_takes_the_place_of_what_the_table_says() {
        let mut net = around();
        let (from, to) = (net.external(65001), net.external(65002));
        let route = net.announce(from, PREFIX, &[65001], plain);
        let other = net.announce(from, "203.0.113.0/24", &[65001, 65100], plain);
        let set = net.member(from).table.routes[1].set;
        net.member(from).changes.insert(route, set);
        net.member(from).changes.insert(other, SetId::NONE);
        assert_eq!(net.paths(to, route), ["64496 65001 65100"]);
        assert_eq!(net.told(to, other), NOTHING);
        assert_eq!(net.engine.held(to).expected_len(), 1);
    }

    // Where several outcomes are right, or none.

    #[test]
    fn no_export_stays_inside_and_no_advertise_with_the_speaker() {
        let mut net = around();
        let (from, outside, inside) = (net.external(65001), net.external(65002), net.client());
        let of = |net: &mut Around, prefix: &str, value: u32| {
            net.announce(from, prefix, &[65001], |editor| {
                editor.add_communities(&[value]);
            })
        };
        let kept = of(&mut net, "198.51.100.0/24", community::NO_EXPORT);
        let silent = of(&mut net, "203.0.113.0/24", community::NO_ADVERTISE);
        assert_eq!(
            (net.paths(outside, kept), net.paths(inside, kept)),
            (vec!["nothing".into()], vec!["65001".into()])
        );
        assert_eq!(
            (net.told(outside, silent), net.told(inside, silent)),
            (vec![String::new()], vec![String::new()])
        );
    }

    #[test]
    fn a_path_with_as_0_may_come_out_or_not() {
        let mut net = around();
        let (from, to) = (net.external(65001), net.external(65002));
        let route = net.announce(from, PREFIX, &[65001, 0], plain);
        assert_eq!(net.paths(to, route), ["nothing", "64496 65001 0"]);
        assert_eq!(net.engine.held(to).expected_len(), 0, "it is not waited for");
    }

    #[test]
    fn an_aggregator_of_as_0_may_come_out_or_be_left_away() {
        let mut net = around();
        let (from, to) = (net.external(65001), net.external(65002));
        let route = net.announce(from, PREFIX, &[65001], |editor| {
            editor.set(flag::OPTIONAL_TRANSITIVE, code::AGGREGATOR, &[0, 0, 0, 0, 192, 0, 2, 7]);
        });
        let told = net.told(to, route);
        assert_eq!(told.len(), 2, "{told:?}");
        assert_eq!(told.iter().filter(|lines| lines.contains("AGGREGATOR 0 192.0.2.7")).count(), 1);
        assert_eq!(net.engine.held(to).expected_len(), 1, "the route must come, one way or the other");
    }

    #[test]
    fn a_route_that_is_under_way_may_be_there_or_not_yet() {
        let mut net = around();
        let (from, to) = (net.external(65001), net.external(65002));
        let route = net.announce(from, PREFIX, &[65001], plain);
        net.world.optional = route..route + 1;
        assert_eq!(net.paths(to, route), ["nothing", "64496 65001"]);
    }

    #[test]
    fn with_add_path_all_paths_are_told_but_ones_own() {
        let mut net = around();
        let (one, other, to) = (net.external(65001), net.external(65002), net.external(65003));
        let route = net.announce(one, PREFIX, &[65001], plain);
        net.announce(other, PREFIX, &[65002, 65100], plain);
        for number in [one, other, to] {
            net.member(number).add_path = true;
        }
        assert_eq!(net.paths(to, route), ["64496 65001", "64496 65002 65100"]);
        assert_eq!(net.paths(one, route), ["64496 65002 65100"]);
    }

    #[test]
    fn receivers_of_one_kind_share_what_is_expected_of_them() {
        let mut net = around();
        let from = net.external(65001);
        let (one, other, outside) = (net.client(), net.client(), net.external(65002));
        net.announce(from, PREFIX, &[65001], plain);
        net.world.expect(&mut net.engine);
        let of = |number| net.engine.held(number).expected().clone();
        assert!(Rc::ptr_eq(&of(one), &of(other)));
        assert!(!Rc::ptr_eq(&of(one), &of(outside)));
    }
}
