//! Lines of the access log, as `observe/log_line.rs` writes them in JSON.

use std::{
    borrow::Cow,
    io::{self, BufRead, Read},
    net::IpAddr,
};

use serde::Deserialize;

/// Longest line that is read; the target of a request and its user agent are bounded by the size of a head.
const LINE_MAX: u64 = 256 * 1024;

/// What matters of a line.
pub(super) struct Line<'a> {
    /// Since 1970.
    pub(super) time_ms: u64,
    pub(super) client: IpAddr,
    pub(super) host: Cow<'a, str>,
    pub(super) status: u16,
    pub(super) route: Option<Cow<'a, str>>,
    /// `admitted`, `would_reject`, `delayed` or `rejected`.
    pub(super) limit_decision: Option<Cow<'a, str>>,
    pub(super) limit_rule: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    time: Cow<'a, str>,
    client: IpAddr,
    #[serde(borrow)]
    host: Cow<'a, str>,
    status: u16,
    #[serde(borrow)]
    route: Option<Cow<'a, str>>,
    #[serde(borrow)]
    limit_decision: Option<Cow<'a, str>>,
    #[serde(borrow)]
    limit_rule: Option<Cow<'a, str>>,
}

impl<'a> Line<'a> {
    /// A line without its end, if it is one of an access log.
    pub(super) fn parse(text: &'a [u8]) -> Option<Self> {
        let entry: Entry<'a> = serde_json::from_slice(text).ok()?;
        Some(Self {
            time_ms: milliseconds(entry.time.as_bytes())?,
            client: entry.client,
            host: entry.host,
            status: entry.status,
            route: entry.route,
            limit_decision: entry.limit_decision,
            limit_rule: entry.limit_rule,
        })
    }
}

/// Calls `each` with every line that is not empty, and with `None` for one that is not understood.
pub(super) fn for_each<E: From<io::Error>>(
    reader: &mut dyn BufRead,
    mut each: impl FnMut(Option<Line<'_>>) -> Result<(), E>,
) -> Result<(), E> {
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = reader.take(LINE_MAX).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(());
        }
        if line.last() != Some(&b'\n') && read as u64 == LINE_MAX {
            skip_line(reader)?;
            each(None)?;
            continue;
        }
        let text = line.trim_ascii();
        if !text.is_empty() {
            each(Line::parse(text))?;
        }
    }
}

/// Passes over the rest of a line.
fn skip_line(reader: &mut dyn BufRead) -> io::Result<()> {
    loop {
        let some = reader.fill_buf()?;
        let (length, ended) = match memchr::memchr(b'\n', some) {
            Some(end) => (end + 1, true),
            None => (some.len(), some.is_empty()),
        };
        reader.consume(length);
        if ended {
            return Ok(());
        }
    }
}

/// `2026-11-22T02:22:11.123Z`, and nothing else, in milliseconds since 1970.
fn milliseconds(text: &[u8]) -> Option<u64> {
    let text: &[u8; 24] = text.try_into().ok()?;
    let marks = [
        (4, b'-'),
        (7, b'-'),
        (10, b'T'),
        (13, b':'),
        (16, b':'),
        (19, b'.'),
        (23, b'Z'),
    ];
    if marks.iter().any(|(at, mark)| text[*at] != *mark) {
        return None;
    }
    let number = |from: usize, to: usize| {
        text[from..to].iter().try_fold(0u64, |sum, digit| {
            digit
                .is_ascii_digit()
                .then(|| sum * 10 + u64::from(digit - b'0'))
        })
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let valid = year >= 1970
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !valid {
        return None;
    }
    // Years begin in March, so that the day that comes and goes is the last one.
    let years = if month > 2 { year } else { year - 1 };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = years * 365 + years / 4 - years / 100 + years / 400 + of_year - 719_468;
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    Some(seconds * 1000 + number(20, 23)?)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::observe::process_log::timestamp;

    #[test]
    fn times_are_read_as_they_are_written() {
        for ms in [
            0,
            951_782_400_000, // the 29th of February 2000
            951_868_799_999,
            1_795_314_131_123,
            4_102_444_799_001,
        ] {
            let text = timestamp(UNIX_EPOCH + Duration::from_millis(ms));
            assert_eq!(milliseconds(text.as_bytes()), Some(ms), "{text}");
        }
        for text in [
            "",
            "2026-11-22T02:22:11Z",
            "2026-11-22 02:22:11.123Z",
            "2026-13-22T02:22:11.123Z",
            "2026-11-22T24:22:11.123Z",
            "1969-11-22T02:22:11.123Z",
            "2026-11-22T02:22:11.1x3Z",
        ] {
            assert_eq!(milliseconds(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_line_without_end_is_passed_over() {
        let good = r#"{"time":"2026-11-22T02:22:11.123Z","client":"192.0.2.1","host":"a","status":200,"route":"/"}"#;
        let long = "x".repeat(3 * LINE_MAX as usize);
        let log = format!("{good}\n\n{long}\n{good}\nshort\n{good}");
        let (mut understood, mut broken) = (0, 0);
        for_each::<io::Error>(&mut log.as_bytes(), |line| {
            match line {
                Some(line) => {
                    assert_eq!(line.route.as_deref(), Some("/"));
                    understood += 1;
                }
                None => broken += 1,
            }
            Ok(())
        })
        .unwrap();
        assert_eq!((understood, broken), (3, 2));
    }
}
