//! The loop's side of the conversation: it answers [`Request`]s from what the speaker holds.
//!
//! Everything here runs on the loop, so everything is bounded: a page of rows, a look at so many destinations.

use std::net::IpAddr;

use super::message::*;
use crate::config::{AsnMatch, PeerConfig, PeerSettings, Secret};
use crate::fib::{self, KernelState};
use crate::rib::{NextHopState, Path};
use crate::session;
use crate::speaker::{Origin, Peer, Speaker};
use crate::types::*;

/// Destinations that one page looks at, whether or not they make rows: about a millisecond.
const LOOK_MAX: usize = 10_000;

/// Answers every request but [`Request::Reload`], [`Request::Statistics`] and [`Request::Watch`], which concern more
/// than the speaker.
pub fn respond(speaker: &mut Speaker, now: Time, request: Request) {
    match request {
        Request::Summary(reply) => reply.send(Ok(summary(speaker, now))),
        Request::ListPeers(query, reply) => reply.send(list_peers(speaker, now, &query)),
        Request::ListRoutes(query, reply) => reply.send(list_routes(speaker, &query)),
        Request::CountRoutes(query, reply) => reply.send(count_routes(speaker, &query)),
        Request::ListFib(query, reply) => reply.send(list_fib(speaker, now, &query)),
        Request::ListDomains(reply) => reply.send(Ok(vec![domain(speaker)])),
        Request::AddPath(path, reply) => reply.send(add_path(speaker, path)),
        Request::DeletePath(path, reply) => reply.send(delete_path(speaker, &path)),
        Request::ResetPeer(selector, kind, reply) => {
            reply.send(select(speaker, &selector).and_then(|ids| reset(speaker, now, &ids, &kind)));
        }
        Request::EnablePeer(selector, reply) => reply.send(select(speaker, &selector).map(|ids| {
            ids.into_iter().for_each(|id| speaker.enable(now, id));
        })),
        Request::DisablePeer(selector, reason, reply) => reply.send(select(speaker, &selector).map(|ids| {
            ids.into_iter().for_each(|id| speaker.disable(now, id, &reason));
        })),
        Request::AddPeer(peer, reply) => reply.send(add_peer(speaker, now, peer)),
        Request::DeletePeer(address, reply) => reply.send(delete_peer(speaker, now, address)),
        Request::Reload(_) | Request::Statistics(_) | Request::Watch(..) => {
            debug_assert!(false, "the reactor answers these");
        }
    }
}

fn find(speaker: &Speaker, address: IpAddr) -> Result<PeerId, RequestError> {
    speaker
        .find_peer(address)
        .ok_or_else(|| RequestError::NotFound(format!("no peer has the address {address}")))
}

fn select(speaker: &Speaker, selector: &PeerSelector) -> Result<Vec<PeerId>, RequestError> {
    match selector {
        PeerSelector::Address(address) => find(speaker, *address).map(|id| vec![id]),
        PeerSelector::All => Ok(speaker.peer_ids()),
    }
}

fn peer(speaker: &Speaker, id: PeerId) -> Option<&Peer> {
    speaker.peers.get(id.index())?.as_deref()
}

fn check_domain(speaker: &Speaker, domain: Option<&String>) -> Result<(), RequestError> {
    let own = &speaker.config.domains[0].name;
    match domain {
        Some(name) if name != own => {
            Err(RequestError::NotFound(format!("no domain is called {name:?}; there is {own:?}")))
        }
        _ => Ok(()),
    }
}

fn counts(speaker: &Speaker, family: Family) -> TableCounts {
    TableCounts {
        destinations: speaker.rib.dest_count(family) as u64,
        paths: speaker.rib.path_count_total(family) as u64,
    }
}

fn summary(speaker: &Speaker, now: Time) -> Summary {
    let rib = speaker.rib.memory_bytes();
    Summary {
        asn: speaker.config.speaker.asn,
        router_id: speaker.config.speaker.router_id,
        cluster_id: speaker.config.speaker.cluster_id,
        listen: speaker.config.speaker.listen.clone(),
        uptime_ms: now.0,
        peers: speaker.peer_ids().len() as u32,
        peers_established: speaker.established_count,
        routes: Family::ALL.map(|family| counts(speaker, family)),
        attribute_sets: speaker.rib.attrs().len() as u64,
        update_groups: speaker.export.groups().count() as u32,
        memory: vec![
            ("tries", rib.tries as u64),
            ("destinations", rib.destinations as u64),
            ("paths", rib.paths as u64),
            ("attributes", rib.attributes as u64),
            ("queues", rib.queues as u64),
            ("update_groups", speaker.export.memory_bytes() as u64),
        ],
    }
}

fn domain(speaker: &Speaker) -> DomainRow {
    let config = &speaker.config.domains[0];
    let stats = speaker.fib.as_ref().map(|fib| fib.stats()).unwrap_or_default();
    DomainRow {
        name: config.name.clone(),
        table: config.table,
        install: config.install,
        max_paths: config.max_paths,
        peers: speaker.peer_ids().len() as u32,
        routes: Family::ALL.map(|family| counts(speaker, family)),
        installed: stats.installed,
        pending: stats.pending,
        failed: stats.troubled,
    }
}

fn list_peers(
    speaker: &Speaker,
    now: Time,
    query: &PeersQuery,
) -> Result<Page<PeerStatus, u32>, RequestError> {
    if let Some(address) = query.address {
        let rows = speaker.find_peer(address).and_then(|id| status(speaker, now, id)).into_iter().collect();
        return Ok(Page { rows, next: None });
    }
    let limit = query.limit.min(PAGE_ROWS_MAX);
    let first = query.after.map_or(1, |after| after as usize + 1);
    let mut rows = Vec::new();
    for index in first..speaker.peers.len() {
        let id = PeerId(index as u32);
        rows.extend(status(speaker, now, id));
        if rows.len() == limit {
            return Ok(Page { rows, next: Some(id.0) });
        }
    }
    Ok(Page { rows, next: None })
}

/// What a peer and its session are doing.
pub fn status(speaker: &Speaker, now: Time, id: PeerId) -> Option<PeerStatus> {
    let peer = peer(speaker, id)?;
    let (settings, session) = (&peer.settings, &peer.session);
    let negotiated = session.negotiated();
    let internal = negotiated.map_or(peer.expects_internal(), |negotiated| negotiated.kind.is_internal());
    let asn = negotiated.map_or(configured_asn(speaker, peer), |negotiated| negotiated.peer_asn);
    let families = settings.families.iter().map(|family| {
        let accepted = u64::from(speaker.rib.path_count(id, family));
        PeerFamily {
            family,
            negotiated: negotiated.is_some_and(|negotiated| negotiated.families.contains(family)),
            received: accepted,
            accepted,
            advertised: speaker.export.advertised_count(id, family).into(),
            end_of_rib_received: peer.end_of_rib.contains(family),
            end_of_rib_sent: speaker.export.has_end_of_rib(id, family),
        }
    });
    let (retained, _) = session.retained();
    let sockets = speaker.sockets(id);
    Some(PeerStatus {
        address: peer.address,
        asn,
        local_asn: session.settings().local_asn,
        router_id: negotiated.map(|negotiated| negotiated.router_id),
        description: settings.description.clone(),
        group: settings.group.clone(),
        domain: settings.domain.clone(),
        dynamic: matches!(peer.origin, Origin::Dynamic(_)),
        internal,
        route_reflector_client: settings.route_reflector_client,
        passive: settings.passive,
        state: match session.state() {
            session::State::Idle => PeerState::Idle,
            session::State::Connect => PeerState::Connect,
            session::State::Active => PeerState::Active,
            session::State::OpenSent => PeerState::OpenSent,
            session::State::OpenConfirm => PeerState::OpenConfirm,
            session::State::Established => PeerState::Established,
        },
        admin: match session.is_running() {
            false => AdminState::Down,
            true if session.rests_at_prefix_limit() => AdminState::PrefixLimit,
            true => AdminState::Up,
        },
        since_ms: (session.established_count() > 0).then(|| now.since_ms(session.changed_at())),
        flaps: session.established_count().saturating_sub(u32::from(negotiated.is_some())),
        last_error: session.failures().and_then(|log| log.last()).map(|past| past.failure.to_string()),
        received: message_counts(session.received()),
        sent: message_counts(session.sent()),
        out_queue: speaker.export.queued_messages(id),
        families: families.collect(),
        local_capabilities: session.our_open().map(|open| open.capabilities).unwrap_or_default(),
        remote_capabilities: negotiated
            .and_then(|negotiated| negotiated.peer_open())
            .map(|open| open.capabilities)
            .unwrap_or_default(),
        hold_time_s: settings.hold_time_s,
        negotiated_hold_time_s: negotiated.map_or(0, |negotiated| negotiated.hold_time_s),
        connect_retry_s: settings.connect_retry_s,
        local_socket: sockets.map(|(local, _)| local),
        remote_socket: sockets.map(|(_, remote)| remote),
        multihop_ttl: settings.multihop_ttl,
        ttl_security_hops: settings.ttl_security_hops,
        graceful_restart_s: settings
            .graceful_restart
            .enabled
            .then_some(settings.graceful_restart.restart_time_s),
        restarting: negotiated.is_none() && !retained.is_empty(),
    })
}

fn message_counts(counts: &session::MessageCounts) -> MessageCounts {
    MessageCounts {
        opens: counts.open,
        updates: counts.update,
        notifications: counts.notification,
        keepalives: counts.keepalive,
        route_refreshes: counts.route_refresh,
    }
}

/// A path as people see it.
pub fn path_row(speaker: &Speaker, path: Path, best: bool, multipath: bool) -> PathRow {
    let attrs = speaker.rib.attrs();
    let state = speaker.rib.next_hops().state(attrs.meta(path.attrs).next_hop);
    let resolves = speaker.config.domains[0].resolve_next_hops;
    PathRow {
        source: source(speaker, path.peer),
        best,
        multipath,
        stale: path.stale,
        next_hop_reachable: !resolves || matches!(state, NextHopState::Reachable { .. }),
        age_ms: None,
        next_hop: attrs.next_hop(path.attrs),
        attrs: attrs.block(path.attrs).to_vec(),
    }
}

/// The peer that a path came from; nothing for our own.
pub fn source(speaker: &Speaker, id: PeerId) -> Option<PathSource> {
    if id == PeerId::LOCAL {
        return None;
    }
    let info = speaker.rib.peer(id)?;
    Some(PathSource {
        address: info.address,
        asn: info.asn,
        router_id: info.router_id,
        external: info.kind == PeerKind::External,
    })
}

fn route_row(speaker: &Speaker, table: ResolvedTable, family: Family, dest: DestId) -> Option<RouteRow> {
    let rib = &speaker.rib;
    let best = rib.best(family, dest);
    let paths: Vec<PathRow> = match table {
        ResolvedTable::Global => {
            let mut in_use = smallvec::SmallVec::new();
            rib.multipath(family, dest, &mut in_use);
            rib.paths(family, dest)
                .map(|path| {
                    let is_best = best.is_some_and(|best| best.peer == path.peer);
                    path_row(speaker, path, is_best, in_use.iter().any(|used| used.peer == path.peer))
                })
                .collect()
        }
        ResolvedTable::AdjIn(id) => rib
            .paths(family, dest)
            .filter(|path| path.peer == id)
            .map(|path| path_row(speaker, path, best.is_some_and(|best| best.peer == id), false))
            .collect(),
        ResolvedTable::AdjOut(id) => speaker
            .export
            .adj_out(rib, id, family, dest)
            .map(|route| PathRow {
                source: source(speaker, route.source),
                best: true,
                multipath: false,
                stale: false,
                next_hop_reachable: true,
                age_ms: None,
                next_hop: route.next_hop,
                attrs: route.block,
            })
            .into_iter()
            .collect(),
    };
    (!paths.is_empty()).then(|| RouteRow { prefix: rib.prefix(family, dest), paths })
}

/// A [`Table`] whose peer exists.
#[derive(Clone, Copy)]
enum ResolvedTable {
    Global,
    AdjIn(PeerId),
    AdjOut(PeerId),
}

fn resolve(speaker: &Speaker, table: Table) -> Result<ResolvedTable, RequestError> {
    Ok(match table {
        Table::Global => ResolvedTable::Global,
        Table::AdjIn(address) => ResolvedTable::AdjIn(find(speaker, address)?),
        Table::AdjOut(address) => ResolvedTable::AdjOut(find(speaker, address)?),
    })
}

fn list_routes(speaker: &Speaker, query: &RoutesQuery) -> Result<Page<RouteRow, Prefix>, RequestError> {
    check_domain(speaker, query.domain.as_ref())?;
    let table = resolve(speaker, query.table)?;
    let (rib, family) = (&speaker.rib, query.family);
    let single = |dest: Option<DestId>| {
        let rows = dest.and_then(|dest| route_row(speaker, table, family, dest)).into_iter().collect();
        Ok(Page { rows, next: None })
    };
    let within = match query.filter {
        PrefixFilter::Exact(prefix) => return single(rib.find(prefix)),
        PrefixFilter::LongestMatch(addr) => return single(rib.longest_match(addr)),
        PrefixFilter::Shorter(prefix) => {
            // At most one destination a length.
            let rows = (0..=prefix.len())
                .filter_map(|len| rib.find(Prefix::of(prefix.addr(), len)?))
                .filter_map(|dest| route_row(speaker, table, family, dest));
            return Ok(Page { rows: rows.collect(), next: None });
        }
        PrefixFilter::Longer(prefix) => Some(prefix),
        PrefixFilter::All => None,
    };
    let limit = query.limit.clamp(1, PAGE_ROWS_MAX);
    let mut rows = Vec::new();
    let mut looked = 0;
    let mut next = None;
    rib.walk_after(family, query.after, within, &mut |dest| {
        rows.extend(route_row(speaker, table, family, dest));
        looked += 1;
        if rows.len() == limit || looked == LOOK_MAX {
            next = Some(rib.prefix(family, dest));
        }
        next.is_none()
    });
    Ok(Page { rows, next })
}

fn count_routes(speaker: &Speaker, query: &CountQuery) -> Result<TableCounts, RequestError> {
    check_domain(speaker, query.domain.as_ref())?;
    let both = |count: u32| TableCounts { destinations: count.into(), paths: count.into() };
    Ok(match resolve(speaker, query.table)? {
        ResolvedTable::Global => counts(speaker, query.family),
        ResolvedTable::AdjIn(id) => both(speaker.rib.path_count(id, query.family)),
        ResolvedTable::AdjOut(id) => both(speaker.export.advertised_count(id, query.family)),
    })
}

fn add_path(speaker: &mut Speaker, path: NewPath) -> Result<(), RequestError> {
    check_domain(speaker, path.domain.as_ref())?;
    speaker.originate_by_api(path.prefix, path.next_hop, &path.attrs);
    Ok(())
}

fn delete_path(speaker: &mut Speaker, path: &OldPath) -> Result<(), RequestError> {
    check_domain(speaker, path.domain.as_ref())?;
    match path.which {
        OldPaths::Prefix(prefix) if speaker.withdraw_by_api(prefix) => Ok(()),
        OldPaths::Prefix(prefix) => {
            Err(RequestError::NotFound(format!("{prefix} was not added with this API")))
        }
        OldPaths::Family(family) => {
            speaker.withdraw_all_by_api(family);
            Ok(())
        }
    }
}

fn reset(speaker: &mut Speaker, now: Time, ids: &[PeerId], kind: &ResetKind) -> Result<(), RequestError> {
    let mut deaf = Vec::new();
    for id in ids {
        match kind {
            ResetKind::Hard(reason) => speaker.reset(now, *id, reason),
            ResetKind::SoftOut => speaker.soft_reset_out(*id),
            ResetKind::SoftIn | ResetKind::SoftBoth => {
                if *kind == ResetKind::SoftBoth {
                    speaker.soft_reset_out(*id);
                }
                let up = peer(speaker, *id).is_some_and(|peer| peer.session.established().is_some());
                if up && !speaker.soft_reset_in(*id) {
                    deaf.extend(peer(speaker, *id).map(|peer| peer.address.to_string()));
                }
            }
        }
    }
    if deaf.is_empty() {
        return Ok(());
    }
    Err(RequestError::Refused(format!("no route refresh (RFC 2918) with {}: reset hard", deaf.join(", "))))
}

fn add_peer(speaker: &mut Speaker, now: Time, new: NewPeer) -> Result<(), RequestError> {
    if speaker.find_peer(new.address).is_some() {
        return Err(RequestError::Refused(format!("there is a peer {} already", new.address)));
    }
    let settings = match &new.group {
        Some(name) => group(speaker, name)
            .ok_or_else(|| RequestError::NotFound(format!("no peer group is called {name:?}")))?,
        None => {
            let asn = new
                .asn
                .ok_or_else(|| RequestError::Invalid("a peer needs an AS number or a group".into()))?;
            let families = FamilySet::only(Prefix::host(new.address).family());
            PeerSettings::new(AsnMatch::Exactly(asn), families, speaker.config.domains[0].name.clone())
        }
    };
    let address = new.address;
    let config = PeerConfig { address, interface: None, settings: with_wishes(settings, new) };
    speaker.add_peer(now, config, Origin::Api);
    Ok(())
}

/// Deletes a peer that was added here. One of the configuration would be back with the next start, and nobody
/// would know why.
fn delete_peer(speaker: &mut Speaker, now: Time, address: IpAddr) -> Result<(), RequestError> {
    let id = find(speaker, address)?;
    let refuse = |why: String| Err(RequestError::Refused(why));
    match peer(speaker, id).map(|peer| &peer.origin) {
        Some(Origin::Configured) => refuse(format!(
            "{address} is in the configuration: take it out there and reload, or disable it for now"
        )),
        Some(Origin::Dynamic(range)) => {
            refuse(format!("{address} is a dynamic peer of {range}: it would come back; disable it"))
        }
        _ => {
            speaker.remove_peer(now, id);
            Ok(())
        }
    }
}

/// The settings of a group, as far as a peer or a range of the configuration shows them.
fn group(speaker: &Speaker, name: &str) -> Option<PeerSettings> {
    let peers = speaker.config.peers.iter().map(|peer| &peer.settings);
    let ranges = speaker.config.dynamic_peers.iter().map(|range| &range.settings);
    peers.chain(ranges).find(|settings| settings.group.as_deref() == Some(name)).cloned()
}

/// What the request says wins over the group and the defaults.
fn with_wishes(mut settings: PeerSettings, new: NewPeer) -> PeerSettings {
    fn wish<T>(place: &mut T, wish: Option<T>) {
        if let Some(value) = wish {
            *place = value;
        }
    }
    wish(&mut settings.asn, new.asn.map(AsnMatch::Exactly));
    wish(&mut settings.passive, new.passive);
    wish(&mut settings.port, new.port);
    wish(&mut settings.hold_time_s, new.hold_time_s);
    wish(&mut settings.families, new.families);
    wish(&mut settings.route_reflector_client, new.route_reflector_client);
    wish(&mut settings.allow_own_asn, new.allow_own_asn);
    settings.description = new.description.or(settings.description);
    settings.local_asn = new.local_asn.or(settings.local_asn);
    settings.source = new.source.or(settings.source);
    settings.multihop_ttl = new.multihop_ttl.or(settings.multihop_ttl);
    settings.password = new.password.map(|text| Secret::new(text.into_bytes())).or(settings.password);
    if new.admin_down {
        settings.shutdown = Some(String::new());
    }
    settings
}

/// The AS number that the configuration expects; 0 if it leaves that open.
fn configured_asn(speaker: &Speaker, peer: &Peer) -> u32 {
    match peer.settings.asn {
        AsnMatch::Exactly(asn) => asn,
        AsnMatch::Internal => speaker.config.speaker.asn,
        AsnMatch::External | AsnMatch::Any => 0,
    }
}

fn list_fib(speaker: &Speaker, now: Time, query: &FibQuery) -> Result<Page<FibRow, Prefix>, RequestError> {
    check_domain(speaker, query.domain.as_ref())?;
    let Some(fib) = &speaker.fib else { return Ok(Page { rows: Vec::new(), next: None }) };
    let (rib, family) = (&speaker.rib, query.family);
    let limit = query.limit.clamp(1, PAGE_ROWS_MAX);
    let mut rows = Vec::new();
    let mut looked = 0;
    let mut next = None;
    rib.walk_after(family, query.after, None, &mut |dest| {
        rows.extend(fib.row_of(family, dest, rib.prefix(family, dest)));
        looked += 1;
        if rows.len() == limit || looked == LOOK_MAX {
            next = Some(rib.prefix(family, dest));
        }
        next.is_none()
    });
    let page = merge(Page { rows, next }, fib.stale_rows(family, query.after), limit);
    let (links, stale_until) = (fib.links(), fib.stale_until());
    let rows = page.rows.into_iter().map(|row| fib_row(row, &links, stale_until, now));
    Ok(Page { rows: rows.collect(), next: page.next })
}

/// Adds routes that an earlier process left in the kernel to a page of those that are wanted; both are in the order of
/// prefixes. Where both have a prefix, the wanted one says more.
fn merge(
    page: Page<fib::FibRow, Prefix>,
    stale: impl Iterator<Item = fib::FibRow>,
    limit: usize,
) -> Page<fib::FibRow, Prefix> {
    let Page { mut rows, mut next } = page;
    rows.extend(stale.take_while(|row| next.is_none_or(|last| row.prefix <= last)).take(limit));
    // The sort is stable: of two rows of one prefix the wanted one stays first.
    rows.sort_by_key(|row| row.prefix);
    rows.dedup_by_key(|row| row.prefix);
    if rows.len() > limit || next.is_none() && rows.len() == limit {
        rows.truncate(limit);
        next = rows.last().map(|row| row.prefix);
    }
    Page { rows, next }
}

fn fib_row(row: fib::FibRow, links: &[fib::Link], stale_until: Option<Time>, now: Time) -> FibRow {
    let interface = |ifindex: u32| {
        links
            .iter()
            .find(|link| link.ifindex == ifindex)
            .map_or_else(|| ifindex.to_string(), |link| link.name.clone())
    };
    let next_hops = row.legs.iter().map(|(gateway, ifindex)| FibNextHop {
        gateway: Some(*gateway),
        interface: interface(*ifindex),
        weight: 1,
    });
    let state = match row.state {
        KernelState::Installed => FibState::Installed,
        KernelState::Pending => FibState::Pending,
        KernelState::Stale => FibState::Stale(match stale_until {
            Some(until) => format!("removed in {} s at the latest", until.since_ms(now).div_ceil(1000)),
            None => "being removed".into(),
        }),
        KernelState::Deferred => FibState::Stale("kept until all peers have told their tables".into()),
        KernelState::Missing => {
            FibState::Failed("missing: someone else removed it, it is put back within a minute".into())
        }
        KernelState::Differs => {
            FibState::Failed("differs: someone else changed it, it is put right within a minute".into())
        }
        KernelState::Foreign => FibState::Failed("foreign: a route that is not ours is in the way".into()),
        KernelState::Unresolved => FibState::Failed("no next hop resolves".into()),
        KernelState::Failed { text, .. } => FibState::Failed(text),
    };
    FibRow { prefix: row.prefix, next_hops: next_hops.collect(), state }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::path::Path;

    use super::*;

    const CONFIG: &str = r#"
[speaker]
asn = 65000
router_id = "10.0.0.1"
[[domain]]
name = "default"
resolve_next_hops = false
[[peer]]
address = "10.0.0.2"
asn = 65002
[[dynamic_peer]]
range = "10.0.1.0/24"
asn = "external"
"#;

    fn speaker() -> Speaker {
        let config = crate::config::parse(CONFIG, "respond.toml", Path::new(".")).unwrap();
        let mut speaker = Speaker::new(config, 1);
        speaker.start(Time(0));
        speaker
    }

    /// The answer to a request.
    fn ask<T>(speaker: &mut Speaker, make: impl FnOnce(Reply<T>) -> Request) -> Result<T, RequestError> {
        let (reply, mut answer) = Reply::new();
        respond(speaker, Time(1), make(reply));
        answer.try_recv().expect("the loop answers at once")
    }

    fn new_peer(address: IpAddr) -> NewPeer {
        NewPeer {
            address,
            asn: Some(65003),
            group: None,
            description: None,
            local_asn: None,
            passive: None,
            port: None,
            source: None,
            hold_time_s: None,
            families: None,
            route_reflector_client: None,
            allow_own_asn: None,
            multihop_ttl: None,
            password: None,
            admin_down: false,
        }
    }

    #[test]
    fn only_what_was_added_here_is_deleted_here() {
        let mut speaker = speaker();
        let [configured, dynamic, added] =
            ["10.0.0.2", "10.0.1.7", "10.0.0.3"].map(|text| text.parse::<IpAddr>().unwrap());
        let local = SocketAddr::from(([10, 0, 0, 1], 179));
        speaker.accept(Time(1), SocketAddr::new(dynamic, 1), local, None).unwrap();
        for (address, words) in
            [(configured, "is in the configuration"), (dynamic, "dynamic peer of 10.0.1.0/24")]
        {
            match ask(&mut speaker, |reply| Request::DeletePeer(address, reply)) {
                Err(RequestError::Refused(why)) => assert!(why.contains(words), "{why}"),
                other => panic!("{address}: {other:?}"),
            }
        }
        ask(&mut speaker, |reply| Request::AddPeer(new_peer(added), reply)).unwrap();
        assert!(speaker.find_peer(added).is_some());
        ask(&mut speaker, |reply| Request::DeletePeer(added, reply)).unwrap();
        assert!(speaker.find_peer(added).is_none() && speaker.find_peer(configured).is_some());
    }

    #[test]
    fn a_peer_that_never_was_up_has_been_down_for_no_time_and_offers_nothing_yet() {
        let mut speaker = speaker();
        let page = ask(&mut speaker, |reply| {
            Request::ListPeers(PeersQuery { address: None, after: None, limit: 10 }, reply)
        });
        let [peer] = &page.unwrap().rows[..] else { panic!("there is one peer") };
        assert_eq!((peer.since_ms, peer.flaps), (None, 0));
        assert_eq!((&peer.local_capabilities[..], peer.local_socket), (&[][..], None));
    }

    fn row(at: u32, state: KernelState) -> fib::FibRow {
        let prefix = Prefix::V4(Prefix4::new(at << 8, 24));
        fib::FibRow { prefix, next_hops: Vec::new(), legs: Vec::new(), state }
    }

    /// Pages until the end, as a client asks for them; what is wanted comes in pages of `looked` destinations.
    fn pages(wanted: &[u32], stale: &[u32], looked: usize, limit: usize) -> Vec<(Prefix, KernelState)> {
        let (mut all, mut after) = (Vec::new(), None);
        let behind = |after: Option<Prefix>, numbers: &[u32], state: &KernelState| {
            let rows = numbers.iter().map(|at| row(*at, state.clone()));
            rows.filter(|row| after.is_none_or(|after| row.prefix > after)).collect::<Vec<_>>()
        };
        for _ in 0..100 {
            let mut rows = behind(after, wanted, &KernelState::Installed);
            let next = rows.get(looked.min(limit) - 1).map(|row| row.prefix);
            rows.truncate(looked.min(limit));
            let left = behind(after, stale, &KernelState::Stale).into_iter();
            let page = merge(Page { rows, next }, left, limit);
            assert!(page.rows.len() <= limit);
            all.extend(page.rows.into_iter().map(|row| (row.prefix, row.state)));
            match page.next {
                Some(next) => after = Some(next),
                None => return all,
            }
        }
        panic!("no end of pages");
    }

    #[test]
    fn stale_routes_stand_among_the_others_once_and_in_order() {
        let (wanted, stale) = ([2, 4, 6, 30, 31], [1, 4, 5, 7, 8, 9, 10, 40]);
        let expected: Vec<(Prefix, KernelState)> = (0..50)
            .filter(|at| wanted.contains(at) || stale.contains(at))
            .map(|at| match wanted.contains(&at) {
                true => row(at, KernelState::Installed),
                false => row(at, KernelState::Stale),
            })
            .map(|row| (row.prefix, row.state))
            .collect();
        for limit in 1..20 {
            for looked in 1..8 {
                assert_eq!(pages(&wanted, &stale, looked, limit), expected, "{looked} of {limit}");
            }
        }
        assert_eq!(pages(&[], &stale, 1, 3).len(), stale.len());
        assert_eq!(pages(&wanted, &[], 2, 2).len(), wanted.len());
    }
}
