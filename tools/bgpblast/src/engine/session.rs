//! One session: as much of RFC 4271 §8 as a load tool needs. There is one connection at a time, so nothing collides.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use kulan::types::{Family, FamilySet};
use kulan::wire::capability::AddPathFamily;
use kulan::wire::frame::{EXTENDED_MESSAGE_LEN_MAX, MESSAGE_LEN_MAX, encode_keepalive};
use kulan::wire::notification::{self, cease};
use kulan::wire::{Capability, DecodeContext, EncodeContext, MessageKind, Notification, Open, next_frame};
use mio::net::TcpStream;

use super::decode::Decoder;
use super::{Arrival, Payload, Peer, PeerNumber, READ_BYTES, WRITE_BYTES};
use crate::attributes::SetId;
use crate::truth::Held;

/// How far a session is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing was asked of it yet.
    Idle,
    /// The TCP connection is being made.
    Connecting,
    /// The speaker's connection is waited for.
    Listening,
    /// We sent OPEN.
    OpenSent,
    /// We have the speaker's OPEN and sent KEEPALIVE.
    OpenConfirm,
    /// Routes flow.
    Established,
    /// It ended before it was Established, for this reason.
    Refused(String),
    /// It was Established and ended, for this reason.
    Dropped(String),
    /// We ended it.
    Closed,
}

/// What was negotiated for what we send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Encoding {
    /// AS numbers and the longest message.
    pub context: EncodeContext,
    /// The families whose routes are sent with path identifiers.
    pub add_path: FamilySet,
}

/// What a session has counted.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Octets that came in.
    pub received_bytes: u64,
    /// Octets that the kernel took from us.
    pub sent_bytes: u64,
    /// UPDATEs that came in.
    pub updates: u64,
    /// Routes that were announced to us.
    pub announced: u64,
    /// Routes that were withdrawn from us.
    pub withdrawn: u64,
    /// Announcements of what was held already.
    pub duplicates: u64,
    /// The first of them.
    pub duplicate: Option<u32>,
    /// Withdrawals of what was not held.
    pub needless_withdrawals: u64,
    /// The first of them.
    pub needless_withdrawal: Option<u32>,
    /// Withdrawals of what nobody had taken back.
    pub unexpected_withdrawals: u64,
    /// The first of them.
    pub unexpected_withdrawal: Option<u32>,
    /// UPDATEs with errors of RFC 7606.
    pub malformed: u64,
    /// The first of them.
    pub malformed_what: Option<String>,
    /// End-of-RIB markers of this session, by [`Family::index`].
    pub ends_of_rib: [u32; 2],
    /// How many routes were held when the last End-of-RIB came.
    pub held_at_end_of_rib: Option<usize>,
    /// Whether routes that the speaker had when the session began came behind the End-of-RIB.
    pub end_of_rib_early: bool,
    /// Whether the speaker offers graceful restart, and therefore owes an End-of-RIB.
    pub graceful: bool,
    /// How often the session ended although nobody wanted it to.
    pub drops: u64,
    /// How often the speaker was silent for longer than the hold time.
    pub hold_expiries: u64,
    /// How often a connection was refused or ended before the session was Established.
    pub refusals: u64,
    /// The last reason of a drop or a refusal.
    pub reason: Option<String>,
    /// When the session was Established last.
    pub established_at: Option<Instant>,
    /// When the last UPDATE came.
    pub last_update: Option<Instant>,
}

/// What a session needs of the engine.
pub(super) struct Context<'e> {
    pub decoder: &'e mut Decoder,
    pub buffer: &'e mut [u8],
    pub number: PeerNumber,
    pub now: Instant,
}

#[derive(Debug)]
pub(super) struct Session {
    pub peer: Peer,
    pub state: State,
    pub counts: Counts,
    pub held: Held,
    pub encoding: Encoding,
    pub stalled: bool,
    pub withdrawals_expected: bool,
    /// Whether it stands in the engine's list of those that want a turn.
    pub queued: bool,
    pub readable: bool,
    pub writable: bool,
    socket: Option<TcpStream>,
    outgoing: VecDeque<(Payload, usize)>,
    /// The beginning of a message whose rest has not come yet.
    partial: Vec<u8>,
    decoding: DecodeContext,
    message_len_max: usize,
    hold_time: Duration,
    last_sent: Instant,
    last_received: Instant,
}

impl Session {
    pub fn new(peer: Peer) -> Session {
        let now = Instant::now();
        Session {
            held: Held::new(peer.add_path),
            state: State::Idle,
            counts: Counts::default(),
            encoding: Encoding::default(),
            stalled: false,
            withdrawals_expected: false,
            queued: false,
            readable: false,
            writable: false,
            socket: None,
            outgoing: VecDeque::new(),
            partial: Vec::new(),
            decoding: DecodeContext {
                four_octet_as: true,
                external: true,
                families: peer.families,
                add_path: FamilySet::EMPTY,
                extended_next_hop: false,
            },
            message_len_max: MESSAGE_LEN_MAX,
            hold_time: Duration::ZERO,
            last_sent: now,
            last_received: now,
            peer,
        }
    }

    pub fn is_established(&self) -> bool {
        self.state == State::Established
    }

    pub fn is_open(&self) -> bool {
        self.socket.is_some()
    }

    pub fn has_outgoing(&self) -> bool {
        !self.outgoing.is_empty()
    }

    pub fn wants_turn(&self) -> bool {
        self.is_open()
            && ((self.readable && !self.stalled)
                || (self.writable && (self.has_outgoing() || self.state == State::Connecting)))
    }

    pub fn dialled(&mut self, stream: TcpStream) {
        self.begin(stream);
        self.state = State::Connecting;
    }

    pub fn listening(&mut self) {
        self.state = State::Listening;
    }

    pub fn accepted(&mut self, stream: TcpStream, context: &mut Context<'_>) {
        self.begin(stream);
        self.open(context);
    }

    fn begin(&mut self, stream: TcpStream) {
        self.socket = Some(stream);
        self.outgoing.clear();
        self.partial = Vec::new();
        self.readable = false;
        self.writable = false;
        self.message_len_max = MESSAGE_LEN_MAX;
        self.hold_time = Duration::ZERO;
        self.counts.ends_of_rib = [0; 2];
        self.counts.held_at_end_of_rib = None;
        self.last_received = Instant::now();
        if !self.held.is_empty() {
            self.held.clear();
        }
    }

    fn open(&mut self, context: &mut Context<'_>) {
        self.state = State::OpenSent;
        let peer = &self.peer;
        let mut capabilities: Vec<Capability> = peer.families.iter().map(Capability::multiprotocol).collect();
        capabilities.extend([Capability::RouteRefresh, Capability::FourOctetAs(peer.asn)]);
        // Without any family it only asks for End-of-RIB (RFC 4724 §3).
        capabilities.push(Capability::GracefulRestart(Default::default()));
        if peer.extended_messages {
            capabilities.push(Capability::ExtendedMessage);
            self.message_len_max = EXTENDED_MESSAGE_LEN_MAX;
        }
        if peer.add_path {
            let both = |family: Family| AddPathFamily {
                afi: family.afi(),
                safi: family.safi(),
                receive: true,
                send: true,
            };
            capabilities.push(Capability::AddPath(peer.families.iter().map(both).collect()));
        }
        let open =
            Open { asn: peer.asn, hold_time_s: peer.hold_time_s, router_id: peer.router_id, capabilities };
        let mut octets = Vec::new();
        open.encode(&mut octets);
        self.writable = true;
        self.send(Payload::new(octets.into()), context);
    }

    pub fn send(&mut self, payload: Payload, context: &mut Context<'_>) {
        if self.is_open() && !payload.is_empty() {
            self.outgoing.push_back((payload, 0));
            self.flush(context);
        }
    }

    pub fn close(&mut self, gently: bool, context: &mut Context<'_>) {
        if gently && self.is_open() {
            let mut octets = Vec::new();
            Notification::new(notification::CEASE, cease::SHUTDOWN).encode(&mut octets);
            self.send(Payload::new(octets.into()), context);
        }
        self.end(State::Closed);
    }

    fn end(&mut self, state: State) {
        match &state {
            State::Refused(reason) => {
                self.counts.refusals += 1;
                self.counts.reason = Some(reason.clone());
            }
            State::Dropped(reason) => {
                self.counts.drops += 1;
                self.counts.reason = Some(reason.clone());
            }
            _ => {}
        }
        self.state = state;
        self.outgoing.clear();
        self.socket = None;
        self.stalled = false;
        if !self.held.is_empty() {
            self.held.clear();
        }
    }

    /// Ends it for a reason that is not ours.
    fn fail(&mut self, reason: String) {
        let state = if self.is_established() { State::Dropped(reason) } else { State::Refused(reason) };
        self.end(state);
    }

    /// Tells the speaker what it did wrong, and ends the session.
    fn complain(&mut self, notification: &Notification, context: &mut Context<'_>) {
        let mut octets = Vec::new();
        notification.encode(&mut octets);
        self.send(Payload::new(octets.into()), context);
        self.fail(format!("we sent {notification}"));
    }

    pub fn look_at_timers(&mut self, context: &mut Context<'_>) {
        if !matches!(self.state, State::OpenConfirm | State::Established) || self.hold_time.is_zero() {
            return;
        }
        if !self.stalled && !self.readable && context.now - self.last_received > self.hold_time {
            self.counts.hold_expiries += 1;
            self.complain(&Notification::new(notification::HOLD_TIMER_EXPIRED, 0), context);
            return;
        }
        if self.outgoing.is_empty() && context.now - self.last_sent >= self.hold_time / 3 {
            self.keep_alive(context);
        }
    }

    fn keep_alive(&mut self, context: &mut Context<'_>) {
        let mut octets = Vec::new();
        encode_keepalive(&mut octets);
        self.send(Payload::new(octets.into()), context);
    }

    pub fn take_turn(&mut self, context: &mut Context<'_>) {
        if self.state == State::Connecting && self.writable {
            let socket = self.socket.as_ref();
            match socket.map_or(Ok(None), TcpStream::take_error) {
                Ok(None) => self.open(context),
                Ok(Some(error)) | Err(error) => return self.fail(format!("cannot connect: {error}")),
            }
        }
        if self.readable && !self.stalled {
            self.read(context);
        }
        if self.writable {
            self.flush(context);
        }
    }

    fn flush(&mut self, context: &mut Context<'_>) {
        if self.state == State::Connecting {
            return;
        }
        let mut budget = WRITE_BYTES;
        while let Some((payload, offset)) = self.outgoing.front_mut().filter(|_| budget > 0) {
            let Some(socket) = &mut self.socket else { return };
            let octets = payload.octets();
            let end = octets.len().min(*offset + budget);
            match socket.write(&octets[*offset..end]) {
                Ok(written) => {
                    *offset += written;
                    budget -= written;
                    self.counts.sent_bytes += written as u64;
                    self.last_sent = context.now;
                    if *offset == octets.len() {
                        self.outgoing.pop_front();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.writable = false;
                    return;
                }
                // What the speaker said before it hung up is still to be read.
                Err(_) if self.readable => {
                    self.outgoing.clear();
                    return;
                }
                Err(error) => return self.fail(format!("cannot send: {error}")),
            }
        }
    }

    fn read(&mut self, context: &mut Context<'_>) {
        let Some(socket) = &mut self.socket else { return };
        let kept = self.partial.len();
        context.buffer[..kept].copy_from_slice(&self.partial);
        let end = match socket.read(&mut context.buffer[kept..kept + READ_BYTES]) {
            Ok(0) => return self.fail("the speaker closed the connection".to_string()),
            Ok(count) => kept + count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                return;
            }
            Err(error) => return self.fail(format!("cannot read: {error}")),
        };
        self.counts.received_bytes += (end - kept) as u64;
        self.last_received = context.now;
        let buffer = std::mem::take(&mut context.buffer);
        let used = self.take_messages(&buffer[..end], context);
        match used {
            Ok(used) => {
                self.partial.clear();
                self.partial.extend_from_slice(&buffer[used..end]);
                context.buffer = buffer;
            }
            Err(notification) => {
                context.buffer = buffer;
                if self.is_open() {
                    self.complain(&notification, context);
                }
            }
        }
    }

    /// Works through whole messages and returns where the rest begins.
    fn take_messages(&mut self, octets: &[u8], context: &mut Context<'_>) -> Result<usize, Notification> {
        let mut start = 0;
        while let Some(frame) = next_frame(&octets[start..], self.message_len_max)? {
            start += frame.len;
            match (frame.kind, &self.state) {
                (MessageKind::Update, State::Established) => self.take_update(frame.body, context)?,
                (MessageKind::Keepalive, State::OpenConfirm) => {
                    self.state = State::Established;
                    self.counts.established_at = Some(context.now);
                }
                (MessageKind::Open, State::OpenSent) => self.take_open(&Open::decode(frame.body)?, context),
                (MessageKind::Notification, _) => {
                    let said = Notification::decode(frame.body)
                        .map_or_else(|_| "a malformed NOTIFICATION".to_string(), |it| it.to_string());
                    self.fail(format!("the speaker sent {said}"));
                    return Ok(start);
                }
                (MessageKind::Keepalive | MessageKind::RouteRefresh, State::Established) => {}
                _ => return Err(Notification::new(notification::FSM, 0)),
            }
        }
        Ok(start)
    }

    fn take_open(&mut self, open: &Open, context: &mut Context<'_>) {
        let mut both = FamilySet::EMPTY;
        let (mut add_path_in, mut add_path_out) = (FamilySet::EMPTY, FamilySet::EMPTY);
        for family in open.families().iter().filter(|family| self.peer.families.contains(*family)) {
            both.insert(family);
            if let Some(theirs) = open.add_path(family).filter(|_| self.peer.add_path) {
                if theirs.send {
                    add_path_in.insert(family);
                }
                if theirs.receive {
                    add_path_out.insert(family);
                }
            }
        }
        let four_octet_as = open.four_octet_as().is_some();
        let extended = self.peer.extended_messages && open.extended_message();
        self.decoding = DecodeContext {
            four_octet_as,
            external: open.asn != self.peer.asn,
            families: both,
            add_path: add_path_in,
            extended_next_hop: false,
        };
        self.encoding = Encoding {
            context: EncodeContext {
                four_octet_as,
                message_len_max: if extended { EXTENDED_MESSAGE_LEN_MAX } else { MESSAGE_LEN_MAX },
            },
            add_path: add_path_out,
        };
        self.hold_time = Duration::from_secs(u64::from(open.hold_time_s.min(self.peer.hold_time_s)));
        self.counts.graceful = open.graceful_restart().is_some();
        self.state = State::OpenConfirm;
        self.keep_alive(context);
    }

    fn take_update(&mut self, body: &[u8], context: &mut Context<'_>) -> Result<(), Notification> {
        self.counts.updates += 1;
        self.counts.last_update = Some(context.now);
        if !self.peer.receives {
            return Ok(());
        }
        let decoder = &mut *context.decoder;
        let decoded = decoder.decode(body, &self.decoding)?;
        if let Some(what) = decoded.malformed {
            self.counts.malformed += 1;
            self.counts.malformed_what.get_or_insert(what);
        }
        let mut path_ids = decoder.path_ids.iter().copied();
        let watched = decoder.watched.clone();
        let mut arrived = |number: u32, announced: bool| {
            if watched.contains(&number) {
                let at = Instant::now();
                decoder.arrivals.push(Arrival { receiver: context.number, number, announced, at });
            }
        };
        self.counts.withdrawn += decoded.withdrawn.len() as u64;
        for &number in &decoder.numbers[decoded.withdrawn] {
            let had = if decoded.has_path_ids {
                self.held.put_path(number, path_ids.next().unwrap_or(0), SetId::NONE)
            } else {
                self.held.put(number, SetId::NONE)
            };
            if had == SetId::NONE {
                self.counts.needless_withdrawals += 1;
                self.counts.needless_withdrawal.get_or_insert(number);
            } else if !self.withdrawals_expected {
                self.counts.unexpected_withdrawals += 1;
                self.counts.unexpected_withdrawal.get_or_insert(number);
            }
            arrived(number, false);
        }
        for (range, set) in decoded.announced {
            self.counts.announced += range.len() as u64;
            // Nearly all routes of a run come this way, and a hundred receivers at once keep the tool busy: it is not asked
            // of each route whether somebody watches for it.
            if watched.is_empty() && !decoded.has_path_ids {
                for &number in &decoder.numbers[range] {
                    if self.held.put(number, set) == set {
                        self.counts.duplicates += 1;
                        self.counts.duplicate.get_or_insert(number);
                    }
                }
                continue;
            }
            for &number in &decoder.numbers[range] {
                let had = if decoded.has_path_ids {
                    self.held.put_path(number, path_ids.next().unwrap_or(0), set)
                } else {
                    self.held.put(number, set)
                };
                if had == set {
                    self.counts.duplicates += 1;
                    self.counts.duplicate.get_or_insert(number);
                }
                arrived(number, true);
            }
        }
        if let Some(family) = decoded.end_of_rib {
            self.counts.ends_of_rib[family.index()] += 1;
            self.counts.held_at_end_of_rib = Some(self.held.len());
        }
        Ok(())
    }
}
