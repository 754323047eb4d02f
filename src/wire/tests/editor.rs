//! Editing canonical blocks: every change lands in its place and the block stays canonical.

use super::super::AttributeEditor;
use super::super::attrs::editor::AttributeTooLong;
use super::super::attrs::{Aggregator, LargeCommunity, Origin, PathAttributes, code, community};
use super::*;
use crate::types::RouterId;

fn edited(from: &[u8], edit: impl FnOnce(&mut AttributeEditor<'_>)) -> Vec<u8> {
    let mut out = vec![0xee; 7];
    let mut editor = AttributeEditor::copy(from, &mut out);
    edit(&mut editor);
    assert_eq!(editor.finish(), Ok(()));
    out
}

fn base() -> Vec<u8> {
    [origin(), as_path(&[65001]), attribute(0xc0, code::COMMUNITIES, &[0, 1, 0, 2])].concat()
}

#[test]
fn attributes_are_set_in_their_place() {
    let block = edited(&base(), |editor| {
        editor.set(0xe0, 99, &[1, 2]).set_local_pref(300).set_med(5).set_origin(Origin::Incomplete);
    });
    let expected = [
        attribute(0x40, code::ORIGIN, &[2]),
        as_path(&[65001]),
        attribute(0x80, code::MULTI_EXIT_DISC, &[0, 0, 0, 5]),
        attribute(0x40, code::LOCAL_PREF, &[0, 0, 1, 44]),
        attribute(0xc0, code::COMMUNITIES, &[0, 1, 0, 2]),
        attribute(0xe0, 99, &[1, 2]),
    ];
    assert_eq!(block, expected.concat());
    let block = edited(&block, |editor| {
        editor.remove(99).remove(code::MULTI_EXIT_DISC).remove(code::LOCAL_PREF).remove(77);
        editor.set_origin(Origin::Igp);
    });
    assert_eq!(block, base());
}

#[test]
fn a_block_grows_from_nothing() {
    let block = edited(&[], |editor| {
        editor
            .set_as_path(&[1, 2])
            .set_origin(Origin::Egp)
            .set_atomic_aggregate()
            .set_aggregator(Aggregator { asn: 400_000, router_id: RouterId(7) })
            .set_originator_id(RouterId(9));
    });
    let read = PathAttributes::new(&block);
    assert_eq!(read.iter().map(|attribute| attribute.code).collect::<Vec<_>>(), [1, 2, 6, 7, 9]);
    assert_eq!(read.as_path().to_string(), "1 2");
    assert_eq!(read.aggregator().unwrap().asn, 400_000);
    assert_eq!(read.originator_id(), Some(RouterId(9)));
}

#[test]
fn values_cross_the_extended_length_in_both_directions() {
    let long = edited(&base(), |editor| {
        editor.set(0xc0, code::COMMUNITIES, &[7; 256]).set(0xc0, 99, &[1; 255]);
    });
    let expected =
        [origin(), as_path(&[65001]), attribute(0xc0, 8, &[7; 256]), attribute(0xc0, 99, &[1; 255])];
    assert_eq!(long, expected.concat());
    let short = edited(&long, |editor| {
        editor.set(0xc0, code::COMMUNITIES, &[0, 1, 0, 2]).remove(99);
    });
    assert_eq!(short, base());
}

#[test]
fn prepending_fills_a_segment_and_then_starts_another() {
    let prepend = |from: &[u8], asn, count| {
        let block = edited(from, |editor| {
            editor.prepend_as(asn, count);
        });
        let path = PathAttributes::new(&block).as_path();
        let counts: Vec<usize> = path.segments().map(|segment| segment.count()).collect();
        (block.clone(), path.length(), counts)
    };
    let (once, length, counts) = prepend(&base(), 7, 1);
    assert_eq!((length, counts), (2, vec![2]));
    assert_eq!(PathAttributes::new(&once).as_path().to_string(), "7 65001");
    assert_eq!(prepend(&base(), 7, 0).0, base());
    let (full, _, counts) = prepend(&base(), 7, 254);
    assert_eq!(counts, [255]);
    assert_eq!(prepend(&full, 8, 1).2, [1, 255]);
    assert_eq!(prepend(&full, 8, 600).2, [90, 255, 255, 255]);
    assert_eq!(prepend(&full, 8, 510).2, [255, 255, 255]);
    let (empty, _, counts) = prepend(&[], 7, 3);
    assert_eq!((counts, empty.len()), (vec![3], 3 + 2 + 12));
    let set = attribute(0x40, code::AS_PATH, &[1, 1, 0, 0, 0, 9]);
    let (before_a_set, _, counts) = prepend(&set, 7, 2);
    assert_eq!(counts, [2, 1]);
    assert_eq!(PathAttributes::new(&before_a_set).as_path().to_string(), "7 7 {9}");
}

#[test]
fn a_change_that_does_not_fit_is_left_out_and_told() {
    let mut out = Vec::new();
    let mut editor = AttributeEditor::copy(&base(), &mut out);
    editor.prepend_as(7, 20_000).set(0xc0, 99, &[0; 65_536]).set_med(1);
    assert_eq!(editor.finish(), Err(AttributeTooLong));
    assert_eq!(
        PathAttributes::new(&out).iter().map(|attribute| attribute.code).collect::<Vec<_>>(),
        [1, 2, 4, 8]
    );
    assert_eq!(PathAttributes::new(&out).as_path().to_string(), "65001");
}

#[test]
fn communities_are_added_once_and_removed() {
    let block = edited(&base(), |editor| {
        editor.add_communities(&[0x0001_0002, community::NO_EXPORT, community::NO_EXPORT]);
    });
    let read = PathAttributes::new(&block);
    assert_eq!(read.communities().collect::<Vec<_>>(), [0x0001_0002, community::NO_EXPORT]);
    let block = edited(&block, |editor| {
        editor.remove_communities(|community| community == 0x0001_0002);
    });
    assert_eq!(PathAttributes::new(&block).communities().collect::<Vec<_>>(), [community::NO_EXPORT]);
    let block = edited(&block, |editor| {
        editor.remove_communities(|_| true).remove_communities(|_| true).add_communities(&[]);
    });
    assert_eq!(block, [origin(), as_path(&[65001])].concat(), "an attribute without members goes");

    let large = LargeCommunity { global: 1, local1: 2, local2: 3 };
    let block = edited(&base(), |editor| {
        editor.add_large_communities(&[large, large]).add_extended_communities(&[5, 6, 5]);
        editor.remove_extended_communities(|community| community == 5);
    });
    let read = PathAttributes::new(&block);
    assert_eq!(read.large_communities().collect::<Vec<_>>(), [large]);
    assert_eq!(read.extended_communities().collect::<Vec<_>>(), [6]);
    let block = edited(&block, |editor| {
        editor.remove_large_communities(|community| community == large);
        editor.remove_extended_communities(|_| true);
    });
    assert_eq!(block, base());
}

#[test]
fn reflection_marks_the_path() {
    let block = edited(&base(), |editor| {
        editor.prepend_cluster_id(RouterId(1)).prepend_cluster_id(RouterId(2));
    });
    let clusters: Vec<u32> = PathAttributes::new(&block).cluster_list().map(|id| id.0).collect();
    assert_eq!(clusters, [2, 1]);
}

#[test]
fn partial_survives_a_change_of_the_value() {
    let block = attribute(0xe0, code::COMMUNITIES, &[0, 1, 0, 2]);
    let block = edited(&block, |editor| {
        editor.add_communities(&[5]);
    });
    assert_eq!(PathAttributes::new(&block).get(code::COMMUNITIES).unwrap().flags, 0xe0);
}

#[test]
fn retain_drops_what_it_is_told() {
    let block = [base(), attribute(0xe0, 99, &[1; 300]), attribute(0xe0, 100, &[2])].concat();
    let block = edited(&block, |editor| {
        editor.retain(|attribute| attribute.code != code::COMMUNITIES && attribute.code != 99);
    });
    assert_eq!(block, [origin(), as_path(&[65001]), attribute(0xe0, 100, &[2])].concat());
}
