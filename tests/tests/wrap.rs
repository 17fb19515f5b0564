//! More octets than there are sequence numbers, through a site that is as fast as the machine.

use anyhow::{Context, Result, ensure};
use ingress_tests::addresses::{OFFICE, OFFICE6};
use ingress_tests::plain::{self, PORT, Pair, Server, noise};
use ingress_tests::shared::stage;
use ingress_tests::sites::{self, Sites};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Instant;

const BLOCK: usize = 1 << 20;
/// 5 GB each way: every number is used, and some twice.
const BLOCKS: u64 = 4800;

#[test]
fn sequence_numbers_go_round_both_ways() -> Result<()> {
    let stage = stage();
    let more = Sites::add(&stage.lab, &stage.certificate)?;
    let daemon = stage.daemon()?;
    daemon.configure(&plain::listed(&sites::config(&stage.lab)))?;
    let reloaded = daemon.ctl(&["reload"])?;
    ensure!(reloaded.status.success(), "{reloaded:?}");
    let server = Server::start(&more.office, OFFICE6, PORT)?;
    let Pair { client, server } = Pair::by_name(&stage.lab, &server, OFFICE)?;
    let start = Instant::now();
    let ends = [("up", client.try_clone()?, server.try_clone()?), ("down", server, client)];
    let running = ends.map(|(way, from, to)| {
        (way, thread::spawn(move || write(from)), thread::spawn(move || read(to)))
    });
    for (way, writer, reader) in running {
        reader.join().expect("no panic").context(way)?;
        writer.join().expect("no panic").context(way)?;
    }
    let seconds = start.elapsed().as_secs_f64();
    let bits = (2 * BLOCKS * BLOCK as u64 * 8) as f64;
    println!("{:.1} Gbit/s, both ways together", bits / seconds / 1e9);
    Ok(())
}

fn write(mut stream: TcpStream) -> Result<()> {
    let mut block = noise(1, BLOCK);
    for number in 0..BLOCKS {
        block[..8].copy_from_slice(&number.to_be_bytes());
        stream.write_all(&block).with_context(|| format!("write block {number}"))?;
    }
    stream.shutdown(Shutdown::Write).context("close")
}

fn read(mut stream: TcpStream) -> Result<()> {
    let (mut block, mut expected) = (vec![0; BLOCK], noise(1, BLOCK));
    for number in 0..BLOCKS {
        expected[..8].copy_from_slice(&number.to_be_bytes());
        stream.read_exact(&mut block).with_context(|| format!("read block {number}"))?;
        ensure!(block == expected, "block {number} is another");
    }
    ensure!(stream.read(&mut block)? == 0, "more than was sent");
    Ok(())
}
