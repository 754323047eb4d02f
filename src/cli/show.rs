//! `kulan show` and `kulan reload`.

use std::io::{self, BufWriter, StdoutLock, Write};

use serde::Serialize;
use tonic::Streaming;

use super::client::{Client, connect};
use super::table::{Align, Table};
use super::{Failure, Global, RoutesArgs, Show, json, text};
use crate::control::proto::kulan as pb;
use crate::types::Family;

type Out = BufWriter<StdoutLock<'static>>;

fn stdout() -> Out {
    BufWriter::new(io::stdout().lock())
}

/// A JSON array that is written element by element, a line each.
struct Array {
    empty: bool,
}

impl Array {
    fn open(out: &mut Out) -> io::Result<Array> {
        write!(out, "[")?;
        Ok(Array { empty: true })
    }

    fn push(&mut self, out: &mut Out, element: &impl Serialize) -> Result<(), Failure> {
        write!(out, "{}", if self.empty { "\n" } else { ",\n" })?;
        self.empty = false;
        Ok(serde_json::to_writer(out, element)?)
    }

    fn close(self, out: &mut Out) -> Result<(), Failure> {
        writeln!(out, "{}]", if self.empty { "" } else { "\n" })?;
        Ok(out.flush()?)
    }
}

fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let mut out = stdout();
    serde_json::to_writer_pretty(&mut out, value)?;
    writeln!(out)?;
    Ok(out.flush()?)
}

fn family(family: Option<Family>) -> i32 {
    let family = match family {
        None => pb::Family::Unspecified,
        Some(Family::Ipv4Unicast) => pb::Family::Ipv4Unicast,
        Some(Family::Ipv6Unicast) => pb::Family::Ipv6Unicast,
    };
    family.into()
}

/// `kulan show ...`.
pub(super) async fn show(what: Show, global: &Global) -> Result<(), Failure> {
    let client = connect(&global.target).await?;
    match what {
        Show::Peers { peer: None } => peers(client, global.json).await,
        Show::Peers { peer: Some(address) } => peer(client, address.to_string(), global.json).await,
        Show::Routes(args) => routes(client, args, global.json).await,
        Show::Fib { domain, family } => fib(client, domain, family, global.json).await,
        Show::Domains => domains(client, global.json).await,
        Show::Summary => summary(client, global.json).await,
    }
}

/// `kulan reload`.
pub(super) async fn reload(global: &Global) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Reloaded {
        changes: Vec<String>,
    }
    let mut client = connect(&global.target).await?;
    let changes = client.reload(pb::ReloadRequest {}).await?.into_inner().changes;
    if global.json {
        return print_json(&Reloaded { changes });
    }
    let mut out = stdout();
    if changes.is_empty() {
        writeln!(out, "nothing changed")?;
    }
    changes.iter().try_for_each(|line| writeln!(out, "{line}"))?;
    Ok(out.flush()?)
}

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

async fn peers(mut client: Client, as_json: bool) -> Result<(), Failure> {
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

async fn peer(mut client: Client, address: String, as_json: bool) -> Result<(), Failure> {
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
    let mut line = |name: &str, value: String| match &value[..] {
        "" => Ok(()),
        value => writeln!(out, "  {:<14}{value}", format!("{name}:")),
    };
    line("Description", peer.description.clone())?;
    line("Group", peer.group.clone())?;
    line("Domain", peer.domain.clone())?;
    let span = peer.since_ms.map_or(", never up yet".into(), |ms| format!(" for {}", text::span(ms)));
    let flaps = match peer.flaps {
        0 => String::new(),
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
    line("Out queue", format!("{} messages", peer.out_queue))?;
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

async fn routes(mut client: Client, args: RoutesArgs, as_json: bool) -> Result<(), Failure> {
    use pb::list_routes_request::{Match, Table as Of};
    let table = match (args.side.inbound, args.side.outbound) {
        (true, _) => Of::AdjIn,
        (_, true) => Of::AdjOut,
        _ => Of::Global,
    };
    let request = pb::ListRoutesRequest {
        domain: args.domain.unwrap_or_default(),
        table: table.into(),
        peer: args.peer.map(|peer| peer.to_string()).unwrap_or_default(),
        family: family(args.family),
        prefix: args.prefix.clone().unwrap_or_default(),
        r#match: if args.longer { Match::Longer } else { Match::Exact }.into(),
    };
    let pages = client.list_routes(request).await?.into_inner();
    let mut out = stdout();
    let found = match (as_json, &args.prefix) {
        (true, _) => routes_json(&mut out, pages).await?,
        (false, Some(_)) if !args.longer => routes_in_full(&mut out, pages).await?,
        (false, _) => routes_table(&mut out, pages).await?,
    };
    match args.prefix {
        Some(prefix) if !found => Err(Failure::Failed(format!("no route matches {prefix}"))),
        _ => Ok(()),
    }
}

async fn routes_json(out: &mut Out, mut pages: Streaming<pb::RoutesPage>) -> Result<bool, Failure> {
    let mut array = Array::open(out)?;
    while let Some(page) = pages.message().await? {
        for route in &page.routes {
            array.push(out, &json::route(route))?;
        }
    }
    let found = !array.empty;
    array.close(out)?;
    Ok(found)
}

async fn routes_table(out: &mut Out, mut pages: Streaming<pb::RoutesPage>) -> Result<bool, Failure> {
    let mut table = Table::new(&[
        ("", Align::Left),
        ("Prefix", Align::Left),
        ("Next hop", Align::Left),
        ("From", Align::Left),
        ("Pref", Align::Right),
        ("MED", Align::Right),
        ("AS path", Align::Left),
    ]);
    let mut found = false;
    while let Some(page) = pages.message().await? {
        found = true;
        let rows: Vec<Vec<String>> = page
            .routes
            .iter()
            .flat_map(|route| route.paths.iter().map(|path| path_row(&route.prefix, path)))
            .collect();
        table.print(out, &rows)?;
    }
    table.finish(out)?;
    out.flush()?;
    Ok(found)
}

/// What stands before a path: whether it is usable, best, in use beside the best, kept.
fn marks(path: &pb::Path) -> String {
    [
        if path.next_hop_unreachable { ' ' } else { '*' },
        if path.best {
            '>'
        } else if path.multipath {
            '='
        } else {
            ' '
        },
        if path.stale { 'S' } else { ' ' },
    ]
    .iter()
    .collect::<String>()
    .trim_end()
    .into()
}

fn source(path: &pb::Path) -> String {
    path.source.as_ref().map_or("local".into(), |of| of.address.clone())
}

/// An AS path with the origin's letter behind it.
pub(super) fn path_and_origin(attributes: &pb::PathAttributes) -> String {
    let path = text::as_path(&attributes.as_path);
    format!("{path} {}", text::origin_letter(attributes.origin)).trim_start().into()
}

fn path_row(prefix: &str, path: &pb::Path) -> Vec<String> {
    let attributes = path.attributes.clone().unwrap_or_default();
    let number = |value: Option<u32>| value.map_or("-".into(), |value| value.to_string());
    vec![
        marks(path),
        prefix.into(),
        attributes.next_hop.clone(),
        source(path),
        number(attributes.local_pref),
        number(attributes.med),
        path_and_origin(&attributes),
    ]
}

async fn routes_in_full(out: &mut Out, mut pages: Streaming<pb::RoutesPage>) -> Result<bool, Failure> {
    let mut found = false;
    while let Some(page) = pages.message().await? {
        for route in &page.routes {
            found = true;
            print_route(out, route)?;
        }
    }
    out.flush()?;
    Ok(found)
}

fn print_route(out: &mut impl Write, route: &pb::Route) -> io::Result<()> {
    let paths = match route.paths.len() {
        1 => "1 path".into(),
        count => format!("{count} paths"),
    };
    writeln!(out, "{}, {paths}", route.prefix)?;
    route.paths.iter().try_for_each(|path| print_path(out, path))
}

fn print_path(out: &mut impl Write, path: &pb::Path) -> io::Result<()> {
    let attributes = path.attributes.clone().unwrap_or_default();
    let from = match &path.source {
        None => "originated here".into(),
        Some(of) => format!("from {} (AS {}, router id {})", of.address, of.asn, of.router_id),
    };
    let mut notes = String::new();
    for (is, note) in [
        (path.best, ", best"),
        (path.multipath && !path.best, ", in use"),
        (path.stale, ", stale"),
        (path.next_hop_unreachable, ", next hop unreachable"),
    ] {
        notes.push_str(if is { note } else { "" });
    }
    let age = path.age_ms.map(|ms| format!(", {} old", text::span(ms))).unwrap_or_default();
    writeln!(out, "  {from}{notes}{age}")?;
    let mut line = |name: &str, value: String| match &value[..] {
        "" => Ok(()),
        value => writeln!(out, "    {:<23}{value}", format!("{name}:")),
    };
    let number = |value: Option<u32>| value.map(|value| value.to_string()).unwrap_or_default();
    let list = |all: Vec<String>| all.join(" ");
    line("Next hop", attributes.next_hop.clone())?;
    line("Link-local next hop", attributes.next_hop_link_local.clone())?;
    let as_path = text::as_path(&attributes.as_path);
    line("AS path", if as_path.is_empty() { "empty".into() } else { as_path })?;
    line("Origin", attributes.origin.map(text::origin).unwrap_or_default().into())?;
    line("Local preference", number(attributes.local_pref))?;
    line("MED", number(attributes.med))?;
    line("Atomic aggregate", if attributes.atomic_aggregate { "yes".into() } else { String::new() })?;
    let aggregator = attributes.aggregator.as_ref();
    line("Aggregator", aggregator.map(|of| format!("AS {} {}", of.asn, of.address)).unwrap_or_default())?;
    line("Communities", list(attributes.communities.iter().map(|&of| text::community_name(of)).collect()))?;
    let large = attributes.large_communities.iter().map(text::large_community).collect();
    line("Large communities", list(large))?;
    let extended = attributes.extended_communities.iter().map(|&of| text::extended_community(of)).collect();
    line("Extended communities", list(extended))?;
    line("Originator", attributes.originator_id.clone())?;
    line("Cluster list", attributes.cluster_list.join(" "))?;
    line("Only to customer", number(attributes.only_to_customer))?;
    for other in &attributes.other {
        let value: String = other.value.iter().map(|byte| format!("{byte:02x}")).collect();
        line(&format!("Attribute {}", other.code), value)?;
    }
    Ok(())
}

async fn fib(
    mut client: Client,
    domain: Option<String>,
    of: Option<Family>,
    as_json: bool,
) -> Result<(), Failure> {
    let request = pb::ListFibRequest { domain: domain.unwrap_or_default(), family: family(of) };
    let mut pages = client.list_fib(request).await?.into_inner();
    let mut out = stdout();
    if as_json {
        let mut array = Array::open(&mut out)?;
        while let Some(page) = pages.message().await? {
            for route in &page.routes {
                array.push(&mut out, &json::fib_route(route))?;
            }
        }
        return array.close(&mut out);
    }
    let mut table =
        Table::new(&[("Prefix", Align::Left), ("State", Align::Left), ("Next hops", Align::Left)]);
    while let Some(page) = pages.message().await? {
        table.print(&mut out, &page.routes.iter().map(fib_row).collect::<Vec<_>>())?;
    }
    table.finish(&mut out)?;
    Ok(out.flush()?)
}

fn fib_row(route: &pb::FibRoute) -> Vec<String> {
    let next_hop = |of: &pb::FibNextHop| {
        let via = if of.gateway.is_empty() { String::new() } else { format!("via {} ", of.gateway) };
        let weight = if of.weight > 1 { format!(" weight {}", of.weight) } else { String::new() };
        format!("{via}dev {}{weight}", of.interface)
    };
    let next_hops = route.next_hops.iter().map(next_hop).collect::<Vec<_>>().join(", ");
    let state = match &route.error[..] {
        "" => json::fib_state(route).into(),
        error => format!("{}: {error}", json::fib_state(route)),
    };
    vec![route.prefix.clone(), state, next_hops]
}

fn destinations(counts: &[pb::FamilyCounts], family: pb::Family) -> u64 {
    counts.iter().filter(|of| of.family() == family).map(|of| of.destinations).sum()
}

async fn domains(mut client: Client, as_json: bool) -> Result<(), Failure> {
    let domains = client.list_domains(pb::ListDomainsRequest {}).await?.into_inner().domains;
    let mut out = stdout();
    if as_json {
        let mut array = Array::open(&mut out)?;
        for domain in &domains {
            array.push(&mut out, &json::domain(domain))?;
        }
        return array.close(&mut out);
    }
    let mut table = Table::new(&[
        ("Domain", Align::Left),
        ("Table", Align::Right),
        ("Peers", Align::Right),
        ("IPv4 routes", Align::Right),
        ("IPv6 routes", Align::Right),
        ("Max paths", Align::Right),
        ("Installed", Align::Right),
        ("Pending", Align::Right),
        ("Failed", Align::Right),
    ]);
    let rows = domains.iter().map(|of| {
        let installed = if of.install { of.installed.to_string() } else { "off".into() };
        vec![
            of.name.clone(),
            of.table.to_string(),
            of.peers.to_string(),
            destinations(&of.routes, pb::Family::Ipv4Unicast).to_string(),
            destinations(&of.routes, pb::Family::Ipv6Unicast).to_string(),
            of.max_paths.to_string(),
            installed,
            of.pending.to_string(),
            of.failed.to_string(),
        ]
    });
    table.print(&mut out, &rows.collect::<Vec<_>>())?;
    Ok(out.flush()?)
}

async fn summary(mut client: Client, as_json: bool) -> Result<(), Failure> {
    let summary = client.get_summary(pb::GetSummaryRequest {}).await?.into_inner();
    let statistics = client.get_statistics(pb::GetStatisticsRequest {}).await?.into_inner();
    if as_json {
        return print_json(&json::summary(&summary, &statistics));
    }
    let mut out = stdout();
    print_summary(&mut out, &summary, &statistics)?;
    Ok(out.flush()?)
}

fn print_summary(out: &mut impl Write, of: &pb::Summary, statistics: &pb::Statistics) -> io::Result<()> {
    let mut line = |name: &str, value: String| writeln!(out, "{:<16}{value}", format!("{name}:"));
    line("Speaker", format!("AS {}, router id {}, cluster id {}", of.asn, of.router_id, of.cluster_id))?;
    line("Version", format!("kulan {}, up for {}", of.version, text::span(of.uptime_ms)))?;
    let listen = if of.listen.is_empty() { "nowhere".into() } else { of.listen.join(", ") };
    line("Listens at", listen)?;
    line("Peers", format!("{}, {} established", of.peers, of.peers_established))?;
    for counts in &of.routes {
        let name = text::family(counts.family());
        line(name, format!("{} destinations, {} paths", counts.destinations, counts.paths))?;
    }
    line("Attribute sets", of.attribute_sets.to_string())?;
    line("Update groups", of.update_groups.to_string())?;
    let parts: Vec<String> =
        of.memory.iter().map(|part| format!("{} {}", part.name, text::bytes(part.bytes))).collect();
    let parts = if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) };
    line("Memory", format!("{}{parts}", text::bytes(of.resident_bytes)))?;
    let busy = text::nanoseconds(statistics.busy_ns);
    let longest = text::nanoseconds(statistics.longest_turn_ns);
    line("Loop", format!("{} turns, busy for {busy}, longest turn {longest}", statistics.turns))?;
    if !statistics.stages.is_empty() {
        writeln!(out)?;
        let mut table = Table::new(&[
            ("Stage", Align::Left),
            ("Runs", Align::Right),
            ("Busy", Align::Right),
            ("Longest", Align::Right),
        ]);
        let rows = statistics.stages.iter().map(|stage| {
            let busy = text::nanoseconds(stage.busy_ns);
            vec![stage.name.clone(), stage.runs.to_string(), busy, text::nanoseconds(stage.longest_ns)]
        });
        table.print(out, &rows.collect::<Vec<_>>())?;
    }
    if !statistics.queues.is_empty() {
        writeln!(out)?;
        let mut table =
            Table::new(&[("Queue", Align::Left), ("Depth", Align::Right), ("Limit", Align::Right)]);
        let rows = statistics
            .queues
            .iter()
            .map(|queue| vec![queue.name.clone(), queue.depth.to_string(), queue.limit.to_string()]);
        table.print(out, &rows.collect::<Vec<_>>())?;
    }
    let counters: Vec<Vec<String>> = statistics
        .counters
        .iter()
        .filter(|counter| counter.value > 0)
        .map(|counter| vec![counter.name.clone(), counter.value.to_string()])
        .collect();
    if !counters.is_empty() {
        writeln!(out)?;
        Table::new(&[("Counter", Align::Left), ("Value", Align::Right)]).print(out, &counters)?;
    }
    Ok(())
}
