use std::collections::HashMap;
use std::fs;

use proptest::prelude::*;

use super::*;
use crate::testing::{self, KIB, Stored, all, bytes, open, path_of, read, taken};
use crate::{MAX_KEY, MAX_META, MAX_SECTIONS};

#[test]
fn everything_once() {
    let folder = testing::folder();
    let files = open(folder.path(), 1024 * KIB);
    assert_eq!(read(&files, b"a").unwrap(), None);
    let big = bytes(1, 200_000);
    files.put(b"a", b"meta", &[&big, b"", b"short"]).unwrap();
    let sections = vec![big.clone(), Vec::new(), b"short".to_vec()];
    assert_eq!(read(&files, b"a").unwrap(), Some((b"meta".to_vec(), sections.clone())));
    assert!(files.replace_meta(b"a", b"another").unwrap());
    assert_eq!(read(&files, b"a").unwrap(), Some((b"another".to_vec(), sections)));
    assert!(!files.replace_meta(b"b", b"another").unwrap());

    let mut writer = files.create().unwrap();
    writer.append(&big).unwrap();
    assert_eq!(read(&files, b"b").unwrap(), None);
    writer.finish(b"b", b"streamed").unwrap();
    assert_eq!(read(&files, b"b").unwrap(), Some((b"streamed".to_vec(), vec![big])));

    let files = open(folder.path(), 1024 * KIB);
    assert!(files.may_hold(b"c"));
    assert_eq!(files.scan().unwrap(), (2, 2 * 49 * 4 * KIB));
    assert!(files.may_hold(b"a") && !files.may_hold(b"c"));
    assert_eq!(files.sweep(&mut |key, meta| key == b"a" && meta == b"another").unwrap(), 1);
    assert!(!files.may_hold(b"b"));
    assert_eq!(read(&files, b"b").unwrap(), None);
    assert!(files.remove(b"a") && !files.remove(b"a"));
    assert_eq!(files.stats(), Stats { scanned: true, ..Stats::default() });
    assert_eq!(taken(folder.path()), 0);
}

/// What callers rely on where they hand these to their threads.
#[test]
fn shared_by_threads() {
    fn shared<T: Send + Sync>() {}
    fn sent<T: Send>() {}
    shared::<Files>();
    shared::<Object>();
    shared::<crate::WriterReader>();
    sent::<Writer>();
    sent::<crate::Journal>();
}

#[test]
fn limits() {
    let folder = testing::folder();
    let options =
        |capacity, max_object| Options { path: folder.path().into(), capacity, max_object };
    let files = Files::open(options(4096 * KIB, 100)).unwrap();
    let (key, meta) = (bytes(1, MAX_KEY), bytes(2, MAX_META));
    let longer = |bytes: &[u8]| [bytes, b"+"].concat();
    let sections = [&b"x"[..]; MAX_SECTIONS + 1];
    for (key, meta, sections, fits) in [
        (&key[..], &meta[..], &[&[1; 100][..]][..], true),
        (b"", b"", &[], true),
        (b"", b"", &[b""], true),
        (b"k", b"m", &sections[1..], true),
        (b"k", b"m", &sections, false),
        (b"k", b"m", &[&[1; 101]], false),
        (b"k", b"m", &[&[1; 50], &[1; 51]], false),
        (&longer(&key), b"m", &[], false),
        (b"k", &longer(&meta), &[], false),
    ] {
        let result = files.put(key, meta, sections);
        assert_eq!(matches!(result, Err(Trouble::TooLarge)), !fits);
        if fits {
            let stored = (meta.to_vec(), sections.iter().map(|section| section.to_vec()).collect());
            assert_eq!(read(&files, key).unwrap(), Some(stored));
        }
    }
    // Larger than all may be together: nothing makes way for it in vain.
    let files = Files::open(options(64 * KIB, 1024 * KIB)).unwrap();
    files.put(b"small", b"", &[]).unwrap();
    assert!(matches!(files.put(b"big", b"", &[&bytes(1, 65_536)]), Err(Trouble::TooLarge)));
    assert!(files.get(b"small").unwrap().is_some());
    let files = Files::open(options(0, 1024 * KIB)).unwrap();
    assert!(matches!(files.put(b"k", b"", &[]), Err(Trouble::TooLarge)));
}

/// Any range of any section, whatever blocks it touches.
#[test]
fn ranges() {
    let folder = testing::folder();
    let files = open(folder.path(), 4096 * KIB);
    let block = crate::BLOCK;
    for sizes in [[10, 0, 7], [block, 2 * block, 1], [3 * block + 1, block - 1, block + 1]] {
        let sections: Vec<_> = (0..).zip(sizes).map(|(seed, size)| bytes(seed, size)).collect();
        let borrowed: Vec<_> = sections.iter().map(Vec::as_slice).collect();
        files.put(b"k", b"m", &borrowed).unwrap();
        let object = files.get(b"k").unwrap().unwrap();
        assert_eq!(object.section_lengths(), sizes.map(|size| size as u64));
        let edges = [0, 1, 9, block - 1, block, block + 1, 2 * block, 3 * block, 3 * block + 1];
        for (at, section) in sections.iter().enumerate() {
            for (offset, len) in edges.iter().flat_map(|offset| edges.map(|len| (*offset, len))) {
                let begin = offset.min(section.len());
                let end = (offset + len).min(section.len());
                let read = object.read_at(at, offset as u64, len).unwrap();
                assert_eq!(read, section[begin..end], "{offset} {len} of {}", section.len());
            }
            assert!(object.read_at(at, u64::MAX, usize::MAX).unwrap().is_empty());
            assert_eq!(object.read_at(at, 0, usize::MAX).unwrap(), section);
        }
        assert!(object.read_at(3, 0, 1).is_err());
    }
}

/// An object in use outlives its file.
#[test]
fn unlinked_while_in_use() {
    let folder = testing::folder();
    let files = open(folder.path(), 1024 * KIB);
    for size in [1000, 200_000] {
        let (old, new) = (bytes(1, size), bytes(2, size));
        files.put(b"k", b"old", &[&old]).unwrap();
        let object = files.get(b"k").unwrap().unwrap();
        files.put(b"k", b"new", &[&new]).unwrap();
        assert_eq!((object.meta(), object.read_at(0, 0, size).unwrap()), (&b"old"[..], old.into()));
        let object = files.get(b"k").unwrap().unwrap();
        files.remove(b"k");
        assert_eq!((object.meta(), object.read_at(0, 0, size).unwrap()), (&b"new"[..], new.into()));
    }
}

/// Two keys with one name cannot be found, but files can be copied about.
#[test]
fn another_key() {
    let folder = testing::folder();
    let files = open(folder.path(), 1024 * KIB);
    files.put(b"a", b"meta", &[b"content"]).unwrap();
    fs::copy(path_of(folder.path(), b"a"), path_of(folder.path(), b"b")).unwrap();
    assert!(matches!(files.get(b"b"), Err(Trouble::Damaged(_))));
    assert!(files.get(b"b").unwrap().is_none());
    assert!(files.get(b"a").unwrap().is_some());
}

/// A look-up renews the mark of use only when it is old, or of a time to come.
#[test]
fn marks_of_use() {
    let folder = testing::folder();
    let files = open(folder.path(), 1024 * KIB);
    files.put(b"k", b"", &[]).unwrap();
    let file = File::open(path_of(folder.path(), b"k")).unwrap();
    let now = SystemTime::now();
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    for (before, renewed) in [
        (now - minutes(9), false),
        (now - minutes(11), true),
        (now + minutes(5), false),
        (now + minutes(60 * 24), true),
    ] {
        file.set_modified(before).unwrap();
        files.get(b"k").unwrap().unwrap();
        let after = file.metadata().unwrap().modified().unwrap();
        assert_eq!(after != before, renewed);
        assert!(!renewed || (now..now + minutes(1)).contains(&after));
    }
}

/// What was put in between is neither swept with what it replaced nor loses to a new meta for it.
#[test]
fn replaced_meanwhile() {
    let folder = testing::folder();
    let files = open(folder.path(), 1024 * KIB);
    files.put(b"k", b"old", &[b"old"]).unwrap();
    let removed = files.sweep(&mut |_, meta| {
        assert_eq!(meta, b"old");
        files.put(b"k", b"new", &[b"new"]).unwrap();
        false
    });
    assert_eq!(removed.unwrap(), 0);
    assert_eq!(read(&files, b"k").unwrap(), Some((b"new".to_vec(), vec![b"new".to_vec()])));
}

/// Someone empties the folder by hand, as people do with caches.
#[test]
fn emptied_by_hand() {
    let folder = testing::folder();
    let files = open(folder.path(), 1024 * KIB);
    files.scan().unwrap();
    files.put(b"k", b"", &[]).unwrap();
    for entry in fs::read_dir(folder.path()).unwrap() {
        fs::remove_dir_all(entry.unwrap().path()).unwrap();
    }
    assert!(files.may_hold(b"k"));
    assert!(files.get(b"k").unwrap().is_none());
    assert!(!files.may_hold(b"k"));
    assert_eq!(files.stats().bytes, 0);
    files.put(b"k", b"", &[]).unwrap();
    assert!(files.get(b"k").unwrap().is_some());
    assert_eq!(files.scan().unwrap().0, 1);
    assert_eq!(all(folder.path()).len(), 1);
}

#[derive(Clone, Debug)]
enum Step {
    Put(u8, Vec<u8>, Vec<Vec<u8>>),
    Stream(u8, Vec<u8>, Vec<Vec<u8>>, bool),
    Meta(u8, Vec<u8>),
    Remove(u8),
    Sweep(u8),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..6u8;
    let meta = || prop::collection::vec(any::<u8>(), 0..20);
    let sizes = prop_oneof![0..300usize, 65_000..66_000usize, 100_000..200_000usize];
    let body = (any::<u64>(), sizes).prop_map(|(seed, size)| bytes(seed, size));
    let bodies = move || prop::collection::vec(body.clone(), 0..4);
    prop_oneof![
        4 => (key.clone(), meta(), bodies()).prop_map(|(key, meta, parts)| Step::Put(key, meta, parts)),
        4 => (key.clone(), meta(), bodies(), any::<bool>())
            .prop_map(|(key, meta, parts, done)| Step::Stream(key, meta, parts, done)),
        2 => (key.clone(), meta()).prop_map(|(key, meta)| Step::Meta(key, meta)),
        1 => key.clone().prop_map(Step::Remove),
        1 => key.prop_map(Step::Sweep),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Where there is room for everything it behaves like a map.
    #[test]
    fn like_a_map(steps in prop::collection::vec(step(), 0..20)) {
        let folder = testing::folder();
        let mut files = open(folder.path(), 1 << 30);
        let mut map: HashMap<u8, Stored> = HashMap::new();
        for step in steps {
            match step {
                Step::Put(key, meta, parts) => {
                    let sections: Vec<_> = parts.iter().map(Vec::as_slice).collect();
                    files.put(&[key], &meta, &sections).unwrap();
                    map.insert(key, (meta, parts));
                }
                Step::Stream(key, meta, parts, done) => {
                    let mut writer = files.create().unwrap();
                    parts.iter().for_each(|part| writer.append(part).unwrap());
                    if done {
                        writer.finish(&[key], &meta).unwrap();
                        map.insert(key, (meta, vec![parts.concat()]));
                    }
                }
                Step::Meta(key, meta) => {
                    prop_assert_eq!(files.replace_meta(&[key], &meta).unwrap(), map.contains_key(&key));
                    map.entry(key).and_modify(|stored| stored.0 = meta);
                }
                Step::Remove(key) => {
                    prop_assert_eq!(files.remove(&[key]), map.remove(&key).is_some());
                }
                Step::Sweep(gone) => {
                    let mut seen = HashMap::new();
                    files.sweep(&mut |key, meta| {
                        assert!(seen.insert(key[0], meta.to_vec()).is_none());
                        key[0] != gone
                    }).unwrap();
                    prop_assert_eq!(seen.len(), map.len());
                    prop_assert!(seen.iter().all(|(key, meta)| map[key].0 == *meta));
                    map.remove(&gone);
                }
                Step::Reopen => {
                    files = open(folder.path(), 1 << 30);
                    prop_assert_eq!(files.scan().unwrap().0, map.len() as u64);
                }
            }
            for key in 0..6 {
                prop_assert_eq!(read(&files, &[key]).unwrap(), map.get(&key).cloned());
                prop_assert_eq!(files.may_hold(&[key]) || !files.stats().scanned,
                    map.contains_key(&key) || !files.stats().scanned);
            }
            prop_assert_eq!(files.stats().bytes, taken(folder.path()));
        }
    }
}

#[test]
fn other_bounds_while_it_is_used() {
    let folder = testing::folder();
    let files = open(folder.path(), 1024 * KIB);
    for n in 0..20 {
        files.put(&[n], b"", &[&bytes(n.into(), 30_000)]).unwrap();
    }
    let before = taken(folder.path());
    files.resize(100 * KIB, 40_000).unwrap();
    let after = taken(folder.path());
    assert!(after <= 100 * KIB && after < before, "{after}");
    assert!(read(&files, &[0]).unwrap().is_none() && read(&files, &[19]).unwrap().is_some());
    assert!(matches!(files.put(b"large", b"", &[&bytes(1, 40_001)]), Err(Trouble::TooLarge)));
    files.resize(1024 * KIB, 100_000).unwrap();
    files.put(b"large", b"", &[&bytes(1, 40_001)]).unwrap();
    assert!(read(&files, &[19]).unwrap().is_some());
}
