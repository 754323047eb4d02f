//! What was wrong: routes that are not as they should be, and what the speaker did on the way.

use std::collections::HashSet;

use super::build::Built;
use crate::engine::{Counts, PeerNumber, State};
use crate::outcome::{Difference, Finding};

/// How many differences are listed in full.
const DIFFERENCES_MAX: usize = 50;

/// What was found.
pub struct Verdict {
    /// What the speaker did on the way.
    pub findings: Vec<Finding>,
    /// Routes that are not as they should be, the first of them.
    pub differences: Vec<Difference>,
    /// How many there are in all.
    pub difference_count: u64,
}

/// Looks at every receiver's table and at what every session has counted. Peers that are `stalled` or `down` have no
/// table that could be right.
pub fn verdict(built: &Built, stalled: &HashSet<PeerNumber>, down: &HashSet<PeerNumber>) -> Verdict {
    let mut found = Verdict { findings: findings(built, down), differences: Vec::new(), difference_count: 0 };
    let engine = &built.engine;
    for member in built.world.members.iter().filter(|member| member.receives) {
        let number = member.number;
        if stalled.contains(&number) || down.contains(&number) || *engine.state(number) == State::Idle {
            continue;
        }
        let differences = engine.held(number).differences();
        found.difference_count += differences.len() as u64;
        let room = DIFFERENCES_MAX - found.differences.len();
        for (prefix, held, wanted) in differences.into_iter().take(room) {
            // Of several that would be right, the first that is a route says most.
            let wanted = wanted.iter().find(|set| set.0 != 0);
            found.differences.push(Difference {
                receiver: engine.peer(number).address.to_string(),
                prefix: engine.index().prefix(prefix).to_string(),
                expected: wanted.map_or(Vec::new(), |set| engine.store().show(*set)),
                held: held.first().map_or(Vec::new(), |set| engine.store().show(*set)),
            });
        }
    }
    found
}

fn findings(built: &Built, down: &HashSet<PeerNumber>) -> Vec<Finding> {
    let engine = &built.engine;
    let all = || (0..engine.len()).map(PeerNumber);
    let prefix =
        |number: Option<u32>| number.map_or(String::new(), |it| engine.index().prefix(it).to_string());
    let mut findings = Vec::new();
    let mut add =
        |kind: &str, serious: bool, count: &dyn Fn(&Counts) -> u64, example: &dyn Fn(&Counts) -> String| {
            let concerned: Vec<PeerNumber> =
                all().filter(|number| count(engine.counts(*number)) > 0).collect();
            let Some(first) = concerned.first() else { return };
            findings.push(Finding {
                kind: kind.to_string(),
                count: concerned.iter().map(|number| count(engine.counts(*number))).sum(),
                peers: concerned.len() as u64,
                example: format!("{}: {}", engine.peer(*first).address, example(engine.counts(*first))),
                serious,
            });
        };
    let reason = |counts: &Counts| counts.reason.clone().unwrap_or_default();
    add("session drop", true, &|counts| counts.drops, &reason);
    add("hold timer expired", true, &|counts| counts.hold_expiries, &reason);
    add("refused at first", false, &|counts| counts.refusals, &reason);
    // What a recorded stream has wrong itself, a speaker that does not mind passes on.
    let own_faults = built.world.members.iter().any(|member| member.table.is_recorded());
    add("malformed UPDATE", !own_faults, &|counts| counts.malformed, &|counts| {
        counts.malformed_what.clone().unwrap_or_default()
    });
    add("unexpected withdrawal", false, &|counts| counts.unexpected_withdrawals, &|counts| {
        prefix(counts.unexpected_withdrawal)
    });
    add("withdrawal of what was not there", false, &|counts| counts.needless_withdrawals, &|counts| {
        prefix(counts.needless_withdrawal)
    });
    add("duplicate", false, &|counts| counts.duplicates, &|counts| prefix(counts.duplicate));
    add(
        "End-of-RIB more than once",
        false,
        &|counts| counts.ends_of_rib.iter().map(|count| u64::from(count.saturating_sub(1))).sum(),
        &|_| "RFC 4724 §2".to_string(),
    );
    add("End-of-RIB out of order", false, &|counts| u64::from(counts.end_of_rib_early), &|counts| {
        format!("{} routes were held when it came", counts.held_at_end_of_rib.unwrap_or(0))
    });
    let silent = built
        .world
        .members
        .iter()
        .filter(|member| !down.contains(&member.number) && *engine.state(member.number) == State::Established)
        .filter(|member| {
            let counts = engine.counts(member.number);
            counts.graceful && member.receives && counts.ends_of_rib == [0; 2]
        });
    let silent: Vec<PeerNumber> = silent.map(|member| member.number).collect();
    if let Some(first) = silent.first() {
        findings.push(Finding {
            kind: "no End-of-RIB".to_string(),
            count: silent.len() as u64,
            peers: silent.len() as u64,
            example: format!(
                "{}: the speaker offers graceful restart (RFC 4724 §2)",
                engine.peer(*first).address
            ),
            serious: false,
        });
    }
    findings
}
