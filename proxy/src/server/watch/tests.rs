use std::os::unix::fs::symlink;

use super::*;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("dhal-watch-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, text).expect("written");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A look, and whether what it found is to be taken up; it is then.
fn look(
    watcher: &mut Watcher,
    taken_up: &mut Contents,
    files: &[PathBuf],
    folders: &[PathBuf],
) -> bool {
    let found = watcher.contents(files, folders);
    let is_due = watcher.is_due(taken_up, found.clone());
    if is_due {
        *taken_up = found;
    }
    is_due
}

#[test]
fn changes_count_when_they_have_settled() {
    let folder = Folder::new("settled");
    let files = [folder.write("dhal.toml", "one")];
    let (mut watcher, mut taken_up) = (Watcher::default(), Contents::new());
    taken_up.extend(watcher.contents(&files, &[]));
    let mut looks = |wanted: [bool; 3], what: &str| {
        let due = [(); 3].map(|()| look(&mut watcher, &mut taken_up, &files, &[]));
        assert_eq!(due, wanted, "{what}");
    };
    looks([false; 3], "nothing has changed");
    folder.write("dhal.toml", "two");
    looks([false, true, false], "written in place");
    folder.write("new", "three");
    fs::rename(folder.0.join("new"), &files[0]).expect("moved");
    looks([false, true, false], "moved into place");
    folder.write("dhal.toml", "three");
    looks([false; 3], "written with what it held");
    fs::remove_file(&files[0]).expect("removed");
    looks([false, true, false], "removed");
    folder.write("dhal.toml", "three");
    looks([false, true, false], "there again");
}

#[test]
fn what_is_still_being_written_waits() {
    let folder = Folder::new("writing");
    let files = [folder.write("dhal.toml", "")];
    let (mut watcher, mut taken_up) = (Watcher::default(), Contents::new());
    taken_up.extend(watcher.contents(&files, &[]));
    for text in ["a", "ab", "abc"] {
        folder.write("dhal.toml", text);
        assert!(!look(&mut watcher, &mut taken_up, &files, &[]), "{text}");
    }
    assert!(look(&mut watcher, &mut taken_up, &files, &[]));
}

#[test]
fn folders_that_are_swapped_behind_a_link() {
    let folder = Folder::new("swapped");
    folder.write("..2026_1/dhal.toml", "one");
    folder.write("..2026_2/dhal.toml", "two");
    symlink("..2026_1", folder.0.join("..data")).expect("a link");
    symlink("..data/dhal.toml", folder.0.join("dhal.toml")).expect("a link");
    let files = [folder.0.join("dhal.toml")];
    let (mut watcher, mut taken_up) = (Watcher::default(), Contents::new());
    taken_up.extend(watcher.contents(&files, &[]));
    assert!(!look(&mut watcher, &mut taken_up, &files, &[]));
    symlink("..2026_2", folder.0.join("..data_tmp")).expect("a link");
    fs::rename(folder.0.join("..data_tmp"), folder.0.join("..data")).expect("swapped");
    assert!(!look(&mut watcher, &mut taken_up, &files, &[]));
    assert!(look(&mut watcher, &mut taken_up, &files, &[]));
}

#[test]
fn files_that_come_and_go_in_a_folder() {
    let folder = Folder::new("folder");
    let folders = [folder.0.clone()];
    let (mut watcher, mut taken_up) = (Watcher::default(), Contents::new());
    taken_up.extend(watcher.contents(&[], &folders));
    folder.write(".dhal.toml.swp", "an editor's");
    folder.write("a.toml~", "a copy");
    for _ in 0..3 {
        assert!(!look(&mut watcher, &mut taken_up, &[], &folders));
    }
    folder.write("a.toml", "");
    assert!(!look(&mut watcher, &mut taken_up, &[], &folders));
    assert!(look(&mut watcher, &mut taken_up, &[], &folders));
}
