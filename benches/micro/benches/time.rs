//! Nanoseconds of each step of a hit. `cargo bench -p dhal-micro --bench time`

#![allow(missing_docs, reason = "criterion's macros write public functions")]

use std::hint::black_box;

use bytes::BytesMut;
use criterion::{Criterion, criterion_group, criterion_main};
use dhal_micro::{Http2, MillionNetworks, World, browser_head, parse, parsed, patch, short_head};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn steps(criterion: &mut Criterion) {
    let world = World::default();
    for (name, bytes) in [("short", short_head()), ("browser", browser_head())] {
        let mut head = parsed(&bytes);
        criterion.bench_function(&format!("parse_{name}"), |bench| {
            bench.iter(|| parse(&mut head, black_box(&bytes)));
        });
        criterion.bench_function(&format!("decide_{name}"), |bench| {
            bench.iter(|| world.decide(black_box(&head), &bytes));
        });
        // What was timed were hits to the end.
        black_box(world.hit(&bytes));
    }
    let mut number = 0;
    criterion.bench_function("look_up", |bench| {
        bench.iter(|| {
            // A stride that has no factor in common with the number of pages visits all of them.
            number += 7919;
            world.look_up(black_box(number))
        });
    });
    let (hit, mut out) = (world.hit(&short_head()), BytesMut::with_capacity(512));
    criterion.bench_function("patch_head", |bench| {
        bench.iter(|| patch(black_box(&hit), &mut out));
    });
    let mut connection = Http2::default();
    criterion.bench_function("h2_exchange", |bench| {
        bench.iter(|| connection.exchange());
    });
}

/// A look-up of an address list of a million networks, half of them found.
fn lists(criterion: &mut Criterion) {
    let list = MillionNetworks::default();
    for (name, is_v6) in [("address_list_v4", false), ("address_list_v6", true)] {
        let mut number = 0;
        criterion.bench_function(name, |bench| {
            bench.iter(|| {
                number += 1;
                list.look_up(black_box(number), is_v6)
            });
        });
    }
}

criterion_group!(benches, steps, lists);
criterion_main!(benches);
