//! Network namespaces and the virtual cables between them.
//!
//! A [`Namespace`] is held by a file descriptor and by the programs in it, and by nothing else: it has no name
//! under `/run/netns`. So any number of tests run beside each other, and nothing is left behind, not even when
//! the test is killed: with the descriptor and the programs gone the kernel takes the namespace, its links and
//! its routes away.
//!
//! Making one needs CAP_SYS_ADMIN: run as root, or under `unshare --user --map-root-user --net`.

use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::daemon::Family;
use crate::process::wait_for;

/// A network namespace of its own, with its loopback interface up.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    fd: OwnedFd,
}

impl Namespace {
    /// Makes an empty namespace; `name` is for messages only.
    ///
    /// # Panics
    /// When the system does not let us, saying what is needed.
    pub fn new(name: &str) -> Namespace {
        let unshared = std::thread::spawn(|| -> io::Result<OwnedFd> {
            // SAFETY: unshare takes no pointers; only this short-lived thread moves to the new namespace.
            if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(File::open("/proc/thread-self/ns/net")?.into())
        })
        .join()
        .expect("the thread returns its error");
        let fd = unshared.unwrap_or_else(|error| {
            panic!(
                "cannot make a network namespace: {error}; run the tests as root, or under \
                 `unshare --user --map-root-user --net`"
            )
        });
        let namespace = Namespace { name: name.to_string(), fd };
        // Link-local addresses too must be usable as soon as they exist: some daemons need one to begin.
        namespace.enter(|| {
            for key in ["all/accept_dad", "default/accept_dad", "default/dad_transmits"] {
                let path = format!("/proc/sys/net/ipv6/conf/{key}");
                std::fs::write(&path, "0").unwrap_or_else(|error| panic!("{path}: {error}"));
            }
        });
        namespace.ip(&["link", "set", "lo", "up"]);
        namespace
    }

    /// What the namespace is called in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The path under which other processes can open this namespace, as long as this process lives.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.fd.as_raw_fd())
    }

    /// A command that will run inside the namespace.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        let fd = self.fd.as_raw_fd();
        // SAFETY: between fork and exec only setns is called, which is async-signal-safe; the descriptor lives
        // at least as long as `self`, and a command that outlives it fails to start instead of running outside.
        unsafe {
            command.pre_exec(move || {
                if libc::setns(fd, libc::CLONE_NEWNET) != 0 {
                    return Err(io::Error::last_os_error());
                }
                Ok(())
            });
        }
        command
    }

    /// Runs `run` on a thread of its own inside the namespace, for sockets that must be opened there. A socket
    /// stays in the namespace it was opened in.
    pub fn enter<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                // SAFETY: setns takes no pointers and moves only this thread.
                let moved = unsafe { libc::setns(self.fd.as_raw_fd(), libc::CLONE_NEWNET) };
                assert_eq!(moved, 0, "cannot enter namespace {}: {}", self.name, io::Error::last_os_error());
                run()
            });
            match thread.join() {
                Ok(value) => value,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Runs `ip` with these arguments inside the namespace and returns what it printed.
    ///
    /// # Panics
    /// When it fails, with its message.
    pub fn ip(&self, arguments: &[&str]) -> String {
        let output = self
            .command("ip")
            .args(arguments)
            .output()
            .unwrap_or_else(|error| panic!("cannot run `ip` (package iproute2): {error}"));
        assert!(
            output.status.success(),
            "`ip {}` in {}: {}",
            arguments.join(" "),
            self.name,
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs `ip -batch` inside the namespace with one command a line.
    ///
    /// # Panics
    /// When one of them fails.
    pub fn ip_batch(&self, commands: &str) {
        use std::io::Write;
        let mut child = self
            .command("ip")
            .args(["-batch", "-"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run `ip` (package iproute2): {error}"));
        let mut input = child.stdin.take().expect("stdin is piped");
        input.write_all(commands.as_bytes()).expect("`ip -batch` reads its commands");
        drop(input);
        let status = child.wait().expect("`ip -batch` was started by us");
        assert!(status.success(), "`ip -batch` in {}: {status}", self.name);
    }

    /// Gives the interface an address that is usable at once: without duplicate address detection.
    pub fn add_address(&self, interface: &str, address: IpAddr, length: u8) {
        let address_length = format!("{address}/{length}");
        let mut arguments = vec!["address", "add", &address_length, "dev", interface];
        if address.is_ipv6() {
            arguments.push("nodad");
        }
        self.ip(&arguments);
    }

    /// Lays a cable: a veth pair with interface `here` in this namespace and `there` in the other, both up and
    /// with their link-local addresses.
    pub fn connect(&self, here: &str, other: &Namespace, there: &str) {
        let path = other.path();
        self.ip(&["link", "add", here, "type", "veth", "peer", "name", there, "netns", &path]);
        self.ip(&["link", "set", here, "up"]);
        other.ip(&["link", "set", there, "up"]);
        for (namespace, interface) in [(self, here), (other, there)] {
            wait_for("a link-local address", || {
                let shown = namespace.ip(&["-6", "address", "show", "dev", interface, "scope", "link"]);
                if shown.contains("fe80:") && !shown.contains("tentative") { Ok(()) } else { Err(shown) }
            });
        }
    }
}

/// Two namespaces with a cable between them, on `10.0.0.0/24` and `fd6b::/64`.
#[derive(Debug)]
pub struct Pair {
    /// Where the speaker under test runs: 10.0.0.1, fd6b::1, interface `eth0`.
    pub left: Namespace,
    /// Where its peer runs: 10.0.0.2, fd6b::2, interface `eth0`.
    pub right: Namespace,
}

impl Pair {
    /// Makes and connects both.
    pub fn new() -> Pair {
        let pair = Pair { left: Namespace::new("left"), right: Namespace::new("right") };
        pair.left.connect("eth0", &pair.right, "eth0");
        for (namespace, number) in [(&pair.left, 1), (&pair.right, 2)] {
            namespace.add_address("eth0", format!("10.0.0.{number}").parse().expect("an address"), 24);
            namespace.add_address("eth0", format!("fd6b::{number}").parse().expect("an address"), 64);
        }
        pair
    }
}

/// A namespace in the middle and one on each side, IPv4 and IPv6, with ways from end to end.
#[derive(Debug)]
pub struct Line {
    /// Where the one in the middle runs: interfaces `eth1` and `eth2`, a cable each.
    pub middle: Namespace,
    /// Where the others run, the first on cable 1: interface `eth0`.
    pub clients: [Namespace; 2],
}

impl Line {
    /// Makes and connects all three.
    pub fn new() -> Line {
        let line = Line {
            middle: Namespace::new("middle"),
            clients: [Namespace::new("first"), Namespace::new("second")],
        };
        for (client, number) in line.clients.iter().zip([1u8, 2]) {
            let interface = format!("eth{number}");
            line.middle.connect(&interface, client, "eth0");
            for (family, length) in [(Family::Ipv4, 24), (Family::Ipv6, 64)] {
                line.middle.add_address(&interface, Line::address(family, number, 1), length);
                client.add_address("eth0", Line::address(family, number, 2), length);
                // The ends must be able to reach each other's next hops.
                let far = format!("{}/{length}", Line::address(family, 3 - number, 0));
                let gateway = Line::address(family, number, 1).to_string();
                client.ip(&["route", "add", &far, "via", &gateway]);
            }
        }
        line
    }

    /// The address on the cable with that number, of the middle (1) or the client (2).
    pub fn address(family: Family, cable: u8, end: u8) -> IpAddr {
        match family {
            Family::Ipv4 => IpAddr::from([10, 0, cable, end]),
            Family::Ipv6 => IpAddr::from([0xfd6b, u16::from(cable), 0, 0, 0, 0, 0, u16::from(end)]),
        }
    }
}

impl Default for Line {
    fn default() -> Line {
        Line::new()
    }
}

impl Default for Pair {
    fn default() -> Pair {
        Pair::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_pair_can_talk_over_both_families_and_is_isolated() {
        let pair = Pair::new();
        for address in ["10.0.0.2", "fd6b::2"] {
            let address: IpAddr = address.parse().unwrap();
            let listener = pair.right.enter(|| TcpListener::bind((address, 179)).unwrap());
            pair.left.enter(|| TcpStream::connect((address, 179)).unwrap());
            listener.accept().unwrap();
        }
        let links = pair.left.ip(&["-brief", "link"]);
        assert_eq!(links.lines().count(), 2, "loopback and one veth: {links}");
    }
}
