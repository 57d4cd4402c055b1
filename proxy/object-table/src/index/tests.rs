use super::*;

fn object(number: u64) -> Object<()> {
    let object = Object::new(1, (), b"");
    object.head().number.store(number, Ordering::Relaxed);
    object
}

/// A number that goes to this bucket and has this mark.
fn number(home: u32, tag: u8) -> u64 {
    (u64::from(tag) << 32) | u64::from(home)
}

#[test]
fn a_bucket_is_a_line() {
    assert_eq!(size_of::<Bucket<()>>(), 64);
}

#[test]
fn marks_are_found_and_the_count_is_not_taken_for_one() {
    for (word, tag, wanted) in [
        (0_u64, 7, &[][..]),
        (0x07, 7, &[0]),
        (0x07_00_00_00_00_00_00, 7, &[6]),
        (0x07_00_07_00_00_00_07, 7, &[0, 4, 6]),
        (0x07_00_00_00_00_00_00_00, 7, &[]),
        (0x80_80_00_00_00_00_00_00, 0x80, &[6]),
    ] {
        let found: Vec<usize> = matches(word, tag).collect();
        assert!(wanted.iter().all(|slot| found.contains(slot)), "{word:x}: {found:?}");
        // The trick may find one too many beside a true one; the number is compared afterwards.
        assert!(wanted.is_empty() == found.is_empty(), "{word:x}: {found:?}");
    }
}

#[test]
fn a_segment_takes_a_page() {
    assert!(size_of::<Segment<()>>() + size_of::<Bucket<()>>() <= 4096);
}

#[test]
fn what_passed_by_a_full_bucket_is_found_and_forgotten() {
    let (index, mut rooms) = Index::new();
    // All want the same bucket, and many have the same mark.
    let objects: Vec<_> = (0..300).map(|n| object(number(n, (n % 3) as u8))).collect();
    for object in &objects {
        assert!(index.insert(&mut rooms, object.clone()));
    }
    for object in &objects {
        assert!(index.find(object.number(), true).is_some_and(|there| there.is_same(object)));
    }
    assert_eq!(index.steps().flatten().count(), objects.len());
    for object in objects.iter().step_by(2) {
        index.remove(&mut rooms, object);
        assert!(index.find(object.number(), false).is_none());
    }
    for object in objects.iter().skip(1).step_by(2) {
        assert!(index.find(object.number(), true).is_some());
        index.remove(&mut rooms, object);
    }
    assert_eq!(rooms.0[0].count, 0);
    let directory = index.0.load();
    let segment = directory.slice[0].load();
    let mut words = segment.iter().map(|bucket| bucket.word.load(Ordering::Relaxed));
    // Those that reached the end of the count stay there; nothing else is left.
    assert!(words.all(|word| word == 0 || word == PASSED_MAX << PASSED_SHIFT));
}

#[test]
fn segments_split_where_objects_are_many() {
    let (index, mut rooms) = Index::new();
    // Nearly all in one sixteenth of the range.
    let number = |n: u64| {
        let spread = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let spread = (spread ^ (spread >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        if n.is_multiple_of(100) { spread } else { spread >> 4 }
    };
    let objects: Vec<_> = (0..20_000).map(|n| object(number(n))).collect();
    for object in &objects {
        assert!(index.insert(&mut rooms, object.clone()));
    }
    for object in &objects {
        assert!(index.find(object.number(), true).is_some_and(|there| there.is_same(object)));
    }
    let depths: Vec<u32> = rooms.0.iter().map(|room| room.depth).collect();
    assert!(depths.first() > depths.last(), "{depths:?}");
    let mut found: Vec<u64> = index.steps().flatten().map(|object| object.number()).collect();
    let mut wanted: Vec<u64> = objects.iter().map(Object::number).collect();
    found.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(found, wanted);
    for object in &objects {
        index.remove(&mut rooms, object);
    }
    assert!(rooms.0.iter().all(|room| room.count == 0));
    assert_eq!(index.steps().flatten().count(), 0);
}

#[test]
fn numbers_that_are_no_hashes_find_an_end() {
    let (index, mut rooms) = Index::new();
    let inserted = (0..1_000).filter(|n| index.insert(&mut rooms, object(*n))).count();
    assert_eq!(inserted, BUCKETS * SLOTS);
    assert_eq!(rooms.0.len(), 1 << DEPTH_MAX);
}

#[test]
fn one_object_takes_the_place_of_another() {
    let (index, mut rooms) = Index::new();
    let [old, new] = [object(5), object(5)];
    assert!(index.insert(&mut rooms, old.clone()));
    index.replace(&old, new.clone());
    assert!(index.find(5, true).is_some_and(|there| there.is_same(&new)));
    assert_eq!(index.steps().flatten().count(), 1);
}
