//! Hellos of every shape, cut at every place.

use proptest::prelude::*;

use super::*;

/// Builds the hellos that tests need, octet by octet.
#[derive(Clone)]
struct Builder {
    extensions: Vec<(u16, Vec<u8>)>,
}

fn sni_list(names: &[(u8, &[u8])]) -> Vec<u8> {
    let mut list = Vec::new();
    for (kind, name) in names {
        list.push(*kind);
        list.extend((name.len() as u16).to_be_bytes());
        list.extend(*name);
    }
    [&(list.len() as u16).to_be_bytes()[..], &list].concat()
}

impl Builder {
    fn named(name: &str) -> Self {
        // GREASE first, as Chrome sends it.
        Self { extensions: vec![(0x3a3a, vec![0]), (0, sni_list(&[(0, name.as_bytes())]))] }
    }

    fn with(mut self, kind: u16, content: impl Into<Vec<u8>>) -> Self {
        self.extensions.push((kind, content.into()));
        self
    }

    fn message(&self) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.push(32);
        body.extend([9; 32]);
        body.extend([0, 6, 0x2a, 0x2a, 0x13, 1, 0x13, 2]);
        body.extend([1, 0]);
        let mut extensions = Vec::new();
        for (kind, content) in &self.extensions {
            extensions.extend(kind.to_be_bytes());
            extensions.extend((content.len() as u16).to_be_bytes());
            extensions.extend(content);
        }
        body.extend((extensions.len() as u16).to_be_bytes());
        body.extend(extensions);
        let length = (body.len() as u32).to_be_bytes();
        [&[1, length[1], length[2], length[3]], &body[..]].concat()
    }

    fn stream(&self) -> Vec<u8> {
        records(&self.message(), MAX_HELLO)
    }
}

fn records(message: &[u8], size: usize) -> Vec<u8> {
    let mut stream = Vec::new();
    for content in message.chunks(size) {
        stream.extend([22, 3, 1]);
        stream.extend((content.len() as u16).to_be_bytes());
        stream.extend(content);
    }
    stream
}

fn read(pieces: &[&[u8]]) -> Result<Option<Hello>, HelloError> {
    let mut reader = HelloReader::default();
    for piece in pieces {
        if let Some(hello) = reader.feed(piece)? {
            return Ok(Some(hello));
        }
    }
    Ok(None)
}

fn host(name: &str) -> Result<Option<Hello>, HelloError> {
    let server_name = ServerName::Host(name.parse().unwrap());
    Ok(Some(Hello { server_name, encrypted: false }))
}

fn server_name(builder: &Builder) -> ServerName {
    read(&[&builder.stream()]).unwrap().unwrap().server_name
}

#[test]
fn every_cut_between_segments() {
    let stream = Builder::named("www.example.org").stream();
    for cut in 0..stream.len() {
        assert_eq!(read(&[&stream[..cut]]), Ok(None), "complete too early at {cut}");
        assert_eq!(read(&[&stream[..cut], &stream[cut..]]), host("www.example.org"), "{cut}");
    }
    let single: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(read(&single), host("www.example.org"));
}

#[test]
fn every_cut_between_records() {
    let message = Builder::named("www.example.org").message();
    for cut in 1..message.len() {
        let stream =
            [records(&message[..cut], MAX_HELLO), records(&message[cut..], MAX_HELLO)].concat();
        assert_eq!(read(&[&stream]), host("www.example.org"), "{cut}");
        let single: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(read(&single), host("www.example.org"), "{cut}");
    }
}

#[test]
fn large_hellos() {
    for size in [1800, 4000, 15_000] {
        let hello = Builder::named("pq.example.org").with(51, vec![5; size]);
        assert_eq!(read(&[&hello.stream()]), host("pq.example.org"));
        assert_eq!(read(&[&records(&hello.message(), 512)]), host("pq.example.org"));
    }
}

#[test]
fn what_follows_the_hello_is_not_looked_at() {
    for tail in [&[20, 3, 3, 0, 1, 1][..], &[0xff; 40], &[23, 3, 3, 0x40, 0]] {
        let stream = [&Builder::named("a.example").stream(), tail].concat();
        assert_eq!(read(&[&stream]), host("a.example"));
    }
    // Another message in the same record.
    let message = [Builder::named("a.example").message(), vec![0xff; 9]].concat();
    assert_eq!(read(&[&records(&message, MAX_HELLO)]), host("a.example"));
}

#[test]
fn names() {
    let nameless = Builder { extensions: vec![] };
    assert_eq!(server_name(&nameless), ServerName::Absent);
    for literal in ["192.0.2.1", "2001:db8::1", "[::1]"] {
        assert_eq!(server_name(&Builder::named(literal)), ServerName::Absent);
    }
    assert_eq!(
        server_name(&Builder::named("WWW.Example.Org.")),
        ServerName::Host("www.example.org".parse().unwrap())
    );
    for name in ["localhost", "a.b/..", "a\0.example", ""] {
        let Ok(Some(hello)) = read(&[&Builder::named(name).stream()]) else {
            assert_eq!(name, "");
            continue;
        };
        assert!(matches!(hello.server_name, ServerName::Invalid(_)), "{name:?}");
    }
    // A name of an unknown type before the host name.
    let other = nameless.clone().with(0, sni_list(&[(9, b"x"), (0, b"a.example")]));
    assert_eq!(server_name(&other), ServerName::Host("a.example".parse().unwrap()));
    let encrypted = Builder::named("outer.example").with(0xfe0d, vec![0; 200]);
    assert!(read(&[&encrypted.stream()]).unwrap().unwrap().encrypted);
}

#[test]
fn two_names_are_refused() {
    let twice = Builder::named("a.example").with(0, sni_list(&[(0, b"b.example")]));
    assert_eq!(read(&[&twice.stream()]), Err(HelloError::Malformed));
    let nameless = Builder { extensions: vec![] };
    let both = nameless.with(0, sni_list(&[(0, b"a.example"), (0, b"b.example")]));
    assert_eq!(read(&[&both.stream()]), Err(HelloError::Malformed));
}

#[test]
fn a_broken_list_is_never_no_name() {
    for content in
        [&[][..], &[0], &[0, 0], &[0, 1, 0], &[0, 5, 0, 0, 9, b'a', b'b'], &[0, 9, 0, 0, 1]]
    {
        let hello = Builder { extensions: vec![(0, content.to_vec())] };
        assert_eq!(read(&[&hello.stream()]), Err(HelloError::Malformed), "{content:?}");
    }
}

#[test]
fn not_tls() {
    for stream in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"SSH-2.0-x",
        &[0x80, 0x2e, 1, 3, 1, 0, 0x15],
        &[22, 2],
        &[21, 3, 1, 0, 2, 2, 40],
        &[22, 3, 1, 0, 0],
        &[22, 3, 1, 0x40, 1],
    ] {
        assert_eq!(read(&[stream]), Err(HelloError::NotTls), "{stream:?}");
    }
}

#[test]
fn malformed() {
    let message = Builder::named("a.example").message();
    // An empty record, an alert, and a change of the message type in between.
    for between in [&[22, 3, 1, 0, 0][..], &[21, 3, 1, 0, 2, 1, 0], &[22, 9]] {
        let stream = [&records(&message[..50], 99)[..], between].concat();
        assert_eq!(read(&[&stream]), Err(HelloError::Malformed));
    }
    assert_eq!(read(&[&[22, 3, 1, 0, 9, 2]]), Err(HelloError::Malformed));
    // Lengths inside that disagree with the message's.
    for at in 4..message.len() {
        let mut broken = message.clone();
        broken[at] ^= 0xff;
        if let Ok(Some(hello)) = read(&[&records(&broken, MAX_HELLO)]) {
            // Never a name that was not there.
            if let ServerName::Host(name) = hello.server_name {
                assert_eq!(name.as_str().len(), "a.example".len());
            }
        }
    }
}

#[test]
fn the_limits() {
    assert_eq!(read(&[&[22, 3, 1, 0, 9, 1, 0, 0x40, 1]]), Err(HelloError::TooLong));
    assert_eq!(read(&[&[22, 3, 1, 0, 9, 1, 0xff, 0, 0]]), Err(HelloError::TooLong));
    assert_eq!(read(&[&[22, 3, 1, 0, 9, 1, 0, 0x40, 0]]), Ok(None));
    let message = Builder::named("a.example").with(51, vec![0; 300]).message();
    assert_eq!(read(&[&records(&message, message.len().div_ceil(64))]), host("a.example"));
    assert_eq!(read(&[&records(&message, 2)]), Err(HelloError::TooLong));
}

proptest! {
    #[test]
    fn garbage_never_panics(mut octets in proptest::collection::vec(any::<u8>(), 0..600), framed: bool) {
        if framed && octets.len() > 9 {
            let (record, message) = (octets.len() as u16 - 5, octets.len() as u16 - 9);
            octets[..3].copy_from_slice(&[22, 3, 1]);
            octets[3..5].copy_from_slice(&record.to_be_bytes());
            octets[5..7].copy_from_slice(&[1, 0]);
            octets[7..9].copy_from_slice(&message.to_be_bytes());
        }
        let _ = read(&[&octets]);
    }

    #[test]
    fn any_framing_gives_the_same_name(
        cuts in proptest::collection::vec(0..2200usize, 0..12),
        size in 40..2300usize,
        mutation in proptest::option::of((0..2200usize, any::<u8>())),
    ) {
        let mut message = Builder::named("www.example.org").with(51, vec![1; 1900]).message();
        if let Some((at, value)) = mutation {
            let at = at % message.len();
            message[at] = value;
        }
        let stream = records(&message, size);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % stream.len()).collect();
        cuts.sort_unstable();
        cuts.push(stream.len());
        let mut from = 0;
        let pieces: Vec<&[u8]> = cuts
            .iter()
            .map(|&cut| &stream[std::mem::replace(&mut from, cut)..cut])
            .collect();
        prop_assert_eq!(read(&pieces), read(&[&stream]));
    }
}
