//! Reading gives back what writing took, and nothing that arrives can make the reader panic.

use proptest::prelude::*;

use super::*;

fn prefix() -> impl Strategy<Value = Prefix> {
    prop_oneof![
        (any::<u32>(), 0u8..=32).prop_map(|(addr, len)| Prefix::V4(Prefix4::new(addr, len))),
        (any::<u128>(), 0u8..=128).prop_map(|(addr, len)| Prefix::V6(Prefix6::new(addr, len))),
    ]
}

fn only(bytes: &[u8]) -> Message<'_> {
    let mut messages = Messages::new(bytes);
    let message = messages.next().unwrap();
    assert!(messages.next().is_none());
    message
}

proptest! {
    #[test]
    fn routes_come_back(
        prefix in prefix(),
        table in prop_oneof![1u32..256, any::<u32>()],
        metric in 1u32..,
        id in 1u32..,
        seq: u32,
    ) {
        let writer = RouteWriter { table, metric, protocol: 75 };
        let mut bytes = Vec::new();
        writer.write(&mut bytes, seq, NLM_F_CREATE, prefix, id);
        let message = only(&bytes);
        prop_assert_eq!((message.kind, message.seq, message.flags), (RTM_NEWROUTE, seq, 0x401));
        let expected = RouteView {
            prefix,
            table,
            protocol: 75,
            kind: RTN_UNICAST,
            metric,
            next_hop_id: id,
            source: None,
            vias: Vias::new(),
        };
        prop_assert_eq!(RouteView::read(message.payload), Some(expected.clone()));
        bytes.clear();
        writer.delete(&mut bytes, seq, prefix);
        let expected = RouteView { next_hop_id: 0, ..expected };
        prop_assert_eq!(RouteView::read(only(&bytes).payload), Some(expected));
    }

    #[test]
    fn objects_come_back(
        id in 1u32..,
        gateway in prop_oneof![
            Just(None),
            any::<[u8; 4]>().prop_map(|octets| Some(IpAddr::from(octets))),
            any::<[u8; 16]>().prop_map(|octets| Some(IpAddr::from(octets))),
        ],
        ifindex in 1u32..,
        onlink: bool,
        members in prop::collection::btree_map(any::<u32>(), 1u16..=256, 1..20),
    ) {
        let via = Via { gateway, ifindex, onlink };
        let mut bytes = Vec::new();
        write_single(&mut bytes, 9, NLM_F_CREATE, 75, id, via);
        let expected = ObjectView { id, protocol: 75, object: Object::Single(via) };
        prop_assert_eq!(ObjectView::read(only(&bytes).payload), Some(expected));

        let members: Members = members.into_iter().collect();
        bytes.clear();
        write_group(&mut bytes, 9, NLM_F_CREATE, 75, id, &members);
        let expected = ObjectView { id, protocol: 75, object: Object::Group(members) };
        prop_assert_eq!(ObjectView::read(only(&bytes).payload), Some(expected));
    }

    #[test]
    fn batches_come_apart_as_they_were_put_together(prefixes in prop::collection::vec(prefix(), 0..40)) {
        let writer = RouteWriter { table: 254, metric: 20, protocol: 75 };
        let mut bytes = Vec::new();
        for (seq, prefix) in prefixes.iter().enumerate() {
            writer.write(&mut bytes, seq as u32, NLM_F_CREATE, *prefix, 1);
        }
        let read: Vec<Prefix> = Messages::new(&bytes)
            .map(|message| RouteView::read(message.payload).unwrap().prefix)
            .collect();
        prop_assert_eq!(read, prefixes);
    }

    #[test]
    fn nothing_that_arrives_panics(mut bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0u16..110) {
        if bytes.len() >= 6 {
            let length = bytes.len() as u32;
            bytes[..4].copy_from_slice(&length.to_ne_bytes());
            bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        }
        for message in Messages::new(&bytes) {
            message.outcome();
            message.dump_errno();
            LinkView::read(message.payload);
            AddressView::read(message.payload);
            RouteView::read(message.payload);
            ObjectView::read(message.payload);
        }
    }

    #[test]
    fn a_damaged_route_never_panics(prefix in prefix(), at in 0usize..72, to: u8) {
        let mut bytes = Vec::new();
        RouteWriter { table: 7, metric: 20, protocol: 75 }.write(&mut bytes, 1, 0, prefix, 5);
        if let Some(byte) = bytes.get_mut(at) {
            *byte = to;
        }
        for message in Messages::new(&bytes) {
            RouteView::read(message.payload);
        }
    }
}

/// `ip route add 192.0.2.0/24 nexthop via 10.1.0.2 dev 3 nexthop via inet6 fe80::1 dev 4`, as told by
/// Linux 6.18.
#[test]
fn reads_a_multipath_route_of_the_kernel() {
    let mut bytes = Vec::new();
    let fixed = [AF_INET, 24, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0];
    let start = begin(&mut bytes, RTM_NEWROUTE, 0, 0, &fixed);
    attribute(&mut bytes, RTA_TABLE, &254u32.to_ne_bytes());
    attribute(&mut bytes, RTA_DST, &[192, 0, 2, 0]);
    let mut paths = Vec::new();
    paths.extend_from_slice(&16u16.to_ne_bytes());
    paths.extend_from_slice(&[0, 0, 3, 0, 0, 0]);
    attribute(&mut paths, RTA_GATEWAY, &[10, 1, 0, 2]);
    let mut via = libc::AF_INET6.to_ne_bytes()[..2].to_vec();
    via.extend_from_slice(&Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).octets());
    paths.extend_from_slice(&32u16.to_ne_bytes());
    paths.extend_from_slice(&[0, 0, 4, 0, 0, 0]);
    attribute(&mut paths, RTA_VIA, &via);
    attribute(&mut bytes, RTA_MULTIPATH, &paths);
    end(&mut bytes, start);
    let route = RouteView::read(only(&bytes).payload).unwrap();
    let via = |gateway: &str, ifindex| Via { gateway: gateway.parse().ok(), ifindex, onlink: false };
    assert_eq!(route.vias.as_slice(), [via("10.1.0.2", 3), via("fe80::1", 4)]);
}
