//! A connection as both ends saw it, and what has to hold of it.

use std::collections::{HashMap, HashSet};

use anyhow::{Context, Result};
use ingress_tests::addresses::{VPS4, WWW6};
use ingress_tests::capture::Capture;
use ingress_tests::segment::{Segment, flag};
use ingress_tests::topology::Lab;

/// Captures at both ends.
pub struct Watch {
    client: Capture,
    backend: Capture,
}

/// One connection in them.
pub struct Watched {
    /// At the client, each with whether the client sent it.
    pub client: Vec<(bool, Segment)>,
    /// At the backend, each with whether the client sent it.
    pub backend: Vec<(bool, Segment)>,
}

impl Watch {
    pub fn start(lab: &Lab) -> Result<Self> {
        let start = |machine| Capture::start(machine, "eth0", "tcp port 443", lab.dir());
        Ok(Self { client: start(&lab.client)?, backend: start(&lab.www)? })
    }

    /// The connection from that port of the client.
    pub fn stop(self, ports: &[u64]) -> Result<Vec<Watched>> {
        let read = |packets: Vec<Vec<u8>>| -> Vec<Segment> {
            packets.iter().filter_map(|packet| Segment::read(packet)).collect()
        };
        let (client, backend) = (read(self.client.stop()?), read(self.backend.stop()?));
        let of = |all: &[Segment], server: std::net::IpAddr, port: u64| -> Vec<(bool, Segment)> {
            all.iter()
                .filter(|segment| {
                    let ends = [segment.source, segment.destination];
                    ends.iter().any(|end| end.ip() == server)
                        && ends.iter().any(|end| u64::from(end.port()) == port)
                })
                .map(|segment| (segment.destination.ip() == server, segment.clone()))
                .collect()
        };
        Ok(ports
            .iter()
            .map(|port| Watched {
                client: of(&client, VPS4.into(), *port),
                backend: of(&backend, WWW6.into(), *port),
            })
            .collect())
    }
}

impl Watched {
    /// The client's SYN, as the backend gets it.
    pub fn syn_at_backend(&self) -> Result<&Segment> {
        let syn = self.backend.iter().find(|(by_client, s)| *by_client && s.is(flag::SYN));
        Ok(&syn.context("no SYN at the backend")?.1)
    }

    /// Our SYN-ACK, as the client gets it.
    pub fn syn_ack_at_client(&self) -> Result<&Segment> {
        let syn_ack =
            self.client.iter().find(|(by_client, s)| !by_client && s.flags & flag::SYN != 0);
        Ok(&syn_ack.context("no SYN-ACK at the client")?.1)
    }

    /// Timestamps on every segment or on none, and no echo of what was never said.
    pub fn check_timestamps(&self, agreed: bool) {
        for (place, segments) in [("client", &self.client), ("backend", &self.backend)] {
            assert!(segments.len() > 10, "only {} segments at the {place}", segments.len());
            let after_syn = segments.iter().filter(|(_, s)| s.flags & (flag::SYN | flag::RST) == 0);
            for (_, segment) in after_syn {
                assert_eq!(segment.option(8).is_some(), agreed, "at the {place}: {segment:?}");
            }
            let own = place == "client";
            let said: HashSet<u32> = segments
                .iter()
                .filter(|(by_client, _)| *by_client == own)
                .filter_map(|(_, segment)| Some(stamps(segment)?.0))
                .collect();
            for (_, segment) in segments.iter().filter(|(by_client, _)| *by_client != own) {
                if let Some((_, echo)) = stamps(segment)
                    && segment.flags & flag::ACK != 0
                {
                    assert!(said.contains(&echo), "the {place} never said {echo}: {segment:?}");
                }
            }
        }
    }

    /// No window reaches further at the client than the backend's did with the same acknowledgment, by more than
    /// what keeps an open one open; and none is closed that was open.
    pub fn check_windows(&self) -> Result<()> {
        let scale = |segments: &[(bool, Segment)], by_client: bool| -> Result<u8> {
            let syn = segments.iter().find(|(by, s)| *by == by_client && s.flags & flag::SYN != 0);
            let (_, syn) = syn.context("no SYN")?;
            Ok(syn.option(3).map_or(0, |value| value[0].min(14)))
        };
        let shift = |segments: &[(bool, Segment)]| -> Result<u8> {
            let both = segments.iter().filter(|(_, s)| s.flags & flag::SYN != 0);
            let all = both.clone().all(|(_, syn)| syn.option(3).is_some());
            if all { scale(segments, false) } else { Ok(0) }
        };
        let (ours, theirs) = (shift(&self.client)?, shift(&self.backend)?);
        let plain = |(by_client, segment): &&(bool, Segment)| {
            !by_client && segment.flags & (flag::SYN | flag::RST) == 0
        };
        let mut offered: HashMap<u32, (u64, u64)> = HashMap::new();
        for (_, segment) in self.backend.iter().filter(plain) {
            let window = u64::from(segment.window) << theirs;
            let (least, most) = offered.entry(segment.ack).or_insert((window, window));
            (*least, *most) = ((*least).min(window), (*most).max(window));
        }
        let mut compared = 0;
        for (_, segment) in self.client.iter().filter(plain) {
            let Some((least, most)) = offered.get(&segment.ack) else { continue };
            let window = u64::from(segment.window) << ours;
            assert!(window <= *most || segment.window == 1, "{window} of {most}");
            assert!(window > 0 || *least == 0, "closed: {segment:?}");
            compared += 1;
        }
        assert!(compared > 5, "only {compared} windows compared");
        Ok(())
    }
}

fn stamps(segment: &Segment) -> Option<(u32, u32)> {
    let value = segment.option(8)?;
    let word = |at: usize| Some(u32::from_be_bytes(value.get(at..at + 4)?.try_into().ok()?));
    Some((word(0)?, word(4)?))
}
