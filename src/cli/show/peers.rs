//! `kulan show peers`.

use std::io::{self, Write};

use super::{Array, print_json, stdout};
use crate::cli::client::Client;
use crate::cli::table::{Align, Table};
use crate::cli::{Failure, json, text};
use crate::control::proto::kulan as pb;

/// All peers, ordered by address.
async fn all_peers(client: &mut Client, address: String) -> Result<Vec<pb::Peer>, Failure> {
    let mut pages = client.list_peers(pb::ListPeersRequest { address }).await?.into_inner();
    let mut peers = Vec::new();
    while let Some(page) = pages.message().await? {
        peers.extend(page.peers);
    }
    peers.sort_by_cached_key(|peer| peer.address.parse::<std::net::IpAddr>().ok());
    Ok(peers)
}

pub(super) async fn peers(mut client: Client, as_json: bool) -> Result<(), Failure> {
    let peers = all_peers(&mut client, String::new()).await?;
    let mut out = stdout();
    if as_json {
        let mut array = Array::open(&mut out)?;
        for peer in &peers {
            array.push(&mut out, &json::peer(peer))?;
        }
        return array.close(&mut out);
    }
    let mut table = Table::new(&[
        ("Peer", Align::Left),
        ("AS", Align::Right),
        ("State", Align::Left),
        ("For", Align::Right),
        ("Received", Align::Right),
        ("Accepted", Align::Right),
        ("Advertised", Align::Right),
        ("Description", Align::Left),
    ]);
    let rows: Vec<Vec<String>> = peers.iter().map(peer_row).collect();
    table.print(&mut out, &rows)?;
    Ok(out.flush()?)
}

fn peer_row(peer: &pb::Peer) -> Vec<String> {
    let sum = |of: fn(&pb::PeerFamily) -> u64| peer.families.iter().map(of).sum::<u64>().to_string();
    let words = if peer.description.is_empty() { &peer.group } else { &peer.description };
    vec![
        peer.address.clone(),
        if peer.asn == 0 { "-".into() } else { peer.asn.to_string() },
        text::peer_state(peer).into(),
        peer.since_ms.map_or("never".into(), text::span),
        sum(|of| of.received),
        sum(|of| of.accepted),
        sum(|of| of.advertised),
        words.clone(),
    ]
}

pub(super) async fn peer(mut client: Client, address: String, as_json: bool) -> Result<(), Failure> {
    let peers = all_peers(&mut client, address).await?;
    if as_json {
        return print_json(&peers.iter().map(json::peer).collect::<Vec<_>>());
    }
    let mut out = stdout();
    for peer in &peers {
        print_peer(&mut out, peer)?;
    }
    Ok(out.flush()?)
}

fn print_peer(out: &mut impl Write, peer: &pb::Peer) -> io::Result<()> {
    let kind = match (peer.internal, peer.route_reflector_client) {
        (true, true) => "internal, route reflector client",
        (true, false) => "internal",
        (false, _) => "external",
    };
    let asn = if peer.asn == 0 { "any AS".into() } else { format!("AS {}", peer.asn) };
    writeln!(out, "{}, {asn}, {kind}{}", peer.address, if peer.dynamic { ", dynamic" } else { "" })?;
    let mut line = |name: &str, value: String| text::field(out, 2, 16, name, &value);
    line("Description", peer.description.clone())?;
    line("Group", peer.group.clone())?;
    line("Domain", peer.domain.clone())?;
    let span = peer.since_ms.map_or(", never up yet".into(), |ms| format!(" for {}", text::span(ms)));
    let flaps = match peer.flaps {
        0 => String::new(),
        1 => ", went down once".into(),
        count => format!(", went down {count} times"),
    };
    line("State", format!("{}{span}{flaps}", text::peer_state(peer)))?;
    line("Last error", peer.last_error.clone())?;
    line("Router id", peer.router_id.clone())?;
    line("Local AS", peer.local_asn.to_string())?;
    if !peer.remote_socket.is_empty() {
        line("Connection", format!("{} to {}", peer.local_socket, peer.remote_socket))?;
    }
    let hold_time = match peer.negotiated_hold_time_s {
        0 => format!("{} s proposed", peer.hold_time_s),
        negotiated => format!("{negotiated} s, {} s proposed", peer.hold_time_s),
    };
    line("Hold time", hold_time)?;
    let queued = match peer.out_queue {
        1 => "1 message".into(),
        count => format!("{count} messages"),
    };
    line("Out queue", queued)?;
    let capabilities =
        |all: &[pb::Capability]| all.iter().map(text::capability).collect::<Vec<_>>().join(", ");
    line("We offer", capabilities(&peer.local_capabilities))?;
    line("It offers", capabilities(&peer.remote_capabilities))?;
    let indented = |row: Vec<String>| [vec![String::new()], row].concat();

    writeln!(out)?;
    let mut table = Table::new(&[
        ("", Align::Left),
        ("Family", Align::Left),
        ("Received", Align::Right),
        ("Accepted", Align::Right),
        ("Advertised", Align::Right),
        ("End-of-RIB", Align::Left),
    ]);
    let families = peer.families.iter().map(|of| {
        let end_of_rib = match (of.negotiated, of.end_of_rib_received, of.end_of_rib_sent) {
            (false, _, _) => "not negotiated",
            (_, true, true) => "received, sent",
            (_, true, false) => "received",
            (_, false, true) => "sent",
            (_, false, false) => "-",
        };
        indented(vec![
            text::family(of.family()).into(),
            of.received.to_string(),
            of.accepted.to_string(),
            of.advertised.to_string(),
            end_of_rib.into(),
        ])
    });
    table.print(out, &families.collect::<Vec<_>>())?;

    writeln!(out)?;
    let mut table = Table::new(&[
        ("", Align::Left),
        ("Messages", Align::Left),
        ("Open", Align::Right),
        ("Update", Align::Right),
        ("Notification", Align::Right),
        ("Keepalive", Align::Right),
        ("Route refresh", Align::Right),
    ]);
    let messages = |name: &str, counts: Option<pb::MessageCounts>| {
        let of = counts.unwrap_or_default();
        let counts = [of.opens, of.updates, of.notifications, of.keepalives, of.route_refreshes];
        indented([vec![name.to_string()], counts.map(|count| count.to_string()).to_vec()].concat())
    };
    table.print(out, &[messages("received", peer.received), messages("sent", peer.sent)])
}
