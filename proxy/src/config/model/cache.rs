//! The store, and the policies that say what goes into it.

use std::{path::PathBuf, time::Duration};

/// `[cache]`.
#[derive(Debug, Clone)]
pub struct Cache {
    /// Bytes of stored responses, heads and keys included.
    pub memory: u64,
    /// Larger responses are not kept in memory, and without a disk not at all.
    pub max_object: u64,
    /// How long a request waits for another that fetches the same response.
    pub lock_timeout: Duration,
    /// The store on disk; absent means there is none.
    pub disk: Option<Disk>,
}

/// `disk` of `[cache]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// The folder, which belongs to the store alone.
    pub path: PathBuf,
    /// Bytes of stored responses, heads and keys included.
    pub size: u64,
    /// Larger responses are passed through without being stored; at most a quarter of `size`.
    pub max_object: u64,
}

/// `[cache.policies.NAME]`.
#[derive(Debug, Clone)]
pub struct CachePolicy {
    /// The name in the file; `default` is built in.
    pub name: String,
    /// Freshness where the origin gives none.
    pub ttl: Option<Duration>,
    /// Serve stale while one request refreshes: the larger of this and what the origin says, unless
    /// the origin forbids it.
    pub stale_while_revalidate: Duration,
    /// Serve stale while the origin fails: the larger of this and what the origin says, unless the
    /// origin forbids it.
    pub stale_if_error: Duration,
    /// Query parameters left out of the key (and of the request that fills it): names or `prefix*`.
    pub ignore_query: Vec<String>,
    /// A request with one of these cookies is not answered from the store.
    pub bypass_cookies: Vec<String>,
    /// Request fields whose values are part of the key.
    pub key_headers: Vec<http::HeaderName>,
    /// Cookies whose values are part of the key; none of them is among `bypass_cookies`.
    pub key_cookies: Vec<String>,
    /// Parameters of the query are put in order before the key is made.
    pub sort_query: bool,
    /// What becomes of a response that sets a cookie.
    pub set_cookie: SetCookie,
    /// A request's `Cache-Control` counts.
    pub honour_client: bool,
    /// `X-Accel-Expires` of the origin counts.
    pub x_accel_expires: bool,
    /// `Surrogate-Control` of the origin counts.
    pub surrogate_control: bool,
    /// Stored text is compressed once, as gzip, brotli and zstd.
    pub compress: bool,
}

/// What becomes of a response that sets a cookie.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SetCookie {
    /// It is not stored.
    #[default]
    Refuse,
    /// It is stored without `Set-Cookie`.
    Strip,
    /// It is stored as it is, and sets its cookie for everyone.
    Store,
}
