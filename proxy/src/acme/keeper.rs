//! The task that keeps certificates: it looks what is to be done, and does one thing at a time.

use std::{
    io,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    task::spawn_blocking,
    time::{sleep, timeout},
};

use super::{
    held::Held,
    issued::{Issued, Slot},
    order::{self, Failure, Kind, Ordering},
    renewal,
    rest::Rest,
    storage::{Failures, Lock, Storage, seconds, time},
};
use crate::{config::model::Acme, random, shared::Shared};

/// How often it looks. By the clock on the wall, which may be set, and so that a reload needs to tell it nothing.
const TICK: Duration = Duration::from_millis(500);

/// An order takes seconds; one of many names behind a slow authority takes minutes.
const ORDER_MOST: Duration = Duration::from_secs(600);

/// Bounds of how often an authority is asked when to renew (RFC 9773 §4.3.2 leaves them to us), and the pause where it
/// does not say, or could not be asked.
const ASK_LEAST: Duration = Duration::from_secs(60);
const ASK_MOST: Duration = Duration::from_secs(86_400);
const ASK_AGAIN: Duration = Duration::from_secs(3_600);

/// Pause before a certificate that could not be written down is tried once more.
const SAVE_AGAIN: Duration = Duration::from_secs(60);

/// Pause while another process orders.
const ELSEWHERE: Duration = Duration::from_secs(5);

/// Pause after a fault of our own.
const BROKEN_OFF: Duration = Duration::from_secs(60);

/// What is to be done.
enum Work {
    Order(Box<Slot>),
    /// When to renew?
    Ask(Box<Slot>),
    Save(Box<Slot>),
}

/// Keeps certificates as long as the process runs.
pub async fn keep(shared: Arc<Shared>) {
    loop {
        sleep(TICK).await;
        if shared.is_draining() {
            continue;
        }
        let Some((config, work)) = next(&shared.acme, SystemTime::now()) else {
            continue;
        };
        let keeper = Keeper {
            storage: Storage::at(&config.storage),
            config,
            shared: Arc::clone(&shared),
        };
        // In a task of its own: should it ever panic, other certificates are still renewed.
        if let Err(why) = tokio::spawn(async move { keeper.work(work).await }).await {
            tracing::error!(%why, "work on a certificate has broken off");
            sleep(BROKEN_OFF).await;
        }
    }
}

/// The most urgent work: names without a certificate first, then what is due for longest.
fn next(issued: &Issued, now: SystemTime) -> Option<(Arc<Acme>, Work)> {
    let mut state = issued.state();
    let config = Arc::clone(state.config.as_ref()?);
    // The clock may have been set back.
    state
        .slots
        .iter_mut()
        .for_each(|slot| slot.bound_pause(now));
    let slots = &state.slots;
    let wanting = slots
        .iter()
        .filter(|slot| slot.wants_order(config.renew_before, now));
    let work = if let Some(slot) = slots
        .iter()
        .find(|slot| slot.unsaved.is_some() && slot.save_again <= now)
    {
        Work::Save(Box::new(slot.clone()))
    } else if let Some(slot) = wanting.min_by_key(|slot| slot.due(config.renew_before)) {
        Work::Order(Box::new(slot.clone()))
    } else {
        let asking = |slot: &&Slot| slot.held.is_some() && slot.ask_again <= now;
        Work::Ask(Box::new(slots.iter().find(asking)?.clone()))
    };
    Some((config, work))
}

/// One piece of work.
struct Keeper {
    shared: Arc<Shared>,
    config: Arc<Acme>,
    storage: Storage,
}

impl Keeper {
    async fn work(&self, work: Work) {
        match work {
            Work::Order(slot) => self.order(&slot).await,
            Work::Ask(slot) => self.ask(&slot).await,
            Work::Save(slot) => self.save(&slot).await,
        }
    }

    async fn order(&self, slot: &Slot) {
        let shown = slot.names.join(", ");
        // Whoever cannot write down what is issued orders nothing: authorities count.
        let storage = self.storage.clone();
        let lock = blocking(move || {
            storage.prepare()?;
            storage.lock()
        });
        let _lock: Lock = match lock.await {
            Ok(Some(lock)) => lock,
            Ok(None) => {
                tracing::debug!(names = %shown, "another process orders");
                return sleep(ELSEWHERE).await;
            }
            Err(why) => {
                return self
                    .failed(slot, Failure::storage(self.storage.folder(), &why))
                    .await;
            }
        };
        if self.found(slot).await {
            return tracing::info!(names = %shown, "another process has had a certificate issued");
        }
        tracing::info!(names = %shown, directory = %self.config.directory, "ordering a certificate");
        let replaces = slot.held.as_ref().and_then(|held| held.identifier());
        let ordering = Ordering {
            config: &self.config,
            storage: &self.storage,
            showcase: &self.shared.acme.showcase,
            names: &slot.names,
            replaces,
        };
        let outcome = tokio::select! {
            outcome = timeout(ORDER_MOST, ordering.run()) => outcome,
            // What it was begun for is not wanted any more.
            () = self.changed() => return tracing::info!(names = %shown, "the order is given up: the configuration has changed"),
        };
        let issued = outcome
            .unwrap_or_else(|_| {
                let why = format!("the order was not done within {ORDER_MOST:?}");
                Err(Failure::new(Kind::Unavailable, why))
            })
            .and_then(|pem| {
                let path = self.storage.certificate(&slot.stem);
                match Held::read(pem.as_bytes(), &path, &slot.names) {
                    Ok(held) => Ok((pem, held)),
                    Err(why) => Err(Failure::new(
                        Kind::Refused,
                        format!("what the authority has issued cannot be used: {why}"),
                    )),
                }
            });
        match issued {
            Ok((pem, held)) => self.issued(slot, &pem, held).await,
            Err(failure) => self.failed(slot, failure).await,
        }
    }

    /// Looks whether another process has had it issued meanwhile, and takes that.
    async fn found(&self, slot: &Slot) -> bool {
        if slot.forced || slot.is_owed {
            return false;
        }
        let (storage, stem, names) = (self.storage.clone(), slot.stem.clone(), slot.names.clone());
        let read = spawn_blocking(move || {
            let held = storage.read_certificate(&stem, &names).ok().flatten()?;
            let rest = storage.read_rest(&stem, &held);
            Some((held, rest))
        });
        let Ok(Some((held, rest))) = read.await else {
            return false;
        };
        let old = slot.held.as_ref().map(|held| held.validity.not_after);
        let due = renewal::due(&held.validity, self.config.renew_before, None, held.jitter);
        let newer = old.is_none_or(|old| held.validity.not_after > old);
        let now = SystemTime::now();
        // One that is due, too, while it rests: or processes with a clock that runs ahead would order in turn.
        let rests = rest.as_ref().is_some_and(|rest| rest.end(now).is_some());
        if newer && (due > now || rests) {
            self.take(&slot.stem, held, rest);
            return true;
        }
        false
    }

    fn take(&self, stem: &str, held: Held, rest: Option<Rest>) {
        self.shared.acme.change(stem, |slot| {
            slot.held = Some(Arc::new(held));
            (slot.failures, slot.rest) = (None, rest);
            (slot.forced, slot.is_owed) = (false, false);
            slot.suggested = None;
            slot.ask_again = SystemTime::UNIX_EPOCH;
            slot.unsaved = None;
        });
    }

    async fn issued(&self, slot: &Slot, pem: &str, held: Held) {
        let now = SystemTime::now();
        let shown = slot.names.join(", ");
        let end = httpdate::fmt_http_date(time(seconds(held.validity.not_after)));
        if held.validity.not_after <= now || held.validity.not_before > now {
            tracing::warn!(names = %shown, "the certificate is not valid by this host's clock; is the clock right?");
        }
        let jitter = random::below(1_001) as f64 / 1_000.0;
        let rest = Rest::after(slot, &held, self.config.renew_before, now, jitter);
        self.take(&slot.stem, held, Some(rest.clone()));
        self.shared.metrics.acme.order("issued");
        if rest.is_due_at_once {
            let again = httpdate::fmt_http_date(time(rest.until));
            tracing::warn!(names = %shown, no_order_before = %again, "what was issued is to be renewed at once by this host's clock; is the clock right?");
        }
        tracing::info!(names = %shown, valid_until = %end, "a certificate has been issued and is in use");
        let slot = Slot {
            unsaved: Some(pem.into()),
            failures: None,
            rest: Some(rest),
            ..slot.clone()
        };
        self.save(&slot).await;
    }

    /// Writes a certificate down; one that cannot be is used all the same, and tried again.
    async fn save(&self, slot: &Slot) {
        let Some(pem) = slot.unsaved.clone() else {
            return;
        };
        let (storage, stem) = (self.storage.clone(), slot.stem.clone());
        let (failures, rest) = (slot.failures.clone(), slot.rest.clone());
        let saved = blocking(move || {
            storage.prepare()?;
            if let Some(rest) = &rest {
                storage.note_rest(&stem, rest)?;
            }
            Storage::write(&storage.certificate(&stem), pem.as_bytes())?;
            storage.note_failures(&stem, failures.as_ref())
        });
        let outcome = saved.await;
        if let Err(why) = &outcome {
            tracing::error!(
                path = %self.storage.certificate(&slot.stem).display(), %why,
                "a certificate cannot be written down; it is in use, and lost with a restart"
            );
        }
        self.shared.acme.change(&slot.stem, |known| {
            known.unsaved = outcome.err().and_then(|_| slot.unsaved.clone());
            known.save_again = SystemTime::now() + SAVE_AGAIN;
        });
    }

    async fn failed(&self, slot: &Slot, failure: Failure) {
        let before = slot.failures.as_ref().map_or(0, |failures| failures.count);
        let count = before.saturating_add(1);
        let jitter = random::below(1_001) as f64 / 1_000.0;
        let pause = renewal::pause(count, self.config.retry, failure.retry_after, jitter);
        let failures = Failures {
            count,
            not_before: seconds(SystemTime::now() + pause),
            asked: failure.retry_after.is_some(),
            why: failure.why.clone(),
        };
        let names = slot.names.join(", ");
        let (again, why) = (format!("{}s", pause.as_secs()), &failure.why);
        match &slot.held {
            None => {
                tracing::error!(%names, %why, failures = count, %again, "no certificate was issued, and there is none")
            }
            Some(held) if held.validity.not_after <= SystemTime::now() => {
                tracing::error!(%names, %why, failures = count, %again, "no certificate was issued; the expired one stays in use");
            }
            Some(_) => {
                tracing::warn!(%names, %why, failures = count, %again, "no certificate was issued; the old one stays in use")
            }
        }
        self.shared.acme.change(&slot.stem, |known| {
            known.failures = Some(failures.clone());
            // Who has asked for another order meanwhile is still to get it.
            known.forced &= !slot.forced;
            known.is_owed |= slot.forced;
        });
        // Who sees the number sees the reason, too.
        self.shared.metrics.acme.order(failure.kind.label());
        let (storage, stem) = (self.storage.clone(), slot.stem.clone());
        let noted = blocking(move || storage.note_failures(&stem, Some(&failures))).await;
        if let Err(why) = noted {
            tracing::debug!(%why, "failures are forgotten with a restart");
        }
    }

    /// Asks when to renew (RFC 9773).
    async fn ask(&self, slot: &Slot) {
        let (suggested, pause) = match timeout(ORDER_MOST, self.suggestion(slot)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(why)) => {
                tracing::debug!(names = %slot.names.join(", "), why = %why.why, "the authority does not say when to renew");
                // What it said before still stands.
                (slot.suggested, why.retry_after.unwrap_or(ASK_AGAIN))
            }
            Err(_) => (slot.suggested, ASK_AGAIN),
        };
        self.shared.acme.change(&slot.stem, |slot| {
            slot.suggested = suggested;
            slot.ask_again = SystemTime::now() + pause.clamp(ASK_LEAST, ASK_MOST);
        });
    }

    async fn suggestion(&self, slot: &Slot) -> Result<(Option<SystemTime>, Duration), Failure> {
        let held = slot.held.as_ref();
        let Some((held, identifier)) = held.and_then(|held| Some((held, held.identifier()?)))
        else {
            return Ok((None, ASK_MOST));
        };
        let Some(account) = order::known_account(&self.config, &self.storage).await? else {
            return Ok((None, ASK_MOST));
        };
        let (info, pause) = match account.renewal_info(&identifier).await {
            Ok(answer) => answer,
            // It does not offer that.
            Err(instant_acme::Error::Unsupported(_)) => return Ok((None, ASK_MOST)),
            Err(why) => return Err(why.into()),
        };
        let window = info.suggested_window;
        let (start, end) = (SystemTime::from(window.start), SystemTime::from(window.end));
        let suggested = renewal::within(start, end, held.jitter);
        if suggested.is_some_and(|time| time <= SystemTime::now()) {
            tracing::info!(
                names = %slot.names.join(", "), explanation = info.explanation_url.as_deref(),
                "the authority wants the certificate renewed now"
            );
        }
        Ok((suggested, pause))
    }

    /// Returns when this configuration is not in force any more, or the process ends.
    async fn changed(&self) {
        loop {
            sleep(TICK).await;
            let state = self.shared.acme.state();
            let config = state.config.as_ref();
            let same = config.is_some_and(|config| Arc::ptr_eq(config, &self.config));
            drop(state);
            if !same || self.shared.is_draining() {
                return;
            }
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(work)
        .await
        .unwrap_or_else(|why| Err(io::Error::other(why)))
}
