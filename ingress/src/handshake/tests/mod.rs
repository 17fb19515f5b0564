//! Exact numbers and moments, which a forgiving simulation does not look at.

mod backends;
mod bench;
mod gone;
mod hellos;
mod owed;
mod postgres;
mod refusals;
mod timestamps;

use ingress_common::tcp::{Flags, Seq, SynOptions, Timestamps};

use super::*;
use crate::postgres::Request;

pub(super) use bench::hello;
use bench::{ACK, BACKEND_ISN, Bench, COOKIE, ISN};
use bench::{backend, outcome, splice, to_backend, to_client, tuple};
