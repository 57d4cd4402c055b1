//! Who the process becomes: root binds, reads and makes what only root may, and is given up before the first thread.

use std::{
    ffi::CString,
    fmt, fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown},
    path::Path,
};

use anyhow::{Context, bail, ensure};
use nix::{
    libc::O_NOFOLLOW,
    unistd::{
        Gid, Group, Uid, User, getresgid, getresuid, initgroups, setfsgid, setfsuid, setgroups,
        setresgid, setresuid,
    },
};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set,
    configure_capability_in_ambient_set, remove_capability_from_bounding_set, set_capabilities,
    set_keep_capabilities, set_no_new_privs,
};

use crate::config::model::Hardening;

/// The one thing that root may do and an edge goes on to need: a reload may name a port below 1024.
const KEPT: CapabilitySet = CapabilitySet::NET_BIND_SERVICE;

/// A user of this machine, with the group that the process is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// As configured.
    pub name: String,
    uid: Uid,
    gid: Gid,
    /// How the system's lists of groups call it, where they know it.
    login: Option<CString>,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (uid {}, gid {})", self.name, self.uid, self.gid)
    }
}

impl Identity {
    /// Whom a configuration names; nobody where it names nobody.
    ///
    /// # Errors
    /// There is no such user or group, or this process cannot become it. The error is a sentence.
    pub fn wanted(hardening: &Hardening) -> anyhow::Result<Option<Self>> {
        let Some(name) = &hardening.user else {
            return Ok(None);
        };
        let this = Self::find(name, hardening.group.as_deref())?;
        let (now, group) = (Uid::effective(), Gid::effective());
        if now.is_root() {
            return Ok(Some(this));
        }
        ensure!(
            now == this.uid,
            "server.user: this process is run by {}, who cannot become {name}: start it as root, or as {name} \
             (`User={name}` in a unit of systemd), or remove `user`",
            shown(now)
        );
        ensure!(
            group == this.gid || hardening.group.is_none(),
            "server.group: this process has the group {group} and is not root, so that it cannot take {}: start it \
             as root, or with this group",
            this.gid
        );
        Ok(Some(this))
    }

    /// A user by name or number.
    pub(super) fn find(name: &str, group: Option<&str>) -> anyhow::Result<Self> {
        let number = name.parse::<u32>().ok().map(Uid::from_raw);
        let user = match number {
            Some(uid) => User::from_uid(uid),
            None => User::from_name(name),
        };
        let user = user.with_context(|| format!("server.user: {name} cannot be looked up"))?;
        let gid = match (group, &user) {
            (Some(group), _) => gid_of(group).context("server.group")?,
            (None, Some(user)) => user.gid,
            (None, None) => bail!(
                "server.user: there is no user {name} on this machine{}",
                match number {
                    Some(_) => ": add `group`, or make it with `useradd`".to_owned(),
                    None => format!(
                        ": make it with `useradd --system --shell /usr/sbin/nologin {name}`"
                    ),
                }
            ),
        };
        let (uid, login) = match (user, number) {
            (Some(user), _) => (user.uid, CString::new(user.name).ok()),
            (None, Some(uid)) => (uid, None),
            (None, None) => bail!(
                "server.user: there is no user {name} on this machine: make it with \
                 `useradd --system --shell /usr/sbin/nologin {name}`"
            ),
        };
        ensure!(!uid.is_root(), "server.user: {name} is root");
        Ok(Self {
            name: name.to_owned(),
            uid,
            gid,
            login,
        })
    }

    /// Its group as people know it.
    pub(super) fn group(&self) -> String {
        group_shown(self.gid)
    }

    /// Whether the process is still to become it.
    pub fn is_to_come(&self) -> bool {
        Uid::effective() != self.uid
    }

    /// Takes its groups, which decide with it what can be read. Only for root, who loses nothing by it.
    ///
    /// # Errors
    /// The system does not let this root do so, as in some containers.
    pub fn take_groups(&self) -> io::Result<()> {
        match &self.login {
            Some(login) => initgroups(login, self.gid)?,
            None => setgroups(&[self.gid])?,
        }
        Ok(())
    }

    /// Does something as this user would as far as files and sockets go: what is made belongs to it. Of this thread
    /// alone, and of those that it starts meanwhile.
    pub fn act<T>(&self, what: impl FnOnce() -> T) -> T {
        if !self.is_to_come() {
            return what();
        }
        // The group first, and last: without root's rights none of the two can be changed.
        let (group, user) = (setfsgid(self.gid), setfsuid(self.uid));
        let outcome = what();
        setfsuid(user);
        setfsgid(group);
        outcome
    }

    /// Gives an admin socket to this user.
    pub(crate) fn own(&self, path: &Path, group: Option<Gid>) -> io::Result<()> {
        let gid = group.unwrap_or(self.gid);
        std::os::unix::fs::lchown(path, Some(self.uid.as_raw()), Some(gid.as_raw()))
    }

    /// Makes a file that this user may write, where it could not make it itself: its folder is root's. A file of
    /// somebody else, or one with another name besides, stays as it is.
    pub(super) fn make_file(&self, path: &Path) {
        let open = || {
            let mut options = fs::OpenOptions::new();
            options.create(true).append(true).open(path)
        };
        let Err(why) = self.act(open) else { return };
        if why.kind() != io::ErrorKind::PermissionDenied {
            // Whoever needs it says so.
            return;
        }
        let mut options = fs::OpenOptions::new();
        options.create(true).append(true).custom_flags(O_NOFOLLOW);
        let given = options.open(path).and_then(|file| {
            let about = file.metadata()?;
            if about.is_file() && about.uid() == 0 && about.nlink() == 1 {
                fchown(&file, Some(self.uid.as_raw()), Some(self.gid.as_raw()))?;
            }
            Ok(())
        });
        if let Err(why) = given {
            tracing::warn!(path = %path.display(), user = %self.name, %why, "the file cannot be given to the user");
        }
    }

    /// Makes a folder for a log, a pid file or a socket where there is none in a folder that is there. Others may enter
    /// it: who may open the socket is for the socket to say.
    pub(super) fn make_place(&self, path: &Path) {
        let made = fs::DirBuilder::new().mode(0o755).create(path);
        match made.and_then(|()| self.own(path, None)) {
            Err(why)
                if ![io::ErrorKind::AlreadyExists, io::ErrorKind::NotFound]
                    .contains(&why.kind()) =>
            {
                tracing::warn!(path = %path.display(), user = %self.name, %why, "the folder cannot be made for the user");
            }
            _ => {}
        }
    }

    /// Makes a folder of this user where there is none, and it could not make it itself.
    pub(super) fn make_folder(&self, path: &Path) {
        if path.exists() || self.act(|| make_folder(path)).is_ok() {
            return;
        }
        let made = make_folder(path).and_then(|()| self.own(path, None));
        if let Err(why) = made {
            tracing::warn!(path = %path.display(), user = %self.name, %why, "the folder cannot be made for the user");
        }
    }

    /// Becomes this user for good, with nothing of root but the right to listen on low ports; whether that was to be
    /// had. Every thread of the process changes, and afterwards none can go back.
    ///
    /// # Errors
    /// The system does not let it, or it did and root could come back.
    pub(super) fn become_it(&self) -> anyhow::Result<bool> {
        let failed = |what: &'static str| format!("server.user: {what} as {self}");
        let kept = capabilities(None).context("capabilities")?.permitted & KEPT;
        for capability in CapabilitySet::all().iter().filter(|one| *one != KEPT) {
            if capability_is_in_bounding_set(capability).unwrap_or(false) {
                // Without the right to do so what is left cannot be taken: nothing can be gained any more, see below.
                let _ = remove_capability_from_bounding_set(capability);
            }
        }
        self.take_groups()
            .with_context(|| failed("the groups cannot be taken"))?;
        set_keep_capabilities(true).context("capabilities")?;
        setresgid(self.gid, self.gid, self.gid).with_context(|| failed("cannot go on"))?;
        setresuid(self.uid, self.uid, self.uid).with_context(|| failed("cannot go on"))?;
        set_keep_capabilities(false).context("capabilities")?;
        let sets = CapabilitySets {
            effective: kept,
            permitted: kept,
            inheritable: kept,
        };
        set_capabilities(None, sets).context("the rights of root cannot be given up")?;
        // So that the next process has it, too.
        let passes_on = !kept.is_empty() && configure_capability_in_ambient_set(KEPT, true).is_ok();
        // No program that is started later gains anything either, whatever its bits say.
        set_no_new_privs(true).context("privileges cannot be given up")?;
        self.verify()?;
        Ok(passes_on)
    }

    /// That nobody here is root, or can be again.
    fn verify(&self) -> anyhow::Result<()> {
        let (user, group) = (getresuid()?, getresgid()?);
        let (uid, gid) = (self.uid, self.gid);
        ensure!(
            [user.real, user.effective, user.saved] == [uid; 3]
                && [group.real, group.effective, group.saved] == [gid; 3],
            "server.user: the process did not become {self}"
        );
        let root = Uid::from_raw(0);
        ensure!(
            setresuid(root, root, root).is_err() && nix::unistd::setuid(root).is_err(),
            "server.user: the process became {self} and could become root again"
        );
        let known = capabilities(None)?;
        ensure!(
            (known.permitted | known.effective) & !KEPT == CapabilitySet::empty(),
            "server.user: the process kept rights of root"
        );
        // What the C library changes for all threads is what its own know; ask the kernel.
        for thread in fs::read_dir("/proc/self/task").into_iter().flatten() {
            let status = fs::read_to_string(thread?.path().join("status"));
            // One that has ended meanwhile is nobody.
            let Ok(status) = status else { continue };
            ensure!(
                all_are(&status, "Uid:", uid.as_raw()) && all_are(&status, "Gid:", gid.as_raw()),
                "server.user: a thread did not become {self}"
            );
        }
        Ok(())
    }
}

/// Makes a folder for its owner alone, in folders for everybody.
pub(super) fn make_folder(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::DirBuilder::new().mode(0o700).create(path)
}

/// Whether the four ids in a line of `/proc/PID/status` are this one.
fn all_are(status: &str, line: &str, id: u32) -> bool {
    let ids = status.lines().find_map(|text| text.strip_prefix(line));
    let mut ids = ids.into_iter().flat_map(str::split_whitespace).peekable();
    ids.peek().is_some() && ids.all(|text| text.parse() == Ok(id))
}

/// A group by name or number.
///
/// # Errors
/// There is none; the error is a sentence.
pub fn gid_of(name: &str) -> anyhow::Result<Gid> {
    if let Ok(number) = name.parse::<u32>() {
        return Ok(Gid::from_raw(number));
    }
    Group::from_name(name)
        .with_context(|| format!("the group {name} cannot be looked up"))?
        .map(|group| group.gid)
        .with_context(|| {
            format!(
                "there is no group {name} on this machine: make it with `groupadd --system {name}`"
            )
        })
}

/// A group as people know it.
pub(super) fn group_shown(gid: Gid) -> String {
    match Group::from_gid(gid) {
        Ok(Some(group)) => group.name,
        _ => gid.to_string(),
    }
}

/// A user as people know it.
pub(super) fn shown(uid: Uid) -> String {
    match User::from_uid(uid) {
        Ok(Some(user)) => user.name,
        _ => format!("uid {uid}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_of_a_thread_counts() {
        let status = "Name:\tdhal\nUid:\t7\t7\t7\t7\nGid:\t7\t7\t0\t7\n";
        for (line, id, same) in [
            ("Uid:", 7, true),
            ("Uid:", 0, false),
            ("Gid:", 7, false),
            ("Groups:", 7, false),
        ] {
            assert_eq!(all_are(status, line, id), same, "{line} {id}");
        }
    }

    #[test]
    fn who_cannot_be_found_is_told() {
        for (user, group, why) in [
            ("nobody-of-this-name", None, "useradd"),
            ("4294900001", None, "add `group`"),
            ("4294900001", Some("no-such-group"), "groupadd"),
            ("root", None, "is root"),
            ("0", Some("1"), "is root"),
        ] {
            let said = Identity::find(user, group).expect_err(user);
            let said = format!("{said:#}");
            assert!(said.contains(why), "{user}: {said}");
        }
        let numbers = Identity::find("4294900001", Some("7")).expect("numbers are enough");
        assert_eq!(
            (numbers.uid.as_raw(), numbers.gid.as_raw()),
            (4_294_900_001, 7)
        );
    }
}
