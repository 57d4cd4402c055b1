//! Who waits, and whose turn it is.
//!
//! - The most important class goes first; but a class of persons (all except [`Class::Bot`]) that was passed over
//!   [`PASSED_OVER`] times goes next, so that none starves. Programs get what is left.
//! - Within a class the oldest goes first while the queue drains in time. Once the oldest of the class has waited
//!   more than half of what anybody waits, the newest goes first: who has waited that long has mostly
//!   given up, and to serve in order would make everybody wait that long.
//! - When it is full, the oldest of the least important class makes room; who is less important than all that
//!   wait does not get in.

use std::{collections::BTreeMap, time::Duration};

use crate::Class;

/// A waiting class of persons is passed over at most so often. 15: one start of sixteen, so that a shop full of
/// buyers still shows a page now and then, at six percent of its work.
pub(crate) const PASSED_OVER: u32 = 15;

/// A place in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket {
    class: Class,
    number: u64,
}

impl Ticket {
    /// What its request matters.
    pub fn class(self) -> Class {
        self.class
    }
}

struct Waiter<W> {
    since: Duration,
    until: Duration,
    who: W,
}

/// What came of joining.
#[derive(Debug, PartialEq, Eq)]
pub enum Joined<W> {
    /// There was room.
    Waits(Ticket),
    /// There was none, and somebody who matters less, or as little and longer, has made some.
    Displaced(Ticket, Class, W),
    /// There is none.
    Full(W),
}

/// A bounded queue of requests.
pub struct Queue<W> {
    classes: [BTreeMap<u64, Waiter<W>>; Class::ALL.len()],
    /// How often each class was passed over since its last turn.
    passed: [u32; Class::ALL.len()],
    waiting: usize,
    came: u64,
}

impl<W> Default for Queue<W> {
    fn default() -> Self {
        Self {
            classes: Default::default(),
            passed: Default::default(),
            waiting: 0,
            came: 0,
        }
    }
}

impl<W> Queue<W> {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// How many of a class wait.
    pub fn len_of(&self, class: Class) -> usize {
        self.classes[class.index()].len()
    }

    /// Joins the queue until a moment; at most `most` wait.
    pub fn join(
        &mut self,
        class: Class,
        now: Duration,
        until: Duration,
        most: usize,
        who: W,
    ) -> Joined<W> {
        let mut displaced = None;
        if self.waiting >= most {
            let least = Class::ALL.into_iter().rev().find(|c| self.len_of(*c) > 0);
            match least {
                Some(least) if least >= class => displaced = self.take(least, false),
                _ => return Joined::Full(who),
            }
        }
        self.came += 1;
        let number = self.came;
        let since = now;
        self.classes[class.index()].insert(number, Waiter { since, until, who });
        self.waiting += 1;
        let ticket = Ticket { class, number };
        match displaced {
            None => Joined::Waits(ticket),
            Some((class, waiter)) => Joined::Displaced(ticket, class, waiter.who),
        }
    }

    /// Leaves the queue; `None` for who has left it already.
    pub fn leave(&mut self, ticket: Ticket) -> Option<W> {
        let left = self.classes[ticket.class.index()].remove(&ticket.number)?;
        self.waiting -= 1;
        Some(left.who)
    }

    /// Becomes more important, at the end of the queue of that class; the same ticket where nothing changes.
    pub fn promote(&mut self, ticket: Ticket, class: Class) -> Ticket {
        if class >= ticket.class {
            return ticket;
        }
        let Some(waiter) = self.classes[ticket.class.index()].remove(&ticket.number) else {
            return ticket;
        };
        self.came += 1;
        let number = self.came;
        self.classes[class.index()].insert(number, waiter);
        Ticket { class, number }
    }

    /// Takes those out whose time is over.
    pub fn expire(&mut self, now: Duration, mut late: impl FnMut(Class, W)) {
        for class in Class::ALL {
            let waiters = &mut self.classes[class.index()];
            // Numbers and deadlines mostly go along; a promotion or another bound may turn a few around, which then
            // leave a little later.
            while let Some(first) = waiters.first_entry()
                && first.get().until <= now
            {
                late(class, first.remove().who);
                self.waiting -= 1;
            }
        }
    }

    /// Whose turn it is.
    pub fn next(&mut self, now: Duration, patience: Duration) -> Option<(Class, W)> {
        let mut waiting = Class::ALL.into_iter().filter(|c| self.len_of(*c) > 0);
        let first = waiting.next()?;
        let due = waiting.find(|c| *c != Class::Bot && self.passed[c.index()] >= PASSED_OVER);
        let class = due.unwrap_or(first);
        for other in Class::ALL {
            let passed = &mut self.passed[other.index()];
            *passed = match other == class || self.classes[other.index()].is_empty() {
                true => 0,
                false => passed.saturating_add(1),
            };
        }
        let oldest = self.classes[class.index()].values().next()?;
        let newest_first = now.saturating_sub(oldest.since) > patience / 2;
        let (class, waiter) = self.take(class, newest_first)?;
        Some((class, waiter.who))
    }

    fn take(&mut self, class: Class, newest: bool) -> Option<(Class, Waiter<W>)> {
        let waiters = &mut self.classes[class.index()];
        let (_, waiter) = match newest {
            true => waiters.pop_last(),
            false => waiters.pop_first(),
        }?;
        self.waiting -= 1;
        Some((class, waiter))
    }
}

#[cfg(test)]
mod tests;
