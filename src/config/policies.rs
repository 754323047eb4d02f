//! Sets and policies.
//!
//! Names between them are resolved by compiling the model once; what the compiler finds is told at the rule
//! it found it in.

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::str::FromStr;

use toml::de::DeValue;

use super::keys;
use super::load::{asn, prefix};
use super::peers::parse_family;
use super::reader::{Field, Report, Section, integer, name, narrow};
use crate::policy::{
    AsPathPattern, CommunityEdit, Match, NamedSet, NextHopAction, NumberEdit, PREPEND_MAX, Policies,
    PolicyDefinition, PolicyModel, PrefixRange, Prepend, Range, Removal, Rule, Set, Then, Verdict,
};
use crate::types::Prefix;
use crate::wire::attrs::Origin;

/// Names that stand for something wherever a policy's name may stand.
const RESERVED: [&str; 2] = ["accept", "reject"];

/// Reads every set and every policy.
pub(super) fn read(report: &mut Report<'_>, root: &Section<'_>) -> PolicyModel {
    let community = keys::COMMUNITY_SET;
    let mut model = PolicyModel {
        prefix_sets: sets(report, root, "prefix_set", keys::PREFIX_SET, prefix_range),
        community_sets: sets(report, root, "community_set", community, text),
        ext_community_sets: sets(report, root, "ext_community_set", community, text),
        large_community_sets: sets(report, root, "large_community_set", community, text),
        as_path_sets: sets(report, root, "as_path_set", keys::AS_PATH_SET, |value| {
            let pattern = value.as_str().ok_or("must be text between quotes, such as \"^65000_\"")?;
            AsPathPattern::compile(pattern).map(|_| pattern.to_string())
        }),
        policies: Vec::new(),
    };
    // Where the rules stand, for what the compiler finds later.
    let mut places: Vec<(Section<'_>, Vec<Section<'_>>)> = Vec::new();
    for section in root.tables(report, "policy") {
        section.check_keys(report, &[keys::POLICY]);
        let name = section.require(report, "name", "write a name for peers to refer to", |value| {
            let name = name(value)?;
            if RESERVED.contains(&name.as_str()) {
                return Err("stands for itself where a policy is named; write another name".to_string());
            }
            match model.policies.iter().any(|other| other.name == name) {
                true => Err("another [[policy]] has this name; write another".to_string()),
                false => Ok(name),
            }
        });
        let default = section.get(report, "default", |value| match value.as_str() {
            Some("accept") => Ok(Verdict::Accept),
            Some("reject") => Ok(Verdict::Reject),
            _ => Err("must be \"accept\" or \"reject\"".to_string()),
        });
        let rule_sections = section.tables(report, "rule");
        let rules = rule_sections.iter().map(|section| rule(report, section)).collect();
        let (name, default) = (name.unwrap_or_default(), default.unwrap_or(Verdict::Reject));
        model.policies.push(PolicyDefinition { name, rules, default });
        places.push((section, rule_sections));
    }
    for fault in Policies::compile(&model).err().unwrap_or_default() {
        let Some((policy, rules)) = places.get(fault.policy) else { continue };
        let section = rules.get(fault.rule).unwrap_or(policy);
        match section.path(&fault.key) {
            Some(field) => report.fault(&field, fault.message),
            None => report.missing(section, "", fault.message),
        }
    }
    model
}

fn sets<T>(
    report: &mut Report<'_>,
    root: &Section<'_>,
    kind: &str,
    known: &'static [&'static str],
    read: impl Fn(&DeValue<'_>) -> Result<T, String>,
) -> Vec<NamedSet<T>> {
    let mut sets: Vec<NamedSet<T>> = Vec::new();
    for section in root.tables(report, kind) {
        section.check_keys(report, &[known]);
        let name = section.require(report, "name", "write a name for rules to refer to", |value| {
            let name = name(value)?;
            match sets.iter().any(|other| other.name == name) {
                true => Err(format!("another [[{kind}]] has this name; write another")),
                false => Ok(name),
            }
        });
        let key = known[1];
        if section.field(key).is_none() {
            report.missing(&section, key, "missing; write a list, which may be empty");
        }
        let members = section.list(report, key, &read).unwrap_or_default();
        sets.push(NamedSet { name: name.unwrap_or_default(), members });
    }
    sets
}

/// Something that is written as text and tells itself what is wrong.
fn text<T: FromStr<Err = String>>(value: &DeValue<'_>) -> Result<T, String> {
    value.as_str().ok_or("must be text between quotes")?.parse()
}

/// `PREFIX [ge LENGTH] [le LENGTH]`. Without either only the prefix itself matches; `ge` alone reaches to
/// the family's longest, `le` alone from the prefix's own length.
fn prefix_range(value: &DeValue<'_>) -> Result<PrefixRange, String> {
    let text = value.as_str().ok_or("must be text; write \"10.0.0.0/8 ge 16 le 24\"")?;
    let mut words = text.split_ascii_whitespace();
    let first = words.next().unwrap_or_default();
    let prefix: Prefix = prefix(&DeValue::String(first.into()))?;
    let longest = if matches!(prefix, Prefix::V4(_)) { 32 } else { 128 };
    let (mut ge, mut le) = (None, None);
    while let Some(word) = words.next() {
        let bound = match word {
            "ge" if ge.is_none() && le.is_none() => &mut ge,
            "le" if le.is_none() => &mut le,
            _ => return Err("is not a range; write \"PREFIX ge LENGTH le LENGTH\"".to_string()),
        };
        let length = words.next().and_then(|word| word.parse::<u8>().ok());
        let range = prefix.len()..=longest;
        *bound = Some(length.filter(|length| range.contains(length)).ok_or_else(|| {
            format!("{word} must be followed by a length from {} to {longest}", prefix.len())
        })?);
    }
    let (ge, le) = match (ge, le) {
        (None, None) => (prefix.len(), prefix.len()),
        (ge, le) => (ge.unwrap_or(prefix.len()), le.unwrap_or(longest)),
    };
    if ge > le {
        return Err(format!("matches nothing, for {ge} is more than {le}; swap them"));
    }
    Ok(PrefixRange { prefix, ge, le })
}

fn rule(report: &mut Report<'_>, section: &Section<'_>) -> Rule {
    section.check_keys(report, &[keys::RULE]);
    let matches = section.table(report, "match").map(|table| matches(report, &table));
    let set = section.table(report, "set").map(|table| changes(report, &table));
    let then = section.get(report, "then", |value| match value.as_str() {
        Some("accept") => Ok(Then::Accept),
        Some("reject") => Ok(Then::Reject),
        Some("next") => Ok(Then::Next),
        _ => Err("must be \"accept\", \"reject\" or \"next\"".to_string()),
    });
    if section.field("then").is_none() {
        report.missing(section, "then", "missing; write \"accept\", \"reject\" or \"next\"");
    }
    Rule {
        matches: matches.unwrap_or_default(),
        set: set.unwrap_or_default(),
        then: then.unwrap_or_default(),
    }
}

fn matches(report: &mut Report<'_>, table: &Section<'_>) -> Match {
    table.check_keys(report, &[keys::MATCH]);
    Match {
        prefix_set: table.get(report, "prefix_set", name),
        community_set: table.get(report, "community_set", name),
        ext_community_set: table.get(report, "ext_community_set", name),
        large_community_set: table.get(report, "large_community_set", name),
        as_path_set: table.get(report, "as_path_set", name),
        as_path_length: range(report, table, "as_path_length"),
        next_hop: one_or_more(report, table, "next_hop", prefix_or_address),
        family: table.get(report, "family", parse_family),
        peer: one_or_more(report, table, "peer", prefix_or_address),
        peer_asn: one_or_more(report, table, "peer_asn", asn),
        origin: table.get(report, "origin", origin),
        local_pref: range(report, table, "local_pref"),
        med: range(report, table, "med"),
    }
}

/// One value, or a list of some; a list without members would never match.
fn one_or_more<T>(
    report: &mut Report<'_>,
    table: &Section<'_>,
    key: &str,
    read: impl Fn(&DeValue<'_>) -> Result<T, String>,
) -> Vec<T> {
    let Some(field) = table.field(key) else { return Vec::new() };
    match field.value.get_ref() {
        DeValue::Array(array) if array.is_empty() => {
            report.fault(&field, "an empty list never matches; name at least one, or remove this line");
            Vec::new()
        }
        DeValue::Array(_) => table.list(report, key, read).unwrap_or_default(),
        _ => table.get(report, key, read).into_iter().collect(),
    }
}

fn prefix_or_address(value: &DeValue<'_>) -> Result<Prefix, String> {
    match value.as_str().and_then(|text| text.parse::<IpAddr>().ok()) {
        Some(address) => Ok(Prefix::host(address)),
        None => prefix(value),
    }
}

/// A number, or `{ ge = NUMBER, le = NUMBER }` with one of them or both.
fn range(report: &mut Report<'_>, table: &Section<'_>, key: &str) -> Option<Range> {
    let field: Field<'_> = table.field(key)?;
    let Some(bounds) = Section::of(&field) else {
        let exact = table.get(report, key, |value| {
            integer(value, 0..=u32::MAX)
                .map_err(|_| "must be a number, or { ge = NUMBER, le = NUMBER }".to_string())
        });
        return exact.map(|number| Range { ge: number, le: number });
    };
    bounds.check_keys(report, &[keys::RANGE]);
    let ge = bounds.get(report, "ge", narrow(0..=u32::MAX)).unwrap_or(0);
    let le = bounds.get(report, "le", narrow(0..=u32::MAX)).unwrap_or(u32::MAX);
    if ge > le {
        report.fault(&field, format!("matches nothing, for {ge} is more than {le}; swap them"));
    }
    Some(Range { ge, le })
}

fn origin(value: &DeValue<'_>) -> Result<Origin, String> {
    match value.as_str() {
        Some("igp") => Ok(Origin::Igp),
        Some("egp") => Ok(Origin::Egp),
        Some("incomplete") => Ok(Origin::Incomplete),
        _ => Err("must be \"igp\", \"egp\" or \"incomplete\"".to_string()),
    }
}

fn changes(report: &mut Report<'_>, table: &Section<'_>) -> Set {
    table.check_keys(report, &[keys::SET]);
    Set {
        local_pref: table.get(report, "local_pref", |value| match number_edit(value)? {
            NumberEdit::Remove => Err("internal peers need one; write a number".to_string()),
            edit => Ok(edit),
        }),
        med: table.get(report, "med", number_edit),
        origin: table.get(report, "origin", origin),
        prepend: table.table(report, "prepend").map(|prepend| {
            prepend.check_keys(report, &[keys::PREPEND]);
            let own_or_asn = |value: &DeValue<'_>| match value.as_str() {
                Some("own") => Ok(None),
                _ => asn(value).map(Some).map_err(|error| format!("{error}, or \"own\"")),
            };
            let count = prepend.get(report, "count", narrow(1..=PREPEND_MAX)).unwrap_or(1);
            Prepend { asn: prepend.get(report, "asn", own_or_asn).flatten(), count }
        }),
        next_hop: table.get(report, "next_hop", |value| match value.as_str() {
            Some("self") => Ok(NextHopAction::Itself),
            Some("unchanged") => Ok(NextHopAction::Unchanged),
            text => match text.and_then(|text| text.parse().ok()) {
                Some(address) => Ok(NextHopAction::Address(address)),
                None => Err("must be \"self\", \"unchanged\" or an address".to_string()),
            },
        }),
        communities: edit(report, table, ["communities", "add_communities", "remove_communities"]),
        ext_communities: edit(
            report,
            table,
            ["ext_communities", "add_ext_communities", "remove_ext_communities"],
        ),
        large_communities: edit(
            report,
            table,
            ["large_communities", "add_large_communities", "remove_large_communities"],
        ),
    }
}

/// `100`, `"+10"`, `"-10"` or `"remove"`.
fn number_edit(value: &DeValue<'_>) -> Result<NumberEdit, String> {
    let remedy = "must be a number from 0 to 4294967295, a change such as \"+10\" or \"-10\", or \"remove\"";
    let number = |text: &str| text.parse::<u32>().map_err(|_| remedy.to_string());
    match value.as_str() {
        None => integer(value, 0..=u32::MAX).map(NumberEdit::To).map_err(|_| remedy.to_string()),
        Some("remove") => Ok(NumberEdit::Remove),
        Some(text) => match (text.strip_prefix('+'), text.strip_prefix('-')) {
            (Some(more), _) => number(more).map(NumberEdit::Add),
            (_, Some(less)) => number(less).map(NumberEdit::Subtract),
            _ => Err(remedy.to_string()),
        },
    }
}

fn edit<P: FromStr<Err = String>>(
    report: &mut Report<'_>,
    table: &Section<'_>,
    [set, add, remove]: [&str; 3],
) -> CommunityEdit<P> {
    CommunityEdit {
        set: table.list(report, set, text),
        add: table.list(report, add, text).unwrap_or_default(),
        remove: table
            .list(report, remove, |value| {
                let word = value.as_str().ok_or("must be text between quotes")?;
                // Every pattern but the well-known names has a colon, and no set's name has.
                match word.parse() {
                    Ok(pattern) => Ok(Removal::Pattern(pattern)),
                    Err(error) if word.contains(':') => Err(error),
                    Err(_) => Ok(Removal::Set(word.to_string())),
                }
            })
            .unwrap_or_default(),
    }
}
