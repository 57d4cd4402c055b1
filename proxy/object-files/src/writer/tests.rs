use std::thread;

use crate::testing::{self, KIB, bytes, open, read, taken};
use crate::{Files, Options, Trouble};

#[test]
fn read_while_written() {
    let folder = testing::folder();
    let files = open(folder.path(), 4096 * KIB);
    let content = bytes(1, 1_000_000);
    let mut writer = files.create().unwrap();
    assert!(writer.is_empty() && writer.reader().is_empty());
    let reader = writer.reader();
    thread::scope(|scope| {
        for part in [1000, 50_000] {
            let (reader, content) = (reader.clone(), &content);
            scope.spawn(move || {
                let mut at = 0;
                while at < content.len() {
                    let read = reader.read_at(at as u64, part).unwrap();
                    assert_eq!(read, content[at..at + read.len()]);
                    at += read.len();
                }
            });
        }
        content.chunks(12_345).for_each(|piece| writer.append(piece).unwrap());
        assert_eq!(writer.len(), content.len() as u64);
        writer.finish(b"key", b"meta").unwrap();
    });
    assert_eq!(read(&files, b"key").unwrap(), Some((b"meta".to_vec(), vec![content.clone()])));
    files.remove(b"key");
    assert_eq!(reader.read_at(0, usize::MAX).unwrap(), content);
}

#[test]
fn nothing_is_left() {
    let folder = testing::folder();
    let files = open(folder.path(), 1024 * KIB);
    let mut writer = files.create().unwrap();
    let reader = writer.reader();
    writer.append(b"some").unwrap();
    assert_eq!(files.stats().bytes, 4 * KIB);
    drop(writer);
    assert_eq!((files.stats().bytes, taken(folder.path())), (0, 0));
    assert_eq!(reader.read_at(1, 100).unwrap(), &b"ome"[..]);
}

/// With a piece missing it must not become an object, whatever fits afterwards.
#[test]
fn too_large() {
    let folder = testing::folder();
    let path = folder.path().to_owned();
    let files = Files::open(Options { path, capacity: 1024 * KIB, max_object: 10 }).unwrap();
    let mut writer = files.create().unwrap();
    writer.append(b"0123456789").unwrap();
    assert!(matches!(writer.append(b"a"), Err(Trouble::TooLarge)));
    assert!(writer.append(b"").is_err());
    assert!(writer.finish(b"key", b"").is_err());
    assert!(files.get(b"key").unwrap().is_none());
    assert_eq!((files.stats().bytes, taken(folder.path())), (0, 0));
}
