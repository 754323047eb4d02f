//! BGP daemons under one description.
//!
//! A [`Speaker`] says what a test wants: who it is, whom it talks to, what it announces. Each file here writes
//! that in one daemon's own configuration language (its [`Dialect`]), runs the daemon in the foreground in a
//! namespace, and reads back what it learned with the daemon's own command-line tool. The result is
//! comparable across daemons: a [`Rib`] of [`Learned`] attributes.

mod bird;
mod exabgp;
mod frr;
mod gobgp;
pub mod kulan;
mod openbgpd;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::str::FromStr;
use std::time::Duration;

pub use bgpblast::compare::speaker::Kind;

use crate::netns::Namespace;
use crate::process::{Directory, Process, Usage, wait_at_most, wait_for};

/// An address family; always unicast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// AFI 1, SAFI 1.
    Ipv4,
    /// AFI 2, SAFI 1.
    Ipv6,
}

impl Family {
    /// The family of an address.
    pub fn of(address: IpAddr) -> Family {
        if address.is_ipv4() { Family::Ipv4 } else { Family::Ipv6 }
    }

    /// `ipv4` or `ipv6`.
    pub fn name(self) -> &'static str {
        match self {
            Family::Ipv4 => "ipv4",
            Family::Ipv6 => "ipv6",
        }
    }
}

/// A prefix of either family, ordered by address and length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    /// The address, host bits zero.
    pub address: IpAddr,
    /// The number of leading bits.
    pub length: u8,
}

impl Prefix {
    /// Its family.
    pub fn family(self) -> Family {
        Family::of(self.address)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Prefix, String> {
        let (address, length) = text.split_once('/').ok_or_else(|| format!("not a prefix: {text}"))?;
        Ok(Prefix {
            address: address.parse().map_err(|_| format!("not an address: {address}"))?,
            length: length.parse().map_err(|_| format!("not a prefix length: {length}"))?,
        })
    }
}

/// The ORIGIN attribute (RFC 4271 §5.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// 0.
    Igp,
    /// 1.
    Egp,
    /// 2.
    Incomplete,
}

impl Origin {
    /// Reads any daemon's spelling.
    fn parse(text: &str) -> Result<Origin, String> {
        match text.trim().to_ascii_lowercase().as_str() {
            "igp" | "i" | "0" => Ok(Origin::Igp),
            "egp" | "e" | "1" => Ok(Origin::Egp),
            "incomplete" | "?" | "2" => Ok(Origin::Incomplete),
            other => Err(format!("not an origin: {other}")),
        }
    }

    /// `igp`, `egp` or `incomplete`.
    pub fn name(self) -> &'static str {
        match self {
            Origin::Igp => "igp",
            Origin::Egp => "egp",
            Origin::Incomplete => "incomplete",
        }
    }
}

/// A route that a speaker originates.
#[derive(Clone, Debug)]
pub struct Route {
    /// Where to.
    pub prefix: Prefix,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// LOCAL_PREF, sent to internal peers only.
    pub local_pref: Option<u32>,
    /// Standard communities (RFC 1997).
    pub communities: BTreeSet<(u16, u16)>,
    /// Large communities (RFC 8092).
    pub large: BTreeSet<(u32, u32, u32)>,
    /// Extended communities (RFC 4360).
    pub extended: BTreeSet<Extended>,
    /// ORIGIN.
    pub origin: Origin,
    /// The AS_PATH that the speaker itself starts from.
    pub as_path: Vec<Hop>,
    /// What else it says; only ExaBGP has words for it.
    pub rare: Rare,
}

/// Attributes that few routes have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rare {
    /// AGGREGATOR.
    pub aggregator: Option<(u32, Ipv4Addr)>,
    /// ATOMIC_AGGREGATE.
    pub atomic_aggregate: bool,
    /// An attribute that no daemon knows.
    pub unknown: Option<Unknown>,
}

/// An attribute type that IANA has assigned to nobody.
pub const UNASSIGNED: u8 = 0x63;

/// An optional transitive attribute of type [`UNASSIGNED`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// Its value.
    pub value: Vec<u8>,
    /// The Partial bit: somebody on the way did not know it (RFC 4271 §5).
    pub partial: bool,
}

/// One step of an AS_PATH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hop {
    /// An AS of an AS_SEQUENCE.
    As(u32),
    /// A whole AS_SET.
    Set(BTreeSet<u32>),
}

/// An extended community of a kind that every daemon can write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Extended {
    /// A route target with a 2-octet AS (RFC 4360 §4).
    Target(u16, u32),
    /// A site of origin, or route origin, with a 2-octet AS (RFC 4360 §5).
    SiteOfOrigin(u16, u32),
}

impl Extended {
    /// Reads a name that a daemon has for the kind, and `ASN:VALUE`.
    fn parse(kind: &str, value: &str) -> Result<Extended, String> {
        let broken = || format!("not an extended community: {kind} {value}");
        let (asn, value) = value.split_once(':').ok_or_else(broken)?;
        // ExaBGP writes the value of a site of origin like an address.
        let value = value.parse().or_else(|_| value.parse::<Ipv4Addr>().map(u32::from));
        let (asn, value) = (asn.parse().map_err(|_| broken())?, value.map_err(|_| broken())?);
        match kind.to_ascii_lowercase().as_str() {
            "rt" | "target" => Ok(Extended::Target(asn, value)),
            "ro" | "soo" | "origin" => Ok(Extended::SiteOfOrigin(asn, value)),
            _ => Err(broken()),
        }
    }

    /// In one daemon's words: its names for the two kinds, and what stands between the parts.
    fn show(self, target: &str, origin: &str, after_kind: &str, between: &str) -> String {
        let (kind, asn, value) = match self {
            Extended::Target(asn, value) => (target, asn, value),
            Extended::SiteOfOrigin(asn, value) => (origin, asn, value),
        };
        format!("{kind}{after_kind}{asn}{between}{value}")
    }
}

impl Route {
    /// A route without optional attributes.
    ///
    /// # Panics
    /// When the text is no prefix.
    pub fn new(prefix: &str) -> Route {
        Route {
            prefix: prefix.parse().unwrap_or_else(|error| panic!("{error}")),
            med: None,
            local_pref: None,
            communities: BTreeSet::new(),
            large: BTreeSet::new(),
            extended: BTreeSet::new(),
            origin: Origin::Igp,
            as_path: Vec::new(),
            rare: Rare::default(),
        }
    }

    /// With a MED.
    pub fn med(mut self, med: u32) -> Route {
        self.med = Some(med);
        self
    }

    /// With a local preference.
    pub fn local_pref(mut self, local_pref: u32) -> Route {
        self.local_pref = Some(local_pref);
        self
    }

    /// With one more community.
    pub fn community(mut self, asn: u16, value: u16) -> Route {
        self.communities.insert((asn, value));
        self
    }

    /// With one more large community.
    pub fn large(mut self, asn: u32, first: u32, second: u32) -> Route {
        self.large.insert((asn, first, second));
        self
    }

    /// With one more extended community.
    pub fn extended(mut self, community: Extended) -> Route {
        self.extended.insert(community);
        self
    }

    /// With another ORIGIN than IGP.
    pub fn origin(mut self, origin: Origin) -> Route {
        self.origin = origin;
        self
    }

    /// With a path that begins before the speaker's own AS.
    pub fn behind(mut self, path: &[u32]) -> Route {
        self.as_path.extend(path.iter().map(|asn| Hop::As(*asn)));
        self
    }

    /// With an AS_SET at the end of the path so far.
    pub fn behind_set(mut self, set: &[u32]) -> Route {
        self.as_path.push(Hop::Set(set.iter().copied().collect()));
        self
    }

    /// With AGGREGATOR.
    pub fn aggregator(mut self, asn: u32, router_id: Ipv4Addr) -> Route {
        self.rare.aggregator = Some((asn, router_id));
        self
    }

    /// With ATOMIC_AGGREGATE.
    pub fn atomic_aggregate(mut self) -> Route {
        self.rare.atomic_aggregate = true;
        self
    }

    /// With an optional transitive attribute of type [`UNASSIGNED`].
    pub fn unknown(mut self, value: &[u8]) -> Route {
        self.rare.unknown = Some(Unknown { value: value.to_vec(), partial: false });
        self
    }

    /// The AS numbers of a path without sets.
    ///
    /// # Panics
    /// When there is a set: only ExaBGP can be asked to originate one.
    fn sequence(&self) -> Vec<u32> {
        self.as_path
            .iter()
            .map(|hop| match hop {
                Hop::As(asn) => *asn,
                Hop::Set(_) => panic!("{}: an AS_SET can be asked of ExaBGP only", self.prefix),
            })
            .collect()
    }
}

/// A neighbor of a speaker.
#[derive(Clone, Debug)]
pub struct Neighbor {
    /// Its address.
    pub address: IpAddr,
    /// Ours on that session.
    pub local_address: IpAddr,
    /// Our address of the other family on that link, for daemons that do not find it themselves when a session
    /// carries both.
    pub other_local_address: Option<IpAddr>,
    /// Its AS number.
    pub asn: u32,
    /// What is exchanged.
    pub families: Vec<Family>,
    /// Whether it is our client (RFC 4456).
    pub reflector_client: bool,
    /// The TCP MD5 key.
    pub md5: Option<String>,
    /// Whether graceful restart is offered (RFC 4724).
    pub graceful_restart: bool,
    /// Whether IPv4 routes may have IPv6 next hops (RFC 8950).
    pub extended_next_hop: bool,
    /// Whether we wait for its connection.
    pub passive: bool,
    /// The AS number that it knows us by, if not the speaker's. Only kulan has to be told.
    pub local_asn: Option<u32>,
}

impl Neighbor {
    /// A neighbor that exchanges the family of its own address.
    pub fn new(local_address: IpAddr, address: IpAddr, asn: u32) -> Neighbor {
        Neighbor {
            address,
            local_address,
            other_local_address: None,
            asn,
            families: vec![Family::of(address)],
            reflector_client: false,
            md5: None,
            graceful_restart: false,
            extended_next_hop: false,
            passive: false,
            local_asn: None,
        }
    }
}

/// What a daemon is to be.
#[derive(Clone, Debug)]
pub struct Speaker {
    /// Its AS number.
    pub asn: u32,
    /// Its BGP identifier, and its cluster identifier when it reflects.
    pub router_id: Ipv4Addr,
    /// Its neighbors.
    pub neighbors: Vec<Neighbor>,
    /// What it originates.
    pub routes: Vec<Route>,
    /// Whether learned routes go into the kernel's main table.
    pub install: bool,
    /// Accept any internal neighbor from this range as a passive, reflected client.
    pub client_range: Option<Prefix>,
    /// The TCP MD5 key of that range. Only kulan has to be told.
    pub client_range_md5: Option<String>,
    /// Gateways, one a family at most, through which all next hops are taken to be reachable, in a table apart
    /// from the learned routes, as a reflector of routes with foreign next hops wants it. Only BIRD has to be
    /// told.
    pub resolve_through: Vec<IpAddr>,
}

impl Speaker {
    /// A speaker that talks to nobody yet.
    pub fn new(asn: u32, router_id: Ipv4Addr) -> Speaker {
        Speaker {
            asn,
            router_id,
            neighbors: Vec::new(),
            routes: Vec::new(),
            install: false,
            client_range: None,
            client_range_md5: None,
            resolve_through: Vec::new(),
        }
    }

    /// The routes of one family.
    fn routes_of(&self, family: Family) -> impl Iterator<Item = &Route> {
        self.routes.iter().filter(move |route| route.prefix.family() == family)
    }
}

/// What a speaker knows of a route it learned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Learned {
    /// AS_PATH.
    pub as_path: Vec<Hop>,
    /// ORIGIN.
    pub origin: Origin,
    /// The next hop; of two IPv6 ones the global one.
    pub next_hop: IpAddr,
    /// LOCAL_PREF; daemons show 100 for external routes, or nothing: both read as 100.
    pub local_pref: u32,
    /// MULTI_EXIT_DISC; absent and 0 are the same to some daemons: both read as 0.
    pub med: u32,
    /// Standard communities.
    pub communities: BTreeSet<(u16, u16)>,
    /// Large communities.
    pub large: BTreeSet<(u32, u32, u32)>,
    /// ORIGINATOR_ID.
    pub originator_id: Option<Ipv4Addr>,
    /// CLUSTER_LIST.
    pub cluster_list: Vec<Ipv4Addr>,
    /// Extended communities.
    pub extended: BTreeSet<Extended>,
    /// What few routes have.
    pub rare: Rare,
}

impl Learned {
    /// The default values, to be filled in.
    fn with_next_hop(next_hop: IpAddr) -> Learned {
        Learned {
            as_path: Vec::new(),
            origin: Origin::Incomplete,
            next_hop,
            local_pref: 100,
            med: 0,
            communities: BTreeSet::new(),
            large: BTreeSet::new(),
            originator_id: None,
            cluster_list: Vec::new(),
            extended: BTreeSet::new(),
            rare: Rare::default(),
        }
    }
}

/// The best routes that a speaker learned over BGP.
pub type Rib = BTreeMap<Prefix, Learned>;

fn dialect(kind: Kind) -> &'static dyn Dialect {
    match kind {
        Kind::Kulan => &kulan::Kulan,
        Kind::Bird => &bird::Bird,
        Kind::Frr => &frr::Frr,
        Kind::Gobgp => &gobgp::Gobgp,
        Kind::Openbgpd => &openbgpd::Openbgpd,
        Kind::Exabgp => &exabgp::Exabgp,
    }
}

/// Where a daemon runs.
struct Place<'n> {
    namespace: &'n Namespace,
    directory: Directory,
}

impl Place<'_> {
    /// Runs a command of the daemon's tool in the namespace and returns its standard output, or what it
    /// complained about.
    fn run(&self, mut command: Command) -> Result<String, String> {
        let program = command.get_program().to_string_lossy().into_owned();
        let output = command.output().map_err(|error| format!("cannot run {program}: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            Ok(text)
        } else {
            Err(format!("{program}: {}{text}", String::from_utf8_lossy(&output.stderr)))
        }
    }
}

/// How one daemon is written to, run and read.
trait Dialect: Sync {
    /// Writes the configuration and starts the programs; the one that speaks BGP is the last.
    fn start(&self, place: &Place<'_>, speaker: &Speaker, after_crash: bool) -> Vec<Process>;

    /// Whether it can be talked to; originates what cannot be written into the configuration.
    fn ready(&self, place: &Place<'_>, speaker: &Speaker) -> Result<(), String>;

    /// Whether the session with this neighbor is Established.
    fn established(&self, place: &Place<'_>, neighbor: IpAddr) -> Result<(), String>;

    /// The best routes learned over BGP.
    fn learned(&self, place: &Place<'_>, family: Family) -> Result<Rib, String>;

    /// Sends the neighbor a ROUTE-REFRESH for the families of the session.
    fn request_refresh(&self, place: &Place<'_>, neighbor: IpAddr) -> Result<(), String>;

    /// Originates these routes no more, while all sessions stay up; `speaker` has only the others left.
    fn withdraw(&self, place: &Place<'_>, speaker: &Speaker, gone: &[Prefix]) -> Result<(), String>;

    /// How many UPDATEs came from this neighbor on this session.
    fn updates_received(&self, place: &Place<'_>, neighbor: IpAddr) -> Result<u64, String>;
}

/// A running daemon; killed on drop.
pub struct Daemon<'n> {
    kind: Kind,
    speaker: Speaker,
    processes: Vec<Process>,
    place: Place<'n>,
}

impl<'n> Daemon<'n> {
    /// Starts it in the namespace and waits until it can be talked to.
    ///
    /// # Panics
    /// When it does not start, with the end of its log.
    pub fn start(kind: Kind, namespace: &'n Namespace, speaker: Speaker) -> Daemon<'n> {
        let place = Place { namespace, directory: Directory::new(kind.name()) };
        let processes = dialect(kind).start(&place, &speaker, false);
        let mut daemon = Daemon { kind, speaker, processes, place };
        daemon.await_ready();
        daemon
    }

    fn await_ready(&mut self) {
        let what = format!("{} to be ready", self.kind.name());
        wait_for(&what, || {
            for process in &mut self.processes {
                if let Some(status) = process.ended() {
                    panic!("{} ended at its start: {status}", self.kind.name());
                }
            }
            dialect(self.kind).ready(&self.place, &self.speaker)
        });
    }

    /// Which daemon it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What it was told to be.
    pub fn speaker(&self) -> &Speaker {
        &self.speaker
    }

    /// Ends it without a word to anybody, as a crash does.
    pub fn kill(&mut self) {
        for process in self.processes.iter_mut().rev() {
            process.kill();
        }
    }

    /// Starts it again after [`Daemon::kill`], as its service manager would after a crash, with a changed
    /// description.
    pub fn start_again_with(&mut self, change: impl FnOnce(&mut Speaker)) {
        change(&mut self.speaker);
        self.processes = dialect(self.kind).start(&self.place, &self.speaker, true);
        self.await_ready();
    }

    /// Waits until all sessions are Established.
    ///
    /// # Panics
    /// When one does not come up.
    pub fn await_established(&self) {
        for neighbor in &self.speaker.neighbors {
            let what = format!("{}'s session with {}", self.kind.name(), neighbor.address);
            wait_for(&what, || self.established(neighbor.address));
        }
    }

    /// Whether the session with this neighbor is Established.
    pub fn established(&self, neighbor: IpAddr) -> Result<(), String> {
        dialect(self.kind).established(&self.place, neighbor)
    }

    /// The best routes learned over BGP.
    pub fn learned(&self, family: Family) -> Result<Rib, String> {
        dialect(self.kind).learned(&self.place, family)
    }

    /// Waits until it learned exactly these routes, with exactly these attributes.
    ///
    /// # Panics
    /// When it does not come to that, with every difference.
    pub fn await_learned(&self, family: Family, expected: &Rib) {
        let what = format!("{} to learn {} {} routes", self.kind.name(), expected.len(), family.name());
        wait_at_most(Duration::from_secs(30), &what, || {
            let learned = self.learned(family)?;
            let differences = differences(expected, &learned);
            if differences.is_empty() { Ok(()) } else { Err(differences) }
        });
    }

    /// Asks the neighbor to send everything again.
    ///
    /// # Panics
    /// When the daemon's tool refuses.
    pub fn request_refresh(&self, neighbor: IpAddr) {
        dialect(self.kind).request_refresh(&self.place, neighbor).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Originates these routes no more; all sessions stay up.
    ///
    /// # Panics
    /// When the daemon's tool refuses.
    pub fn withdraw(&mut self, gone: &[Prefix]) {
        self.speaker.routes.retain(|route| !gone.contains(&route.prefix));
        let done = dialect(self.kind).withdraw(&self.place, &self.speaker, gone);
        done.unwrap_or_else(|error| panic!("{error}"));
    }

    /// How many UPDATEs came from this neighbor on this session.
    ///
    /// # Panics
    /// When the daemon's tool refuses.
    pub fn updates_received(&self, neighbor: IpAddr) -> u64 {
        dialect(self.kind).updates_received(&self.place, neighbor).unwrap_or_else(|error| panic!("{error}"))
    }

    /// What its processes use together.
    pub fn usage(&self) -> Usage {
        self.processes.iter().map(|process| Usage::of_group(process.id())).fold(Usage::default(), Usage::and)
    }

    /// What it printed.
    pub fn log(&self) -> String {
        self.processes.iter().map(Process::log).collect()
    }

    /// Where it keeps its files.
    pub fn directory(&self) -> &Directory {
        &self.place.directory
    }
}

/// What differs between two tables, one line each; empty if nothing does.
pub fn differences(expected: &Rib, learned: &Rib) -> String {
    let mut lines = Vec::new();
    for (prefix, want) in expected {
        match learned.get(prefix) {
            None => lines.push(format!("{prefix} is missing")),
            Some(have) if have != want => {
                lines.push(format!("{prefix}\n     is      {have:?}\n     must be {want:?}"))
            }
            Some(_) => {}
        }
    }
    for prefix in learned.keys().filter(|prefix| !expected.contains_key(prefix)) {
        lines.push(format!("{prefix} must not be there"));
    }
    lines.join("\n")
}

/// Reads a path like `65001 65002 {65003 65004}`, with commas or spaces in the set.
fn parse_as_path(text: &str) -> Result<Vec<Hop>, String> {
    let number = |word: &str| word.parse().map_err(|_| format!("not an AS path: {text}"));
    let mut path = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('{') {
            let (set, after) = after.split_once('}').ok_or_else(|| format!("not an AS path: {text}"))?;
            let members = set.split([' ', ',']).filter(|word| !word.is_empty()).map(number);
            path.push(Hop::Set(members.collect::<Result<_, _>>()?));
            rest = after.trim_start();
        } else {
            let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
            path.push(Hop::As(number(word)?));
            rest = after.trim_start();
        }
    }
    Ok(path)
}

/// Reads bytes in hexadecimal, whatever stands between the digits.
fn parse_hex(text: &str) -> Result<Vec<u8>, String> {
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    (0..digits.len() / 2)
        .map(|at| {
            u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).map_err(|_| format!("not bytes: {text}"))
        })
        .collect()
}

/// Reads a list like `65000:1 65000:2`, with any of space, comma and brackets around the items.
fn parse_communities(text: &str) -> Result<BTreeSet<(u16, u16)>, String> {
    let mut set = BTreeSet::new();
    for item in items(text) {
        let fields = numbers(item)?;
        let [asn, value] = fields[..] else { return Err(format!("not a community: {item}")) };
        set.insert((asn as u16, value as u16));
    }
    Ok(set)
}

/// Reads a list of large communities.
fn parse_large(text: &str) -> Result<BTreeSet<(u32, u32, u32)>, String> {
    let mut set = BTreeSet::new();
    for item in items(text) {
        let fields = numbers(item)?;
        let [asn, first, second] = fields[..] else { return Err(format!("not a large community: {item}")) };
        set.insert((asn, first, second));
    }
    Ok(set)
}

fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split([' ', '[', ']', '\t']).map(|item| item.trim_matches(',')).filter(|item| !item.is_empty())
}

fn numbers(item: &str) -> Result<Vec<u32>, String> {
    item.split(':').map(|field| field.parse().map_err(|_| format!("not a number in {item}"))).collect()
}
