//! What one receiver holds.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;

use super::Expected;
use crate::attributes::SetId;

/// What is different for a receiver that announces routes itself: nobody gets its own route back.
pub type Own = HashMap<u32, Vec<SetId>>;

/// The table of a receiver, compared with what is expected of it as it changes.
#[derive(Debug)]
pub struct Held {
    /// By number.
    sets: Vec<SetId>,
    /// Further paths of a session with ADD-PATH, by number and path identifier. There `sets` stays empty.
    paths: Option<HashMap<(u32, u32), SetId>>,
    expected: Rc<Expected>,
    own: Own,
    count: usize,
    /// The first number of which it is not known that what stands there is right. Not kept up to date with every route:
    /// to compare each one as it comes would cost more than to put it in its place.
    cursor: Cell<u32>,
    /// Whether a route has changed since the cursor was at the beginning.
    changed: Cell<bool>,
    /// How many paths there should be, with ADD-PATH.
    paths_wanted: usize,
}

impl Held {
    /// An empty table of which nothing is expected yet; with `add_path` it takes several paths for a prefix.
    pub fn new(add_path: bool) -> Held {
        Held {
            sets: Vec::new(),
            paths: add_path.then(HashMap::new),
            expected: Rc::new(Expected::default()),
            own: Own::new(),
            count: 0,
            cursor: Cell::new(0),
            changed: Cell::new(false),
            paths_wanted: 0,
        }
    }

    /// Changes what it should become.
    pub fn expect(&mut self, expected: Rc<Expected>, own: Own) {
        // Written, not merely asked for: the kernel gives memory when it is first written to, and that
        // should not happen while the speaker is timed.
        if self.paths.is_none() && self.sets.len() < expected.len() {
            let missing = vec![SetId::NONE; expected.len() - self.sets.len()];
            self.sets.extend_from_slice(&missing);
        }
        self.expected = expected;
        self.own = own;
        self.paths_wanted = match self.paths {
            Some(_) => (0..self.expected.len() as u32).map(|number| self.wanted_paths(number).len()).sum(),
            None => 0,
        };
        self.cursor.set(0);
    }

    #[inline]
    fn allows(&self, number: u32, set: SetId) -> bool {
        if !self.own.is_empty()
            && let Some(any) = self.own.get(&number)
        {
            return any.contains(&set);
        }
        self.expected.allows(number, set)
    }

    /// What may stand at the number.
    pub fn wanted(&self, number: u32) -> Vec<SetId> {
        self.own.get(&number).cloned().unwrap_or_else(|| self.expected.wanted(number))
    }

    /// What stands at the number.
    #[inline]
    pub fn held(&self, number: u32) -> SetId {
        self.sets.get(number as usize).copied().unwrap_or_default()
    }

    /// Puts a route, or [`SetId::NONE`], at a number; gives back what stood there.
    #[inline]
    pub fn put(&mut self, number: u32, set: SetId) -> SetId {
        let at = number as usize;
        if at >= self.sets.len() {
            self.sets.resize(at + 1, SetId::NONE);
        }
        let had = std::mem::replace(&mut self.sets[at], set);
        self.count = self.count + usize::from(set != SetId::NONE) - usize::from(had != SetId::NONE);
        self.changed.set(true);
        had
    }

    /// [`Held::put`] on a session with ADD-PATH.
    pub fn put_path(&mut self, number: u32, path_id: u32, set: SetId) -> SetId {
        let Some(paths) = &mut self.paths else { return self.put(number, set) };
        let had = match set {
            SetId::NONE => paths.remove(&(number, path_id)),
            set => paths.insert((number, path_id), set),
        };
        self.count = paths.len();
        self.changed.set(true);
        had.unwrap_or_default()
    }

    /// The held paths of each number in ascending order, with ADD-PATH.
    fn paths_by_number(&self) -> HashMap<u32, Vec<SetId>> {
        let mut held: HashMap<u32, Vec<SetId>> = HashMap::new();
        for (&(number, _), set) in self.paths.iter().flatten() {
            held.entry(number).or_default().push(*set);
        }
        held.values_mut().for_each(|sets| sets.sort_unstable());
        held
    }

    fn paths_are_right(&self) -> bool {
        let mut held = self.paths_by_number();
        (0..self.expected.len() as u32)
            .all(|number| held.remove(&number).unwrap_or_default() == self.wanted_paths(number))
            && held.is_empty()
    }

    fn wanted_paths(&self, number: u32) -> Vec<SetId> {
        let mut wanted = self.wanted(number);
        wanted.retain(|set| *set != SetId::NONE);
        wanted.sort_unstable();
        wanted
    }

    /// Forgets every route: the session is gone.
    pub fn clear(&mut self) {
        self.sets.fill(SetId::NONE);
        if let Some(paths) = &mut self.paths {
            paths.clear();
        }
        self.count = 0;
        let own = std::mem::take(&mut self.own);
        self.expect(self.expected.clone(), own);
    }

    /// Whether it holds exactly the right routes with exactly the right attributes.
    pub fn is_right(&self) -> bool {
        if self.paths.is_some() {
            return self.count == self.paths_wanted && self.paths_are_right();
        }
        if self.count < self.expected.count().saturating_sub(self.own.len()) {
            return false;
        }
        let end = self.sets.len().max(self.expected.len()) as u32;
        loop {
            let mut at = self.cursor.get();
            if at == 0 {
                self.changed.set(false);
            }
            while at < end && self.allows(at, self.held(at)) {
                at += 1;
            }
            self.cursor.set(at);
            if at < end {
                return false;
            }
            if !self.changed.get() {
                return true;
            }
            // Something changed behind the cursor: all is looked at once more.
            self.cursor.set(0);
        }
    }

    /// How many routes it holds.
    pub fn len(&self) -> usize {
        self.count
    }

    /// What it shares with other receivers of its kind.
    pub fn expected(&self) -> &Rc<Expected> {
        &self.expected
    }

    /// Whether it announces routes that are the best ones.
    pub fn has_own(&self) -> bool {
        !self.own.is_empty()
    }

    /// Whether the best route for this number is its own.
    pub fn is_own(&self, number: u32) -> bool {
        self.own.contains_key(&number)
    }

    /// How many routes it should hold.
    pub fn expected_len(&self) -> usize {
        match self.paths {
            Some(_) => self.paths_wanted,
            None => self.expected.count(),
        }
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The numbers at which it does not hold what it should, with what it holds and what it should hold.
    pub fn differences(&self) -> Vec<(u32, Vec<SetId>, Vec<SetId>)> {
        if self.is_right() {
            return Vec::new();
        }
        if self.paths.is_none() {
            return (0..self.sets.len().max(self.expected.len()) as u32)
                .filter(|&number| !self.allows(number, self.held(number)))
                .map(|number| (number, vec![self.held(number)], self.wanted(number)))
                .collect();
        }
        let mut held = self.paths_by_number();
        let beyond = held.keys().copied().filter(|number| *number as usize >= self.expected.len());
        let numbers: Vec<u32> = (0..self.expected.len() as u32).chain(beyond).collect();
        numbers
            .into_iter()
            .map(|number| (number, held.remove(&number).unwrap_or_default(), self.wanted_paths(number)))
            .filter(|(_, held, wanted)| held != wanted)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expecting(sets: &[u32]) -> Rc<Expected> {
        let mut expected = Expected::nothing(sets.len());
        sets.iter().enumerate().for_each(|(number, set)| expected.set(number as u32, SetId(*set)));
        Rc::new(expected)
    }

    #[test]
    fn a_table_is_right_exactly_when_it_holds_what_it_should() {
        let mut held = Held::new(false);
        held.expect(expecting(&[5, 6, 0]), Own::new());
        assert!(!held.is_right());
        held.put(0, SetId(5));
        held.put(1, SetId(7));
        assert_eq!((held.is_right(), held.len()), (false, 2));
        assert_eq!(held.differences(), [(1, vec![SetId(7)], vec![SetId(6)])]);
        assert_eq!(held.put(1, SetId(6)), SetId(7));
        assert!(held.is_right());
        held.put(9, SetId(5));
        assert!(!held.is_right(), "a prefix that nobody expects");
        held.put(9, SetId::NONE);
        held.put(2, SetId(1));
        assert!(!held.is_right());
        held.put(2, SetId::NONE);
        assert!(held.is_right());
        held.expect(expecting(&[5, 6, 3]), Own::new());
        assert!(!held.is_right());
        held.clear();
        assert_eq!((held.len(), held.differences().len()), (0, 3));
    }

    #[test]
    fn ones_own_route_must_not_come_back() {
        let mut held = Held::new(false);
        held.expect(expecting(&[5, 6]), Own::from([(1, vec![SetId::NONE])]));
        held.put(0, SetId(5));
        assert!(held.is_right());
        held.put(1, SetId(6));
        assert!(!held.is_right());
    }

    #[test]
    fn of_several_any_is_right() {
        let mut expected = Expected::nothing(1);
        expected.set_any(0, vec![SetId(4), SetId(5)]);
        assert_eq!(expected.count(), 1);
        let mut held = Held::new(false);
        held.expect(Rc::new(expected), Own::new());
        assert!(!held.is_right());
        held.put(0, SetId(5));
        assert!(held.is_right());
        held.put(0, SetId(6));
        assert!(!held.is_right());
    }

    #[test]
    fn with_add_path_all_paths_must_be_there() {
        let mut expected = Expected::nothing(2);
        expected.set_any(0, vec![SetId(4), SetId(5)]);
        expected.set(1, SetId(6));
        let mut held = Held::new(true);
        held.expect(Rc::new(expected), Own::new());
        held.put_path(0, 1, SetId(5));
        held.put_path(1, 1, SetId(6));
        assert!(!held.is_right());
        assert_eq!(held.differences().len(), 1);
        held.put_path(0, 2, SetId(4));
        assert!(held.is_right());
        held.put_path(0, 3, SetId(4));
        assert!(!held.is_right());
        held.put_path(0, 3, SetId::NONE);
        assert!(held.is_right());
    }
}
