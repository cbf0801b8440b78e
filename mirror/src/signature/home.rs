//! GnuPG homes: private, and gone when their process is.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use tempfile::TempDir;

const PREFIX: &str = "maas-mirror-keys-";

/// The file by whose lock a home says that its process lives.
const LOCK: &str = "in-use";

/// A new home with `gpg.conf`, and the lock that keeps others from removing it.
/// Homes that killed processes left are removed first.
pub(super) fn make(gpg_conf: &str) -> io::Result<(TempDir, File)> {
    sweep(&std::env::temp_dir());
    let mut builder = tempfile::Builder::new();
    let home = builder.prefix(PREFIX).permissions(Permissions::from_mode(0o700)).tempdir()?;
    // It gets its name once it is locked: a name without a lock is a dead one.
    let unnamed = home.path().join("new");
    let lock = File::create(&unnamed)?;
    lock.try_lock().map_err(io::Error::from)?;
    fs::rename(unnamed, home.path().join(LOCK))?;
    fs::write(home.path().join("gpg.conf"), gpg_conf)?;
    Ok((home, lock))
}

/// Removes the homes of this user that no process holds. One without the lock
/// file is being made just now, or is not ours: it stays.
fn sweep(folder: &Path) {
    let own = rustix::process::geteuid().as_raw();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        // Of a link this is the link's own, which is no folder.
        let meta = entry.metadata().ok().filter(|meta| meta.is_dir() && meta.uid() == own);
        if !ours || meta.is_none() {
            continue;
        }
        let lock = File::open(entry.path().join(LOCK));
        if lock.is_ok_and(|lock| lock.try_lock().is_ok()) {
            // Another may sweep at the same moment.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_is_private_and_left_ones_are_swept() {
        let folder = tempfile::tempdir().expect("folder");
        let home = |name: &str| {
            let path = folder.path().join(format!("{PREFIX}{name}"));
            fs::create_dir(&path).expect("home");
            path
        };
        let (held, left, fresh) = (home("held"), home("left"), home("fresh"));
        let lock = File::create(held.join(LOCK)).expect("lock");
        lock.try_lock().expect("free");
        File::create(left.join(LOCK)).expect("lock");
        sweep(folder.path());
        assert!(held.exists() && !left.exists() && fresh.exists());
        let (home, _lock) = make("batch\n").expect("home");
        assert_eq!(fs::metadata(home.path()).expect("home").mode() & 0o777, 0o700);
    }
}
