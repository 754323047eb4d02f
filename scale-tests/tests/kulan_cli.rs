//! kulan's own command line against its API, with canned data behind it.

mod fake_loop;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use fake_loop::{Fake, MANY, output, text};
use serde_json::Value;

/// The `kulan` binary that belongs to this test: Cargo builds it beside the test's own.
fn binary() -> &'static PathBuf {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
        let built = Command::new(cargo).args(["build", "-q", "-p", "kulan", "--bin", "kulan"]).status();
        assert!(built.is_ok_and(|status| status.success()), "kulan does not build");
        let test = std::env::current_exe().unwrap();
        test.ancestors().nth(3).unwrap().join("debug/kulan")
    })
}

fn run(fake: &Fake, arguments: &str) -> Output {
    let target = format!("unix:{}", fake.socket.display());
    output(Command::new(binary()).args(arguments.split(' ')).env("KULAN_TARGET", target))
}

/// What the command prints; it must succeed and not complain.
#[track_caller]
fn kulan(fake: &Fake, arguments: &str) -> String {
    let output = run(fake, arguments);
    assert!(output.status.success(), "kulan {arguments}: {}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "");
    text(&output.stdout)
}

#[track_caller]
fn json(fake: &Fake, arguments: &str) -> Value {
    let printed = kulan(fake, &format!("{arguments} --json"));
    serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{arguments}: {error}: {printed}"))
}

#[track_caller]
fn assert_fails(output: &Output, status: i32, words: &str) {
    let complaint = text(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{complaint}");
    assert!(complaint.contains(words), "{words:?} is not in: {complaint}");
}

#[test]
fn peers() {
    let fake = Fake::start();
    let expected = "\
Peer                 AS  State           For  Received  Accepted  Advertised  Description
10.0.0.1          65001  Established    2d3h         3         3           6  top of rack
10.0.0.2          65000  Down (admin)  5m12s         0         0           0  tors
2001:db8::2  4200000000  Active        never         0         0           0  tors
";
    assert_eq!(kulan(&fake, "show peers"), expected);
    let peers = json(&fake, "show peers");
    assert_eq!(peers[0]["address"], "10.0.0.1");
    assert_eq!(peers[0]["since_ms"], 51 * 3_600_000);
    assert_eq!(peers[1]["admin_state"], "down");
    assert_eq!(peers[2]["since_ms"], Value::Null);
}

#[test]
fn one_peer() {
    let fake = Fake::start();
    let expected = "\
10.0.0.1, AS 65001, external
  Description:  top of rack
  Group:        tors
  Domain:       default
  State:        Established for 2d3h, went down once
  Last error:   received Cease/Administrative Reset
  Router id:    10.0.1.1
  Local AS:     65000
  Connection:   10.0.0.254:179 to 10.0.0.1:40000
  Hold time:    30 s, 90 s proposed
  Out queue:    2 messages
  We offer:     multiprotocol ipv4-unicast, route refresh, extended messages
  It offers:    multiprotocol ipv4-unicast, 4-octet AS 65001, multiprotocol ipv6-unicast,
                route refresh, enhanced route refresh, extended next hop, graceful restart 120 s,
                ADD-PATH send and receive, host name tor1, software router 1.0,
                long-lived graceful restart, code 200

  Family        Received  Accepted  Advertised  End-of-RIB
  ipv4-unicast         2         2           3  received, sent
  ipv6-unicast         1         1           3  received, sent

  Messages  Open  Update  Notification  Keepalive  Route refresh
  received     1      20             0        300              1
  sent         1      20             0        300              1
";
    assert_eq!(kulan(&fake, "show peers 10.0.0.1"), expected);
    assert_eq!(json(&fake, "show peers 10.0.0.1")[0]["remote_capabilities"][1]["value"], "0000fde9");
    assert_fails(&run(&fake, "show peers 10.0.0.99"), 1, "there is no peer 10.0.0.99");
}

#[test]
fn routes() {
    let fake = Fake::start();
    let expected = "     Prefix       Next hop     From      Pref  MED  AS path
*>   10.0.0.0/8   192.0.2.1    10.0.0.1   200   50  65001 65002 i
*>   10.1.0.0/16  192.0.2.1    10.0.0.1   200   50  65001 65002 i
*=S  10.1.0.0/16  2001:db8::9  local        -    -  ?

    Prefix           Next hop     From      Pref  MED  AS path
*>  2001:db8:1::/48  2001:db8::1  10.0.0.1   200   50  65001 65002 i
";
    assert_eq!(kulan(&fake, "show routes"), expected);
    let v6 = kulan(&fake, "show routes --family ipv6-unicast");
    assert_eq!(v6.lines().count(), 2, "{v6}");
    let longer = kulan(&fake, "show routes 10.1.0.0/16 --longer");
    assert_eq!(longer.lines().count(), 3, "{longer}");
    let many = kulan(&fake, "show routes --peer 10.0.0.2 --in --family ipv4");
    assert_eq!(many.lines().count(), MANY as usize + 1);
    let many = json(&fake, "show routes --peer 10.0.0.2 --in --family ipv4");
    assert_eq!(many.as_array().map(Vec::len), Some(MANY as usize));
    let out = json(&fake, "show routes --peer 10.0.0.1 --out");
    assert_eq!(out[0]["paths"][0]["as_path"], "65001 65002");
    assert_eq!(out[0]["paths"][0]["communities"][0], "65000:1");
    assert_eq!(out[0]["paths"][0]["large_communities"][0], "65000:1:2");
    assert_eq!(out[0]["paths"][0]["origin"], "igp");
}

#[test]
fn one_route() {
    let fake = Fake::start();
    let expected = "\
10.1.0.0/16, 2 paths
  from 10.0.0.1 (AS 65001, router id 10.0.1.1), best, 5m12s old
    Next hop:              192.0.2.1
    AS path:               65001 65002
    Origin:                IGP
    Local preference:      200
    MED:                   50
    Communities:           65000:1
    Large communities:     65000:1:2
    Originator:            10.0.0.7
    Cluster list:          10.0.0.8
  originated here, in use, stale, 5m12s old
    Next hop:              2001:db8::9
    AS path:               empty
    Origin:                incomplete
";
    assert_eq!(kulan(&fake, "show routes 10.1.0.0/16"), expected);
    assert_eq!(kulan(&fake, "show routes 10.1.2.3"), expected, "the longest match");
    assert_fails(&run(&fake, "show routes 11.0.0.0/8"), 1, "no route matches 11.0.0.0/8");
    let longer = run(&fake, "show routes 11.0.0.0/8 --longer");
    assert_fails(&longer, 1, "no route matches 11.0.0.0/8");
    assert_eq!(text(&longer.stdout), "", "no table where there is nothing");
    assert_fails(&run(&fake, "show routes 10.0.0.1/8"), 2, "host bits");
    assert_fails(&run(&fake, "show routes --domain elsewhere"), 1, "no such domain");
    assert_fails(&run(&fake, "show routes --peer 10.0.0.99 --in"), 1, "there is no peer 10.0.0.99");
}

#[test]
fn the_kernel_and_the_domains() {
    let fake = Fake::start();
    let expected = "\
Prefix       State                           Next hops
10.0.0.0/8   installed                       via 192.0.2.1 dev eth0, via 192.0.2.2 dev eth0 weight 3
10.1.0.0/16  failed: Network is unreachable  via 192.0.2.1 dev eth0
";
    assert_eq!(kulan(&fake, "show fib"), expected);
    assert_eq!(json(&fake, "show fib")[0]["next_hops"][1]["weight"], 3);
    let expected = "\
Domain   Table  Peers  IPv4 routes  IPv6 routes  Max paths  Installed  Pending  Failed
default    254      3            2            1          4          2        1       0
";
    assert_eq!(kulan(&fake, "show domains"), expected);
    assert_eq!(json(&fake, "show domains")[0]["table"], 254);
}

#[test]
fn summary() {
    let fake = Fake::start();
    let printed = kulan(&fake, "show summary");
    for words in [
        "AS 65000, router id 10.0.0.1",
        "up for 2d3h",
        "3, 1 established",
        "2 destinations, 3 paths",
        "trie 12.0 kB, attributes 3.4 MB",
        "1234 turns, busy for 5.60 s, longest turn 2.3 ms",
        "changed_destinations",
        "treat_as_withdraw",
    ] {
        assert!(printed.contains(words), "{words:?} is not in:\n{printed}");
    }
    let all = json(&fake, "show summary");
    assert_eq!(all["asn"], 65000);
    assert_eq!(all["loop"]["queues"][0]["limit"], 4096);
}

#[test]
fn reload() {
    let fake = Fake::start();
    assert_eq!(kulan(&fake, "reload"), "peer 10.0.0.9: added\n");
    assert_eq!(json(&fake, "reload")["changes"][0], "peer 10.0.0.9: added");
}

#[test]
fn watch() {
    let fake = Fake::start();
    let lines = |arguments: &str, count: usize| {
        let mut child = Command::new(binary())
            .args(["--target", fake.socket.to_str().unwrap()])
            .args(arguments.split(' '))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let all = BufReader::new(child.stdout.take().unwrap()).lines();
        let lines: Vec<String> = all.take(count).map(Result::unwrap).collect();
        child.kill().unwrap();
        child.wait().unwrap();
        lines
    };
    let what = "via 192.0.2.1 path 65001 65002 i localpref 200 med 50 communities 65000:1";
    assert_eq!(
        lines("watch", 3),
        [
            format!("route 10.9.0.0/16 {what}"),
            "route 10.9.0.0/16 gone".into(),
            "peer 10.0.0.2 AS 65000 Down (admin) (received Cease/Administrative Reset)".into(),
        ]
    );
    assert_eq!(
        lines("watch --adj-in", 2),
        [format!("peer 10.0.0.1 announces 10.9.0.0/16 {what}"), "peer 10.0.0.1 withdraws 10.9.0.0/16".into(),]
    );
    // Events may come between what there was, before it, and after.
    let initial = lines("watch --routes --initial", 6);
    let end = initial.iter().position(|line| line == "that is what there was; what follows is new");
    let before = &initial[..end.expect("the end is told")];
    for prefix in ["10.0.0.0/8", "10.1.0.0/16", "2001:db8:1::/48"] {
        assert!(before.iter().any(|line| line.starts_with(&format!("route {prefix} via "))), "{initial:?}");
    }
    let event: Value = serde_json::from_str(&lines("watch --routes --json", 1)[0]).unwrap();
    assert_eq!(event["event"], "best");
    assert_eq!(event["path"]["next_hop"], "192.0.2.1");
}

#[test]
fn without_a_daemon() {
    let output = output(Command::new(binary()).args(["show", "peers", "--socket", "/tmp/nobody-is-here"]));
    assert_fails(&output, 1, "no daemon answers at /tmp/nobody-is-here: is `kulan run` running?");
    assert_eq!(text(&output.stdout), "");
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    let fake = Fake::start();
    let mut child = Command::new(binary())
        .args(["--target", fake.socket.to_str().unwrap()])
        .args(["show", "routes", "--peer", "10.0.0.2", "--in"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn wrong_usage_and_wrong_configurations_exit_with_2() {
    let run = |arguments: &str| output(Command::new(binary()).args(arguments.split(' ')));
    assert_fails(&run("show everything"), 2, "show");
    assert_fails(&run("check --config /tmp/there-is-no-such-file"), 2, "/tmp/there-is-no-such-file");
    assert_fails(&run("run --config /tmp/there-is-no-such-file"), 2, "cannot be read");
    let verdict = run("check --json --config /tmp/there-is-no-such-file");
    let verdict: Value = serde_json::from_slice(&verdict.stdout).unwrap();
    assert_eq!(verdict["errors"].as_array().map(Vec::len), Some(1));
}

#[test]
fn check() {
    let fake = Fake::start();
    let file = fake.socket.with_file_name("kulan.toml");
    let run = |text: &str| {
        std::fs::write(&file, text).unwrap();
        output(Command::new(binary()).args(["check", "--config", file.to_str().unwrap()]))
    };
    let right =
        "[speaker]\nasn = 65000\nrouter_id = \"10.0.0.1\"\n\n[[peer]]\naddress = \"10.0.0.2\"\nasn = 65001\n";
    let verdict = run(right);
    assert!(verdict.status.success(), "{}", text(&verdict.stderr));
    let expected =
        format!("{} is right: AS 65000, peers 1, peer ranges 0, domains 1, networks 0\n", file.display());
    assert_eq!(text(&verdict.stdout), expected);
    let wrong = run(&right.replace("65001", "\"many\"").replace("router_id", "router_ip"));
    assert_fails(&wrong, 2, "kulan.toml:3");
    assert_fails(&wrong, 2, "router_id");
    assert_fails(&wrong, 2, "kulan.toml:7");
}

#[test]
fn metrics_and_health() {
    let fake = Fake::start();
    let get = |path: &str| {
        let mut connection = TcpStream::connect(fake.http).unwrap();
        write!(connection, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(get("/healthz").starts_with("HTTP/1.1 200"), "{}", get("/healthz"));
    let metrics = get("/metrics");
    for line in [
        "kulan_peers 3",
        "kulan_peer_up{peer=\"10.0.0.1\"} 1",
        "kulan_peer_up{peer=\"2001:db8::2\"} 0",
        "kulan_peer_messages_received_total{peer=\"10.0.0.1\",type=\"update\"} 20",
        "kulan_peer_prefixes_received{peer=\"10.0.0.1\",family=\"ipv4-unicast\"} 2",
        "kulan_destinations{domain=\"default\",family=\"ipv6-unicast\"} 1",
        "kulan_kernel_routes{domain=\"default\",state=\"installed\"} 2",
        "kulan_loop_stage_busy_seconds_total{stage=\"decide\"} 0.001",
        "kulan_queue_limit{queue=\"changed_destinations\"} 4096",
        "kulan_treat_as_withdraw_total 3",
        "# EOF",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line:?} is not in:\n{metrics}");
    }
    assert!(get("/elsewhere").starts_with("HTTP/1.1 404"));
}
