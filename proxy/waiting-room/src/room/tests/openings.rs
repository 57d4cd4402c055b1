//! Openings that are put off, brought forward, or called off, while visitors wait for them.

use super::*;

const CROWD: usize = 60;

fn sale(opens: Option<Millis>, early: Millis) -> Rules {
    let rate = Some(Rate { count: 10, period: SECOND });
    Rules { opens, early, rate, stay: 30 * MINUTE, ..rules(1_000) }
}

/// In the pre-queue of an opening a minute later; each has come back twice.
fn in_the_pre_queue() -> Play {
    let mut play = Play::new(sale(Some(NOW + 2 * MINUTE), 2 * MINUTE));
    for _ in 0..2 {
        play.now += 30 * SECOND;
        assert!(play.all_come(0..CROWD).iter().all(|seen| matches!(seen, Seen::Waits(_))));
    }
    assert_eq!(play.room.waiting(), CROWD as u32);
    play
}

/// How many are inside after some time in which everybody asks again each two seconds.
fn inside_after(play: &mut Play, time: Millis) -> usize {
    let end = play.now + time;
    while play.now + 2 * SECOND <= end {
        play.now += 2 * SECOND;
        play.all_come(0..CROWD);
    }
    play.room.inside().0
}

#[test]
fn an_opening_that_is_put_off_lets_everyone_in_later() {
    // The pre-queue is the same, longer, or shorter.
    for (opens, early) in [(4, 2), (4, 4), (3, 2)] {
        let mut play = in_the_pre_queue();
        let (opens, early) = (NOW + opens * MINUTE, early * MINUTE);
        play.now += 30 * SECOND;
        play.now = play.now.max(opens - early);
        play.room.set_rules(sale(Some(opens), early));
        play.all_come(0..CROWD);
        assert_eq!(play.room.waiting(), CROWD as u32, "each is counted once");
        let left = opens - play.now - SECOND;
        assert_eq!(inside_after(&mut play, left), 0);
        let inside = inside_after(&mut play, MINUTE);
        assert_eq!((inside, play.room.waiting()), (CROWD, 0));
    }
}

#[test]
fn after_another_opening_was_said_nobody_is_called_before_all_are_back() {
    // It is brought forward to this very moment, called off, or put off until tomorrow.
    for (opens, early) in [(Some(1), 1), (None, 0), (Some(24 * 60), 30)] {
        let mut play = in_the_pre_queue();
        let opens = opens.map(|minutes| NOW + minutes * MINUTE);
        play.room.set_rules(sale(opens, early * MINUTE));
        assert_ne!(play.comes(CROWD - 1), Seen::In);
        assert_eq!(inside_after(&mut play, HOLD - 2 * SECOND), 0, "{opens:?}");
        assert_eq!(play.room.waiting(), CROWD as u32);
        assert_ne!(play.comes(CROWD + 1), Seen::In, "nobody new overtakes them");
        let inside = inside_after(&mut play, 20 * SECOND);
        assert_eq!((inside, play.room.waiting() <= 1), (CROWD, true), "{opens:?}");
    }
}

#[test]
fn where_nobody_waits_another_opening_holds_up_nobody() {
    let mut play = Play::new(sale(Some(NOW - MINUTE), MINUTE));
    assert_eq!(play.comes(0), Seen::In);
    play.room.set_rules(sale(Some(NOW + 60 * MINUTE), MINUTE));
    assert_eq!([play.comes(0), play.comes(1)], [Seen::In; 2]);
}

#[test]
fn a_lot_of_a_sale_that_is_over_is_no_lot_of_the_next() {
    let mut play = in_the_pre_queue();
    play.now = NOW + 2 * MINUTE + SECOND;
    let inside = inside_after(&mut play, 4 * SECOND);
    assert!(inside > 0 && inside < CROWD, "{inside}");
    // The next sale is said while they still wait for this one.
    let next = play.now + 60 * MINUTE;
    play.room.set_rules(sale(Some(next), 10 * MINUTE));
    assert_eq!(inside_after(&mut play, HOLD + 20 * SECOND), CROWD, "they need not wait for it");
}
