use std::path::Path;

use super::*;

const KIB: u64 = 1024;

fn open(path: &Path, capacity: u64) -> Files {
    let options = Options { path: path.to_owned(), capacity, max_object: capacity };
    Files::open(options).unwrap()
}

/// What is stored under a key: its meta and its sections.
fn read(files: &Files, key: &[u8]) -> Option<(Vec<u8>, Vec<Vec<u8>>)> {
    let object = files.get(key).unwrap()?;
    let lengths = object.section_lengths().iter().enumerate();
    let sections = lengths
        .map(|(section, length)| object.read_at(section, 0, *length as usize).unwrap().to_vec());
    Some((object.meta().to_vec(), sections.collect()))
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 + at / 251) as u8).collect()
}

#[test]
fn everything_once() {
    let folder = tempfile::tempdir().unwrap();
    let files = open(folder.path(), 1024 * KIB);
    assert!(read(&files, b"a").is_none());
    let big = bytes(200_000);
    files.put(b"a", b"meta", &[&big, b"", b"short"]).unwrap();
    let sections = vec![big.clone(), Vec::new(), b"short".to_vec()];
    assert_eq!(read(&files, b"a"), Some((b"meta".to_vec(), sections.clone())));
    assert!(files.replace_meta(b"a", b"another").unwrap());
    assert_eq!(read(&files, b"a"), Some((b"another".to_vec(), sections)));
    assert!(!files.replace_meta(b"b", b"another").unwrap());

    let mut writer = files.create().unwrap();
    let reader = writer.reader();
    for piece in big.chunks(30_000) {
        writer.append(piece).unwrap();
        assert_eq!(reader.len(), writer.len());
        assert_eq!(reader.read_at(5, usize::MAX).unwrap(), big[5..reader.len() as usize]);
    }
    assert!(read(&files, b"b").is_none());
    writer.finish(b"b", b"streamed").unwrap();
    assert_eq!(read(&files, b"b"), Some((b"streamed".to_vec(), vec![big.clone()])));
    assert_eq!(reader.read_at(0, big.len()).unwrap(), big);

    let files = open(folder.path(), 1024 * KIB);
    assert!(files.may_hold(b"c"));
    assert_eq!(files.scan().unwrap(), (2, 2 * 49 * 4 * KIB));
    assert!(files.may_hold(b"a") && !files.may_hold(b"c"));
    assert_eq!(files.sweep(&mut |key, meta| key == b"a" && meta == b"another").unwrap(), 1);
    assert!(!files.may_hold(b"b") && read(&files, b"b").is_none());
    assert!(files.remove(b"a") && !files.remove(b"a"));
    assert_eq!(files.stats(), Stats { scanned: true, ..Stats::default() });
}
