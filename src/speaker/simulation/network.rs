//! The network itself: speakers, connections, one clock. Every speaker is driven in turns like the reactor's: what
//! has arrived, timers, work, actions, writes.

use std::collections::{BTreeMap, VecDeque};
use std::io::ErrorKind;
use std::net::SocketAddr;

use smallvec::SmallVec;

use super::Random;
use super::plan::Plan;
use crate::speaker::{Action, Speaker};
use crate::types::*;

/// How many bytes a connection holds that the receiver has not read.
const PIPE_BYTES: usize = 600;

/// The longest time that a packet takes when nothing is wrong, in milliseconds.
const LATENCY_MS: u64 = 30;

/// Turns without the clock moving; more would be a loop.
const TURNS_PER_MOMENT_MAX: u32 = 10_000;

#[derive(Debug)]
enum Packet {
    Syn,
    SynAck,
    Data(Vec<u8>),
    Fin,
    Reset,
}

/// One end of a connection.
struct End {
    node: usize,
    conn: Option<ConnId>,
    address: SocketAddr,
    /// What is on its way to this end.
    incoming: VecDeque<(Time, Packet)>,
    /// The beginning of a message whose end has not come.
    partial: Vec<u8>,
    writable: bool,
    /// When a writer that was stopped may try again.
    room_at: Option<Time>,
    /// Nothing is read before this moment.
    stalled_until: Time,
}

impl End {
    fn next_arrival(&self) -> Option<Time> {
        self.incoming.front().map(|(at, packet)| match packet {
            Packet::Data(_) | Packet::Fin => (*at).max(self.stalled_until),
            _ => *at,
        })
    }

    fn next_event(&self) -> Option<Time> {
        self.next_arrival().into_iter().chain(self.room_at).min()
    }
}

struct Wire {
    ends: [End; 2],
}

pub struct Node {
    pub speaker: Speaker,
    conns: BTreeMap<ConnId, (usize, usize)>,
    /// The last turn left work.
    more: bool,
    /// The process is stopped until then.
    pub frozen_until: Time,
}

pub struct Network {
    pub now: Time,
    pub plan: Plan,
    pub nodes: Vec<Node>,
    pub random: Random,
    /// Dials lead nowhere.
    pub dark: bool,
    wires: BTreeMap<usize, Wire>,
    next_wire: usize,
}

impl Network {
    /// Every speaker of the plan, started at the same moment.
    pub fn new(plan: Plan, random: Random) -> Network {
        let mut network = Network {
            now: Time(1000),
            plan,
            nodes: Vec::new(),
            random,
            dark: false,
            wires: BTreeMap::new(),
            next_wire: 0,
        };
        for node in 0..network.plan.nodes.len() {
            let fresh = network.fresh_node(node);
            network.nodes.push(fresh);
        }
        network
    }

    fn fresh_node(&mut self, node: usize) -> Node {
        let mut speaker = Speaker::new(self.plan.config(node), self.random.next());
        speaker.start(self.now);
        Node { speaker, conns: BTreeMap::new(), more: true, frozen_until: Time(0) }
    }

    /// The process ends and another starts at once. `silently`: as if the machine had lost power, so that nobody
    /// hears of it before they send something.
    pub fn restart(&mut self, node: usize, in_order: bool, silently: bool) {
        if in_order {
            for id in self.nodes[node].speaker.peer_ids() {
                self.nodes[node].speaker.stop(self.now, id);
            }
            self.act(node);
        }
        let conns = std::mem::take(&mut self.nodes[node].conns);
        for (wire, end) in conns.into_values() {
            self.wire(wire).ends[end].conn = None;
            if !silently {
                self.send(wire, end, Packet::Fin);
            }
        }
        self.nodes[node] = self.fresh_node(node);
    }

    /// Gives a speaker the configuration that the plan has for it now.
    pub fn reload(&mut self, node: usize) {
        let config = self.plan.config(node);
        self.nodes[node].speaker.reload(self.now, config);
        self.nodes[node].more = true;
    }

    /// Reloads the speaker at one end of a link.
    pub fn reload_end(&mut self, link: usize, end: usize) {
        self.reload(self.plan.links[link].ends[end].node);
    }

    /// A person shuts a peer down.
    pub fn disable_any(&mut self, node: usize) {
        if let Some(id) = self.any_peer(node) {
            self.nodes[node].speaker.disable(self.now, id, "maintenance");
            self.nodes[node].more = true;
        }
    }

    /// A person lets every peer come up that the configuration does not keep down.
    pub fn enable_all(&mut self, node: usize) {
        let speaker = &mut self.nodes[node].speaker;
        for id in speaker.peer_ids() {
            let shutdown =
                speaker.peers[id.index()].as_ref().is_some_and(|peer| peer.settings.shutdown.is_some());
            if !shutdown {
                speaker.enable(self.now, id);
            }
        }
        self.nodes[node].more = true;
    }

    /// A person resets a peer, softly in one direction or for real.
    pub fn ask_anew(&mut self, node: usize) {
        let Some(id) = self.any_peer(node) else { return };
        let speaker = &mut self.nodes[node].speaker;
        match self.random.below(3) {
            0 => speaker.soft_reset_out(id),
            1 => drop(speaker.soft_reset_in(id)),
            _ => speaker.reset(self.now, id, "a person says so"),
        }
        self.nodes[node].more = true;
    }

    fn any_peer(&mut self, node: usize) -> Option<PeerId> {
        let ids = self.nodes[node].speaker.peer_ids();
        if ids.is_empty() { None } else { Some(self.random.of(&ids)) }
    }

    /// Breaks a connection: both ends see a reset.
    pub fn reset_any(&mut self) {
        let Some(wire) = self.any_wire() else { return };
        for end in 0..2 {
            self.send(wire, end, Packet::Reset);
        }
    }

    /// One end of a connection reads nothing for a while.
    pub fn stall_any(&mut self, ms: u64) {
        let until = self.now.plus_ms(ms);
        let end = self.random.below(2) as usize;
        if let Some(wire) = self.any_wire() {
            self.wire(wire).ends[end].stalled_until = until;
        }
    }

    fn any_wire(&mut self) -> Option<usize> {
        let count = self.wires.len() as u64;
        let at = if count == 0 { return None } else { self.random.below(count) };
        self.wires.keys().copied().nth(at as usize)
    }

    /// Whether a link has one connection, and both of its ends are established on it.
    pub fn is_up(&self, link: usize) -> bool {
        let conns = [0, 1].map(|end| {
            let node = &self.nodes[self.plan.links[link].ends[end].node];
            let id = node.speaker.find_peer(self.plan.address(link, 1 - end))?;
            let conn = node.speaker.peers[id.index()].as_ref()?.established_conn()?;
            node.conns.get(&conn).copied()
        });
        matches!(conns, [Some((a, _)), Some((b, _))] if a == b)
    }

    /// Runs for a while.
    pub fn run_for(&mut self, ms: u64) {
        let until = self.now.plus_ms(ms);
        let mut turns = 0;
        while let Some((at, node)) = self.next_turn().filter(|(at, _)| *at <= until) {
            turns = if at > self.now { 0 } else { turns + 1 };
            assert!(turns < TURNS_PER_MOMENT_MAX, "speaker {node} never rests");
            self.now = self.now.max(at);
            self.turn(node);
        }
        self.now = until;
    }

    /// Who has something to do first; at random among those for whom it is the same moment.
    fn next_turn(&mut self) -> Option<(Time, usize)> {
        let mut due: Vec<Time> =
            self.nodes
                .iter()
                .map(|node| {
                    if node.more { self.now } else { node.speaker.next_deadline().unwrap_or(Time(u64::MAX)) }
                })
                .collect();
        for end in self.wires.values().flat_map(|wire| &wire.ends) {
            if let Some(at) = end.next_event() {
                due[end.node] = due[end.node].min(at);
            }
        }
        for (due, node) in due.iter_mut().zip(&self.nodes) {
            *due = (*due).max(node.frozen_until).max(self.now);
        }
        let first = *due.iter().min()?;
        let candidates: Vec<usize> = (0..due.len()).filter(|node| due[*node] == first).collect();
        Some((first, self.random.of(&candidates)))
    }

    fn turn(&mut self, node: usize) {
        let arrivals: Vec<(usize, usize)> = self
            .wires
            .iter()
            .flat_map(|(wire, it)| [(*wire, 0, &it.ends[0]), (*wire, 1, &it.ends[1])])
            .filter(|(_, _, end)| end.node == node && end.next_event().is_some_and(|at| at <= self.now))
            .map(|(wire, end, _)| (wire, end))
            .collect();
        let mut left = 0;
        for (wire, end) in arrivals {
            // Now and then a turn ends before everything is read.
            if self.random.chance(4) {
                left += 1;
                continue;
            }
            self.arrive(wire, end);
        }
        let unread: Vec<ConnId> = self.nodes[node]
            .conns
            .iter()
            .filter(|(_, (wire, end))| {
                let end = &self.wires[wire].ends[*end];
                end.incoming.iter().any(|(at, packet)| *at <= self.now && matches!(packet, Packet::Data(_)))
            })
            .map(|(conn, _)| *conn)
            .collect();
        let it = &mut self.nodes[node];
        it.speaker.advance(self.now, &|conn| unread.contains(&conn));
        it.more = it.speaker.work(self.now) || left > 0;
        self.act(node);
        self.write(node);
        self.act(node);
        self.wires
            .retain(|_, wire| wire.ends.iter().any(|end| end.conn.is_some() || !end.incoming.is_empty()));
        self.check_invariants(node);
    }

    fn check_invariants(&self, node: usize) {
        let speaker = &self.nodes[node].speaker;
        for peer in speaker.peers.iter().flatten() {
            peer.session.check_invariants();
            assert_eq!(peer.session.established().is_some(), peer.import.is_some(), "{}", peer.address);
            for conn in peer.conns.iter().flatten() {
                assert!(
                    self.nodes[node].conns.contains_key(conn),
                    "{conn:?} of {} has no socket",
                    peer.address
                );
            }
        }
        for conn in self.nodes[node].conns.keys() {
            assert!(speaker.wants_bytes(*conn), "the socket of {conn:?} is left over");
        }
        speaker.export.check_invariants();
        speaker.rib.check_invariants(&BTreeMap::new());
    }

    fn wire(&mut self, wire: usize) -> &mut Wire {
        self.wires.get_mut(&wire).expect("a wire stays while an end of it is in use")
    }

    fn arrive(&mut self, wire: usize, end: usize) {
        let Some(it) = self.wires.get_mut(&wire).map(|wire| &mut wire.ends[end]) else { return };
        let node = it.node;
        if it.room_at.is_some_and(|at| at <= self.now) {
            it.room_at = None;
            it.writable = true;
            if let Some(conn) = it.conn {
                self.nodes[node].speaker.mark_dirty(conn);
            }
        }
        if it.next_arrival().is_none_or(|at| at > self.now) {
            return;
        }
        let Some((_, packet)) = it.incoming.pop_front() else { return };
        let conn = it.conn;
        match (packet, conn) {
            (Packet::Syn, _) => self.accept(wire, end),
            (Packet::SynAck, Some(conn)) => {
                it.writable = true;
                let local = it.address;
                self.nodes[node].speaker.connected(self.now, conn, local);
                self.nodes[node].speaker.mark_dirty(conn);
            }
            (Packet::Data(bytes), Some(conn)) => {
                let mut buffer = std::mem::take(&mut it.partial);
                buffer.extend_from_slice(&bytes);
                if self.nodes[node].speaker.wants_bytes(conn) {
                    let consumed = self.nodes[node].speaker.receive(self.now, conn, &buffer);
                    self.wire(wire).ends[end].partial = buffer.split_off(consumed);
                }
            }
            (Packet::Fin, Some(conn)) => self.lost(wire, end, conn, None),
            (Packet::Reset, Some(conn)) => self.lost(wire, end, conn, Some(ErrorKind::ConnectionReset)),
            (Packet::SynAck | Packet::Data(_), None) => self.send(wire, end, Packet::Reset),
            (Packet::Fin | Packet::Reset, None) => {}
        }
    }

    fn lost(&mut self, wire: usize, end: usize, conn: ConnId, error: Option<ErrorKind>) {
        let node = self.wire(wire).ends[end].node;
        if self.nodes[node].speaker.wants_bytes(conn) {
            self.drop_conn(wire, end);
            self.nodes[node].speaker.closed(self.now, conn, error);
        }
    }

    fn drop_conn(&mut self, wire: usize, end: usize) {
        let it = &mut self.wire(wire).ends[end];
        let node = it.node;
        if let Some(conn) = it.conn.take() {
            self.nodes[node].conns.remove(&conn);
            self.send(wire, end, Packet::Fin);
        }
    }

    fn accept(&mut self, wire: usize, end: usize) {
        let ends = &self.wire(wire).ends;
        let (node, remote, local) = (ends[end].node, ends[1 - end].address, ends[end].address);
        match self.nodes[node].speaker.accept(self.now, remote, local, None) {
            Ok(accepted) => {
                let before = self.nodes[node].conns.insert(accepted.conn, (wire, end));
                assert_eq!(before, None, "{:?} has a socket already", accepted.conn);
                let it = &mut self.wire(wire).ends[end];
                (it.conn, it.writable) = (Some(accepted.conn), true);
                self.send(wire, end, Packet::SynAck);
            }
            Err(_) => {
                self.send(wire, end, Packet::SynAck);
                self.send(wire, end, Packet::Fin);
            }
        }
    }

    fn act(&mut self, node: usize) {
        while let Some(action) = self.nodes[node].speaker.poll_action() {
            match action {
                Action::Connect { conn, dial } => self.dial(node, conn, dial.remote),
                Action::Close { conn, last_words } => {
                    let (wire, end) = self.nodes[node].conns[&conn];
                    if self.wires[&wire].ends[end].writable && !last_words.is_empty() {
                        self.send(wire, end, Packet::Data(last_words));
                    }
                    self.drop_conn(wire, end);
                }
                Action::ListenKey { .. } | Action::OpenKernel { .. } => {}
            }
        }
    }

    fn dial(&mut self, node: usize, conn: ConnId, remote: SocketAddr) {
        let (link, end) = self.plan.end_with(remote.ip()).expect("every peer is at the end of a link");
        let wire = self.next_wire;
        self.next_wire += 1;
        let local = SocketAddr::new(self.plan.address(link, 1 - end), 40_000 + (wire % 20_000) as u16);
        let target = self.plan.links[link].ends[end].node;
        let make = |node, conn, address| End {
            node,
            conn,
            address,
            incoming: VecDeque::new(),
            partial: Vec::new(),
            writable: false,
            room_at: None,
            stalled_until: Time(0),
        };
        let ends = [make(node, Some(conn), local), make(target, None, remote)];
        self.wires.insert(wire, Wire { ends });
        let before = self.nodes[node].conns.insert(conn, (wire, 0));
        assert_eq!(before, None, "{conn:?} has a socket already");
        if !self.dark {
            self.send(wire, 0, Packet::Syn);
        }
    }

    fn write(&mut self, node: usize) {
        for _ in 0..self.nodes[node].speaker.dirty_count() {
            let Some(conn) = self.nodes[node].speaker.poll_dirty() else { break };
            let Some((wire, end)) = self.nodes[node].conns.get(&conn).copied() else { continue };
            while self.wires[&wire].ends[end].writable {
                let mut slices = SmallVec::new();
                let speaker = &mut self.nodes[node].speaker;
                let offered_bytes = speaker.fill(conn, &mut slices);
                if offered_bytes == 0 {
                    break;
                }
                let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
                drop(slices);
                let unread =
                    self.wires[&wire].ends[1 - end].incoming.iter().map(|(_, packet)| match packet {
                        Packet::Data(data) => data.len(),
                        _ => 0,
                    });
                let mut room = PIPE_BYTES.saturating_sub(unread.sum());
                if self.random.chance(4) {
                    room = room.min(self.random.below(offered_bytes as u64 + 1) as usize);
                }
                let sent_bytes = offered_bytes.min(room);
                let all = sent_bytes == offered_bytes;
                self.nodes[node].speaker.sent(self.now, conn, sent_bytes, all);
                if sent_bytes > 0 {
                    self.send(wire, end, Packet::Data(bytes[..sent_bytes].to_vec()));
                }
                if !all {
                    let at = self.now.plus_ms(1 + self.random.below(LATENCY_MS));
                    let it = &mut self.wire(wire).ends[end];
                    it.writable = false;
                    it.room_at = Some(at);
                }
            }
        }
    }

    /// Sends from one end of a wire to the other, bytes in pieces.
    fn send(&mut self, wire: usize, end: usize, packet: Packet) {
        let mut pieces = VecDeque::from([packet]);
        while let Some(piece) = pieces.pop_front() {
            let piece = match piece {
                Packet::Data(mut bytes) if bytes.len() > 1 && self.random.chance(3) => {
                    let rest = bytes.split_off(1 + self.random.below(bytes.len() as u64 - 1) as usize);
                    pieces.push_front(Packet::Data(rest));
                    Packet::Data(bytes)
                }
                piece => piece,
            };
            let arrival = self.now.plus_ms(1 + self.random.below(LATENCY_MS));
            let queue = &mut self.wire(wire).ends[1 - end].incoming;
            let after = queue.back().map_or(Time(0), |(at, _)| *at);
            queue.push_back((arrival.max(after), piece));
        }
    }
}
