//! The wire format of HTTP/1.1 (RFC 9112), read strictly.
//!
//! Bytes in, positions out: where a message's head ends ([`HeadScanner`]), what a request's head says
//! ([`request::Head`]) or a response's ([`response::Head`]), and where a chunked body ends
//! ([`chunked::ChunkScanner`]). Nothing here does I/O or allocates for each message. Where the RFC lets a
//! recipient be lenient, this one refuses: a lenient reader and a strict one behind it, or the reverse, is how
//! requests are smuggled.
//!
//! It is at least as strict as Pingora and HAProxy: what it accepts, they accept with the same method, target,
//! fields, framing and end. `fuzz/` searches for bytes that show otherwise, and its README lists the few
//! differences that are meant.

pub mod chunked;
mod lines;
pub mod request;
pub mod response;
mod scan;
mod syntax;

pub use scan::HeadScanner;

/// How a message's content is framed, as far as its head tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// There is none.
    None,
    /// So many bytes.
    Length(u64),
    /// Chunked; of a request over HTTP/2, a stream that goes on.
    Unknown,
}

/// Why a request's head is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// Status code to answer with.
    pub status: u16,
    /// For the log.
    pub reason: &'static str,
}

pub(crate) const fn bad(reason: &'static str) -> Refusal {
    Refusal {
        status: 400,
        reason,
    }
}
