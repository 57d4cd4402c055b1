//! Which field says how a response may be stored: one meant for this cache, or `Cache-Control`
//! (RFC 9213).
//!
//! The first of these that the response has, and that can be read, counts; those behind it do not:
//!
//! 1. `Dhal-Cache-Control`, 2. `CDN-Cache-Control` (RFC 9213 §2.2);
//! 3. `Surrogate-Control` (W3C Edge Architecture 1.0), where the operator accepts it;
//! 4. `X-Accel-Expires` (nginx), where the operator accepts it: it replaces the lifetime alone, and the
//!    other directives of `Cache-Control` go on counting;
//! 5. `Cache-Control` with `Expires` (RFC 9111 §5.2, §5.3).

use std::convert::Infallible;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderName;
use sfv::visitor::ParameterVisitor;
use sfv::visitor::{DictionaryVisitor, EntryVisitor, Ignored, InnerListVisitor, ItemVisitor};
use sfv::{BareItemFromInput, KeyRef, Parser};

use crate::cache_control::{CacheControl, field_names};
use crate::fields::{Fields, is_token, members, trim, with_single};
use crate::freshness::{MAX_DELTA, date, delta_seconds, explicit_lifetime, since};

/// The targeted field of this cache (RFC 9213 §2).
pub const DHAL_CACHE_CONTROL: HeaderName = HeaderName::from_static("dhal-cache-control");
/// The targeted field of all caches in front of an origin server (RFC 9213 §3).
pub const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");
/// The surrogates' field that came before RFC 9213.
pub const SURROGATE_CONTROL: HeaderName = HeaderName::from_static("surrogate-control");
/// nginx's field for the lifetime.
pub const X_ACCEL_EXPIRES: HeaderName = HeaderName::from_static("x-accel-expires");

/// Which fields from before RFC 9213 an operator accepts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Legacy {
    /// `X-Accel-Expires`
    pub x_accel_expires: bool,
    /// `Surrogate-Control`
    pub surrogate_control: bool,
}

/// The field whose directives count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `Dhal-Cache-Control`
    Dhal,
    /// `CDN-Cache-Control`
    Cdn,
    /// `Surrogate-Control`
    SurrogateControl,
    /// `X-Accel-Expires`, over the directives of `Cache-Control`
    XAccelExpires,
    /// `Cache-Control` and `Expires`, or nothing at all
    CacheControl,
}

/// What a response says to this cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// The directives that count.
    pub control: CacheControl,
    /// Where they come from.
    pub source: Source,
}

impl Effective {
    /// The freshness lifetime that the response states (RFC 9111 §4.2.1). `Expires` belongs to
    /// `Cache-Control` and goes with it (RFC 9213 §2.2).
    pub fn lifetime(&self, response: &dyn Fields, response_time: SystemTime) -> Option<Duration> {
        match self.source {
            Source::CacheControl => explicit_lifetime(&self.control, response, response_time),
            Source::Dhal | Source::Cdn | Source::SurrogateControl | Source::XAccelExpires => {
                self.control.s_maxage.or(self.control.max_age)
            }
        }
    }
}

/// Reads the directives that count for this cache, in the order that the module describes.
///
/// `response_time` is when the response head came: an absolute `X-Accel-Expires` needs it where the
/// response has no `Date`.
pub fn effective_control(
    response: &dyn Fields,
    legacy: Legacy,
    response_time: SystemTime,
) -> Effective {
    for (name, source) in [(DHAL_CACHE_CONTROL, Source::Dhal), (CDN_CACHE_CONTROL, Source::Cdn)] {
        if let Some(control) = targeted(response, &name) {
            return Effective { control, source };
        }
    }
    if legacy.surrogate_control
        && let Some(control) = surrogate_control(response)
    {
        return Effective { control, source: Source::SurrogateControl };
    }
    let control = CacheControl::parse(response);
    if legacy.x_accel_expires
        && let Some(expires) =
            with_single(response, &X_ACCEL_EXPIRES, AccelExpires::parse).flatten()
    {
        let control = expires.apply(control, response, response_time);
        return Effective { control, source: Source::XAccelExpires };
    }
    Effective { control, source: Source::CacheControl }
}

/// Reads a targeted field; `None` when it is absent, empty or no dictionary, which are the same
/// (RFC 9213 §2.1).
fn targeted(response: &dyn Fields, name: &HeaderName) -> Option<CacheControl> {
    let mut joined: Option<Vec<u8>> = None;
    response.for_each(name, &mut |value| match &mut joined {
        None => joined = Some(value.to_vec()),
        Some(joined) => {
            joined.extend_from_slice(b", ");
            joined.extend_from_slice(value);
        }
    });
    let joined = joined?;
    if trim(&joined).is_empty() {
        return None;
    }
    Parser::new(&joined).parse_dictionary_with_visitor(Directives::default()).ok()
}

/// Gathers the members of a targeted field. Of a member that comes twice the last counts, whatever
/// its type (RFC 9651 §4.2.2); a member of a type that the directive does not have is left out, and
/// so are parameters (RFC 9213 §2.1).
#[derive(Default)]
struct Directives(CacheControl);

impl<'de> DictionaryVisitor<'de> for Directives {
    type Out = CacheControl;
    type Error = Infallible;

    fn entry(&mut self, key: &'de KeyRef) -> Result<impl EntryVisitor<'de>, Infallible> {
        Ok(Member { control: &mut self.0, name: key.as_str() })
    }

    fn finish(self) -> Result<CacheControl, Infallible> {
        Ok(self.0)
    }
}

struct Member<'a, 'de> {
    control: &'a mut CacheControl,
    name: &'de str,
}

impl<'de> EntryVisitor<'de> for Member<'_, 'de> {
    type Error = Infallible;

    fn item(self) -> Result<impl ItemVisitor<'de>, Infallible> {
        Ok(self)
    }

    fn inner_list(self) -> Result<impl InnerListVisitor<'de>, Infallible> {
        // No directive is a list.
        self.set(&Value::Other);
        Ok(Ignored)
    }
}

impl<'de> ItemVisitor<'de> for Member<'_, 'de> {
    type Out = ();
    type Error = Infallible;

    fn bare_item(
        self,
        item: BareItemFromInput<'de>,
    ) -> Result<impl ParameterVisitor<'de, Out = ()>, Infallible> {
        self.set(&match &item {
            BareItemFromInput::Boolean(true) => Value::True,
            BareItemFromInput::Integer(number) => {
                u64::try_from(i64::from(*number)).map_or(Value::Other, Value::Seconds)
            }
            BareItemFromInput::String(text) => Value::Text(text.as_str()),
            _ => Value::Other,
        });
        Ok(Ignored)
    }
}

/// A value of one of the types that directives have (RFC 9213 §2.1).
enum Value<'a> {
    True,
    Seconds(u64),
    Text(&'a str),
    Other,
}

impl Value<'_> {
    fn is_true(&self) -> bool {
        matches!(self, Self::True)
    }

    fn seconds(&self) -> Option<Duration> {
        match self {
            Self::Seconds(seconds) => Some(Duration::from_secs(*seconds).min(MAX_DELTA)),
            Self::True | Self::Text(_) | Self::Other => None,
        }
    }

    /// `no-cache` and `private` (RFC 9111 §5.2.2.4, §5.2.2.7): whether without field names, and the
    /// fields named. Names that cannot be read are as good as none.
    fn qualified(&self) -> (bool, Vec<HeaderName>) {
        let mut names = Vec::new();
        match self {
            Self::True => (true, names),
            Self::Text(list) => (!field_names(list.as_bytes(), &mut names), names),
            Self::Seconds(_) | Self::Other => (false, names),
        }
    }
}

impl Member<'_, '_> {
    fn set(self, value: &Value<'_>) {
        let control = self.control;
        match self.name {
            "no-store" => control.no_store = value.is_true(),
            "no-cache" => (control.no_cache, control.no_cache_fields) = value.qualified(),
            "private" => (control.private, control.private_fields) = value.qualified(),
            "public" => control.public = value.is_true(),
            "must-revalidate" => control.must_revalidate = value.is_true(),
            "proxy-revalidate" => control.proxy_revalidate = value.is_true(),
            "must-understand" => control.must_understand = value.is_true(),
            "no-transform" => control.no_transform = value.is_true(),
            "immutable" => control.immutable = value.is_true(),
            "max-age" => control.max_age = value.seconds(),
            "s-maxage" => control.s_maxage = value.seconds(),
            "stale-while-revalidate" => control.stale_while_revalidate = value.seconds(),
            "stale-if-error" => control.stale_if_error = value.seconds(),
            _ => {}
        }
    }
}

/// Reads `Surrogate-Control`; `None` when nothing in it is about storing, such as
/// `content="ESI/1.0"` alone.
///
/// A member behind which another surrogate is named (`no-store;other`) is not for us. We cannot tell
/// whether we are what the origin server calls remote, so `no-store-remote` means us.
fn surrogate_control(response: &dyn Fields) -> Option<CacheControl> {
    let mut control = CacheControl::default();
    let mut any = false;
    response.for_each(&SURROGATE_CONTROL, &mut |value| {
        for member in members(value) {
            let mut parts = member.splitn(2, |byte| *byte == b';').map(trim);
            let directive = parts.next().unwrap_or_default();
            if parts.next().is_some_and(|target| is_token(target) && target != b"dhal") {
                continue;
            }
            let (name, argument) = match directive.iter().position(|byte| *byte == b'=') {
                Some(at) => (trim(&directive[..at]), Some(trim(&directive[at + 1..]))),
                None => (directive, None),
            };
            if name.eq_ignore_ascii_case(b"no-store")
                || name.eq_ignore_ascii_case(b"no-store-remote")
            {
                control.no_store = true;
            } else if name.eq_ignore_ascii_case(b"max-age") {
                let (lifetime, stale) = surrogate_max_age(argument.unwrap_or_default());
                // Of several the most restrictive, as RFC 9111 §4.2.1 has it.
                control.max_age =
                    Some(control.max_age.map_or(lifetime, |known| known.min(lifetime)));
                let known = control.stale_while_revalidate;
                control.stale_while_revalidate =
                    Some(known.map_or(stale, |known| known.min(stale)));
            } else {
                continue;
            }
            any = true;
        }
    });
    any.then_some(control)
}

/// `60` or `60+30`: the lifetime, and how long after it the response may answer while it is
/// validated. What cannot be read is no time at all.
fn surrogate_max_age(argument: &[u8]) -> (Duration, Duration) {
    let mut parts = argument.splitn(2, |byte| *byte == b'+');
    let lifetime = parts.next().and_then(delta_seconds);
    let stale = parts.next().map(delta_seconds);
    match (lifetime, stale) {
        (Some(lifetime), None) => (lifetime, Duration::ZERO),
        (Some(lifetime), Some(Some(stale))) => (lifetime, stale),
        (None, _) | (_, Some(None)) => (Duration::ZERO, Duration::ZERO),
    }
}

/// `X-Accel-Expires` of nginx.
enum AccelExpires {
    /// `0`: not to be stored.
    Never,
    /// So many seconds of lifetime.
    Seconds(Duration),
    /// `@`: until that moment.
    At(SystemTime),
}

impl AccelExpires {
    /// What nginx cannot read it ignores, and so do we.
    fn parse(value: &[u8]) -> Option<Self> {
        match value.strip_prefix(b"@") {
            Some(moment) => {
                if moment.is_empty() || !moment.iter().all(u8::is_ascii_digit) {
                    return None;
                }
                let seconds = std::str::from_utf8(moment).ok()?.parse().ok()?;
                UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).map(Self::At)
            }
            None => Some(match delta_seconds(value)? {
                Duration::ZERO => Self::Never,
                seconds => Self::Seconds(seconds),
            }),
        }
    }

    /// Puts its lifetime in the place of all others. A `s-maxage` loses its number and keeps its ban
    /// on stale answers (RFC 9111 §5.2.2.10).
    fn apply(
        self,
        mut control: CacheControl,
        response: &dyn Fields,
        response_time: SystemTime,
    ) -> CacheControl {
        control.proxy_revalidate |= control.s_maxage.take().is_some();
        let lifetime = match self {
            Self::Never => {
                control.no_store = true;
                // Which would lift it.
                control.must_understand = false;
                Duration::ZERO
            }
            Self::Seconds(lifetime) => lifetime,
            // Counted from where the age is counted from, as with `Expires`.
            Self::At(moment) => since(date(response).unwrap_or(response_time), moment),
        };
        control.max_age = Some(lifetime.min(MAX_DELTA));
        control
    }
}

#[cfg(test)]
mod tests;
