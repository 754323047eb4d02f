//! The harness of the `speaker` target: a whole speaker with four established peers, who send what the input says.
//!
//! What the speaker tells them in turn must be well formed and leave a careful receiver without a finding, whatever
//! it was told before. Steps are each begun by a byte: its lower two bits say which peer, the next three what
//! happens.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use kulan::config;
use kulan::speaker::{Action, Speaker};
use kulan::types::{ConnId, FamilySet, Time};
use kulan::wire::frame::{EXTENDED_MESSAGE_LEN_MAX, HEADER_LEN, MESSAGE_LEN_MAX, MessageKind, next_frame};
use kulan::wire::{DecodeContext, decode_update};
use smallvec::SmallVec;

/// Policies that make attributes grow, and every kind of peer.
const CONFIG: &str = r#"
[speaker]
asn = 65000
router_id = "10.0.0.1"
[[policy]]
name = "grow"
[[policy.rule]]
set = { add_communities = ["65000:1"], add_large_communities = ["65000:1:2"], prepend = { asn = 65000, count = 3 } }
then = "accept"
[[network]]
prefix = "10.99.0.0/16"
[[peer]]
address = "10.0.0.2"
asn = "internal"
passive = true
route_reflector_client = true
import = "grow"
families = ["ipv4-unicast", "ipv6-unicast"]
[[peer]]
address = "10.0.0.3"
asn = 65003
passive = true
import = "grow"
export = "grow"
families = ["ipv4-unicast", "ipv6-unicast"]
extended_next_hop = true
[[peer]]
address = "10.0.0.4"
asn = 65004
passive = true
import = "accept"
export = "accept"
families = ["ipv4-unicast", "ipv6-unicast"]
[[peer]]
address = "10.0.0.5"
asn = "internal"
passive = true
families = ["ipv4-unicast", "ipv6-unicast"]
"#;

/// By peer: its AS, whether it has four octets for AS numbers, and whether it takes extended messages.
const PEERS: [(u16, bool, bool); 4] =
    [(65000, true, true), (65003, false, true), (65004, true, false), (65000, false, false)];

/// More turns than any input can keep a speaker busy.
const TURNS_MAX: usize = 1000;

/// Runs one input.
pub fn speaker(mut data: &[u8]) {
    let config = config::parse(CONFIG, "fuzz.toml", Path::new("/")).expect("our own configuration is right");
    let mut world = World {
        speaker: Speaker::new(config, 7),
        now: Time(1),
        conns: [None; 4],
        streams: Default::default(),
    };
    world.speaker.start(world.now);
    for peer in 0..PEERS.len() {
        world.connect(peer);
    }
    world.settle();
    assert!(world.conns.iter().all(Option::is_some), "every peer comes up");
    while let Some(step) = take(&mut data) {
        world.step(step, &mut data);
    }
    world.settle();
}

struct World {
    speaker: Speaker,
    now: Time,
    conns: [Option<ConnId>; 4],
    /// What each peer was sent and that is not a whole message yet.
    streams: [Vec<u8>; 4],
}

impl World {
    /// A peer connects and says what it can.
    fn connect(&mut self, peer: usize) {
        let address = |last| SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)), 179);
        self.streams[peer].clear();
        let Ok(accepted) = self.speaker.accept(self.now, address(peer as u8 + 2), address(1), None) else {
            return;
        };
        self.conns[peer] = Some(accepted.conn);
        let (asn, four_octet_as, extended) = PEERS[peer];
        let mut capabilities = vec![1, 4, 0, 1, 0, 1, 1, 4, 0, 2, 0, 1, 2, 0, 70, 0, 5, 6, 0, 1, 0, 1, 0, 2];
        if four_octet_as {
            capabilities.extend([65, 4, 0, 0]);
            capabilities.extend(asn.to_be_bytes());
        }
        if extended {
            capabilities.extend([6, 0]);
        }
        let mut open = vec![4];
        open.extend(asn.to_be_bytes());
        open.extend([0, 90, 10, 0, 0, peer as u8 + 2]);
        open.extend([capabilities.len() as u8 + 2, 2, capabilities.len() as u8]);
        open.extend(capabilities);
        self.receive(peer, &message(1, &open));
        self.receive(peer, &message(4, &[]));
    }

    fn step(&mut self, step: u8, rest: &mut &[u8]) {
        let peer = usize::from(step & 3);
        match step >> 2 & 7 {
            0 | 1 => {
                let body = take_bytes(rest).to_vec();
                self.receive(peer, &message(2, &body));
            }
            // A plain route with more attributes and prefixes of the input's choice.
            2..4 => {
                let (more, nlri) = (take_bytes(rest).to_vec(), take_bytes(rest).to_vec());
                let update = self.update(peer, &more, &nlri);
                self.receive(peer, &message(2, &update));
            }
            // The same attribute again and again: what is long for one message is longer after it was changed.
            4 => {
                let (code, count) = (take(rest).unwrap_or(0), usize::from(take(rest).unwrap_or(0)) * 256);
                let unit = take_bytes(rest).to_vec();
                let value: Vec<u8> = unit.into_iter().cycle().take(count).collect();
                let mut attribute = vec![0xd0, code];
                attribute.extend((value.len() as u16).to_be_bytes());
                attribute.extend(value);
                let update = self.update(peer, &attribute, &[24, 10, 1, 1]);
                self.receive(peer, &message(2, &update));
            }
            5 => {
                let bytes = take_bytes(rest).to_vec();
                self.receive(peer, &bytes);
            }
            6 => {
                self.now = self.now.plus_ms(1 << (take(rest).unwrap_or(0) % 20));
                self.speaker.advance(self.now, &|_| false);
                self.settle();
            }
            _ => {
                if let Some(conn) = self.conns[peer].take() {
                    self.speaker.closed(self.now, conn, None);
                }
                self.connect(peer);
            }
        }
        if step & 0x80 != 0 {
            self.settle();
        }
    }

    /// An UPDATE that `peer` could send, with `more` attributes.
    fn update(&self, peer: usize, more: &[u8], nlri: &[u8]) -> Vec<u8> {
        let (asn, four_octet_as, _) = PEERS[peer];
        let mut attributes = vec![0x40, 1, 1, 0];
        match (asn, four_octet_as) {
            (65000, _) => attributes.extend([0x40, 2, 0, 0x40, 5, 4, 0, 0, 0, 100]),
            (_, true) => {
                attributes.extend([0x40, 2, 6, 2, 1, 0, 0]);
                attributes.extend(asn.to_be_bytes());
            }
            (_, false) => {
                attributes.extend([0x40, 2, 4, 2, 1]);
                attributes.extend(asn.to_be_bytes());
            }
        }
        attributes.extend([0x40, 3, 4, 10, 0, 0, peer as u8 + 2]);
        attributes.extend(more);
        let mut body = vec![0, 0];
        body.extend((attributes.len() as u16).to_be_bytes());
        body.extend(attributes);
        body.extend(nlri);
        body
    }

    fn receive(&mut self, peer: usize, bytes: &[u8]) {
        let Some(conn) = self.conns[peer].filter(|conn| self.speaker.wants_bytes(*conn)) else { return };
        self.speaker.receive(self.now, conn, bytes);
        self.act();
    }

    fn act(&mut self) {
        while let Some(action) = self.speaker.poll_action() {
            if let Action::Close { conn, last_words } = action {
                let Some(peer) = self.conns.iter().position(|own| *own == Some(conn)) else { continue };
                self.conns[peer] = None;
                self.read(peer, &last_words);
            }
        }
    }

    /// Lets the speaker do all that there is to do.
    fn settle(&mut self) {
        for turn in 0.. {
            assert!(turn < TURNS_MAX, "no end of work");
            let mut more = self.speaker.work(self.now);
            self.act();
            while let Some(conn) = self.speaker.poll_dirty() {
                let mut slices = SmallVec::new();
                let offered = self.speaker.fill(conn, &mut slices);
                let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
                drop(slices);
                if offered == 0 {
                    continue;
                }
                assert_eq!(bytes.len(), offered);
                self.speaker.sent(self.now, conn, offered, true);
                self.speaker.mark_dirty(conn);
                if let Some(peer) = self.conns.iter().position(|own| *own == Some(conn)) {
                    self.read(peer, &bytes);
                }
                more = true;
            }
            if !more && !self.speaker.wants_work() {
                return;
            }
        }
    }

    /// A careful receiver reads what it was sent.
    fn read(&mut self, peer: usize, bytes: &[u8]) {
        let (asn, four_octet_as, extended) = PEERS[peer];
        let stream = &mut self.streams[peer];
        stream.extend_from_slice(bytes);
        let max_len = if extended { EXTENDED_MESSAGE_LEN_MAX } else { MESSAGE_LEN_MAX };
        let context = DecodeContext {
            four_octet_as,
            external: asn != 65000,
            families: FamilySet::ALL,
            add_path: FamilySet::EMPTY,
            extended_next_hop: peer == 1,
        };
        let mut start = 0;
        while let Some(frame) = next_frame(&stream[start..], max_len).expect("what we send is well framed") {
            if frame.kind == MessageKind::Update {
                let update = decode_update(frame.body, &context).expect("what we send is well formed");
                assert!(update.findings().is_empty(), "peer {peer}: {:?}", update.findings());
            }
            start += frame.len;
        }
        stream.drain(..start);
    }
}

/// A message with a header, as long as a header can say.
fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let body = &body[..body.len().min(EXTENDED_MESSAGE_LEN_MAX - HEADER_LEN)];
    let mut message = vec![0xff; 16];
    message.extend(((HEADER_LEN + body.len()) as u16).to_be_bytes());
    message.push(kind);
    message.extend(body);
    message
}

fn take(rest: &mut &[u8]) -> Option<u8> {
    let (byte, after) = rest.split_first()?;
    *rest = after;
    Some(*byte)
}

/// A length and as many bytes, or as many as there are.
fn take_bytes<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let len = usize::from(take(rest).unwrap_or(0)).min(rest.len());
    let (bytes, after) = rest.split_at(len);
    *rest = after;
    bytes
}
