//! Conditions (RFC 9110 §13) and ranges (§14) of answers from the store, and of those that are fetched
//! for it.

use crate::{
    client::Response,
    origin::{Answer, Seen, page},
    rules::{BOTH, Protocol, Scene, date},
};

const LENGTH: usize = 100;

fn content() -> Vec<u8> {
    (0..LENGTH).map(|n| b'!' + (n % 90) as u8).collect()
}

/// What comes of a request.
enum Wanted {
    Whole,
    Part(usize, usize),
    Parts(&'static [(usize, usize)]),
    NotModified,
    Unsatisfiable,
}
use Wanted::{NotModified, Part, Parts, Unsatisfiable, Whole};

/// Fields with `@old`, `@modified`, `@new` and `@date` for dates: a day before the page was modified,
/// that moment, an hour later, and when the page was made.
type Row = (&'static [(&'static str, &'static str)], Wanted);

const ROWS: &[Row] = &[
    // RFC 9110 §13.1.2: a list of entity tags, compared weakly.
    (&[("if-none-match", "\"v1\"")], NotModified),
    (&[("if-none-match", "W/\"v1\"")], NotModified),
    (&[("if-none-match", "\"x\", W/\"y\" , \"v1\"")], NotModified),
    (
        &[("if-none-match", "\"x\""), ("if-none-match", "\"v1\"")],
        NotModified,
    ),
    (&[("if-none-match", "*")], NotModified),
    (&[("if-none-match", "\"V1\"")], Whole),
    (&[("if-none-match", "v1")], Whole),
    (&[("if-none-match", "w/\"v1\"")], Whole),
    (&[("if-none-match", "\"x\", *")], Whole),
    // §13.1.3: dates.
    (&[("if-modified-since", "@modified")], NotModified),
    (&[("if-modified-since", "@new")], NotModified),
    (&[("if-modified-since", "@old")], Whole),
    (&[("if-modified-since", "yesterday")], Whole),
    (
        &[("if-modified-since", "@new"), ("if-modified-since", "@new")],
        Whole,
    ),
    // §13.2.2: a date counts only where there is no list of tags.
    (
        &[("if-none-match", "\"x\""), ("if-modified-since", "@new")],
        Whole,
    ),
    (
        &[("if-none-match", "\"v1\""), ("if-modified-since", "@old")],
        NotModified,
    ),
    // §14.1.2: byte ranges.
    (&[("range", "bytes=0-9")], Part(0, 9)),
    (&[("range", "bytes=0-0")], Part(0, 0)),
    (&[("range", "bytes=90-")], Part(90, 99)),
    (&[("range", "bytes=-10")], Part(90, 99)),
    (&[("range", "bytes=-1000")], Part(0, 99)),
    (&[("range", "bytes=50-1000")], Part(50, 99)),
    (
        &[("range", "bytes=99-99999999999999999999999")],
        Part(99, 99),
    ),
    (&[("range", "Bytes=0-9")], Part(0, 9)),
    // §15.5.17
    (&[("range", "bytes=100-")], Unsatisfiable),
    (&[("range", "bytes=100-200,1000-")], Unsatisfiable),
    (&[("range", "bytes=-0")], Unsatisfiable),
    // §14.2: what is malformed, in another unit, or asked for twice over is ignored.
    (&[("range", "bytes=9-0")], Whole),
    (&[("range", "bytes=0-9,x")], Whole),
    (&[("range", "bytes=")], Whole),
    (&[("range", "bytes 0-9")], Whole),
    (&[("range", "lines=0-9")], Whole),
    (&[("range", "bytes=0-,0-,0-")], Whole),
    (&[("range", "bytes=0-9"), ("range", "bytes=20-29")], Whole),
    // §14.6, §15.3.7.2: several parts in the order asked for; those that overlap or touch become one.
    (&[("range", "bytes=0-1,8-9")], Parts(&[(0, 1), (8, 9)])),
    (
        &[("range", "bytes=-5, 20-24 ,0-4")],
        Parts(&[(95, 99), (20, 24), (0, 4)]),
    ),
    (
        &[("range", "bytes=0-9,1000-,20-29")],
        Parts(&[(0, 9), (20, 29)]),
    ),
    (
        &[("range", "bytes=0-9,5-14,50-59")],
        Parts(&[(0, 14), (50, 59)]),
    ),
    (&[("range", "bytes=0-9,10-19")], Part(0, 19)),
    (&[("range", "bytes=0-9,200-300")], Part(0, 9)),
    // §13.1.5: a strong tag or a strong date makes a range count, all else makes it none.
    (
        &[("range", "bytes=0-9"), ("if-range", "\"v1\"")],
        Part(0, 9),
    ),
    (&[("range", "bytes=0-9"), ("if-range", "W/\"v1\"")], Whole),
    (&[("range", "bytes=0-9"), ("if-range", "\"x\"")], Whole),
    (
        &[("range", "bytes=0-9"), ("if-range", "@modified")],
        Part(0, 9),
    ),
    (&[("range", "bytes=0-9"), ("if-range", "@new")], Whole),
    (&[("range", "bytes=0-9"), ("if-range", "@old")], Whole),
    (&[("range", "bytes=0-9"), ("if-range", "junk")], Whole),
    (&[("range", "bytes=100-"), ("if-range", "\"x\"")], Whole),
    (&[("if-range", "\"x\"")], Whole),
    // §13.2.2: conditions come before ranges.
    (
        &[("range", "bytes=0-9"), ("if-none-match", "\"v1\"")],
        NotModified,
    ),
    (
        &[("range", "bytes=0-9"), ("if-none-match", "\"x\"")],
        Part(0, 9),
    ),
    (
        &[("range", "bytes=100-"), ("if-none-match", "\"v1\"")],
        NotModified,
    ),
];

const MODIFIED: i64 = -86_400;

fn tagged(_: &Seen) -> Answer {
    page(content())
        .fresh(600)
        .instead("Content-Type", "text/plain")
        .field("ETag", "\"v1\"")
        .field("Last-Modified", date(MODIFIED))
        .field("Expires", date(600))
        .field("Vary", "Accept-Encoding")
        .field("Content-Location", "/content")
        .field("X-Own", "1")
}

fn with_dates(fields: &[(&str, &str)], modified: &str) -> Vec<(String, String)> {
    let dated = |value: &str| {
        value
            .replace("@modified", modified)
            .replace("@old", &date(2 * MODIFIED))
            .replace("@new", &date(MODIFIED + 3600))
    };
    let fields = fields.iter();
    fields.map(|(n, v)| ((*n).to_owned(), dated(v))).collect()
}

fn borrowed(fields: &[(String, String)]) -> Vec<(&str, &str)> {
    fields
        .iter()
        .map(|(n, v)| (n.as_str(), v.as_str()))
        .collect()
}

/// The parts of `multipart/byteranges` (RFC 9110 §14.6): range and content of each.
fn parts(answer: &Response) -> Vec<(String, Vec<u8>)> {
    let kind = answer.field("content-type").expect("a type");
    let boundary = kind
        .strip_prefix("multipart/byteranges; boundary=")
        .expect("the type of several parts");
    let delimiter = format!("\r\n--{boundary}");
    let find = |at: usize, wanted: &[u8]| {
        let rest = &answer.body[at..];
        rest.windows(wanted.len())
            .position(|w| w == wanted)
            .map(|found| at + found)
    };
    let mut at = find(0, delimiter.as_bytes()).expect("the first part");
    let mut all = Vec::new();
    loop {
        at += delimiter.len();
        if answer.body[at..].starts_with(b"--") {
            assert_eq!(&answer.body[at..], b"--\r\n", "nothing follows");
            return all;
        }
        let end = find(at, b"\r\n\r\n").expect("the end of the fields");
        let head = String::from_utf8(answer.body[at..end].to_vec()).expect("text");
        let mut fields = head.split("\r\n").filter(|line| !line.is_empty());
        assert_eq!(fields.next(), Some("content-type: text/plain"));
        let range = fields
            .next()
            .and_then(|l| l.strip_prefix("content-range: "));
        let next = find(end + 4, delimiter.as_bytes()).expect("the next part");
        all.push((
            range.expect("a range").to_owned(),
            answer.body[end + 4..next].to_vec(),
        ));
        at = next;
    }
}

fn check(answer: &Response, wanted: &Wanted, what: &str) {
    let content = content();
    let field = |name| answer.field(name);
    match wanted {
        Whole => {
            assert_eq!(answer.status, 200, "{what}");
            assert!(answer.body == content, "{what}");
            assert_eq!(answer.count("content-range"), 0, "{what}");
        }
        Part(first, last) => {
            assert_eq!(answer.status, 206, "{what}");
            let range = format!("bytes {first}-{last}/{LENGTH}");
            assert_eq!(field("content-range"), Some(range.as_str()), "{what}");
            assert_eq!(answer.body, content[*first..=*last], "{what}");
            assert_eq!(field("content-type"), Some("text/plain"));
        }
        Parts(ranges) => {
            assert_eq!(answer.status, 206, "{what}");
            assert_eq!(answer.count("content-range"), 0, "{what}");
            let wanted = ranges.iter().map(|(first, last)| {
                let range = format!("bytes {first}-{last}/{LENGTH}");
                (range, content[*first..=*last].to_vec())
            });
            assert_eq!(parts(answer), wanted.collect::<Vec<_>>(), "{what}");
        }
        NotModified => {
            assert_eq!(answer.status, 304, "{what}");
            assert!(answer.body.is_empty());
            // RFC 9110 §15.4.5: what describes the content only would be wasted.
            for name in ["content-type", "content-length", "content-range", "x-own"] {
                assert_eq!(field(name), None, "{what}: {name}");
            }
        }
        Unsatisfiable => {
            assert_eq!(answer.status, 416, "{what}");
            let range = format!("bytes */{LENGTH}");
            assert_eq!(field("content-range"), Some(range.as_str()), "{what}");
            assert!(answer.body.is_empty());
            return;
        }
    }
    if answer.status != 304 {
        let length = answer.body.len().to_string();
        assert_eq!(field("content-length"), Some(length.as_str()), "{what}");
        assert_eq!(field("x-own"), Some("1"), "{what}");
    }
    // §15.3.7, §15.4.5: what a 200 would have said.
    assert_eq!(field("etag"), Some("\"v1\""), "{what}");
    assert_eq!(field("cache-control"), Some("max-age=600"), "{what}");
    assert_eq!(field("vary"), Some("Accept-Encoding"), "{what}");
    assert_eq!(field("content-location"), Some("/content"), "{what}");
    assert_eq!((answer.count("date"), answer.count("expires")), (1, 1));
}

#[test]
fn on_a_hit() {
    for protocol in BOTH {
        let mut scene = Scene::new(protocol, "", tagged);
        let whole = scene.get("/");
        let modified = whole.field("last-modified").expect("a date").to_owned();
        for (fields, wanted) in ROWS {
            let fields = with_dates(fields, &modified);
            let fields = borrowed(&fields);
            let answer = scene.ask("GET", "/", &fields);
            check(&answer, wanted, &format!("{fields:?}"));
            assert!(answer.is_hit(), "{fields:?}: {}", answer.cache());
        }
        assert_eq!(scene.shop.count("/"), 1);
    }
}

/// The whole is fetched, without any word of what the visitor wanted of it, and the next is a hit.
#[test]
fn on_a_miss() {
    for protocol in BOTH {
        // Modified at the same second on every page.
        let modified = date(MODIFIED);
        let told = modified.clone();
        let mut scene = Scene::new(protocol, "", move |r| {
            tagged(r).instead("Last-Modified", &told)
        });
        for (n, (fields, wanted)) in ROWS.iter().enumerate() {
            let path = format!("/{n}");
            let fields = with_dates(fields, &modified);
            let fields = borrowed(&fields);
            let answer = scene.ask("GET", &path, &fields);
            let what = format!("{fields:?}");
            match wanted {
                // What is still arriving is not put together of parts, and need not be (§14.2).
                Parts(_) if answer.status == 200 => check(&answer, &Whole, &what),
                wanted => check(&answer, wanted, &what),
            }
            assert_eq!(answer.cache(), "dhal; fwd=uri-miss; stored", "{what}");
            let seen = scene.shop.last();
            for (name, _) in &fields {
                assert_eq!(seen.field(name), None, "{what}");
            }
            let again = scene.ask("GET", &path, &fields);
            check(&again, wanted, &what);
            assert!(again.is_hit(), "{what}: {}", again.cache());
            assert!(scene.get(&path).body == content(), "{what}");
            assert_eq!(scene.shop.count(&path), 1, "{what}");
        }
    }
}

/// RFC 9110 §14.2: where the length is not known yet, a range on a miss is answered with the whole; the
/// next one is a part.
#[test]
fn a_range_of_unknown_length() {
    for protocol in BOTH {
        let mut scene = Scene::new(protocol, "", |r| tagged(r).chunked());
        let range = [("range", "bytes=10-19")];
        let first = scene.ask("GET", "/", &range);
        assert_eq!(first.status, 200);
        assert!(first.body == content());
        let second = scene.ask("GET", "/", &range);
        check(&second, &Part(10, 19), "the second");
        assert!(second.is_hit());
    }
}

/// RFC 9110 §13.1.3, §13.1.5: without `Last-Modified` the date of the answer serves, for conditions; a
/// date within a second of the answer's own is weak, and so is a weak tag.
#[test]
fn weak_validators() {
    for protocol in BOTH {
        let mut scene = Scene::new(protocol, "", |r| {
            let answer = page(content()).fresh(600);
            match r.target.as_str() {
                "/silent" => answer,
                "/just-now" => {
                    let now = date(0);
                    answer.instead("Date", &now).field("Last-Modified", now)
                }
                _ => answer.field("ETag", "W/\"v1\""),
            }
        });
        for path in ["/silent", "/just-now", "/weak"] {
            scene.get(path);
        }
        let since = |seconds| date(seconds);
        for (path, name, value, status) in [
            ("/silent", "if-modified-since", since(5), 304),
            ("/silent", "if-modified-since", since(-60), 200),
            ("/silent", "if-none-match", "*".to_owned(), 304),
            ("/silent", "if-none-match", "\"v1\"".to_owned(), 200),
            ("/just-now", "if-modified-since", since(5), 304),
            ("/weak", "if-none-match", "\"v1\"".to_owned(), 304),
            ("/weak", "if-none-match", "W/\"v1\"".to_owned(), 304),
        ] {
            let answer = scene.ask("GET", path, &[(name, &value)]);
            assert_eq!(answer.status, status, "{path} {name}: {value}");
            assert!(answer.is_hit());
        }
        let modified = scene.get("/just-now");
        let modified = modified.field("last-modified").expect("a date");
        for (path, value) in [("/just-now", modified), ("/weak", "W/\"v1\"")] {
            let fields = [("range", "bytes=0-9"), ("if-range", value)];
            assert_eq!(scene.ask("GET", path, &fields).status, 200, "{path}");
        }
    }
}

/// RFC 9110 §9.3.2, §14.2: HEAD is answered as GET would be, but for ranges, which it does not have.
#[test]
fn head() {
    for protocol in BOTH {
        let mut scene = Scene::new(protocol, "", tagged);
        for path in ["/", "/", "/other"] {
            for (fields, status) in [
                (&[("if-none-match", "\"v1\"")][..], 304),
                (&[("if-modified-since", &*date(0))], 304),
                (&[("if-none-match", "\"x\"")], 200),
                (&[("range", "bytes=0-9")], 200),
                (&[("range", "bytes=100-")], 200),
            ] {
                let answer = scene.ask("HEAD", path, fields);
                assert_eq!(answer.status, status, "{fields:?}");
                assert!(answer.body.is_empty());
                if status == 200 {
                    assert_eq!(answer.field("content-length"), Some("100"));
                    assert_eq!(answer.count("content-range"), 0);
                }
            }
        }
        assert_eq!(scene.shop.count("/other"), 1);
        assert!(scene.shop.seen().iter().all(|r| r.method == "GET"));
    }
}

/// RFC 9110 §13.2.1: conditions and ranges are about a 200.
#[test]
fn other_statuses_have_no_conditions() {
    for protocol in BOTH {
        let mut scene = Scene::new(protocol, "", |r| {
            tagged(r).status(r.target[1..].parse().expect("a status"))
        });
        for status in [404, 301, 203] {
            let path = format!("/{status}");
            for _ in 0..2 {
                for field in [("if-none-match", "\"v1\""), ("range", "bytes=0-9")] {
                    let answer = scene.ask("GET", &path, &[field]);
                    assert_eq!(answer.status, status, "{field:?}");
                    assert_eq!(answer.body.len(), LENGTH);
                }
            }
        }
    }
}

/// RFC 9110 §14.1.2: of nothing there is no part.
#[test]
fn empty_content() {
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut scene = Scene::new(protocol, "", |_| page("").fresh(600));
        scene.get("/");
        for (range, status) in [("bytes=0-", 416), ("bytes=0-0", 416), ("bytes=-5", 200)] {
            let answer = scene.ask("GET", "/", &[("range", range)]);
            assert_eq!((answer.status, answer.body.len()), (status, 0), "{range}");
        }
    }
}
