//! The rules of HTTP caching as pure functions: RFC 9111, with conditional requests and ranges of
//! RFC 9110 §13 and §14 and the stale windows of RFC 5861.
//!
//! Nothing here does I/O, reads a clock or waits; every function takes the times it needs, and none
//! panics, whatever bytes it is given. Where the RFC leaves a choice, the rules err on the side of
//! not storing and of asking the origin server.
//!
//! The modules stand in the order in which a request meets them: [`fields`] and [`connection`] when
//! it arrives, [`key`] and [`mod@reuse`] when the store is asked, [`validation`] and [`mod@range`] when a
//! stored response answers it, [`storability`] and [`freshness`] when the origin server does, and
//! [`invalidation`] when the request has changed something.

pub mod fields;

pub mod connection;

pub mod key;

pub mod cache_control;
pub mod reuse;

pub mod range;
pub mod validation;

pub mod freshness;
pub mod storability;

pub mod invalidation;

pub use cache_control::CacheControl;
pub use connection::hop_by_hop;
pub use fields::Fields;
pub use freshness::current_age;
pub use invalidation::{invalidates, same_origin_target};
pub use key::{cache_key, filter_query};
pub use range::{RangeOutcome, range};
pub use reuse::{Reuse, reuse, variance};
pub use storability::{NotStored, Policy, Storable, storable};
pub use validation::{Precondition, confirms, precondition, update_stored};

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod testing;
