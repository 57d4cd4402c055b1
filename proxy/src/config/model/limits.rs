//! Lists of addresses, and rate limits.

use std::{num::NonZeroU32, path::PathBuf, time::Duration};

use crate::admit::key::Prefix;

/// `[address_lists.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressList {
    /// The name in the file.
    pub name: String,
    /// Networks that stand in the configuration.
    pub entries: Vec<ipnet::IpNet>,
    /// One address or network per line; read when the edge is built, and when it changes.
    pub file: Option<PathBuf>,
}

/// `[limits.NAME]`.
#[derive(Debug, Clone)]
pub struct Limit {
    /// The name in the file.
    pub name: String,
    /// What is counted by, together.
    pub key: Vec<LimitKey>,
    /// How much of an address is one client.
    pub prefix: Prefix,
    /// Requests that are replenished per `period`.
    pub rate: NonZeroU32,
    /// Length of the period: a second for `50/s`, a minute for `50/m`, an hour for `50/h`.
    pub period: Duration,
    /// Requests that may come at once.
    pub burst: NonZeroU32,
    /// Which requests are counted.
    pub count: LimitCount,
    /// What becomes of those beyond the rate.
    pub action: LimitAction,
    /// Status of a refusal.
    pub status: u16,
    /// Whom the rule does not count: indices into `address_lists`.
    pub exempt: Vec<usize>,
    /// Clients tracked at once; further ones share one bucket.
    pub max_keys: usize,
}

impl Limit {
    /// Whether what one of them has counted is of use to the other, which may allow more or less.
    pub fn counts_as(&self, other: &Self) -> bool {
        let how = |limit: &Self| (limit.prefix, limit.max_keys);
        how(self) == how(other) && self.key == other.key
    }
}

/// A part of what a limit counts by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LimitKey {
    /// The client's address, cut to a prefix.
    ClientIp,
    /// The host that was asked.
    Host,
    /// A field of the request.
    Header(http::HeaderName),
    /// A cookie of the request.
    Cookie(String),
    /// A parameter of the route's path.
    Param(String),
}

/// Which requests a limit counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LimitCount {
    /// All.
    #[default]
    All,
    /// Those that the store does not answer.
    Origin,
}

/// What becomes of requests beyond a rate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LimitAction {
    /// They are refused.
    #[default]
    Reject,
    /// They are held back until their turn comes.
    Delay {
        /// Longest wait; who would have to wait longer is refused.
        max: Duration,
    },
    /// They are noted, and go on.
    Log,
}
