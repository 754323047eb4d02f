//! The attributes of the synthetic table, and how routes share them.
//!
//! Figures, with their sources: 7.25 prefixes a set and 3.3 attributes a set beside next hop (a RouteViews peer,
//! 2026-08-08: 148,789 sets, 1,079,184 prefixes); mean path length 4.5 with a long tail of prepended paths (Cymru and
//! thyme reports of 2005 and 2014); about 78,000 ASes. That sets differ enormously in size is known (a leak of 2017
//! had 31,325 prefixes with one path), the distribution is not: a Pareto one with exponent 4/3 is taken, which gives
//! the largest of 140,000 sets some 10,000 prefixes.
//!
//! Not everything depends on the same seed. How large the sets are, which neighbours among the prefixes share one,
//! and who originates them is a matter of those who originate: it is the same from wherever one looks. The way there
//! and what was noted on it depends on the feed.

use kulan::types::RouterId;
use kulan::wire::AttributeEditor;
use kulan::wire::attrs::{Aggregator, LargeCommunity, Origin};

use super::super::AttributeSet;
use super::super::random::Random;
use super::super::table::Sets;

/// Prefixes a set.
const SHARING: f64 = 7.25;
/// How many ASes there are for how many routes.
const ASES_OF: (usize, usize) = (78_000, 1_042_325);
/// How many routes that share an attribute set lie beside each other in the table, at most.
const RUN_MAX: usize = 6;
/// AS numbers that networks have: of two octets, without the reserved ones at the end (RFC 7300, RFC 5398, RFC 6996),
/// and of four, as far as the registries have given them out.
const NARROW: std::ops::Range<usize> = 1..64_496;
const WIDE: std::ops::Range<usize> = 131_072..401_309;
/// AS_TRANS (RFC 6793 §9).
const AS_TRANS: usize = 23_456;
/// The most ASes that are drawn.
const ASES_MAX: usize = 250_000;

/// Attribute sets for `count` neighbouring routes, and the number of the set of each. Without `sets`, as many as the
/// Internet would have. No next hops, no LOCAL_PREF; the path begins with the neighbor of whoever sends it.
///
/// # Errors
///
/// When there are no routes or no sets, or more sets than routes.
pub(in super::super) fn attributes(
    count: usize,
    sets: Option<usize>,
    seed: u64,
    prefix_seed: u64,
) -> Result<(Vec<AttributeSet>, Vec<u32>), String> {
    if count == 0 {
        return Err("routes: 0; there must be at least one".to_string());
    }
    let set_count = sets.unwrap_or((count as f64 / SHARING) as usize + 1).min(sets.unwrap_or(count));
    if set_count == 0 {
        return Err("sets: 0; every route needs attributes".to_string());
    }
    if set_count > count {
        return Err(format!("sets: {set_count} for {count} routes; give as many routes, or fewer sets"));
    }
    let mut structure = Random::new(prefix_seed, 0x7365_7473);
    let numbers = deal(&shares(count, set_count, &mut structure), &mut structure);
    let net = Net::draw(count, set_count, &mut structure);
    let mut random = Random::new(seed, 0x6174_7472);
    let mut known = Sets::default();
    let mut block = Vec::new();
    for number in 0..set_count {
        let origin = net.origin(number, &mut structure);
        // There are far more possible sets than are wanted: to meet one that is there already is an accident.
        loop {
            net.put_block(origin, &mut random, &mut block);
            if known.insert_block(&block) {
                break;
            }
        }
    }
    Ok((known.into_list(), numbers))
}

/// How many routes each set has: one at least, a few very many.
fn shares(count: usize, sets: usize, random: &mut Random) -> Vec<usize> {
    let weights: Vec<f64> = (0..sets)
        .map(|_| {
            // u^(-3/4) by square roots, which are exact on every machine; without the mass that all have in common.
            let root = (1.0 - random.fraction()).sqrt();
            1.0 / (root * root.sqrt()) - 1.0
        })
        .collect();
    let total: f64 = weights.iter().sum();
    let spare = (count - sets) as f64;
    let mut sum = 0.0;
    let mut given = 0;
    weights
        .iter()
        .enumerate()
        .map(|(set, weight)| {
            sum += weight;
            let until = if set + 1 == sets {
                count - sets
            } else {
                ((sum / total * spare) as usize).min(count - sets)
            };
            let share = 1 + until - given;
            given = until;
            share
        })
        .collect()
}

/// A set for each of the neighbouring routes: short runs of the same one, in random order.
fn deal(shares: &[usize], random: &mut Random) -> Vec<u32> {
    let mut runs: Vec<(u32, usize)> = Vec::new();
    for (set, share) in shares.iter().enumerate() {
        let mut left = *share;
        while left > 0 {
            let run = left.min(1 + random.below(RUN_MAX));
            runs.push((set as u32, run));
            left -= run;
        }
    }
    random.shuffle(&mut runs);
    runs.into_iter().flat_map(|(set, run)| std::iter::repeat_n(set, run)).collect()
}

/// The ASes of a network of networks.
struct Net {
    /// Those that give transit come first, the largest before the others.
    ases: Vec<u32>,
    transits: usize,
}

impl Net {
    fn draw(routes: usize, sets: usize, random: &mut Random) -> Net {
        const FEWEST: usize = 64;
        let wanted = (routes as f64 * ASES_OF.0 as f64 / ASES_OF.1 as f64) as usize;
        let wanted = wanted.min(sets).clamp(FEWEST, ASES_MAX);
        // About half of all have a number of two octets, and most of the transits.
        let mut narrow: Vec<u32> = NARROW.filter(|asn| *asn != AS_TRANS).map(|asn| asn as u32).collect();
        let mut wide: Vec<u32> = WIDE.map(|asn| asn as u32).collect();
        random.shuffle(&mut narrow);
        random.shuffle(&mut wide);
        let transits = (wanted / 8).max(16);
        let narrow_transits = transits * 4 / 5;
        let narrow_count = (wanted / 2).clamp(narrow_transits, narrow.len() * 4 / 5);
        let mut ases: Vec<u32> = narrow.drain(..narrow_transits).collect();
        ases.extend(wide.drain(..transits - narrow_transits));
        random.shuffle(&mut ases);
        let mut edge: Vec<u32> = narrow.drain(..narrow_count - narrow_transits).collect();
        edge.extend(wide.drain(..wanted - transits - edge.len()));
        random.shuffle(&mut edge);
        ases.extend(edge);
        Net { ases, transits }
    }

    /// Who originates the routes of a set: each AS those of one, and some those of more.
    fn origin(&self, set: usize, random: &mut Random) -> u32 {
        match self.ases.get(set) {
            Some(asn) => *asn,
            None => self.ases[random.front_heavy(self.ases.len())],
        }
    }

    fn transit(&self, random: &mut Random) -> u32 {
        self.ases[random.front_heavy(self.transits)]
    }

    /// A transit whose number fits into a community.
    fn tagger(&self, random: &mut Random) -> u32 {
        loop {
            let asn = self.transit(random);
            if asn <= u32::from(u16::MAX) {
                return asn;
            }
        }
    }

    /// Writes the canonical block of a set.
    fn put_block(&self, origin: u32, random: &mut Random, block: &mut Vec<u8>) {
        block.clear();
        let mut editor = AttributeEditor::on(block);
        editor.set_origin(match random.below(1000) {
            0..895 => Origin::Igp,
            895..900 => Origin::Egp,
            _ => Origin::Incomplete,
        });
        editor.set_as_path(&self.path(origin, random));
        if random.per_mille(230) {
            editor.set_med(if random.per_mille(400) { 0 } else { random.below(1000) as u32 });
        }
        if random.per_mille(60) {
            editor.set_atomic_aggregate();
        }
        if random.per_mille(120) {
            // Some router in 16.0.0.0/4.
            let router_id = RouterId(0x1000_0000 | random.below(1 << 28) as u32);
            editor.set_aggregator(Aggregator { asn: origin, router_id });
        }
        if random.per_mille(720) {
            editor.add_communities(&self.communities(random));
        }
        if random.per_mille(30) {
            // Route origin with a two-octet AS number (RFC 4360 §5).
            let value = u64::from(self.tagger(random)) << 32 | random.below(5000) as u64;
            editor.add_extended_communities(&[0x0003 << 48 | value]);
        }
        if random.per_mille(130) {
            let global = self.transit(random);
            let large = |random: &mut Random| LargeCommunity {
                global,
                local1: random.below(100) as u32,
                local2: random.below(5000) as u32,
            };
            let list: Vec<LargeCommunity> = (0..=random.below(3)).map(|_| large(random)).collect();
            editor.add_large_communities(&list);
        }
    }

    /// The ASes on the way, the nearest first.
    fn path(&self, origin: u32, random: &mut Random) -> Vec<u32> {
        let hops = match random.below(1000) {
            0..10 => 1,
            10..130 => 2,
            130..450 => 3,
            450..760 => 4,
            760..910 => 5,
            910..970 => 6,
            970..990 => 7,
            _ => 8,
        };
        let mut path: Vec<u32> = Vec::with_capacity(hops);
        while path.len() + 1 < hops {
            let asn = self.transit(random);
            if asn != origin && !path.contains(&asn) {
                path.push(asn);
            }
        }
        path.push(origin);
        // Who wants less traffic on a way is in it several times; mostly that is the origin.
        if random.per_mille(200) {
            let at = if random.per_mille(750) { path.len() - 1 } else { random.below(path.len()) };
            let times = if random.per_mille(25) {
                8 + random.below(18)
            } else {
                1 + random.below(3) + random.below(4)
            };
            let asn = path[at];
            path.splice(at..at, std::iter::repeat_n(asn, times));
        }
        path
    }

    /// What one or two of the transits noted, never a value that makes anybody do something.
    fn communities(&self, random: &mut Random) -> Vec<u32> {
        const BLACKHOLE: u32 = 666;
        let mut communities = Vec::new();
        for _ in 0..=random.below(2) {
            let tagger = self.tagger(random) << 16;
            for _ in 0..=random.below(4) {
                let value = 100 + random.below(4000) as u32;
                communities.push(tagger | if value == BLACKHOLE { BLACKHOLE + 1 } else { value });
            }
        }
        communities
    }
}
