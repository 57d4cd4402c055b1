//! An edge's waiting room, as a visitor meets it: he is told his place, and comes again when he is told to.

use std::time::{Duration, Instant};

use http::{HeaderMap, StatusCode, header};

use crate::{
    browser::{Answer, Ask, Browser},
    cookies::Cookies,
    fate::Fate,
};

/// What the cookies of a waiting room begin with.
const COOKIE: &str = "dhal_room_";

/// How soon somebody comes again who is not told when; nobody comes sooner or later than the other two.
pub(crate) const PAUSE: Duration = Duration::from_secs(5);
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// What the edge said to somebody who has to wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    room: String,
    state: String,
    /// From 1; not everybody who waits has one.
    place: Option<u64>,
}

impl Told {
    /// Of an answer that is a place in a waiting room, and not what was asked for.
    pub(crate) fn of(answer: &Answer) -> Option<Self> {
        if answer.status != StatusCode::SERVICE_UNAVAILABLE {
            return None;
        }
        let item = answer.fields.get("dhal-room")?.to_str().ok()?;
        let mut parts = item.split(';').map(str::trim);
        let mut told = Self {
            room: parts.next()?.to_owned(),
            state: String::new(),
            place: None,
        };
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            match name {
                "state" => value.clone_into(&mut told.state),
                "place" => told.place = value.parse().ok(),
                _ => {}
            }
        }
        Some(told)
    }

    /// Whether somebody has come before him since he was told this.
    pub(crate) fn has_risen(&self, now: &Self) -> bool {
        // Places of the time before the start say nothing: they are drawn at the start.
        (&self.room, &self.state) == (&now.room, &now.state)
            && self
                .place
                .zip(now.place)
                .is_some_and(|(then, now)| now > then)
    }
}

/// When to come again, by `Refresh` as browsers do, or by `Retry-After`.
pub(crate) fn pause(fields: &HeaderMap) -> Duration {
    let seconds = |name: &str| {
        let text = fields.get(name)?.to_str().ok()?;
        let number = text.split([';', ',']).next()?.trim();
        number.parse().ok().map(Duration::from_secs)
    };
    seconds("refresh")
        .or_else(|| seconds(header::RETRY_AFTER.as_str()))
        .unwrap_or(PAUSE)
        .clamp(PAUSE_MIN, PAUSE_MAX)
}

/// How long the generator itself waits for a place before the start.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks for something the generator needs before the start. It waits like a visitor, and keeps no cookie but its pass.
pub(crate) async fn ask(browser: &Browser, ask: &Ask, pass: &Cookies) -> Result<Answer, Fate> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut ask = ask.clone();
        ask.fields
            .extend(pass.field().map(|value| (header::COOKIE, value)));
        let answer = browser.send(&ask).await?;
        pass.keep(&answer.fields, |name| name.starts_with(COOKIE));
        let again = Instant::now() + pause(&answer.fields);
        if Told::of(&answer).is_none() || again > deadline {
            return Ok(answer);
        }
        tokio::time::sleep_until(again.into()).await;
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn answer(status: u16, fields: &[(&'static str, &'static str)]) -> Answer {
        let fields = fields.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        });
        Answer {
            status: StatusCode::from_u16(status).expect("a status"),
            fields: fields.collect(),
            body: Vec::new(),
        }
    }

    fn told(item: &'static str) -> Told {
        Told::of(&answer(503, &[("dhal-room", item)])).expect("a place")
    }

    #[test]
    fn only_a_503_with_a_place_is_one() {
        let item = ("dhal-room", "sale;state=waiting;place=12;ahead=11;wait=30");
        assert!(Told::of(&answer(200, &[item])).is_none());
        assert!(Told::of(&answer(503, &[("retry-after", "1")])).is_none());
        let read = Told::of(&answer(503, &[item])).expect("a place");
        assert_eq!((read.room.as_str(), read.place), ("sale", Some(12)));
    }

    #[test]
    fn a_place_may_not_rise() {
        for (then, now, rises) in [
            (
                "sale;state=waiting;place=12",
                "sale;state=waiting;place=13",
                true,
            ),
            (
                "sale;state=waiting;place=12",
                "sale;state=waiting;place=12",
                false,
            ),
            (
                "sale;state=waiting;place=12",
                "sale;state=waiting;place=2",
                false,
            ),
            (
                "sale;state=early;place=2",
                "sale;state=waiting;place=900",
                false,
            ),
            (
                "sale;state=waiting;place=12",
                "other;state=waiting;place=13",
                false,
            ),
            ("sale;state=waiting", "sale;state=waiting;place=13", false),
        ] {
            assert_eq!(told(then).has_risen(&told(now)), rises, "{then} -> {now}");
        }
    }

    #[test]
    fn when_to_come_again() {
        for (fields, seconds) in [
            (&[("refresh", "7"), ("retry-after", "9")][..], 7.0),
            (&[("refresh", "7; url=/x")], 7.0),
            (&[("retry-after", "9")], 9.0),
            (&[("retry-after", "Fri, 27 Nov 2026 06:00:00 GMT")], 5.0),
            (&[("retry-after", "0")], 0.5),
            (&[("retry-after", "86400")], 300.0),
            (&[], 5.0),
        ] {
            let pause = pause(&answer(503, fields).fields);
            assert_eq!(pause.as_secs_f64(), seconds, "{fields:?}");
        }
    }
}
