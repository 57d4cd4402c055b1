//! How the keys of the file are written: what they hold, and what stands in their place when they are absent.
//!
//! It is made from the declarations in [`super::file`], for whoever joins files or prints them.

use std::path::Path;

use super::{read::Read, units::Shown};

/// How a value is written.
pub(super) enum Shape {
    /// In a way of its own.
    Any,
    /// A whole number, or a string that reads one from the environment.
    Number,
    /// The same for `true` and `false`.
    Boolean,
    /// A string; the function makes a path in it absolute.
    Text(fn(&str, &Path) -> String),
    /// A list, or its only item.
    List(Box<Self>),
    /// Tables by name.
    Named(Box<Self>),
    /// A section.
    Table(fn() -> Vec<Key>),
    /// A section, or something short for it.
    Short(Short, fn() -> Vec<Key>),
}

/// What stands for a section.
#[derive(Debug, Clone, Copy)]
pub(super) enum Short {
    /// The value of this key alone.
    Key(&'static str),
    /// `true` for all defaults, `false` for none.
    Switch,
}

/// A key of a section.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    /// What counts where it is absent, as it would be written in TOML; `None`: nothing.
    pub(super) default: Option<String>,
}

impl Key {
    /// One whose default, if it has any, is among [`DEFAULTS`].
    pub(super) fn optional<T: Read>(section: &str, name: &'static str) -> Self {
        let default = DEFAULTS
            .iter()
            .find(|(of, key, _)| (*of, *key) == (section, name));
        Self {
            name,
            shape: T::shape(),
            default: default.map(|(_, _, text)| (*text).to_owned()),
        }
    }

    pub(super) fn setting<T: Read + Shown>(_: &str, name: &'static str, default: &T) -> Self {
        let shape = T::shape();
        let default = match shape {
            Shape::Number => default.shown(),
            _ => format!("\"{}\"", default.shown()),
        };
        Self {
            name,
            shape,
            default: Some(default),
        }
    }
}

/// What optional keys mean when they are absent, where that is not "nothing": section, key, value in TOML. That
/// writing it changes nothing is tested. What depends on other keys is put in by `effective/computed.rs`.
pub(super) const DEFAULTS: [(&str, &str, &str); 51] = [
    ("the file", "server", "{}"),
    ("the file", "cache", "{}"),
    ("[server]", "client_network", "{}"),
    ("[server]", "forwarded_field", "'x-forwarded-for'"),
    ("[server]", "trusted_proxies", "[]"),
    ("[server]", "deny", "[]"),
    ("[[listeners]]", "tls", "false"),
    ("[[listeners]]", "redirect_to_https", "false"),
    ("[[listeners]]", "proxy_protocol", "false"),
    ("[upstreams.NAME]", "balance", "'least-requests'"),
    ("[upstreams.NAME]", "hash_key", "'target'"),
    ("[upstreams.NAME]", "protocol", "'http1'"),
    ("[upstreams.NAME]", "tls", "false"),
    ("[upstreams.NAME]", "connections", "{}"),
    ("[upstreams.NAME]", "concurrency", "false"),
    ("[upstreams.NAME]", "retry", "{}"),
    ("[upstreams.NAME]", "timeouts", "{}"),
    ("a server of an upstream", "backup", "false"),
    ("a server of an upstream", "drain", "false"),
    ("`tls`", "verify", "true"),
    ("`timeouts`", "read", "'15s'"),
    ("`health_check`", "protocol", "'http'"),
    ("`health_check`", "status", "['200-399']"),
    ("[cache.policies.NAME]", "ignore_query", "[]"),
    ("[cache.policies.NAME]", "bypass_cookies", "[]"),
    ("[cache.policies.NAME]", "key_headers", "[]"),
    ("[cache.policies.NAME]", "key_cookies", "[]"),
    ("[cache.policies.NAME]", "sort_query", "false"),
    ("[cache.policies.NAME]", "set_cookie", "'refuse'"),
    ("[cache.policies.NAME]", "client_cache_control", "'ignore'"),
    ("[cache.policies.NAME]", "accept_x_accel_expires", "false"),
    ("[cache.policies.NAME]", "accept_surrogate_control", "false"),
    ("[cache.policies.NAME]", "compress", "true"),
    ("[limits.NAME]", "key", "['client-ip']"),
    ("[limits.NAME]", "prefix", "{}"),
    ("[limits.NAME]", "burst", "1"),
    ("[limits.NAME]", "count", "'all'"),
    ("[limits.NAME]", "action", "'reject'"),
    ("[limits.NAME]", "max_delay", "'1s'"),
    ("[limits.NAME]", "exempt", "[]"),
    ("[[routes]]", "path", "'/*'"),
    ("[[routes]]", "limits", "[]"),
    ("[[routes]]", "deny", "[]"),
    ("[[routes]]", "class", "'browse'"),
    (
        "[acme]",
        "directory",
        "'https://acme-v02.api.letsencrypt.org/directory'",
    ),
    ("[acme]", "contact", "[]"),
    ("[acme]", "challenge", "'http-01'"),
    ("[waiting_rooms.NAME]", "cart_cookies", "[]"),
    ("[waiting_rooms.NAME]", "covers", "'all'"),
    ("[access_log]", "path", "'stdout'"),
    ("[access_log]", "format", "'json'"),
];
