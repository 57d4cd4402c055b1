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
    assert_eq!(
        chunks(body, iter::once(body.len())),
        chunks(body, Pieces::new(body))
    );
    assert_eq!(
        chunks(body, iter::once(body.len())),
        chunks(body, iter::repeat(1))
    );
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

/// What the scanner says in the end: bytes of the body and of its content, and whether it is complete.
fn chunks(
    bytes: &[u8],
    pieces: impl IntoIterator<Item = usize>,
) -> Result<(usize, u64, bool), &'static str> {
    let mut scanner = ChunkScanner::default();
    let (mut at, mut own) = (0_usize, 0);
    for piece in pieces {
        if at == bytes.len() {
            break;
        }
        let end = bytes.len().min(at.saturating_add(piece));
        let taken = scanner.scan(&bytes[at..end]).map_err(|why| why.0)?;
        assert!(taken == end - at || scanner.is_done());
        own += taken;
        at = end;
    }
    Ok((own, scanner.content(), scanner.is_done()))
}
