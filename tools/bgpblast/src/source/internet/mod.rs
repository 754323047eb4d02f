//! A synthetic table with the shape of the Internet's.
//!
//! The shape is that of one full-table peer of RIPE RIS on 2026-05-11 (1,042,325 IPv4 and 246,175 IPv6 prefixes) for
//! the prefixes, and of published counts for the attributes: how long the prefixes are, how many lie within others,
//! how they crowd in some parts of the address space and leave others alone, how many share a set of attributes and
//! that few sets have very many, how long the paths are. [`prefixes`] and [`attributes`] say which figure is from
//! where. It is no copy: no prefix and no path stands for a real network's.
//!
//! A table is drawn from seeds with arithmetic that is exact everywhere, so it is the same on every machine.

mod attributes;
mod prefixes;

use kulan::types::Family;

use super::{Route, Routes};

pub(super) use attributes::attributes;

/// The most routes that the address space holds in this shape.
const ROUTES_MAX: usize = 6_000_000;

/// A table of `count` routes in `sets` attribute sets (if not given: as many as the Internet would have). The
/// prefixes, and which of them share a set, come from `prefix_seed`, the attributes from `seed`.
///
/// # Errors
///
/// When there are no routes, too many, or fewer than sets.
pub(super) fn load(
    family: Family,
    count: usize,
    sets: Option<usize>,
    seed: u64,
    prefix_seed: u64,
) -> Result<Routes, String> {
    if count > ROUTES_MAX {
        return Err(format!("routes: {count}; a table like the Internet's has {ROUTES_MAX} at most"));
    }
    let (sets, numbers) = attributes(count, sets, seed, prefix_seed)?;
    let routes = prefixes::draw(family, count, prefix_seed)
        .zip(numbers)
        .map(|(prefix, set)| Route { prefix, path_id: 0, set })
        .collect();
    Ok(Routes { sets, routes, ..Routes::default() })
}

#[cfg(test)]
mod tests;
