use std::fs;
use std::path::Path;

use crate::testing::{self, KIB, Stored, bytes, open, path_of, read};
use crate::{BLOCK, Files, Trouble};

/// Puts an object, lets `change` do something to its file and expects a miss, told or untold.
fn miss(folder: &Path, files: &Files, stored: &Stored, change: impl FnOnce(&mut Vec<u8>)) {
    let sections: Vec<_> = stored.1.iter().map(Vec::as_slice).collect();
    files.put(b"key", &stored.0, &sections).unwrap();
    let path = path_of(folder, b"key");
    let mut bytes = fs::read(&path).unwrap();
    change(&mut bytes);
    fs::write(&path, bytes).unwrap();
    let before = files.stats();
    match read(files, b"key") {
        Ok(None) => {}
        Err(Trouble::Damaged(_)) => {
            assert!(!path.exists());
            let after = files.stats();
            assert_eq!((after.objects, after.bytes), (0, 0));
            assert_eq!(after.damaged, before.damaged + 1);
        }
        other => panic!("{other:?}"),
    }
}

fn small() -> Stored {
    (b"the meta".to_vec(), vec![bytes(1, 100), Vec::new(), bytes(2, 30)])
}

#[test]
fn every_byte_of_a_small_one() {
    let folder = testing::folder();
    let files = open(folder.path(), 1024 * KIB);
    let stored = small();
    let size = 64 + 130 + 3 * 8 + 2 * 4 + 3 + 8;
    for at in 0..size {
        for flip in [1, 0x80, 0xff] {
            miss(folder.path(), &files, &stored, |file| {
                assert_eq!(file.len(), size);
                file[at] ^= flip;
            });
        }
    }
    // All but the bytes of the version, with which a file is another process's.
    assert_eq!(files.stats().damaged, (size as u64 - 4) * 3);
}

#[test]
fn every_length_of_a_small_one() {
    let folder = testing::folder();
    let files = open(folder.path(), 1024 * KIB);
    let stored = small();
    for length in (0..237).chain([238, 300, 100_000]) {
        miss(folder.path(), &files, &stored, |file| file.resize(length, 0));
    }
}

/// The rest of a file lost its bytes when the power failed, but kept its length.
#[test]
fn zeros() {
    let folder = testing::folder();
    let files = open(folder.path(), 1024 * KIB);
    for stored in [small(), (b"meta".to_vec(), vec![bytes(1, 3 * BLOCK)])] {
        for from in [0, 1, 64, 100, 200] {
            miss(folder.path(), &files, &stored, |file| file[from..].fill(0));
        }
        miss(folder.path(), &files, &stored, |file| file[..64].fill(0));
        miss(folder.path(), &files, &stored, |file| file[64..128].fill(0));
    }
}

#[test]
fn bytes_of_a_large_one() {
    let folder = testing::folder();
    let files = open(folder.path(), 1024 * KIB);
    let stored = (b"the meta".to_vec(), vec![bytes(1, 2 * BLOCK + 9), bytes(2, BLOCK)]);
    let size = 64 + 3 * BLOCK + 9 + 2 * 8 + 4 * 4 + 3 + 8;
    for at in (0..70).chain((70..size).step_by(4999)).chain(size - 45..size) {
        miss(folder.path(), &files, &stored, |file| {
            assert_eq!(file.len(), size);
            file[at] ^= 0x10;
        });
    }
    for length in [0, 63, 64, 65, BLOCK, 2 * BLOCK, size - 1, size + 1] {
        miss(folder.path(), &files, &stored, |file| file.resize(length, 0));
    }
}

/// One block is damaged: the others can be read, also by those who have the object open, and a new
/// object in its place is left alone.
#[test]
fn one_block() {
    let folder = testing::folder();
    let files = open(folder.path(), 1024 * KIB);
    let content = bytes(1, 3 * BLOCK);
    let path = path_of(folder.path(), b"key");
    let read = |object: &crate::Object, block: usize| object.read_at(0, (block * BLOCK) as u64, 10);
    for replaced in [false, true] {
        files.put(b"key", b"", &[&content]).unwrap();
        let mut damaged = fs::read(&path).unwrap();
        damaged[64 + BLOCK] ^= 1;
        fs::write(&path, damaged).unwrap();
        let object = files.get(b"key").unwrap().unwrap();
        if replaced {
            files.put(b"key", b"", &[&content]).unwrap();
        }
        assert_eq!(read(&object, 0).unwrap(), content[..10]);
        assert!(matches!(read(&object, 1), Err(Trouble::Damaged(_))));
        assert_eq!(read(&object, 2).unwrap(), content[2 * BLOCK..][..10]);
        assert_eq!(files.get(b"key").unwrap().is_some(), replaced);
    }
    assert_eq!(files.stats().damaged, 2);
}

/// It is cut short while it is being read.
#[test]
fn shrinks() {
    let folder = testing::folder();
    let files = open(folder.path(), 1024 * KIB);
    files.put(b"key", b"", &[&bytes(1, 3 * BLOCK)]).unwrap();
    let object = files.get(b"key").unwrap().unwrap();
    let file = fs::File::options().write(true).open(path_of(folder.path(), b"key")).unwrap();
    file.set_len(BLOCK as u64).unwrap();
    assert!(matches!(object.read_at(0, 0, 10), Err(Trouble::Damaged(_))));
    assert!(files.get(b"key").unwrap().is_none());
}

/// A file of another version is a miss and stays, until it is replaced.
#[test]
fn another_version() {
    let folder = testing::folder();
    let files = open(folder.path(), 1024 * KIB);
    let path = path_of(folder.path(), b"key");
    files.put(b"key", b"", &[b"content"]).unwrap();
    let mut file = fs::read(&path).unwrap();
    file[8] = 2;
    fs::write(&path, file).unwrap();
    assert!(files.get(b"key").unwrap().is_none());
    assert!(!files.replace_meta(b"key", b"").unwrap());
    assert!(path.exists());
    files.put(b"key", b"", &[b"content"]).unwrap();
    assert!(files.get(b"key").unwrap().is_some());
}
