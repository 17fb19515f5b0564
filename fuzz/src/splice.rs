//! The splice: a segment with a right checksum has a right one behind it, whatever its options are, and what
//! went there and back is what it was.

use ingress_common::{
    checksum::{Sum, pseudo_v4, pseudo_v6},
    ip::TCP,
    splice::{Fields, OptionShift},
    tcp::{
        HEADER_LEN, MAX_OPTIONS_LEN, OPTION_BUFFER_LEN, Options, Places, SynOptions, TcpOption,
        Timestamps, clamp_mss,
    },
};

use crate::cursor::Cursor;

const SOUGHT: u32 = Places::OF_SYN | Places::WITH_SACK;

struct Flow {
    v4: [[u8; 4]; 2],
    v6: [[u8; 16]; 2],
    delta: [u8; 4],
    ts_delta: [u8; 4],
    stamped: bool,
}

/// A flow, then a segment: ports and numbers, options, payload.
pub fn run(input: &[u8]) {
    let mut cursor = Cursor::new(input);
    let flow = Flow {
        v4: [cursor.array(), cursor.array()],
        v6: [cursor.array(), cursor.array()],
        delta: cursor.array(),
        ts_delta: cursor.array(),
        stamped: cursor.bool(),
    };
    let (from, to) = (cursor.u8() % 15, cursor.u8() % 15);
    let limit = cursor.u16();
    let mut segment = cursor.array::<HEADER_LEN>().to_vec();
    let options = cursor.take(options_len(&segment));
    segment.extend(options);
    segment.resize(HEADER_LEN + options.len().next_multiple_of(4), 0);
    let header = segment.len();
    segment.extend(cursor.rest());

    readers_agree(&segment[HEADER_LEN..header]);
    clamped(&segment, header, limit);
    let to_backend = OptionShift::to_backend(flow.delta, flow.ts_delta, flow.stamped);
    let to_client = OptionShift::to_client(flow.ts_delta, flow.stamped);
    let there =
        flow.carry(&segment, header, true, &to_backend, |old| old.to_backend(flow.delta, from));
    flow.carry(&segment, header, false, &to_client, |old| old.to_client(flow.delta, from, to));
    // The acknowledgment comes back as it went, if the other side shifts it on.
    let back = Fields { seq: there.ack, ..there }.to_client(flow.delta, 0, 0);
    assert_eq!(back.seq, fields(&segment).ack);
}

/// How many octets of options the segment shall have: its own word for it.
fn options_len(header: &[u8]) -> usize {
    usize::from((header[12] >> 4).saturating_sub(5)) * 4
}

impl Flow {
    /// Carries a segment over as the programs do, checks its checksum, and returns the new fields.
    fn carry(
        &self,
        segment: &[u8],
        header: usize,
        to_v6: bool,
        shift: &OptionShift,
        change: impl Fn(Fields) -> Fields,
    ) -> Fields {
        let len = segment.len() as u16;
        let v4 = pseudo_v4(self.v4[0], self.v4[1], TCP, len);
        let v6 = pseudo_v6(&self.v6[0], &self.v6[1], TCP, len);
        let (before, after) = if to_v6 { (v4, v6) } else { (v6, v4) };
        let addresses = after.plus(Sum(u32::from(!before.fold())));

        let mut new = segment.to_vec();
        new[16..18].fill(0);
        let checksum = before.plus(Sum::default().run(&new)).checksum();
        let old = fields(&new);
        let fields = change(old);
        new[4..8].copy_from_slice(&fields.seq);
        new[8..12].copy_from_slice(&fields.ack);
        new[14..16].copy_from_slice(&fields.window);
        let moved = options(&mut new[HEADER_LEN..header], shift);
        let checksum = fields.change_from(old).plus(moved).update(checksum);
        let checksum = addresses.update(checksum);
        new[16..18].copy_from_slice(&checksum);
        assert_eq!(after.plus(Sum::default().run(&new)).fold(), 0xffff, "the checksum is wrong");
        fields
    }
}

fn fields(segment: &[u8]) -> Fields {
    let four = |at: usize| [segment[at], segment[at + 1], segment[at + 2], segment[at + 3]];
    Fields { seq: four(4), ack: four(8), window: [segment[14], segment[15]] }
}

/// Both ways through the options, of which the quick one has to say the same where it leads to the end.
fn options(area: &mut [u8], shift: &OptionShift) -> Sum {
    let mut room = [0; OPTION_BUFFER_LEN];
    room[..area.len()].copy_from_slice(area);
    let change = shift.apply(&mut room, area.len());
    assert!(room[area.len()..].iter().all(|octet| *octet == 0), "behind the options");
    if let Some((front, rest)) = area.split_first_chunk::<{ Timestamps::LEN }>() {
        let mut front = *front;
        if shift.usual(&mut front, area.len()).is_some() {
            assert_eq!([&front, rest].concat(), room[..area.len()], "the two ways differ");
        }
    }
    area.copy_from_slice(&room[..area.len()]);
    change.unwrap_or(Sum(0))
}

/// The reader of the programs and the daemon's own find the same.
fn readers_agree(area: &[u8]) {
    let mut room = [0; OPTION_BUFFER_LEN];
    room[..area.len()].copy_from_slice(area);
    let places = Places::find::<SOUGHT>(&room, area.len());
    assert_eq!(places.syn_options(&room), SynOptions::parse(area));
    assert_eq!(places.read_timestamps(&room), Timestamps::parse(area));
    let edges = Options(area).find_map(|option| match option {
        TcpOption::Sack(edges) => Some(edges),
        TcpOption::Mss(_)
        | TcpOption::WindowScale(_)
        | TcpOption::SackPermitted
        | TcpOption::Timestamps(_)
        | TcpOption::Other(_) => None,
    });
    assert_eq!(places.sack().map(|(at, len)| &area[at..at + len]), edges);
}

/// A clamped SYN.
fn clamped(segment: &[u8], header: usize, limit: u16) {
    let area = &segment[HEADER_LEN..header];
    let mut room = [0; OPTION_BUFFER_LEN];
    room[..area.len()].copy_from_slice(area);
    assert!(area.len() <= MAX_OPTIONS_LEN);
    let mss = SynOptions::parse(area).mss;
    let Some((at, value, change)) = clamp_mss(&room, area.len(), limit) else {
        assert!(mss.is_none_or(|mss| mss <= limit), "{mss:?} is above {limit}");
        return;
    };
    let before = Sum::default().run(segment).checksum();
    let mut new = segment.to_vec();
    new[HEADER_LEN + at..HEADER_LEN + at + 2].copy_from_slice(&value);
    assert_eq!(SynOptions::parse(&new[HEADER_LEN..header]).mss, Some(limit));
    let (got, wanted) = (change.update(before), Sum::default().run(&new).checksum());
    // The receiver's test is on the folded sum, for which both zeros are one.
    let zero = |sum: [u8; 2]| sum == [0, 0] || sum == [0xff, 0xff];
    assert!(got == wanted || zero(got) && zero(wanted), "the checksum is wrong");
}
