//! Groups, peers and ranges of dynamic peers.
//!
//! A peer's table is laid over its group's: whatever the peer does not say, the group says, and what neither
//! says has a default. So there is one reader for both, and a fault in a group is found where it stands.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use toml::de::DeValue;

use super::load::{asn, domain, prefix};
use super::reader::{Field, Report, Section, boolean, integer, name, narrow, parsed, string, suggest};
use super::{
    AsnMatch, DomainConfig, DynamicPeerConfig, GracefulRestart, PORT_DEFAULT, PeerConfig, PeerSettings,
    PolicyRef, PrefixLimit, Secret, SpeakerConfig, keys,
};
use crate::policy::PolicyModel;
use crate::types::{Family, FamilySet};

/// The kernel's limit on a TCP MD5 key (`TCP_MD5SIG_MAXKEYLEN`).
const PASSWORD_BYTES_MAX: usize = 80;
/// The longest shutdown communication (RFC 9003 §2).
const SHUTDOWN_BYTES_MAX: usize = 255;
/// The longest interface name that Linux takes (`IFNAMSIZ` with its terminating zero).
const INTERFACE_BYTES_MAX: usize = 15;
const HOLD_TIME_S_DEFAULT: u16 = 90;
/// A peer that returns is found within seconds; a dial costs the loop microseconds.
const CONNECT_RETRY_S_DEFAULT: u16 = 8;
const DYNAMIC_LIMIT_DEFAULT: u32 = 10_000;
const WARNING_PERCENT_DEFAULT: u8 = 75;
const RESTART_TIME_S_DEFAULT: u16 = 120;
/// The restart time has twelve bits on the wire (RFC 4724 §3).
const RESTART_TIME_S_MAX: u16 = 4095;
const STALE_TIME_S_DEFAULT: u32 = 360;

/// What a peer may refer to.
pub(super) struct Names<'c> {
    pub(super) speaker: &'c SpeakerConfig,
    pub(super) domains: &'c [DomainConfig],
    pub(super) policies: &'c PolicyModel,
}

impl Default for GracefulRestart {
    fn default() -> GracefulRestart {
        GracefulRestart {
            // A node that died must not attract traffic for minutes; who wants that says so.
            enabled: false,
            restart_time_s: RESTART_TIME_S_DEFAULT,
            stale_time_s: STALE_TIME_S_DEFAULT,
            notification: true,
        }
    }
}

impl PrefixLimit {
    /// A limit that tears the session down until a person says otherwise, and warns at three quarters.
    pub const fn new(max: u32) -> PrefixLimit {
        PrefixLimit { max, warning_percent: WARNING_PERCENT_DEFAULT, restart_s: None, warning_only: false }
    }
}

impl PeerSettings {
    /// Defaults for everything that has one.
    pub fn new(asn: AsnMatch, families: FamilySet, domain: String) -> PeerSettings {
        PeerSettings {
            group: None,
            description: None,
            domain,
            asn,
            local_asn: None,
            passive: false,
            port: PORT_DEFAULT,
            source: None,
            hold_time_s: HOLD_TIME_S_DEFAULT,
            connect_retry_s: CONNECT_RETRY_S_DEFAULT,
            families,
            route_reflector_client: false,
            import: PolicyRef::Default,
            export: PolicyRef::Default,
            next_hop_self: false,
            multihop_ttl: None,
            ttl_security_hops: None,
            password: None,
            prefix_limit: None,
            graceful_restart: GracefulRestart::default(),
            extended_messages: true,
            extended_next_hop: false,
            allow_own_asn: 0,
            shutdown: None,
        }
    }
}

/// Reads every group, peer and range.
pub(super) fn read(
    report: &mut Report<'_>,
    root: &Section<'_>,
    names: &Names<'_>,
    base: &Path,
) -> (Vec<PeerConfig>, Vec<DynamicPeerConfig>) {
    let mut keys_read = PasswordFiles { base, read: HashMap::new() };
    let mut groups: HashMap<String, Section<'_>> = HashMap::new();
    for section in root.tables(report, "peer_group") {
        section.check_keys(report, &[keys::PEER_GROUP, keys::SETTINGS]);
        // A group that no peer names is checked all the same.
        settings(report, &section, names, &mut keys_read, None);
        let name = section.require(report, "name", "write a name for peers to refer to", |value| {
            let name = name(value)?;
            match groups.contains_key(&name) {
                true => Err("another [[peer_group]] has this name; write another".to_string()),
                false => Ok(name),
            }
        });
        if let Some(name) = name {
            groups.insert(name, section);
        }
    }

    let mut peers = Vec::new();
    let mut seen = HashSet::new();
    for section in root.tables(report, "peer") {
        section.check_keys(report, &[keys::PEER, keys::SETTINGS]);
        let interface = section.get(report, "interface", interface);
        let remedy = "write the peer's address";
        let address = section.require(report, "address", remedy, |value| {
            let address = address(value)?;
            let link_local = is_link_local(address);
            if link_local && section.field("interface").is_none() {
                return Err("is link-local; write interface = \"NAME\" beside it".to_string());
            }
            match seen.insert((address, interface.clone())) {
                false => Err("another [[peer]] has this address; remove one".to_string()),
                true => Ok(address),
            }
        });
        if let (Some(address), Some(field)) = (address, section.field("interface"))
            && !is_link_local(address)
        {
            report.fault(&field, "only a link-local address takes an interface; remove this line");
        }
        let (group, layered) = with_group(report, &section, &groups);
        let mut settings = settings(report, &layered, names, &mut keys_read, address.map(family));
        settings.group = group;
        require_asn(report, &layered);
        if let Some(address) = address {
            peers.push(PeerConfig { address, interface, settings });
        }
    }

    let mut dynamic_peers = Vec::new();
    let mut seen = HashSet::new();
    for section in root.tables(report, "dynamic_peer") {
        section.check_keys(report, &[keys::DYNAMIC_PEER, keys::SETTINGS]);
        let remedy = "write the prefix that the peers connect from";
        let range = section.require(report, "range", remedy, |value| {
            let range = prefix(value)?;
            match seen.insert(range) {
                false => Err("another [[dynamic_peer]] has this range; remove one".to_string()),
                true => Ok(range),
            }
        });
        let limit = section.get(report, "limit", narrow(1..=u32::MAX)).unwrap_or(DYNAMIC_LIMIT_DEFAULT);
        let (group, layered) = with_group(report, &section, &groups);
        let family = range.map(|range| family(range.addr()));
        let mut settings = settings(report, &layered, names, &mut keys_read, family);
        settings.group = group;
        require_asn(report, &layered);
        if let Some(range) = range {
            dynamic_peers.push(DynamicPeerConfig { range, limit, settings });
        }
    }
    (peers, dynamic_peers)
}

fn family(address: IpAddr) -> Family {
    if address.is_ipv4() { Family::Ipv4Unicast } else { Family::Ipv6Unicast }
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

fn require_asn(report: &mut Report<'_>, section: &Section<'_>) {
    if section.field("asn").is_none() {
        let remedy = "write the peer's AS number, \"internal\", \"external\" or \"any\", here or in a group";
        report.missing(section, "asn", format!("missing; {remedy}"));
    }
}

/// The name of the peer's group, and its table laid over the group's.
fn with_group<'t>(
    report: &mut Report<'_>,
    section: &Section<'t>,
    groups: &HashMap<String, Section<'t>>,
) -> (Option<String>, Section<'t>) {
    let group = section.get(report, "group", |value| {
        let group = name(value)?;
        match groups.contains_key(&group) {
            true => Ok(group),
            false => {
                let near = suggest(&group, groups.keys().map(String::as_str));
                Err(format!("no [[peer_group]] has this name{near}"))
            }
        }
    });
    let layered = group.as_ref().and_then(|group| groups.get(group)).map(|group| section.over(group));
    (group, layered.unwrap_or_else(|| section.clone()))
}

fn address(value: &DeValue<'_>) -> Result<IpAddr, String> {
    let address: IpAddr = parsed(value, "an address; write \"192.0.2.1\" or \"2001:db8::1\"")?;
    if let IpAddr::V6(v6) = address
        && let Some(v4) = v6.to_ipv4_mapped()
    {
        return Err(format!("is an IPv4 address in IPv6 clothes; write \"{v4}\""));
    }
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    if address.is_unspecified() || address.is_multicast() || broadcast {
        return Err("is not the address of one machine; write the address of the peer".to_string());
    }
    Ok(address)
}

fn interface(value: &DeValue<'_>) -> Result<String, String> {
    let interface = name(value)?;
    if interface.len() > INTERFACE_BYTES_MAX || interface.contains(|c: char| c == '/' || c.is_whitespace()) {
        return Err(format!(
            "is not an interface's name; those have at most {INTERFACE_BYTES_MAX} characters"
        ));
    }
    Ok(interface)
}

/// Reads what peers and groups have in common. `family` is that of the peer's address, if there is one.
fn settings(
    report: &mut Report<'_>,
    section: &Section<'_>,
    names: &Names<'_>,
    passwords: &mut PasswordFiles<'_>,
    family: Option<Family>,
) -> PeerSettings {
    let families = FamilySet::only(family.unwrap_or(Family::Ipv4Unicast));
    let mut settings = PeerSettings::new(AsnMatch::Any, families, names.domains[0].name.clone());
    settings.description = section.get(report, "description", string);
    if let Some(domain) = section.get(report, "domain", |value| domain(value, names.domains)) {
        settings.domain = domain;
    }
    settings.asn = section.get(report, "asn", asn_match).unwrap_or(AsnMatch::Any);
    settings.local_asn = section.get(report, "local_asn", asn);
    settings.passive = section.get(report, "passive", boolean).unwrap_or(false);
    settings.port = section.get(report, "port", narrow(1..=u16::MAX)).unwrap_or(PORT_DEFAULT);
    settings.source = section.get(report, "source", |value| source(value, family));
    settings.hold_time_s = section.get(report, "hold_time_s", hold_time).unwrap_or(HOLD_TIME_S_DEFAULT);
    settings.connect_retry_s =
        section.get(report, "connect_retry_s", narrow(1..=u16::MAX)).unwrap_or(CONNECT_RETRY_S_DEFAULT);
    if let Some(field) = section.field("families")
        && let Some(list) = section.list(report, "families", parse_family)
    {
        settings.families = list.iter().copied().collect();
        if matches!(field.value.get_ref(), DeValue::Array(array) if array.is_empty()) {
            report.fault(&field, "a session without a family carries nothing; write [\"ipv4-unicast\"]");
        }
    }
    settings.route_reflector_client = section.get(report, "route_reflector_client", boolean).unwrap_or(false);
    settings.import = policy(report, section, "import", names.policies);
    settings.export = policy(report, section, "export", names.policies);
    settings.next_hop_self = section.get(report, "next_hop_self", boolean).unwrap_or(false);
    match section.first_of("multihop_ttl", "ttl_security_hops") {
        Some("multihop_ttl") => {
            settings.multihop_ttl = section.get(report, "multihop_ttl", narrow(1..=u8::MAX))
        }
        Some(key) => settings.ttl_security_hops = section.get(report, key, narrow(1..=254_u8)),
        None => {}
    }
    settings.password = password(report, section, passwords);
    settings.prefix_limit = prefix_limit(report, section);
    settings.graceful_restart = graceful_restart(report, section);
    settings.extended_messages = section.get(report, "extended_messages", boolean).unwrap_or(true);
    settings.extended_next_hop = section.get(report, "extended_next_hop", boolean).unwrap_or(false);
    settings.allow_own_asn = section.get(report, "allow_own_asn", narrow(0..=10_u8)).unwrap_or(0);
    settings.shutdown = section.get(report, "shutdown", shutdown).flatten();
    check_together(report, section, &settings, names.speaker);
    settings
}

/// Checks what is right by itself and wrong together.
fn check_together(
    report: &mut Report<'_>,
    section: &Section<'_>,
    settings: &PeerSettings,
    speaker: &SpeakerConfig,
) {
    if let Some(field) = section.both("multihop_ttl", "ttl_security_hops") {
        report.fault(&field, "excludes multihop_ttl (RFC 5082 sends with TTL 255); remove one of the two");
    }
    let own_asn = settings.local_asn.unwrap_or(speaker.asn);
    let external = match settings.asn {
        AsnMatch::External => true,
        AsnMatch::Exactly(asn) => asn != own_asn,
        AsnMatch::Internal | AsnMatch::Any => false,
    };
    if settings.route_reflector_client
        && external
        && let Some(field) = section.field("route_reflector_client")
    {
        report
            .fault(&field, "only a peer in our own AS can be a client (RFC 4456); write asn = \"internal\"");
    }
    if settings.passive
        && speaker.listen.is_empty()
        && let Some(field) = section.field("passive")
    {
        report.fault(&field, "speaker.listen = [] never takes a connection; remove one of the two");
    }
}

fn asn_match(value: &DeValue<'_>) -> Result<AsnMatch, String> {
    match value.as_str() {
        Some("internal") => Ok(AsnMatch::Internal),
        Some("external") => Ok(AsnMatch::External),
        Some("any") => Ok(AsnMatch::Any),
        Some(text) => match text.parse::<u32>() {
            Ok(asn) => Err(format!("is text; write the number without quotes, {asn}")),
            Err(_) => Err("must be a number, \"internal\", \"external\" or \"any\"".to_string()),
        },
        None => asn(value).map(AsnMatch::Exactly),
    }
}

fn source(value: &DeValue<'_>, peer: Option<Family>) -> Result<IpAddr, String> {
    let source = address(value)?;
    match peer {
        Some(peer) if peer != family(source) => {
            let wanted = if peer == Family::Ipv4Unicast { "IPv4" } else { "IPv6" };
            Err(format!("the peer has an {wanted} address; write an {wanted} address of this machine"))
        }
        _ => Ok(source),
    }
}

fn hold_time(value: &DeValue<'_>) -> Result<u16, String> {
    match narrow(0..=u16::MAX)(value)? {
        1 | 2 => Err(format!("a hold time is 0 or at least 3 seconds; write {HOLD_TIME_S_DEFAULT}")),
        seconds => Ok(seconds),
    }
}

pub(super) fn parse_family(value: &DeValue<'_>) -> Result<Family, String> {
    let remedy = "is not a family; write \"ipv4-unicast\" or \"ipv6-unicast\"";
    let text = value.as_str().ok_or(remedy)?;
    Family::ALL.into_iter().find(|family| family.name() == text).ok_or_else(|| remedy.to_string())
}

fn policy(report: &mut Report<'_>, section: &Section<'_>, key: &str, policies: &PolicyModel) -> PolicyRef {
    let policy = section.get(report, key, |value| match name(value)?.as_str() {
        "accept" => Ok(PolicyRef::Accept),
        "reject" => Ok(PolicyRef::Reject),
        name => {
            let known = policies.policies.iter().map(|policy| policy.name.as_str());
            match known.clone().any(|known| known == name) {
                true => Ok(PolicyRef::Named(name.to_string())),
                false => {
                    let near = suggest(name, known.chain(["accept", "reject"]));
                    Err(format!("no [[policy]] has this name{near}"))
                }
            }
        }
    });
    policy.unwrap_or(PolicyRef::Default)
}

/// Key files, each read once however many peers share it.
struct PasswordFiles<'b> {
    base: &'b Path,
    read: HashMap<PathBuf, Result<Secret, String>>,
}

impl PasswordFiles<'_> {
    fn read(&mut self, name: &str) -> Result<Secret, String> {
        let path = self.base.join(name);
        let read = self.read.entry(path).or_insert_with_key(|path| {
            let mut bytes =
                std::fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
            // Editors and `echo` end a file with a newline, which is not part of the key.
            while bytes.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
                bytes.pop();
            }
            secret(bytes).map_err(|message| format!("the key in the file {message}"))
        });
        read.clone()
    }
}

fn secret(bytes: Vec<u8>) -> Result<Secret, String> {
    match bytes.len() {
        0 => Err("is empty; write 1 to 80 bytes".to_string()),
        1..=PASSWORD_BYTES_MAX => Ok(Secret::new(bytes)),
        len => Err(format!("has {len} bytes; TCP MD5 takes at most {PASSWORD_BYTES_MAX}")),
    }
}

fn password(
    report: &mut Report<'_>,
    section: &Section<'_>,
    passwords: &mut PasswordFiles<'_>,
) -> Option<Secret> {
    let (own, file) =
        (section.first_of("password", "password_file"), section.both("password", "password_file"));
    if let Some(field) = file {
        report.fault(&field, "excludes password; remove one of the two");
    }
    match own? {
        "password" => {
            section.get(report, "password", |value| string(value).map(String::into_bytes).and_then(secret))
        }
        _ => section.get(report, "password_file", |value| passwords.read(&name(value)?)),
    }
}

fn prefix_limit(report: &mut Report<'_>, section: &Section<'_>) -> Option<PrefixLimit> {
    let field: Field<'_> = section.field("prefix_limit")?;
    let Some(table) = Section::of(&field) else {
        let max = section.get(report, "prefix_limit", |value| {
            integer(value, 1..=u32::MAX).map_err(|_| {
                "must be a number from 1, or a table; write 10000 or { max = 10000, warning_only = true }"
                    .to_string()
            })
        });
        return max.map(PrefixLimit::new);
    };
    table.check_keys(report, &[keys::PREFIX_LIMIT]);
    let max = table.require(report, "max", "write the number of prefixes", narrow(1..=u32::MAX));
    let mut limit = PrefixLimit::new(max.unwrap_or(u32::MAX));
    if let Some(percent) = table.get(report, "warning_percent", narrow(1..=100_u8)) {
        limit.warning_percent = percent;
    }
    limit.restart_s = table.get(report, "restart_s", narrow(1..=u32::MAX));
    limit.warning_only = table.get(report, "warning_only", boolean).unwrap_or(false);
    if let (true, Some(field)) = (limit.warning_only, table.field("restart_s")) {
        report.fault(&field, "nothing is torn down with warning_only = true; remove one of the two");
    }
    Some(limit)
}

fn graceful_restart(report: &mut Report<'_>, section: &Section<'_>) -> GracefulRestart {
    let mut config = GracefulRestart::default();
    let Some(table) = section.table(report, "graceful_restart") else { return config };
    table.check_keys(report, &[keys::GRACEFUL_RESTART]);
    config.enabled = table.get(report, "enabled", boolean).unwrap_or(true);
    let restart_time = table.get(report, "restart_time_s", narrow(1..=RESTART_TIME_S_MAX));
    config.restart_time_s = restart_time.unwrap_or(RESTART_TIME_S_DEFAULT);
    let stale_time = table.get(report, "stale_time_s", narrow(1..=86_400_u32));
    config.stale_time_s = stale_time.unwrap_or(STALE_TIME_S_DEFAULT);
    config.notification = table.get(report, "notification", boolean).unwrap_or(true);
    config
}

/// `true`, or text for the peer's operator; `false` says the same as nothing.
fn shutdown(value: &DeValue<'_>) -> Result<Option<String>, String> {
    match value {
        DeValue::Boolean(down) => Ok(down.then(String::new)),
        DeValue::String(text) if text.len() <= SHUTDOWN_BYTES_MAX => Ok(Some(text.to_string())),
        DeValue::String(_) => Err(format!("is longer than {SHUTDOWN_BYTES_MAX} bytes (RFC 9003)")),
        _ => Err("must be true, false, or text for the peer's operator".to_string()),
    }
}
