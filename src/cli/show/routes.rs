//! `kulan show routes`: a table, or everything about one.

use std::io::{self, Write};

use tonic::Streaming;

use super::{Array, Out, family, stdout};
use crate::cli::client::Client;
use crate::cli::table::{Align, ByFamily, is_ipv6};
use crate::cli::{Failure, RoutesArgs, json, text};
use crate::control::proto::kulan as pb;

pub(super) async fn routes(mut client: Client, args: RoutesArgs, as_json: bool) -> Result<(), Failure> {
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
        (false, prefix) => routes_table(&mut out, prefix.is_some(), pages).await?,
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

/// `wanted`: it is a failure if there is nothing.
async fn routes_table(
    out: &mut Out,
    wanted: bool,
    mut pages: Streaming<pb::RoutesPage>,
) -> Result<bool, Failure> {
    let mut table = ByFamily::new(&[
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
        found |= !page.routes.is_empty();
        for routes in page.routes.chunk_by(|one, other| is_ipv6(&one.prefix) == is_ipv6(&other.prefix)) {
            let rows =
                routes.iter().flat_map(|route| route.paths.iter().map(|path| path_row(&route.prefix, path)));
            table.print(out, is_ipv6(&routes[0].prefix), &rows.collect::<Vec<_>>())?;
        }
    }
    // Of a prefix that nothing matches the complaint says enough.
    if !found && !wanted {
        table.finish(out)?;
    }
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
pub(in crate::cli) fn path_and_origin(attributes: &pb::PathAttributes) -> String {
    let path = text::as_path(&attributes.as_path);
    format!("{path} {}", text::origin_letter(attributes.origin)).trim_start().into()
}

fn path_row(prefix: &str, path: &pb::Path) -> Vec<String> {
    let attributes = path.attributes.clone().unwrap_or_default();
    let number = |value: Option<u32>| value.map_or("-".into(), |value| value.to_string());
    vec![
        marks(path),
        prefix.into(),
        text::next_hop(&attributes.next_hop).into(),
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
    let mut line = |name: &str, value: String| text::field(out, 4, 27, name, &value);
    let number = |value: Option<u32>| value.map(|value| value.to_string()).unwrap_or_default();
    let list = |all: Vec<String>| all.join(" ");
    line("Next hop", text::next_hop(&attributes.next_hop).into())?;
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
