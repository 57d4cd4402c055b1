//! The folder of an account and its certificates: readable by its owner alone, written so that a crash leaves the
//! old or the new, and locked while somebody orders.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use instant_acme::AccountCredentials;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{held::Held, rest::Rest};

/// A chain of a hundred names with its key has some ten KiB.
const FILE_MOST: u64 = 1 << 20;

/// What a file in here is called after, at most: a name of a host may be longer than a file system likes.
const STEM_MOST: usize = 100;

/// The folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Storage(PathBuf);

/// An account at an authority.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredAccount {
    /// Whom the authority writes to, as it was told.
    pub(super) contact: Vec<String>,
    /// Its key, and what the authority calls it.
    pub(super) credentials: AccountCredentials,
}

/// Failures that a restart does not forget: an authority counts them, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Failures {
    /// In a row.
    pub(super) count: u32,
    /// Seconds since 1970 before which nothing is ordered.
    pub(super) not_before: u64,
    /// It was the authority that asked for this pause.
    pub(super) asked: bool,
    /// The last one, a sentence.
    pub(super) why: String,
}

/// Something in the folder that cannot be used.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) path: PathBuf,
    pub(super) why: String,
    /// It is its content, and not that it cannot be read at the moment.
    pub(super) is_garbage: bool,
}

/// Nobody else orders while it is there.
pub(super) struct Lock {
    _file: File,
}

impl Storage {
    pub(super) fn at(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    /// The folder itself.
    pub(super) fn folder(&self) -> &Path {
        &self.0
    }

    /// What the files of a certificate are called: readable, and something else for other names or another
    /// authority. The order of the names does not matter.
    pub(super) fn stem(directory: &str, names: &[String]) -> String {
        let mut sorted = names.to_vec();
        sorted.sort_unstable();
        let mut hasher = blake3::Hasher::new();
        for part in std::iter::once(directory).chain(sorted.iter().map(String::as_str)) {
            hasher.update(part.as_bytes());
            hasher.update(b"\n");
        }
        let first: String = sorted.first().map_or_else(String::new, |name| {
            // Names have only letters, digits, hyphens and dots by now.
            name.chars().take(STEM_MOST).collect()
        });
        format!("{first}-{}", &hasher.finalize().to_hex()[..16])
    }

    pub(super) fn certificate(&self, stem: &str) -> PathBuf {
        self.0.join("certificates").join(format!("{stem}.pem"))
    }

    fn failures(&self, stem: &str) -> PathBuf {
        self.0.join("certificates").join(format!("{stem}.failed"))
    }

    fn rest(&self, stem: &str) -> PathBuf {
        self.0.join("certificates").join(format!("{stem}.issued"))
    }

    /// The file of an account: another one for another authority, or another account there.
    pub(super) fn account(&self, directory: &str, key_id: Option<&str>) -> PathBuf {
        let mut hasher = blake3::Hasher::new();
        hasher.update(directory.as_bytes());
        hasher.update(b"\n");
        hasher.update(key_id.unwrap_or_default().as_bytes());
        let name = format!("{}.json", &hasher.finalize().to_hex()[..16]);
        self.0.join("accounts").join(name)
    }

    /// Makes the folders that are not there yet. One that is there keeps its mode: it may be somebody else's.
    pub(super) fn prepare(&self) -> io::Result<()> {
        let mut make = DirBuilder::new();
        make.recursive(true).mode(0o700);
        for folder in ["accounts", "certificates"] {
            make.create(self.0.join(folder))?;
        }
        Ok(())
    }

    /// Takes the lock, unless another process has it.
    pub(super) fn lock(&self) -> io::Result<Option<Lock>> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(self.0.join("lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock { _file: file })),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(why)) => Err(why),
        }
    }

    /// Writes a file as a whole: beside, synchronised, and renamed into its place.
    pub(super) fn write(path: &Path, content: &[u8]) -> io::Result<()> {
        let mut beside = path.as_os_str().to_owned();
        beside.push(format!(".{}.tmp", std::process::id()));
        let beside = PathBuf::from(beside);
        let written = Self::write_beside(&beside, content)
            .and_then(|()| fs::rename(&beside, path))
            .and_then(|()| match path.parent() {
                Some(folder) => File::open(folder)?.sync_all(),
                None => Ok(()),
            });
        if written.is_err() {
            let _ = fs::remove_file(&beside);
        }
        written
    }

    fn write_beside(beside: &Path, content: &[u8]) -> io::Result<()> {
        // One that a crash left behind would keep its mode.
        let _ = fs::remove_file(beside);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(beside)?;
        file.write_all(content)?;
        file.sync_all()
    }

    /// A certificate, where there is one.
    pub(super) fn read_certificate(
        &self,
        stem: &str,
        names: &[String],
    ) -> Result<Option<Held>, Broken> {
        let path = self.certificate(stem);
        let (read, is_garbage) = match read(&path) {
            Ok(None) => return Ok(None),
            Ok(Some(pem)) => (Held::read(&pem, &path, names), true),
            Err(why) => (Err(why.to_string()), is_too_large(&why)),
        };
        read.map(Some).map_err(|why| Broken {
            path,
            why,
            is_garbage,
        })
    }

    pub(super) fn read_account(&self, path: &Path) -> Result<Option<StoredAccount>, Broken> {
        read_json(path)
    }

    pub(super) fn write_account(&self, path: &Path, account: &StoredAccount) -> io::Result<()> {
        Self::write(path, &serde_json::to_vec_pretty(account)?)
    }

    /// What is remembered of failures; what cannot be read is none.
    pub(super) fn read_failures(&self, stem: &str) -> Option<Failures> {
        read_json(&self.failures(stem)).ok().flatten()
    }

    /// Remembers failures, or forgets them.
    pub(super) fn note_failures(&self, stem: &str, failures: Option<&Failures>) -> io::Result<()> {
        let path = self.failures(stem);
        match failures {
            Some(failures) => Self::write(&path, &serde_json::to_vec(failures)?),
            None => match fs::remove_file(&path) {
                Err(why) if why.kind() != io::ErrorKind::NotFound => Err(why),
                _ => Ok(()),
            },
        }
    }

    /// The pause after a certificate, where it is this one; what cannot be read is none.
    pub(super) fn read_rest(&self, stem: &str, held: &Held) -> Option<Rest> {
        let rest: Rest = read_json(&self.rest(stem)).ok().flatten()?;
        (rest.certificate == held.fingerprint).then_some(rest)
    }

    /// Remembers the pause after a certificate.
    pub(super) fn note_rest(&self, stem: &str, rest: &Rest) -> io::Result<()> {
        Self::write(&self.rest(stem), &serde_json::to_vec(rest)?)
    }

    /// Puts something unusable out of the way, where somebody may look at it. Returns its new place.
    pub(super) fn set_aside(path: &Path) -> io::Result<PathBuf> {
        let mut aside = path.as_os_str().to_owned();
        aside.push(format!(".bad-{}", seconds(SystemTime::now())));
        let aside = PathBuf::from(aside);
        fs::rename(path, &aside)?;
        Ok(aside)
    }
}

/// The content of a file of reasonable size; `None` where there is no such file.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(why) => return Err(why),
    };
    let mut content = Vec::new();
    file.take(FILE_MOST + 1).read_to_end(&mut content)?;
    match content.len() as u64 > FILE_MOST {
        true => Err(io::Error::other("it is larger than 1 MiB")),
        false => Ok(Some(content)),
    }
}

/// What [`read`] says itself.
fn is_too_large(why: &io::Error) -> bool {
    why.raw_os_error().is_none()
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Broken> {
    let broken = |why: String, is_garbage| Broken {
        path: path.to_owned(),
        why,
        is_garbage,
    };
    let content = read(path).map_err(|why| broken(why.to_string(), is_too_large(&why)))?;
    content
        .map(|content| {
            serde_json::from_slice(&content).map_err(|why| broken(why.to_string(), true))
        })
        .transpose()
}

/// Seconds since 1970.
pub(super) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

/// The time of so many seconds since 1970; the far future where there is no such time.
pub(super) fn time(seconds: u64) -> SystemTime {
    const FAR: u64 = 1 << 36;
    UNIX_EPOCH + Duration::from_secs(seconds.min(FAR))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    struct Folder(PathBuf);

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn folder(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("dhal-acme-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Folder(path)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn pem(names: &[&str]) -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = rcgen::CertificateParams::new(names).unwrap();
        let cert = params.self_signed(&key).unwrap();
        cert.pem() + &key.serialize_pem()
    }

    #[test]
    fn only_the_owner_reads_it() {
        let place = folder("modes");
        let storage = Storage::at(&place.0.join("deep/acme"));
        storage.prepare().unwrap();
        storage.prepare().unwrap();
        let path = storage.certificate("x");
        Storage::write(&path, b"one").unwrap();
        Storage::write(&path, b"two").unwrap();
        let failures = Failures {
            count: 3,
            not_before: 7,
            asked: true,
            why: "because".to_owned(),
        };
        storage.note_failures("x", Some(&failures)).unwrap();
        assert_eq!(storage.read_failures("x"), Some(failures));
        assert_eq!(fs::read(&path).unwrap(), b"two");
        let _lock = storage.lock().unwrap();
        for (made, wanted) in [
            (storage.0.clone(), 0o700),
            (storage.0.join("accounts"), 0o700),
            (storage.0.join("certificates"), 0o700),
            (storage.0.join("lock"), 0o600),
            (path, 0o600),
            (storage.failures("x"), 0o600),
        ] {
            assert_eq!(mode(&made), wanted, "{}", made.display());
        }
        storage.note_failures("x", None).unwrap();
        storage.note_failures("x", None).unwrap();
        assert_eq!(storage.read_failures("x"), None);
        let left = fs::read_dir(storage.0.join("certificates")).unwrap();
        assert_eq!(left.count(), 1, "nothing is left beside");
    }

    #[test]
    fn one_orders_at_a_time() {
        let place = folder("lock");
        let storage = Storage::at(&place.0);
        storage.prepare().unwrap();
        let held = storage.lock().unwrap();
        assert!(held.is_some());
        assert!(storage.lock().unwrap().is_none());
        drop(held);
        assert!(storage.lock().unwrap().is_some());
    }

    #[test]
    fn what_cannot_be_used_is_told_and_set_aside() {
        let place = folder("garbage");
        let storage = Storage::at(&place.0);
        storage.prepare().unwrap();
        let names = ["shop.example".to_owned(), "www.shop.example".to_owned()];
        let other = pem(&["shop.example"]);
        let whole = pem(&["WWW.shop.example", "shop.example", "more.example"]);
        let mixed = {
            let end = whole.find("-----END CERTIFICATE-----").unwrap();
            let key = other.find("-----BEGIN PRIVATE").unwrap();
            format!(
                "{}-----END CERTIFICATE-----\n{}",
                &whole[..end],
                &other[key..]
            )
        };
        assert!(storage.read_certificate("none", &names).unwrap().is_none());
        for (content, wanted) in [
            (String::new(), Some("no certificate")),
            ("\0\u{1}garbage".to_owned(), Some("no certificate")),
            (other, Some("not for www.shop.example")),
            (whole[..whole.len() / 3].to_owned(), Some("read")),
            (mixed, Some("does not belong")),
            (
                "x".repeat((FILE_MOST + 1) as usize),
                Some("larger than 1 MiB"),
            ),
            (whole, None),
        ] {
            Storage::write(&storage.certificate("x"), content.as_bytes()).unwrap();
            match (storage.read_certificate("x", &names), wanted) {
                (Err(broken), Some(wanted)) => {
                    assert!(broken.why.contains(wanted), "{} {wanted}", broken.why);
                    assert!(broken.is_garbage);
                    let aside = Storage::set_aside(&broken.path).unwrap();
                    assert!(aside.exists() && !broken.path.exists());
                }
                (Ok(Some(held)), None) => assert!(held.validity.not_after > SystemTime::now()),
                (read, wanted) => panic!("{read:?} {wanted:?}"),
            }
        }
    }

    #[test]
    fn files_of_their_own() {
        let names = |list: &[&str]| list.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let stem = |directory: &str, list: &[&str]| Storage::stem(directory, &names(list));
        let one = stem("d", &["a.example", "b.example"]);
        assert!(one.starts_with("a.example-"));
        assert_ne!(one, stem("e", &["a.example", "b.example"]));
        assert_ne!(one, stem("d", &["a.example"]));
        assert_ne!(one, stem("d", &["a.example", "b.example", "c.example"]));
        assert_eq!(one, stem("d", &["b.example", "a.example"]));
        assert!(stem("d", &[&"a".repeat(300)]).len() < 200);
    }
}
