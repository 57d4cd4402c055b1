//! From octets to events.

use std::time::Duration;

use bytes::Bytes;

use super::{Connection, Event, LEAVING, Leaving, StreamId};
use crate::{
    Head,
    config::MAX_WINDOW,
    frame::{ErrorCode, Fault, FrameHead, HEAD_LEN, MAX_PAYLOAD, PREFACE, flag, kind, setting},
};

/// What reading a bit of the input led to.
pub(super) enum Step {
    Event(Event),
    /// Nothing to tell; there may be more in the input.
    Again,
    /// More input is needed.
    Wait,
}

pub(super) type Stepped = Result<Step, Fault>;

impl Connection {
    /// The next event of `input`, which moves on behind what was used. With `None` more is needed: what is
    /// left of `input`, the beginning of a frame, comes again in front of what is read next. A buffer of
    /// [`INPUT_BUFFER`](crate::INPUT_BUFFER) octets is always enough.
    ///
    /// # Errors
    ///
    /// A connection error; also every time after it. What is queued then ends with GOAWAY.
    pub fn next(
        &mut self,
        input: &mut &[u8],
        head: &mut Head,
        now: Duration,
    ) -> Result<Option<Event>, Fault> {
        self.now = self.now.max(now);
        if let Leaving::Announced(at) | Leaving::Heard(at) = self.leaving
            && self.now - at >= super::ANNOUNCED_FOR
        {
            self.leave();
        }
        loop {
            if let Some(fault) = self.fault {
                return Err(fault);
            }
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            match self.step(input, head) {
                Ok(Step::Event(event)) => return Ok(Some(event)),
                Ok(Step::Again) => {}
                Ok(Step::Wait) => return Ok(None),
                Err(fault) => return Err(self.fail(fault)),
            }
        }
    }

    fn step(&mut self, input: &mut &[u8], head: &mut Head) -> Stepped {
        if self.data.is_some() {
            return self.content(input);
        }
        if !self.has_preface {
            return self.preface(input);
        }
        let Some((octets, rest)) = input.split_first_chunk::<HEAD_LEN>() else {
            return Ok(Step::Wait);
        };
        let frame = FrameHead::parse(octets);
        self.check_order(&frame)?;
        if frame.kind == kind::DATA {
            return self.data(frame, rest, input);
        }
        let Some((payload, rest)) = rest.split_at_checked(frame.length) else {
            return Ok(Step::Wait);
        };
        *input = rest;
        match frame.kind {
            kind::HEADERS => self.headers(frame, payload, head),
            kind::CONTINUATION => self.continuation(frame, payload, head),
            kind::PRIORITY => self.priority(frame, payload),
            kind::RST_STREAM => self.rst_stream(frame, payload),
            kind::SETTINGS => self.settings(frame, payload),
            kind::PUSH_PROMISE => Err(Fault::protocol("PUSH_PROMISE of a client")),
            kind::PING => self.ping(frame, payload),
            kind::GOAWAY => self.goaway(frame, payload),
            kind::WINDOW_UPDATE => self.window_update(frame, payload),
            // RFC 9113 §5.5: unknown ones are ignored.
            _ => self.charge().map(|()| Step::Again),
        }
    }

    fn preface(&mut self, input: &mut &[u8]) -> Stepped {
        let len = input.len().min(PREFACE.len());
        if input[..len] != PREFACE[..len] {
            return Err(Fault::protocol("not the preface of HTTP/2"));
        }
        if len < PREFACE.len() {
            return Ok(Step::Wait);
        }
        *input = &input[len..];
        self.has_preface = true;
        Ok(Step::Again)
    }

    fn check_order(&self, frame: &FrameHead) -> Result<(), Fault> {
        if frame.length > MAX_PAYLOAD {
            return Err(Fault::size("a frame larger than 16,384 octets"));
        }
        if !self.has_settings && (frame.kind != kind::SETTINGS || frame.has(flag::ACK)) {
            return Err(Fault::protocol("the first frame is not SETTINGS"));
        }
        let continues =
            |f: &super::Fragments| frame.kind == kind::CONTINUATION && f.stream == frame.stream;
        match &self.fragments {
            Some(fragments) if !continues(fragments) => {
                Err(Fault::protocol("a header block is not continued"))
            }
            None if frame.kind == kind::CONTINUATION => {
                Err(Fault::protocol("CONTINUATION of nothing"))
            }
            _ => Ok(()),
        }
    }

    fn priority(&mut self, frame: FrameHead, payload: &[u8]) -> Stepped {
        let [d0, d1, d2, d3, _] = *payload else {
            return Err(Fault::size("PRIORITY is not of five octets"));
        };
        if frame.stream == 0 {
            return Err(Fault::protocol("PRIORITY for the connection"));
        }
        if u32::from_be_bytes([d0, d1, d2, d3]) & MAX_WINDOW == frame.stream {
            return Err(Fault::protocol("a stream depends on itself"));
        }
        self.charge().map(|()| Step::Again)
    }

    fn rst_stream(&mut self, frame: FrameHead, payload: &[u8]) -> Stepped {
        let Ok(code) = payload.try_into().map(u32::from_be_bytes) else {
            return Err(Fault::size("RST_STREAM is not of four octets"));
        };
        self.refuse_idle(frame.stream, "RST_STREAM of an idle stream")?;
        let Some(slot) = self.streams.find(frame.stream) else {
            return self.charge().map(|()| Step::Again);
        };
        self.charge_reset()?;
        self.forget(slot);
        self.ended.add(frame.stream);
        Ok(Step::Event(Event::Reset {
            stream: StreamId(frame.stream),
            code: ErrorCode(code),
            by_peer: true,
        }))
    }

    fn settings(&mut self, frame: FrameHead, payload: &[u8]) -> Stepped {
        if frame.stream != 0 {
            return Err(Fault::protocol("SETTINGS of a stream"));
        }
        if frame.has(flag::ACK) {
            if !payload.is_empty() {
                return Err(Fault::size("an acknowledgement with settings"));
            }
            self.charge()?;
            if !self.is_acknowledged {
                self.is_acknowledged = true;
                self.apply_stream_window()?;
            }
            return Ok(Step::Again);
        }
        if !payload.len().is_multiple_of(6) {
            return Err(Fault::size("SETTINGS are not of six octets each"));
        }
        self.charge()?;
        let mut window = None;
        for entry in payload.chunks_exact(6) {
            let [i0, i1, v0, v1, v2, v3] = *entry else { continue };
            let value = u32::from_be_bytes([v0, v1, v2, v3]);
            match u16::from_be_bytes([i0, i1]) {
                setting::HEADER_TABLE_SIZE => {
                    self.owes_table_update |= value < 4096 && !self.has_told_table;
                }
                setting::ENABLE_PUSH if value > 1 => {
                    return Err(Fault::protocol("ENABLE_PUSH is neither 0 nor 1"));
                }
                setting::INITIAL_WINDOW_SIZE => {
                    if value > MAX_WINDOW {
                        return Err(Fault::flow("INITIAL_WINDOW_SIZE beyond the largest window"));
                    }
                    window = Some(value as i32);
                }
                setting::MAX_FRAME_SIZE if !(16_384..=16_777_215).contains(&value) => {
                    return Err(Fault::protocol("MAX_FRAME_SIZE out of its bounds"));
                }
                setting::NO_RFC7540_PRIORITIES if value > 1 => {
                    return Err(Fault::protocol("NO_RFC7540_PRIORITIES is neither 0 nor 1"));
                }
                _ => {}
            }
        }
        self.has_settings = true;
        self.acknowledge(kind::SETTINGS, &[])?;
        if let Some(window) = window {
            self.set_initial_send_window(window)?;
        }
        Ok(Step::Again)
    }

    fn ping(&mut self, frame: FrameHead, payload: &[u8]) -> Stepped {
        if payload.len() != 8 {
            return Err(Fault::size("PING is not of eight octets"));
        }
        if frame.stream != 0 {
            return Err(Fault::protocol("PING of a stream"));
        }
        self.charge()?;
        if !frame.has(flag::ACK) {
            self.acknowledge(kind::PING, payload)?;
        } else if payload == LEAVING {
            match self.leaving {
                Leaving::Announced(at) => {
                    self.leaving = Leaving::Heard(at);
                    self.output.put_control(kind::PING, 0, 0, &LEAVING);
                }
                Leaving::Heard(_) => self.leave(),
                Leaving::No | Leaving::Final(_) => {}
            }
        }
        Ok(Step::Again)
    }

    fn goaway(&mut self, frame: FrameHead, payload: &[u8]) -> Stepped {
        if frame.stream != 0 {
            return Err(Fault::protocol("GOAWAY of a stream"));
        }
        if payload.len() < 8 {
            return Err(Fault::size("GOAWAY of less than eight octets"));
        }
        self.charge()?;
        self.peer_is_leaving = true;
        Ok(Step::Again)
    }

    /// The head of a DATA frame; what follows is taken as it arrives.
    fn data<'a>(&mut self, frame: FrameHead, mut rest: &'a [u8], input: &mut &'a [u8]) -> Stepped {
        let mut padding = 0;
        let mut length = frame.length as u32;
        if frame.has(flag::PADDED) {
            if length == 0 {
                return Err(Fault::size("DATA without the length of its padding"));
            }
            let Some((first, behind)) = rest.split_first() else { return Ok(Step::Wait) };
            rest = behind;
            padding = u32::from(*first);
            length -= 1;
            if padding > length {
                return Err(Fault::protocol("more padding than payload"));
            }
        }
        *input = rest;
        self.refuse_idle(frame.stream, "DATA of an idle stream")?;
        // Padding counts as content does (RFC 9113 §6.9.1).
        self.receive_window -= frame.length as i32;
        if self.receive_window < 0 {
            return Err(Fault::flow("more content than the connection's window"));
        }
        let overhead = frame.length as u32 - (length - padding);
        self.give_back(overhead)?;
        let end = frame.has(flag::END_STREAM);
        let content = length - padding;
        if content < 64 && !end {
            self.charge()?;
        }
        self.data = Some(super::DataFrame { stream: frame.stream, content, padding, end });
        let Some(slot) = self.streams.find(frame.stream) else {
            return self.data_of_closed(frame.stream);
        };
        let stream = self.streams.at(slot);
        if stream.has_received_all {
            return self.stream_error(
                frame.stream,
                ErrorCode::STREAM_CLOSED,
                "DATA behind the end",
            );
        }
        stream.receive_window -= frame.length as i32;
        if stream.receive_window < 0 {
            return Err(Fault::flow("more content than the stream's window"));
        }
        stream.released += overhead;
        let wrong = match &mut stream.expected {
            Some(left) => {
                let before = *left;
                *left = before.saturating_sub(content.into());
                before < u64::from(content) || end && *left > 0
            }
            None => false,
        };
        if wrong {
            let code = ErrorCode::PROTOCOL_ERROR;
            return self.stream_error(frame.stream, code, "content differs from Content-Length");
        }
        Ok(Step::Again)
    }

    fn data_of_closed(&mut self, id: u32) -> Stepped {
        if self.reset_by_us.has(id) || self.is_beyond(id) {
            // It was on its way.
            return Ok(Step::Again);
        }
        self.charge()?;
        let code = ErrorCode::STREAM_CLOSED.0.to_be_bytes();
        self.reply(kind::RST_STREAM, 0, id, &code)?;
        self.reset_by_us.add(id);
        Ok(Step::Again)
    }

    /// Content of the DATA frame at hand, as far as it has arrived.
    fn content(&mut self, input: &mut &[u8]) -> Stepped {
        /// Less is waited for, so that an octet at a time does not become an allocation each.
        const LEAST: usize = 1024;
        let Some(mut frame) = self.data else { return Ok(Step::Again) };
        let left = frame.content as usize;
        let slot = self.streams.find(frame.stream);
        if left > 0 || frame.end {
            let now = input.len().min(left);
            if now < left.min(LEAST) {
                return Ok(Step::Wait);
            }
            let (content, rest) = input.split_at(now);
            *input = rest;
            frame.content -= now as u32;
            let end = frame.end && frame.content == 0;
            frame.end &= !end;
            self.data = Some(frame);
            let Some(slot) = slot else {
                self.give_back(now as u32)?;
                return Ok(Step::Again);
            };
            self.streams.at(slot).unreleased += now as u32;
            let content = Bytes::copy_from_slice(content);
            if end {
                self.end_receiving(slot);
            }
            return Ok(Step::Event(Event::Content {
                stream: StreamId(frame.stream),
                content,
                end,
            }));
        }
        let now = input.len().min(frame.padding as usize);
        *input = &input[now..];
        frame.padding -= now as u32;
        self.data = (frame.padding > 0).then_some(frame);
        Ok(if frame.padding > 0 { Step::Wait } else { Step::Again })
    }

    /// Nothing but HEADERS and PRIORITY may come for a stream that was never opened (RFC 9113 §5.1).
    pub(super) fn refuse_idle(&self, id: u32, reason: &'static str) -> Result<(), Fault> {
        // Even ids are ours to open, and we open none.
        if id == 0 || id > self.last_id || id.is_multiple_of(2) {
            return Err(Fault::protocol(reason));
        }
        Ok(())
    }

    /// Whether a stream came after the last that we said we serve.
    pub(super) fn is_beyond(&self, id: u32) -> bool {
        matches!(self.leaving, Leaving::Final(last) if id > last)
    }

    /// A stream error (RFC 9113 §5.4.2): the stream is gone. It counts as a reset, since the peer made us do it.
    pub(super) fn stream_error(
        &mut self,
        id: u32,
        code: ErrorCode,
        reason: &'static str,
    ) -> Stepped {
        self.charge_reset()?;
        self.reply(kind::RST_STREAM, 0, id, &code.0.to_be_bytes())?;
        self.reset_by_us.add(id);
        let stream = StreamId(id);
        if let Some(slot) = self.streams.find(id) {
            self.forget(slot);
            self.events.push_back(Event::Reset { stream, code, by_peer: false });
        }
        Ok(Step::Event(Event::Malformed { stream, reason }))
    }
}
