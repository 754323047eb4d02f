//! The netlink socket of one domain: the fd under a [`Fib`], and nothing else.
//!
//! The loop reads from it, and a thread of its own sends: the kernel does what it is asked for within the send,
//! which takes it longer than sessions should wait ([`sender`]).
//!
//! One socket carries requests, replies, dumps and notifications, so that they come in the order in which
//! the kernel did things. A classic BPF filter drops the echo of our own writes, each of which would cost
//! a read, and the routes of tables that the domain does not look at.

mod sender;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use crate::fib::netlink::{RTM_DELNEXTHOP, RTM_DELROUTE, RTM_NEWNEXTHOP, RTM_NEWROUTE};
use crate::fib::{Destinations, Fib};
use crate::types::Time;
use sender::Sender;

/// A whole batch must fit into the send buffer; one of 512 requests takes about 40 kB.
const SEND_BUFFER_BYTES: libc::c_int = 1 << 20;

/// Room for what comes while the loop is elsewhere: the kernel counts about 1 kB for a notification, so
/// this is some thousands of changed routes.
const RECEIVE_BUFFER_BYTES: libc::c_int = 8 << 20;

/// The kernel fills parts of a dump up to 32 kB; a shorter read would cut them.
const READ_BYTES: usize = 64 << 10;

/// Reads of one [`NetlinkSocket::drive`]: a few milliseconds when a large table is read.
const READS_MAX: usize = 16;

/// The multicast groups of links and of the addresses of both families (linux/rtnetlink.h).
const INTERFACE_GROUPS: [u32; 3] = [1, 5, 9];

/// Those of the routes of both families and of next-hop objects.
const ROUTE_GROUPS: [u32; 3] = [7, 11, 32];

/// A non-blocking rtnetlink socket.
pub struct NetlinkSocket {
    socket: Socket,
    sender: Sender,
    /// Something may have come since the socket was read empty.
    readable: bool,
    read_buffer: Vec<u8>,
}

impl NetlinkSocket {
    /// Opens a socket in the caller's network namespace and subscribes to the kernel's notifications.
    /// `table` is the kernel table of the domain; `routes` says whether those of routes are among them.
    /// `wake` is called, on another thread, when [`NetlinkSocket::drive`] should be: a send is over.
    pub fn open(table: u32, routes: bool, wake: impl Fn() + Send + 'static) -> io::Result<NetlinkSocket> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        let port = socket.bind_auto()?.port_number();
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_non_blocking(true)?;
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        socket.set_netlink_get_strict_chk(true)?;
        enlarge(&socket, libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, SEND_BUFFER_BYTES)?;
        enlarge(&socket, libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, RECEIVE_BUFFER_BYTES)?;
        attach_filter(&socket, port, table)?;
        let route_groups = ROUTE_GROUPS.into_iter().filter(|_| routes);
        for group in INTERFACE_GROUPS.into_iter().chain(route_groups) {
            socket.add_membership(group)?;
        }
        let sender = Sender::start(File::from(socket.as_fd().try_clone_to_owned()?), wake)?;
        Ok(NetlinkSocket { socket, sender, readable: true, read_buffer: vec![0; READ_BYTES] })
    }

    /// Something has come in: the next [`NetlinkSocket::drive`] reads it.
    pub fn note_readable(&mut self) {
        self.readable = true;
    }

    /// Reads what has come and has the next batches sent, within a budget of a few milliseconds. Returns whether
    /// there is more to do at once; if not, the socket's readability, the end of a send or
    /// [`Fib::poll_timeout`] says when.
    ///
    /// # Errors
    ///
    /// Those that leave no way on: the socket is closed, or the kernel has shut it down.
    pub fn drive(&mut self, fib: &mut Fib, now: Time, destinations: &dyn Destinations) -> io::Result<bool> {
        while let Some(outcome) = self.sender.poll_sent() {
            match outcome.map_err(|error| error.raw_os_error().ok_or(error)) {
                Ok(()) => fib.handle_sent(now),
                Err(Ok(errno)) => fib.handle_send_error(now, errno),
                Err(Err(error)) => return Err(error),
            }
        }
        if !self.read(fib, now)? {
            return Ok(true);
        }
        let mut batch = Vec::new();
        while fib.poll_batch(now, destinations, &mut batch) {
            self.sender.send(std::mem::take(&mut batch))?;
        }
        Ok(fib.poll_timeout().is_some_and(|at| at <= now))
    }

    /// Reads until nothing is left (`true`) or the budget is used up (`false`).
    fn read(&mut self, fib: &mut Fib, now: Time) -> io::Result<bool> {
        for _ in 0..READS_MAX {
            if !self.readable {
                return Ok(true);
            }
            match self.socket.recv(&mut &mut self.read_buffer[..], 0) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => fib.handle_netlink(now, &self.read_buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => match error.raw_os_error() {
                    Some(libc::EBADF | libc::ENOTSOCK) | None => return Err(error),
                    Some(errno) => fib.handle_receive_error(now, errno),
                },
            }
        }
        Ok(!self.readable)
    }
}

fn set_option<T>(socket: &Socket, option: libc::c_int, value: &T) -> io::Result<()> {
    // SAFETY: the pointer and the length name one value of `T`, which outlives the call; the kernel reads
    // plain data from it.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sets a buffer's size past the system's limit; without CAP_NET_ADMIN, up to the limit.
fn enlarge(socket: &Socket, force: libc::c_int, plain: libc::c_int, bytes: libc::c_int) -> io::Result<()> {
    match set_option(socket, force, &bytes) {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => set_option(socket, plain, &bytes),
        outcome => outcome,
    }
}

/// Drops notifications of what this socket itself caused, and those of routes in other tables than the
/// domain's, main and local. The parts of a dump and the replies to requests pass.
fn attach_filter(socket: &Socket, port: u32, table: u32) -> io::Result<()> {
    const LOAD_WORD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    const LOAD_HALF: u32 = libc::BPF_LD | libc::BPF_H | libc::BPF_ABS;
    const LOAD_BYTE: u32 = libc::BPF_LD | libc::BPF_B | libc::BPF_ABS;
    const EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    const BITS: u32 = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
    const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
    const NLM_F_MULTI: u16 = 2;
    // Offsets in struct nlmsghdr, and in the struct rtmsg behind it.
    const KIND: u32 = 4;
    const FLAGS: u32 = 6;
    const PORT: u32 = 12;
    const TABLE: u32 = 20;
    // Places in the program below.
    const ROUTE: usize = 5;
    const OWN: usize = 11;
    const PASS: usize = 15;
    const DROP: usize = 16;

    // BPF loads in network byte order what netlink stores in the machine's.
    let half = |value: u16| u32::from(value.to_be());
    let table = u32::from(u8::try_from(table).unwrap_or(libc::RT_TABLE_COMPAT));
    let (main, local) = (u32::from(libc::RT_TABLE_MAIN), u32::from(libc::RT_TABLE_LOCAL));
    // (operation, operand, where to if true, where to if false)
    let program = [
        (LOAD_HALF, KIND, 1, 1),
        (EQUAL, half(RTM_NEWROUTE), ROUTE, 2),
        (EQUAL, half(RTM_DELROUTE), ROUTE, 3),
        (EQUAL, half(RTM_NEWNEXTHOP), OWN, 4),
        (EQUAL, half(RTM_DELNEXTHOP), OWN, PASS),
        (LOAD_HALF, FLAGS, 6, 6),
        (BITS, half(NLM_F_MULTI), PASS, 7),
        (LOAD_BYTE, TABLE, 8, 8),
        (EQUAL, table, OWN, 9),
        (EQUAL, main, OWN, 10),
        (EQUAL, local, OWN, DROP),
        (LOAD_HALF, FLAGS, 12, 12),
        (BITS, half(NLM_F_MULTI), PASS, 13),
        (LOAD_WORD, PORT, 14, 14),
        (EQUAL, port.to_be(), DROP, PASS),
        (RETURN, u32::MAX, 0, 0),
        (RETURN, 0, 0, 0),
    ];
    let mut filter = [libc::sock_filter { code: 0, jt: 0, jf: 0, k: 0 }; 17];
    for (at, ((code, k, jt, jf), out)) in program.into_iter().zip(&mut filter).enumerate() {
        // Jumps count from the next instruction; the others have none.
        let distance = |to: usize| if code == EQUAL || code == BITS { (to - at - 1) as u8 } else { 0 };
        *out = libc::sock_filter { code: code as u16, jt: distance(jt), jf: distance(jf), k };
    }
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // The kernel copies the program during the call; `filter` lives until its end.
    set_option(socket, libc::SO_ATTACH_FILTER, &program)
}

impl Source for NetlinkSocket {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        SourceFd(&self.socket.as_raw_fd()).register(registry, token, interests)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        SourceFd(&self.socket.as_raw_fd()).reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        SourceFd(&self.socket.as_raw_fd()).deregister(registry)
    }
}

#[cfg(test)]
mod kernel_tests;
