use std::time::UNIX_EPOCH;

use http_caching::{Lifetimes, Storable};
use pingora_http::ResponseHeader;

use super::*;
use crate::cache::stored::Judged;

const SCHEME: &str = "https";
const SHOP: &str = "shop.example";

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn key(authority: &str, path: &str) -> Vec<u8> {
    let mut key = Vec::new();
    http_caching::cache_key(SCHEME, authority, path, None, &mut key);
    key
}

fn stamp(purges: &Purges, key: &[u8], tags: &[&str]) -> Stamp {
    Stamp {
        seq: purges.seq(),
        uri: uri_number(key),
        tags: tags.iter().map(|tag| tag_number(tag.as_bytes())).collect(),
    }
}

fn stored(purges: &Purges, path: &str, tags: &[&str]) -> Stored {
    let key = key(SHOP, path);
    let judged = Judged {
        rules: Storable {
            lifetimes: Lifetimes::default(),
            age: Duration::ZERO,
            vary: Vec::new(),
            excluded: Vec::new(),
            shared_with_credentials: false,
        },
        response_time: at(0),
        stamp: stamp(purges, &key, tags),
        is_told_aside: false,
    };
    let header = ResponseHeader::build(200, None).expect("a header");
    Stored::new(&key, &header, Some(&[]), 0, judged)
}

fn tag(tag: &str, soft: bool) -> Order {
    Order {
        numbers: vec![tag_number(tag.as_bytes())],
        soft,
        ..Order::default()
    }
}

fn prefix(authority: &str, path: &str) -> Order {
    Order {
        prefixes: vec![Prefix {
            scheme: SCHEME.to_owned(),
            authority: authority.to_owned(),
            target: path.to_owned(),
        }],
        ..Order::default()
    }
}

fn all() -> Order {
    Order {
        all: true,
        ..Order::default()
    }
}

#[test]
fn a_purge_concerns_what_it_names_and_nothing_else() {
    let rows: [(Order, bool); 10] = [
        (tag("product-1", false), false),
        (tag("product-2", false), true),
        (tag("product", false), true),
        (prefix(SHOP, "/products/"), false),
        (prefix(SHOP, "/products/1"), false),
        (prefix(SHOP, "/carts/"), true),
        (prefix("other.example", "/products/"), true),
        (all(), false),
        (
            Order {
                numbers: vec![uri_number(&key(SHOP, "/products/1"))],
                ..Order::default()
            },
            false,
        ),
        (
            Order {
                numbers: vec![uri_number(&key(SHOP, "/products"))],
                ..Order::default()
            },
            true,
        ),
    ];
    for (order, stands) in rows {
        let purges = Purges::in_memory();
        let before = stored(&purges, "/products/1", &["home", "product-1"]);
        purges.purge(order.clone(), at(10)).expect("no disk");
        let after = stored(&purges, "/products/1", &["home", "product-1"]);
        assert_eq!(purges.lets_stand(&before), stands, "{order:?}");
        assert!(purges.lets_stand(&after), "{order:?}");
    }
}

#[test]
fn a_soft_purge_says_since_when() {
    let purges = Purges::in_memory();
    let page = stored(&purges, "/", &["home"]);
    assert!(purges.lets_stand(&page));
    assert_eq!(page.purged_softly(at(10)), None);
    purges.purge(tag("home", true), at(10)).expect("no disk");
    assert!(purges.lets_stand(&page));
    assert_eq!(page.purged_softly(at(25)), Some(Duration::from_secs(15)));
    // The hard one that follows counts.
    purges.purge(tag("home", false), at(30)).expect("no disk");
    assert!(!purges.lets_stand(&page));
}

#[test]
fn what_was_fetched_before_a_purge_is_purged_when_it_arrives_after_it() {
    let purges = Purges::in_memory();
    let begun = stamp(&purges, &key(SHOP, "/"), &[]);
    purges.purge(all(), at(10)).expect("no disk");
    assert_eq!(purges.standing(&begun, &key(SHOP, "/")), Standing::Purged);
}

#[test]
fn purges_outlive_the_process() {
    let folder = std::env::temp_dir().join(format!("dhal-purges-{}", crate::random::next()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join("purges");
    let (page, kept) = {
        let purges = Purges::with_journal(&path).expect("a journal");
        let page = stored(&purges, "/a", &["a"]);
        purges.purge(tag("a", false), at(10)).expect("written");
        (page, stored(&purges, "/b", &["a"]))
    };
    let purges = Purges::with_journal(&path).expect("the same journal");
    assert!(!purges.lets_stand(&page));
    assert!(purges.lets_stand(&kept));
    // Forgotten after a sweep, the steps go on.
    let seq = purges.seq();
    purges.purge(tag("b", true), at(20)).expect("written");
    purges.forget(seq).expect("rewritten");
    assert_eq!(purges.len(), 1);
    let again = Purges::with_journal(&path).expect("the rewritten journal");
    assert_eq!(again.seq(), purges.seq());
    assert_eq!(again.len(), 1);
    assert!(again.lets_stand(&kept));
    std::fs::remove_dir_all(&folder).expect("removed");
}

#[test]
fn what_lands_after_its_record_was_forgotten_is_purged() {
    let purges = Purges::in_memory();
    let (looked_at, late) = (stored(&purges, "/a", &["a"]), stored(&purges, "/b", &["b"]));
    purges.purge(tag("b", false), at(10)).expect("no disk");
    let since = stored(&purges, "/b", &["b"]);
    assert!(purges.lets_stand(&looked_at));
    purges.forget(purges.seq()).expect("no disk");
    assert!(purges.is_empty());
    assert!(purges.lets_stand(&looked_at));
    assert!(purges.lets_stand(&since));
    assert!(!purges.lets_stand(&late));
    assert_eq!(purges.standing(late.stamp(), late.key()), Standing::Purged);
    // On disk only what survived the sweep is left, under steps as old.
    let on_disk = purges.standing_on_disk(looked_at.stamp(), looked_at.key());
    assert_eq!(on_disk, Standing::Untouched);
    // The next purges are told as before.
    purges.purge(tag("a", false), at(20)).expect("no disk");
    assert!(!purges.lets_stand(&looked_at));
    assert!(purges.lets_stand(&since));
}

#[test]
fn marks_keep_the_last_step_in_whatever_order_they_come() {
    let mut mark = Mark::default();
    for (seq, at, soft) in [(5, 50, false), (3, 30, false), (7, 70, true), (6, 60, true)] {
        mark.set(seq, at, soft);
    }
    assert_eq!((mark.hard, mark.soft, mark.soft_at), (5, 7, 70));
}

struct Folder(std::path::PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("dhal-purges-{}", crate::random::next()));
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    fn open(&self) -> Purges {
        Purges::with_journal(&self.0.join("purges")).expect("a journal")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn two_processes_learn_of_each_others_purges() {
    let folder = Folder::new();
    let (one, other) = (folder.open(), folder.open());
    let pages = [stored(&one, "/a", &["a"]), stored(&one, "/b", &["b"])];
    // The other's clock is behind.
    one.purge(tag("c", false), at(20)).expect("written");
    assert!(pages.iter().all(|page| one.lets_stand(page)));
    other.purge(tag("a", false), at(10)).expect("written");
    let uri = uri_number(&key(SHOP, "/b"));
    other.invalidate(vec![uri], at(11)).expect("marked");
    let own = stored(&Purges::in_memory(), "/b", &[]);
    assert!(!other.lets_stand(&own), "at once");
    other.write_down().expect("written");
    one.write_down().expect("read");
    assert!(pages.iter().all(|page| !one.lets_stand(page)));
    let again = folder.open();
    for page in pages {
        let standing = again.standing(page.stamp(), page.key());
        assert_eq!(standing, Standing::Purged);
    }
}

#[test]
fn orders_of_any_size_are_written_down() {
    let folder = Folder::new();
    let purges = folder.open();
    let long = "x".repeat(60_000);
    let paths: Vec<_> = (0..60).map(|n| format!("/{n}/{long}")).collect();
    let order = Order {
        numbers: (0..100_000).collect(),
        prefixes: paths
            .iter()
            .flat_map(|path| prefix(SHOP, path).prefixes)
            .collect(),
        ..Order::default()
    };
    let (numbers, prefixes) = (order.numbers.len(), order.prefixes.len());
    purges.purge(order, at(10)).expect("written");
    assert_eq!(purges.len(), numbers + prefixes);
    assert_eq!(folder.open().len(), numbers + prefixes);
    purges.forget(0).expect("rewritten");
    let again = folder.open();
    assert_eq!(again.len(), numbers + prefixes);
    assert_eq!(again.seq(), purges.seq());
}

#[test]
fn a_journal_that_grows_is_compacted() {
    let folder = Folder::new();
    let purges = folder.open();
    for round in 0..60 {
        let order = Order {
            numbers: (1 << 60..(1 << 60) + 16_000).collect(),
            ..Order::default()
        };
        purges.purge(order, at(10 + round)).expect("written");
    }
    let length = || {
        std::fs::metadata(folder.0.join("purges"))
            .expect("there")
            .len()
    };
    assert!(length() > COMPACTED_FROM);
    purges.write_down().expect("compacted");
    assert!(length() < COMPACTED_FROM / 8);
    assert_eq!(folder.open().len(), 16_000);
}

#[test]
fn without_its_journal_a_purge_is_in_force_and_says_that_it_is_not_kept() {
    let purges = Purges::without_journal();
    let page = stored(&purges, "/a", &["a"]);
    purges
        .purge(tag("a", false), at(10))
        .expect_err("no journal");
    assert!(!purges.lets_stand(&page));
}
