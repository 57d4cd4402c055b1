//! How many connections the descriptors suffice for.

use std::fs;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::config::model::Config;

/// Kept for what comes and goes: the admin endpoint, logs that are opened anew, files of the store, configuration
/// and certificates, questions to DNS, checks.
const RESERVE: u64 = 64;
/// For each thread: its runtime, and a connection on its way in at each of its listeners besides.
const PER_THREAD: u64 = 8;
/// Open at the beginning, where the system does not tell: standard streams and a few more.
const OPEN: u64 = 16;

/// Takes as many descriptors as the system grants, and says how many connections of visitors they suffice for:
/// each may need one for itself and one for its upstream, and some are kept back, so that accepting, the admin
/// endpoint and logs never find none.
pub fn bound(config: &Config, threads: usize) -> usize {
    let wanted = config.server.max_connections;
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return wanted;
    };
    let mut limit = hard;
    if let Err(why) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        tracing::warn!(%why, "the limit on open files cannot be raised");
        limit = soft;
    }
    let open = fs::read_dir("/proc/self/fd").map_or(OPEN, |entries| entries.count() as u64);
    let listeners = config.listeners.len() as u64;
    let kept = RESERVE + open + threads as u64 * (PER_THREAD + 3 * listeners);
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
