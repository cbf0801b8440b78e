//! The JSON of the store's layout: that of [`oci::layout`], and what the mirror
//! writes into it.

use std::path::Path;

use serde::de::DeserializeOwned;

use super::StoreError;

pub(crate) use oci::layout::{
    Annotations, Descriptor, EMPTY_CONFIG, INDEX, Index, LAYOUT, MANIFEST, Manifest, to_bytes,
};

/// Names of annotations.
pub(crate) mod annotation {
    pub(crate) use oci::layout::annotation::{REF_NAME, TITLE};

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

pub(crate) fn from_bytes<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(bytes)
        .map_err(|error| StoreError::Damaged { path: path.to_owned(), reason: error.to_string() })
}

/// Checks the `imageLayoutVersion` of an `oci-layout` file.
pub(crate) fn check_layout(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    oci::layout::check_layout(bytes)
        .map_err(|error| StoreError::Damaged { path: path.to_owned(), reason: error.to_string() })
}
