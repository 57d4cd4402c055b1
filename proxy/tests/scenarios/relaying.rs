//! Answers of a shop in person, on their way to visitors: torn, early, unread, and past their end.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use socket2::{Domain, SockRef, Socket, Type};
use tokio::time::timeout;

use crate::{
    client::Conn,
    edge::Edge,
    h2::{Frames, H2, request},
    origin::{Origin, page, raw},
    tools::{Gate, PATIENCE, eventually, free_address},
};

/// One shop, nothing stored, one attempt.
fn passing(shop: &impl std::fmt::Display) -> String {
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

#[test]
fn an_early_answer_does_not_wait_for_the_content() {
    let shop = own_shop(|stream| {
        read_head(&stream).expect("a head");
        (&stream)
            .write_all(b"HTTP/1.1 403 No\r\nContent-Length: 5\r\n\r\nearly")
            .expect("sent");
        // It stays open and reads nothing.
        let _ = stream.peek(&mut [0]);
        thread::sleep(PATIENCE);
    });
    let edge = Edge::start(&passing(&shop));
    let mut conn = edge.connect();
    conn.request("POST", "/", &[("Content-Length", "1000")]);
    conn.send("a beginning");
    let answer = conn.response("POST");
    assert_eq!((answer.status, answer.text().as_str()), (403, "early"));
    assert_eq!(answer.field("connection"), Some("close"));
    conn.ends();
}

/// A shop that answers at once and in pieces, and lets more time pass than an upload may pause.
fn slow_early_answer() -> String {
    let shop = own_shop(|stream| {
        read_head(&stream).expect("a head");
        (&stream)
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n")
            .expect("sent");
        for piece in ["sl", "ow", "ly"] {
            thread::sleep(Duration::from_millis(400));
            let _ = (&stream).write_all(piece.as_bytes());
        }
        let _ = stream.peek(&mut [0]);
        thread::sleep(PATIENCE);
    });
    passing(&shop) + "body_timeout = \"300ms\"\n"
}

#[test]
fn an_answer_in_full_flow_does_not_need_the_content() {
    let edge = Edge::start(&slow_early_answer());
    let mut conn = edge.connect();
    conn.request("POST", "/", &[("Content-Length", "1000")]);
    conn.send("a beginning");
    let answer = conn.response("POST");
    assert_eq!((answer.status, answer.text().as_str()), (200, "slowly"));
}

#[test]
fn an_answer_in_full_flow_does_not_need_the_content_over_h2() {
    let edge = Edge::start_tls(&slow_early_answer());
    let client = H2::connect(edge.site.https);
    let content = client.runtime.block_on(async {
        let asked = async {
            let mut sender = client.sender.clone().ready().await?;
            let (answer, mut upload) = sender.send_request(request("POST", "/", &[]), false)?;
            upload.send_data(Bytes::from_static(b"a beginning"), false)?;
            let mut content = answer.await?.into_body();
            let mut all = Vec::new();
            while let Some(piece) = content.data().await {
                all.extend_from_slice(&piece?);
            }
            Ok::<_, h2::Error>(all)
        };
        timeout(PATIENCE, asked).await
    });
    let content = content.expect("in time").expect("a complete answer");
    assert_eq!(content, b"slowly");
}

#[test]
fn a_server_that_does_not_say_continue_is_not_slow() {
    let shop = own_shop(|stream| {
        read_head(&stream);
        let _ = stream.peek(&mut [0]);
        thread::sleep(PATIENCE);
    });
    let config = passing(&shop).replace("5s", "600ms") + "body_timeout = \"200ms\"\n";
    let edge = Edge::start(&config);
    let mut conn = edge.connect();
    let fields = [("Content-Length", "10"), ("Expect", "100-continue")];
    conn.request("POST", "/", &fields);
    assert_eq!(conn.head().expect("a word of the edge").0, 100);
    assert_eq!(conn.response("POST").status, 408);
    // Who was told to go on and does not is slow itself.
    let shop = own_shop(|stream| {
        read_head(&stream);
        let _ = (&stream).write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
        let _ = stream.peek(&mut [0]);
        thread::sleep(PATIENCE);
    });
    let edge = Edge::start(&(passing(&shop) + "body_timeout = \"200ms\"\n"));
    let mut conn = edge.connect();
    conn.request("POST", "/", &fields);
    assert_eq!(conn.head().expect("an interim answer").0, 100);
    assert_eq!(conn.response("POST").status, 408);
}

#[test]
fn a_server_that_does_not_say_continue_is_not_slow_over_h2_either() {
    for (says_so, wanted) in [(false, vec![100, 408]), (true, vec![100, 408])] {
        let shop = own_shop(move |stream| {
            read_head(&stream);
            if says_so {
                let _ = (&stream).write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
            }
            let _ = stream.peek(&mut [0]);
            thread::sleep(PATIENCE);
        });
        let limit = if says_so { "5s" } else { "600ms" };
        let config = passing(&shop).replace("5s", limit) + "body_timeout = \"200ms\"\n";
        let edge = Edge::start_tls(&config);
        let mut frames = Frames::connect(edge.site.https);
        let fields = [
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", "shop.example"),
            (":path", "/"),
            ("content-length", "10"),
            ("expect", "100-continue"),
        ];
        frames.headers(1, &fields, false);
        assert_eq!(frames.answer(1).statuses, wanted);
    }
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
fn content_goes_up_while_the_answer_comes_down() {
    let shop = own_shop(|mut stream| {
        let head = read_head(&stream).expect("a head");
        assert!(head.contains("content-length: 9") || head.contains("Content-Length: 9"));
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            .expect("sent");
        for _ in 0..3 {
            let mut piece = [0; 3];
            stream.read_exact(&mut piece).expect("a piece");
            stream.write_all(b"3\r\n").expect("sent");
            stream.write_all(&piece).expect("sent");
            stream.write_all(b"\r\n").expect("sent");
        }
        stream.write_all(b"0\r\n\r\n").expect("sent");
    });
    let edge = Edge::start(&passing(&shop));
    let mut conn = edge.connect();
    conn.request("POST", "/", &[("Content-Length", "9")]);
    assert_eq!(conn.head().expect("before any content").0, 200);
    let mut echo = Vec::new();
    for piece in ["abc", "def", "ghi"] {
        conn.send(piece);
        let mut got = Vec::new();
        while got.len() < 3 {
            // However it is cut into chunks.
            let size = conn.take(3).expect("a size");
            let n = usize::from(size[0] - b'0');
            got.extend(conn.take(n).expect("content"));
            conn.take(2).expect("its end");
        }
        echo.extend(got);
    }
    assert_eq!(echo, b"abcdefghi");
    assert_eq!(conn.take(5).expect("the last chunk"), b"0\r\n\r\n");
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

#[test]
fn a_client_that_has_said_all_still_gets_its_answer() {
    let gate = Gate::default();
    let closed = gate.clone();
    let shop = Origin::start(move |_| page("late").when(&closed));
    let edge = Edge::start(&passing(&shop));
    let mut conn = edge.connect();
    conn.request("POST", "/", &[("Content-Length", "3")]);
    conn.send("abc");
    conn.finish();
    eventually("it is asked", || shop.count("/") == 1);
    gate.open();
    assert_eq!(conn.response("POST").text(), "late");
    conn.ends();
}

#[test]
fn a_client_that_is_gone_is_not_waited_for() {
    let gate = Gate::default();
    let closed = gate.clone();
    let shop = Origin::start(move |_| page("late").when(&closed));
    let edge = Edge::start(&passing(&shop));
    let mut stream = TcpStream::connect(edge.site.http).expect("the edge accepts");
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        .expect("sent");
    eventually("it is asked", || shop.count("/") == 1);
    SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .expect("an option");
    drop(stream);
    eventually("it is logged", || edge.log().len() == 1);
    let line = edge.log().remove(0);
    assert_eq!(
        (&line["status"], &line["reason"]),
        (&499.into(), &"client_gone".into())
    );
    gate.open();
}

#[test]
fn who_leaves_takes_the_work_along() {
    let gate = Gate::default();
    let closed = gate.clone();
    // The shop sees the end of its connection before it has answered.
    let left = Gate::default();
    let seen = left.clone();
    let shop = own_shop(move |mut stream| {
        read_head(&stream);
        closed.open();
        if matches!(stream.read(&mut [0; 1]), Ok(0) | Err(_)) {
            seen.open();
        }
    });
    let edge = Edge::start(&passing(&shop));
    let mut conn = edge.connect();
    conn.request("GET", "/", &[]);
    gate.wait(PATIENCE);
    // As a browser leaves: both sides closed, and no reset.
    drop(conn);
    left.wait(PATIENCE);
    eventually("it is logged", || edge.log().len() == 1);
    assert_eq!(edge.log()[0]["status"], 499);
    assert!(left.is_open());
}

#[test]
fn a_shop_that_reads_nothing() {
    let shop = own_shop(|stream| {
        read_head(&stream);
        thread::sleep(PATIENCE);
    });
    let edge = Edge::start(&passing(&shop).replace("5s", "500ms"));
    let mut conn = edge.connect();
    let most = 50 * 1024 * 1024;
    conn.request("POST", "/", &[("Content-Length", &most.to_string())]);
    let mut other = edge.connect();
    let sending = thread::spawn(move || {
        conn.send(vec![b'x'; most]);
        conn
    });
    // The others do not notice.
    other.send("BAD\r\n\r\n");
    assert_eq!(other.response("GET").status, 400);
    let mut conn = sending.join().expect("sent or refused");
    let answer = conn.try_response("POST").map(|a| a.status);
    // What is still under way when the connection ends may cost the answer.
    assert!(answer.is_err() || answer == Ok(504), "{answer:?}");
    eventually("it is logged", || {
        edge.log()
            .iter()
            .any(|line| line["reason"] == "connection_write_timeout")
    });
}

/// Memory of the edge in KiB, without that of files.
fn memory(edge: &Edge) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", edge.id())).expect("a process");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let words = line.and_then(|line| line.split_whitespace().next());
    words.and_then(|n| n.parse().ok()).expect("a number")
}

/// A connection that takes little before it is read from.
fn narrow(edge: &Edge) -> Conn {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(16 * 1024).expect("an option");
    socket
        .connect(&edge.site.http.into())
        .expect("the edge accepts");
    Conn::plain(socket.into())
}

#[test]
fn readers_who_stop_hold_little() {
    const READERS: u64 = 32;
    const FILM: u64 = 100 * 1024 * 1024;
    let sent = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&sent);
    let shop = own_shop(move |mut stream| {
        let piece = [b'x'; 8 * 1024];
        while let Some(head) = read_head(&stream) {
            let length = if head.starts_with("GET /film ") {
                FILM
            } else {
                8 * 1024
            };
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
            if stream.write_all(head.as_bytes()).is_err() {
                return;
            }
            for _ in 0..length / piece.len() as u64 {
                if stream.write_all(&piece).is_err() {
                    return;
                }
                counter.fetch_add(piece.len() as u64, Ordering::SeqCst);
            }
        }
    });
    let edge = Edge::start(&passing(&shop));
    let mut readers: Vec<Conn> = (0..READERS).map(|_| narrow(&edge)).collect();
    for conn in &mut readers {
        assert_eq!(conn.get("/page").body.len(), 8 * 1024);
    }
    let before = memory(&edge);
    for conn in &mut readers {
        conn.request("GET", "/film", &[]);
        assert_eq!(conn.head().expect("a head").0, 200);
    }
    let mut last = 0;
    // What trickles into the kernel's buffers is not the edge's.
    eventually("all of them are stuck", || {
        thread::sleep(Duration::from_millis(300));
        let now = sent.load(Ordering::SeqCst);
        now - std::mem::replace(&mut last, now) < 1024 * 1024
    });
    let grown = memory(&edge).saturating_sub(before);
    assert!(grown <= READERS * 32, "{grown} KiB for {READERS} readers");
    // They go on where they stopped.
    let mut patient = readers.swap_remove(0);
    drop(readers);
    let rest = patient.take(FILM as usize).expect("all of it");
    assert!(rest.iter().all(|byte| *byte == b'x'));
    assert_eq!(patient.get("/page").body.len(), 8 * 1024);
}

#[test]
fn a_tunnel_outlives_a_reload() {
    const SWITCH: &str =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let shop = Origin::start(|_| {
        raw(SWITCH).take(|mut stream| {
            let mut chunk = [0; 64 * 1024];
            while let Ok(n @ 1..) = stream.read(&mut chunk) {
                if stream.write_all(&chunk[..n]).is_err() {
                    return;
                }
            }
            let _ = stream.write_all(b"bye");
        })
    });
    let edge = Edge::start(&passing(&shop));
    let mut conn = edge.connect();
    let fields = [("Connection", "Upgrade"), ("Upgrade", "websocket")];
    conn.request("GET", "/", &fields);
    assert_eq!(conn.head().expect("an answer").0, 101);
    conn.send("one");
    assert_eq!(conn.take(3).expect("an echo"), b"one");
    assert!(edge.reload(&passing(&shop)).status.success());
    let much = vec![b'y'; 300_000];
    conn.send(&much);
    assert!(conn.take(much.len()).expect("an echo") == much);
    // What the client says last is heard, and what the shop says to it.
    conn.finish();
    assert_eq!(conn.take(3).expect("a word"), b"bye");
}
