//! Reading blobs again, on all processors.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::Progress;
use crate::simplestreams::{Digest, Hasher};
use crate::store::{Store, open_regular};
use crate::total;

const CHUNK: usize = 256 * 1024;

/// What is wrong with a blob.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// Its content is not what its name says.
    Damaged,
    /// It was there when the folder was read, and is not any more.
    Gone,
    /// The system does not let us read it: that says nothing of its content.
    Unreadable(String),
}

/// The blobs of `held` that are not right, each with its fault.
pub(super) fn faults(
    store: &Store,
    held: &BTreeMap<Digest, u64>,
    progress: Progress<'_>,
) -> Vec<(Digest, Fault)> {
    let total = total(held.values().copied());
    // The largest first, so that no processor is left alone with one at the end.
    let mut queue: Vec<_> = held.iter().collect();
    queue.sort_by(|a, b| b.1.cmp(a.1));
    let next = AtomicUsize::new(0);
    let done = AtomicU64::new(0);
    let faults = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads.min(queue.len()) {
            scope.spawn(|| {
                let mut buffer = vec![0; CHUNK];
                while let Some((digest, _)) = queue.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let count = |read: u64| {
                        let before = done.fetch_add(read, Ordering::Relaxed);
                        progress(before + read, total);
                    };
                    let fault = match digest_of(store, digest, &mut buffer, count) {
                        Ok(found) if found == **digest => continue,
                        Ok(_) => Fault::Damaged,
                        Err(error) if error.kind() == io::ErrorKind::NotFound => Fault::Gone,
                        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Fault::Damaged,
                        Err(error) => Fault::Unreadable(error.to_string()),
                    };
                    faults.lock().unwrap_or_else(PoisonError::into_inner).push((**digest, fault));
                }
            });
        }
    });
    let mut faults = faults.into_inner().unwrap_or_else(PoisonError::into_inner);
    faults.sort_unstable();
    faults
}

/// Whether a blob's content is what its name says. Blocks for as long as it
/// takes to read it.
///
/// # Errors
/// It cannot be read.
pub(super) fn is_whole(store: &Store, digest: &Digest) -> io::Result<bool> {
    let mut buffer = vec![0; CHUNK];
    Ok(digest_of(store, digest, &mut buffer, |_| {})? == *digest)
}

/// Whether an error of reading a blob is the blob's: its kind or length, or
/// what the disk says. Others (no descriptor left, no permission, not there)
/// say nothing of what it holds.
#[must_use]
pub fn is_of_blob(error: &io::Error) -> bool {
    let of_disk = error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error());
    let of_file =
        [io::ErrorKind::InvalidInput, io::ErrorKind::InvalidData, io::ErrorKind::UnexpectedEof];
    // A system call that was refused as such says EINVAL.
    of_disk || (error.raw_os_error().is_none() && of_file.contains(&error.kind()))
}

fn digest_of(
    store: &Store,
    digest: &Digest,
    buffer: &mut [u8],
    count: impl Fn(u64),
) -> io::Result<Digest> {
    let mut file = open_regular(&store.blob_path(digest))?;
    let mut hasher = Hasher::default();
    loop {
        let read = file.read(buffer)?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
            break;
        };
        hasher.update(bytes);
        count(read as u64);
    }
    Ok(hasher.finish())
}
