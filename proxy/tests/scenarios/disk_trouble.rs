//! Trouble with the disk tier: never an answer to a visitor, always told.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use nix::sys::signal::Signal;

use crate::{
    disk::{kept, noise, objects, with_disk},
    edge::{Edge, Site},
    origin::{Origin, page},
    tools::{Gate, eventually},
};

const ERRORS: &str = "dhal_cache_disk_errors";
const DAMAGED: &str = "dhal_cache_disk_damaged";

/// A small text, what fits in memory, and what lies on disk only.
const PAGES: [&str; 3] = ["/text", "/picture", "/film"];

fn content(path: &str) -> Vec<u8> {
    match path {
        "/text" => "word ".repeat(1_000).into_bytes(),
        "/picture" => noise(150_000, 1),
        _ => noise(1_500_000, 2),
    }
}

fn shop() -> Origin {
    Origin::start(|r| page(content(&r.target)).fresh(600))
}

/// How many lines of the process log say so.
fn said(edge: &Edge, what: &str) -> usize {
    edge.stderr().lines().filter(|l| l.contains(what)).count()
}

fn flip(path: &Path, at: impl Fn(usize) -> usize) {
    let mut bytes = fs::read(path).expect("an object");
    let at = at(bytes.len());
    bytes[at] ^= 0x10;
    fs::write(path, bytes).expect("written");
}

type Damage = (&'static str, fn(&Path), &'static str);

const DAMAGES: [Damage; 8] = [
    ("first byte", |file| flip(file, |_| 0), DAMAGED),
    ("header", |file| flip(file, |_| 30), DAMAGED),
    ("content", |file| flip(file, |length| length / 2), DAMAGED),
    ("last byte", |file| flip(file, |length| length - 1), DAMAGED),
    (
        "cut in half",
        |file| {
            let bytes = fs::read(file).expect("an object");
            fs::write(file, &bytes[..bytes.len() / 2]).expect("written");
        },
        DAMAGED,
    ),
    (
        "longer",
        |file| {
            let mut bytes = fs::read(file).expect("an object");
            bytes.extend_from_slice(&[0; 100]);
            fs::write(file, bytes).expect("written");
        },
        DAMAGED,
    ),
    // Found and removed before anybody asks for it.
    ("empty", |file| fs::write(file, "").expect("written"), ""),
    (
        "a folder",
        |file| {
            fs::remove_file(file).expect("removed");
            fs::create_dir(file).expect("a folder");
        },
        ERRORS,
    ),
];

#[test]
fn damaged_objects_are_misses() {
    for (what, damage, metric) in DAMAGES {
        let shop = shop();
        let mut edge = Edge::start(&with_disk(&shop, "max_object = \"1MiB\""));
        for path in PAGES {
            edge.get(path);
        }
        kept(&edge, 3);
        for file in objects(&edge) {
            damage(&file);
        }
        edge.restart(Signal::SIGKILL);
        for path in PAGES {
            let mut conn = edge.connect();
            conn.request("GET", path, &[]);
            let answer = match conn.try_response("GET") {
                Ok(answer) => answer,
                Err(why) => {
                    // What is found to be torn in the middle is cut off there, and gone for the next.
                    assert_eq!((what, path), ("content", "/film"), "{why}");
                    edge.get(path)
                }
            };
            assert_eq!(answer.status, 200, "{what} {path}");
            assert!(answer.body == content(path), "{what} {path}");
            assert!(!answer.is_hit(), "{what} {path}: {}", answer.cache());
        }
        eventually("it is counted", || {
            metric.is_empty() || edge.metric(metric) >= Some(3.0)
        });
        for path in ["/text", "/picture"] {
            let answer = edge.get(path);
            assert!(answer.is_hit(), "{what} {path}");
            assert!(answer.body == content(path), "{what} {path}");
        }
        if metric != ERRORS {
            kept(&edge, 3);
            edge.restart(Signal::SIGKILL);
            for path in PAGES {
                let answer = edge.get(path);
                assert!(answer.is_hit(), "{what} {path}: it has healed");
                assert!(answer.body == content(path), "{what} {path}");
            }
            assert_eq!(edge.metric(DAMAGED), Some(0.0), "{what}");
        }
    }
}

#[test]
fn objects_under_anothers_name_are_misses() {
    let shop = Origin::start(|r| page(r.target.clone()).fresh(600));
    let mut edge = Edge::start(&with_disk(&shop, ""));
    for path in ["/a", "/b"] {
        edge.get(path);
    }
    kept(&edge, 2);
    let files = objects(&edge);
    let (one, other) = (&files[0], &files[1]);
    let bytes = (fs::read(one).expect("read"), fs::read(other).expect("read"));
    fs::write(one, bytes.1).expect("written");
    fs::write(other, bytes.0).expect("written");
    edge.restart(Signal::SIGKILL);
    for path in ["/a", "/b"] {
        assert_eq!(edge.get(path).text(), path);
    }
    edge.counts(DAMAGED, 2.0);
}

#[test]
fn a_folder_that_vanishes_is_missed_by_nobody() {
    let shop = shop();
    let edge = Edge::start(&with_disk(&shop, "max_object = \"1MiB\""));
    for path in PAGES {
        edge.get(path);
    }
    kept(&edge, 3);
    // The edge may be putting something there at the same moment.
    eventually("the folder is gone", || {
        fs::remove_dir_all(edge.site.path("store")).is_ok()
    });
    for _ in 0..2 {
        for path in PAGES {
            let answer = edge.get(path);
            assert_eq!(answer.status, 200, "{path}");
            assert!(answer.body == content(path), "{path}");
        }
    }
    assert_eq!(edge.get("/text").cache(), "dhal; hit");
    assert_eq!(shop.count("/text"), 1);
}

#[test]
fn what_cannot_be_written_is_served_all_the_same() {
    let shop = Origin::start(|r| {
        let content = if r.target.starts_with("/film") {
            1_500_000
        } else {
            5_000
        };
        page(noise(content, 3)).fresh(600)
    });
    let mut edge = Edge::start(&with_disk(&shop, "max_object = \"1MiB\""));
    edge.get("/before");
    kept(&edge, 1);
    // Drafts have no place any more, whoever runs this.
    let tmp = edge.site.path("store/tmp");
    fs::remove_dir_all(&tmp).expect("removed");
    fs::write(&tmp, "").expect("a file");
    for n in 0..10 {
        let answer = edge.get(&format!("/{n}"));
        assert!(answer.status == 200 && answer.body == noise(5_000, 3));
        let film = edge.get(&format!("/film{n}"));
        assert!(film.status == 200 && film.body == noise(1_500_000, 3));
    }
    eventually("it was tried", || edge.metric(ERRORS) >= Some(20.0));
    for n in 0..10 {
        assert!(edge.get(&format!("/{n}")).is_hit(), "memory has it");
    }
    assert_eq!(said(&edge, "serving goes on without it"), 1);
    assert_eq!(said(&edge, "works again"), 0);
    fs::remove_file(&tmp).expect("removed");
    fs::create_dir(&tmp).expect("a folder");
    edge.get("/after");
    kept(&edge, 2);
    let mut more = 0;
    eventually("it is told", || {
        more += 1;
        edge.get(&format!("/more{}", more));
        said(&edge, "works again") == 1
    });
    edge.restart(Signal::SIGKILL);
    for path in ["/before", "/after"] {
        assert!(edge.get(path).is_hit(), "{path}");
    }
    assert!(!edge.get("/5").is_hit());
}

/// A small file system of its own; goes when dropped.
struct Mount(PathBuf);

impl Mount {
    /// `None`, said loudly, where this user may not mount.
    fn new(path: PathBuf, size: &str) -> Option<Self> {
        fs::create_dir_all(&path).expect("a folder");
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(&path)
            .output();
        if done.is_ok_and(|output| output.status.success()) {
            return Some(Self(path));
        }
        eprintln!("SKIPPED: this user cannot mount a file system of limited size");
        None
    }

    fn make_read_only(&self) {
        let done = Command::new("mount")
            .args(["-o", "remount,ro"])
            .arg(&self.0)
            .status();
        assert!(done.expect("mount runs").success());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        // The folder around it could not go before.
        if let Some(around) = self.0.parent() {
            let _ = fs::remove_dir_all(around);
        }
    }
}

#[test]
fn a_full_disk_harms_nobody() {
    let gate = Gate::default();
    let closed = gate.clone();
    let shop = Origin::start(move |r| match r.target.as_str() {
        "/film" => page(noise(6_000_000, 4)).fresh(600),
        "/slow-film" => {
            let whole = noise(6_000_000, 4);
            let mut first = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\n\
                Content-Length: 6000000\r\n\r\n"
                .to_vec();
            first.extend_from_slice(&whole[..1_000_000]);
            crate::origin::raw(first).then(&closed, &whole[1_000_000..])
        }
        _ => page(noise(200_000, 5)).fresh(600),
    });
    let site = Site::new(&with_disk(&shop, "max_object = \"512KiB\""));
    let Some(_mount) = Mount::new(site.path("store"), "4m") else {
        return;
    };
    let edge = Edge::start_at(site);
    for n in 0..40 {
        let answer = edge.get(&format!("/{n}"));
        assert!(answer.status == 200 && answer.body == noise(200_000, 5));
    }
    eventually("it is full", || edge.metric(ERRORS) >= Some(10.0));
    assert_eq!(said(&edge, "serving goes on without it"), 1);
    for n in 0..40 {
        assert!(edge.get(&format!("/{n}")).is_hit(), "memory has {n}");
    }
    let film = edge.get("/film");
    assert!(film.status == 200 && film.body == noise(6_000_000, 4));

    // Three who read what turns out to find no room.
    let mut visitors: Vec<_> = (0..3).map(|_| edge.connect()).collect();
    for visitor in &mut visitors {
        visitor.request("GET", "/slow-film", &[]);
        assert_eq!(visitor.head().expect("a head").0, 200);
    }
    gate.open();
    let readers = visitors
        .into_iter()
        .map(|mut visitor| std::thread::spawn(move || visitor.take(6_000_000).expect("all of it")));
    let readers: Vec<_> = readers.collect();
    for reader in readers {
        assert!(reader.join().expect("read") == noise(6_000_000, 4));
    }

    // A purge holds, even if it can be told to this process only.
    let (status, answer) = edge.admin_json("/purge", r#"{"all": true}"#);
    assert!(
        status == 200 || answer.contains("is in force, but not on disk"),
        "{answer}"
    );
    assert!(!edge.get("/1").is_hit());
}

#[test]
fn a_purge_that_cannot_be_written_down_is_in_force_and_told() {
    let shop = shop();
    let edge = Edge::start(&with_disk(&shop, ""));
    edge.get("/text");
    assert!(edge.get("/text").is_hit());
    let journal = edge.site.path("store/purges");
    fs::remove_file(&journal).expect("removed");
    fs::create_dir(&journal).expect("a folder");
    let (status, answer) = edge.admin_json("/purge", r#"{"all": true}"#);
    assert_eq!(status, 500, "{answer}");
    assert!(answer.contains("is in force, but not on disk"), "{answer}");
    assert!(!edge.get("/text").is_hit());
}

#[test]
fn a_read_only_disk_at_the_start_is_done_without() {
    let shop = shop();
    let site = Site::new(&with_disk(&shop, ""));
    let Some(mount) = Mount::new(site.path("store"), "4m") else {
        return;
    };
    mount.make_read_only();
    let edge = Edge::start_at(site);
    starts_without_disk(&edge, "read-only");
    let why = edge.stderr();
    assert!(why.contains("Read-only"), "{why}");
}

/// A broken disk costs hits after a restart, and not the shop.
fn starts_without_disk(edge: &Edge, what: &str) {
    edge.get("/text");
    assert!(edge.get("/text").is_hit(), "{what}");
    let errors = edge.metric(ERRORS);
    assert!(errors >= Some(1.0), "{what}: {errors:?}");
    // In force, but the next process might find on disk what it does not know to be purged.
    let (status, answer) = edge.admin_json("/purge", r#"{"all": true}"#);
    assert_eq!(status, 500, "{what}");
    assert!(
        answer.contains("in force, but not on disk"),
        "{what}: {answer}"
    );
    assert!(!edge.get("/text").is_hit(), "{what}");
    let why = edge.stderr();
    assert!(
        why.contains("the folder of cache.disk cannot be used"),
        "{what}: {why}"
    );
    assert!(!why.contains("panicked"), "{what}: {why}");
}

#[test]
fn a_missing_folder_is_made() {
    let shop = shop();
    let config = with_disk(&shop, "").replace("@dir/store", "@dir/var/cache/store");
    let edge = Edge::start(&config);
    edge.get("/text");
    kept(&edge, 1);
    assert!(edge.site.path("var/cache/store").is_dir());
}

type Unusable = (&'static str, fn(&Site));

#[test]
fn an_unusable_folder_is_done_without() {
    let shop = shop();
    let cases: [Unusable; 3] = [
        ("a file", |site| {
            fs::write(site.path("store"), "").expect("a file");
        }),
        ("below a file", |site| {
            fs::create_dir(site.path("store")).expect("a folder");
            fs::write(site.path("store/tmp"), "").expect("a file");
        }),
        ("another's journal", |site| {
            fs::create_dir(site.path("store")).expect("a folder");
            fs::write(site.path("store/purges"), "a shopping list, not a journal").expect("a file");
        }),
    ];
    for (what, make) in cases {
        let site = Site::new(&with_disk(&shop, ""));
        make(&site);
        starts_without_disk(&Edge::start_at(site), what);
    }
}
