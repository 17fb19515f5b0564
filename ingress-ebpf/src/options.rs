//! Options of established segments: read, shifted, stored.

use ingress_common::{checksum::Sum, splice::OptionShift, tcp::Timestamps};

use crate::packet::{Packet, Step};

/// Shifts the `len` octets of options at `offset`, and returns by how much the TCP checksum changes. Pointers
/// into the packet are invalid afterwards.
#[inline(always)]
pub fn shift<const L2: usize>(
    packet: &Packet<L2>,
    offset: usize,
    len: usize,
    shift: &OptionShift,
) -> Step<Sum> {
    if len == 0 || !shift.is_needed() {
        return Ok(Sum(0));
    }
    if len >= Timestamps::LEN
        && let Some(front) = packet.at::<[u8; Timestamps::LEN]>(offset)
    {
        // SAFETY: `at` has checked that it lies in the packet, of which this is the only reference.
        if let Some(change) = shift.usual(unsafe { &mut *front }, len) {
            return Ok(change);
        }
    }
    if let Some(buffer) = packet.options(offset, len)
        && let Some(change) = shift.apply(buffer, len)
    {
        packet.write_options(offset, buffer, len)?;
        return Ok(change);
    }
    Ok(Sum(0))
}
