//! Capabilities in GoBGP's words.
//!
//! Its client picks what it prints by a capability's code and then takes the message for granted that
//! belongs to the code: an `UnknownCapability` with the code of one that it knows kills it, and a message
//! that it does not know makes it drop the whole list. So what does not fit is left out, and `kulan show
//! peers` has it all the same.

use prost::Message;
use prost_types::Any;

use crate::control::proto::apipb;
use crate::wire::Capability;
use crate::wire::capability::{GracefulRestart, code};

/// The capabilities of an OPEN.
pub(super) fn capabilities(all: &[Capability]) -> Vec<Any> {
    all.iter().filter_map(capability).collect()
}

fn family(afi: u16, safi: u8) -> Option<apipb::Family> {
    Some(apipb::Family { afi: afi.into(), safi: safi.into() })
}

fn any<M: Message>(name: &str, message: &M) -> Option<Any> {
    Some(Any { type_url: format!("type.googleapis.com/apipb.{name}"), value: message.encode_to_vec() })
}

fn capability(of: &Capability) -> Option<Any> {
    match of {
        Capability::Multiprotocol { afi, safi } => {
            any("MultiProtocolCapability", &apipb::MultiProtocolCapability { family: family(*afi, *safi) })
        }
        Capability::RouteRefresh => any("RouteRefreshCapability", &apipb::RouteRefreshCapability {}),
        Capability::ExtendedNextHop(families) => {
            let tuples = families.iter().map(|of| apipb::ExtendedNexthopCapabilityTuple {
                // The capability has two octets for a SAFI, of which the first is always 0 (RFC 8950 §4).
                nlri_family: family(of.afi, of.safi as u8),
                nexthop_family: family(of.next_hop_afi, of.safi as u8),
            });
            any("ExtendedNexthopCapability", &apipb::ExtendedNexthopCapability { tuples: tuples.collect() })
        }
        Capability::GracefulRestart(restart) => any("GracefulRestartCapability", &graceful_restart(restart)),
        Capability::FourOctetAs(asn) => {
            any("FourOctetASNCapability", &apipb::FourOctetAsnCapability { asn: *asn })
        }
        Capability::AddPath(families) => {
            let tuples = families.iter().map(|of| apipb::AddPathCapabilityTuple {
                family: family(of.afi, of.safi),
                mode: i32::from(of.receive) | i32::from(of.send) << 1,
            });
            any("AddPathCapability", &apipb::AddPathCapability { tuples: tuples.collect() })
        }
        Capability::EnhancedRouteRefresh => {
            any("EnhancedRouteRefreshCapability", &apipb::EnhancedRouteRefreshCapability {})
        }
        Capability::Fqdn { host, domain } => any(
            "FqdnCapability",
            &apipb::FqdnCapability { host_name: host.clone(), domain_name: domain.clone() },
        ),
        Capability::Unknown { code: code::LONG_LIVED_GRACEFUL_RESTART, value } => {
            any("LongLivedGracefulRestartCapability", &long_lived_graceful_restart(value)?)
        }
        Capability::ExtendedMessage => unknown(code::EXTENDED_MESSAGE, &[]),
        // GoBGP has had a message for it since 3.11 only.
        Capability::SoftwareVersion(_) => None,
        Capability::Unknown { code: code::ADD_PATH | code::FQDN | code::SOFTWARE_VERSION, .. } => None,
        Capability::Unknown { code, value } => unknown(*code, value),
    }
}

fn unknown(code: u8, value: &[u8]) -> Option<Any> {
    any("UnknownCapability", &apipb::UnknownCapability { code: code.into(), value: value.to_vec() })
}

fn graceful_restart(of: &GracefulRestart) -> apipb::GracefulRestartCapability {
    apipb::GracefulRestartCapability {
        // The four flags of RFC 4724 §3 and RFC 8538 §2: R, N and two reserved ones.
        flags: u32::from(of.restarting) << 3 | u32::from(of.notification) << 2,
        time: of.restart_time_s.into(),
        tuples: of
            .families
            .iter()
            .map(|of| apipb::GracefulRestartCapabilityTuple {
                family: family(of.afi, of.safi),
                flags: u32::from(of.forwarding) << 7,
            })
            .collect(),
    }
}

/// RFC 9494 §3.1: AFI, SAFI, flags and a time of three octets for each family.
fn long_lived_graceful_restart(value: &[u8]) -> Option<apipb::LongLivedGracefulRestartCapability> {
    let (tuples, []) = value.as_chunks::<7>() else { return None };
    let tuples = tuples.iter().map(|&[afi_high, afi_low, safi, flags, time @ ..]| {
        apipb::LongLivedGracefulRestartCapabilityTuple {
            family: family(u16::from_be_bytes([afi_high, afi_low]), safi),
            flags: flags.into(),
            time: u32::from_be_bytes([0, time[0], time[1], time[2]]),
        }
    });
    Some(apipb::LongLivedGracefulRestartCapability { tuples: tuples.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unknown(code: u8, value: &[u8]) -> Capability {
        Capability::Unknown { code, value: value.to_vec() }
    }

    #[test]
    fn each_has_the_message_that_clients_expect_for_its_code() {
        let restart = GracefulRestart {
            restarting: true,
            notification: true,
            restart_time_s: 120,
            families: Vec::new(),
        };
        let all = [
            Capability::GracefulRestart(restart),
            unknown(code::LONG_LIVED_GRACEFUL_RESTART, &[0, 1, 1, 0x80, 0, 1, 0]),
            unknown(200, &[7]),
        ];
        let told = capabilities(&all);
        let names = told.iter().map(|any| any.type_url.trim_start_matches("type.googleapis.com/"));
        assert_eq!(
            names.collect::<Vec<_>>(),
            [
                "apipb.GracefulRestartCapability",
                "apipb.LongLivedGracefulRestartCapability",
                "apipb.UnknownCapability"
            ]
        );
        let restart = apipb::GracefulRestartCapability::decode(&told[0].value[..]).unwrap();
        assert_eq!((restart.flags, restart.time), (0x0c, 120));
        let long = apipb::LongLivedGracefulRestartCapability::decode(&told[1].value[..]).unwrap();
        assert_eq!((long.tuples[0].flags, long.tuples[0].time), (0x80, 256));
    }

    #[test]
    fn what_would_break_a_client_is_left_out() {
        let broken = [
            unknown(code::LONG_LIVED_GRACEFUL_RESTART, &[1, 2, 3]),
            unknown(code::ADD_PATH, &[0, 1, 1, 9]),
            unknown(code::FQDN, &[9]),
            unknown(code::SOFTWARE_VERSION, &[9]),
            Capability::SoftwareVersion("router 1.0".into()),
        ];
        assert_eq!(capabilities(&broken), []);
    }
}
