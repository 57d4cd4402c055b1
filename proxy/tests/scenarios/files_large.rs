//! Files while they are sent: large ones, such as change, and many at once.

use std::{fs, io::Write, thread};

use crate::{client::Conn, files::start, h2::both};

#[test]
fn large_files_come_in_pieces() {
    const GIB: u64 = 1 << 30;
    let edge = start("[[routes]]\nfiles = { root = '@dir/www' }", |site| {
        let mut file = fs::File::create(site.path("www/film.mp4")).expect("made");
        file.set_len(GIB).expect("sparse");
        use std::io::Seek;
        file.seek(std::io::SeekFrom::Start(GIB - 4)).expect("there");
        file.write_all(b"end.").expect("written");
    });
    for (range, content_range, length) in [
        (
            "bytes=-4",
            format!("bytes {}-{}/{GIB}", GIB - 4, GIB - 1),
            4,
        ),
        (
            "bytes=536870912-536887295",
            format!("bytes 536870912-536887295/{GIB}"),
            16_384,
        ),
    ] {
        for answer in both(&edge, "GET", "/film.mp4", &[("Range", range)]) {
            assert_eq!(answer.status, 206);
            assert_eq!(answer.field("content-range"), Some(&*content_range));
            assert_eq!(answer.body.len(), length);
        }
    }
    let mut conn = edge.connect();
    conn.request("GET", "/film.mp4", &[]);
    let (status, fields) = conn.head().expect("a head");
    assert_eq!(status, 200);
    let length = fields
        .iter()
        .find(|(n, _)| n.eq_ignore_ascii_case("content-length"));
    assert_eq!(length.map(|(_, v)| v.clone()), Some(GIB.to_string()));
    let mut left = GIB;
    let mut last = Vec::new();
    while left > 0 {
        let piece = left.min(1 << 20);
        last = conn
            .take(usize::try_from(piece).expect("little"))
            .expect("content");
        left -= piece;
    }
    assert!(last.ends_with(b"end."));
}

#[test]
fn a_file_that_changes_never_looks_whole() {
    let edge = start("[[routes]]\nfiles = { root = '@dir/www' }", |site| {
        // They have no bytes on the disk.
        for name in ["www/a.bin", "www/b.bin"] {
            let file = fs::File::create(site.path(name)).expect("made");
            file.set_len(64 << 20).expect("sparse");
        }
    });
    let begun = |path: &str| {
        let mut conn = edge.connect();
        conn.request("GET", path, &[]);
        let (status, _) = conn.head().expect("a head");
        assert_eq!(status, 200);
        conn.take(1_000).expect("a beginning");
        conn
    };
    let rest = |conn: &mut Conn| conn.rest().map(|rest| rest.len()).unwrap_or_default();
    // In place.
    let mut conn = begun("/a.bin");
    let path = edge.site.path("www/a.bin");
    fs::File::options()
        .write(true)
        .open(&path)
        .expect("opened")
        .set_len(1 << 20)
        .expect("cut");
    assert!(rest(&mut conn) < (64 << 20) - 1_000, "it looks whole");
    // By another one: who has begun with the old one gets all of it.
    let mut conn = begun("/b.bin");
    edge.site.write("www/new.bin", "new");
    fs::rename(edge.site.path("www/new.bin"), edge.site.path("www/b.bin")).expect("renamed");
    let whole = conn.take((64 << 20) - 1_000).expect("the old file");
    assert!(whole.iter().all(|byte| *byte == 0));
    assert_eq!(edge.get("/b.bin").text(), "new");
}

#[test]
fn many_read_at_once() {
    const READERS: usize = 1_500;
    let edge = start(
        "[server]\nmax_connections_per_client = 0\n[[routes]]\nfiles = { root = '@dir/www' }",
        |site| site.write("www/a.bin", vec![b'a'; 300_000]),
    );
    let mut conns: Vec<Conn> = (0..READERS).map(|_| edge.connect()).collect();
    for conn in &mut conns {
        conn.request("GET", "/a.bin", &[]);
    }
    let each = READERS / 4 + 1;
    thread::scope(|scope| {
        for part in conns.chunks_mut(each) {
            scope.spawn(move || {
                for conn in part {
                    let answer = conn.response("GET");
                    assert_eq!((answer.status, answer.body.len()), (200, 300_000));
                }
            });
        }
    });
}
