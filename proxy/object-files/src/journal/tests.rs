use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::testing::{self, Tmpfs};

type Records = Vec<Vec<u8>>;

fn open(path: &Path) -> (Journal, Records) {
    Journal::open(path).unwrap()
}

fn records(texts: &[&str]) -> Records {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// A journal with some records, and where each of them ends.
fn written(path: &Path) -> (Records, Vec<u64>) {
    let records = records(&["first", "", "the third, which is longer", "4"]);
    let (mut journal, before) = open(path);
    assert!(before.is_empty() && journal.is_empty());
    let ends = records.iter().map(|record| {
        journal.append(record).unwrap();
        journal.len()
    });
    let ends = ends.collect();
    journal.sync().unwrap();
    assert_eq!(fs::metadata(path).unwrap().len(), journal.len());
    (records, ends)
}

/// Opens a journal of which the first so many records are left, and appends to it.
fn assert_left(path: &Path, expected: &[Vec<u8>], context: &str) {
    let size = fs::metadata(path).unwrap().len();
    let (mut journal, left) = open(path);
    assert_eq!(left, expected, "{context}");
    // A beginning that is cut off is written again.
    assert_eq!(journal.len().max(MAGIC.len() as u64), journal.len());
    assert!(journal.cut() == size.saturating_sub(journal.len()) || size < 8, "{context}");
    journal.append(b"after").unwrap();
    let (journal, left) = open(path);
    assert_eq!(left, [expected, &[b"after".to_vec()]].concat(), "{context}");
    assert_eq!(journal.cut(), 0, "{context}");
}

#[test]
fn torn_at_every_byte() {
    let folder = testing::folder();
    let path = folder.path().join("journal");
    let (records, ends) = written(&path);
    let whole = fs::read(&path).unwrap();
    for length in 0..=whole.len() {
        let left = ends.iter().filter(|end| **end <= length as u64).count();
        fs::write(&path, &whole[..length]).unwrap();
        assert_left(&path, &records[..left], &format!("cut to {length}"));
        // The length was written, the bytes were not.
        let zeros = [&whole[..length], &vec![0; whole.len() + 20 - length]].concat();
        fs::write(&path, zeros).unwrap();
        if length >= MAGIC.len() {
            assert_left(&path, &records[..left], &format!("zeros from {length}"));
        }
    }
}

#[test]
fn every_byte_flipped() {
    let folder = testing::folder();
    let path = folder.path().join("journal");
    let (records, ends) = written(&path);
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        for flip in [1, 0x80, 0xff] {
            let mut flipped = whole.clone();
            flipped[at] ^= flip;
            fs::write(&path, &flipped).unwrap();
            if at < MAGIC.len() {
                // Perhaps not ours: it is left alone.
                assert_eq!(Journal::open(&path).err().unwrap().kind(), ErrorKind::InvalidData);
                assert_eq!(fs::read(&path).unwrap(), flipped);
                continue;
            }
            let left = ends.iter().filter(|end| **end <= at as u64).count();
            assert_left(&path, &records[..left], &format!("{at} ^ {flip}"));
        }
    }
}

#[test]
fn rewritten() {
    let folder = testing::folder();
    let path = folder.path().join("journal");
    let (_, ends) = written(&path);
    let (mut journal, _) = open(&path);
    journal.rewrite(&records(&["kept"])).unwrap();
    assert!(journal.len() < ends[3]);
    journal.append(b"new").unwrap();
    assert_eq!(open(&path).1, records(&["kept", "new"]));
    journal.rewrite(&[]).unwrap();
    assert!(journal.is_empty() && open(&path).1.is_empty());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    // A draft that a killed process left is in nobody's way.
    fs::write(folder.path().join("journal.tmp"), [0; 1000]).unwrap();
    journal.rewrite(&records(&["kept"])).unwrap();
    assert_eq!(open(&path).1, records(&["kept"]));
}

#[test]
fn limits() {
    let folder = testing::folder();
    let path = folder.path().join("journal");
    let (mut journal, _) = open(&path);
    let longest = vec![7; MAX_RECORD];
    journal.append(&longest).unwrap();
    let longer = vec![7; MAX_RECORD + 1];
    assert_eq!(journal.append(&longer).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert!(journal.rewrite(&[longer]).is_err());
    assert_eq!(open(&path).1, [longest]);
    assert!(Journal::open(&folder.path().join("not").join("there")).is_err());
}

/// Two processes: each sees what the other has appended, and compaction by one loses nothing of
/// the other's.
#[test]
fn two_at_once() {
    let folder = testing::folder();
    let path = folder.path().join("journal");
    let (mut old, _) = open(&path);
    old.append(b"a").unwrap();
    let (mut new, before) = open(&path);
    assert_eq!(before, records(&["a"]));
    old.append(b"b").unwrap();
    new.append(b"c").unwrap();
    old.append(b"d").unwrap();
    assert_eq!(new.others().unwrap(), records(&["b", "d"]));
    assert_eq!(old.others().unwrap(), records(&["c"]));
    assert!(new.others().unwrap().is_empty() && old.others().unwrap().is_empty());

    // What it has not heard of yet stays behind what it has decided on.
    old.append(b"e").unwrap();
    new.rewrite(&records(&["abcd"])).unwrap();
    assert_eq!(open(&path).1, records(&["abcd", "e"]));
    assert_eq!(new.others().unwrap(), records(&["e"]));
    // The other finds the new file.
    old.append(b"f").unwrap();
    old.sync().unwrap();
    assert_eq!(open(&path).1, records(&["abcd", "e", "f"]));
    assert_eq!(new.others().unwrap(), records(&["f"]));
    assert_eq!(old.others().unwrap(), records(&["abcd", "e"]));
}

/// A process is killed half-way through a record while another has the journal open.
#[test]
fn torn_by_another() {
    let folder = testing::folder();
    let path = folder.path().join("journal");
    let (mut journal, _) = open(&path);
    journal.append(b"a").unwrap();
    let framed = frame(b"whole").unwrap();
    let torn = [&framed[..], &frame(b"torn").unwrap()[..9]].concat();
    File::options().append(true).open(&path).unwrap().write_all(&torn).unwrap();
    journal.append(b"b").unwrap();
    assert_eq!(open(&path).1, records(&["a", "whole", "b"]));
    assert_eq!(journal.cut(), 9);
    // Someone has removed it, or emptied it.
    fs::remove_file(&path).unwrap();
    journal.append(b"c").unwrap();
    assert_eq!(open(&path).1, records(&["c"]));
    fs::write(&path, "").unwrap();
    journal.append(b"d").unwrap();
    assert_eq!(open(&path).1, records(&["d"]));
}

#[test]
fn crowd() {
    let folder = testing::folder();
    let path = folder.path().join("journal");
    thread::scope(|scope| {
        for writer in 0..4u8 {
            let path = &path;
            scope.spawn(move || {
                let (mut journal, _) = open(path);
                for number in 0..200u8 {
                    journal.append(&[writer, number]).unwrap();
                    if number % 50 == 49 {
                        // What the others have appended stays.
                        let (_, all) = open(path);
                        let others = all.into_iter().filter(|record| record[0] != writer);
                        let own = (0..=number).map(|number| vec![writer, number]);
                        let known: Records = own.chain(others).collect();
                        journal.rewrite(&known).unwrap();
                    }
                }
            });
        }
    });
    let (journal, records) = open(&path);
    assert_eq!(journal.cut(), 0);
    for record in (0..4u8).flat_map(|writer| (0..200u8).map(move |number| vec![writer, number])) {
        assert!(records.contains(&record), "{record:?}");
    }
}

/// A record that does not fit is not there, and those after it are.
#[test]
fn full() {
    let Some(tmpfs) = Tmpfs::mount("size=64k") else { return };
    let path = tmpfs.path().join("journal");
    let (mut journal, _) = open(&path);
    let mut expected = Vec::new();
    for number in 0..30u8 {
        match journal.append(&[number; 10_000]) {
            Ok(()) => expected.push(vec![number; 10_000]),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::StorageFull);
                journal.append(&[number]).unwrap();
                expected.push(vec![number]);
            }
        }
    }
    assert!(journal.rewrite(&expected).is_err());
    journal.sync().unwrap();
    assert_eq!(open(&path).1, expected);
    let kept = records(&["kept"]);
    journal.rewrite(&kept).unwrap();
    assert_eq!(open(&path).1, kept);
    drop(journal);
    tmpfs.remount("ro");
    assert!(Journal::open(&path).is_err());
    tmpfs.remount("rw");
}

const KILLED: &str = "OBJECT_FILES_JOURNAL";

#[test]
#[ignore = "the process that is killed by the other test"]
fn child() {
    let Some(path) = std::env::var_os(KILLED) else { return };
    let (mut journal, mut all) = open(Path::new(&path));
    for number in all.len() as u64.. {
        let record =
            [&number.to_le_bytes()[..], &vec![b'x'; (number % 50 * 100) as usize]].concat();
        journal.append(&record).unwrap();
        journal.sync().unwrap();
        println!("durable {number}");
        all.push(record);
        if number % 20 == 0 {
            journal.rewrite(&all).unwrap();
        }
    }
}

/// What was acknowledged before the kill is there after it.
#[test]
fn acknowledged() {
    let folder = testing::folder();
    let path = folder.path().join("journal");
    for round in 0..10 {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--ignored", "--exact", "--nocapture", "journal::tests::child"]);
        let mut child = child.env(KILLED, &path).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        assert!(said.any(|line| line.starts_with("durable ")));
        thread::sleep(Duration::from_millis(round * 7));
        assert!(child.try_wait().unwrap().is_none(), "it should go on until it is killed");
        child.kill().unwrap();
        child.wait().unwrap();
        let acknowledged =
            said.filter_map(|line| line.strip_prefix("durable ")?.parse().ok()).last();
        let (_, records) = open(&path);
        for (number, record) in (0u64..).zip(&records) {
            assert_eq!(*record.first_chunk().unwrap(), number.to_le_bytes());
        }
        assert!(acknowledged.is_none_or(|last: usize| records.len() > last));
    }
    assert!(open(&path).1.len() > 10);
}

proptest! {
    // Each flushes a few times.
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn round_trip(
        first in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..20),
        second in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..20),
    ) {
        let folder = testing::folder();
        let path = folder.path().join("journal");
        let (mut journal, _) = open(&path);
        first.iter().for_each(|record| journal.append(record).unwrap());
        let (mut journal, read) = open(&path);
        prop_assert_eq!(&read, &first);
        journal.rewrite(&second).unwrap();
        first.iter().for_each(|record| journal.append(record).unwrap());
        prop_assert_eq!(open(&path).1, [second, first].concat());
    }

    /// Whatever the bytes, opening ends well and leaves a journal.
    #[test]
    fn any_bytes(tail in prop::collection::vec(any::<u8>(), 0..100)) {
        let folder = testing::folder();
        let path = folder.path().join("journal");
        fs::write(&path, [&MAGIC[..], &tail].concat()).unwrap();
        let (journal, records) = open(&path);
        prop_assert_eq!(journal.len() + journal.cut(), (MAGIC.len() + tail.len()) as u64);
        prop_assert_eq!(open(&path).1, records);
    }
}
