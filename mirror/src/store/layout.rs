//! The JSON of an OCI image layout.
//!
//! Only fields of image-spec 1.0 stand in an [`Index`] and in its descriptors:
//! skopeo 1.9 writes an index anew and drops newer fields, and the digest of a
//! snapshot must survive a registry and an archive. Annotations are sorted and
//! the JSON is compact, so the same content gives the same bytes.
//!
//! The `oci-spec` crate keeps annotations in hash maps, whose order changes
//! from run to run; that is why these types are our own.

use std::collections::BTreeMap;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::simplestreams::Digest;

/// The content of `oci-layout` (image-spec, image-layout.md).
pub(super) const LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
const FILE: &str = "application/octet-stream";

/// The content of the empty config (image-spec, manifest.md).
pub(super) const EMPTY_CONFIG: &[u8] = b"{}";

/// Names of annotations.
pub(super) mod annotation {
    /// The tag of an entry in `index.json`.
    pub(in super::super) const REF_NAME: &str = "org.opencontainers.image.ref.name";
    /// The path of a file, as served.
    pub(in super::super) const TITLE: &str = "org.opencontainers.image.title";
    /// `snapshot`, `metadata` or `version`.
    pub(in super::super) const KIND: &str = "dev.maas-mirror.kind";
    pub(in super::super) const PRODUCT: &str = "dev.maas-mirror.product";
    pub(in super::super) const VERSION: &str = "dev.maas-mirror.version";
    /// JSON: the newest `updated` of each content id.
    pub(in super::super) const UPDATED: &str = "dev.maas-mirror.updated";
    /// When a snapshot became `current`; in `index.json` alone.
    pub(in super::super) const PUBLISHED: &str = "dev.maas-mirror.published";
    /// When another took its place; in `index.json` alone.
    pub(in super::super) const SUPERSEDED: &str = "dev.maas-mirror.superseded";
}

pub(super) type Annotations = BTreeMap<String, String>;

/// An OCI content descriptor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    pub(super) media_type: String,
    pub(super) digest: Digest,
    pub(super) size: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: Annotations,
}

/// An OCI image index: `index.json`, and a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Index {
    pub(super) schema_version: u32,
    pub(super) media_type: String,
    pub(super) manifests: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: Annotations,
}

/// An OCI image manifest that holds an artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    pub(super) schema_version: u32,
    pub(super) media_type: String,
    pub(super) artifact_type: String,
    pub(super) config: Descriptor,
    pub(super) layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: Annotations,
}

impl Index {
    pub(super) fn new(manifests: Vec<Descriptor>, annotations: Annotations) -> Self {
        Self { schema_version: 2, media_type: INDEX.into(), manifests, annotations }
    }
}

impl Manifest {
    pub(super) fn new(
        artifact_type: &str,
        layers: Vec<Descriptor>,
        annotations: Annotations,
    ) -> Self {
        Self {
            schema_version: 2,
            media_type: MANIFEST.into(),
            artifact_type: artifact_type.into(),
            config: Descriptor::of(EMPTY, EMPTY_CONFIG, Annotations::new()),
            layers,
            annotations,
        }
    }
}

impl Descriptor {
    pub(super) fn of(media_type: &str, bytes: &[u8], annotations: Annotations) -> Self {
        Self {
            media_type: media_type.into(),
            digest: Digest::of(bytes),
            size: bytes.len() as u64,
            annotations,
        }
    }

    /// A file under its path.
    pub(super) fn file(path: &str, digest: Digest, size: u64) -> Self {
        let annotations = [(annotation::TITLE.into(), path.into())].into();
        Self { media_type: FILE.into(), digest, size, annotations }
    }

    pub(super) fn annotation(&self, name: &str) -> Option<&str> {
        self.annotations.get(name).map(String::as_str)
    }
}

/// Compact JSON.
pub(super) fn to_bytes<T: Serialize>(value: &T) -> Vec<u8> {
    // These types hold strings and numbers alone, which always serialise.
    serde_json::to_vec(value).unwrap_or_default()
}

pub(super) fn from_bytes<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(bytes)
        .map_err(|error| StoreError::Damaged { path: path.to_owned(), reason: error.to_string() })
}

/// Checks the `imageLayoutVersion` of an `oci-layout` file.
pub(super) fn check_layout(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Layout {
        image_layout_version: String,
    }
    let layout: Layout = from_bytes(path, bytes)?;
    if layout.image_layout_version.starts_with("1.") {
        return Ok(());
    }
    Err(StoreError::Damaged {
        path: path.to_owned(),
        reason: format!("OCI image layout {} is not known", layout.image_layout_version),
    })
}
