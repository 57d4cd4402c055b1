//! Field blocks, one after the other on a connection: what is taken for a request is one, and says the same
//! again when it is sent as literals.

#![no_main]

use std::time::Duration;

use bytes::BytesMut;
use http2_server::{Config, Connection, Event, Head, StreamId, hpack};
use libfuzzer_sys::fuzz_target;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

fuzz_target!(|octets: &[u8]| {
    let mut connection = begin();
    let mut head = Head::new();
    // Blocks are separated by an octet of which HPACK makes nothing else than the end of a size update.
    for (n, block) in octets.split(|octet| *octet == 0x3e).enumerate().take(100) {
        let id = n as u32 * 2 + 1;
        match give(&mut connection, &mut head, id, block) {
            Ok(Some(Event::Request { stream, end })) => {
                assert!(end && stream == StreamId(id));
                check(&head);
                connection.respond(stream, b"\x88", None, true);
            }
            Ok(Some(Event::TooLarge { stream, .. })) => connection.respond(stream, b"\x88", None, true),
            Ok(_) => {}
            Err(_) => return,
        }
        assert!(connection.memory() < 64 * 1024, "{}", connection.memory());
        let written = written(&mut connection);
        assert!(written > 0);
    }
});

fn begin() -> Connection {
    let mut connection = Connection::new(&Config::default());
    let mut input = PREFACE;
    let event = connection.next(&mut input, &mut Head::new(), Duration::ZERO);
    assert!(matches!(event, Ok(None)) && input.is_empty());
    connection
}

fn written(connection: &mut Connection) -> usize {
    let mut slices = [std::io::IoSlice::new(&[]); 8];
    let filled = connection.gather(&mut slices);
    let len = slices[..filled].iter().map(|slice| slice.len()).sum();
    connection.advance(len);
    len
}

fn give(
    connection: &mut Connection,
    head: &mut Head,
    id: u32,
    block: &[u8],
) -> Result<Option<Event>, http2_server::Fault> {
    let block = &block[..block.len().min(16_384)];
    let mut frame = (block.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([1, 5]);
    frame.extend(id.to_be_bytes());
    frame.extend(block);
    let mut input = &frame[..];
    let event = connection.next(&mut input, head, Duration::from_secs(id.into()))?;
    assert!(input.is_empty());
    Ok(event)
}

fn check(head: &Head) {
    let connect = head.method() == "CONNECT";
    assert!(connect == head.target().is_empty());
    assert!(head.target().bytes().all(|octet| octet.is_ascii_graphic()));
    assert!(head.authority().bytes().all(|octet| octet.is_ascii_graphic()));
    let map = head.to_map();
    assert_eq!(map.len(), head.field_count());
    let mut block = BytesMut::new();
    hpack::put_field(&mut block, b":method", head.method().as_str().as_bytes());
    hpack::put_field(&mut block, b":authority", head.authority().as_bytes());
    if !connect {
        hpack::put_field(&mut block, b":scheme", head.scheme().as_bytes());
        hpack::put_field(&mut block, b":path", head.target().as_bytes());
    }
    for (name, value) in head.iter() {
        hpack::put_field(&mut block, name, value);
    }
    if block.len() > 16_384 {
        return;
    }
    let mut again = Head::new();
    match give(&mut begin(), &mut again, 1, &block) {
        Ok(Some(Event::Request { .. })) => {
            assert_eq!(again.to_map(), map);
            assert_eq!((again.method(), again.target()), (head.method(), head.target()));
            assert_eq!((again.scheme(), again.authority()), (head.scheme(), head.authority()));
            assert_eq!(again.content_length(), head.content_length());
        }
        // An `:authority` that was not there before may be what is too much.
        Ok(Some(Event::TooLarge { .. })) => {}
        other => panic!("{other:?}"),
    }
}

