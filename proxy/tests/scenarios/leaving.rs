//! Connections that rest while their listener changes or the process ends: whatever was asked on them is answered.

use std::{
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::{
    client::Conn,
    edge::Edge,
    h2::{End, Frames, H2, https},
    origin::{Origin, page},
    serving::plain,
    tools::{PATIENCE, eventually},
};

const NAME: &str = "shop.example";
const GET: [(&str, &str); 4] = [
    (":method", "GET"),
    (":scheme", "https"),
    (":authority", NAME),
    (":path", "/"),
];

/// What happened to visitors.
#[derive(Default)]
struct Tally {
    is_over: AtomicBool,
    answered: AtomicUsize,
    lost: Mutex<Vec<String>>,
}

impl Tally {
    fn goes_on(&self) -> bool {
        !self.is_over.load(Relaxed)
    }

    fn ends(&self) {
        self.is_over.store(true, Relaxed);
    }

    fn lost(&self, why: String) {
        self.lost.lock().expect("no panic").push(why);
    }

    fn note(&self, answer: Result<u16, String>) {
        match answer {
            Ok(200) => _ = self.answered.fetch_add(1, Relaxed),
            Ok(status) => self.lost(format!("status {status}")),
            Err(why) => self.lost(why),
        }
    }

    fn is_flawless(&self) {
        let lost = self.lost.lock().expect("no panic");
        let answered = self.answered.load(Relaxed);
        assert!(lost.is_empty(), "{} of {answered}: {lost:?}", lost.len());
    }
}

/// Asks over HTTP/1.1 again and again, with rests of so many milliseconds.
fn rests_h1(tally: &Tally, address: SocketAddr, rests: &[u64]) {
    let mut kept: Option<Conn> = None;
    for rest in rests.iter().cycle() {
        if !tally.goes_on() {
            return;
        }
        let conn = kept.get_or_insert_with(|| https(address, NAME));
        conn.request("GET", "/", &[]);
        let answer = conn.try_response("GET");
        let closes = answer
            .as_ref()
            .map_or(true, |answer| answer.field("connection") == Some("close"));
        tally.note(
            answer
                .map(|answer| answer.status)
                .map_err(|why| format!("HTTP/1.1: {why}")),
        );
        if closes {
            kept = None;
        }
        thread::sleep(Duration::from_millis(*rest));
    }
}

/// What came of a request over HTTP/2; `None` where the client knew before it asked that it may not.
fn asked(h2: &H2) -> Option<Result<u16, String>> {
    let sender = h2.sender.clone();
    h2.runtime.block_on(async {
        let mut sender = sender.ready().await.ok()?;
        let request = crate::h2::request("GET", "/", &[]);
        let (answer, _) = sender.send_request(request, true).ok()?;
        Some(match tokio::time::timeout(PATIENCE, answer).await {
            Ok(Ok(answer)) => Ok(answer.status().as_u16()),
            Ok(Err(why)) => Err(format!("HTTP/2: {why}")),
            Err(_) => Err("HTTP/2: nothing".to_owned()),
        })
    })
}

/// The same over HTTP/2, by a client that opens no stream once it knows of GOAWAY, but counts a stream as lost that it
/// has opened before, even where it might be asked for again.
fn rests_h2(tally: &Tally, address: SocketAddr, rests: &[u64]) {
    let mut kept: Option<H2> = None;
    for rest in rests.iter().cycle() {
        if !tally.goes_on() {
            return;
        }
        let h2 = kept.get_or_insert_with(|| H2::connect(address));
        match asked(h2) {
            Some(answer) => tally.note(answer),
            // It heard of the end before it asked.
            None => kept = None,
        }
        thread::sleep(Duration::from_millis(*rest));
    }
}

fn with_profile(shop: &Origin, profile: &str) -> String {
    format!(
        "{}[[listeners]]\naddress = \"@http\"\n[[listeners]]\naddress = \"@https\"\ntls = true\ntls_profile = \"{profile}\"\n\
         [[certificates]]\ncert = \"@dir/certs/dev.pem\"\nkey = \"@dir/certs/dev.key\"\n",
        plain(shop)
    )
}

/// Runs visitors who rest for all kinds of times, while something happens.
fn visited(address: SocketAddr, happens: impl FnOnce(&Tally)) -> Tally {
    let tally = Tally::default();
    let rests = [
        [0, 1, 3],
        [10, 40, 2],
        [30, 7, 90],
        [200, 5, 1],
        [1_100, 1, 400],
    ];
    thread::scope(|scope| {
        for rests in &rests {
            scope.spawn(|| rests_h1(&tally, address, rests));
            scope.spawn(|| rests_h2(&tally, address, rests));
            scope.spawn(|| rests_h2(&tally, address, rests));
        }
        happens(&tally);
        tally.ends();
    });
    tally
}

#[test]
fn connections_that_rest_lose_nothing_when_their_listener_changes() {
    let shop = Origin::start(|_| page("ok").fresh(600));
    let edge = Edge::start_tls(&plain(&shop));
    let tally = visited(edge.site.https, |tally| {
        for profile in ["intermediate", "modern"].repeat(15) {
            let output = edge.reload(&with_profile(&shop, profile));
            assert!(output.status.success(), "{output:?}");
            let before = tally.answered.load(Relaxed);
            eventually("visitors are served", || {
                tally.answered.load(Relaxed) > before + 50
            });
        }
    });
    tally.is_flawless();
}

#[test]
fn connections_that_rest_lose_nothing_when_another_process_takes_over() {
    let shop = Origin::start(|_| page("ok").fresh(600));
    let edge = Edge::start_tls(&plain(&shop));
    let tally = visited(edge.site.https, |tally| {
        for _ in 0..3 {
            let before = tally.answered.load(Relaxed);
            let output = edge.site.dhal(&["upgrade"]);
            assert!(output.status.success(), "{output:?}");
            eventually("visitors are served", || {
                tally.answered.load(Relaxed) > before + 50
            });
        }
    });
    tally.is_flawless();
}

/// Reads up to the next GOAWAY, whose last stream it says.
fn last_stream(frames: &mut Frames) -> u32 {
    loop {
        let (kind, _, _, payload) = frames.next().expect("GOAWAY comes first");
        if kind == 7 {
            return u32::from_be_bytes(payload[..4].try_into().expect("four octets"));
        }
    }
}

/// Reads up to a PING of the edge.
fn ping(frames: &mut Frames) -> Vec<u8> {
    loop {
        let (kind, flags, _, payload) = frames.next().expect("PING comes first");
        if (kind, flags) == (6, 0) {
            return payload;
        }
    }
}

#[test]
fn what_a_client_has_in_hand_when_it_hears_of_the_end_is_answered() {
    let shop = Origin::start(|_| page("ok"));
    let edge = Edge::start_tls(&plain(&shop));
    let mut frames = Frames::connect(edge.site.https);
    frames.headers(1, &GET, true);
    assert_eq!(frames.answer(1).end, End::Stream);
    let output = edge.reload(&with_profile(&shop, "modern"));
    assert!(output.status.success(), "{output:?}");
    frames.headers(3, &GET, true);
    assert_eq!(last_stream(&mut frames), 0x7fff_ffff);
    // The answer to PING overtakes the next request, as it does where one hand reads and another one asks.
    let payload = ping(&mut frames);
    frames.frame(6, 1, 0, &payload);
    assert_eq!(frames.answer(3).statuses, [200]);
    frames.headers(5, &GET, true);
    assert_eq!(frames.answer(5).statuses, [200]);
    // It has heard of it twice now.
    frames.frame(6, 1, 0, &payload);
    assert_eq!(last_stream(&mut frames), 5);
    assert!(frames.next().is_none());
}

#[test]
fn nobody_is_sent_away_before_the_first_request() {
    let shop = Origin::start(|_| page("ok"));
    let edge = Edge::start_tls(&plain(&shop));
    let (mut asks, mut silent) = (
        Frames::connect(edge.site.https),
        Frames::connect(edge.site.https),
    );
    let output = edge.reload(&with_profile(&shop, "modern"));
    assert!(output.status.success(), "{output:?}");
    for frames in [&mut asks, &mut silent] {
        frames.frame(6, 0, 0, b"a sign o");
        // SETTINGS and what belongs to them, and nothing else.
        while let Some((kind, flags, _, _)) = frames.next() {
            assert_ne!(kind, 7, "GOAWAY before the first request");
            if (kind, flags) == (6, 1) {
                break;
            }
        }
    }
    asks.headers(1, &GET, true);
    assert_eq!(asks.answer(1).statuses, [200]);
    // Who asks for nothing is told in the end.
    assert_eq!(last_stream(&mut silent), 0x7fff_ffff);
    assert_eq!(last_stream(&mut silent), 0);
    assert!(silent.next().is_none());
}

#[test]
fn a_request_that_crosses_the_end_of_a_rest_is_answered() {
    let shop = Origin::start(|_| page("ok"));
    let edge = Edge::start_tls(&(plain(&shop) + "[server]\nkeepalive_timeout = \"2s\"\n"));
    let mut frames = Frames::connect(edge.site.https);
    frames.headers(1, &GET, true);
    assert_eq!(frames.answer(1).end, End::Stream);
    assert_eq!(last_stream(&mut frames), 0x7fff_ffff);
    frames.headers(3, &GET, true);
    assert_eq!(frames.answer(3).statuses, [200]);
    assert_eq!(last_stream(&mut frames), 3);
    assert!(frames.next().is_none());
}

#[test]
fn whoever_rests_when_the_process_is_told_to_end_may_ask_once_more() {
    let shop = Origin::start(|_| page("ok"));
    let mut is_known = false;
    // An edge that ends gives a second, in which a machine may stand still.
    for _ in 0..10 {
        let mut edge = Edge::start_tls(&plain(&shop));
        let mut conns = [edge.connect(), https(edge.site.https, NAME)];
        let mut silent = [edge.connect(), https(edge.site.https, NAME)];
        for conn in &mut conns {
            assert_eq!(conn.get("/").status, 200);
        }
        let began = Instant::now();
        edge.signal(Signal::SIGTERM);
        eventually("it drains", || edge.admin("GET", "/readyz").0 == 503);
        conns
            .iter_mut()
            .for_each(|conn| conn.request("GET", "/", &[]));
        let is_late = began.elapsed() > LONGEST;
        for conn in &mut conns {
            let answer = conn.try_response("GET");
            if is_late && answer.is_err() {
                continue;
            }
            let answer = answer.expect("an answer");
            assert_eq!(
                (answer.status, answer.field("connection")),
                (200, Some("close"))
            );
            conn.ends();
        }
        for conn in &mut silent {
            conn.ends();
        }
        assert!(edge.wait().success());
        assert!(!edge.stderr().contains("grace is over"));
        if !is_late {
            is_known = true;
            break;
        }
    }
    assert!(is_known, "the machine is too slow to tell");
}

#[test]
fn visitors_in_the_middle_of_something_lose_nothing_when_the_process_ends() {
    let shop = Origin::start(|_| page("ok").fresh(600));
    for _ in 0..3 {
        let mut edge = Edge::start_tls(&plain(&shop));
        let address = edge.site.https;
        let (tally, is_ending) = (Tally::default(), AtomicBool::new(false));
        thread::scope(|scope| {
            for rests in [[0, 1, 3], [10, 40, 2], [30, 7, 90], [200, 5, 1]] {
                for is_h2 in [true, true, false] {
                    let (tally, is_ending) = (&tally, &is_ending);
                    scope.spawn(move || match is_h2 {
                        true => until_it_ends_h2(tally, is_ending, address, &rests),
                        false => until_it_ends_h1(tally, is_ending, address, &rests),
                    });
                }
            }
            eventually("visitors are served", || tally.answered.load(Relaxed) > 200);
            is_ending.store(true, Relaxed);
            edge.signal(Signal::SIGTERM);
        });
        tally.is_flawless();
        assert!(edge.wait().success());
        assert!(!edge.stderr().contains("grace is over"));
    }
}

/// Who rests longer than this has waited for the machine, and may be too late: an edge that ends gives a second.
const LONGEST: Duration = Duration::from_millis(700);

/// Asks on one connection until it is told that this is the end.
fn until_it_ends_h1(tally: &Tally, is_ending: &AtomicBool, address: SocketAddr, rests: &[u64]) {
    let mut conn = https(address, NAME);
    let mut rested = Instant::now();
    for rest in rests.iter().cycle() {
        conn.request("GET", "/", &[]);
        let is_late = rested.elapsed() > LONGEST;
        let answer = conn.try_response("GET");
        if is_late && answer.is_err() && is_ending.load(Relaxed) {
            return;
        }
        rested = Instant::now();
        let ends = answer
            .as_ref()
            .map_or(true, |answer| answer.field("connection") == Some("close"));
        tally.note(
            answer
                .map(|answer| answer.status)
                .map_err(|why| format!("HTTP/1.1: {why}")),
        );
        if ends {
            assert!(is_ending.load(Relaxed));
            return;
        }
        thread::sleep(Duration::from_millis(*rest));
    }
}

fn until_it_ends_h2(tally: &Tally, is_ending: &AtomicBool, address: SocketAddr, rests: &[u64]) {
    let h2 = H2::connect(address);
    let mut rested = Instant::now();
    for rest in rests.iter().cycle() {
        let answer = asked(&h2);
        // It opens the stream as soon as it is awake.
        let is_late = rested.elapsed() > LONGEST;
        rested = Instant::now();
        match answer {
            Some(Err(_)) if is_late && is_ending.load(Relaxed) => return,
            Some(answer) => tally.note(answer),
            None => {
                assert!(is_ending.load(Relaxed));
                return;
            }
        }
        thread::sleep(Duration::from_millis(*rest));
    }
}
