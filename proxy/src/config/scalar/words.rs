//! Words: one of several.

use crate::{
    config::{
        diagnostic::Complaint,
        model::{
            Balance, CheckKind, ClientAuthMode, Covers, ForwardedField, LimitCount, LogFormat,
            SetCookie, TlsProfile, UpstreamProtocol,
        },
        read::{Scalar, choice},
    },
    edge::path::EncodedSlashes,
};

impl Scalar for Balance {
    const WANTED: &'static str = "a way to balance, such as \"least-requests\"";

    const CHOICES: &'static [(&'static str, Self)] = &[
        ("least-requests", Self::LeastRequests),
        ("round-robin", Self::RoundRobin),
        ("consistent-hash", Self::ConsistentHash),
    ];

    fn parse(text: &str) -> Result<Self, Complaint> {
        choice(text, Self::CHOICES)
    }
}

impl Scalar for UpstreamProtocol {
    const WANTED: &'static str = "a protocol, \"http1\" or \"h2\"";

    const CHOICES: &'static [(&'static str, Self)] = &[("http1", Self::Http1), ("h2", Self::Http2)];

    fn parse(text: &str) -> Result<Self, Complaint> {
        choice(text, Self::CHOICES)
    }
}

/// A switch that is written as a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum OnOff {
    On,
    Off,
}

impl Scalar for OnOff {
    const WANTED: &'static str = "\"on\" or \"off\"";

    const CHOICES: &'static [(&'static str, Self)] = &[("on", Self::On), ("off", Self::Off)];

    fn parse(text: &str) -> Result<Self, Complaint> {
        choice(text, Self::CHOICES)
    }
}

impl Scalar for TlsProfile {
    const WANTED: &'static str = "a profile, \"intermediate\" or \"modern\"";

    const CHOICES: &'static [(&'static str, Self)] = &[
        ("intermediate", Self::Intermediate),
        ("modern", Self::Modern),
    ];

    fn parse(text: &str) -> Result<Self, Complaint> {
        choice(text, Self::CHOICES)
    }
}

impl Scalar for ClientAuthMode {
    const WANTED: &'static str = "a mode, \"require\" or \"optional\"";

    const CHOICES: &'static [(&'static str, Self)] =
        &[("require", Self::Require), ("optional", Self::Optional)];

    fn parse(text: &str) -> Result<Self, Complaint> {
        choice(text, Self::CHOICES)
    }
}

impl Scalar for CheckKind {
    const WANTED: &'static str = "a kind of check, such as \"http\"";

    const CHOICES: &'static [(&'static str, Self)] = &[
        ("http", Self::Http),
        ("https", Self::Https),
        ("tcp", Self::Tcp),
    ];

    fn parse(text: &str) -> Result<Self, Complaint> {
        choice(text, Self::CHOICES)
    }
}

impl Scalar for LimitCount {
    const WANTED: &'static str = "which requests to count, \"all\" or \"origin\"";

    const CHOICES: &'static [(&'static str, Self)] =
        &[("all", Self::All), ("origin", Self::Origin)];

    fn parse(text: &str) -> Result<Self, Complaint> {
        choice(text, Self::CHOICES)
    }
}

/// What becomes of requests beyond a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum ActionName {
    Reject,
    Delay,
    Log,
}

impl Scalar for ActionName {
    const WANTED: &'static str = "what to do, \"reject\", \"delay\" or \"log\"";

    const CHOICES: &'static [(&'static str, Self)] = &[
        ("reject", Self::Reject),
        ("delay", Self::Delay),
        ("log", Self::Log),
    ];

    fn parse(text: &str) -> Result<Self, Complaint> {
        choice(text, Self::CHOICES)
    }
}

impl Scalar for ForwardedField {
    const WANTED: &'static str = "a field, \"x-forwarded-for\" or \"forwarded\"";

    const CHOICES: &'static [(&'static str, Self)] = &[
        ("x-forwarded-for", Self::XForwardedFor),
        ("forwarded", Self::Forwarded),
    ];

    fn parse(text: &str) -> Result<Self, Complaint> {
        choice(text, Self::CHOICES)
    }
}

impl Scalar for EncodedSlashes {
    const WANTED: &'static str = "what encoded slashes are, \"decode\", \"keep\" or \"refuse\"";

    const CHOICES: &'static [(&'static str, Self)] = &[
        ("decode", Self::Decode),
        ("keep", Self::Keep),
        ("refuse", Self::Refuse),
    ];

    fn parse(text: &str) -> Result<Self, Complaint> {
        choice(text, Self::CHOICES)
    }
}

impl Scalar for Covers {
    const WANTED: &'static str = "what a waiting room covers, \"all\" or \"origin\"";

    const CHOICES: &'static [(&'static str, Self)] =
        &[("all", Self::All), ("origin", Self::Origin)];

    fn parse(text: &str) -> Result<Self, Complaint> {
        choice(text, Self::CHOICES)
    }
}

impl Scalar for SetCookie {
    const WANTED: &'static str = "what to do with `Set-Cookie`, such as \"refuse\"";

    const CHOICES: &'static [(&'static str, Self)] = &[
        ("refuse", Self::Refuse),
        ("strip", Self::Strip),
        ("store", Self::Store),
    ];

    fn parse(text: &str) -> Result<Self, Complaint> {
        choice(text, Self::CHOICES)
    }
}

/// What a request's `Cache-Control` counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum ClientControl {
    Ignore,
    Honour,
}

impl Scalar for ClientControl {
    const WANTED: &'static str =
        "what a visitor's `Cache-Control` counts for, \"ignore\" or \"honour\"";

    const CHOICES: &'static [(&'static str, Self)] =
        &[("ignore", Self::Ignore), ("honour", Self::Honour)];

    fn parse(text: &str) -> Result<Self, Complaint> {
        choice(text, Self::CHOICES)
    }
}

impl Scalar for LogFormat {
    const WANTED: &'static str = "a format, \"json\" or \"combined\"";

    const CHOICES: &'static [(&'static str, Self)] =
        &[("json", Self::Json), ("combined", Self::Combined)];

    fn parse(text: &str) -> Result<Self, Complaint> {
        choice(text, Self::CHOICES)
    }
}
