//! Accepting connections: sockets, their number, TLS, and which door they lead to.

pub mod accept;
pub mod crowd;
pub mod descriptors;
pub mod handshake;
mod networks;
pub mod places;
mod proxy_header;
pub mod socket;
pub mod sockets;
pub mod stream;
pub mod tls;
