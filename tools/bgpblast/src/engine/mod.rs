//! Many sessions on one thread: senders of prepared octets, and receivers that check what they are told.
//!
//! [`Engine::poll`] serves the sockets; everything else is between two calls of it. There is no clock of phases here and
//! no idea of what a scenario is: who connects when, what is sent and what should come out is decided by
//! [`crate::scenario`].
//!
//! Thousands of receivers of one speaker are told the same in the same octets. So an UPDATE is decoded once, when it
//! first comes, and recognised by its hash afterwards ([`decode`]): what is left to do for each receiver is to put numbers
//! into its table. The hash has 64 bits and is keyed; two messages of one run will not share it by accident.

mod decode;
mod session;
mod socket;

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kulan::types::{FamilySet, RouterId};
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};

use crate::attributes::Store;
use crate::truth::{Held, Index};
use decode::Decoder;
use session::{Context, Session};
pub use session::{Counts, Encoding, State};

/// Which session of an [`Engine`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerNumber(pub usize);

/// Who opens the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// We do, from the peer's address to the speaker's.
    Dial,
    /// The speaker does, to the peer's address and this port.
    Listen(u16),
}

/// What a peer is.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The address that it connects from or listens on.
    pub address: IpAddr,
    /// The speaker under test.
    pub speaker: SocketAddr,
    /// Who opens the connection.
    pub transport: Transport,
    /// Its AS number.
    pub asn: u32,
    /// Its BGP identifier.
    pub router_id: RouterId,
    /// The hold time that it proposes, in seconds; 0: no keepalives.
    pub hold_time_s: u16,
    /// The families that it offers.
    pub families: FamilySet,
    /// Whether it offers ADD-PATH in both directions (RFC 7911).
    pub add_path: bool,
    /// Whether it offers messages of up to 65,535 octets (RFC 8654).
    pub extended_messages: bool,
    /// The TCP MD5 key (RFC 2385).
    pub md5: Option<String>,
    /// Whether what it is told is decoded and checked; otherwise only counted.
    pub receives: bool,
}

/// Octets to send: messages that were encoded before the clock ran.
#[derive(Clone, Debug)]
pub struct Payload {
    octets: Arc<Vec<u8>>,
    range: Range<usize>,
}

impl Payload {
    /// All of these octets.
    pub fn new(octets: Arc<Vec<u8>>) -> Payload {
        let range = 0..octets.len();
        Payload { octets, range }
    }

    /// A part of these octets, of whole messages.
    pub fn part(octets: Arc<Vec<u8>>, range: Range<usize>) -> Payload {
        Payload { octets, range }
    }

    /// The octets.
    pub fn octets(&self) -> &[u8] {
        &self.octets[self.range.clone()]
    }

    /// How many octets there are.
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }
}

/// A watched route arrived somewhere.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// At which receiver.
    pub receiver: PeerNumber,
    /// Which prefix number.
    pub number: u32,
    /// Whether it was announced; otherwise withdrawn.
    pub announced: bool,
    /// When.
    pub at: Instant,
}

/// How much is read of a session before the next one has its turn, in octets.
const READ_BYTES: usize = 64 * 1024;
/// How much is written to a session before the next one has its turn, in octets.
const WRITE_BYTES: usize = 256 * 1024;
/// How many events are taken from the kernel at a time.
const EVENTS: usize = 1024;
/// How often keepalives are sent and hold timers looked at.
const TIMER_PERIOD: Duration = Duration::from_millis(200);

/// Sessions with one speaker.
#[derive(Debug)]
pub struct Engine {
    poll: Poll,
    events: Events,
    sessions: Vec<Session>,
    listeners: Vec<TcpListener>,
    listening_on: HashSet<SocketAddr>,
    /// The session that waits for a connection between these two addresses, ours first.
    awaited: HashMap<(IpAddr, IpAddr), PeerNumber>,
    /// Sessions that may have more to read or to write than their turn allowed.
    ready: VecDeque<PeerNumber>,
    decoder: Decoder,
    buffer: Vec<u8>,
    next_timers: Instant,
    established: usize,
}

impl Engine {
    /// Without sessions yet.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub fn new() -> io::Result<Engine> {
        Ok(Engine {
            poll: Poll::new()?,
            events: Events::with_capacity(EVENTS),
            sessions: Vec::new(),
            listeners: Vec::new(),
            listening_on: HashSet::new(),
            awaited: HashMap::new(),
            ready: VecDeque::new(),
            decoder: Decoder::new(),
            buffer: vec![0; READ_BYTES + usize::from(u16::MAX)],
            next_timers: Instant::now() + TIMER_PERIOD,
            established: 0,
        })
    }

    /// Adds a peer that does nothing yet.
    pub fn add(&mut self, peer: Peer) -> PeerNumber {
        // A single receiver never sees a message twice.
        self.decoder.remember |= peer.receives && self.sessions.iter().any(|session| session.peer.receives);
        self.sessions.push(Session::new(peer));
        PeerNumber(self.sessions.len() - 1)
    }

    /// Begins the session: dials, or waits for the speaker to dial.
    ///
    /// # Errors
    /// When the system refuses the socket, saying what would help.
    pub fn connect(&mut self, number: PeerNumber) -> Result<(), String> {
        let peer = &self.sessions[number.0].peer;
        match peer.transport {
            Transport::Dial => {
                let mut stream = socket::dial(peer)?;
                self.poll
                    .registry()
                    .register(&mut stream, token(number), Interest::READABLE | Interest::WRITABLE)
                    .map_err(|error| format!("a socket of {}: {error}", peer.address))?;
                self.sessions[number.0].dialled(stream);
            }
            Transport::Listen(port) => {
                let key = (peer.address, peer.speaker.ip());
                let bound = SocketAddr::new(peer.address, port);
                if !self.listening_on.contains(&bound) {
                    let listener = socket::listen(bound, peer)?;
                    self.add_listener(bound, listener)?;
                }
                self.awaited.insert(key, number);
                self.sessions[number.0].listening();
            }
        }
        Ok(())
    }

    /// Listens on a port of every address, for peers that were added with [`Transport::Listen`] and whose own address is
    /// not known beforehand: they are told apart by where they come from. Gives back the address.
    ///
    /// # Errors
    /// When the system refuses the socket.
    pub fn listen_for_all(&mut self, on: SocketAddr) -> Result<SocketAddr, String> {
        let listener = socket::listen_on(on)?;
        let bound = listener.local_addr().map_err(|error| format!("listening on {on}: {error}"))?;
        self.add_listener(bound, listener)?;
        for (place, session) in self.sessions.iter_mut().enumerate() {
            self.awaited.insert((session.peer.address, session.peer.speaker.ip()), PeerNumber(place));
            session.listening();
        }
        Ok(bound)
    }

    fn add_listener(&mut self, on: SocketAddr, mut listener: TcpListener) -> Result<(), String> {
        let at = Token(usize::MAX - self.listeners.len());
        self.poll
            .registry()
            .register(&mut listener, at, Interest::READABLE)
            .map_err(|error| format!("listening on {on}: {error}"))?;
        self.listeners.push(listener);
        self.listening_on.insert(on);
        Ok(())
    }

    /// Ends a session: with a NOTIFICATION "Administrative Shutdown" if `gently`, otherwise without a word, as a
    /// peer's death does.
    pub fn close(&mut self, number: PeerNumber, gently: bool) {
        self.with(number, |session, context| session.close(gently, context));
    }

    /// Sends prepared messages, as fast as the socket takes them.
    pub fn send(&mut self, number: PeerNumber, payload: Payload) {
        self.with(number, |session, context| session.send(payload, context));
    }

    /// Stops reading from a session's socket, or reads again.
    pub fn stall(&mut self, number: PeerNumber, stalled: bool) {
        self.sessions[number.0].stalled = stalled;
        if !stalled {
            self.make_ready(number);
        }
    }

    fn with(&mut self, number: PeerNumber, act: impl FnOnce(&mut Session, &mut Context<'_>)) {
        let mut context =
            Context { decoder: &mut self.decoder, buffer: &mut self.buffer, number, now: Instant::now() };
        let session = &mut self.sessions[number.0];
        let was = session.is_established();
        act(session, &mut context);
        self.established -= usize::from(was);
        self.established += usize::from(session.is_established());
        if session.wants_turn() {
            self.make_ready(number);
        }
    }

    fn make_ready(&mut self, number: PeerNumber) {
        let session = &mut self.sessions[number.0];
        if !std::mem::replace(&mut session.queued, true) {
            self.ready.push_back(number);
        }
    }

    /// Serves the sockets until nothing is left to do or, at the latest, until all have had one turn; waits for at most
    /// `wait` if nothing is to be done.
    ///
    /// # Errors
    /// When the kernel does not tell what happened.
    pub fn poll(&mut self, wait: Duration) -> io::Result<()> {
        let now = Instant::now();
        let wait = if self.ready.is_empty() {
            wait.min(self.next_timers.saturating_duration_since(now))
        } else {
            Duration::ZERO
        };
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            done => done?,
        }
        let mut accepting = Vec::new();
        let mut served: Vec<PeerNumber> = Vec::with_capacity(16);
        for event in &self.events {
            if event.token().0 > usize::MAX / 2 {
                accepting.push(usize::MAX - event.token().0);
                continue;
            }
            let number = PeerNumber(event.token().0);
            let Some(session) = self.sessions.get_mut(number.0) else { continue };
            session.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
            session.writable |= event.is_writable() || event.is_error() || event.is_write_closed();
            if !std::mem::replace(&mut session.queued, true) {
                served.push(number);
            }
        }
        self.ready.extend(served);
        for place in accepting {
            self.accept(place)?;
        }
        for _ in 0..self.ready.len() {
            let Some(number) = self.ready.pop_front() else { break };
            self.sessions[number.0].queued = false;
            self.with(number, |session, context| session.take_turn(context));
        }
        if Instant::now() >= self.next_timers {
            self.next_timers = Instant::now() + TIMER_PERIOD;
            for number in 0..self.sessions.len() {
                if self.sessions[number].is_open() {
                    self.with(PeerNumber(number), |session, context| session.look_at_timers(context));
                }
            }
        }
        Ok(())
    }

    fn accept(&mut self, place: usize) -> io::Result<()> {
        loop {
            let (mut stream, from) = match self.listeners[place].accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            let local = stream.local_addr()?.ip();
            let unspecified = match local {
                IpAddr::V4(_) => IpAddr::from([0; 4]),
                IpAddr::V6(_) => IpAddr::from([0; 16]),
            };
            let awaited = [local, unspecified].iter().find_map(|own| self.awaited.get(&(*own, from.ip())));
            // Whoever nobody waits for is hung up on.
            let Some(&number) = awaited else { continue };
            if self.sessions[number.0].is_open() {
                continue;
            }
            self.poll.registry().register(
                &mut stream,
                token(number),
                Interest::READABLE | Interest::WRITABLE,
            )?;
            self.with(number, |session, context| session.accepted(stream, context));
        }
    }

    /// How many peers there are.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// How many sessions are Established.
    pub fn established(&self) -> usize {
        self.established
    }

    /// What a peer is.
    pub fn peer(&self, number: PeerNumber) -> &Peer {
        &self.sessions[number.0].peer
    }

    /// How far a session is.
    pub fn state(&self, number: PeerNumber) -> &State {
        &self.sessions[number.0].state
    }

    /// What a session has counted.
    pub fn counts(&self, number: PeerNumber) -> &Counts {
        &self.sessions[number.0].counts
    }

    /// A receiver's table.
    pub fn held(&self, number: PeerNumber) -> &Held {
        &self.sessions[number.0].held
    }

    /// A receiver's table, to change what is expected of it.
    pub fn held_mut(&mut self, number: PeerNumber) -> &mut Held {
        &mut self.sessions[number.0].held
    }

    /// What was negotiated for encoding: four-octet AS numbers, the longest message, and whether path identifiers are sent.
    pub fn encoding(&self, number: PeerNumber) -> Encoding {
        self.sessions[number.0].encoding
    }

    /// Whether withdrawals of routes that should be there count as unexpected from now on.
    pub fn expect_withdrawals(&mut self, number: PeerNumber, expected: bool) {
        self.sessions[number.0].withdrawals_expected = expected;
    }

    /// Compares what is held now, when all has come that the speaker had when the session began, with what was held when
    /// it said that this was all.
    pub fn check_end_of_rib(&mut self, number: PeerNumber) {
        let session = &mut self.sessions[number.0];
        let early = session.counts.held_at_end_of_rib.is_some_and(|held| held < session.held.len());
        session.counts.end_of_rib_early |= early;
    }

    /// Whether everything that was to be sent on a session has been taken by the kernel.
    pub fn is_sent(&self, number: PeerNumber) -> bool {
        !self.sessions[number.0].has_outgoing()
    }

    /// The attribute sets of the run.
    pub fn store(&self) -> &Store {
        &self.decoder.store
    }

    /// The attribute sets of the run, to add some.
    pub fn store_mut(&mut self) -> &mut Store {
        &mut self.decoder.store
    }

    /// The prefixes of the run.
    pub fn index(&self) -> &Index {
        &self.decoder.index
    }

    /// The prefixes of the run, to add some.
    pub fn index_mut(&mut self) -> &mut Index {
        &mut self.decoder.index
    }

    /// Notes when routes with these prefix numbers arrive, for [`Engine::take_arrivals`].
    pub fn watch(&mut self, numbers: Range<u32>) {
        self.decoder.watched = numbers;
    }

    /// The arrivals of watched routes since the last call.
    pub fn take_arrivals(&mut self, out: &mut Vec<Arrival>) {
        out.append(&mut self.decoder.arrivals);
    }
}

fn token(number: PeerNumber) -> Token {
    Token(number.0)
}
