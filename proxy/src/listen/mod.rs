//! Accepting connections: sockets, their number, TLS, and which door they lead to.

pub mod accept;
pub mod socket;
pub mod tls;
