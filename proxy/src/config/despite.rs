//! What can be told of a configuration that is not usable as a whole: where the running edge is asked, and where a key
//! stands of which somebody finds out later what is wrong with it.

use std::{ops::Range, path::Path, sync::Arc};

use toml::de::{DeTable, DeValue};

use super::{
    Surroundings, compile,
    context::Context,
    diagnostic::{Complaint, Diagnostic, Severity, Source},
    file::File,
    include,
    model::Admin,
};

type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Where the edge of a file is asked that may be wrong in any other place, in files that it includes too; `None` where
/// that cannot be told either.
pub fn admin_despite_mistakes(path: &Path, env: Env<'_>) -> Option<Admin> {
    let text = include::read_text(path).ok()?;
    let compiled = compiled(path, &text, env);
    if compiled.admin.is_some() {
        return compiled.admin;
    }
    // What stands around a mistake that makes a file no TOML cannot be told for sure, but a section has a beginning.
    section(path, &text, env).or_else(|| {
        let mut included = compiled.files.iter();
        included.find_map(|file| section(file, &include::read_text(file).ok()?, env))
    })
}

fn compiled(path: &Path, text: &str, env: Env<'_>) -> compile::Compiled {
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    let outside = Surroundings { folder, env };
    compile::compile(&path.display().to_string(), text, &outside, false)
}

/// The section by itself, and if that is no use, what its lines say that can be read.
fn section(path: &Path, text: &str, env: Env<'_>) -> Option<Admin> {
    let lines: Vec<&str> = text
        .lines()
        .skip_while(|line| !line.trim_start().starts_with("[admin]"))
        .skip(1)
        .take_while(|line| !line.trim_start().starts_with('['))
        .collect();
    let is_sound = |line: &&str| line.parse::<toml::Table>().is_ok();
    let sound: Vec<&str> = lines.iter().copied().filter(is_sound).collect();
    [lines, sound].into_iter().find_map(|lines| {
        let text = format!("[admin]\n{}\n", lines.join("\n"));
        compiled(path, &text, env).admin
    })
}

/// A key, and which of the values in its list, where it has one.
pub type KeyPath<'a> = (&'a [&'a str], Option<usize>);

/// What is wrong with the value of a key, with its place; with that of its section, where the key is not given, and
/// without any where there is no such section. The error of somebody who has a configuration, and not its text.
pub fn at_key(path: &Path, env: Env<'_>, (keys, item): KeyPath<'_>, why: &str) -> String {
    let Ok(text) = include::read_regular(path) else {
        return why.to_owned();
    };
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    let outside = Surroundings { folder, env };
    let mut cx = Context {
        outside: &outside,
        source: Arc::new(Source::new(&path.display().to_string(), folder, &text)),
        diagnostics: Vec::new(),
    };
    let included = include::gather(&text, path, &mut cx);
    let (root, _) = include::joined(&text, &included, &File::describe().keys, &mut cx);
    let place = match root.get_ref() {
        DeValue::Table(table) => find(table, keys, item),
        _ => None,
    };
    // Of what is joined only the key itself is looked at: all that the text takes counts.
    cx.source.secrets.note(cx.source.text(), env);
    match place {
        Some(span) => {
            let complaint = Complaint::new(why);
            Diagnostic::new(Severity::Error, &cx.source, span, complaint).to_string()
        }
        None => cx.source.secrets.masked(why.to_owned()),
    }
}

fn find(table: &DeTable<'_>, keys: &[&str], item: Option<usize>) -> Option<Range<usize>> {
    let (key, rest) = keys.split_first()?;
    let value = table.get(*key)?;
    let own = Some(value.span());
    match value.get_ref() {
        DeValue::Table(table) if !rest.is_empty() => find(table, rest, item).or(own),
        DeValue::Array(list) => item
            .and_then(|item| list.get(item))
            .map(|item| item.span())
            .or(own),
        _ => own,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        path::PathBuf,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use super::*;
    use crate::config::model::AdminAddress;

    /// A folder of files, removed when dropped.
    struct Folder(PathBuf);

    impl Folder {
        fn of(files: &[(&str, &str)]) -> Self {
            static NUMBER: AtomicUsize = AtomicUsize::new(0);
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let name = format!("dhal-despite-{}-{number}", std::process::id());
            let folder = Self(std::env::temp_dir().join(name));
            fs::create_dir_all(&folder.0).expect("a folder");
            for (name, text) in files {
                fs::write(folder.0.join(name), text).expect("a file");
            }
            folder
        }

        fn main(&self) -> PathBuf {
            self.0.join("dhal.toml")
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn env(name: &str) -> Option<String> {
        (name == "WHERE").then(|| "127.0.0.1:9900".to_owned())
    }

    #[test]
    fn where_to_ask_is_known_despite_mistakes() {
        const ASKED: &str = "[admin]\naddress = \"unix:admin.sock\"\n";
        let both: &[(&str, &str)] = &[(
            "dhal.toml",
            "nonsense = 1\n[admin]\naddress = [\"${WHERE}\", \"unix:admin.sock\"]\n",
        )];
        for (files, addresses) in [
            // What is wrong stands elsewhere: a value, a key, a reference, or what is no TOML before and behind.
            (
                &[("dhal.toml", &*format!("{ASKED}[server]\nthreads = \"x\"\n"))][..],
                1,
            ),
            (
                &[(
                    "dhal.toml",
                    &format!("{ASKED}addres = 1\n[[routes]]\nupstream = \"none\"\n"),
                )],
                1,
            ),
            (&[("dhal.toml", &format!("[server\n{ASKED}"))], 1),
            (
                &[("dhal.toml", &format!("{ASKED}[[routes]\nupstream = "))],
                1,
            ),
            // In the section itself.
            (
                &[("dhal.toml", &format!("{ASKED}token_file = nowhere\n"))],
                1,
            ),
            (
                &[(
                    "dhal.toml",
                    "[admin]  # of ours\n  address = \"unix:admin.sock\"\n]",
                )],
                1,
            ),
            (both, 2),
            // In other files.
            (
                &[
                    (
                        "dhal.toml",
                        "include = [\"*.toml\"]\n[server]\nthreads = \"x\"\n",
                    ),
                    ("a.toml", ASKED),
                ],
                1,
            ),
            (
                &[
                    ("dhal.toml", "include = [\"*.toml\"]\n"),
                    ("a.toml", &format!("{ASKED}[[routes]\n")),
                ],
                1,
            ),
            (
                &[
                    ("dhal.toml", "include = [\"*.toml\"]\n"),
                    ("a.toml", ASKED),
                    ("b.toml", "[[routes]\n"),
                ],
                1,
            ),
            // Nobody knows.
            (&[("dhal.toml", "[server]\nthreads = \"x\"\n")], 0),
            (&[("dhal.toml", "[admin]\naddress = 7\n")], 0),
            (&[], 0),
        ] {
            let folder = Folder::of(files);
            let admin = admin_despite_mistakes(&folder.main(), &env);
            let found = admin.map_or_else(Vec::new, |admin| admin.addresses);
            assert_eq!(found.len(), addresses, "{files:?}");
            if addresses > 0 {
                let socket = AdminAddress::Unix(folder.0.join("admin.sock"));
                assert!(found.contains(&socket), "{files:?}: {found:?}");
            }
        }
    }

    #[test]
    fn where_a_key_stands() {
        let folder = Folder::of(&[
            (
                "dhal.toml",
                "include = [\"a.toml\"]\n[server]\nthreads = 3\n[admin]\naddress = [\"127.0.0.1:1\",\n  \"127.0.0.1:2\"]\n",
            ),
            (
                "a.toml",
                "# a disk\n[cache]\ndisk = { path = \"x\", size = \"1GiB\" }\n",
            ),
        ]);
        let disk: &[&str] = &["cache", "disk", "path"];
        for (key, place) in [
            (
                (&["server", "threads"][..], None),
                "dhal.toml:3:11: error: it is so",
            ),
            (
                (&["server", "pid_file"], None),
                "dhal.toml:2:1: error: it is so",
            ),
            (
                (&["admin", "address"], Some(1)),
                "dhal.toml:6:3: error: it is so",
            ),
            (
                (&["admin", "address"], Some(7)),
                "dhal.toml:5:11: error: it is so",
            ),
            ((disk, None), "a.toml:3:17: error: it is so"),
            ((&["reload", "probation"], None), "it is so"),
        ] {
            let told = at_key(&folder.main(), &env, key, "it is so");
            let first = told.lines().next().unwrap_or_default();
            assert!(first.ends_with(place), "{key:?}: {told}");
        }
        assert_eq!(
            at_key(Path::new("/none"), &env, (disk, None), "it is so"),
            "it is so"
        );
    }
}
