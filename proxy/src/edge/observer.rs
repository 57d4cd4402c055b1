//! Who goes along with a decision: a visit, which counts wherever it comes, or somebody who only wants to know how the
//! decision comes about, and leaves everything as it was.
//!
//! All that a decision changes goes through here, so that there is one decision for both.

use std::{sync::Arc, time::Duration};

use http_caching::{Fields, Reuse};

use super::{RequestView, decide::Now, decision::ForwardReason, keyed::Key, path::Target};
use crate::{
    admit::{
        key::Asked,
        lists::AddressList,
        rate::{self, Outcome},
        waiting_room::{Notice, Pass, WaitingRoom},
    },
    cache::{Found, Store, Stored},
    config::model::LimitCount,
    observe::limit_metrics::Kept,
    shared::Shared,
    snapshot::Route,
};

/// Goes along with one decision. What [`tells`](Self::tells) gets is made of references, and costs nothing where nobody
/// listens.
pub(crate) trait Observer {
    /// An address list keeps the client out.
    fn kept_out(&mut self, shared: &Shared, list: &AddressList, why: Kept);

    /// Rules count the request.
    fn count(
        &mut self,
        route: &Route,
        count: LimitCount,
        asked: &Asked<'_>,
        now: Duration,
        before: u64,
    ) -> Outcome;

    /// The store is asked.
    fn find(&mut self, store: &Store, key: &[u8], fields: &dyn Fields) -> Found;

    /// Whether it is for its size alone that a response is not stored.
    fn is_too_large(&mut self, store: &Store, key: &[u8]) -> bool;

    /// A stored response answers.
    fn hit(&mut self, stored: &Stored);

    /// A visitor comes to a waiting room.
    fn enter(
        &mut self,
        room: &Arc<WaitingRoom>,
        request: &RequestView<'_>,
        now: Now,
    ) -> Result<Pass, Notice>;

    /// A visitor asks a waiting room where it stands.
    fn ask(&mut self, room: &Arc<WaitingRoom>, request: &RequestView<'_>, now: Now) -> Notice;

    /// How the decision comes about.
    fn tells(&mut self, step: Step<'_>);
}

/// A step of a decision.
pub(crate) enum Step<'a> {
    /// The one spelling of the target, and of the authority.
    Normalised(&'a Target<'a>, &'a str),
    /// The route that takes the request.
    Routed(&'a Arc<Route>),
    /// No server can answer: what is stored answers for so much longer.
    Window(Duration),
    /// The store has no part in the answer.
    Passed(Why),
    /// Under which key the store is asked.
    Keyed(&'a Key),
    /// Something is stored that fits, and what may be done with it.
    Judged(&'a Stored, &'a Reuse),
    /// Nothing is stored that fits.
    Missed(ForwardReason),
}

/// Why the store has no part in an answer, or less than it might.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// The route has no policy.
    NoPolicy,
    /// Only answers to GET and HEAD are stored.
    Method,
    /// Content, conditions, an upgrade, or fields that `Connection` takes away.
    OriginOnly,
    /// The visitor says `no-store`, and is heard.
    NoStore,
    /// A cookie says that the page is somebody's own.
    BypassCookie,
    /// A password or a certificate, and nothing stored that may be shared with such.
    Credentials,
    /// The last answer could not be shared.
    Uncacheable,
}

impl Why {
    /// As the answer of `POST /explain` has it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::NoPolicy => "no-policy",
            Self::Method => "method",
            Self::OriginOnly => "origin-only",
            Self::NoStore => "no-store",
            Self::BypassCookie => "bypass-cookie",
            Self::Credentials => "credentials",
            Self::Uncacheable => "uncacheable",
        }
    }
}

/// A request that visitors make.
pub(crate) struct Visit;

impl Observer for Visit {
    fn kept_out(&mut self, _: &Shared, list: &AddressList, why: Kept) {
        list.counts.inc(why);
    }

    fn count(
        &mut self,
        route: &Route,
        count: LimitCount,
        asked: &Asked<'_>,
        now: Duration,
        before: u64,
    ) -> Outcome {
        rate::check_all(&route.limits, count, asked, now, before)
    }

    fn find(&mut self, store: &Store, key: &[u8], fields: &dyn Fields) -> Found {
        store.find(key, fields)
    }

    fn is_too_large(&mut self, store: &Store, key: &[u8]) -> bool {
        store.is_too_large(key)
    }

    fn hit(&mut self, stored: &Stored) {
        stored.count_hit();
    }

    fn enter(
        &mut self,
        room: &Arc<WaitingRoom>,
        request: &RequestView<'_>,
        now: Now,
    ) -> Result<Pass, Notice> {
        room.check(request, now.tick)
    }

    fn ask(&mut self, room: &Arc<WaitingRoom>, request: &RequestView<'_>, now: Now) -> Notice {
        room.look(request, now.tick)
    }

    #[inline(always)]
    fn tells(&mut self, _: Step<'_>) {}
}
