//! RFC 9113, a rule at a time: raw frames in, frames and events out. And what holds whatever comes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may")]

mod bounds;
mod frames;
mod peer;
mod properties;
mod receiving;
mod requests;
mod sending;
mod streams;

use http2_server::ErrorCode;
use peer::*;

const PROTOCOL: ErrorCode = ErrorCode::PROTOCOL_ERROR;
const SIZE: ErrorCode = ErrorCode::FRAME_SIZE_ERROR;
const FLOW: ErrorCode = ErrorCode::FLOW_CONTROL_ERROR;
const CLOSED: ErrorCode = ErrorCode::STREAM_CLOSED;
const COMPRESSION: ErrorCode = ErrorCode::COMPRESSION_ERROR;
const CALM: ErrorCode = ErrorCode::ENHANCE_YOUR_CALM;

fn joined<const N: usize>(frames: [&[u8]; N]) -> Vec<u8> {
    frames.concat()
}

fn headers(flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    frame(HEADERS, flags, stream, payload)
}

/// A request with these fields, which ends.
fn request(stream: u32, fields: &[(&str, &str)]) -> Vec<u8> {
    headers(END_STREAM | END_HEADERS, stream, &block(fields))
}

/// GET with more fields.
fn get_with(fields: &[(&str, &str)]) -> Vec<u8> {
    request(1, &[&GET[..], fields].concat())
}
