//! What a run found: plain data, as it stands in the JSON file.

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use crate::{
    attack::{self, Held},
    connect::Protocol,
    crowd::{Buyers, Waiting},
    fate::Fate,
    machine::Spent,
    record::{Record, Second, Stored, Tally},
    run::Settings,
    scenario::Scenario,
};

/// From here on the generator may have been what was slow.
const LATE_SHARE_MAX: f64 = 0.01;
const CPU_SHARE_MAX: f64 = 0.85;
/// Waiting shows in late starts first; so much of it leaves no doubt.
const WAITED_SHARE_MAX: f64 = 0.25;

/// A run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) scenario: String,
    pub(crate) about: Option<String>,
    pub(crate) seed: u64,
    pub(crate) scale: f64,
    /// Seconds since 1970 at its end.
    pub(crate) ended_at: u64,
    pub(crate) seconds: f64,
    pub(crate) visitors: u64,
    pub(crate) connections: u64,
    pub(crate) generator: Generator,
    /// Requests of welcome visitors that change nothing, and those that do.
    pub(crate) safe: Group,
    pub(crate) changing: Group,
    pub(crate) by_protocol: BTreeMap<String, Group>,
    pub(crate) by_step: BTreeMap<String, Group>,
    pub(crate) by_visitor: BTreeMap<String, Group>,
    /// Right answers of the store, of all visitors.
    #[serde(default)]
    pub(crate) hits: Option<Group>,
    #[serde(default)]
    pub(crate) waiting: Waiting,
    #[serde(default)]
    pub(crate) buyers: Buyers,
    /// Right answers by what the edge said of its store.
    pub(crate) stored: BTreeMap<String, u64>,
    /// Safe requests that failed though the store had had what they asked for.
    pub(crate) failed_though_stored: u64,
    /// Sent once more, because a kept connection had been closed.
    pub(crate) repeated: u64,
    /// Acknowledged, and how many numbers were given out twice.
    pub(crate) orders: u64,
    pub(crate) orders_twice: u64,
    pub(crate) attackers: Vec<Attack>,
    pub(crate) per_second: Vec<PerSecond>,
}

/// Whether the generator kept up.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Generator {
    /// Share of requests begun more than 5 ms after their time.
    pub(crate) late_share: f64,
    pub(crate) latest_ms: f64,
    /// Of one core.
    pub(crate) cpu_share: f64,
    /// Share of the time in which it could have run, and others had the core.
    pub(crate) waited_share: f64,
    /// Visitors who were not let in, because too many were inside.
    pub(crate) turned_away: u64,
    /// Visitors still inside when the run was cut off.
    pub(crate) unsettled: usize,
    /// Requests that failed for want of a socket.
    pub(crate) own_failures: u64,
    /// Files it may have open.
    #[serde(default)]
    pub(crate) file_limit: u64,
    pub(crate) kept_up: bool,
}

/// Requests that have something in common.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Group {
    pub(crate) requests: u64,
    pub(crate) failed: u64,
    /// 429, and 503 with `Retry-After`: told apart from failures.
    #[serde(default)]
    pub(crate) refused: u64,
    /// All but `right`.
    pub(crate) fates: BTreeMap<String, u64>,
    pub(crate) p50_ms: f64,
    pub(crate) p90_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p999_ms: f64,
    pub(crate) max_ms: f64,
}

/// What became of attackers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Attack {
    pub(crate) way: String,
    pub(crate) connections: u32,
    pub(crate) opened: u64,
    pub(crate) refused: u64,
    pub(crate) closed_by_edge: u64,
    pub(crate) median_life_ms: u64,
    pub(crate) statuses: BTreeMap<u16, u64>,
    pub(crate) left: u64,
    /// Attempts that failed for want of a socket of our own.
    #[serde(default)]
    pub(crate) own_failures: u64,
    /// Open at the end of each second.
    #[serde(default)]
    pub(crate) open_by_second: Vec<u64>,
}

/// One second.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PerSecond {
    pub(crate) begun: u64,
    pub(crate) answered: u64,
    pub(crate) late: u64,
    /// Failures by kind.
    pub(crate) failed: BTreeMap<String, u64>,
    /// Refusals by kind.
    #[serde(default)]
    pub(crate) refused: BTreeMap<String, u64>,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p999_ms: f64,
    /// There at its end: in a waiting room, and not.
    pub(crate) visitors: usize,
    #[serde(default)]
    pub(crate) waiting: usize,
    #[serde(default)]
    pub(crate) inside: usize,
    /// Orders acknowledged after a checkout.
    #[serde(default)]
    pub(crate) checkouts: u64,
}

/// What of a run is not in its books.
pub(crate) struct Run<'a> {
    pub(crate) scenario: &'a Scenario,
    pub(crate) settings: &'a Settings,
    pub(crate) seconds: f64,
    pub(crate) spent: Spent,
    pub(crate) unsettled: usize,
    pub(crate) file_limit: u64,
}

/// The report of a run.
pub(crate) fn of(run: &Run<'_>, record: &Record, held: &[Held]) -> anyhow::Result<Report> {
    let (mut safe, mut changing) = (Tally::new()?, Tally::new()?);
    let mut by_protocol = BTreeMap::new();
    for (protocol, [one, other]) in Protocol::ALL.iter().zip(&record.protocols) {
        safe.merge(one)?;
        changing.merge(other)?;
        for (tally, kind) in [(one, "safe"), (other, "changing")] {
            if tally.requests() > 0 {
                by_protocol.insert(format!("{} {kind}", protocol.name()), group(tally));
            }
        }
    }
    let kinds = run.scenario.visitors.iter().zip(&record.kinds);
    let own_failures = record
        .kinds
        .iter()
        .map(|tally| tally.fates[Fate::Own as usize])
        .sum();
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let stored = Stored::ALL
        .iter()
        .zip(record.stored)
        .filter(|(_, count)| *count > 0);
    Ok(Report {
        scenario: run.scenario.name.clone(),
        about: run.scenario.about.clone(),
        seed: run.settings.seed,
        scale: run.settings.scale,
        ended_at: now.map_or(0, |time| time.as_secs()),
        seconds: run.seconds,
        visitors: record.visitors,
        connections: record.connections,
        generator: generator(run, record, own_failures),
        safe: group(&safe),
        changing: group(&changing),
        by_protocol,
        by_step: record
            .steps
            .iter()
            .map(|(name, tally)| ((*name).to_owned(), group(tally)))
            .collect(),
        by_visitor: kinds
            .map(|(kind, tally)| (kind.name.clone(), group(tally)))
            .collect(),
        hits: (record.hits.requests() > 0).then(|| group(&record.hits)),
        waiting: Waiting::of(record),
        buyers: Buyers::of(&record.buyers),
        stored: stored
            .map(|(part, count)| (part.name().to_owned(), count))
            .collect(),
        failed_though_stored: record.failed_though_stored,
        repeated: record.repeated,
        orders: record.orders.len() as u64,
        orders_twice: record.orders_twice,
        attackers: run
            .scenario
            .attackers
            .iter()
            .zip(held)
            .map(|(attacker, held)| Attack {
                way: attack::name(attacker),
                connections: attacker.connections,
                opened: held.opened,
                refused: held.refused,
                closed_by_edge: held.closed,
                median_life_ms: held.median_life_ms(),
                statuses: held.statuses.clone(),
                left: held.left,
                own_failures: held.own_failures,
                open_by_second: held.open_by_second.clone(),
            })
            .collect(),
        per_second: record.seconds.iter().map(per_second).collect(),
    })
}

fn generator(run: &Run<'_>, record: &Record, own_failures: u64) -> Generator {
    let of_the_time = |time: std::time::Duration| time.as_secs_f64() / run.seconds.max(0.001);
    let late_share = record.late as f64 / record.begun.max(1) as f64;
    let cpu_share = of_the_time(run.spent.running);
    let waited_share = of_the_time(run.spent.waiting);
    Generator {
        late_share,
        latest_ms: record.latest.as_secs_f64() * 1000.0,
        cpu_share,
        waited_share,
        turned_away: record.turned_away,
        unsettled: run.unsettled,
        own_failures,
        file_limit: run.file_limit,
        kept_up: late_share <= LATE_SHARE_MAX
            && cpu_share <= CPU_SHARE_MAX
            && waited_share <= WAITED_SHARE_MAX
            && record.turned_away + own_failures == 0
            && run.unsettled == 0,
    }
}

fn group(tally: &Tally) -> Group {
    let ms = |quantile| tally.latency_us.value_at_quantile(quantile) as f64 / 1000.0;
    Group {
        requests: tally.requests(),
        failed: tally.failed(),
        refused: tally.refused(),
        fates: fates(&tally.fates, |fate| fate != Fate::Right),
        p50_ms: ms(0.5),
        p90_ms: ms(0.9),
        p99_ms: ms(0.99),
        p999_ms: ms(0.999),
        max_ms: tally.latency_us.max() as f64 / 1000.0,
    }
}

fn fates(counts: &[u64; Fate::ALL.len()], wanted: impl Fn(Fate) -> bool) -> BTreeMap<String, u64> {
    let counted = Fate::ALL.into_iter().zip(counts);
    counted
        .filter(|(fate, count)| wanted(*fate) && **count > 0)
        .map(|(fate, count)| (fate.name().to_owned(), *count))
        .collect()
}

fn per_second(second: &Second) -> PerSecond {
    let [p50_ms, p99_ms, p999_ms] = second.latency_us.map(|micros| micros as f64 / 1000.0);
    PerSecond {
        begun: second.begun,
        answered: second.fates[Fate::Right as usize] + second.fates[Fate::Conflict as usize],
        late: second.late,
        failed: fates(&second.fates, Fate::is_failure),
        refused: fates(&second.fates, Fate::is_refusal),
        p50_ms,
        p99_ms,
        p999_ms,
        visitors: second.visitors,
        waiting: second.waiting,
        inside: second.visitors.saturating_sub(second.waiting),
        checkouts: second.checkouts,
    }
}

/// A line about a second that ended.
pub(crate) fn progress(number: u32, second: &Second) {
    let told = per_second(second);
    let failed: u64 = told.failed.values().sum();
    let refused: u64 = told.refused.values().sum();
    eprintln!(
        "{number:4} s  {:5} inside  {:5} waiting  {:6} begun  {:6} answered  {failed:5} failed  {refused:5} refused  \
         {:4} checkouts  p50 {:7.1} ms  p99 {:8.1} ms  {:4} late",
        told.inside,
        told.waiting,
        told.begun,
        told.answered,
        told.checkouts,
        told.p50_ms,
        told.p99_ms,
        told.late
    );
}

/// A report with something of everything, for tests.
#[cfg(test)]
pub(crate) fn sample() -> Report {
    let group = Group {
        requests: 100,
        failed: 2,
        refused: 0,
        fates: BTreeMap::from([("cut".to_owned(), 2)]),
        p50_ms: 1.0,
        p90_ms: 4.0,
        p99_ms: 9.0,
        p999_ms: 20.0,
        max_ms: 30.0,
    };
    let second = |failed: u64| PerSecond {
        begun: 50,
        answered: 50 - failed,
        late: 0,
        failed: if failed > 0 {
            BTreeMap::from([("cut".to_owned(), failed)])
        } else {
            BTreeMap::new()
        },
        refused: BTreeMap::new(),
        p50_ms: 1.0,
        p99_ms: 9.0,
        p999_ms: 20.0,
        visitors: 12,
        waiting: 4,
        inside: 8,
        checkouts: 3,
    };
    let one = |name: &str| BTreeMap::from([(name.to_owned(), group.clone())]);
    Report {
        scenario: "sample".to_owned(),
        about: Some("A sample & nothing more".to_owned()),
        seed: 1,
        scale: 1.0,
        ended_at: 0,
        seconds: 2.0,
        visitors: 20,
        connections: 21,
        generator: Generator {
            late_share: 0.0,
            latest_ms: 1.0,
            cpu_share: 0.2,
            waited_share: 0.0,
            turned_away: 0,
            unsettled: 0,
            own_failures: 0,
            file_limit: 1024,
            kept_up: true,
        },
        safe: group.clone(),
        changing: group.clone(),
        by_protocol: one("h2 safe"),
        by_step: one("home"),
        by_visitor: one("reader"),
        hits: Some(group.clone()),
        waiting: Waiting {
            waited: 6,
            admitted: 2,
            still_waiting: 4,
            ..Waiting::default()
        },
        buyers: Buyers::of(&[
            crate::record::Buyer::Finished,
            crate::record::Buyer::Stopped(Fate::Cut),
            crate::record::Buyer::StillWaiting,
        ]),
        stored: BTreeMap::from([("hit".to_owned(), 90)]),
        failed_though_stored: 0,
        repeated: 1,
        orders: 3,
        orders_twice: 0,
        attackers: vec![Attack {
            way: "slow-head".to_owned(),
            connections: 5,
            opened: 8,
            refused: 0,
            closed_by_edge: 3,
            median_life_ms: 10_000,
            statuses: BTreeMap::from([(408, 3)]),
            left: 5,
            own_failures: 0,
            open_by_second: vec![5, 2],
        }],
        per_second: vec![second(0), second(2)],
    }
}
