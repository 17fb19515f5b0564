//! What was seen of a packet after a program had it.

use ingress_common::upcall::{HEADER_LEN, Upcall};
use ingress_common::verdict::{Cookie, DropReason, Traffic};

use crate::golden::frame::ETHERNET;

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The kernel has it, untouched.
    Kernel,
    /// It leaves through a device.
    Sent,
    /// The daemon has it.
    Handed,
    /// It ended here, uncounted: a bare acknowledgment.
    Absorbed,
    /// It ended here for a reason. The daemon may have been asked for an answer.
    Dropped(DropReason),
}

/// A packet in the ring buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What for.
    pub kind: Upcall,
    /// The interface it came by.
    pub ifindex: u32,
    /// Length before the capture.
    pub len: usize,
    /// What was captured.
    pub packet: Vec<u8>,
}

/// Everything that a program did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What became of it.
    pub fate: Fate,
    /// The frame afterwards.
    pub frame: Vec<u8>,
    /// What the daemon got.
    pub records: Vec<Record>,
    /// What became of cookies.
    pub cookies: Vec<Cookie>,
    /// Packets and octets by path.
    pub traffic: Vec<(Traffic, u64, u64)>,
}

impl Seen {
    /// The packet that leaves, without the Ethernet header.
    #[track_caller]
    pub fn sent(&self) -> &[u8] {
        assert_eq!(self.fate, Fate::Sent, "{self:?}");
        &self.frame[ETHERNET..]
    }

    /// The one packet that went to the daemon.
    #[track_caller]
    pub fn handed(&self, kind: Upcall) -> &[u8] {
        let [record] = self.records.as_slice() else { panic!("not one record: {self:?}") };
        assert_eq!((record.kind, record.len), (kind, record.packet.len()), "{self:?}");
        &record.packet
    }
}

/// A record of the ring.
pub fn read_record(record: &[u8]) -> Record {
    let word = |nth: usize| u32::from_ne_bytes(record[4 * nth..4 * nth + 4].try_into().unwrap());
    let captured = word(3) as usize;
    Record {
        kind: Upcall::from_number(word(0)).unwrap(),
        ifindex: word(1),
        len: word(2) as usize,
        packet: record[HEADER_LEN..HEADER_LEN + captured].to_vec(),
    }
}
