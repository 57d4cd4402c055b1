//! Faults of a shop while a request's content is on its way to it.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};

use socket2::SockRef;

use crate::{
    edge::Edge,
    faults::{
        Asked, Guest,
        Outcome::{Clear, ClearOrCut, Cut, UnreachedOrCut, Whole},
        Row, Shop, Then, Upload, answers, config, holds_nothing, says, ways,
    },
    measure::has_read,
};

/// A final answer, and nothing is read of what is still to come.
#[test]
fn a_final_answer_before_the_content() {
    for (status, content) in [(200, "enough"), (413, "too much")] {
        let answer = format!(
            "HTTP/1.1 {status} Early\r\nContent-Length: {}\r\n\r\n{content}",
            content.len()
        );
        for then in [Then::Next, Then::Stay, Then::Close] {
            Row::new(says(answer.as_str(), then), Whole(status, content))
                .method("POST", Upload::Unfinished(1_000))
                .holds();
        }
    }
}

/// The same while content comes as fast as it is taken.
#[test]
fn a_final_answer_to_a_flood() {
    let answer = b"HTTP/1.1 413 Early\r\nContent-Length: 8\r\n\r\ntoo much";
    let script = |stream: &mut TcpStream, _: &Asked<'_>| {
        let _ = stream.write_all(answer);
        // The rest takes seconds: a shop that has all of it by the time its answer is told keeps its connection.
        let mut piece = [0; 4 * 1024];
        while stream.read(&mut piece).is_ok_and(|n| n > 0) {
            thread::sleep(Duration::from_millis(1));
        }
        Then::Close
    };
    Row::new(script, Whole(413, "too much"))
        .method("POST", Upload::Much(FLOOD))
        .holds();
}

/// More than the kernel keeps between edge and shop.
const FLOOD: usize = 16 * 1024 * 1024;

#[test]
fn a_shop_that_reads_nothing() {
    Row::new(
        |_, _| {
            thread::sleep(Duration::from_secs(5));
            // Only who reads on learns that the other end is gone.
            Then::Stay
        },
        ClearOrCut(504),
    )
    .method("POST", Upload::Much(FLOOD))
    .timeouts("response = \"2s\"")
    .blames_the_server()
    .holds();
}

/// It may have been done, so that nobody else is asked.
#[test]
fn a_form_that_is_read_and_hung_up_on() {
    for then in [Then::Close, Then::Reset] {
        Row::new(says("", then), Clear(502))
            .method("POST", Upload::Whole("form"))
            .reason("connection_terminated")
            .blames_the_server()
            .holds();
    }
}

/// What is written is refused before what is read: even so, an RST is not the end of an answer.
#[test]
fn rst_within_an_answer_that_runs_beside_an_upload() {
    Row::new(
        |stream, _| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX: y\r\n\r\npart");
            // The edge has passed it on, and waits for room for more content.
            let (shop, edge) = (stream.local_addr(), stream.peer_addr());
            has_read(edge.expect("connected"), shop.expect("connected"));
            thread::sleep(Duration::from_millis(500));
            Then::Reset
        },
        Cut,
    )
    .method("POST", Upload::Much(FLOOD))
    .blames_the_server()
    .holds();
}

/// The same where nothing of a request has been written yet: the shop speaks, and is gone, before it is asked.
#[test]
fn rst_within_an_answer_before_its_question() {
    let shop = Shop::absent(answers);
    for address in [shop.alone, shop.beside] {
        let listener = TcpListener::bind(address).expect("free");
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX: y\r\n\r\npart");
                let socket = SockRef::from(&stream);
                socket.set_linger(Some(Duration::ZERO)).expect("an option");
            }
        });
    }
    let edge = Edge::start_tls(&config(&shop, &shop, "response = \"10s\""));
    for way in ways() {
        let mut guest = Guest::new(&edge, way.protocol);
        for nth in 0..200 {
            let target = format!("/{way}/alone/{nth}");
            let got = guest.ask("GET", &target, Upload::None);
            UnreachedOrCut(502).check(&target, &target, got);
        }
    }
    holds_nothing(&edge, &shop);
}
