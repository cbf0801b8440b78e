//! Snapshots: what the mirror holds at one moment.
//!
//! A snapshot is an OCI image index of small artifact manifests: some for the
//! metadata files, the others for one product version each. A file is a layer
//! whose title is its path. No wall-clock time stands in any of them and all
//! is sorted: the same content has the same digest, and a product version that
//! did not change is the same manifest in every snapshot.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::layout::{self, Annotations, Descriptor, Index, Manifest, annotation};
use super::{Store, StoreError, files};
use crate::simplestreams::{Digest, RelPath, Timestamp};

/// Layers in one manifest. Registries stop at 4 MiB of manifest, and skopeo
/// takes time quadratic in layers.
const MAX_LAYERS: usize = 100;

const METADATA: &str = "application/vnd.simplestreams.metadata.v1";
const VERSION: &str = "application/vnd.simplestreams.version.v1";

/// A file of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FileRef {
    /// Where it is served.
    pub path: RelPath,
    /// Which blob it is.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// A product and the name of one of its versions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct VersionKey {
    /// Product id.
    pub product: String,
    /// Version name.
    pub version: String,
}

/// What a snapshot holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// The newest `updated` accepted of each content id, up to this snapshot.
    pub updated: BTreeMap<String, Timestamp>,
    /// The signed files, byte for byte as upstream has them.
    pub metadata: Vec<FileRef>,
    /// The items of each product version. A path that several products share
    /// stands under each of them.
    pub versions: BTreeMap<VersionKey, Vec<FileRef>>,
}

/// A snapshot, read and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The digest of its index, which names it.
    pub digest: Digest,
    /// What it holds.
    pub content: Content,
}

/// An entry of `index.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SnapshotRef {
    /// Names the snapshot.
    pub digest: Digest,
    /// Length of its index in bytes.
    #[serde(skip)]
    pub(super) size: u64,
    /// Whether it is the one tagged `current`.
    pub current: bool,
    /// When it became current, ISO 8601.
    pub published: Option<String>,
    /// When another took its place, ISO 8601.
    pub superseded: Option<String>,
}

/// The files of one manifest: of a product version, or the signed ones.
type Group = (Option<VersionKey>, Vec<FileRef>);

/// The blobs that make up a snapshot beside its files.
pub(super) struct Encoded {
    pub(super) index: Vec<u8>,
    pub(super) manifests: Vec<Vec<u8>>,
}

impl Content {
    /// Every file, metadata first. A shared path comes once for each product
    /// version that lists it.
    pub fn files(&self) -> impl Iterator<Item = &FileRef> {
        self.metadata.iter().chain(self.versions.values().flatten())
    }

    /// The files without repetition, by path.
    #[must_use]
    pub fn by_path(&self) -> BTreeMap<&RelPath, &FileRef> {
        self.files().map(|file| (&file.path, file)).collect()
    }

    pub(super) fn encode(&self) -> Encoded {
        let mut descriptors = Vec::new();
        let mut manifests = Vec::new();
        let mut add = |kind: &str, artifact: &str, files: &[FileRef], annotations: &Annotations| {
            let mut layers: Vec<_> =
                files.iter().map(|f| Descriptor::file(f.path.as_str(), f.digest, f.size)).collect();
            layers.sort_by(|a, b| (&a.annotations, a.digest).cmp(&(&b.annotations, b.digest)));
            layers.dedup();
            for layers in layers.chunks(MAX_LAYERS) {
                let manifest = Manifest::new(artifact, layers.to_vec(), annotations.clone());
                let bytes = layout::to_bytes(&manifest);
                let kind = [(annotation::KIND.into(), kind.into())].into();
                descriptors.push(Descriptor::of(layout::MANIFEST, &bytes, kind));
                manifests.push(bytes);
            }
        };
        add("metadata", METADATA, &self.metadata, &Annotations::new());
        for (key, files) in &self.versions {
            let annotations = [
                (annotation::PRODUCT.into(), key.product.clone()),
                (annotation::VERSION.into(), key.version.clone()),
            ];
            add("version", VERSION, files, &annotations.into());
        }
        let updated: BTreeMap<_, _> =
            self.updated.iter().map(|(id, time)| (id, time.to_string())).collect();
        let annotations = [
            (annotation::KIND.into(), "snapshot".into()),
            (annotation::UPDATED.into(), serde_json::json!(updated).to_string()),
        ];
        let index = layout::to_bytes(&Index::new(descriptors, annotations.into()));
        Encoded { index, manifests }
    }
}

impl Store {
    /// The snapshots in `index.json`, current first, then the newest.
    ///
    /// # Errors
    /// [`StoreError`] where it cannot be read.
    pub fn snapshots(&self) -> Result<Vec<SnapshotRef>, StoreError> {
        let path = self.root.join("index.json");
        let index: Index = layout::from_bytes(&path, &files::read(&path)?)?;
        let mut snapshots: Vec<_> = index.manifests.iter().map(SnapshotRef::read).collect();
        snapshots
            .sort_by(|a, b| b.current.cmp(&a.current).then_with(|| b.published.cmp(&a.published)));
        Ok(snapshots)
    }

    /// The snapshot tagged `current`, if there is one.
    ///
    /// # Errors
    /// As [`Store::load`].
    pub fn current(&self) -> Result<Option<Snapshot>, StoreError> {
        const LOOKS: usize = 3;
        let find = || Ok(self.snapshots()?.into_iter().find(|snapshot| snapshot.current));
        let mut current = find()?;
        for _ in 1..LOOKS {
            let Some(found) = &current else { return Ok(None) };
            let loaded = self.load(&found.digest);
            if loaded.is_ok() {
                return loaded.map(Some);
            }
            // A join removes the snapshot that it replaces: was it this one?
            let now = find()?;
            if now.as_ref().map(|now| now.digest) == Some(found.digest) {
                return loaded.map(Some);
            }
            current = now;
        }
        current.map(|snapshot| self.load(&snapshot.digest)).transpose()
    }

    /// Reads a snapshot and checks the digest of every part of its description.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] names the blob that is not right.
    pub fn load(&self, digest: &Digest) -> Result<Snapshot, StoreError> {
        let path = self.blob_path(digest);
        let index: Index = layout::from_bytes(&path, &self.read_blob(digest)?)?;
        let damaged = |reason: String| StoreError::Damaged { path: path.clone(), reason };
        let mut content = Content::default();
        if let Some(text) = index.annotations.get(annotation::UPDATED) {
            let updated: BTreeMap<String, String> =
                serde_json::from_str(text).map_err(|error| damaged(error.to_string()))?;
            for (id, time) in updated {
                let time = Timestamp::parse(&time).map_err(|error| damaged(error.to_string()))?;
                content.updated.insert(id, time);
            }
        }
        for (key, files) in self.load_manifests(&index.manifests)? {
            match key {
                None => content.metadata.extend(files),
                Some(key) => content.versions.entry(key).or_default().extend(files),
            }
        }
        Ok(Snapshot { digest: *digest, content })
    }

    /// Reads manifests on all processors: a server starts as soon as it has
    /// read thousands of them.
    fn load_manifests(&self, descriptors: &[Descriptor]) -> Result<Vec<Group>, StoreError> {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let share = descriptors.len().div_ceil(threads).max(MAX_LAYERS);
        let read = |part: &[Descriptor]| -> Result<Vec<Group>, StoreError> {
            part.iter().map(|descriptor| self.load_manifest(descriptor)).collect()
        };
        std::thread::scope(|scope| {
            let mut shares = descriptors.chunks(share);
            let first = shares.next().unwrap_or_default();
            let others: Vec<_> = shares.map(|part| scope.spawn(move || read(part))).collect();
            let mut groups = read(first)?;
            for other in others {
                match other.join() {
                    Ok(read) => groups.extend(read?),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            Ok(groups)
        })
    }

    fn load_manifest(&self, descriptor: &Descriptor) -> Result<Group, StoreError> {
        let path = self.blob_path(&descriptor.digest);
        let manifest: Manifest = layout::from_bytes(&path, &self.read_blob(&descriptor.digest)?)?;
        let files = manifest.layers.iter().map(|layer| {
            let title = layer.annotation(annotation::TITLE).unwrap_or_default();
            RelPath::new(title)
                .map(|path| FileRef { path, digest: layer.digest, size: layer.size })
                .map_err(|error| StoreError::Damaged {
                    path: path.clone(),
                    reason: error.to_string(),
                })
        });
        let files = files.collect::<Result<Vec<_>, _>>()?;
        let name = |key: &str| manifest.annotations.get(key).cloned().unwrap_or_default();
        let key = (manifest.artifact_type != METADATA).then(|| VersionKey {
            product: name(annotation::PRODUCT),
            version: name(annotation::VERSION),
        });
        Ok((key, files))
    }

    /// The blobs that describe a snapshot, its files aside: its index, its
    /// manifests and their config, each with its length.
    ///
    /// # Errors
    /// As [`Store::load`].
    pub fn description(&self, digest: &Digest) -> Result<Vec<(Digest, u64)>, StoreError> {
        let path = self.blob_path(digest);
        let bytes = self.read_blob(digest)?;
        let index: Index = layout::from_bytes(&path, &bytes)?;
        let mut blobs = vec![(*digest, bytes.len() as u64)];
        blobs.extend(index.manifests.iter().map(|manifest| (manifest.digest, manifest.size)));
        blobs.push((Digest::of(layout::EMPTY_CONFIG), layout::EMPTY_CONFIG.len() as u64));
        Ok(blobs)
    }

    /// Every blob that a snapshot needs: its description and its files.
    pub(super) fn reach(&self, digest: &Digest) -> Result<Vec<(Digest, u64)>, StoreError> {
        let mut reached = self.description(digest)?;
        let content = self.load(digest)?.content;
        reached.extend(content.files().map(|file| (file.digest, file.size)));
        Ok(reached)
    }
}

impl SnapshotRef {
    fn read(descriptor: &Descriptor) -> Self {
        let text = |name: &str| descriptor.annotation(name).map(str::to_owned);
        Self {
            digest: descriptor.digest,
            size: descriptor.size,
            current: descriptor.annotation(annotation::REF_NAME) == Some("current"),
            published: text(annotation::PUBLISHED),
            superseded: text(annotation::SUPERSEDED),
        }
    }

    pub(super) fn descriptor(&self) -> Descriptor {
        let tag = if self.current { "current".to_owned() } else { self.digest.short() };
        let mut annotations = Annotations::new();
        annotations.insert(annotation::REF_NAME.into(), tag);
        let times =
            [(annotation::PUBLISHED, &self.published), (annotation::SUPERSEDED, &self.superseded)];
        for (name, time) in times {
            if let Some(time) = time {
                annotations.insert(name.into(), time.clone());
            }
        }
        Descriptor {
            media_type: layout::INDEX.into(),
            digest: self.digest,
            size: self.size,
            annotations,
        }
    }
}
