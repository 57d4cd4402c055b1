//! One visitor, from coming to leaving.

mod asks;

use std::{
    cell::{Cell, RefCell},
    net::Ipv4Addr,
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::{task::JoinSet, time::timeout_at};

use crate::{
    browser::{Answer, Ask, Browser},
    catalog::Catalog,
    clock::Clock,
    connect::{Protocol, Target},
    cookies::Cookies,
    fate::Fate,
    html,
    judge::{Business, judge},
    plan::{Action, Choices, Planned},
    random::Dice,
    record::{Buyer, Record, Settled, Stored},
    room::{self, Told},
    scenario::Scenario,
};

/// What all visitors of a run share.
pub(crate) struct Stage {
    pub(crate) scenario: Scenario,
    pub(crate) catalog: Catalog,
    pub(crate) choices: Choices,
    pub(crate) target: Rc<Target>,
    pub(crate) clock: Rc<Clock>,
    pub(crate) record: RefCell<Record>,
    /// After this nothing is begun.
    pub(crate) end: Cell<Instant>,
    /// Visitors who have come and not gone, and how many of them are in a waiting room.
    pub(crate) inside: Cell<usize>,
    pub(crate) waiting: Cell<usize>,
    /// What went wrong with the generator itself, such as books that cannot be kept.
    pub(crate) trouble: RefCell<Option<anyhow::Error>>,
}

/// Who comes.
pub(crate) struct Ticket {
    /// Of all visitors; makes his name one of its own.
    pub(crate) number: u64,
    /// Position of his kind.
    pub(crate) kind: usize,
    pub(crate) protocol: Protocol,
    pub(crate) from: Ipv4Addr,
    pub(crate) arrival: Instant,
}

/// A visitor.
struct Visit {
    stage: Rc<Stage>,
    ticket: Ticket,
    browser: Browser,
    cookies: Cookies,
    business: RefCell<Business>,
    /// What his browser keeps: addresses of pictures and style sheets it has.
    kept: RefCell<Vec<Action>>,
}

/// What a visitor has been through.
#[derive(Default)]
struct Story {
    /// How much later than planned he does things, because he had to wait.
    behind: Duration,
    /// He was in a waiting room, and got out of it.
    was_admitted: bool,
    /// He was let through to the shop, with or without waiting.
    was_inside: bool,
    /// What a buyer failed by.
    stopped: Option<Fate>,
    has_ordered: bool,
}

/// How a step ended.
enum Ended {
    /// Answered, or failed; in any case he goes on.
    Settled(Fate, Option<Answer>),
    /// He left while he waited, or the run ended meanwhile.
    GaveUp,
    StillWaiting,
    /// He was refused too often.
    Refused(Fate),
    /// The run ended before it could be asked for again.
    Over,
}

/// Does what was planned, and what a browser does along with it. Who calls it has counted the visitor as inside.
pub(crate) async fn visit(stage: Rc<Stage>, ticket: Ticket, mut dice: Dice) {
    let kind = &stage.scenario.visitors[ticket.kind];
    let plan = stage.choices.plan(kind, &stage.catalog, &mut dice);
    let visit = Rc::new(Visit {
        browser: Browser::new(Rc::clone(&stage.target), ticket.protocol, ticket.from),
        cookies: Cookies::default(),
        business: RefCell::new(Business {
            name: format!("Visitor {}", ticket.number),
            ..Business::default()
        }),
        kept: RefCell::default(),
        stage: Rc::clone(&stage),
        ticket,
    });
    let mut assets = JoinSet::new();
    let mut answered = visit.ticket.arrival;
    let mut story = Story::default();
    let mut end = Buyer::UnderWay;
    for planned in &plan {
        // At the later of its plan and its predecessor's answer.
        let due = (visit.ticket.arrival + planned.at + story.behind).max(answered);
        if due >= stage.end.get() {
            break;
        }
        stage.clock.until(due).await;
        if Instant::now() >= stage.end.get() + stage.scenario.timeout.0 {
            break;
        }
        let ended = visit.step(planned, due, &mut story).await;
        answered = Instant::now();
        match ended {
            None => {}
            Some(Ended::Settled(fate, answer)) => {
                story.take(&planned.action, fate);
                if let Some(answer) = answer {
                    visit.load_assets(planned, &answer, &mut assets, answered);
                }
            }
            Some(Ended::Over) => break,
            Some(Ended::Refused(fate)) => {
                story.stopped.get_or_insert(fate);
                break;
            }
            Some(Ended::GaveUp | Ended::StillWaiting) if story.was_inside => {
                end = Buyer::SentBack;
                break;
            }
            Some(Ended::GaveUp) => {
                end = Buyer::GaveUp;
                break;
            }
            Some(Ended::StillWaiting) => {
                end = Buyer::StillWaiting;
                break;
            }
        }
    }
    while assets.join_next().await.is_some() {}
    stage.inside.set(stage.inside.get() - 1);
    let mut record = stage.record.borrow_mut();
    record.connections += visit.browser.connections.get();
    record.repeated += visit.browser.repeated.get();
    let is_buyer = plan
        .iter()
        .any(|planned| planned.action == Action::Checkout);
    if is_buyer && !stage.scenario.visitors[visit.ticket.kind].unwelcome {
        let end = match story.stopped {
            _ if story.has_ordered => Buyer::Finished,
            Some(fate) => Buyer::Stopped(fate),
            None => end,
        };
        record.buyer(end);
    }
}

impl Story {
    /// A step is settled.
    fn take(&mut self, action: &Action, fate: Fate) {
        self.was_inside |= !matches!(fate, Fate::Waiting | Fate::PlaceRose);
        self.has_ordered |= *action == Action::Checkout && fate == Fate::Right;
        // Without any of these there is no order.
        let is_needed = matches!(
            action,
            Action::Add(_) | Action::CheckoutForm | Action::Checkout
        );
        if is_needed && fate != Fate::Right {
            self.stopped.get_or_insert(fate);
        }
    }
}

impl Visit {
    /// Does a step: asks, waits where he is told to, and asks again. None where there is nothing to ask for.
    async fn step(&self, planned: &Planned, due: Instant, story: &mut Story) -> Option<Ended> {
        let stage = &self.stage;
        let kind = &stage.scenario.visitors[self.ticket.kind];
        // Nobody has a place in a queue who does not keep its ticket.
        let waits = kind.cookies && !kind.unwelcome;
        let retries = stage.scenario.retries.filter(|_| !kind.unwelcome);
        let mut refused = 0;
        let mut refused_since = None;
        let mut wait: Option<Wait<'_>> = None;
        let mut asked_at = due;
        loop {
            let ask = self.ask(&planned.action)?;
            let (mut fate, answer) = self.sent(planned, &ask, asked_at).await;
            let told = answer.as_ref().and_then(Told::of);
            if let Some(told) = told.filter(|_| waits) {
                let wait = wait.get_or_insert_with(|| {
                    stage.record.borrow_mut().wait_begins(story.was_admitted);
                    Wait::begin(stage, asked_at)
                });
                if wait.last.as_ref().is_some_and(|last| last.has_risen(&told)) {
                    fate = Fate::PlaceRose;
                }
                wait.last = Some(told);
            } else if let Some(admitted) = wait.take_if(|_| !is_sent_off(fate)) {
                let since = admitted.since;
                drop(admitted);
                stage.record.borrow_mut().wait_ends(asked_at - since);
                story.was_admitted = true;
            }
            self.settle(planned, &ask, fate, answer.as_ref(), asked_at);
            let is_to_come_again = match fate {
                Fate::Waiting | Fate::PlaceRose => waits,
                // He was not let in by an answer that failed.
                _ if wait.is_some() => true,
                _ if fate.is_refusal() => match retries {
                    Some(most) if refused >= most => return Some(Ended::Refused(fate)),
                    retries => {
                        refused += 1;
                        refused_since.get_or_insert(asked_at);
                        retries.is_some()
                    }
                },
                _ => false,
            };
            if !is_to_come_again {
                return Some(Ended::Settled(fate, answer.filter(|_| fate == Fate::Right)));
            }
            let pause = answer.map_or(room::PAUSE, |answer| room::pause(&answer.fields));
            let next = Instant::now() + pause;
            if let Some(wait) = &wait {
                if next - wait.since > stage.scenario.patience.0 {
                    stage.record.borrow_mut().gave_up += 1;
                    return Some(Ended::GaveUp);
                }
                if next >= stage.end.get() {
                    // He stays to the end, and is counted among those inside until then.
                    stage.clock.until(stage.end.get()).await;
                    stage.record.borrow_mut().still_waiting += 1;
                    return Some(Ended::StillWaiting);
                }
            }
            // Who is refused is as patient as who waits in a room.
            if refused_since.is_some_and(|since| next - since > stage.scenario.patience.0) {
                return Some(Ended::Refused(fate));
            }
            if next >= stage.end.get() {
                return Some(Ended::Over);
            }
            stage.clock.until(next).await;
            story.behind += next - asked_at;
            asked_at = next;
        }
    }

    /// Sends a request and judges the answer.
    async fn sent(&self, planned: &Planned, ask: &Ask, due: Instant) -> (Fate, Option<Answer>) {
        let stage = &self.stage;
        let begun = Instant::now();
        stage.record.borrow_mut().begin(begun, begun - due);
        // Who abandons counts from when he began, or else nothing would be asked at all where the generator is late.
        let patience = due + stage.scenario.timeout.0;
        let deadline = planned
            .abandon
            .map_or(patience, |after| patience.min(begun + after));
        let sent = timeout_at(deadline.into(), self.browser.send(ask)).await;
        match sent {
            Err(_) if planned.abandon.is_some() => (Fate::Abandoned, None),
            Err(_) => (Fate::TimedOut, None),
            Ok(Err(fate)) => (fate, None),
            Ok(Ok(answer)) => {
                if stage.scenario.visitors[self.ticket.kind].cookies {
                    self.cookies.keep(&answer.fields, |_| true);
                }
                let mut business = self.business.borrow_mut();
                let fate = match Told::of(&answer) {
                    Some(_) => Fate::Waiting,
                    None => judge(&planned.action, &answer, &stage.catalog, &mut business),
                };
                (fate, Some(answer))
            }
        }
    }

    /// Writes down what became of a request.
    fn settle(
        &self,
        planned: &Planned,
        ask: &Ask,
        fate: Fate,
        answer: Option<&Answer>,
        due: Instant,
    ) {
        let stage = &self.stage;
        let now = Instant::now();
        let mut record = stage.record.borrow_mut();
        if fate == Fate::Right
            && matches!(planned.action, Action::Checkout | Action::ApiOrder(_))
            && let Some(number) = &self.business.borrow().order
        {
            record.order(number);
        }
        let settled = Settled {
            step: planned.action.name(),
            protocol: self.ticket.protocol,
            kind: self.ticket.kind,
            is_safe: planned.action.is_safe(),
            target: &ask.target,
            fate,
            stored: answer.map_or(Stored::Untold, |answer| Stored::of(&answer.fields)),
            latency: now - due,
        };
        if let Err(error) = record.settle(now, &settled) {
            stage.trouble.borrow_mut().get_or_insert(error);
        }
    }

    /// Begins to load what a browser shows with a page. Nobody waits for it with his next step.
    fn load_assets(
        self: &Rc<Self>,
        page: &Planned,
        answer: &Answer,
        assets: &mut JoinSet<()>,
        due: Instant,
    ) {
        let scenario = &self.stage.scenario;
        if !scenario.visitors[self.ticket.kind].assets || !page.action.is_page() {
            return;
        }
        let pictures = html::pictures(&answer.body, scenario.images_per_page)
            .into_iter()
            .filter_map(|slug| self.stage.catalog.position(slug))
            .map(Action::Image);
        for action in [Action::StyleSheet].into_iter().chain(pictures) {
            let mut kept = self.kept.borrow_mut();
            if kept.contains(&action) {
                continue;
            }
            kept.push(action.clone());
            let visit = Rc::clone(self);
            assets.spawn_local(async move {
                let planned = Planned {
                    at: Duration::ZERO,
                    action,
                    abandon: None,
                };
                if let Some(ask) = visit.ask(&planned.action) {
                    let (fate, answer) = visit.sent(&planned, &ask, due).await;
                    visit.settle(&planned, &ask, fate, answer.as_ref(), due);
                }
            });
        }
    }
}

/// Whether this is neither an answer nor a place in a queue.
fn is_sent_off(fate: Fate) -> bool {
    fate.is_failure() || fate.is_refusal()
}

/// Somebody in a waiting room.
struct Wait<'a> {
    stage: &'a Stage,
    since: Instant,
    last: Option<Told>,
}

impl<'a> Wait<'a> {
    fn begin(stage: &'a Stage, since: Instant) -> Self {
        stage.waiting.set(stage.waiting.get() + 1);
        Self {
            stage,
            since,
            last: None,
        }
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.stage.waiting.set(self.stage.waiting.get() - 1);
    }
}
