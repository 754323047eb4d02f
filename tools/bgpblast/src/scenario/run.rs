//! Carries a scenario out.
//!
//! A phase begins when the first octet of it is given to a socket and ends when every receiver holds exactly what it
//! should, prefix by prefix and attribute by attribute: there is no other way for a phase to succeed. Everything that can be
//! made before is made before: messages are encoded and expectations worked out while no clock runs.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kulan::types::Family;

use super::build::{Built, build};
use super::churn::Changes;
use super::place::Place;
use super::probe::{PROBES_MAX, Probes};
use super::record::{Meter, Recorder, Used};
use super::table::{Sender, Table, variant_of};
use super::{
    Announce, Churn, Connect, Disconnect, Latency, Phase, Reconfigure, Rest, Scenario, SentNextHop, Stall,
};
use crate::engine::{Engine, Payload, PeerNumber, State};
use crate::outcome::{self, Figure};
use crate::progress::Progress;
use crate::source::load_script;
use crate::truth::Held;

/// How long a client that was refused waits before it tries again.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// When nobody was let in for so long, nobody will be.
const REFUSED_MAX: Duration = Duration::from_secs(20);
/// How long the speaker is watched after the last phase: what it says now, nobody asked for.
const AFTERMATH: Duration = Duration::from_millis(300);
/// How often the terminal is told.
const TELL: Duration = Duration::from_millis(100);
/// How long a poll waits where nothing else is due.
const POLL: Duration = Duration::from_millis(20);

/// Has the speaker add a community to everything that it tells; runs on a thread of its own.
pub type Reconfigurer<'r> = Box<dyn FnMut(u32) -> Result<(), String> + Send + 'r>;

/// What a run needs beside the scenario.
pub struct Setup<'s> {
    /// What is done.
    pub scenario: &'s Scenario,
    /// Where peers and speaker are.
    pub place: Place,
    /// What the speaker uses, where its process is known.
    pub meter: Option<Meter<'s>>,
    /// How the speaker is told of another policy, where bgpblast knows.
    pub reconfigurer: Option<Reconfigurer<'s>>,
    /// What a person sees.
    pub progress: &'s Progress,
    /// Becomes true when a person does not want to wait any longer.
    pub interrupted: &'s AtomicBool,
}

/// A scenario on its way.
pub struct Run<'s> {
    setup: Setup<'s>,
    /// Peers and tables.
    pub built: Built,
    recorder: Recorder,
    deadline: Instant,
    /// Peers that are not waited for, since they do not read.
    stalled: HashSet<PeerNumber>,
    /// Peers that a phase has taken down.
    down: HashSet<PeerNumber>,
    next_try: Instant,
    /// The first receiver of which it is not known that it is right.
    cursor: usize,
    receivers: Vec<PeerNumber>,
    /// The number of the first probe's prefix, once there are probes.
    first_probe: Option<u32>,
    probes_used: usize,
    prepared: HashMap<PeerNumber, Payload>,
    phases: Vec<outcome::Phase>,
    figures: Vec<Figure>,
    latencies: Vec<outcome::Latency>,
    begin_used: Used,
    next_tell: Instant,
}

/// Why a scenario ended early.
type Failure = String;

fn figure(name: impl Into<String>, unit: &str, value: f64) -> Figure {
    Figure { name: name.into(), unit: unit.to_string(), value, less_is_better: true }
}

fn count(name: &str, unit: &str, value: f64) -> Figure {
    Figure { name: name.to_string(), unit: unit.to_string(), value, less_is_better: false }
}

impl<'s> Run<'s> {
    /// Makes everything ready.
    ///
    /// # Errors
    /// What is wrong with the scenario, its files or this machine, and what would help.
    pub fn new(setup: Setup<'s>) -> Result<Run<'s>, String> {
        setup.progress.phase("preparing");
        let built = build(setup.scenario, &setup.place)?;
        let members = built.world.members.iter();
        let receivers: Vec<PeerNumber> = members.filter(|it| it.receives).map(|it| it.number).collect();
        let recorder = Recorder::new(receivers.clone(), built.engine.len());
        let now = Instant::now();
        Ok(Run {
            deadline: now + Duration::from_secs(setup.scenario.time_limit_s),
            setup,
            built,
            recorder,
            stalled: HashSet::new(),
            down: HashSet::new(),
            next_try: now,
            cursor: 0,
            receivers,
            first_probe: None,
            probes_used: 0,
            prepared: HashMap::new(),
            phases: Vec::new(),
            figures: Vec::new(),
            latencies: Vec::new(),
            begin_used: Used::default(),
            next_tell: now,
        })
    }

    /// Carries out the phases from the first on, `limit` of them at most.
    ///
    /// # Errors
    /// Why it ended early.
    pub fn phases(&mut self, limit: usize) -> Result<(), Failure> {
        self.begin_used = self.used();
        self.recorder = Recorder::new(self.receivers.clone(), self.built.engine.len());
        self.deadline = Instant::now() + Duration::from_secs(self.setup.scenario.time_limit_s);
        for phase in self.setup.scenario.phases.iter().take(limit) {
            let name = phase.label();
            self.setup.progress.phase(&name);
            self.phase(phase).map_err(|failure| format!("phase {name:?}: {failure}"))?;
        }
        Ok(())
    }

    fn phase(&mut self, phase: &Phase) -> Result<(), Failure> {
        let withdraws = phase.withdraw.is_some()
            || phase.disconnect.is_some()
            || phase.reconnect.is_some()
            || phase.churn.is_some();
        // A recorded stream may take back what it announced.
        let recorded = self.built.world.members.iter().any(|member| member.table.is_recorded());
        for member in &self.built.world.members {
            // Whoever is the source of the best path itself is told nothing any more.
            let own = !member.table.routes.is_empty() || recorded;
            self.built.engine.expect_withdrawals(member.number, withdraws || own);
        }
        let mut probes = match &phase.probe {
            None => None,
            Some(probe) => {
                let sender = self.first_of(&probe.from)?;
                Some((
                    self.probes(sender, PROBES_MAX - self.probes_used),
                    Duration::from_secs_f64(probe.interval_ms / 1e3),
                ))
            }
        };
        if let Some((probes, _)) = &probes {
            self.allow_probes(probes, probes.len());
        }
        let done = self.act(phase, &mut probes)?;
        if let Some((probes, _)) = probes {
            self.end_probes(&phase.label(), probes)?;
        }
        self.note(phase, done);
        Ok(())
    }

    fn act(&mut self, phase: &Phase, probes: &mut Option<(Probes, Duration)>) -> Result<Done, Failure> {
        if let Some(connect) = &phase.connect {
            self.connect(connect, probes)
        } else if let Some(announce) = &phase.announce {
            self.announce(announce, probes)
        } else if let Some(peers) = &phase.withdraw {
            self.withdraw(&peers.peers, probes)
        } else if let Some(disconnect) = &phase.disconnect {
            self.disconnect(disconnect, probes)
        } else if let Some(peers) = &phase.reconnect {
            self.reconnect(&peers.peers, probes)
        } else if let Some(churn) = &phase.churn {
            self.churn(churn, probes)
        } else if let Some(latency) = &phase.latency {
            self.latency(latency, &phase.label())
        } else if let Some(stall) = &phase.stall {
            self.stall(stall)
        } else if phase.resume.is_some() {
            self.resume(probes)
        } else if let Some(rest) = &phase.rest {
            self.rest(rest, probes)
        } else if let Some(change) = &phase.reconfigure {
            self.reconfigure(change, probes)
        } else {
            Err("it has no action".to_string())
        }
    }

    // The actions.

    fn connect(
        &mut self,
        connect: &Connect,
        probes: &mut Option<(Probes, Duration)>,
    ) -> Result<Done, Failure> {
        let peers = self.peers_of(&connect.peers)?;
        if connect.announce {
            for &number in &peers {
                self.built.world.members[number.0].announced = true;
                self.prepare(number);
            }
        }
        self.expect();
        let held_before = self.built.world.members.iter().any(|it| it.announced) && !connect.announce;
        let before = self.refusals();
        let mut done = self.begin();
        self.open(&peers, connect.per_second, connect.at_a_time, connect.announce, probes)?;
        let established = Instant::now();
        done.end = self.until_right(probes)?;
        if held_before {
            peers.iter().for_each(|number| self.built.engine.check_end_of_rib(*number));
        } else if !connect.announce {
            done.end = established;
        }
        done.figures.push(count("sessions", "", peers.len() as f64));
        done.figures.push(figure("all Established", "s", (established - done.begin).as_secs_f64()));
        done.figures.push(figure("refused at first", "", (self.refusals() - before) as f64));
        Ok(done)
    }

    fn announce(
        &mut self,
        announce: &Announce,
        probes: &mut Option<(Probes, Duration)>,
    ) -> Result<Done, Failure> {
        let peers = self.peers_of(&announce.peers)?;
        if announce.variant > 0 {
            // Peers with the same table share its variant as well.
            let mut made: HashMap<*const Table, Rc<Table>> = HashMap::new();
            for &number in &peers {
                let old = self.built.world.members[number.0].table.clone();
                let table = made
                    .entry(Rc::as_ptr(&old))
                    .or_insert_with(|| Rc::new(old.variant(&mut self.built.engine, announce.variant)));
                self.built.world.members[number.0].table = table.clone();
            }
        }
        for &number in &peers {
            self.prepare(number);
            self.built.world.members[number.0].announced = true;
        }
        self.expect();
        let done = self.begin();
        let mut routes = 0;
        for &number in &peers {
            routes += self.built.world.members[number.0].table.routes.len();
            self.send_prepared(number);
        }
        self.ended_with(done, routes, probes)
    }

    fn withdraw(
        &mut self,
        names: &[String],
        probes: &mut Option<(Probes, Duration)>,
    ) -> Result<Done, Failure> {
        let peers = self.peers_of(names)?;
        let mut payloads = Vec::new();
        for &number in &peers {
            let member = &mut self.built.world.members[number.0];
            member.announced = false;
            member.changes.clear();
            let table = member.table.clone();
            let encoding = self.built.engine.encoding(number);
            payloads.push((number, table.withdrawal(&self.built.engine, &encoding)));
        }
        self.expect();
        let done = self.begin();
        let routes = peers.iter().map(|number| self.built.world.members[number.0].table.routes.len()).sum();
        for (number, payload) in payloads {
            self.built.engine.send(number, payload);
        }
        self.ended_with(done, routes, probes)
    }

    fn disconnect(
        &mut self,
        end: &Disconnect,
        probes: &mut Option<(Probes, Duration)>,
    ) -> Result<Done, Failure> {
        let mut going = Vec::new();
        for name in &end.peers {
            let all = self.peers_of(std::slice::from_ref(name))?;
            let leaving = ((all.len() as f64 * end.share).ceil() as usize).clamp(1, all.len());
            going.extend_from_slice(&all[all.len() - leaving..]);
        }
        let mut routes = 0;
        for &number in &going {
            let member = &mut self.built.world.members[number.0];
            routes += if member.announced { member.table.routes.len() } else { 0 };
            member.announced = false;
            member.changes.clear();
        }
        self.expect();
        self.down.extend(&going);
        let done = self.begin();
        for &number in &going {
            self.built.engine.close(number, end.gently);
        }
        let mut done = self.ended_with(done, routes, probes)?;
        done.figures.push(count("sessions ended", "", going.len() as f64));
        Ok(done)
    }

    fn reconnect(
        &mut self,
        names: &[String],
        probes: &mut Option<(Probes, Duration)>,
    ) -> Result<Done, Failure> {
        let peers: Vec<PeerNumber> =
            self.peers_of(names)?.into_iter().filter(|number| self.down.contains(number)).collect();
        for &number in &peers {
            self.prepare(number);
            self.built.world.members[number.0].announced =
                !self.built.world.members[number.0].table.routes.is_empty();
        }
        for number in &peers {
            self.down.remove(number);
        }
        self.expect();
        let mut done = self.begin();
        self.open(&peers, None, None, true, probes)?;
        let established = Instant::now();
        done.end = self.until_right(probes)?;
        done.figures.push(count("sessions", "", peers.len() as f64));
        done.figures.push(figure("all Established", "s", (established - done.begin).as_secs_f64()));
        Ok(done)
    }

    fn churn(&mut self, churn: &Churn, probes: &mut Option<(Probes, Duration)>) -> Result<Done, Failure> {
        let number = self.first_of(&churn.peer)?;
        let member = &self.built.world.members[number.0];
        let table = member.table.clone();
        if table.routes.is_empty() {
            return Err(format!(
                "the peer of {:?} sends nothing that could change: give it a source",
                churn.peer
            ));
        }
        let encoding = self.built.engine.encoding(number);
        let sender = self.built.senders[number.0];
        let mut changes = match &churn.script {
            Some(file) => {
                let script = load_script(file)?;
                if let Some(partial) = &script.partial {
                    self.built.partial = Some(format!("{}: {partial}", file.display()));
                }
                let limit = churn.changes.unwrap_or(usize::MAX);
                let dress = |engine: &mut Engine, set: &crate::source::AttributeSet, family: Family| {
                    dressed(engine, set, family, &sender, table.routes[0].set)
                };
                Changes::of_script(
                    &mut self.built.engine,
                    &script,
                    &table,
                    &encoding,
                    churn.speed,
                    limit,
                    &dress,
                )
            }
            None => {
                let changes = churn.changes.unwrap_or((churn.per_second * 10.0) as usize).max(1);
                Changes::random(&mut self.built.engine, &table, &encoding, churn.per_second, changes)
            }
        };
        let outcome = std::mem::take(&mut changes.outcome);
        self.built.world.members[number.0].changes.extend(outcome);
        self.expect();
        let told_before = self.routes_told();
        let mut done = self.begin();
        let total = changes.len();
        while changes.sent() < total {
            if let Some(payload) = changes.due(done.begin.elapsed()) {
                self.built.engine.send(number, payload);
            }
            self.turn(probes, Duration::from_millis(1), |_| (changes.sent() as u64, total as u64))?;
        }
        let sent = Instant::now();
        done.end = self.until_right(probes)?;
        let told = (self.routes_told() - told_before) as f64 / self.receivers.len().max(1) as f64;
        done.figures.push(count("changes", "", total as f64));
        done.figures.push(count(
            "pace",
            "changes/s",
            total as f64 / (sent - done.begin).as_secs_f64().max(1e-9),
        ));
        let behind = figure("behind at the end", "ms", (done.end - sent).as_secs_f64() * 1e3);
        done.figures.push(behind.clone());
        done.figures.push(figure("told per change and receiver", "", told / total.max(1) as f64));
        done.headline = Some(behind);
        Ok(done)
    }

    fn latency(&mut self, latency: &Latency, label: &str) -> Result<Done, Failure> {
        let sender = self.first_of(&latency.from)?;
        let mut probes = self.probes(sender, latency.count);
        self.allow_probes(&probes, probes.len());
        // Whoever must not get the route does not.
        let reached: Vec<PeerNumber> = self.reached_by(&probes);
        if reached.is_empty() {
            return Err("no receiver should get what the probing peer sends".to_string());
        }
        let mut done = self.begin();
        for place in 0..probes.len() {
            probes.send(&mut self.built.engine);
            while probes.arrived() < (place + 1) * reached.len() {
                probes.collect(&mut self.built.engine);
                self.turn(&mut None, Duration::ZERO, |_| (place as u64, latency.count as u64))?;
            }
        }
        done.end = Instant::now();
        self.end_probes(label, probes)?;
        if let Some(one) = self.latencies.last() {
            done.figures.push(figure("p50", "ms", one.p50_ms));
            done.figures.push(figure("p99", "ms", one.p99_ms));
        }
        Ok(done)
    }

    fn stall(&mut self, stall: &Stall) -> Result<Done, Failure> {
        let peers = self.peers_of(std::slice::from_ref(&stall.peer))?;
        for &number in peers.iter().take(stall.count) {
            self.built.engine.stall(number, true);
            self.stalled.insert(number);
        }
        Ok(self.begin())
    }

    fn resume(&mut self, probes: &mut Option<(Probes, Duration)>) -> Result<Done, Failure> {
        let mut done = self.begin();
        for number in std::mem::take(&mut self.stalled) {
            self.built.engine.stall(number, false);
        }
        done.end = self.until_right(probes)?;
        Ok(done)
    }

    fn rest(&mut self, rest: &Rest, probes: &mut Option<(Probes, Duration)>) -> Result<Done, Failure> {
        let mut done = self.begin();
        let length = Duration::from_secs_f64(rest.seconds);
        let used = self.used();
        while done.begin.elapsed() < length {
            let elapsed = done.begin.elapsed();
            self.turn(probes, POLL, |_| (elapsed.as_millis() as u64, length.as_millis() as u64))?;
        }
        done.end = Instant::now();
        let seconds = (done.end - done.begin).as_secs_f64();
        let sessions = self.built.engine.established();
        done.figures.push(count("sessions", "", sessions as f64));
        if self.setup.meter.is_some() {
            let now = self.used();
            done.figures.push(figure("CPU at rest", "%", (now.cpu_s - used.cpu_s) / seconds * 100.0));
            let grown = (now.resident_mb - self.begin_used.resident_mb).max(0.0);
            done.figures.push(figure("memory per session", "kB", grown * 1024.0 / sessions.max(1) as f64));
        }
        Ok(done)
    }

    fn reconfigure(
        &mut self,
        change: &Reconfigure,
        probes: &mut Option<(Probes, Duration)>,
    ) -> Result<Done, Failure> {
        let tag = change.community()?;
        self.built.world.tag = Some(tag);
        self.expect();
        let mut own = self.setup.reconfigurer.take();
        let command = change.command.clone();
        if own.is_none() && command.is_none() {
            return Err("how the speaker is told is not known: give the phase a `command`, or use `compare`"
                .to_string());
        }
        let mut done = self.begin();
        std::thread::scope(|scope| {
            let told = scope.spawn(move || match (&mut own, &command) {
                (_, Some(command)) => shell(command),
                (Some(own), None) => own(tag),
                (None, None) => Ok(()),
            });
            let outcome = self.until_right(probes);
            let told =
                told.join().unwrap_or_else(|_| Err("the thread that told the speaker panicked".to_string()));
            done.end = outcome.map_err(|failure| match &told {
                Ok(()) => failure,
                Err(error) => format!("{error}; {failure}"),
            })?;
            told
        })?;
        Ok(done)
    }

    // What actions share.

    fn begin(&mut self) -> Done {
        self.cursor = 0;
        self.recorder.sample(&self.built.engine, &mut self.setup.meter, true);
        let used = self.used();
        let begin = Instant::now();
        Done { begin, end: begin, used, figures: Vec::new(), headline: None }
    }

    fn ended_with(
        &mut self,
        mut done: Done,
        routes: usize,
        probes: &mut Option<(Probes, Duration)>,
    ) -> Result<Done, Failure> {
        done.end = self.until_right(probes)?;
        let seconds = (done.end - done.begin).as_secs_f64();
        done.figures.push(count("routes", "", routes as f64));
        done.figures.push(count("rate", "routes/s", routes as f64 / seconds.max(1e-9)));
        Ok(done)
    }

    /// Opens sessions and waits until all are Established; those that are refused try again.
    fn open(
        &mut self,
        peers: &[PeerNumber],
        per_second: Option<f64>,
        at_a_time: Option<usize>,
        announce: bool,
        probes: &mut Option<(Probes, Duration)>,
    ) -> Result<(), Failure> {
        let begin = Instant::now();
        let mut begun = 0;
        let mut last_progress = begin;
        let mut best = 0;
        let mut waiting: Vec<PeerNumber> = Vec::new();
        loop {
            let allowed =
                per_second.map_or(peers.len(), |rate| (begin.elapsed().as_secs_f64() * rate) as usize + 1);
            let allowed = at_a_time
                .map_or(allowed, |window| allowed.min(begun - waiting.len() + window))
                .min(peers.len());
            // A storm is begun in gusts, so that what is answered is served meanwhile.
            let gust = allowed.min(begun + 64);
            while begun < gust {
                self.built.engine.connect(peers[begun])?;
                waiting.push(peers[begun]);
                begun += 1;
            }
            waiting.retain(|&number| {
                if *self.built.engine.state(number) != State::Established {
                    return true;
                }
                if announce && let Some(payload) = self.prepared.remove(&number) {
                    self.built.engine.send(number, payload);
                }
                false
            });
            if begun == peers.len() && waiting.is_empty() {
                return Ok(());
            }
            if Instant::now() >= self.next_try {
                self.next_try = Instant::now() + TRY_AGAIN;
                for &number in &waiting {
                    if matches!(self.built.engine.state(number), State::Refused(_)) {
                        self.built.engine.connect(number)?;
                    }
                }
            }
            let established = begun - waiting.len();
            if established > best {
                best = established;
                last_progress = Instant::now();
            }
            if last_progress.elapsed() > REFUSED_MAX && best == 0 {
                let number = peers[0];
                let reason = self.built.engine.counts(number).reason.clone();
                let reason = reason.unwrap_or_else(|| "no answer".to_string());
                return Err(self.not_let_in(number, &reason));
            }
            let wait = if gust < allowed { Duration::ZERO } else { POLL };
            self.turn(probes, wait, |_| (established as u64, peers.len() as u64)).map_err(|failure| {
                let mut reasons =
                    peers.iter().rev().filter_map(|number| self.built.engine.counts(*number).reason.as_ref());
                let reason =
                    reasons.next().map_or(String::new(), |reason| format!("; the last refusal: {reason}"));
                format!("{failure}: {established} of {} sessions Established{reason}", peers.len())
            })?;
        }
    }

    fn not_let_in(&self, number: PeerNumber, reason: &str) -> String {
        let peer = self.built.engine.peer(number);
        format!(
            "the speaker at {} let nobody in: {} (AS {}) was refused: {reason}. Its configuration needs a neighbour, or a \
             range of them, for each peer; `bgpblast config NAME SCENARIO` prints one",
            peer.speaker, peer.address, peer.asn
        )
    }

    /// Serves the sessions until every receiver is right.
    fn until_right(&mut self, probes: &mut Option<(Probes, Duration)>) -> Result<Instant, Failure> {
        loop {
            if self.all_right() {
                return Ok(Instant::now());
            }
            let wait = if probes.is_some() { Duration::ZERO } else { POLL };
            self.turn(probes, wait, Run::held).map_err(|failure| {
                let right = self.receivers.iter().filter(|number| self.is_done(**number)).count();
                format!("{failure}: {right} of {} receivers hold what they should", self.receivers.len())
            })?;
        }
    }

    /// Whether nothing is missing anywhere. Cheap while something is: the first receiver that is not right is remembered.
    fn all_right(&mut self) -> bool {
        while let Some(&number) = self.receivers.get(self.cursor) {
            if !self.is_done(number) {
                return false;
            }
            self.cursor += 1;
        }
        self.cursor = 0;
        let right = self.receivers.iter().position(|number| !self.is_done(*number));
        match right {
            Some(place) => {
                self.cursor = place;
                false
            }
            None => {
                (0..self.built.engine.len()).map(PeerNumber).all(|number| self.built.engine.is_sent(number))
            }
        }
    }

    fn is_done(&self, number: PeerNumber) -> bool {
        self.built.engine.held(number).is_right()
            || self.stalled.contains(&number)
            || self.down.contains(&number)
            || matches!(self.built.engine.state(number), State::Idle)
    }

    fn held(run: &Run<'_>) -> (u64, u64) {
        let number = run.receivers.get(run.cursor).copied();
        let held = number.map_or(0, |number| run.built.engine.held(number).len());
        (held as u64, run.recorder.curve.expected)
    }

    /// One turn of the loop: sockets, samples, the terminal, and reasons to stop.
    fn turn(
        &mut self,
        probes: &mut Option<(Probes, Duration)>,
        wait: Duration,
        progress: impl FnOnce(&Run<'_>) -> (u64, u64),
    ) -> Result<(), Failure> {
        if let Some((probes, interval)) = probes {
            probes.send_when_due(&mut self.built.engine, *interval);
        }
        let now = Instant::now();
        let wait = wait.min(self.recorder.next().saturating_duration_since(now));
        self.built.engine.poll(wait).map_err(|error| format!("the event queue: {error}"))?;
        if let Some((probes, _)) = probes {
            probes.collect(&mut self.built.engine);
        }
        self.recorder.sample(&self.built.engine, &mut self.setup.meter, false);
        let now = Instant::now();
        if now >= self.next_tell {
            self.next_tell = now + TELL;
            let (done, of) = progress(self);
            let engine = &self.built.engine;
            let curve = &self.recorder.curve;
            self.setup.progress.update(done, of, || {
                let received = curve.received.last().copied().unwrap_or(0);
                let (then, at) =
                    curve.at_s.iter().zip(&curve.received).rev().nth(20).map_or((0.0, 0), |(s, n)| (*s, *n));
                let rate =
                    (received - at) as f64 / (curve.at_s.last().copied().unwrap_or(0.0) - then).max(1e-3);
                format!("{} sessions, {done} of {of}, {rate:.0} routes/s received", engine.established())
            });
            if self.setup.interrupted.load(Ordering::Relaxed) {
                return Err("interrupted".to_string());
            }
            if now >= self.deadline {
                return Err(format!("the time limit of {} s is over", self.setup.scenario.time_limit_s));
            }
            self.look_for_drops()?;
        }
        Ok(())
    }

    fn look_for_drops(&self) -> Result<(), Failure> {
        let dropped = (0..self.built.engine.len())
            .map(PeerNumber)
            .filter(|number| !self.down.contains(number))
            .filter_map(|number| match self.built.engine.state(number) {
                State::Dropped(reason) => Some((number, reason)),
                _ => None,
            });
        let mut dropped = dropped.peekable();
        match dropped.peek() {
            None => Ok(()),
            Some(&(number, reason)) => {
                let peer = self.built.engine.peer(number).address;
                Err(format!("{} sessions dropped, the first that of {peer}: {reason}", dropped.count()))
            }
        }
    }

    fn expect(&mut self) {
        self.built.world.expect(&mut self.built.engine);
        self.cursor = 0;
        let most = self.receivers.iter().map(|number| self.built.engine.held(*number).expected_len()).max();
        self.recorder.curve.expected = most.unwrap_or(0) as u64;
    }

    fn prepare(&mut self, number: PeerNumber) {
        let member = &self.built.world.members[number.0];
        let families: Vec<Family> = member.families.iter().collect();
        let encoding = self.built.engine.encoding(number);
        let payload = member.table.announcement(&self.built.engine, &encoding, &families);
        self.prepared.insert(number, payload);
    }

    fn send_prepared(&mut self, number: PeerNumber) {
        if let Some(payload) = self.prepared.remove(&number) {
            self.built.engine.send(number, payload);
        }
    }

    // Probes.

    fn probes(&mut self, sender: PeerNumber, count: usize) -> Probes {
        let count = count.min(PROBES_MAX - self.probes_used).max(1);
        let own = self.built.senders[sender.0];
        let families = self.built.world.members[sender.0].families;
        let family =
            if families.contains(Family::Ipv4Unicast) { Family::Ipv4Unicast } else { Family::Ipv6Unicast };
        let set = probe_set(&mut self.built.engine, &own);
        let encoding = self.built.engine.encoding(sender);
        let first =
            *self.first_probe.get_or_insert_with(|| Probes::number_all(&mut self.built.engine, family));
        let first = first + self.probes_used as u32;
        let probes = Probes::new(&self.built.engine, sender, set, &encoding, first, count);
        self.built.engine.watch(probes.first..probes.first + count as u32);
        probes
    }

    /// Lets the first `count` probes be at receivers or not be there yet.
    fn allow_probes(&mut self, probes: &Probes, count: usize) {
        let member = &mut self.built.world.members[probes.sender.0];
        member.announced = true;
        member.changes.extend((0..count as u32).map(|place| (probes.first + place, probes.set)));
        self.built.world.optional = probes.first..probes.first + count as u32;
        self.expect();
    }

    fn reached_by(&self, probes: &Probes) -> Vec<PeerNumber> {
        let wants = |held: &Held| held.wanted(probes.first).iter().any(|set| set.0 != 0);
        let open = self.receivers.iter().filter(|number| {
            !self.stalled.contains(number) && *self.built.engine.state(**number) == State::Established
        });
        open.filter(|number| wants(self.built.engine.held(**number))).copied().collect()
    }

    /// Waits for the probes that are under way, and notes how long they took, by group of receivers.
    fn end_probes(&mut self, label: &str, mut probes: Probes) -> Result<(), Failure> {
        // First all must have come: what is worked out afterwards takes time, which would count as theirs.
        let reached = self.reached_by(&probes).len();
        while probes.arrived() < probes.sent() * reached {
            self.turn(&mut None, Duration::ZERO, Run::held)?;
            probes.collect(&mut self.built.engine);
        }
        let sent = probes.sent() as u32;
        self.probes_used += sent as usize;
        self.built.world.members[probes.sender.0].changes.retain(|number, _| {
            let place = number.wrapping_sub(probes.first) as usize;
            place >= probes.len() || place < sent as usize
        });
        self.built.world.optional = 0..0;
        self.expect();
        while !self.all_right() {
            self.turn(&mut None, Duration::ZERO, Run::held)?;
            probes.collect(&mut self.built.engine);
        }
        probes.collect(&mut self.built.engine);
        self.built.engine.watch(0..0);
        let mut noted = Vec::new();
        for (group, members) in self.setup.scenario.groups.iter().zip(&self.built.groups) {
            let name = format!("{label}, at {}", group.name);
            noted.extend(probes.latency(name, |receiver| members.contains(&receiver)));
        }
        self.latencies.extend(noted);
        Ok(())
    }

    // Numbers.

    fn used(&mut self) -> Used {
        self.setup.meter.as_mut().map_or(Used::default(), |meter| meter())
    }

    fn refusals(&self) -> u64 {
        (0..self.built.engine.len()).map(|number| self.built.engine.counts(PeerNumber(number)).refusals).sum()
    }

    fn routes_told(&self) -> u64 {
        let told = self.receivers.iter().map(|number| self.built.engine.counts(*number));
        told.map(|counts| counts.announced + counts.withdrawn).sum()
    }

    fn peers_of(&self, names: &[String]) -> Result<Vec<PeerNumber>, Failure> {
        let mut peers = Vec::new();
        for name in names {
            let place = self.setup.scenario.groups.iter().position(|group| group.name == *name);
            let place = place.ok_or_else(|| format!("there are no peers {name:?}"))?;
            peers.extend_from_slice(&self.built.groups[place]);
        }
        Ok(peers)
    }

    fn first_of(&self, name: &str) -> Result<PeerNumber, Failure> {
        Ok(self.peers_of(&[name.to_string()])?[0])
    }

    /// What is measured of a phase: its duration, unless it is about something else.
    fn headline(&self, phase: &Phase, done: &Done, seconds: f64) -> Vec<Figure> {
        match (&phase.measure, &done.headline) {
            (None, _) => Vec::new(),
            (Some(_), _) if phase.rest.is_some() => {
                let own = |figure: &&Figure| !matches!(figure.name.as_str(), "CPU" | "memory");
                done.figures.iter().filter(own).cloned().collect()
            }
            (Some(name), Some(headline)) => vec![Figure { name: name.clone(), ..headline.clone() }],
            (Some(name), None) => vec![figure(name, "s", seconds)],
        }
    }

    fn note(&mut self, phase: &Phase, mut done: Done) {
        let seconds = (done.end - done.begin).as_secs_f64();
        if self.setup.meter.is_some() {
            let now = self.used();
            done.figures.push(figure("CPU", "s", now.cpu_s - done.used.cpu_s));
            done.figures.push(figure("memory", "MB", now.resident_mb));
            self.figures.extend(self.headline(phase, &done, seconds));
            if let Some(name) = phase.measure.as_ref().filter(|_| phase.rest.is_none()) {
                self.figures.push(figure(format!("{name}: CPU"), "s", now.cpu_s - done.used.cpu_s));
                self.figures.push(figure(format!("{name}: memory"), "MB", now.resident_mb));
            }
        } else {
            self.figures.extend(self.headline(phase, &done, seconds));
        }
        let label = phase.label();
        self.setup.progress.ended(&label, done.end - done.begin, "");
        self.phases.push(outcome::Phase {
            name: label,
            start_s: self.recorder.at_s(done.begin),
            duration_s: seconds,
            figures: done.figures,
        });
    }

    /// How long a phase took, if it was carried out.
    pub fn duration_of(&self, phase: usize) -> Option<f64> {
        self.phases.get(phase).map(|phase| phase.duration_s)
    }

    /// Watches what the speaker says after everything was done, and gives back what was found.
    pub fn finish(mut self, ended: Result<(), Failure>) -> outcome::Outcome {
        let mut failure = ended.err();
        let begin = Instant::now();
        while failure.is_none() && begin.elapsed() < AFTERMATH {
            if let Err(error) = self.turn(&mut None, POLL, Run::held) {
                failure = Some(format!("afterwards: {error}"));
            }
        }
        self.recorder.sample(&self.built.engine, &mut self.setup.meter, true);
        let used = self.used();
        let mut figures = self.figures;
        if self.setup.meter.is_some() {
            figures.push(figure("CPU, all phases", "s", used.cpu_s - self.begin_used.cpu_s));
            figures.push(figure("peak memory", "MB", used.peak_mb));
        }
        for latency in &self.latencies {
            figures.push(figure(format!("{} p50", latency.name), "ms", latency.p50_ms));
            figures.push(figure(format!("{} p99", latency.name), "ms", latency.p99_ms));
            figures.push(figure(format!("{} longest", latency.name), "ms", latency.max_ms));
        }
        let truth = super::verdict::verdict(&self.built, &self.stalled, &self.down);
        let measured = self.setup.scenario.phases.iter().position(|phase| phase.measure.is_some());
        let mut warnings = self.built.warnings;
        if let Some(partial) = &self.built.partial {
            warnings.push(partial.clone());
        }
        outcome::Outcome {
            scenario: self.setup.scenario.name.clone(),
            description: self.setup.scenario.description.clone(),
            complete: failure.is_none() && self.built.partial.is_none(),
            failure: failure.or(self.built.partial),
            figures,
            tool: outcome::Tool {
                measured_s: measured.and_then(|place| Some(self.phases.get(place)?.duration_s)),
                ..outcome::Tool::default()
            },
            phases: self.phases,
            curve: self.recorder.curve,
            usage: self.recorder.usage,
            latencies: self.latencies,
            findings: truth.findings,
            differences: truth.differences,
            difference_count: truth.difference_count,
            warnings,
            ..outcome::Outcome::default()
        }
    }
}

/// A phase that was carried out.
struct Done {
    begin: Instant,
    end: Instant,
    used: Used,
    figures: Vec<Figure>,
    /// What the phase is about, if it is not its duration.
    headline: Option<Figure>,
}

/// The attributes of a probe.
fn probe_set(engine: &mut Engine, sender: &Sender) -> crate::attributes::SetId {
    let plain = crate::source::AttributeSet { block: origin_igp(), next_hop: None };
    let own = Sender { next_hop: SentNextHop::Own, spread: None, ..*sender };
    own.dress(engine, &plain, Family::Ipv4Unicast).unwrap_or_default()
}

fn origin_igp() -> Vec<u8> {
    let mut block = Vec::new();
    kulan::wire::AttributeEditor::on(&mut block).set_origin(kulan::wire::attrs::Origin::Igp).set_as_path(&[]);
    block
}

/// A recorded set as the sender has it; one that cannot be announced becomes a variant of another.
fn dressed(
    engine: &mut Engine,
    set: &crate::source::AttributeSet,
    family: Family,
    sender: &Sender,
    fallback: crate::attributes::SetId,
) -> crate::attributes::SetId {
    sender.dress(engine, set, family).unwrap_or_else(|_| variant_of(engine, fallback, 1))
}

fn shell(command: &str) -> Result<(), String> {
    let output = std::process::Command::new("sh")
        .args(["-c", command])
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command:?} failed ({}): {}", output.status, said.trim()))
}
