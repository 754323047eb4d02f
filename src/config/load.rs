//! From TOML to [`Config`]: the file as a whole, and every section but peers and policies.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::reader::{Report, Section, boolean, integer, name, narrow, parsed, suggest};
use super::{
    ApiAddress, ApiConfig, Config, ConfigError, ConfigErrors, DomainConfig, NetworkConfig, SpeakerConfig,
    keys, peers, policies,
};
use crate::policy::CommunityPattern;
use crate::types::{Prefix, RouterId};

/// AS_TRANS (RFC 6793 §9): stands for an AS number that does not fit, never for a real AS.
const AS_TRANS: u32 = 23456;

/// The kernel's own `main` table.
const TABLE_MAIN: u32 = 254;
/// The kernel's table of local addresses.
const TABLE_LOCAL: u32 = 255;
/// The tables that Cilium keeps for itself: IPsec, VTEP, and its proxy's two.
const TABLES_CILIUM: [u32; 4] = [200, 202, 2004, 2005];
/// How wide an ECMP route may be; a next-hop group of the kernel's takes more, no network has it.
const MAX_PATHS_MAX: u16 = 256;
/// Metric of installed routes unless told otherwise.
const METRIC_DEFAULT: u32 = 20;
/// As long as a restarting peer's routes are kept, see [`super::GracefulRestart`].
const STALE_TIME_S_DEFAULT: u32 = 360;
/// As much as a peer can be asked to wait for us (RFC 4724 §3 has twelve bits for it).
const SELECTION_DEFERRAL_S_MAX: u16 = 4095;

/// Reads and checks the configuration at `path`. Password files are looked for beside it.
pub fn load(path: &Path) -> Result<Config, ConfigErrors> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| {
        let remedy = match error.kind() {
            std::io::ErrorKind::NotFound => "; write it, or name another with --config",
            std::io::ErrorKind::PermissionDenied => "; run as a user who may read it",
            _ => "",
        };
        let message = format!("cannot be read: {error}{remedy}");
        ConfigErrors(vec![ConfigError { file: file.clone(), line: None, key: None, value: None, message }])
    })?;
    parse(&text, &file, path.parent().unwrap_or(Path::new(".")))
}

/// Reads and checks a configuration. `file` is what errors call it; relative names of files in it are looked
/// up in `base`.
pub fn parse(text: &str, file: &str, base: &Path) -> Result<Config, ConfigErrors> {
    let mut report = Report::new(file, text);
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        errors.iter().for_each(|error| report.syntax(error));
        return Err(report.into_errors());
    }
    let report_mut = &mut report;
    let root = Section::root(&table);
    root.check_keys(report_mut, &[keys::ROOT]);
    let speaker = speaker(report_mut, &root);
    let api = api(report_mut, &root);
    let domains = domains(report_mut, &root);
    let policies = policies::read(report_mut, &root);
    let names = peers::Names { speaker: &speaker, domains: &domains, policies: &policies };
    let (peers, dynamic_peers) = peers::read(report_mut, &root, &names, base);
    let networks = networks(report_mut, &root, &domains);
    if report.is_empty() {
        Ok(Config { speaker, api, domains, peers, dynamic_peers, networks, policies })
    } else {
        Err(report.into_errors())
    }
}

/// An AS number that may stand for a real AS (RFC 7607, RFC 6793 §9).
pub(super) fn asn(value: &DeValue<'_>) -> Result<u32, String> {
    match integer(value, 1..=u32::MAX).map_err(|_| "an AS number is from 1 to 4294967295".to_string())? {
        AS_TRANS => Err("is reserved as AS_TRANS (RFC 6793); write the AS's own number".to_string()),
        asn => Ok(asn),
    }
}

fn router_id(value: &DeValue<'_>) -> Result<RouterId, String> {
    let id: Ipv4Addr = parsed(value, "four octets; write it like an IPv4 address, \"10.0.0.1\"")?;
    if id.is_unspecified() {
        return Err("must not be zero (RFC 6286); write an IPv4 address of this machine".to_string());
    }
    Ok(RouterId(id.to_bits()))
}

/// A prefix without host bits.
pub(super) fn prefix(value: &DeValue<'_>) -> Result<Prefix, String> {
    let text = value.as_str().ok_or("is not a prefix; write \"ADDRESS/LENGTH\"")?;
    // The reason begins by repeating the text, which an error of ours has in front anyway.
    text.parse().map_err(|error: String| {
        error.strip_prefix(&format!("{text:?} ")).map_or(error.clone(), |rest| rest.replace(": ", "; "))
    })
}

/// The name of a domain that exists.
pub(super) fn domain(value: &DeValue<'_>, domains: &[DomainConfig]) -> Result<String, String> {
    let domain = name(value)?;
    if domains.iter().any(|known| known.name == domain) {
        return Ok(domain);
    }
    Err(format!(
        "no [[domain]] has this name{}",
        suggest(&domain, domains.iter().map(|known| known.name.as_str()))
    ))
}

fn speaker(report: &mut Report<'_>, root: &Section<'_>) -> SpeakerConfig {
    let section = root.table(report, "speaker");
    if section.is_none() && root.field("speaker").is_none() {
        report.missing(root, "speaker", "missing; write [speaker] with asn and router_id");
    }
    let mut config = SpeakerConfig::new(0, RouterId(0));
    let Some(section) = section else { return config };
    section.check_keys(report, &[keys::SPEAKER]);
    config.asn = section.require(report, "asn", "write your AS number", asn).unwrap_or(0);
    let remedy = "write an IPv4 address of this machine, such as \"10.0.0.1\"";
    config.router_id = section.require(report, "router_id", remedy, router_id).unwrap_or_default();
    config.cluster_id = section.get(report, "cluster_id", router_id).unwrap_or(config.router_id);
    let remedy = "an address with a port; write \"0.0.0.0:179\" or \"[::]:179\"";
    if let Some(members) = section.members(report, "listen") {
        config.listen.clear();
        for member in members {
            match parsed::<SocketAddr>(member.value.get_ref(), remedy) {
                Ok(addr) if addr.port() == 0 => report.fault(&member, "port 0 cannot be dialled; write 179"),
                Ok(addr) if config.listen.contains(&addr) => {
                    report.fault(&member, "stands here twice; remove one");
                }
                Ok(addr) => config.listen.push(addr),
                Err(message) => report.fault(&member, message),
            }
        }
    }
    config.always_compare_med = section.get(report, "always_compare_med", boolean).unwrap_or(false);
    config.compare_router_id = section.get(report, "compare_router_id", boolean).unwrap_or(false);
    config.multipath_relax = section.get(report, "multipath_relax", boolean).unwrap_or(false);
    let deferral = section.get(report, "selection_deferral_s", narrow(0..=SELECTION_DEFERRAL_S_MAX));
    config.selection_deferral_s = deferral;
    config
}

impl SpeakerConfig {
    /// A speaker with defaults for everything but its identity.
    pub fn new(asn: u32, router_id: RouterId) -> SpeakerConfig {
        SpeakerConfig {
            asn,
            router_id,
            cluster_id: router_id,
            listen: vec![
                SocketAddr::from((Ipv4Addr::UNSPECIFIED, super::PORT_DEFAULT)),
                SocketAddr::from((Ipv6Addr::UNSPECIFIED, super::PORT_DEFAULT)),
            ],
            always_compare_med: false,
            compare_router_id: false,
            multipath_relax: false,
            selection_deferral_s: None,
        }
    }
}

fn api(report: &mut Report<'_>, root: &Section<'_>) -> ApiConfig {
    let mut config = ApiConfig::default();
    let Some(section) = root.table(report, "api") else { return config };
    section.check_keys(report, &[keys::API]);
    if let Some(grpc) = section.list(report, "grpc", api_address) {
        config.grpc = grpc;
    }
    config.http = section.get(report, "http", |value| {
        parsed(value, "an address with a port; write \"127.0.0.1:9179\"").and_then(loopback)
    });
    config
}

fn api_address(value: &DeValue<'_>) -> Result<ApiAddress, String> {
    let what = "an address; write \"unix:/run/kulan/kulan.sock\" or \"127.0.0.1:50051\"";
    match value.as_str().and_then(|text| text.strip_prefix("unix:")) {
        Some(path) if path.starts_with('/') => Ok(ApiAddress::Unix(PathBuf::from(path))),
        Some(_) => {
            Err("the socket's path must be absolute; write \"unix:/run/kulan/kulan.sock\"".to_string())
        }
        None => parsed(value, what).and_then(loopback).map(ApiAddress::Tcp),
    }
}

/// Whoever reaches the API can change routing, and it asks for no password.
fn loopback(addr: SocketAddr) -> Result<SocketAddr, String> {
    if addr.ip().is_loopback() {
        return Ok(addr);
    }
    let local: IpAddr = if addr.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    Err(format!("would be open to the network; write \"{}\"", SocketAddr::new(local, addr.port())))
}

impl Default for ApiConfig {
    /// A Unix socket, and nothing over TCP.
    fn default() -> ApiConfig {
        ApiConfig { grpc: vec![ApiAddress::Unix(PathBuf::from(super::SOCKET_DEFAULT))], http: None }
    }
}

fn domains(report: &mut Report<'_>, root: &Section<'_>) -> Vec<DomainConfig> {
    let mut domains: Vec<DomainConfig> = Vec::new();
    for section in root.tables(report, "domain") {
        // Two domains that share a RIB would leak into each other.
        if let Some(first) = domains.first() {
            let message = format!("a second one; this version has one routing domain, here {:?}", first.name);
            report.missing(&section, "", message + "; remove this [[domain]]");
            continue;
        }
        section.check_keys(report, &[keys::DOMAIN]);
        let name = section.require(report, "name", "write a name", name);
        let mut config = DomainConfig::new(name.unwrap_or_default());
        let table = section.get(report, "table", table);
        config.table = table.unwrap_or(TABLE_MAIN);
        config.install = section.get(report, "install", boolean).unwrap_or(false);
        config.max_paths = section.get(report, "max_paths", narrow(1..=MAX_PATHS_MAX)).unwrap_or(1);
        config.resolve_next_hops =
            section.get(report, "resolve_next_hops", boolean).unwrap_or(config.install);
        let metric = section.get(report, "metric", narrow(1..=u32::MAX));
        config.metric = metric.unwrap_or(METRIC_DEFAULT);
        let stale_time = section.get(report, "stale_time_s", narrow(0..=86_400_u32));
        config.stale_time_s = stale_time.unwrap_or(STALE_TIME_S_DEFAULT);
        domains.push(config);
    }
    if domains.is_empty() {
        domains.push(DomainConfig::new("default".to_string()));
    }
    domains
}

fn table(value: &DeValue<'_>) -> Result<u32, String> {
    match integer(value, 1..=u32::MAX).map_err(|_| "a kernel table is from 1 to 4294967295".to_string())? {
        TABLE_LOCAL => {
            Err("is the kernel's table of its own addresses; write 254 (main) or another".to_string())
        }
        table if TABLES_CILIUM.contains(&table) => {
            Err("is a table that Cilium keeps for itself; write another number, such as 1000".to_string())
        }
        table => Ok(table),
    }
}

impl DomainConfig {
    /// A domain with defaults for everything but its name: the kernel's main table, nothing installed.
    pub fn new(name: String) -> DomainConfig {
        DomainConfig {
            name,
            table: TABLE_MAIN,
            install: false,
            max_paths: 1,
            resolve_next_hops: false,
            metric: METRIC_DEFAULT,
            stale_time_s: STALE_TIME_S_DEFAULT,
        }
    }
}

fn networks(report: &mut Report<'_>, root: &Section<'_>, domains: &[DomainConfig]) -> Vec<NetworkConfig> {
    let mut networks = Vec::new();
    let mut seen = HashMap::new();
    for section in root.tables(report, "network") {
        section.check_keys(report, &[keys::NETWORK]);
        let domain = section
            .get(report, "domain", |value| domain(value, domains))
            .unwrap_or_else(|| domains[0].name.clone());
        let remedy = "write the prefix that is announced";
        let prefix = section.require(report, "prefix", remedy, |value| {
            let prefix = prefix(value)?;
            match seen.insert((prefix, domain.clone()), ()) {
                Some(()) => Err("another [[network]] has this prefix; remove one".to_string()),
                None => Ok(prefix),
            }
        });
        let communities = section.list(report, "communities", |value| {
            let text = value.as_str().unwrap_or_default();
            let community: CommunityPattern = text.parse()?;
            if community.is_exact() {
                Ok(community.value)
            } else {
                Err("must be one community; write a number for each *".to_string())
            }
        });
        let med = section.get(report, "med", narrow(0..=u32::MAX));
        if let Some(prefix) = prefix {
            networks.push(NetworkConfig {
                prefix,
                domain,
                communities: communities.unwrap_or_default(),
                med,
            });
        }
    }
    networks
}
