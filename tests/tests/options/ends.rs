//! The two ends of a connection with their TCP options switched as a test wants them.

use anyhow::{Context, Result};
use ingress_tests::netns::Namespace;
use ingress_tests::shared::Stage;
use ingress_tests::topology::Lab;
use std::path::Path;

/// What an end's TCP does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    pub timestamps: bool,
    pub sack: bool,
    pub scale: Option<u8>,
    pub mss: Option<u16>,
}

/// A Linux as it comes.
pub const USUAL: Ends = Ends { timestamps: true, sack: true, scale: Some(7), mss: None };

const SCALES: [Option<u8>; 4] = [Some(7), Some(0), Some(14), None];
const MSSES: [Option<u16>; 2] = [None, Some(536)];

/// How many pairs [`pair`] has.
pub const PAIRS: usize = 16;

/// Client and backend: among all pairs, each combination of both ends' timestamps and SACK occurs, and so does
/// each combination of both ends' scales.
pub fn pair(nth: usize) -> [Ends; 2] {
    let (scales, sizes) = ((nth * 7 + 3) % 16, (nth * 3 + nth / 4) % 4);
    [0, 1].map(|end| Ends {
        timestamps: nth >> end & 1 == 0,
        sack: nth >> (2 + end) & 1 == 0,
        scale: SCALES[scales >> (2 * end) & 3],
        mss: MSSES[sizes >> end & 1],
    })
}

/// Client and web server, tuned until this is dropped.
pub struct Tuned<'a>(&'a Lab);

impl<'a> Tuned<'a> {
    pub fn new(lab: &'a Lab, [client, backend]: [Ends; 2]) -> Result<Self> {
        let tuned = Self(lab);
        tuned.set([client, backend]).with_context(|| format!("{client:?}, {backend:?}"))?;
        Ok(tuned)
    }

    fn set(&self, [client, backend]: [Ends; 2]) -> Result<()> {
        set(&self.0.client, client)?;
        set(&self.0.www, backend)?;
        let [client, backend] = [client, backend].map(metrics);
        self.0.client.ip(&format!("route replace default via 192.0.2.1{client}\n"))?;
        self.0.www.ip(&format!("route replace ::/0 via 2001:db8:1:0:1::1{backend}\n"))
    }
}

impl Drop for Tuned<'_> {
    fn drop(&mut self) {
        let _ = self.set([USUAL, USUAL]);
    }
}

fn set(machine: &Namespace, ends: Ends) -> Result<()> {
    let switch = |on: bool| if on { "1" } else { "0" };
    machine.sysctl("ipv4/tcp_timestamps", switch(ends.timestamps))?;
    machine.sysctl("ipv4/tcp_sack", switch(ends.sack))?;
    machine.sysctl("ipv4/tcp_window_scaling", switch(ends.scale.is_some()))?;
    // Linux chooses the scale by the largest buffer that it may ever use.
    let most = if ends.scale == Some(14) { 1 << 29 } else { 6 << 20 };
    machine.sysctl("ipv4/tcp_rmem", &format!("4096 131072 {most}"))
}

/// Bounds the time after which either end sends again: without timestamps, retransmissions measure nothing, and on a
/// bad line that time doubles to minutes, over plain IPv6 as well. Linux 6.15 and later can bound it.
pub fn send_again_within_a_second(stage: &mut Stage) -> Result<()> {
    let longest = "ipv4/tcp_rto_max_ms";
    if Path::new("/proc/sys/net").join(longest).exists() {
        stage.lab.client.sysctl(longest, "1000")?;
        stage.lab.www.sysctl(longest, "1000")?;
        // Connections have it from the listening socket, which has it from when it was made.
        stage.restart_web()?;
    }
    Ok(())
}

/// Of a route: the MSS, and the window, which bounds the scale from above.
fn metrics(ends: Ends) -> String {
    let window = if ends.scale == Some(0) { " window 60000" } else { "" };
    let advmss = ends.mss.map(|mss| format!(" advmss {mss}")).unwrap_or_default();
    window.to_owned() + &advmss
}
