//! The unmodified `gobgp` of Debian and kulan's own command against a real kulan with live sessions: what is asked
//! for happens, and the neighbors notice.
//!
//! kulan stands between two BIRDs, each an external neighbor in both families. What the commands print word by
//! word, with canned data behind them, is the matter of `gobgp_cli.rs` and `kulan_cli.rs`.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use kulan_scale_tests::daemon::{
    Daemon, Family, Hop, Kind, Learned, Neighbor, Origin, Prefix, Rib, Route, Speaker, kulan,
};
use kulan_scale_tests::netns::Line;
use kulan_scale_tests::process::wait_for;
use serde_json::Value;

const ASN: u32 = 65001;
const BIRDS: [u32; 2] = [65101, 65102];
const FAMILIES: [Family; 2] = [Family::Ipv4, Family::Ipv6];

/// What kulan, the first and the second BIRD originate.
const OWN: [&str; 2] = ["10.9.0.0/24", "2001:db8:9::/48"];
const FIRST: [&str; 4] = ["10.1.0.0/24", "10.1.1.0/24", "2001:db8:1::/48", "2001:db8:1:8000::/49"];
const SECOND: [&str; 2] = ["10.2.0.0/24", "2001:db8:2::/48"];

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

/// The prefixes of one family among several, as JSON has them for keys.
fn of_family(family: Family, all: &[&[&str]]) -> BTreeSet<String> {
    all.concat().into_iter().filter(|text| prefix(text).family() == family).map(String::from).collect()
}

/// A BIRD's address on its cable with kulan.
fn bird(family: Family, number: u8) -> IpAddr {
    Line::address(family, number, 2)
}

/// kulan in the middle of a line, and a BIRD at each end.
struct Network<'n> {
    line: &'n Line,
    kulan: Daemon<'n>,
    birds: [Daemon<'n>; 2],
}

impl<'n> Network<'n> {
    /// Starts all three and waits for every session that kulan is configured for.
    fn start(line: &'n Line) -> Network<'n> {
        Network::start_with(line, BIRDS, |_| {})
    }

    fn start_with(line: &'n Line, asns: [u32; 2], change: impl FnOnce(&mut Speaker)) -> Network<'n> {
        let mut speaker = Speaker::new(ASN, Ipv4Addr::new(10, 0, 0, 9));
        speaker.routes = OWN.map(Route::new).into();
        for (number, asn) in [1, 2].into_iter().zip(asns) {
            speaker
                .neighbors
                .extend(FAMILIES.map(|family| {
                    Neighbor::new(Line::address(family, number, 1), bird(family, number), asn)
                }));
        }
        change(&mut speaker);
        let birds = [(1, &FIRST[..]), (2, &SECOND[..])].map(|(number, routes): (u8, &[&str])| {
            let asn = asns[usize::from(number) - 1];
            let mut speaker = Speaker::new(asn, Ipv4Addr::new(10, 0, 0, number));
            speaker.neighbors = FAMILIES
                .map(|family| Neighbor::new(bird(family, number), Line::address(family, number, 1), ASN))
                .into();
            speaker.routes = routes.iter().copied().map(Route::new).collect();
            Daemon::start(Kind::Bird, &line.clients[usize::from(number) - 1], speaker)
        });
        let kulan = Daemon::start(Kind::Kulan, &line.middle, speaker);
        let network = Network { line, kulan, birds };
        network.kulan.await_established();
        network
    }

    /// Waits until everybody has heard everything.
    fn await_routes(&self) {
        for family in FAMILIES {
            for (bird, others) in [(0, [&OWN[..], &SECOND]), (1, [&OWN[..], &FIRST])] {
                self.await_at_bird(bird, family, &of_family(family, &others));
            }
        }
    }

    /// Waits until a BIRD has learned just these prefixes.
    fn await_at_bird(&self, number: usize, family: Family, expected: &BTreeSet<String>) {
        wait_for("BIRD's table", || {
            let learned = self.birds[number].learned(family)?;
            let learned: BTreeSet<String> = learned.keys().map(Prefix::to_string).collect();
            if learned == *expected { Ok(()) } else { Err(format!("{learned:?}, not {expected:?}")) }
        });
    }

    /// Waits until a BIRD has learned a route, and returns what.
    fn learned_at_bird(&self, number: usize, route: &str) -> Learned {
        let prefix = prefix(route);
        wait_for("BIRD to learn a route", || {
            let mut learned: Rib = self.birds[number].learned(prefix.family())?;
            learned.remove(&prefix).ok_or_else(|| format!("{route} is missing"))
        })
    }

    /// Waits until a BIRD has lost a route.
    fn await_gone_at_bird(&self, number: usize, route: &str) {
        let prefix = prefix(route);
        wait_for("BIRD to lose a route", || {
            let learned = self.birds[number].learned(prefix.family())?;
            if learned.contains_key(&prefix) { Err(format!("{route} is there")) } else { Ok(()) }
        });
    }

    fn gobgp_command(&self, words: &str) -> Command {
        let mut command = self.line.middle.command("gobgp");
        command.args(words.split(' '));
        command
    }

    /// What `gobgp` prints; it must succeed.
    #[track_caller]
    fn gobgp(&self, words: &str) -> String {
        succeeded(&mut self.gobgp_command(words))
    }

    /// What `gobgp` prints with `-j`.
    #[track_caller]
    fn json(&self, words: &str) -> Value {
        let printed = self.gobgp(&format!("-j {words}"));
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("gobgp -j {words}: {error}: {printed}"))
    }

    /// The prefixes of a table as `gobgp` prints it with `-j`.
    #[track_caller]
    fn keys(&self, words: &str) -> BTreeSet<String> {
        let table = self.json(words);
        table.as_object().unwrap_or_else(|| panic!("{words}: {table}")).keys().cloned().collect()
    }

    /// The state of one neighbor.
    fn state(&self, neighbor: IpAddr) -> Value {
        self.json(&format!("neighbor {neighbor}"))["state"].clone()
    }

    fn kulan_command(&self, words: &str) -> Command {
        let mut command = self.line.middle.command(kulan::binary());
        command.args(["--target", &format!("unix:{}", self.kulan.directory().file("kulan.sock"))]);
        command.args(words.split(' '));
        command
    }

    /// What `kulan` prints; it must succeed.
    #[track_caller]
    fn kulan(&self, words: &str) -> String {
        succeeded(&mut self.kulan_command(words))
    }
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
fn succeeded(command: &mut Command) -> String {
    let output = run(command);
    let printed = text(&output.stdout);
    assert!(output.status.success(), "{command:?}: {printed}{}", text(&output.stderr));
    printed
}

/// What a command says, on whichever channel, that must fail.
#[track_caller]
fn failed(command: &mut Command) -> String {
    let output = run(command);
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(!output.status.success(), "{command:?} succeeded: {said}");
    said
}

#[track_caller]
fn assert_has(printed: &str, words: &[&str]) {
    for word in words {
        assert!(printed.contains(word), "{word:?} is not in:\n{printed}");
    }
}

/// The line that begins with this word.
#[track_caller]
fn row<'a>(printed: &'a str, first: &str) -> Vec<&'a str> {
    let rows = printed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.into_iter()
        .find(|words| words.contains(&first))
        .unwrap_or_else(|| panic!("no row of {first} in:\n{printed}"))
}

#[test]
fn neighbors() {
    let line = Line::new();
    let network = Network::start(&line);
    network.await_routes();
    let printed = network.gobgp("neighbor");
    let all = network.json("neighbor");
    assert_eq!(all.as_array().map(Vec::len), Some(4), "{all}");
    for (number, asn, count) in [(1u8, "65101", "2"), (2, "65102", "1")] {
        for family in FAMILIES {
            let address = bird(family, number).to_string();
            let words = row(&printed, &address);
            assert_eq!(words[1], asn);
            assert_eq!(words[words.len() - 4..], ["Establ", "|", count, count], "received and accepted");
            let one =
                all.as_array().into_iter().flatten().find(|one| one["conf"]["neighbor_address"] == *address);
            let one = one.unwrap_or_else(|| panic!("no {address} in {all}"));
            assert_eq!(one["state"]["session_state"], 6, "Established");
            assert_eq!(one["state"]["peer_asn"].to_string(), asn);
        }
    }
}

#[test]
fn one_neighbor() {
    let line = Line::new();
    let network = Network::start(&line);
    network.await_routes();
    for family in FAMILIES {
        let address = bird(family, 1);
        let printed = network.gobgp(&format!("neighbor {address}"));
        assert_has(
            &printed,
            &[
                &format!("BGP neighbor is {address}, remote AS 65101"),
                "remote router ID 10.0.0.1",
                "BGP state = ESTABLISHED",
                "multiprotocol",
                "route-refresh",
            ],
        );
        // Columns: sent, received.
        let updates = row(&printed, "Updates:");
        assert!(
            updates[1..].iter().all(|count| count.parse::<u64>().is_ok_and(|count| count > 0)),
            "{updates:?}"
        );
        let one = network.json(&format!("neighbor {address}"));
        assert_eq!(one["transport"]["remote_address"], address.to_string());
        assert_eq!(one["transport"]["local_address"], Line::address(family, 1, 1).to_string());
        assert_eq!(one["state"]["router_id"], "10.0.0.1");
    }
}

#[test]
fn what_a_neighbor_said_and_was_told() {
    let line = Line::new();
    let network = Network::start(&line);
    network.await_routes();
    for family in FAMILIES {
        let address = bird(family, 1);
        assert_eq!(network.keys(&format!("neighbor {address} adj-in")), of_family(family, &[&FIRST]));
        assert_eq!(network.keys(&format!("neighbor {address} adj-out")), of_family(family, &[&OWN, &SECOND]));
        let said = network.gobgp(&format!("neighbor {address} adj-in"));
        let told = network.gobgp(&format!("neighbor {address} adj-out"));
        for prefix in of_family(family, &[&FIRST]) {
            assert!(row(&said, &prefix).contains(&"65101"), "{said}");
        }
        for prefix in of_family(family, &[&SECOND]) {
            let words = row(&told, &prefix);
            // As it goes out: with our own AS, and with us for the next hop.
            assert!(words.windows(2).any(|path| path == ["65001", "65102"]), "{told}");
            assert!(words.contains(&&*Line::address(family, 1, 1).to_string()), "{told}");
        }
    }
}

#[test]
fn the_speaker_and_its_table() {
    let line = Line::new();
    let network = Network::start(&line);
    network.await_routes();
    assert_has(&network.gobgp("global"), &["AS:        65001", "Router-ID: 10.0.0.9"]);
    assert_eq!(network.json("global")["asn"], ASN);
    // Where TCP is not configured, or not trusted.
    let socket = network.kulan.directory().file("kulan.sock");
    assert_eq!(network.gobgp(&format!("--target unix://{socket} global")), network.gobgp("global"));
    let everything: [&[&str]; 3] = [&OWN, &FIRST, &SECOND];
    for family in FAMILIES {
        let option = format!("-a {}", family.name());
        let all = of_family(family, &everything);
        assert_eq!(network.keys(&format!("global rib {option}")), all);
        let printed = network.gobgp(&format!("global rib {option}"));
        for prefix in &all {
            assert_eq!(row(&printed, prefix)[0], "*>", "{printed}");
        }
        let summary = network.gobgp(&format!("global rib summary {option}"));
        assert_has(&summary, &[&format!("Destination: {0}, Path: {0}", all.len())]);
        let summary = network.json(&format!("global rib summary {option}"));
        assert_eq!(summary["num_destination"], all.len(), "{summary}");
    }
    for (words, found) in [
        ("global rib 10.1.1.0/24", "10.1.1.0/24"),
        ("global rib 10.1.1.77", "10.1.1.0/24"),
        ("global rib -a ipv6 2001:db8:1:8000::/49", "2001:db8:1:8000::/49"),
        ("global rib -a ipv6 2001:db8:1::77", "2001:db8:1::/48"),
    ] {
        assert_eq!(network.keys(words), BTreeSet::from([found.to_string()]), "{words}");
        row(&network.gobgp(words), found);
    }
    let within = BTreeSet::from(["2001:db8:1::/48".to_string(), "2001:db8:1:8000::/49".to_string()]);
    assert_eq!(network.keys("global rib -a ipv6 2001:db8:1::/48 longer-prefixes"), within);
    assert_eq!(network.keys("global rib -a ipv6 2001:db8:1:8000::/49 shorter-prefixes"), within);
    let missing = run(&mut network.gobgp_command("global rib 192.0.2.0/24"));
    assert_has(&(text(&missing.stdout) + &text(&missing.stderr)), &["Network not in table"]);
}

#[test]
fn routes_come_and_go() {
    let line = Line::new();
    let network = Network::start(&line);
    network.gobgp(
        "global rib add 10.5.0.0/24 origin egp med 9 aspath 65010,65011 community 65001:5 large-community 1:2:3",
    );
    network.gobgp("global rib add -a ipv6 2001:db8:5::/48 community 65001:6");
    for number in [0, 1] {
        let learned = network.learned_at_bird(number, "10.5.0.0/24");
        assert_eq!(learned.as_path, [ASN, 65010, 65011].map(Hop::As));
        assert_eq!(learned.origin, Origin::Egp);
        assert_eq!(learned.med, 9);
        assert_eq!(learned.communities, BTreeSet::from([(65001, 5)]));
        assert_eq!(learned.large, BTreeSet::from([(1, 2, 3)]));
        assert_eq!(learned.next_hop, Line::address(Family::Ipv4, number as u8 + 1, 1));
        let learned = network.learned_at_bird(number, "2001:db8:5::/48");
        assert_eq!(learned.communities, BTreeSet::from([(65001, 6)]));
        assert_eq!(learned.next_hop, Line::address(Family::Ipv6, number as u8 + 1, 1));
    }
    network.gobgp("global rib add 10.5.0.0/24 med 10");
    wait_for("the route to be replaced", || {
        let learned = network.learned_at_bird(0, "10.5.0.0/24");
        if (learned.med, learned.as_path.len()) == (10, 1) { Ok(()) } else { Err(format!("{learned:?}")) }
    });
    network.gobgp("global rib del 10.5.0.0/24");
    network.gobgp("global rib -a ipv6 del all");
    for number in [0, 1] {
        network.await_gone_at_bird(number, "10.5.0.0/24");
        network.await_gone_at_bird(number, "2001:db8:5::/48");
    }
    // What the configuration originates is not the API's to take away.
    let refused = failed(&mut network.gobgp_command("global rib del 10.9.0.0/24"));
    assert_has(&refused, &["10.9.0.0/24", "was not added with this API"]);
    network.await_routes();
}

/// A command that goes on until it is killed, and the lines that nobody has asked for yet.
struct Following {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Following {
    fn start(command: &mut Command) -> Following {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the command can be run");
        let all = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = lines.clone();
        // Ends with the command.
        std::thread::spawn(move || {
            all.map_while(Result::ok).for_each(|line| sink.lock().unwrap().push(line))
        });
        Following { child, lines }
    }

    /// Waits for a line with these words, and takes it.
    fn await_line(&self, words: &[&str]) -> String {
        wait_for("a line of a command that follows events", || {
            let mut lines = self.lines.lock().unwrap();
            let at = lines.iter().position(|line| words.iter().all(|word| line.contains(word)));
            let at = at.ok_or_else(|| format!("none with {words:?} in {lines:#?}"))?;
            Ok(lines.remove(at))
        })
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn monitors() {
    let line = Line::new();
    let network = Network::start(&line);
    network.await_routes();
    for (family, route) in FAMILIES.into_iter().zip(["10.5.0.0/24", "2001:db8:5::/48"]) {
        let option = format!("-a {}", family.name());
        let plain =
            Following::start(&mut network.gobgp_command(&format!("monitor global rib {option} --current")));
        let json = Following::start(
            &mut network.gobgp_command(&format!("-j monitor global rib {option} --current")),
        );
        // What there was is told first: from here on nothing is missed.
        for prefix in of_family(family, &[&OWN, &FIRST, &SECOND]) {
            json.await_line(&[&format!("\"{prefix}\"")]);
        }
        plain.await_line(&["[ROUTE]"]);
        network.gobgp(&format!("global rib add {option} {route} community 65001:77"));
        plain.await_line(&["[ROUTE]", route, "65001:77"]);
        let event = json.await_line(&[route]);
        let event: Value = serde_json::from_str(&event).unwrap_or_else(|error| panic!("{error}: {event}"));
        assert_eq!(event[0]["nlri"]["prefix"], route, "{event}");
        network.gobgp(&format!("global rib del {option} {route}"));
        plain.await_line(&["[DELROUTE]", route]);
        let event = json.await_line(&[route]);
        assert_has(&event, &["withdrawal"]);
    }
    let address = bird(Family::Ipv4, 1);
    let neighbor = Following::start(&mut network.gobgp_command(&format!("monitor neighbor {address}")));
    // It says nothing when it begins to listen: so things happen until it does.
    wait_for("`gobgp monitor neighbor` to listen", || {
        network.gobgp(&format!("neighbor {address} disable"));
        network.gobgp(&format!("neighbor {address} enable"));
        if neighbor.lines.lock().unwrap().is_empty() { Err("it is silent".to_string()) } else { Ok(()) }
    });
    neighbor.await_line(&["[NEIGH]", &address.to_string(), "ESTABLISHED"]);
    network.gobgp(&format!("neighbor {address} disable"));
    neighbor.await_line(&["[NEIGH]", &address.to_string(), "IDLE", "DOWN"]);
}

#[test]
fn a_reset_takes_the_session_down_and_it_comes_back() {
    let line = Line::new();
    let network = Network::start(&line);
    network.await_routes();
    let address = bird(Family::Ipv4, 1);
    let others: Vec<IpAddr> = vec![bird(Family::Ipv6, 1), bird(Family::Ipv4, 2), bird(Family::Ipv6, 2)];
    network.gobgp(&format!("neighbor {address} reset"));
    wait_for("the session to come back", || {
        let state = network.state(address);
        if state["session_state"] == 6 && state["flops"] == 1 { Ok(()) } else { Err(state.to_string()) }
    });
    network.await_routes();
    for other in others {
        assert!(network.state(other)["flops"].as_u64().unwrap_or(0) == 0, "{other} is not concerned");
    }
    assert_has(&network.birds[0].log(), &["bgp_10_0_1_1: Received: Administrative reset"]);
}

#[test]
fn a_soft_reset_says_everything_again_and_no_session_goes_down() {
    let line = Line::new();
    let network = Network::start(&line);
    network.await_routes();
    let address = bird(Family::Ipv4, 1);
    let count = |way: &str| network.state(address)["messages"][way]["update"].as_u64().unwrap_or(0);
    for (words, ways) in [
        ("softresetin", &["received"][..]),
        ("softresetout", &["sent"]),
        ("softreset", &["sent", "received"]),
    ] {
        let before: Vec<u64> = ways.iter().map(|way| count(way)).collect();
        network.gobgp(&format!("neighbor {address} {words}"));
        for (way, before) in ways.iter().zip(before) {
            wait_for("UPDATEs to be counted", || {
                let now = count(way);
                if now > before { Ok(()) } else { Err(format!("{words}: {now} {way}")) }
            });
        }
    }
    assert!(network.state(address)["flops"].as_u64().unwrap_or(0) == 0);
    network.await_routes();
}

#[test]
fn a_disabled_neighbor_stays_down_until_it_is_enabled() {
    let line = Line::new();
    let network = Network::start(&line);
    network.await_routes();
    let address = bird(Family::Ipv4, 1);
    network.gobgp(&format!("neighbor {address} disable"));
    assert_has(&network.gobgp("neighbor"), &["Idle(Admin)"]);
    assert_has(&network.gobgp(&format!("neighbor {address}")), &["BGP state = IDLE"]);
    assert_eq!(row(&network.kulan("show peers"), &address.to_string())[2..4], ["Down", "(admin)"]);
    wait_for("BIRD to notice", || match network.birds[0].established(Line::address(Family::Ipv4, 1, 1)) {
        Ok(()) => Err("established".to_string()),
        Err(_) => Ok(()),
    });
    network.await_at_bird(1, Family::Ipv4, &of_family(Family::Ipv4, &[&OWN]));
    network.await_at_bird(1, Family::Ipv6, &of_family(Family::Ipv6, &[&OWN, &FIRST]));
    network.gobgp(&format!("neighbor {address} enable"));
    network.await_routes();
}

#[test]
fn neighbors_are_added_and_deleted_but_not_those_of_the_configuration() {
    let line = Line::new();
    // The second BIRD is in kulan's AS, where nobody needs a policy (RFC 8212), and kulan does not know of it.
    let network = Network::start_with(&line, [BIRDS[0], ASN], |speaker| speaker.neighbors.truncate(2));
    let added = bird(Family::Ipv4, 2);
    network.gobgp(&format!("neighbor add {added} as {ASN}"));
    network.await_at_bird(1, Family::Ipv4, &of_family(Family::Ipv4, &[&OWN, &FIRST]));
    network.await_at_bird(0, Family::Ipv4, &of_family(Family::Ipv4, &[&OWN, &SECOND]));
    assert_eq!(network.json("neighbor").as_array().map(Vec::len), Some(3));
    let again = failed(&mut network.gobgp_command(&format!("neighbor add {added} as {ASN}")));
    assert_has(&again, &["there is a peer", &added.to_string()]);

    network.gobgp(&format!("neighbor del {added}"));
    assert_eq!(network.json("neighbor").as_array().map(Vec::len), Some(2));
    network.await_at_bird(0, Family::Ipv4, &of_family(Family::Ipv4, &[&OWN]));
    network.await_at_bird(1, Family::Ipv4, &BTreeSet::new());

    let configured = bird(Family::Ipv4, 1);
    let refused = failed(&mut network.gobgp_command(&format!("neighbor del {configured}")));
    assert_has(&refused, &[&configured.to_string(), "is in the configuration", "reload", "disable"]);
    let state = network.state(configured);
    assert_eq!(state["session_state"], 6, "{state}");
    assert!(state["flops"].as_u64().unwrap_or(0) == 0, "{state}");
    let unknown = failed(&mut network.gobgp_command("neighbor del 192.0.2.1"));
    assert_has(&unknown, &["no peer has the address 192.0.2.1"]);
}

#[test]
fn kulans_own_words_for_the_same() {
    let line = Line::new();
    let network = Network::start_with(&line, BIRDS, |speaker| speaker.install = true);
    network.await_routes();
    let json = |words: &str| -> Value {
        let printed = network.kulan(&format!("{words} --json"));
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{words}: {error}: {printed}"))
    };
    let peers = network.kulan("show peers");
    for (number, asn) in [(1, "65101"), (2, "65102")] {
        for family in FAMILIES {
            assert_eq!(row(&peers, &bird(family, number).to_string())[1..3], [asn, "Established"]);
        }
    }
    assert_eq!(json("show peers").as_array().map(Vec::len), Some(4));
    let address = bird(Family::Ipv4, 1);
    assert_has(
        &network.kulan(&format!("show peers {address}")),
        &[
            &format!("{address}, AS 65101, external"),
            "Established for",
            &format!("{}:", Line::address(Family::Ipv4, 1, 1)),
            &format!(" to {address}:"),
            "multiprotocol ipv4-unicast",
            "received, sent",
        ],
    );
    let everything: [&[&str]; 3] = [&OWN, &FIRST, &SECOND];
    let keys = |rows: Value| -> BTreeSet<String> {
        let rows = rows.as_array().cloned().unwrap_or_default();
        rows.iter().map(|row| row["prefix"].as_str().unwrap_or_default().to_string()).collect()
    };
    let printed = network.kulan("show routes");
    for family in FAMILIES {
        let name = family.name();
        let address = bird(family, 1);
        for prefix in of_family(family, &everything) {
            assert_eq!(row(&printed, &prefix)[0], "*>", "{printed}");
        }
        assert_eq!(keys(json(&format!("show routes --family {name}"))), of_family(family, &everything));
        let said = json(&format!("show routes --family {name} --peer {address} --in"));
        assert_eq!(keys(said), of_family(family, &[&FIRST]));
        let told = json(&format!("show routes --family {name} --peer {address} --out"));
        assert_eq!(keys(told), of_family(family, &[&OWN, &SECOND]));
        // Our own routes are not the kernel's to hold.
        wait_for("the kernel to hold what was learned", || {
            let fib = json(&format!("show fib --family {name}"));
            let installed = fib.as_array().into_iter().flatten().all(|row| row["state"] == "installed");
            let right = installed && keys(fib.clone()) == of_family(family, &[&FIRST, &SECOND]);
            if right { Ok(()) } else { Err(fib.to_string()) }
        });
    }
    assert_has(&network.kulan("show routes 10.1.1.77"), &["10.1.1.0/24", "from 10.0.1.2 (AS 65101"]);
    assert_has(&network.kulan("show fib"), &["10.2.0.0/24", "via 10.0.2.2 dev eth2"]);
    assert_has(&network.kulan("show domains"), &["default", "254"]);
    assert_has(&network.kulan("show summary"), &["AS 65001, router id 10.0.0.9", "4, 4 established"]);
    assert_eq!(json("show summary")["peers_established"], 4);
    let missing = failed(&mut network.kulan_command("show routes 192.0.2.0/24"));
    assert_has(&missing, &["no route matches 192.0.2.0/24"]);
}

#[test]
fn a_reload_applies_what_changed_and_a_wrong_file_changes_nothing() {
    let line = Line::new();
    let mut network = Network::start(&line);
    network.await_routes();
    assert_has(&network.kulan("reload"), &["nothing changed"]);

    let path = network.kulan.directory().file("kulan.toml");
    let right = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, right.replace(&format!("asn = {}", BIRDS[0]), "asn = \"many\"")).unwrap();
    let complaint = failed(&mut network.kulan_command("reload"));
    assert_has(&complaint, &["kulan.toml:", "asn", "many"]);
    std::fs::write(&path, right).unwrap();

    network.kulan.withdraw(&[prefix(OWN[0])]);
    for number in [0, 1] {
        network.await_gone_at_bird(number, OWN[0]);
    }
    for number in [1, 2] {
        for family in FAMILIES {
            let state = network.state(bird(family, number));
            assert_eq!(state["session_state"], 6, "{state}");
            assert!(state["flops"].as_u64().unwrap_or(0) == 0, "no session goes down: {state}");
        }
    }
}
