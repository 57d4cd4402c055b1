//! An answer that is far larger than the edge.

use std::{fs, io::Write};

use crate::{
    edge::Edge,
    faults::{Guest, Shop, Then, answers, config, control, holds_nothing, ways},
    h2::Frames,
    rules::Protocol,
};

const PIECE: usize = 64 * 1024;
const GIB: usize = 1024 * 1024 * 1024;
/// What the store may take, and what the edge may grow by besides.
const STORE: &str = "[cache]\nmemory = \"16MiB\"\n";
const MOST: u64 = 64 * 1024;

/// A quarter shows as much; it spares a busy machine the other three where each byte costs more.
fn size(target: &str) -> usize {
    match target.starts_with("/h1-stores/") {
        true => GIB,
        false => GIB / 4,
    }
}

/// Far more than the store takes, of a length that is told or not: it passes through whole, and the edge stays
/// as small as it was.
#[test]
fn a_gibibyte_into_a_small_store() {
    let shop = Shop::start(|stream, asked| {
        let (size, piece) = (size(asked.target), [b'x'; PIECE]);
        let is_chunked = asked.target.ends_with("chunked");
        let framing = match is_chunked {
            true => "Transfer-Encoding: chunked".to_owned(),
            false => format!("Content-Length: {size}"),
        };
        let head = format!("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n{framing}\r\n\r\n");
        let _ = stream.write_all(head.as_bytes());
        let mut wire = Vec::new();
        if is_chunked {
            wire.extend(format!("{PIECE:x}\r\n").bytes());
        }
        wire.extend(piece);
        if is_chunked {
            wire.extend(b"\r\n");
        }
        for _ in 0..size / PIECE {
            if stream.write_all(&wire).is_err() {
                return Then::Close;
            }
        }
        if is_chunked {
            let _ = stream.write_all(b"0\r\n\r\n");
        }
        Then::Next
    });
    let spare = Shop::start(answers);
    let config = config(&shop, &spare, "response = \"20s\"") + STORE;
    let edge = Edge::start_tls(&config);
    let at_first = memory(&edge);
    for (way, form) in ways().zip(["length", "chunked", "chunked", "length"]) {
        let target = format!("/{way}/alone/fault-{form}");
        let counted = match way.protocol {
            Protocol::H1 => count_h1(&edge, &target),
            Protocol::H2 => count_h2(&edge, &target),
        };
        assert_eq!(counted, Ok(size(&target)), "{target}");
        let mut guest = Guest::new(&edge, way.protocol);
        control(&mut guest, &way, &["alone", "beside"], 1);
    }
    let grown = memory(&edge).saturating_sub(at_first);
    assert!(grown < MOST, "{grown} KiB more than {at_first}");
    holds_nothing(&edge, &shop);
}

/// The most memory that the edge ever had, in KiB.
fn memory(edge: &Edge) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", edge.id())).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let words = line.and_then(|line| line.split_whitespace().next());
    words.and_then(|n| n.parse().ok()).expect("a number")
}

/// What is read at once of content that is counted.
const COUNTED: usize = 32 * 1024;

fn count_h1(edge: &Edge, target: &str) -> Result<usize, String> {
    let mut conn = edge.connect();
    conn.request("GET", target, &[]);
    let (_, fields) = conn.head()?;
    let length = fields.iter().find(|(name, _)| name == "content-length");
    let Some((_, length)) = length else {
        let mut all = 0;
        loop {
            let line = conn.line()?;
            let size = usize::from_str_radix(&line, 16).map_err(|why| why.to_string())?;
            all += size;
            conn.take(size + 2)?;
            if size == 0 {
                return Ok(all);
            }
        }
    };
    let length: usize = length.parse().map_err(|_| "odd content-length")?;
    for _ in 0..length / COUNTED {
        conn.take(COUNTED)?;
    }
    conn.take(length % COUNTED)?;
    Ok(length)
}

/// All of it fits into windows that are as wide as they may be (RFC 9113 §6.9.1).
fn count_h2(edge: &Edge, target: &str) -> Result<usize, String> {
    const WIDEST: u32 = (1 << 31) - 1;
    let mut frames = Frames::connect(edge.site.https);
    frames.window(WIDEST);
    frames.more(0, WIDEST - 65_535);
    let fields = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "shop.example"),
        (":path", target),
    ];
    frames.headers(1, &fields, true);
    let mut all = 0;
    while let Some((kind, flags, stream, payload)) = frames.next() {
        match (kind, stream) {
            (0, 1) => all += payload.len(),
            (3, 1) => return Err(format!("reset after {all}")),
            (7, _) => return Err(format!("GOAWAY after {all}")),
            _ => {}
        }
        if kind < 2 && stream == 1 && flags & 1 == 1 {
            return Ok(all);
        }
    }
    Err(format!("the connection ends after {all}"))
}
