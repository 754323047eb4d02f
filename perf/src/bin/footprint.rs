//! Prints what the table costs: bytes a prefix and a path, and the processor time it takes to fill and
//! to empty the table.
//!
//! `footprint [FEEDS]` gives the composite table (`kulan_perf::composite`) to that many peers, one by
//! default, decides, and takes it away again.

use kulan::rib::{DecisionOptions, PeerInfo, Rib, Sweep};
use kulan::types::{DestId, Family, PeerId, PeerKind, RouterId};
use kulan_perf::{Announcement, composite, processor_ns, resident_bytes};

/// How much the loop decides between two reads.
const SLICE: usize = 4096;

fn decide(rib: &mut Rib, changed: &mut [Vec<DestId>; 2]) -> usize {
    let mut count = 0;
    loop {
        let more = rib.decide(SLICE, changed);
        count += changed[0].len();
        changed[0].clear();
        if !more {
            return count;
        }
    }
}

fn load(rib: &mut Rib, peer: u32, announcements: &[Announcement]) -> usize {
    let mut changed = [Vec::new(), Vec::new()];
    let mut count = 0;
    for announcement in announcements {
        let attrs = rib.intern(&announcement.block, announcement.next_hop);
        rib.announce4(PeerId(peer), attrs, &announcement.prefixes);
        rib.release(attrs);
        count += decide(rib, &mut changed);
    }
    count
}

fn main() {
    let feeds: u32 = std::env::args().nth(1).map_or(1, |text| text.parse().expect("a number of feeds"));
    let announcements = composite();
    let routes: usize = announcements.iter().map(|announcement| announcement.prefixes.len()).sum();
    let before = resident_bytes();
    let mut rib = Rib::new(DecisionOptions::default(), 1);
    for peer in 1..=feeds {
        let address = [10, 0, (peer >> 8) as u8, peer as u8].into();
        let info = PeerInfo { kind: PeerKind::External, router_id: RouterId(peer), address, asn: peer };
        rib.set_peer(PeerId(peer), info);
        let start = processor_ns();
        let changed = load(&mut rib, peer, &announcements);
        let each = (processor_ns() - start) as f64 / routes as f64;
        println!("feed {peer}: {routes} routes, {each:.0} ns each, {changed} changes of the best path");
    }
    let memory = rib.memory_bytes();
    let prefixes = rib.dest_count(Family::Ipv4Unicast);
    let paths = rib.path_count_total(Family::Ipv4Unicast);
    let sets = rib.attrs().len();
    let per = |bytes: usize, count: usize| bytes as f64 / count as f64;
    println!("{prefixes} prefixes, {paths} paths, {sets} attribute sets");
    println!("trie          {:6.2} bytes a prefix", per(memory.tries, prefixes));
    println!("destinations  {:6.2} bytes a prefix", per(memory.destinations, prefixes));
    println!("paths         {:6.2} bytes a path", per(memory.paths, paths));
    println!("queues        {:6} bytes", memory.queues);
    let blocks = rib.attrs().block_bytes();
    println!(
        "attributes    {:6.2} bytes a set, {:.2} of them the block itself",
        per(memory.attributes, sets),
        per(blocks, sets)
    );
    let resident = resident_bytes() - before;
    println!("resident      {:6.2} bytes a path, {:.1} MB", per(resident, paths), resident as f64 / 1e6);
    for peer in 1..=feeds {
        let start = processor_ns();
        rib.sweep(Sweep::Peer(PeerId(peer)));
        let changed = decide(&mut rib, &mut [Vec::new(), Vec::new()]);
        let each = (processor_ns() - start) as f64 / routes as f64;
        println!("peer {peer} down: {each:.0} ns a route, {changed} changes of the best path");
    }
    let start = processor_ns();
    while rib.collect(SLICE, false, &|_, _| false) {}
    println!("collect: {:.0} ns a prefix", (processor_ns() - start) as f64 / prefixes as f64);
    println!("resident after: {:.1} MB", resident_bytes().saturating_sub(before) as f64 / 1e6);
}
