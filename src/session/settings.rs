//! What a session needs to know of the configuration.

use crate::config::{AsnMatch, GracefulRestart, PeerSettings, SpeakerConfig};
use crate::types::{FamilySet, RouterId};

/// The part of the configuration that decides how a session behaves and what its OPEN says. Sessions with
/// equal settings may share one value.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionSettings {
    /// The AS number that we show this peer.
    pub local_asn: u32,
    /// Our BGP identifier.
    pub router_id: RouterId,
    /// Whose AS number the peer may have, seen from `local_asn`.
    pub asn: AsnMatch,
    /// Never dial.
    pub passive: bool,
    /// The hold time that we propose, in seconds; 0 or at least 3.
    pub hold_time_s: u16,
    /// The longest pause between attempts to connect, in seconds.
    pub connect_retry_s: u16,
    /// The families that we propose.
    pub families: FamilySet,
    /// Whether an internal peer is a client of ours (RFC 4456).
    pub route_reflector_client: bool,
    /// Graceful restart.
    pub graceful_restart: GracefulRestart,
    /// Propose messages of up to 65,535 bytes (RFC 8654).
    pub extended_messages: bool,
    /// Propose IPv4 routes with IPv6 next hops (RFC 8950).
    pub extended_next_hop: bool,
}

impl SessionSettings {
    /// Takes what a session needs from the configuration.
    pub fn new(speaker: &SpeakerConfig, peer: &PeerSettings) -> SessionSettings {
        SessionSettings {
            local_asn: peer.local_asn.unwrap_or(speaker.asn),
            router_id: speaker.router_id,
            asn: peer.asn,
            passive: peer.passive,
            hold_time_s: peer.hold_time_s,
            connect_retry_s: peer.connect_retry_s,
            families: peer.families,
            route_reflector_client: peer.route_reflector_client,
            graceful_restart: peer.graceful_restart,
            extended_messages: peer.extended_messages,
            extended_next_hop: peer.extended_next_hop,
        }
    }

    /// Whether a session that runs with `self` has to be reset to run with `other`: who the two are to each
    /// other, or what they exchange, has changed.
    pub(super) fn needs_reset(&self, other: &SessionSettings) -> bool {
        let told = |settings: &SessionSettings| SessionSettings {
            hold_time_s: 0,
            extended_messages: false,
            graceful_restart: other.graceful_restart,
            ..settings.for_open()
        };
        told(self) != told(other)
    }

    /// Whether an OPEN by `other` says something else than one by `self`.
    pub(super) fn opens_differently(&self, other: &SessionSettings) -> bool {
        self.for_open() != other.for_open()
    }

    /// What stands in our OPEN, or the peer's is judged by.
    fn for_open(&self) -> SessionSettings {
        SessionSettings {
            passive: false,
            connect_retry_s: 0,
            graceful_restart: GracefulRestart { stale_time_s: 0, ..self.graceful_restart },
            ..self.clone()
        }
    }
}
