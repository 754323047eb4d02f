//! Anything may happen, in any order; when it stops happening, both ends come up and stay up.

use super::network::{Network, Random, settings};
use crate::session::SessionSettings;
use crate::wire::frame::MessageKind;

const SEEDS: u64 = 400;
const FAULTS: u64 = 40;

#[test]
fn whatever_happened_both_ends_come_up_in_the_end() {
    for seed in 0..SEEDS {
        let mut random = Random(seed);
        let mut network = Network::started(two_of_a_kind(&mut random), seed);
        for _ in 0..FAULTS {
            network.latency_ms_max = 1 + random.below(2000);
            let pause_ms = 1 << random.below(17);
            let until = network.now.plus_ms(random.below(pause_ms));
            while network.now < until {
                network.step(until);
            }
            fault(&mut network, &mut random);
        }
        network.dark = false;
        network.latency_ms_max = 5;
        for end in 0..2 {
            network.boot(end);
        }
        // Half-dead connections live until their hold timers, or an OPEN that never comes, end them.
        let limit_s = 300;
        let start = network.now;
        let mut stable_since = None;
        while stable_since.is_none_or(|since| network.now.since_ms(since) < 200_000) {
            assert!(
                network.now.since_ms(start) < 1000 * (limit_s + 200),
                "seed {seed}: {:?}",
                network.states()
            );
            let until = network.now.plus_s(1);
            network.step(until);
            stable_since = if network.is_up() { stable_since.or(Some(network.now)) } else { None };
        }
    }
}

fn two_of_a_kind(random: &mut Random) -> [SessionSettings; 2] {
    let passive = random.below(3);
    let restart = random.below(2) == 0;
    let hold_time_s = [9, 90, 180][random.below(3) as usize];
    [1, 2].map(|id| {
        let mut settings = SessionSettings { passive: passive == id, hold_time_s, ..settings(id as u32) };
        settings.graceful_restart.enabled = restart;
        settings
    })
}

fn fault(network: &mut Network, random: &mut Random) {
    let end = random.below(2) as usize;
    match random.below(12) {
        0 => network.crash(end, false),
        1 => network.crash_silently(end),
        2 => network.crash(end, true),
        3 => network.lose_power(end),
        4 => network.kill_links(),
        5 => network.reset_links(),
        6 => network.dark = !network.dark,
        7 => network.input(end, |session, now| session.handle_shutdown("maintenance", now)),
        8 => network.input(end, |session, now| session.handle_reset("", now)),
        9 => network.boot(end),
        10 if network.ends[end].session.established().is_some() => {
            let length = random.below(60) as usize;
            let noise: Vec<u8> = (0..length).map(|_| random.below(256) as u8).collect();
            network.write(end, &noise);
        }
        _ if network.ends[end].session.established().is_some() => {
            let kinds = [
                MessageKind::Open,
                MessageKind::Update,
                MessageKind::Notification,
                MessageKind::RouteRefresh,
            ];
            let mut message = vec![0xff; 16];
            message.extend_from_slice(&[0, 29, kinds[random.below(4) as usize] as u8]);
            message.extend((0..10).map(|_| random.below(4) as u8));
            network.write(end, &message);
        }
        _ => {}
    }
}
