//! Making sockets: listeners, dialled connections, and what an accepted connection still needs.
//!
//! Everything is non-blocking and closed on exec. The options that socket2 lacks (MD5 keys, GTSM) are in
//! [`super::sockopt`].

use std::io;
use std::net::{IpAddr, SocketAddr};

use mio::net::{TcpListener, TcpStream};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::sockopt;
use crate::speaker::{Dial, SocketOptions};
use crate::types::Prefix;

/// How many connections the kernel may hold for us before we accept them; it clips this to
/// net.core.somaxconn. Thousands of nodes that connect at once must all fit.
const BACKLOG: i32 = 65_535;

/// How many unsent bytes a socket takes. What lies in a socket cannot be overtaken or withdrawn any more, and a
/// peer that reads slowly would else keep megabytes in each; a fast one never has that much waiting.
const UNSENT_BYTES_MAX: u32 = 128 * 1024;

/// A listener on `address`. An IPv6 one takes IPv6 only, so that both families can be bound beside each
/// other.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    // A SYN-ACK goes out before the connection is ours to configure, and GTSM peers expect 255 (RFC 5082 §3).
    sockopt::set_ttl(&socket, address.ip(), 255).map_err(io::Error::other)?;
    sockopt::keep_syns(&socket).map_err(io::Error::other)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// Begins to connect; the outcome comes as a writable event.
pub(super) fn dial(dial: &Dial) -> io::Result<TcpStream> {
    let socket =
        Socket::new(Domain::for_address(dial.remote), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    if let Some(interface) = &dial.interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    if let Some(source) = dial.source {
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    if let Some(password) = &dial.password {
        sockopt::set_md5_key(&socket, Prefix::host(dial.remote.ip()), password).map_err(io::Error::other)?;
    }
    apply(&socket, dial.remote.ip(), &dial.options)?;
    match socket.connect(&dial.remote.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        Err(error) => return Err(error),
    }
    Ok(TcpStream::from_std(socket.into()))
}

/// Sets on an accepted connection what its peer is configured with. Without it the connection is not to be used.
pub(super) fn adopt(stream: &TcpStream, peer: IpAddr, options: &SocketOptions) -> io::Result<()> {
    apply(&SockRef::from(stream), peer, options)
}

fn apply(socket: &Socket, peer: IpAddr, options: &SocketOptions) -> io::Result<()> {
    // BGP writes whole messages; Nagle would only add the delay of an acknowledgement.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(UNSENT_BYTES_MAX)?;
    if let Some(ttl) = options.ttl {
        sockopt::set_ttl(socket, peer, ttl).map_err(io::Error::other)?;
    }
    if let Some(hops) = options.ttl_security_hops {
        sockopt::set_ttl_security(socket, peer, hops).map_err(io::Error::other)?;
    }
    Ok(())
}
