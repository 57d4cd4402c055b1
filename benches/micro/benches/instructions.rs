//! Instructions of each step of a hit, counted by callgrind. `make bench-micro` compares them with the last ones.

#![allow(
    missing_docs,
    unused_qualifications,
    reason = "gungraun's macros write public functions and whole paths"
)]

use std::hint::black_box;

use bytes::BytesMut;
use dhal::edge::Hit;
use dhal_micro::{Http2, World, browser_head, parse, parsed, patch, short_head};
use gungraun::{library_benchmark, library_benchmark_group, main};
use http1_wire::request::Head;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Runs of a step within one count: what happens now and then, as in the store's books, is spread over them.
/// `benches/lib/micro.py` divides by it.
const RUNS: usize = 1000;

/// A step's surroundings, after it has run often enough to have set up what it needs once.
struct Step {
    world: World,
    bytes: Vec<u8>,
    head: Head,
    hit: Hit,
    out: BytesMut,
}

fn step(bytes: Vec<u8>) -> Step {
    let world = World::default();
    let (mut head, hit) = (parsed(&bytes), world.hit(&bytes));
    let mut out = BytesMut::with_capacity(512);
    for number in 0..RUNS {
        parse(&mut head, &bytes);
        black_box(world.decide(&head, &bytes));
        black_box(world.look_up(number * 7919));
        patch(&hit, &mut out);
    }
    Step {
        world,
        bytes,
        head,
        hit,
        out,
    }
}

fn short() -> Step {
    step(short_head())
}

fn browser() -> Step {
    step(browser_head())
}

// What is returned is dropped outside of the count.

#[library_benchmark]
#[bench::short(setup = short)]
#[bench::browser(setup = browser)]
fn parse_head(mut step: Step) -> Step {
    for _ in 0..RUNS {
        parse(&mut step.head, black_box(&step.bytes));
    }
    step
}

#[library_benchmark]
#[bench::short(setup = short)]
#[bench::browser(setup = browser)]
fn decide(step: Step) -> Step {
    for _ in 0..RUNS {
        black_box(step.world.decide(black_box(&step.head), &step.bytes));
    }
    step
}

#[library_benchmark]
#[bench::one_of_many(setup = short)]
fn look_up(step: Step) -> Step {
    for number in 0..RUNS {
        black_box(step.world.look_up(black_box(number * 7919)));
    }
    step
}

#[library_benchmark]
#[bench::of_a_hit(setup = short)]
fn patch_head(mut step: Step) -> Step {
    for _ in 0..RUNS {
        patch(black_box(&step.hit), &mut step.out);
    }
    step
}

fn http2() -> Http2 {
    let mut connection = Http2::default();
    for _ in 0..RUNS {
        connection.exchange();
    }
    connection
}

#[library_benchmark]
#[bench::of_a_hit(setup = http2)]
fn h2_exchange(mut connection: Http2) -> Http2 {
    for _ in 0..RUNS {
        connection.exchange();
    }
    connection
}

library_benchmark_group!(
    name = hit,
    benchmarks = [parse_head, decide, look_up, patch_head, h2_exchange]
);

main!(library_benchmark_groups = hit);
