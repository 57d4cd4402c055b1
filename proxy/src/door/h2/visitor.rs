//! Requests that a shop answers in person: the visitor's side over HTTP/2.

use std::{
    io,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http2_server::hpack;

use super::{
    blocks,
    line::{Exchange, Gone},
};
use crate::{
    forward::{Announced, AnswerHead, FieldLines, Taken, UploadError, Visitor},
    respond::Reply,
};

/// What is handed to the wire at once.
const PIECE: usize = 16 * 1024;

impl FieldLines for http2_server::Head {
    fn each(&self, f: &mut dyn FnMut(&[u8], &[u8])) {
        self.iter().for_each(|(name, value)| f(name, value));
    }
}

/// The visitor at the other end of a stream.
pub(super) struct Client<'a> {
    pub(super) exchange: &'a mut Exchange,
    /// For HEAD.
    pub(super) head_only: bool,
}

fn gone(_: Gone) -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}

impl Visitor for Client<'_> {
    fn poll_content(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, UploadError>> {
        self.exchange
            .poll_content(cx)
            .map_err(|Gone| UploadError::Gone)
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.exchange.poll_gone(cx).map(|Gone| ())
    }

    fn interim(&mut self, head: &AnswerHead<'_>) {
        let mut block = BytesMut::with_capacity(256);
        blocks::put_answer(&mut block, head, Announced::Unknown);
        self.exchange.send_head(&block, false);
    }

    fn go_on(&mut self) {
        let mut block = BytesMut::with_capacity(8);
        hpack::put_status(&mut block, 100);
        self.exchange.send_head(&block, false);
    }

    fn start(&mut self, head: &AnswerHead<'_>, announced: Announced) {
        let mut block = BytesMut::with_capacity(512);
        blocks::put_answer(&mut block, head, announced);
        let end = matches!(announced, Announced::Nothing(_) | Announced::Length(0));
        self.exchange.send_head(&block, end);
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        content: &[u8],
        last: bool,
    ) -> Poll<io::Result<usize>> {
        ready!(self.exchange.poll_room(cx)).map_err(gone)?;
        let piece = &content[..content.len().min(PIECE)];
        let end = last && piece.len() == content.len();
        self.exchange.send(Bytes::copy_from_slice(piece), end);
        Poll::Ready(Ok(piece.len()))
    }

    fn trailers(&mut self, fields: &HeaderMap) {
        let mut block = BytesMut::with_capacity(128);
        blocks::put_trailers(&mut block, fields);
        if !self.exchange.is_ended() && !block.is_empty() {
            self.exchange.send_trailers(&block);
        }
    }

    fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The connection's task was woken when there was something to be written.
        Poll::Ready(Ok(()))
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.exchange.is_ended() {
            self.exchange.send(Bytes::new(), true);
        }
        self.exchange.poll_sent(cx).map_err(gone)
    }

    fn progress(&self) -> Taken {
        self.exchange.progress()
    }

    fn reply(&mut self, reply: &Reply) {
        let mut block = BytesMut::with_capacity(512);
        blocks::put_reply(&mut block, reply);
        let end = self.head_only || reply.body.is_empty();
        self.exchange.send_head(&block, end);
        if !end {
            self.exchange.send(reply.body.clone(), true);
        }
    }
}
