//! Bundles: what an installation needs, in one file, for a site that no network
//! reaches.
//!
//! ```text
//! registries ┐
//! archives   ├─ pack ─ one file ─ (carried) ─┬─ push:   images and chart into a registry
//! chart      │                               ├─ unpack: chart, programs, boot images
//! programs   ┘                               └─ read:   what is in it, and whether it holds
//! ```
//!
//! A bundle is an OCI image layout in a tar archive; `docs/formats.md` says what
//! each byte is. What is in it has its digest for a name, and nothing else of it
//! is believed: sizes, names and manifests are judged before anything is done
//! with them, and content before anything names it.
//!
//! | module | is |
//! |---|---|
//! | [`name`] | what an image is called: by a pod, in a registry |
//! | [`wanted`] | the images of a release, and where each goes under a registry |
//! | [`manifest`] | manifests as registries have them, OCI's and Docker's |
//! | [`archive`] | images in files: `docker save`, OCI archives and layouts |
//! | [`find`] | where each image comes from, and what it is made of |
//! | [`chart`] | the chart, as Helm packs it |
//! | [`list`] | what is in a bundle, for programs |
//! | [`pack`] | the file, written |
//! | [`read`] | the file, read and judged |
//! | [`push`] | the way into a registry |
//! | [`unpack`] | the way into a folder |
//!
//! Knows nothing of clusters.

pub mod archive;
pub mod chart;
mod error;
mod event;
pub mod find;
pub mod list;
pub mod manifest;
pub mod name;
mod new_file;
pub mod pack;
pub mod push;
pub mod read;
mod readme;
mod search;
pub mod unpack;
mod upload;
pub mod wanted;

pub use error::{BundleError, Missing, Why};
pub use event::{Event, Observer};
pub(crate) use new_file::is_special;

/// The bundles that this program writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

/// The file that tells a person what to do.
pub const README: &str = "README.md";

/// The file that lists what is in a bundle, for programs.
pub const LIST: &str = "bundle.json";

/// Files in a bundle beside those of a layout.
const BESIDE: &[&str] = &[README, LIST];

/// The type of an artifact that is one file.
const FILE_ARTIFACT: &str = "application/vnd.maas-deployer.file.v1";

/// Where the chart goes under a registry.
const CHARTS: &str = "charts";

/// Names of annotations, beside those of [`oci::layout::annotation`].
mod annotation {
    /// Of `index.json`: the format.
    pub(super) const FORMAT: &str = "dev.maas-deployer.bundle";
    /// Of an entry of `index.json`: `image`, `chart`, `program` or `mirror-bundle`.
    pub(super) const KIND: &str = "dev.maas-deployer.kind";
    /// Of an image: what the release calls it.
    pub(super) const IMAGE: &str = "dev.maas-deployer.image";
    /// Of an image whose name `--registry` does not change: `false`.
    pub(super) const RENAMED: &str = "dev.maas-deployer.renamed";
    /// Of an image: its whole name, for containerd.
    pub(super) const CONTAINERD: &str = "io.containerd.image.name";
}

/// The sum, which no file's sizes can make wrong.
fn total(sizes: impl IntoIterator<Item = u64>) -> u64 {
    sizes.into_iter().fold(0, u64::saturating_add)
}
