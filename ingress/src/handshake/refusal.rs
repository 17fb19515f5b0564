//! Saying no, so that the client sees why and its TCP closes properly.

use std::time::{Duration, Instant};

use ingress_common::tcp::Flags;

use super::client::{Client, Reset};
use super::{Outcome, Segment, Turn};
use crate::postgres;

const ALERT_DECODE_ERROR: u8 = 50;
const ALERT_INTERNAL_ERROR: u8 = 80;
const ALERT_UNRECOGNIZED_NAME: u8 = 112;

const FIRST_RETRY: Duration = Duration::from_millis(300);
const TRIES: u32 = 5;
/// How long a client that has our FIN may take to send its own.
const PATIENCE: Duration = Duration::from_secs(2);

/// How a client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Farewell {
    /// A fatal TLS alert, then FIN.
    Alert(u8),
    /// A PostgreSQL ErrorResponse, then FIN.
    PostgresError,
    /// RST: the client speaks neither, or a TCP server would have done that.
    Reset,
}

impl Farewell {
    pub(super) fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::NoName
            | Outcome::InvalidName
            | Outcome::UnknownName
            | Outcome::OutsidePrefixes
            | Outcome::DeniedName => Self::Alert(ALERT_UNRECOGNIZED_NAME),
            Outcome::DnsFailed | Outcome::BackendWithoutTls => Self::Alert(ALERT_INTERNAL_ERROR),
            Outcome::BadHello | Outcome::HelloTooLong => Self::Alert(ALERT_DECODE_ERROR),
            Outcome::PlaintextPostgres => Self::PostgresError,
            Outcome::Spliced
            | Outcome::BackendRefused
            | Outcome::BackendUnreachable
            | Outcome::BackendSilent
            | Outcome::BackendWithoutTimestamps
            | Outcome::NotTls
            | Outcome::HelloTimeout
            | Outcome::ClientGone
            | Outcome::Overloaded
            | Outcome::Crowded
            | Outcome::EarlyData
            | Outcome::Replaced
            | Outcome::PortTaken
            | Outcome::TableFull
            | Outcome::NotInstalled => Self::Reset,
        }
    }
}

impl Outcome {
    /// What the client of a refused connection is sent, to follow "the client gets".
    #[must_use]
    pub fn client_gets(self) -> &'static str {
        match Farewell::of(self) {
            Farewell::Alert(ALERT_UNRECOGNIZED_NAME) => "the TLS alert unrecognized_name",
            Farewell::Alert(ALERT_INTERNAL_ERROR) => "the TLS alert internal_error",
            Farewell::Alert(_) => "the TLS alert decode_error",
            Farewell::PostgresError => "a PostgreSQL error",
            Farewell::Reset => "a reset",
        }
    }
}

/// A refusal whose last words may have to be repeated.
#[derive(Debug)]
pub(super) struct Lingering {
    pub(super) outcome: Outcome,
    pub(super) elapsed: Duration,
    message: Vec<u8>,
    tries: u32,
    next: Instant,
    heard: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Linger {
    On,
    Over,
}

impl Lingering {
    /// Says the last words; `None` where they are an RST, after which there is nothing to wait for.
    pub(super) fn start(
        outcome: Outcome,
        elapsed: Duration,
        client: &mut Client,
        turn: &mut Turn<'_>,
    ) -> Option<Self> {
        let message = match Farewell::of(outcome) {
            Farewell::Alert(description) => vec![21, 3, 3, 0, 2, 2, description],
            Farewell::PostgresError => postgres::tls_required(),
            Farewell::Reset => {
                client.reset(turn.out);
                return None;
            }
        };
        client.say(message.clone(), Flags::PSH.with(Flags::FIN), turn.out);
        let next = turn.now + FIRST_RETRY;
        Some(Self { outcome, elapsed, message, tries: 1, next, heard: false })
    }

    pub(super) fn timeout(&self) -> Instant {
        self.next
    }

    pub(super) fn on_timeout(&mut self, client: &mut Client, turn: &mut Turn<'_>) -> Linger {
        if turn.now < self.next {
            return Linger::On;
        }
        if self.heard || self.tries == TRIES {
            return Linger::Over;
        }
        self.next = turn.now + FIRST_RETRY * 2u32.pow(self.tries);
        self.tries += 1;
        client.say_again(self.message.clone(), Flags::PSH.with(Flags::FIN), turn.out);
        Linger::On
    }

    pub(super) fn on_segment(
        &mut self,
        client: &mut Client,
        segment: Segment,
        turn: &mut Turn<'_>,
    ) -> Linger {
        if segment.has(Flags::RST) {
            return if client.judge_reset(segment.seq) == Reset::Foreign {
                Linger::On
            } else {
                Linger::Over
            };
        }
        let fin = segment.has(Flags::FIN);
        let speaks = fin || !segment.payload.is_empty();
        if segment.ack == client.next() && !self.heard {
            self.heard = true;
            self.next = turn.now + PATIENCE;
        }
        client.stream.insert(segment.seq, segment.payload, fin);
        if speaks {
            client.acknowledge(turn.out);
        }
        if self.heard && client.stream.finished() { Linger::Over } else { Linger::On }
    }
}
