//! DhakaCart: a small server-rendered electronics shop on axum and SQLite.
//!
//! In the order of a request: [`serve`] accepts it, [`app`] frames and routes it when one of the [`workers`] has time, [`csrf`] refuses what came from
//! another site, [`web`] or [`api`] answers it with the help of [`catalog`], [`cart`] and [`orders`], and [`db`] keeps
//! what must last. [`purge`] tells the edges which
//! pages a committed change made old. Public pages carry nothing of a session, so a cache in front may share them ([`web::caching`]).

pub mod api;
pub mod app;
pub mod cart;
pub mod catalog;
pub mod cli;
pub mod csrf;
pub mod customer;
pub mod db;
pub mod error;
pub mod format;
pub mod healthcheck;
pub mod orders;
pub mod purge;
pub mod secret;
pub mod seed;
pub mod serve;
pub mod session;
pub mod web;
pub mod workers;
