//! From a scenario to peers and the tables that they send.

use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;

use kulan::types::RouterId;

use super::place::{Place, above};
use super::table::{Sender, Table};
use super::world::{Member, World};
use super::{Scenario, SentNextHop};
use crate::engine::{Engine, Peer, PeerNumber, Transport};
use crate::source::{Routes, Source};

/// Peers and what they send, before anything has happened.
#[derive(Debug)]
pub struct Built {
    /// The sessions.
    pub engine: Engine,
    /// What is known of the peers.
    pub world: World,
    /// The peers of each group, in the scenario's order.
    pub groups: Vec<Vec<PeerNumber>>,
    /// How each peer becomes a sender.
    pub senders: Vec<Sender>,
    /// What a reader of the results should know of the sources.
    pub warnings: Vec<String>,
    /// Why a source is not all that it should be.
    pub partial: Option<String>,
}

/// Descriptors that are used for other things than sessions.
pub(crate) const OTHER_DESCRIPTORS: u64 = 64;

/// A socket a peer, and another one for each that listens.
fn descriptors(scenario: &Scenario) -> u64 {
    let of_group = |group: &super::Group| group.count as u64 * (1 + u64::from(group.listen_port.is_some()));
    scenario.groups.iter().map(of_group).sum()
}

/// Makes the peers of a scenario and loads what they send.
///
/// # Errors
/// What is wrong with the scenario, its files or this machine, and what would help.
pub fn build(scenario: &Scenario, place: &Place) -> Result<Built, String> {
    scenario.check()?;
    let peers: usize = scenario.groups.iter().map(|group| group.count).sum();
    crate::compare::process::raise_descriptor_limit(descriptors(scenario) + OTHER_DESCRIPTORS)?;
    let mut built = Built {
        engine: Engine::new().map_err(|error| format!("the event queue: {error}"))?,
        world: World {
            members: Vec::with_capacity(peers),
            asn: scenario.speaker.asn,
            cluster_id: RouterId(scenario.speaker.cluster_id.into()),
            tag: None,
            shared_link: place.shared_link,
            optional: 0..0,
        },
        groups: Vec::new(),
        senders: Vec::with_capacity(peers),
        warnings: Vec::new(),
        partial: None,
    };
    let mut loaded: HashMap<String, Routes> = HashMap::new();
    let mut router_ids = 0u32;
    for (group, (range, skipped)) in scenario.groups.iter().zip(place.shared_out(&scenario.groups)?) {
        let limit = place.limit(group);
        if skipped + group.count > limit {
            return Err(format!(
                "the peers {:?} want {} addresses from {} on; that range has {limit}: use fewer, side = \"clients\", \
                 or an `address` of your own",
                group.name, group.count, range.first
            ));
        }
        if range.next_hop.is_loopback() && group.receives && group.asn != scenario.speaker.asn {
            return Err(format!(
                "{} would be the next hop of what the external peers {:?} are told, and no host may have that one (RFC 4271 \
                 §6.3). Give the speaker an address of its own (`ip address add 10.255.0.1/16 dev lo`, then --target \
                 10.255.0.1 --from 10.255.1.1), use --reflect, or have it started with --speaker",
                range.next_hop, group.name
            ));
        }
        let families = group.family_set();
        let mut numbers = Vec::with_capacity(group.count);
        for at in 0..group.count {
            let address = above(range.first, skipped + at);
            router_ids += 1;
            let router_id = match address {
                IpAddr::V4(address) => RouterId(address.into()),
                // 100.64.0.0/10: shared address space (RFC 6598), used by nobody else here.
                IpAddr::V6(_) => RouterId(0x6440_0000 + router_ids),
            };
            let asn = group.asn_of(at);
            let internal = asn == scenario.speaker.asn;
            let number = built.engine.add(Peer {
                address,
                speaker: range.speaker,
                transport: group.listen_port.map_or(Transport::Dial, Transport::Listen),
                asn,
                router_id,
                hold_time_s: group.hold_time_s,
                families,
                add_path: group.add_path,
                extended_messages: group.extended_messages,
                md5: group.md5.clone(),
                receives: group.receives,
            });
            let sender = Sender {
                address,
                asn,
                internal,
                next_hop: if address.is_loopback() && group.next_hop == SentNextHop::Own {
                    documentation_next_hop(address, at)
                } else {
                    group.next_hop
                },
                spread: (group.spread_best && group.count > 1).then_some((at, group.count)),
                place: number.0,
            };
            let table = match &group.sends {
                None => Table::default(),
                Some(name) => table_of(&mut built, scenario, name, at, &sender, &mut loaded)?,
            };
            built.world.members.push(Member {
                number,
                internal,
                client: group.client,
                router_id,
                speaker_address: range.next_hop,
                other_family: range.other_family,
                families,
                add_path: group.add_path,
                receives: group.receives,
                table: Rc::new(table),
                changes: HashMap::new(),
                announced: false,
            });
            built.senders.push(sender);
            numbers.push(number);
        }
        built.groups.push(numbers);
    }
    Ok(built)
}

/// The next hop of a peer on loopback, whose own address no host may have: of the networks for documentation (RFC 5737,
/// RFC 3849).
fn documentation_next_hop(address: IpAddr, at: usize) -> SentNextHop {
    let first = match address {
        IpAddr::V4(_) => IpAddr::from([192, 0, 2, 1]),
        IpAddr::V6(_) => IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]),
    };
    SentNextHop::Address(above(first, at % 250))
}

fn table_of(
    built: &mut Built,
    scenario: &Scenario,
    name: &str,
    at: usize,
    sender: &Sender,
    loaded: &mut HashMap<String, Routes>,
) -> Result<Table, String> {
    let source = scenario.sources.get(name).ok_or_else(|| format!("there is no source {name:?}"))?;
    let named = |error: String| format!("source {name:?}: {error}");
    if let Source::Ranges { .. } = source {
        let routes = source.load(at).map_err(named)?;
        return Table::new(&mut built.engine, &routes, sender);
    }
    if !loaded.contains_key(name) {
        let routes = source.load(0).map_err(named)?;
        if let Some(partial) = &routes.partial {
            built.partial = Some(format!("source {name:?} is not whole: {partial}"));
        }
        built.warnings.extend(routes.notes.iter().map(|note| format!("source {name:?}: {note}")));
        loaded.insert(name.to_string(), routes);
    }
    Table::new(&mut built.engine, &loaded[name], sender)
}
