//! Paths in GoBGP's words.
//!
//! Towards the caller a path carries its NLRI and attributes as raw wire bytes (`nlri_binary`,
//! `pattrs_binary`): every GoBGP client prefers those to the messages that it would have to be given
//! otherwise. From the caller, paths to originate come as `google.protobuf.Any` messages, as `gobgp global
//! rib add` sends them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime};

use prost::Message;
use prost_types::Any;

use crate::control::attributes::{self, Builder, code, flag};
use crate::control::message::{PathRow, RouteRow};
use crate::control::proto::apipb;
use crate::types::{Family, NextHop, Prefix};

/// A family in GoBGP's words.
pub(super) fn family(family: Family) -> apipb::Family {
    apipb::Family { afi: family.afi().into(), safi: family.safi().into() }
}

/// The family that a caller means; IPv4 unicast where it says nothing.
pub(super) fn parse_family(family: Option<apipb::Family>) -> Result<Family, String> {
    let Some(family) = family else { return Ok(Family::Ipv4Unicast) };
    u16::try_from(family.afi)
        .ok()
        .zip(u8::try_from(family.safi).ok())
        .and_then(|(afi, safi)| Family::from_afi_safi(afi, safi))
        .ok_or_else(|| {
            format!("AFI {} SAFI {} is not routed here: ipv4 and ipv6 are", family.afi, family.safi)
        })
}

/// A destination with its paths.
pub(super) fn destination(row: RouteRow, now: SystemTime) -> apipb::Destination {
    let prefix = row.prefix;
    apipb::Destination {
        prefix: prefix.to_string(),
        paths: row.paths.into_iter().map(|row| path(prefix, row, now)).collect(),
    }
}

/// One path of a prefix.
pub(super) fn path(prefix: Prefix, row: PathRow, now: SystemTime) -> apipb::Path {
    let learned = now - Duration::from_millis(row.age_ms.unwrap_or(0));
    apipb::Path {
        // A client shows the time since the epoch when there is nothing here.
        age: Some(learned.into()),
        best: row.best,
        stale: row.stale,
        is_nexthop_invalid: !row.next_hop_reachable,
        source_asn: row.source.map_or(0, |source| source.asn),
        source_id: row.source.map(|source| source.router_id.to_string()).unwrap_or_default(),
        // GoBGP's clients take this word for "originated here".
        neighbor_ip: row.source.map_or("<nil>".into(), |source| source.address.to_string()),
        is_from_external: row.source.is_some_and(|source| source.external),
        pattrs_binary: attributes::on_the_wire(&row.attrs, &row.next_hop, prefix),
        ..bare(prefix)
    }
}

/// A path that has gone.
pub(super) fn withdrawn(prefix: Prefix, now: SystemTime) -> apipb::Path {
    apipb::Path { age: Some(now.into()), is_withdraw: true, ..bare(prefix) }
}

fn bare(prefix: Prefix) -> apipb::Path {
    apipb::Path {
        family: Some(family(prefix.family())),
        nlri_binary: attributes::nlri(prefix),
        ..Default::default()
    }
}

/// A path that a caller wants originated, or no more.
#[derive(Debug, PartialEq)]
pub(super) struct ParsedPath {
    pub(super) prefix: Prefix,
    /// Unspecified: ourselves.
    pub(super) next_hop: NextHop,
    pub(super) attrs: Vec<u8>,
}

/// Reads a path. Errors are words for the caller.
pub(super) fn parse(path: &apipb::Path) -> Result<ParsedPath, String> {
    let family = parse_family(path.family)?;
    let mut attrs = Builder::default();
    let mut next_hop = None;
    let mut nlri = path.nlri.clone();
    for any in &path.pattrs {
        attribute(any, &mut attrs, &mut next_hop, &mut nlri)?;
    }
    let nlri = nlri.ok_or("the path has no NLRI: set nlri to an apipb.IPAddressPrefix")?;
    let prefix = parse_nlri(&nlri)?;
    if prefix.family() != family {
        return Err(format!("{prefix} is not of the family {family}"));
    }
    let unspecified = match prefix {
        Prefix::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Prefix::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let next_hop = next_hop.unwrap_or(NextHop::new(unspecified));
    if next_hop.addr.is_ipv4() && family == Family::Ipv6Unicast {
        return Err(format!("{next_hop} cannot be the next hop of {prefix}: an IPv6 address can"));
    }
    Ok(ParsedPath { prefix, next_hop, attrs: attrs.finish() })
}

/// The name of the message in an `Any`, and the message.
fn open(any: &Any) -> &str {
    any.type_url.rsplit('/').next().unwrap_or_default()
}

fn message<M: Message + Default>(any: &Any) -> Result<M, String> {
    M::decode(&any.value[..]).map_err(|error| format!("{}: {error}", open(any)))
}

fn parse_nlri(any: &Any) -> Result<Prefix, String> {
    if open(any) != "apipb.IPAddressPrefix" {
        return Err(format!(
            "an NLRI of type {} is not known here: send an apipb.IPAddressPrefix",
            open(any)
        ));
    }
    let nlri: apipb::IpAddressPrefix = message(any)?;
    let addr: IpAddr = parse_addr(&nlri.prefix)?;
    u8::try_from(nlri.prefix_len)
        .ok()
        .and_then(|len| Prefix::of(addr, len))
        .ok_or_else(|| format!("{}/{} is not a prefix", nlri.prefix, nlri.prefix_len))
}

fn parse_addr<A: std::str::FromStr>(text: &str) -> Result<A, String> {
    text.parse().map_err(|_| format!("{text:?} is not an address of the right kind"))
}

fn attribute(
    any: &Any,
    attrs: &mut Builder,
    next_hop: &mut Option<NextHop>,
    nlri: &mut Option<Any>,
) -> Result<(), String> {
    let word = |value: u32| value.to_be_bytes().to_vec();
    match open(any) {
        "apipb.OriginAttribute" => {
            let origin = message::<apipb::OriginAttribute>(any)?.origin;
            let value = u8::try_from(origin)
                .ok()
                .filter(|value| *value <= 2)
                .ok_or_else(|| format!("origin {origin} does not exist: 0 is IGP, 1 EGP, 2 incomplete"))?;
            attrs.set(flag::WELL_KNOWN, code::ORIGIN, &[value])
        }
        "apipb.AsPathAttribute" => attrs.set(flag::WELL_KNOWN, code::AS_PATH, &as_path(&message(any)?)?),
        "apipb.NextHopAttribute" => {
            let addr = parse_addr(&message::<apipb::NextHopAttribute>(any)?.next_hop)?;
            *next_hop = Some(NextHop::new(addr));
            Ok(())
        }
        "apipb.MultiExitDiscAttribute" => {
            let med = message::<apipb::MultiExitDiscAttribute>(any)?.med;
            attrs.set(flag::NON_TRANSITIVE, code::MULTI_EXIT_DISC, &word(med))
        }
        "apipb.LocalPrefAttribute" => {
            let local_pref = message::<apipb::LocalPrefAttribute>(any)?.local_pref;
            attrs.set(flag::WELL_KNOWN, code::LOCAL_PREF, &word(local_pref))
        }
        "apipb.AtomicAggregateAttribute" => attrs.set(flag::WELL_KNOWN, code::ATOMIC_AGGREGATE, &[]),
        "apipb.AggregatorAttribute" => {
            let aggregator: apipb::AggregatorAttribute = message(any)?;
            let mut value = word(aggregator.asn);
            value.extend(parse_addr::<Ipv4Addr>(&aggregator.address)?.octets());
            attrs.set(flag::OPTIONAL_TRANSITIVE, code::AGGREGATOR, &value)
        }
        "apipb.CommunitiesAttribute" => {
            let communities = message::<apipb::CommunitiesAttribute>(any)?.communities;
            let value: Vec<u8> = communities.into_iter().flat_map(u32::to_be_bytes).collect();
            attrs.set(flag::OPTIONAL_TRANSITIVE, code::COMMUNITIES, &value)
        }
        "apipb.OriginatorIdAttribute" => {
            let id = parse_addr::<Ipv4Addr>(&message::<apipb::OriginatorIdAttribute>(any)?.id)?;
            attrs.set(flag::NON_TRANSITIVE, code::ORIGINATOR_ID, &id.octets())
        }
        "apipb.ClusterListAttribute" => {
            let mut value = Vec::new();
            for id in message::<apipb::ClusterListAttribute>(any)?.ids {
                value.extend(parse_addr::<Ipv4Addr>(&id)?.octets());
            }
            attrs.set(flag::NON_TRANSITIVE, code::CLUSTER_LIST, &value)
        }
        "apipb.LargeCommunitiesAttribute" => {
            let value: Vec<u8> = message::<apipb::LargeCommunitiesAttribute>(any)?
                .communities
                .into_iter()
                .flat_map(|of| [of.global_admin, of.local_data1, of.local_data2])
                .flat_map(u32::to_be_bytes)
                .collect();
            attrs.set(flag::OPTIONAL_TRANSITIVE, code::LARGE_COMMUNITIES, &value)
        }
        "apipb.MpReachNLRIAttribute" => {
            let reach: apipb::MpReachNlriAttribute = message(any)?;
            let addr = reach.next_hops.first().ok_or("MP_REACH_NLRI has no next hop")?;
            let link_local = reach.next_hops.get(1).map(|addr| parse_addr(addr)).transpose()?;
            *next_hop = Some(NextHop { addr: parse_addr(addr)?, link_local });
            match &reach.nlris[..] {
                [] => {}
                [only] => {
                    nlri.get_or_insert_with(|| only.clone());
                }
                _ => return Err("MP_REACH_NLRI has several prefixes: send a path each".into()),
            }
            Ok(())
        }
        "apipb.UnknownAttribute" => {
            let unknown: apipb::UnknownAttribute = message(any)?;
            let bytes = u8::try_from(unknown.flags).ok().zip(u8::try_from(unknown.r#type).ok());
            let (flags, code) = bytes.ok_or("flags and type of a path attribute are one byte each")?;
            if attributes::has_a_word(code) {
                return Err(format!("path attribute {code} is known: send the message that is made for it"));
            }
            attrs.set(flags, code, &unknown.value)
        }
        other => Err(format!("a path attribute of type {other} cannot be originated here")),
    }
}

fn as_path(path: &apipb::AsPathAttribute) -> Result<Vec<u8>, String> {
    let mut value = Vec::new();
    for segment in &path.segments {
        let kind = u8::try_from(segment.r#type).ok().filter(|kind| (1..=2).contains(kind));
        let kind = kind.ok_or("a segment of an AS path to originate is a sequence or a set")?;
        let count =
            u8::try_from(segment.numbers.len()).map_err(|_| "an AS path segment holds 255 at most")?;
        if segment.numbers.contains(&0) {
            return Err("AS 0 must not stand in an AS path (RFC 7607)".into());
        }
        value.extend([kind, count]);
        value.extend(segment.numbers.iter().flat_map(|asn| asn.to_be_bytes()));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any<M: Message>(name: &str, message: M) -> Any {
        Any { type_url: format!("type.googleapis.com/apipb.{name}"), value: message.encode_to_vec() }
    }

    fn prefix(text: &str) -> Any {
        let prefix: Prefix = text.parse().unwrap();
        let message =
            apipb::IpAddressPrefix { prefix_len: prefix.len().into(), prefix: prefix.addr().to_string() };
        any("IPAddressPrefix", message)
    }

    #[test]
    fn an_ipv4_path_as_gobgp_sends_it() {
        let path = apipb::Path {
            nlri: Some(prefix("10.0.0.0/24")),
            pattrs: vec![
                any("OriginAttribute", apipb::OriginAttribute { origin: 0 }),
                any(
                    "AsPathAttribute",
                    apipb::AsPathAttribute {
                        segments: vec![apipb::AsSegment { r#type: 2, numbers: vec![65001, 65002] }],
                    },
                ),
                any("NextHopAttribute", apipb::NextHopAttribute { next_hop: "192.0.2.1".into() }),
                any(
                    "CommunitiesAttribute",
                    apipb::CommunitiesAttribute { communities: vec![65000 << 16 | 1] },
                ),
            ],
            ..Default::default()
        };
        let parsed = parse(&path).unwrap();
        assert_eq!(parsed.prefix, "10.0.0.0/24".parse().unwrap());
        assert_eq!(parsed.next_hop.addr, IpAddr::from([192, 0, 2, 1]));
        let decoded = attributes::decode(&parsed.attrs, &parsed.next_hop);
        assert_eq!(decoded.origin, Some(0));
        assert_eq!(decoded.as_path[0].asns, [65001, 65002]);
        assert_eq!(decoded.communities, [65000 << 16 | 1]);
    }

    #[test]
    fn an_ipv6_path_has_its_next_hop_in_mp_reach() {
        let reach = apipb::MpReachNlriAttribute {
            family: Some(family(Family::Ipv6Unicast)),
            next_hops: vec!["2001:db8::1".into()],
            nlris: vec![prefix("2001:db8:1::/48")],
        };
        let path = apipb::Path {
            family: Some(family(Family::Ipv6Unicast)),
            pattrs: vec![any("MpReachNLRIAttribute", reach)],
            ..Default::default()
        };
        let parsed = parse(&path).unwrap();
        assert_eq!(parsed.prefix, "2001:db8:1::/48".parse().unwrap());
        assert_eq!(parsed.next_hop.addr.to_string(), "2001:db8::1");
        assert_eq!(parsed.attrs, [0x40, 1, 1, 2, 0x40, 2, 0]);
    }

    #[test]
    fn what_cannot_be_originated_is_refused_with_words() {
        let refused = |path: apipb::Path| parse(&path).unwrap_err();
        assert!(refused(apipb::Path::default()).contains("no NLRI"));
        let with = |attribute| apipb::Path {
            nlri: Some(prefix("10.0.0.0/24")),
            pattrs: vec![attribute],
            ..Default::default()
        };
        assert!(
            refused(with(any("OriginAttribute", apipb::OriginAttribute { origin: 9 }))).contains("origin 9")
        );
        let zero =
            apipb::AsPathAttribute { segments: vec![apipb::AsSegment { r#type: 2, numbers: vec![0] }] };
        assert!(refused(with(any("AsPathAttribute", zero))).contains("7607"));
        assert!(refused(with(any("PmsiTunnelAttribute", ()))).contains("PmsiTunnel"));
        let mut wrong = with(any("OriginAttribute", apipb::OriginAttribute { origin: 0 }));
        wrong.family = Some(family(Family::Ipv6Unicast));
        assert!(refused(wrong).contains("not of the family"));
    }

    #[test]
    fn a_path_is_shown_as_raw_bytes() {
        let row = PathRow {
            source: None,
            best: true,
            multipath: true,
            stale: false,
            next_hop_reachable: true,
            age_ms: None,
            next_hop: NextHop::new([192, 0, 2, 1].into()),
            attrs: Builder::default().finish(),
        };
        let shown = path("10.1.2.0/23".parse().unwrap(), row, SystemTime::now());
        assert_eq!(shown.nlri_binary, [23, 10, 1, 2]);
        assert_eq!(shown.pattrs_binary.len(), 3);
        assert_eq!(shown.family, Some(family(Family::Ipv4Unicast)));
    }
}
