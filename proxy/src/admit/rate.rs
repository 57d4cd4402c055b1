//! Rate limits: GCRA by governor, over a table of clients that cannot grow without bound.

use std::{
    cell::Cell,
    collections::BTreeSet,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use governor::{
    NotUntil, Quota, RateLimiter, clock::Clock, middleware::StateInformationMiddleware,
};

use super::clients::{Client, Clients};
use crate::config::model::Limit;

/// A rule and its memory of clients.
pub struct RateLimit {
    /// Name of the rule.
    pub name: &'static str,
    burst: u32,
    /// Seconds until a whole burst is replenished, rounded up.
    window: u64,
    limiter: RateLimiter<Client, Clients, GivenClock, StateInformationMiddleware>,
}

/// What a limit says about one request.
#[derive(Debug, Clone)]
pub struct LimitState {
    /// The rule. Its name outlives all requests, so that none of them counts who holds it.
    pub rule: &'static str,
    /// Requests that may come at once when rested.
    pub quota: u32,
    /// Seconds until a whole quota is replenished.
    pub window: u64,
    /// Requests that may still come now.
    pub remaining: u32,
    /// Seconds until the next request is admitted; `0` where this one was.
    pub retry_after: u64,
}

impl RateLimit {
    /// A limiter without memory of anyone.
    pub fn new(limit: &Limit) -> Self {
        let per_request = limit.period / limit.rate.get();
        let quota = Quota::with_period(per_request.max(Duration::from_nanos(1)))
            .unwrap_or_else(|| Quota::per_second(limit.rate))
            .allow_burst(limit.burst);
        NOW.set(Duration::ZERO);
        Self {
            name: lasting(&limit.name),
            burst: limit.burst.get(),
            window: (per_request * limit.burst.get()).as_secs_f64().ceil() as u64,
            limiter: RateLimiter::new(quota, Clients::new(limit.max_keys), GivenClock),
        }
    }

    /// Counts a request of `client` at `now`; an error says when it may come again.
    pub fn check(&self, client: IpAddr, now: Duration) -> Result<LimitState, LimitState> {
        NOW.set(now);
        let state = |remaining, retry_after| LimitState {
            rule: self.name,
            quota: self.burst,
            window: self.window.max(1),
            remaining,
            retry_after,
        };
        match self.limiter.check_key(&client.into()) {
            Ok(snapshot) => Ok(state(snapshot.remaining_burst_capacity(), 0)),
            Err(until) => Err(state(0, seconds_until(&until, now))),
        }
    }

    /// Forgets clients that have had time to replenish a whole burst.
    pub fn forget_idle(&self, now: Duration) {
        NOW.set(now);
        self.limiter.retain_recent();
    }

    /// Clients that are remembered.
    pub fn tracked(&self) -> usize {
        self.limiter.len()
    }
}

/// A name that stays for as long as the process lives. Only operators make up names, by writing them into
/// the configuration, so they stay few.
pub(super) fn lasting(name: &str) -> &'static str {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name) {
        return known;
    }
    let name: &'static str = Box::leak(name.into());
    names.insert(name);
    name
}

/// Rounded up: a client that comes back when told to is not refused again.
fn seconds_until(until: &NotUntil<Duration>, now: Duration) -> u64 {
    (until.wait_time_from(now).as_secs_f64().ceil() as u64).max(1)
}

thread_local! {
    /// The time of the request at hand, because the decision takes time as an argument and governor
    /// asks a clock.
    static NOW: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// Tells the time that was given.
#[derive(Debug, Clone, Copy, Default)]
struct GivenClock;

impl Clock for GivenClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        NOW.get()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::config::model::LimitKey;

    fn limit(rate: u32, burst: u32, max_keys: usize) -> RateLimit {
        RateLimit::new(&Limit {
            name: "test".into(),
            key: LimitKey::ClientIp,
            rate: NonZeroU32::new(rate).expect("rate"),
            period: Duration::from_secs(1),
            burst: NonZeroU32::new(burst).expect("burst"),
            max_keys,
        })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("address")
    }

    #[test]
    fn a_burst_then_the_rate() {
        let limit = limit(10, 3, 100);
        let at = |ms: u64| Duration::from_millis(1_000 + ms);
        for left in [2, 1, 0] {
            assert_eq!(
                limit
                    .check(ip("192.0.2.1"), at(0))
                    .expect("within")
                    .remaining,
                left
            );
        }
        let refused = limit.check(ip("192.0.2.1"), at(0)).expect_err("beyond");
        assert_eq!(
            (refused.quota, refused.window, refused.retry_after),
            (3, 1, 1)
        );
        assert!(
            limit.check(ip("192.0.2.2"), at(0)).is_ok(),
            "another client is not concerned"
        );
        assert!(limit.check(ip("192.0.2.1"), at(90)).is_err());
        assert!(limit.check(ip("192.0.2.1"), at(100)).is_ok());
    }

    #[test]
    fn ipv6_counts_by_its_64() {
        let limit = limit(1, 1, 100);
        let now = Duration::from_secs(1);
        assert!(limit.check(ip("2001:db8::1"), now).is_ok());
        assert!(limit.check(ip("2001:db8::2"), now).is_err());
        assert!(limit.check(ip("2001:db8:0:1::1"), now).is_ok());
        assert!(limit.check(ip("::ffff:192.0.2.1"), now).is_ok());
        assert!(
            limit.check(ip("192.0.2.1"), now).is_err(),
            "mapped and plain are one"
        );
    }

    #[test]
    fn the_table_is_bounded_and_forgets() {
        let limit = limit(1, 1, 10);
        let now = Duration::from_secs(1);
        for i in 0..1000u32 {
            let _ = limit.check(IpAddr::from(i.to_be_bytes()), now);
        }
        assert_eq!(limit.tracked(), 10);
        assert!(
            limit.check(ip("198.51.100.1"), now).is_err(),
            "newcomers share what is left"
        );
        limit.forget_idle(Duration::from_secs(60));
        assert_eq!(limit.tracked(), 0);
        assert!(
            limit
                .check(ip("198.51.100.1"), Duration::from_secs(60))
                .is_ok()
        );
    }
}
