//! Defaults that depend on other keys: they are taken from what the file came to.

use toml::Value as Toml;

use super::{Entry, Node, Origin};
use crate::config::{
    model::{CheckKind, Config},
    units::{Shown, Size},
};

pub(super) fn put(root: &mut [Entry], config: &Config) {
    let cache = &config.cache;
    set(root, &["cache", "max_object"], size(cache.max_object));
    if let Some(disk) = &cache.disk {
        set(
            root,
            &["cache", "disk", "max_object"],
            size(disk.max_object),
        );
    }
    if let Some(admin) = &config.admin {
        let mode = format!("{:04o}", admin.mode);
        set(root, &["admin", "mode"], mode.into());
    }
    for upstream in &config.upstreams {
        let mut set = |section: &str, key: &str, value: Toml| {
            set(root, &["upstreams", &upstream.name, section, key], value);
        };
        set("timeouts", "read", upstream.timeouts.read.shown().into());
        if let Some(eject) = &upstream.eject {
            set("eject", "max_time", eject.max_time.shown().into());
        }
        if let Some(check) = &upstream.health_check {
            let kind = match check.kind {
                CheckKind::Http => "http",
                CheckKind::Https => "https",
                CheckKind::Tcp => "tcp",
            };
            set("health_check", "protocol", kind.into());
        }
    }
    for limit in &config.limits {
        let burst = Toml::Integer(limit.burst.get().into());
        set(root, &["limits", &limit.name, "burst"], burst);
    }
}

fn size(bytes: u64) -> Toml {
    Size(bytes).shown().into()
}

/// Changes a default, where the section is there and nothing is written at the key.
fn set(entries: &mut [Entry], path: &[&str], value: Toml) {
    let Some((name, below)) = path.split_first() else {
        return;
    };
    let at = entries.iter().position(|entry| entry.name == *name);
    if !below.is_empty() {
        if let Some(at) = at
            && let Node::Table(table) = &mut entries[at].node
        {
            set(table, below, value);
        }
        return;
    }
    if let Some(at) = at
        && matches!(entries[at].origin, Origin::Default)
        && let Node::Leaf(leaf) = &mut entries[at].node
    {
        leaf.value = value;
    }
}
