//! Many sessions on one thread: sources that send prepared bytes, receivers with a [`Table`] each.
//!
//! All connect actively, each from an address of its own; the speaker under test waits for them. So there are no
//! connection collisions to disturb a measurement.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::message::{self, Attributes, Key, Update};
use super::table::Table;

/// What we propose; the speakers under test get the same or more.
const HOLD_TIME_S: u16 = 240;
/// Half of what the RFC suggests of the shortest hold time that can come out of [`HOLD_TIME_S`] here.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// How much is read from a session before the next one has its turn: less than a millisecond's work.
const READ_BYTES: usize = 16 * 1024;
/// How much is written to a session before the next one has its turn.
const WRITE_BYTES: usize = 32 * 1024;
/// How many sessions the kernel reports at a time.
const EVENTS: usize = 256;

/// Which session of a [`Peers`].
pub type Number = usize;

/// Who a session is.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// The address it connects from, also its router identifier.
    pub address: Ipv4Addr,
    /// Its AS number.
    pub asn: u32,
    /// The speaker under test.
    pub speaker: SocketAddrV4,
}

/// How far a session is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The TCP connection is being made.
    Connecting,
    /// We sent OPEN.
    OpenSent,
    /// We have the speaker's OPEN and sent KEEPALIVE.
    OpenConfirm,
    /// Routes flow.
    Established,
    /// It ended, for this reason.
    Down(String),
}

/// What came in on a session.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Bytes of all messages.
    pub bytes: u64,
    /// UPDATE messages.
    pub updates: u64,
    /// Whether the IPv4 End-of-RIB came.
    pub end_of_rib: bool,
}

struct Session {
    identity: Identity,
    /// Gone once the session is down.
    socket: Option<TcpStream>,
    state: State,
    outgoing: VecDeque<(Arc<Vec<u8>>, usize)>,
    waits_to_write: bool,
    /// The beginning of a message whose rest has not come yet.
    partial: Vec<u8>,
    table: Option<Table>,
    counts: Counts,
    last_sent: Instant,
}

/// How many attribute sets there is room for from the start. A map that grows in the middle of a measurement
/// takes milliseconds, and they would be taken for the speaker's.
const SETS: usize = 1 << 18;

/// Every attribute set that came in: its fingerprint, and how to show it.
struct Seen {
    /// From the hash of the bytes as received to the fingerprint of what they mean.
    fingerprints: HashMap<u64, u64>,
    /// Where the bytes of a fingerprint lie in `bytes`.
    examples: HashMap<u64, (usize, usize)>,
    bytes: Vec<u8>,
    scratch: Vec<u8>,
    /// Room for the prefixes of an UPDATE.
    keys: Vec<Key>,
}

impl Seen {
    fn new() -> Seen {
        Seen {
            fingerprints: HashMap::with_capacity(SETS),
            examples: HashMap::with_capacity(SETS),
            bytes: Vec::new(),
            scratch: Vec::new(),
            keys: Vec::new(),
        }
    }

    fn fingerprint(&mut self, attributes: &[u8]) -> Result<u64, String> {
        let raw = message::fingerprint(attributes);
        if let Some(fingerprint) = self.fingerprints.get(&raw) {
            return Ok(*fingerprint);
        }
        let fingerprint = Attributes::fingerprint_of(attributes, &mut self.scratch)?;
        self.fingerprints.insert(raw, fingerprint);
        let start = self.bytes.len();
        self.bytes.extend_from_slice(attributes);
        self.examples.insert(fingerprint, (start, self.bytes.len()));
        Ok(fingerprint)
    }

    fn show(&self, fingerprint: u64) -> String {
        match (fingerprint, self.examples.get(&fingerprint)) {
            (0, _) => "no route".to_string(),
            (_, None) => format!("attributes that never came ({fingerprint:016x})"),
            (_, Some(&(start, end))) => match Attributes::parse(&self.bytes[start..end]) {
                Ok(attributes) => format!("{:02x?}", attributes.0),
                Err(error) => error,
            },
        }
    }
}

/// Sessions with one speaker, driven by [`Peers::run`].
pub struct Peers {
    epoll: OwnedFd,
    sessions: Vec<Session>,
    seen: Seen,
    buffer: Vec<u8>,
    next_keepalives: Instant,
}

impl Default for Peers {
    fn default() -> Peers {
        Peers::new()
    }
}

impl Peers {
    /// Without sessions yet.
    ///
    /// # Panics
    /// When the system has no descriptors left.
    pub fn new() -> Peers {
        // SAFETY: epoll_create1 takes no pointers.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        assert!(fd >= 0, "epoll_create1: {}", io::Error::last_os_error());
        Peers {
            // SAFETY: the descriptor was just made and belongs to nobody else.
            epoll: unsafe { OwnedFd::from_raw_fd(fd) },
            sessions: Vec::new(),
            seen: Seen::new(),
            buffer: vec![0; READ_BYTES],
            next_keepalives: Instant::now() + KEEPALIVE_INTERVAL,
        }
    }

    /// Begins a session from the thread's network namespace; with a table it decodes what it is told.
    ///
    /// # Panics
    /// When the system refuses the socket.
    pub fn connect(&mut self, identity: Identity, table: Option<Table>) -> Number {
        let number = self.sessions.len();
        let socket = connecting(&identity)
            .unwrap_or_else(|error| panic!("a connection from {}: {error}", identity.address));
        self.watch(libc::EPOLL_CTL_ADD, socket.as_raw_fd(), number, true);
        self.sessions.push(Session {
            identity,
            socket: Some(socket),
            state: State::Connecting,
            outgoing: VecDeque::new(),
            waits_to_write: true,
            partial: Vec::new(),
            table,
            counts: Counts::default(),
            last_sent: Instant::now(),
        });
        number
    }

    /// Begins a session that is down anew.
    ///
    /// # Panics
    /// When the system refuses the socket.
    pub fn reconnect(&mut self, number: Number) {
        let session = &mut self.sessions[number];
        let identity = session.identity;
        let socket = connecting(&identity)
            .unwrap_or_else(|error| panic!("a connection from {}: {error}", identity.address));
        let fd = socket.as_raw_fd();
        session.socket = Some(socket);
        session.state = State::Connecting;
        session.outgoing.clear();
        session.partial.clear();
        session.waits_to_write = true;
        self.watch(libc::EPOLL_CTL_ADD, fd, number, true);
    }

    /// Ends a session without a word, as a peer's death does.
    pub fn close(&mut self, number: Number) {
        self.sessions[number].end("closed by the test".to_string());
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// How far a session is.
    pub fn state(&self, number: Number) -> &State {
        &self.sessions[number].state
    }

    /// What came in on a session.
    pub fn counts(&self, number: Number) -> Counts {
        self.sessions[number].counts
    }

    /// A receiver's table.
    ///
    /// # Panics
    /// When the session has none.
    pub fn table(&self, number: Number) -> &Table {
        self.sessions[number].table.as_ref().expect("a session with a table")
    }

    /// A receiver's table, to change what is expected.
    ///
    /// # Panics
    /// When the session has none.
    pub fn table_mut(&mut self, number: Number) -> &mut Table {
        self.sessions[number].table.as_mut().expect("a session with a table")
    }

    /// Whether every receiver's table is right.
    pub fn all_right(&self) -> bool {
        self.sessions.iter().filter_map(|session| session.table.as_ref()).all(Table::is_right)
    }

    /// The number of sessions that are Established.
    pub fn established(&self) -> usize {
        self.sessions.iter().filter(|session| session.state == State::Established).count()
    }

    /// Sends prepared messages, as fast as the socket takes them.
    pub fn send(&mut self, number: Number, bytes: Arc<Vec<u8>>) {
        let session = &mut self.sessions[number];
        session.outgoing.push_back((bytes, 0));
        session.flush();
        self.watch_for_writing(number);
    }

    /// Whether everything that was to be sent has been taken by the kernel.
    pub fn all_sent(&self) -> bool {
        self.sessions.iter().all(|session| session.outgoing.is_empty())
    }

    /// Serves the sessions until `done`, and says when that was.
    ///
    /// # Errors
    /// What is missing, when `patience` is over or a session ended first.
    pub fn run(
        &mut self,
        patience: Duration,
        done: impl FnMut(&mut Peers) -> bool,
    ) -> Result<Instant, String> {
        self.run_looking(patience, Duration::from_millis(100), done)
    }

    /// [`Peers::run`] for a condition that is not about the sessions: looks at it at least this often.
    ///
    /// # Errors
    /// As [`Peers::run`].
    pub fn run_looking(
        &mut self,
        patience: Duration,
        look: Duration,
        mut done: impl FnMut(&mut Peers) -> bool,
    ) -> Result<Instant, String> {
        let deadline = Instant::now() + patience;
        loop {
            if done(self) {
                return Ok(Instant::now());
            }
            if let Some(failed) = self.sessions.iter().find(|session| matches!(session.state, State::Down(_)))
                && failed.state != State::Down("closed by the test".to_string())
            {
                return Err(format!("session from {}: {:?}", failed.identity.address, failed.state));
            }
            if Instant::now() > deadline {
                return Err(format!("not done after {patience:?}: {}", self.complaint()));
            }
            self.poll(look.as_millis() as i32);
        }
    }

    /// What is not as it should be, on all sessions.
    pub fn complaint(&self) -> String {
        let mut text = format!("{} of {} sessions Established", self.established(), self.sessions.len());
        for session in &self.sessions {
            if let Some(table) = session.table.as_ref().filter(|table| !table.is_right()) {
                text += &format!("\n{}: ", session.identity.address);
                text += &table.complaint(|fingerprint| self.seen.show(fingerprint));
                break;
            }
        }
        text
    }

    /// Waits for something to happen on any session, at most this long, and serves it.
    pub fn poll(&mut self, timeout_ms: i32) {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS];
        // SAFETY: the kernel writes at most EVENTS entries into the array, which lives across the call.
        let count = unsafe {
            libc::epoll_wait(self.epoll.as_raw_fd(), events.as_mut_ptr(), EVENTS as i32, timeout_ms)
        };
        for event in &events[..usize::try_from(count).unwrap_or(0)] {
            let number = event.u64 as Number;
            let happened = event.events;
            if happened & libc::EPOLLOUT as u32 != 0 {
                self.sessions[number].writable();
            }
            if happened & !(libc::EPOLLOUT as u32) != 0 {
                self.sessions[number].readable(&mut self.buffer, &mut self.seen);
            }
            self.watch_for_writing(number);
        }
        let now = Instant::now();
        if now >= self.next_keepalives {
            self.next_keepalives = now + KEEPALIVE_INTERVAL;
            for session in &mut self.sessions {
                session.keep_alive(now);
            }
        }
    }

    fn watch_for_writing(&mut self, number: Number) {
        let session = &mut self.sessions[number];
        let Some(fd) = session.socket.as_ref().map(AsRawFd::as_raw_fd) else { return };
        let wants = session.state == State::Connecting || !session.outgoing.is_empty();
        if wants != session.waits_to_write {
            session.waits_to_write = wants;
            self.watch(libc::EPOLL_CTL_MOD, fd, number, wants);
        }
    }

    fn watch(&self, operation: libc::c_int, fd: RawFd, number: Number, writing: bool) {
        let events = libc::EPOLLIN | if writing { libc::EPOLLOUT } else { 0 };
        let mut event = libc::epoll_event { events: events as u32, u64: number as u64 };
        // SAFETY: both descriptors are open, and the event lives across the call.
        let result = unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), operation, fd, &mut event) };
        assert_eq!(result, 0, "epoll_ctl: {}", io::Error::last_os_error());
    }
}

impl Session {
    fn end(&mut self, reason: String) {
        self.state = State::Down(reason);
        self.outgoing.clear();
        self.socket = None;
    }

    fn writable(&mut self) {
        let Some(socket) = &self.socket else { return };
        if self.state == State::Connecting {
            match socket.take_error().and_then(|error| socket.set_nodelay(true).map(|()| error)) {
                Ok(None) => {
                    self.state = State::OpenSent;
                    let identity = self.identity;
                    self.send(message::open(identity.asn, HOLD_TIME_S, identity.address));
                }
                Ok(Some(error)) | Err(error) => return self.end(format!("cannot connect: {error}")),
            }
        }
        self.flush();
    }

    fn send(&mut self, bytes: Vec<u8>) {
        self.outgoing.push_back((Arc::new(bytes), 0));
        self.flush();
    }

    fn keep_alive(&mut self, now: Instant) {
        let due = now.duration_since(self.last_sent) >= KEEPALIVE_INTERVAL;
        // While there is something on its way, that is sign of life enough, and nothing may come between.
        if self.state == State::Established && self.outgoing.is_empty() && due {
            self.send(message::message(message::KEEPALIVE, &[]));
        }
    }

    fn flush(&mut self) {
        let Some(socket) = self.socket.as_mut().filter(|_| self.state != State::Connecting) else { return };
        let mut budget = WRITE_BYTES;
        while let Some((bytes, offset)) = self.outgoing.front_mut().filter(|_| budget > 0) {
            let end = bytes.len().min(*offset + budget);
            match socket.write(&bytes[*offset..end]) {
                Ok(written) => {
                    *offset += written;
                    budget -= written;
                    self.last_sent = Instant::now();
                    if *offset == bytes.len() {
                        self.outgoing.pop_front();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => return self.end(format!("cannot send: {error}")),
            }
        }
    }

    fn readable(&mut self, buffer: &mut [u8], seen: &mut Seen) {
        let Some(socket) = &mut self.socket else { return };
        let kept = self.partial.len();
        buffer[..kept].copy_from_slice(&self.partial);
        let end = match socket.read(&mut buffer[kept..]) {
            Ok(0) => return self.end("the speaker closed the connection".to_string()),
            Ok(count) => kept + count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) => return self.end(format!("cannot read: {error}")),
        };
        self.counts.bytes += (end - kept) as u64;
        match self.take_messages(&buffer[..end], seen) {
            Ok(used) => {
                self.partial.clear();
                self.partial.extend_from_slice(&buffer[used..end]);
            }
            Err(error) => self.end(error),
        }
    }

    /// Works through whole messages and returns where the rest begins.
    fn take_messages(&mut self, bytes: &[u8], seen: &mut Seen) -> Result<usize, String> {
        let mut start = 0;
        while let Some(length) = message::length(&bytes[start..])? {
            let Some(whole) = bytes.get(start..start + length) else { break };
            let body = &whole[message::HEADER_LENGTH..];
            match whole[message::HEADER_LENGTH - 1] {
                message::OPEN => {
                    self.state = State::OpenConfirm;
                    self.send(message::message(message::KEEPALIVE, &[]));
                }
                message::KEEPALIVE if self.state == State::OpenConfirm => self.state = State::Established,
                message::UPDATE => self.take_update(body, seen)?,
                message::NOTIFICATION => {
                    let text: String = body.iter().skip(3).map(|&byte| char::from(byte)).collect();
                    return Err(format!("NOTIFICATION {:?} {text:?}", &body[..body.len().min(2)]));
                }
                _ => {}
            }
            start += length;
        }
        Ok(start)
    }

    fn take_update(&mut self, body: &[u8], seen: &mut Seen) -> Result<(), String> {
        self.counts.updates += 1;
        let Some(table) = &mut self.table else { return Ok(()) };
        let update = Update::parse(body)?;
        if update.is_end_of_rib() {
            self.counts.end_of_rib = true;
        }
        let mut keys = std::mem::take(&mut seen.keys);
        if !update.withdrawn.is_empty() {
            keys.clear();
            message::for_each_prefix(update.withdrawn, |key| keys.push(key))?;
            table.withdraw(&keys);
        }
        if !update.announced.is_empty() {
            keys.clear();
            message::for_each_prefix(update.announced, |key| keys.push(key))?;
            table.announce(&keys, seen.fingerprint(update.attributes)?);
        }
        seen.keys = keys;
        Ok(())
    }
}

/// A socket that is on its way to the speaker.
fn connecting(identity: &Identity) -> io::Result<TcpStream> {
    // SAFETY: socket takes no pointers.
    let fd = unsafe {
        libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC, 0)
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made and belongs to nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let own = internet_address(SocketAddrV4::new(identity.address, 0));
    let speaker = internet_address(identity.speaker);
    let size = size_of::<libc::sockaddr_in>() as libc::socklen_t;
    // SAFETY: both addresses are whole sockaddr_in structures that live across the calls.
    let connected = unsafe {
        if libc::bind(fd, (&raw const own).cast(), size) != 0 {
            return Err(io::Error::last_os_error());
        }
        libc::connect(fd, (&raw const speaker).cast(), size)
    };
    let error = io::Error::last_os_error();
    if connected != 0 && error.raw_os_error() != Some(libc::EINPROGRESS) {
        return Err(error);
    }
    Ok(TcpStream::from(socket))
}

fn internet_address(address: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
        sin_zero: [0; 8],
    }
}
