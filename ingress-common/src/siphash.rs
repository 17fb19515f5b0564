//! SipHash-2-4 of a few whole words (Aumasson, Bernstein: "SipHash: a fast short-input PRF").

/// The state after the key has been mixed in.
#[derive(Clone, Copy)]
struct State([u64; 4]);

impl State {
    #[inline(always)]
    fn new(key: &[u8; 16]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *key;
        let k0 = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        let k1 = u64::from_le_bytes([i, j, k, l, m, n, o, p]);
        Self([
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ])
    }

    #[inline(always)]
    fn round(&mut self) {
        let [mut v0, mut v1, mut v2, mut v3] = self.0;
        v0 = v0.wrapping_add(v1);
        v1 = v1.rotate_left(13) ^ v0;
        v0 = v0.rotate_left(32);
        v2 = v2.wrapping_add(v3);
        v3 = v3.rotate_left(16) ^ v2;
        v0 = v0.wrapping_add(v3);
        v3 = v3.rotate_left(21) ^ v0;
        v2 = v2.wrapping_add(v1);
        v1 = v1.rotate_left(17) ^ v2;
        v2 = v2.rotate_left(32);
        self.0 = [v0, v1, v2, v3];
    }

    #[inline(always)]
    fn absorb(&mut self, word: u64) {
        self.0[3] ^= word;
        self.round();
        self.round();
        self.0[0] ^= word;
    }
}

/// The 64-bit tag of three little-endian words under `key`.
///
/// In BPF this is a function of its own: it is called several times and wants its own stack frame.
#[cfg_attr(target_arch = "bpf", inline(never))]
#[must_use]
pub fn siphash24(key: &[u8; 16], first: u64, second: u64, third: u64) -> u64 {
    let mut state = State::new(key);
    state.absorb(first);
    state.absorb(second);
    state.absorb(third);
    // The last block carries the length in octets in its top octet.
    state.absorb(24 << 56);
    state.0[2] ^= 0xff;
    state.round();
    state.round();
    state.round();
    state.round();
    state.0[0] ^ state.0[1] ^ state.0[2] ^ state.0[3]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The standard library's (deprecated, but present) SipHash-2-4 is an independent implementation.
    #[test]
    #[expect(deprecated, reason = "an independent implementation to compare with")]
    fn agrees_with_std() {
        use core::hash::{Hasher, SipHasher};
        for seed in 0..1000u64 {
            let words = [seed.wrapping_mul(0x9e37_79b9_7f4a_7c15), !seed, seed << 7];
            let mut hasher = SipHasher::new_with_keys(seed, seed ^ 0xabcd);
            let mut octets = [0; 24];
            for (chunk, word) in octets.chunks_exact_mut(8).zip(words) {
                chunk.copy_from_slice(&word.to_le_bytes());
            }
            hasher.write(&octets);
            let mut key = [0; 16];
            key[..8].copy_from_slice(&seed.to_le_bytes());
            key[8..].copy_from_slice(&(seed ^ 0xabcd).to_le_bytes());
            assert_eq!(siphash24(&key, words[0], words[1], words[2]), hasher.finish());
        }
    }
}
