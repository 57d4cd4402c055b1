//! Text is stored once and served in the coding that suits each visitor (RFC 9110 §8.4, §12.5.3).

use std::io::Read;

use crate::{
    client::Response,
    origin::{Answer, Seen, page},
    rules::{BOTH, Scene},
    tools::eventually,
};

const CODINGS: [&str; 3] = ["br", "zstd", "gzip"];

/// Text that compresses, but is nowhere the same.
fn text() -> String {
    (0..2_000)
        .map(|n| format!("<li>product {n} for {} taka</li>\n", n * 7919 % 1000))
        .collect()
}

fn decoded(answer: &Response) -> Vec<u8> {
    let mut out = Vec::new();
    let mut body = &answer.body[..];
    match answer.field("content-encoding") {
        None => out.extend_from_slice(body),
        Some("br") => drop(
            brotli::Decompressor::new(body, 4096)
                .read_to_end(&mut out)
                .expect("brotli"),
        ),
        Some("gzip") => drop(
            flate2::read::GzDecoder::new(body)
                .read_to_end(&mut out)
                .expect("gzip"),
        ),
        Some("zstd") => out = zstd::decode_all(&mut body).expect("zstd"),
        Some(other) => panic!("nobody asked for {other}"),
    }
    out
}

/// Stores a page and waits for its compressed forms.
fn compressed(scene: &mut Scene, path: &str) {
    scene.get(path);
    let all = [("accept-encoding", "br, zstd, gzip")];
    eventually("it is compressed", || {
        scene.ask("GET", path, &all).count("content-encoding") == 1
    });
}

fn tagged(r: &Seen) -> Answer {
    let answer = page(text()).fresh(600).field("ETag", "\"v1\"");
    match r.target.as_str() {
        "/chunked" => answer.chunked(),
        _ => answer,
    }
}

#[test]
fn every_visitor_gets_what_suits_them() {
    let rows = [
        (None, None),
        (Some(""), None),
        (Some("identity"), None),
        (Some("br"), Some("br")),
        (Some("zstd"), Some("zstd")),
        (Some("gzip"), Some("gzip")),
        (Some("GZip"), Some("gzip")),
        (Some("x-gzip"), Some("gzip")),
        (Some("deflate"), None),
        (Some("gzip, deflate, br, zstd"), Some("br")),
        (Some("gzip, deflate"), Some("gzip")),
        (Some("*"), Some("br")),
        (Some("br;q=0, *"), Some("zstd")),
        (Some("br;q=0.5, gzip;q=0.9"), Some("gzip")),
        (Some("gzip;q=0.5, identity"), None),
        (Some("gzip;q=0"), None),
        (Some("br;q=high"), None),
        (Some("br;q=1.5, gzip"), Some("gzip")),
    ];
    for protocol in BOTH {
        let mut scene = Scene::new(protocol, "", tagged);
        for path in ["/", "/chunked"] {
            compressed(&mut scene, path);
            for (accepted, coding) in rows {
                let field = accepted.map(|accepted| ("accept-encoding", accepted));
                let answer = scene.ask("GET", path, field.as_slice());
                assert!(answer.is_hit());
                assert_eq!(answer.field("content-encoding"), coding, "{accepted:?}");
                assert!(decoded(&answer) == text().into_bytes(), "{accepted:?}");
                let length = answer.body.len().to_string();
                assert_eq!(answer.field("content-length"), Some(length.as_str()));
                assert_eq!(answer.count("content-length"), 1);
                assert!(coding.is_none() || answer.body.len() < text().len() / 2);
                // RFC 9110 §8.8.1: other bytes, so the tag of the plain form becomes weak.
                let tag = if coding.is_some() {
                    "W/\"v1\""
                } else {
                    "\"v1\""
                };
                assert_eq!(answer.field("etag"), Some(tag), "{accepted:?}");
                assert_eq!(answer.field("vary"), Some("accept-encoding"));
                assert_eq!(answer.field("content-type"), Some("text/html"));
            }
            assert_eq!(scene.shop.count(path), 1);
        }
        // Compressing is our part, so nobody asks the shop for it.
        let seen = scene.shop.seen();
        assert!(seen.iter().all(|r| r.field("accept-encoding").is_none()));
    }
}

/// RFC 9110 §12.5.5: who is answered first learns of the choice as well.
#[test]
fn vary_names_the_choice_once() {
    for protocol in BOTH {
        let mut scene = Scene::new(protocol, "", |r| match r.target.as_str() {
            "/named" => tagged(r).field("Vary", "Origin, Accept-Encoding"),
            "/other" => tagged(r).field("Vary", "Origin"),
            _ => tagged(r),
        });
        for (path, vary) in [
            ("/", "accept-encoding"),
            ("/named", "Origin, Accept-Encoding"),
            ("/other", "Origin, accept-encoding"),
        ] {
            let told = |answer: &Response| {
                let lines = answer.fields.iter().filter(|(n, _)| n == "vary");
                lines.map(|(_, v)| v.clone()).collect::<Vec<_>>().join(", ")
            };
            let first = scene.ask("GET", path, &[("accept-encoding", "br")]);
            assert_eq!(told(&first), vary);
            compressed(&mut scene, path);
            let second = scene.ask("GET", path, &[("accept-encoding", "br")]);
            assert_eq!(second.field("content-encoding"), Some("br"), "{path}");
            assert_eq!(told(&second), vary);
        }
    }
}

/// RFC 9110 §13.1.2: the tags of all forms are the same but for their strength.
#[test]
fn conditions_of_every_form() {
    for protocol in BOTH {
        let mut scene = Scene::new(protocol, "", tagged);
        compressed(&mut scene, "/");
        for coding in ["br", "zstd", "gzip", "identity"] {
            for tag in ["\"v1\"", "W/\"v1\"", "\"x\", W/\"v1\""] {
                for method in ["GET", "HEAD"] {
                    let fields = [("accept-encoding", coding), ("if-none-match", tag)];
                    let answer = scene.ask(method, "/", &fields);
                    assert_eq!(answer.status, 304, "{coding} {tag}");
                    assert_eq!(answer.count("content-encoding"), 0);
                    assert_eq!(answer.field("vary"), Some("accept-encoding"));
                    // §15.4.5: the tag that a 200 would have had.
                    let own = if coding == "identity" {
                        "\"v1\""
                    } else {
                        "W/\"v1\""
                    };
                    assert_eq!(answer.field("etag"), Some(own), "{coding} {tag}");
                }
            }
            let fields = [("accept-encoding", coding), ("if-none-match", "\"v2\"")];
            assert_eq!(scene.ask("GET", "/", &fields).status, 200);
        }
    }
}

/// RFC 9110 §14.2: parts are parts of the plain form, whose tag is strong.
#[test]
fn parts_are_of_the_plain_form() {
    let content = text().into_bytes();
    for protocol in BOTH {
        let mut scene = Scene::new(protocol, "", tagged);
        compressed(&mut scene, "/");
        for coding in CODINGS {
            let accepted = ("accept-encoding", coding);
            let part = scene.ask("GET", "/", &[accepted, ("range", "bytes=100-199")]);
            assert_eq!(part.status, 206);
            assert_eq!(part.body, content[100..200]);
            assert_eq!(part.count("content-encoding"), 0);
            assert_eq!(part.field("etag"), Some("\"v1\""));
            let range = format!("bytes 100-199/{}", content.len());
            assert_eq!(part.field("content-range"), Some(range.as_str()));
            for (tag, status) in [("\"v1\"", 206), ("W/\"v1\"", 200)] {
                let fields = [accepted, ("range", "bytes=100-199"), ("if-range", tag)];
                let answer = scene.ask("GET", "/", &fields);
                assert_eq!(answer.status, status, "{tag}");
                assert!(status == 206 || decoded(&answer) == content);
            }
        }
    }
}

/// RFC 9110 §9.3.2: HEAD says what GET would have brought.
#[test]
fn head_of_every_form() {
    for protocol in BOTH {
        let mut scene = Scene::new(protocol, "", tagged);
        compressed(&mut scene, "/");
        for coding in ["br", "zstd", "gzip", "identity"] {
            let fields = [("accept-encoding", coding)];
            let get = scene.ask("GET", "/", &fields);
            let head = scene.ask("HEAD", "/", &fields);
            assert_eq!((head.status, head.body.len()), (200, 0));
            for name in [
                "content-encoding",
                "content-length",
                "etag",
                "vary",
                "content-type",
            ] {
                assert_eq!(head.field(name), get.field(name), "{coding}: {name}");
            }
        }
    }
}

/// What would not shrink, what is compressed already, and what the shop wants left as it is (RFC 9110
/// §7.7).
#[test]
fn what_is_left_alone() {
    for protocol in BOTH {
        let mut scene = Scene::new(protocol, "", |r| match r.target.as_str() {
            "/tiny" => page("x".repeat(800)).fresh(600),
            "/image" => tagged(r).instead("Content-Type", "image/jpeg"),
            "/stream" => tagged(r).instead("Content-Type", "text/event-stream"),
            "/untyped" => tagged(r).without("Content-Type"),
            "/encoded" => {
                let mut gzip = flate2::read::GzEncoder::new(
                    std::io::Cursor::new(text()),
                    flate2::Compression::fast(),
                );
                let mut body = Vec::new();
                gzip.read_to_end(&mut body).expect("gzip");
                page(body).fresh(600).field("Content-Encoding", "gzip")
            }
            "/no-transform" => page(text()).field("Cache-Control", "max-age=600, No-Transform"),
            "/missing" => tagged(r).status(404),
            // Looks like noise, and gains nothing.
            "/noise" => page(noise()).fresh(600),
            _ => tagged(r),
        });
        let paths = [
            "/tiny",
            "/image",
            "/stream",
            "/untyped",
            "/encoded",
            "/no-transform",
            "/missing",
            "/noise",
        ];
        let plain: Vec<_> = paths.iter().map(|path| scene.get(path)).collect();
        // They are compressed one after the other, so all of those had their turn before this one.
        compressed(&mut scene, "/last");
        for (path, plain) in paths.iter().zip(plain) {
            let answer = scene.ask("GET", path, &[("accept-encoding", "br, zstd, gzip")]);
            assert!(answer.is_hit(), "{path}");
            assert!(answer.body == plain.body, "{path}");
            let coding = (*path == "/encoded").then_some("gzip");
            assert_eq!(answer.field("content-encoding"), coding, "{path}");
            assert_eq!(answer.field("etag"), plain.field("etag"), "{path}");
        }
    }
}

/// Bytes without any order to them, of a type that is worth a try.
fn noise() -> Vec<u8> {
    let mut state = 1u64;
    let next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(20_000).collect()
}

/// A policy may leave all as it is.
#[test]
fn a_policy_without_compression() {
    for protocol in BOTH {
        let mut scene = Scene::new(protocol, "compress = false", tagged);
        scene.get("/");
        for _ in 0..20 {
            let answer = scene.ask("GET", "/", &[("accept-encoding", "br, gzip")]);
            assert!(answer.is_hit());
            assert_eq!(answer.count("content-encoding") + answer.count("vary"), 0);
            assert_eq!(answer.field("etag"), Some("\"v1\""));
        }
    }
}

/// RFC 9111 §3.2: a validation that succeeds updates the fields of every form.
#[test]
fn forms_outlive_a_validation() {
    for protocol in BOTH {
        let mut scene = Scene::new(protocol, "stale_while_revalidate = \"1h\"", |r| {
            let answer = tagged(r).instead("Cache-Control", "max-age=10");
            match r.field("if-none-match") {
                Some("\"v1\"") => answer.status(304).fresh(600).field("X-New", "new"),
                _ => answer.field("Age", "20"),
            }
        });
        scene.get("/");
        let accepted = [("accept-encoding", "gzip")];
        eventually("it is confirmed", || {
            scene.ask("GET", "/", &accepted).field("x-new") == Some("new")
        });
        let answer = scene.ask("GET", "/", &accepted);
        assert!(decoded(&answer) == text().into_bytes());
        assert_eq!(answer.field("vary"), Some("accept-encoding"));
        let tag = if answer.count("content-encoding") == 1 {
            "W/\"v1\""
        } else {
            "\"v1\""
        };
        assert_eq!(answer.field("etag"), Some(tag));
    }
}

/// A validation that comes while the forms are still being made does not take them away.
#[test]
fn forms_that_are_made_during_a_validation() {
    for protocol in BOTH {
        let mut scene = Scene::new(protocol, "", |r| {
            let answer = page(text().repeat(12))
                .field("ETag", "\"v1\"")
                .field("Vary", "Origin");
            match r.field("if-none-match") {
                Some(_) => answer.status(304).fresh(600),
                None => answer.fresh(10).field("Age", "20"),
            }
        });
        scene.get("/");
        let confirmed = scene.get("/");
        assert_eq!(confirmed.cache(), "dhal; fwd=stale; fwd-status=304; stored");
        let mut answer = confirmed;
        eventually("it is compressed", || {
            answer = scene.ask("GET", "/", &[("accept-encoding", "br")]);
            assert!(answer.is_hit());
            answer.field("content-encoding") == Some("br")
        });
        assert!(decoded(&answer) == text().repeat(12).into_bytes());
        let lines = answer.fields.iter().filter(|(n, _)| n == "vary");
        let vary: Vec<_> = lines.map(|(_, v)| v.as_str()).collect();
        assert_eq!(vary, ["Origin", "accept-encoding"]);
    }
}
