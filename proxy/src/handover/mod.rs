//! From one process to the next: another program takes over, and nobody notices.
//!
//! The running process starts the new one with an end of a pair of sockets in the place of its standard input. Over
//! it go the listening sockets themselves, so that no connection that waits to be accepted is lost, then the stored
//! responses that are asked for most, and purges in both directions for as long as both live (`link.rs`):
//!
//! ```text
//! old                                         new
//!  starts it with its own arguments (program)  reads its configuration
//!            <- Hello                          protocol, version, process
//!  Offer, sockets, State ->                    opens the rest
//!  Stored .. AllStored ->                      takes them in, for a few seconds at most
//!            <- Prepared                       could serve
//!  State, Go ->                                starts its threads: both accept
//!            <- Serving
//!  watches it, and accepts, too                serves, and takes orders
//!  leaves: accepts no more
//!  Leaving .. ->                               shows it in its status, and is the service
//! ```
//!
//! Up to Go the new process serves nobody, and up to Leaving the old one has given nothing away: whatever goes wrong, its
//! end leaves the old one as it was. Should it crash later, while the old one still has visitors, systemd starts another;
//! where there is none, the old one binds anew and serves again (`server/take_back.rs`).

mod failed;
mod fate;
mod incoming;
pub mod life;
mod link;
mod outgoing;
mod program;
mod state;
mod wire;

pub use failed::{FailedUpgrade, LastFailed};
pub use incoming::{Inherited, Predecessor, Ready};
pub use life::Life;
pub use outgoing::{Bounds, Failure, Handover, Successor};
pub use program::Program;
pub use wire::Role;
