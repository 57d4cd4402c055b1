//! Fields that stand in for `Cache-Control`, and the lists around them: what counts comes from one
//! field, and the others have no say.

#![no_main]

use std::time::{Duration, UNIX_EPOCH};

use http::HeaderName;
use http::header::{ACCEPT_ENCODING, CACHE_CONTROL, COOKIE, DATE, EXPIRES};
use http_caching::*;
use libfuzzer_sys::fuzz_target;

mod message;
use message::Message;

static NAMES: [HeaderName; 10] = [
    targeted::DHAL_CACHE_CONTROL,
    targeted::CDN_CACHE_CONTROL,
    targeted::SURROGATE_CONTROL,
    targeted::X_ACCEL_EXPIRES,
    CACHE_CONTROL,
    EXPIRES,
    DATE,
    ACCEPT_ENCODING,
    http_caching::tags::SURROGATE_KEY,
    COOKIE,
];

fuzz_target!(|bytes: &[u8]| {
    let [choice, rest @ ..] = bytes else {
        return;
    };
    let message = Message::parse(&NAMES, rest);
    let legacy = Legacy { x_accel_expires: choice & 1 != 0, surrogate_control: choice & 2 != 0 };
    one_field_decides(&message, legacy);
    codings(&message);
    keys(&message);

    let mut seen = 0;
    let result = http_caching::tags(&message, &mut |tag| {
        assert!(!tag.is_empty() && tag.len() <= http_caching::tags::MAX_TAG_LENGTH);
        seen += 1;
    });
    assert!(if result.is_ok() { seen <= http_caching::tags::MAX_TAGS } else { seen == 0 });
});

/// A message without some of its fields.
struct Without<'a>(&'a dyn Fields, &'a [HeaderName]);

impl Fields for Without<'_> {
    fn for_each(&self, name: &HeaderName, f: &mut dyn FnMut(&[u8])) {
        if !self.1.contains(name) {
            self.0.for_each(name, f);
        }
    }
}

fn one_field_decides(message: &dyn Fields, legacy: Legacy) {
    let now = UNIX_EPOCH + Duration::from_secs(784_111_777);
    let found = effective_control(message, legacy, now);
    let lifetime = found.lifetime(message, now);
    assert!(lifetime.is_none_or(|lifetime| lifetime <= Duration::from_secs(1 << 31)));

    // The fields behind the one that counts change nothing when they go.
    let place = match found.source {
        Source::Dhal => 0,
        Source::Cdn => 1,
        Source::SurrogateControl => 2,
        Source::XAccelExpires => 3,
        Source::CacheControl => 4,
    };
    if place < 3 {
        let alone = Without(message, &NAMES[place + 1..=5]);
        assert_eq!(effective_control(&alone, legacy, now), found);
        assert_eq!(found.lifetime(&alone, now), lifetime);
    }
    // Nor do those before it, which could not be read.
    let rest = Without(message, &NAMES[..place]);
    assert_eq!(effective_control(&rest, legacy, now), found);
    // What is not accepted does not count.
    assert!(legacy.surrogate_control || place != 2);
    assert!(legacy.x_accel_expires || place != 3);
    if place == 3 {
        let plain = CacheControl::parse(message);
        assert!(found.control.no_store >= plain.no_store);
        assert!(found.control.private == plain.private && found.control.s_maxage.is_none());
    }
    if place == 4 {
        assert_eq!(found.control, CacheControl::parse(message));
    }
}

fn codings(message: &dyn Fields) {
    let all = [Coding::Zstd, Coding::Brotli, Coding::Gzip];
    let chosen = choose(message, &all);
    if let Some(coding) = chosen {
        assert!(is_acceptable(message, coding.token().as_bytes()));
        // It is still the choice when it is the only one.
        assert_eq!(choose(message, &[coding]), chosen);
    }
    if message.contains(&ACCEPT_ENCODING) && is_acceptable(message, b"gzip") {
        assert!(choose(message, &[Coding::Gzip]).is_some() || is_acceptable(message, b"identity"));
    }
    assert_eq!(is_acceptable(message, b"gzip"), is_acceptable(message, b"X-GZIP"));
}

/// What the origin server sees of the cookies is what the key knows.
fn keys(message: &dyn Fields) {
    let policy = KeyPolicy {
        fields: vec![ACCEPT_ENCODING],
        cookies: vec!["a".into(), "session".into()],
        ..KeyPolicy::default()
    };
    let sent = keyed_cookies(message, &policy.cookies);
    let line = sent.clone().unwrap_or_default();
    let as_sent = SeenByOrigin { message, cookie: sent.as_deref() };
    assert_eq!(keyed_cookies(&as_sent, &policy.cookies).unwrap_or_default(), line);
    let (mut before, mut after) = (Vec::new(), Vec::new());
    push_keyed(&policy, message, &mut before);
    push_keyed(&policy, &as_sent, &mut after);
    assert_eq!(before, after);
    assert!(before.ends_with(&line));
}

/// The request as the origin server gets it: one line of cookies, or none.
struct SeenByOrigin<'a> {
    message: &'a dyn Fields,
    cookie: Option<&'a [u8]>,
}

impl Fields for SeenByOrigin<'_> {
    fn for_each(&self, name: &HeaderName, f: &mut dyn FnMut(&[u8])) {
        if *name == COOKIE {
            self.cookie.into_iter().for_each(f);
        } else {
            self.message.for_each(name, f);
        }
    }
}
