//! The unmodified `gobgp` command of Debian against kulan's API, with canned data behind it: every command
//! that operators use day by day prints what it should, as text and as JSON.

mod fake_loop;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use fake_loop::{Fake, MANY, output, text};
use serde_json::Value;

fn command(fake: &Fake, arguments: &str) -> Command {
    let mut command = Command::new("gobgp");
    command.args(["-p", &fake.grpc.port().to_string()]).args(arguments.split(' '));
    command
}

fn require_gobgp() {
    let found = Command::new("gobgp").arg("--version").output();
    assert!(found.is_ok(), "gobgp is missing: apt-get install gobgpd");
}

/// What the command prints; it must succeed.
fn gobgp(fake: &Fake, arguments: &str) -> String {
    require_gobgp();
    let output = output(&mut command(fake, arguments));
    let printed = text(&output.stdout);
    assert!(output.status.success(), "gobgp {arguments}: {printed}{}", text(&output.stderr));
    printed
}

/// What the command prints with `-j`, parsed.
fn json(fake: &Fake, arguments: &str) -> Value {
    let printed = gobgp(fake, &format!("-j {arguments}"));
    serde_json::from_str(&printed).unwrap_or_else(|error| panic!("gobgp -j {arguments}: {error}: {printed}"))
}

#[track_caller]
fn assert_has(printed: &str, words: &[&str]) {
    for word in words {
        assert!(printed.contains(word), "{word:?} is not in:\n{printed}");
    }
}

#[test]
fn neighbor() {
    let fake = Fake::start();
    let printed = gobgp(&fake, "neighbor");
    assert_has(&printed, &["Peer", "10.0.0.1", "65001", "2d 03:00:0", "Establ", "2001:db8::2", "4200000000"]);
    let down = printed.lines().find(|line| line.contains("10.0.0.2")).unwrap();
    assert_has(down, &["Idle(Admin)", "00:05:12"]);
    let all = json(&fake, "neighbor");
    assert_eq!(all.as_array().map(Vec::len), Some(3));
}

#[test]
fn neighbor_in_detail() {
    let fake = Fake::start();
    let printed = gobgp(&fake, "neighbor 10.0.0.1");
    assert_has(
        &printed,
        &["BGP neighbor is 10.0.0.1, remote AS 65001", "BGP state = ESTABLISHED", "Updates:", "Received:"],
    );
    for other in ["10.0.0.2", "2001:db8::2"] {
        assert_has(&gobgp(&fake, &format!("neighbor {other}")), &[other]);
    }
    json(&fake, "neighbor 10.0.0.1");
}

#[test]
fn capabilities_of_a_neighbor() {
    let fake = Fake::start();
    let printed = gobgp(&fake, "neighbor 10.0.0.1");
    let words: Vec<&str> = printed.split_whitespace().collect();
    let printed = words.join(" ");
    assert_has(
        &printed,
        &[
            "multiprotocol: ipv4-unicast: advertised and received ipv6-unicast: received",
            "route-refresh: advertised and received",
            "extended-nexthop: received Remote: nlri: ipv4-unicast, nexthop: ipv6",
            "UnknownCapability(6): advertised",
            "graceful-restart: received Remote: restart time 120 sec, notification flag set \
             ipv4-unicast, forward flag set",
            "4-octet-as: received",
            "add-path: received Remote: ipv4-unicast: receive/send",
            "enhanced-route-refresh: received",
            "long-lived-graceful-restart: received Remote: ipv4-unicast, restart time 3600 sec, forward flag set",
            "fqdn: received Remote: name: tor1, domain: example.net",
            "UnknownCapability(200): received",
        ],
    );
    let state = &json(&fake, "neighbor 10.0.0.1")["state"];
    assert_eq!(state["remote_cap"].as_array().map(Vec::len), Some(11), "{state}");
}

#[test]
fn the_unix_socket_serves_as_well() {
    let fake = Fake::start();
    require_gobgp();
    let target = format!("unix://{}", fake.socket.display());
    for (arguments, word) in
        [("global", "AS:        65000"), ("global rib", "*> 10.0.0.0/8"), ("neighbor", "Establ")]
    {
        let mut command = Command::new("gobgp");
        command.args(["--target", &target]).args(arguments.split(' '));
        let output = output(&mut command);
        assert!(output.status.success(), "gobgp {arguments}: {}", text(&output.stderr));
        assert_has(&text(&output.stdout), &[word]);
    }
}

#[test]
fn global() {
    let fake = Fake::start();
    let printed = gobgp(&fake, "global");
    assert_has(&printed, &["AS:        65000", "Router-ID: 10.0.0.1", "Listening Port: 179"]);
    json(&fake, "global");
}

#[test]
fn global_rib() {
    let fake = Fake::start();
    let printed = gobgp(&fake, "global rib");
    assert_has(
        &printed,
        &[
            "*> 10.0.0.0/8",
            "192.0.2.1",
            "65001 65002",
            "{Origin: i}",
            "{Med: 50}",
            "{LocalPref: 200}",
            "{Communities: 65000:1}",
            "{Originator: 10.0.0.7}",
            "{ClusterList: [10.0.0.8]}",
            "{LargeCommunity: [ 65000:1:2]}",
            "2001:db8::9",
            "00:05:12",
        ],
    );
    let printed = gobgp(&fake, "global rib -a ipv6");
    assert_has(&printed, &["2001:db8:1::/48", "2001:db8::1"]);
    let all = json(&fake, "global rib");
    assert_eq!(all["10.1.0.0/16"].as_array().map(Vec::len), Some(2), "{all}");
}

#[test]
fn one_prefix_and_what_lies_within_or_around_it() {
    let fake = Fake::start();
    let exact = gobgp(&fake, "global rib 10.0.0.0/8");
    assert!(exact.contains("10.0.0.0/8") && !exact.contains("10.1.0.0/16"), "{exact}");
    let longest = gobgp(&fake, "global rib 10.1.2.3");
    assert!(longest.contains("10.1.0.0/16") && !longest.contains("10.0.0.0/8"), "{longest}");
    assert_has(&gobgp(&fake, "global rib 10.0.0.0/8 longer-prefixes"), &["10.0.0.0/8", "10.1.0.0/16"]);
    assert_has(&gobgp(&fake, "global rib 10.1.0.0/16 shorter-prefixes"), &["10.0.0.0/8", "10.1.0.0/16"]);
    let missing = output(&mut command(&fake, "global rib 11.0.0.0/8"));
    assert_has(&(text(&missing.stdout) + &text(&missing.stderr)), &["Network not in table"]);
}

#[test]
fn tables_of_a_neighbor() {
    let fake = Fake::start();
    let received = gobgp(&fake, "neighbor 10.0.0.1 adj-in");
    assert_has(&received, &["10.0.0.0/8", "192.0.2.1", "65001 65002"]);
    let advertised = gobgp(&fake, "neighbor 10.0.0.1 adj-out");
    assert_has(&advertised, &["10.0.0.0/8", "192.0.2.1", "65001 65002"]);
    // More than a page.
    let many = json(&fake, "neighbor 10.0.0.2 adj-in");
    assert_eq!(many.as_object().map(serde_json::Map::len), Some(MANY as usize));
    assert_has(&gobgp(&fake, "neighbor 10.0.0.2 adj-in summary"), &[&MANY.to_string()]);
}

#[test]
fn summary() {
    let fake = Fake::start();
    let printed = gobgp(&fake, "global rib summary");
    assert_has(&printed, &["Destination: 2, Path: 3"]);
    json(&fake, "global rib summary");
}

#[test]
fn adding_and_deleting_routes() {
    let fake = Fake::start();
    gobgp(
        &fake,
        "global rib add 10.5.0.0/24 nexthop 192.0.2.7 origin igp med 9 local-pref 150 \
         community 65000:5,no-export aspath 65010 large-community 1:2:3",
    );
    let asked = fake.take_asked();
    assert_has(&asked, &["NewPath", "10.5.0.0/24", "192.0.2.7", "64, 1, 1, 0", "128, 4, 4, 0, 0, 0, 9"]);
    gobgp(&fake, "global rib add 10.6.0.0/24");
    assert_has(&fake.take_asked(), &["10.6.0.0/24", "0.0.0.0"]);
    gobgp(&fake, "global rib add -a ipv6 2001:db8:5::/48 nexthop 2001:db8::7");
    assert_has(&fake.take_asked(), &["2001:db8:5::/48", "2001:db8::7"]);
    gobgp(&fake, "global rib del 10.5.0.0/24");
    assert_has(&fake.take_asked(), &["OldPath", "10.5.0.0/24"]);
    gobgp(&fake, "global rib -a ipv6 del all");
    assert_has(&fake.take_asked(), &["Family(Ipv6Unicast)"]);
}

#[test]
fn resetting_and_stopping_neighbors() {
    let fake = Fake::start();
    for (words, asked) in [
        ("reset", "reset Address(10.0.0.1) Hard"),
        ("softreset", "reset Address(10.0.0.1) SoftBoth"),
        ("softresetin", "reset Address(10.0.0.1) SoftIn"),
        ("softresetout", "reset Address(10.0.0.1) SoftOut"),
        ("enable", "enable Address(10.0.0.1)"),
        ("disable", "disable Address(10.0.0.1)"),
        ("shutdown", "disable Address(10.0.0.1)"),
    ] {
        gobgp(&fake, &format!("neighbor 10.0.0.1 {words}"));
        assert_has(&fake.take_asked(), &[asked]);
    }
}

#[test]
fn adding_and_deleting_neighbors() {
    let fake = Fake::start();
    gobgp(&fake, "neighbor add 10.0.0.77 as 65077 ebgp-multihop-ttl 5 route-reflector-client 10.0.0.1");
    assert_has(
        &fake.take_asked(),
        &[
            "address: 10.0.0.77",
            "asn: Some(65077)",
            "route_reflector_client: Some(true)",
            "multihop_ttl: Some(5)",
        ],
    );
    let refused =
        output(&mut command(&fake, "neighbor add 10.0.0.77 as 65077 route-reflector-client 10.9.9.9"));
    assert_has(&(text(&refused.stdout) + &text(&refused.stderr)), &["it reflects with 10.0.0.1 only"]);
    let refused = output(&mut command(&fake, "neighbor del 10.0.0.1"));
    assert!(!refused.status.success());
    assert_has(&(text(&refused.stdout) + &text(&refused.stderr)), &["is in the configuration"]);
}

/// A command that runs until it is killed.
struct Following(Child);

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The first lines of a command that never ends.
fn first_lines(fake: &Fake, arguments: &str, count: usize) -> Vec<String> {
    require_gobgp();
    let mut child = Following(command(fake, arguments).stdout(Stdio::piped()).spawn().unwrap());
    let lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
    lines.take(count).map(|line| line.unwrap()).collect()
}

#[test]
fn monitor() {
    let fake = Fake::start();
    let lines = first_lines(&fake, "monitor global rib", 2);
    assert_has(&lines[0], &["[ROUTE]", "10.9.0.0/16", "192.0.2.1", "65001 65002"]);
    assert_has(&lines[1], &["[DELROUTE]", "10.9.0.0/16"]);
    let lines = first_lines(&fake, "monitor global rib --current", 4);
    assert_has(&lines.join("\n"), &["10.0.0.0/8", "10.1.0.0/16", "10.9.0.0/16"]);
    let lines = first_lines(&fake, "monitor adj-in", 2);
    assert_has(&lines[1], &["[DELROUTE]", "10.9.0.0/16"]);
    let lines = first_lines(&fake, "monitor neighbor 10.0.0.2", 1);
    assert_has(&lines[0], &["10.0.0.2"]);
}

#[test]
fn what_kulan_does_not_have_is_empty_or_says_so() {
    let fake = Fake::start();
    for arguments in ["vrf", "policy", "policy prefix", "rpki server", "bmp"] {
        let printed = output(&mut command(&fake, arguments));
        assert!(printed.status.success(), "{arguments}: {}", text(&printed.stdout));
    }
    let printed = output(&mut command(&fake, "log-level debug"));
    assert!(!printed.status.success());
}
