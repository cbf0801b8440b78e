//! A snapshot in a registry.
//!
//! What a tag names is a claim; index, manifests and signed files are taken only
//! under the digest that names them, and what they say is proved by the
//! signatures inside, as with any upstream. How registries are spoken to is
//! [`oci::registry`]'s.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::StatusCode;

pub use oci::registry::{CredentialError, Reference, ReferenceError, Target, Upload};
use oci::registry::{MAX_MANIFEST, Registry, Version};

use crate::simplestreams::{Digest, RelPath};
use crate::store::{Content, Description, FileRef, layout};
use crate::upstream::{FetchError, RetryPolicy};

/// Bytes of a snapshot's description, all of it. 10,000 items have some 3 MB.
const MAX_DESCRIPTION: u64 = 64 * 1024 * 1024;

/// Manifests fetched at a time.
const PARALLEL: usize = 8;

/// Content that is at hand already, by digest: what is held is not fetched
/// again. It may read from a disk, and gives nothing that is longer than so many
/// bytes: which digest is asked for is the registry's to say.
pub type Held = Arc<dyn Fn(&Digest, u64) -> Option<Vec<u8>> + Send + Sync>;

/// What a snapshot in a registry holds, as its description says.
#[derive(Debug)]
pub struct Holdings {
    /// Names the snapshot.
    pub snapshot: Digest,
    files: BTreeMap<RelPath, FileRef>,
}

impl Holdings {
    /// The file of that path.
    #[must_use]
    pub fn file(&self, path: &RelPath) -> Option<&FileRef> {
        self.files.get(path)
    }

    /// Whether a file of that path is there.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        RelPath::new(path).is_ok_and(|path| self.files.contains_key(&path))
    }
}

/// A snapshot in a registry, and what was found there last.
pub(super) struct Source {
    pub(super) registry: Registry,
    found: Mutex<Option<Arc<Holdings>>>,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.registry.fmt(f)
    }
}

impl Source {
    pub(super) fn new(registry: Registry) -> Self {
        Self { registry, found: Mutex::default() }
    }

    /// What was found last.
    pub(super) fn found(&self) -> Option<Arc<Holdings>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks the registry what it holds now.
    pub(super) async fn resolve(
        &self,
        held: &Held,
        retry: &RetryPolicy,
        on_retry: &(dyn Fn(&FetchError, Duration) + Sync),
    ) -> Result<Arc<Holdings>, FetchError> {
        let search = Search { registry: &self.registry, held, retry, on_retry };
        let found = Arc::new(search.run().await?);
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&found));
        Ok(found)
    }
}

struct Search<'a> {
    registry: &'a Registry,
    held: &'a Held,
    retry: &'a RetryPolicy,
    on_retry: &'a (dyn Fn(&FetchError, Duration) + Sync),
}

impl Search<'_> {
    async fn run(&self) -> Result<Holdings, FetchError> {
        let (snapshot, index) = self.index().await?;
        let listed = self.check_index(&index)?;
        let manifests = self.manifests(&listed).await?;
        let wrong = |reason| self.not_a_snapshot(reason);
        let parsed = tokio::task::spawn_blocking(move || {
            let content = Description { index, manifests }.content().map_err(|e| e.to_string())?;
            by_path(&content)
        });
        let files = parsed.await.map_err(|error| wrong(error.to_string()))?.map_err(wrong)?;
        Ok(Holdings { snapshot, files })
    }

    /// The index that the reference names, and its digest.
    async fn index(&self) -> Result<(Digest, Vec<u8>), FetchError> {
        let named = match self.registry.reference().wanted() {
            Version::Digest(digest) => Some(*digest),
            Version::Tag(tag) => self.retrying(|| self.registry.resolve_tag(tag)).await?,
        };
        if let Some(digest) = named {
            let bytes = match self.held(vec![digest]).await.remove(&digest) {
                Some(bytes) => bytes,
                None => self.manifest(&digest, MAX_MANIFEST).await.map_err(|e| self.named(e))?,
            };
            return Ok((digest, bytes));
        }
        let tag = self.registry.reference().version();
        let bytes = self.retrying(|| self.registry.manifest(&tag, MAX_MANIFEST)).await?;
        Ok((Digest::of(&bytes), bytes))
    }

    /// That nothing is there is said of what the user named.
    fn named(&self, error: FetchError) -> FetchError {
        match error {
            FetchError::Status { status: StatusCode::NOT_FOUND, .. } => {
                FetchError::NoSuchTag(self.registry.reference().to_string())
            }
            other => other,
        }
    }

    /// Digest and size of each manifest, once, in order.
    fn check_index(&self, index: &[u8]) -> Result<Vec<(Digest, u64)>, FetchError> {
        let wrong = |reason: &str| self.not_a_snapshot(reason.to_owned());
        let parsed: layout::Index = serde_json::from_slice(index)
            .map_err(|_| wrong("it is no OCI image index (is it a container image?)"))?;
        let kind = parsed.annotations.get(layout::annotation::KIND);
        if kind.map(String::as_str) != Some("snapshot") {
            return Err(wrong("its index was not written by maas-mirror"));
        }
        let sizes = parsed.manifests.iter().map(|manifest| manifest.size);
        if parsed.manifests.iter().any(|manifest| manifest.size > MAX_MANIFEST)
            || crate::total(sizes) > MAX_DESCRIPTION
        {
            return Err(wrong("its manifests are larger than any snapshot's"));
        }
        Ok(parsed.manifests.iter().map(|manifest| (manifest.digest, manifest.size)).collect())
    }

    /// The manifests, in the order of the index: held ones from where they are
    /// held, the others fetched side by side.
    async fn manifests(&self, listed: &[(Digest, u64)]) -> Result<Vec<Vec<u8>>, FetchError> {
        let mut found = self.held(listed.iter().map(|(digest, _)| *digest).collect()).await;
        let missing: BTreeSet<_> =
            listed.iter().filter(|(digest, _)| !found.contains_key(digest)).copied().collect();
        let (missing, next) = (missing.into_iter().collect::<Vec<_>>(), AtomicUsize::new(0));
        let work = || async {
            let mut fetched = Vec::new();
            while let Some((digest, size)) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                fetched.push((*digest, self.manifest(digest, *size).await?));
            }
            Ok::<_, FetchError>(fetched)
        };
        let workers = (0..PARALLEL.min(missing.len())).map(|_| work());
        let fetched = futures_util::future::try_join_all(workers).await?;
        found.extend(fetched.into_iter().flatten());
        // One that stands twice in an index is read once.
        let all = listed.iter().map(|(digest, _)| found.get(digest).cloned());
        Ok(all.map(Option::unwrap_or_default).collect())
    }

    async fn manifest(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>, FetchError> {
        let version = digest.to_oci();
        let bytes = self.retrying(|| self.registry.manifest(&version, limit)).await?;
        if Digest::of(&bytes) == *digest {
            Ok(bytes)
        } else {
            Err(FetchError::Digest { url: self.registry.manifest_url(&version) })
        }
    }

    async fn held(&self, digests: Vec<Digest>) -> BTreeMap<Digest, Vec<u8>> {
        let held = Arc::clone(self.held);
        let read = tokio::task::spawn_blocking(move || {
            digests
                .into_iter()
                .filter_map(|digest| Some((digest, held(&digest, MAX_MANIFEST)?)))
                .collect()
        });
        // What cannot be read is fetched.
        read.await.unwrap_or_default()
    }

    async fn retrying<T, F: Future<Output = Result<T, FetchError>>>(
        &self,
        attempt: impl Fn() -> F,
    ) -> Result<T, FetchError> {
        self.retry.run(self.on_retry, attempt).await
    }

    fn not_a_snapshot(&self, reason: String) -> FetchError {
        let address = self.registry.reference().to_string();
        FetchError::Foreign { address, what: "a snapshot of maas-mirror", reason }
    }
}

fn by_path(content: &Content) -> Result<BTreeMap<RelPath, FileRef>, String> {
    let mut files: BTreeMap<RelPath, FileRef> = BTreeMap::new();
    for file in content.files() {
        let first = files.entry(file.path.clone()).or_insert_with(|| file.clone());
        if first != file {
            return Err(format!("it holds {} twice, with different content", file.path));
        }
    }
    Ok(files)
}
