//! The PostgreSQL preamble: what was told from fewer octets stays true with more.

use ingress::postgres::{Opening, REQUEST_LEN, preamble};

/// The octets that a client sends.
pub fn run(input: &[u8]) {
    let whole = Opening::read(input);
    for len in 0..input.len().min(3 * REQUEST_LEN) {
        let part = Opening::read(&input[..len]);
        assert!(part == Opening::Incomplete || part == whole, "{len}: {part:?}, then {whole:?}");
    }
    let requests = preamble(input);
    for nth in 0..requests {
        let Opening::Request(request) = Opening::read(&input[nth * REQUEST_LEN..]) else {
            panic!("{nth} is no request");
        };
        assert!(matches!(request.answer(), b'S' | b'N'));
    }
    let next = Opening::read(&input[requests * REQUEST_LEN..]);
    assert!(!matches!(next, Opening::Request(_)), "one more than {requests}");
}
