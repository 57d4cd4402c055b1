//! `[cache]`, and its policies.

use std::time::Duration;

use super::YEAR;
use crate::config::{
    key_header::KeyHeader,
    model::SetCookie,
    read::{List, Named, section},
    scalar::{ClientControl, CookieName, FolderPath, QueryName},
    units::{Size, kib, mib, secs},
};

section! {
    /// `[cache]`
    Cache is "[cache]" {
        /// Memory for stored responses, heads and keys included.
        memory: Size = mib(256), mib(1)..=Size(1 << 40);
        /// Larger responses are not kept in memory, and without `disk` passed through without being
        /// stored. At most `memory`; the default is less where `memory` is.
        max_object: Size = mib(8), kib(1)..=mib(1024);
        /// How long a request waits for another that fetches the same response; 0s: not at all.
        lock_timeout: Duration = secs(5), secs(0)..=secs(300);
        /// A second, larger store on disk that survives a restart. None where absent.
        disk: Disk;
        /// Policies by name. `default` is built in: follow the origin's headers, store nothing
        /// without freshness information.
        policies: Named<Policy>;
    }
}

section! {
    /// `disk`
    Disk is "`disk`" {
        /// A folder that belongs to the store alone.
        path: FolderPath, required;
        /// Room for stored responses, heads and keys included. Less is no store, more is on no
        /// machine of one shop.
        size: Size, required, within(mib(1)..=Size(64 << 40));
        /// Larger responses are passed through without being stored. At most a quarter of `size`,
        /// so that one download cannot push out what everybody else reads; the default is less
        /// where that is.
        max_object: Size = mib(1024), kib(1)..=Size(16 << 40);
    }
}

section! {
    /// `[cache.policies.NAME]`
    Policy is "[cache.policies.NAME]" {
        /// Freshness where the origin gives none. Absent: such responses are not stored.
        ttl: Duration, within(secs(1)..=YEAR);
        /// Serve stale for so long while one request refreshes. Where the origin says so too, the
        /// larger counts; `must-revalidate`, `proxy-revalidate`, `no-cache` and `s-maxage` forbid it.
        stale_while_revalidate: Duration = secs(0), secs(0)..=YEAR;
        /// Serve stale for so long while the origin fails. Where the origin says so too, the larger
        /// counts; the same directives forbid it.
        stale_if_error: Duration = secs(0), secs(0)..=YEAR;
        /// Query parameters left out of the cache key and of the request that fills it: names or
        /// `prefix*`.
        ignore_query: List<QueryName>, empty;
        /// A request with one of these cookies is not answered from the store.
        bypass_cookies: List<CookieName>, empty;
        /// Request fields that tell variants of a page apart, such as `accept-language`; up to 16.
        /// Their values become part of the key. Not `host`, `cookie`, `authorization`,
        /// `accept-encoding`, conditions, ranges, and fields about the connection or of proxies.
        key_headers: List<KeyHeader>, empty;
        /// Cookies that tell variants of a page apart, such as `currency`; up to 16, and none of
        /// `bypass_cookies`. Their values become part of the key.
        key_cookies: List<CookieName>, empty;
        /// Put the parameters of the query in order before the key is made, so that `?a=1&b=2` and
        /// `?b=2&a=1` share one response. Not by itself: to some shops the order matters.
        sort_query: bool, or(false);
        /// What becomes of a response that sets a cookie: `"refuse"` does not store it, `"strip"`
        /// stores it without its cookies, `"store"` gives its cookies to everyone.
        set_cookie: SetCookie, or("refuse");
        /// Whether a visitor's `Cache-Control` counts: `"ignore"`, so that nobody can make the edge
        /// ask the shop, or `"honour"`.
        client_cache_control: ClientControl, or("ignore");
        /// Whether `X-Accel-Expires`, which shops behind nginx send, sets the freshness.
        accept_x_accel_expires: bool, or(false);
        /// Whether `Surrogate-Control`, which is for caches of the shop's own and not for browsers,
        /// goes before `Cache-Control`.
        accept_surrogate_control: bool, or(false);
        /// Compress stored text once, as gzip, brotli and zstd, and answer each browser with what
        /// it can read.
        compress: bool, or(true);
    }
}
