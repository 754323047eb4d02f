//! `kulan lab`, the first command of the README, as its reader sees it: by root, by anybody else, and where the
//! system forbids what it needs.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use kulan_scale_tests::daemon::kulan;
use kulan_scale_tests::process::Directory;

/// The user `nobody` of every Linux system.
const NOBODY: u32 = 65534;
const FIRST_PODS: &str = "10.244.1.0/24";
const SECOND_PODS: &str = "10.244.2.0/24";

/// A copy of the program where everybody may run it: the build directory may be root's alone.
fn program(directory: &Directory) -> String {
    let path = directory.file("kulan");
    // By a process of its own: what another test starts meanwhile would inherit our open file, and a program that
    // somebody has open for writing cannot be run.
    let mut command = Command::new("install");
    command.args(["-m", "755"]).arg(kulan::binary()).arg(&path);
    let output = run(command);
    assert!(output.status.success(), "{path}: {}", text(&output.stderr));
    path
}

/// A command that has this directory for its temporary files, so that what is left there can be seen.
fn command(program: impl AsRef<std::ffi::OsStr>, directory: &Directory) -> Command {
    let mut command = Command::new(program);
    command.env("TMPDIR", directory.path()).current_dir(directory.path()).stdin(Stdio::null());
    command
}

/// The same without any right that root has, if we are root.
fn as_nobody(mut command: Command) -> Command {
    // SAFETY: geteuid takes no pointers and cannot fail.
    if unsafe { libc::geteuid() } == 0 {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn run(mut command: Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"))
}

/// What stands under `node1$ ip route` and the like, up to the next empty line.
#[track_caller]
fn below<'a>(printed: &'a str, title: &str) -> &'a str {
    let (_, rest) = printed.split_once(title).unwrap_or_else(|| panic!("no {title:?} in:\n{printed}"));
    rest.trim_start_matches('\n').split("\n\n").next().unwrap_or_default()
}

/// The line of a step, behind the time that it took.
#[track_caller]
fn step<'a>(printed: &'a str, what: &str) -> &'a str {
    let line = printed.lines().find(|line| line.contains(" s  ") && line.contains(what));
    line.unwrap_or_else(|| panic!("no step {what:?} in:\n{printed}")).trim()
}

#[track_caller]
fn assert_no_lab_is_left(directory: &Path) {
    let left: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name.to_string_lossy().starts_with("kulan-lab"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Everything that the lab promises to show.
#[track_caller]
fn assert_shows_everything(printed: &str) {
    assert!(step(printed, "bring up 4 eBGP sessions").ends_with("established"));
    let peers = below(printed, "router1$ kulan show peers");
    for (node, asn, address) in [("node1", "65101", "192.168.11.2"), ("node2", "65102", "192.168.21.2")] {
        let row = peers.lines().find(|line| line.ends_with(node)).unwrap_or_else(|| panic!("{peers}"));
        assert!(row.contains(address) && row.contains(asn) && row.contains("Established"), "{row}");
    }
    let routes = below(printed, "node1$ kulan show routes");
    for words in [
        &["*>", FIRST_PODS, "local"][..],
        &[SECOND_PODS, "192.168.11.1", "65000 65102 i"],
        &[SECOND_PODS, "192.168.12.1", "65000 65102 i"],
    ] {
        let found = routes.lines().any(|line| words.iter().all(|word| line.contains(word)));
        assert!(found, "no line with {words:?} in:\n{routes}");
    }
    let fib = below(printed, "node1$ kulan show fib");
    let row = fib.lines().find(|line| line.contains(SECOND_PODS)).unwrap_or_else(|| panic!("{fib}"));
    for words in ["installed", "via 192.168.11.1 dev router1", "via 192.168.12.1 dev router2"] {
        assert!(row.contains(words), "{row}");
    }
    let kernel = below(printed, "node1$ ip route");
    for words in [SECOND_PODS, "nexthop via 192.168.11.1", "nexthop via 192.168.12.1"] {
        assert!(kernel.contains(words), "{words:?} is not in:\n{kernel}");
    }
    assert!(step(printed, "ping from pod 10.244.1.1 to pod 10.244.2.1").contains("reply in "));
    assert!(step(printed, "take node2 away").ends_with("gone from 3 tables"));
    let kernel = below(printed, "node1's kernel table without node2:");
    assert!(kernel.contains("192.168.11.0/24") && !kernel.contains(SECOND_PODS), "{kernel}");
    let times = below(printed, "step  ");
    for what in ["bring up 4 eBGP sessions", "ping from pod", "take node2 away", "everything"] {
        let row = times.lines().find(|line| line.starts_with(what)).unwrap_or_else(|| panic!("{times}"));
        assert!(row.ends_with(" s"), "{row}");
    }
}

fn sees_sessions_routes_a_reply_and_a_node_go(of: fn(Command) -> Command) {
    let directory = Directory::new("lab");
    let mut command = of(command(program(&directory), &directory));
    command.arg("lab");
    let output = run(command);
    let printed = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{printed}{}", text(&output.stderr));
    assert_shows_everything(&printed);
    assert_eq!(text(&output.stderr), "");
    assert_no_lab_is_left(directory.path());
}

#[test]
fn root_sees_sessions_routes_a_reply_and_a_node_go() {
    sees_sessions_routes_a_reply_and_a_node_go(|command| command);
}

#[test]
fn nobody_sees_the_same() {
    sees_sessions_routes_a_reply_and_a_node_go(as_nobody);
}

/// The commands that `--keep` hints at work as they stand, from another terminal of the same user.
fn keeps(of: fn(Command) -> Command) {
    let directory = Directory::new("lab");
    let mut command = of(command(program(&directory), &directory));
    command.args(["lab", "--keep"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut lab = command.spawn().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let mut output = BufReader::new(lab.stdout.take().expect("stdout is piped"));
    let mut hints = String::new();
    while !hints.contains("kulan.log") {
        let read = output.read_line(&mut hints).unwrap();
        assert_ne!(read, 0, "it ended before its hints:\n{hints}");
    }

    let hinted = |words: &[&str]| {
        let line = hints.lines().find(|line| words.iter().all(|word| line.contains(word)));
        let line = line.unwrap_or_else(|| panic!("no hint with {words:?} in:\n{hints}")).trim();
        let mut shell = of(self::command("sh", &directory));
        shell.args(["-c", line]);
        let output = run(shell);
        assert!(output.status.success(), "{line}: {}", text(&output.stderr));
        text(&output.stdout)
    };
    for host in ["router1", "router2", "node1", "node2"] {
        let routes = hinted(&[&format!("/{host}/kulan.sock"), "show routes"]);
        assert!(routes.contains(FIRST_PODS) && routes.contains(SECOND_PODS), "{host}: {routes}");
        let kernel = hinted(&["nsenter", &format!("# {host}")]);
        let other = if host == "node2" { FIRST_PODS } else { SECOND_PODS };
        assert!(kernel.contains(other), "{host}: {kernel}");
    }

    drop(lab.stdin.take());
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert!(step(&rest, "take node2 away").ends_with("gone from 3 tables"));
    assert_eq!(lab.wait().unwrap().code(), Some(0));
    assert_no_lab_is_left(directory.path());
}

#[test]
fn root_keeps_it_until_the_input_ends() {
    keeps(|command| command);
}

#[test]
fn nobody_keeps_it_until_the_input_ends() {
    keeps(as_nobody);
}

#[test]
fn where_user_namespaces_are_forbidden_it_says_what_to_do() {
    let directory = Directory::new("lab");
    // The limit holds within the user namespace that `unshare` makes, and nowhere else.
    let script = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$0\" lab";
    let mut command = as_nobody(command("unshare", &directory));
    command.args(["--user", "--map-current-user", "--keep-caps", "sh", "-c", script]);
    command.arg(program(&directory));
    let output = run(command);
    let complaint = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{}{complaint}", text(&output.stdout));
    assert_eq!(text(&output.stdout), "", "it does nothing by halves");
    for words in [
        "does not let you make a user namespace",
        "as root (`sudo kulan lab`)",
        "sysctl -w user.max_user_namespaces=",
        "sysctl -w kernel.unprivileged_userns_clone=1",
        "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
    ] {
        assert!(complaint.contains(words), "{words:?} is not in: {complaint}");
    }
    assert_no_lab_is_left(directory.path());
}
