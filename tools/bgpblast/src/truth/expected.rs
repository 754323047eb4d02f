//! What receivers of one kind should hold.

use std::collections::HashMap;

use crate::attributes::SetId;

/// Several outcomes of which any is right, where the order of arrival or a speaker's habits decide.
pub type Alternatives = Vec<SetId>;

/// For each prefix number the attribute set that should come out; shared by all receivers of a kind.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// By number; [`SEVERAL`] where `alternatives` has more than one.
    sets: Vec<SetId>,
    alternatives: HashMap<u32, Alternatives>,
    /// How many numbers want a route.
    count: usize,
}

/// Marks a number that has alternatives.
const SEVERAL: SetId = SetId(u32::MAX);

impl Expected {
    /// Nothing is expected of `len` numbers.
    pub fn nothing(len: usize) -> Expected {
        Expected { sets: vec![SetId::NONE; len], ..Expected::default() }
    }

    /// Wants a route, or [`SetId::NONE`].
    pub fn set(&mut self, number: u32, set: SetId) {
        self.forget(number);
        self.sets[number as usize] = set;
        self.count += usize::from(set != SetId::NONE);
    }

    /// Wants one of several, of which [`SetId::NONE`] may be one.
    pub fn set_any(&mut self, number: u32, mut alternatives: Alternatives) {
        alternatives.sort_unstable();
        alternatives.dedup();
        match alternatives[..] {
            [] => self.set(number, SetId::NONE),
            [only] => self.set(number, only),
            _ => {
                self.forget(number);
                self.sets[number as usize] = SEVERAL;
                self.count += usize::from(!alternatives.contains(&SetId::NONE));
                self.alternatives.insert(number, alternatives);
            }
        }
    }

    fn forget(&mut self, number: u32) {
        let had = std::mem::take(&mut self.sets[number as usize]);
        let wanted = match had {
            SetId::NONE => false,
            SEVERAL => self.alternatives.remove(&number).is_some_and(|had| !had.contains(&SetId::NONE)),
            _ => true,
        };
        self.count -= usize::from(wanted);
    }

    /// Whether this is right for the number. Numbers that nobody expected want no route.
    #[inline]
    pub fn allows(&self, number: u32, set: SetId) -> bool {
        match self.sets.get(number as usize) {
            None => set == SetId::NONE,
            Some(&SEVERAL) => self.alternatives.get(&number).is_some_and(|any| any.contains(&set)),
            Some(wanted) => *wanted == set,
        }
    }

    /// What may stand at the number; the first is the one to show.
    pub fn wanted(&self, number: u32) -> Alternatives {
        match self.sets.get(number as usize) {
            None => vec![SetId::NONE],
            Some(&SEVERAL) => self.alternatives.get(&number).cloned().unwrap_or_default(),
            Some(wanted) => vec![*wanted],
        }
    }

    /// How many routes a receiver holds at least when all is right.
    pub fn count(&self) -> usize {
        self.count
    }

    /// How many numbers are spoken of.
    pub fn len(&self) -> usize {
        self.sets.len()
    }

    /// Whether no number is spoken of.
    pub fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    /// One wanted route for every number that wants one.
    pub fn routes(&self) -> impl Iterator<Item = (u32, SetId)> + '_ {
        (0..self.sets.len() as u32).filter_map(|number| {
            let set = self.wanted(number).into_iter().find(|set| *set != SetId::NONE)?;
            Some((number, set))
        })
    }
}
