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

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// The content of `oci-layout` (image-spec, image-layout.md).
pub const LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

/// The media type of an image index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The media type of an image manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The media type of a config that says nothing.
pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// The media type of a file of any kind.
pub const FILE: &str = "application/octet-stream";

/// The content of the empty config (image-spec, manifest.md).
pub const EMPTY_CONFIG: &[u8] = b"{}";

/// Names of annotations.
pub mod annotation {
    /// The tag of an entry in `index.json`.
    pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
    /// The path or the name of a file.
    pub const TITLE: &str = "org.opencontainers.image.title";
}

/// Names and values, sorted.
pub type Annotations = BTreeMap<String, String>;

/// An OCI content descriptor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// What else is said of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: Annotations,
}

/// An OCI image index: `index.json`, and a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// 2.
    pub schema_version: u32,
    /// [`INDEX`].
    pub media_type: String,
    /// What it leads to.
    pub manifests: Vec<Descriptor>,
    /// What else is said of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: Annotations,
}

/// An OCI image manifest that holds an artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// 2.
    pub schema_version: u32,
    /// [`MANIFEST`].
    pub media_type: String,
    /// What kind of artifact it is.
    pub artifact_type: String,
    /// [`EMPTY_CONFIG`].
    pub config: Descriptor,
    /// The files.
    pub layers: Vec<Descriptor>,
    /// What else is said of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: Annotations,
}

impl Index {
    /// An index that leads to `manifests`.
    #[must_use]
    pub fn new(manifests: Vec<Descriptor>, annotations: Annotations) -> Self {
        Self { schema_version: 2, media_type: INDEX.into(), manifests, annotations }
    }
}

impl Manifest {
    /// A manifest without a config.
    #[must_use]
    pub fn new(artifact_type: &str, layers: Vec<Descriptor>, annotations: Annotations) -> Self {
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
    /// Describes `bytes`.
    #[must_use]
    pub fn of(media_type: &str, bytes: &[u8], annotations: Annotations) -> Self {
        Self {
            media_type: media_type.into(),
            digest: Digest::of(bytes),
            size: bytes.len() as u64,
            annotations,
        }
    }

    /// A file under its path.
    #[must_use]
    pub fn file(path: &str, digest: Digest, size: u64) -> Self {
        let annotations = [(annotation::TITLE.into(), path.into())].into();
        Self { media_type: FILE.into(), digest, size, annotations }
    }

    /// The annotation of that name.
    #[must_use]
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.annotations.get(name).map(String::as_str)
    }
}

/// Compact JSON.
#[must_use]
pub fn to_bytes<T: Serialize>(value: &T) -> Vec<u8> {
    // These types hold strings and numbers alone, which always serialise.
    serde_json::to_vec(value).unwrap_or_default()
}

/// Why an `oci-layout` file is not one that is known.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// Not the JSON that it must be.
    #[error("{0}")]
    Json(String),
    /// Of another specification.
    #[error("OCI image layout {0} is not known")]
    Version(String),
}

/// Checks the `imageLayoutVersion` of an `oci-layout` file.
///
/// # Errors
/// [`LayoutError`].
pub fn check_layout(bytes: &[u8]) -> Result<(), LayoutError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Layout {
        image_layout_version: String,
    }
    let layout: Layout =
        serde_json::from_slice(bytes).map_err(|error| LayoutError::Json(error.to_string()))?;
    if layout.image_layout_version.starts_with("1.") {
        Ok(())
    } else {
        Err(LayoutError::Version(layout.image_layout_version))
    }
}
