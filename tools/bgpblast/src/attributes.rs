//! The attribute sets of a run, each once: those that are sent, those that must come out, and those that came.
//!
//! A set is a canonical block (see [`kulan::wire::attrs`]) and a next hop. Communities of every kind are sorted, since
//! speakers keep them in whatever order they like, and no attribute is Partial: RFC 4271 §5 wants the bit where somebody on the
//! way has added one, which some speakers heed and some do not; a MED of 0 is none. A [`SetId`] stands for a set, and equal sets have equal ids: to
//! compare two routes is to compare two numbers, and there is no hash that could collide.

use std::collections::BTreeSet;
use std::hash::BuildHasher;
use std::net::IpAddr;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use kulan::types::{NextHop, RouterId};
use kulan::wire::attrs::{Attribute, Origin, PathAttributes, code, community, flag};
use kulan::wire::{AsPath, AttributeEditor};

/// Names a set of a [`Store`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetId(pub u32);

impl SetId {
    /// No route.
    pub const NONE: SetId = SetId(0);
}

/// Where a set lies.
#[derive(Clone, Copy, Debug)]
struct Place {
    start: usize,
    len: u32,
    next_hop: NextHop,
}

/// Every set that a run has met.
#[derive(Debug)]
pub struct Store {
    octets: Vec<u8>,
    /// By id; the first is [`SetId::NONE`].
    places: Vec<Place>,
    table: HashTable<u32>,
    hasher: FixedState,
    scratch: Vec<u8>,
}

impl Default for Store {
    fn default() -> Store {
        Store::new()
    }
}

impl Store {
    /// A store that knows only [`SetId::NONE`].
    pub fn new() -> Store {
        let none = Place { start: 0, len: 0, next_hop: NextHop::new(IpAddr::from([0, 0, 0, 0])) };
        Store {
            octets: Vec::new(),
            places: vec![none],
            table: HashTable::new(),
            hasher: FixedState::with_seed(1),
            scratch: Vec::new(),
        }
    }

    /// How many sets there are.
    pub fn len(&self) -> usize {
        self.places.len() - 1
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes room, so that sets which come while a clock runs do not make anything grow.
    pub fn reserve(&mut self, sets: usize, octets: usize) {
        let Store { table, places, octets: store, hasher, .. } = self;
        places.reserve(sets);
        store.reserve(octets);
        // Memory that nobody has touched is given by the kernel a page at a time, while the clock runs.
        let len = store.len();
        store.resize(store.capacity(), 0);
        store.truncate(len);
        table.reserve(sets, |&id| hash(hasher, store, &places[id as usize]));
    }

    /// The id of a set. The link-local half of an IPv6 next hop is not part of it: whether a speaker sends one depends
    /// on the link.
    pub fn intern(&mut self, block: &[u8], next_hop: NextHop) -> SetId {
        let mut scratch = std::mem::take(&mut self.scratch);
        let normal = if is_normal(block) {
            block
        } else {
            normalize(block, &mut scratch);
            &scratch
        };
        let id = self.intern_normal(normal, NextHop::new(next_hop.addr));
        self.scratch = scratch;
        id
    }

    fn intern_normal(&mut self, block: &[u8], next_hop: NextHop) -> SetId {
        let Store { octets, places, table, hasher, .. } = self;
        let wanted = (block, next_hop.addr);
        let hash_value = hasher.hash_one(wanted);
        let found = table.find(hash_value, |&id| {
            let place = &places[id as usize];
            place.next_hop == next_hop && block_of(octets, place) == block
        });
        if let Some(&id) = found {
            return SetId(id);
        }
        let id = places.len() as u32;
        places.push(Place { start: octets.len(), len: block.len() as u32, next_hop });
        octets.extend_from_slice(block);
        table.insert_unique(hash_value, id, |&id| hash(hasher, octets, &places[id as usize]));
        SetId(id)
    }

    /// The canonical block of a set.
    pub fn block(&self, id: SetId) -> &[u8] {
        block_of(&self.octets, &self.places[id.0 as usize])
    }

    /// The next hop of a set.
    pub fn next_hop(&self, id: SetId) -> NextHop {
        self.places[id.0 as usize].next_hop
    }

    /// A set that is made of another one.
    pub fn derive(
        &mut self,
        id: SetId,
        next_hop: NextHop,
        edit: impl FnOnce(&mut AttributeEditor<'_>),
    ) -> SetId {
        let mut block = self.block(id).to_vec();
        edit(&mut AttributeEditor::on(&mut block));
        self.intern(&block, next_hop)
    }

    /// A set in words, an attribute a line; nothing for [`SetId::NONE`].
    pub fn show(&self, id: SetId) -> Vec<String> {
        if id == SetId::NONE {
            return Vec::new();
        }
        let mut lines = vec![format!("NEXT_HOP {}", self.next_hop(id))];
        for attribute in PathAttributes::new(self.block(id)).iter() {
            let name = code::name(attribute.code)
                .map_or_else(|| format!("attribute {}", attribute.code), str::to_string);
            lines.push(format!("{name} {}", show_value(attribute.code, attribute.value)));
        }
        lines
    }
}

fn block_of<'a>(octets: &'a [u8], place: &Place) -> &'a [u8] {
    &octets[place.start..place.start + place.len as usize]
}

fn hash(hasher: &FixedState, octets: &[u8], place: &Place) -> u64 {
    hasher.hash_one((block_of(octets, place), place.next_hop.addr))
}

/// The size of the items of an attribute whose value is a set.
const fn item_size(code: u8) -> Option<usize> {
    match code {
        code::COMMUNITIES => Some(4),
        code::EXTENDED_COMMUNITIES => Some(8),
        code::LARGE_COMMUNITIES => Some(12),
        code::IPV6_EXTENDED_COMMUNITIES => Some(20),
        _ => None,
    }
}

fn is_normal(block: &[u8]) -> bool {
    PathAttributes::new(block).iter().all(|attribute| {
        let sorted = item_size(attribute.code).is_none_or(|size| {
            let items = attribute.value.chunks_exact(size);
            items.clone().zip(items.skip(1)).all(|(a, b)| a < b)
        });
        sorted && attribute.flags & flag::PARTIAL == 0 && !is_default_med(&attribute)
    })
}

/// A MED of 0 says no more than none at all (RFC 4271 §9.1.2.2 c), and some speakers add it.
fn is_default_med(attribute: &Attribute<'_>) -> bool {
    attribute.code == code::MULTI_EXIT_DISC && attribute.value == [0; 4]
}

fn normalize(block: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let mut editor = AttributeEditor::on(out);
    for attribute in PathAttributes::new(block).iter().filter(|attribute| !is_default_med(attribute)) {
        let flags = attribute.flags & !flag::PARTIAL;
        match item_size(attribute.code) {
            None => editor.set(flags, attribute.code, attribute.value),
            Some(size) => {
                let items: BTreeSet<&[u8]> = attribute.value.chunks_exact(size).collect();
                let sorted: Vec<u8> = items.into_iter().flatten().copied().collect();
                editor.set(flags, attribute.code, &sorted)
            }
        };
    }
}

fn show_value(code: u8, value: &[u8]) -> String {
    let block = |value: &[u8]| {
        let mut block = Vec::new();
        AttributeEditor::on(&mut block).set(flag::OPTIONAL_TRANSITIVE, code, value);
        block
    };
    match code {
        code::ORIGIN => match value.first().and_then(|&value| Origin::from_u8(value)) {
            Some(Origin::Igp) => "IGP".to_string(),
            Some(Origin::Egp) => "EGP".to_string(),
            Some(Origin::Incomplete) => "INCOMPLETE".to_string(),
            None => format!("{value:02x?}"),
        },
        code::AS_PATH => AsPath::new(value).to_string(),
        code::MULTI_EXIT_DISC | code::LOCAL_PREF => match *value {
            [a, b, c, d] => u32::from_be_bytes([a, b, c, d]).to_string(),
            _ => format!("{value:02x?}"),
        },
        code::COMMUNITIES => {
            let list = value.chunks_exact(4).map(|octets| {
                let high = u16::from_be_bytes([octets[0], octets[1]]);
                format!("{high}:{}", u16::from_be_bytes([octets[2], octets[3]]))
            });
            list.collect::<Vec<_>>().join(" ")
        }
        code::LARGE_COMMUNITIES => {
            let block = block(value);
            let list = PathAttributes::new(&block)
                .large_communities()
                .map(|large| format!("{}:{}:{}", large.global, large.local1, large.local2));
            list.collect::<Vec<_>>().join(" ")
        }
        code::ORIGINATOR_ID | code::CLUSTER_LIST => {
            let list = value.chunks_exact(4).map(|octets| {
                RouterId(u32::from_be_bytes([octets[0], octets[1], octets[2], octets[3]])).to_string()
            });
            list.collect::<Vec<_>>().join(" ")
        }
        code::AGGREGATOR => match PathAttributes::new(&block(value)).aggregator() {
            Some(aggregator) => format!("{} {}", aggregator.asn, aggregator.router_id),
            None => format!("{value:02x?}"),
        },
        code::ATOMIC_AGGREGATE => String::new(),
        _ => value.iter().map(|octet| format!("{octet:02x}")).collect(),
    }
}

/// Whether a route with these attributes may be told to a neighbour of that kind (RFC 1997).
pub fn may_be_told(attributes: PathAttributes<'_>, external: bool) -> bool {
    attributes.communities().all(|value| match value {
        community::NO_ADVERTISE => false,
        community::NO_EXPORT | community::NO_EXPORT_SUBCONFED => !external,
        _ => true,
    })
}

/// Whether the attributes are such that speakers differ in what they make of them (RFC 7607): AS 0.
pub fn names_as_zero(attributes: PathAttributes<'_>) -> (bool, bool) {
    let in_path = attributes.as_path().contains(0);
    (in_path, attributes.aggregator().is_some_and(|aggregator| aggregator.asn == 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next_hop(last: u8) -> NextHop {
        NextHop::new(IpAddr::from([192, 0, 2, last]))
    }

    fn block(communities: &[u32]) -> Vec<u8> {
        let mut block = Vec::new();
        let value: Vec<u8> = communities.iter().flat_map(|value| value.to_be_bytes()).collect();
        let mut editor = AttributeEditor::on(&mut block);
        editor.set_origin(Origin::Igp).set_as_path(&[65001, 65002]);
        editor.set(flag::OPTIONAL_TRANSITIVE, code::COMMUNITIES, &value);
        block
    }

    #[test]
    fn equal_sets_have_equal_ids_whatever_the_order_of_their_communities() {
        let mut store = Store::new();
        let one = store.intern(&block(&[1, 2, 3]), next_hop(1));
        assert_eq!(store.intern(&block(&[3, 1, 2, 2]), next_hop(1)), one);
        assert_ne!(store.intern(&block(&[1, 2, 3]), next_hop(2)), one, "the next hop counts");
        assert_ne!(store.intern(&block(&[1, 2]), next_hop(1)), one);
        assert_ne!(one, SetId::NONE);
        assert_eq!(store.len(), 3);
        let mut partial = block(&[1, 2, 3]);
        let value: Vec<u8> = [1u32, 2, 3].iter().flat_map(|value| value.to_be_bytes()).collect();
        let flags = flag::OPTIONAL_TRANSITIVE | flag::PARTIAL;
        AttributeEditor::on(&mut partial).set(flags, code::COMMUNITIES, &value);
        assert_eq!(store.intern(&partial, next_hop(1)), one, "Partial does not count");
        AttributeEditor::on(&mut partial).set_med(0);
        assert_eq!(store.intern(&partial, next_hop(1)), one, "nor does a MED of 0");
    }

    #[test]
    fn a_set_is_shown_attribute_by_attribute() {
        let mut store = Store::new();
        let id = store.intern(&block(&[(65000 << 16) | 7]), next_hop(1));
        let derived = store.derive(id, next_hop(9), |editor| {
            editor.prepend_as(64496, 1);
        });
        assert_eq!(
            store.show(derived),
            ["NEXT_HOP 192.0.2.9", "ORIGIN IGP", "AS_PATH 64496 65001 65002", "COMMUNITIES 65000:7"]
        );
        assert!(store.show(SetId::NONE).is_empty());
    }

    #[test]
    fn well_known_communities_keep_routes_back() {
        let with = |value| block(&[value]);
        let told = |value, external| may_be_told(PathAttributes::new(&with(value)), external);
        assert!(told(1, true) && told(community::NO_EXPORT, false));
        assert!(!told(community::NO_EXPORT, true) && !told(community::NO_ADVERTISE, false));
    }
}
