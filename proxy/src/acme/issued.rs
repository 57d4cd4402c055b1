//! What has been issued, by name, and what is known of each certificate. Outlives configurations.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use rustls::{server::ClientHello, sign::CertifiedKey};

use super::{
    challenge::{self, Showcase},
    held::Held,
    renewal,
    rest::Rest,
    storage::{Failures, Storage, seconds, time},
};
use crate::{
    config::{model, suggest},
    edge::RequestView,
};

/// Certificates that were issued, and what running orders have to show. Visitors' threads read it without a lock.
#[derive(Default)]
pub struct Issued {
    table: ArcSwap<Table>,
    pub(super) showcase: Arc<Showcase>,
    state: Mutex<State>,
}

/// By name; a number tells certificates apart.
#[derive(Default)]
struct Table {
    by_name: HashMap<String, (usize, Arc<CertifiedKey>), ahash::RandomState>,
    /// For clients that name nobody: the first that is there.
    first: Option<Arc<CertifiedKey>>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) config: Option<Arc<model::Acme>>,
    pub(super) slots: Vec<Slot>,
}

/// A certificate that is wanted.
#[derive(Clone)]
pub(super) struct Slot {
    /// What its files are called.
    pub(super) stem: String,
    pub(super) names: Vec<String>,
    pub(super) held: Option<Arc<Held>>,
    /// In a row.
    pub(super) failures: Option<Failures>,
    /// The pause after the one that is held.
    pub(super) rest: Option<Rest>,
    /// It is ordered whatever the clock says.
    pub(super) forced: bool,
    /// It was asked for by an operator, and that order has failed: it is tried again like one that is due.
    pub(super) is_owed: bool,
    /// When the authority suggests to renew it.
    pub(super) suggested: Option<SystemTime>,
    /// When the authority is asked for that again.
    pub(super) ask_again: SystemTime,
    /// It could not be written down, and that is tried again.
    pub(super) unsaved: Option<Arc<str>>,
    pub(super) save_again: SystemTime,
}

impl Slot {
    pub(super) fn new(storage: &Storage, stem: String, names: Vec<String>) -> Self {
        let failures = storage.read_failures(&stem);
        let held = match storage.read_certificate(&stem, &names) {
            Ok(held) => held.map(Arc::new),
            Err(broken) => {
                let aside = match broken.is_garbage {
                    true => Storage::set_aside(&broken.path),
                    false => Ok(broken.path.clone()),
                };
                tracing::error!(
                    path = %broken.path.display(), why = %broken.why,
                    aside = %aside.map_or_else(|why| why.to_string(), |path| path.display().to_string()),
                    "a stored certificate cannot be used, and another one is wanted"
                );
                None
            }
        };
        let rest = held
            .as_ref()
            .and_then(|held| storage.read_rest(&stem, held));
        let mut slot = Self {
            stem,
            names,
            held,
            failures,
            rest,
            forced: false,
            is_owed: false,
            suggested: None,
            ask_again: SystemTime::UNIX_EPOCH,
            unsaved: None,
            save_again: SystemTime::UNIX_EPOCH,
        };
        slot.bound_pause(SystemTime::now());
        slot
    }

    /// A clock that was wrong when a failure was noted, or a file that is, holds nothing up for longer than a day.
    pub(super) fn bound_pause(&mut self, now: SystemTime) {
        if let Some(failures) = &mut self.failures {
            let most = seconds(now + renewal::ASKED_MOST);
            failures.not_before = failures.not_before.min(most);
        }
    }

    /// The same in another configuration. Somebody may have mended what was wrong, so that a pause ends, unless it
    /// is the authority's.
    fn again(mut self, names: &[String]) -> Self {
        self.names = names.to_vec();
        if let Some(failures) = self.failures.as_mut().filter(|failures| !failures.asked) {
            failures.not_before = 0;
        }
        self
    }

    /// When it is to be renewed; `None` where there is none yet.
    pub(super) fn due(&self, renew_before: Option<Duration>) -> Option<SystemTime> {
        let held = self.held.as_ref()?;
        let due = renewal::due(&held.validity, renew_before, self.suggested, held.jitter);
        Some(due)
    }

    /// Before that nothing is ordered, because it failed, or because it has just been done. An operator's order waits for
    /// failures only.
    fn pause_ends(&self, now: SystemTime) -> Option<SystemTime> {
        let failures = self.failures.as_ref().map(|f| time(f.not_before));
        let rest = self.rest.as_ref().filter(|_| !self.is_owed);
        let rest = rest.and_then(|rest| rest.end(now));
        failures.max(rest).filter(|end| now < *end)
    }

    pub(super) fn wants_order(&self, renew_before: Option<Duration>, now: SystemTime) -> bool {
        self.forced || (self.pause_ends(now).is_none() && self.is_wanted_at(renew_before, now))
    }

    fn is_wanted_at(&self, renew_before: Option<Duration>, time: SystemTime) -> bool {
        self.is_owed || self.due(renew_before).is_none_or(|due| due <= time)
    }

    /// When it is ordered again, where a pause is what holds that up.
    pub(super) fn next_order(
        &self,
        renew_before: Option<Duration>,
        now: SystemTime,
    ) -> Option<SystemTime> {
        let end = self.pause_ends(now)?;
        self.is_wanted_at(renew_before, end).then_some(end)
    }
}

impl Issued {
    /// Puts the wanted certificates of a configuration in force; those that were wanted before stay as they are, the
    /// others are read from the folder. Reads a few small files.
    pub fn adopt(&self, config: Option<&model::Acme>) {
        let mut state = self.state();
        if state.config.as_deref() == config {
            return;
        }
        let same_folder = |old: &model::Acme| config.is_some_and(|new| new.storage == old.storage);
        let mut known = match state.config.as_deref().is_some_and(same_folder) {
            true => std::mem::take(&mut state.slots),
            false => Vec::new(),
        };
        state.slots = config.map_or_else(Vec::new, |config| {
            let storage = Storage::at(&config.storage);
            let lists = config.certificates.iter();
            lists
                .map(|names| {
                    let stem = Storage::stem(&config.directory, names);
                    match known.iter().position(|slot| slot.stem == stem) {
                        Some(i) => known.swap_remove(i).again(names),
                        None => Slot::new(&storage, stem, names.clone()),
                    }
                })
                .collect()
        });
        state.config = config.map(|config| Arc::new(config.clone()));
        self.publish(&state);
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is known of a certificate, if it is still wanted, and shows visitors the outcome.
    pub(super) fn change(&self, stem: &str, change: impl FnOnce(&mut Slot)) {
        let mut state = self.state();
        if let Some(slot) = state.slots.iter_mut().find(|slot| slot.stem == stem) {
            change(slot);
            self.publish(&state);
        }
    }

    fn publish(&self, state: &State) {
        let mut table = Table::default();
        for (number, slot) in state.slots.iter().enumerate() {
            let Some(held) = &slot.held else { continue };
            for name in &slot.names {
                let key = Arc::clone(&held.key);
                table.by_name.insert(name.clone(), (number, key));
            }
            table.first.get_or_insert_with(|| Arc::clone(&held.key));
        }
        self.table.store(Arc::new(table));
    }

    /// The certificate for a name, if there is one yet. An expired one is better than none.
    pub fn find(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        self.look(name).map(|(_, key)| key)
    }

    /// Which certificate a name leads to.
    pub fn number(&self, name: &str) -> Option<usize> {
        self.look(name).map(|(number, _)| number)
    }

    fn look(&self, name: &str) -> Option<(usize, Arc<CertifiedKey>)> {
        let table = self.table.load();
        if table.by_name.is_empty() {
            return None;
        }
        let found = table.by_name.get(name);
        found
            .or_else(|| table.by_name.get(&name.to_ascii_lowercase()))
            .cloned()
    }

    /// The certificate for clients that name nobody.
    pub fn first(&self) -> Option<Arc<CertifiedKey>> {
        self.table.load().first.clone()
    }

    /// What to show to a client that makes the handshake of a challenge: `None` where it does not, `Some(None)`
    /// where there is nothing to show to it (RFC 8737 §3).
    pub fn challenge(&self, hello: &ClientHello<'_>) -> Option<Option<Arc<CertifiedKey>>> {
        let alone = challenge::is_asked(hello.alpn()?)?;
        let name = hello.server_name().filter(|_| alone);
        Some(name.and_then(|name| self.showcase.handshake(name)))
    }

    /// The answer to a request for the token of a running order (RFC 8555 §8.3); other tokens may be another
    /// client's, behind us.
    pub fn answer(&self, request: &RequestView<'_>) -> Option<Arc<str>> {
        self.showcase.token(challenge::asked(request)?)
    }

    /// Has the certificate for a name ordered anew, at once. An error says what there is.
    pub fn renew(&self, name: &str) -> Result<Vec<String>, String> {
        let mut state = self.state();
        let lower = idna::domain_to_ascii(name).unwrap_or_else(|_| name.to_lowercase());
        let mut slots = state.slots.iter_mut();
        if let Some(slot) = slots.find(|slot| slot.names.contains(&lower)) {
            slot.forced = true;
            return Ok(slot.names.clone());
        }
        let known: Vec<&str> = state
            .slots
            .iter()
            .flat_map(|slot| slot.names.iter().map(String::as_str))
            .collect();
        Err(match known.is_empty() {
            true => "no certificates are ordered: there is no [acme] section".to_owned(),
            false => format!(
                "no certificate is ordered for this name; {}",
                suggest(&lower, known.iter().copied())
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acme(storage: &std::path::Path, lists: &[&[&str]]) -> model::Acme {
        let owned = |names: &&[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        model::Acme {
            directory: "https://ca.example/dir".to_owned(),
            contact: Vec::new(),
            storage: storage.to_owned(),
            certificates: lists.iter().map(owned).collect(),
            challenge: model::ChallengeKind::Http01,
            ca_file: None,
            profile: None,
            binding: None,
            renew_before: None,
            retry: Duration::from_secs(60),
        }
    }

    fn store(config: &model::Acme, names: &[String]) {
        let storage = Storage::at(&config.storage);
        storage.prepare().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(names.to_vec()).unwrap();
        let pem = params.self_signed(&key).unwrap().pem() + &key.serialize_pem();
        let path = storage.certificate(&Storage::stem(&config.directory, names));
        Storage::write(&path, pem.as_bytes()).unwrap();
    }

    #[test]
    fn certificates_by_name_across_configurations() {
        let folder = std::env::temp_dir().join(format!("dhal-issued-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let issued = Issued::default();
        assert!(issued.find("a.example").is_none() && issued.first().is_none());
        let one = acme(&folder, &[&["a.example", "www.a.example"], &["b.example"]]);
        store(&one, &one.certificates[0]);
        issued.adopt(Some(&one));
        let first = issued.find("a.example").unwrap();
        assert!(Arc::ptr_eq(&first, &issued.find("WWW.a.example").unwrap()));
        assert!(Arc::ptr_eq(&first, &issued.first().unwrap()));
        assert_eq!(issued.number("a.example"), issued.number("www.a.example"));
        assert!(issued.find("b.example").is_none());
        let now = SystemTime::now();
        let wanting = |issued: &Issued| -> Vec<bool> {
            let state = issued.state();
            let slots = state.slots.iter();
            slots.map(|slot| slot.wants_order(None, now)).collect()
        };
        assert_eq!(wanting(&issued), [false, true]);

        // Another order of lists and names changes nothing of what is there.
        let two = acme(&folder, &[&["b.example"], &["www.a.example", "a.example"]]);
        issued.adopt(Some(&two));
        assert!(Arc::ptr_eq(&first, &issued.find("a.example").unwrap()));
        assert_eq!(wanting(&issued), [true, false]);

        // What is wanted no more is not shown any more, and another set of names is another certificate.
        let three = acme(&folder, &[&["a.example"]]);
        issued.adopt(Some(&three));
        assert!(issued.find("a.example").is_none());
        issued.adopt(None);
        assert!(issued.renew("a.example").unwrap_err().contains("[acme]"));

        issued.adopt(Some(&one));
        assert!(issued.renew("nobody.example").is_err());
        assert_eq!(issued.renew("A.example").unwrap().len(), 2);
        assert_eq!(wanting(&issued), [true, true]);
        let _ = std::fs::remove_dir_all(&folder);
    }

    #[test]
    fn failures_hold_orders_up() {
        let now = SystemTime::now();
        let storage = Storage::at(std::path::Path::new("/nonexistent"));
        let mut slot = Slot::new(&storage, "x".to_owned(), vec!["x.example".to_owned()]);
        assert!(slot.wants_order(None, now));
        slot.failures = Some(Failures {
            count: 1,
            not_before: seconds(now) + 60,
            asked: false,
            why: String::new(),
        });
        assert!(!slot.wants_order(None, now));
        assert!(slot.wants_order(None, now + Duration::from_secs(61)));
        // Another configuration ends a pause, but not the authority's.
        assert!(slot.clone().again(&[]).wants_order(None, now));
        let asked = |slot: &mut Slot| slot.failures.as_mut().unwrap().asked = true;
        asked(&mut slot);
        slot = slot.again(&[]);
        assert!(!slot.wants_order(None, now));
        slot.forced = true;
        assert!(slot.wants_order(None, now));
    }

    /// Of a certificate that is not due: what is said to come next is what comes.
    #[test]
    fn an_order_of_an_operator_that_fails_is_tried_again() {
        let folder = std::env::temp_dir().join(format!("dhal-owed-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let config = acme(&folder, &[&["x.example"]]);
        store(&config, &config.certificates[0]);
        let issued = Issued::default();
        issued.adopt(Some(&config));
        let mut slot = issued.state().slots[0].clone();
        let now = SystemTime::now();
        let (soon, later) = (now + Duration::from_secs(30), now + Duration::from_secs(61));
        assert!(slot.held.is_some() && !slot.wants_order(None, later));
        slot.failures = Some(Failures {
            count: 1,
            not_before: seconds(now) + 60,
            asked: false,
            why: String::new(),
        });
        // A failure of which nobody remembers who has ordered: what comes next is the renewal.
        assert_eq!(slot.next_order(None, now), None);
        assert!(!slot.wants_order(None, later));
        slot.is_owed = true;
        assert_eq!(slot.next_order(None, now), Some(time(seconds(now) + 60)));
        assert!(!slot.wants_order(None, soon) && slot.wants_order(None, later));
        assert!(slot.again(&config.certificates[0]).wants_order(None, now));
        let _ = std::fs::remove_dir_all(&folder);
    }
}
