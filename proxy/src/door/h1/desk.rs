//! The desk of a thread: what it takes to answer hits, shared by all its connections.

use std::{
    cell::RefCell,
    collections::VecDeque,
    io::{self, IoSlice},
    net::IpAddr,
    ops::Range,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use http::Method;
use http1_wire::request::Head;
use tokio::io::AsyncWrite;

use super::{
    super::{Hall, RequestId, outgoing::Outgoing},
    hits::Turn,
    protocol, write,
};
use crate::{
    edge::{Hit, Scheme, decide::Now, room::note},
    fill::content::Content,
    listen::stream::Stream,
    observe::Record,
};

/// What is read at once.
pub(super) const INPUT: usize = 16 * 1024;
/// Requests that are answered in one write.
pub(super) const MAX_TOGETHER: usize = 16;

/// The shared place of a thread.
pub(super) struct Desk {
    pub(super) input: Box<[u8]>,
    pub(super) answers: Vec<Ready>,
    /// What differs from answer to answer, one behind the other.
    pub(super) out: BytesMut,
    /// For the next heads.
    pub(super) spare: Vec<Head>,
}

thread_local! {
    pub(super) static DESK: RefCell<Desk> = RefCell::new(Desk {
        input: vec![0; INPUT].into_boxed_slice(),
        answers: Vec::with_capacity(MAX_TOGETHER),
        out: BytesMut::with_capacity(4 * 1024),
        spare: Vec::new(),
    });
}

/// A request that is answered, for those who are told of it.
pub(super) struct AskedFor {
    pub(super) head: Head,
    /// Where its head lies in the input.
    pub(super) at: Range<usize>,
    pub(super) now: Now,
    pub(super) client: IpAddr,
    pub(super) request_id: RequestId,
}

/// An answer that is ready to be written.
pub(super) struct Ready {
    pub(super) asked: AskedFor,
    hit: Hit,
    status: u16,
    /// As it is stored; empty where the answer has another one.
    stored_head: Bytes,
    /// What follows it, on the desk.
    out: Range<usize>,
    pub(super) content: Bytes,
}

/// Answers that are not written yet.
pub(super) struct Unsent {
    pub(super) parts: VecDeque<Bytes>,
    pub(super) answers: Vec<(Ready, BytesMut)>,
    /// What is to be done behind them.
    pub(super) then: Turn,
}

impl Ready {
    /// Composes the answer; its head goes onto the desk.
    pub(super) fn new(
        asked: AskedFor,
        hit: Hit,
        scheme: Scheme,
        close: bool,
        desk: &mut BytesMut,
    ) -> Self {
        let mut outgoing = Outgoing::of_hit(&hit);
        outgoing.over(scheme, &hit.route);
        outgoing.narrow(&hit.route.dress);
        let manner = write::Manner {
            head_only: asked.head.method == Method::HEAD,
            close,
            is_http10: asked.head.is_http10,
            request_id: asked.request_id.as_str().as_bytes(),
        };
        let begin = desk.len();
        write::put_head(desk, &outgoing, &manner, write::Framing::Known);
        let content = match std::mem::replace(&mut outgoing.content, Content::empty()) {
            Content::Memory(content) if !manner.head_only => content,
            _ => Bytes::new(),
        };
        let stored_head = match outgoing.has_stored_head() {
            true => std::mem::take(&mut outgoing.head),
            false => Bytes::new(),
        };
        Self {
            status: outgoing.status(),
            stored_head,
            out: begin..desk.len(),
            content,
            hit,
            asked,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.stored_head.len() + self.out.len() + self.content.len()
    }

    pub(super) fn tell(
        &self,
        hall: &Hall,
        bytes: &[u8],
        now: Duration,
        reason: Option<&'static str>,
        client_cert: Option<&str>,
    ) {
        let asked = &self.asked;
        let fields = asked.head.fields(bytes);
        hall.shared.finish(&Record {
            began: asked.now,
            duration: now.saturating_sub(asked.now.tick),
            client: asked.client,
            protocol: protocol(&asked.head),
            method: &asked.head.method,
            host: asked.head.host(bytes),
            target: asked.head.target(bytes),
            status: self.status,
            bytes: self.content.len() as u64,
            route: Some(&self.hit.route),
            outcome: self.hit.outcome,
            upstream: None,
            upstream_time: None,
            attempts: 0,
            retried: None,
            request_id: asked.request_id.as_str(),
            limit: self.hit.limit.as_ref(),
            room: note(self.hit.room.as_ref()),
            reason,
            fields: Some(&fields),
            client_cert,
        });
    }
}

impl Unsent {
    /// Takes the answers off the desk, less what is `written`.
    pub(super) fn new(desk: &mut Desk, input: &[u8], written: usize, then: Turn) -> Self {
        let mut parts = VecDeque::with_capacity(3 * desk.answers.len());
        let mut skip = written;
        let out = Bytes::copy_from_slice(&desk.out);
        for ready in &desk.answers {
            let head = ready.stored_head.clone();
            for mut part in [head, out.slice(ready.out.clone()), ready.content.clone()] {
                let gone = skip.min(part.len());
                skip -= gone;
                part.advance(gone);
                if !part.is_empty() {
                    parts.push_back(part);
                }
            }
        }
        let answers = desk.answers.drain(..).map(|ready| {
            let bytes = BytesMut::from(&input[ready.asked.at.clone()]);
            (ready, bytes)
        });
        Self {
            parts,
            answers: answers.collect(),
            then,
        }
    }
}

/// Writes what can be written at once of the answers on the desk.
pub(super) fn poll_write(
    stream: &mut Stream,
    desk: &Desk,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    if let [only] = desk.answers.as_slice() {
        let out = &desk.out[only.out.clone()];
        let slices = [&only.stored_head[..], out, &only.content[..]].map(IoSlice::new);
        return Pin::new(stream).poll_write_vectored(cx, &slices);
    }
    let mut slices = [IoSlice::new(&[]); 3 * MAX_TOGETHER];
    for (i, ready) in desk.answers.iter().enumerate() {
        slices[3 * i] = IoSlice::new(&ready.stored_head);
        slices[3 * i + 1] = IoSlice::new(&desk.out[ready.out.clone()]);
        slices[3 * i + 2] = IoSlice::new(&ready.content);
    }
    Pin::new(stream).poll_write_vectored(cx, &slices[..3 * desk.answers.len()])
}
