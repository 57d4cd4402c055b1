//! Fetching for the store: what the shop is asked on everyone's behalf.
//!
//! A request that the store cannot answer by itself comes here. It joins the fetch that is on its way
//! for the same thing, or begins one, and is answered as soon as the head of an answer is here: from
//! the store, or with content that is still arriving. Refreshes behind a visitor's back, and warming,
//! are fetches that nobody waits for.

mod ask;
mod body;
pub mod content;
mod fetch;
pub mod flight;
mod order;
mod part;
pub(crate) mod request;
mod validate;

pub use order::{Answered, Order, Served};

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use http::header::RANGE;
use http_caching::{CacheControl, Reuse};
use pingora_http::ResponseHeader;
use tokio::{
    sync::mpsc,
    time::{Instant as Deadline, timeout_at},
};

use crate::{
    cache::{Found, Stored, purge::Standing, status::Outcome, store::Variation},
    edge::{Answer, decide::answer},
    respond::failure::{Failure, Side},
    shared::Shared,
    upstream::Pool,
};
use flight::{Asked, Flight, Reader, Stage};
use part::Wanted;

/// Times that a request looks for an answer before it goes to the shop by itself: for the store's
/// disk, for what the shop varies on, for a fetch that a purge overtook, and one for bad luck.
const ROUNDS: usize = 6;
/// Fetches of a thread at once.
const MOST: usize = 4 * 1024;
/// Fetches that a request waits for in vain before it goes by itself.
const PATIENCE: u32 = 2;

/// Fetches for the store; one per thread.
pub struct Filler {
    shared: Arc<Shared>,
    pool: Arc<Pool>,
    started: Instant,
    /// Fetches that have begun and not ended.
    running: AtomicUsize,
}

impl Filler {
    /// A filler over a thread's connections.
    pub fn new(shared: &Arc<Shared>, started: Instant, pool: Arc<Pool>) -> Self {
        Self {
            shared: Arc::clone(shared),
            pool,
            started,
            running: AtomicUsize::new(0),
        }
    }

    /// Closes idle connections that are past their time.
    pub fn tidy(&self) {
        self.pool.tidy(self.tick());
    }

    /// Answers a request. Interim answers go to `interim` as they come.
    pub async fn get(
        self: &Arc<Self>,
        order: &Arc<Order>,
        interim: &mpsc::Sender<Arc<ResponseHeader>>,
    ) -> Answered {
        let store = &self.shared.store;
        let key = &order.fetch.key;
        let reason = order.fetch.own.reason;
        // What was purged before this moment is no answer.
        let seq = store.purges.seq();
        let mut asked = Asked::default();
        let mut in_vain = 0;
        for round in 0..ROUNDS {
            // What others fetch may have been purged elsewhere since it was asked for.
            if store.purges.is_deaf() {
                break;
            }
            if (round > 0 || !order.fetch.validate)
                && let Some(answered) = self.look(order, round > 0)
            {
                return answered;
            }
            let variation = store.variation(key);
            let variant = variation.as_ref().map(|v| v.variant(&order.fields));
            let mut full: &[u8] = variant.as_deref().unwrap_or(key);
            // Parts of what varies would have to be told apart as well; they are not kept.
            let part = match variation.is_none() && store.is_too_large(key) {
                true => Wanted::of(order, store.max_object()),
                false => None,
            };
            if store.is_uncacheable(full) && part.is_none() && store.get(full).is_none() {
                break;
            }
            let part_key = part.map(|wanted| wanted.key(key));
            if let Some(part_key) = &part_key {
                full = part_key;
            }
            let (flight, ours) = self.shared.flights.join(full, store.purges.seq());
            if ours && self.is_busy() {
                self.shared.flights.retire(&flight);
                flight.set_stage(Stage::Refused);
                break;
            }
            flight.raise(order.class());
            if ours {
                self.begin(&flight, order, variation, part, true);
            }
            let limit = order.snapshot.config.cache.lock_timeout;
            let limit = (!ours).then(|| Deadline::now() + limit);
            // Held until a reader takes its place, or the fetch might end for want of anyone.
            let stay = flight.stay();
            let stage = self.wait(&flight, limit, interim).await;
            asked = flight.asked();
            let collapsed = !ours;
            let fetched = |stored| Outcome::Forwarded {
                reason,
                stored,
                collapsed,
            };
            match stage {
                None => {
                    // It takes too long. Who finds that first begins another, which the others join.
                    self.shared.flights.retire(&flight);
                    in_vain += 1;
                    if in_vain == PATIENCE || limit.is_some_and(|_| self.collapsing_is_off(order)) {
                        break;
                    }
                }
                Some(Stage::Arriving(head)) => {
                    if flight.seq < seq
                        && store.purges.standing(&head.stamp, full) != Standing::Untouched
                    {
                        self.shared.flights.retire(&flight);
                        continue;
                    }
                    if !request::fits(&head.vary, &flight.sent(), &order.fields) {
                        continue;
                    }
                    let Some(reader) = Reader::new(&flight) else {
                        continue;
                    };
                    let outcome = fetched(head.is_stored);
                    return Answered {
                        served: Served::Stream(head, reader),
                        outcome,
                        asked,
                    };
                }
                Some(Stage::Solo(head)) if ours => {
                    let Some(reader) = Reader::new(&flight) else {
                        continue;
                    };
                    return Answered {
                        served: Served::Stream(head, reader),
                        outcome: fetched(false),
                        asked,
                    };
                }
                Some(Stage::Solo(head)) if head.header.status.is_server_error() => {
                    // A shop in trouble is not asked by everyone in person.
                    let failure = Failure::status(head.header.status.as_u16());
                    return self.failed(order, failure, asked);
                }
                Some(Stage::Solo(_) | Stage::Refused) => break,
                Some(Stage::Stored(stored, confirmed)) => {
                    if flight.seq < seq
                        && store.purges.standing(stored.stamp(), full) != Standing::Untouched
                    {
                        self.shared.flights.retire(&flight);
                        continue;
                    }
                    let outcome = match confirmed {
                        true if ours => Outcome::Revalidated(reason),
                        _ => fetched(true),
                    };
                    return Answered {
                        served: Served::Stored(stored),
                        outcome,
                        asked,
                    };
                }
                Some(Stage::Asking | Stage::Again) => {}
                Some(Stage::Failed(failure)) => return self.failed(order, failure, asked),
            }
            drop(stay);
        }
        Answered {
            served: Served::Own,
            outcome: Outcome::Forwarded {
                reason,
                stored: false,
                collapsed: false,
            },
            asked,
        }
    }

    fn collapsing_is_off(&self, order: &Order) -> bool {
        order.snapshot.config.cache.lock_timeout.is_zero()
    }

    /// What the store has by now.
    fn look(self: &Arc<Self>, order: &Arc<Order>, waited: bool) -> Option<Answered> {
        let Found::Fit(stored) = self.shared.store.find(&order.fetch.key, &order.fields) else {
            return self.look_for_part(order);
        };
        let now = SystemTime::now();
        let outcome = match self.reuse(order, &stored, now) {
            Reuse::Fresh => Outcome::Hit,
            Reuse::WhileRevalidate => {
                self.refresh(order, &stored, now);
                Outcome::HitStale
            }
            // The shop has just failed; content on the disk comes this way.
            Reuse::IfError if stored.rests(now) => Outcome::HitStaleError,
            // What has just come for this request answers it, however short its life is.
            _ if waited && order.fetch.validate && stored.response_time() >= order.began.wall => {
                Outcome::Hit
            }
            Reuse::IfError | Reuse::Validate => return None,
        };
        Some(Answered {
            served: Served::Stored(stored),
            outcome,
            asked: Asked::default(),
        })
    }

    /// A part that is here of a response that is not here as a whole.
    fn look_for_part(&self, order: &Order) -> Option<Answered> {
        if !order.fields.contains_key(RANGE) {
            return None;
        }
        let store = &self.shared.store;
        let variation = store.variation(&order.fetch.key);
        let variant = variation.map(|variation| variation.variant(&order.fields));
        let partial = store
            .parts
            .get(variant.as_deref().unwrap_or(&order.fetch.key))?;
        let fields = partial.stored.fields();
        let answer = answer(&order.method, &order.fields, 200, &fields, partial.complete);
        let Answer::Part { first, last } = answer else {
            return None;
        };
        let stands = store.purges.lets_stand(&partial.stored);
        let reuse = self.reuse(order, &partial.stored, SystemTime::now());
        let here = stands && reuse == Reuse::Fresh && partial.bytes(first, last).is_some();
        here.then(|| Answered {
            served: Served::Part(partial, first, last),
            outcome: Outcome::Hit,
            asked: Asked::default(),
        })
    }

    fn reuse(&self, order: &Order, stored: &Stored, now: SystemTime) -> Reuse {
        let policy = order.fetch.own.route.policy.as_ref();
        let control = match policy {
            Some(policy) if policy.honours_client => http_caching::request_control(&order.fields),
            _ => CacheControl::default(),
        };
        let mut lifetimes = stored.lifetimes();
        let shop = order.fetch.own.shop();
        if let Some(window) = shop.window(self.tick()) {
            lifetimes.stale_if_error = lifetimes.stale_if_error.max(window);
        }
        http_caching::reuse(
            &lifetimes,
            stored.age(now),
            stored.purged_softly(now),
            &control,
        )
    }

    /// What is stored may answer when the shop cannot (RFC 5861 §4).
    fn failed(&self, order: &Order, failure: Failure, asked: Asked) -> Answered {
        let now = SystemTime::now();
        if failure.side != Side::Downstream
            && let Found::Fit(stored) = self.shared.store.find(&order.fetch.key, &order.fields)
            && !matches!(self.reuse(order, &stored, now), Reuse::Validate)
        {
            return Answered {
                served: Served::Stored(stored),
                outcome: Outcome::HitStaleError,
                asked,
            };
        }
        Answered {
            served: Served::Failed(failure),
            outcome: Outcome::None,
            asked,
        }
    }

    /// Waits for what comes of a fetch; `None` where that takes too long.
    async fn wait(
        &self,
        flight: &Arc<Flight>,
        limit: Option<Deadline>,
        interim: &mpsc::Sender<Arc<ResponseHeader>>,
    ) -> Option<Stage> {
        let mut changed = flight.watch();
        let mut seen = 0;
        loop {
            changed.borrow_and_update();
            for header in flight.interim(seen) {
                seen += 1;
                // A visitor who takes none of them still gets the answer.
                let _ = interim.try_send(header);
            }
            match flight.stage() {
                Stage::Asking => {}
                stage => return Some(stage),
            }
            let told = match limit {
                Some(limit) => timeout_at(limit, changed.changed()).await.ok()?,
                None => changed.changed().await,
            };
            if told.is_err() {
                return Some(flight.stage());
            }
        }
    }

    /// Fetches anew what is stale or soon will be, unless that is under way or has just failed.
    pub fn refresh(self: &Arc<Self>, order: &Arc<Order>, stored: &Stored, now: SystemTime) {
        if stored.rests(now) || self.is_busy() {
            return;
        }
        let seq = self.shared.store.purges.seq();
        let (flight, ours) = self.shared.flights.join(stored.key(), seq);
        if ours {
            flight.raise(order.class());
            self.shared.metrics.cache.refreshes.inc();
            let variation = self.shared.store.variation(&order.fetch.key);
            self.begin(&flight, order, variation, None, false);
        }
    }

    /// Fetches something for an operator, past the store. An error is a sentence.
    pub async fn fetch_once(
        self: &Arc<Self>,
        order: Arc<Order>,
        most: usize,
    ) -> Result<(u16, Vec<u8>), String> {
        let task = fetch::Task {
            filler: Arc::clone(self),
            flight: Arc::new(Flight::new(
                &order.fetch.key,
                self.shared.store.purges.seq(),
            )),
            order,
            variation: None,
            part: None,
            is_waited_for: false,
        };
        task.once(most).await
    }

    /// Whether so many fetches run that no more begin. Each may outlive the visitor who caused it.
    fn is_busy(&self) -> bool {
        self.running.load(Ordering::Relaxed) >= MOST
    }

    fn begin(
        self: &Arc<Self>,
        flight: &Arc<Flight>,
        order: &Arc<Order>,
        variation: Option<Arc<Variation>>,
        part: Option<Wanted>,
        is_waited_for: bool,
    ) {
        let task = fetch::Task {
            filler: Arc::clone(self),
            flight: Arc::clone(flight),
            order: Arc::clone(order),
            variation,
            part,
            is_waited_for,
        };
        self.running.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(task.run());
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn tick(&self) -> Duration {
        self.started.elapsed()
    }
}

#[cfg(test)]
mod tests;
