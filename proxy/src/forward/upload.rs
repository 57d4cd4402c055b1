//! The request's content on its way to a server.

use std::{
    io::{IoSlice, Write},
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};

use super::visitor::Visitor;
use crate::{respond::fault::Fault, upstream::connect::connection::Connection};

/// Content of a request as far as it has come, whichever server it goes to.
pub(super) struct Content {
    /// All of it so far, while that is little.
    kept: Vec<u8>,
    is_kept: bool,
    /// A piece that has come and waits to be sent, where it is not among those.
    back: Option<Bytes>,
    /// What of it the server at hand was given.
    replayed: usize,
    taken: u64,
    max: u64,
    /// What is kept at most.
    most_kept: usize,
    ended: bool,
}

impl Content {
    pub(super) fn new(max: u64, most_kept: usize) -> Self {
        Self {
            kept: Vec::new(),
            is_kept: true,
            back: None,
            replayed: 0,
            taken: 0,
            max,
            most_kept,
            ended: false,
        }
    }

    /// Whether it can be sent from its beginning once more.
    pub(super) fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// Whether any of it has come from the visitor.
    pub(super) fn has_begun(&self) -> bool {
        self.taken > 0
    }

    /// How much of it has come from the visitor.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// Another server gets it.
    pub(super) fn rewind(&mut self) {
        self.replayed = 0;
    }

    /// It will not be sent once more.
    pub(super) fn forget(&mut self) {
        self.is_kept = false;
        if self.replayed == self.kept.len() {
            (self.kept, self.replayed) = (Vec::new(), 0);
        }
    }

    /// Whether all of it has come from the visitor. Of a length that was told the last octet is enough.
    fn is_there(&self, length: Option<u64>) -> bool {
        self.ended || length.is_some_and(|length| self.taken >= length)
    }

    /// Takes back what [`Content::poll_next`] has just given.
    fn put_back(&mut self, piece: Bytes) {
        match self.is_kept {
            // It is among what is kept.
            true => self.replayed -= piece.len(),
            false => self.back = Some(piece),
        }
    }

    /// More comes behind its end: bytes of another protocol, as many as may be.
    pub(super) fn reopen(&mut self) {
        self.forget();
        self.ended = false;
        self.max = u64::MAX;
    }

    /// Takes a piece in, to be sent later, whatever else is kept; `true` at the end.
    pub(super) fn poll_take_in(
        &mut self,
        cx: &mut Context<'_>,
        visitor: &mut impl Visitor,
    ) -> Poll<Result<bool, Fault>> {
        let piece = ready!(self.poll_fresh(cx, visitor))?;
        if let Some(piece) = &piece {
            self.kept.extend_from_slice(piece);
            self.replayed = self.kept.len();
        }
        Poll::Ready(Ok(piece.is_none()))
    }

    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        visitor: &mut impl Visitor,
    ) -> Poll<Result<Option<Bytes>, Fault>> {
        if let Some(piece) = self.back.take() {
            return Poll::Ready(Ok(Some(piece)));
        }
        if self.replayed < self.kept.len() {
            let again = Bytes::copy_from_slice(&self.kept[self.replayed..]);
            self.replayed = self.kept.len();
            if !self.is_kept {
                self.forget();
            }
            return Poll::Ready(Ok(Some(again)));
        }
        let fresh = ready!(self.poll_fresh(cx, visitor))?;
        if let Some(piece) = &fresh
            && self.is_kept
        {
            if self.kept.len() + piece.len() <= self.most_kept {
                self.kept.extend_from_slice(piece);
                self.replayed = self.kept.len();
            } else {
                self.forget();
            }
        }
        Poll::Ready(Ok(fresh))
    }

    /// What comes from the visitor; `None` at the end.
    fn poll_fresh(
        &mut self,
        cx: &mut Context<'_>,
        visitor: &mut impl Visitor,
    ) -> Poll<Result<Option<Bytes>, Fault>> {
        if self.ended {
            return Poll::Ready(Ok(None));
        }
        let Some(piece) = ready!(visitor.poll_content(cx))? else {
            self.ended = true;
            return Poll::Ready(Ok(None));
        };
        self.taken += piece.len() as u64;
        match self.taken > self.max {
            true => Poll::Ready(Err(Fault::TOO_LARGE)),
            false => Poll::Ready(Ok(Some(piece))),
        }
    }
}

/// How content is framed towards the server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// As it is: its length was told, the connection is a tunnel, or it is a stream, whose end shows.
    Plain,
    Chunked,
}

/// What an upload waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Waits {
    /// The visitor sends nothing.
    Visitor,
    /// The server takes nothing.
    Server,
    /// A place among the requests at work, with the end of the content in hand.
    Place,
    /// Nothing: all is sent, or there is nobody to send it to.
    Done,
}

/// Sends a request's head and content to one server. `out` is the head, and then the framing in front of a
/// piece.
pub(super) struct Upload<'a> {
    out: &'a mut Vec<u8>,
    sent: usize,
    piece: Bytes,
    /// Behind the piece.
    tail: &'static [u8],
    manner: Manner,
    /// The content is complete, its last frame included.
    ended: bool,
    /// The server takes no more of it. It may have answered.
    refused: bool,
    /// The end is not sent yet: with it the server's work begins.
    holds: bool,
    /// How long the content is, where that was told.
    length: Option<u64>,
}

impl<'a> Upload<'a> {
    /// Begins with a head.
    pub(super) fn new(head: &'a mut Vec<u8>, manner: Manner, length: Option<u64>) -> Self {
        Self {
            out: head,
            sent: 0,
            piece: Bytes::new(),
            tail: b"",
            manner,
            ended: false,
            refused: false,
            holds: false,
            length,
        }
    }

    /// Keeps the end of the content back, or lets it go.
    pub(super) fn hold(&mut self, holds: bool) {
        self.holds = holds;
    }

    /// Whether the server has the whole request.
    pub(super) fn is_complete(&self) -> bool {
        self.ended && !self.refused && self.is_sent()
    }

    /// Whether the server takes no more of it: it does not read on, or the connection is gone.
    pub(super) fn is_refused(&self) -> bool {
        self.refused
    }

    /// Goes on with whatever the visitor sends, for a connection that has become a tunnel.
    pub(super) fn reopen(&mut self) {
        self.ended = false;
        self.manner = Manner::Plain;
    }

    fn is_sent(&self) -> bool {
        self.sent == self.out.len() && self.piece.is_empty() && self.tail.is_empty()
    }

    /// Sends what can be sent. Says whether anything went out, and what it waits for then.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut Connection,
        content: &mut Content,
        visitor: &mut impl Visitor,
        moved: &mut bool,
    ) -> Result<Waits, Fault> {
        if self.refused {
            return Ok(Waits::Done);
        }
        loop {
            let mut waits = false;
            if self.piece.is_empty() && self.tail.is_empty() && !self.ended {
                if self.holds && content.is_there(self.length) {
                    // What was sent before goes out meanwhile.
                    if self.is_sent() {
                        return Ok(match connection.poll_flush(cx, false) {
                            Poll::Ready(Err(_)) => {
                                self.refused = true;
                                Waits::Done
                            }
                            _ => Waits::Place,
                        });
                    }
                } else {
                    match content.poll_next(cx, visitor)? {
                        Poll::Ready(Some(piece)) if self.holds && content.is_there(self.length) => {
                            // The last one, which is not for the server yet.
                            content.put_back(piece);
                            continue;
                        }
                        Poll::Ready(Some(piece)) => self.frame(piece),
                        Poll::Ready(None) if self.holds => continue,
                        Poll::Ready(None) => self.end(),
                        Poll::Pending => waits = true,
                    }
                }
            }
            if self.is_sent() {
                match connection.poll_flush(cx, self.ended) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(_)) => {
                        self.refused = true;
                        return Ok(Waits::Done);
                    }
                    Poll::Pending => return Ok(Waits::Server),
                }
                if self.ended {
                    return Ok(Waits::Done);
                }
                if waits {
                    return Ok(Waits::Visitor);
                }
                continue;
            }
            match self.poll_write(cx, connection) {
                Poll::Ready(Ok(())) => *moved = true,
                Poll::Ready(Err(())) => {
                    self.refused = true;
                    return Ok(Waits::Done);
                }
                Poll::Pending => return Ok(Waits::Server),
            }
        }
    }

    fn frame(&mut self, piece: Bytes) {
        if self.manner == Manner::Chunked && !piece.is_empty() {
            // Writing to memory does not fail.
            let _ = write!(self.out, "{:x}\r\n", piece.len());
            self.tail = b"\r\n";
        }
        self.piece = piece;
    }

    fn end(&mut self) {
        if self.manner == Manner::Chunked {
            self.tail = b"0\r\n\r\n";
        }
        self.ended = true;
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut Connection,
    ) -> Poll<Result<(), ()>> {
        let out = &self.out[self.sent..];
        let pieces = [
            IoSlice::new(out),
            IoSlice::new(&self.piece),
            IoSlice::new(self.tail),
        ];
        let mut written = ready!(connection.poll_write(cx, &pieces)).map_err(|_| ())?;
        let of_out = written.min(out.len());
        self.sent += of_out;
        written -= of_out;
        if self.sent == self.out.len() {
            self.out.clear();
            self.sent = 0;
        }
        let of_piece = written.min(self.piece.len());
        self.piece.advance(of_piece);
        self.tail = &self.tail[written - of_piece..];
        Poll::Ready(Ok(()))
    }
}
