//! Bytes in pieces say what they say in one piece: however a message arrives, it ends in the same place.

#![no_main]

use std::iter;

use http1_wire::HeadScanner;
use http1_wire::chunked::ChunkScanner;
use libfuzzer_sys::fuzz_target;

mod pieces;
use pieces::Pieces;

fuzz_target!(|bytes: &[u8]| {
    let whole = HeadScanner::default().scan(bytes);
    assert_eq!(whole, head_in_pieces(bytes));
    let body = match whole {
        Ok(Some(end)) => &bytes[end..],
        _ => bytes,
    };
    let at_once = chunks(body, iter::once(body.len()));
    assert_eq!(at_once, chunks(body, Pieces::new(body)));
    assert_eq!(at_once, chunks(body, iter::repeat(1)));
});

/// The scanner as a connection uses it: all that has arrived, again and again.
fn head_in_pieces(bytes: &[u8]) -> Result<Option<usize>, http1_wire::Refusal> {
    let mut scanner = HeadScanner::default();
    let mut here = 0_usize;
    for piece in Pieces::new(bytes) {
        here = bytes.len().min(here.saturating_add(piece));
        let found = scanner.scan(&bytes[..here])?;
        if found.is_some() || here == bytes.len() {
            return Ok(found);
        }
    }
    unreachable!("pieces without end")
}

/// What a body says in the end: its bytes, its content, and whether it is complete.
fn chunks(
    bytes: &[u8],
    pieces: impl IntoIterator<Item = usize>,
) -> Result<(usize, Vec<u8>, bool), &'static str> {
    let (mut scanner, mut decoder) = (ChunkScanner::default(), ChunkScanner::default());
    let (mut at, mut own, mut content) = (0_usize, 0, Vec::new());
    for piece in pieces {
        if at == bytes.len() {
            break;
        }
        let end = bytes.len().min(at.saturating_add(piece));
        let mut piece = bytes[at..end].to_vec();
        let scanned = scanner.scan(&piece);
        let decoded = decoder.decode(&mut piece);
        assert_eq!(scanned, decoded.clone().map(|decoded| decoded.used));
        let decoded = decoded.map_err(|why| why.0)?;
        assert!(decoded.used == end - at || decoder.is_done());
        own += decoded.used;
        content.extend_from_slice(&piece[decoded.content]);
        at = end;
    }
    assert_eq!(scanner.content(), content.len() as u64);
    assert_eq!(scanner.is_done(), decoder.is_done());
    Ok((own, content, decoder.is_done()))
}
