//! Where load is put on a speaker: a namespace for the speaker, one for sources and receivers of routes, and two
//! cables between them. Sources are on the first and receivers on the second, so that no next hop is shared
//! between them.

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

use crate::bgp::message::AGGREGATOR;
use crate::bgp::peers::{Identity, Peers};
use crate::daemon::{Daemon, Kind, Neighbor, Speaker};
use crate::feed::{Feed, PCH_ASN, aggregated_by_as_zero};
use crate::netns::Namespace;

/// The speaker's AS where its neighbors are external. All AS numbers here are from the documentation range, so
/// that none of them is in a recorded path.
pub const SPEAKER_ASN: u32 = 64496;
/// The receivers' AS where they are external.
pub const RECEIVER_ASN: u32 = 64497;
/// The first source's AS where they are external.
pub const SOURCE_ASN: u32 = 65536;
/// The speaker's router and cluster identifier, and its address on the sources' cable.
pub const SPEAKER: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 1);
/// The speaker's address on the receivers' cable.
pub const SPEAKER_TO_RECEIVERS: Ipv4Addr = Ipv4Addr::new(10, 11, 0, 1);
/// The load's own address on the sources' cable: the way to everything that is not on a cable.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 2);
/// The addresses of the clients of many-peer workloads: behind a gateway, since they are more than a link has.
pub const CLIENTS: &str = "10.20.0.0/16";

/// The two namespaces of a run.
#[derive(Debug)]
pub struct Bench {
    /// Where the speaker under test runs.
    pub speaker: Namespace,
    /// Where sources and receivers run.
    pub load: Namespace,
}

impl Bench {
    /// Makes and connects both.
    pub fn new() -> Bench {
        let bench = Bench { speaker: Namespace::new("speaker"), load: Namespace::new("load") };
        for (interface, second) in [("eth0", 10u8), ("eth1", 11)] {
            bench.speaker.connect(interface, &bench.load, interface);
            bench.speaker.add_address(interface, IpAddr::from([10, second, 0, 1]), 16);
            bench.load.add_address(interface, IpAddr::from([10, second, 0, 2]), 16);
            // Every address of this range is the load's own, without adding thousands of them one by one.
            bench.load.ip(&["route", "add", "local", &format!("10.{second}.1.0/24"), "dev", interface]);
        }
        // The clients' range, and whatever foreign next hops there are.
        bench.speaker.ip(&["route", "add", "default", "via", &GATEWAY.to_string()]);
        bench.load.ip(&["route", "add", "local", CLIENTS, "dev", "lo"]);
        bench
    }

    /// Starts the speaker and works against it from a thread in the load's namespace.
    pub fn with<T: Send>(
        &self,
        kind: Kind,
        speaker: Speaker,
        work: impl FnOnce(&Daemon<'_>, &mut Peers) -> T + Send,
    ) -> T {
        let daemon = Daemon::start(kind, &self.speaker, speaker);
        self.load.enter(|| work(&daemon, &mut Peers::new()))
    }
}

impl Default for Bench {
    fn default() -> Bench {
        Bench::new()
    }
}

/// The address of source number `number`, from 0.
pub fn source(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 10, 1, number + 1)
}

/// The address of receiver number `number`, from 0.
pub fn receiver(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 11, 1, number + 1)
}

/// The address of client number `number`, from 0, in [`CLIENTS`].
pub fn client(number: usize) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 20, 0, 1)) + number as u32)
}

/// An external source, from 0.
pub fn external_source(number: u8) -> Identity {
    Identity {
        address: source(number),
        asn: SOURCE_ASN + u32::from(number),
        speaker: SocketAddrV4::new(SPEAKER, 179),
    }
}

/// The external receiver.
pub fn external_receiver() -> Identity {
    Identity {
        address: receiver(0),
        asn: RECEIVER_ASN,
        speaker: SocketAddrV4::new(SPEAKER_TO_RECEIVERS, 179),
    }
}

/// A client of the [`reflector`], from 0.
pub fn internal_client(number: usize) -> Identity {
    Identity { address: client(number), asn: SPEAKER_ASN, speaker: SocketAddrV4::new(SPEAKER, 179) }
}

/// A speaker with external sources and one external receiver.
pub fn external_speaker(sources: u8) -> Speaker {
    let mut speaker = Speaker::new(SPEAKER_ASN, SPEAKER);
    let receiver = external_receiver();
    let sources = (0..sources).map(external_source);
    for peer in sources.chain([receiver]) {
        let mut neighbor = Neighbor::new(IpAddr::V4(*peer.speaker.ip()), IpAddr::V4(peer.address), peer.asn);
        neighbor.passive = true;
        speaker.neighbors.push(neighbor);
    }
    speaker
}

/// A reflector whose clients may be anyone from [`CLIENTS`].
pub fn reflector() -> Speaker {
    let mut speaker = Speaker::new(SPEAKER_ASN, SPEAKER);
    speaker.client_range = CLIENTS.parse().ok();
    speaker.resolve_through = vec![IpAddr::V4(GATEWAY)];
    speaker
}

/// The reflector of the recorded feed, for this workload and for the test of the same feed.
pub fn pch_reflector(reflector_client: bool) -> (Speaker, [Identity; 2]) {
    let mut speaker = Speaker::new(PCH_ASN, SPEAKER);
    speaker.resolve_through = vec![IpAddr::V4(GATEWAY)];
    let identity =
        |address, speaker| Identity { address, asn: PCH_ASN, speaker: SocketAddrV4::new(speaker, 179) };
    let identities = [identity(source(0), SPEAKER), identity(receiver(0), SPEAKER_TO_RECEIVERS)];
    for (peer, client) in identities.iter().zip([false, reflector_client]) {
        let local = IpAddr::V4(*peer.speaker.ip());
        let mut neighbor = Neighbor::new(local, IpAddr::V4(peer.address), PCH_ASN);
        neighbor.passive = true;
        neighbor.reflector_client = client;
        speaker.neighbors.push(neighbor);
    }
    (speaker, identities)
}

/// What a reflector's client must hold of the recorded feed: everything but the routes through AS 0 (RFC 7607),
/// which BIRD 2.0 lets through.
pub fn pch_reflected(feed: &Feed, kind: Kind) -> Vec<u64> {
    feed.expectation(|set| {
        let valid = kind == Kind::Bird || !set.as_numbers().contains(&0);
        valid.then(|| {
            let mut reflected = set.reflected(SPEAKER, source(0));
            if kind != Kind::Bird && aggregated_by_as_zero(set) {
                reflected.remove(AGGREGATOR);
            }
            reflected
        })
    })
}
