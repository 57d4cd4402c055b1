//! What is to be written: frame heads and blocks from an own buffer, content as the caller gave it.

use std::{collections::VecDeque, io::IoSlice};

use bytes::{Buf, Bytes};

use crate::frame::{FrameHead, MAX_PAYLOAD, flag, kind};

/// Content up to this size is copied: less than what another slice of a write costs.
const COPIED: usize = 256;
/// What the buffer may keep when it is empty, so that bursts do not grow it each time.
const KEPT: usize = 16 * 1024;
/// Written octets at the front of the buffer, from which on the rest moves to the front.
const MOVED_AT: usize = 16 * 1024;

/// Octets of the own buffer, and content behind them.
#[derive(Debug)]
struct Piece {
    own: usize,
    content: Bytes,
}

/// Frames in the order in which they leave.
#[derive(Debug, Default)]
pub(crate) struct Output {
    buffer: Vec<u8>,
    /// Where the first octet not yet written is.
    start: usize,
    pieces: VecDeque<Piece>,
    /// Octets of the buffer behind the last piece.
    tail: usize,
    len: usize,
    /// Not less than what control frames take of `len`.
    control: usize,
}

impl Output {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Octets of control frames that are not written.
    pub(crate) fn control(&self) -> usize {
        self.control
    }

    /// Puts a frame that answers the peer rather than a request.
    pub(crate) fn put_control(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let head = FrameHead { length: payload.len(), kind, flags, stream }.to_octets();
        self.put(&head);
        self.put(payload);
        self.control += head.len() + payload.len();
    }

    /// Puts HEADERS, with CONTINUATION where the block is larger than a frame. `update` goes before the block.
    pub(crate) fn put_head(&mut self, stream: u32, update: &[u8], block: &[u8], end: bool) {
        let (mut kind, mut flags) = (kind::HEADERS, if end { flag::END_STREAM } else { 0 });
        let (mut update, mut rest) = (update, block);
        loop {
            let (now, later) = rest.split_at(rest.len().min(MAX_PAYLOAD - update.len()));
            if later.is_empty() {
                flags |= flag::END_HEADERS;
            }
            let length = update.len() + now.len();
            self.put(&FrameHead { length, kind, flags, stream }.to_octets());
            self.put(update);
            self.put(now);
            if later.is_empty() {
                return;
            }
            (kind, flags, update, rest) = (kind::CONTINUATION, 0, &[], later);
        }
    }

    /// Puts DATA; the content is at most a frame's.
    pub(crate) fn put_content(&mut self, stream: u32, content: Bytes, end: bool) {
        let flags = if end { flag::END_STREAM } else { 0 };
        let head = FrameHead { length: content.len(), kind: kind::DATA, flags, stream };
        self.put(&head.to_octets());
        if content.len() <= COPIED {
            return self.put(&content);
        }
        self.len += content.len();
        self.pieces.push_back(Piece { own: std::mem::take(&mut self.tail), content });
    }

    fn put(&mut self, octets: &[u8]) {
        self.buffer.extend_from_slice(octets);
        self.tail += octets.len();
        self.len += octets.len();
    }

    /// Fills slices with what is to be written, from the first octet on; returns how many were filled.
    pub(crate) fn gather<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        let mut add = |octets: &'a [u8]| match slices.get_mut(filled) {
            _ if octets.is_empty() => true,
            Some(slice) => {
                *slice = IoSlice::new(octets);
                filled += 1;
                true
            }
            None => false,
        };
        let mut at = self.start;
        for piece in &self.pieces {
            if !add(&self.buffer[at..at + piece.own]) || !add(&piece.content) {
                return filled;
            }
            at += piece.own;
        }
        add(&self.buffer[at..]);
        filled
    }

    /// So many octets were written.
    pub(crate) fn advance(&mut self, written: usize) {
        let mut left = written.min(self.len);
        self.len -= left;
        while let Some(piece) = self.pieces.front_mut() {
            let own = left.min(piece.own);
            piece.own -= own;
            self.start += own;
            left -= own;
            let shared = left.min(piece.content.len());
            if piece.own > 0 || shared < piece.content.len() {
                piece.content.advance(shared);
                left = 0;
                break;
            }
            left -= shared;
            self.pieces.pop_front();
        }
        self.start += left;
        self.tail -= left;
        if self.len == 0 {
            self.buffer.clear();
            self.start = 0;
            if self.buffer.capacity() > KEPT {
                self.buffer = Vec::new();
            }
        } else if self.start >= MOVED_AT && self.start >= self.buffer.len() / 2 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.control = self.control.min(self.buffer.len() - self.start);
    }

    pub(crate) fn shrink(&mut self) {
        if self.len == 0 {
            *self = Self::default();
        }
    }

    pub(crate) fn memory(&self) -> usize {
        self.buffer.capacity() + self.pieces.capacity() * size_of::<Piece>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(output: &Output) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 64];
        let filled = output.gather(&mut slices);
        slices[..filled].iter().flat_map(|slice| slice.iter().copied()).collect()
    }

    fn filled() -> Output {
        let mut output = Output::default();
        output.put_head(1, &[], b"head", false);
        output.put_content(1, Bytes::from(vec![b'x'; 1000]), false);
        output.put_content(1, Bytes::from_static(b"small"), true);
        output.put_content(3, Bytes::from(vec![b'y'; 300]), true);
        output.put_content(5, Bytes::from(vec![b'z'; 300]), true);
        output.put_control(kind::PING, flag::ACK, 0, b"12345678");
        output
    }

    #[test]
    fn any_way_of_writing_gives_the_same_octets() {
        let whole = all(&filled());
        assert_eq!(whole.len(), filled().len());
        for step in [1, 2, 7, 9, 13, 100, 1000, 4000] {
            let mut output = filled();
            let mut written = Vec::new();
            while !output.is_empty() {
                let rest = all(&output);
                assert_eq!(rest.len(), output.len());
                let step = step.min(rest.len());
                written.extend_from_slice(&rest[..step]);
                output.advance(step);
            }
            assert_eq!(written, whole);
            assert_eq!((output.control(), output.tail, output.start), (0, 0, 0));
        }
    }

    #[test]
    fn fewer_slices_than_pieces() {
        let output = filled();
        for count in 0..5 {
            let mut slices = [IoSlice::new(&[]); 5];
            let filled = output.gather(&mut slices[..count]);
            assert_eq!(filled, count);
            let octets: Vec<u8> =
                slices[..count].iter().flat_map(|slice| slice.iter().copied()).collect();
            assert!(all(&output).starts_with(&octets));
        }
    }

    #[test]
    fn long_blocks_are_continued() {
        let mut output = Output::default();
        output.put_head(1, &[0x20], &vec![b'x'; 2 * MAX_PAYLOAD - 1], true);
        let octets = all(&output);
        assert_eq!(octets[..10], [0, 0x40, 0, kind::HEADERS, flag::END_STREAM, 0, 0, 0, 1, 0x20]);
        let second = &octets[9 + MAX_PAYLOAD..];
        assert_eq!(second[..9], [0, 0x40, 0, kind::CONTINUATION, flag::END_HEADERS, 0, 0, 0, 1]);
        assert_eq!(second.len(), 9 + MAX_PAYLOAD);
    }
}
