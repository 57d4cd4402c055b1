//! The edge over real sockets: a scripted shop, the program itself, and clients, in one function each.

#![allow(
    clippy::expect_used,
    reason = "a test fails by panicking, and its helpers are part of it"
)]

mod client;
mod dns;
mod edge;
mod faults_guest;
mod faults_shop;
mod h2;
mod h2_shop;
mod measure;
mod origin;
mod parts;
mod secure;
mod tools;

mod admin;
mod bad_answers;
mod bad_requests;
mod bad_requests_h2;
mod caching;
mod caching_more;
mod choosing;
mod cli;
mod collapse;
mod connection_limits;
mod crowds;
mod disk;
mod disk_trouble;
mod drain;
mod draining_servers;
mod ejecting;
mod faults;
mod faults_connections;
mod faults_content;
mod faults_heads;
mod faults_large;
mod faults_outages;
mod faults_uploads;
mod flights;
mod forwarding;
mod framing;
mod grpc;
mod h1_door;
mod h1_ends;
mod h2_floods;
mod h2_streams;
mod h2_upstream;
mod health;
mod hostile;
mod killed;
mod large;
mod limits;
mod names;
mod outages;
mod patience;
mod purging;
mod relaying;
mod reload;
mod rules;
mod rules_clients;
mod rules_compressing;
mod rules_conditional;
mod rules_invalidating;
mod rules_keys;
mod rules_matching;
mod rules_stale;
mod rules_storing;
mod rules_targeted;
mod rules_validating;
mod serving;
mod shared_streams;
mod sharing;
mod shedding;
mod shop_window;
mod slow_readers;
mod steering;
mod tls;
mod tls_door;
mod tls_upstream;
mod tunnels;
mod upgrade;
mod upstreams;
