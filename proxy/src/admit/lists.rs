//! Lists of addresses: who is let in, kept out, or not counted.
//!
//! A list is made of entries of the configuration and of the lines of a file. It is looked up by every request that
//! a rule concerns, so it is two sorted tables of ranges; the file is read behind the requests' backs
//! ([`watch`](super::watch)) and takes effect as a whole.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{self, BufRead, BufReader, Read},
    net::IpAddr,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use arc_swap::ArcSwap;
use ipnet::IpNet;
use nix::fcntl::OFlag;

use super::rate::lasting;
use crate::{
    config::{mapped, model},
    observe::limit_metrics::ListCounts,
};

/// Largest file: a million of the longest lines that an address and a short comment make.
const FILE_MAX: u64 = 128 << 20;
/// Longest line: an IPv6 network takes 43 bytes, the rest is a comment.
const LINE_MAX: usize = 1024;

/// Ranges of addresses: sorted, and none touches the next.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct AddressSet {
    v4: Ranges<u32>,
    v6: Ranges<u128>,
}

/// Of this many addresses one stands in the level above; those of IPv4 fill a cache line.
const FAN: usize = 16;

/// First and last addresses apart, and above the first ones levels that each hold every sixteenth of the level below:
/// a search among a million touches five short pieces, of which most are in a cache.
#[derive(Debug, PartialEq, Eq)]
struct Ranges<T> {
    /// The lowest has all first addresses, the highest at most [`FAN`].
    levels: Vec<Box<[T]>>,
    lasts: Box<[T]>,
}

impl<T> Default for Ranges<T> {
    fn default() -> Self {
        Self {
            levels: Vec::new(),
            lasts: Box::default(),
        }
    }
}

impl<T: Copy + Ord> Ranges<T> {
    /// Sorts and merges; `next` is the address behind another, if there is one.
    fn new(mut given: Vec<(T, T)>, next: impl Fn(T) -> Option<T>) -> Self {
        given.sort_unstable();
        given.dedup_by(|later, earlier| {
            let joins = next(earlier.1).is_none_or(|behind| later.0 <= behind);
            if joins {
                earlier.1 = earlier.1.max(later.1);
            }
            joins
        });
        let mut level: Box<[T]> = given.iter().map(|range| range.0).collect();
        let mut levels = Vec::new();
        while level.len() > FAN {
            let above = level.iter().copied().step_by(FAN).collect();
            levels.push(std::mem::replace(&mut level, above));
        }
        levels.push(level);
        Self {
            levels,
            lasts: given.iter().map(|range| range.1).collect(),
        }
    }

    fn contains(&self, address: T) -> bool {
        let mut at = 0;
        for level in self.levels.iter().rev() {
            let start = at * FAN;
            let piece = &level[start..level.len().min(start + FAN)];
            // Counting all of a piece is faster than branches that nobody can foresee.
            let behind = piece.iter().filter(|first| **first <= address).count();
            if behind == 0 {
                return false;
            }
            at = start + behind - 1;
        }
        self.lasts.get(at).is_some_and(|last| address <= *last)
    }

    fn bytes(&self) -> usize {
        let levels = self.levels.iter().map(|level| size_of_val(&**level));
        levels.sum::<usize>() + size_of_val(&*self.lasts)
    }
}

impl AddressSet {
    /// A set of networks, in any order, which may overlap. Bits behind a prefix do not count.
    pub fn new(networks: impl IntoIterator<Item = IpNet>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in networks {
            match mapped::network(network).unwrap_or(network) {
                IpNet::V4(net) => v4.push((net.network().to_bits(), net.broadcast().to_bits())),
                IpNet::V6(net) => v6.push((net.network().to_bits(), net.broadcast().to_bits())),
            }
        }
        Self {
            v4: Ranges::new(v4, |address| address.checked_add(1)),
            v6: Ranges::new(v6, |address| address.checked_add(1)),
        }
    }

    /// Whether an address is in one of the networks. One that is mapped into IPv6 is an IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(v4) => self.v4.contains(v4.to_bits()),
            IpAddr::V6(v6) => self.v6.contains(v6.to_bits()),
        }
    }

    /// Ranges that are left after merging.
    pub fn ranges(&self) -> usize {
        self.v4.lasts.len() + self.v6.lasts.len()
    }

    /// Bytes of both tables.
    pub fn bytes(&self) -> usize {
        self.v4.bytes() + self.v6.bytes()
    }
}

/// Why a file is not taken, as a sentence with its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadFile(String);

/// What a file says.
#[derive(Debug, Default)]
struct Said {
    networks: Vec<IpNet>,
    /// The first line whose network has bits behind its prefix, and how many there are.
    loose: Option<(usize, String)>,
    loose_count: usize,
}

/// Reads lines of one address or network each. `#` begins a comment.
fn read(path: &Path, from: impl Read) -> Result<Said, BadFile> {
    let mut lines = BufReader::with_capacity(64 * 1024, from.take(FILE_MAX + 1));
    let (mut said, mut line, mut bytes) = (Said::default(), Vec::new(), 0);
    for number in 1.. {
        line.clear();
        let unreadable = |why: &io::Error| cannot_read(path, why);
        let length = lines.read_until(b'\n', &mut line);
        let length = length.map_err(|why| unreadable(&why))?;
        bytes += length as u64;
        if bytes > FILE_MAX {
            return Err(BadFile(format!("{} exceeds 128 MiB", path.display())));
        }
        if length == 0 {
            break;
        }
        let wrong = |what: &str| BadFile(format!("{}:{number}: {what}", path.display()));
        if length > LINE_MAX {
            return Err(wrong("a line has at most 1024 bytes"));
        }
        let text = match std::str::from_utf8(&line) {
            // Some editors begin a file with a mark of its encoding.
            Ok(text) if number == 1 => text.trim_start_matches('\u{feff}'),
            Ok(text) => text,
            Err(_) => return Err(wrong("this is no UTF-8")),
        };
        let text = text.split('#').next().unwrap_or_default().trim();
        if text.is_empty() {
            continue;
        }
        let network = text.parse::<IpNet>();
        let network = network.or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        let Ok(network) = network else {
            let shown: String = text.chars().take(60).collect();
            return Err(wrong(&format!("`{shown}` is no address or network")));
        };
        let Some(network) = mapped::network(network) else {
            return Err(wrong(mapped::TOO_WIDE));
        };
        if network != network.trunc() {
            let place = || {
                let whole = network.trunc();
                (number, format!("{network} means all of {whole}"))
            };
            said.loose = said.loose.or_else(|| Some(place()));
            said.loose_count += 1;
        }
        said.networks.push(network);
    }
    Ok(said)
}

fn cannot_read(path: &Path, why: &io::Error) -> BadFile {
    BadFile(format!("cannot read {}: {why}", path.display()))
}

/// What tells versions of a file apart. A link that leads elsewhere is another file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    modified: Option<SystemTime>,
    length: u64,
    device: u64,
    number: u64,
}

impl Version {
    fn of(path: &Path) -> io::Result<Self> {
        let about = fs::metadata(path)?;
        regular(&about)?;
        Ok(Self {
            modified: about.modified().ok(),
            length: about.len(),
            device: about.dev(),
            number: about.ino(),
        })
    }
}

/// A pipe or a device might never come to an end, nor to a beginning.
fn regular(about: &Metadata) -> io::Result<()> {
    match about.is_file() {
        true => Ok(()),
        false => Err(io::Error::other("it is no regular file")),
    }
}

/// Opens what may have become a pipe since it was looked at, and does not wait for anybody to write to it.
fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path)?;
    regular(&file.metadata()?)?;
    Ok(file)
}

/// What is in force of a list.
#[derive(Default)]
struct InForce {
    set: AddressSet,
    /// Entries and lines it was made from.
    entries: usize,
}

/// What is known of a list's file.
struct Known {
    /// The version that was read last, whether it was taken or not.
    read: Option<Version>,
    /// The version that was there at the last look. A file is read once it has stayed the same from one look to the
    /// next: a line that is still being written may be a valid one, and mean others.
    seen: Option<Version>,
    /// Why what is there now is not in force.
    trouble: Option<BadFile>,
}

/// A list by its name in the configuration. Its file may change while it is in force.
pub struct AddressList {
    /// Name of the list.
    pub name: &'static str,
    /// Whom it kept out.
    pub counts: Arc<ListCounts>,
    entries: Vec<IpNet>,
    file: Option<PathBuf>,
    in_force: ArcSwap<InForce>,
    known: Mutex<Known>,
    is_sound: AtomicBool,
}

impl AddressList {
    /// Reads the list's file, if it has one.
    ///
    /// # Errors
    /// The file cannot be read, or one of its lines is neither an address nor a network.
    pub fn new(list: &model::AddressList) -> Result<Self, BadFile> {
        let made = Self {
            name: lasting(&list.name),
            counts: Arc::default(),
            entries: list.entries.clone(),
            file: list.file.clone(),
            in_force: ArcSwap::default(),
            known: Mutex::new(Known {
                read: None,
                seen: None,
                trouble: None,
            }),
            is_sound: AtomicBool::new(true),
        };
        match &made.file {
            None => made.put(Said::default()),
            Some(path) => {
                let version = Version::of(path).map_err(|why| cannot_read(path, &why))?;
                made.put(made.said(path)?);
                let mut known = made.known.lock().unwrap_or_else(PoisonError::into_inner);
                (known.read, known.seen) = (Some(version), Some(version));
            }
        }
        Ok(made)
    }

    /// The same list, which counts there.
    #[must_use]
    pub fn counted(self, counts: Arc<ListCounts>) -> Self {
        Self { counts, ..self }
    }

    /// Whether it is what the configuration describes, apart from what its file says now.
    pub fn is_as(&self, list: &model::AddressList) -> bool {
        (self.name, &self.entries, &self.file) == (list.name.as_str(), &list.entries, &list.file)
    }

    /// Whether an address is on the list.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.in_force.load().set.contains(address)
    }

    /// Entries and lines in force.
    pub fn entries(&self) -> usize {
        self.in_force.load().entries
    }

    /// Bytes that the list takes.
    pub fn bytes(&self) -> usize {
        self.in_force.load().set.bytes()
    }

    /// Whether what is in force is what its file says.
    pub fn is_sound(&self) -> bool {
        self.is_sound.load(Ordering::Relaxed)
    }

    /// Why what its file says is not in force.
    pub fn trouble(&self) -> Option<String> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.trouble.as_ref().map(ToString::to_string)
    }

    fn said(&self, path: &Path) -> Result<Said, BadFile> {
        let file = open(path).map_err(|why| cannot_read(path, &why))?;
        let said = read(path, file)?;
        if let Some((line, meaning)) = &said.loose {
            tracing::warn!(
                list = self.name,
                "{}:{line}: {meaning} ({} such lines)",
                path.display(),
                said.loose_count
            );
        }
        Ok(said)
    }

    fn put(&self, said: Said) {
        let entries = self.entries.len() + said.networks.len();
        let all = self.entries.iter().copied().chain(said.networks);
        let set = AddressSet::new(all);
        self.in_force.store(InForce { set, entries }.into());
    }

    /// Looks at the file, and takes what it says where it has changed. Reads a disk.
    pub fn look(&self) {
        let Some(path) = &self.file else { return };
        let version = Version::of(path);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let version = match version {
            Ok(version) => version,
            Err(why) => {
                // One that is put back is another one.
                (known.read, known.seen) = (None, None);
                return self.note(&mut known, Some(cannot_read(path, &why)));
            }
        };
        let has_settled = known.seen.replace(version) == Some(version);
        if known.read == Some(version) || !has_settled {
            return;
        }
        // Who asks for the list's state does not wait for a disk.
        drop(known);
        let said = self.said(path);
        let now = Version::of(path).ok();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if now != Some(version) {
            // It has changed meanwhile, and is read once it rests.
            known.seen = None;
            return;
        }
        known.read = Some(version);
        match said {
            Ok(said) => {
                self.put(said);
                let entries = self.entries();
                tracing::info!(list = self.name, entries, "address list read anew");
                self.note(&mut known, None);
            }
            Err(why) => self.note(&mut known, Some(why)),
        }
    }

    fn note(&self, known: &mut Known, trouble: Option<BadFile>) {
        if let Some(why) = &trouble
            && known.trouble.as_ref() != Some(why)
        {
            tracing::error!(list = self.name, "{why}; the old list stays in force");
        }
        self.is_sound.store(trouble.is_none(), Ordering::Relaxed);
        known.trouble = trouble;
    }
}

#[cfg(test)]
mod tests;
