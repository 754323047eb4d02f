//! The tables that are sent: a real feed as it was recorded, and a synthetic one with the shape of the
//! Internet's.
//!
//! The synthetic table is a composite: prefixes of one full-table peer of 2026, attribute sets of a real feed of
//! 2015 with as many more of their like as a full feed of today has, drawn with a fixed seed. It is the same
//! table in every run on every machine.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::Ipv4Addr;

use crate::bgp::message::{
    self, AGGREGATOR, AS_PATH, Attributes, COMMUNITIES, HEADER_LENGTH, Key, NEXT_HOP, UPDATE, Update,
    for_each_prefix, key,
};
use crate::data;

/// A complete iBGP feed of a route reflector of AS 3856 (PCH), 2015-10-23.
pub const PCH_FEED: &str = "pch-as3856-ibgp-2015.bgp.gz";
/// The AS of both ends of that feed.
pub const PCH_ASN: u32 = 3856;
/// Every IPv4 prefix of one full-table peer of RIPE RIS, 2026-05-11.
pub const RIS_PREFIXES: &str = "ris-as3333-20260511-v4-prefixes.txt.gz";

/// Communities from here on are the well-known ones of RFC 1997, which forbid export.
const WELL_KNOWN: u32 = 0xFFFF_0000;
/// How many routes that share an attribute set lie beside each other in the table, at most.
const RUN: usize = 4;

/// A table, and the UPDATEs that announce it.
#[derive(Debug)]
pub struct Feed {
    /// UPDATE messages, one after another.
    pub updates: Vec<u8>,
    /// How many there are.
    pub update_count: usize,
    /// What a receiver holds afterwards: for each prefix the number of its attribute set.
    pub routes: Vec<(Key, u32)>,
    /// The attribute sets.
    pub sets: Vec<Attributes>,
}

impl Feed {
    /// The feed of PCH as it was recorded, decoded message by message, later ones winning.
    ///
    /// # Panics
    /// When the data file is missing or is not what it should be.
    pub fn pch() -> Feed {
        let recorded = data::read_gzip(PCH_FEED);
        let mut updates = Vec::new();
        let mut update_count = 0;
        let mut numbers: HashMap<Vec<u8>, u32> = HashMap::new();
        let mut sets = Vec::new();
        let mut table: BTreeMap<Key, u32> = BTreeMap::new();
        let mut rest = recorded.as_slice();
        while !rest.is_empty() {
            let length = message::length(rest)
                .and_then(|length| length.ok_or_else(|| "half a message at the end".to_string()))
                .unwrap_or_else(|error| panic!("{PCH_FEED}: {error}"));
            let (whole, after) = rest.split_at(length);
            rest = after;
            if whole[HEADER_LENGTH - 1] != UPDATE {
                continue;
            }
            updates.extend_from_slice(whole);
            update_count += 1;
            let mut apply = || -> Result<(), String> {
                let update = Update::parse(&whole[HEADER_LENGTH..])?;
                for_each_prefix(update.withdrawn, |key| {
                    table.remove(&key);
                })?;
                if update.announced.is_empty() {
                    return Ok(());
                }
                let number = match numbers.get(update.attributes) {
                    Some(number) => *number,
                    None => {
                        sets.push(Attributes::parse(update.attributes)?);
                        let number = sets.len() as u32 - 1;
                        numbers.insert(update.attributes.to_vec(), number);
                        number
                    }
                };
                for_each_prefix(update.announced, |key| {
                    table.insert(key, number);
                })
            };
            apply().unwrap_or_else(|error| panic!("{PCH_FEED}: {error}"));
        }
        Feed { updates, update_count, routes: table.into_iter().collect(), sets }
    }

    /// A table like the Internet's: `route_count` prefixes with `set_count` attribute sets, as an external
    /// neighbor of AS `asn` with address `next_hop` announces it. Different seeds give different attributes for
    /// the same prefixes.
    ///
    /// # Panics
    /// When the data files are missing, or hold fewer prefixes than asked for.
    pub fn internet(route_count: usize, set_count: usize, seed: u64, asn: u32, next_hop: Ipv4Addr) -> Feed {
        let mut random = Random(seed);
        let prefixes = prefixes(route_count);
        let (sets, weights) = internet_sets(set_count, &mut random);
        let sets: Vec<Attributes> = sets
            .into_iter()
            .map(|mut set| {
                set.prepend(asn);
                set.set(NEXT_HOP, 0x40, next_hop.octets().to_vec());
                set
            })
            .collect();
        let numbers = draw(route_count, &weights, &mut random);
        Feed::of(prefixes.into_iter().zip(numbers).collect(), sets, &mut random)
    }

    /// Encodes a table, all routes of a set together, the sets in random order as a speaker's hash tables
    /// would give them.
    fn of(routes: Vec<(Key, u32)>, sets: Vec<Attributes>, random: &mut Random) -> Feed {
        let mut of_set: Vec<Vec<Key>> = vec![Vec::new(); sets.len()];
        for (key, set) in &routes {
            of_set[*set as usize].push(*key);
        }
        let mut order: Vec<usize> = (0..sets.len()).collect();
        random.shuffle(&mut order);
        let mut updates = Vec::new();
        let mut update_count = 0;
        for set in order {
            update_count += message::encode_updates(&sets[set], &of_set[set], &mut updates);
        }
        Feed { updates, update_count, routes, sets }
    }

    /// The prefixes, in the order of `routes`.
    pub fn keys(&self) -> Vec<Key> {
        self.routes.iter().map(|(key, _)| *key).collect()
    }

    /// The fingerprints that a receiver must have, in the order of `routes`, when the speaker makes this of
    /// each attribute set; nothing: the routes must not come through.
    pub fn expectation(&self, change: impl Fn(&Attributes) -> Option<Attributes>) -> Vec<u64> {
        let of_set: Vec<u64> =
            self.sets.iter().map(|set| change(set).map_or(0, |changed| changed.fingerprint())).collect();
        self.routes.iter().map(|(_, set)| of_set[*set as usize]).collect()
    }
}

/// `count` prefixes of the RIS peer's table in address order, evenly spread over it.
fn prefixes(count: usize) -> Vec<Key> {
    let text = data::read_gzip(RIS_PREFIXES);
    let text = String::from_utf8(text).unwrap_or_else(|error| panic!("{RIS_PREFIXES}: {error}"));
    let parse = |line: &str| -> Option<Key> {
        let (address, length) = line.split_once('/')?;
        Some(key(address.parse().ok()?, length.parse().ok()?))
    };
    let all: Vec<Key> = text
        .lines()
        .map(|line| parse(line).unwrap_or_else(|| panic!("{RIS_PREFIXES}: not a prefix: {line}")))
        .collect();
    assert!(count <= all.len(), "{count} prefixes wanted, {RIS_PREFIXES} has {}", all.len());
    (0..count).map(|number| all[number * all.len() / count]).collect()
}

/// Attribute sets as an external neighbor sends them, without next hop, each with the number of prefixes that it
/// (or the one it is derived from) has in the PCH feed.
fn internet_sets(count: usize, random: &mut Random) -> (Vec<Attributes>, Vec<u32>) {
    let pch = Feed::pch();
    let mut uses = vec![0u32; pch.sets.len()];
    for (_, set) in &pch.routes {
        uses[*set as usize] += 1;
    }
    let mut numbers: HashMap<Attributes, usize> = HashMap::new();
    let mut sets = Vec::new();
    let mut weights: Vec<u32> = Vec::new();
    for (set, uses) in pch.sets.iter().zip(uses) {
        let mut external = set.clone();
        for code in
            [NEXT_HOP, message::MED, message::LOCAL_PREF, message::ORIGINATOR_ID, message::CLUSTER_LIST]
        {
            external.remove(code);
        }
        // What RFC 7607 has to say of AS 0 differs from speaker to speaker, and is not what is measured.
        if external.as_numbers().contains(&0)
            || aggregated_by_as_zero(&external)
            || has_well_known_community(&external)
        {
            continue;
        }
        match numbers.get(&external) {
            Some(number) => weights[*number] += uses,
            None => {
                numbers.insert(external.clone(), sets.len());
                sets.push(external);
                weights.push(uses);
            }
        }
    }
    let real = sets.len().min(count);
    sets.truncate(real);
    weights.truncate(real);
    let mut known: HashSet<Attributes> = sets.iter().cloned().collect();
    while sets.len() < count {
        let model = random.below(real);
        let mut other = sets[model].clone();
        let Some(mut path) = other.get(AS_PATH).filter(|path| path.len() >= 4).map(<[u8]>::to_vec) else {
            continue;
        };
        // Another origin AS behind the same transit: what today's table has more of.
        let origin = 200_000 + random.below(200_000) as u32;
        let end = path.len();
        path[end - 4..].copy_from_slice(&origin.to_be_bytes());
        other.set(AS_PATH, 0x40, path);
        if known.insert(other.clone()) {
            sets.push(other);
            weights.push(weights[model]);
        }
    }
    (sets, weights)
}

/// Whether AGGREGATOR names AS 0, which makes it malformed (RFC 7607 §2).
pub fn aggregated_by_as_zero(attributes: &Attributes) -> bool {
    attributes.get(AGGREGATOR).is_some_and(|value| value.starts_with(&[0; 4]))
}

fn has_well_known_community(attributes: &Attributes) -> bool {
    let communities = attributes.get(COMMUNITIES).unwrap_or_default();
    communities.chunks_exact(4).any(|c| u32::from_be_bytes([c[0], c[1], c[2], c[3]]) >= WELL_KNOWN)
}

/// A set for each of `count` neighbouring routes: each set at least once, the rest by weight, in short runs.
fn draw(count: usize, weights: &[u32], random: &mut Random) -> Vec<u32> {
    let mut bounds = Vec::with_capacity(weights.len());
    let mut total = 0u64;
    for weight in weights {
        total += u64::from(*weight);
        bounds.push(total);
    }
    let mut shares: Vec<usize> = vec![1; weights.len()];
    for _ in weights.len()..count {
        let at = random.next() % total;
        shares[bounds.partition_point(|bound| *bound <= at)] += 1;
    }
    let mut runs: Vec<(u32, usize)> = Vec::new();
    for (set, mut share) in shares.into_iter().enumerate() {
        while share > 0 {
            let run = share.min(RUN);
            runs.push((set as u32, run));
            share -= run;
        }
    }
    random.shuffle(&mut runs);
    let mut numbers: Vec<u32> =
        runs.into_iter().flat_map(|(set, run)| std::iter::repeat_n(set, run)).collect();
    numbers.truncate(count);
    numbers
}

/// SplitMix64: small, seeded, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            list.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pch_feed_is_what_its_description_says() {
        let feed = Feed::pch();
        assert_eq!(feed.update_count, 89_679);
        let with_as_zero: Vec<String> = feed
            .routes
            .iter()
            .filter(|(_, set)| feed.sets[*set as usize].as_numbers().contains(&0))
            .map(|(key, _)| message::show_key(*key))
            .collect();
        assert_eq!(
            with_as_zero,
            ["103.225.92.0/24", "103.225.93.0/24", "103.225.94.0/24", "103.225.95.0/24"]
        );
        let announced: HashSet<Key> = feed.keys().into_iter().collect();
        assert_eq!(announced.len(), feed.routes.len());
        assert!((577_703..=577_706).contains(&feed.routes.len()), "{}", feed.routes.len());
    }

    #[test]
    fn a_feed_decodes_to_its_own_table() {
        let feed = Feed::internet(20_000, 3_000, 7, 65001, Ipv4Addr::new(192, 0, 2, 1));
        assert_eq!((feed.routes.len(), feed.sets.len()), (20_000, 3_000));
        assert_eq!(feed.sets.iter().collect::<HashSet<_>>().len(), 3_000, "the sets differ");
        let expected: HashMap<Key, u64> =
            feed.keys().into_iter().zip(feed.expectation(|set| Some(set.clone()))).collect();
        let mut decoded = HashMap::new();
        let mut rest = feed.updates.as_slice();
        while let Some(length) = message::length(rest).unwrap() {
            let update = Update::parse(&rest[HEADER_LENGTH..length]).unwrap();
            let set = Attributes::parse(update.attributes).unwrap().fingerprint();
            for_each_prefix(update.announced, |key| assert_eq!(decoded.insert(key, set), None)).unwrap();
            rest = &rest[length..];
        }
        assert_eq!(decoded, expected);
    }
}
