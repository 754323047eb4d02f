//! `kulan watch`: what happens, a line each, printed as it comes.

use std::io::{self, Write};

use super::client::connect;
use super::{Failure, Global, WatchArgs, json, show, text};
use crate::control::proto::kulan as pb;
use crate::control::proto::kulan::watch_event::Event;

pub(super) async fn watch(args: WatchArgs, global: &Global) -> Result<(), Failure> {
    let chosen = args.routes || args.adj_in || args.peers;
    let request = pb::WatchRequest {
        domain: args.domain.unwrap_or_default(),
        best: args.routes || !chosen,
        adj_in: args.adj_in,
        peers: args.peers || !chosen,
        initial: args.initial,
    };
    let mut client = connect(&global.target).await?;
    let mut events = client.watch(request).await?.into_inner();
    let mut out = io::stdout().lock();
    while let Some(event) = events.message().await? {
        let Some(event) = event.event else { continue };
        // Written and flushed one by one: somebody waits for it.
        if global.json {
            serde_json::to_writer(&mut out, &json::watch_event(&event))?;
            writeln!(out)?;
        } else {
            writeln!(out, "{}", line(&event))?;
        }
        out.flush()?;
    }
    Err(Failure::Failed("the daemon has stopped".into()))
}

fn line(event: &Event) -> String {
    match event {
        Event::Best(change) => match &change.path {
            Some(path) => format!("route {} {}", change.prefix, path_words(path)),
            None => format!("route {} gone", change.prefix),
        },
        Event::AdjIn(change) => {
            let from = change.source.as_ref().map_or("?", |of| &of.address);
            match &change.path {
                Some(path) => format!("peer {from} announces {} {}", change.prefix, path_words(path)),
                None => format!("peer {from} withdraws {}", change.prefix),
            }
        }
        Event::Peer(peer) => {
            let error = match &peer.last_error[..] {
                error if !error.is_empty() && peer.state() != pb::SessionState::Established => {
                    format!(" ({error})")
                }
                _ => String::new(),
            };
            let asn = if peer.asn == 0 { String::new() } else { format!(" AS {}", peer.asn) };
            format!("peer {}{asn} {}{error}", peer.address, text::peer_state(peer))
        }
        Event::Missed(count) => format!("missed {count} events: they came faster than they were read"),
        Event::InitialEnd(_) => "that is what there was; what follows is new".into(),
    }
}

fn path_words(path: &pb::Path) -> String {
    let attributes = path.attributes.clone().unwrap_or_default();
    let next_hop = text::next_hop(&attributes.next_hop);
    let mut words = format!("via {next_hop} path {}", show::path_and_origin(&attributes));
    if let Some(local_pref) = attributes.local_pref {
        words.push_str(&format!(" localpref {local_pref}"));
    }
    if let Some(med) = attributes.med {
        words.push_str(&format!(" med {med}"));
    }
    if !attributes.communities.is_empty() {
        let all: Vec<String> = attributes.communities.iter().map(|&of| text::community_name(of)).collect();
        words.push_str(&format!(" communities {}", all.join(" ")));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_lines() {
        let attributes = pb::PathAttributes {
            origin: Some(0),
            as_path: vec![pb::AsSegment { kind: 2, asns: vec![65001, 65002] }],
            next_hop: "192.0.2.1".into(),
            med: Some(5),
            communities: vec![65000 << 16 | 1, 0xffff_ff01],
            ..Default::default()
        };
        let path = Some(pb::Path { attributes: Some(attributes), ..Default::default() });
        let change = pb::RouteChange { prefix: "10.0.0.0/24".into(), path, source: None };
        assert_eq!(
            line(&Event::Best(change)),
            "route 10.0.0.0/24 via 192.0.2.1 path 65001 65002 i med 5 communities 65000:1 no-export"
        );
        let gone = pb::RouteChange { prefix: "10.0.0.0/24".into(), ..Default::default() };
        assert_eq!(line(&Event::Best(gone)), "route 10.0.0.0/24 gone");
        assert_eq!(line(&Event::Missed(3)), "missed 3 events: they came faster than they were read");
    }
}
