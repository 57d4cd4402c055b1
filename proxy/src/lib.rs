//! Dhal, the edge of one shop host: TLS, limits, a shared cache and health-checked failover.
//!
//! Modules stand in the order in which a request meets them; `edge::decide` is where its story is told.

#![warn(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "they panic when nobody reads any more; verbs use `cli::output`, the rest logs"
)]

pub mod cli;
pub mod config;
pub mod handover;
pub mod sandbox;
pub mod server;
pub mod systemd;

pub mod acme;
pub mod admin;
pub mod admit;
pub mod cache;
pub mod door;
pub mod edge;
pub mod explain;
pub mod files;
pub mod fill;
pub mod forward;
pub mod listen;
pub mod observe;
pub mod respond;
pub mod route;
pub mod shared;
pub mod snapshot;
pub mod upstream;

pub mod deadline;
pub mod random;
pub mod regular;
