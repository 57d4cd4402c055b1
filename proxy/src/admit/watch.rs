//! Keeping up with the files of address lists, off the threads that serve visitors.

use std::{sync::Arc, time::Duration};

use tokio::{task::spawn_blocking, time::sleep};

use crate::shared::Current;

/// Pause between two looks at a file. A changed one takes effect after two of them at most, or three where it is
/// still being written.
const LOOK: Duration = Duration::from_secs(1);

/// Looks after the lists of whatever configuration is in force, for as long as the process lives.
pub async fn watch(current: Current) {
    loop {
        sleep(LOOK).await;
        let snapshot = current.load_full();
        if snapshot.lists.is_empty() {
            continue;
        }
        let lists: Vec<_> = snapshot.lists.iter().map(Arc::clone).collect();
        drop(snapshot);
        // A panic there would be told by its thread; the next look comes all the same.
        let _ = spawn_blocking(move || lists.iter().for_each(|list| list.look())).await;
    }
}
