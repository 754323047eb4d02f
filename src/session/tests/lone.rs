//! One session by itself, its peer played by the test, message by message.

use std::rc::Rc;

use super::network::settings;
use crate::session::{Output, Session, SessionSettings, Slot, State, negotiate};
use crate::types::{FamilySet, Time};
use crate::wire::frame::{HEADER_LEN, MESSAGE_LEN_MAX, MessageKind, next_frame};
use crate::wire::notification::Notification;

pub struct Lone {
    pub session: Session,
    pub now: Time,
}

impl Lone {
    /// A session that is not started.
    pub fn new(settings: SessionSettings) -> Lone {
        Lone { session: Session::new(Rc::new(settings), false, 1), now: Time(5000) }
    }

    /// A session that has dialled and come to `state`; what it asked for on the way is forgotten.
    pub fn at(state: State, settings: SessionSettings) -> Lone {
        let mut lone = Lone::new(settings);
        lone.input(|session, now| session.handle_start(now));
        for (reached, kind, body) in [
            (State::Connect, None, Vec::new()),
            (State::OpenSent, Some(MessageKind::Open), peer_open_body(&peer_settings())),
            (State::OpenConfirm, Some(MessageKind::Keepalive), Vec::new()),
        ] {
            if lone.session.state() == state {
                break;
            }
            assert_eq!(lone.session.state(), reached);
            match kind {
                None => lone.input(|session, now| session.handle_connected(Slot::A, now)),
                Some(kind) => lone.message(Slot::A, kind, &body),
            };
        }
        assert_eq!(lone.session.state(), state);
        lone
    }

    /// Gives an input and takes what the session asks for.
    pub fn input<T>(&mut self, input: impl FnOnce(&mut Session, Time) -> T) -> Vec<Output> {
        input(&mut self.session, self.now);
        self.session.check_invariants();
        std::iter::from_fn(|| self.session.poll_output()).collect()
    }

    /// A message from the peer.
    pub fn message(&mut self, slot: Slot, kind: MessageKind, body: &[u8]) -> Vec<Output> {
        self.input(|session, now| match kind {
            MessageKind::Update => {
                let _ = session.update_arrived(slot, now);
            }
            kind => session.handle_message(slot, kind, body, now),
        })
    }

    /// The peer dials us.
    pub fn accept(&mut self) -> (Option<Slot>, Vec<Output>) {
        let mut slot = None;
        let outputs = self.input(|session, now| slot = session.handle_accepted(now));
        (slot, outputs)
    }

    /// Time passes; timers are served at their moments.
    pub fn pass_s(&mut self, s: u64) -> Vec<Output> {
        let until = self.now.plus_s(s);
        let mut outputs = Vec::new();
        while let Some(at) = self.session.next_deadline().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            outputs.extend(self.input(|session, now| session.handle_timeout(false, now)));
        }
        self.now = until;
        outputs
    }
}

/// The settings of the peer that the tests play.
pub fn peer_settings() -> SessionSettings {
    settings(0x0a00_0002)
}

/// The body of an OPEN such as a peer with these settings sends.
pub fn peer_open_body(settings: &SessionSettings) -> Vec<u8> {
    negotiate::our_open(settings, false, false, FamilySet::EMPTY)[HEADER_LEN..].to_vec()
}

/// The NOTIFICATION among some outputs, with the slot, if it is followed by the end of its connection.
pub fn notification(outputs: &[Output]) -> Option<(Slot, Notification)> {
    outputs.windows(2).find_map(|pair| {
        let [Output::Send(slot, bytes), Output::Close(closed)] = pair else { return None };
        let frame = next_frame(bytes, MESSAGE_LEN_MAX).expect("our own message").expect("a whole one");
        assert_eq!((frame.kind, slot), (MessageKind::Notification, closed));
        Some((*slot, Notification::decode(frame.body).expect("our own message")))
    })
}
