//! Whether a visitor may come in: who it is, and how often it comes.

pub mod client;
mod clients;
mod forwarded;
pub mod rate;
