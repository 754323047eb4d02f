//! Capabilities (RFC 5492): what each side of a session can do, exchanged in OPEN.
//!
//! Those that kulan acts on are decoded; every other one is kept as it came, so that `show peers` can
//! name what a peer offered.

use super::notification::{self, Notification};
use super::{read_u16, read_u32, truncated};
use crate::types::Family;

/// Capability codes (IANA "Capability Codes").
pub mod code {
    /// RFC 4760.
    pub const MULTIPROTOCOL: u8 = 1;
    /// RFC 2918.
    pub const ROUTE_REFRESH: u8 = 2;
    /// RFC 8950.
    pub const EXTENDED_NEXT_HOP: u8 = 5;
    /// RFC 8654.
    pub const EXTENDED_MESSAGE: u8 = 6;
    /// RFC 9234.
    pub const ROLE: u8 = 9;
    /// RFC 4724.
    pub const GRACEFUL_RESTART: u8 = 64;
    /// RFC 6793.
    pub const FOUR_OCTET_AS: u8 = 65;
    /// RFC 7911.
    pub const ADD_PATH: u8 = 69;
    /// RFC 7313.
    pub const ENHANCED_ROUTE_REFRESH: u8 = 70;
    /// RFC 9494.
    pub const LONG_LIVED_GRACEFUL_RESTART: u8 = 71;
    /// draft-walton-bgp-hostname-capability.
    pub const FQDN: u8 = 73;
    /// draft-abraitis-bgp-version-capability.
    pub const SOFTWARE_VERSION: u8 = 75;
}

/// A family for which IPv6 next hops are understood (RFC 8950 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ExtendedNextHop {
    /// Address family of the NLRI.
    pub afi: u16,
    /// Subsequent address family of the NLRI.
    pub safi: u16,
    /// Address family of the next hop.
    pub next_hop_afi: u16,
}

/// Graceful Restart (RFC 4724 §3, RFC 8538 §2).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct GracefulRestart {
    /// R: the sender has restarted; do not wait for its End-of-RIB before sending yours.
    pub restarting: bool,
    /// N: the procedures also follow a NOTIFICATION (RFC 8538).
    pub notification: bool,
    /// How long the sender takes to restart at most, in seconds; below 4096.
    pub restart_time_s: u16,
    /// The families for which it is able to.
    pub families: Vec<GracefulFamily>,
}

/// One family of [`GracefulRestart`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GracefulFamily {
    /// Address family.
    pub afi: u16,
    /// Subsequent address family.
    pub safi: u8,
    /// F: forwarding state survived the restart.
    pub forwarding: bool,
}

/// One family of ADD-PATH (RFC 7911 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AddPathFamily {
    /// Address family.
    pub afi: u16,
    /// Subsequent address family.
    pub safi: u8,
    /// The sender is able to receive several paths for one prefix.
    pub receive: bool,
    /// The sender is able to send several paths for one prefix.
    pub send: bool,
}

/// One capability.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Capability {
    /// Multiprotocol Extensions (RFC 4760 §8): the sender routes this family.
    Multiprotocol {
        /// Address family.
        afi: u16,
        /// Subsequent address family.
        safi: u8,
    },
    /// Route Refresh (RFC 2918 §2).
    RouteRefresh,
    /// Extended Next Hop Encoding (RFC 8950 §4).
    ExtendedNextHop(Vec<ExtendedNextHop>),
    /// Extended Message (RFC 8654 §3): the sender receives messages of up to 65,535 octets.
    ExtendedMessage,
    /// Graceful Restart (RFC 4724 §3).
    GracefulRestart(GracefulRestart),
    /// Support for four-octet AS numbers (RFC 6793 §3), with the sender's own.
    FourOctetAs(u32),
    /// ADD-PATH (RFC 7911 §4).
    AddPath(Vec<AddPathFamily>),
    /// Enhanced Route Refresh (RFC 7313 §3.1).
    EnhancedRouteRefresh,
    /// Host and domain name of the sender, for people.
    Fqdn {
        /// Host name.
        host: String,
        /// Domain name; often empty.
        domain: String,
    },
    /// What the sender runs, for people.
    SoftwareVersion(String),
    /// Any other one, and those whose content has no meaning.
    Unknown {
        /// Capability code.
        code: u8,
        /// Capability value.
        value: Vec<u8>,
    },
}

impl Capability {
    /// The capability to route `family`.
    pub const fn multiprotocol(family: Family) -> Capability {
        Capability::Multiprotocol { afi: family.afi(), safi: family.safi() }
    }

    /// The capability code.
    pub const fn code(&self) -> u8 {
        match self {
            Capability::Multiprotocol { .. } => code::MULTIPROTOCOL,
            Capability::RouteRefresh => code::ROUTE_REFRESH,
            Capability::ExtendedNextHop(_) => code::EXTENDED_NEXT_HOP,
            Capability::ExtendedMessage => code::EXTENDED_MESSAGE,
            Capability::GracefulRestart(_) => code::GRACEFUL_RESTART,
            Capability::FourOctetAs(_) => code::FOUR_OCTET_AS,
            Capability::AddPath(_) => code::ADD_PATH,
            Capability::EnhancedRouteRefresh => code::ENHANCED_ROUTE_REFRESH,
            Capability::Fqdn { .. } => code::FQDN,
            Capability::SoftwareVersion(_) => code::SOFTWARE_VERSION,
            Capability::Unknown { code, .. } => *code,
        }
    }

    /// Reads every capability of a Capabilities optional parameter and appends it to `out`.
    ///
    /// # Errors
    ///
    /// OPEN Message Error, unspecific (RFC 4271 §6.2), if a capability runs beyond the parameter, or has
    /// a length that its definition does not allow.
    pub(super) fn decode_all(bytes: &[u8], out: &mut Vec<Capability>) -> Result<(), Notification> {
        let mut rest = bytes;
        while let Some((&code, after)) = rest.split_first() {
            let (&len, after) = after.split_first().ok_or_else(malformed)?;
            let (value, after) = after.split_at_checked(usize::from(len)).ok_or_else(malformed)?;
            out.push(Capability::decode(code, value).ok_or_else(malformed)?);
            rest = after;
        }
        Ok(())
    }

    /// `None`: a length that the definition does not allow.
    fn decode(code: u8, value: &[u8]) -> Option<Capability> {
        let empty = |capability| value.is_empty().then_some(capability);
        match code {
            code::MULTIPROTOCOL => match *value {
                [afi_high, afi_low, _reserved, safi] => {
                    Some(Capability::Multiprotocol { afi: u16::from_be_bytes([afi_high, afi_low]), safi })
                }
                _ => None,
            },
            code::ROUTE_REFRESH => empty(Capability::RouteRefresh),
            code::EXTENDED_NEXT_HOP => value.len().is_multiple_of(6).then(|| {
                let families = value.chunks_exact(6).map(|tuple| ExtendedNextHop {
                    afi: read_u16(tuple),
                    safi: read_u16(&tuple[2..]),
                    next_hop_afi: read_u16(&tuple[4..]),
                });
                Capability::ExtendedNextHop(families.collect())
            }),
            code::EXTENDED_MESSAGE => empty(Capability::ExtendedMessage),
            code::GRACEFUL_RESTART => {
                let (head, families) = value.split_first_chunk::<2>()?;
                let head = u16::from_be_bytes(*head);
                families.len().is_multiple_of(4).then(|| {
                    let families = families.chunks_exact(4).map(|tuple| GracefulFamily {
                        afi: read_u16(tuple),
                        safi: tuple[2],
                        forwarding: tuple[3] & 0x80 != 0,
                    });
                    Capability::GracefulRestart(GracefulRestart {
                        restarting: head & 0x8000 != 0,
                        notification: head & 0x4000 != 0,
                        restart_time_s: head & 0x0fff,
                        families: families.collect(),
                    })
                })
            }
            code::FOUR_OCTET_AS => (value.len() == 4).then(|| Capability::FourOctetAs(read_u32(value))),
            code::ADD_PATH => {
                if !value.len().is_multiple_of(4) {
                    return None;
                }
                // RFC 7911 §4: with any other value, as if the capability were not understood.
                if value.chunks_exact(4).any(|tuple| !(1..=3).contains(&tuple[3])) {
                    return Some(Capability::Unknown { code, value: value.to_vec() });
                }
                let families = value.chunks_exact(4).map(|tuple| AddPathFamily {
                    afi: read_u16(tuple),
                    safi: tuple[2],
                    receive: tuple[3] & 1 != 0,
                    send: tuple[3] & 2 != 0,
                });
                Some(Capability::AddPath(families.collect()))
            }
            code::ENHANCED_ROUTE_REFRESH => empty(Capability::EnhancedRouteRefresh),
            // The two below are for people, from drafts: never a reason to refuse a session.
            code::FQDN => Some(
                Capability::decode_fqdn(value)
                    .unwrap_or_else(|| Capability::Unknown { code, value: value.to_vec() }),
            ),
            code::SOFTWARE_VERSION => Some(match value.split_first() {
                Some((&len, text)) if usize::from(len) == text.len() => {
                    Capability::SoftwareVersion(String::from_utf8_lossy(text).into_owned())
                }
                _ => Capability::Unknown { code, value: value.to_vec() },
            }),
            _ => Some(Capability::Unknown { code, value: value.to_vec() }),
        }
    }

    fn decode_fqdn(value: &[u8]) -> Option<Capability> {
        let (&host_len, rest) = value.split_first()?;
        let (host, rest) = rest.split_at_checked(usize::from(host_len))?;
        let (&domain_len, domain) = rest.split_first()?;
        (usize::from(domain_len) == domain.len()).then(|| Capability::Fqdn {
            host: String::from_utf8_lossy(host).into_owned(),
            domain: String::from_utf8_lossy(domain).into_owned(),
        })
    }

    /// Appends code, length and value. What does not fit into the 255 octets of a value is cut off: the
    /// last families, the end of a name.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.code(), 0]);
        let start = out.len();
        match self {
            Capability::Multiprotocol { afi, safi } => {
                let [high, low] = afi.to_be_bytes();
                out.extend_from_slice(&[high, low, 0, *safi]);
            }
            Capability::RouteRefresh | Capability::ExtendedMessage | Capability::EnhancedRouteRefresh => {}
            Capability::ExtendedNextHop(families) => {
                for tuple in families.iter().take(VALUE_LEN_MAX / 6) {
                    for number in [tuple.afi, tuple.safi, tuple.next_hop_afi] {
                        out.extend_from_slice(&number.to_be_bytes());
                    }
                }
            }
            Capability::GracefulRestart(restart) => {
                let head = u16::from(restart.restarting) << 15
                    | u16::from(restart.notification) << 14
                    | restart.restart_time_s.min(0x0fff);
                out.extend_from_slice(&head.to_be_bytes());
                for family in restart.families.iter().take((VALUE_LEN_MAX - 2) / 4) {
                    let [high, low] = family.afi.to_be_bytes();
                    out.extend_from_slice(&[high, low, family.safi, u8::from(family.forwarding) << 7]);
                }
            }
            Capability::FourOctetAs(asn) => out.extend_from_slice(&asn.to_be_bytes()),
            Capability::AddPath(families) => {
                for family in families.iter().take(VALUE_LEN_MAX / 4) {
                    let [high, low] = family.afi.to_be_bytes();
                    let mode = u8::from(family.receive) | u8::from(family.send) << 1;
                    out.extend_from_slice(&[high, low, family.safi, mode]);
                }
            }
            Capability::Fqdn { host, domain } => {
                put_text(out, host, VALUE_LEN_MAX - 2);
                let room = VALUE_LEN_MAX - 1 - (out.len() - start);
                put_text(out, domain, room);
            }
            Capability::SoftwareVersion(text) => put_text(out, text, VALUE_LEN_MAX - 1),
            Capability::Unknown { value, .. } => {
                out.extend_from_slice(&value[..value.len().min(VALUE_LEN_MAX)]);
            }
        }
        out[start - 1] = (out.len() - start) as u8;
    }
}

/// The longest value of a capability in octets.
const VALUE_LEN_MAX: usize = 255;

/// Appends a length octet and as much of `text` as fits into `room` octets.
fn put_text(out: &mut Vec<u8>, text: &str, room: usize) {
    let text = truncated(text, room);
    out.push(text.len() as u8);
    out.extend_from_slice(text.as_bytes());
}

fn malformed() -> Notification {
    Notification::new(notification::OPEN, notification::open::UNSPECIFIC)
}
