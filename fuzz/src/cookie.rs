//! Cookies: what was minted is accepted for a slot of time and not for three, with the options of the SYN.

use ingress_common::{
    cookie::{MSS_CLASSES, check, mint},
    maps::{ClientKey, CookieKeys},
    tcp::{DEFAULT_MSS, MAX_OPTIONS_LEN, Seq, SynOptions},
};

use crate::cursor::Cursor;

/// About 4.6 minutes.
const SLOT: u64 = 1 << 38;

/// Keys, a time, a SYN.
pub fn run(input: &[u8]) {
    let mut cursor = Cursor::new(input);
    let keys = CookieKeys { keys: [cursor.array(), cursor.array()], generations: [1, 2] };
    // No machine has been up for longer than two years.
    let now = u64::from_be_bytes(cursor.array()) >> 8;
    let key = ClientKey::new(cursor.array(), cursor.array(), cursor.array(), cursor.array());
    let (isn, later) = (Seq(cursor.u32()), u64::from(cursor.u32()) << 6);
    let (forged, ahead) = (cursor.u32(), u32::from(cursor.u16() >> 1));
    let options = SynOptions::parse(cursor.take(MAX_OPTIONS_LEN));

    let cookie = mint(&keys, now, &key, isn, &options);
    assert_eq!(SynOptions::unpack(options.pack()), options);
    let admitted =
        check(&keys, now + later, &key, isn.plus(1), cookie).expect("is good for a slot");
    assert_eq!(admitted.cookie, cookie);
    // Once in 2^15 the younger slot's tag looks right, too, and is believed first.
    let crossed = now / SLOT != (now + later) / SLOT;
    assert!(admitted.client_isn == Some(isn) || crossed && admitted.client_isn.is_none());
    let mss = options.mss.unwrap_or(DEFAULT_MSS);
    let class = MSS_CLASSES.into_iter().rev().find(|class| *class <= mss).unwrap_or(MSS_CLASSES[0]);
    assert_eq!(admitted.options, SynOptions { mss: Some(class), ..options });

    // What overtook the first segment is let in; whether it is taken for the first is up to chance.
    assert!(check(&keys, now, &key, isn.plus(1 + ahead), cookie).is_some());
    if forged != 0 {
        // By chance, too, but then with the options that it has itself.
        let _ = check(&keys, now + 3 * SLOT, &key, isn.plus(1), Seq(cookie.0 ^ forged));
    }
}
