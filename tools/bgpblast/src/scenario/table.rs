//! What a peer sends: the routes of its source as they are when they come from this peer, and their encoding.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use kulan::types::{Family, NextHop, Prefix, Prefix4, Prefix6};
use kulan::wire::attrs::code;
use kulan::wire::encode::{encode_announce, encode_end_of_rib, encode_withdraw};
use kulan::wire::nlri::{EncodeNlri, PathPrefix};
use kulan::wire::{AttributeEditor, AttributeSection, EncodeContext};

use super::SentNextHop;
use crate::attributes::SetId;
use crate::engine::{Encoding, Engine, Payload};
use crate::source::{AttributeSet, Routes};

/// The community of RFC 1997 that tells a variant of a route from the others: 64500 is an AS number for documentation
/// (RFC 5398).
const VARIANT_ASN: u32 = 64500;

/// 2001:db8:ffff:ffff::1.
const DOCUMENTATION: u128 = 0x2001_0db8_ffff_ffff_0000_0000_0000_0001;

/// One route of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentRoute {
    /// The prefix's number.
    pub number: u32,
    /// The path identifier, where the session has them.
    pub path_id: u32,
    /// The attributes as this peer sends them.
    pub set: SetId,
}

/// What a peer sends.
#[derive(Debug, Default)]
pub struct Table {
    /// The routes.
    pub routes: Vec<SentRoute>,
    /// The messages as they were recorded, if they can be sent as they are.
    recorded: Option<Arc<Vec<u8>>>,
}

/// Who sends a table.
#[derive(Clone, Copy, Debug)]
pub struct Sender {
    /// Its address.
    pub address: IpAddr,
    /// Its AS number.
    pub asn: u32,
    /// Whether the speaker is in the same AS.
    pub internal: bool,
    /// The next hop that it gives.
    pub next_hop: SentNextHop,
    /// Of how many peers with the same routes it is which one, where the best is to be spread among them.
    pub spread: Option<(usize, usize)>,
    /// Its place in its group.
    pub place: usize,
}

impl Table {
    /// The routes of a source as this peer sends them.
    ///
    /// # Errors
    /// When a route has no next hop that its family can be announced with.
    pub fn new(engine: &mut Engine, routes: &Routes, sender: &Sender) -> Result<Table, String> {
        let as_recorded =
            routes.recorded.is_some() && sender.internal && sender.next_hop == SentNextHop::Keep;
        // A set may stand for routes of both families, with a next hop for each.
        let mut ids: HashMap<(u32, Family), SetId> = HashMap::new();
        let mut sent = Vec::with_capacity(routes.routes.len());
        for route in &routes.routes {
            let family = route.prefix.family();
            let id = match ids.get(&(route.set, family)) {
                Some(id) => *id,
                None => {
                    let set = &routes.sets[route.set as usize];
                    let id = match (as_recorded, set.next_hop) {
                        (true, Some(next_hop)) => engine.store_mut().intern(&set.block, next_hop),
                        _ => sender.dress_numbered(engine, set, route.set as usize, family)?,
                    };
                    ids.insert((route.set, family), id);
                    id
                }
            };
            let number = engine.index_mut().number(route.prefix);
            sent.push(SentRoute { number, path_id: route.path_id, set: id });
        }
        let recorded =
            routes.recorded.as_ref().filter(|_| as_recorded).map(|octets| Arc::new(octets.clone()));
        Ok(Table { routes: sent, recorded })
    }

    /// Whether it is sent as it was recorded.
    pub fn is_recorded(&self) -> bool {
        self.recorded.is_some()
    }

    /// The UPDATEs that announce it, with an End-of-RIB for each family at the end.
    pub fn announcement(&self, engine: &Engine, encoding: &Encoding, families: &[Family]) -> Payload {
        let mut octets = match &self.recorded {
            Some(recorded) if encoding.context.four_octet_as && encoding.add_path.is_empty() => {
                recorded.as_ref().clone()
            }
            _ => {
                let mut octets = Vec::new();
                encode(engine, &self.routes, encoding, &mut octets);
                octets
            }
        };
        families.iter().for_each(|family| encode_end_of_rib(*family, &mut octets));
        Payload::new(Arc::new(octets))
    }

    /// The UPDATEs that withdraw it.
    pub fn withdrawal(&self, engine: &Engine, encoding: &Encoding) -> Payload {
        let mut octets = Vec::new();
        withdraw(engine, &self.routes, encoding, &mut octets);
        Payload::new(Arc::new(octets))
    }

    /// The same routes with another variant of their attributes; the variant 0 is the table itself.
    pub fn variant(&self, engine: &mut Engine, variant: u16) -> Table {
        let mut ids: HashMap<SetId, SetId> = HashMap::new();
        let routes = self.routes.iter().map(|route| {
            let set = *ids.entry(route.set).or_insert_with(|| variant_of(engine, route.set, variant));
            SentRoute { set, ..*route }
        });
        Table { routes: routes.collect(), recorded: self.recorded.clone().filter(|_| variant == 0) }
    }
}

/// A set with the community of a variant, in place of that of another one.
pub fn variant_of(engine: &mut Engine, set: SetId, variant: u16) -> SetId {
    let store = engine.store_mut();
    let next_hop = store.next_hop(set);
    store.derive(set, next_hop, |editor| {
        editor.remove_communities(|community| community >> 16 == VARIANT_ASN);
        if variant > 0 {
            editor.add_communities(&[VARIANT_ASN << 16 | u32::from(variant)]);
        }
    })
}

impl Sender {
    /// A source's set as this peer sends it.
    ///
    /// # Errors
    /// When its next hop does not suit the family.
    pub fn dress(&self, engine: &mut Engine, set: &AttributeSet, family: Family) -> Result<SetId, String> {
        self.dress_numbered(engine, set, self.spread.map_or(0, |(own, _)| own), family)
    }

    fn dress_numbered(
        &self,
        engine: &mut Engine,
        set: &AttributeSet,
        place: usize,
        family: Family,
    ) -> Result<SetId, String> {
        let mut block = set.block.clone();
        let mut editor = AttributeEditor::on(&mut block);
        if self.internal {
            if editor.attributes().local_pref().is_none() {
                editor.set_local_pref(100);
            }
            if editor.attributes().get(code::AS_PATH).is_none() {
                editor.set_as_path(&[]);
            }
        } else {
            editor.remove(code::LOCAL_PREF).remove(code::ORIGINATOR_ID).remove(code::CLUSTER_LIST);
            let further = self.spread.is_some_and(|(own, of)| place % of != own);
            editor.prepend_as(self.asn, 1 + usize::from(further));
        }
        let next_hop = match self.next_hop {
            SentNextHop::Own => NextHop::new(self.address),
            SentNextHop::Address(address) => NextHop::new(address),
            SentNextHop::Keep => set.next_hop.unwrap_or(NextHop::new(self.address)),
        };
        let next_hop = match (family, next_hop.addr) {
            (Family::Ipv4Unicast, IpAddr::V4(_)) | (Family::Ipv6Unicast, IpAddr::V6(_)) => next_hop,
            // An address of the documentation range (RFC 3849), one a peer.
            (Family::Ipv6Unicast, IpAddr::V4(_)) => {
                NextHop::new(IpAddr::from((DOCUMENTATION + self.place as u128).to_be_bytes()))
            }
            (Family::Ipv4Unicast, IpAddr::V6(address)) => {
                return Err(format!(
                    "IPv4 routes want an IPv4 next hop, and {address} is none: set next_hop = {{ address = \"...\" }}"
                ));
            }
        };
        Ok(engine.store_mut().intern(&block, next_hop))
    }
}

/// Appends the UPDATEs that announce routes: all routes of a set together, the sets in the order of their first route.
pub fn encode(engine: &Engine, routes: &[SentRoute], encoding: &Encoding, out: &mut Vec<u8>) {
    encode_in_parts(engine, routes, encoding, out, |_, _| {});
}

/// [`encode`], telling where the messages of each set lie.
pub fn encode_in_parts(
    engine: &Engine,
    routes: &[SentRoute],
    encoding: &Encoding,
    out: &mut Vec<u8>,
    mut part: impl FnMut(SetId, Range<usize>),
) {
    let mut places: HashMap<SetId, usize> = HashMap::new();
    let mut of_set: Vec<(SetId, Vec<&SentRoute>)> = Vec::new();
    for route in routes {
        let place = *places.entry(route.set).or_insert_with(|| {
            of_set.push((route.set, Vec::new()));
            of_set.len() - 1
        });
        of_set[place].1.push(route);
    }
    let mut section = AttributeSection::new();
    for (set, routes) in of_set {
        let start = out.len();
        let family = engine.index().prefix(routes[0].number).family();
        section.fill(&encoding.context, family, engine.store().block(set), engine.store().next_hop(set));
        let path_ids = encoding.add_path.contains(family);
        match family {
            Family::Ipv4Unicast => {
                put(&encoding.context, &section, &prefixes(engine, &routes, prefix4), path_ids, out)
            }
            Family::Ipv6Unicast => {
                put(&encoding.context, &section, &prefixes(engine, &routes, prefix6), path_ids, out)
            }
        }
        part(set, start..out.len());
    }
}

/// Appends the UPDATEs that withdraw routes.
pub fn withdraw(engine: &Engine, routes: &[SentRoute], encoding: &Encoding, out: &mut Vec<u8>) {
    for family in Family::ALL {
        let of_family: Vec<&SentRoute> =
            routes.iter().filter(|route| engine.index().prefix(route.number).family() == family).collect();
        let path_ids = encoding.add_path.contains(family);
        match family {
            Family::Ipv4Unicast => {
                take_back(&encoding.context, &prefixes(engine, &of_family, prefix4), path_ids, out)
            }
            Family::Ipv6Unicast => {
                take_back(&encoding.context, &prefixes(engine, &of_family, prefix6), path_ids, out)
            }
        }
    }
}

fn prefixes<P>(engine: &Engine, routes: &[&SentRoute], of: fn(Prefix) -> Option<P>) -> Vec<PathPrefix<P>> {
    let one = |route: &&SentRoute| {
        Some(PathPrefix { path_id: route.path_id, prefix: of(engine.index().prefix(route.number))? })
    };
    routes.iter().filter_map(one).collect()
}

fn prefix4(prefix: Prefix) -> Option<Prefix4> {
    if let Prefix::V4(prefix) = prefix { Some(prefix) } else { None }
}

fn prefix6(prefix: Prefix) -> Option<Prefix6> {
    if let Prefix::V6(prefix) = prefix { Some(prefix) } else { None }
}

/// Appends as many announcements as are needed. Attributes that leave no room for a prefix cannot be announced at all.
fn put<P: EncodeNlri>(
    context: &EncodeContext,
    section: &AttributeSection,
    routes: &[PathPrefix<P>],
    path_ids: bool,
    out: &mut Vec<u8>,
) {
    if path_ids {
        in_messages(routes, |rest| encode_announce(context, section, rest, out).unwrap_or(rest.len()));
    } else {
        in_messages(&without_ids(routes), |rest| {
            encode_announce(context, section, rest, out).unwrap_or(rest.len())
        });
    }
}

/// Appends as many withdrawals as are needed.
fn take_back<P: EncodeNlri>(
    context: &EncodeContext,
    routes: &[PathPrefix<P>],
    path_ids: bool,
    out: &mut Vec<u8>,
) {
    if path_ids {
        in_messages(routes, |rest| encode_withdraw(context, rest, out));
    } else {
        in_messages(&without_ids(routes), |rest| encode_withdraw(context, rest, out));
    }
}

fn without_ids<P: EncodeNlri>(routes: &[PathPrefix<P>]) -> Vec<P> {
    routes.iter().map(|route| route.prefix).collect()
}

/// Encodes message after message; `encode` gives back how many of what is left it has dealt with.
fn in_messages<N>(mut rest: &[N], mut encode: impl FnMut(&[N]) -> usize) {
    while !rest.is_empty() {
        rest = &rest[encode(rest)..];
    }
}
