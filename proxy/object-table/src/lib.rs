//! The memory tier of a cache: objects by number, bounded by bytes.
//!
//! Made for many who read and few who write. A look-up takes no lock and writes to no memory that others
//! read, but for the reference count of what it returns and, for the first few, a mark beside it. Among a
//! million objects it waits for memory twice: for one line of the index and for the object, whose facts and
//! bytes lie in one piece.
//!
//! - [`Object`] is what is kept: a number, a weight, facts of the caller's and bytes.
//! - [`Table`] is where: an index that is read without a lock, and books that are kept under one.
//! - `policy` says what leaves: S3-FIFO (Yang et al., *FIFO queues are all you need for cache eviction*,
//!   SOSP 2023), whose hits move nothing.
//!
//! Numbers are the caller's: they should be keyed hashes, so that nobody outside can choose where things
//! lie. One number has one object; two things with one number are for the caller to tell apart.
//!
//! No I/O, no clock, no async.

mod object;
mod table;

mod index;

mod ghost;
mod policy;
mod queue;

pub use object::Object;
pub use table::{Change, Table};
