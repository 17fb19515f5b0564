//! SYN cookies: the state of a half-open connection, kept by the client in our initial sequence number.
//!
//! ```text
//!  31            16 15       8 7     5  4  3      0
//! +----------------+----------+-------+---+--------+
//! |     place      |  exact   |  MSS  | S | scale  |
//! +----------------+----------+-------+---+--------+
//! ```
//!
//! `place` and `exact` are tags of SipHash-2-4 over the 4-tuple, the time slot, the options below and the
//! client's ISN: `place` over its 32 KiB neighbourhood, `exact` over the number itself. A segment that
//! starts the client's stream proves both, 24 bits; a later segment that overtook it proves `place` alone,
//! and is parked until the first arrives. Blind forging of a connection therefore succeeds once in 2^24 / 2
//! tries (two slots are accepted), parking once in 2^16 / 4.

use crate::maps::{ClientKey, CookieKeys};
use crate::siphash::siphash24;
use crate::tcp::{DEFAULT_MSS, Seq, SynOptions};

/// A time slot is 2^38 ns, about 4.6 minutes; a cookie is good for one to two of them, 4.6 to 9.2 minutes.
const SLOT_SHIFT: u32 = 38;
/// A key serves 2^8 slots, about 20 hours.
const GENERATION_SHIFT: u32 = 8;
/// The hello may spread this far behind the client's ISN: 2^15 octets.
const PLACE_SHIFT: u32 = 15;
/// In the scale field: the client offered none.
const NO_SCALE: u32 = 15;
/// What a hash is for: the second octet of its last word.
const PLACE: u64 = 0;
const EXACT: u64 = 1;
const CLOCK: u64 = 2;
const NANOS_PER_MILLI: u64 = 1_000_000;
/// The MSS classes, in octets. A client's MSS is rounded down to one of them.
pub const MSS_CLASSES: [u16; 8] = [216, DEFAULT_MSS, 1000, 1200, 1280, 1360, 1400, 1460];

/// What a valid cookie says of the SYN that it answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// Our ISN: the cookie itself.
    pub cookie: Seq,
    /// The client's ISN, proven; `None` where the segment does not start the stream.
    pub client_isn: Option<Seq>,
    /// The client's options, MSS rounded down to a class.
    pub options: SynOptions,
}

/// The generation of key in use at `now` (nanoseconds since boot).
#[must_use]
pub const fn generation(now: u64) -> u64 {
    now >> (SLOT_SHIFT + GENERATION_SHIFT)
}

/// Whether cookies of the generation before may still be out at `now`.
#[must_use]
pub const fn previous_generation_lives(now: u64) -> bool {
    (now >> SLOT_SHIFT) & ((1 << GENERATION_SHIFT) - 1) == 0
}

/// Our ISN for a SYN.
#[inline(always)]
#[must_use]
pub fn mint(
    keys: &CookieKeys,
    now: u64,
    client: &ClientKey,
    client_isn: Seq,
    options: &SynOptions,
) -> Seq {
    let slot = now >> SLOT_SHIFT;
    let data = encode(options);
    let first = client_isn.plus(1).0;
    let place = tag(keys, slot, client, data, Proof::Place(first >> PLACE_SHIFT));
    let exact = tag(keys, slot, client, data, Proof::Exact(first));
    Seq(place << 16 | (exact & 0xff) << 8 | data)
}

/// Checks a segment from the client: `seq` as it stands in the segment, `cookie` its acknowledgment less
/// one. `None`: it answers no SYN-ACK of ours, or one too old.
#[inline(always)]
#[must_use]
pub fn check(
    keys: &CookieKeys,
    now: u64,
    client: &ClientKey,
    seq: Seq,
    cookie: Seq,
) -> Option<Admitted> {
    let data = cookie.0 & 0xff;
    let slot = now >> SLOT_SHIFT;
    let neighbourhood = seq.0 >> PLACE_SHIFT;
    let before = neighbourhood.wrapping_sub(1) & (u32::MAX >> PLACE_SHIFT);
    let mut made = slot;
    let mut tries = 0;
    let mut near = false;
    while tries < 2 {
        let here = tag(keys, made, client, data, Proof::Place(neighbourhood));
        // The stream can only start in the neighbourhood that the place tag was made for.
        if here == cookie.0 >> 16 {
            let exact = tag(keys, made, client, data, Proof::Exact(seq.0)) & 0xff;
            if exact == cookie.0 >> 8 & 0xff {
                let client_isn = Some(seq.minus(1));
                return Some(Admitted { cookie, client_isn, options: decode(data) });
            }
            near = true;
        } else if tag(keys, made, client, data, Proof::Place(before)) == cookie.0 >> 16 {
            near = true;
        }
        // A match of the younger slot's place tag may be chance: the older slot may prove more.
        made = made.wrapping_sub(1);
        tries += 1;
    }
    if near { Some(Admitted { cookie, client_isn: None, options: decode(data) }) } else { None }
}

/// The TSval of our SYN-ACK (RFC 7323 §5.4): milliseconds, so that they go on from one connection of a tuple to
/// the next, plus a number of the tuple's own, so that nobody sees for how long this machine has been up.
#[inline(always)]
#[must_use]
pub fn timestamp(keys: &CookieKeys, now: u64, client: &ClientKey) -> u32 {
    let slot = now >> SLOT_SHIFT;
    let key = &keys.keys[((slot >> GENERATION_SHIFT) & 1) as usize];
    let (addresses, ports) = words(client);
    let offset = siphash24(key, addresses, ports, CLOCK << 8);
    ((now / NANOS_PER_MILLI) as u32).wrapping_add(offset as u32)
}

enum Proof {
    Place(u32),
    Exact(u32),
}

/// Sixteen bits of SipHash.
#[inline(always)]
fn tag(keys: &CookieKeys, slot: u64, client: &ClientKey, data: u32, proof: Proof) -> u32 {
    let key = &keys.keys[((slot >> GENERATION_SHIFT) & 1) as usize];
    let (addresses, ports) = words(client);
    let (kind, number) = match proof {
        Proof::Place(number) => (PLACE, number),
        Proof::Exact(number) => (EXACT, number),
    };
    let last = (number as u64) << 32 | kind << 8 | data as u64;
    (siphash24(key, addresses, (slot & 0xffff_ffff) << 32 | ports, last) >> 48) as u32
}

/// The tuple in two words.
#[inline(always)]
fn words(client: &ClientKey) -> (u64, u64) {
    let addresses =
        (u32::from_ne_bytes(client.client) as u64) << 32 | u32::from_ne_bytes(client.listen) as u64;
    let ports = (u16::from_ne_bytes(client.client_port) as u64) << 16
        | u16::from_ne_bytes(client.listen_port) as u64;
    (addresses, ports)
}

#[inline(always)]
fn encode(options: &SynOptions) -> u32 {
    let mss = match options.mss {
        Some(mss) => mss,
        None => DEFAULT_MSS,
    };
    let mut class = 0;
    let mut nth = 1;
    while nth < MSS_CLASSES.len() {
        if MSS_CLASSES[nth] <= mss {
            class = nth as u32;
        }
        nth += 1;
    }
    let scale = match options.window_scale {
        Some(scale) => scale as u32 & 0xf,
        None => NO_SCALE,
    };
    class << 5 | (options.sack_permitted as u32) << 4 | scale
}

#[inline(always)]
fn decode(data: u32) -> SynOptions {
    let scale = data & 0xf;
    SynOptions {
        mss: Some(MSS_CLASSES[(data >> 5 & 7) as usize]),
        window_scale: if scale == NO_SCALE { None } else { Some(scale as u8) },
        sack_permitted: data & 0x10 != 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SLOT: u64 = 1 << SLOT_SHIFT;

    prop_compose! {
        fn any_client()(client: [u8; 4], listen: [u8; 4], client_port: [u8; 2], listen_port: [u8; 2])
            -> ClientKey { ClientKey::new(client, client_port, listen, listen_port) }
    }

    prop_compose! {
        fn any_options()(
            mss in proptest::option::of(any::<u16>()),
            window_scale in proptest::option::of(0u8..=14),
            sack_permitted: bool,
        ) -> SynOptions { SynOptions { mss, window_scale, sack_permitted } }
    }

    fn keys(seed: [u8; 16]) -> CookieKeys {
        CookieKeys { keys: [seed, seed.map(|octet| !octet)], generations: [0, 1] }
    }

    proptest! {
        #[test]
        fn the_first_segment_proves_itself(
            seed: [u8; 16], client in any_client(), isn: u32, options in any_options(),
            now in any::<u64>().prop_map(|n| n >> 1), late in 0..SLOT,
        ) {
            let keys = keys(seed);
            let cookie = mint(&keys, now, &client, Seq(isn), &options);
            let seq = Seq(isn).plus(1);
            let admitted = check(&keys, now + late, &client, seq, cookie).unwrap();
            prop_assert_eq!(admitted.client_isn, Some(Seq(isn)));
            prop_assert_eq!(admitted.options.window_scale, options.window_scale);
            prop_assert_eq!(admitted.options.sack_permitted, options.sack_permitted);
            let mss = options.mss.unwrap_or(DEFAULT_MSS);
            let class = admitted.options.mss.unwrap();
            prop_assert!(class <= mss || class == MSS_CLASSES[0]);
        }

        #[test]
        fn an_overtaking_segment_is_let_in(
            seed: [u8; 16], client in any_client(), isn: u32, ahead in 1u32..(1 << PLACE_SHIFT),
        ) {
            let keys = keys(seed);
            let cookie = mint(&keys, 5 * SLOT, &client, Seq(isn), &SynOptions::default());
            let admitted = check(&keys, 5 * SLOT, &client, Seq(isn).plus(1 + ahead), cookie);
            prop_assert!(admitted.is_some());
        }
    }

    #[test]
    fn clocks_go_on_and_tell_nothing() {
        let keys = keys(*b"0123456789abcdef");
        let client =
            |port: u8| ClientKey::new([192, 0, 2, 1], [128, port], [198, 51, 100, 1], [1, 187]);
        let at = |milli: u64, port| timestamp(&keys, milli * NANOS_PER_MILLI, &client(port));
        assert_eq!(at(5000, 1).wrapping_sub(at(0, 1)), 5000);
        let apart = (1..=255).filter(|port| at(0, *port).abs_diff(at(0, 0)) > 1 << 24).count();
        assert!(apart > 240, "{apart} of 255");
    }

    /// Counts are deterministic: keys and tuples come from a counter, not from chance.
    #[test]
    fn strangers_are_turned_away() {
        let keys = keys(*b"0123456789abcdef");
        let client = ClientKey::new([192, 0, 2, 1], [0x80, 0], [198, 51, 100, 1], [1, 187]);
        let tries = 400_000u32;
        let (mut parked, mut forged) = (0, 0);
        for nth in 0..tries {
            let ack = Seq(nth.wrapping_mul(0x9e37_79b1));
            match check(&keys, 9 * SLOT, &client, Seq(nth.wrapping_mul(0x85eb_ca6b)), ack) {
                Some(Admitted { client_isn: Some(_), .. }) => forged += 1,
                Some(Admitted { client_isn: None, .. }) => parked += 1,
                None => {}
            }
        }
        // Expected: 4 / 2^16 of the tries parked (24.4), 2 / 2^24 forged (0.05).
        assert!((10..45).contains(&parked), "{parked} of {tries} parked");
        assert!(forged <= 1, "{forged} of {tries} forged");
    }

    /// The tags of two slots agree once in 2^15 times; the hello counts all the same.
    #[test]
    fn a_younger_slot_that_looks_alike_hides_nothing() {
        let keys = keys(*b"0123456789abcdef");
        let client = ClientKey::new([192, 0, 2, 1], [0x80, 0], [198, 51, 100, 1], [1, 187]);
        let mut alike = 0;
        for nth in 0..400_000u32 {
            let isn = Seq(nth.wrapping_mul(0x9e37_79b1));
            let cookie = mint(&keys, 6 * SLOT, &client, isn, &SynOptions::default());
            let place = isn.plus(1).0 >> PLACE_SHIFT;
            let younger = [place, place.wrapping_sub(1) & (u32::MAX >> PLACE_SHIFT)]
                .map(|place| tag(&keys, 7, &client, cookie.0 & 0xff, Proof::Place(place)));
            if younger.contains(&(cookie.0 >> 16)) {
                alike += 1;
                let admitted = check(&keys, 7 * SLOT, &client, isn.plus(1), cookie);
                assert_eq!(admitted.and_then(|admitted| admitted.client_isn), Some(isn));
            }
        }
        assert!(alike > 2, "{alike} of them");
    }

    #[test]
    fn the_old_are_strangers() {
        let keys = keys(*b"0123456789abcdef");
        let client = ClientKey::new([192, 0, 2, 1], [0x80, 0], [198, 51, 100, 1], [1, 187]);
        let (mut parked, mut proven) = (0, 0);
        for nth in 0..100_000u32 {
            let isn = Seq(nth.wrapping_mul(0x9e37_79b1));
            let cookie = mint(&keys, 6 * SLOT, &client, isn, &SynOptions::default());
            match check(&keys, 8 * SLOT, &client, isn.plus(1), cookie) {
                Some(Admitted { client_isn: Some(_), .. }) => proven += 1,
                Some(Admitted { client_isn: None, .. }) => parked += 1,
                None => {}
            }
        }
        // Expected: 4 / 2^16 of them parked (6.1), 2 / 2^24 proven (0.01), as of any stranger's.
        assert!(parked < 20 && proven == 0, "{parked} parked, {proven} proven");
    }

    #[test]
    fn another_tuple_or_key_is_refused() {
        let keys = keys(*b"0123456789abcdef");
        let client = ClientKey::new([192, 0, 2, 1], [0x80, 0], [198, 51, 100, 1], [1, 187]);
        let cookie = mint(&keys, SLOT, &client, Seq(77), &SynOptions::default());
        assert!(check(&keys, SLOT, &client, Seq(78), cookie).is_some());
        let other = ClientKey::new([192, 0, 2, 2], [0x80, 0], [198, 51, 100, 1], [1, 187]);
        assert!(check(&keys, SLOT, &other, Seq(78), cookie).is_none());
        let rotated = CookieKeys { keys: [[7; 16]; 2], generations: [0, 1] };
        assert!(check(&rotated, SLOT, &client, Seq(78), cookie).is_none());
    }
}
