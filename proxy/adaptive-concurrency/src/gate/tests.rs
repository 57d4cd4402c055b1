use proptest::prelude::*;

use super::*;

const BOUNDS: Bounds = Bounds {
    min: 2,
    max: 2,
    queue: 2,
    patience: Duration::from_secs(1),
};

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn waits(admission: Admission<u32>) -> Ticket {
    match admission {
        Admission::Waits(ticket, None) => ticket,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_over_the_limit_waits_its_turn() {
    let mut gate = Gate::new(BOUNDS);
    assert_eq!(gate.arrive(ms(0), Class::Browse, 1), Admission::Starts(1));
    assert_eq!(gate.at_once(ms(1)), Some(()));
    assert_eq!(gate.at_once(ms(2)), None);
    waits(gate.arrive(ms(2), Class::Browse, 3));
    let buyer = waits(gate.arrive(ms(3), Class::Checkout, 4));
    assert_eq!(
        (gate.at_work(), gate.waiting(), gate.next(ms(3))),
        (2, 2, None)
    );
    assert_eq!(gate.arrive(ms(3), Class::Bot, 5), Admission::Refused(5));
    let Admission::Waits(_, displaced) = gate.arrive(ms(3), Class::Cart, 6) else {
        panic!("it matters more");
    };
    assert_eq!(displaced, Some((Class::Browse, 3)));
    assert!(gate.is_shedding(ms(4)));
    assert!(!gate.is_shedding(ms(60_000)));
    gate.finish(ms(10), ms(0), Verdict::Answered);
    assert_eq!(gate.next(ms(10)), Some((Class::Checkout, 4)));
    assert_eq!(gate.next(ms(10)), None);
    assert_eq!(gate.leave(ms(10), buyer, false), None);
    gate.finish(ms(11), ms(1), Verdict::Unknown);
    // A place is free, but nobody overtakes those who wait.
    assert_eq!(gate.at_once(ms(11)), None);
    assert_eq!(gate.next(ms(11)), Some((Class::Cart, 6)));
}

#[test]
fn persons_press_and_bots_do_not() {
    let mut gate = Gate::new(BOUNDS);
    for n in 0..40 {
        let _ = gate.arrive(ms(n), Class::Bot, 0);
    }
    assert!(gate.is_shedding(ms(40)));
    assert_eq!(gate.pressure(ms(40)), 0.0);
    let mut gate = Gate::new(BOUNDS);
    for n in 0..40 {
        let _ = gate.arrive(ms(n), Class::Browse, 0);
    }
    assert_eq!(gate.pressure(ms(40)), 1.0);
    for n in 40..400 {
        gate.finish(ms(n), ms(n), Verdict::Answered);
    }
    let pressure = gate.pressure(ms(400));
    assert!((0.1..0.4).contains(&pressure), "{pressure}");
    assert_eq!(gate.pressure(ms(60_000)), 0.0);
}

#[test]
fn bounds_change_and_nobody_is_lost() {
    let mut gate = Gate::new(BOUNDS);
    for n in 0..4 {
        let _ = gate.arrive(ms(0), Class::Browse, n);
    }
    gate.set_bounds(Bounds {
        min: 1,
        max: 1,
        ..BOUNDS
    });
    assert_eq!((gate.limit(), gate.at_work(), gate.waiting()), (1, 2, 2));
    gate.finish(ms(1), ms(0), Verdict::Answered);
    assert_eq!(gate.next(ms(1)), None, "there is still one");
    gate.finish(ms(2), ms(0), Verdict::Answered);
    assert_eq!(gate.next(ms(2)), Some((Class::Browse, 2)));
    let mut released = Vec::new();
    gate.release_all(|_, who| released.push(who));
    assert_eq!((released, gate.waiting()), (vec![3], 0));
}

#[test]
fn when_to_come_again_goes_by_what_waits_and_was_shed() {
    let mut gate = Gate::new(Bounds {
        queue: 100,
        ..BOUNDS
    });
    let again = gate.retry_after(ms(0));
    assert!((1..=2).contains(&again), "{again}");
    // Ten answers in a second, and forty requests.
    let _ = (gate.at_once(ms(0)), gate.at_once(ms(0)));
    for n in 0..40 {
        let _ = gate.arrive(ms(0), Class::Browse, n);
    }
    let mut since = ms(0);
    for n in 0..20 {
        gate.finish(ms(n * 100), since, Verdict::Answered);
        since = ms(n * 100);
        let _ = gate.next(since);
    }
    let few = gate.retry_after(ms(2_000));
    assert!((2..=8).contains(&few), "{few}");
    for n in 0..400 {
        let _ = gate.arrive(ms(2_000), Class::Browse, n);
    }
    let mut told: Vec<_> = (0..100)
        .map(|n| {
            let _ = gate.arrive(ms(2_000), Class::Bot, n);
            gate.retry_after(ms(2_000))
        })
        .collect();
    assert!(
        told.iter().all(|seconds| (few..=45).contains(seconds)),
        "{told:?}"
    );
    told.sort_unstable();
    told.dedup();
    assert!(told.len() > 5, "not all at once: {told:?}");
}

/// Ten answers a second of 20 ms each, from `from` on for so many seconds. Returns how many got a place at once.
fn answers(gate: &mut Gate<u32>, from: u64, seconds: u64) -> u64 {
    (0..10 * seconds)
        .filter(|n| {
            let since = ms(from + 100 * n);
            let started = gate.at_once(since).is_some();
            if started {
                gate.finish(since + ms(20), since, Verdict::Answered);
            }
            started
        })
        .count() as u64
}

#[test]
fn what_hangs_goes_on_without_a_place() {
    let mut gate: Gate<u32> = Gate::new(BOUNDS);
    assert_eq!(answers(&mut gate, 0, 5), 50);
    assert_eq!(gate.at_once(ms(5_000)), Some(()));
    assert_eq!(gate.at_once(ms(5_000)), Some(()));
    assert_eq!(gate.at_once(ms(5_499)), None);
    assert_eq!(gate.at_once(ms(5_500)), Some(()), "half a second is enough");
    assert_eq!(gate.at_work(), 1);
    gate.finish(ms(5_520), ms(5_500), Verdict::Answered);
    // Their ends give nothing back once more.
    gate.finish(ms(20_000), ms(5_000), Verdict::Overloaded);
    gate.finish(ms(20_000), ms(5_000), Verdict::Unknown);
    assert_eq!((gate.at_work(), gate.limit()), (0, 2));
}

#[test]
fn where_everything_hangs_few_go_on_without_a_place() {
    let mut gate: Gate<u32> = Gate::new(Bounds {
        min: 20,
        max: 20,
        ..BOUNDS
    });
    let mut began = 0;
    for n in 0..1_000 {
        while gate.at_once(ms(10 * n)).is_some() {
            began += 1;
        }
    }
    // Twenty, what may go on at once, and two a second.
    assert!((30..=50).contains(&began), "{began}");
}

#[test]
fn slow_pages_do_not_hang() {
    let mut gate: Gate<u32> = Gate::new(Bounds {
        min: 1,
        max: 1,
        ..BOUNDS
    });
    for n in 0..100 {
        let since = ms(3_000 * n);
        assert_eq!(gate.at_once(since), Some(()));
        // The first of them are longer than anybody knew.
        if n > 10 {
            assert_eq!(gate.at_once(since + ms(2_999)), None);
        }
        gate.finish(since + ms(3_000), since, Verdict::Answered);
        assert_eq!(gate.at_work(), 0);
    }
}

#[test]
fn the_place_of_who_leaves_is_held_for_a_while() {
    let mut gate: Gate<u32> = Gate::new(BOUNDS);
    // Sixty ask and leave at once, one every 50 ms: without holding, all would be at work.
    let mut at_work = 0;
    for n in 0..60 {
        if gate.at_once(ms(50 * n)).is_some() {
            at_work += 1;
            gate.abandon(ms(50 * n + 50), ms(50 * n));
        }
    }
    assert_eq!(at_work, 4, "two at once, and again after two seconds");
    gate.tidy(ms(10_000));
    assert_eq!(gate.at_work(), 0);
    // Where the usual latency is known it is that.
    for n in 100..200 {
        let since = ms(200 * n);
        assert_eq!(gate.at_once(since), Some(()));
        gate.finish(since + ms(150), since, Verdict::Answered);
    }
    assert_eq!(gate.at_once(ms(50_000)), Some(()));
    gate.abandon(ms(50_010), ms(50_000));
    gate.tidy(ms(50_155));
    assert_eq!(gate.at_work(), 1);
    gate.tidy(ms(50_165));
    assert_eq!(gate.at_work(), 0);
}

proptest! {
    /// The limit and the queue's bound hold whatever comes, and nothing is free while somebody waits.
    #[test]
    fn bounds_hold(
        steps in prop::collection::vec((0..5_u8, 0..4_usize, 0..3_u8, 1..300_u64), 1..400),
        (min, more, queue) in (1..8_usize, 0..40_usize, 0..10_usize),
    ) {
        let bounds = Bounds { min, max: min + more, queue, patience: ms(500) };
        let mut gate = Gate::new(bounds);
        let mut now = ms(0);
        let mut began = Vec::new();
        let mut left = Vec::new();
        let mut tickets = Vec::new();
        for (step, class, verdict, passed) in steps {
            now += ms(passed);
            let class = Class::ALL[class];
            match step {
                0 | 1 => match gate.arrive(now, class, 0) {
                    Admission::Starts(_) => began.push(now),
                    Admission::Waits(ticket, _) => tickets.push(ticket),
                    Admission::Refused(_) => {}
                },
                2 => if let Some(since) = began.pop() {
                    let verdict = [Verdict::Answered, Verdict::Overloaded, Verdict::Unknown][usize::from(verdict)];
                    gate.finish(now, since, verdict);
                },
                3 => if let Some(since) = began.pop() {
                    gate.abandon(now, since);
                    left.push(now);
                },
                _ => if let Some(ticket) = tickets.pop() {
                    let _ = gate.leave(now, ticket, verdict == 0);
                },
            }
            while gate.next(now).is_some() {
                began.push(now);
            }
            // Those who left count for two seconds at most.
            left.retain(|since| now < *since + ms(2_000));
            prop_assert!(gate.at_work() <= began.len() + left.len());
            prop_assert!((bounds.min..=bounds.max).contains(&gate.limit()));
            prop_assert!(gate.waiting() <= bounds.queue);
            prop_assert!(gate.waiting() == 0 || gate.at_work() >= gate.limit());
            prop_assert!((1..=45).contains(&gate.retry_after(now)));
        }
    }
}
