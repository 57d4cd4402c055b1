//! What the process gives up once it listens, and never gets back: root (`identity.rs`), files that the configuration
//! does not name (`files.rs`, Landlock), calls of the system that an edge does not need (`calls.rs`, seccomp).
//!
//! All of it happens in the first thread before there are others, so that it holds for all of them. A process that
//! takes over is started by one that has given it all up, and can gain none of it: an upgrade never widens what an
//! edge may do, a restart does (`docs/decisions/0012-an-upgrade-gains-nothing.md`).

mod identity;
mod paths;

use std::{fmt, io, path::PathBuf};

use nix::unistd::Uid;
use serde::{Deserialize, Serialize};

pub use identity::{Identity, gid_of};
pub use paths::Paths;

use crate::config::model::{Config, Hardening, LogTarget};

/// Who the process is to become, before it has.
pub struct Plan {
    identity: Option<Identity>,
    paths: Paths,
}

/// What the process has given up.
#[derive(Debug)]
pub struct Sandbox {
    user: Option<String>,
    /// It was root, and may still listen on low ports, as those that take over may.
    low_ports: Option<bool>,
}

/// The same for those who ask.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct SandboxStatus {
    /// Who runs the process.
    pub user: String,
    /// Whether it was root before.
    pub was_root: bool,
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
        };
        if let Some(user) = &plan.identity {
            user.take_groups().map_err(|why| {
                anyhow::anyhow!("server.user: the groups of {user} cannot be taken: {why}")
            })?;
        }
        Ok(plan)
    }

    /// Makes what the user could not make by itself, because it lies in folders of root.
    pub fn prepare(&self, config: &Config) {
        let Some(user) = &self.identity else { return };
        if let Some(LogTarget::File(path)) = config.access_log.as_ref().map(|log| &log.target) {
            user.make_file(path);
        }
        if let Some(path) = &config.server.pid_file {
            user.make_file(path);
        }
        let acme = config.acme.iter().map(|acme| &acme.storage);
        let disk = config.cache.disk.iter().map(|disk| &disk.path);
        for folder in acme.chain(disk) {
            user.make_folder(folder);
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

    /// Gives up for good what is to be given up. Only before the first thread.
    ///
    /// # Errors
    /// It cannot be given up, and the process must not serve.
    pub fn carry_out(self) -> anyhow::Result<Sandbox> {
        let mut low_ports = None;
        if let Some(user) = &self.identity {
            for what in self.paths.denied(Some(user)) {
                tracing::warn!(user = %user.name, "{what}, which reloads and upgrades may need");
            }
            let kept = user.become_it()?;
            if !kept {
                tracing::warn!(
                    "ports below 1024 can be listened on no more: CAP_NET_BIND_SERVICE was not to be had"
                );
            }
            low_ports = Some(kept);
            tracing::info!(%user, low_ports = kept, "root is given up");
        }
        Ok(Sandbox {
            user: Some(identity::shown(Uid::effective())),
            low_ports,
        })
    }
}

impl Sandbox {
    /// For `dhal status`.
    pub fn status(&self) -> SandboxStatus {
        SandboxStatus {
            user: self.user.clone().unwrap_or_default(),
            was_root: self.low_ports.is_some(),
        }
    }
}

/// What this process may not read of what is named, each a sentence that says what to do about it.
pub fn hints(paths: &Paths) -> Vec<String> {
    let uid = Uid::effective();
    if uid.is_root() {
        return Vec::new();
    }
    let user = identity::shown(uid);
    let denied = paths.denied(None).into_iter();
    let unread = denied.filter(|what| what.ends_with("cannot be read"));
    let said = unread.map(|what| {
        format!(
            "{what} by {user}, who runs this process: let {user} read it (`chgrp`, `chmod g+r`, of a folder \
             `chmod g+rx`), or restart as root, which reads it before it is given up"
        )
    });
    said.collect()
}

impl fmt::Display for SandboxStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let before = if self.was_root { ", root before" } else { "" };
        write!(f, "user {}{before}", self.user)
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
    let said = denied.into_iter().map(|what| {
        format!(
            "{what} by {name}: a start as root can do without, reloads and upgrades may fail for it"
        )
    });
    Ok(said.collect())
}
