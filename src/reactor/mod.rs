//! The event loop: sockets, timers, the netlink descriptor, wake-ups and signals. The only room that
//! makes system calls or reads the clock.
//!
//! One turn: poll, read (a slice from every peer that has bytes), timers, decide and encode
//! ([`Speaker::work`]), write (sockets and one netlink batch), answer requests. Everything that can be
//! written is written before the loop sleeps, and it sleeps only when no stage has more to do. epoll is
//! edge-triggered, so a connection that was not drained stays on the ready list.
//!
//! All connections share one read buffer. A connection keeps bytes of its own only while a message is
//! incomplete, which is what makes a peer at rest cheap.

mod clock;
pub mod netlink;
mod notify;
mod socket;
pub mod sockopt;
#[cfg(test)]
mod tests;
mod timings;
mod watch;

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use log::{debug, error, info, warn};
use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook_mio::v1_0::Signals;
use smallvec::SmallVec;

use crate::config::{self, Config, Secret};
use crate::control::message::{QueueStatistics, Request, RequestError, Statistics};
use crate::control::respond::respond;
use crate::control::{self, Control};
use crate::export::{ExportLimits, SLICES_MAX};
use crate::speaker::{Action, Dial, Speaker};
use crate::types::{ConnId, Family, Prefix, Time};
use clock::Clock;
use netlink::NetlinkSocket;
use timings::Timings;
use watch::Watchers;

/// The most that is read from one peer in one turn. At about 16 bytes a route this is 1,000 routes, less
/// than half a millisecond of work: the longest that one peer's flood delays another peer's message.
const READ_SLICE_BYTES: usize = 16 * 1024;

/// The most that is read from all peers in one turn, so that a turn stays short when many flood at once.
/// Who had no turn stands first in the next.
const READ_TURN_BYTES: usize = 128 * 1024;

/// Room before the slice for the incomplete message of the turn before (RFC 8654 §4 at most).
const PARTIAL_BYTES_MAX: usize = 65_535;

/// The most that is written to one peer in one turn, so that a fast reader does not delay the others.
const WRITE_SLICE_BYTES: usize = 1024 * 1024;

/// Connections accepted in one turn; the rest waits in the kernel's backlog for the next.
const ACCEPTS_PER_TURN: usize = 512;

/// Requests of the control thread answered in one turn.
const REQUESTS_PER_TURN: usize = 16;

/// How long a closed connection may take to collect our last words, in milliseconds. Closing at once
/// while the peer's bytes lie unread would make the kernel send RST, and the NOTIFICATION would be lost.
const LINGER_MS: u64 = 2_000;

/// Closed connections that may linger at a time; the oldest gives way. As many as sessions that go down in one
/// turn, mostly: with more the kernel's RST may overtake our last words.
const LINGERING_MAX: usize = 1024;

/// Reads from a closed connection for one event. A peer that goes on sending is cut off.
const LINGER_READS: usize = 4;

/// How long the daemon's end waits for its peers to take the last words, in milliseconds.
const STOP_MS: u64 = 200;

/// How long to wait before accepting again when descriptors have run out, in milliseconds.
const ACCEPT_PAUSE_MS: u64 = 100;

/// The longest sleep; only bounds the effect of a timer that was computed wrongly.
const SLEEP_MS_MAX: u64 = 60_000;

const WAKER: Token = Token(0);
const SIGNALS: Token = Token(1);
const NETLINK: Token = Token(2);
const LINGER: Token = Token(3);
const FIRST_LISTENER: usize = 16;
const FIRST_CONN: usize = 4096;

/// A connection's socket and what the loop knows of it.
struct Conn {
    stream: TcpStream,
    /// The three-way handshake is not over.
    connecting: bool,
    /// The beginning of a message whose end has not arrived.
    partial: Vec<u8>,
    /// Stands on the ready list.
    ready: bool,
    /// The last write took everything.
    writable: bool,
    /// The peer has closed its side: read until the end is seen.
    closing: bool,
}

impl Conn {
    fn new(stream: TcpStream, connecting: bool) -> Conn {
        Conn { stream, connecting, partial: Vec::new(), ready: false, writable: !connecting, closing: false }
    }
}

/// What one read from a connection came to.
enum ReadOutcome {
    Drained,
    More,
    Closed(Option<io::ErrorKind>),
}

/// The loop.
pub struct Reactor {
    poll: Poll,
    waker: Arc<Waker>,
    /// Ends with the loop.
    _control: Control,
    clock: Clock,
    speaker: Speaker,
    config_path: PathBuf,
    signals: Signals,
    requests: Receiver<Request>,
    watchers: Watchers,
    netlink: Option<NetlinkSocket>,
    listeners: Vec<TcpListener>,
    accept_ready: bool,
    accept_paused_until: Time,
    conns: Vec<Option<Conn>>,
    ready: VecDeque<ConnId>,
    lingering: VecDeque<(Time, TcpStream)>,
    buffer: Vec<u8>,
    timings: Timings,
}

/// Runs the daemon until a signal or a request ends it. The error is a sentence for a person.
pub fn run(config: Config, config_path: PathBuf) -> Result<(), String> {
    let mut reactor = Reactor::new(config, config_path, &[SIGHUP, SIGTERM, SIGINT])?;
    notify::notify(notify::READY);
    reactor.turn_until_stopped().map_err(|error| format!("the event loop failed: {error}"))
}

impl Reactor {
    /// Opens everything that the configuration asks for: listeners, netlink, the control thread. Takes these
    /// signals from then on.
    fn new(config: Config, config_path: PathBuf, signals: &[i32]) -> Result<Reactor, String> {
        let setup = |what: &str| {
            let what = what.to_string();
            move |error: io::Error| format!("cannot set up {what}: {error}")
        };
        let clock = Clock::start();
        raise_descriptor_limit();
        let poll = Poll::new().map_err(setup("epoll"))?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER).map_err(setup("the wake-up descriptor"))?);
        let mut signals = Signals::new(signals).map_err(setup("the signal handlers"))?;
        poll.registry()
            .register(&mut signals, SIGNALS, Interest::READABLE)
            .map_err(setup("the signal pipe"))?;

        let mut listeners = Vec::new();
        for address in &config.speaker.listen {
            let mut listener = socket::listen(*address).map_err(|error| listen_failed(*address, &error))?;
            poll.registry()
                .register(&mut listener, Token(FIRST_LISTENER + listeners.len()), Interest::READABLE)
                .map_err(setup("a listener"))?;
            info!("listening on {address}");
            listeners.push(listener);
        }

        let domain = &config.domains[0];
        let routes = domain.install || domain.resolve_next_hops;
        let mut netlink = NetlinkSocket::open(domain.table, routes, wake_by(&waker))
            .map_err(setup("the netlink socket"))?;
        poll.registry()
            .register(&mut netlink, NETLINK, Interest::READABLE)
            .map_err(setup("the netlink socket"))?;

        let (handle, requests) = control::ControlHandle::new(Arc::clone(&waker));
        let control =
            control::start(&config.api, handle).map_err(|error| format!("cannot start the API: {error}"))?;

        // The standard library keys its hash maps with the kernel's randomness; this borrows some.
        let seed = RandomState::new().hash_one(std::process::id());
        let mut speaker = Speaker::new(config, seed);
        speaker.follow_interfaces();
        speaker.start(clock.now());
        Ok(Reactor {
            poll,
            waker,
            _control: control,
            clock,
            speaker,
            config_path,
            signals,
            requests,
            watchers: Watchers::default(),
            netlink: Some(netlink),
            listeners,
            accept_ready: true,
            accept_paused_until: Time(0),
            conns: Vec::new(),
            ready: VecDeque::new(),
            lingering: VecDeque::new(),
            buffer: vec![0; PARTIAL_BYTES_MAX + READ_SLICE_BYTES],
            timings: Timings::default(),
        })
    }

    fn turn_until_stopped(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut more = true;
        let mut stopping = false;
        loop {
            let timeout = if more { Duration::ZERO } else { self.sleep() };
            match self.poll.poll(&mut events, Some(timeout)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => other?,
            }
            let begun = Instant::now();
            for event in &events {
                match event.token() {
                    // The stages of the turn look for themselves.
                    WAKER => {}
                    NETLINK => self.netlink.iter_mut().for_each(NetlinkSocket::note_readable),
                    SIGNALS => stopping |= self.take_signals(),
                    LINGER => self.drain_lingering(),
                    Token(token) if token >= FIRST_CONN => {
                        self.note_conn_event(ConnId((token - FIRST_CONN) as u32), event)
                    }
                    _ => self.accept_ready = true,
                }
            }
            more = self.accept();
            more |= self.read();
            let read_done = Instant::now();
            let conns = &self.conns;
            self.speaker.advance(self.clock.now(), &|id| {
                conns.get(id.index()).and_then(Option::as_ref).is_some_and(|conn| conn.ready)
            });
            more |= self.speaker.work(self.clock.now());
            self.act();
            let work_done = Instant::now();
            more |= self.write();
            more |= self.drive_netlink();
            more |= self.speaker.wants_work();
            let write_done = Instant::now();
            more |= self.answer();
            // An action taken above may have made others, and the last words of a session need a write.
            self.act();
            self.expire_lingering();
            self.timings.record([begun, read_done, work_done, write_done]);
            if stopping {
                self.stop();
                return Ok(());
            }
        }
    }

    /// How long nothing can happen without an event.
    fn sleep(&self) -> Duration {
        let now = self.clock.now();
        let mut until = now.plus_ms(SLEEP_MS_MAX);
        if let Some(deadline) = self.speaker.next_deadline() {
            until = until.min(deadline);
        }
        if let Some((deadline, _)) = self.lingering.front() {
            until = until.min(*deadline);
        }
        if self.accept_ready {
            until = until.min(self.accept_paused_until);
        }
        // The clock counts whole milliseconds: one more makes sure that the deadline has passed.
        if until <= now { Duration::ZERO } else { Duration::from_millis(until.since_ms(now) + 1) }
    }

    fn note_conn_event(&mut self, id: ConnId, event: &Event) {
        let Some(conn) = self.conns.get_mut(id.index()).and_then(Option::as_mut) else { return };
        if event.is_read_closed() || event.is_error() {
            conn.closing = true;
        }
        if event.is_writable() || event.is_error() {
            conn.writable = true;
            if conn.connecting {
                self.finish_connect(id);
                return;
            }
            self.speaker.mark_dirty(id);
        }
        if (event.is_readable() || conn.closing) && !conn.ready {
            conn.ready = true;
            self.ready.push_back(id);
        }
    }

    /// A dialled connection became writable: connected, failed, or a spurious event (mio's documentation
    /// of `TcpStream::connect` lists the checks).
    fn finish_connect(&mut self, id: ConnId) {
        let Some(conn) = self.conns[id.index()].as_mut() else { return };
        let outcome = match conn.stream.take_error() {
            Ok(Some(error)) | Err(error) => Err(error),
            Ok(None) => match conn.stream.peer_addr() {
                Ok(_) => conn.stream.local_addr(),
                Err(error) if error.raw_os_error() == Some(libc::ENOTCONN) && !conn.closing => return,
                Err(error) => Err(error),
            },
        };
        let now = self.clock.now();
        match outcome {
            Ok(local) => {
                conn.connecting = false;
                if !conn.ready {
                    conn.ready = true;
                    self.ready.push_back(id);
                }
                self.speaker.connected(now, id, local);
            }
            Err(error) => {
                self.conns[id.index()] = None;
                self.speaker.closed(now, id, Some(error.kind()));
            }
        }
    }

    /// Accepts what waits; returns whether more may.
    fn accept(&mut self) -> bool {
        if !self.accept_ready || self.clock.now() < self.accept_paused_until {
            return false;
        }
        let mut accepted = 0;
        for index in 0..self.listeners.len() {
            loop {
                if accepted == ACCEPTS_PER_TURN {
                    return true;
                }
                match self.listeners[index].accept() {
                    Ok((stream, remote)) => {
                        accepted += 1;
                        self.adopt(stream, remote);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => match error.raw_os_error() {
                        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => {
                            warn!(
                                "cannot accept connections for now: {error}; raise the limit on open files"
                            );
                            self.accept_paused_until = self.clock.now().plus_ms(ACCEPT_PAUSE_MS);
                            return false;
                        }
                        // Errors of the connection itself (ECONNABORTED, EPROTO, network errors): the next one may do.
                        _ => debug!("a connection was lost before it was accepted: {error}"),
                    },
                }
            }
        }
        self.accept_ready = false;
        false
    }

    fn adopt(&mut self, stream: TcpStream, remote: SocketAddr) {
        let local = match stream.local_addr() {
            Ok(local) => local,
            Err(error) => return debug!("{remote} left before it was accepted: {error}"),
        };
        let now = self.clock.now();
        // The speaker has said why it refuses one; dropping the stream closes it.
        let syn = sockopt::take_syn(&stream);
        let Ok(accepted) = self.speaker.accept(now, remote, local, syn) else { return };
        match socket::adopt(&stream, remote.ip(), &accepted.options) {
            Ok(()) => self.insert(accepted.conn, Conn::new(stream, false)),
            Err(error) => {
                warn!("connection from {remote} closed: its socket cannot be set up: {error}");
                self.speaker.closed(now, accepted.conn, Some(error.kind()));
            }
        }
    }

    fn insert(&mut self, id: ConnId, mut conn: Conn) {
        let token = Token(FIRST_CONN + id.index());
        if let Err(error) =
            self.poll.registry().register(&mut conn.stream, token, Interest::READABLE | Interest::WRITABLE)
        {
            warn!("cannot watch a connection: {error}");
            return self.speaker.closed(self.clock.now(), id, Some(error.kind()));
        }
        if !conn.connecting {
            conn.ready = true;
            self.ready.push_back(id);
        }
        if self.conns.len() <= id.index() {
            self.conns.resize_with(id.index() + 1, || None);
        }
        self.conns[id.index()] = Some(conn);
    }

    /// Reads a slice from every connection on the ready list, as far as the turn's budget goes; returns
    /// whether one has more.
    fn read(&mut self) -> bool {
        let mut budget_bytes = READ_TURN_BYTES;
        for _ in 0..self.ready.len() {
            if budget_bytes == 0 {
                break;
            }
            let Some(id) = self.ready.pop_front() else { break };
            let Some(mut conn) = self.conns[id.index()].take() else { continue };
            conn.ready = false;
            if conn.connecting {
                self.conns[id.index()] = Some(conn);
                continue;
            }
            match self.read_slice(id, &mut conn, &mut budget_bytes) {
                ReadOutcome::Closed(error) => {
                    drop(conn);
                    self.speaker.closed(self.clock.now(), id, error);
                }
                outcome => {
                    if matches!(outcome, ReadOutcome::More) {
                        conn.ready = true;
                        self.ready.push_back(id);
                    }
                    self.conns[id.index()] = Some(conn);
                }
            }
        }
        !self.ready.is_empty()
    }

    fn read_slice(&mut self, id: ConnId, conn: &mut Conn, budget_bytes: &mut usize) -> ReadOutcome {
        if !self.speaker.wants_bytes(id) {
            // The session asked for the connection to be closed; the action is on its way.
            return ReadOutcome::Drained;
        }
        let kept = conn.partial.len();
        self.buffer[..kept].copy_from_slice(&conn.partial);
        let room = &mut self.buffer[kept..kept + READ_SLICE_BYTES];
        let read = match conn.stream.read(room) {
            Ok(0) => return ReadOutcome::Closed(None),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return ReadOutcome::Drained,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return ReadOutcome::More,
            Err(error) => return ReadOutcome::Closed(Some(error.kind())),
        };
        // What was kept is copied again: else one octet at a time would cost the loop a message each.
        *budget_bytes = budget_bytes.saturating_sub(kept + read);
        let filled = &self.buffer[..kept + read];
        let consumed = self.speaker.receive(self.clock.now(), id, filled);
        let rest = &filled[consumed..];
        debug_assert!(rest.len() <= PARTIAL_BYTES_MAX, "an incomplete message is at most a message");
        conn.partial.clear();
        if rest.is_empty() {
            conn.partial = Vec::new();
        } else {
            conn.partial.extend_from_slice(rest);
        }
        // A read that did not fill its room has emptied the socket (epoll(7)), unless the end is to be seen.
        if read == READ_SLICE_BYTES || conn.closing { ReadOutcome::More } else { ReadOutcome::Drained }
    }

    /// Does what the speaker asks for.
    fn act(&mut self) {
        while let Some(action) = self.speaker.poll_action() {
            match action {
                Action::Connect { conn, dial } => self.connect(conn, &dial),
                Action::Close { conn, last_words } => self.close(conn, &last_words),
                Action::ListenKey { range, key } => self.set_listen_key(range, key.as_ref()),
                Action::OpenKernel { table, routes } => self.open_netlink(table, routes),
            }
        }
    }

    /// Replaces the netlink socket. Without one the kernel's routes stay as they are.
    fn open_netlink(&mut self, table: u32, routes: bool) {
        // What is left of the batch under way goes in before the new socket reads what there is.
        self.netlink = None;
        let opened = NetlinkSocket::open(table, routes, wake_by(&self.waker)).and_then(|mut socket| {
            self.poll.registry().register(&mut socket, NETLINK, Interest::READABLE)?;
            Ok(socket)
        });
        if let Err(error) = &opened {
            error!(
                "cannot open a netlink socket for table {table}, the kernel's routes stay as they are: {error}"
            );
        }
        self.netlink = opened.ok();
    }

    fn connect(&mut self, id: ConnId, dial: &Dial) {
        match socket::dial(dial) {
            Ok(stream) => self.insert(id, Conn::new(stream, true)),
            Err(error) => {
                debug!("cannot dial {}: {error}", dial.remote);
                self.speaker.closed(self.clock.now(), id, Some(error.kind()));
            }
        }
    }

    fn close(&mut self, id: ConnId, last_words: &[u8]) {
        let Some(mut conn) = self.conns.get_mut(id.index()).and_then(Option::take) else { return };
        if conn.connecting {
            return;
        }
        if !last_words.is_empty()
            && let Err(error) = conn.stream.write(last_words)
        {
            debug!("last words were not sent: {error}");
        }
        if conn.stream.shutdown(Shutdown::Write).is_err() {
            return;
        }
        let interest = Interest::READABLE;
        if self.poll.registry().reregister(&mut conn.stream, LINGER, interest).is_ok() {
            if self.lingering.len() == LINGERING_MAX {
                self.lingering.pop_front();
            }
            self.lingering.push_back((self.clock.now().plus_ms(LINGER_MS), conn.stream));
        }
    }

    /// Reads and forgets what closed connections still get, until the peers have closed them too.
    fn drain_lingering(&mut self) {
        let buffer = &mut self.buffer;
        self.lingering.retain_mut(|(_, stream)| {
            for _ in 0..LINGER_READS {
                match stream.read(buffer) {
                    Ok(0) => return false,
                    Ok(_) => {}
                    Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
                }
            }
            false
        });
    }

    fn expire_lingering(&mut self) {
        let now = self.clock.now();
        while self.lingering.front().is_some_and(|(deadline, _)| *deadline <= now) {
            self.lingering.pop_front();
        }
    }

    fn set_listen_key(&mut self, range: Prefix, key: Option<&Secret>) {
        for listener in &self.listeners {
            let is_ipv6 = listener.local_addr().is_ok_and(|address| address.is_ipv6());
            if is_ipv6 != (range.family() == Family::Ipv6Unicast) {
                continue;
            }
            let outcome = match key {
                Some(key) => sockopt::set_md5_key(listener, range, key),
                None => sockopt::remove_md5_key(listener, range),
            };
            if let Err(error) = outcome {
                error!("cannot set the TCP MD5 key of {range}: {error}");
            }
        }
    }

    /// Writes to every connection that has something to send; returns whether one could take more.
    fn write(&mut self) -> bool {
        let mut more = false;
        for _ in 0..self.speaker.dirty_count() {
            let Some(id) = self.speaker.poll_dirty() else { break };
            let Some(conn) = self.conns.get_mut(id.index()).and_then(Option::as_mut) else { continue };
            if conn.connecting || !conn.writable {
                continue;
            }
            let mut written_bytes = 0;
            let failure = loop {
                if written_bytes >= WRITE_SLICE_BYTES {
                    self.speaker.mark_dirty(id);
                    more = true;
                    break None;
                }
                let mut slices: SmallVec<[IoSlice<'_>; SLICES_MAX]> = SmallVec::new();
                let offered_bytes = self.speaker.fill(id, &mut slices);
                if offered_bytes == 0 {
                    break None;
                }
                match conn.stream.write_vectored(&slices) {
                    Ok(sent_bytes) => {
                        drop(slices);
                        let all = sent_bytes == offered_bytes;
                        self.speaker.sent(self.clock.now(), id, sent_bytes, all);
                        written_bytes += sent_bytes;
                        if !all {
                            conn.writable = false;
                            break None;
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        drop(slices);
                        self.speaker.sent(self.clock.now(), id, 0, false);
                        conn.writable = false;
                        break None;
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => break Some(error),
                }
            };
            if let Some(error) = failure {
                self.conns[id.index()] = None;
                self.speaker.closed(self.clock.now(), id, Some(error.kind()));
            }
        }
        more
    }

    /// Exchanges with the kernel what there is to exchange; returns whether there is more.
    fn drive_netlink(&mut self) -> bool {
        let now = self.clock.now();
        let (Some(socket), Some((fib, rib))) = (&mut self.netlink, self.speaker.kernel()) else {
            return false;
        };
        match socket.drive(fib, now, rib) {
            Ok(more) => more,
            Err(error) => {
                error!("the netlink socket failed, the kernel's routes stay as they are: {error}");
                self.netlink = None;
                false
            }
        }
    }

    /// Answers the control thread; returns whether there was a request: it may have caused work, and another may
    /// wait.
    fn answer(&mut self) -> bool {
        self.watchers.tell(&mut self.speaker, self.clock.now());
        for answered in 0..REQUESTS_PER_TURN {
            let Ok(request) = self.requests.try_recv() else { return answered > 0 };
            let now = self.clock.now();
            match request {
                Request::Reload(reply) => reply.send(self.reload().map_err(RequestError::Refused)),
                Request::Statistics(reply) => reply.send(Ok(self.statistics())),
                Request::Watch(query, sink, reply) => {
                    self.watchers.add(&mut self.speaker, query, sink);
                    reply.send(Ok(()));
                }
                request => respond(&mut self.speaker, now, request),
            }
        }
        true
    }

    /// Reads the configuration anew and applies it. The error is what is wrong with the file; the old configuration
    /// stays in force then.
    fn reload(&mut self) -> Result<Vec<String>, String> {
        let config = config::load(&self.config_path).map_err(|errors| errors.to_string())?;
        Ok(self.speaker.reload(self.clock.now(), config))
    }

    /// Takes the signals that came; returns whether one asks the daemon to stop.
    fn take_signals(&mut self) -> bool {
        let mut stop = false;
        for signal in self.signals.pending().collect::<Vec<_>>() {
            if signal != SIGHUP {
                info!("stopping on a signal");
                stop = true;
                continue;
            }
            match self.reload() {
                Ok(said) if said.is_empty() => info!("reload: nothing changed"),
                Ok(said) => said.iter().for_each(|line| info!("reload: {line}")),
                Err(errors) => error!("reload: the old configuration stays: {errors}"),
            }
        }
        stop
    }

    fn statistics(&self) -> Statistics {
        let (stages, turns) = (self.timings.stages(), self.timings.turns());
        let groups: Vec<_> = self.speaker.export.groups().collect();
        let ring_limit = ExportLimits::default().ring_bytes_max as u64;
        let queue = |name, depth: usize, limit: u64| QueueStatistics { name, depth: depth as u64, limit };
        Statistics {
            turns,
            busy_ns: self.timings.busy_ns(),
            longest_turn_ns: self.timings.longest_turn_ns(),
            stages,
            queues: vec![
                queue("requests", self.requests.len(), control::message::REQUESTS_MAX as u64),
                queue(
                    "export_ring_bytes",
                    groups.iter().map(|group| group.ring_bytes).sum(),
                    ring_limit * groups.len() as u64,
                ),
            ],
            counters: vec![(
                "routes_unusable",
                "Well-formed routes that could not be used: loops of AS path or cluster list",
                self.speaker.unusable_count,
            )],
        }
    }

    /// Ends every session with a word, and gives the connections a moment to take it.
    fn stop(&mut self) {
        notify::notify(notify::STOPPING);
        let now = self.clock.now();
        for id in self.speaker.peer_ids() {
            self.speaker.stop(now, id);
        }
        self.act();
        let deadline = now.plus_ms(STOP_MS);
        let mut events = Events::with_capacity(1024);
        while !self.lingering.is_empty() && self.clock.now() < deadline {
            let left = Duration::from_millis(deadline.since_ms(self.clock.now()));
            if self.poll.poll(&mut events, Some(left)).is_err() {
                return;
            }
            self.drain_lingering();
        }
    }
}

/// Ends the loop's sleep from another thread.
fn wake_by(waker: &Arc<Waker>) -> impl Fn() + Send + 'static {
    let waker = Arc::clone(waker);
    move || {
        if let Err(error) = waker.wake() {
            error!("cannot wake the event loop: {error}");
        }
    }
}

/// Thousands of peers need thousands of descriptors: takes as many as the system allows.
fn raise_descriptor_limit() {
    let outcome = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = outcome {
        warn!("cannot raise the limit on open files: {error}");
    }
}

fn listen_failed(address: SocketAddr, error: &io::Error) -> String {
    let remedy = match error.raw_os_error() {
        Some(libc::EACCES) => "ports below 1024 need CAP_NET_BIND_SERVICE; run as root or set speaker.listen",
        Some(libc::EADDRINUSE) => "another program listens there; stop it or set speaker.listen",
        Some(libc::EADDRNOTAVAIL) => "no interface has that address; set speaker.listen",
        _ => "see speaker.listen",
    };
    format!("cannot listen on {address}: {error}: {remedy}")
}
