//! Attaching: tcx links from Linux 6.6 on, filters of the clsact qdisc before.

use std::{fs, io};

use anyhow::{Context, Result, anyhow};
use aya::{
    programs::{
        LinkOrder, ProgramError, SchedClassifier, TcAttachType,
        links::{FdLink, Link as _, LinkError, PinnedLink},
        tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcError, TcHandle},
    },
    sys::SyscallError,
    util::KernelVersion,
};

use super::Pins;
use crate::control::Attachment;

/// Which program an interface wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// The side of the world.
    Uplink {
        /// Whether its frames have an Ethernet header.
        ethernet: bool,
    },
    /// The side of a site.
    Tunnel {
        /// Whether its frames have an Ethernet header.
        ethernet: bool,
    },
}

/// A program at its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The interface's index.
    pub index: u32,
    /// Which program.
    pub hook: Hook,
    /// How it is attached.
    pub how: Attachment,
}

/// The first kernel with tcx.
const TCX: KernelVersion = KernelVersion::new(6, 6, 0);
/// What the kernel tells of this process's open descriptors.
const DESCRIPTORS: &str = "/proc/self/fdinfo";
/// Our place among the filters of a clsact qdisc, fixed so that the next daemon finds it.
const PRIORITY: u16 = 1;
const HANDLE: TcHandle = TcHandle::new(0, 0x1e55);

impl Hook {
    /// Every program in the object.
    pub const PROGRAMS: [&str; 4] = ["uplink_eth", "uplink_l3", "tunnel_eth", "tunnel_l3"];

    /// The program for this place.
    #[must_use]
    pub const fn program(self) -> &'static str {
        match self {
            Self::Uplink { ethernet: true } => "uplink_eth",
            Self::Uplink { ethernet: false } => "uplink_l3",
            Self::Tunnel { ethernet: true } => "tunnel_eth",
            Self::Tunnel { ethernet: false } => "tunnel_l3",
        }
    }
}

pub(super) fn attach(
    program: &mut SchedClassifier,
    pins: &Pins,
    interface: &str,
    index: u32,
    hook: Hook,
) -> Result<(Attached, Option<FdLink>)> {
    let kernel = KernelVersion::current().map_err(|error| anyhow!("kernel version: {error}"))?;
    let how = if kernel >= TCX { Attachment::Tcx } else { Attachment::Clsact };
    let link = match how {
        Attachment::Tcx => Some(by_link(program, pins, interface, index)?),
        Attachment::Clsact => {
            by_filter(program, pins, interface)?;
            None
        }
        Attachment::None => None,
    };
    Ok((Attached { index, hook, how }, link))
}

/// Takes the program off an interface, however it was attached.
pub(super) fn detach(pins: &Pins, interface: &str) {
    if pins.link(interface).is_dir() {
        let filter =
            SchedClassifierLink::attached(interface, TcAttachType::Ingress, PRIORITY, HANDLE, None);
        if let Err(error) = filter.map_err(ProgramError::from).and_then(|link| link.detach()) {
            tracing::debug!(%error, interface, "no filter to detach");
        }
    }
    pins.remove_link(interface);
}

/// The pinned link keeps the program attached; its replacement is atomic.
fn by_link(
    program: &mut SchedClassifier,
    pins: &Pins,
    interface: &str,
    index: u32,
) -> Result<FdLink> {
    let path = pins.link(interface);
    if let Some(link) = pinned(&path)? {
        match program.attach_to_link(link) {
            Ok(id) => {
                let link: FdLink = program.take_link(id)?.try_into()?;
                if interface_of(&link)? == Some(index) {
                    return Ok(link);
                }
                // The interface that it was made for has another name now, and this one is new.
                tracing::debug!(interface, "the pinned link is another interface's");
            }
            // The interface that it was made for is gone, though the name may be back.
            Err(error) => {
                tracing::debug!(%error, interface, "the pinned link is of no use any more");
            }
        }
        pins.remove_link(interface);
    }
    // Before there is a link, which a pin that fails would take with it.
    pins.make()?;
    let id = program.attach_with_options(
        interface,
        TcAttachType::Ingress,
        TcAttachOptions::TcxOrder(LinkOrder::first()),
    )?;
    let link: FdLink = program.take_link(id)?.try_into()?;
    let pinned = link.pin(&path);
    Ok(pinned.with_context(|| format!("pin the link at {}", path.display()))?.into())
}

/// Whether nobody has taken the link off its interface (`bpftool link detach`), as far as the kernel says.
pub(super) fn is_attached(link: &FdLink, index: u32) -> bool {
    interface_of(link).is_ok_and(|shown| shown.is_none_or(|shown| shown == index))
}

/// The index of the interface that a link belongs to, as the kernel shows it of an open descriptor. To ask what is
/// attached to an interface would take CAP_SYS_ADMIN.
fn interface_of(link: &FdLink) -> Result<Option<u32>> {
    let id = link.info()?.id().to_string();
    let descriptors = fs::read_dir(DESCRIPTORS).with_context(|| format!("list {DESCRIPTORS}"))?;
    // One that is closed meanwhile cannot be read, and is not ours.
    let shown = descriptors.flatten().filter_map(|entry| fs::read_to_string(entry.path()).ok());
    let ours = shown.into_iter().find(|shown| field(shown, "link_id") == Some(&id));
    Ok(ours.and_then(|shown| field(&shown, "ifindex")?.parse().ok()))
}

fn field<'a>(shown: &'a str, name: &str) -> Option<&'a str> {
    shown.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()))
}

fn pinned(path: &std::path::Path) -> Result<Option<SchedClassifierLink>> {
    match PinnedLink::from_pin(path) {
        Ok(link) => Ok(Some(FdLink::from(link).try_into()?)),
        Err(LinkError::SyscallError(SyscallError { io_error, .. }))
            if io_error.kind() == io::ErrorKind::NotFound =>
        {
            Ok(None)
        }
        Err(error) => Err(error).with_context(|| format!("open {}", path.display())),
    }
}

/// A filter stays until it is removed. An empty directory beside the maps notes where one is.
fn by_filter(program: &mut SchedClassifier, pins: &Pins, interface: &str) -> Result<()> {
    match tc::qdisc_add_clsact(interface) {
        Ok(()) => {}
        // Somebody else's clsact serves as well.
        Err(error) => tracing::debug!(%error, interface, "clsact is there already"),
    }
    let options = NlOptions { priority: PRIORITY, handle: HANDLE, classid: None };
    let attached = program.attach_with_options(
        interface,
        TcAttachType::Ingress,
        TcAttachOptions::Netlink(options),
    );
    let id = match attached {
        Ok(id) => id,
        Err(ProgramError::TcError(TcError::NetlinkError(error))) => {
            tracing::debug!(%error, interface, "replacing the filter of an earlier daemon");
            let old = SchedClassifierLink::attached(
                interface,
                TcAttachType::Ingress,
                PRIORITY,
                HANDLE,
                None,
            )?;
            program.attach_to_link(old)?
        }
        Err(error) => return Err(error.into()),
    };
    // Dropping the link would detach the filter, which must outlive the daemon.
    std::mem::forget(program.take_link(id)?);
    match fs::create_dir(pins.link(interface)) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}
