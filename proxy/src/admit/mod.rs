//! Whether a visitor may come in: who it is, and how often it comes.

pub mod client;
pub mod rate;
