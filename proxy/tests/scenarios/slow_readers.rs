//! What visitors cost who wait, or do not read: no more than what a reader has under way.

use std::{
    io::Write,
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use crate::{
    client::Conn,
    edge::Edge,
    h2::{Frames, H2, https},
    measure::{memory, settles, stuck},
    origin::{Origin, page},
    relaying::{own_shop, read_head},
    serving::plain,
    tools::{PATIENCE, eventually},
};

const MIB: usize = 1024 * 1024;
const STORED: usize = 8 * MIB;
const STREAMED: usize = 100 * MIB;

static PIECE: [u8; 64 * 1024] = [b'x'; 64 * 1024];

/// A shop whose answers come as fast as they are taken.
fn streaming_shop() -> SocketAddr {
    own_shop(|stream| {
        let head = format!(
            "HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: {STREAMED}\r\n\r\n"
        );
        while read_head(&stream).is_some() {
            let mut sent = (&stream).write_all(head.as_bytes());
            for _ in 0..STREAMED / PIECE.len() {
                sent = sent.and_then(|()| (&stream).write_all(&PIECE));
            }
            if sent.is_err() {
                return;
            }
        }
    })
}

/// A shop with a film that is stored, a page, and another that streams.
fn two_shops(shop: &Origin) -> String {
    let streaming = streaming_shop();
    let other = format!(
        r#"
        [upstreams.streaming]
        servers = ["{streaming}"]
        [[routes]]
        path = "/streamed"
        upstream = "streaming"
        cache = "default"
        [cache]
        max_object = "16MiB"
        "#
    );
    plain(shop) + &other
}

fn shop() -> Origin {
    Origin::start(|r| match r.target.as_str() {
        "/stored" => page(vec![b'y'; STORED]).fresh(600),
        _ => page("x".repeat(200_000)).fresh(600),
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    Tls,
    H2,
}

/// A client, and how many streams it has opened.
enum Reader {
    H1(Conn, SocketAddr),
    H2(Box<Frames>, u32),
}

fn get(path: &str) -> [(&str, &str); 4] {
    [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "shop.example"),
        (":path", path),
    ]
}

impl Reader {
    /// A connection that has got a page.
    fn open(edge: &Edge, kind: Kind) -> Self {
        let mut reader = match kind {
            Kind::Plain => Self::H1(edge.connect(), edge.site.http),
            Kind::Tls => Self::H1(https(edge.site.https, "shop.example"), edge.site.https),
            Kind::H2 => {
                let mut frames = Frames::connect(edge.site.https);
                frames.window(0x7fff_ffff);
                frames.more(0, 0x7000_0000);
                Self::H2(Box::new(frames), 1)
            }
        };
        reader.ask("/page");
        assert_eq!(reader.read(), 200_000);
        reader
    }

    fn ask(&mut self, path: &str) {
        match self {
            Self::H1(conn, _) => conn.request("GET", path, &[]),
            Self::H2(frames, stream) => frames.headers(*stream, &get(path), true),
        }
    }

    /// The whole answer.
    fn read(&mut self) -> usize {
        match self {
            Self::H1(conn, _) => conn.response("GET").body.len(),
            Self::H2(frames, stream) => {
                *stream += 2;
                frames.answer(*stream - 2).content.len()
            }
        }
    }

    fn is_stuck(&self, edge: &Edge) -> bool {
        match self {
            Self::H1(conn, address) => stuck(*address, conn.address()),
            Self::H2(frames, _) => stuck(edge.site.https, frames.address()),
        }
    }
}

#[test]
fn who_does_not_read_costs_a_record_and_a_piece() {
    const READERS: usize = 120;
    let shop = shop();
    let mut over = Vec::new();
    // A piece of the shop's answer, a record, a piece that waits for it, and the tasks of a debug build.
    for (kind, most) in [(Kind::Plain, 56.0), (Kind::Tls, 72.0), (Kind::H2, 96.0)] {
        for (path, length) in [("/stored", STORED), ("/streamed", STREAMED)] {
            // An edge of its own, so that no memory that another kind has left is used again.
            let edge = Edge::start_tls(&two_shops(&shop));
            for _ in 0..4 {
                let mut first = Reader::open(&edge, kind);
                first.ask(path);
                assert_eq!(first.read(), length);
            }
            let mut readers: Vec<_> = (0..READERS).map(|_| Reader::open(&edge, kind)).collect();
            settles(&edge);
            let before = memory(&edge);
            readers.iter_mut().for_each(|reader| reader.ask(path));
            eventually("all are stuck", || {
                readers.iter().all(|reader| reader.is_stuck(&edge))
            });
            settles(&edge);
            let held = || memory(&edge).saturating_sub(before) as f64 / READERS as f64;
            // What was needed for a moment is given back over seconds.
            let until = Instant::now() + PATIENCE;
            let mut each = held();
            while each > most && Instant::now() < until {
                thread::sleep(Duration::from_millis(100));
                each = held();
            }
            println!("{kind:?} {path}: {each:.1} KiB for each reader of nothing");
            if each > most {
                over.push((kind, path, each));
            }
            assert_eq!(readers[7].read(), length, "all of it when it is read");
        }
    }
    assert!(over.is_empty(), "{over:?}");
}

#[test]
fn who_opens_no_window_costs_little_and_leaves_nothing() {
    const CONNECTIONS: usize = 20;
    const STREAMS: u32 = 100;
    let shop = shop();
    for path in ["/page", "/streamed"] {
        let edge = Edge::start_tls(&two_shops(&shop));
        let mut other = H2::connect(edge.site.https);
        assert_eq!(other.get("/page").status, 200);
        settles(&edge);
        let before = memory(&edge);
        let mut clients: Vec<Frames> = (0..CONNECTIONS)
            .map(|_| {
                let mut frames = Frames::connect(edge.site.https);
                frames.window(0);
                for nth in 0..STREAMS {
                    frames.headers(2 * nth + 1, &get(path), true);
                }
                frames
            })
            .collect();
        for frames in &mut clients {
            let mut heads = 0;
            while heads < STREAMS {
                let (kind, _, _, _) = frames.next().expect("a head on each stream");
                heads += u32::from(kind == 1);
                assert_ne!(kind, 0, "no content without a window");
            }
        }
        settles(&edge);
        let grown = memory(&edge).saturating_sub(before);
        println!("{CONNECTIONS} connections of {STREAMS} streams of {path}: {grown} KiB");
        assert!(grown < 64 * 1024, "{path}: {grown} KiB");
        assert_eq!(other.get("/page").body.len(), 200_000, "others are served");
        drop(clients);
        eventually("they are gone", || {
            edge.metric("dhal_connections") == Some(1.0)
        });
        let mut left = 0;
        eventually("their memory is given back", || {
            left = memory(&edge).saturating_sub(before);
            left < 24 * 1024
        });
        println!("left of it: {left} KiB");
    }
}

#[test]
fn who_waits_costs_next_to_nothing() {
    const WAITING: usize = 500;
    let shop = shop();
    let mut over = Vec::new();
    for (kind, most) in [(Kind::Plain, 8.0), (Kind::Tls, 20.0), (Kind::H2, 28.0)] {
        let edge = Edge::start_tls(&two_shops(&shop));
        let first: Vec<_> = (0..20).map(|_| Reader::open(&edge, kind)).collect();
        settles(&edge);
        let before = memory(&edge);
        let waiting: Vec<_> = (0..WAITING).map(|_| Reader::open(&edge, kind)).collect();
        settles(&edge);
        let each = memory(&edge).saturating_sub(before) as f64 / WAITING as f64;
        println!("{kind:?}: {each:.1} KiB for each idle connection");
        if each > most {
            over.push((kind, each));
        }
        drop((first, waiting));
    }
    assert!(over.is_empty(), "{over:?}");
}
