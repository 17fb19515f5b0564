//! Ports as a trie has them.

use ingress_common::policy::Service;

use crate::config::AllowedService;

/// A protocol and a block of its ports; or every port, or every protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ports {
    /// Bits that count: of the protocol, then of the port.
    bits: u8,
    protocol: u8,
    port: u16,
}

const PROTOCOL: u8 = 8;
const ALL: u8 = PROTOCOL + 16;

impl Ports {
    /// The blocks that make up a service: a range is a few of them.
    pub(super) fn of(service: &AllowedService) -> Vec<Self> {
        let Some(protocol) = service.protocol else {
            return vec![Self { bits: 0, protocol: 0, port: 0 }];
        };
        let (mut from, to) = (u32::from(*service.ports.start()), u32::from(*service.ports.end()));
        let mut blocks = Vec::new();
        while from <= to {
            // The largest block that begins here and does not reach beyond the end.
            let mut free = from.trailing_zeros().min(16);
            while from + (1 << free) - 1 > to {
                free -= 1;
            }
            let (Ok(port), Ok(free)) = (u16::try_from(from), u8::try_from(free)) else { break };
            blocks.push(Self { bits: ALL - free, protocol, port });
            from += 1 << free;
        }
        blocks
    }

    /// This block and all around it.
    pub(super) fn around(self) -> impl Iterator<Item = Self> {
        std::iter::once(0).chain(PROTOCOL..=self.bits).map(move |bits| {
            let kept = u32::from(bits.saturating_sub(PROTOCOL));
            let mask = u16::MAX.checked_shl(16 - kept).unwrap_or(0);
            let protocol = if bits == 0 { 0 } else { self.protocol };
            Self { bits, protocol, port: self.port & mask }
        })
    }

    /// The key and how many bits of it count, in a rule set.
    pub(crate) fn key(self, set: u32, services: u32) -> (Service, u32) {
        let key = Service {
            set: set.to_be_bytes(),
            services: services.to_be_bytes(),
            protocol: self.protocol,
            port: self.port.to_be_bytes(),
        };
        (key, Service::HEAD + u32::from(self.bits))
    }

    /// What a key says, the other way round.
    pub(crate) fn read(key: &Service, bits: u32) -> Self {
        let bits = u8::try_from(bits.saturating_sub(Service::HEAD)).unwrap_or(ALL);
        Self { bits, protocol: key.protocol, port: u16::from_be_bytes(key.port) }
    }

    /// Whether it has that port.
    #[cfg(test)]
    pub(super) fn covers(self, protocol: u8, port: u16) -> bool {
        Self { bits: ALL, protocol, port }.around().any(|around| around == self)
    }

    /// How much of it counts.
    #[cfg(test)]
    pub(super) fn bits(self) -> u8 {
        self.bits
    }
}
