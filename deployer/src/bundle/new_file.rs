//! A file that gets its name when it is whole.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use super::BundleError;

/// A file under its temporary name, `NAME.new`; removed, unless it is kept.
#[derive(Debug)]
pub(super) struct NewFile {
    path: PathBuf,
    is_kept: bool,
}

impl NewFile {
    /// Makes it, in the place of what a killed run left.
    pub(super) fn create(path: &Path) -> Result<(Self, File), BundleError> {
        if is_special(path) {
            return Err(BundleError::NotAFile(path.to_owned()));
        }
        let temporary = beside(path);
        let failed = |source| BundleError::io("write", path, source);
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).write(true).open(&temporary);
        let file = file.map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(BundleError::Busy(path.to_owned())),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        file.set_len(0).map_err(failed)?;
        Ok((Self { path: path.to_owned(), is_kept: false }, file))
    }

    /// Syncs it, and gives it its name.
    pub(super) async fn keep(mut self, file: File) -> Result<(), BundleError> {
        let (path, temporary) = (self.path.clone(), beside(&self.path));
        let named = tokio::task::spawn_blocking(move || {
            file.sync_all().map_err(|error| BundleError::io("write", &path, error))?;
            fs::rename(&temporary, &path)
                .map_err(|error| BundleError::io("write", &path, error))?;
            let folder = folder_of(&path);
            let synced = File::open(&folder).and_then(|folder| folder.sync_all());
            synced.map_err(|error| BundleError::io("sync", &folder, error))
        });
        // The name may be there, or not yet: both are whole.
        self.is_kept = true;
        named.await.map_err(BundleError::Task)?
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.is_kept {
            let _ = fs::remove_file(beside(&self.path));
        }
    }
}

/// Whether something is there that a file, once it is renamed, must not take the place of: a
/// device, a pipe, a folder; a link too, as `/dev/stdout` is one.
pub(crate) fn is_special(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| !meta.is_file())
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

/// The folder that a file lies in.
pub(super) fn folder_of(path: &Path) -> PathBuf {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new(".")).to_owned()
}
