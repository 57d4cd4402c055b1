//! The smallest driver: HTTP/2 without TLS over blocking sockets, a thread a connection, the same answer to
//! every request. For trying other clients:
//!
//! ```sh
//! cargo run --release -p http2-server --example serve -- 127.0.0.1:8081 1024 &
//! h2load -n 100000 -c 8 -m 32 http://127.0.0.1:8081/
//! ```

#![allow(clippy::disallowed_methods, reason = "it has a clock to read")]

use std::{
    io::{self, IoSlice, Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::Instant,
};

use bytes::{Bytes, BytesMut};
use http2_server::{Config, Connection, ErrorCode, Event, Head, INPUT_BUFFER, hpack};

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8081".into());
    let size = arguments.next().and_then(|size| size.parse().ok()).unwrap_or(1024);
    let content = Bytes::from(vec![b'x'; size]);
    let mut block = BytesMut::new();
    hpack::put_status(&mut block, 200);
    hpack::put_field(&mut block, b"content-type", b"text/plain");
    hpack::put_field(&mut block, b"content-length", size.to_string().as_bytes());
    let block = block.freeze();
    for stream in TcpListener::bind(address)?.incoming() {
        let (stream, block, content) = (stream?, block.clone(), content.clone());
        thread::spawn(move || serve(stream, &block, &content));
    }
    Ok(())
}

fn serve(mut stream: TcpStream, block: &[u8], content: &Bytes) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let began = Instant::now();
    let mut connection = Connection::new(&Config::default());
    let mut head = Head::new();
    let mut buffer = vec![0; INPUT_BUFFER];
    let mut filled = 0;
    loop {
        let mut input = &buffer[..filled];
        let fault = loop {
            match connection.next(&mut input, &mut head, began.elapsed()) {
                Ok(Some(Event::Request { stream, end: true })) => {
                    connection.respond(stream, block, Some(content.clone()), true);
                }
                Ok(Some(Event::Request { .. })) => {}
                Ok(Some(Event::Content { stream, content: part, end })) => {
                    connection.release(stream, part.len());
                    if end {
                        connection.respond(stream, block, Some(content.clone()), true);
                    }
                }
                Ok(Some(Event::Trailers { stream, .. })) => {
                    connection.respond(stream, block, Some(content.clone()), true);
                }
                Ok(Some(Event::TooLarge { stream, .. })) => {
                    connection.reset(stream, ErrorCode::ENHANCE_YOUR_CALM);
                }
                Ok(Some(Event::Malformed { reason, .. })) => eprintln!("{reason}"),
                Ok(Some(Event::Reset { .. })) => {}
                Ok(None) => break None,
                Err(fault) => break Some(fault),
            }
        };
        let left = input.len();
        buffer.copy_within(filled - left..filled, 0);
        filled = left;
        while connection.wants_write() {
            let mut slices = [IoSlice::new(&[]); 64];
            let count = connection.gather(&mut slices);
            let written = stream.write_vectored(&slices[..count])?;
            connection.advance(written);
        }
        if let Some(fault) = fault {
            eprintln!("{fault}");
        }
        if connection.is_finished() {
            return Ok(());
        }
        match stream.read(&mut buffer[filled..])? {
            0 => return Ok(()),
            read => filled += read,
        }
    }
}
