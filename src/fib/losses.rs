//! What others removed or changed in the kernel, until it is put back.
//!
//! Somebody who removes a route of ours is either mistaken, and then it should be back soon, or fights us, and then
//! nobody wins: so whatever is lost again soon after it was put back waits twice as long each time, up to a minute.
//! Each route and each next-hop object has a wait of its own; one that is fought over does not delay the others.
//!
//! A loss is remembered for a while after it was mended, which is how the next one is known to be a repetition. The
//! number of them is bounded: whoever removes a whole table is answered by one reading of the table
//! ([`Losses::note`] says so), not route by route.

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BinaryHeap, HashMap};
use std::hash::Hash;

use foldhash::fast::FixedState;

use crate::types::Time;

/// The wait before the second repair of the same thing; each time twice as long.
const WAIT_MS: u64 = 1_000;
/// What is fought over is put back once a minute.
const WAIT_MS_MAX: u64 = 60_000;

/// What has stayed for so long after a repair starts with the first wait again. Longer than the longest wait, or a
/// fight would be forgotten while it goes on.
const REMEMBERED_S: u64 = 300;

/// Losses that are remembered one by one: some 10 MB. Beyond it the table is read anew and compared.
const LOSSES_MAX: usize = 100_000;

/// What the kernel has at a place of ours after somebody else was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// A route with our protocol number and this next-hop object; or an object with this id and another content.
    Other(u32),
    /// A route of somebody else.
    Foreign,
    /// It came between a write of ours and its answer: which of the two was first is not known.
    Unsure,
}

#[derive(Clone, Copy, Debug)]
struct Loss {
    /// While it is lost, what the kernel has.
    found: Option<Found>,
    /// When it is to be put back, or forgotten.
    at: Time,
    wait_ms: u64,
}

/// What was lost, by prefix or by the id of an object.
#[derive(Clone, Debug)]
pub struct Losses<K> {
    first_wait_ms: u64,
    known: HashMap<K, Loss, FixedState>,
    /// A moment for each loss, and earlier ones that are void.
    due: BinaryHeap<Reverse<(Time, K)>>,
}

impl<K: Copy + Ord + Hash> Losses<K> {
    /// None yet. What is lost for the first time is put back after `first_wait_ms`.
    pub fn new(first_wait_ms: u64) -> Losses<K> {
        Losses { first_wait_ms, known: HashMap::default(), due: BinaryHeap::new() }
    }

    /// Somebody else removed or changed this. False: there is no room to remember it.
    #[must_use]
    pub fn note(&mut self, now: Time, key: K, found: Found) -> bool {
        let full = self.known.len() >= LOSSES_MAX;
        let loss = match self.known.entry(key) {
            Entry::Vacant(_) if full => return false,
            Entry::Vacant(vacant) => {
                vacant.insert(Loss { found: None, at: Time(0), wait_ms: self.first_wait_ms })
            }
            Entry::Occupied(occupied) => {
                let loss = occupied.into_mut();
                if loss.found.is_none() {
                    loss.wait_ms = (loss.wait_ms * 2).clamp(WAIT_MS, WAIT_MS_MAX);
                }
                loss
            }
        };
        if loss.found.replace(found).is_none() {
            loss.at = now.plus_ms(loss.wait_ms);
            self.due.push(Reverse((loss.at, key)));
        }
        true
    }

    /// What the kernel has, if this is lost and was not put back yet.
    pub fn get(&self, key: K) -> Option<Found> {
        self.known.get(&key)?.found
    }

    /// Whether nothing is lost or remembered.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// It is being written anyway. What the kernel had, if it was lost.
    pub fn take(&mut self, now: Time, key: K) -> Option<Found> {
        let loss = self.known.get_mut(&key)?;
        let found = loss.found.take()?;
        loss.at = now.plus_s(REMEMBERED_S);
        self.due.push(Reverse((loss.at, key)));
        Some(found)
    }

    /// Something to be put back now: it counts as put back from here on.
    pub fn poll_due(&mut self, now: Time) -> Option<(K, Found)> {
        while let Some(&Reverse((at, key))) = self.due.peek()
            && at <= now
        {
            self.due.pop();
            if self.known.get(&key).is_none_or(|loss| loss.at != at) {
                continue;
            }
            match self.take(now, key) {
                Some(found) => return Some((key, found)),
                None => drop(self.known.remove(&key)),
            }
        }
        None
    }

    /// What [`Losses::poll_due`] gave cannot be put back yet: it stays lost, and is looked at again, ever more rarely.
    pub fn keep(&mut self, now: Time, key: K, found: Found) {
        if let Some(loss) = self.known.get_mut(&key) {
            loss.found = Some(found);
            loss.wait_ms = (loss.wait_ms * 2).clamp(WAIT_MS, REMEMBERED_S * 1000);
            loss.at = now.plus_ms(loss.wait_ms);
            self.due.push(Reverse((loss.at, key)));
        }
    }

    /// The kernel's state is being read as a whole: nothing is lost any more. What was lost stays known, so that a
    /// fight is still seen as one.
    pub fn settle(&mut self, now: Time) {
        for (key, loss) in &mut self.known {
            if loss.found.take().is_some() {
                loss.at = now.plus_s(REMEMBERED_S);
                self.due.push(Reverse((loss.at, *key)));
            }
        }
    }

    /// When [`Losses::poll_due`] may have something, at the earliest.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.due.peek().map(|Reverse((at, _))| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets time pass until something is to be put back; how long that took, in milliseconds.
    fn wait(losses: &mut Losses<u32>, now: &mut Time) -> u64 {
        let before = *now;
        loop {
            *now = losses.poll_timeout().expect("something is lost").max(*now);
            if losses.poll_due(*now).is_some() {
                return now.since_ms(before);
            }
        }
    }

    #[test]
    fn what_is_fought_over_waits_longer_each_time_and_delays_nothing_else() {
        let (mut losses, mut now) = (Losses::new(WAIT_MS), Time(5));
        let mut waits = Vec::new();
        for _ in 0..8 {
            assert!(losses.note(now, 1, Found::Nothing));
            waits.push(wait(&mut losses, &mut now));
        }
        assert_eq!(waits, [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
        assert!(losses.note(now, 2, Found::Nothing));
        assert_eq!(wait(&mut losses, &mut now), 1_000);
    }

    #[test]
    fn what_stays_for_five_minutes_starts_anew() {
        let (mut losses, mut now) = (Losses::new(0), Time(5));
        for _ in 0..3 {
            assert!(losses.note(now, 1, Found::Nothing));
            wait(&mut losses, &mut now);
        }
        now = now.plus_s(REMEMBERED_S);
        assert_eq!(losses.poll_due(now), None);
        assert!(losses.is_empty() && losses.poll_timeout().is_none());
        assert!(losses.note(now, 1, Found::Nothing));
        assert_eq!(losses.poll_due(now), Some((1, Found::Nothing)));
    }

    #[test]
    fn a_loss_that_changes_keeps_its_moment_and_the_newest_state_counts() {
        let (mut losses, now) = (Losses::new(WAIT_MS), Time(5));
        assert!(losses.note(now, 1, Found::Nothing));
        assert!(losses.note(now.plus_ms(999), 1, Found::Other(7)));
        assert_eq!(losses.poll_due(now.plus_ms(999)), None);
        assert_eq!(losses.poll_due(now.plus_ms(1_000)), Some((1, Found::Other(7))));
        assert_eq!(losses.get(1), None);
    }

    #[test]
    fn their_number_is_bounded() {
        let mut losses = Losses::new(WAIT_MS);
        for key in 0..LOSSES_MAX {
            assert!(losses.note(Time(5), key, Found::Nothing));
        }
        assert!(!losses.note(Time(5), LOSSES_MAX, Found::Nothing));
        assert!(losses.note(Time(6), 0, Found::Nothing), "what is known may change");
    }
}
