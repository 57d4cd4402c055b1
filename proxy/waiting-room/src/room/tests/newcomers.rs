//! Newcomers: guests, those who keep no cookies, and who is counted when.

use super::{super::tickets::GRACE, *};

/// Bots that keep no cookies, ten thousand a minute, while `play` goes on from its time on.
struct Flood {
    began: Millis,
    sent: u64,
}

impl Flood {
    const PER_MINUTE: u64 = 10_000;

    fn at(now: Millis) -> Self {
        Self { began: now, sent: 0 }
    }

    fn until_now(&mut self, play: &mut Play) {
        let now = play.now;
        let due = (now - self.began) * Self::PER_MINUTE / MINUTE;
        while self.sent < due {
            self.sent += 1;
            play.now = self.began + self.sent * MINUTE / Self::PER_MINUTE;
            assert!(!matches!(play.bot(self.sent), Verdict::Inside { .. }));
        }
        play.now = now;
    }
}

/// When each of a hundred comes in who keep cookies, one each 600 ms, click once a second as guests and reload as they
/// are told; they leave after a while.
fn hundred_come_in(rules: Rules, is_flooded: bool) -> (Vec<Millis>, Counts) {
    let mut play = Play::new(rules);
    let mut flood = Flood::at(NOW);
    let mut entered = vec![None; 100];
    let mut asks: Vec<_> = (0..100).map(|who| NOW + who * 600).collect();
    while let Some((who, _)) = asks.iter().enumerate().min_by_key(|(_, at)| **at)
        && entered.iter().any(Option::is_none)
    {
        play.now = asks[who].max(play.now);
        if is_flooded {
            flood.until_now(&mut play);
        }
        let seen = play.asks(who);
        asks[who] = match seen {
            Seen::In => {
                entered[who] = entered[who].or(Some(play.now - NOW));
                Millis::MAX
            }
            Seen::Guest => play.now + SECOND,
            Seen::Waits(told) => play.now + told.refresh,
        };
        assert!(play.room.inside().0 <= play.room.rules().capacity as usize);
    }
    (entered.into_iter().map(|at| at.expect("all come in")).collect(), play.room.counts())
}

#[test]
fn who_keeps_no_cookies_keeps_nobody_out() {
    let cases = [
        ("places for all", rules(200), 0),
        ("many places", rules(10_000), 0),
        ("a small room", Rules { stay: 20 * SECOND, ..rules(10) }, 8 * SECOND),
        ("one place", Rules { stay: 5 * SECOND, ..rules(1) }, 8 * SECOND),
        (
            "a rate",
            Rules { rate: Some(Rate { count: 2, period: SECOND }), ..rules(200) },
            8 * SECOND,
        ),
    ];
    for (case, rules, late) in cases {
        let (mut alone, _) = hundred_come_in(rules.clone(), false);
        let (mut beside, counts) = hundred_come_in(rules, true);
        let overtaken = |entered: &[Millis], who: usize| {
            entered[who + 1..].iter().filter(|later| **later < entered[who]).count()
        };
        let worst = |entered: &[Millis]| (0..99).map(|who| overtaken(entered, who)).max();
        assert!(worst(&beside) <= worst(&alone).map(|n| n + 4), "{case}: the order is kept");
        let lost = beside.iter().sum::<Millis>().saturating_sub(alone.iter().sum()) / 100;
        assert!(lost <= late / 4, "{case}: {lost} ms for each");
        // Those who wait ask again at other moments: the first of them, then, the second, ...
        alone.sort_unstable();
        beside.sort_unstable();
        for (n, (alone, beside)) in alone.iter().zip(&beside).enumerate() {
            assert!(*beside <= alone + late, "{case}: number {n} at {beside} and not {alone}");
        }
        assert_eq!(counts.admitted, 100, "{case}");
        assert!(counts.kept <= 100 + 10, "{case}: no bot was counted: {}", counts.kept);
        assert!(counts.guests + counts.issued >= 10_000, "{case}: there was a flood");
    }
}

#[test]
fn nobody_is_counted_at_the_first_request() {
    let mut play = Play::new(rules(3));
    for bot in 0..1_000 {
        play.bot(bot);
    }
    assert_eq!((play.room.inside().0, play.room.waiting()), (0, 0));
    assert_eq!(play.stranger(), Verdict::Uncounted, "there is no crowd");
    let counts = play.room.counts();
    assert_eq!((counts.admitted, counts.guests, counts.issued), (0, 16, 984));
    // There are places, so whoever keeps the ticket is let in by the first reload, soon.
    let Seen::Waits(told) = play.asks(0) else { panic!("beyond the guests") };
    assert_eq!(told.refresh, SECOND);
    play.now += SECOND;
    assert_eq!(play.asks(0), Seen::In);
    assert_eq!((play.room.inside().0, play.room.counts().kept), (1, 1));
}

#[test]
fn guests_are_a_quarter_of_the_room_in_ten_seconds() {
    for (capacity, most) in [(1, 16), (64, 16), (100, 25), (2_000, 500)] {
        let mut play = Play::new(rules(capacity));
        let guests = |play: &mut Play, n: u64| {
            let goes_on = |v: &Verdict| matches!(v, Verdict::Guest { .. });
            (0..n).map(|bot| play.bot(bot)).filter(goes_on).count()
        };
        assert_eq!(guests(&mut play, 3_000), most, "{capacity}");
        play.now += 5 * SECOND;
        let half = guests(&mut play, 3_000);
        assert!(half.abs_diff(most / 2) <= 1, "{capacity}: {half}");
        play.now += 60 * SECOND;
        assert_eq!(guests(&mut play, 3_000), most, "{capacity}: quiet saves no more");
    }
}

#[test]
fn a_guest_goes_on_for_the_pictures_of_its_page() {
    let mut play = Play::new(rules(2));
    assert_eq!([play.asks(0), play.asks(1), play.asks(2)], [Seen::Guest; 3]);
    let ticket = play.held[2].clone();
    assert_eq!([play.asks(0), play.asks(1)], [Seen::In; 2]);
    // The places are taken.
    for pause in [0, SECOND, GRACE - SECOND - 1] {
        play.now += pause;
        assert_eq!(play.asks(2), Seen::Guest);
        assert_eq!(play.held[2], ticket, "it has its ticket");
    }
    assert_eq!((play.room.inside().0, play.room.waiting()), (2, 0));
    assert_ne!(play.asks(3), Seen::Guest, "nobody new is a guest of a full room");
    let read = play.read(2).expect("ours");
    assert_eq!(play.room.look(Visitor::Holds(read), play.now).phase, Phase::Open);
    play.now += 1;
    assert_eq!(play.room.look(Visitor::Holds(read), play.now).phase, Phase::Waiting);
    for _ in 0..20 {
        play.held[2] = ticket.clone();
        assert_eq!(play.asks(2).place(), Some(1));
    }
    assert_eq!(play.room.waiting(), 1, "it is counted once");
    play.now += SECOND;
    assert_eq!(play.comes(4).place(), Some(3));
}

#[test]
fn a_guest_gets_its_pass_by_whatever_it_asks_for_next() {
    let mut play = Play::new(rules(2));
    assert_eq!(play.asks(0), Seen::Guest);
    let ticket = play.held[0].clone();
    for _ in 0..20 {
        play.held[0] = ticket.clone();
        assert_eq!(play.asks(0), Seen::In);
        assert_eq!(play.read(0).expect("a pass").ticket.kind, Kind::Pass);
    }
    assert_eq!((play.room.inside().0, play.room.counts().admitted), (1, 1));
    // A ticket is good for as long as somebody stays who is quiet.
    play.asks(1);
    play.now += 5 * MINUTE;
    assert!(play.read(1).is_none());
}

#[test]
fn guests_and_those_who_wait_stand_as_they_came() {
    let mut play = Play::new(rules(2));
    // Two guests, who are slow.
    for who in [0, 1] {
        assert_eq!(play.asks(who), Seen::Guest);
        play.now += SECOND;
    }
    assert_eq!([play.comes(2), play.comes(3)], [Seen::In; 2]);
    for who in [4, 5] {
        play.now += SECOND;
        play.comes(who);
    }
    play.now += GRACE;
    let places = play.all_come([5, 1, 4, 0]);
    assert_eq!(places[3].place(), Some(1));
    let settled: Vec<_> = play.all_come([0, 1]).into_iter().map(Seen::place).collect();
    assert!(settled[0] <= settled[1]);
    // All places become free one after the other: first come, first in.
    let mut entered = Vec::new();
    for step in 0..1_200 {
        play.now += SECOND;
        for who in [5, 4, 1, 0] {
            if !entered.contains(&who) && play.comes(who) == Seen::In {
                entered.push(who);
            }
        }
        // One of those inside stays longer than the other.
        if step < 30 {
            play.comes(2);
        }
    }
    assert_eq!(entered, [0, 1, 4, 5]);
}

#[test]
fn a_guest_does_not_overtake_who_came_before() {
    let mut play = Play::new(rules(1));
    play.comes(0);
    play.now += SECOND;
    assert!(play.comes(1).place().is_some());
    play.now += 5 * MINUTE - SECOND;
    // The place is free, and for the one who waits.
    assert!(play.asks(2).place().is_some());
    assert!(play.asks(2).place().is_some());
    assert_eq!(play.comes(1), Seen::In);
}

#[test]
fn a_fresh_ticket_is_counted_once_and_does_not_keep() {
    let mut play = Play::new(rules(1));
    play.comes(0);
    assert_eq!(play.asks(1).place(), Some(1));
    assert_eq!(play.asks(2).place(), Some(2), "the one before is taken to come back");
    assert_eq!(play.room.waiting(), 0);
    let fresh = play.held.clone();
    for _ in 0..50 {
        play.held = fresh.clone();
        assert_eq!([play.asks(1).place(), play.asks(2).place()], [Some(1), Some(2)]);
    }
    assert_eq!((play.room.waiting(), play.room.counts().kept), (2, 3));
    // Who has not come back is forgotten after a while.
    play.bot(1);
    assert_eq!(play.asks(3).place(), Some(4));
    play.now += 2 * MINUTE;
    play.held[4..].fill(None);
    assert_eq!(play.asks(4).place(), Some(3));
    assert!(play.read(3).is_none(), "it did not come back in time");
    assert!(play.read(2).is_some(), "the others did");
    assert_eq!(play.room.waiting(), 2);
}

#[test]
fn a_restart_knows_guests_and_fresh_tickets() {
    let mut play = Play::new(rules(3));
    assert_eq!([play.asks(0), play.asks(1), play.asks(2)], [Seen::Guest; 3]);
    play.restart(2);
    play.now += SECOND;
    assert_eq!([play.asks(0), play.asks(1)], [Seen::In; 2], "there was no queue, so none is held");
    assert_eq!(play.asks(3), Seen::Guest);
    assert_eq!(play.asks(3), Seen::In);
    play.now += SECOND;
    assert!(play.asks(4).place().is_some());
    let fresh = play.held.clone();
    play.now += SECOND;
    play.restart(3);
    for _ in 0..10 {
        play.held = fresh.clone();
        assert_eq!(play.asks(4).place(), Some(1), "nobody is called at once");
    }
    assert_eq!((play.room.waiting(), play.room.counts().returned), (1, 1));
    assert_ne!(play.asks(5), Seen::Guest);
    play.now += HOLD;
    assert_eq!(play.asks(4), Seen::In);
}

#[test]
fn tickets_put_by_before_the_pre_queue_are_lots() {
    let (opens, early) = (NOW + 10 * MINUTE, 5 * MINUTE);
    let mut play = Play::new(Rules { opens: Some(opens), early, stay: 30 * MINUTE, ..rules(40) });
    play.now = opens - early - SECOND;
    // Sixteen guests, and four with tickets.
    for who in 0..20 {
        play.asks(who);
    }
    play.now += 30 * SECOND;
    for who in 20..200 {
        play.comes(who);
    }
    assert_eq!(play.room.waiting(), 180, "each was counted when it came back");
    // Once before the opening, or only after it: it is the same.
    for who in 0..10 {
        assert!(matches!(play.asks(who), Seen::Waits(told) if told.phase == Phase::Early));
        assert_eq!(play.read(who).expect("ours").ticket.kind, Kind::Early);
    }
    for late in 0..1_000 {
        play.bot(late);
    }
    assert_eq!(play.room.waiting(), 190, "and nobody else");
    play.now = opens;
    let seen = play.all_come(0..200);
    let first = seen[..10].iter().filter(|seen| **seen == Seen::In).count();
    let others = seen[20..].iter().filter(|seen| **seen == Seen::In).count();
    assert!(first < 10 && others >= 20, "{first} of those before, {others} of the others");
    assert!(play.room.inside().0 <= 40);
}

#[test]
fn visitors_of_a_quiet_day_leave_the_lots_alone() {
    let mut play = Play::new(rules(20));
    for who in 0..20 {
        assert_eq!(play.comes(who), Seen::In);
        play.now += SECOND;
    }
    // A pre-queue that is said to have begun before they came.
    let opens = play.now + MINUTE;
    play.room.set_rules(Rules { opens: Some(opens), early: 10 * MINUTE, ..rules(20) });
    for who in 20..40 {
        assert!(play.comes(who).place().is_none());
    }
    assert_eq!(play.room.waiting(), 20, "nobody of them was called");
}

#[test]
fn who_was_called_and_finds_no_place_has_the_next_one() {
    let mut play = Play::new(Rules { stay: 30 * SECOND, ..rules(1) });
    for who in 0..5 {
        play.comes(who);
        play.now += SECOND;
    }
    // The first two are called in vain, one after the other, and the third comes in.
    play.now = NOW + 30 * SECOND;
    for _ in 0..2 {
        assert_ne!(play.comes(3), Seen::In);
        play.now += PATIENCE;
    }
    assert_eq!(play.comes(3), Seen::In);
    play.now += 25 * SECOND;
    assert_eq!([play.comes(1).place(), play.comes(2).place()], [Some(1), Some(2)]);
    assert_eq!(play.room.waiting(), 3);
    play.now += 5 * SECOND;
    // The place is free, and the first one's, whoever asks before.
    let seen = play.all_come([4, 2, 1]);
    assert_eq!([seen[0].place(), seen[1].place()], [Some(3), Some(2)]);
    assert_eq!(seen[2], Seen::In);
    // Those who do not ask any more keep it from nobody for long.
    play.now += 30 * SECOND;
    assert_eq!(play.comes(4), Seen::In);
}

#[test]
fn a_guest_of_an_earlier_process_is_no_queue() {
    let mut play = Play::new(rules(1));
    assert_eq!([play.asks(0), play.asks(1)], [Seen::Guest; 2]);
    assert_eq!(play.asks(0), Seen::In);
    play.now += GRACE;
    play.restart(2);
    assert_eq!(play.asks(0), Seen::In);
    assert_eq!(play.asks(1).place(), Some(1));
    assert!(!play.room.is_held(), "nobody else is expected");
    play.now += 5 * MINUTE;
    assert_eq!(play.asks(1), Seen::In);
}
