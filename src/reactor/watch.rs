//! Those who watch: subscriptions of the control thread, told once a turn what happened in it.

use crate::control::message::{Event, EventSink, WatchQuery};
use crate::control::respond;
use crate::speaker::Speaker;
use crate::types::*;

/// Every subscription.
#[derive(Default)]
pub(super) struct Watchers {
    sinks: Vec<(WatchQuery, EventSink)>,
}

impl Watchers {
    /// Adds a subscription: from now on the speaker collects what it wants to know.
    pub fn add(&mut self, speaker: &mut Speaker, query: WatchQuery, sink: EventSink) {
        self.sinks.push((query, sink));
        self.subscribe(speaker);
    }

    fn subscribe(&self, speaker: &mut Speaker) {
        let any = |wants: fn(&WatchQuery) -> bool| self.sinks.iter().any(|(query, _)| wants(query));
        speaker.watch.routes = any(|query| query.best);
        speaker.watch.adj_in = any(|query| query.adj_in);
        speaker.watch.peers = any(|query| query.peers);
    }

    /// Hands over what the speaker has collected.
    pub fn tell(&mut self, speaker: &mut Speaker, now: Time) {
        if self.sinks.is_empty() {
            return;
        }
        let changed = std::mem::take(&mut speaker.watch.changed);
        let said = std::mem::take(&mut speaker.watch.said);
        let mut peer_changes = std::mem::take(&mut speaker.watch.peer_changes);
        // Who shuts a session down that was up changes its state twice in one go.
        peer_changes.dedup();
        let view = &*speaker;
        self.sinks.retain(|(query, sink)| {
            let mut listening = !sink.is_closed();
            let mut tell = |event| listening = listening && sink.send(event);
            if query.peers {
                let statuses = peer_changes.iter().filter_map(|id| respond::status(view, now, *id));
                statuses.for_each(|status| tell(Event::Peer(Box::new(status))));
            }
            if query.best {
                changed.iter().for_each(|prefix| tell(best(view, *prefix)));
            }
            if query.adj_in {
                said.iter().filter_map(|(peer, prefix)| adj_in(view, *peer, *prefix)).for_each(&mut tell);
            }
            listening
        });
        self.subscribe(speaker);
    }
}

fn best(speaker: &Speaker, prefix: Prefix) -> Event {
    let dest = speaker.rib.find(prefix);
    let best = dest.and_then(|dest| speaker.rib.best(prefix.family(), dest));
    Event::Best(prefix, best.map(|path| respond::path_row(speaker, path, true, true)))
}

/// What a peer's table holds of a prefix by now; nothing if the peer has gone meanwhile.
fn adj_in(speaker: &Speaker, peer: PeerId, prefix: Prefix) -> Option<Event> {
    let source = respond::source(speaker, peer)?;
    let dest = speaker.rib.find(prefix);
    let path = dest.and_then(|dest| speaker.rib.paths(prefix.family(), dest).find(|path| path.peer == peer));
    Some(Event::AdjIn(prefix, source, path.map(|path| respond::path_row(speaker, path, false, false))))
}
