//! What a rule does to a canonical attribute block.

use super::block::{self, AS_PATH, LOCAL_PREF, MED, OPTIONAL, OPTIONAL_TRANSITIVE, ORIGIN, WELL_KNOWN};
use super::model::{NumberEdit, Origin, Prepend};
use super::pattern::{
    Community, CommunityPattern, CommunityTable, ExtCommunityPattern, LargeCommunityPattern,
};
use super::{LOCAL_PREF_DEFAULT, RouteContext};

/// AS_SEQUENCE (RFC 4271 §4.3).
const AS_SEQUENCE: u8 = 2;

/// One change.
#[derive(Clone, Debug)]
pub(super) enum Edit {
    LocalPref(NumberEdit),
    Med(NumberEdit),
    Origin(Origin),
    Prepend(Prepend),
    Communities(ListEdit<CommunityPattern>),
    ExtCommunities(ListEdit<ExtCommunityPattern>),
    LargeCommunities(ListEdit<LargeCommunityPattern>),
}

impl Edit {
    pub(super) fn apply(&self, route: &RouteContext, attrs: &mut Vec<u8>) {
        match self {
            Edit::LocalPref(edit) => edit_number(attrs, LOCAL_PREF, WELL_KNOWN, LOCAL_PREF_DEFAULT, *edit),
            Edit::Med(edit) => edit_number(attrs, MED, OPTIONAL, 0, *edit),
            Edit::Origin(origin) => block::put(attrs, ORIGIN, WELL_KNOWN, &[*origin as u8]),
            Edit::Prepend(edit) => prepend(attrs, edit.asn.unwrap_or(route.local_asn), edit.count),
            Edit::Communities(edit) => edit.apply(attrs),
            Edit::ExtCommunities(edit) => edit.apply(attrs),
            Edit::LargeCommunities(edit) => edit.apply(attrs),
        }
    }
}

/// Changes a number that counts as `absent` where it is not there.
fn edit_number(attrs: &mut Vec<u8>, code: u8, flags: u8, absent: u32, edit: NumberEdit) {
    let old = block::number(attrs, code).unwrap_or(absent);
    let new = match edit {
        NumberEdit::To(number) => number,
        NumberEdit::Add(more) => old.saturating_add(more),
        NumberEdit::Subtract(less) => old.saturating_sub(less),
        NumberEdit::Remove => return block::remove(attrs, code),
    };
    block::put(attrs, code, flags, &new.to_be_bytes());
}

/// Puts an AS number in front, in the first segment where there is room (RFC 4271 §5.1.2).
fn prepend(attrs: &mut Vec<u8>, asn: u32, count: u8) {
    let path = block::find(attrs, AS_PATH).unwrap_or_default();
    let (old_length, joined) = (
        path.len(),
        match path {
            [AS_SEQUENCE, there, ..] => there.checked_add(count),
            _ => None,
        },
    );
    // A segment of our own, or the numbers alone behind the header of the first one.
    let added = usize::from(count) * 4 + if joined.is_some() { 0 } else { 2 };
    let Some(path) = block::resize(attrs, AS_PATH, WELL_KNOWN, old_length + added) else { return };
    let from = if joined.is_some() { 2 } else { 0 };
    path.copy_within(from..old_length, from + added);
    path[..2].copy_from_slice(&[AS_SEQUENCE, joined.unwrap_or(count)]);
    for place in path[2..].chunks_exact_mut(4).take(usize::from(count)) {
        place.copy_from_slice(&asn.to_be_bytes());
    }
}

/// A change of a list of communities: replaced, then thinned out, then added to.
#[derive(Clone, Debug)]
pub(super) struct ListEdit<P: Community> {
    pub(super) set: Option<Vec<P::Value>>,
    pub(super) remove: CommunityTable<P>,
    pub(super) add: Vec<P::Value>,
}

impl<P: Community> ListEdit<P> {
    fn apply(&self, attrs: &mut Vec<u8>) {
        if let Some(set) = &self.set {
            block::remove(attrs, P::CODE);
            set.iter().for_each(|value| add::<P>(attrs, *value));
        }
        if !self.remove.is_empty() {
            self.thin_out(attrs);
        }
        self.add.iter().for_each(|value| add::<P>(attrs, *value));
    }

    fn thin_out(&self, attrs: &mut Vec<u8>) {
        let Some(length) = block::find(attrs, P::CODE).map(<[u8]>::len) else { return };
        let Some(list) = block::resize(attrs, P::CODE, OPTIONAL_TRANSITIVE, length) else { return };
        let mut kept = 0;
        for at in (0..length - length % P::OCTETS).step_by(P::OCTETS) {
            if !self.remove.contains(P::read(&list[at..])) {
                list.copy_within(at..at + P::OCTETS, kept);
                kept += P::OCTETS;
            }
        }
        if kept == 0 {
            block::remove(attrs, P::CODE);
        } else {
            block::resize(attrs, P::CODE, OPTIONAL_TRANSITIVE, kept);
        }
    }
}

/// Appends a community unless it is there.
fn add<P: Community>(attrs: &mut Vec<u8>, value: P::Value) {
    let list = block::find(attrs, P::CODE).unwrap_or_default();
    if list.chunks_exact(P::OCTETS).any(|there| P::read(there) == value) {
        return;
    }
    let length = list.len();
    if let Some(list) = block::resize(attrs, P::CODE, OPTIONAL_TRANSITIVE, length + P::OCTETS) {
        P::write(value, &mut list[length..]);
    }
}
