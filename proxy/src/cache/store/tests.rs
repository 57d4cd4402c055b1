use std::time::UNIX_EPOCH;

use http_caching::{Lifetimes, Storable};

use super::*;
use crate::cache::{purge::Stamp, stored::Judged};

fn store() -> Store {
    let config = Cache {
        memory: 1 << 20,
        max_object: 1 << 20,
        lock_timeout: Duration::ZERO,
        disk: None,
    };
    Store::new(&config, Purges::in_memory())
}

fn stored(at: SystemTime, seq: u64) -> Stored {
    Stored::from_head(b"key", b"", 200, Some(&[]), 0, judged(at, seq))
}

fn judged(at: SystemTime, seq: u64) -> Judged {
    Judged {
        rules: Storable {
            lifetimes: Lifetimes::default(),
            age: Duration::ZERO,
            vary: Vec::new(),
            excluded: Vec::new(),
            shared_with_credentials: false,
        },
        response_time: at,
        stamp: Stamp {
            seq,
            ..Stamp::default()
        },
        is_told_aside: false,
    }
}

#[test]
fn the_older_never_takes_the_place_of_the_newer() {
    let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    let ahead = SystemTime::now() + Duration::from_secs(1_000);
    for (there, comes, is_taken) in [
        ((at(10), 1), (at(11), 1), true),
        ((at(10), 1), (at(10), 1), true),
        ((at(10), 2), (at(10), 1), false),
        ((at(10), 1), (at(10), 2), true),
        ((at(11), 1), (at(10), 2), false),
        // The clock has gone back.
        ((ahead, 1), (at(10), 1), true),
    ] {
        let store = store();
        let (there, comes) = (stored(there.0, there.1), stored(comes.0, comes.1));
        store.put(there.clone());
        store.put(comes.clone());
        let found = store.get(b"key").expect("one of them");
        assert_eq!(found.is_same(&comes), is_taken);
    }
}

#[test]
fn only_what_is_there_is_replaced_or_removed() {
    let store = store();
    let [first, second, third] = [1, 2, 3].map(|n| stored(UNIX_EPOCH, n));
    store.put(first.clone());
    assert!(store.replace(&first, second.clone()));
    assert!(!store.replace(&first, third.clone()));
    store.remove(&first);
    assert!(store.get(b"key").is_some_and(|s| s.is_same(&second)));
    store.remove(&second);
    assert!(store.get(b"key").is_none());
}

#[test]
fn what_varies_stands_under_its_key_until_a_response_does() {
    let store = store();
    let accept = HeaderName::from_static("accept");
    let variation = store.learn(b"key", &[accept]).expect("one field");
    assert!(store.get(b"key").is_none());
    assert!(
        store
            .variation(b"key")
            .is_some_and(|there| Arc::ptr_eq(&there, &variation))
    );
    let fields = http::HeaderMap::new();
    assert!(matches!(store.find(b"key", &fields), Found::OtherVariant));
    assert_eq!(store.size().0, 1);
    // It is no response that a newer one would have to give way to.
    let response = stored(UNIX_EPOCH, 1);
    store.put(response.clone());
    assert!(store.variation(b"key").is_none());
    let found = store.find(b"key", &fields);
    assert!(matches!(found, Found::Fit(there) if there.is_same(&response)));
    assert_eq!(store.size(), (1, response.weight() as u64));
}

/// Another process may have purged what is here, until it is known that there is none.
#[test]
fn what_is_not_known_to_stand_answers_nobody_and_may_come_back() {
    let store = store();
    let response = stored(UNIX_EPOCH, store.purges.seq());
    let fields = http::HeaderMap::new();
    store.put(response.clone());
    for may_have_missed in [false, true] {
        store.purges.go_deaf();
        assert!(matches!(store.find(b"key", &fields), Found::Nothing));
        assert!(store.get(b"key").is_none());
        assert!(!store.purges.leaves_untouched(&response), "nor is it kept");
        store.purges.hear_again(may_have_missed);
        assert_eq!(store.get(b"key").is_none(), may_have_missed);
    }
}

#[test]
fn a_sweep_takes_what_was_purged_and_nothing_else() {
    let store = store();
    let seq = store.purges.seq();
    let old = stored(UNIX_EPOCH, seq);
    store.put(old);
    store.learn(b"other", &[HeaderName::from_static("accept")]);
    assert_eq!(store.sweep(), 0);
    let all = crate::cache::purge::Order {
        all: true,
        ..Default::default()
    };
    store.purges.purge(all, UNIX_EPOCH).expect("no disk");
    assert_eq!(store.sweep(), 1);
    assert_eq!(store.size().0, 1);
    assert!(store.variation(b"other").is_some());
}

/// Which of the first responses are left when as many have come again as there is room for.
fn left(ask: impl Fn(&Store, &[u8])) -> Vec<bool> {
    const MANY: u32 = 200;
    let store = store();
    let put = |n: u32| {
        let content = [bytes::Bytes::from(vec![0; 16 << 10])];
        let key = n.to_be_bytes();
        let content = Some(&content[..]);
        store.put(Stored::from_head(
            &key,
            b"",
            200,
            content,
            16 << 10,
            judged(UNIX_EPOCH, 1),
        ));
    };
    (0..20).for_each(put);
    for n in 0..10u32 {
        for _ in 0..100 {
            ask(&store, &n.to_be_bytes());
        }
    }
    (20..MANY).for_each(put);
    (0..20u32)
        .map(|n| store.get(&n.to_be_bytes()).is_some())
        .collect()
}

#[test]
fn a_look_keeps_nothing_in_the_store() {
    let fields = http::HeaderMap::new();
    let untouched = left(|_, _| {});
    let looked_at = left(|store, key| {
        assert!(matches!(store.look(key, &fields), Found::Fit(there) if there.hits() == 0));
    });
    let asked_for = left(|store, key| {
        assert!(matches!(store.find(key, &fields), Found::Fit(_)));
    });
    assert_eq!(looked_at, untouched);
    assert_ne!(asked_for, untouched);
}

#[test]
fn a_look_finds_what_a_request_finds() {
    let store = store();
    let fields = http::HeaderMap::new();
    assert!(matches!(store.look(b"key", &fields), Found::Nothing));
    store.learn(b"key", &[HeaderName::from_static("accept")]);
    assert!(matches!(store.look(b"key", &fields), Found::OtherVariant));
    let response = stored(UNIX_EPOCH, store.purges.seq());
    store.put(response.clone());
    assert!(matches!(store.look(b"key", &fields), Found::Fit(there) if there.is_same(&response)));
    let all = crate::cache::purge::Order {
        all: true,
        ..Default::default()
    };
    store.purges.purge(all, UNIX_EPOCH).expect("no disk");
    // It stays for a sweep to take.
    assert!(matches!(store.look(b"key", &fields), Found::Nothing));
    assert_eq!((store.size().0, store.sweep()), (1, 1));
}
