//! Waiting for a moment, more exactly than the runtime's timers.
//!
//! Those count whole milliseconds and are up to two late, which would stand in every latency, because it is counted
//! from the moment a request is due. Here all who wait share one timer of the kernel's, which is exact to some ten
//! microseconds.

use std::{
    cell::RefCell,
    cmp::Reverse,
    collections::BinaryHeap,
    io,
    os::fd::{AsFd, AsRawFd, RawFd},
    time::{Duration, Instant},
};

use nix::sys::{
    time::TimeSpec,
    timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
};
use tokio::{io::unix::AsyncFd, sync::oneshot};

/// Who waits, the earliest first. There are as many as visitors and attackers.
pub(crate) struct Clock {
    timer: AsyncFd<Timer>,
    waiting: RefCell<BinaryHeap<Reverse<Waiting>>>,
}

struct Timer(TimerFd);

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

struct Waiting {
    due: Instant,
    wake: oneshot::Sender<()>,
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.due == other.due
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.due.cmp(&other.due)
    }
}

impl Clock {
    /// Without anybody waiting; needs a runtime.
    #[allow(
        deprecated,
        reason = "its successor is unsafe; the timer owns its descriptor and keeps it while it is registered"
    )]
    pub(crate) fn new() -> io::Result<Self> {
        let timer = TimerFd::new(
            ClockId::CLOCK_MONOTONIC,
            TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC,
        )?;
        Ok(Self {
            timer: AsyncFd::new(Timer(timer))?,
            waiting: RefCell::default(),
        })
    }

    /// Waits for a moment. Returns at once if it has passed, or if the timer failed.
    pub(crate) async fn until(&self, due: Instant) {
        if due <= Instant::now() {
            return;
        }
        let (wake, woken) = oneshot::channel();
        let is_first = {
            let mut waiting = self.waiting.borrow_mut();
            waiting.push(Reverse(Waiting { due, wake }));
            waiting
                .peek()
                .is_some_and(|Reverse(first)| first.due == due)
        };
        if is_first && self.arm(due).is_err() {
            return;
        }
        // An error means that the clock has been stopped.
        let _ = woken.await;
    }

    fn arm(&self, due: Instant) -> io::Result<()> {
        // 0 would disarm it.
        let left = due
            .saturating_duration_since(Instant::now())
            .max(Duration::from_nanos(1));
        let at = Expiration::OneShot(TimeSpec::from_duration(left));
        self.timer
            .get_ref()
            .0
            .set(at, TimerSetTimeFlags::empty())
            .map_err(io::Error::from)
    }

    /// Wakes those whose moment has come; to be run beside them.
    pub(crate) async fn run(&self) -> io::Result<()> {
        loop {
            let next = self.wake_due();
            if let Some(due) = next {
                self.arm(due)?;
            }
            let mut ready = self.timer.readable().await?;
            // Reading it makes it unreadable; whether it had run out is seen by the time.
            match ready.try_io(|timer| timer.get_ref().0.wait().map_err(io::Error::from)) {
                Ok(Err(error)) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
        }
    }

    fn wake_due(&self) -> Option<Instant> {
        let mut waiting = self.waiting.borrow_mut();
        let now = Instant::now();
        while let Some(Reverse(first)) = waiting.peek() {
            if first.due > now {
                return Some(first.due);
            }
            if let Some(Reverse(first)) = waiting.pop() {
                // Whoever no longer waits is not there to be woken.
                let _ = first.wake.send(());
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    #[test]
    fn all_are_woken_in_order_and_none_early() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let clock = Rc::new(Clock::new().expect("a timer"));
            let running = Rc::clone(&clock);
            let driver = tokio::task::spawn_local(async move { running.run().await });
            let woken = Rc::new(RefCell::new(Vec::new()));
            let start = Instant::now();
            let waits: Vec<_> = [5_000, 300, 2_000, 0, 700]
                .map(|micros| {
                    let (clock, woken) = (Rc::clone(&clock), Rc::clone(&woken));
                    tokio::task::spawn_local(async move {
                        let due = start + Duration::from_micros(micros);
                        clock.until(due).await;
                        assert!(Instant::now() >= due);
                        woken.borrow_mut().push(micros);
                    })
                })
                .into();
            for wait in waits {
                wait.await.expect("a task that ends");
            }
            assert_eq!(*woken.borrow(), [0, 300, 700, 2_000, 5_000]);
            driver.abort();
        });
    }
}
