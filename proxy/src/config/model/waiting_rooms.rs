//! Waiting rooms.

use std::{
    num::NonZeroU32,
    path::PathBuf,
    time::{Duration, SystemTime},
};

/// `[waiting_rooms.NAME]`.
#[derive(Debug, Clone)]
pub struct WaitingRoom {
    /// The name in the file.
    pub name: String,
    /// Visitors inside at once.
    pub capacity: u32,
    /// Most admissions, and the period they are counted by.
    pub rate: Option<(NonZeroU32, Duration)>,
    /// Who is quiet for so long has left.
    pub stay: Duration,
    /// Cookies by which the shop tells of a cart.
    pub cart_cookies: Vec<String>,
    /// The same as `stay`, with a cart.
    pub cart_stay: Duration,
    /// Who waits.
    pub covers: Covers,
    /// Nobody is let in before, from the beginning of the pre-queue on.
    pub opens: Option<SystemTime>,
    /// How long before `opens` the pre-queue begins.
    pub early: Duration,
    /// How long a ticket is good for.
    pub ticket_life: Duration,
    /// Keys by their ids; the first signs. None: the process makes one.
    pub keys: Vec<(String, PathBuf)>,
    /// The page, where it is not the one that is built in.
    pub template: Option<PathBuf>,
}

/// Who waits in a waiting room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Covers {
    /// Everyone on its routes.
    #[default]
    All,
    /// Who asks for what the store does not have.
    Origin,
}
