//! Asking the shop: the task behind a fetch.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{
    StatusCode,
    header::{
        CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_RANGE,
        LAST_MODIFIED, RANGE, SET_COOKIE, VIA,
    },
};
use http_caching::{Fields, Reuse};
use pingora::{
    Error, ErrorSource, ErrorType, Result,
    http::{RequestHeader, ResponseHeader},
    protocols::http::client::HttpSession,
    upstreams::peer::HttpPeer,
};
use tokio::time::timeout;

use super::{
    Filler, Order,
    body::{self, Plan},
    flight::{Asked, Flight, Head, Stage},
    part::{self, Wanted},
    request::{self, Composed},
};
use crate::{
    cache::{
        Stored, compress,
        disk::Loaded,
        store::Variation,
        stored::{Judged, field_map, millis, stored_header},
    },
    door::forward::response,
    respond::failure::Failure,
    upstream::{Asked as AtWork, Upstream},
};

/// After a refresh that failed the stored response is served without another try for so long.
const REST: Duration = Duration::from_secs(1);
/// What is read of an answer that nobody wants, so that the connection can be used again.
const DRAINED: u64 = 64 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(1);
/// Why a response is not stored that would be if it were smaller.
const TOO_LARGE: &str = "too-large";
/// Interim answers to one request.
const MAX_INTERIM: usize = 16;

/// A fetch and all it needs.
pub(super) struct Task {
    pub(super) filler: Arc<Filler>,
    pub(super) flight: Arc<Flight>,
    pub(super) order: Arc<Order>,
    pub(super) variation: Option<Arc<Variation>>,
    /// Only this part is wanted, of something that is too large as a whole.
    pub(super) part: Option<Wanted>,
}

/// Ends a flight however its task ends.
struct Landing(Arc<Flight>, Arc<crate::shared::Shared>);

impl Drop for Landing {
    fn drop(&mut self) {
        self.1.flights.retire(&self.0);
        if matches!(self.0.stage(), Stage::Asking) {
            self.0.set_stage(Stage::Again);
        }
        self.0.end_if_open();
    }
}

/// A server that answers.
pub(super) struct Answer {
    session: HttpSession,
    peer: HttpPeer,
    pub(super) header: ResponseHeader,
    /// Content that was read already.
    ahead: Bytes,
    at_work: AtWork,
    /// When it was asked.
    pub(super) sent_at: SystemTime,
    upstream: Arc<Upstream>,
}

impl Task {
    /// Fetches, and tells everyone.
    pub(super) async fn run(self) {
        let shared = Arc::clone(&self.filler.shared);
        let landing = Landing(Arc::clone(&self.flight), Arc::clone(&shared));
        if self.part.is_none() && self.load().await {
            self.flight.set_stage(Stage::Again);
            return;
        }
        let stored = shared.store.get(&self.flight.key);
        if self.part.is_none() && stored.as_deref().is_some_and(|s| self.came_meanwhile(s)) {
            return self.flight.set_stage(Stage::Again);
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
            return self.flight.set_stage(Stage::Refused);
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
            Err(failure) => self.fail(stored.as_deref(), failure),
            Ok(answer) => self.answered(answer, stored, &others).await,
        }
        drop(landing);
    }

    /// Fetches for one who wants all of it, and nothing stored.
    pub(super) async fn once(&self, most: usize) -> Result<(u16, Vec<u8>), String> {
        let text = |why: Box<Error>| why.to_string();
        let composed = request::compose(&self.order, None, None, &[]).map_err(text)?;
        let answer = self.ask(&composed.header).await;
        let mut answer = answer.map_err(|failure| failure.reason.to_owned())?;
        let status = answer.header.status.as_u16();
        let mut content = Vec::new();
        while let Some(piece) = answer.piece().await.map_err(text)? {
            content.extend_from_slice(&piece);
            if content.len() > most {
                return Err(format!("the answer is larger than {most} bytes"));
            }
        }
        answer.release(&self.filler).await;
        Ok((status, content))
    }

    pub(super) fn shared(&self) -> &Arc<crate::shared::Shared> {
        &self.filler.shared
    }

    fn upstream(&self) -> &Arc<Upstream> {
        &self.order.fetch.own.route.upstream
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
                let stored = Arc::new(*stored);
                if !store.purges.lets_stand(&stored) {
                    self.shared().forget_on_disk(&self.flight.key);
                    return false;
                }
                store.put(Arc::clone(&stored));
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
    /// looked into the store, and before it could be joined.
    fn came_meanwhile(&self, stored: &Stored) -> bool {
        let now = SystemTime::now();
        millis(stored.response_time()) >= millis(self.order.began.wall)
            && self.filler.reuse(&self.order, stored, now) == Reuse::Fresh
    }

    fn fail(&self, stored: Option<&Stored>, failure: Failure) {
        if let Some(stored) = stored {
            stored.rest(SystemTime::now(), REST);
        }
        tracing::warn!(
            request_id = self.order.request_id,
            status = failure.status,
            reason = failure.reason,
            target = self.order.fetch.target,
            "fetch failed"
        );
        self.flight.set_stage(Stage::Failed(failure));
    }

    /// Asks one server after the other until one answers.
    async fn ask(&self, request: &RequestHeader) -> Result<Answer, Failure> {
        let upstream = self.upstream();
        upstream.budget.request();
        let mut tried = Vec::new();
        let mut asked = Asked::default();
        loop {
            let tick = self.filler.tick();
            let key = &self.order.fetch.key;
            let chosen = upstream
                .choose(&tried, key, tick)
                .or_else(|| upstream.choose(&[], key, tick));
            let Some(index) = chosen else {
                return Err(Failure::unavailable());
            };
            asked.attempts += 1;
            let at_work = AtWork::new(index, &upstream.servers[index], tick);
            let result = self.ask_one(index, at_work, request).await;
            let now = self.filler.tick();
            let name = upstream.servers[index].name.clone();
            asked.server = Some((name, now.saturating_sub(tick)));
            self.flight.set_asked(asked.clone());
            let (error, stage) = match result {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            let timed_out = matches!(
                error.etype(),
                ErrorType::ReadTimedout | ErrorType::WriteTimedout
            );
            // A pooled connection that the server closed at the moment of reuse is nobody's fault.
            let pool_race = stage == Step::Reused && !timed_out;
            if stage == Step::Connect {
                upstream.servers[index].state.refused(now);
            }
            if !pool_race {
                upstream.failed(index, now);
                tried.push(index);
            }
            let free = stage == Step::Connect || pool_race;
            let again = (stage == Step::Connect || !timed_out)
                && asked.attempts <= upstream.retry.attempts
                && (free || upstream.budget.take());
            if !again {
                return Err(Failure::of(&error));
            }
            let retries = &self.shared().metrics.retries;
            retries.with_label_values(&[&upstream.name]).inc();
        }
    }

    /// Asks for the content from a place on, of an answer that broke off there. `None` where what comes
    /// is none of it.
    pub(super) async fn ask_again(&self, broken: &ResponseHeader, from: u64) -> Option<Answer> {
        let composed = request::compose(&self.order, self.variation.as_deref(), None, &[]);
        let mut header = composed.ok()?.header;
        let tag = broken.headers.get(ETAG);
        if let Some(tag) = tag.filter(|tag| !tag.as_bytes().starts_with(b"W/")) {
            header.insert_header(RANGE, format!("bytes={from}-")).ok()?;
            header.insert_header(IF_RANGE, tag.clone()).ok()?;
        }
        let answer = self.ask(&header).await.ok()?;
        let (old, new) = (&broken.headers, &answer.header.headers);
        let same = if answer.header.status == StatusCode::PARTIAL_CONTENT {
            let range = new.get(CONTENT_RANGE).map(|value| value.as_bytes());
            let range = range.and_then(http_caching::ContentRange::parse);
            let complete = content_length(broken);
            http_caching::combines(old, new)
                && range.is_some_and(|range| {
                    range.first == from
                        && complete.is_none_or(|c| range.complete == Some(c) && range.last + 1 == c)
                        && range.complete == Some(range.last + 1)
                })
        } else {
            let told = [
                CONTENT_LENGTH,
                CONTENT_TYPE,
                CONTENT_ENCODING,
                ETAG,
                LAST_MODIFIED,
            ];
            answer.header.status == broken.status
                && told.iter().all(|name| old.get(name) == new.get(name))
        };
        if !same {
            answer.discard(&self.filler).await;
            return None;
        }
        Some(answer)
    }

    async fn ask_one(
        &self,
        index: usize,
        at_work: AtWork,
        request: &RequestHeader,
    ) -> std::result::Result<Answer, (Box<Error>, Step)> {
        let upstream = self.upstream();
        let timeouts = &upstream.timeouts;
        let mut peer = HttpPeer::new(upstream.servers[index].address, false, String::new());
        peer.options.connection_timeout = Some(timeouts.connect);
        peer.options.total_connection_timeout = Some(timeouts.connect);
        peer.options.idle_timeout = Some(timeouts.idle);
        let by_server = |mut error: Box<Error>| {
            error.esource = ErrorSource::Upstream;
            error
        };
        let (mut session, reused) = self
            .filler
            .connector
            .get_http_session(&peer)
            .await
            .map_err(|error| (by_server(error), Step::Connect))?;
        let step = if reused { Step::Reused } else { Step::Exchange };
        session.set_read_timeout(Some(timeouts.response));
        session.set_write_timeout(Some(timeouts.response));
        let sent_at = SystemTime::now();
        let exchange = async {
            session
                .write_request_header(Box::new(request.clone()))
                .await?;
            session.finish_request_body().await?;
            for _ in 0..MAX_INTERIM {
                session.read_response_header().await?;
                let Some(header) = session.response_header() else {
                    break;
                };
                if !header.status.is_informational() {
                    let header = header.clone();
                    response::check(&header, false)?;
                    return Ok(header);
                }
                if header.status == StatusCode::SWITCHING_PROTOCOLS {
                    response::check(header, false)?;
                }
                self.flight.add_interim(header.clone());
            }
            Error::e_explain(ErrorType::InvalidHTTPHeader, "no final answer")
        };
        match exchange.await {
            Ok(header) => Ok(Answer {
                session,
                peer,
                header,
                ahead: Bytes::new(),
                at_work,
                sent_at,
                upstream: Arc::clone(upstream),
            }),
            Err(error) => {
                session.shutdown().await;
                Err((by_server(error), step))
            }
        }
    }

    /// The head of an answer is here.
    async fn answered(&self, answer: Answer, stored: Option<Arc<Stored>>, others: &[Arc<Stored>]) {
        let now = SystemTime::now();
        let tick = self.filler.tick();
        let status = answer.header.status;
        if matches!(status.as_u16(), 502..=504) {
            answer.upstream.failed(answer.at_work.index, tick);
        } else {
            let server = &answer.upstream.servers[answer.at_work.index];
            server.state.succeeded(tick);
        }
        match stored {
            Some(stored) if status == StatusCode::NOT_MODIFIED => {
                self.confirmed(answer, &stored, now).await;
            }
            None if status == StatusCode::NOT_MODIFIED && !others.is_empty() => {
                match selected(others, &answer.header) {
                    Some(other) => self.confirmed(answer, other, now).await,
                    None => {
                        // It speaks of none of them; without them it has to say more.
                        for other in others {
                            self.shared().store.remove(other);
                        }
                        self.flight.set_stage(Stage::Again);
                        answer.discard(&self.filler).await;
                    }
                }
            }
            Some(stored) if is_failure(status) && self.may_answer_instead(&stored, now) => {
                stored.rest(now, REST);
                let failure = Failure::status(status.as_u16());
                self.flight.set_stage(Stage::Failed(failure));
                answer.discard(&self.filler).await;
            }
            _ => self.take(answer, now).await,
        }
    }

    fn may_answer_instead(&self, stored: &Stored, now: SystemTime) -> bool {
        !matches!(self.filler.reuse(&self.order, stored, now), Reuse::Validate)
    }

    /// A `304` to our own conditions (RFC 9111 §4.3.3).
    async fn confirmed(&self, answer: Answer, stored: &Arc<Stored>, now: SystemTime) {
        let fresh = answer.header.headers.clone();
        let sent_at = answer.sent_at;
        answer.release(&self.filler).await;
        if !http_caching::confirms(&stored.fields(), &fresh) {
            // It speaks of something else: once more, without conditions (§4.3.4).
            self.shared().store.remove(stored);
            return self.flight.set_stage(Stage::Again);
        }
        let head = stored.head();
        let mut fields = field_map(&head);
        // The last one is ours, and is added anew.
        let via: Vec<_> = fields.get_all(VIA).iter().cloned().collect();
        fields.remove(VIA);
        for value in via.split_last().map_or(&[][..], |(_, others)| others) {
            fields.append(VIA, value.clone());
        }
        http_caching::update_stored(&mut fields, &fresh);
        let mut header = match ResponseHeader::build_no_case(stored.status(), Some(fields.len())) {
            Ok(header) => header,
            Err(_) => return,
        };
        for (name, value) in &fields {
            let _ = header.append_header(name.clone(), value.clone());
        }
        let judged = self.judge(&header, sent_at, now);
        if judged
            .as_ref()
            .is_ok_and(|j| !self.tells_apart(&j.rules.vary))
        {
            // It is not for all any more, and nobody knows whom it is for (RFC 9111 §4.1).
            self.shared().store.remove(stored);
            return self.flight.set_stage(Stage::Again);
        }
        let updated = match judged {
            Ok(judged) => {
                let length = stored.content_length();
                let mut header = stored_header(&header, Some(length), &judged.rules.excluded, now);
                let compresses = self.compresses(&header, Some(length));
                if compresses {
                    compress::vary_on_encoding(&mut header);
                }
                let content = [stored.content()];
                let content = (!stored.is_on_disk()).then_some(&content[..]);
                // Under the key of this visitor's variant, even if another's was confirmed.
                let key = &self.flight.key;
                let new = Stored::new(key, &header, content, length, judged);
                let mut new = new.with_born(stored.born());
                if compresses
                    && let Some(encoded) = stored.encoded()
                    && let Some(encoded) =
                        compress::Encoded::of(&new, encoded.contents().map(|c| c.cloned()))
                {
                    new = new.with_encoded(encoded);
                }
                let new = Arc::new(new);
                self.shared().store.put(Arc::clone(&new));
                if *stored.key() == *new.key() {
                    self.shared().keep_meta(&new);
                } else {
                    self.shared().keep(&new, false, None);
                }
                if let Some(variation) = &self.variation {
                    variation.note(&new);
                }
                new
            }
            Err(_) => {
                // What the shop confirms it may answer with now, but not again.
                self.shared().store.remove(stored);
                self.shared().forget_on_disk(stored.key());
                Arc::clone(stored)
            }
        };
        self.flight.set_stage(Stage::Stored(updated, true));
    }

    /// Whether the answers to such a fetch are told apart by all these fields.
    fn tells_apart(&self, vary: &[http::HeaderName]) -> bool {
        let known = self.variation.as_deref().map_or(&[][..], |v| &v.fields);
        request::significant(vary).is_some_and(|vary| vary.iter().all(|name| known.contains(name)))
    }

    /// Whether an answer may be stored, and for how long.
    pub(super) fn judge(
        &self,
        header: &ResponseHeader,
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
        let rules = http_caching::storable(
            &http::Method::GET,
            &*sent,
            header.status,
            &header.headers,
            &policy.rules,
            sent_at,
            now,
        )
        .map_err(|why| why.as_str())?;
        let stamp = self
            .shared()
            .stamp(&self.order.fetch, self.flight.seq, &header.headers)
            .ok_or("too-many-tags")?;
        Ok(Judged {
            rules,
            response_time: now,
            stamp,
        })
    }

    /// An answer with content of its own.
    async fn take(&self, mut answer: Answer, now: SystemTime) {
        let mut beginning = None;
        if answer.header.status == StatusCode::PARTIAL_CONTENT {
            match &self.part {
                Some(wanted) => return part::take(self, answer, wanted, now).await,
                None => match part::completes(self, &answer) {
                    Some((header, known)) => {
                        answer.header = header;
                        beginning = Some(known);
                    }
                    None if self.shared().store.parts.get(&self.flight.key).is_some() => {
                        // It is not what was asked for: once more, for the whole.
                        self.shared().store.parts.remove(&self.flight.key);
                        self.flight.set_stage(Stage::Again);
                        return answer.discard(&self.filler).await;
                    }
                    // Nobody asked for a part.
                    None => {}
                },
            }
        } else if self.part.is_some() {
            // The shop would rather not send parts: the visitor's own request has the choice.
            self.flight.set_stage(Stage::Refused);
            return answer.discard(&self.filler).await;
        }
        let length = content_length(&answer.header);
        let judged = self.judge(&answer.header, answer.sent_at, now);
        let judged = judged.and_then(|judged| {
            if length.is_some_and(|length| length > self.shared().max_object()) {
                return Err(TOO_LARGE);
            }
            let vary = request::significant(&judged.rules.vary).ok_or("vary-forwarding")?;
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
                store.note_uncacheable(&self.order.fetch.key, why == TOO_LARGE);
                // Whoever comes from now on asks for themselves.
                self.shared().flights.retire(&self.flight);
                self.solo(answer, length, now).await;
            }
        }
    }

    /// Whether a response is served in compressed forms, as soon as there are any.
    fn compresses(&self, header: &ResponseHeader, length: Option<u64>) -> bool {
        let policy = self.order.fetch.own.route.policy.as_ref();
        policy.is_some_and(|policy| policy.compress)
            && compress::is_worthwhile(
                header.status.as_u16(),
                &header.headers,
                length.unwrap_or(u64::from(u16::MAX)),
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

    /// An answer that all who wait may have, and nobody after them.
    async fn share(&self, mut answer: Answer, length: Option<u64>, now: SystemTime) {
        answer.header.remove_header(&SET_COOKIE);
        self.flight.set_stage(Stage::Arriving(Arc::new(Head {
            header: stored_header(&answer.header, length, &[], now),
            length,
            vary: Vec::new(),
            stamp: Default::default(),
            is_stored: false,
            ttl: 0,
            age: 0,
        })));
        body::pass(self, answer).await;
    }

    /// An answer for the one who caused the fetch, provided that their own request would have been no
    /// other.
    async fn solo(&self, answer: Answer, length: Option<u64>, now: SystemTime) {
        let whole = request::is_all_of(&self.order, &self.flight.sent());
        if !whole || !self.flight.is_wanted() {
            self.flight.set_stage(Stage::Refused);
            return answer.discard(&self.filler).await;
        }
        self.flight.set_stage(Stage::Solo(Arc::new(Head {
            header: stored_header(&answer.header, length, &[], now),
            length,
            vary: Vec::new(),
            stamp: Default::default(),
            is_stored: false,
            ttl: 0,
            age: 0,
        })));
        body::pass(self, answer).await;
    }
}

/// How far an exchange had come when it failed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Connect,
    /// On a connection that had been used before.
    Reused,
    Exchange,
}

impl Answer {
    /// The next piece of content.
    pub(super) async fn piece(&mut self) -> Result<Option<Bytes>> {
        match std::mem::take(&mut self.ahead) {
            ahead if ahead.is_empty() => self.session.read_response_body().await,
            ahead => Ok(Some(ahead)),
        }
    }

    /// What was read beyond what was wanted.
    pub(super) fn put_back(&mut self, ahead: Bytes) {
        self.ahead = ahead;
    }

    /// The exchange is complete: the connection is for the next one.
    pub(super) async fn release(self, filler: &Filler) {
        let idle = self.upstream.timeouts.idle;
        filler
            .connector
            .release_http_session(self.session, &self.peer, Some(idle))
            .await;
    }

    /// The exchange broke while content arrived.
    pub(super) async fn broke(mut self, filler: &Filler, error: &Error) {
        self.upstream.failed(self.at_work.index, filler.tick());
        tracing::warn!(%error, server = self.upstream.servers[self.at_work.index].name, "answer broke off");
        self.session.shutdown().await;
    }

    /// Nobody wants the content. What is little is read, so that the connection can be used again.
    pub(super) async fn discard(mut self, filler: &Filler) {
        let little = content_length(&self.header).is_some_and(|length| length <= DRAINED);
        let mut left = DRAINED;
        let drained = timeout(DRAIN_TIME, async {
            while little {
                match self.session.read_response_body().await {
                    Ok(Some(piece)) => left = left.saturating_sub(piece.len() as u64),
                    Ok(None) => return true,
                    Err(_) => return false,
                }
                if left == 0 {
                    return self.session.response_done();
                }
            }
            false
        });
        if let Ok(true) = drained.await {
            self.release(filler).await;
        } else {
            self.session.shutdown().await;
        }
    }
}

/// The stored response that a `304` is about (RFC 9111 §4.3.4).
fn selected<'s>(others: &'s [Arc<Stored>], header: &ResponseHeader) -> Option<&'s Arc<Stored>> {
    let fields: Vec<_> = others.iter().map(|other| other.fields()).collect();
    let fields: Vec<&dyn Fields> = fields.iter().map(|f| f as &dyn Fields).collect();
    others.get(http_caching::select(&fields, &header.headers)?)
}

/// Statuses of a shop in trouble (RFC 5861 §4).
fn is_failure(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

/// `Content-Length`; Pingora has refused contradictory ones.
fn content_length(header: &ResponseHeader) -> Option<u64> {
    if header.status == StatusCode::NO_CONTENT {
        return Some(0);
    }
    let length = header.headers.get(CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

/// Whether the framing says where a response ends, rather than the end of the connection.
fn has_known_end(header: &ResponseHeader) -> bool {
    content_length(header).is_some()
        || header.headers.contains_key(http::header::TRANSFER_ENCODING)
        || header.status == StatusCode::NOT_MODIFIED
}
