//! Prints what a million keys of a limit and a million entries of an address list take.
//! `cargo run --release -p dhal-micro --example limits`

use std::{
    error::Error,
    fs,
    hint::black_box,
    net::IpAddr,
    path::Path,
    time::{Duration, Instant},
};

use dhal::{
    admit::key::{Asked, Params},
    config,
    shared::Shared,
    snapshot::Snapshot,
};
use dhal_micro::MillionNetworks;
use http::{HeaderMap, HeaderValue};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const KEYS: u32 = 1_000_000;
const LOOK_UPS: u64 = 4_000_000;

const CONFIG: &str = r#"
    [[listeners]]
    address = "127.0.0.1:0"
    [upstreams.shop]
    servers = ["127.0.0.1:1"]
    [limits.addresses]
    rate = "5/s"
    max_keys = 1000000
    [limits.sessions]
    key = ["client-ip", "cookie:session"]
    rate = "5/s"
    max_keys = 1000000
    [[routes]]
    upstream = "shop"
    limits = ["addresses", "sessions"]
"#;

fn main() -> Result<(), Box<dyn Error>> {
    let surroundings = config::Surroundings {
        folder: Path::new(""),
        env: &|_| None,
    };
    let config = config::parse("limits", CONFIG, &surroundings)?.config;
    let (shared, _) = Shared::new(&config.cache, 1);
    let snapshot = Snapshot::build(config, 1, &shared)?;
    let mut fields = HeaderMap::new();
    for limit in &snapshot.limits {
        let before = resident()?;
        let begin = Instant::now();
        for n in 0..2 * KEYS {
            let value = HeaderValue::from_str(&format!("session=s{n}"))?;
            fields.insert("cookie", value);
            let asked = Asked {
                client: IpAddr::from((0x0a00_0000 + n).to_be_bytes()),
                host: "shop.example",
                path: "/",
                params: &Params::default(),
                fields: &fields,
            };
            black_box(limit.check(&asked, Duration::from_secs(1)));
        }
        let each = begin.elapsed() / (2 * KEYS);
        let (keys, grown) = (limit.tracked(), resident()?.saturating_sub(before));
        println!(
            "{}: {keys} keys of {} that came: {} bytes of memory by its own count, {grown} by the system's, \
             {:.1} a key; {each:?} a request, the making of its cookie included",
            limit.name,
            2 * KEYS,
            limit.bytes(),
            grown as f64 / keys as f64,
        );
    }
    let begin = Instant::now();
    let list = MillionNetworks::default();
    let (ranges, bytes) = list.size();
    println!(
        "{ranges} ranges of addresses in {bytes} bytes, made in {:?}",
        begin.elapsed()
    );
    for is_v6 in [false, true] {
        let begin = Instant::now();
        let found = (0..LOOK_UPS)
            .filter(|n| black_box(list.look_up(*n, is_v6)))
            .count();
        let each = begin.elapsed() / LOOK_UPS as u32;
        println!(
            "IPv{}: {each:?} a look-up, {found} found",
            if is_v6 { 6 } else { 4 }
        );
    }
    Ok(())
}

/// Bytes of memory that the process holds, by the system's count.
fn resident() -> Result<u64, Box<dyn Error>> {
    let text = fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB"));
    Ok(kib.ok_or("no VmRSS")?.trim().parse::<u64>()? * 1024)
}
