//! When a certificate is renewed, and when an order that failed is tried again. Pure.

use std::time::{Duration, SystemTime};

/// No pause after failures is longer, unless the authority asks for one: a name that begins to lead here is
/// served the same day.
const PAUSE_MOST: Duration = Duration::from_secs(6 * 3_600);

/// An authority that asks for more is asked again after a day all the same.
pub(super) const ASKED_MOST: Duration = Duration::from_secs(86_400);

/// From when to when a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// Begin.
    pub not_before: SystemTime,
    /// End.
    pub not_after: SystemTime,
}

impl Validity {
    pub(super) fn length(&self) -> Duration {
        let length = self.not_after.duration_since(self.not_before);
        length.unwrap_or_default()
    }
}

/// When a certificate is to be renewed. What the authority suggests (`suggested`, a time chosen out of its
/// window, RFC 9773 §4.2) counts, but not beyond five sixths of the life; `renew_before` counts where it is earlier,
/// yet never within the first third of the life, so that a certificate that lives shorter than that is not renewed
/// without end. Without either: after two thirds of the life, up to a sixtieth of it earlier, by `jitter` from 0 to 1.
pub fn due(
    validity: &Validity,
    renew_before: Option<Duration>,
    suggested: Option<SystemTime>,
    jitter: f64,
) -> SystemTime {
    let life = validity.length();
    let suggested = suggested.map(|time| time.min(validity.not_after - life / 6));
    let wanted = renew_before.map(|before| {
        let time = validity.not_after.checked_sub(before);
        let earliest = validity.not_before + life / 3;
        time.unwrap_or(earliest).max(earliest)
    });
    let by_itself =
        || validity.not_before + life * 2 / 3 - (life / 60).mul_f64(jitter.clamp(0.0, 1.0));
    match (suggested, wanted) {
        (Some(suggested), Some(wanted)) => suggested.min(wanted),
        (Some(time), None) | (None, Some(time)) => time,
        (None, None) => by_itself(),
    }
}

/// A time within a suggested window, by `jitter` from 0 to 1; `None` where the window is none (RFC 9773 §4.2).
pub fn within(start: SystemTime, end: SystemTime, jitter: f64) -> Option<SystemTime> {
    let length = end.duration_since(start).ok()?;
    Some(start + length.mul_f64(jitter.clamp(0.0, 1.0)))
}

/// The pause after a number of failures in a row, one or more: `first`, doubled with each further one, a quarter
/// more or less by `jitter` from 0 to 1, and no shorter than the authority `asked` for.
pub fn pause(failures: u32, first: Duration, asked: Option<Duration>, jitter: f64) -> Duration {
    let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(0);
    let own = match doubled {
        0 => PAUSE_MOST,
        times => first.saturating_mul(times).min(PAUSE_MOST),
    };
    let own = own.mul_f64(0.75 + jitter.clamp(0.0, 1.0) / 2.0);
    own.max(asked.unwrap_or_default().min(ASKED_MOST))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;

    fn day(n: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(20_000 * DAY + n * DAY)
    }

    fn days(n: u64) -> Duration {
        Duration::from_secs(n * DAY)
    }

    #[test]
    fn when_a_certificate_is_due() {
        let validity = Validity {
            not_before: day(0),
            not_after: day(90),
        };
        for (renew_before, suggested, jitter, wanted) in [
            // Two thirds, and a day and a half earlier at most.
            (None, None, 0.0, day(60)),
            (None, None, 1.0, day(60) - days(3) / 2),
            (Some(days(20)), None, 0.5, day(70)),
            // Not in the first third, however long it says.
            (Some(days(80)), None, 0.5, day(30)),
            (Some(days(3_650)), None, 0.5, day(30)),
            (Some(Duration::MAX), None, 0.5, day(30)),
            (None, Some(day(50)), 0.5, day(50)),
            // The authority wants it replaced now.
            (None, Some(day(0) - days(9)), 0.5, day(0) - days(9)),
            (Some(days(20)), Some(day(2)), 0.5, day(2)),
            (Some(days(45)), Some(day(60)), 0.5, day(45)),
            // Too late to be of use.
            (None, Some(day(120)), 0.5, day(75)),
        ] {
            let found = due(&validity, renew_before, suggested, jitter);
            assert_eq!(found, wanted, "{renew_before:?} {suggested:?} {jitter}");
        }
        let backwards = Validity {
            not_before: day(9),
            not_after: day(1),
        };
        assert_eq!(due(&backwards, None, None, 1.0), day(9));
    }

    #[test]
    fn a_time_within_a_window() {
        assert_eq!(within(day(1), day(3), 0.0), Some(day(1)));
        assert_eq!(within(day(1), day(3), 0.5), Some(day(2)));
        assert_eq!(within(day(1), day(3), 7.0), Some(day(3)));
        assert_eq!(within(day(1), day(1), 0.5), Some(day(1)));
        assert_eq!(within(day(3), day(1), 0.5), None);
    }

    #[test]
    fn pauses_grow_and_end() {
        let minute = Duration::from_secs(60);
        for (failures, asked, jitter, wanted) in [
            (1, 0, 0.5, 60),
            (1, 0, 0.0, 45),
            (1, 0, 1.0, 75),
            (2, 0, 0.5, 120),
            (5, 0, 0.5, 960),
            (20, 0, 0.5, 6 * 3_600),
            (32, 0, 0.5, 6 * 3_600),
            (33, 0, 0.5, 6 * 3_600),
            (u32::MAX, 0, 0.5, 6 * 3_600),
            (1, 30, 0.5, 60),
            (1, 3_600, 0.5, 3_600),
            (1, 12 * 3_600, 0.5, 12 * 3_600),
            (1, u64::MAX, 0.5, DAY),
        ] {
            let found = pause(failures, minute, Some(Duration::from_secs(asked)), jitter);
            assert_eq!(found.as_secs(), wanted, "{failures} {asked} {jitter}");
        }
    }
}
