//! What a room is told, and what it answers.

use crate::{
    Millis,
    inside::Stays,
    queue::LIFE_MOST,
    ticket::{Read, Ticket},
};

/// So many in a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: u32,
    /// Milliseconds.
    pub period: Millis,
}

/// What the operator says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Visitors inside at once.
    pub capacity: u32,
    /// Most admissions.
    pub rate: Option<Rate>,
    /// Who is quiet for so long has left.
    pub stay: Millis,
    /// The same with a cart.
    pub cart_stay: Millis,
    /// Nobody is admitted before, from the beginning of the pre-queue on.
    pub opens: Option<Millis>,
    /// How long before `opens` the pre-queue begins.
    pub early: Millis,
    /// How long a ticket is good for.
    pub ticket_life: Millis,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            capacity: 1,
            rate: None,
            stay: 300_000,
            cart_stay: 1_800_000,
            opens: None,
            early: 0,
            ticket_life: 6 * 3_600_000,
        }
    }
}

impl Rules {
    /// How old the order of a good ticket can be.
    pub(crate) fn life(&self) -> Millis {
        (self.ticket_life + self.early).min(LIFE_MOST)
    }

    pub(crate) fn stays(&self) -> Stays {
        Stays { plain: self.stay, cart: self.cart_stay }
    }
}

/// Who stands at the door.
#[derive(Debug, Clone, Copy)]
pub enum Visitor {
    /// One with a ticket.
    Holds(Read),
    /// One without, who would keep one; with a random id that nobody has yet.
    New(u64),
    /// One that would not keep a ticket, such as a program.
    Stranger,
}

/// What becomes of a visitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Inside {
        /// Whose pass it has.
        id: u64,
        /// The pass it is to have from now on, where that is another one.
        pass: Option<Ticket>,
        /// Whether it has just come in.
        admitted: bool,
    },
    /// It goes on, and is not counted: there is no crowd.
    Uncounted,
    /// The same, of one who is counted when its ticket comes back.
    Guest {
        /// The ticket; none where it has it already.
        ticket: Option<Ticket>,
    },
    /// It waits.
    Wait {
        /// The ticket it is to have from now on, and which key is to sign it; none for strangers.
        ticket: Option<(Ticket, usize)>,
        /// What it is told.
        told: Told,
    },
}

/// The phase that someone without a pass meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Nobody waits.
    Open,
    /// The pre-queue: places are drawn at the opening.
    Early,
    /// There is a queue.
    Waiting,
    /// The visitor is inside.
    Inside,
}

impl Phase {
    /// As visitors and logs read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Early => "early",
            Self::Waiting => "waiting",
            Self::Inside => "inside",
        }
    }
}

/// What one who waits is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// Early or waiting.
    pub phase: Phase,
    /// The place in the queue, from 1; none before the opening, and for those without a ticket.
    pub place: Option<u32>,
    /// Everyone who waits.
    pub waiting: u32,
    /// How long it is likely to take, in milliseconds.
    pub wait: Millis,
    /// When to ask again, in milliseconds.
    pub refresh: Millis,
    /// How much of the way lies behind, in percent.
    pub progress: u8,
}

/// What one who only asks is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Where the visitor stands.
    pub phase: Phase,
    /// More about that, for those who wait.
    pub told: Option<Told>,
    /// Everyone who waits.
    pub waiting: u32,
}

/// What a room has counted since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Visitors let in.
    pub admitted: u64,
    /// Newcomers who were let go on once, uncounted.
    pub guests: u64,
    /// Tickets given to those who have to wait.
    pub issued: u64,
    /// Tickets, and guests, that have come back for the first time: visitors who keep cookies.
    pub kept: u64,
    /// Visitors who were quiet for too long.
    pub left: u64,
    /// Tickets that were called and did not come in time.
    pub no_shows: u64,
    /// Tickets of other processes, or of another opening, that were counted.
    pub returned: u64,
}
