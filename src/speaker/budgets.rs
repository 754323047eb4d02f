//! Holds [`Speaker::work`] to its budgets, on counts: how long a turn takes is the machine's business.
//!
//! The speaker here has more to do than one turn may, of each kind: it must do no more than the budget in a turn,
//! say that there is more, and be done in the end.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use smallvec::SmallVec;

use super::{COLLECT_PER_TURN, DECIDE_PER_TURN, EXPORT_PER_TURN, Speaker};
use crate::types::*;
use crate::wire::attrs::Origin;
use crate::wire::encode::encode_announce;
use crate::wire::frame::encode_keepalive;
use crate::wire::{AttributeEditor, AttributeSection, Capability, EncodeContext, Open};

const CONFIG: &str = r#"
[speaker]
asn = 65000
router_id = "10.0.0.1"
[[domain]]
name = "default"
resolve_next_hops = false
[[dynamic_peer]]
range = "10.0.0.0/24"
asn = "external"
import = "accept"
export = "accept"
hold_time_s = 0
"#;

/// Three turns' worth of the largest budget, and some.
const ROUTES: usize = 3 * 16_384 + 1000;
const V4: Family = Family::Ipv4Unicast;
const NOW: Time = Time(1000);

fn peer_address(number: u8) -> IpAddr {
    [10, 0, 0, number].into()
}

fn peer_asn(number: u8) -> u32 {
    65000 + u32::from(number)
}

/// A speaker, and peers that are only bytes.
struct Lone {
    speaker: Speaker,
}

impl Lone {
    fn new() -> Lone {
        let config = crate::config::parse(CONFIG, "budgets.toml", Path::new(".")).expect("it is right");
        let mut speaker = Speaker::new(config, 1);
        speaker.start(Time(0));
        Lone { speaker }
    }

    /// A peer dials, and its session comes up.
    fn establish(&mut self, number: u8) -> (PeerId, ConnId) {
        let (remote, local) =
            (SocketAddr::new(peer_address(number), 1), SocketAddr::new(peer_address(1), 179));
        let conn = self.speaker.accept(NOW, remote, local, None).expect("the range has it").conn;
        let open = Open {
            asn: peer_asn(number),
            hold_time_s: 0,
            router_id: RouterId(u32::from(number)),
            capabilities: vec![Capability::multiprotocol(V4), Capability::FourOctetAs(peer_asn(number))],
        };
        let mut bytes = Vec::new();
        open.encode(&mut bytes);
        encode_keepalive(&mut bytes);
        assert_eq!(self.speaker.receive(NOW, conn, &bytes), bytes.len());
        let id = self.speaker.find_peer(peer_address(number)).expect("it was accepted");
        assert!(self.speaker.peers[id.index()].as_ref().expect("it is there").session.negotiated().is_some());
        (id, conn)
    }

    /// Takes what is ready for every peer, as their sockets would.
    fn send_all(&mut self) {
        while let Some(conn) = self.speaker.poll_dirty() {
            loop {
                let mut slices = SmallVec::new();
                let bytes = self.speaker.fill(conn, &mut slices);
                drop(slices);
                if bytes == 0 {
                    break;
                }
                self.speaker.sent(NOW, conn, bytes, true);
            }
        }
    }

    /// Works until nothing is left to do, and returns the largest change of `count` in one turn.
    fn work_off(&mut self, count: impl Fn(&Speaker) -> usize) -> usize {
        let mut largest = 0;
        loop {
            let before = count(&self.speaker);
            let mut more = self.speaker.work(NOW);
            largest = largest.max(count(&self.speaker).abs_diff(before));
            self.send_all();
            more |= self.speaker.wants_work();
            if !more {
                return largest;
            }
        }
    }
}

/// UPDATEs that announce [`ROUTES`] routes.
fn announcements() -> Vec<u8> {
    let prefixes: Vec<Prefix4> =
        (0..ROUTES as u32).map(|number| Prefix4::new(0x1400_0000 + (number << 8), 24)).collect();
    let mut block = Vec::new();
    let mut editor = AttributeEditor::on(&mut block);
    editor.set_origin(Origin::Igp).set_as_path(&[peer_asn(2)]);
    editor.finish().expect("it is short");
    let context = EncodeContext::default();
    let mut section = AttributeSection::new();
    section.fill(&context, V4, &block, NextHop::new(peer_address(2)));
    let mut out = Vec::new();
    let mut rest = &prefixes[..];
    while !rest.is_empty() {
        let taken = encode_announce(&context, &section, rest, &mut out).expect("there is room");
        rest = &rest[taken..];
    }
    out
}

#[test]
fn a_turn_does_no_more_than_its_budgets() {
    let mut lone = Lone::new();
    let (source, source_conn) = lone.establish(2);
    let (receiver, _) = lone.establish(3);
    lone.work_off(|_| 0);

    let updates = announcements();
    assert_eq!(lone.speaker.receive(NOW, source_conn, &updates), updates.len());
    assert_eq!(lone.speaker.rib.path_count(source, V4), ROUTES as u32);
    // Nothing is decided where messages are taken.
    assert_eq!(lone.speaker.export.advertised_count(receiver, V4), 0);

    let mut turns = 0;
    let mut decided = 0;
    let mut told = 0;
    loop {
        let more = lone.speaker.work(NOW);
        turns += 1;
        let changed = lone.speaker.changed[V4.index()].len();
        assert!(changed <= DECIDE_PER_TURN, "{changed} destinations were decided about in a turn");
        decided += changed;
        let advertised = lone.speaker.export.advertised_count(receiver, V4) as usize;
        assert!(advertised - told <= EXPORT_PER_TURN, "{} routes were encoded in a turn", advertised - told);
        told = advertised;
        lone.send_all();
        if !more && !lone.speaker.wants_work() {
            break;
        }
    }
    assert_eq!((decided, told), (ROUTES, ROUTES));
    assert!(turns >= ROUTES.div_ceil(DECIDE_PER_TURN), "{turns} turns");

    // A table for a peer that joins.
    let (joined, _) = lone.establish(4);
    let told = lone.work_off(|speaker| speaker.export.advertised_count(joined, V4) as usize);
    assert_eq!(lone.speaker.export.advertised_count(joined, V4) as usize, ROUTES);
    assert!(told <= EXPORT_PER_TURN, "a walk told {told} routes in a turn");

    // The paths of a peer that is lost, and the destinations that go with them.
    lone.speaker.closed(NOW, source_conn, None);
    assert_eq!(lone.speaker.rib.path_count_total(V4), ROUTES, "the sweep is work for turns");
    let freed = std::cell::Cell::new(0);
    let destinations = std::cell::Cell::new(lone.speaker.rib.dest_count(V4));
    let swept = lone.work_off(|speaker| {
        let now = speaker.rib.dest_count(V4);
        freed.set(freed.get().max(destinations.replace(now) - now));
        speaker.rib.path_count_total(V4)
    });
    assert_eq!((lone.speaker.rib.path_count_total(V4), lone.speaker.rib.dest_count(V4)), (0, 0));
    assert!(swept <= DECIDE_PER_TURN, "{swept} paths were swept in a turn");
    assert!(freed.get() <= COLLECT_PER_TURN, "{} destinations were freed in a turn", freed.get());
}
