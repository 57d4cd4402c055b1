//! Files of a folder, as the answers of a route.
//!
//! To the rest of the edge a folder is a server: what is asked of it goes the way of every request to an upstream, so
//! that the store, limits, logs and the doors know nothing of files. [`Files::ask`] stands where a connection would be
//! made, and what it returns reads like one on which the answer arrives.

mod answer;
pub mod beneath;
mod find;
pub mod path;
pub mod pieces;
pub mod types;

use std::{
    io,
    net::SocketAddr,
    num::NonZeroU32,
    path::PathBuf,
    sync::{Arc, LazyLock},
    time::{Duration, SystemTime},
};

use http::Method;
use http_caching::{Coding, Fields};
use nix::sys::resource::{Resource, getrlimit};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use self::{
    answer::Facts,
    beneath::{Folder, Patience, Symlinks},
    find::{Found, Search},
    path::Name,
    pieces::{Opened, Part, Stream},
    types::Types,
};
use crate::{
    config::model::{
        self, Backend, BackendAddress, Balance, Connections, HashKey, Retry, Timeouts,
        UpstreamProtocol,
    },
    respond::fault::Fault,
};

/// What logs and metrics call files in the place of a server. No upstream can be called so.
pub const NAME: &str = "(files)";
/// What may be asked of a file.
pub const METHODS: &str = "GET, HEAD";
/// So long does the store keep a file before it looks whether it is still the same, unless told otherwise.
pub const RECHECK: Duration = Duration::from_secs(1);
/// So long may a disk take to find a file.
const DISK: Duration = Duration::from_secs(30);
/// So long does a request wait for a place among the open files.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a configuration says of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// The folder.
    pub folder: PathBuf,
    /// Which part of the path names the file.
    pub below: Below,
    /// Files that stand for their folder; with none folders are nothing at all.
    pub index: Vec<String>,
    /// What answers where there is no file.
    pub fallback: Fallback,
    /// How long browsers keep files.
    pub expires: Option<Duration>,
    /// How long the store keeps them before it looks again.
    pub recheck: Duration,
    /// Forms that lie beside the files, the ones that are liked best first.
    pub precompressed: Vec<Coding>,
    /// Names that begin with a dot are names like others.
    pub hidden: bool,
    /// Which links are followed.
    pub symlinks: Symlinks,
    /// What files hold.
    pub types: Types,
}

/// Which part of the path names the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Below {
    /// All of it.
    Path,
    /// What follows so many bytes.
    Rest(usize),
    /// Whatever the path: this one.
    File(String),
}

/// What answers where there is no file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fallback {
    /// 404.
    NotFound,
    /// This file, with 200.
    File(String),
    /// An upstream: its index in the configuration.
    Upstream(usize),
}

/// A folder that answers.
pub struct Files {
    rules: Arc<Rules>,
    folder: Arc<Folder>,
}

/// Descriptors to keep for files that visitors read several of over one connection; what each reads one of is kept
/// anyway, for the connection to a server that it needs no more.
pub fn kept(descriptors: u64) -> u64 {
    (descriptors / 8).min(4 * 1024)
}

/// Places among the open files of the whole process: half of what it may open, as a visitor's connection needs another.
static OPEN: LazyLock<Arc<Semaphore>> = LazyLock::new(|| {
    const MOST: u64 = 32 * 1024;
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(1_024, |(soft, _)| soft);
    let places = (limit / 2).clamp(16, MOST);
    Arc::new(Semaphore::new(usize::try_from(places).unwrap_or(16)))
});

impl Files {
    /// Looks whether the folder is there.
    pub fn new(rules: &Rules) -> io::Result<Self> {
        let folder = Folder::new(&rules.folder, rules.symlinks);
        folder.look()?;
        Ok(Self {
            rules: Arc::new(rules.clone()),
            folder: Arc::new(folder),
        })
    }

    /// What it goes by.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Whether something else is to answer this path: there is no such file, and the configuration names who.
    pub async fn passes(&self, path: &str) -> Result<bool, Fault> {
        if !matches!(self.rules.fallback, Fallback::Upstream(_)) {
            return Ok(false);
        }
        let Some(name) = self.name(path) else {
            return Ok(true);
        };
        let _permit = permit().await?;
        let found = self.find(name, Vec::new()).await?;
        // A folder without an index is nothing that a visitor would want.
        Ok(match found.0 {
            Found::Nothing => true,
            Found::Closed => found.1,
            Found::File(_) | Found::Folder => false,
        })
    }

    /// Answers a request.
    pub async fn ask(&self, request: &http::Request<()>) -> Result<Stream, Fault> {
        let (method, uri) = (request.method(), request.uri());
        let permit = permit().await?;
        let found = match self.name(uri.path()) {
            Some(name) => self.find_for(name, request.headers()).await?,
            None => Found::Nothing,
        };
        let found = match (found, &self.rules.fallback) {
            (Found::Nothing, Fallback::File(path)) if !is_hidden(uri.path()) => {
                match Name::of(path, 0, true) {
                    Some(name) => self.find_for(name, request.headers()).await?,
                    None => Found::Nothing,
                }
            }
            (found, _) => found,
        };
        let reads = method == Method::GET || method == Method::HEAD;
        match found {
            Found::Nothing => Err(Fault::NO_FILE),
            Found::Closed => Err(Fault::CLOSED_FILE),
            Found::Folder | Found::File(_) if !reads => Ok(told(answer::read_only())),
            Found::Folder => {
                let to = self.to_folder(uri);
                Ok(told(to))
            }
            Found::File(content) => {
                let facts = Facts {
                    meta: &content.meta,
                    content_type: self.rules.types.of(&content.name),
                    coding: content.coding,
                    varies: !self.rules.precompressed.is_empty(),
                    expires: self.rules.expires,
                    recheck: self.rules.recheck,
                    now: SystemTime::now(),
                };
                let parts = facts.answer(method, request.headers());
                let is_read = parts.iter().any(|part| matches!(part, Part::File { .. }));
                let opened = is_read.then(|| Opened {
                    file: content.file,
                    meta: content.meta,
                    permit: Some(permit),
                });
                Ok(Stream::new(parts, opened))
            }
        }
    }

    fn to_folder(&self, uri: &http::Uri) -> Part {
        let Rules {
            expires, recheck, ..
        } = *self.rules;
        answer::to_folder(uri.path(), uri.query(), expires, recheck)
    }

    fn name(&self, path: &str) -> Option<Name> {
        let hidden = self.rules.hidden;
        match &self.rules.below {
            Below::Path => Name::of(path, 0, hidden),
            Below::Rest(skip) => Name::of(path, *skip, hidden),
            Below::File(name) => Name::of(name, 0, true),
        }
    }

    async fn find_for(&self, name: Name, visitor: &http::HeaderMap) -> Result<Found, Fault> {
        let wanted = visitor.get_all(http::header::ACCEPT_ENCODING);
        let wanted = wanted.iter().cloned().collect();
        Ok(self.find(name, wanted).await?.0)
    }

    /// What there is, and whether a folder is meant. `wanted` are the visitor's `Accept-Encoding`.
    async fn find(
        &self,
        name: Name,
        wanted: Vec<http::HeaderValue>,
    ) -> Result<(Found, bool), Fault> {
        let is_folder = name.is_folder;
        match self.search(&name, &wanted, Patience::None) {
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => {}
            found => {
                return found
                    .map(|found| (found, is_folder))
                    .map_err(|why| trouble(&why));
            }
        }
        let (rules, folder) = (Arc::clone(&self.rules), Arc::clone(&self.folder));
        let looked = pieces::off_the_thread(move || {
            Self { rules, folder }.search(&name, &wanted, Patience::Disk)
        });
        match timeout(DISK, looked).await {
            Ok(Ok(found)) => Ok((found, is_folder)),
            Ok(Err(why)) => Err(trouble(&why)),
            Err(_) => Err(trouble(&io::ErrorKind::TimedOut.into())),
        }
    }

    fn search(
        &self,
        name: &Name,
        wanted: &[http::HeaderValue],
        patience: Patience,
    ) -> io::Result<Found> {
        let search = Search {
            folder: &self.folder,
            index: &self.rules.index,
            precompressed: &self.rules.precompressed,
            patience,
        };
        search.find(name, &AcceptEncoding(wanted))
    }
}

/// How long files may take. Visitors who are slow are kept to their pace elsewhere, and a disk that is slow is not
/// mended by giving up.
pub fn timeouts() -> Timeouts {
    const MINUTE: Duration = Duration::from_secs(60);
    Timeouts {
        connect: MINUTE,
        response: MINUTE,
        read: MINUTE,
        total: 24 * 60 * MINUTE,
        tunnel: MINUTE,
        idle: MINUTE,
    }
}

/// An upstream for files: one server that is always well, and to which nobody connects.
pub fn as_upstream() -> model::Upstream {
    let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
    model::Upstream {
        name: NAME.to_owned(),
        servers: vec![Backend {
            name: NAME.to_owned(),
            address: BackendAddress::Address(nowhere),
            weight: NonZeroU32::MIN,
            backup: false,
            drain: false,
        }],
        balance: Balance::RoundRobin,
        hash_key: HashKey::Target,
        slow_start: Duration::ZERO,
        // Its requests are handed over as such, and not as bytes.
        protocol: UpstreamProtocol::Http2,
        tls: None,
        connections: Connections {
            max: None,
            queue: 0,
            queue_timeout: PATIENCE,
            lifetime: PATIENCE,
        },
        health_check: None,
        eject: None,
        concurrency: None,
        retry: Retry {
            attempts: 0,
            budget_percent: 0,
            body: 0,
            wait: Duration::ZERO,
        },
        timeouts: timeouts(),
        shop_window: None,
    }
}

/// Whether a path has a name that begins with a dot: a page for people is no answer to who looks for such.
fn is_hidden(path: &str) -> bool {
    path.split('/').any(|segment| segment.starts_with('.'))
}

/// The one field that chooses among the forms of a file.
struct AcceptEncoding<'a>(&'a [http::HeaderValue]);

impl Fields for AcceptEncoding<'_> {
    fn for_each(&self, name: &http::HeaderName, f: &mut dyn FnMut(&[u8])) {
        if *name == http::header::ACCEPT_ENCODING {
            for value in self.0 {
                f(value.as_bytes());
            }
        }
    }
}

async fn permit() -> Result<OwnedSemaphorePermit, Fault> {
    let places = Arc::clone(&OPEN);
    if let Ok(permit) = Arc::clone(&places).try_acquire_owned() {
        return Ok(permit);
    }
    let turn = timeout(PATIENCE, places.acquire_owned()).await;
    turn.ok().and_then(Result::ok).ok_or(Fault::FILES_OPEN)
}

/// An answer without a file.
fn told(head: Part) -> Stream {
    Stream::new([head], None)
}

fn trouble(why: &io::Error) -> Fault {
    tracing::warn!(%why, "a file cannot be opened");
    match crate::respond::fault::is_ours(why) {
        true => Fault::FILES_OPEN,
        false => Fault::UNREADABLE,
    }
}
