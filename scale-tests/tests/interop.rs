//! kulan beside the speakers of the field: each test runs kulan and one other daemon as Debian packages it, in
//! two network namespaces with a cable between them, and compares what each learned with what the other
//! announced, attribute by attribute.
//!
//! `KULAN_DUT=bird` (or any other daemon's name) puts that daemon in kulan's place: what fails then is the test,
//! or the other daemon.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use kulan_scale_tests::daemon::{
    Daemon, Extended, Family, Hop, Kind, Learned, Neighbor, Origin, Prefix, Rib, Route, Speaker,
};
use kulan_scale_tests::netns::{Line, Pair};
use kulan_scale_tests::process::wait_for;

const ASN: u32 = 65001;
/// Does not fit into two octets, so that every path of an external session needs RFC 6793.
const ASN_EXTERNAL: u32 = 4_200_000_002;
/// Where relayed routes come from.
const ASN_SOURCE: u32 = 65010;
/// What some neighbors take us for.
const ASN_LOCAL: u32 = 65099;
const KEY: &str = "not-a-secret";
/// How long a request for a refresh may go unanswered before it is repeated.
const ASK_AGAIN: Duration = Duration::from_secs(3);
const FAMILIES: [Family; 2] = [Family::Ipv4, Family::Ipv6];

/// Which daemon stands where kulan should.
fn under_test() -> Kind {
    match std::env::var("KULAN_DUT") {
        Ok(name) => name.parse().unwrap_or_else(|error| panic!("KULAN_DUT: {error}")),
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
    kulan = Kulan: external internal md5 md5_internal one_session withdraws local_as dynamic dynamic_md5
        reflects is_reflected relays reflects_all helps_restart restarts restarts_internal
        refresh_asked refresh_answered refresh_answered_internal extended_next_hop;
    bird = Bird: external internal md5 md5_internal one_session withdraws local_as dynamic dynamic_md5
        reflects is_reflected relays is_relayed reflects_all is_reflected_all
        helps_restart helps_restart_internal restarts restarts_internal
        refresh_asked refresh_answered refresh_asked_internal refresh_answered_internal extended_next_hop;
    frr = Frr: external internal md5 md5_internal one_session withdraws local_as dynamic dynamic_md5
        reflects is_reflected relays is_relayed reflects_all is_reflected_all
        helps_restart helps_restart_internal restarts restarts_internal
        refresh_asked refresh_answered refresh_asked_internal refresh_answered_internal extended_next_hop;
    // 3.10 never asks for a refresh.
    gobgp = Gobgp: external internal md5 md5_internal one_session withdraws local_as dynamic dynamic_md5
        reflects is_reflected relays is_relayed reflects_all is_reflected_all
        helps_restart helps_restart_internal restarts restarts_internal
        refresh_asked refresh_asked_internal extended_next_hop;
    // 7.7 announces no family that it could restart with, answers a ROUTE-REFRESH with "not negotiated", and sends
    // IPv6 routes over IPv4 with the next hop ::.
    openbgpd = Openbgpd: external internal md5 md5_internal withdraws local_as dynamic dynamic_md5
        reflects is_reflected relays is_relayed reflects_all is_reflected_all
        restarts restarts_internal refresh_answered refresh_answered_internal;
    // Reflects and relays nothing, and keeps no table that could go stale. It dials only where it has a key.
    exabgp = Exabgp: external internal md5 md5_internal one_session withdraws local_as dynamic_md5
        reflects helps_restart helps_restart_internal
        refresh_asked refresh_answered refresh_asked_internal refresh_answered_internal;
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
        Route::new(&format!("2001:db8:{number}:8000::/49")).origin(Origin::Egp),
        Route::new(&format!("10.{number}.4.0/22")).origin(Origin::Incomplete),
    ]
}

/// Routes of each family with attributes that not all daemons can originate.
fn more_routes(kind: Kind, number: u8) -> Vec<Route> {
    let mut routes = Vec::new();
    // OpenBGPD has no words for a path before its own AS, `gobgp` none for these extended communities.
    if kind != Kind::Openbgpd {
        for prefix in [format!("10.{number}.8.0/24"), format!("2001:db8:{number}:ffff::/64")] {
            routes.push(Route::new(&prefix).behind(&[64500, 4_200_000_009, 64501]));
        }
    }
    if kind != Kind::Gobgp {
        for prefix in [format!("10.{number}.9.0/24"), format!("2001:db8:{number}:fffe::/64")] {
            let route = Route::new(&prefix).extended(Extended::Target(64512, 4_000_000_000));
            routes.push(route.extended(Extended::SiteOfOrigin(64513, 8)));
        }
    }
    routes
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
                as_path: if external {
                    [&[Hop::As(sender.asn)], &route.as_path[..]].concat()
                } else {
                    route.as_path.clone()
                },
                origin: route.origin,
                next_hop,
                local_pref: if external { 100 } else { route.local_pref.unwrap_or(100) },
                med: route.med.unwrap_or(0),
                communities: route.communities.clone(),
                large: route.large.clone(),
                originator_id: None,
                cluster_list: Vec::new(),
                extended: route.extended.clone(),
                rare: route.rare.clone(),
            };
            (route.prefix, learned)
        })
        .collect()
}

/// Starts both, waits for the sessions, and compares both tables in both families.
fn exchange(peer: Kind, mut left: Speaker, mut right: Speaker) {
    left.routes.extend(more_routes(under_test(), 1));
    right.routes.extend(more_routes(peer, 2));
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

/// With a TCP MD5 key (RFC 2385) on both sessions.
fn with_key(mut speaker: Speaker) -> Speaker {
    for neighbor in &mut speaker.neighbors {
        neighbor.md5 = Some(KEY.to_string());
    }
    speaker
}

fn md5(peer: Kind) {
    exchange(peer, with_key(speaker(1, ASN, ASN_EXTERNAL)), with_key(speaker(2, ASN_EXTERNAL, ASN)));
}

fn md5_internal(peer: Kind) {
    exchange(peer, with_key(speaker(1, ASN, ASN)), with_key(speaker(2, ASN, ASN)));
}

/// Both families over the IPv4 session (RFC 4760): the next hops of IPv6 routes are IPv6 addresses all the same.
fn one_session(peer: Kind) {
    let over_ipv4 = |mut speaker: Speaker| {
        let other = speaker.neighbors[1].local_address;
        speaker.neighbors.retain(|neighbor| neighbor.address.is_ipv4());
        speaker.neighbors[0].other_local_address = Some(other);
        speaker.neighbors[0].families = FAMILIES.to_vec();
        speaker
    };
    exchange(peer, over_ipv4(speaker(1, ASN, ASN_EXTERNAL)), over_ipv4(speaker(2, ASN_EXTERNAL, ASN)));
}

/// The neighbor knows us by another AS number than our own; the own one does not show.
fn local_as(peer: Kind) {
    let mut ours = speaker(1, ASN, ASN_EXTERNAL);
    if under_test() == Kind::Kulan {
        for neighbor in &mut ours.neighbors {
            neighbor.local_asn = Some(ASN_LOCAL);
        }
    } else {
        ours.asn = ASN_LOCAL;
    }
    let pair = Pair::new();
    let left = Daemon::start(under_test(), &pair.left, ours);
    let right = Daemon::start(peer, &pair.right, speaker(2, ASN_EXTERNAL, ASN_LOCAL));
    for family in FAMILIES {
        let as_known = Speaker { asn: ASN_LOCAL, ..left.speaker().clone() };
        left.await_learned(family, &expected(right.speaker(), &as_known, family, side(family, 2)));
        right.await_learned(family, &expected(&as_known, right.speaker(), family, side(family, 1)));
    }
}

/// We expect anybody from the link, and dial nobody.
fn from_a_range(peer: Kind, key: Option<&str>) {
    let mut ours = Speaker::new(ASN, Ipv4Addr::new(10, 0, 0, 1));
    ours.client_range = "10.0.0.0/24".parse().ok();
    ours.client_range_md5 = key.map(str::to_string);
    ours.routes = routes(1);
    let mut theirs = speaker(2, ASN, ASN);
    theirs.neighbors.retain(|neighbor| neighbor.address.is_ipv4());
    theirs.neighbors[0].md5 = key.map(str::to_string);
    let pair = Pair::new();
    let left = Daemon::start(under_test(), &pair.left, ours);
    let right = Daemon::start(peer, &pair.right, theirs);
    right.await_established();
    let family = Family::Ipv4;
    left.await_learned(family, &expected(right.speaker(), left.speaker(), family, side(family, 2)));
    right.await_learned(family, &expected(left.speaker(), right.speaker(), family, side(family, 1)));
}

fn dynamic(peer: Kind) {
    from_a_range(peer, None);
}

fn dynamic_md5(peer: Kind) {
    from_a_range(peer, Some(KEY));
}

/// Routes go one by one while the sessions stay, in both directions.
fn withdraws(peer: Kind) {
    let gone = |number: u8| -> [Prefix; 2] {
        [format!("10.{number}.0.0/24"), format!("2001:db8:{number}::/48")]
            .map(|text| text.parse().expect("a prefix"))
    };
    let pair = Pair::new();
    let mut left = Daemon::start(under_test(), &pair.left, speaker(1, ASN, ASN_EXTERNAL));
    let mut right = Daemon::start(peer, &pair.right, speaker(2, ASN_EXTERNAL, ASN));
    let agree = |left: &Daemon<'_>, right: &Daemon<'_>| {
        for family in FAMILIES {
            left.await_learned(family, &expected(right.speaker(), left.speaker(), family, side(family, 2)));
            right.await_learned(family, &expected(left.speaker(), right.speaker(), family, side(family, 1)));
        }
    };
    agree(&left, &right);
    right.withdraw(&gone(2));
    agree(&left, &right);
    left.withdraw(&gone(1));
    agree(&left, &right);
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

/// The one in the middle of a [`Line`]: a reflector with a client on each side (RFC 4456).
fn line_reflector() -> Speaker {
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

/// The one at an end.
fn line_client(number: u8) -> Speaker {
    let mut client = Speaker::new(ASN, Ipv4Addr::new(10, 0, 0, number));
    for family in FAMILIES {
        let neighbor = Neighbor::new(Line::address(family, number, 2), Line::address(family, number, 1), ASN);
        client.neighbors.push(neighbor);
    }
    client.routes = routes(number);
    client.resolve_through = FAMILIES.map(|family| Line::address(family, number, 1)).into();
    client
}

fn reflection(reflector: Kind, client: Kind) {
    let line = Line::new();
    let [first, second] = &line.clients;
    let reflector = Daemon::start(reflector, &line.middle, line_reflector());
    let clients =
        [Daemon::start(client, first, line_client(1)), Daemon::start(client, second, line_client(2))];
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

/// Everything that ExaBGP can say of a route, which is more than any other can.
fn routes_with_everything() -> Vec<Route> {
    let with_everything = |prefix: &str| {
        Route::new(prefix)
            .origin(Origin::Egp)
            .med(30)
            .local_pref(150)
            .behind(&[64500, 4_200_000_009, 64501])
            .behind_set(&[64502, 4_200_000_010])
            .aggregator(4_200_000_009, Ipv4Addr::new(192, 0, 2, 9))
            .atomic_aggregate()
            .community(64512, 3)
            .large(1, 2, 3)
            .extended(Extended::Target(64512, 7))
            .extended(Extended::SiteOfOrigin(64513, 8))
            .unknown(&[1, 2, 3, 0xfe])
    };
    vec![
        with_everything("203.0.113.0/24"),
        with_everything("2001:db8:99::/48"),
        // Of two octets, so that speakers without RFC 6793 could say it as well.
        Route::new("198.51.100.0/24").aggregator(64500, Ipv4Addr::new(192, 0, 2, 10)).behind(&[64500]),
        Route::new("198.51.100.128/25").origin(Origin::Incomplete).unknown(&[0x5a; LONG]),
    ]
}

/// More than a length of one octet can say.
const LONG: usize = 300;

/// Whether its tool shows an attribute that it does not know. All of them keep it and pass it on.
fn shows_unknown(kind: Kind, value: &[u8]) -> bool {
    match kind {
        Kind::Frr => false,
        Kind::Bird => value.len() < LONG,
        _ => true,
    }
}

/// ExaBGP says all it can to the one in the middle, which tells the one at the end: what must arrive there, or
/// be added or removed on the way (RFC 4271 §5, §9.2; RFC 4456 §8), and nothing else.
fn relay(middle: Kind, end: Kind, internal: bool) {
    let line = Line::new();
    let [first, second] = &line.clients;
    let (mut relaying, mut source, mut receiving) = (line_reflector(), line_client(1), line_client(2));
    source.routes = routes_with_everything();
    receiving.routes.clear();
    relaying.resolve_through = receiving.resolve_through.clone();
    if !internal {
        relaying.resolve_through.clear();
        (source.asn, receiving.asn) = (ASN_SOURCE, ASN_EXTERNAL);
        for neighbor in &mut relaying.neighbors {
            neighbor.reflector_client = false;
            let is_first = FAMILIES.iter().any(|family| neighbor.address == Line::address(*family, 1, 2));
            neighbor.asn = if is_first { ASN_SOURCE } else { ASN_EXTERNAL };
        }
    }
    // ExaBGP dials nobody, and some are slow to dial again.
    let source = Daemon::start(Kind::Exabgp, first, source);
    let relaying = Daemon::start(middle, &line.middle, relaying);
    let receiving = Daemon::start(end, second, receiving);
    relaying.await_established();
    for family in FAMILIES {
        // External neighbors are told another next hop, internal ones the same.
        let next_hop = if internal { Line::address(family, 1, 2) } else { Line::address(family, 2, 1) };
        let mut routes = expected(source.speaker(), receiving.speaker(), family, next_hop);
        for learned in routes.values_mut() {
            if internal {
                learned.originator_id = Some(source.speaker().router_id);
                learned.cluster_list = vec![relaying.speaker().router_id];
            } else {
                learned.as_path.insert(0, Hop::As(ASN));
                // Another AS's MED goes no further (RFC 4271 §5.1.4).
                learned.med = 0;
            }
            match &mut learned.rare.unknown {
                Some(unknown) if !shows_unknown(end, &unknown.value) => learned.rare.unknown = None,
                // The one in the middle did not know it (RFC 4271 §9).
                Some(unknown) => unknown.partial = true,
                None => {}
            }
        }
        receiving.await_learned(family, &routes);
    }
}

fn relays(peer: Kind) {
    relay(under_test(), peer, false);
}

fn is_relayed(peer: Kind) {
    relay(peer, under_test(), false);
}

fn reflects_all(peer: Kind) {
    relay(under_test(), peer, true);
}

fn is_reflected_all(peer: Kind) {
    relay(peer, under_test(), true);
}

/// The daemon of kind `restarting` crashes and comes back, with one route less; the other (RFC 4724 §4.2) keeps
/// its routes meanwhile and drops the missing one afterwards.
fn graceful_restart(helping: Kind, restarting: Kind, [asn, restarting_asn]: [u32; 2]) {
    let graceful = |mut speaker: Speaker| {
        for neighbor in &mut speaker.neighbors {
            neighbor.graceful_restart = true;
        }
        speaker
    };
    let pair = Pair::new();
    let helper = Daemon::start(helping, &pair.left, graceful(speaker(1, asn, restarting_asn)));
    let mut restarter = Daemon::start(restarting, &pair.right, graceful(speaker(2, restarting_asn, asn)));
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

const EXTERNAL: [u32; 2] = [ASN, ASN_EXTERNAL];
const INTERNAL: [u32; 2] = [ASN, ASN];

fn helps_restart(peer: Kind) {
    graceful_restart(under_test(), peer, EXTERNAL);
}

fn helps_restart_internal(peer: Kind) {
    graceful_restart(under_test(), peer, INTERNAL);
}

fn restarts(peer: Kind) {
    graceful_restart(peer, under_test(), EXTERNAL);
}

fn restarts_internal(peer: Kind) {
    graceful_restart(peer, under_test(), INTERNAL);
}

/// RFC 2918: who asks gets every route again.
fn refresh(asking: Kind, answering: Kind, [asn, answering_asn]: [u32; 2]) {
    let pair = Pair::new();
    let asker = Daemon::start(asking, &pair.left, speaker(1, asn, answering_asn));
    let answerer = Daemon::start(answering, &pair.right, speaker(2, answering_asn, asn));
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
    refresh(under_test(), peer, EXTERNAL);
}

fn refresh_asked_internal(peer: Kind) {
    refresh(under_test(), peer, INTERNAL);
}

fn refresh_answered(peer: Kind) {
    refresh(peer, under_test(), EXTERNAL);
}

fn refresh_answered_internal(peer: Kind) {
    refresh(peer, under_test(), INTERNAL);
}
