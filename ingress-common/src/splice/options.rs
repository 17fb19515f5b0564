//! The options of an established flow: SACK edges are the backend's numbers, and its clock is not the one that
//! the client was shown in our SYN-ACK. Client → backend the echo goes back by `ts_delta`, backend → client the
//! value goes on by it; the client's own clock stands, as its sequence numbers do.

use super::shift_back;
use crate::checksum::Sum;
use crate::tcp::{OPTION_BUFFER_LEN, Places, Timestamps, four, put};

/// How nearly every segment begins its options: two NOPs, timestamps (RFC 7323, appendix A).
const USUAL: [u8; 4] = [1, 1, 8, 10];

/// What the splice changes in the options of a segment.
#[derive(Clone, Copy, Debug)]
pub struct OptionShift {
    /// Subtracted from each SACK edge (RFC 2018 §3).
    edges: Option<[u8; 4]>,
    /// Offset in the timestamps option's value of what changes: 0 for TSval, 4 for TSecr.
    field: usize,
    /// Added to that field, if `stamped`.
    by: u32,
    /// Whether the timestamps are changed at all.
    stamped: bool,
}

impl OptionShift {
    /// Client → backend. `stamped`: both ends have timestamps, and the segment acknowledges something, without
    /// which the echo means nothing.
    #[inline(always)]
    #[must_use]
    pub const fn to_backend(delta: [u8; 4], ts_delta: [u8; 4], stamped: bool) -> Self {
        let by = u32::from_be_bytes(ts_delta).wrapping_neg();
        Self { edges: Some(delta), field: 4, by, stamped }
    }

    /// Backend → client. `stamped`: both ends have timestamps.
    #[inline(always)]
    #[must_use]
    pub const fn to_client(ts_delta: [u8; 4], stamped: bool) -> Self {
        Self { edges: None, field: 0, by: u32::from_be_bytes(ts_delta), stamped }
    }

    /// Whether there can be anything to change.
    #[inline(always)]
    #[must_use]
    pub const fn is_needed(&self) -> bool {
        self.stamped || self.edges.is_some()
    }

    /// The quick way for options of `len` octets that begin in the usual form: changes the first of them in
    /// place and returns by how much the TCP checksum changes. `None` where the quick way does not do.
    #[inline(always)]
    pub fn usual(&self, front: &mut [u8; Timestamps::LEN], len: usize) -> Option<Sum> {
        let [a, b, c, d, ..] = *front;
        if [a, b, c, d] != USUAL || (len != Timestamps::LEN && self.edges.is_some()) {
            return None;
        }
        if !self.stamped {
            return Some(Sum(0));
        }
        let at = 4 + self.field;
        let old = [front[at], front[at + 1], front[at + 2], front[at + 3]];
        let new = self.stamp(old);
        [front[at], front[at + 1], front[at + 2], front[at + 3]] = new;
        Some(Sum(0).sub4(old).add4(new))
    }

    /// Changes the first `len` octets of `options`, in whatever form they are, and returns by how much the TCP
    /// checksum changes; `None` where nothing did.
    #[inline(always)]
    pub fn apply(&self, options: &mut [u8; OPTION_BUFFER_LEN], len: usize) -> Option<Sum> {
        let places = match self.edges {
            Some(_) => {
                Places::find::<{ Places::WITH_TIMESTAMPS | Places::WITH_SACK }>(options, len)
            }
            None => Places::find::<{ Places::WITH_TIMESTAMPS }>(options, len),
        };
        let mut change = None;
        if self.stamped
            && let Some(at) = places.timestamps()
        {
            let at = at + self.field;
            let old = four(options, at);
            let new = self.stamp(old);
            put(options, at, new);
            change = Some(at_offset(at, Sum(0).sub4(old).add4(new)));
        }
        if let Some(delta) = self.edges
            && let Some((start, value_len)) = places.sack()
        {
            let moved = shift_edges(options, start, value_len, delta);
            change = Some(match change {
                Some(change) => change.plus(moved),
                None => moved,
            });
        }
        change
    }

    #[inline(always)]
    const fn stamp(&self, old: [u8; 4]) -> [u8; 4] {
        u32::from_be_bytes(old).wrapping_add(self.by).to_be_bytes()
    }
}

/// At most four blocks fit into forty octets: eight edges.
#[inline(always)]
fn shift_edges(
    options: &mut [u8; OPTION_BUFFER_LEN],
    start: usize,
    len: usize,
    delta: [u8; 4],
) -> Sum {
    let mut change = Sum(0);
    let mut nth = 0;
    while nth < 8 {
        if 4 * nth + 4 > len {
            break;
        }
        let at = start + 4 * nth;
        let old = four(options, at);
        let new = shift_back(old, delta);
        put(options, at, new);
        change = change.sub4(old).add4(new);
        nth += 1;
    }
    at_offset(start, change)
}

#[inline(always)]
const fn at_offset(at: usize, change: Sum) -> Sum {
    if at & 1 == 1 { change.at_odd_offset() } else { change }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp::{Options, TcpOption};
    use proptest::prelude::*;

    /// One option of an area that a test puts together.
    #[derive(Clone, Debug)]
    enum Part {
        Nop,
        Timestamps(u32, u32),
        Sack(Vec<u32>),
        Unknown(Vec<u8>),
    }

    fn part() -> impl Strategy<Value = Part> {
        prop_oneof![
            3 => Just(Part::Nop),
            2 => any::<(u32, u32)>().prop_map(|(value, echo)| Part::Timestamps(value, echo)),
            2 => proptest::collection::vec(any::<(u32, u32)>(), 1..=4)
                .prop_map(|blocks| Part::Sack(blocks.iter().flat_map(|&(a, b)| [a, b]).collect())),
            1 => proptest::collection::vec(any::<u8>(), 0..5).prop_map(Part::Unknown),
        ]
    }

    fn write(parts: &[Part]) -> Vec<u8> {
        let mut area = Vec::new();
        for part in parts {
            match part {
                Part::Nop => area.push(1),
                Part::Timestamps(value, echo) => {
                    area.extend([8, 10]);
                    area.extend(value.to_be_bytes());
                    area.extend(echo.to_be_bytes());
                }
                Part::Sack(edges) => {
                    area.extend([5, 2 + 4 * edges.len() as u8]);
                    edges.iter().for_each(|edge| area.extend(edge.to_be_bytes()));
                }
                Part::Unknown(octets) => {
                    area.extend([253, 2 + octets.len() as u8]);
                    area.extend(octets);
                }
            }
        }
        area.truncate(40);
        area.resize(area.len().next_multiple_of(4), 0);
        area
    }

    /// What `apply` should yield, by the reader of options that the programs don't use.
    fn expected(area: &[u8], edges: u32, value: u32, echo: u32) -> Vec<u8> {
        let mut new = area.to_vec();
        let start = area.as_ptr() as usize;
        let (mut had_stamp, mut had_sack) = (false, false);
        let mut walk = Options(area);
        loop {
            let Some(option) = walk.next() else { return new };
            let end = walk.0.as_ptr() as usize - start;
            let mut add = |at: usize, by: u32| {
                let old = u32::from_be_bytes(new[at..at + 4].try_into().unwrap());
                new[at..at + 4].copy_from_slice(&old.wrapping_add(by).to_be_bytes());
            };
            match option {
                TcpOption::Timestamps(_) if !had_stamp => {
                    had_stamp = true;
                    add(end - 8, value);
                    add(end - 4, echo);
                }
                TcpOption::Sack(octets) if !had_sack => {
                    had_sack = true;
                    for at in (end - octets.len()..end).step_by(4) {
                        add(at, edges.wrapping_neg());
                    }
                }
                TcpOption::Mss(_)
                | TcpOption::WindowScale(_)
                | TcpOption::SackPermitted
                | TcpOption::Sack(_)
                | TcpOption::Timestamps(_)
                | TcpOption::Other(_) => {}
            }
        }
    }

    fn same(a: [u8; 2], b: [u8; 2]) -> bool {
        let zero = |c: [u8; 2]| c == [0, 0] || c == [0xff, 0xff];
        a == b || zero(a) && zero(b)
    }

    /// Shifts the area both ways through, quick where that leads to the end, and checks the checksum.
    fn shifted(shift: &OptionShift, area: &[u8]) -> Vec<u8> {
        let mut room = [0; OPTION_BUFFER_LEN];
        room[..area.len()].copy_from_slice(area);
        let slow = shift.apply(&mut room, area.len());
        let new = room[..area.len()].to_vec();
        let sums = [area, &new].map(|area| Sum::default().run(area).checksum());
        assert!(same(slow.unwrap_or(Sum(0)).update(sums[0]), sums[1]), "{area:x?}");
        assert!(slow.is_some() || area == new);
        if let Some((front, rest)) = area.split_first_chunk::<{ Timestamps::LEN }>() {
            let mut front = *front;
            if let Some(quick) = shift.usual(&mut front, area.len()) {
                assert!(same(quick.update(sums[0]), sums[1]), "{area:x?}");
                assert_eq!([&front, rest].concat(), new, "the two ways agree");
            }
        }
        new
    }

    proptest! {
        #[test]
        fn every_layout(
            parts in proptest::collection::vec(part(), 0..12), delta: u32, ts_delta: u32, stamped: bool,
        ) {
            let area = write(&parts);
            let by = if stamped { ts_delta } else { 0 };
            let there = OptionShift::to_backend(delta.to_be_bytes(), ts_delta.to_be_bytes(), stamped);
            prop_assert_eq!(shifted(&there, &area), expected(&area, delta, 0, by.wrapping_neg()));
            let back = OptionShift::to_client(ts_delta.to_be_bytes(), stamped);
            prop_assert_eq!(shifted(&back, &area), expected(&area, 0, by, 0));
        }

        #[test]
        fn the_usual_layout(value: u32, echo: u32, ts_delta: u32, blocks in 0usize..=3) {
            let sack = Part::Sack((0..2 * blocks as u32).collect());
            let mut parts = vec![Part::Nop, Part::Nop, Part::Timestamps(value, echo)];
            if blocks > 0 {
                parts.extend([Part::Nop, Part::Nop, sack]);
            }
            let area = write(&parts);
            let back = OptionShift::to_client(ts_delta.to_be_bytes(), true);
            let mut front = *area.first_chunk().unwrap();
            prop_assert!(back.usual(&mut front, area.len()).is_some());
            let there = OptionShift::to_backend([0; 4], ts_delta.to_be_bytes(), true);
            prop_assert_eq!(there.usual(&mut front, area.len()).is_some(), blocks == 0);
            let stamps = Timestamps::parse(&shifted(&back, &area)).unwrap();
            prop_assert_eq!(stamps, Timestamps { value: value.wrapping_add(ts_delta), echo });
            // What the client echoes is what the backend has sent.
            let answer = write(&[Part::Nop, Part::Nop, Part::Timestamps(echo, stamps.value)]);
            let heard = Timestamps::parse(&shifted(&there, &answer)).unwrap();
            prop_assert_eq!(heard, Timestamps { value: echo, echo: value });
        }

        #[test]
        fn malformed_options_do_no_harm(
            area: [u8; 40], len in 0usize..=40, delta: [u8; 4], ts_delta: [u8; 4],
        ) {
            let mut room = [0; OPTION_BUFFER_LEN];
            room[..40].copy_from_slice(&area);
            let _ = OptionShift::to_backend(delta, ts_delta, true).apply(&mut room, len);
            let _ = OptionShift::to_client(ts_delta, true).apply(&mut room, len);
            prop_assert_eq!(&room[len..40], &area[len..]);
        }
    }

    #[test]
    fn clocks_wrap() {
        let area = [1, 1, 8, 10, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1];
        let back = OptionShift::to_client([0, 0, 0, 2], true);
        assert_eq!(shifted(&back, &area)[4..8], [0, 0, 0, 1]);
        let there = OptionShift::to_backend([0; 4], [0, 0, 0, 2], true);
        assert_eq!(shifted(&there, &area)[8..12], [0xff; 4]);
    }
}
