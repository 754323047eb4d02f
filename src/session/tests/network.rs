//! Two sessions and the network between them, in one struct, with a clock of its own and a seed.
//!
//! TCP is modelled by what a session can see of it: connections that are made, refused or never answered,
//! bytes that arrive in order, in any pieces and after any time, ends and resets.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::rc::Rc;

use crate::config::{AsnMatch, GracefulRestart};
use crate::session::{Output, Session, SessionSettings, Slot, State};
use crate::types::{FamilySet, RouterId, Time};
use crate::wire::frame::{MessageKind, next_frame};

/// An internal peer with everything at its usual value.
pub fn settings(router_id: u32) -> SessionSettings {
    SessionSettings {
        local_asn: 65000,
        router_id: RouterId(router_id),
        asn: AsnMatch::Exactly(65000),
        passive: false,
        hold_time_s: 90,
        connect_retry_s: 10,
        families: FamilySet::ALL,
        route_reflector_client: false,
        graceful_restart: GracefulRestart {
            enabled: true,
            restart_time_s: 120,
            stale_time_s: 300,
            notification: true,
        },
        extended_messages: true,
        extended_next_hop: true,
    }
}

/// Numbers that look random (splitmix64).
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

#[derive(Debug)]
enum Packet {
    Syn,
    SynAck,
    Data(Vec<u8>),
    Fin,
    Reset,
}

/// One TCP connection; arrays are indexed by end.
#[derive(Default)]
struct Link {
    slots: [Option<Slot>; 2],
    /// What is on its way to each end, with the moment of arrival.
    in_flight: [VecDeque<(Time, Packet)>; 2],
    /// What came and is not a whole message yet.
    partial: [Vec<u8>; 2],
    /// Nothing arrives any more, and nobody is told.
    dead: bool,
}

pub struct End {
    pub session: Session,
    settings: Rc<SessionSettings>,
    /// What the session asked for, but for bytes and connections.
    pub log: Vec<(Time, Output)>,
    /// The NOTIFICATIONs and other messages that came in, by kind.
    pub arrived: Vec<MessageKind>,
    up: bool,
    routes_up: bool,
}

pub struct Network {
    pub now: Time,
    pub ends: [End; 2],
    links: Vec<Link>,
    pub random: Random,
    /// The longest time that a packet takes.
    pub latency_ms_max: u64,
    /// SYNs get lost: nobody answers.
    pub dark: bool,
}

impl Network {
    pub fn new(settings: [SessionSettings; 2], seed: u64) -> Network {
        let mut random = Random(seed);
        let ends = settings.map(|settings| {
            let settings = Rc::new(settings);
            End {
                session: Session::new(settings.clone(), false, random.below(u64::MAX)),
                settings,
                log: Vec::new(),
                arrived: Vec::new(),
                up: true,
                routes_up: false,
            }
        });
        Network { now: Time(1000), ends, links: Vec::new(), random, latency_ms_max: 5, dark: false }
    }

    /// Both started, at the same moment.
    pub fn started(settings: [SessionSettings; 2], seed: u64) -> Network {
        let mut network = Network::new(settings, seed);
        for end in 0..2 {
            network.input(end, |session, now| session.handle_start(now));
        }
        network
    }

    /// Gives a session an input and carries out what it asks for.
    pub fn input<T>(&mut self, end: usize, input: impl FnOnce(&mut Session, Time) -> T) -> T {
        let result = input(&mut self.ends[end].session, self.now);
        self.carry_out(end);
        result
    }

    /// The process dies and another starts at once, or after [`Network::boot`] if `stays_down`.
    pub fn crash(&mut self, end: usize, stays_down: bool) {
        let seed = self.random.below(u64::MAX);
        let it = &mut self.ends[end];
        it.session = Session::new(it.settings.clone(), false, seed);
        (it.up, it.routes_up) = (!stays_down, false);
        for index in 0..self.links.len() {
            if self.links[index].slots[end].take().is_some() {
                self.send(index, end, Packet::Fin);
            }
        }
        if !stays_down {
            self.input(end, |session, now| session.handle_start(now));
        }
    }

    pub fn boot(&mut self, end: usize) {
        self.ends[end].up = true;
        self.input(end, |session, now| session.handle_start(now));
    }

    /// The machine loses power: as a crash, but nobody is told.
    pub fn lose_power(&mut self, end: usize) {
        self.kill_links();
        for link in &mut self.links {
            link.slots[end] = None;
        }
        self.crash(end, true);
    }

    /// As [`Network::lose_power`], and up again at once: no byte of the old connections is answered, but
    /// the new system resets what it does not know.
    pub fn crash_silently(&mut self, end: usize) {
        for link in &mut self.links {
            link.slots[end] = None;
        }
        self.crash(end, false);
    }

    /// Every connection stops carrying anything, for good.
    pub fn kill_links(&mut self) {
        for link in &mut self.links {
            link.dead = true;
            link.in_flight = Default::default();
        }
    }

    /// Every connection is reset at both ends.
    pub fn reset_links(&mut self) {
        for index in 0..self.links.len() {
            for end in 0..2 {
                if self.links[index].slots[end].is_some() && !self.links[index].dead {
                    self.links[index].in_flight[end].push_back((self.now, Packet::Reset));
                }
            }
        }
    }

    /// Runs until both are established on one connection and nothing is left to say, for `limit_s` seconds
    /// at most. How long it took, in milliseconds.
    pub fn run_until_up(&mut self, limit_s: u64) -> u64 {
        let start = self.now;
        let limit = self.now.plus_s(limit_s);
        while !self.is_up() {
            assert!(self.now < limit, "not up after {limit_s} s: {:?}", self.states());
            self.step(limit);
        }
        self.now.since_ms(start)
    }

    /// Runs for `s` seconds.
    pub fn run_for(&mut self, s: u64) {
        let until = self.now.plus_s(s);
        while self.now < until {
            self.step(until);
        }
    }

    pub fn states(&self) -> [State; 2] {
        [self.ends[0].session.state(), self.ends[1].session.state()]
    }

    /// Both established, on the same connection, and no other is left.
    pub fn is_up(&self) -> bool {
        let [a, b] = &self.ends;
        let (Some(a), Some(b)) = (a.session.established(), b.session.established()) else { return false };
        let agree = self.links.iter().any(|link| link.slots == [Some(a), Some(b)] && !link.dead);
        let open = self.links.iter().filter(|link| link.slots.iter().any(Option::is_some)).count();
        agree && open == 1
    }

    /// Goes to the next moment at which something happens, `until` at most, and lets one thing happen.
    pub fn step(&mut self, until: Time) {
        let arrivals = self.links.iter().enumerate().flat_map(|(index, link)| {
            (0..2).filter_map(move |end| link.in_flight[end].front().map(|(at, _)| (*at, index, end)))
        });
        let arrival = arrivals.min();
        let timeout =
            (0..2).filter_map(|end| self.ends[end].session.next_deadline().map(|at| (at, end))).min();
        match (arrival, timeout) {
            (Some((at, index, end)), timeout)
                if at <= until && timeout.is_none_or(|(other, _)| at <= other) =>
            {
                self.now = self.now.max(at);
                self.arrive(index, end);
            }
            (_, Some((at, end))) if at <= until => {
                self.now = self.now.max(at);
                self.input(end, |session, now| session.handle_timeout(false, now));
                let next = self.ends[end].session.next_deadline();
                assert!(next.is_none_or(|next| next > self.now), "a deadline that does not pass");
            }
            _ => self.now = until,
        }
    }

    fn arrive(&mut self, index: usize, end: usize) {
        let Some((_, packet)) = self.links[index].in_flight[end].pop_front() else { return };
        match (packet, self.links[index].slots[end]) {
            (Packet::Syn, _) if !self.ends[end].up => self.send(index, end, Packet::Reset),
            (Packet::Syn, _) => {
                self.send(index, end, Packet::SynAck);
                let slot = self.ends[end].session.handle_accepted(self.now);
                match slot {
                    Some(slot) => {
                        if let Some(lost) = self.link(end, slot) {
                            self.links[lost].slots[end] = None;
                            self.send(lost, end, Packet::Fin);
                        }
                        self.links[index].slots[end] = Some(slot);
                    }
                    None => self.send(index, end, Packet::Fin),
                }
                self.carry_out(end);
            }
            (Packet::SynAck, Some(slot)) => {
                self.input(end, |session, now| session.handle_connected(slot, now))
            }
            (Packet::Data(bytes), Some(slot)) => self.read(index, end, slot, &bytes),
            (Packet::Fin, Some(slot)) => self.closed(index, end, slot, None),
            (Packet::Reset, Some(slot)) => self.closed(index, end, slot, Some(ErrorKind::ConnectionReset)),
            (Packet::SynAck | Packet::Data(_), None) => self.send(index, end, Packet::Reset),
            (Packet::Fin | Packet::Reset, None) => {}
        }
    }

    fn closed(&mut self, index: usize, end: usize, slot: Slot, error: Option<ErrorKind>) {
        self.links[index].slots[end] = None;
        if error.is_none() {
            self.send(index, end, Packet::Fin);
        }
        self.input(end, |session, now| session.handle_closed(slot, error, now));
    }

    fn read(&mut self, index: usize, end: usize, slot: Slot, bytes: &[u8]) {
        self.links[index].partial[end].extend_from_slice(bytes);
        while self.links[index].slots[end] == Some(slot) {
            let buffer = std::mem::take(&mut self.links[index].partial[end]);
            let consumed = match next_frame(&buffer, self.ends[end].session.message_len_max(slot)) {
                Ok(None) => 0,
                Ok(Some(frame)) => {
                    self.ends[end].arrived.push(frame.kind);
                    self.input(end, |session, now| match frame.kind {
                        MessageKind::Update => {
                            let _ = session.update_arrived(slot, now);
                        }
                        kind => session.handle_message(slot, kind, frame.body, now),
                    });
                    frame.len
                }
                Err(error) => {
                    self.input(end, |session, now| session.handle_error(slot, error, now));
                    buffer.len()
                }
            };
            self.links[index].partial[end] = buffer[consumed..].to_vec();
            if consumed == 0 {
                break;
            }
        }
    }

    /// Bytes from `end` on its established connection, as if its speaker had written them.
    pub fn write(&mut self, end: usize, bytes: &[u8]) {
        let slot = self.ends[end].session.established().expect("the test wrote to a session that is down");
        let index = self.link(end, slot).expect("an established session has a connection");
        self.send(index, end, Packet::Data(bytes.to_vec()));
    }

    fn link(&self, end: usize, slot: Slot) -> Option<usize> {
        self.links.iter().position(|link| link.slots[end] == Some(slot))
    }

    /// Sends from `end` over a link to the other one, in pieces.
    fn send(&mut self, index: usize, end: usize, packet: Packet) {
        let to = 1 - end;
        if self.links[index].dead {
            return;
        }
        let mut pieces = Vec::new();
        match packet {
            Packet::Data(mut bytes) => {
                if bytes.len() > 1 && self.random.below(3) == 0 {
                    let at = 1 + self.random.below(bytes.len() as u64 - 1) as usize;
                    let rest = bytes.split_off(at);
                    pieces.extend([Packet::Data(bytes), Packet::Data(rest)]);
                } else {
                    pieces.push(Packet::Data(bytes));
                }
            }
            packet => pieces.push(packet),
        }
        for piece in pieces {
            let arrival = self.now.plus_ms(1 + self.random.below(self.latency_ms_max));
            let queue = &mut self.links[index].in_flight[to];
            let after = queue.back().map_or(Time(0), |(at, _)| *at);
            queue.push_back((arrival.max(after), piece));
        }
    }

    fn carry_out(&mut self, end: usize) {
        while let Some(output) = self.ends[end].session.poll_output() {
            match &output {
                Output::Connect(slot) => {
                    assert_eq!(self.link(end, *slot), None, "a slot is used twice");
                    let mut link = Link::default();
                    link.slots[end] = Some(*slot);
                    self.links.push(link);
                    if !self.dark {
                        self.send(self.links.len() - 1, end, Packet::Syn);
                    }
                }
                Output::Send(slot, bytes) => {
                    let index = self.link(end, *slot).expect("bytes for a connection that is not there");
                    self.send(index, end, Packet::Data(bytes.to_vec()));
                }
                Output::Close(slot) => {
                    let index = self.link(end, *slot).expect("closes a connection that is not there");
                    self.links[index].slots[end] = None;
                    self.send(index, end, Packet::Fin);
                }
                Output::Established(_) => {
                    assert!(!self.ends[end].routes_up, "established twice");
                    self.ends[end].routes_up = true;
                }
                Output::Down { .. } => {
                    assert!(self.ends[end].routes_up, "down twice");
                    self.ends[end].routes_up = false;
                }
                Output::RemoveStale(_) | Output::RouteRefresh(..) | Output::Gone => {}
            }
            if !matches!(output, Output::Connect(_) | Output::Send(..) | Output::Close(_)) {
                self.ends[end].log.push((self.now, output));
            }
        }
        let session = &self.ends[end].session;
        session.check_invariants();
        assert_eq!(session.established().is_some(), self.ends[end].routes_up);
    }
}

/// End-of-RIB for IPv4 (RFC 4724 §2): an UPDATE that says nothing.
pub fn empty_update() -> Vec<u8> {
    let mut bytes = vec![0xff; 16];
    bytes.extend_from_slice(&[0, 23, 2, 0, 0, 0, 0]);
    bytes
}
