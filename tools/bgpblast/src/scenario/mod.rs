//! What is done to a speaker: peers, what they send, and phases one after another.
//!
//! A scenario is data ([`Scenario`]): the subcommands make one each ([`builtin`]), `bgpblast run` reads one from a TOML
//! file, and [`run`] carries it out. What must come out of the speaker is worked out from what was put in ([`world`]).
//! Where RFC 7747 or RFC 4098 has a name for what is measured, it is used.

pub mod build;
pub mod builtin;
pub mod churn;
pub mod place;
pub mod probe;
pub mod record;
pub mod run;
pub mod table;
pub mod verdict;
pub mod world;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use kulan::types::FamilySet;
use serde::{Deserialize, Serialize};

use crate::source::{IpFamily, Source};

/// A scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// What it does, in a sentence.
    #[serde(default)]
    pub description: String,
    /// When it is given up, in seconds.
    #[serde(default = "default_time_limit_s")]
    pub time_limit_s: u64,
    /// The speaker under test.
    pub speaker: Speaker,
    /// Where routes come from, by name.
    #[serde(default, rename = "source")]
    pub sources: BTreeMap<String, Source>,
    /// The peers, in groups.
    #[serde(rename = "peers")]
    pub groups: Vec<Group>,
    /// What happens, in order.
    #[serde(rename = "phase")]
    pub phases: Vec<Phase>,
}

fn default_time_limit_s() -> u64 {
    300
}

/// What must be known of the speaker under test to say what should come out of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Speaker {
    /// Its AS number.
    pub asn: u32,
    /// Its cluster identifier, if it reflects; its BGP identifier unless configured otherwise.
    #[serde(default = "default_cluster_id")]
    pub cluster_id: Ipv4Addr,
    /// Whether it installs routes into its kernel's table.
    #[serde(default)]
    pub install: bool,
}

fn default_cluster_id() -> Ipv4Addr {
    Ipv4Addr::new(10, 10, 0, 1)
}

/// Which of the ranges of addresses a group takes its own from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// The first cable: who sends tables.
    Sources,
    /// The second cable: who receives them.
    Receivers,
    /// Behind a gateway: thousands.
    Clients,
}

/// The next hop of what a peer sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SentNextHop {
    /// Its own address.
    #[default]
    Own,
    /// What the source says.
    Keep,
    /// This address.
    Address(IpAddr),
}

/// Peers that are alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Its name, for phases.
    pub name: String,
    /// How many peers.
    #[serde(default = "one")]
    pub count: usize,
    /// Where their addresses come from.
    #[serde(default = "default_side")]
    pub side: Side,
    /// The first peer's address, where the side's own range is not wanted; the others follow.
    #[serde(default)]
    pub address: Option<IpAddr>,
    /// Whether the sessions run over IPv6.
    #[serde(default)]
    pub over_ipv6: bool,
    /// The first peer's AS number; the speaker's own makes them internal.
    pub asn: u32,
    /// How much each peer's AS number is above the one before.
    #[serde(default)]
    pub asn_step: u32,
    /// Whether the speaker reflects to them (RFC 4456).
    #[serde(default)]
    pub client: bool,
    /// The source of what they send.
    #[serde(default)]
    pub sends: Option<String>,
    /// The next hop of what they send.
    #[serde(default)]
    pub next_hop: SentNextHop,
    /// Of peers that send the same, another one has the shortest AS path for every attribute set, so that the best path
    /// does not depend on who came first.
    #[serde(default)]
    pub spread_best: bool,
    /// Whether they check what they are told.
    #[serde(default = "yes")]
    pub receives: bool,
    /// What they offer to exchange.
    #[serde(default = "default_families")]
    pub families: Vec<IpFamily>,
    /// The hold time that they propose, in seconds.
    #[serde(default = "default_hold_time_s")]
    pub hold_time_s: u16,
    /// Whether they offer ADD-PATH in both directions (RFC 7911).
    #[serde(default)]
    pub add_path: bool,
    /// Whether they offer messages of up to 65,535 octets (RFC 8654).
    #[serde(default)]
    pub extended_messages: bool,
    /// Their TCP MD5 key (RFC 2385).
    #[serde(default)]
    pub md5: Option<String>,
    /// The port on which they wait for the speaker to dial; absent: they dial.
    #[serde(default)]
    pub listen_port: Option<u16>,
}

fn one() -> usize {
    1
}

fn yes() -> bool {
    true
}

fn default_side() -> Side {
    Side::Clients
}

fn default_families() -> Vec<IpFamily> {
    vec![IpFamily::Ipv4]
}

fn default_hold_time_s() -> u16 {
    90
}

impl Group {
    /// The AS number of one of them, by its place in the group.
    pub fn asn_of(&self, at: usize) -> u32 {
        self.asn.wrapping_add(self.asn_step.wrapping_mul(at as u32))
    }

    /// What they offer to exchange.
    pub fn family_set(&self) -> FamilySet {
        let mut families = FamilySet::EMPTY;
        self.families.iter().for_each(|family| families.insert((*family).into()));
        families
    }

    /// A group of this many peers with everything else as it is if nothing is said.
    pub fn new(name: &str, count: usize, side: Side, asn: u32) -> Group {
        Group {
            name: name.to_string(),
            count,
            side,
            address: None,
            over_ipv6: false,
            asn,
            asn_step: 0,
            client: false,
            sends: None,
            next_hop: SentNextHop::Own,
            spread_best: false,
            receives: true,
            families: default_families(),
            hold_time_s: default_hold_time_s(),
            add_path: false,
            extended_messages: false,
            md5: None,
            listen_port: None,
        }
    }
}

/// One step of a scenario: exactly one of the actions, and what is measured of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// Its name; the action's if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The headline figure that its duration is, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measure: Option<String>,
    /// Single routes are sent meanwhile, and timed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<ProbeMeanwhile>,
    /// Sessions are opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect: Option<Connect>,
    /// Tables are announced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announce: Option<Announce>,
    /// Tables are withdrawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdraw: Option<Peers>,
    /// Sessions are ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disconnect: Option<Disconnect>,
    /// What was disconnected comes back and announces again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reconnect: Option<Peers>,
    /// Routes change one by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub churn: Option<Churn>,
    /// Single routes are sent one after the other, and timed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// Some receivers stop reading.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stall: Option<Stall>,
    /// All receivers read again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<Resume>,
    /// Nothing is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rest: Option<Rest>,
    /// The speaker's policy changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reconfigure: Option<Reconfigure>,
}

/// Groups by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peers {
    /// The groups' names.
    pub peers: Vec<String>,
}

/// Opens sessions, and waits until all are Established and every receiver holds what the speaker has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Connect {
    /// The groups' names.
    pub peers: Vec<String>,
    /// How many connections are begun a second; absent: all at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_second: Option<f64>,
    /// How many connections may be under way at a time; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_a_time: Option<usize>,
    /// Whether each announces its table as soon as its session is Established.
    #[serde(default)]
    pub announce: bool,
}

/// Announces the groups' tables, and waits until every receiver holds what should come out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Announce {
    /// The groups' names.
    pub peers: Vec<String>,
    /// Which variant of the attributes: each number adds another community (64500:N), so that every route changes; 0 adds
    /// none.
    #[serde(default)]
    pub variant: u16,
}

/// Ends sessions, and waits until every other receiver holds what remains.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disconnect {
    /// The groups' names.
    pub peers: Vec<String>,
    /// Which share of each group, the last of its peers.
    #[serde(default = "whole")]
    pub share: f64,
    /// Whether the speaker is told (NOTIFICATION, Administrative Shutdown).
    #[serde(default)]
    pub gently: bool,
}

fn whole() -> f64 {
    1.0
}

/// Changes routes one by one, and waits until every receiver holds what remains.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Churn {
    /// The group whose first peer's routes change.
    pub peer: String,
    /// The script: `A`/`W` lines, or an MRT file of updates; absent: random changes of the peer's own routes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<PathBuf>,
    /// How much faster than recorded. A script without times covers 24 hours.
    #[serde(default = "unhurried")]
    pub speed: f64,
    /// Changes a second of random changes.
    #[serde(default = "default_per_second")]
    pub per_second: f64,
    /// At most so many changes; absent: the whole script, or ten seconds of random changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<usize>,
}

fn unhurried() -> f64 {
    1.0
}

fn default_per_second() -> f64 {
    1000.0
}

/// Sends single routes on a speaker that has nothing else to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latency {
    /// The group whose first peer sends them.
    pub from: String,
    /// How many.
    #[serde(default = "default_probes")]
    pub count: usize,
}

fn default_probes() -> usize {
    2000
}

/// Sends single routes while the phase does something else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeMeanwhile {
    /// The group whose first peer sends them.
    pub from: String,
    /// Milliseconds between two of them.
    #[serde(default = "default_interval_ms")]
    pub interval_ms: f64,
}

fn default_interval_ms() -> f64 {
    1.0
}

/// Stops reading at some receivers; from now on nobody waits for them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stall {
    /// The group.
    pub peer: String,
    /// How many of it, the first ones.
    #[serde(default = "one")]
    pub count: usize,
}

/// Reads again everywhere, and waits until every receiver holds what should come out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resume {}

/// Waits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rest {
    /// How long.
    pub seconds: f64,
}

/// Has the speaker add a community to every route that it tells anybody, and waits until every receiver holds that.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reconfigure {
    /// The community, `ASN:VALUE`.
    pub add_community: String,
    /// The shell command that has the speaker do it. A comparison knows how to itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

impl Scenario {
    /// Reads a scenario, and checks it.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn parse(text: &str) -> Result<Scenario, String> {
        let scenario: Scenario = toml::from_str(text).map_err(|error| error.to_string())?;
        scenario.check()?;
        Ok(scenario)
    }

    /// The scenario as a TOML file.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).unwrap_or_else(|error| format!("# {error}\n"))
    }

    /// Whether everything that is named exists.
    ///
    /// # Errors
    /// What is wrong, and what would be right.
    pub fn check(&self) -> Result<(), String> {
        let names: Vec<&str> = self.groups.iter().map(|group| group.name.as_str()).collect();
        let group = |name: &String, phase: &str| {
            if names.contains(&name.as_str()) {
                return Ok(());
            }
            Err(format!("phase {phase:?} names the peers {name:?}; there are {}", names.join(", ")))
        };
        for (place, one) in self.groups.iter().enumerate() {
            if names[..place].contains(&one.name.as_str()) {
                return Err(format!("two groups of peers are called {:?}", one.name));
            }
            if one.count == 0 {
                return Err(format!("the peers {:?} are none: count must be at least 1", one.name));
            }
            if let Some(source) = one.sends.as_ref().filter(|name| !self.sources.contains_key(*name)) {
                let known: Vec<&str> = self.sources.keys().map(String::as_str).collect();
                return Err(format!(
                    "the peers {:?} send {source:?}; the sources are: {}",
                    one.name,
                    known.join(", ")
                ));
            }
            if matches!(one.hold_time_s, 1 | 2) {
                return Err(format!(
                    "the peers {:?} propose a hold time of {} s; it is 0 or at least 3 (RFC 4271 §4.2)",
                    one.name, one.hold_time_s
                ));
            }
        }
        if self.phases.is_empty() {
            return Err("there is no [[phase]]: nothing would be done".to_string());
        }
        for (place, phase) in self.phases.iter().enumerate() {
            let label = phase.name.clone().unwrap_or_else(|| format!("number {}", place + 1));
            let actions = phase.actions();
            if actions.len() != 1 {
                return Err(format!(
                    "phase {label:?} has {} actions; each has exactly one of connect, announce, withdraw, \
                     disconnect, reconnect, churn, latency, stall, resume, rest, reconfigure",
                    actions.len()
                ));
            }
            phase.peers().into_iter().try_for_each(|name| group(name, &label))?;
            if let Some(change) = &phase.reconfigure {
                change.community().map_err(|error| format!("phase {label:?}: {error}"))?;
            }
            let fraction = phase.disconnect.as_ref().map_or(1.0, |end| end.share);
            if !(fraction > 0.0 && fraction <= 1.0) {
                return Err(format!(
                    "phase {label:?}: a share lies above 0 and is at most 1, not {fraction}"
                ));
            }
        }
        Ok(())
    }

    /// The group with this name.
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.name == name)
    }
}

impl Phase {
    fn actions(&self) -> Vec<&'static str> {
        let all = [
            ("connect", self.connect.is_some()),
            ("announce", self.announce.is_some()),
            ("withdraw", self.withdraw.is_some()),
            ("disconnect", self.disconnect.is_some()),
            ("reconnect", self.reconnect.is_some()),
            ("churn", self.churn.is_some()),
            ("latency", self.latency.is_some()),
            ("stall", self.stall.is_some()),
            ("resume", self.resume.is_some()),
            ("rest", self.rest.is_some()),
            ("reconfigure", self.reconfigure.is_some()),
        ];
        all.into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect()
    }

    /// What it is called.
    pub fn label(&self) -> String {
        let action = || self.actions().first().copied().unwrap_or("nothing").to_string();
        self.name.clone().or_else(|| self.measure.clone()).unwrap_or_else(action)
    }

    fn peers(&self) -> Vec<&String> {
        let lists = [
            self.connect.as_ref().map(|it| &it.peers),
            self.announce.as_ref().map(|it| &it.peers),
            self.withdraw.as_ref().map(|it| &it.peers),
            self.disconnect.as_ref().map(|it| &it.peers),
            self.reconnect.as_ref().map(|it| &it.peers),
        ];
        let singles = [
            self.churn.as_ref().map(|it| &it.peer),
            self.latency.as_ref().map(|it| &it.from),
            self.stall.as_ref().map(|it| &it.peer),
            self.probe.as_ref().map(|it| &it.from),
        ];
        lists.into_iter().flatten().flatten().chain(singles.into_iter().flatten()).collect()
    }
}

impl Reconfigure {
    /// The community as a number (RFC 1997).
    ///
    /// # Errors
    /// When it is none.
    pub fn community(&self) -> Result<u32, String> {
        let wrong = || format!("{:?} is no community: write ASN:VALUE, both below 65536", self.add_community);
        let (asn, value) = self.add_community.split_once(':').ok_or_else(wrong)?;
        let asn: u16 = asn.parse().map_err(|_| wrong())?;
        let value: u16 = value.parse().map_err(|_| wrong())?;
        Ok(u32::from(asn) << 16 | u32::from(value))
    }
}

#[cfg(test)]
mod tests {
    use super::builtin::{Churning, Common};
    use super::*;

    fn common() -> Common {
        let source =
            Source::Internet { family: IpFamily::Ipv4, routes: 1000, sets: Some(7), seed: 3, prefix_seed: 1 };
        Common { source, ..Common::default() }
    }

    /// As different from [`common`] as it can be.
    fn uncommon() -> Common {
        Common {
            asn: 4_200_000_001,
            cluster_id: Ipv4Addr::new(1, 2, 3, 4),
            source: Source::Mrt {
                file: "a \"table\".bz2".into(),
                peer: Some("AS65001".to_string()),
                family: Some(IpFamily::Ipv6),
                routes: None,
            },
            ipv6: true,
            keep_next_hops: true,
            md5: Some("kürzer\\als \"du\"".to_string()),
            hold_time_s: 0,
            add_path: true,
            extended_messages: true,
            listen_port: Some(1790),
            time_limit_s: 7,
        }
    }

    fn every_builtin(common: &Common) -> Vec<Scenario> {
        let random =
            || Churning { receivers: 3, script: None, speed: 1.0, per_second: 333.3, changes: Some(5) };
        let replayed = Churning { script: Some("updates".into()), speed: 0.1, changes: None, ..random() };
        vec![
            builtin::table(common, false),
            builtin::table(common, true),
            builtin::feeds(common, 3),
            builtin::fanout(common, 5),
            builtin::pods(common, 5, false, None),
            builtin::pods(common, 5, true, Some(0.1)),
            builtin::churn(common, random()),
            builtin::churn(common, replayed),
            builtin::flap(common, 0, 0.5),
            builtin::flap(common, 4, 0.5),
            builtin::storm(common, 9, None),
            builtin::storm(common, 9, Some(12.5)),
            builtin::idle(common, 4, 1.5),
            builtin::latency(common, 10, 0.3),
            builtin::slow_reader(common, 4, 1.0),
            builtin::policy(common, 4, None),
            builtin::policy(common, 4, Some("birdc configure \"x\"".to_string())),
        ]
    }

    #[test]
    fn every_builtin_scenario_is_the_same_after_a_file() {
        for scenario in [common(), uncommon()].iter().flat_map(every_builtin) {
            let text = scenario.to_toml();
            let read = Scenario::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
            assert_eq!(read, scenario, "{text}");
        }
    }

    #[test]
    fn every_builtin_scenario_says_what_it_does() {
        for scenario in every_builtin(&common()) {
            assert!(!scenario.description.is_empty(), "{}", scenario.name);
            let labels: Vec<String> = scenario.phases.iter().map(Phase::label).collect();
            assert!(labels.iter().all(|label| !label.is_empty() && label != "nothing"), "{labels:?}");
        }
    }

    #[test]
    fn next_hops_and_sides_have_names_in_a_file() {
        let mut scenario = builtin::table(&common(), false);
        scenario.groups[0].next_hop = SentNextHop::Address(Ipv4Addr::new(192, 0, 2, 9).into());
        scenario.groups[1].address = Some(IpAddr::from([127, 9, 9, 9]));
        let text = scenario.to_toml();
        assert!(text.contains("side = \"sources\"") && text.contains("192.0.2.9"), "{text}");
        assert_eq!(Scenario::parse(&text).unwrap(), scenario);
    }

    const SMALLEST: &str = "name = \"least\"\n[speaker]\nasn = 64496\n[[peers]]\nname = \"all\"\nasn = 64496\n\
                            [[phase]]\nconnect = { peers = [\"all\"] }\n";

    #[test]
    fn what_a_file_does_not_say_is_what_nobody_would_say() {
        let scenario = Scenario::parse(SMALLEST).unwrap();
        assert_eq!(scenario.time_limit_s, 300);
        assert_eq!(scenario.speaker.cluster_id, Ipv4Addr::new(10, 10, 0, 1));
        assert_eq!(scenario.groups[0], Group::new("all", 1, Side::Clients, 64496));
        assert!(scenario.sources.is_empty() && !scenario.speaker.install);
        assert_eq!(scenario.phases[0].label(), "connect");
    }

    /// That a scenario is refused with all of these words.
    fn refused(change: impl FnOnce(&mut Scenario), words: &[&str]) {
        let mut scenario = builtin::flap(&common(), 2, 0.5);
        scenario.check().unwrap();
        change(&mut scenario);
        let error = scenario.check().unwrap_err();
        words.iter().for_each(|word| assert!(error.contains(word), "{word:?} is not in {error:?}"));
        // A file with the same fault is refused for the same reason.
        assert_eq!(Scenario::parse(&scenario.to_toml()).unwrap_err(), error);
    }

    #[test]
    fn peers_that_cannot_be_are_refused_by_name() {
        refused(|it| it.groups[1].name = "feeds".to_string(), &["two groups of peers are called \"feeds\""]);
        refused(|it| it.groups[2].count = 0, &["\"members\"", "at least 1"]);
        refused(
            |it| it.groups[0].sends = Some("tables".to_string()),
            &["\"feeds\" send \"tables\"", "the sources are: ranges, table"],
        );
        for hold_time_s in [1, 2] {
            refused(
                |it| it.groups[1].hold_time_s = hold_time_s,
                &["\"receivers\"", &format!("{hold_time_s} s"), "RFC 4271"],
            );
        }
    }

    #[test]
    fn a_scenario_that_does_nothing_is_refused() {
        refused(
            |it| {
                it.phases.clear();
            },
            &["[[phase]]"],
        );
    }

    #[test]
    fn a_phase_has_exactly_one_action() {
        refused(|it| it.phases[1].announce = None, &["\"number 2\" has 0 actions", "reconnect"]);
        refused(
            |it| {
                it.phases[1].name = Some("both".to_string());
                it.phases[1].resume = Some(Resume {});
            },
            &["\"both\" has 2 actions", "exactly one of connect"],
        );
    }

    #[test]
    fn whoever_a_phase_names_must_be_there() {
        let nobody = || Peers { peers: vec!["feeds".to_string(), "nobody".to_string()] };
        let words = ["\"number 1\" names the peers \"nobody\"", "there are feeds, receivers, members"];
        let phases = [
            Phase { withdraw: Some(nobody()), ..Phase::default() },
            Phase { reconnect: Some(nobody()), ..Phase::default() },
            Phase { announce: Some(Announce { peers: nobody().peers, variant: 0 }), ..Phase::default() },
            Phase {
                disconnect: Some(Disconnect { peers: nobody().peers, share: 1.0, gently: false }),
                ..Phase::default()
            },
            Phase {
                connect: Some(Connect {
                    peers: nobody().peers,
                    per_second: None,
                    at_a_time: None,
                    announce: false,
                }),
                ..Phase::default()
            },
            Phase { latency: Some(Latency { from: "nobody".to_string(), count: 1 }), ..Phase::default() },
            Phase { stall: Some(Stall { peer: "nobody".to_string(), count: 1 }), ..Phase::default() },
            Phase {
                rest: Some(Rest { seconds: 1.0 }),
                probe: Some(ProbeMeanwhile { from: "nobody".to_string(), interval_ms: 1.0 }),
                ..Phase::default()
            },
        ];
        for phase in phases {
            refused(|it| it.phases[0] = phase, &words);
        }
    }

    #[test]
    fn a_share_is_a_share() {
        for share in [0.0, -0.5, 1.5, f64::NAN] {
            let mut scenario = builtin::flap(&common(), 2, 0.5);
            scenario.phases[2].disconnect.as_mut().unwrap().share = share;
            let error = scenario.check().unwrap_err();
            assert!(error.contains("a share lies above 0") && error.contains("\"number 3\""), "{error}");
        }
    }

    #[test]
    fn a_community_is_two_numbers() {
        let change = |text: &str| Reconfigure { add_community: text.to_string(), command: None };
        assert_eq!(change("64511:15").community(), Ok(64511 << 16 | 15));
        assert_eq!(change("0:65535").community(), Ok(65535));
        for wrong in ["64511", "64511:", ":1", "65536:1", "1:65536", "a:b", "1:2:3", "-1:2", ""] {
            let error = change(wrong).community().unwrap_err();
            assert!(error.contains(&format!("{wrong:?}")) && error.contains("ASN:VALUE"), "{error}");
        }
        refused(
            |it| {
                it.phases[1] = Phase { reconfigure: Some(change("mine")), ..Phase::default() };
            },
            &["\"number 2\"", "\"mine\" is no community"],
        );
    }

    #[test]
    fn a_file_is_told_where_its_unknown_word_is() {
        let error = Scenario::parse(&SMALLEST.replace("[[phase]]", "[[phase]]\nresst = 1")).unwrap_err();
        assert!(error.contains("resst") && error.contains("line 8"), "{error}");
        assert!(error.contains("reconfigure"), "it lists what there is: {error}");
        let error = Scenario::parse(&SMALLEST.replace("asn = 64496\n[[peers]]", "[[peers]]")).unwrap_err();
        assert!(error.contains("asn"), "{error}");
        let error = Scenario::parse("name = ").unwrap_err();
        assert!(error.contains("line 1"), "{error}");
    }

    #[test]
    fn a_group_is_found_by_its_name() {
        let scenario = builtin::table(&common(), false);
        assert_eq!(scenario.group("receivers").map(|group| group.count), Some(1));
        assert_eq!(scenario.group("nobody"), None);
    }
}
