//! Prints what a look-up costs with one thread and with several, all asking for one object or each for any of
//! a million: `cargo run --release -p object-table --example scaling [THREADS]`. Moka is the table that was
//! here before.

use std::{
    hint::black_box,
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use moka::{policy::EvictionPolicy, sync::Cache};
use object_table::{Change, Object, Table};

const MANY: u64 = 1_000_000;
const BYTES: usize = 1024;
/// Short and many: on a busy machine a few of them are undisturbed.
const ROUNDS: usize = 150;
const ROUND: Duration = Duration::from_millis(10);

/// A number as a hash would be.
fn number(n: u64) -> u64 {
    let n = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (n ^ (n >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

/// Nanoseconds of a look-up, of each of so many threads; the best of the rounds.
fn measure(threads: usize, among: u64, look_up: impl Fn(u64) + Sync) -> f64 {
    let round = || {
        let (begin, is_over) = (Barrier::new(threads + 1), AtomicBool::new(false));
        thread::scope(|scope| {
            let readers: Vec<_> = (0..threads as u64)
                .map(|seed| {
                    let (begin, is_over, look_up) = (&begin, &is_over, &look_up);
                    scope.spawn(move || {
                        let mut at = number(seed + 77);
                        begin.wait();
                        let (began, mut done) = (Instant::now(), 0_u32);
                        while !is_over.load(Ordering::Relaxed) {
                            for _ in 0..64 {
                                at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                                look_up(number((at >> 33) % among));
                            }
                            done += 64;
                        }
                        began.elapsed().as_nanos() as f64 / f64::from(done)
                    })
                })
                .collect();
            begin.wait();
            thread::sleep(ROUND);
            is_over.store(true, Ordering::Relaxed);
            let each = readers.into_iter().map(|reader| reader.join().unwrap_or(f64::NAN));
            each.sum::<f64>() / threads as f64
        })
    };
    (0..ROUNDS).map(|_| round()).fold(f64::INFINITY, f64::min)
}

fn main() {
    let most = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(2);
    let table = Table::new(8 << 30);
    let cache = Cache::builder()
        .max_capacity(8 << 30)
        .weigher(|_: &u64, object: &Arc<[u8]>| object.len() as u32)
        .eviction_policy(EvictionPolicy::lru())
        .build();
    for n in 0..MANY {
        let bytes = [n as u8; BYTES];
        let object = Object::new(BYTES as u64, (), &bytes);
        table.update(number(n), |_| Change::Put(object));
        cache.insert(number(n), Arc::from(&bytes[..]));
    }
    cache.run_pending_tasks();
    println!("| look-ups | threads | this table, ns | moka, ns |");
    println!("|---|---|---|---|");
    for (what, among) in [("of one object", 1), ("among 1,000", 1_000), ("among 1,000,000", MANY)] {
        let mut threads = 1;
        while threads <= most {
            let ours = measure(threads, among, |number| {
                black_box(table.get(number).map(|object| object.bytes()[0]));
            });
            let theirs = measure(threads, among, |number| {
                black_box(cache.get(&number).map(|object| object[0]));
            });
            println!("| {what} | {threads} | {ours:.0} | {theirs:.0} |");
            threads *= 2;
        }
    }
}
