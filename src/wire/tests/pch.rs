//! A real feed: what a route reflector of PCH sent on one day of 2015, message by message.

use std::collections::HashSet;
use std::io::Read;

use super::super::attrs::{PathAttributes, code};
use super::super::finding::{Problem, Treatment};
use super::super::frame::{MESSAGE_LEN_MAX, MessageKind, next_frame};
use super::super::{Open, canonicalize, decode_update};
use super::*;
use crate::types::Prefix4;

const FEED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scale-tests/data/pch-as3856-ibgp-2015.bgp.gz");

fn feed() -> Vec<u8> {
    let file = std::fs::File::open(FEED).unwrap_or_else(|error| panic!("{FEED}: {error}"));
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(file).read_to_end(&mut bytes).expect("a whole gzip file");
    bytes
}

#[test]
fn the_feed_comes_out_as_counted() {
    let bytes = feed();
    let (mut at, mut messages, mut updates, mut ends) = (0, 0, 0, 0);
    let mut table: HashSet<Prefix4> = HashSet::new();
    let (mut announced, mut withdrawn) = (HashSet::new(), HashSet::new());
    let (mut blocks, mut next_hops) = (HashSet::new(), HashSet::new());
    let mut refused = Vec::new();
    let (mut prefixes, mut block) = (Vec::new(), Vec::new());
    while let Some(frame) = next_frame(&bytes[at..], MESSAGE_LEN_MAX).unwrap() {
        at += frame.len;
        messages += 1;
        match frame.kind {
            MessageKind::Open => {
                let open = Open::decode(frame.body).unwrap();
                assert_eq!((open.asn, open.four_octet_as()), (3856, Some(3856)));
                continue;
            }
            MessageKind::Update => updates += 1,
            _ => continue,
        }
        let view = decode_update(frame.body, &INTERNAL).unwrap();
        ends += usize::from(view.end_of_rib().is_some());
        for nlri in view.withdrawals() {
            prefixes.clear();
            nlri.decode4(&mut prefixes);
            if view.treatment() == Treatment::TreatAsWithdraw {
                assert_eq!(
                    (view.findings()[0].attribute, view.findings()[0].problem),
                    (code::AS_PATH, Problem::AsZero)
                );
                refused.extend(prefixes.iter().copied());
            } else {
                withdrawn.extend(prefixes.iter().copied());
            }
            prefixes.iter().for_each(|prefix| {
                table.remove(prefix);
            });
        }
        for reach in view.announcements() {
            prefixes.clear();
            reach.nlri.decode4(&mut prefixes);
            announced.extend(prefixes.iter().copied());
            table.extend(prefixes.iter().copied());
            next_hops.insert(reach.next_hop);
            canonicalize(&view, &mut block);
            let attributes = PathAttributes::new(&block);
            assert!(attributes.local_pref().is_some() && attributes.med().is_some());
            assert!(attributes.originator_id().is_some() && attributes.cluster_list().len() > 0);
            blocks.insert((block.clone(), reach.next_hop));
        }
    }
    assert_eq!((at, messages, updates, ends), (bytes.len(), 89_682, 89_679, 1));
    let mut refused: Vec<String> = refused.iter().map(Prefix4::to_string).collect();
    refused.sort();
    assert_eq!(refused, ["103.225.92.0/24", "103.225.93.0/24", "103.225.94.0/24", "103.225.95.0/24"]);
    assert_eq!((announced.len(), withdrawn.len()), (577_706 - 4, 3));
    // Each refused prefix had attributes of its own.
    assert_eq!((blocks.len(), next_hops.len()), (89_641 - 4, 3_771));
    assert_eq!(table.len(), 577_706 - 4 - 3);
}
