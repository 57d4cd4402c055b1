//! Limits on concurrency against shops that are modelled: which one brings the most answers in time?
//!
//! Writes a table in Markdown to the file that is named first, and a chart to the second.
mod report;
mod rivals;
mod run;
mod shop;

use std::time::Duration;

use adaptive_concurrency::{Elastic, Limit};
use rivals::{Aimd, Fixed, Gradient, Vegas};
use run::{Outcome, Scenario, run};
use shop::Kind;

type Maker = fn(&Scenario) -> Box<dyn Limit>;

const CANDIDATES: [(&str, Maker); 8] = [
    ("fixed, too low", |s| {
        Box::new(Fixed((s.workers / 4).max(1)))
    }),
    ("fixed, right", |s| Box::new(Fixed(s.workers.max(2)))),
    ("fixed, too high", |_| Box::new(Fixed(1000))),
    ("AIMD on errors", |_| Box::new(Aimd::new(None))),
    ("AIMD on 250 ms", |_| {
        Box::new(Aimd::new(Some(Duration::from_millis(250))))
    }),
    ("gradient", |_| Box::new(Gradient::new())),
    ("Vegas", |_| Box::new(Vegas::new())),
    ("elastic", |_| Box::new(Elastic::new(2, 1000))),
];

fn scenarios() -> Vec<Scenario> {
    let base = || Scenario {
        name: "",
        kind: Kind::Workers,
        workers: 16,
        seconds: 60,
        demand: |_| 1000.0,
        work: |_| 0.05,
        hangs: 0.0,
        speed: |_| 1.0,
        changes: 0.0,
        from: 5,
    };
    vec![
        Scenario {
            name: "calm",
            demand: |_| 150.0,
            ..base()
        },
        Scenario {
            name: "5x overload within 3 s",
            demand: |t| {
                if t < 20.0 {
                    150.0
                } else {
                    150.0 + 1450.0 * ((t - 20.0) / 3.0).min(1.0)
                }
            },
            changes: 20.0,
            ..base()
        },
        Scenario {
            name: "5x overload, thrashing shop",
            kind: Kind::Thrashing(2.0),
            demand: |t| {
                if t < 20.0 {
                    150.0
                } else {
                    150.0 + 1450.0 * ((t - 20.0) / 3.0).min(1.0)
                }
            },
            changes: 20.0,
            ..base()
        },
        Scenario {
            name: "3x overload, database lock",
            kind: Kind::Lock(0.15),
            demand: |t| if t < 10.0 { 60.0 } else { 400.0 },
            changes: 10.0,
            ..base()
        },
        Scenario {
            name: "mix turns from quick to slow",
            demand: |t| if t < 25.0 { 1600.0 } else { 320.0 },
            work: |t| if t < 25.0 { 0.02 } else { 0.2 },
            changes: 25.0,
            ..base()
        },
        Scenario {
            name: "a third of the speed for 20 s",
            demand: |_| 400.0,
            speed: |t| {
                if (20.0..40.0).contains(&t) {
                    1.0 / 3.0
                } else {
                    1.0
                }
            },
            changes: 20.0,
            ..base()
        },
        Scenario {
            name: "the same, thrashing shop",
            kind: Kind::Thrashing(2.0),
            demand: |_| 400.0,
            speed: |t| {
                if (20.0..40.0).contains(&t) {
                    1.0 / 3.0
                } else {
                    1.0
                }
            },
            changes: 20.0,
            ..base()
        },
        Scenario {
            name: "restart, cold for 10 s",
            demand: |_| 500.0,
            speed: |t| match t {
                20.0..22.0 => 0.0,
                22.0..32.0 => 0.25 + 0.75 * (t - 22.0) / 10.0,
                _ => 1.0,
            },
            changes: 22.0,
            ..base()
        },
        Scenario {
            name: "slow pages, 600 ms, 3x",
            demand: |_| 80.0,
            work: |_| 0.6,
            ..base()
        },
        Scenario {
            name: "1 worker, 3x",
            workers: 1,
            demand: |_| 60.0,
            ..base()
        },
        Scenario {
            name: "4 workers, 3x",
            workers: 4,
            demand: |_| 240.0,
            ..base()
        },
        Scenario {
            name: "64 workers, 3x",
            workers: 64,
            demand: |_| 3840.0,
            ..base()
        },
        Scenario {
            name: "64 workers, thrashing, 3x",
            kind: Kind::Thrashing(1.5),
            workers: 64,
            demand: |_| 3840.0,
            ..base()
        },
        Scenario {
            name: "a cache takes 95 % away for 20 s",
            demand: |t| {
                if (20.0..40.0).contains(&t) {
                    40.0
                } else {
                    800.0
                }
            },
            changes: 40.0,
            ..base()
        },
        Scenario {
            name: "1 % of the requests hang",
            demand: |_| 150.0,
            hangs: 0.01,
            ..base()
        },
        Scenario {
            name: "3 % of the requests hang",
            demand: |_| 150.0,
            hangs: 0.03,
            ..base()
        },
        Scenario {
            name: "3 % of the requests hang, 3x",
            hangs: 0.03,
            ..base()
        },
    ]
}

/// Runs of each, with other random numbers.
const SEEDS: u64 = 5;

/// The mean of what came of several runs; the longest time to adapt.
fn mean(runs: &[Outcome]) -> Outcome {
    let n = runs.len() as f64;
    let of = |what: fn(&Outcome) -> f64| runs.iter().map(what).sum::<f64>() / n;
    let mut mean = runs[0].clone();
    mean.goodput = of(|run| run.goodput);
    mean.checkouts = of(|run| run.checkouts);
    mean.p50 = of(|run| run.p50);
    mean.p99 = of(|run| run.p99);
    for run in &runs[1..] {
        for class in 0..4 {
            mean.shed[class] += run.shed[class];
            mean.asked[class] += run.asked[class];
        }
        mean.adapted = match (mean.adapted, run.adapted) {
            (Some(a), Some(b)) => Some(f64::max(a, b)),
            _ => None,
        };
    }
    mean
}

fn main() -> std::io::Result<()> {
    let mut args = std::env::args().skip(1);
    let scenarios = scenarios();
    let mut all: Vec<(&Scenario, Vec<Outcome>)> = Vec::new();
    for scenario in &scenarios {
        let outcomes = CANDIDATES.map(|(_, make)| {
            let runs: Vec<_> = (1..=SEEDS)
                .map(|seed| run(scenario, make(scenario), seed))
                .collect();
            mean(&runs)
        });
        all.push((scenario, outcomes.to_vec()));
    }
    let text = report::markdown(&all);
    match args.next() {
        Some(path) => std::fs::write(path, &text)?,
        None => print!("{text}"),
    }
    if let Some(path) = args.next() {
        std::fs::write(path, report::svg(&all))?;
    }
    Ok(())
}
