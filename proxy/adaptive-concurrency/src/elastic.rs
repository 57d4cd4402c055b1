//! The limit that is used: more requests at once, as long as they bring more answers.
//!
//! A server with k workers answers k times as fast as one worker; with more requests than workers it answers no
//! faster, and each takes longer. So the limit is moved up and down by a little, window by window, and the
//! rate of answers before and after is compared: the *elasticity* is the growth of the rate by the growth of the
//! load, 1 where all of the additional requests bring answers, 0 where none does, less where they cost some.
//! The limit grows while the elasticity is high and shrinks while it is low.
//!
//! Because only neighbouring windows are compared, nothing has to be known of how long a request should take: when
//! visitors turn from quick to slow pages, the rate falls in all windows alike and the limit stays. A limit by latency
//! takes that for an overload. Latency only says how far to go when the direction is known: a server
//! that answers a rate at its usual latency has rate times latency at work (Little's law), and a limit
//! far above that comes down in large steps.
//!
//! Words of overload, such as 503 with `Retry-After`, are believed without being measured where they are more than a
//! tenth of what ends: they shrink the limit at once, at most once in the time that an answer takes. Fewer are those of
//! one page that hangs, beside others that are well.

use std::time::Duration;

use crate::{Limit, Verdict};

/// Where the limit begins: what an average host works on at once, so that neither of the first steps is a long one.
const FIRST: f64 = 20.0;
/// How far the limit is moved to either side.
const SWING: f64 = 0.16;
/// The elasticity at which the limit stays. Below a half, as a little too much costs latency only, and too little
/// answers.
const TARGET: f64 = 0.1;
/// Logarithm of the growth of the limit in a window, for each 1 that the elasticity is beyond its target.
const GAIN: f64 = 0.3;
/// The same for what it is below.
const GAIN_DOWN: f64 = 0.2;
/// Weight of what was measured last.
const WEIGHT: f64 = 0.3;
/// After so many windows in a row with less than the target each further one takes that much more of the limit, up
/// to the last.
const LOWS: u32 = 5;
const STEEPER: f64 = 0.04;
const STEEPEST: f64 = 0.25;
/// An elasticity from which on the limit climbs in large steps.
const CLIMB_FROM: f64 = 0.5;
const CLIMB: f64 = 1.2;
/// What is worked on at most in a window that measures nothing, as a share of the limit: there was no demand.
const IDLE: f64 = 0.65;
/// A word of overload leaves so much of the limit.
const BACK_OFF: f64 = 0.85;
/// It is heard where more than this share of what has ended was such, with so much weight for the last end: five in
/// a row are heard, and one now and then is not.
const HEARD_FROM: f64 = 0.1;
const HEARD_WEIGHT: f64 = 1.0 / 45.0;
/// Answers in a window for each one that may be at work, and how many there are at least and at most: fewer say
/// nothing where some pages take ten times as long as others.
const ANSWERS_EACH: f64 = 4.0;
const ANSWERS: (f64, f64) = (40.0, 500.0);
/// A window is at least so many times as long as an answer takes.
const LATENCIES: u32 = 3;
/// A window is at least so long, and ends after the other time if there were a few answers.
const SHORTEST: Duration = Duration::from_millis(60);
const LONGEST: Duration = Duration::from_secs(4);
/// The usual latency is the least of the last windows within so long.
const USUAL_OVER: Duration = Duration::from_secs(20);

/// A limit that goes by whether more requests at once bring more answers.
#[derive(Debug, Clone)]
pub struct Elastic {
    min: f64,
    max: f64,
    /// In the middle of its swing.
    limit: f64,
    swing: Swing,
    elasticity: Option<f64>,
    /// Windows in a row in which it was below its target.
    lows: u32,
    window: Window,
    before: Option<Measured>,
    /// Of late.
    latency: Duration,
    usual: Usual,
    /// Until then no further word of overload is heard: those that come together speak of the same moment.
    deaf_until: Duration,
    /// Of what has ended of late, the share that speaks of overload.
    overloads: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Swing {
    Up,
    Down,
}

/// A stretch of time under one limit.
#[derive(Debug, Clone, Copy, Default)]
struct Window {
    /// What is measured begins then: before, answers are still those to the load of the window before.
    begins: Duration,
    answers: f64,
    latencies: f64,
    /// Requests at work, times time.
    load: f64,
    at_work: usize,
    seen: Duration,
}

/// What a window has shown.
#[derive(Debug, Clone, Copy)]
struct Measured {
    /// Requests at work, on average.
    load: f64,
    /// Answers in a second.
    rate: f64,
}

/// The least latency of two stretches of time.
#[derive(Debug, Clone, Copy, Default)]
struct Usual {
    since: Duration,
    now: Option<f64>,
    before: Option<f64>,
}

impl Usual {
    fn note(&mut self, now: Duration, latency: f64) {
        if now.saturating_sub(self.since) > USUAL_OVER {
            self.before = self.now.take();
            self.since = now;
        }
        self.now = Some(self.now.map_or(latency, |least| least.min(latency)));
    }

    fn least(&self) -> Option<f64> {
        match (self.now, self.before) {
            (Some(now), Some(before)) => Some(now.min(before)),
            (now, before) => now.or(before),
        }
    }
}

impl Elastic {
    /// Between two bounds, both included; the lesser is at least 1.
    pub fn new(min: usize, max: usize) -> Self {
        let mut elastic = Self {
            min: 1.0,
            max: 1.0,
            limit: FIRST,
            swing: Swing::Up,
            elasticity: None,
            lows: 0,
            window: Window::default(),
            before: None,
            latency: Duration::ZERO,
            usual: Usual::default(),
            deaf_until: Duration::ZERO,
            overloads: 0.0,
        };
        elastic.set_bounds(min, max);
        elastic
    }

    /// Other bounds.
    pub fn set_bounds(&mut self, min: usize, max: usize) {
        self.min = min.max(1) as f64;
        self.max = (max as f64).max(self.min);
        self.limit = self.limit.clamp(self.min, self.max);
    }

    /// How long an answer takes, on average of the last ones.
    pub fn latency(&self) -> Duration {
        self.latency
    }

    fn begin(&mut self, now: Duration) {
        let at_work = self.window.at_work;
        // What is at work now was begun under another limit.
        let settles = self.latency.min(LONGEST / 4);
        self.window = Window {
            begins: now + settles,
            seen: now,
            at_work,
            ..Window::default()
        };
    }

    /// Adds up the load until now.
    fn pass(&mut self, now: Duration) {
        let from = self.window.seen.max(self.window.begins);
        let passed = now.saturating_sub(from).as_secs_f64();
        self.window.load += passed * self.window.at_work as f64;
        self.window.seen = self.window.seen.max(now);
    }

    /// Ends the window where it has seen enough, and moves the limit.
    fn look(&mut self, now: Duration) {
        let window = self.window;
        let lasted = now.saturating_sub(window.begins);
        let enough = (ANSWERS_EACH * self.limit).clamp(ANSWERS.0, ANSWERS.1);
        let long = lasted >= SHORTEST.max(LATENCIES * self.latency.min(LONGEST));
        if !(long && window.answers >= enough || lasted >= LONGEST) {
            return;
        }
        if window.answers == 0.0 {
            // What comes next is not to be measured over this silence.
            self.before = None;
            return self.begin(now);
        }
        let seconds = lasted.as_secs_f64();
        let measured = Measured {
            load: window.load / seconds,
            rate: window.answers / seconds,
        };
        let latency = window.latencies / window.answers;
        self.usual.note(now, latency);
        if measured.load < IDLE * self.limit() as f64 || window.answers < ANSWERS.0 / 2.0 {
            // Nothing is known of what more would bring.
            self.before = None;
            return self.begin(now);
        }
        self.learn(measured);
        self.begin(now);
    }

    fn learn(&mut self, measured: Measured) {
        let Some(before) = self.before.replace(measured) else {
            // The other side is next.
            return self.turn();
        };
        let grown = (measured.load / before.load).ln();
        let mut shown = self.elasticity.unwrap_or(TARGET);
        if grown.abs() > 0.05 {
            shown = ((measured.rate / before.rate).ln() / grown).clamp(-1.0, 2.0);
        }
        let elasticity = self.elasticity.map_or(shown, |e| e + WEIGHT * (shown - e));
        self.elasticity = Some(elasticity);
        let beyond = elasticity - TARGET;
        let gain = if beyond > 0.0 { GAIN } else { GAIN_DOWN };
        let mut factor = (gain * beyond).exp();
        self.lows = match beyond < 0.0 {
            true => self.lows.saturating_add(1),
            false => 0,
        };
        if self.lows > LOWS {
            // Near the right limit it would have gone up once; this one is far above.
            factor *= 1.0 - (STEEPER * f64::from(self.lows - LOWS)).min(STEEPEST);
        }
        let works_on = self.usual.least().map(|usual| measured.rate * usual);
        if elasticity.min(shown) > CLIMB_FROM {
            factor = CLIMB;
        } else if elasticity < TARGET
            && let Some(works_on) = works_on
            && 2.0 * works_on < self.limit
        {
            factor = (1.5 * works_on / self.limit).max(0.6).min(factor);
        }
        self.limit = (self.limit * factor).clamp(self.min, self.max);
        if factor < CLIMB {
            self.turn();
        } else {
            self.swing = Swing::Up;
        }
    }

    fn weigh(&mut self, is_overload: bool) {
        let share = f64::from(u8::from(is_overload));
        self.overloads += HEARD_WEIGHT * (share - self.overloads);
    }

    /// Shrinks the limit, where this is not the word of a few.
    fn overloaded(&mut self, now: Duration) {
        self.weigh(true);
        if self.overloads > HEARD_FROM && now >= self.deaf_until {
            self.limit = (self.limit * BACK_OFF).max(self.min);
            self.deaf_until = now + self.latency.max(SHORTEST);
            self.before = None;
            self.begin(now);
        }
    }

    fn turn(&mut self) {
        self.swing = match self.swing {
            Swing::Up => Swing::Down,
            Swing::Down => Swing::Up,
        };
    }
}

impl Limit for Elastic {
    fn limit(&self) -> usize {
        // By 1 at least, or nothing could be learned of a small one.
        let by = (self.limit * SWING).max(0.5);
        let swung = match self.swing {
            Swing::Up => self.limit + by,
            Swing::Down => self.limit - by,
        };
        swung.round().clamp(self.min, self.max) as usize
    }

    fn started(&mut self, now: Duration, at_work: usize) {
        self.pass(now);
        self.window.at_work = at_work;
        self.look(now);
    }

    fn hangs(&mut self, now: Duration, at_work: usize) {
        self.pass(now);
        self.window.at_work = at_work.saturating_sub(1);
        self.overloaded(now);
        self.look(now);
    }

    fn finished(&mut self, now: Duration, latency: Duration, at_work: usize, verdict: Verdict) {
        self.pass(now);
        self.window.at_work = at_work.saturating_sub(1);
        match verdict {
            Verdict::Unknown => {}
            Verdict::Answered => {
                self.weigh(false);
                let weight = 1.0 / self.limit.clamp(8.0, 64.0);
                let latency_s = latency.as_secs_f64();
                let mean = self.latency.as_secs_f64();
                let mean = if mean > 0.0 {
                    mean + weight * (latency_s - mean)
                } else {
                    latency_s
                };
                self.latency = Duration::from_secs_f64(mean.max(0.0));
                if now >= self.window.begins {
                    self.window.answers += 1.0;
                    self.window.latencies += latency_s;
                }
            }
            Verdict::Overloaded => self.overloaded(now),
        }
        self.look(now);
    }
}

#[cfg(test)]
mod tests;
