//! Whole networks of speakers in one process, under faults, with a virtual clock and a seed.
//!
//! A run builds a random network ([`plan`]), lets faults happen to it for a while, lets it settle, and holds what the
//! speakers then have against an independent computation ([`oracle`]). `KULAN_SIM_SEED` runs a single seed, and a run
//! that fails prints its own.

mod network;
mod oracle;
mod plan;
mod single;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use network::Network;
use plan::{Plan, any_prefix};

/// How many networks a plain test run tries.
const SEEDS: u64 = 32;

/// How long a network takes to settle at most: graceful restart's waits (15 s, twice), a hold time (9 s) and the
/// pauses between dials.
const SETTLE_MS: u64 = 60_000;

/// Numbers that look random (SplitMix64).
pub struct Random(u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// True once in so many times.
    pub fn chance(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    pub fn of<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u64) as usize].clone()
    }
}

/// Lets one thing happen that networks suffer or people do.
fn disturb(network: &mut Network) {
    let node = network.random.below(network.nodes.len() as u64) as usize;
    let link = network.random.below(network.plan.links.len() as u64) as usize;
    let at = network.random.below(2) as usize;
    match network.random.below(14) {
        0 | 1 => network.reset_any(),
        2 => {
            let ms = network.random.below(12_000);
            network.stall_any(ms);
        }
        3 => {
            let ms = network.random.below(12_000);
            network.nodes[node].frozen_until = network.now.plus_ms(ms);
        }
        4 => {
            let (in_order, silently) = (network.random.chance(2), network.random.chance(3));
            network.restart(node, in_order, silently);
        }
        5 => network.dark = !network.dark,
        6 => network.disable_any(node),
        7 => network.enable_all(node),
        8 => network.ask_anew(node),
        // Only links between ASes may stay down: an AS that is not whole has no single view.
        9 if !network.plan.is_internal(link) => {
            let end = &mut network.plan.links[link].ends[at];
            end.configured = !end.configured;
            network.reload_end(link, at);
        }
        10 if !network.plan.is_internal(link) => {
            let end = &mut network.plan.links[link].ends[at];
            end.shutdown = !end.shutdown;
            network.reload_end(link, at);
        }
        11 if !network.plan.is_internal(link) => {
            let prefix = any_prefix(&mut network.random);
            let which = network.random.below(3);
            let end = &mut network.plan.links[link].ends[at];
            let set = match which {
                0 => &mut end.hidden_in,
                1 => &mut end.hidden_out,
                _ => {
                    end.prepend = (end.prepend + 1) % 3;
                    return network.reload_end(link, at);
                }
            };
            if !set.remove(&prefix) {
                set.insert(prefix);
            }
            network.reload_end(link, at);
        }
        _ => {
            let prefix = any_prefix(&mut network.random);
            let networks = &mut network.plan.nodes[node].networks;
            match networks.get(&prefix).copied() {
                Some(_) if network.random.chance(2) => {
                    networks.remove(&prefix);
                }
                version => {
                    networks.insert(prefix, version.map_or(0, |version| version + 1));
                }
            }
            network.reload(node);
        }
    }
}

fn run(seed: u64) {
    let mut random = Random(seed);
    let plan = Plan::random(&mut random);
    let faults = random.below(40);
    let mut network = Network::new(plan, random);
    for _ in 0..faults {
        let pause_ms = match network.random.below(3) {
            0 => network.random.below(50),
            1 => network.random.below(1_000),
            _ => network.random.below(8_000),
        };
        network.run_for(pause_ms);
        disturb(&mut network);
    }
    network.dark = false;
    for link in 0..network.plan.links.len() {
        for end in 0..2 {
            // Most come back, so that there is something to settle.
            if network.random.chance(4) {
                continue;
            }
            let it = &mut network.plan.links[link].ends[end];
            (it.configured, it.shutdown) = (true, false);
            network.reload_end(link, end);
        }
    }
    for node in 0..network.nodes.len() {
        network.enable_all(node);
    }
    network.run_for(SETTLE_MS);
    network.check_settled();
    take_apart(&mut network);
}

/// Ends everything, the routes or the peers first, and sees that nothing is left.
fn take_apart(network: &mut Network) {
    let routes_first = network.random.chance(2);
    for step in 0..2 {
        for node in 0..network.nodes.len() {
            match routes_first == (step == 0) {
                true => network.plan.nodes[node].networks.clear(),
                false => network.plan.links.iter_mut().flat_map(|link| &mut link.ends).for_each(|end| {
                    end.configured &= end.node != node;
                }),
            }
            network.reload(node);
        }
        network.run_for(SETTLE_MS);
        if routes_first {
            network.check_empty();
        }
    }
    network.check_empty();
    network.check_lonely();
}

#[test]
fn networks_settle_as_they_must() {
    let seeds = match std::env::var("KULAN_SIM_SEED") {
        Ok(seed) => {
            let seed = seed.parse().expect("KULAN_SIM_SEED is a number");
            seed..seed + 1
        }
        Err(_) => 0..SEEDS,
    };
    for seed in seeds {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(seed))) {
            eprintln!("to run this network again: KULAN_SIM_SEED={seed}");
            resume_unwind(panic);
        }
    }
}
