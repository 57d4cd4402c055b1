//! The task that tells one edge what has changed: gather, call, and try again where that failed.

use std::mem::{Discriminant, discriminant};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use tokio::sync::watch;

use super::call::{self, Failure};
use super::endpoint::Endpoint;
use super::inbox::Inbox;
use super::token::Token;

/// How long changes gather before they are told. Orders of a rush share a call, and nobody can tell a page that is
/// this much older.
const GATHERING: Duration = Duration::from_millis(50);

/// Pauses after failed calls: doubled from the first to the last, so that an edge that restarts is told soon and one
/// that is gone costs little.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_LAST: Duration = Duration::from_secs(5);

/// Tells one edge.
pub(super) struct Messenger {
    endpoint: Endpoint,
    token: Option<Token>,
    inbox: Arc<Inbox>,
    pause: Duration,
    outage: Option<Outage>,
}

/// From the first failed call to the next that works.
struct Outage {
    since: Instant,
    /// Kinds of failures that are in the log already.
    logged: Vec<Discriminant<Failure>>,
}

impl Messenger {
    /// For this edge, from this inbox.
    pub(super) fn new(endpoint: Endpoint, token: Option<Token>, inbox: Arc<Inbox>) -> Self {
        Self {
            token: token.filter(|_| matches!(endpoint, Endpoint::Tcp(_))),
            endpoint,
            inbox,
            pause: PAUSE_FIRST,
            outage: None,
        }
    }

    /// Works until `closing`; then tells once more what is left.
    pub(super) async fn run(mut self, mut closing: watch::Receiver<bool>) {
        loop {
            let news = tokio::select! {
                biased;
                () = self.inbox.news() => true,
                _ = closing.wait_for(|closing| *closing) => false,
            };
            let last = !news || pause(GATHERING, &mut closing).await;
            let tags = self.inbox.take(Instant::now());
            if tags.is_empty() {
                if last {
                    return;
                }
                continue;
            }
            let credentials = self.token.as_ref().map(Token::credentials);
            match call::purge(&self.endpoint, credentials, &tags).await {
                Ok(()) => self.told(tags.len()),
                Err(failure) => {
                    if last {
                        tracing::warn!(edge = %self.endpoint, %failure, "stopping with {} tags untold", tags.len());
                        return;
                    }
                    self.inbox.put_back(tags);
                    self.failed(failure).await;
                    pause(jittered(self.pause), &mut closing).await;
                    self.pause = (self.pause * 2).min(PAUSE_LAST);
                }
            }
        }
    }

    fn told(&mut self, count: usize) {
        tracing::info!(edge = %self.endpoint, count, "purged");
        self.pause = PAUSE_FIRST;
        if let Some(outage) = self.outage.take() {
            let seconds = outage.since.elapsed().as_secs();
            // As loud as the news that it does not.
            tracing::warn!(edge = %self.endpoint, "the edge takes purges again after {seconds} s");
        }
    }

    /// Says so in the log once per outage and kind of failure.
    async fn failed(&mut self, failure: Failure) {
        let outage = self.outage.get_or_insert_with(|| Outage {
            since: Instant::now(),
            logged: Vec::new(),
        });
        let kind = discriminant(&failure);
        if !outage.logged.contains(&kind) {
            outage.logged.push(kind);
            tracing::warn!(
                edge = %self.endpoint,
                %failure,
                "the edge takes no purges, so pages may show the stock of a minute ago; trying on"
            );
        }
        if let Failure::Refused(StatusCode::UNAUTHORIZED, _) = failure
            && let Some(token) = &mut self.token
        {
            token.read_again().await;
        }
    }
}

/// Waits for so long, or less when it is time to close, which it says.
async fn pause(time: Duration, closing: &mut watch::Receiver<bool>) -> bool {
    tokio::time::timeout(time, closing.wait_for(|closing| *closing))
        .await
        .is_ok()
}

/// From half of it to all of it, so that several shops do not call a returning edge at the same moment.
fn jittered(time: Duration) -> Duration {
    let mut dice = [0];
    // Without randomness it is the whole time.
    let share = getrandom::fill(&mut dice).map_or(256, |()| u32::from(dice[0]));
    time / 2 + time / 2 * share / 256
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_differ_and_are_bounded() {
        let pauses: Vec<Duration> = (0..64).map(|_| jittered(PAUSE_LAST)).collect();
        assert!(
            pauses
                .iter()
                .all(|pause| (PAUSE_LAST / 2..=PAUSE_LAST).contains(pause))
        );
        assert!(pauses.iter().any(|pause| *pause != pauses[0]));
    }
}
