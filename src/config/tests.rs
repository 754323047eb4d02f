//! What a person gets for a right file, for a wrong one, and for a changed one.

use std::net::IpAddr;
use std::path::Path;

use super::diff::{Change, Effect, PeerKey, diff};
use super::*;
use crate::policy::{Policies, Verdict};
use crate::types::{Family, PeerKind};

const SPEAKER: &str = "[speaker]\nasn = 65000\nrouter_id = \"10.0.0.1\"\n";

/// The example of the reference, which uses every section.
const WHOLE: &str = r#"
[speaker]
asn = 65000
router_id = "10.0.0.1"
cluster_id = "10.0.0.2"
listen = ["0.0.0.0:179", "[::]:179"]

[api]
grpc = ["unix:/run/kulan/kulan.sock", "127.0.0.1:50051"]
http = "127.0.0.1:9179"

[[domain]]
name = "default"
install = true
max_paths = 8

[[prefix_set]]
name = "pods"
prefixes = ["10.244.0.0/16 ge 24 le 24"]

[[policy]]
name = "from-nodes"
[[policy.rule]]
match = { prefix_set = "pods" }
set = { local_pref = 200 }
then = "accept"

[[peer_group]]
name = "nodes"
asn = "internal"
passive = true
hold_time_s = 240
families = ["ipv4-unicast", "ipv6-unicast"]
route_reflector_client = true
import = "from-nodes"
export = "accept"
graceful_restart = { restart_time_s = 60 }

[[peer]]
address = "10.1.0.1"
group = "nodes"
hold_time_s = 9
graceful_restart = { notification = false }

[[peer]]
address = "fe80::1"
interface = "eth0"
asn = 65001
prefix_limit = { max = 100, restart_s = 30 }
shutdown = "maintenance"
domain = "default"

[[dynamic_peer]]
range = "10.1.0.0/16"
group = "nodes"
limit = 500

[[network]]
prefix = "10.244.1.0/24"
communities = ["65000:1", "no-export"]
"#;

fn read(text: &str) -> Result<Config, ConfigErrors> {
    parse(text, "kulan.toml", Path::new("/nonexistent"))
}

/// What is said of a file that is wrong below a right `[speaker]` of three lines.
fn faults(rest: &str) -> String {
    read(&format!("{SPEAKER}{rest}")).unwrap_err().to_string()
}

#[test]
fn two_lines_are_enough() {
    let config = read(SPEAKER).unwrap();
    assert_eq!(config.speaker, SpeakerConfig::new(65000, RouterId(0x0A00_0001)));
    assert_eq!(config.speaker.cluster_id, config.speaker.router_id);
    assert_eq!(config.speaker.listen, ["0.0.0.0:179".parse().unwrap(), "[::]:179".parse().unwrap()]);
    assert_eq!(config.domains, [DomainConfig::new("default".to_string())]);
    assert!(!config.domains[0].install && config.domains[0].table == 254);
    assert_eq!(config.api.grpc, [ApiAddress::Unix("/run/kulan/kulan.sock".into())]);
}

#[test]
fn a_peer_says_what_its_group_does_not() {
    let config = read(WHOLE).unwrap();
    let peer = &config.peers[0].settings;
    assert_eq!(peer.hold_time_s, 9);
    assert_eq!(peer.asn, AsnMatch::Internal);
    assert_eq!(peer.families, FamilySet::ALL);
    assert_eq!(peer.import, PolicyRef::Named("from-nodes".to_string()));
    // Tables are laid over each other key by key as well.
    assert_eq!((peer.graceful_restart.restart_time_s, peer.graceful_restart.notification), (60, false));
    assert_eq!(config.dynamic_peers[0].settings.hold_time_s, 240);
    assert!(config.dynamic_peers[0].settings.graceful_restart.notification);
}

#[test]
fn what_is_not_said_has_its_default() {
    let config = read(WHOLE).unwrap();
    let peer = &config.peers[1];
    assert_eq!((peer.interface.as_deref(), peer.settings.domain.as_str()), (Some("eth0"), "default"));
    assert_eq!(peer.settings.families, FamilySet::only(Family::Ipv6Unicast));
    assert_eq!((&peer.settings.import, &peer.settings.export), (&PolicyRef::Default, &PolicyRef::Default));
    assert_eq!(peer.settings.shutdown.as_deref(), Some("maintenance"));
    let limit = PrefixLimit { max: 100, warning_percent: 75, restart_s: Some(30), warning_only: false };
    assert_eq!(peer.settings.prefix_limit, Some(limit));
    assert_eq!(peer.settings.hold_time_s, 90);
    assert_eq!(config.networks[0].communities, [65000 << 16 | 1, 0xFFFF_FF01]);
    assert_eq!(config.networks[0].domain, "default");
    assert!(config.domains[0].resolve_next_hops, "what is installed must be reachable");
}

#[test]
fn without_a_policy_external_peers_say_and_hear_nothing() {
    let config = read(WHOLE).unwrap();
    let policies = Policies::compile(&config.policies).unwrap();
    let constant = |policy, kind| policies.resolve(policy, kind).unwrap().constant();
    assert_eq!(constant(&PolicyRef::Default, PeerKind::External), Some(Verdict::Reject));
    assert_eq!(constant(&PolicyRef::Default, PeerKind::Internal), Some(Verdict::Accept));
    assert_eq!(constant(&PolicyRef::Accept, PeerKind::External), Some(Verdict::Accept));
    assert_eq!(constant(&config.peers[0].settings.import, PeerKind::Client), None);
}

/// A wrong file, and the whole of what is said of it.
#[test]
fn a_fault_is_told_with_place_value_and_remedy() {
    let peer = "[[peer]]\naddress = \"10.0.0.2\"\nasn = 65001\n";
    let cases = [
        // The form.
        ("[[peer]\n".to_string(), "kulan.toml:4: not TOML: unclosed array table, expected `]`"),
        ("[peer]\n".into(), "kulan.toml:4: peer = [peer]: must be a list of tables; write [[peer]]"),
        ("[spaeker]\n".into(), "kulan.toml:4: spaeker: unknown key; did you mean speaker?"),
        (format!("{peer}hold_time = 90\n"), "kulan.toml:7: peer.hold_time: unknown key; did you mean hold_time_s?"),
        (format!("{peer}multihop = 2\n"), "kulan.toml:7: peer.multihop: unknown key; did you mean multihop_ttl?"),
        (format!("{peer}asn = 65002\n"), "kulan.toml:7: not TOML: duplicate key at \"asn\""),
        (
            "[api]\nxyzzy = 1\n".into(),
            "kulan.toml:5: api.xyzzy: unknown key; known are grpc, http",
        ),
        // Sessions.
        (
            format!("{peer}hold_time_s = 2\n"),
            "kulan.toml:7: peer.hold_time_s = 2: a hold time is 0 or at least 3 seconds; write 90",
        ),
        (
            format!("{peer}hold_time_s = 100000\n"),
            "kulan.toml:7: peer.hold_time_s = 100000: must be a number from 0 to 65535",
        ),
        (
            format!("{peer}families = [\"ipv4-unicast\", \"ip6\"]\n"),
            "kulan.toml:7: peer.families = \"ip6\": is not a family; write \"ipv4-unicast\" or \"ipv6-unicast\"",
        ),
        (
            format!("{peer}families = []\n"),
            "kulan.toml:7: peer.families = []: a session without a family carries nothing; write [\"ipv4-unicast\"]",
        ),
        (
            format!("{peer}group = \"node\"\n[[peer_group]]\nname = \"nodes\"\n"),
            "kulan.toml:7: peer.group = \"node\": no [[peer_group]] has this name; did you mean \"nodes\"?",
        ),
        (
            format!("{peer}import = \"acept\"\n"),
            "kulan.toml:7: peer.import = \"acept\": no [[policy]] has this name; did you mean \"accept\"?",
        ),
        (
            format!("{peer}domain = \"blue\"\n"),
            "kulan.toml:7: peer.domain = \"blue\": no [[domain]] has this name; known are \"default\"",
        ),
        (
            format!("{peer}multihop_ttl = 2\nttl_security_hops = 1\n"),
            "kulan.toml:8: peer.ttl_security_hops = 1: excludes multihop_ttl (RFC 5082 sends with TTL 255); \
             remove one of the two",
        ),
        (
            format!("{peer}source = \"2001:db8::1\"\n"),
            "kulan.toml:7: peer.source = \"2001:db8::1\": the peer has an IPv4 address; write an IPv4 address of \
             this machine",
        ),
        (
            format!("{peer}route_reflector_client = true\n"),
            "kulan.toml:7: peer.route_reflector_client = true: only a peer in our own AS can be a client \
             (RFC 4456); write asn = \"internal\"",
        ),
        (
            format!("{peer}prefix_limit = { } max = 10, warning_only = true, restart_s = 1 {}\n", "{", "}"),
            "kulan.toml:7: peer.prefix_limit.restart_s = 1: nothing is torn down with warning_only = true; \
             remove one of the two",
        ),
        (
            format!("{peer}prefix_limit = 0\n"),
            "kulan.toml:7: peer.prefix_limit = 0: must be a number from 1, or a table; write 10000 or \
             { max = 10000, warning_only = true }",
        ),
        (
            format!("{peer}passive = \"yes\"\n"),
            "kulan.toml:7: peer.passive = \"yes\": must be true or false, without quotes",
        ),
        (
            format!("{peer}graceful_restart = true\n"),
            "kulan.toml:7: peer.graceful_restart = true: must be a table; write [peer.graceful_restart]",
        ),
        (
            format!("{peer}interface = \"eth0\"\n"),
            "kulan.toml:7: peer.interface = \"eth0\": only a link-local address takes an interface; remove this line",
        ),
        (
            "[[peer]]\naddress = \"fe80::1\"\nasn = 1\n".into(),
            "kulan.toml:5: peer.address = \"fe80::1\": is link-local; write interface = \"NAME\" beside it",
        ),
        (
            format!("{peer}{peer}"),
            "kulan.toml:8: peer.address = \"10.0.0.2\": another [[peer]] has this address; remove one",
        ),
        (
            "[[peer]]\naddress = \"::ffff:10.0.0.2\"\nasn = 1\n".into(),
            "kulan.toml:5: peer.address = \"::ffff:10.0.0.2\": is an IPv4 address in IPv6 clothes; \
             write \"10.0.0.2\"",
        ),
        (
            "[[peer]]\naddress = \"10.0.0.2\"\n".into(),
            "kulan.toml:4: peer.asn: missing; write the peer's AS number, \"internal\", \"external\" or \"any\", \
             here or in a group",
        ),
        (
            "[[peer]]\naddress = \"10.0.0.2\"\nasn = \"65001\"\n".into(),
            "kulan.toml:6: peer.asn = \"65001\": is text; write the number without quotes, 65001",
        ),
        (
            "[[peer]]\naddress = \"10.0.0.2\"\nasn = 23456\n".into(),
            "kulan.toml:6: peer.asn = 23456: is reserved as AS_TRANS (RFC 6793); write the AS's own number",
        ),
        // Keys; what is in them is not repeated.
        (
            format!("{peer}password = \"{}\"\n", "x".repeat(81)),
            "kulan.toml:7: peer.password: has 81 bytes; TCP MD5 takes at most 80",
        ),
        (
            format!("{peer}password = \"x\"\npassword_file = \"key\"\n"),
            "kulan.toml:8: peer.password_file = \"key\": excludes password; remove one of the two",
        ),
        (
            format!("{peer}password_file = \"key\"\n"),
            "kulan.toml:7: peer.password_file = \"key\": /nonexistent/key cannot be read: No such file or \
             directory (os error 2)",
        ),
        // Ranges and networks.
        (
            "[[dynamic_peer]]\nrange = \"10.0.0.0/8\"\nasn = 1\n".repeat(2),
            "kulan.toml:8: dynamic_peer.range = \"10.0.0.0/8\": another [[dynamic_peer]] has this range; remove one",
        ),
        (
            "[[network]]\nprefix = \"10.0.0.1/24\"\n".into(),
            "kulan.toml:5: network.prefix = \"10.0.0.1/24\": has host bits set; write 10.0.0.0/24",
        ),
        (
            "[[network]]\nprefix = \"10.0.0.0\"\n".into(),
            "kulan.toml:5: network.prefix = \"10.0.0.0\": is not a prefix; write ADDRESS/LENGTH",
        ),
        (
            "[[network]]\nprefix = \"10.0.0.0/24\"\ncommunities = [\"65000:*\"]\n".into(),
            "kulan.toml:6: network.communities = \"65000:*\": must be one community; write a number for each *",
        ),
        // The kernel.
        (
            "[[domain]]\nname = \"a\"\ntable = 2004\n".into(),
            "kulan.toml:6: domain.table = 2004: is a table that Cilium keeps for itself; write another number, such \
             as 1000",
        ),
        (
            "[[domain]]\nname = \"a\"\ntable = 255\n".into(),
            "kulan.toml:6: domain.table = 255: is the kernel's table of its own addresses; write 254 (main) or \
             another",
        ),
        (
            "[[domain]]\nname = \"a\"\ntable = 0\n".into(),
            "kulan.toml:6: domain.table = 0: a kernel table is from 1 to 4294967295",
        ),
        (
            "[[domain]]\nname = \"a\"\n[[domain]]\nname = \"b\"\n".into(),
            "kulan.toml:6: domain: a second one; this version has one routing domain, here \"a\"; remove this [[domain]]",
        ),
        // Doors.
        (
            "[api]\nhttp = \"0.0.0.0:9179\"\n".into(),
            "kulan.toml:5: api.http = \"0.0.0.0:9179\": would be open to the network; write \"127.0.0.1:9179\"",
        ),
        (
            "[api]\ngrpc = [\"unix:kulan.sock\"]\n".into(),
            "kulan.toml:5: api.grpc = \"unix:kulan.sock\": the socket's path must be absolute; \
             write \"unix:/run/kulan/kulan.sock\"",
        ),
        // Policies.
        (
            "[[policy]]\nname = \"accept\"\n".into(),
            "kulan.toml:5: policy.name = \"accept\": stands for itself where a policy is named; write another name",
        ),
        (
            "[[policy]]\nname = \"p\"\n[[policy.rule]]\nmatch = { prefix_set = \"no\" }\nthen = \"accept\"\n".into(),
            "kulan.toml:7: policy.rule.match.prefix_set = \"no\": no [[prefix_set]] has the name \"no\"; write one",
        ),
        (
            "[[policy]]\nname = \"p\"\n[[policy.rule]]\nset = { add_communities = [\"1:*\"] }\nthen = \"next\"\n".into(),
            "kulan.toml:7: policy.rule.set.add_communities = [\"1:*\"]: 1:* is not one community; write a number for \
             each *",
        ),
        (
            "[[policy]]\nname = \"p\"\n[[policy.rule]]\nmatch = { }\n".into(),
            "kulan.toml:6: policy.rule.then: missing; write \"accept\", \"reject\" or \"next\"",
        ),
        (
            "[[prefix_set]]\nname = \"s\"\nprefixes = [\"10.0.0.0/8 ge 24 le 16\"]\n".into(),
            "kulan.toml:6: prefix_set.prefixes = \"10.0.0.0/8 ge 24 le 16\": matches nothing, for 24 is more than \
             16; swap them",
        ),
        (
            "[[prefix_set]]\nname = \"s\"\nprefixes = [\"10.0.0.0/8 ge 4\"]\n".into(),
            "kulan.toml:6: prefix_set.prefixes = \"10.0.0.0/8 ge 4\": ge must be followed by a length from 8 to 32",
        ),
        (
            "[[as_path_set]]\nname = \"s\"\npatterns = [\"^abc$\"]\n".into(),
            "kulan.toml:6: as_path_set.patterns = \"^abc$\": looks for \"a\", which stands in no AS path; paths are \
             numbers with spaces between them",
        ),
        (
            "[[community_set]]\nname = \"s\"\ncommunities = [\"70000:1\"]\n".into(),
            "kulan.toml:6: community_set.communities = \"70000:1\": is not a community; write ASN:VALUE (each 0 to \
             65535 or *), or a name such as \"no-export\"",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(faults(&text), expected, "\n{text}");
    }
}

#[test]
fn a_speaker_needs_a_name() {
    let said = |text| read(text).unwrap_err().to_string();
    assert_eq!(said(""), "kulan.toml:1: speaker: missing; write [speaker] with asn and router_id");
    assert_eq!(
        said("[speaker]\n"),
        "kulan.toml:1: speaker.asn: missing; write your AS number\n\
         kulan.toml:1: speaker.router_id: missing; write an IPv4 address of this machine, such as \"10.0.0.1\""
    );
    assert_eq!(
        said("[speaker]\nasn = 0\nrouter_id = \"0.0.0.0\"\n"),
        "kulan.toml:2: speaker.asn = 0: an AS number is from 1 to 4294967295\n\
         kulan.toml:3: speaker.router_id = \"0.0.0.0\": must not be zero (RFC 6286); write an IPv4 address of this \
         machine"
    );
}

#[test]
fn every_fault_is_told_in_the_order_of_lines_and_once() {
    let group = "[[peer_group]]\nname = \"g\"\nport = 0\nasn = 1\n";
    let peers = "[[peer]]\naddress = \"10.0.0.2\"\ngroup = \"g\"\n[[peer]]\naddress = \"x\"\ngroup = \"g\"\n";
    let said = faults(&format!("{group}{peers}[[network]]\nprefix = 1\n"));
    let lines: Vec<&str> = said.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(lines, ["kulan.toml:6:", "kulan.toml:12:", "kulan.toml:15:"]);
}

#[test]
fn a_key_file_is_read_beside_the_configuration_without_its_newline() {
    let dir = std::env::temp_dir().join(format!("kulan-config-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("key"), "secret\n").unwrap();
    let text = format!("{SPEAKER}[[peer]]\naddress = \"10.0.0.2\"\nasn = 1\npassword_file = \"key\"\n");
    std::fs::write(dir.join("kulan.toml"), text).unwrap();
    let config = load(&dir.join("kulan.toml")).unwrap();
    let password = config.peers[0].settings.password.as_ref().unwrap();
    assert_eq!(password.bytes(), b"secret");
    assert!(!format!("{config:?}").contains("secret\""), "a key must not show");
    std::fs::remove_dir_all(&dir).unwrap();
    let error = load(&dir.join("kulan.toml")).unwrap_err().to_string();
    assert!(error.ends_with("kulan.toml: cannot be read: No such file or directory (os error 2); write it, or name another with --config"), "{error}");
}

#[test]
fn every_key_stands_in_the_reference() {
    let reference =
        include_str!("../../docs/configuration.md").to_string() + include_str!("../../docs/policy.md");
    let tables: [&[&str]; 21] = [
        keys::ROOT,
        keys::SPEAKER,
        keys::API,
        keys::DOMAIN,
        keys::SETTINGS,
        keys::PEER_GROUP,
        keys::PEER,
        keys::DYNAMIC_PEER,
        keys::PREFIX_LIMIT,
        keys::GRACEFUL_RESTART,
        keys::NETWORK,
        keys::PREFIX_SET,
        keys::COMMUNITY_SET,
        keys::AS_PATH_SET,
        keys::POLICY,
        keys::RULE,
        keys::MATCH,
        keys::RANGE,
        keys::SET,
        keys::PREPEND,
        &["accept", "reject", "next"],
    ];
    for key in tables.into_iter().flatten() {
        let told =
            [format!("`{key}`"), format!("`[{key}]`"), format!("`[[{key}]]`"), format!("`[[policy.{key}]]`")];
        assert!(told.iter().any(|told| reference.contains(told)), "{key} stands in no reference");
    }
}

/// The examples of the reference are whole TOML files or parts of one.
#[test]
fn the_examples_of_the_reference_work() {
    for text in [include_str!("../../docs/configuration.md"), include_str!("../../docs/policy.md")] {
        let mut examples = 0;
        for example in text.split("```toml\n").skip(1) {
            let example = example.split("```").next().unwrap();
            // What an example leaves out: an identity, and the key file that it names.
            let mut whole = example.replace("password_file = ", "description = ");
            if !example.contains("[speaker]") {
                whole = format!("{SPEAKER}{whole}");
            }
            if let Err(errors) = read(&whole) {
                panic!("{errors}\nin\n{whole}");
            }
            examples += 1;
        }
        assert!(examples > 0);
    }
}

// Reload.

fn changed(from: &str, to: &str) -> Vec<Change> {
    let (old, new) = (read(WHOLE).unwrap(), read(&WHOLE.replacen(from, to, 1)).unwrap());
    assert_ne!(old, new, "{from} does not stand there");
    diff(&old, &new)
}

#[test]
fn nothing_changed_is_nothing_to_do() {
    let config = read(WHOLE).unwrap();
    assert_eq!(diff(&config, &config.clone()), []);
}

/// The effect on the first peer and on the range, which share a group.
fn effects(from: &str, to: &str) -> Vec<Effect> {
    changed(from, to)
        .into_iter()
        .filter_map(|change| match change {
            Change::PeerChanged { effect, .. } | Change::DynamicChanged { effect, .. } => Some(effect),
            Change::Policies => None,
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn a_changed_peer_suffers_no_more_than_it_must() {
    let none = Effect::default();
    let reset = Effect { reset: true, ..none };
    let refresh_in = Effect { refresh_in: true, ..none };
    let refresh_out = Effect { refresh_out: true, ..none };
    let check_limit = Effect { check_limit: true, ..none };
    let next_session = Effect { next_session: true, ..none };
    let group = "name = \"nodes\"\n";
    for (from, to, expected) in [
        ("hold_time_s = 9", "hold_time_s = 12", vec![next_session]),
        ("hold_time_s = 240", "hold_time_s = 120", vec![next_session]),
        (group, "name = \"nodes\"\nconnect_retry_s = 7\n", vec![none; 2]),
        (group, "name = \"nodes\"\ndescription = \"x\"\n", vec![none; 2]),
        (group, "name = \"nodes\"\nprefix_limit = 5\n", vec![check_limit; 2]),
        (group, "name = \"nodes\"\npassword = \"x\"\n", vec![reset; 2]),
        (group, "name = \"nodes\"\nmultihop_ttl = 3\n", vec![reset; 2]),
        (group, "name = \"nodes\"\nnext_hop_self = true\n", vec![refresh_out; 2]),
        (group, "name = \"nodes\"\nallow_own_asn = 1\n", vec![refresh_in; 2]),
        ("asn = \"internal\"", "asn = \"any\"", vec![reset; 2]),
        ("[\"ipv4-unicast\", \"ipv6-unicast\"]", "[\"ipv4-unicast\"]", vec![reset; 2]),
        ("import = \"from-nodes\"", "import = \"accept\"", vec![refresh_in; 2]),
        ("export = \"accept\"", "export = \"from-nodes\"", vec![refresh_out; 2]),
        ("local_pref = 200", "local_pref = 201", vec![refresh_in; 2]),
        ("ge 24 le 24", "ge 24 le 25", vec![refresh_in; 2]),
        ("route_reflector_client = true", "route_reflector_client = false", vec![reset; 2]),
        ("shutdown = \"maintenance\"", "shutdown = \"later\"", vec![none]),
        ("shutdown = \"maintenance\"", "shutdown = false", vec![reset]),
    ] {
        assert_eq!(effects(from, to), expected, "{from} became {to}");
    }
}

#[test]
fn what_goes_comes_before_what_comes() {
    let changes = changed("address = \"10.1.0.1\"", "address = \"10.1.0.2\"");
    let [Change::PeerRemoved(gone), Change::PeerAdded(new)] = &changes[..] else { panic!("{changes:?}") };
    assert_eq!(gone, &PeerKey { address: "10.1.0.1".parse::<IpAddr>().unwrap(), interface: None });
    assert_eq!(new.address, "10.1.0.2".parse::<IpAddr>().unwrap());
}

#[test]
fn the_other_sections_change_by_themselves() {
    let changes = changed("asn = 65000", "asn = 65009");
    assert!(matches!(&changes[..], [Change::Speaker { identity: true, listen: false, .. }]), "{changes:?}");
    let changes = changed("listen = [\"0.0.0.0:179\", ", "multipath_relax = true\nlisten = [");
    assert!(matches!(&changes[..], [Change::Speaker { identity: false, listen: true, .. }]), "{changes:?}");
    assert_eq!(changed("http = \"127.0.0.1:9179\"", ""), [Change::ApiNeedsRestart]);
    let changes = changed("max_paths = 8", "max_paths = 9");
    assert!(
        matches!(&changes[..], [Change::DomainChanged { from, to }] if from.max_paths + 1 == to.max_paths)
    );
    let changes = changed("10.244.1.0/24", "10.244.2.0/24");
    assert!(matches!(&changes[..], [Change::NetworkRemoved { .. }, Change::NetworkAdded(_)]), "{changes:?}");
    let changes = changed("\"no-export\"", "\"no-advertise\"");
    assert!(matches!(&changes[..], [Change::NetworkAdded(_)]), "{changes:?}");
}
