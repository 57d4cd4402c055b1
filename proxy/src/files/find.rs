//! Which file answers a path.

use std::{
    fs::{File, Metadata},
    io,
    path::{Path, PathBuf},
};

use http_caching::{Coding, Fields};
use rustix::io::Errno;

use super::{
    beneath::{Folder, Patience},
    path::{Name, with_end},
};

/// What there is at a path.
pub(super) enum Found {
    /// A file that may be read.
    File(Box<Content>),
    /// A folder that was asked for without the slash at its end.
    Folder,
    /// Nothing.
    Nothing,
    /// Something that nobody may have.
    Closed,
}

/// A file and the form in which it is here.
pub(super) struct Content {
    pub(super) file: File,
    pub(super) meta: Metadata,
    /// The file whose end tells the type.
    pub(super) name: PathBuf,
    pub(super) coding: Option<Coding>,
}

/// How a folder is looked through.
pub(super) struct Search<'a> {
    pub(super) folder: &'a Folder,
    /// Files that stand for their folder.
    pub(super) index: &'a [String],
    /// Forms that lie beside the files.
    pub(super) precompressed: &'a [Coding],
    pub(super) patience: Patience,
}

impl Search<'_> {
    /// What there is, in the form that suits the visitor best. An error is what keeps us from knowing.
    pub(super) fn find(&self, name: &Name, visitor: &dyn Fields) -> io::Result<Found> {
        if !name.is_folder {
            return match self.open(&name.path)? {
                Ok((file, meta)) if meta.is_file() => self.best(&name.path, file, meta, visitor),
                Ok((_, meta)) if meta.is_dir() && !self.index.is_empty() => Ok(Found::Folder),
                // Pipes, sockets, devices.
                Ok(_) => Ok(Found::Nothing),
                Err(found) => Ok(found),
            };
        }
        for index in self.index {
            let path = name.join(index);
            match self.open(&path)? {
                Ok((file, meta)) if meta.is_file() => return self.best(&path, file, meta, visitor),
                Ok(_) | Err(Found::Nothing) => {}
                Err(found) => return Ok(found),
            }
        }
        if self.index.is_empty() {
            return Ok(Found::Nothing);
        }
        // Folders are not listed.
        Ok(match self.open(&name.path)? {
            Ok((_, meta)) if meta.is_dir() => Found::Closed,
            Ok(_) => Found::Nothing,
            Err(found) => found,
        })
    }

    fn best(
        &self,
        path: &Path,
        file: File,
        meta: Metadata,
        visitor: &dyn Fields,
    ) -> io::Result<Found> {
        let mut left = self.precompressed.to_vec();
        while let Some(coding) = http_caching::choose(visitor, &left) {
            let beside = with_end(path, end(coding));
            // One that is older than what it was made of tells what was there before.
            if let Ok((file, own)) = self.open(&beside)?
                && own.is_file()
                && own.modified()? >= meta.modified()?
            {
                return Ok(Found::File(Box::new(Content {
                    file,
                    meta: own,
                    name: path.to_owned(),
                    coding: Some(coding),
                })));
            }
            left.retain(|other| *other != coding);
        }
        Ok(Found::File(Box::new(Content {
            file,
            meta,
            name: path.to_owned(),
            coding: None,
        })))
    }

    fn open(&self, path: &Path) -> io::Result<Result<(File, Metadata), Found>> {
        let why = match self.folder.open(path, self.patience) {
            Ok(file) => {
                let meta = file.metadata()?;
                return Ok(Ok((file, meta)));
            }
            Err(why) => why,
        };
        match Errno::from_io_error(&why) {
            Some(
                Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG | Errno::NXIO | Errno::ILSEQ,
            ) => Ok(Err(Found::Nothing)),
            Some(Errno::ACCESS | Errno::PERM | Errno::XDEV | Errno::LOOP) => Ok(Err(Found::Closed)),
            _ => Err(why),
        }
    }
}

/// What stands behind the name of a file that is compressed.
fn end(coding: Coding) -> &'static str {
    match coding {
        Coding::Gzip => ".gz",
        Coding::Brotli => ".br",
        Coding::Zstd => ".zst",
    }
}
