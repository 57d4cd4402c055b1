//! Rate limits: GCRA by governor, over a table of clients that cannot grow without bound.

use std::{
    cell::Cell,
    collections::BTreeSet,
    hash::RandomState,
    num::NonZeroU32,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use governor::{
    NotUntil, Quota, RateLimiter, clock::Clock, middleware::StateInformationMiddleware,
};

use super::{
    clients::{Client, Clients, Common, noted_arrival},
    key::{Asked, Key},
    lists::AddressList,
    state::{LimitDecision, LimitState},
};
use crate::{
    config::model::{Limit, LimitAction, LimitCount},
    observe::limit_metrics::LimitCounts,
};

/// Requests of one rule that are held back at once; further ones are refused. Each holds a connection or a stream
/// and its head, some 10 KiB: what waits for one rule stays below 40 MiB, and leaves most of the connections that
/// may be open by default to others.
const WAITING_MOST: usize = 4_096;

/// What a rule remembers. It outlives configurations in which the rule counts in the same way.
pub struct Memory {
    clients: Arc<Clients>,
    /// Hashes what is more than an address; drawn at random, so that nobody can choose numbers that meet.
    keys: RandomState,
    /// Requests that are held back now.
    waiting: AtomicUsize,
    /// Whether the log says that it was full.
    is_told_full: AtomicBool,
}

impl Memory {
    fn new(max_keys: usize, counts: Arc<LimitCounts>) -> Self {
        Self {
            clients: Arc::new(Clients::new(max_keys, counts)),
            keys: RandomState::new(),
            waiting: AtomicUsize::new(0),
            is_told_full: AtomicBool::new(false),
        }
    }
}

/// Clients of one rule that a process tells the next one of: those furthest beyond their rate.
const KNOWN_MOST: usize = 20_000;
/// A client that is further ahead than its rule lets anybody be, by more than this, was charged by the rule before it:
/// much more than a sweep takes, which shall not take for it what comes meanwhile.
const AHEAD_TOO_FAR: Duration = Duration::from_secs(10);

/// What a rule remembers of clients that are not fully rested, for another process.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Known {
    networks: (u8, u8),
    /// Numbers of networks, and nanoseconds that they are ahead.
    clients: Vec<(u64, u64)>,
    /// Nanoseconds in which one request is replenished; `0` where an older version does not say.
    #[serde(default)]
    pause: u64,
}

/// One of the requests that wait for a rule.
struct Waits(Arc<Memory>);

impl Waits {
    /// `None` where too many do.
    fn new(memory: &Arc<Memory>) -> Option<Self> {
        let (ok, failed) = (Ordering::Relaxed, Ordering::Relaxed);
        let room = |waiting| (waiting < WAITING_MOST).then_some(waiting + 1);
        memory.waiting.fetch_update(ok, failed, room).ok()?;
        Some(Self(Arc::clone(memory)))
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a rule has charged a request that is held back, by this rule or another. Unless the request takes its turn,
/// the rule has it back once this is dropped.
pub struct Held {
    memory: Arc<Memory>,
    client: Client,
    pause: u64,
    is_taken: bool,
    /// By this rule.
    _waits: Option<Waits>,
}

impl Held {
    /// The wait is over, and the request goes on.
    pub fn take_turn(mut self) {
        self.is_taken = true;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.is_taken {
            self.memory.clients.hand_back(self.client, self.pause);
        }
    }
}

type Limiter = RateLimiter<Client, Common, GivenClock, StateInformationMiddleware>;

/// A rule, and its memory of clients.
pub struct RateLimit {
    /// Name of the rule.
    pub name: &'static str,
    /// Which requests it counts.
    pub count: LimitCount,
    /// What becomes of those beyond the rate.
    pub action: LimitAction,
    /// Status of a refusal.
    pub status: u16,
    key: Key,
    exempt: Vec<Arc<AddressList>>,
    burst: u32,
    /// Nanoseconds in which one request is replenished.
    pause: u64,
    /// Seconds until a whole burst is replenished, rounded up.
    window: u64,
    limiter: Limiter,
    /// The same with room for those who wait for their turn.
    patient: Option<Limiter>,
    memory: Arc<Memory>,
    counts: Arc<LimitCounts>,
}

/// What a rule says of one request.
pub struct Checked {
    /// What it says.
    pub state: LimitState,
    /// With a delay: to be kept until it is over.
    pub held: Option<Held>,
}

impl RateLimit {
    /// A rule with what it remembers; without, it remembers nobody.
    pub fn new(
        limit: &Limit,
        memory: Option<Arc<Memory>>,
        exempt: Vec<Arc<AddressList>>,
        counts: Arc<LimitCounts>,
    ) -> Self {
        let pause = (limit.period / limit.rate.get()).max(Duration::from_nanos(1));
        let memory =
            memory.unwrap_or_else(|| Arc::new(Memory::new(limit.max_keys, Arc::clone(&counts))));
        let limiter = |more| limiter(pause, limit.burst, more, &memory);
        let patient = turns(limit.action, pause).map(limiter);
        Self {
            name: lasting(&limit.name),
            count: limit.count,
            action: limit.action,
            status: limit.status,
            key: Key::new(&limit.key, limit.prefix),
            exempt,
            burst: limit.burst.get(),
            pause: pause.as_nanos() as u64,
            window: ((pause * limit.burst.get()).as_secs_f64().ceil() as u64).max(1),
            limiter: limiter(0),
            patient,
            memory,
            counts,
        }
    }

    /// What it remembers, for a rule that counts in the same way.
    pub fn memory(&self) -> Arc<Memory> {
        Arc::clone(&self.memory)
    }

    /// Goes on with the memory of a rule that allowed another rate or burst. As many requests as clients have used up stay
    /// used up, at most all that this rule has for them; so a change that is taken back leaves them where they were,
    /// unless there was less for them meanwhile.
    pub fn go_on_from(&self, before: &Self, now: Duration) {
        let terms = |rule: &Self| (rule.pause, rule.burst);
        if !Arc::ptr_eq(&self.memory, &before.memory) || terms(self) == terms(before) {
            return;
        }
        let now = now.as_nanos() as u64;
        let clients = &self.memory.clients;
        clients.change_ahead(now, |ahead| self.same_number(ahead, before.pause));
    }

    /// As far ahead as somebody is who has used up as many requests as another under a rule that replenished one in each
    /// `pause`; at most all that this one has.
    fn same_number(&self, ahead: u64, pause: u64) -> u64 {
        let (old, new) = (u128::from(pause.max(1)), u128::from(self.pause));
        let same_number = (u128::from(ahead) * new).div_ceil(old);
        let same_number = u64::try_from(same_number).unwrap_or(u64::MAX);
        same_number.min(self.most_ahead())
    }

    /// Nanoseconds that a client can be ahead with its burst used up, and as many requests waiting as may.
    fn most_ahead(&self) -> u64 {
        let turns = turns(self.action, Duration::from_nanos(self.pause)).unwrap_or(0);
        let requests = u64::from(self.burst).saturating_add(u64::from(turns));
        self.pause.saturating_mul(requests)
    }

    /// What it has decided so far.
    pub fn counts(&self) -> &LimitCounts {
        &self.counts
    }

    /// Counts a request at `now`; `None` where the rule does not count its client.
    pub fn check(&self, asked: &Asked<'_>, now: Duration) -> Option<Checked> {
        if self.exempt.iter().any(|list| list.contains(asked.client)) {
            return None;
        }
        let client = self.key.client(asked, &self.memory.keys);
        let checked = self.count(client, now);
        self.counts.inc(checked.state.decision);
        Some(checked)
    }

    fn count(&self, client: Client, now: Duration) -> Checked {
        NOW.set(now);
        let until = match self.limiter.check_key(&client) {
            Ok(snapshot) => {
                let remaining = snapshot.remaining_burst_capacity();
                return self.checked(remaining, LimitDecision::Admitted, None);
            }
            Err(until) => until,
        };
        let refused = |until: &NotUntil<Duration>, reason| {
            let mut checked = self.checked(0, LimitDecision::Rejected, Some(reason));
            checked.state.retry_after = seconds_until(until, now);
            checked
        };
        let Some(patient) = &self.patient else {
            return match self.action {
                LimitAction::Log => self.checked(0, LimitDecision::WouldReject, Some("rate")),
                _ => refused(&until, "rate"),
            };
        };
        let Some(waits) = Waits::new(&self.memory) else {
            return refused(&until, "waiting");
        };
        match patient.check_key(&client) {
            Ok(_) => {
                // Its turn comes when it would have been admitted without waiting.
                let burst = self.pause.saturating_mul(u64::from(self.burst));
                let turn = Duration::from_nanos(noted_arrival().saturating_sub(burst));
                let mut checked = self.checked(0, LimitDecision::Delayed, Some("rate"));
                checked.state.delay = turn.saturating_sub(now);
                checked.held = Some(self.held(client, Some(waits)));
                checked
            }
            Err(until) => refused(&until, "max_delay"),
        }
    }

    fn held(&self, client: Client, waits: Option<Waits>) -> Held {
        Held {
            memory: Arc::clone(&self.memory),
            client,
            pause: self.pause,
            is_taken: false,
            _waits: waits,
        }
    }

    /// What this rule has charged a request that waits for another one.
    fn charge(&self, asked: &Asked<'_>) -> Held {
        self.held(self.key.client(asked, &self.memory.keys), None)
    }

    /// This rule with what it remembers of one visitor, for those who want to know what it would say: what it counts
    /// from then on is known to nobody else.
    pub(crate) fn copied(&self, asked: &Asked<'_>) -> Arc<Self> {
        let client = self.key.client(asked, &self.memory.keys);
        let memory = Arc::new(Memory {
            clients: Arc::new(self.memory.clients.only(client)),
            keys: self.memory.keys.clone(),
            waiting: AtomicUsize::new(self.waiting()),
            is_told_full: AtomicBool::new(true),
        });
        let pause = Duration::from_nanos(self.pause);
        let burst = NonZeroU32::new(self.burst).unwrap_or(NonZeroU32::MIN);
        let limiter = |more| limiter(pause, burst, more, &memory);
        Arc::new(Self {
            limiter: limiter(0),
            patient: turns(self.action, pause).map(limiter),
            key: self.key.clone(),
            exempt: self.exempt.clone(),
            counts: Arc::default(),
            memory: Arc::clone(&memory),
            ..*self
        })
    }

    /// What a visitor has left, and how long until it has all of its burst again; `None` for one that the rule does
    /// not count, with the list that says so.
    pub(crate) fn left(&self, asked: &Asked<'_>, now: Duration) -> Result<Left, &AddressList> {
        if let Some(list) = self.exempt.iter().find(|list| list.contains(asked.client)) {
            return Err(list);
        }
        let client = self.key.client(asked, &self.memory.keys);
        let arrival = Duration::from_nanos(self.memory.clients.arrival(client));
        let owed = arrival.saturating_sub(now);
        let used = owed.as_nanos().div_ceil(u128::from(self.pause.max(1)));
        let used = u32::try_from(used).unwrap_or(u32::MAX);
        Ok(Left {
            tokens: self.burst.saturating_sub(used),
            burst: self.burst,
            pause: Duration::from_nanos(self.pause),
            full_in: owed,
            is_known: arrival > Duration::ZERO,
        })
    }

    /// What it counts a visitor by, in words. Values of fields and cookies may be secrets, and are not told.
    pub(crate) fn counted_by(&self, asked: &Asked<'_>) -> String {
        self.key.told(asked)
    }

    /// Takes back what it has charged a request that another rule refuses.
    fn hand_back(&self, asked: &Asked<'_>) {
        let client = self.key.client(asked, &self.memory.keys);
        self.memory.clients.hand_back(client, self.pause);
    }

    fn checked(
        &self,
        remaining: u32,
        decision: LimitDecision,
        reason: Option<&'static str>,
    ) -> Checked {
        Checked {
            state: LimitState {
                rule: self.name,
                quota: self.burst,
                window: self.window,
                remaining,
                retry_after: 0,
                is_told: self.action != LimitAction::Log,
                decision,
                decided_by: self.name,
                reason,
                delay: Duration::ZERO,
                charged: 0,
            },
            held: None,
        }
    }

    /// Forgets clients that have had time to replenish a whole burst. Says once that there was no room for all. A request
    /// that began under another rate ends under it, and may charge its client more than this one has for anybody: that
    /// client is let go on when a whole burst is replenished.
    pub fn forget_idle(&self, now: Duration) {
        if self.is_newly_full() {
            tracing::warn!(
                limit = self.name,
                max_keys = self.max_keys(),
                "this limit has as many keys as it may; newcomers take the place of the least recent ones, which \
                 begin anew when they come again. Either `max_keys` is too small, or keys are made up"
            );
        }
        let most = self.most_ahead();
        let too_far = most.saturating_add(AHEAD_TOO_FAR.as_nanos() as u64);
        let within = |ahead| if ahead > too_far { most } else { ahead };
        let clients = &self.memory.clients;
        clients.change_ahead(now.as_nanos() as u64, within);
        NOW.set(now);
        self.limiter.retain_recent();
    }

    /// Whether keys have been pushed out, the first time that it is asked after that.
    fn is_newly_full(&self) -> bool {
        self.memory.clients.was_full() && !self.memory.is_told_full.swap(true, Ordering::Relaxed)
    }

    /// What is to be remembered by a process that takes over; `None` where it could not find the clients again.
    pub fn known(&self, now: Duration) -> Option<Known> {
        let prefix = self.key.networks()?;
        let mut clients = self.memory.clients.ahead(now.as_nanos() as u64);
        clients.truncate(KNOWN_MOST);
        Some(Known {
            networks: (prefix.ipv4, prefix.ipv6),
            clients,
            pause: self.pause,
        })
    }

    /// Takes that over, where it counts by the same networks: what was used up stays so, under other terms as well.
    pub fn take_over(&self, known: &Known, now: Duration) {
        let networks = self.key.networks();
        if networks.map(|prefix| (prefix.ipv4, prefix.ipv6)) != Some(known.networks) {
            return;
        }
        let now = now.as_nanos() as u64;
        let pause = if known.pause == 0 {
            self.pause
        } else {
            known.pause
        };
        for (client, ahead) in known.clients.iter().take(KNOWN_MOST) {
            // Whatever another version may say, nobody is shut out for longer than by this rule.
            let arrival = now.saturating_add(self.same_number(*ahead, pause));
            self.memory.clients.set_arrival(*client, arrival);
        }
    }

    /// Most clients that are remembered at once.
    pub fn max_keys(&self) -> usize {
        self.memory.clients.max()
    }

    /// Clients that are remembered.
    pub fn tracked(&self) -> usize {
        self.limiter.len()
    }

    /// Requests that are held back now.
    pub fn waiting(&self) -> usize {
        self.memory.waiting.load(Ordering::Relaxed)
    }

    /// Bytes of what is remembered.
    pub fn bytes(&self) -> usize {
        self.memory.clients.bytes()
    }
}

/// One request is replenished in each `pause`, and `burst` and some more may come at once.
fn limiter(pause: Duration, burst: NonZeroU32, more: u32, memory: &Memory) -> Limiter {
    let quota = Quota::with_period(pause)
        // Nobody pauses for no time.
        .unwrap_or_else(|| Quota::per_second(burst))
        .allow_burst(burst.saturating_add(more));
    NOW.set(Duration::ZERO);
    RateLimiter::new(quota, Common(Arc::clone(&memory.clients)), GivenClock)
}

/// How many may wait for their turn, where they may.
fn turns(action: LimitAction, pause: Duration) -> Option<u32> {
    match action {
        LimitAction::Delay { max } => {
            let turns = max.as_nanos() / pause.as_nanos().max(1);
            Some(u32::try_from(turns).unwrap_or(u32::MAX))
        }
        LimitAction::Reject | LimitAction::Log => None,
    }
}

/// What a visitor has left at a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Left {
    /// Requests that may come at once now.
    pub(crate) tokens: u32,
    /// The same of one who is rested.
    pub(crate) burst: u32,
    /// In which one is replenished.
    pub(crate) pause: Duration,
    /// Until all are.
    pub(crate) full_in: Duration,
    /// The rule has counted this visitor of late.
    pub(crate) is_known: bool,
}

/// What became of a request at several rules.
pub enum Outcome {
    /// It goes on; what the rules say together, where there are any.
    Passed(Option<LimitState>),
    /// It goes on when its turn comes.
    Held(LimitState, Vec<Held>),
    /// It is refused with this status.
    Refused(LimitState, u16),
}

/// Every rule of this kind counts the request, until one refuses it. Those that have charged it then have it back, and
/// so have the rules that charged it `before`: a bit for each, by its place.
pub fn check_all(
    rules: &[Arc<RateLimit>],
    count: LimitCount,
    asked: &Asked<'_>,
    now: Duration,
    before: u64,
) -> Outcome {
    let (mut together, mut held) = (None::<LimitState>, Vec::new());
    // Rules behind the 64th, of which no route has use, have nothing handed back.
    let bit = |at: usize| u32::try_from(at).ok().and_then(|at| 1u64.checked_shl(at));
    let mut waited_for = 0;
    for (at, rule) in rules.iter().enumerate() {
        if rule.count != count {
            continue;
        }
        let Some(mut checked) = rule.check(asked, now) else {
            continue;
        };
        let bit = bit(at).unwrap_or(0);
        match checked.state.decision {
            LimitDecision::Admitted => checked.state.charged = bit,
            LimitDecision::Delayed => {
                checked.state.charged = bit;
                waited_for |= bit;
            }
            LimitDecision::WouldReject => {}
            LimitDecision::Rejected => {
                let charged = before | together.map_or(0, |state| state.charged);
                // What is held gives itself back.
                let charged = charged & !waited_for;
                charged_by(rules, charged).for_each(|rule| rule.hand_back(asked));
                return Outcome::Refused(checked.state, rule.status);
            }
        }
        held.extend(checked.held);
        together = Some(match together {
            Some(state) => state.and(checked.state),
            None => checked.state,
        });
    }
    match together {
        Some(state) if state.decision == LimitDecision::Delayed => {
            let others = (before | state.charged) & !waited_for;
            held.extend(charged_by(rules, others).map(|rule| rule.charge(asked)));
            Outcome::Held(state, held)
        }
        together => Outcome::Passed(together),
    }
}

fn charged_by(rules: &[Arc<RateLimit>], charged: u64) -> impl Iterator<Item = &RateLimit> {
    let rules = rules.iter().take(64).enumerate();
    let rules = rules.filter(move |(at, _)| charged >> at & 1 == 1);
    rules.map(|(_, rule)| &**rule)
}

/// A name that stays for as long as the process lives. Only operators make up names, by writing them into
/// the configuration, so they stay few.
pub(crate) fn lasting(name: &str) -> &'static str {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name) {
        return known;
    }
    let name: &'static str = Box::leak(name.into());
    names.insert(name);
    name
}

/// Rounded up: a client that comes back when told to is not refused again.
fn seconds_until(until: &NotUntil<Duration>, now: Duration) -> u64 {
    (until.wait_time_from(now).as_secs_f64().ceil() as u64).max(1)
}

thread_local! {
    /// The time of the request at hand, because the decision takes time as an argument and governor
    /// asks a clock.
    static NOW: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// Tells the time that was given.
#[derive(Debug, Clone, Copy, Default)]
struct GivenClock;

impl Clock for GivenClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        NOW.get()
    }
}

#[cfg(test)]
mod tests;
