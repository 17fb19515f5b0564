//! The operator's policy, as the daemon has compiled it into tries. Every look-up names the rule set that it is
//! for, so that a packet never meets half of one set and half of another.

use aya_ebpf::{
    macros::map,
    maps::{Array, LpmTrie, lpm_trie::Key},
};
use ingress_common::policy::{
    self, MAX_SERVICES, MAX_SOURCES, MAX_TARGETS, Place, Rules, Service, Settings, Source, mapped,
};

use crate::packet::now;

#[map]
static POLICY: Array<Settings> = Array::pinned(1, 0);
/// When the rules last changed, in nanoseconds since boot; zero where there were none before.
#[map]
static POLICY_CHANGED: Array<u64> = Array::pinned(1, 0);
#[map]
static TARGETS: LpmTrie<Place, u32> = LpmTrie::pinned(MAX_TARGETS, 0);
#[map]
static SERVICES: LpmTrie<Service, u32> = LpmTrie::pinned(MAX_SERVICES, 0);
#[map]
static SOURCES: LpmTrie<Source, u32> = LpmTrie::pinned(MAX_SOURCES, 0);

/// What is in force. For a packet that may pass because everything may, this is the whole price.
#[inline(always)]
pub fn settings() -> Settings {
    match POLICY.get_ptr(0) {
        // SAFETY: the daemon writes the word in one piece, and it is read in one.
        Some(settings) => unsafe { core::ptr::read_volatile(settings) },
        None => Settings::default(),
    }
}

/// Whether an IPv4 client may connect.
#[inline(always)]
pub fn client_may(client: [u8; 4]) -> bool {
    ipv4_may(u32::from_be_bytes(client)) != 0
}

/// Not inlined: what it leaves on the stack would have everything behind it verified twice.
#[inline(never)]
fn ipv4_may(client: u32) -> u32 {
    let (settings, client) = (settings(), mapped(client.to_be_bytes()));
    u32::from(policy::client_may(settings, &InForce(settings.set()), &client))
}

/// When the rules last changed, and what time it is.
#[inline(always)]
pub fn changed() -> (u64, u64) {
    (POLICY_CHANGED.get(0).copied().unwrap_or(0), now())
}

/// The rule set with this number.
pub struct InForce(pub u32);

impl Rules for InForce {
    #[inline(always)]
    fn source(&self, group: u32, address: &[u8; 16]) -> Option<bool> {
        match source(self.0, group, address) {
            ABSENT => None,
            may => Some(may != 0),
        }
    }

    #[inline(always)]
    fn services(&self, address: &[u8; 16]) -> Option<u32> {
        let key = Place { set: self.0.to_be_bytes(), address: *address };
        TARGETS.get(Key::new(Place::BITS, key)).copied()
    }

    #[inline(always)]
    fn group(&self, services: u32, protocol: u8, port: [u8; 2]) -> Option<u32> {
        let (set, services) = (self.0.to_be_bytes(), services.to_be_bytes());
        let key = Service { set, services, protocol, port };
        SERVICES.get(Key::new(Service::BITS, key)).copied()
    }
}

const ABSENT: u32 = 2;

/// Not inlined: several ways lead here, and the key needs stack.
#[inline(never)]
fn source(set: u32, group: u32, address: &[u8; 16]) -> u32 {
    let key = Source { set: set.to_be_bytes(), group: group.to_be_bytes(), address: *address };
    match SOURCES.get(Key::new(Source::BITS, key)) {
        Some(may) => *may,
        None => ABSENT,
    }
}
