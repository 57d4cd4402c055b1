use proptest::prelude::*;

use super::*;

const PATIENCE: Duration = Duration::from_secs(1);

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A queue of those who came at these milliseconds; their numbers are their places in the list.
fn queue(waiting: &[(Class, u64)]) -> (Queue<usize>, Vec<Ticket>) {
    let mut queue = Queue::default();
    let mut tickets = Vec::new();
    for (n, (class, at)) in waiting.iter().enumerate() {
        match queue.join(*class, ms(*at), ms(*at) + PATIENCE, 100, n) {
            Joined::Waits(ticket) => tickets.push(ticket),
            other => panic!("{other:?}"),
        }
    }
    (queue, tickets)
}

fn order(queue: &mut Queue<usize>, now: u64) -> Vec<usize> {
    std::iter::from_fn(|| queue.next(ms(now), PATIENCE).map(|(_, who)| who)).collect()
}

#[test]
fn the_most_important_go_first_and_in_order() {
    use Class::*;
    let (mut waiting, _) = queue(&[
        (Bot, 0),
        (Browse, 1),
        (Checkout, 2),
        (Cart, 3),
        (Checkout, 4),
    ]);
    assert_eq!(order(&mut waiting, 10), [2, 4, 3, 1, 0]);
    assert!(waiting.is_empty());
}

#[test]
fn the_newest_go_first_once_the_oldest_have_waited_long() {
    use Class::*;
    let came = [(Browse, 0), (Browse, 400), (Cart, 450), (Cart, 600)];
    let (mut waiting, _) = queue(&came);
    // The carts are in time, the pages are not.
    assert_eq!(order(&mut waiting, 700), [2, 3, 1, 0]);
    let (mut waiting, _) = queue(&came);
    assert_eq!(order(&mut waiting, 500), [2, 3, 0, 1]);
}

#[test]
fn a_full_queue_keeps_who_matters_most() {
    use Class::*;
    let (mut waiting, tickets) = queue(&[(Browse, 0), (Bot, 1), (Bot, 2), (Cart, 3)]);
    let mut join = |class, who| match waiting.join(class, ms(9), ms(99), 4, who) {
        Joined::Displaced(_, class, other) => Some((class, other)),
        Joined::Full(_) => None,
        Joined::Waits(_) => panic!("there was room"),
    };
    assert_eq!(
        join(Bot, 10),
        Some((Bot, 1)),
        "the oldest of those who matter as little"
    );
    assert_eq!(join(Cart, 11), Some((Bot, 2)));
    assert_eq!(join(Checkout, 12), Some((Bot, 10)));
    assert_eq!(join(Bot, 13), None);
    assert_eq!(join(Browse, 14), Some((Browse, 0)));
    assert_eq!(join(Checkout, 15), Some((Browse, 14)));
    assert_eq!(join(Browse, 16), None);
    assert_eq!(order(&mut waiting, 10), [12, 15, 3, 11]);
    assert_eq!(waiting.leave(tickets[0]), None);
}

#[test]
fn persons_are_passed_over_so_often_only() {
    use Class::*;
    let (mut waiting, _) = queue(&[(Bot, 0), (Browse, 0), (Cart, 0)]);
    let mut turns = Vec::new();
    for n in 0..64 {
        let _ = waiting.join(Checkout, ms(1), ms(99), 1_000, 100 + n);
    }
    while let Some((class, _)) = waiting.next(ms(2), PATIENCE) {
        turns.push(class);
    }
    let place = |class| turns.iter().position(|turn| *turn == class);
    assert_eq!(place(Cart), Some(PASSED_OVER as usize));
    assert_eq!(place(Browse), Some(PASSED_OVER as usize + 1));
    assert_eq!(place(Bot), Some(66), "programs get what is left");
}

#[test]
fn who_leaves_or_becomes_more_important() {
    use Class::*;
    let (mut waiting, tickets) = queue(&[(Bot, 0), (Bot, 1), (Checkout, 2), (Browse, 3)]);
    assert_eq!(waiting.leave(tickets[3]), Some(3));
    assert_eq!(waiting.leave(tickets[3]), None);
    let raised = waiting.promote(tickets[1], Cart);
    assert_ne!(raised, tickets[1]);
    assert_eq!(waiting.promote(raised, Browse), raised, "never less");
    assert_eq!(waiting.leave(tickets[1]), None);
    assert_eq!(waiting.len_of(Cart), 1);
    assert_eq!(order(&mut waiting, 4), [2, 1, 0]);
    assert_eq!(waiting.promote(raised, Checkout), raised, "it has gone");
}

#[test]
fn whose_time_is_over_is_told() {
    use Class::*;
    let (mut waiting, _) = queue(&[(Bot, 0), (Cart, 10), (Bot, 20)]);
    let mut late = Vec::new();
    waiting.expire(ms(1_010), |class, who| late.push((class, who)));
    assert_eq!(late, [(Cart, 1), (Bot, 0)]);
    assert_eq!(waiting.len(), 1);
}

proptest! {
    /// Nobody is lost or served twice, the bound holds, and who goes first matters most but for the share of
    /// the others.
    #[test]
    fn everyone_has_one_end(steps in prop::collection::vec((0..4_usize, 0..5_usize), 1..300), most in 0..20_usize) {
        let mut waiting = Queue::default();
        let mut tickets: Vec<(usize, Ticket)> = Vec::new();
        let mut ended = vec![0; steps.len()];
        for (n, (class, step)) in steps.iter().enumerate() {
            let class = Class::ALL[*class];
            let now = ms(n as u64 * 40);
            match step {
                0..3 => match waiting.join(class, now, now + PATIENCE, most, n) {
                    Joined::Waits(ticket) => tickets.push((n, ticket)),
                    Joined::Displaced(ticket, other, who) => {
                        prop_assert!(other >= class);
                        ended[who] += 1;
                        tickets.push((n, ticket));
                    }
                    Joined::Full(who) => {
                        prop_assert!(most == 0 || Class::ALL.iter().all(|c| *c < class || waiting.len_of(*c) == 0));
                        ended[who] += 1;
                    }
                },
                3 => {
                    let important = Class::ALL.into_iter().find(|c| waiting.len_of(*c) > 0);
                    if let Some((class, who)) = waiting.next(now, PATIENCE) {
                        prop_assert!(Some(class) >= important);
                        prop_assert!(class != Class::Bot || important == Some(Class::Bot));
                        ended[who] += 1;
                    }
                }
                _ => {
                    if let Some((who, ticket)) = tickets.pop()
                        && let Some(left) = waiting.leave(ticket)
                    {
                        prop_assert_eq!(left, who);
                        ended[who] += 1;
                    }
                }
            }
            prop_assert!(waiting.len() <= most);
            let sum: usize = Class::ALL.iter().map(|c| waiting.len_of(*c)).sum();
            prop_assert_eq!(waiting.len(), sum);
        }
        waiting.expire(Duration::MAX, |_, who| ended[who] += 1);
        prop_assert!(waiting.is_empty());
        for (n, (_, step)) in steps.iter().enumerate() {
            prop_assert_eq!(ended[n], usize::from(*step < 3), "{}", n);
        }
    }

    /// However many matter more, a class of persons has its turn within so many.
    #[test]
    fn no_person_starves(class in 1..3_usize, others in prop::collection::vec(0..3_usize, 100)) {
        let class = Class::ALL[class];
        let mut waiting = Queue::default();
        let _ = waiting.join(class, ms(0), ms(1), 1_000, true);
        for other in others {
            let other = Class::ALL[other].min(class);
            if other < class {
                let _ = waiting.join(other, ms(0), ms(1), 1_000, false);
            }
        }
        let turn = std::iter::from_fn(|| waiting.next(ms(0), PATIENCE)).position(|(_, who)| who);
        // Two classes may be due at once.
        prop_assert!(turn.is_some_and(|turn| turn <= PASSED_OVER as usize + 2));
    }
}
