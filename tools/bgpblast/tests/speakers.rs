//! Every daemon that is installed takes the configurations that bgpblast writes for it, and does what they say.
//!
//! The peers are written out by hand, message by message: what bgpblast itself does to a speaker must not be what
//! these tests rest on. They want the rights to make network namespaces.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use bgpblast::compare::bench::{
    Bench, CLIENTS, CLIENTS6, GATEWAY, GATEWAY6, SPEAKER, SPEAKER_TO_RECEIVERS, SPEAKER6, client, client6,
    receiver, source, source6,
};
use bgpblast::compare::plan::{Neighbor, Plan, Range, Session};
use bgpblast::compare::speaker::{Kind, Running};
use kulan::config::Secret;
use kulan::reactor::sockopt::set_md5_key;
use kulan::types::{Family, FamilySet, Prefix, RouterId};
use kulan::wire::{Capability, MessageKind, Open, frame, next_frame};
use socket2::{Domain, Socket, Type};

const ASN: u32 = 64496;
const SOURCE_ASN: u32 = 65536;
const TAG: u32 = 64496 << 16 | 100;
const PATIENCE: Duration = Duration::from_secs(20);

fn session(asn: u32, families: FamilySet) -> Session {
    Session { asn, families, client: asn == ASN, md5: None, hold_time_s: 90, add_path: false }
}

/// One external neighbor that dials us, and internal clients from a range.
fn plan(source: IpAddr, local_address: IpAddr, clients: &str, families: FamilySet) -> Plan {
    Plan {
        asn: ASN,
        router_id: SPEAKER,
        neighbors: vec![Neighbor {
            address: source,
            local_address,
            session: session(SOURCE_ASN, families),
            dial: None,
        }],
        ranges: vec![Range { prefix: clients.parse().unwrap(), session: session(ASN, families) }],
        install: false,
        tag: None,
        gateways: vec![GATEWAY.into(), GATEWAY6.into()],
    }
}

fn ipv4() -> FamilySet {
    FamilySet::only(Family::Ipv4Unicast)
}

/// A session of the load's, up.
struct Peer {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Peer {
    /// Dials the speaker until it takes us: some begin to listen before they know whom for.
    fn connect(bench: &Bench, local: IpAddr, speaker: IpAddr, asn: u32) -> Peer {
        Peer::connect_with_key(bench, local, speaker, asn, None)
    }

    fn connect_with_key(bench: &Bench, local: IpAddr, speaker: IpAddr, asn: u32, key: Option<&str>) -> Peer {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match bench.enter(|| Peer::try_connect(local, speaker, asn, key)).unwrap() {
                Ok(peer) => return peer,
                Err(error) => assert!(Instant::now() < deadline, "{local} to {speaker}: {error}"),
            }
        }
    }

    fn try_connect(local: IpAddr, speaker: IpAddr, asn: u32, key: Option<&str>) -> Result<Peer, String> {
        let broken = |error: std::io::Error| error.to_string();
        let socket =
            Socket::new(Domain::for_address((speaker, 0).into()), Type::STREAM, None).map_err(broken)?;
        socket.bind(&SocketAddr::new(local, 0).into()).map_err(broken)?;
        if let Some(key) = key {
            set_md5_key(&socket, Prefix::host(speaker), &Secret::new(key.into()))
                .map_err(|error| error.to_string())?;
        }
        socket
            .connect_timeout(&SocketAddr::new(speaker, 179).into(), Duration::from_secs(2))
            .map_err(broken)?;
        Peer::open(socket.into(), local, asn)
    }

    /// Exchanges OPEN and KEEPALIVE, offering both families.
    fn open(stream: TcpStream, local: IpAddr, asn: u32) -> Result<Peer, String> {
        stream.set_read_timeout(Some(PATIENCE)).map_err(|error| error.to_string())?;
        let mut peer = Peer { stream, bytes: Vec::new() };
        let router_id = match local {
            IpAddr::V4(address) => address.to_bits(),
            IpAddr::V6(address) => address.to_bits() as u32 | 0x0a00_0000,
        };
        let families =
            Family::ALL.map(|family| Capability::Multiprotocol { afi: family.afi(), safi: family.safi() });
        let mut capabilities = families.to_vec();
        capabilities.extend([Capability::RouteRefresh, Capability::FourOctetAs(asn)]);
        let mut out = Vec::new();
        Open { asn, hold_time_s: 90, router_id: RouterId(router_id), capabilities }.encode(&mut out);
        peer.send(&out)?;
        let (kind, body) = peer.read()?;
        if kind != MessageKind::Open {
            return Err(format!("{kind:?} {body:?} instead of OPEN"));
        }
        let open = Open::decode(&body).map_err(|error| format!("{error:?}"))?;
        assert_eq!((open.asn, open.router_id.to_string()), (ASN, SPEAKER.to_string()));
        assert!(
            open.graceful_restart().is_none_or(|it| it.restart_time_s == 0 || it.families.is_empty()),
            "{open:?}"
        );
        assert_eq!(open.hold_time_s, 90);
        let mut out = Vec::new();
        frame::encode_keepalive(&mut out);
        peer.send(&out)?;
        match peer.read()? {
            (MessageKind::Keepalive, _) => Ok(peer),
            (kind, body) => Err(format!("{kind:?} {body:?} instead of KEEPALIVE")),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.stream.write_all(bytes).map_err(|error| error.to_string())
    }

    fn read(&mut self) -> Result<(MessageKind, Vec<u8>), String> {
        loop {
            let found = next_frame(&self.bytes, frame::EXTENDED_MESSAGE_LEN_MAX)
                .map_err(|error| format!("{error:?}"))?;
            if let Some(frame) = found {
                let message = (frame.kind, frame.body.to_vec());
                self.bytes.drain(..frame.len);
                return Ok(message);
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err("the speaker closed the connection".into()),
                Ok(len) => self.bytes.extend_from_slice(&buffer[..len]),
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    /// Announces [`ROUTE`].
    fn announce(&mut self) {
        let attributes =
            [&[0x40, 1, 1, 0][..], &[0x40, 2, 6, 2, 1, 0, 1, 0, 0], &[0x40, 3, 4], &source(0).octets()]
                .concat();
        let len = 19 + 4 + attributes.len() + ROUTE.len();
        let head = [&[0xff; 16][..], &[0, len as u8, 2, 0, 0, 0, attributes.len() as u8]].concat();
        self.send(&[head, attributes, ROUTE.to_vec()].concat()).unwrap();
    }

    /// Waits for an UPDATE with [`ROUTE`] and gives back whether it carries [`TAG`].
    fn tagged(&mut self) -> bool {
        loop {
            let (kind, body) = self.read().unwrap();
            assert!(!matches!(kind, MessageKind::Notification | MessageKind::Open), "{kind:?} {body:?}");
            if kind == MessageKind::Update && body.windows(ROUTE.len()).any(|window| window == ROUTE) {
                let community = [&[8, 4][..], &TAG.to_be_bytes()].concat();
                return body.windows(community.len()).any(|window| window == community);
            }
        }
    }
}

/// 198.51.100.0/24 on the wire.
const ROUTE: [u8; 4] = [24, 198, 51, 100];

/// The daemons that are here, and do what `plan` wants; says why it leaves one out.
fn able(plan: &Plan) -> Vec<Kind> {
    let able = |kind: &Kind| match kind.absent().map_or_else(|| kind.configuration(plan).map(drop), Err) {
        Ok(()) => true,
        Err(reason) => {
            println!("{kind} is left out: {reason}");
            false
        }
    };
    Kind::ALL.into_iter().filter(able).collect()
}

fn start(kind: Kind, bench: &Bench, plan: &Plan) -> Running {
    Running::start(kind, bench, plan, false)
        .unwrap_or_else(|error| panic!("{error}\n{}", kind.configuration(plan).unwrap()))
}

#[test]
fn routes_pass_and_get_a_tag_while_all_sessions_stay_up() {
    let mut plan = plan(source(0).into(), SPEAKER.into(), CLIENTS, ipv4());
    let receiver_session = session(64497, ipv4());
    plan.neighbors.push(Neighbor {
        address: receiver(0).into(),
        local_address: SPEAKER_TO_RECEIVERS.into(),
        session: receiver_session,
        dial: None,
    });
    for kind in able(&plan) {
        let bench = Bench::new().unwrap();
        let mut running = start(kind, &bench, &plan);
        let mut source = Peer::connect(&bench, source(0).into(), SPEAKER.into(), SOURCE_ASN);
        let mut clients =
            [0, 65_000].map(|number| Peer::connect(&bench, client(number).into(), SPEAKER.into(), ASN));
        let mut receiver = Peer::connect(&bench, receiver(0).into(), SPEAKER_TO_RECEIVERS.into(), 64497);
        source.announce();
        for peer in clients.iter_mut().chain([&mut receiver]) {
            assert!(!peer.tagged(), "{kind}");
        }
        let tagged = Plan { tag: Some(TAG), ..plan.clone() };
        running.reload(&tagged).unwrap_or_else(|error| panic!("{kind}: {error}"));
        let reloaded = Instant::now();
        for peer in clients.iter_mut().chain([&mut receiver]) {
            while !peer.tagged() {}
        }
        let usage = running.usage();
        println!("{kind} ({:?}): {usage:?}, told the tag after {:?}", kind.version(), reloaded.elapsed());
        assert!(
            usage.resident_kb > 0 && usage.peak_kb >= usage.resident_kb && usage.cpu_s > 0.0,
            "{kind}: {usage:?}"
        );
        running.stop().unwrap();
        // And from the beginning.
        let running = start(kind, &bench, &tagged);
        let mut source = Peer::connect(&bench, self::source(0).into(), SPEAKER.into(), SOURCE_ASN);
        let mut client = Peer::connect(&bench, client(0).into(), SPEAKER.into(), ASN);
        source.announce();
        assert!(client.tagged(), "{kind}");
        running.stop().unwrap();
    }
}

#[test]
fn sessions_over_ipv6_come_up_with_both_families_add_path_and_extreme_identifiers() {
    let plan = plan(source6(0).into(), SPEAKER6.into(), CLIENTS6, FamilySet::ALL);
    let mut with_paths = plan.clone();
    with_paths.neighbors[0].session.add_path = true;
    with_paths.ranges[0].session.add_path = true;
    for (plan, add_path) in [(&plan, false), (&with_paths, true)] {
        for kind in able(plan) {
            let bench = Bench::new().unwrap();
            let running = start(kind, &bench, plan);
            for (local, asn) in [(source6(0), SOURCE_ASN), (client6(0), ASN), (client6(65_000), ASN)] {
                Peer::connect(&bench, local.into(), SPEAKER6.into(), asn);
            }
            println!("{kind} is up, ADD-PATH {add_path}");
            running.stop().unwrap();
        }
    }
}

#[test]
fn keys_are_asked_of_neighbors_and_of_ranges() {
    let mut plan = plan(source(0).into(), SPEAKER.into(), CLIENTS, ipv4());
    plan.neighbors[0].session.md5 = Some("one-key".into());
    let mut with_range = plan.clone();
    with_range.ranges[0].session.md5 = Some("another".into());
    let checks = [(&plan, source(0), SOURCE_ASN, "one-key"), (&with_range, client(7), ASN, "another")];
    for (plan, local, asn, key) in checks {
        for kind in able(plan) {
            let bench = Bench::new().unwrap();
            let running = start(kind, &bench, plan);
            let (local, speaker) = (local.into(), SPEAKER.into());
            Peer::connect_with_key(&bench, local, speaker, asn, Some(key));
            assert!(bench.enter(|| Peer::try_connect(local, speaker, asn, None).is_err()).unwrap(), "{kind}");
            println!("{kind} asks {local} for its key");
            running.stop().unwrap();
        }
    }
}

/// The first connection that comes, if one does in time.
fn accept(listener: &TcpListener) -> Option<(TcpStream, SocketAddr)> {
    let mut poll = mio::Poll::new().unwrap();
    let fd = listener.as_raw_fd();
    poll.registry().register(&mut mio::unix::SourceFd(&fd), mio::Token(0), mio::Interest::READABLE).unwrap();
    let mut events = mio::Events::with_capacity(1);
    poll.poll(&mut events, Some(PATIENCE)).unwrap();
    (!events.is_empty()).then(|| listener.accept().unwrap())
}

#[test]
fn a_daemon_dials_where_the_plan_says_so() {
    let mut plan = plan(source(0).into(), SPEAKER.into(), CLIENTS, ipv4());
    plan.ranges.clear();
    plan.neighbors[0].dial = Some(1790);
    for kind in able(&plan) {
        let bench = Bench::new().unwrap();
        let listener = bench.enter(|| TcpListener::bind((source(0), 1790)).unwrap()).unwrap();
        let running = start(kind, &bench, &plan);
        let (stream, from) =
            accept(&listener).unwrap_or_else(|| panic!("{kind} does not dial:\n{}", running.log_tail()));
        assert_eq!(from.ip(), IpAddr::from(SPEAKER), "{kind}");
        Peer::open(stream, source(0).into(), SOURCE_ASN).unwrap_or_else(|error| panic!("{kind}: {error}"));
        println!("{kind} dials");
        running.stop().unwrap();
    }
}
