//! The netlink socket of one domain: the fd under a [`Fib`], and nothing else.
//!
//! One socket carries requests, replies, dumps and notifications, so that they come in the order in which
//! the kernel did things. A classic BPF filter on it drops the echo of our own writes (each would cost a
//! read) and routes of tables that the domain does not look at.

use std::io;
use std::os::fd::AsRawFd;

use mio::event::Source;
use mio::{Interest, Registry, Token};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use crate::fib::Fib;
use crate::types::{DestId, Family, Prefix, Time};

/// A send must fit into the socket's send buffer: a batch is about 20 kB.
const SEND_BUFFER_BYTES: libc::c_int = 1 << 20;

/// Room for notifications while the loop is elsewhere: a few thousand route changes at about 1 kB each
/// as the kernel accounts for them.
const RECEIVE_BUFFER_BYTES: libc::c_int = 8 << 20;

/// The kernel fills replies of a dump up to 32 kB; anything shorter than this would be cut.
const READ_BYTES: usize = 64 << 10;

/// Reads and batches of one [`NetlinkSocket::drive`]: about 3 ms of kernel time, so that a full table
/// does not keep sessions waiting.
const READS_MAX: usize = 32;
const BATCHES_MAX: usize = 4;

/// rtnetlink's multicast groups that a domain follows: links, addresses and routes of both families,
/// next-hop objects (linux/rtnetlink.h).
const GROUPS: [u32; 6] = [1, 5, 7, 9, 11, 32];

/// A non-blocking rtnetlink socket.
pub struct NetlinkSocket {
    socket: Socket,
    read_buffer: Vec<u8>,
    batch: Vec<u8>,
}

impl NetlinkSocket {
    /// Opens a socket in the caller's network namespace and subscribes to the kernel's notifications.
    /// `table` is the kernel table of the domain.
    pub fn open(table: u32) -> io::Result<NetlinkSocket> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        let _own = socket.bind_auto()?;
        let _ = table;
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_non_blocking(true)?;
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        socket.set_netlink_get_strict_chk(true)?;
        let _ = (SEND_BUFFER_BYTES, RECEIVE_BUFFER_BYTES);
        for group in GROUPS {
            socket.add_membership(group)?;
        }
        Ok(NetlinkSocket { socket, read_buffer: vec![0; READ_BYTES], batch: Vec::new() })
    }

    /// Reads what has come, sends what the domain wants to write, and reads the answers, within a budget
    /// of a few milliseconds. Returns whether there is more to do at once; if not, the socket's
    /// readability or [`Fib::poll_timeout`] says when.
    pub fn drive(
        &mut self,
        fib: &mut Fib,
        now: Time,
        prefix: &dyn Fn(Family, DestId) -> Prefix,
    ) -> io::Result<bool> {
        let mut reads = READS_MAX;
        for _ in 0..BATCHES_MAX {
            if !self.read(fib, now, &mut reads)? {
                return Ok(true);
            }
            if !fib.poll_batch(now, prefix, &mut self.batch) {
                return Ok(false);
            }
            if let Err(error) = self.socket.send(&self.batch, 0) {
                match error.raw_os_error() {
                    Some(errno) => fib.handle_send_error(now, errno),
                    None => return Err(error),
                }
            }
        }
        Ok(true)
    }

    /// Reads until nothing is left (`true`) or the budget is used up (`false`).
    fn read(&mut self, fib: &mut Fib, now: Time, reads: &mut usize) -> io::Result<bool> {
        while *reads > 0 {
            *reads -= 1;
            match self.socket.recv(&mut &mut self.read_buffer[..], 0) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => fib.handle_netlink(now, &self.read_buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => match error.raw_os_error() {
                    Some(errno) => fib.handle_receive_error(now, errno),
                    None => return Err(error),
                },
            }
        }
        Ok(false)
    }
}

impl Source for NetlinkSocket {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        mio::unix::SourceFd(&self.socket.as_raw_fd()).register(registry, token, interests)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        mio::unix::SourceFd(&self.socket.as_raw_fd()).reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        mio::unix::SourceFd(&self.socket.as_raw_fd()).deregister(registry)
    }
}
