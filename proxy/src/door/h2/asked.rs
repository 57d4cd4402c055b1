//! A request over HTTP/2, and the facts of it that outlast the frames it came in.

use std::{net::IpAddr, sync::Arc, time::Duration};

use http::HeaderMap;
use http1_wire::Body;
use http2_server::Head;

use crate::{
    cache::status::Outcome,
    door::{Hall, RequestId},
    edge::{
        Connection, Fetch, Scheme,
        decide::{DHAL_DEBUG, Now},
    },
    fill::Order,
    observe::{Protocol, Record},
    respond::{
        hsts::Hsts,
        reply::{self, wants_json},
    },
    snapshot::Snapshot,
};

/// What was asked, by whom, and when.
pub(super) struct Asked {
    pub(super) head: Head,
    pub(super) body: Body,
    pub(super) now: Now,
    pub(super) client: IpAddr,
    pub(super) trusted: bool,
    pub(super) request_id: RequestId,
    /// What answers that belong to no route tell browsers of TLS.
    pub(super) hsts: Option<Hsts>,
    pub(super) scheme: Scheme,
}

impl Asked {
    /// For a reply of our own.
    pub(super) fn asked(&self) -> reply::Asked<'_> {
        reply::Asked {
            request_id: self.request_id.as_str(),
            wants_json: wants_json(&self.head),
            scheme: self.scheme,
            hsts: self.hsts,
        }
    }

    /// For a fetch.
    pub(super) fn order(
        &self,
        connection: &Connection,
        snapshot: &Arc<Snapshot>,
        fetch: Fetch,
    ) -> Order {
        let fields: HeaderMap = self.head.to_map();
        Order {
            fetch,
            snapshot: Arc::clone(snapshot),
            method: self.head.method().clone(),
            shows_key: self.trusted && fields.contains_key(DHAL_DEBUG),
            fields,
            client: self.client,
            peer: connection.peer.ip(),
            trusted: self.trusted,
            scheme: connection.scheme,
            request_id: self.request_id.as_str().to_owned(),
            began: self.now,
        }
    }

    /// What is told of it in any case.
    pub(super) fn blank(&self) -> Record<'_> {
        Record {
            began: self.now,
            duration: Duration::ZERO,
            client: self.client,
            protocol: Protocol::Http2,
            method: self.head.method(),
            host: self.head.authority(),
            target: self.head.target(),
            status: 0,
            bytes: 0,
            route: None,
            outcome: Outcome::None,
            upstream: None,
            upstream_time: None,
            attempts: 0,
            retried: None,
            request_id: self.request_id.as_str(),
            limit: None,
            room: None,
            reason: None,
            fields: Some(&self.head),
            client_cert: None,
        }
    }

    /// Tells of it; `now` is the time since the process began.
    pub(super) fn tell(
        &self,
        hall: &Hall,
        connection: &Connection,
        now: Duration,
        record: &Record<'_>,
    ) {
        hall.shared.finish(&Record {
            duration: now.saturating_sub(self.now.tick),
            client_cert: connection.client_cert(),
            ..*record
        });
    }
}
