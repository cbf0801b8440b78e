//! Pulled items join the current snapshot, several at a time.
//!
//! Until then they are blobs that the listing leads to, and served as such; a
//! crash loses nothing, for the next request finds the blob and notes it
//! again. Only what the current snapshot lists joins it: an item of an earlier
//! one, pulled for a client with yesterday's index, is kept until `prune`
//! finds that nothing reaches it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::Pulls;
use crate::serve::listing::Listed;
use crate::simplestreams::RelPath;
use crate::store::{FileRef, Joining, StoreError, VersionKey};

/// The pause after the last item before a publish: items come in groups.
const QUIET: Duration = Duration::from_secs(2);

/// No item waits longer for others.
const LONGEST: Duration = Duration::from_secs(30);

/// The pause before another try, most often because a sync holds the lock.
const AGAIN: Duration = Duration::from_secs(5);

/// How long the disk may take, at the end, to take what clients have already.
const SYNCED: Duration = Duration::from_secs(10);

/// Items that wait. More are found again when they are asked for.
const MOST: usize = 10_000;

/// The items that wait to join.
#[derive(Debug, Default)]
pub(super) struct Joins {
    waiting: Mutex<Waiting>,
    added: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    items: BTreeMap<RelPath, (VersionKey, FileRef)>,
    /// When the first and the last of them came.
    since: Option<(Instant, Instant)>,
}

impl Joins {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, path: &RelPath, listed: &Listed) {
        let mut waiting = self.waiting();
        if waiting.items.len() >= MOST || waiting.items.contains_key(path) {
            return;
        }
        waiting.items.insert(path.clone(), ((*listed.key).clone(), listed.file(path)));
        let now = Instant::now();
        waiting.since = Some((waiting.since.map_or(now, |(first, _)| first), now));
        drop(waiting);
        self.added.notify_one();
    }

    /// Waits until it is time to publish.
    async fn due(&self) {
        loop {
            let since = self.waiting().since;
            let Some((first, last)) = since else {
                self.added.notified().await;
                continue;
            };
            let due = (last + QUIET).min(first + LONGEST);
            tokio::select! {
                () = tokio::time::sleep_until(due) => return,
                () = self.added.notified() => {}
            }
        }
    }

    /// These have joined, or never will.
    fn done(&self, paths: impl IntoIterator<Item = RelPath>) {
        let mut waiting = self.waiting();
        for path in paths {
            waiting.items.remove(&path);
        }
        if waiting.items.is_empty() {
            waiting.since = None;
        }
    }
}

/// What a try to join came to.
enum Tried {
    Done,
    /// The snapshot has changed meanwhile.
    Moved,
    Failed,
}

impl Pulls {
    /// Notes that an item is held and shall join.
    pub(in crate::serve) fn note(&self, path: &RelPath, listed: &Listed) {
        if listed.current {
            self.joins.add(path, listed);
        }
    }

    /// Keeps the listing up with the catalog, looking every `poll`, for ever:
    /// so that the first request for an item does not wait for it.
    pub(in crate::serve) async fn keep_listed(self: Arc<Self>, poll: Duration) {
        let mut ticks = tokio::time::interval(poll);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.listings.of(&self.catalogs.current()).await;
        }
    }

    /// Publishes what was pulled, for ever.
    pub(in crate::serve) async fn keep_joined(self: Arc<Self>) {
        loop {
            self.joins.due().await;
            match self.join().await {
                Tried::Done => {}
                Tried::Moved => tokio::time::sleep(QUIET).await,
                Tried::Failed => tokio::time::sleep(AGAIN).await,
            }
        }
    }

    /// Publishes what was pulled and has not joined yet, before the end.
    pub async fn finish(&self) {
        const TRIES: u32 = 3;
        let active: Vec<_> = self.active().values().cloned().collect();
        let kept = futures_util::future::join_all(active.iter().map(|pull| pull.kept()));
        if tokio::time::timeout(SYNCED, kept).await.is_err() {
            tracing::warn!("pulled items are not on the disk yet and are fetched again");
        }
        for _ in 0..TRIES {
            if self.joins.waiting().items.is_empty() || !matches!(self.join().await, Tried::Moved) {
                return;
            }
        }
    }

    async fn join(&self) -> Tried {
        self.catalogs.refresh().await;
        let catalog = self.catalogs.current();
        let listing = self.listings.of(&catalog).await;
        let waiting = self.joins.waiting().items.clone();
        let (listed, gone): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|(path, (_, file))| {
                let found = listing.find(path).filter(|found| found.current);
                found.is_some_and(|found| found.file(path) == *file)
            });
        self.joins.done(gone.into_iter().map(|(path, _)| path));
        let base = catalog.snapshots().next().copied();
        let Some(base) = base.filter(|_| !listed.is_empty()) else { return Tried::Done };
        let (paths, items): (Vec<_>, Vec<_>) = listed.into_iter().unzip();
        let store = self.store.clone();
        let joined = tokio::task::spawn_blocking(move || {
            let writer = store.writer("maas-mirror serve")?;
            writer.join(&base, &items, jiff::Timestamp::now())
        });
        match joined.await {
            Ok(Ok(Joining::Done(_))) => {
                self.joins.done(paths);
                self.catalogs.refresh().await;
                Tried::Done
            }
            Ok(Ok(Joining::Moved)) => Tried::Moved,
            Ok(Err(StoreError::Locked { holder, .. })) => {
                tracing::debug!(%holder, "pulled items wait to join the snapshot");
                Tried::Failed
            }
            Ok(Err(error)) => {
                let reason = crate::chain(&error);
                tracing::warn!(reason, "pulled items could not join the snapshot yet");
                Tried::Failed
            }
            Err(_) => Tried::Failed,
        }
    }
}
