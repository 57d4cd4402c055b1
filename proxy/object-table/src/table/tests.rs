use std::{
    collections::HashMap,
    sync::atomic::AtomicBool,
    thread,
    time::{Duration, Instant},
};

use proptest::prelude::*;

use super::*;

/// A number as a hash would be.
fn number(n: u64) -> u64 {
    let n = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (n ^ (n >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

fn object(n: u64, weight: u64) -> Object<u64> {
    Object::new(weight, n, &n.to_le_bytes())
}

fn put(table: &Table<u64>, object: Object<u64>) -> bool {
    table.update(number(*object.facts()), |_| Change::Put(object))
}

#[derive(Clone, Debug)]
enum Act {
    Put(u64, u64),
    Get(u64),
    Remove(u64),
    Keep(u64),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = (0..4, 0..60_u64, 1..400_u64).prop_map(|(kind, n, weight)| match kind {
        0 | 1 => Act::Put(n, weight),
        2 => Act::Get(n),
        _ if weight < 200 => Act::Remove(n),
        _ => Act::Keep(n),
    });
    prop::collection::vec(act, 0..600)
}

proptest! {
    /// What is in the table is what was put there last; its books are those of what is in it; the bound
    /// holds.
    #[test]
    fn it_is_a_map_that_forgets(acts in acts(), capacity in 100..4_000_u64) {
        let table = Table::new(capacity);
        let mut model: HashMap<u64, Object<u64>> = HashMap::new();
        for act in acts {
            match act {
                Act::Put(n, weight) => {
                    let new = object(n, weight);
                    let done = table.update(number(n), |there| {
                        // Whatever is there is the last that was put.
                        if let Some(there) = there {
                            assert!(model.get(&n).is_some_and(|known| known.is_same(there)));
                        }
                        Change::Put(new.clone())
                    });
                    prop_assert_eq!(done, weight <= capacity);
                    model.remove(&n);
                    if done {
                        prop_assert!(table.peek(number(n)).is_some_and(|there| there.is_same(&new)));
                        model.insert(n, new);
                    }
                }
                Act::Get(n) => {
                    if let Some(there) = table.get(number(n)) {
                        prop_assert!(model.get(&n).is_some_and(|known| known.is_same(&there)));
                        prop_assert_eq!(there.bytes(), n.to_le_bytes());
                    }
                }
                Act::Remove(n) => {
                    let was_there = table.peek(number(n)).is_some();
                    prop_assert_eq!(table.update(number(n), |_| Change::Remove), was_there);
                    prop_assert!(table.get(number(n)).is_none());
                    model.remove(&n);
                }
                Act::Keep(n) => prop_assert!(!table.update(number(n), |_| Change::Keep)),
            }
            model.retain(|n, _| table.peek(number(*n)).is_some());
            let there: Vec<_> = table.steps().flatten().collect();
            prop_assert_eq!(there.len(), model.len());
            prop_assert_eq!(table.len(), there.len() as u64);
            prop_assert_eq!(table.weight(), there.iter().map(Object::weight).sum::<u64>());
            prop_assert!(table.weight() <= capacity);
        }
        let keys: Vec<u64> = model.keys().copied().collect();
        drop(model);
        for n in keys {
            prop_assert!(table.update(number(n), |_| Change::Remove));
        }
        prop_assert!(table.is_empty() && table.weight() == 0);
    }
}

#[test]
fn what_is_asked_for_outlives_a_crawler() {
    let table = Table::new(1_000);
    for n in 0..500 {
        put(&table, object(n, 1));
    }
    for n in 0..400 {
        for _ in 0..2 {
            assert!(table.get(number(n)).is_some());
        }
    }
    for n in 10_000..30_000 {
        put(&table, object(n, 1));
    }
    let left = (0..400).filter(|n| table.peek(number(*n)).is_some()).count();
    // Now and then the search for what leaves has to end.
    assert!(left > 390, "{left}");
    assert_eq!(table.weight(), 1_000);
    assert_eq!(table.evicted(), 500 + 20_000 - 1_000);
}

#[test]
fn what_comes_back_soon_stays() {
    let table = Table::new(1_000);
    for n in 0..1_100 {
        put(&table, object(n, 1));
    }
    assert!(table.peek(number(0)).is_none());
    put(&table, object(0, 1));
    for n in 10_000..10_800 {
        put(&table, object(n, 1));
    }
    assert!(table.peek(number(0)).is_some());
}

#[test]
fn a_heavy_object_takes_the_place_of_many_and_none_that_of_all() {
    let table = Table::new(100);
    for n in 0..100 {
        put(&table, object(n, 1));
    }
    assert!(put(&table, object(200, 60)));
    assert_eq!((table.weight(), table.len()), (100, 41));
    let too_heavy = object(200, 101);
    assert!(!put(&table, too_heavy));
    // What it was to replace is out of date.
    assert!(table.peek(number(200)).is_none());
    assert_eq!((table.weight(), table.len()), (40, 40));
    assert!(put(&table, object(201, 100)));
    assert_eq!((table.weight(), table.len()), (100, 1));
}

#[test]
fn an_object_lies_in_one_place() {
    let [one, other] = [Table::new(10), Table::new(10)];
    let object = object(1, 1);
    assert!(put(&one, object.clone()));
    assert!(!one.update(number(2), |_| Change::Put(object.clone())));
    assert!(!put(&one, object.clone()));
    assert!(!put(&other, object.clone()));
    assert_eq!((one.len(), other.len()), (1, 0));
    // Nothing has left for it.
    let full = Table::new(1);
    assert!(put(&full, self::object(2, 1)));
    assert!(!put(&full, object.clone()));
    assert_eq!((full.len(), full.evicted()), (1, 0));
    assert!(one.update(object.number(), |_| Change::Remove));
    assert!(put(&other, object));
}

#[test]
fn popular_objects_do_not_make_a_search_endless() {
    let table = Table::new(10_000);
    for n in 0..10_000 {
        put(&table, object(n, 1));
        for _ in 0..4 {
            table.get(number(n));
        }
    }
    let began = Instant::now();
    for n in 0..1_000 {
        assert!(put(&table, object(20_000 + n, 1)));
    }
    assert_eq!(table.weight(), 10_000);
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn who_looks_while_others_write_finds_what_is_there() {
    const KEPT: u64 = 50;
    let table = Table::new(64 * 1024 * 1024);
    for n in 0..KEPT {
        put(&table, object(n, 1));
    }
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut looks = 0_u64;
                    while !is_over.load(Relaxed) || looks < KEPT {
                        let n = looks % KEPT;
                        let there = table.get(number(n)).expect("it never left");
                        assert_eq!((*there.facts(), there.bytes()), (n, &n.to_le_bytes()[..]));
                        looks += 1;
                    }
                })
            })
            .collect();
        // Grows every shard many times, replaces what is looked for, and takes all else out again.
        for n in KEPT..30_000 {
            put(&table, object(n, 1_024));
            put(&table, object(n % KEPT, 1));
        }
        for n in KEPT..30_000 {
            assert!(table.update(number(n), |_| Change::Remove));
        }
        is_over.store(true, Relaxed);
        for reader in readers {
            reader.join().expect("a reader");
        }
    });
    assert_eq!((table.len(), table.weight()), (KEPT, KEPT));
}

#[test]
fn another_capacity_holds_step_by_step() {
    let table = Table::new(10_000);
    for n in 0..100 {
        assert!(put(&table, object(n, 100)));
    }
    assert_eq!((table.len(), table.weight()), (100, 10_000));
    let mut steps = 0;
    while !table.resize(2_050, 16) {
        steps += 1;
        assert_eq!(table.len(), 100 - 16 * steps);
        assert_eq!(table.weight(), table.capacity(), "no room for more meanwhile");
        // What comes meanwhile takes the place of one, not of all that are too many.
        assert!(put(&table, object(1_000 + steps, 100)));
        assert_eq!(table.len(), 100 - 16 * steps);
    }
    assert_eq!((table.len(), table.weight(), table.capacity()), (20, 2_000, 2_050));
    assert!(!put(&table, object(7, 2_051)), "heavier than all may be");
    assert!(table.resize(10_000, 16), "more is there at once");
    for n in 200..280 {
        assert!(put(&table, object(n, 100)));
    }
    assert_eq!(table.len(), 100);
    assert!(table.resize(0, 1_000) && table.is_empty());
}
