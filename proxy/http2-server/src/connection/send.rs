//! From commands to frames.

use bytes::Bytes;

use super::{AHEAD, Connection, StreamId};
use crate::{
    frame::{ErrorCode, Fault, MAX_PAYLOAD, kind},
    streams::Item,
};

/// DATA frames below this size, if it was the window that cut them, cost more than they bring.
const CRUMB: usize = 256;
/// Control frames that a DATA frame lets expect: a client answers it with a WINDOW_UPDATE or two.
const EARNED: u32 = 4;

impl Connection {
    /// Sends a response: its head, and content or the first of it. `end` says that nothing follows.
    pub fn respond(&mut self, stream: StreamId, block: &[u8], content: Option<Bytes>, end: bool) {
        let content = content.filter(|content| !content.is_empty());
        let Some(slot) = self.sending(stream) else { return };
        self.push_head(slot, block, end && content.is_none());
        if let Some(content) = content {
            self.push_content(slot, content, end);
        }
        self.pump();
    }

    /// Sends a head. Interim ones (1xx) come before the final one, without `end`.
    pub fn send_head(&mut self, stream: StreamId, block: &[u8], end: bool) {
        let Some(slot) = self.sending(stream) else { return };
        self.push_head(slot, block, end);
        self.pump();
    }

    /// Sends content, which may be empty with `end`.
    pub fn send_content(&mut self, stream: StreamId, content: Bytes, end: bool) {
        let Some(slot) = self.sending(stream) else { return };
        if content.is_empty() {
            if end {
                self.streams.at(slot).is_ending = true;
                self.schedule(slot);
            }
        } else {
            self.push_content(slot, content, end);
        }
        self.pump();
    }

    /// Sends trailers, the end of a response.
    pub fn send_trailers(&mut self, stream: StreamId, block: &[u8]) {
        let Some(slot) = self.sending(stream) else { return };
        let stream = self.streams.at(slot);
        stream.is_ending = true;
        stream.queue.push_back(Item::Trailers(Bytes::copy_from_slice(block)));
        self.schedule(slot);
        self.pump();
    }

    /// Octets of content that wait for a window, or for what was made before them to be written.
    pub fn unsent(&self, stream: StreamId) -> usize {
        self.streams.by_id(stream.0).map_or(0, |stream| stream.unsent)
    }

    /// Whether the end of a response has been made into a frame, and nothing of it waits any more; also of a stream
    /// that is gone.
    pub fn is_sent(&self, stream: StreamId) -> bool {
        self.streams.by_id(stream.0).is_none_or(|stream| stream.has_sent_all)
    }

    /// Octets of content that the windows of a stream and of the connection let through now.
    pub fn window(&self, stream: StreamId) -> usize {
        let window = self.streams.by_id(stream.0).map_or(0, |stream| stream.send_window);
        usize::try_from(window.min(self.send_window)).unwrap_or(0)
    }

    /// Whether the client takes content on a stream, as far as that stream is concerned.
    pub fn is_window_open(&self, stream: StreamId) -> bool {
        self.streams.by_id(stream.0).is_some_and(|stream| stream.send_window > 0)
    }

    /// Whether streams with content and a window wait for their turn.
    pub fn has_queued(&self) -> bool {
        !self.contents.is_empty()
    }

    /// Octets that are made into frames, and not written.
    pub fn unwritten(&self) -> usize {
        self.output.len()
    }

    /// Ends a stream at once, in both directions. What was queued on it is dropped.
    pub fn reset(&mut self, stream: StreamId, code: ErrorCode) {
        let Some(slot) = self.streams.find(stream.0) else { return };
        self.forget(slot);
        self.reset_by_us.add(stream.0);
        if let Err(fault) = self.reply(kind::RST_STREAM, 0, stream.0, &code.0.to_be_bytes()) {
            self.fail(fault);
        }
    }

    /// The slot of a stream on which something may still be sent.
    fn sending(&mut self, stream: StreamId) -> Option<u32> {
        let slot = self.streams.find(stream.0)?;
        let stream = self.streams.at(slot);
        (!stream.is_ending && !stream.has_sent_all).then_some(slot)
    }

    fn push_head(&mut self, slot: u32, block: &[u8], end: bool) {
        let may_go = self.output.len() < AHEAD;
        let stream = self.streams.at(slot);
        if may_go && stream.queue.is_empty() {
            return self.put_head(slot, block, end);
        }
        stream.is_ending |= end;
        stream.queue.push_back(Item::Head(Bytes::copy_from_slice(block)));
        self.schedule(slot);
    }

    fn put_head(&mut self, slot: u32, block: &[u8], end: bool) {
        let update: &[u8] = if self.owes_table_update { &[0x20] } else { &[] };
        self.has_told_table |= self.owes_table_update;
        self.owes_table_update = false;
        let id = self.streams.at(slot).id;
        self.output.put_head(id, update, block, end);
        if end {
            self.end_sending(slot);
        }
    }

    /// Content goes out whole and at once if it fits into a frame and the windows, and nothing is before it.
    fn push_content(&mut self, slot: u32, content: Bytes, end: bool) {
        let may_go = self.output.len() < AHEAD;
        let windows = self.send_window;
        let stream = self.streams.at(slot);
        let fits =
            content.len() <= MAX_PAYLOAD && content.len() as i32 <= stream.send_window.min(windows);
        if may_go && fits && stream.queue.is_empty() {
            self.control.earn(EARNED);
            return self.put_content(slot, content, end);
        }
        stream.is_ending |= end;
        stream.unsent += content.len();
        stream.queue.push_back(Item::Content(content));
        self.schedule(slot);
    }

    /// Makes a DATA frame of content that the windows allow.
    fn put_content(&mut self, slot: u32, content: Bytes, end: bool) {
        self.send_window -= content.len() as i32;
        let stream = self.streams.at(slot);
        stream.send_window -= content.len() as i32;
        let id = stream.id;
        self.output.put_content(id, content, end);
        if end {
            self.end_sending(slot);
        }
    }

    /// Gives a stream a place among those that have something to write, if it may.
    pub(super) fn schedule(&mut self, slot: u32) {
        let stream = self.streams.at(slot);
        if stream.is_scheduled || stream.has_sent_all {
            return;
        }
        let queue = match stream.queue.front() {
            Some(Item::Content(_)) if stream.send_window <= 0 => return,
            Some(Item::Content(_)) => &mut self.contents,
            None if !stream.is_ending => return,
            _ => &mut self.heads,
        };
        stream.is_scheduled = true;
        queue.push_back(slot);
    }

    /// Makes frames as far ahead as is good: what needs no window first, then content in turns.
    pub(super) fn pump(&mut self) {
        while self.output.len() < AHEAD {
            if let Some(slot) = self.heads.pop_front() {
                self.take_turn(slot);
            } else if self.send_window > 0
                && let Some(slot) = self.contents.pop_front()
            {
                self.take_turn(slot);
            } else {
                return;
            }
        }
    }

    /// Heads and the like as they come, then one frame of content.
    fn take_turn(&mut self, slot: u32) {
        self.streams.at(slot).is_scheduled = false;
        loop {
            let stream = self.streams.at(slot);
            match stream.queue.pop_front() {
                Some(Item::Head(block)) => {
                    let end = stream.is_ending && stream.queue.is_empty();
                    self.put_head(slot, &block, end);
                    if end {
                        return;
                    }
                }
                Some(Item::Trailers(block)) => return self.put_head(slot, &block, true),
                Some(Item::Content(content)) => {
                    if !self.put_part(slot, content) {
                        return;
                    }
                    break;
                }
                None if stream.is_ending => return self.put_content(slot, Bytes::new(), true),
                None => return,
            }
        }
        self.schedule(slot);
    }

    /// Makes one frame of the front of a stream's content; false if the stream is at its end.
    fn put_part(&mut self, slot: u32, mut content: Bytes) -> bool {
        let windows = self.send_window;
        let stream = self.streams.at(slot);
        let allowed = usize::try_from(stream.send_window.min(windows)).unwrap_or(0);
        let len = content.len().min(MAX_PAYLOAD).min(allowed);
        if len == 0 {
            stream.queue.push_front(Item::Content(content));
            return true;
        }
        let part = content.split_to(len);
        let is_cut = !content.is_empty() && len < MAX_PAYLOAD;
        if !content.is_empty() {
            stream.queue.push_front(Item::Content(content));
        }
        stream.unsent -= len;
        let end = stream.is_ending && stream.queue.is_empty();
        self.put_content(slot, part, end);
        if !is_cut || len >= CRUMB {
            self.control.earn(EARNED);
        } else if let Err(Fault { code, .. }) = self.charge() {
            self.fail(Fault { code, reason: "windows opened in crumbs" });
            return false;
        }
        !end
    }

    /// END_STREAM is among what is to be written.
    fn end_sending(&mut self, slot: u32) {
        let stream = self.streams.at(slot);
        stream.has_sent_all = true;
        if stream.has_received_all {
            self.complete(slot);
        }
    }

    /// The request is complete.
    pub(super) fn end_receiving(&mut self, slot: u32) {
        let stream = self.streams.at(slot);
        stream.has_received_all = true;
        if stream.has_sent_all {
            self.complete(slot);
        }
    }

    fn complete(&mut self, slot: u32) {
        let id = self.streams.at(slot).id;
        self.ended.add(id);
        self.forget(slot);
    }

    /// A stream is gone, and so is its place among those that write. What its content held of the
    /// connection's window is given back.
    pub(super) fn forget(&mut self, slot: u32) {
        let stream = self.streams.at(slot);
        let unreleased = stream.unreleased;
        if stream.is_scheduled {
            self.heads.retain(|scheduled| *scheduled != slot);
            self.contents.retain(|scheduled| *scheduled != slot);
        }
        self.streams.remove(slot);
        if unreleased > 0
            && let Err(fault) = self.give_back(unreleased)
        {
            self.fail(fault);
        }
    }
}
