use http::header::{ACCEPT, COOKIE, HOST, TE};

use super::*;
use crate::hpack::{self, Decoder};

fn read(fields: &[(&str, &str)]) -> (Head, Verdict) {
    let mut block = bytes::BytesMut::new();
    for (name, value) in fields {
        hpack::put_field(&mut block, name.as_bytes(), value.as_bytes());
    }
    let mut head = Head::new();
    let verdict = read_again(&mut head, &mut Decoder::new(), &block, 10_000);
    (head, verdict)
}

fn read_again(head: &mut Head, decoder: &mut Decoder, block: &[u8], max_size: usize) -> Verdict {
    head.begin(false, max_size, 100);
    decoder.decode(block, head).unwrap();
    head.finish()
}

const GET: [(&str, &str); 3] = [(":method", "GET"), (":scheme", "https"), (":path", "/a?b")];

#[test]
fn fields_by_name() {
    let rest =
        [("cookie", "a=1"), ("accept", "x"), ("te", "trailers"), ("accept", "y"), ("cookie", "b")];
    let (head, verdict) = read(&[&GET[..], &rest].concat());
    assert_eq!(verdict, Verdict::Sound);
    let values = |name| {
        let mut values = Vec::new();
        head.for_each(&name, &mut |value| values.push(String::from_utf8_lossy(value).into_owned()));
        values
    };
    assert_eq!(values(ACCEPT), ["x", "y"]);
    assert_eq!(values(COOKIE), ["a=1; b"]);
    assert_eq!(values(TE), ["trailers"]);
    assert!(head.contains(&ACCEPT) && !head.contains(&HOST));
    let map = head.to_map();
    assert_eq!((map.len(), map.get_all(ACCEPT).iter().count()), (4, 2));
    assert_eq!(map[COOKIE], "a=1; b");
}

#[test]
fn nothing_of_a_request_is_left_in_the_next() {
    let rest = [("host", "a.example"), ("content-length", "7"), ("cookie", "a"), ("cookie", "b")];
    let (mut head, _) = read(&[&GET[..], &rest].concat());
    assert_eq!((head.authority(), head.content_length()), ("a.example", Some(7)));
    let mut decoder = Decoder::new();
    // CONNECT to `x`.
    let block = b"\x02\x07CONNECT\x01\x01x";
    assert_eq!(read_again(&mut head, &mut decoder, block, 10_000), Verdict::Sound);
    assert_eq!((head.method(), head.scheme(), head.target()), (&Method::CONNECT, "", ""));
    assert_eq!((head.authority(), head.content_length(), head.field_count()), ("x", None, 0));
}

#[test]
fn indexed_fields_are_the_same_as_literals() {
    let mut decoder = Decoder::new();
    let mut head = Head::new();
    // GET, https, `/`, an authority that is kept, accept-encoding as in the static table.
    let first = b"\x82\x87\x84\x41\x0cshop.example\x90\x40\x01a\x01b";
    let again = b"\x82\x87\x84\xbf\x90\xbe";
    for block in [&first[..], again, again] {
        assert_eq!(read_again(&mut head, &mut decoder, block, 10_000), Verdict::Sound);
        assert_eq!((head.method(), head.scheme(), head.target()), (&Method::GET, "https", "/"));
        assert_eq!(head.authority(), "shop.example");
        let fields: Vec<_> = head.iter().collect();
        assert_eq!(fields, [(&b"accept-encoding"[..], &b"gzip, deflate"[..]), (b"a", b"b")]);
    }
    // What was wrong stays wrong when it comes by its index.
    for literal in
        [&b"\x40\x01A\x01b"[..], b"\x40\x01a\x01\n", b"\x40\x07upgrade\x01b", b"\x40\x02:a\x01b"]
    {
        let mut decoder = Decoder::new();
        let block = [&b"\x82\x87\x84"[..], literal].concat();
        let first = read_again(&mut head, &mut decoder, &block, 10_000);
        assert!(matches!(first, Verdict::Malformed(_)), "{first:?}");
        assert_eq!(read_again(&mut head, &mut decoder, b"\x82\x87\x84\xbe", 10_000), first);
    }
}

#[test]
fn sizes_are_counted_with_what_an_entry_costs() {
    // `:method` 42, `:scheme` 44, `:path` 38, and 34 for `a: b`.
    let block = b"\x82\x87\x84\x00\x01a\x01b";
    let mut head = Head::new();
    for (max, verdict) in [(158, Verdict::Sound), (157, Verdict::TooLarge), (0, Verdict::TooLarge)]
    {
        assert_eq!(read_again(&mut head, &mut Decoder::new(), block, max), verdict);
    }
}

#[test]
fn reading_again_allocates_nothing_more() {
    let rest = [("cookie", "a=1"), ("cookie", "b=2"), ("accept", "text/html"), ("user-agent", "x")];
    let mut block = bytes::BytesMut::new();
    for (name, value) in GET.iter().chain(&rest) {
        hpack::put_field(&mut block, name.as_bytes(), value.as_bytes());
    }
    let (mut head, mut decoder) = (Head::new(), Decoder::new());
    read_again(&mut head, &mut decoder, &block, 10_000);
    let grown = (head.octets.capacity(), head.lines.capacity(), head.text.capacity());
    for _ in 0..10 {
        read_again(&mut head, &mut decoder, &block, 10_000);
    }
    assert_eq!(grown, (head.octets.capacity(), head.lines.capacity(), head.text.capacity()));
}
