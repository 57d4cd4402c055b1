//! What clients asked for, and what a limit would have made of it.

use std::io;

use super::{
    keys::Keys,
    spool::{Seen, Spool},
};

/// Windows in which requests are counted, in milliseconds.
pub(super) const WINDOWS_MS: [u64; 3] = [1_000, 10_000, 60_000];

const NANOS_PER_MS: u64 = 1_000_000;

/// What a client asked of a route.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Demand {
    pub(super) requests: u64,
    /// Most requests in any window of each length.
    pub(super) peaks: [u32; 3],
}

/// Counts each client's requests, by number: exactly, since windows end at every request.
pub(super) fn demands(spool: &Spool, keys: &Keys) -> io::Result<Vec<Demand>> {
    let mut demands = vec![Demand::default(); keys.len()];
    let mut within = vec![[0u32; 3]; keys.len()];
    let mut head = spool.read();
    let mut tails = WINDOWS_MS.map(|_| spool.read());
    while let Some(seen) = head.peek()? {
        head.pass();
        for (i, tail) in tails.iter_mut().enumerate() {
            while let Some(old) = tail.peek()?
                && old.time_ms + WINDOWS_MS[i] <= seen.time_ms
            {
                within[old.key as usize][i] -= 1;
                tail.pass();
            }
        }
        let key = seen.key as usize;
        demands[key].requests += 1;
        for (i, count) in within[key].iter_mut().enumerate() {
            *count += 1;
            demands[key].peaks[i] = demands[key].peaks[i].max(*count);
        }
    }
    Ok(demands)
}

/// A limit as it is enforced: a request is due so many nanoseconds after the one before, and may be early by a burst.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    pub(super) nanos_per_request: u64,
    pub(super) burst: u32,
}

/// When the next request would be due if none were early, by client (GCRA's theoretical arrival time).
struct Arrivals(Vec<u64>);

impl Arrivals {
    /// With the request, how many are outstanding, and when the next one would be due.
    fn outstanding(&self, seen: Seen, pace: Pace) -> (u64, u64) {
        let now = seen.time_ms.saturating_mul(NANOS_PER_MS);
        let due = self.0[seen.key as usize]
            .max(now)
            .saturating_add(pace.nanos_per_request);
        ((due - now).div_ceil(pace.nanos_per_request.max(1)), due)
    }
}

/// The burst that each client would have needed to be refused nothing, by number; `paces` by route.
pub(super) fn bursts(spool: &Spool, keys: &Keys, paces: &[Pace]) -> io::Result<Vec<u32>> {
    let mut arrivals = Arrivals(vec![0; keys.len()]);
    let mut needed = vec![0; keys.len()];
    spool.for_each(|seen| {
        let (outstanding, due) = arrivals.outstanding(seen, paces[keys.route_of(seen.key)]);
        let key = seen.key as usize;
        arrivals.0[key] = due;
        needed[key] = u32::try_from(outstanding)
            .unwrap_or(u32::MAX)
            .max(needed[key]);
    })?;
    Ok(needed)
}

/// The requests that each client would have been refused, by number; `paces` by route.
pub(super) fn refusals(spool: &Spool, keys: &Keys, paces: &[Pace]) -> io::Result<Vec<u32>> {
    let mut arrivals = Arrivals(vec![0; keys.len()]);
    let mut refused = vec![0; keys.len()];
    spool.for_each(|seen| {
        let pace = paces[keys.route_of(seen.key)];
        let (outstanding, due) = arrivals.outstanding(seen, pace);
        let key = seen.key as usize;
        // A refused request does not count.
        match outstanding > u64::from(pace.burst) {
            true => refused[key] += 1,
            false => arrivals.0[key] = due,
        }
    })?;
    Ok(refused)
}
