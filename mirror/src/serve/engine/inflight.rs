//! Which addresses on a connection's way out are parts of files.

use std::sync::{Arc, Mutex, PoisonError};

use super::blob::Blob;

/// The blobs of which a connection still has bytes to send. Shared by the
/// connection's bodies, which add, and its I/O, which looks up and takes away.
/// Responses leave one after another, so it holds one or two.
#[derive(Debug, Default)]
pub(in crate::serve) struct InFlight {
    entries: Mutex<Vec<Entry>>,
    /// Whether the I/O needs bytes in memory instead.
    copies: bool,
}

#[derive(Debug)]
struct Entry {
    blob: Arc<Blob>,
    /// Bytes given to hyper and not yet sent.
    left: u64,
}

impl InFlight {
    /// For an I/O that sends no files as files: TLS.
    pub(in crate::serve) fn copying() -> Self {
        Self { copies: true, ..Self::default() }
    }

    /// Whether bodies have to give bytes in memory, and must not give addresses.
    pub(in crate::serve) fn copies(&self) -> bool {
        self.copies
    }

    /// `length` more bytes of `blob` are given to hyper.
    pub(super) fn add(&self, blob: &Arc<Blob>, length: u64) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        match entries.iter_mut().find(|entry| Arc::ptr_eq(&entry.blob, blob)) {
            Some(entry) => entry.left += length,
            None => entries.push(Entry { blob: Arc::clone(blob), left: length }),
        }
    }

    /// The blob, and the offset in it, at an address.
    pub(super) fn find(&self, address: usize) -> Option<(Arc<Blob>, u64)> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.iter().find_map(|entry| {
            let map = entry.blob.mapping()?;
            let offset = address.checked_sub(map.as_ptr().addr())?;
            (offset < map.len()).then(|| (Arc::clone(&entry.blob), offset as u64))
        })
    }

    /// `length` bytes of `blob` have left.
    pub(super) fn sent(&self, blob: &Arc<Blob>, length: u64) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain_mut(|entry| {
            if Arc::ptr_eq(&entry.blob, blob) {
                entry.left = entry.left.saturating_sub(length);
            }
            entry.left > 0
        });
    }
}
