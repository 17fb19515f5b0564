//! The cookies' keys: two generations, by parity, each made before it is needed and kept as long as a
//! cookie made with it can still come back.

use std::{fs::File, io::Read};

use anyhow::{Context, Result};
use ingress_common::{
    cookie::{generation, previous_generation_lives},
    maps::CookieKeys,
};

/// The keys that must be in force at `now`, or `None` where those of `current` are.
///
/// # Errors
/// Where the system has no random numbers.
pub fn due(current: &CookieKeys, now: u64) -> Result<Option<CookieKeys>> {
    let mut keys = *current;
    let this = generation(now);
    // `generations` is off by one, so that an empty map holds no key of generation 0.
    let mut wanted = vec![this];
    if !previous_generation_lives(now) {
        wanted.push(this + 1);
    }
    for generation in wanted {
        let slot = (generation & 1) as usize;
        if keys.generations[slot] != generation + 1 {
            keys.keys[slot] = random()?;
            keys.generations[slot] = generation + 1;
        }
    }
    Ok((keys != *current).then_some(keys))
}

fn random() -> Result<[u8; 16]> {
    let mut key = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut key))
        .context("read /dev/urandom for a cookie key")?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_outlives_its_generation_by_a_slot() {
        let slot = 1u64 << 38;
        let generation = slot << 8;
        let first = due(&CookieKeys::default(), 0).unwrap().unwrap();
        assert_eq!(first.generations, [1, 0], "generation 1 comes once generation -1 is over");
        let both = due(&first, slot).unwrap().unwrap();
        assert_eq!(both.keys[0], first.keys[0]);
        assert_eq!(both.generations, [1, 2]);
        assert!(due(&both, generation - 1).unwrap().is_none());
        assert!(due(&both, generation).unwrap().is_none(), "cookies of generation 0 are still out");
        let next = due(&both, generation + slot).unwrap().unwrap();
        assert_eq!(next.keys[1], both.keys[1]);
        assert_ne!(next.keys[0], both.keys[0]);
        assert_eq!(next.generations, [3, 2]);
    }

    #[test]
    fn a_long_sleep_renews_what_is_needed() {
        let both = CookieKeys { keys: [[1; 16], [2; 16]], generations: [1, 2] };
        let much_later = (7u64 << 46) + (3 << 38);
        let keys = due(&both, much_later).unwrap().unwrap();
        assert_eq!(keys.generations, [9, 8]);
        assert_ne!(keys.keys, both.keys);
    }
}
