//! Whether a visitor may come in: who it is, and how often it comes.

pub mod client;
mod clients;
pub mod rate;
pub mod waiting_room;
