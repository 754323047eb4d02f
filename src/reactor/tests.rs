//! The stages of a turn with real sockets: they keep to their budgets, in counts, since how long a stage takes is
//! the machine's business; and a connection is taken only if it is what its peer's settings ask for.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use mio::Events;
use socket2::{Domain, Socket, Type};

use super::*;
use crate::config::PeerSettings;
use crate::session::State;
use crate::types::RouterId;
use crate::wire::frame::{HEADER_LEN, encode_keepalive};
use crate::wire::{Capability, Open};

const CONFIG: &str = r#"
[speaker]
asn = 65000
router_id = "10.0.0.1"
[api]
grpc = []
[[domain]]
name = "default"
resolve_next_hops = false
[[dynamic_peer]]
range = "127.1.0.0/16"
asn = 65001
limit = 10000
hold_time_s = 0
"#;

/// An end to a test that cannot succeed any more.
const PATIENCE: Duration = Duration::from_secs(60);

fn reactor() -> Reactor {
    reactor_with(|_| {})
}

/// A reactor whose range of peers has other settings.
fn reactor_with(change: impl FnOnce(&mut PeerSettings)) -> Reactor {
    let mut config = config::parse(CONFIG, "tests.toml", Path::new(".")).expect("it is right");
    config.speaker.listen = vec![([127, 0, 0, 1], 0).into()];
    change(&mut config.dynamic_peers[0].settings);
    Reactor::new(config, PathBuf::new(), &[]).expect("a loopback address can be bound")
}

impl Reactor {
    /// Waits for events and takes note of them, as a turn does before its stages.
    fn wait(&mut self) {
        let mut events = Events::with_capacity(1024);
        self.poll.poll(&mut events, Some(PATIENCE)).expect("epoll works");
        assert!(!events.is_empty(), "nothing happens any more");
        for event in &events {
            match event.token() {
                Token(token) if token >= FIRST_CONN => {
                    self.note_conn_event(ConnId((token - FIRST_CONN) as u32), event);
                }
                _ => self.accept_ready = true,
            }
        }
    }

    fn keepalives_from(&self, peer: IpAddr) -> u64 {
        let id = self.speaker.find_peer(peer).expect("it was accepted");
        self.speaker.peers[id.index()].as_ref().expect("it is there").session.received().keepalive
    }
}

fn peer(number: u16) -> IpAddr {
    let [high, low] = number.to_be_bytes();
    [127, 1, high, low].into()
}

/// A connection from the address of a peer.
fn dial(reactor: &Reactor, from: IpAddr) -> TcpStream {
    dial_with(reactor, from, |_| {})
}

/// A connection whose socket is prepared.
fn dial_with(reactor: &Reactor, from: IpAddr, prepare: impl FnOnce(&Socket)) -> TcpStream {
    let to = reactor.listeners[0].local_addr().expect("it is bound");
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket can be made");
    prepare(&socket);
    socket.bind(&SocketAddr::new(from, 0).into()).expect("all of 127.0.0.0/8 is here");
    socket.connect(&to.into()).expect("somebody listens");
    socket.into()
}

#[test]
fn floods_are_read_a_slice_of_each_and_a_share_of_all_in_a_turn() {
    let mut reactor = reactor();
    // More peers than a turn has slices for, each with more than a slice: one KEEPALIVE for the session, and a
    // flood of them.
    let flood = 2 * READ_SLICE_BYTES / HEADER_LEN;
    let peers: Vec<IpAddr> =
        (1..=READ_TURN_BYTES / READ_SLICE_BYTES + 2).map(|number| peer(number as u16)).collect();
    let dialled = peers.iter().map(|from| dial(&reactor, *from));
    let streams: Vec<TcpStream> = dialled
        .map(|mut stream| {
            let open = Open {
                asn: 65001,
                hold_time_s: 0,
                router_id: RouterId(7),
                capabilities: vec![Capability::FourOctetAs(65001)],
            };
            let mut bytes = Vec::new();
            open.encode(&mut bytes);
            (0..1 + flood).for_each(|_| encode_keepalive(&mut bytes));
            // The kernel's buffers have room for so little.
            stream.write_all(&bytes).expect("the connection stands");
            stream
        })
        .collect();
    while reactor.speaker.peer_ids().len() < peers.len() {
        reactor.wait();
        reactor.accept();
    }
    let mut more = true;
    while peers.iter().any(|from| reactor.keepalives_from(*from) < 1 + flood as u64) {
        if !more {
            reactor.wait();
        }
        let before: Vec<u64> = peers.iter().map(|from| reactor.keepalives_from(*from)).collect();
        more = reactor.read();
        let mut all_bytes = 0;
        for (from, before) in peers.iter().zip(before) {
            let bytes = (reactor.keepalives_from(*from) - before) as usize * HEADER_LEN;
            // A message that the slice before had begun may end in this one.
            assert!(bytes < READ_SLICE_BYTES + HEADER_LEN, "{bytes} bytes of {from} in a turn");
            all_bytes += bytes;
        }
        // The last slice is not cut short.
        assert!(all_bytes < READ_TURN_BYTES + READ_SLICE_BYTES, "{all_bytes} bytes in a turn");
    }
    drop(streams);
}

#[test]
fn connections_are_accepted_a_number_at_a_time() {
    let mut reactor = reactor();
    let count = ACCEPTS_PER_TURN + 10;
    let streams: Vec<_> = (1..=count).map(|number| dial(&reactor, peer(number as u16))).collect();
    assert!(reactor.accept(), "there are more");
    assert_eq!(reactor.speaker.peer_ids().len(), ACCEPTS_PER_TURN);
    assert!(!reactor.accept(), "that was all");
    assert_eq!(reactor.speaker.peer_ids().len(), count);
    drop(streams);
}

#[test]
fn requests_are_answered_a_number_at_a_time() {
    let mut reactor = reactor();
    let (requests, receiver) = crossbeam_channel::bounded(control::message::REQUESTS_MAX);
    reactor.requests = receiver;
    let mut answers: Vec<_> = (0..REQUESTS_PER_TURN + 3)
        .map(|_| {
            let (reply, answer) = control::message::Reply::new();
            requests.send(Request::Summary(reply)).expect("there is room");
            answer
        })
        .collect();
    let mut answered = || answers.extract_if(.., |answer| answer.try_recv().is_ok()).count();
    assert!(reactor.answer(), "there may be more");
    assert_eq!(answered(), REQUESTS_PER_TURN);
    assert!(reactor.answer());
    assert_eq!(answered(), 3);
    assert!(!reactor.answer(), "that was all");
}

#[test]
fn who_must_be_near_must_have_been_near_from_the_first_packet_on() {
    let mut reactor = reactor_with(|settings| settings.ttl_security_hops = Some(1));
    let mut far = dial_with(&reactor, peer(1), |socket| {
        socket.set_ttl_v4(254).expect("a TTL can be set");
    });
    reactor.accept();
    assert_eq!(reactor.speaker.peer_ids().len(), 0, "one hop too far");
    assert_eq!(far.read(&mut [0]).expect("the end of the connection is no error"), 0, "it is closed");

    let near = dial_with(&reactor, peer(1), |socket| {
        sockopt::set_ttl_security(socket, peer(1), 1).expect("the kernel knows GTSM");
    });
    reactor.accept_ready = true;
    reactor.accept();
    assert_eq!(reactor.speaker.peer_ids().len(), 1);
    drop(near);
}

#[test]
fn who_has_a_key_must_have_signed() {
    let key = || Secret::new(b"key".to_vec());
    let mut reactor = reactor_with(|settings| settings.password = Some(key()));
    // The listener gets its key after it has begun to listen: this connection was made before.
    let unsigned = dial(&reactor, peer(1));
    reactor.act();
    reactor.accept();
    assert_eq!(reactor.speaker.peer_ids().len(), 0, "it is not signed");
    drop(unsigned);

    let listener = reactor.listeners[0].local_addr().expect("it is bound").ip();
    let signed = dial_with(&reactor, peer(1), |socket| {
        sockopt::set_md5_key(socket, Prefix::host(listener), &key()).expect("the kernel knows MD5");
    });
    reactor.accept_ready = true;
    reactor.accept();
    assert_eq!(reactor.speaker.peer_ids().len(), 1);
    drop(signed);
}

#[test]
fn a_connection_whose_socket_cannot_be_set_up_is_closed() {
    // No configuration file can say this, and no kernel can do it.
    let mut reactor = reactor_with(|settings| settings.multihop_ttl = Some(0));
    let mut stream = dial(&reactor, peer(1));
    reactor.accept();
    let states = reactor
        .speaker
        .peer_ids()
        .into_iter()
        .map(|id| reactor.speaker.peers[id.index()].as_ref().expect("it is there").session.state());
    assert!(states.into_iter().all(|state| state < State::OpenSent), "a session came up on it");
    reactor.act();
    assert_eq!(stream.read(&mut [0]).expect("the end of the connection is no error"), 0, "it is closed");
}
