//! The two halves of a flow, and how each is found.

use crate::{
    ip::TCP,
    tcp::{Flags, Seq},
};

/// A client's side of a flow: how the uplink finds it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClientKey {
    /// The client's IPv4 address.
    pub client: [u8; 4],
    /// The address of ours that it connected to.
    pub listen: [u8; 4],
    /// The client's port.
    pub client_port: [u8; 2],
    /// The listed port.
    pub listen_port: [u8; 2],
    /// [`TCP`].
    pub protocol: u8,
    reserved: [u8; 3],
}

impl ClientKey {
    /// The key of a TCP flow.
    #[inline(always)]
    #[must_use]
    pub const fn new(
        client: [u8; 4],
        client_port: [u8; 2],
        listen: [u8; 4],
        listen_port: [u8; 2],
    ) -> Self {
        Self { client, listen, client_port, listen_port, protocol: TCP, reserved: [0; 3] }
    }
}

/// A backend's side of a flow: how the tunnel finds it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct BackendKey {
    /// The backend's address.
    pub backend: [u8; 16],
    /// The client as the backend knows it (RFC 6052).
    pub source: [u8; 16],
    /// The backend's port, which is the listed one.
    pub backend_port: [u8; 2],
    /// The client's port.
    pub client_port: [u8; 2],
    /// [`TCP`].
    pub protocol: u8,
    reserved: [u8; 3],
}

impl BackendKey {
    /// The key of a TCP flow.
    #[inline(always)]
    #[must_use]
    pub const fn new(
        backend: [u8; 16],
        backend_port: [u8; 2],
        source: [u8; 16],
        client_port: [u8; 2],
    ) -> Self {
        Self { backend, source, backend_port, client_port, protocol: TCP, reserved: [0; 3] }
    }
}

/// In `closing` of either half: this side has sent FIN.
pub const CLOSING_FIN: u8 = 1;
/// In `closing` of either half: this side has sent RST.
pub const CLOSING_RST: u8 = 2;

/// The closing marks of a half after another segment with these flags. One without RST clears the mark of an earlier
/// RST: that was forged, or not accepted (RFC 7857 §2.2).
#[inline(always)]
#[must_use]
pub const fn closing_after(before: u8, flags: Flags) -> u8 {
    let mut closing = before;
    if flags.contains(Flags::FIN) {
        closing |= CLOSING_FIN;
    }
    if flags.contains(Flags::RST) { closing | CLOSING_RST } else { closing & !CLOSING_RST }
}

/// Client → backend. Written once by the daemon; the programs touch counters, times and marks only.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ToBackend {
    /// Packets forwarded; a GRO batch counts its segments.
    pub packets: u64,
    /// Octets forwarded, IPv4 headers included.
    pub bytes: u64,
    /// When the last packet came, in nanoseconds since boot.
    pub last_seen: u64,
    /// When the flow was installed, in nanoseconds since boot.
    pub opened: u64,
    /// The backend's address.
    pub backend: [u8; 16],
    /// The client as the backend knows it.
    pub source: [u8; 16],
    /// Cookie less the backend's ISN: subtracted from acknowledgments and SACK edges.
    pub delta: [u8; 4],
    /// The cookie of a later SYN on this tuple; zero where there was none.
    pub reopened: [u8; 4],
    /// Index of the name in `HOSTS`.
    pub host: u32,
    /// Change of the TCP checksum by the addresses, folded, in memory order.
    pub address_change: u16,
    /// Index in `SITES`.
    pub site: u16,
    /// How far the client's window field is expanded: its scale, where the backend refused scaling.
    pub expand: u8,
    /// [`CLOSING_FIN`], [`CLOSING_RST`].
    pub closing: u8,
    /// One where both ends have timestamps.
    pub timestamps: u8,
    /// The MSS that the backend announced, as [`ToBackend::encode_mss`] writes it; zero where it takes more than
    /// Ethernet carries.
    pub announced_mss: u8,
    /// The TSval that we showed the client less the backend's: subtracted from TSecr.
    pub ts_delta: [u8; 4],
}

/// The MSS that every backend is taken to have: what a peer without the option means over IPv4.
pub const LEAST_MSS: u16 = crate::tcp::DEFAULT_MSS;
/// The octets of one step of [`ToBackend::announced_mss`].
const MSS_STEP: u16 = 4;

impl ToBackend {
    /// The value of `announced_mss` for a backend that announced this MSS, in octets.
    #[must_use]
    pub const fn encode_mss(announced: u16) -> u8 {
        let steps = announced.saturating_sub(LEAST_MSS).div_ceil(MSS_STEP);
        if steps < u8::MAX as u16 { steps as u8 + 1 } else { 0 }
    }

    /// The MSS that the backend announced, at most three octets more.
    #[inline(always)]
    #[must_use]
    pub const fn mss(&self) -> Option<u16> {
        match self.announced_mss {
            0 => None,
            code => Some(LEAST_MSS + (code as u16 - 1) * MSS_STEP),
        }
    }

    /// Whether a segment of the client belongs to a later connection on this tuple: its SYN, or the acknowledgment
    /// (`ack`, as it stands in the header) of the cookie that a later SYN was answered with.
    #[inline(always)]
    #[must_use]
    pub const fn is_opened_anew_by(&self, flags: Flags, ack: [u8; 4]) -> bool {
        if flags.contains(Flags::SYN) {
            return true;
        }
        let reopened = u32::from_be_bytes(self.reopened);
        reopened != 0 && Seq(u32::from_be_bytes(ack)).minus(1).0 == reopened
    }
}

/// How far beyond [`ToClient::watched`] an acknowledgment is believed, in octets: no client has sent that much by then,
/// and one of an older connection on the same tuple may lie anywhere.
pub const WATCH_RANGE: u32 = 1 << 24;

/// Backend → client. Written once by the daemon, as [`ToBackend`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ToClient {
    /// Packets forwarded; a GRO batch counts its segments.
    pub packets: u64,
    /// Octets forwarded, counted as the client receives them: IPv4 headers included.
    pub bytes: u64,
    /// When the last packet came, in nanoseconds since boot.
    pub last_seen: u64,
    /// The client's address.
    pub client: [u8; 4],
    /// The address of ours that the client connected to.
    pub listen: [u8; 4],
    /// Cookie less the backend's ISN: added to sequence numbers.
    pub delta: [u8; 4],
    /// While `watching`: the daemon wants to know when an acknowledgment covers this number.
    pub watched: [u8; 4],
    /// Change of the TCP checksum by the addresses, folded, in memory order.
    pub address_change: u16,
    /// The backend's window scale.
    pub backend_scale: u8,
    /// The scale that the client was promised.
    pub promised_scale: u8,
    /// [`CLOSING_FIN`], [`CLOSING_RST`].
    pub closing: u8,
    /// One while `watched` is waited for.
    pub watching: u8,
    /// One where both ends have timestamps.
    pub timestamps: u8,
    /// Zero.
    pub reserved: u8,
    /// The TSval that we showed the client less the backend's: added to TSval.
    pub ts_delta: [u8; 4],
    /// Zero.
    pub reserved_too: [u8; 4],
}

impl ToClient {
    /// Whether an acknowledgment (as it stands in the header) covers what is [`watched`](Self::watched). One far ahead
    /// is none of this connection, but of an older one on the same tuple.
    #[inline(always)]
    #[must_use]
    pub const fn is_watched_covered_by(&self, ack: [u8; 4]) -> bool {
        let ahead = Seq(u32::from_be_bytes(ack)).since(Seq(u32::from_be_bytes(self.watched)));
        ahead >= 0 && ahead < WATCH_RANGE as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 7857 §2.2: a FIN stays, a reset only until its side says something else.
    #[test]
    fn closing_marks_follow_the_last_segment() {
        let after = |before, flags| closing_after(before, flags);
        assert_eq!(after(0, Flags::ACK), 0);
        assert_eq!(after(0, Flags::FIN.with(Flags::ACK)), CLOSING_FIN);
        assert_eq!(after(CLOSING_FIN, Flags::ACK), CLOSING_FIN);
        assert_eq!(after(0, Flags::RST), CLOSING_RST);
        assert_eq!(after(CLOSING_RST, Flags::ACK), 0);
        assert_eq!(after(CLOSING_FIN, Flags::RST), CLOSING_FIN | CLOSING_RST);
        assert_eq!(after(CLOSING_FIN | CLOSING_RST, Flags::ACK), CLOSING_FIN);
        assert_eq!(after(CLOSING_RST, Flags::FIN), CLOSING_FIN);
    }

    proptest! {
        #[test]
        fn a_syn_or_its_cookie_opens_anew(cookie in 1u32.., ack: u32) {
            let flow = ToBackend { reopened: cookie.to_be_bytes(), ..ToBackend::default() };
            let of_cookie = cookie.wrapping_add(1);
            prop_assert!(flow.is_opened_anew_by(Flags::SYN, ack.to_be_bytes()));
            prop_assert!(flow.is_opened_anew_by(Flags::ACK, of_cookie.to_be_bytes()));
            prop_assert_eq!(flow.is_opened_anew_by(Flags::ACK, ack.to_be_bytes()), ack == of_cookie);
            let untouched = ToBackend::default();
            prop_assert!(untouched.is_opened_anew_by(Flags::SYN, ack.to_be_bytes()));
            prop_assert!(!untouched.is_opened_anew_by(Flags::ACK, ack.to_be_bytes()));
        }

        #[test]
        fn watched_is_covered_from_itself_on_and_not_far_ahead(watched: u32, ahead: u32) {
            let half = ToClient { watched: watched.to_be_bytes(), ..ToClient::default() };
            let covered = |ahead| half.is_watched_covered_by(watched.wrapping_add(ahead).to_be_bytes());
            prop_assert_eq!(covered(ahead), ahead < WATCH_RANGE);
            prop_assert!(covered(0) && covered(WATCH_RANGE - 1));
            prop_assert!(!covered(WATCH_RANGE) && !covered(u32::MAX));
        }
    }

    #[test]
    fn without_a_later_syn_no_acknowledgment_opens_anew() {
        assert!(!ToBackend::default().is_opened_anew_by(Flags::ACK, 1u32.to_be_bytes()));
    }

    #[test]
    fn an_announced_mss_fits_an_octet() {
        for announced in 0..=u16::MAX {
            let announced_mss = ToBackend::encode_mss(announced);
            let half = ToBackend { announced_mss, ..ToBackend::default() };
            match half.mss() {
                Some(mss) => assert!(mss >= announced && mss - announced.max(LEAST_MSS) < 4),
                None => assert!(announced > 1500, "{announced}"),
            }
        }
    }
}
