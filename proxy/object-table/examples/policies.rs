//! Prints what share of requests and of bytes each policy answers from its store, on traces of which each
//! stands for a day in a shop: `cargo run --release -p object-table --example policies`.
//!
//! Every trace is made from a fixed seed. A policy has a part of the bytes of all pages; objects weigh between
//! 1 and 256 KiB, most of them little. The first fifth of the requests only fills the store.

use moka::{policy::EvictionPolicy, sync::Cache};
use object_table::{Change, Object, Table};

const PAGES: usize = 100_000;
const REQUESTS: usize = 1_000_000;

/// xorshift64*: good enough for a trace, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// In `0.0..1.0`.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// A page's number, as a hash would be.
fn number(page: u64) -> u64 {
    Random(page.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1).next()
}

/// Bytes of a page: 1 KiB times a power of two, each half as frequent as the one before.
fn weight(page: u64) -> u32 {
    1024 << (number(page ^ 0x5555).leading_zeros()).min(8)
}

/// Ranks by Zipf's law.
struct Zipf(Vec<f64>);

impl Zipf {
    fn new(exponent: f64) -> Self {
        let mut sum = 0.0;
        let sums = (1..=PAGES).map(|rank| {
            sum += (rank as f64).powf(-exponent);
            sum
        });
        Self(sums.collect())
    }

    fn draw(&self, random: &mut Random) -> u64 {
        let at = random.share() * self.0[PAGES - 1];
        self.0.partition_point(|sum| *sum < at) as u64
    }
}

/// Pages in the order in which they are asked for.
fn traces() -> Vec<(&'static str, Vec<u64>)> {
    let zipf = |exponent: f64| {
        let (ranks, mut random) = (Zipf::new(exponent), Random(1));
        (0..REQUESTS).map(move |_| ranks.draw(&mut random))
    };
    let crawled = {
        // Every third request is a crawler's, which never asks twice.
        let crawler = (0..REQUESTS as u64).map(|n| (1 << 32) + n);
        zipf(1.0)
            .zip(crawler)
            .enumerate()
            .map(|(at, (page, new))| if at % 3 == 0 { new } else { page })
    };
    let loops = {
        // A crawler that goes through the same 50,000 pages again and again.
        let crawler = (0..REQUESTS as u64).map(|n| (1 << 32) + n % 50_000);
        zipf(1.0)
            .zip(crawler)
            .enumerate()
            .map(|(at, (page, again))| if at % 3 == 0 { again } else { page })
    };
    let shifting = {
        // Each twentieth of the day other pages are the popular ones.
        let shift = |at: usize| (at / (REQUESTS / 20)) as u64 * 4_999;
        zipf(1.0).enumerate().map(move |(at, page)| (page + shift(at)) % PAGES as u64)
    };
    vec![
        ("Zipf 0.8", zipf(0.8).collect()),
        ("Zipf 1.0", zipf(1.0).collect()),
        ("Zipf 1.2", zipf(1.2).collect()),
        ("Zipf 1.0, a third a scan", crawled.collect()),
        ("Zipf 1.0, a third a loop", loops.collect()),
        ("Zipf 1.0, shifting", shifting.collect()),
    ]
}

/// Share of requests and of bytes that are hits; `ask` says whether a page was stored, and stores it.
fn shares(trace: &[u64], mut ask: impl FnMut(u64) -> bool) -> (f64, f64) {
    let (filling, counted) = trace.split_at(trace.len() / 5);
    for page in filling {
        ask(*page);
    }
    let (mut hits, mut bytes, mut all) = (0_u64, 0_u64, 0_u64);
    for page in counted {
        let weight = u64::from(weight(*page));
        all += weight;
        if ask(*page) {
            hits += 1;
            bytes += weight;
        }
    }
    (hits as f64 / counted.len() as f64, bytes as f64 / all as f64)
}

fn table(trace: &[u64], capacity: u64) -> (f64, f64) {
    let table = Table::new(capacity);
    shares(trace, |page| {
        let number = number(page);
        let is_hit = table.get(number).is_some();
        if !is_hit {
            let object = Object::new(u64::from(weight(page)), (), b"");
            table.update(number, |_| Change::Put(object));
        }
        assert!(table.weight() <= capacity);
        is_hit
    })
}

fn moka(trace: &[u64], capacity: u64, policy: EvictionPolicy) -> (f64, f64) {
    let cache = Cache::builder()
        .max_capacity(capacity)
        .weigher(|_: &u64, weight: &u32| *weight)
        .eviction_policy(policy)
        .build();
    let mut asked = 0;
    shares(trace, |page| {
        let is_hit = cache.get(&page).is_some();
        if !is_hit {
            cache.insert(page, weight(page));
        }
        asked += 1;
        // Its books lag behind by design; here they are to be as good as they get.
        if !is_hit || asked % 32 == 0 {
            cache.run_pending_tasks();
        }
        is_hit
    })
}

fn main() {
    let all: u64 = (0..PAGES as u64).map(|page| u64::from(weight(page))).sum();
    println!("| trace | room | S3-FIFO | W-TinyLFU (moka) | LRU (moka) |");
    println!("|---|---|---|---|---|");
    for (name, trace) in traces() {
        for part in [100, 20, 5] {
            let capacity = all / part;
            let results = [
                table(&trace, capacity),
                moka(&trace, capacity, EvictionPolicy::tiny_lfu()),
                moka(&trace, capacity, EvictionPolicy::lru()),
            ];
            let shown =
                results.map(|(hits, bytes)| format!("{:.1} / {:.1}", 100.0 * hits, 100.0 * bytes));
            println!("| {name} | {} % | {} |", 100 / part, shown.join(" | "));
        }
    }
}
