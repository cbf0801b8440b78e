//! Files and folders, with the durability that the store needs.

use std::fs::{self, DirEntry, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::StoreError;

/// Opens a regular file for reading. Anything else that stands in its place
/// (a pipe, on which an open would wait for ever, or a link out of the store)
/// is an error.
///
/// # Errors
/// The system's, or that it is no regular file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    open(OpenOptions::new().read(true), path)
}

/// As [`open_regular`], with other options.
pub(super) fn open(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = options.custom_flags(flags.bits().cast_signed()).open(path)?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
}

fn read_whole(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_regular(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, StoreError> {
    read_whole(path).map_err(|source| StoreError::io("read", path, source))
}

/// `None` where there is no such file.
pub(super) fn read_optional(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    match read_whole(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StoreError::io("read", path, source)),
    }
}

/// The entries of a folder; none where it does not exist.
pub(super) fn list(path: &Path) -> Result<Vec<DirEntry>, StoreError> {
    let failed = |source| StoreError::io("read", path, source);
    match fs::read_dir(path) {
        Ok(entries) => entries.collect::<Result<_, _>>().map_err(failed),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(failed(source)),
    }
}

pub(super) fn create_dir(path: &Path) -> Result<(), StoreError> {
    fs::create_dir_all(path).map_err(|source| StoreError::io("make the folder", path, source))
}

pub(super) fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
    fs::rename(from, to).map_err(|source| StoreError::io("rename to", to, source))
}

/// Removes a file; that it is gone already is as good.
pub(super) fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::io("remove", path, error))
        }
        _ => Ok(()),
    }
}

/// Makes names in `folder` durable.
pub(super) fn sync_dir(folder: &Path) -> Result<(), StoreError> {
    File::open(folder)
        .and_then(|dir| dir.sync_all())
        .map_err(|source| StoreError::io("sync", folder, source))
}

/// Writes `bytes` beside `path`, syncs them, renames them over it and syncs
/// the folder: a reader, and a crash, see the old content or the new.
pub(super) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let temporary = beside(path);
    write_synced(&temporary, bytes)?;
    rename(&temporary, path)?;
    path.parent().map_or(Ok(()), sync_dir)
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let file = write_new(path, bytes)?;
    file.sync_data().map_err(|source| StoreError::io("sync", path, source))
}

/// Writes a file of our own, in the place of whatever stands there: never
/// through a link.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> Result<File, StoreError> {
    remove(path)?;
    let write = || {
        let mut file = File::create_new(path)?;
        file.write_all(bytes)?;
        Ok(file)
    };
    write().map_err(|source| StoreError::io("write", path, source))
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}
