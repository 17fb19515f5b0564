//! The guard against storms of acknowledgments, applied to established flows.

use aya_ebpf::{macros::map, maps::Array};
use ingress_common::{
    splice::Fields,
    storm::{Bare, End, SLOTS, Turns},
};

use crate::packet::now;

#[map]
static STORMS: Array<Turns> = Array::pinned(SLOTS, 0);

/// Whether an acknowledgment without data, of a flow with this slot, is part of a storm.
#[inline(always)]
pub fn is_ack_storm(slot: u32, end: End, fields: &Fields) -> bool {
    let Some(turns) = STORMS.get_ptr_mut(slot) else { return false };
    let bare = Bare::new(fields.seq, fields.ack, fields.window);
    // SAFETY: the pointer is into an array map; races are harmless, as the type says.
    !unsafe { &mut *turns }.pass(end, bare, now)
}
