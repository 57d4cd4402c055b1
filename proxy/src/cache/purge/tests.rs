use std::time::UNIX_EPOCH;

use http_caching::{Lifetimes, Storable};
use pingora::http::ResponseHeader;

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
