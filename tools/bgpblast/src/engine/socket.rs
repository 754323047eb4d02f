//! Sockets of peers: each from an address of its own.

use std::io;
use std::net::SocketAddr;

use kulan::config::Secret;
use kulan::reactor::sockopt::set_md5_key;
use kulan::types::Prefix;
use mio::net::{TcpListener, TcpStream};
use socket2::{Domain, Protocol, Socket, Type};

use super::Peer;

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 4096;

/// A socket that is on its way to the speaker.
pub(super) fn dial(peer: &Peer) -> Result<TcpStream, String> {
    let failed = |what: &str, error: io::Error| {
        format!("{what} from {} to {}: {error}{}", peer.address, peer.speaker, remedy(&error, peer))
    };
    let socket = new_socket(peer.speaker).map_err(|error| failed("a socket", error))?;
    key(&socket, peer)?;
    socket
        .bind(&SocketAddr::new(peer.address, 0).into())
        .map_err(|error| failed("binding a connection", error))?;
    match socket.connect(&peer.speaker.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        Err(error) => return Err(failed("a connection", error)),
    }
    Ok(TcpStream::from_std(socket.into()))
}

/// A socket on which the speaker's connection is waited for.
pub(super) fn listen(on: SocketAddr, peer: &Peer) -> Result<TcpListener, String> {
    let listener = open_listener(on, Some(peer));
    listener.map_err(|error| format!("listening on {on}: {error}{}", remedy(&error, peer)))
}

/// A socket on which anybody's connection is waited for.
pub(super) fn listen_on(on: SocketAddr) -> Result<TcpListener, String> {
    open_listener(on, None).map_err(|error| format!("listening on {on}: {error}"))
}

fn open_listener(on: SocketAddr, peer: Option<&Peer>) -> io::Result<TcpListener> {
    let socket = new_socket(on)?;
    socket.set_reuse_address(true)?;
    if let Some(peer) = peer {
        key(&socket, peer).map_err(io::Error::other)?;
    }
    socket.bind(&on.into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

fn new_socket(toward: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(toward), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    Ok(socket)
}

fn key(socket: &Socket, peer: &Peer) -> Result<(), String> {
    let Some(key) = &peer.md5 else { return Ok(()) };
    set_md5_key(socket, Prefix::host(peer.speaker.ip()), &Secret::new(key.clone().into_bytes()))
        .map_err(|error| format!("the MD5 key of {}: {error}", peer.address))
}

/// What a person can do about it.
fn remedy(error: &io::Error, peer: &Peer) -> String {
    let range = match peer.address {
        std::net::IpAddr::V4(_) => 24,
        std::net::IpAddr::V6(_) => 64,
    };
    let network = Prefix::of(peer.address, range).map_or(String::new(), |prefix| prefix.to_string());
    match error.raw_os_error() {
        Some(libc::EADDRNOTAVAIL) => format!(
            "; {} is no address of this machine: `ip route add local {network} dev lo` makes the whole \
             range usable, or choose other addresses (--from)",
            peer.address
        ),
        Some(libc::EMFILE | libc::ENFILE) => {
            "; too few file descriptors: raise the limit with `ulimit -n 65536`".to_string()
        }
        Some(libc::EACCES) if matches!(peer.transport, super::Transport::Listen(port) if port < 1024) => {
            "; ports below 1024 are for root: run as root or choose another port".to_string()
        }
        Some(libc::ENETUNREACH | libc::EHOSTUNREACH) => {
            "; there is no route to the speaker from that address".to_string()
        }
        _ => String::new(),
    }
}
