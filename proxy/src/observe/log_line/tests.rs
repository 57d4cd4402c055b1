//! Every line is compared with what serde and the standard library would write.

use std::fmt::Write as _;

use http::{HeaderMap, HeaderValue, Method};
use serde::Serialize;

use super::*;
use crate::{
    admit::{
        state::{LimitDecision, LimitState},
        waiting_room::Note,
    },
    cache::status::Outcome,
    edge::decide::Now,
    observe::{Protocol, testing},
};

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    client: IpAddr,
    method: &'a str,
    host: &'a str,
    path: &'a str,
    status: u16,
    bytes: u64,
    duration_ms: f64,
    route: Option<&'a str>,
    cache: &'a str,
    upstream: Option<&'a str>,
    upstream_ms: Option<f64>,
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    retried: Option<&'a str>,
    request_id: &'a str,
    protocol: &'a str,
    limit: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_rule: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_decision: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_delay_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room_state: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    user_agent: String,
}

fn field(record: &Record<'_>, name: &HeaderName) -> String {
    let mut text = String::new();
    if let Some(fields) = record.fields {
        fields.for_each(name, &mut |value| {
            if text.is_empty() {
                text = String::from_utf8_lossy(value).into_owned();
            }
        });
    }
    text
}

fn json_by_serde(record: &Record<'_>) -> String {
    let millis = |duration: Duration| (duration.as_secs_f64() * 1e6).round() / 1e3;
    let line = Line {
        time: timestamp(record.began.wall),
        client: record.client,
        method: record.method.as_str(),
        host: record.host,
        path: record.target,
        status: record.status,
        bytes: record.bytes,
        duration_ms: millis(record.duration),
        route: record.route.map(|r| r.name.as_str()),
        cache: record.outcome.label(),
        upstream: record.upstream,
        upstream_ms: record.upstream_time.map(millis),
        attempts: record.attempts,
        retried: record.retried,
        request_id: record.request_id,
        protocol: record.protocol.as_str(),
        limit: match record.limit {
            None => "none",
            Some(limit) if limit.retry_after > 0 => "rejected",
            Some(_) => "passed",
        },
        limit_rule: record.limit.map(|l| l.decided_by),
        limit_decision: record.limit.map(|l| l.decision.as_str()),
        limit_reason: record.limit.and_then(|l| l.reason),
        limit_delay_ms: record
            .limit
            .filter(|l| l.decision == LimitDecision::Delayed)
            .map(|l| millis(l.delay)),
        room: record.room.map(|note| note.room),
        room_state: record.room.map(|note| note.state),
        reason: record.reason,
        user_agent: field(record, &USER_AGENT),
    };
    serde_json::to_string(&line).expect("strings and numbers")
}

fn combined_by_format(record: &Record<'_>) -> String {
    let quoted = |text: String| {
        let mut out = String::new();
        for c in text.chars() {
            if matches!(c, '"' | '\\') || c.is_control() {
                write!(out, "\\x{:02X}", u32::from(c)).expect("memory");
            } else {
                out.push(c);
            }
        }
        if out.is_empty() { "-".to_owned() } else { out }
    };
    format!(
        "{} - - [{}] \"{} {} {}\" {} {} \"{}\" \"{}\"",
        record.client,
        common_log_time(record.began.wall),
        record.method,
        quoted(record.target.to_owned()),
        record.protocol.as_str(),
        record.status,
        record.bytes,
        quoted(field(record, &REFERER)),
        quoted(field(record, &USER_AGENT)),
    )
}

/// Numbers that are the same in every run (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % end
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }

    /// A few nanoseconds to many years, on all scales alike.
    fn duration(&mut self) -> Duration {
        let digits = self.below(20) as u32;
        Duration::from_nanos(self.below(10u64.pow(digits)))
    }

    /// Mostly plain, with everything else in between.
    fn text(&mut self) -> String {
        const ODD: [char; 20] = [
            '"', '\\', '\0', '\u{1}', '\u{8}', '\t', '\n', '\u{c}', '\r', '\u{1f}', ' ', '/', '~',
            '\u{7f}', '\u{80}', '\u{9f}', '\u{a0}', 'ঢ', '\u{2028}', '😀',
        ];
        let (length, odd) = (self.below(40), self.of(&[0, 1, 5, 100]));
        let mut c = || match self.below(100) < odd {
            true => self.of(&ODD),
            false => char::from(b' ' + self.below(95) as u8),
        };
        (0..length).map(|_| c()).collect()
    }

    /// Any bytes that a field's value may have.
    fn value(&mut self) -> HeaderValue {
        let mut bytes = self.text().into_bytes();
        for _ in 0..self.of(&[0, 0, 1, 3]) {
            bytes.insert(
                self.below(bytes.len() as u64 + 1) as usize,
                self.below(256) as u8,
            );
        }
        bytes.retain(|b| *b == b'\t' || (*b >= b' ' && *b != 0x7f));
        HeaderValue::from_bytes(&bytes).expect("a value")
    }
}

#[test]
fn lines_are_what_serde_and_format_write() {
    let routes = testing::routes(&["pages", "/a*?ঢ", "\u{1}\"\\"]);
    let mut dice = Dice(1);
    let mut seconds = (Second::default(), Second::default());
    for n in 0..5_000 {
        let mut fields = HeaderMap::new();
        for name in [REFERER, USER_AGENT, USER_AGENT, http::header::ACCEPT] {
            if dice.below(3) > 0 {
                fields.append(name, dice.value());
            }
        }
        let limit = LimitState {
            rule: dice.of(&["browse", "a\"b\\c"]),
            quota: 1,
            window: 1,
            remaining: 0,
            retry_after: dice.below(2),
            is_told: true,
            decision: dice.of(&LimitDecision::ALL),
            decided_by: dice.of(&["browse", "a\"b\\c"]),
            reason: dice.of(&[None, Some("rate")]),
            delay: dice.duration(),
            charged: 0,
        };
        let [host, target, upstream, request_id, reason] = std::array::from_fn(|_| dice.text());
        let v6 = u128::from(dice.below(u64::MAX)) << dice.below(64);
        let record = Record {
            began: Now {
                wall: UNIX_EPOCH
                    + dice.of(&[1, 1_000]) * dice.duration().min(Duration::from_secs(1 << 32)),
                tick: Duration::ZERO,
            },
            duration: dice.duration(),
            client: dice.of(&[IpAddr::V4((v6 as u32).into()), IpAddr::V6(v6.into())]),
            protocol: dice.of(&[Protocol::Http10, Protocol::Http11, Protocol::Http2]),
            method: &dice
                .of(&[&b"GET"[..], b"PURGE", b"!#$%&'*+-.^_`|~"])
                .try_into()
                .unwrap_or(Method::GET),
            host: &host,
            target: &target,
            status: dice.below(1000) as u16,
            bytes: dice.duration().as_nanos() as u64,
            route: dice
                .of(&[None, Some(0), Some(1), Some(2)])
                .map(|i: usize| &*routes[i]),
            outcome: dice.of(&[Outcome::Hit, Outcome::HitStale, Outcome::None]),
            upstream: dice.of(&[None, Some(&*upstream)]),
            upstream_time: dice.of(&[None, Some(())]).map(|()| dice.duration()),
            attempts: dice.below(1 << 32) as u32,
            retried: dice.of(&[None, Some("connection_refused")]),
            request_id: &request_id,
            limit: dice.of(&[None, Some(&limit)]),
            room: dice.of(&[
                None,
                Some(Note {
                    room: "sale",
                    state: "waiting",
                }),
            ]),
            reason: dice.of(&[None, Some(&*reason)]),
            fields: dice.of(&[None, Some(())]).map(|()| &fields as _),
            client_cert: None,
        };
        let mut out = Vec::new();
        json(&record, &mut seconds.0, &mut out);
        assert_eq!(
            String::from_utf8_lossy(&out),
            json_by_serde(&record),
            "line {n}"
        );
        out.clear();
        combined(&record, &mut seconds.1, &mut out);
        assert_eq!(
            String::from_utf8_lossy(&out),
            combined_by_format(&record),
            "line {n}"
        );
    }
}

#[test]
fn durations_are_what_serde_writes() {
    let durations = [
        0,
        1,
        499,
        500,
        501,
        1_499,
        1_500,
        1_000_000,
        1_010_000,
        1_100_000,
        100_000_000_000,
        999_999_999_999_999_499,
        1_000_000_000_000_000_000,
        u64::MAX,
    ];
    let mut dice = Dice(2);
    let many = (0..20_000).map(|_| dice.duration());
    for duration in durations
        .map(Duration::from_nanos)
        .into_iter()
        .chain(many)
        .chain([Duration::MAX])
    {
        let mut out = Vec::new();
        put_milliseconds(duration, &mut out);
        let millis = (duration.as_secs_f64() * 1e6).round() / 1e3;
        let wanted = serde_json::to_string(&millis).expect("a number");
        assert_eq!(String::from_utf8_lossy(&out), wanted, "{duration:?}");
    }
}

#[test]
fn every_byte_is_found_wherever_it_stands() {
    for byte in 0..=127u8 {
        for length in 1..20 {
            for at in 0..length {
                let mut text = vec![b'x'; length];
                text[at] = byte;
                let escaped = byte < b' ' || byte == b'"' || byte == b'\\';
                assert_eq!(
                    has_any(&text, any_special),
                    escaped,
                    "{byte} at {at} of {length}"
                );
                assert_eq!(
                    has_any(&text, any_unplain),
                    escaped || byte == 127,
                    "{byte}"
                );
            }
        }
    }
    assert!(has_any("ঢ".as_bytes(), any_unplain));
    assert!(!has_any("ঢাল".as_bytes(), any_special));
}
