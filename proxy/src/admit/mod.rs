//! Whether a visitor may come in: who it is, whether it is on a list, and how often it comes.

pub mod class;
pub mod client;
mod clients;
mod forwarded;
pub mod key;
pub mod lists;
pub mod rate;
pub mod state;
pub mod waiting_room;
pub mod watch;
