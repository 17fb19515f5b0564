//! Every input that is kept, and for a second changed ones of them, without cargo-fuzz.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ingress_fuzz::{TARGETS, Target};

/// For each target; `INGRESS_FUZZ_SECONDS` says otherwise.
const TIME: Duration = Duration::from_secs(1);
/// The longest input that changes lead to.
const LONGEST: usize = 20_000;

#[test]
fn config() {
    try_target("config");
}

#[test]
fn control() {
    try_target("control");
}

#[test]
fn cookie() {
    try_target("cookie");
}

#[test]
fn hello() {
    try_target("hello");
}

#[test]
fn icmp() {
    try_target("icmp");
}

#[test]
fn packet() {
    try_target("packet");
}

#[test]
fn policy() {
    try_target("policy");
}

#[test]
fn postgres() {
    try_target("postgres");
}

#[test]
fn splice() {
    try_target("splice");
}

#[test]
fn stream() {
    try_target("stream");
}

/// A target without a corpus, a program or a test of its own would never be tried.
#[test]
fn everything_is_there_for_each_target() {
    let driver = root().join("driver/src/bin");
    let tests = include_str!("corpus.rs");
    for Target { name, .. } in TARGETS {
        assert!(!corpus(name).is_empty(), "{name}: no corpus");
        assert!(driver.join(format!("{name}.rs")).is_file(), "{name}: no program");
        assert!(tests.contains(&format!("try_target(\"{name}\")")), "{name}: no test");
    }
}

fn try_target(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target");
    let corpus = corpus(name);
    for (file, input) in &corpus {
        try_input(target, input, &file.display().to_string());
    }
    let seconds = std::env::var("INGRESS_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    let end = Instant::now() + seconds.map_or(TIME, Duration::from_secs);
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    let mut tried = corpus.len();
    while Instant::now() < end {
        let (_, first) = &corpus[chance.below(corpus.len())];
        let (_, second) = &corpus[chance.below(corpus.len())];
        try_input(target, &chance.change(first, second), name);
        tried += 1;
    }
    println!("{name}: {tried} inputs");
}

/// Says which input it was; the panic itself says what was wrong.
fn try_input(target: &Target, input: &[u8], what: &str) {
    let panicked = std::panic::catch_unwind(|| (target.run)(input)).is_err();
    assert!(!panicked, "{what}: {}", input.escape_ascii());
}

fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let directory = root().join("corpus").join(name);
    let mut files: Vec<PathBuf> = fs::read_dir(&directory)
        .expect("a corpus")
        .map(|file| file.expect("a file").path())
        .collect();
    files.sort();
    files.into_iter().map(|file| (file.clone(), fs::read(file).expect("a file"))).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The same on each run (xorshift64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// The beginning of one and the end of another, with some octets changed, doubled or lost.
    fn change(&mut self, first: &[u8], second: &[u8]) -> Vec<u8> {
        let mut input = first.to_vec();
        if self.below(4) == 0 {
            input.truncate(self.below(first.len() + 1));
            input.extend_from_slice(&second[self.below(second.len() + 1)..]);
        }
        for _ in 0..=self.below(6) {
            let at = self.below(input.len());
            match self.below(6) {
                0 => input.truncate(at),
                1 => input.insert(at, self.next() as u8),
                2 if !input.is_empty() => {
                    drop(input.drain(at..(at + 1 + self.below(8)).min(input.len())))
                }
                3 if !input.is_empty() => input.extend_from_within(at..),
                4 if !input.is_empty() => input[at] = [0, 1, 0x7f, 0x80, 0xff][self.below(5)],
                _ if !input.is_empty() => input[at] ^= 1 << self.below(8),
                _ => input.push(self.next() as u8),
            }
        }
        input.truncate(LONGEST);
        input
    }
}
