//! How many connections the descriptors suffice for.

use std::fs;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::{
    config::model::{Action, Config},
    files,
};

/// Kept for what comes and goes: the admin endpoint, logs that are opened anew, files of the store, configuration
/// and certificates, questions to DNS, checks.
const RESERVE: u64 = 64;
/// For each thread: its runtime, and a connection on its way in at each of its listeners besides.
const PER_THREAD: u64 = 8;
/// Open at the beginning, where the system does not tell: standard streams and a few more.
const OPEN: u64 = 16;

/// What the process may open, and what it had open at its beginning.
pub struct Descriptors {
    /// `None` where the system does not tell.
    limit: Option<u64>,
    kept: u64,
    threads: u64,
}

impl Descriptors {
    /// Takes as many as the system grants, for so many threads.
    pub fn take(threads: usize) -> Self {
        let limit = getrlimit(Resource::RLIMIT_NOFILE).ok();
        let limit =
            limit.map(
                |(soft, hard)| match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
                    Ok(()) => hard,
                    Err(why) => {
                        tracing::warn!(%why, "the limit on open files cannot be raised");
                        soft
                    }
                },
            );
        let open = fs::read_dir("/proc/self/fd").map_or(OPEN, |entries| entries.count() as u64);
        Self {
            limit,
            kept: RESERVE + open,
            threads: threads as u64,
        }
    }

    /// How many connections of visitors they suffice for: each may need one for itself and one for its upstream, and
    /// some are kept back, so that accepting, the admin endpoint and logs never find none.
    pub fn bound(&self, config: &Config) -> usize {
        let wanted = config.server.max_connections;
        let Some(limit) = self.limit else {
            return wanted;
        };
        let listeners = config.listeners.len() as u64;
        // Streams of one connection may read several at once.
        let mut routes = config.routes.iter();
        let files = match routes.any(|route| matches!(route.action, Action::Files(_))) {
            true => files::kept(limit),
            false => 0,
        };
        let kept = self.kept + files + self.threads * (PER_THREAD + 3 * listeners);
        let bound = suffice_for(limit, kept, wanted);
        if bound < wanted {
            tracing::warn!(
                limit,
                kept,
                max_connections = wanted,
                bound,
                "open files bound the connections of visitors: raise the limit (ulimit -n, LimitNOFILE)"
            );
        }
        bound
    }
}

/// Connections that so many descriptors suffice for, less those that are kept; never none.
fn suffice_for(limit: u64, kept: u64, wanted: usize) -> usize {
    let bound = limit.saturating_sub(kept) / 2;
    usize::try_from(bound)
        .unwrap_or(usize::MAX)
        .clamp(1, wanted.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_visitor_has_two_and_some_are_kept() {
        for (limit, kept, wanted, bound) in [
            (1_048_576, 100, 20_000, 20_000),
            (40_100, 100, 20_000, 20_000),
            (40_000, 100, 20_000, 19_950),
            (1_024, 100, 20_000, 462),
            (100, 100, 20_000, 1),
            (10, 100, 20_000, 1),
            (u64::MAX, 100, 7, 7),
        ] {
            assert_eq!(suffice_for(limit, kept, wanted), bound, "{limit}");
        }
    }
}
