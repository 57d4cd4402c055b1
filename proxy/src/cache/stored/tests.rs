use super::*;

#[test]
fn a_pause_ends_even_if_the_clock_goes_back() {
    let judged = Judged {
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
    };
    let stored = Stored::from_head(b"key", b"", 200, Some(&[]), 0, judged);
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
