//! Where load is put on a speaker: a namespace for the speaker, one for the load, and two cables between them.
//!
//! ```text
//!   speaker                                   load
//!   eth0  10.10.0.1/16  fd6b:10::1/64  ────── eth0  10.10.0.2  fd6b:10::2   sources: 10.10.1.0/24, fd6b:10:0:0:1::/80
//!   eth1  10.11.0.1/16  fd6b:11::1/64  ────── eth1  10.11.0.2  fd6b:11::2   receivers: 10.11.1.0/24, fd6b:11:0:0:1::/80
//!   default via 10.10.0.2, fd6b:10::2                                       clients: 10.20.0.0/16, fd6b:20::/64
//! ```
//!
//! Sources are on the first cable and receivers on the second, so that no next hop is shared between them. All
//! addresses of the three ranges are the load's own by one route each (Linux calls it AnyIP), since adding
//! thousands of them one by one takes longer than many a scenario. The kernel answers ARP for such IPv4 addresses,
//! but no neighbor solicitation for such IPv6 ones: the speaker has routes to those through the load's own address,
//! while it still takes them to be on its link, as the prefix says.
//!
//! Nothing of this has a name in the file system, and the kernel takes it away with the last program in it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;

use kulan::cli::lab::netns::Netns;
use nix::sched::{CloneFlags, setns};

/// The speaker's address on the sources' cable, and its identifier.
pub const SPEAKER: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 1);
/// The speaker's address on the receivers' cable.
pub const SPEAKER_TO_RECEIVERS: Ipv4Addr = Ipv4Addr::new(10, 11, 0, 1);
/// The load's own address on the sources' cable: the speaker's way to everything that is not on a cable.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 2);
/// [`SPEAKER`] in IPv6.
pub const SPEAKER6: Ipv6Addr = Ipv6Addr::new(0xfd6b, 0x10, 0, 0, 0, 0, 0, 1);
/// [`SPEAKER_TO_RECEIVERS`] in IPv6.
pub const SPEAKER6_TO_RECEIVERS: Ipv6Addr = Ipv6Addr::new(0xfd6b, 0x11, 0, 0, 0, 0, 0, 1);
/// [`GATEWAY`] in IPv6.
pub const GATEWAY6: Ipv6Addr = Ipv6Addr::new(0xfd6b, 0x10, 0, 0, 0, 0, 0, 2);
/// Where clients are, behind [`GATEWAY`]: more than a link would have.
pub const CLIENTS: &str = "10.20.0.0/16";
/// [`CLIENTS`] in IPv6.
pub const CLIENTS6: &str = "fd6b:20::/64";

/// How many connections may wait for the speaker to accept them: thousands of clients dial at once, and a SYN
/// that is dropped comes again after a second, which would be measured as the speaker's slowness.
const BACKLOG: &str = "65535";

/// The two namespaces and the cables between them.
#[derive(Clone)]
pub struct Bench {
    speaker: Arc<Netns>,
    load: Arc<Netns>,
}

impl Bench {
    /// Makes and connects both. Root may, and whoever has called [`kulan::cli::lab::netns::become_root`] first.
    ///
    /// # Errors
    /// What the system does not allow or lacks, and the remedy.
    pub fn new() -> Result<Bench, String> {
        if super::process::find_program("ip").is_none() {
            return Err("`ip` is not installed: apt install iproute2".into());
        }
        let namespace = || Netns::new().map(Arc::new).map_err(|error| with_remedy(&error));
        let bench = Bench { speaker: namespace()?, load: namespace()? };
        switches(
            &bench.speaker,
            &[("net/core/somaxconn", BACKLOG), ("net/ipv4/tcp_max_syn_backlog", BACKLOG)],
        )?;
        // AnyIP makes the kernel take packets for these addresses; binding to one that is on no interface wants this.
        switches(&bench.load, &[("net/ipv6/ip_nonlocal_bind", "1")])?;
        for (interface, number) in [("eth0", 10), ("eth1", 11)] {
            let load = bench.load.path();
            let far = format!("fd6b:{number}:0:0:1::/80");
            bench.speaker.ip(&format!(
                "link add {interface} type veth peer name {interface} netns {load}\n\
                 address add 10.{number}.0.1/16 dev {interface}\n\
                 address add fd6b:{number}::1/64 dev {interface} nodad\n\
                 link set {interface} up"
            ))?;
            bench.load.ip(&format!(
                "address add 10.{number}.0.2/16 dev {interface}\n\
                 address add fd6b:{number}::2/64 dev {interface} nodad\n\
                 link set {interface} up\n\
                 route add local 10.{number}.1.0/24 dev {interface}\n\
                 route add local {far} dev {interface}"
            ))?;
            bench.speaker.ip(&format!("route add {far} via fd6b:{number}::2 dev {interface}"))?;
        }
        bench.speaker.ip(&format!("route add default via {GATEWAY}\nroute add ::/0 via {GATEWAY6}"))?;
        bench.load.ip(&format!("route add local {CLIENTS} dev lo\nroute add local {CLIENTS6} dev lo"))?;
        Ok(bench)
    }

    /// Runs `work` on a thread in the load's namespace. Sockets stay in the namespace that they were opened in,
    /// and threads that are started there are in it too.
    ///
    /// # Errors
    /// When the namespace cannot be entered, or `work` panicked.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, String> {
        self.load.run(|| Ok(work())).map_err(|error| format!("in the load's network namespace: {error}"))
    }

    /// A command that will run in the speaker's namespace. The program may be started from any thread.
    ///
    /// # Errors
    /// When the namespace cannot be opened once more.
    pub fn speaker_command(&self, program: impl AsRef<OsStr>) -> Result<Command, String> {
        let path = self.speaker.path();
        let namespace = File::open(&path).map_err(|error| format!("{path}: {error}"))?;
        let mut command = Command::new(program);
        // SAFETY: between fork and exec this makes one system call, with a descriptor that the command owns.
        unsafe { command.pre_exec(move || Ok(setns(&namespace, CloneFlags::CLONE_NEWNET)?)) };
        Ok(command)
    }

    /// Whether the speaker takes connections at this address, seen from its own namespace.
    pub(super) fn accepts(&self, address: IpAddr) -> io::Result<()> {
        self.speaker.run(|| TcpStream::connect(SocketAddr::new(address, 179)).map(drop))
    }
}

/// The address of source number `number`, from 0; there are 255.
pub fn source(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 10, 1, number.wrapping_add(1))
}

/// The address of receiver number `number`, from 0; there are 255.
pub fn receiver(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 11, 1, number.wrapping_add(1))
}

/// The address of client number `number`, from 0, in [`CLIENTS`]; there are 65,534.
pub fn client(number: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(10, 20, 0, 1).to_bits() + u32::from(number))
}

/// [`source`] in IPv6.
pub fn source6(number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd6b, 0x10, 0, 0, 1, 0, 1, number)
}

/// [`receiver`] in IPv6.
pub fn receiver6(number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd6b, 0x11, 0, 0, 1, 0, 1, number)
}

/// [`client`] in IPv6.
pub fn client6(number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd6b, 0x20, 0, 0, 0, 0, 1, number)
}

/// Sets switches below `/proc/sys` in a namespace.
fn switches(namespace: &Netns, switches: &[(&str, &str)]) -> Result<(), String> {
    switches.iter().try_for_each(|(name, value)| {
        let path = format!("/proc/sys/{name}");
        namespace.run(|| fs::write(&path, value)).map_err(|error| format!("cannot set {path}: {error}"))
    })
}

/// What the lab says about a namespace, with bgpblast's own remedy.
fn with_remedy(error: &str) -> String {
    let what = error.split(';').next().unwrap_or(error);
    format!(
        "{what}; run as root (sudo), or allow user namespaces:\n  \
         sysctl -w kernel.unprivileged_userns_clone=1              (Debian)\n  \
         sysctl -w kernel.apparmor_restrict_unprivileged_userns=0  (Ubuntu 24.04 and later)"
    )
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn every_address_of_the_load_reaches_the_speaker_and_back() {
        let bench = Bench::new().unwrap();
        let pairs: [(IpAddr, IpAddr); 6] = [
            (source(254).into(), SPEAKER.into()),
            (receiver(7).into(), SPEAKER_TO_RECEIVERS.into()),
            (client(65_000).into(), SPEAKER.into()),
            (source6(9).into(), SPEAKER6.into()),
            (receiver6(9).into(), SPEAKER6_TO_RECEIVERS.into()),
            (client6(9).into(), SPEAKER6.into()),
        ];
        for (load, speaker) in pairs {
            // Whoever dials, and whatever end is first to look for the other's link address.
            let listener = bench.enter(|| TcpListener::bind((load, 179)).unwrap()).unwrap();
            let dial = |from: IpAddr, to: IpAddr| {
                use socket2::{Domain, Socket, Type};
                let socket = Socket::new(Domain::for_address((to, 0).into()), Type::STREAM, None).unwrap();
                socket.bind(&SocketAddr::new(from, 0).into()).unwrap();
                socket.connect_timeout(&SocketAddr::new(to, 179).into(), std::time::Duration::from_secs(5))
            };
            bench
                .speaker
                .run(|| dial(speaker, load))
                .unwrap_or_else(|error| panic!("{speaker} to {load}: {error}"));
            assert_eq!(listener.accept().unwrap().1.ip(), speaker);
            let listener = bench.speaker.run(|| TcpListener::bind((speaker, 179))).unwrap();
            bench
                .enter(|| dial(load, speaker))
                .unwrap()
                .unwrap_or_else(|error| panic!("{load} to {speaker}: {error}"));
            assert_eq!(listener.accept().unwrap().1.ip(), load);
        }
    }

    #[test]
    fn a_missing_right_is_told_with_the_remedy() {
        let told = with_remedy("cannot make a network namespace: EPERM; run the lab as root");
        assert!(told.starts_with("cannot make a network namespace: EPERM; run as root (sudo)"), "{told}");
        assert!(!told.contains("lab"));
    }
}
