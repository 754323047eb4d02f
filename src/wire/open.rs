//! OPEN (RFC 4271 §4.2, errors §6.2) with capabilities (RFC 5492), four-octet AS numbers (RFC 6793),
//! AS 0 refused (RFC 7607) and extended optional parameters (RFC 9072).

use super::capability::{AddPathFamily, Capability, GracefulRestart};
use super::frame::{self, HEADER_LEN, MessageKind};
use super::notification::{self, Notification, open as subcode};
use super::{AS_TRANS, read_u16, read_u32};
use crate::types::{Family, FamilySet, RouterId};

/// The one version of BGP that is spoken.
const VERSION: u8 = 4;
/// Parameter type "Capabilities".
const PARAMETER_CAPABILITIES: u8 = 2;
/// The parameter type that marks the extended form (RFC 9072 §2).
const PARAMETER_EXTENDED: u8 = 255;

/// An OPEN message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Open {
    /// The sender's AS number: that of the four-octet capability if there is one, else the two-octet
    /// field of the message.
    pub asn: u32,
    /// The hold time that the sender proposes, in seconds: 0 or at least 3.
    pub hold_time_s: u16,
    /// The sender's BGP identifier; never 0 in a received message.
    pub router_id: RouterId,
    /// The capabilities in the order in which they came.
    pub capabilities: Vec<Capability>,
}

impl Open {
    /// Reads the body of an OPEN. Whether the AS number is the one that was configured, and whether the
    /// identifier collides with our own, is for the session to say.
    ///
    /// # Errors
    ///
    /// The NOTIFICATION of RFC 4271 §6.2.
    pub fn decode(body: &[u8]) -> Result<Open, Notification> {
        let Some((fixed, parameters)) = body.split_first_chunk::<10>() else {
            let len = (HEADER_LEN + body.len()) as u16;
            return Err(Notification::with(
                notification::HEADER,
                notification::header::BAD_LENGTH,
                &len.to_be_bytes(),
            ));
        };
        if fixed[0] != VERSION {
            // The data are the largest version that we speak.
            return Err(Notification::with(notification::OPEN, subcode::UNSUPPORTED_VERSION, &[0, VERSION]));
        }
        let mut open = Open {
            asn: u32::from(read_u16(&fixed[1..])),
            hold_time_s: read_u16(&fixed[3..]),
            router_id: RouterId(read_u32(&fixed[5..])),
            capabilities: Vec::new(),
        };
        decode_parameters(fixed[9], parameters, &mut open.capabilities)?;
        if let Some(asn) = open.four_octet_as() {
            open.asn = asn;
        }
        if open.asn == 0 {
            // RFC 7607 §2.
            return Err(Notification::new(notification::OPEN, subcode::BAD_PEER_AS));
        }
        if matches!(open.hold_time_s, 1 | 2) {
            return Err(Notification::new(notification::OPEN, subcode::UNACCEPTABLE_HOLD_TIME));
        }
        if open.router_id == RouterId(0) {
            // RFC 6286 §2.2.
            return Err(Notification::new(notification::OPEN, subcode::BAD_IDENTIFIER));
        }
        Ok(open)
    }

    /// Appends the message, header included: all capabilities in one parameter, in the extended form of
    /// RFC 9072 only when they do not fit into the old one. The caller's capabilities must fit into 4,096
    /// octets, which a handful always does.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = frame::begin(out, MessageKind::Open);
        out.push(VERSION);
        out.extend_from_slice(&u16::try_from(self.asn).unwrap_or(AS_TRANS).to_be_bytes());
        out.extend_from_slice(&self.hold_time_s.to_be_bytes());
        out.extend_from_slice(&self.router_id.0.to_be_bytes());
        let mut capabilities = Vec::with_capacity(64);
        self.capabilities.iter().for_each(|capability| capability.encode(&mut capabilities));
        match capabilities.len() {
            0 => out.push(0),
            len @ 1..=253 => {
                out.extend_from_slice(&[len as u8 + 2, PARAMETER_CAPABILITIES, len as u8]);
            }
            len => {
                out.extend_from_slice(&[255, PARAMETER_EXTENDED]);
                out.extend_from_slice(&(len as u16 + 3).to_be_bytes());
                out.push(PARAMETER_CAPABILITIES);
                out.extend_from_slice(&(len as u16).to_be_bytes());
            }
        }
        out.extend_from_slice(&capabilities);
        frame::finish(out, start);
    }

    /// The AS number of the four-octet capability: the sender understands four octets (RFC 6793 §4.1).
    pub fn four_octet_as(&self) -> Option<u32> {
        self.find(|capability| match capability {
            Capability::FourOctetAs(asn) => Some(*asn),
            _ => None,
        })
    }

    /// The families that the sender routes, of those that we do. A sender that does not mention any
    /// routes IPv4 unicast, as before there were capabilities (RFC 4760 §8).
    pub fn families(&self) -> FamilySet {
        let mut mentioned = false;
        let mut families = FamilySet::EMPTY;
        for capability in &self.capabilities {
            if let Capability::Multiprotocol { afi, safi } = capability {
                mentioned = true;
                if let Some(family) = Family::from_afi_safi(*afi, *safi) {
                    families.insert(family);
                }
            }
        }
        if mentioned { families } else { FamilySet::only(Family::Ipv4Unicast) }
    }

    /// Whether the sender takes ROUTE-REFRESH (RFC 2918).
    pub fn route_refresh(&self) -> bool {
        self.capabilities.contains(&Capability::RouteRefresh)
    }

    /// Whether the sender marks beginning and end of a refresh (RFC 7313).
    pub fn enhanced_route_refresh(&self) -> bool {
        self.capabilities.contains(&Capability::EnhancedRouteRefresh)
    }

    /// Whether the sender receives messages of up to 65,535 octets (RFC 8654).
    pub fn extended_message(&self) -> bool {
        self.capabilities.contains(&Capability::ExtendedMessage)
    }

    /// Graceful Restart (RFC 4724); the last one if there are several, as its §3 says.
    pub fn graceful_restart(&self) -> Option<&GracefulRestart> {
        self.capabilities.iter().rev().find_map(|capability| match capability {
            Capability::GracefulRestart(restart) => Some(restart),
            _ => None,
        })
    }

    /// Whether the sender understands IPv6 next hops for IPv4 unicast (RFC 8950).
    pub fn extended_next_hop(&self) -> bool {
        self.capabilities.iter().any(|capability| match capability {
            Capability::ExtendedNextHop(families) => {
                families.iter().any(|family| (family.afi, family.safi, family.next_hop_afi) == (1, 1, 2))
            }
            _ => false,
        })
    }

    /// What the sender says about ADD-PATH for `family` (RFC 7911 §4).
    pub fn add_path(&self, family: Family) -> Option<AddPathFamily> {
        self.find(|capability| match capability {
            Capability::AddPath(families) => families
                .iter()
                .find(|entry| (entry.afi, entry.safi) == (family.afi(), family.safi()))
                .copied(),
            _ => None,
        })
    }

    fn find<T>(&self, what: impl Fn(&Capability) -> Option<T>) -> Option<T> {
        self.capabilities.iter().find_map(what)
    }
}

/// Reads the optional parameters. `len` is the length octet before them.
fn decode_parameters(len: u8, bytes: &[u8], out: &mut Vec<Capability>) -> Result<(), Notification> {
    let malformed = || Notification::new(notification::OPEN, subcode::UNSPECIFIC);
    // RFC 9072 §2: the extended form is told by the first parameter's type; the length octet before it
    // should be 255 but is not to be relied on, except that 0 still means that there are none.
    let extended = len != 0 && bytes.first() == Some(&PARAMETER_EXTENDED);
    let (mut rest, declared) = if extended {
        let (_, after) = bytes.split_first_chunk::<3>().ok_or_else(malformed)?;
        (after, usize::from(read_u16(&bytes[1..])))
    } else {
        (bytes, usize::from(len))
    };
    if rest.len() != declared {
        return Err(malformed());
    }
    while let Some((&kind, after)) = rest.split_first() {
        let (len, after) = if extended {
            let (len, after) = after.split_first_chunk::<2>().ok_or_else(malformed)?;
            (usize::from(u16::from_be_bytes(*len)), after)
        } else {
            let (len, after) = after.split_first().ok_or_else(malformed)?;
            (usize::from(*len), after)
        };
        let (value, after) = after.split_at_checked(len).ok_or_else(malformed)?;
        if kind != PARAMETER_CAPABILITIES {
            return Err(Notification::new(notification::OPEN, subcode::UNSUPPORTED_PARAMETER));
        }
        Capability::decode_all(value, out)?;
        rest = after;
    }
    Ok(())
}
