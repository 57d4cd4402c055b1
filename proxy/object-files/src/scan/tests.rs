use std::fs::{self, File};
use std::thread;
use std::time::{Duration, SystemTime};

use crate::folder::id;
use crate::testing::{self, KIB, all, bytes, open, path_of, read, taken};

const MINUTE: Duration = Duration::from_secs(60);

/// The order of use survives, as the marks on the files tell it, and so does what was used before the
/// scan got there.
#[test]
fn order_of_use() {
    let folder = testing::folder();
    let keys: Vec<[u8; 1]> = (b'a'..=b'j').map(|key| [key]).collect();
    let files = open(folder.path(), 1024 * KIB);
    for (age, key) in (1..).zip(keys.iter().rev()) {
        files.put(key, b"", &[]).unwrap();
        let file = File::open(path_of(folder.path(), key)).unwrap();
        file.set_modified(SystemTime::now() - age * 20 * MINUTE).unwrap();
    }
    // Renewed by the first process.
    files.get(b"a").unwrap().unwrap();
    drop(files);

    let files = open(folder.path(), 24 * KIB);
    files.get(b"c").unwrap().unwrap();
    files.put(b"k", b"", &[]).unwrap();
    assert_eq!(files.scan().unwrap(), (6, 24 * KIB));
    assert_eq!(files.stats().evicted, 5);
    let mut order = Vec::new();
    while let Some((id, _)) = files.folder().index().pop_oldest() {
        order.push(id);
    }
    assert_eq!(order, [b"h", b"i", b"j", b"a", b"c", b"k"].map(|key| id(key)));
}

/// Interrupted writes and what cannot be an object go; what someone else put there stays.
#[test]
fn leftovers() {
    let folder = testing::folder();
    let path = folder.path();
    let files = open(path, 1024 * KIB);
    files.put(b"key", b"", &[]).unwrap();
    let hex = "00112233445566778899aabbccddeeff";
    let old = SystemTime::now() - 2 * MINUTE;
    let mut writer = files.create().unwrap();
    writer.append(b"content").unwrap();
    let own = all(&path.join("..").join(path.file_name().unwrap()))
        .into_iter()
        .find(|path| path.parent().unwrap().ends_with("tmp"))
        .unwrap();
    File::open(own).unwrap().set_modified(old).unwrap();
    fs::create_dir(path.join("other")).unwrap();
    fs::create_dir(path.join("00").join(hex.replace('f', "0"))).unwrap();
    for (name, content, age, stays) in [
        ("tmp/1-2-3", &b"begun"[..], 2, false),
        ("tmp/1-2-4", b"begun", 0, true),
        (&format!("00/{hex}"), b"short", 0, false),
        (&format!("00/{}", hex.to_uppercase()), b"short", 2, true),
        (&format!("00/{}", &hex[1..]), b"short", 2, true),
        (&format!("01/{hex}"), b"short", 2, true),
        ("00/notes.txt", b"short", 2, true),
        ("other/00112233445566778899aabbccddeeff", b"short", 2, true),
    ] {
        let file = path.join(name);
        fs::write(&file, content).unwrap();
        File::open(&file).unwrap().set_modified(SystemTime::now() - age * MINUTE).unwrap();
        assert_eq!(files.scan().unwrap().0, 1, "{name}");
        assert_eq!(file.exists(), stays, "{name}");
    }
    // Its own writer rests, but goes on.
    writer.append(b" and more").unwrap();
    writer.finish(b"another", b"").unwrap();
    assert!(files.get(b"another").unwrap().is_some());
}

/// Look-ups and writes go on while it scans, and nothing is counted twice.
#[test]
fn meanwhile() {
    let folder = testing::folder();
    let capacity = 4096 * KIB;
    let files = open(folder.path(), capacity);
    let key = |number: u32| number.to_le_bytes();
    (0..800).for_each(|number| files.put(&key(number), b"", &[&bytes(1, 100)]).unwrap());
    let files = open(folder.path(), capacity);
    thread::scope(|scope| {
        scope.spawn(|| files.scan().unwrap());
        for number in 0..800 {
            match number % 4 {
                0 => assert!(read(&files, &key(number)).unwrap().is_some()),
                1 => files.put(&key(number), b"", &[&bytes(2, 6000)]).unwrap(),
                2 => drop(files.remove(&key(number))),
                _ => assert!(files.may_hold(&key(number))),
            }
        }
    });
    // What was removed while it was being looked at is still in the index: a look-up tells.
    (0..800).for_each(|number| drop(files.get(&key(number)).unwrap()));
    let stats = files.stats();
    assert_eq!((stats.objects, stats.bytes), (600, taken(folder.path())));
}
