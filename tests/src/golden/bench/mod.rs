//! The bench: programs with tables of their own, as they are at first and as a test changes them.

mod runs;
mod traces;

use std::collections::HashSet;
use std::net::SocketAddrV4;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use aya::maps::{Array, HashMap, Map, MapData};
use ingress::config::Policy;
use ingress::dataplane::{
    Dataplane, Devices, FlowMaps, Hook, Listeners, Marks, PolicyTables, Routes, Secrets,
};
use ingress::flows::FlowTable;
use ingress::handshake::{ClientTuple, Splice};
use ingress::policy::compile;
use ingress_common::maps::{Bucket, ToBackend, ToClient};
use ingress_common::policy::{Connection, ConnectionKey};
use nix::time::{ClockId, clock_gettime};

use crate::bpf::baseline;
use crate::bpf::test_run::{Skb, test_run};
use crate::golden::frame::{Tcp, unpadded};
use crate::golden::pins::Pins;
use crate::golden::place;
pub use crate::golden::seen::{Fate, Record, Seen, read_record};
pub use runs::Side;
use traces::Traces;

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
    reports: Array<MapData, Bucket>,
    neighbours: HashMap<MapData, u32, Bucket>,
    reporters: HashMap<MapData, u32, Bucket>,
    traces: Traces,
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
        let reports = MapData::from_pin(directory.join("REPORTS")).unwrap();
        let shield = dataplane.shield_program().unwrap().fd().unwrap();
        let shield = shield.as_fd().try_clone_to_owned().unwrap();
        let neighbours = MapData::from_pin(directory.join("NEIGHBOURS")).unwrap();
        let reporters = MapData::from_pin(directory.join("REPORTERS")).unwrap();
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
            devices: tables.network.devices,
            routes: tables.network.routes,
            listeners: tables.network.listeners,
            marks: tables.handshakes.marks,
            secrets: tables.handshakes.secrets,
            flows: FlowTable::open(tables.handshakes.flows),
            maps: FlowMaps::open(&directory).unwrap(),
            policy: tables.network.policy,
            changed: Array::try_from(Map::Array(changed)).unwrap(),
            connections: HashMap::try_from(Map::LruHashMap(connections)).unwrap(),
            answers: Array::try_from(Map::Array(answers)).unwrap(),
            reports: Array::try_from(Map::Array(reports)).unwrap(),
            neighbours: HashMap::try_from(Map::LruHashMap(neighbours)).unwrap(),
            reporters: HashMap::try_from(Map::LruHashMap(reporters)).unwrap(),
            traces: Traces::new(tables.counters, tables.handshakes.upcalls),
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
        self.grant_reports(BURST);
        self.forget_neighbours();
        self.traces.clear();
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

    /// Sets how many flows may still ask for.
    pub fn grant_reports(&mut self, tokens: u64) {
        self.reports.set(0, Bucket { filled: now(), tokens }, 0).unwrap();
    }

    /// Strangers get none, however much time goes by.
    pub fn grant_no_answers(&mut self) {
        self.answers.set(0, Bucket { filled: u64::MAX, tokens: 0 }, 0).unwrap();
    }

    /// Flows get none, however much time goes by.
    pub fn grant_no_reports(&mut self) {
        self.reports.set(0, Bucket { filled: u64::MAX, tokens: 0 }, 0).unwrap();
    }

    /// The neighbourhood of [`place::CLIENT`] may hand up whatever it likes.
    fn indulge_neighbours(&mut self) {
        let [a, b, c, _] = place::CLIENT.ip().octets();
        // What will be filled has earned nothing yet, and is not cut to what a bucket holds.
        let bottomless = Bucket { filled: u64::MAX, tokens: u64::MAX >> 1 };
        self.neighbours.insert(u32::from_be_bytes([a, b, c, 0]), bottomless, 0).unwrap();
    }

    /// Every neighbourhood of clients may hand up as much as at first.
    pub fn forget_neighbours(&mut self) {
        for shares in [&mut self.neighbours, &mut self.reporters] {
            let known: Vec<u32> = shares.keys().filter_map(Result::ok).collect();
            for key in known {
                shares.remove(&key).unwrap();
            }
        }
    }

    /// Leaves no room in the ring for another record, until a look at the next run empties it.
    pub fn fill_ring(&mut self) {
        let port = 1u16;
        let tuple = place::client_key_from(port);
        self.marks.pend(&tuple, now()).unwrap();
        // Large records, and small ones into what they leave.
        for len in [3000, 10] {
            self.indulge_neighbours();
            let filling = Tcp { source: port, payload: vec![0; len], ..place::client_segment() };
            let frame = unpadded(&filling.over4(&place::from_client()));
            let skb = Skb { repeat: 600, ..Skb::default() };
            test_run(self.uplink.as_fd(), &frame, skb).unwrap();
        }
        self.marks.unpend(&tuple);
        self.forget_neighbours();
        self.traces.pass_over();
    }

    /// Installs the flow of [`place::CLIENT`].
    pub fn install(&mut self, splice: &Splice) {
        self.install_for(place::CLIENT, splice);
    }

    /// Installs the flow of a client.
    pub fn install_for(&mut self, client: SocketAddrV4, splice: &Splice) {
        let tuple = ClientTuple { client, ..place::tuple() };
        self.flows.install(tuple, splice, now()).unwrap();
    }

    /// Its half towards the backend.
    pub fn to_backend(&self) -> ToBackend {
        self.maps.to_backend.get(&place::client_key(), 0).unwrap()
    }

    /// Its half towards the client.
    pub fn to_client(&self) -> ToClient {
        self.maps.to_client.get(&place::backend_key(), 0).unwrap()
    }
}

/// Nanoseconds since boot, the programs' clock.
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).unwrap();
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}
