//! One run of the mirror: verified metadata, selection, plan, download,
//! publish.
//!
//! ```text
//! upstream ─ metadata ─ verify ─ parse ─ check ─ select ─ plan ─┬─ refuse
//!                                                               └─ download ─ publish ─ collect
//! ```
//!
//! Nothing that is served changes before the publish, and a run that fails or
//! is cut short keeps every finished blob and the bytes of unfinished ones for
//! the next. Knows nothing of serving; tells what happens through [`Observer`].

mod chain;
mod download;
mod error;
mod event;
mod metadata;
mod plan;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

pub use chain::{Chain, Wanted};
pub(crate) use download::{Download, Stop};
pub use error::{ItemError, ItemFailure, Kind, MetadataError, SyncError};
pub use event::{Event, Observer, Silent};
pub use metadata::Limits;
pub(crate) use metadata::remembered;
pub(crate) use plan::Fetch;
pub use plan::{Plan, PlannedItem};

use crate::signature::Keyring;
use crate::simplestreams::{Digest, Products, Selected, Selection, select_among};
use crate::store::{Collected, Content, LastSync, Outcome, Store, Writer};
use crate::upstream::Upstream;

/// What a run shall do.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which items to hold.
    pub selection: Selection,
    /// Downloads at a time.
    pub parallel: usize,
    /// How long replaced snapshots are kept.
    pub grace: Duration,
    /// What an upstream may make large.
    pub limits: Limits,
    /// Accepts metadata older than what was accepted before.
    pub allow_older: bool,
}

/// What a run did.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The snapshot that is current now.
    pub snapshot: Digest,
    /// Whether this run made it so.
    pub changed: bool,
    /// Distinct files selected.
    pub items: usize,
    /// Their bytes, each content counted once.
    pub bytes: u64,
    /// Contents fetched by this run.
    pub fetched_items: usize,
    /// Bytes fetched by this run.
    pub fetched_bytes: u64,
    /// What was removed after the publish.
    pub collected: Collected,
}

/// What an upstream publishes, verified, as far as it is selected.
#[derive(Clone, Debug)]
pub struct Survey {
    /// What a snapshot of it holds.
    pub content: Content,
    /// The bytes of its signed files.
    pub metadata: BTreeMap<Digest, Vec<u8>>,
}

/// A run's parties.
#[derive(Debug)]
pub struct Sync {
    /// Where the images come from.
    pub upstream: Upstream,
    /// Whose signatures count.
    pub keyring: Arc<Keyring>,
    /// What to do.
    pub options: Options,
}

impl Sync {
    /// Verifies upstream's metadata and tells what a run would do. Writes
    /// nothing; without a store, as if it were empty.
    ///
    /// # Errors
    /// [`SyncError`], as [`Sync::run`].
    pub async fn plan(
        &self,
        store: Option<&Store>,
        observer: &dyn Observer,
    ) -> Result<Plan, SyncError> {
        let metadata = metadata::fetch(self, store, observer).await?;
        let selected = self.select(&metadata.products)?;
        Plan::new(store, &metadata, selected)
    }

    /// Verifies upstream's metadata and gives what a run would publish into an
    /// empty store, with the bytes of the signed files by digest. Keeps
    /// nothing.
    ///
    /// # Errors
    /// [`SyncError`], as [`Sync::run`].
    pub async fn survey(&self, observer: &dyn Observer) -> Result<Survey, SyncError> {
        let metadata = metadata::fetch(self, None, observer).await?;
        let selected = self.select(&metadata.products)?;
        let plan = Plan::new(None, &metadata, selected)?;
        plan.check()?;
        let files = metadata.files.into_iter().map(|file| (file.digest, file.bytes));
        Ok(Survey { content: plan.content, metadata: files.collect() })
    }

    /// What to hold of what the metadata lists. A registry has no more than the
    /// snapshot that was pushed there.
    fn select(&self, products: &[Products]) -> Result<Selected, SyncError> {
        let holdings = self.upstream.holdings();
        let on_offer = |path: Option<&str>| match &holdings {
            Some(holdings) => path.is_some_and(|path| holdings.has(path)),
            None => true,
        };
        Ok(select_among(products, &self.options.selection, &on_offer)?)
    }

    /// Brings `store` up to date.
    ///
    /// Cancelled (dropped) at any point, it leaves the store as a crash
    /// would: whole, with the bytes fetched so far kept.
    ///
    /// # Errors
    /// [`SyncError`]; the snapshot that was current stays so.
    pub async fn run(
        &self,
        store: &Store,
        command: &str,
        observer: &Arc<dyn Observer>,
    ) -> Result<Report, SyncError> {
        let writer = {
            let (store, command) = (store.clone(), command.to_owned());
            blocking(move || store.writer(&command)).await??
        };
        let writer = Arc::new(writer);
        let started = jiff::Timestamp::now();
        let result = self.run_locked(&writer, observer).await;
        self.record(&writer, started, &result).await;
        result
    }

    async fn run_locked(
        &self,
        writer: &Arc<Writer>,
        observer: &Arc<dyn Observer>,
    ) -> Result<Report, SyncError> {
        let metadata = metadata::fetch(self, Some(writer.store()), observer.as_ref()).await?;
        let selected = self.select(&metadata.products)?;
        let plan = Plan::new(Some(writer.store()), &metadata, selected)?;
        observer.event(&Event::Planned(&plan));
        plan.check()?;
        // From here the plan says it all; large streams are large here.
        metadata.remember(self, writer)?;
        let (content, files) = (plan.content.clone(), metadata.files);
        let joined = plan.joined.clone();
        drop(metadata.products);
        download::all(self, writer, &plan, observer).await?;

        let grace = self.options.grace;
        let writer = Arc::clone(writer);
        let (published, collected) = blocking(move || {
            writer.put_all(files.iter().map(|file| file.bytes.as_slice()))?;
            writer.remember_joined(&joined)?;
            let now = jiff::Timestamp::now();
            let published = writer.publish(&content, now)?;
            // The new snapshot is served by now: what cannot be removed is no
            // failure of the sync.
            Ok::<_, SyncError>((published, writer.collect(grace, now)))
        })
        .await??;
        let collected = collected.unwrap_or_else(|error| {
            observer.event(&Event::NotCollected { error: &error });
            Collected::default()
        });
        let report = Report {
            snapshot: published.digest,
            changed: published.changed,
            items: plan.items.len(),
            bytes: plan.bytes,
            fetched_items: plan.fetch.len(),
            fetched_bytes: plan.fetch_bytes(),
            collected,
        };
        observer.event(&Event::Done(&report));
        Ok(report)
    }

    /// Writes down how the run went, for `status`. That this fails (a full
    /// disk, say) must not hide how it went.
    async fn record(
        &self,
        writer: &Arc<Writer>,
        started: jiff::Timestamp,
        result: &Result<Report, SyncError>,
    ) {
        let finished = crate::iso(jiff::Timestamp::now());
        let outcome = match result {
            Ok(report) if report.changed => Outcome::Published,
            Ok(_) => Outcome::Unchanged,
            Err(error) => Outcome::Failed(crate::chain(error)),
        };
        let mut record = LastSync {
            upstream: self.upstream.address().to_string(),
            selection: self.options.selection.to_string(),
            started: crate::iso(started),
            succeeded: result.is_ok().then(|| finished.clone()),
            finished,
            fetched_bytes: result.as_ref().map_or(0, |report| report.fetched_bytes),
            outcome,
        };
        let writer = Arc::clone(writer);
        let recorded = blocking(move || {
            if record.succeeded.is_none() {
                record.succeeded = writer.store().last_sync().and_then(|last| last.succeeded);
            }
            writer.record_sync(&record)
        });
        if let Ok(Err(error)) = recorded.await {
            tracing::warn!(
                reason = crate::chain(&error),
                "the outcome of the sync could not be written down"
            );
        }
    }
}

/// Runs `work` on a thread that may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, SyncError> {
    tokio::task::spawn_blocking(work).await.map_err(SyncError::Task)
}
