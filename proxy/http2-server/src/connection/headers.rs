//! HEADERS and CONTINUATION: requests and trailers.

use super::{
    Connection, Event, Fragments, StreamId,
    receive::{Step, Stepped},
};
use crate::{
    Head,
    config::{INITIAL_WINDOW, MAX_WINDOW},
    frame::{ErrorCode, Fault, FrameHead, MAX_PAYLOAD, flag, kind},
    head::Verdict,
};

/// Frames of a header block beyond those that full ones would need: clients fill each frame before they begin
/// another, so more are a flood.
const MORE_FRAMES: usize = 8;

impl Connection {
    pub(super) fn headers(&mut self, frame: FrameHead, payload: &[u8], head: &mut Head) -> Stepped {
        if frame.stream.is_multiple_of(2) {
            return Err(Fault::protocol("HEADERS of a stream that no client opens"));
        }
        let mut block = payload;
        if frame.has(flag::PADDED) {
            let Some((padding, rest)) = block.split_first() else {
                return Err(Fault::size("HEADERS without the length of its padding"));
            };
            let Some(len) = rest.len().checked_sub(usize::from(*padding)) else {
                return Err(Fault::protocol("more padding than payload"));
            };
            block = &rest[..len];
        }
        let mut depends_on_itself = false;
        if frame.has(flag::PRIORITY) {
            let Some((&[d0, d1, d2, d3, _], rest)) = block.split_first_chunk() else {
                return Err(Fault::size("HEADERS without the priority it announces"));
            };
            block = rest;
            depends_on_itself = u32::from_be_bytes([d0, d1, d2, d3]) & MAX_WINDOW == frame.stream;
        }
        let end = frame.has(flag::END_STREAM);
        if frame.has(flag::END_HEADERS) {
            return self.block(frame.stream, end, depends_on_itself, block, head);
        }
        self.fragments = Some(Box::new(Fragments {
            stream: frame.stream,
            end,
            depends_on_itself,
            frames: 1,
            block: block.to_vec(),
        }));
        Ok(Step::Again)
    }

    pub(super) fn continuation(
        &mut self,
        frame: FrameHead,
        payload: &[u8],
        head: &mut Head,
    ) -> Stepped {
        let max = self.config.max_head.saturating_mul(2).saturating_add(MAX_PAYLOAD);
        let Some(fragments) = &mut self.fragments else { return Ok(Step::Again) };
        fragments.frames += 1;
        if fragments.frames > MORE_FRAMES + max / MAX_PAYLOAD
            || fragments.block.len() + payload.len() > max
        {
            return Err(Fault::calm("a header block without end"));
        }
        fragments.block.extend_from_slice(payload);
        if !frame.has(flag::END_HEADERS) {
            return Ok(Step::Again);
        }
        let Some(all) = self.fragments.take() else { return Ok(Step::Again) };
        self.block(all.stream, all.end, all.depends_on_itself, &all.block, head)
    }

    /// A whole block. It is decoded whatever becomes of it, so that the compression state stays in step.
    fn block(
        &mut self,
        id: u32,
        end: bool,
        depends_on_itself: bool,
        block: &[u8],
        head: &mut Head,
    ) -> Stepped {
        let slot = self.streams.find(id);
        let is_new = id > self.last_id;
        head.begin(!is_new, self.config.max_head, self.config.max_fields);
        self.decoder
            .decode(block, head)
            .map_err(|error| Fault { code: ErrorCode::COMPRESSION_ERROR, reason: error.0 })?;
        match slot {
            Some(slot) => self.trailers(slot, id, end, head),
            None if !is_new => self.headers_of_closed(id),
            None => {
                self.last_id = id;
                self.request(id, end, depends_on_itself, head)
            }
        }
    }

    fn request(&mut self, id: u32, end: bool, depends_on_itself: bool, head: &mut Head) -> Stepped {
        const WRONG: ErrorCode = ErrorCode::PROTOCOL_ERROR;
        if self.is_beyond(id) {
            // Ignored (RFC 9113 §6.8): the client knows from GOAWAY that it may ask elsewhere.
            self.charge()?;
            return Ok(Step::Again);
        }
        if self.streams.len() >= self.config.max_streams as usize {
            self.charge_reset()?;
            self.reset_by_us.add(id);
            let code = ErrorCode::REFUSED_STREAM.0.to_be_bytes();
            self.reply(kind::RST_STREAM, 0, id, &code)?;
            return Ok(Step::Again);
        }
        if depends_on_itself {
            return self.stream_error(id, WRONG, "a stream depends on itself");
        }
        let verdict = head.finish();
        if let Verdict::Malformed(reason) = verdict {
            return self.stream_error(id, WRONG, reason);
        }
        let expected = head.content_length();
        if end && expected.is_some_and(|length| length > 0) {
            return self.stream_error(id, WRONG, "content differs from Content-Length");
        }
        let slot = self.streams.insert(id);
        let receive = if self.is_acknowledged { self.config.stream_window } else { INITIAL_WINDOW };
        let send_window = self.initial_send_window;
        let stream = self.streams.at(slot);
        stream.receive_window = receive as i32;
        stream.send_window = send_window;
        stream.expected = expected;
        stream.has_received_all = end;
        self.control.earn(4);
        let stream = StreamId(id);
        Ok(Step::Event(match verdict {
            Verdict::TooLarge => Event::TooLarge { stream, end },
            _ => Event::Request { stream, end },
        }))
    }

    fn trailers(&mut self, slot: u32, id: u32, end: bool, head: &mut Head) -> Stepped {
        const WRONG: ErrorCode = ErrorCode::PROTOCOL_ERROR;
        let stream = self.streams.at(slot);
        if stream.has_received_all {
            return self.stream_error(id, ErrorCode::STREAM_CLOSED, "HEADERS behind the end");
        }
        if !end {
            return self.stream_error(id, WRONG, "a second head");
        }
        if stream.expected.is_some_and(|left| left > 0) {
            return self.stream_error(id, WRONG, "content differs from Content-Length");
        }
        match head.finish() {
            Verdict::Malformed(reason) => self.stream_error(id, WRONG, reason),
            Verdict::TooLarge => {
                self.stream_error(id, ErrorCode::ENHANCE_YOUR_CALM, "trailers are too large")
            }
            Verdict::Sound => {
                self.end_receiving(slot);
                Ok(Step::Event(Event::Trailers { stream: StreamId(id), fields: head.to_map() }))
            }
        }
    }

    fn headers_of_closed(&mut self, id: u32) -> Stepped {
        if self.reset_by_us.has(id) || self.is_beyond(id) {
            // They were on their way.
            return self.charge().map(|()| Step::Again);
        }
        if self.ended.has(id) {
            let code = ErrorCode::STREAM_CLOSED;
            return Err(Fault { code, reason: "HEADERS of a stream that is closed" });
        }
        Err(Fault::protocol("a stream opened behind a later one"))
    }
}
