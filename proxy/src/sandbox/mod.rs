//! What the process gives up once it listens, and never gets back: root (`identity.rs`), files that the configuration
//! does not name (`files.rs`, Landlock), calls of the system that an edge does not need (`calls.rs`, seccomp).
//!
//! All of it happens in the first thread before there are others, so that it holds for all of them. A process that
//! takes over is started by one that has given it all up, and can gain none of it: an upgrade never widens what an
//! edge may do, a restart does (`docs/decisions/0011-an-upgrade-gains-nothing.md`).

mod advice;
mod calls;
mod files;
mod identity;
mod paths;

use std::{
    fmt,
    fs::OpenOptions,
    io,
    path::{Path, PathBuf},
};

use nix::unistd::Uid;
use serde::{Deserialize, Serialize};

pub use identity::{Identity, gid_of};
pub use paths::Paths;

use crate::config::model::{Config, Hardening, LogTarget};
use calls::Calls;
use files::Rules;

/// Who the process is to become, before it has.
pub struct Plan {
    identity: Option<Identity>,
    paths: Paths,
    hardening: Hardening,
}

/// What the process has given up.
#[derive(Debug)]
pub struct Sandbox {
    user: String,
    was_root: bool,
    held: Held,
}

/// What holds for a process, and for those that it starts.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Held {
    /// What can be reached, where that is bounded, and the version of Landlock that does it.
    #[serde(default)]
    files: Option<(u32, Rules)>,
    /// How many calls are let through, where that is bounded, and the mark of their list.
    #[serde(default)]
    calls: Option<(usize, String)>,
}

/// Names what a process that takes over is held by already.
pub const VARIABLE: &str = "DHAL_SANDBOX";

/// The same for those who ask.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct SandboxStatus {
    /// Who runs the process.
    pub user: String,
    /// Whether it was root before.
    #[serde(default)]
    pub was_root: bool,
    /// The version of Landlock that keeps it from other files; `None` where nothing does.
    #[serde(default)]
    pub landlock_abi: Option<u32>,
    /// Files and folders that it may reach besides the system's.
    #[serde(default)]
    pub landlock_rules: usize,
    /// Calls of the system that it may make; `None` where that is any.
    #[serde(default)]
    pub seccomp_calls: Option<usize>,
}

impl Plan {
    /// Of a configuration that was read from these files, and from those of these folders.
    ///
    /// # Errors
    /// The user cannot be found, or not be become.
    pub fn of(config: &Config, files: &[PathBuf], folders: &[PathBuf]) -> anyhow::Result<Self> {
        let identity = Identity::wanted(&config.server.hardening)?;
        let plan = Self {
            identity: identity.filter(Identity::is_to_come),
            paths: Paths::of(config, files, folders),
            hardening: config.server.hardening.clone(),
        };
        if let Some(user) = &plan.identity {
            user.take_groups().map_err(|why| {
                anyhow::anyhow!("server.user: the groups of {user} cannot be taken: {why}")
            })?;
        }
        Ok(plan)
    }

    /// Says what lies beyond what the process that started this one has left to it, before anything fails for it.
    ///
    /// # Errors
    /// Something does.
    pub fn fits_in(&self) -> anyhow::Result<()> {
        let beyond = match Held::of_before().files {
            Some((_, rules)) => beyond(&rules, &self.paths),
            None => None,
        };
        beyond.map_or(Ok(()), |why| Err(anyhow::anyhow!(why)))
    }

    /// Makes what the user could not make by itself, because it lies in folders of root, and what has to be there.
    pub fn prepare(&self, config: &Config) {
        let log = match config.access_log.as_ref().map(|log| &log.target) {
            Some(LogTarget::File(path)) => Some(path),
            _ => None,
        };
        let files = log.into_iter().chain(&config.server.pid_file);
        let acme = config.acme.iter().map(|acme| &acme.storage);
        let folders = acme.chain(config.cache.disk.iter().map(|disk| &disk.path));
        match &self.identity {
            Some(user) => {
                // `/run` is empty after each start of the machine.
                let places = self.paths.made.iter().map(|path| paths::parent(path));
                places.for_each(|folder| user.make_place(folder));
                files.for_each(|path| user.make_file(path));
                folders.for_each(|path| user.make_folder(path));
            }
            // There is no rule for what is not there. Whoever needs it says why it cannot be made.
            None if self.hardening.landlock => {
                for path in files.filter(|path| !path.exists()) {
                    let _ = OpenOptions::new().create(true).append(true).open(path);
                }
                for path in folders.filter(|path| !path.exists()) {
                    let _ = identity::make_folder(path);
                }
            }
            None => {}
        }
    }

    /// Does something as the user as far as files and sockets go.
    pub fn act<T>(&self, what: impl FnOnce() -> T) -> T {
        match &self.identity {
            Some(user) => user.act(what),
            None => what(),
        }
    }

    /// What the configuration names.
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// Who the process is to become, where it still is to.
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// Gives up for good what is to be given up. Only before the first thread. `program` is what an upgrade starts;
    /// `is_heir` says that this process was started by one that gave things up itself.
    ///
    /// # Errors
    /// It cannot be given up, or what is held already is too little, and the process must not serve.
    pub fn carry_out(self, program: &Path, is_heir: bool) -> anyhow::Result<Sandbox> {
        let was_root = self.identity.is_some();
        if let Some(user) = &self.identity {
            for denied in self.paths.denied(Some(user)) {
                tracing::warn!("{}", advice::told(&denied, user));
            }
            let kept = user.become_it()?;
            if !kept {
                tracing::warn!(
                    "ports below 1024 can be listened on no more: CAP_NET_BIND_SERVICE was not to be had"
                );
            }
            tracing::info!(%user, low_ports = kept, "root is given up");
        }
        let mut held = match is_heir {
            true => Held::of_before(),
            false => Held::default(),
        };
        // In a container of its own nothing takes over.
        let starts = std::process::id() != 1;
        self.bound_files(&mut held, starts.then_some(program))?;
        self.bound_calls(&mut held, starts)?;
        let sandbox = Sandbox {
            user: identity::shown(Uid::effective()),
            was_root,
            held,
        };
        tracing::info!("sandbox: {}", sandbox.status());
        Ok(sandbox)
    }

    fn bound_files(&self, held: &mut Held, program: Option<&Path>) -> anyhow::Result<()> {
        // One more layer would say the same, and the kernel takes sixteen of them.
        if held.files.is_some() {
            return Ok(());
        }
        if !self.hardening.landlock {
            return Ok(());
        }
        let mut paths = self.paths.clone();
        let authorities = ["SSL_CERT_FILE", "SSL_CERT_DIR"].into_iter();
        let authorities = authorities.filter_map(std::env::var_os).map(PathBuf::from);
        paths.folders.extend(authorities);
        let rules = Rules::of(&paths, program, &self.hardening.execute);
        match rules.enforce()? {
            Some(abi) => held.files = Some((abi, rules)),
            None => tracing::warn!(
                "this kernel has no Landlock of version 2 or later (Linux 5.19): files are not kept away; \
                 `sandbox = {{ landlock = false }}` of [server] says that this is known"
            ),
        }
        Ok(())
    }

    fn bound_calls(&self, held: &mut Held, starts: bool) -> anyhow::Result<()> {
        if !self.hardening.seccomp {
            return Ok(());
        }
        let calls = Calls::of(starts)?;
        let wanted = (calls.count(), calls.digest());
        // Another list goes on top of the one that holds already.
        if held.calls.as_ref() == Some(&wanted) {
            return Ok(());
        }
        match calls.enforce() {
            Ok(()) => held.calls = Some(wanted),
            Err(why) => tracing::warn!(
                why = format!("{why:#}"),
                "this system takes no filter: calls are not bounded; `sandbox = {{ seccomp = false }}` of [server] \
                 says that this is known"
            ),
        }
        Ok(())
    }
}

impl Held {
    /// What the process that started this one has left to it.
    fn of_before() -> Self {
        let said = std::env::var(VARIABLE).ok();
        said.and_then(|said| serde_json::from_str(&said).ok())
            .unwrap_or_default()
    }
}

/// What a process that could not start may not read of what is named, each a sentence that says what to do about it.
pub fn hints(paths: &Paths) -> Vec<String> {
    let held = Held::of_before().files;
    advice::hints(paths, held.as_ref().map(|(_, rules)| rules))
}

/// Whether a process of this [mark](Sandbox::mark) is kept from files, and from programs.
pub fn bounds_files(mark: &str) -> bool {
    serde_json::from_str(mark).is_ok_and(|held: Held| held.files.is_some())
}

/// Why a configuration cannot be put in force under these rules; nothing where it can.
fn beyond(rules: &Rules, paths: &Paths) -> Option<String> {
    let beyond = rules.beyond(paths);
    if beyond.is_empty() {
        return None;
    }
    let named: Vec<_> = beyond
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    Some(format!(
        "the sandbox keeps {} away: this process may only reach what the configuration of its start named, and \
         neither a reload nor an upgrade can widen that; restart, or have `sandbox = {{ read = […], write = […] }}` of \
         [server] name such folders in advance",
        named.join(", ")
    ))
}

impl Sandbox {
    /// Why a configuration cannot be put in force by this process; nothing where it can.
    pub fn refuses(&self, paths: &Paths) -> Option<String> {
        let (_, rules) = self.held.files.as_ref()?;
        beyond(rules, paths)
    }

    /// What this process may not read of what is named, each a sentence that says what to do about it.
    pub fn hints(&self, paths: &Paths) -> Vec<String> {
        advice::hints(paths, self.held.files.as_ref().map(|(_, rules)| rules))
    }

    /// What a process that takes over has to know.
    pub fn mark(&self) -> Option<String> {
        serde_json::to_string(&self.held).ok()
    }

    /// For `dhal status`.
    pub fn status(&self) -> SandboxStatus {
        SandboxStatus {
            user: self.user.clone(),
            was_root: self.was_root,
            landlock_abi: self.held.files.as_ref().map(|(abi, _)| *abi),
            landlock_rules: self
                .held
                .files
                .as_ref()
                .map_or(0, |(_, rules)| rules.count()),
            seccomp_calls: self.held.calls.as_ref().map(|(count, _)| *count),
        }
    }
}

impl fmt::Display for SandboxStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let before = if self.was_root { ", root before" } else { "" };
        write!(f, "user {}{before}; ", self.user)?;
        match self.landlock_abi {
            Some(abi) => write!(f, "Landlock ABI {abi} with {} rules; ", self.landlock_rules)?,
            None => f.write_str("no Landlock; ")?,
        }
        match self.seccomp_calls {
            Some(calls) => write!(f, "seccomp lets {calls} calls through"),
            None => f.write_str("no seccomp"),
        }
    }
}

/// Whether two configurations give up something else, apart from who the process becomes: only a new process can.
pub fn differs(one: &Hardening, other: &Hardening) -> bool {
    let without_user = |hardening: &Hardening| Hardening {
        user: None,
        group: None,
        ..hardening.clone()
    };
    without_user(one) != without_user(other)
}

/// Why a low port cannot be listened on, where that is the reason.
pub fn low_port(port: u16, why: &io::Error) -> Option<String> {
    const FIRST_FREE: u16 = 1024;
    let is_low = (1..FIRST_FREE).contains(&port);
    (is_low && why.kind() == io::ErrorKind::PermissionDenied).then(|| {
        format!(
            "ports below {FIRST_FREE} need CAP_NET_BIND_SERVICE, which this process has not: start as root with \
             `server.user`, or give it with `AmbientCapabilities=CAP_NET_BIND_SERVICE` in the unit, or `setcap`"
        )
    })
}

/// What `dhal check` says of what the user could not read or write.
///
/// # Errors
/// There is no such user.
pub fn check(
    config: &Config,
    files: &[PathBuf],
    folders: &[PathBuf],
) -> anyhow::Result<Vec<String>> {
    let hardening = &config.server.hardening;
    let Some(name) = &hardening.user else {
        return Ok(Vec::new());
    };
    let user = Identity::find(name, hardening.group.as_deref())?;
    if !Uid::effective().is_root() || user.take_groups().is_err() {
        // Only root can tell what another may do.
        return Ok(Vec::new());
    }
    let denied = Paths::of(config, files, folders).denied(Some(&user));
    let said = denied.iter().map(|denied| advice::told(denied, &user));
    Ok(said.collect())
}
