//! OPEN messages: what ours says, whether the peer's is acceptable (RFC 4271 §6.2, RFC 5492, RFC 6286), and
//! what the two agree on.

use crate::config::AsnMatch;
use crate::types::{Family, FamilySet, PeerKind, RouterId};
use crate::wire::AS_TRANS;
use crate::wire::capability::{Capability, ExtendedNextHop, GracefulFamily, GracefulRestart};
use crate::wire::notification::{self, Notification, open as subcode};
use crate::wire::open::Open;

use super::SessionSettings;

/// What the two OPENs agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// The peer's AS number.
    pub peer_asn: u32,
    /// How the peer stands to us.
    pub kind: PeerKind,
    /// The peer's BGP identifier.
    pub router_id: RouterId,
    /// The smaller of both proposals, in seconds; 0: neither keepalives nor a hold timer.
    pub hold_time_s: u16,
    /// The families that both sides want.
    pub families: FamilySet,
    /// Whether AS numbers take four octets in AS_PATH and AGGREGATOR (RFC 6793).
    pub four_octet_as: bool,
    /// Whether the peer answers ROUTE-REFRESH (RFC 2918).
    pub route_refresh: bool,
    /// Whether refreshes are delimited (RFC 7313).
    pub enhanced_route_refresh: bool,
    /// Whether messages may have up to 65,535 bytes, both ways (RFC 8654).
    pub extended_message: bool,
    /// Whether IPv4 routes may have an IPv6 next hop (RFC 8950).
    pub extended_next_hop: bool,
    /// Graceful restart, if both sides do it.
    pub restart: Option<Restart>,
    /// The body of the peer's OPEN.
    peer_open: Box<[u8]>,
}

/// What the peer says of its restarts (RFC 4724 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restart {
    /// How long it asks us to wait for it, in seconds.
    pub restart_time_s: u16,
    /// It has just restarted, and waits for nobody's End-of-RIB before it is heard.
    pub restarting: bool,
    /// Both sides keep routes over NOTIFICATIONs and hold timer expiry as well (RFC 8538).
    pub notification: bool,
    /// The families in use that it can keep forwarding for when it restarts.
    pub families: FamilySet,
    /// Those of them for which it has kept forwarding over its last restart.
    pub forwarding: FamilySet,
}

impl Negotiated {
    /// The peer's OPEN with all its capabilities, for people and programs.
    pub fn peer_open(&self) -> Option<Open> {
        Open::decode(&self.peer_open).ok()
    }

    /// Whether both sides keep routes over NOTIFICATIONs too (RFC 8538 §4).
    pub fn keeps_after_notification(&self) -> bool {
        self.restart.is_some_and(|restart| restart.notification)
    }
}

/// Our OPEN as a message. A `plain` one has no capabilities; `restarting` and `forwarding` are the bits of
/// RFC 4724 §3.
pub(super) fn our_open(
    settings: &SessionSettings,
    plain: bool,
    restarting: bool,
    forwarding: FamilySet,
) -> Vec<u8> {
    let capabilities = if plain { Vec::new() } else { our_capabilities(settings, restarting, forwarding) };
    let open = Open {
        asn: settings.local_asn,
        hold_time_s: settings.hold_time_s,
        router_id: settings.router_id,
        capabilities,
    };
    let mut bytes = Vec::with_capacity(96);
    open.encode(&mut bytes);
    bytes
}

fn our_capabilities(settings: &SessionSettings, restarting: bool, forwarding: FamilySet) -> Vec<Capability> {
    let mut capabilities: Vec<Capability> = settings.families.iter().map(Capability::multiprotocol).collect();
    capabilities.push(Capability::RouteRefresh);
    capabilities.push(Capability::EnhancedRouteRefresh);
    capabilities.push(Capability::FourOctetAs(settings.local_asn));
    if settings.extended_messages {
        capabilities.push(Capability::ExtendedMessage);
    }
    if extends_next_hop(settings) {
        let (ipv4, ipv6) = (Family::Ipv4Unicast, Family::Ipv6Unicast);
        capabilities.push(Capability::ExtendedNextHop(vec![ExtendedNextHop {
            afi: ipv4.afi(),
            safi: ipv4.safi().into(),
            next_hop_afi: ipv6.afi(),
        }]));
    }
    // Without families the capability says that we send End-of-RIB and help others (RFC 4724 §3). FRR answers no
    // ROUTE-REFRESH without it.
    let graceful = settings.graceful_restart;
    let own = if graceful.enabled { settings.families } else { FamilySet::EMPTY };
    let families = own.iter().map(|family| GracefulFamily {
        afi: family.afi(),
        safi: family.safi(),
        forwarding: forwarding.contains(family),
    });
    capabilities.push(Capability::GracefulRestart(GracefulRestart {
        restarting: restarting && graceful.enabled,
        notification: graceful.enabled && graceful.notification,
        restart_time_s: if graceful.enabled { graceful.restart_time_s } else { 0 },
        families: families.collect(),
    }));
    capabilities
}

fn extends_next_hop(settings: &SessionSettings) -> bool {
    settings.extended_next_hop && settings.families.contains(Family::Ipv4Unicast)
}

/// Judges the peer's OPEN. `plain` says that ours had no capabilities.
///
/// # Errors
///
/// The NOTIFICATION that the peer is to be sent.
pub(super) fn accept_open(
    settings: &SessionSettings,
    plain: bool,
    body: &[u8],
) -> Result<Negotiated, Notification> {
    let open = Open::decode(body)?;
    let internal = open.asn == settings.local_asn;
    let four_octet_as = open.four_octet_as().is_some();
    let welcome = match settings.asn {
        AsnMatch::Exactly(asn) => open.asn == asn,
        AsnMatch::Internal => internal,
        AsnMatch::External => !internal,
        AsnMatch::Any => true,
    };
    // RFC 6793 §4.1: AS_TRANS stands for a number that only the capability can tell.
    if !welcome || open.asn == u32::from(AS_TRANS) {
        return Err(Notification::new(notification::OPEN, subcode::BAD_PEER_AS));
    }
    // RFC 6286 §2.1: identifiers are unique within an AS only.
    if internal && open.router_id == settings.router_id {
        return Err(Notification::new(notification::OPEN, subcode::BAD_IDENTIFIER));
    }
    // RFC 4760 §8: who says nothing speaks of IPv4 unicast.
    let ours = if plain { FamilySet::only(Family::Ipv4Unicast) } else { settings.families };
    let families = ours.intersection(open.families());
    if families.is_empty() {
        return Err(no_common_family(settings.families));
    }
    let kind = match (internal, settings.route_reflector_client) {
        (false, _) => PeerKind::External,
        (true, false) => PeerKind::Internal,
        (true, true) => PeerKind::Client,
    };
    Ok(Negotiated {
        peer_asn: open.asn,
        kind,
        router_id: open.router_id,
        hold_time_s: settings.hold_time_s.min(open.hold_time_s),
        families,
        four_octet_as: !plain && four_octet_as,
        route_refresh: !plain && open.route_refresh(),
        enhanced_route_refresh: !plain && open.enhanced_route_refresh(),
        extended_message: !plain && settings.extended_messages && open.extended_message(),
        extended_next_hop: !plain
            && extends_next_hop(settings)
            && families.contains(Family::Ipv4Unicast)
            && open.extended_next_hop(),
        restart: if plain { None } else { accept_restart(settings, families, &open) },
        peer_open: body.into(),
    })
}

fn accept_restart(settings: &SessionSettings, in_use: FamilySet, open: &Open) -> Option<Restart> {
    let theirs = open.graceful_restart()?;
    let listed = |wanted: fn(&GracefulFamily) -> bool| {
        let families = theirs.families.iter().filter(|it| wanted(it));
        let families: FamilySet = families.filter_map(|it| Family::from_afi_safi(it.afi, it.safi)).collect();
        families.intersection(in_use)
    };
    Some(Restart {
        restart_time_s: theirs.restart_time_s,
        restarting: theirs.restarting,
        notification: theirs.notification
            && settings.graceful_restart.enabled
            && settings.graceful_restart.notification,
        families: listed(|_| true),
        forwarding: listed(|family| family.forwarding),
    })
}

/// RFC 5492 §5: the data are the capabilities that we miss, as an OPEN would list them.
fn no_common_family(families: FamilySet) -> Notification {
    let mut data = Vec::new();
    for family in families.iter() {
        let [afi_high, afi_low] = family.afi().to_be_bytes();
        data.extend_from_slice(&[1, 4, afi_high, afi_low, 0, family.safi()]);
    }
    Notification { code: notification::OPEN, subcode: subcode::UNSUPPORTED_CAPABILITY, data }
}
