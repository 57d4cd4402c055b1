//! Answers of a shop in person, on their way to visitors: torn, early, unread, and past their end.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use socket2::SockRef;

use crate::{
    edge::Edge,
    origin::{Origin, page, raw},
    tools::{PATIENCE, free_address},
};

/// One shop, nothing stored, one attempt.
pub(crate) fn passing(shop: &impl std::fmt::Display) -> String {
    format!(
        r#"
        [upstreams.shop]
        servers = ["{shop}"]
        retry = {{ attempts = 0 }}
        timeouts = {{ response = "5s" }}
        [[routes]]
        upstream = "shop"
        max_body = "100MiB"
        [server]
        threads = 1
        "#
    )
}

/// A shop that does with each connection what it likes.
pub(crate) fn own_shop(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let address = free_address();
    let listener = TcpListener::bind(address).expect("free");
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            stream.set_nodelay(true).expect("an option");
            // Thousands of shops that send without end must not take the kernel's memory from other tests.
            let small = SockRef::from(&stream).set_send_buffer_size(16 * 1024);
            small.expect("an option");
            let serve = Arc::clone(&serve);
            thread::spawn(move || serve(stream));
        }
    });
    address
}

pub(crate) fn read_head(mut stream: &TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    String::from_utf8(head).ok()
}

const TORN: [(&str, &str); 3] = [
    (
        "HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 10\r\n\r\n0123456789",
        "0123456789",
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n012\r\n1;a=b\r\n3\r\n006\r\n456789\r\n0\r\nT: v\r\n\r\n",
        "0123456789",
    ),
    (
        "HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\nHTTP/1.1 404 No\r\nContent-Length: 1\r\n\r\nx",
        "x",
    ),
];

#[test]
fn answers_that_drip_arrive_whole() {
    let shop = own_shop(|mut stream| {
        while let Some(head) = read_head(&stream) {
            let nth = head.split(['/', ' ']).nth(2).and_then(|n| n.parse().ok());
            let nth: usize = nth.expect("a number");
            for byte in TORN[nth].0.as_bytes() {
                let _ = stream.write_all(&[*byte]);
            }
        }
    });
    let edge = Edge::start(&passing(&shop));
    let mut conn = edge.connect();
    for (nth, (_, content)) in TORN.iter().enumerate() {
        for _ in 0..3 {
            assert_eq!(conn.get(&format!("/{nth}")).text(), *content, "{nth}");
        }
    }
}

#[test]
fn answers_that_are_cut_never_look_whole() {
    let shop = Origin::start(|r| {
        let (nth, length) = r.target[1..].split_once('/').expect("two numbers");
        let (nth, length): (usize, usize) =
            (nth.parse().expect("one"), length.parse().expect("two"));
        raw(&TORN[nth].0.as_bytes()[..length])
    });
    let edge = Edge::start(&passing(&shop));
    for (nth, (answer, content)) in TORN.iter().enumerate() {
        let head = answer
            .rfind("\r\n\r\n")
            .filter(|_| nth != 1)
            .unwrap_or_else(|| answer.find("\r\n\r\n").expect("a head"))
            + 4;
        for length in 0..=answer.len() {
            let what = format!("{length} of {nth}");
            let mut conn = edge.connect();
            conn.request("GET", &format!("/{nth}/{length}"), &[]);
            let got = conn.try_response("GET");
            if length < head {
                assert_eq!(got.map(|a| a.status), Ok(502), "{what}");
            } else if length < answer.len() {
                assert!(got.is_err(), "{what}: {got:?}");
            } else {
                assert_eq!(got.map(|a| a.text()), Ok((*content).to_owned()), "{what}");
            }
        }
    }
}

#[test]
fn an_old_client_sees_that_an_answer_was_cut() {
    let shop = Origin::start(|_| {
        raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
    });
    let edge = Edge::start(&passing(&shop));
    let mut stream = TcpStream::connect(edge.site.http).expect("the edge accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("an option");
    stream
        .write_all(b"GET / HTTP/1.0\r\nHost: shop.example\r\n\r\n")
        .expect("sent");
    let end = stream.read_to_end(&mut Vec::new());
    // The end of the connection would say that this is all.
    assert_eq!(
        end.map_err(|why| why.kind()),
        Err(std::io::ErrorKind::ConnectionReset)
    );
}

/// The same with a store, so that answers are fetched for all.
fn storing(shop: &SocketAddr) -> String {
    passing(shop).replace("max_body", "cache = \"default\"\n        max_body")
}

#[test]
fn a_head_that_drips_is_late() {
    let shop = own_shop(|mut stream| {
        while read_head(&stream).is_some() {
            // An interim answer is progress, a part of a head is none.
            for text in ["HTTP/1.1 103 Early\r\n\r\n", "HTTP/1.1 200 OK\r\n"] {
                thread::sleep(Duration::from_millis(200));
                let _ = stream.write_all(text.as_bytes());
            }
            while stream.write_all(b"X: y\r\n").is_ok() {
                thread::sleep(Duration::from_millis(100));
            }
        }
    });
    for config in [passing(&shop), storing(&shop)] {
        let edge = Edge::start(&config.replace("5s", "500ms"));
        let began = Instant::now();
        assert_eq!(edge.get("/").status, 504);
        // The head alone would be too large only after many minutes.
        assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    }
}

#[test]
fn interim_answers_are_bounded() {
    let shop = own_shop(|mut stream| {
        while let Some(head) = read_head(&stream) {
            let (many, long) = match head.split(' ').nth(1) {
                Some("/sixteen") => (16, 10),
                Some("/more") => (17, 10),
                Some("/long") => (10, 7_000),
                _ => (9, 7_000),
            };
            let interim = format!("HTTP/1.1 103 Early\r\nX: {}\r\n\r\n", "x".repeat(long));
            let _ = stream.write_all(interim.repeat(many).as_bytes());
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    for config in [passing(&shop), storing(&shop)] {
        let edge = Edge::start(&config);
        for (path, status) in [
            ("/sixteen", 200),
            ("/more", 502),
            ("/short", 200),
            ("/long", 502),
        ] {
            assert_eq!(edge.get(path).status, status, "{path}");
        }
    }
}

#[test]
fn a_trace_of_one_hop_goes_no_further() {
    let shop = Origin::start(|r| page(r.field("traceparent").unwrap_or_default().to_owned()));
    let edge = Edge::start(&passing(&shop));
    let theirs = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01";
    let kept = edge.ask("GET", "/", &[("Traceparent", theirs)]);
    assert_eq!(kept.text(), theirs);
    let fields = [("Traceparent", theirs), ("Connection", "traceparent")];
    let ours = edge.ask("GET", "/", &fields).text();
    assert!(ours.len() == theirs.len() && ours != theirs, "{ours}");
}

#[test]
fn a_connection_that_closes_when_it_is_used_again() {
    let shop = own_shop(|mut stream| {
        while let Some(head) = read_head(&stream) {
            if head.starts_with("GET /last ") {
                return;
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            if head.starts_with("GET /close ") {
                return;
            }
        }
    });
    // The second answers what the first hangs up on.
    let well = Origin::start(|_| page("well"));
    let config = format!(
        "[upstreams.shop]\nservers = [\"{shop}\", {{ address = \"{well}\", backup = true }}]\n\
         eject = {{ consecutive_failures = 1, base_time = \"1h\", max_percent = 100 }}\n\
         [[routes]]\nupstream = \"shop\"\n[server]\nthreads = 1\n"
    );
    let edge = Edge::start(&config);
    let mut conn = edge.connect();
    for n in 0..30 {
        assert_eq!(conn.get("/").text(), "ok");
        // Read and hung up on without a word.
        assert_eq!(conn.get("/last").text(), "well", "{n}");
        // Nobody's fault: it is asked again.
        assert_eq!(conn.get("/").text(), "ok", "{n}");
        assert_eq!(conn.get("/close").text(), "ok", "{n}");
        let after = conn.get("/").text();
        assert!(after == "ok" || after == "well", "{n}: {after}");
    }
    assert!(!edge.stderr().contains("ejected"));
}

#[test]
fn what_comes_behind_an_answer_answers_nothing() {
    let answers = [
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        "HTTP/1.1 204 No\r\nContent-Length: 3\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        "HTTP/1.1 304 No\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    ];
    let shop = own_shop(move |mut stream| {
        while let Some(head) = read_head(&stream) {
            let nth = head.split(['/', ' ']).nth(2).and_then(|n| n.parse().ok());
            let answer = nth.map_or(
                "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood",
                |n: usize| answers[n],
            );
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    });
    let edge = Edge::start(&passing(&shop));
    let mut conn = edge.connect();
    for n in 0..answers.len() {
        let answer = conn.get(&format!("/{n}"));
        assert!(!answer.text().contains("evil"), "{n}: {answer:?}");
        assert_eq!(conn.get("/good").text(), "good", "after {n}");
    }
}

#[test]
fn trailers_are_dropped() {
    let shop = Origin::start(|_| {
        raw(
            "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n",
        )
    });
    let edge = Edge::start(&passing(&shop));
    let mut conn = edge.connect();
    for _ in 0..3 {
        let answer = conn.get("/");
        assert_eq!(answer.text(), "abc");
        assert_eq!(answer.field("trailer"), None);
    }
}

#[test]
fn requests_behind_one_that_is_forwarded_keep_their_order() {
    let shop = Origin::start(|r| page(format!("{} {}", r.target, r.body.len())));
    let edge = Edge::start(&passing(&shop));
    let mut conn = edge.connect();
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: shop.example\r\n\r\n");
    let post = "POST /b HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 3\r\n\r\nabc";
    let chunked = "PUT /c HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let all = get("/a") + post + chunked + &get("/d");
    for cut in (0..all.len()).step_by(7) {
        conn.send(&all[..cut]);
        conn.send(&all[cut..]);
        for wanted in ["/a 0", "/b 3", "/c 13", "/d 0"] {
            assert_eq!(conn.response("GET").text(), wanted, "cut at {cut}");
        }
    }
}
