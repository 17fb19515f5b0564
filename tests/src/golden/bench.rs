//! The programs on a bench: one packet in, everything that became of it out.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use aya::maps::{Array, HashMap, Map, MapData, RingBuf};
use ingress::config::Policy;
use ingress::dataplane::{
    Counters, Dataplane, Devices, FlowMaps, Hook, Listeners, Marks, PolicyTables, Routes, Secrets,
};
use ingress::flows::FlowTable;
use ingress::handshake::Splice;
use ingress::policy::compile;
use ingress_common::maps::{Bucket, ToBackend, ToClient};
use ingress_common::policy::{Connection, ConnectionKey};
use ingress_common::verdict::{Cookie, DropReason, Traffic};
use nix::time::{ClockId, clock_gettime};

use crate::bpf::baseline;
use crate::bpf::test_run::{Ran, Skb, test_run, test_run_xdp};
use crate::golden::frame::{Tcp, ethernet, unpadded};
use crate::golden::pins::Pins;
use crate::golden::place;
pub use crate::golden::seen::{Fate, Record, Seen, read_record};

/// `TC_ACT_UNSPEC` (`linux/pkt_cls.h`): the kernel goes on with it.
pub const UNSPEC: i32 = -1;
/// It ends here.
pub const SHOT: i32 = 2;
/// It leaves through a device.
pub const REDIRECT: i32 = 7;
/// `XDP_TX`: it goes back at once.
pub const TX: i32 = 3;
/// Indices of devices that a test run never reaches. The loopback device, by which everything comes in
/// unless a test says otherwise, is site 0's tunnel to the tunnel programs.
const UPLINK: u32 = 9001;
const TUNNEL: u32 = 9002;
const OTHER_TUNNEL: u32 = 9003;
const LOOPBACK: u32 = 1;
/// Answers that are granted at once (`ingress-ebpf/src/upcall.rs`).
const BURST: u64 = 200;

/// A program that can be timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The yardstick, see [`baseline`].
    Baseline,
    /// From the world, at tc.
    Uplink,
    /// From a site.
    Tunnel,
    /// From the world, at XDP.
    Shield,
}

/// The programs with tables of their own.
pub struct Bench {
    uplink: OwnedFd,
    tunnel: OwnedFd,
    shield: OwnedFd,
    baseline: OwnedFd,
    /// The devices' table.
    pub devices: Devices,
    /// The routes' table.
    pub routes: Routes,
    /// The listeners' table.
    pub listeners: Listeners,
    /// Handshakes that the daemon has in hand.
    pub marks: Marks,
    /// The cookies' keys, and the daemon's heartbeat.
    pub secrets: Secrets,
    /// The flow table.
    pub flows: FlowTable,
    /// Its maps.
    pub maps: FlowMaps,
    policy: PolicyTables,
    changed: Array<MapData, u64>,
    connections: HashMap<MapData, ConnectionKey, Connection>,
    answers: Array<MapData, Bucket>,
    neighbours: HashMap<MapData, u32, Bucket>,
    counters: Counters,
    ring: RingBuf<MapData>,
    before: Counts,
}

/// What the counters stood at.
#[derive(Clone, Default)]
struct Counts {
    drops: Vec<u64>,
    cookies: Vec<u64>,
    traffic: Vec<(u64, u64)>,
}

/// The bench of this process, as if just set up, for one test at a time.
pub fn bench() -> MutexGuard<'static, Bench> {
    static BENCH: OnceLock<Mutex<Bench>> = OnceLock::new();
    let bench = BENCH.get_or_init(|| Mutex::new(Bench::open("bench", 64)));
    let mut bench = bench.lock().unwrap_or_else(PoisonError::into_inner);
    bench.reset();
    bench
}

impl Bench {
    /// One for somebody alone, as if just set up, with room for so many flows.
    pub fn with_room(name: &str, flows: u32) -> Self {
        let mut bench = Self::open(name, flows);
        bench.reset();
        bench
    }

    fn open(name: &str, flows: u32) -> Self {
        let pins = Pins::new(name);
        let (mut dataplane, tables) = Dataplane::open(pins.path(), flows).unwrap();
        let directory = dataplane.directory().to_owned();
        let answers = MapData::from_pin(directory.join("ANSWERS")).unwrap();
        let shield = dataplane.shield_program().unwrap().fd().unwrap();
        let shield = shield.as_fd().try_clone_to_owned().unwrap();
        let neighbours = MapData::from_pin(directory.join("NEIGHBOURS")).unwrap();
        let changed = MapData::from_pin(directory.join("POLICY_CHANGED")).unwrap();
        let connections = MapData::from_pin(directory.join("CONNECTIONS")).unwrap();
        let mut program = |hook: Hook| {
            let program = dataplane.program(hook.program()).unwrap();
            program.fd().unwrap().as_fd().try_clone_to_owned().unwrap()
        };
        // The pins may go now: descriptors keep maps and programs, and a bench is never dropped.
        Self {
            uplink: program(Hook::Uplink { ethernet: true }),
            tunnel: program(Hook::Tunnel { ethernet: true }),
            shield,
            baseline: baseline::program().unwrap(),
            devices: tables.devices,
            routes: tables.routes,
            listeners: tables.listeners,
            marks: tables.marks,
            secrets: tables.secrets,
            flows: FlowTable::open(tables.flows),
            maps: FlowMaps::open(&directory).unwrap(),
            policy: tables.policy,
            changed: Array::try_from(Map::Array(changed)).unwrap(),
            connections: HashMap::try_from(Map::LruHashMap(connections)).unwrap(),
            answers: Array::try_from(Map::Array(answers)).unwrap(),
            neighbours: HashMap::try_from(Map::LruHashMap(neighbours)).unwrap(),
            counters: tables.counters,
            ring: tables.upcalls,
            before: Counts::default(),
        }
    }

    /// As if just set up.
    pub fn reset(&mut self) {
        for flow in self.maps.flows().collect::<Vec<_>>() {
            self.flows.remove(flow.tuple);
        }
        self.marks.clear(&HashSet::new()).unwrap();
        self.govern(&Policy::default(), 0);
        for (key, _) in self.connections() {
            self.connections.remove(&key).unwrap();
        }
        self.routes.replace(&place::routes()).unwrap();
        self.listeners.replace(&place::listeners()).unwrap();
        self.devices.set_uplink(place::device(UPLINK, place::UPLINK_MTU, true)).unwrap();
        self.devices.set_site(1, place::device(OTHER_TUNNEL, place::OTHER_MTU, false)).unwrap();
        self.secrets.set_keys(place::KEYS).unwrap();
        self.secrets.beat(now()).unwrap();
        self.grant_answers(BURST);
        self.forget_neighbours();
        while self.ring.next().is_some() {}
        self.before = self.count();
    }

    /// Puts a policy in force, which `before` nanoseconds ago another one was; zero means never.
    pub fn govern(&mut self, policy: &Policy, before: u64) {
        self.policy.replace(&compile(policy).unwrap(), now()).unwrap();
        let changed = if before == 0 { 0 } else { now().wrapping_sub(before) };
        self.changed.set(0, changed, 0).unwrap();
    }

    /// The connections made from inside.
    pub fn connections(&self) -> Vec<(ConnectionKey, Connection)> {
        self.connections.iter().map(Result::unwrap).collect()
    }

    /// Has the inside have spoken so long ago on each of them.
    pub fn age_connections(&mut self, nanoseconds: u64) {
        for (key, mut connection) in self.connections() {
            connection.last_seen = connection.last_seen.wrapping_sub(nanoseconds);
            self.connections.insert(key, connection, 0).unwrap();
        }
    }

    /// Sets how many answers strangers may still ask for.
    pub fn grant_answers(&mut self, tokens: u64) {
        self.answers.set(0, Bucket { filled: now(), tokens }, 0).unwrap();
    }

    /// Every neighbourhood of clients may hand up as much as at first.
    pub fn forget_neighbours(&mut self) {
        let known: Vec<u32> = self.neighbours.keys().filter_map(Result::ok).collect();
        for key in known {
            self.neighbours.remove(&key).unwrap();
        }
    }

    /// Leaves no room in the ring for another record, until a look at the next run empties it.
    pub fn fill_ring(&mut self) {
        let port = 1u16;
        let tuple = place::client_key_from(port);
        self.marks.pend(&tuple, now()).unwrap();
        // Large records, and small ones into what they leave.
        for len in [3000, 10] {
            self.forget_neighbours();
            let filling = Tcp { source: port, payload: vec![0; len], ..place::client_segment() };
            let frame = unpadded(&filling.over4(&place::from_client()));
            let skb = Skb { repeat: 600, ..Skb::default() };
            test_run(self.uplink.as_fd(), &frame, skb).unwrap();
        }
        self.marks.unpend(&tuple);
        self.forget_neighbours();
        self.before = self.count();
    }

    /// Installs the flow of [`place::CLIENT`].
    pub fn install(&mut self, splice: &Splice) {
        self.flows.install(place::tuple(), splice, now()).unwrap();
    }

    /// Its half towards the backend.
    pub fn to_backend(&self) -> ToBackend {
        self.maps.to_backend.get(&place::client_key(), 0).unwrap()
    }

    /// Its half towards the client.
    pub fn to_client(&self) -> ToClient {
        self.maps.to_client.get(&place::backend_key(), 0).unwrap()
    }

    /// The program itself, for frames that the kernel may not even take.
    pub fn uplink_program(&self) -> BorrowedFd<'_> {
        self.uplink.as_fd()
    }

    /// A frame from the world that ends at the shield.
    #[track_caller]
    pub fn shield_drops(&mut self, frame: &[u8], reason: DropReason) {
        const DROP: i32 = 1;
        let ran = test_run_xdp(self.shield.as_fd(), frame).unwrap();
        let before = std::mem::take(&mut self.before);
        self.before = self.count();
        assert_eq!((ran.action, &self.before.cookies), (DROP, &before.cookies));
        let nth = reason as usize;
        assert_eq!(self.before.drops[nth], before.drops[nth] + 1);
    }

    /// A frame from the world at the shield: the answer, or `None` if it goes on untouched.
    #[track_caller]
    pub fn shield(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        const PASS: i32 = 2;
        let ran = test_run_xdp(self.shield.as_fd(), frame).unwrap();
        let counts = self.count();
        let sent = Cookie::ALL.iter().position(|cookie| *cookie == Cookie::Sent).unwrap();
        let cookies = counts.cookies[sent] - self.before.cookies[sent];
        self.before = counts;
        match ran.action {
            PASS => {
                assert_eq!((frame, cookies), (&ran.frame[..], 0), "what goes on is untouched");
                None
            }
            TX => {
                assert_eq!(cookies, 1);
                Some(ran.frame)
            }
            action => panic!("action {action}"),
        }
    }

    /// A packet from the world, in a frame.
    #[track_caller]
    pub fn uplink(&mut self, packet: &[u8]) -> Seen {
        self.uplink_frame(&ethernet(packet), Skb::default())
    }

    /// A packet from site 0, in a frame.
    #[track_caller]
    pub fn tunnel(&mut self, packet: &[u8]) -> Seen {
        self.tunnel_frame(&ethernet(packet), Skb::default())
    }

    /// A frame from the world.
    #[track_caller]
    pub fn uplink_frame(&mut self, frame: &[u8], skb: Skb) -> Seen {
        self.devices.set_site(0, place::device(TUNNEL, place::MTU, false)).unwrap();
        let ran = test_run(self.uplink.as_fd(), frame, skb);
        self.look(frame, ran.unwrap_or_else(|error| panic!("uplink: {error}")))
    }

    /// A frame from site 0.
    #[track_caller]
    pub fn tunnel_frame(&mut self, frame: &[u8], skb: Skb) -> Seen {
        self.devices.set_site(0, place::device(LOOPBACK, place::MTU, true)).unwrap();
        let ran = test_run(self.tunnel.as_fd(), frame, skb);
        self.look(frame, ran.unwrap_or_else(|error| panic!("tunnel: {error}")))
    }

    /// What came of a run, for whoever wants to know how long it takes; counters and ring are not looked at.
    pub fn time(&mut self, side: Side, frame: &[u8], skb: Skb) -> Ran {
        let (program, tunnel) = match side {
            Side::Baseline => (&self.baseline, TUNNEL),
            Side::Uplink => (&self.uplink, TUNNEL),
            Side::Tunnel => (&self.tunnel, LOOPBACK),
            Side::Shield => return test_run_xdp(self.shield.as_fd(), frame).unwrap(),
        };
        self.devices.set_site(0, place::device(tunnel, place::MTU, false)).unwrap();
        test_run(program.as_fd(), frame, skb).unwrap()
    }

    /// Reads everything that a run has left. Counters, ring and action must agree.
    #[track_caller]
    fn look(&mut self, before: &[u8], ran: Ran) -> Seen {
        let records: Vec<Record> =
            std::iter::from_fn(|| self.ring.next().map(|record| read_record(&record))).collect();
        let counts = self.count();
        let rose = |now: &[u64], before: &[u64]| -> Vec<usize> {
            let pairs = now.iter().zip(before).enumerate();
            pairs.flat_map(|(nth, (now, before))| vec![nth; (now - before) as usize]).collect()
        };
        let drops = rose(&counts.drops, &self.before.drops);
        let cookies = rose(&counts.cookies, &self.before.cookies);
        let cookies: Vec<Cookie> = cookies.into_iter().map(|nth| Cookie::ALL[nth]).collect();
        let traffic: Vec<(Traffic, u64, u64)> = Traffic::ALL
            .iter()
            .zip(counts.traffic.iter().zip(&self.before.traffic))
            .map(|(path, (now, before))| (*path, now.0 - before.0, now.1 - before.1))
            .filter(|(_, packets, _)| *packets > 0)
            .collect();
        self.before = counts;
        let fate = match (ran.action, drops.as_slice()) {
            (UNSPEC, []) => {
                assert_eq!(before, ran.frame, "what the kernel gets is untouched");
                assert!(records.is_empty() && cookies.is_empty() && traffic.is_empty());
                Fate::Kernel
            }
            (REDIRECT, []) => Fate::Sent,
            (SHOT, []) if !records.is_empty() => Fate::Handed,
            (SHOT, []) if matches!(cookies[..], [Cookie::Acknowledged | Cookie::Reopened]) => {
                Fate::Absorbed
            }
            (SHOT, [reason]) => Fate::Dropped(DropReason::ALL[*reason]),
            (action, drops) => panic!("action {action}, drops {drops:?}, {records:?}, {cookies:?}"),
        };
        let sent = fate == Fate::Sent;
        assert_eq!(sent, !traffic.is_empty() || cookies == [Cookie::Sent], "{fate:?}, {traffic:?}");
        Seen { fate, frame: ran.frame, records, cookies, traffic }
    }

    fn count(&self) -> Counts {
        let volume = |path: &Traffic| {
            let volume = self.counters.traffic(*path);
            (volume.packets, volume.bytes)
        };
        Counts {
            drops: DropReason::ALL.iter().map(|reason| self.counters.drops(*reason)).collect(),
            cookies: Cookie::ALL.iter().map(|result| self.counters.cookies(*result)).collect(),
            traffic: Traffic::ALL.iter().map(volume).collect(),
        }
    }
}

/// Nanoseconds since boot, the programs' clock.
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).unwrap();
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}
