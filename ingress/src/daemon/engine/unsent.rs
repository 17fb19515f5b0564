//! Backends to which no SYN can be sent: the tunnel is not there, or the kernel says that nothing goes out.
//!
//! Silence costs a client 1.5 s for each server that is tried in vain and 5 s for the last. What cannot be sent is known
//! at once. But a tunnel may be gone for a moment while somebody makes it anew, and a handshake that begins in that
//! moment succeeds, since its SYN is repeated. So a backend counts as unreachable once it has been out of reach for
//! [`FLAP`], however many handshakes have tried it meanwhile: those that begin later need not find out for themselves.

use std::{
    collections::HashMap,
    io,
    net::{Ipv6Addr, SocketAddrV6},
    time::{Duration, Instant},
};

use nix::errno::Errno;

use crate::{
    daemon::shared::Applied,
    handshake::{Backend, ClientTuple},
};

/// Longer than it takes to make a tunnel anew, shorter than the patience with a silent backend.
const FLAP: Duration = Duration::from_secs(3);
/// Between two failures of one outage. SYNs of a handshake are a second apart at most.
const PAUSE: Duration = Duration::from_secs(2);
/// A failure says nothing any more about a backend that nobody has tried for so long.
const FORGOTTEN: Duration = Duration::from_secs(10);

/// Since when nothing goes where.
#[derive(Default)]
pub(super) struct Unsent {
    /// Sites without a tunnel, by number.
    sites: HashMap<u16, Instant>,
    /// Addresses that the kernel sends nothing to: the first failure since the last success, and the last one.
    addresses: HashMap<Ipv6Addr, (Instant, Instant)>,
    /// Handshakes and the backends that count as unreachable for them, until the actions before that are done.
    unreachable: Vec<(ClientTuple, SocketAddrV6)>,
}

impl Unsent {
    /// Looks which tunnels are there; once a beat, so that the first client of a long outage need not wait.
    pub(super) fn look(&mut self, applied: &Applied, now: Instant) {
        let gone = |site: &u16| applied.tunnel_index(*site).is_none();
        self.sites.retain(|site, _| gone(site));
        for site in applied.site_numbers.iter().filter(|site| gone(site)) {
            self.sites.entry(*site).or_insert(now);
        }
        self.addresses.retain(|_, (_, last)| now.duration_since(*last) < FORGOTTEN);
    }

    /// What became of a SYN; none where there was no tunnel to send it into.
    pub(super) fn tried(
        &mut self,
        tuple: ClientTuple,
        backend: &Backend,
        sent: Option<&io::Result<()>>,
        now: Instant,
    ) {
        let unreachable = match sent {
            Some(result) => {
                self.sites.remove(&backend.site);
                self.sent(*backend.address.ip(), result, now)
            }
            None => self.no_tunnel(backend.site, now),
        };
        if unreachable {
            self.unreachable.push((tuple, backend.address));
        }
    }

    /// A handshake and its backend that turned out to be unreachable.
    pub(super) fn next_unreachable(&mut self) -> Option<(ClientTuple, SocketAddrV6)> {
        self.unreachable.pop()
    }

    /// A SYN finds no tunnel to its site. Whether the backend counts as unreachable.
    fn no_tunnel(&mut self, site: u16, now: Instant) -> bool {
        now.duration_since(*self.sites.entry(site).or_insert(now)) >= FLAP
    }

    /// What became of a SYN that was sent. Whether the backend counts as unreachable.
    fn sent(&mut self, to: Ipv6Addr, result: &io::Result<()>, now: Instant) -> bool {
        match result {
            Err(error) if goes_nowhere(error) => {
                let (first, last) = self.addresses.entry(to).or_insert((now, now));
                let earlier = now.duration_since(*last) > PAUSE;
                if earlier && last.duration_since(*first) < FLAP {
                    *first = now;
                }
                *last = now;
                now.duration_since(*first) >= FLAP
            }
            // Any other error loses this one packet.
            Err(_) => false,
            Ok(()) => {
                self.addresses.remove(&to);
                false
            }
        }
    }
}

/// Errors that the next packet would get, too. The last two are WireGuard's: no peer has the address among its
/// AllowedIPs, or nobody knows where that peer is.
fn goes_nowhere(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw),
        Some(
            Errno::ENETDOWN
                | Errno::ENETUNREACH
                | Errno::EHOSTUNREACH
                | Errno::ENODEV
                | Errno::ENXIO
                | Errno::ENOKEY
                | Errno::EDESTADDRREQ
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{Attachment, Interface};

    const SITE: u16 = 7;
    const SERVER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 1, 0, 0, 0x80);

    fn network(index: Option<u32>) -> Applied {
        let attachment = Attachment::None;
        let tunnel = Interface { name: "wg0".to_owned(), index, mtu: None, attachment };
        let sites = crate::config::Config::of_one_home().sites;
        Applied { sites, tunnels: vec![tunnel], site_numbers: vec![SITE], ..Applied::default() }
    }

    fn failed(errno: Errno) -> io::Result<()> {
        Err(errno.into())
    }

    #[test]
    fn a_tunnel_may_be_gone_for_a_moment() {
        let (mut unsent, start) = (Unsent::default(), Instant::now());
        for tenth in 0..30 {
            assert!(!unsent.no_tunnel(SITE, start + FLAP * tenth / 30));
        }
        assert!(unsent.no_tunnel(SITE, start + FLAP));
        unsent.look(&network(Some(4)), start + FLAP);
        assert!(!unsent.no_tunnel(SITE, start + FLAP), "it was there");
    }

    #[test]
    fn an_outage_is_known_before_the_first_client() {
        let (mut unsent, start) = (Unsent::default(), Instant::now());
        for second in 0..=3 {
            unsent.look(&network(None), start + Duration::from_secs(second));
        }
        assert!(unsent.no_tunnel(SITE, start + FLAP));
        assert!(!unsent.no_tunnel(SITE + 1, start + FLAP), "another site");
    }

    #[test]
    fn an_address_that_the_kernel_refuses_for_long_is_unreachable() {
        let (mut unsent, start) = (Unsent::default(), Instant::now());
        let refused = failed(Errno::ENOKEY);
        assert!(!unsent.sent(SERVER, &refused, start));
        assert!(!unsent.sent(SERVER, &failed(Errno::EHOSTUNREACH), start + FLAP / 2));
        assert!(unsent.sent(SERVER, &refused, start + FLAP));
        assert!(!unsent.sent(Ipv6Addr::LOCALHOST, &refused, start + FLAP), "another address");
        // One that went out is another beginning.
        assert!(!unsent.sent(SERVER, &Ok(()), start + FLAP));
        assert!(!unsent.sent(SERVER, &refused, start + FLAP * 2));
    }

    #[test]
    fn two_moments_are_no_outage() {
        let (mut unsent, start) = (Unsent::default(), Instant::now());
        let refused = failed(Errno::ENETDOWN);
        assert!(!unsent.sent(SERVER, &refused, start));
        assert!(!unsent.sent(SERVER, &refused, start + PAUSE * 3));
        assert!(!unsent.sent(SERVER, &refused, start + PAUSE * 4));
        assert!(unsent.sent(SERVER, &refused, start + PAUSE * 3 + FLAP));
        assert!(unsent.sent(SERVER, &refused, start + PAUSE * 5 + FLAP), "it was one by then");
    }

    #[test]
    fn a_full_queue_is_a_lost_packet() {
        let (mut unsent, start) = (Unsent::default(), Instant::now());
        assert!(!unsent.sent(SERVER, &failed(Errno::ENOBUFS), start));
        assert!(!unsent.sent(SERVER, &failed(Errno::EAGAIN), start + FLAP));
        assert!(unsent.addresses.is_empty());
    }

    #[test]
    fn what_nobody_tries_any_more_is_forgotten() {
        let (mut unsent, start) = (Unsent::default(), Instant::now());
        unsent.sent(SERVER, &failed(Errno::ENOKEY), start);
        unsent.look(&network(Some(4)), start + FORGOTTEN);
        assert!(!unsent.sent(SERVER, &failed(Errno::ENOKEY), start + FORGOTTEN));
    }
}
