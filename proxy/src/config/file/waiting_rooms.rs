//! `[waiting_rooms.NAME]`.

use std::time::Duration;

use super::HOUR;
use crate::config::{
    model::Covers,
    read::{List, section},
    scalar::{CookieName, FilePath},
    units::{Rate, secs},
    waiting_rooms::Moment,
};

section! {
    /// `[waiting_rooms.NAME]`
    WaitingRoom is "[waiting_rooms.NAME]" {
        /// Visitors inside at once; further ones wait. More than a million are in no shop at once,
        /// and each takes some 50 bytes.
        capacity: u64, required, within(1..=1_000_000);
        /// Most admissions per second, minute or hour: `"50/s"`. Absent: as places become free.
        rate: Rate;
        /// Who is quiet for so long has left. 5m: longer than people read a page.
        stay: Duration = secs(300), secs(5)..=secs(86_400);
        /// An answer of the shop that sets one of these cookies gives its visitor a cart: a pass that
        /// lasts for `cart_stay` and is never refused a place.
        cart_cookies: List<CookieName>, empty;
        /// Who has a cart and is quiet for so long has left. At least `stay`.
        cart_stay: Duration = secs(1_800), secs(5)..=secs(86_400);
        /// Who waits: `"all"`, or `"origin"`: what the store answers is shown to everybody, and
        /// only who needs the shop itself waits.
        covers: Covers, or("all");
        /// When the sale begins: a date and time with its offset. Absent: the room is always open.
        opens: Moment;
        /// The pre-queue begins so long before `opens`. Who comes in it gets a place by lot, before all
        /// who come later; nobody is let in before `opens`.
        early: Duration = secs(1_800), secs(0)..=HOUR;
        /// How long a place in the queue is kept.
        ticket_life: Duration = secs(6 * 3_600), secs(60)..=secs(7 * 3_600);
        /// Keys of the tickets: the first signs, all verify. Up to 8. Absent: a key of this process,
        /// so that a restart sends everyone to the end of the queue.
        keys: List<RoomKey>;
        /// HTML file in the place of the page that is built in; see `docs/waiting-room.md`.
        template: FilePath;
    }
}

section! {
    /// One of `keys` of a waiting room
    RoomKey is "a key of a waiting room" {
        /// A name that stays with the key.
        id: String, required;
        /// File with the secret: 32 to 4,096 bytes, such as `openssl rand -hex 32` writes.
        file: FilePath, required;
    }
}
