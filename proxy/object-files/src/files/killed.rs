//! What a process leaves behind that is killed while it writes.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, SystemTime};

use crate::Files;
use crate::testing::{self, KIB, all, bytes, open, read, taken};

const FOLDER: &str = "OBJECT_FILES_KILLED";
const CAPACITY: u64 = 4096 * KIB;
const KEYS: u64 = 24;

/// A meta and a content that tell the key and the seed, so that a mixture is found out.
fn object(key: u64, seed: u64) -> (Vec<u8>, Vec<u8>) {
    let size = [300, 5_000, 70_000, 400_000][(key % 4) as usize] + (seed % 977) as usize;
    let seed_bytes = seed.to_le_bytes();
    let content = [&seed_bytes[..], &bytes(key << 32 ^ seed, size)].concat();
    ([key.to_le_bytes(), seed_bytes].concat(), content)
}

/// Whether the object is there. A meta that was replaced tells the key alone.
fn assert_whole(files: &Files, key: u64) -> bool {
    let Some((meta, sections)) = read(files, &key.to_le_bytes()).unwrap() else { return false };
    let (seed, _) = sections[0].split_first_chunk().unwrap();
    let (whole_meta, content) = object(key, u64::from_le_bytes(*seed));
    assert!(meta == whole_meta || meta == key.to_le_bytes());
    assert_eq!(sections[0], content);
    true
}

/// Writes and replaces objects until it is killed. Does nothing unless it is told where.
#[test]
#[ignore = "the process that is killed by the other test"]
fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let files = open(folder.as_ref(), CAPACITY);
    thread::scope(|scope| {
        scope.spawn(|| files.scan().unwrap());
        for thread in 0..2 {
            let files = &files;
            scope.spawn(move || {
                let mut random = u64::from(std::process::id()) << 8 | thread;
                loop {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    step(files, random >> 33);
                }
            });
        }
    });
}

fn step(files: &Files, random: u64) {
    let (key, seed) = (random % KEYS, random % 10_007);
    let (meta, content) = object(key, seed);
    let name = key.to_le_bytes();
    match random / KEYS % 8 {
        0..3 => files.put(&name, &meta, &[&content, b"another form"]).unwrap(),
        3..5 => {
            let mut writer = files.create().unwrap();
            content.chunks(10_000).for_each(|piece| writer.append(piece).unwrap());
            writer.finish(&name, &meta).unwrap();
        }
        5..7 => drop(files.replace_meta(&name, &name).unwrap()),
        _ => drop(files.remove(&name)),
    }
}

#[test]
fn whole_or_absent() {
    let folder = testing::folder();
    let path = folder.path();
    let start = || -> Child {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--ignored", "--exact", "files::killed::child"]).env(FOLDER, path);
        child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let files = open(path, CAPACITY);
    let mut whole = 0;
    let mut leftovers = 0;
    for round in 0..20u64 {
        // Two at once, as during an upgrade.
        let tmp = || fs::metadata(path.join("tmp")).unwrap().modified().unwrap();
        let before = tmp();
        let mut children = [start(), start()];
        // However long it takes them to begin.
        (0..3000)
            .take_while(|_| tmp() == before)
            .for_each(|_| thread::sleep(Duration::from_millis(10)));
        thread::sleep(Duration::from_millis(round * 37 % 80));
        for child in &mut children {
            assert!(child.try_wait().unwrap().is_none(), "it should go on until it is killed");
            child.kill().unwrap();
            child.wait().unwrap();
        }
        whole += (0..KEYS).filter(|key| assert_whole(&files, *key)).count();
        leftovers = fs::read_dir(path.join("tmp")).unwrap().count();
    }
    assert!(whole > 20 * KEYS as usize / 4, "only {whole} objects were found");
    assert!(leftovers > 0, "no write was interrupted");
    assert_eq!(files.stats().damaged, 0);

    let old = SystemTime::now() - Duration::from_secs(3600);
    for path in all(path) {
        File::open(path).unwrap().set_modified(old).unwrap();
    }
    let (objects, bytes) = open(path, CAPACITY).scan().unwrap();
    assert!(objects <= KEYS);
    assert_eq!(bytes, taken(path));
}
