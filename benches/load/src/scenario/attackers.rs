//! Attackers, as a scenario describes them.

use std::time::Duration;

use serde::Deserialize;

use crate::{
    connect::Protocol,
    units::{Network, Span},
};

/// Connections that are held to do harm.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Attacker {
    pub(crate) way: Way,
    /// Connections at once; one that is closed is opened anew.
    pub(crate) connections: u32,
    /// When they begin.
    #[serde(default)]
    pub(crate) start: Span,
    /// How long they go on; until the end, if absent.
    pub(crate) last: Option<Span>,
    /// The time in which they are opened, evenly.
    #[serde(default)]
    pub(crate) ramp: Span,
    /// Time between two bytes.
    #[serde(default = "second")]
    pub(crate) interval: Span,
    /// Time from the end of a connection to the next one.
    #[serde(default = "second")]
    pub(crate) pause: Span,
    /// What is spoken on them.
    #[serde(default = "http1_tls")]
    pub(crate) protocol: Protocol,
    #[serde(default = "hostile")]
    pub(crate) addresses: Network,
}

/// How an attacker holds a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Way {
    /// A head, byte by byte.
    SlowHead,
    /// The content of a form, byte by byte.
    SlowBody,
    /// Reads an answer byte by byte.
    SlowReader,
    /// Connects and says nothing, or no more than the beginning of HTTP/2.
    Hold,
}

impl Way {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SlowHead => "slow-head",
            Self::SlowBody => "slow-body",
            Self::SlowReader => "slow-reader",
            Self::Hold => "hold",
        }
    }
}

fn hostile() -> Network {
    Network::HOSTILE
}

fn second() -> Span {
    Span(Duration::from_secs(1))
}

fn http1_tls() -> Protocol {
    Protocol::Http1Tls
}
