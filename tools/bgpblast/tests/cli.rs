//! What a person sees who types a command: exit statuses, messages that name the place and the remedy, and output that
//! other programs can read.
//!
//! The program itself is run, as it was built with these tests. Where a speaker is needed it is kulan, started by
//! bgpblast (`cargo build -p kulan --bin kulan`, or `KULAN_BIN`), which wants the rights to make network namespaces.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use bgpblast::outcome::{Comparison, Outcome};

const PROGRAM: &str = env!("CARGO_BIN_EXE_bgpblast");

/// What came of a command.
struct Said {
    status: i32,
    out: String,
    err: String,
}

fn said(output: Output) -> Said {
    Said {
        status: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs a command line, whose words are apart by blanks.
fn bgpblast(line: &str) -> Said {
    said(Command::new(PROGRAM).args(line.split_whitespace()).output().unwrap())
}

impl Said {
    /// That it went wrong with this status, and these words on standard error.
    fn failed(&self, status: i32, words: &[&str]) {
        assert_eq!(self.status, status, "{}{}", self.out, self.err);
        words.iter().for_each(|word| assert!(self.err.contains(word), "{word:?} is not in {:?}", self.err));
        assert!(!self.err.contains("panicked"), "{}", self.err);
    }

    /// That it went well; gives back what it printed.
    fn printed(self) -> String {
        assert_eq!(self.status, 0, "{}{}", self.out, self.err);
        self.out
    }
}

/// A file that goes with its test.
struct Scratch(PathBuf);

impl Scratch {
    fn path(name: &str) -> Scratch {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Scratch(std::env::temp_dir().join(format!("bgpblast-cli-{}-{number}-{name}", std::process::id())))
    }

    fn new(name: &str, content: impl AsRef<[u8]>) -> Scratch {
        let file = Scratch::path(name);
        std::fs::write(&file.0, content).unwrap();
        file
    }

    fn name(&self) -> &str {
        self.0.to_str().unwrap()
    }

    fn read(&self) -> String {
        std::fs::read_to_string(&self.0).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A port of this machine on which nobody listens: it was free, and is kept from everybody else.
fn dead_port() -> (socket2::Socket, u16) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    let port = socket.local_addr().unwrap().as_socket().unwrap().port();
    (socket, port)
}

// Usage.

#[test]
fn wrong_usage_is_told_and_ends_with_2() {
    let here = "--target 127.0.0.1";
    for (line, words) in [
        (String::new(), &["Usage"][..]),
        ("tabel".into(), &["tabel", "table"]),
        ("table".into(), &["--target", "--speaker"]),
        (format!("table {here} --speaker kulan"), &["--speaker"]),
        ("table --target nowhere".into(), &["nowhere", "ADDRESS:PORT"]),
        ("table --speaker quagga".into(), &["quagga", "kulan, bird, frr, gobgp, openbgpd, exabgp"]),
        (format!("table {here} --routes many"), &["many", "--routes"]),
        (format!("table {here} --mrt a --prefixes b"), &["--prefixes"]),
        (format!("table {here} --mrt-peer 3"), &["--mrt"]),
        (format!("table {here} --allow-target here"), &["here", "--allow-target"]),
        (format!("flap {here} --share 1.5"), &["1.5", "at most 1"]),
        (format!("storm {here} --per-second 0"), &["above 0"]),
        (format!("idle {here} --seconds NaN"), &["above 0"]),
        (format!("table {here} --hold-time 70000"), &["70000", "--hold-time"]),
        ("compare --runs 0 table".into(), &["--runs"]),
        ("compare --speakers kulan,quagga table".into(), &["quagga"]),
        ("compare".into(), &["Usage"]),
        ("config quagga table".into(), &["quagga"]),
        ("show".into(), &["Usage"]),
        (format!("run {here}"), &["FILE"]),
    ] {
        let said = bgpblast(&line);
        assert!(said.out.is_empty(), "{line}: {}", said.out);
        assert_eq!(said.status, 2, "{line}: {}", said.err);
        said.failed(2, words);
    }
}

#[test]
fn help_and_version_are_no_errors() {
    let help = bgpblast("--help").printed();
    for command in ["table", "feeds", "fanout", "pods", "churn", "flap", "storm", "idle", "latency"] {
        assert!(help.contains(&format!("\n  {command} ")), "{help}");
        assert!(bgpblast(&format!("{command} --help")).printed().contains("--target"));
    }
    assert!(bgpblast("--version").printed().starts_with("bgpblast "));
}

// Targets.

#[test]
fn a_target_that_is_no_address_of_this_machine_must_be_allowed_by_name() {
    bgpblast("table --reflect --routes 1 --target 203.0.113.1 --from 203.0.113.2")
        .failed(1, &["203.0.113.1 is not an address of this machine", "--allow-target 203.0.113.1/32"]);
    bgpblast(
        "table --routes 1 --target [2001:db8::1]:1790 --from 2001:db8::2 --allow-target 2001:db8:1::/48",
    )
    .failed(1, &["2001:db8::1 is not", "--allow-target 2001:db8::1/128"]);
}

#[test]
fn an_allowed_target_still_wants_addresses_for_the_peers() {
    let allowed = "table --reflect --routes 1 --target 203.0.113.1 --allow-target 203.0.113.0/24";
    bgpblast(allowed).failed(1, &["--from", "203.0.113.1", "ip route add local"]);
    // Which must be this machine's.
    bgpblast(&format!("{allowed} --from 203.0.113.2 --no-floor --time-limit 1 --quiet"));
}

#[test]
fn a_target_where_nobody_listens_gives_an_outcome_that_says_so() {
    let (_kept, port) = dead_port();
    let line =
        format!("table --reflect --routes 5 --target 127.0.0.1:{port} --time-limit 1 --no-floor --quiet");
    let said = bgpblast(&line);
    assert_eq!(said.status, 1, "{}{}", said.out, said.err);
    for word in ["time limit of 1 s", "0 of 2 sessions Established", "Connection refused"] {
        let one_line = said.out.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(one_line.contains(word), "{word:?} is not in {}", said.out);
    }
    let outcome: Outcome = serde_json::from_str(&bgpblast(&format!("{line} --json")).out).unwrap();
    assert!(!outcome.complete && !outcome.passed() && outcome.figures.is_empty());
    assert_eq!(outcome.target.address, format!("127.0.0.1:{port}"));
}

#[test]
fn a_next_hop_that_no_host_may_have_is_refused_before_anything_is_sent() {
    // If it connected, somebody would be there.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    bgpblast(&format!("table --routes 5 --target 127.0.0.1:{port} --quiet"))
        .failed(1, &["127.0.0.1 would be the next hop", "--reflect", "--speaker", "\"receivers\""]);
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn too_few_file_descriptors_are_told_with_the_number_that_is_needed() {
    let script = format!(
        "ulimit -Sn 64 && ulimit -Hn 64 && exec '{PROGRAM}' storm --clients 100 --target 127.0.0.1:9 --quiet"
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script]);
    // Root may raise the limit, and would. SAFETY: between fork and exec this makes one system call, which
    // takes and gives nothing but numbers. Whoever is not root has no such right to lose, and the call fails.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_CAPBSET_DROP, 24 /* CAP_SYS_RESOURCE */, 0, 0, 0);
            Ok(())
        });
    }
    said(command.output().unwrap())
        .failed(1, &["needs 164 open files", "hard limit is 64", "ulimit -Hn 164", "LimitNOFILE="]);
}

// Files.

/// A command with a file, against a target at which it does not arrive.
fn with_file(option: &str, file: &str) -> Said {
    let line = format!("table --reflect --target 127.0.0.1:9 --time-limit 1 --no-floor --quiet {option}");
    said(Command::new(PROGRAM).args(line.split_whitespace()).arg(file).output().unwrap())
}

#[test]
fn what_cannot_be_opened_is_told_by_name() {
    for option in ["--mrt", "--prefixes", "--messages"] {
        with_file(option, "/nowhere/at all")
            .failed(1, &["source \"table\"", "/nowhere/at all", "no such file"]);
        with_file(option, "/tmp").failed(1, &["/tmp is a directory", "name a file in it"]);
        with_file(option, "/dev/null").failed(1, &["/dev/null is not a regular file"]);
        let empty = Scratch::new("empty", "");
        with_file(option, empty.name()).failed(1, &[empty.name(), "is empty"]);
        let packed = Scratch::new("packed", [0xfd, b'7', b'z', b'X', b'Z', 0, 0, 0]);
        with_file(option, packed.name()).failed(1, &[packed.name(), "xz -dk"]);
    }
    bgpblast("run /nowhere/at-all --target 127.0.0.1").failed(1, &["/nowhere/at-all"]);
    bgpblast("show run /tmp").failed(1, &["/tmp"]);
}

#[test]
fn a_file_of_another_kind_is_told_with_the_right_option() {
    let text = Scratch::new("list", "198.51.100.0/24\n203.0.113.0/24\n");
    with_file("--mrt", text.name()).failed(1, &[text.name(), "is no MRT file", "it is text"]);
    let dump = Scratch::new("dump", mrt());
    with_file("--prefixes", dump.name()).failed(1, &[dump.name(), "line 1"]);
}

fn record(kind: u16, subtype: u16, body: &[u8]) -> Vec<u8> {
    let head =
        [1000u32.to_be_bytes().to_vec(), [kind.to_be_bytes(), subtype.to_be_bytes()].concat()].concat();
    [head, (body.len() as u32).to_be_bytes().to_vec(), body.to_vec()].concat()
}

/// One peer, 192.0.2.1 of AS 65001, with a route for each of these /24 of 198.51.0.0/16 (RFC 6396 §4.3).
fn table_dump(thirds: &[u8]) -> Vec<u8> {
    let peers =
        [&[9, 9, 9, 9, 0, 0, 0, 1][..], &[2, 1, 1, 1, 1, 192, 0, 2, 1], &65001u32.to_be_bytes()].concat();
    let attributes =
        [&[0x40, 1, 1, 0][..], &[0x40, 2, 6, 2, 1], &65001u32.to_be_bytes(), &[0x40, 3, 4, 192, 0, 2, 1]]
            .concat();
    let mut file = record(13, 1, &peers);
    for third in thirds {
        let entry = [&[0, 1, 0, 0, 0, 0, 0, 0, 0, attributes.len() as u8][..], &attributes].concat();
        file.extend(record(13, 2, &[&[0, 0, 0, 1, 24, 198, 51, *third][..], &entry].concat()));
    }
    file
}

fn mrt() -> Vec<u8> {
    table_dump(&[1, 2, 3])
}

#[test]
fn an_mrt_file_that_is_cut_before_its_first_route_is_an_error_that_says_where() {
    let whole = mrt();
    let first_route = table_dump(&[1]).len();
    // Every length in the first record would take a process each: its edges, and some between.
    for len in [1, 11, 12, 13, 20, first_route / 2, first_route - 1] {
        let cut = Scratch::new("cut", &whole[..len]);
        let said = with_file("--mrt", cut.name());
        said.failed(1, &[cut.name()]);
        let reasons = ["cut short", "a record has at least 12", "no route that can be used"];
        assert!(reasons.iter().any(|reason| said.err.contains(reason)), "{len}: {}", said.err);
    }
}

#[test]
fn an_mrt_file_that_is_cut_later_gives_what_it_has_and_is_no_success() {
    let whole = mrt();
    let two_routes = table_dump(&[1, 2]).len();
    let run = |file: &Scratch| {
        let line = format!("table --mrt {} --speaker kulan --no-floor --quiet --json", file.name());
        let said = bgpblast(&line);
        let outcome: Outcome = serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{}", said.err));
        (said.status, outcome)
    };
    let (status, outcome) = run(&Scratch::new("whole", &whole));
    assert_eq!((status, outcome.curve.expected), (0, 3), "{:?}", outcome.failure);
    let cut = Scratch::new("cut", &whole[..two_routes + 20]);
    let (status, outcome) = run(&cut);
    assert_eq!((status, outcome.curve.expected, outcome.complete), (1, 2, false));
    let failure = outcome.failure.unwrap_or_default();
    for word in [cut.name(), &format!("at byte {two_routes}"), "cut short within a record", "is not whole"] {
        assert!(failure.contains(word), "{word:?} is not in {failure:?}");
    }
    assert_eq!(outcome.difference_count, 0, "what there was came out");
}

#[test]
fn a_peer_that_an_mrt_file_lacks_is_told_with_those_that_it_has() {
    let file = Scratch::new("mrt", mrt());
    let said = with_file("--mrt-peer 65009 --mrt", file.name());
    said.failed(1, &[file.name(), "no peer 65009", "192.0.2.1 (AS 65001, index 0, 3 routes)"]);
}

// Scenarios from files.

const SCENARIO: &str = "name = \"mine\"\n[speaker]\nasn = 64496\n[[peers]]\nname = \"all\"\nasn = 64496\n\
                        client = true\n[[phase]]\nconnect = { peers = [\"all\"] }\n";

#[test]
fn a_scenario_file_is_told_where_it_is_wrong() {
    for (from, to, words) in [
        ("client =", "klient =", &["klient", "line 7", "client"][..]),
        ("[speaker]", "[speaker", &["line 2"]),
        (
            "peers = [\"all\"]",
            "peers = [\"some\"]",
            &["\"number 1\" names the peers \"some\"", "there are all"],
        ),
        (
            "[[phase]]",
            "[[phase]]\nrest = { seconds = 1.0 }",
            &["\"number 1\" has 2 actions", "exactly one of"],
        ),
        ("connect = ", "name = \"idle\" # ", &["\"idle\" has 0 actions"]),
        ("client = true", "sends = \"table\"", &["\"all\" send \"table\"", "the sources are"]),
        ("client = true", "hold_time_s = 2", &["hold time of 2 s", "at least 3"]),
        ("client = true", "count = 0", &["count must be at least 1"]),
        ("asn = 64496\n[[peers]]", "[[peers]]", &["asn"]),
    ] {
        assert!(SCENARIO.contains(from), "{from}");
        let file = Scratch::new("scenario.toml", SCENARIO.replacen(from, to, 1));
        for line in [format!("show run {}", file.name()), format!("run {} --target 127.0.0.1", file.name())] {
            let said = bgpblast(&line);
            said.failed(1, &[file.name()]);
            said.failed(1, words);
        }
    }
}

#[test]
fn what_show_prints_is_read_by_run() {
    for scenario in [
        "table --routes 30",
        "table --reflect --ipv6 --routes 30 --hold-time 3",
        "pods --clients 4 --at-once --restart 0.5",
        "churn --routes 30 --receivers 2 --changes 20",
    ] {
        let text = bgpblast(&format!("show {scenario}")).printed();
        let file = Scratch::new("shown.toml", &text);
        assert_eq!(bgpblast(&format!("show run {}", file.name())).printed(), text);
        let run = format!("run {} --speaker kulan --no-floor --quiet --json", file.name());
        let outcome: Outcome = serde_json::from_str(&bgpblast(&run).printed()).unwrap();
        assert!(outcome.passed() && scenario.starts_with(&outcome.scenario), "{outcome:?}");
    }
}

#[test]
fn show_prints_every_scenario_without_a_speaker() {
    let churn = Scratch::new("script", "W 198.51.100.0/24\n");
    for scenario in [
        "table",
        "feeds",
        "fanout",
        "pods",
        "churn",
        "flap",
        "storm",
        "idle",
        "latency",
        "slow-reader",
        "policy",
    ] {
        let text = bgpblast(&format!("show {scenario}")).printed();
        assert!(text.contains(&format!("name = \"{scenario}\"")) && text.contains("[[phase]]"), "{text}");
    }
    let text = bgpblast(&format!("show churn --script {}", churn.name())).printed();
    assert!(text.contains(churn.name()), "{text}");
}

// Output.

#[test]
fn a_run_prints_a_summary_and_writes_a_page_with_figures_and_command() {
    let (page, charts) = (Scratch::path("report.html"), Scratch::path("charts.svg"));
    let line = format!(
        "table --routes 300 --speaker kulan --no-floor --json --report {} --svg {}",
        page.name(),
        charts.name()
    );
    let said = bgpblast(&line);
    assert!(said.err.contains("convergence: "), "progress goes to standard error: {:?}", said.err);
    let outcome: Outcome = serde_json::from_str(&said.printed()).unwrap();
    assert!(outcome.passed() && !outcome.figures.is_empty());
    assert_eq!(outcome.command[1..], line.split_whitespace().collect::<Vec<_>>());
    let html = page.read();
    for figure in &outcome.figures {
        assert!(html.contains(&figure.name), "{} is not on the page", figure.name);
    }
    for word in ["--routes 300 --speaker kulan", "kulan", "<svg", "Configuration of the target"] {
        assert!(html.contains(word), "{word:?} is not on the page");
    }
    assert!(html.trim_start().to_lowercase().starts_with("<!doctype html"));
    for elsewhere in ["src=\"http", "href=\"http", "url(http", "@import"] {
        assert!(!html.contains(elsewhere), "the page is whole without a network, but for {elsewhere:?}");
    }
    assert!(charts.read().contains("<svg"));
}

#[test]
fn the_summary_has_the_figures_and_the_verdict_and_quiet_is_quiet() {
    let said = bgpblast("table --routes 100 --speaker kulan --no-floor --quiet");
    assert!(said.err.is_empty(), "{}", said.err);
    let out = said.printed();
    for word in ["convergence", "peak memory", "kulan"] {
        assert!(out.contains(word), "{word:?} is not in {out}");
    }
    assert!(out.lines().all(|line| line.chars().count() <= 100), "no line is wider than a terminal:\n{out}");
}

#[test]
fn a_page_that_cannot_be_written_is_told_by_name() {
    bgpblast("table --routes 10 --speaker kulan --no-floor --quiet --report /nowhere/page.html")
        .failed(1, &["/nowhere/page.html"]);
}

#[test]
fn a_comparison_is_printed_written_and_read() {
    let page = Scratch::path("comparison.html");
    let line = format!(
        "compare --speakers kulan,bird --runs 1 --no-floor --quiet --json --report {} table --routes 100",
        page.name()
    );
    let compared: Comparison = serde_json::from_str(&bgpblast(&line).printed()).unwrap();
    let names: Vec<&str> = compared.speakers.iter().map(|speaker| speaker.name.as_str()).collect();
    assert_eq!(names, ["kulan", "bird"]);
    let html = page.read();
    for word in ["kulan", "bird", "convergence", "--runs 1"] {
        assert!(html.contains(word), "{word:?} is not on the page");
    }
}

// Configurations.

#[test]
fn config_prints_a_configuration_for_every_speaker_that_passes_routes_on() {
    for (kind, words) in [
        ("kulan", &["[speaker]", "asn = 64496", "[[peer]]"][..]),
        ("bird", &["protocol bgp", "as 64496", "passive"]),
        ("frr", &["router bgp 64496", "neighbor"]),
        ("gobgp", &["64496"]),
        ("openbgpd", &["AS 64496", "neighbor"]),
    ] {
        let text = bgpblast(&format!("config {kind} table --routes 5")).printed();
        words.iter().for_each(|word| assert!(text.contains(word), "{kind}: {word:?} is not in {text}"));
        assert!(text.lines().next().is_some_and(|line| line.contains("bgpblast")), "{kind}: {text}");
    }
}

#[test]
fn config_is_for_the_addresses_of_the_run_that_it_is_for() {
    let text = bgpblast("config bird --target 10.255.0.1 --from 10.255.1.1 table --md5 secret").printed();
    for word in ["10.255.0.1", "10.255.1.1", "10.255.5.1", "password \"secret\""] {
        assert!(text.contains(word), "{word:?} is not in {text}");
    }
}

#[test]
fn a_speaker_that_cannot_do_it_says_what_it_cannot() {
    bgpblast("config exabgp table").failed(1, &["ExaBGP", "passes nothing on"]);
    bgpblast("config kulan table --add-path").failed(1, &["kulan does not speak ADD-PATH"]);
    bgpblast("table --add-path --speaker kulan --quiet").failed(1, &["kulan does not speak ADD-PATH"]);
}
