//! Where routes come from: a synthetic table with the shape of the Internet's, a list of prefixes, a recorded
//! stream of BGP messages, MRT files, churn scripts, and one range a peer.
//!
//! Whatever the source, what comes out is [`Routes`] (a table) or a [`Script`] (changes to one), with the
//! attributes in kulan's canonical form. Who sends them decides later what becomes of next hop and AS path.
//!
//! What people give us is often not what they think it is: cut short on a full disk, another format, another peer's.
//! A source of which nothing can be used is an error that says what was found and what to do. One that is damaged
//! gives what came before the damage, and [`Routes::partial`] says where that was; what was left out on purpose is
//! counted in [`Routes::notes`]. A file is plain, gzip or bzip2, recognised by its content; positions in messages
//! are those of the unpacked bytes.

mod input;
mod internet;
mod messages;
mod mrt;
pub(crate) mod random;
mod ranges;
mod table;
mod text;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use ipnet::IpNet;
use kulan::types::{Family, NextHop, Prefix};
use serde::{Deserialize, Serialize};

/// Where the routes of a sender come from, as it stands in a scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Source {
    /// A synthetic table with the shape of the Internet's, the same on every machine. The attributes are as an external
    /// neighbor has them before it sends: its own AS is not in the path yet.
    Internet {
        /// The family of the prefixes.
        #[serde(default)]
        family: IpFamily,
        /// How many; at most 6,000,000.
        #[serde(default = "default_routes")]
        routes: usize,
        /// How many attribute sets they share; as many as the Internet has for that many routes if not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sets: Option<usize>,
        /// What the attributes are drawn from.
        #[serde(default = "default_seed")]
        seed: u64,
        /// What the prefixes are drawn from, which of them share attributes, and who originates them: feeds that
        /// differ only in `seed` are the same prefixes by other ways.
        #[serde(default = "default_seed")]
        prefix_seed: u64,
    },
    /// A list of prefixes of either family, one a line, `#` before comments, with attributes as `internet` has them.
    Prefixes {
        /// The list.
        file: PathBuf,
        /// How many attribute sets they share; as many as the Internet has for that many routes if not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sets: Option<usize>,
        /// What the attributes are drawn from.
        #[serde(default = "default_seed")]
        seed: u64,
        /// So many of the list at most, evenly spread over it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        routes: Option<usize>,
    },
    /// BGP messages as they were on the wire, one after another, with AS numbers of four octets.
    Messages {
        /// The messages.
        file: PathBuf,
    },
    /// An MRT file (RFC 6396, RFC 8050): a table dump, or updates, of which the table is taken that they lead to.
    Mrt {
        /// The file.
        file: PathBuf,
        /// Whose routes: an address, an AS number, or an index into the peers of the file. A number is an AS number if
        /// any peer has it. Among several peers, and if nothing is given: the one with the most routes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        peer: Option<String>,
        /// Only routes of this family; both if not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        family: Option<IpFamily>,
        /// So many of the table at most, evenly spread over it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        routes: Option<usize>,
    },
    /// Prefixes of each peer's own, as a fleet of machines has: consecutive ones of the same length.
    Ranges {
        /// The first prefix of the first peer.
        first: IpNet,
        /// How many each peer has.
        #[serde(default = "default_per_peer")]
        per_peer: usize,
    },
}

const fn default_routes() -> usize {
    1_000_000
}

const fn default_seed() -> u64 {
    1
}

const fn default_per_peer() -> usize {
    1
}

/// An address family as a scenario writes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IpFamily {
    /// `ipv4`.
    #[default]
    Ipv4,
    /// `ipv6`.
    Ipv6,
}

impl From<IpFamily> for Family {
    fn from(family: IpFamily) -> Family {
        match family {
            IpFamily::Ipv4 => Family::Ipv4Unicast,
            IpFamily::Ipv6 => Family::Ipv6Unicast,
        }
    }
}

impl Source {
    /// The routes of the peer with this number, counted from 0; all peers have the same, but for
    /// [`Source::Ranges`]. Takes seconds at most for a full table.
    ///
    /// # Errors
    ///
    /// Why there is not a single route to send, in words for the person who wrote the scenario.
    pub fn load(&self, peer_number: usize) -> Result<Routes, String> {
        match self {
            Source::Internet { family, routes, sets, seed, prefix_seed } => {
                internet::load((*family).into(), *routes, *sets, *seed, *prefix_seed)
            }
            Source::Prefixes { file, sets, seed, routes } => load_prefixes(file, *sets, *seed, *routes),
            Source::Messages { file } => messages::load(file),
            Source::Mrt { file, peer, family, routes } => {
                let mut table = mrt::load(file, peer.as_deref(), family.map(Family::from))?;
                table.thin(*routes);
                table.drop_unused_sets();
                Ok(table)
            }
            Source::Ranges { first, per_peer } => ranges::routes_of(*first, *per_peer, peer_number),
        }
    }
}

/// Loads a sequence of changes: lines of `A PREFIX` and `W PREFIX`, or an MRT file of updates, of which those of the
/// peer with the most changes are taken. Which it is, is seen from the content.
///
/// # Errors
///
/// Why there is not a single change, in words for the person who named the file.
pub fn load_script(file: &Path) -> Result<Script, String> {
    let mut input = input::Input::open(file)?;
    // An MRT record has its type, which is below 256, in bytes 4 and 5; no text has a zero there.
    if input.head().get(4) == Some(&0) { mrt::load_script(file) } else { text::load_script(file, &mut input) }
}

/// Lets through what can be used.
fn usable(file: &Path, routes: Routes) -> Result<Routes, String> {
    if routes.routes.is_empty() {
        return Err(nothing_in(file, "route", routes.partial, routes.notes));
    }
    Ok(routes)
}

/// Lets through what can be used.
fn usable_script(file: &Path, script: Script) -> Result<Script, String> {
    if script.steps.is_empty() {
        return Err(nothing_in(file, "change", script.partial, script.notes));
    }
    Ok(script)
}

fn nothing_in(file: &Path, what: &str, partial: Option<String>, notes: Vec<String>) -> String {
    let reasons: Vec<String> = partial.into_iter().chain(notes).collect();
    let colon = if reasons.is_empty() { "" } else { ": " };
    format!("{} has no {what} that can be used{colon}{}", file.display(), reasons.join("; "))
}

fn load_prefixes(
    file: &Path,
    sets: Option<usize>,
    seed: u64,
    limit: Option<usize>,
) -> Result<Routes, String> {
    let mut routes = text::load_prefixes(file)?;
    routes.thin(limit);
    let count = routes.routes.len();
    let (sets, numbers) = internet::attributes(count, sets, seed, default_seed())?;
    for (route, set) in routes.routes.iter_mut().zip(numbers) {
        route.set = set;
    }
    routes.sets = sets;
    Ok(routes)
}

/// Path attributes that routes share.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AttributeSet {
    /// The canonical block (see [`kulan::wire::attrs`]), without next hop.
    pub block: Vec<u8>,
    /// The next hop that the source gives; nothing where it has none.
    pub next_hop: Option<NextHop>,
}

/// One route of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where to.
    pub prefix: Prefix,
    /// The path identifier (RFC 7911); 0 where the source has none.
    pub path_id: u32,
    /// Its attributes: an index into the `sets` beside it.
    pub set: u32,
}

/// A table of routes: no two with the same prefix and path identifier.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    /// The attribute sets, each once.
    pub sets: Vec<AttributeSet>,
    /// The routes, in the order in which they are to be sent: those that share attributes need not stand together.
    pub routes: Vec<Route>,
    /// The source as it was recorded, where it is a stream of BGP messages that can be sent as it is: UPDATEs only,
    /// one after another.
    pub recorded: Option<Vec<u8>>,
    /// Why this is not all that the source should have had, where it ended early or is damaged within.
    pub partial: Option<String>,
    /// What else a person should know: which records were skipped, which peer was taken.
    pub notes: Vec<String>,
}

impl Routes {
    /// Leaves only the sets that routes have, in the order of the routes.
    fn drop_unused_sets(&mut self) {
        let mut sets: Vec<Option<AttributeSet>> = self.sets.drain(..).map(Some).collect();
        let mut numbers = vec![0; sets.len()];
        for route in &mut self.routes {
            let old = route.set as usize;
            if let Some(set) = sets[old].take() {
                numbers[old] = self.sets.len() as u32;
                self.sets.push(set);
            }
            route.set = numbers[old];
        }
    }

    /// Leaves at most `limit` routes, evenly spread over those there are.
    fn thin(&mut self, limit: Option<usize>) {
        let Some(limit) = limit else {
            return;
        };
        let there = self.routes.len();
        if limit > there {
            self.notes.push(format!("{limit} routes wanted, {there} there"));
            return;
        }
        self.routes = (0..limit).map(|number| self.routes[number * there / limit]).collect();
    }
}

/// A change to a table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Seconds since the script began, where it says.
    pub at_s: Option<f64>,
    /// Which route.
    pub prefix: Prefix,
    /// The path identifier (RFC 7911); 0 where the source has none.
    pub path_id: u32,
    /// What happens to it.
    pub change: Change,
}

/// What a [`Step`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Announced with these attributes: an index into [`Script::sets`].
    Announce(u32),
    /// Announced; the script does not say how.
    AnnounceAnew,
    /// Withdrawn.
    Withdraw,
}

/// A sequence of changes.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// The attribute sets, each once.
    pub sets: Vec<AttributeSet>,
    /// In order.
    pub steps: Vec<Step>,
    /// Why this is not all that the source should have had, where it ended early or is damaged within.
    pub partial: Option<String>,
    /// What else a person should know: which records were skipped, which peer was taken.
    pub notes: Vec<String>,
}
