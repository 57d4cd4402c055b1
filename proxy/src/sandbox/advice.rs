//! What is said of files that the user cannot read or write, and what to do about it.

use std::{borrow::Cow, fs, os::unix::fs::MetadataExt};

use nix::unistd::{Gid, Uid};

use super::{
    Identity, Paths,
    files::Rules,
    identity,
    paths::{Closed, Denied},
};

/// The group that is there for keys and nothing else, of Debian and its kin. Whoever joins another, `shadow`, `disk` or
/// `docker` above all, may do far more than read a file.
const OF_KEYS: &str = "ssl-cert";

/// What this process may not read of what is named, each a sentence that says what to do about it. What rules keep away
/// is another matter.
pub(super) fn hints(paths: &Paths, rules: Option<&Rules>) -> Vec<String> {
    let uid = Uid::effective();
    if uid.is_root() {
        return Vec::new();
    }
    let (user, group) = (
        identity::shown(uid),
        identity::group_shown(Gid::effective()),
    );
    let denied = paths.denied(None).into_iter();
    let unread = denied.filter_map(|denied| Some((denied.what, denied.closed?)));
    let unread = unread.filter(|(_, closed)| rules.is_none_or(|rules| rules.reads(&closed.path)));
    let said = unread.map(|(what, closed)| {
        format!(
            "{what} by {user}, who runs this process: {}, or restart as root, which reads it before it is given up",
            remedy(&closed, &user, &group)
        )
    });
    said.collect()
}

/// What root is told, at the start and by `dhal check`, of what the user to come could not do.
pub(super) fn told(denied: &Denied, user: &Identity) -> String {
    let (what, name) = (&denied.what, &user.name);
    match &denied.closed {
        Some(closed) => format!(
            "{what} by the user {name}: only a start as root reads it, reloads and upgrades will be refused, and a file \
             that takes its place is not taken up; {}",
            remedy(closed, name, &user.group())
        ),
        None => format!(
            "{what} by the user {name}: a start as root can do without, reloads and upgrades may fail for it"
        ),
    }
}

/// How somebody is let read a file, or enter a folder.
fn remedy(closed: &Closed, user: &str, group: &str) -> String {
    let about = fs::metadata(&closed.path).ok();
    let is_folder = about.as_ref().is_some_and(fs::Metadata::is_dir);
    // The names of what lies in a folder on the way are nobody's business.
    let (needed, right) = match (closed.is_on_the_way, is_folder) {
        (true, _) => (0o010, "g+x"),
        (false, true) => (0o050, "g+rx"),
        (false, false) => (0o040, "g+r"),
    };
    let of_keys = about.is_some_and(|about| {
        about.mode() & needed == needed
            && identity::group_shown(Gid::from_raw(about.gid())) == OF_KEYS
    });
    if of_keys && group != OF_KEYS {
        return format!(
            "make {user} a member of the group {OF_KEYS}, which may (`usermod -aG {OF_KEYS} {}`), and restart",
            typed(user)
        );
    }
    let (group, shown) = (typed(group), closed.path.to_string_lossy());
    let shown = typed(&shown);
    format!("let {user} read it (`chgrp {group} {shown} && chmod {right} {shown}`)")
}

/// A word as a shell takes it for itself.
fn typed(word: &str) -> Cow<'_, str> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"_-./,:@%+=".contains(&b);
    match !word.is_empty() && word.bytes().all(is_plain) {
        true => word.into(),
        false => format!("'{}'", word.replace('\'', r"'\''")).into(),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::fs::{PermissionsExt, chown},
        path::Path,
    };

    use super::*;

    fn says(path: &Path, is_on_the_way: bool, wanted: &str) {
        let closed = Closed {
            path: path.to_owned(),
            is_on_the_way,
        };
        let said = remedy(&closed, "dhal", "dhal");
        assert!(said.contains(wanted), "{wanted} in {said}");
    }

    fn with_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
    }

    #[test]
    fn what_is_needed_is_given_and_no_more() {
        let folder = std::env::temp_dir().join(format!("dhal-advice-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let key = folder.join("key.pem");
        fs::write(&key, "").expect("a file");
        with_mode(&key, 0o600);
        let shown = key.display();
        let given = format!("`chgrp dhal {shown} && chmod g+r {shown}`");
        says(&key, false, &given);
        with_mode(&folder, 0o700);
        let shown = folder.display();
        says(&folder, false, &format!("chmod g+rx {shown}`"));
        says(&folder, true, &format!("chmod g+x {shown}`"));
        // Only root can give files away.
        if Uid::effective().is_root() {
            with_mode(&key, 0o640);
            // Of no name; `shadow` and `disk` of Debian and its kin.
            for group in [54_321, 42, 6] {
                chown(&key, None, Some(group)).expect("given");
                says(&key, false, &given);
            }
            let of_keys = nix::unistd::Group::from_name(OF_KEYS).expect("looked up");
            if let Some(of_keys) = of_keys {
                chown(&key, None, Some(of_keys.gid.as_raw())).expect("given");
                says(&key, false, "`usermod -aG ssl-cert dhal`");
                with_mode(&key, 0o600);
                says(&key, false, &given);
            }
        }
        fs::remove_dir_all(&folder).expect("removed");
    }

    #[test]
    fn commands_are_what_they_look_like() {
        for (word, wanted) in [
            ("/etc/dhal/a-b_1.key", "/etc/dhal/a-b_1.key"),
            ("/srv/my shop/key", "'/srv/my shop/key'"),
            ("/srv/a;reboot", "'/srv/a;reboot'"),
            ("/srv/it's $HOME", r"'/srv/it'\''s $HOME'"),
            ("", "''"),
        ] {
            assert_eq!(typed(word), wanted);
        }
        let path = Path::new("/no/such folder;");
        says(
            path,
            true,
            "`chgrp dhal '/no/such folder;' && chmod g+x '/no/such folder;'`",
        );
    }
}
