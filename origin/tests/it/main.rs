//! The shop over real sockets: every test starts the program on a free port with a database of its own.

#![allow(
    clippy::expect_used,
    reason = "a test fails by panicking, and its helpers are part of it"
)]

mod api;
mod cache;
mod checkout;
mod crash;
mod pages;
mod process;
mod purge;
mod shop;
mod stock;
mod workers;
