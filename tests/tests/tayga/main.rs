//! The programs and the daemon's ICMP beside Tayga, another translator: thousands of random packets of one flow, both
//! ways, come out octet for octet alike, but for what `alike` names. The flow's sequence numbers stay as they are,
//! so that a splice is plain translation (RFC 7915).

mod translator;

use ingress::handshake::{Backend, Splice};
use ingress::icmp::{self, Mtus, Spliced};
use ingress_common::addr::Nat46Prefix;
use ingress_common::ip::ICMP;
use ingress_common::maps::{Destination, Route};
use ingress_common::tcp::Seq;
use ingress_tests::golden::bench::{Bench, bench};
use ingress_tests::golden::frame::{DF, ICMPV6, Ip4, Ip6, Tcp, flag, read_ip6, read4, read6};
use ingress_tests::golden::place::{self, BACKEND, CLIENT, LISTEN, MTU, UPLINK_MTU};
use ingress_tests::segment::checksum;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use translator::Tayga;

const ROUNDS: usize = 2000;
/// The longest packet that is neither too big for the tunnel nor made one by 20 octets more.
const LONGEST: usize = MTU as usize - 60;
/// The longest with DF clear that no translator may cut up (RFC 7915 §4).
const LONGEST_CUTTABLE: usize = 1280 - 48 - 32;
const ROUTER4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const ROUTER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 1, 0, 0, 1);
/// Tayga refuses the prefix that everything else here uses.
const PREFIX: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x64, 0, 0, 0, 0, 0);
const SOURCE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x64, 0, 0, 0, 0xcb00, 0x7109);
/// Tayga knows one device.
const MTUS: Mtus = Mtus { uplink: UPLINK_MTU, tunnel: UPLINK_MTU };

#[test]
fn segments_to_a_backend() {
    let mut random = StdRng::seed_from_u64(1);
    let (mut bench, tayga) = (bench(), Tayga::start().unwrap());
    set_up(&mut bench);
    for round in 0..ROUNDS {
        let segment = segment(&mut random, true);
        let ip = Ip4 {
            tos: random.random(),
            id: random.random(),
            fragment: if segment.payload.len() > LONGEST_CUTTABLE || random.random() {
                DF
            } else {
                0
            },
            ttl: random.random_range(2..=255),
            ..place::from_client()
        };
        let packet = segment.over4(&ip);
        let ours = bench.uplink(&packet).sent().to_vec();
        let theirs = without_atomic_fragment(tayga.translate(&packet).unwrap());
        if ours != theirs {
            let (ours, theirs) = (read6(&ours), read6(&theirs));
            panic!("round {round}: {ip:?} {segment:?}\nbecomes {ours:?}\nand not {theirs:?}");
        }
    }
}

#[test]
fn segments_to_a_client() {
    let mut random = StdRng::seed_from_u64(2);
    let (mut bench, tayga) = (bench(), Tayga::start().unwrap());
    set_up(&mut bench);
    for round in 0..ROUNDS {
        let segment = segment(&mut random, false);
        let ip = Ip6 {
            class: random.random(),
            flow_label: random.random_range(0..1 << 20),
            hop_limit: random.random_range(2..=255),
            destination: SOURCE,
            ..place::from_backend()
        };
        let packet = segment.over6(&ip);
        let (mut ours, ours_tcp) = read4(bench.tunnel(&packet).sent());
        let (mut theirs, theirs_tcp) = read4(&tayga.translate(&packet).unwrap());
        // RFC 7915 §5.1 leaves it to the translator which packets may be cut up later, and with what number.
        for ip in [&mut ours, &mut theirs] {
            (ip.id, ip.fragment) = (0, ip.fragment & !DF);
        }
        assert_eq!((ours, ours_tcp), (theirs, theirs_tcp), "round {round}: {ip:?} {segment:?}");
    }
}

/// Every type and code, and what they say beside that.
#[test]
fn errors_to_a_backend() {
    let mut random = StdRng::seed_from_u64(3);
    let tayga = Tayga::start().unwrap();
    let prefix = Nat46Prefix::new(PREFIX.octets(), 96).unwrap();
    let sent = segment(&mut random, false);
    let quoted = Tcp { payload: vec![7; 100], ..sent }.over4(&place::to_client());
    let (mut translated, mut dropped) = (0, Vec::new());
    let kinds = [
        (3, 0..=3, Detail::Nothing),
        (3, 4..=4, Detail::Mtu),
        (3, 5..=16, Detail::Nothing),
        (11, 0..=1, Detail::Nothing),
        (12, 0..=2, Detail::Pointer),
    ];
    for header in errors(&kinds) {
        let packet = error_over4(&header, &quoted);
        let ours = icmp::to_v6(&packet, &flow(), &prefix, MTUS);
        let theirs = tayga.translate(&packet);
        let [ours, theirs] = [ours, theirs].map(|packet| packet.map(|packet| told6(&packet)));
        translated += usize::from(ours.is_some());
        if theirs.is_none() && ours.is_some() {
            dropped.push(header);
            continue;
        }
        assert_eq!(ours, theirs, "{header:?}");
    }
    assert!(translated > 200, "{translated}");
    // Pointers are all that Tayga does not translate.
    assert!(dropped.iter().all(|header| header[0] == 12), "{dropped:?}");
}

#[test]
fn errors_to_a_client() {
    let mut random = StdRng::seed_from_u64(4);
    let tayga = Tayga::start().unwrap();
    let sent = segment(&mut random, true);
    let quoted =
        Tcp { payload: vec![7; 100], ..sent }.over6(&Ip6 { source: SOURCE, ..place::to_backend() });
    let (mut translated, mut dropped) = (0, Vec::new());
    let kinds = [
        (1, 0..=7, Detail::Nothing),
        (2, 0..=0, Detail::Mtu),
        (3, 0..=1, Detail::Nothing),
        (4, 0..=2, Detail::Pointer),
    ];
    for header in errors(&kinds) {
        let packet = error_over6(&header, &quoted);
        let ours = icmp::to_v4(&packet, &flow(), MTUS);
        let theirs = tayga.translate(&packet);
        let [ours, theirs] = [ours, theirs].map(|packet| packet.map(|packet| told4(&packet)));
        translated += usize::from(ours.is_some());
        if theirs.is_none() && ours.is_some() {
            dropped.push(header);
            continue;
        }
        assert_eq!(ours, theirs, "{header:?}");
    }
    assert!(translated > 20, "{translated}");
    // Nor does it here, and "address unreachable", by RFC 7915 §5.2 host unreachable, is nothing to it.
    dropped.retain(|header| header[..2] != [4, 0]);
    assert_eq!(dropped, [[1, 3, 0, 0, 0, 0]]);
}

/// What the second word of an error's header says.
enum Detail {
    Nothing,
    Mtu,
    Pointer,
}

/// A flow in which nothing has to be moved.
fn set_up(bench: &mut Bench) {
    let mut routes = place::routes();
    routes.insert(format!("{PREFIX}/96").parse().unwrap(), Route::to(Destination::Nat46));
    bench.routes.replace(&routes).unwrap();
    let usual = place::splice();
    let backend = Backend { source: SOURCE, ..usual.backend };
    bench.install(&Splice { backend, cookie: Seq(5), backend_isn: Seq(5), ..usual });
}

fn flow() -> Spliced {
    Spliced {
        client: CLIENT.ip().octets(),
        listen: LISTEN.ip().octets(),
        backend: BACKEND.ip().octets(),
        source: SOURCE.octets(),
        delta: 0,
        ts_delta: None,
        mss: None,
    }
}

/// Tayga puts a fragment header on everything that may be fragmented; RFC 7915 has none any more unless there are
/// fragments (RFC 8021).
fn without_atomic_fragment(mut packet: Vec<u8>) -> Vec<u8> {
    const FRAGMENT: u8 = 44;
    if packet[6] == FRAGMENT {
        assert_eq!(packet[42..44], [0, 0], "not whole");
        packet[6] = packet[40];
        packet.drain(40..48);
        let len = packet.len() as u16 - 40;
        packet[4..6].copy_from_slice(&len.to_be_bytes());
    }
    packet
}

/// Anything that a connection may say; what begins and ends one is not for comparing.
fn segment(random: &mut StdRng, of_client: bool) -> Tcp {
    let (ours, theirs) = (CLIENT.port(), LISTEN.port());
    let (source, destination) = if of_client { (ours, theirs) } else { (theirs, ours) };
    let options = match random.random_range(0..4) {
        0 => vec![],
        1 => [&[1, 1, 8, 10][..], &random.random::<[u8; 8]>()].concat(),
        2 => [&[1, 1, 5, 10][..], &random.random::<[u8; 8]>()].concat(),
        _ => [&[253, 4][..], &random.random::<[u8; 2]>()].concat(),
    };
    let room = LONGEST - 20 - options.len();
    let len =
        if random.random() { random.random_range(0..=room) } else { random.random_range(0..80) };
    Tcp {
        source,
        destination,
        seq: random.random(),
        ack: random.random(),
        reserved: random.random_range(0..8),
        flags: (random.random::<u8>() & !(flag::SYN | flag::RST | flag::FIN)) | flag::ACK,
        window: random.random(),
        urgent: random.random(),
        options,
        payload: (0..len).map(|_| random.random()).collect(),
    }
}

/// Types with all of these codes, each with the second words that mean something there.
fn errors(kinds: &[(u8, RangeInclusive<u8>, Detail)]) -> Vec<[u8; 6]> {
    let mut all = Vec::new();
    for (kind, codes, detail) in kinds {
        let words: Vec<u32> = match detail {
            // What stands there is no error's business, or an extension's (RFC 4884), which we leave out.
            Detail::Nothing => vec![0],
            Detail::Mtu => (1280..1500).collect(),
            Detail::Pointer => (0..48).collect(),
        };
        for (code, word) in
            codes.clone().flat_map(|code| words.iter().map(move |word| (code, *word)))
        {
            let [a, b, c, d] = word.to_be_bytes();
            all.push([*kind, code, a, b, c, d]);
        }
    }
    all
}

/// An error over IPv4, from a router in the world.
fn error_over4(header: &[u8], quoted: &[u8]) -> Vec<u8> {
    let mut message = [&header[..2], &[0, 0], &header[2..], quoted].concat();
    let sum = checksum(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    Ip4 { source: ROUTER4, destination: *LISTEN.ip(), ..Ip4::default() }.around(ICMP, &message)
}

/// An error over IPv6, from a router of the site.
fn error_over6(header: &[u8], quoted: &[u8]) -> Vec<u8> {
    let ip = Ip6 { source: ROUTER6, destination: SOURCE, ..place::from_backend() };
    let mut packet = ip.icmp(header[0], &[&header[2..], quoted].concat());
    // The sum was made without the code.
    let sum = u32::from(!u16::from_be_bytes([packet[42], packet[43]])) + u32::from(header[1]);
    packet[41] = header[1];
    packet[42..44].copy_from_slice(&(!((sum & 0xffff) + (sum >> 16)) as u16).to_be_bytes());
    packet
}

/// What an error over IPv6 says: who, type, code, second word, and about what.
fn told6(packet: &[u8]) -> (Ipv6Addr, [u8; 2], [u8; 4], Vec<u8>) {
    let (ip, protocol, message) = read_ip6(packet);
    assert_eq!((protocol, ip.destination), (ICMPV6, *BACKEND.ip()));
    assert!(icmp::is_intact_v6(packet));
    told(ip.source, message)
}

/// The same over IPv4; the router of a site has no address there that both sides agree on.
fn told4(packet: &[u8]) -> ((), [u8; 2], [u8; 4], Vec<u8>) {
    assert_eq!((packet[0], packet[9], &packet[16..20]), (0x45, ICMP, &CLIENT.ip().octets()[..]));
    assert!(icmp::is_intact_v4(packet));
    told((), &packet[20..])
}

fn told<A>(from: A, message: &[u8]) -> (A, [u8; 2], [u8; 4], Vec<u8>) {
    let word = message[4..8].try_into().unwrap();
    (from, [message[0], message[1]], word, message[8..].to_vec())
}
