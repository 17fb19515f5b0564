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

/// Where a packet from outside wants to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Approach<'a> {
    /// From whom.
    pub outside: &'a [u8; 16],
    /// To whom.
    pub inside: &'a [u8; 16],
    /// By which protocol.
    pub protocol: u8,
    /// To which port; zero where there is none.
    pub port: [u8; 2],
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It may.
    Admitted,
    /// Not from there.
    ClientDenied,
    /// No rule lets it in.
    Closed,
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

/// Judges it. A client that is denied stays so, whatever rule there is.
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
