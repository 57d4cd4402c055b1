use super::*;
use crate::upstream::testing::{MILLI, SECOND, servers};

fn index(chosen: Option<Chosen>) -> Option<usize> {
    chosen.map(|chosen| usize::from(chosen.server.address.port()) - 3000)
}

fn chooser(balance: Balance) -> Chooser {
    Chooser::new(balance, Duration::ZERO)
}

fn at(chooser: &Chooser, servers: &[Arc<Server>], tick: Duration) -> Option<usize> {
    past(chooser, servers, &[], tick)
}

fn past(
    chooser: &Chooser,
    servers: &[Arc<Server>],
    tried: &[usize],
    tick: Duration,
) -> Option<usize> {
    let tried: Vec<_> = tried.iter().map(|nth| servers[*nth].address).collect();
    index(chooser.choose(&Choice {
        servers,
        tried: &tried,
        key: b"",
        tick,
    }))
}

fn by_key(chooser: &Chooser, servers: &[Arc<Server>], key: u32) -> Option<usize> {
    index(chooser.choose(&Choice {
        servers,
        tried: &[],
        key: &key.to_be_bytes(),
        tick: SECOND,
    }))
}

fn counts(chooser: &Chooser, servers: &[Arc<Server>], draws: u32, tick: Duration) -> Vec<u32> {
    let mut counts = vec![0; servers.len()];
    for key in 0..draws {
        let chosen = index(chooser.choose(&Choice {
            servers,
            tried: &[],
            key: &key.to_be_bytes(),
            tick,
        }));
        counts[chosen.expect("someone")] += 1;
    }
    counts
}

#[test]
fn round_robin_is_smooth_and_weighted() {
    let servers = servers(&[5, 1, 1], 0);
    let chooser = chooser(Balance::RoundRobin);
    let order: Vec<usize> = (0..7)
        .filter_map(|_| at(&chooser, &servers, SECOND))
        .collect();
    assert_eq!(order, [0, 0, 1, 0, 2, 0, 0]);
}

#[test]
fn hashing_is_weighted_and_moves_only_the_keys_of_who_leaves() {
    let servers = servers(&[1, 1, 2], 0);
    let chooser = chooser(Balance::ConsistentHash);
    let counts = counts(&chooser, &servers, 8000, SECOND);
    assert!(
        (1700..2300).contains(&counts[0]) && (3600..4400).contains(&counts[2]),
        "{counts:?}"
    );
    let before: Vec<_> = (0..500)
        .map(|key| by_key(&chooser, &servers, key))
        .collect();
    servers[0].state.set_up(false, SECOND, "");
    for (key, was) in (0..500).zip(before) {
        let is = by_key(&chooser, &servers, key);
        assert!(
            is == was || was == Some(0),
            "key {key} moved from {was:?} to {is:?}"
        );
    }
}

#[test]
fn a_hot_key_overflows_to_the_next_bidder() {
    let servers = servers(&[1, 1, 1, 1], 0);
    let chooser = chooser(Balance::ConsistentHash);
    let home = by_key(&chooser, &servers, 7).expect("someone");
    // What the others would get were it not there.
    servers[home].state.set_up(false, SECOND, "");
    let next = by_key(&chooser, &servers, 7).expect("someone");
    servers[home].state.set_up(true, SECOND, "");
    let mut order = Vec::new();
    for _ in 0..80 {
        let chosen = by_key(&chooser, &servers, 7).expect("someone");
        servers[chosen].state.begin();
        order.push(chosen);
    }
    assert_eq!(&order[..3], [home, home, next], "at first a few");
    let load = |nth: usize| servers[nth].state.in_flight();
    assert_eq!((load(home), load(next)), (25, 25), "1.25 times 80 / 4");
    servers[home].state.end();
    assert_eq!(
        by_key(&chooser, &servers, 7),
        Some(home),
        "as soon as there is room"
    );
}

#[test]
fn room_is_a_quarter_more_than_the_fair_share() {
    for (weight, weights, requests, wanted) in [
        (1, 1, 0, 2),
        (1, 2, 0, 2),
        (1, 2, 3, 3),
        (1, 4, 79, 25),
        (2, 4, 79, 50),
        (1, 4, 3, 2),
        (1, 1000, 0, 2),
    ] {
        assert_eq!(
            room(weight, weights, requests),
            wanted,
            "{weight}/{weights}"
        );
    }
}

#[test]
fn least_requests_prefers_the_idle_and_goes_by_weight_among_them() {
    let servers = servers(&[1, 3], 0);
    let chooser = chooser(Balance::LeastRequests);
    let idle = counts(&chooser, &servers, 4000, SECOND);
    assert!((800..1200).contains(&idle[0]), "{idle:?}");
    (0..5).for_each(|_| servers[0].state.begin());
    assert_eq!(counts(&chooser, &servers, 100, SECOND), [0, 100]);
    (0..14).for_each(|_| servers[1].state.begin());
    assert_eq!(
        counts(&chooser, &servers, 100, SECOND),
        [0, 100],
        "15 of 3 before 6 of 1"
    );
    (0..4).for_each(|_| servers[1].state.begin());
    assert_eq!(counts(&chooser, &servers, 100, SECOND), [100, 0]);
}

#[test]
fn a_share_grows_in_every_way_of_balancing() {
    for balance in [
        Balance::LeastRequests,
        Balance::RoundRobin,
        Balance::ConsistentHash,
    ] {
        let servers = servers(&[1, 1], 0);
        let chooser = Chooser::new(balance, 100 * SECOND);
        servers[0].state.set_up(false, 10 * SECOND, "");
        servers[0].state.set_up(true, 20 * SECOND, "");
        for (seconds, least, most) in [(20, 220, 520), (70, 1200, 1640), (120, 1850, 2150)] {
            let share = counts(&chooser, &servers, 4000, seconds * SECOND)[0];
            assert!(
                (least..=most).contains(&share),
                "{balance:?} after {seconds}: {share} of 4000"
            );
        }
    }
}

#[test]
fn classes_come_in_order() {
    let servers = servers(&[1, 1, 1], 1);
    let chooser = chooser(Balance::RoundRobin);
    let now = 5 * SECOND;
    servers[0].state.set_up(false, SECOND, "");
    assert_eq!(at(&chooser, &servers, now), Some(1));
    assert_eq!(
        past(&chooser, &servers, &[1], now),
        Some(2),
        "then the backup"
    );
    servers[1].state.refused(now);
    assert_eq!(
        at(&chooser, &servers, now),
        Some(2),
        "a backup before one that refused just now"
    );
    servers[2].state.owes(3 * SECOND);
    assert_eq!(at(&chooser, &servers, now), Some(2), "and a stalled one");
    servers[2].state.eject(now, 10 * SECOND, SECOND, "");
    assert_eq!(at(&chooser, &servers, now), Some(2), "nobody else answers");
    assert_eq!(past(&chooser, &servers, &[2], now), Some(1));
    servers[1].state.accepts(now, now);
    assert_eq!(at(&chooser, &servers, now), Some(1), "well before ejected");
    assert_eq!(
        past(&chooser, &servers, &[1], now),
        None,
        "though it was tried"
    );
    servers[1].state.set_drained(true);
    assert_eq!(at(&chooser, &servers, now), Some(2));
    servers[2].state.set_drained(true);
    assert_eq!(at(&chooser, &servers, now), None, "not even the last");
}

#[test]
fn a_stalled_server_is_asked_when_nobody_else_is_well() {
    let servers = servers(&[1, 1], 0);
    let chooser = chooser(Balance::RoundRobin);
    servers[0].state.owes(SECOND);
    assert_eq!(counts(&chooser, &servers, 100, 2 * SECOND), [0, 100]);
    servers[1].state.set_up(false, SECOND, "");
    assert_eq!(at(&chooser, &servers, 2 * SECOND), Some(0));
    servers[1].state.set_up(true, SECOND, "");
    servers[0].state.heard(2 * SECOND, 2 * SECOND);
    assert_eq!(counts(&chooser, &servers, 100, 2 * SECOND), [50, 50]);
}

#[test]
fn a_report_that_takes_its_time_does_not_wake_the_backup() {
    let servers = servers(&[1, 1], 1);
    let chooser = chooser(Balance::RoundRobin);
    servers[0].state.owes(SECOND);
    assert_eq!(at(&chooser, &servers, 9 * SECOND), Some(0));
}

#[test]
fn a_server_that_refused_is_tried_once_a_pause() {
    let servers = servers(&[1, 1], 0);
    let chooser = chooser(Balance::LeastRequests);
    let mut now = SECOND;
    servers[0].state.refused(now);
    let mut tries = 0;
    for _ in 0..10_000 {
        now += MILLI;
        if at(&chooser, &servers, now) == Some(0) {
            tries += 1;
            servers[0].state.refused(now);
        }
    }
    // 50, 150 and 350 ms, and four a second from there on.
    assert_eq!(tries, 41);
    // Alone it is asked whatever it does, but only one request expects an answer.
    servers[1].state.set_up(false, SECOND, "");
    let willing = (0..5).filter(|_| {
        let choice = Choice {
            servers: &servers,
            tried: &[],
            key: b"",
            tick: now + 2 * SECOND,
        };
        chooser.choose(&choice).expect("someone").is_willing
    });
    assert_eq!(willing.count(), 1);
}
