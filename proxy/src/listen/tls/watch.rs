//! Keeping up with the files of certificates while the edge runs, off the threads that serve.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{task::spawn_blocking, time::sleep};

use crate::shared::{Current, Shared};

/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(2);
/// The longest pause, however many there are.
const LONGEST: Duration = Duration::from_secs(10);
/// Pauses are at least so many times as long as a look takes, however many files there are.
const SHARE: u32 = 20;

/// Looks at the files of the configuration in force, for as long as the process lives.
pub async fn watch(current: Current, shared: Arc<Shared>) {
    let mut pause = EVERY;
    loop {
        sleep(pause).await;
        let Some(certificates) = current.load().certificates.clone() else {
            continue;
        };
        let (current, shared) = (Arc::clone(&current), Arc::clone(&shared));
        let look = move || {
            let began = Instant::now();
            let has_changed = certificates.refresh();
            // A reload that came between has told of its own.
            let in_force = current.load();
            let now = in_force.certificates.as_ref();
            if has_changed && now.is_some_and(|now| Arc::ptr_eq(now, &certificates)) {
                certificates.note(&shared.metrics);
            }
            began.elapsed()
        };
        let took = spawn_blocking(look).await.unwrap_or_default();
        pause = (took * SHARE).clamp(EVERY, LONGEST);
    }
}
