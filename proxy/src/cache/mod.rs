//! The store: what is kept, how it is found, and how Pingora's cache phases fill it.
//!
//! Doors read it directly (`store.rs`); the forward path reads and fills it through Pingora's storage
//! interface (`storage.rs`). The rules of what may be stored and reused are in `http-caching`.

pub mod status;
pub mod storage;
pub mod store;
pub mod stored;

pub use store::{Found, Store};
pub use stored::Stored;
