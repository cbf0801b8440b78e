//! One item on its way.
//!
//! A download reports here, from its own threads, and bodies wait here for
//! bytes. What bodies rely on:
//! - `available` bytes of `file` are written before they are announced;
//! - `pass` changes before any byte of an earlier pass is thrown away, and a
//!   body looks at it again after it has read: what it read while `pass` stood
//!   still is of that pass;
//! - `whole` only once the digest of the pass has held, and `end` is `Ok` only
//!   after that.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::PullError;
use crate::serve::listing::Listed;
use crate::simplestreams::{Digest, RelPath};
use crate::store::Store;
use crate::sync::{Event, Observer};

/// An item on its way.
#[derive(Debug)]
pub(in crate::serve) struct Pull {
    store: Store,
    digest: Digest,
    size: u64,
    progress: watch::Sender<Progress>,
    /// The paths under which it was asked for.
    paths: Mutex<BTreeMap<RelPath, Listed>>,
}

/// How far it is.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// What is there, to read along; stays whole when it is given its name.
    pub(super) file: Option<Arc<File>>,
    /// Which pass over the item this is.
    pub(super) pass: u32,
    /// Bytes of this pass that are there.
    pub(super) available: u64,
    /// Whether upstream has given any.
    flowing: bool,
    /// Whether the digest of this pass has held.
    pub(super) whole: bool,
    pub(super) end: Option<Result<(), PullError>>,
}

impl Pull {
    pub(super) fn new(store: Store, digest: Digest, size: u64) -> Self {
        Self { store, digest, size, progress: watch::Sender::default(), paths: Mutex::default() }
    }

    pub(super) fn asked_for(&self, path: &RelPath, listed: &Listed) {
        let mut paths = self.paths.lock().unwrap_or_else(PoisonError::into_inner);
        if !paths.contains_key(path) {
            paths.insert(path.clone(), listed.clone());
        }
    }

    /// The paths under which it was asked for, and what lists them.
    pub(super) fn paths(&self) -> BTreeMap<RelPath, Listed> {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn digest(&self) -> Digest {
        self.digest
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn watch(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Bytes that will still be written; 0 while nothing is known to be.
    pub(super) fn missing(&self) -> u64 {
        let progress = self.progress.borrow();
        progress.file.as_ref().map_or(0, |_| self.size.saturating_sub(progress.available))
    }

    /// Waits until upstream gives bytes, or, with `whole`, until the end; so
    /// too where all is there and is only being put on the disk. Returns
    /// whether the item is held.
    pub(super) async fn begun(&self, whole: bool) -> Result<bool, PullError> {
        let mut progress = self.watch();
        let arriving = |now: &Progress| now.flowing && !now.whole && !whole;
        let begun = progress.wait_for(|now| now.end.is_some() || arriving(now)).await;
        // Fails only where the sender is gone, which this value holds.
        match begun.map_err(|_| PullError::Store)?.end {
            Some(result) => result.map(|()| true),
            None => Ok(false),
        }
    }

    /// Waits for the end where all is there and is only being put on the disk.
    pub(super) async fn kept(&self) {
        let mut progress = self.watch();
        let _ = progress.wait_for(|now| now.end.is_some() || !now.whole).await;
    }

    pub(super) fn end(&self, result: Result<(), PullError>) {
        self.progress.send_modify(|now| now.end = Some(result));
    }
}

impl Observer for Pull {
    fn event(&self, event: &Event<'_>) {
        match event {
            // From a thread that may block, while the file is locked for us.
            Event::Started { path, from, .. } => {
                let file = self.store.open_partial(&self.digest).map(Arc::new);
                let file = file.inspect_err(|error: &io::Error| {
                    tracing::error!(%path, %error, "an item that arrives cannot be read");
                });
                self.progress.send_modify(|now| {
                    now.file = file.ok();
                    now.pass += 1;
                    now.available = *from;
                });
            }
            Event::Restarting { .. } => self.progress.send_modify(|now| {
                now.pass += 1;
                now.available = 0;
            }),
            Event::Progress { done, .. } => self.progress.send_modify(|now| {
                now.available = *done;
                now.flowing = true;
            }),
            Event::Whole { .. } => self.progress.send_modify(|now| now.whole = true),
            Event::Retrying { path, error, pause } => {
                let reason = crate::chain(*error);
                let retry_seconds = (pause.as_secs_f64() * 10.0).round() / 10.0;
                tracing::warn!(%path, reason, retry_seconds, "a request failed and is tried again");
            }
            _ => {}
        }
    }
}
