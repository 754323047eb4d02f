//! The records of an MRT file, cut into entries.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use bgpkit_parser::models::{Bgp4MpType, EntryType, MrtMessage, TableDumpV2Message, TableDumpV2Type};
use bgpkit_parser::{ParserError, ParserErrorWithBytes, RawMrtRecord, chunk_mrt_record};
use hashbrown::HashMap;
use kulan::types::{Family, Prefix};
use kulan::wire::frame::EXTENDED_MESSAGE_LEN_MAX;
use kulan::wire::{DecodeContext, MessageKind, next_frame};

use super::super::input::{self, Input};
use super::super::table::{Skipped, context};

/// The header of a record in octets (RFC 6396 §2).
const HEADER_LEN: usize = 12;
/// The state of a session that is up (RFC 6396 §4.4.1).
const ESTABLISHED: u16 = 6;

/// Something that a record says of one peer.
#[derive(Debug)]
pub(super) enum Entry<'a> {
    /// A route of a table dump.
    Rib {
        prefix: Prefix,
        path_id: u32,
        /// As they stand in the file.
        attributes: &'a [u8],
        four_octet_as: bool,
    },
    /// An UPDATE.
    Update {
        body: &'a [u8],
        context: DecodeContext,
        /// Seconds since 1970.
        at_s: f64,
    },
    /// The session went down.
    Down,
}

/// What else there is to know about a file.
#[derive(Debug, Default)]
pub(super) struct Walked {
    /// The peers: address and AS number.
    pub peers: Vec<(IpAddr, u32)>,
    /// Where and why the file ended early, or what is damaged in it.
    pub partial: Option<String>,
    /// What was skipped.
    pub notes: Vec<String>,
}

/// Whether a file that begins with `start` begins with an MRT record.
pub(in super::super) fn is_mrt(start: &[u8]) -> bool {
    start.len() >= HEADER_LEN && EntryType::try_from(type_field(start)).is_ok()
}

fn type_field(header: &[u8]) -> u16 {
    u16::from_be_bytes([header[4], header[5]])
}

/// Calls `take` with the number of the peer, the position of the record and the entry, for each entry.
///
/// # Errors
///
/// When the file cannot be opened or does not begin with an MRT record.
pub(super) fn walk(file: &Path, take: impl FnMut(usize, u64, Entry<'_>)) -> Result<Walked, String> {
    let name = file.display();
    let mut input = Input::open(file)?;
    if !is_mrt(input.head()) {
        return Err(format!("{name} is no MRT file: {}", found(input.head())));
    }
    let mut walker = Walker { take, position: 0, peers: Peers::default(), skipped: BTreeMap::new() };
    let mut malformed = Skipped::default();
    let mut ended = None;
    loop {
        let position = input.position();
        match input.fill_buf() {
            Ok([]) => break,
            Ok(_) => {}
            Err(error) => {
                ended = Some(format!("at byte {position}: {}", input::damage(&error)));
                break;
            }
        }
        match chunk_mrt_record(&mut input) {
            Ok(record) => {
                walker.position = position;
                if walker.record(record).is_none() {
                    malformed.add(1, || format!("at byte {position}"));
                }
            }
            Err(error) => {
                ended = Some(format!("at byte {position}: {}", describe(&error)));
                break;
            }
        }
    }
    let reasons = [malformed.note("records are malformed"), ended];
    let reasons: Vec<String> = reasons.into_iter().flatten().collect();
    Ok(Walked {
        peers: walker.peers.list,
        partial: (!reasons.is_empty()).then(|| format!("{name}: {}", reasons.join("; "))),
        notes: walker.skipped.into_iter().map(|(what, count)| format!("{count} {what} skipped")).collect(),
    })
}

/// What a file begins with that is no MRT file, and what to do.
fn found(head: &[u8]) -> String {
    if head.starts_with(&[0xff; 16]) {
        return "it is a stream of BGP messages; use kind = \"messages\"".to_string();
    }
    if head.len() < HEADER_LEN {
        return format!("it has {} bytes, and a record has at least {HEADER_LEN}", head.len());
    }
    if head.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) {
        return "it is text; if that is one prefix a line, use kind = \"prefixes\"".to_string();
    }
    format!(
        "the type field says {}; if it is a stream of BGP messages, use kind = \"messages\"",
        type_field(head)
    )
}

/// What ended the cutting into records.
fn describe(failed: &ParserErrorWithBytes) -> String {
    let header = failed.bytes.as_deref().filter(|bytes| bytes.len() >= HEADER_LEN);
    match (&failed.error, header) {
        (ParserError::IoError(error) | ParserError::EofError(error), _) => {
            format!("{} within a record", input::damage(error))
        }
        (ParserError::OversizedRecord { length }, _) => {
            format!("a record says that it has {length} bytes, which is more than any has")
        }
        (_, Some(header)) if !is_mrt(header) => {
            format!("the type field of a record says {}, which is no type of MRT", type_field(header))
        }
        (error, _) => format!("no MRT record: {error}"),
    }
}

/// The peers that have occurred.
#[derive(Debug, Default)]
struct Peers {
    list: Vec<(IpAddr, u32)>,
    numbers: HashMap<(IpAddr, u32), usize>,
    /// What the indexes of the last PEER_INDEX_TABLE mean.
    indexed: Vec<usize>,
}

impl Peers {
    fn number(&mut self, address: IpAddr, asn: u32) -> usize {
        *self.numbers.entry((address, asn)).or_insert_with(|| {
            self.list.push((address, asn));
            self.list.len() - 1
        })
    }
}

struct Walker<F> {
    take: F,
    position: u64,
    peers: Peers,
    /// How many of what cannot be used.
    skipped: BTreeMap<String, u64>,
}

impl<F: FnMut(usize, u64, Entry<'_>)> Walker<F> {
    /// One record; `None` if it is malformed, from there on.
    fn record(&mut self, record: RawMrtRecord) -> Option<()> {
        let header = record.common_header;
        let subtype = header.entry_subtype;
        match header.entry_type {
            EntryType::TABLE_DUMP_V2 => match TableDumpV2Type::try_from(subtype) {
                Ok(TableDumpV2Type::PeerIndexTable) => return self.peer_index_table(record),
                Ok(TableDumpV2Type::RibIpv4Unicast) => {
                    return self.rib(&record.message_bytes, Family::Ipv4Unicast, false);
                }
                Ok(TableDumpV2Type::RibIpv6Unicast) => {
                    return self.rib(&record.message_bytes, Family::Ipv6Unicast, false);
                }
                Ok(TableDumpV2Type::RibIpv4UnicastAddPath) => {
                    return self.rib(&record.message_bytes, Family::Ipv4Unicast, true);
                }
                Ok(TableDumpV2Type::RibIpv6UnicastAddPath) => {
                    return self.rib(&record.message_bytes, Family::Ipv6Unicast, true);
                }
                _ => {}
            },
            EntryType::TABLE_DUMP if matches!(subtype, 1 | 2) => {
                let family = if subtype == 1 { Family::Ipv4Unicast } else { Family::Ipv6Unicast };
                return self.table_dump(&record.message_bytes, family);
            }
            EntryType::BGP4MP | EntryType::BGP4MP_ET => {
                let micros = header.microsecond_timestamp.unwrap_or(0);
                let at_s = f64::from(header.timestamp) + f64::from(micros) / 1e6;
                if let Ok(kind) = Bgp4MpType::try_from(subtype) {
                    return self.bgp4mp(&record.message_bytes, kind, at_s);
                }
            }
            _ => {}
        }
        self.skip(format!("records of type {:?}, subtype {subtype}", header.entry_type));
        Some(())
    }

    fn skip(&mut self, what: String) {
        *self.skipped.entry(what).or_default() += 1;
    }

    /// RFC 6396 §4.3.1.
    fn peer_index_table(&mut self, record: RawMrtRecord) -> Option<()> {
        let Ok(parsed) = record.parse() else {
            return None;
        };
        let MrtMessage::TableDumpV2Message(TableDumpV2Message::PeerIndexTable(table)) = parsed.message else {
            return None;
        };
        self.peers.indexed.clear();
        for index in 0..table.id_peer_map.len() {
            let peer = table.get_peer_by_id(&u16::try_from(index).ok()?)?;
            let key = (peer.peer_ip, u32::from(peer.peer_asn));
            // In the first table, the number of a peer is its index, even if one is there twice.
            let number = if self.peers.list.len() == index {
                self.peers.list.push(key);
                self.peers.numbers.entry(key).or_insert(index);
                index
            } else {
                self.peers.number(key.0, key.1)
            };
            self.peers.indexed.push(number);
        }
        Some(())
    }

    /// RFC 6396 §4.3.2, with path identifiers RFC 8050 §4.
    fn rib(&mut self, bytes: &[u8], family: Family, path_ids: bool) -> Option<()> {
        let mut fields = Fields(bytes);
        fields.number::<4>()?;
        let prefix = fields.prefix(family)?;
        for _ in 0..fields.number::<2>()? {
            let index = fields.number::<2>()? as usize;
            fields.number::<4>()?;
            let path_id = if path_ids { fields.number::<4>()? } else { 0 };
            let attributes_len = fields.number::<2>()? as usize;
            let attributes = fields.take(attributes_len)?;
            let peer = *self.peers.indexed.get(index)?;
            let entry = Entry::Rib { prefix, path_id, attributes, four_octet_as: true };
            (self.take)(peer, self.position, entry);
        }
        fields.0.is_empty().then_some(())
    }

    /// RFC 6396 §4.2. Early writers put several entries into a record.
    fn table_dump(&mut self, bytes: &[u8], family: Family) -> Option<()> {
        let mut fields = Fields(bytes);
        fields.number::<4>()?;
        while !fields.0.is_empty() {
            let address = fields.address(family)?;
            let len = fields.number::<1>()? as u8;
            let prefix = Prefix::of(address, len)?;
            fields.take(5)?;
            let peer_address = fields.address(family)?;
            let peer_as = fields.number::<2>()?;
            let attributes_len = fields.number::<2>()? as usize;
            let attributes = fields.take(attributes_len)?;
            let peer = self.peers.number(peer_address, peer_as);
            let entry = Entry::Rib { prefix, path_id: 0, attributes, four_octet_as: false };
            (self.take)(peer, self.position, entry);
        }
        Some(())
    }

    /// RFC 6396 §4.4, with path identifiers RFC 8050 §3.
    fn bgp4mp(&mut self, bytes: &[u8], kind: Bgp4MpType, at_s: f64) -> Option<()> {
        let (four_octet_as, path_ids) = match kind {
            Bgp4MpType::StateChange | Bgp4MpType::Message => (false, false),
            Bgp4MpType::StateChangeAs4 | Bgp4MpType::MessageAs4 => (true, false),
            Bgp4MpType::MessageAddpath => (false, true),
            Bgp4MpType::MessageAs4Addpath => (true, true),
            Bgp4MpType::MessageLocal
            | Bgp4MpType::MessageAs4Local
            | Bgp4MpType::MessageLocalAddpath
            | Bgp4MpType::MessageLocalAs4Addpath => {
                self.skip("messages that the collector itself sent".to_string());
                return Some(());
            }
        };
        let mut fields = Fields(bytes);
        let (peer_as, local_as) = if four_octet_as {
            (fields.number::<4>()?, fields.number::<4>()?)
        } else {
            (fields.number::<2>()?, fields.number::<2>()?)
        };
        fields.number::<2>()?;
        let family = Family::from_afi_safi(fields.number::<2>()? as u16, 1)?;
        let peer_address = fields.address(family)?;
        fields.address(family)?;
        if matches!(kind, Bgp4MpType::StateChange | Bgp4MpType::StateChangeAs4) {
            let (old, new) = (fields.number::<2>()? as u16, fields.number::<2>()? as u16);
            if old == ESTABLISHED && new != ESTABLISHED {
                let peer = self.peers.number(peer_address, peer_as);
                (self.take)(peer, self.position, Entry::Down);
            }
            return Some(());
        }
        let frame = next_frame(fields.0, EXTENDED_MESSAGE_LEN_MAX).ok()??;
        if frame.kind == MessageKind::Update {
            let peer = self.peers.number(peer_address, peer_as);
            let context = context(four_octet_as, path_ids, peer_as != local_as);
            (self.take)(peer, self.position, Entry::Update { body: frame.body, context, at_s });
        }
        Some(())
    }
}

/// The fields of a record, one after another.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    /// A number of `N` octets, at most four.
    fn number<const N: usize>(&mut self) -> Option<u32> {
        Some(self.take(N)?.iter().fold(0, |number, octet| number << 8 | u32::from(*octet)))
    }

    /// An address in full.
    fn address(&mut self, family: Family) -> Option<IpAddr> {
        Some(match family {
            Family::Ipv4Unicast => Ipv4Addr::from(<[u8; 4]>::try_from(self.take(4)?).ok()?).into(),
            Family::Ipv6Unicast => Ipv6Addr::from(<[u8; 16]>::try_from(self.take(16)?).ok()?).into(),
        })
    }

    /// A prefix as in NLRI: its length in bits, and as many octets as that takes.
    fn prefix(&mut self, family: Family) -> Option<Prefix> {
        let len = self.number::<1>()? as u8;
        let octets = self.take(usize::from(len).div_ceil(8))?;
        let mut address = [0; 16];
        address.get_mut(..octets.len())?.copy_from_slice(octets);
        Prefix::of(Fields(&address).address(family)?, len)
    }
}
