//! Memory that exchanges with servers use one after the other.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http1_wire::response::{Head, MAX_HEAD};
use tokio::io::{AsyncRead, ReadBuf};

/// What is read of an answer at once. Most pages with their heads fit; a reader who stalls holds no more.
pub const SIZE: usize = 16 * 1024;

/// Bytes that were read and not yet used.
pub struct Buffer {
    /// Initialised to its end.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Default for Buffer {
    fn default() -> Self {
        Self {
            bytes: vec![0; SIZE],
            start: 0,
            end: 0,
        }
    }
}

impl Buffer {
    /// What is here.
    pub fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// The same, to be worked on in place.
    pub fn filled_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
    }

    /// Whether nothing is here.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The first `n` bytes have been used.
    pub fn consume(&mut self, n: usize) {
        self.start = (self.start + n).min(self.end);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Reads what is there, or waits for something to come; `0` at the end. What is here moves to the front
    /// where there is no room behind it, and a head larger than the buffer makes it grow.
    pub fn poll_fill(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.end == self.bytes.len() {
            if self.start == 0 && self.bytes.len() <= MAX_HEAD {
                self.bytes.resize(self.bytes.len() * 2, 0);
            }
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let most = (self.end + SIZE).min(self.bytes.len());
        let mut room = ReadBuf::new(&mut self.bytes[self.end..most]);
        ready!(Pin::new(stream).poll_read(cx, &mut room))?;
        let read = room.filled().len();
        self.end += read;
        Poll::Ready(Ok(read))
    }
}

/// What one exchange works with.
#[derive(Default)]
pub struct Buffers {
    /// Of the answer.
    pub answer: Buffer,
    /// Where its head says what.
    pub head: Head,
    /// The request's head, and the framing of its content.
    pub request: Vec<u8>,
}

impl Buffers {
    /// Makes it ready for another exchange; `false` where it has grown beyond what is worth keeping.
    pub fn clear(&mut self) -> bool {
        (self.answer.start, self.answer.end) = (0, 0);
        self.request.clear();
        self.answer.bytes.len() == SIZE && self.request.capacity() <= SIZE
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn fill(buffer: &mut Buffer, mut from: &[u8]) -> usize {
        let mut cx = Context::from_waker(Waker::noop());
        match buffer.poll_fill(&mut from, &mut cx) {
            Poll::Ready(Ok(n)) => n,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_here_stays_in_order() {
        let mut buffer = Buffer::default();
        let bytes: Vec<u8> = (0..SIZE).map(|n| n as u8).collect();
        assert_eq!(fill(&mut buffer, &bytes), SIZE);
        buffer.consume(SIZE - 3);
        assert_eq!(buffer.filled(), &bytes[SIZE - 3..]);
        assert_eq!(fill(&mut buffer, b"abc"), 3);
        assert_eq!(buffer.filled(), [&bytes[SIZE - 3..], b"abc"].concat());
        buffer.consume(6);
        assert!(buffer.is_empty());
        assert_eq!(fill(&mut buffer, b""), 0);
    }

    #[test]
    fn only_a_large_head_makes_it_grow() {
        let mut buffers = Buffers::default();
        let bytes = vec![7; 4 * SIZE];
        let mut here = 0;
        while here < bytes.len() {
            let read = fill(&mut buffers.answer, &bytes[here..]);
            assert_eq!(read, SIZE, "no more than that at once");
            here += read;
        }
        assert!(buffers.answer.filled() == bytes);
        assert!(!buffers.clear());
        assert!(buffers.answer.is_empty());
        assert!(Buffers::default().clear());
    }
}
