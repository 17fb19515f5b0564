//! Floods into the VPS, and what becomes of them: frames from one processor, counted where they come out.

use anyhow::{Context, Result};
use ingress_tests::Lab;
use ingress_tests::bpf::gate::{Gate, Gatekeeper};
use ingress_tests::bpf::generator::{Generator, Varied, set_napi};
use ingress_tests::netns::Namespace;
use std::time::Duration;

/// An end of a veth.
#[derive(Clone, Copy)]
pub struct End<'a> {
    pub namespace: &'a Namespace,
    pub interface: &'a str,
}

/// Where packets are counted and end, before any protocol or driver has them.
#[derive(Clone, Copy)]
pub enum Sink<'a> {
    /// Where they come in.
    In(End<'a>),
    /// Where they were to go out: the VPS has done everything by then.
    Out(End<'a>),
}

/// What came of a flood.
pub struct Flood {
    pub sent: f64,
    pub came: f64,
    pub seconds: f64,
}

impl Flood {
    /// Sends frames from one end of a veth to the other, and counts what gets to the sink meanwhile. For so short a
    /// time neighbours are known without asking.
    pub fn run(
        lab: &Lab,
        [from, to]: [End<'_>; 2],
        (packet, varied): (&[u8], &[Varied]),
        sink: Sink<'_>,
        time: Duration,
    ) -> Result<Self> {
        let _napi = [Napi::give(to)?, Napi::give(from)?];
        let sink = match sink {
            Sink::In(end) => Gatekeeper::post(end.namespace, end.interface, Gate::Sink)?,
            Sink::Out(end) => Gatekeeper::post(end.namespace, end.interface, Gate::Brink)?,
        };
        let kind: u16 = if packet[0] >> 4 == 6 { 0x86dd } else { 0x0800 };
        let mut frame = mac(lab, to)?;
        frame.extend(mac(lab, from)?);
        frame.extend(kind.to_be_bytes());
        frame.extend(packet);
        let generator = Generator::new(from.namespace, from.interface, &frame, varied)?;
        // The first frames find caches cold, and neighbours unknown.
        generator.send(from.namespace, time / 10)?;
        let before = sink.count()?;
        let (sent, took) = generator.send(from.namespace, time)?;
        let came = sink.count()? - before;
        Ok(Self { sent: sent as f64, came: came as f64, seconds: took.as_secs_f64() })
    }

    /// What arrived in a second, and what share of everything did not, in percent.
    pub fn rates(&self) -> (f64, f64) {
        (self.came / self.seconds, (1.0 - self.came / self.sent).max(0.0) * 100.0)
    }
}

fn mac(lab: &Lab, end: End<'_>) -> Result<Vec<u8>> {
    let text = lab.mac(end.namespace, end.interface)?;
    text.split(':')
        .map(|octet| u8::from_str_radix(octet, 16).with_context(|| format!("a MAC of {text}")))
        .collect()
}

/// A veth with a NAPI, until this is dropped.
struct Napi<'a>(End<'a>);

impl<'a> Napi<'a> {
    fn give(end: End<'a>) -> Result<Self> {
        set_napi(end.namespace, end.interface, true)?;
        Ok(Self(end))
    }
}

impl Drop for Napi<'_> {
    fn drop(&mut self) {
        let _ = set_napi(self.0.namespace, self.0.interface, false);
    }
}
