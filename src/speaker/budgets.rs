//! Holds [`Speaker::work`] to its budgets, on counts: how long a turn takes is the machine's business.
//!
//! The speaker here has more to do than one turn may, of each kind: it must do no more than the budget in a turn,
//! say that there is more, and be done in the end.

use super::lone::{EXTERNAL, Lone, NOW, V4, announcements, config, peer_asn};
use super::{COLLECT_PER_TURN, DECIDE_PER_TURN, EXPORT_PER_TURN};
use crate::types::*;

/// Three turns' worth of the largest budget, and some.
const ROUTES: usize = 3 * 16_384 + 1000;

#[test]
fn a_turn_does_no_more_than_its_budgets() {
    let mut lone = Lone::new(config(EXTERNAL));
    let (source, source_conn) = lone.establish(2);
    let (receiver, _) = lone.establish(3);
    lone.work_off(|_| 0);

    let prefixes: Vec<Prefix4> =
        (0..ROUTES as u32).map(|number| Prefix4::new(0x1400_0000 + (number << 8), 24)).collect();
    lone.receive(source_conn, &announcements(2, &prefixes, &[peer_asn(2)], |_| {}));
    assert_eq!(lone.speaker.rib.path_count(source, V4), ROUTES as u32);
    // Nothing is decided where messages are taken.
    assert_eq!(lone.speaker.export.advertised_count(receiver, V4), 0);

    let mut turns = 0;
    let mut decided = 0;
    let mut told = 0;
    loop {
        let more = lone.speaker.work(NOW);
        turns += 1;
        let changed = lone.speaker.changed[V4.index()].len();
        assert!(changed <= DECIDE_PER_TURN, "{changed} destinations were decided about in a turn");
        decided += changed;
        let advertised = lone.speaker.export.advertised_count(receiver, V4) as usize;
        assert!(advertised - told <= EXPORT_PER_TURN, "{} routes were encoded in a turn", advertised - told);
        told = advertised;
        lone.send_all(None);
        if !more && !lone.speaker.wants_work() {
            break;
        }
    }
    assert_eq!((decided, told), (ROUTES, ROUTES));
    assert!(turns >= ROUTES.div_ceil(DECIDE_PER_TURN), "{turns} turns");

    // A table for a peer that joins.
    let (joined, _) = lone.establish(4);
    let told = lone.work_off(|speaker| speaker.export.advertised_count(joined, V4) as usize);
    assert_eq!(lone.speaker.export.advertised_count(joined, V4) as usize, ROUTES);
    assert!(told <= EXPORT_PER_TURN, "a walk told {told} routes in a turn");

    // The paths of a peer that is lost, and the destinations that go with them.
    lone.speaker.closed(NOW, source_conn, None);
    assert_eq!(lone.speaker.rib.path_count_total(V4), ROUTES, "the sweep is work for turns");
    let freed = std::cell::Cell::new(0);
    let destinations = std::cell::Cell::new(lone.speaker.rib.dest_count(V4));
    let swept = lone.work_off(|speaker| {
        let now = speaker.rib.dest_count(V4);
        freed.set(freed.get().max(destinations.replace(now) - now));
        speaker.rib.path_count_total(V4)
    });
    assert_eq!((lone.speaker.rib.path_count_total(V4), lone.speaker.rib.dest_count(V4)), (0, 0));
    assert!(swept <= DECIDE_PER_TURN, "{swept} paths were swept in a turn");
    assert!(freed.get() <= COLLECT_PER_TURN, "{} destinations were freed in a turn", freed.get());
}
