//! Waiting rooms: who comes in when more visitors come than there are places.
//!
//! What decides is the crate `waiting-room`. Here a room gets its time, its keys, its visitors' cookies and its
//! counters. What it knows outlives a configuration, by its name.

mod back;
mod cookie;
pub(crate) mod keys;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::{Method, header::ACCEPT};
use http_caching::Fields;
use waiting_room::{
    Counts, Keys, Look, Millis, Read, Refusal, Room, Rules, Ticket, Told, Verdict, Visitor,
};

use super::rate::lasting;
use crate::{
    config::model::{self, Covers},
    edge::{RequestView, Scheme},
    random,
    respond::room::Template,
};

/// Cookies of a room's name that are looked at: browsers send one, and each costs a signature.
const COOKIES_MOST: usize = 4;

/// What outlives configurations: the rooms by name.
pub struct Rooms {
    /// The wall's time when the process began. It goes on by the process's own clock, so that a clock that is set
    /// while it runs changes nobody's place.
    began: Millis,
    known: Mutex<HashMap<&'static str, Arc<State>>>,
    /// Keys of the process that this one relieves.
    inherited: Mutex<HashMap<String, [u8; 32]>>,
}

/// What a room knows.
pub struct State {
    room: Mutex<Room>,
    /// Tells the room from those of other processes, and from one of the same name that was given up.
    epoch: u32,
    /// Signs where no key is configured.
    own_key: [u8; 32],
    /// Ids and the second in which each was seen: whoever asks for twenty pictures takes no lock for them.
    recent: Box<[AtomicU64]>,
    refused: [AtomicU64; Refusal::ALL.len()],
    waits: AtomicU64,
}

/// A waiting room as a configuration has it.
pub struct WaitingRoom {
    /// Its name, which outlives all requests.
    pub name: &'static str,
    /// Who waits.
    pub covers: Covers,
    /// The page.
    pub template: Template,
    /// When the sale begins, in milliseconds since 1970.
    pub opens: Option<Millis>,
    rules: Rules,
    keys: Keys,
    cookie: String,
    cart_cookies: Vec<String>,
    began: Millis,
    state: Arc<State>,
}

/// What a room says of a visitor who goes on: travels with its answer.
pub struct Pass {
    room: Arc<WaitingRoom>,
    id: Option<u64>,
    state: &'static str,
    is_secure: bool,
    tick: Duration,
    cookie: Option<String>,
}

/// What a room says to a visitor who waits, or who only asks.
pub struct Notice {
    /// Which room.
    pub room: Arc<WaitingRoom>,
    /// Where the visitor stands.
    pub look: Look,
    /// The ticket's `Set-Cookie`.
    pub cookie: Option<String>,
    /// It reads HTML.
    pub wants_page: bool,
    /// What was sent must not be sent again by itself, such as a form: the path that its page has.
    pub unsent: Option<String>,
}

/// What a room tells operators.
pub struct Figures {
    /// Inside now.
    pub inside: usize,
    /// Those of them with a cart.
    pub carts: usize,
    /// Waiting now.
    pub waiting: u32,
    /// What the next one would wait, in milliseconds.
    pub expected_wait: Millis,
    /// Since the process began.
    pub counts: Counts,
    /// Answers that said to wait.
    pub waits: u64,
    /// Tickets that were refused, by why.
    pub refused: Vec<(&'static str, u64)>,
}

/// What the access log says of a room.
#[derive(Debug, Clone, Copy)]
pub struct Note {
    /// Its name.
    pub room: &'static str,
    /// `inside`, `admitted`, `guest` (not counted yet), `passing` (not counted), `waiting` or `early`.
    pub state: &'static str,
}

impl Default for Rooms {
    fn default() -> Self {
        let began = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            began: began.as_millis() as Millis,
            known: Mutex::default(),
            inherited: Mutex::default(),
        }
    }
}

impl Rooms {
    /// The keys that rooms sign with where none is configured.
    pub(crate) fn own_keys(&self) -> HashMap<String, [u8; 32]> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = known.iter();
        keys.map(|(name, state)| ((*name).to_owned(), state.own_key))
            .collect()
    }

    /// Rooms of these names sign with these keys, so that tickets of the process before are good.
    pub(crate) fn begin_with(&self, keys: HashMap<String, [u8; 32]>) {
        *self
            .inherited
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// The room of a configuration; one of the same name goes on. A new one is remembered only by
    /// [`adopt`](Self::adopt). `now` is the time since the process began.
    pub(crate) fn room(
        &self,
        config: &model::WaitingRoom,
        now: Duration,
    ) -> Result<WaitingRoom, String> {
        let millis = |time: Duration| time.as_millis() as Millis;
        let opens = config
            .opens
            .and_then(|opens| opens.duration_since(UNIX_EPOCH).ok());
        let rules = Rules {
            capacity: config.capacity,
            rate: config.rate.map(|(count, period)| waiting_room::Rate {
                count: count.get(),
                period: millis(period),
            }),
            stay: millis(config.stay),
            cart_stay: millis(config.cart_stay),
            opens: opens.map(millis),
            early: millis(config.early),
            ticket_life: millis(config.ticket_life),
        };
        let name = lasting(&config.name);
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let state = known.get(name).cloned();
        drop(known);
        let state = state.unwrap_or_else(|| {
            let epoch = random::next() as u32;
            let room = Room::new(rules.clone(), epoch, self.began + millis(now));
            let mut state = State::new(room, epoch, config.capacity);
            let inherited = self.inherited.lock();
            let inherited = inherited.unwrap_or_else(PoisonError::into_inner);
            state.own_key = inherited.get(name).copied().unwrap_or(state.own_key);
            Arc::new(state)
        });
        Ok(WaitingRoom {
            keys: keys::load(name, &config.keys, &state.own_key)?,
            template: Template::load(config.template.as_deref())?,
            cookie: format!("dhal_room_{name}"),
            cart_cookies: config.cart_cookies.clone(),
            covers: config.covers,
            opens: rules.opens,
            began: self.began,
            name,
            rules,
            state,
        })
    }

    /// Puts the rules of rooms in force, and forgets all other rooms.
    pub(crate) fn adopt(&self, rooms: &[Arc<WaitingRoom>]) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        *known = rooms
            .iter()
            .map(|room| (room.name, Arc::clone(&room.state)))
            .collect();
        for room in rooms {
            room.state.lock().set_rules(room.rules.clone());
        }
    }
}

impl State {
    fn new(room: Room, epoch: u32, capacity: u32) -> Self {
        let mut own_key = [0; 32];
        for part in own_key.chunks_mut(8) {
            part.copy_from_slice(&random::next().to_ne_bytes());
        }
        // Better ones, where the system has any.
        let _ = aws_lc_rs::rand::fill(&mut own_key);
        let recent = (capacity as usize)
            .next_power_of_two()
            .clamp(1 << 10, 1 << 16);
        Self {
            room: Mutex::new(room),
            epoch,
            own_key,
            recent: (0..recent).map(|_| AtomicU64::new(0)).collect(),
            refused: Default::default(),
            waits: AtomicU64::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Room> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What stands in the place of an id that is seen in a second.
    fn recent(&self, id: u64, now: Millis) -> (&AtomicU64, u64) {
        let second = now / 1_000;
        let slot = &self.recent[id as usize & (self.recent.len() - 1)];
        (slot, id ^ second.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }
}

impl WaitingRoom {
    /// Decides about a request. `tick` is the time since the process began.
    pub fn check(
        self: &Arc<Self>,
        request: &RequestView<'_>,
        tick: Duration,
    ) -> Result<Pass, Notice> {
        let now = self.now(tick);
        let read = self.ticket(request.fields, now);
        if let Some(Read { ticket, .. }) = &read
            && ticket.is_pass()
            && ticket.epoch == self.state.epoch
            && now < ticket.issued.saturating_add(self.rules.stay / 2)
        {
            let (slot, seen) = self.state.recent(ticket.id, now);
            if slot.load(Ordering::Relaxed) == seen {
                return Ok(self.pass(Some(ticket.id), "inside", None, request, tick));
            }
        }
        let visitor = self.visitor(read, request);
        let verdict = self.arrive(visitor, request, now);
        let carry = |ticket: &Ticket, key: usize| {
            let life = ticket.expires.saturating_sub(now);
            self.set_cookie(&self.keys.write(ticket, key), life, is_secure(request))
        };
        match verdict {
            Verdict::Inside { id, pass, admitted } => {
                let (slot, seen) = self.state.recent(id, now);
                slot.store(seen, Ordering::Relaxed);
                let cookie = pass.map(|pass| carry(&pass, 0));
                let state = if admitted { "admitted" } else { "inside" };
                Ok(self.pass(Some(id), state, cookie, request, tick))
            }
            Verdict::Guest { ticket } => {
                let cookie = ticket.map(|ticket| carry(&ticket, 0));
                Ok(self.pass(None, "guest", cookie, request, tick))
            }
            Verdict::Uncounted => Ok(self.pass(None, "passing", None, request, tick)),
            Verdict::Wait { ticket, told } => {
                self.state.waits.fetch_add(1, Ordering::Relaxed);
                let cookie = ticket.map(|(ticket, key)| carry(&ticket, key));
                let Told { phase, waiting, .. } = told;
                let look = Look {
                    phase,
                    told: Some(told),
                    waiting,
                };
                Err(self.notice(look, cookie, request))
            }
        }
    }

    /// Says where a visitor stands.
    pub fn look(self: &Arc<Self>, request: &RequestView<'_>, tick: Duration) -> Notice {
        let now = self.now(tick);
        let read = self.ticket(request.fields, now);
        let visitor = read.map_or(Visitor::Stranger, Visitor::Holds);
        let look = self.state.lock().look(visitor, now);
        self.notice(look, None, request)
    }

    /// A room as this one is now, for those who want to know what would become of a visitor: nothing that happens in
    /// it is known to anybody else. What it copies is bounded by the visitors inside.
    pub(crate) fn copied(&self) -> Arc<Self> {
        let room = self.state.lock().clone();
        let state = State {
            room: Mutex::new(room),
            epoch: self.state.epoch,
            own_key: self.state.own_key,
            // It only spares a lock.
            recent: Box::new([AtomicU64::new(0)]),
            refused: Default::default(),
            waits: AtomicU64::new(0),
        };
        Arc::new(Self {
            template: self.template.clone(),
            rules: self.rules.clone(),
            keys: self.keys.clone(),
            cookie: self.cookie.clone(),
            cart_cookies: self.cart_cookies.clone(),
            state: Arc::new(state),
            ..*self
        })
    }

    /// Lets time pass where nobody comes.
    pub(crate) fn tidy(&self, tick: Duration, pressure: f64) {
        let mut room = self.state.lock();
        room.set_pressure(pressure);
        room.tidy(self.now(tick));
    }

    /// For operators.
    pub fn figures(&self) -> Figures {
        let room = self.state.lock();
        let (inside, carts) = room.inside();
        let refused = Refusal::ALL.into_iter().zip(&self.state.refused);
        Figures {
            inside,
            carts,
            waiting: room.waiting(),
            expected_wait: room.expected_wait(),
            counts: room.counts(),
            waits: self.state.waits.load(Ordering::Relaxed),
            refused: refused
                .map(|(why, count)| (why.as_str(), count.load(Ordering::Relaxed)))
                .collect(),
        }
    }

    /// Most visitors inside.
    pub fn capacity(&self) -> u32 {
        self.rules.capacity
    }

    /// Whether a `Set-Cookie` of the shop gives its visitor a cart.
    pub fn is_cart(&self, set_cookie: &[u8]) -> bool {
        !self.cart_cookies.is_empty() && cookie::sets_one_of(set_cookie, &self.cart_cookies)
    }

    fn now(&self, tick: Duration) -> Millis {
        self.began + tick.as_millis() as Millis
    }

    /// The first cookie of the room that is a ticket; the others are counted.
    fn ticket(&self, fields: &dyn Fields, now: Millis) -> Option<Read> {
        let (mut found, mut looked_at) = (None, 0);
        cookie::each(fields, self.cookie.as_bytes(), &mut |text| {
            if found.is_some() || looked_at == COOKIES_MOST {
                return;
            }
            looked_at += 1;
            match self.keys.read(text, now) {
                Ok(read) => found = Some(read),
                Err(why) => {
                    self.state.refused[why as usize].fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        found
    }

    /// Decides. A form of somebody without a ticket is let go on as a program is; if it has to wait its browser gets a
    /// ticket, so that it can come back.
    fn arrive(&self, visitor: Visitor, request: &RequestView<'_>, now: Millis) -> Verdict {
        let mut room = self.state.lock();
        let verdict = room.arrive(visitor, now);
        match (visitor, &verdict) {
            (Visitor::Stranger, Verdict::Wait { .. }) if wants_page(request.fields) => {
                room.arrive(Visitor::New(random::next()), now)
            }
            _ => verdict,
        }
    }

    fn visitor(&self, read: Option<Read>, request: &RequestView<'_>) -> Visitor {
        match read {
            Some(read) => Visitor::Holds(read),
            // A browser on its way to a page may keep what it is given; most others do not.
            None if is_safe(request) && wants_page(request.fields) => Visitor::New(random::next()),
            None => Visitor::Stranger,
        }
    }

    fn pass(
        self: &Arc<Self>,
        id: Option<u64>,
        state: &'static str,
        cookie: Option<String>,
        request: &RequestView<'_>,
        tick: Duration,
    ) -> Pass {
        let room = Arc::clone(self);
        Pass {
            room,
            id,
            state,
            is_secure: is_secure(request),
            tick,
            cookie,
        }
    }

    fn notice(
        self: &Arc<Self>,
        look: Look,
        cookie: Option<String>,
        request: &RequestView<'_>,
    ) -> Notice {
        Notice {
            room: Arc::clone(self),
            look,
            cookie,
            wants_page: wants_page(request.fields),
            unsent: (!is_safe(request)).then(|| back::path(request)),
        }
    }

    fn set_cookie(&self, text: &str, life: Millis, is_secure: bool) -> String {
        let (name, seconds) = (&self.cookie, life.div_ceil(1_000));
        let secure = if is_secure { "; Secure" } else { "" };
        format!("{name}={text}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}")
    }
}

impl Pass {
    /// `Set-Cookie`, where the visitor is to have another pass.
    pub fn cookie(&self) -> Option<&str> {
        self.cookie.as_deref()
    }

    /// Whether a `Set-Cookie` of the shop gives the visitor a cart.
    pub fn is_cart(&self, set_cookie: &[u8]) -> bool {
        self.id.is_some() && self.room.is_cart(set_cookie)
    }

    /// `Set-Cookie` of a visitor who has a cart from now on; nothing for one who is not counted.
    pub fn with_cart(&self) -> Option<String> {
        let now = self.room.now(self.tick);
        let pass = self.room.state.lock().give_cart(self.id?, now);
        let text = self.room.keys.write(&pass, 0);
        Some(
            self.room
                .set_cookie(&text, pass.expires.saturating_sub(now), self.is_secure),
        )
    }

    /// For the access log.
    pub fn note(&self) -> Note {
        Note {
            room: self.room.name,
            state: self.state,
        }
    }
}

impl Notice {
    /// For the access log.
    pub fn note(&self) -> Note {
        Note {
            room: self.room.name,
            state: self.look.phase.as_str(),
        }
    }
}

fn is_secure(request: &RequestView<'_>) -> bool {
    request.connection.scheme == Scheme::Https
}

fn is_safe(request: &RequestView<'_>) -> bool {
    *request.method == Method::GET || *request.method == Method::HEAD
}

fn wants_page(fields: &dyn Fields) -> bool {
    let mut html = false;
    fields.for_each(&ACCEPT, &mut |value| {
        html |= memchr::memmem::find(&value.to_ascii_lowercase(), b"text/html").is_some();
    });
    html
}
