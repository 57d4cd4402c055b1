//! Flow control (RFC 9113 §5.2 and §6.9), in both directions.

use super::{
    Connection, StreamId,
    receive::{Step, Stepped},
};
use crate::{
    config::{INITIAL_WINDOW, MAX_WINDOW},
    frame::{ErrorCode, Fault, FrameHead, kind},
};

impl Connection {
    /// The caller has done with so many octets of content: the windows open again. They do so by halves,
    /// so that not every piece becomes a frame. What a stream that is gone has left unreleased is released by itself.
    pub fn release(&mut self, stream: StreamId, octets: usize) {
        let Some(slot) = self.streams.find(stream.0) else { return };
        let stream = self.streams.at(slot);
        let octets = stream.unreleased.min(u32::try_from(octets).unwrap_or(u32::MAX));
        stream.unreleased -= octets;
        stream.released += octets;
        let threshold = (self.config.stream_window / 2).max(1);
        let mut result = Ok(());
        if !stream.has_received_all && stream.released >= threshold {
            let more = std::mem::take(&mut stream.released);
            stream.receive_window += more as i32;
            let id = stream.id;
            result = self.reply(kind::WINDOW_UPDATE, 0, id, &more.to_be_bytes());
        }
        let result = result.and_then(|()| self.give_back(octets));
        if let Err(fault) = result {
            self.fail(fault);
        }
    }

    /// Octets that came through the connection's window are done with.
    pub(super) fn give_back(&mut self, octets: u32) -> Result<(), Fault> {
        self.released += octets;
        if self.released < self.config.connection_window / 2 {
            return Ok(());
        }
        let more = std::mem::take(&mut self.released);
        self.receive_window += more as i32;
        self.reply(kind::WINDOW_UPDATE, 0, 0, &more.to_be_bytes())
    }

    /// Our SETTINGS are in force: streams that were opened before get the windows they say.
    pub(super) fn apply_stream_window(&mut self) -> Result<(), Fault> {
        let delta = self.config.stream_window as i32 - INITIAL_WINDOW as i32;
        for stream in self.streams.all() {
            let window = stream.receive_window.checked_add(delta);
            stream.receive_window = window.ok_or(Fault::flow("a window beyond the largest"))?;
        }
        Ok(())
    }

    /// The peer's SETTINGS change what all its streams take.
    pub(super) fn set_initial_send_window(&mut self, window: i32) -> Result<(), Fault> {
        let delta = i64::from(window) - i64::from(self.initial_send_window);
        self.initial_send_window = window;
        if delta == 0 {
            return Ok(());
        }
        for slot in 0..self.streams.slot_count() {
            let stream = self.streams.at(slot);
            if stream.id == 0 {
                continue;
            }
            let changed = i32::try_from(i64::from(stream.send_window) + delta);
            stream.send_window = changed.map_err(|_| Fault::flow("a window beyond the largest"))?;
            self.schedule(slot);
        }
        self.pump();
        Ok(())
    }

    pub(super) fn window_update(&mut self, frame: FrameHead, payload: &[u8]) -> Stepped {
        let Ok(more) = payload.try_into().map(u32::from_be_bytes) else {
            return Err(Fault::size("WINDOW_UPDATE is not of four octets"));
        };
        let more = (more & MAX_WINDOW) as i32;
        self.charge()?;
        if frame.stream == 0 {
            if more == 0 {
                return Err(Fault::protocol("WINDOW_UPDATE by nothing"));
            }
            let window = self.send_window.checked_add(more);
            self.send_window = window.ok_or(Fault::flow("a window beyond the largest"))?;
            self.pump();
            return Ok(Step::Again);
        }
        self.refuse_idle(frame.stream, "WINDOW_UPDATE of an idle stream")?;
        let Some(slot) = self.streams.find(frame.stream) else { return Ok(Step::Again) };
        if more == 0 {
            let code = ErrorCode::PROTOCOL_ERROR;
            return self.stream_error(frame.stream, code, "WINDOW_UPDATE by nothing");
        }
        let stream = self.streams.at(slot);
        let Some(window) = stream.send_window.checked_add(more) else {
            let code = ErrorCode::FLOW_CONTROL_ERROR;
            return self.stream_error(frame.stream, code, "a window beyond the largest");
        };
        stream.send_window = window;
        self.schedule(slot);
        self.pump();
        Ok(Step::Again)
    }
}
