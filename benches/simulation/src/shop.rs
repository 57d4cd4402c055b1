//! Shops that are modelled.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
};

/// How a shop works.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// So many workers, and a backlog before them.
    Workers,
    /// The same; a share of each request's work is done under one lock.
    Lock(f64),
    /// All requests share the workers; beyond so many times the workers' number at once, they hinder one another.
    Thrashing(f64),
}

/// A request's end, by its number.
type End = Reverse<(u64, usize)>;

/// A shop at work. Times are in microseconds.
pub(crate) struct Shop {
    pub(crate) kind: Kind,
    pub(crate) workers: usize,
    /// Work per time; changes when the shop slows down.
    pub(crate) speed: f64,
    backlog: VecDeque<(usize, f64)>,
    busy: usize,
    ends: BinaryHeap<End>,
    lock_free_at: f64,
    /// Work done for each of those that share.
    virtual_time: f64,
    seen: f64,
}

impl Shop {
    pub(crate) fn new(kind: Kind, workers: usize) -> Self {
        Self {
            kind,
            workers,
            speed: 1.0,
            backlog: VecDeque::new(),
            busy: 0,
            ends: BinaryHeap::new(),
            lock_free_at: 0.0,
            virtual_time: 0.0,
            seen: 0.0,
        }
    }

    /// Answers per second at its best, for requests of so much work (in seconds).
    pub(crate) fn most(&self, work: f64) -> f64 {
        let by_workers = self.workers as f64 / work;
        self.speed
            * match self.kind {
                Kind::Workers | Kind::Thrashing(_) => by_workers,
                Kind::Lock(share) => by_workers.min(1.0 / (share * work)),
            }
    }

    /// Work per time that each gets of those who share.
    fn share(&self) -> f64 {
        let n = self.busy as f64;
        if n == 0.0 {
            return 0.0;
        }
        let workers = self.workers as f64;
        let mut share = self.speed * (workers / n).min(1.0);
        if let Kind::Thrashing(beyond) = self.kind
            && n > beyond * workers
        {
            let over = n / (beyond * workers) - 1.0;
            share /= 1.0 + over.powf(1.5);
        }
        share
    }

    fn pass(&mut self, now: f64) {
        self.virtual_time += (now - self.seen) * self.share();
        self.seen = now;
    }

    /// A request arrives with so much work.
    pub(crate) fn begin(&mut self, now: f64, id: usize, work: f64) {
        if let Kind::Thrashing(_) = self.kind {
            self.pass(now);
            self.busy += 1;
            let end = (self.virtual_time + work) as u64;
            self.ends.push(Reverse((end, id)));
        } else if self.busy < self.workers {
            self.work(now, id, work);
        } else {
            self.backlog.push_back((id, work));
        }
    }

    fn work(&mut self, now: f64, id: usize, work: f64) {
        self.busy += 1;
        let takes = work / self.speed;
        let end = match self.kind {
            Kind::Lock(share) => {
                self.lock_free_at = now.max(self.lock_free_at) + takes * share;
                self.lock_free_at + takes * (1.0 - share)
            }
            _ => now + takes,
        };
        self.ends.push(Reverse((end as u64, id)));
    }

    /// When the next one ends.
    pub(crate) fn next_end(&self) -> Option<f64> {
        let Reverse((end, _)) = self.ends.peek()?;
        Some(match self.kind {
            Kind::Thrashing(_) => {
                let left = (*end as f64 - self.virtual_time).max(0.0);
                self.seen + left / self.share()
            }
            _ => *end as f64,
        })
    }

    /// Ends it.
    pub(crate) fn end(&mut self, now: f64) -> Option<usize> {
        if let Kind::Thrashing(_) = self.kind {
            self.pass(now);
        }
        let Reverse((_, id)) = self.ends.pop()?;
        self.busy -= 1;
        if !matches!(self.kind, Kind::Thrashing(_))
            && self.busy < self.workers
            && let Some((next, work)) = self.backlog.pop_front()
        {
            self.work(now, next, work);
        }
        Some(id)
    }

    /// The process is gone, with all that it had.
    pub(crate) fn restart(&mut self, now: f64) -> Vec<usize> {
        self.pass(now);
        let mut lost: Vec<_> = self.backlog.drain(..).map(|(id, _)| id).collect();
        lost.extend(self.ends.drain().map(|Reverse((_, id))| id));
        self.busy = 0;
        self.lock_free_at = now;
        lost
    }
}
