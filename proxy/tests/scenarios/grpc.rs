//! Trailers, and what gRPC makes of them: unary calls, failures without content, and streams in both directions.

use std::future::poll_fn;

use bytes::Bytes;
use h2::RecvStream;
use http::{HeaderMap, HeaderValue};
use tokio::time::timeout;

use crate::{
    edge::Edge,
    h2::{H2, request},
    h2_shop::{Asked, H2Shop, answer},
    h2_upstream::config,
    tools::PATIENCE,
};

const GRPC: [(&str, &str); 1] = [("content-type", "application/grpc")];

fn status(code: &'static str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(code));
    trailers.insert("grpc-message", HeaderValue::from_static("all%20well"));
    // Nobody may say that behind the content.
    trailers.insert("content-length", HeaderValue::from_static("7"));
    trailers
}

async fn service(mut asked: Asked) {
    match asked.path() {
        "/unary" => {
            let content = asked.content().await.expect("a message");
            let _ = asked
                .send(answer(200, &GRPC), content, Some(status("0")))
                .await;
        }
        "/known-length" => {
            let fields = [("content-length", "7")];
            let _ = asked
                .send(answer(200, &fields), "message", Some(status("0")))
                .await;
        }
        "/fails" => {
            let fields = [GRPC[0], ("grpc-status", "5")];
            let _ = asked.send(answer(200, &fields), "", None).await;
        }
        "/stream" => {
            let head = answer(200, &GRPC);
            let mut send = asked.respond.send_response(head, false).expect("sent");
            while let Some(Ok(message)) = asked.body.data().await {
                let _ = asked.body.flow_control().release_capacity(message.len());
                send.send_data(message, false).expect("sent");
            }
            send.send_trailers(status("0")).expect("sent");
        }
        path => panic!("{path} is no method"),
    }
}

async fn rest(body: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut all = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        all.extend_from_slice(&piece);
    }
    Ok(all)
}

/// What comes of something that must not take long.
pub(crate) async fn in_time<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("in time")
}

const TE: [(&str, &str); 2] = [("te", "trailers"), ("content-type", "application/grpc")];

#[test]
fn unary_calls() {
    let shop = H2Shop::start(service);
    let edge = Edge::start_tls(&config(&shop, ""));
    let h2 = H2::connect(edge.site.https);
    let message: &[u8] = b"\0\0\0\0\x07message";
    for path in ["/unary", "/known-length"] {
        let mut sender = h2.sender.clone();
        let (content, trailers) = h2.runtime.block_on(in_time(async {
            let (response, mut send) = sender
                .send_request(request("POST", path, &TE), false)
                .expect("a stream");
            send.send_data(Bytes::from_static(message), true)
                .expect("sent");
            let (head, mut body) = response.await.expect("an answer").into_parts();
            assert_eq!(head.status, 200);
            let content = rest(&mut body).await.expect("content");
            let trailers = body.trailers().await.expect("an end").expect("trailers");
            (content, trailers)
        }));
        let wanted = if path == "/unary" {
            message
        } else {
            b"message"
        };
        assert_eq!(content, wanted);
        assert_eq!(trailers["grpc-status"], "0");
        assert_eq!(trailers["grpc-message"], "all%20well");
        assert!(!trailers.contains_key("content-length"));
    }
    assert_eq!(shop.last().headers["te"], "trailers");
}

#[test]
fn failures_without_content() {
    let shop = H2Shop::start(service);
    let edge = Edge::start_tls(&config(&shop, ""));
    let h2 = H2::connect(edge.site.https);
    let mut sender = h2.sender.clone();
    h2.runtime.block_on(async {
        let (response, mut send) = sender
            .send_request(request("POST", "/fails", &TE), false)
            .expect("a stream");
        send.send_data(Bytes::new(), true).expect("sent");
        let (head, body) = response.await.expect("an answer").into_parts();
        assert_eq!(head.headers["grpc-status"], "5");
        assert!(body.is_end_stream(), "the head is all of it");
    });
}

#[test]
fn streams_in_both_directions() {
    let shop = H2Shop::start(service);
    let edge = Edge::start_tls(&config(&shop, ""));
    let h2 = H2::connect(edge.site.https);
    let mut sender = h2.sender.clone();
    let talk = async {
        let (response, mut send) = sender
            .send_request(request("POST", "/stream", &TE), false)
            .expect("a stream");
        // The answer begins before anything was said.
        let (_, mut body) = response.await.expect("an answer").into_parts();
        for n in 0..50 {
            let message = format!("message {n}");
            send.send_data(message.clone().into(), false).expect("sent");
            let mut heard = Vec::new();
            while heard.len() < message.len() {
                let piece = body.data().await.expect("an echo").expect("an echo");
                let _ = body.flow_control().release_capacity(piece.len());
                heard.extend_from_slice(&piece);
            }
            assert_eq!(heard, message.as_bytes());
        }
        send.send_data(Bytes::new(), true).expect("sent");
        assert!(rest(&mut body).await.expect("an end").is_empty());
        let trailers = body.trailers().await.expect("an end").expect("trailers");
        assert_eq!(trailers["grpc-status"], "0");
        poll_fn(|cx| send.poll_capacity(cx)).await
    };
    let talked = h2.runtime.block_on(in_time(talk));
    assert!(talked.is_none());
    assert_eq!(shop.connections(), 1);
}

#[test]
fn visitors_of_http1_get_the_content() {
    let shop = H2Shop::start(service);
    let edge = Edge::start(&config(&shop, ""));
    let mut conn = edge.connect();
    for _ in 0..2 {
        conn.send(
            "POST /unary HTTP/1.1\r\nHost: shop.example\r\nConnection: TE\r\nTE: trailers\r\nContent-Length: 3\r\n\r\nabc",
        );
        let answer = conn.response("POST");
        assert_eq!((answer.status, answer.text().as_str()), (200, "abc"));
        assert_eq!(answer.field("grpc-status"), None);
    }
    assert!(!shop.last().headers.contains_key("te"));
    let failed = edge.ask("POST", "/fails", &[]);
    assert_eq!(
        (failed.status, failed.field("grpc-status")),
        (200, Some("5"))
    );
}
