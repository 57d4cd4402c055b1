//! Pingora's storage interface over the store.
//!
//! A response becomes visible when it is complete: whoever waits for it gets all of it or goes to
//! the upstream. Until then it is held by the request that fetches it, within `max_object`.

use std::{
    any::Any,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_caching::Storable;
use pingora::{
    Error, ErrorType, Result,
    cache::{
        CacheKey, CacheMeta, HitHandler, MissHandler, Storage,
        key::CacheHashKey,
        storage::{HandleHit, HandleMiss, MissFinishType, PurgeOutcome, PurgeTarget, PurgeType},
        trace::SpanHandle,
    },
    http::ResponseHeader,
};

use super::{Found, Store, Stored};

/// Travels in a [`CacheKey`]: the fields a variant is chosen by.
#[derive(Clone)]
pub struct RequestFields(pub Arc<HeaderMap>);

/// Travels in a [`CacheMeta`]: the judgement of the rules.
#[derive(Clone)]
pub struct Judgement {
    /// Freshness and conditions.
    pub rules: Storable,
    /// When the response arrived.
    pub response_time: SystemTime,
}

impl Judgement {
    /// What Pingora keeps of it while a response is fetched or served stale.
    pub fn meta(self, header: ResponseHeader) -> CacheMeta {
        let Storable {
            lifetime,
            age,
            stale_while_revalidate,
            stale_if_error,
            ..
        } = self.rules;
        // Pingora rounds the age up from this epoch.
        let epoch = self
            .response_time
            .checked_sub(age)
            .unwrap_or(SystemTime::UNIX_EPOCH);
        let fresh_until = epoch.checked_add(lifetime).unwrap_or(self.response_time);
        let mut meta = CacheMeta::new(
            fresh_until,
            self.response_time,
            seconds(stale_while_revalidate),
            seconds(stale_if_error),
            header,
        );
        meta.set_epoch_override(epoch);
        meta.extensions_mut().insert(self);
        meta
    }
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

fn request_fields(key: &CacheKey) -> Arc<HeaderMap> {
    key.extensions
        .get::<RequestFields>()
        .map(|f| Arc::clone(&f.0))
        .unwrap_or_default()
}

#[async_trait]
impl Storage for Store {
    async fn lookup(
        &'static self,
        key: &CacheKey,
        _trace: &SpanHandle,
    ) -> Result<Option<(CacheMeta, HitHandler)>> {
        let Found::Fit(stored) = self.find(key.primary_key(), &*request_fields(key)) else {
            return Ok(None);
        };
        let judgement = Judgement {
            rules: Storable {
                // A response that must always be validated is never fresh to Pingora.
                lifetime: if stored.always_validate {
                    Duration::ZERO
                } else {
                    stored.lifetime
                },
                age: stored.initial_age,
                stale_while_revalidate: stored.stale_while_revalidate,
                stale_if_error: stored.stale_if_error,
                always_validate: stored.always_validate,
                vary: stored.vary.clone(),
            },
            response_time: stored.response_time,
        };
        let meta = judgement.meta(stored.header.clone());
        let range = 0..stored.body.len();
        Ok(Some((
            meta,
            Box::new(Hit {
                stored,
                range: Some(range),
            }),
        )))
    }

    async fn get_miss_handler(
        &'static self,
        key: &CacheKey,
        meta: &CacheMeta,
        _trace: &SpanHandle,
    ) -> Result<MissHandler> {
        let Some(judgement) = meta.extensions().get::<Judgement>().cloned() else {
            return Error::e_explain(ErrorType::InternalError, "response without a judgement");
        };
        Ok(Box::new(Miss {
            store: self,
            key: key.primary_key().into(),
            fields: request_fields(key),
            header: meta.response_header().clone(),
            judgement,
            body: BytesMut::new(),
            room: 0,
        }))
    }

    async fn purge(
        &'static self,
        _target: PurgeTarget<'_>,
        _reason: PurgeType,
        _trace: &SpanHandle,
    ) -> Result<PurgeOutcome> {
        // Purges go to the store by its own keys; Pingora's hashes mean nothing to it.
        Ok(PurgeOutcome::NotFound)
    }

    async fn update_meta(
        &'static self,
        key: &CacheKey,
        meta: &CacheMeta,
        _trace: &SpanHandle,
    ) -> Result<bool> {
        let fields = request_fields(key);
        let Found::Fit(old) = self.find(key.primary_key(), &*fields) else {
            return Ok(false);
        };
        let Some(judgement) = meta.extensions().get::<Judgement>() else {
            return Ok(false);
        };
        let new = old.revalidated(
            meta.response_header(),
            &judgement.rules,
            judgement.response_time,
        );
        self.put(key.primary_key(), &*fields, new);
        Ok(true)
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync + 'static) {
        self
    }
}

/// Reads a stored response out for Pingora.
struct Hit {
    stored: Arc<Stored>,
    /// What is still to be read; `None` once it was.
    range: Option<std::ops::Range<usize>>,
}

#[async_trait]
impl HandleHit for Hit {
    async fn read_body(&mut self) -> Result<Option<Bytes>> {
        Ok(self
            .range
            .take()
            .filter(|r| !r.is_empty())
            .map(|r| self.stored.body.slice(r)))
    }

    async fn finish(
        self: Box<Self>,
        _storage: &'static (dyn Storage + Sync),
        _key: &CacheKey,
        _trace: &SpanHandle,
    ) -> Result<()> {
        Ok(())
    }

    fn can_seek(&self) -> bool {
        true
    }

    fn seek(&mut self, start: usize, end: Option<usize>) -> Result<()> {
        let len = self.stored.body.len();
        let end = end.unwrap_or(len).min(len);
        if start > end {
            return Error::e_explain(ErrorType::InternalError, "range beyond the stored response");
        }
        self.range = Some(start..end);
        Ok(())
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }

    fn as_any_mut(&mut self) -> &mut (dyn Any + Send + Sync) {
        self
    }
}

/// Collects a response; dropped before `finish`, it leaves no trace.
struct Miss {
    store: &'static Store,
    key: Box<[u8]>,
    fields: Arc<HeaderMap>,
    header: ResponseHeader,
    judgement: Judgement,
    body: BytesMut,
    /// Taken of what all responses on their way may hold.
    room: u64,
}

impl Miss {
    fn give_up(&mut self) {
        self.body = BytesMut::new();
        self.store.give_room_back(std::mem::take(&mut self.room));
    }
}

impl Drop for Miss {
    fn drop(&mut self) {
        self.give_up();
    }
}

#[async_trait]
impl HandleMiss for Miss {
    async fn write_body(&mut self, data: Bytes, _eof: bool) -> Result<()> {
        let size = (self.body.len() + data.len()) as u64;
        if size > self.store.max_object() {
            self.give_up();
            return Error::e_explain(
                ErrorType::InternalError,
                "response exceeds cache.max_object",
            );
        }
        if !self.store.take_room(data.len() as u64) {
            self.give_up();
            return Error::e_explain(
                ErrorType::InternalError,
                "too many responses on their way into the store",
            );
        }
        self.room += data.len() as u64;
        self.body.extend_from_slice(&data);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<MissFinishType> {
        let size = self.body.len();
        // A copy of the exact size, so that what the weigher counts is what memory holds.
        let body = Bytes::copy_from_slice(&self.body);
        let Judgement {
            rules,
            response_time,
        } = &self.judgement;
        let stored = Stored::new(&self.header, body, rules, *response_time);
        self.store.put(&self.key, &*self.fields, stored);
        Ok(MissFinishType::Created(size))
    }
}

/// A key for Pingora's look-ups and locks.
pub fn cache_key(key: &[u8], fields: &HeaderMap) -> CacheKey {
    let mut cache_key = CacheKey::new(key, "");
    cache_key
        .extensions
        .insert(RequestFields(Arc::new(fields.clone())));
    debug_assert!(cache_key.variance_bin().is_none());
    cache_key
}
