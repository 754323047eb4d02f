//! MRT files (RFC 6396, RFC 8050): the table of one peer, or its changes.
//!
//! A file is walked twice: first to see who the peers are and how many routes each has, then to take those of one.
//! A collector's dump has forty full tables, of which nobody wants to hold more than one in memory.
//!
//! The walk cuts records into entries and leaves the attributes as they are; an entry of a table dump is made an
//! UPDATE again, so that kulan's codec reads both alike.

mod walk;

#[cfg(test)]
mod tests;

use std::fmt::Write;
use std::net::IpAddr;
use std::path::Path;

use hashbrown::HashMap;
use kulan::types::{Family, FamilySet, Prefix};
use kulan::wire::attrs::{code, flag};
use kulan::wire::nlri::{EncodeNlri, PathPrefix};
use kulan::wire::{DecodeContext, canonicalize, decode_update};

use super::table::{Sets, Skipped, Table, context};
use super::{Change, Routes, Script, Step};
pub(super) use walk::is_mrt;
use walk::{Entry, Walked, walk};

/// The table of a peer: what the dump says, or what the updates lead to. `peer` as in [`super::Source::Mrt`].
///
/// # Errors
///
/// When the file cannot be opened, is no MRT file, has no such peer, or no route of it.
pub(super) fn load(file: &Path, peer: Option<&str>, family: Option<Family>) -> Result<Routes, String> {
    let wanted = family.map_or(FamilySet::ALL, FamilySet::only);
    let mut counts = Counts::default();
    let walked = walk(file, |peer, _, entry| counts.add(peer, announced(&entry, wanted)))?;
    let chosen = counts.choose(file, &walked, peer)?;
    let mut table = Table::default();
    let mut unusable = Skipped::default();
    let mut body = Vec::new();
    walk(file, |peer, position, entry| {
        if chosen != Some(peer) {
            return;
        }
        match entry {
            Entry::Rib { prefix, path_id, attributes, four_octet_as } => {
                if !wanted.contains(prefix.family()) {
                    return;
                }
                if put_update(prefix, path_id, attributes, &mut body).is_none() {
                    unusable.add(1, || format!("{prefix}, at byte {position}"));
                    return;
                }
                table.apply(&body, &context(four_octet_as, true, false), position);
            }
            Entry::Update { body, context, .. } => {
                table.apply(body, &DecodeContext { families: wanted, ..context }, position);
            }
            Entry::Down => table.clear(),
        }
    })?;
    let mut routes = table.finish();
    routes.notes.extend(unusable.note("routes left out whose attributes cannot be told apart"));
    routes.notes.extend(chosen.map(|chosen| counts.describe_choice(&walked, chosen)));
    routes.notes.extend(walked.notes);
    routes.partial = walked.partial;
    super::usable(file, routes)
}

/// The changes of the peer with the most.
///
/// # Errors
///
/// When the file cannot be opened, is no MRT file, or has no update.
pub(super) fn load_script(file: &Path) -> Result<Script, String> {
    let mut counts = Counts::default();
    let walked = walk(file, |peer, _, entry| {
        if let Entry::Update { .. } = entry {
            counts.add(peer, announced(&entry, FamilySet::ALL) + withdrawn(&entry));
        }
    })?;
    let chosen = counts.choose(file, &walked, None)?;
    let mut sets = Sets::default();
    let mut steps = Vec::new();
    let mut refused = Skipped::default();
    let mut other = Skipped::default();
    let mut began = None;
    let mut block = Vec::new();
    walk(file, |peer, position, entry| {
        if chosen != Some(peer) {
            return;
        }
        let Entry::Update { body, context, at_s } = entry else {
            other.add(1, || format!("at byte {position}"));
            return;
        };
        let view = match decode_update(body, &context) {
            Ok(view) => view,
            Err(error) => {
                refused.add(1, || format!("at byte {position}: {error}"));
                return;
            }
        };
        let began = *began.get_or_insert(at_s);
        let mut step = |path: PathPrefix<Prefix>, change| {
            let at_s = Some((at_s - began).max(0.0));
            steps.push(Step { at_s, prefix: path.prefix, path_id: path.path_id, change });
        };
        view.withdrawals().flatten().for_each(|path| step(path, Change::Withdraw));
        for reach in view.announcements() {
            canonicalize(&view, &mut block);
            let set = sets.number(&block, Some(reach.next_hop));
            reach.nlri.iter().for_each(|path| step(path, Change::Announce(set)));
        }
    })?;
    let mut script = Script { sets: sets.into_list(), steps, ..Script::default() };
    script.notes.extend(refused.note("UPDATEs left out that would have ended the session"));
    script
        .notes
        .extend(other.note("entries left out that are no UPDATE: table entries, ends of the session"));
    script.notes.extend(chosen.map(|chosen| counts.describe_choice(&walked, chosen)));
    script.notes.extend(walked.notes);
    script.partial = walked.partial;
    super::usable_script(file, script)
}

/// How many routes of `families` an entry announces.
fn announced(entry: &Entry<'_>, families: FamilySet) -> u64 {
    match entry {
        Entry::Rib { prefix, .. } => u64::from(families.contains(prefix.family())),
        Entry::Update { body, context, .. } => decode_update(body, &DecodeContext { families, ..*context })
            .map_or(0, |view| view.announcements().map(|reach| reach.nlri.iter().count() as u64).sum()),
        Entry::Down => 0,
    }
}

/// How many routes an entry withdraws.
fn withdrawn(entry: &Entry<'_>) -> u64 {
    let Entry::Update { body, context, .. } = entry else {
        return 0;
    };
    decode_update(body, context).map_or(0, |view| view.withdrawals().flatten().count() as u64)
}

/// Makes an entry of a table dump the body of an UPDATE with the same attributes in `out`. The NLRI has a path
/// identifier. `None` if the attributes run over their end, or what comes out is too long for an UPDATE.
fn put_update(prefix: Prefix, path_id: u32, attributes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    out.clear();
    out.extend_from_slice(&[0; 4]);
    let mut next_hop = None;
    let mut rest = attributes;
    while let Some(&[flags, attribute, short]) = rest.first_chunk::<3>() {
        let (header, len) = if flags & flag::EXTENDED_LENGTH == 0 {
            (3, usize::from(short))
        } else {
            (4, usize::from(u16::from_be_bytes([short, *rest.get(3)?])))
        };
        let (whole, after) = rest.split_at_checked(header + len)?;
        match attribute {
            code::MP_REACH_NLRI => next_hop = Some(mp_next_hop(&whole[header..])?),
            code::MP_UNREACH_NLRI => {}
            _ => out.extend_from_slice(whole),
        }
        rest = after;
    }
    if !rest.is_empty() {
        return None;
    }
    let mut nlri = [0; 21];
    let nlri_len = match prefix {
        Prefix::V4(prefix) => PathPrefix { path_id, prefix }.put(&mut nlri),
        Prefix::V6(prefix) => PathPrefix { path_id, prefix }.put(&mut nlri),
    };
    let nlri = &nlri[..nlri_len];
    // An IPv4 route has MP_REACH_NLRI when its next hop is an IPv6 address (RFC 8950).
    let in_attribute = prefix.family() == Family::Ipv6Unicast || next_hop.is_some();
    if in_attribute {
        let next_hop = next_hop.unwrap_or(&[]);
        let [afi_high, afi_low] = prefix.family().afi().to_be_bytes();
        let value_len = u8::try_from(4 + next_hop.len() + 1 + nlri.len()).ok()?;
        out.extend_from_slice(&[flag::OPTIONAL, code::MP_REACH_NLRI, value_len]);
        out.extend_from_slice(&[afi_high, afi_low, prefix.family().safi(), next_hop.len() as u8]);
        out.extend_from_slice(next_hop);
        out.push(0);
        out.extend_from_slice(nlri);
    }
    let len = u16::try_from(out.len() - 4).ok()?;
    out[2..4].copy_from_slice(&len.to_be_bytes());
    if !in_attribute {
        out.extend_from_slice(nlri);
    }
    Some(())
}

/// The next hop in MP_REACH_NLRI of a table dump: RFC 6396 §4.3.4 leaves everything else out, but some write the
/// whole attribute, which starts with the zero of an address family.
fn mp_next_hop(value: &[u8]) -> Option<&[u8]> {
    let value = match value {
        [0, _, _, rest @ ..] => rest,
        _ => value,
    };
    let (len, rest) = value.split_first()?;
    rest.get(..usize::from(*len))
}

/// How many routes each peer of a file has, by the number of the peer.
#[derive(Debug, Default)]
struct Counts(HashMap<usize, u64>);

impl Counts {
    fn add(&mut self, peer: usize, count: u64) {
        *self.0.entry(peer).or_default() += count;
    }

    fn of(&self, peer: usize) -> u64 {
        self.0.get(&peer).copied().unwrap_or(0)
    }

    /// The peer that was asked for, the one with the most routes of several; nothing if the file has no peers.
    fn choose(&self, file: &Path, walked: &Walked, wanted: Option<&str>) -> Result<Option<usize>, String> {
        let all = 0..walked.peers.len();
        let most = |peers: &[usize]| {
            // Of several with as many, the first.
            peers.iter().copied().max_by_key(|peer| (self.of(*peer), std::cmp::Reverse(*peer)))
        };
        let Some(text) = wanted else {
            return Ok(most(&all.collect::<Vec<usize>>()));
        };
        let as_written = text.strip_prefix("AS").or_else(|| text.strip_prefix("as"));
        let matching = if let Ok(address) = text.parse::<IpAddr>() {
            all.filter(|peer| walked.peers[*peer].0 == address).collect()
        } else if let Ok(number) = as_written.unwrap_or(text).parse::<u32>() {
            let of_as: Vec<usize> = all.filter(|peer| walked.peers[*peer].1 == number).collect();
            let index = number as usize;
            let is_index = of_as.is_empty() && as_written.is_none() && index < walked.peers.len();
            if is_index { vec![index] } else { of_as }
        } else {
            return Err(format!("peer {text:?}: write an address, an AS number or an index"));
        };
        if walked.peers.is_empty() {
            return Ok(None);
        }
        most(&matching).map(Some).ok_or_else(|| {
            let mut list = format!("{} has no peer {text}; it has", file.display());
            self.list(walked, &mut list);
            list
        })
    }

    /// Appends the peers, those with the most routes first.
    fn list(&self, walked: &Walked, out: &mut String) {
        const SHOWN_MAX: usize = 20;
        let mut peers: Vec<usize> = (0..walked.peers.len()).collect();
        peers.sort_by_key(|peer| std::cmp::Reverse(self.of(*peer)));
        for (place, peer) in peers.iter().take(SHOWN_MAX).enumerate() {
            let comma = if place > 0 { "," } else { "" };
            let (address, asn) = walked.peers[*peer];
            // Writing to a String cannot fail.
            let _ = write!(out, "{comma} {address} (AS {asn}, index {peer}, {} routes)", self.of(*peer));
        }
        if peers.len() > SHOWN_MAX {
            let _ = write!(out, " and {} more", peers.len() - SHOWN_MAX);
        }
    }

    fn describe_choice(&self, walked: &Walked, chosen: usize) -> String {
        let (address, asn) = walked.peers[chosen];
        format!("from peer {address} (AS {asn}, index {chosen}), one of {}", walked.peers.len())
    }
}
