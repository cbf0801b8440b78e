//! What is in a bundle, for people and programs: `bundle.json`.

use oci::digest::Digest;
use serde::{Deserialize, Serialize};

/// The schema of [`List`].
pub const SCHEMA: &str = "maas-deployer/bundle/1";

/// What is in a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct List {
    /// [`SCHEMA`].
    pub schema: String,
    /// The chart.
    pub chart: ListedChart,
    /// The images, by name.
    pub images: Vec<ListedImage>,
    /// Programs and bundles of boot images, by name.
    pub files: Vec<ListedFile>,
}

/// The chart in a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedChart {
    /// Its name under a registry.
    pub name: String,
    /// Of the archive.
    pub digest: Digest,
    /// Of the archive.
    pub bytes: u64,
}

/// An image in a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedImage {
    /// Its name under a registry.
    pub name: String,
    /// What the release calls it, without `--registry`.
    pub image: String,
    /// Whether `--registry` changes that name.
    pub renamed: bool,
    /// Of its manifest or index.
    pub digest: Digest,
    /// Which machines it is for; empty where it does not say.
    pub platforms: Vec<String>,
    /// Of all that it is made of.
    pub bytes: u64,
}

/// A file in a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedFile {
    /// What it is.
    pub kind: FileKind,
    /// Its name.
    pub name: String,
    /// Its digest.
    pub digest: Digest,
    /// Its length.
    pub bytes: u64,
}

/// What a file in a bundle is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileKind {
    /// A program, which may be run.
    Program,
    /// What `maas-mirror export` wrote.
    MirrorBundle,
}

impl FileKind {
    /// Its name in annotations.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Program => "program",
            Self::MirrorBundle => "mirror-bundle",
        }
    }
}

/// Whether a file in a bundle may have that name: one that is none elsewhere, or
/// leads elsewhere, is refused on both sides.
#[must_use]
pub fn is_file_name(name: &str) -> bool {
    let sign = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+".contains(&byte);
    (1..=100).contains(&name.len())
        && name.bytes().all(sign)
        && name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_nowhere() {
        for good in ["maas-deployer", "first.tar", "a_b+c-1.2"] {
            assert!(is_file_name(good), "{good}");
        }
        for bad in ["", ".", "..", ".x", "a/b", "/a", "a\\b", "a b", "a\n", "-rf", &"a".repeat(101)]
        {
            assert!(!is_file_name(bad), "{bad}");
        }
    }
}
