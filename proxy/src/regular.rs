//! Reads files that configurations name, and nothing else of that name: a pipe or a device might never come to an end,
//! nor to a beginning.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use nix::fcntl::OFlag;

/// Opens a regular file for reading; waits for nobody who might write to it.
///
/// # Errors
/// The system's, and that it is no regular file.
pub fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path)?;
    let about = file.metadata()?;
    if about.is_dir() {
        return Err(io::Error::other("it is a folder"));
    }
    match about.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is no regular file")),
    }
}

/// What a regular file holds, up to so many bytes.
///
/// # Errors
/// As of [`open`], and that it is larger.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    let read = open(path)?.take(most + 1).read_to_end(&mut content)?;
    match read as u64 > most {
        true => Err(io::Error::other(format!("it is larger than {most} bytes"))),
        false => Ok(content),
    }
}

/// The same as text.
///
/// # Errors
/// As of [`read`], and that it is not UTF-8.
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    String::from_utf8(read(path, most)?)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use nix::{sys::stat::Mode, unistd::mkfifo};

    use super::*;

    #[test]
    fn only_regular_files_of_some_size_are_read() {
        let dir = std::env::temp_dir().join(format!("dhal-regular-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a folder");
        let file = dir.join("file");
        std::fs::write(&file, "four").expect("written");
        assert_eq!(read_text(&file, 4).expect("a text"), "four");
        let why = read(&file, 3).expect_err("too large").to_string();
        assert_eq!(why, "it is larger than 3 bytes");
        let pipe = dir.join("pipe");
        mkfifo(&pipe, Mode::S_IRWXU).expect("a pipe");
        for (path, wanted) in [
            (pipe.as_path(), "it is no regular file"),
            (Path::new("/dev/zero"), "it is no regular file"),
            (dir.as_path(), "it is a folder"),
        ] {
            let why = read(path, 3).expect_err("refused").to_string();
            assert_eq!(why, wanted, "{}", path.display());
        }
        std::fs::write(&file, b"\xff").expect("written");
        assert!(read_text(&file, 4).is_err());
        std::fs::remove_dir_all(&dir).expect("removed");
    }
}
