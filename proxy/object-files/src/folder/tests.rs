use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::thread;

use proptest::prelude::*;

use crate::testing::{self, KIB, Tmpfs, all, bytes, open, path_of, read, taken};
use crate::{Files, Options, Trouble};

/// Which of the keys there still are.
fn held(files: &Files) -> String {
    ('a'..='z').filter(|key| files.folder().index().contains(&super::id(&[*key as u8]))).collect()
}

fn put(files: &Files, keys: &str, size: usize) {
    for key in keys.bytes() {
        files.put(&[key], b"meta", &[&bytes(key.into(), size)]).unwrap();
    }
}

#[test]
fn used_longest_ago_goes_first() {
    let folder = testing::folder();
    let files = open(folder.path(), 16 * KIB);
    put(&files, "abcd", 1000);
    assert_eq!(held(&files), "abcd");
    put(&files, "e", 1000);
    assert_eq!(held(&files), "bcde");
    files.get(b"b").unwrap().unwrap();
    put(&files, "f", 1000);
    assert_eq!(held(&files), "bdef");
    assert!(files.replace_meta(b"d", b"another").unwrap());
    put(&files, "g", 5000);
    assert_eq!(held(&files), "dfg");
    // A sweep is no use.
    files.sweep(&mut |_, _| true).unwrap();
    put(&files, "h", 1000);
    assert_eq!(held(&files), "dgh");
    // Its former self takes room until it is there, and is the one to go.
    put(&files, "d", 1000);
    assert_eq!(held(&files), "dgh");
    assert_eq!(files.stats().evicted, 6);
    assert_eq!(all(folder.path()).len(), 3);
}

/// Pieces that arrive push out what is there, and each other's writers cannot be pushed out.
#[test]
fn room_for_writers() {
    let folder = testing::folder();
    let files = open(folder.path(), 32 * KIB);
    put(&files, "abcdefgh", 1000);
    let mut first = files.create().unwrap();
    let mut second = files.create().unwrap();
    for writer in [&mut first, &mut second] {
        (0..3).for_each(|_| writer.append(&[0; 4096]).unwrap());
    }
    assert_eq!((held(&files).as_str(), files.stats().bytes), ("", 32 * KIB));
    match first.append(&[0; 4096]) {
        Err(Trouble::Io(error)) => assert_eq!(error.kind(), std::io::ErrorKind::StorageFull),
        other => panic!("{other:?}"),
    }
    assert!(files.put(b"a", b"", &[]).is_err());
    drop(first);
    put(&files, "a", 1000);
    second.finish(b"b", b"").unwrap();
    assert_eq!(held(&files), "ab");
    assert_eq!(files.stats().bytes, taken(folder.path()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// The files never take more than the capacity, nor other than is said.
    #[test]
    fn within_capacity(steps in prop::collection::vec((0..5u8, 0..40u8, 0..40_000usize), 0..60)) {
        let folder = testing::folder();
        let capacity = 128 * KIB;
        let files = open(folder.path(), capacity);
        let mut writers = Vec::new();
        for (step, key, size) in steps {
            match step {
                0 | 1 => drop(files.put(&[key], b"meta", &[&bytes(1, size)])),
                2 => writers.push(files.create().unwrap()),
                3 => writers.iter_mut().for_each(|writer| drop(writer.append(&bytes(2, size / 4)))),
                _ if key % 2 == 0 => drop(files.remove(&[key])),
                _ => drop(writers.pop().map(|writer| writer.finish(&[key], b"meta"))),
            }
            let bytes = files.stats().bytes;
            prop_assert!(bytes <= capacity);
            prop_assert!(taken(folder.path()) <= bytes);
            if writers.is_empty() {
                prop_assert_eq!(taken(folder.path()), bytes);
            }
        }
    }
}

/// Room for four writes at once, but not for all objects.
const CROWDED: u64 = 400 * KIB;

/// Everyone does everything at once; index and files agree in the end.
#[test]
fn crowd() {
    let folder = testing::folder();
    let files = open(folder.path(), CROWDED);
    crowd_on(&[&files, &files, &files, &files]);
    let stats = files.stats();
    assert_eq!((stats.bytes, stats.damaged), (taken(folder.path()), 0));
    assert!(stats.bytes <= CROWDED && stats.evicted > 0);
    let found = (0..20u8).filter(|key| read(&files, &[*key]).unwrap().is_some()).count();
    assert_eq!(found as u64, stats.objects);
}

/// Two processes on one folder: either finds what the other wrote, and nothing is ever wrong.
#[test]
fn shared() {
    let folder = testing::folder();
    let (old, new) = (open(folder.path(), CROWDED), open(folder.path(), CROWDED));
    put(&old, "ab", 1000);
    new.scan().unwrap();
    put(&old, "c", 1000);
    // Written by the other since the scan: a look-up finds it and makes it known.
    assert!(new.may_hold(b"a") && !new.may_hold(b"c"));
    assert!(read(&new, b"c").unwrap().is_some() && new.may_hold(b"c"));
    // Or another scan does.
    put(&old, "d", 1000);
    assert_eq!(new.scan().unwrap(), (4, 16 * KIB));
    assert!(new.may_hold(b"d"));
    // Removed by the other: a look-up finds out.
    assert!(old.remove(b"a") && new.may_hold(b"a"));
    assert!(read(&new, b"a").unwrap().is_none() && !new.may_hold(b"a"));
    new.put(b"b", b"new", &[&[1; 5000]]).unwrap();
    assert_eq!(read(&old, b"b").unwrap().unwrap().0, b"new");

    crowd_on(&[&old, &new, &old, &new]);
    assert_eq!((old.stats().damaged, new.stats().damaged), (0, 0));
    drop((old, new));
    let files = open(folder.path(), CROWDED);
    assert_eq!(files.scan().unwrap().1, taken(folder.path()));
    assert!(taken(folder.path()) <= CROWDED);
}

fn crowd_on(files: &[&Files; 4]) {
    let content =
        |key: u8, seed: u8| bytes(u64::from(key) << 8 | u64::from(seed), usize::from(seed) * 300);
    thread::scope(|scope| {
        for (nth, files) in files.iter().enumerate() {
            scope.spawn(move || {
                let mut random = nth as u64 + 1;
                for _ in 0..3000 {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let (key, seed) = ((random >> 40) as u8 % 20, (random >> 48) as u8);
                    match (random >> 33) % 10 {
                        0 => drop(files.remove(&[key])),
                        1..4 => files.put(&[key], &[seed], &[&content(key, seed)]).unwrap(),
                        4 => {
                            let mut writer = files.create().unwrap();
                            writer.append(&content(key, seed)).unwrap();
                            writer.finish(&[key], &[seed]).unwrap();
                        }
                        5 if seed < 16 => {
                            files.sweep(&mut |_, meta| meta[0] % 16 > 0).map(drop).unwrap();
                        }
                        _ => {
                            if let Some((meta, sections)) = read(files, &[key]).unwrap() {
                                assert_eq!(sections, [content(key, meta[0])]);
                            }
                        }
                    }
                }
            });
        }
    });
}

/// More is allowed than fits: the file system is full, and the cache lives on with less.
#[test]
fn full() {
    for options in ["size=300k", "size=10m,nr_inodes=300"] {
        let Some(tmpfs) = Tmpfs::mount(options) else { return };
        let files = open(tmpfs.path(), 1 << 30);
        let mut errors = 0;
        for number in 0..200u64 {
            let content = bytes(number, 7000);
            let stored = match number % 2 {
                0 => files.put(&number.to_le_bytes(), b"", &[&content]),
                _ => files.create().and_then(|mut writer| {
                    content.chunks(1000).try_for_each(|piece| writer.append(piece))?;
                    writer.finish(&number.to_le_bytes(), b"")
                }),
            };
            match stored {
                Ok(()) => assert!(files.get(&number.to_le_bytes()).unwrap().is_some()),
                Err(Trouble::Io(error)) => {
                    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
                    errors += 1;
                }
                Err(other) => panic!("{other}"),
            }
            assert_eq!(files.stats().bytes, taken(tmpfs.path()));
        }
        assert!(errors > 0 && errors < 150, "{errors} refused with {options}");
        let found: BTreeSet<u64> = (0..200u64)
            .filter(|number| read(&files, &number.to_le_bytes()).unwrap().is_some())
            .collect();
        assert!(found.len() > 5 && found.iter().all(|number| *number > 100), "{found:?}");
        // A new meta is refused or there.
        for number in found {
            let key = number.to_le_bytes();
            match files.replace_meta(&key, &[1; 5000]) {
                Ok(false) => assert!(read(&files, &key).unwrap().is_none()),
                Ok(true) => assert_eq!(read(&files, &key).unwrap().unwrap().0, [1; 5000]),
                Err(_) => {}
            }
        }
        assert_eq!(files.stats().damaged, 0);
    }
}

/// What is there can still be read.
#[test]
fn read_only() {
    let Some(tmpfs) = Tmpfs::mount("size=10m") else { return };
    let files = open(tmpfs.path(), 1024 * KIB);
    put(&files, "ab", 100_000);
    let writer = files.create().unwrap();
    drop(files);
    let damaged = path_of(tmpfs.path(), b"b");
    let mut contents = fs::read(&damaged).unwrap();
    contents[0] ^= 1;
    fs::write(&damaged, contents).unwrap();
    drop(writer);
    tmpfs.remount("ro");

    let files = open(tmpfs.path(), 8 * KIB);
    assert!(files.scan().is_err(), "what is beyond the capacity cannot be removed");
    assert!(files.stats().scanned);
    assert!(read(&files, b"a").unwrap().is_some());
    assert!(matches!(files.get(b"b"), Err(Trouble::Damaged(_))));
    assert!(files.put(b"c", b"", &[b"content"]).is_err());
    assert!(files.create().is_err());
    assert!(files.replace_meta(b"a", b"").is_err());
    assert!(!files.remove(b"a"));
    assert!(files.sweep(&mut |_, _| false).is_err());
    assert!(read(&files, b"a").unwrap().is_some());
    assert_eq!(files.stats().objects, 2);
    tmpfs.remount("rw");
}

#[test]
fn no_folder() {
    let folder = testing::folder();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let options = |path| Options { path, capacity: KIB, max_object: KIB };
    assert!(Files::open(options(file.clone())).is_err());
    assert!(Files::open(options(file.join("below"))).is_err());
}

/// What visitors were sent is nobody else's business.
#[test]
fn modes() {
    let folder = testing::folder();
    let path = folder.path().join("some").join("where");
    let files = open(&path, 1024 * KIB);
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    files.put(b"key", b"", &[]).unwrap();
    for path in [&path, &path.join("tmp"), &path.join("ff")] {
        assert_eq!(mode(path), 0o700);
    }
    assert_eq!(mode(&path_of(&path, b"key")), 0o600);
}
