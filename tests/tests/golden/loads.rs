//! The kernel's verifier takes every program, and how much it had to look at.

use ingress::dataplane::{Dataplane, Hook};

use crate::pins::Pins;

/// What the verifier gives up at.
const LIMIT: u32 = 1_000_000;

#[test]
fn the_verifier_takes_every_program() {
    let pins = Pins::new("loads");
    let (mut dataplane, _tables) = Dataplane::open(pins.path(), 64).unwrap();
    // Without it the daemon runs all the same.
    dataplane.shield_program().unwrap();
    for name in Hook::PROGRAMS {
        let info = dataplane.program(name).unwrap().info().unwrap();
        // Kernels before 5.16 do not tell.
        let verified = info.verified_instruction_count();
        println!("{name}: {verified:?} instructions verified");
        assert!(verified.is_none_or(|count| count < LIMIT / 2), "{name} is near the limit");
    }
}
