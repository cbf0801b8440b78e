//! Items on their way into the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;
use tokio::sync::mpsc;

use super::plan::{Fetch, Plan};
use super::{Event, ItemError, ItemFailure, Observer, Sync, SyncError, blocking};
use crate::store::{BlobError, Claim, PartialBlob, Store, StoreError, Writer};
use crate::upstream::{Body, FetchError, Resume, Upstream};

/// Pieces between the network and the disk of one download. A piece is what
/// one read of a socket gave, at most some hundred KiB.
const QUEUE: usize = 4;

/// A download that got this much further starts counting its retries anew.
const PROGRESS: u64 = 64 * 1024;

/// Fetches every content of `plan`, several at a time. An item that fails
/// does not stop the others; a store that fails stops all.
pub(super) async fn all(
    sync: &Sync,
    writer: &Arc<Writer>,
    plan: &Plan,
    observer: &Arc<dyn Observer>,
) -> Result<(), SyncError> {
    let (upstream, store) = (&sync.upstream, writer.store());
    let queue = Queue { upstream, store, plan, observer, next: AtomicUsize::new(0) };
    let workers = (0..sync.options.parallel).map(|_| queue.work());
    let failures = futures_util::future::try_join_all(workers).await?;
    let mut failures: Vec<_> = failures.into_iter().flatten().collect();
    if failures.is_empty() {
        return Ok(());
    }
    failures.sort_by(|a, b| a.path.cmp(&b.path));
    Err(SyncError::Items { failures, total: plan.fetch.len() })
}

/// What the workers of one run share.
struct Queue<'a> {
    upstream: &'a Upstream,
    store: &'a Store,
    plan: &'a Plan,
    observer: &'a Arc<dyn Observer>,
    /// The first content that no worker has taken yet.
    next: AtomicUsize,
}

impl Queue<'_> {
    /// Fetches contents until none is left; returns those that failed.
    async fn work(&self) -> Result<Vec<ItemFailure>, SyncError> {
        let Self { upstream, store, plan, observer, next } = self;
        let mut failures = Vec::new();
        while let Some(fetch) = plan.fetch.get(next.fetch_add(1, Ordering::Relaxed)) {
            let path = &fetch.path;
            match (Download { upstream, store, fetch, observer }).run().await {
                Ok(()) => observer.event(&Event::Finished { path, size: fetch.size }),
                Err(Stop::Run(error)) => return Err(error),
                Err(Stop::Item(error)) => {
                    observer.event(&Event::Failed { path, error: &error });
                    failures.push(ItemFailure { path: path.clone(), error });
                }
            }
        }
        Ok(failures)
    }
}

/// Why a download ended early.
#[derive(Debug)]
pub(crate) enum Stop {
    /// This item cannot be had.
    Item(ItemError),
    /// The run cannot go on.
    Run(SyncError),
}

impl Stop {
    /// The chain of causes.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Item(error) => crate::chain(error),
            Self::Run(error) => crate::chain(error),
        }
    }
}

impl From<SyncError> for Stop {
    fn from(error: SyncError) -> Self {
        Self::Run(error)
    }
}

impl From<BlobError> for Stop {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::Store(error) => Self::Run(error.into()),
            error => Self::Item(error.into()),
        }
    }
}

/// How long another process that writes an item is waited for: as long as it
/// gets on.
struct Patience {
    since: Instant,
    there: u64,
}

impl Patience {
    const PAUSE: Duration = Duration::from_millis(100);
    /// More than the pauses and timeouts of a download that will go on.
    const LONGEST: Duration = Duration::from_secs(300);

    fn new() -> Self {
        Self { since: Instant::now(), there: 0 }
    }

    /// Whether to wait on, now that so many bytes are there.
    fn lasts(&mut self, there: u64) -> bool {
        if there != self.there {
            *self = Self { since: Instant::now(), there };
        }
        self.since.elapsed() < Self::LONGEST
    }
}

/// The file upstream is shorter than its metadata lists.
async fn too_short(blob: PartialBlob) -> Result<(), Stop> {
    // It says so, and removes what is there.
    Ok(blocking(move || blob.finish()).await??)
}

/// Whether a server has nothing at the offset asked for (416).
fn is_past_the_end(error: &FetchError) -> bool {
    matches!(error, FetchError::Status { status, .. } if *status == StatusCode::RANGE_NOT_SATISFIABLE)
}

/// One item on its way into the store. Needs no lock of the store: see
/// [`Store::claim`].
pub(crate) struct Download<'a> {
    pub(crate) upstream: &'a Upstream,
    pub(crate) store: &'a Store,
    pub(crate) fetch: &'a Fetch,
    /// Told of [`Event::Started`], [`Event::Restarting`], [`Event::Progress`],
    /// [`Event::Retrying`] and [`Event::Whole`].
    pub(crate) observer: &'a Arc<dyn Observer>,
}

impl Download<'_> {
    /// Fetches the item, unless it is held by now. Where bytes of an earlier
    /// run turn out wrong, once more from the first byte: they, and not the
    /// upstream, may be at fault.
    pub(crate) async fn run(&self) -> Result<(), Stop> {
        let Some(blob) = self.claim().await? else { return Ok(()) };
        let resumed = blob.resumed();
        match self.fill(blob).await {
            Err(Stop::Item(ItemError::Content(_))) if resumed => {
                let Some(blob) = self.claim().await? else { return Ok(()) };
                self.fill(self.restart(blob).await?).await
            }
            other => other,
        }
    }

    /// Takes the blob to write it; `None` where it is held. While another
    /// process writes it, waits: what that one leaves is taken up here.
    async fn claim(&self) -> Result<Option<PartialBlob>, Stop> {
        let mut patience = Patience::new();
        loop {
            let (store, observer) = (self.store.clone(), Arc::clone(self.observer));
            let Fetch { path, digest, size, .. } = self.fetch.clone();
            let claimed = blocking(move || {
                let claimed = store.claim(digest, size)?;
                if let Claim::Ours(blob) = &claimed {
                    observer.event(&Event::Started { path: &path, from: blob.written(), size });
                }
                let there = store.open_partial(&digest).and_then(|file| file.metadata());
                Ok::<_, StoreError>((claimed, there.map_or(0, |meta| meta.len())))
            });
            match claimed.await?.map_err(SyncError::from)? {
                (Claim::Held, _) => return Ok(None),
                (Claim::Ours(blob), _) => return Ok(Some(*blob)),
                (Claim::Busy, there) if patience.lasts(there) => {
                    tokio::time::sleep(Patience::PAUSE).await;
                }
                (Claim::Busy, _) => {
                    let waited = Patience::LONGEST;
                    return Err(Stop::Item(ItemError::Busy { waited }));
                }
            }
        }
    }

    /// Throws away what is there of the item.
    async fn restart(&self, mut blob: PartialBlob) -> Result<PartialBlob, Stop> {
        self.observer.event(&Event::Restarting { path: &self.fetch.path });
        let restarted = blocking(move || blob.restart().map(|()| blob)).await?;
        Ok(restarted.map_err(SyncError::from)?)
    }

    /// Fetches what `blob` lacks, over as many connections as it takes.
    ///
    /// A body may end early and in good order: some proxies hand out a file in
    /// slices. One that ends again with next to nothing more has no more: else
    /// slices of a byte would hold the lock of the store for ever.
    async fn fill(&self, mut blob: PartialBlob) -> Result<(), Stop> {
        let Fetch { path, size, .. } = self.fetch;
        let mut backoff = self.upstream.retry_policy().start();
        let (mut furthest, mut ended_at) = (blob.written(), None);
        let mut resume = Resume::default();
        while blob.written() < *size {
            resume.from = blob.written();
            let error = match self.upstream.open(path, &resume, Some(*size)).await {
                Ok(body) => {
                    resume.etag = body.etag().cloned();
                    let (back, broken) = self.pump(body, blob).await?;
                    blob = back;
                    match broken {
                        Some(error) => error,
                        None if blob.written() == *size => break,
                        None if ended_at.is_some()
                            && blob.written() < resume.from.saturating_add(PROGRESS) =>
                        {
                            return too_short(blob).await;
                        }
                        None => {
                            ended_at = Some(blob.written());
                            continue;
                        }
                    }
                }
                Err(error) if is_past_the_end(&error) && blob.written() > 0 => {
                    // The file upstream is shorter than what is here already.
                    if ended_at == Some(blob.written()) {
                        return too_short(blob).await;
                    }
                    ended_at = Some(blob.written());
                    blob = self.restart(blob).await?;
                    continue;
                }
                Err(error) => error,
            };
            // Without ranges each try starts anew: that it got further is luck.
            let resumed = resume.from > 0 && blob.written() > resume.from;
            if blob.written() >= furthest + PROGRESS && (resumed || furthest == 0) {
                furthest = blob.written();
                backoff.progressed();
            }
            let Some(pause) = backoff.next(&error) else {
                if blob.written() == 0 {
                    // Nothing to go on from: no trace either.
                    blocking(move || blob.discard()).await?.map_err(SyncError::from)?;
                }
                return Err(Stop::Item(error.into()));
            };
            self.observer.event(&Event::Retrying { path, error: &error, pause });
            tokio::time::sleep(pause).await;
        }
        let (observer, path) = (Arc::clone(self.observer), path.clone());
        let verified = move || observer.event(&Event::Whole { path: &path });
        Ok(blocking(move || blob.finish_then(verified)).await??)
    }

    /// Moves a body into the blob: the network is read here, and a thread of
    /// its own hashes and writes. Gives the blob back, with what broke the
    /// body off.
    async fn pump(
        &self,
        mut body: Body,
        mut blob: PartialBlob,
    ) -> Result<(PartialBlob, Option<FetchError>), Stop> {
        let (sender, mut receiver) = mpsc::channel::<Bytes>(QUEUE);
        let (observer, path) = (Arc::clone(self.observer), self.fetch.path.clone());
        let start = body.start();
        let sink = tokio::task::spawn_blocking(move || {
            if blob.written() != start {
                observer.event(&Event::Restarting { path: &path });
                blob.restart()?;
            }
            while let Some(bytes) = receiver.blocking_recv() {
                if let Err(error) = blob.write(&bytes) {
                    // Bytes past the end make all of them doubtful.
                    if !matches!(error, BlobError::Store(_)) {
                        blob.discard()?;
                    }
                    return Err(error);
                }
                observer.event(&Event::Progress { path: &path, done: blob.written() });
            }
            Ok::<_, BlobError>(blob)
        });
        let broken = loop {
            match body.chunk().await {
                Ok(Some(bytes)) => {
                    // The sink hangs up only when it has failed itself.
                    if sender.send(bytes).await.is_err() {
                        break None;
                    }
                }
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        drop(sender);
        let blob = sink.await.map_err(SyncError::Task)?;
        Ok((blob?, broken))
    }
}
