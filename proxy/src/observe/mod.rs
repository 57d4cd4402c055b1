//! What is told of the work: counters, the access log, and the process's own log.

pub mod access_log;
mod acme_metrics;
pub mod cache_metrics;
pub mod certificate_metrics;
mod concurrency_metrics;
mod families;
pub mod limit_metrics;
mod log_line;
mod log_writer;
pub mod metrics;
mod named;
mod per_thread;
pub mod process_log;
pub mod record;
pub mod request_metrics;
mod room_metrics;
#[cfg(test)]
pub(crate) mod testing;
pub mod upstream_metrics;
pub mod visitor_metrics;

pub use record::{Protocol, Record, Told};
