//! The socket options of BGP that the standard library and `socket2` do not know: TCP MD5 signatures
//! (RFC 2385), the TTL security of GTSM (RFC 5082) and the TTL of multihop peers.
//!
//! Signatures belong to a listener as well as to a dialling socket. A listener has one key a peer, or one
//! for a whole range: the kernel takes the longest match, and refuses peers in reach of a key who do not
//! sign, without a word to either side. Keys cost memory that `net.core.optmem_max` limits for each
//! socket, so a range's key is worth having where there are many peers.
//!
//! A listener that serves peers with GTSM has to send with a TTL of 255 itself ([`set_ttl`]), since its
//! answers to a SYN go out before there is a socket of the connection. What it requires differs from peer
//! to peer, so it is set on the accepted socket ([`set_ttl_security`]), and what came before is judged by
//! the SYN, which the kernel keeps ([`keep_syns`], [`take_syn`]): nobody from further away gets his SYN to
//! us with a TTL that is high enough, and without a connection there are no packets to let in.

use std::fmt;
use std::io;
use std::mem::{size_of, zeroed};
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};

use libc::{c_int, c_void, sockaddr_storage, socklen_t};

use crate::config::Secret;
use crate::speaker::{Syn, ttl_min};
use crate::types::Prefix;

/// The longest key that the kernel takes, in bytes.
pub const MD5_KEY_BYTES_MAX: usize = libc::TCP_MD5SIG_MAXKEYLEN;

/// The kind of the MD5 signature among TCP's options (RFC 2385 §3.0).
const TCP_OPTION_MD5: u8 = 19;

/// `TCP_MD5SIG_FLAG_PREFIX` of linux/tcp.h: the prefix length counts.
const MD5_FLAG_PREFIX: u8 = 1;

/// `struct tcp_md5sig` of linux/tcp.h.
#[repr(C)]
struct TcpMd5Sig {
    addr: sockaddr_storage,
    flags: u8,
    prefix_len: u8,
    key_len: u16,
    ifindex: c_int,
    key: [u8; MD5_KEY_BYTES_MAX],
}

const _: () = assert!(size_of::<TcpMd5Sig>() == 216);

/// An option that the kernel refused.
#[derive(Debug)]
pub struct SocketOptionError {
    /// The option's name in C.
    pub option: &'static str,
    /// What the kernel said.
    pub source: io::Error,
}

impl fmt::Display for SocketOptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.option, self.source)?;
        let remedy = match self.source.raw_os_error() {
            Some(libc::ENOPROTOOPT) => "this kernel was built without the option",
            Some(libc::ENOMEM | libc::ENOBUFS) => {
                "the keys of one socket are too many: raise the sysctl net.core.optmem_max, or give a range one key"
            }
            Some(libc::EPERM | libc::EACCES) => "the capability CAP_NET_ADMIN is missing",
            _ => return Ok(()),
        };
        write!(f, " ({remedy})")
    }
}

impl std::error::Error for SocketOptionError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Requires and makes TCP MD5 signatures with `key` on connections with `peers`, in place of the key that
/// exactly they had. The socket must be of the address family of `peers`. Set it before `connect`, or on a
/// listener. A key of more than [`MD5_KEY_BYTES_MAX`] bytes or of none is `EINVAL`.
pub fn set_md5_key(socket: &impl AsFd, peers: Prefix, key: &Secret) -> Result<(), SocketOptionError> {
    let bytes = key.bytes();
    if bytes.is_empty() || bytes.len() > MD5_KEY_BYTES_MAX {
        return Err(SocketOptionError {
            option: "TCP_MD5SIG",
            source: io::Error::from_raw_os_error(libc::EINVAL),
        });
    }
    set_md5(socket, peers, bytes)
}

/// Takes the key of exactly `peers` away. `ENOENT`: they had none.
pub fn remove_md5_key(socket: &impl AsFd, peers: Prefix) -> Result<(), SocketOptionError> {
    set_md5(socket, peers, &[])
}

/// The kernel removes a key where it is given one of no bytes.
fn set_md5(socket: &impl AsFd, peers: Prefix, key: &[u8]) -> Result<(), SocketOptionError> {
    // Plain TCP_MD5SIG is known to kernels before 4.13 as well.
    let (option, name, flags) = match (peers, peers.len()) {
        (Prefix::V4(_), 32) | (Prefix::V6(_), 128) => (libc::TCP_MD5SIG, "TCP_MD5SIG", 0),
        _ => (libc::TCP_MD5SIG_EXT, "TCP_MD5SIG_EXT", MD5_FLAG_PREFIX),
    };
    let mut signature = TcpMd5Sig {
        addr: storage(peers.addr()),
        flags,
        prefix_len: peers.len(),
        key_len: key.len() as u16,
        ifindex: 0,
        key: [0; MD5_KEY_BYTES_MAX],
    };
    signature.key[..key.len()].copy_from_slice(key);
    set(socket, libc::IPPROTO_TCP, option, name, &signature)
}

/// Sends with this TTL (hop limit): how far a multihop peer may be away, 1 for a neighbour on the link, and
/// 255 on listeners. `peer` tells the socket's address family.
pub fn set_ttl(socket: &impl AsFd, peer: IpAddr, ttl: u8) -> Result<(), SocketOptionError> {
    let ttl = c_int::from(ttl);
    match peer {
        IpAddr::V4(_) => set(socket, libc::IPPROTO_IP, libc::IP_TTL, "IP_TTL", &ttl),
        IpAddr::V6(_) => set(socket, libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS, "IPV6_UNICAST_HOPS", &ttl),
    }
}

/// GTSM (RFC 5082 §3): sends with a TTL of 255, and drops what comes from further away than `hops`, 1 for a
/// neighbour on the link. `peer` tells the socket's address family.
pub fn set_ttl_security(socket: &impl AsFd, peer: IpAddr, hops: u8) -> Result<(), SocketOptionError> {
    set_ttl(socket, peer, 255)?;
    let least = c_int::from(ttl_min(hops));
    match peer {
        IpAddr::V4(_) => set(socket, libc::IPPROTO_IP, libc::IP_MINTTL, "IP_MINTTL", &least),
        IpAddr::V6(_) => set(socket, libc::IPPROTO_IPV6, libc::IPV6_MINHOPCOUNT, "IPV6_MINHOPCOUNT", &least),
    }
}

/// Has a listener keep the SYN of each connection until [`take_syn`] takes it.
pub fn keep_syns(listener: &impl AsFd) -> Result<(), SocketOptionError> {
    set(listener, libc::IPPROTO_TCP, libc::TCP_SAVE_SYN, "TCP_SAVE_SYN", &(1 as c_int))
}

/// Takes the SYN of an accepted connection from the kernel. Nothing: the kernel has not kept it, as when its
/// queue is so full that it answers with SYN cookies.
pub fn take_syn(accepted: &impl AsFd) -> Option<Syn> {
    // Headers with their options have 120 bytes at most, with IPv6 extension headers somewhat more.
    let mut headers = [0u8; 512];
    let mut len = headers.len() as socklen_t;
    // SAFETY: the descriptor is open for as long as it is borrowed; the kernel writes at most `len` bytes
    // into the live array, and to `len` how many.
    let status = unsafe {
        libc::getsockopt(
            accepted.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_SAVED_SYN,
            headers.as_mut_ptr().cast::<c_void>(),
            &raw mut len,
        )
    };
    if status == 0 { parse_syn(headers.get(..len as usize)?) } else { None }
}

/// Reads the headers of IP and TCP. Extension headers of IPv6 are not followed.
fn parse_syn(headers: &[u8]) -> Option<Syn> {
    let (ttl, ip_len) = match headers.first()? >> 4 {
        4 => (*headers.get(8)?, usize::from(headers[0] & 0x0f) * 4),
        6 if headers.get(6).copied().map(c_int::from) == Some(libc::IPPROTO_TCP) => (*headers.get(7)?, 40),
        _ => return None,
    };
    let tcp = headers.get(ip_len..)?;
    let mut options = tcp.get(20..usize::from(tcp.get(12)? >> 4) * 4)?;
    let mut signed = false;
    while let [kind, rest @ ..] = options {
        options = match (kind, rest) {
            (0, _) => &[],
            (1, rest) => rest,
            (kind, [len, ..]) => {
                signed |= *kind == TCP_OPTION_MD5;
                options.get(usize::from(*len).max(2)..)?
            }
            (_, []) => return None,
        };
    }
    Some(Syn { ttl, signed })
}

fn storage(addr: IpAddr) -> sockaddr_storage {
    // SAFETY: sockaddr_storage is plain integers, for which zeros are valid; both writes go to a type that
    // the kernel's ABI lays into it and that is no larger nor more aligned (asserted above the casts).
    unsafe {
        const {
            assert!(size_of::<libc::sockaddr_in6>() <= size_of::<sockaddr_storage>());
            assert!(align_of::<libc::sockaddr_in6>() <= align_of::<sockaddr_storage>());
            assert!(align_of::<libc::sockaddr_in>() <= align_of::<sockaddr_storage>());
        }
        let mut storage: sockaddr_storage = zeroed();
        match addr {
            IpAddr::V4(addr) => {
                let place = &mut *(&raw mut storage).cast::<libc::sockaddr_in>();
                place.sin_family = libc::AF_INET as libc::sa_family_t;
                place.sin_addr.s_addr = addr.to_bits().to_be();
            }
            IpAddr::V6(addr) => {
                let place = &mut *(&raw mut storage).cast::<libc::sockaddr_in6>();
                place.sin6_family = libc::AF_INET6 as libc::sa_family_t;
                place.sin6_addr.s6_addr = addr.octets();
            }
        }
        storage
    }
}

/// `setsockopt` with a value that the kernel reads as it stands: an integer, or a C structure without
/// padding.
fn set<T>(
    socket: &impl AsFd,
    level: c_int,
    option: c_int,
    name: &'static str,
    value: &T,
) -> Result<(), SocketOptionError> {
    // SAFETY: the descriptor is open for as long as it is borrowed; the kernel reads size_of::<T>() bytes
    // of a live value and keeps no pointer to it.
    let status = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            option,
            std::ptr::from_ref(value).cast::<c_void>(),
            size_of::<T>() as socklen_t,
        )
    };
    if status == 0 {
        Ok(())
    } else {
        Err(SocketOptionError { option: name, source: io::Error::last_os_error() })
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::time::Duration;

    use socket2::{Domain, Socket, Type};

    use super::*;

    /// The kernel drops what is signed wrongly: only this much patience tells that nothing happens.
    const PATIENCE: Duration = Duration::from_millis(300);
    const PLENTY: Duration = Duration::from_secs(20);

    fn listener(addr: &str) -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind((addr, 0)).expect("a loopback address can be bound");
        let local = listener.local_addr().expect("a bound socket has an address");
        (listener, local)
    }

    fn dialler(to: SocketAddr) -> Socket {
        Socket::new(Domain::for_address(to), Type::STREAM, None).expect("a socket can be made")
    }

    fn prefix(text: &str) -> Prefix {
        text.parse().expect("the test's own prefix")
    }

    fn key(text: &str) -> Secret {
        Secret::new(text.as_bytes().to_vec())
    }

    fn pass_a_byte(listener: &TcpListener, dialled: Socket) {
        let (mut accepted, _) = listener.accept().expect("a connection waits");
        let mut dialled = TcpStream::from(dialled);
        dialled.write_all(&[7]).expect("the connection stands");
        let mut byte = [0];
        accepted.set_read_timeout(Some(PLENTY)).expect("not zero");
        accepted.read_exact(&mut byte).expect("the byte arrives");
        assert_eq!(byte, [7]);
    }

    #[test]
    fn md5_connects_with_the_right_key_only() {
        for (addr, peers) in [
            ("127.0.0.1", "127.0.0.1/32"),
            ("127.0.0.1", "127.0.0.0/8"),
            ("::1", "::1/128"),
            ("::1", "::/64"),
        ] {
            let (listener, to) = listener(addr);
            set_md5_key(&listener, prefix(peers), &key("right")).expect("the kernel knows MD5");

            let with_key = |text: Option<&str>| {
                let dialler = dialler(to);
                if let Some(text) = text {
                    set_md5_key(&dialler, Prefix::host(to.ip()), &key(text)).expect("the kernel knows MD5");
                }
                dialler
            };
            let right = with_key(Some("right"));
            right.connect_timeout(&to.into(), PLENTY).expect("both have the key");
            pass_a_byte(&listener, right);
            for wrong in [Some("wrong"), None] {
                let refused = with_key(wrong).connect_timeout(&to.into(), PATIENCE);
                assert!(refused.is_err(), "{peers} connected with {wrong:?}");
            }

            remove_md5_key(&listener, prefix(peers)).expect("there is a key");
            let plain = with_key(None);
            plain.connect_timeout(&to.into(), PLENTY).expect("no key is wanted any more");
            pass_a_byte(&listener, plain);
            let again = remove_md5_key(&listener, prefix(peers)).expect_err("the key is gone");
            assert_eq!(again.source.raw_os_error(), Some(libc::ENOENT));
        }
    }

    #[test]
    fn the_longest_match_has_the_key() {
        let (listener, to) = listener("127.0.0.1");
        set_md5_key(&listener, prefix("127.0.0.0/8"), &key("range")).expect("the kernel knows MD5");
        set_md5_key(&listener, prefix("127.0.0.1/32"), &key("peer")).expect("the kernel knows MD5");
        let dialler = dialler(to);
        set_md5_key(&dialler, Prefix::host(to.ip()), &key("peer")).expect("the kernel knows MD5");
        dialler.connect_timeout(&to.into(), PLENTY).expect("the peer's own key counts");
    }

    #[test]
    fn md5_refuses_keys_that_the_kernel_cannot_hold() {
        let (listener, _) = listener("127.0.0.1");
        for len in [0, MD5_KEY_BYTES_MAX + 1] {
            let error = set_md5_key(&listener, prefix("127.0.0.1/32"), &Secret::new(vec![1; len]));
            assert_eq!(error.expect_err("not a key").source.raw_os_error(), Some(libc::EINVAL));
        }
        let longest = Secret::new(vec![1; MD5_KEY_BYTES_MAX]);
        set_md5_key(&listener, prefix("127.0.0.1/32"), &longest).expect("80 bytes are a key");
    }

    #[test]
    fn too_many_keys_name_the_remedy() {
        let (listener, _) = listener("127.0.0.1");
        // The default optmem_max has room for some hundred keys, a generous one for some ten thousand.
        let full = (0..200_000u32).find_map(|n| {
            let peer = Prefix::V4(crate::types::Prefix4::new(0x0a00_0000 + n, 32));
            set_md5_key(&listener, peer, &key("key")).err()
        });
        if let Some(error) = full {
            assert!(error.to_string().contains("net.core.optmem_max"), "{error}");
        }
    }

    #[test]
    fn gtsm_lets_in_neighbours_only() {
        for addr in ["127.0.0.1", "::1"] {
            let (listener, to) = listener(addr);
            set_ttl(&listener, to.ip(), 255).expect("a TTL can be set");
            // What the listener requires, SYNs must have already.
            set_ttl_security(&listener, to.ip(), 1).expect("the kernel knows GTSM");

            let near = dialler(to);
            set_ttl_security(&near, to.ip(), 1).expect("the kernel knows GTSM");
            near.connect_timeout(&to.into(), PLENTY).expect("255 is near");
            pass_a_byte(&listener, near);

            let far = dialler(to);
            set_ttl(&far, to.ip(), 254).expect("a TTL can be set");
            assert!(far.connect_timeout(&to.into(), PATIENCE).is_err(), "254 is one hop too far");

            set_ttl_security(&listener, to.ip(), 2).expect("the kernel knows GTSM");
            let two_hops = dialler(to);
            set_ttl(&two_hops, to.ip(), 254).expect("a TTL can be set");
            two_hops.connect_timeout(&to.into(), PLENTY).expect("two hops are allowed");
        }
    }

    #[test]
    fn the_syn_tells_how_far_the_peer_is_and_whether_it_signs() {
        for addr in ["127.0.0.1", "::1"] {
            let (listener, to) = listener(addr);
            keep_syns(&listener).expect("the kernel keeps SYNs since 4.2");
            set_ttl(&listener, to.ip(), 255).expect("a TTL can be set");
            let syn = |dialler: Socket| {
                dialler.connect_timeout(&to.into(), PLENTY).expect("somebody listens");
                let (accepted, _) = listener.accept().expect("a connection waits");
                let syn = take_syn(&accepted);
                assert_eq!(take_syn(&accepted), None, "the kernel gives it away once");
                syn
            };
            let far = dialler(to);
            set_ttl(&far, to.ip(), 63).expect("a TTL can be set");
            assert_eq!(syn(far), Some(Syn { ttl: 63, signed: false }));
            let near = dialler(to);
            set_ttl_security(&near, to.ip(), 1).expect("the kernel knows GTSM");
            assert_eq!(syn(near), Some(Syn { ttl: 255, signed: false }));

            set_md5_key(&listener, Prefix::host(to.ip()), &key("key")).expect("the kernel knows MD5");
            let signing = dialler(to);
            set_ttl(&signing, to.ip(), 1).expect("a TTL can be set");
            set_md5_key(&signing, Prefix::host(to.ip()), &key("key")).expect("the kernel knows MD5");
            assert_eq!(syn(signing), Some(Syn { ttl: 1, signed: true }));
        }
    }

    #[test]
    fn a_listener_that_keeps_nothing_tells_nothing() {
        let (listener, to) = listener("127.0.0.1");
        dialler(to).connect_timeout(&to.into(), PLENTY).expect("somebody listens");
        let (accepted, _) = listener.accept().expect("a connection waits");
        assert_eq!(take_syn(&accepted), None);
    }

    #[test]
    fn no_headers_make_the_reader_panic() {
        let mut whole = vec![0; 60];
        (whole[0], whole[8], whole[32]) = (0x45, 64, 0xa0);
        whole[40..44].copy_from_slice(&[1, 1, TCP_OPTION_MD5, 18]);
        assert_eq!(parse_syn(&whole), Some(Syn { ttl: 64, signed: true }));
        for len in 0..whole.len() {
            assert_eq!(parse_syn(&whole[..len]), None, "{len} bytes");
        }
        for at in 0..whole.len() {
            for octet in [0, 1, 0x60, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] = octet;
                let _ = parse_syn(&damaged);
            }
        }
    }

    #[test]
    fn errors_name_the_option_and_the_remedy() {
        let text = |errno| {
            SocketOptionError { option: "TCP_MD5SIG", source: io::Error::from_raw_os_error(errno) }
                .to_string()
        };
        assert!(text(libc::ENOPROTOOPT).contains("built without"));
        assert!(text(libc::ENOMEM).contains("net.core.optmem_max"));
        assert!(text(libc::EINVAL).starts_with("TCP_MD5SIG: "));
    }
}
