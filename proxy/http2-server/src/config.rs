//! What a connection allows.

use crate::budget::Rate;

/// The largest flow-control window (RFC 9113 §6.9.1).
pub(crate) const MAX_WINDOW: u32 = 0x7fff_ffff;
/// What both windows are before anything is said (RFC 9113 §6.9.2).
pub(crate) const INITIAL_WINDOW: u32 = 65_535;

/// The bounds of a connection. The defaults suit browsers in front of a shop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Requests at once. More are refused, so that a client sends them again (RFC 9113 §5.1.2).
    /// 128: RFC 9113 §6.5.2 advises not to go below 100.
    pub max_streams: u32,
    /// Content a client may send on a stream before the caller has released some, in octets. 256 KiB.
    pub stream_window: u32,
    /// The same for all streams together; at least 65,535, with which a connection begins. 1 MiB.
    pub connection_window: u32,
    /// The largest list of fields, counted as RFC 9113 §6.5.2 does: names, values, and 32 for each. 32 KiB.
    /// A block may have twice as many octets, and what a frame holds, before the connection ends.
    pub max_head: usize,
    /// The most fields of a head, pseudo-header fields included. 100.
    pub max_fields: usize,
    /// Streams that a client resets, makes us reset, or opens beyond `max_streams`: each may have cost
    /// as much as one that was answered. A browser that leaves a page cancels all it has asked for, which are at
    /// most `max_streams`; 256 at once are two pages left one right after the other, and 50 a second
    /// a thumb that keeps scrolling through images. Rapid reset attacks send thousands a second.
    pub resets: Rate,
    /// Frames that only cause work: SETTINGS, PING, PRIORITY, WINDOW_UPDATE, unknown ones, DATA with next to
    /// nothing in it, and whatever is for streams that are gone; and DATA that we must cut small
    /// because the client opens its windows in crumbs. Every request and every DATA frame of ours brings
    /// four back, since clients answer them with a WINDOW_UPDATE or two. 1024 at once, 128 a second.
    pub control: Rate,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_streams: 128,
            stream_window: 256 * 1024,
            connection_window: 1024 * 1024,
            max_head: 32 * 1024,
            max_fields: 100,
            resets: Rate { burst: 256, per_second: 50 },
            control: Rate { burst: 1024, per_second: 128 },
        }
    }
}
