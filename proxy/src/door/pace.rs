//! How slow a visitor may be.
//!
//! Who is waited for has a credit of time. Waiting uses it up, and every byte that moves gives back the time that
//! it may take at the least rate. Time in which a shop is waited for costs nothing.

use std::{
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::Instant;

use super::STALLED;
use crate::{config::model::Visitors, deadline::Deadline, edge::Scheme};

/// The system takes so much more at once when a reader has taken that much: half of what it holds unsent
/// ([`crate::listen::socket`]). Nothing smaller can be seen of a slow reader, so it is waited for.
const STEP: u64 = crate::listen::socket::UNSENT as u64 / 2;

/// Nothing of a TLS record shows before it is whole, and so much may be in one (RFC 8446 §5.1).
const RECORD: u64 = 16 * 1024;

/// What is left of a visitor's patience with us.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    /// Bytes per second; `0` means that pauses alone count.
    rate: u64,
    credit: Duration,
    /// The longest pause, and the most credit.
    most: Duration,
    /// Since when the visitor is waited for.
    since: Option<Instant>,
}

impl Pace {
    /// Of a visitor that sends, with pauses up to `pause`.
    pub(crate) fn receiving(visitors: &Visitors, scheme: Scheme, pause: Duration) -> Self {
        let rate = visitors.min_receive_rate;
        let unseen = match scheme {
            Scheme::Http => 0,
            Scheme::Https => RECORD,
        };
        Self::new(rate, visitors.rate_grace + time_of(unseen, rate), pause)
    }

    /// Of a visitor that reads.
    pub(crate) fn sending(visitors: &Visitors) -> Self {
        let rate = visitors.min_send_rate;
        let grace = visitors.rate_grace + time_of(STEP, rate);
        Self::new(rate, grace, STALLED)
    }

    fn new(rate: u64, grace: Duration, most: Duration) -> Self {
        Self {
            rate,
            credit: if rate == 0 { most } else { grace.min(most) },
            most,
            since: None,
        }
    }

    /// The same without a rate: for who may be silent.
    pub(crate) fn without_rate(mut self) -> Self {
        (self.rate, self.credit) = (0, self.most);
        self
    }

    /// The visitor is waited for; says until when.
    pub(crate) fn wait(&mut self, now: Instant) -> Instant {
        *self.since.get_or_insert(now) + self.credit
    }

    /// Something has moved, or it is not the visitor any more that is waited for. What moves without waiting earns
    /// nothing: it went into a buffer.
    pub(crate) fn moved(&mut self, bytes: u64) {
        let Some(since) = self.since.take() else {
            return;
        };
        if self.rate > 0 {
            let left = self.credit.saturating_sub(since.elapsed());
            self.credit = (left + time_of(bytes, self.rate)).min(self.most);
        }
    }

    /// Whether the visitor is waited for.
    pub(crate) fn is_waiting(&self) -> bool {
        self.since.is_some()
    }
}

/// How long so many bytes may take.
fn time_of(bytes: u64, rate: u64) -> Duration {
    match rate {
        0 => Duration::ZERO,
        rate => Duration::from_secs_f64(bytes as f64 / rate as f64),
    }
}

/// A pace, and a timer for it.
pub(crate) struct Patience {
    pace: Pace,
    timer: Deadline,
}

impl Patience {
    pub(crate) fn new(pace: Pace) -> Self {
        Self {
            pace,
            timer: Deadline::default(),
        }
    }

    /// Something has moved.
    pub(crate) fn moved(&mut self, bytes: u64) {
        self.pace.moved(bytes);
    }

    /// Ready when the visitor that is waited for has been too slow.
    pub(crate) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let until = self.pace.wait(Instant::now());
        ready!(self.timer.poll(cx, until));
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, pause};

    use super::*;
    use crate::config::model::{ClientNetwork, ForwardedField};

    const fn secs(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn pace(rate: u64) -> Pace {
        Pace::new(rate, secs(5), secs(30))
    }

    /// How long is waited from now on.
    fn left(pace: &mut Pace) -> Duration {
        let now = Instant::now();
        pace.wait(now) - now
    }

    #[tokio::test]
    async fn waiting_costs_and_bytes_earn() {
        pause();
        let mut pace = pace(100);
        assert_eq!(left(&mut pace), secs(5));
        advance(secs(3)).await;
        assert_eq!(left(&mut pace), secs(2));
        pace.moved(100);
        assert_eq!(left(&mut pace), secs(3));
        pace.moved(1_000_000);
        assert_eq!(left(&mut pace), secs(30), "no more than a long pause");
        advance(secs(29)).await;
        pace.moved(1);
        // What is not waited for costs nothing, and earns nothing.
        advance(secs(100)).await;
        pace.moved(1_000_000);
        assert_eq!(left(&mut pace), Duration::from_millis(1010));
    }

    #[tokio::test]
    async fn who_drips_is_late_and_who_keeps_the_rate_is_not() {
        pause();
        for (bytes, in_time) in [(90, false), (110, true)] {
            let mut pace = pace(100);
            let mut late = false;
            for _ in 0..200 {
                late |= left(&mut pace) <= secs(1);
                advance(secs(1)).await;
                pace.moved(bytes);
            }
            assert_eq!(!late, in_time, "{bytes}");
        }
    }

    #[tokio::test]
    async fn what_a_record_of_tls_hides_is_waited_for() {
        pause();
        for (rate, scheme, wanted) in [
            (1024, Scheme::Http, secs(5)),
            (1024, Scheme::Https, secs(5 + 16)),
            (240, Scheme::Https, secs(30)),
            (0, Scheme::Https, secs(30)),
        ] {
            let visitors = Visitors {
                min_receive_rate: rate,
                min_send_rate: 0,
                rate_grace: secs(5),
                max_per_client: 0,
                network: ClientNetwork { ipv4: 32, ipv6: 64 },
                forwarded_field: ForwardedField::XForwardedFor,
            };
            let mut pace = Pace::receiving(&visitors, scheme, secs(30));
            assert_eq!(left(&mut pace), wanted, "{rate}");
        }
    }

    #[tokio::test]
    async fn without_a_rate_only_pauses_count() {
        pause();
        let mut pace = pace(0);
        for _ in 0..10 {
            advance(secs(29)).await;
            assert_eq!(left(&mut pace), secs(30));
            advance(secs(29)).await;
            assert_eq!(left(&mut pace), secs(1));
            pace.moved(1);
        }
        assert_eq!(left(&mut self::pace(100).without_rate()), secs(30));
    }
}
