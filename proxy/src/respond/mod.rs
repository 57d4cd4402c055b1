//! What Dhal says in its own name: error pages, redirects, and the fields it adds to others' answers.

pub mod dress;
pub mod failure;
pub mod fault;
pub mod fields;
pub mod hsts;
mod notice;
pub mod reply;
pub mod room;

pub use reply::Reply;
