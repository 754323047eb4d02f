//! How fast a run could be at best on this machine: the same sessions and the same load against a *perfect speaker*, which has
//! everything encoded that its peers should be told and says it as soon as the first route comes; and the same load into a
//! sink that reads and throws away. A speaker that comes close to the first leaves nothing to gain, and a figure close to it
//! measures the tool.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use kulan::types::RouterId;

use crate::attributes::SetId;
use crate::compare::process::raise_descriptor_limit;
use crate::engine::{Encoding, Engine, Payload, Peer, PeerNumber, State, Transport};
use crate::progress::Progress;
use crate::scenario::build::OTHER_DESCRIPTORS;
use crate::scenario::place::Place;
use crate::scenario::run::{Run, Setup};
use crate::scenario::table::{SentRoute, encode_in_parts};
use crate::scenario::{Phase, Scenario};

/// What was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Floor {
    /// The first measured phase against the perfect speaker, s.
    pub perfect_speaker_s: Option<f64>,
    /// The same load into a sink, s.
    pub null_sink_s: Option<f64>,
}

/// Measures the floor of a scenario's first measured phase; nothing where that phase has no floor of its own, as when the
/// speaker's policy is what changes.
///
/// # Errors
/// Why it could not be measured.
pub fn floor(scenario: &Scenario, place: &Place, interrupted: &AtomicBool) -> Result<Floor, String> {
    let Some(measured) = scenario.phases.iter().position(|phase| phase.measure.is_some()) else {
        return Ok(Floor::default());
    };
    let phases = &scenario.phases[..=measured];
    let announced = |phase: &Phase| phase.announce.is_some() || phase.connect.is_some();
    if !phases.iter().all(announced) || phases.iter().filter(|phase| phase.announce.is_some()).count() > 1 {
        return Ok(Floor::default());
    }
    // Keys and ports are between the peers and the real speaker.
    let mut scenario = scenario.clone();
    for group in &mut scenario.groups {
        group.md5 = None;
        group.listen_port = None;
    }
    let any = place.uses_ipv6(&scenario);
    let on: IpAddr = if any { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
    // The port is found out by asking for one.
    let listening = TcpListener::bind((on, 0)).map_err(|error| format!("listening on {on}: {error}"))?;
    let address = listening.local_addr().map_err(|error| format!("listening on {on}: {error}"))?;
    drop(listening);
    let place = place.with_speaker(address);
    let progress = Progress::new(true);
    // Both ends of every session are in this process.
    let peers: usize = scenario.groups.iter().map(|group| group.count).sum();
    raise_descriptor_limit(peers as u64 * 2 + OTHER_DESCRIPTORS)?;
    let setup = Setup {
        scenario: &scenario,
        place,
        meter: None,
        reconfigurer: None,
        progress: &progress,
        interrupted,
    };
    let mut run = Run::new(setup)?;
    let (peers, sent) = perfect_peers(&mut run, address)?;
    let stop = AtomicBool::new(false);
    let (ready, is_ready) = mpsc::channel();
    std::thread::scope(|scope| {
        let speaker = scope.spawn(|| speak(peers, address, &stop, ready));
        let outcome = is_ready
            .recv()
            .map_err(|_| "the perfect speaker did not start".to_string())
            .and_then(|()| run.phases(measured + 1));
        stop.store(true, Ordering::Relaxed);
        let spoken = speaker.join().unwrap_or_else(|_| Err("the perfect speaker panicked".to_string()));
        outcome.and(spoken)
    })?;
    let perfect_speaker_s = run.duration_of(measured);
    let null_sink_s = null_sink(&sent).map_err(|error| format!("the null sink: {error}"))?;
    Ok(Floor { perfect_speaker_s, null_sink_s })
}

/// A peer of the perfect speaker, and what it is told.
struct Told {
    peer: Peer,
    payloads: Vec<Payload>,
}

/// The run's peers as the perfect speaker sees them, and what senders will send.
fn perfect_peers(run: &mut Run<'_>, address: SocketAddr) -> Result<(Vec<Told>, Vec<Payload>), String> {
    let built = &mut run.built;
    for member in &mut built.world.members {
        member.announced = !member.table.routes.is_empty();
    }
    built.world.expect(&mut built.engine);
    let mut encoded: HashMap<usize, Rc<Encoded>> = HashMap::new();
    let mut told = Vec::new();
    let mut sent = Vec::new();
    for member in &built.world.members {
        let ours = built.engine.peer(member.number);
        let mut payloads = Vec::new();
        if member.receives {
            let held = built.engine.held(member.number);
            let parts = encoded
                .entry(Rc::as_ptr(held.expected()) as usize)
                .or_insert_with(|| Rc::new(encoded_parts(&built.engine, held.expected())));
            payloads = without_own(parts, held);
        }
        if member.announced {
            let families: Vec<_> = member.families.iter().collect();
            sent.push(member.table.announcement(&built.engine, &Encoding::default(), &families));
        }
        told.push(Told {
            peer: Peer {
                address: address.ip(),
                speaker: SocketAddr::new(ours.address, 0),
                transport: Transport::Listen(address.port()),
                asn: built.world.asn,
                router_id: RouterId(0x0101_0101),
                receives: false,
                md5: None,
                ..ours.clone()
            },
            payloads,
        });
    }
    for member in &mut built.world.members {
        member.announced = false;
    }
    Ok((told, sent))
}

/// What a class of receivers is told, and its pieces.
type Encoded = (Arc<Vec<u8>>, Vec<Part>);

/// A piece of what a class of receivers is told, and the prefix numbers in it.
struct Part {
    range: std::ops::Range<usize>,
    numbers: Vec<u32>,
}

fn encoded_parts(engine: &Engine, expected: &crate::truth::Expected) -> Encoded {
    let routes: Vec<SentRoute> =
        expected.routes().map(|(number, set)| SentRoute { number, path_id: 0, set }).collect();
    let mut of_set: HashMap<SetId, Vec<u32>> = HashMap::new();
    routes.iter().for_each(|route| of_set.entry(route.set).or_default().push(route.number));
    let mut octets = Vec::new();
    let mut parts = Vec::new();
    encode_in_parts(engine, &routes, &Encoding::default(), &mut octets, |set, range| {
        parts.push(Part { range, numbers: of_set.remove(&set).unwrap_or_default() });
    });
    (Arc::new(octets), parts)
}

/// Everything but the parts that the receiver itself has announced.
fn without_own(encoded: &Encoded, held: &crate::truth::Held) -> Vec<Payload> {
    let (octets, parts) = encoded;
    let mut payloads = Vec::new();
    let mut start = 0;
    if held.has_own() {
        for part in parts.iter().filter(|part| part.numbers.iter().any(|number| held.is_own(*number))) {
            payloads.push(Payload::part(octets.clone(), start..part.range.start));
            start = part.range.end;
        }
    }
    payloads.push(Payload::part(octets.clone(), start..octets.len()));
    payloads.retain(|payload| !payload.is_empty());
    payloads
}

/// The perfect speaker, until it is told to stop.
fn speak(
    told: Vec<Told>,
    address: SocketAddr,
    stop: &AtomicBool,
    ready: mpsc::Sender<()>,
) -> Result<(), String> {
    let mut engine = Engine::new().map_err(|error| format!("the perfect speaker: {error}"))?;
    let mut payloads = Vec::new();
    for one in told {
        engine.add(one.peer);
        payloads.push(one.payloads);
    }
    engine.listen_for_all(address)?;
    ready.send(()).map_err(|_| "nobody waits for the perfect speaker".to_string())?;
    let mut begun = false;
    let mut untold: Vec<PeerNumber> = (0..engine.len()).map(PeerNumber).collect();
    let mut established = 0;
    while !stop.load(Ordering::Relaxed) {
        engine.poll(Duration::from_millis(10)).map_err(|error| format!("the perfect speaker: {error}"))?;
        let began = !begun && (0..engine.len()).any(|number| engine.counts(PeerNumber(number)).updates > 0);
        begun |= began;
        if begun && (began || engine.established() != established) {
            established = engine.established();
            untold.retain(|&number| {
                if *engine.state(number) != State::Established {
                    return true;
                }
                for payload in std::mem::take(&mut payloads[number.0]) {
                    engine.send(number, payload);
                }
                false
            });
        }
    }
    Ok(())
}

/// How long all senders' octets take into a sink that reads and throws away; nothing if there are none.
fn null_sink(payloads: &[Payload]) -> std::io::Result<Option<f64>> {
    let total: usize = payloads.iter().map(Payload::len).sum();
    if total == 0 {
        return Ok(None);
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    std::thread::scope(|scope| {
        let sink = scope.spawn(move || -> std::io::Result<()> {
            let (mut stream, _) = listener.accept()?;
            let mut buffer = vec![0; 256 * 1024];
            while stream.read(&mut buffer)? > 0 {}
            Ok(())
        });
        let mut stream = TcpStream::connect(address)?;
        let begin = Instant::now();
        for payload in payloads {
            stream.write_all(payload.octets())?;
        }
        drop(stream);
        sink.join().unwrap_or_else(|_| Err(std::io::Error::other("the sink panicked")))?;
        Ok(Some(begin.elapsed().as_secs_f64()))
    })
}
