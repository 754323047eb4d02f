//! The service `apipb.GobgpApi`: as much of GoBGP's API (version 3) as the `gobgp` command needs for peers
//! and routes. Lists of what kulan does not have are empty; other calls are UNIMPLEMENTED.
//!
//! `ShutdownPeer` keeps the session down until `EnablePeer`, which is what the word says; in GoBGP it
//! comes up again by itself.

mod capability;
mod path;
mod peer;

use std::net::IpAddr;
use std::time::SystemTime;

use tonic::{Request as Call, Response, Status};

use super::Speaker;
use super::answers::{Answers, PAGES_AHEAD, ROUTES_A_PAGE, put, stream};
use super::message::{
    CountQuery, Event, NewPath, OldPath, OldPaths, PAGE_ROWS_MAX, PeerSelector, PeersQuery, PrefixFilter,
    Request, ResetKind, RoutesQuery, Table, WatchQuery,
};
use super::proto::apipb;
use super::proto::apipb::gobgp_api_server::{GobgpApi, GobgpApiServer};
use super::watch::{EVENTS_AHEAD, Told, Watch};
use crate::types::{Family, Prefix};

/// The service, ready to be added to a server.
pub(super) fn service(speaker: Speaker) -> GobgpApiServer<Service> {
    GobgpApiServer::new(Service(speaker))
}

pub(super) struct Service(Speaker);

fn invalid(text: impl Into<String>) -> Status {
    Status::invalid_argument(text)
}

fn parse_address(text: &str) -> Result<IpAddr, Status> {
    text.parse().map_err(|_| invalid(format!("{text:?} is not the address of a peer")))
}

fn selector(text: &str) -> Result<PeerSelector, Status> {
    match text {
        "" | "all" => Ok(PeerSelector::All),
        _ => Ok(PeerSelector::Address(parse_address(text)?)),
    }
}

/// The table that a caller means.
fn table(kind: i32, name: &str) -> Result<Table, Status> {
    match apipb::TableType::try_from(kind) {
        // A speaker that is no route server has one Loc-RIB for everybody.
        Ok(apipb::TableType::Global | apipb::TableType::Local) => Ok(Table::Global),
        Ok(apipb::TableType::AdjIn) => Ok(Table::AdjIn(parse_address(name)?)),
        Ok(apipb::TableType::AdjOut) => Ok(Table::AdjOut(parse_address(name)?)),
        Ok(apipb::TableType::Vrf) => {
            Err(Status::unimplemented("kulan has no VRFs: see `kulan show domains`"))
        }
        Err(_) => Err(invalid(format!("there is no table type {kind}"))),
    }
}

/// A prefix to look up. A plain address asks for the longest match, as in GoBGP.
fn filter(lookup: &apipb::TableLookupPrefix) -> Result<PrefixFilter, Status> {
    use apipb::table_lookup_prefix::Type;
    let wrong = || invalid(format!("{:?} is not a prefix: write ADDRESS/LENGTH", lookup.prefix));
    let kind = lookup.r#type();
    let (address, len) = match lookup.prefix.split_once('/') {
        Some((address, len)) => (address, Some(len.parse::<u8>().map_err(|_| wrong())?)),
        None => (&lookup.prefix[..], None),
    };
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let prefix = match len {
        Some(len) => Prefix::of(address, len).ok_or_else(wrong)?,
        None if kind == Type::Exact => return Ok(PrefixFilter::LongestMatch(address)),
        None => Prefix::host(address),
    };
    Ok(match kind {
        Type::Exact => PrefixFilter::Exact(prefix),
        Type::Longer => PrefixFilter::Longer(prefix),
        Type::Shorter => PrefixFilter::Shorter(prefix),
    })
}

/// The answer to a list of something that kulan does not have.
fn nothing() -> Result<Response<Nothing>, Status> {
    Ok(Response::new(tokio_stream::empty()))
}

type Nothing = tokio_stream::Empty<Result<apipb::NothingResponse, Status>>;

#[tonic::async_trait]
impl GobgpApi for Service {
    async fn get_bgp(
        &self,
        _: Call<apipb::GetBgpRequest>,
    ) -> Result<Response<apipb::GetBgpResponse>, Status> {
        let summary = self.0.ask(Request::Summary).await?;
        let domains = self.0.ask(Request::ListDomains).await?;
        let global = apipb::Global {
            asn: summary.asn,
            router_id: summary.router_id.to_string(),
            // GoBGP's word for "does not listen".
            listen_port: summary.listen.first().map_or(-1, |addr| addr.port().into()),
            listen_addresses: summary.listen.iter().map(|addr| addr.ip().to_string()).collect(),
            families: Family::ALL
                .into_iter()
                .map(|of| u32::from(of.afi()) << 16 | u32::from(of.safi()))
                .collect(),
            use_multiple_paths: domains.iter().any(|domain| domain.max_paths > 1),
            ..Default::default()
        };
        Ok(Response::new(apipb::GetBgpResponse { global: Some(global) }))
    }

    type ListPeerStream = Answers<apipb::ListPeerResponse>;

    async fn list_peer(
        &self,
        call: Call<apipb::ListPeerRequest>,
    ) -> Result<Response<Self::ListPeerStream>, Status> {
        let address = call.into_inner().address;
        let address = match &address[..] {
            "" => None,
            text => Some(parse_address(text)?),
        };
        let speaker = self.0.clone();
        Ok(stream(PAGES_AHEAD * PAGE_ROWS_MAX, move |outlet| async move {
            let mut query = PeersQuery { address, after: None, limit: PAGE_ROWS_MAX };
            loop {
                let page = speaker.peers(query.clone()).await?;
                let now = SystemTime::now();
                for row in page.rows {
                    put(&outlet, apipb::ListPeerResponse { peer: Some(peer::peer(row, now)) }).await?;
                }
                let Some(next) = page.next else { return Ok(()) };
                query.after = Some(next);
            }
        }))
    }

    async fn add_peer(&self, call: Call<apipb::AddPeerRequest>) -> Result<Response<()>, Status> {
        let peer = call.into_inner().peer.ok_or_else(|| invalid("there is no peer in the request"))?;
        let cluster_id = self.0.ask(Request::Summary).await?.cluster_id;
        let peer = peer::parse(peer, cluster_id).map_err(invalid)?;
        self.0.ask(|reply| Request::AddPeer(peer, reply)).await?;
        Ok(Response::new(()))
    }

    async fn delete_peer(&self, call: Call<apipb::DeletePeerRequest>) -> Result<Response<()>, Status> {
        let address = parse_address(&call.into_inner().address)?;
        self.0.ask(|reply| Request::DeletePeer(address, reply)).await?;
        Ok(Response::new(()))
    }

    async fn reset_peer(&self, call: Call<apipb::ResetPeerRequest>) -> Result<Response<()>, Status> {
        use apipb::reset_peer_request::SoftResetDirection as Direction;
        let request = call.into_inner();
        let kind = match (request.soft, request.direction()) {
            (false, _) => ResetKind::Hard(request.communication.clone()),
            (true, Direction::In) => ResetKind::SoftIn,
            (true, Direction::Out) => ResetKind::SoftOut,
            (true, Direction::Both) => ResetKind::SoftBoth,
        };
        let peers = selector(&request.address)?;
        self.0.ask(|reply| Request::ResetPeer(peers, kind, reply)).await?;
        Ok(Response::new(()))
    }

    async fn shutdown_peer(&self, call: Call<apipb::ShutdownPeerRequest>) -> Result<Response<()>, Status> {
        let request = call.into_inner();
        let peers = selector(&request.address)?;
        self.0.ask(|reply| Request::DisablePeer(peers, request.communication, reply)).await?;
        Ok(Response::new(()))
    }

    async fn enable_peer(&self, call: Call<apipb::EnablePeerRequest>) -> Result<Response<()>, Status> {
        let peers = selector(&call.into_inner().address)?;
        self.0.ask(|reply| Request::EnablePeer(peers, reply)).await?;
        Ok(Response::new(()))
    }

    async fn disable_peer(&self, call: Call<apipb::DisablePeerRequest>) -> Result<Response<()>, Status> {
        let request = call.into_inner();
        let peers = selector(&request.address)?;
        self.0.ask(|reply| Request::DisablePeer(peers, request.communication, reply)).await?;
        Ok(Response::new(()))
    }

    async fn add_path(
        &self,
        call: Call<apipb::AddPathRequest>,
    ) -> Result<Response<apipb::AddPathResponse>, Status> {
        let request = call.into_inner();
        table(request.table_type, "")?;
        let path = request.path.ok_or_else(|| invalid("there is no path in the request"))?;
        let parsed = path::parse(&path).map_err(invalid)?;
        if path.is_withdraw {
            let old = OldPath { domain: None, which: OldPaths::Prefix(parsed.prefix) };
            self.0.ask(|reply| Request::DeletePath(old, reply)).await?;
        } else {
            let path::ParsedPath { prefix, next_hop, attrs } = parsed;
            let new = NewPath { domain: None, prefix, next_hop, attrs };
            self.0.ask(|reply| Request::AddPath(new, reply)).await?;
        }
        Ok(Response::new(apipb::AddPathResponse::default()))
    }

    async fn delete_path(&self, call: Call<apipb::DeletePathRequest>) -> Result<Response<()>, Status> {
        let request = call.into_inner();
        table(request.table_type, "")?;
        let families = match (&request.path, request.family) {
            _ if !request.uuid.is_empty() => {
                return Err(Status::unimplemented("paths have no UUID here: name the prefix"));
            }
            (Some(path), _) => {
                let prefix = path::parse(path).map_err(invalid)?.prefix;
                let old = OldPath { domain: None, which: OldPaths::Prefix(prefix) };
                self.0.ask(|reply| Request::DeletePath(old, reply)).await?;
                return Ok(Response::new(()));
            }
            (None, None) => Family::ALL.to_vec(),
            (None, family) => vec![path::parse_family(family).map_err(invalid)?],
        };
        for family in families {
            let old = OldPath { domain: None, which: OldPaths::Family(family) };
            self.0.ask(|reply| Request::DeletePath(old, reply)).await?;
        }
        Ok(Response::new(()))
    }

    type ListPathStream = Answers<apipb::ListPathResponse>;

    async fn list_path(
        &self,
        call: Call<apipb::ListPathRequest>,
    ) -> Result<Response<Self::ListPathStream>, Status> {
        let request = call.into_inner();
        let table = table(request.table_type, &request.name)?;
        let family = path::parse_family(request.family).map_err(invalid)?;
        let mut filters = request.prefixes.iter().map(filter).collect::<Result<Vec<_>, _>>()?;
        if filters.is_empty() {
            filters.push(PrefixFilter::All);
        }
        let speaker = self.0.clone();
        Ok(stream(PAGES_AHEAD * ROUTES_A_PAGE, move |outlet| async move {
            for filter in filters {
                let mut query =
                    RoutesQuery { domain: None, table, family, filter, after: None, limit: ROUTES_A_PAGE };
                loop {
                    let page = speaker.routes(query.clone()).await?;
                    let now = SystemTime::now();
                    for row in page.rows {
                        let destination = Some(path::destination(row, now));
                        put(&outlet, apipb::ListPathResponse { destination }).await?;
                    }
                    let Some(next) = page.next else { break };
                    query.after = Some(next);
                }
            }
            Ok(())
        }))
    }

    async fn get_table(
        &self,
        call: Call<apipb::GetTableRequest>,
    ) -> Result<Response<apipb::GetTableResponse>, Status> {
        let request = call.into_inner();
        let table = table(request.table_type, &request.name)?;
        let family = path::parse_family(request.family).map_err(invalid)?;
        let query = CountQuery { domain: None, table, family };
        let counts = self.0.ask(|reply| Request::CountRoutes(query, reply)).await?;
        Ok(Response::new(apipb::GetTableResponse {
            num_destination: counts.destinations,
            num_path: counts.paths,
            num_accepted: if let Table::AdjIn(_) = table { counts.paths } else { 0 },
        }))
    }

    type WatchEventStream = Answers<apipb::WatchEventResponse>;

    async fn watch_event(
        &self,
        call: Call<apipb::WatchEventRequest>,
    ) -> Result<Response<Self::WatchEventStream>, Status> {
        use apipb::watch_event_request::table::filter::Type;
        let request = call.into_inner();
        let mut query = WatchQuery { peers: request.peer.is_some(), ..WatchQuery::default() };
        // GoBGP tells the peers that are there whenever peers are watched.
        let mut initial = query.peers;
        for filter in request.table.iter().flat_map(|table| &table.filters) {
            match filter.r#type() {
                Type::Best => query.best = true,
                // The Adj-RIB-In is what the import policy left of it.
                Type::Adjin | Type::PostPolicy => query.adj_in = true,
            }
            initial |= filter.init;
        }
        let watch = Watch::start(self.0.clone(), query).await?;
        Ok(stream(EVENTS_AHEAD, move |outlet| watch.follow(initial, outlet, told)))
    }

    type ListPeerGroupStream = Nothing;
    async fn list_peer_group(&self, _: Call<apipb::NothingRequest>) -> Result<Response<Nothing>, Status> {
        nothing()
    }

    type ListDynamicNeighborStream = Nothing;
    async fn list_dynamic_neighbor(
        &self,
        _: Call<apipb::NothingRequest>,
    ) -> Result<Response<Nothing>, Status> {
        nothing()
    }

    type ListVrfStream = Nothing;
    async fn list_vrf(&self, _: Call<apipb::NothingRequest>) -> Result<Response<Nothing>, Status> {
        nothing()
    }

    type ListPolicyStream = Nothing;
    async fn list_policy(&self, _: Call<apipb::NothingRequest>) -> Result<Response<Nothing>, Status> {
        nothing()
    }

    type ListDefinedSetStream = Nothing;
    async fn list_defined_set(&self, _: Call<apipb::NothingRequest>) -> Result<Response<Nothing>, Status> {
        nothing()
    }

    type ListStatementStream = Nothing;
    async fn list_statement(&self, _: Call<apipb::NothingRequest>) -> Result<Response<Nothing>, Status> {
        nothing()
    }

    type ListPolicyAssignmentStream = Nothing;
    async fn list_policy_assignment(
        &self,
        _: Call<apipb::NothingRequest>,
    ) -> Result<Response<Nothing>, Status> {
        nothing()
    }

    type ListRpkiStream = Nothing;
    async fn list_rpki(&self, _: Call<apipb::NothingRequest>) -> Result<Response<Nothing>, Status> {
        nothing()
    }

    type ListRpkiTableStream = Nothing;
    async fn list_rpki_table(&self, _: Call<apipb::NothingRequest>) -> Result<Response<Nothing>, Status> {
        nothing()
    }

    type ListBmpStream = Nothing;
    async fn list_bmp(&self, _: Call<apipb::NothingRequest>) -> Result<Response<Nothing>, Status> {
        nothing()
    }
}

/// What a watcher is told, in GoBGP's words. It has none for missed events: the stream ends with an error
/// then, rather than pretend to be whole.
fn told(told: Told) -> Option<Result<apipb::WatchEventResponse, Status>> {
    use apipb::watch_event_response::peer_event::Type;
    use apipb::watch_event_response::{Event as Of, PeerEvent, TableEvent};
    let now = SystemTime::now();
    let kind = match told {
        Told::Initial(_) => Type::Init,
        _ => Type::State,
    };
    let event = match told {
        Told::Missed(count) => {
            return Some(Err(Status::data_loss(format!("{count} events came too fast and were dropped"))));
        }
        Told::InitialEnd => Of::Peer(PeerEvent { r#type: Type::EndOfInit.into(), peer: None }),
        Told::Initial(event) | Told::New(event) => match event {
            Event::Peer(row) => {
                Of::Peer(PeerEvent { r#type: kind.into(), peer: Some(peer::peer(*row, now)) })
            }
            Event::Best(prefix, row) | Event::AdjIn(prefix, _, row) => {
                let path = match row {
                    Some(row) => path::path(prefix, row, now),
                    None => path::withdrawn(prefix, now),
                };
                Of::Table(TableEvent { paths: vec![path] })
            }
        },
    };
    Some(Ok(apipb::WatchEventResponse { event: Some(event) }))
}
