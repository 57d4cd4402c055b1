//! The disk tier: what does not fit in memory, and what is to outlive the process.
//!
//! Objects are written behind the visitors' backs by one thread with a bounded queue; when it cannot
//! keep up, responses live in memory only. Trouble with the disk is a miss, a number and one line in the
//! log, never an answer to a visitor.

use std::{
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{HeaderName, header::CONTENT_LENGTH};
use http_caching::{Fields, Lifetimes, Storable};
use object_files::{Files, Object, Options, Stats, Trouble, Writer};
use serde::{Deserialize, Serialize};

use super::{
    Purges, Stored,
    compress::{CODINGS, Encoded},
    head::HeadFields,
    purge::Stamp,
    stored::{Judged, millis},
};
use crate::config::model;

/// The disk tier.
pub struct Disk {
    files: Files,
    max_object: AtomicU64,
    /// Trouble there was, besides damaged objects.
    errors: AtomicU64,
    /// When the last attempt at each failed, in milliseconds since 1970; 0 once that is over.
    troubled: [AtomicU64; 2],
    /// The first reading of the folder is over, however it went.
    is_read: AtomicBool,
    /// Held while what arrived piece by piece is looked at and becomes visible, so that a sweep sees it or
    /// it sees all that the sweep is about.
    finishing: RwLock<()>,
}

/// What was attempted. Each has trouble of its own: a full disk can be read.
#[derive(Clone, Copy)]
enum Attempt {
    Read,
    Write,
}

/// After so long without trouble it is over. A full file system takes every other write.
const OVER: Duration = Duration::from_secs(5);

/// What lies under a key.
pub enum Loaded {
    /// A response.
    Response(Stored),
    /// What the responses under this primary key vary on.
    Variation(Vec<HeaderName>),
}

/// What stands before the head of a stored response.
#[derive(Serialize, Deserialize)]
struct Meta {
    /// Absent for a variation.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(rename = "t", default)]
    response_time: u64,
    /// Which content it is, see [`Stored::born`].
    #[serde(rename = "b", default)]
    born: u64,
    #[serde(rename = "i", default)]
    initial_age: u64,
    /// Lifetime and stale windows in seconds.
    #[serde(rename = "l", default)]
    lifetimes: [u64; 3],
    #[serde(rename = "v", default)]
    always_validate: bool,
    #[serde(rename = "m", default)]
    may_be_stale: bool,
    #[serde(rename = "c", default)]
    shared_with_credentials: bool,
    #[serde(rename = "a", default)]
    is_told_aside: bool,
    #[serde(rename = "q", default)]
    seq: u64,
    #[serde(rename = "u", default)]
    uri: u64,
    #[serde(rename = "g", default, skip_serializing_if = "<[u64]>::is_empty")]
    tags: Box<[u64]>,
    /// Which of the codings have a section of their own, in their order.
    #[serde(rename = "z", default, skip_serializing_if = "Vec::is_empty")]
    codings: Vec<usize>,
    /// Names of fields, for a variation.
    #[serde(rename = "f", default, skip_serializing_if = "Vec::is_empty")]
    fields: Vec<String>,
}

/// A line of JSON, then the head as it is.
fn encode(meta: &Meta, head: &[u8]) -> Vec<u8> {
    // Numbers and names always serialise.
    let mut out = serde_json::to_vec(meta).unwrap_or_default();
    out.push(b'\n');
    out.extend_from_slice(head);
    out
}

fn decode(bytes: &[u8]) -> Option<(Meta, &[u8])> {
    let line = memchr::memchr(b'\n', bytes)?;
    let meta = serde_json::from_slice(&bytes[..line]).ok()?;
    Some((meta, &bytes[line + 1..]))
}

/// What stands before a stored response's sections, wherever it is written down.
pub(super) fn meta_of(stored: &Stored) -> Vec<u8> {
    let lifetimes = stored.lifetimes();
    let encoded = stored.encoded();
    let contents = encoded.map_or([None; CODINGS.len()], Encoded::contents);
    let meta = Meta {
        status: Some(stored.status()),
        response_time: millis(stored.response_time()),
        born: stored.born(),
        initial_age: u64::try_from(stored.initial_age().as_millis()).unwrap_or(u64::MAX),
        lifetimes: [
            lifetimes.lifetime,
            lifetimes.stale_while_revalidate,
            lifetimes.stale_if_error,
        ]
        .map(|window| window.as_secs()),
        always_validate: lifetimes.always_validate,
        may_be_stale: lifetimes.may_be_stale,
        shared_with_credentials: stored.is_shared_with_credentials(),
        is_told_aside: stored.is_told_aside(),
        seq: stored.stamp().seq,
        uri: stored.stamp().uri,
        tags: stored.stamp().tags.clone(),
        codings: (0..CODINGS.len())
            .filter(|at| contents[*at].is_some())
            .collect(),
        fields: Vec::new(),
    };
    encode(&meta, &stored.head())
}

/// The same for what responses vary on.
pub(super) fn meta_of_variation(fields: &[HeaderName]) -> Vec<u8> {
    let meta = Meta {
        status: None,
        response_time: 0,
        born: 0,
        initial_age: 0,
        lifetimes: [0; 3],
        always_validate: false,
        may_be_stale: false,
        shared_with_credentials: false,
        is_told_aside: false,
        seq: 0,
        uri: 0,
        tags: Box::default(),
        codings: Vec::new(),
        fields: fields.iter().map(|name| name.as_str().to_owned()).collect(),
    };
    encode(&meta, &[])
}

/// Makes of what was written down what it was: meta and head as [`meta_of`] writes them, sections by their lengths.
/// Content beyond `max_in_memory` stays where it is.
pub(super) fn rebuild(
    key: &[u8],
    meta: &[u8],
    lengths: &[u64],
    max_in_memory: u64,
    read: impl Fn(usize, u64) -> Option<Bytes>,
) -> Option<Loaded> {
    let (meta, head) = decode(meta)?;
    let Some(status) = meta.status else {
        let names = meta.fields.iter();
        let names = names.filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok());
        return Some(Loaded::Variation(names.collect()));
    };
    let length = *lengths.first()?;
    let fits = length <= max_in_memory;
    let content = if fits { Some(read(0, length)?) } else { None };
    let [lifetime, stale_while_revalidate, stale_if_error] =
        meta.lifetimes.map(Duration::from_secs);
    let judged = Judged {
        rules: Storable {
            lifetimes: Lifetimes {
                lifetime,
                stale_while_revalidate,
                stale_if_error,
                always_validate: meta.always_validate,
                may_be_stale: meta.may_be_stale,
            },
            age: Duration::from_millis(meta.initial_age),
            vary: Vec::new(),
            excluded: Vec::new(),
            shared_with_credentials: meta.shared_with_credentials,
        },
        response_time: UNIX_EPOCH + Duration::from_millis(meta.response_time),
        stamp: Stamp {
            seq: meta.seq,
            uri: meta.uri,
            tags: meta.tags,
        },
        is_told_aside: meta.is_told_aside,
    };
    let mut declared = true;
    HeadFields(head).for_each(&CONTENT_LENGTH, &mut |value| {
        declared = value == length.to_string().as_bytes();
    });
    if !declared {
        // A head that speaks of other content would break the framing of every answer.
        return None;
    }
    let head = Bytes::copy_from_slice(head);
    let content = content.as_ref().map(std::slice::from_ref);
    let stored = Stored::from_head(key, &head, status, content, length, judged);
    let stored = stored.with_born(meta.born);
    let mut contents = [None, None, None];
    for (section, at) in meta.codings.iter().enumerate() {
        let slot = contents.get_mut(*at)?;
        *slot = Some(read(section + 1, *lengths.get(section + 1)?)?);
    }
    let encoded = Encoded::of(&stored, contents);
    Some(Loaded::Response(match encoded {
        Some(encoded) => stored.with_encoded(encoded),
        None => stored,
    }))
}

impl Attempt {
    fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "written",
        }
    }
}

impl Disk {
    /// Opens the folder. What is in it can be used at once.
    pub fn open(config: &model::Disk) -> std::io::Result<Self> {
        Ok(Self {
            files: Files::open(Options {
                path: config.path.clone(),
                capacity: config.size,
                max_object: config.max_object,
            })?,
            max_object: AtomicU64::new(config.max_object),
            errors: AtomicU64::new(0),
            troubled: Default::default(),
            is_read: AtomicBool::new(false),
            finishing: RwLock::default(),
        })
    }

    /// Where the journal of purges is.
    pub fn journal(config: &model::Disk) -> std::path::PathBuf {
        config.path.join("purges")
    }

    /// Reads what is there, for the books. Look-ups do not wait for it. Blocks for long.
    pub fn scan(&self) {
        match self.files.scan() {
            Ok((objects, bytes)) => tracing::info!(objects, bytes, "disk tier read"),
            Err(why) => self.note(Attempt::Read, &Trouble::Io(why)),
        }
        self.is_read.store(true, Ordering::Release);
    }

    /// Whether the first reading of the folder is over.
    pub fn is_read(&self) -> bool {
        self.is_read.load(Ordering::Acquire)
    }

    /// Bytes of content that an object may have.
    pub fn max_object(&self) -> u64 {
        self.max_object.load(Ordering::Relaxed)
    }

    /// Takes other bounds and removes what is beyond them. Blocks for as long as that takes.
    pub fn resize(&self, size: u64, max_object: u64) {
        self.max_object.store(max_object, Ordering::Relaxed);
        if let Err(why) = self.files.resize(size, max_object) {
            self.note(Attempt::Write, &Trouble::Io(why));
        }
    }

    /// `false` only where there surely is nothing.
    pub fn may_hold(&self, key: &[u8]) -> bool {
        self.files.may_hold(key)
    }

    /// Objects, bytes, evictions, damage.
    pub fn stats(&self) -> Stats {
        self.files.stats()
    }

    /// Trouble there was, besides damaged objects.
    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    fn note(&self, attempt: Attempt, trouble: &Trouble) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        let now = millis(SystemTime::now()).max(1);
        if self.troubled[attempt as usize].swap(now, Ordering::Relaxed) == 0 {
            let what = attempt.name();
            tracing::error!(%trouble, "the disk tier cannot be {what}; serving goes on without it");
        }
    }

    fn noted<T>(&self, attempt: Attempt, result: Result<T, Trouble>) -> Option<T> {
        match result {
            Ok(done) => {
                let troubled = &self.troubled[attempt as usize];
                let last = troubled.load(Ordering::Relaxed);
                if last > 0
                    && super::purge::since(last, SystemTime::now()) > OVER
                    && troubled.swap(0, Ordering::Relaxed) > 0
                {
                    let what = attempt.name();
                    tracing::info!("the disk tier works again: it can be {what}");
                }
                Some(done)
            }
            Err(Trouble::TooLarge) => None,
            Err(Trouble::Damaged(why)) => {
                tracing::warn!(why, "a damaged object was removed from the disk tier");
                None
            }
            Err(trouble) => {
                self.note(attempt, &trouble);
                None
            }
        }
    }

    /// What lies under a key. Content that is small enough comes along. `forgotten` is the step of
    /// [`Purges::forgotten`] from before. Blocks.
    pub fn load(&self, key: &[u8], max_in_memory: u64, forgotten: u64) -> Option<Loaded> {
        let object = self.noted(Attempt::Read, self.files.get(key))??;
        let loaded = self.decode(key, &object, max_in_memory);
        match &loaded {
            None => _ = self.files.remove(key),
            Some(Loaded::Response(stored)) => {
                stored
                    .facts()
                    .checked
                    .fetch_max(forgotten, Ordering::Relaxed);
            }
            Some(Loaded::Variation(_)) => {}
        }
        loaded
    }

    /// What lies under a key, without its content, for somebody who only wants to know: nothing counts as use, and
    /// nothing is removed. Blocks.
    pub(crate) fn look(&self, key: &[u8], forgotten: u64) -> Option<Loaded> {
        let (meta, lengths) = self.files.look(key)?;
        let loaded = rebuild(key, &meta, &lengths, 0, |_, _| Some(Bytes::new()))?;
        if let Loaded::Response(stored) = &loaded {
            let checked = &stored.facts().checked;
            checked.fetch_max(forgotten, Ordering::Relaxed);
        }
        Some(loaded)
    }

    fn decode(&self, key: &[u8], object: &Object, max_in_memory: u64) -> Option<Loaded> {
        let read = |section: usize, length: u64| {
            let length = usize::try_from(length).ok()?;
            self.noted(Attempt::Read, object.read_at(section, 0, length))
        };
        rebuild(
            key,
            object.meta(),
            object.section_lengths(),
            max_in_memory,
            read,
        )
    }

    /// Writes a response down. Blocks.
    pub fn save(&self, stored: &Stored) {
        let content = stored.content();
        let mut sections: Vec<&[u8]> = vec![&content];
        if let Some(encoded) = stored.encoded() {
            sections.extend(encoded.contents().into_iter().flatten().map(|c| &c[..]));
        }
        let put = self.files.put(stored.key(), &meta_of(stored), &sections);
        self.noted(Attempt::Write, put);
    }

    /// Writes down what has changed of a response whose content is there already. `false`: its content
    /// was to be there, and is not. Blocks.
    pub fn save_meta(&self, stored: &Stored) -> bool {
        // What lies there may be the content of an earlier one, whose successor never got here.
        let fits = |there: &[u8]| decode(there).is_some_and(|(meta, _)| meta.born == stored.born());
        let meta = meta_of(stored);
        let replaced = self.files.replace_meta_if(stored.key(), &meta, &fits);
        if self.noted(Attempt::Write, replaced) != Some(false) {
            return true;
        }
        if !stored.is_on_disk() {
            self.save(stored);
        }
        !stored.is_on_disk()
    }

    /// Writes down what the responses under a primary key vary on. Blocks.
    pub fn save_variation(&self, key: &[u8], fields: &[HeaderName]) {
        let meta = meta_of_variation(fields);
        self.noted(Attempt::Write, self.files.put(key, &meta, &[]));
    }

    /// Begins a response whose content goes to the disk as it arrives. Blocks.
    pub fn create(&self) -> Option<Writer> {
        self.noted(Attempt::Write, self.files.create())
    }

    /// Completes it, unless it was purged meanwhile, softly too. Blocks.
    pub fn finish(&self, writer: Writer, stored: &Stored, purges: &Purges) -> bool {
        let _finishing = self
            .finishing
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        // A file knows of no soft purge whose record is forgotten.
        if !purges.leaves_untouched(stored) {
            return false;
        }
        let finished = writer.finish(stored.key(), &meta_of(stored));
        self.noted(Attempt::Write, finished).is_some()
    }

    /// Opens the content of a response. Blocks.
    pub fn open_content(&self, stored: &Stored) -> Option<Object> {
        let object = self.noted(Attempt::Read, self.files.get(stored.key()))??;
        let same = decode(object.meta()).is_some_and(|(meta, _)| {
            meta.born == stored.born()
                && object.section_lengths().first() == Some(&stored.content_length())
        });
        same.then_some(object)
    }

    /// Removes what lies under a key. Blocks.
    pub fn remove(&self, key: &[u8]) {
        self.files.remove(key);
    }

    /// Removes all that `stands` says no to; returns how many there were. Blocks for long. Of all that
    /// writes responses here only [`finish`](Self::finish) may run at the same time.
    pub fn sweep(&self, stands: &dyn Fn(&Stamp, &[u8]) -> bool) -> Option<u64> {
        // What is finished from now on is looked at by what is in force now.
        drop(
            self.finishing
                .write()
                .unwrap_or_else(PoisonError::into_inner),
        );
        // The books may lack what another process has written.
        let scanned = self.files.scan().map_err(Trouble::Io);
        self.noted(Attempt::Read, scanned)?;
        let swept = self.files.sweep(&mut |key, meta| match decode(meta) {
            Some((meta, _)) if meta.status.is_some() => {
                let stamp = Stamp {
                    seq: meta.seq,
                    uri: meta.uri,
                    tags: meta.tags,
                };
                stands(&stamp, key)
            }
            Some(_) => true,
            None => false,
        });
        self.noted(Attempt::Read, swept.map_err(Trouble::Io))
    }
}

#[cfg(test)]
mod tests;
