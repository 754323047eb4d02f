//! A watch: what is there already, where that is wanted, and then what happens.

use tonic::Status;

use super::answers::{Outlet, ROUTES_A_PAGE, Stop};
use super::message::{
    EVENTS_MAX, Event, EventSource, Notice, PAGE_ROWS_MAX, PeersQuery, PrefixFilter, Request, RouteRow,
    RoutesQuery, Table, WatchQuery, event_channel,
};
use super::{AskError, Speaker};
use crate::types::Family;

/// How many events wait for the caller here; the bulk of the room is in the event channel.
pub(super) const EVENTS_AHEAD: usize = 64;

/// What a watcher is told.
pub(super) enum Told {
    /// Something that is there already.
    Initial(Event),
    /// What was there already has been told.
    InitialEnd,
    /// Something that happened.
    New(Event),
    /// So many events were dropped.
    Missed(u64),
}

impl From<Notice> for Told {
    fn from(notice: Notice) -> Told {
        match notice {
            Notice::Event(event) => Told::New(event),
            Notice::Missed(count) => Told::Missed(count),
        }
    }
}

/// A subscription that stands.
pub(super) struct Watch {
    speaker: Speaker,
    query: WatchQuery,
    source: EventSource,
}

impl Watch {
    /// Subscribes.
    pub(super) async fn start(speaker: Speaker, query: WatchQuery) -> Result<Watch, AskError> {
        let (sink, source) = event_channel();
        speaker.ask(|reply| Request::Watch(query.clone(), sink, reply)).await?;
        Ok(Watch { speaker, query, source })
    }

    /// Tells everything, in the words that `word` finds for it, until the caller hangs up or the daemon
    /// stops. What has no words is left out.
    pub(super) async fn follow<T>(
        mut self,
        initial: bool,
        outlet: Outlet<T>,
        word: fn(Told) -> Option<Result<T, Status>>,
    ) -> Result<(), Stop> {
        let mut teller = Teller { outlet, word };
        if initial {
            self.initial_peers(&mut teller).await?;
            self.initial_routes(&mut teller).await?;
            teller.tell(Told::InitialEnd).await?;
        }
        loop {
            let notice = tokio::select! {
                notice = self.source.next() => notice,
                // A quiet watch would not notice otherwise that nobody listens any more.
                () = teller.outlet.closed() => return Err(Stop::HungUp),
            };
            match notice {
                Some(notice) => teller.tell(notice.into()).await?,
                None => return Ok(()),
            }
        }
    }

    /// Tells the events that have come while a page was made and told.
    ///
    /// A page is told before them. One that is older than the page repeats what has passed by that order,
    /// but the last event of a thing is always told after any page with it, so the watcher ends up with
    /// the truth. No more than the channel holds are told here, or a busy speaker would let no dump end.
    async fn events_until_now<T>(&mut self, teller: &mut Teller<T>) -> Result<(), Stop> {
        for _ in 0..EVENTS_MAX {
            let Some(notice) = self.source.try_next() else { break };
            teller.tell(notice.into()).await?;
        }
        Ok(())
    }

    async fn initial_peers<T>(&mut self, teller: &mut Teller<T>) -> Result<(), Stop> {
        if !self.query.peers {
            return Ok(());
        }
        let mut page = PeersQuery { address: None, after: None, limit: PAGE_ROWS_MAX };
        loop {
            let answer = self.speaker.peers(page.clone()).await?;
            for peer in answer.rows {
                teller.tell(Told::Initial(Event::Peer(Box::new(peer)))).await?;
            }
            self.events_until_now(teller).await?;
            let Some(next) = answer.next else { return Ok(()) };
            page.after = Some(next);
        }
    }

    /// The best paths, or the Adj-RIBs-In, from one walk of the Loc-RIB: it has all paths.
    async fn initial_routes<T>(&mut self, teller: &mut Teller<T>) -> Result<(), Stop> {
        if !self.query.best && !self.query.adj_in {
            return Ok(());
        }
        for family in Family::ALL {
            let mut page = RoutesQuery {
                domain: self.query.domain.clone(),
                table: Table::Global,
                family,
                filter: PrefixFilter::All,
                after: None,
                limit: ROUTES_A_PAGE,
            };
            loop {
                let answer = self.speaker.routes(page.clone()).await?;
                for row in answer.rows {
                    for event in route_events(row, &self.query) {
                        teller.tell(Told::Initial(event)).await?;
                    }
                }
                self.events_until_now(teller).await?;
                let Some(next) = answer.next else { break };
                page.after = Some(next);
            }
        }
        Ok(())
    }
}

struct Teller<T> {
    outlet: Outlet<T>,
    word: fn(Told) -> Option<Result<T, Status>>,
}

impl<T> Teller<T> {
    async fn tell(&mut self, told: Told) -> Result<(), Stop> {
        match (self.word)(told) {
            None => Ok(()),
            Some(Ok(item)) => self.outlet.send(Ok(item)).await.map_err(|_| Stop::HungUp),
            Some(Err(status)) => Err(Stop::Failed(status)),
        }
    }
}

/// What a route that is there already means to a watcher.
fn route_events(row: RouteRow, query: &WatchQuery) -> Vec<Event> {
    let mut events = Vec::new();
    for path in row.paths {
        if query.adj_in
            && let Some(source) = path.source
        {
            events.push(Event::AdjIn(row.prefix, source, Some(path.clone())));
        }
        if query.best && path.best {
            events.push(Event::Best(row.prefix, Some(path)));
        }
    }
    events
}
