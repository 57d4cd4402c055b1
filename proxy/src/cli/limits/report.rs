//! What is said: the peaks of each route, a proposal, and whom it would have refused.

mod text;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, HashSet},
    io,
    time::{Duration, UNIX_EPOCH},
};

use serde::Serialize;

use super::{
    demand::{self, Demand, Pace, WINDOWS_MS},
    keys::{Client, Keys},
    spool::Spool,
};
use crate::observe::process_log::timestamp;

/// Clients that are shown one by one.
const WORST: usize = 10;

/// Nobody is held to less: a person who reloads a few times, or opens ten tabs, is no flood.
const RATE_MIN_PER_MINUTE: u32 = 10;
const BURST_MIN: u32 = 10;

/// From here on rates are written per second: a hundredth of a minute's does no harm then.
const PER_SECOND_FROM: u32 = 600;

/// `max_keys` where the configuration says nothing.
const MAX_KEYS_DEFAULT: usize = 100_000;

/// What was asked for.
#[derive(Debug, Serialize)]
pub(super) struct Asked {
    pub(super) percentile: f64,
    pub(super) headroom: f64,
    pub(super) key: &'static str,
    pub(super) max_keys: u32,
}

/// Lines that are not in the figures.
#[derive(Debug, Serialize)]
pub(super) struct PassedOver {
    /// No JSON of an access log.
    pub(super) broken_lines: u64,
    /// More than a minute out of order.
    pub(super) late_lines: u64,
    pub(super) requests_without_route: u64,
    pub(super) requests_beyond_max_keys: u64,
}

/// Everything that is said.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) seconds: f64,
    pub(super) requests: u64,
    pub(super) clients: usize,
    pub(super) asked: Asked,
    pub(super) passed_over: PassedOver,
    pub(super) routes: Vec<RouteReport>,
    /// What limits that were in force did.
    pub(super) limits: Vec<LimitReport>,
    /// To be pasted into the configuration.
    pub(super) toml: String,
}

#[derive(Debug, Serialize)]
pub(super) struct RouteReport {
    pub(super) route: String,
    pub(super) requests: u64,
    pub(super) clients: usize,
    /// The most that one client asked for within a window.
    pub(super) peaks: Vec<Peaks>,
    pub(super) proposal: Proposal,
    /// What the proposal would have refused.
    pub(super) refused_requests: u64,
    pub(super) refused_clients: usize,
    pub(super) worst: Vec<ClientReport>,
}

#[derive(Debug, Serialize)]
pub(super) struct Peaks {
    pub(super) window_seconds: u64,
    pub(super) half_of_clients: u32,
    pub(super) percentile_of_clients: u32,
    pub(super) greediest_client: u32,
}

#[derive(Debug, Serialize)]
pub(super) struct Proposal {
    /// Name of the limit.
    pub(super) name: String,
    pub(super) rate: String,
    pub(super) burst: u32,
    #[serde(skip)]
    pace: Pace,
}

#[derive(Debug, Serialize)]
pub(super) struct ClientReport {
    pub(super) client: String,
    pub(super) requests: u64,
    /// What the proposal would have refused it.
    pub(super) refused: u32,
    /// Most requests in 1, 10 and 60 seconds.
    pub(super) peaks: [u32; 3],
    pub(super) statuses: BTreeMap<u16, u64>,
}

#[derive(Debug, Serialize)]
pub(super) struct LimitReport {
    pub(super) limit: String,
    /// As it stands in the log, such as `rejected`.
    pub(super) verdict: String,
    pub(super) requests: u64,
    pub(super) clients: usize,
    pub(super) worst: Vec<(String, u64)>,
}

/// What limits that were in force said of clients.
pub(super) struct Verdicts {
    /// By rule and verdict.
    all: BTreeMap<(String, String), HashMap<Client, u64, ahash::RandomState>>,
    left: usize,
}

impl Verdicts {
    pub(super) fn new(max: usize) -> Self {
        Self {
            all: BTreeMap::new(),
            left: max,
        }
    }

    /// Counts what a rule said, unless it let the request pass.
    pub(super) fn count(&mut self, rule: &str, verdict: &str, client: Client) {
        if verdict == "admitted" {
            return;
        }
        let pair = (rule.to_owned(), verdict.to_owned());
        if self.left == 0 {
            // No room for newcomers.
            if let Some(known) = self.all.get_mut(&pair).and_then(|c| c.get_mut(&client)) {
                *known += 1;
            }
            return;
        }
        let clients = self.all.entry(pair).or_default();
        let before = clients.len();
        *clients.entry(client).or_default() += 1;
        self.left -= clients.len() - before;
    }

    fn reports(&self, keys: &Keys) -> Vec<LimitReport> {
        let report = |((rule, verdict), clients): (&(String, String), &HashMap<_, u64, _>)| {
            let mut worst: Vec<(Client, u64)> = clients.iter().map(|(c, n)| (*c, *n)).collect();
            worst.sort_unstable_by_key(|(client, count)| (Reverse(*count), *client));
            worst.truncate(WORST);
            LimitReport {
                limit: rule.clone(),
                verdict: verdict.clone(),
                requests: clients.values().sum(),
                clients: clients.len(),
                worst: worst
                    .into_iter()
                    .map(|(client, count)| (keys.shown(client), count))
                    .collect(),
            }
        };
        self.all.iter().map(report).collect()
    }
}

impl Report {
    /// Counts, proposes, and tries the proposal on what was counted.
    pub(super) fn of(
        keys: &Keys,
        spool: &Spool,
        verdicts: &Verdicts,
        passed_over: PassedOver,
        asked: Asked,
    ) -> io::Result<Self> {
        let demands = demand::demands(spool, keys)?;
        let mut of_route: Vec<Vec<u32>> = vec![Vec::new(); keys.routes().len()];
        for key in 0..keys.len() as u32 {
            // Those of whom nothing but late lines were read asked for nothing.
            if demands[key as usize].requests > 0 {
                of_route[keys.route_of(key)].push(key);
            }
        }
        let mut proposals = propose(keys, spool, &demands, &of_route, &asked)?;
        let paces: Vec<Pace> = proposals.iter().map(|proposal| proposal.pace).collect();
        let refused = demand::refusals(spool, keys, &paces)?;

        let worst = of_route.iter().map(|clients| {
            let mut clients = clients.clone();
            clients.sort_unstable_by_key(|key| {
                let demand = &demands[*key as usize];
                (
                    Reverse(refused[*key as usize]),
                    Reverse(demand.peaks[2]),
                    Reverse(demand.requests),
                    keys.client_of(*key),
                )
            });
            clients.truncate(WORST);
            clients
        });
        let worst: Vec<Vec<u32>> = worst.collect();
        let mut statuses: HashMap<u32, BTreeMap<u16, u64>> = HashMap::new();
        statuses.extend(worst.iter().flatten().map(|key| (*key, BTreeMap::new())));
        let (mut first, mut last) = (None, 0);
        spool.for_each(|seen| {
            first.get_or_insert(seen.time_ms);
            last = seen.time_ms;
            if let Some(counts) = statuses.get_mut(&seen.key) {
                *counts.entry(seen.status).or_default() += 1;
            }
        })?;
        let first = first.unwrap_or_default();

        let mut routes = Vec::new();
        for (route, clients) in of_route.iter().enumerate().rev() {
            let Some(proposal) = proposals.pop() else {
                break;
            };
            if clients.is_empty() {
                continue;
            }
            let sum =
                |each: &dyn Fn(usize) -> u64| clients.iter().map(|key| each(*key as usize)).sum();
            routes.push(RouteReport {
                route: keys.routes()[route].clone(),
                requests: sum(&|key| demands[key].requests),
                clients: clients.len(),
                peaks: peaks(clients, &demands, asked.percentile),
                proposal,
                refused_requests: sum(&|key| u64::from(refused[key])),
                refused_clients: sum(&|key| u64::from(refused[key] > 0)) as usize,
                worst: worst[route]
                    .iter()
                    .map(|key| ClientReport {
                        client: keys.shown(keys.client_of(*key)),
                        requests: demands[*key as usize].requests,
                        refused: refused[*key as usize],
                        peaks: demands[*key as usize].peaks,
                        statuses: statuses.remove(key).unwrap_or_default(),
                    })
                    .collect(),
            });
        }
        routes.sort_by_key(|route| (Reverse(route.requests), route.route.clone()));
        let mut report = Self {
            from: time(first),
            to: time(last),
            seconds: (last - first) as f64 / 1e3,
            requests: spool.len(),
            clients: keys.clients(),
            asked,
            passed_over,
            routes,
            limits: verdicts.reports(keys),
            toml: String::new(),
        };
        report.toml = report.limits_as_toml();
        Ok(report)
    }

    fn limits_as_toml(&self) -> String {
        let Asked {
            percentile,
            headroom,
            key,
            ..
        } = self.asked;
        let mut toml = format!(
            "# By what {percentile} % of each route's clients asked for from {} to {}, times {headroom}.\n",
            self.from, self.to
        );
        for route in &self.routes {
            let Proposal {
                name, rate, burst, ..
            } = &route.proposal;
            toml += &format!(
                "\n# [[routes]] {}: limits = [\"{name}\"]\n[limits.{name}]\nkey = \"{key}\"\nrate = \"{rate}\"\n\
                 burst = {burst}\n",
                // What a log may hold must not end the comment.
                route.route.escape_debug(),
            );
            if route.clients * 2 > MAX_KEYS_DEFAULT {
                toml += &format!("max_keys = {}\n", round_up(route.clients as f64 * 2.0));
            }
        }
        toml
    }
}

fn time(ms: u64) -> String {
    timestamp(UNIX_EPOCH + Duration::from_millis(ms))
}

/// A proposal for each route, in their order: the rate by what clients asked for in a minute, the burst by what they
/// were ahead of that rate.
fn propose(
    keys: &Keys,
    spool: &Spool,
    demands: &[Demand],
    of_route: &[Vec<u32>],
    asked: &Asked,
) -> io::Result<Vec<Proposal>> {
    let mut proposals: Vec<Proposal> = Vec::new();
    let mut names = HashSet::new();
    for (route, clients) in of_route.iter().enumerate() {
        let minute = sorted(clients, |key| demands[key].peaks[2]);
        let wanted = f64::from(percentile(&minute, asked.percentile)) * asked.headroom;
        let (rate, nanos_per_request) = rate(wanted);
        let plain = limit_name(&keys.routes()[route]);
        let mut name = plain.clone();
        let mut number = 2;
        while !names.insert(name.clone()) {
            name = format!("{plain}-{number}");
            number += 1;
        }
        proposals.push(Proposal {
            name,
            rate,
            burst: 0,
            pace: Pace {
                nanos_per_request,
                burst: 0,
            },
        });
    }
    let paces: Vec<Pace> = proposals.iter().map(|proposal| proposal.pace).collect();
    let needed = demand::bursts(spool, keys, &paces)?;
    for (proposal, clients) in proposals.iter_mut().zip(of_route) {
        let bursts = sorted(clients, |key| needed[key]);
        let wanted = f64::from(percentile(&bursts, asked.percentile)) * asked.headroom;
        proposal.burst = round_up(wanted).max(BURST_MIN);
        proposal.pace.burst = proposal.burst;
    }
    Ok(proposals)
}

/// As it is written, and the nanoseconds of a request.
fn rate(per_minute: f64) -> (String, u64) {
    let count = round_up(per_minute).max(RATE_MIN_PER_MINUTE);
    if count < PER_SECOND_FROM {
        return (format!("{count}/m"), 60_000_000_000 / u64::from(count));
    }
    let count = round_up(per_minute / 60.0);
    (format!("{count}/s"), 1_000_000_000 / u64::from(count))
}

/// The next number of at most two digits and zeros.
fn round_up(number: f64) -> u32 {
    let mut step = 1.0;
    while number > 100.0 * step {
        step *= 10.0;
    }
    // What is beyond 32 bits becomes the largest number, what is no number zero.
    ((number / step).ceil() * step) as u32
}

fn sorted(clients: &[u32], value: impl Fn(usize) -> u32) -> Vec<u32> {
    let mut values: Vec<u32> = clients.iter().map(|key| value(*key as usize)).collect();
    values.sort_unstable();
    values
}

/// The least value that so many percent of all do not exceed.
fn percentile(sorted: &[u32], percent: f64) -> u32 {
    let at = rank(sorted.len(), percent) - 1;
    sorted.get(at).copied().unwrap_or_default()
}

/// How many of so many values are that percentile, counted from 1.
fn rank(count: usize, percent: f64) -> usize {
    let rank = (count as f64 * percent / 100.0).ceil() as usize;
    rank.clamp(1, count.max(1))
}

fn peaks(clients: &[u32], demands: &[Demand], percent: f64) -> Vec<Peaks> {
    let of_window = |(i, ms): (usize, u64)| {
        let values = sorted(clients, |key| demands[key].peaks[i]);
        Peaks {
            window_seconds: ms / 1000,
            half_of_clients: percentile(&values, 50.0),
            percentile_of_clients: percentile(&values, percent),
            greediest_client: percentile(&values, 100.0),
        }
    };
    WINDOWS_MS.into_iter().enumerate().map(of_window).collect()
}

/// A bare key of TOML from what is written for a route: `shop.example/api/*` becomes `shop-example-api`.
fn limit_name(route: &str) -> String {
    let words = route
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty());
    let name = words.collect::<Vec<_>>().join("-").to_ascii_lowercase();
    match name.is_empty() {
        true if route.contains('*') || route.is_empty() => "everything".into(),
        true => "root".into(),
        false => name,
    }
}
