//! How a line of the access log is written: straight into a buffer, without allocating.

use std::{
    borrow::Cow,
    io::Write,
    net::IpAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::{
    HeaderName,
    header::{REFERER, USER_AGENT},
};

use crate::admit::{state::LimitDecision, waiting_room::Note};

use super::{
    Record,
    process_log::{common_log_time, timestamp},
};
use crate::{admit::class::class, respond::failure::kind};

/// The text of the second that was written last: times of successive lines differ in their milliseconds only.
#[derive(Default)]
pub(super) struct Second {
    since_epoch: Option<u64>,
    text: String,
}

impl Second {
    /// The text of `time` up to its second, by `write` where it is another one than before.
    fn text(&mut self, since_epoch: u64, write: impl FnOnce() -> String) -> &[u8] {
        if self.since_epoch != Some(since_epoch) {
            self.text = write();
            self.since_epoch = Some(since_epoch);
        }
        self.text.as_bytes()
    }
}

/// Appends a line of the JSON format; durations are in milliseconds.
pub(super) fn json(record: &Record<'_>, second: &mut Second, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"time\":\"");
    put_timestamp(record.began.wall, second, out);
    out.extend_from_slice(b"\",\"client\":\"");
    put_address(record.client, out);
    out.extend_from_slice(b"\",\"method\":\"");
    // A token holds nothing that JSON escapes (RFC 9110 §5.6.2).
    out.extend_from_slice(record.method.as_str().as_bytes());
    out.extend_from_slice(b"\",\"host\":");
    put_json(record.host, out);
    out.extend_from_slice(b",\"path\":");
    put_json(record.target, out);
    out.extend_from_slice(b",\"status\":");
    put_number(record.status, out);
    out.extend_from_slice(b",\"bytes\":");
    put_number(record.bytes, out);
    out.extend_from_slice(b",\"duration_ms\":");
    put_milliseconds(record.duration, out);
    out.extend_from_slice(b",\"route\":");
    match record.route {
        Some(route) => put_json(&route.name, out),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"cache\":\"");
    out.extend_from_slice(record.outcome.label().as_bytes());
    out.extend_from_slice(b"\",\"upstream\":");
    match record.upstream {
        Some(upstream) => put_json(upstream, out),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"upstream_ms\":");
    match record.upstream_time {
        Some(time) => put_milliseconds(time, out),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"attempts\":");
    put_number(record.attempts, out);
    if let Some(reason) = record.retried {
        out.extend_from_slice(b",\"retried\":");
        put_json(reason, out);
    }
    out.extend_from_slice(b",\"request_id\":");
    put_json(record.request_id, out);
    out.extend_from_slice(b",\"protocol\":\"");
    out.extend_from_slice(record.protocol.as_str().as_bytes());
    out.extend_from_slice(match record.limit {
        None => b"\",\"limit\":\"none\"",
        Some(limit) if limit.retry_after > 0 => b"\",\"limit\":\"rejected\"",
        Some(_) => b"\",\"limit\":\"passed\"",
    });
    if let Some(limit) = record.limit {
        out.extend_from_slice(b",\"limit_rule\":");
        put_json(limit.decided_by, out);
        out.extend_from_slice(b",\"limit_decision\":\"");
        out.extend_from_slice(limit.decision.as_str().as_bytes());
        out.push(b'"');
        if let Some(reason) = limit.reason {
            out.extend_from_slice(b",\"limit_reason\":");
            put_json(reason, out);
        }
        if limit.decision == LimitDecision::Delayed {
            out.extend_from_slice(b",\"limit_delay_ms\":");
            put_milliseconds(limit.delay, out);
        }
    }
    if let Some(Note { room, state }) = record.room {
        out.extend_from_slice(b",\"room\":");
        put_json(room, out);
        out.extend_from_slice(b",\"room_state\":\"");
        out.extend_from_slice(state.as_bytes());
        out.push(b'"');
    }
    if let Some(reason) = record.reason {
        out.extend_from_slice(b",\"reason\":");
        put_json(reason, out);
    }
    if let (Some(kind::SHED), Some(route), Some(fields)) =
        (record.reason, record.route, record.fields)
    {
        out.extend_from_slice(b",\"class\":");
        put_json(class(route, fields, record.client).as_str(), out);
    }
    if let Some(subject) = record.client_cert {
        out.extend_from_slice(b",\"client_cert\":");
        put_json(subject, out);
    }
    out.extend_from_slice(b",\"user_agent\":");
    with_field(record, &USER_AGENT, |value| put_json(&text(value), out));
    out.push(b'}');
}

/// Appends a line of the combined format: `client - - [time] "request" status bytes "referer" "user agent"`
pub(super) fn combined(record: &Record<'_>, second: &mut Second, out: &mut Vec<u8>) {
    put_address(record.client, out);
    out.extend_from_slice(b" - - [");
    let wall = record.began.wall;
    out.extend_from_slice(second.text(since_epoch(wall).as_secs(), || common_log_time(wall)));
    out.extend_from_slice(b"] \"");
    out.extend_from_slice(record.method.as_str().as_bytes());
    out.push(b' ');
    put_quoted(record.target, out);
    out.push(b' ');
    out.extend_from_slice(record.protocol.as_str().as_bytes());
    out.extend_from_slice(b"\" ");
    put_number(record.status, out);
    out.push(b' ');
    put_number(record.bytes, out);
    for name in [&REFERER, &USER_AGENT] {
        out.extend_from_slice(b" \"");
        with_field(record, name, |value| put_quoted(&text(value), out));
        out.push(b'"');
    }
}

fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// `2026-11-22T02:22:11.123Z` (RFC 3339)
fn put_timestamp(time: SystemTime, second: &mut Second, out: &mut Vec<u8>) {
    let since = since_epoch(time);
    let text = second.text(since.as_secs(), || {
        let mut text = timestamp(time);
        // Without the milliseconds and the `Z`.
        text.truncate(text.len().saturating_sub(4));
        text
    });
    out.extend_from_slice(text);
    put_three_digits(since.subsec_millis(), out);
    out.push(b'Z');
}

fn put_three_digits(n: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&[n / 100, n / 10, n].map(|n| b'0' + (n % 10) as u8));
}

fn put_number(n: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
}

/// Milliseconds as JSON writes the nearest number with three decimals: `0.0`, `12.5`, `0.037`.
fn put_milliseconds(duration: Duration, out: &mut Vec<u8>) {
    let microseconds = (duration.as_secs_f64() * 1e6).round();
    if microseconds >= 1e15 {
        // Beyond thirty years no double tells microseconds. Memory always takes it.
        let _ = serde_json::to_writer(out, &(microseconds / 1e3));
        return;
    }
    let microseconds = microseconds as u64;
    put_number(microseconds / 1000, out);
    out.push(b'.');
    put_three_digits((microseconds % 1000) as u32, out);
    // One decimal stays even if it is a zero.
    for _ in 0..2 {
        if out.last() == Some(&b'0') {
            out.pop();
        }
    }
}

fn put_address(address: IpAddr, out: &mut Vec<u8>) {
    match address {
        IpAddr::V4(v4) => {
            for (i, octet) in v4.octets().into_iter().enumerate() {
                if i > 0 {
                    out.push(b'.');
                }
                put_number(octet, out);
            }
        }
        // Writing to memory does not fail.
        IpAddr::V6(v6) => {
            let _ = write!(out, "{v6}");
        }
    }
}

/// Calls `put` with a field's first value that is not empty, else with an empty one.
fn with_field(record: &Record<'_>, name: &HeaderName, put: impl FnOnce(&[u8])) {
    let mut put = Some(put);
    if let Some(fields) = record.fields {
        fields.for_each(name, &mut |value| {
            if !value.is_empty()
                && let Some(put) = put.take()
            {
                put(value);
            }
        });
    }
    if let Some(put) = put {
        put(b"");
    }
}

/// What is not UTF-8 becomes U+FFFD.
fn text(value: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(value) {
        Ok(text) => text.into(),
        Err(_) => String::from_utf8_lossy(value),
    }
}

/// Whether `special` finds anything among the bytes of a text, eight of them at a time; the last ones are filled up
/// with spaces.
fn has_any(text: &[u8], special: impl Fn(u64) -> u64) -> bool {
    let (chunks, rest) = text.as_chunks::<8>();
    let mut last = [b' '; 8];
    last[..rest.len()].copy_from_slice(rest);
    let found = chunks
        .iter()
        .fold(special(u64::from_ne_bytes(last)), |found, chunk| {
            found | special(u64::from_ne_bytes(*chunk))
        });
    found != 0
}

const ONES: u64 = u64::from_ne_bytes([1; 8]);
const HIGH_BITS: u64 = ONES << 7;

/// Not zero if one of eight bytes is less than `bound`, which is at most 128.
fn any_less(bytes: u64, bound: u8) -> u64 {
    bytes.wrapping_sub(ONES * u64::from(bound)) & !bytes & HIGH_BITS
}

fn any_equal(bytes: u64, byte: u8) -> u64 {
    any_less(bytes ^ (ONES * u64::from(byte)), 1)
}

/// What JSON escapes.
fn any_special(bytes: u64) -> u64 {
    any_less(bytes, b' ') | any_equal(bytes, b'"') | any_equal(bytes, b'\\')
}

/// What the combined format may have to escape.
fn any_unplain(bytes: u64) -> u64 {
    any_special(bytes) | any_equal(bytes, 0x7f) | (bytes & HIGH_BITS)
}

/// Appends a JSON string (RFC 8259 §7).
fn put_json(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let bytes = text.as_bytes();
    // Nearly always there is nothing to escape.
    if !has_any(bytes, any_special) {
        out.extend_from_slice(bytes);
    } else {
        for byte in bytes {
            put_escaped(*byte, out);
        }
    }
    out.push(b'"');
}

fn put_escaped(byte: u8, out: &mut Vec<u8>) {
    let short = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        0x0c => b'f',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0..0x20 => {
            let _ = write!(out, "\\u{byte:04x}");
            return;
        }
        _ => return out.push(byte),
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// Appends a part of a line in quotes, `-` where it is empty.
fn put_quoted(text: &str, out: &mut Vec<u8>) {
    if text.is_empty() {
        return out.push(b'-');
    }
    let bytes = text.as_bytes();
    if !has_any(bytes, any_unplain) {
        return out.extend_from_slice(bytes);
    }
    for c in text.chars() {
        // Writing to memory does not fail.
        let _ = match c {
            '"' | '\\' => write!(out, "\\x{:02X}", u32::from(c)),
            c if c.is_control() => write!(out, "\\x{:02X}", u32::from(c)),
            c => write!(out, "{c}"),
        };
    }
}

#[cfg(test)]
mod tests;
