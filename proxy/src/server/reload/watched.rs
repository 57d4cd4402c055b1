//! The files of the configuration: reading them, and noticing that they changed.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::{task::spawn_blocking, time::sleep};

use super::LOOK;
use crate::{
    config::{self, model::Config, named::Taken},
    regular,
    server::{
        Control, Trigger,
        watch::{Contents, Watcher},
    },
};

/// The files of the configuration, and what they held when it was read.
#[derive(Default, Clone)]
pub(in crate::server) struct Watched {
    /// Counts up with every content that is taken up.
    version: u64,
    watcher: Watcher,
    pub(super) files: Vec<PathBuf>,
    pub(super) folders: Vec<PathBuf>,
    taken_up: Contents,
    /// What was taken up when the configuration in force was; empty where that is one of before.
    pub(super) in_force: Contents,
}

impl Watched {
    /// As they are now. Blocks.
    pub(in crate::server) fn new(
        config: &Config,
        files: Vec<PathBuf>,
        folders: Vec<PathBuf>,
    ) -> Self {
        let mut watched = Self {
            files: with_named(config, files),
            folders,
            ..Self::default()
        };
        watched.taken_up = watched.look();
        watched.comes_into_force();
        watched
    }

    pub(super) fn look(&mut self) -> Contents {
        self.watcher.contents(&self.files, &self.folders)
    }

    /// What was taken up last is in force.
    pub(super) fn comes_into_force(&mut self) {
        self.in_force.clone_from(&self.taken_up);
    }

    /// What was found is taken up; `loaded` is what came of it, where it was of use.
    pub(super) fn take_up(&mut self, found: Contents, loaded: Option<&config::Loaded>) {
        if let Some(loaded) = loaded {
            self.files = with_named(&loaded.config, loaded.files.clone());
            self.folders.clone_from(&loaded.folders);
        }
        // Of files that were not known before, what they hold now.
        let mut now = self.look();
        for (path, content) in found {
            now.entry(path).and_modify(|known| *known = content);
        }
        self.taken_up = now;
        self.version += 1;
    }
}

/// These files, and those that a configuration names and that are read when it comes into force.
fn with_named(config: &Config, mut files: Vec<PathBuf>) -> Vec<PathBuf> {
    let named = config.named_files().into_iter();
    let named = named.filter(|file| file.taken == Taken::ByReload);
    files.extend(named.map(|file| file.path.to_owned()));
    files
}

/// Reads the files of the running edge, and says what stood in them. What came by a pipe is not there a second time.
/// Blocks.
pub(super) fn load_again(path: &Path) -> (Result<config::Loaded, String>, Option<Arc<str>>) {
    if path.exists()
        && let Err(why) = regular::open(path)
    {
        let why = format!("cannot read {} again: {why}", path.display());
        return (Err(why), None);
    }
    let (loaded, text) = config::load_with_text(path, &|name| std::env::var(name).ok());
    (loaded.map_err(|why| why.to_string()), text)
}

impl Control {
    /// Files that the configuration in force names, that a reload reads, and that hold something else than when they were
    /// read. The error is a sentence.
    pub async fn changed_files(&self) -> Result<Vec<PathBuf>, String> {
        let files = with_named(&self.current.load().config, Vec::new());
        let mut held = self.held.lock().await;
        let mut watched = held.watched.clone();
        let work = move || {
            let found = watched.watcher.contents(&files, &[]);
            let differs = |(path, content): (PathBuf, _)| {
                let before = watched.in_force.get(&path)?;
                (*before != content).then_some(path)
            };
            found.into_iter().filter_map(differs).collect()
        };
        held.at_files("read the files", work).await
    }
}

/// Reloads when the files change, where the configuration in force wants it so.
pub(in crate::server) async fn keep_up(control: Arc<Control>) {
    loop {
        sleep(LOOK).await;
        if !control.current.load().config.server.watch_config
            || control.shared.is_draining()
            || control.life.is_on_probation()
        {
            continue;
        }
        // A file system that does not answer is waited for here, and reloads go on.
        let mut watched = control.held.lock().await.watched.clone();
        let version = watched.version;
        let looked = spawn_blocking(move || {
            let found = watched.look();
            let is_due = watched.watcher.is_due(&watched.taken_up, found);
            (watched, is_due)
        });
        // A panic there would be told by its thread, and leave nothing to look at.
        let Ok((watched, is_due)) = looked.await else {
            return;
        };
        let mut held = control.held.lock().await;
        // A reload meanwhile has seen more.
        if held.watched.version != version {
            continue;
        }
        held.watched = watched;
        if is_due {
            // The outcome is in the log, in the metrics and in the history.
            let _ = control.reload_with(&mut held, Trigger::Watch).await;
        }
    }
}
