//! The decision process: which path of a destination is best, and which may be used beside it.
//!
//! RFC 4271 §9.1.2 with what RFC 4456 §9 and RFC 5004 add. [`select`] works on the candidates of one
//! destination the way the RFC words it: each step removes from consideration those that are not the best
//! in it. Removing, rather than comparing two at a time, is what makes MED deterministic: MED compares
//! only paths from the same neighbouring AS, which is no order on all paths. So the outcome does not
//! depend on the order in which paths arrived, but where RFC 5004 wants it to: of external paths that are
//! equal up to the interior cost, the one that already is best stays.
//!
//! [`loses`] answers from two paths alone whether a path that was added leaves the best path best.

use std::cmp::Ordering;
use std::net::IpAddr;

use super::{AttrMeta, DecisionOptions, PeerInfo};
use crate::types::{NextHopId, PeerKind};

/// A path as the decision process sees it.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// What the caller knows the path by.
    pub index: u32,
    /// What its attributes say.
    pub meta: AttrMeta,
    /// The interior cost of the next hop; `u32::MAX` when unknown.
    pub metric: u32,
    /// How its giver stands to us.
    pub kind: PeerKind,
    /// ORIGINATOR_ID, or else the giver's BGP identifier (RFC 4456 §9).
    pub router_id: u32,
    /// The giver's address.
    pub address: IpAddr,
    /// Whether it was the best path after the last decision.
    pub existing: bool,
}

impl Candidate {
    /// Puts together what is known of a path.
    pub fn new(index: u32, meta: &AttrMeta, metric: u32, peer: &PeerInfo, existing: bool) -> Candidate {
        let router_id = if meta.originator_id == 0 { peer.router_id.0 } else { meta.originator_id };
        let meta = *meta;
        Candidate { index, meta, metric, kind: peer.kind, router_id, address: peer.address, existing }
    }

    /// Steps 0, a and b: greater is better.
    fn rank_before_med(&self) -> (bool, u32, std::cmp::Reverse<u16>, std::cmp::Reverse<u8>) {
        use std::cmp::Reverse;
        (
            // Step 0, as all implementations have it: what the speaker itself originates wins.
            self.kind == PeerKind::Local,
            // RFC 4271 §9.1.2: the highest degree of preference.
            self.meta.local_pref,
            // §9.1.2.2 a: the smallest number of AS numbers in AS_PATH.
            Reverse(self.meta.path_len),
            // §9.1.2.2 b: the lowest ORIGIN.
            Reverse(self.meta.origin),
        )
    }

    /// Steps d and e: smaller is better.
    fn rank_behind_med(&self) -> (bool, u32) {
        // §9.1.2.2 d: external over internal; e: the lowest interior cost.
        (self.kind.is_internal(), self.metric)
    }

    /// Steps f and g with RFC 4456 §9 between them: smaller is better, and no two peers are equal.
    fn rank_of_giver(&self) -> (u32, u8, IpAddr) {
        (self.router_id, self.meta.cluster_list_len, self.address)
    }
}

/// Whether `new` cannot be best, nor used beside the best, as long as `best` is there, whatever other
/// paths there are. A "no" says nothing.
pub fn loses(new: &Candidate, best: &Candidate, options: &DecisionOptions) -> bool {
    let same_med_group = options.always_compare_med || best.meta.neighbor_as == new.meta.neighbor_as;
    // By its MED a path of another AS may rule out a third one of that AS, which shares the traffic.
    if !same_med_group && options.multipath_relax && options.max_paths > 1 {
        return best.rank_before_med() > new.rank_before_med();
    }
    let med = if same_med_group { new.meta.med.cmp(&best.meta.med) } else { Ordering::Equal };
    let order = (best.rank_before_med().cmp(&new.rank_before_med()))
        .then(med)
        .then_with(|| new.rank_behind_med().cmp(&best.rank_behind_med()));
    match order {
        Ordering::Greater => true,
        Ordering::Less => false,
        Ordering::Equal if options.max_paths > 1 => false,
        Ordering::Equal => {
            let keeps = !options.compare_router_id
                && best.kind == PeerKind::External
                && best.router_id != new.router_id;
            keeps || new.rank_of_giver() > best.rank_of_giver()
        }
    }
}

/// Leaves in `candidates` the best path and, if `options.max_paths` allows, those that may share the
/// traffic with it, the best first. All of them must be usable (§9.1.2.1) and from different peers.
pub fn select(candidates: &mut Vec<Candidate>, options: &DecisionOptions) {
    // Steps 0, a, b.
    keep_smallest(candidates, |path| std::cmp::Reverse(path.rank_before_med()));
    // §9.1.2.2 c: the lowest MED of each neighbouring AS.
    let Some(first) = candidates.first() else { return };
    let group = first.meta.neighbor_as;
    if options.always_compare_med || candidates.iter().all(|path| path.meta.neighbor_as == group) {
        keep_smallest(candidates, |path| path.meta.med);
    } else {
        candidates.sort_unstable_by_key(|path| (path.meta.neighbor_as, path.meta.med));
        let mut lowest = None;
        candidates.retain(|path| {
            let key = (path.meta.neighbor_as, path.meta.med);
            if lowest.is_none_or(|(neighbor_as, _)| neighbor_as != key.0) {
                lowest = Some(key);
            }
            lowest == Some(key)
        });
    }
    // Steps d, e.
    keep_smallest(candidates, Candidate::rank_behind_med);
    if candidates.len() < 2 {
        return;
    }
    // RFC 5004 §3: an external path that is best stays so, but for paths of givers with the same BGP
    // identifier, between which the peer address decides. What is left is either all external or not.
    let keeps =
        |path: &&Candidate| path.existing && path.kind == PeerKind::External && !options.compare_router_id;
    let only = candidates.iter().find(keeps).map(|path| path.router_id);
    // Step f, where ORIGINATOR_ID stands for the BGP identifier; RFC 4456 §9: the shortest CLUSTER_LIST;
    // step g.
    let front = |path: &Candidate| (only.is_some_and(|id| path.router_id != id), path.rank_of_giver());
    if options.max_paths > 1 {
        candidates.sort_unstable_by_key(front);
        // Of those with the existing path's BGP identifier only the best goes before its turn.
        candidates[1..].sort_unstable_by_key(Candidate::rank_of_giver);
        keep_multipath(candidates, options);
    } else if let Some(best) = candidates.iter().min_by_key(|path| front(path)).copied() {
        candidates.clear();
        candidates.push(best);
    }
}

fn keep_smallest<K: Ord>(candidates: &mut Vec<Candidate>, key: impl Fn(&Candidate) -> K) {
    if candidates.len() < 2 {
        return;
    }
    if let Some(smallest) = candidates.iter().map(&key).min() {
        candidates.retain(|path| key(path) == smallest);
    }
}

/// Keeps the first and, of those that are equal to it up to step e, as many as may be used together. They
/// must lead over different next hops and, unless relaxed, into the same AS.
fn keep_multipath(candidates: &mut Vec<Candidate>, options: &DecisionOptions) {
    let limit = usize::from(options.max_paths);
    let neighbor_as = candidates[0].meta.neighbor_as;
    candidates.retain(|path| options.multipath_relax || path.meta.neighbor_as == neighbor_as);
    // Two paths over one next hop are one way out. The set is small: the limit ends the search.
    let mut taken: Vec<NextHopId> = Vec::with_capacity(limit.min(candidates.len()));
    candidates.retain(|path| {
        let new = taken.len() < limit && !taken.contains(&path.meta.next_hop);
        if new {
            taken.push(path.meta.next_hop);
        }
        new
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::RouterId;
    use proptest::prelude::*;

    const META: AttrMeta = AttrMeta {
        local_pref: 100,
        med: 0,
        neighbor_as: 64500,
        next_hop: NextHopId(0),
        originator_id: 0,
        path_len: 2,
        cluster_list_len: 0,
        origin: 0,
    };

    fn peer(kind: PeerKind, id: u8) -> PeerInfo {
        PeerInfo {
            kind,
            router_id: RouterId(u32::from(id)),
            address: [192, 0, 2, id].into(),
            asn: 64500 + u32::from(id),
        }
    }

    fn external(id: u8, change: impl Fn(&mut AttrMeta)) -> Candidate {
        let mut meta = META;
        meta.next_hop = NextHopId(u32::from(id));
        change(&mut meta);
        Candidate::new(u32::from(id), &meta, 0, &peer(PeerKind::External, id), false)
    }

    fn chosen(candidates: &[Candidate], options: &DecisionOptions) -> Vec<u32> {
        let mut candidates = candidates.to_vec();
        select(&mut candidates, options);
        candidates.iter().map(|path| path.index).collect()
    }

    fn best(candidates: &[Candidate]) -> u32 {
        chosen(candidates, &DecisionOptions { compare_router_id: true, ..DecisionOptions::default() })[0]
    }

    #[test]
    fn each_step_decides_before_the_next() {
        // Each candidate is better than the one before in one step, and worse in all later ones.
        let mut ladder = Vec::new();
        let internal = |id, change: &dyn Fn(&mut AttrMeta), metric| {
            let path = external(id, change);
            Candidate { kind: PeerKind::Internal, metric, ..path }
        };
        ladder.push(internal(90, &|_| {}, 20));
        // g: the lowest peer address.
        let mut path = internal(80, &|_| {}, 20);
        path.router_id = 90;
        ladder.push(path);
        // RFC 4456 §9: the shortest cluster list.
        ladder.iter_mut().for_each(|path| path.meta.cluster_list_len = 1);
        let mut path = internal(91, &|_| {}, 20);
        path.router_id = 90;
        ladder.push(path);
        // f: the lowest BGP identifier, for which ORIGINATOR_ID stands.
        let mut path = internal(92, &|meta| meta.cluster_list_len = 9, 20);
        path.router_id = 4;
        ladder.push(path);
        // e: the lowest interior cost.
        ladder.push(internal(93, &|meta| meta.cluster_list_len = 9, 10));
        // d: external over internal.
        ladder.push(Candidate { metric: 50, ..external(94, |_| {}) });
        // c: the lowest MED of the neighbouring AS.
        ladder.iter_mut().for_each(|path| path.meta.med = 10);
        ladder.push(internal(95, &|meta| meta.med = 5, 60));
        // b: the lowest ORIGIN.
        ladder.iter_mut().for_each(|path| path.meta.origin = 2);
        ladder.push(internal(96, &|meta| (meta.origin, meta.med) = (1, 99), 60));
        // a: the shortest AS_PATH.
        ladder.push(internal(97, &|meta| (meta.path_len, meta.origin, meta.med) = (1, 2, 99), 60));
        // The highest degree of preference.
        ladder.push(internal(98, &|meta| (meta.local_pref, meta.path_len) = (101, 9), 60));
        // What the speaker itself originates.
        ladder.push(Candidate { kind: PeerKind::Local, ..external(99, |meta| meta.local_pref = 0) });
        for pair in ladder.windows(2) {
            assert_eq!(best(pair), pair[1].index, "{:?}", pair[1]);
        }
        assert_eq!(best(&ladder), 99);
    }

    #[test]
    fn med_compares_only_within_a_neighbouring_as() {
        // RFC 4271 §9.1.2.2 c; the classic three that a pairwise comparison orders in a circle.
        let a = external(3, |meta| (meta.neighbor_as, meta.med) = (1, 10));
        let b = external(2, |meta| (meta.neighbor_as, meta.med) = (2, 0));
        let c = external(1, |meta| (meta.neighbor_as, meta.med) = (1, 20));
        for order in [[a, b, c], [b, a, c], [c, b, a], [c, a, b]] {
            assert_eq!(best(&order), 2);
        }
        let always = DecisionOptions { always_compare_med: true, ..DecisionOptions::default() };
        assert_eq!(chosen(&[c, a, external(9, |meta| (meta.neighbor_as, meta.med) = (2, 0))], &always), [9]);
    }

    #[test]
    fn the_oldest_external_path_stays() {
        // RFC 5004 §3.
        let options = DecisionOptions::default();
        let old = Candidate { existing: true, ..external(9, |_| {}) };
        assert_eq!(chosen(&[external(1, |_| {}), old], &options), [9]);
        // Not against a path that is better, nor between sessions with one speaker, nor for internal ones.
        assert_eq!(chosen(&[external(1, |meta| meta.local_pref = 200), old], &options), [1]);
        let parallel = Candidate { router_id: 9, ..external(1, |_| {}) };
        assert_eq!(chosen(&[old, parallel, external(2, |_| {})], &options), [1]);
        let inside = |path| Candidate { kind: PeerKind::Internal, ..path };
        assert_eq!(chosen(&[inside(old), inside(external(1, |_| {}))], &options), [1]);
        let compare = DecisionOptions { compare_router_id: true, ..options };
        assert_eq!(chosen(&[old, external(1, |_| {})], &compare), [1]);
    }

    #[test]
    fn multipath_needs_equal_paths_over_different_next_hops() {
        let options = DecisionOptions { max_paths: 3, compare_router_id: true, ..DecisionOptions::default() };
        let all: Vec<Candidate> = (1..=5).map(|id| external(id, |_| {})).collect();
        assert_eq!(chosen(&all, &options), [1, 2, 3]);
        let same_way = external(2, |meta| meta.next_hop = NextHopId(1));
        let longer = external(3, |meta| meta.path_len = 3);
        let elsewhere = external(4, |meta| meta.neighbor_as = 7);
        let inside = Candidate { kind: PeerKind::Internal, ..external(6, |_| {}) };
        let paths = [all[0], same_way, longer, elsewhere, all[4], inside];
        assert_eq!(chosen(&paths, &options), [1, 5]);
        assert_eq!(chosen(&paths, &DecisionOptions { multipath_relax: true, ..options }), [1, 4, 5]);
        assert_eq!(chosen(&paths, &DecisionOptions { max_paths: 0, ..options }), [1]);
    }

    fn candidate() -> impl Strategy<Value = Candidate> {
        let kinds = vec![
            PeerKind::External,
            PeerKind::External,
            PeerKind::Internal,
            PeerKind::Client,
            PeerKind::Local,
        ];
        let near = (0u32..2, 0u32..3, 0u32..3, 0u32..3, 0u32..3);
        let far = (0u16..2, 0u8..2, 0u8..2, 0u32..2, prop::sample::select(kinds));
        (near, far).prop_map(|((local_pref, med, neighbor_as, hop, originator_id), far)| {
            let (path_len, cluster_list_len, origin, metric, kind) = far;
            let next_hop = NextHopId(hop);
            let meta = AttrMeta {
                local_pref,
                med,
                neighbor_as,
                next_hop,
                originator_id,
                path_len,
                cluster_list_len,
                origin,
            };
            Candidate::new(0, &meta, metric, &peer(kind, 0), false)
        })
    }

    /// Up to ten paths of different peers, the first of them best until now or not.
    fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
        (prop::collection::vec((candidate(), 0u32..4), 1..10), any::<bool>()).prop_map(|(paths, existing)| {
            let mut paths: Vec<Candidate> = paths
                .into_iter()
                .enumerate()
                .map(|(index, (path, router_id))| {
                    let router_id = if path.meta.originator_id == 0 { router_id } else { path.router_id };
                    let address = [192, 0, 2, index as u8].into();
                    Candidate { index: index as u32, router_id, address, ..path }
                })
                .collect();
            paths[0].existing = existing;
            paths
        })
    }

    fn options() -> impl Strategy<Value = DecisionOptions> {
        (any::<[bool; 3]>(), 0u16..4).prop_map(|(switches, max_paths)| DecisionOptions {
            always_compare_med: switches[0],
            compare_router_id: switches[1],
            multipath_relax: switches[2],
            max_paths,
            resolve_next_hops: false,
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn the_order_of_arrival_does_not_matter(
            (paths, shuffled) in candidates().prop_flat_map(|p| (Just(p.clone()), Just(p).prop_shuffle())),
            options in options(),
        ) {
            prop_assert_eq!(chosen(&paths, &options), chosen(&shuffled, &options));
        }

        #[test]
        fn a_path_that_loses_changes_nothing(paths in candidates(), options in options()) {
            let (new, old) = paths.split_last().expect("at least one");
            if !old.is_empty() {
                let before = chosen(old, &options);
                let mut old = old.to_vec();
                old.iter_mut().for_each(|path| path.existing = path.index == before[0]);
                let before = chosen(&old, &options);
                let best = old.iter().find(|path| path.index == before[0]).expect("chosen from these");
                if loses(new, best, &options) {
                    prop_assert_eq!(&chosen(&[&old[..], &[*new]].concat(), &options), &before);
                }
            }
        }

        #[test]
        fn what_is_best_stays_best(paths in candidates(), options in options()) {
            let first = chosen(&paths, &options);
            let mut paths = paths;
            paths.iter_mut().for_each(|path| path.existing = path.index == first[0]);
            prop_assert_eq!(chosen(&paths, &options), first);
        }
    }
}
