//! The process's own log on standard error, and how times are written.

use std::io::IsTerminal;
use std::time::{SystemTime, UNIX_EPOCH};

use tracing_subscriber::{EnvFilter, fmt, fmt::time::FormatTime};

/// Starts logging; `DHAL_LOG` sets the level (`info` where unset).
pub fn start() {
    let filter = EnvFilter::try_from_env("DHAL_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    // A second start, in a test, keeps the first.
    let _ = fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // It would be said on the same standard error, and panic where nobody reads that any more.
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_timer(Clock)
        .with_target(false)
        .try_init();
}

struct Clock;

impl FormatTime for Clock {
    fn format_time(&self, w: &mut fmt::format::Writer<'_>) -> std::fmt::Result {
        w.write_str(&timestamp(SystemTime::now()))
    }
}

/// `2026-11-22T02:22:11.123Z` (RFC 3339).
pub fn timestamp(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (year, month, day) = civil(since.as_secs() / 86_400);
    let (h, m, s) = clock(since.as_secs());
    format!(
        "{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{:03}Z",
        since.subsec_millis()
    )
}

/// `22/Nov/2026:02:22:11 +0000`
pub fn common_log_time(time: SystemTime) -> String {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let secs = time
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let (year, month, day) = civil(secs / 86_400);
    let (h, m, s) = clock(secs);
    format!(
        "{day:02}/{}/{year:04}:{h:02}:{m:02}:{s:02} +0000",
        MONTHS[(month as usize - 1) % 12]
    )
}

fn clock(secs: u64) -> (u64, u64, u64) {
    (secs / 3600 % 24, secs / 60 % 60, secs % 60)
}

/// Days since 1970 as a date of the Gregorian calendar, counted in years that begin in March.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_written_as_readers_expect() {
        for (secs, rfc3339, common) in [
            (0, "1970-01-01T00:00:00.000Z", "01/Jan/1970:00:00:00 +0000"),
            (
                951_782_400,
                "2000-02-29T00:00:00.000Z",
                "29/Feb/2000:00:00:00 +0000",
            ),
            (
                1_795_314_131,
                "2026-11-22T02:22:11.000Z",
                "22/Nov/2026:02:22:11 +0000",
            ),
            (
                4_107_542_399,
                "2100-02-28T23:59:59.000Z",
                "28/Feb/2100:23:59:59 +0000",
            ),
        ] {
            let time = UNIX_EPOCH + Duration::from_secs(secs);
            assert_eq!(
                (timestamp(time).as_str(), common_log_time(time).as_str()),
                (rfc3339, common)
            );
        }
    }
}
