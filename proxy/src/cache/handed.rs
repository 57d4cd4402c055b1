//! Stored responses on their way into the store of another process, which begins with what is asked for most.
//!
//! One is written as on disk: its meta and head, then its content and the compressed forms of it, with their lengths
//! before all. Only what no purge concerns goes, and a purge that comes later is told behind it and knows it by its
//! stamp; so what arrives is treated as if it had been stored here.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};

use super::{
    Store, Stored,
    compress::Encoded,
    disk::{self, Loaded},
};
use crate::shared::Shared;

/// Content and its compressed forms.
const SECTIONS_MOST: usize = 8;

/// The entries of a store, those first that are asked for most, as long as they fit into so many bytes.
pub fn hottest(shared: Arc<Shared>, bytes: u64) -> impl Iterator<Item = Vec<u8>> + Send {
    let mut left = bytes;
    let mut numbers = None;
    std::iter::from_fn(move || {
        // Looked for when the first is wanted; each is looked up once more, because it may have changed by then.
        let numbers = numbers.get_or_insert_with(|| shared.store.by_worth().into_iter());
        for number in numbers {
            let Some(written) = shared
                .store
                .numbered(number)
                .and_then(|stored| write(&shared.store, &stored))
            else {
                continue;
            };
            let length = written.len() as u64;
            // Smaller ones may still fit.
            if length <= left {
                left -= length;
                return Some(written);
            }
        }
        None
    })
}

/// Writes an entry; `None` for what is not to go along.
fn write(store: &Store, stored: &Stored) -> Option<Vec<u8>> {
    if let Some(variation) = stored.variation() {
        let meta = disk::meta_of_variation(&variation.fields);
        return Some(compose(variation.key(), &meta, &[]));
    }
    // What lies on disk is found there.
    if stored.is_on_disk() || !store.purges.leaves_untouched(stored) {
        return None;
    }
    let content = stored.content();
    let mut sections: Vec<&[u8]> = vec![&content];
    if let Some(encoded) = stored.encoded() {
        sections.extend(
            Encoded::contents(encoded)
                .into_iter()
                .flatten()
                .map(|c| &c[..]),
        );
    }
    Some(compose(stored.key(), &disk::meta_of(stored), &sections))
}

fn compose(key: &[u8], meta: &[u8], sections: &[&[u8]]) -> Vec<u8> {
    let content: usize = sections.iter().map(|section| section.len()).sum();
    let mut out = Vec::with_capacity(9 + 8 * sections.len() + key.len() + meta.len() + content);
    out.put_u32(u32::try_from(key.len()).unwrap_or(u32::MAX));
    out.put_u32(u32::try_from(meta.len()).unwrap_or(u32::MAX));
    out.put_u8(u8::try_from(sections.len()).unwrap_or(u8::MAX));
    for section in sections {
        out.put_u64(section.len() as u64);
    }
    out.extend_from_slice(key);
    out.extend_from_slice(meta);
    sections
        .iter()
        .for_each(|section| out.extend_from_slice(section));
    out
}

/// Takes an entry into the store; `false` where it is none, or does not fit.
pub fn take_in(shared: &Shared, written: Vec<u8>) -> bool {
    let store = &shared.store;
    match read(Bytes::from(written), store.max_object()) {
        Some((key, Loaded::Variation(fields))) => store.learn(&key, &fields).is_some(),
        Some((_, Loaded::Response(stored))) if !stored.is_on_disk() => {
            store.put(stored);
            true
        }
        _ => false,
    }
}

fn read(mut written: Bytes, max: u64) -> Option<(Bytes, Loaded)> {
    let (key, meta) = (written.try_get_u32().ok()?, written.try_get_u32().ok()?);
    let count = usize::from(written.try_get_u8().ok()?);
    if count > SECTIONS_MOST {
        return None;
    }
    let mut lengths = Vec::with_capacity(count);
    for _ in 0..count {
        lengths.push(written.try_get_u64().ok()?);
    }
    let mut take = |length: u64| {
        let length = usize::try_from(length).ok()?;
        (length <= written.len()).then(|| written.split_to(length))
    };
    let key = take(key.into())?;
    let meta = take(meta.into())?;
    let mut sections = Vec::with_capacity(count);
    for length in &lengths {
        // A copy, so that one does not keep the memory of all.
        sections.push(Bytes::copy_from_slice(&take(*length)?));
    }
    let read = |section: usize, _| sections.get(section).cloned();
    let loaded = disk::rebuild(&key, &meta, &lengths, max, read)?;
    Some((key, loaded))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use http::header::ACCEPT_LANGUAGE;
    use http_caching::{Lifetimes, Storable};
    use pingora_http::ResponseHeader;

    use super::*;
    use crate::{
        cache::{
            head::stored_header,
            purge::{Order, Stamp},
            stored::Judged,
        },
        config::model,
    };

    fn shared() -> Arc<Shared> {
        let cache = model::Cache {
            memory: 1 << 20,
            max_object: 1 << 16,
            lock_timeout: Duration::from_secs(1),
            disk: None,
        };
        Arc::new(Shared::new(&cache, 10).0)
    }

    fn stored(key: &[u8], content: &[u8], seq: u64) -> Stored {
        let header = ResponseHeader::build(200, None).expect("a header");
        let length = content.len() as u64;
        let header = stored_header(&header, Some(length), &[], UNIX_EPOCH);
        let judged = Judged {
            rules: Storable {
                lifetimes: Lifetimes {
                    lifetime: Duration::from_secs(60),
                    ..Lifetimes::default()
                },
                age: Duration::ZERO,
                vary: Vec::new(),
                excluded: Vec::new(),
                shared_with_credentials: false,
            },
            response_time: SystemTime::now(),
            stamp: Stamp {
                seq,
                uri: 7,
                tags: Box::from([9]),
            },
            is_told_aside: false,
        };
        let content = [Bytes::copy_from_slice(content)];
        Stored::new(key, &header, Some(&content), length, judged)
    }

    fn carry(from: &Arc<Shared>, to: &Shared, bytes: u64) -> usize {
        let taken = hottest(Arc::clone(from), bytes).map(|entry| take_in(to, entry));
        taken.filter(|taken| *taken).count()
    }

    #[test]
    fn what_is_stored_in_one_is_stored_in_the_other() {
        let (old, new) = (shared(), shared());
        let seq = old.store.purges.seq();
        new.store.purges.advance(seq);
        old.store.put(stored(b"a", b"content of a", seq));
        old.store
            .learn(b"varies", &[ACCEPT_LANGUAGE])
            .expect("one field");
        assert_eq!(carry(&old, &new, 1 << 20), 2);
        let there = new.store.get(b"a").expect("it is there");
        assert_eq!(there.content(), "content of a");
        assert_eq!(there.stamp().tags, Box::from([9]));
        assert_eq!(there.head(), old.store.get(b"a").expect("there").head());
        assert_eq!(there.born(), old.store.get(b"a").expect("there").born());
        let variation = new.store.variation(b"varies").expect("it is known");
        assert_eq!(variation.fields, [ACCEPT_LANGUAGE]);
    }

    #[test]
    fn the_most_wanted_goes_first_and_the_rest_stays() {
        let (old, new) = (shared(), shared());
        let content = [b'x'; 1000];
        for n in 0..50_u8 {
            old.store.put(stored(&[n], &content, 1));
        }
        for n in [7, 30] {
            for _ in 0..3 {
                old.store.get(&[n]).expect("there").count_hit();
            }
        }
        let taken = carry(&old, &new, 3000);
        assert_eq!(taken, 2, "each has fields too");
        assert!(new.store.get(&[7]).is_some() && new.store.get(&[30]).is_some());
    }

    #[test]
    fn what_was_purged_does_not_go_and_does_not_answer() {
        let (old, new) = (shared(), shared());
        let seq = old.store.purges.seq();
        old.store.put(stored(b"a", b"old", seq));
        let entry = hottest(Arc::clone(&old), 1 << 20).next().expect("an entry");
        let all = Order {
            all: true,
            ..Order::default()
        };
        old.store
            .purges
            .purge(all.clone(), SystemTime::now())
            .expect("no disk");
        assert_eq!(carry(&old, &new, 1 << 20), 0);
        // On its way before the purge, and taken in behind it.
        new.store
            .purges
            .purge(all, SystemTime::now())
            .expect("no disk");
        take_in(&new, entry);
        assert!(new.store.get(b"a").is_none());
    }

    #[test]
    fn what_is_no_entry_is_not_taken_in() {
        let shared = shared();
        let whole = compose(b"key", b"{}\n", &[b"content"]);
        for length in 0..whole.len() {
            assert!(!take_in(&shared, whole[..length].to_vec()), "{length}");
        }
        assert!(!take_in(&shared, vec![0xff; 64]));
        assert_eq!(shared.store.size().0, 0);
    }
}
