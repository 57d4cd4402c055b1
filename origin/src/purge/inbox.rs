//! What one edge has yet to be told. It gathers while a call is under way or the edge is away, and is bounded.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::catalog::SHOP_TAG;

/// Different tags at the same time, all of which fit one call. More are told as [`SHOP_TAG`]: when half the products
/// have changed, hardly a page has not.
const TAGS_MAX: usize = 256;

/// When a change is no longer worth telling: every page that a cache kept from before has run out by itself, after
/// [`crate::web::caching::PAGE`]'s minute.
const WORTH_TELLING: Duration = Duration::from_secs(300);

/// Tags with the moment of their last change.
pub(super) type Tags = BTreeMap<String, Instant>;

/// Changes an edge has yet to be told.
#[derive(Default)]
pub(super) struct Inbox {
    tags: Mutex<Tags>,
    news: Notify,
}

impl Inbox {
    /// Adds what has changed now.
    pub(super) fn put(&self, changed: impl IntoIterator<Item = String>, now: Instant) {
        let mut tags = self.lock();
        for tag in changed {
            tags.insert(tag, now);
        }
        bound(&mut tags);
        if !tags.is_empty() {
            self.news.notify_one();
        }
    }

    /// Gives back what could not be told. What has changed again meanwhile stays as it is.
    pub(super) fn put_back(&self, untold: Tags) {
        let mut tags = self.lock();
        for (tag, changed) in untold {
            tags.entry(tag).or_insert(changed);
        }
        bound(&mut tags);
    }

    /// Takes all that is still worth telling.
    pub(super) fn take(&self, now: Instant) -> Tags {
        let mut tags = std::mem::take(&mut *self.lock());
        tags.retain(|_, changed| now.duration_since(*changed) <= WORTH_TELLING);
        tags
    }

    /// Waits until there is something to tell.
    pub(super) async fn news(&self) {
        while self.lock().is_empty() {
            self.news.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Tags> {
        // The map is whole at all times, whatever happened to a holder of the lock.
        self.tags.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts the tag of everything in the place of too many, and of those it covers.
fn bound(tags: &mut Tags) {
    if tags.len() > TAGS_MAX || (tags.len() > 1 && tags.contains_key(SHOP_TAG)) {
        let last = tags.values().max().copied();
        tags.clear();
        tags.extend(last.map(|last| (SHOP_TAG.to_owned(), last)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn names(tags: &Tags) -> Vec<&str> {
        tags.keys().map(String::as_str).collect()
    }

    fn products(numbers: std::ops::Range<usize>) -> impl Iterator<Item = String> {
        numbers.map(|number| format!("product-{number}"))
    }

    #[test]
    fn each_tag_is_told_once() {
        let (inbox, now) = (Inbox::default(), Instant::now());
        inbox.put(products(1..3), now);
        inbox.put(products(2..4), now);
        assert_eq!(
            names(&inbox.take(now)),
            ["product-1", "product-2", "product-3"]
        );
        assert!(inbox.take(now).is_empty());
    }

    #[test]
    fn too_many_are_told_as_the_whole_shop() {
        let (inbox, now) = (Inbox::default(), Instant::now());
        inbox.put(products(0..256), now);
        let untold = inbox.take(now);
        assert_eq!(untold.len(), 256);
        inbox.put(products(255..257), now + SECOND);
        inbox.put_back(untold);
        inbox.put(products(300..302), now + SECOND);
        let tags = inbox.take(now + SECOND);
        assert_eq!(names(&tags), ["shop"]);
        // The moment is the last of those it stands for.
        assert_eq!(tags["shop"], now + SECOND);
    }

    #[test]
    fn what_has_run_out_by_itself_is_forgotten() {
        let (inbox, now) = (Inbox::default(), Instant::now());
        inbox.put(products(1..3), now);
        let untold = inbox.take(now);
        // Changed again while the edge could not be told of the first change.
        inbox.put(products(2..3), now + 10 * SECOND);
        inbox.put_back(untold);
        assert_eq!(
            names(&inbox.take(now + WORTH_TELLING + SECOND)),
            ["product-2"]
        );
    }

    #[tokio::test]
    async fn news_are_noticed_before_and_while_waiting() {
        let (inbox, now) = (std::sync::Arc::new(Inbox::default()), Instant::now());
        inbox.put(products(1..2), now);
        inbox.news().await;
        inbox.take(now);
        let waiting = tokio::spawn({
            let inbox = std::sync::Arc::clone(&inbox);
            async move { inbox.news().await }
        });
        tokio::task::yield_now().await;
        inbox.put(products(2..3), now);
        waiting.await.expect("is woken");
    }
}
