//! What a rule does to a canonical attribute block.

use super::model::{NumberEdit, Prepend};
use super::pattern::{
    Community, CommunityPattern, CommunityTable, ExtCommunityPattern, LargeCommunityPattern,
};
use super::{LOCAL_PREF_DEFAULT, RouteContext};
use crate::wire::AttributeEditor;
use crate::wire::attrs::{Origin, code};

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
    /// Applies the change; what would not fit into the attribute is left out.
    pub(super) fn apply(&self, route: &RouteContext, editor: &mut AttributeEditor<'_>) {
        match self {
            Edit::LocalPref(edit) => {
                let old = editor.attributes().local_pref().unwrap_or(LOCAL_PREF_DEFAULT);
                match edit.of(old) {
                    Some(new) => editor.set_local_pref(new),
                    None => editor.remove(code::LOCAL_PREF),
                };
            }
            Edit::Med(edit) => {
                match edit.of(editor.attributes().med().unwrap_or(0)) {
                    Some(new) => editor.set_med(new),
                    None => editor.remove(code::MULTI_EXIT_DISC),
                };
            }
            Edit::Origin(origin) => {
                editor.set_origin(*origin);
            }
            Edit::Prepend(edit) => {
                editor.prepend_as(edit.asn.unwrap_or(route.local_asn), usize::from(edit.count));
            }
            Edit::Communities(edit) => edit.apply(editor),
            Edit::ExtCommunities(edit) => edit.apply(editor),
            Edit::LargeCommunities(edit) => edit.apply(editor),
        }
    }
}

impl NumberEdit {
    /// What becomes of a number; nothing: it goes.
    fn of(self, old: u32) -> Option<u32> {
        match self {
            NumberEdit::To(number) => Some(number),
            NumberEdit::Add(more) => Some(old.saturating_add(more)),
            NumberEdit::Subtract(less) => Some(old.saturating_sub(less)),
            NumberEdit::Remove => None,
        }
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
    fn apply(&self, editor: &mut AttributeEditor<'_>) {
        if let Some(set) = &self.set {
            editor.remove(P::CODE);
            P::add(editor, set);
        }
        if !self.remove.is_empty() {
            P::remove(editor, &self.remove);
        }
        P::add(editor, &self.add);
    }
}
