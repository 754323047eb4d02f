//! The service `kulan.v1.Kulan`: requests checked and put to the loop, pages streamed as they come.

use std::net::IpAddr;

use tonic::{Response, Status};

use super::answers::{Answers, PAGES_AHEAD, ROUTES_A_PAGE, put, stream};
use super::message::{
    Event, FibQuery, PAGE_ROWS_MAX, PathSource, PeersQuery, PrefixFilter, Request, RoutesQuery, Table,
    WatchQuery,
};
use super::proto::kulan as pb;
use super::proto::kulan::kulan_server::{Kulan, KulanServer};
use super::watch::{EVENTS_AHEAD, Told, Watch};
use super::{Speaker, convert};
use crate::types::{Family, Prefix};

/// The service, ready to be added to a server.
pub(super) fn service(speaker: Speaker) -> KulanServer<Service> {
    KulanServer::new(Service(speaker))
}

pub(super) struct Service(Speaker);

fn invalid(text: impl Into<String>) -> Status {
    Status::invalid_argument(text)
}

fn parse_address(text: &str) -> Result<IpAddr, Status> {
    text.parse().map_err(|_| invalid(format!("{text:?} is not an IP address")))
}

fn name(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// The filter that a prefix or plain address stands for, and its family.
fn parse_filter(text: &str, kind: pb::list_routes_request::Match) -> Result<(PrefixFilter, Family), Status> {
    use pb::list_routes_request::Match;
    if let Ok(address) = text.parse::<IpAddr>() {
        let host = Prefix::host(address);
        let filter = match kind {
            Match::Exact => PrefixFilter::LongestMatch(address),
            Match::Longer => PrefixFilter::Longer(host),
            Match::Shorter => PrefixFilter::Shorter(host),
        };
        return Ok((filter, host.family()));
    }
    let prefix: Prefix = text.parse().map_err(invalid)?;
    let filter = match kind {
        Match::Exact => PrefixFilter::Exact(prefix),
        Match::Longer => PrefixFilter::Longer(prefix),
        Match::Shorter => PrefixFilter::Shorter(prefix),
    };
    Ok((filter, prefix.family()))
}

#[tonic::async_trait]
impl Kulan for Service {
    async fn get_summary(
        &self,
        _: tonic::Request<pb::GetSummaryRequest>,
    ) -> Result<Response<pb::Summary>, Status> {
        let summary = self.0.ask(Request::Summary).await?;
        Ok(Response::new(convert::summary(summary, super::resident_bytes())))
    }

    type ListPeersStream = Answers<pb::PeersPage>;

    async fn list_peers(
        &self,
        request: tonic::Request<pb::ListPeersRequest>,
    ) -> Result<Response<Self::ListPeersStream>, Status> {
        let address = name(request.into_inner().address).map(|text| parse_address(&text)).transpose()?;
        let speaker = self.0.clone();
        Ok(stream(PAGES_AHEAD, |outlet| async move {
            let mut query = PeersQuery { address, after: None, limit: PAGE_ROWS_MAX };
            let mut found = false;
            loop {
                let page = speaker.peers(query.clone()).await?;
                found |= !page.rows.is_empty();
                if !page.rows.is_empty() {
                    let peers = page.rows.into_iter().map(convert::peer).collect();
                    put(&outlet, pb::PeersPage { peers }).await?;
                }
                let Some(next) = page.next else { break };
                query.after = Some(next);
            }
            match address {
                Some(address) if !found => Err(Status::not_found(format!("there is no peer {address}")))?,
                _ => Ok(()),
            }
        }))
    }

    type ListRoutesStream = Answers<pb::RoutesPage>;

    async fn list_routes(
        &self,
        request: tonic::Request<pb::ListRoutesRequest>,
    ) -> Result<Response<Self::ListRoutesStream>, Status> {
        use pb::list_routes_request as of;
        let request = request.into_inner();
        let table = match of::Table::try_from(request.table).map_err(|_| invalid("there is no such table"))? {
            of::Table::Global if request.peer.is_empty() => Table::Global,
            of::Table::Global => Err(invalid("a peer was given: choose its Adj-RIB-In or Adj-RIB-Out"))?,
            of::Table::AdjIn => Table::AdjIn(parse_address(&request.peer)?),
            of::Table::AdjOut => Table::AdjOut(parse_address(&request.peer)?),
        };
        let kind = of::Match::try_from(request.r#match).map_err(|_| invalid("there is no such match"))?;
        let mut families = convert::families(request.family).map_err(invalid)?;
        let mut filter = PrefixFilter::All;
        if !request.prefix.is_empty() {
            let (of_prefix, family) = parse_filter(&request.prefix, kind)?;
            if !families.contains(&family) {
                return Err(invalid(format!("{} is not of the family that was asked for", request.prefix)));
            }
            filter = of_prefix;
            families = vec![family];
        }
        let speaker = self.0.clone();
        Ok(stream(PAGES_AHEAD, |outlet| async move {
            for family in families {
                let domain = name(request.domain.clone());
                let mut query =
                    RoutesQuery { domain, table, family, filter, after: None, limit: ROUTES_A_PAGE };
                loop {
                    let page = speaker.routes(query.clone()).await?;
                    if !page.rows.is_empty() {
                        let routes = page.rows.into_iter().map(convert::route).collect();
                        put(&outlet, pb::RoutesPage { routes }).await?;
                    }
                    let Some(next) = page.next else { break };
                    query.after = Some(next);
                }
            }
            Ok(())
        }))
    }

    type ListFibStream = Answers<pb::FibPage>;

    async fn list_fib(
        &self,
        request: tonic::Request<pb::ListFibRequest>,
    ) -> Result<Response<Self::ListFibStream>, Status> {
        let request = request.into_inner();
        let families = convert::families(request.family).map_err(invalid)?;
        let speaker = self.0.clone();
        Ok(stream(PAGES_AHEAD, |outlet| async move {
            for family in families {
                let domain = name(request.domain.clone());
                let mut query = FibQuery { domain, family, after: None, limit: PAGE_ROWS_MAX };
                loop {
                    let page = speaker.ask(|reply| Request::ListFib(query.clone(), reply)).await?;
                    if !page.rows.is_empty() {
                        let routes = page.rows.into_iter().map(convert::fib_route).collect();
                        put(&outlet, pb::FibPage { routes }).await?;
                    }
                    let Some(next) = page.next else { break };
                    query.after = Some(next);
                }
            }
            Ok(())
        }))
    }

    async fn list_domains(
        &self,
        _: tonic::Request<pb::ListDomainsRequest>,
    ) -> Result<Response<pb::ListDomainsResponse>, Status> {
        let domains = self.0.ask(Request::ListDomains).await?;
        let domains = domains.into_iter().map(convert::domain).collect();
        Ok(Response::new(pb::ListDomainsResponse { domains }))
    }

    async fn get_statistics(
        &self,
        _: tonic::Request<pb::GetStatisticsRequest>,
    ) -> Result<Response<pb::Statistics>, Status> {
        let statistics = self.0.ask(Request::Statistics).await?;
        Ok(Response::new(convert::statistics(statistics)))
    }

    async fn reload(
        &self,
        _: tonic::Request<pb::ReloadRequest>,
    ) -> Result<Response<pb::ReloadResponse>, Status> {
        let changes = self.0.ask(Request::Reload).await?;
        Ok(Response::new(pb::ReloadResponse { changes }))
    }

    type WatchStream = Answers<pb::WatchEvent>;

    async fn watch(
        &self,
        request: tonic::Request<pb::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let request = request.into_inner();
        let domain = name(request.domain);
        let query = WatchQuery { domain, best: request.best, adj_in: request.adj_in, peers: request.peers };
        let watch = Watch::start(self.0.clone(), query).await?;
        Ok(stream(EVENTS_AHEAD, |outlet| watch.follow(request.initial, outlet, told)))
    }
}

/// What a watcher is told, in the words of the service.
fn told(told: Told) -> Option<Result<pb::WatchEvent, Status>> {
    use pb::watch_event::Event as Of;
    let change = |prefix: Prefix, path: Option<_>, source: Option<PathSource>| pb::RouteChange {
        prefix: prefix.to_string(),
        path: path.map(convert::path),
        source: source.map(convert::source),
    };
    let event = match told {
        Told::Missed(count) => Of::Missed(count),
        Told::InitialEnd => Of::InitialEnd(pb::InitialEnd {}),
        Told::Initial(event) | Told::New(event) => match event {
            Event::Best(prefix, path) => Of::Best(change(prefix, path, None)),
            Event::AdjIn(prefix, source, path) => Of::AdjIn(change(prefix, path, Some(source))),
            Event::Peer(peer) => Of::Peer(convert::peer(*peer)),
        },
    };
    Some(Ok(pb::WatchEvent { event: Some(event) }))
}
