//! Cookies for floods that would have to listen for theirs.

use anyhow::Result;
use aya::maps::{Array, Map, MapData};
use ingress_common::cookie;
use ingress_common::maps::{ABI, ClientKey, CookieKeys};
use ingress_common::tcp::{Seq, SynOptions};
use ingress_tests::addresses::VPS4;
use ingress_tests::cleanup;
use ingress_tests::shared::Stage;
use nix::time::{ClockId, clock_gettime};
use std::net::SocketAddrV4;

/// The ISN of every client of a flood.
pub const ISN: u32 = 0x1234_5678;

/// Makes cookies as the programs do.
pub struct Mint(CookieKeys);

impl Mint {
    /// With the keys of a stage's daemon.
    pub fn of(stage: &Stage) -> Result<Self> {
        let pin = cleanup::bpffs(stage.lab.id()).join(format!("v{ABI}")).join("SECRETS");
        let keys: Array<_, CookieKeys> = Map::Array(MapData::from_pin(pin)?).try_into()?;
        Ok(Self(keys.get(&0, 0)?))
    }

    /// What a SYN of the client with [`ISN`] would be answered with.
    pub fn cookie(&self, client: SocketAddrV4) -> u32 {
        let time = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("a clock");
        let now = time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64;
        let (from, to) = (client.port().to_be_bytes(), 443u16.to_be_bytes());
        let key = ClientKey::new(client.ip().octets(), from, VPS4.octets(), to);
        let options = SynOptions { mss: Some(1460), window_scale: Some(7), sack_permitted: true };
        cookie::mint(&self.0, now, &key, Seq(ISN), &options).0
    }
}
