//! Reading content as it arrives, from memory and from a file.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use object_files::WriterReader;
use tokio::sync::watch;

use super::{Broken, Flight, Stay};

/// What a reader of a spooled answer takes at once.
const SPOOL_READ: usize = 128 * 1024;

/// Reads content as it arrives.
pub struct Reader {
    stay: Stay,
    changed: watch::Receiver<()>,
    id: u64,
    place: u64,
    /// Where the part that is wanted ends.
    until: u64,
    /// Pieces that were taken and put back.
    put_back: VecDeque<Bytes>,
}

impl Reader {
    /// From the first byte on; `None` where that has been dropped already.
    pub fn new(flight: &Arc<Flight>) -> Option<Self> {
        let mut progress = flight.progress();
        if progress.dropped_to > 0 {
            return None;
        }
        let id = progress.next_reader;
        progress.next_reader += 1;
        progress.places.insert((0, id));
        drop(progress);
        Some(Self {
            stay: flight.stay(),
            changed: flight.watch(),
            id,
            place: 0,
            until: u64::MAX,
            put_back: VecDeque::new(),
        })
    }

    /// Only the bytes from `first` to `last`, both included.
    pub fn limit(&mut self, first: u64, last: u64) {
        self.until = last.saturating_add(1);
        self.move_to(first);
    }

    fn move_to(&mut self, place: u64) {
        let flight = &self.stay.flight;
        // Who has all that it wants keeps nobody waiting while it writes that out.
        let kept = (place < self.until).then_some(place);
        let was_slowest = flight.progress().move_reader(self.id, self.place, kept);
        self.place = place;
        if was_slowest {
            flight.drained.notify_one();
        }
    }

    /// Puts the pieces that were taken last in front of the rest.
    pub fn put_back(&mut self, pieces: VecDeque<Bytes>) {
        self.put_back = pieces;
    }

    /// The next piece; `None` at the end. Waits for what has not arrived.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        enum Step {
            Piece(Bytes),
            File(WriterReader, usize),
            End(Result<(), Broken>),
            Wait,
        }
        if let Some(piece) = self.put_back.pop_front() {
            return Ok(Some(piece));
        }
        if self.place >= self.until {
            return Ok(None);
        }
        loop {
            self.changed.borrow_and_update();
            let step = {
                let progress = self.stay.flight.progress();
                match (progress.at(self.place), &progress.spool) {
                    (Some(piece), _) => Step::Piece(piece),
                    (None, Some(spool)) if self.place < progress.arrived => {
                        let left = progress.arrived.min(self.until) - self.place;
                        let take = usize::try_from(left).unwrap_or(usize::MAX);
                        Step::File(spool.clone(), take.min(SPOOL_READ))
                    }
                    // What was wanted is gone: the others went on without this one.
                    _ if self.place < progress.dropped_to => Step::End(Err(Broken)),
                    _ => progress.end.map_or(Step::Wait, Step::End),
                }
            };
            let mut piece = match step {
                Step::Piece(piece) => piece,
                Step::File(spool, take) => {
                    let place = self.place;
                    let read = move || spool.read_at(place, take);
                    match tokio::task::spawn_blocking(read).await {
                        Ok(Ok(piece)) if !piece.is_empty() => piece,
                        _ => return Err(Broken),
                    }
                }
                Step::End(end) => return end.map(|()| None),
                Step::Wait => {
                    if self.changed.changed().await.is_err() {
                        return Err(Broken);
                    }
                    continue;
                }
            };
            let left = self.until - self.place;
            if piece.len() as u64 > left {
                piece.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            }
            self.move_to(self.place + piece.len() as u64);
            return Ok(Some(piece));
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let flight = &self.stay.flight;
        let mut progress = flight.progress();
        self.stay.is_counted = !progress.expelled.remove(&self.id);
        progress.charged.remove(&self.id);
        progress.places.remove(&(self.place, self.id));
        drop(progress);
        flight.drained.notify_one();
    }
}
