//! Connections that wait for their visitors, to be woken when the process drains.

use std::{
    sync::{Mutex, PoisonError},
    task::{Context, Waker},
};

use slab::Slab;

/// The connections of a thread. A place is taken once for each connection, so that waiting for a request
/// costs nothing that other connections could feel.
#[derive(Default)]
pub struct Waiting(Mutex<Slab<Waker>>);

impl Waiting {
    /// Wakes all: they look whether the process drains.
    pub fn wake(&self) {
        let places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        places.iter().for_each(|(_, waker)| waker.wake_by_ref());
    }
}

/// A connection's place; given up when dropped.
pub(super) struct Place<'a> {
    waiting: &'a Waiting,
    number: Option<usize>,
}

impl<'a> Place<'a> {
    pub(super) fn new(waiting: &'a Waiting) -> Self {
        Self {
            waiting,
            number: None,
        }
    }

    /// Takes the place for the task that polls, which stays the same.
    pub(super) fn take(&mut self, cx: &Context<'_>) {
        if self.number.is_none() {
            let mut places = self
                .waiting
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            self.number = Some(places.insert(cx.waker().clone()));
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            let mut places = self
                .waiting
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            places.try_remove(number);
        }
    }
}
