//! The harness of the `session` target: a peer, a network and a person who do whatever the input says.
//!
//! The first byte chooses the settings. Then come steps, each begun by a byte: its lower three bits say what
//! happens, the fourth to which of the two connections.

use std::io::ErrorKind;
use std::rc::Rc;

use kulan::config::{AsnMatch, GracefulRestart};
use kulan::session::{Output, Session, SessionSettings, Slot, State};
use kulan::types::{Family, FamilySet, RouterId, Time};
use kulan::wire::frame::{HEADER_LEN, MESSAGE_LEN_MAX, MessageKind, next_frame};

/// More than any one input can lead to: a message that ends two connections, and what follows.
const OUTPUTS_MAX: usize = 12;

/// Runs one input.
pub fn session(data: &[u8]) {
    let Some((flags, mut rest)) = data.split_first() else { return };
    let settings = settings(*flags);
    let mut world = World {
        session: Session::new(Rc::new(settings), flags & 0x80 != 0, u64::from(*flags)),
        now: Time(1),
        streams: [Vec::new(), Vec::new()],
        up: false,
    };
    world.session.handle_start(world.now);
    world.carry_out();
    while let Some((step, after)) = rest.split_first() {
        rest = after;
        world.step(*step, &mut rest);
        world.carry_out();
    }
}

fn settings(flags: u8) -> SessionSettings {
    SessionSettings {
        local_asn: 65000,
        router_id: RouterId(0x0a00_0001),
        asn: if flags & 1 == 0 { AsnMatch::Any } else { AsnMatch::Internal },
        passive: flags & 2 != 0,
        hold_time_s: if flags & 4 == 0 { 90 } else { 0 },
        connect_retry_s: 10,
        families: if flags & 8 == 0 { FamilySet::ALL } else { FamilySet::only(Family::Ipv6Unicast) },
        route_reflector_client: flags & 1 != 0,
        graceful_restart: GracefulRestart {
            enabled: flags & 16 == 0,
            restart_time_s: 120,
            stale_time_s: 300,
            notification: flags & 32 == 0,
        },
        extended_messages: flags & 64 == 0,
        extended_next_hop: flags & 64 == 0,
    }
}

struct World {
    session: Session,
    now: Time,
    /// What came on each connection and is not a whole message yet.
    streams: [Vec<u8>; 2],
    up: bool,
}

impl World {
    fn step(&mut self, step: u8, rest: &mut &[u8]) {
        let slot = if step & 8 == 0 { Slot::A } else { Slot::B };
        let now = self.now;
        match step & 7 {
            0 => {
                let bytes = take_bytes(rest);
                self.read(slot, bytes);
            }
            1 => {
                // Well framed, so that inputs are quick to get behind the header.
                let kind = take(rest) % 5 + 1;
                let body = take_bytes(rest);
                let mut message = vec![0xff; HEADER_LEN];
                message[16..18].copy_from_slice(&((HEADER_LEN + body.len()) as u16).to_be_bytes());
                message[18] = kind;
                message.extend_from_slice(body);
                self.read(slot, &message);
            }
            2 => {
                self.now = now.plus_ms(1 << (take(rest) % 24));
                self.session.handle_timeout(step & 16 != 0, self.now);
            }
            3 => {
                if let Some(slot) = self.session.handle_accepted(now) {
                    self.streams[slot.index()].clear();
                }
            }
            4 => self.session.handle_connected(slot, now),
            5 => self.session.handle_closed(slot, (step & 16 != 0).then_some(ErrorKind::BrokenPipe), now),
            6 => self.session.note_sent(slot, 1, now),
            _ => self.command(take(rest), slot),
        }
    }

    fn command(&mut self, command: u8, slot: Slot) {
        let now = self.now;
        match command % 8 {
            0 => self.session.handle_start(now),
            1 => self.session.handle_shutdown("so long", now),
            2 => self.session.handle_reset("", now),
            3 => self.session.handle_deconfigured(now),
            4 => {
                let restart_s = (command & 8 != 0).then_some(60);
                self.session.handle_prefix_limit(Family::Ipv4Unicast, 1000, restart_s, now);
            }
            5 => self.session.handle_reconfigured(Rc::new(settings(command)), now),
            6 => self.session.handle_end_of_rib(Family::Ipv6Unicast),
            _ => self.session.note_blocked(slot, now),
        }
    }

    fn read(&mut self, slot: Slot, bytes: &[u8]) {
        self.streams[slot.index()].extend_from_slice(bytes);
        while self.session.slot_state(slot) >= State::OpenSent {
            let stream = std::mem::take(&mut self.streams[slot.index()]);
            match next_frame(&stream, self.session.message_len_max(slot)) {
                Ok(Some(frame)) => {
                    match frame.kind {
                        MessageKind::Update => {
                            let accepted = self.session.update_arrived(slot, self.now);
                            assert_eq!(accepted, self.session.established() == Some(slot));
                        }
                        kind => self.session.handle_message(slot, kind, frame.body, self.now),
                    }
                    self.streams[slot.index()] = stream[frame.len..].to_vec();
                }
                Ok(None) => {
                    self.streams[slot.index()] = stream;
                    return;
                }
                Err(error) => self.session.handle_error(slot, error, self.now),
            }
            self.carry_out();
        }
        self.streams[slot.index()].clear();
    }

    /// Checks what the session asks for: whole messages, and ups and downs that take turns.
    fn carry_out(&mut self) {
        let mut count = 0;
        while let Some(output) = self.session.poll_output() {
            count += 1;
            assert!(count <= OUTPUTS_MAX, "no end of outputs");
            match output {
                Output::Send(_, bytes) => {
                    let frame = next_frame(&bytes, MESSAGE_LEN_MAX).expect("our own message is well framed");
                    assert_eq!(frame.map(|frame| frame.len), Some(bytes.len()), "exactly one message");
                }
                Output::Established(_) => assert!(!std::mem::replace(&mut self.up, true), "up twice"),
                Output::Down { .. } => assert!(std::mem::replace(&mut self.up, false), "down twice"),
                _ => {}
            }
        }
        assert_eq!(self.session.established().is_some(), self.up);
        self.session.check_invariants();
    }
}

fn take(rest: &mut &[u8]) -> u8 {
    match rest.split_first() {
        Some((byte, after)) => {
            *rest = after;
            *byte
        }
        None => 0,
    }
}

/// A length and as many bytes, or as many as there are.
fn take_bytes<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let len = usize::from(take(rest)).min(rest.len());
    let (bytes, after) = rest.split_at(len);
    *rest = after;
    bytes
}
