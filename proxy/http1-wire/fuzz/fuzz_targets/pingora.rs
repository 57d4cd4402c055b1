//! A request as Pingora reads it.

use bytes::BytesMut;
use pingora_core::Result;
use pingora_core::protocols::http::v1::server::HttpSession;
use pingora_http::RequestHeader;

use crate::connection::{Connection, at_once};

/// What Pingora made of a message.
pub struct Reading {
    /// Bytes of the head.
    pub head_len: usize,
    pub header: RequestHeader,
    /// The head announces no content.
    pub is_empty: bool,
    pub keeps_alive: bool,
    /// The content, as far as it came.
    pub content: Vec<u8>,
    /// Bytes behind the message, where its end was found.
    pub behind: Option<Vec<u8>>,
}

/// Reads a message; `here` bytes of it have been read already by someone who hands them over.
pub fn read(message: &[u8], here: usize) -> Result<Reading> {
    let mut session = HttpSession::new(Box::new(Connection::new(&message[here..])));
    session.set_pipelining_enabled(true);
    session.set_pipelined_prefix(BytesMut::from(&message[..here]));
    let head_len = at_once(session.read_request())?.expect("a head that is not nothing");
    let header = session.req_header().clone();
    let (is_empty, keeps_alive) = (session.is_body_empty(), session.will_keepalive());
    let mut content = Vec::new();
    let mut rounds = 0;
    let is_complete = loop {
        match at_once(session.read_body_bytes()) {
            Ok(Some(bytes)) => content.extend_from_slice(&bytes),
            Ok(None) => break true,
            Err(_) => break false,
        }
        rounds += 1;
        assert!(rounds <= 2 * message.len() + 8, "Pingora reads without end");
    };
    // Only a connection that stays gives its rest back.
    session.req_header_mut().remove_header(&http::header::CONNECTION);
    session.req_header_mut().set_version(http::Version::HTTP_11);
    session.respect_keepalive();
    let behind = is_complete.then(|| left_behind(session));
    Ok(Reading { head_len, header, is_empty, keeps_alive, content, behind })
}

fn left_behind(session: HttpSession) -> Vec<u8> {
    let reused = at_once(session.reuse()).expect("a body that was read").expect("kept alive");
    let (stream, overread) = reused.into_parts();
    let connection = stream.into_any().downcast::<Connection>().expect("the one it got");
    let mut behind = overread.unwrap_or_default();
    behind.extend_from_slice(&connection.bytes);
    behind.to_vec()
}
