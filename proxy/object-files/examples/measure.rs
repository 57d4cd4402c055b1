//! Prints what look-ups, writes and a restart cost on this machine:
//! `cargo run --release -p object-files --example measure -- FOLDER [OBJECTS]`.
//!
//! The folder is left as it is. Dropping the page cache between two runs with the same number shows a
//! restart of the machine instead of one of the process.

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use object_files::{Files, Options};

const SIZE: usize = 1024;
const META: &[u8] = &[b'm'; 300];
const LOOK_UPS: u64 = 200_000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = PathBuf::from(arguments.next().ok_or("which folder?")?);
    let objects = arguments.next().map_or(Ok(100_000), |number| number.parse::<u64>())?;

    let begin = Instant::now();
    let open =
        || Files::open(Options { path: path.clone(), capacity: 1 << 40, max_object: 1 << 30 });
    let files = open()?;
    println!("open: {:?}", begin.elapsed());
    let begin = Instant::now();
    let (found, bytes) = files.scan()?;
    println!("scan of {found} objects, {} MiB: {:?}", bytes >> 20, begin.elapsed());

    let body = vec![b'x'; SIZE];
    if found < objects {
        let begin = Instant::now();
        for number in 0..objects {
            files.put(&key(number), META, &[&body])?;
        }
        println!("put of {SIZE} bytes: {:?}", each(begin, objects));
        let begin = Instant::now();
        let (found, bytes) = open()?.scan()?;
        println!("open and scan of {found} objects, {} MiB: {:?}", bytes >> 20, begin.elapsed());
    }

    let begin = Instant::now();
    let mut read = 0;
    for number in 0..LOOK_UPS {
        // Not in the order in which they were written.
        let object = files.get(&key(number * 7919 % objects))?.ok_or("gone")?;
        read += object.read_at(0, 0, SIZE)?.len();
    }
    println!("get of {SIZE} bytes: {:?} ({} MiB read)", each(begin, LOOK_UPS), read >> 20);
    let begin = Instant::now();
    for number in 0..LOOK_UPS {
        files.get(&key(number % 100))?.ok_or("gone")?.read_at(0, 0, SIZE)?;
    }
    println!("get of {SIZE} bytes, the same hundred: {:?}", each(begin, LOOK_UPS));
    let begin = Instant::now();
    let held = (0..LOOK_UPS).filter(|number| files.may_hold(&key(objects + number))).count();
    println!("may_hold: {:?} ({held} held)", each(begin, LOOK_UPS));
    let begin = Instant::now();
    let mut seen = 0;
    files.sweep(&mut |_, _| {
        seen += 1;
        true
    })?;
    println!("sweep: {:?} for each of {seen}", each(begin, seen));

    let big = vec![b'y'; 16 << 20];
    let begin = Instant::now();
    files.put(b"big", META, &[&big])?;
    println!("put of 16 MiB: {:?}", begin.elapsed());
    let object = files.get(b"big")?.ok_or("gone")?;
    let begin = Instant::now();
    for offset in (0..big.len()).step_by(object_files::BLOCK) {
        object.read_at(0, offset as u64, object_files::BLOCK)?;
    }
    println!("read of 16 MiB in blocks: {:?}", begin.elapsed());
    let begin = Instant::now();
    files.replace_meta(b"big", b"another")?;
    println!("replace_meta of 16 MiB: {:?}", begin.elapsed());
    files.remove(b"big");
    Ok(())
}

fn key(number: u64) -> Vec<u8> {
    format!("https://shop.example/products/{number}").into_bytes()
}

fn each(begin: Instant, times: u64) -> Duration {
    begin.elapsed() / times.max(1) as u32
}
