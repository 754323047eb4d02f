//! kulan beside the speakers of the field: each test runs kulan and one other daemon as Debian packages it, in
//! two network namespaces with a cable between them, and compares what each learned with what the other
//! announced, attribute by attribute.
//!
//! `KULAN_DUT=bird` (or any other daemon's name) puts that daemon in kulan's place: what fails then is the test,
//! or the other daemon.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use kulan_scale_tests::daemon::{
    Daemon, Family, Kind, Learned, Neighbor, Origin, Prefix, Rib, Route, Speaker,
};
use kulan_scale_tests::netns::{Namespace, Pair};
use kulan_scale_tests::process::wait_for;

const ASN: u32 = 65001;
/// Does not fit into two octets, so that every path of an external session needs RFC 6793.
const ASN_EXTERNAL: u32 = 4_200_000_002;
/// How long a request for a refresh may go unanswered before it is repeated.
const ASK_AGAIN: Duration = Duration::from_secs(3);
const FAMILIES: [Family; 2] = [Family::Ipv4, Family::Ipv6];

/// Which daemon stands where kulan should.
fn under_test() -> Kind {
    match std::env::var("KULAN_DUT") {
        Ok(name) => Kind::parse(&name).unwrap_or_else(|| panic!("KULAN_DUT: no daemon is called {name}")),
        Err(_) => Kind::Kulan,
    }
}

macro_rules! interoperation {
    ($($peer:ident = $kind:ident: $($mode:ident)*;)*) => {
        $(mod $peer {
            $(#[test]
            fn $mode() {
                super::$mode(super::Kind::$kind);
            })*
        })*
    };
}

interoperation! {
    kulan = Kulan: external internal md5 reflects is_reflected helps_restart restarts
        refresh_asked refresh_answered extended_next_hop;
    bird = Bird: external internal md5 reflects is_reflected helps_restart restarts
        refresh_asked refresh_answered extended_next_hop;
    frr = Frr: external internal md5 reflects is_reflected helps_restart restarts
        refresh_asked refresh_answered extended_next_hop;
    // 3.10 never asks for a refresh.
    gobgp = Gobgp: external internal md5 reflects is_reflected helps_restart restarts
        refresh_asked extended_next_hop;
    // 7.7 announces no family that it could restart with, and answers a ROUTE-REFRESH with "not negotiated".
    openbgpd = Openbgpd: external internal md5 reflects is_reflected restarts refresh_answered;
    // Reflects nothing, and keeps no table that could go stale.
    exabgp = Exabgp: external internal md5 reflects helps_restart
        refresh_asked refresh_answered;
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|_| panic!("not an address: {text}"))
}

/// The address of one side of a [`Pair`]: 1 is left, 2 is right.
fn side(family: Family, number: u8) -> IpAddr {
    match family {
        Family::Ipv4 => IpAddr::from([10, 0, 0, number]),
        Family::Ipv6 => address(&format!("fd6b::{number}")),
    }
}

/// One side of a [`Pair`], with a session for each family over that family.
fn speaker(number: u8, asn: u32, peer_asn: u32) -> Speaker {
    let mut speaker = Speaker::new(asn, Ipv4Addr::new(10, 0, 0, number));
    for family in FAMILIES {
        speaker.neighbors.push(Neighbor::new(side(family, number), side(family, 3 - number), peer_asn));
    }
    speaker.routes = routes(number);
    speaker
}

/// Routes with every kind of attribute that all daemons can originate.
fn routes(number: u8) -> Vec<Route> {
    vec![
        Route::new(&format!("10.{number}.0.0/24")),
        Route::new(&format!("10.{number}.1.0/24")).med(50).community(65001, 1).community(65010, 65000),
        Route::new(&format!("10.{number}.2.0/23")).local_pref(200).large(4_200_000_001, 7, 4_000_000_000),
        Route::new(&format!("2001:db8:{number}::/48"))
            .med(7)
            .local_pref(50)
            .community(64512, 3)
            .large(1, 2, 3),
        Route::new(&format!("2001:db8:{number}:8000::/49")),
    ]
}

/// What a direct neighbor must make of a speaker's own routes.
fn expected(sender: &Speaker, receiver: &Speaker, family: Family, next_hop: IpAddr) -> Rib {
    let external = sender.asn != receiver.asn;
    sender
        .routes
        .iter()
        .filter(|route| route.prefix.family() == family)
        .map(|route| {
            let learned = Learned {
                as_path: if external { vec![sender.asn] } else { Vec::new() },
                origin: Origin::Igp,
                next_hop,
                local_pref: if external { 100 } else { route.local_pref.unwrap_or(100) },
                med: route.med.unwrap_or(0),
                communities: route.communities.clone(),
                large: route.large.clone(),
                originator_id: None,
                cluster_list: Vec::new(),
            };
            (route.prefix, learned)
        })
        .collect()
}

/// Starts both, waits for the sessions, and compares both tables in both families.
fn exchange(peer: Kind, left: Speaker, right: Speaker) {
    let pair = Pair::new();
    let left = Daemon::start(under_test(), &pair.left, left);
    let right = Daemon::start(peer, &pair.right, right);
    left.await_established();
    right.await_established();
    for family in FAMILIES {
        left.await_learned(family, &expected(right.speaker(), left.speaker(), family, side(family, 2)));
        right.await_learned(family, &expected(left.speaker(), right.speaker(), family, side(family, 1)));
    }
}

fn external(peer: Kind) {
    exchange(peer, speaker(1, ASN, ASN_EXTERNAL), speaker(2, ASN_EXTERNAL, ASN));
}

fn internal(peer: Kind) {
    exchange(peer, speaker(1, ASN, ASN), speaker(2, ASN, ASN));
}

/// RFC 2385, on both sessions.
fn md5(peer: Kind) {
    let with_key = |mut speaker: Speaker| {
        for neighbor in &mut speaker.neighbors {
            neighbor.md5 = Some("not-a-secret".to_string());
        }
        speaker
    };
    exchange(peer, with_key(speaker(1, ASN, ASN_EXTERNAL)), with_key(speaker(2, ASN_EXTERNAL, ASN)));
}

/// RFC 8950: IPv4 routes over the IPv6 session, with IPv6 next hops.
fn extended_next_hop(peer: Kind) {
    let over_ipv6 = |mut speaker: Speaker| {
        speaker.neighbors.retain(|neighbor| neighbor.address.is_ipv6());
        speaker.neighbors[0].families = FAMILIES.to_vec();
        speaker.neighbors[0].extended_next_hop = true;
        speaker
    };
    let pair = Pair::new();
    let left = Daemon::start(under_test(), &pair.left, over_ipv6(speaker(1, ASN, ASN_EXTERNAL)));
    let right = Daemon::start(peer, &pair.right, over_ipv6(speaker(2, ASN_EXTERNAL, ASN)));
    left.await_established();
    for family in FAMILIES {
        let next_hop = |number| side(Family::Ipv6, number);
        left.await_learned(family, &expected(right.speaker(), left.speaker(), family, next_hop(2)));
        right.await_learned(family, &expected(left.speaker(), right.speaker(), family, next_hop(1)));
    }
}

/// A reflector in the middle with a client on each side (RFC 4456), IPv4 and IPv6.
struct Line {
    middle: Namespace,
    clients: [Namespace; 2],
}

impl Line {
    fn new() -> Line {
        let line = Line {
            middle: Namespace::new("middle"),
            clients: [Namespace::new("first"), Namespace::new("second")],
        };
        for (client, number) in line.clients.iter().zip([1u8, 2]) {
            let interface = format!("eth{number}");
            line.middle.connect(&interface, client, "eth0");
            for family in FAMILIES {
                let length = if family == Family::Ipv4 { 24 } else { 64 };
                line.middle.add_address(&interface, Line::address(family, number, 1), length);
                client.add_address("eth0", Line::address(family, number, 2), length);
                // Clients must be able to reach each other's next hops.
                let far = format!("{}/{length}", Line::address(family, 3 - number, 0));
                let gateway = Line::address(family, number, 1).to_string();
                client.ip(&["route", "add", &far, "via", &gateway]);
            }
        }
        line
    }

    /// The address on the cable with that number, of the middle (1) or the client (2).
    fn address(family: Family, cable: u8, end: u8) -> IpAddr {
        match family {
            Family::Ipv4 => IpAddr::from([10, 0, cable, end]),
            Family::Ipv6 => address(&format!("fd6b:{cable}::{end}")),
        }
    }

    fn reflector() -> Speaker {
        let mut reflector = Speaker::new(ASN, Ipv4Addr::new(10, 0, 0, 9));
        for cable in [1, 2] {
            for family in FAMILIES {
                let mut neighbor =
                    Neighbor::new(Line::address(family, cable, 1), Line::address(family, cable, 2), ASN);
                neighbor.reflector_client = true;
                reflector.neighbors.push(neighbor);
            }
        }
        reflector
    }

    fn client(number: u8) -> Speaker {
        let mut client = Speaker::new(ASN, Ipv4Addr::new(10, 0, 0, number));
        for family in FAMILIES {
            let neighbor =
                Neighbor::new(Line::address(family, number, 2), Line::address(family, number, 1), ASN);
            client.neighbors.push(neighbor);
        }
        client.routes = routes(number);
        client.resolve_through = FAMILIES.map(|family| Line::address(family, number, 1)).into();
        client
    }
}

fn reflection(reflector: Kind, client: Kind) {
    let line = Line::new();
    let [first, second] = &line.clients;
    let reflector = Daemon::start(reflector, &line.middle, Line::reflector());
    let clients =
        [Daemon::start(client, first, Line::client(1)), Daemon::start(client, second, Line::client(2))];
    reflector.await_established();
    for (receiver, sender, number) in [(&clients[0], &clients[1], 2), (&clients[1], &clients[0], 1)] {
        for family in FAMILIES {
            let next_hop = Line::address(family, number, 2);
            let mut routes = expected(sender.speaker(), receiver.speaker(), family, next_hop);
            for learned in routes.values_mut() {
                learned.originator_id = Some(sender.speaker().router_id);
                learned.cluster_list = vec![reflector.speaker().router_id];
            }
            receiver.await_learned(family, &routes);
        }
    }
}

fn reflects(peer: Kind) {
    reflection(under_test(), peer);
}

fn is_reflected(peer: Kind) {
    reflection(peer, under_test());
}

/// The daemon of kind `restarting` crashes and comes back, with one route less; the other (RFC 4724 §4.2) keeps
/// its routes meanwhile and drops the missing one afterwards.
fn graceful_restart(helping: Kind, restarting: Kind) {
    let graceful = |mut speaker: Speaker| {
        for neighbor in &mut speaker.neighbors {
            neighbor.graceful_restart = true;
        }
        speaker
    };
    let pair = Pair::new();
    let helper = Daemon::start(helping, &pair.left, graceful(speaker(1, ASN, ASN_EXTERNAL)));
    let mut restarter = Daemon::start(restarting, &pair.right, graceful(speaker(2, ASN_EXTERNAL, ASN)));
    let routes = |restarter: &Daemon<'_>, family| {
        expected(restarter.speaker(), helper.speaker(), family, side(family, 2))
    };
    let before: Vec<Rib> = FAMILIES.map(|family| routes(&restarter, family)).into();
    for (family, routes) in FAMILIES.iter().zip(&before) {
        helper.await_learned(*family, routes);
    }

    restarter.kill();
    for (family, routes) in FAMILIES.iter().zip(&before) {
        let lost = || match helper.established(side(*family, 2)) {
            Ok(()) => Err("still established".to_string()),
            Err(_) => Ok(()),
        };
        wait_for("the session to be lost", lost);
        assert_eq!(helper.learned(*family).as_ref(), Ok(routes), "the routes stay while the peer restarts");
    }

    let gone: [Prefix; 2] = ["10.2.0.0/24", "2001:db8:2::/48"].map(|text| text.parse().expect("a prefix"));
    restarter.start_again_with(|speaker| speaker.routes.retain(|route| !gone.contains(&route.prefix)));
    helper.await_established();
    for family in FAMILIES {
        helper.await_learned(family, &routes(&restarter, family));
        restarter
            .await_learned(family, &expected(helper.speaker(), restarter.speaker(), family, side(family, 1)));
    }
}

fn helps_restart(peer: Kind) {
    graceful_restart(under_test(), peer);
}

fn restarts(peer: Kind) {
    graceful_restart(peer, under_test());
}

/// RFC 2918: who asks gets every route again.
fn refresh(asking: Kind, answering: Kind) {
    let pair = Pair::new();
    let asker = Daemon::start(asking, &pair.left, speaker(1, ASN, ASN_EXTERNAL));
    let answerer = Daemon::start(answering, &pair.right, speaker(2, ASN_EXTERNAL, ASN));
    for family in FAMILIES {
        let routes = expected(answerer.speaker(), asker.speaker(), family, side(family, 2));
        asker.await_learned(family, &routes);
        let neighbor = side(family, 2);
        let before = asker.updates_received(neighbor);
        let mut asked = Instant::now();
        asker.request_refresh(neighbor);
        // Every route has attributes of its own, so every one needs an UPDATE of its own.
        wait_for("the routes to be sent again", || {
            let more = asker.updates_received(neighbor) - before;
            // FRR forgets requests that come before its first End-of-RIB.
            if more == 0 && asked.elapsed() > ASK_AGAIN {
                asker.request_refresh(neighbor);
                asked = Instant::now();
            }
            if more >= routes.len() as u64 { Ok(()) } else { Err(format!("{more} more UPDATEs")) }
        });
        asker.await_learned(family, &routes);
    }
}

fn refresh_asked(peer: Kind) {
    refresh(under_test(), peer);
}

fn refresh_answered(peer: Kind) {
    refresh(peer, under_test());
}
