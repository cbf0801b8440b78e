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

/// The blobs that make up a snapshot beside its files, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// The snapshot's index, whose digest names it.
    pub index: Vec<u8>,
    /// Its manifests, in the order of the index.
    pub manifests: Vec<Vec<u8>>,
}

/// Why JSON is no description of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DescriptionError(String);

impl DescriptionError {
    pub(crate) fn new(reason: String) -> Self {
        Self(reason)
    }
}

impl Description {
    /// Names the snapshot.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.index)
    }

    /// Every blob of it: the index, the manifests, their config.
    pub fn blobs(&self) -> impl Iterator<Item = &[u8]> {
        let index = std::iter::once(self.index.as_slice());
        let manifests = self.manifests.iter().map(Vec::as_slice);
        index.chain(manifests).chain(std::iter::once(layout::EMPTY_CONFIG))
    }

    /// Whether a manifest lists signed files, not items.
    #[must_use]
    pub fn lists_metadata(manifest: &[u8]) -> bool {
        parse_manifest(manifest).is_ok_and(|(key, _)| key.is_none())
    }

    /// Digest and length of each manifest that a snapshot's index names.
    ///
    /// # Errors
    /// [`DescriptionError`] where it is not the index of a snapshot.
    pub fn manifests_of(index: &[u8]) -> Result<Vec<(Digest, u64)>, DescriptionError> {
        let index = parse::<Index>(index)?;
        Ok(index.manifests.iter().map(|manifest| (manifest.digest, manifest.size)).collect())
    }

    /// What it says.
    ///
    /// # Errors
    /// [`DescriptionError`] where it is not the description of a snapshot.
    pub fn content(&self) -> Result<Content, DescriptionError> {
        let mut content =
            Content { updated: updated_of(&parse(&self.index)?)?, ..Content::default() };
        for manifest in &self.manifests {
            content.add(parse_manifest(manifest)?);
        }
        Ok(content)
    }
}

fn parse<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, DescriptionError> {
    serde_json::from_slice(bytes).map_err(|error| DescriptionError(error.to_string()))
}

/// The newest `updated` that a snapshot's index notes for each content id.
fn updated_of(index: &Index) -> Result<BTreeMap<String, Timestamp>, DescriptionError> {
    let Some(text) = index.annotations.get(annotation::UPDATED) else {
        return Ok(BTreeMap::new());
    };
    let wrong = |error: &dyn std::error::Error| DescriptionError(error.to_string());
    let updated: BTreeMap<String, String> =
        serde_json::from_str(text).map_err(|error| wrong(&error))?;
    let parse = |(id, time): (String, String)| match Timestamp::parse(&time) {
        Ok(time) => Ok((id, time)),
        Err(error) => Err(wrong(&error)),
    };
    updated.into_iter().map(parse).collect()
}

fn parse_manifest(bytes: &[u8]) -> Result<Group, DescriptionError> {
    let manifest: Manifest = parse(bytes)?;
    let files = manifest.layers.iter().map(|layer| {
        let title = layer.annotation(annotation::TITLE).unwrap_or_default();
        RelPath::new(title)
            .map(|path| FileRef { path, digest: layer.digest, size: layer.size })
            .map_err(|error| DescriptionError(error.to_string()))
    });
    let files = files.collect::<Result<Vec<_>, _>>()?;
    let name = |key: &str| manifest.annotations.get(key).cloned().unwrap_or_default();
    let key = (manifest.artifact_type != METADATA).then(|| VersionKey {
        product: name(annotation::PRODUCT),
        version: name(annotation::VERSION),
    });
    Ok((key, files))
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

    fn add(&mut self, (key, files): Group) {
        match key {
            None => self.metadata.extend(files),
            Some(key) => self.versions.entry(key).or_default().extend(files),
        }
    }

    /// The blobs that describe it: the same content gives the same bytes.
    #[must_use]
    pub fn encode(&self) -> Description {
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
        Description { index, manifests }
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
        let updated = updated_of(&index).map_err(|error| damaged(error.to_string()))?;
        let mut content = Content { updated, ..Content::default() };
        for group in self.load_manifests(&index.manifests)? {
            content.add(group);
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
        parse_manifest(&self.read_blob(&descriptor.digest)?)
            .map_err(|error| StoreError::Damaged { path, reason: error.to_string() })
    }

    /// The blobs that describe a snapshot, byte for byte.
    ///
    /// # Errors
    /// As [`Store::load`].
    pub fn describe(&self, digest: &Digest) -> Result<Description, StoreError> {
        let index = self.read_blob(digest)?;
        let listed = Description::manifests_of(&index).map_err(|error| StoreError::Damaged {
            path: self.blob_path(digest),
            reason: error.to_string(),
        })?;
        let manifests = listed.iter().map(|(digest, _)| self.read_blob(digest));
        Ok(Description { manifests: manifests.collect::<Result<_, _>>()?, index })
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
