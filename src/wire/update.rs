//! UPDATE (RFC 4271 §4.3) as a checked view over the received bytes, with the error handling of
//! RFC 7606, multiprotocol NLRI (RFC 4760), IPv6 next hops (RFC 2545, RFC 8950) and End-of-RIB
//! (RFC 4724 §2).
//!
//! [`decode_update`] looks at each octet once and copies nothing. What comes out is already judged: of a
//! message to be treated as withdraw, [`UpdateView::announcements`] is empty and
//! [`UpdateView::withdrawals`] has everything, so nobody downstream can forget it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smallvec::SmallVec;

use super::attrs::{code, defined_flags, flag};
use super::check::{self, Verdict};
use super::finding::{Finding, Problem, Treatment};
use super::nlri::Nlri;
use super::notification::{self, Notification, update as subcode};
use super::read_u16;
use crate::types::{Family, FamilySet, NextHop};

/// What was negotiated for the session that an UPDATE came in on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeContext {
    /// AS numbers have four octets (RFC 6793).
    pub four_octet_as: bool,
    /// The peer is in another AS.
    pub external: bool,
    /// The families that both sides route.
    pub families: FamilySet,
    /// The families whose NLRI come with path identifiers (RFC 7911).
    pub add_path: FamilySet,
    /// IPv4 routes may have IPv6 next hops (RFC 8950).
    pub extended_next_hop: bool,
}

impl DecodeContext {
    /// Octets of an AS number in AS_PATH and AGGREGATOR.
    pub(super) const fn asn_len(&self) -> usize {
        if self.four_octet_as { 4 } else { 2 }
    }
}

/// Announced routes of one field: they share next hop and attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach<'a> {
    /// Where they lead.
    pub next_hop: NextHop,
    /// The prefixes.
    pub nlri: Nlri<'a>,
}

/// How many findings of one message are listed. The treatment takes all into account; a log line does
/// not get better by a thousand of the same.
pub const FINDINGS_MAX: usize = 16;

/// Where an attribute that is kept lies in [`UpdateView::attributes`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub code: u8,
    pub flags: u8,
    /// Where the header starts.
    pub start: u16,
    /// Where the value starts.
    pub value: u16,
    /// Where the value ends.
    pub end: u16,
}

/// A received UPDATE, checked.
#[derive(Clone, Debug)]
pub struct UpdateView<'a> {
    /// The path attributes as they came.
    pub(super) attributes: &'a [u8],
    /// The attributes that belong into the canonical block, AS4_PATH and AS4_AGGREGATOR among them, each
    /// code once, in the order in which they came.
    pub(super) spans: SmallVec<[Span; 16]>,
    pub(super) four_octet_as: bool,
    withdrawn: Nlri<'a>,
    announced: Nlri<'a>,
    next_hop: Option<NextHop>,
    mp_reach: Option<Reach<'a>>,
    mp_unreach: Option<Nlri<'a>>,
    end_of_rib: Option<Family>,
    treatment: Treatment,
    findings: SmallVec<[Finding; 2]>,
}

impl<'a> UpdateView<'a> {
    /// The announced routes, at most one group for IPv4 NLRI of the message and one for MP_REACH_NLRI;
    /// none if the message is to be treated as withdraw. Groups are never empty.
    pub fn announcements(&self) -> impl Iterator<Item = Reach<'a>> + use<'a> {
        let plain = self
            .next_hop
            .filter(|_| !self.announced.is_empty())
            .map(|next_hop| Reach { next_hop, nlri: self.announced });
        let groups = [plain, self.mp_reach.filter(|reach| !reach.nlri.is_empty())];
        let valid = self.treatment < Treatment::TreatAsWithdraw;
        groups.into_iter().flatten().filter(move |_| valid)
    }

    /// The withdrawn routes; the announced ones as well if the message is to be treated as withdraw.
    /// Groups are never empty.
    pub fn withdrawals(&self) -> impl Iterator<Item = Nlri<'a>> + use<'a> {
        let announced = if self.treatment == Treatment::TreatAsWithdraw {
            [Some(self.announced), self.mp_reach.map(|reach| reach.nlri)]
        } else {
            [None, None]
        };
        [Some(self.withdrawn), self.mp_unreach]
            .into_iter()
            .chain(announced)
            .flatten()
            .filter(|nlri| !nlri.is_empty())
    }

    /// The family of which this message says that everything has been sent (RFC 4724 §2).
    pub fn end_of_rib(&self) -> Option<Family> {
        self.end_of_rib
    }

    /// The strongest treatment that any error of this message asked for.
    pub fn treatment(&self) -> Treatment {
        self.treatment
    }

    /// What was wrong; at most [`FINDINGS_MAX`].
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The path attributes as they came, for whoever wants to copy the message.
    pub fn attributes(&self) -> &'a [u8] {
        self.attributes
    }

    /// The attribute with this code as it came, if it is one of those that are kept.
    pub(super) fn span_value(&self, code: u8) -> Option<&'a [u8]> {
        let span = self.spans.iter().find(|span| span.code == code)?;
        Some(&self.attributes[usize::from(span.value)..usize::from(span.end)])
    }
}

/// Reads the body of an UPDATE.
///
/// # Errors
///
/// A NOTIFICATION where RFC 7606 leaves nothing but to end the session: when the routes of the message
/// cannot be told with certainty (§3 (a), (j), §5.2, §5.3), for MP_REACH_NLRI or MP_UNREACH_NLRI twice
/// (§3 (g)), and for a well-known attribute that we do not know (RFC 4271 §6.3).
pub fn decode_update<'a>(body: &'a [u8], context: &DecodeContext) -> Result<UpdateView<'a>, Notification> {
    let malformed_list = || update_error(subcode::MALFORMED_ATTRIBUTE_LIST, &[]);
    let (withdrawn, rest) = split_field(body).ok_or_else(malformed_list)?;
    let (attributes, announced) = split_field(rest).ok_or_else(malformed_list)?;

    // RFC 7606 §5.3, §3 (i): without knowing the prefixes there is nothing to treat as withdrawn.
    let path_ids = context.add_path.contains(Family::Ipv4Unicast);
    let plain = |field| {
        Nlri::new(Family::Ipv4Unicast, path_ids, field)
            .map_err(|_| update_error(subcode::INVALID_NETWORK, &[]))
    };
    let mut view = UpdateView {
        attributes,
        spans: SmallVec::new(),
        four_octet_as: context.four_octet_as,
        withdrawn: plain(withdrawn)?,
        announced: plain(announced)?,
        next_hop: None,
        mp_reach: None,
        mp_unreach: None,
        end_of_rib: None,
        treatment: Treatment::None,
        findings: SmallVec::new(),
    };
    let walk = Walk {
        context,
        view: &mut view,
        seen: [0; 4],
        first_withdraw: None,
        other_reach: false,
        only_unreach: true,
    };
    walk.run()?;
    Ok(view)
}

/// A field with its length in two octets before it, and what follows.
fn split_field(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))
}

fn update_error(subcode: u8, data: &[u8]) -> Notification {
    Notification::with(notification::UPDATE, subcode, data)
}

/// The state of one walk over the attributes of a message.
struct Walk<'w, 'a> {
    context: &'w DecodeContext,
    view: &'w mut UpdateView<'a>,
    /// One bit a type code that has occurred.
    seen: [u64; 4],
    /// The first error that asked for treat-as-withdraw, as the NOTIFICATION that it would make.
    first_withdraw: Option<(u8, &'a [u8])>,
    /// The message has reachable NLRI of a family that is not in the view.
    other_reach: bool,
    /// No attribute but MP_UNREACH_NLRI has occurred.
    only_unreach: bool,
}

impl<'a> Walk<'_, 'a> {
    fn run(mut self) -> Result<(), Notification> {
        let attributes = self.view.attributes;
        let mut at = 0;
        while at < attributes.len() {
            let Some((flags, code, value, end)) = header_at(attributes, at) else {
                // RFC 7606 §4: the total length tells where the NLRI begin, whatever the attributes say.
                self.report(
                    0,
                    &[],
                    Verdict {
                        problem: Problem::Overrun,
                        treatment: Treatment::TreatAsWithdraw,
                        subcode: subcode::MALFORMED_ATTRIBUTE_LIST,
                    },
                );
                self.only_unreach = false;
                break;
            };
            self.attribute(flags, code, at, value, end)?;
            at = end;
        }
        self.drop_unwanted_family();
        self.missing();
        self.settle()
    }

    /// One attribute, whole: from `start`, its value from `value` to `end`.
    fn attribute(
        &mut self,
        flags: u8,
        attribute: u8,
        start: usize,
        value: usize,
        end: usize,
    ) -> Result<(), Notification> {
        let whole = &self.view.attributes[start..end];
        let octets = &self.view.attributes[value..end];
        if !self.first_time(attribute) {
            // RFC 7606 §3 (g).
            if matches!(attribute, code::MP_REACH_NLRI | code::MP_UNREACH_NLRI) {
                return Err(update_error(subcode::MALFORMED_ATTRIBUTE_LIST, &[]));
            }
            self.report(
                attribute,
                whole,
                Verdict {
                    problem: Problem::Duplicate,
                    treatment: Treatment::Discard,
                    subcode: subcode::MALFORMED_ATTRIBUTE_LIST,
                },
            );
            return Ok(());
        }
        self.only_unreach &= attribute == code::MP_UNREACH_NLRI;
        let Some(defined) = defined_flags(attribute) else {
            return self.unknown(flags, attribute, whole, start, value, end);
        };
        if (flags ^ defined) & (flag::OPTIONAL | flag::TRANSITIVE) != 0 {
            // RFC 7606 §3 (c).
            self.report(
                attribute,
                whole,
                Verdict {
                    problem: Problem::Flags,
                    treatment: Treatment::TreatAsWithdraw,
                    subcode: subcode::ATTRIBUTE_FLAGS,
                },
            );
            // The routes in it are still what is to be withdrawn.
            if !matches!(attribute, code::MP_REACH_NLRI | code::MP_UNREACH_NLRI) {
                return Ok(());
            }
        }
        match attribute {
            code::MP_REACH_NLRI => return self.mp_reach(octets, whole),
            code::MP_UNREACH_NLRI => return self.mp_unreach(octets, whole),
            _ => {}
        }
        if let Err(verdict) = check::check_value(attribute, octets, self.context) {
            self.report(attribute, whole, verdict);
            return Ok(());
        }
        if attribute == code::NEXT_HOP {
            self.next_hop(octets, whole);
            return Ok(());
        }
        // Only an optional transitive attribute can be partial (RFC 4271 §4.3).
        let partial = if defined == flag::OPTIONAL_TRANSITIVE { flags & flag::PARTIAL } else { 0 };
        self.keep(defined | partial, attribute, start, value, end);
        Ok(())
    }

    fn unknown(
        &mut self,
        flags: u8,
        attribute: u8,
        whole: &[u8],
        start: usize,
        value: usize,
        end: usize,
    ) -> Result<(), Notification> {
        if flags & flag::OPTIONAL == 0 {
            // RFC 4271 §6.3; RFC 7606 leaves it as it was.
            return Err(update_error(subcode::UNRECOGNIZED_WELL_KNOWN, whole));
        }
        // RFC 4271 §5: passed on with the Partial bit, or quietly ignored.
        if flags & flag::TRANSITIVE != 0 {
            let flags = flag::OPTIONAL_TRANSITIVE | flag::PARTIAL;
            self.keep(flags, attribute, start, value, end);
        }
        Ok(())
    }

    fn keep(&mut self, flags: u8, code: u8, start: usize, value: usize, end: usize) {
        // The attributes of a message are shorter than 65,536 octets: their length field has two.
        self.view.spans.push(Span { code, flags, start: start as u16, value: value as u16, end: end as u16 });
    }

    fn first_time(&mut self, attribute: u8) -> bool {
        let word = &mut self.seen[usize::from(attribute >> 6)];
        let bit = 1 << (attribute & 63);
        let first = *word & bit == 0;
        *word |= bit;
        first
    }

    fn has(&self, attribute: u8) -> bool {
        self.seen[usize::from(attribute >> 6)] & 1 << (attribute & 63) != 0
    }

    fn report(&mut self, attribute: u8, whole: &'a [u8], verdict: Verdict) {
        let Verdict { problem, treatment, subcode } = verdict;
        if treatment == Treatment::TreatAsWithdraw && self.first_withdraw.is_none() {
            let data = if subcode == subcode::MALFORMED_AS_PATH { &[][..] } else { whole };
            self.first_withdraw = Some((subcode, data));
        }
        self.view.treatment = self.view.treatment.max(treatment);
        if self.view.findings.len() < FINDINGS_MAX {
            self.view.findings.push(Finding { attribute, problem, treatment });
        }
    }

    fn next_hop(&mut self, octets: &[u8], whole: &'a [u8]) {
        let Ok(octets) = <[u8; 4]>::try_from(octets) else {
            return;
        };
        // RFC 4760 §3: beside MP_REACH_NLRI alone it is to be ignored, so only with IPv4 NLRI in the
        // message does its value matter.
        let addr = Ipv4Addr::from(octets);
        if !check::is_host4(addr) && !self.view.announced.is_empty() {
            self.report(
                code::NEXT_HOP,
                whole,
                Verdict {
                    problem: Problem::Value,
                    treatment: Treatment::TreatAsWithdraw,
                    subcode: subcode::INVALID_NEXT_HOP,
                },
            );
        }
        self.view.next_hop = Some(NextHop::new(IpAddr::V4(addr)));
    }

    /// RFC 4760 §3, RFC 7606 §7.11: if the NLRI cannot be located, the session ends.
    fn mp_reach(&mut self, octets: &'a [u8], whole: &'a [u8]) -> Result<(), Notification> {
        let malformed = || update_error(subcode::OPTIONAL_ATTRIBUTE, whole);
        let (&[afi_high, afi_low, safi, next_hop_len], rest) =
            octets.split_first_chunk::<4>().ok_or_else(malformed)?;
        let (next_hop, rest) = rest.split_at_checked(usize::from(next_hop_len)).ok_or_else(malformed)?;
        let (_reserved, field) = rest.split_first().ok_or_else(malformed)?;
        let afi = u16::from_be_bytes([afi_high, afi_low]);
        let wanted =
            Family::from_afi_safi(afi, safi).filter(|family| self.context.families.contains(*family));
        let Some(family) = wanted else {
            self.other_reach |= !field.is_empty();
            self.other_family(code::MP_REACH_NLRI, whole);
            return Ok(());
        };
        let next_hop = self.mp_next_hop(family, next_hop).ok_or_else(malformed)?;
        let path_ids = self.context.add_path.contains(family);
        let nlri = Nlri::new(family, path_ids, field).map_err(|_| malformed())?;
        let valid = match next_hop.addr {
            IpAddr::V4(addr) => check::is_host4(addr),
            IpAddr::V6(addr) => check::is_host6(addr),
        };
        if !valid {
            self.report(
                code::MP_REACH_NLRI,
                whole,
                Verdict {
                    problem: Problem::Value,
                    treatment: Treatment::TreatAsWithdraw,
                    subcode: subcode::INVALID_NEXT_HOP,
                },
            );
        }
        self.view.mp_reach = Some(Reach { next_hop, nlri });
        Ok(())
    }

    /// The next hop of a family in its octets; `None` if it cannot have that many.
    fn mp_next_hop(&self, family: Family, octets: &[u8]) -> Option<NextHop> {
        if family == Family::Ipv4Unicast
            && let Ok(octets) = <[u8; 4]>::try_from(octets)
        {
            return Some(NextHop::new(IpAddr::V4(Ipv4Addr::from(octets))));
        }
        // RFC 8950 §3 allows the lengths of IPv6 for IPv4 once negotiated.
        if family == Family::Ipv4Unicast && !self.context.extended_next_hop {
            return None;
        }
        let (first, second) = octets.split_first_chunk::<16>()?;
        let addr = Ipv6Addr::from(*first);
        if second.is_empty() {
            return Some(NextHop::new(IpAddr::V6(addr)));
        }
        // RFC 2545 §3: a link-local address beside the global one. Some send :: for a global address that
        // they do not have, or the same link-local one twice.
        let link_local = Ipv6Addr::from(<[u8; 16]>::try_from(second).ok()?);
        if !link_local.is_unicast_link_local() {
            return Some(NextHop::new(IpAddr::V6(addr)));
        }
        if addr.is_unspecified() || addr == link_local {
            return Some(NextHop::new(IpAddr::V6(link_local)));
        }
        Some(NextHop { addr: IpAddr::V6(addr), link_local: Some(link_local) })
    }

    /// RFC 4760 §4, RFC 7606 §7.12.
    fn mp_unreach(&mut self, octets: &'a [u8], whole: &'a [u8]) -> Result<(), Notification> {
        let malformed = || update_error(subcode::OPTIONAL_ATTRIBUTE, whole);
        let (&[afi_high, afi_low, safi], field) = octets.split_first_chunk::<3>().ok_or_else(malformed)?;
        let afi = u16::from_be_bytes([afi_high, afi_low]);
        let wanted =
            Family::from_afi_safi(afi, safi).filter(|family| self.context.families.contains(*family));
        let Some(family) = wanted else {
            self.other_family(code::MP_UNREACH_NLRI, whole);
            return Ok(());
        };
        let path_ids = self.context.add_path.contains(family);
        let nlri = Nlri::new(family, path_ids, field).map_err(|_| malformed())?;
        self.view.mp_unreach = Some(nlri);
        Ok(())
    }

    /// Routes that nobody asked for are ignored (RFC 4760 §8).
    fn other_family(&mut self, attribute: u8, whole: &'a [u8]) {
        self.report(
            attribute,
            whole,
            Verdict {
                problem: Problem::Family,
                treatment: Treatment::Discard,
                subcode: subcode::OPTIONAL_ATTRIBUTE,
            },
        );
    }

    /// The message's own fields are IPv4 unicast, which may be just what was not negotiated.
    fn drop_unwanted_family(&mut self) {
        let view = &mut *self.view;
        if self.context.families.contains(Family::Ipv4Unicast)
            || (view.withdrawn.is_empty() && view.announced.is_empty())
        {
            return;
        }
        self.other_reach |= !view.announced.is_empty();
        view.withdrawn = Nlri::empty(Family::Ipv4Unicast);
        view.announced = Nlri::empty(Family::Ipv4Unicast);
        self.other_family(0, &[]);
    }

    /// Well-known mandatory attributes (RFC 4271 §5, RFC 7606 §3 (d)). LOCAL_PREF is not one of them.
    fn missing(&mut self) {
        let plain = !self.view.announced.is_empty();
        let mp = self.view.mp_reach.is_some_and(|reach| !reach.nlri.is_empty());
        if !plain && !mp {
            return;
        }
        static CODES: [u8; 3] = [code::ORIGIN, code::AS_PATH, code::NEXT_HOP];
        let wanted = if plain { &CODES[..] } else { &CODES[..2] };
        for attribute in wanted {
            if !self.has(*attribute) {
                self.report(
                    *attribute,
                    std::slice::from_ref(attribute),
                    Verdict {
                        problem: Problem::Missing,
                        treatment: Treatment::TreatAsWithdraw,
                        subcode: subcode::MISSING_WELL_KNOWN,
                    },
                );
            }
        }
    }

    /// What only the whole message tells: paths that would grow too long, RFC 7606 §5.2, End-of-RIB.
    fn settle(mut self) -> Result<(), Notification> {
        if !self.context.four_octet_as {
            self.check_merged_path_len();
        }
        let view = &mut *self.view;
        let reachable = !view.announced.is_empty()
            || view.mp_reach.is_some_and(|reach| !reach.nlri.is_empty())
            || self.other_reach;
        if let Some((subcode, data)) = self.first_withdraw
            && !reachable
            && !self.only_unreach
        {
            // §5.2: an error that would have us withdraw, and nothing announced: then what was announced
            // may have been lost in the error.
            return Err(update_error(subcode, data));
        }
        let bare = view.withdrawn.is_empty() && view.announced.is_empty() && !self.other_reach;
        if bare && self.only_unreach && view.treatment == Treatment::None {
            view.end_of_rib = match view.mp_unreach {
                Some(nlri) if nlri.is_empty() => Some(nlri.family()),
                Some(_) => None,
                None => self.context.families.contains(Family::Ipv4Unicast).then_some(Family::Ipv4Unicast),
            };
        }
        Ok(())
    }

    /// A path of two-octet AS numbers doubles in size, and AS4_PATH comes on top. Beyond what a length
    /// field can say we could not keep it.
    fn check_merged_path_len(&mut self) {
        let len = |code| self.view.span_value(code).map_or(0, <[u8]>::len);
        if 2 * len(code::AS_PATH) + len(code::AS4_PATH) > usize::from(u16::MAX) {
            self.report(
                code::AS_PATH,
                &[],
                Verdict {
                    problem: Problem::Length,
                    treatment: Treatment::TreatAsWithdraw,
                    subcode: subcode::MALFORMED_AS_PATH,
                },
            );
        }
    }
}

/// Flags, code, start of the value and end of the attribute at `at`; `None` if it does not fit.
#[inline]
fn header_at(attributes: &[u8], at: usize) -> Option<(u8, u8, usize, usize)> {
    let &[flags, code, short] = attributes[at..].first_chunk::<3>()?;
    let (value, len) = if flags & flag::EXTENDED_LENGTH == 0 {
        (at + 3, usize::from(short))
    } else {
        (at + 4, usize::from(read_u16(attributes.get(at + 2..at + 4)?)))
    };
    let end = value + len;
    (end <= attributes.len()).then_some((flags, code, value, end))
}
