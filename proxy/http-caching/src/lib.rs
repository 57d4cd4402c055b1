//! The rules of HTTP caching as pure functions: RFC 9111, with content codings, conditional requests
//! and ranges of RFC 9110 §12 to §14, the stale windows of RFC 5861 and the targeted fields of RFC 9213.
//!
//! Nothing here does I/O, reads a clock or waits; every function takes the times it needs, and none
//! panics, whatever bytes it is given. Where the RFC leaves a choice, the rules err on the side of
//! not storing and of asking the origin server.
//!
//! The modules stand in the order in which a request meets them: [`fields`] and [`connection`] when
//! it arrives, [`key`], [`encoding`] and [`mod@reuse`] when the store is asked, [`validation`] and
//! [`mod@range`] when a stored response answers it, [`targeted`], [`storability`], [`freshness`],
//! [`partial`] and [`mod@tags`] when the origin server does, and [`invalidation`] when the request has
//! changed something.

pub mod fields;

pub mod connection;

pub mod encoding;
pub mod key;

pub mod cache_control;
pub mod reuse;

pub mod range;
pub mod validation;

pub mod freshness;
pub mod partial;
pub mod storability;
pub mod tags;
pub mod targeted;

pub mod invalidation;

pub use cache_control::CacheControl;
pub use connection::hop_by_hop;
pub use encoding::{Coding, choose, is_acceptable};
pub use fields::Fields;
pub use freshness::current_age;
pub use invalidation::{invalidates, same_origin_target};
pub use key::{KeyPolicy, cache_key, keyed_cookies, keyed_query, push_keyed};
pub use partial::{ContentRange, Spans, combines, partial_storable};
pub use range::{RangeOutcome, range};
pub use reuse::{Reuse, remaining, request_control, reuse, variance};
pub use storability::{Lifetimes, NotStored, Policy, SetCookie, Storable, storable};
pub use tags::{TooManyTags, tags};
pub use targeted::{Effective, Legacy, Source, effective_control};
pub use validation::{
    HeadUpdate, Precondition, conditions, confirms, head_confirms, precondition, select,
    update_stored,
};

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod testing;
