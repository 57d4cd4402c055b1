use super::*;

#[test]
fn queues_are_bounded_by_number_and_by_bytes() {
    let (queue, end) = Queue::new(3, 100);
    assert!(queue.push('a', 1_000), "one always fits");
    assert!(!queue.push('b', 1));
    let done = |n: u64| {
        end.recv().expect("a job");
        queue.bytes.fetch_sub(n, Ordering::AcqRel);
    };
    done(1_000);
    for (bytes, fits) in [
        (50, true),
        (51, false),
        (50, true),
        (1, false),
        (0, true),
        (0, false),
    ] {
        assert_eq!(queue.push('c', bytes), fits, "{bytes}");
    }
}

#[test]
fn a_job_that_panics_costs_nothing_but_itself() {
    let (queue, jobs) = Queue::new(8, 100);
    let waiting = Arc::new(AtomicU64::new(3));
    for n in 0..3 {
        assert!(queue.push(n, 10));
    }
    let bytes = Arc::clone(&queue.bytes);
    let end = End {
        jobs,
        bytes: Arc::clone(&bytes),
        waiting: Arc::clone(&waiting),
    };
    drop(queue);
    let mut done = Vec::new();
    end.attend(|n| {
        assert_ne!(n, 1, "on purpose");
        done.push(n);
    });
    assert_eq!(done, [0, 2]);
    assert_eq!(waiting.load(Ordering::Relaxed), 0);
    assert_eq!(bytes.load(Ordering::Relaxed), 0);
}

#[test]
fn sweeps_that_fail_are_not_ordered_again_at_once() {
    let (keeper, work) = Keeper::new(1 << 20);
    let ordered = || work.jobs.try_iter().count();
    keeper.order_sweep(1);
    keeper.order_sweep(1);
    assert_eq!(ordered(), 1);
    keeper.swept(false);
    keeper.order_sweep(1);
    assert_eq!(ordered(), 0);
    keeper.swept(true);
    keeper.order_sweep(1);
    assert_eq!(ordered(), 1);
}
