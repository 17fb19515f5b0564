//! What the rules say of a packet from outside that answers nothing.

use super::{EVERYBODY, LISTED_CLIENTS, Settings};

/// The rule set in force, by longest match.
pub trait Rules {
    /// `SOURCES`: whether an address is in a group, and may.
    fn source(&self, group: u32, address: &[u8; 16]) -> Option<bool>;
    /// `TARGETS`: what may be used at an address.
    fn services(&self, address: &[u8; 16]) -> Option<u32>;
    /// `SERVICES`: who may use a port there.
    fn group(&self, services: u32, protocol: u8, port: [u8; 2]) -> Option<u32>;
}

/// A packet from outside, as the rules see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Approach<'a> {
    /// The sender's address.
    pub outside: &'a [u8; 16],
    /// The receiver's address, in a site.
    pub inside: &'a [u8; 16],
    /// The protocol behind the extension headers.
    pub protocol: u8,
    /// The receiver's port; zero where the protocol has none.
    pub port: [u8; 2],
}

/// Whether a packet from outside may pass.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It may.
    Admitted = 0,
    /// Not from this client.
    ClientDenied = 1,
    /// No rule lets it in.
    Closed = 2,
}

impl Judgement {
    /// The judgement that a number stands for; an unknown one lets nothing in.
    #[inline(always)]
    #[must_use]
    pub const fn from_number(number: u32) -> Self {
        match number {
            0 => Self::Admitted,
            1 => Self::ClientDenied,
            _ => Self::Closed,
        }
    }
}

/// Whether the lists of clients let an address connect.
#[inline(always)]
pub fn client_may<R: Rules>(settings: Settings, rules: &R, address: &[u8; 16]) -> bool {
    if !settings.lists_clients() {
        return true;
    }
    match rules.source(LISTED_CLIENTS, address) {
        Some(may) => may,
        None => settings.admits_unlisted(),
    }
}

/// Judges a packet by the lists of clients and by the rules. A client that is denied stays so, whatever rule there is.
#[inline(always)]
pub fn judge<R: Rules>(settings: Settings, rules: &R, approach: &Approach<'_>) -> Judgement {
    let Approach { outside, inside, protocol, port } = *approach;
    if !client_may(settings, rules, outside) {
        return Judgement::ClientDenied;
    }
    if !settings.is_closed() {
        return Judgement::Admitted;
    }
    let Some(services) = rules.services(inside) else { return Judgement::Closed };
    match rules.group(services, protocol, port) {
        Some(EVERYBODY) => Judgement::Admitted,
        Some(group) if rules.source(group, outside) == Some(true) => Judgement::Admitted,
        Some(_) | None => Judgement::Closed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn judgements_go_through_their_numbers() {
        for judgement in [Judgement::Admitted, Judgement::ClientDenied, Judgement::Closed] {
            assert_eq!(Judgement::from_number(judgement as u32), judgement);
        }
        assert_eq!(Judgement::from_number(3), Judgement::Closed);
    }
}
