//! Files that are only in memory.

use std::collections::BTreeMap;

use crate::tree::Files;

/// Names and texts.
pub(crate) struct Memory(BTreeMap<String, String>);

impl Memory {
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let own = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
        Self(files.iter().map(own).collect())
    }
}

impl Files for Memory {
    fn read(&self, path: &str) -> Result<String, String> {
        self.0
            .get(path)
            .cloned()
            .ok_or_else(|| "there is none".to_owned())
    }

    fn matching(&self, pattern: &str) -> Result<Vec<String>, String> {
        let (before, after) = pattern.split_once('*').ok_or("no `*`")?;
        let fits = |name: &&String| name.starts_with(before) && name.ends_with(after);
        Ok(self.0.keys().filter(fits).cloned().collect())
    }
}
