//! One range a peer, or several: what the machines of a fleet announce, each its own pods' prefixes.

use std::net::IpAddr;

use ipnet::IpNet;
use kulan::types::Prefix;
use kulan::wire::AttributeEditor;
use kulan::wire::attrs::Origin;

use super::{AttributeSet, Route, Routes};

/// The prefixes of the peer with number `peer_number`, counted from 0: `per_peer` consecutive ones of the length of
/// `first`. They originate with the peer: ORIGIN IGP and the empty path.
///
/// # Errors
///
/// When `first` has host bits set, or the addresses do not suffice for the peer.
pub(super) fn routes_of(first: IpNet, per_peer: usize, peer_number: usize) -> Result<Routes, String> {
    if first.addr() != first.network() {
        return Err(format!("first: {first} has host bits set: write {}", first.trunc()));
    }
    if per_peer == 0 {
        return Err("per_peer is 0: every peer needs a prefix to announce".to_string());
    }
    let mut block = Vec::new();
    AttributeEditor::on(&mut block).set_origin(Origin::Igp).set_as_path(&[]);
    let start = (peer_number as u128).checked_mul(per_peer as u128);
    let routes = (0..per_peer)
        .map(|number| {
            let place = start.and_then(|start| start.checked_add(number as u128));
            let prefix = place.and_then(|place| nth(first, place)).ok_or_else(|| {
                format!(
                    "peer {peer_number} has no prefix left: {per_peer} of length {} a peer, starting with {first}, \
                     run out of addresses; begin lower or give fewer",
                    first.prefix_len()
                )
            })?;
            Ok(Route { prefix, path_id: 0, set: 0 })
        })
        .collect::<Result<Vec<Route>, String>>()?;
    Ok(Routes { sets: vec![AttributeSet { block, next_hop: None }], routes, ..Routes::default() })
}

/// The prefix `place` places after `first`, if the family has so many addresses.
fn nth(first: IpNet, place: u128) -> Option<Prefix> {
    let host_bits = u32::from(first.max_prefix_len() - first.prefix_len());
    let add = |start: u128, bits: u32| {
        let offset = if host_bits < 128 { place.checked_mul(1u128 << host_bits)? } else { 0 };
        if host_bits == 128 && place > 0 {
            return None;
        }
        start.checked_add(offset).filter(|sum| bits == 128 || sum >> bits == 0)
    };
    let addr = match first.network() {
        IpAddr::V4(addr) => IpAddr::V4((add(u128::from(addr.to_bits()), 32)? as u32).into()),
        IpAddr::V6(addr) => IpAddr::V6(add(addr.to_bits(), 128)?.into()),
    };
    Prefix::of(addr, first.prefix_len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(first: &str, per_peer: usize, peer: usize) -> Result<Vec<String>, String> {
        let routes = routes_of(first.parse().unwrap(), per_peer, peer)?;
        Ok(routes.routes.iter().map(|route| route.prefix.to_string()).collect())
    }

    #[test]
    fn every_peer_has_its_own() {
        assert_eq!(of("10.244.0.0/24", 1, 0).unwrap(), ["10.244.0.0/24"]);
        assert_eq!(of("10.244.0.0/24", 1, 300).unwrap(), ["10.245.44.0/24"]);
        assert_eq!(of("10.244.0.0/24", 2, 1).unwrap(), ["10.244.2.0/24", "10.244.3.0/24"]);
        assert_eq!(of("fd00::/64", 1, 65536).unwrap(), ["fd00:0:0:1::/64".replace("0:0:1::", "0:1::")]);
        assert_eq!(of("0.0.0.0/0", 1, 0).unwrap(), ["0.0.0.0/0"]);
        assert_eq!(of("::/0", 1, 0).unwrap(), ["::/0"]);
    }

    #[test]
    fn what_cannot_be_is_said() {
        assert!(of("10.244.0.1/24", 1, 0).unwrap_err().contains("write 10.244.0.0/24"));
        assert!(of("255.255.255.0/24", 1, 1).unwrap_err().contains("run out"));
        assert!(of("::/0", 1, 1).unwrap_err().contains("run out"));
        assert!(of("ffff::/16", 1, 1).unwrap_err().contains("run out"));
        assert!(of("10.0.0.0/8", 1, usize::MAX).unwrap_err().contains("run out"));
        assert!(of("10.0.0.0/8", 0, 0).is_err());
    }
}
