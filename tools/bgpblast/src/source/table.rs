//! A table in the making: attribute sets are kept once, and UPDATEs are applied, later ones winning.
//!
//! UPDATEs are read by kulan's codec, which judges them as RFC 7606 says: routes with malformed attributes count as
//! withdrawn here as they would at any receiver, and are counted in a note. So the table is what a speaker holds
//! after it, not what the file tries to say.

use std::hash::{Hash, Hasher};

use hashbrown::{Equivalent, HashMap};
use kulan::types::{FamilySet, NextHop, Prefix};
use kulan::wire::{DecodeContext, Treatment, UpdateView, canonicalize, decode_update};

use super::{AttributeSet, Route, Routes};

/// What an UPDATE of a file can be: every family, IPv4 prefixes with IPv6 next hops as well.
pub(super) const fn context(four_octet_as: bool, add_path: bool, external: bool) -> DecodeContext {
    DecodeContext {
        four_octet_as,
        external,
        families: FamilySet::ALL,
        add_path: if add_path { FamilySet::ALL } else { FamilySet::EMPTY },
        extended_next_hop: true,
    }
}

/// Attribute sets, each once, numbered in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Sets {
    numbers: HashMap<AttributeSet, u32>,
}

/// An [`AttributeSet`] that is looked for.
struct Borrowed<'a> {
    block: &'a [u8],
    next_hop: Option<NextHop>,
}

impl Hash for Borrowed<'_> {
    // As the derived one of AttributeSet: a Vec hashes like its slice.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.block.hash(state);
        self.next_hop.hash(state);
    }
}

impl Equivalent<AttributeSet> for Borrowed<'_> {
    fn equivalent(&self, set: &AttributeSet) -> bool {
        self.block == set.block && self.next_hop == set.next_hop
    }
}

impl Sets {
    /// The number of a set, a new one if it has not been there.
    pub fn number(&mut self, block: &[u8], next_hop: Option<NextHop>) -> u32 {
        let wanted = Borrowed { block, next_hop };
        if let Some(number) = self.numbers.get(&wanted) {
            return *number;
        }
        let number = self.numbers.len() as u32;
        self.numbers.insert(AttributeSet { block: block.to_vec(), next_hop }, number);
        number
    }

    /// Whether a set with this block and without next hop is new; then it has the next number.
    pub fn insert_block(&mut self, block: &[u8]) -> bool {
        let there = self.numbers.len();
        self.number(block, None) as usize == there
    }

    /// The sets in the order of their numbers.
    pub fn into_list(self) -> Vec<AttributeSet> {
        let mut numbered: Vec<(AttributeSet, u32)> = self.numbers.into_iter().collect();
        numbered.sort_unstable_by_key(|(_, number)| *number);
        numbered.into_iter().map(|(set, _)| set).collect()
    }
}

/// Counts UPDATEs or routes that were not taken, and remembers the first.
#[derive(Debug, Default)]
pub(super) struct Skipped {
    count: u64,
    first: String,
}

impl Skipped {
    /// One more; `describe` is asked about the first.
    pub fn add(&mut self, count: usize, describe: impl FnOnce() -> String) {
        if count > 0 && self.count == 0 {
            self.first = describe();
        }
        self.count += count as u64;
    }

    /// `12 routes left out (the first: ...)`, if there was any.
    pub fn note(&self, what: &str) -> Option<String> {
        (self.count > 0).then(|| format!("{} {what} (the first: {})", self.count, self.first))
    }
}

/// A table that UPDATEs are applied to.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub sets: Sets,
    /// The set of each route, and when it was announced last.
    routes: HashMap<(Prefix, u32), (u32, u32)>,
    announced: u32,
    malformed: Skipped,
    refused: Skipped,
    scratch: Vec<u8>,
}

impl Table {
    /// Applies the body of an UPDATE. False: it would have ended the session; nothing of it was applied. `position`
    /// says where it is in the file.
    pub fn apply(&mut self, body: &[u8], context: &DecodeContext, position: u64) -> bool {
        let view = match decode_update(body, context) {
            Ok(view) => view,
            Err(notification) => {
                self.refused.add(1, || format!("at byte {position}: {notification}"));
                return false;
            }
        };
        self.malformed.add(refused_routes(&view), || describe(&view));
        for nlri in view.withdrawals() {
            for path in nlri {
                self.routes.remove(&(path.prefix, path.path_id));
            }
        }
        let mut canonical = false;
        for reach in view.announcements() {
            if !canonical {
                canonicalize(&view, &mut self.scratch);
                canonical = true;
            }
            let set = self.sets.number(&self.scratch, Some(reach.next_hop));
            for path in reach.nlri {
                self.announced += 1;
                self.routes.insert((path.prefix, path.path_id), (set, self.announced));
            }
        }
        true
    }

    /// The session ended: all its routes with it.
    pub fn clear(&mut self) {
        self.routes.clear();
    }

    /// The table in the order of the announcements, with the sets that it uses, and what was left out.
    pub fn finish(self) -> Routes {
        let mut ordered: Vec<((Prefix, u32), (u32, u32))> = self.routes.into_iter().collect();
        ordered.sort_unstable_by_key(|(_, (_, announced))| *announced);
        let routes =
            ordered.into_iter().map(|((prefix, path_id), (set, _))| Route { prefix, path_id, set }).collect();
        let notes = [
            self.malformed.note("routes left out for malformed attributes, as RFC 7606 asks"),
            self.refused.note("UPDATEs left out that would have ended the session"),
        ];
        let notes = notes.into_iter().flatten().collect();
        let mut table = Routes { sets: self.sets.into_list(), routes, notes, ..Routes::default() };
        table.drop_unused_sets();
        table
    }
}

/// How many announced routes of an UPDATE count as withdrawn for an error in it.
fn refused_routes(view: &UpdateView<'_>) -> usize {
    if view.treatment() < Treatment::TreatAsWithdraw {
        return 0;
    }
    view.withdrawals().map(|nlri| nlri.iter().count()).sum()
}

fn describe(view: &UpdateView<'_>) -> String {
    let prefix = view.withdrawals().flatten().next().map_or(String::new(), |path| path.prefix.to_string());
    match view.findings().iter().find(|finding| finding.treatment == Treatment::TreatAsWithdraw) {
        Some(finding) => format!("{prefix}, {finding}"),
        None => prefix,
    }
}
