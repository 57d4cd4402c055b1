//! The generator's own share of the machine.

use std::{fs, time::Duration};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Lets this process open so many files, or as many as it may: the usual bound is a thousand. Returns how many it is.
pub(crate) fn raise_file_limit(wanted: u64) -> u64 {
    let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return 0;
    };
    // Beyond its bound only root may go.
    if most < wanted && setrlimit(Resource::RLIMIT_NOFILE, wanted, wanted).is_ok() {
        return wanted;
    }
    let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(now, _)| now)
}

/// Time of this process's thread.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Spent {
    /// On a core.
    pub(crate) running: Duration,
    /// Ready to run, while others had the core.
    pub(crate) waiting: Duration,
}

impl Spent {
    /// Until now; nothing where the kernel does not tell.
    pub(crate) fn now() -> Self {
        let told = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        let mut nanos = told.split_whitespace().filter_map(|word| word.parse().ok());
        let mut next = || nanos.next().map(Duration::from_nanos).unwrap_or_default();
        Self {
            running: next(),
            waiting: next(),
        }
    }

    /// Since an earlier moment.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            running: self.running.saturating_sub(earlier.running),
            waiting: self.waiting.saturating_sub(earlier.waiting),
        }
    }
}
