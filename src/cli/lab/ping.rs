//! One ICMP echo request and its reply (RFC 792), so that the lab needs no `ping` program.

use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

const ECHO_REPLY: u8 = 0;
const ECHO_REQUEST: u8 = 8;
const REPLY_WAIT_MAX: Duration = Duration::from_secs(1);

/// Sends one echo request from `source` to `target` and returns how long the reply took.
pub fn ping(source: Ipv4Addr, target: Ipv4Addr, sequence: u16) -> io::Result<Duration> {
    let mut socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?;
    socket.bind(&SocketAddrV4::new(source, 0).into())?;
    let id = std::process::id() as u16;
    let begun = Instant::now();
    socket.send_to(&echo_request(id, sequence), &SocketAddrV4::new(target, 0).into())?;
    let mut buffer = [0; 1500];
    loop {
        let left = REPLY_WAIT_MAX.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        socket.set_read_timeout(Some(left))?;
        let length = socket.read(&mut buffer)?;
        if is_reply(&buffer[..length], target, id, sequence) {
            return Ok(begun.elapsed());
        }
    }
}

fn echo_request(id: u16, sequence: u16) -> [u8; 8] {
    let mut packet = [ECHO_REQUEST, 0, 0, 0, 0, 0, 0, 0];
    packet[4..6].copy_from_slice(&id.to_be_bytes());
    packet[6..8].copy_from_slice(&sequence.to_be_bytes());
    let checksum = checksum(&packet);
    packet[2..4].copy_from_slice(&checksum.to_be_bytes());
    packet
}

/// The Internet checksum (RFC 1071) of an even number of bytes.
fn checksum(packet: &[u8]) -> u16 {
    let mut sum: u32 =
        packet.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Whether an IPv4 packet is the reply to our request.
fn is_reply(packet: &[u8], target: Ipv4Addr, id: u16, sequence: u16) -> bool {
    let header_bytes = usize::from(packet.first().map_or(0, |byte| byte & 0x0f)) * 4;
    let (Some(source), Some(icmp)) = (packet.get(12..16), packet.get(header_bytes..header_bytes + 8)) else {
        return false;
    };
    source == target.octets()
        && icmp[0] == ECHO_REPLY
        && icmp[4..6] == id.to_be_bytes()
        && icmp[6..8] == sequence.to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_answers() {
        ping(Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST, 7).expect("needs CAP_NET_RAW, as the lab has it");
    }

    #[test]
    fn a_packet_with_its_checksum_sums_to_zero() {
        assert_eq!(checksum(&echo_request(0x1234, 0xff01)), 0);
    }
}
