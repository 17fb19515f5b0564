//! What an entry lets in, and for how long.

use proptest::prelude::*;

use super::*;
use crate::ip::UDP;

const MINUTE: u64 = 60 * SECOND;
const START: u64 = 1000 * SECOND;
const SYN_ACK: Flags = Flags::SYN.with(Flags::ACK);
const FIN_ACK: Flags = Flags::FIN.with(Flags::ACK);

/// One that has opened, its two ends having spoken last at [`START`].
fn established() -> Connection {
    let mut connection = Connection::begin(TCP, Flags::SYN, START).unwrap();
    assert!(connection.answers(TCP, SYN_ACK, START));
    assert!(connection.from_inside(TCP, Flags::ACK, START));
    connection
}

#[test]
fn only_a_beginning_or_a_middle_makes_an_entry() {
    for (flags, makes) in [
        (Flags::SYN, true),
        (Flags::ACK, true),
        (FIN_ACK, true),
        (SYN_ACK, false),
        (Flags::RST, false),
        (Flags::RST.with(Flags::ACK), false),
    ] {
        assert_eq!(Connection::begin(TCP, flags, START).is_some(), makes, "{flags:?}");
    }
    assert!(Connection::begin(UDP, Flags::default(), START).is_some());
}

#[test]
fn an_established_connection_may_be_silent_for_two_hours() {
    let mut connection = established();
    assert!(connection.answers(TCP, Flags::ACK, START + 124 * MINUTE));
    assert!(!connection.answers(TCP, Flags::ACK, START + 125 * MINUTE));
}

#[test]
fn an_unanswered_one_for_four_minutes() {
    let mut connection = Connection::begin(TCP, Flags::SYN, START).unwrap();
    assert!(connection.answers(TCP, SYN_ACK, START + 4 * MINUTE));
    let mut late = Connection::begin(TCP, Flags::SYN, START).unwrap();
    assert!(!late.answers(TCP, SYN_ACK, START + TRANSITORY + 1));
}

#[test]
fn one_that_both_have_closed_for_four_minutes() {
    let mut connection = established();
    assert!(connection.answers(TCP, FIN_ACK, START));
    assert!(!connection.is_over(TCP, START + 60 * MINUTE), "half a connection is one");
    assert!(connection.from_inside(TCP, FIN_ACK, START));
    assert!(connection.answers(TCP, Flags::ACK, START + 4 * MINUTE));
    assert!(connection.is_over(TCP, START + TRANSITORY + 1));
}

#[test]
fn a_forged_reset_does_not_outlast_the_next_segment_from_inside() {
    let mut connection = established();
    assert!(connection.answers(TCP, Flags::RST, START));
    assert!(connection.is_over(TCP, START + 5 * MINUTE));
    assert!(connection.from_inside(TCP, Flags::ACK, START));
    assert!(!connection.is_over(TCP, START + 5 * MINUTE));
}

#[test]
fn nobody_outside_opens_what_the_inside_opened() {
    assert!(!established().answers(TCP, Flags::SYN, START));
    let mut middle = Connection::begin(TCP, Flags::ACK, START).unwrap();
    assert!(!middle.answers(TCP, Flags::SYN, START));
    let mut both_at_once = Connection::begin(TCP, Flags::SYN, START).unwrap();
    assert!(both_at_once.answers(TCP, Flags::SYN, START));
    assert!(both_at_once.answers(TCP, Flags::ACK, START));
    assert!(!both_at_once.answers(TCP, Flags::SYN, START));
}

#[test]
fn a_port_used_again_begins_again() {
    let mut connection = established();
    assert!(connection.answers(TCP, FIN_ACK, START));
    assert!(connection.from_inside(TCP, FIN_ACK, START));
    assert!(connection.from_inside(TCP, Flags::SYN, START + MINUTE));
    assert!(connection.answers(TCP, SYN_ACK, START + MINUTE));
    assert!(!connection.is_over(TCP, START + 60 * MINUTE));
}

#[test]
fn after_a_change_what_began_before_goes_on() {
    for (protocol, flags, last) in [
        (TCP, Flags::ACK, ESTABLISHED),
        (TCP, SYN_ACK, ESTABLISHED),
        (TCP, Flags::SYN, 0),
        (TCP, Flags::SYN.with(Flags::FIN), 0),
        (UDP, Flags::default(), LINGERING),
        (50, Flags::default(), LINGERING),
    ] {
        assert_eq!(may_have_begun_before(protocol, flags, START, START + 1), last > 0);
        assert_eq!(may_have_begun_before(protocol, flags, START, START + last), last > 0);
        assert!(!may_have_begun_before(protocol, flags, START, START + last + 1));
        assert!(!may_have_begun_before(protocol, flags, 0, 1), "nothing was before");
    }
}

fn flags() -> impl Strategy<Value = Flags> {
    (0u8..64).prop_map(Flags)
}

proptest! {
    /// Whatever the outside sends, it has no more time than the inside has given it.
    #[test]
    fn the_outside_keeps_nothing_open(
        protocol in prop_oneof![Just(TCP), Just(UDP), any::<u8>()],
        first in flags(),
        later in prop::collection::vec((flags(), 0..10 * MINUTE), 0..40),
    ) {
        let Some(mut connection) = Connection::begin(protocol, first, START) else { return Ok(()) };
        let mut now = START;
        for (flags, pause) in later {
            now += pause;
            let let_in = connection.answers(protocol, flags, now);
            prop_assert_eq!(connection.last_seen, START);
            if let_in {
                prop_assert!(now - START <= ESTABLISHED);
                prop_assert!(protocol == TCP || now - START <= UDP_IDLE);
            }
        }
    }

    /// As long as the inside speaks in time, answers get through.
    #[test]
    fn the_inside_keeps_it_open(
        protocol in prop_oneof![Just(TCP), Just(UDP)],
        pauses in prop::collection::vec(0..4 * MINUTE - FRESH, 1..40),
    ) {
        let flags = if protocol == TCP { Flags::ACK } else { Flags::default() };
        let mut connection = Connection::begin(protocol, flags, START).unwrap();
        let mut now = START;
        for pause in pauses {
            now += pause;
            prop_assert!(connection.answers(protocol, flags, now));
            prop_assert!(connection.from_inside(protocol, flags, now));
        }
    }

    /// A segment that begins a connection gets in by no entry, but for that of a SYN still unanswered.
    #[test]
    fn no_entry_lets_a_beginning_in(
        segments in prop::collection::vec((flags(), any::<bool>(), 0..5 * MINUTE), 0..40),
    ) {
        let (mut connection, mut now, mut opening) = (None::<Connection>, START, false);
        for (flags, inside, pause) in segments {
            now += pause;
            if inside {
                let goes_on = connection.as_mut().is_some_and(|it| it.from_inside(TCP, flags, now));
                if !goes_on {
                    connection = Connection::begin(TCP, flags, now);
                }
                if begins(flags) && !flags.contains(Flags::RST) {
                    opening = true;
                } else if !goes_on {
                    opening = false;
                }
            } else if let Some(connection) = &mut connection {
                let let_in = connection.answers(TCP, flags, now);
                let opens = begins(flags) && !flags.contains(Flags::RST);
                prop_assert!(!(let_in && opens) || opening);
                if let_in && !opens && !flags.contains(Flags::RST) {
                    opening = false;
                }
            }
        }
    }
}
