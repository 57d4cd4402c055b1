//! Content on its way from the shop: to everyone who reads, and into the store.

use std::{sync::Arc, time::SystemTime};

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use object_files::Writer;
use pingora_http::ResponseHeader;

use super::{ask::Answer, fetch::Task, flight::Broken, part};
use crate::{
    cache::{
        Stored,
        head::stored_header,
        store::Variation,
        stored::{Judged, millis},
    },
    shared::Shared,
};

/// What is fetched of something large that nobody waits for.
const ABANDONED: u64 = 16 * 1024 * 1024;
/// Times that one answer is taken up again after it broke off.
const MAX_RESUMED: u32 = 1;
/// What goes to the disk at once.
const BATCH: usize = 256 * 1024;

/// What becomes of an answer that is to be stored.
pub(super) struct Plan {
    pub(super) header: ResponseHeader,
    pub(super) key: Vec<u8>,
    pub(super) variation: Option<Arc<Variation>>,
    /// The variation is news.
    pub(super) learned: bool,
    pub(super) judged: Judged,
    pub(super) length: Option<u64>,
    /// Content that was here before; the answer is what follows it.
    pub(super) beginning: Option<Bytes>,
    pub(super) compresses: bool,
}

/// Where the content is kept.
enum Keep {
    Memory,
    File(Box<Spool>),
    /// It is not.
    Nowhere,
}

struct Spool {
    writer: Writer,
    batch: BytesMut,
    /// Where it began.
    since: u64,
}

/// Room taken of what all fetches may hold; given back when dropped.
struct Room<'a> {
    shared: &'a Shared,
    taken: u64,
}

impl Room<'_> {
    fn take(&mut self, bytes: u64) -> bool {
        let taken = self.shared.store.take_room(bytes);
        if taken {
            self.taken += bytes;
        }
        taken
    }
}

impl Room<'_> {
    fn give_back(&mut self) {
        let taken = std::mem::take(&mut self.taken);
        self.shared.store.give_room_back(taken);
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// Passes content on to those who read, who wait for each other; nothing is kept.
pub(super) async fn pass(task: &Task, mut answer: Answer) {
    let filler = &task.filler;
    task.flight.pass();
    loop {
        match answer.piece().await {
            Ok(Some(piece)) => {
                if !task.flight.push(piece).await {
                    return answer.discard(filler).await;
                }
            }
            Ok(None) => {
                task.flight.end(Ok(()));
                return answer.release(filler);
            }
            Err(error) => {
                task.flight.end(Err(Broken));
                return answer.broke(filler, &error);
            }
        }
    }
}

/// Passes a part of some content on; returns it when all of it is here. The caller knows it to be small
/// enough.
pub(super) async fn collect(task: &Task, mut answer: Answer, length: u64) -> Option<Bytes> {
    let filler = &task.filler;
    let shared = filler.shared();
    let mut room = Room { shared, taken: 0 };
    let mut arrived = 0;
    loop {
        match answer.piece().await {
            Ok(Some(piece))
                if arrived + piece.len() as u64 <= length && room.take(piece.len() as u64) =>
            {
                arrived += piece.len() as u64;
                task.flight.push(piece).await;
            }
            Ok(None) if arrived == length => break,
            Ok(None) => {
                task.flight.end(Err(Broken));
                answer.release(filler);
                return None;
            }
            Ok(Some(_)) => {
                task.flight.end(Err(Broken));
                answer.discard(filler).await;
                return None;
            }
            Err(error) => {
                task.flight.end(Err(Broken));
                answer.broke(filler, &error);
                return None;
            }
        }
    }
    task.flight.end(Ok(()));
    answer.release(filler);
    Some(Bytes::from(task.flight.pieces().concat()))
}

/// Passes content on and stores it when it is complete. What turns out too large for the store goes on
/// to those who read it.
pub(super) async fn fill(task: &Task, mut answer: Answer, plan: Plan) {
    let filler = &task.filler;
    let sent_at = answer.sent_at;
    let shared = filler.shared();
    let mut room = Room { shared, taken: 0 };
    let mut keep = Keep::Memory;
    if plan.length.is_some_and(|l| l > shared.store.max_object()) {
        keep = spool(task).await;
    }
    let mut arrived = 0;
    if let Some(beginning) = plan.beginning.clone() {
        arrived += beginning.len() as u64;
        if room.take(arrived) {
            task.flight.push(beginning).await;
        } else {
            task.flight.end(Err(Broken));
            return answer.discard(filler).await;
        }
    }
    let mut resumed = 0;
    loop {
        let piece = match answer.piece().await {
            Ok(Some(piece)) => piece,
            Ok(None) => break,
            Err(error) => match resume(task, &answer, &keep, arrived, &mut resumed).await {
                Some(again) => {
                    std::mem::replace(&mut answer, again).broke(filler, &error);
                    continue;
                }
                None => {
                    task.flight.end(Err(Broken));
                    if let Keep::Memory = keep {
                        part::keep_beginning(task, &plan, arrived);
                    }
                    return answer.broke(filler, &error);
                }
            },
        };
        arrived += piece.len() as u64;
        if plan.length.is_some_and(|length| arrived > length) {
            // More than was said before: none of it can be trusted.
            task.flight.end(Err(Broken));
            return answer.discard(filler).await;
        }
        if matches!(keep, Keep::Memory)
            && (arrived > shared.store.max_object() || !room.take(piece.len() as u64))
        {
            keep = spool(task).await;
            room.give_back();
        }
        keep = match keep {
            Keep::Memory => {
                task.flight.push(piece).await;
                Keep::Memory
            }
            Keep::File(mut spool) => {
                if !task.flight.is_wanted() && arrived - spool.since > ABANDONED {
                    // Those who wanted it are gone, and it is not worth that much to the next ones.
                    task.flight.end(Err(Broken));
                    return answer.discard(filler).await;
                }
                spool.batch.extend_from_slice(&piece);
                if spool.batch.len() >= BATCH {
                    write(task, spool, arrived).await
                } else {
                    Keep::File(spool)
                }
            }
            Keep::Nowhere => {
                if !task.flight.push(piece).await {
                    return answer.discard(filler).await;
                }
                Keep::Nowhere
            }
        };
        if let Keep::Nowhere = keep
            && !task.flight.is_passing()
        {
            // Larger than the store takes: those who read go on, who comes now asks anew.
            if arrived > shared.max_object() {
                shared.store.note_uncacheable(&task.flight.key, true);
            }
            shared.flights.retire(&task.flight);
            task.flight.pass();
        }
    }
    if plan.length.is_some_and(|length| arrived != length) {
        task.flight.end(Err(Broken));
        return answer.discard(filler).await;
    }
    answer.release(filler);
    let keep = match keep {
        keep if !is_overtaken(task, &plan, sent_at) => keep,
        Keep::File(spool) => {
            drop(write(task, spool, arrived).await);
            Keep::Nowhere
        }
        _ => Keep::Nowhere,
    };
    match keep {
        Keep::Memory => store(task, plan, arrived),
        Keep::File(spool) => finish(task, spool, plan, arrived).await,
        Keep::Nowhere => task.flight.end(Ok(())),
    }
}

/// Whether others, who would not wait any longer, have been answered with something newer meanwhile.
fn is_overtaken(task: &Task, plan: &Plan, sent_at: SystemTime) -> bool {
    let shared = task.filler.shared();
    let newer = |there: Stored| millis(there.response_time()) >= millis(sent_at);
    !shared.flights.is_current(&task.flight) && shared.store.get(&plan.key).is_some_and(newer)
}

/// Asks for the rest of an answer that broke off, so that neither those who read nor the store lose
/// what is here (RFC 9111 §3.3). The rest is taken where the shop vouches for it with a strong validator
/// (§3.4), or where it sends the whole anew and that begins with the very bytes that are here.
async fn resume(
    task: &Task,
    broken: &Answer,
    keep: &Keep,
    arrived: u64,
    resumed: &mut u32,
) -> Option<Answer> {
    if !matches!(keep, Keep::Memory) || *resumed == MAX_RESUMED {
        return None;
    }
    *resumed += 1;
    if !broken.upstream().may_repeat(&task.shared().metrics) {
        return None;
    }
    let mut again = task.ask_again(&broken.header, arrived).await?;
    if again.header.status == StatusCode::PARTIAL_CONTENT {
        return Some(again);
    }
    let mut place = 0;
    while place < arrived {
        let Ok(Some(mut piece)) = again.piece().await else {
            break;
        };
        let known = usize::try_from(arrived - place).unwrap_or(usize::MAX);
        let rest = piece.split_off(known.min(piece.len()));
        if !task.flight.has(place, &piece) {
            break;
        }
        place += piece.len() as u64;
        again.put_back(rest);
    }
    if place < arrived {
        again.discard(&task.filler).await;
        return None;
    }
    Some(again)
}

/// Complete, in memory.
fn store(task: &Task, plan: Plan, arrived: u64) {
    let shared = task.filler.shared();
    let header = with_length(&plan, arrived);
    let pieces = task.flight.pieces();
    let stored = Stored::new(&plan.key, &header, Some(&pieces), arrived, plan.judged);
    shared.store.put(stored.clone());
    shared.store.parts.remove(&plan.key);
    task.flight.end(Ok(()));
    if let Some(variation) = &plan.variation {
        variation.note(&stored);
    }
    let news = plan.variation.filter(|_| plan.learned);
    shared.keep(&stored, plan.compresses, news);
}

/// From here on content goes to a file; what has arrived goes first.
async fn spool(task: &Task) -> Keep {
    let Some(disk) = task.filler.shared().disk.clone() else {
        return Keep::Nowhere;
    };
    let pieces = task.flight.pieces();
    let arrived: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
    let created = tokio::task::spawn_blocking(move || {
        let mut writer = disk.create()?;
        for piece in pieces {
            writer.append(&piece).ok()?;
        }
        Some(writer)
    });
    match created.await {
        Ok(Some(writer)) => {
            task.flight.spool(writer.reader(), arrived);
            Keep::File(Box::new(Spool {
                writer,
                batch: BytesMut::with_capacity(BATCH + 64 * 1024),
                since: arrived,
            }))
        }
        _ => Keep::Nowhere,
    }
}

/// Writes what has come together. What the disk does not take, or not any more, is passed on.
async fn write(task: &Task, spool: Box<Spool>, arrived: u64) -> Keep {
    let Spool {
        mut writer,
        mut batch,
        since,
    } = *spool;
    let bytes: Bytes = batch.split().freeze();
    let again = bytes.clone();
    let written = tokio::task::spawn_blocking(move || writer.append(&bytes).map(|()| writer));
    match written.await {
        Ok(Ok(writer)) => {
            task.flight.spooled(arrived);
            Keep::File(Box::new(Spool {
                writer,
                batch,
                since,
            }))
        }
        _ => {
            // Readers take what is in the file from there, and the rest from memory.
            task.flight.push_now(again);
            Keep::Nowhere
        }
    }
}

/// Complete, on the disk.
async fn finish(task: &Task, spool: Box<Spool>, plan: Plan, arrived: u64) {
    let Keep::File(spool) = write(task, spool, arrived).await else {
        return task.flight.end(Ok(()));
    };
    let shared = Arc::clone(task.filler.shared());
    let header = with_length(&plan, arrived);
    let stored = Stored::new(&plan.key, &header, None, arrived, plan.judged);
    let done = tokio::task::spawn_blocking({
        let (shared, stored) = (Arc::clone(&shared), stored.clone());
        move || {
            let Some(disk) = &shared.disk else {
                return false;
            };
            disk.finish(spool.writer, &stored, &shared.store.purges)
        }
    });
    if let Ok(true) = done.await {
        shared.store.put(stored.clone());
        shared.keep_variation(plan.variation.filter(|_| plan.learned));
    }
    task.flight.end(Ok(()));
}

fn with_length(plan: &Plan, length: u64) -> ResponseHeader {
    stored_header(&plan.header, Some(length), &[], plan.judged.response_time)
}
