//! The splice: what happens to the TCP header of an established flow.
//!
//! The client's ISN was passed on to the backend, so its sequence numbers stand. The backend's differ from
//! ours by one constant, `delta` = cookie − backend ISN. So it is with their clocks (`options`).

mod options;

pub use options::OptionShift;

use crate::checksum::Sum;
use crate::tcp::Seq;

/// The fields of a TCP header that the splice changes, as they stand on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields {
    /// Sequence number.
    pub seq: [u8; 4],
    /// Acknowledgment number.
    pub ack: [u8; 4],
    /// Window.
    pub window: [u8; 2],
}

impl Fields {
    /// Client → backend: acknowledgments move back by `delta`; the window is expanded by `expand` where the
    /// backend does not scale.
    #[inline(always)]
    #[must_use]
    pub const fn to_backend(self, delta: [u8; 4], expand: u8) -> Self {
        Self {
            seq: self.seq,
            ack: shift_back(self.ack, delta),
            window: rescaled(self.window, expand, 0),
        }
    }

    /// Backend → client: sequence numbers move on by `delta`; the window changes from the backend's scale to
    /// the promised one.
    #[inline(always)]
    #[must_use]
    pub const fn to_client(self, delta: [u8; 4], backend_scale: u8, promised_scale: u8) -> Self {
        Self {
            seq: Seq(u32::from_be_bytes(self.seq)).plus(u32::from_be_bytes(delta)).0.to_be_bytes(),
            ack: self.ack,
            window: rescaled(self.window, backend_scale, promised_scale),
        }
    }

    /// By how much the TCP checksum changes from `old` to `self`.
    #[inline(always)]
    #[must_use]
    pub const fn change_from(self, old: Self) -> Sum {
        Sum(0)
            .sub4(old.seq)
            .add4(self.seq)
            .sub4(old.ack)
            .add4(self.ack)
            .sub2(old.window)
            .add2(self.window)
    }
}

/// `ack` less `delta`, on the wire.
#[inline(always)]
#[must_use]
pub const fn shift_back(ack: [u8; 4], delta: [u8; 4]) -> [u8; 4] {
    Seq(u32::from_be_bytes(ack)).minus(u32::from_be_bytes(delta)).0.to_be_bytes()
}

/// [`rescale`] on the wire.
#[inline(always)]
const fn rescaled(window: [u8; 2], from: u8, to: u8) -> [u8; 2] {
    if from == to { window } else { rescale(u16::from_be_bytes(window), from, to).to_be_bytes() }
}

/// A window field changed from scale `from` to scale `to`. It rounds down, so that the right edge never
/// passes the sender's own, except that an open window stays open.
#[inline(always)]
#[must_use]
pub const fn rescale(window: u16, from: u8, to: u8) -> u16 {
    let scaled = ((window as u64) << (from & 15)) >> (to & 15);
    if scaled > 0xffff {
        0xffff
    } else if scaled == 0 && window != 0 {
        1
    } else {
        scaled as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    prop_compose! {
        fn fields()(seq: [u8; 4], ack: [u8; 4], window: [u8; 2]) -> Fields {
            Fields { seq, ack, window }
        }
    }

    proptest! {
        #[test]
        fn both_ways_undo_each_other(fields in fields(), delta: [u8; 4]) {
            let there = fields.to_client(delta, 7, 7);
            // The client acknowledges what it was sent.
            let back = Fields { ack: there.seq, ..fields }.to_backend(delta, 0);
            prop_assert_eq!(back.ack, fields.seq);
            prop_assert_eq!(there.ack, fields.ack);
            prop_assert_eq!(back.seq, fields.seq);
        }

        #[test]
        fn checksum_follows_the_fields(fields in fields(), delta: [u8; 4], from in 0u8..15, to in 0u8..15) {
            let sum = |f: Fields| Sum::default().add4(f.seq).add4(f.ack).add2(f.window);
            let new = fields.to_client(delta, from, to);
            let expected = sum(new).checksum();
            let got = new.change_from(fields).update(sum(fields).checksum());
            let zero = |c: [u8; 2]| c == [0, 0] || c == [0xff, 0xff];
            prop_assert!(got == expected || zero(got) && zero(expected));
        }

        #[test]
        fn windows_never_promise_too_much(field: u16, from in 0u8..15, to in 0u8..15) {
            let fields = Fields { seq: [0; 4], ack: [0; 4], window: field.to_be_bytes() };
            let new = u16::from_be_bytes(fields.to_client([0; 4], from, to).window);
            prop_assert_eq!(new == 0, field == 0);
            let edge = u64::from(new) << to;
            prop_assert!(edge <= u64::from(field) << from || new == 1);
        }
    }

    #[test]
    fn sequence_numbers_wrap() {
        let fields = Fields { seq: [0xff; 4], ack: [0, 0, 0, 1], window: [0, 1] };
        assert_eq!(fields.to_client([0, 0, 0, 2], 0, 0).seq, [0, 0, 0, 1]);
        assert_eq!(fields.to_backend([0, 0, 0, 2], 0).ack, [0xff; 4]);
    }
}
