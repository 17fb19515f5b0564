//! What each verdict costs, against a program that never changes. No absolute times: a machine may be slow.
//! The bounds are four times what was measured, for machines that are busy as well.
//!
//! `cargo test --test golden -- --nocapture speed` prints the numbers.

use ingress_tests::golden::cases::{
    Case, close, install, tracked, with_flow, without_flow, yardstick,
};

use crate::bench::{Bench, bench};

const TRIES: usize = 3;

#[test]
fn every_verdict_costs_what_it_did() {
    let mut bench = bench();
    compare(&mut bench, &without_flow());
    install(&mut bench);
    compare(&mut bench, &with_flow());
    close(&mut bench);
    compare(&mut bench, &tracked());
}

#[track_caller]
fn compare(bench: &mut Bench, cases: &[Case]) {
    let yardstick = yardstick(cases.iter().all(Case::is_kept));
    let mut base = yardstick.time(bench);
    println!("{:>8} ns  the yardstick", base.as_nanos());
    for case in cases {
        // A machine that was busy for a moment is asked again.
        let mut ratio = f64::INFINITY;
        for _ in 0..TRIES {
            ratio = case.time(bench).as_secs_f64() / base.as_secs_f64();
            if ratio <= case.most {
                break;
            }
            base = yardstick.time(bench);
        }
        println!("{ratio:>8.2} of {}  {}", case.most, case.name);
        assert!(ratio <= case.most, "{}: {ratio:.2} times the yardstick", case.name);
    }
}
