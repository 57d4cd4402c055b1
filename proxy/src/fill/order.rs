//! A request for which something is fetched, and what it is answered with.

use std::{net::IpAddr, sync::Arc};

use adaptive_concurrency::Class;
use http::{HeaderMap, Method};

use super::flight::{Asked, Head, Reader};
use crate::{
    admit::class::class,
    cache::{Stored, parts::Partial, status::Outcome},
    edge::{Fetch, Forward, Scheme, decide::Now},
    respond::failure::Failure,
    snapshot::Snapshot,
};

/// A request for which something is to be fetched.
pub struct Order {
    /// What was decided.
    pub fetch: Fetch,
    /// The configuration it began under.
    pub snapshot: Arc<Snapshot>,
    /// GET or HEAD.
    pub method: Method,
    /// The visitor's fields.
    pub fields: HeaderMap,
    /// The visitor.
    pub client: IpAddr,
    /// The peer of the connection.
    pub peer: IpAddr,
    /// Whether the peer's forwarding fields are believed.
    pub trusted: bool,
    /// The scheme it came by.
    pub scheme: Scheme,
    /// `X-Request-ID`.
    pub request_id: String,
    /// When its head was complete.
    pub began: Now,
    /// The cache key is told.
    pub shows_key: bool,
}

impl Order {
    /// The same for another server.
    pub(super) fn with(&self, own: Forward) -> Self {
        Self {
            fetch: Fetch {
                own,
                ..self.fetch.clone()
            },
            snapshot: Arc::clone(&self.snapshot),
            method: self.method.clone(),
            fields: self.fields.clone(),
            request_id: self.request_id.clone(),
            ..*self
        }
    }

    /// What it matters where not all can be taken.
    pub fn class(&self) -> Class {
        class(&self.fetch.own.route, &self.fields, self.client)
    }
}

/// How a request is answered.
pub enum Served {
    /// From the store.
    Stored(Stored),
    /// From what is here of a response: the bytes from one position to another, both included.
    Part(Arc<Partial>, u64, u64),
    /// With content that is on its way.
    Stream(Arc<Head>, Reader),
    /// Not from here: the visitor's own request has to go to the shop.
    Own,
    /// There is no answer.
    Failed(Failure),
}

/// The answer, and how it came about.
pub struct Answered {
    /// The answer.
    pub served: Served,
    /// The store's part.
    pub outcome: Outcome,
    /// Who was asked for it.
    pub asked: Asked,
}
