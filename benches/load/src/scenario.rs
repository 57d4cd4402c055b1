//! A scenario: who comes, when, and what they do. The mirror of a TOML file in which every unknown key is an error.

mod attackers;

use std::{path::Path, str::FromStr, time::Duration};

use anyhow::{Context, bail};
use serde::Deserialize;

use crate::{
    attack,
    random::Dice,
    units::{Network, Span},
};

pub(crate) use self::attackers::{Attacker, Way};

/// A visitor who takes more steps than this is a mistake in the file.
const STEPS_MAX: u32 = 10_000;

/// Files that are open besides attackers' sockets: those of some hundred visitors, and the process's own.
const FILES_BESIDE: u64 = 1000;

/// A scenario file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    /// What it shows, in a sentence.
    pub(crate) about: Option<String>,
    /// Of all chance in it.
    #[serde(default = "one")]
    pub(crate) seed: u64,
    /// How long a visitor waits for an answer, from the moment it was due.
    #[serde(default = "ten_seconds")]
    pub(crate) timeout: Span,
    /// Visitors inside at once; more are turned away by the generator, and it says so.
    #[serde(default = "twenty_thousand")]
    pub(crate) visitors_max: usize,
    /// How long a visitor stays in a waiting room, or comes again with a request that is refused, before he gives up.
    #[serde(default = "ten_minutes")]
    pub(crate) patience: Span,
    /// How often somebody comes again with a request that was refused (429, 503), each time when he was told to, within
    /// his patience; then he leaves. Without this he goes on with what he does next.
    pub(crate) retries: Option<u32>,
    /// What is asked for once before the clock starts, so that a run does not measure an empty store.
    #[serde(default)]
    pub(crate) warm: Vec<Warm>,
    /// Zipf's exponent of the popularity of products.
    #[serde(default = "unit")]
    pub(crate) zipf: f64,
    /// Pictures that a browser loads along with a page; the rest is below the fold.
    #[serde(default = "six")]
    pub(crate) images_per_page: usize,
    /// Shares of visitors by what they speak.
    pub(crate) protocols: Protocols,
    pub(crate) phases: Vec<Phase>,
    #[serde(default)]
    pub(crate) visitors: Vec<VisitorKind>,
    #[serde(default)]
    pub(crate) attackers: Vec<Attacker>,
}

/// Shares of the protocols; they need not sum up to anything.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Protocols {
    /// HTTP/1.1 over TCP.
    pub(crate) http1: f64,
    /// HTTP/1.1 over TLS.
    pub(crate) http1_tls: f64,
    /// HTTP/2 over TLS.
    pub(crate) h2: f64,
    /// HTTP/2 over TCP, with prior knowledge.
    pub(crate) h2c: f64,
}

/// A part of the profile of arrivals.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Phase {
    pub(crate) seconds: f64,
    /// Visitors a second at its beginning.
    pub(crate) rate: f64,
    /// Visitors a second at its end, if not the same.
    pub(crate) ramp_to: Option<f64>,
}

impl Phase {
    /// Visitors a second at its end.
    pub(crate) fn end_rate(&self) -> f64 {
        self.ramp_to.unwrap_or(self.rate)
    }
}

impl FromStr for Phase {
    type Err = String;

    /// `SECONDSxRATE` or `SECONDSxRATE-RATE`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no phase such as `10x5` or `10x5-60`");
        let number = |text: &str| {
            let read = text.parse().ok();
            read.filter(|number: &f64| number.is_finite() && *number >= 0.0)
                .ok_or_else(wrong)
        };
        let (seconds, rates) = text.split_once('x').ok_or_else(wrong)?;
        let (rate, ramp_to) = match rates.split_once('-') {
            Some((from, to)) => (from, Some(number(to)?)),
            None => (rates, None),
        };
        let (seconds, rate) = (number(seconds)?, number(rate)?);
        if seconds == 0.0 {
            return Err(wrong());
        }
        Ok(Self {
            seconds,
            rate,
            ramp_to,
        })
    }
}

/// What to ask for before the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Warm {
    /// The pages of all products, of the categories, and the home page.
    Pages,
    /// The pictures of all products.
    Images,
}

/// People or programs that do the same things.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VisitorKind {
    pub(crate) name: String,
    /// Of all visitors, in relation to the other kinds' shares.
    pub(crate) share: f64,
    /// Where they come from.
    #[serde(default)]
    pub(crate) addresses: Network,
    /// Whether they keep cookies.
    #[serde(default = "yes")]
    pub(crate) cookies: bool,
    /// Whether they load style sheet and pictures along with pages.
    #[serde(default)]
    pub(crate) assets: bool,
    /// Mean time between two steps, exponentially distributed; 0: none.
    #[serde(default)]
    pub(crate) think: Span,
    /// Their failures are shown and not counted: the edge may well refuse them.
    #[serde(default)]
    pub(crate) unwelcome: bool,
    pub(crate) steps: Vec<Step>,
}

/// Something a visitor does.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    #[serde(rename = "do")]
    pub(crate) what: What,
    /// The share of visitors who do it.
    #[serde(default = "unit")]
    pub(crate) chance: f64,
    /// How often: a number, or the fewest and the most.
    #[serde(default)]
    pub(crate) times: Times,
    /// Another mean time before it than the visitor's own.
    pub(crate) think: Option<Span>,
    /// What `get` asks for.
    pub(crate) path: Option<String>,
    /// Gives up after this time without the whole answer, as one does who presses reload.
    pub(crate) abandon: Option<Span>,
}

/// What can be done in the shop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum What {
    Home,
    /// A page of the list of all products.
    Products,
    Category,
    Product,
    /// What he looked at last, once more.
    Reload,
    Search,
    /// Puts the product last looked at into the cart, and sees the cart.
    Add,
    Cart,
    /// Form, order, and the page that confirms it.
    Checkout,
    StyleSheet,
    Image,
    ApiProducts,
    ApiProduct,
    /// Adds to the cart by the API.
    ApiCart,
    /// Orders one piece by the API.
    ApiOrder,
    /// A path of the scenario's choice.
    Get,
}

/// How often a step is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(crate) enum Times {
    Always(u32),
    Between(u32, u32),
}

impl Default for Times {
    fn default() -> Self {
        Self::Always(1)
    }
}

impl Times {
    fn range(self) -> (u32, u32) {
        match self {
            Self::Always(times) => (times, times),
            Self::Between(fewest, most) => (fewest, most),
        }
    }

    /// For one visitor.
    pub(crate) fn draw(self, dice: &mut Dice) -> u32 {
        let (fewest, most) = self.range();
        fewest + dice.below((most - fewest) as usize + 1) as u32
    }
}

impl Scenario {
    /// Of a file.
    pub(crate) fn read(file: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        Self::parse(&text).with_context(|| format!("in {}", file.display()))
    }

    /// Of a file's text; all that contradicts itself is told at once.
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        let scenario: Self = toml::from_str(text)?;
        let wrong = scenario.contradictions();
        if !wrong.is_empty() {
            bail!("{}", wrong.join("\n"));
        }
        Ok(scenario)
    }

    /// How long visitors keep coming, in seconds.
    pub(crate) fn seconds(&self) -> f64 {
        self.phases.iter().map(|phase| phase.seconds).sum()
    }

    /// Files that are open at once at least: every attacker's socket, and some for visitors.
    pub(crate) fn files(&self) -> u64 {
        attack::connections(&self.attackers) + FILES_BESIDE
    }

    fn contradictions(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut want = |fine: bool, what: String| {
            if !fine {
                wrong.push(what);
            }
        };
        let share = |share: f64| share.is_finite() && share >= 0.0;
        want(!self.phases.is_empty(), "there are no phases".to_owned());
        for (i, phase) in self.phases.iter().enumerate() {
            want(
                phase.seconds.is_finite() && phase.seconds > 0.0,
                format!("phase {}: seconds must be above 0", i + 1),
            );
            want(
                share(phase.rate) && share(phase.end_rate()),
                format!("phase {}: a rate is a number from 0", i + 1),
            );
        }
        want(
            !self.timeout.0.is_zero(),
            "timeout must be above 0".to_owned(),
        );
        want(share(self.zipf), "zipf is a number from 0".to_owned());
        let Protocols {
            http1,
            http1_tls,
            h2,
            h2c,
        } = self.protocols;
        let shares = [http1, http1_tls, h2, h2c];
        want(
            shares.iter().all(|s| share(*s)) && shares.iter().sum::<f64>() > 0.0,
            "protocols: shares are numbers from 0, at least one above it".to_owned(),
        );
        want(
            self.visitors.is_empty()
                || self.visitors.iter().all(|kind| share(kind.share))
                    && self.visitors.iter().map(|kind| kind.share).sum::<f64>() > 0.0,
            "visitors: shares are numbers from 0, at least one above it".to_owned(),
        );
        want(
            !(self.visitors.is_empty() && self.attackers.is_empty()),
            "there are neither visitors nor attackers".to_owned(),
        );
        for (i, kind) in self.visitors.iter().enumerate() {
            let name = &kind.name;
            let earlier = &self.visitors[..i];
            want(
                earlier.iter().all(|other| other.name != *name),
                format!("visitors: `{name}` is there twice"),
            );
            want(
                !kind.steps.is_empty(),
                format!("visitors `{name}`: no steps"),
            );
            for (i, step) in kind.steps.iter().enumerate() {
                let at = format!("visitors `{name}`, step {}", i + 1);
                for what in step.contradictions() {
                    want(false, format!("{at}: {what}"));
                }
            }
        }
        for attacker in &self.attackers {
            want(
                !attacker.interval.0.is_zero(),
                format!(
                    "attackers `{}`: interval must be above 0",
                    attacker.way.name()
                ),
            );
        }
        wrong
    }
}

impl Step {
    fn contradictions(&self) -> Vec<&'static str> {
        let mut wrong = Vec::new();
        if !(0.0..=1.0).contains(&self.chance) {
            wrong.push("chance is from 0 to 1");
        }
        let (fewest, most) = self.times.range();
        if fewest > most || most > STEPS_MAX {
            wrong.push("times is a number, or the fewest and the most, up to 10000");
        }
        match (&self.path, self.what) {
            (None, What::Get) => wrong.push("`get` needs a path"),
            (Some(path), What::Get) if !path.starts_with('/') => wrong.push("a path begins with /"),
            (None, _) | (Some(_), What::Get) => {}
            (Some(_), _) => wrong.push("only `get` has a path"),
        }
        let changes = matches!(
            self.what,
            What::Add | What::Checkout | What::ApiCart | What::ApiOrder
        );
        if self.abandon.is_some() && changes {
            wrong.push("only what changes nothing can be abandoned");
        }
        wrong
    }
}

fn one() -> u64 {
    1
}

fn unit() -> f64 {
    1.0
}

fn six() -> usize {
    6
}

fn yes() -> bool {
    true
}

fn twenty_thousand() -> usize {
    20_000
}

fn ten_seconds() -> Span {
    Span(Duration::from_secs(10))
}

fn ten_minutes() -> Span {
    Span(Duration::from_secs(600))
}

#[cfg(test)]
#[path = "scenario_tests.rs"]
mod tests;
