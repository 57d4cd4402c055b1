//! The queue against one that keeps every ticket.

use proptest::prelude::*;

use super::*;

const NOW: Millis = 1_800_000_000_000;

fn issue(queue: &mut Queue, now: Millis) -> Order {
    let (order, is_counted) = queue.issue(bin_of(now));
    assert!(is_counted);
    order
}

#[test]
fn tickets_are_called_one_by_one_in_their_order() {
    let mut queue = Queue::new(NOW);
    // Many within one bin, then some far apart.
    let mut tickets: Vec<_> = (0..50).map(|_| issue(&mut queue, NOW)).collect();
    tickets.extend((1..50).map(|n| issue(&mut queue, NOW + n * 1_000)));
    for (n, ticket) in tickets.iter().enumerate() {
        assert_eq!(queue.place(*ticket) as usize, n + 1);
    }
    for n in 0..tickets.len() {
        assert!(!queue.is_called(tickets[n]));
        assert_eq!(queue.call(1, NOW + 60_000, 1), 1);
        assert!(queue.is_called(tickets[n]), "{n}");
        assert_eq!(queue.place(tickets[n]), 0);
        for (ahead, later) in tickets[n + 1..].iter().enumerate() {
            assert_eq!(queue.place(*later) as usize, ahead + 1);
        }
    }
    assert_eq!((queue.call(1, NOW + 60_000, 1), queue.waiting()), (0, 0));
    // The bin that was emptied last is not at its end.
    let late = issue(&mut queue, NOW + 49_000);
    assert!(!queue.is_called(late));
    assert_eq!(queue.place(late), 1);
}

#[test]
fn who_does_not_come_holds_nobody_back() {
    let mut queue = Queue::new(NOW);
    let tickets: Vec<_> = (0..4).map(|n| issue(&mut queue, NOW + n * 300)).collect();
    assert_eq!(queue.call(2, NOW + 2_000, 10_000), 2);
    assert_eq!(queue.call(1, NOW + 3_000, 10_000), 1);
    assert_eq!(queue.outstanding(), 3);
    queue.came(tickets[1]);
    queue.came(tickets[3]);
    assert_eq!(queue.outstanding(), 2, "who was not called is not expected");
    assert_eq!(queue.tidy(NOW + 11_999, 0), 0);
    assert_eq!(queue.tidy(NOW + 12_000, 0), 1);
    queue.came(tickets[0]);
    assert_eq!(queue.outstanding(), 1, "it was given up");
    queue.came(tickets[2]);
    assert_eq!((queue.outstanding(), queue.tidy(NOW + 60_000, 0)), (0, 0));
}

#[test]
fn hours_go_by() {
    let mut queue = Queue::new(NOW);
    let mut now = NOW;
    for hour in 0..100u64 {
        let first = issue(&mut queue, now);
        let second = issue(&mut queue, now + 1_000);
        assert_eq!(queue.place(second), 2, "hour {hour}");
        assert_eq!(queue.call(1, now, 0), 1);
        assert!(queue.is_called(first) && !queue.is_called(second));
        now += 3_600_000;
        queue.tidy(now, now);
        assert_eq!(queue.waiting(), 0, "what is void is forgotten");
        assert_eq!(queue.place(second), 1);
    }
    now += 40 * 3_600_000;
    let after = issue(&mut queue, now);
    assert_eq!((queue.waiting(), queue.place(after)), (1, 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever order tickets come in: as many are called as were asked for, earlier bins before later ones, and
    /// no place ever grows while nobody comes with a better ticket.
    #[test]
    fn like_a_list(
        orders in proptest::collection::vec((0u64..3_000, 0u32..SUBS), 1..300),
        calls in proptest::collection::vec(1u32..40, 1..40),
    ) {
        let first = bin_of(NOW);
        let mut queue = Queue::new(NOW);
        let mut tickets: Vec<_> =
            orders.iter().map(|(bin, sub)| Order::new(first + bin, *sub)).collect();
        for ticket in &tickets {
            prop_assert!(queue.add(*ticket));
        }
        tickets.sort();
        let mut places: Vec<_> = tickets.iter().map(|t| queue.place(*t)).collect();
        prop_assert!(places.is_sorted());
        let mut left = tickets.len() as u32;
        for wanted in calls {
            let called = queue.call(wanted, NOW, 1);
            prop_assert_eq!(called, wanted.min(left));
            left -= called;
            prop_assert_eq!(queue.waiting(), left);
            for (ticket, place) in tickets.iter().zip(&mut places) {
                let now = queue.place(*ticket);
                prop_assert!(now <= *place, "{ticket:?} was {place}, is {now}");
                prop_assert_eq!(now == 0, queue.is_called(*ticket));
                *place = now;
            }
            // Within a bin ranks have gaps; between bins nothing is out of order.
            let in_bins = |bin: u64| tickets.iter().filter(|t| t.bin() < bin).count() as u32;
            let done = tickets.len() as u32 - left;
            let at = queue.called.bin();
            prop_assert!(in_bins(at) <= done && done <= in_bins(at + 1));
        }
    }
}
