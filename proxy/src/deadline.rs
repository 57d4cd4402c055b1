//! A time limit that is set often and reached rarely.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::time::{Instant, Sleep, sleep_until};

/// Moving the limit later costs nothing: the timer that runs is left to fire, and is set anew then.
#[derive(Default)]
pub struct Deadline {
    timer: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    /// Ready once `at` is past.
    pub fn poll(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if at < timer.deadline() {
            timer.as_mut().reset(at);
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if timer.deadline() >= at {
                return Poll::Ready(());
            }
            timer.as_mut().reset(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_deadline_may_move_either_way() {
        let mut deadline = Deadline::default();
        let second = Duration::from_secs(1);
        let began = Instant::now();
        let pending = |deadline: &mut Deadline, cx: &mut Context<'_>, at| {
            assert!(deadline.poll(cx, at).is_pending());
            Poll::Ready(())
        };
        poll_fn(|cx| pending(&mut deadline, cx, began + 15 * second)).await;
        poll_fn(|cx| pending(&mut deadline, cx, began + 30 * second)).await;
        poll_fn(|cx| deadline.poll(cx, began + 20 * second)).await;
        assert_eq!(began.elapsed().as_secs(), 20);
        poll_fn(|cx| pending(&mut deadline, cx, began + 600 * second)).await;
        poll_fn(|cx| deadline.poll(cx, began + 21 * second)).await;
        assert_eq!(began.elapsed().as_secs(), 21);
    }
}
