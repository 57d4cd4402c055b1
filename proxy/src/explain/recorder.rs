//! Goes along with a decision, counts nothing, and remembers what it meets.

use std::{sync::Arc, time::Duration};

use http_caching::{Fields, Reuse};

use crate::{
    admit::{
        key::Asked,
        lists::AddressList,
        rate::{self, Left, Outcome},
        state::LimitState,
        waiting_room::{Notice, Pass, WaitingRoom},
    },
    cache::{Found, Store, Stored},
    config::model::{LimitAction, LimitCount},
    edge::{
        RequestView,
        decide::Now,
        decision::ForwardReason,
        observer::{Observer, Step, Why},
    },
    observe::limit_metrics::Kept,
    shared::Shared,
    snapshot::Route,
};

/// What a decision has met.
#[derive(Default)]
pub(super) struct Recorder {
    pub(super) target: Option<String>,
    pub(super) authority: Option<String>,
    pub(super) route: Option<Arc<Route>>,
    pub(super) kept: Option<(&'static str, Kept)>,
    pub(super) rules: Vec<Rule>,
    pub(super) room: Option<(Arc<WaitingRoom>, &'static str)>,
    pub(super) window: Option<Duration>,
    pub(super) passed: Option<Why>,
    pub(super) key: Option<Vec<u8>>,
    pub(super) uri_length: usize,
    pub(super) judged: Option<(Stored, Reuse)>,
    pub(super) missed: Option<ForwardReason>,
}

/// A rule that was asked.
pub(super) struct Rule {
    pub(super) name: &'static str,
    pub(super) count: LimitCount,
    pub(super) action: LimitAction,
    pub(super) by: String,
    /// What the visitor has left before this request; or the list by which it is not counted.
    pub(super) left: Result<Left, &'static str>,
    /// What the rule says by itself.
    pub(super) state: Option<LimitState>,
    /// Another one has refused the request before.
    pub(super) is_skipped: bool,
}

impl Observer for Recorder {
    fn kept_out(&mut self, _: &Shared, list: &AddressList, why: Kept) {
        self.kept = Some((list.name, why));
    }

    fn count(
        &mut self,
        route: &Route,
        count: LimitCount,
        asked: &Asked<'_>,
        now: Duration,
        before: u64,
    ) -> Outcome {
        let copies: Vec<_> = route.limits.iter().map(|rule| rule.copied(asked)).collect();
        let mut is_refused = false;
        for (rule, copy) in route.limits.iter().zip(&copies) {
            if rule.count != count {
                continue;
            }
            let left = copy.left(asked, now).map_err(|list| list.name);
            let said = rule.copied(asked).check(asked, now);
            let state = said.map(|checked| checked.state);
            let refuses = state.as_ref().is_some_and(LimitState::refuses);
            self.rules.push(Rule {
                name: rule.name,
                count,
                action: rule.action,
                by: rule.counted_by(asked),
                left,
                state,
                is_skipped: is_refused,
            });
            is_refused |= refuses;
        }
        rate::check_all(&copies, count, asked, now, before)
    }

    fn find(&mut self, store: &Store, key: &[u8], fields: &dyn Fields) -> Found {
        store.look(key, fields)
    }

    fn is_too_large(&mut self, store: &Store, key: &[u8]) -> bool {
        store.looks_too_large(key)
    }

    fn hit(&mut self, _: &Stored) {}

    fn enter(
        &mut self,
        room: &Arc<WaitingRoom>,
        request: &RequestView<'_>,
        now: Now,
    ) -> Result<Pass, Notice> {
        let entered = room.copied().check(request, now.tick);
        let note = match &entered {
            Ok(pass) => pass.note(),
            Err(notice) => notice.note(),
        };
        self.room = Some((Arc::clone(room), note.state));
        entered
    }

    fn ask(&mut self, room: &Arc<WaitingRoom>, request: &RequestView<'_>, now: Now) -> Notice {
        let notice = room.copied().look(request, now.tick);
        self.room = Some((Arc::clone(room), notice.note().state));
        notice
    }

    fn tells(&mut self, step: Step<'_>) {
        match step {
            Step::Normalised(target, authority) => {
                self.target = Some(target.whole.clone().into_owned());
                self.authority = Some(authority.to_owned());
            }
            Step::Routed(route) => self.route = Some(Arc::clone(route)),
            Step::Window(window) => self.window = Some(window),
            Step::Passed(why) => self.passed = Some(why),
            Step::Keyed(key) => {
                self.uri_length = key.uri_length;
                self.key = Some(key.bytes.clone());
            }
            Step::Judged(stored, reuse) => self.judged = Some((stored.clone(), *reuse)),
            Step::Missed(reason) => self.missed = Some(reason),
        }
    }
}
