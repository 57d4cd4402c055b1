//! The pause after a certificate was issued, in which it is not replaced by itself. Pure.
//!
//! An authority may suggest for each certificate that it was to be renewed long ago, and a clock that runs ahead takes
//! each for old: without a pause one order would follow the other, up to the authority's limit for duplicates.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::{
    held::Held,
    issued::Slot,
    renewal::{self, Validity},
    storage::{seconds, time},
};

/// The first pause. Authorities issue few duplicates, Let's Encrypt five in a week.
const FIRST: Duration = Duration::from_secs(3_600);

/// The longest. What makes it necessary may be mended by somebody who looks after it on the next day.
const MOST: Duration = Duration::from_secs(86_400);

/// No certificate is meant to be renewed within such a time after it was issued: an order itself takes seconds.
const AT_ONCE: Duration = Duration::from_secs(5);

/// By so much clocks are set back now and then, which ends no pause.
const CORRECTED: Duration = Duration::from_secs(60);

/// The pause after a certificate; a restart does not forget it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rest {
    /// How many in a row were issued after one that was replaced early.
    pub(super) row: u32,
    /// When it began, in seconds since 1970.
    pub(super) since: u64,
    /// Seconds since 1970 before which the certificate is not replaced by itself.
    pub(super) until: u64,
    /// Which one: what somebody else has put in its place is another.
    pub(super) certificate: String,
    /// When it was issued it was to be renewed at once, by this host's clock.
    pub(super) is_due_at_once: bool,
}

impl Rest {
    /// The pause after a certificate that has just been issued in the place of what `slot` still holds. `jitter` is from
    /// 0 to 1.
    pub(super) fn after(
        slot: &Slot,
        new: &Held,
        renew_before: Option<Duration>,
        now: SystemTime,
        jitter: f64,
    ) -> Self {
        let is_asked = slot.forced || slot.is_owed;
        let before = slot.rest.as_ref().map_or(0, |rest| rest.row);
        let row = match !is_asked && is_replaced_early(slot, renew_before, now) {
            true => before.saturating_add(1),
            false => 1,
        };
        let due = renewal::due(&new.validity, renew_before, None, new.jitter);
        Self {
            row,
            since: seconds(now),
            until: seconds(now + pause(row, &new.validity, now, jitter)),
            certificate: new.fingerprint.clone(),
            is_due_at_once: due <= now + AT_ONCE,
        }
    }

    /// When it is over, unless it is already. One that has begun in the future was noted by a clock that was wrong, and
    /// none is longer than a day, whatever the file says.
    pub(super) fn end(&self, now: SystemTime) -> Option<SystemTime> {
        let since = time(self.since);
        let end = time(self.until).min(since + MOST);
        (since <= now + CORRECTED && now < end).then_some(end)
    }
}

/// Whether what is held would be replaced early now: in the first third of its life, in which nothing but the
/// authority's word has it renewed, or as soon as its own pause let it.
fn is_replaced_early(slot: &Slot, renew_before: Option<Duration>, now: SystemTime) -> bool {
    let Some(held) = &slot.held else { return false };
    let was_held_up = || {
        let due = slot.due(renew_before);
        due.zip(slot.rest.as_ref())
            .is_some_and(|(due, rest)| due <= time(rest.until))
    };
    now < held.validity.not_before + held.validity.length() / 3 || was_held_up()
}

/// `FIRST`, doubled with each further one in a `row` of early ones, a quarter more or less by `jitter`.
fn pause(row: u32, validity: &Validity, now: SystemTime, jitter: f64) -> Duration {
    let times = 1_u32.checked_shl(row.saturating_sub(1)).unwrap_or(u32::MAX);
    let own = FIRST.saturating_mul(times).min(MOST);
    let own = own.mul_f64(0.75 + jitter.clamp(0.0, 1.0) / 2.0);
    own.min(most(validity, now))
}

/// No pause that begins now is longer: a day, and a third of what is left of the life, so that a certificate that lives
/// for an hour is still renewed in time. By a clock that takes it for old already there is nothing left to measure by.
fn most(validity: &Validity, now: SystemTime) -> Duration {
    let begin = now.max(validity.not_before);
    if validity.not_before + validity.length() * 2 / 3 <= begin + AT_ONCE {
        return MOST;
    }
    let left = validity.not_after.duration_since(begin);
    MOST.min(left.unwrap_or_default() / 3)
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use super::{super::storage::Storage, *};

    const MINUTE: u64 = 60;
    const HOUR: u64 = 3_600;
    const DAY: u64 = 86_400;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(20_000 * DAY + seconds)
    }

    fn validity(from: u64, until: u64) -> Validity {
        let (not_before, not_after) = (at(from), at(until));
        Validity {
            not_before,
            not_after,
        }
    }

    #[test]
    fn pauses_grow_with_the_row_and_fit_the_life() {
        let (quarter, hour) = (validity(0, 90 * DAY), validity(0, HOUR));
        for (row, validity, now, jitter, wanted) in [
            (1, quarter, 0, 0.5, HOUR),
            (1, quarter, 0, 0.0, 2_700),
            (1, quarter, 0, 1.0, 4_500),
            (2, quarter, 0, 0.5, 2 * HOUR),
            (5, quarter, 0, 0.5, 16 * HOUR),
            (6, quarter, 0, 0.5, DAY),
            (6, quarter, 0, 1.0, DAY),
            (33, quarter, 0, 0.5, DAY),
            (u32::MAX, quarter, 0, 0.5, DAY),
            (6, validity(0, 6 * DAY), 0, 0.5, DAY),
            (6, validity(0, 3 * DAY), DAY, 0.5, 16 * HOUR),
            // A third of what is left.
            (1, hour, 0, 0.5, 20 * MINUTE),
            (9, hour, 0, 0.5, 20 * MINUTE),
            (9, hour, 30 * MINUTE, 0.5, 10 * MINUTE),
            (1, validity(0, 2 * MINUTE), 0, 0.5, 40),
            // A clock that is behind makes no life longer.
            (9, validity(DAY, DAY + HOUR), 0, 0.5, 20 * MINUTE),
            // One that runs ahead leaves nothing to measure by.
            (1, hour, 40 * MINUTE, 0.5, HOUR),
            (2, hour, 9 * DAY, 0.5, 2 * HOUR),
            (1, validity(0, 1), 0, 0.5, HOUR),
            (1, validity(0, 0), 0, 0.5, HOUR),
            (1, validity(9, 0), 0, 0.5, HOUR),
        ] {
            let found = pause(row, &validity, at(now), jitter).as_secs();
            assert_eq!(found, wanted, "{row} {validity:?} {now} {jitter}");
        }
    }

    #[test]
    fn a_pause_ends_with_its_time_and_with_the_clock_that_noted_it() {
        let rest = |since: u64, until: u64| Rest {
            row: 1,
            since: seconds(at(since)),
            until: seconds(at(until)),
            certificate: String::new(),
            is_due_at_once: false,
        };
        for (rest, now, wanted) in [
            (rest(100, 200), 100, Some(200)),
            (rest(100, 200), 199, Some(200)),
            (rest(100, 200), 200, None),
            // A small correction ends nothing, and a large one all.
            (rest(100, 200), 40, Some(200)),
            (rest(100, 200), 39, None),
            (rest(100, 9 * DAY), 100, Some(100 + DAY)),
            (rest(100, 9 * DAY), 101 + DAY, None),
        ] {
            assert_eq!(rest.end(at(now)), wanted.map(at), "{rest:?} {now}");
        }
    }

    /// Some weeks of a certificate, by seconds from the first order on.
    struct Weeks {
        life: u64,
        /// The authority dates certificates back by that.
        dated_back: u64,
        renew_before: Option<u64>,
        /// The authority suggests to renew each one before it was issued.
        insists: bool,
        /// Until then this host's clock is ahead by so much.
        ahead: (u64, u64),
        until: u64,
    }

    const USUAL: Weeks = Weeks {
        life: 90 * DAY,
        dated_back: 0,
        renew_before: None,
        insists: false,
        ahead: (0, 0),
        until: 28 * DAY,
    };

    /// The orders, and for how many seconds there was no valid certificate.
    fn live(weeks: &Weeks) -> (Vec<u64>, u64) {
        let step = (weeks.life / 120).min(MINUTE);
        let renew_before = weeks.renew_before.map(Duration::from_secs);
        let names = ["x.example".to_owned()];
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(names.to_vec()).unwrap();
        let pem = params.self_signed(&key).unwrap().pem() + &key.serialize_pem();
        let path = Path::new("/nonexistent");
        let mut slot = Slot::new(&Storage::at(path), "x".to_owned(), names.to_vec());
        let (mut orders, mut without) = (Vec::new(), 0);
        for now in (DAY..DAY + weeks.until).step_by(usize::try_from(step).unwrap()) {
            let is_ahead = now - DAY < weeks.ahead.0;
            let clock = at(now + if is_ahead { weeks.ahead.1 } else { 0 });
            if slot.wants_order(renew_before, clock) {
                let begin = now - weeks.dated_back;
                let mut held = Held::read(pem.as_bytes(), path, &names).unwrap();
                held.validity = validity(begin, begin + weeks.life);
                slot.rest = Some(Rest::after(&slot, &held, renew_before, clock, 0.5));
                slot.suggested = weeks.insists.then(|| at(0));
                slot.held = Some(Arc::new(held));
                orders.push(now - DAY);
            }
            let held = slot.held.as_ref().unwrap();
            if held.validity.not_after <= at(now) {
                without += step;
            }
        }
        (orders, without)
    }

    #[test]
    fn weeks_of_certificates() {
        for (what, weeks, orders, without) in [
            ("of three months", USUAL, 1..=1, 0),
            (
                "of three months, a year",
                Weeks {
                    until: 365 * DAY,
                    ..USUAL
                },
                6..=7,
                0,
            ),
            (
                "of an hour",
                Weeks {
                    life: HOUR,
                    until: DAY,
                    ..USUAL
                },
                36..=38,
                0,
            ),
            (
                "of ten minutes",
                Weeks {
                    life: 10 * MINUTE,
                    until: HOUR,
                    ..USUAL
                },
                9..=10,
                0,
            ),
            (
                "of two minutes",
                Weeks {
                    life: 2 * MINUTE,
                    until: HOUR,
                    ..USUAL
                },
                45..=48,
                0,
            ),
            (
                "of an hour that are dated back, and renewed early",
                Weeks {
                    life: HOUR,
                    dated_back: 20 * MINUTE,
                    renew_before: Some(DAY),
                    until: DAY,
                    ..USUAL
                },
                90..=140,
                0,
            ),
            (
                "that are to be replaced at once",
                Weeks {
                    insists: true,
                    ..USUAL
                },
                30..=34,
                0,
            ),
            (
                "of an hour that are to be replaced at once",
                Weeks {
                    insists: true,
                    life: HOUR,
                    until: DAY,
                    ..USUAL
                },
                70..=73,
                0,
            ),
            (
                "by a clock that is a year ahead",
                Weeks {
                    ahead: (28 * DAY, 365 * DAY),
                    ..USUAL
                },
                30..=34,
                0,
            ),
            (
                "of which a third is left by the clock, which is when they are renewed",
                Weeks {
                    ahead: (28 * DAY, 40 * DAY),
                    renew_before: Some(60 * DAY),
                    ..USUAL
                },
                30..=34,
                0,
            ),
            (
                "of an hour by a clock that is right from the next day on",
                Weeks {
                    life: HOUR,
                    ahead: (DAY, 365 * DAY),
                    until: 2 * DAY,
                    ..USUAL
                },
                40..=44,
                // Four pauses from an hour to eight, less the lives.
                20 * HOUR,
            ),
        ] {
            let (found, missing) = live(&weeks);
            assert!(orders.contains(&found.len()), "{what}: {found:?}");
            assert!(missing <= without, "{what}: {missing} s without, {found:?}");
        }
    }
}
