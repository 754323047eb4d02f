//! `kulan show` and `kulan reload`.

mod peers;
mod routes;

use std::io::{self, BufWriter, StdoutLock, Write};

use serde::Serialize;

pub(super) use routes::path_and_origin;

use super::client::{Client, connect};
use super::table::{Align, ByFamily, Table, is_ipv6};
use super::{Failure, Global, Show, json, text};
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
        Show::Peers { peer: None } => peers::peers(client, global.json).await,
        Show::Peers { peer: Some(address) } => peers::peer(client, address.to_string(), global.json).await,
        Show::Routes(args) => routes::routes(client, args, global.json).await,
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

async fn fib(
    mut client: Client,
    domain: Option<String>,
    of: Option<Family>,
    as_json: bool,
) -> Result<(), Failure> {
    let request = pb::ListFibRequest { domain: domain.clone().unwrap_or_default(), family: family(of) };
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
        ByFamily::new(&[("Prefix", Align::Left), ("State", Align::Left), ("Next hops", Align::Left)]);
    let mut found = false;
    while let Some(page) = pages.message().await? {
        found |= !page.routes.is_empty();
        for routes in page.routes.chunk_by(|one, other| is_ipv6(&one.prefix) == is_ipv6(&other.prefix)) {
            let rows = routes.iter().map(fib_row).collect::<Vec<_>>();
            table.print(&mut out, is_ipv6(&routes[0].prefix), &rows)?;
        }
    }
    table.finish(&mut out)?;
    out.flush()?;
    if found { Ok(()) } else { say_why_nothing_is_installed(client, domain).await }
}

/// Where a domain installs nothing, an empty table looks like a fault.
async fn say_why_nothing_is_installed(mut client: Client, name: Option<String>) -> Result<(), Failure> {
    let domains = client.list_domains(pb::ListDomainsRequest {}).await?.into_inner().domains;
    let domain = domains.iter().find(|of| name.as_ref().is_none_or(|name| of.name == *name));
    if let Some(domain) = domain.filter(|of| !of.install) {
        eprintln!("kulan: domain {} puts nothing into the kernel: set install = true in it", domain.name);
    }
    Ok(())
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
    let mut line = |name: &str, value: String| text::field(out, 0, 16, name, &value);
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
