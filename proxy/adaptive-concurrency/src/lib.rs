//! How many requests a server is given at once, and who gets in when not all can.
//!
//! A [`Gate`] stands before a server (or a group of them): [`Gate::arrive`] lets a request in, makes it wait, or
//! turns it away; [`Gate::finish`] takes its place back and learns from how long it took; [`Gate::next`] names
//! who of those that wait is to start. How many may be at work is the word of a [`Limit`], by default of
//! [`Elastic`], which goes by whether more requests at once bring more answers.
//!
//! Nothing here reads a clock, waits, or does I/O: times are given, as the [`Duration`] since some beginning.

mod class;
mod elastic;
mod gate;
mod places;
mod queue;

use std::time::Duration;

pub use class::Class;
pub use elastic::Elastic;
pub use gate::{Admission, Bounds, Gate, Why};
pub use queue::{Joined, Queue, Ticket};

/// What the end of a request says of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It has answered.
    Answered,
    /// It has more than it can do: it says so, is silent for too long, or takes no connection.
    Overloaded,
    /// Nothing: the visitor has left, or the request was never sent.
    Unknown,
}

/// Says how many requests may be at work at once.
pub trait Limit {
    /// As many, 1 or more.
    fn limit(&self) -> usize;

    /// A request is at work from `now` on; `at_work` counts it.
    fn started(&mut self, now: Duration, at_work: usize);

    /// A request has come to its end after `latency`; `at_work` still counts it.
    fn finished(&mut self, now: Duration, latency: Duration, at_work: usize, verdict: Verdict);

    /// A request is at work for so long that it counts as such no longer; `at_work` still counts it. Its end will be
    /// told with [`Verdict::Answered`] or [`Verdict::Unknown`].
    fn hangs(&mut self, _now: Duration, _at_work: usize) {}
}

impl<L: Limit + ?Sized> Limit for Box<L> {
    fn limit(&self) -> usize {
        (**self).limit()
    }

    fn started(&mut self, now: Duration, at_work: usize) {
        (**self).started(now, at_work);
    }

    fn finished(&mut self, now: Duration, latency: Duration, at_work: usize, verdict: Verdict) {
        (**self).finished(now, latency, at_work, verdict);
    }

    fn hangs(&mut self, now: Duration, at_work: usize) {
        (**self).hangs(now, at_work);
    }
}
