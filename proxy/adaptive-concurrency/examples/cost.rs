//! What a place costs: nanoseconds for taking and giving back one that is free, under a lock, by one thread and by two,
//! and for one that is waited for.

#![allow(clippy::disallowed_methods, reason = "a measurement reads the clock")]

use std::{
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use adaptive_concurrency::{Admission, Bounds, Class, Gate, Verdict};

const TIMES: u32 = 2_000_000;

fn gate(max: usize) -> Mutex<Gate<u32>> {
    Mutex::new(Gate::new(Bounds {
        min: max,
        max,
        queue: 256,
        patience: Duration::from_secs(1),
    }))
}

fn free(gate: &Mutex<Gate<u32>>, began: Instant) {
    for _ in 0..TIMES {
        let since = began.elapsed();
        let mut held = gate.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(held.at_once(since).is_some(), "there is room");
        drop(held);
        let now = began.elapsed();
        let mut held = gate.lock().unwrap_or_else(PoisonError::into_inner);
        held.finish(now, since, Verdict::Answered);
        assert!(held.next(now).is_none(), "nobody waits");
    }
}

fn waited(gate: &Mutex<Gate<u32>>, began: Instant) {
    let mut held = gate.lock().unwrap_or_else(PoisonError::into_inner);
    let mut since = began.elapsed();
    let _ = held.at_once(since);
    for n in 0..128 {
        let _ = held.arrive(since, Class::Browse, n);
    }
    for n in 0..TIMES {
        let now = began.elapsed();
        let admission = held.arrive(now, Class::Browse, n);
        assert!(matches!(admission, Admission::Waits(_, None)), "it waits");
        held.finish(now, since, Verdict::Answered);
        assert!(held.next(now).is_some(), "it was its turn");
        since = now;
    }
}

fn main() {
    let each = |began: Instant| began.elapsed().as_nanos() / u128::from(TIMES);
    let began = Instant::now();
    free(&gate(1_000), began);
    println!("free, one thread: {} ns", each(began));
    let (began, shared) = (Instant::now(), gate(1_000));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| free(&shared, began));
        }
    });
    println!("free, two threads, each: {} ns", each(began));
    let began = Instant::now();
    waited(&gate(1), began);
    println!("waited for, among 128: {} ns", each(began));
}
