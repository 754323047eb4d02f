//! What watchers are told, and the bounded way there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use super::{PathRow, PathSource, PeerStatus};
use crate::types::Prefix;

/// How many events may wait for one slow watcher before events are dropped for it.
pub const EVENTS_MAX: usize = 4096;

/// What to watch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchQuery {
    /// The routing domain whose routes are watched; nothing: the first one.
    pub domain: Option<String>,
    /// Best paths as they change: [`Event::Best`].
    pub best: bool,
    /// Routes as peers announce and withdraw them: [`Event::AdjIn`].
    pub adj_in: bool,
    /// Peers as their state changes: [`Event::Peer`].
    pub peers: bool,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The best path of a destination changed; nothing: there is none any more.
    Best(Prefix, Option<PathRow>),
    /// A peer announced a route and the import policy let it in; nothing: the route has gone.
    AdjIn(Prefix, PathSource, Option<PathRow>),
    /// A peer's state or administrative state changed.
    Peer(Box<PeerStatus>),
}

/// Where the events of one watcher go. It never blocks: a watcher that is too slow loses events, and is
/// told how many.
#[derive(Debug)]
pub struct EventSink {
    events: mpsc::Sender<Event>,
    missed: Arc<AtomicU64>,
}

/// The watcher's end of an [`EventSink`].
#[derive(Debug)]
pub struct EventSource {
    events: mpsc::Receiver<Event>,
    missed: Arc<AtomicU64>,
}

/// What a watcher gets.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// Something happened.
    Event(Event),
    /// So many events were dropped, because they came faster than they were taken away.
    Missed(u64),
}

/// A connected pair for one watcher, with room for [`EVENTS_MAX`] events.
pub fn event_channel() -> (EventSink, EventSource) {
    let (sender, receiver) = mpsc::channel(EVENTS_MAX);
    let missed = Arc::new(AtomicU64::new(0));
    (EventSink { events: sender, missed: missed.clone() }, EventSource { events: receiver, missed })
}

impl EventSink {
    /// Hands over an event, or counts it as missed if the watcher is too slow. Returns false when nobody
    /// listens any more and the sink should be dropped.
    pub fn send(&self, event: Event) -> bool {
        match self.events.try_send(event) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                // The watcher reads the count after each event, and a full queue means that one is
                // still to be read: the loss cannot go unnoticed.
                self.missed.fetch_add(1, Ordering::Relaxed);
                true
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }

    /// Whether nobody listens any more.
    pub fn is_closed(&self) -> bool {
        self.events.is_closed()
    }
}

impl EventSource {
    /// Waits for what comes next; nothing: the daemon is stopping. Losses are told before the events
    /// that were queued when they happened.
    pub async fn next(&mut self) -> Option<Notice> {
        let missed = self.missed.swap(0, Ordering::Relaxed);
        if missed > 0 {
            return Some(Notice::Missed(missed));
        }
        self.events.recv().await.map(Notice::Event)
    }

    /// What is there already, without waiting.
    pub fn try_next(&mut self) -> Option<Notice> {
        let missed = self.missed.swap(0, Ordering::Relaxed);
        if missed > 0 {
            return Some(Notice::Missed(missed));
        }
        self.events.try_recv().ok().map(Notice::Event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn withdrawal(third: u8) -> Event {
        Event::Best(Prefix::of([10, 0, third, 0].into(), 24).unwrap(), None)
    }

    #[test]
    fn a_slow_watcher_is_told_how_much_it_missed() {
        let (sink, mut source) = event_channel();
        for _ in 0..EVENTS_MAX + 7 {
            assert!(sink.send(withdrawal(1)));
        }
        assert_eq!(source.try_next(), Some(Notice::Missed(7)));
        for _ in 0..EVENTS_MAX {
            assert_eq!(source.try_next(), Some(Notice::Event(withdrawal(1))));
        }
        assert_eq!(source.try_next(), None);
        assert!(sink.send(withdrawal(2)));
        assert_eq!(source.try_next(), Some(Notice::Event(withdrawal(2))));
    }

    #[test]
    fn a_sink_without_a_watcher_says_so() {
        let (sink, source) = event_channel();
        drop(source);
        assert!(!sink.send(withdrawal(1)));
        assert!(sink.is_closed());
    }
}
