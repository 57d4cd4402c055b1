//! Requests that a limit holds back.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, ReadBuf},
    time::{Instant, sleep_until},
};

use super::{Noted, Session, visitor::MAX_BEHIND};
use crate::{
    admit::rate::Held,
    edge::{self, Decision, Delay, RequestView},
    observe::Record,
    snapshot::Snapshot,
};

impl Session<'_> {
    /// Waits, and decides once more. `None`: the visitor has left, and its place is another's.
    pub(super) async fn wait_for_turn(
        &mut self,
        snapshot: &Arc<Snapshot>,
        bytes: &[u8],
        host: &str,
        delay: Delay,
        noted: &Noted,
    ) -> Option<Decision> {
        if !self.wait(delay.wait).await {
            let record = Record {
                status: 499,
                route: Some(&delay.route),
                limit: delay.passed.limit.as_ref(),
                reason: Some("client_gone"),
                ..self.blank(noted)
            };
            self.tell(bytes, noted, &record);
            return None;
        }
        delay.held.into_iter().for_each(Held::take_turn);
        let fields = self.head.fields(bytes);
        let view = RequestView {
            method: &self.head.method,
            authority: host,
            target: self.head.target(bytes),
            fields: &fields,
            body: self.head.body,
            client: noted.client,
            connection: self.connection,
        };
        let (shared, now) = (&self.hall.shared, self.hall.now());
        Some(edge::decide_after(
            snapshot,
            shared,
            &view,
            now,
            delay.passed,
        ))
    }

    /// Whether the visitor is still there when the wait is over.
    async fn wait(&mut self, wait: Duration) -> bool {
        let turn = Instant::now() + wait;
        let mut has_ended = false;
        loop {
            // A full buffer is read on when the answer is out.
            let listens = !has_ended && self.buf.len() < MAX_BEHIND;
            tokio::select! {
                biased;
                read = poll_fn(|cx| self.poll_behind(cx)), if listens => match read {
                    // Some say that they have nothing more to ask, and wait for the answer. It is we who let them
                    // wait: what they may take for gone begins with their turn.
                    Ok(0) => has_ended = true,
                    Ok(_) => {}
                    Err(_) => return false,
                },
                () = sleep_until(turn) => return true,
            }
        }
    }

    /// Reads a little of what comes behind the request's head. Mostly nothing comes, so nothing is set aside for it.
    fn poll_behind(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        let mut chunk = [0; 256];
        let mut room = ReadBuf::new(&mut chunk);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut room))?;
        self.buf.extend_from_slice(room.filled());
        Poll::Ready(Ok(room.filled().len()))
    }
}
