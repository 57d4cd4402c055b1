//! What the two processes tell each other while both live: purges in both directions, stored responses, and how the
//! older one comes to its end.
//!
//! A purge that one of them accepts is in force in both before it is confirmed to whoever ordered it. Whoever loses
//! the other has nobody to tell.

use std::{
    io,
    net::Shutdown,
    os::unix::net::UnixStream,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TryRecvError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use super::wire::{self, Kind};
use crate::cache::{
    Purges,
    purge::{self, Peer},
};

/// Frames that may wait to be written. What is purged beyond them is told as a purge of everything.
const WAITING_MOST: usize = 4096;
/// How long one frame may take to be written: a process that does not read for so long is as good as gone.
const STUCK: Duration = Duration::from_secs(10);
/// How long a purge waits for the other process. It answers within a millisecond, unless it is stopped.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(1);
/// How often a writer without work looks whether it is still needed.
const LOOK: Duration = Duration::from_millis(100);

/// What goes along whenever no frame waits: stored responses.
pub(super) type Cargo = Box<dyn Iterator<Item = Vec<u8>> + Send>;

/// The way to the other process.
pub(super) struct Link {
    stream: UnixStream,
    out: SyncSender<(Kind, Vec<u8>)>,
    /// Some purges could not be put into the queue.
    lost: AtomicBool,
    /// Purges told so far.
    told: AtomicU64,
    heard: Mutex<Heard>,
    changed: Condvar,
    /// All of the cargo is written.
    delivered: AtomicBool,
}

#[derive(Default)]
struct Heard {
    /// Purges that the other process has confirmed.
    confirmed: u64,
    is_closed: bool,
}

impl Link {
    /// Begins to write to the other process.
    pub(super) fn start(stream: UnixStream, cargo: Option<Cargo>) -> io::Result<Arc<Self>> {
        Self::start_patiently(stream, cargo, STUCK)
    }

    /// The same to a process that may not read for so long, because it has other things to do before, up to
    /// [`hurries`](Self::hurries).
    pub(super) fn start_patiently(
        stream: UnixStream,
        cargo: Option<Cargo>,
        patience: Duration,
    ) -> io::Result<Arc<Self>> {
        stream.set_write_timeout(Some(patience.max(Duration::from_millis(1))))?;
        let (out, frames) = sync_channel(WAITING_MOST);
        let link = Arc::new(Self {
            stream,
            out,
            lost: AtomicBool::new(false),
            told: AtomicU64::new(0),
            heard: Mutex::default(),
            changed: Condvar::new(),
            delivered: AtomicBool::new(cargo.is_none()),
        });
        let writer = Arc::clone(&link);
        thread::Builder::new()
            .name("handover".to_owned())
            .spawn(move || {
                if let Err(why) = writer.write(&frames, cargo) {
                    tracing::debug!(%why, "the other process takes nothing more");
                }
                writer.close();
            })?;
        Ok(link)
    }

    /// Writes what waits, and cargo while nothing does.
    fn write(
        &self,
        frames: &Receiver<(Kind, Vec<u8>)>,
        mut cargo: Option<Cargo>,
    ) -> io::Result<()> {
        loop {
            let frame = match &mut cargo {
                None => frames.recv_timeout(LOOK).ok(),
                Some(more) => match frames.try_recv() {
                    Ok(frame) => Some(frame),
                    Err(TryRecvError::Disconnected) => return Ok(()),
                    Err(TryRecvError::Empty) => more.next().map(|stored| (Kind::Stored, stored)),
                },
            };
            match frame {
                Some((kind, content)) => wire::send(&self.stream, kind, &content)?,
                None if cargo.take().is_some() => {
                    wire::send(&self.stream, Kind::AllStored, b"")?;
                    self.delivered.store(true, Ordering::Release);
                }
                None if self.is_closed() => return Ok(()),
                None => {}
            }
            if self.lost.swap(false, Ordering::AcqRel) {
                let number = self.told.load(Ordering::Acquire);
                let all = numbered(number, &purge::everything());
                wire::send(&self.stream, Kind::Purge, &all)?;
            }
        }
    }

    /// Puts a frame into the queue; `false` where there is no room, or nobody reads.
    pub(super) fn post(&self, kind: Kind, content: Vec<u8>) -> bool {
        self.out.try_send((kind, content)).is_ok()
    }

    /// Reads the next frame that is for the caller. Purges are taken over and confirmed on the way.
    pub(super) fn next(self: &Arc<Self>, purges: &Purges) -> io::Result<(Kind, Vec<u8>)> {
        loop {
            if let Some(frame) = self.take(purges)? {
                return Ok(frame);
            }
        }
    }

    /// Reads a frame; `None` where it is done with.
    pub(super) fn take(self: &Arc<Self>, purges: &Purges) -> io::Result<Option<(Kind, Vec<u8>)>> {
        let (kind, content) = wire::receive(&self.stream)?;
        match kind {
            Kind::Purge => {
                let (number, line) = content
                    .split_first_chunk::<8>()
                    .ok_or_else(|| wire::invalid("a purge without a number"))?;
                let from: Arc<dyn Peer> = Arc::clone(self) as _;
                purges.learn(line, Some(&from));
                if !self.post(Kind::Purged, number.to_vec()) {
                    return Err(wire::invalid("the other process does not read"));
                }
            }
            Kind::Purged => {
                let number = content.first_chunk::<8>().map(|n| u64::from_be_bytes(*n));
                let mut heard = self.heard();
                heard.confirmed = heard.confirmed.max(number.unwrap_or_default());
                self.changed.notify_all();
            }
            kind => return Ok(Some((kind, content))),
        }
        Ok(None)
    }

    /// The other process reads all the time from now on.
    pub(super) fn hurries(&self) -> io::Result<()> {
        self.stream.set_write_timeout(Some(STUCK))
    }

    /// Reads fail from this moment on.
    pub(super) fn read_until(&self, until: Option<Instant>) -> io::Result<()> {
        wire::read_until(&self.stream, until)
    }

    /// Waits for something to be read, or the other process's end: `false` where neither came until then.
    pub(super) fn readable_until(&self, until: Instant) -> io::Result<bool> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).map_err(io::Error::other)?;
            let mut polled = [PollFd::new(&self.stream, PollFlags::IN)];
            match poll(&mut polled, Some(&left)) {
                Ok(ready) => return Ok(ready > 0),
                Err(Errno::INTR) => {}
                Err(why) => return Err(why.into()),
            }
        }
    }

    /// Whether all of the cargo is on its way.
    pub(super) fn has_delivered(&self) -> bool {
        self.delivered.load(Ordering::Acquire)
    }

    /// Whether the other process is gone.
    pub(super) fn is_closed(&self) -> bool {
        self.heard().is_closed
    }

    /// Ends it in both directions.
    pub(super) fn close(&self) {
        let _ = self.stream.shutdown(Shutdown::Both);
        self.heard().is_closed = true;
        self.changed.notify_all();
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Peer for Link {
    fn tell(&self, line: &[u8]) {
        // Numbers stand in the order of the queue, or a later one would be confirmed for an earlier one.
        let _in_order = self.heard();
        let number = self.told.fetch_add(1, Ordering::AcqRel) + 1;
        if !self.post(Kind::Purge, numbered(number, line)) {
            self.lost.store(true, Ordering::Release);
        }
    }

    fn settle(&self) -> bool {
        let told = self.told.load(Ordering::Acquire);
        let heard = self.heard();
        let waited = self
            .changed
            .wait_timeout_while(heard, CONFIRMED_WITHIN, |heard| {
                heard.confirmed < told && !heard.is_closed
            });
        let (heard, _) = waited.unwrap_or_else(PoisonError::into_inner);
        // Nobody is left who could answer with what was purged.
        heard.confirmed >= told || heard.is_closed
    }
}

fn numbered(number: u64, line: &[u8]) -> Vec<u8> {
    let mut content = number.to_be_bytes().to_vec();
    content.extend_from_slice(line);
    content
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::cache::purge::Order;

    fn all() -> Order {
        Order {
            all: true,
            ..Order::default()
        }
    }

    #[test]
    fn a_purge_is_confirmed_once_it_is_in_force_in_both() {
        let (one, other) = UnixStream::pair().expect("a pair");
        let (old, new) = (Arc::new(Purges::in_memory()), Purges::in_memory());
        let to_new = Link::start(one, None).expect("a thread");
        let to_old = Link::start(other, None).expect("a thread");
        old.attach(Arc::clone(&to_new) as _);
        let (link, purges) = (Arc::clone(&to_new), Arc::clone(&old));
        let reads = thread::spawn(move || link.next(&purges).map(|(kind, _)| kind));
        let order = Arc::clone(&old);
        let purging = thread::spawn(move || order.purge(all(), SystemTime::now()));
        let before = new.seq();
        to_new.post(Kind::Go, Vec::new());
        // Whatever the order of the two: a purge is taken in before what comes behind it.
        assert_eq!(to_old.next(&new).expect("a frame").0, Kind::Go);
        to_old
            .read_until(Some(Instant::now() + Duration::from_secs(5)))
            .expect("a limit");
        let reading = thread::spawn(move || {
            let end = to_old.next(&new).expect_err("the end");
            (end, new.seq(), to_old)
        });
        let seq = purging.join().expect("no panic").expect("no disk");
        assert!(to_new.settle());
        to_new.close();
        let (_, learnt, to_old) = reading.join().expect("no panic");
        assert!(learnt > before && learnt >= seq, "{learnt} {seq}");
        assert!(reads.join().expect("no panic").is_err());
        to_old.close();
        assert!(to_old.settle(), "nobody is left");
    }

    #[test]
    fn purges_that_find_no_room_purge_everything() {
        let (one, other) = UnixStream::pair().expect("a pair");
        let link = Link::start(one, None).expect("a thread");
        let line = vec![b' '; 1024];
        // The other process does not read: first the socket is full, then the queue.
        for _ in 0..2 * WAITING_MOST {
            link.tell(&line);
        }
        assert!(link.lost.load(Ordering::Acquire));
        let new = Purges::in_memory();
        let seq = new.seq();
        let reader = Link::start(other, None).expect("a thread");
        reader
            .read_until(Some(Instant::now() + Duration::from_secs(1)))
            .expect("a limit");
        let _ = reader.next(&new);
        assert!(new.seq() > seq);
        let confirmed = Arc::clone(&link);
        thread::spawn(move || {
            let _ = confirmed.next(&Purges::in_memory());
        });
        reader.close();
    }

    #[test]
    fn a_process_that_does_not_read_for_as_long_as_it_may_gets_everything() {
        let cargo = || (0..1000_u32).map(|_| vec![0; 1024]);
        let begin = |patience| {
            let (one, other) = UnixStream::pair().expect("a pair");
            let link = Link::start_patiently(one, Some(Box::new(cargo())), patience);
            (link.expect("a thread"), other)
        };
        let (hasty, _unread) = begin(Duration::from_millis(50));
        let (patient, other) = begin(Duration::from_secs(60));
        let began = Instant::now();
        while !hasty.is_closed() && began.elapsed() < Duration::from_secs(20) {
            thread::sleep(Duration::from_millis(5));
        }
        assert!(hasty.is_closed() && !patient.is_closed());
        let reader = Link::start(other, None).expect("a thread");
        let purges = Purges::in_memory();
        while reader.next(&purges).expect("a frame").0 != Kind::AllStored {}
        patient.close();
    }

    #[test]
    fn cargo_goes_behind_what_is_urgent() {
        let (one, other) = UnixStream::pair().expect("a pair");
        let cargo = (0..1000_u32).map(|n| n.to_be_bytes().to_vec());
        let link = Link::start(one, Some(Box::new(cargo))).expect("a thread");
        link.post(Kind::Go, Vec::new());
        let purges = Purges::in_memory();
        let reader = Link::start(other, None).expect("a thread");
        reader
            .read_until(Some(Instant::now() + Duration::from_secs(10)))
            .expect("a limit");
        let mut kinds = Vec::new();
        loop {
            let (kind, _) = reader.next(&purges).expect("a frame");
            kinds.push(kind);
            if kind == Kind::AllStored {
                break;
            }
        }
        assert_eq!(kinds.len(), 1002);
        assert!(kinds.contains(&Kind::Go));
        link.close();
    }
}
