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

fn stored(at: SystemTime, seq: u64) -> Arc<Stored> {
    let judged = Judged {
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
    };
    Arc::new(Stored::from_head(b"key", b"", 200, Some(&[]), 0, judged))
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
        store.put(Arc::clone(&there));
        store.put(Arc::clone(&comes));
        let found = store.get(b"key").expect("one of them");
        assert_eq!(Arc::ptr_eq(&found, &comes), is_taken);
    }
}

#[test]
fn only_what_is_there_is_replaced_or_removed() {
    let store = store();
    let [first, second, third] = [1, 2, 3].map(|n| stored(UNIX_EPOCH, n));
    store.put(Arc::clone(&first));
    assert!(store.replace(&first, Arc::clone(&second)));
    assert!(!store.replace(&first, Arc::clone(&third)));
    store.remove(&first);
    assert!(store.get(b"key").is_some_and(|s| Arc::ptr_eq(&s, &second)));
    store.remove(&second);
    assert!(store.get(b"key").is_none());
}
