//! A hierarchical timing wheel: one timer a key, set and cancelled in constant time.
//!
//! Seven wheels of 64 buckets; a bucket of the first is one millisecond wide, a bucket of the next as wide
//! as the whole wheel before it. A timer lies in the bucket where its deadline first differs from the
//! wheel's clock, and falls to a finer wheel when the clock reaches that bucket, so at most six times in
//! its life. Buckets are doubly linked lists threaded through one array indexed by key: nothing is
//! allocated but when a key larger than all before it is set, and a timer costs 24 bytes.
//!
//! What it guarantees: [`TimingWheel::poll_expired`] yields a key at the first call with
//! `now >= deadline` and never before, once for each time that it was set; order within one call is
//! unspecified between timers of the same millisecond and by deadline otherwise.

use crate::types::Time;

const LEVELS: usize = 7;
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
/// The list of timers that are due and wait to be polled; the buckets come before it.
const EXPIRED: u16 = (LEVELS * SLOTS) as u16;
const NOWHERE: u16 = u16::MAX;
const NONE: u32 = u32::MAX;

/// The last moment that the wheels can hold: 139 years. Later deadlines are taken for this one.
const LAST_MS: u64 = (1 << (SLOT_BITS * LEVELS as u32)) - 1;

#[derive(Clone, Copy)]
struct Entry {
    deadline_ms: u64,
    next: u32,
    prev: u32,
    /// The list that the timer is in, or [`NOWHERE`].
    bucket: u16,
}

const UNSET: Entry = Entry { deadline_ms: 0, next: NONE, prev: NONE, bucket: NOWHERE };

/// Timers named by small numbers; see the module's essay.
pub struct TimingWheel {
    entries: Vec<Entry>,
    heads: [u32; LEVELS * SLOTS + 1],
    /// The expired list is polled from its head and filled at its tail, to keep deadlines in order.
    expired_tail: u32,
    /// One bit a bucket that is not empty.
    occupied: [u64; LEVELS],
    /// Everything due up to here has been moved to the expired list.
    clock_ms: u64,
    len: usize,
}

impl Default for TimingWheel {
    fn default() -> TimingWheel {
        TimingWheel::new()
    }
}

impl TimingWheel {
    /// An empty wheel whose clock stands at zero.
    pub fn new() -> TimingWheel {
        TimingWheel {
            entries: Vec::new(),
            heads: [NONE; LEVELS * SLOTS + 1],
            expired_tail: NONE,
            occupied: [0; LEVELS],
            clock_ms: 0,
            len: 0,
        }
    }

    /// How many timers are set.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no timer is set.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The deadline of `key`, if it is set.
    pub fn deadline(&self, key: u32) -> Option<Time> {
        self.entries
            .get(key as usize)
            .filter(|entry| entry.bucket != NOWHERE)
            .map(|entry| Time(entry.deadline_ms))
    }

    /// Sets the timer of `key`, in place of the one it may have. A deadline in the past is due at the next
    /// poll.
    pub fn set(&mut self, key: u32, deadline: Time) {
        self.cancel(key);
        if self.entries.len() <= key as usize {
            self.entries.resize(key as usize + 1, UNSET);
        }
        self.entries[key as usize].deadline_ms = deadline.0.min(LAST_MS);
        self.insert(key);
        self.len += 1;
    }

    /// Sets the timer of `key` unless it has one that is due no later. Deadlines that only move away, as a
    /// hold timer's do with every message, so never touch the wheel: the owner looks again when it fires.
    pub fn set_no_later_than(&mut self, key: u32, deadline: Time) {
        if self.deadline(key).is_none_or(|current| deadline < current) {
            self.set(key, deadline);
        }
    }

    /// Forgets the timer of `key`, if there is one.
    pub fn cancel(&mut self, key: u32) {
        if self.entries.get(key as usize).is_some_and(|entry| entry.bucket != NOWHERE) {
            self.unlink(key);
            self.len -= 1;
        }
    }

    /// The next key whose deadline is at or before `now`; its timer is no longer set. Timers may be set and
    /// cancelled between calls. One that is set to `now` or earlier by the caller's own loop is yielded by
    /// that loop too.
    pub fn poll_expired(&mut self, now: Time) -> Option<u32> {
        if self.heads[EXPIRED as usize] == NONE {
            self.advance(now.0.min(LAST_MS));
        }
        let key = self.heads[EXPIRED as usize];
        if key == NONE {
            return None;
        }
        self.unlink(key);
        self.len -= 1;
        Some(key)
    }

    /// When [`TimingWheel::poll_expired`] has something to do next: never after the earliest deadline, and
    /// up to six times before it while a timer falls from wheel to wheel. Nothing: no timer is set.
    pub fn next_wakeup(&self) -> Option<Time> {
        if self.heads[EXPIRED as usize] != NONE {
            return Some(Time(self.clock_ms));
        }
        self.next_bucket().map(|(_, start_ms)| Time(start_ms))
    }

    /// The first bucket that is not empty, and the moment at which it begins. A bucket of a finer wheel
    /// always begins before those of coarser ones.
    fn next_bucket(&self) -> Option<(usize, u64)> {
        let level = self.occupied.iter().position(|bits| *bits != 0)?;
        let slot = self.occupied[level].trailing_zeros();
        let shift = SLOT_BITS * level as u32;
        let lap_start_ms = self.clock_ms >> (shift + SLOT_BITS) << (shift + SLOT_BITS);
        Some((level * SLOTS + slot as usize, lap_start_ms | u64::from(slot) << shift))
    }

    /// Moves the clock to `now_ms` and whatever is due by then to the expired list.
    fn advance(&mut self, now_ms: u64) {
        while let Some((bucket, start_ms)) = self.next_bucket() {
            if start_ms > now_ms {
                break;
            }
            self.clock_ms = start_ms;
            // Each entry now differs from the clock at a finer level, or is due.
            while self.heads[bucket] != NONE {
                let key = self.heads[bucket];
                self.unlink(key);
                self.insert(key);
            }
        }
        self.clock_ms = self.clock_ms.max(now_ms);
    }

    fn insert(&mut self, key: u32) {
        let deadline_ms = self.entries[key as usize].deadline_ms;
        if deadline_ms <= self.clock_ms {
            return self.link_expired(key);
        }
        let level = (deadline_ms ^ self.clock_ms).ilog2() / SLOT_BITS;
        let slot = (deadline_ms >> (SLOT_BITS * level)) as usize & (SLOTS - 1);
        let bucket = level as usize * SLOTS + slot;
        let head = self.heads[bucket];
        if head != NONE {
            self.entries[head as usize].prev = key;
        }
        let entry = &mut self.entries[key as usize];
        (entry.next, entry.prev, entry.bucket) = (head, NONE, bucket as u16);
        self.heads[bucket] = key;
        self.occupied[level as usize] |= 1 << slot;
    }

    fn link_expired(&mut self, key: u32) {
        let tail = std::mem::replace(&mut self.expired_tail, key);
        match tail {
            NONE => self.heads[EXPIRED as usize] = key,
            tail => self.entries[tail as usize].next = key,
        }
        let entry = &mut self.entries[key as usize];
        (entry.next, entry.prev, entry.bucket) = (NONE, tail, EXPIRED);
    }

    fn unlink(&mut self, key: u32) {
        let Entry { next, prev, bucket, .. } = self.entries[key as usize];
        match prev {
            NONE => self.heads[bucket as usize] = next,
            prev => self.entries[prev as usize].next = next,
        }
        match next {
            NONE if bucket == EXPIRED => self.expired_tail = prev,
            NONE => {}
            next => self.entries[next as usize].prev = prev,
        }
        if bucket != EXPIRED && self.heads[bucket as usize] == NONE {
            self.occupied[bucket as usize / SLOTS] &= !(1 << (bucket as usize % SLOTS));
        }
        self.entries[key as usize].bucket = NOWHERE;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Set(u32, u64),
        SetNoLater(u32, u64),
        Cancel(u32),
        Advance(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        // Spans of every magnitude, so that every wheel is used.
        let span = || (0u32..38).prop_flat_map(|bits| 0u64..1 << bits);
        let step = prop_oneof![
            4 => (0u32..40, span()).prop_map(|(key, ms)| Step::Set(key, ms)),
            2 => (0u32..40, span()).prop_map(|(key, ms)| Step::SetNoLater(key, ms)),
            1 => (0u32..40).prop_map(Step::Cancel),
            4 => span().prop_map(Step::Advance),
        ];
        prop::collection::vec(step, 1..200)
    }

    proptest! {
        #[test]
        fn fires_what_an_ordered_map_would_fire(steps in steps()) {
            let mut wheel = TimingWheel::new();
            let mut model: BTreeMap<u32, u64> = BTreeMap::new();
            let mut now_ms = 0;
            for step in steps {
                match step {
                    Step::Set(key, in_ms) => {
                        wheel.set(key, Time(now_ms + in_ms));
                        model.insert(key, now_ms + in_ms);
                    }
                    Step::SetNoLater(key, in_ms) => {
                        wheel.set_no_later_than(key, Time(now_ms + in_ms));
                        let deadline = model.entry(key).or_insert(u64::MAX);
                        *deadline = (now_ms + in_ms).min(*deadline);
                    }
                    Step::Cancel(key) => {
                        wheel.cancel(key);
                        model.remove(&key);
                    }
                    Step::Advance(by_ms) => {
                        now_ms += by_ms;
                        let mut last_ms = 0;
                        while let Some(key) = wheel.poll_expired(Time(now_ms)) {
                            let deadline_ms = model.remove(&key);
                            prop_assert!(deadline_ms.is_some_and(|deadline_ms| deadline_ms <= now_ms));
                            prop_assert!(deadline_ms >= Some(last_ms), "out of order");
                            last_ms = deadline_ms.unwrap_or(0);
                        }
                        prop_assert!(model.values().all(|deadline_ms| *deadline_ms > now_ms));
                    }
                }
                prop_assert_eq!(wheel.len(), model.len());
                prop_assert_eq!(wheel.next_wakeup().is_some(), !model.is_empty());
                if let (Some(wakeup), Some(earliest)) = (wheel.next_wakeup(), model.values().min()) {
                    prop_assert!(wakeup.0 <= (*earliest).max(now_ms));
                }
                for key in 0..40 {
                    prop_assert_eq!(wheel.deadline(key), model.get(&key).map(|ms| Time(*ms)));
                }
            }
        }
    }

    #[test]
    fn a_lonely_timer_wakes_the_owner_only_a_few_times() {
        let mut wheel = TimingWheel::new();
        wheel.poll_expired(Time(12_345));
        wheel.set(7, Time(12_345 + 90_000_000));
        let mut wakeups = 0;
        loop {
            let now = wheel.next_wakeup().expect("the timer is set until it is polled");
            wakeups += 1;
            if let Some(key) = wheel.poll_expired(now) {
                assert_eq!((key, now), (7, Time(12_345 + 90_000_000)));
                break;
            }
        }
        assert!(wakeups <= LEVELS, "{wakeups}");
    }

    #[test]
    fn never_is_held_but_not_fired() {
        let mut wheel = TimingWheel::new();
        wheel.set(0, Time(u64::MAX));
        assert_eq!(wheel.poll_expired(Time(1 << 40)), None);
        assert_eq!(wheel.len(), 1);
    }
}
