//! Prints what limiting and observing cost a request, all threads counted:
//! `cargo run --release -p dhal --example observe_cost [-- PART...]`, parts being `check`, `put` and `finish`.
//!
//! `check` and `put` are loops without a pause: wall-clock nanoseconds a call, per thread. `finish` hands over a
//! hundred requests a millisecond, as a busy thread of the edge does, so that the log's thread keeps up: processor
//! time of the whole process a request, less that of the same loop which finishes nothing.

use std::{
    error::Error,
    hint::black_box,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    sync::Barrier,
    thread,
    time::{Duration, Instant, SystemTime},
};

use bytes::BytesMut;
use dhal::{
    admit::{
        key::{Asked, Params},
        rate::{Checked, RateLimit},
        state::LimitState,
    },
    cache::status::Outcome,
    config::{self, Surroundings},
    edge::decide::Now,
    observe::{Protocol, Record, access_log::AccessLog},
    respond::fields::put_request_fields,
    shared::Shared,
    snapshot::Snapshot,
};
use http::{HeaderMap, HeaderValue, Method};
use nix::sys::resource::{UsageWho, getrusage};

const CALLS: u32 = 2_000_000;
/// Requests of a `finish` part, and how many come at once.
const REQUESTS: u32 = 100_000;
const BURST: u32 = 100;
const PAUSE: Duration = Duration::from_millis(1);
/// What a browser says of itself.
const BROWSER: &str = "Mozilla/5.0 (Linux; Android 14; SM-A155F) AppleWebKit/537.36 (KHTML, like Gecko) \
    Chrome/131.0.0.0 Mobile Safari/537.36";

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let parts: Vec<String> = std::env::args().skip(1).collect();
    let wants = |part: &str| parts.is_empty() || parts.iter().any(|p| p == part);
    let folder = std::env::temp_dir().join(format!("dhal-observe-cost-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let loaded = parse(&folder)?;
    let (shared, _) = Shared::new(&loaded.cache, 100);
    let snapshot = Snapshot::build(loaded.clone(), 1, &shared)?;
    let limit = &snapshot.limits[0];
    if wants("check") {
        check(limit);
    }
    if wants("put") {
        put(limit)?;
    }
    if wants("finish") {
        finish(&shared, &snapshot, &folder, &loaded)?;
    }
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

fn parse(folder: &Path) -> Result<config::model::Config> {
    let text = "[[listeners]]\naddress = \"127.0.0.1:8080\"\n\
        [upstreams.shop]\nservers = [\"127.0.0.1:3000\"]\n\
        [limits.browse]\nrate = \"1000000/s\"\nburst = 1000000\n\
        [access_log]\npath = \"access.log\"\n\
        [[routes]]\nname = \"pages\"\nupstream = \"shop\"\ncache = \"default\"\nlimits = [\"browse\"]\n";
    let surroundings = Surroundings {
        folder,
        env: &|_| None,
    };
    Ok(config::parse("cost", text, &surroundings)?.config)
}

fn check(limit: &RateLimit) {
    let one = |_| [Ipv4Addr::new(192, 0, 2, 1)].to_vec();
    let own = |thread: u8| [Ipv4Addr::new(192, 0, 2, thread)].to_vec();
    let many = |thread: u8| {
        (0..10_000u32)
            .map(|n| Ipv4Addr::from(0x0a00_0000 + u32::from(thread) * 0x1_0000 + n))
            .collect()
    };
    type Clients<'a> = (&'a str, &'a (dyn Fn(u8) -> Vec<Ipv4Addr> + Sync));
    let rows: [Clients<'_>; 3] = [
        ("one client", &one),
        ("a client a thread", &own),
        ("10,000 clients a thread", &many),
    ];
    for (what, clients) in rows {
        for threads in [1, 2] {
            let each = together(threads, |thread| {
                let clients = clients(thread);
                let begin = Instant::now();
                for n in 0..CALLS {
                    let client = clients[n as usize % clients.len()];
                    let now = Duration::from_secs(10) + Duration::from_micros(u64::from(n) * 8);
                    let _ = black_box(check_one(limit, client, now));
                }
                begin.elapsed() / CALLS
            });
            println!("check, {what}, {threads} threads: {each:?}");
        }
    }
}

fn put(limit: &RateLimit) -> Result<()> {
    let state = passed(limit)?;
    let mut out = BytesMut::with_capacity(1024);
    let begin = Instant::now();
    for _ in 0..CALLS {
        out.clear();
        put_request_fields(
            &mut out,
            b"0123456789abcdef0123456789abcdef",
            Some(black_box(&state)),
        );
        black_box(&out);
    }
    println!("put, with a limit: {:?}", begin.elapsed() / CALLS);
    Ok(())
}

fn passed(limit: &RateLimit) -> Result<LimitState> {
    let client = Ipv4Addr::new(198, 51, 100, 1);
    let checked = check_one(limit, client, Duration::from_secs(1));
    Ok(checked.ok_or("exempt")?.state)
}

fn check_one(limit: &RateLimit, client: Ipv4Addr, now: Duration) -> Option<Checked> {
    let asked = Asked {
        client: IpAddr::V4(client),
        host: "shop.example",
        path: "/",
        params: &Params::default(),
        fields: &HeaderMap::new(),
    };
    limit.check(&asked, now)
}

fn finish(
    shared: &Shared,
    snapshot: &Snapshot,
    folder: &Path,
    config: &config::model::Config,
) -> Result<()> {
    let limit = passed(&snapshot.limits[0])?;
    let mut fields = HeaderMap::new();
    fields.insert("host", HeaderValue::from_static("shop.example"));
    fields.insert("user-agent", HeaderValue::from_static(BROWSER));
    let route = snapshot
        .router
        .find("shop.example", "/products/17")
        .ok_or("no route")?;
    let tell = || {
        shared.finish(&Record {
            began: Now {
                wall: SystemTime::now(),
                tick: Duration::from_secs(1),
            },
            duration: Duration::from_micros(37),
            client: IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)),
            protocol: Protocol::Http11,
            method: &Method::GET,
            host: "shop.example",
            target: "/products/17?from=category",
            status: 200,
            bytes: 1024,
            route: Some(route),
            outcome: Outcome::Hit,
            upstream: None,
            upstream_time: None,
            attempts: 0,
            retried: None,
            request_id: "0123456789abcdef0123456789abcdef",
            limit: Some(&limit),
            room: None,
            reason: None,
            fields: Some(&fields),
            client_cert: None,
        });
    };
    for threads in [1, 2] {
        for log in [false, true] {
            shared.access_log.store(match &config.access_log {
                Some(config) if log => Some(AccessLog::open(config, 2)?.into()),
                _ => None,
            });
            // Buffers and counters exist from here on.
            paced(threads, tell);
            let nothing = paced(threads, || {
                black_box(SystemTime::now());
            });
            let each =
                paced(threads, tell).saturating_sub(nothing) / (REQUESTS * u32::from(threads));
            println!("finish, log {log}, {threads} threads: {each:?}");
        }
    }
    if let Some(log) = shared.access_log.swap(None) {
        println!("lines dropped: {}", log.dropped());
    }
    println!(
        "bytes logged: {}",
        folder.join("access.log").metadata()?.len()
    );
    Ok(())
}

/// Processor time of the process while each thread hands over its requests.
fn paced(threads: u8, hand_over: impl Fn() + Sync) -> Duration {
    let begin = cpu();
    together(threads, |_| {
        for _ in 0..REQUESTS / BURST {
            for _ in 0..BURST {
                hand_over();
            }
            thread::sleep(PAUSE);
        }
        Duration::ZERO
    });
    // What waits for the log's thread is part of it.
    thread::sleep(Duration::from_millis(200));
    cpu().saturating_sub(begin)
}

fn cpu() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else {
        return Duration::ZERO;
    };
    let micros = |time: nix::sys::time::TimeVal| {
        Duration::from_micros((time.tv_sec() * 1_000_000 + time.tv_usec()).unsigned_abs())
    };
    micros(usage.user_time()) + micros(usage.system_time())
}

/// Runs threads at the same time; the slowest counts.
fn together(threads: u8, work: impl Fn(u8) -> Duration + Sync) -> Duration {
    let start = Barrier::new(usize::from(threads));
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|thread| {
                let (start, work) = (&start, &work);
                scope.spawn(move || {
                    start.wait();
                    work(thread)
                })
            })
            .collect();
        running
            .into_iter()
            .filter_map(|thread| thread.join().ok())
            .max()
            .unwrap_or_default()
    })
}
