//! A TUN or TAP device: a network device whose other end is a file of ours, with the checksum and
//! segmentation offloads that a virtual machine's device has.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::thread;
use std::time::Duration;

use nix::net::if_::if_nametoindex;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sched::{CloneFlags, unshare};

use crate::frame::ICMPV6;

/// Length of `struct virtio_net_hdr`, which stands before every packet.
const OFFLOAD: usize = 10;
/// Its flag: the checksum is yet to be filled in.
const NEEDS_CHECKSUM: u8 = 1;
/// What the other end of a device with Ethernet is called on the link.
pub const NEIGHBOUR: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// What this end is.
pub const OURS: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// What is on its way arrives sooner.
const PATIENCE: Duration = Duration::from_secs(2);
/// What has not arrived by then does not come.
const SILENCE: Duration = Duration::from_millis(60);

/// What the sender has left to the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offload {
    /// Nothing.
    None,
    /// The TCP checksum: `CHECKSUM_PARTIAL`.
    Checksum,
    /// That, and cutting up the payload into pieces of so many octets.
    Segments(u16),
}

/// One device.
pub struct Device {
    file: File,
    pub name: &'static str,
    pub ethernet: bool,
    pub index: u32,
}

impl Device {
    /// Makes one in the network namespace of this thread. It is gone when this is dropped.
    pub fn create(name: &'static str, ethernet: bool) -> Self {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/net/tun")
            .unwrap();
        // SAFETY: an `ifreq` is valid when all zero.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (place, octet) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *place = octet.cast_signed();
        }
        let kind = if ethernet { libc::IFF_TAP } else { libc::IFF_TUN };
        request.ifr_ifru.ifru_flags =
            i16::try_from(kind | libc::IFF_NO_PI | libc::IFF_VNET_HDR).unwrap();
        // SAFETY: the request is an `ifreq` that outlives the call.
        let made = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw const request) };
        assert_eq!(made, 0, "{name}: {}", std::io::Error::last_os_error());
        let index = if_nametoindex(name).unwrap();
        Self { file, name, ethernet, index }
    }

    /// Sends a packet into the kernel as if it came in by the device.
    pub fn send(&self, packet: &[u8], offload: Offload) {
        let link = self.link_header(packet);
        let is_v6 = packet[0] >> 4 == 6;
        let ip = link.len() + if is_v6 { 40 } else { 20 };
        let (flags, kind, size) = match offload {
            Offload::None => (0, 0, 0),
            Offload::Checksum => (NEEDS_CHECKSUM, 0, 0),
            Offload::Segments(size) => (NEEDS_CHECKSUM, if is_v6 { 4 } else { 1 }, size),
        };
        let headers = match offload {
            Offload::None | Offload::Checksum => 0,
            Offload::Segments(_) => ip + usize::from(packet[ip - link.len() + 12] >> 4) * 4,
        };
        self.send_with(packet, [flags, kind], [headers as u16, size, ip as u16, 16]);
    }

    /// Sends it with an 802.1Q tag; only where there is Ethernet.
    pub fn send_tagged(&self, packet: &[u8], tag: [u8; 2]) {
        let (addresses, kind) = (self.link_header(packet), ether_type(packet));
        let tagged = [&[0; OFFLOAD][..], &addresses[..12], &[0x81, 0], &tag, kind, packet].concat();
        let mut file = &self.file;
        assert_eq!(file.write(&tagged).unwrap(), tagged.len());
    }

    /// As [`Self::send`], with the numbers of the offload header as they are.
    pub fn send_with(&self, packet: &[u8], kinds: [u8; 2], numbers: [u16; 4]) {
        let mut whole = kinds.to_vec();
        whole.extend(numbers.iter().flat_map(|number| number.to_ne_bytes()));
        whole.extend(self.link_header(packet));
        whole.extend(packet);
        let mut file = &self.file;
        assert_eq!(file.write(&whole).unwrap(), whole.len());
    }

    /// The next packet that leaves by the device, checksum and all; the noise of IPv6 is left out.
    #[track_caller]
    pub fn receive(&self) -> Vec<u8> {
        self.receive_for(NEIGHBOUR)
    }

    /// The same, to another machine on the link.
    #[track_caller]
    pub fn receive_for(&self, neighbour: [u8; 6]) -> Vec<u8> {
        let packet = self.next(PATIENCE, neighbour);
        packet.unwrap_or_else(|| panic!("nothing leaves by {}", self.name))
    }

    /// Makes sure that nothing leaves.
    #[track_caller]
    pub fn is_silent(&self) {
        let packet = self.next(SILENCE, NEIGHBOUR);
        assert!(packet.is_none(), "{} sends {packet:x?}", self.name);
    }

    fn next(&self, patience: Duration, neighbour: [u8; 6]) -> Option<Vec<u8>> {
        loop {
            let mut wait = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
            if poll(&mut wait, u16::try_from(patience.as_millis()).unwrap()).unwrap() == 0 {
                return None;
            }
            let mut octets = vec![0; 70_000];
            let mut file = &self.file;
            match file.read(&mut octets) {
                Ok(len) => octets.truncate(len),
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(error) => panic!("{}: {error}", self.name),
            }
            let packet = self.read(&octets, neighbour);
            if !is_noise(&packet) {
                return Some(packet);
            }
        }
    }

    fn read(&self, octets: &[u8], neighbour: [u8; 6]) -> Vec<u8> {
        let (offload, frame) = octets.split_at(OFFLOAD);
        assert_eq!(offload[0] & NEEDS_CHECKSUM, 0, "this end fills nothing in");
        assert_eq!(offload[1], 0, "nor does it cut");
        if !self.ethernet {
            return frame.to_vec();
        }
        let packet = frame[14..].to_vec();
        if !is_noise(&packet) {
            let expected = [&neighbour[..], &OURS, ether_type(&packet)].concat();
            assert_eq!(frame[..14], expected, "Ethernet header");
        }
        packet
    }

    fn link_header(&self, packet: &[u8]) -> Vec<u8> {
        match self.ethernet {
            true => [&OURS[..], &NEIGHBOUR, ether_type(packet)].concat(),
            false => Vec::new(),
        }
    }
}

fn ether_type(packet: &[u8]) -> &'static [u8] {
    if packet[0] >> 4 == 6 { &[0x86, 0xdd] } else { &[8, 0] }
}

/// Runs a test in a network namespace that goes with its thread. `false` where it panics.
pub fn alone(test: impl FnOnce() + Send) -> bool {
    let ran = thread::scope(|scope| {
        let alone = || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            test();
        };
        scope.spawn(alone).join()
    });
    ran.is_ok()
}

/// Neighbour discovery and multicast reports that the kernel sends of its own accord.
fn is_noise(packet: &[u8]) -> bool {
    let icmp = match packet {
        [first, ..] if first >> 4 != 6 => return first >> 4 != 4,
        [..] if packet.get(6) == Some(&ICMPV6) => packet.get(40),
        [..] if packet.get(6) == Some(&0) => packet.get(48),
        [..] => None,
    };
    icmp.is_some_and(|kind| (130..=143).contains(kind))
}
