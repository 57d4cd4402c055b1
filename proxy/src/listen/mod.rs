//! Accepting connections: sockets, their number, TLS, and which door they lead to.

pub mod accept;
pub mod handshake;
pub mod socket;
pub mod stream;
pub mod tls;
