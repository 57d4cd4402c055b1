//! Telling the edges in front what has changed, so that nobody sees a price or a stock of a minute ago.
//!
//! [`crate::db`] says which tags a committed transaction has touched ([`Purges::tell`], which never waits). Each edge has
//! an `inbox` where they gather, and a task (`messenger`) that takes them there, one `call` at a time. Purges are
//! soft: visitors get the old page for the moment that one request takes to fetch the new one.
//!
//! The news are kept in memory only. If the shop is killed with some untold, pages are as old as they may be without
//! any of this: a minute.

mod call;
mod endpoint;
mod inbox;
mod messenger;
mod token;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;

pub use self::endpoint::{Endpoint, Endpoints};
use self::inbox::Inbox;
use self::messenger::Messenger;
use self::token::Token;
use crate::cli::Serve;

/// How long the messengers have at the end to tell what they still know.
const FAREWELL: Duration = Duration::from_secs(1);

/// Where to send purges, and by what right.
#[derive(Debug, Default)]
pub struct Settings {
    endpoints: Vec<Endpoint>,
    token: Option<Token>,
}

impl Settings {
    /// Reads the token, and refuses what cannot work.
    pub fn read(options: &Serve) -> Result<Self, String> {
        let Endpoints(endpoints) = options.purge.clone();
        let over_tcp = endpoints
            .iter()
            .find(|endpoint| matches!(endpoint, Endpoint::Tcp(_)));
        // An unset and an empty variable mean the same.
        let file = Some(&options.purge_token_file).filter(|file| !file.as_os_str().is_empty());
        let token = match (over_tcp, file) {
            (None, None) => None,
            (Some(_), Some(file)) => Some(Token::read(file)?),
            (Some(endpoint), None) => {
                return Err(format!(
                    "{endpoint} takes purges only with the edge's admin token: name the file that holds it with \
                     --purge-token-file or DHAKACART_PURGE_TOKEN_FILE, or use the edge's unix socket"
                ));
            }
            (None, Some(file)) => {
                return Err(format!(
                    "the purge token in {} is of no use without an endpoint over TCP: name one with --purge or \
                     DHAKACART_PURGE, such as http://127.0.0.1:9900, or leave the token out",
                    file.display()
                ));
            }
        };
        Ok(Self { endpoints, token })
    }
}

/// Where to say what has changed. Cheap to clone; without edges it does nothing.
#[derive(Clone, Default)]
pub struct Purges(Arc<[Arc<Inbox>]>);

impl Purges {
    /// Has everything purged that carries one of these tags. Returns at once; the rest happens elsewhere.
    pub fn tell(&self, tags: impl IntoIterator<Item = String> + Clone) {
        let now = Instant::now();
        for inbox in &*self.0 {
            inbox.put(tags.clone(), now);
        }
    }
}

/// The messengers at work. They stop when this is dropped.
pub struct Messengers {
    tasks: JoinSet<()>,
    closing: watch::Sender<bool>,
}

/// Sends a messenger to each edge.
pub fn start(settings: Settings) -> (Purges, Messengers) {
    let (closing, closes) = watch::channel(false);
    let mut tasks = JoinSet::new();
    let start = |endpoint| {
        let inbox = Arc::new(Inbox::default());
        let messenger = Messenger::new(endpoint, settings.token.clone(), Arc::clone(&inbox));
        tasks.spawn(messenger.run(closes.clone()));
        inbox
    };
    let inboxes = settings.endpoints.into_iter().map(start).collect();
    (Purges(inboxes), Messengers { tasks, closing })
}

impl Messengers {
    /// Tells the edges what they have not been told yet, within a second.
    pub async fn finish(mut self) {
        let _ = self.closing.send(true);
        let last_calls = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(FAREWELL, last_calls).await.is_err() {
            tracing::warn!("an edge did not take its last purge in time");
        }
    }
}
