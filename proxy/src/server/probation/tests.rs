use super::*;

fn bounds() -> Reload {
    Reload {
        probation: Duration::from_secs(30),
        max_5xx_percent: 5,
        max_p99_factor: 3,
        min_requests: 100,
    }
}

/// So many requests, of which so many failed, all of them within one of [`Totals::BOUNDS`].
fn all(requests: u64, errors: u64, bucket: usize) -> Totals {
    let mut totals = Totals {
        errors,
        ..Totals::default()
    };
    totals.by_time[bucket] = requests;
    totals
}

/// The bucket up to this many seconds.
fn within(seconds: f64) -> usize {
    let found = Totals::BOUNDS.iter().position(|bound| *bound == seconds);
    found.expect("a bound")
}

#[test]
fn what_is_worse() {
    let fast = within(0.01);
    let sound = all(1_000, 0, fast);
    let word = |verdict: Verdict| match verdict {
        Verdict::Undecided => "undecided",
        Verdict::Fine => "fine",
        Verdict::Worse(Worse::Errors { .. }) => "errors",
        Verdict::Worse(Worse::Slow { .. }) => "slow",
    };
    for (name, before, after, wanted) in [
        ("nothing yet", sound, all(0, 0, 0), "undecided"),
        (
            "one less than enough, all failed",
            sound,
            all(99, 99, fast),
            "undecided",
        ),
        ("the same", sound, all(100, 0, fast), "fine"),
        (
            "exactly as much worse as allowed",
            sound,
            all(100, 5, fast),
            "fine",
        ),
        ("more than that", sound, all(100, 6, fast), "errors"),
        (
            "bad before already",
            all(1_000, 500, fast),
            all(100, 55, fast),
            "fine",
        ),
        (
            "and worse",
            all(1_000, 500, fast),
            all(100, 56, fast),
            "errors",
        ),
        ("better", all(1_000, 500, fast), all(100, 0, fast), "fine"),
        (
            "nothing before, sound",
            all(99, 99, fast),
            all(100, 5, fast),
            "fine",
        ),
        (
            "nothing before, failing",
            all(99, 99, fast),
            all(100, 6, fast),
            "errors",
        ),
        (
            "nothing before, slow",
            all(99, 0, fast),
            all(100, 0, within(10.0)),
            "fine",
        ),
        (
            "slower, and fast enough",
            all(1_000, 0, 0),
            all(100, 0, within(0.05)),
            "fine",
        ),
        ("slower", sound, all(100, 0, within(0.1)), "slow"),
        (
            "slower by less than the factor",
            all(1_000, 0, within(0.1)),
            all(100, 0, within(0.25)),
            "fine",
        ),
        (
            "slower by more",
            all(1_000, 0, within(0.1)),
            all(100, 0, within(0.5)),
            "slow",
        ),
        ("both", sound, all(100, 50, within(10.0)), "errors"),
        (
            "downloads only",
            sound,
            all(100, 0, Totals::BOUNDS.len()),
            "fine",
        ),
    ] {
        assert_eq!(word(judge(&before, &after, &bounds())), wanted, "{name}");
    }
    let any_time = Reload {
        max_p99_factor: 0,
        ..bounds()
    };
    let slow = all(100, 0, within(10.0));
    assert_eq!(judge(&sound, &slow, &any_time), Verdict::Fine);
}

#[test]
fn the_slowest_of_a_hundred() {
    let mut mixed = all(99, 0, within(0.01));
    mixed.by_time[within(5.0_f64.min(2.5))] = 1;
    let found = p99(&mixed).expect("a time");
    assert!(found <= 0.01, "{found}");
    mixed.by_time[within(2.5)] = 3;
    let found = p99(&mixed).expect("a time");
    assert!(found > 1.0 && found <= 2.5, "{found}");
    assert_eq!(p99(&Totals::default()), None);
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_probation_fails_or_ends() {
    let fast = within(0.01);
    let probation = Probation::default();
    assert_eq!(probation.look(SECOND, all(1_000, 0, fast)), None);
    probation.begin(2, &bounds(), 10 * SECOND, all(2_000, 0, fast));
    assert_eq!(probation.left(15 * SECOND), Some(25 * SECOND));
    assert_eq!(
        probation.look(11 * SECOND, all(2_050, 50, fast)),
        None,
        "too few"
    );
    let outcome = probation.look(12 * SECOND, all(2_100, 100, fast));
    let wanted = Worse::Errors {
        before: 0.0,
        after: 100.0,
    };
    assert_eq!(outcome, Some(Outcome::Failed(2, wanted)));
    probation.end();
    assert_eq!(probation.left(12 * SECOND), None);

    probation.begin(3, &bounds(), 20 * SECOND, all(2_100, 100, fast));
    assert_eq!(probation.look(49 * SECOND, all(2_300, 100, fast)), None);
    let outcome = probation.look(50 * SECOND, all(2_300, 100, fast));
    assert_eq!(outcome, Some(Outcome::Passed(3, true)));

    probation.begin(4, &bounds(), 60 * SECOND, all(2_300, 100, fast));
    let outcome = probation.look(90 * SECOND, all(2_301, 101, fast));
    assert_eq!(outcome, Some(Outcome::Passed(4, false)));

    let none = Reload {
        probation: Duration::ZERO,
        ..bounds()
    };
    probation.begin(5, &none, 100 * SECOND, all(2_301, 101, fast));
    assert_eq!(probation.left(100 * SECOND), None);
}

#[test]
fn one_that_replaces_another_on_probation_is_compared_with_the_time_before_both() {
    let fast = within(0.01);
    let probation = Probation::default();
    probation.begin(2, &bounds(), SECOND, all(1_000, 0, fast));
    // Everything fails, and before anything is concluded comes another that is no better.
    probation.begin(3, &bounds(), 2 * SECOND, all(1_099, 99, fast));
    let outcome = probation.look(3 * SECOND, all(1_199, 199, fast));
    assert!(
        matches!(outcome, Some(Outcome::Failed(3, _))),
        "{outcome:?}"
    );
}

#[test]
fn the_same_text_again_goes_on_to_prove_itself() {
    let fast = within(0.01);
    let probation = Probation::default();
    probation.begin(2, &bounds(), SECOND, all(1_000, 0, fast));
    probation.rename(3);
    assert_eq!(probation.left(2 * SECOND), Some(29 * SECOND));
    let outcome = probation.look(3 * SECOND, all(1_100, 100, fast));
    assert!(
        matches!(outcome, Some(Outcome::Failed(3, _))),
        "{outcome:?}"
    );
    // What comes before anybody has acted on it is compared with the time before both.
    probation.begin(4, &bounds(), 4 * SECOND, all(1_100, 100, fast));
    let outcome = probation.look(5 * SECOND, all(1_200, 200, fast));
    assert!(
        matches!(outcome, Some(Outcome::Failed(4, _))),
        "{outcome:?}"
    );
}

#[test]
fn the_time_before_is_about_now() {
    let fast = within(0.01);
    let probation = Probation::default();
    // Long ago half of all failed, and of late none.
    assert_eq!(probation.look(SECOND, all(10_000, 5_000, fast)), None);
    assert_eq!(
        probation.look(1_000 * SECOND, all(20_000, 5_000, fast)),
        None
    );
    probation.begin(2, &bounds(), 1_030 * SECOND, all(21_000, 5_000, fast));
    let outcome = probation.look(1_031 * SECOND, all(21_100, 5_010, fast));
    assert!(
        matches!(outcome, Some(Outcome::Failed(2, _))),
        "{outcome:?}"
    );
}
