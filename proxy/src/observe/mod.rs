//! What is told of the work: counters, the access log, and the process's own log.

pub mod access_log;
pub mod cache_metrics;
pub mod metrics;
pub mod process_log;
pub mod record;

pub use record::{Protocol, Record};
