//! The server side of an HTTP/2 connection (RFC 9113), and HPACK (RFC 7541).
//!
//! Octets in, events out; commands in, octets out. There is no socket here, no clock and no task: the time
//! is an argument, and whoever has the transport drives a [`Connection`] in a loop.
//!
//! ```
//! use std::{io::{IoSlice, Write}, time::Duration};
//! use bytes::{Bytes, BytesMut};
//! use http2_server::{Config, Connection, Event, Fault, Head, hpack};
//!
//! // For every read: `input` is what was left, and what came.
//! fn drive(
//!     connection: &mut Connection,
//!     head: &mut Head,
//!     mut input: &[u8],
//!     transport: &mut impl Write,
//!     now: Duration,
//! ) -> Result<usize, Fault> {
//!     let before = input.len();
//!     let result = loop {
//!         match connection.next(&mut input, head, now) {
//!             Ok(Some(Event::Request { stream, .. })) => {
//!                 let mut block = BytesMut::new();
//!                 hpack::put_status(&mut block, 200);
//!                 hpack::put_field(&mut block, b"content-length", b"2");
//!                 connection.respond(stream, &block, Some(Bytes::from_static(b"ok")), true);
//!             }
//!             Ok(Some(_)) => {}
//!             Ok(None) => break Ok(()),
//!             Err(fault) => break Err(fault),
//!         }
//!     };
//!     while connection.wants_write() {
//!         let mut slices = [IoSlice::new(&[]); 64];
//!         let filled = connection.gather(&mut slices);
//!         match transport.write_vectored(&slices[..filled]) {
//!             Ok(written) if written > 0 => connection.advance(written),
//!             _ => break,
//!         }
//!     }
//!     // The caller keeps what was not used, which is the beginning of a frame.
//!     result.map(|()| before - input.len())
//! }
//! # let mut connection = Connection::new(&Config::default());
//! # let input = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0";
//! # let used = drive(&mut connection, &mut Head::new(), input, &mut Vec::new(), Duration::ZERO);
//! # assert_eq!(used, Ok(input.len() - 2));
//! ```
//!
//! # The rules of driving
//!
//! - [`Connection::next`] until it says `None` after every read, then write while [`Connection::wants_write`].
//! - Who has much to send looks at [`Connection::unsent`] after every read and write, and gives the next piece
//!   when little is left.
//! - A peer that does not read is not read from: while a write is stuck, leave the input alone, and set it a
//!   time limit. Without this nothing breaks but the limit of answers to PING and the like.
//! - Content that was told is given back by [`Connection::release`], or the client stops sending.
//! - A response that is complete before its request, as a 413, is followed by [`Connection::reset`] with
//!   [`ErrorCode::NO_ERROR`]; else the stream stays open until the client ends it.
//! - After a fault write what is left, which ends with GOAWAY, until [`Connection::is_finished`].
//! - Before a connection without streams is left alone for long, [`Connection::shrink`].
//!
//! # Bounds
//!
//! Streams, heads, windows and the answers to control frames are bounded by [`Config`]; frames are made no
//! more than 64 KiB ahead of what is written. What only causes work is paid from two buckets
//! of tokens, and who empties one gets GOAWAY with ENHANCE_YOUR_CALM: `resets` against streams that are opened
//! only to be reset by either side (CVE-2023-44487, CVE-2025-8671), `control` against floods of frames and
//! windows opened in crumbs (CVE-2019-9511 to 9518). Header blocks are bounded in octets and frames
//! (CVE-2024-27316).

mod budget;
mod config;
mod connection;
mod frame;
mod head;
pub mod hpack;
mod output;
mod streams;

pub use budget::Rate;
pub use config::Config;
pub use connection::{Connection, Event, INPUT_BUFFER, StreamId};
pub use frame::{ErrorCode, Fault};
pub use head::Head;
