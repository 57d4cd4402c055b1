//! The visitor's side of an exchange, as each door implements it.

use std::{
    io,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;

use super::answer::AnswerHead;
use crate::respond::{Reply, fault::Fault};

/// Why the request's content does not come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UploadError {
    /// The visitor is gone, or has ended its side too early.
    Gone,
    /// The framing is broken.
    Malformed,
}

impl From<UploadError> for Fault {
    fn from(why: UploadError) -> Self {
        match why {
            UploadError::Gone => Self::GONE,
            UploadError::Malformed => Self::MALFORMED,
        }
    }
}

/// What the head of an answer lets expect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announced {
    /// No content, though a length may be told: of what GET would bring, or GET without a condition.
    Nothing(Option<u64>),
    /// So many bytes.
    Length(u64),
    /// Content whose end shows when it is there.
    Unknown,
    /// Another protocol: bytes in both directions from now on.
    Tunnel,
}

/// How far a visitor's connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Taken {
    /// Octets of this exchange that have left.
    pub own: u64,
    /// Octets of all exchanges that have, where this one waits for its turn among others and not for its
    /// visitor alone.
    pub shared: Option<u64>,
}

impl Taken {
    /// Octets that have left since.
    pub fn since(&self, before: &Self) -> u64 {
        let own = self.own.saturating_sub(before.own);
        match (self.shared, before.shared) {
            (Some(now), Some(then)) => own.max(now.saturating_sub(then)),
            _ => own,
        }
    }
}

/// A visitor. Its methods are called in the order of an exchange: any number of
/// [`interim`](Self::interim), then [`start`](Self::start), content, and the end; or
/// [`reply`](Self::reply) in the place of it all. Content of the request is asked for all along.
/// What is handed over goes out with the next `poll_send`, `poll_flush` or `poll_finish`.
pub trait Visitor {
    /// The next piece of the request's content, `None` at its end. After [`Announced::Tunnel`] all that the
    /// visitor sends.
    fn poll_content(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, UploadError>>;

    /// Ready when nobody is left to answer to. Called when the request's content is complete, and while there
    /// is no connection that it could go to.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// An interim answer (RFC 9110 §15.2).
    fn interim(&mut self, head: &AnswerHead<'_>);

    /// Tells it to send its content: a 100 of our own (RFC 9110 §15.2.1).
    fn go_on(&mut self);

    /// The head of the answer.
    fn start(&mut self, head: &AnswerHead<'_>, announced: Announced);

    /// Takes some content; says how many bytes of it. `last`: nothing comes behind it. Pending while the
    /// visitor does not read, and nothing more is read from the server until then.
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        content: &[u8],
        last: bool,
    ) -> Poll<io::Result<usize>>;

    /// What follows the content (RFC 9110 §6.5), of which only some visitors hear. Called before the end.
    fn trailers(&mut self, _fields: &HeaderMap) {}

    /// Sends what was handed over.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Ends the answer, and sends what is left of it.
    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// How far its connection has come: who shares one with others is not stuck while those move.
    fn progress(&self) -> Taken;

    /// An answer of our own.
    fn reply(&mut self, reply: &Reply);
}
