//! ClientHellos of our own making, which a real TLS 1.3 server answers.

/// A ClientHello as it goes over the wire.
#[derive(Clone, Debug)]
pub struct Hello {
    name: String,
    padding: usize,
    record: usize,
}

impl Hello {
    /// One for a name.
    #[must_use]
    pub fn for_name(name: &str) -> Self {
        Self { name: name.to_owned(), padding: 0, record: usize::MAX }
    }

    /// Makes the handshake message at least so long.
    #[must_use]
    pub fn of_size(mut self, bytes: usize) -> Self {
        self.padding = bytes.saturating_sub(self.message().len() + 4);
        self
    }

    /// Cuts the message into records of so many bytes.
    #[must_use]
    pub fn in_records_of(mut self, bytes: usize) -> Self {
        self.record = bytes;
        self
    }

    /// The bytes on the wire.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let message = self.message();
        let mut wire = Vec::new();
        for fragment in message.chunks(self.record.min(16384)) {
            wire.extend([0x16, 3, 1]);
            wire.extend(vector16(fragment));
        }
        wire
    }

    fn message(&self) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend(noise(32, 1));
        body.extend(vector8(&noise(32, 2)));
        // TLS_AES_128_GCM_SHA256 and TLS_AES_256_GCM_SHA384
        body.extend(vector16(&[0x13, 1, 0x13, 2]));
        body.extend(vector8(&[0]));
        body.extend(vector16(&self.extensions()));
        let mut message = vec![1, 0];
        message.extend(vector16(&body));
        message
    }

    fn extensions(&self) -> Vec<u8> {
        let mut all = Vec::new();
        let mut add = |kind: u16, body: &[u8]| {
            all.extend(kind.to_be_bytes());
            all.extend(vector16(body));
        };
        // The name comes last but one, so that cuts anywhere have something to cut.
        add(43, &vector8(&[3, 4])); // supported_versions: TLS 1.3
        add(10, &vector16(&[0, 29])); // supported_groups: x25519
        add(13, &vector16(&[4, 3, 8, 4, 8, 7])); // signature_algorithms
        let mut share = vec![0, 29];
        share.extend(vector16(&noise(32, 3)));
        add(51, &vector16(&share)); // key_share
        let mut entry = vec![0];
        entry.extend(vector16(self.name.as_bytes()));
        add(0, &vector16(&entry)); // server_name
        if self.padding > 0 {
            add(21, &vec![0; self.padding]); // padding
        }
        all
    }
}

fn vector8(body: &[u8]) -> Vec<u8> {
    let mut vector = vec![u8::try_from(body.len()).unwrap_or(u8::MAX)];
    vector.extend(body);
    vector
}

fn vector16(body: &[u8]) -> Vec<u8> {
    let mut vector = u16::try_from(body.len()).unwrap_or(u16::MAX).to_be_bytes().to_vec();
    vector.extend(body);
    vector
}

/// Bytes that look random and are always the same.
fn noise(len: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_be_bytes()[0]
    })
    .take(len)
    .collect()
}
