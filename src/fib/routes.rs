//! What each destination should have and what the kernel has for it, in four octets a route.
//!
//! A destination's word names the wanted set of next hops and says in which of these states it is:
//!
//! - *clean*: the kernel has what is wanted;
//! - *queued*: it stands in the queue once, whose entry remembers what the kernel has;
//! - *in flight*: it is in the batch that the kernel is answering; *changed* if something else has been
//!   wanted since;
//! - *troubled*: it cannot be written now; what the kernel has and why is kept aside;
//! - *unsure*: the kernel's table is being read, and what it has for this destination is not known yet.
//!
//! So there is at most one pending operation a destination, and the newest state wins.
//!
//! Every set named by a word, a queue entry, an operation in flight or a trouble is held once for it,
//! except by words that are unsure: their holds are counted when the reading reaches them.

use std::collections::{HashMap, VecDeque};
use std::fmt;

use foldhash::fast::FixedState;

use super::objects::ObjectTable;
use crate::types::{DestId, Family, Time};

/// What the kernel has for a destination, or should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Nothing.
    Nothing,
    /// A route of ours with unknown next hops.
    Unknown,
    /// A route with the next hops of this set.
    Set(u32),
}

impl Target {
    /// The set, if it is one.
    pub fn set(self) -> Option<u32> {
        match self {
            Target::Set(set) => Some(set),
            Target::Nothing | Target::Unknown => None,
        }
    }

    fn hold(self, objects: &mut ObjectTable) {
        if let Target::Set(set) = self {
            objects.hold(set);
        }
    }

    /// Whoever named it does so no longer.
    pub fn drop_hold(self, objects: &mut ObjectTable) {
        if let Target::Set(set) = self {
            objects.drop_hold(set);
        }
    }
}

/// How long what the kernel refused waits at first; each time twice as long.
const RETRY_WAIT_MS: u64 = 100;
/// A kernel that keeps refusing is asked once a minute.
const RETRY_WAIT_MS_MAX: u64 = 60_000;

const SET_BITS: u32 = 28;
const SET_NONE: u32 = (1 << SET_BITS) - 1;

const CLEAN: u32 = 0;
const QUEUED: u32 = 1;
const FLIGHT: u32 = 2;
const CHANGED: u32 = 3;
const TROUBLED: u32 = 4;
const UNSURE: u32 = 5;

/// A wanted set and a state.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Word(u32);

impl Word {
    const EMPTY: Word = Word(SET_NONE);

    fn new(wanted: Target, state: u32) -> Word {
        Word(wanted.set().unwrap_or(SET_NONE) | state << SET_BITS)
    }

    fn wanted(self) -> Target {
        match self.0 & SET_NONE {
            SET_NONE => Target::Nothing,
            set => Target::Set(set),
        }
    }

    fn state(self) -> u32 {
        self.0 >> SET_BITS
    }

    fn is_clean_route(self) -> bool {
        self.state() == CLEAN && self != Word::EMPTY
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{}", self.wanted(), self.state())
    }
}

/// How a destination stands, for people and for comparisons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The kernel has what is wanted.
    Clean,
    /// A write is queued, under way, or waits for the kernel's table to be read.
    Pending,
    /// It cannot be written now.
    Troubled(Why),
}

/// Why a destination cannot be written now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// No next hop resolves, or the group is not in the kernel yet.
    Unresolved,
    /// A route of somebody else is in the way.
    Foreign,
    /// An earlier process left another route there, which stays for now.
    Held,
    /// The kernel said no; the number of a text is beside the errno.
    Refused { errno: i32, text: u8 },
}

#[derive(Clone, Copy, Debug)]
struct Trouble {
    old: Target,
    why: Why,
}

/// A destination of either family.
pub type Place = (Family, DestId);

/// An operation that is to be written or in flight: the kernel has `old` and should have `new`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    pub place: Place,
    pub old: Target,
    pub new: Target,
}

#[derive(Clone, Copy, Debug)]
struct Queued {
    place: Place,
    old: Target,
}

/// All destinations of a domain.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    words: [Vec<Word>; 2],
    queue: VecDeque<Queued>,
    in_flight: usize,
    troubles: HashMap<Place, Trouble, FixedState>,
    /// Routes that the kernel has as wanted.
    clean: u64,
    /// When troubles that the kernel caused are tried again, and the last wait.
    retry_at: Option<Time>,
    retry_wait_ms: u64,
}

impl Routes {
    fn word(&self, (family, dest): Place) -> Word {
        self.words[family.index()].get(dest.index()).copied().unwrap_or(Word::EMPTY)
    }

    fn set_word(&mut self, (family, dest): Place, word: Word) {
        let words = &mut self.words[family.index()];
        if dest.index() >= words.len() {
            words.resize(dest.index() + 1, Word::EMPTY);
        }
        let before = std::mem::replace(&mut words[dest.index()], word);
        self.clean = self.clean + u64::from(word.is_clean_route()) - u64::from(before.is_clean_route());
    }

    /// Wants `wanted` at a destination. `sure` is false if the kernel's table is being read and this
    /// destination was not reached yet.
    pub fn want(&mut self, place: Place, wanted: Target, sure: bool, objects: &mut ObjectTable) {
        let word = self.word(place);
        let before = word.wanted();
        if !sure {
            self.set_word(place, Word::new(wanted, UNSURE));
            return;
        }
        if before == wanted {
            return;
        }
        wanted.hold(objects);
        let state = match word.state() {
            CLEAN => {
                // The word's hold passes to the entry.
                self.queue.push_back(Queued { place, old: before });
                QUEUED
            }
            TROUBLED => {
                before.drop_hold(objects);
                let old = self.troubles.remove(&place).map_or(Target::Nothing, |trouble| trouble.old);
                self.queue.push_back(Queued { place, old });
                QUEUED
            }
            FLIGHT | CHANGED => {
                before.drop_hold(objects);
                CHANGED
            }
            state => {
                before.drop_hold(objects);
                state
            }
        };
        self.set_word(place, Word::new(wanted, state));
    }

    /// Whether the destination's prefix is still needed.
    pub fn holds(&self, place: Place) -> bool {
        self.word(place) != Word::EMPTY
    }

    /// What is wanted at a destination and how it stands.
    pub fn standing(&self, place: Place) -> (Target, Standing) {
        let word = self.word(place);
        let standing = match word.state() {
            CLEAN => Standing::Clean,
            TROUBLED => {
                self.troubles.get(&place).map_or(Standing::Pending, |trouble| Standing::Troubled(trouble.why))
            }
            _ => Standing::Pending,
        };
        (word.wanted(), standing)
    }

    /// One past the highest destination that was ever wanted.
    pub fn end(&self, family: Family) -> u32 {
        self.words[family.index()].len() as u32
    }

    /// Routes that the kernel has as wanted; operations waiting; routes that cannot be written.
    pub fn counts(&self) -> (u64, u64, u64) {
        (self.clean, (self.queue.len() + self.in_flight) as u64, self.troubles.len() as u64)
    }

    /// Whether something waits to be written.
    pub fn has_queued(&self) -> bool {
        !self.queue.is_empty()
    }

    /// The next change to be written; it is in flight from here on, until [`Routes::done`],
    /// [`Routes::failed`] or [`Routes::put_back`]. Changes that have become none are skipped.
    pub fn poll_change(&mut self, objects: &mut ObjectTable) -> Option<Change> {
        while let Some(Queued { place, old }) = self.queue.pop_front() {
            let new = self.word(place).wanted();
            if old == new {
                old.drop_hold(objects);
                self.settle(place, new);
                continue;
            }
            self.set_word(place, Word::new(new, FLIGHT));
            self.in_flight += 1;
            return Some(Change { place, old, new });
        }
        None
    }

    fn settle(&mut self, place: Place, wanted: Target) {
        let word = match wanted {
            Target::Set(_) => Word::new(wanted, CLEAN),
            Target::Nothing | Target::Unknown => Word::EMPTY,
        };
        self.set_word(place, word);
    }

    /// The kernel has made the change.
    pub fn done(&mut self, change: Change, objects: &mut ObjectTable) {
        self.in_flight -= 1;
        change.old.drop_hold(objects);
        let word = self.word(change.place);
        if word.state() == CHANGED {
            change.new.hold(objects);
            self.queue.push_back(Queued { place: change.place, old: change.new });
            self.set_word(change.place, Word::new(word.wanted(), QUEUED));
        } else {
            self.settle(change.place, change.new);
        }
    }

    /// The change was not sent after all, or is to be sent again at once.
    pub fn put_back(&mut self, change: Change) {
        self.in_flight -= 1;
        let word = self.word(change.place);
        self.queue.push_front(Queued { place: change.place, old: change.old });
        self.set_word(change.place, Word::new(word.wanted(), QUEUED));
    }

    /// The change cannot be made now.
    pub fn failed(&mut self, now: Time, change: Change, why: Why) {
        if self.word(change.place).state() == CHANGED {
            self.put_back(change);
            return;
        }
        self.in_flight -= 1;
        self.troubles.insert(change.place, Trouble { old: change.old, why });
        self.set_word(change.place, Word::new(change.new, TROUBLED));
        if matches!(why, Why::Refused { .. }) && self.retry_at.is_none() {
            self.retry_wait_ms = (self.retry_wait_ms * 2).clamp(RETRY_WAIT_MS, RETRY_WAIT_MS_MAX);
            self.retry_at = Some(now.plus_ms(self.retry_wait_ms));
        }
    }

    /// When refused changes are to be tried again.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.retry_at
    }

    /// Queues again what the kernel refused, if it is time.
    pub fn retry(&mut self, now: Time) {
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
            self.retry_where(|_, _, why| matches!(why, Why::Refused { .. }));
        }
    }

    /// The kernel has taken a whole batch: if nothing waits to be tried again, the next refusal starts
    /// with the shortest wait.
    pub fn calm(&mut self) {
        if self.retry_at.is_none() {
            self.retry_wait_ms = 0;
        }
    }

    /// Queues again the troubled destinations that `which` names by place, wanted set and reason.
    pub fn retry_where(&mut self, mut which: impl FnMut(Place, Target, Why) -> bool) {
        let mut places: Vec<(Place, Target)> = Vec::new();
        for (place, trouble) in &self.troubles {
            if which(*place, self.word(*place).wanted(), trouble.why) {
                places.push((*place, trouble.old));
            }
        }
        // In the order of the slab, so that a run does not depend on how a map is laid out.
        places.sort_unstable_by_key(|(place, _)| *place);
        for (place, old) in places {
            self.troubles.remove(&place);
            let wanted = self.word(place).wanted();
            self.set_word(place, Word::new(wanted, QUEUED));
            self.queue.push_back(Queued { place, old });
        }
    }

    /// Whether any destination is troubled.
    pub fn has_troubles(&self) -> bool {
        !self.troubles.is_empty()
    }

    /// Queues the clean destinations from `at` on whose set `which` names, as if the kernel had a route
    /// with unknown next hops there; looks at up to `budget` and returns where to go on.
    pub fn requeue_from(
        &mut self,
        family: Family,
        at: u32,
        budget: u32,
        objects: &mut ObjectTable,
        which: impl Fn(&ObjectTable, u32) -> bool,
    ) -> Option<u32> {
        let until = at.saturating_add(budget).min(self.end(family));
        for dest in at..until {
            let place = (family, DestId(dest));
            let word = self.word(place);
            if let Target::Set(set) = word.wanted()
                && word.state() == CLEAN
                && which(objects, set)
            {
                self.mend(place, Target::Unknown, objects);
            }
        }
        (until < self.end(family)).then_some(until)
    }

    /// What waits may believe that the kernel has routes of sets that `which` names: it may not have them any more.
    pub fn doubt_old(&mut self, objects: &mut ObjectTable, which: impl Fn(&ObjectTable, u32) -> bool) {
        let queued = self.queue.iter_mut().map(|queued| &mut queued.old);
        let troubled = self.troubles.values_mut().map(|trouble| &mut trouble.old);
        for old in queued.chain(troubled) {
            if old.set().is_some_and(|set| which(objects, set)) {
                std::mem::replace(old, Target::Unknown).drop_hold(objects);
            }
        }
    }

    /// The kernel was found to have `old`, which is no set, at a destination: a clean one is queued again. False: a
    /// write is queued or under way that does not know it.
    pub fn mend(&mut self, place: Place, old: Target, objects: &mut ObjectTable) -> bool {
        let word = self.word(place);
        match word.state() {
            CLEAN => {
                self.queue.push_back(Queued { place, old });
                self.set_word(place, Word::new(word.wanted(), QUEUED));
                true
            }
            TROUBLED => {
                if let Some(trouble) = self.troubles.get_mut(&place) {
                    std::mem::replace(&mut trouble.old, old).drop_hold(objects);
                }
                true
            }
            _ => false,
        }
    }

    /// The kernel's table is about to be read: nothing is known about any destination.
    pub fn begin_doubt(&mut self) {
        self.queue.clear();
        self.troubles.clear();
        self.in_flight = 0;
        self.clean = 0;
        self.retry_at = None;
        for word in self.words.iter_mut().flatten().filter(|word| **word != Word::EMPTY) {
            *word = Word::new(word.wanted(), UNSURE);
        }
    }

    /// The kernel was found to have `old` at an unsure destination.
    pub fn end_doubt(&mut self, place: Place, old: Target, objects: &mut ObjectTable) {
        let wanted = self.word(place).wanted();
        wanted.hold(objects);
        if old == wanted {
            self.settle(place, wanted);
        } else {
            old.hold(objects);
            self.queue.push_back(Queued { place, old });
            self.set_word(place, Word::new(wanted, QUEUED));
        }
    }
}
