//! A snapshot on its way to a registry.
//!
//! ```text
//! ask which blobs are there ─ upload the others ─ manifests ─ index, under the tag
//! ```
//!
//! The order is what makes it safe: a manifest is put when all that it names is
//! there, the tag last of all. So a tag never names anything incomplete, and a
//! push that is cut short goes on where it stopped: what the registry has is
//! not sent again. Each blob is hashed on its way, and the last of its bytes
//! are sent when the digest holds: a damaged blob never gets there.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::simplestreams::{Digest, Hasher, RelPath};
use crate::store::{Content, Description, Store, StoreError, layout};
use crate::sync::{Event, Observer};
use crate::upstream::FetchError;
use crate::upstream::registry::{Target, Upload};

/// Bytes read at a time.
const CHUNK: usize = 256 * 1024;

/// Pieces between the disk and the network of one upload.
const QUEUE: usize = 4;

/// What a push did.
#[derive(Clone, Debug, Serialize)]
pub struct Pushed {
    /// The snapshot that the tag names now.
    pub snapshot: Digest,
    /// Whether it named another before.
    pub changed: bool,
    /// Items of the snapshot, each content once, and signed files.
    pub blobs: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Those that the registry lacked.
    pub sent_blobs: usize,
    /// Their bytes.
    pub sent_bytes: u64,
}

/// Why a push failed. The tag names what it named before.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The registry, or the way there.
    #[error(transparent)]
    Registry(#[from] FetchError),
    /// A file that is not what its name says, or is not there.
    #[error("the content of {path} is damaged in the store")]
    Damaged {
        /// Its path.
        path: RelPath,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A part of the program stopped unexpectedly.
    #[error("a task stopped unexpectedly")]
    Task(#[source] tokio::task::JoinError),
}

/// A blob of the snapshot.
struct Blob {
    path: RelPath,
    digest: Digest,
    size: u64,
}

/// Puts the snapshot that `description` and `content` tell of where `target`
/// is, `parallel` blobs at a time.
///
/// # Errors
/// [`PushError`]; what was uploaded stays, for the next push.
pub async fn push(
    store: &Store,
    description: &Description,
    content: &Content,
    target: &Target,
    parallel: usize,
    observer: &Arc<dyn Observer>,
) -> Result<Pushed, PushError> {
    let push = Push { store, target, parallel, observer, index: description.digest() };
    let before = push.retrying(None, || target.tagged()).await?;
    let blobs = distinct(content);
    let bytes = crate::total(blobs.iter().map(|blob| blob.size));
    let all = blobs.len();
    let missing = push.missing(blobs).await?;
    let sent_bytes = crate::total(missing.iter().map(|blob| blob.size));
    observer.event(&Event::Sending { count: missing.len(), bytes: sent_bytes });
    push.side_by_side(&missing, |blob| push.send(blob)).await?;
    push.describe(description).await?;
    let changed = before != Some(push.index);
    if changed {
        let index = &description.index;
        push.retrying(None, || target.put_tagged(layout::INDEX, index)).await?;
    }
    let snapshot = push.index;
    Ok(Pushed { snapshot, changed, blobs: all, bytes, sent_blobs: missing.len(), sent_bytes })
}

/// Each content once, the largest first: the last upload to end is a small one.
fn distinct(content: &Content) -> Vec<Blob> {
    let mut blobs = BTreeMap::new();
    for file in content.files() {
        blobs.entry(file.digest).or_insert_with(|| Blob {
            path: file.path.clone(),
            digest: file.digest,
            size: file.size,
        });
    }
    let mut blobs: Vec<_> = blobs.into_values().collect();
    blobs.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.path.cmp(&b.path)));
    blobs
}

struct Push<'a> {
    store: &'a Store,
    target: &'a Target,
    parallel: usize,
    observer: &'a Arc<dyn Observer>,
    index: Digest,
}

impl Push<'_> {
    /// Those that the registry lacks, in the order given.
    async fn missing(&self, blobs: Vec<Blob>) -> Result<Vec<Blob>, PushError> {
        let asked = self
            .side_by_side(&blobs, |blob| async {
                let ask = || self.target.has_blob(&blob.digest, blob.size);
                Ok((blob.digest, self.retrying(Some(&blob.path), ask).await?))
            })
            .await?;
        let asked: BTreeMap<_, _> = asked.into_iter().collect();
        let lacks = |blob: &Blob| !asked.get(&blob.digest).copied().unwrap_or_default();
        Ok(blobs.into_iter().filter(lacks).collect())
    }

    /// Uploads a blob, over as many tries as it may take.
    async fn send(&self, blob: &Blob) -> Result<(), PushError> {
        let Blob { path, digest, size } = blob;
        let mut backoff = self.target.retry_policy().start();
        let mut logged_in = false;
        loop {
            self.observer.event(&Event::Started { path, from: 0, size: *size });
            let (sender, receiver) = mpsc::channel(QUEUE);
            let reading = self.read(blob, sender);
            let content = futures_util::stream::unfold(receiver, |mut receiver| async {
                Some((receiver.recv().await?, receiver))
            });
            let sent = self.target.put_blob(digest, *size, content).await;
            // The sender is gone by now: what reads has ended, or does at once.
            reading.await.map_err(PushError::Task)??;
            let error = match sent {
                Ok(Upload::Done) => break,
                Ok(Upload::LoggedIn) if !logged_in => {
                    logged_in = true;
                    continue;
                }
                Ok(Upload::LoggedIn) => {
                    let registry = self.target.reference().registry().to_owned();
                    return Err(FetchError::Unauthorized { registry, file: None }.into());
                }
                Err(error) => error,
            };
            let Some(pause) = backoff.next(&error) else {
                return Err(error.into());
            };
            self.observer.event(&Event::Retrying { path, error: &error, pause });
            tokio::time::sleep(pause).await;
        }
        self.observer.event(&Event::Finished { path, size: *size });
        Ok(())
    }

    /// Reads a blob on a thread that may block, and hashes it. The last piece is
    /// given out when the digest holds.
    fn read(
        &self,
        blob: &Blob,
        sender: mpsc::Sender<io::Result<Bytes>>,
    ) -> tokio::task::JoinHandle<Result<(), PushError>> {
        let (store, observer) = (self.store.clone(), Arc::clone(self.observer));
        let Blob { path, digest, size } = blob;
        let (path, digest, size) = (path.clone(), *digest, *size);
        tokio::task::spawn_blocking(move || {
            let damaged = || PushError::Damaged { path: path.clone() };
            let mut file = store.open_blob(&digest).map_err(|error| missing_or(error, &path))?;
            let (mut hasher, mut done, mut held_back) = (Hasher::default(), 0, None);
            loop {
                let mut buffer = vec![0; CHUNK];
                let read = file
                    .read(&mut buffer)
                    .map_err(|source| StoreError::io("read", &store.blob_path(&digest), source))?;
                if read == 0 {
                    break;
                }
                buffer.truncate(read);
                hasher.update(&buffer);
                done += read as u64;
                if let Some(piece) = held_back.replace(Bytes::from(buffer)) {
                    // Nobody takes it: the upload has failed, and says why.
                    if done > size || sender.blocking_send(Ok(piece)).is_err() {
                        break;
                    }
                    observer.event(&Event::Progress { path: &path, done });
                }
            }
            if sender.is_closed() {
                return Ok(());
            }
            if done != size || hasher.finish() != digest {
                let _ = sender.blocking_send(Err(io::ErrorKind::InvalidData.into()));
                return Err(damaged());
            }
            if let Some(piece) = held_back {
                let _ = sender.blocking_send(Ok(piece));
            }
            Ok(())
        })
    }

    /// The blobs that describe the snapshot: the empty config, the manifests,
    /// and the index under its digest.
    async fn describe(&self, description: &Description) -> Result<(), PushError> {
        let config = layout::EMPTY_CONFIG;
        let (digest, size) = (Digest::of(config), config.len() as u64);
        if !self.retrying(None, || self.target.has_blob(&digest, size)).await? {
            let content = || futures_util::stream::iter([Ok(Bytes::from_static(config))]);
            let put = || self.target.put_blob(&digest, size, content());
            if self.retrying(None, put).await? == Upload::LoggedIn {
                self.retrying(None, put).await?;
            }
        }
        let put = async |manifest: &Vec<u8>| {
            let digest = Digest::of(manifest);
            if !self.retrying(None, || self.target.has_manifest(&digest)).await? {
                let put = || self.target.put_manifest(layout::MANIFEST, manifest);
                self.retrying(None, put).await?;
            }
            Ok(())
        };
        self.side_by_side(&description.manifests, put).await?;
        Ok(())
    }

    /// Does `work` on everything, several at a time; the first failure ends it.
    async fn side_by_side<'b, I, T, F: Future<Output = Result<T, PushError>>>(
        &self,
        all: &'b [I],
        work: impl Fn(&'b I) -> F,
    ) -> Result<Vec<T>, PushError> {
        let next = AtomicUsize::new(0);
        let worker = || async {
            let mut done = Vec::new();
            while let Some(one) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                done.push(work(one).await?);
            }
            Ok::<_, PushError>(done)
        };
        let workers = (0..self.parallel.min(all.len())).map(|_| worker());
        let done = futures_util::future::try_join_all(workers).await?;
        Ok(done.into_iter().flatten().collect())
    }

    /// Tries again where that may help.
    async fn retrying<T, F: Future<Output = Result<T, FetchError>>>(
        &self,
        path: Option<&RelPath>,
        attempt: impl Fn() -> F,
    ) -> Result<T, PushError> {
        let on_retry = |error: &FetchError, pause| match path {
            Some(path) => self.observer.event(&Event::Retrying { path, error, pause }),
            None => tracing::debug!(reason = crate::chain(error), "a request is tried again"),
        };
        Ok(self.target.retry_policy().run(on_retry, attempt).await?)
    }
}

/// A blob that is not there, or is no file, is damage like any other.
fn missing_or(error: StoreError, path: &RelPath) -> PushError {
    match &error {
        StoreError::Io { source, .. }
            if matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput) =>
        {
            PushError::Damaged { path: path.clone() }
        }
        _ => error.into(),
    }
}
