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
pub(crate) const LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const EMPTY: &str = "application/vnd.oci.empty.v1+json";
pub(crate) const FILE: &str = "application/octet-stream";

/// The content of the empty config (image-spec, manifest.md).
pub(crate) const EMPTY_CONFIG: &[u8] = b"{}";

/// Names of annotations.
pub(crate) mod annotation {
    /// The tag of an entry in `index.json`.
    pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";
    /// The path of a file, as served.
    pub(crate) const TITLE: &str = "org.opencontainers.image.title";
    /// `snapshot`, `metadata` or `version`.
    pub(crate) const KIND: &str = "dev.maas-mirror.kind";
    pub(crate) const PRODUCT: &str = "dev.maas-mirror.product";
    pub(crate) const VERSION: &str = "dev.maas-mirror.version";
    /// JSON: the newest `updated` of each content id.
    pub(crate) const UPDATED: &str = "dev.maas-mirror.updated";
    /// When a snapshot became `current`; in `index.json` alone.
    pub(crate) const PUBLISHED: &str = "dev.maas-mirror.published";
    /// When another took its place; in `index.json` alone.
    pub(crate) const SUPERSEDED: &str = "dev.maas-mirror.superseded";
}

pub(crate) type Annotations = BTreeMap<String, String>;

/// An OCI content descriptor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: Annotations,
}

/// An OCI image index: `index.json`, and a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Index {
    pub(crate) schema_version: u32,
    pub(crate) media_type: String,
    pub(crate) manifests: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: Annotations,
}

/// An OCI image manifest that holds an artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub(crate) schema_version: u32,
    pub(crate) media_type: String,
    pub(crate) artifact_type: String,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: Annotations,
}

impl Index {
    pub(crate) fn new(manifests: Vec<Descriptor>, annotations: Annotations) -> Self {
        Self { schema_version: 2, media_type: INDEX.into(), manifests, annotations }
    }
}

impl Manifest {
    pub(crate) fn new(
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
    pub(crate) fn of(media_type: &str, bytes: &[u8], annotations: Annotations) -> Self {
        Self {
            media_type: media_type.into(),
            digest: Digest::of(bytes),
            size: bytes.len() as u64,
            annotations,
        }
    }

    /// A file under its path.
    pub(crate) fn file(path: &str, digest: Digest, size: u64) -> Self {
        let annotations = [(annotation::TITLE.into(), path.into())].into();
        Self { media_type: FILE.into(), digest, size, annotations }
    }

    pub(crate) fn annotation(&self, name: &str) -> Option<&str> {
        self.annotations.get(name).map(String::as_str)
    }
}

/// Compact JSON.
pub(crate) fn to_bytes<T: Serialize>(value: &T) -> Vec<u8> {
    // These types hold strings and numbers alone, which always serialise.
    serde_json::to_vec(value).unwrap_or_default()
}

pub(crate) fn from_bytes<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(bytes)
        .map_err(|error| StoreError::Damaged { path: path.to_owned(), reason: error.to_string() })
}

/// Checks the `imageLayoutVersion` of an `oci-layout` file.
pub(crate) fn check_layout(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
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
