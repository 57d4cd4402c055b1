//! `[waiting_rooms.NAME]`: who comes in when more come than there are places.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use toml::{
    Spanned,
    de::DeValue,
    value::{Datetime, Offset},
};

use super::{
    context::{Context, Value},
    describe::Shape,
    diagnostic::{Complaint, shown},
    file,
    model::WaitingRoom,
    read::{Field, Named, Read},
};

/// Each has a queue of two megabytes.
const ROOMS_MAX: usize = 64;
/// Admissions per period: beyond it there is hardly a bound.
const RATE_MOST: u32 = 1_000_000;
/// Keys: one that signs, and those of the last changes.
const KEYS_MAX: usize = 8;

/// A point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment(pub(super) SystemTime);

impl Read for Moment {
    fn wanted() -> String {
        "a date and time with its offset, such as 2026-11-27T12:00:00+06:00".to_owned()
    }

    fn shape() -> Shape {
        Shape::Moment
    }

    fn read(value: &Value<'_>, cx: &mut Context<'_>) -> Option<Self> {
        let DeValue::Datetime(written) = value.get_ref() else {
            let quoted = matches!(value.get_ref(), DeValue::String(_));
            match quoted {
                true => cx.error(
                    value.span(),
                    Complaint::new(format!("expected {}, found a string", Self::wanted()))
                        .help("write it without quotes"),
                ),
                false => cx.wrong_type(value, &Self::wanted()),
            }
            return None;
        };
        let moment = moment(written);
        if moment.is_none() {
            cx.error(
                value.span(),
                Complaint::new(format!("expected {}", Self::wanted()))
                    .help("say which time zone is meant: `+06:00`, or `Z` for UTC"),
            );
        }
        moment.map(Self)
    }
}

/// A date and time with an offset; `None` where a part is missing, or it is before 1970.
fn moment(written: &Datetime) -> Option<SystemTime> {
    let (date, time) = (written.date?, written.time?);
    let offset = match written.offset? {
        Offset::Z => 0,
        Offset::Custom { minutes } => i64::from(minutes) * 60,
    };
    // Days since 1970, with years that begin in March.
    let (year, month) = (i64::from(date.year), i64::from(date.month));
    let (year, month) = match month {
        ..3 => (year - 1, month + 9),
        _ => (year, month - 3),
    };
    let of_year = (153 * month + 2) / 5 + i64::from(date.day) - 1;
    let days = 365 * year + year / 4 - year / 100 + year / 400 + of_year - 719_468;
    let second = time.second.map_or(0, i64::from);
    let of_day = i64::from(time.hour) * 3_600 + i64::from(time.minute) * 60 + second;
    let seconds = u64::try_from(days * 86_400 + of_day - offset).ok()?;
    Some(UNIX_EPOCH + Duration::from_secs(seconds))
}

pub(super) fn waiting_rooms(
    given: &Field<Named<file::WaitingRoom>>,
    cx: &mut Context<'_>,
) -> Vec<WaitingRoom> {
    if let Some((name, _)) = given.entries().get(ROOMS_MAX) {
        cx.error(
            name.span(),
            format!("there are at most {ROOMS_MAX} waiting rooms"),
        );
    }
    let mut rooms = Vec::new();
    for (name, section) in given.entries() {
        if let Some(section) = section.given()
            && let Some(room) = waiting_room(name, section, cx)
        {
            rooms.push(room);
        }
    }
    rooms
}

fn waiting_room(
    name: &Spanned<String>,
    section: &Spanned<file::WaitingRoom>,
    cx: &mut Context<'_>,
) -> Option<WaitingRoom> {
    let room = section.get_ref();
    let keys = keys(room, cx);
    let capacity = room.capacity.require("capacity", section.span(), cx)?;
    if let Some(rate) = room
        .rate
        .given()
        .filter(|rate| rate.get_ref().count.get() > RATE_MOST)
    {
        cx.error(
            rate.span(),
            format!("`rate` must lie between 1 and {RATE_MOST}"),
        );
    }
    let (stay, cart_stay) = (&room.stay, &room.cart_stay);
    if let (true, Some(span)) = (
        cart_stay.value < stay.value,
        cart_stay.span.as_ref().or(stay.span.as_ref()),
    ) {
        cx.error(
            span.clone(),
            "`cart_stay` is shorter than `stay`: a cart would shorten a visit",
        );
    }
    if let (Some(span), Field::Absent) = (&room.early.span, &room.opens) {
        cx.warning(
            span.clone(),
            Complaint::new("`early` does nothing without `opens`")
                .help("say when the sale begins, or leave out `early`"),
        );
    }
    if let (Some(span), true, Some(_)) = (
        &room.early.span,
        room.early.value.is_zero(),
        room.opens.given(),
    ) {
        cx.error(
            span.clone(),
            Complaint::new("without a time before it `opens` keeps nobody out")
                .help("say from when on visitors may line up, such as \"30m\"; before, the room is like any other"),
        );
    }
    if let (Some(span), true, Some(_)) = (
        room.ticket_life.span.as_ref().or(room.early.span.as_ref()),
        room.ticket_life.value < room.early.value,
        room.opens.given(),
    ) {
        cx.error(
            span.clone(),
            Complaint::new(
                "`ticket_life` is shorter than `early`: tickets would be void before the room opens",
            )
            .help("let tickets live for `early` and as long as the last one may wait"),
        );
    }
    if let (Some(span), true) = (&cart_stay.span, room.cart_cookies.items().is_empty()) {
        cx.warning(
            span.clone(),
            Complaint::new("`cart_stay` does nothing without `cart_cookies`")
                .help("name the cookie by which the shop knows a cart"),
        );
    }
    Some(WaitingRoom {
        name: name.get_ref().clone(),
        capacity: u32::try_from(*capacity.get_ref()).unwrap_or(u32::MAX),
        rate: room.rate.value().map(|rate| (rate.count, rate.period)),
        stay: stay.value,
        cart_cookies: room
            .cart_cookies
            .items()
            .iter()
            .map(|c| c.get_ref().0.clone())
            .collect(),
        cart_stay: cart_stay.value.max(stay.value),
        covers: room.covers.value().copied().unwrap_or_default(),
        opens: room.opens.value().map(|moment| moment.0),
        early: room.early.value,
        ticket_life: room.ticket_life.value,
        keys,
        template: room.template.value().map(|path| cx.path(path)),
    })
}

fn keys(room: &file::WaitingRoom, cx: &mut Context<'_>) -> Vec<(String, std::path::PathBuf)> {
    if let Some(list) = room.keys.given() {
        let written = list.get_ref().written;
        if written == 0 || written > KEYS_MAX {
            cx.error(list.span(), format!("expected 1 to {KEYS_MAX} keys"));
        }
    }
    let mut keys: Vec<(String, std::path::PathBuf)> = Vec::new();
    for section in room.keys.items() {
        let key = section.get_ref();
        let id = key.id.require("id", section.span(), cx);
        let file = key.file.require("file", section.span(), cx);
        let (Some(id), Some(file)) = (id, file) else {
            continue;
        };
        if keys.iter().any(|(known, _)| known == id.get_ref()) {
            let twice = format!("the key {} is listed twice", shown(id.get_ref()));
            cx.error(id.span(), twice);
        }
        keys.push((id.get_ref().clone(), cx.path(file.get_ref())));
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T12:00:00Z", Some(951_825_600)),
            ("2026-11-27T12:00:00+06:00", Some(1_795_759_200)),
            ("2026-11-27T12:00:00", None),
            ("2026-11-27", None),
            ("12:00:00", None),
            ("1969-12-31T23:59:59Z", None),
        ] {
            let written: Datetime = text.parse().expect("a date");
            let since = moment(&written).map(|m| m.duration_since(UNIX_EPOCH).expect("since 1970"));
            assert_eq!(since.map(|since| since.as_secs()), seconds, "{text}");
        }
    }
}
