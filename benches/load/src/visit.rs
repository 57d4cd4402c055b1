//! One visitor, from coming to leaving.

use std::{
    cell::{Cell, RefCell},
    net::Ipv4Addr,
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, header};
use tokio::{task::JoinSet, time::timeout_at};

use crate::{
    browser::{Answer, Ask, Browser},
    catalog::Catalog,
    clock::Clock,
    connect::{Protocol, Target},
    fate::Fate,
    html,
    judge::{Business, judge},
    plan::{Action, Choices, Planned},
    random::Dice,
    record::{Record, Settled, Stored},
    scenario::Scenario,
};

/// Cookies that a visitor keeps at most.
const COOKIES_MAX: usize = 16;

const FORM: &str = "application/x-www-form-urlencoded";

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
    pub(crate) inside: Cell<usize>,
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
    cookies: RefCell<Vec<(String, String)>>,
    business: RefCell<Business>,
    /// What his browser keeps: addresses of pictures and style sheets it has.
    kept: RefCell<Vec<Action>>,
}

/// Does what was planned, and what a browser does along with it. Who calls it has counted the visitor as inside.
pub(crate) async fn visit(stage: Rc<Stage>, ticket: Ticket, mut dice: Dice) {
    let kind = &stage.scenario.visitors[ticket.kind];
    let plan = stage.choices.plan(kind, &stage.catalog, &mut dice);
    let visit = Rc::new(Visit {
        browser: Browser::new(Rc::clone(&stage.target), ticket.protocol, ticket.from),
        cookies: RefCell::default(),
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
    for planned in &plan {
        // At the later of its plan and its predecessor's answer.
        let due = (visit.ticket.arrival + planned.at).max(answered);
        if due >= stage.end.get() {
            break;
        }
        stage.clock.until(due).await;
        if Instant::now() >= stage.end.get() + stage.scenario.timeout.0 {
            break;
        }
        let Some(ask) = visit.ask(&planned.action) else {
            continue;
        };
        let found = visit.request(planned, &ask, due).await;
        answered = Instant::now();
        if let Some(answer) = found {
            visit.load_assets(planned, &answer, &mut assets, answered);
        }
    }
    while assets.join_next().await.is_some() {}
    stage.inside.set(stage.inside.get() - 1);
    let mut record = stage.record.borrow_mut();
    record.connections += visit.browser.connections.get();
    record.repeated += visit.browser.repeated.get();
}

impl Visit {
    /// Sends a request, judges the answer and writes it down. Returns what was right.
    async fn request(&self, planned: &Planned, ask: &Ask, due: Instant) -> Option<Answer> {
        let stage = &self.stage;
        let begun = Instant::now();
        stage.record.borrow_mut().begin(begun, begun - due);
        // Who abandons counts from when he began, or else nothing would be asked at all where the generator is late.
        let patience = due + stage.scenario.timeout.0;
        let deadline = planned
            .abandon
            .map_or(patience, |after| patience.min(begun + after));
        let sent = timeout_at(deadline.into(), self.browser.send(ask)).await;
        let now = Instant::now();
        let (fate, answer) = match sent {
            Err(_) if planned.abandon.is_some() => (Fate::Abandoned, None),
            Err(_) => (Fate::TimedOut, None),
            Ok(Err(fate)) => (fate, None),
            Ok(Ok(answer)) => {
                self.keep_cookies(&answer);
                let mut business = self.business.borrow_mut();
                let fate = judge(&planned.action, &answer, &stage.catalog, &mut business);
                (fate, Some(answer))
            }
        };
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
            stored: answer
                .as_ref()
                .map_or(Stored::Untold, |answer| Stored::of(&answer.fields)),
            latency: now - due,
        };
        if let Err(error) = record.settle(now, &settled) {
            stage.trouble.borrow_mut().get_or_insert(error);
        }
        answer.filter(|_| fate == Fate::Right)
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
                    visit.request(&planned, &ask, due).await;
                }
            });
        }
    }

    /// The request of a step; none where an earlier one did not give what it takes, such as the form to send.
    fn ask(&self, action: &Action) -> Option<Ask> {
        let catalog = &self.stage.catalog;
        let slug = |product: &usize| catalog.products[*product].slug.as_str();
        let business = self.business.borrow();
        let get = |target: String| (Method::GET, target, None);
        let post = |target: &str, kind, body| (Method::POST, target.to_owned(), Some((kind, body)));
        let paged = |path: &str, page: &usize| match page {
            1 => path.to_owned(),
            page => format!("{path}?page={page}"),
        };
        let (method, target, content) = match action {
            Action::Home => get("/".to_owned()),
            Action::Products(page) => get(paged("/products", page)),
            Action::Category(category) => {
                get(format!("/categories/{}", catalog.categories[*category]))
            }
            Action::Product(product) => get(format!("/products/{}", slug(product))),
            Action::Search(words) => {
                let mut target = "/search?q=".to_owned();
                html::encode(words, &mut target);
                get(target)
            }
            Action::Cart => get("/cart".to_owned()),
            Action::CheckoutForm => get("/checkout".to_owned()),
            Action::StyleSheet => get(catalog.style_sheet.clone()),
            Action::Image(product) => get(format!("/images/{}.png", slug(product))),
            Action::ApiProducts(page) => get(paged("/api/products", page)),
            Action::ApiProduct(product) => get(format!("/api/products/{}", slug(product))),
            Action::Get(path) => get(path.clone()),
            Action::Order => get(format!("/orders/{}", business.order.as_ref()?)),
            Action::Add(product) => {
                let form = html::form(&[("product", slug(product)), ("quantity", "1")]);
                post("/cart/add", FORM, form)
            }
            Action::Checkout => {
                let (key, total) = business.form.as_ref()?;
                let form = html::form(&[
                    ("csrf", business.csrf.as_ref()?),
                    ("key", key),
                    ("total", total),
                    ("name", &business.name),
                    ("phone", "01712345678"),
                    ("address", "House 7, Road 5, Dhanmondi, Dhaka"),
                ]);
                post("/checkout", FORM, form)
            }
            Action::ApiCart(product) => {
                let body = serde_json::json!({ "slug": slug(product) });
                post("/api/cart", "application/json", body.to_string())
            }
            Action::ApiOrder(product) => {
                let body = serde_json::json!({
                    "customer": {
                        "name": business.name,
                        "phone": "01712345678",
                        "address": "House 7, Road 5, Dhanmondi, Dhaka",
                    },
                    "items": [{ "slug": slug(product), "quantity": 1 }],
                });
                post("/api/orders", "application/json", body.to_string())
            }
        };
        let mut fields = self.fields(action);
        let body = content.map_or_else(Bytes::new, |(kind, body)| {
            fields.push((header::CONTENT_TYPE, HeaderValue::from_static(kind)));
            Bytes::from(body)
        });
        Some(Ask {
            method,
            target,
            fields,
            body,
        })
    }

    fn fields(&self, action: &Action) -> Vec<(HeaderName, HeaderValue)> {
        let accept = match action {
            Action::Image(_) => "image/avif,image/webp,image/png,*/*;q=0.8",
            Action::StyleSheet => "text/css,*/*;q=0.1",
            Action::ApiProducts(_)
            | Action::ApiProduct(_)
            | Action::ApiCart(_)
            | Action::ApiOrder(_) => "application/json",
            _ => "text/html,application/xhtml+xml,*/*;q=0.8",
        };
        let mut fields = vec![
            (
                header::USER_AGENT,
                HeaderValue::from_static("Mozilla/5.0 (X11; Linux x86_64) dhal-load"),
            ),
            (header::ACCEPT, HeaderValue::from_static(accept)),
            (
                header::ACCEPT_LANGUAGE,
                HeaderValue::from_static("bn-BD,bn;q=0.9,en;q=0.8"),
            ),
            (
                HeaderName::from_static("sec-fetch-site"),
                HeaderValue::from_static("same-origin"),
            ),
        ];
        let cookies = self.cookies.borrow();
        let pairs: Vec<String> = cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        if !pairs.is_empty()
            && let Ok(value) = HeaderValue::try_from(pairs.join("; "))
        {
            fields.push((header::COOKIE, value));
        }
        fields
    }

    fn keep_cookies(&self, answer: &Answer) {
        if !self.stage.scenario.visitors[self.ticket.kind].cookies {
            return;
        }
        let mut cookies = self.cookies.borrow_mut();
        for value in answer.fields.get_all(header::SET_COOKIE) {
            let pair = value.to_str().ok().and_then(|text| text.split(';').next());
            let Some((name, value)) = pair.and_then(|pair| pair.split_once('=')) else {
                continue;
            };
            cookies.retain(|(known, _)| known != name);
            if cookies.len() < COOKIES_MAX {
                cookies.push((name.to_owned(), value.to_owned()));
            }
        }
    }
}
