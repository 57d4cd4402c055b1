//! Whole days of a room, with visitors who keep what they are given.

use proptest::prelude::*;

mod newcomers;
mod openings;
mod pace;

use super::*;
use crate::{
    order::bin_of,
    rules::{Rate, Told},
    ticket::Keys,
};

const NOW: Millis = 1_800_000_000_000;
const SECOND: Millis = 1_000;
const MINUTE: Millis = 60_000;

fn rules(capacity: u32) -> Rules {
    Rules { capacity, ..Rules::default() }
}

fn keys() -> Keys {
    Keys::new("sale", [("a", [1u8; 32].as_slice())])
}

/// A room, its keys, and visitors by their numbers, each with the text of what it carries.
struct Play {
    room: Room,
    keys: Keys,
    now: Millis,
    held: Vec<Option<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Seen {
    In,
    /// It goes on, and is not counted.
    Guest,
    Waits(Told),
}

impl Seen {
    fn place(self) -> Option<u32> {
        match self {
            Self::In | Self::Guest => None,
            Self::Waits(told) => told.place,
        }
    }
}

impl Play {
    fn new(rules: Rules) -> Self {
        Self { room: Room::new(rules, 1, NOW), keys: keys(), now: NOW, held: Vec::new() }
    }

    /// The process ends and another one begins.
    fn restart(&mut self, epoch: u32) {
        self.room = Room::new(self.room.rules().clone(), epoch, self.now);
    }

    /// One who keeps cookies asks for a page, and for its pictures, or the waiting page's reload.
    fn comes(&mut self, who: usize) -> Seen {
        let seen = self.asks(who);
        if self.read(who).is_none_or(|read| read.ticket.counted) {
            return seen;
        }
        let then = self.asks(who);
        assert!(then.place() <= seen.place() || seen == Seen::Guest, "{seen:?}, then {then:?}");
        then
    }

    fn read(&self, who: usize) -> Option<crate::Read> {
        let text = self.held.get(who)?.as_ref()?;
        self.keys.read(text.as_bytes(), self.now).ok()
    }

    /// One request.
    fn asks(&mut self, who: usize) -> Seen {
        if self.held.len() <= who {
            self.held.resize(who + 1, None);
        }
        let read = self.read(who);
        // Numbers of a generator, as in life.
        let visitor = read.map_or_else(|| Visitor::New(mix(who as u64 + 1)), Visitor::Holds);
        match self.room.arrive(visitor, self.now) {
            Verdict::Inside { pass, .. } => {
                if let Some(pass) = pass {
                    self.held[who] = Some(self.keys.write(&pass, 0));
                }
                Seen::In
            }
            Verdict::Wait { ticket, told } => {
                if let Some((ticket, key)) = ticket {
                    self.held[who] = Some(self.keys.write(&ticket, key));
                }
                Seen::Waits(told)
            }
            Verdict::Guest { ticket } => {
                if let Some(ticket) = ticket {
                    self.held[who] = Some(self.keys.write(&ticket, 0));
                }
                Seen::Guest
            }
            Verdict::Uncounted => panic!("only strangers are not counted"),
        }
    }

    /// One who keeps no cookies.
    fn bot(&mut self, id: u64) -> Verdict {
        self.room.arrive(Visitor::New(mix(!id)), self.now)
    }

    fn all_come(&mut self, who: impl IntoIterator<Item = usize>) -> Vec<Seen> {
        who.into_iter().map(|who| self.comes(who)).collect()
    }

    fn stranger(&mut self) -> Verdict {
        self.room.arrive(Visitor::Stranger, self.now)
    }
}

#[test]
fn while_there_are_places_nobody_waits() {
    let mut play = Play::new(rules(3));
    assert_eq!(play.stranger(), Verdict::Uncounted);
    assert_eq!(play.all_come(0..3), [Seen::In; 3]);
    assert_eq!(play.all_come(0..3), [Seen::In; 3], "a pass is a pass");
    assert_eq!(play.room.inside(), (3, 0));
    assert_eq!(play.comes(3).place(), Some(1));
    assert_eq!(play.comes(4).place(), Some(2));
    assert!(matches!(play.stranger(), Verdict::Wait { ticket: None, .. }));
    assert_eq!(play.room.counts().issued, 2);
    // Who is quiet leaves; the others go on.
    for _ in 0..5 {
        play.now += MINUTE;
        assert_eq!(play.comes(0), Seen::In);
    }
    assert_eq!(play.room.inside().0, 1);
    assert_eq!(play.room.counts().left, 2);
    assert_eq!(play.comes(5).place(), Some(3), "who comes now stands behind those who were called");
    assert_eq!(play.all_come([4, 3]), [Seen::In, Seen::In]);
    assert_eq!(play.comes(1).place(), Some(2), "who has left stands behind, too");
    assert_eq!(play.comes(5).place(), Some(1));
}

#[test]
fn first_come_first_in_and_places_only_go_down() {
    let mut play = Play::new(Rules { stay: 40 * SECOND, ..rules(5) });
    let crowd = 60;
    let mut places = vec![u32::MAX; crowd];
    let mut entered = Vec::new();
    for step in 0..400 {
        play.now = NOW + step * 3 * SECOND;
        // They do not all come at once, and never in the same order.
        for n in 0..crowd {
            let who = (n * 7 + step as usize * 13) % crowd;
            if who as u64 > step * 4 || entered.contains(&who) {
                continue;
            }
            match play.comes(who) {
                Seen::In | Seen::Guest => entered.push(who),
                Seen::Waits(told) => {
                    let place = told.place.expect("told");
                    assert!(place <= places[who], "{who}: {place} after {}", places[who]);
                    assert!((1..=30).contains(&(told.refresh / SECOND)));
                    places[who] = place;
                }
            }
        }
        assert!(play.room.inside().0 <= 5);
    }
    assert_eq!(entered.len(), crowd, "all come in, in the end");
    // Those who came in one step have come in some order; between steps nobody overtakes by more than those who
    // were called together.
    for (n, who) in entered.iter().enumerate() {
        assert!(n.abs_diff(*who) <= 12, "{who} came in as number {n}");
    }
}

#[test]
fn who_does_not_come_is_passed_over_and_goes_in_first_later() {
    let mut play = Play::new(Rules { stay: 30 * SECOND, ..rules(1) });
    play.comes(0);
    play.now += SECOND;
    play.comes(1);
    play.now += SECOND;
    play.comes(2);
    play.now = NOW + 30 * SECOND;
    assert!(matches!(play.comes(2), Seen::Waits(told) if told.place == Some(2)), "1 is called");
    play.now += PATIENCE - 1;
    assert_ne!(play.comes(2), Seen::In);
    play.now += SECOND;
    assert_eq!(play.comes(2), Seen::In, "nobody waits for 1 any longer");
    assert_eq!(play.room.counts().no_shows, 1);
    play.now += SECOND;
    assert_ne!(play.comes(1), Seen::In, "the room is full");
    play.comes(3);
    play.now += 30 * SECOND;
    assert_eq!(play.comes(1), Seen::In, "nobody is asked to go before");
    assert_eq!(play.comes(3).place(), Some(1));
}

#[test]
fn a_ticket_is_one_visitor_however_often_it_comes() {
    let mut play = Play::new(rules(2));
    play.all_come(0..2);
    let waits = play.comes(2);
    let ticket = play.held[2].clone();
    for _ in 0..100 {
        play.held[2] = ticket.clone();
        assert_eq!(play.comes(2).place(), waits.place());
    }
    assert_eq!(play.room.waiting(), 1);
    play.now += 6 * MINUTE;
    for _ in 0..100 {
        play.held[2] = ticket.clone();
        assert_eq!(play.comes(2), Seen::In);
    }
    assert_eq!(play.room.inside().0, 1);
    assert_eq!(play.room.counts().admitted, 3);
}

#[test]
fn a_ticket_of_an_earlier_process_is_counted_once() {
    let mut play = Play::new(rules(1));
    play.all_come(0..4);
    let old = play.held.clone();
    play.restart(2);
    play.comes(0);
    for _ in 0..50 {
        play.held = old.clone();
        play.all_come(1..4);
    }
    assert_eq!(play.room.waiting(), 3);
    assert_eq!(play.room.counts().returned, 3);
}

#[test]
fn a_restart_keeps_passes_and_the_order() {
    let mut play = Play::new(Rules { stay: 5 * MINUTE, ..rules(10) });
    play.all_come(0..10);
    for who in 10..60 {
        play.now += 200;
        play.comes(who);
    }
    play.now += SECOND;
    let told: Vec<_> = play.all_come(10..60).into_iter().map(Seen::place).collect();
    assert_eq!(told, (1..=50).map(Some).collect::<Vec<_>>());
    play.restart(2);
    play.now += SECOND;
    // The last ones are the first to come back, and find the room empty.
    for who in (10..60).rev() {
        play.now += 300;
        let seen = play.comes(who);
        assert_eq!(seen.place(), told[who - 10], "{who} sees the place it knew");
    }
    assert_ne!(play.comes(99), Seen::In, "nobody new overtakes them");
    assert_eq!(play.all_come(0..10), [Seen::In; 10], "those inside go on");
    play.now = NOW + 10 * SECOND + 2 * SECOND + HOLD;
    for who in 0..10 {
        assert_eq!(play.comes(who), Seen::In);
    }
    let after: Vec<_> = play.all_come(10..60).into_iter().map(Seen::place).collect();
    assert_eq!(after, told, "the order holds");
}

#[test]
fn before_the_opening_nobody_comes_in_and_no_place_is_told() {
    let opens = NOW + 10 * MINUTE;
    let early = 5 * MINUTE;
    let mut play = Play::new(Rules { opens: Some(opens), early, ..rules(10) });
    assert_eq!(play.comes(0), Seen::In, "before the pre-queue it is a room like any other");
    play.now = opens - early - MINUTE;
    play.comes(0);
    play.now += MINUTE;
    assert_eq!(play.comes(0), Seen::In, "and who is inside stays");
    for who in 1..41 {
        let Seen::Waits(told) = play.comes(who) else {
            panic!("{who} came in");
        };
        assert_eq!((told.phase, told.place), (Phase::Early, None));
        play.now += SECOND;
    }
    assert!(matches!(play.stranger(), Verdict::Wait { .. }));
    play.now = opens - 1;
    let seen = play.all_come(1..41);
    for told in seen {
        let Seen::Waits(told) = told else { panic!("too early") };
        assert!(told.refresh >= 1 && told.refresh <= 31 * SECOND);
    }
    play.now = opens;
    let late = play.comes(50);
    assert!(late.place() >= Some(40), "{late:?}: the early ones are all before the late ones");
    let seen = play.all_come(1..41);
    let entered: Vec<_> = (1..41).filter(|who| seen[who - 1] == Seen::In).collect();
    assert!((5..=10).contains(&entered.len()), "{entered:?}");
    assert_ne!(entered, (1..=entered.len()).collect::<Vec<_>>(), "they were shuffled");
    let mut places: Vec<_> = play.all_come(1..41).into_iter().filter_map(Seen::place).collect();
    places.sort();
    places.dedup();
    assert!(places.len() + entered.len() >= 38, "hardly two have the same place: {places:?}");
}

/// Each of the early ones is as likely to be in any tenth of the queue as any other: 20 visitors, 400 openings.
#[test]
fn the_shuffle_is_fair() {
    const VISITORS: usize = 20;
    const OPENINGS: usize = 400;
    const TENTHS: usize = 10;
    let mut seen = [[0usize; TENTHS]; VISITORS];
    for opening in 0..OPENINGS {
        let secret = [opening as u8, (opening >> 8) as u8, 9];
        let keys = Keys::new("sale", [("a", secret.as_slice())]);
        let mut orders: Vec<_> = (0..VISITORS)
            .map(|who| {
                let id = mix((opening * VISITORS + who) as u64);
                (Order::drawn(keys.draw(id), NOW, NOW + 30 * MINUTE), who)
            })
            .collect();
        orders.sort();
        for (place, (_, who)) in orders.into_iter().enumerate() {
            seen[who][place * TENTHS / VISITORS] += 1;
        }
    }
    let expected = (OPENINGS / TENTHS) as f64;
    for (who, tenths) in seen.iter().enumerate() {
        let square = |n: &usize| (*n as f64 - expected).powi(2) / expected;
        let chi: f64 = tenths.iter().map(square).sum();
        // Nine degrees of freedom: one of 20 fair visitors is above 33.7 once in 200 runs; the numbers are the same
        // in each.
        assert!(chi < 33.7, "visitor {who}: chi-square {chi}: {tenths:?}");
    }
    let early =
        seen[..VISITORS / 2].iter().map(|t| t[..TENTHS / 2].iter().sum::<usize>()).sum::<usize>();
    let share = early as f64 / (OPENINGS * VISITORS / 4) as f64;
    assert!((0.95..1.05).contains(&share), "to come first is no help: {share}");
}

#[test]
fn a_cart_is_never_refused() {
    let mut play = Play::new(Rules { stay: MINUTE, cart_stay: 10 * MINUTE, ..rules(2) });
    play.all_come(0..2);
    let read = play.keys.read(play.held[0].as_ref().expect("a pass").as_bytes(), play.now);
    let cart = play.room.give_cart(read.expect("ours").ticket.id, play.now);
    assert_eq!(cart.kind, Kind::Cart);
    play.held[0] = Some(play.keys.write(&cart, 0));
    assert_eq!(play.room.inside(), (2, 1));
    play.now += 5 * MINUTE;
    assert_ne!(play.all_come([2, 3, 4]), [Seen::In; 3], "one place is free");
    assert_eq!(play.comes(0), Seen::In);
    assert_eq!(play.room.inside().1, 1);
    // Its place was taken while it was away, and it comes in all the same.
    play.now += 11 * MINUTE;
    play.all_come([2, 3, 4]);
    play.all_come([2, 3, 4]);
    play.all_come([2, 3, 4]);
    assert_eq!(play.room.inside(), (2, 0));
    assert_eq!(play.comes(0), Seen::In);
    assert_eq!(play.room.inside(), (3, 1));
}

#[test]
fn an_old_ticket_does_not_take_a_cart_away() {
    let mut play = Play::new(Rules { stay: MINUTE, ..rules(1) });
    play.comes(0);
    play.comes(1);
    let ticket = play.held[1].clone();
    play.now += MINUTE;
    assert_eq!(play.comes(1), Seen::In);
    let read = play.keys.read(play.held[1].as_ref().expect("a pass").as_bytes(), play.now);
    play.room.give_cart(read.expect("ours").ticket.id, play.now);
    play.held[1] = ticket;
    assert_eq!(play.comes(1), Seen::In);
    let read = play.keys.read(play.held[1].as_ref().expect("a pass").as_bytes(), play.now);
    assert_eq!(read.expect("ours").ticket.kind, Kind::Cart);
}

#[test]
fn passes_are_renewed_when_half_of_the_stay_is_over() {
    let mut play = Play::new(rules(1));
    play.comes(0);
    let first = play.held[0].clone();
    play.now += 149 * SECOND;
    play.comes(0);
    assert_eq!(play.held[0], first);
    play.now += SECOND;
    play.comes(0);
    assert_ne!(play.held[0], first);
}

#[test]
fn pressure_slows_and_stops() {
    let mut play = Play::new(rules(1_000));
    play.room.set_pressure(1.0);
    assert_ne!(play.comes(0), Seen::In);
    play.room.set_pressure(0.5);
    // Half of what leaves when everyone stays for five minutes: 1.7 a second.
    let mut came = 0;
    for second in 0..60 {
        play.now += SECOND;
        let seen = play.all_come(0..(second + 1) * 4);
        came = seen.iter().filter(|seen| **seen == Seen::In).count();
    }
    assert!((20..=110).contains(&came), "{came}");
    play.room.set_pressure(0.0);
    play.now += SECOND;
    assert!(play.all_come(0..240).iter().all(|seen| *seen == Seen::In));
    play.room.set_pressure(f64::NAN);
    assert_eq!(play.comes(500), Seen::In);
}

#[test]
fn a_look_lets_nobody_in() {
    let mut play = Play::new(rules(1));
    assert_eq!(play.room.look(Visitor::Stranger, NOW).phase, Phase::Open);
    play.comes(0);
    play.comes(1);
    let held = |play: &Play, who: usize| {
        let text = play.held[who].as_ref().expect("held");
        Visitor::Holds(play.keys.read(text.as_bytes(), play.now).expect("ours"))
    };
    let look = play.room.look(held(&play, 0), NOW);
    assert_eq!((look.phase, look.waiting), (Phase::Inside, 1));
    let look = play.room.look(held(&play, 1), NOW);
    assert_eq!((look.phase, look.told.and_then(|t| t.place)), (Phase::Waiting, Some(1)));
    assert_eq!(play.room.look(Visitor::Stranger, NOW).phase, Phase::Waiting);
    let later = NOW + 6 * MINUTE;
    let look = play.room.look(held(&play, 1), later);
    assert_eq!((look.phase, play.room.inside().0), (Phase::Open, 0));
}

#[test]
fn a_clock_that_goes_back_is_not_followed() {
    let mut play = Play::new(rules(1));
    play.now += 10 * MINUTE;
    play.comes(0);
    play.now -= 9 * MINUTE;
    assert_ne!(play.comes(1), Seen::In);
    assert_eq!(bin_of(play.room.now), bin_of(NOW + 10 * MINUTE));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever visitors do, and whenever: the room is never fuller than it may be, and a place never grows.
    #[test]
    fn capacity_and_places(
        capacity in 1u32..8,
        per_minute in proptest::option::of(1u32..200),
        steps in proptest::collection::vec((0usize..40, 0u64..4_000, any::<bool>()), 1..600),
    ) {
        let rate = per_minute.map(|count| Rate { count, period: MINUTE });
        let mut play = Play::new(Rules { rate, stay: 20 * SECOND, ..rules(capacity) });
        let mut places = [u32::MAX; 40];
        for (who, pause, single) in steps {
            play.now += pause;
            if play.read(who).is_none() {
                // Its ticket is void.
                places[who] = u32::MAX;
            }
            let seen = if single { play.asks(who) } else { play.comes(who) };
            match seen {
                Seen::In | Seen::Guest => places[who] = u32::MAX,
                Seen::Waits(told) => {
                    let place = told.place.expect("told");
                    prop_assert!(place <= places[who]);
                    prop_assert!(told.refresh >= SECOND && told.refresh <= REFRESH_MOST);
                    prop_assert!(told.wait <= 24 * 60 * MINUTE && told.progress <= 100);
                    places[who] = place;
                }
            }
            prop_assert!(play.room.inside().0 <= capacity as usize);
            prop_assert!(play.room.waiting() <= 40 * 600);
        }
    }
}
