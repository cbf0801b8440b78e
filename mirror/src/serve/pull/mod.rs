//! Pull-through: an item that is listed and not held is fetched when it is
//! first asked for, and sent while it arrives.
//!
//! A request for one goes this way: [`Listings`] says that signed metadata
//! lists the path, with digest and size; [`Pulls::begin`] finds the pull of
//! that digest or starts it; an [`ArrivingBody`](body::ArrivingBody) reads
//! along in the partial file that [`Download`] writes. The download is that of
//! a sync: the same retries, resumption and checks.
//!
//! Invariants:
//! - one digest has one pull, however many clients and paths ask for it, and
//!   no client owns it: all may vanish, and the item is kept all the same;
//! - until the whole digest holds, no response is complete: each keeps back its
//!   last [`HELD_BACK`] bytes (all it has, where that is less) and has no ETag;
//! - a client gets bytes of one pass alone. Where a download throws away what
//!   it has and starts anew, those that were sent some of it are cut
//!   ([`item`]);
//! - on a mismatch nothing is kept, and every client is cut, never completed;
//! - a pull needs no lock of the store (`store::claim` says why); joining the
//!   snapshot does, and waits for it ([`join`]);
//! - everything is bounded: pulls at a time, pulls that wait, the time until
//!   the first byte, and how often an upstream that fails is asked.

pub(super) mod body;
mod error;
mod item;
mod join;

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;
use tokio::sync::Semaphore;

pub(super) use error::PullError;
pub(super) use item::Pull;

use super::catalog::Catalogs;
use super::listing::{Listed, Listings};
use crate::signature::Keyring;
use crate::simplestreams::{Digest, RelPath};
use crate::store::Store;
use crate::sync::{Download, Fetch, Observer};
use crate::upstream::Upstream;

/// What each response keeps back until the digest holds, in bytes.
pub(super) const HELD_BACK: u64 = 64 * 1024;

/// How long a client waits for the first byte before it is told to come again;
/// the pull goes on.
const FIRST_BYTE: Duration = Duration::from_secs(60);

/// Pulls under way and waiting; a stream lists some thousands of items.
const MOST: usize = 256;

/// How long a failure is remembered: two hundred machines that boot must not
/// each ask a broken upstream.
pub(super) const REMEMBERED: Duration = Duration::from_secs(5);

/// Failures remembered.
const FAILURES: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1023);

/// Where to pull from.
#[derive(Clone, Debug)]
pub struct Source {
    /// The upstream.
    pub upstream: Upstream,
    /// Whose signatures on the metadata count.
    pub keyring: Arc<Keyring>,
    /// Pulls at a time.
    pub parallel: usize,
}

/// The pulls of a server.
#[derive(Debug)]
pub struct Pulls {
    source: Source,
    store: Store,
    catalogs: Arc<Catalogs>,
    listings: Arc<Listings>,
    active: Mutex<HashMap<Digest, Arc<Pull>>>,
    failed: Mutex<LruCache<Digest, (Instant, PullError)>>,
    slots: Semaphore,
    joins: join::Joins,
}

/// What a request for an item can be answered with.
pub(super) enum Begun {
    /// The blob, which is held.
    Held,
    /// What arrives.
    Arriving(Arc<Pull>),
}

impl Pulls {
    pub(super) fn new(
        source: Source,
        store: Store,
        catalogs: Arc<Catalogs>,
        listings: Arc<Listings>,
    ) -> Arc<Self> {
        Arc::new(Self {
            slots: Semaphore::new(source.parallel.max(1)),
            source,
            store,
            catalogs,
            listings,
            active: Mutex::default(),
            failed: Mutex::new(LruCache::new(FAILURES)),
            joins: join::Joins::default(),
        })
    }

    /// Pulls an item, or waits with those that do, until its first byte is
    /// there; a small one, of which nothing could be sent before its end, until
    /// all of it is.
    pub(super) async fn begin(
        self: &Arc<Self>,
        path: &RelPath,
        listed: &Listed,
    ) -> Result<Begun, PullError> {
        let pull = self.find_or_start(path, listed)?;
        let whole = listed.size <= HELD_BACK;
        match tokio::time::timeout(FIRST_BYTE, pull.begun(whole)).await {
            Ok(Ok(true)) => Ok(Begun::Held),
            Ok(Ok(false)) => Ok(Begun::Arriving(pull)),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(PullError::Slow),
        }
    }

    fn find_or_start(
        self: &Arc<Self>,
        path: &RelPath,
        listed: &Listed,
    ) -> Result<Arc<Pull>, PullError> {
        let mut active = self.active();
        if let Some(pull) = active.get(&listed.digest) {
            pull.asked_for(path, listed);
            return Ok(Arc::clone(pull));
        }
        if let Some((when, error)) = self.failed().get(&listed.digest)
            && when.elapsed() < REMEMBERED
        {
            return Err(*error);
        }
        if active.len() >= MOST {
            return Err(PullError::Busy);
        }
        let pull = Arc::new(Pull::new(self.store.clone(), listed.digest, listed.size));
        pull.asked_for(path, listed);
        active.insert(listed.digest, Arc::clone(&pull));
        drop(active);
        // A task of its own: clients come and go.
        let ending = Ending { pulls: Arc::clone(self), pull: Arc::clone(&pull), ended: false };
        tokio::spawn(ending.run(path.clone(), listed.clone()));
        Ok(pull)
    }

    async fn fetch(
        &self,
        pull: &Arc<Pull>,
        path: &RelPath,
        listed: &Listed,
    ) -> Result<(), PullError> {
        // Fails only where the semaphore is closed, which nobody does.
        let _slot = self.slots.acquire().await.map_err(|_| PullError::Busy)?;
        self.check_space(pull).await?;
        let observer: Arc<dyn Observer> = Arc::clone(pull) as _;
        let Listed { digest, size, .. } = *listed;
        let fetch = Fetch { path: path.clone(), digest, size, partial: 0 };
        let (upstream, store) = (&self.source.upstream, &self.store);
        let download = Download { upstream, store, fetch: &fetch, observer: &observer };
        download.run().await.map_err(|stop| {
            let error = PullError::from(&stop);
            tracing::error!(%path, reason = stop.reason(), "an item could not be pulled");
            error
        })
    }

    /// Refuses what does not fit beside the other pulls, before a byte of it.
    async fn check_space(&self, pull: &Pull) -> Result<(), PullError> {
        let others = self.active().values().map(|pull| pull.missing()).collect::<Vec<_>>();
        let (store, digest, size) = (self.store.clone(), pull.digest(), pull.size());
        let measured = tokio::task::spawn_blocking(move || {
            let there = store.open_partial(&digest).and_then(|file| file.metadata());
            let there = there.map_or(0, |meta| meta.len().min(size));
            Ok::<_, crate::store::StoreError>((store.free_bytes()?, there))
        });
        let (free, there) = match measured.await {
            Ok(Ok(measured)) => measured,
            Ok(Err(error)) => {
                tracing::error!(reason = crate::chain(&error), "the disk cannot be measured");
                return Err(PullError::Store);
            }
            Err(_) => return Err(PullError::Store),
        };
        let needed = crate::total(others).saturating_add(size.saturating_sub(there));
        if needed > free {
            tracing::error!(needed_bytes = needed, free_bytes = free, "no space to pull an item");
            return Err(PullError::Space);
        }
        Ok(())
    }

    fn active(&self) -> MutexGuard<'_, HashMap<Digest, Arc<Pull>>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self) -> MutexGuard<'_, LruCache<Digest, (Instant, PullError)>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A pull under way; however it ends, those that wait are told.
struct Ending {
    pulls: Arc<Pulls>,
    pull: Arc<Pull>,
    ended: bool,
}

impl Ending {
    async fn run(mut self, path: RelPath, listed: Listed) {
        let result = self.pulls.fetch(&self.pull, &path, &listed).await;
        if result.is_ok() {
            tracing::info!(%path, bytes = listed.size, "pulled an item");
        }
        self.end(result);
    }

    /// Those that come from now on find the blob, or the failure.
    fn end(&mut self, result: Result<(), PullError>) {
        let digest = self.pull.digest();
        if let Err(error) = &result {
            self.pulls.failed().put(digest, (Instant::now(), *error));
        }
        // Under its other paths too; no more are added once it is not active.
        self.pulls.active().remove(&digest);
        if result.is_ok() {
            self.pull.paths().iter().for_each(|(path, listed)| self.pulls.note(path, listed));
        }
        self.pull.end(result);
        self.ended = true;
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if !self.ended {
            self.end(Err(PullError::Store));
        }
    }
}
