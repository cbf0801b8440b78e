//! The chain of trust down to the products files.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::chain::{Chain, Wanted};
use super::{Event, MetadataError, Observer, Sync, SyncError, blocking};
use crate::signature::{Judgement, Memory, Signer};
use crate::simplestreams::{Digest, Document, Index, Products, RelPath, Timestamp};
use crate::store::{Store, StoreError, Writer};
use crate::upstream::registry::Held;

/// What an upstream may make large.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of one metadata file. maas.io's largest has some 5 MB.
    pub metadata_bytes: u64,
    /// Metadata files that indexes may name.
    pub metadata_files: usize,
    /// Days without a change upstream before it is called stale.
    pub stale_days: i64,
    /// Days before a signing key expires at which a warning starts.
    pub key_days: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { metadata_bytes: 64 * 1024 * 1024, metadata_files: 256, stale_days: 90, key_days: 90 }
    }
}

/// A signed file, as upstream has it.
#[derive(Debug)]
pub(super) struct SignedFile {
    pub(super) path: RelPath,
    pub(super) bytes: Vec<u8>,
    pub(super) digest: Digest,
    judgement: Judgement,
}

/// Where the store keeps what was judged before.
const MEMORY: &str = "verified.json";

/// What syncs have judged of the metadata that a store holds.
pub(crate) fn remembered(store: &Store) -> Memory {
    store.kept(MEMORY).unwrap_or_default()
}

/// Verified metadata.
#[derive(Debug)]
pub(super) struct Metadata {
    pub(super) files: Vec<SignedFile>,
    pub(super) products: Vec<Products>,
    pub(super) updated: BTreeMap<String, Timestamp>,
    /// What was judged before this run.
    memory: Arc<Memory>,
}

impl Metadata {
    /// Remembers the judgements of this run, unless they are remembered.
    pub(super) fn remember(&self, sync: &Sync, writer: &Writer) -> Result<(), StoreError> {
        let files = self.files.iter().map(|file| (file.digest, &file.judgement));
        let memory = Memory::of(&sync.keyring, files);
        if memory == *self.memory { Ok(()) } else { writer.keep(MEMORY, &memory) }
    }
}

/// Fetches the index and every file it names, verifies each signature, and
/// checks what ties them together:
///
/// - each file's `updated` is no older than what `store` has accepted
///   (rollback);
/// - a products file is the stream that the index announces, and has the
///   products that the index lists (mix and match).
pub(super) async fn fetch(
    sync: &Sync,
    store: Option<&Store>,
    observer: &dyn Observer,
) -> Result<Metadata, SyncError> {
    let (known, memory) = match store.cloned() {
        Some(store) => {
            let memory = remembered(&store);
            (blocking(move || store.newest_updated()).await??, memory)
        }
        None => (BTreeMap::new(), Memory::default()),
    };
    let mut metadata = Metadata {
        files: Vec::new(),
        products: Vec::new(),
        updated: BTreeMap::new(),
        memory: Arc::new(memory),
    };
    let entry = sync.upstream.address().index().clone();
    let held = held(store);
    refresh(sync, &entry, &held, observer).await?;
    let mut chain = Chain::new(entry, known, sync.options.allow_older);
    let mut signers = BTreeMap::new();
    loop {
        let round = chain.next_round();
        if round.is_empty() {
            break;
        }
        // A round is an index, then all it names: side by side.
        let memory = &metadata.memory;
        let fetches = round.iter().map(|wanted| fetch_one(sync, memory, wanted, &held, observer));
        let fetched = futures_util::future::try_join_all(fetches).await?;
        for (wanted, (file, document)) in round.into_iter().zip(fetched) {
            let fail =
                |source| SyncError::Metadata { path: file.path.clone(), source: Box::new(source) };
            chain.accept(&wanted, &document).map_err(fail)?;
            let signed_by = file.judgement.signers.iter();
            signers.extend(signed_by.map(|signer| (signer.fingerprint.clone(), signer.clone())));
            match document {
                Document::Products(products) => metadata.products.push(products),
                Document::Index(index) => {
                    warn_if_stale(sync, &wanted, &index, observer);
                }
            }
            metadata.files.push(file);
        }
        let limit = sync.options.limits.metadata_files;
        if chain.named() > limit {
            return Err(SyncError::TooManyFiles { limit });
        }
    }
    warn_of_expiry(sync, signers.values(), observer);
    metadata.updated = chain.into_updated();
    Ok(metadata)
}

/// Small content that the store has, by digest, which is checked.
fn held(store: Option<&Store>) -> Held {
    let store = store.cloned();
    Arc::new(move |digest, limit| store.as_ref()?.read_small(digest, limit))
}

/// Asks a registry what it holds; other upstreams are not asked.
async fn refresh(
    sync: &Sync,
    entry: &RelPath,
    held: &Held,
    observer: &dyn Observer,
) -> Result<(), SyncError> {
    let on_retry =
        |error: &_, pause| observer.event(&Event::Retrying { path: entry, error, pause });
    let refreshed = sync.upstream.refresh(held, on_retry).await;
    refreshed.map_err(|error| SyncError::Registry(Box::new(error)))
}

/// The signed file that a registry has under `path`, where the store holds it:
/// it is judged anew all the same.
async fn held_file(sync: &Sync, path: &RelPath, held: &Held) -> Result<Option<Vec<u8>>, SyncError> {
    let holdings = sync.upstream.holdings();
    let Some(digest) = holdings.and_then(|holdings| Some(holdings.file(path)?.digest)) else {
        return Ok(None);
    };
    let (held, limit) = (Arc::clone(held), sync.options.limits.metadata_bytes);
    blocking(move || held(&digest, limit)).await
}

async fn fetch_one(
    sync: &Sync,
    memory: &Arc<Memory>,
    wanted: &Wanted,
    held: &Held,
    observer: &dyn Observer,
) -> Result<(SignedFile, Document), SyncError> {
    let path = &wanted.path;
    let fail = |source| SyncError::Metadata { path: path.clone(), source: Box::new(source) };
    let limit = sync.options.limits.metadata_bytes;
    let on_retry = |error: &_, pause| observer.event(&Event::Retrying { path, error, pause });
    let bytes = match held_file(sync, path, held).await? {
        Some(bytes) => bytes,
        None => {
            let bytes = sync.upstream.fetch_metadata(path, limit, on_retry).await;
            bytes.map_err(|error| fail(error.into()))?
        }
    };
    let (keyring, memory) = (Arc::clone(&sync.keyring), Arc::clone(memory));
    let judged = blocking(move || {
        let verified = memory.verify(&keyring, &bytes)?;
        let document = Document::parse(&verified.plaintext)?;
        Ok::<_, MetadataError>((Digest::of(&bytes), bytes, document, Judgement::from(&verified)))
    });
    let (digest, bytes, document, judgement) = judged.await?.map_err(fail)?;
    for signer in &judgement.signers {
        observer.event(&Event::Verified { path, signer: &signer.fingerprint });
    }
    Ok((SignedFile { path: path.clone(), bytes, digest, judgement }, document))
}

fn warn_if_stale(sync: &Sync, wanted: &Wanted, index: &Index, observer: &dyn Observer) {
    let Ok(Some(updated)) = index.updated() else {
        return;
    };
    let days = (jiff::Timestamp::now().as_second() - updated.as_second()) / 86_400;
    if wanted.is_entry() && days > sync.options.limits.stale_days {
        observer.event(&Event::Stale { updated, days });
    }
}

fn warn_of_expiry<'a>(
    sync: &Sync,
    signers: impl Iterator<Item = &'a Signer>,
    observer: &dyn Observer,
) {
    for signer in signers {
        let Some(expires) = signer.expires else {
            continue;
        };
        let left = expires.duration_since(SystemTime::now()).unwrap_or(Duration::ZERO);
        let days = i64::try_from(left.as_secs() / 86_400).unwrap_or(i64::MAX);
        if days < sync.options.limits.key_days {
            observer.event(&Event::KeyExpires { fingerprint: &signer.fingerprint, days });
        }
    }
}
