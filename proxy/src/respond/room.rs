//! What a waiting room says to those who wait: a page, or JSON, and the field `Dhal-Room`.

mod template;

use http::{
    HeaderName,
    header::{CACHE_CONTROL, CONTENT_TYPE, REFRESH, RETRY_AFTER, SET_COOKIE},
};
use waiting_room::Phase;

use super::{
    dress::Dress,
    reply::{Asked, Reply},
};
use crate::{
    admit::waiting_room::{Notice, Pass},
    edge::Wait,
};

pub use template::Template;

/// `Dhal-Room`
const DHAL_ROOM: HeaderName = HeaderName::from_static("dhal-room");
/// What a cache in front of us keeps it must not give to others, or they would all have one pass.
pub(crate) const PRIVATE: &str = "private";
/// The same for those that listen to this field alone (RFC 9213).
pub(crate) const CDN_CACHE_CONTROL: &str = "cdn-cache-control";

impl Reply {
    /// What a room says.
    pub fn notice(wait: &Wait, dress: &Dress, asked: &Asked<'_>) -> Self {
        let asked = &asked.on(wait.rejection.route.as_ref());
        let mut reply = match wait.rejection.status {
            200 => Self::of_room(200, &wait.notice, asked),
            _ => {
                let mut reply = Self::wait(&wait.notice, asked);
                reply.limit(wait.rejection.limit.as_ref());
                reply
            }
        };
        reply.dress(dress);
        reply
    }

    /// 503 for one who waits.
    fn wait(notice: &Notice, asked: &Asked<'_>) -> Self {
        let mut reply = Self::of_room(503, notice, asked);
        let refresh = refresh_seconds(notice).to_string();
        reply.add(RETRY_AFTER, &refresh);
        if notice.unsent.is_none() && notice.wants_page {
            reply.add(REFRESH, &refresh);
        }
        if let Some(cookie) = &notice.cookie {
            reply.add(SET_COOKIE, cookie);
        }
        reply
    }

    fn of_room(status: u16, notice: &Notice, asked: &Asked<'_>) -> Self {
        let (content_type, body) = match status == 503 && notice.wants_page {
            true => (
                "text/html; charset=utf-8",
                match &notice.unsent {
                    Some(back) => template::unsent(back, asked),
                    None => notice.room.template.render(notice, asked),
                },
            ),
            false => ("application/json", json(notice, asked)),
        };
        let mut reply = Self {
            status,
            fields: Vec::with_capacity(10),
            body: body.into(),
        };
        reply.add(CONTENT_TYPE, content_type);
        reply.add(CACHE_CONTROL, "no-store");
        reply.add(DHAL_ROOM, &field(notice));
        reply.common(asked);
        reply
    }

    /// Gives a visitor the pass that came about on the way to this answer.
    pub fn pass(&mut self, pass: Option<&Pass>) {
        if let Some(cookie) = pass.and_then(Pass::cookie) {
            self.add(SET_COOKIE, cookie);
        }
    }
}

/// Seconds until the visitor is to ask again.
fn refresh_seconds(notice: &Notice) -> u64 {
    notice
        .look
        .told
        .map_or(0, |told| told.refresh.div_ceil(1_000))
        .max(1)
}

fn wait_seconds(notice: &Notice) -> u64 {
    notice.look.told.map_or(0, |told| told.wait.div_ceil(1_000))
}

fn place(notice: &Notice) -> Option<u32> {
    notice.look.told.and_then(|told| told.place)
}

/// `sale;state=waiting;place=12;ahead=11;wait=30`: an item of RFC 9651.
fn field(notice: &Notice) -> String {
    let name = notice.room.name;
    let state = notice.look.phase.as_str();
    let mut out = match name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        true => format!("{name};state={state}"),
        // No token; a name has no quotes.
        false => format!("\"{name}\";state={state}"),
    };
    if let Some(place) = place(notice) {
        out += &format!(";place={place};ahead={}", place.saturating_sub(1));
    }
    if notice.look.told.is_some() {
        out += &format!(";wait={}", wait_seconds(notice));
    }
    out
}

fn json(notice: &Notice, asked: &Asked<'_>) -> String {
    let told = notice.look.told;
    let place = place(notice);
    let body = serde_json::json!({
        "room": notice.room.name,
        "state": notice.look.phase.as_str(),
        "place": place,
        "ahead": place.map(|place| place.saturating_sub(1)),
        "waiting": notice.look.waiting,
        "wait_seconds": told.map(|_| wait_seconds(notice)),
        "refresh_seconds": told.map(|_| refresh_seconds(notice)),
        "opens": notice.room.opens.map(template::date),
        "request_id": asked.request_id,
    });
    format!("{body}\n")
}

/// Whether places are not told yet.
fn is_early(notice: &Notice) -> bool {
    notice.look.phase == Phase::Early
}
