//! Every key that the configuration knows, by table. `docs/configuration.md` explains each of them; a test
//! holds the two against each other.

pub(super) const ROOT: &[&str] = &[
    "speaker",
    "api",
    "domain",
    "peer_group",
    "peer",
    "dynamic_peer",
    "network",
    "prefix_set",
    "community_set",
    "ext_community_set",
    "large_community_set",
    "as_path_set",
    "policy",
];

pub(super) const SPEAKER: &[&str] = &[
    "asn",
    "router_id",
    "cluster_id",
    "listen",
    "always_compare_med",
    "compare_router_id",
    "multipath_relax",
    "selection_deferral_s",
];

pub(super) const API: &[&str] = &["grpc", "http"];

pub(super) const DOMAIN: &[&str] =
    &["name", "table", "install", "max_paths", "resolve_next_hops", "metric", "stale_time_s"];

/// What a peer, a range of dynamic peers and a group have in common.
pub(super) const SETTINGS: &[&str] = &[
    "description",
    "domain",
    "asn",
    "local_asn",
    "passive",
    "port",
    "source",
    "hold_time_s",
    "connect_retry_s",
    "families",
    "route_reflector_client",
    "import",
    "export",
    "next_hop_self",
    "multihop_ttl",
    "ttl_security_hops",
    "password",
    "password_file",
    "prefix_limit",
    "graceful_restart",
    "extended_messages",
    "extended_next_hop",
    "allow_own_asn",
    "shutdown",
];

pub(super) const PEER_GROUP: &[&str] = &["name"];
pub(super) const PEER: &[&str] = &["address", "interface", "group"];
pub(super) const DYNAMIC_PEER: &[&str] = &["range", "limit", "group"];

pub(super) const PREFIX_LIMIT: &[&str] = &["max", "warning_percent", "restart_s", "warning_only"];
pub(super) const GRACEFUL_RESTART: &[&str] = &["enabled", "restart_time_s", "stale_time_s", "notification"];

pub(super) const NETWORK: &[&str] = &["prefix", "domain", "communities", "med"];

pub(super) const PREFIX_SET: &[&str] = &["name", "prefixes"];
pub(super) const COMMUNITY_SET: &[&str] = &["name", "communities"];
pub(super) const AS_PATH_SET: &[&str] = &["name", "patterns"];

pub(super) const POLICY: &[&str] = &["name", "default", "rule"];
pub(super) const RULE: &[&str] = &["match", "set", "then"];
pub(super) const MATCH: &[&str] = &[
    "prefix_set",
    "community_set",
    "ext_community_set",
    "large_community_set",
    "as_path_set",
    "as_path_length",
    "next_hop",
    "family",
    "peer",
    "peer_asn",
    "origin",
    "local_pref",
    "med",
];
pub(super) const RANGE: &[&str] = &["ge", "le"];
pub(super) const SET: &[&str] = &[
    "local_pref",
    "med",
    "origin",
    "prepend",
    "next_hop",
    "communities",
    "add_communities",
    "remove_communities",
    "ext_communities",
    "add_ext_communities",
    "remove_ext_communities",
    "large_communities",
    "add_large_communities",
    "remove_large_communities",
];
pub(super) const PREPEND: &[&str] = &["asn", "count"];
