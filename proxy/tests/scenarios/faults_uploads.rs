//! Faults of a shop while a request's content is on its way to it.

use std::{io::Write, thread, time::Duration};

use crate::faults::{
    Outcome::{Clear, ClearOrCut, Cut, Whole},
    Row, Then, Upload, says,
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
    let answer = "HTTP/1.1 413 Early\r\nContent-Length: 8\r\n\r\ntoo much";
    Row::new(says(answer, Then::Stay), Whole(413, "too much"))
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
    .timeouts("response = \"500ms\"")
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
            thread::sleep(Duration::from_millis(500));
            Then::Reset
        },
        Cut,
    )
    .method("POST", Upload::Much(FLOOD))
    .blames_the_server()
    .holds();
}
