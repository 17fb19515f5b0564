//! Saying no, so that the client sees why and its TCP closes properly.

use std::time::{Duration, Instant};

use ingress_common::tcp::Flags;

use super::client::{Client, Reset};
use super::{Context, Outcome, Segment};
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
pub(super) enum Refusal {
    /// A fatal TLS alert, then FIN.
    Alert(u8),
    /// A PostgreSQL ErrorResponse, then FIN.
    PostgresError,
    /// RST: the client speaks neither, or a TCP server would have done that.
    Reset,
}

impl Refusal {
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
        match Refusal::of(self) {
            Refusal::Alert(ALERT_UNRECOGNIZED_NAME) => "the TLS alert unrecognized_name",
            Refusal::Alert(ALERT_INTERNAL_ERROR) => "the TLS alert internal_error",
            Refusal::Alert(_) => "the TLS alert decode_error",
            Refusal::PostgresError => "a PostgreSQL error",
            Refusal::Reset => "a reset",
        }
    }
}

/// A refusal whose last words may have to be repeated.
#[derive(Debug)]
pub(super) struct Refusing {
    pub(super) outcome: Outcome,
    pub(super) elapsed: Duration,
    message: Vec<u8>,
    tries: u32,
    next: Instant,
    heard: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Waiting,
    Done,
}

impl Refusing {
    /// Says the last words; `None` where they are an RST, after which there is nothing to wait for.
    pub(super) fn start(
        outcome: Outcome,
        elapsed: Duration,
        client: &mut Client,
        cx: &mut Context<'_>,
    ) -> Option<Self> {
        let message = match Refusal::of(outcome) {
            Refusal::Alert(description) => vec![21, 3, 3, 0, 2, 2, description],
            Refusal::PostgresError => postgres::tls_required(),
            Refusal::Reset => {
                client.reset(cx.out);
                return None;
            }
        };
        client.say(message.clone(), Flags::PSH.with(Flags::FIN), cx.out);
        let next = cx.now + FIRST_RETRY;
        Some(Self { outcome, elapsed, message, tries: 1, next, heard: false })
    }

    pub(super) fn timeout(&self) -> Instant {
        self.next
    }

    pub(super) fn on_timeout(&mut self, client: &mut Client, cx: &mut Context<'_>) -> Progress {
        if cx.now < self.next {
            return Progress::Waiting;
        }
        if self.heard || self.tries == TRIES {
            return Progress::Done;
        }
        self.next = cx.now + FIRST_RETRY * 2u32.pow(self.tries);
        self.tries += 1;
        client.say_again(self.message.clone(), Flags::PSH.with(Flags::FIN), cx.out);
        Progress::Waiting
    }

    pub(super) fn on_segment(
        &mut self,
        client: &mut Client,
        segment: Segment,
        cx: &mut Context<'_>,
    ) -> Progress {
        if segment.has(Flags::RST) {
            return if client.judge_reset(segment.seq) == Reset::Outside {
                Progress::Waiting
            } else {
                Progress::Done
            };
        }
        let fin = segment.has(Flags::FIN);
        let speaks = fin || !segment.payload.is_empty();
        if segment.ack == client.next() && !self.heard {
            self.heard = true;
            self.next = cx.now + PATIENCE;
        }
        client.stream.insert(segment.seq, segment.payload, fin);
        if speaks {
            client.acknowledge(cx.out);
        }
        if self.heard && client.stream.finished() { Progress::Done } else { Progress::Waiting }
    }
}
