//! Loads, attaches and pins the programs; typed access to their maps.
//!
//! Everything lives in a directory of the bpffs, below the number of the map layout:
//! `<bpffs>/v<ABI>/<MAP>` and `<bpffs>/v<ABI>/links/<interface>`. Whoever opens it again finds the flows.

mod attach;
mod claim;
mod pins;
mod shield;
mod tables;

use std::{collections::HashMap, fs, path::Path};

use anyhow::{Context, Result};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Map, MapData},
    programs::{SchedClassifier, links::FdLink},
};

pub use attach::{Attached, Hook};
pub use claim::Claim;
pub use pins::Pins;
pub use tables::{
    Counters, Debts, Devices, FlowMaps, HandshakeTables, Heartbeat, Listeners, Marks,
    NetworkTables, NextHops, PolicyTables, Routes, Routes4, Secrets, SiteNames, Tables, host,
    host_name, remembered,
};

/// The object that ingress/build.rs made.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/ingress-ebpf.o"));

/// The loaded programs.
pub struct Dataplane {
    ebpf: Ebpf,
    pins: Pins,
    attached: HashMap<String, Attached>,
    shield: Option<shield::Shield>,
    /// Why there can be no shield.
    shield_refusal: Option<String>,
    /// What is pinned, held once more: somebody may tidy up the bpffs.
    maps: Vec<(String, MapData)>,
    links: HashMap<String, FdLink>,
}

impl Dataplane {
    /// Loads the programs, over the pinned maps where there are any.
    ///
    /// # Errors
    /// Where bpffs is missing, where maps of another layout are pinned, or where the kernel refuses.
    pub fn open(bpffs: &Path, max_flows: u32) -> Result<(Self, Tables)> {
        let pins = Pins::open(bpffs)?;
        let mut ebpf = EbpfLoader::new()
            .default_map_pin_directory(pins.maps())
            .map_max_entries("FLOWS", max_flows)
            .map_max_entries("RETURNS", max_flows)
            .load(OBJECT)
            .context(
                "the kernel did not take the maps; `ingressctl doctor` checks what they need",
            )?;
        for name in Hook::PROGRAMS {
            program(&mut ebpf, name)?
                .load()
                .with_context(|| format!("the kernel's verifier refused the program {name}"))?;
        }
        let shield_refusal = shield::load(&mut ebpf)?;
        let maps = hold(&ebpf, &pins)?;
        let tables = Tables::take(&mut ebpf)?;
        let (attached, links) = (HashMap::new(), HashMap::new());
        let shield = None;
        Ok((Self { ebpf, pins, attached, shield, shield_refusal, maps, links }, tables))
    }

    /// Attaches a program to an interface, or replaces the one that an earlier daemon left there, without
    /// a moment in between.
    ///
    /// # Errors
    /// Where the kernel refuses; the interface may have vanished.
    pub fn attach(&mut self, interface: &str, index: u32, hook: Hook) -> Result<Attached> {
        if let Some(attached) = self.attached.get(interface)
            && attached.index == index
            && attached.hook == hook
            && match self.links.get(interface) {
                Some(link) => attach::is_attached(link, index),
                None => self.pins.link(interface).exists(),
            }
        {
            return Ok(*attached);
        }
        self.links.remove(interface);
        let program = program(&mut self.ebpf, hook.program())?;
        let (attached, link) = attach::attach(program, &self.pins, interface, index, hook)
            .with_context(|| format!("attach {} to {interface}", hook.program()))?;
        self.attached.insert(interface.to_owned(), attached);
        if let Some(link) = link {
            self.links.insert(interface.to_owned(), link);
        }
        Ok(attached)
    }

    /// Pins again what somebody has removed from the bpffs: the same maps and links, which were in use all
    /// the while.
    ///
    /// # Errors
    /// Where the bpffs is gone, or does not take them.
    pub fn keep_pinned(&mut self) -> Result<()> {
        let missing = |path: &Path| !path.exists();
        // A link that finds no directory to be pinned in is gone, and its program with it.
        self.pins.make()?;
        if self.maps.iter().any(|(name, _)| missing(&self.pins.maps().join(name))) {
            tracing::warn!(directory = %self.pins.maps().display(), "pins were removed; making them again");
            for (name, map) in &self.maps {
                let path = self.pins.maps().join(name);
                if missing(&path) {
                    map.pin(&path).with_context(|| format!("pin {}", path.display()))?;
                }
            }
        }
        let mut result = Ok(());
        for (interface, link) in std::mem::take(&mut self.links) {
            let path = self.pins.link(&interface);
            if !missing(&path) {
                self.links.insert(interface, link);
                continue;
            }
            // A pin that fails takes its link with it, and the next look attaches anew. The others stay.
            match link.pin(&path) {
                Ok(pinned) => drop(self.links.insert(interface, pinned.into())),
                Err(error) => {
                    result = Err(error).with_context(|| format!("pin {}", path.display()));
                }
            }
        }
        result
    }

    /// Forgets an interface that is gone; its links went with it.
    pub fn forget(&mut self, interface: &str) {
        self.links.remove(interface);
        if self.attached.remove(interface).is_some() {
            self.pins.remove_link(interface);
        }
    }

    /// Takes the program off an interface that the configuration no longer names.
    pub fn detach(&mut self, interface: &str) {
        self.links.remove(interface);
        self.attached.remove(interface);
        attach::detach(&self.pins, interface);
    }

    /// Takes out what the programs say of each packet.
    ///
    /// # Errors
    /// Where the kernel does not give the map to us.
    #[cfg(feature = "log-packets")]
    pub fn packet_log(&mut self) -> Result<aya_log::EbpfLogger<&'static dyn log::Log>> {
        aya_log::EbpfLogger::init(&mut self.ebpf).context("read what the programs say")
    }

    /// Where the maps are pinned.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.pins.maps()
    }

    /// Interfaces that carry a program of ours, from this daemon or an earlier one.
    #[must_use]
    pub fn interfaces(&self) -> Vec<String> {
        self.pins.links()
    }

    /// A loaded program by name, for tests and measurements.
    ///
    /// # Errors
    /// Where there is none of that name.
    pub fn program(&mut self, name: &str) -> Result<&mut SchedClassifier> {
        program(&mut self.ebpf, name)
    }
}

/// Detaches every program and removes every pin below `bpffs`, of any layout.
///
/// # Errors
/// Where something cannot be removed.
pub fn detach_all(bpffs: &Path) -> Result<usize> {
    let mut links = 0;
    for pins in Pins::all(bpffs)? {
        for interface in pins.links() {
            attach::detach(&pins, &interface);
            links += 1;
        }
        pins.remove()?;
    }
    // It stays where somebody else has pins in it, or where it is the bpffs itself.
    let _ = fs::remove_dir(bpffs);
    Ok(links)
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut SchedClassifier> {
    let program =
        ebpf.program_mut(name).with_context(|| format!("no program {name} in the object"))?;
    Ok(program.try_into()?)
}

/// Opens every pinned map a second time.
fn hold(ebpf: &Ebpf, pins: &Pins) -> Result<Vec<(String, MapData)>> {
    let names = ebpf.maps().map(|(name, _)| (name, pins.maps().join(name)));
    let pinned = names.filter(|(_, path)| path.exists());
    pinned
        .map(|(name, path)| {
            let map = MapData::from_pin(&path);
            Ok((name.to_owned(), map.with_context(|| format!("open {}", path.display()))?))
        })
        .collect()
}

fn take(ebpf: &mut Ebpf, name: &str) -> Result<Map> {
    ebpf.take_map(name).with_context(|| format!("no map {name} in the object"))
}
