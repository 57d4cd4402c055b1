//! A run: visitors, a gate, a shop.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

use adaptive_concurrency::{Admission, Bounds, Class, Gate, Limit, Ticket, Verdict};

use crate::shop::{Kind, Shop};

/// A visitor waits so long for an answer.
pub(crate) const PATIENCE: f64 = 4.0;
/// The edge waits so long for one that hangs.
const RESPONSE: f64 = 15.0;
/// What a refused connection says. Where it is taken for overload, the limit is at its least when the shop is
/// back, and 85 % of the goodput are left around a restart instead of 97 %.
const REFUSED: Verdict = Verdict::Unknown;
/// Shares of the classes: checkout, cart, browse, bot.
const SHARES: [f64; 4] = [0.05, 0.15, 0.5, 0.3];

/// What happens to a shop and its visitors.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) workers: usize,
    pub(crate) seconds: usize,
    /// Requests per second at a second.
    pub(crate) demand: fn(f64) -> f64,
    /// Seconds of work of a request, on average, at a second.
    pub(crate) work: fn(f64) -> f64,
    /// The share of requests that are not answered, and hold none of the workers.
    pub(crate) hangs: f64,
    /// Speed at a second; 0 while the shop is down.
    pub(crate) speed: fn(f64) -> f64,
    /// When things change, and the limit has to follow.
    pub(crate) changes: f64,
    /// Measured from this second on.
    pub(crate) from: usize,
}

/// What came of it.
#[derive(Default, Clone)]
pub(crate) struct Outcome {
    pub(crate) goodput: f64,
    pub(crate) checkouts: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) shed: [usize; 4],
    /// Answered in time and asked for, by class.
    pub(crate) asked: [usize; 4],
    pub(crate) adapted: Option<f64>,
    /// Limit and answers in time, by second.
    pub(crate) trace: Vec<(f64, f64)>,
    pub(crate) best: Vec<f64>,
}

/// Random numbers that are the same in each run (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let bits = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11;
        (bits as f64 + 0.5) / (1_u64 << 53) as f64
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * self.next().ln()
    }

    /// Between fixed and exponential: the sum of two (Erlang), with a tail of slow ones.
    fn work(&mut self, mean: f64) -> f64 {
        let usual = self.exponential(mean * 0.45) + self.exponential(mean * 0.45);
        match self.next() < 0.02 {
            true => usual + 5.0 * mean,
            false => usual,
        }
    }
}

struct Visitor {
    class: Class,
    came: f64,
    began: Option<f64>,
    work: f64,
    hangs: bool,
    ticket: Option<Ticket>,
    is_over: bool,
}

fn at(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

#[derive(PartialEq)]
struct At(f64);
impl Eq for At {}
impl PartialOrd for At {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for At {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

pub(crate) fn run(scenario: &Scenario, limit: Box<dyn Limit>, seed: u64) -> Outcome {
    let bounds = Bounds {
        min: 2,
        max: 1000,
        queue: 256,
        patience: Duration::from_secs(1),
    };
    let mut gate: Gate<usize, Box<dyn Limit>> = Gate::with(limit, bounds);
    let mut shop = Shop::new(scenario.kind, scenario.workers);
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut visitors: Vec<Visitor> = Vec::new();
    let mut out = Outcome::default();
    let mut latencies = Vec::new();
    let (mut good, mut checkouts) = (vec![0.0; scenario.seconds], 0.0);
    let mut limits = vec![0.0; scenario.seconds];
    // Who is at work leaves when it has taken too long.
    let mut leaves: BinaryHeap<Reverse<(At, usize)>> = BinaryHeap::new();
    let end = scenario.seconds as f64;
    let from = scenario.from as f64;
    let mut next_arrival = 0.0;
    let mut next_look = 0.0;
    let mut down = false;
    loop {
        let shop_end = shop.next_end().map_or(f64::MAX, |us| us / 1e6);
        let leave = leaves.peek().map_or(f64::MAX, |Reverse((t, _))| t.0);
        let now = f64::min(next_arrival, next_look).min(shop_end).min(leave);
        if now >= end {
            break;
        }
        let mut begun: Vec<usize> = Vec::new();
        if now == next_look {
            next_look += 0.05;
            let speed = (scenario.speed)(now);
            if speed == 0.0 && !down {
                down = true;
                for id in shop.restart(now * 1e6) {
                    let visitor = &mut visitors[id];
                    if !std::mem::replace(&mut visitor.is_over, true) {
                        // Its connection breaks.
                        let since = at(visitor.began.unwrap_or(now));
                        gate.finish(at(now), since, Verdict::Unknown);
                    }
                }
            } else if speed > 0.0 {
                down = false;
                shop.speed = speed;
            }
            gate.expire(at(now), |class, id| {
                visitors[id].is_over = true;
                if now >= from {
                    out.shed[class.index()] += 1;
                }
            });
            limits[now as usize] = gate.limit() as f64;
        } else if now == next_arrival {
            next_arrival = now + random.exponential(1.0 / (scenario.demand)(now).max(0.001));
            let mut draw = random.next();
            let class = Class::ALL.into_iter().find(|class| {
                draw -= SHARES[class.index()];
                draw < 0.0
            });
            let class = class.unwrap_or(Class::Bot);
            if now >= from {
                out.asked[class.index()] += 1;
            }
            let id = visitors.len();
            let work = random.work((scenario.work)(now));
            // Others draw the same numbers as without.
            let hangs = scenario.hangs > 0.0 && random.next() < scenario.hangs;
            visitors.push(Visitor {
                class,
                came: now,
                began: None,
                work,
                hangs,
                ticket: None,
                is_over: false,
            });
            match gate.arrive(at(now), class, id) {
                Admission::Starts(id) => begun.push(id),
                Admission::Waits(ticket, displaced) => {
                    visitors[id].ticket = Some(ticket);
                    if let Some((class, other)) = displaced {
                        visitors[other].is_over = true;
                        if now >= from {
                            out.shed[class.index()] += 1;
                        }
                    }
                }
                Admission::Refused(_) => {
                    visitors[id].is_over = true;
                    if now >= from {
                        out.shed[class.index()] += 1;
                    }
                }
            }
        } else if now == leave {
            if let Some(Reverse((_, id))) = leaves.pop()
                && !std::mem::replace(&mut visitors[id].is_over, true)
            {
                let since = at(visitors[id].began.unwrap_or(now));
                match visitors[id].hangs {
                    true => gate.finish(at(now), since, Verdict::Overloaded),
                    // The shop does not notice.
                    false => gate.abandon(at(now), since),
                }
            }
        } else if let Some(id) = shop.end(now * 1e6) {
            let visitor = &mut visitors[id];
            if !std::mem::replace(&mut visitor.is_over, true) {
                let since = at(visitor.began.unwrap_or(now));
                gate.finish(at(now), since, Verdict::Answered);
                let took = now - visitor.came;
                good[now as usize] += 1.0;
                if now >= from {
                    latencies.push(took);
                    if visitor.class == Class::Checkout {
                        checkouts += 1.0;
                    }
                }
            }
        }
        while let Some((_, id)) = gate.next(at(now)) {
            begun.push(id);
        }
        for id in begun {
            let visitor = &mut visitors[id];
            visitor.began = Some(now);
            if down {
                // Refused at once.
                visitor.is_over = true;
                gate.finish(at(now + 0.001), at(now), REFUSED);
                continue;
            }
            if visitor.hangs {
                leaves.push(Reverse((At(now + RESPONSE), id)));
                continue;
            }
            leaves.push(Reverse((At(visitor.came + PATIENCE), id)));
            shop.begin(now * 1e6, id, visitor.work * 1e6);
        }
    }
    let mut best_checkouts = 0.0;
    for second in 0..scenario.seconds {
        let t = second as f64 + 0.5;
        let speed = (scenario.speed)(t);
        shop.speed = speed;
        let most = match speed > 0.0 {
            // Its mean work: the tail of slow ones comes on top.
            true => shop.most((scenario.work)(t)),
            false => 0.0,
        };
        let demand = (scenario.demand)(t) * (1.0 - scenario.hangs);
        out.best.push(most.min(demand));
        if second >= scenario.from {
            best_checkouts += most.min(demand * SHARES[0]);
        }
    }
    let sum = |of: &[f64]| of[scenario.from..].iter().sum::<f64>();
    out.goodput = sum(&good) / sum(&out.best);
    out.checkouts = checkouts / best_checkouts;
    latencies.sort_by(f64::total_cmp);
    let percentile = |p: f64| {
        let index = (latencies.len() as f64 * p) as usize;
        latencies.get(index).copied().unwrap_or(0.0)
    };
    (out.p50, out.p99) = (percentile(0.5), percentile(0.99));
    let change = scenario.changes as usize;
    out.adapted = (change..scenario.seconds.saturating_sub(2)).find_map(|s| {
        let sum: f64 = good[s..s + 3].iter().sum();
        let best: f64 = out.best[s..s + 3].iter().sum();
        (sum >= 0.85 * best).then_some((s - change) as f64)
    });
    out.trace = limits.into_iter().zip(good).collect();
    out
}
