//! One speaker for tests, whose peers are only bytes.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use smallvec::SmallVec;

use super::Speaker;
use crate::config::{self, Config};
use crate::types::*;
use crate::wire::attrs::Origin;
use crate::wire::encode::encode_announce;
use crate::wire::frame::encode_keepalive;
use crate::wire::{AttributeEditor, AttributeSection, Capability, EncodeContext, Open};

/// External peers from anywhere in a range, who may say and hear everything.
pub const EXTERNAL: &str = r#"
[[dynamic_peer]]
range = "10.0.0.0/24"
asn = "external"
import = "accept"
export = "accept"
hold_time_s = 0
"#;

pub const V4: Family = Family::Ipv4Unicast;
pub const NOW: Time = Time(1000);

pub fn peer_address(number: u8) -> IpAddr {
    [10, 0, 0, number].into()
}

/// Of external peers.
pub fn peer_asn(number: u8) -> u32 {
    65000 + u32::from(number)
}

/// A configuration of AS 65000 with these lines.
pub fn config(lines: &str) -> Config {
    let text = format!(
        "[speaker]\nasn = 65000\nrouter_id = \"10.0.0.1\"\ncluster_id = \"10.9.9.9\"\n\
         [[domain]]\nname = \"default\"\nresolve_next_hops = false\n{lines}"
    );
    config::parse(&text, "lone.toml", Path::new(".")).expect("it is right")
}

pub struct Lone {
    pub speaker: Speaker,
}

impl Lone {
    pub fn new(config: Config) -> Lone {
        let mut speaker = Speaker::new(config, 1);
        speaker.start(Time(0));
        Lone { speaker }
    }

    /// A peer with an AS number of its own dials, and its session comes up.
    pub fn establish(&mut self, number: u8) -> (PeerId, ConnId) {
        self.establish_as(number, peer_asn(number))
    }

    pub fn establish_as(&mut self, number: u8, asn: u32) -> (PeerId, ConnId) {
        let (remote, local) =
            (SocketAddr::new(peer_address(number), 1), SocketAddr::new(peer_address(1), 179));
        let conn = self.speaker.accept(NOW, remote, local, None).expect("the peer is expected").conn;
        let open = Open {
            asn,
            hold_time_s: 0,
            router_id: RouterId(u32::from(number)),
            capabilities: vec![
                Capability::multiprotocol(V4),
                Capability::FourOctetAs(asn),
                Capability::RouteRefresh,
                Capability::EnhancedRouteRefresh,
            ],
        };
        let mut bytes = Vec::new();
        open.encode(&mut bytes);
        encode_keepalive(&mut bytes);
        self.receive(conn, &bytes);
        let id = self.speaker.find_peer(peer_address(number)).expect("it was accepted");
        assert!(self.is_up(id));
        (id, conn)
    }

    pub fn is_up(&self, id: PeerId) -> bool {
        let peer = self.speaker.peers[id.index()].as_ref();
        peer.is_some_and(|peer| peer.session.negotiated().is_some())
    }

    /// Whole messages of a peer arrive.
    pub fn receive(&mut self, conn: ConnId, bytes: &[u8]) {
        assert_eq!(self.speaker.receive(NOW, conn, bytes), bytes.len());
    }

    /// Takes what is ready for every peer, as their sockets would, and returns what `of` is sent.
    pub fn send_all(&mut self, of: Option<ConnId>) -> Vec<u8> {
        let mut taken = Vec::new();
        while let Some(conn) = self.speaker.poll_dirty() {
            loop {
                let mut slices = SmallVec::new();
                let bytes = self.speaker.fill(conn, &mut slices);
                if of == Some(conn) {
                    slices.iter().for_each(|slice| taken.extend_from_slice(slice));
                }
                drop(slices);
                if bytes == 0 {
                    break;
                }
                self.speaker.sent(NOW, conn, bytes, true);
            }
        }
        taken
    }

    /// Works until nothing is left to do, and returns the largest change of `count` in one turn.
    pub fn work_off(&mut self, count: impl Fn(&Speaker) -> usize) -> usize {
        let mut largest = 0;
        loop {
            let before = count(&self.speaker);
            let mut more = self.speaker.work(NOW);
            largest = largest.max(count(&self.speaker).abs_diff(before));
            self.send_all(None);
            more |= self.speaker.wants_work();
            if !more {
                return largest;
            }
        }
    }
}

/// UPDATEs of peer `number` that announce `prefixes` over `path`, with what `edit` adds.
pub fn announcements(
    number: u8,
    prefixes: &[Prefix4],
    path: &[u32],
    edit: impl FnOnce(&mut AttributeEditor<'_>),
) -> Vec<u8> {
    announcements_via(peer_address(number), prefixes, path, edit)
}

/// The same with this next hop.
pub fn announcements_via(
    next_hop: IpAddr,
    prefixes: &[Prefix4],
    path: &[u32],
    edit: impl FnOnce(&mut AttributeEditor<'_>),
) -> Vec<u8> {
    let mut block = Vec::new();
    let mut editor = AttributeEditor::on(&mut block);
    editor.set_origin(Origin::Igp).set_as_path(path);
    edit(&mut editor);
    editor.finish().expect("it is short");
    let context = EncodeContext::default();
    let mut section = AttributeSection::new();
    section.fill(&context, V4, &block, NextHop::new(next_hop));
    let mut out = Vec::new();
    let mut rest = prefixes;
    while !rest.is_empty() {
        let taken = encode_announce(&context, &section, rest, &mut out).expect("there is room");
        rest = &rest[taken..];
    }
    out
}
