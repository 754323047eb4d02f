//! ROUTE-REFRESH (RFC 2918) with the markers of RFC 7313 for the beginning and the end of a refresh.

use super::frame::{self, HEADER_LEN, MessageKind};
use super::notification::{self, Notification};
use super::read_u16;
use crate::types::Family;

/// What a ROUTE-REFRESH says (RFC 7313 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefreshKind {
    /// Send your routes again (subtype 0).
    Request,
    /// Beginning of Route Refresh (subtype 1).
    Begin,
    /// End of Route Refresh (subtype 2).
    End,
    /// A subtype without a meaning; RFC 7313 §5 says to ignore the message.
    Unknown(u8),
}

/// A ROUTE-REFRESH message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RouteRefresh {
    /// The address family number.
    pub afi: u16,
    /// The subsequent address family number.
    pub safi: u8,
    /// What it says.
    pub kind: RefreshKind,
}

impl RouteRefresh {
    /// A message about one of our families.
    pub const fn new(family: Family, kind: RefreshKind) -> RouteRefresh {
        RouteRefresh { afi: family.afi(), safi: family.safi(), kind }
    }

    /// The family it is about, if it is one of ours; others are ignored (RFC 2918 §4).
    pub const fn family(&self) -> Option<Family> {
        Family::from_afi_safi(self.afi, self.safi)
    }

    /// Reads the body. `enhanced` tells whether RFC 7313 was negotiated: without it the octet that holds
    /// the subtype is reserved, and every message is a request.
    ///
    /// What follows the four octets of a request is an outbound route filter (RFC 5291), which we never
    /// negotiate: it is ignored.
    ///
    /// # Errors
    ///
    /// Invalid Message Length (RFC 7313 §5) for a marker of another length than four octets, and Bad
    /// Message Length for a body under four octets.
    pub fn decode(body: &[u8], enhanced: bool) -> Result<RouteRefresh, Notification> {
        if body.len() < 4 {
            let len = (HEADER_LEN + body.len()) as u16;
            return Err(Notification::with(
                notification::HEADER,
                notification::header::BAD_LENGTH,
                &len.to_be_bytes(),
            ));
        }
        let kind = match body[2] {
            _ if !enhanced => RefreshKind::Request,
            0 => RefreshKind::Request,
            1 => RefreshKind::Begin,
            2 => RefreshKind::End,
            other => RefreshKind::Unknown(other),
        };
        if matches!(kind, RefreshKind::Begin | RefreshKind::End) && body.len() != 4 {
            // RFC 7313 §5: the data are the complete message.
            let mut data = Vec::with_capacity(HEADER_LEN + body.len());
            let start = frame::begin(&mut data, MessageKind::RouteRefresh);
            data.extend_from_slice(body);
            frame::finish(&mut data, start);
            return Err(Notification {
                code: notification::ROUTE_REFRESH,
                subcode: notification::route_refresh::INVALID_LENGTH,
                data,
            });
        }
        Ok(RouteRefresh { afi: read_u16(body), safi: body[3], kind })
    }

    /// Appends the message, header included.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = frame::begin(out, MessageKind::RouteRefresh);
        let subtype = match self.kind {
            RefreshKind::Request => 0,
            RefreshKind::Begin => 1,
            RefreshKind::End => 2,
            RefreshKind::Unknown(other) => other,
        };
        let [afi_high, afi_low] = self.afi.to_be_bytes();
        out.extend_from_slice(&[afi_high, afi_low, subtype, self.safi]);
        frame::finish(out, start);
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::next_frame;
    use super::*;

    #[test]
    fn survives_the_wire() {
        for family in Family::ALL {
            for kind in [RefreshKind::Request, RefreshKind::Begin, RefreshKind::End, RefreshKind::Unknown(9)]
            {
                let sent = RouteRefresh::new(family, kind);
                let mut out = Vec::new();
                sent.encode(&mut out);
                let frame = next_frame(&out, 4096).unwrap().unwrap();
                assert_eq!(frame.kind, MessageKind::RouteRefresh);
                let got = RouteRefresh::decode(frame.body, true).unwrap();
                assert_eq!((got, got.family()), (sent, Some(family)));
            }
        }
    }

    #[test]
    fn without_rfc_7313_the_subtype_is_a_reserved_octet() {
        let got = RouteRefresh::decode(&[0, 1, 2, 1], false).unwrap();
        assert_eq!(got.kind, RefreshKind::Request);
        assert!(RouteRefresh::decode(&[0, 1, 1, 1, 9], false).is_ok());
    }

    #[test]
    fn a_marker_of_wrong_length_is_an_error_with_the_whole_message() {
        for subtype in [1, 2] {
            let error = RouteRefresh::decode(&[0, 1, subtype, 1, 0xaa], true).unwrap_err();
            assert_eq!((error.code, error.subcode, error.data.len()), (7, 1, HEADER_LEN + 5));
            let frame = next_frame(&error.data, 4096).unwrap().unwrap();
            assert_eq!(frame.body, [0, 1, subtype, 1, 0xaa]);
        }
        assert!(RouteRefresh::decode(&[0, 1, 0, 1, 0xaa], true).is_ok(), "a filter is ignored");
        assert!(RouteRefresh::decode(&[0, 1, 7, 1, 0xaa], true).is_ok(), "unknown subtypes are ignored");
        let short = RouteRefresh::decode(&[0, 1, 0], true).unwrap_err();
        assert_eq!((short.code, short.subcode, &short.data[..]), (1, 2, &[0, 22][..]));
    }

    #[test]
    fn families_that_are_not_ours_are_told_apart() {
        assert_eq!(RouteRefresh::decode(&[0, 25, 0, 70], true).unwrap().family(), None);
    }
}
