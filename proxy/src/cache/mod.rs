//! The store: what is kept, how it is found, and what drops it.
//!
//! Doors read the memory tier (`store.rs`) directly; `fill/` brings responses into it, and the disk tier
//! (`disk.rs`) holds what is to outlive the process or is too large for memory. The rules of what may be
//! stored and reused are in `http-caching`.

pub mod compress;
pub mod disk;
pub mod handed;
pub mod head;
pub mod keeper;
pub mod parts;
pub mod purge;
pub mod status;
pub mod store;
pub mod stored;

pub use disk::Disk;
pub use purge::Purges;
pub use store::{Found, Store};
pub use stored::Stored;
