//! TCP options: what they say, read and written (RFC 9293 §3.1, 7323, 2018).

use super::{MAX_WINDOW_SCALE, OPTION_BUFFER_LEN, put};

/// The options of a SYN or SYN-ACK that this system knows. Everything else is never echoed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SynOptions {
    /// Maximum segment size, in octets (kind 2).
    pub mss: Option<u16>,
    /// Window scale shift (kind 3), at most [`MAX_WINDOW_SCALE`].
    pub window_scale: Option<u8>,
    /// SACK permitted (kind 4).
    pub sack_permitted: bool,
}

/// The timestamps of a segment (kind 8, RFC 7323 §3.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timestamps {
    /// TSval: the sender's clock.
    pub value: u32,
    /// TSecr: what the sender has last heard of the receiver's clock; means something with an ACK only.
    pub echo: u32,
}

impl Timestamps {
    /// Octets that the option takes of every segment, padding included.
    pub const LEN: usize = 12;

    /// The first timestamps in an option area.
    #[must_use]
    pub fn parse(area: &[u8]) -> Option<Self> {
        Options(area).find_map(|option| match option {
            TcpOption::Timestamps(timestamps) => Some(timestamps),
            TcpOption::Mss(_)
            | TcpOption::WindowScale(_)
            | TcpOption::SackPermitted
            | TcpOption::Sack(_)
            | TcpOption::Other(_) => None,
        })
    }

    /// Whether `value` is later than `known`: clocks are a circle (RFC 7323 §5.2).
    #[must_use]
    pub const fn is_later(value: u32, known: u32) -> bool {
        value.wrapping_sub(known) as i32 > 0
    }

    /// Timestamps for an answer by an end that has no clock of its own: the sender's TSval as TSecr, and its TSecr,
    /// which it has seen before, as TSval.
    #[must_use]
    pub const fn mirrored(self) -> Self {
        Self { value: self.echo, echo: self.value }
    }
}

/// One option of a header, as [`Options`] yields it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpOption<'a> {
    /// Kind 2, octets.
    Mss(u16),
    /// Kind 3, shift as sent (may exceed 14).
    WindowScale(u8),
    /// Kind 4.
    SackPermitted,
    /// Kind 5: the edges as they stand on the wire, eight octets a block.
    Sack(&'a [u8]),
    /// Kind 8.
    Timestamps(Timestamps),
    /// A well-formed option of another kind.
    Other(u8),
}

/// Walks an option area. Ends at an End-of-Option-List, at the end, or at the first malformed option.
#[derive(Clone, Debug)]
pub struct Options<'a>(pub &'a [u8]);

impl<'a> Iterator for Options<'a> {
    type Item = TcpOption<'a>;

    fn next(&mut self) -> Option<TcpOption<'a>> {
        loop {
            match *self.0 {
                [1, ref rest @ ..] => self.0 = rest,
                [0, ..] | [] | [_] => return None,
                [kind, len, ..] => {
                    let len = usize::from(len);
                    if len < 2 || len > self.0.len() {
                        return None;
                    }
                    let (option, rest) = self.0.split_at(len);
                    self.0 = rest;
                    return Some(match (kind, &option[2..]) {
                        (2, &[a, b]) => TcpOption::Mss(u16::from_be_bytes([a, b])),
                        (3, &[shift]) => TcpOption::WindowScale(shift),
                        (4, &[]) => TcpOption::SackPermitted,
                        (5, edges) if !edges.is_empty() && edges.len() % 8 == 0 => {
                            TcpOption::Sack(edges)
                        }
                        (8, &[a, b, c, d, e, f, g, h]) => TcpOption::Timestamps(Timestamps {
                            value: u32::from_be_bytes([a, b, c, d]),
                            echo: u32::from_be_bytes([e, f, g, h]),
                        }),
                        (other, _) => TcpOption::Other(other),
                    });
                }
            }
        }
    }
}

impl SynOptions {
    /// Reads the options of a SYN or SYN-ACK; the first of each kind counts.
    #[must_use]
    pub fn parse(area: &[u8]) -> Self {
        let mut found = Self::default();
        for option in Options(area) {
            match option {
                TcpOption::Mss(mss) if found.mss.is_none() => found.mss = Some(mss),
                TcpOption::WindowScale(shift) if found.window_scale.is_none() => {
                    found.window_scale = Some(shift.min(MAX_WINDOW_SCALE));
                }
                TcpOption::SackPermitted => found.sack_permitted = true,
                TcpOption::Mss(_)
                | TcpOption::WindowScale(_)
                | TcpOption::Sack(_)
                | TcpOption::Timestamps(_)
                | TcpOption::Other(_) => {}
            }
        }
        found
    }

    /// All the options packed into one number.
    #[inline(always)]
    #[must_use]
    pub const fn pack(&self) -> u64 {
        let mss = match self.mss {
            Some(mss) => 1 << 16 | mss as u64,
            None => 0,
        };
        let scale = match self.window_scale {
            Some(shift) => 1 << 8 | shift as u64,
            None => 0,
        };
        (self.sack_permitted as u64) << 48 | scale << 32 | mss
    }

    /// What [`Self::pack`] packed.
    #[inline(always)]
    #[must_use]
    pub const fn unpack(packed: u64) -> Self {
        Self {
            mss: if packed >> 16 & 1 != 0 { Some(packed as u16) } else { None },
            window_scale: if packed >> 40 & 1 != 0 {
                Some((packed >> 32) as u8 & 0xf)
            } else {
                None
            },
            sack_permitted: packed >> 48 & 1 != 0,
        }
    }

    /// The options as they go on the wire, timestamps among them, padded with NOPs to words as Linux does;
    /// returns the octets used. No more than a client needs that offers the same.
    #[inline(always)]
    pub fn emit(
        &self,
        timestamps: Option<Timestamps>,
        area: &mut [u8; OPTION_BUFFER_LEN],
    ) -> usize {
        let mut used = 0;
        if let Some(mss) = self.mss {
            let [a, b] = mss.to_be_bytes();
            put(area, used, [2, 4, a, b]);
            used += 4;
        }
        let sack = if self.sack_permitted { [4, 2] } else { [1, 1] };
        if self.sack_permitted && timestamps.is_none() {
            put(area, used, [1, 1, 4, 2]);
            used += 4;
        }
        if let Some(Timestamps { value, echo }) = timestamps {
            put(area, used, [sack[0], sack[1], 8, 10]);
            put(area, used + 4, value.to_be_bytes());
            put(area, used + 8, echo.to_be_bytes());
            used += Timestamps::LEN;
        }
        if let Some(shift) = self.window_scale {
            put(area, used, [1, 3, 3, shift]);
            used += 4;
        }
        used
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp::MAX_WINDOW_SCALE;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn options_never_panic_and_end(area in proptest::collection::vec(any::<u8>(), 0..=40)) {
            prop_assert!(Options(&area).count() <= 40);
            let _ = SynOptions::parse(&area);
            let _ = Timestamps::parse(&area);
        }

        #[test]
        fn syn_options_round_trip(
            mss in proptest::option::of(any::<u16>()),
            window_scale in proptest::option::of(0..=MAX_WINDOW_SCALE),
            sack_permitted: bool,
            timestamps in proptest::option::of(any::<(u32, u32)>()),
        ) {
            let timestamps = timestamps.map(|(value, echo)| Timestamps { value, echo });
            let options = SynOptions { mss, window_scale, sack_permitted };
            let mut area = [0; OPTION_BUFFER_LEN];
            let used = options.emit(timestamps, &mut area);
            prop_assert!(used.is_multiple_of(4) && used <= 20);
            prop_assert_eq!(SynOptions::parse(&area[..used]), options);
            prop_assert_eq!(Timestamps::parse(&area[..used]), timestamps);
            prop_assert_eq!(SynOptions::unpack(options.pack()), options);
        }
    }
}
