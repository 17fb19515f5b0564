//! Thousands of connections through the handshake, each with its own seed: clients, backends and links of every
//! temper, and at the end either one intact connection or a refusal that the client can see.
//!
//! `HANDSHAKE_SEED=n` runs one seed again, with a trace; `HANDSHAKE_SEEDS=n` sets how many are run.

mod clock;
mod peers;
mod scenario;
mod splice;
mod tcp;
mod trace;
mod world;

use std::collections::BTreeMap;

use ingress::handshake::Outcome;
use scenario::Scenario;
use world::World;

/// A connection: what had to come of it, and what did; `None` where the client gave it up itself.
type End = (Outcome, Option<Outcome>);

fn run(seed: u64, trace: bool) -> (Scenario, Vec<End>) {
    let mut world = World::new(seed, trace);
    let outcomes = world.run();
    (world.scenario, outcomes)
}

#[test]
fn every_seed_ends_well() {
    if let Some(seed) = number("HANDSHAKE_SEED") {
        run(seed, true);
        return;
    }
    let mut counts: BTreeMap<Option<Outcome>, u32> = BTreeMap::new();
    let (mut promising, mut spliced) = (0, 0);
    for seed in 0..number("HANDSHAKE_SEEDS").unwrap_or(5000) {
        let result = std::panic::catch_unwind(|| run(seed, false));
        let Ok((scenario, outcomes)) = result else {
            panic!("seed {seed} failed; HANDSHAKE_SEED={seed} runs it again");
        };
        for (expected, outcome) in outcomes {
            *counts.entry(outcome).or_default() += 1;
            if expected == Outcome::Spliced && scenario.aborts.is_none() {
                promising += 1;
                spliced += u32::from(outcome == Some(Outcome::Spliced));
            }
        }
    }
    println!("{counts:?}");
    assert!(spliced * 100 >= promising * 97, "{spliced} of {promising} got through");
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}
