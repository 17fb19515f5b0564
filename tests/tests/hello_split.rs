//! The ClientHello comes in pieces, in any order, and in all sizes that clients have.

use anyhow::{Context, Result};
use ingress_tests::Lab;
use ingress_tests::addresses::{VPS4, WWW};
use ingress_tests::hello::Hello;
use ingress_tests::process::patience;
use ingress_tests::rawclient::{RawLink, USUAL_OPTIONS};
use ingress_tests::shared::stage;
use std::io::{Read, Write};
use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const HANDSHAKE_RECORD: u8 = 0x16;
const SERVER_HELLO: u8 = 2;
const PATIENCE: Duration = Duration::from_secs(3);

/// What fits a segment: the MSS that the VPS announces.
const SEGMENT: usize = 1360;

#[test]
fn cut_anywhere_in_both_orders() -> Result<()> {
    let stage = stage();
    let link = RawLink::open(&stage.lab)?;
    let hello = Hello::for_name(WWW).bytes();
    let start = Instant::now();
    for cut in 1..hello.len() {
        let (head, tail) = hello.split_at(cut);
        for pieces in [[(0, head), (cut, tail)], [(cut, tail), (0, head)]] {
            exchange(&link, &pieces, hello.len())
                .with_context(|| format!("cut after {cut} bytes, first {}", pieces[0].0))?;
        }
    }
    let each = start.elapsed() / u32::try_from(2 * hello.len())?;
    assert!(each < Duration::from_millis(100), "took {each:?} each: pieces waited for something");
    Ok(())
}

#[test]
fn large_hellos_come_in_several_segments() -> Result<()> {
    let stage = stage();
    let link = RawLink::open(&stage.lab)?;
    // With a post-quantum key share; with that and a long ticket; as large as is heard of.
    for size in [1_800, 4_000, 9_000, 15_000] {
        let hello = Hello::for_name(WWW).of_size(size).bytes();
        let mut pieces: Vec<(usize, &[u8])> =
            hello.chunks(SEGMENT).enumerate().map(|(n, piece)| (n * SEGMENT, piece)).collect();
        exchange(&link, &pieces, hello.len()).with_context(|| format!("{size} bytes"))?;
        pieces.reverse();
        exchange(&link, &pieces, hello.len()).with_context(|| format!("{size} bytes, reversed"))?;
        pieces.push(pieces[0]);
        pieces.swap(0, 1);
        exchange(&link, &pieces, hello.len())
            .with_context(|| format!("{size} bytes, shuffled, one twice"))?;
    }
    Ok(())
}

#[test]
fn a_hello_may_span_records() -> Result<()> {
    let stage = stage();
    let link = RawLink::open(&stage.lab)?;
    for record in [100, 200, 33] {
        let hello = Hello::for_name(WWW).in_records_of(record).bytes();
        exchange(&link, &[(0, &hello)], hello.len())
            .with_context(|| format!("records of {record} bytes"))?;
    }
    Ok(())
}

#[test]
fn a_lost_piece_is_sent_again_by_the_client() -> Result<()> {
    let stage = stage();
    let link = RawLink::open(&stage.lab)?;
    let hello = Hello::for_name(WWW).of_size(1_800).bytes();
    let (head, tail) = hello.split_at(SEGMENT);
    let mut connection =
        link.connect(next_port(), SocketAddrV4::new(VPS4, 443), 1, USUAL_OPTIONS)?;
    link.data(&connection, 0, head)?;
    thread::sleep(Duration::from_millis(300));
    // As a client does after its timeout: the first again, then the second.
    link.data(&connection, 0, head)?;
    link.data(&connection, SEGMENT, tail)?;
    let answer = link.first_answer(&mut connection, hello.len(), PATIENCE)?;
    assert_eq!(answer[0], HANDSHAKE_RECORD);
    link.reset(&connection, hello.len())
}

#[test]
fn a_real_client_with_a_hello_above_its_first_window() -> Result<()> {
    let stage = stage();
    for size in [1_800, 9_000, 15_000] {
        let hello = Hello::for_name(WWW).of_size(size).bytes();
        let start = Instant::now();
        let mut stream = connect(&stage.lab)?;
        stream.write_all(&hello)?;
        expect_server_hello(&mut stream).with_context(|| format!("{size} bytes"))?;
        assert!(start.elapsed() < patient(), "{size} bytes took {:?}", start.elapsed());
    }
    Ok(())
}

#[test]
fn a_client_that_waits_for_an_acknowledgment_gets_one() -> Result<()> {
    let stage = stage();
    let hello = Hello::for_name(WWW).bytes();
    for cut in [1, 5, 60, hello.len() - 1] {
        let start = Instant::now();
        // Nagle's algorithm holds the second write back until the first is acknowledged.
        let mut stream = connect(&stage.lab)?;
        stream.write_all(&hello[..cut])?;
        stream.write_all(&hello[cut..])?;
        expect_server_hello(&mut stream).with_context(|| format!("cut after {cut}"))?;
        assert!(start.elapsed() < patient(), "cut after {cut} took {:?}", start.elapsed());
    }
    Ok(())
}

#[test]
fn a_client_that_writes_byte_by_byte() -> Result<()> {
    let stage = stage();
    let hello = Hello::for_name(WWW).bytes();
    let mut stream = connect(&stage.lab)?;
    stream.set_nodelay(true)?;
    for byte in &hello {
        stream.write_all(&[*byte])?;
    }
    expect_server_hello(&mut stream)
}

/// Connects, sends the pieces in the given order, and expects a ServerHello.
fn exchange(link: &RawLink, pieces: &[(usize, &[u8])], len: usize) -> Result<()> {
    let remote = SocketAddrV4::new(VPS4, 443);
    let mut connection = link.connect(next_port(), remote, 0xffff_ff00, USUAL_OPTIONS)?;
    for (offset, piece) in pieces {
        link.data(&connection, *offset, piece)?;
    }
    let answer = link.first_answer(&mut connection, len, PATIENCE)?;
    assert_eq!(answer[0], HANDSHAKE_RECORD, "{answer:x?}");
    assert_eq!(answer[5], SERVER_HELLO, "{answer:x?}");
    link.reset(&connection, len)
}

fn connect(lab: &Lab) -> Result<TcpStream> {
    let target = SocketAddr::new(VPS4.into(), 443);
    let stream = lab.client.enter(|| TcpStream::connect_timeout(&target, patient()))??;
    stream.set_read_timeout(Some(patient()))?;
    Ok(stream)
}

/// [`PATIENCE`], as much longer as the machine needs.
fn patient() -> Duration {
    PATIENCE * patience()
}

fn expect_server_hello(stream: &mut TcpStream) -> Result<()> {
    let mut start = [0; 6];
    stream.read_exact(&mut start)?;
    assert_eq!((start[0], start[5]), (HANDSHAKE_RECORD, SERVER_HELLO), "{start:x?}");
    Ok(())
}

fn next_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(20_000);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
