//! Killed again and again under load: what was purged never returns, and nothing is ever torn.
//!
//! Every page carries its version and a checksum. A purger raises the shop's versions, then purges,
//! and once the purge is acknowledged sets the floor: whoever asks after that must not see less.
//! `DHAL_KILL_ROUNDS` says how often the edge is killed.

use std::{
    collections::HashMap,
    io::{Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::{
    client::{Conn, Response},
    disk::{kept, noise, plain_with_disk},
    edge::Edge,
    h2::{client_config, exchange, request},
    origin::{Answer, Origin, Seen, page},
    tools::{PATIENCE, eventually},
};

const PAGES: usize = 48;
/// The shop takes its time for some, so that purges overtake fetches.
const SLOW: Duration = Duration::from_millis(15);
/// Requests that are answered before the next kill.
const SERVED: usize = 400;
const RESTARTED_WITHIN: Duration = Duration::from_secs(10);

fn rounds() -> usize {
    let rounds = std::env::var("DHAL_KILL_ROUNDS").ok();
    rounds.map_or(6, |rounds| rounds.parse().expect("a number"))
}

fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}

/// A page of some length: words for some, noise for others, and beyond what memory takes for a few.
fn content(nth: usize, version: u64) -> Vec<u8> {
    let line = format!("page {nth} version {version} ");
    match nth % 8 {
        0 => noise(300_000, version * 100 + nth as u64),
        1 | 2 => noise(20_000, version * 100 + nth as u64),
        n => line.repeat(n * 100).into_bytes(),
    }
}

fn body(nth: usize, version: u64) -> Vec<u8> {
    let content = content(nth, version);
    let mut body = format!("{nth} {version} {:016x}\n", checksum(&content)).into_bytes();
    body.extend_from_slice(&content);
    body
}

/// The version of a whole page; panics where it is torn.
fn version(nth: usize, body: &[u8]) -> u64 {
    let at = body.iter().position(|b| *b == b'\n').expect("a first line");
    let line = String::from_utf8(body[..at].to_vec()).expect("text");
    let words: Vec<_> = line.split(' ').collect();
    assert_eq!(words[0], nth.to_string(), "another page");
    let sum = format!("{:016x}", checksum(&body[at + 1..]));
    assert_eq!(words[2], sum, "page {nth} is torn: {} bytes", body.len());
    words[1].parse().expect("a version")
}

fn path(nth: usize) -> String {
    format!("/p{}/{nth}", nth % 4)
}

/// What everyone in the play knows.
struct Play {
    http: std::net::SocketAddr,
    https: std::net::SocketAddr,
    /// What the shop sells now.
    versions: Arc<Vec<AtomicU64>>,
    /// What nobody may see less than.
    floors: Vec<AtomicU64>,
    running: AtomicBool,
    /// Odd while the edge is down.
    epoch: AtomicUsize,
    served: AtomicUsize,
    hits: AtomicUsize,
    cut: AtomicUsize,
    purges: AtomicUsize,
    faults: Mutex<Vec<String>>,
}

impl Play {
    fn is_over(&self) -> bool {
        !self.running.load(SeqCst) || !self.faults.lock().expect("lock").is_empty()
    }

    fn fault(&self, what: String) {
        self.faults.lock().expect("lock").push(what);
    }

    /// Whether the edge was up all the time since then.
    fn was_up(&self, since: usize) -> bool {
        since.is_multiple_of(2) && self.epoch.load(SeqCst) == since
    }

    fn judge(&self, nth: usize, floor: u64, answer: &Response) {
        if answer.status != 200 {
            return self.fault(format!("page {nth}: {} {:?}", answer.status, answer.fields));
        }
        let read = std::panic::catch_unwind(|| version(nth, &answer.body));
        match read {
            Err(_) => self.fault(format!(
                "page {nth} is not whole: {:?}",
                String::from_utf8_lossy(&answer.body[..answer.body.len().min(80)])
            )),
            Ok(version) if version < floor => self.fault(format!(
                "page {nth}: version {version} after {floor} was purged for: {:?}",
                answer.fields
            )),
            Ok(_) => {}
        }
        self.served.fetch_add(1, SeqCst);
        self.hits.fetch_add(usize::from(answer.is_hit()), SeqCst);
    }
}

/// A small generator, so that a run is a new one each time but needs no crate.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % n
    }
}

fn visit_lines(play: &Play, seed: u64) {
    let mut dice = Dice::new(seed);
    let mut conn: Option<Conn> = None;
    while !play.is_over() {
        let nth = dice.below(PAGES);
        let epoch = play.epoch.load(SeqCst);
        let mut line = match conn.take() {
            Some(line) => line,
            None => match TcpStream::connect(play.http) {
                Ok(stream) => Conn::plain(stream),
                Err(_) => {
                    thread::sleep(Duration::from_millis(2));
                    continue;
                }
            },
        };
        let floor = play.floors[nth].load(SeqCst);
        line.request("GET", &path(nth), &[]);
        match line.try_response("GET") {
            Ok(answer) => {
                play.judge(nth, floor, &answer);
                conn = Some(line);
            }
            Err(_) if !play.was_up(epoch) => {
                play.cut.fetch_add(1, SeqCst);
            }
            Err(why) => play.fault(format!("page {nth}: {why}")),
        }
    }
}

fn visit_streams(play: &Play, seed: u64) {
    let mut dice = Dice::new(seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        while !play.is_over() {
            let epoch = play.epoch.load(SeqCst);
            let Some(sender) = connect_h2(play).await else {
                tokio::time::sleep(Duration::from_millis(2)).await;
                continue;
            };
            let mut fine = true;
            while fine && !play.is_over() {
                let asked: Vec<_> = (0..4).map(|_| dice.below(PAGES)).collect();
                let floors: Vec<_> = asked.iter().map(|n| play.floors[*n].load(SeqCst)).collect();
                let ask = |nth: &usize| {
                    tokio::spawn(exchange(
                        sender.clone(),
                        request("GET", &path(*nth), &[]),
                        None,
                    ))
                };
                let tasks: Vec<_> = asked.iter().map(ask).collect();
                for ((task, nth), floor) in tasks.into_iter().zip(asked).zip(floors) {
                    match task.await.expect("a task") {
                        Ok(answer) => play.judge(nth, floor, &answer),
                        Err(_) if !play.was_up(epoch) => {
                            play.cut.fetch_add(1, SeqCst);
                            fine = false;
                        }
                        Err(why) => {
                            play.fault(format!("page {nth} over HTTP/2: {why}"));
                            fine = false;
                        }
                    }
                }
            }
        }
    });
}

async fn connect_h2(play: &Play) -> Option<h2::client::SendRequest<bytes::Bytes>> {
    let socket = tokio::net::TcpStream::connect(play.https).await.ok()?;
    let config = client_config(rustls::ALL_VERSIONS, &["h2"]);
    let name = rustls::pki_types::ServerName::try_from("shop.example").expect("a name");
    let connector = tokio_rustls::TlsConnector::from(config);
    let stream = connector.connect(name, socket).await.ok()?;
    let (sender, connection) = h2::client::handshake(stream).await.ok()?;
    tokio::spawn(connection);
    Some(sender)
}

/// Gives an order, unless the edge is gone. `true`: it is acknowledged.
fn order(socket: &Path, json: &str) -> bool {
    let Ok(mut stream) = UnixStream::connect(socket) else {
        return false;
    };
    let request = format!(
        "POST /purge HTTP/1.1\r\nHost: admin\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{json}",
        json.len()
    );
    let mut answer = String::new();
    let _ = stream.set_read_timeout(Some(PATIENCE));
    stream.write_all(request.as_bytes()).is_ok()
        && stream.read_to_string(&mut answer).is_ok()
        && answer.starts_with("HTTP/1.1 200")
        && answer.ends_with('}')
}

fn purge(play: &Play, socket: &Path, seed: u64) {
    let mut dice = Dice::new(seed);
    while !play.is_over() {
        let one = dice.below(PAGES);
        let urls = |nth: usize| {
            format!(
                "\"http://shop.example{0}\", \"https://shop.example{0}\"",
                path(nth)
            )
        };
        let of = |part: usize| (0..PAGES).filter(move |n| n % 4 == part);
        let part = dice.below(4);
        let (json, concerned): (String, Vec<usize>) = match dice.below(20) {
            0 => ("{\"all\": true}".to_owned(), (0..PAGES).collect()),
            1..=3 => (
                format!(
                    "{{\"prefixes\": [\"http://shop.example/p{part}/\", \"https://shop.example/p{part}/\"]}}"
                ),
                of(part).collect(),
            ),
            4..=6 => (
                format!("{{\"tags\": [\"part-{part}\"]}}"),
                of(part).collect(),
            ),
            7..=12 => (
                format!("{{\"tags\": [\"other\", \"page-{one}\"]}}"),
                vec![one],
            ),
            13..=18 => (format!("{{\"urls\": [{}]}}", urls(one)), vec![one]),
            // What is made stale may answer once more: it sets no floor.
            _ => ("{\"all\": true, \"soft\": true}".to_owned(), Vec::new()),
        };
        let raised: Vec<_> = concerned
            .iter()
            .map(|n| (*n, play.versions[*n].fetch_add(1, SeqCst) + 1))
            .collect();
        if order(socket, &json) {
            for (nth, version) in raised {
                play.floors[nth].fetch_max(version, SeqCst);
            }
            play.purges.fetch_add(1, SeqCst);
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn script(versions: &Arc<Vec<AtomicU64>>) -> impl Fn(&Seen) -> Answer + Send + Sync + use<> {
    let versions = Arc::clone(versions);
    move |r| {
        let nth: usize = r
            .target
            .rsplit('/')
            .next()
            .and_then(|n| n.parse().ok())
            .expect("a page");
        // Read before the pause: what is answered may be old by then.
        let version = versions[nth].load(SeqCst);
        let answer = page(body(nth, version))
            .fresh(600)
            .field("ETag", format!("\"{nth}-{version}\""))
            .field("Surrogate-Key", format!("page-{nth} part-{}", nth % 4));
        let answer = if nth.is_multiple_of(5) {
            answer.chunked()
        } else {
            answer
        };
        if nth.is_multiple_of(3) {
            answer.after(SLOW)
        } else {
            answer
        }
    }
}

#[test]
fn what_was_purged_never_returns_and_nothing_is_torn() {
    let numbers = || (0..PAGES).map(|_| AtomicU64::new(1)).collect::<Vec<_>>();
    let versions = Arc::new(numbers());
    let shop = Origin::start(script(&versions));
    let mut edge = Edge::start_tls(&plain_with_disk(&shop, "max_object = \"64KiB\""));
    let play = Arc::new(Play {
        http: edge.site.http,
        https: edge.site.https,
        versions,
        floors: numbers(),
        running: AtomicBool::new(true),
        epoch: AtomicUsize::new(0),
        served: AtomicUsize::new(0),
        hits: AtomicUsize::new(0),
        cut: AtomicUsize::new(0),
        purges: AtomicUsize::new(0),
        faults: Mutex::default(),
    });
    let socket = edge.site.path("admin.sock");

    let mut cast = Vec::new();
    for seed in 0..4 {
        let play = Arc::clone(&play);
        cast.push(thread::spawn(move || visit_lines(&play, seed + 1)));
    }
    for seed in 0..2 {
        let play = Arc::clone(&play);
        cast.push(thread::spawn(move || visit_streams(&play, seed + 100)));
    }
    let purger = Arc::clone(&play);
    let at = socket.clone();
    cast.push(thread::spawn(move || purge(&purger, &at, 7)));

    let (rounds, mut slowest) = (rounds(), Duration::ZERO);
    for round in 0..rounds {
        let until = play.served.load(SeqCst) + SERVED + round * 37 % 100;
        eventually("visitors are served", || {
            play.served.load(SeqCst) >= until || play.is_over()
        });
        if play.is_over() {
            break;
        }
        play.epoch.fetch_add(1, SeqCst);
        let began = Instant::now();
        edge.restart(Signal::SIGKILL);
        // Whoever connected while it began may have been cut off for that.
        play.epoch.fetch_add(1, SeqCst);
        let mut conn = edge.connect();
        let floor = play.floors[1].load(SeqCst);
        let answer = conn.get(&path(1));
        play.judge(1, floor, &answer);
        slowest = slowest.max(began.elapsed());
    }
    play.running.store(false, SeqCst);
    for one in cast {
        one.join().expect("no fault of its own");
    }
    let faults = play.faults.lock().expect("lock").clone();
    assert!(faults.is_empty(), "{faults:#?}");
    assert!(slowest < RESTARTED_WITHIN, "{slowest:?}");

    // What stands on the disk at last is whole and new enough, and answers without the shop.
    let mut conn = edge.connect();
    for nth in 0..PAGES {
        let answer = conn.get(&path(nth));
        play.judge(nth, play.floors[nth].load(SeqCst), &answer);
    }
    kept(&edge, PAGES as u32);
    // Objects of earlier versions count as well, and a page that was purged softly is fetched behind its
    // last answer, so that the last ones may still be on their way.
    eventually("all is fresh and written down", || {
        let mut pages = 0..PAGES;
        pages.all(|nth| conn.get(&path(nth)).cache() == "dhal; hit")
            && edge.metric("dhal_cache_jobs_waiting") == Some(0.0)
    });
    edge.restart(Signal::SIGKILL);
    let asked = shop.seen().len();
    let mut conn = edge.connect();
    let mut from_disk: HashMap<bool, usize> = HashMap::new();
    for nth in 0..PAGES {
        let answer = conn.get(&path(nth));
        play.judge(nth, play.floors[nth].load(SeqCst), &answer);
        *from_disk.entry(answer.is_hit()).or_default() += 1;
    }
    let faults = play.faults.lock().expect("lock").clone();
    assert!(faults.is_empty(), "{faults:#?}");
    assert_eq!(from_disk.get(&true), Some(&PAGES), "{from_disk:?}");
    assert_eq!(shop.seen().len(), asked);
    assert_eq!(edge.metric("dhal_cache_disk_damaged"), Some(0.0));
    println!(
        "{rounds} kills: {} answers, {} of them hits, {} cut off by a kill, {} purges, slowest start {slowest:?}",
        play.served.load(SeqCst),
        play.hits.load(SeqCst),
        play.cut.load(SeqCst),
        play.purges.load(SeqCst),
    );
}
