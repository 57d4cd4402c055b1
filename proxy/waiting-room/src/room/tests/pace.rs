//! How fast a crowd comes in whose visitors come in step, and obey what they are told.

use super::*;

/// A crowd that comes within one second. Its visitors ask again after the whole seconds that they are told, guests
/// after one.
struct Crowd {
    play: Play,
    /// When each asks again; none for who is inside and quiet, or has left.
    asks: BTreeMap<(Millis, usize), ()>,
    /// When each came in.
    entered: Vec<Millis>,
}

impl Crowd {
    fn of(count: usize, rules: Rules, from: Millis) -> Self {
        let asks = (0..count).map(|who| ((from + (who * 1_000 / count) as u64, who), ()));
        Self { play: Play::new(rules), asks: asks.collect(), entered: Vec::new() }
    }

    /// Lets time pass; `quiet` says who has come in.
    fn until(&mut self, end: Millis) {
        while let Some((&(at, who), ())) = self.asks.first_key_value()
            && at < end
        {
            self.asks.pop_first();
            self.play.now = at;
            let pause = match self.play.asks(who) {
                Seen::In => {
                    self.entered.push(at);
                    continue;
                }
                Seen::Guest => SECOND,
                Seen::Waits(told) => {
                    assert_eq!(told.refresh % SECOND, 0, "browsers are told whole seconds");
                    told.refresh.max(SECOND)
                }
            };
            self.asks.insert((at + pause, who), ());
        }
        self.play.now = end;
    }

    fn most_in_a_second(&self) -> usize {
        let within = |(n, at): (usize, &Millis)| {
            self.entered[n..].iter().take_while(|later| **later < at + SECOND).count()
        };
        self.entered.iter().enumerate().map(within).max().unwrap_or(0)
    }
}

#[test]
fn the_rate_is_a_bound_and_is_reached() {
    for count in [2, 10, 50] {
        for has_opening in [true, false] {
            let rate = Some(Rate { count, period: SECOND });
            let opens = has_opening.then_some(NOW + 10 * SECOND);
            let rules = Rules { rate, opens, early: 10 * SECOND, ..rules(10_000) };
            let begin = opens.unwrap_or(NOW + SECOND);
            // Within the last second before the opening, or the first one.
            let mut crowd = Crowd::of(count as usize * 50, rules, begin - SECOND);
            crowd.until(begin + 40 * SECOND);
            let (came, due) = (crowd.entered.len(), count as usize * 40);
            let what = format!("{count}/s, opens: {has_opening}: {came} of {due}");
            assert!(came * 100 >= due * 95, "{what}");
            assert!(came <= due + 2 * count as usize, "{what}");
            let most = crowd.most_in_a_second();
            assert!(most <= 2 * count as usize, "{what}, {most} in a second");
        }
    }
}

/// By capacity alone: everyone leaves after a stay.
#[test]
fn places_that_become_free_are_taken_soon() {
    for capacity in [1, 5, 20, 100] {
        let stay = 20 * SECOND;
        let mut crowd = Crowd::of(capacity as usize * 12, Rules { stay, ..rules(capacity) }, NOW);
        // Ten stays of those who look at one page.
        let (mut free, mut freed) = (0, 0);
        for tenth in 0..2_000 {
            crowd.until(NOW + 5 * SECOND + tenth * 100);
            crowd.play.room.tidy(crowd.play.now);
            if crowd.play.room.waiting() > 0 {
                free += u64::from(capacity) - crowd.play.room.inside().0 as u64;
                freed = crowd.play.room.counts().left;
            }
        }
        let average = free as f64 / 10.0 / freed as f64;
        assert!(freed >= 6 * u64::from(capacity), "{capacity}: {freed} have left");
        assert!(average <= 2.0, "{capacity}: a place is free for {average} s");
    }
}
