//! Asking the shop: the task behind a fetch.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{StatusCode, header::SET_COOKIE};
use http_caching::{
    CacheControl, Reuse, Source,
    tags::{CACHE_TAG, SURROGATE_KEY},
};
use pingora_error::Error;
use pingora_http::ResponseHeader;

use super::{
    Filler, Order,
    ask::{Answer, content_length},
    body::{self, Plan},
    flight::{Flight, Head, Stage},
    part::{self, Wanted},
    request::{self, Composed},
    validate::selected,
};
use crate::{
    cache::{
        Stored, compress,
        disk::Loaded,
        head::stored_header,
        store::Variation,
        stored::{Judged, millis},
    },
    respond::failure::{Failure, Side},
    respond::fault::Fault,
    upstream::Upstream,
};

/// After a refresh that failed the stored response is served without another try for so long.
const REST: Duration = Duration::from_secs(1);
/// What is taken for the length of content that does not tell it, when it is judged beforehand.
const SOME_LENGTH: u64 = 64 * 1024;
/// Why a response is not stored that would be if it were smaller.
const TOO_LARGE: &str = "too-large";

/// A fetch and all it needs.
pub(super) struct Task {
    pub(super) filler: Arc<Filler>,
    pub(super) flight: Arc<Flight>,
    pub(super) order: Arc<Order>,
    pub(super) variation: Option<Arc<Variation>>,
    /// Only this part is wanted, of something that is too large as a whole.
    pub(super) part: Option<Wanted>,
    /// Somebody waits for it; otherwise what is stored is to be fetched anew, be it fresh or not.
    pub(super) is_waited_for: bool,
}

/// Ends a flight however its task ends.
struct Landing(Arc<Flight>, Arc<Filler>);

impl Drop for Landing {
    fn drop(&mut self) {
        self.1.running.fetch_sub(1, Ordering::Relaxed);
        self.1.shared.flights.retire(&self.0);
        if matches!(self.0.stage(), Stage::Asking) {
            self.0.set_stage(Stage::Again);
        }
        self.0.end_if_open();
    }
}

impl Task {
    /// Fetches, and tells everyone.
    pub(super) async fn run(mut self) {
        let shared = Arc::clone(&self.filler.shared);
        let landing = Landing(Arc::clone(&self.flight), Arc::clone(&self.filler));
        if self.part.is_none() && self.load().await {
            self.land(Stage::Again);
            return;
        }
        if let Err(failure) = self.pass().await {
            return self.fail(None, failure);
        }
        let stored = shared.store.get(&self.flight.key);
        if self.part.is_none() && stored.as_ref().is_some_and(|s| self.came_meanwhile(s)) {
            return self.land(Stage::Again);
        }
        // Those for other visitors may be what this one is to get, too (RFC 9111 §4.3.1).
        let others = match (&stored, &self.variation) {
            (None, Some(variation)) => variation.variants(&shared.store),
            _ => Vec::new(),
        };
        let composed = {
            let offered: Vec<_> = others.iter().map(|other| other.fields()).collect();
            let stored = stored.as_ref().map(|stored| stored.fields());
            request::compose(&self.order, self.variation.as_deref(), stored, &offered)
        };
        let Ok(Composed { mut header, sent }) = composed else {
            return self.land(Stage::Refused);
        };
        match &self.part {
            Some(wanted) => wanted.ask(&mut header),
            None if stored.is_none() && others.is_empty() => {
                part::ask_for_rest(&shared.store, &self.flight.key, &mut header);
            }
            None => {}
        }
        self.flight.set_sent(sent);
        match self.ask(&header).await {
            Err(failure) => self.fail(stored.as_ref(), failure),
            Ok(answer) => self.answered(answer, stored, &others).await,
        }
        drop(landing);
    }

    /// Where there is no file, the route's upstream is asked.
    async fn pass(&mut self) -> Result<(), Failure> {
        let passed = self.order.fetch.own.otherwise().await;
        if let Some(own) = passed.map_err(|fault| fault.failure)? {
            self.order = Arc::new(self.order.with(own));
        }
        Ok(())
    }

    /// Says what has come of it. Nobody joins any more: whoever comes from now on looks anew.
    pub(super) fn land(&self, stage: Stage) {
        self.shared().flights.retire(&self.flight);
        self.flight.set_stage(stage);
    }

    /// Asks once more, without the conditions that led nowhere.
    pub(super) async fn start_over(&self) {
        let variation = self.variation.as_deref();
        let composed = request::compose(&self.order, variation, None, &[]);
        let Ok(Composed { header, sent }) = composed else {
            return self.land(Stage::Refused);
        };
        self.flight.set_sent(sent);
        match self.ask(&header).await {
            Err(failure) => self.fail(None, failure),
            Ok(answer) if answer.header.status == StatusCode::NOT_MODIFIED => {
                // Nobody asked for that.
                self.land(Stage::Refused);
                answer.discard(&self.filler).await;
            }
            Ok(answer) => self.take(answer, SystemTime::now()).await,
        }
    }

    /// Fetches for one who wants all of it, and nothing stored.
    pub(super) async fn once(mut self, most: usize) -> Result<(u16, Vec<u8>), String> {
        self.pass()
            .await
            .map_err(|failure| failure.reason.to_owned())?;
        let text = |why: Box<Error>| why.to_string();
        let composed = request::compose(&self.order, None, None, &[]).map_err(text)?;
        let answer = self.ask(&composed.header).await;
        let mut answer = answer.map_err(|failure| failure.reason.to_owned())?;
        let status = answer.header.status.as_u16();
        let mut content = Vec::new();
        let broken = |fault: Fault| fault.detail.to_owned();
        while let Some(piece) = answer.piece().await.map_err(broken)? {
            content.extend_from_slice(&piece);
            if content.len() > most {
                return Err(format!("the answer is larger than {most} bytes"));
            }
        }
        answer.release(&self.filler);
        Ok((status, content))
    }

    pub(super) fn shared(&self) -> &Arc<crate::shared::Shared> {
        &self.filler.shared
    }

    pub(super) fn upstream(&self) -> &Arc<Upstream> {
        &self.order.fetch.own.upstream
    }

    /// Looks on the disk. `true`: it is worth looking into the store again.
    async fn load(&self) -> bool {
        let Some(disk) = &self.shared().disk else {
            return false;
        };
        let store = &self.shared().store;
        if store.get(&self.flight.key).is_some() || !disk.may_hold(&self.flight.key) {
            return false;
        }
        let (disk, key) = (Arc::clone(disk), self.flight.key.clone());
        let (most, forgotten) = (store.max_object(), store.purges.forgotten());
        let loaded = tokio::task::spawn_blocking(move || disk.load(&key, most, forgotten)).await;
        match loaded {
            Ok(Some(Loaded::Response(stored))) => {
                if !store.purges.lets_stand(&stored) {
                    // Where that is not known, another process uses the disk.
                    if !store.purges.is_deaf() {
                        self.shared().forget_on_disk(&self.flight.key);
                    }
                    return false;
                }
                store.put(stored.clone());
                let reuse = self.filler.reuse(&self.order, &stored, SystemTime::now());
                matches!(reuse, Reuse::Fresh | Reuse::WhileRevalidate)
            }
            Ok(Some(Loaded::Variation(fields))) => {
                store.learn(&self.order.fetch.key, &fields).is_some()
            }
            Ok(None) | Err(_) => false,
        }
    }

    /// Whether another fetch has just brought what this one is for: it landed after this request had
    /// looked into the store, and before it could be joined. Its head may have come before the request did, which whoever
    /// waits does not mind; what nobody waits for is fetched because of what was there before.
    fn came_meanwhile(&self, stored: &Stored) -> bool {
        let is_news = || millis(stored.response_time()) >= millis(self.order.began.wall);
        (self.is_waited_for || is_news())
            && self.filler.reuse(&self.order, stored, SystemTime::now()) == Reuse::Fresh
    }

    fn fail(&self, stored: Option<&Stored>, failure: Failure) {
        let is_gone = failure.side == Side::Downstream;
        match stored {
            // There is no such file any more, or nobody may have it.
            Some(stored) if is_gone => {
                self.shared().store.remove(stored);
                self.shared().forget_on_disk(&self.flight.key);
            }
            Some(stored) => stored.rest(SystemTime::now(), REST),
            None => {}
        }
        if !failure.is_shed() && !is_gone {
            tracing::warn!(
                request_id = self.order.request_id,
                status = failure.status,
                reason = failure.reason,
                target = self.order.fetch.target,
                "fetch failed"
            );
        }
        self.land(Stage::Failed(failure));
    }

    /// The head of an answer is here.
    async fn answered(&self, answer: Answer, stored: Option<Stored>, others: &[Stored]) {
        let now = SystemTime::now();
        let status = answer.header.status;
        match stored {
            Some(stored) if status == StatusCode::NOT_MODIFIED => {
                self.confirmed(answer, &stored, now).await;
            }
            None if status == StatusCode::NOT_MODIFIED && !others.is_empty() => {
                match selected(others, &answer.header) {
                    Some(other) => self.confirmed(answer, other, now).await,
                    None => {
                        // It speaks of none of them; without them it has to say more.
                        answer.discard(&self.filler).await;
                        self.start_over().await;
                    }
                }
            }
            Some(stored) if is_failure(status) && self.may_answer_instead(&stored, now) => {
                stored.rest(now, REST);
                let failure = Failure::status(status.as_u16());
                self.land(Stage::Failed(failure));
                answer.discard(&self.filler).await;
            }
            _ => self.take(answer, now).await,
        }
    }

    fn may_answer_instead(&self, stored: &Stored, now: SystemTime) -> bool {
        !matches!(self.filler.reuse(&self.order, stored, now), Reuse::Validate)
    }

    /// Whether visitors get something where the shop fails, so that nobody has to wait for a server.
    pub(super) fn something_stale_may_answer(&self) -> bool {
        let stored = self.shared().store.get(&self.flight.key);
        stored.is_some_and(|stored| self.may_answer_instead(&stored, SystemTime::now()))
    }

    /// Whether an answer may be stored, and for how long.
    /// `before` is what it brings up to date: tags and directives for caches like us, which are not among
    /// the stored fields, hold on where the answer has none (RFC 9110 §15.4.5).
    pub(super) fn judge(
        &self,
        header: &ResponseHeader,
        before: Option<&Stored>,
        sent_at: SystemTime,
        now: SystemTime,
    ) -> Result<Judged, &'static str> {
        let route = &self.order.fetch.own.route;
        let Some(policy) = &route.policy else {
            return Err("no policy");
        };
        if !has_known_end(header) {
            // Nobody can tell a whole one from one that was cut off (RFC 9112 §8).
            return Err("unknown-length");
        }
        let sent = self.flight.sent();
        let mut rules = http_caching::storable(
            &http::Method::GET,
            &*sent,
            header.status,
            &header.headers,
            &policy.rules,
            sent_at,
            now,
        )
        .map_err(|why| why.as_str())?;
        let mut stamp = self
            .shared()
            .stamp(&self.order.fetch, self.flight.seq, &header.headers)
            .ok_or("too-many-tags")?;
        let legacy = policy.rules.legacy;
        let source = http_caching::effective_control(&header.headers, legacy, now).source;
        let mut is_told_aside = matches!(
            source,
            Source::Dhal | Source::SurrogateControl | Source::XAccelExpires
        );
        if let Some(before) = before {
            let tagged = [SURROGATE_KEY, CACHE_TAG];
            if !tagged.iter().any(|name| header.headers.contains_key(name)) {
                stamp.tags.clone_from(&before.stamp().tags);
            }
            if before.is_told_aside() && !is_told_aside {
                rules.lifetimes = before.lifetimes();
                is_told_aside = true;
            }
        }
        Ok(Judged {
            rules,
            response_time: now,
            stamp,
            is_told_aside,
        })
    }

    /// An answer with content of its own.
    async fn take(&self, mut answer: Answer, now: SystemTime) {
        let mut beginning = None;
        let mut before = None;
        if answer.header.status == StatusCode::PARTIAL_CONTENT {
            match &self.part {
                Some(wanted) => return part::take(self, answer, wanted, now).await,
                None => match part::completes(self, &answer) {
                    Some((header, known, partial)) => {
                        answer.header = header;
                        beginning = Some(known);
                        before = Some(partial);
                    }
                    None if self.shared().store.parts.get(&self.flight.key).is_some() => {
                        // It is not what was asked for: once more, for the whole.
                        self.shared().store.parts.remove(&self.flight.key);
                        answer.discard(&self.filler).await;
                        return Box::pin(self.start_over()).await;
                    }
                    // Nobody asked for a part.
                    None => {}
                },
            }
        } else if self.part.is_some() {
            // The shop would rather not send parts: the visitor's own request has the choice.
            self.land(Stage::Refused);
            return answer.discard(&self.filler).await;
        }
        let length = content_length(&answer.header);
        let changes = &self.order.fetch.own.route.request_headers;
        let before = before.as_deref().map(|partial| &partial.stored);
        let judged = self.judge(&answer.header, before, answer.sent_at, now);
        let judged = judged.and_then(|judged| {
            if length.is_some_and(|length| length > self.shared().max_object()) {
                return Err(TOO_LARGE);
            }
            let vary =
                request::significant(&judged.rules.vary, changes).ok_or("vary-forwarding")?;
            let variation = match vary.is_empty() && self.variation.is_none() {
                true => None,
                false => {
                    let store = &self.shared().store;
                    let key = &self.order.fetch.key;
                    Some(store.learn(key, &vary).ok_or("vary-too-many")?)
                }
            };
            Ok((judged, vary, variation))
        });
        match judged {
            Ok((judged, vary, variation)) => {
                self.fill(answer, judged, vary, variation, length, beginning)
                    .await;
            }
            Err(_) if is_failure(answer.header.status) => {
                // A shop in trouble is not asked again by everyone who waits. The answer was shaped by
                // nobody, so it is for all; it is not kept.
                self.share(answer, length, now).await;
            }
            Err(why) => {
                tracing::debug!(why, target = self.order.fetch.target, "not stored");
                let store = &self.shared().store;
                if let Some(stored) = store.get(&self.flight.key) {
                    // The shop has replaced it by something else (RFC 9111 §4.3.3).
                    store.remove(&stored);
                    self.shared().forget_on_disk(&self.flight.key);
                }
                store.note_uncacheable(&self.flight.key, why == TOO_LARGE);
                self.solo(answer, length, now).await;
            }
        }
    }

    /// Whether a response is served in compressed forms, as soon as there are any.
    pub(super) fn compresses(&self, header: &ResponseHeader, length: Option<u64>) -> bool {
        let policy = self.order.fetch.own.route.policy.as_ref();
        policy.is_some_and(|policy| policy.compress)
            && compress::is_worthwhile(
                header.status.as_u16(),
                &header.headers,
                length.unwrap_or(SOME_LENGTH),
            )
    }

    /// Content on its way into the store.
    async fn fill(
        &self,
        answer: Answer,
        judged: Judged,
        vary: Vec<http::HeaderName>,
        variation: Option<Arc<Variation>>,
        length: Option<u64>,
        beginning: Option<Bytes>,
    ) {
        let mut header = stored_header(
            &answer.header,
            length,
            &judged.rules.excluded,
            judged.response_time,
        );
        let compresses = self.compresses(&header, length);
        if compresses {
            compress::vary_on_encoding(&mut header);
        }
        let lifetime = judged.rules.lifetimes.lifetime.as_secs();
        let age = judged.rules.age.as_secs();
        self.flight.set_stage(Stage::Arriving(Arc::new(Head {
            header: header.clone(),
            length,
            vary,
            stamp: judged.stamp.clone(),
            is_stored: true,
            ttl: i64::try_from(lifetime).unwrap_or(i64::MAX) - i64::try_from(age).unwrap_or(0),
            age,
        })));
        let key = match &variation {
            Some(variation) => variation.variant(&*self.flight.sent()),
            None => self.order.fetch.key.to_vec(),
        };
        // One that was known already is written down already.
        let learned = match (&self.variation, &variation) {
            (Some(known), Some(new)) => !Arc::ptr_eq(known, new),
            (_, new) => new.is_some(),
        };
        let plan = Plan {
            header,
            key,
            variation,
            learned,
            judged,
            length,
            beginning,
            compresses,
        };
        body::fill(self, answer, plan).await;
    }

    /// An answer of a shop in trouble, which all who wait may have, and nobody after them. One that is
    /// not for all goes to the one who caused the fetch; others get a page of ours.
    async fn share(&self, answer: Answer, length: Option<u64>, now: SystemTime) {
        let fields = &answer.header.headers;
        let control = CacheControl::parse(fields);
        let named = !control.private_fields.is_empty();
        if control.private || control.no_store || named || fields.contains_key(SET_COOKIE) {
            if self.is_for_who_asked(&answer) {
                return self.solo(answer, length, now).await;
            }
            self.land(Stage::Failed(Failure::status(
                answer.header.status.as_u16(),
            )));
            return answer.discard(&self.filler).await;
        }
        // It is read by those who are here; who comes now asks anew.
        self.land(Stage::Arriving(passing(&answer, length, now)));
        body::pass(self, answer).await;
    }

    /// Whether the one who caused the fetch, and is still here, would have got this answer in person.
    fn is_for_who_asked(&self, answer: &Answer) -> bool {
        let sent = self.flight.sent();
        let vary = request::named_by_vary(&answer.header.headers);
        request::is_all_of(&self.order, &sent)
            && request::fits(&vary, &sent, &self.order.fields)
            && self.flight.is_wanted()
    }

    /// An answer for the one who caused the fetch, provided that their own request would have been no
    /// other.
    async fn solo(&self, answer: Answer, length: Option<u64>, now: SystemTime) {
        if !self.is_for_who_asked(&answer) {
            self.land(Stage::Refused);
            return answer.discard(&self.filler).await;
        }
        self.land(Stage::Solo(passing(&answer, length, now)));
        body::pass(self, answer).await;
    }
}

/// The head of an answer that is not stored.
fn passing(answer: &Answer, length: Option<u64>, now: SystemTime) -> Arc<Head> {
    Arc::new(Head {
        header: stored_header(&answer.header, length, &[], now),
        length,
        vary: Vec::new(),
        stamp: Default::default(),
        is_stored: false,
        ttl: 0,
        age: 0,
    })
}

/// Statuses of a shop in trouble (RFC 5861 §4).
fn is_failure(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

/// Whether the framing says where a response ends, rather than the end of the connection.
fn has_known_end(header: &ResponseHeader) -> bool {
    content_length(header).is_some()
        || header.headers.contains_key(http::header::TRANSFER_ENCODING)
        || header.status == StatusCode::NOT_MODIFIED
}
