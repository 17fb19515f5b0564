//! How what there is of something is shared out among neighbourhoods of clients (/24).
//!
//! Nobody has a fixed quota. A neighbourhood may hold a fixed share of what is free, so that one leaves most to the
//! others, and many that want everything leave room for the next, once what they took at first has run its time.

use std::net::Ipv4Addr;

/// A neighbourhood may hold as much as is free, divided by this.
pub const SHARE: usize = 8;

/// Clients of one /24.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Neighbourhood([u8; 3]);

impl Neighbourhood {
    /// A client's.
    #[must_use]
    pub fn of(client: Ipv4Addr) -> Self {
        let [a, b, c, _] = client.octets();
        Self([a, b, c])
    }
}

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Everybody together holds too much.
    Full,
    /// The neighbourhood does.
    Crowded,
}

/// Whether a neighbourhood that holds `theirs` may take `more`, where `all` of `limit` is taken.
///
/// # Errors
/// Where it may not.
pub fn may_take(
    more: usize,
    theirs: usize,
    all: usize,
    limit: usize,
    share: usize,
) -> Result<(), Refused> {
    let free = limit.saturating_sub(all);
    if more > free {
        Err(Refused::Full)
    } else if theirs * share >= free {
        Err(Refused::Crowded)
    } else {
        Ok(())
    }
}
