//! The scenarios that have a subcommand of their own.
//!
//! All AS numbers are from ranges that no recorded path should have: those for documentation (RFC 5398) and the private
//! ones of 32 bits (RFC 6996).

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use ipnet::{Ipv4Net, Ipv6Net};

use super::{
    Announce, Churn, Connect, Disconnect, Group, Latency, Peers, Phase, ProbeMeanwhile, Reconfigure, Rest,
    Resume, Scenario, SentNextHop, Side, Speaker, Stall,
};
use crate::compare::bench;
use crate::source::{IpFamily, Source};

/// The speaker's AS number unless told otherwise.
pub const SPEAKER_ASN: u32 = 64496;
/// The AS number of external receivers.
const RECEIVER_ASN: u32 = 64497;
/// The AS number of the peer that sends single routes.
const PROBER_ASN: u32 = 64498;
/// The AS number of the first external sender.
const SOURCE_ASN: u32 = 4_210_000_000;

/// What the commands have in common.
#[derive(Clone, Debug)]
pub struct Common {
    /// The speaker's AS number.
    pub asn: u32,
    /// The speaker's cluster identifier.
    pub cluster_id: Ipv4Addr,
    /// Where routes come from.
    pub source: Source,
    /// The family of the sessions and of what is exchanged.
    pub ipv6: bool,
    /// Whether the source's next hops are kept.
    pub keep_next_hops: bool,
    /// The TCP MD5 key.
    pub md5: Option<String>,
    /// The hold time that peers propose, s.
    pub hold_time_s: u16,
    /// Whether peers offer ADD-PATH.
    pub add_path: bool,
    /// Whether peers offer messages of up to 65,535 octets.
    pub extended_messages: bool,
    /// The port on which peers wait for the speaker.
    pub listen_port: Option<u16>,
    /// When it is given up, s.
    pub time_limit_s: u64,
}

impl Default for Common {
    /// What the command line has if nothing is said: a synthetic table of a million routes.
    fn default() -> Common {
        let (family, routes) = (IpFamily::Ipv4, 1_000_000);
        Common {
            asn: SPEAKER_ASN,
            cluster_id: bench::SPEAKER,
            source: Source::Internet { family, routes, sets: None, seed: 1, prefix_seed: 1 },
            ipv6: false,
            keep_next_hops: false,
            md5: None,
            hold_time_s: 90,
            add_path: false,
            extended_messages: false,
            listen_port: None,
            time_limit_s: 300,
        }
    }
}

impl Common {
    fn scenario(&self, name: &str, description: String) -> Scenario {
        Scenario {
            name: name.to_string(),
            description,
            time_limit_s: self.time_limit_s,
            speaker: Speaker { asn: self.asn, cluster_id: self.cluster_id, install: false },
            sources: BTreeMap::from([("table".to_string(), self.source.clone())]),
            groups: Vec::new(),
            phases: Vec::new(),
        }
    }

    fn group(&self, name: &str, count: usize, side: Side, asn: u32) -> Group {
        let family = if self.ipv6 { IpFamily::Ipv6 } else { IpFamily::Ipv4 };
        Group {
            over_ipv6: self.ipv6,
            families: vec![family],
            md5: self.md5.clone(),
            hold_time_s: self.hold_time_s,
            add_path: self.add_path,
            extended_messages: self.extended_messages,
            listen_port: self.listen_port,
            ..Group::new(name, count, side, asn)
        }
    }

    /// External senders of the table.
    fn feeds(&self, count: usize) -> Group {
        Group {
            asn_step: 1,
            sends: Some("table".to_string()),
            next_hop: self.next_hop(),
            receives: false,
            ..self.group("feeds", count, Side::Sources, SOURCE_ASN)
        }
    }

    /// An internal sender of the table.
    fn internal_feed(&self, client: bool) -> Group {
        Group { asn: self.asn, asn_step: 0, client, ..self.feeds(1) }
    }

    fn receivers(&self, count: usize) -> Group {
        self.group("receivers", count, Side::Receivers, RECEIVER_ASN)
    }

    fn clients(&self, count: usize) -> Group {
        Group { client: true, ..self.group("clients", count, Side::Clients, self.asn) }
    }

    fn next_hop(&self) -> SentNextHop {
        if self.keep_next_hops { SentNextHop::Keep } else { SentNextHop::Own }
    }

    /// A range for each client, as pods have.
    fn pod_ranges(&self) -> Source {
        let first = if self.ipv6 {
            Ipv6Net::new_assert(Ipv6Addr::new(0xfd00, 0x244, 0, 0, 0, 0, 0, 0), 64).into()
        } else {
            Ipv4Net::new_assert(Ipv4Addr::new(100, 64, 0, 0), 24).into()
        };
        Source::Ranges { first, per_peer: 1 }
    }
}

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|name| name.to_string()).collect()
}

fn connect(list: &[&str]) -> Phase {
    // In small groups: this phase is not what is measured.
    let connect = Connect { peers: names(list), per_second: None, at_a_time: Some(50), announce: false };
    Phase { connect: Some(connect), ..Phase::default() }
}

fn announce(list: &[&str], measure: Option<&str>) -> Phase {
    Phase {
        measure: measure.map(str::to_string),
        announce: Some(Announce { peers: names(list), variant: 0 }),
        ..Phase::default()
    }
}

fn named(name: &str, phase: Phase) -> Phase {
    Phase { name: Some(name.to_string()), ..phase }
}

/// One sender, one receiver, a table: RIB-OUT convergence (RFC 7747 §5.1.2).
pub fn table(common: &Common, reflect: bool) -> Scenario {
    let mut scenario = common.scenario(
        "table",
        format!(
            "One {} peer announces a table, and another one must hold all of it (RFC 7747 §5.1.2, RIB-OUT convergence).",
            if reflect { "internal" } else { "external" }
        ),
    );
    scenario.groups = if reflect {
        let receivers = Group { asn: common.asn, client: true, ..common.receivers(1) };
        vec![common.internal_feed(false), receivers]
    } else {
        vec![common.feeds(1), common.receivers(1)]
    };
    scenario.phases = vec![connect(&["feeds", "receivers"]), announce(&["feeds"], Some("convergence"))];
    scenario
}

/// Several senders of the same prefixes, one receiver.
pub fn feeds(common: &Common, feeds: usize) -> Scenario {
    let mut scenario = common.scenario(
        "feeds",
        format!(
            "{feeds} external peers announce the same prefixes; a receiver must hold the best path of each."
        ),
    );
    let group = Group { spread_best: true, ..common.feeds(feeds) };
    scenario.groups = vec![group, common.receivers(1)];
    scenario.phases = vec![connect(&["feeds", "receivers"]), announce(&["feeds"], Some("convergence"))];
    scenario
}

/// A table reflected to many clients.
pub fn fanout(common: &Common, clients: usize) -> Scenario {
    let mut scenario = common.scenario(
        "fanout",
        format!("A route reflector passes the table of one client on to {clients} others."),
    );
    scenario.groups = vec![common.internal_feed(true), common.clients(clients)];
    scenario.phases = vec![connect(&["feeds", "clients"]), announce(&["feeds"], Some("convergence"))];
    scenario
}

/// Many clients announce a range each and learn all others; then a share of them restarts.
pub fn pods(common: &Common, clients: usize, at_once: bool, restart: Option<f64>) -> Scenario {
    let mut scenario = common.scenario(
        "pods",
        format!(
            "{clients} clients of a route reflector announce one range each, and each must learn all others."
        ),
    );
    scenario.sources = BTreeMap::from([("ranges".to_string(), common.pod_ranges())]);
    let clients = Group { sends: Some("ranges".to_string()), ..common.clients(clients) };
    scenario.groups = vec![clients];
    if at_once {
        let storm = Connect { peers: names(&["clients"]), per_second: None, at_a_time: None, announce: true };
        scenario.phases = vec![Phase {
            measure: Some("convergence".to_string()),
            connect: Some(storm),
            ..Phase::default()
        }];
    } else {
        scenario.phases = vec![connect(&["clients"]), announce(&["clients"], Some("convergence"))];
    }
    if let Some(share) = restart {
        scenario.phases.extend(restarted("clients", share));
    }
    scenario
}

fn restarted(group: &str, share: f64) -> [Phase; 2] {
    let end = Disconnect { peers: names(&[group]), share, gently: false };
    [
        Phase {
            measure: Some("withdrawal of the lost".to_string()),
            disconnect: Some(end),
            ..Phase::default()
        },
        Phase {
            measure: Some("return of the lost".to_string()),
            reconnect: Some(Peers { peers: names(&[group]) }),
            ..Phase::default()
        },
    ]
}

/// What [`churn`] changes.
#[derive(Clone, Debug)]
pub struct Churning {
    /// How many receivers.
    pub receivers: usize,
    /// The script, if not random changes.
    pub script: Option<PathBuf>,
    /// How much faster than recorded.
    pub speed: f64,
    /// Random changes a second.
    pub per_second: f64,
    /// How many changes at most.
    pub changes: Option<usize>,
}

/// Changes one by one on a loaded table.
pub fn churn(common: &Common, churning: Churning) -> Scenario {
    let mut scenario = common.scenario(
        "churn",
        format!(
            "Routes of a loaded table change one by one; {} receivers must end up with what remains.",
            churning.receivers
        ),
    );
    scenario.groups = vec![common.feeds(1), common.receivers(churning.receivers)];
    let changes = Churn {
        peer: "feeds".to_string(),
        script: churning.script,
        speed: churning.speed,
        per_second: churning.per_second,
        changes: churning.changes,
    };
    scenario.phases = vec![
        connect(&["feeds", "receivers"]),
        named("table", announce(&["feeds"], None)),
        Phase { measure: Some("churn".to_string()), churn: Some(changes), ..Phase::default() },
    ];
    scenario
}

/// A feed dies and comes back; then members restart.
pub fn flap(common: &Common, members: usize, share: f64) -> Scenario {
    let mut scenario = common.scenario(
        "flap",
        "A peer with a table dies without a word and comes back (RFC 7747 §5.3, adjacency failure); then a share of the \
         members, who announce a range each, does the same."
            .to_string(),
    );
    scenario.groups = vec![common.feeds(1), common.receivers(1)];
    let mut peers = vec!["feeds", "receivers"];
    let mut senders = vec!["feeds"];
    if members > 0 {
        scenario.sources.insert("ranges".to_string(), common.pod_ranges());
        let ranges = Some("ranges".to_string());
        let group = common.group("members", members, Side::Clients, common.asn);
        scenario.groups.push(Group { sends: ranges, client: true, ..group });
        peers.push("members");
        senders.push("members");
    }
    let end = Disconnect { peers: names(&["feeds"]), share: 1.0, gently: false };
    scenario.phases = vec![
        connect(&peers),
        announce(&senders, Some("convergence")),
        Phase { measure: Some("withdrawal".to_string()), disconnect: Some(end), ..Phase::default() },
        Phase {
            measure: Some("return".to_string()),
            reconnect: Some(Peers { peers: names(&["feeds"]) }),
            ..Phase::default()
        },
    ];
    if members > 0 {
        scenario.phases.extend(restarted("members", share));
    }
    scenario
}

/// Everybody connects at once.
pub fn storm(common: &Common, clients: usize, per_second: Option<f64>) -> Scenario {
    let mut scenario = common.scenario(
        "storm",
        format!("{clients} clients connect at once; the time ends when the last session is Established."),
    );
    scenario.sources.clear();
    scenario.groups = vec![common.clients(clients)];
    let storm = Connect { peers: names(&["clients"]), per_second, at_a_time: None, announce: false };
    scenario.phases = vec![Phase {
        measure: Some("all Established".to_string()),
        connect: Some(storm),
        ..Phase::default()
    }];
    scenario
}

/// Many sessions with nothing to do.
pub fn idle(common: &Common, sessions: usize, seconds: f64) -> Scenario {
    let mut scenario = common.scenario(
        "idle",
        format!(
            "{sessions} sessions with nothing but keepalives: what a session costs, and whether all stay up."
        ),
    );
    scenario.sources.clear();
    scenario.groups = vec![common.clients(sessions)];
    scenario.phases = vec![
        connect(&["clients"]),
        Phase { measure: Some("rest".to_string()), rest: Some(Rest { seconds }), ..Phase::default() },
    ];
    scenario
}

/// Single routes, while a table loads and on an idle speaker.
pub fn latency(common: &Common, count: usize, interval_ms: f64) -> Scenario {
    let mut scenario = common.scenario(
        "latency",
        "Single routes from one peer, timed until they are read at others: while a table loads, and on an idle speaker \
         that holds it. `receivers` take the table as well, `bystanders` (internal peers to which nothing is reflected) only \
         the single routes."
            .to_string(),
    );
    let probers = Group { receives: false, ..common.group("probers", 1, Side::Sources, PROBER_ASN) };
    let bystanders = common.group("bystanders", 1, Side::Receivers, common.asn);
    scenario.groups = vec![common.internal_feed(false), probers, common.receivers(1), bystanders];
    let probe = ProbeMeanwhile { from: "probers".to_string(), interval_ms };
    scenario.phases = vec![
        connect(&["feeds", "probers", "receivers", "bystanders"]),
        named("table loads", Phase { probe: Some(probe), ..announce(&["feeds"], None) }),
        named(
            "idle",
            Phase { latency: Some(Latency { from: "probers".to_string(), count }), ..Phase::default() },
        ),
    ];
    scenario
}

/// One receiver stops reading while the others are served.
pub fn slow_reader(common: &Common, clients: usize, seconds: f64) -> Scenario {
    let mut scenario = common.scenario(
        "slow-reader",
        format!(
            "All routes change while one of {clients} clients does not read for {seconds} s; the others must not notice, \
             and it must catch up."
        ),
    );
    scenario.groups = vec![common.internal_feed(true), common.clients(clients)];
    let change = |variant: u16, measure: &str| Phase {
        measure: Some(measure.to_string()),
        announce: Some(Announce { peers: names(&["feeds"]), variant }),
        ..Phase::default()
    };
    let rest = || Phase { rest: Some(Rest { seconds: seconds / 3.0 }), ..Phase::default() };
    scenario.phases = vec![
        connect(&["feeds", "clients"]),
        named("table", announce(&["feeds"], None)),
        change(1, "change, all read"),
        Phase { stall: Some(Stall { peer: "clients".to_string(), count: 1 }), ..Phase::default() },
        change(2, "change, one does not read"),
        rest(),
        change(3, "second change, one does not read"),
        rest(),
        change(4, "third change, one does not read"),
        rest(),
        Phase { measure: Some("catching up".to_string()), resume: Some(Resume {}), ..Phase::default() },
    ];
    scenario
}

/// The export policy changes while single routes go on.
pub fn policy(common: &Common, clients: usize, command: Option<String>) -> Scenario {
    let mut scenario = common.scenario(
        "policy",
        format!(
            "The export policy toward {clients} clients changes so that every route changes, while single routes go on \
             (RFC 7747 §5.7, path attribute change): how long until all have it, and the longest gap in service."
        ),
    );
    let probers =
        Group { receives: false, client: true, ..common.group("probers", 1, Side::Sources, common.asn) };
    scenario.groups = vec![common.internal_feed(true), probers, common.clients(clients)];
    scenario.phases = vec![
        connect(&["feeds", "probers", "clients"]),
        named("table", announce(&["feeds"], None)),
        Phase {
            measure: Some("policy change".to_string()),
            reconfigure: Some(Reconfigure { add_community: "64511:15".to_string(), command }),
            probe: Some(ProbeMeanwhile { from: "probers".to_string(), interval_ms: 5.0 }),
            ..Phase::default()
        },
    ];
    scenario
}
