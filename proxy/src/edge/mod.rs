//! The one decision: what is to happen with a request. Read `decide.rs` first.
//!
//! No I/O happens here and no clock is read, so a test is a table.

pub mod authority;
pub mod decide;
pub mod decision;
pub mod keyed;
mod limits;
pub(crate) mod observer;
mod own;
pub mod path;
pub mod request_view;
pub(crate) mod room;
#[cfg(test)]
mod tests;

pub use decide::{decide, decide_after};
pub use decision::{
    Answer, Decision, Delay, Fetch, Forward, Hit, Own, OwnAnswer, Passed, Rejection, Wait,
};
pub use http1_wire::Body;
pub use request_view::{Connection, RequestView, Scheme};
