//! Times, sizes and rates: from nginx's spelling to Dhal's.

/// A time in milliseconds: `30s`, `1h 30m`, `500ms`, or a number of seconds.
pub(crate) fn time_ms(text: &str) -> Option<u64> {
    let mut total = 0u64;
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest.get(..digits)?.parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let factor = match &rest[..unit] {
            "ms" => 1,
            "" | "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 7 * 86_400_000,
            "M" => 30 * 86_400_000,
            "y" => 365 * 86_400_000,
            _ => return None,
        };
        total = total.checked_add(number.checked_mul(factor)?)?;
        rest = rest[unit..].trim_start();
    }
    Some(total)
}

/// A duration as Dhal reads it, in the largest unit that leaves no rest.
pub(crate) fn duration(ms: u64) -> String {
    for (unit, factor) in [
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
    ] {
        if ms >= factor && ms.is_multiple_of(factor) {
            return format!("{}{unit}", ms / factor);
        }
    }
    if ms == 0 {
        "0s".to_owned()
    } else {
        format!("{ms}ms")
    }
}

/// A size in bytes: `8k`, `1m`, `2g`, or a number of bytes.
pub(crate) fn bytes(text: &str) -> Option<u64> {
    let (number, factor) = match text.as_bytes().last()? {
        b'k' | b'K' => (&text[..text.len() - 1], 1 << 10),
        b'm' | b'M' => (&text[..text.len() - 1], 1 << 20),
        b'g' | b'G' => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// A size as Dhal reads it.
pub(crate) fn size(bytes: u64) -> String {
    for (unit, factor) in [
        ("TiB", 1u64 << 40),
        ("GiB", 1 << 30),
        ("MiB", 1 << 20),
        ("KiB", 1 << 10),
    ] {
        if bytes >= factor && bytes.is_multiple_of(factor) {
            return format!("{}{unit}", bytes / factor);
        }
    }
    format!("{bytes}B")
}

/// A rate, as its number and `s` or `m`: `10r/s`, `30r/m`.
pub(crate) fn rate(text: &str) -> Option<(u64, char)> {
    let (number, unit) = text.split_once("r/")?;
    let unit = match unit {
        "s" => 's',
        "m" => 'm',
        _ => return None,
    };
    number.parse().ok().filter(|n| *n > 0).map(|n| (n, unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, expected) in [
            ("30", Some("30s")),
            ("30s", Some("30s")),
            ("500ms", Some("500ms")),
            ("1h 30m", Some("90m")),
            ("1d12h", Some("36h")),
            ("1y", Some("365d")),
            ("0", Some("0s")),
            ("x", None),
            ("", None),
            ("5q", None),
        ] {
            assert_eq!(time_ms(text).map(duration).as_deref(), expected, "{text}");
        }
        assert_eq!(time_ms("99999999999999999999y"), None);
    }

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("10m", Some("10MiB")),
            ("1g", Some("1GiB")),
            ("8k", Some("8KiB")),
            ("1000", Some("1000B")),
            ("0", Some("0B")),
            ("m", None),
            ("-1k", None),
        ] {
            assert_eq!(bytes(text).map(size).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn rates() {
        assert_eq!(rate("10r/s"), Some((10, 's')));
        assert_eq!(rate("30r/m"), Some((30, 'm')));
        assert_eq!((rate("0r/s"), rate("1r/h"), rate("5")), (None, None, None));
    }
}
