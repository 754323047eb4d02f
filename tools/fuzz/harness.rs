//! What each fuzz target does with its input. Shared by the targets, which look for new inputs, and by
//! `replay.rs`, which runs the corpus in plain `cargo test`.
//!
//! A target does more than not to panic: what a decoder accepts must survive being encoded and decoded
//! again.

// A target uses one of these functions, and each target is a program of its own.
#![allow(dead_code)]

use kulan::types::{Family, FamilySet, Prefix, Prefix4, Prefix6, RouterId};
use kulan::wire::attrs::{self, LargeCommunity, PathAttributes, code, flag};
use kulan::wire::encode::{AttributeSection, EncodeContext, encode_announce, encode_withdraw};
use kulan::wire::frame::{EXTENDED_MESSAGE_LEN_MAX, HEADER_LEN, MESSAGE_LEN_MAX, next_frame};
use kulan::wire::{
    AttributeEditor, Capability, DecodeContext, Notification, Open, Reach, RouteRefresh, Treatment,
    UpdateView, canonicalize, decode_update,
};

/// A byte stream: cut into messages until it ends or is refused.
pub fn frame(data: &[u8]) {
    for max_len in [MESSAGE_LEN_MAX, EXTENDED_MESSAGE_LEN_MAX] {
        let mut rest = data;
        while let Ok(Some(frame)) = next_frame(rest, max_len) {
            assert!((HEADER_LEN..=max_len).contains(&frame.len));
            assert_eq!(frame.body.len(), frame.len - HEADER_LEN);
            rest = &rest[frame.len..];
        }
    }
}

/// The body of an OPEN.
pub fn open(data: &[u8]) {
    if data.len() > MESSAGE_LEN_MAX - HEADER_LEN {
        return;
    }
    let Ok(open) = Open::decode(data) else {
        return;
    };
    let _ = (open.families(), open.extended_next_hop(), open.add_path(Family::Ipv4Unicast));
    let mut out = Vec::new();
    open.encode(&mut out);
    let again = Open::decode(&out[HEADER_LEN..]).expect("what we encode is valid");
    assert_eq!((again.asn, again.hold_time_s, again.router_id), (open.asn, open.hold_time_s, open.router_id));
    // Not their content: names whose octets are no text can grow and be cut.
    assert!(
        again.capabilities.iter().map(Capability::code).eq(open.capabilities.iter().map(Capability::code))
    );
}

/// The body of a NOTIFICATION.
pub fn notification(data: &[u8]) {
    let Ok(notification) = Notification::decode(data) else {
        return;
    };
    let _ = (notification.to_string(), notification.communication());
    let mut out = Vec::new();
    notification.encode(&mut out);
    let frame = next_frame(&out, MESSAGE_LEN_MAX).unwrap().expect("whole");
    let again = Notification::decode(frame.body).expect("what we encode is valid");
    assert!(notification.data.starts_with(&again.data));
    let hard = notification.clone().into_hard_reset();
    assert!(notification.is_hard_reset() || hard.unwrap_hard_reset() == Some(notification));
}

/// The body of a ROUTE-REFRESH, its first octet telling whether RFC 7313 was negotiated.
pub fn route_refresh(data: &[u8]) {
    let Some((&first, body)) = data.split_first() else {
        return;
    };
    let Ok(refresh) = RouteRefresh::decode(body, first & 1 != 0) else {
        return;
    };
    let mut out = Vec::new();
    refresh.encode(&mut out);
    assert_eq!(RouteRefresh::decode(&out[HEADER_LEN..], true), Ok(refresh));
}

/// The body of an UPDATE behind one octet that tells what was negotiated.
pub fn update(data: &[u8]) {
    let Some((&first, body)) = data.split_first() else {
        return;
    };
    // A session never hands over more than a message.
    if body.len() > EXTENDED_MESSAGE_LEN_MAX - HEADER_LEN {
        return;
    }
    let context = decode_context(first);
    let Ok(view) = decode_update(body, &context) else {
        return;
    };
    let _ = view.findings().iter().map(ToString::to_string).collect::<Vec<_>>();
    if view.treatment() == Treatment::TreatAsWithdraw {
        assert_eq!(view.announcements().count(), 0);
    }
    for nlri in view.withdrawals() {
        assert!(!nlri.is_empty() && context.families.contains(nlri.family()));
        let prefixes: Vec<Prefix> = nlri.iter().map(|path| path.prefix).collect();
        withdraw_again(&prefixes);
    }
    if view.treatment() < Treatment::TreatAsWithdraw {
        let mut block = Vec::new();
        canonicalize(&view, &mut block);
        assert_canonical(&block);
        for reach in view.announcements() {
            announce_again(&reach, &block);
        }
    }
}

/// Path attributes with routes, and then changes to them: the first octet tells what was negotiated, the
/// second how many octets of changes follow.
pub fn attributes(data: &[u8]) {
    let [first, count, rest @ ..] = data else {
        return;
    };
    let Some((changes, attributes)) = rest.split_at_checked(usize::from(*count)) else {
        return;
    };
    if attributes.len() > MESSAGE_LEN_MAX {
        return;
    }
    let mut body = vec![0, 0];
    body.extend_from_slice(&(attributes.len() as u16).to_be_bytes());
    body.extend_from_slice(attributes);
    // 10.0.0.0/8, with a path identifier where one is expected.
    let context = decode_context(*first);
    if context.add_path.contains(Family::Ipv4Unicast) {
        body.extend_from_slice(&[0, 0, 0, 1]);
    }
    body.extend_from_slice(&[8, 10]);
    let Ok(view) = decode_update(&body, &context) else {
        return;
    };
    if view.treatment() == Treatment::TreatAsWithdraw {
        return;
    }
    let mut block = Vec::new();
    canonicalize(&view, &mut block);
    assert_canonical(&block);
    read_all(&block);
    for change in changes.chunks(6) {
        let before = block.clone();
        let mut editor = AttributeEditor::on(&mut block);
        apply(&mut editor, change);
        if editor.finish().is_err() {
            assert_eq!(block, before, "a change that does not fit changes nothing");
        }
        assert_canonical(&block);
        read_all(&block);
    }
}

fn decode_context(octet: u8) -> DecodeContext {
    let family_set = |bits: u8| {
        let mut families = FamilySet::EMPTY;
        if bits & 1 != 0 {
            families.insert(Family::Ipv4Unicast);
        }
        if bits & 2 != 0 {
            families.insert(Family::Ipv6Unicast);
        }
        families
    };
    DecodeContext {
        four_octet_as: octet & 1 == 0,
        external: octet & 2 == 0,
        extended_next_hop: octet & 4 != 0,
        add_path: family_set(octet >> 3),
        families: family_set(!octet >> 5),
    }
}

/// Order, flags and lengths as the documentation of `wire::attrs` says.
fn assert_canonical(block: &[u8]) {
    let mut rebuilt = Vec::new();
    let mut last = None;
    for attribute in PathAttributes::new(block).iter() {
        assert!(Some(attribute.code) > last, "ascending, each once");
        last = Some(attribute.code);
        let forbidden = [
            code::NEXT_HOP,
            code::MP_REACH_NLRI,
            code::MP_UNREACH_NLRI,
            code::AS4_PATH,
            code::AS4_AGGREGATOR,
        ];
        assert!(!forbidden.contains(&attribute.code));
        assert_eq!(attribute.flags & 0x0f, 0);
        let partial = attribute.flags & flag::PARTIAL != 0;
        assert!(!partial || attribute.flags & flag::OPTIONAL_TRANSITIVE == flag::OPTIONAL_TRANSITIVE);
        let mut editor = AttributeEditor::on(&mut rebuilt);
        editor.set(attribute.flags, attribute.code, attribute.value);
        assert!(editor.finish().is_ok());
    }
    assert_eq!(rebuilt, block, "nothing left over, lengths in their shortest form");
}

/// Every accessor, for what it may do with strange content.
fn read_all(block: &[u8]) {
    let read = PathAttributes::new(block);
    let path = read.as_path();
    let _ = (path.length(), path.neighbor_as(), path.origin_as(), path.to_string(), path.contains(1));
    let _ = (read.origin(), read.med(), read.local_pref(), read.atomic_aggregate(), read.aggregator());
    let _ = (read.originator_id(), read.cluster_list().count(), read.communities().count());
    let _ = (read.extended_communities().count(), read.large_communities().count());
    let _ = read.unknown().count();
}

/// One change, told by its first octet, with the others as its operand.
fn apply(editor: &mut AttributeEditor<'_>, change: &[u8]) {
    let mut operand = [0; 5];
    operand[..change.len() - 1].copy_from_slice(&change[1..]);
    let number = u32::from_be_bytes([operand[0], operand[1], operand[2], operand[3]]);
    let small = usize::from(operand[4]);
    // What the editor never meets: it works on attributes of canonical blocks.
    let code = match operand[4] {
        0..=18 | 25 | 32 => 200,
        other => other,
    };
    match change[0] % 16 {
        0 => editor.set_local_pref(number),
        1 => editor.set_med(number),
        2 => editor.set_origin(attrs::Origin::Egp),
        3 => editor.prepend_as(number.max(1), small * 3),
        4 => editor.add_communities(&[number, number.rotate_left(7)]),
        5 => editor.remove_communities(|community| community & 3 == number & 3),
        6 => editor.add_large_communities(&[LargeCommunity { global: number, local1: 1, local2: 2 }]),
        7 => editor.remove_large_communities(|community| community.global & 1 == number & 1),
        8 => editor.add_extended_communities(&[u64::from(number) << 32]),
        9 => editor.remove_extended_communities(|community| community & 1 == u64::from(number & 1)),
        10 => editor.prepend_cluster_id(RouterId(number)),
        11 => editor.set_originator_id(RouterId(number)),
        12 => editor.set(0xe0, code, &vec![operand[0]; 2 * small]),
        13 => editor.remove(operand[4]),
        14 => editor.retain(|attribute| attribute.code & 1 == operand[4] & 1),
        _ => editor.set_as_path(&[number.max(1), 7]),
    };
}

/// Encodes what was announced and reads it back: the same prefixes, next hop and attributes. Toward a
/// speaker with two-octet AS numbers as well.
fn announce_again(reach: &Reach<'_>, block: &[u8]) {
    for four_octet_as in [true, false] {
        if !four_octet_as && !survives_two_octets(block) {
            continue;
        }
        let context = EncodeContext { four_octet_as, message_len_max: EXTENDED_MESSAGE_LEN_MAX };
        let family = reach.nlri.family();
        let mut section = AttributeSection::new();
        section.fill(&context, family, block, reach.next_hop);
        let (mut v4, mut v6) = (Vec::<Prefix4>::new(), Vec::<Prefix6>::new());
        reach.nlri.decode4(&mut v4);
        reach.nlri.decode6(&mut v6);
        let mut out = Vec::new();
        let encoded = match family {
            Family::Ipv4Unicast => encode_announce(&context, &section, &v4, &mut out),
            Family::Ipv6Unicast => encode_announce(&context, &section, &v6, &mut out),
        };
        let Ok(count) = encoded else {
            continue;
        };
        assert!(count > 0);
        let frame = next_frame(&out, EXTENDED_MESSAGE_LEN_MAX).unwrap().expect("whole");
        let receiver = DecodeContext {
            four_octet_as,
            external: false,
            families: FamilySet::ALL,
            add_path: FamilySet::EMPTY,
            extended_next_hop: true,
        };
        let view: UpdateView<'_> = decode_update(frame.body, &receiver).expect("what we encode is valid");
        assert_eq!(view.findings(), []);
        let again = view.announcements().next().expect("announced");
        assert_eq!(again.next_hop, reach.next_hop);
        assert!(
            again.nlri.iter().map(|path| path.prefix).eq(reach
                .nlri
                .iter()
                .map(|path| path.prefix)
                .take(count))
        );
        let mut again = Vec::new();
        canonicalize(&view, &mut again);
        assert_eq!(again, block);
    }
}

/// Whether AS_PATH and AS4_PATH together say what AS_PATH said: not with confederation segments behind
/// others, and not if they would be refused for their length.
fn survives_two_octets(block: &[u8]) -> bool {
    let path = PathAttributes::new(block).as_path();
    path.octets().len() < 16_384 && path.segments().all(|segment| !segment.kind.is_confederation())
}

fn withdraw_again(prefixes: &[Prefix]) {
    let context = EncodeContext::default();
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for prefix in prefixes {
        match prefix {
            Prefix::V4(prefix) => v4.push(*prefix),
            Prefix::V6(prefix) => v6.push(*prefix),
        }
    }
    let mut out = Vec::new();
    let count = encode_withdraw(&context, &v4, &mut out) + encode_withdraw(&context, &v6, &mut out);
    let frame = next_frame(&out, MESSAGE_LEN_MAX).unwrap().expect("whole");
    let everything = DecodeContext {
        four_octet_as: true,
        external: true,
        families: FamilySet::ALL,
        add_path: FamilySet::EMPTY,
        extended_next_hop: false,
    };
    let view = decode_update(frame.body, &everything).expect("what we encode is valid");
    assert!(view.withdrawals().flatten().map(|path| path.prefix).eq(prefixes.iter().copied().take(count)));
}
