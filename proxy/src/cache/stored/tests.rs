use super::*;

fn judged() -> Judged {
    Judged {
        rules: Storable {
            lifetimes: Lifetimes::default(),
            age: Duration::ZERO,
            vary: Vec::new(),
            excluded: Vec::new(),
            shared_with_credentials: false,
        },
        response_time: UNIX_EPOCH,
        stamp: Stamp::default(),
        is_told_aside: false,
    }
}

#[test]
fn a_pause_ends_even_if_the_clock_goes_back() {
    let stored = Stored::from_head(b"key", b"", 200, Some(&[]), 0, judged());
    let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    stored.rest(at(10_000), Duration::from_secs(5));
    for (now, rests) in [
        (9_999, true),
        (10_000, true),
        (10_004, true),
        (10_005, false),
        (20_000, false),
        (5_000, false),
    ] {
        assert_eq!(stored.rests(at(now)), rests, "{now}");
    }
}

#[test]
fn what_is_stored_comes_back_wherever_it_lies() {
    for length in [0, 1, INLINE_MAX, INLINE_MAX + 1, 3 * INLINE_MAX] {
        let content = Bytes::from(vec![b'c'; length]);
        let pieces = [content.slice(..length / 3), content.slice(length / 3..)];
        let judged = judged();
        let born = Stored::from_head(b"key", b"head", 200, Some(&pieces), 9, judged);
        let stored = born.with_born(7).with_encoded(Encoded::none());
        assert_eq!(stored.key(), b"key", "{length}");
        assert_eq!(stored.head(), &b"head"[..], "{length}");
        assert_eq!(stored.content(), content, "{length}");
        assert_eq!((stored.born(), stored.content_length()), (7, 9));
        assert!(stored.encoded().is_some() && born.encoded().is_none());
        let is_shared = stored.content().as_ptr() == born.content().as_ptr();
        assert_eq!(is_shared, length > INLINE_MAX, "{length}");
        assert!(born.weight() >= 7 + length, "{length}");
    }
}

#[test]
fn a_weight_is_what_the_allocator_takes() {
    for (bytes, taken) in [
        (0, 0),
        (1, 16),
        (16, 16),
        (17, 32),
        (128, 128),
        (129, 160),
        (1_280, 1_280),
        (1_281, 1_536),
        (1_537, 1_792),
        (2_048, 2_048),
        (2_049, 2_560),
        (100_000, 114_688),
    ] {
        assert_eq!(allocated(bytes), taken, "{bytes}");
    }
}
