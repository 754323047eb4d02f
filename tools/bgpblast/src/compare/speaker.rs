//! The speakers that bgpblast can start, and one of them at work.
//!
//! All a daemon's peculiarities are behind [`Dialect`], one file each in `daemon/`. A plan that a daemon cannot do is
//! refused in words before anything is started, so that a comparison can leave it out and say why.

use std::fmt;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use nix::unistd::Uid;

use super::bench::{self, Bench};
use super::daemon::{bird, exabgp, frr, gobgp, kulan, openbgpd};
use super::plan::{Plan, Session};
use super::process::{Directory, Meter, Process, Usage, find_program, run};

/// How long a daemon may take to come up before it counts as broken.
const START: Duration = Duration::from_secs(30);

/// How long a daemon's tool may wait for its answer, in seconds: a loaded daemon takes its time, a broken one for ever.
const ANSWER_S: &str = "60";

/// The pause between two looks at what only a daemon's own tool can show.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Which daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// kulan.
    Kulan,
    /// BIRD 2.
    Bird,
    /// FRR: zebra and bgpd.
    Frr,
    /// GoBGP.
    Gobgp,
    /// OpenBGPD.
    Openbgpd,
    /// ExaBGP.
    Exabgp,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 6] =
        [Kind::Kulan, Kind::Bird, Kind::Frr, Kind::Gobgp, Kind::Openbgpd, Kind::Exabgp];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Kulan => "kulan",
            Kind::Bird => "bird",
            Kind::Frr => "frr",
            Kind::Gobgp => "gobgp",
            Kind::Openbgpd => "openbgpd",
            Kind::Exabgp => "exabgp",
        }
    }

    fn dialect(self) -> &'static dyn Dialect {
        match self {
            Kind::Kulan => &kulan::Kulan,
            Kind::Bird => &bird::Bird,
            Kind::Frr => &frr::Frr,
            Kind::Gobgp => &gobgp::Gobgp,
            Kind::Openbgpd => &openbgpd::Openbgpd,
            Kind::Exabgp => &exabgp::Exabgp,
        }
    }

    /// What is missing to start it, and how to get it; nothing when it is installed.
    pub fn absent(self) -> Option<String> {
        self.dialect().absent()
    }

    /// Its version, without its name, if it is installed and says so.
    pub fn version(self) -> Option<String> {
        let said = self.dialect().version()?;
        let number =
            said.split_whitespace().find(|word| word.starts_with(|first: char| first.is_ascii_digit()));
        number.map(str::to_string)
    }

    /// The plan in its language, for its own default paths.
    ///
    /// # Errors
    /// In words, when it cannot do what the plan wants.
    pub fn configuration(self, plan: &Plan) -> Result<String, String> {
        self.dialect().configuration(plan)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Kind, String> {
        Kind::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| {
            let names = Kind::ALL.map(Kind::name).join(", ");
            format!("unknown speaker {text:?}: it is one of {names}")
        })
    }
}

/// Where a daemon runs.
pub(super) struct Place {
    /// Its namespace.
    pub(super) bench: Bench,
    /// Where it has its files and sockets.
    pub(super) directory: Directory,
}

impl Place {
    /// Runs a program in the namespace to its end and returns what it printed.
    pub(super) fn run(&self, program: &str, words: &[&str]) -> Result<String, String> {
        let mut command = self.bench.speaker_command("timeout")?;
        command.arg(ANSWER_S).arg(program).args(words);
        run(command)
    }
}

/// How one daemon is written to, started and asked.
pub(super) trait Dialect: Sync {
    /// [`Kind::absent`].
    fn absent(&self) -> Option<String>;

    /// What it says on being asked for its version: a line.
    fn version(&self) -> Option<String>;

    /// [`Kind::configuration`].
    fn configuration(&self, plan: &Plan) -> Result<String, String>;

    /// Starts the programs on a configuration; the one that speaks BGP is the last.
    fn start(&self, place: &Place, plan: &Plan, configuration: &str) -> Result<Vec<Process>, String>;

    /// Whether its control tool gets an answer.
    fn answers(&self, place: &Place) -> Result<(), String>;

    /// Puts another plan into force, `configuration` being what it is in the daemon's language, with all sessions
    /// staying up.
    fn reload(&self, place: &Place, plan: &Plan, configuration: &str) -> Result<(), String>;
}

/// A daemon at work; it and everything of it goes on drop.
pub struct Running {
    kind: Kind,
    configuration: String,
    processes: Vec<Process>,
    meter: Meter,
    place: Place,
}

impl Running {
    /// Starts it and waits until it takes connections and its control tool gets an answer. `keep` leaves its
    /// configuration and log behind. It is killed when the calling thread ends.
    ///
    /// # Errors
    /// When it is not installed, cannot do what the plan wants, or does not come up, with the end of its log.
    pub fn start(kind: Kind, bench: &Bench, plan: &Plan, keep: bool) -> Result<Running, String> {
        if let Some(absent) = kind.absent() {
            return Err(absent);
        }
        let configuration = kind.configuration(plan)?;
        let place = Place { bench: bench.clone(), directory: Directory::new(kind.name(), keep)? };
        let processes = kind.dialect().start(&place, plan, &configuration)?;
        let pids: Vec<u32> = processes.iter().map(Process::id).collect();
        let mut running = Running { kind, configuration, processes, meter: Meter::new(&pids)?, place };
        running.await_ready(plan)?;
        Ok(running)
    }

    fn await_ready(&mut self, plan: &Plan) -> Result<(), String> {
        let address = plan.neighbors.first().map_or(IpAddr::V4(bench::SPEAKER), |first| first.local_address);
        let deadline = Instant::now() + START;
        loop {
            self.check()?;
            let accepts =
                self.place.bench.accepts(address).map_err(|error| format!("port 179 of {address}: {error}"));
            match accepts.and_then(|()| self.kind.dialect().answers(&self.place)) {
                Ok(()) => return Ok(()),
                Err(seen) if Instant::now() >= deadline => {
                    let (kind, log) = (self.kind, self.log_tail());
                    return Err(format!(
                        "{kind} is not ready {} s after its start: {seen}\n{log}",
                        START.as_secs()
                    ));
                }
                Err(_) => std::thread::sleep(LOOK_AGAIN),
            }
        }
    }

    /// Which daemon it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The configuration that it runs with.
    pub fn configuration(&self) -> &str {
        &self.configuration
    }

    /// The process that speaks BGP.
    pub fn pid(&self) -> u32 {
        self.processes.last().map_or(0, Process::id)
    }

    /// What all of its processes use now.
    pub fn usage(&mut self) -> Usage {
        self.meter.read()
    }

    /// Measures the same from another thread.
    ///
    /// # Errors
    /// When it has ended.
    pub fn meter(&self) -> Result<Meter, String> {
        Meter::new(&self.processes.iter().map(Process::id).collect::<Vec<_>>())
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// How it ended, and the end of its log.
    pub fn check(&mut self) -> Result<(), String> {
        let ended = self.processes.iter_mut().find_map(Process::ended);
        ended.map_or(Ok(()), |status| Err(format!("{} ended ({status}):\n{}", self.kind, self.log_tail())))
    }

    /// Puts another plan into force, the same but for its `tag`, with all sessions staying up.
    ///
    /// # Errors
    /// When the daemon cannot do what the plan wants, or refuses.
    pub fn reload(&mut self, plan: &Plan) -> Result<(), String> {
        let configuration = self.kind.configuration(plan)?;
        self.kind.dialect().reload(&self.place, plan, &configuration)?;
        self.configuration = configuration;
        Ok(())
    }

    /// The last lines that it logged.
    pub fn log_tail(&self) -> String {
        self.processes.iter().map(Process::log_tail).collect::<Vec<_>>().join("\n")
    }

    /// Ends it at once.
    ///
    /// # Errors
    /// When it had ended already, how.
    pub fn stop(mut self) -> Result<(), String> {
        self.check()
    }
}

/// What is missing when one of these programs is; `package` is Debian's and Ubuntu's.
pub(super) fn absent(programs: &[&str], package: &str) -> Option<String> {
    let missing = programs.iter().find(|program| find_program(program).is_none())?;
    Some(format!("`{missing}` is not installed: apt install {package}"))
}

/// Why a daemon that becomes another user cannot start: a user namespace has but one user, who is called root.
pub(super) fn drops_rights(daemon: &str) -> Option<String> {
    let owner = Uid::effective().is_root() && std::fs::metadata("/").is_ok_and(|root| root.uid() == 0);
    (!owner).then(|| {
        format!("{daemon} becomes a user of its own, which only the system's root can do: run with sudo")
    })
}

/// The first line that a program prints on being asked for its version, of either output.
pub(super) fn first_line(program: &str, words: &[&str]) -> Option<String> {
    let output = std::process::Command::new(find_program(program)?).args(words).output().ok()?;
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    String::from_utf8_lossy(&text).lines().next().map(|line| line.trim().to_string())
}

/// What a configuration is for, in a sentence: its first line.
pub(super) fn purpose(plan: &Plan) -> String {
    let count = match plan.neighbors.len() {
        0 => None,
        1 => Some("one neighbor".to_string()),
        count => Some(format!("{count} neighbors")),
    };
    let ranges = plan.ranges.iter().map(|range| format!("any from {}", range.prefix));
    let all: Vec<String> = count.into_iter().chain(ranges).collect();
    let does = if sessions(plan).any(|session| session.client) { "reflects" } else { "passes on" };
    let tag = plan.tag.map(|tag| format!(", adding {}", community(tag))).unwrap_or_default();
    format!("A speaker for bgpblast: takes all routes of {} and {does} all{tag}.", all.join(" and "))
}

/// What holds for any of the plan's sessions.
pub(super) fn sessions(plan: &Plan) -> impl Iterator<Item = &Session> {
    let ranges = plan.ranges.iter().map(|range| &range.session);
    plan.neighbors.iter().map(|neighbor| &neighbor.session).chain(ranges)
}

/// A community as everybody writes it (RFC 1997).
pub(super) fn community(tag: u32) -> String {
    format!("{}:{}", tag >> 16, tag & 0xffff)
}

/// Whether a session leaves the AS over more than a link: neighbors from a range are taken to be behind a gateway.
pub(super) fn multihop(plan: &Plan, session: &Session) -> bool {
    session.asn != plan.asn
}

#[cfg(test)]
mod tests {
    use ::kulan::types::{Family, FamilySet};

    use super::super::plan::{Neighbor, Range};
    use super::*;

    fn session(asn: u32) -> Session {
        let families = FamilySet::only(Family::Ipv4Unicast);
        Session { asn, families, client: asn == 64496, md5: None, hold_time_s: 90, add_path: false }
    }

    fn plan() -> Plan {
        Plan {
            asn: 64496,
            router_id: bench::SPEAKER,
            neighbors: vec![Neighbor {
                address: bench::source(0).into(),
                local_address: bench::SPEAKER.into(),
                session: session(65536),
                dial: None,
            }],
            ranges: vec![Range { prefix: "10.20.0.0/16".parse().unwrap(), session: session(64496) }],
            install: false,
            tag: None,
            gateways: vec![bench::GATEWAY.into()],
        }
    }

    #[test]
    fn names_are_read_back_and_others_told_with_the_choice() {
        assert!(Kind::ALL.iter().all(|kind| kind.name().parse() == Ok(*kind)));
        let told = "quagga".parse::<Kind>().unwrap_err();
        assert!(told.contains("\"quagga\"") && told.contains("openbgpd"), "{told}");
    }

    #[test]
    fn every_configuration_says_what_it_is_for_and_who_the_neighbors_are() {
        for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Exabgp) {
            let text = kind.configuration(&plan()).unwrap();
            let first = text.lines().next().unwrap();
            assert!(first.starts_with(['#', '!']), "{kind}: {first}");
            assert!(
                first.ends_with("one neighbor and any from 10.20.0.0/16 and reflects all."),
                "{kind}: {first}"
            );
            for fact in ["64496", "65536", "10.10.1.1", "10.20.0.0/16", "90"] {
                assert!(text.contains(fact), "{kind} lacks {fact}:\n{text}");
            }
            assert!(!text.contains("/tmp/"), "{kind} shows paths of one run:\n{text}");
            assert!(
                text.lines().all(|line| line.trim_end() == line),
                "{kind} has blanks at the end of lines"
            );
        }
    }

    #[test]
    fn a_tag_is_in_the_text_only_with_a_tag() {
        let tagged = Plan { tag: Some(64496 << 16 | 100), ..plan() };
        for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Exabgp) {
            let (before, after) =
                (kind.configuration(&plan()).unwrap(), kind.configuration(&tagged).unwrap());
            let written = if kind == Kind::Bird { "(64496, 100)" } else { "64496:100" };
            assert!(!before.contains(written) && after.contains(written), "{kind}:\n{after}");
        }
    }

    #[test]
    fn what_a_daemon_cannot_do_is_told_in_words() {
        let mut paths = plan();
        paths.neighbors[0].session.add_path = true;
        let mut key = plan();
        key.ranges[0].session.md5 = Some("key".into());
        let install = Plan { install: true, ..plan() };
        for (kind, plan, words) in [
            (Kind::Kulan, &paths, "ADD-PATH"),
            (Kind::Gobgp, &key, "MD5"),
            (Kind::Openbgpd, &key, "MD5"),
            (Kind::Gobgp, &install, "installs no routes"),
            (Kind::Exabgp, &plan(), "passes nothing on"),
        ] {
            let told = kind.configuration(plan).unwrap_err();
            assert!(told.contains(words), "{kind}: {told}");
        }
    }

    #[test]
    fn kulan_accepts_what_is_written_for_it() {
        let mut plan = Plan { tag: Some(64496 << 16 | 100), install: true, ..plan() };
        plan.neighbors[0].session.md5 = Some("key".into());
        plan.neighbors[0].dial = Some(1790);
        plan.ranges.push(Range { prefix: "fd6b:20::/64".parse().unwrap(), session: session(65537) });
        let text = Kind::Kulan.configuration(&plan).unwrap();
        ::kulan::config::parse(&text, "kulan.toml", "/".as_ref())
            .unwrap_or_else(|error| panic!("{error}\n{text}"));
    }
}
