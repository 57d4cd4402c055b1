//! Tickets: what a visitor carries, and nobody can make up.
//!
//! 78 octets, written as 104 characters: version, key, room, id, order, time of issue, end, the place that was
//! told last, the process that issued it, kind, and HMAC-SHA256 (RFC 2104) over all that.

use aws_lc_rs::{digest, hmac};

use crate::{Millis, base64, order::Order};

const BODY: usize = 46;
const MAC: usize = 32;
const VERSION: u8 = 1;
/// Characters of a ticket.
pub const TEXT_LENGTH: usize = (BODY + MAC) / 3 * 4;
/// How far clocks of machines with the same keys may differ, and a clock may be set back while none of them runs.
const SKEW: Millis = 2 * 60 * 1000;

/// What a ticket is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It holds a place in the queue.
    Waiting,
    /// The same, of one who came before the opening: its order is drawn, and not written on it.
    Early,
    /// Its visitor was let go on once, uncounted; it says when.
    Guest,
    /// Its visitor is inside.
    Pass,
    /// The same, with a cart.
    Cart,
}

/// What a visitor carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// Who it is.
    pub id: u64,
    /// Its order; zero for passes and guests, and what was drawn for those who came early.
    pub order: Order,
    /// When it was issued for the first time, or a pass for the last.
    pub issued: Millis,
    /// From when on it is void.
    pub expires: Millis,
    /// The place that was told last; zero: none yet.
    pub told: u32,
    /// The process that issued it.
    pub epoch: u32,
    /// What it is good for.
    pub kind: Kind,
    /// Whether it has come back, and was counted: until then nobody knows whether its visitor keeps cookies.
    pub counted: bool,
}

impl Ticket {
    /// Whether its visitor was let in.
    pub fn is_pass(&self) -> bool {
        matches!(self.kind, Kind::Pass | Kind::Cart)
    }
}

/// A ticket that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    /// What it says.
    pub ticket: Ticket,
    /// Which of the keys it was signed with.
    pub key: usize,
    /// What [`Keys::draw`] says of its id, where that can matter.
    pub draw: u64,
}

/// Why a ticket is as good as none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is none: of another length, or not in its alphabet.
    Malformed,
    /// None of our keys has signed it.
    Key,
    /// It was changed, or made up.
    Forged,
    /// It is for another room.
    Room,
    /// It is void by now.
    Expired,
    /// It was issued in time to come.
    Future,
}

impl Refusal {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Malformed, Self::Key, Self::Forged, Self::Room, Self::Expired, Self::Future];

    /// For a label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Key => "key",
            Self::Forged => "forged",
            Self::Room => "room",
            Self::Expired => "expired",
            Self::Future => "future",
        }
    }
}

/// The keys of a room. The first one signs, all verify, so that keys can be changed without anybody losing a place.
#[derive(Clone)]
pub struct Keys {
    room: [u8; 4],
    keys: Vec<([u8; 4], hmac::Key)>,
}

impl Keys {
    /// Keys by their ids, for a room by its name. There must be one at least: without any, nothing that they sign
    /// is ever read.
    pub fn new<'k>(room: &str, keys: impl IntoIterator<Item = (&'k str, &'k [u8])>) -> Self {
        let keys = keys.into_iter().map(|(id, secret)| {
            let secret = hmac::Key::new(hmac::HMAC_SHA256, secret);
            (mark(id), secret)
        });
        Self { room: mark(room), keys: keys.collect() }
    }

    /// A ticket's text, signed with one of the keys. One who came early keeps the key its order is drawn by.
    pub fn write(&self, ticket: &Ticket, key: usize) -> String {
        let Some((id, secret)) = self.keys.get(key).or_else(|| self.keys.first()) else {
            return String::new();
        };
        let mut octets = [0; BODY + MAC];
        let (body, mac) = octets.split_at_mut(BODY);
        let order = match ticket.kind {
            Kind::Waiting => ticket.order.bits(),
            // Who could read it would throw a bad one away and draw again.
            Kind::Early | Kind::Guest | Kind::Pass | Kind::Cart => 0,
        };
        let kind = match (ticket.kind, ticket.counted) {
            (Kind::Waiting, true) => 0,
            (Kind::Early, true) => 1,
            (Kind::Pass, _) => 2,
            (Kind::Cart, _) => 3,
            (Kind::Guest, _) => 4,
            (Kind::Waiting, false) => 5,
            (Kind::Early, false) => 6,
        };
        let parts: [&[u8]; 10] = [
            &[VERSION],
            id,
            &self.room,
            &ticket.id.to_be_bytes(),
            &order.to_be_bytes(),
            &ticket.issued.to_be_bytes()[2..],
            &ticket.expires.to_be_bytes()[2..],
            &ticket.told.to_be_bytes(),
            &ticket.epoch.to_be_bytes(),
            &[kind],
        ];
        let mut at = 0;
        for part in parts {
            body[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        mac.copy_from_slice(hmac::sign(secret, body).as_ref());
        base64::encode(&octets)
    }

    /// Reads what a visitor says is a ticket.
    pub fn read(&self, text: &[u8], now: Millis) -> Result<Read, Refusal> {
        if text.len() != TEXT_LENGTH {
            return Err(Refusal::Malformed);
        }
        let octets: [u8; BODY + MAC] = base64::decode(text).ok_or(Refusal::Malformed)?;
        let (body, mac) = octets.split_at(BODY);
        let mut rest = body;
        if take::<1>(&mut rest) != [VERSION] {
            return Err(Refusal::Malformed);
        }
        let id = take::<4>(&mut rest);
        let key = self.keys.iter().position(|(known, _)| *known == id);
        let key = key.ok_or(Refusal::Key)?;
        hmac::verify(&self.keys[key].1, body, mac).map_err(|_| Refusal::Forged)?;
        if take::<4>(&mut rest) != self.room {
            return Err(Refusal::Room);
        }
        let id = u64::from_be_bytes(take(&mut rest));
        let order = Order::of_bits(u64::from_be_bytes(take(&mut rest)));
        let issued = time(take(&mut rest));
        let expires = time(take(&mut rest));
        let told = u32::from_be_bytes(take(&mut rest));
        let epoch = u32::from_be_bytes(take(&mut rest));
        let (kind, counted) = match take::<1>(&mut rest) {
            [0] => (Kind::Waiting, true),
            [1] => (Kind::Early, true),
            [2] => (Kind::Pass, true),
            [3] => (Kind::Cart, true),
            [4] => (Kind::Guest, false),
            [5] => (Kind::Waiting, false),
            [6] => (Kind::Early, false),
            _ => return Err(Refusal::Malformed),
        };
        if issued > now + SKEW {
            return Err(Refusal::Future);
        }
        if expires <= now {
            return Err(Refusal::Expired);
        }
        let draw = match kind {
            Kind::Early => self.draw_by(id, key),
            // These draw if they come back in the pre-queue.
            Kind::Waiting | Kind::Guest if !counted => self.draw_by(id, key),
            Kind::Waiting | Kind::Guest | Kind::Pass | Kind::Cart => 0,
        };
        let ticket = Ticket { id, order, issued, expires, told, epoch, kind, counted };
        Ok(Read { ticket, key, draw })
    }

    /// A number that belongs to an id, and that nobody without the key can tell.
    pub fn draw(&self, id: u64) -> u64 {
        self.draw_by(id, 0)
    }

    fn draw_by(&self, id: u64, key: usize) -> u64 {
        let Some((_, secret)) = self.keys.get(key) else {
            return id;
        };
        // Of another length than anything that is signed, so that neither tells anything of the other.
        let tag = hmac::sign(secret, &[b"draw".as_slice(), &self.room, &id.to_be_bytes()].concat());
        let mut head = tag.as_ref();
        u64::from_be_bytes(take(&mut head))
    }
}

/// The beginning of a name's digest: names have any length, and a ticket has room for four octets.
fn mark(name: &str) -> [u8; 4] {
    let digest = digest::digest(&digest::SHA256, name.as_bytes());
    let mut octets = digest.as_ref();
    take(&mut octets)
}

/// The first octets of a slice that has as many.
fn take<const N: usize>(octets: &mut &[u8]) -> [u8; N] {
    let mut taken = [0; N];
    if let Some((head, rest)) = octets.split_at_checked(N) {
        taken.copy_from_slice(head);
        *octets = rest;
    }
    taken
}

fn time(octets: [u8; 6]) -> Millis {
    let [a, b, c, d, e, f] = octets;
    u64::from_be_bytes([0, 0, a, b, c, d, e, f])
}

#[cfg(test)]
mod tests;
