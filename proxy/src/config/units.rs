//! Durations, sizes and rates, as they are written.

use std::{num::NonZeroU32, time::Duration};

use super::diagnostic::{Complaint, shown};

/// Units of time and their milliseconds, the largest first.
const DURATIONS: [(&str, u64); 6] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
    // 365 days.
    ("y", 31_536_000_000),
];

/// Units of size and their bytes; those that messages use come first, the largest at the front.
const SIZES: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
];

/// Periods of a rate and their seconds.
const PERIODS: [(&str, u64); 3] = [("s", 1), ("m", 60), ("h", 3_600)];

/// Number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Size(pub(super) u64);

/// Bytes per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ByteRate(pub(super) u64);

/// So many per period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate {
    pub(super) count: NonZeroU32,
    pub(super) period: Duration,
}

pub(super) const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

pub(super) const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

pub(super) const fn kib(count: u64) -> Size {
    Size(count << 10)
}

pub(super) const fn mib(count: u64) -> Size {
    Size(count << 20)
}

/// `10s`, `500ms`, `2m`, `1h`, `1d`.
pub(super) fn duration(text: &str) -> Result<Duration, Complaint> {
    amount(text, &DURATIONS)
        .map(Duration::from_millis)
        .ok_or_else(|| {
            Complaint::new(format!("{} is no duration", shown(text)))
                .help("write a whole number and `ms`, `s`, `m`, `h` or `d`, such as \"10s\"")
        })
}

/// `512MiB`, `64KiB`, `1MB`, `100B`.
pub(super) fn size(text: &str) -> Result<Size, Complaint> {
    amount(text, &SIZES).map(Size).ok_or_else(|| {
        Complaint::new(format!("{} is no size", shown(text)))
            .help("write a whole number and `B`, `KiB`, `MiB`, `GiB` or `TiB` (`KB` and so on are powers of 1000), such as \"512MiB\"")
    })
}

/// `50/s`, `600/m`, `10/h`.
pub(super) fn rate(text: &str) -> Result<Rate, Complaint> {
    let none = |count| !str::is_empty(count) && count.bytes().all(|b| b == b'0');
    if text.split_once('/').is_some_and(|(count, _)| none(count)) {
        return Err(Complaint::new(format!("{} would refuse everyone", shown(text))).help(
            "to keep clients out, name an address list in `deny`; to let everyone in, leave the limit's name out of `limits`",
        ));
    }
    let parsed = text.split_once('/').and_then(|(count, unit)| {
        let (_, seconds) = PERIODS.iter().find(|(name, _)| *name == unit)?;
        let count = u32::try_from(digits(count)?).ok()?;
        Some(Rate {
            count: NonZeroU32::new(count)?,
            period: Duration::from_secs(*seconds),
        })
    });
    parsed.ok_or_else(|| {
        Complaint::new(format!("{} is no rate", shown(text)))
            .help("write a whole number above 0 and `/s`, `/m` or `/h`, such as \"50/s\"")
    })
}

/// `240B/s`, `64KiB/s`.
pub(super) fn byte_rate(text: &str) -> Result<ByteRate, Complaint> {
    let parsed = text
        .strip_suffix("/s")
        .and_then(|size| amount(size, &SIZES));
    parsed.map(ByteRate).ok_or_else(|| {
        Complaint::new(format!("{} is no rate of bytes", shown(text)))
            .help("write a size and `/s`, such as \"240B/s\" or \"64KiB/s\"")
    })
}

/// What `duration` takes, but for numbers beyond all bounds.
pub(super) fn duration_pattern() -> String {
    amount_pattern(&DURATIONS, "")
}

/// What `size` takes.
pub(super) fn size_pattern() -> String {
    amount_pattern(&SIZES, "")
}

/// What `byte_rate` takes.
pub(super) fn byte_rate_pattern() -> String {
    amount_pattern(&SIZES, "/s")
}

/// What `rate` takes.
pub(super) fn rate_pattern() -> String {
    let units = PERIODS.map(|(unit, _)| unit).join("|");
    format!("^0*[1-9][0-9]*/({units})$")
}

fn amount_pattern(units: &[(&str, u64)], end: &str) -> String {
    let units: Vec<_> = units.iter().map(|(unit, _)| *unit).collect();
    format!("^[0-9]+({}){end}$", units.join("|"))
}

/// A whole number followed by one of the units.
fn amount(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let (count, unit) = text.split_at(split);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    digits(count)?.checked_mul(*factor)
}

/// A number of digits alone: no sign, no space.
fn digits(text: &str) -> Option<u64> {
    match text.bytes().all(|b| b.is_ascii_digit()) {
        true => text.parse().ok(),
        false => None,
    }
}

/// A value as messages show it: in the largest unit that keeps it whole.
pub(super) trait Shown {
    fn shown(&self) -> String;
}

impl Shown for Duration {
    fn shown(&self) -> String {
        // The values shown are bounds and defaults: far below the range of a u64 in milliseconds.
        in_largest(self.as_millis() as u64, &DURATIONS, "s")
    }
}

impl Shown for Size {
    fn shown(&self) -> String {
        in_largest(self.0, &SIZES, "B")
    }
}

impl Shown for ByteRate {
    fn shown(&self) -> String {
        format!("{}/s", Size(self.0).shown())
    }
}

impl Shown for u64 {
    fn shown(&self) -> String {
        self.to_string()
    }
}

fn in_largest(value: u64, units: &[(&str, u64)], zero: &str) -> String {
    match units
        .iter()
        .find(|(_, factor)| value.is_multiple_of(*factor))
    {
        Some((unit, factor)) if value > 0 => format!("{}{unit}", value / factor),
        _ => format!("{value}{zero}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, millis) in [
            ("10s", 10_000),
            ("500ms", 500),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("1d", 86_400_000),
            ("0s", 0),
            ("007s", 7_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in [
            "",
            "0",
            "10",
            "s",
            "10 s",
            " 10s",
            "10s ",
            "-1s",
            "+1s",
            "1.5s",
            "1h30m",
            "10S",
            "10sec",
            "99999999999999999999s",
            "18446744073709551615d",
            "١s",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("512MiB", 512 << 20),
            ("10GiB", 10 << 30),
            ("64KiB", 64 << 10),
            ("1TiB", 1 << 40),
            ("1MB", 1_000_000),
            ("1KB", 1_000),
            ("2GB", 2_000_000_000),
            ("100B", 100),
            ("0B", 0),
        ] {
            assert_eq!(size(text), Ok(Size(bytes)), "{text}");
        }
        for text in [
            "",
            "1",
            "B",
            "1 MiB",
            "1mib",
            "1M",
            "1.5GiB",
            "-1B",
            "18446744073709551615KiB",
        ] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rates_of_bytes() {
        for (text, bytes) in [("240B/s", 240), ("64KiB/s", 64 << 10), ("0B/s", 0)] {
            assert_eq!(byte_rate(text), Ok(ByteRate(bytes)), "{text}");
        }
        for text in [
            "", "240", "240B", "240/s", "B/s", "240B/m", "-1B/s", "240 B/s",
        ] {
            assert!(byte_rate(text).is_err(), "{text}");
        }
        assert_eq!(ByteRate(1 << 30).shown(), "1GiB/s");
    }

    #[test]
    fn rates() {
        for (text, count, seconds) in [("50/s", 50, 1), ("600/m", 600, 60), ("10/h", 10, 3_600)] {
            let parsed = rate(text).unwrap();
            assert_eq!(
                (parsed.count.get(), parsed.period),
                (count, secs(seconds)),
                "{text}"
            );
        }
        for text in [
            "",
            "50",
            "50/",
            "/s",
            "0/s",
            "50/d",
            "50/min",
            "50 /s",
            "-5/s",
            "1.5/s",
            "5000000000/s",
        ] {
            assert!(rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shown_in_the_largest_whole_unit() {
        for (value, expected) in [
            (secs(0).shown(), "0s"),
            (millis(1500).shown(), "1500ms"),
            (secs(90).shown(), "90s"),
            (secs(7200).shown(), "2h"),
            (Size(0).shown(), "0B"),
            (kib(8).shown(), "8KiB"),
            (mib(1024).shown(), "1GiB"),
            (Size(1000).shown(), "1000B"),
            (7.shown(), "7"),
        ] {
            assert_eq!(value, expected);
        }
    }
}
