//! Where peers have their addresses and where they find the speaker.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Group, Side};
use crate::compare::bench;

/// BGP's own port.
const PORT: u16 = 179;

/// One range of addresses, and the speaker's address as it is seen from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first peer's address; the others follow.
    pub first: IpAddr,
    /// Where the speaker is dialled.
    pub speaker: SocketAddr,
    /// The speaker's address on that link: the next hop that it gives to external peers.
    pub next_hop: IpAddr,
    /// The speaker's address of the other family on the same link, if it has one: the next hop that it gives to routes
    /// of that family.
    pub other_family: Option<IpAddr>,
}

/// Where everything is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// By [`Side`] and family of the session, IPv4 first; nothing where that family is not to be had.
    ranges: [[Option<Range>; 2]; 3],
    /// How many addresses each side has.
    limits: [usize; 3],
    /// Whether senders and receivers may share a link, so that a speaker may leave next hops as they are (RFC 4271
    /// §5.1.3).
    pub shared_link: bool,
}

impl Place {
    /// The two namespaces of a comparison (see [`crate::compare::bench`]).
    pub fn bench() -> Place {
        let range = |first: IpAddr, speaker: [IpAddr; 2]| {
            let own = speaker[usize::from(first.is_ipv6())];
            let other = speaker[usize::from(first.is_ipv4())];
            Some(Range {
                first,
                speaker: SocketAddr::new(own, PORT),
                next_hop: own,
                other_family: Some(other),
            })
        };
        let sources = [bench::SPEAKER.into(), bench::SPEAKER6.into()];
        let receivers = [bench::SPEAKER_TO_RECEIVERS.into(), bench::SPEAKER6_TO_RECEIVERS.into()];
        Place {
            ranges: [
                [range(bench::source(0).into(), sources), range(bench::source6(0).into(), sources)],
                [range(bench::receiver(0).into(), receivers), range(bench::receiver6(0).into(), receivers)],
                [range(bench::client(0).into(), sources), range(bench::client6(0).into(), sources)],
            ],
            limits: [250, 250, 65_000],
            shared_link: false,
        }
    }

    /// A speaker that is reached at one address. Peers of every side have addresses from `from` on, or from the loopback
    /// network if the speaker is there.
    ///
    /// # Errors
    /// When there is no range to take addresses from.
    pub fn target(target: SocketAddr, from: Option<IpAddr>) -> Result<Place, String> {
        let firsts = match (from, target.ip()) {
            (Some(from), _) => [0u32, 0x400, 0x1000].map(|offset| above(from, offset as usize)),
            (None, IpAddr::V4(ip)) if ip.is_loopback() => {
                [1, 2, 20].map(|second| IpAddr::V4(Ipv4Addr::new(127, second, 0, 1)))
            }
            (None, _) => {
                return Err(format!(
                    "the peers need addresses from which {} can be reached, one each: give the first with --from \
                     (`ip route add local NETWORK dev lo` makes a whole network this machine's own)",
                    target.ip()
                ));
            }
        };
        let family = usize::from(target.is_ipv6());
        let mut ranges = [[None; 2]; 3];
        for (side, first) in ranges.iter_mut().zip(firsts) {
            side[family] = Some(Range { first, speaker: target, next_hop: target.ip(), other_family: None });
        }
        let limits = if from.is_some() { [0x400, 0xC00, 65_000] } else { [65_000; 3] };
        Ok(Place { ranges, limits, shared_link: true })
    }

    /// The same peers, with another speaker in the place of the real one.
    pub fn with_speaker(&self, speaker: SocketAddr) -> Place {
        let mut place = self.clone();
        for range in place.ranges.iter_mut().flatten().flatten() {
            range.speaker = speaker;
        }
        place
    }

    /// Whether the sessions of a scenario run over IPv6.
    pub fn uses_ipv6(&self, scenario: &super::Scenario) -> bool {
        scenario.groups.iter().any(|group| self.range(group).is_ok_and(|range| range.first.is_ipv6()))
    }

    /// How many addresses a group's range has.
    pub fn limit(&self, group: &Group) -> usize {
        match (group.address, group.side) {
            (Some(_), _) => usize::MAX,
            (None, Side::Sources) => self.limits[0],
            (None, Side::Receivers) => self.limits[1],
            (None, Side::Clients) => self.limits[2],
        }
    }

    /// The range of each group, and how many of its addresses the groups before have taken.
    ///
    /// # Errors
    /// As [`Place::range`].
    pub fn shared_out(&self, groups: &[Group]) -> Result<Vec<(Range, usize)>, String> {
        let mut taken: HashMap<(Side, bool), usize> = HashMap::new();
        let of_group = |group: &Group| {
            let range = self.range(group)?;
            if group.address.is_some() {
                return Ok((range, 0));
            }
            let taken = taken.entry((group.side, range.first.is_ipv6())).or_default();
            Ok((range, std::mem::replace(taken, *taken + group.count)))
        };
        groups.iter().map(of_group).collect()
    }

    /// The range of a group.
    ///
    /// # Errors
    /// When the group's sessions are to run over a family that is not to be had.
    pub fn range(&self, group: &Group) -> Result<Range, String> {
        let family = usize::from(group.over_ipv6 || group.address.is_some_and(|address| address.is_ipv6()));
        let side = &self.ranges[match group.side {
            Side::Sources => 0,
            Side::Receivers => 1,
            Side::Clients => 2,
        }];
        let mut range = side[family].ok_or_else(|| {
            format!(
                "the sessions of {:?} run over {}, and the speaker is not reached over it",
                group.name,
                ["IPv4", "IPv6"][family]
            )
        })?;
        if let Some(first) = group.address {
            range.first = first;
        }
        Ok(range)
    }
}

/// The address this far above another one.
pub fn above(first: IpAddr, offset: usize) -> IpAddr {
    match first {
        IpAddr::V4(first) => IpAddr::V4(Ipv4Addr::from(u32::from(first).wrapping_add(offset as u32))),
        IpAddr::V6(first) => IpAddr::V6(Ipv6Addr::from(u128::from(first).wrapping_add(offset as u128))),
    }
}
