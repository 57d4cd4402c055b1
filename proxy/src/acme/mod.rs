//! Certificates that are ordered from an authority and renewed in time (ACME, RFC 8555).
//!
//! `issued.rs` is what visitors' threads see: certificates by name, and what a running order has to show.
//! `keeper.rs` is the task that looks every half second whether something is to be done, and does one thing at
//! a time: an order (`order.rs`), a question when to renew (RFC 9773), or writing down what could not be
//! written before. `storage.rs` is the folder; `renewal.rs` and `rest.rs` say when, and when not yet, and are
//! pure.

pub mod challenge;
mod client;
mod held;
mod issued;
mod keeper;
mod order;
pub mod renewal;
mod rest;
pub mod status;
mod storage;

pub use held::Held;
pub use issued::Issued;
pub use keeper::keep;
pub use status::planned;
