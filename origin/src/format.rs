//! Numbers and times as people in Dhaka write them.

/// An amount of taka with Bangladeshi grouping: the last three digits, then pairs.
///
/// ```
/// assert_eq!(dhakacart_origin::format::taka(123_456), "৳1,23,456");
/// ```
pub fn taka(amount: impl Whole) -> String {
    let amount = amount.whole();
    let digits = amount.unsigned_abs().to_string();
    let sign = if amount < 0 { "-" } else { "" };
    let mut grouped = String::with_capacity(digits.len() + 8);
    for (index, digit) in digits.chars().enumerate() {
        let left = digits.len() - index;
        if index > 0 && left >= 3 && left % 2 == 1 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{sign}৳{grouped}")
}

/// A whole number, however often a template has borrowed it.
pub trait Whole: Copy {
    /// The number itself.
    fn whole(self) -> i64;
}

impl Whole for i64 {
    fn whole(self) -> i64 {
        self
    }
}

impl<T: Whole> Whole for &T {
    fn whole(self) -> i64 {
        (*self).whole()
    }
}

/// A Unix time as a date and a time of day in Dhaka, which keeps UTC+6 the year round.
pub fn dhaka_time(unix_seconds: i64) -> String {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let local = unix_seconds + 6 * 3600;
    let (days, second_of_day) = (local.div_euclid(86_400), local.rem_euclid(86_400));
    let (year, month, day) = civil_from_days(days);
    let month = MONTHS.get(month - 1).copied().unwrap_or("");
    format!(
        "{day} {month} {year}, {:02}:{:02}",
        second_of_day / 3600,
        second_of_day / 60 % 60
    )
}

/// Year, month (1 to 12) and day of the Gregorian calendar for a number of days since 1970-01-01.
fn civil_from_days(days: i64) -> (i64, usize, i64) {
    // Count from 0000-03-01, so that the leap day is the last day of a year.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, usize::try_from(month).unwrap_or(1), day)
}

/// Seconds since 1970. A clock before 1970 reads as 1970.
pub fn now() -> i64 {
    let since_epoch = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taka_groups_by_three_and_then_by_pairs() {
        for (amount, written) in [
            (0, "৳0"),
            (950, "৳950"),
            (1_250, "৳1,250"),
            (99_990, "৳99,990"),
            (123_456, "৳1,23,456"),
            (12_345_678, "৳1,23,45,678"),
            (-1_500, "-৳1,500"),
        ] {
            assert_eq!(taka(amount), written);
        }
    }

    #[test]
    fn times_are_those_of_dhaka() {
        assert_eq!(dhaka_time(0), "1 January 1970, 06:00");
        assert_eq!(dhaka_time(1_709_229_599), "29 February 2024, 23:59");
        assert_eq!(dhaka_time(1_709_229_600), "1 March 2024, 00:00");
        assert_eq!(dhaka_time(1_798_740_000), "1 January 2027, 00:00");
    }
}
