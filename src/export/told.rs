//! What the members of a group have been told, destination by destination, in two bytes each.
//!
//! "Told" means that a message which says so is encoded, not that every member has taken it. The one member
//! that a route came from is not told it, so its slot is kept: when the source changes, exactly one member
//! needs a withdrawal.
//!
//! A destination that was withdrawn is marked with the epoch of its withdrawal until the ring has forgotten
//! that message: a member that falls behind may still have to be told, so the table must not give the
//! handle to another prefix. The ring never holds messages of more than two epochs; see [`Epoch`].

/// Set beside the value while the destination is in the group's queue.
pub(super) const PENDING: u16 = 0x8000;
/// No member has been told.
pub(super) const NOTHING: u16 = 0;
/// Every member has been told; the source is not one of them.
const EVERYONE: u16 = 1;
/// `SLOTS + n`: every member has been told but the one in slot `n`, the source.
const SLOTS: u16 = 2;
/// `GONE + n`: withdrawn in an epoch whose number is `n` modulo 16.
const GONE: u16 = 0x7ff0;

/// How many slots a group can tell apart; a group that is full gets a sibling.
pub(super) const SLOTS_MAX: usize = (GONE - SLOTS) as usize;
/// No slot.
pub(super) const NO_SLOT: u16 = u16::MAX;

/// The value for a route whose source sits in `slot`, or in [`NO_SLOT`].
pub(super) const fn told_by(slot: u16) -> u16 {
    if slot == NO_SLOT { EVERYONE } else { SLOTS + slot }
}

/// Whether the value (without [`PENDING`]) says that members have been told.
pub(super) const fn is_told(value: u16) -> bool {
    value != NOTHING && value < GONE
}

/// The slot of the source of a told value, or [`NO_SLOT`].
pub(super) const fn source_slot(value: u16) -> u16 {
    if value >= SLOTS && value < GONE { value - SLOTS } else { NO_SLOT }
}

/// Whether the member in `slot` has been told, going by the value.
pub(super) const fn is_told_to(value: u16, slot: u16) -> bool {
    is_told(value) && source_slot(value) != slot
}

/// Counts how often the ring has been turned over. An epoch begins when the ring has forgotten every message
/// from before the epoch that now ends; so what the ring holds is of this epoch or the one before.
#[derive(Default)]
pub(super) struct Epoch {
    number: u16,
    began_at: u64,
}

impl Epoch {
    /// The ring now holds the entries from `tail` to `head`.
    pub fn advance(&mut self, tail: u64, head: u64) {
        if tail >= self.began_at && head > self.began_at {
            self.number = self.number.wrapping_add(1);
            self.began_at = head;
        }
    }

    /// The value for a destination that is withdrawn now.
    pub fn gone(&self) -> u16 {
        GONE + (self.number & 15)
    }

    /// Whether a value says "withdrawn", and the ring may still hold the message.
    pub fn may_be_unsent(&self, value: u16) -> bool {
        value >= GONE && (self.number.wrapping_sub(value - GONE) & 15) < 2
    }
}
