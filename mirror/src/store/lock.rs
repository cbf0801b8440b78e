//! The lock that one writer holds.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{StoreError, files};

/// An advisory lock (`flock`) on a file; the system lets go of it when the
/// process ends, however it ends.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

/// Who holds a store's lock, as the holder wrote it down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Process id on that host.
    pub pid: u32,
    /// Host name; in a pod, the pod's.
    pub host: String,
    /// What it does, such as `maas-mirror sync`.
    pub command: String,
    /// When it took the lock, ISO 8601.
    pub since: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pid, host, command, since } = self;
        write!(f, "'{command}' (process {pid} on {host}, since {since})")
    }
}

/// How often the lock is tried before it counts as held, and the pause between
/// two tries, a second in all: [`holder`] takes it for some microseconds to look
/// at it, and whoever makes a store for as long as a disk takes to sync.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(20);

impl Lock {
    pub(super) fn take(path: &Path, command: &str) -> Result<Self, StoreError> {
        let failed = |source| StoreError::io("lock", path, source);
        let mut file = OpenOptions::new()
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .open(path)
            .map_err(failed)?;
        match try_patiently(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                // STORE/.maas-mirror/lock
                let store = path.ancestors().nth(2).unwrap_or(path).to_owned();
                return Err(StoreError::Locked { path: store, holder: read(&mut file) });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let holder = Holder {
            pid: std::process::id(),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            command: command.to_owned(),
            since: crate::iso(jiff::Timestamp::now()),
        };
        let text = serde_json::to_vec(&holder).unwrap_or_default();
        file.set_len(0).and_then(|()| file.write_all(&text)).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

fn try_patiently(file: &File) -> Result<(), TryLockError> {
    for _ in 1..TRIES {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
            result => return result,
        }
    }
    file.try_lock()
}

/// Who holds the lock at `path`; `None` where it is free.
pub(super) fn holder(path: &Path) -> Result<Option<Holder>, StoreError> {
    let Ok(mut file) = files::open_regular(path) else {
        return Ok(None);
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(Some(read(&mut file))),
        Err(TryLockError::Error(source)) => Err(StoreError::io("look at", path, source)),
    }
}

/// What the holder wrote; a holder that has not written yet is unnamed.
fn read(file: &mut File) -> Holder {
    let mut text = Vec::new();
    let read = file.rewind().and_then(|()| file.take(4096).read_to_end(&mut text));
    read.ok().and_then(|_| serde_json::from_slice(&text).ok()).unwrap_or_else(|| Holder {
        pid: 0,
        host: "an unknown host".into(),
        command: "another process".into(),
        since: "just now".into(),
    })
}
